/* SPDX-License-Identifier: MIT */
/*
 * Voices and the mixer. A voice converts to the mixer's rate when it is written to, so that a change of rate
 * needs no bookkeeping of what waits: a windowed sinc (Kaiser), looked up in a table of 256 positions between
 * two frames with straight lines between those, stepped by exact fractions so that no rate drifts. What comes
 * at the mixer's own rate passes untouched. Integers throughout.
 */
#include "core/audio.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/state.h"

#define RATE_MIN 1000u
#define RATE_MAX 200000u
#define WAITING_MAX (AUDIO_RATE / 2)
#define RING 32768u /* frames; a power of two, over WAITING_MAX */
#define START_TICKS 2
#define REST_TICKS 20 /* of silence before the mixer rests: longer than sinks buffer */

#define HALF 24     /* zero crossings of the sinc on either side */
#define PHASES 256  /* positions between two frames */
#define CUTOFF 0.92 /* of half the lower rate */
#define KAISER 8.0  /* about 80 dB */
#define COEF_BITS 22
#define FRACTION_BITS 24
#define SAMPLE_BITS 8 /* fraction of what waits in a ring */
#define HALF_MAX (HALF * RATE_MAX / AUDIO_RATE + 1)
#define CHUNK 512

struct sample {
  int32_t left, right;
};

struct kernel {
  int32_t coef[PHASES + 1][2 * HALF]; /* [phase]: from HALF - 1 frames before to HALF after */
};

struct audio_voice {
  struct audio *audio;
  struct audio_voice *next;
  const char *name;
  bool (*pull)(void *opaque);
  void *opaque;
  uint32_t rate, gain_left, gain_right;
  bool awake; /* its pull is to be called */
  bool playing;
  int start;                      /* ticks until it plays; meaningful with frames waiting and not playing */
  uint64_t written, dropped, dry; /* frames, frames, times */
  /* The converter: frames of the source, the one that is next to come out, and how far beyond it. */
  struct audio_frame in[2 * HALF_MAX + CHUNK];
  uint32_t in_count, center, fraction; /* fraction in 1 / AUDIO_RATE of a frame */
  bool settled;                        /* nothing but silence in the converter */
  struct sample ring[RING];
  uint32_t first, count;
  struct state_part part;
  char part_name[80];
};

struct audio {
  struct clock *clock;
  struct timer timer;
  struct audio_sink sink;
  bool has_sink, mixing;
  int64_t tick; /* the next to be mixed: from tick * AUDIO_TICK on */
  int silent;   /* ticks */
  struct kernel *kernel;
  struct audio_voice *voices;
  struct state_part part;
};

/* --- the converter ------------------------------------------------------------------------------------ */

static double bessel_i0(double x) {
  double sum = 1, term = 1;
  for (int k = 1; k < 40; k++) {
    term *= x / (2 * k) * (x / (2 * k));
    sum += term;
  }
  return sum;
}

static double sinc(double x) { return fabs(x) < 1e-9 ? 1 : sin(M_PI * x) / (M_PI * x); }

static struct kernel *kernel_new(void) {
  struct kernel *k = malloc(sizeof *k);
  if (!k)
    return NULL;
  for (int phase = 0; phase <= PHASES; phase++) {
    double h[2 * HALF], sum = 0;
    for (int i = 0; i < 2 * HALF; i++) {
      double t = i - (HALF - 1) - (double)phase / PHASES, edge = 1 - t / HALF * (t / HALF);
      h[i] = edge > 0 ? CUTOFF * sinc(CUTOFF * t) * bessel_i0(KAISER * sqrt(edge)) / bessel_i0(KAISER) : 0;
      sum += h[i];
    }
    for (int i = 0; i < 2 * HALF; i++) /* the same level at every phase */
      k->coef[phase][i] = (int32_t)lrint(h[i] / sum * (1 << COEF_BITS));
  }
  return k;
}

/* fraction in 1 / 2^FRACTION_BITS */
static int32_t between(int32_t a, int32_t b, uint32_t fraction) {
  return a + (int32_t)((int64_t)(b - a) * fraction >> FRACTION_BITS);
}

