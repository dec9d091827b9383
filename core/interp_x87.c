/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: x87 (SDM vol. 1, ch. 8; vol. 2) and FXSAVE.
 *
 * Whatever computes runs on the host's unit with the guest's state loaded (hostfpu.h). Here is what the
 * host must not decide: availability (#NM), pending exceptions (#MF, or FERR# as on the PC/AT), memory, the
 * instruction and data pointers, and the environment images. Operands that fault do so before
 * anything has changed. Not modelled: the deferral differences of FERR# between processor generations (here
 * it is always asserted by the next waiting instruction).
 */
#include "core/fpu.h"

#include <string.h>

#include "core/hostfpu.h"
#include "core/interp.h"
#include "core/log.h"
#include "core/paging.h"
#include "core/segment.h"
#include "core/machine.h"
#include "core/x87_exact.h"

#define ENV_MAX 28u
#define ST_BYTES 80u

void fpu_update_summary(struct fxsave *fx) {
  bool pending = (fx->fsw & ~fx->fcw & FSW_EXCEPTIONS) != 0;
  fx->fsw = (uint16_t)((fx->fsw & ~(FSW_ES | FSW_B)) | (pending ? FSW_ES | FSW_B : 0));
}

static unsigned fx_top(const struct fxsave *fx) { return (fx->fsw & FSW_TOP) >> FSW_TOP_SHIFT; }

/* The registers stay where they are physically: fx->st is in stack order, which a new TOP changes. */
static void set_status(struct fxsave *fx, uint32_t fsw) {
  uint8_t st[8][16];
  unsigned turn = (((fsw & FSW_TOP) >> FSW_TOP_SHIFT) - fx_top(fx)) & 7;
  memcpy(st, fx->st, sizeof st);
  for (unsigned i = 0; i < 8; i++)
    memcpy(fx->st[i], st[(i + turn) & 7], 16);
  fx->fsw = (uint16_t)fsw;
}

static void x87_init(struct fxsave *fx) {
  fx->fcw = FCW_INIT;
  set_status(fx, 0);
  fx->ftw = 0;
  fx->fop = 0;
  fx->fip = fx->fdp = 0;
  fx->fcs = fx->fds = 0;
}

uint32_t fpu_mxcsr_mask(const struct cpu *cpu) {
  return cpu_has(cpu, FEAT_SSE2) ? 0xffff : 0xffbf; /* without denormals-are-zero */
}

uint16_t fpu_tag_word(const struct fxsave *fx) {
  uint16_t tags = 0;
  for (unsigned reg = 0; reg < 8; reg++) {
    const uint8_t *st = fx->st[(reg - fx_top(fx)) & 7];
    uint64_t mantissa;
    memcpy(&mantissa, st, 8);
    unsigned exponent = (st[8] | st[9] << 8) & 0x7fff;
    unsigned tag = 2; /* special */
    if (!(fx->ftw >> reg & 1))
      tag = 3;
    else if (exponent == 0 && mantissa == 0)
      tag = 1;
    else if (exponent != 0 && exponent != 0x7fff && mantissa >> 63)
      tag = 0;
    tags |= (uint16_t)(tag << (2 * reg));
  }
  return tags;
}

static uint8_t abridge_tags(uint16_t tags) {
  uint8_t in_use = 0;
  for (unsigned reg = 0; reg < 8; reg++)
    in_use |= (uint8_t)(((tags >> (2 * reg) & 3) != 3) << reg);
  return in_use;
}

static void set_ferr(struct cpu *cpu, int level) {
  if (cpu->ferr == level)
    return;
  cpu->ferr = (uint8_t)level;
  if (cpu->on_ferr)
    cpu->on_ferr(cpu, level);
}

void fpu_update_ferr(struct cpu *cpu) {
  if (!(cpu->fx.fsw & FSW_ES))
    set_ferr(cpu, 0);
}

bool fpu_wait(struct cpu *cpu) {
  if (!(cpu->fx.fsw & FSW_ES))
    return true;
  if (cpu->cr0 & CR0_NE)
    cpu_raise(cpu, EXC_MF);
  set_ferr(cpu, 1);
  if (cpu->ignne)
    return true;
  cpu->next_eip = cpu->eip;
  return false;
}

unsigned fpu_operand_size(enum insn_op op) {
  switch (op) {
  case Mb: case Wb: return 1;
  case Mw: case Ww: case Ew: return 2;
  case Md: case Ed: case Qd: case Wd: return 4;
  case Mq: case Qq: case Wq: return 8;
  case Mt: case Mu: return 10;
  case Mdq: case Wx: return 16;
  default: return 0;
  }
}

