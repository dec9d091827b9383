/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: MMX and SSE to SSE4.2 (SDM vol. 1, ch. 9-12; vol. 2).
 *
 * One routine runs every row on the host's unit (hostfpu.h). It loads what the operand letters name into
 * fixed registers (reg in XMM1, MM1 or EAX; rm in XMM2, MM2, EDX or memory; XMM0, EAX, EDX where they are
 * implied), so that few distinct instructions have to be made, and stores the first operand back.
 */
#include <string.h>

#include "core/fpu.h"
#include "core/hostfpu.h"
#include "core/interp.h"
#include "core/log.h"
#include "core/machine.h"
#include "core/paging.h"
#include "core/segment.h"
#include "core/x87_exact.h"

/* Does the instruction make the x87 state MMX state? Not CVTPI2PS and CVTPI2PD from memory: they name no register. */
static bool touches_mmx(const struct insn *in) {
  const struct insn_desc *desc = insn_describe(in);
  for (unsigned i = 0; i < 2; i++) {
    uint8_t op = desc->op[i];
    if (op == Pq || op == Nq || (!in->is_mem && (op == Qd || op == Qq)))
      return true;
  }
  return false;
}

/* SDM vol. 3, 2.5 and table 13-1; false: waiting for FERR#'s interrupt. */
static bool available(struct cpu *cpu, const struct insn *in) {
  const struct insn_desc *desc = insn_describe(in);
  if ((cpu->cr0 & CR0_EM) || (desc->cls == CL_SSE && !(cpu->cr4 & CR4_OSFXSR)))
    cpu_raise(cpu, EXC_UD);
  if (cpu->cr0 & CR0_TS)
    cpu_raise(cpu, EXC_NM);
  return desc->cls == CL_SSE && !touches_mmx(in) ? true : fpu_wait(cpu);
}

/* Re-encode with the fixed registers. Returns the length. */
static unsigned normalise(const struct insn *in, const struct insn_desc *desc, uint8_t code[7]) {
  static const uint8_t prefix[] = {[P_66] = 0x66, [P_F3] = 0xf3, [P_F2] = 0xf2};
  unsigned n = 0, reg = in->reg, rm = 2;
  if (desc->pfx != P_NP)
    code[n++] = prefix[desc->pfx];
  code[n++] = 0x0f;
  if (desc->map == MAP_0F38)
    code[n++] = 0x38;
  if (desc->map == MAP_0F3A)
    code[n++] = 0x3a;
  code[n++] = desc->opcode;
  for (unsigned i = 0; i < 2; i++) {
    uint8_t op = desc->op[i];
    if (op == Vx || op == Pq)
      reg = 1;
    else if (op == Gd)
      reg = EAX;
  }
  code[n++] = (uint8_t)(in->is_mem ? reg << 3 | 7 : 0xc0 | reg << 3 | rm);
  if (desc->op[1] == Ib || desc->op[2] == Ib)
    code[n++] = (uint8_t)in->imm;
  return n;
}

static void load_operand(struct cpu *cpu, const struct insn *in, uint8_t letter, struct hostfpu_simd *op) {
  switch (letter) {
  case Vx: memcpy(op->xmm[1], cpu->fx.xmm[in->reg], 16); break;
  case Pq: memcpy(&op->mm[0], mmx_register(cpu, in->reg), 8); break;
  case Gd: op->eax = cpu->gpr[in->reg]; break;
  case Ed: case Rd: op->edx = cpu->gpr[in->rm]; break;
  case Qd: case Qq: case Nq: memcpy(&op->mm[1], mmx_register(cpu, in->rm), 8); break;
  case Wx: case Wd: case Wq: case Ww: case Wb: case Ux: memcpy(op->xmm[2], cpu->fx.xmm[in->rm], 16); break;
  default: break;
  }
}

static void set_mm(struct cpu *cpu, unsigned reg, uint64_t value) {
  uint8_t *st = mmx_register(cpu, reg);
  memcpy(st, &value, 8);
  st[8] = st[9] = 0xff;
}

static void store_operand(struct cpu *cpu, const struct insn *in, uint8_t letter,
                          const struct hostfpu_simd *op) {
  switch (letter) {
  case Vx: memcpy(cpu->fx.xmm[in->reg], op->xmm[1], 16); break;
  case Pq: set_mm(cpu, in->reg, op->mm[0]); break;
  case Gd: cpu->gpr[in->reg] = op->eax; break;
  case Ed: case Rd: cpu->gpr[in->rm] = op->edx; break;
  case Qd: case Qq: case Nq: set_mm(cpu, in->rm, op->mm[1]); break;
  case Wx: case Wd: case Wq: case Ww: case Wb: case Ux: memcpy(cpu->fx.xmm[in->rm], op->xmm[2], 16); break;
  default: break;
  }
}

