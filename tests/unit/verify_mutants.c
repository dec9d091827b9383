/* SPDX-License-Identifier: MIT */
/*
 * Mutations of emitted blocks for the tests of the confinement checker. Each is a bug that a generator could have, at a
 * place where it would let the guest touch memory that is not its own, take over control, spoil a reserved register or
 * run for ever. They find their places by the look of the instructions alone.
 */
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
  uint8_t *code; /* of the block, writable */
};

static uint8_t *bytes_of(struct mutant *m, size_t k) { return m->code + (m->insn[k].address - m->insn[0].address); }
static uint8_t *here(struct mutant *m) { return bytes_of(m, m->k); }
static const cs_insn *insn_at(const struct mutant *m, ptrdiff_t k) {
  return k >= 0 && k < (ptrdiff_t)m->count ? &m->insn[k] : NULL;
}
static const cs_x86 *x86_at(const struct mutant *m, ptrdiff_t k) { return &m->insn[k].detail->x86; }
static bool is(const struct mutant *m, ptrdiff_t k, unsigned id) { return insn_at(m, k) && m->insn[k].id == id; }
static bool reg_is(const struct mutant *m, ptrdiff_t k, int op, x86_reg reg) {
  const cs_x86 *x = x86_at(m, k);
  return x->op_count > op && x->operands[op].type == X86_OP_REG && x->operands[op].reg == reg;
}
static const cs_x86_op *memory(const struct mutant *m, ptrdiff_t k) {
  const cs_x86 *x = x86_at(m, k);
  for (int i = 0; i < x->op_count; i++)
    if (x->operands[i].type == X86_OP_MEM)
      return &x->operands[i];
  return NULL;
}
static uint8_t *modrm(struct mutant *m) { return here(m) + x86_at(m, (ptrdiff_t)m->k)->encoding.modrm_offset; }
static uint8_t *sib(struct mutant *m) { return modrm(m) + 1; }
static bool has_sib(struct mutant *m) { return (*modrm(m) & 7) == 4 && *modrm(m) < 0xc0; }
static unsigned rex(struct mutant *m) { return x86_at(m, (ptrdiff_t)m->k)->rex; }
static uint8_t *rex_byte(struct mutant *m) { /* NULL: there is none */
  uint8_t *p = here(m);
  while (*p == 0x66 || *p == 0xf0 || *p == 0xf2 || *p == 0xf3 || *p == 0x65 || *p == 0x67)
    p++;
  return (*p & 0xf0) == 0x40 ? p : NULL;
}
static void set_low3(uint8_t *p, unsigned shift, unsigned value) {
  *p = (uint8_t)((*p & ~(7u << shift)) | value << shift);
}
static void put32_at(uint8_t *p, uint32_t value) { memcpy(p, &value, 4); }
static uint32_t get32_at(const uint8_t *p) {
  uint32_t value;
  memcpy(&value, p, 4);
  return value;
}
static uint8_t *disp_at(struct mutant *m, unsigned size) { /* NULL: not that wide */
  if (!x86_at(m, (ptrdiff_t)m->k)->encoding.modrm_offset)
    return NULL;
  unsigned mod = *modrm(m) >> 6;
  return mod == (size == 1 ? 1 : 2) ? modrm(m) + 1 + has_sib(m) : NULL;
}

static uint32_t disp_of(struct mutant *m) { return get32_at(disp_at(m, 4)); }

/* --- what an instruction is for --- */

