/* SPDX-License-Identifier: MIT */
/*
 * PC speaker: OUT of timer channel 2 and bit 1 of port 61h, ANDed, move the cone (IBM PC/AT Technical
 * Reference, "Speaker"). So a tone comes from the timer's square wave, a click or a sample from either being
 * switched by hand or from pulses of the one-shot modes at a rate beyond hearing. The wave is rendered from
 * the timer's state between any two changes of it: each frame is the part of its time that the cone was out,
 * which keeps pulses of a microsecond. Then the cone's inertia (two poles at 9 kHz), and the capacitor that
 * blocks what does not move.
 */
#include "devices/pcspk.h"

#define PIT_INPUT_HZ 1193182u
#define RATE 96000
#define AMPLITUDE 16000 /* between in and out */
#define STATE_BITS 24
#define INERTIA 29163 /* 1 - exp(-2 pi 9000 / RATE), in 1 / 65536 */
#define BLOCKING 34   /* the same for 8 Hz */
#define LATE_MAX (NS_PER_SEC / 2)
#define BATCH 256

struct pcspk {
  struct device dev;
  bool gate, data;
  uint8_t mode;
  uint32_t count;
  uint32_t hz; /* reported last */
  bool level;
  void (*changed)(void *opaque, uint32_t hz, bool level);
  void *opaque;
  bool (*out2_at)(void *pit, int64_t ns, int64_t *until);
  void *pit;
  /* Rendering; not part of the guest's state. */
  struct audio *audio;
  struct audio_voice *voice;
  int64_t done;          /* ns: rendered up to there */
  int64_t frame;         /* the one that `done` lies in, since power-on */
  int64_t out;           /* ns of it that the cone was out */
  int64_t cone[2], rest; /* filters, STATE_BITS of fraction */
  struct audio_frame batch[BATCH];
  unsigned held;
};

/* --- the wave ----------------------------------------------------------------------------------------- */

static int64_t frame_start(int64_t frame) { return muldiv64(frame, NS_PER_SEC, RATE); }

/* Where is the cone sent at time ns, and until when? */
static bool drive(const struct pcspk *s, int64_t ns, int64_t *until) {
  *until = INT64_MAX;
  return s->data && s->out2_at && s->out2_at(s->pit, ns, until);
}

static void flush(struct pcspk *s) {
  audio_voice_write(s->voice, s->batch, s->held);
  s->held = 0;
}

/* The next frame, of which the cone was out for part / whole. */
static int16_t emit(struct pcspk *s, int64_t part, int64_t whole) {
  int64_t x = muldiv64(part * AMPLITUDE, 1 << STATE_BITS, whole);
  for (int i = 0; i < 2; i++) {
    s->cone[i] += (x - s->cone[i]) * INERTIA >> 16;
    x = s->cone[i];
  }
  s->rest += (x - s->rest) * BLOCKING >> 16;
  int16_t y = (int16_t)((x - s->rest) >> STATE_BITS);
  s->batch[s->held++] = (struct audio_frame){y, y};
  if (s->held == BATCH)
    flush(s);
  return y;
}

/* Go on to `now`. False: nothing moves any more. */
static bool render(struct pcspk *s, int64_t now) {
  bool moves = false;
  if (now - s->done > LATE_MAX || now < s->done) { /* it rested, or time was set */
    s->done = now < s->done ? now : now - LATE_MAX;
    s->frame = muldiv64(s->done, RATE, NS_PER_SEC);
    s->out = 0;
  }
  while (s->done < now) {
    int64_t until, begin = frame_start(s->frame), end = frame_start(s->frame + 1);
    bool out = drive(s, s->done, &until);
    moves = until != INT64_MAX;
    if (until <= s->done)
      until = s->done + 1;
    until = until < end ? until : end;
    until = until < now ? until : now;
    s->out += out ? until - s->done : 0;
    s->done = until;
    if (until == end) {
      moves |= emit(s, s->out, end - begin) != 0;
      s->frame++;
      s->out = 0;
    }
  }
  flush(s);
  return moves;
}

static bool pull(void *opaque) {
  struct pcspk *s = opaque;
  return render(s, clock_now(s->dev.clock));
}

/* What drives the cone is about to change. */
static void catch_up(struct pcspk *s) {
  if (!s->voice || !audio_listening(s->audio))
    return;
  int64_t now = clock_now(s->dev.clock);
  if (audio_voice_awake(s->voice)) {
    render(s, now);
  } else { /* the cone was at rest all the time */
    int64_t until;
    s->done = now;
    s->frame = muldiv64(now, RATE, NS_PER_SEC);
    s->out = drive(s, now, &until) ? now - frame_start(s->frame) : 0;
    audio_voice_wake(s->voice);
  }
}

/* --- what moves it ------------------------------------------------------------------------------------ */

static void pcspk_update(struct pcspk *s) {
  bool square = s->mode == 3 || s->mode == 2;
  uint32_t hz = s->gate && s->data && square && s->count ? PIT_INPUT_HZ / s->count : 0;
  bool level = s->data && !hz;
  if (hz == s->hz && level == s->level)
    return;
  s->hz = hz;
  s->level = level;
  if (s->changed)
    s->changed(s->opaque, hz, level);
}

void pcspk_set(void *pcspk, bool gate, bool data) {
  struct pcspk *s = pcspk;
  if (data != s->data)
    catch_up(s);
  s->gate = gate;
  s->data = data;
  pcspk_update(s);
}

void pcspk_tone(void *pcspk, int mode, uint32_t count) {
  struct pcspk *s = pcspk;
  s->mode = (uint8_t)mode;
  s->count = count;
  pcspk_update(s);
}

void pcspk_changes(void *pcspk) {
  struct pcspk *s = pcspk;
  if (s->data)
    catch_up(s);
}

void pcspk_connect(struct device *dev, bool (*out2_at)(void *pit, int64_t ns, int64_t *until), void *pit) {
  struct pcspk *s = DEVICE(struct pcspk, dev);
  s->out2_at = out2_at;
  s->pit = pit;
}

uint32_t pcspk_hz(const struct device *dev) { return DEVICE(const struct pcspk, dev)->hz; }

static void pcspk_reset(struct device *dev) {
  struct pcspk *s = DEVICE(struct pcspk, dev);
  pcspk_set(s, false, false);
  s->mode = 3;
  s->count = 0;
}

static int pcspk_init(struct device *dev, const struct device_args *args) {
  struct pcspk *s = DEVICE(struct pcspk, dev);
  const struct pcspk_config *config = args->config;
  if (config) {
    s->changed = config->changed;
    s->opaque = config->opaque;
    s->audio = config->audio;
    s->voice = audio_voice_new(s->audio, "pcspk");
    audio_voice_rate(s->voice, RATE);
    audio_voice_pull(s->voice, pull, s);
  }
  pcspk_reset(dev);
  return 0;
}

static void pcspk_destroy(struct device *dev) { audio_voice_free(DEVICE(struct pcspk, dev)->voice); }

static const struct field pcspk_fields[] = {
    FIELD(BOOL, struct pcspk, gate),
    FIELD(BOOL, struct pcspk, data),
    FIELD(U8, struct pcspk, mode),
    FIELD(U32, struct pcspk, count),
    FIELD(U32, struct pcspk, hz),
    FIELD(BOOL, struct pcspk, level),
    FIELDS_END,
};

const struct device_class pcspk_class = {
    .name = "pcspk",
    .size = sizeof(struct pcspk),
    .init = pcspk_init,
    .reset = pcspk_reset,
    .destroy = pcspk_destroy,
    .fields = pcspk_fields,
};
