/* SPDX-License-Identifier: MIT */
/*
 * The code cache: memory mapped twice (writable and executable, never both in one mapping), the block
 * table by physical address and mode, links between blocks, and invalidation. When anything is full,
 * everything is dropped and translation starts over. The cache is held small as long as the guest does
 * not come back to what was dropped.
 */
#include "translate/jit.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/log.h"
#include "core/machine.h"
#include "core/mem.h"
#include "translate/window.h"

#define MAX_BLOCKS (1u << 19)
#define MAX_MAPS (1u << 22)
#define RAN_BYTES (1u << 17)
#define MAX_INSNS (1u << 19)
#define MAX_LINKS (1u << 21)
/*
 * So much memory may be used, with what is known of the code, before everything is dropped. If three quarters
 * of the code was there before the last flush, and that was less than so many instructions ago, the guest's
 * working code is larger, and the limit grows. (To translate all of it again takes about a tenth of that
 * time.)
 */
#define LIMIT_FIRST (43u << 20)
#define LIMIT_STEP (8u << 20)
#define LIMIT_INSNS (1ull << 30)
#define KNOWN_BITS 19 /* of hash, see struct jit */

void *jit_sparse(size_t size) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return p == MAP_FAILED ? NULL : p;
}

/* The same, in huge pages where the host has them: for tables that are searched at random. */
static void *sparse_huge(size_t size) {
  void *p = jit_sparse(size);
  if (p)
    madvise(p, size, MADV_HUGEPAGE);
  return p;
}

void jit_sparse_free(void *p, size_t size) {
  if (p)
    munmap(p, size);
}

int jit_cache_init(struct jit *j, size_t size) {
  int fd = memfd_create("code cache", MFD_CLOEXEC);
  if (fd < 0)
    return -errno;
  if (ftruncate(fd, (off_t)size) < 0) {
    int err = errno;
    close(fd);
    return -err;
  }
  void *rw = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
  void *rx = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE | MAP_32BIT, fd, 0);
  int err = errno;
  close(fd);
  if (rw == MAP_FAILED || rx == MAP_FAILED)
    return -err;
  j->rw = rw;
  j->rx = rx;
  j->size = size;
  j->limit = LIMIT_FIRST;
  j->block_max = MAX_BLOCKS;
  j->map_max = MAX_MAPS;
  j->insn_max = MAX_INSNS;
  j->link_max = MAX_LINKS;
  j->links = jit_sparse(MAX_LINKS * sizeof *j->links);
  j->blocks = sparse_huge(MAX_BLOCKS * sizeof *j->blocks);
  j->maps = jit_sparse(MAX_MAPS * sizeof *j->maps);
  j->insns = jit_sparse(MAX_INSNS * sizeof *j->insns);
  j->hash = sparse_huge(JIT_HASH * sizeof *j->hash);
  j->page_blocks = jit_sparse(MEM_PAGES * sizeof *j->page_blocks);
  j->ran = jit_sparse(RAN_BYTES);
  j->runs = jit_sparse(RUNS);
  j->hints = jit_sparse(SITE_HINTS * sizeof *j->hints);
  j->code_granules = jit_sparse(MEM_PAGES * sizeof *j->code_granules);
  if (!j->links || !j->hints || !j->code_granules || !j->ran || !spaces_init(j) || !j->runs || !j->blocks ||
      !j->maps || !j->insns || !j->hash || !j->page_blocks)
    return -ENOMEM;
  j->next_id = 1;
  jit_make_stubs(j);
  return 0;
}

void jit_cache_free(struct jit *j) {
  if (j->rw)
    munmap(j->rw, j->size);
  if (j->rx)
    munmap((void *)j->rx, j->size);
  if (j->blocks)
    munmap(j->blocks, MAX_BLOCKS * sizeof *j->blocks);
  if (j->maps)
    munmap(j->maps, MAX_MAPS * sizeof *j->maps);
  if (j->insns)
    munmap(j->insns, MAX_INSNS * sizeof *j->insns);
  if (j->hash)
    munmap(j->hash, JIT_HASH * sizeof *j->hash);
  if (j->links)
    munmap(j->links, MAX_LINKS * sizeof *j->links);
  if (j->hints)
    munmap(j->hints, SITE_HINTS * sizeof *j->hints);
  if (j->code_granules)
    munmap(j->code_granules, MEM_PAGES * sizeof *j->code_granules);
  jit_sparse_free(j->ran, RAN_BYTES);
  spaces_free(j);
  if (j->runs)
    munmap(j->runs, RUNS);
  if (j->page_blocks)
    munmap(j->page_blocks, MEM_PAGES * sizeof *j->page_blocks);
}

