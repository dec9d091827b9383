/* SPDX-License-Identifier: MIT */
/*
 * A small machine without a CPU for tests of PCI and disk chips: 4 MB of RAM, ports, a clock that runs as the
 * test says, and sixteen interrupt lines that are counted.
 */
#ifndef TESTS_UNIT_RIG_H
#define TESTS_UNIT_RIG_H

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/device.h"

#define RIG_RAM 0x400000u

struct rig {
  struct device_set set;
  struct mem_block *ram;
  uint64_t ns;
  int level[16], edges[16];
};

static inline uint64_t rig_icount(void *opaque) { return ((struct rig *)opaque)->ns; }

static inline void rig_irq(void *opaque, int n, int level) {
  struct rig *rig = opaque;
  if (level && !rig->level[n & 15])
    rig->edges[n & 15]++;
  rig->level[n & 15] = level;
}

static inline struct irq rig_line(struct rig *rig, int n) { return (struct irq){rig_irq, rig, n}; }

static inline struct rig *rig_new(void) {
  struct rig *rig = calloc(1, sizeof *rig);
  ck_assert_ptr_nonnull(rig);
  rig->set.io = io_bus_new();
  rig->set.mem = mem_new();
  rig->set.clock = clock_new_counted(rig_icount, rig, 1000); /* an instruction lasts 1 ns */
  rig->ram = mem_block_new(rig->set.mem, "ram", RIG_RAM);
  mem_map_ram(rig->set.mem, 0, RIG_RAM, rig->ram, 0);
  return rig;
}

static inline void rig_free(struct rig *rig) {
  device_free_all(&rig->set);
  clock_free(rig->set.clock);
  io_bus_free(rig->set.io);
  mem_free(rig->set.mem);
  free(rig);
}

/* Let time pass, firing the timers one after the other. */
static inline void rig_run(struct rig *rig, uint64_t ns) {
  uint64_t end = rig->ns + ns;
  for (;;) {
    int64_t next = clock_deadline(rig->set.clock);
    if (next > (int64_t)end)
      break;
    if (next > (int64_t)rig->ns)
      rig->ns = (uint64_t)next;
    clock_run_timers(rig->set.clock);
  }
  rig->ns = end;
}

static inline uint32_t in(struct rig *rig, uint16_t port, int size) {
  return io_read(rig->set.io, port, size);
}
static inline void out(struct rig *rig, uint16_t port, int size, uint32_t v) {
  io_write(rig->set.io, port, size, v);
}
static inline uint8_t inb(struct rig *rig, uint16_t port) { return (uint8_t)in(rig, port, 1); }
static inline void outb(struct rig *rig, uint16_t port, uint32_t value) { out(rig, port, 1, value & 0xff); }

/* A file of `size` bytes whose 32-bit words tell their own offset / 4; the caller unlinks it. */
static inline void rig_file(char path[32], uint64_t size) {
  snprintf(path, 32, "/tmp/dragoman-test-XXXXXX");
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  uint32_t words[4096];
  for (uint64_t at = 0; at < size; at += sizeof words) {
    for (uint32_t i = 0; i < 4096; i++)
      words[i] = (uint32_t)(at / 4 + i);
    uint64_t n = size - at < sizeof words ? size - at : sizeof words;
    ck_assert_int_eq(pwrite(fd, words, n, (off_t)at), (ssize_t)n);
  }
  close(fd);
}

/* How many operations a hostile driver does: 100000, or FUZZ_OPS of the environment. */
static inline int rig_fuzz_ops(void) {
  const char *wish = getenv("FUZZ_OPS");
  return wish ? atoi(wish) : 100000;
}

/* A generator of test noise: the same on every run. */
static inline uint32_t rig_random(uint32_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 17;
  *state ^= *state << 5;
  return *state;
}

#endif
