/* SPDX-License-Identifier: MIT */
/* MC146818A: calendar, formats, SET, update in progress, alarm, periodic interrupts, CMOS contents. */
#include "devices/rtc.h"
#include "tests/unit/chip_rig.h"

static struct device *rtc;

static struct rig *setup(int64_t base) {
  struct rig *r = rig_new();
  rtc = rig_add(r, &rtc_class,
                &(struct device_args){.id = "rtc",
                                      .port = {0x70},
                                      .config = &(struct rtc_config){.base = base, .clock_vm = true}});
  return r;
}

static uint8_t get(struct rig *r, uint8_t index) {
  rig_out(r, 0x70, index);
  return rig_in(r, 0x71);
}

static void put(struct rig *r, uint8_t index, uint8_t value) {
  rig_out(r, 0x70, index);
  rig_out(r, 0x71, value);
}

#define NEW_YEARS_EVE 946684799 /* 1999-12-31 23:59:59, a Friday */

START_TEST(rollover) {
  struct rig *r = setup(NEW_YEARS_EVE);
  ck_assert_uint_eq(get(r, 0), 0x59);
  ck_assert_uint_eq(get(r, 4), 0x23);
  ck_assert_uint_eq(get(r, 6), 6);
  ck_assert_uint_eq(get(r, 9), 0x99);
  ck_assert_uint_eq(get(r, 0x32), 0x19);
  rig_advance(r, NS_PER_SEC);
  ck_assert_uint_eq(get(r, 0), 0x00);
  ck_assert_uint_eq(get(r, 4), 0x00);
  ck_assert_uint_eq(get(r, 6), 7);
  ck_assert_uint_eq(get(r, 7), 0x01);
  ck_assert_uint_eq(get(r, 8), 0x01);
  ck_assert_uint_eq(get(r, 9), 0x00);
  ck_assert_uint_eq(get(r, 0x32), 0x20);
  rig_free(r);
}
END_TEST

START_TEST(set_and_formats) {
  struct rig *r = setup(NEW_YEARS_EVE);
  static const uint8_t regs[] = {0, 2, 4, 7, 8, 9, 0x32}, values[] = {30, 59, 12, 29, 2, 24, 20};
  put(r, 0x0b, 0x86); /* SET, binary, 24 hours */
  for (int i = 0; i < 7; i++)
    put(r, regs[i], values[i]);
  rig_advance(r, 10 * NS_PER_SEC);
  ck_assert_uint_eq(get(r, 0), 30);
  put(r, 0x0b, 0x06);
  rig_advance(r, 31 * NS_PER_SEC);
  ck_assert_uint_eq(get(r, 0), 1);
  ck_assert_uint_eq(get(r, 2), 0);
  ck_assert_uint_eq(get(r, 4), 13);
  ck_assert_uint_eq(get(r, 6), 5); /* Thursday */
  put(r, 0x0b, 0x00);              /* BCD, 12 hours */
  ck_assert_uint_eq(get(r, 4), 0x81);
  ck_assert_uint_eq(get(r, 7), 0x29);
  rig_advance(r, 11 * 3600 * NS_PER_SEC);
  ck_assert_uint_eq(get(r, 4), 0x12);
  ck_assert_uint_eq(get(r, 8), 0x03);
  ck_assert_uint_eq(get(r, 7), 0x01);
  rig_free(r);
}
END_TEST

START_TEST(update_in_progress) {
  struct rig *r = setup(NEW_YEARS_EVE);
  ck_assert_uint_eq(get(r, 0x0a), 0x26);
  rig_advance(r, NS_PER_SEC - 1000000);
  ck_assert_uint_eq(get(r, 0x0a), 0xa6);
  rig_advance(r, 1000000);
  ck_assert_uint_eq(get(r, 0x0a), 0x26);
  ck_assert_uint_eq(get(r, 0x0d), 0x80);
  rig_free(r);
}
END_TEST

