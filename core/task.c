/* SPDX-License-Identifier: MIT */
/*
 * Hardware task switch (SDM vol. 3, ch. 7): 16- and 32-bit TSS, busy bits, back link, NT, T bit. The
 * caller has checked privilege and type of the target. Everything that can fault in the outgoing task is tested before
 * the first store; faults of the incoming task's segments are raised in the incoming task.
 */
#include "core/desc.h"
#include "core/paging.h"
#include "core/segment.h"

#define TSS32_LIMIT 0x67u
#define TSS16_LIMIT 0x2bu
#define DR6_BT 0x8000u
#define DR7_LOCAL 0x155u /* L0-L3 and LE */

static const int tss_segs[] = {ES, CS, SS, DS, FS, GS}; /* in the order of both layouts */

struct tss {
  uint32_t eip, eflags, gpr[8], cr3;
  uint16_t seg[6], ldt;
  bool is32, trap;
};

static void tss_read(struct cpu *cpu, uint32_t base, bool is32, struct tss *t) {
  *t = (struct tss){.is32 = is32};
  if (is32) {
    t->cr3 = (uint32_t)linear_read(cpu, base + 0x1c, 4, false);
    t->eip = (uint32_t)linear_read(cpu, base + 0x20, 4, false);
    t->eflags = (uint32_t)linear_read(cpu, base + 0x24, 4, false);
    for (unsigned i = 0; i < 8; i++)
      t->gpr[i] = (uint32_t)linear_read(cpu, base + 0x28 + i * 4, 4, false);
    for (unsigned i = 0; i < 6; i++)
      t->seg[i] = (uint16_t)linear_read(cpu, base + 0x48 + i * 4, 2, false);
    t->ldt = (uint16_t)linear_read(cpu, base + 0x60, 2, false);
    t->trap = linear_read(cpu, base + 0x64, 2, false) & 1;
    return;
  }
  t->eip = (uint32_t)linear_read(cpu, base + 0x0e, 2, false);
  t->eflags = (uint32_t)linear_read(cpu, base + 0x10, 2, false);
  for (unsigned i = 0; i < 8; i++)
    t->gpr[i] = (uint32_t)linear_read(cpu, base + 0x12 + i * 2, 2, false) | 0xffff0000u;
  for (unsigned i = 0; i < 4; i++)
    t->seg[i] = (uint16_t)linear_read(cpu, base + 0x22 + i * 2, 2, false);
  t->ldt = (uint16_t)linear_read(cpu, base + 0x2a, 2, false);
}

static void tss_save(struct cpu *cpu, uint32_t base, bool is32, uint32_t eip, uint32_t eflags) {
  int size = is32 ? 4 : 2;
  uint32_t off = base + (is32 ? 0x20 : 0x0e), step = (uint32_t)size;
  linear_write(cpu, off, size, eip, false);
  linear_write(cpu, off + step, size, eflags, false);
  off += 2 * step;
  for (unsigned i = 0; i < 8; i++, off += step)
    linear_write(cpu, off, size, cpu->gpr[i], false);
  for (unsigned i = 0; i < (is32 ? 6u : 4u); i++, off += step)
    linear_write(cpu, off, 2, cpu->seg[tss_segs[i]].sel, false);
}

static void check_descriptor_write(struct cpu *cpu, uint16_t sel) {
  linear_check_write(cpu, cpu->gdtr.base + (sel & 0xfff8u) + 4, 4, false);
}

static _Noreturn void raise_sel(struct cpu *cpu, int vector, uint16_t sel) {
  cpu_raise_error(cpu, vector, sel & 0xfffcu);
}

static void load_ldt(struct cpu *cpu, uint16_t sel) {
  if (selector_is_null(sel))
    return;
  if (sel & 4)
    raise_sel(cpu, EXC_TS, sel);
  struct desc d = desc_fetch(cpu, sel, EXC_TS);
  if ((d.hi & DESC_S) || desc_type(d) != SYS_LDT || !desc_present(d))
    raise_sel(cpu, EXC_TS, sel);
  seg_from_desc(&cpu->seg[LDTR], sel, d);
}

static void load_cs(struct cpu *cpu, uint16_t sel) {
  if (selector_is_null(sel))
    raise_sel(cpu, EXC_TS, sel);
  struct desc d = desc_fetch(cpu, sel, EXC_TS);
  uint32_t rpl = sel & 3u, dpl = desc_dpl(d);
  if (!desc_is_code(d) || (desc_is_conforming(d) ? dpl > rpl : dpl != rpl))
    raise_sel(cpu, EXC_TS, sel);
  if (!desc_present(d))
    raise_sel(cpu, EXC_NP, sel);
  desc_mark_accessed(cpu, sel, &d);
  seg_from_desc(&cpu->seg[CS], sel, d);
  cpu_update_mode(cpu);
}

