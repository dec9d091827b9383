/* SPDX-License-Identifier: MIT */
/*
 * Calls and branches: recursion, calls through tables, an interpreter's switch, branches that depend on
 * random data.
 */
#include "bench.h"

static BENCH_NOINLINE u32 fib(u32 n) {
  if (n < 2)
    return n;
  return fib(n - 1) + fib(n - 2);
}

static u32 run_fib(u32 n) {
  u32 sum = 0;
  for (u32 i = 0; i < n; i++) {
    u32 number = 20;
    __asm__ volatile("" : "+r"(number));
    sum = bench_mix(sum, fib(number));
  }
  return sum;
}

/* Objects of five kinds with two methods each. */

struct shape;
struct methods {
  u32 (*area)(const struct shape *);
  void (*grow)(struct shape *, u32);
};
struct shape {
  const struct methods *methods;
  u32 a, b;
};

static BENCH_NOINLINE u32 area_square(const struct shape *s) { return s->a * s->a; }
static BENCH_NOINLINE u32 area_rectangle(const struct shape *s) { return s->a * s->b; }
static BENCH_NOINLINE u32 area_triangle(const struct shape *s) { return s->a * s->b / 2; }
static BENCH_NOINLINE u32 area_circle(const struct shape *s) { return s->a * s->a * 201 >> 6; }
static BENCH_NOINLINE u32 area_point(const struct shape *s) { return s->b & 1; }
static BENCH_NOINLINE void grow_side(struct shape *s, u32 by) { s->a += by; }
static BENCH_NOINLINE void grow_both(struct shape *s, u32 by) { s->a += by, s->b ^= by; }

static const struct methods kinds[5] = {
    {area_square, grow_side}, {area_rectangle, grow_both}, {area_triangle, grow_both},
    {area_circle, grow_side}, {area_point, grow_both},
};
static struct shape shapes[256];

static void init_shapes(void) {
  u32 seed = 3;
  for (int i = 0; i < 256; i++) {
    u32 r = bench_random(&seed) >> 6;
    shapes[i] = (struct shape){.methods = &kinds[r % 5], .a = r >> 4 & 63, .b = r >> 10 & 63};
  }
}

static u32 run_virtual(u32 n) {
  u32 sum = 0;
  for (u32 k = 0; k < n; k++)
    for (int i = 0; i < 256; i++) {
      sum += shapes[i].methods->area(&shapes[i]);
      shapes[i].methods->grow(&shapes[i], sum & 3);
    }
  return sum;
}

/* A stack machine that counts primes below 100 by trial division. */

enum op { PUSH, LOAD, STORE, ADD, SUB, REMAINDER, LESS, ZERO, JUMP, JUMP_IF, XOR, DUP, DROP, STOP };

static const u8 program[] = {
    PUSH,          2,   STORE, 0,       PUSH,      0,     STORE,   2,              /* n = 2, count = 0 */
    /* 8 */ PUSH,  2,   STORE, 1,                                                  /* d = 2 */
    /* 12 */ LOAD, 1,   LOAD,  0,       LESS,      ZERO,  JUMP_IF, 38,             /* d >= n: a prime */
    /* 20 */ LOAD, 0,   LOAD,  1,       REMAINDER, ZERO,  JUMP_IF, 45,             /* d divides n: none */
    /* 28 */ LOAD, 1,   PUSH,  1,       ADD,       STORE, 1,       JUMP, 12, STOP, /* d++ */
    /* 38 */ LOAD, 2,   PUSH,  1,       ADD,       STORE, 2,                       /* count++ */
    /* 45 */ LOAD, 0,   PUSH,  1,       ADD,       DUP,   STORE,   0,              /* n++ */
    /* 53 */ PUSH, 100, LESS,  JUMP_IF, 8,         LOAD,  2,       STOP,
};

static BENCH_NOINLINE u32 interpret(const u8 *code) {
  u32 stack[64], variables[8] = {0}, *sp = stack, count = 0;
  for (const u8 *pc = code;; count++) {
    switch ((enum op) * pc++) {
    case PUSH: *sp++ = *pc++; break;
    case LOAD: *sp++ = variables[*pc++ & 7]; break;
    case STORE: variables[*pc++ & 7] = *--sp; break;
    case ADD: sp--, sp[-1] += *sp; break;
    case SUB: sp--, sp[-1] -= *sp; break;
    case REMAINDER: sp--, sp[-1] %= *sp; break;
    case LESS: sp--, sp[-1] = sp[-1] < *sp; break;
    case ZERO: sp[-1] = !sp[-1]; break;
    case XOR: sp--, sp[-1] ^= *sp; break;
    case JUMP: pc = code + *pc; break;
    case JUMP_IF: pc = *--sp ? code + *pc : pc + 1; break;
    case DUP: *sp = sp[-1], sp++; break;
    case DROP: sp--; break;
    case STOP: return sp[-1] * 65536 + count;
    }
  }
}

static u32 run_switch(u32 n) {
  u32 sum = 0;
  for (u32 i = 0; i < n; i++)
    sum = bench_mix(sum, interpret(program));
  return sum;
}

static u8 noise[4096];

static void init_noise(void) {
  u32 seed = 8;
  for (int i = 0; i < 4096; i++)
    noise[i] = (u8)(bench_random(&seed) >> 13);
}

static u32 run_branchy(u32 n) {
  u32 a = 1, b = 2, c = 3, at = 0;
  for (u32 k = 0; k < n; k++)
    for (int i = 0; i < 64; i++) {
      u8 x = noise[at++ & 4095];
      /* (The asm keeps the compiler from making conditional moves of the branches.) */
      if (x & 1) {
        if (x & 8) {
          a += b;
          __asm__ volatile("" : "+r"(a));
        } else {
          b ^= c;
          __asm__ volatile("" : "+r"(b));
        }
      } else if (x > 100) {
        c += 3;
        __asm__ volatile("" : "+r"(c));
      }
      if ((x & 6) == 2) {
        a ^= c << 1;
        __asm__ volatile("" : "+r"(a));
      }
    }
  return a ^ b * 3 ^ c * 5;
}

const struct bench_kernel bench_calls[] = {
    {"fib-20", "calls", 20, NULL, run_fib},
    {"virtual-calls", "calls", 200, init_shapes, run_virtual},
    {"switch-interpreter", "calls", 20, NULL, run_switch},
    {"branchy", "calls", 2000, init_noise, run_branchy},
    {NULL, NULL, 0, NULL, NULL},
};
