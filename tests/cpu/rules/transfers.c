/* SPDX-License-Identifier: MIT */
/*
 * Far transfers: what JMP, CALL, RETF, IRET and INT n may reach, for every type of descriptor and gate at
 * every DPL, RPL and CPL, and what they leave on the stack and in the registers (SDM vol. 3, 5.8, 6.12; vol.
 * 2).
 */
#include "tests/cpu/rules/rules.h"

#define AT_JMP CODE
#define AT_CALL (CODE + 0x20)
#define AT_RETF (CODE + 0x40)
#define AT_IRET (CODE + 0x60)
#define AT_INT (CODE + 0x80)
#define AT_UD (CODE + 0xa0)
#define AT_CALL16 (CODE + 0xc0)
#define VECTOR 0x90u
#define TARGET(n) (OTHER_CODE + 16 * (n)) /* INT3 */

static bool is_code(unsigned type) { return (type & 24) == 24; }
static bool is_conforming(unsigned type) { return (type & 28) == 28; }

struct expectation {
  int vector;
  uint32_t error;
  unsigned cpl; /* at the target */
  bool task;
};

/* --- rules --- */

/* Code segment as direct target. */
static struct expectation direct_rule(unsigned type, bool present, unsigned dpl, unsigned rpl, unsigned cpl,
                                      uint32_t error) {
  bool allowed = is_conforming(type) ? dpl <= cpl : rpl <= cpl && dpl == cpl;
  if (!is_code(type) || !allowed)
    return (struct expectation){.vector = EXC_GP, .error = error};
  return (struct expectation){.vector = present ? END : EXC_NP, .error = error, .cpl = cpl};
}

/* A system descriptor as target; the gates here lead to a good code segment of DPL 0 or to a good TSS. */
static struct expectation system_rule(unsigned type, bool present, unsigned dpl, unsigned rpl, unsigned cpl,
                                      uint32_t error, bool jump) {
  struct expectation e = {.vector = EXC_GP, .error = error};
  bool call_gate = type == 4 || type == 12, tss = type == 1 || type == 9, task_gate = type == 5;
  if ((!call_gate && !tss && !task_gate) || dpl < cpl || dpl < rpl)
    return e;
  e.vector = present ? END : EXC_NP;
  if (!present)
    return e;
  e.task = !call_gate;
  if (call_gate && jump && cpl != 0) { /* JMP does not change the privilege level */
    e.vector = EXC_GP;
    e.error = R_CODE(0);
  }
  return e;
}

/* Code segment behind a gate or vector. */
static struct expectation inner_rule(unsigned type, bool present, unsigned dpl, unsigned cpl, uint32_t error,
                                     bool jump) {
  struct expectation e = {.vector = EXC_GP, .error = error};
  if (!is_code(type) || dpl > cpl || (jump && !is_conforming(type) && dpl != cpl))
    return e;
  e.vector = present ? END : EXC_NP;
  e.cpl = is_conforming(type) ? cpl : dpl;
  return e;
}

static struct expectation return_rule(unsigned type, bool present, unsigned dpl, unsigned rpl, unsigned cpl,
                                      uint32_t error) {
  struct expectation e = {.vector = EXC_GP, .error = error};
  if (!is_code(type) || rpl < cpl || (is_conforming(type) ? dpl > rpl : dpl != rpl))
    return e;
  e.vector = present ? END : EXC_NP;
  e.cpl = rpl;
  return e;
}

/* --- cases --- */

/* Tasks that a switch may reach: at ring 0, on INT3. */
static void put_tasks(struct bed *b) {
  put_zero(b, TSS_B, 0x68);
  put32(b, TSS_B + 0x20, TARGET(1));
  put32(b, TSS_B + 0x24, 2);
  put32(b, TSS_B + 0x38, STACK(0) - 0x400);
  for (unsigned i = 0; i < 6; i++)
    put32(b, TSS_B + 0x48 + 4 * i, i == 1 ? R_CODE(0) : R_DATA(0));
  put_zero(b, TSS_C, 0x2c);
  put16(b, TSS_C + 0x0e, 0x4000);
  put16(b, TSS_C + 0x10, 2);
  put16(b, TSS_C + 0x1a, 0x7000);
  for (unsigned i = 0; i < 4; i++)
    put16(b, TSS_C + 0x22 + 2 * i, i == 1 ? S_CODE16 : S_STACK);
  put_desc(b, S_STACK, 0, 0xffff, 0x93, 0);
}

static void far_pointer(struct bed *b, uint16_t sel, uint32_t off) {
  put32(b, DATA, off);
  put16(b, DATA + 4, sel);
  b->cpu->gpr[EBX] = DATA;
}

