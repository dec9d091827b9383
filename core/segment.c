/* SPDX-License-Identifier: MIT */
/*
 * Segment registers: descriptors, loads, limit and rights checks, LAR/LSL/VERR/VERW, LLDT, LTR (SDM vol. 3,
 * ch. 3 and 5), and stacks under construction for far transfers. In real mode a load changes only
 * the base, so that limits cached in protected mode survive ("unreal mode").
 */
#include "core/segment.h"

#include "core/desc.h"
#include "core/paging.h"

void seg_update_room(struct seg *seg, bool null_selector) {
  int64_t room = -((int64_t)seg->limit + 1);
  uint16_t attr = seg->attr;
  seg->room_read = seg->room_write = seg->room_down = 0;
  seg->full = seg->down = 0;
  if (null_selector || (attr & (SEG_P | SEG_S)) != (SEG_P | SEG_S))
    return;
  if (attr & SEG_CODE) {
    if (attr & SEG_RW)
      seg->room_read = room;
  } else if (!(attr & SEG_EC)) {
    seg->room_read = room;
    if (attr & SEG_RW)
      seg->room_write = room;
  } else if (attr & SEG_RW) {
    uint32_t top = attr & SEG_DB ? 0xffffffffu : 0xffffu;
    seg->down = -(seg->limit + 1);
    seg->room_down = seg->limit < top ? -(int64_t)(top - seg->limit) : 0;
  }
  if (seg->room_write == -((int64_t)1 << 32))
    seg->full = seg->base + 1;
}

void seg_from_desc(struct seg *s, uint16_t sel, struct desc d) {
  s->sel = sel;
  s->attr = (uint16_t)(d.hi >> 8 & 0xf0ff);
  s->base = desc_base(d);
  s->limit = desc_limit(d);
  seg_update_room(s, false);
}

bool seg_cs_from_desc(struct cpu *cpu, uint16_t sel, struct desc d) {
  struct seg *s = &cpu->seg[CS];
  uint16_t attr = (uint16_t)(d.hi >> 8 & 0xf0ff);
  if (s->attr == attr && s->base == desc_base(d) && s->limit == desc_limit(d)) {
    s->sel = sel;
    return false;
  }
  seg_from_desc(s, sel, d);
  return true;
}

/* Not usable; the limit stays cached, as real mode after a null load relies on it. */
void seg_make_null(struct seg *s, uint16_t sel) {
  s->sel = sel;
  s->attr = 0;
  s->base = 0;
  seg_update_room(s, true);
}

void seg_make_v86(struct seg *s, uint16_t sel) {
  *s = (struct seg){.sel = sel, .base = (uint32_t)sel << 4, .limit = 0xffff};
  s->attr = SEG_P | 3 << SEG_DPL_SHIFT | SEG_S | SEG_RW | SEG_A;
  seg_update_room(s, false);
}

void seg_load_real(struct cpu *cpu, int seg, uint16_t sel) {
  struct seg *s = &cpu->seg[seg];
  if (cpu_v86(cpu)) {
    seg_make_v86(s, sel);
  } else {
    s->sel = sel;
    s->base = (uint32_t)sel << 4;
    s->attr = (s->attr & (SEG_G | SEG_DB | SEG_AVL)) | SEG_P | SEG_S | SEG_RW | SEG_A;
    seg_update_room(s, false);
  }
  if (seg < FS)
    cpu_update_mode(cpu);
}

bool seg_in_limit(const struct seg *s, uint32_t off, unsigned size) {
  uint64_t last = (uint64_t)off + size - 1;
  if ((s->attr & (SEG_CODE | SEG_EC | SEG_S)) == (SEG_EC | SEG_S)) {
    uint32_t top = s->attr & SEG_DB ? 0xffffffffu : 0xffffu;
    return off > s->limit && last <= top;
  }
  return last <= s->limit || s->limit == 0xffffffffu; /* flat segments wrap around */
}

