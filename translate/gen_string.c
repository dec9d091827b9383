/* SPDX-License-Identifier: MIT */
/*
 * String instructions. The direction flag is part of the block's mode, so single iterations are plain
 * loads and stores with a constant step. REP MOVS and REP STOS upwards in flat segments run as the host's own REP
 * when the count is small and each operand stays on one page of plain memory; everything else is the core's.
 */
#include "core/mem.h"
#include "translate/gen.h"

static unsigned element(const struct insn *in) { return in->opcode & 1 ? (unsigned)in->opsize : 1; }

static unsigned size_flags(const struct insn *in) { return element(in) == 2 ? EO_66 : 0; }

/* ESI or EDI += step, as wide as the address size */
static void advance(struct gen *g, const struct insn *in, int reg) {
  int step = (int)element(in);
  emit_op_rm(&g->e, in->addrsize == 2 ? EO_66 : 0, OM_1, 0x8d, reg, hm_base(reg, g->mode & MODE_DF ? -step : step));
}

static int index_linear(struct gen *g, const struct insn *in, int seg, int reg, bool write) {
  gen_reserve(g, 16);
  if (in->addrsize == 2) {
    emit_movzx16(&g->e, R8, reg);
    reg = R8;
  }
  return gen_linear(g, seg, reg, element(in), write);
}

/* --- single iterations: the access, then the index registers --- */

static void op_movs_load(struct gen *g, const struct insn *in, struct host_mem m) {
  if (element(in) == 4)
    emit_load(&g->e, R11, m);
  else
    emit_op_rm(&g->e, 0, OM_0F, element(in) == 2 ? 0xb7 : 0xb6, R11, m);
}

static void op_movs_store(struct gen *g, const struct insn *in, struct host_mem m) {
  emit_op_rm(&g->e, size_flags(in), OM_1, element(in) == 1 ? 0x88 : 0x89, R11, m);
  advance(g, in, RSI);
  advance(g, in, RDI);
}

static void op_stos(struct gen *g, const struct insn *in, struct host_mem m) {
  emit_op_rm(&g->e, size_flags(in), OM_1, element(in) == 1 ? 0x88 : 0x89, RAX, m);
  advance(g, in, RDI);
}

static void op_lods(struct gen *g, const struct insn *in, struct host_mem m) {
  emit_op_rm(&g->e, size_flags(in), OM_1, element(in) == 1 ? 0x8a : 0x8b, RAX, m);
  advance(g, in, RSI);
}

static void op_scas(struct gen *g, const struct insn *in, struct host_mem m) {
  emit_op_rm(&g->e, size_flags(in), OM_1, element(in) == 1 ? 0x3a : 0x3b, RAX, m);
  advance(g, in, RDI);
}

static void op_cmps(struct gen *g, const struct insn *in, struct host_mem m) {
  emit_op_rm(&g->e, size_flags(in), OM_1, element(in) == 1 ? 0x3a : 0x3b, R11, m);
  advance(g, in, RSI);
  advance(g, in, RDI);
}

static void access_source(struct gen *g, const struct insn *in, gen_op op) {
  gen_access(g, in, index_linear(g, in, in->seg, RSI, false), element(in), ACCESS_READ, false, op);
}

static void access_destination(struct gen *g, const struct insn *in, enum access access, gen_op op) {
  gen_access(g, in, index_linear(g, in, ES, RDI, access != ACCESS_READ), element(in), access, false, op);
}

static bool gen_single(struct gen *g, const struct insn *in) {
  switch (in->opcode & 0xfe) {
  case 0xa4:
    access_source(g, in, op_movs_load);
    access_destination(g, in, ACCESS_WRITE, op_movs_store);
    return true;
  case 0xa6:
    access_source(g, in, op_movs_load);
    access_destination(g, in, ACCESS_READ, op_cmps);
    return true;
  case 0xaa: access_destination(g, in, ACCESS_WRITE, op_stos); return true;
  case 0xac: access_source(g, in, op_lods); return true;
  case 0xae: access_destination(g, in, ACCESS_READ, op_scas); return true;
  default: return false;
  }
}

