/* SPDX-License-Identifier: MIT */
/*
 * x87 in the interpreter: against the host's processor for operands, rounding and exceptions; against the
 * manual for what belongs to the emulator: environment images, tag word, #NM, #MF, FERR#, pointers.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "core/fpu.h"
#include "core/paging.h"
#include "tests/cpu/guest.h"

#define DATA_END (NATIVE_DATA + NATIVE_DATA_SIZE)

Suite *suite_fpu(void);

static struct guest *g;
static struct native_state s;
static bool host_runs;

static void setup(void) {
  host_runs = native_init();
  g = guest_new("max");
  memset(&s, 0, sizeof s);
  s.eip = NATIVE_CODE;
  s.eflags = FL_1 | FL_IF;
  for (int i = 0; i < 8; i++)
    s.gpr[i] = NATIVE_DATA + 0x100;
  s.gpr[ESP] = NATIVE_DATA + 0x2000;
  s.fx.fcw = FCW_INIT;
  s.fx.mxcsr = 0x1f80;
}

static void teardown(void) { guest_free(g); }

static void set_st(unsigned i, uint16_t sign_exponent, uint64_t mantissa) {
  memcpy(s.fx.st[i], &mantissa, 8);
  memcpy(s.fx.st[i] + 8, &sign_exponent, 2);
}
static uint16_t st_exponent(unsigned i) { return (uint16_t)(s.fx.st[i][8] | s.fx.st[i][9] << 8); }
static uint64_t st_mantissa(unsigned i) {
  uint64_t m;
  memcpy(&m, s.fx.st[i], 8);
  return m;
}
static void assert_st(unsigned i, uint16_t sign_exponent, uint64_t mantissa) {
  ck_assert_uint_eq(st_exponent(i), sign_exponent);
  ck_assert_uint_eq(st_mantissa(i), mantissa);
}

static void put_code(const uint8_t *code, size_t size) {
  memset(g->code, 0xcc, NATIVE_CODE_SIZE);
  memcpy(g->code, code, size);
}
#define CODE(...) put_code((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

/* Run what CODE placed up to its INT3 (or an exception). */
static void run(void) { guest_run(g, &s, 100); }
static uint32_t data32(unsigned offset) {
  uint32_t v;
  memcpy(&v, g->data + offset, 4);
  return v;
}
static uint32_t data16(unsigned offset) { return (uint16_t)data32(offset); }

/* Run on the host too; everything must agree. */
static void run_both(const char *what) {
  static uint8_t before[NATIVE_DATA_SIZE];
  struct native_state host = s;
  memcpy(before, g->data, sizeof before);
  run();
  if (!host_runs)
    return;
  memcpy((void *)(uintptr_t)NATIVE_CODE, g->code, NATIVE_CODE_SIZE);
  memcpy((void *)(uintptr_t)NATIVE_DATA, before, sizeof before);
  native_run(&host);
  ck_assert_msg(host.vector == s.vector, "%s: vector %d, host %d", what, s.vector, host.vector);
  ck_assert_msg(host.fx.fsw == s.fx.fsw, "%s: FSW %04x, host %04x", what, s.fx.fsw, host.fx.fsw);
  ck_assert_msg(host.fx.ftw == s.fx.ftw, "%s: FTW %02x, host %02x", what, s.fx.ftw, host.fx.ftw);
  ck_assert_msg((host.eflags & FL_ARITH) == (s.eflags & FL_ARITH), "%s: EFLAGS", what);
  ck_assert_msg(memcmp(host.fx.st, s.fx.st, sizeof s.fx.st) == 0, "%s: registers", what);
  ck_assert_msg(memcmp((void *)(uintptr_t)NATIVE_DATA, g->data, NATIVE_DATA_SIZE) == 0, "%s: memory", what);
}

