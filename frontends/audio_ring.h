/* SPDX-License-Identifier: MIT */
/*
 * Between two clocks: the mixer puts frames into a ring by the machine's clock, a sound card takes them by
 * its own. The two never agree: how full the ring is, smoothed, steers the speed at which it is read by up to
 * half a percent, which nobody hears, so that it neither runs dry nor lags ever more. One writer, one reader,
 * in two threads, no locks.
 */
#ifndef FRONTENDS_AUDIO_RING_H
#define FRONTENDS_AUDIO_RING_H

#include <stdatomic.h>
#include <stdbool.h>

#include "core/audio.h"

#define AUDIO_RING 32768u /* frames, a power of two: 680 ms */

struct audio_ring {
  uint32_t target;        /* frames that wait on average */
  atomic_uint head, tail; /* frames written and read, modulo 2^32 */
  atomic_bool resting;    /* no more will come for now: running dry is no fault */
  atomic_uint underruns;
  atomic_uint skipped, dropped; /* frames: by the reader after it was away, by the writer while it is */
  /* The reader's own. */
  bool playing;
  double phase; /* between two frames */
  double level; /* frames waiting, smoothed */
  double speed;
  double last_left, last_right; /* fading out after an underrun */
  struct audio_frame frame[AUDIO_RING];
};

/* The writer's side. */
void audio_ring_write(struct audio_ring *r, const struct audio_frame *frames, uint64_t count);
void audio_ring_rest(struct audio_ring *r); /* until the next write */
/* The reader's: fill `out`. */
void audio_ring_read(struct audio_ring *r, struct audio_frame *out, unsigned count);

#endif