/* Blocks of a page lie near one another in the table: who looks for one will soon look for others. */
static uint32_t hash_key(uint32_t pa, uint32_t eip, uint32_t mode) {
  uint64_t h = (pa >> 12) * 0x9e3779b97f4a7c15ull ^
               (mode_relative(mode) ? 0 : eip - pa) * 0xc2b2ae3d27d4eb4full ^ mode * 0x165667b19e3779f9ull;
  return ((uint32_t)(h >> 40) + (pa & (MEM_PAGE - 1)) / 4) & (JIT_HASH - 1);
}

static void release(void *p, size_t size) { madvise(p, size, MADV_DONTNEED); }

void jit_flush(struct jit *j) {
  for (uint32_t i = 0; i < j->block_count; i++) {
    struct block *b = &j->blocks[i];
    j->page_blocks[b->pa >> 12] = 0;
    j->code_granules[b->pa >> 12] = 0;
    if (b->pa2 != NO_PAGE) {
      j->page_blocks[b->pa2 >> 12] = 0;
      j->code_granules[b->pa2 >> 12] = 0;
    }
  }
  if (j->block_count) { /* the host gets the memory back: it may be long until as much is needed again */
    release(j->hash, JIT_HASH * sizeof *j->hash);
    release(j->blocks, j->block_count * sizeof *j->blocks);
    release(j->maps, j->map_count * sizeof *j->maps);
    release(j->insns, j->insn_count * sizeof *j->insns);
    release(j->links, j->link_count * sizeof *j->links);
    size_t stubs = ((size_t)(j->stubs_end - j->rw) + MEM_PAGE - 1) & ~(size_t)(MEM_PAGE - 1);
    madvise(j->rw + stubs, j->size - stubs, MADV_REMOVE);
  }
  j->block_count = j->map_count = j->insn_count = j->link_count = 0;
  j->next = j->stubs_end;
  j->limit = LIMIT_FIRST;
  j->flushed_at = j->cpu->icount;
  memset(j->ids, 0, sizeof j->ids);
  memset(j->turns, 0, sizeof j->turns);
  memset(j->hot_turns, 0, sizeof j->hot_turns);
  memcpy(j->known[0], j->known[1], sizeof j->known[0]);
  memset(j->known[1], 0, sizeof j->known[1]);
  j->known_blocks = j->known_again = 0;
  j->stat.flushes++;
  jit_rekey(j->cpu);
}

static bool room(const struct jit *j) {
  return (size_t)(j->next - j->rw) + MEM_PAGE + (BLOCK_MAX_INSNS + 4) * INSN_HOST_MAX <= j->size;
}

static size_t memory_used(const struct jit *j) {
  return (size_t)(j->next - j->stubs_end) + j->block_count * sizeof *j->blocks +
         j->map_count * sizeof *j->maps + j->link_count * sizeof *j->links + j->insn_count * sizeof *j->insns;
}

/* There is code at pa. Was there before the last flush, too? */
static void note_known(struct jit *j, uint32_t pa, uint32_t mode) {
  uint32_t n = (pa * 0x9e3779b1u ^ mode * 0x85ebca6bu) >> (32 - KNOWN_BITS);
  uint8_t bit = (uint8_t)(1u << (n & 7));
  if (j->known[1][n / 8] & bit)
    return;
  j->known[1][n / 8] |= bit;
  j->known_blocks++;
  j->known_again += (j->known[0][n / 8] & bit) != 0;
}

struct block *jit_block_new(struct jit *j) {
  bool full = j->block_count == j->block_max || j->map_count + 4 * BLOCK_MAX_INSNS > j->map_max ||
              j->insn_count + 2 * BLOCK_MAX_INSNS > j->insn_max ||
              j->link_count + 2 * BLOCK_MAX_INSNS > j->link_max || !room(j);
  if (!full && memory_used(j) > j->limit) {
    if (j->cpu->icount - j->flushed_at < LIMIT_INSNS && j->known_again > j->known_blocks / 4 * 3)
      j->limit += LIMIT_STEP;
    else
      full = true;
  }
  if (full)
    jit_flush(j);
  struct block *b = &j->blocks[j->block_count];
  memset(b, 0, sizeof *b);
  b->pa2 = NO_PAGE;
  return b;
}