/* --- REP on the host --- */

static int scale_of(unsigned size) { return size == 4 ? 2 : size == 2 ? 1 : 0; }

/* R8 = addend for the run of ECX elements at `reg`, or leave for the core. RCX, R9 change. */
static void probe_run(struct gen *g, int reg, unsigned size, bool write, int addend) {
  struct emitter *e = &g->e;
  gen_reserve(g, 64);
  int table = (g->mode & MODE_USER ? TLB_USER_READ : TLB_SUP_READ) + (write ? 1 : 0);
  int32_t tlb = (int32_t)(offsetof(struct cpu, tlb) + (size_t)table * TLB_ENTRIES * 8);
  emit_shrx(e, R9, reg, R13, false); /* page of the first byte */
  emit_lea(e, RCX, hm_index(reg, R10, scale_of(size), -1));
  emit_shrx(e, RCX, RCX, R13, false); /* page of the last byte */
  emit_lea(e, RCX, hm_index(RCX, R9, 0, 0));
  emit_load64(e, RCX, hm_index(R14, RCX, 3, tlb));
  emit_mov_rr64(e, addend, RCX);
  gen_cold(g, COLD_CORE);
}

/* Go on if ECX < 4096, else leave for the core. */
static void leave_unless_below_page(struct gen *g) {
  struct emitter *e = &g->e;
  emit_shrx(e, RCX, RCX, R13, false);
  uint8_t *below = emit_jrcxz(e);
  emit_mov_imm(e, RCX, 0);
  gen_cold(g, COLD_CORE);
  emit_patch8(below, e->p);
}

static bool gen_rep(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  bool movs = (in->opcode & 0xfe) == 0xa4, stos = (in->opcode & 0xfe) == 0xaa;
  if (!(movs || stos) || in->addrsize == 2 || (g->mode & MODE_DF) || !gen_seg_flat(g, ES) ||
      (movs && !gen_seg_flat(g, in->seg)))
    return false;
  unsigned size = element(in);
  unsigned first = g->cold_count;
  gen_reserve(g, 90);
  /* 1 to 4096 elements, then at most 4096 bytes: the probe's index is ambiguous for longer runs */
  emit_lea(e, RCX, hm_base(R10, -1));
  leave_unless_below_page(g);
  if (size > 1) {
    emit_lea(e, RCX, size == 4 ? hm_index(R10, R10, 1, -1) : hm_index(R10, R10, 0, -1));
    if (size == 4)
      emit_lea(e, RCX, hm_index(RCX, R10, 0, 0));
    leave_unless_below_page(g);
  }
  probe_run(g, RDI, size, true, R8);
  if (movs)
    probe_run(g, RSI, size, false, R11);
  gen_reserve(g, 64);
  emit_lea64(e, R8, hm_index(RDI, R8, 0, 0)); /* host addresses */
  emit_lea(e, R9, hm_index(RDI, R10, scale_of(size), 0)); /* final EDI */
  emit_mov_rr64(e, RDI, R8);
  if (movs) {
    emit_lea64(e, R11, hm_index(RSI, R11, 0, 0));
    emit_lea(e, R8, hm_index(RSI, R10, scale_of(size), 0)); /* final ESI */
    emit_mov_rr64(e, RSI, R11);
  }
  emit_mov_rr(e, RCX, R10);
  e8(e, 0xf3); /* rep movs / rep stos */
  if (size == 2)
    e8(e, 0x66);
  e8(e, in->opcode);
  emit_mov_rr(e, RDI, R9);
  if (movs)
    emit_mov_rr(e, RSI, R8);
  emit_mov_imm(e, R10, 0);
  for (unsigned i = first; i < g->cold_count; i++)
    if (g->cold[i].kind == COLD_CORE && g->cold[i].index == g->index)
      g->cold[i].resume = e->p;
  return true;
}

bool gen_string(struct gen *g, const struct insn *in) {
  return in->rep ? gen_rep(g, in) : gen_single(g, in);
}