static const struct {
  uint16_t exponent;
  uint64_t mantissa;
} operands[] = {
  {0x0000, 0}, {0x8000, 0}, {0x3fff, 1ull << 63}, {0xbfff, 1ull << 63}, {0x7fff, 1ull << 63},
  {0xffff, 1ull << 63}, {0x7fff, 0xc000000000000000ull}, {0x7fff, 0xa000000000000000ull}, /* QNaN, SNaN */
  {0x0000, 1}, {0x0001, 1ull << 63}, {0x7ffe, ~0ull}, {0x4000, 0xc90fdaa22168c235ull},
  {0x0000, 1ull << 63}, {0x4000, 1ull << 62}, /* pseudo-denormal, unnormal */
  {0xc00e, 0xfffe000000000000ull}, {0x4052, 0xaaaaaaaaaaaaaaabull},
};
#define OPERANDS (sizeof operands / sizeof operands[0])

static void load_pair(unsigned a, unsigned b) {
  set_st(0, operands[a].exponent, operands[a].mantissa);
  set_st(1, operands[b].exponent, operands[b].mantissa);
  s.fx.fsw = 6 << FSW_TOP_SHIFT;
  s.fx.ftw = 0xc0;
  s.eip = NATIVE_CODE;
}

START_TEST(two_operands_agree_with_host) {
  static const uint8_t codes[][2] = {
    {0xd8, 0xc1}, {0xd8, 0xc9}, {0xd8, 0xe1}, {0xd8, 0xf1}, {0xdc, 0xf9}, {0xde, 0xe9}, {0xd8, 0xd1},
    {0xdd, 0xe1}, {0xdb, 0xf1}, {0xdf, 0xe9}, {0xd9, 0xf1}, {0xd9, 0xf3}, {0xd9, 0xf5}, {0xd9, 0xf8},
    {0xd9, 0xf9}, {0xd9, 0xfd},
  };
  for (unsigned c = 0; c < sizeof codes / 2; c++) {
    put_code(codes[c], 2);
    for (unsigned n = 0; n < OPERANDS * OPERANDS; n++) {
      char what[64];
      load_pair(n / OPERANDS, n % OPERANDS);
      snprintf(what, sizeof what, "%02x %02x, operands %u %u", codes[c][0], codes[c][1], n / 16, n % 16);
      /* Rounding and precision, and some exceptions unmasked, by turns. */
      unsigned masks = n % 3 ? 0x3f : 0x3f & ~(1u << n % 6);
      s.fx.fcw = (uint16_t)(0x40 | masks | (n % 4) << 10 | (n % 7 ? 3 : 2) << 8);
      run_both(what);
    }
  }
}
END_TEST

START_TEST(one_operand_agrees_with_host) {
  static const uint8_t codes[][2] = {{0xd9, 0xe0}, {0xd9, 0xe1}, {0xd9, 0xe4}, {0xd9, 0xe5}, {0xd9, 0xf0},
                                     {0xd9, 0xf2}, {0xd9, 0xf4}, {0xd9, 0xfa}, {0xd9, 0xfb}, {0xd9, 0xfc},
                                     {0xd9, 0xfe}, {0xd9, 0xff},
                                     /* stores, [ebx] */
                                     {0xd9, 0x13}, {0xdd, 0x1b}, {0xdb, 0x3b}, {0xdb, 0x13}, {0xdb, 0x0b},
                                     {0xdd, 0x0b}, {0xdf, 0x1b}, {0xdf, 0x3b}, {0xdf, 0x33}};
  for (unsigned c = 0; c < sizeof codes / 2; c++) {
    put_code(codes[c], 2);
    for (unsigned n = 0; n < OPERANDS * 12; n++) {
      char what[64];
      load_pair(n % OPERANDS, 2);
      snprintf(what, sizeof what, "%02x %02x, operand %u", codes[c][0], codes[c][1], n % 16);
      unsigned turn = n / OPERANDS;
      s.fx.fcw = (uint16_t)(0x340 | (turn < 6 ? 0x3f : 0x3f & ~(1u << turn % 6)) | (turn % 4) << 10);
      run_both(what);
    }
  }
}
END_TEST

