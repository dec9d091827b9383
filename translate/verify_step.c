/* SPDX-License-Identifier: MIT */
/*
 * One host instruction that is not a branch: is it allowed, may it touch the memory that it names, and what
 * do the registers hold after it.
 */
#include "translate/verify_flow.h"

/* --- registers --- */

static bool is_guest_register(int reg) {
  return reg != RCX && reg != R8 && reg != R9 && reg != R11; /* of those that may change at all */
}

/* Result in a general register. RSP, R13 and R14 never change; R12 only where the caller says so. */
static bool set_reg(struct verifier *v, struct vstate *s, int reg, struct vvalue value) {
  if (reg == RSP || reg == R12 || reg == R13 || reg == R14)
    return v_fail(v, "changes a reserved register");
  /* what a guest computes from two registers is not needed, and takes up the room of what is */
  if (value.kind == V_FORM && value.a.sym[1] != 0 && is_guest_register(reg))
    value = v_fresh(v);
  s->reg[reg] = value;
  return true;
}

/* A result of `size` bytes of which nothing else is known. Below 4 bytes the rest of the register stays. */
static bool set_unknown(struct verifier *v, struct vstate *s, int reg, unsigned size) {
  if (size == 4 || (size < 4 && v_is32(&s->reg[reg])))
    return set_reg(v, s, reg, v_fresh(v));
  return v_fail(v, "changes part of a register with a value of the host");
}

/* The operand is used as a number: it must be the guest's. */
static bool is_data(struct verifier *v, const struct vstate *s, const struct vop *op) {
  if (op->type != X86_OP_REG || op->reg < 0)
    return true;
  if (op->size > 4)
    return v_fail(v, "64-bit operand");
  return v_is32(&s->reg[op->reg]) || v_fail(v, "a value of the host as operand");
}

static bool wide(const struct vop *op) { return op->size == 8; }

/* The form of a 32-bit register; a value of another kind loses what was known of it. */
static const struct vform *as_form(struct verifier *v, struct vstate *s, int reg) {
  if (s->reg[reg].kind != V_FORM)
    s->reg[reg] = v_fresh(v);
  return &s->reg[reg].a;
}

/* --- moves --- */

static bool mov_registers(struct verifier *v, struct vstate *s, const struct vop *to,
                          const struct vop *from) {
  const struct vvalue *x = &s->reg[from->reg];
  if (to->size < 4)
    return is_data(v, s, from) && set_unknown(v, s, to->reg, to->size);
  if (v_is32(x))
    return set_reg(v, s, to->reg, *x);
  if (wide(to) && (x->kind == V_ADDEND || x->kind == V_HOST || x->kind == V_ANY))
    return set_reg(v, s, to->reg, *x);
  return v_fail(v, "copies a value of the host");
}

static bool load_slot(struct verifier *v, struct vstate *s, const struct vop *to, uint32_t slot) {
  if (!v_slot_read(v, slot, to->size))
    return false;
  if (slot == offsetof(struct cpu, budget)) {
    if (to->reg != R12)
      return v_fail(v, "budget in another register");
    s->reg[R12] = v_value(V_BUDGET_C);
    return true;
  }
  if (slot == offsetof(struct cpu, jc_key))
    return set_reg(v, s, to->reg, v_value(V_KEY));
  if (slot == offsetof(struct cpu, jc_key) + 4)
    return set_reg(v, s, to->reg, v_value(V_KEY_ID));
  if (slot == offsetof(struct cpu, eflags))
    return set_reg(v, s, to->reg, v_value(V_FLAGS));
  if (to->size == 8)
    return set_reg(v, s, to->reg, v_value(V_ANY)); /* room of a segment */
  return set_unknown(v, s, to->reg, to->size);
}

static bool load_jump(struct verifier *v, struct vstate *s, const struct vop *to, const struct vop *from,
                      uint32_t member) {
  const struct vform eip = s->reg[from->index].a;
  if (member == offsetof(struct jc_entry, tag)) {
    struct vvalue tag = v_value(V_TAG);
    tag.a = eip;
    return set_reg(v, s, to->reg, tag);
  }
  if (!s->hit || !vf_equal(&s->hit_eip, &eip))
    return v_fail(v, "uses a jump cache entry that did not match");
  return set_reg(v, s, to->reg, v_value(member == offsetof(struct jc_entry, host) ? V_TARGET : V_BIAS));
}