static bool tlb_load(const struct mutant *m, ptrdiff_t k) {
  const cs_x86_op *op;
  return is(m, k, X86_INS_MOV) && reg_is(m, k, 0, X86_REG_RCX) && (op = memory(m, k)) &&
         op->mem.base == X86_REG_R14 && op->mem.index == X86_REG_RCX;
}
static bool tlb_access(const struct mutant *m, ptrdiff_t k) {
  const cs_x86_op *op = memory(m, k);
  return op && !is(m, k, X86_INS_LEA) && op->mem.index == X86_REG_RCX && op->mem.base != X86_REG_R14 &&
         op->mem.segment == X86_REG_INVALID;
}
static bool window_access(const struct mutant *m, ptrdiff_t k) {
  const cs_x86_op *op = memory(m, k);
  return op && op->mem.segment == X86_REG_GS;
}
/* Of the probe before instruction k. */
static int table_before(const struct mutant *m, ptrdiff_t k) {
  while (k >= 0 && !tlb_load(m, k))
    k--;
  return k < 0 ? -1 : (int)(((uint64_t)memory(m, k)->mem.disp - offsetof(struct cpu, tlb)) / TABLE_BYTES);
}
static bool slot(const struct mutant *m, ptrdiff_t k, bool membuf) {
  const cs_x86_op *op = memory(m, k);
  if (!op || is(m, k, X86_INS_LEA) || op->mem.base != X86_REG_R14 || op->mem.index != X86_REG_INVALID)
    return false;
  bool inside = op->mem.disp >= (int64_t)offsetof(struct cpu, membuf) &&
                op->mem.disp < (int64_t)offsetof(struct cpu, membuf) + 64;
  return inside == membuf;
}
static bool plain_integer(unsigned id) {
  switch (id) {
  case X86_INS_MOV: case X86_INS_ADD: case X86_INS_OR: case X86_INS_ADC: case X86_INS_SBB: case X86_INS_AND:
  case X86_INS_SUB: case X86_INS_XOR: case X86_INS_CMP: case X86_INS_TEST: case X86_INS_INC: case X86_INS_DEC:
  case X86_INS_NOT: case X86_INS_NEG: case X86_INS_MUL: case X86_INS_IMUL: case X86_INS_DIV: case X86_INS_IDIV:
  case X86_INS_XCHG: case X86_INS_XADD: case X86_INS_CMPXCHG: case X86_INS_SHL: case X86_INS_SHR: case X86_INS_SAR:
  case X86_INS_ROL: case X86_INS_ROR: case X86_INS_SHLD: case X86_INS_SHRD: return true;
  default: return false;
  }
}
static bool rep_string(const struct mutant *m, ptrdiff_t k) {
  return insn_at(m, k) && m->insn[k].bytes[0] == 0xf3 && m->insn[k].detail->x86.opcode[0] >= 0xa4 &&
         m->insn[k].detail->x86.opcode[0] <= 0xab && m->insn[k].detail->x86.opcode[1] == 0;
}
static ptrdiff_t rel_field(const struct mutant *m, ptrdiff_t k) { /* offset of a rel32, 0 = none */
  const uint8_t *p = m->insn[k].bytes;
  return p[0] == 0xe9 || p[0] == 0xe8 ? 1 : p[0] == 0x0f && (p[1] & 0xf0) == 0x80 ? 2 : 0;
}
static uint64_t target_of(const struct mutant *m, ptrdiff_t k) {
  return (uint64_t)m->insn[k].detail->x86.operands[0].imm;
}
static void aim(struct mutant *m, const uint8_t *rw_target) {
  emit_patch32(here(m) + rel_field(m, (ptrdiff_t)m->k), rw_target);
}
static const uint8_t *block_end(const struct mutant *m) { return m->code + m->b->host_size; }
static bool inside(const struct mutant *m, uint64_t target) {
  return target >= m->insn[0].address && target < m->insn[0].address + m->b->host_size;
}
static const cs_insn *insn_of_target(const struct mutant *m, uint64_t target) {
  for (size_t i = 0; i < m->count; i++)
    if (m->insn[i].address == target)
      return &m->insn[i];
  return NULL;
}
static bool goes_to(struct mutant *m, ptrdiff_t k, const uint8_t *stub) {
  return insn_at(m, k) && rel_field(m, k) && target_of(m, k) == (uintptr_t)jit_to_rx(m->j, stub);
}
static void fill(struct mutant *m, const void *code, size_t size) {
  memset(here(m), CLC, m->insn[m->k].size);
  memcpy(here(m), code, size);
}

/* --- accesses by the TLB --- */

static bool other_base(struct mutant *m) {
  static const uint8_t high[3] = {1 /* r9 */, 4 /* r12 */, 6 /* r14 */};
  if (!tlb_access(m, (ptrdiff_t)m->k) || !has_sib(m))
    return false;
  set_low3(sib(m), 0, rex(m) & 1 ? high[roll(m->d, 3)] : 4 /* rsp */);
  return true;
}
static bool other_index(struct mutant *m) {
  static const uint8_t low[7] = {0, 2, 3, 4 /* none */, 5, 6, 7};
  if (!tlb_access(m, (ptrdiff_t)m->k) || !has_sib(m))
    return false;
  set_low3(sib(m), 3, low[roll(m->d, 7)]);
  return true;
}
static bool other_displacement(struct mutant *m) {
  uint8_t *p = tlb_access(m, (ptrdiff_t)m->k) ? disp_at(m, 1) : NULL;
  if (!p)
    return false;
  *p = (uint8_t)(1 + roll(m->d, 255));
  return true;
}
static bool wider(struct mutant *m) {
  uint8_t *r = rex_byte(m);
  const cs_x86 *x = x86_at(m, (ptrdiff_t)m->k);
  if (!tlb_access(m, (ptrdiff_t)m->k) || !r || !plain_integer(m->insn[m->k].id) || memory(m, (ptrdiff_t)m->k)->size != 4 ||
      x->opcode[0] == 0x0f)
    return false;
  *r |= 8;
  return true;
}
static bool byte_to_dword(struct mutant *m) {
  uint8_t *op = here(m) + (rex_byte(m) ? 1 : 0);
  if (!tlb_access(m, (ptrdiff_t)m->k) || memory(m, (ptrdiff_t)m->k)->size != 1)
    return false;
  bool alu = *op < 0x40 && (*op & 5) == 0;
  if (!alu && *op != 0x84 && *op != 0x86 && *op != 0x88 && *op != 0x8a && *op != 0xd0 && *op != 0xfe)
    return false;
  *op |= 1;
  return true;
}
static bool read_to_write(struct mutant *m) {
  uint8_t *op = here(m);
  while (*op == 0x66 || (*op & 0xf0) == 0x40)
    op++;
  if (!tlb_access(m, (ptrdiff_t)m->k) || (table_before(m, (ptrdiff_t)m->k) & 1))
    return false;
  unsigned reg = *modrm(m) >> 3 & 7;
  if ((*op < 0x38 && (*op & 6) == 2) || *op == 0x8a || *op == 0x8b)
    *op -= 2;
  else if (*op == 0x84 || *op == 0x85)
    *op += 2;
  else if ((*op == 0xd9 || *op == 0xdd) && reg == 0)
    set_low3(modrm(m), 3, 2 + roll(m->d, 2)); /* fst, fstp */
  else if (op[0] == 0x0f && (op[1] == 0x10 || op[1] == 0x28))
    op[1] |= 1;
  else if (op[0] == 0x0f && op[1] == 0x6f)
    op[1] = 0x7f;
  else
    return false;
  return true;
}
static bool pointer_base(struct mutant *m) { /* [r8], a host address */
  const cs_x86_op *op = memory(m, (ptrdiff_t)m->k);
  if (!op || is(m, (ptrdiff_t)m->k, X86_INS_LEA) || op->mem.base != X86_REG_R8 || op->mem.index != X86_REG_INVALID ||
      op->mem.segment != X86_REG_INVALID)
    return false;
  set_low3(modrm(m), 0, roll(m->d, 2) ? 1 : 2); /* r9, r10 */
  return true;
}
static bool pointer_made_of_something(struct mutant *m) { /* lea r8, [la + rcx] */
  if (!is(m, (ptrdiff_t)m->k, X86_INS_LEA) || !reg_is(m, (ptrdiff_t)m->k, 0, X86_REG_R8) || !has_sib(m) ||
      memory(m, (ptrdiff_t)m->k)->mem.index != X86_REG_RCX)
    return false;
  set_low3(sib(m), 3, 2 /* rdx */);
  return true;
}