START_TEST(empty_and_full_stack_agree_with_host) {
  static const uint8_t codes[][2] = {{0xd8, 0xc1}, {0xd9, 0xc1}, {0xd9, 0xc9}, {0xdd, 0xd9}, {0xdf, 0xc1},
                                     {0xdf, 0xd1}, {0xdf, 0xd9}, {0xd9, 0xd9}, {0xdd, 0xc9}, {0xdf, 0xc9},
                                     {0xd9, 0xe8}, {0xdb, 0x1b}, {0xda, 0xc1}, {0xd9, 0xfb}, {0xd9, 0xf2},
                                     {0xdd, 0x1b}, {0xdc, 0xd1}, {0xde, 0xd1}, {0xde, 0xd9}, {0xda, 0xe9}};
  for (unsigned c = 0; c < sizeof codes / 2; c++) {
    put_code(codes[c], 2);
    for (unsigned n = 0; n < 16; n++) {
      char what[64];
      load_pair(2, 11);
      s.fx.ftw = (uint8_t[]){0x00, 0x40, 0x80, 0xff}[n % 4];
      s.fx.fcw = n & 8 ? 0x037e : 0x037f;
      s.fx.fsw |= n & 4 ? 0x4700 : 0;
      snprintf(what, sizeof what, "%02x %02x, tags %02x", codes[c][0], codes[c][1], s.fx.ftw);
      run_both(what);
    }
  }
}
END_TEST

START_TEST(values) {
  /* fninit; fld1; fild [ebx]; fdivp: 1/3 */
  g->data[0x100] = 3;
  CODE(0xdb, 0xe3, 0xd9, 0xe8, 0xdb, 0x03, 0xde, 0xf9);
  run();
  ck_assert_int_eq(s.vector, EXC_BP);
  assert_st(0, 0x3ffd, 0xaaaaaaaaaaaaaaabull);
  ck_assert_uint_eq(s.fx.fsw, 7 << 11 | FSW_PE | 0x200); /* C1: rounded up */
  /* The same with 53 bits: fldcw [ebx+4] first. */
  s.eip = NATIVE_CODE;
  s.fx.ftw = 0;
  g->data[0x104] = 0x7f, g->data[0x105] = 0x02;
  CODE(0xd9, 0x6b, 0x04, 0xd9, 0xe8, 0xdb, 0x03, 0xde, 0xf9);
  run();
  assert_st(0, 0x3ffd, 0xaaaaaaaaaaaaa800ull);
  /* fldpi; fbstp: -> 3 in BCD */
  s.eip = NATIVE_CODE;
  CODE(0xdb, 0xe3, 0xd9, 0xeb, 0xd9, 0xe0, 0xdf, 0x33);
  run();
  ck_assert_uint_eq(data32(0x100), 3);
  ck_assert_uint_eq(data16(0x108), 0x8000);
}
END_TEST

START_TEST(integer_rounding) {
  static const struct {
    uint16_t rc;
    int32_t result; /* of -2.5 */
  } cases[] = {{0, -2}, {1, -3}, {2, -2}, {3, -2}};
  for (unsigned i = 0; i < 4; i++) {
    set_st(0, 0xc000, 0xa000000000000000ull);
    s.fx.fsw = 7 << 11;
    s.fx.ftw = 0x80;
    s.fx.fcw = (uint16_t)(FCW_INIT | cases[i].rc << 10);
    s.eip = NATIVE_CODE;
    CODE(0xdb, 0x1b); /* fistp dword [ebx] */
    run();
    ck_assert_int_eq((int32_t)data32(0x100), cases[i].result);
    ck_assert_uint_eq(s.fx.ftw, 0);
  }
}
END_TEST

START_TEST(tag_word) {
  struct fxsave fx = {.fsw = 3 << FSW_TOP_SHIFT, .ftw = 0x7f};
  s.fx = fx;
  set_st(0, 0x3fff, 1ull << 63); /* R3 valid */
  set_st(1, 0x8000, 0); /* R4 zero */
  set_st(2, 0x7fff, 1ull << 63); /* R5 special */
  set_st(3, 0x0000, 1); /* R6 special; R7 empty */
  set_st(5, 0x4000, 1ull << 62); /* R0 unnormal: special */
  set_st(6, 0x0000, 0); /* R1 */
  set_st(7, 0x3fff, ~0ull); /* R2 */
  ck_assert_uint_eq(fpu_tag_word(&s.fx), 3 << 14 | 2 << 12 | 2 << 10 | 1 << 8 | 0 << 6 | 0 << 4 | 1 << 2 | 2);
}
END_TEST

