/* SPDX-License-Identifier: MIT */
/*
 * One block, from guest bytes to a place in the code cache. The passes are: scan (decode until control flow,
 * a page end or the size limit) -> generate -> place. -d in_asm and out_asm dump before and after.
 *
 * A block never crosses a page, except that an instruction which itself crosses is a block of its own;
 * then both pages are part of its key.
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
  unsigned count;
  unsigned len;
  uint32_t pa2;
};

/* STI ends a block only if it is not translated in line, see gen_interrupt_flag. */
static bool ends_block(const struct insn *in, uint32_t mode) {
  if (in->id == INSN_STI && !(mode & (MODE_USER | MODE_V86)))
    return false;
  return insn_describe(in)->attr & A_END;
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
  s->len = s->insn[0].length;
  s->pa2 = pa2 & ~(MEM_PAGE - 1);
  return true;
}

/* False: let the interpreter execute the instruction at EIP (undefined, too long, beyond the CS limit, MMIO). */
static bool scan_block(struct cpu *cpu, struct scan *s, uint32_t pa) {
  const uint8_t *page = cpu->machine->mem->page[pa >> 12].read;
  bool code32 = cpu->mode & MODE_CODE32;
  uint32_t limit = cpu->seg[CS].limit;
  s->count = s->len = 0;
  s->pa2 = NO_PAGE;
  if (!page)
    return false;
  uint32_t offset = pa & (MEM_PAGE - 1);
  while (s->count < BLOCK_MAX_INSNS && offset + s->len < MEM_PAGE) {
    const uint8_t *bytes = page + offset + s->len;
    unsigned avail = MEM_PAGE - offset - s->len;
    if (avail > INSN_MAX)
      avail = INSN_MAX;
    struct insn *in = &s->insn[s->count];
    int r = insn_decode(in, bytes, avail, code32, cpu->features);
    if (r == INSN_MORE && s->count == 0) {
      if (!scan_crossing(cpu, s, bytes, avail))
        return false;
      return (uint64_t)cpu->eip + s->len - 1 <= limit;
    }
    if (r != INSN_OK)
      break;
    uint64_t last = (uint64_t)cpu->eip + s->len + in->length - 1;
    if (last > limit || (!code32 && last > 0xffff))
      break;
    s->len += in->length;
    s->count++;
    if (ends_block(in, cpu->mode))
      break;
  }
  return s->count > 0;
}

struct block *jit_translate(struct jit *j, uint32_t pa, bool hot) {
  struct cpu *cpu = j->cpu;
  static _Thread_local struct scan scan;
  static _Thread_local struct gen gen;
  if (!scan_block(cpu, &scan, pa))
    return NULL;
  struct block *b = jit_block_new(j);
  b->pa = pa;
  b->eip = cpu->eip;
  b->mode = cpu->mode;
  b->cs_limit = cpu->seg[CS].limit;
  b->relative = mode_relative(b->mode);
  b->pa2 = scan.pa2;
  b->len = (uint16_t)scan.len;
  b->insns = (uint8_t)scan.count;
  b->map_first = j->map_count;
  if (log_on(LOG_IN_ASM))
    dump_guest(b, scan.insn, scan.count);

  struct gen *g = &gen;
  memset(g, 0, offsetof(struct gen, cold));
  g->j = j;
  g->b = b;
  g->mode = b->mode;
  g->cs_limit = b->cs_limit;
  g->insns = scan.insn;
  g->count = scan.count;
  const struct site_hint *hint = jit_hint(j, pa, b->mode);
  bool hinted = hint->pa == pa && hint->mode == b->mode && hint->tlb_sites;
  b->hot = (b->mode & MODE_WINDOW) && (hot || hinted);
  b->window_sites = b->hot ? ~(hinted ? hint->tlb_sites : 0) : 0;
  g->e.p = j->next;
  b->host = jit_to_rx(j, g->e.p);
  gen_block(g);
  DGM_ASSERT(g->e.p <= j->rw + j->size);
  j->map_count += b->map_count;
  j->next = g->e.p + (-(uintptr_t)g->e.p & 15);
  if (log_on(LOG_OUT_ASM))
    dump_host(j, b);
  if (j->verify)
    verify_or_die(j, b, scan.insn, scan.count);
  jit_block_insert(j, b);
  return b;
}