static bool mov_load(struct verifier *v, struct vstate *s, const struct vop *to, const struct vop *from) {
  const struct vaccess a = {.op = from, .size = to->size, .read = true};
  uint32_t slot;
  switch (v_memory(v, s, &a, &slot)) {
  case VM_GUEST: return !wide(to) ? set_unknown(v, s, to->reg, to->size) : v_fail(v, "64-bit load");
  case VM_SLOT: return load_slot(v, s, to, slot);
  case VM_TLB: {
    struct vvalue addend = v_value(V_ADDEND);
    addend.arg = slot;
    addend.a = s->reg[from->index].a;
    addend.b = s->reg[from->index].b;
    return set_reg(v, s, to->reg, addend);
  }
  case VM_JUMP: return load_jump(v, s, to, from, slot);
  default: return false;
  }
}

static bool mov_store(struct verifier *v, struct vstate *s, const struct vop *to, const struct vop *from) {
  const struct vaccess a = {.op = to, .size = to->size, .write = true};
  uint32_t slot;
  const struct vvalue *value = from->type == X86_OP_REG ? &s->reg[from->reg] : NULL;
  if (to->size > 4)
    return v_fail(v, "64-bit store");
  if (!is_data(v, s, from))
    return false;
  switch (v_memory(v, s, &a, &slot)) {
  case VM_GUEST: return true;
  case VM_SLOT: return v_slot_write(v, slot, to->size, value);
  default: return v->failed ? false : v_fail(v, "store to a table");
  }
}

static bool step_mov(struct verifier *v, struct vstate *s, const struct vinsn *in) {
  const struct vop *to = &in->op[0], *from = &in->op[1];
  if (in->op_count != 2 || (to->type == X86_OP_REG && to->reg < 0) ||
      (from->type == X86_OP_REG && from->reg < 0))
    return v_fail(v, "form of MOV");
  if (to->type == X86_OP_MEM)
    return mov_store(v, s, to, from);
  if (from->type == X86_OP_MEM)
    return mov_load(v, s, to, from);
  if (from->type == X86_OP_REG)
    return mov_registers(v, s, to, from);
  if (to->size == 4)
    return set_reg(v, s, to->reg, v_form(vf_const((uint32_t)from->imm)));
  return wide(to) ? v_fail(v, "64-bit constant") : set_unknown(v, s, to->reg, to->size);
}

static bool step_movzx(struct verifier *v, struct vstate *s, const struct vinsn *in) {
  const struct vop *to = &in->op[0], *from = &in->op[1];
  if (wide(to))
    return v_fail(v, "64-bit operand");
  if (from->type == X86_OP_MEM) {
    const struct vaccess a = {.op = from, .size = from->size, .read = true};
    uint32_t slot;
    enum vplace place = v_memory(v, s, &a, &slot);
    if (place == VM_SLOT && !v_slot_read(v, slot, from->size))
      return false;
    if (place != VM_SLOT && place != VM_GUEST)
      return v->failed ? false : v_fail(v, "part of a table entry");
    return set_unknown(v, s, to->reg, to->size);
  }
  if (!is_data(v, s, from))
    return false;
  if (to->size == 4 && from->size == 2) {
    struct vvalue low = v_value(V_LOW16);
    low.a = *as_form(v, s, from->reg);
    return set_reg(v, s, to->reg, low);
  }
  return set_unknown(v, s, to->reg, to->size);
}

/* --- address arithmetic --- */

/* lea r32: a linear form, a sum of two page numbers, twice a jump cache index, or a step of the flags
 * rotation */
