/* SPDX-License-Identifier: MIT */
/*
 * Where control may go: the stubs, with arguments that C can rely on; other blocks, by linked exits or by the
 * jump cache; and what a JRCXZ tells.
 */
#include "translate/verify_flow.h"

/* Whoever comes next finds 32 bits of the guest in each of its registers, and nothing of the host. */
static bool guest_registers(struct verifier *v, const struct vstate *s) {
  for (int r = 0; r < 8; r++)
    if (!v_is32(&s->reg[host_gpr[r]]))
      return v_fail(v, "leaves with a guest register that may not be 32 bits of the guest's");
  return true;
}

static bool is_stub(const struct verifier *v, const uint8_t *target, const uint8_t *stub) {
  return target == jit_to_rx(v->j, stub);
}

static bool constant(const struct vstate *s, int reg, uint32_t *value) {
  return s->reg[reg].kind == V_FORM && vf_is_const(&s->reg[reg].a, value);
}

/* --- calls --- */

/* ECX of a slow memory access or segment check: C takes sizes and numbers from it. */
static bool check_info(struct verifier *v, const struct vstate *s, bool segment) {
  uint32_t info;
  if (!constant(s, RCX, &info))
    return v_fail(v, "call with an unproved description");
  unsigned size = info & 63, left = info >> 8 & 0xff;
  if (size == 0 || size > sizeof v->j->cpu->membuf || left == 0 || left > v->b->insns)
    return v_fail(v, "call with a wrong description");
  return !segment || info >> 24 <= GS || v_fail(v, "call for a wrong segment");
}

/* Behind an instruction that ends blocks, mode and privilege level may be others. */
static bool check_exec(struct verifier *v, struct vstate *s) {
  uint32_t index, info;
  if (!constant(s, R8, &index) || index >= v->j->insn_count)
    return v_fail(v, "call for an instruction that is not there");
  if (!constant(s, RCX, &info) || (info >> 8 & 0xff) == 0 || (info >> 8 & 0xff) > v->b->insns)
    return v_fail(v, "call with a wrong description");
  if (insn_describe(&v->j->insns[index])->attr & A_END)
    s->moved = 1;
  return true;
}

/* SYSENTER, SYSEXIT: RCX says whether it was done, see v_split. */
static bool call_transition(struct verifier *v, struct vstate *s) {
  if (!guest_registers(v, s))
    return false;
  vs_forget_host(s);
  s->moved = 1;
  s->reg[RCX] = v_value(V_MOVED);
  s->reg[R8] = v_fresh(v), s->reg[R9] = v_fresh(v), s->reg[R15] = v_fresh(v);
  s->reg[R11] = v_value(V_ANY);
  return true;
}

/* PUSHF, POPF: no C, no faults; numbers in the scratch registers. */
static bool call_flags(struct verifier *v, struct vstate *s, bool takes_r11) {
  if (!guest_registers(v, s))
    return false;
  if (takes_r11 && !v_is32(&s->reg[R11]))
    return v_fail(v, "call with a value of the host");
  s->reg[RCX] = v_fresh(v), s->reg[R8] = v_fresh(v), s->reg[R9] = v_fresh(v), s->reg[R11] = v_fresh(v);
  return true;
}

/* What the TLB does not hold because the page holds code as well: RCX = an addend for writes, or 0. */
static bool call_code_store(struct verifier *v, struct vstate *s) {
  if (s->reg[R8].kind != V_FORM || s->moved || !check_info(v, s, false))
    return v_fail(v, "call with an unproved address");
  uint32_t info;
  constant(s, RCX, &info);
  struct vvalue addend = v_value(V_ADDEND);
  addend.arg = v->b->mode & MODE_USER ? TLB_USER_WRITE : TLB_SUP_WRITE;
  addend.a = addend.b = s->reg[R8].a;
  if (!(info & SLOW_ALIGN))
    addend.b.off += (info & 63) - 1;
  s->reg[RCX] = addend;
  s->reg[R9] = v_value(V_ANY);
  return true;
}

