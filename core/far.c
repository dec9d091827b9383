/* SPDX-License-Identifier: MIT */
/*
 * Far jumps, calls, returns, IRET, SYSENTER and SYSEXIT (SDM vol. 2; vol. 3, 5.8 and 7.3): code segments,
 * call gates with stack switch and parameter copy, returns to outer rings, V86 and nested tasks. In each the
 * checks and stack writes come first, the registers last.
 */
#include "core/desc.h"
#include "core/paging.h"
#include "core/segment.h"

static void set_eip(struct cpu *cpu, uint32_t eip) { cpu->eip = cpu->next_eip = eip; }

static uint32_t trim(uint32_t value, int opsize) { return opsize == 2 ? value & 0xffff : value; }

static _Noreturn void raise_sel(struct cpu *cpu, int vector, uint16_t sel) {
  cpu_raise_error(cpu, vector, sel & 0xfffcu);
}

static bool is_tss_available(struct desc d) { return desc_type(d) == SYS_TSS16 || desc_type(d) == SYS_TSS32; }

/* Load CS and EIP at the given CPL; the last step. */
static void commit_cs(struct cpu *cpu, uint16_t sel, struct desc cs, uint32_t cpl, uint32_t eip) {
  seg_from_desc(&cpu->seg[CS], (uint16_t)((sel & 0xfffcu) | cpl), cs);
  set_eip(cpu, eip);
  cpu->cpl = cpl;
  cpu_update_mode(cpu);
}

/* The same at the CPL that is, with nothing else changed. */
static void commit_cs_same(struct cpu *cpu, uint16_t sel, struct desc cs, uint32_t eip) {
  bool changed = seg_cs_from_desc(cpu, (uint16_t)((sel & 0xfffcu) | cpu->cpl), cs);
  set_eip(cpu, eip);
  if (changed)
    cpu_update_mode(cpu);
}

/* A code segment as direct target of JMP or CALL. */
static void check_direct(struct cpu *cpu, uint16_t sel, struct desc cs, uint32_t off) {
  uint32_t dpl = desc_dpl(cs);
  if (desc_is_conforming(cs) ? dpl > cpu->cpl : (sel & 3u) > cpu->cpl || dpl != cpu->cpl)
    raise_sel(cpu, EXC_GP, sel);
  if (!desc_present(cs))
    raise_sel(cpu, EXC_NP, sel);
  if (off > desc_limit(cs))
    cpu_raise_error(cpu, EXC_GP, 0);
}

/* Code segment behind a call gate; `jump`: no change of privilege. */
static struct desc fetch_gate_target(struct cpu *cpu, struct desc gate, bool jump) {
  uint16_t sel = gate_selector(gate);
  if (selector_is_null(sel))
    cpu_raise_error(cpu, EXC_GP, 0);
  struct desc cs = desc_fetch(cpu, sel, EXC_GP);
  uint32_t dpl = desc_dpl(cs);
  if (!desc_is_code(cs) || dpl > cpu->cpl)
    raise_sel(cpu, EXC_GP, sel);
  if (jump && !desc_is_conforming(cs) && dpl != cpu->cpl)
    raise_sel(cpu, EXC_GP, sel);
  if (!desc_present(cs))
    raise_sel(cpu, EXC_NP, sel);
  return cs;
}

/* Task gate or TSS as target of JMP or CALL. */
static void far_task(struct cpu *cpu, uint16_t sel, struct desc d, enum task_reason reason, uint32_t next) {
  if (desc_dpl(d) < cpu->cpl || desc_dpl(d) < (sel & 3u))
    raise_sel(cpu, EXC_GP, sel);
  if (desc_type(d) == SYS_TASK_GATE) {
    if (!desc_present(d))
      raise_sel(cpu, EXC_NP, sel);
    sel = gate_selector(d);
    if (sel & 4)
      raise_sel(cpu, EXC_GP, sel);
    d = desc_fetch(cpu, sel, EXC_GP);
  }
  if ((sel & 4) || (d.hi & DESC_S) || !is_tss_available(d))
    raise_sel(cpu, EXC_GP, sel);
  if (!desc_present(d))
    raise_sel(cpu, EXC_NP, sel);
  task_switch(cpu, sel, reason, next, false, 0);
}

