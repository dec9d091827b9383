/* SPDX-License-Identifier: MIT */
/*
 * PUSH, POP, LEAVE and the stack halves of CALL and RET. The address is computed and probed first, ESP
 * changes last (with the access, so that the slow path repeats it). PUSHA, POPA, ENTER and POP to memory are
 * the core's; for PUSHF and POPF see gen_system.c.
 */
#include "translate/gen.h"

#include "translate/gen_stack.h"

/* Are the stack's accesses of this instruction host accesses at [R15 + disp], with nothing behind the block?
 */
static bool plain_stack(const struct gen *g) {
  return gen_windowed(g) && (g->mode & MODE_STACK32) && gen_seg_flat(g, SS);
}

/* An operand that has nothing to do with ESP, and no cold path either. */
static bool plain_operand(const struct gen *g, const struct insn *in) {
  if (!in->is_mem)
    return in->rm != ESP;
  return in->addrsize == 4 && in->base != ESP && in->base != BASE_EIP && gen_seg_flat(g, in->seg);
}

/*
 * PUSH and POP, and what often comes before or after some of them. If the host faults in between, the map of
 * the block says how far ESP is from R15.
 */
bool gen_sp_may_wait(const struct gen *g, const struct insn *in) {
  const int room = 0x4000;
  if (!plain_stack(g) || in->map != MAP_1 || g->sp < -room || g->sp > room)
    return false;
  switch (in->opcode) {
  case 0x68:
  case 0x6a: return true;
  case 0xe8:
  case 0xc3:
  case 0xc2: return in->opsize == 4 && g->cs_limit == 0xffffffffu;
  case 0xff: return in->reg == 6 && in->opsize == 4 && plain_operand(g, in);
  default: return in->opcode >= 0x50 && in->opcode <= 0x5f && (in->opcode & 7) != ESP;
  }
}

void gen_settle_sp(struct gen *g) {
  if (g->sp)
    emit_lea(&g->e, R15, hm_base(R15, g->sp));
  g->sp = 0;
}

/* esp += bytes, as wide as the stack segment says */
static void adjust_sp(struct gen *g, int bytes) {
  if (gen_sp_may_wait(g, &g->insns[g->index]))
    g->sp += bytes;
  else if (g->mode & MODE_STACK32)
    emit_lea(&g->e, R15, hm_base(R15, bytes));
  else
    emit_op_rm(&g->e, EO_66, OM_1, 0x8d, R15, hm_base(R15, bytes)); /* lea r15w: the upper half stays */
}

/* R8 or R15 = offset of the stack slot at SP + disp. */
static int stack_offset(struct gen *g, int disp) {
  struct emitter *e = &g->e;
  if (g->mode & MODE_STACK32) {
    if (disp == 0)
      return R15;
    emit_lea(e, R8, hm_base(R15, disp));
    return R8;
  }
  if (disp == 0) {
    emit_movzx16(e, R8, R15);
  } else {
    emit_lea(e, R8, hm_base(R15, disp));
    emit_movzx16(e, R8, R8);
  }
  return R8;
}

/* Access at SP + disp. */
static struct cold *stack_access(struct gen *g, const struct insn *in, int disp, enum access access,
                                 gen_op op) {
  unsigned size = (unsigned)in->opsize;
  gen_reserve(g, 16);
  if (plain_stack(g))
    return gen_window_access(g, in, hm_base(R15, disp + g->sp), op);
  int la = gen_linear(g, SS, stack_offset(g, disp), size, access != ACCESS_READ);
  return gen_access(g, in, la, size, access, false, op);
}

/* --- push --- */

/* g->arg: host register to push */
static void op_push_reg(struct gen *g, const struct insn *in, struct host_mem m) {
  emit_op_rm(&g->e, in->opsize == 2 ? EO_66 : 0, OM_1, 0x89, g->arg, m);
  adjust_sp(g, -in->opsize);
}

/* g->arg: the value */
static void op_push_imm(struct gen *g, const struct insn *in, struct host_mem m) {
  if (in->opsize == 2)
    emit_store_imm16(&g->e, m, (uint16_t)g->arg);
  else
    emit_store_imm(&g->e, m, (uint32_t)g->arg);
  adjust_sp(g, -in->opsize);
}

struct cold *gen_push_reg(struct gen *g, const struct insn *in, int reg) {
  g->arg = reg;
  return stack_access(g, in, -in->opsize, ACCESS_WRITE, op_push_reg);
}

/* Push the block's EIP constant g->arg. R9 is free once the address is probed. */
static void op_push_eip(struct gen *g, const struct insn *in, struct host_mem m) {
  struct emitter *e = &g->e;
  gen_eip(g, R9, (uint32_t)g->arg);
  emit_op_rm(e, in->opsize == 2 ? EO_66 : 0, OM_1, 0x89, R9, m);
  adjust_sp(g, -in->opsize);
}

