/* SPDX-License-Identifier: MIT */
/*
 * Exceptions, interrupts and debug events (SDM vol. 3, ch. 6, 17 and 20): delivery through the real-mode
 * vector table and through interrupt, trap and task gates, from and to V86 mode with VME redirection, double and
 * triple faults. Delivery checks and writes the new stack before it changes a register. Not modelled: machine
 * checks, SMI.
 */
#include "core/desc.h"
#include "core/log.h"
#include "core/paging.h"
#include "core/segment.h"

#define NOT_DELIVERING (~0u)

struct event {
  int vector;
  enum int_kind kind;
  bool has_error;
  uint32_t error;
  uint32_t next; /* return address */
  uint32_t flags; /* as pushed */
};

/* --- raising --- */

static _Noreturn void raise_recorded(struct cpu *cpu, int vector, bool has_error, uint32_t error) {
  cpu->exc_vector = (uint32_t)vector;
  cpu->exc_has_error = has_error;
  cpu->exc_error = error;
  cpu->exc_ext = 0;
  DGM_ASSERT(cpu->fault_env != NULL);
  siglongjmp(*cpu->fault_env, 1);
}

void cpu_raise(struct cpu *cpu, int vector) { raise_recorded(cpu, vector, false, 0); }

void cpu_raise_error(struct cpu *cpu, int vector, uint32_t error) {
  if (vector >= EXC_TS && vector <= EXC_GP)
    error |= cpu->exc_ext;
  raise_recorded(cpu, vector, true, error);
}

void cpu_raise_pf(struct cpu *cpu, uint32_t la, uint32_t error) {
  cpu->cr2 = la;
  cpu->stat.page_faults++;
  raise_recorded(cpu, EXC_PF, true, error);
}

/* --- delivery --- */

static void log_event(const struct cpu *cpu, const struct event *e) {
  static const char *const kinds[] = {"soft", "soft", "icebp", "hard", "exc"};
  char cr2[24] = "";
  if (e->vector == EXC_PF && e->kind == INT_EXCEPTION)
    snprintf(cr2, sizeof cr2, " CR2=%08x", cpu->cr2);
  log_print(LOG_INT, "%10llu: v=%02x e=%04x i=%d cpl=%u IP=%04x:%08x pc=%08x SP=%04x:%08x EAX=%08x EFL=%08x%s %s\n",
            (unsigned long long)cpu_icount(cpu), (unsigned)e->vector, e->has_error ? e->error : 0,
            e->kind != INT_EXCEPTION && e->kind != INT_HARD, cpu->cpl,
            cpu->seg[CS].sel, cpu->eip, cpu->seg[CS].base + cpu->eip, cpu->seg[SS].sel, cpu->gpr[ESP], cpu->gpr[EAX],
            cpu->eflags, cr2, kinds[e->kind]);
}

static void set_eip(struct cpu *cpu, uint32_t eip) { cpu->eip = cpu->next_eip = eip; }

/* The 8086 way, in real mode and for redirected INT n in V86 mode. `flags` is the image to push. */
static void deliver_ivt(struct cpu *cpu, uint32_t ivt, int vector, uint32_t next, uint32_t flags, uint32_t clear) {
  uint32_t entry = (uint32_t)linear_read(cpu, ivt + (uint32_t)vector * 4, 4, cpu->cpl == 3);
  uint32_t frame[3] = {flags & 0xffff, cpu->seg[CS].sel, next & 0xffff};
  struct stack st;
  if ((entry & 0xffff) > cpu->seg[CS].limit)
    cpu_raise_error(cpu, EXC_GP, 0);
  stack_current(cpu, &st);
  stack_push_all(cpu, &st, frame, 3, 2);
  cpu->gpr[ESP] = st.esp;
  cpu->eflags &= ~clear;
  set_eip(cpu, entry & 0xffff);
  seg_load_real(cpu, CS, (uint16_t)(entry >> 16));
}

static void deliver_real(struct cpu *cpu, const struct event *e) {
  if ((uint32_t)e->vector * 4 + 3 > cpu->idtr.limit)
    cpu_raise_error(cpu, EXC_GP, (uint32_t)e->vector * 8 + 2);
  deliver_ivt(cpu, cpu->idtr.base, e->vector, e->next, e->flags, FL_IF | FL_TF | FL_RF | FL_AC);
}

/* EFLAGS after passing a gate. */
static void flags_after_gate(struct cpu *cpu, bool trap_gate) {
  cpu->eflags &= ~(FL_TF | FL_NT | FL_RF | FL_VM);
  if (!trap_gate)
    cpu->eflags &= ~FL_IF;
}

