/* SPDX-License-Identifier: MIT */
/*
 * Every exception meeting every fault on its way to its handler: which of them is delivered, when a double
 * fault takes their place, when the processor shuts down (SDM vol. 3, 6.15, "interrupt 8", table 6-5), and
 * the error codes of the second fault with their EXT and IDT bits (6.13).
 */
#include "tests/cpu/rules/rules.h"

#define PAGE_DIR 0x100000u
#define PAGE_TABLE 0x101000u
#define MOVED_IDT 0x82f90u /* vectors 0-13 on a page that is absent, 14 and above on the next */
#define REACHED 0xf0u      /* the vector that the handlers in ring 1 use to tell */
#define INTR_VECTOR 0x33
#define HANDLER1 (OTHER_CODE + 0x20)

struct cause {
  const char *name;
  int vector;
  uint8_t code[12];
  bool trap, soft; /* EIP is behind it; raised by INT n and its kin: never the first of a double fault */
  uint32_t pin;    /* PEND_*, for interrupts */
};

/* In ring 3, with ES null, AX = S_TEST (absent data), BX = S_TSS, CX = 0, ESI = an absent page, EDI = odd. */
static const struct cause causes[] = {
    {"#DE", EXC_DE, {0xf7, 0xf1}, false, false, 0}, /* div ecx */
    {"#DB", EXC_DB, {0xf1}, true, true, 0},         /* INT1 */
    {"#BP", EXC_BP, {0xcc}, true, true, 0},
    {"#OF", EXC_OF, {0xb0, 0x7f, 0x04, 0x01, 0xce}, true, true, 0}, /* mov al, 7fh; add al, 1; into */
    {"#BR", EXC_BR, {0x62, 0x05, 0, 0, 5, 0}, false, false, 0},     /* bound eax, [DATA] */
    {"#UD", EXC_UD, {0x0f, 0x0b}, false, false, 0},
    {"#NM", EXC_NM, {0xd9, 0xe8}, false, false, 0},       /* fld1 under TS */
    {"#NP", EXC_NP, {0x8e, 0xd8}, false, false, 0},       /* mov ds, ax */
    {"#SS", EXC_SS, {0x36, 0x8a, 0x02}, false, false, 0}, /* mov al, [ss:edx] beyond the limit */
    {"#GP", EXC_GP, {0xf4}, false, false, 0},
    {"#PF", EXC_PF, {0x8a, 0x06}, false, false, 0},
    {"#AC", EXC_AC, {0x8b, 0x07}, false, false, 0}, /* mov eax, [edi] */
    {"NMI", EXC_NMI, {0x90, 0x90}, false, false, PEND_NMI},
    {"INTR", INTR_VECTOR, {0x90, 0x90}, false, false, PEND_INTR},
    {"int 14", EXC_PF, {0xcd, 14}, true, true, 0}, /* no page fault: nothing doubles */
    {"int 13", EXC_GP, {0xcd, 13}, true, true, 0},
};

enum obstacle {
  NONE_THERE,
  GATE_ABSENT,
  GATE_BAD,
  CODE_BAD,
  CODE_ABSENT,
  STACK_BAD,
  STACK_ABSENT,
  IDT_PAGED_OUT,
  STACK_PAGED_OUT,
  OBSTACLES
};

static const char *const obstacle_names[] = {
    "none",      "gate absent",  "no gate",         "gate to data",      "code absent",
    "stack bad", "stack absent", "IDT page absent", "stack page absent",
};

static bool contributory(int vector) { return vector == EXC_DE || (vector >= EXC_TS && vector <= EXC_GP); }

static bool doubles(int first, int second) {
  if (contributory(first))
    return contributory(second);
  return first == EXC_PF && (contributory(second) || second == EXC_PF);
}

static void pages(struct bed *b) {
  for (uint32_t i = 0; i < 1024; i++)
    put32(b, PAGE_TABLE + 4 * i, i << 12 | 7);
  put32(b, PAGE_TABLE + 4 * 0x80, 0); /* 80000h: absent */
  put32(b, PAGE_DIR, PAGE_TABLE | 7);
}