bool v_call(struct verifier *v, struct vstate *s) {
  const struct jit *j = v->j;
  const uint8_t *target = v->now->target;
  if (is_stub(v, target, j->stub_fpu_load))
    return true; /* changes nothing else */
  if (is_stub(v, target, j->stub_code_store))
    return call_code_store(v, s);
  if (is_stub(v, target, j->stub_sysenter) || is_stub(v, target, j->stub_sysexit))
    return call_transition(v, s);
  if (is_stub(v, target, j->stub_pushf))
    return call_flags(v, s, false);
  for (int i = 0; i < 4; i++)
    if (is_stub(v, target, j->stub_popf[i]))
      return call_flags(v, s, true);
  if (is_stub(v, target, j->stub_seg_load)) /* C checks the number in R8 itself */
    return call_flags(v, s, true);
  bool exec = is_stub(v, target, j->stub_exec), segment = is_stub(v, target, j->stub_seg_check);
  if (!exec && !segment && !is_stub(v, target, j->stub_read) && !is_stub(v, target, j->stub_write_check) &&
      !is_stub(v, target, j->stub_write_commit) && !is_stub(v, target, j->stub_write))
    return v_fail(v, "call of something else than a stub");
  if (!guest_registers(v, s) || !(exec ? check_exec(v, s) : check_info(v, s, segment)))
    return false;
  if (!v_is32(&s->reg[R9]) || v_is_host(&s->reg[R8]))
    return v_fail(v, "call with a value of the host");
  vs_forget_host(s);
  s->reg[RCX] = s->reg[R9] = v_value(V_ANY);
  if (exec) /* C may change them; the others are only spilled and filled again */
    for (int r = 0; r < 8; r++)
      s->reg[host_gpr[r]] = v_fresh(v);
  return true;
}

/* --- exits --- */

bool v_leave(struct verifier *v, const struct vstate *s, const uint8_t *target) {
  const struct jit *j = v->j;
  uint32_t number;
  if (is_stub(v, target, j->stub_lookup)) /* with EIP from memory */
    return v_jump_out(v, s);
  if (!guest_registers(v, s))
    return false;
  if (s->reg[R12].kind == V_BUDGET && (int32_t)s->reg[R12].num > 0)
    return v_fail(v, "leaves with more budget than it was given");
  if (is_stub(v, target, j->stub_exit))
    return true;
  if (is_stub(v, target, j->stub_miss))
    return v_is32(&s->reg[R8]) || v_fail(v, "EIP is a value of the host");
  if (!is_stub(v, target, j->stub_exit_link))
    return v_fail(v, "jumps out of the block");
  if (!constant(s, R8, &number) || number - 1 - v->b->link_first >= v->b->link_count)
    return v_fail(v, "exit with another block's number");
  return true;
}

/* Whoever goes on to another block must have paid for at least one instruction: else a loop of blocks
 * would never come back to C. (The exits of a trace give back what was paid for the rest of it.) */
bool v_jump_out(struct verifier *v, const struct vstate *s) {
  const struct vvalue *budget = &s->reg[R12];
  if (budget->kind != V_BUDGET || (int32_t)budget->num >= 0 || !s->budget_ok)
    return v_fail(v, "goes on to another block without having checked the budget");
  return guest_registers(v, s);
}

bool v_take_link(struct verifier *v, const struct vstate *s) {
  const struct link *l = &v->j->links[v->b->link_first + (uint32_t)v->now->link];
  if (s->moved)
    return v_fail(v, "a linked exit where the mode may have changed");
  if (l->far && s->far != (uint32_t)v->now->link + 1)
    return v_fail(v, "a linked exit whose key was not compared");
  return v_jump_out(v, s);
}

bool v_jump_register(struct verifier *v, const struct vstate *s) {
  const struct vop *op = &v->now->op[0];
  if (op->type != X86_OP_REG || op->reg < 0 || s->reg[op->reg].kind != V_TARGET)
    return v_fail(v, "indirect jump to an unproved address");
  return v_jump_out(v, s);
}

/* --- jrcxz --- */

void v_split(const struct vstate *s, struct vstate *taken, struct vstate *not_taken, bool *may_take,
             bool *may_not) {
  const struct vvalue x = s->reg[RCX];
  uint32_t value;
  *taken = *not_taken = *s;
  *may_take = *may_not = true;
  if (x.kind == V_FORM && vf_is_const(&x.a, &value)) {
    *may_take = value == 0;
    *may_not = value != 0;
    return;
  }
  switch (x.kind) {
  case V_PAGE:
    if (vf_is_const(&x.a, &value)) {
      *may_take = value < 4096;
      *may_not = !*may_take;
    }
    vs_learn_below(taken, &x.a);
    break;
  case V_SPENT: not_taken->budget_ok = s->reg[R12].kind == V_BUDGET && s->reg[R12].num == x.num; break;
  case V_KEY_SAME: taken->far = x.num; break;
  case V_MOVED: taken->moved = 0; break;
  case V_ADDEND:
    for (int r = 0; r < 16; r++) {
      if (!v_equal(&s->reg[r], &x))
        continue;
      not_taken->reg[r].nonzero = 1;
      taken->reg[r] = v_form(vf_const(0));
    }
    break;
  case V_TAG:
    if (x.arg == 3) {
      taken->hit = 1;
      taken->hit_eip = x.a;
    }
    break;
  default: break;
  }
}
