/* SPDX-License-Identifier: MIT */
/*
 * The interpreter against silicon and against the manual. First, random register-to-register instructions run on the
 * host's processor and through interp_step, and must leave the same registers and flags. Then what user mode
 * cannot show: memory operands, stack widths, string instructions, and restart after faults.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/engine.h"
#include "core/insn.h"
#include "core/io.h"
#include "core/machine.h"
#include "core/mem.h"
#include "core/paging.h"
#include "core/segment.h"

#define CODE 0x10000u
#define STACK 0x20000u
#define DATA 0x30000u
#define HANDLER 0x8000u /* every interrupt gate points here: HLT */
#define RAM_SIZE 0x400000u

static struct machine machine;
static struct cpu *cpu;

static uint64_t random_state = 0x9e3779b97f4a7c15ull;
static uint32_t random_next(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 16);
}
static uint32_t random_value(void) {
  static const uint32_t edges[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, ~0u};
  return random_next() % 3 ? random_next() : edges[random_next() % 12];
}

static void poke(uint32_t pa, const void *data, size_t n) { mem_dma_write(machine.mem, pa, data, n); }
static void poke32(uint32_t pa, uint32_t v) { poke(pa, &v, 4); }
static void poke16(uint32_t pa, uint16_t v) { poke(pa, &v, 2); }
static uint32_t peek32(uint32_t pa) { return (uint32_t)mem_read(machine.mem, pa, 4); }

static void set_seg(int seg, uint32_t base, uint32_t limit, uint16_t attr) {
  cpu->seg[seg].base = base;
  cpu->seg[seg].limit = limit;
  cpu->seg[seg].attr = attr;
  seg_update_room(&cpu->seg[seg], false);
}

/* Flat 32-bit protected mode, CPL 0, every vector a 32-bit interrupt gate to HANDLER. */
static void setup(void) {
  memset(&machine, 0, sizeof machine);
  machine.mem = mem_new();
  machine.ram = mem_block_new(machine.mem, "ram", RAM_SIZE);
  mem_map_ram(machine.mem, 0, RAM_SIZE, machine.ram, 0);
  machine.io = io_bus_new();
  cpu = cpu_new(&machine, cpu_model_find("max"));
  ck_assert_ptr_nonnull(cpu);
  machine.cpu[0] = cpu;
  machine.cpu_count = 1;
  cpu->icount_limit = ~0ull;
  poke32(0x1008, 0x0000ffff), poke32(0x100c, 0x00cf9b00); /* 08h: code */
  poke32(0x1010, 0x0000ffff), poke32(0x1014, 0x00cf9300); /* 10h: data */
  cpu->gdtr = (struct dtr){.base = 0x1000, .limit = 0x17};
  for (uint32_t i = 0; i < 32; i++) {
    poke32(0x2000 + i * 8, 0x00080000 | HANDLER);
    poke32(0x2004 + i * 8, 0x00008e00);
  }
  cpu->idtr = (struct dtr){.base = 0x2000, .limit = 32 * 8 - 1};
  poke(HANDLER, "\xf4", 1);
  cpu->cr0 |= CR0_PE;
  for (int i = 0; i < LDTR; i++)
    set_seg(i, 0, 0xffffffffu, i == CS ? 0xc09b : 0xc093);
  cpu->seg[CS].sel = 8;
  cpu->gpr[ESP] = STACK;
  cpu->eip = CODE;
  cpu_update_mode(cpu);
}

static void teardown(void) {
  cpu_free(cpu);
  io_bus_free(machine.io);
  mem_free(machine.mem);
}

static void code(const void *bytes, size_t n) {
  poke(CODE, bytes, n);
  cpu->eip = CODE;
}
#define RUN(bytes) (code(bytes, sizeof(bytes) - 1), interp_step(cpu))

/* After distinct_gates: the vector that was taken, -1 if none. */
static int vector_taken(void) {
  return cpu->eip >= HANDLER && cpu->eip < HANDLER + 32 ? (int)(cpu->eip - HANDLER) : -1;
}
static void distinct_gates(void) {
  for (uint32_t i = 0; i < 32; i++)
    poke32(0x2000 + i * 8, 0x00080000 | (HANDLER + i));
}

/* --- against the host --- */

