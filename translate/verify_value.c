/* SPDX-License-Identifier: MIT */
/* The checker's values and states: linear forms, facts, and what remains of two states where control flow
 * joins. */
#include "translate/verify_flow.h"

/* --- forms --- */

struct vform vf_const(uint32_t value) {
  return (struct vform){.off = value};
}

bool vf_equal(const struct vform *x, const struct vform *y) { return memcmp(x, y, sizeof *x) == 0; }

static bool add_term(struct vform *f, uint32_t sym, uint32_t coef) {
  if (sym == 0 || coef == 0)
    return true;
  for (int i = 0; i < 2; i++)
    if (f->sym[i] == sym) {
      f->coef[i] += coef;
      if (f->coef[i] == 0) { /* drop it, keep the other one first */
        f->sym[i] = f->sym[1], f->coef[i] = f->coef[1];
        f->sym[1] = f->coef[1] = 0;
      }
      return true;
    }
  if (f->sym[1] != 0)
    return false;
  int at = f->sym[0] == 0 ? 0 : 1;
  f->sym[at] = sym, f->coef[at] = coef;
  if (at == 1 && f->sym[0] > f->sym[1]) {
    uint32_t s = f->sym[0], c = f->coef[0];
    f->sym[0] = f->sym[1], f->coef[0] = f->coef[1];
    f->sym[1] = s, f->coef[1] = c;
  }
  return true;
}

bool vf_add(struct vform *sum, const struct vform *x, const struct vform *y, uint32_t coef) {
  struct vform f = *x;
  f.off += coef * y->off;
  if (!add_term(&f, y->sym[0], coef * y->coef[0]) || !add_term(&f, y->sym[1], coef * y->coef[1]))
    return false;
  *sum = f;
  return true;
}

bool vf_is_const(const struct vform *f, uint32_t *value) {
  *value = f->off;
  return f->sym[0] == 0 && f->sym[1] == 0;
}

/* --- values --- */

struct vvalue v_value(uint32_t kind) {
  return (struct vvalue){.kind = kind};
}

struct vvalue v_form(struct vform f) {
  return (struct vvalue){.kind = V_FORM, .a = f};
}

struct vvalue v_fresh(struct verifier *v) {
  return v_form((struct vform){.sym = {++v->next_sym, 0}, .coef = {1, 0}});
}

bool v_equal(const struct vvalue *x, const struct vvalue *y) { return memcmp(x, y, sizeof *x) == 0; }

/* --- states --- */

/* What holds where a block is entered, see jit.h. */
void vs_entry(struct verifier *v, struct vstate *s) {
  memset(s, 0, sizeof *s);
  for (int r = 0; r < 16; r++)
    s->reg[r] = v_value(V_ANY);
  for (int r = 0; r < 8; r++)
    s->reg[host_gpr[r]] = v_fresh(v);
  s->reg[R12] = v_value(V_BUDGET);
  s->reg[R13] = v_form(vf_const(44));
  s->reg[R14] = v_value(V_CPU);
  s->reg[RSP] = v_value(V_STACK);
}

static struct vvalue join_value(struct verifier *v, const struct vvalue *x, const struct vvalue *y) {
  if (v_equal(x, y))
    return *x;
  if (v_is32(x) && v_is32(y))
    return v_fresh(v);
  bool budgets =
      (x->kind == V_BUDGET || x->kind == V_BUDGET_C) && (y->kind == V_BUDGET || y->kind == V_BUDGET_C);
  if (budgets)
    return v_value(V_BUDGET_C);
  struct vvalue z = *y;
  z.nonzero = x->nonzero;
  if (v_equal(x, &z)) { /* they differ in that only */
    z.nonzero = 0;
    return z;
  }
  return v_value(V_ANY);
}

void vs_join(struct verifier *v, struct vstate *into, const struct vstate *from) {
  for (int r = 0; r < 16; r++)
    into->reg[r] = join_value(v, &into->reg[r], &from->reg[r]);
  uint32_t kept = 0;
  for (uint32_t i = 0; i < into->below_count; i++)
    if (vs_knows_below(from, &into->below[i]))
      into->below[kept++] = into->below[i];
  into->below_count = kept;
  if (!from->hit || !vf_equal(&into->hit_eip, &from->hit_eip))
    into->hit = 0;
  if (into->far != from->far)
    into->far = 0;
  into->moved |= from->moved;
  into->budget_ok &= from->budget_ok;
}

bool vs_knows_below(const struct vstate *s, const struct vform *f) {
  for (uint32_t i = 0; i < s->below_count; i++)
    if (vf_equal(&s->below[i], f))
      return true;
  return false;
}

void vs_learn_below(struct vstate *s, const struct vform *f) {
  if (vs_knows_below(s, f))
    return;
  if (s->below_count == V_FACTS) { /* the oldest is of no use any more */
    memmove(s->below, s->below + 1, (V_FACTS - 1) * sizeof s->below[0]);
    s->below_count--;
  }
  s->below[s->below_count++] = *f;
}

void vs_forget_host(struct vstate *s) {
  for (int r = 0; r < 16; r++)
    switch (s->reg[r].kind) {
    case V_ADDEND:
    case V_HOST:
    case V_TAG:
    case V_KEY:
    case V_TARGET:
    case V_SPENT:
    case V_KEY_ID:
    case V_KEY_SAME: s->reg[r] = v_value(V_ANY); break;
    default: break;
    }
  s->hit = s->far = 0;
}
