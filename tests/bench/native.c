/* SPDX-License-Identifier: MIT */
/*
 * The kernels as a 32-bit Linux program: native [FILTER [MILLISECONDS]]. Each runs for at least that much CPU time and
 * gives a line "R name group iterations checksum nanoseconds", as bench.c expects. See guest.c for the other side.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "bench.h"

static u64 cpu_time(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (u64)t.tv_sec * 1000000000 + (u64)t.tv_nsec;
}

static void *pages(size_t size, int extra) {
  void *p = mmap(NULL, size, PROT_READ | PROT_WRITE | extra, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) {
    perror("bench: memory");
    exit(1);
  }
  return p;
}

static void measure(const struct bench_kernel *k, u64 enough) {
  if (k->init)
    k->init();
  u32 sum = k->run(k->iterations);
  u64 start = cpu_time(), now = start, runs = 0;
  do {
    k->run(k->iterations);
    runs++;
    now = cpu_time();
  } while (now - start < enough);
  printf("R %s %s %llu %08x %llu\n", k->name, k->group, (unsigned long long)(runs * k->iterations), sum,
         (unsigned long long)(now - start));
  fflush(stdout);
}

int main(int argc, char **argv) {
  const char *filter = argc > 1 ? argv[1] : "";
  u64 enough = (argc > 2 ? strtoul(argv[2], NULL, 10) : 50) * 1000000ull;
  bench_arena = pages(ARENA_SIZE, 0);
  bench_code = pages(CODE_SIZE, PROT_EXEC);
  for (int t = 0; bench_tables[t]; t++)
    for (const struct bench_kernel *k = bench_tables[t]; k->name; k++)
      if (bench_wanted(k, filter))
        measure(k, enough);
  return 0;
}
