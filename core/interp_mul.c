/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: multiplication, division, conversions (MUL, IMUL, DIV, IDIV, CBW, CWD, XLAT, SALC), SDM vol. 2.
 *
 * Products and quotients come from the host's own instruction, with its treatment of undefined flags; a division
 * that would overflow is found first, in C, and raises #DE.
 */
#include "core/interp.h"

#define HANDLER(id) void interp_##id(struct cpu *cpu, const struct insn *in)

/* The one-operand forms: hi:lo = (hi:)lo op src, all `bits` wide. RAX holds the flags outside the operation, so the
 * low half is moved in and out around it: MOV leaves flags alone. */
#define HOST_WIDE(name, op, bits) \
  static void name##bits(struct cpu *cpu, uint##bits##_t *lo, uint##bits##_t *hi, uint##bits##_t src) { \
    uint32_t f = flags_to_host(cpu->eflags), l = *lo, h = *hi; \
    __asm__("addb $0x7f, %%al\n\tsahf\n\tmovl %[l], %%eax\n\t" op "\n\t" \
            "movl %%eax, %[l]\n\tlahf\n\tseto %%al\n\t" \
            : [l] "+&r"(l), "+&d"(h), "+&a"(f) \
            : [src] "r"(src) \
            : "cc"); \
    flags_from_host(cpu, f); \
    *lo = (uint##bits##_t)l; \
    *hi = (uint##bits##_t)h; \
  }

/* The byte forms work on AX alone. */
#define HOST_BYTE(name, op) \
  static uint16_t name##8(struct cpu *cpu, uint16_t ax, uint8_t src) { \
    uint32_t f = flags_to_host(cpu->eflags), l = ax; \
    __asm__("addb $0x7f, %%al\n\tsahf\n\tmovl %[l], %%eax\n\t" op "b %b[src]\n\t" \
            "movl %%eax, %[l]\n\tlahf\n\tseto %%al\n\t" \
            : [l] "+&r"(l), "+&a"(f) \
            : [src] "r"(src) \
            : "cc"); \
    flags_from_host(cpu, f); \
    return (uint16_t)l; \
  }

#define WIDE(name, op) \
  HOST_BYTE(name, op) \
  HOST_WIDE(name, op "w %w[src]", 16) \
  HOST_WIDE(name, op "l %k[src]", 32)

WIDE(mul, "mul")
WIDE(imul, "imul")
WIDE(div, "div")
WIDE(idiv, "idiv")

static void set_wide(struct cpu *cpu, int size, uint32_t lo, uint32_t hi) {
  set_reg_v(cpu, EAX, size, lo);
  set_reg_v(cpu, EDX, size, hi);
}

HANDLER(MUL_Eb) { set_reg16(cpu, EAX, mul8(cpu, reg16(cpu, EAX), (uint8_t)read_e(cpu, in, 1))); }
HANDLER(IMUL_Eb) { set_reg16(cpu, EAX, imul8(cpu, reg16(cpu, EAX), (uint8_t)read_e(cpu, in, 1))); }

#define HANDLER_WIDE(ID, name, check) \
  HANDLER(ID) { \
    uint32_t src = read_e(cpu, in, in->opsize); \
    check; \
    if (in->opsize == 4) { \
      name##32(cpu, &cpu->gpr[EAX], &cpu->gpr[EDX], src); \
    } else { \
      uint16_t lo = reg16(cpu, EAX), hi = reg16(cpu, EDX); \
      name##16(cpu, &lo, &hi, (uint16_t)src); \
      set_wide(cpu, 2, lo, hi); \
    } \
  }

/* Raise #DE unless `dividend` / `divisor` fits in `bits` bits. */
static void check_div(struct cpu *cpu, uint64_t dividend, uint32_t divisor, int bits) {
  if (divisor == 0 || dividend >> bits >= divisor)
    cpu_raise(cpu, EXC_DE);
}

static void check_idiv(struct cpu *cpu, int64_t dividend, int32_t divisor, int bits) {
  int64_t max = (1ll << (bits - 1)) - 1;
  if (divisor == 0 || (dividend == INT64_MIN && divisor == -1))
    cpu_raise(cpu, EXC_DE);
  int64_t quotient = dividend / divisor;
  if (quotient > max || quotient < -max - 1)
    cpu_raise(cpu, EXC_DE);
}

