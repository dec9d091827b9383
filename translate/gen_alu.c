/* SPDX-License-Identifier: MIT */
/*
 * Integer instructions that the host executes as they stand, with registers re-numbered and the memory
 * operand replaced: moves, arithmetic, logic, bit operations, shifts, multiplication and division, flags.
 *
 * Byte registers: AL, BL, DL and CL (in R10B) encode directly. AH, BH, DH encode directly if nothing else in the
 * instruction wants a REX prefix. Otherwise, and for CH, the register is rotated right by 8 around the
 * instruction (RORX leaves flags alone), so that the high byte is the low one.
 */
#include "core/log.h"
#include "translate/gen.h"

/* What the operands of an instruction are. */
struct shape {
  bool rm_byte, reg_byte, has_reg; /* has_reg: ModRM.reg names a general register */
  bool known;       /* see insn_shape */
  uint8_t mem_size; /* of the memory form */
  uint8_t imm;      /* bytes of immediate */
  uint8_t flags;    /* EO_* */
};

static unsigned operand_imm(int op, int opsize) {
  switch (op) {
  case Ib:
  case Ibs: return 1;
  case Iw: return 2;
  case Iv: return (unsigned)opsize;
  default: return 0;
  }
}

static struct shape make_shape(const struct insn *in) {
  const struct insn_desc *d = insn_describe(in);
  struct shape s = {.known = true};
  if (in->opsize == 2 && d->pfx != P_NP) /* MOVNTI has one size */
    s.flags |= EO_66;
  for (int i = 0; i < 3; i++) {
    int op = d->op[i];
    s.imm = (uint8_t)(s.imm + operand_imm(op, in->opsize));
    switch (op) {
    case Eb:
    case Mb: s.rm_byte = true, s.mem_size = 1; break;
    case Ew:
    case Mw: s.mem_size = 2; break;
    case Ed:
    case Md: s.mem_size = 4; break;
    case Ev:
    case Mv: s.mem_size = in->opsize; break;
    case Mq: s.mem_size = 8; break;
    case Gb: s.reg_byte = true, s.has_reg = true; break;
    case Gw:
    case Gd:
    case Gv: s.has_reg = true; break;
    default: break;
    }
  }
  if (d->pfx == P_F3)
    s.flags |= EO_F3;
  if (d->pfx == P_F2)
    s.flags |= EO_F2;
  return s;
}

/* By row and operand size, made when first asked for. */
static struct shape insn_shape(const struct insn *in) {
  static _Thread_local struct shape table[INSN_COUNT][2];
  struct shape *s = &table[in->id][in->opsize == 4];
  if (!s->known)
    *s = make_shape(in);
  struct shape shape = *s;
  if (in->lock)
    shape.flags |= EO_LOCK;
  return shape;
}

static void emit_imm(struct emitter *e, const struct insn *in, unsigned n) {
  if (n == 1)
    e8(e, in->imm);
  else if (n == 2)
    e16(e, in->imm);
  else if (n == 4)
    e32(e, in->imm);
}

static void rotate(struct emitter *e, int guest_byte, int count) {
  int r = host_gpr[guest_byte & 3];
  emit_rorx(e, r, r, count);
}

/* Can this high byte register be encoded as AH, DH, BH when no REX prefix is present? */
static bool legacy_high(int guest_byte) { return guest_byte >= 4 && guest_byte != 5; }

/* The host's opcode: 64-bit mode has no 82h. */
static int host_opcode(const struct insn *in) {
  return in->map == MAP_1 && in->opcode == 0x82 ? 0x80 : in->opcode;
}

/* CMPXCHG compares with AL: EAX can't be rotated around it. */
static bool cmpxchg_byte(const struct insn *in) { return in->map == MAP_0F && in->opcode == 0xb0; }

/* opcode /reg, memory: the general case of an instruction with ModRM and a memory operand. */
static void op_modrm_mem(struct gen *g, const struct insn *in, struct host_mem m) {
  struct emitter *e = &g->e;
  struct shape s = insn_shape(in);
  int reg = in->reg;
  bool high = false;
  if (s.has_reg) {
    if (s.reg_byte) {
      high = reg >= 4;
      reg = host_gpr[reg & 3];
    } else {
      reg = host_gpr[reg];
    }
  }
  /* the operand's address may use the register that is rotated: move it to R8 first */
  DGM_ASSERT(!(high && m.window)); /* a fault must not find it rotated */
  if (high && m.base != R14) {
    emit_lea64(e, R8, m);
    m = hm_base(R8, 0);
  }
  if (high)
    rotate(e, in->reg, 8);
  emit_op_rm(e, s.flags, in->map, host_opcode(in), reg, m);
  emit_imm(e, in, s.imm);
  if (high)
    rotate(e, in->reg, 24);
}