struct native {
  uint32_t gpr[8];
  uint32_t eflags;
  uint32_t pad;
  uint64_t rsp;
};

static uint8_t *native_code;

/* Code that loads all registers from *RDI, executes `n` bytes, and stores all registers. */
static void native_build(const uint8_t *insn, unsigned n) {
  static const uint8_t enter[] = {0x53, 0x55, 0x41, 0x57, 0x49, 0x89, 0xff, /* push rbx, rbp, r15; mov r15, rdi */
                                  0x41, 0x8b, 0x47, 0x20, 0x50, 0x9d, /* mov eax, [r15+20h]; push rax; popfq */
                                  0x49, 0x89, 0x67, 0x28}; /* mov [r15+28h], rsp */
  static const uint8_t leave[] = {0x49, 0x8b, 0x67, 0x28, 0x9c, 0x58, /* mov rsp, [r15+28h]; pushfq; pop rax */
                                  0x41, 0x89, 0x47, 0x20, 0xfc, /* mov [r15+20h], eax; cld */
                                  0x41, 0x5f, 0x5d, 0x5b, 0xc3}; /* pop r15, rbp, rbx; ret */
  uint8_t *p = native_code;
  memcpy(p, enter, sizeof enter), p += sizeof enter;
  for (int r = 0; r < 8; r++) /* mov r32, [r15 + 4r] */
    *p++ = 0x41, *p++ = 0x8b, *p++ = (uint8_t)(0x47 | r << 3), *p++ = (uint8_t)(4 * r);
  memcpy(p, insn, n), p += n;
  for (int r = 0; r < 8; r++)
    *p++ = 0x41, *p++ = 0x89, *p++ = (uint8_t)(0x47 | r << 3), *p++ = (uint8_t)(4 * r);
  memcpy(p, leave, sizeof leave);
}

/* Rows that mean the same in 64-bit code with register operands, and cannot touch memory. */
static bool runs_natively(const struct insn_desc *d) {
  if (d->map == MAP_1 && (d->opcode == 0x40 || d->opcode == 0x48)) /* REX there */
    return false;
  if (d->map == MAP_1 && (d->opcode == 0x82 || d->opcode == 0x8f))
    return false;
  switch (d->cls) {
  case CL_COPY: return (d->ext & 0xff00) != X_MEM && (d->ext & 0xff00) != X_MR(0);
  case CL_SHIFT: return true;
  case CL_FLAG: return true;
  case CL_MUL:
    return (d->map == MAP_1 && (d->opcode & 0xfe) == 0xf6) || (d->map == MAP_1 && (d->opcode & 0xfe) == 0x98);
  default: return false;
  }
}

static unsigned random_insn(const struct insn_desc *d, uint8_t *b) {
  unsigned n = 0;
  if (d->cls != CL_FLAG && random_next() % 3 == 0)
    b[n++] = 0x66;
  if (d->pfx == P_F3 || d->pfx == P_F2)
    b[n++] = d->pfx == P_F3 ? 0xf3 : 0xf2;
  if (d->map != MAP_1)
    b[n++] = 0x0f;
  if (d->map == MAP_0F38)
    b[n++] = 0x38;
  b[n++] = d->op[0] == Zb || d->op[0] == Zv ? d->opcode + random_next() % 8 : d->opcode;
  if (d->ext != X_NONE) {
    uint8_t modrm = 0xc0 | (random_next() & 0x3f);
    if (d->ext & 0x400)
      modrm = (uint8_t)((modrm & ~0x38u) | (d->ext & 7) << 3);
    b[n++] = modrm;
  }
  for (int i = 0; i < 4; i++)
    b[n++] = random_next() % 3 ? (uint8_t)random_next() : (uint8_t)(random_next() % 40);
  return n;
}

