/* SPDX-License-Identifier: MIT */
/*
 * Real-mode kernels (real.S): video memory in the modes that games use, and a sieve whose stack does or does
 * not lie on the page that holds its code. An iteration fills the screen, or sieves once.
 */
#include "guest.h"

enum { REAL_AT = 0x10000 };

extern u8 real_set_mode[], real_byte_writes[], real_stosw[], real_mode_x[], real_planar[], real_sieve[];
extern u8 real_sieve_mixed[];

static u32 call(u8 *kernel, u32 argument) { return real_call((u32)(kernel - real_code), argument); }

void real_mode_set(u32 video_mode) {
  u8 *to = (u8 *)REAL_AT;
  for (u32 i = 0; i < (u32)(real_code_end - real_code); i++)
    to[i] = real_code[i];
  call(real_set_mode, video_mode);
}

static void init_13h(void) { real_mode_set(0x13); }
static void init_12h(void) { real_mode_set(0x12); }
static void init_text(void) { real_mode_set(3); }

static inline u32 repeat(u8 *kernel, u32 n) {
  u32 sum = 0;
  for (u32 i = 0; i < n; i++)
    sum = bench_mix(sum, call(kernel, i * 0x0101 & 0xffff));
  return sum;
}

static u32 run_byte_writes(u32 n) { return repeat(real_byte_writes, n); }
static u32 run_stosw(u32 n) { return repeat(real_stosw, n); }
static u32 run_mode_x(u32 n) { return repeat(real_mode_x, n); }
static u32 run_planar(u32 n) { return repeat(real_planar, n); }
static u32 run_sieve(u32 n) { return repeat(real_sieve, n); }
static u32 run_sieve_mixed(u32 n) { return repeat(real_sieve_mixed, n); }

const struct bench_kernel bench_real[] = {
    {"mode-13h-bytes", "real-mode", 4, init_13h, run_byte_writes},
    {"mode-13h-rep-stosw", "real-mode", 4, init_13h, run_stosw},
    {"mode-x-bytes", "real-mode", 1, init_13h, run_mode_x},
    {"mode-12h-read-write", "real-mode", 1, init_12h, run_planar},
    {"sieve", "real-mode", 4, init_text, run_sieve},
    {"sieve-stack-by-code", "real-mode", 1, init_text, run_sieve_mixed},
    {NULL, NULL, 0, NULL, NULL},
};
