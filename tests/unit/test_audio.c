/* SPDX-License-Identifier: MIT */
/*
 * Voices and the mixer: what comes out at the mixer's rate is bit for bit what went in, other rates come out
 * clean (what is not the tone is measured), times are those of the machine, sums saturate, the mixer rests.
 */
#include "core/audio.h"

#include "tests/unit/audio_bench.h"

/* Play `frames` in blocks of `block`, each when the time of the last is over, as a chip does. */
static void play(struct bench *b, struct audio_voice *v, uint32_t rate, const struct audio_frame *frames,
                 unsigned count, unsigned block) {
  int64_t begin = clock_now(b->r->set.clock);
  audio_voice_rate(v, rate);
  for (unsigned done = 0; done < count; done += block) {
    rig_advance(b->r, begin + muldiv64(done, NS_PER_SEC, rate) - clock_now(b->r->set.clock));
    audio_voice_write(v, frames + done, count - done < block ? count - done : block);
  }
}

static struct audio_frame *sine(uint32_t rate, double hz, double level, unsigned count) {
  struct audio_frame *f = malloc(count * sizeof *f);
  ck_assert_ptr_nonnull(f);
  for (unsigned i = 0; i < count; i++) {
    int16_t s = (int16_t)lrint(level * sin(2 * M_PI * hz * i / rate));
    f[i] = (struct audio_frame){s, (int16_t)-s};
  }
  return f;
}

START_TEST(untouched) { /* at the mixer's rate */
  struct bench b;
  bench_make(&b);
  struct audio_voice *v = audio_voice_new(b.a, "test");
  struct audio_frame in[5000];
  for (unsigned i = 0; i < 5000; i++)
    in[i] = (struct audio_frame){(int16_t)(rig_random(b.r) | 1), (int16_t)rig_random(b.r)};
  rig_advance(b.r, NS_PER_SEC + 3000000);
  play(&b, v, AUDIO_RATE, in, 5000, 777);
  rig_advance(b.r, NS_PER_SEC);
  unsigned first = 0;
  while (first < b.take.count && !b.take.frames[first].left)
    first++;
  /* Written in tick 100, played two ticks later; the frames before are the second of silence. */
  ck_assert_uint_eq(first, 102 * AUDIO_TICK_FRAMES);
  ck_assert_int_eq(memcmp(b.take.frames + first, in, sizeof in), 0);
  for (unsigned i = first + 5000; i < b.take.count; i++)
    ck_assert(!b.take.frames[i].left && !b.take.frames[i].right);
  bench_free(&b);
}
END_TEST

START_TEST(clean) {
  static const struct {
    uint32_t rate;
    double hz;
  } cases[] = {{8000, 1000},  {8000, 2800},   {11025, 1000}, {22050, 1000},  {22050, 7000},
               {44100, 1000}, {44100, 15000}, {49716, 1000}, {49716, 15000}, {96000, 1000},
               {4000, 1000},  {200000, 1000}, {47999, 1000}, {48001, 1000},  {5512, 1000}};
  for (unsigned n = 0; n < sizeof cases / sizeof cases[0]; n++) {
    struct bench b;
    bench_make(&b);
    uint32_t rate = cases[n].rate;
    struct audio_voice *v = audio_voice_new(b.a, "test");
    struct audio_frame *in = sine(rate, cases[n].hz, 20000, rate * 2);
    play(&b, v, rate, in, rate * 2, rate / 31); /* lumps of 32 ms */
    rig_advance(b.r, NS_PER_SEC / 10);
    double rest, amplitude = fit(b.take.frames + 12000, 72000, cases[n].hz, &rest);
    ck_assert_msg(rest < -70, "%u Hz, tone of %g Hz: %.1f dB of other things", rate, cases[n].hz, rest);
    ck_assert_msg(fabs(amplitude - 20000) < 200, "%u Hz, tone of %g Hz: %g", rate, cases[n].hz, amplitude);
    free(in);
    bench_free(&b);
  }
}
END_TEST

