/* SPDX-License-Identifier: MIT */
/*
 * One block, from guest bytes to a place in the code cache. The passes are: scan (decode until control flow,
 * a page end or the size limit; hot code: a trace through branches) -> generate -> place. -d in_asm and
 * out_asm dump before and after.
 *
 * A block never crosses a page, except for traces, and for an instruction which itself crosses: that is a
 * block of its own. Then both pages are part of the block's key.
 */
#include "core/log.h"
#include "core/machine.h"
#include "core/mem.h"
#include "core/paging.h"
#include "translate/dump.h"
#include "translate/gen.h"
#include "translate/verify.h"

/* Instruction storage of the block in work; one engine thread per CPU. */
struct scan {
  struct insn insn[BLOCK_MAX_INSNS];
  int16_t off[BLOCK_MAX_INSNS];  /* from the block's first byte */
  int8_t thunk[BLOCK_MAX_INSNS]; /* see scan_thunk */
  uint64_t window_sites;         /* as the block's */
  unsigned count;
  unsigned turns; /* of a trace through its beginning */
  int low, high;  /* bytes covered, from the block's first */
  uint32_t pa2;
  int edge;             /* offset of the next page */
  bool asked;           /* for that page */
  bool loops;           /* to the block's beginning */
  const uint8_t *page2; /* it, if a trace may go on there */
  uint32_t next_pa;
};

static bool ends_block(const struct insn *in, uint32_t mode) {
  return (insn_describe(in)->attr & A_END) && !gen_goes_on(in, mode);
}

/* The instruction at la crosses into the next page: fetch both halves. May raise #PF for the second page. */
static bool scan_crossing(struct cpu *cpu, struct scan *s, const uint8_t *bytes, unsigned avail) {
  uint8_t buf[INSN_MAX];
  if ((uint64_t)cpu->eip + avail > cpu->seg[CS].limit)
    return false; /* #GP(0) comes before #PF */
  uint32_t la2 = ((cpu->eip + cpu->seg[CS].base) & ~(MEM_PAGE - 1)) + MEM_PAGE;
  uint32_t access = PF_FETCH | (cpu->cpl == 3 ? PF_USER : 0);
  uint32_t pa2 = paging_translate(cpu, la2, access);
  const uint8_t *page2 = cpu->machine->mem->page[pa2 >> 12].read;
  if (!page2)
    return false;
  memcpy(buf, bytes, avail);
  memcpy(buf + avail, page2, INSN_MAX - avail);
  if (insn_decode(&s->insn[0], buf, INSN_MAX, cpu->mode & MODE_CODE32, cpu->features) != INSN_OK)
    return false;
  s->count = 1;
  s->off[0] = 0;
  s->thunk[0] = -1;
  s->low = 0;
  s->high = s->insn[0].length;
  s->pa2 = pa2 & ~(MEM_PAGE - 1);
  return true;
}

bool jit_next_page(struct cpu *cpu, uint32_t *pa) {
  uint32_t la = ((cpu->eip + cpu->seg[CS].base) & ~(MEM_PAGE - 1)) + MEM_PAGE;
  struct paging_leaf leaf;
  if (la == 0 || !paging_peek(cpu, la, &leaf) || ((cpu->mode & MODE_PAGING) && !leaf.accessed) ||
      !paging_try(cpu, la, PF_FETCH | (cpu->cpl == 3 ? PF_USER : 0)))
    return false;
  *pa = leaf.pa & ~(MEM_PAGE - 1);
  return true;
}

/* Of traces: may they go on there? Whoever finds such a block asks anew. */
static bool second_page(struct jit *j, struct scan *s) {
  if (!s->asked) {
    s->asked = true;
    s->page2 = jit_next_page(j->cpu, &s->next_pa) ? j->cpu->machine->mem->page[s->next_pa >> 12].read : NULL;
  }
  return s->page2;
}

static uint32_t scan_pa(const struct scan *s, uint32_t pa, int off) {
  return off < s->edge ? pa + (uint32_t)off : s->next_pa + (uint32_t)(off - s->edge);
}

