/* SPDX-License-Identifier: MIT */
/* Windows, their pages, and the page tables that they depend on; see window.h. */
#include "translate/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/log.h"
#include "core/machine.h"
#include "core/mem.h"
#include "core/paging.h"

#define WINDOWS 16u
#define SPACES 256u
#define NODES (1u << 20)
#define USES (1u << 16)
#define USE_HASH 4096u
#define LA_PAGES (1u << 20)
#define FD_PAGES (1u << 21) /* host pages that can be mapped: the first 8 GB of the memory file */
#define RUN_MAX 64u         /* pages looked at on each side of a miss */
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
  uint32_t code_gen; /* see window_code_gen; 0 = that of all supervisor windows */
  uint64_t last_used;
  uint8_t shift; /* log2 of a region's size */
  bool drop_pending;
  uint32_t pending_count;
  uint32_t pending[PENDING_MAX]; /* linear pages to unmap before the window is used again */
};

#define SWITCHES_MAX 400u /* in a slice of 20000 instructions */
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
  uint32_t maps, maps_max;    /* host mappings made since the last drop of all; each may cost two entries */
  unsigned hot;               /* slices that earn a window */
  unsigned switches;          /* of GS base, in this slice */
  unsigned rest, rest_length; /* slices to go without windows */
  struct {
    uint64_t fills, pages, unmapped, protected, refused, drops, table_writes, granted, evicted, lost;
  } stat;
};

/*
 * Does a window pay? About what the host charges for filling and emptying it, against what faster code gains
 * in a slice of 20000 instructions. A guest that makes and drops mappings all the time (fork, exec) is better
 * off without.
 */
#define COST_FILL 6000
#define COST_PAGE 100
#define COST_UNMAP 700
#define GAIN_SLICE 4000
#define BALANCE_MAX 4000000
#define BALANCE_MIN (-12000000) /* a big working set must be filled once */
#define LOSSES_MAX 8u

static void pay(struct window *w, int64_t cost) {
  if (w->space)
    w->space->balance -= cost;
}

/* --- the host side ------------------------------------------------------------------------------------ */

static void set_gs_base(uintptr_t base) { __asm__ volatile("wrgsbase %0" : : "r"(base)); }