/* --- probes --- */

static bool no_test(struct mutant *m) {
  ptrdiff_t k = (ptrdiff_t)m->k;
  if (!is(m, k, X86_INS_JRCXZ) ||
      !((k > 0 && tlb_load(m, k - 1)) || (k > 1 && is(m, k - 1, X86_INS_MOV) && tlb_load(m, k - 2))))
    return false;
  fill(m, "\x8b\xc0", 2); /* mov eax, eax */
  return true;
}
static bool constant_addend(struct mutant *m) {
  if (!tlb_load(m, (ptrdiff_t)m->k))
    return false;
  fill(m, "\xb9\x00\x10\x40\x00", 5); /* mov ecx, 401000h */
  return true;
}
static bool write_by_read_table(struct mutant *m) {
  if (!tlb_load(m, (ptrdiff_t)m->k) || !(table_before(m, (ptrdiff_t)m->k) & 1))
    return false;
  put32_at(disp_at(m, 4), disp_of(m) - TABLE_BYTES);
  return true;
}
static bool other_level(struct mutant *m) {
  if (!tlb_load(m, (ptrdiff_t)m->k))
    return false;
  int table = table_before(m, (ptrdiff_t)m->k);
  put32_at(disp_at(m, 4), table >= TLB_USER_READ ? disp_of(m) - 2 * TABLE_BYTES : disp_of(m) + 2 * TABLE_BYTES);
  return true;
}
static bool beside_table(struct mutant *m) {
  static const uint32_t by[] = {8, -8u, 4, 4 * TABLE_BYTES, 0x1000, -TABLE_BYTES * 3};
  if (!tlb_load(m, (ptrdiff_t)m->k))
    return false;
  put32_at(disp_at(m, 4), disp_of(m) + by[roll(m->d, 6)]);
  return true;
}
static bool table_scale(struct mutant *m) {
  if (!tlb_load(m, (ptrdiff_t)m->k))
    return false;
  *sib(m) = (uint8_t)((*sib(m) & 0x3f) | roll(m->d, 3) << 6);
  return true;
}
static bool table_index(struct mutant *m) {
  static const uint8_t low[6] = {0, 2, 3, 5, 6, 7};
  if (!tlb_load(m, (ptrdiff_t)m->k))
    return false;
  set_low3(sib(m), 3, low[roll(m->d, 6)]);
  return true;
}
static bool page_of_another(struct mutant *m) { /* shrx r9d, la, r13d */
  if (!is(m, (ptrdiff_t)m->k, X86_INS_SHRX) || !reg_is(m, (ptrdiff_t)m->k, 0, X86_REG_R9D))
    return false;
  bool high = !(here(m)[1] & 0x20);
  set_low3(here(m) + 4, 0, high && roll(m->d, 2) ? 1 /* r9 */ : 4 /* r12, rsp */);
  return true;
}
static bool other_shift(struct mutant *m) {
  if (!is(m, (ptrdiff_t)m->k, X86_INS_SHRX))
    return false;
  here(m)[2] = (uint8_t)((here(m)[2] & 0x87) | (~(roll(m->d, 2) ? R14 : RSP) & 15) << 3);
  return true;
}
static bool page_unshifted(struct mutant *m) { /* shrx r9d, la, r13d -> mov r9d, la */
  if (!is(m, (ptrdiff_t)m->k, X86_INS_SHRX) || !reg_is(m, (ptrdiff_t)m->k, 0, X86_REG_R9D))
    return false;
  bool high = !(here(m)[1] & 0x20);
  uint8_t code[3] = {(uint8_t)(0x44 | high), 0x8b, (uint8_t)(0xc8 | (here(m)[4] & 7))};
  fill(m, code, 3);
  return true;
}
static bool last_byte_of_probe(const struct mutant *m, ptrdiff_t k) {
  return is(m, k, X86_INS_LEA) && reg_is(m, k, 0, X86_REG_ECX) && is(m, k + 1, X86_INS_SHRX) &&
         reg_is(m, k + 1, 0, X86_REG_ECX) && is(m, k + 2, X86_INS_LEA) && tlb_load(m, k + 3);
}
static bool one_byte_less(struct mutant *m) {
  uint8_t *p = last_byte_of_probe(m, (ptrdiff_t)m->k) ? disp_at(m, 1) : NULL;
  if (!p)
    return false;
  *p -= 1;
  return true;
}
static bool last_byte_elsewhere(struct mutant *m) {
  const cs_x86_op *op;
  if (!last_byte_of_probe(m, (ptrdiff_t)m->k) || (op = memory(m, (ptrdiff_t)m->k))->mem.index != X86_REG_INVALID ||
      has_sib(m))
    return false;
  set_low3(modrm(m), 0, rex(m) & 1 ? 1 /* r9 */ : 1 /* rcx */);
  return true;
}
static bool one_page_only(struct mutant *m) { /* lea ecx, [rcx + r9] -> lea ecx, [rcx + rcx], or [r9 + r9] the other way */
  if (!tlb_load(m, (ptrdiff_t)m->k + 1) || !is(m, (ptrdiff_t)m->k, X86_INS_LEA) || !has_sib(m))
    return false;
  const cs_x86_op *op = memory(m, (ptrdiff_t)m->k);
  if (op->mem.base != X86_REG_RCX)
    return false;
  uint8_t *r = rex_byte(m);
  *r = (uint8_t)(*r | 1); /* base r9 */
  return true;
}