/* The instruction at `off`; INSN_MORE: it goes on where the block cannot. */
static int scan_insn(struct jit *j, struct scan *s, const uint8_t *first, int off, bool trace) {
  struct cpu *cpu = j->cpu;
  struct insn *in = &s->insn[s->count];
  bool code32 = cpu->mode & MODE_CODE32;
  if (off >= s->edge)
    return insn_decode(in, s->page2 + (off - s->edge), INSN_MAX, code32, cpu->features);
  unsigned avail = (unsigned)(s->edge - off);
  if (avail >= INSN_MAX)
    return insn_decode(in, first + off, INSN_MAX, code32, cpu->features);
  int r = insn_decode(in, first + off, avail, code32, cpu->features);
  if (r != INSN_MORE || !trace || !second_page(j, s))
    return r;
  uint8_t buf[INSN_MAX];
  memcpy(buf, first + off, avail);
  memcpy(buf + avail, s->page2, INSN_MAX - avail);
  return insn_decode(in, buf, INSN_MAX, code32, cpu->features);
}

/* --- traces --- */

/*
 * Of hot code, a block goes on behind branches on the way that they usually take: one budget check and one
 * load of the FPU for all, and the branches that are followed cost nothing. A loop is unrolled to
 * TRACE_UNROLL instructions. A trace that gets too long ends where a basic block did, so that not every
 * instruction becomes the beginning of some trace. It may go on into the next page, if that is there.
 */
#define TRACE_SPAN 1024 /* bytes from the lowest to the highest */
#define TRACE_UNROLL 48u
#define TRACE_MIN 24u /* instructions that a trace cut back to a basic block's end must still have */

/* Which way does the branch at the end of the basic block at offset `start` go? The cold block that begins
 * there knows, by its links. */
static bool usually_taken(struct jit *j, const struct scan *s, uint32_t pa, int start, int taken, int next) {
  bool crosses;
  const struct block *b =
      jit_find(j, scan_pa(s, pa, start), j->cpu->eip + (uint32_t)start, NO_PAGE, &crosses);
  const struct block *way[2] = {NULL, NULL};
  for (uint32_t i = 0; b && !b->hot && i < b->link_count; i++) {
    const struct block *to = jit_block(j, j->links[b->link_first + i].to);
    if (to && to->pa == scan_pa(s, pa, taken))
      way[1] = to;
    else if (to && to->pa == scan_pa(s, pa, next))
      way[0] = to;
  }
  /* the trace's own beginning is hot, though nothing may lead there at the moment */
  if ((next == 0 && !way[0]) || (taken == 0 && !way[1]))
    return taken == 0;
  if (!way[0] != !way[1])
    return way[1] != NULL;
  if (way[0] && way[0]->heat != way[1]->heat)
    return way[1]->heat > way[0]->heat;
  return taken <= start; /* a loop */
}

static bool visited(const struct scan *s, int off) {
  for (unsigned i = 0; i < s->count; i++)
    if (s->off[i] == off)
      return true;
  return false;
}

/* Does the CALL just scanned go to a thunk that can be in line? Then which register does that load? */
static int scan_thunk(struct jit *j, const struct scan *s, uint32_t pa, int off) {
  struct cpu *cpu = j->cpu;
  const struct insn *in = &s->insn[s->count - 1];
  const uint32_t flat = MODE_WINDOW | MODE_CODE32 | MODE_FLAT_CS | MODE_FLAT_SS | MODE_STACK32 | MODE_PAGING;
  uint32_t la = cpu->eip + (uint32_t)off + in->length + in->imm;
  bool hot;
  struct paging_leaf leaf;
  if (in->map != MAP_1 || in->opcode != 0xe8 || in->opsize != 4 || (cpu->mode & flat) != flat ||
      !(s->window_sites >> (s->count - 1) & 1) || (la & (MEM_PAGE - 1)) > MEM_PAGE - THUNK_BYTES ||
      jit_takes_turns(j, pa, cpu->mode, &hot) || !paging_peek(cpu, la, &leaf))
    return -1;
  const uint8_t *page = cpu->machine->mem->page[leaf.pa >> 12].read;
  return page ? jit_thunk(page + (la & (MEM_PAGE - 1))) : -1;
}