/* Is d a call gate that may be used here? Raises if it is one and may not. */
static bool check_call_gate(struct cpu *cpu, uint16_t sel, struct desc d) {
  unsigned type = desc_type(d);
  if (type != SYS_CALL16 && type != SYS_CALL32)
    return false;
  if (desc_dpl(d) < cpu->cpl || desc_dpl(d) < (sel & 3u))
    raise_sel(cpu, EXC_GP, sel);
  if (!desc_present(d))
    raise_sel(cpu, EXC_NP, sel);
  return true;
}

static void check_system_target(struct cpu *cpu, uint16_t sel, struct desc d) {
  if (desc_type(d) != SYS_TASK_GATE && !is_tss_available(d))
    raise_sel(cpu, EXC_GP, sel);
}

void far_jump(struct cpu *cpu, uint16_t sel, uint32_t off, int opsize, uint32_t next) {
  off = trim(off, opsize);
  if (!cpu_protected(cpu)) {
    if (off > cpu->seg[CS].limit)
      cpu_raise_error(cpu, EXC_GP, 0);
    set_eip(cpu, off);
    seg_load_real(cpu, CS, sel);
    return;
  }
  if (selector_is_null(sel))
    cpu_raise_error(cpu, EXC_GP, 0);
  struct desc d = desc_fetch(cpu, sel, EXC_GP);
  if (d.hi & DESC_S) {
    if (!desc_is_code(d))
      raise_sel(cpu, EXC_GP, sel);
    check_direct(cpu, sel, d, off);
  } else if (check_call_gate(cpu, sel, d)) {
    struct desc gate = d;
    d = fetch_gate_target(cpu, gate, true);
    sel = gate_selector(gate);
    off = gate_offset(gate);
    if (off > desc_limit(d))
      cpu_raise_error(cpu, EXC_GP, 0);
  } else {
    check_system_target(cpu, sel, d);
    far_task(cpu, sel, d, TASK_JMP, next);
    return;
  }
  desc_mark_accessed(cpu, sel, &d);
  commit_cs_same(cpu, sel, d, off);
}

static void call_same_level(struct cpu *cpu, uint16_t sel, struct desc cs, uint32_t off, int size, uint32_t next) {
  uint32_t frame[2] = {cpu->seg[CS].sel, next};
  struct stack st;
  desc_mark_accessed(cpu, sel, &cs);
  stack_current(cpu, &st);
  stack_push_all(cpu, &st, frame, 2, size);
  cpu->gpr[ESP] = st.esp;
  commit_cs_same(cpu, sel, cs, off);
}

static void call_inner(struct cpu *cpu, struct desc gate, struct desc cs, uint32_t next) {
  int size = gate.hi & 0x800 ? 4 : 2;
  unsigned params = gate.hi & 31, n = 0;
  uint32_t frame[4 + 31], off = gate_offset(gate);
  struct stack st;
  stack_from_tss(cpu, &st, desc_dpl(cs));
  if (off > desc_limit(cs))
    cpu_raise_error(cpu, EXC_GP, 0);
  frame[n++] = cpu->seg[SS].sel;
  frame[n++] = cpu->gpr[ESP];
  for (unsigned i = params; i-- > 0;)
    frame[n++] = stack_peek(cpu, i * (unsigned)size, size);
  frame[n++] = cpu->seg[CS].sel;
  frame[n++] = next;
  desc_mark_accessed(cpu, gate_selector(gate), &cs);
  stack_push_all(cpu, &st, frame, n, size);
  cpu->seg[SS] = st.seg;
  cpu->gpr[ESP] = st.esp;
  commit_cs(cpu, gate_selector(gate), cs, desc_dpl(cs), off);
}

