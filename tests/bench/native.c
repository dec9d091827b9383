/* SPDX-License-Identifier: MIT */
/*
 * The kernels as a 32-bit Linux program: native [FILTER [MILLISECONDS]]. It speaks with bench.c on standard
 * input and output as guest.c does on the serial port; each run takes at least that much CPU time and gives a
 * line "R name group iterations checksum nanoseconds".
 */
#include <asm/ldt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

enum { KERNELS = 128 };

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

u16 bench_segment(u64 descriptor) {
  static u64 table[16];
  u32 i = 0;
  while (i < 15 && table[i] && table[i] != descriptor)
    i++;
  table[i] = descriptor;
  struct user_desc d = {
      .entry_number = i,
      .base_addr = (u32)(descriptor >> 16 & 0xffffff) | (u32)(descriptor >> 56) << 24,
      .limit = (u32)(descriptor & 0xffff) | (u32)(descriptor >> 32 & 0xf0000),
      .contents = (u32)(descriptor >> 42 & 3),
      .read_exec_only = !(descriptor >> 41 & 1),
      .limit_in_pages = (u32)(descriptor >> 55 & 1),
      .seg_32bit = (u32)(descriptor >> 54 & 1),
      .useable = 1,
  };
  if (syscall(SYS_modify_ldt, 1, &d, sizeof d)) {
    perror("bench: modify_ldt");
    exit(1);
  }
  return (u16)(i * 8 + 7);
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
  const struct bench_kernel *kernels[KERNELS];
  u32 count = 0, number;
  char line[32];
  bench_arena = pages(ARENA_SIZE, 0);
  bench_code = pages(CODE_SIZE, PROT_EXEC);
  for (int t = 0; bench_tables[t]; t++)
    for (const struct bench_kernel *k = bench_tables[t]; k->name && count < KERNELS; k++)
      if (bench_wanted(k, filter)) {
        printf("K %u %s %s\n", count, k->name, k->group);
        kernels[count++] = k;
      }
  printf("B\n");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin) && line[0] != 'q')
    if (sscanf(line, "r %u", &number) == 1 && number < count)
      measure(kernels[number], enough);
  return 0;
}