static bool lea32(struct verifier *v, struct vstate *s, int to, const struct vop *m) {
  const struct vvalue *x = m->base >= 0 ? &s->reg[m->base] : NULL,
                      *y = m->index >= 0 ? &s->reg[m->index] : NULL;
  if ((x && !v_is32(x)) || (y && !v_is32(y)))
    return v_fail(v, "a value of the host in a 32-bit sum");
  struct vvalue z;
  if (x && y && x->kind == V_PAGE && y->kind == V_PAGE && m->scale == 1 && m->disp == 0) {
    z = v_value(V_PAGES);
    z.a = y->a, z.b = x->a; /* the order says which is the first byte, see covered(): tried both ways */
    struct vform length;
    uint32_t last;
    if (vf_add(&length, &z.b, &z.a, -1u) && vf_is_const(&length, &last) && last >= 4096)
      z.a = x->a, z.b = y->a;
    return set_reg(v, s, to, z);
  }
  if (x && y && x->kind == V_LOW16 && v_equal(x, y) && m->scale == 1 && m->disp == 0) {
    z = v_value(V_LOW16X2);
    z.a = x->a;
    return set_reg(v, s, to, z);
  }
  if (x && y && x->kind == V_FLAGS && x->arg == 1 && v_equal(x, y) && m->scale == 1 && (m->disp & ~1) == 0) {
    z = *x;
    z.arg = 2;
    return set_reg(v, s, to, z);
  }
  uint32_t far;
  if (x && !y && x->kind == V_KEY_ID && (far = v_far_key(v, v_tail(v))) != 0) {
    z = v_value(V_KEY_SAME);
    z.num = far;
    return set_reg(v, s, to, z);
  }
  struct vform sum = vf_const((uint32_t)m->disp);
  if ((x && !vf_add(&sum, &sum, as_form(v, s, m->base), 1)) ||
      (y && !vf_add(&sum, &sum, as_form(v, s, m->index), m->scale)))
    return set_reg(v, s, to, v_fresh(v));
  return set_reg(v, s, to, v_form(sum));
}

/* lea r64: a host address, the comparison of a jump cache tag, or a number for the limit check */
static bool lea64(struct verifier *v, struct vstate *s, int to, const struct vop *m) {
  const struct vvalue *addend, *linear;
  if (m->base < 0)
    return v_fail(v, "address arithmetic");
  struct vvalue x = s->reg[m->base];
  if (to == R12) {
    if (m->base != R12 || m->index >= 0 || x.kind != V_BUDGET || m->disp < -(int64_t)BLOCK_MAX_INSNS ||
        m->disp > (int64_t)BLOCK_MAX_INSNS)
      return v_fail(v, "changes the budget");
    s->reg[R12].num += (uint32_t)m->disp;
    s->budget_ok &= m->disp >= 0;
    return true;
  }
  if (v_addend_pair(s, m, &addend, &linear)) {
    struct vform distance;
    uint32_t at;
    if (!addend->nonzero || m->disp < 0 || !vf_add(&distance, &linear->a, &addend->a, -1u) ||
        !vf_is_const(&distance, &at) || at + (uint64_t)m->disp >= 4096)
      return v_fail(v, "host address of something else");
    struct vvalue z = *addend;
    z.kind = V_HOST;
    z.num = at + (uint32_t)m->disp;
    return set_reg(v, s, to, z);
  }
  const struct vvalue *y = m->index >= 0 ? &s->reg[m->index] : NULL;
  if (x.kind == V_TAG && y && m->scale == 1 && m->disp == 0) {
    if (y->kind == V_FORM && !(x.arg & 1) && vf_equal(&y->a, &x.a)) {
      x.arg |= 1;
      return set_reg(v, s, to, x);
    }
    if (y->kind == V_KEY && !(x.arg & 2)) {
      x.arg |= 2;
      return set_reg(v, s, to, x);
    }
  }
  if (v_is_host(&x) || (y && v_is_host(y)))
    return v_fail(v, "address arithmetic with a value of the host");
  return set_reg(v, s, to, v_value(V_ANY));
}

