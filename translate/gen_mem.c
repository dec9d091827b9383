/* SPDX-License-Identifier: MIT */
/*
 * Addresses and memory accesses: effective address, segment limit and base, and then one of two strategies:
 * the flags-free probe of the software TLB (cpu.h), or the window (window.h). Each block has some accesses of
 * either kind, see struct block.window_sites.
 */
#include "core/log.h"
#include "core/mem.h"
#include "translate/gen.h"

bool gen_seg_flat(const struct gen *g, int seg) { return mode_flat(g->mode, seg); }

/* [base + index << scale + disp] of the guest's operand in host registers; false if it is a constant. */
static bool guest_mem(const struct insn *in, struct host_mem *m) {
  if (in->base != 0xff) {
    int index = in->index != 0xff ? host_gpr[in->index] : NOREG;
    *m = hm_index(host_gpr[in->base], index, in->index != 0xff ? in->scale : 0, (int32_t)in->disp);
    return true;
  }
  if (in->index == 0xff)
    return false;
  if (in->scale == 0) {
    *m = hm_base(host_gpr[in->index], (int32_t)in->disp);
    return true;
  }
  return false; /* index without base: the caller's special case */
}

struct host_mem gen_guest_mem(const struct insn *in) {
  struct host_mem m;
  if (!guest_mem(in, &m)) /* no base, perhaps a scaled index */
    m = (struct host_mem){NOREG, in->index != 0xff ? host_gpr[in->index] : NOREG,
                          in->index != 0xff ? in->scale : 0, (int32_t)in->disp, false};
  return m;
}

/* lea dst, [index << scale + disp32]: no base (SDM vol. 2, table 2-3) */
static void lea_no_base(struct emitter *e, int dst, int index, int scale, uint32_t disp) {
  unsigned rex = (dst & 8 ? 4u : 0u) | (index & 8 ? 2u : 0u);
  if (rex)
    e8(e, 0x40 | rex);
  e8(e, 0x8d);
  e8(e, (unsigned)(dst & 7) << 3 | 4);
  e8(e, (unsigned)scale << 6 | (unsigned)(index & 7) << 3 | 5);
  e32(e, disp);
}

void gen_lea(struct emitter *e, int dst, struct host_mem m) {
  m.window = false;
  if (m.base != NOREG)
    emit_lea(e, dst, m);
  else if (m.index != NOREG)
    lea_no_base(e, dst, m.index, m.scale, (uint32_t)m.disp);
  else
    emit_mov_imm(e, dst, (uint32_t)m.disp);
}

bool gen_depends(const struct host_mem *m, unsigned gprs) {
  for (int r = 0; r < 8; r++)
    if ((gprs >> r & 1) && (m->base == host_gpr[r] || m->index == host_gpr[r]))
      return true;
  return false;
}

void gen_offset_into(struct gen *g, const struct insn *in, int dst) {
  gen_lea(&g->e, dst, gen_guest_mem(in));
}

/* Linear address of bytes of the instruction itself. They have been fetched: there is nothing to check. */
static int own_linear(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  gen_eip(g, R8, g->eip + in->disp);
  if (!(g->mode & MODE_BASE0_CS)) {
    emit_load(e, RCX, hm_cpu(offsetof(struct cpu, seg[CS].base)));
    emit_lea(e, R8, hm_index(R8, RCX, 0, 0));
  }
  return R8;
}

int gen_offset(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  DGM_ASSERT(in->base != BASE_EIP);
  if (in->base == 0xff && in->index == 0xff) {
    emit_mov_imm(e, R8, in->addrsize == 2 ? in->disp & 0xffff : in->disp);
    return R8;
  }
  if (in->addrsize == 4 && in->base != 0xff && in->index == 0xff && in->disp == 0)
    return host_gpr[in->base];
  if (in->addrsize == 2 && in->disp == 0 && (in->base == 0xff || in->index == 0xff)) {
    emit_movzx16(e, R8, host_gpr[in->base != 0xff ? in->base : in->index]);
    return R8;
  }
  gen_offset_into(g, in, R8);
  if (in->addrsize == 2)
    emit_movzx16(e, R8, R8);
  return R8;
}