static void compare_with_host(unsigned id) {
  uint8_t bytes[16];
  struct insn in;
  struct native host = {.eflags = (random_next() & FL_ARITH) | FL_1};
  random_insn(&insn_desc[id], bytes);
  int status = insn_decode(&in, bytes, 15, true, ~0ull);
  ck_assert_msg(status == INSN_OK, "%s %02x %02x %02x", insn_desc[id].mnemonic, bytes[0], bytes[1], bytes[2]);
  if (in.id != id)
    return; /* NOP for XCHG_Zv_eAX */
  for (int r = 0; r < 8; r++)
    cpu->gpr[r] = host.gpr[r] = random_value();
  cpu->gpr[ESP] = host.gpr[ESP] = STACK + random_next() % 0x1000 * 4; /* the handler of #DE pushes */
  if (id == INSN_DIV_Ev || id == INSN_IDIV_Ev)
    cpu->gpr[EDX] = host.gpr[EDX] = random_next() & 0xff; /* or nearly all would overflow */
  cpu->eflags = host.eflags;
  uint32_t before[8];
  memcpy(before, cpu->gpr, sizeof before);
  code(bytes, in.length);
  interp_step(cpu);
  if (cpu->eip == HANDLER) /* #DE */
    return;
  native_build(bytes, in.length);
  ((void (*)(struct native *))(void *)native_code)(&host);
  bool same = memcmp(host.gpr, cpu->gpr, sizeof host.gpr) == 0 && ((host.eflags ^ cpu->eflags) & FL_ARITH) == 0 &&
              cpu->eip == CODE + in.length;
  if (!same)
    for (int r = 0; r < 8; r++)
      fprintf(stderr, "r%d: before %08x host %08x interp %08x\n", r, before[r], host.gpr[r], cpu->gpr[r]);
  ck_assert_msg(same, "%s %02x %02x %02x %02x %02x: flags host %03x, interp %03x", insn_desc[id].mnemonic, bytes[0],
                bytes[1], bytes[2], bytes[3], bytes[4], host.eflags & FL_ARITH, cpu->eflags & FL_ARITH);
}

START_TEST(test_host) {
  native_code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ck_assert(native_code != MAP_FAILED);
  for (unsigned id = 0; id < INSN_COUNT; id++) {
    if (!runs_natively(&insn_desc[id]))
      continue;
    /* The host sees TZCNT and LZCNT where F3 stands before BSF and BSR; no row here has such a prefix. */
    for (int i = 0; i < 300; i++)
      compare_with_host(id);
  }
  munmap(native_code, 4096);
}
END_TEST

/* --- decimal adjustment, against the manual's tables --- */

static void check_bcd(uint8_t opcode, uint16_t ax, uint32_t flags_in, uint16_t ax_out, uint32_t flags_out) {
  cpu->gpr[EAX] = ax;
  cpu->eflags = FL_1 | flags_in;
  code(&opcode, 1);
  interp_step(cpu);
  ck_assert_msg(cpu->gpr[EAX] == ax_out && (cpu->eflags & (FL_CF | FL_AF)) == flags_out, "%02x: %04x -> %04x %03x",
                opcode, ax, cpu->gpr[EAX], cpu->eflags);
}

START_TEST(test_bcd) {
  check_bcd(0x27, 0x0079 + 0x35, 0, 0x14, FL_CF | FL_AF); /* DAA: the manual's example, 79h + 35h = AEh */
  check_bcd(0x27, 0x2e, FL_CF | FL_AF, 0x94, FL_CF | FL_AF);
  check_bcd(0x2f, 0xee, FL_CF | FL_AF, 0x88, FL_CF | FL_AF); /* DAS: 35h - 47h */
  check_bcd(0x2f, 0x12, 0, 0x12, 0);
  check_bcd(0x37, 0x000b, 0, 0x0101, FL_CF | FL_AF); /* AAA */
  check_bcd(0x37, 0x01fa, 0, 0x0300, FL_CF | FL_AF); /* carries into AH */
  check_bcd(0x3f, 0x01fe, FL_AF, 0x0008, FL_CF | FL_AF); /* AAS */
  cpu->gpr[EAX] = 0x007b;
  RUN("\xd4\x0a"); /* AAM */
  ck_assert_uint_eq(cpu->gpr[EAX], 0x0c03);
  RUN("\xd5\x0a"); /* AAD */
  ck_assert_uint_eq(cpu->gpr[EAX], 0x007b);
  distinct_gates();
  RUN("\xd4\x00");
  ck_assert_int_eq(vector_taken(), EXC_DE);
  ck_assert_uint_eq(peek32(cpu->gpr[ESP]), CODE);
}
END_TEST

/* --- memory operands --- */

