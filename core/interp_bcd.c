/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: decimal adjustment (AAA, AAS, AAM, AAD, DAA, DAS), SDM vol. 2. A 64-bit host has no such
 * instructions; the undefined flags follow what current processors do in 32-bit mode: AAM and AAD clear CF, AF,
 * OF or set them as the addition does, AAA and AAS set ZF, SF, PF from AL.
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
  set_flags(cpu, f | result_flags(al));
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
  uint16_t ax = reg16(cpu, EAX);
  uint32_t f = 0;
  if ((ax & 15) > 9 || (cpu->eflags & FL_AF)) {
    ax = (uint16_t)(subtract ? ax - 0x106 : ax + 0x106);
    f = FL_AF | FL_CF;
  }
  ax &= 0xff0f;
  set_reg16(cpu, EAX, ax);
  set_flags(cpu, f | result_flags((uint8_t)ax));
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
  uint16_t ax = reg16(cpu, EAX);
  uint8_t al = (uint8_t)(ax + (ax >> 8) * in->imm);
  set_reg16(cpu, EAX, al);
  set_flags(cpu, result_flags(al));
}