static struct sample from_sums(int64_t left, int64_t right) {
  const int shift = COEF_BITS - SAMPLE_BITS;
  return (struct sample){(int32_t)((left + (1 << (shift - 1))) >> shift),
                         (int32_t)((right + (1 << (shift - 1))) >> shift)};
}

/* The source is slower than the mixer: the sinc as it stands. */
static struct sample interpolate(const struct audio_voice *v) {
  uint32_t position = v->fraction * PHASES, phase = position / AUDIO_RATE;
  uint32_t rest = (uint32_t)(((uint64_t)(position % AUDIO_RATE) << FRACTION_BITS) / AUDIO_RATE);
  const int32_t *a = v->audio->kernel->coef[phase], *b = v->audio->kernel->coef[phase + 1];
  const struct audio_frame *in = &v->in[v->center - (HALF - 1)];
  int64_t left = 0, right = 0;
  for (int i = 0; i < 2 * HALF; i++) {
    int32_t c = between(a[i], b[i], rest);
    left += (int64_t)c * in[i].left;
    right += (int64_t)c * in[i].right;
  }
  return from_sums(left, right);
}

/*
 * The source is faster: the sinc stretched, so that what the mixer's rate cannot hold goes. `away` is how far
 * a frame is from the one to be made, in 1 / PHASES mixer frames with FRACTION_BITS of fraction.
 */
static struct sample decimate(const struct audio_voice *v) {
  const struct kernel *k = v->audio->kernel;
  uint32_t half = HALF * v->rate / AUDIO_RATE;
  int64_t step = ((int64_t)AUDIO_RATE * PHASES << FRACTION_BITS) / v->rate;
  int64_t away = -(int64_t)half * step - ((int64_t)v->fraction * PHASES << FRACTION_BITS) / v->rate;
  int64_t left = 0, right = 0;
  for (uint32_t i = v->center - half; i <= v->center + half + 1; i++, away += step) {
    uint64_t t = (uint64_t)(away < 0 ? -away : away), n = t >> FRACTION_BITS;
    if (n >= HALF * PHASES)
      continue;
    uint32_t phase = n % PHASES, tap = HALF - 1 - (uint32_t)(n / PHASES);
    int32_t c = between(k->coef[phase][tap], k->coef[phase + 1][tap], t & ((1u << FRACTION_BITS) - 1));
    left += (int64_t)c * v->in[i].left;
    right += (int64_t)c * v->in[i].right;
  }
  return from_sums(left * AUDIO_RATE / v->rate, right * AUDIO_RATE / v->rate);
}

static void put(struct audio_voice *v, struct sample s) {
  v->ring[(v->first + v->count) % RING] = s;
  if (v->count < WAITING_MAX) {
    v->count++;
  } else {
    v->first = (v->first + 1) % RING;
    v->dropped++;
  }
}

/* How many frames the converter looks back and ahead. */
static uint32_t reach(const struct audio_voice *v) {
  return v->rate > AUDIO_RATE ? HALF * v->rate / AUDIO_RATE + 1 : HALF;
}

/* All that the frames in the converter suffice for. */
static void convert(struct audio_voice *v) {
  uint32_t half = reach(v);
  while (v->center + half < v->in_count) {
    put(v, v->rate > AUDIO_RATE ? decimate(v) : interpolate(v));
    v->fraction += v->rate;
    v->center += v->fraction / AUDIO_RATE;
    v->fraction %= AUDIO_RATE;
  }
  if (v->center > HALF_MAX) {
    uint32_t drop = v->center - HALF_MAX;
    drop = drop < v->in_count ? drop : v->in_count;
    memmove(v->in, v->in + drop, (v->in_count - drop) * sizeof v->in[0]);
    v->in_count -= drop;
    v->center -= drop;
  }
}