/* The vector's gate leads to ring 1, whose stack is the one to spoil; the second fault goes to ring 0. */
static void obstruct(struct bed *b, int vector, enum obstacle what) {
  uint32_t gate = IDT + 8 * (uint32_t)vector;
  put_desc(b, S_TARGET, 0, 0xfffff, 0xbb, 0xc); /* code of DPL 1 */
  put_desc(b, S_STACK, 0, 0xfffff, 0xb3, 0xc);  /* its stack */
  put32(b, TSS + 12, 0x72000);
  put32(b, TSS + 16, S_STACK | 1);
  put_gate(b, gate, S_TARGET | 1, HANDLER1, 0xee, 0);
  switch (what) {
  case GATE_ABSENT: put_gate(b, gate, S_TARGET | 1, HANDLERS, 0x6e, 0); break;
  case GATE_BAD: put_gate(b, gate, S_TARGET | 1, HANDLERS, 0xec, 0); break;
  case CODE_BAD: put_gate(b, gate, R_DATA(0), HANDLERS, 0xee, 0); break;
  case CODE_ABSENT: put_desc(b, S_TARGET, 0, 0xfffff, 0x3b, 0xc); break;
  case STACK_BAD: put_desc(b, S_STACK, 0, 0xfffff, 0xb1, 0xc); break;
  case STACK_ABSENT: put_desc(b, S_STACK, 0, 0xfffff, 0x33, 0xc); break;
  case STACK_PAGED_OUT: put32(b, PAGE_TABLE + 4 * 0x71, 0); break;
  case IDT_PAGED_OUT:
    put(b, MOVED_IDT, b->m->ram->host + IDT, 0x800);
    b->cpu->idtr.base = MOVED_IDT;
    put32(b, PAGE_TABLE + 4 * (MOVED_IDT >> 12), 0);
    break;
  default: break;
  }
}

struct second {
  int vector;
  uint32_t error;
};

/* EXT is set unless INT n and its kin met the obstacle; INT1 counts as an external event. */
static struct second second_fault(const struct cause *c, enum obstacle what) {
  uint32_t ext = !c->soft || c->vector == EXC_DB, idt = (uint32_t)c->vector * 8 + 2;
  switch (what) {
  case GATE_ABSENT: return (struct second){EXC_NP, idt | ext};
  case GATE_BAD: return (struct second){EXC_GP, idt | ext};
  case CODE_BAD: return (struct second){EXC_GP, (R_DATA(0) & ~3u) | ext};
  case CODE_ABSENT: return (struct second){EXC_NP, S_TARGET | ext};
  case STACK_BAD: return (struct second){EXC_TS, S_STACK | ext};
  case STACK_ABSENT: return (struct second){EXC_SS, S_STACK | ext};
  case IDT_PAGED_OUT: return (struct second){EXC_PF, 0};
  case STACK_PAGED_OUT: return (struct second){EXC_PF, 2};
  default: return (struct second){0, 0};
  }
}

static int acknowledge(void *opaque) {
  cpu_set_intr(opaque, false);
  return INTR_VECTOR;
}

static void set_up(struct bed *b, const struct cause *c) {
  bed_tables(b);
  pages(b);
  put_code(b, HANDLER1, (uint8_t[]){0xcd, REACHED}, 2);
  put_gate(b, IDT + 8 * REACHED, R_CODE(0), HANDLERS + 16 * REACHED, 0xee, 0);
  put_code(b, CODE, c->code, sizeof c->code);
  bed_ring(b, 3);
  bed_control(b, CR0_PG | CR0_AM | (c->vector == EXC_NM ? CR0_TS : 0), PAGE_DIR, CR4_OSFXSR, 0);
  struct cpu *p = b->cpu;
  for (int i = ES; i <= GS; i++)
    seg_from_desc(&p->seg[i], (uint16_t)(i == CS ? R_CODE(3) : R_DATA(3)),
                  (struct desc){0xffff, i == CS ? 0xcffb00 : 0xcff300});
  seg_set_cpl(p, 3);
  put_desc(b, S_TEST, 0, 0xfffff, 0x73, 0xc);
  p->gpr[EAX] = S_TEST | 3;
  p->gpr[ECX] = 0;
  p->gpr[EDX] = 0x70000;
  p->gpr[ESI] = 0x80000;
  p->gpr[EDI] = DATA + 1;
  put32(b, DATA, 1);
  put32(b, DATA + 4, 2);
  if (c->vector == EXC_SS)
    p->seg[SS].limit = 0x6ffff;
  seg_update_room(&p->seg[SS], false);
  if (c->vector == EXC_AC)
    p->eflags |= FL_AC;
  if (c->pin) {
    p->eflags |= FL_IF;
    p->intr_ack = acknowledge;
    p->intr_ack_opaque = p;
    p->pending |= c->pin;
  }
  cpu_update_mode(p);
}

static void one(struct bed *b, const struct cause *c, enum obstacle what, bool df_fails) {
  if (what == IDT_PAGED_OUT && c->vector >= EXC_PF)
    return;
  set_up(b, c);
  obstruct(b, c->vector, what);
  if (df_fails)
    put_gate(b, IDT + 8 * EXC_DF, R_CODE(0), HANDLERS, 0x0e, 0);
  tlb_flush(b->cpu, false);
  struct second s = second_fault(c, what);
  struct outcome o = run(b, CODE);
  if (what == NONE_THERE) {
    verdict(b, o.vector == REACHED && o.cs == (S_TARGET | 1), "%s: %02x", c->name, (unsigned)o.vector);
    return;
  }
  bool own = s.vector == c->vector; /* the second fault's gate is the spoilt one */
  bool twice = !c->soft && doubles(c->vector, s.vector);
  if (own && !twice) /* INT 13 and its like: the fault's own way is blocked as well */
    return;
  if (twice && df_fails) {
    verdict(b, o.vector == SHUTDOWN, "%s, %s, no double fault handler: %02x", c->name, obstacle_names[what],
            (unsigned)o.vector);
    return;
  }
  expect(b, &o, twice ? EXC_DF : s.vector, twice ? 0 : s.error, "%s, %s", c->name, obstacle_names[what]);
  if (o.vector != NONE && o.vector != SHUTDOWN)
    verdict(b, o.cs == R_CODE(3) && (o.eip == CODE || c->vector == EXC_OF), "%s, %s: CS:EIP %04x:%08x",
            c->name, obstacle_names[what], o.cs, o.eip);
}

