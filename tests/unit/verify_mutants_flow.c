/* SPDX-License-Identifier: MIT */
/* Mutations of control flow, of slots of struct cpu, of registers, and instructions that have no place in a
 * block. */
#include "verify_mutant.h"

/* --- jump cache --- */

static bool jump_tag(const struct mutant *m, ptrdiff_t k) { /* lea rcx, [rcx + r8]; lea rcx, [rcx + r11] */
  const cs_x86_op *op;
  return is(m, k, X86_INS_LEA) && reg_is(m, k, 0, X86_REG_RCX) &&
         (op = memory(m, k))->mem.base == X86_REG_RCX &&
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
  if (p[0] != 0x41 || p[1] != 0xff || (p[2] & 0xf8) != 0xe0)
    return false;
  set_low3(here(m) + 2, 0, low[roll(m->d, 5)]);
  return true;
}

/* --- struct cpu --- */

#define CPU(member) (uint32_t) offsetof(struct cpu, member)
static const uint32_t not_writable[] = {
    CPU(gpr),
    CPU(mode),
    CPU(cpl),
    CPU(budget),
    CPU(fpu_loaded),
    CPU(jc_key),
    CPU(seg[CS].attr),
    CPU(seg[CS].limit),
    CPU(seg[SS].base),
    CPU(seg[DS].room_write),
    CPU(scratch),
    CPU(cr0),
    CPU(cr3),
    CPU(fx.mxcsr),
    CPU(fx.fcw),
    CPU(pending),
    CPU(machine),
    CPU(fault_env),
    CPU(on_ferr),
    CPU(tlb),
    CPU(jump_cache),
    (uint32_t)sizeof(struct cpu),
    -8u,
};
static const uint32_t not_readable[] = {
    CPU(gpr),
    CPU(mode) + 2,
    CPU(machine),
    CPU(fault_env),
    CPU(engine_data),
    CPU(fetch_host),
    CPU(tlb),
    CPU(jump_cache),
    CPU(on_tlb_flush),
    (uint32_t)sizeof(struct cpu),
    -8u,
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
      !((reg_is(m, k, 0, X86_REG_R8D) && !(m->b->mode & MODE_WINDOW)) || reg_is(m, k, 0, X86_REG_R10D) ||
        reg_is(m, k, 0, X86_REG_R15D)))
    return false;
  *r |= 8;
  return true;
}
static bool wide_arithmetic(struct mutant *m) {
  uint8_t *r = rex_byte(m);
  const cs_x86 *x = x86_at(m, (ptrdiff_t)m->k);
  unsigned id = m->insn[m->k].id;
  bool carries = id == X86_INS_ADD || id == X86_INS_ADC || id == X86_INS_SUB || id == X86_INS_SBB ||
                 id == X86_INS_NEG || id == X86_INS_NOT || id == X86_INS_INC || id == X86_INS_DEC ||
                 id == X86_INS_SHL || id == X86_INS_IMUL || id == X86_INS_MOVSX;
  if (!r || (*r & 8) || !carries || x->op_count == 0 || x->operands[0].type != X86_OP_REG ||
      x->operands[0].size != 4 || memory(m, (ptrdiff_t)m->k))
    return false;
  *r |= 8;
  return true;
}
static bool budget_not_charged(struct mutant *m) {
  if (m->k != 0)
    return false;
  uint8_t *p = disp_at(m, 1);
  *p = roll(m->d, 2) ? 0 : (uint8_t) - *p;
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
  const uint8_t *const to[] = {block_end(m), block_end(m) + 16,   m->code - 16,
                               m->j->rw,     m->j->stub_exit + 1, m->code - 0x10000000};
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
  const uint8_t *const to[] = {m->j->stub_exit, m->j->rw, m->j->stub_read + 5, m->j->stub_host_fault,
                               m->code};
  if (m->insn[m->k].bytes[0] != 0xe8)
    return false;
  aim(m, to[roll(m->d, 5)]);
  return true;
}
static bool exit_into_block(struct mutant *m) {
  for (uint32_t i = 0; i < m->b->link_count; i++) {
    const struct link *l = &m->j->links[m->b->link_first + i];
    if (rel_field(m, (ptrdiff_t)m->k) && link_field(m->j, l) == here(m) + rel_field(m, (ptrdiff_t)m->k)) {
      aim(m, bytes_of(m, 1 + roll(m->d, 3)));
      return true;
    }
  }
  return false;
}
/* mov ecx, [key]; lea ecx, [rcx - key of the link]; jrcxz */
static bool key_compared(const struct mutant *m, ptrdiff_t k) {
  const cs_x86_op *op;
  return is(m, k, X86_INS_MOV) && reg_is(m, k, 0, X86_REG_ECX) && (op = memory(m, k)) &&
         op->mem.base == X86_REG_R14 && op->mem.disp == (int64_t)offsetof(struct cpu, jc_key) + 4 &&
         is(m, k + 1, X86_INS_LEA) && is(m, k + 2, X86_INS_JRCXZ);
}
static bool key_not_compared(struct mutant *m) {
  if (m->k == 0 || !key_compared(m, (ptrdiff_t)m->k - 1))
    return false;
  fill(m, "\xb9\0\0\0\0", 5); /* mov ecx, 0 */
  return true;
}
static bool something_compared(struct mutant *m) {
  if (!key_compared(m, (ptrdiff_t)m->k))
    return false;
  *disp_at(m, 1) = offsetof(struct cpu, eip);
  return true;
}
static bool
endless_loop(struct mutant *m) { /* back to the first guest instruction, behind the budget check */
  if (!rel_field(m, (ptrdiff_t)m->k) || m->insn[m->k].bytes[0] == 0xe8 || m->k < 4 ||
      !inside(m, target_of(m, (ptrdiff_t)m->k)))
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
  else if (reg_is(m, k, 0, X86_REG_ECX) &&
           (goes_to(m, k + 2, m->j->stub_seg_check) || goes_to(m, k + 3, m->j->stub_seg_check)))
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
      {2, {0xcd, 0x80}},
      {1, {0xcc}},
      {1, {0xf4}},
      {1, {0xfa}},
      {1, {0xfb}},
      {1, {0xfd}}, /* std */
      {1, {0x9c}},
      {1, {0x9d}},
      {1, {0x50}},
      {1, {0x58}},
      {1, {0xc3}},
      {1, {0xcf}},
      {1, {0xec}},
      {1, {0xee}},
      {1, {0xd7}},
      {2, {0x8e, 0xd8}},
      {2, {0x8e, 0xe8}},                  /* mov ds, mov gs */
      {5, {0xf3, 0x0f, 0xae, 0xd8, CLC}}, /* wrfsbase eax ... wrgsbase below */
      {4, {0xf3, 0x0f, 0xae, 0xd8}},
      {3, {0x0f, 0x01, 0xf8}}, /* swapgs */
      {2, {0x0f, 0x30}},
      {2, {0x0f, 0x22}},
      {3, {0x0f, 0xae, 0x10}}, /* wrmsr, mov cr, ldmxcsr [rax] */
      {3, {0x0f, 0xae, 0x08}},
      {2, {0xdd, 0x20}},
      {2, {0xd9, 0x20}},       /* fxrstor, frstor, fldenv [rax] */
      {3, {0x0f, 0xf7, 0xc1}}, /* maskmovq */
      {1, {0xa4}},
      {1, {0xab}},
      {2, {0xf3, 0xa6}},
      {2, {0xff, 0xd0}},
      {2, {0xff, 0xe0}},
      {2, {0xff, 0x20}},
      {2, {0x8b, 0x00}},
      {2, {0x89, 0x01}},
      {3, {0x41, 0x8b, 0x00}}, /* plain memory accesses */
      {4, {0x8b, 0x04, 0x24, CLC}},
      {2, {0xc9, CLC}},
      {2, {0x0f, 0x0b}},
  };
  unsigned i = roll(m->d, sizeof list / sizeof list[0]);
  if (list[i].size > m->insn[m->k].size)
    return false;
  fill(m, list[i].code, list[i].size);
  return true;
}

const struct operator flow_operators[] = {
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
    {"exit: key not compared", key_not_compared},
    {"exit: something else compared", something_compared},
    {"jump: endless loop", endless_loop},
    {"stub: argument out of range", wrong_argument},
    {"instruction: forbidden", forbidden},
    {NULL, NULL},
};