uint32_t jit_block_pa(const struct block *b, int off) {
  int edge = (int)(MEM_PAGE - (b->pa & (MEM_PAGE - 1)));
  return b->pa2 == NO_PAGE || off < edge ? b->pa + (uint32_t)off : b->pa2 + (uint32_t)(off - edge);
}

unsigned jit_block_bytes(const struct jit *j, const struct block *b, int off, uint8_t *buf) {
  const struct mem_page *pages = j->cpu->machine->mem->page;
  uint32_t pa = jit_block_pa(b, off), avail = MEM_PAGE - (pa & (MEM_PAGE - 1));
  const uint8_t *page = pages[pa >> 12].read;
  unsigned n = avail < INSN_MAX ? avail : INSN_MAX;
  if (!page)
    return 0;
  memcpy(buf, page + (pa & (MEM_PAGE - 1)), n);
  if (n == INSN_MAX || b->pa2 == NO_PAGE || off >= (int)(MEM_PAGE - (b->pa & (MEM_PAGE - 1))) ||
      !pages[b->pa2 >> 12].read)
    return n;
  memcpy(buf + n, pages[b->pa2 >> 12].read, INSN_MAX - n);
  return INSN_MAX;
}

/* The granules of `page` that b covers. Both of its pages may be the same physical one. */
static uint64_t block_granules(const struct block *b, uint32_t page) {
  uint32_t first = b->pa - b->before, here = b->pa2 == NO_PAGE ? b->len : MEM_PAGE - (first & (MEM_PAGE - 1));
  uint64_t mask = first >> 12 == page ? granule_mask(first, here) : 0;
  if (b->pa2 != NO_PAGE && b->pa2 >> 12 == page)
    mask |= granule_mask(b->pa2, b->len - here);
  return mask;
}

void jit_block_insert(struct jit *j, struct block *b) {
  struct mem *mem = j->cpu->machine->mem;
  uint32_t h = hash_key(b->pa, b->eip, b->mode);
  uint32_t number = jit_block_number(j, b);
  b->hash_next = j->hash[h];
  j->hash[h] = number;
  uint32_t page = b->pa >> 12;
  bool new_page = !(mem->page[page].flags & PAGE_CODE_HERE) ||
                  (b->pa2 != NO_PAGE && !(mem->page[b->pa2 >> 12].flags & PAGE_CODE_HERE));
  if (new_page) /* perhaps the second such page of the same memory */
    jit_forget_code_stores(j);
  b->page_next[0] = j->page_blocks[page];
  j->page_blocks[page] = number;
  mem_set_code(mem, b->pa, true);
  j->code_granules[page] |= block_granules(b, page);
  if (b->pa2 != NO_PAGE) {
    b->page_next[1] = j->page_blocks[b->pa2 >> 12];
    j->page_blocks[b->pa2 >> 12] = number;
    mem_set_code(mem, b->pa2, true);
    j->code_granules[b->pa2 >> 12] |= block_granules(b, b->pa2 >> 12);
  }
  b->valid = true;
  note_known(j, b->pa, b->mode);
  j->block_count++;
  j->stat.blocks++;
  j->stat.bytes += b->host_size;
}

struct block *jit_find(struct jit *j, uint32_t pa, uint32_t eip, uint32_t pa2, bool *crosses) {
  struct cpu *cpu = j->cpu;
  for (uint32_t n = j->hash[hash_key(pa, eip, cpu->mode)]; n;) {
    struct block *b = &j->blocks[n - 1];
    n = b->hash_next;
    if (b->pa != pa || (b->eip != eip && !b->relative) || b->mode != cpu->mode ||
        b->cs_limit != cpu->seg[CS].limit)
      continue;
    if (b->pa2 != NO_PAGE && b->pa2 != pa2) {
      *crosses = true; /* the caller must find out where the second page is, then ask again */
      continue;
    }
    return b;
  }
  return NULL;
}

