/* SPDX-License-Identifier: MIT */
/*
 * Host code emitter: x86-64 instruction encodings (SDM vol. 2, ch. 2) appended to a buffer. Knows
 * registers and addressing forms, nothing about guests.
 */
#ifndef TRANSLATE_EMIT_H
#define TRANSLATE_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum host_reg { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, NOREG = -1 };

/* A memory operand: [base + index << scale + disp], or, of a window, gs:[the same in 32 bits]. */
struct host_mem {
  int8_t base; /* NOREG = none; only of a window */
  int8_t index; /* NOREG = none; never RSP */
  uint8_t scale;
  int32_t disp;
  bool window;
};

struct emitter {
  uint8_t *p; /* next byte (writable alias) */
  uint8_t *end; /* soft limit; what lies beyond is slack for one instruction */
};

static inline struct host_mem hm_base(int base, int32_t disp) {
  return (struct host_mem){(int8_t)base, NOREG, 0, disp, false};
}
static inline struct host_mem hm_index(int base, int index, int scale, int32_t disp) {
  return (struct host_mem){(int8_t)base, (int8_t)index, (uint8_t)scale, disp, false};
}

static inline void e8(struct emitter *e, unsigned b) { *e->p++ = (uint8_t)b; }
static inline void e16(struct emitter *e, unsigned v) {
  uint16_t w = (uint16_t)v;
  memcpy(e->p, &w, 2);
  e->p += 2;
}
static inline void e32(struct emitter *e, uint32_t v) {
  memcpy(e->p, &v, 4);
  e->p += 4;
}
static inline void e64(struct emitter *e, uint64_t v) {
  memcpy(e->p, &v, 8);
  e->p += 8;
}

/* Opcode escape maps, as in struct insn. */
enum { OM_1, OM_0F, OM_0F38, OM_0F3A };
/* Flags for emit_op_*: */
#define EO_66 0x01u
#define EO_F2 0x02u
#define EO_F3 0x04u
#define EO_W 0x08u /* REX.W */
#define EO_LOCK 0x10u
#define EO_BYTEREX 0x20u /* force a REX prefix */

/* opcode + ModRM with a register or memory operand; `reg` is a host register or an opcode extension. */
void emit_op_rr(struct emitter *e, unsigned flags, int map, int opcode, int reg, int rm);
void emit_op_rm(struct emitter *e, unsigned flags, int map, int opcode, int reg, struct host_mem mem);

/* 32-bit moves between registers and memory (zero-extending), and the same for 64 bits. */
void emit_mov_rr(struct emitter *e, int dst, int src);
void emit_mov_rr64(struct emitter *e, int dst, int src);
void emit_load(struct emitter *e, int dst, struct host_mem mem);
void emit_load64(struct emitter *e, int dst, struct host_mem mem);
void emit_store(struct emitter *e, struct host_mem mem, int src);
void emit_store64(struct emitter *e, struct host_mem mem, int src);
void emit_store_imm(struct emitter *e, struct host_mem mem, uint32_t imm); /* 32-bit store */
void emit_store_imm16(struct emitter *e, struct host_mem mem, unsigned imm);
void emit_mov_imm(struct emitter *e, int dst, uint32_t imm); /* mov r32, imm32: leaves flags alone */
void emit_mov_imm64(struct emitter *e, int dst, uint64_t imm);
void emit_lea(struct emitter *e, int dst, struct host_mem mem); /* 32-bit result */
void emit_lea64(struct emitter *e, int dst, struct host_mem mem);
void emit_shrx(struct emitter *e, int dst, int src, int count, bool w); /* BMI2: no flags */
void emit_rorx(struct emitter *e, int dst, int src, int count); /* 32-bit, BMI2: no flags */
void emit_push64(struct emitter *e, int reg);
void emit_pop64(struct emitter *e, int reg);
void emit_movzx16(struct emitter *e, int dst, int src);
void emit_movzx8(struct emitter *e, int dst, int src);

/* Branches. emit_jmp32/jcc32 return the address of the rel32 field for emit_patch32. */
uint8_t *emit_jmp32(struct emitter *e);
uint8_t *emit_jcc32(struct emitter *e, int cc);
uint8_t *emit_jrcxz(struct emitter *e); /* returns the rel8 field */
uint8_t *emit_jmp8(struct emitter *e);
uint8_t *emit_jcc8(struct emitter *e, int cc);
void emit_patch32(uint8_t *field, const uint8_t *target);
bool emit_patch8(uint8_t *field, const uint8_t *target); /* false if out of range */
void emit_jmp_to(struct emitter *e, const uint8_t *target);
void emit_call_to(struct emitter *e, const uint8_t *target);
void emit_jmp_mem(struct emitter *e, struct host_mem mem);

#endif
