/* SPDX-License-Identifier: MIT */
/*
 * The list of kernels and what all of them share: the choice by name, and the four functions that a compiler
 * may call on its own account. Those are ours in the native program too, so that both sides run the same
 * code.
 */
#include "bench.h"

u8 *bench_arena;
u8 *bench_code;

const struct bench_kernel *const bench_tables[] = {
    bench_integer, bench_crypto, bench_memory,  bench_calls,   bench_x87,      bench_x87_only,
    bench_sse,     bench_simd,   bench_strings, bench_selfmod, bench_segments, NULL,
};

static int contains(const char *text, const char *part, size_t length) {
  for (; *text; text++) {
    size_t i = 0;
    while (i < length && text[i] == part[i])
      i++;
    if (i == length)
      return 1;
  }
  return 0;
}

int bench_wanted(const struct bench_kernel *k, const char *filter) {
  if (!filter || !*filter || *filter == ' ')
    return 1;
  for (;;) {
    size_t n = 0;
    while (filter[n] && filter[n] != ',' && filter[n] != ' ')
      n++;
    if (n && (contains(k->name, filter, n) || contains(k->group, filter, n)))
      return 1;
    if (filter[n] != ',')
      return 0;
    filter += n + 1;
  }
}

void *memset(void *to, int value, size_t n);
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
int memcmp(const void *a, const void *b, size_t n);

void *memset(void *to, int value, size_t n) {
  void *p = to;
  __asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(value) : "memory");
  return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t n) {
  void *p = to;
  __asm__ volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(n) : : "memory");
  return to;
}

void *memmove(void *to, const void *from, size_t n) {
  u8 *d = to;
  const u8 *s = from;
  if (d <= s)
    for (size_t i = 0; i < n; i++)
      d[i] = s[i];
  else
    while (n--)
      d[n] = s[n];
  return to;
}

int memcmp(const void *a, const void *b, size_t n) {
  const u8 *x = a, *y = b;
  for (size_t i = 0; i < n; i++)
    if (x[i] != y[i])
      return x[i] - y[i];
  return 0;
}
