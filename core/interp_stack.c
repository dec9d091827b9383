/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: stack instructions (PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE), SDM vol. 2.
 *
 * The width of the stack pointer is SS.B, the width of the item the operand size. All stores of an instruction are
 * checked before the first is done, so that a fault leaves stack and registers as they were.
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
  uint16_t sel = (uint16_t)peek_v(cpu, 2, 0);
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

/* Check `count` pushes of `size` bytes below `sp`. */
static void check_pushes(struct cpu *cpu, uint32_t sp, int size, int count) {
  for (int i = 1; i <= count; i++)
    check_write(cpu, SS, (sp - (uint32_t)(i * size)) & stack_mask(cpu), (unsigned)size);
}

HANDLER(PUSHA) {
  uint32_t esp = cpu->gpr[ESP];
  check_pushes(cpu, esp, in->opsize, 8);
  for (unsigned r = EAX; r <= EDI; r++)
    push_v(cpu, in->opsize, r == ESP ? esp : cpu->gpr[r]);
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
  int size = in->opsize;
  uint32_t mask = stack_mask(cpu), sp = cpu->gpr[ESP], bp = cpu->gpr[EBP];
  uint32_t level = in->imm2 & 31;
  uint32_t end = sp - (uint32_t)size * (level + 1) - in->imm;
  /* Everything that can fault comes first. The final stack pointer must be writable as well. */
  check_pushes(cpu, sp, size, (int)level + 1);
  for (uint32_t i = 1; i < level; i++)
    vmem_read(cpu, SS, (bp - i * (uint32_t)size) & mask, size);
  check_write(cpu, SS, end & mask, 1);

  push_v(cpu, size, bp);
  uint32_t frame = cpu->gpr[ESP];
  for (uint32_t i = 1; i < level; i++)
    push_v(cpu, size, (uint32_t)vmem_read(cpu, SS, (bp - i * (uint32_t)size) & mask, size));
  if (level > 0)
    push_v(cpu, size, frame);
  set_sp(cpu, cpu->gpr[ESP] - in->imm);
  set_reg_v(cpu, EBP, size, frame);
}

HANDLER(LEAVE) {
  uint32_t mask = stack_mask(cpu), bp = cpu->gpr[EBP];
  uint32_t v = (uint32_t)vmem_read(cpu, SS, bp & mask, in->opsize);
  set_sp(cpu, bp + in->opsize);
  set_reg_v(cpu, EBP, in->opsize, v);
}
