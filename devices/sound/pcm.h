/* SPDX-License-Identifier: MIT */
/*
 * What sound chips share: the time of samples. A converter runs at `rate` frames per second from `start` on
 * and has done `done` of them; neither rounds, so that it never drifts.
 */
#ifndef DEVICES_SOUND_PCM_H
#define DEVICES_SOUND_PCM_H

#include <math.h>
#include <stdint.h>

#include "core/audio.h"
#include "core/clock.h"

#define PCM_LOOK_NS 5000000     /* between looks at a converter that somebody hears, or that writes memory */
#define PCM_UNHEARD_NS 20000000 /* and at one that nobody does */
#define PCM_SLIP_MS 60

struct pcm_run {
  int64_t start; /* ns */
  uint64_t done;
  uint32_t rate; /* 0: stands still */
};

#define PCM_FIELDS(type, member)                                                                             \
  FIELD(I64, type, member.start), FIELD(U64, type, member.done), FIELD(U32, type, member.rate)

static inline void pcm_start(struct pcm_run *r, int64_t now, uint32_t rate) {
  *r = (struct pcm_run){now, 0, rate};
}

/*
 * How many frames more are due now. Who asks every PCM_LOOK_NS gets all; beyond PCM_SLIP_MS the host was
 * away, and the converter stood still meanwhile: if it made up for that at once, it would run through the
 * buffers that the guest had no time to fill.
 */
static inline uint32_t pcm_due(struct pcm_run *r, int64_t now) {
  uint64_t n = now > r->start ? (uint64_t)muldiv64(now - r->start, r->rate, NS_PER_SEC) : 0;
  if (n <= r->done)
    return 0;
  uint32_t most = r->rate / 1000 * PCM_SLIP_MS + 100;
  if (n - r->done > most)
    r->done = n - most;
  return (uint32_t)(n - r->done);
}

/* The first nanosecond at which n frames more are due. */
static inline int64_t pcm_when(const struct pcm_run *r, uint32_t n) {
  return r->start + muldiv64((int64_t)(r->done + n), NS_PER_SEC, r->rate) + 1;
}

/* Wake at `next`, but not sooner than `gap` from now; INT64_MAX: not at all. */
static inline void pcm_look_again(struct timer *timer, int64_t now, int64_t next, int64_t gap) {
  if (next == INT64_MAX)
    timer_cancel(timer);
  else
    timer_arm(timer, next < now + gap ? now + gap : next);
}

static inline uint32_t pcm_gain(double db) { return (uint32_t)lrint(AUDIO_GAIN_ONE * pow(10, db / 20)); }

/* One frame of little-endian samples: bit 0 of mode: stereo; bit 1: 16 bits, signed, else 8 bits, unsigned.
 */
static inline unsigned pcm_bytes(unsigned mode) { return (mode & 1 ? 2u : 1u) * (mode & 2 ? 2u : 1u); }

static inline struct audio_frame pcm_frame(const uint8_t *p, unsigned mode) {
  const uint8_t *q = mode & 1 ? p + (mode & 2 ? 2 : 1) : p;
  if (mode & 2)
    return (struct audio_frame){(int16_t)(p[0] | p[1] << 8), (int16_t)(q[0] | q[1] << 8)};
  return (struct audio_frame){(int16_t)((p[0] - 128) * 256), (int16_t)((q[0] - 128) * 256)};
}

#endif
