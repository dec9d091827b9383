/* SPDX-License-Identifier: MIT */
/*
 * What a chip needs to run alone: buses, a counted clock at one instruction a nanosecond that the test moves,
 * lines that remember their level and count rising edges, and a generator for random register accesses.
 */
#ifndef TESTS_UNIT_CHIP_RIG_H
#define TESTS_UNIT_CHIP_RIG_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/device.h"

struct rig {
  struct device_set set;
  uint64_t ns; /* the clock */
  uint64_t drift; /* by which it moves each time that it is looked at */
  int level[DEVICE_LINES];
  unsigned edges[DEVICE_LINES];
  uint64_t seed;
};

static inline uint64_t rig_icount(void *opaque) {
  struct rig *r = opaque;
  r->ns += r->drift;
  return r->ns;
}

static inline struct rig *rig_new(void) {
  struct rig *r = calloc(1, sizeof(*r));
  ck_assert_ptr_nonnull(r);
  r->set.io = io_bus_new();
  r->set.mem = mem_new();
  r->set.clock = clock_new_counted(rig_icount, r, 1000);
  ck_assert(r->set.io && r->set.mem && r->set.clock);
  r->seed = 88172645463325252ull;
  return r;
}

static inline void rig_free(struct rig *r) {
  device_free_all(&r->set);
  io_bus_free(r->set.io);
  mem_free(r->set.mem);
  clock_free(r->set.clock);
  free(r);
}

static inline void rig_line_set(void *opaque, int n, int level) {
  struct rig *r = opaque;
  if (level && !r->level[n])
    r->edges[n]++;
  r->level[n] = level;
}

/* Connect all output lines and create the device. */
static inline struct device *rig_add(struct rig *r, const struct device_class *cls,
                                     struct device_args *args) {
  for (int i = 0; i < DEVICE_LINES; i++)
    args->irq[i] = (struct irq){rig_line_set, r, i};
  struct device *dev = device_new(&r->set, cls, args);
  ck_assert_ptr_nonnull(dev);
  return dev;
}

/* Let time pass, stopping at each timer. */
static inline void rig_advance(struct rig *r, int64_t ns) {
  int64_t end = clock_now(r->set.clock) + ns;
  while (clock_deadline(r->set.clock) <= end) {
    int64_t at = clock_deadline(r->set.clock), now = clock_now(r->set.clock);
    if (at > now)
      r->ns += (uint64_t)(at - now);
    clock_run_timers(r->set.clock);
  }
  int64_t now = clock_now(r->set.clock);
  if (end > now)
    r->ns += (uint64_t)(end - now);
}

static inline uint8_t rig_in(struct rig *r, uint16_t port) { return (uint8_t)io_read(r->set.io, port, 1); }
static inline void rig_out(struct rig *r, uint16_t port, uint8_t value) {
  io_write(r->set.io, port, 1, value);
}
static inline uint32_t rig_mmio(struct rig *r, uint32_t pa) { return (uint32_t)mem_read(r->set.mem, pa, 4); }
static inline void rig_mmio_out(struct rig *r, uint32_t pa, uint32_t v) { mem_write(r->set.mem, pa, 4, v); }

static inline uint64_t rig_random(struct rig *r) {
  r->seed ^= r->seed << 13;
  r->seed ^= r->seed >> 7;
  r->seed ^= r->seed << 17;
  return r->seed;
}

/* How many operations a hostile driver does: so many, or FUZZ_OPS of the environment. */
static inline int rig_fuzz_ops(void) {
  const char *wish = getenv("FUZZ_OPS");
  return wish ? atoi(wish) : 100000;
}
#define RIG_FUZZ_OPS rig_fuzz_ops()

/* Random reads, writes and steps of time over `count` ports. `other` (may be NULL) does something else now
 * and then. */
static inline void rig_fuzz_ports(struct rig *r, const uint16_t *ports, unsigned count,
                                  void (*other)(struct rig *r, struct device *dev), struct device *dev) {
  for (int i = 0, n = RIG_FUZZ_OPS; i < n; i++) {
    uint64_t x = rig_random(r);
    uint16_t port = ports[(x >> 8) % count];
    int size = 1 << (x >> 24) % 3;
    switch (x & 7) {
    case 0:
    case 1:
    case 2: io_read(r->set.io, port, size); break;
    case 3:
    case 4:
    case 5: io_write(r->set.io, port, size, (uint32_t)(x >> 32)); break;
    case 6: rig_advance(r, (int64_t)((x >> 32) % 200000)); break;
    default:
      if (other)
        other(r, dev);
      break;
    }
  }
}

/* The same over the page of memory at `pa`; half of the offsets are multiples of 16. */
static inline void rig_fuzz_mmio(struct rig *r, uint32_t pa, uint32_t span,
                                 void (*other)(struct rig *r, struct device *dev), struct device *dev) {
  for (int i = 0, n = RIG_FUZZ_OPS; i < n; i++) {
    uint64_t x = rig_random(r);
    int size = 1 << (x >> 24) % 4;
    uint32_t offset = (uint32_t)(x >> 8) % span & (x & 8 ? ~15u : ~(uint32_t)(size - 1));
    switch (x & 7) {
    case 0:
    case 1:
    case 2: mem_read(r->set.mem, pa + offset, size); break;
    case 3:
    case 4:
    case 5: mem_write(r->set.mem, pa + offset, size, rig_random(r)); break;
    case 6: rig_advance(r, (int64_t)((x >> 32) % 200000)); break;
    default:
      if (other)
        other(r, dev);
      break;
    }
  }
}

/* The field table restores what it saved, bit by bit. */
static inline void rig_check_fields(struct device *dev) {
  size_t size = state_size(dev->cls->fields);
  void *a = malloc(size + 1), *b = malloc(size + 1);
  state_save(a, dev, dev->cls->fields);
  ck_assert_int_eq(state_load(a, size, dev, dev->cls->fields), 0);
  state_save(b, dev, dev->cls->fields);
  ck_assert_int_eq(memcmp(a, b, size), 0);
  free(a);
  free(b);
}

static inline Suite *rig_suite(const char *name, const TTest *const *tests, size_t count) {
  Suite *suite = suite_create(name);
  TCase *tc = tcase_create(name);
  tcase_set_timeout(tc, 60);
  for (size_t i = 0; i < count; i++)
    tcase_add_test(tc, tests[i]);
  suite_add_tcase(suite, tc);
  return suite;
}

#define RIG_SUITE(name, ...)                                                                                 \
  Suite *suite_##name(void) {                                                                                \
    const TTest *const tests[] = {__VA_ARGS__};                                                              \
    return rig_suite(#name, tests, sizeof(tests) / sizeof(tests[0]));                                        \
  }

#endif