START_TEST(test_memory_operands) {
  poke32(DATA, 0x11223344);
  cpu->gpr[EBX] = DATA;
  cpu->gpr[EAX] = 1;
  RUN("\x01\x03"); /* add [ebx], eax */
  ck_assert_uint_eq(peek32(DATA), 0x11223345);
  RUN("\x66\x01\x03"); /* 16 bits only */
  ck_assert_uint_eq(peek32(DATA), 0x11223346);
  cpu->gpr[ECX] = 35; /* bit 3 of the next dword */
  poke32(DATA + 4, 0);
  RUN("\x0f\xab\x0b"); /* bts [ebx], ecx */
  ck_assert_uint_eq(peek32(DATA + 4), 8);
  cpu->gpr[ECX] = (uint32_t)-1; /* bit 31 of the dword before */
  poke32(DATA - 4, 0);
  RUN("\x0f\xab\x0b");
  ck_assert_uint_eq(peek32(DATA - 4), 0x80000000);
  poke32(DATA, 5), poke32(DATA + 4, 6);
  cpu->gpr[EAX] = 5, cpu->gpr[EDX] = 6, cpu->gpr[EBX] = 7, cpu->gpr[ECX] = 8, cpu->gpr[ESI] = DATA;
  RUN("\x0f\xc7\x0e"); /* cmpxchg8b [esi] */
  ck_assert(peek32(DATA) == 7 && peek32(DATA + 4) == 8 && (cpu->eflags & FL_ZF));
  RUN("\x0f\xc7\x0e");
  ck_assert(cpu->gpr[EAX] == 7 && cpu->gpr[EDX] == 8 && !(cpu->eflags & FL_ZF));
  /* 16-bit addresses wrap at 64 K. */
  cpu->gpr[EBX] = 0xfff0, cpu->gpr[ESI] = 0x1020;
  poke32(0x1010 + 0, peek32(0x1010)); /* the GDT entry that is there */
  RUN("\x67\x8b\x00"); /* mov eax, [bx + si] */
  ck_assert_uint_eq(cpu->gpr[EAX], peek32(0x1010));
}
END_TEST

/* --- stack --- */

START_TEST(test_stack) {
  cpu->gpr[ESP] = STACK;
  RUN("\x54"); /* push esp: the old value */
  ck_assert(cpu->gpr[ESP] == STACK - 4 && peek32(STACK - 4) == STACK);
  poke32(STACK - 4, 0x1234);
  RUN("\x5c"); /* pop esp */
  ck_assert_uint_eq(cpu->gpr[ESP], 0x1234);
  cpu->gpr[ESP] = STACK - 4;
  poke32(STACK - 4, 0xabcd);
  RUN("\x8f\x04\x24"); /* pop [esp]: the address uses the incremented ESP */
  ck_assert(cpu->gpr[ESP] == STACK && peek32(STACK) == 0xabcd);
  RUN("\x66\x6a\xfe"); /* push word -2 */
  ck_assert(cpu->gpr[ESP] == STACK - 2 && (peek32(STACK - 2) & 0xffff) == 0xfffe);

  for (uint32_t r = 0; r < 8; r++)
    cpu->gpr[r] = r == ESP ? STACK : 0x100 + r;
  RUN("\x60"); /* pusha */
  ck_assert(cpu->gpr[ESP] == STACK - 32 && peek32(STACK - 20) == STACK && peek32(STACK - 32) == 0x107);
  poke32(STACK - 4, 0x55);
  RUN("\x61"); /* popa */
  ck_assert(cpu->gpr[ESP] == STACK && cpu->gpr[EAX] == 0x55 && cpu->gpr[EDI] == 0x107);

  poke32(DATA - 4, 0x77);
  cpu->gpr[EBP] = DATA;
  RUN("\xc8\x10\x00\x02"); /* enter 16, 2 */
  ck_assert(cpu->gpr[EBP] == STACK - 4 && cpu->gpr[ESP] == STACK - 12 - 16);
  ck_assert(peek32(STACK - 4) == DATA && peek32(STACK - 8) == 0x77 && peek32(STACK - 12) == STACK - 4);
  RUN("\xc9"); /* leave */
  ck_assert(cpu->gpr[EBP] == DATA && cpu->gpr[ESP] == STACK);

  /* A 16-bit stack pointer wraps and leaves the upper half alone. */
  set_seg(SS, 0x100000, 0xffff, 0x0093);
  cpu_update_mode(cpu);
  cpu->gpr[ESP] = 0xabcd0000;
  RUN("\x50");
  ck_assert_uint_eq(cpu->gpr[ESP], 0xabcdfffc);
}
END_TEST