static void gate_same_level(struct cpu *cpu, const struct event *e, struct desc gate, struct desc cs) {
  int size = gate.hi & 0x800 ? 4 : 2;
  uint32_t frame[4] = {e->flags, cpu->seg[CS].sel, e->next, e->error};
  uint16_t sel = (uint16_t)((gate_selector(gate) & 0xfffcu) | cpu->cpl);
  struct stack st;
  if (gate_offset(gate) > desc_limit(cs))
    cpu_raise_error(cpu, EXC_GP, 0);
  desc_mark_accessed(cpu, gate_selector(gate), &cs);
  stack_current(cpu, &st);
  stack_push_all(cpu, &st, frame, e->has_error ? 4 : 3, size);
  cpu->gpr[ESP] = st.esp;
  bool changed = seg_cs_from_desc(cpu, sel, cs) || (cpu->mode & MODE_SINGLE);
  set_eip(cpu, gate_offset(gate));
  flags_after_gate(cpu, gate.hi & 0x100);
  if (changed)
    cpu_update_mode(cpu);
}

static void gate_inner(struct cpu *cpu, const struct event *e, struct desc gate, struct desc cs) {
  int size = gate.hi & 0x800 ? 4 : 2;
  uint32_t dpl = desc_dpl(cs), frame[10];
  unsigned n = 0;
  bool from_v86 = cpu_v86(cpu);
  struct stack st;
  stack_from_tss(cpu, &st, dpl);
  if (gate_offset(gate) > desc_limit(cs))
    cpu_raise_error(cpu, EXC_GP, 0);
  desc_mark_accessed(cpu, gate_selector(gate), &cs);
  if (from_v86) {
    frame[n++] = cpu->seg[GS].sel;
    frame[n++] = cpu->seg[FS].sel;
    frame[n++] = cpu->seg[DS].sel;
    frame[n++] = cpu->seg[ES].sel;
  }
  frame[n++] = cpu->seg[SS].sel;
  frame[n++] = cpu->gpr[ESP];
  frame[n++] = e->flags;
  frame[n++] = cpu->seg[CS].sel;
  frame[n++] = e->next;
  if (e->has_error)
    frame[n++] = e->error;
  stack_push_all(cpu, &st, frame, n, size);

  if (from_v86) {
    seg_make_null(&cpu->seg[GS], 0);
    seg_make_null(&cpu->seg[FS], 0);
    seg_make_null(&cpu->seg[DS], 0);
    seg_make_null(&cpu->seg[ES], 0);
  }
  cpu->seg[SS] = st.seg;
  cpu->gpr[ESP] = st.esp;
  seg_from_desc(&cpu->seg[CS], (uint16_t)((gate_selector(gate) & 0xfffcu) | dpl), cs);
  set_eip(cpu, gate_offset(gate));
  cpu->cpl = dpl;
  flags_after_gate(cpu, gate.hi & 0x100);
  cpu_update_mode(cpu);
}

static void deliver_task_gate(struct cpu *cpu, const struct event *e, struct desc gate) {
  uint16_t sel = gate_selector(gate);
  if (sel & 4)
    cpu_raise_error(cpu, EXC_GP, sel & 0xfffcu);
  struct desc tss = desc_fetch(cpu, sel, EXC_GP);
  if ((tss.hi & DESC_S) || (desc_type(tss) != SYS_TSS16 && desc_type(tss) != SYS_TSS32))
    cpu_raise_error(cpu, EXC_GP, sel & 0xfffcu);
  if (!desc_present(tss))
    cpu_raise_error(cpu, EXC_NP, sel & 0xfffcu);
  cpu->eflags |= e->flags & FL_RF; /* for the outgoing task's image */
  task_switch(cpu, sel, TASK_INT, e->next, e->has_error, e->error);
}