void seg_check_slow(struct cpu *cpu, int seg, uint32_t off, unsigned size, bool write) {
  const struct seg *s = &cpu->seg[seg];
  int vector = seg == SS ? EXC_SS : EXC_GP;
  if (cpu_protected(cpu)) {
    if ((s->attr & (SEG_P | SEG_S)) != (SEG_P | SEG_S))
      cpu_raise_error(cpu, vector, 0);
    bool code = (s->attr & SEG_CODE) != 0;
    if (write ? code || !(s->attr & SEG_RW) : code && !(s->attr & SEG_RW))
      cpu_raise_error(cpu, EXC_GP, 0);
  }
  if (!seg_in_limit(s, off, size))
    cpu_raise_error(cpu, vector, 0);
}

/* --- descriptors --- */

bool seg_read_descriptor(struct cpu *cpu, uint16_t sel, uint32_t *lo, uint32_t *hi) {
  uint32_t la;
  if (!desc_address(cpu, sel, &la))
    return false;
  uint64_t value = linear_read(cpu, la, 8, false);
  *lo = (uint32_t)value;
  *hi = (uint32_t)(value >> 32);
  return true;
}

void desc_write_hi(struct cpu *cpu, uint16_t sel, uint32_t hi) {
  uint32_t la;
  if (desc_address(cpu, sel, &la))
    linear_write(cpu, la + 4, 4, hi, false);
}

void desc_mark_accessed(struct cpu *cpu, uint16_t sel, struct desc *d) {
  uint32_t la;
  if (d->hi & DESC_A)
    return;
  d->hi |= DESC_A;
  if (desc_address(cpu, sel, &la))
    linear_write(cpu, la + 5, 1, d->hi >> 8 & 0xff, false);
}

struct desc desc_fetch_stack(struct cpu *cpu, uint16_t sel, uint32_t cpl, int vector) {
  if (selector_is_null(sel))
    cpu_raise_error(cpu, vector, 0);
  struct desc d = desc_fetch(cpu, sel, vector);
  if ((sel & 3u) != cpl || desc_dpl(d) != cpl || !desc_is_writable(d))
    cpu_raise_error(cpu, vector, sel & 0xfffcu);
  if (!desc_present(d))
    cpu_raise_error(cpu, EXC_SS, sel & 0xfffcu);
  desc_mark_accessed(cpu, sel, &d);
  return d;
}

/* --- loads --- */

static void load_protected(struct cpu *cpu, int seg, uint16_t sel) {
  struct seg *s = &cpu->seg[seg];
  if (seg == SS) {
    struct desc d = desc_fetch_stack(cpu, sel, cpu->cpl, EXC_GP);
    seg_from_desc(s, sel, d);
    return;
  }
  if (selector_is_null(sel)) {
    seg_make_null(s, sel);
    return;
  }
  struct desc d = desc_fetch(cpu, sel, EXC_GP);
  bool code = desc_is_code(d);
  if (!(d.hi & DESC_S) || (code && !(d.hi & DESC_RW)))
    cpu_raise_error(cpu, EXC_GP, sel & 0xfffcu);
  if (!code || !desc_is_conforming(d))
    if ((sel & 3u) > desc_dpl(d) || cpu->cpl > desc_dpl(d))
      cpu_raise_error(cpu, EXC_GP, sel & 0xfffcu);
  if (!desc_present(d))
    cpu_raise_error(cpu, EXC_NP, sel & 0xfffcu);
  desc_mark_accessed(cpu, sel, &d);
  seg_from_desc(s, sel, d);
}

void seg_load(struct cpu *cpu, int seg, uint16_t sel) {
  if (!cpu_protected(cpu)) {
    seg_load_real(cpu, seg, sel);
    return;
  }
  const struct seg *s = &cpu->seg[seg], old = *s;
  load_protected(cpu, seg, sel);
  if (seg < FS && (s->base != old.base || s->room_read != old.room_read || s->room_write != old.room_write ||
                   ((s->attr ^ old.attr) & SEG_DB)))
    cpu_update_mode(cpu);
}

void seg_lldt(struct cpu *cpu, uint16_t sel) {
  struct seg *s = &cpu->seg[LDTR];
  if (selector_is_null(sel)) {
    seg_make_null(s, sel);
    return;
  }
  if (sel & 4)
    cpu_raise_error(cpu, EXC_GP, sel & 0xfffcu);
  struct desc d = desc_fetch(cpu, sel, EXC_GP);
  if ((d.hi & DESC_S) || desc_type(d) != SYS_LDT)
    cpu_raise_error(cpu, EXC_GP, sel & 0xfffcu);
  if (!desc_present(d))
    cpu_raise_error(cpu, EXC_NP, sel & 0xfffcu);
  seg_from_desc(s, sel, d);
}