static void put_system(struct bed *b, unsigned type, bool present, unsigned dpl) {
  unsigned access = present << 7 | dpl << 5 | type;
  if (type == 4 || type == 12 || type == 5)
    put_gate(b, GDT + S_TEST, type == 5 ? S_TSS_B : R_CODE(0), type == 4 ? 0x4000 : TARGET(0), access, 0);
  else
    put_desc(b, S_TEST, type == 1 ? TSS_C : TSS_B, 0x67, access, 0);
  put_desc(b, S_TSS_B, TSS_B, 0x67, 0x89, 0);
  put_desc(b, S_TSS, TSS, 0x2088, 0x8b, 0);
}

static void jump_or_call(struct bed *b, bool jump, unsigned type, unsigned bits) {
  unsigned dpl = bits & 3, rpl = bits >> 2 & 3, cpl = bits >> 4 & 3;
  bool present = bits >> 6;
  uint16_t sel = (uint16_t)(S_TEST | rpl);
  struct expectation e;
  bed_ring(b, cpl);
  if (type & 16) {
    put_desc(b, S_TEST, 0, 0xfffff, present << 7 | dpl << 5 | type, 0xc);
    e = direct_rule(type, present, dpl, rpl, cpl, S_TEST);
  } else {
    put_system(b, type, present, dpl);
    e = system_rule(type, present, dpl, rpl, cpl, S_TEST, jump);
  }
  far_pointer(b, sel, TARGET(0));
  uint32_t esp = b->cpu->gpr[ESP];
  struct outcome o = run(b, jump ? AT_JMP : AT_CALL);
  expect(b, &o, e.vector, e.error, "%s: type %02x P %d DPL %u RPL %u CPL %u", jump ? "jmp" : "call", type,
         present, dpl, rpl, cpl);
  if (o.vector != END || e.vector != END)
    return;
  if (e.task) {
    uint16_t tr = type == 5 ? S_TSS_B : S_TEST;
    verdict(b, (b->cpu->seg[TR].sel & ~3u) == tr, "task switch to %04x, not %04x", tr, b->cpu->seg[TR].sel);
    verdict(b, !(o.eflags & FL_NT) == jump, "%s to a task: type %x EFLAGS %08x", jump ? "jmp" : "call", type,
            o.eflags);
    verdict(b, (get8(b, GDT + S_TSS + 5) & 31) == (jump ? 9 : 11), "busy bit of the old task");
    return;
  }
  uint16_t cs = (uint16_t)(type & 16 ? S_TEST | cpl : R_CODE(0));
  verdict(b, o.cs == cs, "CS %04x, not %04x", o.cs, cs);
  verdict(b, type & 16 ? get8(b, GDT + S_TEST + 5) & 1 : true, "accessed bit");
  if (!jump && (type & 16))
    verdict(b, get32(b, esp - 4) == R_CODE(cpl) && get32(b, esp - 8) == AT_CALL + 2, "what CALL pushed");
}

/* Call gates of both sizes to every kind of code segment. */
static void through_call_gate(struct bed *b, unsigned type, unsigned bits) {
  unsigned dpl = bits & 3, cpl = bits >> 2 & 3, count = bits >> 4 & 1 ? 5 : 0;
  bool present = bits >> 5 & 1, jump = bits >> 6 & 1, wide = bits >> 7 & 1;
  uint32_t size = wide ? 4 : 2;
  bed_ring(b, cpl);
  put_desc(b, S_TARGET, 0, 0xfffff, present << 7 | dpl << 5 | type, 0xc);
  put_gate(b, GDT + S_TEST, S_TARGET | 3, wide ? TARGET(0) : 0x4000, wide ? 0xec : 0xe4, count);
  far_pointer(b, S_TEST | 3, 0xdeadbeef); /* the offset does not count */
  uint32_t esp = b->cpu->gpr[ESP];
  for (uint32_t i = 0; i < 5; i++)
    put32(b, esp + 4 * i, 0x11110000u * (i + 1) + i);
  struct outcome o = run(b, jump ? AT_JMP : AT_CALL);
  struct expectation e = inner_rule(type, present, dpl, cpl, S_TARGET, jump);
  expect(b, &o, e.vector, e.error, "gate: type %02x P %d DPL %u CPL %u %s", type, present, dpl, cpl,
         jump ? "jmp" : "call");
  if (o.vector != END || e.vector != END)
    return;
  verdict(b, o.cs == (S_TARGET | e.cpl), "gate: CS %04x", o.cs);
  if (jump)
    return;
  bool inner = e.cpl < cpl;
  uint32_t top = inner ? STACK(e.cpl) : esp, pushed = (inner ? 4 + count : 2) * size, at = top - pushed;
  /* INT3 from an outer ring tells ESP; in ring 0 its frame lies below. */
  uint32_t now = e.cpl == 0 ? o.frame + 12 : o.esp;
  verdict(b, now == at, "gate: ESP %08x, not %08x", now, at);
  verdict(b, (wide ? get32(b, at) : get16(b, at)) == ((AT_CALL + 2) & (wide ? ~0u : 0xffff)),
          "gate: return EIP");
  verdict(b, get16(b, at + size) == R_CODE(cpl), "gate: return CS");
  if (!inner)
    return;
  for (uint32_t i = 0; i < count; i++)
    verdict(b, !memcmp(b->m->ram->host + at + (2 + i) * size, b->m->ram->host + esp + i * size, size),
            "gate: parameter %u", i);
  at += (2 + count) * size;
  verdict(b, (wide ? get32(b, at) : get16(b, at)) == (esp & (wide ? ~0u : 0xffff)), "gate: outer ESP");
  verdict(b, get16(b, at + size) == R_DATA(cpl), "gate: outer SS");
}

