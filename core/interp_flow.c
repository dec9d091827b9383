/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: control transfers, near ones here, far ones through far.c and exception.c (SDM vol. 2); flag
 * instructions. A near target beyond the CS limit raises #GP(0) before anything changes.
 */
#include "core/interp.h"

#define HANDLER(id) void interp_##id(struct cpu *cpu, const struct insn *in)

static void jump_if(struct cpu *cpu, const struct insn *in, bool taken) {
  if (!taken)
    return;
  uint32_t target = branch_target(cpu, in);
  branch_check(cpu, target);
  cpu->next_eip = target;
}

#define HANDLERS_JCC(CC) \
  HANDLER(J##CC##_Jb) { jump_if(cpu, in, condition(cpu->eflags, in->opcode & 15)); } \
  HANDLER(J##CC##_Jv) { jump_if(cpu, in, condition(cpu->eflags, in->opcode & 15)); }

HANDLERS_JCC(O)
HANDLERS_JCC(NO)
HANDLERS_JCC(B)
HANDLERS_JCC(AE)
HANDLERS_JCC(E)
HANDLERS_JCC(NE)
HANDLERS_JCC(BE)
HANDLERS_JCC(A)
HANDLERS_JCC(S)
HANDLERS_JCC(NS)
HANDLERS_JCC(P)
HANDLERS_JCC(NP)
HANDLERS_JCC(L)
HANDLERS_JCC(GE)
HANDLERS_JCC(LE)
HANDLERS_JCC(G)

HANDLER(JMP_Jb) { jump_if(cpu, in, true); }
HANDLER(JMP_Jv) { jump_if(cpu, in, true); }

HANDLER(JMP_Ev) {
  uint32_t target = read_e(cpu, in, in->opsize);
  branch_check(cpu, target);
  cpu->next_eip = target;
}

static void call_near(struct cpu *cpu, const struct insn *in, uint32_t target) {
  branch_check(cpu, target);
  push_v(cpu, in->opsize, cpu->next_eip);
  cpu->next_eip = target;
}

HANDLER(CALL_Jv) { call_near(cpu, in, branch_target(cpu, in)); }
HANDLER(CALL_Ev) { call_near(cpu, in, read_e(cpu, in, in->opsize)); }

static void return_near(struct cpu *cpu, const struct insn *in, uint32_t release) {
  uint32_t target = peek_v(cpu, in->opsize, 0);
  branch_check(cpu, target);
  set_sp(cpu, cpu->gpr[ESP] + in->opsize + release);
  cpu->next_eip = target;
}

HANDLER(RET) { return_near(cpu, in, 0); }
HANDLER(RET_Iw) { return_near(cpu, in, in->imm); }

/* LOOPcc: the address size chooses CX or ECX. */
static void loop_if(struct cpu *cpu, const struct insn *in, bool condition_holds) {
  uint32_t mask = address_mask(in), count = (cpu->gpr[ECX] - 1) & mask;
  if (count != 0 && condition_holds)
    jump_if(cpu, in, true);
  cpu->gpr[ECX] = (cpu->gpr[ECX] & ~mask) | count;
}

HANDLER(LOOP_Jb) { loop_if(cpu, in, true); }
HANDLER(LOOPE_Jb) { loop_if(cpu, in, cpu->eflags & FL_ZF); }
HANDLER(LOOPNE_Jb) { loop_if(cpu, in, !(cpu->eflags & FL_ZF)); }
HANDLER(JCXZ_Jb) { jump_if(cpu, in, (cpu->gpr[ECX] & address_mask(in)) == 0); }

/* --- far --- */

static uint32_t far_pointer(struct cpu *cpu, const struct insn *in, uint16_t *sel) {
  uint32_t ea = insn_ea(cpu, in);
  uint32_t off = (uint32_t)vmem_read(cpu, in->seg, ea, in->opsize);
  *sel = (uint16_t)vmem_read(cpu, in->seg, (ea + in->opsize) & address_mask(in), 2);
  return off;
}

HANDLER(JMPF_Ap) { far_jump(cpu, (uint16_t)in->imm2, in->imm, in->opsize, cpu->next_eip); }
HANDLER(CALLF_Ap) { far_call(cpu, (uint16_t)in->imm2, in->imm, in->opsize, cpu->next_eip); }

HANDLER(JMPF_Mp) {
  uint16_t sel;
  uint32_t off = far_pointer(cpu, in, &sel);
  far_jump(cpu, sel, off, in->opsize, cpu->next_eip);
}

HANDLER(CALLF_Mp) {
  uint16_t sel;
  uint32_t off = far_pointer(cpu, in, &sel);
  far_call(cpu, sel, off, in->opsize, cpu->next_eip);
}

HANDLER(RETF) { far_return(cpu, in->opsize, 0); }
HANDLER(RETF_Iw) { far_return(cpu, in->opsize, (uint16_t)in->imm); }
HANDLER(IRET) { far_iret(cpu, in->opsize); }

HANDLER(INT3) {
  (void)in;
  cpu_software_int(cpu, EXC_BP, INT_SOFT3, cpu->next_eip);
}

HANDLER(INT_Ib) { cpu_software_int(cpu, (int)in->imm, INT_SOFT, cpu->next_eip); }

HANDLER(INTO) {
  (void)in;
  if (cpu->eflags & FL_OF)
    cpu_software_int(cpu, EXC_OF, INT_SOFT3, cpu->next_eip);
}

HANDLER(INT1) {
  (void)in;
  cpu_software_int(cpu, EXC_DB, INT_ICEBP, cpu->next_eip);
}

HANDLER(SYSENTER) {
  (void)in;
  far_sysenter(cpu);
}

HANDLER(SYSEXIT) {
  (void)in;
  far_sysexit(cpu);
}

HANDLER(BOUND_Gv_Ma) {
  int size = in->opsize;
  uint32_t ea = insn_ea(cpu, in);
  uint32_t lower = (uint32_t)vmem_read(cpu, in->seg, ea, size);
  uint32_t upper = (uint32_t)vmem_read(cpu, in->seg, (ea + (uint32_t)size) & address_mask(in), size);
  int32_t i = (int32_t)cpu->gpr[in->reg], lo = (int32_t)lower, hi = (int32_t)upper;
  if (size == 2)
    i = (int16_t)i, lo = (int16_t)lower, hi = (int16_t)upper;
  if (i < lo || i > hi)
    cpu_raise(cpu, EXC_BR);
}

/* --- flags --- */

#define HANDLER_FLAG(ID, flag, value) \
  HANDLER(ID) { \
    (void)in; \
    set_flag(cpu, flag, value); \
  }

HANDLER_FLAG(CLC, FL_CF, false)
HANDLER_FLAG(STC, FL_CF, true)
HANDLER_FLAG(CMC, FL_CF, !(cpu->eflags & FL_CF))
HANDLER_FLAG(CLD, FL_DF, false)
HANDLER_FLAG(STD, FL_DF, true)

#define AH_FLAGS (FL_SF | FL_ZF | FL_AF | FL_PF | FL_CF)

HANDLER(LAHF) {
  (void)in;
  set_reg8(cpu, 4, (uint8_t)((cpu->eflags & AH_FLAGS) | FL_1));
}

HANDLER(SAHF) {
  (void)in;
  cpu->eflags = (cpu->eflags & ~AH_FLAGS) | (reg8(cpu, 4) & AH_FLAGS);
}