/* Alignment that #AC wants (SDM vol. 3, table 6-7). Checked here, because a store may be given up later. */
static unsigned operand_alignment(const struct insn *in, unsigned size) {
  switch (in->id) {
  case INSN_FLD_Mt: case INSN_FSTP_Mt: case INSN_FBLD: case INSN_FBSTP: return 8;
  case INSN_FNSTENV: case INSN_FLDENV: case INSN_FNSAVE: case INSN_FRSTOR: return in->opsize;
  default: return size <= 16 ? size : 1;
  }
}

uint32_t fpu_operand_la(struct cpu *cpu, const struct insn *in, unsigned size, bool write) {
  uint32_t la = seg_linear(cpu, in->seg, insn_ea(cpu, in), size, write);
  if ((insn_describe(in)->attr & A_ALIGN) && (la & 15))
    cpu_raise_error(cpu, EXC_GP, 0);
  if (cpu->align_check && (la & (operand_alignment(in, size) - 1)))
    cpu_raise_error(cpu, EXC_AC, 0);
  if (write)
    linear_check_write(cpu, la, size, cpu->cpl == 3);
  return la;
}

void fpu_read_la(struct cpu *cpu, uint32_t la, void *buf, unsigned size) {
  if (size == 1 || size == 2 || size == 4 || size == 8) {
    uint64_t value = linear_read(cpu, la, (int)size, cpu->cpl == 3);
    memcpy(buf, &value, size);
  } else {
    linear_read_block(cpu, la, buf, size, cpu->cpl == 3);
  }
}

void fpu_write_la(struct cpu *cpu, uint32_t la, const void *buf, unsigned size) {
  if (size == 1 || size == 2 || size == 4 || size == 8) {
    uint64_t value = 0;
    memcpy(&value, buf, size);
    linear_write(cpu, la, (int)size, value, cpu->cpl == 3);
  } else {
    linear_write_block(cpu, la, buf, size, cpu->cpl == 3);
  }
}

/* --- Environment images (SDM vol. 1, 8.1.10): four formats --- */

static void put16(uint8_t *p, uint32_t value) { p[0] = (uint8_t)value, p[1] = (uint8_t)(value >> 8); }
static void put32(uint8_t *p, uint32_t value) { put16(p, value), put16(p + 2, value >> 16); }
static uint32_t get16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t get32(const uint8_t *p) { return get16(p) | get16(p + 2) << 16; }

/* Words that a 32-bit image leaves unused are ones, as on Intel processors. */
static void put_env32(const struct cpu *cpu, uint8_t *env) {
  const struct fxsave *fx = &cpu->fx;
  put32(env, 0xffff0000u | fx->fcw);
  put32(env + 4, 0xffff0000u | fx->fsw);
  put32(env + 8, 0xffff0000u | fpu_tag_word(fx));
  if (cpu_protected(cpu)) {
    put32(env + 12, fx->fip);
    put32(env + 16, fx->fcs | (uint32_t)fx->fop << 16);
    put32(env + 20, fx->fdp);
    put32(env + 24, 0xffff0000u | fx->fds);
  } else {
    uint32_t ip = fx->fip + ((uint32_t)fx->fcs << 4), dp = fx->fdp + ((uint32_t)fx->fds << 4);
    put32(env + 12, 0xffff0000u | (ip & 0xffff));
    put32(env + 16, (ip >> 16) << 12 | fx->fop);
    put32(env + 20, 0xffff0000u | (dp & 0xffff));
    put32(env + 24, (dp >> 16) << 12);
  }
}

static void put_env16(const struct cpu *cpu, uint8_t *env) {
  const struct fxsave *fx = &cpu->fx;
  put16(env, fx->fcw);
  put16(env + 2, fx->fsw);
  put16(env + 4, fpu_tag_word(fx));
  if (cpu_protected(cpu)) {
    put16(env + 6, fx->fip);
    put16(env + 8, fx->fcs);
    put16(env + 10, fx->fdp);
    put16(env + 12, fx->fds);
  } else {
    uint32_t ip = fx->fip + ((uint32_t)fx->fcs << 4), dp = fx->fdp + ((uint32_t)fx->fds << 4);
    put16(env + 6, ip);
    put16(env + 8, (ip >> 16 & 15) << 12 | fx->fop);
    put16(env + 10, dp);
    put16(env + 12, (dp >> 16 & 15) << 12);
  }
}

static unsigned put_env(const struct cpu *cpu, const struct insn *in, uint8_t *env) {
  if (in->opsize == 4)
    put_env32(cpu, env);
  else
    put_env16(cpu, env);
  return in->opsize == 4 ? 28 : 14;
}

static void set_control(struct fxsave *fx, uint32_t fcw) { fx->fcw = (uint16_t)((fcw & 0x1f3f) | 0x40); }