void far_call(struct cpu *cpu, uint16_t sel, uint32_t off, int opsize, uint32_t next) {
  off = trim(off, opsize);
  if (!cpu_protected(cpu)) {
    uint32_t frame[2] = {cpu->seg[CS].sel, next};
    struct stack st;
    if (off > cpu->seg[CS].limit)
      cpu_raise_error(cpu, EXC_GP, 0);
    stack_current(cpu, &st);
    stack_push_all(cpu, &st, frame, 2, opsize);
    cpu->gpr[ESP] = st.esp;
    set_eip(cpu, off);
    seg_load_real(cpu, CS, sel);
    return;
  }
  if (selector_is_null(sel))
    cpu_raise_error(cpu, EXC_GP, 0);
  struct desc d = desc_fetch(cpu, sel, EXC_GP);
  if (d.hi & DESC_S) {
    if (!desc_is_code(d))
      raise_sel(cpu, EXC_GP, sel);
    check_direct(cpu, sel, d, off);
    call_same_level(cpu, sel, d, off, opsize, next);
  } else if (check_call_gate(cpu, sel, d)) {
    struct desc cs = fetch_gate_target(cpu, d, false);
    if (!desc_is_conforming(cs) && desc_dpl(cs) < cpu->cpl) {
      call_inner(cpu, d, cs, next);
      return;
    }
    if (gate_offset(d) > desc_limit(cs))
      cpu_raise_error(cpu, EXC_GP, 0);
    call_same_level(cpu, gate_selector(d), cs, gate_offset(d), d.hi & 0x800 ? 4 : 2, next);
  } else {
    check_system_target(cpu, sel, d);
    far_task(cpu, sel, d, TASK_CALL, next);
  }
}

/* The code segment of RETF or IRET: checked, its accessed bit set. */
static struct desc fetch_return_cs(struct cpu *cpu, uint16_t sel, uint32_t eip) {
  if (selector_is_null(sel))
    cpu_raise_error(cpu, EXC_GP, 0);
  struct desc cs = desc_fetch(cpu, sel, EXC_GP);
  uint32_t rpl = sel & 3u, dpl = desc_dpl(cs);
  if (!desc_is_code(cs) || rpl < cpu->cpl || (desc_is_conforming(cs) ? dpl > rpl : dpl != rpl))
    raise_sel(cpu, EXC_GP, sel);
  if (!desc_present(cs))
    raise_sel(cpu, EXC_NP, sel);
  if (eip > desc_limit(cs))
    cpu_raise_error(cpu, EXC_GP, 0);
  desc_mark_accessed(cpu, sel, &cs);
  return cs;
}

/*
 * Return to an outer ring: SS:ESP lie at `offset` on the current stack; `pop_bytes` are then dropped from
 * the outer stack. The flags, if any, were set aside by the caller, who writes them after the checks here.
 */
static void return_outer(struct cpu *cpu, uint16_t sel, struct desc cs, uint32_t eip, uint32_t offset, int opsize,
                         uint32_t pop_bytes) {
  uint32_t cpl = sel & 3u;
  uint32_t esp = stack_peek(cpu, offset, opsize);
  uint16_t ss_sel = (uint16_t)stack_peek(cpu, offset + (uint32_t)opsize, opsize);
  struct desc d = desc_fetch_stack(cpu, ss_sel, cpl, EXC_GP);
  struct seg ss;
  seg_from_desc(&ss, ss_sel, d);
  cpu->seg[SS] = ss;
  stack_set_esp(cpu, &ss, esp + pop_bytes);
  cpu->cpl = cpl;
  seg_drop_inaccessible(cpu);
  commit_cs(cpu, sel, cs, cpl, eip);
}

void far_return(struct cpu *cpu, int opsize, uint16_t pop_bytes) {
  uint32_t frame[2];
  stack_peek_all(cpu, frame, 2, opsize);
  uint32_t eip = frame[0];
  uint16_t sel = (uint16_t)frame[1];
  uint32_t popped = 2u * (uint32_t)opsize + pop_bytes;
  if (!cpu_protected(cpu)) {
    if (eip > cpu->seg[CS].limit)
      cpu_raise_error(cpu, EXC_GP, 0);
    stack_set_esp(cpu, &cpu->seg[SS], cpu->gpr[ESP] + popped);
    set_eip(cpu, eip);
    seg_load_real(cpu, CS, sel);
    return;
  }
  struct desc cs = fetch_return_cs(cpu, sel, eip);
  if ((sel & 3u) > cpu->cpl) {
    return_outer(cpu, sel, cs, eip, popped, opsize, pop_bytes);
    return;
  }
  stack_set_esp(cpu, &cpu->seg[SS], cpu->gpr[ESP] + popped);
  commit_cs_same(cpu, sel, cs, eip);
}

