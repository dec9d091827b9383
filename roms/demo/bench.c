/* SPDX-License-Identifier: MIT */
/*
 * A few small kernels, each run for about a third of a second of the timer's time and checked for its
 * result.
 */
#include "demo.h"

#define RUN_TICKS 33

static u32 integer_kernel(void) { /* 100,000 steps of a xorshift generator */
  u32 x = 2463534242u;
  for (u32 i = 0; i < 100000; i++) {
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
  }
  return x;
}

static u32 sieve_kernel(void) { /* primes below 65536 */
  u8 *composite = BUFFER_A;
  memset(composite, 0, 65536);
  u32 count = 0;
  for (u32 i = 2; i < 65536; i++) {
    if (composite[i])
      continue;
    count++;
    for (u32 j = 2 * i; j < 65536; j += i)
      composite[j] = 1;
  }
  return count;
}

static u32 fibonacci(u32 n) { return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2); }

static u32 call_kernel(void) { return fibonacci(20); }

static u32 float_kernel(void) { /* the sum of 1/k^2 for k up to 20000, in millionths */
  double sum = 0;
  for (int k = 1; k <= 20000; k++)
    sum += 1.0 / ((double)k * (double)k);
  return (u32)(int)(sum * 1000000.0);
}

static u32 copy_kernel(void) { /* 256 KB */
  void *to = BUFFER_B;
  const void *from = BUFFER_A;
  u32 n = 65536;
  __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
  return ((u32 *)BUFFER_B)[65535];
}

static u32 checksum_kernel(void) { /* CRC-32 of 16 KB, bit by bit */
  memset(BUFFER_A, 0x5a, 16384);
  return crc32(BUFFER_A, 16384);
}

static const struct kernel {
  const char *name;
  u32 (*run)(void);
  u32 wanted;
  u32 work; /* units in one run */
  const char *unit;
  bool fpu, marks;
} kernels[] = {
    {"integer loop", integer_kernel, 0x0bb69297, 100, "thousand steps", false, false},
    {"sieve of 65536", sieve_kernel, 6542, 1, "sieves", false, false},
    {"calls, fib(20)", call_kernel, 6765, 22, "thousand calls", false, false},
    {"x87 loop", float_kernel, 1644884, 20, "thousand terms", true, false},
    {"memory copy", copy_kernel, 0x12345678, 256, "KB", false, true},
    {"checksum", checksum_kernel, 0x50a5c68f, 16, "KB", false, false},
};

void benchmark(void) {
  text_colour(WHITE);
  print("  %-22s %10s %12s %8s\n\n", "kernel", "runs", "per second", "unit");
  text_colour(GREY);
  u32 wrong = 0;
  for (size_t i = 0; i < sizeof kernels / sizeof kernels[0]; i++) {
    const struct kernel *k = &kernels[i];
    if (k->fpu && !cpu.fpu)
      continue;
    u32 runs = 0, elapsed;
    wait_tick();
    u32 start = ticks;
    do {
      if (k->marks)
        ((u32 *)BUFFER_A)[65535] = k->wanted;
      u32 got = k->run();
      if (got != k->wanted) {
        wrong++;
        serial_print("bench: %s gave %x\n", k->name, got);
        break;
      }
      runs++;
      elapsed = ticks - start;
    } while (elapsed < RUN_TICKS);
    elapsed = ticks - start;
    u32 hundredth = runs * k->work; /* per RUN_TICKS */
    u32 rate = elapsed ? hundredth / elapsed * 100 + hundredth % elapsed * 100 / elapsed : 0;
    print("  %-22s %10u %12u   %s\n", k->name, runs, rate, k->unit);
    serial_print("bench: %s: %u %s per second (%u runs in %u ms)\n", k->name, rate, k->unit, runs,
                 elapsed * 10);
  }
  print("\n");
  check("benchmark results", !wrong, "%u wrong", wrong);
}