/* fld dword [ebx]; fnstenv [edi] */
static void check_environment32(void) {
  s.gpr[EDI] = NATIVE_DATA + 0x200;
  CODE(0xdb, 0xe3, 0xd9, 0x03, 0xd9, 0x37);
  run();
  ck_assert_int_eq(s.vector, EXC_BP);
  ck_assert_uint_eq(data32(0x200), 0xffff037f);
  ck_assert_uint_eq(data32(0x204), 0xffff3800);
  ck_assert_uint_eq(data32(0x208), 0xffff7fff); /* +0 in R7 */
  ck_assert_uint_eq(s.fx.fcw, 0x037f); /* all masked */
}

START_TEST(environment_protected_32) {
  check_environment32();
  ck_assert_uint_eq(data32(0x20c), NATIVE_CODE + 2);
  ck_assert_uint_eq(data32(0x210), 0x01030023); /* opcode D9 03, CS */
  ck_assert_uint_eq(data32(0x214), NATIVE_DATA + 0x100);
  ck_assert_uint_eq(data32(0x218), 0xffff002b);
}
END_TEST

START_TEST(environment_protected_16) {
  s.gpr[EDI] = NATIVE_DATA + 0x200;
  CODE(0xdb, 0xe3, 0xd9, 0x03, 0x66, 0xd9, 0x37);
  run();
  static const uint16_t expected[7] = {0x037f, 0x3800, 0x7fff, 2, 0x23, 0x100, 0x2b};
  for (unsigned i = 0; i < 7; i++)
    ck_assert_uint_eq(data16(0x200 + 2 * i), expected[i]);
  ck_assert_uint_eq(data16(0x20e), 0);
}
END_TEST

/* Real mode with the flat descriptors still cached; selectors 23h and 2Bh make linear addresses. */
static void run_real(void) {
  guest_load(g, &s);
  g->cpu->cr0 &= ~(CR0_PE | CR0_PG);
  g->cpu->cpl = 0;
  tlb_flush(g->cpu, false);
  cpu_update_mode(g->cpu);
  while (g->code[g->cpu->eip - NATIVE_CODE] != 0xcc)
    interp_step(g->cpu);
}

START_TEST(environment_real) {
  uint32_t ip = NATIVE_CODE + 2 + 0x230, dp = NATIVE_DATA + 0x100 + 0x2b0;
  s.gpr[EDI] = NATIVE_DATA + 0x200;
  CODE(0xdb, 0xe3, 0xd9, 0x03, 0xd9, 0x37, 0x66, 0xd9, 0x77, 0x40);
  run_real();
  ck_assert_uint_eq(data32(0x20c), 0xffff0000 | (ip & 0xffff));
  ck_assert_uint_eq(data32(0x210), (ip >> 16) << 12 | 0x103);
  ck_assert_uint_eq(data32(0x214), 0xffff0000 | (dp & 0xffff));
  ck_assert_uint_eq(data32(0x218), (dp >> 16) << 12);
  ck_assert_uint_eq(data16(0x246), ip & 0xffff);
  ck_assert_uint_eq(data16(0x248), (ip >> 16 & 15) << 12 | 0x103);
  ck_assert_uint_eq(data16(0x24a), dp & 0xffff);
  ck_assert_uint_eq(data16(0x24c), (dp >> 16 & 15) << 12);
}
END_TEST