/* --- IRET --- */

static void iret_real(struct cpu *cpu, int opsize) {
  uint32_t size = (uint32_t)opsize, frame[3];
  stack_peek_all(cpu, frame, 3, opsize);
  uint32_t eip = frame[0], flags = frame[2];
  uint16_t sel = (uint16_t)frame[1];
  uint32_t mask = FL_ARITH | FL_TF | FL_IF | FL_DF | FL_NT;
  if (eip > cpu->seg[CS].limit)
    cpu_raise_error(cpu, EXC_GP, 0);
  if (opsize == 4)
    mask |= FL_RF | FL_AC | FL_ID;
  if (!cpu_v86(cpu)) {
    mask |= FL_IOPL;
  } else if (cpu_iopl(cpu) < 3) {
    if (!(cpu->cr4 & CR4_VME) || opsize != 2)
      cpu_raise_error(cpu, EXC_GP, 0);
    if ((flags & FL_TF) || ((flags & FL_IF) && (cpu->eflags & FL_VIP)))
      cpu_raise_error(cpu, EXC_GP, 0);
    flags |= flags & FL_IF ? FL_VIF : 0;
    mask = (mask & ~FL_IF) | FL_VIF;
  }
  stack_set_esp(cpu, &cpu->seg[SS], cpu->gpr[ESP] + size * 3);
  set_eip(cpu, eip);
  control_set_flags(cpu, flags, mask);
  seg_load_real(cpu, CS, sel);
}

static void iret_task(struct cpu *cpu) {
  uint16_t link = (uint16_t)linear_read(cpu, cpu->seg[TR].base, 2, false);
  if (selector_is_null(link) || (link & 4))
    raise_sel(cpu, EXC_TS, link);
  struct desc d = desc_fetch(cpu, link, EXC_TS);
  if ((d.hi & DESC_S) || (desc_type(d) != SYS_TSS16_BUSY && desc_type(d) != SYS_TSS32_BUSY))
    raise_sel(cpu, EXC_TS, link);
  if (!desc_present(d))
    raise_sel(cpu, EXC_NP, link);
  task_switch(cpu, link, TASK_IRET, cpu->next_eip, false, 0);
}

static void iret_to_v86(struct cpu *cpu, uint32_t eip, uint16_t cs, uint32_t flags) {
  static const int order[] = {SS, ES, DS, FS, GS};
  uint16_t sel[5];
  uint32_t esp = stack_peek(cpu, 12, 4);
  for (unsigned i = 0; i < 5; i++)
    sel[i] = (uint16_t)stack_peek(cpu, 16 + i * 4, 4);
  if (eip > 0xffff)
    cpu_raise_error(cpu, EXC_GP, 0);
  for (unsigned i = 0; i < 5; i++)
    seg_make_v86(&cpu->seg[order[i]], sel[i]);
  seg_make_v86(&cpu->seg[CS], cs);
  cpu->gpr[ESP] = esp;
  set_eip(cpu, eip);
  cpu->cpl = 3;
  control_set_flags(cpu, flags, control_flags_mask(cpu, 4) | FL_IOPL | FL_IF | FL_RF | FL_VM | FL_VIF | FL_VIP);
  cpu_update_mode(cpu);
}