static void deliver_protected(struct cpu *cpu, const struct event *e) {
  uint32_t idt_error = (uint32_t)e->vector * 8 + 2;
  if ((uint32_t)e->vector * 8 + 7 > cpu->idtr.limit)
    cpu_raise_error(cpu, EXC_GP, idt_error);
  uint64_t entry = linear_read(cpu, cpu->idtr.base + (uint32_t)e->vector * 8, 8, false);
  struct desc gate = {(uint32_t)entry, (uint32_t)(entry >> 32)};
  unsigned type = gate.hi >> 8 & 0x1f;
  if (type != SYS_TASK_GATE && (type & ~9u) != SYS_INT16)
    cpu_raise_error(cpu, EXC_GP, idt_error);
  if ((e->kind == INT_SOFT || e->kind == INT_SOFT3) && desc_dpl(gate) < cpu->cpl)
    cpu_raise_error(cpu, EXC_GP, idt_error);
  if (!desc_present(gate))
    cpu_raise_error(cpu, EXC_NP, idt_error);
  if (type == SYS_TASK_GATE) {
    deliver_task_gate(cpu, e, gate);
    return;
  }
  uint16_t sel = gate_selector(gate);
  if (selector_is_null(sel))
    cpu_raise_error(cpu, EXC_GP, 0);
  struct desc cs = desc_fetch(cpu, sel, EXC_GP);
  if (!desc_is_code(cs) || desc_dpl(cs) > cpu->cpl)
    cpu_raise_error(cpu, EXC_GP, sel & 0xfffcu);
  if (!desc_present(cs))
    cpu_raise_error(cpu, EXC_NP, sel & 0xfffcu);
  bool inner = !desc_is_conforming(cs) && desc_dpl(cs) < cpu->cpl;
  if (cpu_v86(cpu) && (!inner || desc_dpl(cs) != 0))
    cpu_raise_error(cpu, EXC_GP, sel & 0xfffcu);
  if (inner)
    gate_inner(cpu, e, gate, cs);
  else
    gate_same_level(cpu, e, gate, cs);
}

static void deliver(struct cpu *cpu, const struct event *e) {
  if (log_on(LOG_INT))
    log_event(cpu, e);
  cpu->exc_ext = e->kind != INT_SOFT && e->kind != INT_SOFT3;
  if (cpu->cr0 & CR0_PE)
    deliver_protected(cpu, e);
  else
    deliver_real(cpu, e);
  cpu->exc_ext = 0;
  cpu->shadow = SHADOW_NONE;
}

/* --- software interrupts --- */

/* DR6 gets what was met. Processors from the P6 on drop B0-B3 of the #DB before, older ones nothing at all. */
static void note_conditions(struct cpu *cpu, uint32_t dr6_bits) {
  if (cpu_has(cpu, FEAT_CMOV))
    cpu->dr[6] &= ~0xfu;
  cpu->dr[6] |= dr6_bits;
}

/* The debug trap that waits is part of the #DB now being delivered. */
static void take_trap(struct cpu *cpu) {
  note_conditions(cpu, cpu->trap_dr6);
  cpu->trap_dr6 = 0;
  __atomic_and_fetch(&cpu->pending, ~PEND_TRAP, __ATOMIC_SEQ_CST);
}

/* VME (SDM vol. 3, 20.3.3): may INT n in V86 mode go to the 8086 handler? */
static bool vme_redirects(struct cpu *cpu, int vector) {
  const struct seg *tr = &cpu->seg[TR];
  unsigned type = tr->attr & SEG_TYPE;
  if ((type != SYS_TSS32 && type != SYS_TSS32_BUSY) || tr->limit < 0x67)
    return false;
  uint32_t map = (uint32_t)linear_read(cpu, tr->base + 0x66, 2, false);
  uint32_t off = map - 32 + (uint32_t)vector / 8;
  if (map < 32 || off > tr->limit)
    return false;
  return !(linear_read(cpu, tr->base + off, 1, false) >> (vector & 7) & 1);
}

#define IDLE_CALLS 16u /* so many in a row are no accident */
#define IDLE_CALL_INSNS 5000u /* ... with so few instructions between two: nobody works meanwhile */

#define KEY_CALLS 256u /* the same for asking the BIOS for a key, which says less */
#define KEY_CALL_INSNS 2000u

/* One more call of a kind; are there so many that the guest does nothing else? */
static bool counts_as_idle(struct idle_calls *calls, uint64_t now, uint32_t least, uint32_t apart) {
  calls->count = now - calls->at < apart ? calls->count + 1 : 0;
  calls->at = now;
  if (calls->count < least)
    return false;
  calls->count = least - 2; /* if it goes on like this */
  return true;
}

/*
 * DOS calls INT 28h all the while that it waits for a key, and well-behaved programs call INT 2Fh with AX = 1680h
 * (release time slice) or 1689h (Windows' kernel is idle): before HLT was usual, that was how to be idle. Others ask
 * INT 16h for a key and do nothing else; those that also read ports (a line, a beam, a stick) may be in a hurry.
 */
