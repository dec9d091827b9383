/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: decimal adjustment (AAA, AAS, AAM, AAD, DAA, DAS), SDM vol. 2. A 64-bit host has no such
 * instructions; the undefined flags follow what its processor does in 32-bit mode: OF as the additions leave it, AAA
 * and AAS set SF, ZF, PF from AX before bits 4-7 are cleared, AAM clears CF, AF, OF, AAD adds.
 */
#include "core/interp.h"

#define HANDLER(id) void interp_##id(struct cpu *cpu, const struct insn *in)

static uint32_t result_flags(uint8_t v) {
  uint32_t f = v == 0 ? FL_ZF : 0;
  if (v & 0x80)
    f |= FL_SF;
  if (!__builtin_parity(v))
    f |= FL_PF;
  return f;
}

/* OF of the step from `old` to `new`, whose sign bit is given. */
static uint32_t overflow(uint32_t old, uint32_t new, uint32_t sign, bool subtract) {
  return (subtract ? old & ~new : new & ~old) & sign ? FL_OF : 0;
}

static void set_flags(struct cpu *cpu, uint32_t f) { cpu->eflags = (cpu->eflags & ~FL_ARITH) | f; }

static void decimal_adjust(struct cpu *cpu, bool subtract) {
  uint8_t old = reg8(cpu, EAX), al = old;
  uint32_t f = 0;
  if ((old & 15) > 9 || (cpu->eflags & FL_AF)) {
    al = (uint8_t)(subtract ? al - 6 : al + 6);
    f |= FL_AF;
    if (subtract && old < 6)
      f |= FL_CF;
  }
  if (old > 0x99 || (cpu->eflags & FL_CF)) {
    al = (uint8_t)(subtract ? al - 0x60 : al + 0x60);
    f |= FL_CF;
  }
  set_reg8(cpu, EAX, al);
  set_flags(cpu, f | result_flags(al) | overflow(old, al, 0x80, subtract));
}

HANDLER(DAA) {
  (void)in;
  decimal_adjust(cpu, false);
}

HANDLER(DAS) {
  (void)in;
  decimal_adjust(cpu, true);
}

static void ascii_adjust(struct cpu *cpu, bool subtract) {
  uint16_t ax = reg16(cpu, EAX), old = ax;
  uint32_t f = 0;
  if ((ax & 15) > 9 || (cpu->eflags & FL_AF)) {
    ax = (uint16_t)(subtract ? ax - 0x106 : ax + 0x106);
    f = FL_AF | FL_CF;
  }
  set_reg16(cpu, EAX, ax & 0xff0f);
  f |= overflow(old, ax, 0x8000, subtract) | (result_flags((uint8_t)ax) & FL_PF);
  f |= (ax == 0 ? FL_ZF : 0) | (ax & 0x8000 ? FL_SF : 0);
  set_flags(cpu, f);
}

HANDLER(AAA) {
  (void)in;
  ascii_adjust(cpu, false);
}

HANDLER(AAS) {
  (void)in;
  ascii_adjust(cpu, true);
}

HANDLER(AAM_Ib) {
  uint8_t al = reg8(cpu, EAX), base = (uint8_t)in->imm;
  if (base == 0)
    cpu_raise(cpu, EXC_DE);
  set_reg16(cpu, EAX, (uint16_t)(al / base << 8 | al % base));
  set_flags(cpu, result_flags(al % base));
}

HANDLER(AAD_Ib) {
  uint8_t al = reg8(cpu, EAX), add = (uint8_t)(reg8(cpu, 4) * in->imm);
  uint32_t f = flags_to_host(0);
  __asm__(HOST_FLAGS("addb %[b], %[a]") : [a] "+q"(al), "+&a"(f) : [b] "q"(add) : "cc");
  set_reg16(cpu, EAX, al);
  flags_from_host(cpu, f);
}
