/* SPDX-License-Identifier: MIT */
/* Which spaces have windows, and how these are filled; see window.h. */
#include "translate/window_impl.h"

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

static void set_gs_base(uintptr_t base) { __asm__ volatile("wrgsbase %0" : : "r"(base)); }

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
    w->base = window_reserve(NULL);
    w->node = jit_sparse(LA_PAGES * sizeof *w->node);
    if (!w->base || !w->node)
      return; /* it stays with the TLB */
  }
  w->shift = s->key.bits & CR4_PAE ? 21 : 22;
  w->code_gen = !(s->key.bits & 1) && (j->cpu->cr4 & CR4_PGE) ? 0 : ++ws->last_gen;
  w->space = s;
  w->calm = 0;
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
  window_settle(j);
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
  if (windows_make_room(j))
    return true;
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

/* The page of the memory file behind p. False: not memory, memory whose stores are logged, or too far up. */
static bool fd_page_of(const struct mem_page *p, uint32_t *fd_page) {
  if (!p->read || p->block->log)
    return false;
  uint64_t fd = (p->block->fd_offset + (uint64_t)(p->read - p->block->host)) >> 12;
  *fd_page = (uint32_t)fd;
  return fd < FD_PAGES;
}

/* What a window may show at la: its host page and whether it may be written. False: nothing. */
static bool view(const struct jit *j, const struct paging_leaf *leaf, bool user, uint32_t *fd_page,
                 bool *writable) {
  const struct cpu *cpu = j->cpu;
  const struct mem_page *p = &cpu->machine->mem->page[leaf->pa >> 12];
  if (!leaf->accessed || (user && !leaf->user) || !fd_page_of(p, fd_page))
    return false;
  bool allowed = leaf->writable || (!user && !(cpu->cr0 & CR0_WP));
  *writable = allowed && leaf->dirty && p->write == p->read && p->flags == 0;
  return true;
}

/* The host page that holds a table entry, if stores to it can be noticed. */
static bool table_page(const struct jit *j, uint32_t pa, uint32_t *fd_page) {
  const struct mem_page *p = &j->cpu->machine->mem->page[pa >> 12];
  return p->write == p->read && fd_page_of(p, fd_page);
}

/* Depend on the tables that the region's pages come from. */
static bool open_region(struct jit *j, unsigned n, uint32_t la, const struct paging_leaf *leaf) {
  struct windows *ws = j->windows;
  struct window *w = &ws->window[n];
  struct region *r = window_region(w, la >> 12);
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
  r->directory = window_use(j, directory, n, pae ? la & 0xc0000000u : 0, w->shift, entry);
  if (!r->directory)
    return false;
  if (!leaf->large) {
    r->table = window_use(j, table, n, la & ~((1u << w->shift) - 1), 12, entry);
    if (!r->table) {
      window_unuse(j, r->directory);
      return false;
    }
  }
  return true;
}

/* How many pages on from la_page in direction `step` continue the run, at most `max`. */
static uint32_t look_around(struct jit *j, const struct window *w, uint32_t la_page, int step, bool user,
                            uint32_t fd_page, bool writable, uint32_t max) {
  uint32_t mask = (1u << (w->shift - 12)) - 1;
  for (uint32_t n = 1; n <= max; n++) {
    uint32_t page = la_page + (uint32_t)step * n;
    struct paging_leaf leaf;
    uint32_t fd;
    bool wr;
    if (page >= LA_PAGES || ((page ^ la_page) & ~mask) || w->node[page] ||
        !paging_peek(j->cpu, page << 12, &leaf) || !view(j, &leaf, user, &fd, &wr) ||
        fd != fd_page + (uint32_t)step * n || wr != writable)
      return n - 1;
  }
  return max;
}

/* How far to look around: what a large page maps is there to stay; other pages, the further the longer none
 * has been taken away. */
static uint32_t run_length(struct window *w, const struct paging_leaf *leaf) {
  if (leaf->large || !leaf->pde_pa)
    return RUN_MAX;
  uint32_t run = RUN_MIN << w->calm / RUN_FILLS;
  if (run >= RUN_MAX)
    return RUN_MAX;
  w->calm++;
  return run;
}