START_TEST(save_and_restore) {
  for (int op16 = 0; op16 < 2; op16++) {
    for (unsigned i = 0; i < 8; i++)
      set_st(i, (uint16_t)(0x3fff + i), 1ull << 63 | i);
    s.fx.fcw = 0x0a7f;
    s.fx.fsw = 5 << 11 | 0x4100;
    s.fx.ftw = 0xe7;
    struct fxsave before = s.fx;
    s.eip = NATIVE_CODE;
    if (op16)
      CODE(0x66, 0xdd, 0x33, 0x66, 0xdd, 0x23);
    else
      CODE(0xdd, 0x33, 0xdd, 0x23);
    guest_load(g, &s);
    interp_step(g->cpu);
    ck_assert_uint_eq(g->cpu->fx.fcw, FCW_INIT);
    ck_assert_uint_eq(g->cpu->fx.fsw, 0);
    ck_assert_uint_eq(g->cpu->fx.ftw, 0);
    ck_assert_uint_eq(data16(0x100 + (op16 ? 14 : 28)), 0); /* low bytes of ST(0)'s mantissa */
    ck_assert_uint_eq(data16(0x100 + (op16 ? 14 : 28) + 10 + 8), 0x4000); /* ST(1)'s exponent */
    interp_step(g->cpu);
    ck_assert_uint_eq(g->cpu->fx.fcw, before.fcw);
    ck_assert_uint_eq(g->cpu->fx.fsw, before.fsw);
    ck_assert_uint_eq(g->cpu->fx.ftw, before.ftw);
    ck_assert_mem_eq(g->cpu->fx.st, before.st, sizeof before.st);
  }
}
END_TEST

START_TEST(unmasked_error_is_reported_by_the_next_instruction) {
  s.fx.fcw = FCW_INIT & ~FSW_ZE;
  CODE(0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, /* fld1; fldz; fdivp */
       0xdf, 0xe0, /* fnstsw ax */
       0x90, 0x9b); /* nop; fwait */
  run();
  ck_assert_int_eq(s.vector, EXC_MF);
  ck_assert_uint_eq(s.eip, NATIVE_CODE + 9);
  ck_assert_uint_eq((uint16_t)s.gpr[EAX], 6 << 11 | FSW_ES | FSW_B | FSW_ZE);
  ck_assert_uint_eq(s.fx.ftw, 0xc0); /* not popped */
  assert_st(1, 0x3fff, 1ull << 63); /* not changed */
  ck_assert_uint_eq(g->cpu->fx.fip, NATIVE_CODE + 4);
  ck_assert_uint_eq(g->cpu->fx.fop, 0x6f9);
}
END_TEST

START_TEST(unmasked_overflow_keeps_memory_and_stack) {
  set_st(0, 0x7ffe, ~0ull);
  s.fx.fsw = 7 << 11;
  s.fx.ftw = 0x80;
  s.fx.fcw = FCW_INIT & ~FSW_OE;
  memset(g->data + 0x100, 0x55, 8);
  CODE(0xd9, 0x1b, 0xdb, 0xe2); /* fstp dword [ebx]; fnclex */
  run();
  ck_assert_int_eq(s.vector, EXC_BP);
  ck_assert_uint_eq(data32(0x100), 0x55555555);
  ck_assert_uint_eq(s.fx.ftw, 0x80);
  ck_assert_uint_eq(s.fx.fsw, 7 << 11); /* flags cleared without #MF */
}
END_TEST

static int ferr_level, ferr_changes;
static void on_ferr(struct cpu *cpu, int level) {
  (void)cpu;
  ferr_level = level;
  ferr_changes++;
}

START_TEST(ferr_and_ignne) {
  s.fx.fcw = FCW_INIT & ~FSW_ZE;
  s.fx.fsw = FSW_ES | FSW_B | FSW_ZE;
  CODE(0xd9, 0xe8, 0xdb, 0xe2); /* fld1; fnclex */
  guest_load(g, &s);
  struct cpu *cpu = g->cpu;
  ferr_level = ferr_changes = 0;
  cpu->on_ferr = on_ferr;
  cpu->cr0 &= ~CR0_NE;
  interp_step(cpu);
  ck_assert_uint_eq(cpu->eip, NATIVE_CODE); /* waits for the interrupt */
  ck_assert_int_eq(ferr_level, 1);
  interp_step(cpu);
  ck_assert_int_eq(ferr_changes, 1);
  cpu->ignne = 1;
  interp_step(cpu);
  ck_assert_uint_eq(cpu->eip, NATIVE_CODE + 2);
  ck_assert_uint_eq(cpu->fx.ftw, 0x80);
  ck_assert_uint_eq(cpu->fx.fsw, 7 << 11 | FSW_ES | FSW_B | FSW_ZE);
  interp_step(cpu);
  ck_assert_int_eq(ferr_level, 0);
  ck_assert_int_eq(ferr_changes, 2);
  ck_assert_uint_eq(cpu->fx.fsw, 7 << 11);
}
END_TEST