struct cold *gen_push_eip(struct gen *g, const struct insn *in, uint32_t eip) {
  g->arg = (int32_t)eip;
  return stack_access(g, in, -in->opsize, ACCESS_WRITE, g->b->relative ? op_push_eip : op_push_imm);
}

/* It stays in R9, and ESP as it is. */
static void op_push_thunk(struct gen *g, const struct insn *in, struct host_mem m) {
  (void)in;
  gen_eip(g, R9, (uint32_t)g->arg);
  emit_store(&g->e, m, R9);
}

void gen_push_thunk(struct gen *g, const struct insn *in, uint32_t eip) {
  g->arg = (int32_t)eip;
  gen_window_access(g, in, hm_base(R15, g->sp - 4), op_push_thunk);
}

struct cold *gen_push_imm(struct gen *g, const struct insn *in, uint32_t value) {
  g->arg = (int32_t)value;
  return stack_access(g, in, -in->opsize, ACCESS_WRITE, op_push_imm);
}

/* --- pop --- */

/* g->arg: host register */
static void op_pop_reg(struct gen *g, const struct insn *in, struct host_mem m) {
  bool to_sp = g->arg == R15;
  if (to_sp &&
      in->opsize == 2) { /* SP first grows, then its low half is replaced: only the upper half can tell */
    emit_op_rm(&g->e, 0, OM_0F, 0xb7, R11, m);
    adjust_sp(g, 2);
    emit_op_rr(&g->e, EO_66, OM_1, 0x8b, R15, R11);
    return;
  }
  emit_op_rm(&g->e, in->opsize == 2 ? EO_66 : 0, OM_1, 0x8b, g->arg, m);
  if (!to_sp)
    adjust_sp(g, in->opsize);
}

/* R11D = the value on the stack, zero-extended; ESP unchanged */
static void op_peek(struct gen *g, const struct insn *in, struct host_mem m) {
  if (in->opsize == 2)
    emit_op_rm(&g->e, 0, OM_0F, 0xb7, R11, m);
  else
    emit_load(&g->e, R11, m);
}

void gen_peek(struct gen *g, const struct insn *in) { stack_access(g, in, 0, ACCESS_READ, op_peek); }

void gen_adjust_sp(struct gen *g, int bytes) { adjust_sp(g, bytes); }

static void gen_pop_reg(struct gen *g, const struct insn *in, int reg) {
  g->arg = reg;
  stack_access(g, in, 0, ACCESS_READ, op_pop_reg);
}

/* --- leave --- */

/* mov esp, ebp; pop ebp: the frame pointer addresses the slot */
static void op_leave(struct gen *g, const struct insn *in, struct host_mem m) {
  struct emitter *e = &g->e;
  (void)in;
  emit_load(e, R9, m);
  emit_lea(e, R15, hm_base(RBP, 4));
  emit_mov_rr(e, RBP, R9);
}

static bool gen_leave(struct gen *g, const struct insn *in) {
  if (!(g->mode & MODE_STACK32) || in->opsize == 2)
    return false;
  gen_reserve(g, 16);
  int la = gen_linear(g, SS, RBP, 4, false);
  gen_access(g, in, la, 4, ACCESS_READ, false, op_leave);
  return true;
}

static void op_load_r11(struct gen *g, const struct insn *in, struct host_mem m) { op_peek(g, in, m); }

void gen_load_r11(struct gen *g, const struct insn *in) {
  gen_modrm_access(g, in, (unsigned)in->opsize, ACCESS_READ, false, op_load_r11);
}

/* The selector, zero-extended. */
static bool push_segment(struct gen *g, const struct insn *in, int seg) {
  emit_op_rm(
      &g->e, 0, OM_0F, 0xb7, R11,
      hm_cpu(offsetof(struct cpu, seg) + (size_t)seg * sizeof(struct seg) + offsetof(struct seg, sel)));
  gen_push_reg(g, in, R11);
  return true;
}

