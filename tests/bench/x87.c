/* SPDX-License-Identifier: MIT */
/* What only the x87 unit has: transcendental instructions, and conversions with changes of the rounding mode.
 */
#include "bench.h"

static u32 run_trigonometry(u32 n) {
  u32 sum = 0;
  for (u32 k = 0; k < n; k++)
    for (int i = 0; i < 50; i++) {
      long double x = (long double)(i + 1) * 0.03L, s, c, t, l, e;
      u32 w[3] = {0};
      __asm__ volatile("fsin" : "=t"(s) : "0"(x));
      __asm__ volatile("fcos" : "=t"(c) : "0"(x));
      __asm__ volatile("fpatan" : "=t"(t) : "0"(c), "u"(s) : "st(1)");
      __asm__ volatile("fyl2x" : "=t"(l) : "0"(x), "u"(t) : "st(1)");
      __asm__ volatile("f2xm1" : "=t"(e) : "0"(s * 0.5L));
      x = s + c * t + l + e;
      __builtin_memcpy(w, &x, 10);
      sum = bench_mix(sum, w[0] ^ w[1] ^ w[2]);
    }
  return sum;
}

static u32 run_conversion(u32 n) {
  int32_t in[64], out[64];
  u16 old, down;
  u32 sum = 0;
  for (int i = 0; i < 64; i++)
    in[i] = i * 12345 - 300000;
  __asm__ volatile("fnstcw %0" : "=m"(old));
  down = old | 0x0c00;
  for (u32 k = 0; k < n; k++) {
    for (int i = 0; i < 64; i++)
      __asm__ volatile("fildl %1\n fmuls %2\n fldcw %3\n fistpl %0\n fldcw %4"
                       : "=m"(out[i])
                       : "m"(in[i]), "m"((const float){0.37f}), "m"(down), "m"(old));
    sum = bench_mix(sum, (u32)(out[k & 63] + out[13]));
  }
  return sum;
}

const struct bench_kernel bench_x87_only[] = {
    {"trigonometry-x87", "x87", 50, NULL, run_trigonometry},
    {"fild-fistp-fldcw", "x87", 500, NULL, run_conversion},
    {NULL, NULL, 0, NULL, NULL},
};