static void check_div_v(struct cpu *cpu, int size, uint32_t src) {
  if (size == 4)
    check_div(cpu, (uint64_t)cpu->gpr[EDX] << 32 | cpu->gpr[EAX], src, 32);
  else
    check_div(cpu, (uint32_t)reg16(cpu, EDX) << 16 | reg16(cpu, EAX), src, 16);
}

static void check_idiv_v(struct cpu *cpu, int size, uint32_t src) {
  if (size == 4)
    check_idiv(cpu, (int64_t)((uint64_t)cpu->gpr[EDX] << 32 | cpu->gpr[EAX]), (int32_t)src, 32);
  else
    check_idiv(cpu, (int32_t)((uint32_t)reg16(cpu, EDX) << 16 | reg16(cpu, EAX)), (int16_t)src, 16);
}

HANDLER_WIDE(MUL_Ev, mul, )
HANDLER_WIDE(IMUL_Ev, imul, )
HANDLER_WIDE(DIV_Ev, div, check_div_v(cpu, in->opsize, src))
HANDLER_WIDE(IDIV_Ev, idiv, check_idiv_v(cpu, in->opsize, src))

HANDLER(DIV_Eb) {
  uint32_t src = read_e(cpu, in, 1);
  check_div(cpu, reg16(cpu, EAX), src, 8);
  set_reg16(cpu, EAX, div8(cpu, reg16(cpu, EAX), (uint8_t)src));
}

HANDLER(IDIV_Eb) {
  uint32_t src = read_e(cpu, in, 1);
  check_idiv(cpu, (int16_t)reg16(cpu, EAX), (int8_t)src, 8);
  set_reg16(cpu, EAX, idiv8(cpu, reg16(cpu, EAX), (uint8_t)src));
}

static uint32_t imul_v(struct cpu *cpu, int size, uint32_t dst, uint32_t src) {
  uint32_t f = flags_to_host(cpu->eflags);
  if (size == 4) {
    __asm__(HOST_FLAGS("imull %[b], %[a]") : [a] "+r"(dst), "+&a"(f) : [b] "r"(src) : "cc");
  } else {
    uint16_t a = (uint16_t)dst, b = (uint16_t)src;
    __asm__(HOST_FLAGS("imulw %[b], %[a]") : [a] "+r"(a), "+&a"(f) : [b] "r"(b) : "cc");
    dst = a;
  }
  flags_from_host(cpu, f);
  return dst;
}

HANDLER(IMUL_Gv_Ev) {
  uint32_t src = read_e(cpu, in, in->opsize);
  set_reg_v(cpu, in->reg, in->opsize, imul_v(cpu, in->opsize, cpu->gpr[in->reg], src));
}

HANDLER(IMUL_Gv_Ev_Iv) {
  uint32_t src = read_e(cpu, in, in->opsize);
  set_reg_v(cpu, in->reg, in->opsize, imul_v(cpu, in->opsize, src, in->imm));
}

HANDLER(IMUL_Gv_Ev_Ibs) { interp_IMUL_Gv_Ev_Iv(cpu, in); }

HANDLER(CBW) {
  if (in->opsize == 4)
    cpu->gpr[EAX] = (uint32_t)(int16_t)cpu->gpr[EAX];
  else
    set_reg16(cpu, EAX, (uint16_t)(int8_t)cpu->gpr[EAX]);
}

HANDLER(CWD) {
  if (in->opsize == 4)
    cpu->gpr[EDX] = cpu->gpr[EAX] >> 31 ? 0xffffffffu : 0;
  else
    set_reg16(cpu, EDX, cpu->gpr[EAX] & 0x8000 ? 0xffff : 0);
}

HANDLER(XLAT) {
  uint32_t ea = (cpu->gpr[EBX] + reg8(cpu, EAX)) & address_mask(in);
  set_reg8(cpu, EAX, (uint8_t)vmem_read(cpu, in->seg, ea, 1));
}

HANDLER(SALC) {
  (void)in;
  set_reg8(cpu, EAX, cpu->eflags & FL_CF ? 0xff : 0);
}