/* A page fault's way is blocked by another page fault. */
static void page_fault_twice(struct bed *b) {
  const struct cause *c = NULL;
  for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++)
    if (strcmp(causes[i].name, "#PF") == 0)
      c = &causes[i];
  set_up(b, c);
  obstruct(b, EXC_PF, STACK_PAGED_OUT);
  tlb_flush(b->cpu, false);
  struct outcome o = run(b, CODE);
  expect(b, &o, EXC_DF, 0, "#PF on the way to #PF");
  verdict(b, b->cpu->cr2 >> 12 == 0x71, "CR2 of the second page fault: %08x", b->cpu->cr2);
}

/* The handler of double faults as a task: its stack gets the error code, the old TSS the state of the
 * culprit. */
static void double_fault_task(struct bed *b) {
  const struct cause *c = &causes[0];
  set_up(b, c);
  obstruct(b, c->vector, GATE_ABSENT);
  put_zero(b, TSS_B, 0x68);
  put32(b, TSS_B + 0x1c, PAGE_DIR);
  put32(b, TSS_B + 0x20, HANDLERS + 16 * EXC_DF);
  put32(b, TSS_B + 0x24, FL_1);
  put32(b, TSS_B + 0x38, STACK(0) - 0x40);
  for (uint32_t i = 0; i < 6; i++)
    put32(b, TSS_B + 0x48 + 4 * i, i == CS ? R_CODE(0) : R_DATA(0));
  put_gate(b, IDT + 8 * EXC_DF, S_TSS_B, 0, 0x85, 0);
  tlb_flush(b->cpu, false);
  struct outcome o = run(b, CODE);
  verdict(b, o.vector == EXC_DF && o.error == 0, "double fault task: %02x(%x)", (unsigned)o.vector, o.error);
  verdict(b, b->cpu->seg[TR].sel == S_TSS_B && get16(b, TSS_B) == S_TSS, "double fault task: TR %04x",
          b->cpu->seg[TR].sel);
  verdict(b, get32(b, TSS + 0x20) == CODE && get16(b, TSS + 0x4c) == R_CODE(3),
          "double fault task: the culprit's EIP %x", get32(b, TSS + 0x20));
  verdict(b, b->cpu->gpr[ESP] == STACK(0) - 0x44, "double fault task: ESP %x", b->cpu->gpr[ESP]);
}

/* An IDT that ends inside or before the vector; too short even for #DF: shutdown. */
static void idt_limits(struct bed *b) {
  for (uint32_t vector = 0x20; vector < 0x28; vector++)
    for (uint32_t limit = vector * 8 - 2; limit < vector * 8 + 10; limit++) {
      bed_tables(b);
      put_gate(b, IDT + 8 * vector, R_CODE(0), HANDLERS + 16 * vector, 0xee, 0);
      put_code(b, CODE, (uint8_t[]){0xcd, (uint8_t)vector, 0xcc}, 3);
      bed_ring(b, 3);
      b->cpu->idtr.limit = (uint16_t)limit;
      struct outcome o = run(b, CODE);
      expect(b, &o, limit >= vector * 8 + 7 ? (int)vector : EXC_GP, vector * 8 + 2, "IDT limit %x, vector %x",
             limit, vector);
    }
  put_code(b, CODE, (uint8_t[]){0x0f, 0x0b}, 2);
  for (uint32_t limit = 0; limit < 0x80; limit++) {
    bed_tables(b);
    bed_ring(b, 3);
    b->cpu->idtr.limit = (uint16_t)limit;
    struct outcome o = run(b, CODE);
    if (limit < 8 * EXC_DF + 7) /* #UD may be there already */
      verdict(b, o.vector == (limit >= 8 * EXC_UD + 7 ? EXC_UD : SHUTDOWN), "#UD with IDT limit %x: %d",
              limit, o.vector);
  }
}

void rules_exceptions(struct bed *b) {
  for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++)
    for (enum obstacle what = 0; what < OBSTACLES; what++) {
      one(b, &causes[i], what, false);
      one(b, &causes[i], what, true);
    }
  page_fault_twice(b);
  double_fault_task(b);
  idt_limits(b);
}
