/* SPDX-License-Identifier: MIT */
/* String instructions and the copies that compilers make. */
#include "bench.h"

enum { SMALL = 4096, BIG = 4 << 20 };

static inline void movsd(void *to, const void *from, u32 dwords) {
  __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(dwords) : : "memory");
}

static void init_text(void) {
  u32 seed = 23;
  for (u32 i = 0; i < BIG; i += 4)
    *(u32 *)(void *)(bench_arena + i) = bench_random(&seed) | 0x01010101;
}

static u32 sum_at(const u8 *p, u32 size) {
  u32 sum = 0;
  for (u32 i = 0; i < size; i += 252)
    sum = bench_mix(sum, *(const u32 *)(const void *)(p + i));
  return sum;
}

static u32 run_movsd_4k(u32 n) {
  for (u32 i = 0; i < n; i++)
    movsd(bench_arena + 2 * BIG, bench_arena, SMALL / 4);
  return sum_at(bench_arena + 2 * BIG, SMALL);
}

/* Pages that a direct-mapped TLB of any likely size keeps in the same entry. */
static u32 run_movsd_alias(u32 n) {
  for (u32 i = 0; i < n; i++)
    movsd(bench_arena + (64 << 20), bench_arena, BIG / 4);
  return sum_at(bench_arena + (64 << 20), BIG);
}

static u32 run_movsd_4m(u32 n) {
  for (u32 i = 0; i < n; i++)
    movsd(bench_arena + BIG + 37 * 4096, bench_arena, BIG / 4);
  return sum_at(bench_arena + BIG + 37 * 4096, BIG);
}

static u32 run_movsb_32(u32 n) {
  u8 *out = bench_arena + 2 * BIG;
  for (u32 i = 0; i < n; i++) {
    void *to = out + (i & 63) * 32;
    const void *from = bench_arena + (i & 31) * 40;
    u32 count = 32;
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
  }
  return sum_at(out, 2048);
}

static u32 run_stosd_4k(u32 n) {
  for (u32 i = 0; i < n; i++) {
    void *to = bench_arena + 2 * BIG;
    u32 count = SMALL / 4;
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(i) : "memory");
  }
  return sum_at(bench_arena + 2 * BIG, SMALL);
}

static u32 run_scasb_1k(u32 n) {
  u32 sum = 0;
  bench_arena[1023] = 0;
  for (u32 i = 0; i < n; i++) {
    const void *at = bench_arena;
    u32 count = 2048;
    __asm__ volatile("repne scasb" : "+D"(at), "+c"(count) : "a"(0) : "cc", "memory");
    sum += count;
  }
  return sum;
}

static BENCH_NOINLINE void copy_words(u32 *to, const u32 *from, u32 words) {
  for (u32 i = 0; i < words; i++) {
    to[i] = from[i];
    __asm__ volatile("" : : : "memory"); /* a word at a time */
  }
}

static u32 run_c_copy(u32 n) {
  u32 *from = (u32 *)(void *)bench_arena, *to = from + BIG / 2;
  for (u32 i = 0; i < n; i++)
    copy_words(to, from, SMALL / 4);
  return sum_at(bench_arena + 2 * BIG, SMALL);
}

static u32 run_byte_sum(u32 n) {
  u32 sum = 0;
  for (u32 k = 0; k < n; k++)
    for (u32 i = 0; i < SMALL; i++) {
      sum += bench_arena[i];
      __asm__ volatile("" : "+r"(sum));
    }
  return sum;
}

static u32 run_sse_copy(u32 n) {
  for (u32 i = 0; i < n; i++) {
    u8 *to = bench_arena + 2 * BIG;
    const u8 *from = bench_arena;
    u32 count = SMALL / 64;
    __asm__ volatile(
        "1: movdqa (%1), %%xmm0\n movdqa 16(%1), %%xmm1\n movdqa 32(%1), %%xmm2\n movdqa 48(%1), %%xmm3\n"
        "movdqa %%xmm0, (%0)\n movdqa %%xmm1, 16(%0)\n movdqa %%xmm2, 32(%0)\n movdqa %%xmm3, 48(%0)\n"
        "addl $64, %1\n addl $64, %0\n decl %2\n jnz 1b"
        : "+r"(to), "+r"(from), "+r"(count)
        :
        : "xmm0", "xmm1", "xmm2", "xmm3", "cc", "memory");
  }
  return sum_at(bench_arena + 2 * BIG, SMALL);
}

const struct bench_kernel bench_strings[] = {
    {"rep-movsd-4k", "strings", 5000, init_text, run_movsd_4k},
    {"rep-movsd-4m-alias", "strings", 2, init_text, run_movsd_alias},
    {"rep-movsd-4m", "strings", 4, init_text, run_movsd_4m},
    {"rep-movsb-32", "strings", 50000, init_text, run_movsb_32},
    {"rep-stosd-4k", "strings", 5000, init_text, run_stosd_4k},
    {"repne-scasb-1k", "strings", 1000, init_text, run_scasb_1k},
    {"c-copy-4k", "strings", 1000, init_text, run_c_copy},
    {"c-byte-sum-4k", "strings", 500, init_text, run_byte_sum},
    {"sse-copy-4k", "strings", 5000, init_text, run_sse_copy},
    {NULL, NULL, 0, NULL, NULL},
};
