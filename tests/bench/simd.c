/* SPDX-License-Identifier: MIT */
/* Vectors: blending of pixels with SSE2 and MMX, products of 4x4 matrices with SSE. */
#include "bench.h"

enum { PIXELS = 256, MATRICES = 32 };

typedef float float4 __attribute__((vector_size(16)));
typedef int int4 __attribute__((vector_size(16)));

static u32 pixels_a[PIXELS] __attribute__((aligned(16))), pixels_b[PIXELS] __attribute__((aligned(16)));
static u32 pixels_c[PIXELS] __attribute__((aligned(16)));
static u16 alphas[8] __attribute__((aligned(16)));
static float4 left[MATRICES][4], right[MATRICES][4], product[MATRICES][4];

static void init_pixels(void) {
  u32 seed = 17;
  for (int i = 0; i < PIXELS; i++) {
    pixels_a[i] = bench_random(&seed);
    pixels_b[i] = bench_random(&seed);
  }
  for (int i = 0; i < 8; i++)
    alphas[i] = 77;
}

static u32 sum_pixels(void) {
  u32 sum = 0;
  for (int i = 0; i < PIXELS; i++)
    sum = bench_mix(sum, pixels_c[i]);
  return sum;
}

/* c = b + (a - b) * alpha / 256 in each byte. */

static u32 run_blend_sse2(u32 n) {
  __asm__ volatile("pxor %%xmm7, %%xmm7\n movdqa %0, %%xmm6" : : "m"(alphas) : "xmm6", "xmm7");
  for (u32 k = 0; k < n; k++) {
    u32 offset = 0;
    __asm__ volatile("1: movdqa %c1(%0), %%xmm0\n movdqa %c2(%0), %%xmm1\n"
                     "movdqa %%xmm0, %%xmm2\n movdqa %%xmm1, %%xmm3\n"
                     "punpcklbw %%xmm7, %%xmm0\n punpckhbw %%xmm7, %%xmm2\n"
                     "punpcklbw %%xmm7, %%xmm1\n punpckhbw %%xmm7, %%xmm3\n"
                     "psubw %%xmm1, %%xmm0\n psubw %%xmm3, %%xmm2\n"
                     "pmullw %%xmm6, %%xmm0\n pmullw %%xmm6, %%xmm2\n"
                     "psraw $8, %%xmm0\n psraw $8, %%xmm2\n"
                     "paddw %%xmm1, %%xmm0\n paddw %%xmm3, %%xmm2\n"
                     "packuswb %%xmm2, %%xmm0\n movdqa %%xmm0, %c3(%0)\n"
                     "addl $16, %0\n cmpl $1024, %0\n jb 1b"
                     : "+r"(offset)
                     : "i"(pixels_a), "i"(pixels_b), "i"(pixels_c)
                     : "xmm0", "xmm1", "xmm2", "xmm3", "cc", "memory");
  }
  return sum_pixels();
}

static u32 run_blend_mmx(u32 n) {
  for (u32 k = 0; k < n; k++) {
    u32 offset = 0;
    __asm__ volatile("pxor %%mm7, %%mm7\n movq %4, %%mm6\n"
                     "1: movq %c1(%0), %%mm0\n movq %c2(%0), %%mm1\n"
                     "movq %%mm0, %%mm2\n movq %%mm1, %%mm3\n"
                     "punpcklbw %%mm7, %%mm0\n punpckhbw %%mm7, %%mm2\n"
                     "punpcklbw %%mm7, %%mm1\n punpckhbw %%mm7, %%mm3\n"
                     "psubw %%mm1, %%mm0\n psubw %%mm3, %%mm2\n"
                     "pmullw %%mm6, %%mm0\n pmullw %%mm6, %%mm2\n"
                     "psraw $8, %%mm0\n psraw $8, %%mm2\n"
                     "paddw %%mm1, %%mm0\n paddw %%mm3, %%mm2\n"
                     "packuswb %%mm2, %%mm0\n movq %%mm0, %c3(%0)\n"
                     "addl $8, %0\n cmpl $1024, %0\n jb 1b\n emms"
                     : "+r"(offset)
                     : "i"(pixels_a), "i"(pixels_b), "i"(pixels_c), "m"(alphas)
                     : "cc", "memory", "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)");
  }
  return sum_pixels();
}

static void init_matrices(void) {
  u32 seed = 19;
  for (int m = 0; m < MATRICES; m++)
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 4; j++) {
        left[m][i][j] = (float)(int)(bench_random(&seed) >> 20) / 512.0f - 3;
        right[m][i][j] = (float)(int)(bench_random(&seed) >> 20) / 512.0f - 5;
      }
}

static u32 run_matrices(u32 n) {
  for (u32 k = 0; k < n; k++) {
    for (int m = 0; m < MATRICES; m++)
      for (int i = 0; i < 4; i++) {
        float4 row = left[m][i];
        product[m][i] = __builtin_shuffle(row, (int4){0, 0, 0, 0}) * right[m][0] +
                        __builtin_shuffle(row, (int4){1, 1, 1, 1}) * right[m][1] +
                        __builtin_shuffle(row, (int4){2, 2, 2, 2}) * right[m][2] +
                        __builtin_shuffle(row, (int4){3, 3, 3, 3}) * right[m][3];
      }
    __asm__ volatile("" : : : "memory");
  }
  u32 sum = 0;
  for (int m = 0; m < MATRICES; m++)
    for (int i = 0; i < 4; i++)
      for (int j = 0; j < 4; j++) {
        float f = product[m][i][j];
        u32 w;
        __builtin_memcpy(&w, &f, 4);
        sum = bench_mix(sum, w);
      }
  return sum;
}

const struct bench_kernel bench_simd[] = {
    {"blend-sse2", "simd", 1000, init_pixels, run_blend_sse2},
    {"matrix-4x4-sse", "simd", 500, init_matrices, run_matrices},
    {"blend-mmx", "simd", 500, init_pixels, run_blend_mmx},
    {NULL, NULL, 0, NULL, NULL},
};
