/* SPDX-License-Identifier: MIT */
/*
 * The translator's parts: every form of the emitter read back by Capstone, and the block cache: linking,
 * invalidation by stores and DMA, keys, and a cache that is too small. What translated code computes is the
 * lockstep tests' matter.
 */
#include <capstone/capstone.h>

#include "core/engine.h"
#include "core/hostfpu.h"
#include "cpu_fixture.h"
#include "translate/jit.h"
#include "translate/translate.h"

/* --- emitter --- */

static const x86_reg reg64[16] = {
    X86_REG_RAX, X86_REG_RCX, X86_REG_RDX, X86_REG_RBX, X86_REG_RSP, X86_REG_RBP, X86_REG_RSI, X86_REG_RDI,
    X86_REG_R8,  X86_REG_R9,  X86_REG_R10, X86_REG_R11, X86_REG_R12, X86_REG_R13, X86_REG_R14, X86_REG_R15,
};
static const x86_reg reg32[16] = {
    X86_REG_EAX,  X86_REG_ECX,  X86_REG_EDX,  X86_REG_EBX,  X86_REG_ESP,  X86_REG_EBP,
    X86_REG_ESI,  X86_REG_EDI,  X86_REG_R8D,  X86_REG_R9D,  X86_REG_R10D, X86_REG_R11D,
    X86_REG_R12D, X86_REG_R13D, X86_REG_R14D, X86_REG_R15D,
};
static const x86_reg reg16[16] = {
    X86_REG_AX,   X86_REG_CX,   X86_REG_DX,   X86_REG_BX,   X86_REG_SP,   X86_REG_BP,
    X86_REG_SI,   X86_REG_DI,   X86_REG_R8W,  X86_REG_R9W,  X86_REG_R10W, X86_REG_R11W,
    X86_REG_R12W, X86_REG_R13W, X86_REG_R14W, X86_REG_R15W,
};
static const x86_reg reg8[16] = {
    X86_REG_AL,   X86_REG_CL,   X86_REG_DL,   X86_REG_BL,   X86_REG_SPL,  X86_REG_BPL,
    X86_REG_SIL,  X86_REG_DIL,  X86_REG_R8B,  X86_REG_R9B,  X86_REG_R10B, X86_REG_R11B,
    X86_REG_R12B, X86_REG_R13B, X86_REG_R14B, X86_REG_R15B,
};

static csh capstone;
static uint8_t buffer[512]; /* jumps aim before and behind `code` */
static uint8_t *const code = buffer + 256;
static struct emitter em;
static cs_insn *seen;

static void capstone_open(void) {
  ck_assert_int_eq(cs_open(CS_ARCH_X86, CS_MODE_64, &capstone), CS_ERR_OK);
  cs_option(capstone, CS_OPT_DETAIL, CS_OPT_ON);
  seen = cs_malloc(capstone);
}

static void capstone_close(void) {
  cs_free(seen, 1);
  cs_close(&capstone);
}

static void begin(void) {
  memset(code, 0xcc, 64);
  em = (struct emitter){code, code + 64};
}

/* What was emitted is one instruction, this one. */
static const cs_x86 *read_back(x86_insn id) {
  const uint8_t *p = code;
  size_t size = 64;
  uint64_t address = 0x1000;
  ck_assert(cs_disasm_iter(capstone, &p, &size, &address, seen));
  ck_assert_ptr_eq(p, em.p);
  ck_assert_msg(seen->id == (unsigned)id, "%s %s", seen->mnemonic, seen->op_str);
  return &seen->detail->x86;
}

static void is_reg(const cs_x86_op *op, x86_reg reg) {
  ck_assert_int_eq(op->type, X86_OP_REG);
  ck_assert_int_eq(op->reg, reg);
}

static void is_mem(const cs_x86_op *op, struct host_mem m, unsigned size) {
  ck_assert_int_eq(op->type, X86_OP_MEM);
  ck_assert_int_eq(op->mem.base, reg64[m.base]);
  ck_assert_int_eq(op->mem.index, m.index == NOREG ? X86_REG_INVALID : reg64[m.index]);
  if (m.index != NOREG)
    ck_assert_int_eq(op->mem.scale, 1 << m.scale);
  ck_assert_int_eq(op->mem.disp, m.disp);
  ck_assert_uint_eq(op->size, size);
}