bool gen_stack(struct gen *g, const struct insn *in) {
  const struct insn_desc *d = insn_describe(in);
  if (in->map == MAP_0F)
    return in->opcode == 0xa0   ? push_segment(g, in, FS)
           : in->opcode == 0xa8 ? push_segment(g, in, GS)
                                : false;
  switch (in->opcode) {
  case 0x06: return push_segment(g, in, ES);
  case 0x0e: return push_segment(g, in, CS);
  case 0x16: return push_segment(g, in, SS);
  case 0x1e: return push_segment(g, in, DS);
  case 0x9c: return gen_pushf(g, in);
  case 0x9d: return gen_popf(g, in);
  case 0x68:
  case 0x6a: gen_push_imm(g, in, in->imm); return true;
  case 0xc9: return gen_leave(g, in);
  case 0xff:
    if (in->reg != 6)
      return false;
    if (in->is_mem) {
      gen_load_r11(g, in);
      gen_push_reg(g, in, R11);
    } else {
      gen_push_reg(g, in, host_gpr[in->rm]);
    }
    return true;
  case 0x8f:
    if (in->is_mem)
      return false;
    gen_pop_reg(g, in, host_gpr[in->rm]);
    return true;
  default: break;
  }
  if (d->op[0] == Zv) {
    int reg = host_gpr[in->opcode & 7];
    if (in->opcode < 0x58)
      gen_push_reg(g, in, reg);
    else
      gen_pop_reg(g, in, reg);
    return true;
  }
  return false;
}

/* --- segment registers in real and V86 mode --- */

/* Which register a MOV or POP loads, if it is one of ES, DS, FS, GS; else -1. */
static int seg_loaded(const struct insn *in) {
  if (in->map == MAP_1 && in->opcode == 0x8e)
    return in->reg != SS && in->reg != CS && in->reg <= GS ? in->reg : -1;
  if (in->map == MAP_1)
    return in->opcode == 0x07 ? ES : in->opcode == 0x1f ? DS : -1;
  return in->opcode == 0xa1 ? FS : in->opcode == 0xa9 ? GS : -1;
}

static void op_load_selector(struct gen *g, const struct insn *in, struct host_mem m) {
  (void)in;
  emit_op_rm(&g->e, 0, OM_0F, 0xb7, R11, m); /* movzx r11d, word [m] */
}

/*
 * Selector and base change, nothing else (SDM vol. 3, 20.1.2) -- if it is an ordinary writable 64 KB
 * segment; in "unreal" mode the base decides whether the segment is flat, which is part of the block's mode:
 * the core's.
 */
/* R11D = the selector; ESP stays. */
static void read_selector(struct gen *g, const struct insn *in) {
  if (!(in->map == MAP_1 && in->opcode == 0x8e))
    gen_peek(g, in);
  else if (in->is_mem)
    gen_modrm_access(g, in, 2, ACCESS_READ, false, op_load_selector);
  else
    emit_movzx16(&g->e, R11, host_gpr[in->rm]);
}

/* In protected mode: what changes the mode, or faults, is the core's. */
static bool gen_seg_load_protected(struct gen *g, const struct insn *in, int seg) {
  struct emitter *e = &g->e;
  read_selector(g, in);
  gen_reserve(g, 64);
  emit_mov_imm(e, R8, (uint32_t)seg);
  emit_call_to(e, g->j->stub_seg_load);
  struct cold *c = gen_cold(g, COLD_CORE);
  if (!(in->map == MAP_1 && in->opcode == 0x8e))
    adjust_sp(g, in->opsize);
  c->resume = e->p;
  return true;
}

bool gen_seg_load(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  int seg = seg_loaded(in);
  if (seg < 0)
    return false;
  if ((g->mode & MODE_PE) && !(g->mode & MODE_V86))
    return gen_seg_load_protected(g, in, seg);
  bool mov = in->map == MAP_1 && in->opcode == 0x8e;
  if (!mov && in->opsize == 4)
    return false; /* reads 16 of 32 bits */
  size_t base = offsetof(struct cpu, seg) + (size_t)seg * sizeof(struct seg);
  gen_reserve(g, 40);
  emit_load64(e, RCX, hm_cpu(base + offsetof(struct seg, room_write)));
  emit_op_rm(e, 0, OM_0F, 0xb6, R11,
             hm_cpu(base + offsetof(struct seg, attr))); /* movzx: a load resets DPL and A */
  emit_lea64(e, RCX, hm_index(RCX, R11, 0, 0x10000 - (g->mode & MODE_V86 ? 0xf3 : 0x93)));
  uint8_t *ordinary = emit_jrcxz(e);
  emit_mov_imm(e, RCX, 0);
  gen_cold(g, COLD_CORE);
  unsigned index = g->cold_count - 1;
  emit_patch8(ordinary, e->p);
  read_selector(g, in);
  gen_reserve(g, 40);
  if (!mov)
    adjust_sp(g, in->opsize);
  emit_op_rm(e, EO_66, OM_1, 0x89, R11, hm_cpu(base + offsetof(struct seg, sel)));
  emit_rorx(e, R11, R11, 28); /* selector << 4 */
  emit_store(e, hm_cpu(base + offsetof(struct seg, base)), R11);
  g->cold[index].resume = e->p;
  return true;
}