START_TEST(no_alias) { /* what the mixer's rate cannot hold is gone, not folded */
  struct bench b;
  bench_make(&b);
  struct audio_voice *v = audio_voice_new(b.a, "test");
  struct audio_frame *in = sine(96000, 30000, 20000, 96000);
  play(&b, v, 96000, in, 96000, 4800);
  rig_advance(b.r, NS_PER_SEC / 10);
  int loudest = 0;
  for (unsigned i = 12000; i < 36000; i++)
    loudest = abs(b.take.frames[i].left) > loudest ? abs(b.take.frames[i].left) : loudest;
  ck_assert_int_le(loudest, 10); /* -66 dB */
  free(in);
  bench_free(&b);
}
END_TEST

START_TEST(no_drift) { /* ten thousand blocks of an awkward rate: no frame too many, none missing */
  struct bench b;
  bench_make(&b);
  struct audio_voice *v = audio_voice_new(b.a, "test");
  struct audio_frame ones[64];
  for (unsigned i = 0; i < 64; i++)
    ones[i] = (struct audio_frame){1000, 1000};
  audio_voice_rate(v, 49716);
  unsigned blocks = 4000;
  int64_t begin = clock_now(b.r->set.clock);
  for (unsigned i = 0; i < blocks; i++) {
    rig_advance(b.r, begin + muldiv64(i * 64ll, NS_PER_SEC, 49716) - clock_now(b.r->set.clock));
    audio_voice_write(v, ones, 64);
  }
  rig_advance(b.r, NS_PER_SEC);
  unsigned heard = 0, runs = 0;
  for (unsigned i = 1; i < b.take.count; i++) {
    heard += b.take.frames[i].left > 500;
    runs += b.take.frames[i].left > 500 && b.take.frames[i - 1].left <= 500;
  }
  ck_assert_uint_eq(runs, 1); /* no gap */
  ck_assert_int_le(abs((int)heard - (int)(blocks * 64ull * AUDIO_RATE / 49716)), 2);
  bench_free(&b);
}
END_TEST

START_TEST(sums) { /* two voices, gains, saturation */
  struct bench b;
  bench_make(&b);
  struct audio_voice *v = audio_voice_new(b.a, "one"), *w = audio_voice_new(b.a, "two");
  struct audio_frame x[960], y[960];
  for (unsigned i = 0; i < 960; i++) {
    x[i] = (struct audio_frame){20000, -20000};
    y[i] = (struct audio_frame){i < 480 ? 20000 : 100, i < 480 ? -20000 : -100};
  }
  audio_voice_gain(v, AUDIO_GAIN_ONE, AUDIO_GAIN_ONE / 2);
  audio_voice_write(v, x, 960);
  audio_voice_write(w, y, 960);
  rig_advance(b.r, NS_PER_SEC / 10);
  const struct audio_frame *f = b.take.frames + 2 * AUDIO_TICK_FRAMES;
  ck_assert_int_eq(f[0].left, 32767);
  ck_assert_int_eq(f[0].right, -30000);
  ck_assert_int_eq(f[480].left, 20100);
  ck_assert_int_eq(f[480].right, -10100);
  ck_assert_int_eq(f[960].left, 0);
  bench_free(&b);
}
END_TEST

START_TEST(rests) {
  struct bench b;
  bench_make(&b);
  struct audio_voice *v = audio_voice_new(b.a, "test");
  struct audio_frame x[480] = {{1, 1}};
  rig_advance(b.r, NS_PER_SEC);
  ck_assert(clock_deadline(b.r->set.clock) == INT64_MAX);
  ck_assert_uint_eq(b.take.count, 0);
  audio_voice_write(v, x, 480);
  ck_assert(clock_deadline(b.r->set.clock) != INT64_MAX);
  rig_advance(b.r, NS_PER_SEC);
  ck_assert(clock_deadline(b.r->set.clock) == INT64_MAX);
  ck_assert_uint_eq(b.take.rests, 1);
  audio_set_sink(b.a, NULL);
  audio_voice_write(v, x, 480);
  ck_assert(clock_deadline(b.r->set.clock) == INT64_MAX);
  bench_free(&b);
}
END_TEST

