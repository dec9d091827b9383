/* SPDX-License-Identifier: MIT */
/*
 * MMX and SSE in the interpreter: every row of the table against the host's processor with its memory
 * operand at the very end of a page; arithmetic against plain C; what belongs to the emulator against the
 * manual: availability, alignment, #XM, the MMX side of the x87 state, CPU models.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "core/fpu.h"
#include "tests/cpu/guest.h"

#define DATA_END (NATIVE_DATA + NATIVE_DATA_SIZE)

Suite *suite_sse(void);

static struct guest *g;
static struct native_state s;
static bool host_runs;

static void reset_state(void) {
  memset(&s, 0, sizeof s);
  s.eip = NATIVE_CODE;
  s.eflags = FL_1 | FL_IF;
  for (unsigned i = 0; i < 8; i++) {
    s.gpr[i] = NATIVE_DATA + 0x100;
    for (unsigned k = 0; k < 16; k++) {
      s.fx.xmm[i][k] = (uint8_t)(i * 37 + k * 11);
      s.fx.st[i][k] = k < 8 ? (uint8_t)(i * 53 + k * 29) : k < 10 ? 0xff : 0;
    }
  }
  s.gpr[ESP] = NATIVE_DATA + 0x2000;
  s.fx.fcw = FCW_INIT;
  s.fx.ftw = 0xff;
  s.fx.mxcsr = 0x1f80;
}

static void setup(void) {
  host_runs = native_init();
  g = guest_new("max");
  reset_state();
}

static void teardown(void) { guest_free(g); }

static void put_code(const uint8_t *code, size_t size) {
  memset(g->code, 0xcc, NATIVE_CODE_SIZE);
  memcpy(g->code, code, size);
  s.eip = NATIVE_CODE;
}
#define CODE(...) put_code((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static int run(void) {
  guest_run(g, &s, 100);
  return s.vector;
}
/* With other control registers than guest_load's. */
static int run_with(uint32_t cr0_set, uint32_t cr4_clear) {
  struct native_state after = s;
  guest_load(g, &s);
  g->cpu->cr0 |= cr0_set;
  g->cpu->cr4 &= ~cr4_clear;
  cpu_update_mode(g->cpu);
  guest_continue(g, &after, 10);
  return after.vector;
}
static uint32_t data32(unsigned offset) {
  uint32_t v;
  memcpy(&v, g->data + offset, 4);
  return v;
}
static uint32_t xmm32(unsigned reg, unsigned lane) {
  uint32_t v;
  memcpy(&v, s.fx.xmm[reg] + 4 * lane, 4);
  return v;
}
static void set_xmm32(unsigned reg, unsigned lane, uint32_t v) { memcpy(s.fx.xmm[reg] + 4 * lane, &v, 4); }

/* --- every row with a memory operand --- */

static unsigned memory_size(const struct insn_desc *d) {
  for (unsigned i = 0; i < 3; i++)
    if (fpu_operand_size(d->op[i]) != 0)
      return fpu_operand_size(d->op[i]);
  return 0;
}

static bool has_memory_form(const struct insn_desc *d) {
  unsigned kind = d->ext & 0xff00;
  return kind == X_RM || kind == X_MEM || kind == X_MR(0);
}

/* Encode with ModRM [ebx] and immediate 1. */
static unsigned encode(const struct insn_desc *d, uint8_t *p) {
  static const uint8_t prefix[] = {[P_66] = 0x66, [P_F3] = 0xf3, [P_F2] = 0xf2};
  uint8_t *start = p;
  if (d->pfx >= P_66)
    *p++ = prefix[d->pfx];
  if (d->map != MAP_1)
    *p++ = 0x0f;
  if (d->map >= MAP_0F38)
    *p++ = d->map == MAP_0F38 ? 0x38 : 0x3a;
  *p++ = d->opcode;
  *p++ = (uint8_t)(((d->ext & 0xff00) == X_MR(0) ? (d->ext & 7) << 3 : 5 << 3) | 3);
  if (d->op[1] == Ib || d->op[2] == Ib)
    *p++ = 1;
  return (unsigned)(p - start);
}