static void note_idle_call(struct cpu *cpu, int vector) {
  uint32_t ax = cpu->gpr[EAX] & 0xffff;
  bool idle = false;
  if (vector == 0x2f ? ax == 0x1680 || ax == 0x1689 : vector == 0x28 && !cpu_protected(cpu))
    idle = counts_as_idle(&cpu->idle_calls, cpu->icount, IDLE_CALLS, IDLE_CALL_INSNS);
  else if (vector == 0x16 && !cpu_protected(cpu) && (ax & 0xef00) == 0x0100)
    idle = counts_as_idle(&cpu->key_calls, cpu->icount, KEY_CALLS, KEY_CALL_INSNS);
  if (!idle)
    return;
  cpu->idle_wanted = true;
  __atomic_or_fetch(&cpu->pending, PEND_EXIT, __ATOMIC_SEQ_CST);
}

void cpu_software_int(struct cpu *cpu, int vector, enum int_kind kind, uint32_t next) {
  if (vector == 0x28 || vector == 0x2f || vector == 0x16)
    note_idle_call(cpu, vector);
  struct event e = {.vector = vector, .kind = kind, .next = next, .flags = cpu->eflags};
  cpu->exc_depth_vector = NOT_DELIVERING;
  if (cpu_v86(cpu) && kind == INT_SOFT) {
    if ((cpu->cr4 & CR4_VME) && vme_redirects(cpu, vector)) {
      if (log_on(LOG_INT))
        log_event(cpu, &e);
      if (cpu_iopl(cpu) == 3) {
        deliver_ivt(cpu, 0, vector, next, cpu->eflags, FL_IF | FL_TF);
      } else {
        uint32_t image = (cpu->eflags & ~FL_IF) | FL_IOPL | (cpu->eflags & FL_VIF ? FL_IF : 0);
        deliver_ivt(cpu, 0, vector, next, image, FL_VIF | FL_TF);
      }
      cpu->shadow = SHADOW_NONE;
      return;
    }
    if (cpu_iopl(cpu) < 3)
      cpu_raise_error(cpu, EXC_GP, 0);
  }
  deliver(cpu, &e);
  if (kind == INT_ICEBP && (cpu->pending & PEND_TRAP)) /* held back by a load of SS */
    take_trap(cpu);
}

/* --- exceptions --- */

static bool is_contributory(uint32_t vector) {
  return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP);
}

/* SDM vol. 3, table 6-5; `first` was being delivered when `second` was raised. */
static bool makes_double_fault(uint32_t first, uint32_t second) {
  if (is_contributory(first))
    return is_contributory(second);
  return first == EXC_PF && (second == EXC_PF || is_contributory(second));
}

void cpu_deliver_exception(struct cpu *cpu) {
  uint32_t first = cpu->exc_depth_vector;
  cpu->shadow = SHADOW_NONE;
  struct event e = {.vector = (int)cpu->exc_vector, .kind = INT_EXCEPTION, .has_error = cpu->exc_has_error,
                    .error = cpu->exc_error, .next = cpu->eip, .flags = cpu->eflags};
  if (first == EXC_DF) {
    if (log_on(LOG_INT | LOG_CPU_RESET))
      log_print(LOG_INT | LOG_CPU_RESET, "Triple fault at %04x:%08x\n", cpu->seg[CS].sel, cpu->eip);
    cpu->exc_depth_vector = NOT_DELIVERING;
    cpu->shutdown = 1;
    __atomic_or_fetch(&cpu->pending, PEND_EXIT, __ATOMIC_SEQ_CST);
    return;
  }
  if (first != NOT_DELIVERING && makes_double_fault(first, (uint32_t)e.vector)) {
    e.vector = EXC_DF;
    e.has_error = true;
    e.error = 0;
  }
  cpu->stat.exceptions++;
  if (e.vector == EXC_DB)
    cpu->dr[7] &= ~0x2000u; /* GD */
  else if (e.vector != EXC_DF)
    e.flags |= FL_RF;
  cpu->trap_dr6 = 0; /* the instruction runs again and meets its breakpoints again */
  if (cpu->pending & PEND_TRAP)
    __atomic_and_fetch(&cpu->pending, ~PEND_TRAP, __ATOMIC_SEQ_CST);
  cpu->halted = 0;
  cpu->exc_depth_vector = (uint32_t)e.vector;
  deliver(cpu, &e);
  cpu->exc_depth_vector = NOT_DELIVERING;
}

