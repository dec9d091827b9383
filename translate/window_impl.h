/* SPDX-License-Identifier: MIT */
/*
 * Inside the window strategy: window.c decides which spaces have windows and fills them, window_pages.c keeps
 * the books of what they show and drops what page tables no longer say.
 */
#ifndef TRANSLATE_WINDOW_IMPL_H
#define TRANSLATE_WINDOW_IMPL_H

#include "translate/window.h"

struct mem_block;

#define WINDOWS 16u
#define SPACES 256u
#define NODES (1u << 20)
#define USES (1u << 16)
#define USE_HASH 4096u
#define LA_PAGES (1u << 20)
#define FD_PAGES (1u << 21) /* host pages that can be mapped: the first 8 GB of the memory file */
#define RUN_MAX 64u         /* pages looked at on each side of a miss */
#define RUN_MIN 2u          /* in a window from which pages have just been taken away */
#define RUN_FILLS 8u        /* until it is twice as many */
#define PENDING_MAX 512u
#define EDGE 64u /* an access that begins so close to a page's end may cross it */
#define NONE 0xffffffffu

/* One page of one window. */
struct node {
  uint32_t fd_page; /* or the next free node */
  uint32_t la_page;
  uint32_t next, prev; /* of the same fd_page */
  uint8_t window;
  bool writable;
  bool code; /* code at la_page is in the jump cache or linked: its translation is watched even if no data is
                mapped */
};

/* A page table or directory that pages of a window were found through. */
struct use {
  uint32_t fd_page;
  uint32_t first_la; /* of its entry 0 */
  uint32_t next;     /* in the hash chain, or the free list */
  uint32_t live;     /* pages (tables: regions) that depend on it */
  uint8_t window;
  uint8_t shift; /* log2 of what an entry covers */
  uint8_t entry; /* log2 of an entry's size */
};

struct space_key {
  uint32_t cr3, bits;
  uint64_t pdpte[4];
};

struct space {
  struct space_key key;
  bool used;
  int8_t window;   /* or -1 */
  int heat;        /* slices; negative: of rest after a window that did not pay */
  int64_t balance; /* ns that the window has gained, see pay */
  uint8_t losses;
};

struct region {              /* what one directory entry maps */
  uint32_t live;             /* pages */
  uint32_t table, directory; /* uses, or NONE */
};

struct window {
  uint8_t *base;
  uint32_t *node; /* by linear page; 0 = not mapped */
  struct region region[2048];
  struct space *space;
  uint32_t mapped;
  uint32_t maps;     /* host mappings made since it was dropped; each may cost two entries */
  uint32_t code_gen; /* see window_code_gen; 0 = that of all supervisor windows */
  uint64_t last_used;
  uint8_t shift; /* log2 of a region's size */
  bool drop_pending;
  uint32_t calm; /* fills since a page was taken away, see run_length */
  uint32_t pending_count;
  uint32_t pending[PENDING_MAX]; /* linear pages to unmap before the window is used again */
};

#define SWITCHES_MAX 2000u /* in a slice of 100000 instructions */
#define REST_MIN 8u
#define REST_MAX 128u

struct windows {
  struct window window[WINDOWS];
  struct space space[SPACES];
  struct space *now[2]; /* supervisor, user; NULL = to be found */
  struct node *node;
  uint32_t free_node, node_top;
  uint32_t *rmap; /* first node of each fd_page */
  struct use *use;
  uint32_t free_use, use_top;
  uint32_t use_hash[USE_HASH];
  int current; /* whose base is in GS, -1 = none */
  uint32_t kernel_gen, last_gen;
  bool gen_changed;
  bool active; /* the current space's window is `current`: it may be accessed at any time */
  uint64_t clock;
  uint32_t maps, maps_max;    /* the sum of all windows', and the budget */
  bool maps_refused;          /* the host's own limit was reached before that */
  unsigned hot;               /* slices that earn a window */
  unsigned switches;          /* of GS base, in this slice */
  unsigned rest, rest_length; /* slices to go without windows */
  struct {
    uint64_t fills, pages, unmapped, protected, refused, drops, table_writes, granted, evicted, lost;
  } stat;
};

/*
 * Does a window pay? About what the host charges for filling and emptying it, against what faster code gains
 * in a slice of 100000 instructions. A guest that makes and drops mappings all the time (fork, exec) is
 * better off without. A page costs when it is taken away: what stays was worth it.
 */
#define COST_PAGE 3000
#define GAIN_SLICE 15000
#define BALANCE_MAX 4000000
#define BALANCE_MIN (-1000000)
#define LOSSES_MAX 8u

/* Costs of this window, in ns, see window_sample. */
void window_pay(struct window *w, int64_t cost);
/* Address space that holds nothing: new, or in place of what is at `at`. NULL: refused. */
uint8_t *window_reserve(void *at);
/* Show host pages in the window. False: the host refuses (too many mappings). */
bool window_map(struct jit *j, struct window *w, uint32_t la_page, uint32_t fd_page, uint32_t pages,
                bool writable);
/* One more page or region depends on the table at fd_page, whose entry 0 is for first_la; an entry covers
 * 1 << shift bytes and is 1 << entry bytes long. Returns the use; 0 = no room. */
uint32_t window_use(struct jit *j, uint32_t fd_page, unsigned window, uint32_t first_la, unsigned shift,
                    unsigned entry);
/* One less. */
void window_unuse(struct jit *j, uint32_t i);
struct region *window_region(struct window *w, uint32_t la_page);
/* Nothing of it is mapped any more? Then it depends on no table. */
void window_close_region(struct jit *j, struct region *r);
/* Drop a page from the books; unmapping is the caller's. */
void window_forget(struct jit *j, unsigned n, uint32_t la_page);
/* Enter a page in the books. False: they are full. */
bool window_note(struct windows *ws, unsigned n, uint32_t la_page, uint32_t fd_page, bool writable);
/* Unmap what was put off, if the window is in use. */
void window_settle(struct jit *j);
/* mem.on_table_write */
void window_table_write(void *opaque, struct mem_block *b, uint64_t offset, unsigned size);
/* cpu.on_protect */
void window_protect(struct cpu *cpu, const uint8_t *host_page);
/* Is a budget of mappings spent? Then empty the windows that have not been used for longest. */
bool windows_make_room(struct jit *j);
/* Empty a window. */
void window_drop(struct jit *j, unsigned n);

#endif
