/* SPDX-License-Identifier: MIT */
/*
 * x87, MMX and SSE on the host's own units: the same instruction with its memory operand and general
 * registers re-numbered. The guest's state is loaded when a block first needs it (the load is skipped if it
 * is there).
 *
 * The host does not know guest addresses, so FIP, FCS, FOP, FDP and FDS are kept in cpu->fx by stores of our
 * own, where somebody may look (struct fp_pointers). Unmasked exceptions reach the host as SIGFPE, misaligned
 * operands as SIGSEGV; the interpreter then repeats the instruction and raises what the guest shall see.
 * Whole-state loads and stores, FNINIT, FNCLEX, LDMXCSR and MASKMOV are the core's.
 */
#include "core/fpu.h"
#include "core/machine.h"
#include "core/x87_exact.h"
#include "translate/gen.h"

static void ensure_loaded(struct gen *g) {
  struct emitter *e = &g->e;
  if (g->fpu_ready)
    return;
  gen_reserve(g, 24);
  emit_load(e, RCX, CPU_FIELD(fpu_loaded));
  struct cold *c = gen_cold(g, COLD_FPU);
  gen_reach_front(g);
  c->resume = e->p;
  g->fpu_ready = true;
}

/* --- what an instruction writes --- */

/* Jcc and JMP rel */
static bool is_jump(const struct insn *in) {
  if (in->map == MAP_0F)
    return (in->opcode & 0xf0) == 0x80;
  return in->map == MAP_1 && ((in->opcode & 0xf0) == 0x70 || in->opcode == 0xe9 || in->opcode == 0xeb);
}

unsigned insn_may_write(const struct insn *in) {
  const struct insn_desc *d = insn_describe(in);
  unsigned operands = 0;
  for (int i = 0; i < 3; i++)
    switch (d->op[i]) {
    case Eb: operands |= in->is_mem ? 0 : 1u << (in->rm & 3); break;
    case Ew:
    case Ed:
    case Ev:
    case Rd:
    case Rv: operands |= in->is_mem ? 0 : 1u << in->rm; break;
    case Gb: operands |= 1u << (in->reg & 3); break;
    case Gw:
    case Gd:
    case Gv: operands |= 1u << in->reg; break;
    default: break;
    }
  switch (d->cls) {
  case CL_FPU: return in->id == INSN_FNSTSW_AX ? 1u << EAX : 0;
  case CL_NOP: return 0;
  case CL_MMX:
  case CL_SSE: return operands | 1u << ECX; /* PCMPESTRI */
  case CL_BRANCH: return is_jump(in) ? 0 : 0xff;
  case CL_FLAG: return 1u << EAX;
  case CL_STRING: return 1u << ESI | 1u << EDI | 1u << ECX | 1u << EAX;
  case CL_COPY:
    if (!in->has_modrm)
      return 1u << EAX | 1u << (in->opcode & 7) | 1u << (in->opcode & 3);
    return operands | 1u << EAX | 1u << EDX; /* CMPXCHG, CMPXCHG8B */
  case CL_MUL: return operands | 1u << EAX | 1u << EDX;
  case CL_SHIFT: return operands;
  case CL_STACK: return d->op[0] == Zv && in->opcode < 0x58 ? 1u << ESP : 0xff; /* PUSH r */
  default: return 0xff;
  }
}

/* --- x87 --- */

bool fpu_core_only(const struct insn *in) {
  if (insn_describe(in)->cls != CL_FPU)
    return false;
  switch (in->id) {
  case INSN_FENI:
  case INSN_FDISI:
  case INSN_FSETPM:
  case INSN_FNINIT:
  case INSN_FNCLEX:
  case INSN_FXSAVE:
  case INSN_FXRSTOR: return true;
  default: return insn_describe(in)->op[0] == Mu;
  }
}

bool fpu_sets_pointers(const struct insn *in) {
  if (insn_describe(in)->cls != CL_FPU || fpu_core_only(in))
    return false;
  switch (in->id) {
  case INSN_FWAIT:
  case INSN_FLDCW:
  case INSN_FNSTCW:
  case INSN_FNSTSW_Mw:
  case INSN_FNSTSW_AX: return false;
  default: return true;
  }
}

