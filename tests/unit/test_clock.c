/* SPDX-License-Identifier: MIT */
/* Virtual time: order of timers, re-arming, counting, warping, pausing. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/clock.h"

static uint64_t insns;
static struct clock *c;
static char trace[64];
static unsigned kicks;

static uint64_t icount(void *opaque) {
  (void)opaque;
  return insns;
}
static void kick(void *opaque) {
  (void)opaque;
  kicks++;
}
static void mark(void *opaque) {
  size_t n = strlen(trace);
  if (n + 1 < sizeof trace)
    trace[n] = *(const char *)opaque;
}

static struct timer again;
static void rearm(void *opaque) {
  mark(opaque);
  timer_arm(&again, clock_now(c)); /* due at once, but not in this run */
}

static void setup(void) {
  insns = 0;
  kicks = 0;
  memset(trace, 0, sizeof trace);
  c = clock_new_counted(icount, NULL, 100); /* 10 ns each */
}
static void teardown(void) { clock_free(c); }

START_TEST(counted_time_is_instructions) {
  insns = 12345;
  ck_assert_int_eq(clock_now(c), 123450);
  ck_assert(clock_is_counted(c));
  ck_assert_uint_eq(clock_insns_until(c, 123450), 0);
  ck_assert_uint_eq(clock_insns_until(c, 123451), 1); /* rounded up */
  ck_assert_uint_eq(clock_insns_until(c, 123470), 2);
  clock_warp(c, 1000000);
  ck_assert_int_eq(clock_now(c), 1000000);
  clock_warp(c, 5); /* never backwards */
  ck_assert_int_eq(clock_now(c), 1000000);
  insns++;
  ck_assert_int_eq(clock_now(c), 1000010);
}
END_TEST

START_TEST(timers_fire_in_order) {
  struct timer a, b, d;
  timer_init(&a, c, "a", mark, "a");
  timer_init(&b, c, "b", mark, "b");
  timer_init(&d, c, "d", mark, "d");
  clock_set_kick(c, kick, NULL);
  timer_arm(&b, 200);
  timer_arm(&a, 100);
  timer_arm(&d, 200);
  ck_assert_uint_eq(kicks, 2); /* d is not the first */
  ck_assert_int_eq(clock_deadline(c), 100);
  clock_run_timers(c);
  ck_assert_str_eq(trace, "");
  insns = 20;
  clock_run_timers(c);
  ck_assert_str_eq(trace, "abd"); /* equal deadlines: first armed first */
  ck_assert_int_eq(clock_deadline(c), INT64_MAX);
  ck_assert(!a.armed);
}
END_TEST

START_TEST(rearming_and_cancelling) {
  struct timer a;
  timer_init(&a, c, "a", mark, "a");
  timer_arm(&a, 100);
  timer_arm(&a, 50);
  ck_assert_int_eq(clock_deadline(c), 50);
  timer_cancel(&a);
  timer_cancel(&a);
  ck_assert_int_eq(clock_deadline(c), INT64_MAX);
  timer_init(&again, c, "again", rearm, "r");
  timer_arm(&again, -5); /* in the past */
  clock_run_timers(c);
  ck_assert_str_eq(trace, "r");
  clock_run_timers(c);
  ck_assert_str_eq(trace, "rr");
  timer_cancel(&again);
}
END_TEST

static struct timer victim;
static void cancel_victim(void *opaque) {
  mark(opaque);
  timer_cancel(&victim);
}

START_TEST(a_callback_may_cancel_another) {
  struct timer a;
  timer_init(&a, c, "a", cancel_victim, "a");
  timer_init(&victim, c, "v", mark, "v");
  timer_arm(&a, 1);
  timer_arm(&victim, 2);
  insns = 10;
  clock_run_timers(c);
  ck_assert_str_eq(trace, "a");
}
END_TEST

START_TEST(the_real_clock_stands_still_while_paused) {
  struct clock *real = clock_new_real();
  ck_assert(!clock_is_counted(real));
  clock_pause(real);
  int64_t t = clock_now(real);
  nanosleep(&(struct timespec){.tv_nsec = 3000000}, NULL);
  ck_assert_int_eq(clock_now(real), t);
  clock_resume(real);
  ck_assert_int_lt(clock_now(real), t + 2000000);
  nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  ck_assert_int_ge(clock_now(real), t + 1000000);
  clock_free(real);
}
END_TEST

START_TEST(muldiv_does_not_overflow) {
  ck_assert_int_eq(muldiv64(INT64_MAX, 1193182, NS_PER_SEC), 11005161493678455);
  ck_assert_int_eq(muldiv64(7, 3, 2), 10);
}
END_TEST

Suite *suite_clock(void) {
  Suite *s = suite_create("clock");
  TCase *t = tcase_create("clock");
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_test(t, counted_time_is_instructions);
  tcase_add_test(t, timers_fire_in_order);
  tcase_add_test(t, rearming_and_cancelling);
  tcase_add_test(t, a_callback_may_cancel_another);
  tcase_add_test(t, the_real_clock_stands_still_while_paused);
  tcase_add_test(t, muldiv_does_not_overflow);
  suite_add_tcase(s, t);
  return s;
}
