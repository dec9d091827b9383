/* SPDX-License-Identifier: MIT */
/*
 * Linear memory as the CPU sees it: page walks (SDM vol. 3, ch. 4), the software TLB, and accesses
 * by linear address and by segment:offset. All of these may raise #PF (#GP/#SS for segment checks) and
 * then do not return.
 */
#ifndef CORE_PAGING_H
#define CORE_PAGING_H

#include <string.h>

#include "core/cpu.h"

/* Page-fault error code bits; also the `access` argument below. */
#define PF_PRESENT 0x01u
#define PF_WRITE 0x02u
#define PF_USER 0x04u
#define PF_RSVD 0x08u
#define PF_FETCH 0x10u

/*
 * Translate la for an access of kind `access` (PF_WRITE | PF_USER | PF_FETCH), set A and D bits, and
 * return the physical address (A20 applied). Raises #PF.
 */
uint32_t paging_translate(struct cpu *cpu, uint32_t la, uint32_t access);
/* The same for fetching code; *global: the mapping survives a CR3 write. */
uint32_t paging_translate_code(struct cpu *cpu, uint32_t la, uint32_t access, bool *global);
/* The same without side effects and without raising, at supervisor rights: for debuggers. False if not mapped. */
bool paging_probe(const struct cpu *cpu, uint32_t la, uint32_t *pa);

/* Walk as for an access of this kind, and set A and D bits if it is allowed; false if it would fault. */
bool paging_try(struct cpu *cpu, uint32_t la, uint32_t access);

/* What the tables say of a page, for those who shadow them. */
struct paging_leaf {
  uint32_t pa;
  uint32_t pde_pa, pte_pa; /* where the entries are; pte_pa only if !large; all 0 without paging */
  bool large; /* the directory entry maps the page */
  bool accessed; /* A at every level */
  bool dirty, writable, user;
};
bool paging_peek(const struct cpu *cpu, uint32_t la, struct paging_leaf *leaf); /* no side effects; false: not mapped */
/* Could a user fetch from this small page, without any change to the tables? Then *pa is where. */
bool paging_peek_code(const struct cpu *cpu, uint32_t la, uint32_t *pa);

/*
 * Host pointer to the byte at la, valid to the end of its page; fills the TLB. NULL if the page is
 * not plain memory for this kind of access (MMIO, code page or logged page for writes): then use
 * paging_translate + mem_read/mem_write. Raises #PF.
 */
uint8_t *tlb_lookup(struct cpu *cpu, uint32_t la, uint32_t access);
/* After tlb_lookup gave NULL: the physical address, if it is a device's. */
bool tlb_io_page(const struct cpu *cpu, uint32_t la, uint32_t access, uint32_t *pa);
void tlb_flush(struct cpu *cpu, bool keep_global);
void tlb_flush_page(struct cpu *cpu, uint32_t la); /* INVLPG */
/* Drop write entries that point at this host page (it became a code page or a clean logged page). */
void tlb_protect_host_page(struct cpu *cpu, const uint8_t *host_page);
void tlb_protect_host_range(struct cpu *cpu, const uint8_t *host, uint64_t size); /* all pages of it */

/* Slow paths of the inline functions below: fills, page crossings, MMIO, code pages. */
uint64_t linear_read_slow(struct cpu *cpu, uint32_t la, int size, bool user);
void linear_write_slow(struct cpu *cpu, uint32_t la, int size, uint64_t value, bool user);
/* Any size (1..512 bytes), any crossing; a write checks every page before the first byte is stored. */
void linear_read_block(struct cpu *cpu, uint32_t la, void *buf, unsigned size, bool user);
void linear_write_block(struct cpu *cpu, uint32_t la, const void *buf, unsigned size, bool user);
/* Raise what a write of this size would raise, without writing (first step of multi-part stores). */
void linear_check_write(struct cpu *cpu, uint32_t la, unsigned size, bool user);

static inline uint32_t tlb_index(uint32_t la, int size) {
  return (la >> 12) + ((la + (uint32_t)size - 1) >> 12);
}

/* size 1, 2, 4 or 8; user = check as CPL 3 */
static inline uint64_t linear_read(struct cpu *cpu, uint32_t la, int size, bool user) {
  uint64_t addend = cpu->tlb[user ? TLB_USER_READ : TLB_SUP_READ][tlb_index(la, size) & (TLB_ENTRIES - 1)];
  if (addend == 0)
    return linear_read_slow(cpu, la, size, user);
  uint64_t value = 0;
  const void *host = (const void *)(uintptr_t)(addend + la);
  switch (size) {
  case 1: return *(const uint8_t *)host;
  case 2: memcpy(&value, host, 2); return value;
  case 4: memcpy(&value, host, 4); return value;
  default: memcpy(&value, host, 8); return value;
  }
}

static inline void linear_write(struct cpu *cpu, uint32_t la, int size, uint64_t value, bool user) {
  uint64_t addend = cpu->tlb[user ? TLB_USER_WRITE : TLB_SUP_WRITE][tlb_index(la, size) & (TLB_ENTRIES - 1)];
  if (addend == 0) {
    linear_write_slow(cpu, la, size, value, user);
    return;
  }
  void *host = (void *)(uintptr_t)(addend + la);
  switch (size) {
  case 1: *(uint8_t *)host = (uint8_t)value; break;
  case 2: memcpy(host, &value, 2); break;
  case 4: memcpy(host, &value, 4); break;
  default: memcpy(host, &value, 8); break;
  }
}

/* Segment checks (segment.c): limit, rights, null; raise #GP(0) or #SS(0). */
void seg_check_slow(struct cpu *cpu, int seg, uint32_t off, unsigned size, bool write);

static inline uint32_t seg_linear(struct cpu *cpu, int seg, uint32_t off, unsigned size, bool write) {
  const struct seg *s = &cpu->seg[seg];
  if ((int64_t)((uint64_t)off + size - 1) + (write ? s->room_write : s->room_read) >= 0)
    seg_check_slow(cpu, seg, off, size, write);
  return s->base + off;
}

/* Accesses by segment:offset at the current CPL. */
static inline uint64_t vmem_read(struct cpu *cpu, int seg, uint32_t off, int size) {
  return linear_read(cpu, seg_linear(cpu, seg, off, (unsigned)size, false), size, cpu->cpl == 3);
}
static inline void vmem_write(struct cpu *cpu, int seg, uint32_t off, int size, uint64_t value) {
  linear_write(cpu, seg_linear(cpu, seg, off, (unsigned)size, true), size, value, cpu->cpl == 3);
}

/*
 * Fetch up to 15 instruction bytes at cpu->eip into buf. Checks the CS limit and the fetch rights
 * of each page only as far as needed: returns the number of bytes that can be read without a fault (>= 1 or
 * it raises); call again with `need` greater than what it returned to raise the fault for the next byte.
 */
unsigned cpu_fetch(struct cpu *cpu, uint8_t buf[15], unsigned need);

#endif