static void is_imm(const cs_x86_op *op, uint64_t imm) {
  ck_assert_int_eq(op->type, X86_OP_IMM);
  ck_assert_uint_eq((uint64_t)op->imm, imm);
}

START_TEST(test_emit_registers) {
  for (int a = 0; a < 16; a++)
    for (int b = 0; b < 16; b++) {
      const cs_x86 *x;
      begin(), emit_mov_rr(&em, a, b), x = read_back(X86_INS_MOV);
      is_reg(&x->operands[0], reg32[a]), is_reg(&x->operands[1], reg32[b]);
      begin(), emit_mov_rr64(&em, a, b), x = read_back(X86_INS_MOV);
      is_reg(&x->operands[0], reg64[a]), is_reg(&x->operands[1], reg64[b]);
      begin(), emit_movzx16(&em, a, b), x = read_back(X86_INS_MOVZX);
      is_reg(&x->operands[0], reg32[a]), is_reg(&x->operands[1], reg16[b]);
      begin(), emit_movzx8(&em, a, b), x = read_back(X86_INS_MOVZX);
      is_reg(&x->operands[0], reg32[a]), is_reg(&x->operands[1], reg8[b]);
      begin(), emit_rorx(&em, a, b, 11), x = read_back(X86_INS_RORX);
      is_reg(&x->operands[0], reg32[a]), is_reg(&x->operands[1], reg32[b]), is_imm(&x->operands[2], 11);
      begin(), emit_op_rr(&em, EO_66, OM_1, 0x01, a, b), x = read_back(X86_INS_ADD);
      is_reg(&x->operands[0], reg16[b]), is_reg(&x->operands[1], reg16[a]);
      begin(), emit_op_rr(&em, EO_BYTEREX, OM_1, 0x88, a, b), x = read_back(X86_INS_MOV);
      is_reg(&x->operands[0], reg8[b]), is_reg(&x->operands[1], reg8[a]);
      begin(), emit_op_rr(&em, EO_66 | EO_F2, OM_0F38, 0xf1, a, b), x = read_back(X86_INS_CRC32);
      is_reg(&x->operands[0], reg32[a]), is_reg(&x->operands[1], reg16[b]);
      begin(), emit_op_rr(&em, EO_F3, OM_0F, 0xb8, a, b), x = read_back(X86_INS_POPCNT);
      is_reg(&x->operands[0], reg32[a]), is_reg(&x->operands[1], reg32[b]);
      for (int c = 0; c < 16; c++)
        for (int w = 0; w < 2; w++) {
          const x86_reg *r = w ? reg64 : reg32;
          begin(), emit_shrx(&em, a, b, c, w), x = read_back(X86_INS_SHRX);
          is_reg(&x->operands[0], r[a]), is_reg(&x->operands[1], r[b]), is_reg(&x->operands[2], r[c]);
        }
    }
}
END_TEST

