/* SPDX-License-Identifier: MIT */
/* A rig with a mixer whose output is kept, and how much of a tone is in it. */
#ifndef TESTS_UNIT_AUDIO_BENCH_H
#define TESTS_UNIT_AUDIO_BENCH_H

#include <math.h>

#include "core/audio.h"
#include "tests/unit/chip_rig.h"

#define OUT_MAX (AUDIO_RATE * 8)

struct take { /* a sink that keeps what it gets */
  struct audio_frame *frames;
  uint64_t count;
  unsigned rests;
};

static inline void take_write(void *opaque, const struct audio_frame *frames, uint64_t count) {
  struct take *t = opaque;
  ck_assert_uint_le(t->count + count, OUT_MAX);
  if (frames)
    memcpy(t->frames + t->count, frames, count * sizeof *frames);
  else
    memset(t->frames + t->count, 0, count * sizeof *frames);
  t->count += count;
}

static inline void take_rest(void *opaque) { ((struct take *)opaque)->rests++; }

struct bench {
  struct rig *r;
  struct audio *a;
  struct take take;
};

static inline void bench_make(struct bench *b) {
  b->r = rig_new();
  b->a = audio_new(b->r->set.clock);
  ck_assert_ptr_nonnull(b->a);
  b->take = (struct take){.frames = calloc(OUT_MAX, sizeof(struct audio_frame))};
  ck_assert_ptr_nonnull(b->take.frames);
  audio_set_sink(b->a, &(struct audio_sink){take_write, take_rest, NULL, &b->take});
}

static inline void bench_free(struct bench *b) {
  audio_free(b->a);
  free(b->take.frames);
  rig_free(b->r);
}

/* Fit a tone of `hz` to the left channel: its amplitude, and the power of what is left over in dB below it.
 */
static inline double fit(const struct audio_frame *f, unsigned count, double hz, double *rest_db) {
  double c = 0, s = 0, rest = 0;
  for (unsigned i = 0; i < count; i++) {
    double w = 2 * M_PI * hz * i / AUDIO_RATE;
    c += f[i].left * cos(w) * 2 / count;
    s += f[i].left * sin(w) * 2 / count;
  }
  for (unsigned i = 0; i < count; i++) {
    double w = 2 * M_PI * hz * i / AUDIO_RATE, d = f[i].left - c * cos(w) - s * sin(w);
    rest += d * d / count;
  }
  double amplitude = hypot(c, s);
  *rest_db = 10 * log10((rest + 1e-9) / (amplitude * amplitude / 2 + 1e-9));
  return amplitude;
}

#endif