/* The instruction just scanned, at `off`, is a branch. *to = where the trace goes on; false: nowhere. `start`
 * is its basic block's. */
static bool follow(struct jit *j, struct scan *s, uint32_t pa, int start, int off, int *to) {
  const struct insn *in = &s->insn[s->count - 1];
  bool jcc = in->map == MAP_0F ? (in->opcode & 0xf0) == 0x80 : (in->opcode & 0xf0) == 0x70;
  bool jump = in->map == MAP_1 && (in->opcode == 0xe9 || in->opcode == 0xeb);
  bool call = in->map == MAP_1 && in->opcode == 0xe8;
  int next = off + in->length, page = (int)(pa & (MEM_PAGE - 1));
  int64_t target = (int64_t)next + (int32_t)in->imm;
  if (!(jcc || jump || call) || in->opsize == 2)
    return false;
  bool thunk = s->thunk[s->count - 1] >= 0;
  bool reachable = page + target >= 0 && page + target < 2 * (int64_t)MEM_PAGE - INSN_MAX &&
                   (page + target < (int64_t)MEM_PAGE - INSN_MAX || second_page(j, s));
  bool taken = jump || (call && !thunk);
  if (jcc && reachable)
    taken = usually_taken(j, s, pa, start, (int)target, next);
  if (taken && !reachable)
    return false;
  *to = taken ? (int)target : next;
  int low = *to < s->low ? *to : s->low, high = *to + INSN_MAX > s->high ? *to + INSN_MAX : s->high;
  if (high - low > TRACE_SPAN)
    return false;
  s->loops |= *to == 0;
  if (*to == 0) /* again, if there is room for a whole turn */
    return s->count + s->count / (unsigned)(1 + s->turns) <= TRACE_UNROLL;
  return s->turns > 0 || !visited(s, *to);
}

/* False: let the interpreter execute the instruction at EIP (undefined, too long, beyond the CS limit, MMIO).
 */
static bool scan_on(struct jit *j, struct scan *s, uint32_t pa, bool hot, bool two_pages) {
  struct cpu *cpu = j->cpu;
  const uint8_t *page = cpu->machine->mem->page[pa >> 12].read;
  bool trace = hot && (cpu->mode & MODE_CODE32);
  uint32_t limit = cpu->seg[CS].limit;
  s->count = s->turns = 0;
  s->low = s->high = 0;
  s->pa2 = NO_PAGE;
  s->asked = !two_pages;
  s->loops = false;
  s->page2 = NULL;
  s->edge = (int)(MEM_PAGE - (pa & (MEM_PAGE - 1)));
  if (!page)
    return false;
  const uint8_t *first = page + (pa & (MEM_PAGE - 1));
  int off = 0, start = 0;
  unsigned boundary = 0; /* instructions before the current basic block */
  bool ended = false;
  while (s->count < BLOCK_MAX_INSNS && (off < s->edge || (trace && second_page(j, s)))) {
    if (jit_unstable(j, scan_pa(s, pa, off))) {
      if (s->count == 0)
        jit_ran_unstable(j, pa);
      break;
    }
    const struct insn *in = &s->insn[s->count];
    int r = scan_insn(j, s, first, off, trace);
    if (r == INSN_MORE && s->count == 0) {
      if (!scan_crossing(cpu, s, first, (unsigned)s->edge))
        return false;
      return (uint64_t)cpu->eip + (unsigned)s->high - 1 <= limit;
    }
    if (r != INSN_OK)
      break;
    int64_t last = (int64_t)cpu->eip + off + in->length - 1;
    if ((int64_t)cpu->eip + off < 0 || last > (int64_t)limit)
      break;
    s->off[s->count] = (int16_t)off;
    s->thunk[s->count++] = -1;
    s->low = off < s->low ? off : s->low;
    s->high = off + in->length > s->high ? off + in->length : s->high;
    if (!ends_block(in, cpu->mode)) {
      off += in->length;
    } else {
      ended = true;
      if (hot)
        s->thunk[s->count - 1] = (int8_t)scan_thunk(j, s, pa, off);
      if (!trace || !follow(j, s, pa, start, off, &off))
        break;
      ended = false;
      start = off;
      boundary = s->count;
      s->turns += off == 0;
    }
  }
  if (!ended && s->count == BLOCK_MAX_INSNS && boundary >= TRACE_MIN)
    s->count = boundary;
  if (s->high > s->edge)
    s->pa2 = s->next_pa;
  return s->count > 0;
}

