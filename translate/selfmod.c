/* SPDX-License-Identifier: MIT */
/*
 * Guest code that writes where it runs: stores to pages that hold translated code, but beside it, and
 * operands that are stored to.
 *
 * Such a page has no write entries in the software TLB. The first store to it is checked in C, and noted;
 * those that follow find the note in stub_code_store, which returns the addend that the TLB would have held
 * if the granules (64 bytes each) of the store hold no code.
 */
#include "core/machine.h"
#include "core/mem.h"
#include "core/paging.h"
#include "translate/gen.h"

#define ENTRY_SHIFT 5
_Static_assert(sizeof(struct code_store) == 1u << ENTRY_SHIFT, "indexed by a shift");

static uint32_t store_key(uint32_t la, uint32_t user) { return la >> 12 << 2 | user << 1 | 1; }

void jit_forget_code_stores(struct jit *j) {
  if (j->code_store_used)
    memset(j->code_store, 0, sizeof j->code_store);
  j->code_store_used = false;
}

void jit_note_code_store(struct jit *j, uint32_t la, uint32_t user) {
  struct cpu *cpu = j->cpu;
  if (j->code_store[la >> 12 & (CODE_STORES - 1)].key == store_key(la, user))
    return;
  if (!cpu->tlb[TLB_SUP_READ][(la >> 12) * 2]) /* not plain memory: a device, no walk for nothing */
    return;
  uint32_t pa = paging_translate(cpu, la, PF_WRITE | (user ? PF_USER : 0));
  const struct mem_page *p = &cpu->machine->mem->page[pa >> 12];
  if (!p->write || p->flags != (PAGE_CODE | PAGE_CODE_HERE) || cpu->debug_data || cpu->align_check ||
      !mem_code_only_here(cpu->machine->mem, pa))
    return;
  j->code_store_used = true;
  j->code_store[la >> 12 & (CODE_STORES - 1)] = (struct code_store){
      .key = store_key(la, user),
      .pa = pa & ~(MEM_PAGE - 1),
      .addend = (uint64_t)(uintptr_t)p->write - (la & ~(MEM_PAGE - 1)),
      .granules = &j->code_granules[pa >> 12],
      .flags = &p->flags,
  };
}

const struct code_store *jit_find_code_store(const struct jit *j, uint32_t la, uint32_t size, uint32_t user) {
  const struct code_store *cs = &j->code_store[la >> 12 & (CODE_STORES - 1)];
  bool good = cs->key == store_key(la, user) && (la & (MEM_PAGE - 1)) + size <= MEM_PAGE &&
              *cs->flags == (PAGE_CODE | PAGE_CODE_HERE);
  return good ? cs : NULL;
}

void jit_code_written(struct jit *j, uint32_t pa, uint32_t size) {
  j->stat.smc_writes++;
  if (j->code_granules[pa >> 12] & granule_mask(pa, size)) /* else beside the code: stacks of DOS, say */
    jit_invalidate_range(j, pa, size);
}

/* --- patched operands --- */

/*
 * Code that keeps changing an immediate operand of an instruction is not translated again and again: the
 * instruction becomes one that does the same with an operand in memory, which is the immediate itself. Stores
 * to it leave the block alone.
 */
#define PATCHES_APPLIED 2u /* stores, until that is done */

static struct patched *patched_at(struct jit *j, uint32_t pa) {
  return &j->patched[(pa * 0x9e3779b1u) >> 22 & (PATCHES - 1)];
}

/* The same instruction with a memory operand instead of its immediate: opcode and ModRM.reg. False: there is
 * none. */