static void *sparse(size_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

static uint8_t *reserve(void *at) {
  void *p = mmap(at, WINDOW_SIZE + WINDOW_GUARD, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

static bool host_map(struct jit *j, struct window *w, uint32_t la_page, uint32_t fd_page, uint32_t pages,
                     bool writable) {
  int prot = PROT_READ | (writable ? PROT_WRITE : 0);
  void *at = w->base + ((uint64_t)la_page << 12);
  j->windows->maps++;
  return mmap(at, (size_t)pages << 12, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, j->cpu->machine->mem->fd,
              (off_t)fd_page << 12) != MAP_FAILED;
}

static void host_unmap(struct windows *ws, struct window *w, uint32_t la_page, uint32_t pages) {
  ws->maps++;
  void *p = mmap(w->base + ((uint64_t)la_page << 12), (size_t)pages << 12, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  DGM_ASSERT(p != MAP_FAILED);
}

/* --- uses of page tables ------------------------------------------------------------------------------ */

static struct mem_block *block_of_fd(struct mem *m, uint32_t fd_page, uint64_t *offset) {
  uint64_t at = (uint64_t)fd_page << 12;
  for (struct mem_block *b = m->blocks; b; b = b->next)
    if (at >= b->fd_offset && at < b->fd_offset + b->size) {
      *offset = at - b->fd_offset;
      return b;
    }
  return NULL;
}

static void set_table(struct jit *j, uint32_t fd_page, bool table) {
  uint64_t offset;
  struct mem_block *b = block_of_fd(j->cpu->machine->mem, fd_page, &offset);
  if (b)
    mem_set_table(j->cpu->machine->mem, b, offset, table);
}

static uint32_t use_find(const struct windows *ws, uint32_t fd_page, unsigned window, uint32_t first_la,
                         unsigned shift) {
  for (uint32_t i = ws->use_hash[fd_page % USE_HASH]; i; i = ws->use[i].next) {
    const struct use *u = &ws->use[i];
    if (u->fd_page == fd_page && u->window == window && u->first_la == first_la && u->shift == shift)
      return i;
  }
  return 0;
}

static bool is_used(const struct windows *ws, uint32_t fd_page) {
  for (uint32_t i = ws->use_hash[fd_page % USE_HASH]; i; i = ws->use[i].next)
    if (ws->use[i].fd_page == fd_page)
      return true;
  return false;
}

/* One more page or region depends on the table. 0: no room. */
static uint32_t use_take(struct jit *j, uint32_t fd_page, unsigned window, uint32_t first_la, unsigned shift,
                         unsigned entry) {
  struct windows *ws = j->windows;
  uint32_t i = use_find(ws, fd_page, window, first_la, shift);
  if (!i) {
    bool known = is_used(ws, fd_page);
    i = ws->free_use;
    if (i)
      ws->free_use = ws->use[i].next;
    else if (ws->use_top < USES)
      i = ws->use_top++;
    else
      return 0;
    uint32_t *head = &ws->use_hash[fd_page % USE_HASH];
    ws->use[i] = (struct use){fd_page, first_la, *head, 0, (uint8_t)window, (uint8_t)shift, (uint8_t)entry};
    *head = i;
    if (!known)
      set_table(j, fd_page, true);
  }
  ws->use[i].live++;
  return i;
}

static void use_drop(struct jit *j, uint32_t i) {
  struct windows *ws = j->windows;
  struct use *u = &ws->use[i];
  if (--u->live)
    return;
  uint32_t fd_page = u->fd_page, *p = &ws->use_hash[fd_page % USE_HASH];
  while (*p != i)
    p = &ws->use[*p].next;
  *p = u->next;
  u->next = ws->free_use;
  ws->free_use = i;
  if (!is_used(ws, fd_page))
    set_table(j, fd_page, false);
}

/* --- pages -------------------------------------------------------------------------------------------- */

static struct region *region_of(struct window *w, uint32_t la_page) {
  return &w->region[la_page >> (w->shift - 12)];
}

/* Nothing of it is mapped any more? Then it depends on no table. */
static void close_region(struct jit *j, struct region *r) {
  if (r->live)
    return;
  if (r->table != NONE)
    use_drop(j, r->table);
  if (r->directory != NONE)
    use_drop(j, r->directory);
}

static void forget_page(struct jit *j, unsigned n, uint32_t la_page) {
  struct windows *ws = j->windows;
  struct window *w = &ws->window[n];
  uint32_t i = w->node[la_page];
  struct node *d = &ws->node[i];
  if (d->code) { /* what is known of the way from EIP to code is no longer true */
    *(w->code_gen ? &w->code_gen : &ws->kernel_gen) = ++ws->last_gen;
    ws->gen_changed = true;
  }
  w->node[la_page] = 0;
  w->mapped--;
  if (d->prev)
    ws->node[d->prev].next = d->next;
  else
    ws->rmap[d->fd_page] = d->next;
  if (d->next)
    ws->node[d->next].prev = d->prev;
  d->fd_page = ws->free_node;
  ws->free_node = i;
  struct region *r = region_of(w, la_page);
  r->live--;
  close_region(j, r);
}

static bool note_page(struct windows *ws, unsigned n, uint32_t la_page, uint32_t fd_page, bool writable) {
  struct window *w = &ws->window[n];
  uint32_t i = ws->free_node;
  if (i)
    ws->free_node = ws->node[i].fd_page;
  else if (ws->node_top < NODES)
    i = ws->node_top++;
  else
    return false;
  uint32_t head = ws->rmap[fd_page];
  ws->node[i] = (struct node){fd_page, la_page, head, 0, (uint8_t)n, writable, false};
  if (head)
    ws->node[head].prev = i;
  ws->rmap[fd_page] = i;
  w->node[la_page] = i;
  w->mapped++;
  region_of(w, la_page)->live++;
  return true;
}

static void window_drop(struct jit *j, unsigned n) {
  struct windows *ws = j->windows;
  struct window *w = &ws->window[n];
  w->pending_count = 0;
  w->drop_pending = false;
  if (w->mapped) {
    uint32_t per_region = 1u << (w->shift - 12);
    for (uint32_t r = 0; r < LA_PAGES / per_region && w->mapped; r++)
      for (uint32_t p = r * per_region; w->region[r].live && p < (r + 1) * per_region; p++)
        if (w->node[p])
          forget_page(j, n, p);
    madvise(w->node, LA_PAGES * sizeof *w->node, MADV_DONTNEED);
  }
  /* also what was unmapped lazily, so even when nothing is on record */
  uint8_t *p = reserve(w->base);
  DGM_ASSERT(p != NULL);
}

void windows_drop_all(struct jit *j) {
  struct windows *ws = j->windows;
  if (!ws)
    return;
  for (unsigned n = 0; n < WINDOWS; n++)
    if (ws->window[n].base && ws->window[n].space)
      window_drop(j, n);
  ws->maps = 0;
  ws->stat.drops++;
}

/* Unmap what was put off. */
static void settle(struct jit *j, unsigned n) {
  struct windows *ws = j->windows;
  struct window *w = &ws->window[n];
  if (w->drop_pending) {
    window_drop(j, n);
    return;
  }
  for (uint32_t i = 0; i < w->pending_count;) {
    uint32_t first = w->pending[i++], pages = 1;
    while (i < w->pending_count && w->pending[i] == first + pages)
      i++, pages++;
    host_unmap(ws, w, first, pages);
  }
  w->pending_count = 0;
}

/* The tables no longer say what a window's page shows. */
static void invalidate(struct jit *j, unsigned n, uint32_t la_page) {
  struct windows *ws = j->windows;
  struct window *w = &ws->window[n];
  if (!w->node[la_page])
    return;
  forget_page(j, n, la_page);
  ws->stat.unmapped++;
  pay(w, COST_UNMAP);
  if (w->pending_count == PENDING_MAX || w->mapped == 0)
    w->drop_pending = true;
  else if (!w->drop_pending)
    w->pending[w->pending_count++] = la_page;
}

static void invalidate_range(struct jit *j, unsigned n, uint32_t first, uint32_t pages) {
  struct window *w = &j->windows->window[n];
  for (uint32_t p = first, end = first + pages; p < end && w->mapped;) {
    if (region_of(w, p)->live == 0) {
      p = (p | ((1u << (w->shift - 12)) - 1)) + 1;
      continue;
    }
    invalidate(j, n, p++);
  }
}

static void settle_current(struct jit *j) {
  struct windows *ws = j->windows;
  if (ws->active && (ws->window[ws->current].pending_count || ws->window[ws->current].drop_pending))
    settle(j, (unsigned)ws->current);
}

static void on_table_write(void *opaque, struct mem_block *b, uint64_t offset, unsigned size) {
  struct machine *m = opaque;
  struct jit *j = m->cpu[0]->engine_data;
  struct windows *ws = j->windows;
  uint32_t fd_page = (uint32_t)((b->fd_offset + offset) >> 12);
  uint32_t at = (uint32_t)offset & (MEM_PAGE - 1);
  struct use use[64]; /* a copy: dropping pages changes the chain */
  unsigned count;
  ws->stat.table_writes++;
  do {
    count = 0;
    for (uint32_t i = ws->use_hash[fd_page % USE_HASH]; i && count < 64; i = ws->use[i].next)
      if (ws->use[i].fd_page == fd_page)
        use[count++] = ws->use[i];
    uint64_t before = ws->stat.unmapped;
    for (unsigned n = 0; n < count; n++) {
      const struct use *u = &use[n];
      uint32_t first = at >> u->entry, last = (at + size - 1) >> u->entry;
      uint32_t entry_pages = 1u << (u->shift - 12);
      invalidate_range(j, u->window, (u->first_la >> 12) + first * entry_pages,
                       (last - first + 1) * entry_pages);
    }
    if (ws->stat.unmapped == before)
      break;
  } while (count == 64);
  settle_current(j);
  if (ws->gen_changed)
    jit_rekey(j->cpu);
}

/* A host page became code, a page table, or clean for a display. */
static void on_protect(struct cpu *cpu, const uint8_t *host_page) {
  struct jit *j = cpu->engine_data;
  struct windows *ws = j->windows;
  for (const struct mem_block *b = cpu->machine->mem->blocks; b; b = b->next) {
    if (host_page < b->host || host_page >= b->host + b->size)
      continue;
    uint64_t fd_page = (b->fd_offset + (uint64_t)(host_page - b->host)) >> 12;
    if (fd_page >= FD_PAGES)
      return;
    for (uint32_t i = ws->rmap[fd_page]; i; i = ws->node[i].next) {
      struct node *d = &ws->node[i];
      if (!d->writable)
        continue;
      d->writable = false;
      ws->maps++;
      ws->stat.protected ++;
      mprotect(ws->window[d->window].base + ((uint64_t)d->la_page << 12), MEM_PAGE, PROT_READ);
    }
    return;
  }
}

/* --- spaces ------------------------------------------------------------------------------------------- */

static void make_key(const struct cpu *cpu, bool user, struct space_key *k) {
  memset(k, 0, sizeof *k);
  k->bits = (cpu->cr0 & (CR0_PG | CR0_WP)) | (user ? 1 : 0) | (cpu->a20 ? 2 : 0);
  if (!(cpu->cr0 & CR0_PG)) {
    k->bits &= 2;
    return;
  }
  k->bits |= (cpu->cr4 & (CR4_PSE | CR4_PAE)) | (cpu->efer & EFER_NXE ? 4 : 0);
  if (cpu->cr4 & CR4_PAE) {
    k->cr3 = cpu->cr3 & ~0x1fu;
    memcpy(k->pdpte, cpu->pdpte, sizeof k->pdpte);
  } else {
    k->cr3 = cpu->cr3 & ~0xfffu;
  }
}

static void take_window_away(struct jit *j, struct space *s) {
  struct windows *ws = j->windows;
  if (s->window < 0)
    return;
  struct window *w = &ws->window[s->window];
  window_drop(j, (unsigned)s->window);
  w->space = NULL;
  if (ws->current == s->window)
    ws->active = false;
  s->window = -1;
}

static struct space *find_space(struct jit *j, bool user) {
  struct windows *ws = j->windows;
  struct space_key key;
  make_key(j->cpu, user, &key);
  uint32_t h = (key.cr3 >> 5) * 0x9e3779b1u ^ (key.bits & ~1u) * 0x85ebca6bu;
  /* the user's and the supervisor's of one CR3 never share a slot */
  struct space *s = &ws->space[((h >> 8 ^ h >> 20) % (SPACES / 2)) * 2 + user];
  if (s->used && memcmp(&s->key, &key, sizeof key) == 0)
    return s;
  if (s->used)
    take_window_away(j, s);
  *s = (struct space){.key = key, .used = true, .window = -1};
  return s;
}

static void grant(struct jit *j, struct space *s) {
  struct windows *ws = j->windows;
  unsigned best = 0;
  for (unsigned n = 0; n < WINDOWS; n++) {
    struct window *w = &ws->window[n];
    if (!w->space) {
      best = n;
      break;
    }
    if (w->last_used < ws->window[best].last_used)
      best = n;
  }
  struct window *w = &ws->window[best];
  if (w->space) {
    take_window_away(j, w->space);
    ws->stat.evicted++;
  }
  if (!w->base) {
    w->base = reserve(NULL);
    w->node = sparse(LA_PAGES * sizeof *w->node);
    if (!w->base || !w->node)
      return; /* it stays with the TLB */
  }
  w->shift = s->key.bits & CR4_PAE ? 21 : 22;
  w->code_gen = !(s->key.bits & 1) && (j->cpu->cr4 & CR4_PGE) ? 0 : ++ws->last_gen;
  w->space = s;
  w->last_used = ++ws->clock;
  s->window = (int8_t)best;
  ws->stat.granted++;
}

void window_space_changed(struct jit *j) {
  struct windows *ws = j->windows;
  if (ws)
    ws->now[0] = ws->now[1] = NULL;
}

static struct space *space_now(struct jit *j) {
  struct windows *ws = j->windows;
  bool user = j->cpu->mode & MODE_USER;
  if (!ws->now[user]) {
    ws->now[user] = find_space(j, user);
    if (ws->hot == 0 && ws->now[user]->window < 0)
      grant(j, ws->now[user]);
  }
  return ws->now[user];
}

void window_select(struct jit *j) {
  struct windows *ws = j->windows;
  struct cpu *cpu = j->cpu;
  if (!ws)
    return;
  struct space *s = space_now(j);
  /* a window that has become empty, because its process is gone, must be earned again */
  if (s->window >= 0 && ws->hot && ws->window[s->window].drop_pending && (s->key.bits & 1)) {
    s->heat = 0;
    take_window_away(j, s);
  }
  if (s->window < 0 || j->hold_windows || ws->rest) {
    cpu->mode &= ~MODE_WINDOW;
    ws->active = false;
    return;
  }
  cpu->mode |= MODE_WINDOW;
  struct window *w = &ws->window[s->window];
  ws->active = true;
  if (ws->current != s->window) {
    /* between address spaces the software TLB, which is flushed then, is the dearer way */
    const struct space *last = ws->current >= 0 ? ws->window[ws->current].space : NULL;
    ws->switches += last && last->key.cr3 == s->key.cr3;
    ws->current = s->window;
    w->last_used = ++ws->clock;
    set_gs_base((uintptr_t)w->base);
  }
  settle_current(j);
}

void window_enter(struct jit *j) {
  struct windows *ws = j->windows;
  if (ws && ws->current >= 0)
    set_gs_base((uintptr_t)ws->window[ws->current].base);
}

/*
 * A change of GS base costs the host some 20 ns. Where the guest does little between two (system calls in a
 * row, an event a microsecond), windows don't pay: go without for a while, longer each time that it is found
 * again. True: that begins or ends.
 */
static bool rest(struct windows *ws) {
  bool busy = ws->switches > SWITCHES_MAX && ws->hot != 0;
  ws->switches = 0;
  if (ws->rest)
    return --ws->rest == 0;
  if (!busy) {
    ws->rest_length = 0;
    return false;
  }
  ws->rest_length = ws->rest_length == 0         ? REST_MIN
                    : ws->rest_length < REST_MAX ? ws->rest_length * 2
                                                 : REST_MAX;
  ws->rest = ws->rest_length;
  return true;
}

bool window_sample(struct jit *j) {
  struct windows *ws = j->windows;
  if (!ws)
    return false;
  if (ws->maps > ws->maps_max)
    windows_drop_all(j);
  if (rest(ws))
    return true;
  struct space *s = space_now(j);
  if (s->window >= 0) {
    s->balance += s->balance < BALANCE_MAX ? GAIN_SLICE : 0;
    if (s->balance > BALANCE_MIN || ws->hot == 0)
      return false;
    take_window_away(j, s);
    s->losses += s->losses < LOSSES_MAX;
    s->heat = -((int)ws->hot << s->losses);
    s->balance = 0;
    ws->stat.lost++;
    return true;
  }
  if (++s->heat < (int)ws->hot)
    return false;
  grant(j, s);
  return s->window >= 0;
}

/* --- misses ------------------------------------------------------------------------------------------- */

/* What a window may show at la: its host page and whether it may be written. False: nothing. */
static bool view(const struct jit *j, const struct paging_leaf *leaf, bool user, uint32_t *fd_page,
                 bool *writable) {
  const struct cpu *cpu = j->cpu;
  const struct mem_page *p = &cpu->machine->mem->page[leaf->pa >> 12];
  if (!leaf->accessed || (user && !leaf->user) || !p->read || p->block->log)
    return false;
  uint64_t fd = (p->block->fd_offset + (uint64_t)(p->read - p->block->host)) >> 12;
  if (fd >= FD_PAGES)
    return false;
  *fd_page = (uint32_t)fd;
  bool allowed = leaf->writable || (!user && !(cpu->cr0 & CR0_WP));
  *writable = allowed && leaf->dirty && p->write == p->read && p->flags == 0;
  return true;
}

/* The host page that holds a table entry, if stores to it can be noticed. */
static bool table_page(const struct jit *j, uint32_t pa, uint32_t *fd_page) {
  const struct mem_page *p = &j->cpu->machine->mem->page[pa >> 12];
  if (!p->read || p->write != p->read || p->block->log)
    return false;
  uint64_t fd = (p->block->fd_offset + (uint64_t)(p->read - p->block->host)) >> 12;
  *fd_page = (uint32_t)fd;
  return fd < FD_PAGES;
}

/* Depend on the tables that the region's pages come from. */
static bool open_region(struct jit *j, unsigned n, uint32_t la, const struct paging_leaf *leaf) {
  struct windows *ws = j->windows;
  struct window *w = &ws->window[n];
  struct region *r = region_of(w, la >> 12);
  uint32_t table, directory;
  if (r->live)
    return true;
  r->table = r->directory = NONE;
  if (!leaf->pde_pa)
    return !(j->cpu->cr0 & CR0_PG);
  bool pae = w->shift == 21;
  unsigned entry = pae ? 3 : 2;
  if (!table_page(j, leaf->pde_pa, &directory) || (!leaf->large && !table_page(j, leaf->pte_pa, &table)))
    return false;
  r->directory = use_take(j, directory, n, pae ? la & 0xc0000000u : 0, w->shift, entry);
  if (!r->directory)
    return false;
  if (!leaf->large) {
    r->table = use_take(j, table, n, la & ~((1u << w->shift) - 1), 12, entry);
    if (!r->table) {
      use_drop(j, r->directory);
      return false;
    }
  }
  return true;
}

/* How many pages on from la_page in direction `step` continue the run. */
static uint32_t look_around(struct jit *j, const struct window *w, uint32_t la_page, int step, bool user,
                            uint32_t fd_page, bool writable) {
  uint32_t mask = (1u << (w->shift - 12)) - 1;
  for (uint32_t n = 1; n <= RUN_MAX; n++) {
    uint32_t page = la_page + (uint32_t)step * n;
    struct paging_leaf leaf;
    uint32_t fd;
    bool wr;
    if (page >= LA_PAGES || ((page ^ la_page) & ~mask) || w->node[page] ||
        !paging_peek(j->cpu, page << 12, &leaf) || !view(j, &leaf, user, &fd, &wr) ||
        fd != fd_page + (uint32_t)step * n || wr != writable)
      return n - 1;
  }
  return RUN_MAX;
}

static unsigned fill(struct jit *j, unsigned n, uint32_t la, bool write) {
  struct windows *ws = j->windows;
  struct window *w = &ws->window[n];
  struct cpu *cpu = j->cpu;
  bool user = cpu->mode & MODE_USER, writable;
  uint32_t access = (user ? PF_USER : 0) | (write ? PF_WRITE : 0), fd_page;
  struct paging_leaf leaf;
  if (!paging_peek(cpu, la, &leaf))
    return 0;
  if (!leaf.accessed || (write && !leaf.dirty)) {
    /* near a page's end the access may reach into the next page and fault there, and must then leave no trace
     * here */
    if ((la & (MEM_PAGE - 1)) > MEM_PAGE - EDGE || !paging_try(cpu, la, access) ||
        !paging_peek(cpu, la, &leaf))
      return 0;
  }
  if (!view(j, &leaf, user, &fd_page, &writable) || (write && !writable))
    return 0;
  if (!open_region(j, n, la, &leaf))
    return 0;
  struct region *r = region_of(w, la >> 12);
  if (!view(j, &leaf, user, &fd_page, &writable) || (write && !writable)) {
    close_region(j, r); /* the table was the very page */
    return 0;
  }
  uint32_t page = la >> 12, first = page, last = page;
  bool code = w->node[page] && ws->node[w->node[page]].code;
  if (w->node[page]) {                    /* it was there, but not for writing, or only as code */
    ws->node[w->node[page]].code = false; /* the translation stays */
    r->live++;
    forget_page(j, n, page);
    r->live--;
  } else {
    first -= look_around(j, w, page, -1, user, fd_page, writable);
    last += look_around(j, w, page, 1, user, fd_page, writable);
  }
  bool noted = true;
  for (uint32_t p = first; p <= last && noted; p++)
    noted = note_page(ws, n, p, fd_page + p - page, writable);
  if (code && w->node[page])
    ws->node[w->node[page]].code = true;
  ws->stat.fills++;
  ws->stat.pages += last - first + 1;
  pay(w, COST_FILL + (int64_t)(last - first + 1) * COST_PAGE);
  if (noted && host_map(j, w, first, fd_page + first - page, last - first + 1, writable))
    return last - first + 1;
  /* Out of nodes or of mappings: all go at the next slice. What is on record but not mapped faults again. */
  close_region(j, r);
  ws->maps = ws->maps_max + 1;
  return 0;
}

unsigned window_fault(struct jit *j, uintptr_t host, bool write) {
  struct windows *ws = j->windows;
  if (!ws || !ws->active)
    return 0;
  struct window *w = &ws->window[ws->current];
  uintptr_t la = host - (uintptr_t)w->base;
  if (la >= WINDOW_SIZE)
    return 0;
  unsigned pages = fill(j, (unsigned)ws->current, (uint32_t)la, write);
  if (!pages)
    ws->stat.refused++;
  return pages;
}

/* --- code --------------------------------------------------------------------------------------------- */

uint32_t window_code_gen(const struct jit *j) {
  const struct windows *ws = j->windows;
  if (!ws || !ws->active)
    return 0;
  const struct window *w = &ws->window[ws->current];
  return w->code_gen ? w->code_gen : ws->kernel_gen;
}

bool window_note_code(struct jit *j, uint32_t la, bool global) {
  struct windows *ws = j->windows;
  if (!ws || !ws->active)
    return false;
  unsigned n = (unsigned)ws->current;
  struct window *w = &ws->window[n];
  if (w->code_gen == 0 && !global) { /* this supervisor's code is not the same in all spaces */
    w->code_gen = ++ws->last_gen;
    jit_rekey(j->cpu);
  }
  uint32_t page = la >> 12, fd_page;
  bool user = j->cpu->mode & MODE_USER, writable;
  if (!w->node[page]) {
    struct paging_leaf leaf;
    if (!paging_peek(j->cpu, la, &leaf) || !view(j, &leaf, user, &fd_page, &writable) ||
        !open_region(j, n, la, &leaf))
      return false;
    if (!note_page(ws, n, page, fd_page, false)) {
      close_region(j, region_of(w, page));
      return false;
    }
  }
  ws->node[w->node[page]].code = true;
  return true;
}

bool window_holds(const struct jit *j, uintptr_t host) {
  const struct windows *ws = j->windows;
  return ws && ws->active && host - (uintptr_t)ws->window[ws->current].base < WINDOW_SIZE + WINDOW_GUARD;
}

/* --- set-up ------------------------------------------------------------------------------------------- */

static bool have_fsgsbase(void) {
  return getauxval(AT_HWCAP2) & 2;
} /* HWCAP2_FSGSBASE: the kernel allows it */

static uint32_t host_map_limit(void) {
  unsigned limit = 65530;
  FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
  if (f) {
    if (fscanf(f, "%u", &limit) != 1)
      limit = 65530;
    fclose(f);
  }
  return limit < 8192 ? 0 : (limit - 4096) / 2;
}

int windows_init(struct jit *j, unsigned hot, const char **why) {
  struct windows *ws = sparse(sizeof *ws);
  if (!ws)
    return -ENOMEM;
  j->windows = ws;
  ws->current = -1;
  ws->hot = hot;
  ws->maps_max = host_map_limit();
  ws->node_top = ws->use_top = 1;
  ws->kernel_gen = ++ws->last_gen;
  ws->node = sparse(NODES * sizeof *ws->node);
  ws->use = sparse(USES * sizeof *ws->use);
  ws->rmap = sparse(FD_PAGES * sizeof *ws->rmap);
  struct window *first = &ws->window[0];
  first->base = reserve(NULL);
  first->node = sparse(LA_PAGES * sizeof *first->node);
  *why = "out of memory";
  int error = !ws->node || !ws->use || !ws->rmap || !first->node ? -ENOMEM : 0;
  if (!error && !first->base) {
    *why = "no 4 GiB of address space can be reserved (see ulimit -v)";
    error = -ENOMEM;
  }
  if (!error && !have_fsgsbase()) {
    *why = "the host has no WRGSBASE for programs (FSGSBASE, Linux 5.9 or later)";
    error = -ENOTSUP;
  }
  if (!error && ws->maps_max == 0) {
    *why = "vm.max_map_count is below 8192";
    error = -ENOTSUP;
  }
  if (error) {
    windows_free(j);
    return error;
  }
  j->cpu->machine->mem->on_table_write = on_table_write;
  j->cpu->on_protect = on_protect;
  return 0;
}

static void give_back(void *p, size_t size) {
  if (p)
    munmap(p, size);
}

void windows_free(struct jit *j) {
  struct windows *ws = j->windows;
  if (!ws)
    return;
  if (j->cpu->machine->mem)
    j->cpu->machine->mem->on_table_write = NULL;
  j->cpu->on_protect = NULL;
  for (unsigned n = 0; n < WINDOWS; n++) {
    give_back(ws->window[n].base, WINDOW_SIZE + WINDOW_GUARD);
    give_back(ws->window[n].node, LA_PAGES * sizeof(uint32_t));
  }
  give_back(ws->node, NODES * sizeof *ws->node);
  give_back(ws->use, USES * sizeof *ws->use);
  give_back(ws->rmap, FD_PAGES * sizeof *ws->rmap);
  give_back(ws, sizeof *ws);
  j->windows = NULL;
}

void windows_info(const struct jit *j, FILE *out) {
  const struct windows *ws = j->windows;
  if (!ws)
    return;
  unsigned in_use = 0;
  uint32_t mapped = 0;
  for (unsigned n = 0; n < WINDOWS; n++) {
    in_use += ws->window[n].space != NULL;
    mapped += ws->window[n].mapped;
  }
  fprintf(out,
          "windows             %u with %u pages (%llu granted, %llu evicted, %llu did not pay, %llu times "
          "all dropped)\n",
          in_use, mapped, (unsigned long long)ws->stat.granted, (unsigned long long)ws->stat.evicted,
          (unsigned long long)ws->stat.lost, (unsigned long long)ws->stat.drops);
  fprintf(out, "  fills             %llu of %llu pages; refused %llu\n", (unsigned long long)ws->stat.fills,
          (unsigned long long)ws->stat.pages, (unsigned long long)ws->stat.refused);
  fprintf(out, "  unmapped          %llu by %llu stores to page tables; made read-only %llu\n",
          (unsigned long long)ws->stat.unmapped, (unsigned long long)ws->stat.table_writes,
          (unsigned long long)ws->stat.protected);
}
