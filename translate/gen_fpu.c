/* SPDX-License-Identifier: MIT */
/*
 * x87, MMX and SSE on the host's own units: the same instruction with its memory operand and general registers
 * re-numbered. The guest's state is loaded when a block first needs it (the load is skipped if it is there).
 *
 * The host does not know guest addresses, so FIP, FCS, FOP, FDP and FDS are kept in cpu->fx by stores of our own; FIP
 * and FOP only where somebody may look. Unmasked exceptions reach the host as SIGFPE, misaligned operands as SIGSEGV;
 * the interpreter then repeats the instruction and raises what the guest shall see. Whole-state loads and
 * stores, FNINIT, FNCLEX, LDMXCSR and MASKMOV are the core's.
 */
#include "core/fpu.h"
#include "translate/gen.h"

static void ensure_loaded(struct gen *g) {
  struct emitter *e = &g->e;
  if (g->fpu_ready)
    return;
  gen_reserve(g, 24);
  emit_load(e, RCX, CPU_FIELD(fpu_loaded));
  struct cold *c = gen_cold(g, COLD_FPU);
  c->resume = e->p;
  g->fpu_ready = true;
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

static struct host_mem selector(int seg) {
  return hm_cpu(offsetof(struct cpu, seg) + (size_t)seg * sizeof(struct seg) + offsetof(struct seg, sel));
}

/* Code segment; instruction pointer and opcode wait in g. */
static void store_code_pointers(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  g->fp_pending = true;
  g->fp_eip = g->eip;
  g->fp_opcode = (uint16_t)((in->opcode & 7) << 8 | in->modrm);
  if (!(g->fcs_known & 1)) {
    emit_op_rm(e, 0, OM_0F, 0xb7, RCX, selector(CS)); /* movzx ecx, word [cs] */
    emit_op_rm(e, EO_66, OM_1, 0x89, RCX, CPU_FIELD(fx.fcs));
    g->fcs_known |= 1;
  }
}

/* Operand pointer: the offset is in host register `reg`. */
static void store_data_pointers(struct gen *g, const struct insn *in, int reg) {
  struct emitter *e = &g->e;
  emit_store(e, CPU_FIELD(fx.fdp), reg);
  if (!(g->fcs_known & 2u << in->seg)) {
    emit_op_rm(e, 0, OM_0F, 0xb7, RCX, selector(in->seg));
    emit_op_rm(e, EO_66, OM_1, 0x89, RCX, CPU_FIELD(fx.fds));
    g->fcs_known = (g->fcs_known & 1) | 2u << in->seg;
  }
}

/* g->arg: register that holds the operand's offset. The pointers are part of the operation, because a slow store
 * may leave the block right after it. */
static void op_x87_mem(struct gen *g, const struct insn *in, struct host_mem m) {
  bool slow = m.base == R14;
  uint32_t known = g->fcs_known;
  bool pending = g->fp_pending;
  emit_op_rm(&g->e, 0, OM_1, in->opcode, in->reg, m);
  if (!fpu_sets_pointers(in))
    return;
  if (slow)
    g->fcs_known = 0;
  store_code_pointers(g, in);
  store_data_pointers(g, in, g->arg);
  if (slow) {
    g->fcs_known = known;
    g->fp_pending = pending;
  }
}

static void gen_x87_mem(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  const struct insn_desc *d = insn_describe(in);
  unsigned size = fpu_operand_size(d->op[0]);
  bool store = d->attr & A_STORE;
  gen_reserve(g, 24);
  int off = gen_offset(g, in);
  int keep = off;
  if (!gen_seg_flat(g, in->seg)) {
    emit_mov_rr(e, R11, off);
    keep = R11;
  }
  int la = gen_linear(g, in->seg, off, size, store);
  g->arg = keep;
  gen_reserve(g, 96); /* the pointers are part of the operation */
  struct cold *c = gen_access(g, in, la, size, store ? ACCESS_WRITE : ACCESS_READ, false, op_x87_mem);
  if (store)
    gen_slow_by_core(c);
}

bool gen_fpu(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  if (!cpu_has(g->j->cpu, FEAT_FPU) || fpu_core_only(in))
    return false;
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
  if (fpu_sets_pointers(in)) {
    gen_reserve(g, 64);
    store_code_pointers(g, in);
  }
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
    gen_modrm_access(g, in, size, d->attr & A_STORE ? ACCESS_WRITE : ACCESS_READ, d->attr & A_ALIGN, op_simd_mem);
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
