/* SPDX-License-Identifier: MIT */
/* HPET: counter, one-shot and periodic comparators, level interrupts, legacy replacement. */
#include "devices/hpet.h"
#include "tests/unit/chip_rig.h"

#define HPET 0xfed00000u

static struct device *hpet;

static struct rig *setup(void) {
  struct rig *r = rig_new();
  hpet = rig_add(r, &hpet_class, &(struct device_args){.id = "hpet", .addr = {HPET}});
  return r;
}

START_TEST(counter) {
  struct rig *r = setup();
  ck_assert_uint_eq(rig_mmio(r, HPET), 0x8086a201);
  ck_assert_uint_eq(rig_mmio(r, HPET + 4), 10000000);
  rig_mmio_out(r, HPET + 0xf4, 1);
  rig_mmio_out(r, HPET + 0xf0, 0xfffffff0);
  rig_advance(r, 1000);
  ck_assert_uint_eq(rig_mmio(r, HPET + 0xf0), 0xfffffff0);
  rig_mmio_out(r, HPET + 0x10, 1);
  rig_advance(r, 1000);
  ck_assert_uint_eq(mem_read(r->set.mem, HPET + 0xf0, 8), 0x200000054);
  rig_mmio_out(r, HPET + 0x10, 0);
  rig_advance(r, 1000);
  ck_assert_uint_eq(rig_mmio(r, HPET + 0xf0), 0x54);
  rig_free(r);
}
END_TEST

START_TEST(one_shot) {
  struct rig *r = setup();
  rig_mmio_out(r, HPET + 0x10, 1);
  rig_mmio_out(r, HPET + 0x100, 20 << 9 | 4);
  rig_mmio_out(r, HPET + 0x10c, 0);
  rig_mmio_out(r, HPET + 0x108, 1000);
  rig_advance(r, 9990);
  ck_assert_uint_eq(r->edges[20], 0);
  rig_advance(r, 20);
  ck_assert_uint_eq(r->edges[20], 1);
  rig_advance(r, 4 * 3600 * NS_PER_SEC); /* never again */
  ck_assert_uint_eq(r->edges[20], 1);
  rig_free(r);
}
END_TEST

START_TEST(periodic_and_legacy) {
  struct rig *r = setup();
  hpet_legacy_in(hpet, 0, 1);
  ck_assert_int_eq(r->level[0], 1);
  rig_mmio_out(r, HPET + 0x10, 3);
  ck_assert_int_eq(r->level[0], 0);
  hpet_legacy_in(hpet, 0, 0);
  hpet_legacy_in(hpet, 0, 1);
  ck_assert_int_eq(r->level[0], 0); /* cut off */
  r->edges[0] = 0;
  rig_mmio_out(r, HPET + 0x100, 0x4c);
  mem_write(r->set.mem, HPET + 0x108, 8, 100000 + mem_read(r->set.mem, HPET + 0xf0, 8));
  mem_write(r->set.mem, HPET + 0x108, 8, 100000); /* 1 ms */
  rig_advance(r, NS_PER_SEC);
  ck_assert_uint_ge(r->edges[0], 999);
  ck_assert_uint_le(r->edges[0], 1000);
  rig_mmio_out(r, HPET + 0x10, 1);
  ck_assert_int_eq(r->level[0], 1); /* the timer's line again */
  rig_free(r);
}
END_TEST

START_TEST(level) {
  struct rig *r = setup();
  rig_mmio_out(r, HPET + 0x10, 1);
  rig_mmio_out(r, HPET + 0x140, 0x100 | 21 << 9 | 6);
  rig_mmio_out(r, HPET + 0x148, 500);
  rig_advance(r, 6000);
  ck_assert_int_eq(r->level[21], 1);
  ck_assert_uint_eq(rig_mmio(r, HPET + 0x20), 4);
  rig_mmio_out(r, HPET + 0x20, 4);
  ck_assert_int_eq(r->level[21], 0);
  ck_assert_uint_eq(rig_mmio(r, HPET + 0x20), 0);
  rig_advance(r, (1ll << 32) * 10); /* 32 bits wrap around */
  ck_assert_int_eq(r->level[21], 1);
  rig_free(r);
}
END_TEST

static void fuzz_lines(struct rig *r, struct device *dev) {
  uint64_t x = rig_random(r);
  hpet_legacy_in(dev, x & 8, x & 1);
}

START_TEST(fuzz) {
  struct rig *r = setup();
  rig_fuzz_mmio(r, HPET, 0x180, fuzz_lines, hpet);
  rig_check_fields(hpet);
  rig_free(r);
}
END_TEST

RIG_SUITE(hpet, counter, one_shot, periodic_and_legacy, level, fuzz)