/* --- REP --- */

static bool count_is_constant(const struct mutant *m) {
  for (size_t i = 0; i < m->k; i++)
    if (is(m, (ptrdiff_t)i, X86_INS_MOV) && reg_is(m, (ptrdiff_t)i, 0, X86_REG_R10D) &&
        x86_at(m, (ptrdiff_t)i)->operands[1].type == X86_OP_IMM)
      return true;
  return false;
}
static bool no_count_check(struct mutant *m) {
  ptrdiff_t k = (ptrdiff_t)m->k;
  if (k < 3 || !is(m, k, X86_INS_JRCXZ) || !is(m, k - 1, X86_INS_MOV) || !is(m, k - 2, X86_INS_JRCXZ) ||
      !is(m, k - 3, X86_INS_SHRX) || !reg_is(m, k - 3, 1, X86_REG_ECX) || count_is_constant(m))
    return false;
  fill(m, "\x8b\xc0", 2);
  return true;
}
static bool rep_elements(struct mutant *m) {
  if (!rep_string(m, (ptrdiff_t)m->k))
    return false;
  uint8_t *p = here(m);
  if (p[1] == 0x66) {
    uint8_t op = p[2];
    p[1] = op, p[2] = CLC;
  } else if (p[1] & 1) {
    return false;
  } else {
    p[1] |= 1;
  }
  return true;
}
static bool rep_count(struct mutant *m) {
  if (!rep_string(m, (ptrdiff_t)m->k + 1) || !reg_is(m, (ptrdiff_t)m->k, 0, X86_REG_ECX))
    return false;
  set_low3(modrm(m), 0, roll(m->d, 2) ? 7 /* r15d */ : 3 /* r11d */);
  return true;
}
static bool rep_shorter_probe(struct mutant *m) {
  if (!last_byte_of_probe(m, (ptrdiff_t)m->k) || memory(m, (ptrdiff_t)m->k)->mem.index != X86_REG_R10 ||
      memory(m, (ptrdiff_t)m->k)->mem.scale == 1)
    return false;
  *sib(m) &= 0x3f;
  return true;
}
static bool rep_pointer(struct mutant *m) { /* lea r8, [rdi + r8]; lea r11, [rsi + r11] */
  const cs_x86_op *op = memory(m, (ptrdiff_t)m->k);
  bool r8 = op && op->mem.index == X86_REG_R8 && reg_is(m, (ptrdiff_t)m->k, 0, X86_REG_R8);
  bool r11 = op && op->mem.index == X86_REG_R11 && reg_is(m, (ptrdiff_t)m->k, 0, X86_REG_R11);
  if (!is(m, (ptrdiff_t)m->k, X86_INS_LEA) || !(r8 || r11))
    return false;
  set_low3(sib(m), 0, roll(m->d, 2) ? 4 /* rsp */ : 1 /* rcx */);
  return true;
}
static bool rep_no_pointer(struct mutant *m) { /* mov rdi, r8; mov rsi, r11 */
  ptrdiff_t k = (ptrdiff_t)m->k;
  bool rdi = is(m, k, X86_INS_MOV) && reg_is(m, k, 0, X86_REG_RDI) && reg_is(m, k, 1, X86_REG_R8);
  bool rsi = is(m, k, X86_INS_MOV) && reg_is(m, k, 0, X86_REG_RSI) && reg_is(m, k, 1, X86_REG_R11);
  if (!rdi && !rsi)
    return false;
  fill(m, "\x8b\xc0", 2); /* the linear address instead */
  return true;
}
static bool rep_pointer_stays(struct mutant *m) { /* mov edi, r9d and mov esi, r8d behind it */
  ptrdiff_t k = (ptrdiff_t)m->k;
  bool behind = (k > 0 && rep_string(m, k - 1)) || (k > 1 && rep_string(m, k - 2));
  if (!behind || !is(m, k, X86_INS_MOV) ||
      !(reg_is(m, k, 0, X86_REG_EDI) || reg_is(m, k, 0, X86_REG_ESI)))
    return false;
  fill(m, "\x8b\xc0", 2);
  return true;
}