/* --- events between instructions --- */

/* The most urgent event the CPU may take now, as a PEND_* bit; 0 if none. */
static uint32_t deliverable(const struct cpu *cpu) {
  uint32_t pending = cpu->pending;
  if (pending & PEND_INIT)
    return PEND_INIT;
  if (cpu->shadow == SHADOW_MOVSS)
    return 0;
  if (pending & PEND_TRAP)
    return PEND_TRAP;
  if ((pending & PEND_NMI) && !cpu->nmi_blocked)
    return PEND_NMI;
  if ((pending & PEND_INTR) && (cpu->eflags & FL_IF) && cpu->shadow == SHADOW_NONE)
    return PEND_INTR;
  return 0;
}

bool cpu_event_deliverable(const struct cpu *cpu) { return deliverable(cpu) != 0; }

bool cpu_deliver_events(struct cpu *cpu) {
  struct event e = {.next = cpu->eip, .flags = cpu->eflags};
  uint32_t what = deliverable(cpu);
  if (what == 0)
    return false;
  if (what != PEND_INTR)
    __atomic_and_fetch(&cpu->pending, ~what, __ATOMIC_SEQ_CST);
  cpu->halted = 0;
  cpu->exc_depth_vector = NOT_DELIVERING;
  switch (what) {
  case PEND_INIT: cpu_init(cpu); return true;
  case PEND_TRAP:
    take_trap(cpu);
    cpu->dr[7] &= ~0x2000u;
    e.vector = EXC_DB;
    e.kind = INT_EXCEPTION;
    cpu->exc_depth_vector = EXC_DB;
    cpu->stat.exceptions++;
    break;
  case PEND_NMI:
    e.vector = EXC_NMI;
    e.kind = INT_HARD;
    cpu->nmi_blocked = 1;
    cpu->stat.interrupts++;
    break;
  default:
    e.vector = cpu->intr_ack ? cpu->intr_ack(cpu->intr_ack_opaque) : -1;
    e.kind = INT_HARD;
    if (e.vector < 0)
      return false;
    cpu->stat.interrupts++;
    break;
  }
  deliver(cpu, &e);
  cpu->exc_depth_vector = NOT_DELIVERING;
  return true;
}

/* --- debug registers --- */

void debug_trap(struct cpu *cpu, uint32_t dr6_bits) {
  cpu->trap_dr6 |= dr6_bits;
  __atomic_or_fetch(&cpu->pending, PEND_TRAP, __ATOMIC_SEQ_CST);
}

static bool dr_enabled(const struct cpu *cpu, int i) { return (cpu->dr[7] >> (i * 2) & 3) != 0; }
static unsigned dr_kind(const struct cpu *cpu, int i) { return cpu->dr[7] >> (16 + i * 4) & 3; }
static unsigned dr_length(const struct cpu *cpu, int i) { /* code 2 is eight bytes, where it exists at all */
  static const unsigned char length[4] = {1, 2, 8, 4};
  return length[cpu->dr[7] >> (18 + i * 4) & 3];
}

static bool dr_overlaps(const struct cpu *cpu, int i, uint32_t address, unsigned size) {
  unsigned length = dr_length(cpu, i);
  uint32_t start = cpu->dr[i] & ~(length - 1);
  return address - start < length || start - address < size;
}

void debug_check_access(struct cpu *cpu, uint32_t la, unsigned size, bool write) {
  for (int i = 0; i < 4; i++)
    if (dr_enabled(cpu, i) && (dr_kind(cpu, i) == 3 || (write && dr_kind(cpu, i) == 1)) &&
        dr_overlaps(cpu, i, la, size))
      debug_trap(cpu, 1u << i);
}

void debug_check_io(struct cpu *cpu, uint16_t port, unsigned size) {
  if (!(cpu->cr4 & CR4_DE))
    return;
  for (int i = 0; i < 4; i++)
    if (dr_enabled(cpu, i) && dr_kind(cpu, i) == 2 && dr_overlaps(cpu, i, port, size))
      debug_trap(cpu, 1u << i);
}

bool debug_check_execute(struct cpu *cpu, uint32_t la) {
  uint32_t hits = 0;
  if (cpu->eflags & FL_RF)
    return false;
  for (int i = 0; i < 4; i++)
    if (dr_enabled(cpu, i) && dr_kind(cpu, i) == 0 && cpu->dr[i] == la)
      hits |= 1u << i;
  if (hits)
    note_conditions(cpu, hits);
  return hits != 0;
}