/* Silence in the converter, as if for ever. */
static void settle(struct audio_voice *v) {
  memset(v->in, 0, sizeof v->in);
  v->in_count = v->center = HALF_MAX;
  v->fraction = 0;
  v->settled = true;
}

/* frames NULL: silence */
static void feed(struct audio_voice *v, const struct audio_frame *frames, size_t count) {
  while (count) {
    size_t room = sizeof v->in / sizeof v->in[0] - v->in_count, n = count < room ? count : room;
    if (frames) {
      memcpy(v->in + v->in_count, frames, n * sizeof *frames);
      frames += n;
    } else {
      memset(v->in + v->in_count, 0, n * sizeof *frames);
    }
    v->in_count += (uint32_t)n;
    count -= n;
    convert(v);
  }
}

/* --- the mixer ---------------------------------------------------------------------------------------- */

static struct sample take(struct audio_voice *v) {
  struct sample s = v->ring[v->first];
  v->first = (v->first + 1) % RING;
  v->count--;
  return s;
}

/* Add a voice's part of one tick. False: it is silent. */
static bool add_voice(struct audio_voice *v, struct sample *sum) {
  if (!v->playing) {
    if (!v->count)
      return false;
    if (v->start-- > 0)
      return true;
    v->playing = true;
  }
  if (v->count < AUDIO_TICK_FRAMES && !v->settled) { /* the end, it seems: what the converter still holds */
    feed(v, NULL, reach(v));
    settle(v);
  }
  for (uint32_t i = 0; i < AUDIO_TICK_FRAMES; i++) {
    if (!v->count) {
      v->playing = false;
      v->dry++;
      break;
    }
    struct sample s = take(v);
    sum[i].left += (int32_t)((int64_t)s.left * v->gain_left / AUDIO_GAIN_ONE);
    sum[i].right += (int32_t)((int64_t)s.right * v->gain_right / AUDIO_GAIN_ONE);
  }
  return true;
}

static int16_t saturate(int32_t sum) {
  int32_t s = (sum + (1 << (SAMPLE_BITS - 1))) >> SAMPLE_BITS;
  return (int16_t)(s > INT16_MAX ? INT16_MAX : s < INT16_MIN ? INT16_MIN : s);
}

static void mix_tick(struct audio *a) {
  struct sample sum[AUDIO_TICK_FRAMES] = {{0, 0}};
  struct audio_frame out[AUDIO_TICK_FRAMES];
  bool sounds = false;
  for (struct audio_voice *v = a->voices; v; v = v->next) {
    sounds |= add_voice(v, sum);
    sounds |= v->awake;
  }
  for (uint32_t i = 0; i < AUDIO_TICK_FRAMES; i++)
    out[i] = (struct audio_frame){saturate(sum[i].left), saturate(sum[i].right)};
  a->tick++;
  a->silent = sounds ? 0 : a->silent + 1;
  a->sink.write(a->sink.opaque, out, AUDIO_TICK_FRAMES);
}

static void rest(struct audio *a) {
  timer_cancel(&a->timer);
  a->mixing = false;
  if (a->sink.rest)
    a->sink.rest(a->sink.opaque);
}

static void on_tick(void *opaque) {
  struct audio *a = opaque;
  for (struct audio_voice *v = a->voices; v; v = v->next)
    if (v->awake)
      v->awake = v->pull(v->opaque);
  mix_tick(a);
  if (a->silent > REST_TICKS)
    rest(a);
  else
    timer_arm(&a->timer, (a->tick + 1) * AUDIO_TICK);
}

/* Something sounds: make up for the time that the mixer rested. */
static void wake(struct audio *a) {
  int64_t now = clock_now(a->clock) / AUDIO_TICK;
  if (!a->has_sink || a->mixing)
    return;
  if (now > a->tick)
    a->sink.write(a->sink.opaque, NULL, (uint64_t)(now - a->tick) * AUDIO_TICK_FRAMES);
  a->tick = now;
  a->silent = 0;
  a->mixing = true;
  timer_arm(&a->timer, (a->tick + 1) * AUDIO_TICK);
}

