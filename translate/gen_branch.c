/* SPDX-License-Identifier: MIT */
/*
 * Near branches. A target beyond the CS limit is #GP(0) before anything changes: constant targets are checked
 * here, computed ones in front of the jump.
 */
#include "translate/gen_stack.h"

/* A target cut to 16 bits depends on where the block is mapped. */
static bool target_moves(const struct gen *g, const struct insn *in) {
  return in->opsize == 2 && g->b->relative;
}

static uint32_t relative_target(const struct gen *g, const struct insn *in) {
  uint32_t target = g->eip + in->length + in->imm;
  return in->opsize == 2 ? target & 0xffff : target;
}

/* The target in R11D must not lie beyond the CS limit; if it does, the core repeats the instruction and
 * raises. */
static void check_computed(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  if (g->cs_limit >= (in->opsize == 2 ? 0xffffu : 0xffffffffu))
    return;
  gen_reserve(g, 32);
  emit_mov_imm64(e, RCX, -((uint64_t)g->cs_limit + 1));
  emit_lea64(e, RCX, hm_index(RCX, R11, 0, 0));
  emit_shrx(e, RCX, RCX, R13, true); /* 0 unless negative */
  struct cold *c = gen_cold(g, COLD_CORE);
  c->resume = e->p;
}

static void finish(struct gen *g) { g->ended = true; }

/* Jcc target; the condition is the opcode's low nibble. */
static void gen_jcc(struct gen *g, int cc, uint32_t target) {
  struct emitter *e = &g->e;
  if (gen_inside(g)) {
    uint32_t on = g->b->eip + (uint32_t)(int32_t)g->off[g->index + 1];
    if (on == target && on == g->next)
      return; /* either way */
    gen_side_exit(g, on == target ? cc ^ 1 : cc, on == target ? g->next : target);
    return;
  }
  gen_reserve(g, 124);
  uint8_t *taken = emit_jcc32(e, cc);
  gen_exit_to(g, g->next);
  /* not reached by falling through: gen_exit_to ends in a jump */
  emit_patch32(taken, e->p);
  uint8_t *here = e->p;
  unsigned exits = g->exit_count;
  gen_exit_to(g, target);
  if (g->exit_count > exits) { /* a plain jump: let the Jcc itself be the link */
    e->p = here;
    g->exit[exits].field = taken;
  }
  finish(g);
}

/* LOOP, LOOPE, LOOPNE, JCXZ */
static void gen_loop(struct gen *g, const struct insn *in, uint32_t target) {
  struct emitter *e = &g->e;
  gen_reserve(g, 100);
  bool wide = in->addrsize == 4;
  uint8_t *not_flag = NULL;
  if (in->opcode != 0xe3) { /* (e)cx -= 1 */
    emit_op_rm(e, wide ? 0 : EO_66, OM_1, 0x8d, R10, hm_base(R10, -1));
    if (in->opcode != 0xe2)
      not_flag = emit_jcc32(e, in->opcode == 0xe1 ? 5 : 4); /* LOOPE leaves on NE, LOOPNE on E */
  }
  if (wide)
    emit_mov_rr(e, RCX, R10);
  else
    emit_movzx16(e, RCX, R10);
  uint8_t *zero = emit_jrcxz(e);
  /* count not zero */
  uint8_t *nonzero = emit_jmp32(e);
  emit_patch8(zero, e->p);
  if (in->opcode == 0xe3) {
    gen_exit_to(g, target);
    emit_patch32(nonzero, e->p);
    gen_exit_to(g, g->next);
  } else {
    if (not_flag)
      emit_patch32(not_flag, e->p);
    gen_exit_to(g, g->next);
    emit_patch32(nonzero, e->p);
    gen_exit_to(g, target);
  }
  finish(g);
}

/*
 * How position-independent code finds out where it is: CALL of MOV reg, [ESP]; RET. As three instructions,
 * the RET of which comes from everywhere, it is one of the most expensive things that a program can do here.
 * While its page is mapped where it was, and its bytes are what they were, it loads the address pushed.
 */
static void gen_thunk(struct gen *g, const struct insn *in, uint32_t target) {
  struct emitter *e = &g->e;
  gen_push_thunk(g, in, g->next);
  gen_thunk_exit(g, target);
  emit_mov_rr(e, host_gpr[g->thunk[g->index]], R9);
  if (gen_inside(g))
    return;
  gen_settle_sp(g);
  gen_exit_to(g, g->next);
  finish(g);
}

static bool gen_call_relative(struct gen *g, const struct insn *in) {
  uint32_t target = relative_target(g, in);
  if (target > g->cs_limit || target_moves(g, in))
    return false;
  if (g->thunk[g->index] >= 0) {
    gen_thunk(g, in, target);
    return true;
  }
  struct cold *c = gen_push_eip(g, in, g->next);
  c->leave = LEAVE_CONST;
  c->leave_eip = target;
  if (gen_inside(g))
    return true;
  gen_settle_sp(g);
  gen_exit_to(g, target);
  finish(g);
  return true;
}

/* FF /2 CALL, /4 JMP */
static bool gen_indirect(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  if (in->reg != 2 && in->reg != 4)
    return false;
  if (in->is_mem)
    gen_load_r11(g, in);
  else if (in->opsize == 2)
    emit_movzx16(e, R11, host_gpr[in->rm]);
  else
    emit_mov_rr(e, R11, host_gpr[in->rm]);
  check_computed(g, in);
  if (in->reg == 2) {
    struct cold *c = gen_push_eip(g, in, g->next);
    c->leave = LEAVE_R11;
  }
  emit_mov_rr(e, R8, R11);
  gen_exit_lookup(g);
  finish(g);
  return true;
}

static bool gen_return(struct gen *g, const struct insn *in) {
  gen_peek(g, in);
  check_computed(g, in);
  gen_adjust_sp(g, in->opsize + (in->opcode == 0xc2 ? (int)(in->imm & 0xffff) : 0));
  gen_settle_sp(g);
  emit_mov_rr(&g->e, R8, R11);
  gen_exit_lookup(g);
  finish(g);
  return true;
}

bool gen_branch(struct gen *g, const struct insn *in) {
  if (in->map == MAP_1) {
    switch (in->opcode) {
    case 0xe8: return gen_call_relative(g, in);
    case 0xff: return gen_indirect(g, in);
    case 0xc2:
    case 0xc3: return gen_return(g, in);
    default: break;
    }
  }
  uint32_t target = relative_target(g, in);
  if (target > g->cs_limit || g->next > g->cs_limit || target_moves(g, in))
    return false;
  if (in->map == MAP_0F && (in->opcode & 0xf0) == 0x80) {
    gen_jcc(g, in->opcode & 15, target);
    return true;
  }
  switch (in->opcode) {
  case 0xe9:
  case 0xeb:
    if (gen_inside(g))
      return true;
    gen_exit_to(g, target);
    finish(g);
    return true;
  case 0xe0:
  case 0xe1:
  case 0xe2:
  case 0xe3: gen_loop(g, in, target); return true;
  default: break;
  }
  if ((in->opcode & 0xf0) == 0x70) {
    gen_jcc(g, in->opcode & 15, target);
    return true;
  }
  return false;
}