/* Every base, index, scale and size of displacement. */
START_TEST(test_emit_memory) {
  static const int32_t disp[] = {0, 1, -1, 127, 128, -128, -129, 0x12345678, INT32_MIN};
  for (int base = 0; base < 16; base++)
    for (int index = -1; index < 16; index++)
      for (unsigned d = 0; d < sizeof disp / sizeof disp[0]; d++) {
        if (index == RSP)
          continue;
        int scale = index < 0 ? 0 : (base + index + (int)d) & 3, reg = (base * 5 + index + (int)d + 1) & 15;
        struct host_mem m = hm_index(base, index, scale, disp[d]);
        const cs_x86 *x;
        begin(), emit_load(&em, reg, m), x = read_back(X86_INS_MOV);
        is_reg(&x->operands[0], reg32[reg]), is_mem(&x->operands[1], m, 4);
        begin(), emit_load64(&em, reg, m), x = read_back(X86_INS_MOV);
        is_reg(&x->operands[0], reg64[reg]), is_mem(&x->operands[1], m, 8);
        begin(), emit_store(&em, m, reg), x = read_back(X86_INS_MOV);
        is_mem(&x->operands[0], m, 4), is_reg(&x->operands[1], reg32[reg]);
        begin(), emit_store64(&em, m, reg), x = read_back(X86_INS_MOV);
        is_mem(&x->operands[0], m, 8), is_reg(&x->operands[1], reg64[reg]);
        begin(), emit_store_imm(&em, m, 0x89abcdef), x = read_back(X86_INS_MOV);
        is_mem(&x->operands[0], m, 4);
        ck_assert_uint_eq((uint32_t)x->operands[1].imm, 0x89abcdefu);
        begin(), emit_store_imm16(&em, m, 0x89ab), x = read_back(X86_INS_MOV);
        is_mem(&x->operands[0], m, 2);
        ck_assert_uint_eq((uint16_t)x->operands[1].imm, 0x89abu);
        begin(), emit_lea64(&em, reg, m), x = read_back(X86_INS_LEA);
        is_reg(&x->operands[0], reg64[reg]);
        ck_assert_int_eq(x->operands[1].mem.disp, m.disp);
        begin(), emit_lea(&em, reg, m), x = read_back(X86_INS_LEA);
        is_reg(&x->operands[0], reg32[reg]);
        ck_assert_int_eq(x->operands[1].mem.base, reg64[base]);
        begin(), emit_jmp_mem(&em, m), x = read_back(X86_INS_JMP);
        is_mem(&x->operands[0], m, 8);
        begin(), emit_op_rm(&em, EO_LOCK | EO_66, OM_0F, 0xc1, reg, m), x = read_back(X86_INS_XADD);
        is_mem(&x->operands[0], m, 2), is_reg(&x->operands[1], reg16[reg]);
        ck_assert_int_eq(x->prefix[0], X86_PREFIX_LOCK);
        begin(), emit_op_rm(&em, EO_66, OM_0F3A, 0x0f, reg & 7, m), e8(&em, 3),
            x = read_back(X86_INS_PALIGNR);
        is_reg(&x->operands[0], X86_REG_XMM0 + (reg & 7)), is_mem(&x->operands[1], m, 16);
      }
}
END_TEST

START_TEST(test_emit_constants_and_branches) {
  for (int r = 0; r < 16; r++) {
    begin(), emit_mov_imm(&em, r, 0xfedcba98);
    const cs_x86 *x = read_back(X86_INS_MOV);
    is_reg(&x->operands[0], reg32[r]);
    ck_assert_uint_eq((uint32_t)x->operands[1].imm, 0xfedcba98u);
    begin(), emit_mov_imm64(&em, r, 0xfedcba9876543210ull), x = read_back(X86_INS_MOVABS);
    is_reg(&x->operands[0], reg64[r]), is_imm(&x->operands[1], 0xfedcba9876543210ull);
  }
  static const x86_insn jcc[16] = {
      X86_INS_JO, X86_INS_JNO, X86_INS_JB, X86_INS_JAE, X86_INS_JE, X86_INS_JNE, X86_INS_JBE, X86_INS_JA,
      X86_INS_JS, X86_INS_JNS, X86_INS_JP, X86_INS_JNP, X86_INS_JL, X86_INS_JGE, X86_INS_JLE, X86_INS_JG};
  for (int cc = 0; cc < 16; cc++) {
    begin(), emit_patch32(emit_jcc32(&em, cc), code + 40);
    is_imm(&read_back(jcc[cc])->operands[0], 0x1000 + 40);
    begin(), ck_assert(emit_patch8(emit_jcc8(&em, cc), code + 40));
    is_imm(&read_back(jcc[cc])->operands[0], 0x1000 + 40);
  }
  begin(), emit_jmp_to(&em, code);
  is_imm(&read_back(X86_INS_JMP)->operands[0], 0x1000);
  begin(), emit_call_to(&em, code + 33);
  is_imm(&read_back(X86_INS_CALL)->operands[0], 0x1000 + 33);
  begin(), ck_assert(emit_patch8(emit_jrcxz(&em), code + 2 + 127));
  is_imm(&read_back(X86_INS_JRCXZ)->operands[0], 0x1000 + 2 + 127);
  begin(), ck_assert(emit_patch8(emit_jmp8(&em), code + 2 - 128));
  is_imm(&read_back(X86_INS_JMP)->operands[0], 0x1000 + 2 - 128);
  begin();
  uint8_t *field = emit_jrcxz(&em);
  ck_assert(!emit_patch8(field, field + 1 + 128));
  ck_assert(!emit_patch8(field, field + 1 - 129));
}
END_TEST

