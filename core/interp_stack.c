/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: stack instructions (PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE), SDM vol. 2.
 *
 * The width of the stack pointer is SS.B, the width of the item the operand size. A fault leaves the registers as
 * they were, but what PUSHA and ENTER have stored by then stays.
 */
#include "core/interp.h"

#define HANDLER(id) void interp_##id(struct cpu *cpu, const struct insn *in)

static void pop_done(struct cpu *cpu, uint32_t bytes) { set_sp(cpu, cpu->gpr[ESP] + bytes); }

/* A selector is pushed zero-extended. */
#define HANDLERS_PUSH_SEG(name) \
  HANDLER(PUSH_##name) { push_v(cpu, in->opsize, cpu->seg[name].sel); }

HANDLERS_PUSH_SEG(ES)
HANDLERS_PUSH_SEG(CS)
HANDLERS_PUSH_SEG(SS)
HANDLERS_PUSH_SEG(DS)
HANDLERS_PUSH_SEG(FS)
HANDLERS_PUSH_SEG(GS)

/* POP SS: the new SS.B does not apply to the increment. */
static void pop_seg(struct cpu *cpu, const struct insn *in, int seg) {
  uint16_t sel = (uint16_t)peek_v(cpu, in->opsize, 0);
  uint32_t mask = stack_mask(cpu), sp = cpu->gpr[ESP] + in->opsize;
  seg_load(cpu, seg, sel);
  cpu->gpr[ESP] = (cpu->gpr[ESP] & ~mask) | (sp & mask);
  if (seg == SS)
    cpu->shadow = SHADOW_MOVSS;
}

HANDLER(POP_ES) { pop_seg(cpu, in, ES); }
HANDLER(POP_SS) { pop_seg(cpu, in, SS); }
HANDLER(POP_DS) { pop_seg(cpu, in, DS); }
HANDLER(POP_FS) { pop_seg(cpu, in, FS); }
HANDLER(POP_GS) { pop_seg(cpu, in, GS); }

HANDLER(PUSH_Zv) { push_v(cpu, in->opsize, cpu->gpr[in->rm]); }
HANDLER(PUSH_Iv) { push_v(cpu, in->opsize, in->imm); }
HANDLER(PUSH_Ibs) { push_v(cpu, in->opsize, in->imm); }
HANDLER(PUSH_Ev) { push_v(cpu, in->opsize, read_e(cpu, in, in->opsize)); }

HANDLER(POP_Zv) {
  uint32_t v = peek_v(cpu, in->opsize, 0);
  pop_done(cpu, in->opsize);
  set_reg_v(cpu, in->rm, in->opsize, v); /* last: POP ESP keeps what was popped */
}

/* An address that uses ESP sees it incremented. */
HANDLER(POP_Ev) {
  uint32_t v = peek_v(cpu, in->opsize, 0), old = cpu->gpr[ESP];
  if (!in->is_mem) {
    pop_done(cpu, in->opsize);
    set_reg_v(cpu, in->rm, in->opsize, v);
    return;
  }
  pop_done(cpu, in->opsize);
  uint32_t ea = insn_ea(cpu, in), new = cpu->gpr[ESP];
  cpu->gpr[ESP] = old;
  vmem_write(cpu, in->seg, ea, in->opsize, v);
  cpu->gpr[ESP] = new;
}

/* This and ENTER store as they go, as processors do: registers stay as they were until nothing can fault any more. */
HANDLER(PUSHA) {
  uint32_t sp = cpu->gpr[ESP], size = in->opsize;
  for (unsigned r = EAX; r <= EDI; r++) {
    sp -= size;
    vmem_write(cpu, SS, sp & stack_mask(cpu), in->opsize, cpu->gpr[r]);
  }
  set_sp(cpu, sp);
}

HANDLER(POPA) {
  uint32_t v[8];
  for (unsigned r = EAX; r <= EDI; r++)
    v[r] = peek_v(cpu, in->opsize, (7 - r) * in->opsize);
  pop_done(cpu, 8u * in->opsize);
  for (unsigned r = EAX; r <= EDI; r++)
    if (r != ESP)
      set_reg_v(cpu, r, in->opsize, v[r]);
}

/* VME makes PUSHF work at low IOPL, but not PUSHFD. */
HANDLER(PUSHF) {
  if (in->opsize == 4 && cpu_v86(cpu) && cpu_iopl(cpu) < 3)
    cpu_raise_error(cpu, EXC_GP, 0);
  push_v(cpu, in->opsize, control_pushf(cpu));
}

HANDLER(POPF) {
  uint32_t v = peek_v(cpu, in->opsize, 0);
  control_popf(cpu, v, in->opsize);
  pop_done(cpu, in->opsize);
}

HANDLER(ENTER_Iw_Ib) {
  uint32_t size = in->opsize, mask = stack_mask(cpu), sp = cpu->gpr[ESP], bp = cpu->gpr[EBP];
  uint32_t level = in->imm2 & 31, frame = (sp & ~mask) | ((sp - size) & mask);
  vmem_write(cpu, SS, frame & mask, in->opsize, bp);
  sp = frame;
  for (uint32_t i = 1; i < level; i++) {
    sp -= size;
    vmem_write(cpu, SS, sp & mask, in->opsize, vmem_read(cpu, SS, (bp - i * size) & mask, in->opsize));
  }
  if (level > 0) {
    sp -= size;
    vmem_write(cpu, SS, sp & mask, in->opsize, frame);
  }
  sp -= in->imm;
  uint32_t la = check_write(cpu, SS, sp & mask, size); /* the final stack pointer must be writable as well */
  if (cpu->align_check && (la & (size - 1)))
    cpu_raise_error(cpu, EXC_AC, 0);
  set_sp(cpu, sp);
  set_reg_v(cpu, EBP, in->opsize, frame);
}

HANDLER(LEAVE) {
  uint32_t mask = stack_mask(cpu), bp = cpu->gpr[EBP];
  uint32_t v = (uint32_t)vmem_read(cpu, SS, bp & mask, in->opsize);
  set_sp(cpu, bp + in->opsize);
  set_reg_v(cpu, EBP, in->opsize, v);
}
