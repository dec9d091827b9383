/* SPDX-License-Identifier: MIT */
/*
 * Virtual time and the timer queue. The real clock is the host's monotonic time minus the time spent paused.
 * The counted clock is instructions times their length, plus what was skipped while the CPU halted.
 */
#include "core/clock.h"

#include <stdlib.h>
#include <time.h>

#include "core/log.h"

struct clock {
  bool counted, paused;
  int64_t base;      /* real: host time at virtual time 0; counted: ns skipped by warps */
  int64_t paused_at; /* virtual time, while paused */
  uint64_t (*icount)(void *opaque);
  void *icount_opaque;
  uint32_t khz; /* counted: instructions per millisecond */
  struct timer *first;
  void (*kick)(void *opaque);
  void *kick_opaque;
};

static int64_t host_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

struct clock *clock_new_real(void) {
  struct clock *c = calloc(1, sizeof *c);
  if (c)
    c->base = host_ns();
  return c;
}

struct clock *clock_new_counted(uint64_t (*icount)(void *opaque), void *opaque, uint32_t mhz) {
  struct clock *c = calloc(1, sizeof *c);
  if (!c)
    return NULL;
  c->counted = true;
  c->icount = icount;
  c->icount_opaque = opaque;
  c->khz = mhz ? mhz * 1000 : 1000;
  return c;
}

void clock_set_khz(struct clock *c, uint32_t khz) { c->khz = khz ? khz : 1; }

void clock_free(struct clock *c) { free(c); }

bool clock_is_counted(const struct clock *c) { return c->counted; }

static int64_t counted_ns(const struct clock *c) {
  return (int64_t)((unsigned __int128)c->icount(c->icount_opaque) * 1000000 / c->khz);
}

int64_t clock_now(struct clock *c) {
  if (c->counted)
    return c->base + counted_ns(c);
  return c->paused ? c->paused_at : host_ns() - c->base;
}

void clock_pause(struct clock *c) {
  if (c->paused)
    return;
  c->paused_at = clock_now(c);
  c->paused = true;
}

void clock_resume(struct clock *c) {
  if (!c->paused)
    return;
  c->paused = false;
  if (!c->counted)
    c->base = host_ns() - c->paused_at;
}

int64_t clock_deadline(const struct clock *c) { return c->first ? c->first->deadline : INT64_MAX; }

void clock_run_timers(struct clock *c) {
  /* Time is read once: a timer that re-arms itself at or before now waits for the next call. */
  int64_t now = clock_now(c);
  unsigned due = 0;
  for (const struct timer *t = c->first; t && t->deadline <= now; t = t->next)
    due++;
  /* A callback may cancel or re-arm any timer: take them from the queue one by one. `due` bounds the work. */
  while (due-- && c->first && c->first->deadline <= now) {
    struct timer *t = c->first;
    c->first = t->next;
    t->armed = false;
    t->next = NULL;
    t->fire(t->opaque);
  }
}

void clock_warp(struct clock *c, int64_t ns) {
  DGM_ASSERT(c->counted);
  int64_t now = clock_now(c);
  if (ns > now)
    c->base += ns - now;
}

uint64_t clock_insns_until(struct clock *c, int64_t ns) {
  DGM_ASSERT(c->counted);
  int64_t left = ns - clock_now(c);
  if (left <= 0)
    return 0;
  /* Rounded up, so that after so many instructions the time has come. */
  unsigned __int128 insns = ((unsigned __int128)left * c->khz + 999999) / 1000000;
  return insns > UINT64_MAX / 2 ? UINT64_MAX / 2 : (uint64_t)insns;
}

void clock_set_now(struct clock *c, int64_t ns) {
  c->paused_at = ns;
  c->base = c->counted ? ns - counted_ns(c) : host_ns() - ns;
}

void clock_set_kick(struct clock *c, void (*kick)(void *opaque), void *opaque) {
  c->kick = kick;
  c->kick_opaque = opaque;
}

void timer_init(struct timer *t, struct clock *c, const char *name, void (*fire)(void *), void *opaque) {
  *t = (struct timer){.clock = c, .fire = fire, .opaque = opaque, .name = name};
}

void timer_arm(struct timer *t, int64_t deadline) {
  struct clock *c = t->clock;
  timer_cancel(t);
  t->deadline = deadline;
  t->armed = true;
  struct timer **at = &c->first;
  while (*at && (*at)->deadline <= deadline)
    at = &(*at)->next;
  t->next = *at;
  *at = t;
  if (c->first == t && c->kick)
    c->kick(c->kick_opaque);
}

void timer_cancel(struct timer *t) {
  if (!t->armed)
    return;
  for (struct timer **at = &t->clock->first; *at; at = &(*at)->next) {
    if (*at == t) {
      *at = t->next;
      break;
    }
  }
  t->armed = false;
  t->next = NULL;
}

uint32_t timer_rank(const struct timer *t) {
  uint32_t rank = 0;
  for (const struct timer *before = t->clock ? t->clock->first : NULL; before && before != t; before = before->next)
    rank++;
  return rank;
}