/* --- strings --- */

START_TEST(test_strings) {
  for (uint32_t i = 0; i < 0x3000; i++)
    poke(DATA + i, &(uint8_t){(uint8_t)(i * 7 + (i >> 8))}, 1);
  cpu->gpr[ESI] = DATA + 3, cpu->gpr[EDI] = DATA + 0x4001, cpu->gpr[ECX] = 0x2345;
  uint64_t count = cpu->icount;
  code("\xf3\xa4", 2); /* rep movsb: more than one slice */
  do
    interp_step(cpu);
  while (cpu->eip == CODE);
  ck_assert(cpu->gpr[ECX] == 0 && cpu->gpr[ESI] == DATA + 3 + 0x2345 && cpu->icount == count + 1);
  ck_assert_int_eq(memcmp(machine.ram->host + DATA + 3, machine.ram->host + DATA + 0x4001, 0x2345), 0);

  /* Overlap: the classic fill by a move one byte up. */
  poke(DATA, "\xa5", 1);
  cpu->gpr[ESI] = DATA, cpu->gpr[EDI] = DATA + 1, cpu->gpr[ECX] = 3000;
  RUN("\xf3\xa4");
  for (uint32_t i = 0; i <= 3000; i++)
    ck_assert_uint_eq(machine.ram->host[DATA + i], 0xa5);

  /* Dwords, two bytes apart: each element reads what the one before wrote. */
  uint8_t model[64];
  for (int i = 0; i < 64; i++)
    model[i] = (uint8_t)i;
  poke(DATA, model, 64);
  for (int i = 0; i < 10; i++)
    memmove(model + 2 + 4 * i, (uint8_t[4]){model[4 * i], model[4 * i + 1], model[4 * i + 2], model[4 * i + 3]}, 4);
  cpu->gpr[ESI] = DATA, cpu->gpr[EDI] = DATA + 2, cpu->gpr[ECX] = 10;
  RUN("\xf3\xa5");
  ck_assert_int_eq(memcmp(machine.ram->host + DATA, model, 64), 0);

  /* Backwards. */
  poke(DATA, "abcdef", 6);
  cpu->gpr[ESI] = DATA + 5, cpu->gpr[EDI] = DATA + 7, cpu->gpr[ECX] = 6;
  cpu->eflags |= FL_DF;
  RUN("\xf3\xa4");
  cpu->eflags &= ~FL_DF;
  ck_assert_int_eq(memcmp(machine.ram->host + DATA + 2, "abcdef", 6), 0);
  ck_assert_uint_eq(cpu->gpr[ESI], DATA - 1);

  cpu->gpr[EAX] = 0x12345678, cpu->gpr[EDI] = DATA + 0xffe, cpu->gpr[ECX] = 3; /* stosd across a page */
  RUN("\xf3\xab");
  ck_assert(peek32(DATA + 0xffe) == 0x12345678 && peek32(DATA + 0x1006) == 0x12345678 && cpu->gpr[ECX] == 0);

  poke(DATA, "hello world", 12);
  cpu->gpr[EAX] = 'o', cpu->gpr[EDI] = DATA, cpu->gpr[ECX] = 100;
  RUN("\xf2\xae"); /* repne scasb */
  ck_assert(cpu->gpr[EDI] == DATA + 5 && cpu->gpr[ECX] == 95 && (cpu->eflags & FL_ZF));
  poke(DATA + 0x100, "hello_world", 12);
  cpu->gpr[ESI] = DATA, cpu->gpr[EDI] = DATA + 0x100, cpu->gpr[ECX] = 12;
  RUN("\xf3\xa6"); /* repe cmpsb */
  ck_assert(cpu->gpr[ESI] == DATA + 6 && cpu->gpr[ECX] == 6 && (cpu->eflags & FL_CF));
  cpu->gpr[ECX] = 0;
  cpu->eflags |= FL_ZF;
  RUN("\xf3\xa6"); /* no iteration: nothing changes */
  ck_assert(cpu->gpr[ESI] == DATA + 6 && (cpu->eflags & FL_ZF) && (cpu->eflags & FL_CF));

  /* 16-bit index registers wrap and keep their upper halves. */
  cpu->gpr[EAX] = 0xee, cpu->gpr[EDI] = 0x5555ffff, cpu->gpr[ECX] = 0x66660002;
  uint8_t old = machine.ram->host[0];
  RUN("\x67\xf3\xaa");
  ck_assert(cpu->gpr[EDI] == 0x55550001 && cpu->gpr[ECX] == 0x66660000 && machine.ram->host[0xffff] == 0xee);
  poke(0, &old, 1);
}
END_TEST