static unsigned fill(struct jit *j, unsigned n, uint32_t la, bool write, bool tentative) {
  struct windows *ws = j->windows;
  struct window *w = &ws->window[n];
  struct cpu *cpu = j->cpu;
  bool user = cpu->mode & MODE_USER, writable;
  uint32_t access = (user ? PF_USER : 0) | (write ? PF_WRITE : 0), fd_page;
  struct paging_leaf leaf;
  if (!paging_peek(cpu, la, &leaf))
    return 0;
  if (!leaf.accessed || (write && !leaf.dirty)) {
    /* Near a page's end the access may reach into the next page and fault there, and must then leave no trace
     * here: the interpreter does it. */
    if (tentative || (la & (MEM_PAGE - 1)) > MEM_PAGE - EDGE) {
      j->exact_step = true;
      return 0;
    }
    if (!paging_try(cpu, la, access) || !paging_peek(cpu, la, &leaf))
      return 0;
  }
  if (!view(j, &leaf, user, &fd_page, &writable) || (write && !writable))
    return 0;
  if (!open_region(j, n, la, &leaf))
    return 0;
  struct region *r = window_region(w, la >> 12);
  if (!view(j, &leaf, user, &fd_page, &writable) || (write && !writable)) {
    window_close_region(j, r); /* the table was the very page */
    return 0;
  }
  uint32_t page = la >> 12, first = page, last = page;
  bool code = w->node[page] && ws->node[w->node[page]].code;
  if (w->node[page]) {                    /* it was there, but not for writing, or only as code */
    ws->node[w->node[page]].code = false; /* the translation stays */
    r->live++;
    window_forget(j, n, page);
    r->live--;
  } else {
    uint32_t max = run_length(w, &leaf);
    first -= look_around(j, w, page, -1, user, fd_page, writable, max);
    last += look_around(j, w, page, 1, user, fd_page, writable, max);
  }
  bool noted = true;
  for (uint32_t p = first; p <= last && noted; p++)
    noted = window_note(ws, n, p, fd_page + p - page, writable);
  if (code && w->node[page])
    ws->node[w->node[page]].code = true;
  ws->stat.fills++;
  ws->stat.pages += last - first + 1;
  if (noted && window_map(j, w, first, fd_page + first - page, last - first + 1, writable))
    return last - first + 1;
  /* Out of nodes or of mappings: some go at the next slice. What is on record but not mapped faults again. */
  window_close_region(j, r);
  ws->maps_refused = true;
  return 0;
}

unsigned window_fault(struct jit *j, uintptr_t host, bool write, bool tentative) {
  struct windows *ws = j->windows;
  if (!ws || !ws->active)
    return 0;
  struct window *w = &ws->window[ws->current];
  uintptr_t la = host - (uintptr_t)w->base;
  if (la >= WINDOW_SIZE)
    return 0;
  unsigned pages = fill(j, (unsigned)ws->current, (uint32_t)la, write, tentative);
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
    if (!window_note(ws, n, page, fd_page, false)) {
      window_close_region(j, window_region(w, page));
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

#define USUAL_MAP_LIMIT 65530u

static uint32_t host_map_limit(bool counted) {
  unsigned limit = USUAL_MAP_LIMIT;
  FILE *f = fopen("/proc/sys/vm/max_map_count", "r");
  if (f) {
    if (fscanf(f, "%u", &limit) != 1)
      limit = USUAL_MAP_LIMIT;
    fclose(f);
  }
  if (counted && limit > USUAL_MAP_LIMIT) /* when a window must be dropped shall not depend on the host */
    limit = USUAL_MAP_LIMIT;
  return limit < 8192 ? 0 : (limit - 4096) / 2;
}

int windows_init(struct jit *j, unsigned hot, const char **why) {
  struct windows *ws = jit_sparse(sizeof *ws);
  if (!ws)
    return -ENOMEM;
  j->windows = ws;
  ws->current = -1;
  ws->hot = hot;
  ws->maps_max = host_map_limit(j->cpu->machine->config.counted);
  ws->node_top = ws->use_top = 1;
  ws->kernel_gen = ++ws->last_gen;
  ws->node = jit_sparse(NODES * sizeof *ws->node);
  ws->use = jit_sparse(USES * sizeof *ws->use);
  ws->rmap = jit_sparse(FD_PAGES * sizeof *ws->rmap);
  struct window *first = &ws->window[0];
  first->base = window_reserve(NULL);
  first->node = jit_sparse(LA_PAGES * sizeof *first->node);
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
  j->cpu->machine->mem->on_table_write = window_table_write;
  j->cpu->on_protect = window_protect;
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
          "some dropped for room)\n",
          in_use, mapped, (unsigned long long)ws->stat.granted, (unsigned long long)ws->stat.evicted,
          (unsigned long long)ws->stat.lost, (unsigned long long)ws->stat.drops);
  fprintf(out, "  fills             %llu of %llu pages; refused %llu\n", (unsigned long long)ws->stat.fills,
          (unsigned long long)ws->stat.pages, (unsigned long long)ws->stat.refused);
  fprintf(out, "  unmapped          %llu by %llu stores to page tables; made read-only %llu\n",
          (unsigned long long)ws->stat.unmapped, (unsigned long long)ws->stat.table_writes,
          (unsigned long long)ws->stat.protected);
}