static void compare_with_host(struct native_state *host, const char *what, unsigned offset) {
  memcpy((void *)(uintptr_t)NATIVE_CODE, g->code, NATIVE_CODE_SIZE);
  native_run(host);
  ck_assert_msg(host->vector == s.vector, "%s +%u: vector %d, host %d", what, offset, s.vector, host->vector);
  ck_assert_msg(host->eip == s.eip, "%s: EIP", what);
  ck_assert_msg((host->eflags & FL_ARITH) == (s.eflags & FL_ARITH), "%s: EFLAGS", what);
  ck_assert_msg(host->fx.mxcsr == s.fx.mxcsr, "%s: MXCSR", what);
  ck_assert_msg(host->fx.fsw == s.fx.fsw && host->fx.ftw == s.fx.ftw, "%s: x87 status", what);
  ck_assert_msg(memcmp(host->fx.st, s.fx.st, sizeof s.fx.st) == 0, "%s: MMX registers", what);
  ck_assert_msg(memcmp(host->fx.xmm, s.fx.xmm, 128) == 0, "%s: XMM registers", what);
  ck_assert_msg(memcmp(host->gpr, s.gpr, sizeof s.gpr) == 0, "%s: registers", what);
  ck_assert_msg(memcmp((void *)(uintptr_t)NATIVE_DATA, g->data, NATIVE_DATA_SIZE) == 0, "%s: memory", what);
}

/* One row, its operand ending `past` bytes behind the last mapped one. */
static void run_row(const struct insn_desc *d, unsigned size, unsigned past) {
  uint8_t code[16];
  reset_state();
  for (unsigned i = 0; i < NATIVE_DATA_SIZE; i++)
    g->data[i] = (uint8_t)(i * 7 + (i >> 5));
  memset(g->data + NATIVE_DATA_SIZE - 512, 0, 512);
  memcpy((void *)(uintptr_t)NATIVE_DATA, g->data, NATIVE_DATA_SIZE);
  s.gpr[EBX] = DATA_END - size + past;
  put_code(code, encode(d, code));
  struct native_state host = s;
  ck_assert_int_eq(run(), past == 0 ? EXC_BP : s.vector);
  if (host_runs)
    compare_with_host(&host, d->mnemonic, past);
}

START_TEST(operand_sizes_and_alignment) {
  unsigned rows = 0;
  for (unsigned id = 0; id < INSN_COUNT; id++) {
    const struct insn_desc *d = &insn_desc[id];
    bool ours = d->cls == CL_FPU || d->cls == CL_MMX || d->cls == CL_SSE;
    unsigned size = memory_size(d);
    bool stored_pointers = id == INSN_FNSTENV || id == INSN_FNSAVE || id == INSN_FXSAVE;
    if (!ours || !has_memory_form(d) || size == 0 || stored_pointers)
      continue;
    if (id == INSN_FLDENV || id == INSN_FRSTOR || id == INSN_FXRSTOR)
      size = id == INSN_FLDENV ? 28 : id == INSN_FRSTOR ? 108 : 512;
    run_row(d, size, 0);
    run_row(d, size, 1);
    if (size >= 16)
      run_row(d, size, 16);
    rows++;
  }
  ck_assert_uint_gt(rows, 250);
}
END_TEST

/* --- arithmetic against plain C --- */

static int clamp(int v, int lo, int hi) { return v < lo ? lo : v > hi ? hi : v; }
static int model_byte(unsigned opcode, int a, int b) { /* a, b unsigned bytes */
  int sa = (int8_t)a, sb = (int8_t)b;
  switch (opcode) {
  case 0xfc: return a + b;
  case 0xf8: return a - b;
  case 0xdc: return clamp(a + b, 0, 255); /* paddusb */
  case 0xd8: return clamp(a - b, 0, 255); /* psubusb */
  case 0xec: return clamp(sa + sb, -128, 127); /* paddsb */
  case 0xe8: return clamp(sa - sb, -128, 127); /* psubsb */
  case 0x74: return a == b ? 255 : 0;
  case 0x64: return sa > sb ? 255 : 0; /* pcmpgtb */
  case 0xda: return a < b ? a : b; /* pminub */
  case 0xde: return a > b ? a : b; /* pmaxub */
  case 0xe0: return (a + b + 1) / 2; /* pavgb */
  case 0xdb: return a & b;
  case 0xdf: return ~a & b;
  case 0xeb: return a | b;
  default: return a ^ b; /* pxor */
  }
}