/* --- faults --- */

/* Page tables: identity for 4 MB, except that `pte` stands for the page of DATA + 1000h. */
static void paging_on(uint32_t pte) {
  poke32(0x100000, 0x101007);
  for (uint32_t i = 0; i < 1024; i++)
    poke32(0x101000 + i * 4, i << 12 | 7);
  poke32(0x101000 + ((DATA + 0x1000) >> 12) * 4, pte);
  control_set_cr3(cpu, 0x100000);
  control_set_cr0(cpu, cpu->cr0 | CR0_PG | CR0_WP);
}

START_TEST(test_fault_restart) {
  distinct_gates();
  paging_on(0);
  /* A move that meets the missing page in its middle. */
  cpu->gpr[ESI] = DATA + 0x3000, cpu->gpr[EDI] = DATA + 0xf00, cpu->gpr[ECX] = 0x100;
  RUN("\xf3\xa5");
  ck_assert_int_eq(vector_taken(), EXC_PF);
  ck_assert(cpu->gpr[ECX] == 0xc0 && cpu->gpr[EDI] == DATA + 0x1000 && cpu->gpr[ESI] == DATA + 0x3100);
  ck_assert(cpu->cr2 == DATA + 0x1000 && peek32(cpu->gpr[ESP]) == PF_WRITE && peek32(cpu->gpr[ESP] + 4) == CODE);
  /* Provide the page and go on. */
  poke32(0x101000 + ((DATA + 0x1000) >> 12) * 4, (DATA + 0x1000) | 7);
  cpu->gpr[ESP] = STACK;
  RUN("\xf3\xa5");
  ck_assert(cpu->gpr[ECX] == 0 && cpu->eip == CODE + 2);

  /* CMPS: the flags are those before the instruction. */
  poke32(0x101000 + ((DATA + 0x1000) >> 12) * 4, 0);
  tlb_flush(cpu, false);
  cpu->gpr[ESI] = cpu->gpr[EDI] = DATA + 0xffe, cpu->gpr[ECX] = 10;
  cpu->eflags = FL_1 | FL_CF;
  RUN("\xf3\xa6");
  ck_assert_int_eq(vector_taken(), EXC_PF);
  ck_assert(cpu->gpr[ECX] == 8 && (cpu->eflags & FL_ARITH) == FL_CF);
}
END_TEST

START_TEST(test_read_only) {
  distinct_gates();
  paging_on((DATA + 0x1000) | 5);
  static const char *const modify[] = {
    "\x01\x03", "\x87\x03", "\x0f\xc1\x03", "\x0f\xb1\x03", "\xff\x03", "\xd1\x23", "\x0f\xab\x03", "\xf7\x1b",
  };
  for (size_t i = 0; i < sizeof modify / sizeof modify[0]; i++) {
    cpu->gpr[ESP] = STACK;
    cpu->gpr[EBX] = DATA + 0x1000, cpu->gpr[EAX] = 3, cpu->eflags = FL_1;
    code(modify[i], 3);
    interp_step(cpu);
    ck_assert_int_eq(vector_taken(), EXC_PF);
    ck_assert_uint_eq(peek32(cpu->gpr[ESP]), PF_PRESENT | PF_WRITE);
    ck_assert(cpu->gpr[EAX] == 3 && (cpu->eflags & FL_ARITH) == 0);
  }
  RUN("\x8b\x03"); /* reading is fine */
  ck_assert_int_eq(vector_taken(), -1);

  /* PUSHA whose last stores hit the page below: ESP and memory stay. */
  cpu->gpr[ESP] = STACK;
  cpu->gpr[EBX] = DATA + 0x1000;
  poke32(DATA + 0x2008, 0x5a5a5a5a);
  cpu->gpr[EBP] = DATA + 0x2010;
  RUN("\x87\xec"); /* xchg ebp, esp */
  code("\x60", 1);
  interp_step(cpu);
  ck_assert_int_eq(vector_taken(), EXC_PF); /* whose frame starts at the ESP before */
  ck_assert_uint_eq(cpu->gpr[ESP], DATA + 0x2000);
}
END_TEST

