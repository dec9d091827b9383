/* SPDX-License-Identifier: MIT */
/* Mutations of memory accesses and of what proves them: probes of the TLB, bounds of REP, prefixes of the
 * window. */
#include "verify_mutant.h"

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
  if (!tlb_access(m, (ptrdiff_t)m->k) || !r || !plain_integer(m->insn[m->k].id) ||
      memory(m, (ptrdiff_t)m->k)->size != 4 || x->opcode[0] == 0x0f)
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
  if (!op || is(m, (ptrdiff_t)m->k, X86_INS_LEA) || op->mem.base != X86_REG_R8 ||
      op->mem.index != X86_REG_INVALID || op->mem.segment != X86_REG_INVALID)
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
  put32_at(disp_at(m, 4),
           table >= TLB_USER_READ ? disp_of(m) - 2 * TABLE_BYTES : disp_of(m) + 2 * TABLE_BYTES);
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
  if (!last_byte_of_probe(m, (ptrdiff_t)m->k) ||
      (op = memory(m, (ptrdiff_t)m->k))->mem.index != X86_REG_INVALID || has_sib(m))
    return false;
  set_low3(modrm(m), 0, rex(m) & 1 ? 1 /* r9 */ : 1 /* rcx */);
  return true;
}
static bool one_page_only(
    struct mutant *m) { /* lea ecx, [rcx + r9] -> lea ecx, [rcx + rcx], or [r9 + r9] the other way */
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
  if (!behind || !is(m, k, X86_INS_MOV) || !(reg_is(m, k, 0, X86_REG_EDI) || reg_is(m, k, 0, X86_REG_ESI)))
    return false;
  fill(m, "\x8b\xc0", 2);
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

const struct operator memory_operators[] = {
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
    {"window: without GS", no_segment},
    {"window: without address size", no_address_size},
    {"window: by FS", other_segment},
    {NULL, NULL},
};
