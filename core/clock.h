/* SPDX-License-Identifier: MIT */
/*
 * Virtual time in nanoseconds since power-on, and the timer queue. Two clocks behind one interface:
 * real (follows the host's monotonic clock while the machine runs) and counted (retired instructions times
 * a fixed length; while the CPU halts, time jumps to the next timer).
 */
#ifndef CORE_CLOCK_H
#define CORE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#define NS_PER_SEC 1000000000ll

struct clock;

struct timer {
  struct clock *clock;
  void (*fire)(void *opaque);
  void *opaque;
  int64_t deadline; /* ns; meaningful while armed */
  struct timer *next; /* queue, sorted by deadline, first armed first among equals */
  bool armed;
  const char *name;
};

struct clock *clock_new_real(void);
/* Counted: `icount` is asked for the retired instructions; each lasts 1000 / mhz ns. */
struct clock *clock_new_counted(uint64_t (*icount)(void *opaque), void *opaque, uint32_t mhz);
/* Counted, before it is used: instructions per millisecond. */
void clock_set_khz(struct clock *c, uint32_t khz);
void clock_free(struct clock *c);

int64_t clock_now(struct clock *c);
bool clock_is_counted(const struct clock *c);
void clock_pause(struct clock *c); /* real: time stands still until clock_resume */
void clock_resume(struct clock *c);
int64_t clock_deadline(const struct clock *c); /* of the first timer; INT64_MAX when none */
void clock_run_timers(struct clock *c); /* fire all that are due at clock_now */
/* Counted only: the CPU is idle; jump to `ns` (never backwards). */
void clock_warp(struct clock *c, int64_t ns);
/* Counted only: instructions until virtual time `ns` (0 if past). */
uint64_t clock_insns_until(struct clock *c, int64_t ns);
/* From now on it is virtual time `ns`; timers keep their deadlines. For snapshots. */
void clock_set_now(struct clock *c, int64_t ns);
/* Called when a timer is armed earlier than all others (so that the CPU loop shortens its slice). */
void clock_set_kick(struct clock *c, void (*kick)(void *opaque), void *opaque);

void timer_init(struct timer *t, struct clock *c, const char *name, void (*fire)(void *), void *opaque);
void timer_arm(struct timer *t, int64_t deadline); /* re-arms; may lie in the past: fires at the next run */
void timer_cancel(struct timer *t);
uint32_t timer_rank(const struct timer *t); /* armed timers that fire before it */

/* a * b / c without overflow of the product, rounding down; c > 0 */
static inline int64_t muldiv64(int64_t a, int64_t b, int64_t c) {
  return (int64_t)((__int128)a * b / c);
}

#endif
