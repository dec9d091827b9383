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

int gen_offset(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
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

int gen_linear(struct gen *g, int seg, int reg, unsigned size, bool write) {
  struct emitter *e = &g->e;
  if (gen_seg_flat(g, seg) && !(write && seg == CS)) /* nobody may write to a code segment */
    return reg;
  gen_reserve(g, 48);
  if (reg != R8)
    emit_mov_rr(e, R8, reg);
  size_t room = offsetof(struct cpu, seg) + (size_t)seg * sizeof(struct seg) +
                (write ? offsetof(struct seg, room_write) : offsetof(struct seg, room_read));
  emit_load64(e, RCX, hm_cpu(room));
  emit_lea64(e, RCX, hm_index(RCX, R8, 0, (int32_t)size - 1));
  emit_shrx(e, RCX, RCX, R13, true); /* 0 unless the sum is negative, that is inside the limit */
  struct cold *c = gen_cold(g, COLD_SEG);
  c->info = SLOW_SIZE(size) | (write ? SLOW_WRITE : 0) | SLOW_LEFT(gen_left(g)) | SLOW_SEG(seg);
  c->resume = e->p;
  emit_load(
      e, RCX,
      hm_cpu(offsetof(struct cpu, seg) + (size_t)seg * sizeof(struct seg) + offsetof(struct seg, base)));
  emit_lea(e, R8, hm_index(R8, RCX, 0, 0));
  return R8;
}

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

struct cold *gen_window_access(struct gen *g, const struct insn *in, struct host_mem m, gen_op op) {
  gen_reserve(g, 40);
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
  gen_reserve(g, 40);
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
  gen_reserve(g, 16);
  if (gen_windowed(g) && in->addrsize == 4 && gen_seg_flat(g, in->seg) &&
      !(access != ACCESS_READ && in->seg == CS)) {
    return gen_window_access(g, in, gen_guest_mem(in), op);
  }
  int reg = gen_offset(g, in);
  return gen_access(g, in, gen_linear(g, in->seg, reg, size, access != ACCESS_READ), size, access, align, op);
}