static bool modrm_registers(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  struct shape s = insn_shape(in);
  s.flags &= (uint8_t)~EO_LOCK;
  int reg = in->reg, rm = in->rm;
  bool reg_high = s.has_reg && s.reg_byte && reg >= 4;
  bool rm_high = s.rm_byte && rm >= 4;
  if (!reg_high && !rm_high) {
    if (s.has_reg)
      reg = host_gpr[reg];
    emit_op_rr(e, s.flags, in->map, host_opcode(in), reg, host_gpr[rm]);
    emit_imm(e, in, s.imm);
    return true;
  }
  /* No REX prefix anywhere: host numbers below 8, high bytes among AH, DH, BH. */
  int reg_host = !s.has_reg ? reg : s.reg_byte ? host_gpr[reg & 3] : host_gpr[reg];
  int rm_host = s.rm_byte ? host_gpr[rm & 3] : host_gpr[rm];
  if (reg_host < 8 && rm_host < 8 && (!reg_high || legacy_high(reg)) && (!rm_high || legacy_high(rm))) {
    emit_op_rr(e, s.flags, in->map, host_opcode(in), reg_high ? reg : reg_host, rm_high ? rm : rm_host);
    emit_imm(e, in, s.imm);
    return true;
  }
  if (cmpxchg_byte(in))
    return false;
  bool same = s.has_reg && (reg & 3) == (rm & 3) && s.reg_byte && reg != rm;
  bool wide_same = s.has_reg && !s.reg_byte && rm_high && host_gpr[reg] == host_gpr[rm & 3];
  if (same || wide_same) {
    if (in->opcode == 0x86 || in->opcode == 0xc0 || in->opcode == 0xb0)
      return false; /* XCHG, XADD, CMPXCHG write both */
    const struct insn_desc *d = insn_describe(in);
    bool rm_is_source = d->op[0] == Gb || d->op[0] == Gw || d->op[0] == Gd || d->op[0] == Gv;
    int source = rm_is_source ? rm : reg; /* byte register that is only read: copy it to R11B */
    if (source >= 4)
      emit_rorx(e, R11, host_gpr[source & 3], 8);
    else
      emit_mov_rr(e, R11, host_gpr[source & 3]);
    bool dest_high = rm_is_source ? reg_high : rm_high;
    if (dest_high)
      rotate(e, rm, 8);
    int dest = host_gpr[rm_is_source && !s.reg_byte ? reg : rm & 3];
    emit_op_rr(e, s.flags, in->map, in->opcode, rm_is_source ? dest : R11, rm_is_source ? R11 : dest);
    if (dest_high)
      rotate(e, rm, 24);
    return true;
  }
  if (!s.has_reg && in->opcode == 0xf6 && in->reg >= 4) { /* MUL, DIV of CH: only read, and may fault */
    emit_rorx(e, R11, R10, 8);
    emit_op_rr(e, 0, OM_1, 0xf6, in->reg, R11);
    return true;
  }
  if (reg_high)
    rotate(e, reg, 8);
  if (rm_high && !(reg_high && reg == rm))
    rotate(e, rm, 8);
  emit_op_rr(e, s.flags, in->map, host_opcode(in), reg_host, rm_host);
  emit_imm(e, in, s.imm);
  if (reg_high)
    rotate(e, reg, 24);
  if (rm_high && !(reg_high && reg == rm))
    rotate(e, rm, 24);
  return true;
}

static enum access insn_access(const struct insn *in) {
  unsigned attr = insn_describe(in)->attr;
  if (!(attr & A_STORE))
    return ACCESS_READ;
  return attr & A_LOAD ? ACCESS_RMW : ACCESS_WRITE;
}

static bool gen_lea_insn(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  if (in->addrsize == 4 && in->opsize == 4) {
    gen_offset_into(g, in, host_gpr[in->reg]);
    return true;
  }
  int reg = gen_offset(g, in);
  emit_op_rr(e, in->opsize == 2 ? EO_66 : 0, OM_1, 0x8b, host_gpr[in->reg], reg);
  return true;
}

/* Instructions whose register is in the opcode. */
static bool gen_opcode_reg(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  unsigned flags = in->opsize == 2 ? EO_66 : 0;
  int n = in->opcode & 7, r = host_gpr[n];
  if (in->map == MAP_0F) { /* C8-CF BSWAP */
    if (in->opsize == 2)
      return false;
    if (r & 8)
      e8(e, 0x41);
    e8(e, 0x0f), e8(e, 0xc8u | (unsigned)(r & 7));
    return true;
  }
  switch (in->opcode & 0xf8) {
  case 0x40: emit_op_rr(e, flags, OM_1, 0xff, 0, r); return true;
  case 0x48: emit_op_rr(e, flags, OM_1, 0xff, 1, r); return true;
  case 0x90: emit_op_rr(e, flags, OM_1, 0x87, RAX, r); return true;
  case 0xb8:
    if (in->opsize == 4) {
      emit_mov_imm(e, r, in->imm);
    } else {
      emit_op_rr(e, EO_66, OM_1, 0xc7, 0, r);
      e16(e, in->imm);
    }
    return true;
  case 0xb0:
    if (n == 5) { /* CH */
      rotate(e, n, 8);
      emit_op_rr(e, 0, OM_1, 0xc6, 0, R10);
      e8(e, in->imm);
      rotate(e, n, 24);
    } else {
      emit_op_rr(e, 0, OM_1, 0xc6, 0, n >= 4 ? n : r);
      e8(e, in->imm);
    }
    return true;
  default: return false;
  }
}

