/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: what MMX has beyond packed arithmetic (SDM vol. 1, ch. 9): its registers on the x87 stack,
 * EMMS, and the byte-masked stores, which SSE2 shares. The arithmetic is in interp_sse.c.
 */
#include "core/fpu.h"

#include <string.h>

#include "core/interp.h"
#include "core/paging.h"
#include "core/segment.h"

void mmx_enter(struct cpu *cpu) {
  struct fxsave *fx = &cpu->fx;
  unsigned top = (fx->fsw & FSW_TOP) >> FSW_TOP_SHIFT;
  if (top != 0) {
    uint8_t st[8][16];
    memcpy(st, fx->st, sizeof st);
    for (unsigned reg = 0; reg < 8; reg++)
      memcpy(fx->st[reg], st[(reg - top) & 7], 16);
    fx->fsw &= (uint16_t)~FSW_TOP;
  }
  fx->ftw = 0xff;
}

uint8_t *mmx_register(struct cpu *cpu, unsigned reg) {
  unsigned top = (cpu->fx.fsw & FSW_TOP) >> FSW_TOP_SHIFT;
  return cpu->fx.st[(reg - top) & 7];
}

void interp_emms(struct cpu *cpu) {
  mmx_enter(cpu);
  cpu->fx.ftw = 0;
}

/* Rights to the whole operand are checked, whatever the mask says; then only the selected bytes are stored. */
void interp_maskmov(struct cpu *cpu, const struct insn *in) {
  bool mmx = in->id == INSN_MASKMOVQ_Pq_Nq, user = cpu->cpl == 3;
  unsigned size = mmx ? 8 : 16;
  int seg = in->seg_override == 0xff ? DS : in->seg_override;
  uint32_t offset = in->addrsize == 4 ? cpu->gpr[EDI] : cpu->gpr[EDI] & 0xffff;
  uint32_t la = seg_linear(cpu, seg, offset, size, true);
  if (cpu->align_check && (la & 7)) /* of both sizes, as the host's processor does it */
    cpu_raise_error(cpu, EXC_AC, 0);
  linear_check_write(cpu, la, size, user);
  if (mmx)
    mmx_enter(cpu);
  const uint8_t *data = mmx ? cpu->fx.st[in->reg] : cpu->fx.xmm[in->reg];
  const uint8_t *mask = mmx ? cpu->fx.st[in->rm] : cpu->fx.xmm[in->rm];
  for (unsigned i = 0; i < size; i++)
    if (mask[i] & 0x80)
      linear_write(cpu, la + i, 1, data[i], user);
}