static bool step_lea(struct verifier *v, struct vstate *s, const struct vinsn *in) {
  const struct vop *to = &in->op[0], *m = &in->op[1];
  if (m->base < -1 || m->index < -1 || m->seg != 0 || (in->prefixes & VP_67))
    return v_fail(v, "addressing form");
  if (to->size == 8)
    return lea64(v, s, to->reg, m);
  if (to->size == 4)
    return lea32(v, s, to->reg, m);
  if ((m->base >= 0 && !v_is32(&s->reg[m->base])) || (m->index >= 0 && !v_is32(&s->reg[m->index])))
    return v_fail(v, "a value of the host as operand");
  return set_unknown(v, s, to->reg, to->size);
}

static bool step_shrx(struct verifier *v, struct vstate *s, const struct vinsn *in) {
  const struct vop *to = &in->op[0], *from = &in->op[1], *count = &in->op[2];
  uint32_t n;
  if (from->type != X86_OP_REG || count->reg < 0 || s->reg[count->reg].kind != V_FORM ||
      !vf_is_const(&s->reg[count->reg].a, &n))
    return v_fail(v, "form of SHRX");
  if (to->size == 4) {
    if (!is_data(v, s, from))
      return false;
    if ((n & 31) != 12)
      return set_reg(v, s, to->reg, v_fresh(v));
    struct vvalue page = v_value(V_PAGE);
    page.a = *as_form(v, s, from->reg);
    return set_reg(v, s, to->reg, page);
  }
  const struct vvalue *x = &s->reg[from->reg];
  if (x->kind == V_BUDGET && (n & 63) == 44) {
    struct vvalue spent = *x;
    spent.kind = V_SPENT;
    return set_reg(v, s, to->reg, spent);
  }
  return v_is_host(x) ? v_fail(v, "shifts a value of the host") : set_reg(v, s, to->reg, v_value(V_ANY));
}

/* rorx 10, lea r + r + n, rorx 23: bit 9, IF, becomes n; see gen_interrupt_flag */
static bool step_rorx(struct verifier *v, struct vstate *s, const struct vinsn *in) {
  const struct vop *to = &in->op[0], *from = &in->op[1];
  if (from->type != X86_OP_REG || to->size != 4 || !is_data(v, s, from))
    return v->failed ? false : v_fail(v, "form of RORX");
  struct vvalue x = s->reg[from->reg];
  if (x.kind == V_FLAGS && ((x.arg == 0 && in->op[2].imm == 10) || (x.arg == 2 && in->op[2].imm == 23))) {
    x.arg++;
    return set_reg(v, s, to->reg, x);
  }
  return set_reg(v, s, to->reg, v_fresh(v));
}

/* --- REP MOVS, REP STOS --- */

/* Is `p` the host address of a run of count elements of `size` bytes, 4096 bytes at most? */
static bool run_at(struct verifier *v, const struct vstate *s, const struct vvalue *p,
                   const struct vform *count, unsigned size, bool write) {
  struct vform length, want = vf_const(-1u);
  if (p->kind != V_HOST || p->num != 0 || !p->nonzero)
    return v_fail(v, "string operand is not a checked host address");
  if (write && p->arg != TLB_SUP_WRITE && p->arg != TLB_USER_WRITE)
    return v_fail(v, "write by an addend for reads");
  if (!vf_add(&length, &p->b, &p->a, -1u) || !vf_add(&want, &want, count, size) || !vf_equal(&length, &want))
    return v_fail(v, "string operand of another length");
  struct vform less_one;
  const struct vform one = vf_const(1);
  return (vf_add(&less_one, count, &one, -1u) && vs_knows_below(s, &less_one) &&
          vs_knows_below(s, &length)) ||
         v_fail(v, "string operand that may be longer than a page");
}

static bool step_string(struct verifier *v, struct vstate *s, const struct vinsn *in) {
  bool movs = (in->opcode & 0xfe) == 0xa4, stos = (in->opcode & 0xfe) == 0xaa;
  unsigned size = !(in->opcode & 1) ? 1 : in->prefixes & VP_66 ? 2 : 4;
  if (!(movs || stos) || (in->prefixes & ~VP_66) != VP_F3 || s->reg[RCX].kind != V_FORM)
    return v_fail(v, "form of a string instruction");
  const struct vform count = s->reg[RCX].a;
  if (!run_at(v, s, &s->reg[RDI], &count, size, true) ||
      (movs && !run_at(v, s, &s->reg[RSI], &count, size, false)))
    return false;
  s->reg[RDI] = v_value(V_ANY);
  if (movs)
    s->reg[RSI] = v_value(V_ANY);
  s->reg[RCX] = v_form(vf_const(0));
  return true;
}

