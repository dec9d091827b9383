/* SPDX-License-Identifier: MIT */
/* The ring that steers its reader's speed; frames between two of the ring by a cubic (Catmull-Rom). */
#include "frontends/audio_ring.h"

#include <math.h>

#define STEER_MAX 0.005
#define SMOOTHING (AUDIO_RATE * 0.7) /* frames */

void audio_ring_write(struct audio_ring *r, const struct audio_frame *frames, uint64_t count) {
  uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
  uint32_t room = AUDIO_RING - (head - atomic_load_explicit(&r->tail, memory_order_acquire));
  atomic_store(&r->resting, false);
  if (count > room) {
    atomic_fetch_add(&r->dropped, (unsigned)(count - room));
    count = room;
  }
  for (uint64_t i = 0; i < count; i++)
    r->frame[(head + i) % AUDIO_RING] = frames[i];
  atomic_store_explicit(&r->head, head + (uint32_t)count, memory_order_release);
}

void audio_ring_rest(struct audio_ring *r) { atomic_store(&r->resting, true); }

static double cubic(double a, double b, double c, double d, double t) {
  return b + t / 2 * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)));
}

static int16_t rounded(double x) {
  return (int16_t)lrint(x > INT16_MAX ? INT16_MAX : x < INT16_MIN ? INT16_MIN : x);
}

/* One frame from between the ring's frames at `tail` + 1 and + 2, with one more on either side. */
static struct audio_frame between(struct audio_ring *r, uint32_t tail) {
  const struct audio_frame *a = &r->frame[tail % AUDIO_RING], *b = &r->frame[(tail + 1) % AUDIO_RING];
  const struct audio_frame *c = &r->frame[(tail + 2) % AUDIO_RING], *d = &r->frame[(tail + 3) % AUDIO_RING];
  r->last_left = cubic(a->left, b->left, c->left, d->left, r->phase);
  r->last_right = cubic(a->right, b->right, c->right, d->right, r->phase);
  return (struct audio_frame){rounded(r->last_left), rounded(r->last_right)};
}

static struct audio_frame fade(struct audio_ring *r) {
  r->last_left *= 0.99;
  r->last_right *= 0.99;
  return (struct audio_frame){rounded(r->last_left), rounded(r->last_right)};
}

/* Once a read: begin, catch up, and choose the speed. */
static uint32_t steer(struct audio_ring *r, uint32_t tail, uint32_t filled, unsigned count) {
  if (!r->playing) {
    if (filled < r->target)
      return tail;
    r->playing = true;
    r->level = r->target;
    r->phase = 0;
  }
  if (filled > 3 * r->target + count) { /* the host stopped the reader for a while */
    atomic_fetch_add(&r->skipped, filled - r->target);
    tail += filled - r->target;
    r->level = filled = r->target;
  }
  double part = count / SMOOTHING;
  r->level += (filled - r->level) * (part < 1 ? part : 1);
  double error = (r->level - r->target) / r->target;
  r->speed = 1 + STEER_MAX * (error > 1 ? 1 : error < -1 ? -1 : error);
  return tail;
}

void audio_ring_read(struct audio_ring *r, struct audio_frame *out, unsigned count) {
  uint32_t head = atomic_load_explicit(&r->head, memory_order_acquire);
  uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
  tail = steer(r, tail, head - tail, count);
  for (unsigned i = 0; i < count; i++) {
    if (r->playing && head - tail < 5) {
      r->playing = false;
      if (!atomic_load(&r->resting))
        atomic_fetch_add(&r->underruns, 1);
    }
    if (!r->playing) {
      out[i] = fade(r);
      continue;
    }
    out[i] = between(r, tail);
    for (r->phase += r->speed; r->phase >= 1; r->phase -= 1)
      tail++;
  }
  atomic_store_explicit(&r->tail, tail, memory_order_release);
}