static void iret_protected(struct cpu *cpu, int opsize) {
  uint32_t size = (uint32_t)opsize, frame[3];
  stack_peek_all(cpu, frame, 3, opsize);
  uint32_t eip = frame[0], flags = frame[2];
  uint16_t sel = (uint16_t)frame[1];
  if (opsize == 4 && (flags & FL_VM) && cpu->cpl == 0) {
    iret_to_v86(cpu, eip, sel, flags);
    return;
  }
  struct desc cs = fetch_return_cs(cpu, sel, eip);
  uint32_t mask = control_flags_mask(cpu, opsize); /* by the CPL before the return */
  if (opsize == 4)
    mask |= FL_RF | (cpu->cpl == 0 ? FL_VIF | FL_VIP : 0);
  if ((sel & 3u) > cpu->cpl) {
    return_outer(cpu, sel, cs, eip, size * 3, opsize, 0);
  } else {
    stack_set_esp(cpu, &cpu->seg[SS], cpu->gpr[ESP] + size * 3);
    commit_cs_same(cpu, sel, cs, eip);
  }
  control_set_flags(cpu, flags, mask);
}

/* NMIs are let in again even if the return faults (SDM vol. 3, 6.7.1). */
void far_iret(struct cpu *cpu, int opsize) {
  cpu->nmi_blocked = 0;
  cpu->eflags &= ~FL_RF; /* IRETD and a task switch bring their own */
  if (!cpu_protected(cpu))
    iret_real(cpu, opsize);
  else if (cpu->eflags & FL_NT)
    iret_task(cpu);
  else
    iret_protected(cpu, opsize);
}

/* --- SYSENTER, SYSEXIT --- */

#define FLAT_ROOM (-((int64_t)1 << 32))

static void load_flat(struct seg *s, uint32_t sel, uint32_t cpl, uint32_t type, int64_t room_write) {
  uint32_t attr = SEG_P | SEG_S | SEG_RW | SEG_A | SEG_DB | SEG_G | type | cpl << SEG_DPL_SHIFT;
  s->sel = (uint16_t)((sel & 0xfffcu) | cpl);
  s->attr = (uint16_t)attr;
  s->base = 0;
  s->limit = 0xffffffffu;
  s->room_read = FLAT_ROOM;
  s->room_write = room_write;
  s->full = room_write ? s->base + 1 : 0;
  s->room_down = 0;
}

static void enter_flat(struct cpu *cpu, uint32_t cs, uint32_t ss, uint32_t cpl, uint32_t eip, uint32_t esp) {
  load_flat(&cpu->seg[CS], cs, cpl, SEG_CODE, 0);
  load_flat(&cpu->seg[SS], ss, cpl, 0, FLAT_ROOM);
  cpu->gpr[ESP] = esp;
  set_eip(cpu, eip);
  cpu->cpl = cpl;
  cpu_update_mode_flat(cpu);
}

void far_sysenter(struct cpu *cpu) {
  uint32_t cs = cpu->sysenter_cs;
  if (!(cpu->cr0 & CR0_PE) || (cs & 0xfffc) == 0)
    cpu_raise_error(cpu, EXC_GP, 0);
  cpu->eflags &= ~(FL_VM | FL_IF | FL_RF);
  enter_flat(cpu, cs, (cs & 0xfffc) + 8, 0, cpu->sysenter_eip, cpu->sysenter_esp);
}

void far_sysexit(struct cpu *cpu) {
  uint32_t cs = cpu->sysenter_cs;
  if (!cpu_protected(cpu) || cpu->cpl != 0 || (cs & 0xfffc) == 0)
    cpu_raise_error(cpu, EXC_GP, 0);
  enter_flat(cpu, (cs & 0xfffc) + 16, (cs & 0xfffc) + 24, 3, cpu->gpr[EDX], cpu->gpr[ECX]);
}

bool far_try_sysenter(struct cpu *cpu) {
  if (!cpu_protected(cpu) || (cpu->sysenter_cs & 0xfffc) == 0)
    return false;
  far_sysenter(cpu);
  return true;
}

bool far_try_sysexit(struct cpu *cpu, uint32_t eip, uint32_t esp) {
  uint32_t cs = cpu->sysenter_cs;
  if (!cpu_protected(cpu) || cpu->cpl != 0 || (cs & 0xfffc) == 0)
    return false;
  enter_flat(cpu, (cs & 0xfffc) + 16, (cs & 0xfffc) + 24, 3, eip, esp);
  return true;
}