void seg_ltr(struct cpu *cpu, uint16_t sel) {
  if (selector_is_null(sel))
    cpu_raise_error(cpu, EXC_GP, 0);
  if (sel & 4)
    cpu_raise_error(cpu, EXC_GP, sel & 0xfffcu);
  struct desc d = desc_fetch(cpu, sel, EXC_GP);
  if ((d.hi & DESC_S) || (desc_type(d) != SYS_TSS16 && desc_type(d) != SYS_TSS32))
    cpu_raise_error(cpu, EXC_GP, sel & 0xfffcu);
  if (!desc_present(d))
    cpu_raise_error(cpu, EXC_NP, sel & 0xfffcu);
  d.hi |= DESC_BUSY;
  desc_write_hi(cpu, sel, d.hi);
  seg_from_desc(&cpu->seg[TR], sel, d);
}

void seg_drop_inaccessible(struct cpu *cpu) {
  static const int data[] = {ES, DS, FS, GS};
  for (int i = 0; i < 4; i++) {
    struct seg *s = &cpu->seg[data[i]];
    bool conforming = (s->attr & (SEG_CODE | SEG_EC)) == (SEG_CODE | SEG_EC);
    if (!conforming && cpu->cpl > (s->attr >> SEG_DPL_SHIFT & 3u))
      seg_make_null(s, 0);
  }
}

void seg_set_cpl(struct cpu *cpu, uint32_t cpl) {
  cpu->cpl = cpl;
  cpu_update_mode(cpu);
}

/* --- inspection --- */

/* Does the visible privilege rule (CPL and RPL against DPL) let this code look at a segment? */
static bool desc_visible(const struct cpu *cpu, uint16_t sel, struct desc d) {
  if (desc_is_code(d) && desc_is_conforming(d))
    return true;
  return cpu->cpl <= desc_dpl(d) && (sel & 3u) <= desc_dpl(d);
}

bool seg_lar(struct cpu *cpu, uint16_t sel, uint32_t *out) {
  struct desc d;
  if (selector_is_null(sel) || !seg_read_descriptor(cpu, sel, &d.lo, &d.hi))
    return false;
  if (!(d.hi & DESC_S) && !(0x1a3e >> desc_type(d) & 1)) /* 1-5, 9, 11, 12 */
    return false;
  if (!desc_visible(cpu, sel, d))
    return false;
  *out = d.hi & 0x00ffff00; /* the limit bits 19:16 come along on real processors */
  return true;
}

bool seg_lsl(struct cpu *cpu, uint16_t sel, uint32_t *out) {
  struct desc d;
  if (selector_is_null(sel) || !seg_read_descriptor(cpu, sel, &d.lo, &d.hi))
    return false;
  if (!(d.hi & DESC_S) && !(0x0a0e >> desc_type(d) & 1)) /* 1-3, 9, 11 */
    return false;
  if (!desc_visible(cpu, sel, d))
    return false;
  *out = desc_limit(d);
  return true;
}

bool seg_verify(struct cpu *cpu, uint16_t sel, bool write) {
  struct desc d;
  if (selector_is_null(sel) || !seg_read_descriptor(cpu, sel, &d.lo, &d.hi) || !(d.hi & DESC_S))
    return false;
  if (!desc_visible(cpu, sel, d))
    return false;
  if (write)
    return desc_is_writable(d);
  return !desc_is_code(d) || (d.hi & DESC_RW);
}

/* --- stacks --- */

void stack_current(struct cpu *cpu, struct stack *s) {
  s->seg = cpu->seg[SS];
  s->esp = cpu->gpr[ESP];
  s->user = cpu->cpl == 3;
  s->error = 0;
}

