/* SPDX-License-Identifier: MIT */
/*
 * Guest code that writes where it runs: stores to pages that hold translated code, but beside it.
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
      .addend = (uint64_t)(uintptr_t)p->write - (la & ~(MEM_PAGE - 1)),
      .granules = &j->code_granules[pa >> 12],
      .flags = &p->flags,
  };
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