static void load_env(struct cpu *cpu, const struct insn *in, const uint8_t *env) {
  struct fxsave *fx = &cpu->fx;
  unsigned unit = in->opsize == 4 ? 4 : 2;
  const uint8_t *pointers = env + 3 * unit;
  set_control(fx, get16(env));
  set_status(fx, get16(env + unit));
  fx->ftw = abridge_tags((uint16_t)get16(env + 2 * unit));
  if (cpu_protected(cpu)) {
    fx->fip = unit == 4 ? get32(pointers) : get16(pointers);
    fx->fcs = (uint16_t)get16(pointers + unit);
    fx->fop = unit == 4 ? (uint16_t)(get16(pointers + 6) & 0x7ff) : 0; /* the short image has none */
    fx->fdp = unit == 4 ? get32(pointers + 8) : get16(pointers + 4);
    fx->fds = (uint16_t)get16(pointers + 3 * unit);
  } else {
    uint32_t high = unit == 4 ? get32(pointers + 4) : get16(pointers + 2);
    fx->fip = get16(pointers) | (high >> 12 & 0xffff) << 16;
    fx->fop = (uint16_t)(high & 0x7ff);
    high = unit == 4 ? get32(pointers + 12) : get16(pointers + 6);
    fx->fdp = get16(pointers + 2 * unit) | (high >> 12 & 0xffff) << 16;
    fx->fcs = fx->fds = 0;
  }
  fpu_update_summary(fx);
}

static void store_state(struct cpu *cpu, const struct insn *in, bool registers) {
  uint8_t image[ENV_MAX + ST_BYTES];
  unsigned size = (in->opsize == 4 ? 28 : 14) + (registers ? ST_BYTES : 0);
  uint32_t la = fpu_operand_la(cpu, in, size, true);
  unsigned at = put_env(cpu, in, image);
  for (unsigned i = 0; registers && i < 8; i++)
    memcpy(image + at + 10 * i, cpu->fx.st[i], 10);
  fpu_write_la(cpu, la, image, size);
  if (registers)
    x87_init(&cpu->fx);
  else
    cpu->fx.fcw |= FSW_EXCEPTIONS;
  fpu_update_summary(&cpu->fx);
}

static void load_state(struct cpu *cpu, const struct insn *in, bool registers) {
  uint8_t image[ENV_MAX + ST_BYTES];
  unsigned env = in->opsize == 4 ? 28 : 14, size = env + (registers ? ST_BYTES : 0);
  fpu_read_la(cpu, fpu_operand_la(cpu, in, size, false), image, size);
  load_env(cpu, in, image);
  for (unsigned i = 0; registers && i < 8; i++) {
    memset(cpu->fx.st[i], 0, 16);
    memcpy(cpu->fx.st[i], image + env + 10 * i, 10);
  }
}

/* --- FXSAVE, FXRSTOR (SDM vol. 1, 10.5.1): XMM8-15 and what follows are left alone --- */

#define FX_WRITTEN 288u

static void fxsave_store(struct cpu *cpu, const struct insn *in) {
  uint32_t la = fpu_operand_la(cpu, in, 512, true);
  struct fxsave image = cpu->fx;
  image.rsvd1 = 0;
  image.rsvd2 = image.rsvd3 = 0;
  image.mxcsr_mask = fpu_mxcsr_mask(cpu);
  if (!cpu_has(cpu, FEAT_SSE))
    image.mxcsr = image.mxcsr_mask = 0;
  fpu_write_la(cpu, la, &image, cpu_has(cpu, FEAT_SSE) ? FX_WRITTEN : 160);
}

static void fxrstor_load(struct cpu *cpu, const struct insn *in) {
  struct fxsave image;
  struct fxsave *fx = &cpu->fx;
  fpu_read_la(cpu, fpu_operand_la(cpu, in, 512, false), &image, 512);
  if (cpu_has(cpu, FEAT_SSE)) {
    if (image.mxcsr & ~fpu_mxcsr_mask(cpu))
      cpu_raise_error(cpu, EXC_GP, 0);
    fx->mxcsr = image.mxcsr;
    memcpy(fx->xmm, image.xmm, 8 * sizeof fx->xmm[0]);
  }
  set_control(fx, image.fcw);
  fx->fsw = image.fsw;
  fx->ftw = image.ftw;
  fx->fop = image.fop & 0x7ff;
  fx->fip = image.fip;
  fx->fcs = image.fcs;
  fx->fdp = image.fdp;
  fx->fds = image.fds;
  memset(fx->st, 0, sizeof fx->st);
  for (unsigned i = 0; i < 8; i++)
    memcpy(fx->st[i], image.st[i], 10);
  fpu_update_summary(fx);
}

/* --- Everything that computes --- */

/* With these unmasked, a store to memory is given up (SDM vol. 1, 8.5). An inexact one is not. */
static bool store_suppressed(const struct fxsave *fx) {
  return (fx->fsw & ~fx->fcw & (FSW_IE | FSW_OE | FSW_UE)) != 0;
}