/* --- everything else --- */

static bool touch_memory(struct verifier *v, struct vstate *s, const struct vinsn *in, const struct vop *op,
                         unsigned flags, bool write) {
  unsigned size = VI_SIZE_OF(flags) ? VI_SIZE_OF(flags) : op->size;
  if ((flags & VI_MM4) && in->op[0].size == 8)
    size = 4;
  const struct vaccess a = {
      .op = op, .size = size, .read = true, .write = write, .aligned = size == 16 && !(flags & VI_LOOSE)};
  uint32_t slot;
  if (size == 0 || size > 16)
    return v_fail(v, "operand size");
  if ((flags & VI_BITS) && in->op[1].type != X86_OP_IMM)
    return v_fail(v, "bit string in memory");
  switch (v_memory(v, s, &a, &slot)) {
  case VM_GUEST: return true;
  case VM_SLOT: return v_is_membuf(slot, size) || v_fail(v, "operation on struct cpu at %#x", slot);
  default: return v->failed ? false : v_fail(v, "operation on a table");
  }
}

static bool step_plain(struct verifier *v, struct vstate *s, const struct vinsn *in, unsigned flags) {
  /* IMUL has three forms; that with one operand is MUL's */
  if (in->id == X86_INS_IMUL && in->op_count == 1)
    flags |= VI_READ0 | VI_AX | VI_DX;
  for (int i = 0; i < in->op_count; i++) {
    const struct vop *op = &in->op[i];
    bool write = i == 0 ? !(flags & VI_READ0) : i == 1 && (flags & VI_BOTH);
    if (op->type == X86_OP_MEM ? !touch_memory(v, s, in, op, flags, write) : !is_data(v, s, op))
      return false;
  }
  for (int i = 0; i < in->op_count && i < 2; i++) {
    const struct vop *op = &in->op[i];
    bool write = i == 0 ? !(flags & VI_READ0) : (flags & VI_BOTH) != 0;
    if (write && op->type == X86_OP_REG && op->reg >= 0 && !set_unknown(v, s, op->reg, op->size))
      return false;
  }
  return (!(flags & VI_AX) || set_unknown(v, s, RAX, 2)) && (!(flags & VI_DX) || set_unknown(v, s, RDX, 2)) &&
         (!(flags & VI_CX) || set_reg(v, s, RCX, v_fresh(v)));
}

bool v_step(struct verifier *v, struct vstate *s) {
  const struct vinsn *in = v->now;
  if (!(in->prefixes & VP_VEX) && in->opcode >= 0xa4 && in->opcode <= 0xaf && in->opcode != 0xa8 &&
      in->opcode != 0xa9)
    return step_string(v, s, in);
  switch (in->id) {
  case X86_INS_MOV: return step_mov(v, s, in);
  case X86_INS_MOVABS:
    if (in->op[0].type != X86_OP_REG || in->op[1].type != X86_OP_IMM || !wide(&in->op[0]))
      return v_fail(v, "form of MOV");
    return set_reg(v, s, in->op[0].reg, v_value(V_ANY));
  case X86_INS_MOVZX: return step_movzx(v, s, in);
  case X86_INS_LEA: return step_lea(v, s, in);
  case X86_INS_SHRX: return step_shrx(v, s, in);
  case X86_INS_RORX: return step_rorx(v, s, in);
  default: break;
  }
  unsigned flags = v_insn_flags(in->id);
  if (!flags)
    return v_fail(v, "instruction not allowed");
  if (in->prefixes & VP_VEX)
    return v_fail(v, "VEX encoding");
  return step_plain(v, s, in, flags);
}