/* --- jump cache --- */

static bool jump_tag(const struct mutant *m, ptrdiff_t k) { /* lea rcx, [rcx + r8]; lea rcx, [rcx + r11] */
  const cs_x86_op *op;
  return is(m, k, X86_INS_LEA) && reg_is(m, k, 0, X86_REG_RCX) && (op = memory(m, k))->mem.base == X86_REG_RCX &&
         (op->mem.index == X86_REG_R8 || op->mem.index == X86_REG_R11) && op->mem.disp == 0;
}
static bool unmatched_tag(struct mutant *m) {
  ptrdiff_t k = (ptrdiff_t)m->k;
  if (!jump_tag(m, k) || !((k > 0 && jump_tag(m, k - 1)) || jump_tag(m, k + 1)))
    return false;
  fill(m, "\x8b\xc0\x8b\xc0", 4);
  return true;
}
static bool tag_of_another(struct mutant *m) {
  ptrdiff_t k = (ptrdiff_t)m->k;
  if (!jump_tag(m, k) || !jump_tag(m, k + 1))
    return false;
  uint8_t *r = rex_byte(m);
  *r = (uint8_t)(*r & ~2);
  set_low3(sib(m), 3, 4); /* nothing instead of r8 */
  return true;
}
static bool jump_member(const struct mutant *m, ptrdiff_t k) {
  const cs_x86_op *op = memory(m, k);
  return op && op->mem.base == X86_REG_R14 && op->mem.index == X86_REG_R9;
}
static bool other_member(struct mutant *m) {
  static const uint32_t by[] = {4, -4u, 16, -16u, -8u};
  ptrdiff_t k = (ptrdiff_t)m->k;
  if (!jump_member(m, k))
    return false;
  put32_at(disp_at(m, 4), disp_of(m) + by[roll(m->d, reg_is(m, k, 0, X86_REG_R9D) ? 5 : 4)]);
  return true;
}
static bool unbounded_entry(struct mutant *m) {
  if (!is(m, (ptrdiff_t)m->k, X86_INS_MOVZX) || !reg_is(m, (ptrdiff_t)m->k, 0, X86_REG_R9D) ||
      !reg_is(m, (ptrdiff_t)m->k, 1, X86_REG_R8W))
    return false;
  fill(m, "\x45\x8b\xc8", 3); /* mov r9d, r8d */
  return true;
}
static bool without_match(struct mutant *m) { /* the jump to stub_miss becomes one to the hit's path */
  if (!goes_to(m, (ptrdiff_t)m->k, m->j->stub_miss))
    return false;
  aim(m, here(m) + 5);
  return true;
}
static bool jump_register(struct mutant *m) {
  static const uint8_t low[] = {0, 2, 3, 4, 7}; /* r8, r10, r11, r12, r15 */
  const uint8_t *p = here(m);
  if (p[0] != 0x41 || p[1] != 0xff)
    return false;
  set_low3(here(m) + 2, 0, low[roll(m->d, 5)]);
  return true;
}

/* --- struct cpu --- */

#define CPU(member) (uint32_t)offsetof(struct cpu, member)
static const uint32_t not_writable[] = {
  CPU(gpr), CPU(mode), CPU(cpl), CPU(budget), CPU(fpu_loaded), CPU(jc_key), CPU(seg[CS].attr),
  CPU(seg[CS].limit), CPU(seg[SS].base), CPU(seg[DS].room_write), CPU(scratch), CPU(cr0), CPU(cr3),
  CPU(fx.mxcsr), CPU(fx.fcw), CPU(pending), CPU(machine), CPU(fault_env), CPU(on_ferr), CPU(tlb),
  CPU(jump_cache), (uint32_t)sizeof(struct cpu), -8u,
};
static const uint32_t not_readable[] = {
  CPU(gpr), CPU(mode) + 2, CPU(machine), CPU(fault_env), CPU(engine_data), CPU(fetch_host), CPU(tlb),
  CPU(jump_cache), CPU(on_tlb_flush), (uint32_t)sizeof(struct cpu), -8u,
};
static bool set_disp(struct mutant *m, uint32_t value) {
  int32_t disp = (int32_t)value;
  if (disp_at(m, 4))
    put32_at(disp_at(m, 4), value);
  else if (disp_at(m, 1) && disp >= -128 && disp <= 127)
    *disp_at(m, 1) = (uint8_t)value;
  else
    return false;
  return true;
}
static bool slot_store(struct mutant *m) {
  ptrdiff_t k = (ptrdiff_t)m->k;
  return slot(m, k, false) && x86_at(m, k)->operands[0].type == X86_OP_MEM &&
         set_disp(m, not_writable[roll(m->d, sizeof not_writable / sizeof not_writable[0])]);
}
static bool slot_load(struct mutant *m) {
  ptrdiff_t k = (ptrdiff_t)m->k;
  return slot(m, k, false) && x86_at(m, k)->operands[0].type == X86_OP_REG &&
         set_disp(m, not_readable[roll(m->d, sizeof not_readable / sizeof not_readable[0])]);
}
static bool beyond_membuf(struct mutant *m) {
  if (!slot(m, (ptrdiff_t)m->k, true))
    return false;
  return set_disp(m, CPU(membuf) + 65 - (1 + roll(m->d, memory(m, (ptrdiff_t)m->k)->size ? 1 : 1)));
}

