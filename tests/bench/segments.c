/* SPDX-License-Identifier: MIT */
/*
 * What segments cost: one loop of loads and stores, through flat segments with and without a prefix, through
 * segments with a base, with a limit, with both, growing down, and from 16-bit code with 32-bit addresses.
 * Natively all of it costs the same but a cycle for a base; an emulator has to check limits, except those of
 * flat segments.
 */
#include "bench.h"

enum { WORDS = 1024 };

/* Descriptors, of privilege 3: of writable data, growing up or down, and of readable code. */
enum { DATA = 0xf3, DATA_DOWN = 0xf7, CODE = 0xfb };
enum { PAGES32 = 0xc, BYTES32 = 4, BYTES16 = 0 };

static u64 descriptor(u32 type, u32 base, u32 limit, u32 flags) {
  u32 low = (limit & 0xffff) | base << 16;
  u32 high = (base >> 16 & 0xff) | type << 8 | (limit & 0xf0000) | flags << 20 | (base & 0xff000000);
  return (u64)high << 32 | low;
}

static u32 words[WORDS];

static void init_words(void) {
  for (u32 i = 0; i < WORDS; i++)
    words[i] = i * 2654435761u;
}

#define LOOP(prefix, address)                                                                                \
  "1: movl " prefix address ", %%eax\n addl %%eax, %[sum]\n movl %[sum], " prefix address "\n"               \
  "addl $4, %[at]\n decl %[count]\n jnz 1b\n"

static u32 run_ds(u32 n) {
  u32 sum = 0;
  for (; n; n--) {
    u32 at = (u32)(uintptr_t)words, count = WORDS;
    __asm__ volatile(LOOP("%%ds:", "(%[at])")
                     : [sum] "+r"(sum), [at] "+r"(at), [count] "+r"(count)
                     :
                     : "eax", "memory");
  }
  return sum;
}

/* The loop through DS, or through GS with a prefix, holding a selector; first address `from`. */

static u32 through_ds(u32 n, u64 segment, u32 from) {
  u32 sum = 0, selector = bench_segment(segment);
  for (; n; n--) {
    u32 at = from, count = WORDS;
    __asm__ volatile("pushl %%ds\n movw %w[selector], %%ds\n" LOOP("", "(%[at])") "popl %%ds"
                     : [sum] "+r"(sum), [at] "+r"(at), [count] "+r"(count)
                     : [selector] "r"(selector)
                     : "eax", "memory");
  }
  return sum;
}

static u32 through_gs(u32 n, u64 segment, u32 from) {
  u32 sum = 0, selector = bench_segment(segment);
  for (; n; n--) {
    u32 at = from, count = WORDS;
    __asm__ volatile("pushl %%gs\n movw %w[selector], %%gs\n" LOOP("%%gs:", "(%[at])") "popl %%gs"
                     : [sum] "+r"(sum), [at] "+r"(at), [count] "+r"(count)
                     : [selector] "r"(selector)
                     : "eax", "memory");
  }
  return sum;
}

#define BASE ((u32)(uintptr_t)words)

static u32 run_gs(u32 n) { return through_gs(n, descriptor(DATA, 0, 0xfffff, PAGES32), BASE); }
static u32 run_gs_base(u32 n) { return through_gs(n, descriptor(DATA, BASE, 0xfffff, PAGES32), 0); }
static u32 run_ds_base(u32 n) { return through_ds(n, descriptor(DATA, BASE - 16, 0xfffff, PAGES32), 16); }
static u32 run_ds_limit(u32 n) {
  return through_ds(n, descriptor(DATA, 0, (BASE + sizeof words) >> 12, PAGES32), BASE);
}
static u32 run_gs_limit(u32 n) { return through_gs(n, descriptor(DATA, BASE, sizeof words - 1, BYTES32), 0); }
static u32 run_ds_down(u32 n) {
  return through_ds(n, descriptor(DATA_DOWN, BASE - 4096, 4095, BYTES32), 4096);
}

/* A page through GS with 32-bit addresses, from a 16-bit code segment. */
static u32 run_code16(u32 n) {
  u32 sum = 0;
  u8 *code;
  __asm__ volatile("jmp 2f\n .code16\n"
                   "3: movw %%dx, %%gs\n"
                   "1: movl %%gs:(%%ecx), %%eax\n addl %%eax, %%ebx\n movl %%ebx, %%gs:(%%ecx)\n"
                   "addl $4, %%ecx\n decl %%esi\n jnz 1b\n lretl\n .code32\n 2: movl $3b, %0"
                   : "=r"(code));
  u32 data = bench_segment(descriptor(DATA, BASE, 0xfffff, PAGES32));
  static struct { /* (not on the stack, which moves) */
    u32 offset;
    u16 selector;
  } to;
  to.selector = bench_segment(descriptor(CODE, (u32)(uintptr_t)code, 0xffff, BYTES16));
  for (; n; n--) {
    u32 at = 0, count = WORDS;
    __asm__ volatile("pushl %%gs\n lcall *%[to]\n popl %%gs"
                     : "+b"(sum), "+c"(at), "+S"(count)
                     : "d"(data), [to] "m"(to)
                     : "eax", "memory");
  }
  return sum;
}

const struct bench_kernel bench_segments[] = {
    {"flat-ds", "segments", 200, init_words, run_ds},
    {"flat-gs-prefix", "segments", 200, init_words, run_gs},
    {"gs-base", "segments", 200, init_words, run_gs_base},
    {"ds-base", "segments", 200, init_words, run_ds_base},
    {"ds-limit", "segments", 200, init_words, run_ds_limit},
    {"gs-base-limit", "segments", 200, init_words, run_gs_limit},
    {"ds-expand-down", "segments", 200, init_words, run_ds_down},
    {"code16-gs-a32", "segments", 200, init_words, run_code16},
    {NULL, NULL, 0, NULL, NULL},
};