struct audio *audio_new(struct clock *clock) {
  struct audio *a = calloc(1, sizeof *a);
  if (!a)
    return NULL;
  a->clock = clock;
  timer_init(&a->timer, clock, "audio", on_tick, a);
  return a;
}

void audio_free(struct audio *a) {
  if (!a)
    return;
  timer_cancel(&a->timer);
  while (a->voices)
    audio_voice_free(a->voices);
  free(a->kernel);
  free(a);
}

void audio_set_sink(struct audio *a, const struct audio_sink *sink) {
  if (a->mixing)
    rest(a);
  for (struct audio_voice *v = a->voices; v; v = v->next)
    audio_voice_stop(v);
  a->has_sink = sink != NULL;
  if (!sink)
    return;
  a->sink = *sink;
  a->tick = clock_now(a->clock) / AUDIO_TICK;
  for (struct audio_voice *v = a->voices; v; v = v->next)
    if (v->awake)
      wake(a);
}

bool audio_listening(const struct audio *a) { return a && a->has_sink; }

void audio_info(struct audio *a, FILE *out) {
  fprintf(out, "mixer: %s\n", !a->has_sink ? "nobody listens" : a->mixing ? "playing" : "resting");
  for (struct audio_voice *v = a->voices; v; v = v->next)
    fprintf(out, "%s: %s, %u Hz, %u frames waiting, %llu written, %llu dropped, dry %llu times\n", v->name,
            v->playing ? "playing" : "silent", v->rate, v->count, (unsigned long long)v->written,
            (unsigned long long)v->dropped, (unsigned long long)v->dry);
  if (a->has_sink && a->sink.info)
    a->sink.info(a->sink.opaque, out);
}

/* --- voices ------------------------------------------------------------------------------------------- */

struct audio_voice *audio_voice_new(struct audio *a, const char *name) {
  struct audio_voice *v = a ? calloc(1, sizeof *v) : NULL;
  if (!v)
    return NULL;
  v->audio = a;
  v->name = name;
  v->rate = AUDIO_RATE;
  v->gain_left = v->gain_right = AUDIO_GAIN_ONE;
  settle(v);
  struct audio_voice **at = &a->voices;
  while (*at)
    at = &(*at)->next;
  *at = v;
  return v;
}

void audio_voice_free(struct audio_voice *v) {
  if (!v)
    return;
  for (struct audio_voice **at = &v->audio->voices; *at; at = &(*at)->next) {
    if (*at == v) {
      *at = v->next;
      break;
    }
  }
  free(v);
}

void audio_voice_rate(struct audio_voice *v, uint32_t hz) {
  hz = hz < RATE_MIN ? RATE_MIN : hz > RATE_MAX ? RATE_MAX : hz;
  if (v && v->rate != hz) {
    v->rate = hz;
    if (hz == AUDIO_RATE)
      settle(v);
  }
}

void audio_voice_gain(struct audio_voice *v, uint32_t left, uint32_t right) {
  if (!v)
    return;
  v->gain_left = left < 4 * AUDIO_GAIN_ONE ? left : 4 * AUDIO_GAIN_ONE;
  v->gain_right = right < 4 * AUDIO_GAIN_ONE ? right : 4 * AUDIO_GAIN_ONE;
}

void audio_voice_write(struct audio_voice *v, const struct audio_frame *frames, size_t count) {
  if (!v || !v->audio->has_sink || !count)
    return;
  v->written += count;
  if (!v->playing && !v->count)
    v->start = START_TICKS + (int)(reach(v) * (uint64_t)NS_PER_SEC / v->rate / AUDIO_TICK);
  if (v->rate == AUDIO_RATE) {
    for (size_t i = 0; i < count; i++)
      put(v, (struct sample){frames[i].left * (1 << SAMPLE_BITS), frames[i].right * (1 << SAMPLE_BITS)});
  } else {
    if (!v->audio->kernel)
      v->audio->kernel = kernel_new();
    if (!v->audio->kernel) /* no memory: silence */
      return;
    v->settled = false;
    feed(v, frames, count);
  }
  wake(v->audio);
}