static void return_far(struct bed *b, bool iret, unsigned type, unsigned bits) {
  unsigned dpl = bits & 3, rpl = bits >> 2 & 3, cpl = bits >> 4 & 3;
  bool present = bits >> 6;
  bed_ring(b, cpl);
  put_desc(b, S_TEST, 0, 0xfffff, present << 7 | dpl << 5 | type, 0xc);
  uint32_t esp = b->cpu->gpr[ESP], outer = STACK(3) - 0x800, at = esp;
  put32(b, at, TARGET(0));
  put32(b, at + 4, S_TEST | rpl);
  if (iret) {
    put32(b, at + 8, 0xcd7 | 3 << 12 | FL_AC | FL_ID | FL_IF); /* all arithmetic flags, DF, IOPL 3 */
    at += 4;
  }
  put32(b, at + 8, outer);
  put32(b, at + 12, R_DATA(rpl));
  seg_from_desc(&b->cpu->seg[ES], S_STACK | 3, (struct desc){0xffff, 0x00cff300}); /* DPL 3: survives */
  struct outcome o = run(b, iret ? AT_IRET : AT_RETF);
  struct expectation e = return_rule(type, present, dpl, rpl, cpl, S_TEST);
  expect(b, &o, e.vector, e.error, "%s: type %02x P %d DPL %u RPL %u CPL %u", iret ? "iret" : "retf", type,
         present, dpl, rpl, cpl);
  if (o.vector != END || e.vector != END)
    return;
  bool to_outer = rpl > cpl;
  verdict(b, o.cs == (S_TEST | rpl), "return: CS %04x", o.cs);
  if (rpl != 0)
    verdict(b, o.esp == (to_outer ? outer : at + 8) && o.ss == R_DATA(to_outer ? rpl : cpl),
            "return: SS:ESP %04x:%08x", o.ss, o.esp);
  verdict(b, b->cpu->seg[DS].sel == (to_outer ? 0 : R_DATA(cpl)), "return: DS %04x", b->cpu->seg[DS].sel);
  verdict(b, b->cpu->seg[ES].sel == (S_STACK | 3), "return: ES %04x", b->cpu->seg[ES].sel);
  if (!iret)
    return;
  uint32_t want = 0xcd7 | FL_AC | FL_ID | (cpl == 0 ? FL_IOPL | FL_IF : 0);
  verdict(b, o.eflags == want, "iret from CPL %u: EFLAGS %08x, not %08x", cpl, o.eflags, want);
}

/* Vectors: kind of gate, its DPL, and whether the event looks at that. */
static void through_idt(struct bed *b, unsigned type, unsigned bits) {
  unsigned dpl = bits & 3, cpl = bits >> 2 & 3;
  bool present = bits >> 4 & 1, soft = bits >> 5 & 1;
  unsigned vector = soft ? VECTOR : EXC_UD, access = present << 7 | dpl << 5 | type;
  bool good = type == 5 || type == 6 || type == 7 || type == 14 || type == 15, wide = type & 8;
  uint32_t error = vector * 8 + 2 + !soft;
  bed_ring(b, cpl);
  b->cpu->eflags |= FL_IF;
  put_desc(b, S_TSS_B, TSS_B, 0x67, 0x89, 0);
  put_gate(b, IDT + 8 * vector, type == 5 ? S_TSS_B : R_CODE(0), wide ? TARGET(0) : 0x4000, access, 0);
  struct outcome o = run(b, soft ? AT_INT : AT_UD);
  int want = !good || (soft && dpl < cpl) ? EXC_GP : present ? END : EXC_NP;
  expect(b, &o, want, error, "vector %02x: gate type %02x P %d DPL %u CPL %u", vector, type, present, dpl,
         cpl);
  put_gate(b, IDT + 8 * vector, R_CODE(0), HANDLERS + 16 * vector, 0x8e, 0);
  if (o.vector != END || want != END)
    return;
  if (type == 5) {
    verdict(b, b->cpu->seg[TR].sel == S_TSS_B && (o.eflags & FL_NT), "task gate");
    return;
  }
  bool trap = type & 1;
  verdict(b, !(o.eflags & FL_IF) == !trap, "IF behind a gate of type %02x", type);
  verdict(b, o.cs == R_CODE(0), "CS %04x", o.cs);
}

