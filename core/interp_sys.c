/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: system instructions, ports, hints (SDM vol. 2; privileges: vol. 3, ch. 5). CPL 0 and
 * protected mode have been checked by attribute before a handler runs; what remains is here.
 */
#include "core/interp.h"

#include "core/io.h"
#include "core/log.h"
#include "core/machine.h"

#define HANDLER(id) void interp_##id(struct cpu *cpu, const struct insn *in)
#define HANDLER_NO_OPERAND(id) void interp_##id(struct cpu *cpu, const struct insn *in __attribute__((unused)))

/* --- ports --- */

static void in_port(struct cpu *cpu, uint16_t port, int size) {
  check_port(cpu, port, size);
  cpu->key_calls.count = 0; /* see note_idle_call */
  uint32_t v = io_read(cpu->machine->io, port, size);
  if (size == 1)
    set_reg8(cpu, EAX, (uint8_t)v);
  else
    set_reg_v(cpu, EAX, size, v);
}

static void out_port(struct cpu *cpu, uint16_t port, int size) {
  check_port(cpu, port, size);
  uint32_t v = cpu->gpr[EAX];
  io_write(cpu->machine->io, port, size, size == 1 ? v & 0xff : size == 2 ? v & 0xffff : v);
}

HANDLER(IN_AL_Ib) { in_port(cpu, (uint16_t)in->imm, 1); }
HANDLER(IN_eAX_Ib) { in_port(cpu, (uint16_t)in->imm, in->opsize); }
HANDLER_NO_OPERAND(IN_AL_DX) { in_port(cpu, reg16(cpu, EDX), 1); }
HANDLER(IN_eAX_DX) { in_port(cpu, reg16(cpu, EDX), in->opsize); }
HANDLER(OUT_Ib_AL) { out_port(cpu, (uint16_t)in->imm, 1); }
HANDLER(OUT_Ib_eAX) { out_port(cpu, (uint16_t)in->imm, in->opsize); }
HANDLER_NO_OPERAND(OUT_DX_AL) { out_port(cpu, reg16(cpu, EDX), 1); }
HANDLER(OUT_DX_eAX) { out_port(cpu, reg16(cpu, EDX), in->opsize); }

/* --- interrupt flag, HLT --- */

HANDLER_NO_OPERAND(CLI) { control_cli(cpu); }
HANDLER_NO_OPERAND(STI) { control_sti(cpu); }

HANDLER_NO_OPERAND(HLT) {
  cpu->eip = cpu->next_eip;
  control_hlt(cpu);
}

/* --- descriptor tables --- */

/* A register takes the operand size, memory 16 bits. */
static void store_word(struct cpu *cpu, const struct insn *in, uint32_t v) {
  write_e(cpu, in, in->is_mem ? 2 : in->opsize, v);
}

HANDLER(SLDT_Ew) { store_word(cpu, in, cpu->seg[LDTR].sel); }
HANDLER(STR_Ew) { store_word(cpu, in, cpu->seg[TR].sel); }
HANDLER(LLDT_Ew) { seg_lldt(cpu, (uint16_t)read_e(cpu, in, 2)); }
HANDLER(LTR_Ew) { seg_ltr(cpu, (uint16_t)read_e(cpu, in, 2)); }
HANDLER(VERR_Ew) { set_flag(cpu, FL_ZF, seg_verify(cpu, (uint16_t)read_e(cpu, in, 2), false)); }
HANDLER(VERW_Ew) { set_flag(cpu, FL_ZF, seg_verify(cpu, (uint16_t)read_e(cpu, in, 2), true)); }

HANDLER(LAR_Gv_Ew) {
  uint32_t v;
  bool ok = seg_lar(cpu, (uint16_t)read_e(cpu, in, 2), &v);
  if (ok)
    set_reg_v(cpu, in->reg, in->opsize, v);
  set_flag(cpu, FL_ZF, ok);
}

HANDLER(LSL_Gv_Ew) {
  uint32_t v;
  bool ok = seg_lsl(cpu, (uint16_t)read_e(cpu, in, 2), &v);
  if (ok)
    set_reg_v(cpu, in->reg, in->opsize, v);
  set_flag(cpu, FL_ZF, ok);
}

/* Processors write, and want the right to, only what changes. */
HANDLER(ARPL_Ew_Gw) {
  uint32_t dst = read_e(cpu, in, 2), rpl = cpu->gpr[in->reg] & 3;
  bool raise_rpl = (dst & 3) < rpl;
  if (raise_rpl)
    write_e(cpu, in, 2, (dst & ~3u) | rpl);
  set_flag(cpu, FL_ZF, raise_rpl);
}

/* All 32 bits of the base are stored whatever the operand size, as processors do. */
static void store_table(struct cpu *cpu, const struct insn *in, const struct dtr *t) {
  uint32_t ea = insn_ea(cpu, in), high = (ea + 2) & address_mask(in);
  check_write(cpu, in->seg, ea, 2);
  check_write(cpu, in->seg, high, 4);
  vmem_write(cpu, in->seg, ea, 2, t->limit);
  vmem_write(cpu, in->seg, high, 4, t->base);
}