/* Results beside the first operand: flags, and those of the string compares. */
static void store_implied(struct cpu *cpu, const struct insn *in, const struct hostfpu_simd *op) {
  if (in->id == INSN_PCMPESTRI_Vx_Wx_Ib || in->id == INSN_PCMPISTRI_Vx_Wx_Ib)
    cpu->gpr[ECX] = op->ecx;
  if (in->id == INSN_PCMPESTRM_Vx_Wx_Ib || in->id == INSN_PCMPISTRM_Vx_Wx_Ib)
    memcpy(cpu->fx.xmm[0], op->xmm[0], 16);
  if (insn_describe(in)->flags_written)
    cpu->eflags = (cpu->eflags & ~FL_ARITH) | (op->eflags & FL_ARITH);
}

static bool writes_first_operand(const struct insn *in) { return insn_describe(in)->flags_written == 0; }

static void execute(struct cpu *cpu, const struct insn *in) {
  const struct insn_desc *desc = insn_describe(in);
  struct hostfpu_simd op = {.mxcsr = cpu->fx.mxcsr, .mmx = touches_mmx(in)};
  uint8_t code[7];
  unsigned length = normalise(in, desc, code), size = 0;
  bool stores = in->is_mem && (desc->attr & A_STORE);
  uint32_t la = 0;
  op.eax = cpu->gpr[EAX];
  op.edx = cpu->gpr[EDX];
  memcpy(op.xmm[0], cpu->fx.xmm[0], 16);
  for (unsigned i = 0; i < 2; i++) {
    unsigned bytes = in->is_mem ? fpu_operand_size(desc->op[i]) : 0;
    if (bytes != 0) {
      size = bytes;
      la = fpu_operand_la(cpu, in, size, stores);
      if (!stores)
        fpu_read_la(cpu, la, op.mem, size);
    } else {
      load_operand(cpu, in, desc->op[i], &op);
    }
  }
  bool completed = true;
  if (cpu->machine->config.counted && simd_is_approximation(in))
    simd_approximate(in, op.xmm[1], in->is_mem ? op.mem : op.xmm[2]);
  else
    completed = hostfpu_simd(code, length, &op);
  cpu->fx.mxcsr = op.mxcsr;
  if (op.mmx)
    mmx_enter(cpu);
  if (!completed)
    cpu_raise(cpu, cpu->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
  if (stores)
    fpu_write_la(cpu, la, op.mem, size);
  if (!stores && writes_first_operand(in))
    store_operand(cpu, in, desc->op[0], &op);
  store_implied(cpu, in, &op);
}

static void load_mxcsr(struct cpu *cpu, const struct insn *in) {
  uint32_t value;
  fpu_read_la(cpu, fpu_operand_la(cpu, in, 4, false), &value, 4);
  if (value & ~fpu_mxcsr_mask(cpu))
    cpu_raise_error(cpu, EXC_GP, 0);
  cpu->fx.mxcsr = value;
}

void interp_simd_row(struct cpu *cpu, const struct insn *in) {
  if (!available(cpu, in))
    return;
  switch (in->id) {
  case INSN_EMMS: interp_emms(cpu); break;
  case INSN_MASKMOVQ_Pq_Nq:
  case INSN_MASKMOVDQU_Vx_Ux: interp_maskmov(cpu, in); break;
  case INSN_LDMXCSR: load_mxcsr(cpu, in); break;
  case INSN_STMXCSR: fpu_write_la(cpu, fpu_operand_la(cpu, in, 4, true), &cpu->fx.mxcsr, 4); break;
  default: execute(cpu, in); break;
  }
}

/* CLFLUSH reads as it were, but execute-only segments will do, too. */
static uint32_t flush_la(struct cpu *cpu, const struct insn *in) {
  const struct seg *s = &cpu->seg[in->seg];
  uint16_t type = s->attr & (SEG_P | SEG_S | SEG_CODE | SEG_RW);
  uint32_t ea = insn_ea(cpu, in);
  if (type != (SEG_P | SEG_S | SEG_CODE) || ea > s->limit)
    return fpu_operand_la(cpu, in, 1, false);
  return s->base + ea;
}

/* MOVNTI and CLFLUSH, which are not subject to the checks of SSE. */
static void interp_copy_row(struct cpu *cpu, const struct insn *in) {
  uint32_t value;
  if (in->id == INSN_MOVNTI_Md_Gd)
    fpu_write_la(cpu, fpu_operand_la(cpu, in, 4, true), &cpu->gpr[in->reg], 4);
  else
    fpu_read_la(cpu, flush_la(cpu, in), &value, 1);
}

/* Fences: the interpreter's accesses are in order. */
static void interp_nop_row(struct cpu *cpu, const struct insn *in) { (void)cpu, (void)in; }

#define ROW_CL_FPU interp_x87_row
#define ROW_CL_MMX interp_simd_row
#define ROW_CL_SSE interp_simd_row
#define ROW_CL_COPY interp_copy_row
#define ROW_CL_SYSTEM interp_copy_row
#define ROW_CL_NOP interp_nop_row

/* One handler per row of the table, by its class. */
#define I(id, map, opcode, ext, pfx, mnemonic, op1, op2, op3, fr, fw, fu, cls, attr, feature) \
  void interp_##id(struct cpu *cpu, const struct insn *in) { ROW_##cls(cpu, in); }
#include "core/insn-sse.def"
#undef I