/* --- blocks --- */

#define START 0x4000u
#define HANDLER 0xf000u

static struct bed bed_make(const struct engine *engine, const char *options) {
  struct bed b = bed_with_engine(engine, options, HANDLER);
  control_set_cr0(b.cpu, CR0_PE | CR0_ET | CR0_NE);
  control_set_cr4(b.cpu, CR4_OSFXSR | CR4_OSXMMEXCPT);
  bed_ring(&b, 0);
  return b;
}

static struct jit *jit_of(struct bed *b) { return b->cpu->engine_data; }

static void put_code(struct bed *b, uint32_t pa, const char *bytes, size_t n) {
  mem_dma_write(b->m->mem, pa, bytes, n);
}
#define CODE(b, pa, bytes) put_code(b, pa, bytes, sizeof(bytes) - 1)

/* From START until HLT; returns the instructions retired. */
static uint64_t run(struct bed *b) {
  struct cpu *c = b->cpu;
  uint64_t before = cpu_icount(c);
  c->eip = c->next_eip = START;
  c->halted = 0;
  c->icount_limit = before + 10000000;
  for (int i = 0; i < 100000 && !c->halted && !c->shutdown && cpu_icount(c) < c->icount_limit; i++)
    b->m->config.engine->run(c);
  ck_assert(c->halted && !c->shutdown);
  return cpu_icount(c) - before;
}

static struct block *find(struct bed *b, uint32_t pa) {
  bool crosses;
  return jit_find(jit_of(b), pa, pa, NO_PAGE, &crosses);
}

START_TEST(test_options) {
  struct cpu *c = cpu_new(NULL, cpu_model_find("max"));
  ck_assert_int_lt(engine_tlb.init(c, "cache=0"), 0);
  ck_assert_int_lt(engine_tlb.init(c, "cache=-1"), 0);
  ck_assert_int_lt(engine_tlb.init(c, "cache=1x"), 0);
  ck_assert_int_lt(engine_tlb.init(c, "cache=99999999999999999999"), 0);
  ck_assert_int_lt(engine_tlb.init(c, "size=1"), 0);
  ck_assert_ptr_null(c->engine_data);
  cpu_free(c);
}
END_TEST

START_TEST(test_linking) {
  struct bed b = bed_make(&engine_tlb, "hot=on");
  CODE(&b, START,
       "\xb9\x10\x27\x00\x00" /* mov ecx, 10000 */ "\x31\xc0"                          /* xor eax, eax */
       "\x40" /* 4007: inc eax */ "\xeb\x00" /* jmp */ "\x49" /* dec ecx */ "\x75\xfa" /* jnz 4007 */
       "\xf4");
  ck_assert_uint_eq(run(&b), 3 + 4 * 10000);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 10000);
  ck_assert_uint_ge(jit_of(&b)->stat.links, 2);
  ck_assert_uint_lt(jit_of(&b)->stat.lookups, 20);
  struct block *body = find(&b, START + 10);
  ck_assert_ptr_nonnull(body);
  ck_assert_uint_ne(body->incoming, 0);
  ck_assert_ptr_eq(jit_block_at(jit_of(&b), body->host), body);
  ck_assert_ptr_eq(jit_block_at(jit_of(&b), body->host + body->host_size - 1), body);
  jit_block_invalidate(jit_of(&b), body); /* takes the links with it */
  ck_assert_uint_eq(body->incoming, 0);
  ck_assert_ptr_null(find(&b, START + 10));
  uint64_t translated = jit_of(&b)->stat.blocks;
  ck_assert_uint_eq(run(&b), 3 + 4 * 10000);
  ck_assert_uint_eq(jit_of(&b)->stat.blocks, translated + 1);
  machine_free(b.m);
}
END_TEST