struct variant {
  unsigned map, opcode, reg, size;
};
static bool find_variant(const struct insn *in, struct variant *x) {
  bool wide = in->opcode & 1, reg_form = in->has_modrm && in->mod == 3;
  if (in->lock || in->rep)
    return false;
  *x = (struct variant){.reg = in->rm, .size = wide ? in->opsize : 1u};
  if (in->map == MAP_1 && (in->opcode & 0xf0) == 0xb0) { /* MOV r, imm */
    wide = in->opcode & 8;
    *x = (struct variant){0, wide ? 0x8b : 0x8a, in->opcode & 7, wide ? in->opsize : 1u};
    return true;
  }
  if (in->map != MAP_1)
    return false;
  switch (in->opcode) {
  case 0xc6:
  case 0xc7: /* MOV */ x->opcode = 0x8a | wide; return reg_form;
  case 0x80:
  case 0x81: /* arithmetic */ x->opcode = in->reg << 3 | 2 | wide; return reg_form;
  case 0xa8:
  case 0xa9: /* TEST */
    x->opcode = 0x84 | wide;
    x->reg = EAX;
    return true;
  case 0xf6:
  case 0xf7: x->opcode = 0x84 | wide; return reg_form && in->reg == 0;
  case 0x69: /* IMUL */
    x->map = 1;
    x->opcode = 0xaf;
    return reg_form && in->reg == in->rm;
  default: /* arithmetic with the accumulator */
    x->opcode = (in->opcode & 0x38) | 2 | wide;
    x->reg = EAX;
    return in->opcode < 0x40 && (in->opcode & 6) == 4;
  }
}

static bool make_variant(struct insn *out, const struct insn *in, const struct variant *x, bool code32,
                         uint64_t features) {
  uint8_t bytes[INSN_MAX] = {0};
  unsigned n = 0;
  if ((in->opsize == 4) != code32)
    bytes[n++] = 0x66;
  if (!code32)
    bytes[n++] = 0x67;
  if (x->map)
    bytes[n++] = 0x0f;
  bytes[n++] = (uint8_t)x->opcode;
  bytes[n++] = (uint8_t)(x->reg << 3 | 5); /* [disp32] */
  if (insn_decode(out, bytes, INSN_MAX, code32, features) != INSN_OK)
    return false;
  out->length = in->length;
  out->seg = CS;
  out->base = BASE_EIP;
  out->disp = in->length - x->size;
  return true;
}

/*
 * What else is stored to again and again (INT n with the number patched, opcodes, displacements) is left to
 * the interpreter: blocks end before it, and what stands beside it stays translated.
 */
#define STORES_UNSTABLE 8u
#define RUNS_STABLE                                                                                          \
  64u /* then it is tried again (stores to it are not seen meanwhile); twice as many each time */
#define CHANCES_MAX 6u

static struct patched *unstable_at(const struct jit *j, uint32_t pa) {
  return (struct patched *)&j->unstable[(pa * 0x9e3779b1u) >> 22 & (PATCHES - 1)];
}

bool jit_unstable(const struct jit *j, uint32_t pa) {
  if (!j->unstable_any)
    return false;
  const struct patched *p = unstable_at(j, pa);
  return p->pa == pa && p->times >= STORES_UNSTABLE;
}

void jit_ran_unstable(struct jit *j, uint32_t pa) {
  struct patched *p = unstable_at(j, pa);
  if (++p->runs < RUNS_STABLE << p->chances)
    return;
  p->times = p->runs = 0;
  p->chances += p->chances < CHANCES_MAX;
}

/* Code that is replaced as a whole does not stand still around one instruction. */
#define NEIGHBOURS 24u
static uint32_t sum_neighbours(const uint8_t *page, uint32_t from, uint32_t length) {
  uint32_t sum = 2166136261u, first = from < NEIGHBOURS ? 0 : from - NEIGHBOURS;
  uint32_t end = from + length + NEIGHBOURS < MEM_PAGE ? from + length + NEIGHBOURS : MEM_PAGE;
  for (uint32_t at = first; at < end; at++)
    if (at < from || at >= from + length)
      sum = (sum ^ page[at]) * 16777619u;
  return sum;
}

static void note_unstable(struct jit *j, uint32_t pa, const uint8_t *page, uint32_t length) {
  struct patched *p = unstable_at(j, pa);
  uint32_t sum = sum_neighbours(page, pa & (MEM_PAGE - 1), length);
  if (p->pa != pa || p->neighbours != sum)
    *p = (struct patched){.pa = pa, .neighbours = sum};
  p->runs = 0;
  p->times += p->times < STORES_UNSTABLE;
  j->unstable_any = true;
}