START_TEST(update_ended) {
  struct rig *r = setup(NEW_YEARS_EVE);
  get(r, 0x0c);
  put(r, 0x0b, 0x12);
  rig_advance(r, NS_PER_SEC / 2);
  ck_assert_int_eq(r->level[0], 0);
  rig_advance(r, NS_PER_SEC / 2 + 1000);
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_uint_eq(get(r, 0x0c) & 0x90, 0x90);
  ck_assert_int_eq(r->level[0], 0);
  ck_assert_uint_eq(get(r, 0x0c), 0);
  put(r, 0x0b, 0x02); /* flags come without interrupts too */
  rig_advance(r, NS_PER_SEC);
  ck_assert_int_eq(r->level[0], 0);
  ck_assert_uint_eq(get(r, 0x0c) & 0x90, 0x10);
  rig_free(r);
}
END_TEST

START_TEST(alarm_clock) {
  struct rig *r = setup(NEW_YEARS_EVE);
  put(r, 1, 0x10);
  put(r, 3, 0x01);
  put(r, 5, 0xff); /* any hour */
  put(r, 0x0b, 0x22);
  rig_advance(r, 70 * NS_PER_SEC);
  ck_assert_int_eq(r->level[0], 0);
  rig_advance(r, 2 * NS_PER_SEC);
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_uint_eq(get(r, 0x0c) & 0xa0, 0xa0);
  rig_advance(r, 3599 * NS_PER_SEC);
  ck_assert_uint_eq(r->edges[0], 2);
  put(r, 3, 0x99); /* never */
  get(r, 0x0c);
  rig_advance(r, 3 * 3600 * NS_PER_SEC);
  ck_assert_uint_eq(r->edges[0], 2);
  rig_free(r);
}
END_TEST

START_TEST(periodic) {
  struct rig *r = setup(NEW_YEARS_EVE);
  put(r, 0x0b, 0x42); /* 1024 Hz */
  unsigned count = 0;
  for (int i = 0; i < 10000; i++) {
    rig_advance(r, 100000);
    if (r->level[0]) {
      count++;
      ck_assert_uint_eq(get(r, 0x0c) & 0xc0, 0xc0);
    }
  }
  ck_assert_uint_ge(count, 1023);
  ck_assert_uint_le(count, 1025);
  rig_advance(r, 50000000); /* nobody looks for 50 ms */
  for (int i = 0; i < 9500; i++) {
    rig_advance(r, 100000);
    if (r->level[0]) {
      count++;
      get(r, 0x0c);
    }
  }
  ck_assert_uint_ge(count, 2046);
  ck_assert_uint_le(count, 2049);
  put(r, 0x0a, 0x20); /* no rate */
  get(r, 0x0c);
  r->edges[0] = 0;
  rig_advance(r, NS_PER_SEC);
  ck_assert_uint_eq(r->edges[0], 0);
  rig_free(r);
}
END_TEST

START_TEST(divider_reset) {
  struct rig *r = setup(NEW_YEARS_EVE);
  put(r, 0x0a, 0x66);
  rig_advance(r, 5 * NS_PER_SEC);
  ck_assert_uint_eq(get(r, 0), 0x59);
  put(r, 0x0a, 0x26);
  rig_advance(r, NS_PER_SEC / 2 - 1000);
  ck_assert_uint_eq(get(r, 0), 0x59);
  rig_advance(r, 2000);
  ck_assert_uint_eq(get(r, 0), 0x00);
  rig_free(r);
}
END_TEST

START_TEST(cmos) {
  struct rig *r = setup(NEW_YEARS_EVE);
  rtc_set_cmos(rtc, 0x10, 0x40);
  ck_assert_uint_eq(get(r, 0x10), 0x40);
  put(r, 0x8f, 0x05); /* with NMI masked */
  ck_assert_int_eq(r->level[1], 1);
  rtc->cls->reset(rtc);
  ck_assert_int_eq(r->level[1], 0);
  ck_assert_uint_eq(rtc_get_cmos(rtc, 0x0f), 0x05);
  ck_assert_uint_eq(rig_in(r, 0x70), 0xff);
  rig_free(r);
}
END_TEST

START_TEST(fuzz) {
  static const uint16_t ports[] = {0x70, 0x71, 0x71};
  struct rig *r = setup(NEW_YEARS_EVE);
  rig_fuzz_ports(r, ports, 3, NULL, rtc);
  rig_check_fields(rtc);
  rig_free(r);
}
END_TEST

RIG_SUITE(rtc, rollover, set_and_formats, update_in_progress, update_ended, alarm_clock, periodic,
          divider_reset, cmos, fuzz)