static uint32_t *page_link(struct block *b, uint32_t page) {
  return b->pa >> 12 == page ? &b->page_next[0] : &b->page_next[1];
}

static void remove_from_page(struct jit *j, struct block *b, uint32_t page) {
  uint32_t *p = &j->page_blocks[page], number = jit_block_number(j, b);
  while (*p && *p != number)
    p = page_link(jit_block(j, *p), page);
  if (*p)
    *p = *page_link(b, page);
}

static void unlink_exit(struct jit *j, struct link *l) {
  if (!l->to)
    return;
  *(l->prev ? &j->links[l->prev - 1].next : &jit_block(j, l->to)->incoming) = l->next;
  if (l->next)
    j->links[l->next - 1].prev = l->prev;
  l->to = 0;
  if (!l->thunk)
    emit_patch32(link_field(j, l), j->rw + l->stub);
  if (l->far)
    memset(link_far_key(j, l), 0, 4);
}

void jit_link(struct jit *j, struct link *l, struct block *to) {
  uint32_t number = (uint32_t)(l - j->links) + 1;
  unlink_exit(j, l);
  l->to = jit_block_number(j, to);
  l->next = to->incoming;
  l->prev = 0;
  if (l->next)
    j->links[l->next - 1].prev = number;
  to->incoming = number;
  if (!l->thunk)
    emit_patch32(link_field(j, l), jit_to_rw(j, to->host));
  j->stat.links++;
}

void jit_block_invalidate(struct jit *j, struct block *b) {
  if (!b->valid)
    return;
  b->valid = false;
  uint32_t *p = &j->hash[hash_key(b->pa, b->eip, b->mode)], number = jit_block_number(j, b);
  while (*p != number)
    p = &jit_block(j, *p)->hash_next;
  *p = b->hash_next;
  remove_from_page(j, b, b->pa >> 12);
  if (b->pa2 != NO_PAGE)
    remove_from_page(j, b, b->pa2 >> 12);
  while (b->incoming)
    unlink_exit(j, &j->links[b->incoming - 1]);
  for (uint32_t i = 0; i < b->link_count; i++)
    unlink_exit(j, &j->links[b->link_first + i]);
  /* EIP's low 12 bits are the physical address's, if the block does not fix it */
  uint32_t stride = b->relative ? MEM_PAGE : JC_ENTRIES;
  for (uint32_t i = b->eip & (stride - 1); i < JC_ENTRIES; i += stride) {
    struct jc_entry *jc = &j->cpu->jump_cache[JC_TABLE(b->mode)][i];
    if (jc->host == (uint32_t)(uintptr_t)b->host)
      jc->tag = JC_NEVER;
  }
  j->stat.invalidated++;
}

static uint32_t turns_bit(uint32_t pa, uint32_t mode) {
  return (pa * 0x9e3779b1u ^ mode * 0x85ebca6bu) >> (32 - TURNS_BITS);
}

bool jit_takes_turns(const struct jit *j, uint32_t pa, uint32_t mode, bool *hot) {
  uint32_t n = turns_bit(pa, mode);
  *hot = j->hot_turns[n / 8] >> (n & 7) & 1;
  return j->turns[n / 8] >> (n & 7) & 1;
}

/*
 * An exit of b was linked too often: spaces take turns in it. From now on it asks the jump cache, in line,
 * because one place where all such exits do that makes a jump that no processor can predict.
 */
static void take_turns(struct jit *j, struct block *b) {
  uint32_t n = turns_bit(b->pa, b->mode);
  j->turns[n / 8] |= (uint8_t)(1u << (n & 7));
  if (b->hot)
    j->hot_turns[n / 8] |= (uint8_t)(1u << (n & 7));
  jit_block_invalidate(j, b);
}

int jit_thunk(const uint8_t *code) {
  bool is = code[0] == 0x8b && (code[1] & 0xc7) == 0x04 && code[2] == 0x24 && code[3] == 0xc3;
  int reg = code[1] >> 3 & 7;
  return is && reg != ESP ? reg : -1;
}

/* Is `to` the thunk that the exit has in line? */
static bool same_thunk(const struct jit *j, const struct link *l, const struct block *to) {
  const uint8_t *page = j->cpu->machine->mem->page[to->pa >> 12].read;
  uint32_t off = to->pa & (MEM_PAGE - 1);
  return page && off <= MEM_PAGE - THUNK_BYTES && to->len >= THUNK_BYTES &&
         jit_thunk(page + off) == l->thunk - 1;
}

