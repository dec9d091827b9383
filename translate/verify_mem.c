/* SPDX-License-Identifier: MIT */
/*
 * Memory operands: the only places that generated code may touch.
 *
 *  - The window, gs:[32-bit address]: 4 GiB and a guard behind them, whatever the registers hold.
 *  - Guest memory through the software TLB: [linear address + addend] or a sum of both, where the addend is
 * not zero and was loaded for this linear address. Entries with even index a page addend, those with odd
 * index stay 0, and the index is the sum of the first and the last byte's page numbers: it is even only if
 * both are on one page.
 *  - Slots of struct cpu: the list below, by exact size. Everything else in it (mode, privilege level,
 * segment rights and limits, TLB, jump cache, pointers) can't be named.
 *  - The TLB of the block's privilege level and the jump cache, to read, with indices that stay inside.
 */
#include "translate/verify_flow.h"

#define SLOT_SEG(n, member)                                                                                  \
  (offsetof(struct cpu, seg) + (n) * sizeof(struct seg) + offsetof(struct seg, member))

enum { SLOT_READ = 1, SLOT_WRITE = 2 };

struct slot {
  uint32_t offset;
  uint8_t size, rights;
  uint8_t must_be; /* enum vkind that is stored; V_ANY: any 32-bit value of the guest's */
};

static const struct slot slots[] = {
    {offsetof(struct cpu, eip), 4, SLOT_READ | SLOT_WRITE, V_ANY},
    {offsetof(struct cpu, eflags), 4, SLOT_READ | SLOT_WRITE, V_FLAGS},
    {offsetof(struct cpu, cpl), 4, SLOT_READ, V_ANY},
    {offsetof(struct cpu, budget), 8, SLOT_READ, V_ANY},
    {offsetof(struct cpu, cr0), 4, SLOT_READ, V_ANY},
    {offsetof(struct cpu, cr2), 4, SLOT_READ, V_ANY},
    {offsetof(struct cpu, cr3), 4, SLOT_READ, V_ANY},
    {offsetof(struct cpu, cr4), 4, SLOT_READ, V_ANY},
    {offsetof(struct cpu, fpu_loaded), 4, SLOT_READ, V_ANY},
    {offsetof(struct cpu, jc_key), 8, SLOT_READ, V_ANY},
    {offsetof(struct cpu, jc_key) + 4, 4, SLOT_READ, V_ANY},
    {offsetof(struct cpu, eip_bias), 4, SLOT_READ | SLOT_WRITE, V_BIAS},
    {offsetof(struct cpu, pending), 4, SLOT_READ, V_ANY},
    {offsetof(struct cpu, scratch[SCR_STAY]), 4, SLOT_READ, V_ANY},
    {offsetof(struct cpu, fx.fip), 4, SLOT_WRITE, V_ANY},
    {offsetof(struct cpu, fx.fop), 2, SLOT_WRITE, V_ANY},
    {offsetof(struct cpu, fx.fcs), 2, SLOT_WRITE, V_ANY},
    {offsetof(struct cpu, fx.fdp), 4, SLOT_WRITE, V_ANY},
    {offsetof(struct cpu, fx.fds), 2, SLOT_WRITE, V_ANY},
};

bool v_is_membuf(uint32_t offset, unsigned size) {
  const uint32_t start = offsetof(struct cpu, membuf);
  return offset >= start && (uint64_t)offset + size <= start + sizeof((struct cpu *)0)->membuf;
}

/* Members of struct seg. Real and V86 mode's segment loads are in line: selector and base. */
static bool seg_slot(const struct verifier *v, uint32_t offset, unsigned size, bool write) {
  if (offset < SLOT_SEG(0, sel) || offset >= SLOT_SEG(LDTR, sel))
    return false;
  uint32_t n = (offset - (uint32_t)SLOT_SEG(0, sel)) / sizeof(struct seg);
  uint32_t member = (offset - (uint32_t)SLOT_SEG(0, sel)) % sizeof(struct seg);
  bool real = !(v->b->mode & MODE_PE) || (v->b->mode & MODE_V86);
  if (write && (!real || n == CS || n == SS))
    return false;
  switch (member) {
  case offsetof(struct seg, sel): return size == 2;
  case offsetof(struct seg, base): return size == 4;
  case offsetof(struct seg, attr): return !write && size == 1;
  case offsetof(struct seg, full):
  case offsetof(struct seg, down): return !write && size == 4;
  case offsetof(struct seg, room_down):
  case offsetof(struct seg, room_read):
  case offsetof(struct seg, room_write): return !write && size == 8;
  default: return false;
  }
}

static const struct slot *find_slot(uint32_t offset, unsigned size, unsigned rights) {
  for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++)
    if (slots[i].offset == offset && slots[i].size == size && (slots[i].rights & rights))
      return &slots[i];
  return NULL;
}

bool v_slot_read(struct verifier *v, uint32_t offset, unsigned size) {
  if (v_is_membuf(offset, size) || seg_slot(v, offset, size, false) || find_slot(offset, size, SLOT_READ))
    return true;
  return v_fail(v, "reads %u bytes of struct cpu at %#x", size, offset);
}

/* value: NULL for a constant */
bool v_slot_write(struct verifier *v, uint32_t offset, unsigned size, const struct vvalue *value) {
  if (v_is_membuf(offset, size) || seg_slot(v, offset, size, true))
    return true;
  const struct slot *slot = find_slot(offset, size, SLOT_WRITE);
  if (!slot)
    return v_fail(v, "writes %u bytes of struct cpu at %#x", size, offset);
  if (slot->must_be == V_ANY)
    return true;
  bool right = value && value->kind == slot->must_be;
  if (slot->must_be == V_BIAS && !value && v_far_bias(v, v_tail(v)))
    return true; /* the constant of an exit that is linked under a key */
  /* only IF may change, and not by user code */
  if (slot->must_be == V_FLAGS)
    right = right && value->arg == 3 && !(v->b->mode & (MODE_USER | MODE_V86));
  return right || v_fail(v, "writes an unproved value to struct cpu at %#x", offset);
}

