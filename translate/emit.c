/* SPDX-License-Identifier: MIT */
/* x86-64 encodings; see emit.h. Each function's comment is the assembly that it emits. */
#include "translate/emit.h"

#include "core/log.h"

static void prefixes(struct emitter *e, unsigned flags, unsigned rex, int map, int opcode) {
  if (flags & EO_LOCK)
    e8(e, 0xf0);
  if (flags & EO_66)
    e8(e, 0x66);
  if (flags & EO_F2)
    e8(e, 0xf2);
  if (flags & EO_F3)
    e8(e, 0xf3);
  if (flags & EO_W)
    rex |= 8;
  if (rex || (flags & EO_BYTEREX))
    e8(e, 0x40 | rex);
  if (map != OM_1)
    e8(e, 0x0f);
  if (map == OM_0F38)
    e8(e, 0x38);
  if (map == OM_0F3A)
    e8(e, 0x3a);
  e8(e, (unsigned)opcode);
}

void emit_op_rr(struct emitter *e, unsigned flags, int map, int opcode, int reg, int rm) {
  unsigned rex = (reg & 8 ? 4u : 0u) | (rm & 8 ? 1u : 0u);
  prefixes(e, flags, rex, map, opcode);
  e8(e, 0xc0u | (unsigned)(reg & 7) << 3 | (unsigned)(rm & 7));
}

static void modrm_mem(struct emitter *e, int reg, struct host_mem mem) {
  unsigned mod;
  if (mem.base == NOREG) { /* [disp32] or [index << scale + disp32] (SDM vol. 2, table 2-3) */
    e8(e, (unsigned)(reg & 7) << 3 | 4);
    e8(e, (unsigned)mem.scale << 6 | (mem.index == NOREG ? 4u : (unsigned)(mem.index & 7)) << 3 | 5);
    e32(e, (uint32_t)mem.disp);
    return;
  }
  if (mem.disp == 0 && (mem.base & 7) != 5)
    mod = 0;
  else if (mem.disp >= -128 && mem.disp <= 127)
    mod = 1;
  else
    mod = 2;
  unsigned r = (unsigned)(reg & 7) << 3;
  if (mem.index == NOREG && (mem.base & 7) != 4) {
    e8(e, mod << 6 | r | (unsigned)(mem.base & 7));
  } else {
    unsigned index = mem.index == NOREG ? 4u : (unsigned)(mem.index & 7);
    e8(e, mod << 6 | r | 4);
    e8(e, (unsigned)mem.scale << 6 | index << 3 | (unsigned)(mem.base & 7));
  }
  if (mod == 1)
    e8(e, (unsigned)mem.disp);
  else if (mod == 2)
    e32(e, (uint32_t)mem.disp);
}

void emit_op_rm(struct emitter *e, unsigned flags, int map, int opcode, int reg, struct host_mem mem) {
  DGM_ASSERT((mem.base != NOREG || mem.window) && mem.index != RSP);
  unsigned rex = (reg & 8 ? 4u : 0u) | (mem.index != NOREG && (mem.index & 8) ? 2u : 0u) |
                 (mem.base != NOREG && (mem.base & 8) ? 1u : 0u);
  if (mem.window)
    e8(e, 0x65), e8(e, 0x67);
  prefixes(e, flags, rex, map, opcode);
  modrm_mem(e, reg, mem);
}

/* mov dst32, src32 */
void emit_mov_rr(struct emitter *e, int dst, int src) { emit_op_rr(e, 0, OM_1, 0x8b, dst, src); }
/* mov dst64, src64 */
void emit_mov_rr64(struct emitter *e, int dst, int src) { emit_op_rr(e, EO_W, OM_1, 0x8b, dst, src); }
/* mov dst32, [mem] */
void emit_load(struct emitter *e, int dst, struct host_mem mem) { emit_op_rm(e, 0, OM_1, 0x8b, dst, mem); }
void emit_load64(struct emitter *e, int dst, struct host_mem mem) { emit_op_rm(e, EO_W, OM_1, 0x8b, dst, mem); }
/* mov [mem], src32 */
void emit_store(struct emitter *e, struct host_mem mem, int src) { emit_op_rm(e, 0, OM_1, 0x89, src, mem); }
void emit_store64(struct emitter *e, struct host_mem mem, int src) { emit_op_rm(e, EO_W, OM_1, 0x89, src, mem); }

/* mov dword [mem], imm32 */
void emit_store_imm(struct emitter *e, struct host_mem mem, uint32_t imm) {
  emit_op_rm(e, 0, OM_1, 0xc7, 0, mem);
  e32(e, imm);
}

