/* SPDX-License-Identifier: MIT */
/*
 * Real mode: the vector table's limit, operands and stacks around the end of 64 KB, and when their faults end
 * in shutdown, flags by POPF and IRET, far transfers beyond the limit (SDM vol. 3, 20.1; 80386 manual, ch.
 * 14).
 */
#include "tests/cpu/rules/rules.h"

#define AT 0x7800u
#define SEGMENT 0x5000u

/* --- the vector table --- */

static void vectors(struct bed *b) {
  for (uint32_t vector = 0x10; vector < 0x100; vector += 0x11)
    for (uint32_t limit = vector * 4 - 1; limit < vector * 4 + 5; limit++) {
      put_code(b, AT, (uint8_t[]){0xcd, (uint8_t)vector, 0xcc}, 3);
      bed_real(b);
      b->cpu->idtr.limit = (uint16_t)limit;
      b->cpu->eflags |= FL_IF | FL_AC | FL_CF;
      struct outcome o = run(b, AT);
      bool there = limit >= vector * 4 + 3;
      expect(b, &o, there ? (int)vector : EXC_GP, 0, "vector %02x, limit %x", vector, limit);
      verdict(b,
              o.eip == (there ? AT + 2 : AT) && o.cs == 0 && o.eflags == (FL_1 | FL_IF | FL_CF) &&
                  o.esp == 0x7000,
              "vector %02x: frame %x %x %x", vector, o.eip, o.cs, o.eflags);
      verdict(b, !(b->cpu->eflags & (FL_IF | FL_TF | FL_AC)), "vector %02x: EFLAGS %x", vector,
              b->cpu->eflags);
    }
  /* Neither the vector nor #GP's, then not even #DF's. */
  for (uint32_t limit = 0; limit < 0x40; limit++) {
    put_code(b, AT, (uint8_t[]){0xcd, 0x80}, 2);
    bed_real(b);
    b->cpu->idtr.limit = (uint16_t)limit;
    struct outcome o = run(b, AT);
    int want = limit >= EXC_GP * 4 + 3 ? EXC_GP : limit >= EXC_DF * 4 + 3 ? EXC_DF : SHUTDOWN;
    verdict(b, o.vector == want, "limit %x: %d, not %d", limit, o.vector, want);
  }
}

/* --- operands --- */

static const struct {
  const char *name;
  uint8_t code[8]; /* with 32-bit addressing: [esi] */
  unsigned size;
} operands[] = {
    {"mov al, [esi]", {0x67, 0x8a, 0x06, 0xcc}, 1},
    {"mov [esi], ax", {0x67, 0x89, 0x06, 0xcc}, 2},
    {"add ax, [esi]", {0x67, 0x03, 0x06, 0xcc}, 2},
    {"mov eax, [esi]", {0x67, 0x66, 0x8b, 0x06, 0xcc}, 4},
    {"inc dword [esi]", {0x67, 0x66, 0xff, 0x06, 0xcc}, 4},
    {"movq mm0, [esi]", {0x67, 0x0f, 0x6f, 0x06, 0xcc}, 8},
    {"fld tword [esi]", {0x67, 0xdb, 0x2e, 0xcc}, 10},
    {"movups [esi], xmm0", {0x67, 0x0f, 0x11, 0x06, 0xcc}, 16},
    {"fnsave [esi]", {0x67, 0xdd, 0x36, 0xcc}, 94},
    {"lds ax, [esi]", {0x67, 0xc5, 0x06, 0xcc}, 4},
    {"bound eax, [esi]", {0x67, 0x66, 0x62, 0x06, 0xcc}, 8},
};

static void limits(struct bed *b) {
  for (size_t i = 0; i < sizeof operands / sizeof operands[0]; i++)
    for (unsigned ss = 0; ss < 2; ss++) {
      uint8_t code[10] = {ss ? 0x36 : 0x26};
      memcpy(code + 1, operands[i].code, 8);
      put_code(b, AT, code, sizeof code);
      for (uint32_t offset = 0x10000 - operands[i].size - 2; offset < 0x10003; offset++) {
        bed_real(b);
        struct seg *seg = &b->cpu->seg[ss ? SS : ES];
        seg->sel = SEGMENT;
        seg->base = SEGMENT << 4;
        cpu_update_mode(b->cpu);
        put64(b, (SEGMENT << 4) + offset, 0x7fffffff80000000ull);
        b->cpu->gpr[EAX] = 1;
        b->cpu->gpr[ESI] = offset;
        struct outcome o = run(b, AT);
        bool fits = offset + operands[i].size <= 0x10000;
        expect(b, &o,
               fits ? END
               : ss ? EXC_SS
                    : EXC_GP,
               0, "%s in real mode, %s:%x", operands[i].name, ss ? "ss" : "es", offset);
        verdict(b, fits || o.eip == AT, "%s in real mode: IP %x", operands[i].name, o.eip);
      }
    }
}

/* --- stacks --- */

