/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: integer arithmetic and logic (ADD ... CMP, TEST, INC, DEC, NOT, NEG, XADD, CMPXCHG), SDM vol. 2.
 *
 * Each operation runs as the host's own instruction (see HOST_FLAGS in interp.h). The generators at the end
 * expand one operation into the handlers of all its encodings.
 */
#include "core/interp.h"

#define inline_always static inline __attribute__((always_inline))

/* op8/op16/op32(cpu, destination, source) -> result; sets the flags in cpu. */
#define BINARY_SIZED(name, op, suffix, bits) \
  inline_always uint32_t name##bits(struct cpu *cpu, uint32_t dst, uint32_t src) { \
    uint32_t f = flags_to_host(cpu->eflags); \
    uint##bits##_t a = (uint##bits##_t)dst, b = (uint##bits##_t)src; \
    __asm__(HOST_FLAGS(op suffix " %[b], %[a]") : [a] "+q"(a), "+&a"(f) : [b] "q"(b) : "cc"); \
    flags_from_host(cpu, f); \
    return a; \
  }
#define BINARY(name, op) \
  BINARY_SIZED(name, op, "b", 8) \
  BINARY_SIZED(name, op, "w", 16) \
  BINARY_SIZED(name, op, "l", 32)

#define UNARY_SIZED(name, op, suffix, bits) \
  inline_always uint32_t name##bits(struct cpu *cpu, uint32_t dst) { \
    uint32_t f = flags_to_host(cpu->eflags); \
    uint##bits##_t a = (uint##bits##_t)dst; \
    __asm__(HOST_FLAGS(op suffix " %[a]") : [a] "+q"(a), "+&a"(f) : : "cc"); \
    flags_from_host(cpu, f); \
    return a; \
  }
#define UNARY(name, op) \
  UNARY_SIZED(name, op, "b", 8) \
  UNARY_SIZED(name, op, "w", 16) \
  UNARY_SIZED(name, op, "l", 32)

BINARY(add, "add")
BINARY(or, "or")
BINARY(adc, "adc")
BINARY(sbb, "sbb")
BINARY(and, "and")
BINARY(sub, "sub")
BINARY(xor, "xor")
BINARY(cmp, "cmp")
BINARY(test, "test")
UNARY(inc, "inc")
UNARY(dec, "dec")
UNARY(not, "not")
UNARY(neg, "neg")

typedef uint32_t binary_fn(struct cpu *cpu, uint32_t dst, uint32_t src);
typedef uint32_t unary_fn(struct cpu *cpu, uint32_t dst);

inline_always uint32_t binary_v(struct cpu *cpu, int size, uint32_t dst, uint32_t src, binary_fn *op16,
                                binary_fn *op32) {
  return size == 4 ? op32(cpu, dst, src) : op16(cpu, dst, src);
}

inline_always void binary_eb(struct cpu *cpu, const struct insn *in, uint32_t src, binary_fn *op8, bool store) {
  if (!store) {
    op8(cpu, read_e(cpu, in, 1), src);
    return;
  }
  uint32_t la = 0, dst = modify_e(cpu, in, 1, &la);
  modify_e_done(cpu, in, 1, la, op8(cpu, dst, src));
}

inline_always void binary_ev(struct cpu *cpu, const struct insn *in, uint32_t src, binary_fn *op16, binary_fn *op32,
                             bool store) {
  if (!store) {
    binary_v(cpu, in->opsize, read_e(cpu, in, in->opsize), src, op16, op32);
    return;
  }
  uint32_t la = 0, dst = modify_e(cpu, in, in->opsize, &la);
  modify_e_done(cpu, in, in->opsize, la, binary_v(cpu, in->opsize, dst, src, op16, op32));
}

inline_always void binary_rb(struct cpu *cpu, unsigned r, uint32_t src, binary_fn *op8, bool store) {
  uint32_t v = op8(cpu, reg8(cpu, r), src);
  if (store)
    set_reg8(cpu, r, (uint8_t)v);
}

inline_always void binary_rv(struct cpu *cpu, unsigned r, int size, uint32_t src, binary_fn *op16, binary_fn *op32,
                             bool store) {
  uint32_t v = binary_v(cpu, size, reg_v(cpu, r, size), src, op16, op32);
  if (store)
    set_reg_v(cpu, r, size, v);
}

inline_always void unary_eb(struct cpu *cpu, const struct insn *in, unary_fn *op8) {
  uint32_t la = 0, dst = modify_e(cpu, in, 1, &la);
  modify_e_done(cpu, in, 1, la, op8(cpu, dst));
}

inline_always void unary_ev(struct cpu *cpu, const struct insn *in, unary_fn *op16, unary_fn *op32) {
  uint32_t la = 0, dst = modify_e(cpu, in, in->opsize, &la);
  modify_e_done(cpu, in, in->opsize, la, in->opsize == 4 ? op32(cpu, dst) : op16(cpu, dst));
}

#define HANDLER(id) void interp_##id(struct cpu *cpu, const struct insn *in)