START_TEST(packed_bytes) {
  static const uint8_t opcodes[] = {0xfc, 0xf8, 0xdc, 0xd8, 0xec, 0xe8, 0x74, 0x64,
                                    0xda, 0xde, 0xe0, 0xdb, 0xdf, 0xeb, 0xef};
  for (unsigned c = 0; c < sizeof opcodes; c++) {
    for (unsigned n = 0; n < 4096; n += 16) {
      uint8_t a[16], b[16];
      for (unsigned i = 0; i < 16; i++) {
        a[i] = (uint8_t)(n / 16 + i * 16);
        b[i] = (uint8_t)((n + i) * 2654435761u >> 20);
      }
      memcpy(s.fx.xmm[3], a, 16);
      memcpy(s.fx.xmm[6], b, 16);
      s.fx.fsw = 0;
      memcpy(s.fx.st[1], a, 8);
      memcpy(s.fx.st[2], b, 8);
      CODE(0x66, 0x0f, opcodes[c], 0xde, 0x0f, opcodes[c], 0xca); /* op xmm3, xmm6; op mm1, mm2 */
      ck_assert_int_eq(run(), EXC_BP);
      for (unsigned i = 0; i < 16; i++)
        ck_assert_uint_eq(s.fx.xmm[3][i], (uint8_t)model_byte(opcodes[c], a[i], b[i]));
      ck_assert_mem_eq(s.fx.st[1], s.fx.xmm[3], 8);
    }
  }
}
END_TEST

START_TEST(shuffles_and_multiplies) {
  for (unsigned i = 0; i < 16; i++) {
    s.fx.xmm[1][i] = (uint8_t)(0xa0 + i);
    s.fx.xmm[2][i] = (uint8_t)(i % 5 == 4 ? 0x80 | i : 15 - i);
  }
  CODE(0x66, 0x0f, 0x38, 0x00, 0xca); /* pshufb xmm1, xmm2 */
  ck_assert_int_eq(run(), EXC_BP);
  for (unsigned i = 0; i < 16; i++)
    ck_assert_uint_eq(s.fx.xmm[1][i], i % 5 == 4 ? 0 : 0xa0 + 15 - i);

  int16_t a[8] = {32767, -32768, 100, -100, -32768, -32768, 1, 2};
  int16_t b[8] = {32767, 2, -3, 7, -32768, -32768, 3, 4};
  memcpy(s.fx.xmm[4], a, 16);
  memcpy(s.fx.xmm[5], b, 16);
  CODE(0x66, 0x0f, 0xf5, 0xe5); /* pmaddwd xmm4, xmm5 */
  ck_assert_int_eq(run(), EXC_BP);
  for (unsigned i = 0; i < 8; i += 2)
    ck_assert_uint_eq(xmm32(4, i / 2), (uint32_t)a[i] * (uint32_t)b[i] + (uint32_t)a[i + 1] * (uint32_t)b[i + 1]);
}
END_TEST

START_TEST(scalar_moves) {
  CODE(0xf3, 0x0f, 0x10, 0x0b); /* movss xmm1, [ebx] clears the rest */
  g->data[0x100] = 0x44;
  ck_assert_int_eq(run(), EXC_BP);
  ck_assert_uint_eq(xmm32(1, 0), 0x44);
  ck_assert_uint_eq(xmm32(1, 1) | xmm32(1, 2) | xmm32(1, 3), 0);
  uint32_t kept = xmm32(2, 3);
  CODE(0xf3, 0x0f, 0x10, 0xd1); /* movss xmm2, xmm1 keeps it */
  ck_assert_int_eq(run(), EXC_BP);
  ck_assert_uint_eq(xmm32(2, 0), 0x44);
  ck_assert_uint_eq(xmm32(2, 3), kept);
  CODE(0x66, 0x0f, 0x3a, 0x14, 0xcc, 0x00); /* pextrb esp, xmm1, 0: the whole register */
  ck_assert_int_eq(run(), EXC_BP);
  ck_assert_uint_eq(s.gpr[ESP], 0x44);
}
END_TEST

START_TEST(string_compare_flags) {
  memcpy(s.fx.xmm[1], "needle\0xxxxxxxxx", 16);
  memcpy(g->data + 0x101, "no needle here\0y", 16);
  CODE(0x66, 0x0f, 0x3a, 0x63, 0x4b, 0x01, 0x0c); /* pcmpistri xmm1, [ebx+1], equal ordered: unaligned */
  ck_assert_int_eq(run(), EXC_BP);
  ck_assert_uint_eq(s.gpr[ECX], 3);
  ck_assert_uint_eq(s.eflags & FL_ARITH, FL_CF | FL_ZF | FL_SF);
}
END_TEST