START_TEST(bounded) { /* half a second waits at most; the newest are kept */
  struct bench b;
  bench_make(&b);
  struct audio_voice *v = audio_voice_new(b.a, "test");
  struct audio_frame *x = malloc(AUDIO_RATE * sizeof *x);
  ck_assert_ptr_nonnull(x);
  for (unsigned i = 0; i < AUDIO_RATE; i++)
    x[i] = (struct audio_frame){(int16_t)(i / 2), 1};
  audio_voice_write(v, x, AUDIO_RATE);
  rig_advance(b.r, NS_PER_SEC);
  const struct audio_frame *f = b.take.frames + 2 * AUDIO_TICK_FRAMES;
  ck_assert_int_eq(f[0].left, 12000);
  ck_assert_int_eq(f[AUDIO_RATE / 2 - 1].left, 23999);
  ck_assert_int_eq(f[AUDIO_RATE / 2].right, 0);
  /* Stopped: nothing more. */
  audio_voice_write(v, x, 9600);
  audio_voice_stop(v);
  uint64_t before = b.take.count;
  rig_advance(b.r, NS_PER_SEC);
  for (uint64_t i = before; i < b.take.count; i++)
    ck_assert_int_eq(b.take.frames[i].right, 0);
  free(x);
  bench_free(&b);
}
END_TEST

struct pulled {
  struct bench *b;
  struct audio_voice *v;
  int64_t done; /* frames of 10 kHz */
  int64_t end;
};

static bool pull(void *opaque) {
  struct pulled *p = opaque;
  int64_t now = muldiv64(clock_now(p->b->r->set.clock), 10000, NS_PER_SEC);
  struct audio_frame f = {5000, 5000};
  for (now = now < p->end ? now : p->end; p->done < now; p->done++)
    audio_voice_write(p->v, &f, 1);
  return p->done < p->end;
}

START_TEST(pulls) {
  struct bench b;
  bench_make(&b);
  struct pulled p = {&b, audio_voice_new(b.a, "test"), 0, 5000};
  audio_voice_rate(p.v, 10000);
  audio_voice_pull(p.v, pull, &p);
  rig_advance(b.r, NS_PER_SEC / 2);
  ck_assert_int_eq(p.done, 0);
  p.done = 5000, p.end = 10000;
  audio_voice_wake(p.v);
  rig_advance(b.r, NS_PER_SEC);
  ck_assert_int_eq(p.done, 10000);
  unsigned heard = 0, first = 0;
  for (unsigned i = 0; i < b.take.count; i++) {
    if (b.take.frames[i].left > 2500 && !heard++)
      first = i;
  }
  ck_assert_uint_ge(heard, 24000 - 5);
  ck_assert_uint_le(heard, 24000 + 5);
  ck_assert_uint_ge(first, 24000 + 960);
  ck_assert_uint_le(first, 24000 + 1920);
  ck_assert(clock_deadline(b.r->set.clock) == INT64_MAX);
  bench_free(&b);
}
END_TEST

START_TEST(hostile) { /* any rate, gain and length, at any time */
  struct bench b;
  bench_make(&b);
  struct audio_voice *v[3] = {audio_voice_new(b.a, "a"), audio_voice_new(b.a, "b"), NULL};
  struct audio_frame noise[3000];
  for (unsigned i = 0; i < 3000; i++)
    noise[i] =
        (struct audio_frame){(int16_t)rig_random(b.r), (int16_t)(rig_random(b.r) & 1 ? -32768 : 32767)};
  for (unsigned i = 0; i < 4000; i++) {
    uint64_t x = rig_random(b.r);
    struct audio_voice *w = v[x >> 8 & 1];
    switch (x & 7) {
    case 0: audio_voice_rate(w, (uint32_t)(x >> 16) % (x & 0x1000 ? 250000 : 3000)); break;
    case 1: audio_voice_gain(w, (uint32_t)(x >> 16), (uint32_t)(x >> 24)); break;
    case 2: audio_voice_stop(w); break;
    case 3:
    case 4:
    case 5: audio_voice_write(w, noise, (x >> 16) % (x & 0x1000 ? 3000 : 3)); break;
    default: rig_advance(b.r, (int64_t)((x >> 16) % 30000000)); break;
    }
    audio_voice_write(v[2], noise, 5);
    b.take.count = 0;
  }
  bench_free(&b);
}
END_TEST

RIG_SUITE(audio, untouched, clean, no_alias, no_drift, sums, rests, bounded, pulls, hostile)