static void code_pointers(struct gen *g, const struct insn *in) {
  g->fp.code = true;
  g->fp.eip = g->eip;
  g->fp.opcode = (uint16_t)((in->opcode & 7) << 8 | in->modrm);
}

/*
 * AMD's Zen 4 predicts what an FLDCW loads, in 32 places: bits 0 to 4 of its address, exclusive or bits 9 to
 * 5 and some higher ones. Two that share a place and load different words cost 50 ns each, every time. So
 * those that set the rounding for a conversion, and those that set it back, get places of their own. Which
 * they are depends on the physical page, too: traces on different ones meet by chance, the less often the
 * fewer places are used, so bits 0 to 3 are always the same.
 */
static unsigned fldcw_place(uintptr_t at) {
  return (at ^ (at >> 9 & 1) ^ (at >> 7 & 2) ^ (at >> 5 & 4) ^ (at >> 3 & 8) ^ (at >> 7 & 8)) & 15;
}

static bool converts(const struct insn *in) {
  switch (in->id) {
  case INSN_FRNDINT:
  case INSN_FIST_Mw:
  case INSN_FIST_Md:
  case INSN_FISTP_Mw:
  case INSN_FISTP_Md:
  case INSN_FISTP_Mq: return true;
  default: return false;
  }
}

static void place_fldcw(struct gen *g) {
  uint8_t *p = g->e.p;
  unsigned place = 0;
  for (unsigned i = g->index + 1; i < g->count && g->insns[i].id != INSN_FLDCW; i++)
    if (converts(&g->insns[i]))
      place = 15;
  while (fldcw_place((uintptr_t)p) != place)
    p++;
  while (p - g->e.p >= 7)
    emit_lea64(&g->e, R9, hm_base(R9, 0x1000)); /* nobody's */
  while (g->e.p < p)
    e8(&g->e, 0x90);
}

static void op_x87_mem(struct gen *g, const struct insn *in, struct host_mem m) {
  if (in->id == INSN_FLDCW)
    place_fldcw(g);
  emit_op_rm(&g->e, 0, OM_1, in->opcode, in->reg, m);
}

/* May FDP wait? Its value must still be had from guest registers later. */
static bool fdp_can_wait(const struct gen *g, const struct insn *in) {
  return in->addrsize == 4 && gen_seg_flat(g, in->seg);
}

static void gen_x87_mem(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  const struct insn_desc *d = insn_describe(in);
  unsigned size = fpu_operand_size(d->op[0]);
  bool store = d->attr & A_STORE, points = fpu_sets_pointers(in), wait = fdp_can_wait(g, in);
  enum access access = store ? ACCESS_WRITE : ACCESS_READ;
  gen_reserve(g, 24);
  if (wait) {
    struct cold *c = gen_modrm_access(g, in, size, access, false, op_x87_mem);
    if (store)
      gen_slow_by_core(c);
    if (points) {
      code_pointers(g, in);
      g->fp.data = true;
      g->fp.at = gen_guest_mem(in);
      g->fp.seg = in->seg;
    }
    return;
  }
  int off = gen_offset(g, in), keep = off;
  if (!gen_seg_flat(g, in->seg)) {
    emit_mov_rr(e, R11, off);
    keep = R11;
  }
  int la = gen_linear(g, in->seg, off, size, store);
  struct cold *c = gen_access(g, in, la, size, access, false, op_x87_mem);
  if (store)
    gen_slow_by_core(c);
  if (!points)
    return;
  gen_reserve(g, 48);
  code_pointers(g, in);
  g->fp.data = false;
  emit_store(e, CPU_FIELD(fx.fdp), keep);
  size_t sel = offsetof(struct cpu, seg) + in->seg * sizeof(struct seg) + offsetof(struct seg, sel);
  emit_op_rm(e, 0, OM_0F, 0xb7, RCX, hm_cpu(sel));
  emit_op_rm(e, EO_66, OM_1, 0x89, RCX, CPU_FIELD(fx.fds));
  if (store)
    c->resume = e->p; /* the core has set them */
}