/* --- segments --- */

/*
 * Three ways to check limit and rights. The one that is right for what the segment register holds when the
 * block is made is in line; of the first two, the third is behind the block, and behind that is C.
 */
enum seg_check {
  SEG_FULL, /* writable, with a limit of 4 GB: there is nothing to check but that it is still so */
  SEG_DOWN,
  SEG_LIMIT,
};

static struct host_mem seg_field(int seg, size_t member) {
  return hm_cpu(offsetof(struct cpu, seg) + (size_t)seg * sizeof(struct seg) + member);
}

static struct host_mem seg_room(int seg, bool write) {
  return seg_field(seg, write ? offsetof(struct seg, room_write) : offsetof(struct seg, room_read));
}

/* RCX = 0 if an access at reg is not inside the limit. */
static void check_limit(struct gen *g, int seg, int reg, unsigned size, bool write) {
  struct emitter *e = &g->e;
  emit_load64(e, RCX, seg_room(seg, write));
  emit_lea64(e, RCX, hm_index(RCX, reg, 0, (int32_t)size - 1));
  emit_shrx(e, RCX, RCX, R13, true); /* 0 unless the sum is negative, that is inside the limit */
}

/* The same above the limit. Changes R9. */
static void check_down(struct gen *g, int seg, int reg, unsigned size) {
  struct emitter *e = &g->e;
  emit_load(e, RCX, seg_field(seg, offsetof(struct seg, down)));
  emit_load64(e, R9, seg_field(seg, offsetof(struct seg, room_down)));
  emit_lea(e, RCX, hm_index(RCX, reg, 0, 0));
  emit_lea64(e, RCX, hm_index(RCX, R9, 0, (int32_t)size - 1));
  emit_shrx(e, RCX, RCX, R13, true);
}

/* Limit and rights of an access at offset reg, whose linear address is reg + RCX + the result then. May
 * change R8, if reg is not R8, and R9. */
static int gen_segment(struct gen *g, int seg, int reg, unsigned size, bool write) {
  struct emitter *e = &g->e;
  const struct seg *now = &g->j->cpu->seg[seg];
  enum seg_check check = now->full ? SEG_FULL : now->room_down ? SEG_DOWN : SEG_LIMIT;
  gen_reserve(g, 56);
  if (check == SEG_FULL)
    emit_load(e, RCX, seg_field(seg, offsetof(struct seg, full)));
  else if (check == SEG_DOWN)
    check_down(g, seg, reg, size);
  else
    check_limit(g, seg, reg, size, write);
  struct cold *c = gen_cold(g, COLD_SEG);
  c->info = SLOW_SIZE(size) | (write ? SLOW_WRITE : 0) | SLOW_LEFT(gen_left(g)) | SLOW_SEG(seg);
  c->la = (int8_t)reg;
  c->check = check;
  c->resume = e->p;
  if (check == SEG_FULL)
    return -1;
  emit_load(e, RCX, seg_field(seg, offsetof(struct seg, base)));
  return 0;
}

static void resume_segment(struct gen *g, const struct cold *c) {
  struct emitter *e = &g->e;
  if (c->check == SEG_FULL) { /* as if it were */
    emit_load(e, RCX, seg_field((int)(c->info >> 24), offsetof(struct seg, base)));
    emit_lea(e, RCX, hm_base(RCX, 1));
  }
  emit_jmp_to(e, c->resume);
}

void gen_cold_segment(struct gen *g, const struct cold *c) {
  struct emitter *e = &g->e;
  uint8_t *outside = NULL;
  if (c->la != R8)
    emit_mov_rr(e, R8, c->la);
  if (c->check != SEG_LIMIT) {
    check_limit(g, (int)(c->info >> 24), R8, c->info & 63, c->info & SLOW_WRITE);
    outside = emit_jrcxz(e);
    resume_segment(g, c);
    emit_patch8(outside, e->p);
  }
  gen_call_slow(g, c, g->j->stub_seg_check);
  resume_segment(g, c);
}

