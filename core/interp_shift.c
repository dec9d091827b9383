/* SPDX-License-Identifier: MIT */
/*
 * Interpreter: shifts and rotates (SDM vol. 2: RCL/RCR/ROL/ROR, SAL/SAR/SHL/SHR, SHLD, SHRD), on the host's own
 * instructions. Counts are masked to 5 bits by the host itself; a count of 0 still needs a writable operand.
 */
#include "core/interp.h"

#define SHIFT_SIZED(name, op, suffix, bits) \
  static inline uint32_t name##bits(struct cpu *cpu, uint32_t dst, uint8_t count) { \
    uint32_t f = flags_to_host(cpu->eflags); \
    uint##bits##_t a = (uint##bits##_t)dst; \
    __asm__(HOST_FLAGS(op suffix " %%cl, %[a]") : [a] "+q"(a), "+&a"(f) : "c"(count) : "cc"); \
    flags_from_host(cpu, f); \
    return a; \
  }

#define DOUBLE_SIZED(name, op, suffix, bits) \
  static inline uint32_t name##bits(struct cpu *cpu, uint32_t dst, uint32_t src, uint8_t count) { \
    uint32_t f = flags_to_host(cpu->eflags); \
    uint##bits##_t a = (uint##bits##_t)dst, b = (uint##bits##_t)src; \
    __asm__(HOST_FLAGS(op suffix " %%cl, %[b], %[a]") \
            : [a] "+r"(a), "+&a"(f) \
            : "c"(count), [b] "r"(b) \
            : "cc"); \
    flags_from_host(cpu, f); \
    return a; \
  }

#define HANDLER(id) void interp_##id(struct cpu *cpu, const struct insn *in)

/* One operation, its sizes and its encodings; `alias` distinguishes SHL /6. */
#define SHIFT(ID, name, op, alias) \
  SHIFT_SIZED(name, op, "b", 8) \
  SHIFT_SIZED(name, op, "w", 16) \
  SHIFT_SIZED(name, op, "l", 32) \
  static void name##_eb(struct cpu *cpu, const struct insn *in, uint8_t count) { \
    uint32_t la = 0, dst = modify_e(cpu, in, 1, &la); \
    modify_e_done(cpu, in, 1, la, name##8(cpu, dst, count)); \
  } \
  static void name##_ev(struct cpu *cpu, const struct insn *in, uint8_t count) { \
    uint32_t la = 0, dst = modify_e(cpu, in, in->opsize, &la); \
    modify_e_done(cpu, in, in->opsize, la, \
                  in->opsize == 4 ? name##32(cpu, dst, count) : name##16(cpu, dst, count)); \
  } \
  HANDLER(ID##_Eb_Ib##alias) { name##_eb(cpu, in, (uint8_t)in->imm); } \
  HANDLER(ID##_Ev_Ib##alias) { name##_ev(cpu, in, (uint8_t)in->imm); } \
  HANDLER(ID##_Eb_1##alias) { name##_eb(cpu, in, 1); } \
  HANDLER(ID##_Ev_1##alias) { name##_ev(cpu, in, 1); } \
  HANDLER(ID##_Eb_CL##alias) { name##_eb(cpu, in, reg8(cpu, ECX)); } \
  HANDLER(ID##_Ev_CL##alias) { name##_ev(cpu, in, reg8(cpu, ECX)); }

SHIFT(ROL, rol, "rol", )
SHIFT(ROR, ror, "ror", )
SHIFT(RCL, rcl, "rcl", )
SHIFT(RCR, rcr, "rcr", )
SHIFT(SHL, shl, "shl", )
SHIFT(SHR, shr, "shr", )
SHIFT(SHL, sal, "shl", _6)
SHIFT(SAR, sar, "sar", )

#define DOUBLE(ID, name, op) \
  DOUBLE_SIZED(name, op, "w", 16) \
  DOUBLE_SIZED(name, op, "l", 32) \
  static void name##_ev(struct cpu *cpu, const struct insn *in, uint8_t count) { \
    uint32_t la = 0, dst = modify_e(cpu, in, in->opsize, &la), src = cpu->gpr[in->reg]; \
    modify_e_done(cpu, in, in->opsize, la, \
                  in->opsize == 4 ? name##32(cpu, dst, src, count) : name##16(cpu, dst, src, count)); \
  } \
  HANDLER(ID##_Ev_Gv_Ib) { name##_ev(cpu, in, (uint8_t)in->imm); } \
  HANDLER(ID##_Ev_Gv_CL) { name##_ev(cpu, in, reg8(cpu, ECX)); }

DOUBLE(SHLD, shld, "shld")
DOUBLE(SHRD, shrd, "shrd")