/* A trace on two pages is worth it for a loop: who comes from elsewhere must ask where the second page is. */
static bool scan_block(struct jit *j, struct scan *s, uint32_t pa, bool hot) {
  if (!scan_on(j, s, pa, hot, true))
    return false;
  return s->pa2 == NO_PAGE || s->loops || s->insn[0].length > s->edge || scan_on(j, s, pa, hot, false);
}

/* See place_fldcw in gen_fpu.c: it knows which of two places are different only on one page of the host. */
#define HOST_SIZE_USUAL 24u /* bytes of an instruction, without its cold path */
static void keep_on_page(struct jit *j, const struct scan *s) {
  size_t left = -(uintptr_t)j->next & (MEM_PAGE - 1);
  if (left >= s->count * HOST_SIZE_USUAL)
    return;
  for (unsigned i = 0; i < s->count; i++)
    if (s->insn[i].id == INSN_FLDCW) {
      j->next += left;
      return;
    }
}

struct block *jit_translate(struct jit *j, uint32_t pa, bool hot) {
  struct cpu *cpu = j->cpu;
  static _Thread_local struct scan scan;
  static _Thread_local struct gen gen;
  uint32_t mode = cpu->mode;
  const struct site_hint *hint = jit_hint(j, pa, mode);
  bool hinted = hint->pa == pa && hint->mode == mode && hint->tlb_sites;
  bool was_hot;
  jit_takes_turns(j, pa, mode, &was_hot);
  hot = (mode & MODE_WINDOW) && (hot || hinted || was_hot);
  scan.window_sites = hot ? ~(hinted ? hint->tlb_sites : 0) : 0;
  if (!scan_block(j, &scan, pa, hot))
    return NULL;
  struct block *b = jit_block_new(j);
  b->pa = pa;
  b->eip = cpu->eip;
  b->mode = cpu->mode;
  b->cs_limit = cpu->seg[CS].limit;
  b->relative = mode_relative(b->mode);
  b->pa2 = scan.pa2;
  b->len = (uint16_t)(scan.high - scan.low);
  b->before = (uint16_t)-scan.low;
  b->map_first = j->map_count;
  b->link_first = j->link_count;
  jit_apply_patches(j, b, scan.insn, scan.off, scan.count);
  if (log_on(LOG_IN_ASM))
    dump_guest(b, scan.insn, scan.off, scan.count);

  struct gen *g = &gen;
  memset(g, 0, offsetof(struct gen, cold));
  g->j = j;
  g->b = b;
  g->mode = b->mode;
  g->cs_limit = b->cs_limit;
  g->insns = scan.insn;
  g->off = scan.off;
  g->thunk = scan.thunk;
  g->count = scan.count;
  b->hot = hot;
  b->window_sites = scan.window_sites;
  if (hot)
    keep_on_page(j, &scan);
  g->e.p = j->next;
  gen_block(g);
  DGM_ASSERT(g->e.p <= j->rw + j->size);
  j->map_count += b->map_count;
  j->link_count += b->link_count;
  j->next = g->e.p + (-(uintptr_t)g->e.p & 15);
  if (log_on(LOG_OUT_ASM))
    dump_host(j, b);
  if (j->verify)
    verify_or_die(j, b, scan.insn, scan.off, scan.count);
  jit_block_insert(j, b);
  return b;
}