/* --- exceptions of SIMD arithmetic --- */

START_TEST(unmasked_division_by_zero) {
  for (unsigned i = 0; i < 4; i++) {
    set_xmm32(1, i, 0x3f800000);
    set_xmm32(2, i, i == 2 ? 0 : 0x40400000);
  }
  CODE(0x0f, 0x5e, 0xca); /* divps xmm1, xmm2 */
  s.fx.mxcsr = 0x1f80 & ~0x200;
  struct native_state before = s;
  ck_assert_int_eq(run(), EXC_XM);
  ck_assert_uint_eq(s.eip, NATIVE_CODE);
  ck_assert_uint_eq(s.fx.mxcsr, before.fx.mxcsr | 4); /* the inexact lanes are not told */
  ck_assert_mem_eq(s.fx.xmm, before.fx.xmm, 128);
  s = before;
  ck_assert_int_eq(run_with(0, CR4_OSXMMEXCPT), EXC_UD);
  s = before;
  s.fx.mxcsr = 0x1f80;
  ck_assert_int_eq(run(), EXC_BP);
  ck_assert_uint_eq(s.fx.mxcsr, 0x1f80 | 4 | 0x20);
  ck_assert_uint_eq(xmm32(1, 2), 0x7f800000);
  ck_assert_uint_eq(xmm32(1, 0), 0x3eaaaaab);
}
END_TEST

START_TEST(sticky_flags_do_not_trap_later) {
  set_xmm32(1, 0, 0x3f800000);
  set_xmm32(2, 0, 0x40000000);
  s.fx.mxcsr = (0x1f80 & ~0x200) | 4;
  CODE(0xf3, 0x0f, 0x5e, 0xca); /* divss: exact */
  ck_assert_int_eq(run(), EXC_BP);
  ck_assert_uint_eq(xmm32(1, 0), 0x3f000000);
  ck_assert_uint_eq(s.fx.mxcsr, (0x1f80 & ~0x200) | 4);
}
END_TEST

START_TEST(rounding_and_flushing) {
  set_xmm32(1, 0, 0x3f800000);
  set_xmm32(2, 0, 0x40400000);
  s.fx.mxcsr = 0x1f80 | 0x6000; /* towards zero */
  CODE(0xf3, 0x0f, 0x5e, 0xca);
  ck_assert_int_eq(run(), EXC_BP);
  ck_assert_uint_eq(xmm32(1, 0), 0x3eaaaaaa);
  set_xmm32(1, 0, 0x00800000);
  set_xmm32(2, 0, 0x3f000000);
  s.fx.mxcsr = 0x1f80 | 0x8000; /* flush to zero */
  CODE(0xf3, 0x0f, 0x59, 0xca);
  ck_assert_int_eq(run(), EXC_BP);
  ck_assert_uint_eq(xmm32(1, 0), 0);
}
END_TEST

/* --- availability --- */

START_TEST(availability) {
  static const struct {
    uint8_t code[5];
    int em, ts, no_osfxsr; /* vectors */
  } cases[] = {
    {{0x0f, 0x58, 0xca}, EXC_UD, EXC_NM, EXC_UD}, /* addps */
    {{0x66, 0x0f, 0xfc, 0xca}, EXC_UD, EXC_NM, EXC_UD}, /* paddb xmm */
    {{0x0f, 0xfc, 0xca}, EXC_UD, EXC_NM, EXC_BP}, /* paddb mm */
    {{0x0f, 0x77}, EXC_UD, EXC_NM, EXC_BP}, /* emms */
    {{0x0f, 0xae, 0x1b}, EXC_UD, EXC_NM, EXC_UD}, /* stmxcsr [ebx] */
    {{0x0f, 0xae, 0x03}, EXC_NM, EXC_NM, EXC_BP}, /* fxsave [ebx] */
    {{0x0f, 0xc3, 0x0b}, EXC_BP, EXC_BP, EXC_BP}, /* movnti [ebx], ecx */
    {{0x0f, 0xae, 0x3b}, EXC_BP, EXC_BP, EXC_BP}, /* clflush [ebx] */
    {{0x0f, 0xae, 0xf0}, EXC_BP, EXC_BP, EXC_BP}, /* mfence */
    {{0x0f, 0x18, 0x0b}, EXC_BP, EXC_BP, EXC_BP}, /* prefetcht0 [ebx] */
  };
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    memset(g->code, 0xcc, 64);
    for (unsigned k = 0; k < 5 && (k == 0 || cases[i].code[k] != 0); k++)
      g->code[k] = cases[i].code[k];
    ck_assert_int_eq(run_with(0, 0), EXC_BP);
    ck_assert_int_eq(run_with(CR0_EM, 0), cases[i].em);
    ck_assert_int_eq(run_with(CR0_TS, 0), cases[i].ts);
    ck_assert_int_eq(run_with(0, CR4_OSFXSR), cases[i].no_osfxsr);
  }
}
END_TEST