/* --- registers --- */

static bool into_reserved(struct mutant *m) {
  const cs_x86 *x = x86_at(m, (ptrdiff_t)m->k);
  uint8_t op = x->opcode[0] == 0x0f ? x->opcode[1] : x->opcode[0];
  bool two = x->opcode[0] == 0x0f;
  if (!(two ? op == 0xb6 || op == 0xb7 : op == 0x8b || op == 0x8d) || x->op_count == 0 ||
      x->operands[0].type != X86_OP_REG || x->encoding.modrm_offset == 0)
    return false;
  unsigned now = *modrm(m) >> 3 & 7, want = rex(m) & 4 ? 4 + roll(m->d, 3) : 4;
  bool head = is(m, (ptrdiff_t)m->k, X86_INS_LEA) && reg_is(m, (ptrdiff_t)m->k, 0, X86_REG_R12);
  bool reload = reg_is(m, (ptrdiff_t)m->k, 0, X86_REG_R12);
  if (now == want || head || reload)
    return false;
  set_low3(modrm(m), 3, want);
  return true;
}
static bool constant_into_reserved(struct mutant *m) {
  uint8_t *op = here(m) + (rex_byte(m) ? 1 : 0);
  if ((*op & 0xf8) != 0xb8 || !is(m, (ptrdiff_t)m->k, X86_INS_MOV) || m->insn[m->k].size < 5)
    return false;
  set_low3(op, 0, rex(m) & 1 ? 4 + roll(m->d, 3) : 4);
  return true;
}
static bool wide_address(struct mutant *m) {
  ptrdiff_t k = (ptrdiff_t)m->k;
  uint8_t *r = rex_byte(m);
  if (!is(m, k, X86_INS_LEA) || !r || (*r & 8) ||
      !((reg_is(m, k, 0, X86_REG_R8D) && !(m->b->mode & MODE_WINDOW)) || reg_is(m, k, 0, X86_REG_R10D) || reg_is(m, k, 0, X86_REG_R15D)))
    return false;
  *r |= 8;
  return true;
}
static bool wide_arithmetic(struct mutant *m) {
  uint8_t *r = rex_byte(m);
  const cs_x86 *x = x86_at(m, (ptrdiff_t)m->k);
  unsigned id = m->insn[m->k].id;
  bool carries = id == X86_INS_ADD || id == X86_INS_ADC || id == X86_INS_SUB || id == X86_INS_SBB || id == X86_INS_NEG ||
                 id == X86_INS_NOT || id == X86_INS_INC || id == X86_INS_DEC || id == X86_INS_SHL || id == X86_INS_IMUL ||
                 id == X86_INS_MOVSX;
  if (!r || (*r & 8) || !carries || x->op_count == 0 || x->operands[0].type != X86_OP_REG || x->operands[0].size != 4 ||
      memory(m, (ptrdiff_t)m->k))
    return false;
  *r |= 8;
  return true;
}
static bool budget_not_charged(struct mutant *m) {
  if (m->k != 0)
    return false;
  uint8_t *p = disp_at(m, 1);
  *p = roll(m->d, 2) ? 0 : (uint8_t)-*p;
  return true;
}
static bool budget_not_checked(struct mutant *m) {
  ptrdiff_t k = (ptrdiff_t)m->k;
  if (k == 1) { /* shrx rcx, r12, r13: another register */
    set_low3(here(m) + 4, 0, roll(m->d, 2) ? 0 /* r8 */ : 3 /* r11 */);
    return true;
  }
  if (k != 2)
    return false;
  fill(m, "\x8b\xc0", 2);
  return true;
}

/* --- control flow --- */

