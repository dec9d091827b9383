/* SPDX-License-Identifier: MIT */
/* What the mutations have in common: a disassembled block, and what its instructions are for, by their look.
 */
#ifndef TESTS_UNIT_VERIFY_MUTANT_H
#define TESTS_UNIT_VERIFY_MUTANT_H

#include <capstone/capstone.h>

#include "verify_rig.h"

#define CLC 0xf8 /* fills what a shorter instruction leaves */
#define TABLE_BYTES (TLB_ENTRIES * 8u)

struct mutant {
  struct jit *j;
  struct block *b;
  struct dice *d;
  cs_insn *insn;
  size_t count, k; /* the one to change */
  uint8_t *code;   /* of the block, writable */
};

static inline uint8_t *bytes_of(struct mutant *m, size_t k) {
  return m->code + (m->insn[k].address - m->insn[0].address);
}
static inline uint8_t *here(struct mutant *m) { return bytes_of(m, m->k); }
static inline const cs_insn *insn_at(const struct mutant *m, ptrdiff_t k) {
  return k >= 0 && k < (ptrdiff_t)m->count ? &m->insn[k] : NULL;
}
static inline const cs_x86 *x86_at(const struct mutant *m, ptrdiff_t k) { return &m->insn[k].detail->x86; }
static inline bool is(const struct mutant *m, ptrdiff_t k, unsigned id) {
  return insn_at(m, k) && m->insn[k].id == id;
}
static inline bool reg_is(const struct mutant *m, ptrdiff_t k, int op, x86_reg reg) {
  const cs_x86 *x = x86_at(m, k);
  return x->op_count > op && x->operands[op].type == X86_OP_REG && x->operands[op].reg == reg;
}
static inline const cs_x86_op *memory(const struct mutant *m, ptrdiff_t k) {
  const cs_x86 *x = x86_at(m, k);
  for (int i = 0; i < x->op_count; i++)
    if (x->operands[i].type == X86_OP_MEM)
      return &x->operands[i];
  return NULL;
}
static inline uint8_t *modrm(struct mutant *m) {
  return here(m) + x86_at(m, (ptrdiff_t)m->k)->encoding.modrm_offset;
}
static inline uint8_t *sib(struct mutant *m) { return modrm(m) + 1; }
static inline bool has_sib(struct mutant *m) { return (*modrm(m) & 7) == 4 && *modrm(m) < 0xc0; }
static inline unsigned rex(struct mutant *m) { return x86_at(m, (ptrdiff_t)m->k)->rex; }
static inline uint8_t *rex_byte(struct mutant *m) { /* NULL: there is none */
  uint8_t *p = here(m);
  while (*p == 0x66 || *p == 0xf0 || *p == 0xf2 || *p == 0xf3 || *p == 0x65 || *p == 0x67)
    p++;
  return (*p & 0xf0) == 0x40 ? p : NULL;
}
static inline void set_low3(uint8_t *p, unsigned shift, unsigned value) {
  *p = (uint8_t)((*p & ~(7u << shift)) | value << shift);
}
static inline void put32_at(uint8_t *p, uint32_t value) { memcpy(p, &value, 4); }
static inline uint32_t get32_at(const uint8_t *p) {
  uint32_t value;
  memcpy(&value, p, 4);
  return value;
}
static inline uint8_t *disp_at(struct mutant *m, unsigned size) { /* NULL: not that wide */
  if (!x86_at(m, (ptrdiff_t)m->k)->encoding.modrm_offset)
    return NULL;
  unsigned mod = *modrm(m) >> 6;
  return mod == (size == 1 ? 1 : 2) ? modrm(m) + 1 + has_sib(m) : NULL;
}

static inline uint32_t disp_of(struct mutant *m) { return get32_at(disp_at(m, 4)); }

/* --- what an instruction is for --- */