static void int_to_code(struct bed *b, unsigned type, unsigned bits) {
  unsigned dpl = bits & 3, cpl = bits >> 2 & 3;
  bool present = bits >> 4 & 1, soft = bits >> 5 & 1, wide = bits >> 6 & 1;
  unsigned vector = soft ? VECTOR : EXC_UD;
  uint32_t size = wide ? 4 : 2;
  bed_ring(b, cpl);
  put_desc(b, S_TARGET, 0, 0xfffff, present << 7 | dpl << 5 | type, 0xc);
  put_gate(b, IDT + 8 * vector, S_TARGET | 2, wide ? TARGET(0) : 0x4000, wide ? 0xee : 0xe6, 0);
  uint32_t esp = b->cpu->gpr[ESP];
  struct outcome o = run(b, soft ? AT_INT : AT_UD);
  struct expectation e = inner_rule(type, present, dpl, cpl, S_TARGET | !soft, false);
  expect(b, &o, e.vector, e.error, "vector %02x to code: type %02x P %d DPL %u CPL %u", vector, type, present,
         dpl, cpl);
  put_gate(b, IDT + 8 * vector, R_CODE(0), HANDLERS + 16 * vector, 0x8e, 0);
  if (o.vector != END || e.vector != END)
    return;
  bool inner = e.cpl < cpl;
  uint32_t at = (inner ? STACK(e.cpl) : esp) - (inner ? 5 : 3) * size,
           now = e.cpl == 0 ? o.frame + 12 : o.esp;
  verdict(b, now == at && o.cs == (S_TARGET | e.cpl), "vector: CS:ESP %04x:%08x, not %08x", o.cs, now, at);
  uint32_t eip = soft ? AT_INT + 2 : AT_UD;
  verdict(b, (wide ? get32(b, at) : get16(b, at)) == (eip & (wide ? ~0u : 0xffff)), "vector: return EIP");
  verdict(b, get16(b, at + size) == R_CODE(cpl), "vector: return CS");
  if (wide)
    verdict(b, !(get32(b, at + 8) & FL_RF) == soft, "RF in the image of vector %02x", vector);
  if (inner)
    verdict(b, get16(b, at + 4 * size) == R_DATA(cpl), "vector: outer SS");
}

void rules_transfers(struct bed *b) {
  put_code(b, AT_JMP, (uint8_t[]){0xff, 0x2b, 0xcc}, 3); /* jmp far [ebx] */
  put_code(b, AT_CALL, (uint8_t[]){0xff, 0x1b, 0xcc}, 3);
  put_code(b, AT_RETF, (uint8_t[]){0xcb}, 1);
  put_code(b, AT_IRET, (uint8_t[]){0xcf}, 1);
  put_code(b, AT_INT, (uint8_t[]){0xcd, VECTOR, 0xcc}, 3);
  put_code(b, AT_UD, (uint8_t[]){0x0f, 0x0b}, 2);
  put8(b, TARGET(1), 0xcc);
  put8(b, 0x4000, 0xcc); /* where 16-bit gates and tasks lead */
  put_tasks(b);
  for (unsigned type = 0; type < 32; type++) {
    for (unsigned bits = 0; bits < 128; bits++) {
      jump_or_call(b, true, type, bits);
      put_tasks(b);
      jump_or_call(b, false, type, bits);
      put_tasks(b);
      return_far(b, false, type, bits);
      return_far(b, true, type, bits);
      int_to_code(b, type, bits);
    }
    for (unsigned bits = 0; bits < 256; bits++)
      through_call_gate(b, type, bits);
    for (unsigned bits = 0; bits < 64; bits++) {
      put_tasks(b);
      through_idt(b, type, bits);
    }
  }
}