/* AL, Ib and eAX, Iv: the host's own short forms. */
static void gen_accumulator(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  unsigned imm = insn_shape(in).imm;
  if (in->opsize == 2 && imm != 1)
    e8(e, 0x66);
  e8(e, in->opcode);
  emit_imm(e, in, imm);
}

/* BT, BTS, BTR, BTC with a register bit offset reach beyond the operand. */
static bool bit_string(const struct insn *in) {
  return in->map == MAP_0F && in->is_mem &&
         (in->opcode == 0xa3 || in->opcode == 0xab || in->opcode == 0xb3 || in->opcode == 0xbb);
}

bool gen_alu(struct gen *g, const struct insn *in) {
  if (!in->has_modrm) {
    const struct insn_desc *d = insn_describe(in);
    if (d->op[0] == AL_ || d->op[0] == eAX_) {
      gen_accumulator(g, in);
      return true;
    }
    return gen_opcode_reg(g, in);
  }
  if (in->map == MAP_1 && in->opcode == 0x8d)
    return gen_lea_insn(g, in);
  if (bit_string(in) || (in->map == MAP_0F && in->opcode == 0xc7))
    return false; /* CMPXCHG8B: by the core */
  if (in->map == MAP_0F && (in->opcode == 0xa5 || in->opcode == 0xad))
    return gen_shift(g, in); /* SHLD, SHRD by CL */
  if (!in->is_mem)
    return modrm_registers(g, in);
  struct shape s = insn_shape(in);
  if (s.mem_size == 0 || (cmpxchg_byte(in) && in->reg == 4))
    return false;
  /* CMPXCHG writes its memory operand in any case: access it as such */
  g->only_tlb = s.has_reg && s.reg_byte && in->reg >= 4; /* rotated around the access */
  gen_modrm_access(g, in, s.mem_size, insn_access(in), false, op_modrm_mem);
  g->only_tlb = false;
  return true;
}

/* --- shifts --- */

static void op_shift_mem(struct gen *g, const struct insn *in, struct host_mem m) {
  struct emitter *e = &g->e;
  struct shape s = insn_shape(in);
  bool window = m.window;
  if (m.index == RCX) { /* the probe's addend, or a segment's base */
    m.window = false;
    emit_op_rm(e, window ? 0 : EO_W, OM_1, 0x8d, R8, m); /* lea */
    m = hm_base(R8, 0);
    m.window = window;
  }
  emit_mov_rr(e, RCX, R10);
  emit_op_rm(e, s.flags, in->map, in->opcode, s.has_reg ? host_gpr[in->reg] : in->reg, m);
}

bool gen_shift(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  const struct insn_desc *d = insn_describe(in);
  bool by_cl = d->op[1] == CL_ || d->op[2] == CL_;
  struct shape s = insn_shape(in);
  if (in->is_mem) {
    gen_modrm_access(g, in, s.mem_size, ACCESS_RMW, false, by_cl ? op_shift_mem : op_modrm_mem);
    return true;
  }
  if (by_cl)
    emit_mov_rr(e, RCX, R10); /* mov ecx, guest ecx */
  return modrm_registers(g, in);
}

/* --- implied accumulators --- */

static void op_moffs(struct gen *g, const struct insn *in, struct host_mem m) {
  struct emitter *e = &g->e;
  unsigned flags = in->opsize == 2 && (in->opcode & 1) ? EO_66 : 0;
  static const uint8_t opcode[4] = {0x8a, 0x8b, 0x88, 0x89};
  emit_op_rm(e, flags, OM_1, opcode[in->opcode & 3], RAX, m);
}

bool gen_mul(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  if (in->map != MAP_1)
    return false;
  switch (in->opcode) {
  case 0x98:
  case 0x99:
    if (in->opsize == 2)
      e8(e, 0x66);
    e8(e, in->opcode);
    return true;
  case 0xa0:
  case 0xa1:
  case 0xa2:
  case 0xa3:
    gen_modrm_access(g, in, in->opcode & 1 ? (unsigned)in->opsize : 1, in->opcode & 2 ? ACCESS_WRITE : ACCESS_READ,
                     false, op_moffs);
    return true;
  case 0xf6:
  case 0xf7:
    if (in->is_mem) {
      gen_modrm_access(g, in, in->opcode & 1 ? (unsigned)in->opsize : 1, ACCESS_READ, false, op_modrm_mem);
      return true;
    }
    return modrm_registers(g, in);
  default: return false;
  }
}

/* --- flags --- */

bool gen_flag(struct gen *g, const struct insn *in) {
  switch (in->opcode) {
  case 0x9e: /* sahf */
  case 0x9f: /* lahf */
  case 0xf5: /* cmc */
  case 0xf8: /* clc */
  case 0xf9: /* stc */ e8(&g->e, in->opcode); return true;
  /* DF is part of the mode: a change is the core's */
  case 0xfc: return !(g->mode & MODE_DF);
  case 0xfd: return g->mode & MODE_DF;
  default: return false;
  }
}