START_TEST(device_not_available) {
  static const struct {
    uint32_t set, clear;
    int esc, wait; /* vectors; EXC_BP = executes */
  } cases[] = {{0, 0, EXC_BP, EXC_BP},
               {CR0_EM, 0, EXC_NM, EXC_BP},
               {CR0_TS, 0, EXC_NM, EXC_NM},
               {CR0_TS, CR0_MP, EXC_NM, EXC_BP},
               {CR0_EM | CR0_TS, CR0_MP, EXC_NM, EXC_BP}};
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    for (int wait = 0; wait < 2; wait++) {
      if (wait)
        CODE(0x9b);
      else
        CODE(0xdb, 0xe3);
      guest_load(g, &s);
      g->cpu->cr0 = (g->cpu->cr0 & ~cases[i].clear) | cases[i].set;
      cpu_update_mode(g->cpu);
      struct native_state after = s;
      guest_continue(g, &after, 10);
      ck_assert_int_eq(after.vector, wait ? cases[i].wait : cases[i].esc);
    }
  }
}
END_TEST

START_TEST(no_coprocessor) {
  memset(g->data + 0x100, 0x5a, 2);
  CODE(0xdb, 0xe3, 0xdd, 0x3b); /* fninit; fnstsw [ebx] */
  g->cpu->features &= ~FEAT_FPU;
  run();
  ck_assert_int_eq(s.vector, EXC_BP);
  ck_assert_uint_eq(data16(0x100), 0x5a5a);
}
END_TEST

START_TEST(fault_before_change) {
  set_st(0, 0x3fff, 1ull << 63);
  s.fx.fsw = 7 << 11;
  s.fx.ftw = 0x80;
  s.gpr[EBX] = DATA_END - 4;
  memset(g->data + NATIVE_DATA_SIZE - 4, 0x77, 4);
  CODE(0xdd, 0x1b); /* fstp qword [ebx] */
  run();
  ck_assert_int_eq(s.vector, EXC_PF);
  ck_assert_uint_eq(s.cr2, DATA_END);
  ck_assert_uint_eq(s.error, 7); /* the next page is read-only */
  ck_assert_uint_eq(s.fx.ftw, 0x80);
  ck_assert_uint_eq(data32(NATIVE_DATA_SIZE - 4), 0x77777777);
  s.eip = NATIVE_CODE;
  CODE(0xdb, 0xe3, 0xdd, 0x33); /* fninit; fnsave [ebx] */
  s.fx.fcw = 0x0a7f;
  run();
  ck_assert_int_eq(s.vector, EXC_PF);
  ck_assert_uint_eq(data32(NATIVE_DATA_SIZE - 4), 0x77777777);
}
END_TEST

START_TEST(compare_sets_eflags) {
  load_pair(2, 11); /* 1 and pi */
  s.eflags |= FL_ARITH;
  CODE(0xdb, 0xf1); /* fcomi */
  run();
  ck_assert_uint_eq(s.eflags & FL_ARITH, FL_CF);
  load_pair(6, 2); /* QNaN */
  run();
  ck_assert_uint_eq(s.eflags & FL_ARITH, FL_CF | FL_ZF | FL_PF);
  ck_assert_uint_ne(s.fx.fsw & FSW_IE, 0);
}
END_TEST