/* [R14 + index * 8 + disp] */
static enum vplace indexed(struct verifier *v, const struct vstate *s, const struct vaccess *a,
                           uint32_t *slot) {
  const struct vop *op = a->op;
  const struct vvalue *index = &s->reg[op->index];
  if (a->write || op->scale != 8 || op->disp < 0) {
    v_fail(v, "indexed access to struct cpu");
    return VM_BAD;
  }
  uint64_t disp = (uint64_t)op->disp;
  if (index->kind == V_PAGES && a->size == 8) {
    uint64_t table = (disp - offsetof(struct cpu, tlb)) / (TLB_ENTRIES * 8ull);
    uint32_t level = v->b->mode & MODE_USER ? TLB_USER_READ : TLB_SUP_READ;
    if (disp >= offsetof(struct cpu, tlb) && disp == offsetof(struct cpu, tlb) + table * TLB_ENTRIES * 8 &&
        (table == level || table == level + 1)) {
      *slot = (uint32_t)table;
      return VM_TLB;
    }
  }
  if (index->kind == V_LOW16X2) { /* 16-byte entries */
    uint64_t member = disp - offsetof(struct cpu, jump_cache[JC_TABLE(v->b->mode)]);
    bool tag = member == offsetof(struct jc_entry, tag) && a->size == 8;
    bool other = a->size == 4 &&
                 (member == offsetof(struct jc_entry, host) || member == offsetof(struct jc_entry, eip_bias));
    if (disp >= offsetof(struct cpu, jump_cache[JC_TABLE(v->b->mode)]) && (tag || other)) {
      *slot = (uint32_t)member;
      return VM_JUMP;
    }
  }
  v_fail(v, "indexed access to struct cpu at %#llx, index not proved", (unsigned long long)disp);
  return VM_BAD;
}

bool v_addend_pair(const struct vstate *s, const struct vop *op, const struct vvalue **addend,
                   const struct vvalue **linear) {
  if (op->base < 0 || op->index < 0 || op->scale != 1)
    return false;
  const struct vvalue *x = &s->reg[op->base], *y = &s->reg[op->index];
  *addend = x->kind == V_ADDEND ? x : y;
  *linear = x->kind == V_ADDEND ? y : x;
  return (*addend)->kind == V_ADDEND && (*linear)->kind == V_FORM;
}

/* Bytes at .. at + size - 1 after the linear address a of an addend for a .. b. */
static bool covered(struct verifier *v, const struct vvalue *addend, int64_t at, const struct vaccess *x) {
  struct vform length;
  uint32_t last;
  if (!addend->nonzero)
    return v_fail(v, "access by an addend that may be 0");
  bool write_table = addend->arg == TLB_SUP_WRITE || addend->arg == TLB_USER_WRITE;
  if (x->write && !write_table)
    return v_fail(v, "write by an addend for reads");
  if (!vf_add(&length, &addend->b, &addend->a, -1u) || !vf_is_const(&length, &last) || last >= 4096)
    return v_fail(v, "access by an addend of unknown length");
  if (at >= 0 && at + x->size - 1 <= last)
    return true;
  if (last == 0 && at == 0 && x->aligned) /* inside the page, or the host faults */
    return true;
  return v_fail(v, "access to bytes %lld to %lld where %u were checked", (long long)at,
                (long long)(at + x->size - 1), last + 1);
}

enum vplace v_memory(struct verifier *v, const struct vstate *s, const struct vaccess *a, uint32_t *slot) {
  const struct vop *op = a->op;
  const struct vvalue *addend, *linear;
  if (op->base < -1 || op->index < -1) {
    v_fail(v, "addressing form");
    return VM_BAD;
  }
  if (s->moved && (op->seg == 1 || op->base != R14)) {
    v_fail(v, "guest memory where the privilege level may have changed");
    return VM_BAD;
  }
  if (op->seg == 1) {
    if (!(v->b->mode & MODE_WINDOW))
      v_fail(v, "window access in a block without a window");
    else if (!(v->now->prefixes & VP_67))
      v_fail(v, "window access with a 64-bit address");
    else
      return VM_GUEST;
    return VM_BAD;
  }
  if (op->seg != 0 || (v->now->prefixes & VP_67) || op->base < 0) {
    v_fail(v, "addressing form");
    return VM_BAD;
  }
  if (op->base == R14 && op->index >= 0)
    return indexed(v, s, a, slot);
  if (op->base == R14) {
    if (op->disp < 0 || op->disp >= (int64_t)sizeof(struct cpu)) {
      v_fail(v, "outside of struct cpu");
      return VM_BAD;
    }
    *slot = (uint32_t)op->disp;
    return VM_SLOT;
  }
  if (op->index < 0 && s->reg[op->base].kind == V_HOST)
    return covered(v, &s->reg[op->base], s->reg[op->base].num + op->disp, a) ? VM_GUEST : VM_BAD;
  if (v_addend_pair(s, op, &addend, &linear)) {
    struct vform distance;
    uint32_t at;
    if (vf_add(&distance, &linear->a, &addend->a, -1u) && vf_is_const(&distance, &at) && at < 4096)
      return covered(v, addend, at + op->disp, a) ? VM_GUEST : VM_BAD;
    v_fail(v, "the addend is of another linear address");
    return VM_BAD;
  }
  v_fail(v, "address not proved");
  return VM_BAD;
}