void jit_link_far(struct jit *j, struct link *l, struct block *to) {
  struct cpu *cpu = j->cpu;
  uint32_t key = -(uint32_t)(cpu->jc_key >> 32), bias = cpu->eip - to->pa;
  if (l->relinks == FAR_RELINKS) { /* shared by spaces that take turns */
    take_turns(j, jit_block(j, l->from));
    return;
  }
  l->relinks++;
  if (l->thunk && !same_thunk(j, l, to))
    return; /* so many times in vain */
  jit_link(j, l, to);
  if (!l->thunk)
    memcpy(link_far_bias(j, l), &bias, 4);
  memcpy(link_far_key(j, l), &key, 4);
}

/* Does b cover any of pa .. pa + size - 1? Both of its pages may be the same physical one. */
static bool overlaps(const struct block *b, uint64_t pa, uint64_t size) {
  uint32_t first = b->pa - b->before, here = MEM_PAGE - (first & (MEM_PAGE - 1));
  if (b->pa2 == NO_PAGE)
    here = b->len;
  else if (b->pa2 < pa + size && pa < (uint64_t)b->pa2 + b->len - here)
    return true;
  return first < pa + size && pa < (uint64_t)first + here;
}

void jit_invalidate_range(struct jit *j, uint32_t pa, uint64_t size) {
  uint32_t last = (uint32_t)(((uint64_t)pa + size - 1) >> 12);
  for (uint32_t page = pa >> 12; page <= last; page++) {
    uint64_t granules = 0;
    for (uint32_t n = j->page_blocks[page]; n;) {
      struct block *b = &j->blocks[n - 1];
      n = *page_link(b, page);
      if (!overlaps(b, pa, size) || jit_patch_site(b, pa, size)) {
        granules |= block_granules(b, page);
        continue;
      }
      jit_note_patch(j, b, pa, size > 4 ? 5 : (uint32_t)size);
      jit_block_invalidate(j, b);
    }
    j->code_granules[page] = granules;
    if (!j->page_blocks[page])
      mem_set_code(j->cpu->machine->mem, page << 12, false);
  }
}

const struct block *jit_block_at(const struct jit *j, const uint8_t *host) {
  uint32_t lo = 0, hi = j->block_count;
  while (lo < hi) {
    uint32_t mid = (lo + hi) / 2;
    if (j->blocks[mid].host <= host)
      lo = mid + 1;
    else
      hi = mid;
  }
  if (lo == 0)
    return NULL;
  const struct block *b = &j->blocks[lo - 1];
  return host < b->host + b->host_size ? b : NULL;
}

/*
 * Give the current (mode, CS base, CS limit) its key. Keys are unique for ever, so an entry made under
 * another mode, or before a flush of linear mappings, can't match.
 */
void jit_rekey(struct cpu *cpu) {
  struct jit *j = cpu->engine_data;
  window_select(j);
  uint32_t base = cpu->seg[CS].base, limit = cpu->seg[CS].limit;
  uint64_t gen = window_code_gen(j);
  if (!gen)
    gen = FLUSH_GEN + (cpu->mode & MODE_USER ? spaces_user_gen(j) : j->supervisor_flushes);
  uint32_t h = (cpu->mode * 0x9e3779b1u ^ base * 0x85ebca6bu ^ (uint32_t)gen * 0xc2b2ae35u ^ limit) >> 8;
  struct mode_id *m = &j->ids[(h ^ h >> 11) % JIT_IDS];
  if (m->id == 0 || m->mode != cpu->mode || m->cs_base != base || m->cs_limit != limit || m->gen != gen) {
    if (j->next_id == UINT32_MAX) { /* links know their ids, too */
      memset(cpu->jump_cache, 0, sizeof cpu->jump_cache);
      memset(j->ids, 0, sizeof j->ids);
      j->next_id = 1;
      j->flush_wanted = true;
    }
    *m = (struct mode_id){cpu->mode, base, limit, j->next_id++, gen};
  }
  cpu->jc_key = (uint64_t)m->id << 32;
  cpu->jc_table = JC_TABLE(cpu->mode) * sizeof cpu->jump_cache[0] / 8;
}