START_TEST(pending_x87_error) {
  s.fx.fcw = FCW_INIT & ~FSW_ZE;
  s.fx.fsw = FSW_ES | FSW_B | FSW_ZE;
  CODE(0x0f, 0xfc, 0xca);
  ck_assert_int_eq(run_with(0, 0), EXC_MF); /* paddb mm */
  CODE(0x0f, 0x2a, 0xca);
  ck_assert_int_eq(run_with(0, 0), EXC_MF); /* cvtpi2ps xmm1, mm2 */
  CODE(0x0f, 0x58, 0xca);
  ck_assert_int_eq(run_with(0, 0), EXC_BP); /* addps */
}
END_TEST

START_TEST(models) {
  static const struct {
    const char *model;
    int mmx, sse, sse2, sse3, ssse3, sse42;
  } cases[] = {{"486", EXC_UD, EXC_UD, EXC_UD, EXC_UD, EXC_UD, EXC_UD},
               {"pentium2", EXC_BP, EXC_UD, EXC_UD, EXC_UD, EXC_UD, EXC_UD},
               {"pentium3", EXC_BP, EXC_BP, EXC_UD, EXC_UD, EXC_UD, EXC_UD},
               {"core2duo", EXC_BP, EXC_BP, EXC_BP, EXC_BP, EXC_BP, EXC_UD},
               {"max", EXC_BP, EXC_BP, EXC_BP, EXC_BP, EXC_BP, EXC_BP}};
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    guest_free(g);
    g = guest_new(cases[i].model);
    CODE(0x0f, 0xfc, 0xca); /* paddb mm */
    ck_assert_int_eq(run_with(0, 0), cases[i].mmx);
    CODE(0x0f, 0x58, 0xca); /* addps */
    ck_assert_int_eq(run_with(0, 0), cases[i].sse);
    CODE(0x66, 0x0f, 0x58, 0xca); /* addpd */
    ck_assert_int_eq(run_with(0, 0), cases[i].sse2);
    CODE(0xf2, 0x0f, 0xd0, 0xca); /* addsubps */
    ck_assert_int_eq(run_with(0, 0), cases[i].sse3);
    CODE(0x0f, 0x38, 0x00, 0xca); /* pshufb mm */
    ck_assert_int_eq(run_with(0, 0), cases[i].ssse3);
    CODE(0x66, 0x0f, 0x38, 0x37, 0xca); /* pcmpgtq */
    ck_assert_int_eq(run_with(0, 0), cases[i].sse42);
  }
}
END_TEST

START_TEST(mxcsr_reserved_bits) {
  CODE(0x0f, 0xae, 0x13); /* ldmxcsr [ebx] */
  memcpy(g->data + 0x100, &(uint32_t){0x10000}, 4);
  ck_assert_int_eq(run_with(0, 0), EXC_GP);
  memcpy(g->data + 0x100, &(uint32_t){0xffc0}, 4);
  ck_assert_int_eq(run_with(0, 0), EXC_BP);
  ck_assert_uint_eq(g->cpu->fx.mxcsr, 0xffc0);
  guest_free(g);
  g = guest_new("pentium3"); /* has no denormals-are-zero */
  CODE(0x0f, 0xae, 0x13);
  memcpy(g->data + 0x100, &(uint32_t){0xffc0}, 4);
  ck_assert_int_eq(run_with(0, 0), EXC_GP);
}
END_TEST

