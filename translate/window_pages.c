/* SPDX-License-Identifier: MIT */
/* What windows show, and the page tables that it depends on; see window.h and window_impl.h. */
#include <string.h>
#include <sys/mman.h>

#include "core/log.h"
#include "core/machine.h"
#include "core/mem.h"
#include "translate/window_impl.h"

void window_pay(struct window *w, int64_t cost) {
  if (w->space)
    w->space->balance -= cost;
}

/* --- the host side ------------------------------------------------------------------------------------ */

uint8_t *window_reserve(void *at) {
  void *p = mmap(at, WINDOW_SIZE + WINDOW_GUARD, PROT_NONE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (at ? MAP_FIXED : 0), -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

static void count_map(struct windows *ws, struct window *w) {
  w->maps++;
  ws->maps++;
}

bool window_map(struct jit *j, struct window *w, uint32_t la_page, uint32_t fd_page, uint32_t pages,
                bool writable) {
  int prot = PROT_READ | (writable ? PROT_WRITE : 0);
  void *at = w->base + ((uint64_t)la_page << 12);
  count_map(j->windows, w);
  return mmap(at, (size_t)pages << 12, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, j->cpu->machine->mem->fd,
              (off_t)fd_page << 12) != MAP_FAILED;
}

static void host_unmap(struct windows *ws, struct window *w, uint32_t la_page, uint32_t pages) {
  count_map(ws, w);
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
uint32_t window_use(struct jit *j, uint32_t fd_page, unsigned window, uint32_t first_la, unsigned shift,
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

void window_unuse(struct jit *j, uint32_t i) {
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

struct region *window_region(struct window *w, uint32_t la_page) {
  return &w->region[la_page >> (w->shift - 12)];
}

/* Nothing of it is mapped any more? Then it depends on no table. */
void window_close_region(struct jit *j, struct region *r) {
  if (r->live)
    return;
  if (r->table != NONE)
    window_unuse(j, r->table);
  if (r->directory != NONE)
    window_unuse(j, r->directory);
}

void window_forget(struct jit *j, unsigned n, uint32_t la_page) {
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
  struct region *r = window_region(w, la_page);
  r->live--;
  window_close_region(j, r);
}

bool window_note(struct windows *ws, unsigned n, uint32_t la_page, uint32_t fd_page, bool writable) {
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
  window_region(w, la_page)->live++;
  return true;
}

void window_drop(struct jit *j, unsigned n) {
  struct windows *ws = j->windows;
  struct window *w = &ws->window[n];
  w->pending_count = 0;
  w->drop_pending = false;
  if (w->mapped) {
    uint32_t per_region = 1u << (w->shift - 12);
    for (uint32_t r = 0; r < LA_PAGES / per_region && w->mapped; r++)
      for (uint32_t p = r * per_region; w->region[r].live && p < (r + 1) * per_region; p++)
        if (w->node[p])
          window_forget(j, n, p);
    madvise(w->node, LA_PAGES * sizeof *w->node, MADV_DONTNEED);
  }
  /* also what was unmapped lazily, so even when nothing is on record */
  uint8_t *p = window_reserve(w->base);
  DGM_ASSERT(p != NULL);
  ws->maps -= w->maps;
  w->maps = 0;
}

void windows_drop_all(struct jit *j) {
  struct windows *ws = j->windows;
  if (!ws)
    return;
  for (unsigned n = 0; n < WINDOWS; n++)
    if (ws->window[n].base && ws->window[n].space)
      window_drop(j, n);
  ws->stat.drops++;
}

bool windows_make_room(struct jit *j) {
  struct windows *ws = j->windows;
  if (ws->maps <= ws->maps_max && !ws->maps_refused)
    return false;
  uint32_t goal = ws->maps_max / 4 * 3;
  do {
    struct window *oldest = NULL;
    for (unsigned n = 0; n < WINDOWS; n++) {
      struct window *w = &ws->window[n];
      if (w->maps && (!oldest || w->last_used < oldest->last_used))
        oldest = w;
    }
    if (!oldest)
      break;
    window_drop(j, (unsigned)(oldest - ws->window));
  } while (ws->maps > goal);
  ws->maps_refused = false;
  ws->stat.drops++;
  return true;
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
  window_forget(j, n, la_page);
  ws->stat.unmapped++;
  w->calm = 0;
  window_pay(w, COST_PAGE);
  if (w->pending_count == PENDING_MAX || w->mapped == 0)
    w->drop_pending = true;
  else if (!w->drop_pending)
    w->pending[w->pending_count++] = la_page;
}

static void invalidate_range(struct jit *j, unsigned n, uint32_t first, uint32_t pages) {
  struct window *w = &j->windows->window[n];
  for (uint32_t p = first, end = first + pages; p < end && w->mapped;) {
    if (window_region(w, p)->live == 0) {
      p = (p | ((1u << (w->shift - 12)) - 1)) + 1;
      continue;
    }
    invalidate(j, n, p++);
  }
}

void window_settle(struct jit *j) {
  struct windows *ws = j->windows;
  if (ws->active && (ws->window[ws->current].pending_count || ws->window[ws->current].drop_pending))
    settle(j, (unsigned)ws->current);
}

void window_table_write(void *opaque, struct mem_block *b, uint64_t offset, unsigned size) {
  struct machine *m = opaque;
  struct jit *j = m->cpu[0]->engine_data;
  struct windows *ws = j->windows;
  uint32_t fd_page = (uint32_t)((b->fd_offset + offset) >> 12);
  uint32_t at = (uint32_t)offset & (MEM_PAGE - 1);
  struct use use[64]; /* a copy: dropping pages changes the chain */
  unsigned count;
  ws->stat.table_writes++;
  ws->gen_changed = false;
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
  window_settle(j);
  if (ws->gen_changed)
    jit_rekey(j->cpu);
}

/* A host page became code, a page table, or clean for a display. */
void window_protect(struct cpu *cpu, const uint8_t *host_page) {
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
      count_map(ws, &ws->window[d->window]);
      ws->stat.protected ++;
      mprotect(ws->window[d->window].base + ((uint64_t)d->la_page << 12), MEM_PAGE, PROT_READ);
    }
    return;
  }
}