/* Does the operand at `at` lie on both of the block's pages? */
static bool crosses(const struct block *b, int at, const struct variant *x) {
  int edge = (int)(MEM_PAGE - (b->pa & (MEM_PAGE - 1)));
  return at < edge && at + (int)x->size > edge;
}

void jit_note_patch(struct jit *j, const struct block *b, uint32_t pa, uint32_t size) {
  bool here = pa >> 12 == b->pa >> 12; /* or on the second page */
  int edge = (int)(MEM_PAGE - (b->pa & (MEM_PAGE - 1)));
  int off = here ? (int)(pa - b->pa) : edge + (int)(pa & (MEM_PAGE - 1)), start = INT16_MIN;
  uint8_t bytes[INSN_MAX];
  if (size > 4)
    return;
  for (uint32_t i = 0; i < b->map_count; i++) {
    int at = j->maps[b->map_first + i].eip_off;
    if (at <= off && at > start)
      start = at;
  }
  if (start == INT16_MIN)
    return;
  uint32_t from = jit_block_pa(b, start);
  struct insn in;
  struct variant x;
  if (insn_decode(&in, bytes, jit_block_bytes(j, b, start, bytes), b->mode & MODE_CODE32, j->cpu->features) !=
      INSN_OK)
    return;
  if (off >= start + in.length)
    return; /* in a gap of a trace */
  int operand = 0;
  bool variant = find_variant(&in, &x);
  if (variant)
    operand = start + in.length - (int)x.size;
  if (!variant || off < operand || off + (int)size > operand + (int)x.size || crosses(b, operand, &x)) {
    note_unstable(j, from, j->cpu->machine->mem->page[from >> 12].read, in.length);
    return;
  }
  uint32_t at = jit_block_pa(b, operand);
  struct patched *p = patched_at(j, at);
  if (p->pa != at)
    *p = (struct patched){.pa = at};
  p->times += p->times < UINT16_MAX;
  j->patched_any = true;
}

bool jit_patch_site(const struct block *b, uint32_t pa, uint64_t size) {
  for (unsigned i = 0; i < b->patch_count; i++) {
    uint32_t at = jit_block_pa(b, b->patch_off[i]);
    if (pa >= at && pa + size <= (uint64_t)at + b->patch_size[i])
      return true;
  }
  return false;
}

/* Are bytes from .. from + size - 1 part of instruction k only, and of others at its address? */
static bool only_in(const struct insn *insns, const int16_t *off, unsigned count, unsigned k, int from,
                    int size) {
  for (unsigned i = 0; i < count; i++)
    if (off[i] != off[k] && off[i] < from + size && from < off[i] + insns[i].length)
      return false;
  return true;
}

static bool add_site(struct block *b, int off, unsigned size) {
  for (unsigned i = 0; i < b->patch_count; i++)
    if (b->patch_off[i] == off)
      return true;
  if (b->patch_count == PATCH_SITES)
    return false;
  b->patch_off[b->patch_count] = (int16_t)off;
  b->patch_size[b->patch_count++] = (uint8_t)size;
  return true;
}

void jit_apply_patches(struct jit *j, struct block *b, struct insn *insns, const int16_t *off,
                       unsigned count) {
  if (!j->patched_any)
    return;
  for (unsigned i = 0; i < count; i++) {
    struct variant x;
    struct insn in;
    if (!find_variant(&insns[i], &x))
      continue;
    int at = off[i] + insns[i].length - (int)x.size;
    uint32_t pa = jit_block_pa(b, at);
    const struct patched *p = patched_at(j, pa);
    if (p->pa == pa && p->times >= PATCHES_APPLIED && !crosses(b, at, &x) &&
        only_in(insns, off, count, i, at, (int)x.size) &&
        make_variant(&in, &insns[i], &x, b->mode & MODE_CODE32, j->cpu->features) && add_site(b, at, x.size))
      insns[i] = in;
  }
}

/* --- the stub --- */

enum { OP_AND = 4, OP_CMP = 7, OP_SHL = 4, OP_SHR = 5 };

static void alu_imm(struct emitter *e, int op, int reg, uint32_t imm) {
  emit_op_rr(e, 0, OM_1, 0x81, op, reg);
  e32(e, imm);
}

