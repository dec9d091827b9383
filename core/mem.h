/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical memory: RAM, ROM and MMIO over 2^20 pages of 4 KB, dirty logging and code
 * tracking per page. Physical addresses of 4 GiB and above read as ones.
 *
 * Every mapping replaces what was there before (the board layers them: RAM first, then holes; PAM
 * and PCI BARs remap at run time). Each change calls the listener, which flushes TLBs and code.
 */
#ifndef CORE_MEM_H
#define CORE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MEM_PAGE 4096u
#define MEM_PAGES (1u << 20)

/* MMIO handlers. `offset` is relative to the start of the mapping; size 1, 2, 4 (or 8 if max_size is 8).
 * The bus splits accesses wider than max_size or not naturally aligned. */
struct mmio_ops {
  uint64_t (*read)(void *opaque, uint32_t offset, int size);
  void (*write)(void *opaque, uint32_t offset, int size, uint64_t value);
  int max_size; /* 1, 2, 4 or 8; 0 means 4 */
  /* Nothing but the device's own memory notices an access, so many may be made in one go. */
  bool runs;
  /* The same as `count` writes of `value`, one behind the other; NULL, or false: one by one. */
  bool (*fill)(void *opaque, uint32_t offset, int size, uint64_t value, uint32_t count);
};

/* A block of host memory that can be mapped into the guest: RAM, VRAM, ROM image. */
struct mem_block {
  const char *name;
  uint8_t *host; /* page-aligned, mmap of mem->fd at fd_offset (window strategy maps it again) */
  uint64_t size; /* multiple of 4096 */
  uint64_t fd_offset;
  uint8_t *log; /* one byte per page: 1 = written since mem_log_clear; NULL = not logged */
  struct mem_block *next;
};

#define PAGE_CODE 0x01u /* translated code was made from this page */
#define PAGE_LOG 0x02u /* clean page of a logged block: the first write must be noticed */
#define PAGE_SHADOWED 0x08u /* a page table that a translator's shadow depends on: stores must be noticed */
#define PAGE_CODE_HERE 0x04u /* PAGE_CODE is due to this very physical address, not to an alias of it */

struct mem_page { /* what one guest-physical page is */
  uint8_t *read; /* host page, NULL = MMIO or nothing */
  uint8_t *write; /* NULL = MMIO, nothing, or ROM (`rom` set: writes are dropped) */
  struct mem_block *block; /* of `read` */
  uint16_t mmio; /* index into mem->mmio, 0 = none; used where read or write is NULL */
  uint8_t flags; /* PAGE_* */
  uint8_t rom;
};

struct mem_mmio {
  const struct mmio_ops *ops;
  void *opaque;
  uint32_t base, size;
  const char *name;
  uint32_t pages; /* guest pages that refer to this entry; 0 = free for reuse */
};

struct mem_alias { /* `block` is, or was, mapped with guest-physical address - block offset == delta */
  struct mem_block *block;
  int64_t delta;
};

struct mem {
  struct mem_page *page; /* MEM_PAGES, sparse mmap */
  struct mem_mmio *mmio;
  unsigned mmio_count;
  struct mem_block *blocks;
  int fd; /* memfd behind every block */
  uint64_t fd_size;
  void (*on_map_change)(void *opaque, uint32_t pa, uint64_t size); /* about to change; the old mapping still stands */
  /* A page became CODE or LOG: drop TLB write entries. NULL: many pages did, drop all. */
  void (*on_protect)(void *opaque, uint8_t *host_page);
  /* Many pages of this range became LOG; NULL: as on_protect of NULL. */
  void (*on_protect_range)(void *opaque, uint8_t *host, uint64_t size);
  void (*on_code_write)(void *opaque, uint32_t pa, unsigned size); /* about to store into a PAGE_CODE page */
  /* About to store `size` bytes at `offset` of a block; its page there is a PAGE_SHADOWED. */
  void (*on_table_write)(void *opaque, struct mem_block *b, uint64_t offset, unsigned size);
  void *listener;
  struct mem_alias *alias;
  unsigned alias_count;
};

struct mem *mem_new(void);
void mem_free(struct mem *m);
/* Zeroed, page-aligned memory. NULL and errno on failure. Owned by m. */
struct mem_block *mem_block_new(struct mem *m, const char *name, uint64_t size);
/* Make the whole block zero again, and give its memory back to the host. */
void mem_block_clear(struct mem_block *b);

void mem_map_ram(struct mem *m, uint32_t pa, uint64_t size, struct mem_block *b, uint64_t offset);
void mem_map_rom(struct mem *m, uint32_t pa, uint64_t size, struct mem_block *b, uint64_t offset);
/* Reads from one place, writes to another (PAM "read ROM, write RAM" and back). NULL block: nothing there. */
void mem_map_split(struct mem *m, uint32_t pa, uint64_t size, struct mem_block *rd, uint64_t rd_offset,
                   struct mem_block *wr, uint64_t wr_offset);
/* -ENOMEM. The name must outlive m. The page is the smallest unit: the rest of a partly covered page reads as ones. */
int mem_map_mmio(struct mem *m, uint32_t pa, uint64_t size, const struct mmio_ops *ops, void *opaque, const char *name);
void mem_unmap(struct mem *m, uint32_t pa, uint64_t size);

/* Accesses by physical address, by the CPU (size 1, 2, 4, 8; must not cross a page). A write to a code page tells
 * the listener first; a write to a logged page marks it. */
uint64_t mem_read(struct mem *m, uint32_t pa, int size);
void mem_write(struct mem *m, uint32_t pa, int size, uint64_t value);
/* Runs of accesses to one page of a device that allows them: how many of `count` elements were stored or copied
 * upwards, 0 = none, the caller must go element by element. */
uint32_t mem_fill_run(struct mem *m, uint32_t pa, int size, uint64_t value, uint32_t count);
uint32_t mem_write_run(struct mem *m, uint32_t pa, int size, const uint8_t *from, uint32_t count);
uint32_t mem_copy_run(struct mem *m, uint32_t to, uint32_t from, int size, uint32_t count);
/* Accesses by bus masters: any length. Holes read as ones. */
void mem_dma_read(struct mem *m, uint64_t pa, void *buf, size_t len);
void mem_dma_write(struct mem *m, uint64_t pa, const void *buf, size_t len);

/* Dirty logging, for displays. */
int mem_log_enable(struct mem_block *b); /* -ENOMEM; all pages start dirty */
/* Was the page at `offset` written since the last clear? */
bool mem_log_dirty(const struct mem_block *b, uint64_t offset);
void mem_log_clear(struct mem *m, struct mem_block *b, uint64_t offset, uint64_t size);
void mem_log_mark(struct mem_block *b, uint64_t offset, uint64_t size);

/*
 * Code tracking, for translators: code was made from (or none is left of) the page at pa, RAM or ROM. PAGE_CODE is set
 * on all physical aliases of the page that are mapped, and on_code_write is called once for each of them.
 */
void mem_set_code(struct mem *m, uint32_t pa, bool code);

/* Is there no code from other physical aliases of the page at pa, which is RAM? */
bool mem_code_only_here(struct mem *m, uint32_t pa);

/* No translator is there any more: no page has code or is watched. */
void mem_forget_code(struct mem *m);

/*
 * In a child process: memory of its own at the same host addresses, with what the parent has now. The old file stays
 * the parent's. 0 or -errno.
 */
int mem_forked(struct mem *m);

/* Set or clear PAGE_SHADOWED on every guest page that shows the host page at `offset` of b. */
void mem_set_table(struct mem *m, struct mem_block *b, uint64_t offset, bool table);

#endif