START_TEST(test_branches) {
  distinct_gates();
  set_seg(CS, 0, CODE + 0xff, 0x409b);
  cpu_update_mode(cpu);
  RUN("\xe9\x00\x10\x00\x00"); /* jmp beyond the limit */
  ck_assert_int_eq(vector_taken(), EXC_GP);
  ck_assert_uint_eq(peek32(cpu->gpr[ESP] + 4), CODE);
  cpu->gpr[ESP] = STACK;
  set_seg(CS, 0, CODE + 0xff, 0x409b);
  RUN("\xe8\x00\x10\x00\x00"); /* call: nothing is pushed */
  ck_assert_uint_eq(cpu->gpr[ESP], STACK - 16);
  cpu->gpr[ESP] = STACK, cpu->gpr[ECX] = 5;
  set_seg(CS, 0, CODE + 0xff, 0x409b);
  RUN("\xe2\x7f\x90"); /* loop: taken, inside */
  ck_assert(cpu->eip == CODE + 0x81 && cpu->gpr[ECX] == 4);
  RUN("\x66\xeb\x7f"); /* 16-bit operand size cuts EIP */
  ck_assert_uint_eq(cpu->eip, (CODE + 3 + 0x7f) & 0xffff);
}
END_TEST

START_TEST(test_traps) {
  distinct_gates();
  code("\x90\x8e\xd0\x90\x90", 5); /* nop; mov ss, ax; nop; nop */
  cpu->eflags |= FL_TF;
  cpu->gpr[EAX] = 0x10;
  cpu_update_mode(cpu);
  interp_step(cpu);
  ck_assert(cpu->pending & PEND_TRAP);
  ck_assert(cpu_deliver_events(cpu));
  ck_assert_int_eq(vector_taken(), EXC_DB);
  ck_assert(cpu->dr[6] & 0x4000);
  cpu->eip = CODE + 1;
  cpu->eflags |= FL_TF;
  cpu_update_mode(cpu);
  interp_step(cpu);
  ck_assert_msg(!cpu_event_deliverable(cpu), "no trap between MOV SS and the next instruction");
  interp_step(cpu);
  ck_assert(cpu_event_deliverable(cpu) && cpu->eip == CODE + 4);
}
END_TEST

START_TEST(test_ss_shadow_debug) {
  distinct_gates();
  cpu->gpr[EAX] = 0x10;
  cpu->dr[0] = CODE + 2, cpu->dr[7] = 0x401; /* execution */
  cpu->dr[6] |= 2;
  code("\x8e\xd0\x90\x90", 4); /* mov ss, ax; nop; nop */
  cpu_update_mode(cpu);
  interp_step(cpu), interp_step(cpu);
  ck_assert_msg(cpu->eip == CODE + 3, "the breakpoint behind MOV SS is not met");
  cpu->dr[0] = CODE + 3;
  interp_step(cpu);
  ck_assert_int_eq(vector_taken(), EXC_DB);
  ck_assert_uint_eq(cpu->dr[6] & 15, 1);

  control_write_dr(cpu, 1, DATA);
  control_write_dr(cpu, 7, 0xf0040c); /* four bytes, read or write */
  poke32(DATA, 0x10);
  code("\x8e\x15\x00\x00\x03\x00\xf1", 7); /* mov ss, [DATA]; icebp */
  cpu_update_mode(cpu);
  interp_step(cpu);
  ck_assert_uint_eq(cpu->eip, CODE + 6);
  ck_assert(!cpu_event_deliverable(cpu));
  interp_step(cpu);
  ck_assert_int_eq(vector_taken(), EXC_DB);
  ck_assert_uint_eq(cpu->dr[6] & 15, 2);
  ck_assert_msg(!cpu_event_deliverable(cpu), "one #DB for both");
}
END_TEST