START_TEST(fxsave_image) {
  for (unsigned i = 0; i < 8; i++) {
    set_st(i, (uint16_t)(0x4000 + i), 1ull << 63);
    memset(s.fx.xmm[i], (int)(0x10 + i), 16);
  }
  s.fx.fcw = 0x0b7f;
  s.fx.fsw = 2 << 11;
  s.fx.ftw = 0x3c;
  s.fx.mxcsr = 0x9fc0;
  memset(g->data + 0x200, 0xee, 512);
  s.gpr[EDI] = NATIVE_DATA + 0x200;
  CODE(0x0f, 0xae, 0x07);
  run();
  ck_assert_int_eq(s.vector, EXC_BP);
  ck_assert_uint_eq(data32(0x200), 0x10000b7f);
  ck_assert_uint_eq(data16(0x204), 0x003c);
  ck_assert_uint_eq(data32(0x218), 0x9fc0);
  ck_assert_uint_eq(data32(0x21c), 0xffff);
  ck_assert_uint_eq(data16(0x200 + 32 + 16 + 8), 0x4001);
  ck_assert_uint_eq(data32(0x200 + 160 + 16), 0x11111111);
  ck_assert_uint_eq(data32(0x200 + 288), 0xeeeeeeee); /* no XMM8 in 32-bit code */
  struct fxsave before = s.fx;
  memset(&s.fx, 0, sizeof s.fx);
  s.fx.mxcsr = 0x1f80;
  s.eip = NATIVE_CODE;
  CODE(0x0f, 0xae, 0x0f);
  run();
  ck_assert_uint_eq(s.fx.mxcsr, before.mxcsr);
  ck_assert_uint_eq(s.fx.ftw, before.ftw);
  ck_assert_mem_eq(s.fx.st, before.st, sizeof before.st);
  ck_assert_mem_eq(s.fx.xmm, before.xmm, 8 * 16);
}
END_TEST

START_TEST(fxrstor_refuses) {
  s.gpr[EDI] = NATIVE_DATA + 0x200;
  memset(g->data + 0x200, 0, 512);
  g->data[0x200 + 26] = 1; /* MXCSR bit 16 */
  CODE(0x0f, 0xae, 0x0f);
  run();
  ck_assert_int_eq(s.vector, EXC_GP);
  ck_assert_uint_eq(s.fx.mxcsr, 0x1f80);
  s.eip = NATIVE_CODE;
  s.gpr[ESP] = NATIVE_DATA + 0x2000;
  s.gpr[EDI] += 8;
  run();
  ck_assert_int_eq(s.vector, EXC_GP);
}
END_TEST

Suite *suite_fpu(void) {
  Suite *suite = suite_create("fpu");
  TCase *host = tcase_create("host"), *manual = tcase_create("manual");
  tcase_set_timeout(host, 60);
  tcase_add_checked_fixture(host, setup, teardown);
  tcase_add_test(host, two_operands_agree_with_host);
  tcase_add_test(host, one_operand_agrees_with_host);
  tcase_add_test(host, empty_and_full_stack_agree_with_host);
  suite_add_tcase(suite, host);
  tcase_add_checked_fixture(manual, setup, teardown);
  tcase_add_test(manual, values);
  tcase_add_test(manual, integer_rounding);
  tcase_add_test(manual, tag_word);
  tcase_add_test(manual, environment_protected_32);
  tcase_add_test(manual, environment_protected_16);
  tcase_add_test(manual, environment_real);
  tcase_add_test(manual, save_and_restore);
  tcase_add_test(manual, unmasked_error_is_reported_by_the_next_instruction);
  tcase_add_test(manual, unmasked_overflow_keeps_memory_and_stack);
  tcase_add_test(manual, ferr_and_ignne);
  tcase_add_test(manual, device_not_available);
  tcase_add_test(manual, no_coprocessor);
  tcase_add_test(manual, fault_before_change);
  tcase_add_test(manual, compare_sets_eflags);
  tcase_add_test(manual, fxsave_image);
  tcase_add_test(manual, fxrstor_refuses);
  suite_add_tcase(suite, manual);
  return suite;
}
