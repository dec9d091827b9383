/* SPDX-License-Identifier: MIT */
/* 8254: modes, latches, read-back, BCD, the gate of channel 2, and a channel 0 that does not drift. */
#include "devices/pit.h"
#include "tests/unit/chip_rig.h"

static struct device *pit;
static uint32_t tone_count;
static int tone_mode;

static void tone(void *opaque, int mode, uint32_t count) {
  (void)opaque;
  tone_mode = mode;
  tone_count = count;
}

static struct rig *setup(void) {
  struct rig *r = rig_new();
  pit = rig_add(
      r, &pit_class,
      &(struct device_args){.id = "pit", .port = {0x40}, .config = &(struct pit_config){.tone = tone}});
  r->edges[0] = 0;
  return r;
}

static int64_t ticks(int64_t n) { return muldiv64(n, NS_PER_SEC, PIT_HZ) + 1; }

static void program(struct rig *r, int channel, uint8_t control, uint16_t count) {
  rig_out(r, 0x43, (uint8_t)(channel << 6 | control));
  rig_out(r, (uint16_t)(0x40 + channel), count & 0xff);
  rig_out(r, (uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

static uint16_t read16(struct rig *r, int channel) {
  uint16_t low = rig_in(r, (uint16_t)(0x40 + channel));
  return (uint16_t)(low | rig_in(r, (uint16_t)(0x40 + channel)) << 8);
}

static uint16_t latch16(struct rig *r, int channel) {
  rig_out(r, 0x43, (uint8_t)(channel << 6));
  return read16(r, channel);
}

START_TEST(rate_does_not_drift) {
  struct rig *r = setup();
  program(r, 0, 0x34, 11932);
  r->edges[0] = 0;
  for (int i = 0; i < 1000; i++)
    rig_advance(r, 100000000); /* 100 s in all */
  int64_t expected = muldiv64(100, PIT_HZ, 11932);
  ck_assert_int_ge(r->edges[0], expected - 1);
  ck_assert_int_le(r->edges[0], expected);
  rig_free(r);
}
END_TEST

START_TEST(late_ticks_are_made_up) {
  struct rig *r = setup();
  program(r, 0, 0x34, 11932); /* 10 ms */
  r->edges[0] = 0;
  r->ns += 200000000; /* nobody ran the timers for 200 ms */
  clock_run_timers(r->set.clock);
  rig_advance(r, 800000000);
  ck_assert_int_ge(r->edges[0], 99);
  ck_assert_int_le(r->edges[0], 101);
  r->ns += 60ull * NS_PER_SEC; /* a minute is too much to owe */
  r->edges[0] = 0;
  rig_advance(r, NS_PER_SEC);
  ck_assert_int_le(r->edges[0], 205);
  rig_free(r);
}
END_TEST

static bool waits;
static bool irq_waits(void *opaque) {
  (void)opaque;
  return waits;
}

START_TEST(unserved_ticks_are_held_back) {
  struct rig *r = rig_new();
  struct pit_config config = {.irq_waits = irq_waits};
  pit = rig_add(r, &pit_class, &(struct device_args){.id = "pit", .port = {0x40}, .config = &config});
  program(r, 0, 0x34, 11932);
  r->edges[0] = 0;
  waits = true; /* interrupts are off for 100 ms */
  rig_advance(r, 100000000);
  ck_assert_uint_eq(r->edges[0], 0);
  waits = false;
  rig_advance(r, 905000000);
  ck_assert_uint_eq(r->edges[0], 100);
  rig_free(r);
}
END_TEST

START_TEST(one_shot) {
  struct rig *r = setup();
  program(r, 0, 0x30, 1000);
  ck_assert_int_eq(r->level[0], 0);
  r->edges[0] = 0;
  rig_advance(r, ticks(990));
  ck_assert_uint_eq(r->edges[0], 0);
  ck_assert_uint_le(latch16(r, 0), 12);
  rig_advance(r, ticks(20));
  ck_assert_uint_eq(r->edges[0], 1);
  ck_assert_int_eq(r->level[0], 1);
  rig_advance(r, NS_PER_SEC);
  ck_assert_uint_eq(r->edges[0], 1);
  program(r, 0, 0x38, 500); /* mode 4 */
  rig_advance(r, ticks(510));
  ck_assert_uint_eq(r->edges[0], 2);
  rig_free(r);
}
END_TEST

START_TEST(counts) {
  struct rig *r = setup();
  program(r, 0, 0x34, 0);
  rig_advance(r, ticks(1));
  uint16_t a = latch16(r, 0);
  rig_advance(r, ticks(1000));
  uint16_t b = latch16(r, 0);
  ck_assert_int_ge((uint16_t)(a - b), 999);
  ck_assert_int_le((uint16_t)(a - b), 1001);
  program(r, 0, 0x36, 10000); /* mode 3 counts by two */
  rig_advance(r, ticks(1));
  a = latch16(r, 0);
  rig_advance(r, ticks(1000));
  b = latch16(r, 0);
  ck_assert_int_ge(a - b, 1996);
  ck_assert_int_le(a - b, 2004);
  program(r, 0, 0x35, 0x1000); /* BCD */
  rig_advance(r, ticks(101));
  uint16_t c = latch16(r, 0);
  ck_assert_uint_ge(c, 0x0898);
  ck_assert_uint_le(c, 0x0901);
  rig_out(r, 0x43, 0x00); /* a latched value stands still */
  rig_advance(r, ticks(50));
  c = read16(r, 0);
  ck_assert_uint_ge(c, 0x0895);
  rig_free(r);
}
END_TEST

START_TEST(read_back) {
  struct rig *r = setup();
  program(r, 0, 0x34, 5000);
  program(r, 2, 0x36, 1000);
  rig_advance(r, ticks(2));
  rig_out(r, 0x43, 0xc2); /* count and status of channel 0 */
  uint8_t status = rig_in(r, 0x40);
  ck_assert_uint_eq(status, 0xb4);
  ck_assert_uint_ge(read16(r, 0), 4990);
  rig_out(r, 0x43, 0xe8); /* status only, channel 2: gate low, mode 3 */
  ck_assert_uint_eq(rig_in(r, 0x42) & 0x3f, 0x36);
  rig_out(r, 0x43, 0x34);
  rig_out(r, 0x43, 0xe2);
  ck_assert_uint_eq(rig_in(r, 0x40) & 0x40, 0x40); /* null count */
  rig_out(r, 0x43, 0x14);                          /* low byte only */
  rig_out(r, 0x40, 100);
  rig_advance(r, ticks(10));
  ck_assert_uint_le(rig_in(r, 0x40), 91);
  rig_free(r);
}
END_TEST

START_TEST(reload_waits_for_the_period) {
  struct rig *r = setup();
  program(r, 0, 0x34, 1000);
  rig_advance(r, ticks(500));
  rig_out(r, 0x40, 2000 & 0xff);
  rig_out(r, 0x40, 2000 >> 8);
  r->edges[0] = 0;
  rig_advance(r, ticks(510));
  ck_assert_uint_eq(r->edges[0], 1);
  rig_advance(r, ticks(1900));
  ck_assert_uint_eq(r->edges[0], 1);
  rig_advance(r, ticks(200));
  ck_assert_uint_eq(r->edges[0], 2);
  rig_free(r);
}
END_TEST

START_TEST(channel2) {
  struct rig *r = setup();
  program(r, 2, 0xb0 & 0x3f, 1000); /* mode 0, as used to calibrate clocks */
  ck_assert(!pit_get_out2(pit));
  rig_advance(r, ticks(5000));
  ck_assert(!pit_get_out2(pit)); /* the gate is low */
  pit_set_gate2(pit, true);
  rig_advance(r, ticks(990));
  ck_assert(!pit_get_out2(pit));
  rig_advance(r, ticks(20));
  ck_assert(pit_get_out2(pit));
  program(r, 2, 0x36, 1193);
  ck_assert_int_eq(tone_mode, 3);
  ck_assert_uint_eq(tone_count, 1193);
  rig_advance(r, ticks(300));
  ck_assert(pit_get_out2(pit));
  rig_advance(r, ticks(600));
  ck_assert(!pit_get_out2(pit));
  pit_set_gate2(pit, false);
  ck_assert(pit_get_out2(pit));
  program(r, 2, 0x32, 100); /* mode 1: a rising gate starts it */
  ck_assert(pit_get_out2(pit));
  pit_set_gate2(pit, true);
  rig_advance(r, ticks(50));
  ck_assert(!pit_get_out2(pit));
  rig_advance(r, ticks(60));
  ck_assert(pit_get_out2(pit));
  rig_free(r);
}
END_TEST

static void fuzz_gate(struct rig *r, struct device *dev) {
  pit_set_gate2(dev, rig_random(r) & 1);
  pit_get_out2(dev);
}

START_TEST(fuzz) {
  static const uint16_t ports[] = {0x40, 0x41, 0x42, 0x43, 0x43};
  struct rig *r = setup();
  rig_fuzz_ports(r, ports, 5, fuzz_gate, pit);
  rig_check_fields(pit);
  rig_free(r);
}
END_TEST

RIG_SUITE(pit, rate_does_not_drift, late_ticks_are_made_up, unserved_ticks_are_held_back, one_shot, counts,
          read_back, reload_waits_for_the_period, channel2, fuzz)