void stack_from_tss(struct cpu *cpu, struct stack *s, uint32_t cpl) {
  const struct seg *tr = &cpu->seg[TR];
  uint16_t sel;
  if ((tr->attr & SEG_TYPE) == SYS_TSS32 || (tr->attr & SEG_TYPE) == SYS_TSS32_BUSY) {
    uint32_t off = 4 + cpl * 8;
    if (off + 5 > tr->limit)
      cpu_raise_error(cpu, EXC_TS, tr->sel & 0xfffcu);
    s->esp = (uint32_t)linear_read(cpu, tr->base + off, 4, false);
    sel = (uint16_t)linear_read(cpu, tr->base + off + 4, 2, false);
  } else {
    uint32_t off = 2 + cpl * 4;
    if (off + 3 > tr->limit)
      cpu_raise_error(cpu, EXC_TS, tr->sel & 0xfffcu);
    s->esp = (uint32_t)linear_read(cpu, tr->base + off, 2, false);
    sel = (uint16_t)linear_read(cpu, tr->base + off + 2, 2, false);
  }
  struct desc d = desc_fetch_stack(cpu, sel, cpl, EXC_TS);
  seg_from_desc(&s->seg, sel, d);
  s->user = cpl == 3;
  s->error = sel & 0xfffcu;
}

static void stack_check(struct cpu *cpu, const struct stack *s, uint32_t off, unsigned size) {
  if ((int64_t)((uint64_t)off + size - 1) + s->seg.room_write >= 0 && !seg_in_limit(&s->seg, off, size))
    cpu_raise_error(cpu, EXC_SS, s->error);
  linear_check_write(cpu, s->seg.base + off, size, s->user);
}

/* Host address of a part of the stack, if it is on one page of plain memory that the TLB has; else NULL. */
static inline uint8_t *plain_stack(const struct cpu *cpu, uint32_t la, uint32_t size, int table) {
  uint64_t addend = cpu->tlb[table][(la >> 12) * 2];
  if (addend == 0 || (la & 0xfff) > 0x1000 - size)
    return NULL;
  return (uint8_t *)(uintptr_t)(addend + la);
}

void stack_push_all(struct cpu *cpu, struct stack *s, const uint32_t *values, unsigned count, int size) {
  uint32_t mask = stack_mask(&s->seg), total = count * (uint32_t)size;
  uint32_t low = (s->esp - total) & mask, la = s->seg.base + low;
  uint8_t *host = plain_stack(cpu, la, total, s->user ? TLB_USER_WRITE : TLB_SUP_WRITE);
  if (size == 4 && host && (int64_t)((uint64_t)low + total - 1) + s->seg.room_write < 0) {
    for (unsigned i = 0; i < count; i++)
      memcpy(host + (count - 1 - i) * 4, &values[i], 4);
    s->esp = (s->esp & ~mask) | low;
    return;
  }
  for (unsigned i = 0; i < count; i++) /* in their order: it decides about CR2 */
    stack_check(cpu, s, (s->esp - (i + 1) * (uint32_t)size) & mask, (unsigned)size);
  for (unsigned i = 0; i < count; i++) {
    uint32_t off = (s->esp - (i + 1) * (uint32_t)size) & mask;
    linear_write(cpu, s->seg.base + off, size, values[i], s->user);
  }
  s->esp = (s->esp & ~mask) | low;
}

uint32_t stack_peek(struct cpu *cpu, uint32_t offset, int size) {
  uint32_t off = (cpu->gpr[ESP] + offset) & stack_mask(&cpu->seg[SS]);
  return (uint32_t)linear_read(cpu, seg_linear(cpu, SS, off, (unsigned)size, false), size, cpu->cpl == 3);
}

void stack_peek_all(struct cpu *cpu, uint32_t *values, unsigned count, int size) {
  const struct seg *ss = &cpu->seg[SS];
  uint32_t off = cpu->gpr[ESP] & stack_mask(ss), total = count * 4;
  const uint8_t *host = plain_stack(cpu, ss->base + off, total, cpu->cpl == 3 ? TLB_USER_READ : TLB_SUP_READ);
  if (size == 4 && host && (int64_t)((uint64_t)off + total - 1) + ss->room_read < 0 &&
      off + total - 1 <= stack_mask(ss)) {
    for (unsigned i = 0; i < count; i++)
      memcpy(&values[i], host + i * 4, 4);
    return;
  }
  for (unsigned i = 0; i < count; i++)
    values[i] = stack_peek(cpu, i * (uint32_t)size, size);
}

void stack_set_esp(struct cpu *cpu, const struct seg *ss, uint32_t esp) {
  uint32_t mask = stack_mask(ss);
  cpu->gpr[ESP] = (cpu->gpr[ESP] & ~mask) | (esp & mask);
}