static void shift_imm(struct emitter *e, int op, int reg, unsigned count) {
  emit_op_rr(e, 0, OM_1, 0xc1, op, reg);
  e8(e, count);
}

static struct host_mem entry(size_t member) { return hm_base(RDX, (int32_t)member); }

/*
 * R8D = linear address, ECX = description of a store (SLOW_SIZE): RCX = addend, or 0: ask C. Changes R9.
 */
void jit_make_code_store(struct jit *j, struct emitter *e) {
  enum { BELOW_OR_EQUAL = 6, NOT_EQUAL = 5, CARRY = 2 };
  uint8_t *miss[5];
  emit_push64(e, RAX);
  emit_push64(e, RDX);
  e8(e, 0x9f);                           /* lahf */
  emit_op_rr(e, 0, OM_0F, 0x90, 0, RAX); /* seto al */
  emit_push64(e, RAX);
  /* rdx = entry, r9d = key */
  emit_mov_imm64(e, RDX, (uintptr_t)j->code_store);
  emit_mov_rr(e, R9, R8);
  shift_imm(e, OP_SHR, R9, 12);
  emit_mov_rr(e, RAX, R9);
  alu_imm(e, OP_AND, RAX, CODE_STORES - 1);
  shift_imm(e, OP_SHL, RAX, ENTRY_SHIFT);
  emit_lea64(e, RDX, hm_index(RDX, RAX, 0, 0));
  emit_load(e, RAX, CPU_FIELD(mode));
  alu_imm(e, OP_AND, RAX, MODE_USER);
  shift_imm(e, OP_SHR, RAX, 1);
  _Static_assert(MODE_USER >> 1 == 2, "bit 1 of the key");
  emit_lea(e, R9, hm_index(RAX, R9, 2, 1));
  emit_op_rm(e, 0, OM_1, 0x3b, R9, entry(offsetof(struct code_store, key))); /* cmp r9d, [key] */
  miss[0] = emit_jcc8(e, NOT_EQUAL);
  /* rax, rcx = granules of the first and the last byte */
  emit_mov_rr(e, RAX, R8);
  alu_imm(e, OP_AND, RAX, MEM_PAGE - 1);
  alu_imm(e, OP_AND, RCX, 63);
  emit_lea(e, RCX, hm_index(RCX, RAX, 0, -1));
  alu_imm(e, OP_CMP, RCX, MEM_PAGE - 1);
  uint8_t *inside = emit_jcc8(e, BELOW_OR_EQUAL);
  miss[1] = emit_jmp8(e);
  emit_patch8(inside, e->p);
  shift_imm(e, OP_SHR, RAX, 6);
  shift_imm(e, OP_SHR, RCX, 6);
  emit_load64(e, R9, entry(offsetof(struct code_store, granules)));
  emit_load64(e, R9, hm_base(R9, 0));
  emit_op_rr(e, EO_W, OM_0F, 0xa3, RAX, R9); /* bt r9, rax */
  miss[2] = emit_jcc8(e, CARRY);
  emit_op_rr(e, EO_W, OM_0F, 0xa3, RCX, R9);
  miss[3] = emit_jcc8(e, CARRY);
  emit_load64(e, R9, entry(offsetof(struct code_store, flags)));
  emit_op_rm(e, 0, OM_1, 0x80, OP_CMP, hm_base(R9, 0)); /* cmp byte [flags], imm8 */
  e8(e, PAGE_CODE | PAGE_CODE_HERE);
  miss[4] = emit_jcc8(e, NOT_EQUAL);
  emit_load64(e, RCX, entry(offsetof(struct code_store, addend)));
  uint8_t *out = emit_jmp8(e);
  for (int i = 0; i < 5; i++)
    emit_patch8(miss[i], e->p);
  emit_mov_imm(e, RCX, 0);
  emit_patch8(out, e->p);
  emit_pop64(e, RAX);
  emit_op_rr(e, 0, OM_1, 0x80, 0, RAX); /* add al, 127: OF = old OF */
  e8(e, 127);
  e8(e, 0x9e); /* sahf */
  emit_pop64(e, RDX);
  emit_pop64(e, RAX);
  e8(e, 0xc3);
}