static void execute(struct cpu *cpu, const struct insn *in) {
  const struct insn_desc *desc = insn_describe(in);
  struct fxsave *fx = &cpu->fx;
  struct hostfpu_x87 op;
  uint8_t code[2] = {in->opcode, in->is_mem ? (uint8_t)(in->reg << 3 | 7) : in->modrm};
  unsigned size = in->is_mem ? fpu_operand_size(desc->op[0]) : 0;
  uint32_t la = 0, ea = 0;
  if (in->is_mem) {
    ea = insn_ea(cpu, in);
    la = fpu_operand_la(cpu, in, size, (desc->attr & A_STORE) != 0);
    if (desc->attr & A_LOAD)
      fpu_read_la(cpu, la, op.mem, size);
  }
  memcpy(&op.state, fx, offsetof(struct fxsave, xmm));
  /* Older flags must not hide what this instruction raises, nor trap on the host (IGNNE#). */
  uint16_t sticky = fx->fsw & (FSW_EXCEPTIONS | FSW_SF);
  op.state.fsw &= (uint16_t)~(FSW_EXCEPTIONS | FSW_SF | FSW_ES | FSW_B);
  op.eflags = cpu->eflags;
  hostfpu_x87(code, 2, &op);
  if (cpu->machine->config.counted && x87_is_transcendental(in))
    x87_transcendental(in, fx, &op.state);

  if ((desc->attr & A_STORE) && !store_suppressed(&op.state))
    fpu_write_la(cpu, la, op.mem, size);
  fx->fcw = op.state.fcw;
  fx->fsw = op.state.fsw | sticky;
  fx->ftw = op.state.ftw;
  memcpy(fx->st, op.state.st, sizeof fx->st);
  fpu_update_summary(fx);
  if (desc->flags_written)
    cpu->eflags = (cpu->eflags & ~FL_ARITH) | (op.eflags & FL_ARITH);
  if (in->id == INSN_FLDCW)
    return;
  fx->fop = (uint16_t)((in->opcode & 7) << 8 | in->modrm);
  fx->fip = cpu->eip;
  fx->fcs = cpu->seg[CS].sel;
  if (in->is_mem) {
    fx->fdp = ea;
    fx->fds = cpu->seg[in->seg].sel;
  }
}

static void store_word(struct cpu *cpu, const struct insn *in, uint16_t value) {
  fpu_write_la(cpu, fpu_operand_la(cpu, in, 2, true), &value, 2);
}

static void dispatch(struct cpu *cpu, const struct insn *in) {
  struct fxsave *fx = &cpu->fx;
  switch (in->id) {
  case INSN_FENI:
  case INSN_FDISI:
  case INSN_FSETPM: break;
  case INSN_FNINIT: x87_init(fx); break;
  case INSN_FNCLEX: fx->fsw &= (uint16_t)~(FSW_EXCEPTIONS | FSW_SF | FSW_ES | FSW_B); break;
  case INSN_FNSTCW: store_word(cpu, in, fx->fcw); break;
  case INSN_FNSTSW_Mw: store_word(cpu, in, fx->fsw); break;
  case INSN_FNSTSW_AX: cpu->gpr[EAX] = (cpu->gpr[EAX] & 0xffff0000u) | fx->fsw; break;
  case INSN_FNSTENV: store_state(cpu, in, false); break;
  case INSN_FNSAVE: store_state(cpu, in, true); break;
  case INSN_FLDENV: load_state(cpu, in, false); break;
  case INSN_FRSTOR: load_state(cpu, in, true); break;
  case INSN_FXSAVE: fxsave_store(cpu, in); break;
  case INSN_FXRSTOR: fxrstor_load(cpu, in); break;
  default: execute(cpu, in); break;
  }
  fpu_update_ferr(cpu);
}

static bool available(struct cpu *cpu, const struct insn *in) {
  uint32_t reasons = cpu->cr0 & (CR0_EM | CR0_TS);
  if (in->id == INSN_FWAIT ? (cpu->cr0 & CR0_MP) && (cpu->cr0 & CR0_TS) : reasons != 0)
    cpu_raise(cpu, EXC_NM);
  return cpu_has(cpu, FEAT_FPU); /* no coprocessor: nothing happens */
}

void interp_x87_row(struct cpu *cpu, const struct insn *in) {
  if (!available(cpu, in))
    return;
  if (!(insn_describe(in)->attr & A_NOFPCHK) && !fpu_wait(cpu))
    return;
  if (in->id != INSN_FWAIT)
    dispatch(cpu, in);
}

/* One handler per row of the table, all the same function. */
#define I(id, ...) \
  void interp_##id(struct cpu *cpu, const struct insn *in) { interp_x87_row(cpu, in); }
#include "core/insn-fpu.def"
#undef I
