/* SPDX-License-Identifier: MIT */
/*
 * Benchmark kernels: what one is, and what it may use. The same object files are linked into a native 32-bit
 * Linux program (native.c) and into a kernel that runs on the bare machine (boot.S, guest.c), so a kernel
 * uses no library and no instruction that needs one, and its result depends neither on addresses nor on how
 * often it ran before init().
 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

enum {
  ARENA_SIZE = 288 << 20, /* bytes at bench_arena: page-aligned, of undefined content */
  CODE_SIZE = 64 << 10,   /* bytes at bench_code: page-aligned, writable and executable */
};

extern u8 *bench_arena;
extern u8 *bench_code;

struct bench_kernel {
  const char *name; /* no spaces; NULL ends a table */
  const char *group;
  u32 iterations;             /* of one run: 0.1 to a few ms on the host */
  void (*init)(void);         /* may be NULL */
  u32 (*run)(u32 iterations); /* a checksum */
};

/* All tables, in the order of the report; NULL ends the list. The guest adds those of events.c and real.c. */
extern const struct bench_kernel *const bench_tables[];
extern const struct bench_kernel bench_integer[], bench_crypto[], bench_memory[], bench_calls[], bench_x87[];
extern const struct bench_kernel bench_x87_only[], bench_sse[], bench_simd[], bench_strings[],
    bench_selfmod[];
extern const struct bench_kernel bench_segments[], bench_events[], bench_timers[], bench_real[];

/* Whether a kernel is wanted: filter is a list of parts of names or groups, with commas between. Empty: all.
 */
int bench_wanted(const struct bench_kernel *k, const char *filter);

/* A random number, and a pseudo-random sequence's next state. */
static inline u32 bench_random(u32 *state) {
  *state = *state * 1664525u + 1013904223u;
  return *state ^ *state >> 15;
}

static inline u32 bench_mix(u32 sum, u32 value) { return ((sum << 5 | sum >> 27) ^ value) * 0x9e3779b1u + 1; }

/*
 * A selector for the descriptor: in the local table of the native program (its privilege is 3 there), in the
 * global one of the guest. Asked for again, the same descriptor may get the same selector.
 */
u16 bench_segment(u64 descriptor);

#define BENCH_NOINLINE __attribute__((noinline))

#endif