/* Between the rings by INT and IRET: the jump cache knows the way, once it has been found. */
START_TEST(test_ring_changes) {
  static const struct engine *const engines[] = {&engine_tlb, &engine_window};
  for (int i = 0; i < 2; i++) {
    struct bed b = bed_make(engines[i], "hot=on");
    put_gate(&b, IDT + 0x80 * 8, K_CODE, 0xe000, 0xee, 0);
    CODE(&b, 0xe000, "\x43\xcf"); /* inc ebx; iret */
    CODE(&b, START,
         "\xb9\x10\x27\x00\x00" /* mov ecx, 10000 */ "\xcd\x80" /* 4005: int 80h */
         "\x49" /* dec ecx */ "\x75\xfb" /* jnz 4005 */ "\xf4" /* hlt: #GP, and the handler halts */);
    seg_from_desc(&b.cpu->seg[TR], S_TSS_A,
                  (struct desc){get32(&b, GDT + S_TSS_A), get32(&b, GDT + S_TSS_A + 4) | 0x200});
    bed_ring(&b, 3);
    b.cpu->gpr[EBX] = 0;
    run(&b);
    ck_assert_uint_eq(b.cpu->gpr[EBX], 10000);
    ck_assert_uint_eq(b.cpu->eip, HANDLER + EXC_GP + 1);
    ck_assert_uint_lt(jit_of(&b)->stat.lookups, 200);
    machine_free(b.m);
  }
}
END_TEST

START_TEST(test_invalidation) {
  struct bed b = bed_make(&engine_tlb, "hot=on");
  struct mem *mem = b.m->mem;
  CODE(&b, START, "\xb8\x01\x00\x00\x00\xeb\x39"); /* mov eax, 1; jmp 4040 */
  CODE(&b, START + 0x40, "\x43\xf4");              /* inc ebx; hlt */
  run(&b);
  ck_assert_ptr_nonnull(find(&b, START));
  ck_assert_ptr_nonnull(find(&b, START + 0x40));
  mem_write(mem, START + 7, 1, 0x90); /* between the blocks */
  mem_write(mem, START - 4, 4, 0);
  mem_write(mem, START + 0x42, 4, 0);
  ck_assert_ptr_nonnull(find(&b, START));
  ck_assert_ptr_nonnull(find(&b, START + 0x40));
  mem_write(mem, START + 6, 2, 0x9039); /* the last byte of the first */
  ck_assert_ptr_null(find(&b, START));
  ck_assert_ptr_nonnull(find(&b, START + 0x40));
  run(&b);
  mem_dma_write(mem, START - 0x10, "0123456789abcdef\xb8\x02\x00\x00\x00\xeb\x39", 23);
  ck_assert_ptr_null(find(&b, START));
  run(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 2);
  mem_write(mem, START + 0x40, 1, 0x4b); /* dec ebx */
  mem_write(mem, START, 1, 0xb9);
  ck_assert(!(mem->page[START / MEM_PAGE].flags & PAGE_CODE)); /* nothing is left to watch */
  b.cpu->gpr[EBX] = 5;
  run(&b);
  ck_assert_uint_eq(b.cpu->gpr[ECX], 2);
  ck_assert_uint_eq(b.cpu->gpr[EBX], 4);
  machine_free(b.m);
}
END_TEST

/* One physical address, several kinds of code. */
START_TEST(test_keys) {
  struct bed b = bed_make(&engine_tlb, "hot=on");
  CODE(&b, START, "\xb8\x34\x12\xf4\x90\xf4"); /* mov ax, 1234h; hlt or mov eax, 90f41234h; hlt */
  run(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 0x90f41234);
  struct block *wide = find(&b, START);
  b.cpu->seg[CS].attr &= (uint16_t)~SEG_DB;
  cpu_update_mode(b.cpu);
  ck_assert_ptr_null(find(&b, START));
  b.cpu->gpr[EAX] = 0;
  run(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 0x1234);
  ck_assert_ptr_ne(find(&b, START), wide);
  b.cpu->seg[CS].attr |= SEG_DB;
  cpu_update_mode(b.cpu);
  ck_assert_ptr_eq(find(&b, START), wide);
  b.cpu->seg[CS].limit = START + 4; /* cuts HLT off */
  seg_update_room(&b.cpu->seg[CS], false);
  cpu_update_mode(b.cpu);
  ck_assert_ptr_null(find(&b, START));
  run(&b);
  ck_assert_uint_eq(b.cpu->eip, HANDLER + EXC_GP + 1);
  machine_free(b.m);
}
END_TEST