static bool into_instruction(struct mutant *m) {
  ptrdiff_t k = (ptrdiff_t)m->k;
  const uint8_t *p = m->insn[k].bytes;
  bool rel8 = p[0] == 0xeb || p[0] == 0xe3 || (p[0] & 0xf0) == 0x70;
  if (!rel8 && !rel_field(m, k))
    return false;
  const cs_insn *to = insn_of_target(m, target_of(m, k));
  /* reached otherwise, too: or else what is proved is just another program */
  if (!to || to->size < 2 || to == m->insn || to[-1].bytes[0] == 0xe9 || to[-1].bytes[0] == 0xeb)
    return false;
  if (rel8)
    here(m)[1] += 1;
  else
    put32_at(here(m) + rel_field(m, k), get32_at(p + rel_field(m, k)) + 1);
  return true;
}
static bool out_of_block(struct mutant *m) {
  if (!rel_field(m, (ptrdiff_t)m->k) || m->insn[m->k].bytes[0] == 0xe8)
    return false;
  const uint8_t *const to[] = {block_end(m), block_end(m) + 16, m->code - 16, m->j->rw, m->j->stub_exit + 1,
                               m->code - 0x10000000};
  aim(m, to[roll(m->d, 6)]);
  return true;
}
static bool jump_to_call_stub(struct mutant *m) {
  const uint8_t *const to[] = {m->j->stub_read, m->j->stub_exec, m->j->stub_fpu_load, m->j->stub_host_fault};
  if (!rel_field(m, (ptrdiff_t)m->k) || m->insn[m->k].bytes[0] == 0xe8)
    return false;
  aim(m, to[roll(m->d, 4)]);
  return true;
}
static bool call_of_something(struct mutant *m) {
  const uint8_t *const to[] = {m->j->stub_exit, m->j->rw, m->j->stub_read + 5, m->j->stub_host_fault, m->code};
  if (m->insn[m->k].bytes[0] != 0xe8)
    return false;
  aim(m, to[roll(m->d, 5)]);
  return true;
}
static bool exit_into_block(struct mutant *m) {
  for (uint32_t i = 0; i < m->b->link_count; i++) {
    const struct link *l = &m->j->links[m->b->link_first + i];
    if (rel_field(m, (ptrdiff_t)m->k) && l->field == here(m) + rel_field(m, (ptrdiff_t)m->k)) {
      aim(m, bytes_of(m, 1 + roll(m->d, 3)));
      return true;
    }
  }
  return false;
}
static bool endless_loop(struct mutant *m) { /* back to the first guest instruction, behind the budget check */
  if (!rel_field(m, (ptrdiff_t)m->k) || m->insn[m->k].bytes[0] == 0xe8 || m->k < 4 || !inside(m, target_of(m, (ptrdiff_t)m->k)))
    return false;
  aim(m, bytes_of(m, 3));
  return true;
}
static bool wrong_argument(struct mutant *m) {
  ptrdiff_t k = (ptrdiff_t)m->k;
  if (!is(m, k, X86_INS_MOV) || x86_at(m, k)->operands[1].type != X86_OP_IMM)
    return false;
  uint8_t *imm = here(m) + x86_at(m, k)->encoding.imm_offset;
  if (reg_is(m, k, 0, X86_REG_R8D) && goes_to(m, k + 1, m->j->stub_exec))
    put32_at(imm, m->j->insn_count + roll(m->d, 1000));
  else if (reg_is(m, k, 0, X86_REG_R8D) && goes_to(m, k + 1, m->j->stub_exit_link))
    put32_at(imm, roll(m->d, 2) ? 0 : get32_at(imm) + 1000 + roll(m->d, 1000));
  else if (reg_is(m, k, 0, X86_REG_ECX) && (goes_to(m, k + 2, m->j->stub_seg_check) ||
                                            goes_to(m, k + 3, m->j->stub_seg_check)))
    put32_at(imm, get32_at(imm) | 0x40000000);
  else
    return false;
  return true;
}

/* --- instructions that have no place there --- */

static bool forbidden(struct mutant *m) {
  static const struct {
    uint8_t size, code[5];
  } list[] = {
    {2, {0x0f, 0x05}}, /* syscall */
    {2, {0x0f, 0x34}}, /* sysenter */
    {2, {0xcd, 0x80}}, {1, {0xcc}}, {1, {0xf4}}, {1, {0xfa}}, {1, {0xfb}}, {1, {0xfd}}, /* std */
    {1, {0x9c}}, {1, {0x9d}}, {1, {0x50}}, {1, {0x58}}, {1, {0xc3}}, {1, {0xcf}}, {1, {0xec}}, {1, {0xee}}, {1, {0xd7}},
    {2, {0x8e, 0xd8}}, {2, {0x8e, 0xe8}}, /* mov ds, mov gs */
    {5, {0xf3, 0x0f, 0xae, 0xd8, CLC}}, /* wrfsbase eax ... wrgsbase below */
    {4, {0xf3, 0x0f, 0xae, 0xd8}}, {3, {0x0f, 0x01, 0xf8}}, /* swapgs */
    {2, {0x0f, 0x30}}, {2, {0x0f, 0x22}}, {3, {0x0f, 0xae, 0x10}}, /* wrmsr, mov cr, ldmxcsr [rax] */
    {3, {0x0f, 0xae, 0x08}}, {2, {0xdd, 0x20}}, {2, {0xd9, 0x20}}, /* fxrstor, frstor, fldenv [rax] */
    {3, {0x0f, 0xf7, 0xc1}}, /* maskmovq */
    {1, {0xa4}}, {1, {0xab}}, {2, {0xf3, 0xa6}}, {2, {0xff, 0xd0}}, {2, {0xff, 0xe0}}, {2, {0xff, 0x20}},
    {2, {0x8b, 0x00}}, {2, {0x89, 0x01}}, {3, {0x41, 0x8b, 0x00}}, /* plain memory accesses */
    {4, {0x8b, 0x04, 0x24, CLC}}, {2, {0xc9, CLC}}, {2, {0x0f, 0x0b}},
  };
  unsigned i = roll(m->d, sizeof list / sizeof list[0]);
  if (list[i].size > m->insn[m->k].size)
    return false;
  fill(m, list[i].code, list[i].size);
  return true;
}

/* --- window --- */

static bool drop_prefix(struct mutant *m, uint8_t prefix) {
  uint8_t *p = here(m), *end = p + m->insn[m->k].size;
  if (!window_access(m, (ptrdiff_t)m->k))
    return false;
  while (*p != prefix)
    p++;
  memmove(p, p + 1, (size_t)(end - p - 1));
  end[-1] = CLC;
  return true;
}
static bool no_segment(struct mutant *m) { return drop_prefix(m, 0x65); }
static bool no_address_size(struct mutant *m) { return drop_prefix(m, 0x67); }
static bool other_segment(struct mutant *m) {
  if (!window_access(m, (ptrdiff_t)m->k) || here(m)[0] != 0x65)
    return false;
  here(m)[0] = 0x64;
  return true;
}

/* --- all of them --- */