START_TEST(test_arpl) {
  poke16(DATA, 0x13);
  set_seg(DS, 0, ~0u, 0xc091); /* read-only */
  cpu->gpr[EAX] = 1, cpu->gpr[EBX] = DATA;
  RUN("\x63\x03"); /* arpl [ebx], ax: nothing to write, no #GP */
  ck_assert(cpu->eip == CODE + 2 && !(cpu->eflags & FL_ZF));
  distinct_gates();
  poke16(DATA, 0x10);
  code("\x63\x03", 2);
  interp_step(cpu);
  ck_assert_int_eq(vector_taken(), EXC_GP);
  ck_assert_uint_eq(peek32(DATA) & 0xffff, 0x10);
}
END_TEST

static uint64_t board_base;
static void note_base(struct cpu *c, uint64_t value) {
  (void)c;
  board_base = value;
}

START_TEST(test_apic_base) {
  cpu->on_apic_base = note_base;
  cpu->gpr[ECX] = 0x1b, cpu->gpr[EDX] = 0, cpu->gpr[EAX] = 0xfee01900;
  RUN("\x0f\x30"); /* wrmsr */
  ck_assert_uint_eq(board_base, 0xfee01900);
}
END_TEST

START_TEST(test_run_limit) {
  code("\x40\xeb\xfd", 3); /* inc eax; jmp back */
  cpu->gpr[EAX] = 0;
  cpu->icount = 100;
  cpu->icount_limit = 1101;
  engine_interp.run(cpu);
  ck_assert(cpu->icount == 1101 && cpu->gpr[EAX] == 501 && cpu->eip == CODE + 1);
  code("\xf4", 1);
  cpu->icount_limit = ~0ull;
  engine_interp.run(cpu);
  ck_assert(cpu->halted && cpu->eip == CODE + 1 && cpu->icount == 1102);
}
END_TEST

START_TEST(test_privilege) {
  distinct_gates();
  static const char cpl0[][4] = { /* padded: three bytes are copied */
    "\xf4", "\x0f\x20\xc0", "\x0f\x22\xd8", "\x0f\x06", "\x0f\x01\x13", "\x0f\x30", "\x0f\x09",
  };
  for (size_t i = 0; i < sizeof cpl0 / sizeof cpl0[0]; i++) {
    struct seg saved = cpu->seg[CS];
    uint32_t tss = 0x3000;
    cpu->cpl = 3;
    cpu->seg[CS].sel = 0x1b;
    set_seg(TR, tss, 0x67, 0x008b);
    poke32(tss + 4, STACK + 0x800), poke16(tss + 8, 0x10);
    cpu->gpr[ESP] = STACK;
    code(cpl0[i], 3);
    interp_step(cpu);
    ck_assert_int_eq(vector_taken(), EXC_GP);
    ck_assert_uint_eq(cpu->gpr[ESP], STACK + 0x800 - 24);
    ck_assert_uint_eq(cpu->cpl, 0);
    cpu->seg[CS] = saved;
  }
}
END_TEST

Suite *suite_interp(void) {
  Suite *s = suite_create("interp");
  TCase *tc = tcase_create("interp");
  tcase_add_checked_fixture(tc, setup, teardown);
  tcase_set_timeout(tc, 60);
  tcase_add_test(tc, test_host);
  tcase_add_test(tc, test_bcd);
  tcase_add_test(tc, test_memory_operands);
  tcase_add_test(tc, test_stack);
  tcase_add_test(tc, test_strings);
  tcase_add_test(tc, test_fault_restart);
  tcase_add_test(tc, test_read_only);
  tcase_add_test(tc, test_branches);
  tcase_add_test(tc, test_traps);
  tcase_add_test(tc, test_ss_shadow_debug);
  tcase_add_test(tc, test_arpl);
  tcase_add_test(tc, test_apic_base);
  tcase_add_test(tc, test_run_limit);
  tcase_add_test(tc, test_privilege);
  suite_add_tcase(s, tc);
  return s;
}