int gen_linear(struct gen *g, int seg, int reg, unsigned size, bool write) {
  if (gen_seg_flat(g, seg) && !(write && seg == CS)) /* nobody may write to a code segment */
    return reg;
  int disp = gen_segment(g, seg, reg, size, write);
  emit_lea(&g->e, R8, hm_index(reg, RCX, 0, disp));
  return R8;
}

/* --- accesses --- */

/* RCX = addend of the access, or 0. Changes R9. */
static void probe(struct gen *g, int la, unsigned size, bool write) {
  struct emitter *e = &g->e;
  int table = (g->mode & MODE_USER ? TLB_USER_READ : TLB_SUP_READ) + (write ? 1 : 0);
  int32_t tlb = (int32_t)(offsetof(struct cpu, tlb) + (size_t)table * TLB_ENTRIES * 8);
  emit_shrx(e, R9, la, R13, false); /* r9d = first page */
  if (size == 1) {
    emit_lea(e, RCX, hm_index(R9, R9, 0, 0));
  } else {
    emit_lea(e, RCX, hm_base(la, (int32_t)size - 1));
    emit_shrx(e, RCX, RCX, R13, false); /* ecx = last page */
    emit_lea(e, RCX, hm_index(RCX, R9, 0, 0));
  }
  emit_load64(e, RCX, hm_index(R14, RCX, 3, tlb));
}

bool gen_windowed(const struct gen *g) { return !g->only_tlb && (g->b->window_sites >> g->index & 1); }

/* Before an FLDCW there may be up to 30 bytes of padding. */
static void reserve_access(struct gen *g, const struct insn *in) {
  gen_reserve(g, in->id == INSN_FLDCW ? 72 : 40);
}

struct cold *gen_window_access(struct gen *g, const struct insn *in, struct host_mem m, gen_op op) {
  reserve_access(g, in);
  m.window = true;
  op(g, in, m);
  memset(&g->no_cold, 0, sizeof g->no_cold);
  return &g->no_cold;
}

struct cold *gen_access(struct gen *g, const struct insn *in, int la, unsigned size, enum access access,
                        bool align, gen_op op) {
  struct emitter *e = &g->e;
  if (gen_windowed(g))
    return gen_window_access(g, in, hm_base(la, 0), op);
  reserve_access(g, in);
  /* an aligned operand cannot cross a page, and of a misaligned one the host complains */
  probe(g, la, align ? 1 : size, access != ACCESS_READ);
  struct cold *c = gen_cold(g, COLD_MEM);
  c->info = SLOW_SIZE(size) | SLOW_LEFT(gen_left(g)) | (access != ACCESS_READ ? SLOW_WRITE : 0) |
            (access == ACCESS_RMW ? SLOW_RMW : 0) | (align ? SLOW_ALIGN : 0);
  c->access = (uint8_t)access;
  c->la = (int8_t)la;
  c->op = op;
  c->arg = g->arg;
  c->leave = LEAVE_NEXT;
  c->again = access != ACCESS_READ ? e->p : NULL;
  op(g, in, hm_index(la, RCX, 0, 0));
  c->resume = e->p;
  return c;
}

void gen_slow_by_core(struct cold *c) { c->kind = COLD_CORE; }

struct cold *gen_modrm_access(struct gen *g, const struct insn *in, unsigned size, enum access access,
                              bool align, gen_op op) {
  gen_reserve(g, 32);
  if (in->base == BASE_EIP)
    return gen_access(g, in, own_linear(g, in), size, access, align, op);
  if (gen_windowed(g) && in->addrsize == 4 && gen_seg_flat(g, in->seg) &&
      !(access != ACCESS_READ && in->seg == CS)) {
    return gen_window_access(g, in, gen_guest_mem(in), op);
  }
  int reg = gen_offset(g, in);
  if (gen_windowed(g) && !gen_seg_flat(g, in->seg)) {
    int disp = gen_segment(g, in->seg, reg, size, access != ACCESS_READ);
    return gen_window_access(g, in, hm_index(reg, RCX, 0, disp), op);
  }
  return gen_access(g, in, gen_linear(g, in->seg, reg, size, access != ACCESS_READ), size, access, align, op);
}