/* More code than fits, twice around: blocks and links go, the result stays. */
static void run_more_than_fits(const struct engine *engine, uint32_t steps) {
  struct bed b = bed_make(engine, "cache=1,hot=on");
  const uint32_t chain = 0x100000;
  for (uint32_t i = 0; i < steps; i++)
    memcpy(b.ram + chain + i * 3, "\x40\xeb\x00", 3);   /* inc eax; jmp */
  memcpy(b.ram + chain + steps * 3, "\x49\x0f\x85", 3); /* dec ecx; jnz chain; hlt */
  put32(&b, chain + steps * 3 + 3, -(steps * 3 + 7));
  b.ram[chain + steps * 3 + 7] = 0xf4;
  CODE(&b, START, "\x31\xc0\xb9\x03\x00\x00\x00\xe9");
  put32(&b, START + 8, chain - START - 12);
  ck_assert_uint_eq(run(&b), 4 + 3 * (2 * steps + 2));
  ck_assert_uint_eq(b.cpu->gpr[EAX], 3 * steps);
  ck_assert_uint_ge(jit_of(&b)->stat.flushes, 1);
  machine_free(b.m);
}

START_TEST(test_small_cache) {
  run_more_than_fits(&engine_tlb, 60000);
  run_more_than_fits(&engine_window, 300000); /* in which exits' links are looked at again */
}
END_TEST

/* Code that runs twice is the interpreter's; from the third time on it is translated. */
START_TEST(test_cold_code) {
  struct bed b = bed_make(&engine_tlb, NULL);
  CODE(&b, START,
       "\xb9\x05\x00\x00\x00" /* mov ecx, 5 */ "\x40\x40\x49\x75\xfb" /* 4005: inc, inc, dec, jnz */
       "\xf4");
  b.cpu->gpr[EAX] = 0;
  run(&b);
  ck_assert_uint_eq(b.cpu->gpr[EAX], 10);
  /* mov and the first turn, the second turn, HLT; three turns are left for translated code */
  ck_assert_uint_eq(jit_of(&b)->stat.steps, 5 + 4 + 4 + 1);
  ck_assert_uint_eq(jit_of(&b)->stat.blocks, 1);
  machine_free(b.m);
}
END_TEST

/* The cache grows only where it is filled in no time with what was there before, and a flush gives the host
 * its memory back. */
START_TEST(test_cache_limit) {
  struct bed b = bed_make(&engine_tlb, "hot=on");
  struct jit *j = jit_of(&b);
  size_t first = j->limit;
  CODE(&b, START, "\x40\xf4");
  run(&b);
  ck_assert_uint_lt(first, j->size);
  j->next = j->stubs_end + first; /* full of new code */
  *j->next = 1;
  jit_block_new(j);
  ck_assert_uint_eq(j->stat.flushes, 1);
  ck_assert_uint_eq(j->limit, first);
  ck_assert_uint_eq(j->stubs_end[first], 0);
  ck_assert_ptr_eq(j->next, j->stubs_end);
  run(&b); /* the same again */
  j->next = j->stubs_end + first;
  jit_block_new(j);
  ck_assert_uint_eq(j->stat.flushes, 1);
  ck_assert_uint_gt(j->limit, first);
  j->next = j->stubs_end + j->limit;
  b.cpu->icount += 1ull << 33; /* but it took long */
  jit_block_new(j);
  ck_assert_uint_eq(j->stat.flushes, 2);
  ck_assert_uint_eq(j->limit, first);
  machine_free(b.m);
}
END_TEST

