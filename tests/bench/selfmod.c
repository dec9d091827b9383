/* SPDX-License-Identifier: MIT */
/*
 * Programs that write where they run: a patched operand, data on the page of the code that changes it, and
 * code that is generated, run twenty times and replaced.
 */
#include "bench.h"

static u8 *put(u8 *p, u32 value) {
  __builtin_memcpy(p, &value, 4);
  return p + 4;
}

static u8 *put_op(u8 *p, u8 opcode, u32 value) {
  *p++ = opcode;
  return put(p, value);
}

static u32 call_code(u8 *p) {
  __asm__ volatile("" : : : "memory");
  return ((u32(*)(void))(void *)p)();
}

static u32 *data_word(void) { return (u32 *)(void *)(bench_code + 2048); }

static void init_patch(void) { *put_op(bench_code, 0xb8, 0) = 0xc3; /* mov eax, N; ret */ }

static u32 run_patch(u32 n) {
  u32 sum = 0;
  for (u32 i = 0; i < n; i++) {
    put(bench_code + 1, i * 3);
    sum = bench_mix(sum, call_code(bench_code));
  }
  return sum;
}

static void init_own_page(void) {
  u8 *p = put_op(bench_code, 0xb9, 1000); /* mov ecx, 1000 */
  u8 *loop = p;
  *p++ = 0x01; /* add [data], ecx */
  p = put_op(p, 0x0d, (u32)(uintptr_t)data_word());
  *p++ = 0x49; /* dec ecx */
  *p++ = 0x75; /* jnz loop */
  *p = (u8)(loop - (p + 1));
  p[1] = 0xc3; /* ret */
  *data_word() = 0;
}

static u32 run_own_page(u32 n) {
  for (u32 i = 0; i < n; i++)
    call_code(bench_code);
  return *data_word();
}

static void init_beside(void) {
  bench_code[0] = 0xff; /* inc dword [data]; ret */
  *put_op(bench_code + 1, 0x05, (u32)(uintptr_t)data_word()) = 0xc3;
  *data_word() = 0;
}

static u32 run_beside(u32 n) {
  for (u32 i = 0; i < n; i++)
    for (int k = 0; k < 100; k++)
      call_code(bench_code);
  return *data_word();
}

static u32 run_new_code(u32 n) {
  u32 seed = 29, sum = 0;
  for (u32 i = 0; i < n; i++) {
    u8 *p = put_op(bench_code, 0xb8, i); /* mov eax, i */
    while (p < bench_code + 1800) {
      u32 r = bench_random(&seed);
      p = put_op(p, r & 256 ? 0x05 : 0x35, r); /* add/xor eax, r */
      *p++ = 0xc1;                             /* rol eax, r */
      *p++ = 0xc0;
      *p++ = r >> 10 & 31;
    }
    *p = 0xc3;
    for (int k = 0; k < 20; k++)
      sum = bench_mix(sum, call_code(bench_code));
  }
  return sum;
}

const struct bench_kernel bench_selfmod[] = {
    {"patch-and-call", "selfmod", 200, init_patch, run_patch},
    {"rmw-own-page-1000", "selfmod", 10, init_own_page, run_own_page},
    {"store-beside-code-100", "selfmod", 20, init_beside, run_beside},
    {"new-code-20-runs", "selfmod", 10, NULL, run_new_code},
    {NULL, NULL, 0, NULL, NULL},
};