static const struct {
  const char *name;
  uint8_t code[6];
  unsigned size;
  int items; /* negative: popped */
} stack_insns[] = {
    {"push ax", {0x50, 0xcc}, 2, 1},         {"push eax", {0x66, 0x50, 0xcc}, 4, 1},
    {"pusha", {0x60, 0xcc}, 2, 8},           {"pushad", {0x66, 0x60, 0xcc}, 4, 8},
    {"pushf", {0x9c, 0xcc}, 2, 1},           {"call next", {0xe8, 0, 0, 0xcc}, 2, 1},
    {"push [si]", {0xff, 0x34, 0xcc}, 2, 1}, {"pop ax", {0x58, 0xcc}, 2, -1},
    {"pop eax", {0x66, 0x58, 0xcc}, 4, -1},  {"popa", {0x61, 0xcc}, 2, -8},
    {"popad", {0x66, 0x61, 0xcc}, 4, -8},
};

/* Do `n` items of `size` fit below (or from) sp, each in one piece? */
static bool fits(uint32_t sp, unsigned size, int items) {
  for (int k = 0; k < (items < 0 ? -items : items); k++) {
    uint32_t off = items < 0 ? sp + (unsigned)k * size : sp - (unsigned)(k + 1) * size;
    if ((off & 0xffff) + size > 0x10000)
      return false;
  }
  return true;
}

static void stacks(struct bed *b) {
  for (size_t i = 0; i < sizeof stack_insns / sizeof stack_insns[0]; i++)
    for (uint32_t n = 0; n < 80; n++) {
      uint32_t sp = (0xffd8 + n) & 0xffff;
      put_code(b, AT, stack_insns[i].code, sizeof stack_insns[i].code);
      bed_real(b);
      struct seg *seg = &b->cpu->seg[SS];
      seg->sel = SEGMENT;
      seg->base = SEGMENT << 4;
      cpu_update_mode(b->cpu);
      b->cpu->gpr[ESP] = 0x12340000 | sp;
      struct outcome o = run(b, AT);
      bool good = fits(sp, stack_insns[i].size, stack_insns[i].items);
      uint32_t after = good ? (sp - (uint32_t)stack_insns[i].items * stack_insns[i].size) & 0xffff : sp;
      /* INT3, or #SS, pushes three words; if they do not fit, #SS and #DF fail in the same way. */
      int want = !fits(after, 2, 3) ? SHUTDOWN : good ? END : EXC_SS;
      verdict(b, o.vector == want, "%s with SP %04x: %d, not %d", stack_insns[i].name, sp, o.vector, want);
      if (o.vector == want && want != SHUTDOWN)
        verdict(b, o.esp == after && b->cpu->gpr[ESP] >> 16 == 0x1234, "%s with SP %04x: then %04x, not %04x",
                stack_insns[i].name, sp, o.esp, after);
    }
}

/* --- flags and far transfers --- */

static void flags(struct bed *b) {
  for (unsigned bits = 0; bits < 8; bits++) {
    bool wide = bits & 1, iret = bits >> 1 & 1, on = bits >> 2;
    uint8_t code[4] = {0x66, iret ? 0xcf : 0x9d, 0xcc};
    put_code(b, AT, wide ? code : code + 1, 3);
    put8(b, AT + 0x20, 0xcc);
    bed_real(b);
    uint32_t image = on ? ~(FL_TF | FL_RF) : 0, size = wide ? 4 : 2, at = 0x7000;
    uint32_t frame[2] = {AT + 0x20, 0};
    for (uint32_t i = 0; iret && i < 2; i++, at += size)
      put(b, at, &frame[i], size);
    put(b, at, &image, size);
    uint32_t start = FL_1 | (on ? 0 : FL_ARITH | FL_IOPL | FL_IF | FL_DF | FL_NT | FL_AC | FL_ID);
    b->cpu->eflags = start;
    struct outcome o = run(b, AT);
    uint32_t mask = FL_ARITH | FL_IOPL | FL_IF | FL_DF | FL_NT | (wide ? FL_AC | FL_ID : 0);
    uint32_t want = (start & ~mask) | (image & mask);
    expect(b, &o, END, 0, "%s in real mode", iret ? "iret" : "popf");
    verdict(b, o.eflags == (want & 0xffff), "%s%s in real mode: %x, not %x", iret ? "iret" : "popf",
            wide ? "d" : "", o.eflags, want & 0xffff);
    uint32_t high = b->cpu->eflags & ~0xffffu, high_want = want & ~0xffffu & ~FL_AC; /* INT3 has cleared AC */
    verdict(b, high == high_want, "%s%s in real mode: EFLAGS %x, not %x", iret ? "iret" : "popf",
            wide ? "d" : "", high, high_want);
  }
}

static void far_transfers(struct bed *b) {
  for (unsigned n = 0; n < 3; n++)
    for (unsigned beyond = 0; beyond < 2; beyond++) {
      static const uint8_t op[] = {0xea, 0x9a, 0xcb};
      uint32_t off = beyond ? 0x10000 | (AT + 0x40) : AT + 0x40;
      uint8_t code[9] = {0x66, op[n]};
      memcpy(code + 2, &off, 4);
      put_code(b, AT, code, sizeof code);
      put8(b, AT + 0x40, 0xcc);
      bed_real(b);
      put32(b, 0x7000, off);
      put32(b, 0x7004, 0);
      struct outcome o = run(b, AT);
      expect(b, &o, beyond ? EXC_GP : END, 0, "far transfer %02x to %x", op[n], off);
      verdict(b, o.eip == (beyond ? AT : AT + 0x41), "far transfer %02x to %x: IP %x", op[n], off, o.eip);
    }
}

void rules_real(struct bed *b) {
  vectors(b);
  limits(b);
  stacks(b);
  flags(b);
  far_transfers(b);
}