/* --- MMX and the x87 --- */

START_TEST(mmx_state) {
  s.fx.fsw = 3 << FSW_TOP_SHIFT | 0x0100;
  s.fx.ftw = 0x08;
  uint8_t mm1[8], st0[10];
  memcpy(mm1, s.fx.st[(1 - 3) & 7], 8);
  memcpy(st0, s.fx.st[0], 10); /* R3 */
  CODE(0x0f, 0x6f, 0xd1); /* movq mm2, mm1 */
  ck_assert_int_eq(run(), EXC_BP);
  ck_assert_uint_eq(s.fx.fsw, 0x0100);
  ck_assert_uint_eq(s.fx.ftw, 0xff);
  ck_assert_mem_eq(s.fx.st[2], mm1, 8);
  ck_assert_uint_eq(s.fx.st[2][8] | s.fx.st[2][9] << 8, 0xffff);
  ck_assert_mem_eq(s.fx.st[3], st0, 10);
  CODE(0x0f, 0x77); /* emms */
  ck_assert_int_eq(run(), EXC_BP);
  ck_assert_uint_eq(s.fx.ftw, 0);
  ck_assert_uint_eq(s.fx.fsw, 0x0100);
}
END_TEST

START_TEST(masked_stores) {
  memset(g->data + 0x100, 0xee, 32);
  for (unsigned i = 0; i < 16; i++)
    s.fx.xmm[2][i] = i % 3 == 0 ? 0x80 : 0x7f;
  s.gpr[EDI] = NATIVE_DATA + 0x103;
  CODE(0x66, 0x0f, 0xf7, 0xca); /* maskmovdqu xmm1, xmm2 */
  ck_assert_int_eq(run(), EXC_BP);
  for (unsigned i = 0; i < 16; i++)
    ck_assert_uint_eq(g->data[0x103 + i], i % 3 == 0 ? s.fx.xmm[1][i] : 0xee);
  memset(g->data + NATIVE_DATA_SIZE - 8, 0xdd, 8);
  memset(s.fx.xmm[2], 0xff, 16);
  s.gpr[EDI] = DATA_END - 8;
  CODE(0x66, 0x0f, 0xf7, 0xca);
  ck_assert_int_eq(run(), EXC_PF);
  ck_assert_uint_eq(data32(NATIVE_DATA_SIZE - 8), 0xdddddddd); /* nothing before the fault */
  /* MASKMOVQ, which is an MMX instruction: TOP = 0, and registers by physical number. */
  reset_state();
  s.fx.fsw = 3 << FSW_TOP_SHIFT;
  s.fx.ftw = 0;
  memset(s.fx.st[(1 - 3) & 7], 0x5c, 8);
  memset(s.fx.st[(2 - 3) & 7], 0, 8);
  s.fx.st[(2 - 3) & 7][6] = 0xff;
  memset(g->data + 0x100, 0xee, 8);
  CODE(0x0f, 0xf7, 0xca); /* maskmovq mm1, mm2 */
  ck_assert_int_eq(run(), EXC_BP);
  ck_assert_uint_eq(data32(0x104), 0xee5ceeee);
  ck_assert_uint_eq(s.fx.fsw, 0);
  ck_assert_uint_eq(s.fx.ftw, 0xff);
}
END_TEST

Suite *suite_sse(void) {
  Suite *suite = suite_create("sse");
  TCase *tc = tcase_create("sse");
  tcase_set_timeout(tc, 60);
  tcase_add_checked_fixture(tc, setup, teardown);
  tcase_add_test(tc, operand_sizes_and_alignment);
  tcase_add_test(tc, packed_bytes);
  tcase_add_test(tc, shuffles_and_multiplies);
  tcase_add_test(tc, scalar_moves);
  tcase_add_test(tc, string_compare_flags);
  tcase_add_test(tc, unmasked_division_by_zero);
  tcase_add_test(tc, sticky_flags_do_not_trap_later);
  tcase_add_test(tc, rounding_and_flushing);
  tcase_add_test(tc, availability);
  tcase_add_test(tc, pending_x87_error);
  tcase_add_test(tc, models);
  tcase_add_test(tc, mxcsr_reserved_bits);
  tcase_add_test(tc, mmx_state);
  tcase_add_test(tc, masked_stores);
  suite_add_tcase(suite, tc);
  return suite;
}