/* The encodings that TEST shares with the eight of 00-3F. */
#define HANDLERS_EG_AI_EI(ID, op, store) \
  HANDLER(ID##_Eb_Gb) { binary_eb(cpu, in, reg8(cpu, in->reg), op##8, store); } \
  HANDLER(ID##_Ev_Gv) { binary_ev(cpu, in, cpu->gpr[in->reg], op##16, op##32, store); } \
  HANDLER(ID##_AL_Ib) { binary_rb(cpu, EAX, in->imm, op##8, store); } \
  HANDLER(ID##_eAX_Iv) { binary_rv(cpu, EAX, in->opsize, in->imm, op##16, op##32, store); } \
  HANDLER(ID##_Eb_Ib) { binary_eb(cpu, in, in->imm, op##8, store); } \
  HANDLER(ID##_Ev_Iv) { binary_ev(cpu, in, in->imm, op##16, op##32, store); }

#define HANDLERS_ALU(ID, op, store) \
  HANDLERS_EG_AI_EI(ID, op, store) \
  HANDLER(ID##_Gb_Eb) { binary_rb(cpu, in->reg, read_e(cpu, in, 1), op##8, store); } \
  HANDLER(ID##_Gv_Ev) { \
    binary_rv(cpu, in->reg, in->opsize, read_e(cpu, in, in->opsize), op##16, op##32, store); \
  } \
  HANDLER(ID##_Eb_Ib_82) { binary_eb(cpu, in, in->imm, op##8, store); } \
  HANDLER(ID##_Ev_Ibs) { binary_ev(cpu, in, in->imm, op##16, op##32, store); }

HANDLERS_ALU(ADD, add, true)
HANDLERS_ALU(OR, or, true)
HANDLERS_ALU(ADC, adc, true)
HANDLERS_ALU(SBB, sbb, true)
HANDLERS_ALU(AND, and, true)
HANDLERS_ALU(SUB, sub, true)
HANDLERS_ALU(XOR, xor, true)
HANDLERS_ALU(CMP, cmp, false)
HANDLERS_EG_AI_EI(TEST, test, false)
HANDLER(TEST_Eb_Ib_1) { interp_TEST_Eb_Ib(cpu, in); }
HANDLER(TEST_Ev_Iv_1) { interp_TEST_Ev_Iv(cpu, in); }

#define HANDLERS_UNARY(ID, op) \
  HANDLER(ID##_Eb) { unary_eb(cpu, in, op##8); } \
  HANDLER(ID##_Ev) { unary_ev(cpu, in, op##16, op##32); }

HANDLERS_UNARY(INC, inc)
HANDLERS_UNARY(DEC, dec)
HANDLERS_UNARY(NOT, not)
HANDLERS_UNARY(NEG, neg)

HANDLER(INC_Zv) {
  uint32_t v = reg_v(cpu, in->rm, in->opsize);
  set_reg_v(cpu, in->rm, in->opsize, in->opsize == 4 ? inc32(cpu, v) : inc16(cpu, v));
}

HANDLER(DEC_Zv) {
  uint32_t v = reg_v(cpu, in->rm, in->opsize);
  set_reg_v(cpu, in->rm, in->opsize, in->opsize == 4 ? dec32(cpu, v) : dec16(cpu, v));
}

HANDLER(XADD_Eb_Gb) {
  uint32_t la = 0, dst = modify_e(cpu, in, 1, &la);
  uint32_t sum = add8(cpu, dst, reg8(cpu, in->reg));
  set_reg8(cpu, in->reg, (uint8_t)dst);
  modify_e_done(cpu, in, 1, la, sum); /* last: XADD r,r with one register leaves the sum */
}

HANDLER(XADD_Ev_Gv) {
  uint32_t la = 0, dst = modify_e(cpu, in, in->opsize, &la);
  uint32_t sum = binary_v(cpu, in->opsize, dst, cpu->gpr[in->reg], add16, add32);
  set_reg_v(cpu, in->reg, in->opsize, dst);
  modify_e_done(cpu, in, in->opsize, la, sum);
}

/* CMPXCHG writes its destination either way, so that a read-only page faults either way. */
HANDLER(CMPXCHG_Eb_Gb) {
  uint32_t la = 0, dst = modify_e(cpu, in, 1, &la);
  uint8_t src = reg8(cpu, in->reg);
  cmp8(cpu, reg8(cpu, EAX), dst);
  if (cpu->eflags & FL_ZF) {
    modify_e_done(cpu, in, 1, la, src);
  } else {
    modify_e_done(cpu, in, 1, la, dst);
    set_reg8(cpu, EAX, (uint8_t)dst);
  }
}

HANDLER(CMPXCHG_Ev_Gv) {
  int size = in->opsize;
  uint32_t la = 0, dst = modify_e(cpu, in, size, &la);
  uint32_t src = reg_v(cpu, in->reg, size);
  binary_v(cpu, size, reg_v(cpu, EAX, size), dst, cmp16, cmp32);
  if (cpu->eflags & FL_ZF) {
    modify_e_done(cpu, in, size, la, src);
  } else {
    modify_e_done(cpu, in, size, la, dst);
    set_reg_v(cpu, EAX, size, dst);
  }
}

HANDLER(CMPXCHG8B_Mq) {
  uint32_t la = rmw_begin(cpu, in->seg, insn_ea(cpu, in), 8);
  uint64_t old = rmw_read(cpu, la, 8);
  bool equal = old == ((uint64_t)cpu->gpr[EDX] << 32 | cpu->gpr[EAX]);
  rmw_write(cpu, la, 8, equal ? (uint64_t)cpu->gpr[ECX] << 32 | cpu->gpr[EBX] : old);
  if (!equal) {
    cpu->gpr[EAX] = (uint32_t)old;
    cpu->gpr[EDX] = (uint32_t)(old >> 32);
  }
  set_flag(cpu, FL_ZF, equal);
}