static const struct {
  const char *name;
  bool (*apply)(struct mutant *m);
} operators[] = {
  {"access: another base", other_base},
  {"access: another index than the addend", other_index},
  {"access: a displacement", other_displacement},
  {"access: 8 bytes instead of 4", wider},
  {"access: 4 bytes instead of 1", byte_to_dword},
  {"access: a write where a read was probed", read_to_write},
  {"access: another pointer", pointer_base},
  {"access: pointer made of something else", pointer_made_of_something},
  {"probe: result not tested", no_test},
  {"probe: an addend of its own", constant_addend},
  {"probe: table of reads for a write", write_by_read_table},
  {"probe: table of the other privilege", other_level},
  {"probe: beside the table", beside_table},
  {"probe: scale of the index", table_scale},
  {"probe: another index", table_index},
  {"probe: page of another register", page_of_another},
  {"probe: another shift", other_shift},
  {"probe: page number not shifted", page_unshifted},
  {"probe: last byte not covered", one_byte_less},
  {"probe: last byte of another register", last_byte_elsewhere},
  {"probe: one of the pages counted twice", one_page_only},
  {"rep: count not checked", no_count_check},
  {"rep: wider elements", rep_elements},
  {"rep: another count", rep_count},
  {"rep: probe of fewer bytes", rep_shorter_probe},
  {"rep: pointer of another address", rep_pointer},
  {"rep: no pointer", rep_no_pointer},
  {"rep: pointer left in a guest register", rep_pointer_stays},
  {"lookup: tag without EIP or key", unmatched_tag},
  {"lookup: tag of another EIP", tag_of_another},
  {"lookup: another member", other_member},
  {"lookup: index out of bounds", unbounded_entry},
  {"lookup: a miss taken for a hit", without_match},
  {"lookup: jump to another register", jump_register},
  {"cpu: store to another field", slot_store},
  {"cpu: load of another field", slot_load},
  {"cpu: beyond membuf", beyond_membuf},
  {"register: result into a reserved one", into_reserved},
  {"register: constant into a reserved one", constant_into_reserved},
  {"register: 64-bit address", wide_address},
  {"register: 64-bit arithmetic", wide_arithmetic},
  {"budget: not charged", budget_not_charged},
  {"budget: not checked", budget_not_checked},
  {"jump: into an instruction", into_instruction},
  {"jump: out of the block", out_of_block},
  {"jump: to a stub that returns", jump_to_call_stub},
  {"call: of something else", call_of_something},
  {"exit: past the budget check", exit_into_block},
  {"jump: endless loop", endless_loop},
  {"stub: argument out of range", wrong_argument},
  {"instruction: forbidden", forbidden},
  {"window: without GS", no_segment},
  {"window: without address size", no_address_size},
  {"window: by FS", other_segment},
};
#define OPERATORS (sizeof operators / sizeof operators[0])

static struct mutation results[OPERATORS];

const struct mutation *verify_mutations(size_t *count) {
  *count = OPERATORS;
  for (size_t i = 0; i < OPERATORS; i++)
    results[i].name = operators[i].name;
  return results;
}

static void report_missed(struct mutant *m, csh handle, const char *name, const uint8_t *before) {
  const cs_insn *from = &m->insn[m->k];
  cs_insn *to;
  size_t n = cs_disasm(handle, here(m), from->size, from->address, 0, &to);
  printf("  MISSED %s: %s %s ->", name, from->mnemonic, from->op_str);
  for (size_t i = 0; i < n; i++)
    printf(" %s %s;", to[i].mnemonic, to[i].op_str);
  printf(" at +%#llx of %u, mode %05x, instruction %02x\n", (unsigned long long)(from->address - m->insn[0].address),
         m->b->host_size, m->b->mode, before[0]);
  if (n)
    cs_free(to, n);
}

unsigned verify_mutate(struct bed *b, struct block *block, struct dice *d, unsigned each) {
  static csh handle;
  if (!handle) {
    ck_assert_int_eq(cs_open(CS_ARCH_X86, CS_MODE_64, &handle), CS_ERR_OK);
    cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON);
  }
  struct mutant m = {.j = verify_jit(b), .b = block, .d = d};
  m.code = jit_to_rw(m.j, block->host);
  m.count = cs_disasm(handle, m.code, block->host_size, (uintptr_t)block->host, 0, &m.insn);
  const cs_insn *last = &m.insn[m.count - 1];
  ck_assert_uint_eq(last->address + last->size, (uintptr_t)block->host + block->host_size);
  unsigned missed = 0;
  for (size_t o = 0; o < OPERATORS; o++) {
    unsigned made = 0;
    size_t start = roll(d, (uint32_t)m.count);
    for (size_t i = 0; i < m.count && made < each; i++) {
      char why[160];
      uint8_t saved[16];
      m.k = (start + i) % m.count;
      memcpy(saved, here(&m), m.insn[m.k].size);
      if (!operators[o].apply(&m)) {
        ck_assert_int_eq(memcmp(saved, here(&m), m.insn[m.k].size), 0);
        continue;
      }
      made++;
      results[o].made++;
      if (!verify_block(m.j, block, why, sizeof why)) {
        results[o].caught++;
      } else {
        missed++;
        report_missed(&m, handle, operators[o].name, saved);
      }
      memcpy(here(&m), saved, m.insn[m.k].size);
    }
  }
  cs_free(m.insn, m.count);
  return missed;
}