/* Every block keeps inside what the cache reserves for it. */
START_TEST(test_block_size) {
  struct bed b = bed_make(&engine_tlb, "hot=on");
  static const char *const dense[] = {
      "\x64\xff\x35\x00\x00\x02\x00",     /* push [fs:20000h] */
      "\x64\xdd\x04\x25\x00\x00\x02\x00", /* fld qword [fs:20000h] */
      "\x64\x00\x2c\x25\x00\x00\x02\x00", /* add [fs:20000h], ch */
      "\xa4",                             /* movsb */
      "\xf3\xa5",                         /* rep movsd */
      "\x8f\x05\x00\x00\x02\x00",         /* pop [20000h] */
      "\xff\x14\x25\x00\x00\x02\x00",     /* call [20000h] */
      "\xc8\x10\x00\x02",                 /* enter 10h, 2 */
  };
  for (unsigned k = 0; k < sizeof dense / sizeof dense[0]; k++)
    for (int limited = 0; limited < 2; limited++) {
      struct insn in;
      ck_assert_int_eq(insn_decode(&in, (const uint8_t *)dense[k], 15, true, b.cpu->features), INSN_OK);
      uint32_t at = 0x80000 + k * 0x2000 + (uint32_t)limited * 0x1000;
      for (uint32_t i = 0; i < BLOCK_MAX_INSNS; i++)
        mem_dma_write(b.m->mem, at + i * in.length, dense[k], in.length);
      for (int s = ES; s <= DS; s++)
        if (s != CS) {
          b.cpu->seg[s].limit = limited ? 0x2fffff : 0xffffffff;
          seg_update_room(&b.cpu->seg[s], false);
        }
      cpu_update_mode(b.cpu);
      b.cpu->eip = at;
      struct block *block = jit_translate(jit_of(&b), at, false);
      ck_assert_ptr_nonnull(block);
      ck_assert_uint_le(block->host_size, block->insns * INSN_HOST_MAX);
      ck_assert_uint_le(block->map_count, 4u * BLOCK_MAX_INSNS);
    }
  machine_free(b.m);
}
END_TEST

/* The core tries SSE instructions on the host: an engine's handlers must not take its SIGFPE for theirs. */
START_TEST(test_sigfpe_in_core) {
  struct bed a = bed_make(&engine_interp, NULL), b = {0};
  for (int turn = 0; turn < 2; turn++) {
    struct bed *beds[2] = {&a, &b};
    for (int i = 0; i <= turn; i++) {
      CODE(beds[i], START, "\x0f\x57\xc0\xf3\x0f\x5e\xc8\xf4"); /* xorps xmm0, xmm0; divss xmm1, xmm0 */
      beds[i]->cpu->fx.mxcsr = 0x1f80 & ~0x200u;                /* division by zero unmasked */
      put32(beds[i], 0x20000, 0x3f800000);
      memcpy(beds[i]->cpu->fx.xmm[1], beds[i]->ram + 0x20000, 4);
      run(beds[i]);
      ck_assert_uint_eq(beds[i]->cpu->eip, HANDLER + EXC_XM + 1);
      ck_assert_uint_eq(beds[i]->cpu->fx.mxcsr & 0x3f, 4);
      bed_ring(beds[i], 0);
    }
    if (turn == 0)
      b = bed_make(&engine_tlb, "hot=on"); /* installs its handlers over the core's */
  }
  machine_free(a.m);
  machine_free(b.m);
}
END_TEST

Suite *suite_translate(void) {
  Suite *s = suite_create("translate");
  TCase *emitter = tcase_create("emitter");
  tcase_add_checked_fixture(emitter, capstone_open, capstone_close);
  tcase_add_test(emitter, test_emit_registers);
  tcase_add_test(emitter, test_emit_memory);
  tcase_add_test(emitter, test_emit_constants_and_branches);
  suite_add_tcase(s, emitter);
  TCase *blocks = tcase_create("blocks");
  tcase_set_timeout(blocks, 30);
  tcase_add_test(blocks, test_options);
  tcase_add_test(blocks, test_linking);
  tcase_add_test(blocks, test_ring_changes);
  tcase_add_test(blocks, test_invalidation);
  tcase_add_test(blocks, test_keys);
  tcase_add_test(blocks, test_small_cache);
  tcase_add_test(blocks, test_cold_code);
  tcase_add_test(blocks, test_cache_limit);
  tcase_add_test(blocks, test_block_size);
  tcase_add_test(blocks, test_sigfpe_in_core);
  suite_add_tcase(s, blocks);
  return s;
}