static void load_table(struct cpu *cpu, const struct insn *in, struct dtr *t) {
  uint32_t ea = insn_ea(cpu, in);
  uint16_t limit = (uint16_t)vmem_read(cpu, in->seg, ea, 2);
  uint32_t base = (uint32_t)vmem_read(cpu, in->seg, (ea + 2) & address_mask(in), 4);
  t->limit = limit;
  t->base = in->opsize == 4 ? base : base & 0xffffff;
}

HANDLER(SGDT_Ms) { store_table(cpu, in, &cpu->gdtr); }
HANDLER(SIDT_Ms) { store_table(cpu, in, &cpu->idtr); }
HANDLER(LGDT_Ms) { load_table(cpu, in, &cpu->gdtr); }
HANDLER(LIDT_Ms) { load_table(cpu, in, &cpu->idtr); }

/* --- control and debug registers --- */

HANDLER(SMSW_Ew) { store_word(cpu, in, cpu->cr0); }

/* LMSW sets PE, MP, EM, TS; it cannot clear PE. */
HANDLER(LMSW_Ew) {
  uint32_t v = read_e(cpu, in, 2);
  control_set_cr0(cpu, (cpu->cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | (v & 15));
}

HANDLER_NO_OPERAND(CLTS) { control_set_cr0(cpu, cpu->cr0 & ~CR0_TS); }
HANDLER_NO_OPERAND(INVD) { (void)cpu; }
HANDLER_NO_OPERAND(WBINVD) { (void)cpu; }
HANDLER(INVLPG_Mb) { tlb_flush_page(cpu, cpu->seg[in->seg].base + insn_ea(cpu, in)); }

HANDLER(MOV_Rd_Cd) {
  const uint32_t cr[5] = {cpu->cr0, 0, cpu->cr2, cpu->cr3, cpu->cr4};
  DGM_ASSERT(in->reg < 5); /* the decoder refuses others */
  cpu->gpr[in->rm] = cr[in->reg];
}

HANDLER(MOV_Cd_Rd) {
  uint32_t v = cpu->gpr[in->rm];
  switch (in->reg) {
  case 0: control_set_cr0(cpu, v); break;
  case 2: cpu->cr2 = v; break;
  case 3: control_set_cr3(cpu, v); break;
  default: control_set_cr4(cpu, v); break;
  }
}

HANDLER(MOV_Rd_Dd) { cpu->gpr[in->rm] = control_read_dr(cpu, in->reg); }
HANDLER(MOV_Dd_Rd) { control_write_dr(cpu, in->reg, cpu->gpr[in->rm]); }

/* --- MSRs, counters, identification --- */

static void set_edx_eax(struct cpu *cpu, uint64_t v) {
  cpu->gpr[EAX] = (uint32_t)v;
  cpu->gpr[EDX] = (uint32_t)(v >> 32);
}

HANDLER_NO_OPERAND(RDMSR) { set_edx_eax(cpu, msr_read(cpu, cpu->gpr[ECX])); }
HANDLER_NO_OPERAND(WRMSR) {
  msr_write(cpu, cpu->gpr[ECX], (uint64_t)cpu->gpr[EDX] << 32 | cpu->gpr[EAX]);
}

HANDLER_NO_OPERAND(RDTSC) {
  if ((cpu->cr4 & CR4_TSD) && cpu->cpl != 0)
    cpu_raise_error(cpu, EXC_GP, 0);
  set_edx_eax(cpu, cpu_tsc(cpu));
}

/* Two counters, which never count by themselves. */
HANDLER_NO_OPERAND(RDPMC) {
  if (!(cpu->cr4 & CR4_PCE) && cpu->cpl != 0)
    cpu_raise_error(cpu, EXC_GP, 0);
  uint32_t n = cpu->gpr[ECX] & 0x7fffffffu;
  if (n > 1)
    cpu_raise_error(cpu, EXC_GP, 0);
  set_edx_eax(cpu, cpu->perf_ctr[n] & 0xffffffffffull);
}

HANDLER_NO_OPERAND(CPUID) { cpuid_execute(cpu); }

/* There is no system management mode to return from. */
HANDLER_NO_OPERAND(RSM) { cpu_raise(cpu, EXC_UD); }
HANDLER_NO_OPERAND(UD0_Gv_Ev) { cpu_raise(cpu, EXC_UD); }
HANDLER_NO_OPERAND(UD1_Gv_Ev) { cpu_raise(cpu, EXC_UD); }
HANDLER_NO_OPERAND(UD2) { cpu_raise(cpu, EXC_UD); }

/* --- nothing at all --- */

#define HANDLER_NOP(id) \
  HANDLER_NO_OPERAND(id) { (void)cpu; }

HANDLER_NOP(NOP)
HANDLER_NOP(PAUSE)
HANDLER_NOP(PREFETCHW_Ev)
HANDLER_NOP(NOP_Ev_18)
HANDLER_NOP(NOP_Ev_19)
HANDLER_NOP(NOP_Ev_1A)
HANDLER_NOP(NOP_Ev_1B)
HANDLER_NOP(NOP_Ev_1C)
HANDLER_NOP(NOP_Ev_1D)
HANDLER_NOP(NOP_Ev_1E)
HANDLER_NOP(NOP_Ev_1F)
