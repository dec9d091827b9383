/* SPDX-License-Identifier: MIT */
/*
 * Inner stacks that cannot be used, for call gates, interrupts and exceptions, from both kinds of TSS: which
 * fault, with which error code, and that nothing else has changed (SDM vol. 3, 5.8.5, 6.12.1; #TS and #SS
 * in 6.15).
 */
#include "tests/cpu/rules/rules.h"

#define AT_CALL CODE
#define AT_INT (CODE + 0x20)
#define AT_UD (CODE + 0x40)
#define VECTOR 0x91u
#define NEW_STACK 0x60000u
#define PAGE_DIR 0x100000u
#define PAGE_TABLE 0x101000u

enum event { BY_CALL, BY_INT, BY_EXCEPTION, EVENTS };
static const uint32_t entry[EVENTS] = {AT_CALL, AT_INT, AT_UD};

/* The stack for ring 1 is under test: the fault's own handler, in ring 0, has a good one. */
static struct outcome enter_ring1(struct bed *b, enum event e) {
  put_gate(b, GDT + S_TEST, R_CODE(1), OTHER_CODE, 0xec, 0);
  put_gate(b, IDT + 8 * VECTOR, R_CODE(1), OTHER_CODE, 0xee, 0);
  put_gate(b, IDT + 8 * EXC_UD, R_CODE(1), OTHER_CODE, 0xee, 0);
  put32(b, DATA, 0);
  put16(b, DATA + 4, S_TEST | 3);
  b->cpu->gpr[EBX] = DATA;
  struct outcome o = run(b, entry[e]);
  put_gate(b, IDT + 8 * EXC_UD, R_CODE(0), HANDLERS + 16 * EXC_UD, 0x8e, 0);
  return o;
}

static void set_stack(struct bed *b, bool tss32, uint16_t ss, uint32_t esp) {
  if (tss32) {
    put32(b, TSS + 12, esp);
    put16(b, TSS + 16, ss);
  } else {
    put16(b, TSS + 6, (uint16_t)esp);
    put16(b, TSS + 8, ss);
    put16(b, TSS + 2, 0x6000);
    put16(b, TSS + 4, S_STACK);
    put_desc(b, S_STACK, 0x30000, 0xffff, 0x93, 0);
  }
  struct seg *tr = &b->cpu->seg[TR];
  tr->attr = (uint16_t)(SEG_P | (tss32 ? 11 : 3));
}

static void descriptors(struct bed *b, enum event e, bool tss32, unsigned type, unsigned bits) {
  unsigned dpl = bits & 3, rpl = bits >> 2 & 3;
  bool present = bits >> 4 & 1, ext = e == BY_EXCEPTION;
  bed_tables(b);
  bed_ring(b, 3);
  put_desc(b, S_TARGET, NEW_STACK, 0xfff, present << 7 | dpl << 5 | type, type & 4 && !(type & 8) ? 4 : 0);
  uint32_t esp = type & 4 && !(type & 8) ? 0x1800 : 0x800;
  set_stack(b, tss32, (uint16_t)(S_TARGET | rpl), esp);
  struct outcome o = enter_ring1(b, e);
  bool good = rpl == 1 && dpl == 1 && (type & 16) && !(type & 8) && (type & 2);
  int want = !good ? EXC_TS : present ? END : EXC_SS;
  expect(b, &o, want, S_TARGET | ext, "event %d TSS%d: stack type %02x P %d DPL %u RPL %u", e,
         tss32 ? 32 : 16, type, present, dpl, rpl);
  verdict(b, (get8(b, GDT + S_TARGET + 5) & 31) == (type | (want == END)), "accessed bit of the inner stack");
  if (want == END && o.vector == END)
    verdict(b, o.ss == (S_TARGET | 1) && o.esp == esp - (e == BY_CALL ? 16 : 20), "inner stack %04x:%08x",
            o.ss, o.esp);
}

/* Room for everything that is pushed, or nothing is pushed at all. */
static void room(struct bed *b, enum event e, bool down) {
  uint32_t need = e == BY_CALL ? 16 : 20;
  for (uint32_t have = 0; have <= 40; have++) {
    bed_tables(b);
    bed_ring(b, 3);
    put_desc(b, S_TARGET, NEW_STACK, 0xfff, 0xb3 | (down ? 4 : 0), 4);
    uint32_t esp = down ? 0x1000 + have : have;
    put_zero(b, NEW_STACK, 0x2000);
    set_stack(b, true, S_TARGET | 1, esp);
    struct outcome o = enter_ring1(b, e);
    /* Below a plain segment's offset 0 lies FFFFFFFCh, beyond its limit. */
    expect(b, &o, have >= need ? END : EXC_SS, S_TARGET | (e == BY_EXCEPTION), "event %d: room for %u bytes",
           e, have);
    uint32_t sum = 0;
    for (uint32_t i = 0; i < 0x1100; i += 4)
      sum |= get32(b, NEW_STACK + i);
    verdict(b, have >= need || sum == 0, "event %d: something was pushed into %u bytes", e, have);
    if (o.vector != END)
      verdict(b, o.eip == entry[e] && o.cs == R_CODE(3) && o.esp == STACK(3) - 0x100,
              "event %d: state after #SS", e);
  }
}