static void load_data(struct cpu *cpu, int seg, uint16_t sel) {
  if (selector_is_null(sel))
    return;
  struct desc d = desc_fetch(cpu, sel, EXC_TS);
  bool code = desc_is_code(d);
  if (!(d.hi & DESC_S) || (code && !(d.hi & DESC_RW)))
    raise_sel(cpu, EXC_TS, sel);
  if ((!code || !desc_is_conforming(d)) && (cpu->cpl > desc_dpl(d) || (sel & 3u) > desc_dpl(d)))
    raise_sel(cpu, EXC_TS, sel);
  if (!desc_present(d))
    raise_sel(cpu, EXC_NP, sel);
  desc_mark_accessed(cpu, sel, &d);
  seg_from_desc(&cpu->seg[seg], sel, d);
  cpu_update_mode(cpu);
}

/* In the incoming task: descriptors by their selectors. The mode is right whenever one of them faults. */
static void load_segments(struct cpu *cpu, const struct tss *t) {
  load_ldt(cpu, t->ldt);
  if (cpu_v86(cpu))
    return;
  load_cs(cpu, t->seg[1]);
  struct desc ss = desc_fetch_stack(cpu, t->seg[2], cpu->cpl, EXC_TS);
  seg_from_desc(&cpu->seg[SS], t->seg[2], ss);
  cpu_update_mode(cpu);
  load_data(cpu, ES, t->seg[0]);
  load_data(cpu, DS, t->seg[3]);
  load_data(cpu, FS, t->seg[4]);
  load_data(cpu, GS, t->seg[5]);
}

/* Registers of the incoming task, its segments still without descriptors. */
static void enter(struct cpu *cpu, const struct tss *t, bool nested) {
  cpu->eip = cpu->next_eip = t->eip;
  memcpy(cpu->gpr, t->gpr, sizeof cpu->gpr);
  uint32_t allowed = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT;
  if (t->is32)
    allowed |= FL_RF | FL_VM | FL_AC | FL_ID | FL_VIF | FL_VIP;
  cpu->eflags &= ~(FL_VM | FL_RF | FL_AC | FL_VIF | FL_VIP);
  control_set_flags(cpu, t->eflags | (nested ? FL_NT : 0), allowed);
  for (unsigned i = 0; i < 6; i++) {
    struct seg *s = &cpu->seg[tss_segs[i]];
    if (cpu_v86(cpu)) {
      seg_make_v86(s, t->seg[i]);
    } else {
      seg_make_null(s, t->seg[i]);
    }
  }
  seg_make_null(&cpu->seg[LDTR], t->ldt);
  cpu->cpl = cpu_v86(cpu) ? 3 : t->seg[1] & 3u;
  cpu->cr0 |= CR0_TS;
  if (cpu->dr[7] & DR7_LOCAL) {
    cpu->dr[7] &= ~DR7_LOCAL;
    control_update_debug(cpu);
  }
  cpu_update_mode(cpu);
}

void task_switch(struct cpu *cpu, uint16_t sel, enum task_reason reason, uint32_t next, bool has_error,
                 uint32_t error) {
  struct seg *tr = &cpu->seg[TR];
  struct desc d = desc_fetch(cpu, sel, EXC_TS);
  bool is32 = desc_is_tss32(d), old32 = (tr->attr & 8) != 0;
  bool nests = reason == TASK_CALL || reason == TASK_INT;
  uint32_t base = desc_base(d), old_flags = cpu->eflags;
  uint16_t old_sel = tr->sel;
  struct tss t;

  if (desc_limit(d) < (is32 ? TSS32_LIMIT : TSS16_LIMIT))
    raise_sel(cpu, EXC_TS, sel);
  if (selector_is_null(old_sel) || tr->limit < (old32 ? TSS32_LIMIT : TSS16_LIMIT))
    raise_sel(cpu, EXC_TS, old_sel);
  linear_check_write(cpu, tr->base + (old32 ? 0x20 : 0x0e), old32 ? 0x40 : 0x1c, false);
  if (nests)
    linear_check_write(cpu, base, 2, false);
  if (reason != TASK_IRET)
    check_descriptor_write(cpu, sel);
  if (!nests)
    check_descriptor_write(cpu, old_sel);
  tss_read(cpu, base, is32, &t);
  struct desc old = desc_fetch(cpu, old_sel, EXC_TS);

  if (reason == TASK_IRET)
    old_flags &= ~FL_NT;
  tss_save(cpu, tr->base, old32, next, old_flags);
  if (!nests)
    desc_write_hi(cpu, old_sel, old.hi & ~DESC_BUSY);
  if (nests)
    linear_write(cpu, base, 2, old_sel, false);
  d.hi |= DESC_BUSY;
  if (reason != TASK_IRET)
    desc_write_hi(cpu, sel, d.hi);
  seg_from_desc(tr, sel, d);
  enter(cpu, &t, nests);
  if (is32 && (cpu->cr0 & CR0_PG))
    control_set_cr3(cpu, t.cr3);
  load_segments(cpu, &t);
  cpu_update_mode(cpu);
  if (has_error) {
    struct stack st;
    stack_current(cpu, &st);
    stack_push_all(cpu, &st, &error, 1, is32 ? 4 : 2);
    cpu->gpr[ESP] = st.esp;
  }
  if (t.trap)
    debug_trap(cpu, DR6_BT);
  if (cpu->eip > cpu->seg[CS].limit)
    cpu_raise_error(cpu, EXC_GP, 0);
}