bool gen_fpu(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  if (!cpu_has(g->j->cpu, FEAT_FPU) || fpu_core_only(in))
    return false;
  if (g->j->cpu->machine->config.counted && x87_is_transcendental(in))
    return false; /* hosts differ */
  if (in->id == INSN_FWAIT) {
    if (g->mode & MODE_MP_TS)
      return false;
    ensure_loaded(g);
    e8(e, 0x9b);
    return true;
  }
  if (g->mode & MODE_NOFPU)
    return false;
  ensure_loaded(g);
  if (in->is_mem) {
    gen_x87_mem(g, in);
    return true;
  }
  e8(e, in->opcode); /* FNSTSW AX writes the right register as it stands */
  e8(e, in->modrm);
  if (fpu_sets_pointers(in))
    code_pointers(g, in);
  return true;
}

/* --- MMX and SSE --- */

static unsigned simd_flags(const struct insn_desc *d) {
  switch (d->pfx) {
  case P_66: return EO_66;
  case P_F3: return EO_F3;
  case P_F2: return EO_F2;
  default: return 0;
  }
}

static bool has_imm8(const struct insn_desc *d) { return d->op[1] == Ib || d->op[2] == Ib; }

static int host_reg_field(const struct insn *in) {
  const struct insn_desc *d = insn_describe(in);
  for (int i = 0; i < 2; i++)
    if (d->op[i] == Gd || d->op[i] == Gv)
      return host_gpr[in->reg];
  return in->reg;
}

static void op_simd_mem(struct gen *g, const struct insn *in, struct host_mem m) {
  const struct insn_desc *d = insn_describe(in);
  emit_op_rm(&g->e, simd_flags(d), in->map, in->opcode, host_reg_field(in), m);
  if (has_imm8(d))
    e8(&g->e, in->imm);
}

/* PCMPESTRI and PCMPISTRI leave their index in ECX. */
static bool writes_ecx(const struct insn *in) {
  return in->map == MAP_0F3A && (in->opcode == 0x61 || in->opcode == 0x63);
}

static bool simd_core_only(const struct gen *g, const struct insn *in) {
  const struct insn_desc *d = insn_describe(in);
  switch (in->id) {
  case INSN_MASKMOVQ_Pq_Nq:
  case INSN_MASKMOVDQU_Vx_Ux:
  case INSN_LDMXCSR:
  case INSN_CLFLUSH: return true;
  default: break;
  }
  if (g->mode & MODE_NOFPU)
    return true;
  if (d->cls == CL_SSE)
    return !(g->mode & MODE_OSFXSR);
  return false;
}

bool gen_simd(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  const struct insn_desc *d = insn_describe(in);
  if (simd_core_only(g, in))
    return false;
  if (g->j->cpu->machine->config.counted && simd_is_approximation(in))
    return false;
  unsigned size = 0;
  bool rm_gpr = false;
  for (int i = 0; i < 2; i++) {
    if (in->is_mem && fpu_operand_size(d->op[i]))
      size = fpu_operand_size(d->op[i]);
    if (d->op[i] == Ed || d->op[i] == Rd)
      rm_gpr = true;
    if (d->op[i] != OP_NONE && (d->op[i] == Ev || d->op[i] == Gv || d->op[i] == Eb || d->op[i] == Ew))
      return false;
  }
  if (in->is_mem && (size == 0 || size > 16))
    return false;
  ensure_loaded(g);
  if (in->is_mem) {
    gen_modrm_access(g, in, size, d->attr & A_STORE ? ACCESS_WRITE : ACCESS_READ, d->attr & A_ALIGN,
                     op_simd_mem);
  } else if (in->has_modrm) {
    emit_op_rr(e, simd_flags(d), in->map, in->opcode, host_reg_field(in), rm_gpr ? host_gpr[in->rm] : in->rm);
    if (has_imm8(d))
      e8(e, in->imm);
  } else { /* EMMS */
    e8(e, 0x0f), e8(e, in->opcode);
  }
  if (writes_ecx(in))
    emit_mov_rr(e, R10, RCX);
  return true;
}