void audio_voice_stop(struct audio_voice *v) {
  if (!v)
    return;
  v->count = 0;
  v->playing = false;
  settle(v);
}

void audio_voice_pull(struct audio_voice *v, bool (*pull)(void *opaque), void *opaque) {
  if (!v)
    return;
  v->pull = pull;
  v->opaque = opaque;
}

void audio_voice_wake(struct audio_voice *v) {
  if (!v || !v->pull)
    return;
  v->awake = true;
  wake(v->audio);
}

bool audio_voice_awake(const struct audio_voice *v) { return v && v->awake; }

/* --- snapshots ---------------------------------------------------------------------------------------- */

static const struct field mixer_fields[] = {
    FIELD(TIMER, struct audio, timer), FIELD(BOOL, struct audio, mixing), FIELD(I64, struct audio, tick),
    FIELD(U32, struct audio, silent),  FIELDS_END,
};

static const struct field voice_fields[] = {
    FIELD(U32, struct audio_voice, rate),       FIELD(U32, struct audio_voice, gain_left),
    FIELD(U32, struct audio_voice, gain_right), FIELD(BOOL, struct audio_voice, awake),
    FIELD(BOOL, struct audio_voice, playing),   FIELD(U32, struct audio_voice, start),
    FIELD(U64, struct audio_voice, written),    FIELD(U64, struct audio_voice, dropped),
    FIELD(U64, struct audio_voice, dry),        FIELD_BUFFER(struct audio_voice, in),
    FIELD(U32, struct audio_voice, in_count),   FIELD(U32, struct audio_voice, center),
    FIELD(U32, struct audio_voice, fraction),   FIELD(BOOL, struct audio_voice, settled),
    FIELD_BUFFER(struct audio_voice, ring),     FIELD(U32, struct audio_voice, first),
    FIELD(U32, struct audio_voice, count),      FIELDS_END,
};

static const char *check_voice(const void *object) {
  const struct audio_voice *v = object;
  const uint32_t room = sizeof v->in / sizeof v->in[0];
  if (v->rate < RATE_MIN || v->rate > RATE_MAX || v->gain_left > 4 * AUDIO_GAIN_ONE ||
      v->gain_right > 4 * AUDIO_GAIN_ONE || v->first >= RING || v->count > WAITING_MAX || v->in_count > room ||
      v->center < HALF_MAX || v->center > room || v->fraction >= AUDIO_RATE)
    return "sound that cannot be";
  return NULL;
}

/* Whoever listens here may be another than there, or nobody: what waits to be played then goes. */
static void mixer_loaded(void *object) {
  struct audio *a = object;
  a->silent = a->silent < 0 ? 0 : a->silent;
  int64_t now = clock_now(a->clock) / AUDIO_TICK;
  if (!a->mixing || !a->has_sink || a->tick > now || now - a->tick > REST_TICKS) {
    timer_cancel(&a->timer);
    a->mixing = false;
    a->tick = now;
  }
  for (struct audio_voice *v = a->voices; v; v = v->next) {
    if (!a->has_sink)
      audio_voice_stop(v);
    else if (v->awake || v->count)
      wake(a);
  }
}

static void voice_loaded(void *object) {
  struct audio_voice *v = object;
  if (v->rate != AUDIO_RATE && !v->audio->kernel)
    v->audio->kernel = kernel_new();
}

void audio_each_part(struct audio *a, void (*each)(void *opaque, const struct state_part *part), void *opaque) {
  unsigned n = 0;
  for (struct audio_voice *v = a->voices; v; v = v->next) {
    snprintf(v->part_name, sizeof v->part_name, "voice:%u:%.60s", n++, v->name);
    v->part = (struct state_part){v->part_name, v, voice_fields, check_voice, voice_loaded, false, NULL};
    each(opaque, &v->part);
  }
  a->part = (struct state_part){"mixer", a, mixer_fields, NULL, mixer_loaded, false, NULL};
  each(opaque, &a->part);
}