/* A 16-bit stack wraps within its 64 KB. */
static void wrap16(struct bed *b, enum event e) {
  uint32_t need = e == BY_CALL ? 16 : 20;
  for (uint32_t have = 0; have <= 40; have += 2) {
    bed_tables(b);
    bed_ring(b, 3);
    put_desc(b, S_TARGET, NEW_STACK, 0xffff, 0xb3, 0);
    set_stack(b, true, S_TARGET | 1, 0xabcd0000 | have);
    struct outcome o = enter_ring1(b, e);
    bool split = (have & 3) && have < need; /* a doubleword would cross the end */
    expect(b, &o, split ? EXC_SS : END, S_TARGET | (e == BY_EXCEPTION), "event %d: 16-bit stack at %x", e,
           have);
    if (!split)
      verdict(b, o.esp == (0xabcd0000 | ((have - need) & 0xffff)), "event %d: 16-bit stack at %x: %08x", e,
              have, o.esp);
  }
}

/* A TSS that ends before or inside the field. */
static void tss_limit(struct bed *b, enum event e, bool tss32) {
  uint32_t last = tss32 ? 12 + 5 : 6 + 3;
  for (uint32_t limit = last - 4; limit <= last + 2; limit++) {
    bed_tables(b);
    bed_ring(b, 3);
    put_desc(b, S_TARGET, NEW_STACK, 0xfff, 0xb3, 4);
    set_stack(b, tss32, S_TARGET | 1, 0x800);
    b->cpu->seg[TR].limit = limit;
    struct outcome o = enter_ring1(b, e);
    expect(b, &o, limit >= last ? END : EXC_TS, S_TSS | (e == BY_EXCEPTION), "event %d TSS%d: limit %x", e,
           tss32 ? 32 : 16, limit);
  }
}

static void selectors(struct bed *b, enum event e) {
  static const struct {
    uint16_t sel;
    uint32_t error;
  } bad[] = {{0, 0}, {1, 0}, {3, 0}, {GDT_SIZE | 1, GDT_SIZE}, {0xfff9, 0xfff8}, {5, 4}};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    bed_tables(b);
    bed_ring(b, 3);
    set_stack(b, true, bad[i].sel, 0x800);
    struct outcome o = enter_ring1(b, e);
    expect(b, &o, EXC_TS, bad[i].error | (e == BY_EXCEPTION), "event %d: stack selector %04x", e, bad[i].sel);
  }
}

/* The inner stack's page: absent, or its lower neighbour absent. */
static void page_faults(struct bed *b, enum event e) {
  for (unsigned hole = 0; hole < 3; hole++) {
    bed_tables(b);
    bed_ring(b, 3);
    for (uint32_t i = 0; i < 1024; i++)
      put32(b, PAGE_TABLE + 4 * i, i << 12 | 7);
    put32(b, PAGE_DIR, PAGE_TABLE | 7);
    if (hole)
      put32(b, PAGE_TABLE + 4 * (0x60 + (hole == 1)), 0);
    bed_control(b, CR0_PG, PAGE_DIR, CR4_OSFXSR, 0);
    put_desc(b, S_TARGET, NEW_STACK, 0xffff, 0xb3, 4);
    put_zero(b, NEW_STACK, 0x2000);
    set_stack(b, true, S_TARGET | 1, 0x1008);
    struct outcome o = enter_ring1(b, e);
    expect(b, &o, hole ? EXC_PF : END, 2, "event %d: page hole %u", e, hole); /* a write by the supervisor */
    if (hole) {
      verdict(b, o.eip == entry[e] && o.cs == R_CODE(3), "event %d: state after the page fault", e);
      verdict(b, hole == 1 ? b->cpu->cr2 >> 12 == 0x61 : b->cpu->cr2 >> 12 == 0x60, "CR2 %08x", b->cpu->cr2);
    }
    if (hole == 2)
      verdict(b, get32(b, NEW_STACK + 0x1004) == 0 && get32(b, NEW_STACK + 0x1000) == 0,
              "pushed before the fault");
  }
  bed_ring(b, 3);
}

void rules_stacks(struct bed *b) {
  put_code(b, AT_CALL, (uint8_t[]){0xff, 0x1b, 0xcc}, 3); /* call far [ebx] */
  put_code(b, AT_INT, (uint8_t[]){0xcd, VECTOR, 0xcc}, 3);
  put_code(b, AT_UD, (uint8_t[]){0x0f, 0x0b}, 2);
  for (enum event e = 0; e < EVENTS; e++) {
    for (unsigned type = 0; type < 32; type++)
      for (unsigned bits = 0; bits < 32; bits++) {
        descriptors(b, e, true, type, bits);
        descriptors(b, e, false, type, bits);
      }
    room(b, e, false);
    room(b, e, true);
    wrap16(b, e);
    tss_limit(b, e, true);
    tss_limit(b, e, false);
    selectors(b, e);
    page_faults(b, e);
  }
}