static inline bool tlb_load(const struct mutant *m, ptrdiff_t k) {
  const cs_x86_op *op;
  return is(m, k, X86_INS_MOV) && reg_is(m, k, 0, X86_REG_RCX) && (op = memory(m, k)) &&
         op->mem.base == X86_REG_R14 && op->mem.index == X86_REG_RCX;
}
static inline bool tlb_access(const struct mutant *m, ptrdiff_t k) {
  const cs_x86_op *op = memory(m, k);
  return op && !is(m, k, X86_INS_LEA) && op->mem.index == X86_REG_RCX && op->mem.base != X86_REG_R14 &&
         op->mem.segment == X86_REG_INVALID;
}
static inline bool window_access(const struct mutant *m, ptrdiff_t k) {
  const cs_x86_op *op = memory(m, k);
  return op && op->mem.segment == X86_REG_GS;
}
/* Of the probe before instruction k. */
static inline int table_before(const struct mutant *m, ptrdiff_t k) {
  while (k >= 0 && !tlb_load(m, k))
    k--;
  return k < 0 ? -1 : (int)(((uint64_t)memory(m, k)->mem.disp - offsetof(struct cpu, tlb)) / TABLE_BYTES);
}
static inline bool slot(const struct mutant *m, ptrdiff_t k, bool membuf) {
  const cs_x86_op *op = memory(m, k);
  if (!op || is(m, k, X86_INS_LEA) || op->mem.base != X86_REG_R14 || op->mem.index != X86_REG_INVALID)
    return false;
  bool inside = op->mem.disp >= (int64_t)offsetof(struct cpu, membuf) &&
                op->mem.disp < (int64_t)offsetof(struct cpu, membuf) + 64;
  return inside == membuf;
}
static inline bool plain_integer(unsigned id) {
  switch (id) {
  case X86_INS_MOV:
  case X86_INS_ADD:
  case X86_INS_OR:
  case X86_INS_ADC:
  case X86_INS_SBB:
  case X86_INS_AND:
  case X86_INS_SUB:
  case X86_INS_XOR:
  case X86_INS_CMP:
  case X86_INS_TEST:
  case X86_INS_INC:
  case X86_INS_DEC:
  case X86_INS_NOT:
  case X86_INS_NEG:
  case X86_INS_MUL:
  case X86_INS_IMUL:
  case X86_INS_DIV:
  case X86_INS_IDIV:
  case X86_INS_XCHG:
  case X86_INS_XADD:
  case X86_INS_CMPXCHG:
  case X86_INS_SHL:
  case X86_INS_SHR:
  case X86_INS_SAR:
  case X86_INS_ROL:
  case X86_INS_ROR:
  case X86_INS_SHLD:
  case X86_INS_SHRD: return true;
  default: return false;
  }
}
static inline bool rep_string(const struct mutant *m, ptrdiff_t k) {
  return insn_at(m, k) && m->insn[k].bytes[0] == 0xf3 && m->insn[k].detail->x86.opcode[0] >= 0xa4 &&
         m->insn[k].detail->x86.opcode[0] <= 0xab && m->insn[k].detail->x86.opcode[1] == 0;
}
static inline ptrdiff_t rel_field(const struct mutant *m, ptrdiff_t k) { /* offset of a rel32, 0 = none */
  const uint8_t *p = m->insn[k].bytes;
  return p[0] == 0xe9 || p[0] == 0xe8 ? 1 : p[0] == 0x0f && (p[1] & 0xf0) == 0x80 ? 2 : 0;
}
static inline uint64_t target_of(const struct mutant *m, ptrdiff_t k) {
  return (uint64_t)m->insn[k].detail->x86.operands[0].imm;
}
static inline void aim(struct mutant *m, const uint8_t *rw_target) {
  emit_patch32(here(m) + rel_field(m, (ptrdiff_t)m->k), rw_target);
}
static inline const uint8_t *block_end(const struct mutant *m) { return m->code + m->b->host_size; }
static inline bool inside(const struct mutant *m, uint64_t target) {
  return target >= m->insn[0].address && target < m->insn[0].address + m->b->host_size;
}
static inline const cs_insn *insn_of_target(const struct mutant *m, uint64_t target) {
  for (size_t i = 0; i < m->count; i++)
    if (m->insn[i].address == target)
      return &m->insn[i];
  return NULL;
}
static inline bool goes_to(struct mutant *m, ptrdiff_t k, const uint8_t *stub) {
  return insn_at(m, k) && rel_field(m, k) && target_of(m, k) == (uintptr_t)jit_to_rx(m->j, stub);
}
static inline void fill(struct mutant *m, const void *code, size_t size) {
  memset(here(m), CLC, m->insn[m->k].size);
  memcpy(here(m), code, size);
}

/* One kind of mutation: changes the bytes of instruction m->k and returns true, or does not fit there. */
struct operator{
  const char *name;
  bool (*apply)(struct mutant * m);
};
extern const struct operator memory_operators[], flow_operators[]; /* up to one without a name */

#endif