/* mov word [mem], imm16 */
void emit_store_imm16(struct emitter *e, struct host_mem mem, unsigned imm) {
  emit_op_rm(e, EO_66, OM_1, 0xc7, 0, mem);
  e16(e, imm);
}

/* mov dst32, imm32 */
void emit_mov_imm(struct emitter *e, int dst, uint32_t imm) {
  if (dst & 8)
    e8(e, 0x41);
  e8(e, 0xb8u | (unsigned)(dst & 7));
  e32(e, imm);
}

/* mov dst64, imm64 */
void emit_mov_imm64(struct emitter *e, int dst, uint64_t imm) {
  e8(e, dst & 8 ? 0x49 : 0x48);
  e8(e, 0xb8u | (unsigned)(dst & 7));
  e64(e, imm);
}

void emit_lea(struct emitter *e, int dst, struct host_mem mem) { emit_op_rm(e, 0, OM_1, 0x8d, dst, mem); }
void emit_lea64(struct emitter *e, int dst, struct host_mem mem) { emit_op_rm(e, EO_W, OM_1, 0x8d, dst, mem); }

/* VEX.LZ three-byte form (SDM vol. 2, 2.3.5): pp 0 none, 1 66, 2 F3, 3 F2; mmmmm 1 0F, 2 0F38, 3 0F3A */
static void vex(struct emitter *e, int reg, int vvvv, int rm, unsigned pp, unsigned mmmmm, bool w, int opcode) {
  e8(e, 0xc4);
  e8(e, (reg & 8 ? 0u : 0x80u) | 0x40u | (rm & 8 ? 0u : 0x20u) | mmmmm);
  e8(e, (w ? 0x80u : 0u) | (~(unsigned)vvvv & 15u) << 3 | pp);
  e8(e, (unsigned)opcode);
  e8(e, 0xc0u | (unsigned)(reg & 7) << 3 | (unsigned)(rm & 7));
}

/* shrx dst, src, count */
void emit_shrx(struct emitter *e, int dst, int src, int count, bool w) { vex(e, dst, count, src, 3, 2, w, 0xf7); }

/* rorx dst32, src32, count */
void emit_rorx(struct emitter *e, int dst, int src, int count) {
  vex(e, dst, 0, src, 3, 3, false, 0xf0);
  e8(e, (unsigned)count);
}

void emit_push64(struct emitter *e, int reg) {
  if (reg & 8)
    e8(e, 0x41);
  e8(e, 0x50u | (unsigned)(reg & 7));
}

void emit_pop64(struct emitter *e, int reg) {
  if (reg & 8)
    e8(e, 0x41);
  e8(e, 0x58u | (unsigned)(reg & 7));
}

void emit_movzx16(struct emitter *e, int dst, int src) { emit_op_rr(e, 0, OM_0F, 0xb7, dst, src); }
void emit_movzx8(struct emitter *e, int dst, int src) {
  emit_op_rr(e, src >= RSP && src <= RDI ? EO_BYTEREX : 0, OM_0F, 0xb6, dst, src);
}

uint8_t *emit_jmp32(struct emitter *e) {
  e8(e, 0xe9);
  e32(e, 0);
  return e->p - 4;
}
uint8_t *emit_jcc32(struct emitter *e, int cc) {
  e8(e, 0x0f);
  e8(e, 0x80u | (unsigned)cc);
  e32(e, 0);
  return e->p - 4;
}
uint8_t *emit_jrcxz(struct emitter *e) {
  e8(e, 0xe3);
  e8(e, 0);
  return e->p - 1;
}
uint8_t *emit_jmp8(struct emitter *e) {
  e8(e, 0xeb);
  e8(e, 0);
  return e->p - 1;
}
uint8_t *emit_jcc8(struct emitter *e, int cc) {
  e8(e, 0x70u | (unsigned)cc);
  e8(e, 0);
  return e->p - 1;
}

void emit_patch32(uint8_t *field, const uint8_t *target) {
  int32_t rel = (int32_t)(target - (field + 4));
  memcpy(field, &rel, 4);
}

bool emit_patch8(uint8_t *field, const uint8_t *target) {
  ptrdiff_t rel = target - (field + 1);
  if (rel < -128 || rel > 127)
    return false;
  *field = (uint8_t)rel;
  return true;
}

void emit_jmp_to(struct emitter *e, const uint8_t *target) { emit_patch32(emit_jmp32(e), target); }

/* call target */
void emit_call_to(struct emitter *e, const uint8_t *target) {
  e8(e, 0xe8);
  e32(e, 0);
  emit_patch32(e->p - 4, target);
}

/* jmp [mem] */
void emit_jmp_mem(struct emitter *e, struct host_mem mem) { emit_op_rm(e, 0, OM_1, 0xff, 4, mem); }
