/* SPDX-License-Identifier: MIT */
/*
 * OPL2 and OPL3: the frequency of a note, waveforms and modulation by their Fourier series, envelopes by the
 * application manual's table of times, depths of vibrato and tremolo, key scaling, four operators, rhythm;
 * the timers as detection code reads them; sound at its time whatever is read in between.
 */
#include "devices/sound/opl.h"

#include "devices/sound/opl_synth.h"
#include "tests/unit/chip_rig.h"
#include "tests/unit/spectrum.h"

#define SECOND OPL_HZ
#define A440 580 /* F-number, in block 4: 580 / 2^16 * 49716 Hz */
#define A440_HZ (A440 / 65536.0 * OPL_HZ)

static struct opl_synth synth;
static struct audio_frame sound[SECOND * 4];

static void put(unsigned reg, uint8_t value) { opl_synth_write(&synth, reg, value); }

/* Operator of channel 0: 0 the modulator, 3 the carrier; never attacks unless told. */
static void operator(unsigned op, uint8_t avekm, uint8_t level, uint8_t ad, uint8_t sr, uint8_t wave) {
  put(0x20 + op, avekm);
  put(0x40 + op, level);
  put(0x60 + op, ad);
  put(0x80 + op, sr);
  put(0xe0 + op, wave);
}

static void frequency(unsigned channel, unsigned fnum, unsigned block, bool key) {
  put(0xa0 + channel, (uint8_t)fnum);
  put(0xb0 + channel, (uint8_t)(fnum >> 8 | block << 2 | (key ? 0x20 : 0)));
}

static void start(bool opl3) {
  opl_synth_init(&synth, opl3);
  if (opl3)
    put(0x105, 1);
  else
    put(0x01, 0x20);
  put(0xc0, 0x30);
}

static void render(size_t count) { opl_synth_render(&synth, sound, count); }

/* The carrier alone, at once at full level. */
static void carrier(uint8_t wave) {
  start(true);
  operator(3, 0x21, 0, 0xf0, 0x0f, wave);
  frequency(0, A440, 4, true);
}

START_TEST(sine) {
  carrier(0);
  render(SECOND);
  double a = tone(sound, SECOND, OPL_HZ, A440_HZ, LEFT);
  ck_assert_double_eq_tol(A440_HZ, 440, 0.01);
  ck_assert_double_eq_tol(a, 4084, 10);
  ck_assert_double_eq_tol(loudness(sound, SECOND, LEFT) * sqrt(2) / a, 1, 0.001); /* and nothing else */
  ck_assert_double_lt(tone(sound, SECOND, OPL_HZ, A440_HZ * 2, LEFT), 4);
  ck_assert_double_lt(tone(sound, SECOND, OPL_HZ, A440_HZ * 3, LEFT), 4);
}
END_TEST

START_TEST(notes) {
  for (unsigned block = 0; block < 8; block++) {
    for (unsigned fnum = 345; fnum < 1024; fnum += 226) {
      start(false);
      operator(3, 0x21, 0, 0xf0, 0x0f, 0);
      frequency(0, fnum, block, true);
      render(SECOND);
      double hz = fnum * pow(2, (int)block - 20) * OPL_HZ;
      ck_assert_double_eq_tol(tone(sound, SECOND, OPL_HZ, hz, LEFT), 4084, 25);
      ck_assert_double_eq_tol(tone(sound, SECOND, OPL_HZ, hz, RIGHT), 4084, 25);
    }
  }
  static const double multiples[16] = {0.5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 12, 12, 15, 15};
  for (unsigned m = 0; m < 16; m++) {
    start(true);
    operator(3, (uint8_t)(0x20 | m), 0, 0xf0, 0x0f, 0);
    frequency(0, A440, 4, true);
    render(SECOND);
    ck_assert_double_eq_tol(tone(sound, SECOND, OPL_HZ, A440_HZ * multiples[m], LEFT), 4084, 25);
  }
}
END_TEST

/* The waves as the manual draws them, p from 0 to 1; the last is an exponential and its mirror. */
static double drawn(unsigned wave, double p) {
  double s = sin(2 * M_PI * p), twice = p < 0.5 ? sin(4 * M_PI * p) : 0;
  switch (wave) {
  case 0: return s;
  case 1: return fmax(s, 0);
  case 2: return fabs(s);
  case 3: return fmod(p, 0.5) < 0.25 ? fabs(s) : 0;
  case 4: return twice;
  case 5: return fabs(twice);
  case 6: return p < 0.5 ? 1 : -1;
  default: return p < 0.5 ? exp2(-32 * p) : -exp2(-32 * (1 - p));
  }
}

static double harmonic(unsigned wave, int n) {
  double re = 0, im = 0;
  for (int i = 0; i < 8192; i++) {
    double p = (i + 0.5) / 8192;
    re += drawn(wave, p) * cos(2 * M_PI * n * p) / 4096;
    im += drawn(wave, p) * sin(2 * M_PI * n * p) / 4096;
  }
  return sqrt(re * re + im * im);
}

START_TEST(waveforms) {
  for (uint8_t wave = 0; wave < 8; wave++) {
    carrier(wave);
    render(SECOND);
    for (int n = 1; n < 9; n++) {
      double want = harmonic(wave, n), a = tone(sound, SECOND, OPL_HZ, A440_HZ * n, LEFT) / 4084;
      ck_assert_msg(fabs(a - want) < 0.012, "wave %u harmonic %d: %f, not %f", wave, n, a, want);
    }
  }
  /* In OPL2 mode there are four waves, and on an OPL2 one until they are allowed. */
  carrier(6);
  put(0x105, 0);
  render(SECOND);
  ck_assert_double_eq_tol(tone(sound, SECOND, OPL_HZ, A440_HZ, LEFT), 0, 30); /* wave 2 */
  ck_assert_double_gt(tone(sound, SECOND, OPL_HZ, A440_HZ * 2, LEFT), 1700);
  start(false);
  put(0x01, 0);
  operator(3, 0x21, 0, 0xf0, 0x0f, 2);
  frequency(0, A440, 4, true);
  render(SECOND);
  ck_assert_double_eq_tol(tone(sound, SECOND, OPL_HZ, A440_HZ, LEFT), 4084, 10);
}
END_TEST

/* A sine that modulates a sine: side bands by Bessel functions of the index. */
START_TEST(modulation) {
  for (uint8_t level = 24; level <= 40; level += 4) {
    start(true);
    operator(0, 0x25, level, 0xf0, 0x0f, 0); /* five times the frequency, so that no side bands meet */
    operator(3, 0x21, 0, 0xf0, 0x0f, 0);
    frequency(0, A440, 2, true);
    render(SECOND * 2);
    /* Full scale moves the phase by four periods; a step of the level is 0.75 dB. */
    double index = 2 * M_PI * 4084 / 1024 * pow(10, -level * 0.75 / 20), f = A440_HZ / 4;
    ck_assert_double_eq_tol(tone(sound, SECOND * 2, OPL_HZ, f, LEFT) / 4084, fabs(jn(0, index)), 0.02);
    ck_assert_double_eq_tol(tone(sound, SECOND * 2, OPL_HZ, f * 6, LEFT) / 4084, fabs(jn(1, index)), 0.02);
    ck_assert_double_eq_tol(tone(sound, SECOND * 2, OPL_HZ, f * 11, LEFT) / 4084, fabs(jn(2, index)), 0.02);
  }
  start(true); /* in parallel */
  put(0xc0, 0x31);
  operator(0, 0x25, 0, 0xf0, 0x0f, 0);
  operator(3, 0x21, 0, 0xf0, 0x0f, 0);
  frequency(0, A440, 4, true);
  render(SECOND);
  ck_assert_double_eq_tol(tone(sound, SECOND, OPL_HZ, A440_HZ, LEFT), 4084, 10);
  ck_assert_double_eq_tol(tone(sound, SECOND, OPL_HZ, A440_HZ * 5, LEFT), 4084, 10);
}
END_TEST

START_TEST(feedback) {
  double before = -1;
  for (uint8_t fb = 0; fb < 5; fb++) { /* (above it the series ends, and then it is noise) */
    start(true);
    put(0xc0, (uint8_t)(0x31 | fb << 1));
    operator(0, 0x21, 0, 0xf0, 0x0f, 0);
    frequency(0, A440, 2, true);
    render(SECOND);
    double harmonics = 0;
    for (int h = 2; h < 12; h++)
      harmonics += tone(sound, SECOND, OPL_HZ, A440_HZ / 4 * h, LEFT);
    ck_assert_double_gt(harmonics, before + (fb ? 100 : 0));
    if (!fb)
      ck_assert_double_lt(harmonics, 30);
    before = harmonics;
  }
}
END_TEST

/* Samples until the envelope of the carrier passes `level`; down: from below. */
static unsigned until_level(unsigned level, bool rising) {
  unsigned n = 0;
  while (rising ? synth.level[3] > level : synth.level[3] < level) {
    render(1);
    ck_assert_uint_lt(++n, 60 * SECOND);
  }
  return n;
}

/* The manual's times at 3.6 MHz: 0 to 100 % of the attack, 0 to 96 dB of decay and release, for each rate. */
START_TEST(envelope) {
  const double clock = 3.6 / (14.31818 / 4);
  for (unsigned rate = 4; rate < 15; rate++) {
    double attack = 2826.24 / exp2(rate - 1) * clock * OPL_HZ / 1000;
    double decay = 39280.64 / exp2(rate - 1) * clock * OPL_HZ / 1000;
    start(true);
    operator(3, 0x20, 0, (uint8_t)(rate << 4 | rate), (uint8_t)(0xf0 | rate), 0);
    frequency(0, A440, 0, true); /* the lowest octave: rates are four times the value */
    unsigned samples = until_level(0, true);
    ck_assert_msg(fabs(samples / attack - 1) < (rate < 12 ? 0.09 : 0.3), "attack %u: %u samples, not %f",
                  rate, samples, attack);
    samples = until_level(480, false);
    ck_assert_msg(fabs(samples / decay - 1) < (rate < 12 ? 0.03 : 0.2), "decay %u: %u samples, not %f", rate,
                  samples, decay);
    start(true);
    operator(3, 0x20, 0, 0xf0, (uint8_t)rate, 0);
    frequency(0, A440, 0, true);
    render(8);
    frequency(0, A440, 0, false);
    samples = until_level(480, false);
    ck_assert_msg(fabs(samples / decay - 1) < (rate < 12 ? 0.03 : 0.2), "release %u: %u samples, not %f",
                  rate, samples, decay);
  }
  /* Sustain: 3 dB for each step of its level; held until the key is released, or not. */
  start(true);
  operator(3, 0x21, 0, 0xff, 0x80, 0);
  frequency(0, A440, 4, true);
  render(SECOND);
  ck_assert_double_eq_tol(20 * log10(peak(sound + SECOND / 2, SECOND / 2, LEFT) / 4084.0), -24, 0.2);
  operator(3, 0x21, 0, 0xff, 0x88, 0);
  render(SECOND);
  ck_assert_double_eq_tol(20 * log10(peak(sound + SECOND / 2, SECOND / 2, LEFT) / 4084.0), -24, 0.2);
  put(0x23, 0x01);
  render(SECOND);
  ck_assert_int_eq(peak(sound + SECOND / 2, SECOND / 2, LEFT), 0);
}
END_TEST

START_TEST(key_scaling) {
  /* Rates: two octaves higher, a quarter of the time with KSR set; without, half of it in four octaves. */
  unsigned time[8];
  for (unsigned block = 0; block < 8; block++) {
    start(true);
    operator(3, 0x30, 0, 0xf5, 0xf0, 0);
    frequency(0, 256, block, true);
    until_level(1, false);
    time[block] = until_level(480, false);
  }
  ck_assert_double_eq_tol((double)time[0] / time[2], 2, 0.05);
  ck_assert_double_eq_tol((double)time[0] / time[6], 8, 0.2);
  /* Levels: 6, 3, 1.5 dB an octave. */
  static const double per_octave[4] = {0, 3, 1.5, 6};
  for (unsigned ksl = 0; ksl < 4; ksl++) {
    int top[2];
    for (unsigned i = 0; i < 2; i++) {
      start(true);
      operator(3, 0x21, (uint8_t)(ksl << 6), 0xf0, 0x0f, 0);
      frequency(0, 512, 5 + i, true);
      render(SECOND);
      top[i] = peak(sound, SECOND, LEFT);
    }
    ck_assert_double_eq_tol(20 * log10((double)top[0] / top[1]), per_octave[ksl], 0.2);
  }
}
END_TEST

START_TEST(tremolo_and_vibrato) {
  for (unsigned deep = 0; deep < 2; deep++) {
    start(true);
    put(0xbd, (uint8_t)(deep << 7));
    operator(3, 0xa1, 0, 0xf0, 0x0f, 0);
    frequency(0, 580, 7, true);
    render(SECOND * 2);
    int low = 5000, high = 0, crossings = 0;
    bool loud = true;
    for (unsigned i = 0; i + 256 <= SECOND * 2; i += 256) {
      int p = peak(sound + i, 256, LEFT);
      low = p < low ? p : low;
      high = p > high ? p : high;
    }
    for (unsigned i = 0; i + 256 <= SECOND * 2; i += 256) {
      bool now = peak(sound + i, 256, LEFT) * 2 > low + high;
      crossings += now != loud;
      loud = now;
    }
    ck_assert_double_eq_tol(20 * log10((double)high / low), deep ? 4.9 : 1.1, 0.25);
    ck_assert_int_ge(crossings, 14); /* 3.7 Hz for two seconds */
    ck_assert_int_le(crossings, 16);
    start(true);
    put(0xbd, (uint8_t)(deep << 6));
    operator(3, 0x61, 0, 0xf0, 0x0f, 0);
    frequency(0, 1023, 4, true);
    uint32_t least = ~0u, most = 0, before = 0;
    for (unsigned i = 0; i < SECOND; i++) {
      render(1);
      uint32_t step = (synth.phase[3] - before) & 0x7ffff;
      before = synth.phase[3];
      if (i) {
        least = step < least ? step : least;
        most = step > most ? step : most;
      }
    }
    double cents = 1200 * log2((double)most / least) / 2;
    ck_assert_double_eq_tol(cents, deep ? 12 : 6, 2.1); /* 14 and 7 at most, by the F-number */
  }
}
END_TEST

START_TEST(four_operators) {
  /* Multiples 1, 2, 3, 5 in operators at 0, 3, 8, 11: which are heard as tones of their own? */
  static const unsigned op[4] = {0x00, 0x03, 0x08, 0x0b};
  static const uint8_t multiple[4] = {1, 2, 3, 5};
  static const uint8_t heard[4] = {0x8, 0xa, 0x9, 0xd}; /* by the two CNT bits: second, first */
  for (unsigned cnt = 0; cnt < 4; cnt++) {
    start(true);
    put(0x104, 1);
    put(0xc0, (uint8_t)(0x30 | (cnt >> 0 & 1)));
    put(0xc3, (uint8_t)(0x30 | (cnt >> 1 & 1)));
    for (unsigned i = 0; i < 4;
         i++) /* each by itself: the others hold still at phase zero, under full damping */
      operator(op[i], 0x20 | multiple[i], 0, 0xf0, 0x0f, 0);
    frequency(0, A440, 3, true);
    for (unsigned i = 0; i < 4; i++) {
      for (unsigned j = 0; j < 4; j++)
        put(0x40 + op[j], i == j ? 0 : 0x3f);
      render(SECOND);
      double a = tone(sound, SECOND, OPL_HZ, A440_HZ / 2 * multiple[i], LEFT);
      uint8_t by = (uint8_t)((heard[cnt == 1 ? 2 : cnt == 2 ? 1 : cnt] >> i) & 1);
      if (by)
        ck_assert_msg(a > 3900, "cnt %u operator %u: %f", cnt, i, a);
      else
        ck_assert_msg(a < 600, "cnt %u operator %u: %f", cnt, i, a);
    }
  }
  /* The second half's own key and frequency do nothing. */
  start(true);
  put(0x104, 1);
  operator(0x0b, 0x21, 0, 0xf0, 0x0f, 0);
  frequency(3, A440, 4, true);
  render(SECOND);
  ck_assert_int_eq(peak(sound, SECOND, LEFT), 0);
}
END_TEST

START_TEST(second_bank_and_sides) {
  start(true);
  operator(0x103, 0x21, 0, 0xf0, 0x0f, 0);
  put(0x1c0, 0x10);
  put(0x1a0, (uint8_t)A440);
  put(0x1b0, A440 >> 8 | 4 << 2 | 0x20);
  render(SECOND);
  ck_assert_double_eq_tol(tone(sound, SECOND, OPL_HZ, A440_HZ, LEFT), 4084, 10);
  ck_assert_int_eq(peak(sound, SECOND, RIGHT), 0);
  put(0x1c0, 0x20);
  render(SECOND);
  ck_assert_int_eq(peak(sound, SECOND, LEFT), 0);
  ck_assert_double_eq_tol(tone(sound, SECOND, OPL_HZ, A440_HZ, RIGHT), 4084, 10);
  put(0x105, 0); /* without the bit there is one bank, and no sides */
  put(0x143, 0x3f);
  ck_assert_uint_eq(synth.reg[0x143], 0);
  ck_assert_uint_eq(synth.reg[0x043], 0x3f);
  render(SECOND);
  ck_assert_double_eq_tol(tone(sound, SECOND, OPL_HZ, A440_HZ, LEFT), 4084, 10);
}
END_TEST

START_TEST(rhythm) {
  static const struct {
    uint8_t bit;
    bool tonal;
  } drums[] = {{0x10, true}, {0x08, false}, {0x04, true}, {0x02, false}, {0x01, false}};
  for (unsigned d = 0; d < 5; d++) {
    start(false);
    for (unsigned op = 0x10; op < 0x16; op++)
      operator(op, 0x01, op == 0x10 ? 0x3f : 0, 0xf6, 0x67, 0);
    for (unsigned c = 6; c < 9; c++)
      frequency(c, A440, 3, false);
    put(0xbd, 0x20);
    render(100);
    ck_assert_int_eq(peak(sound, 100, LEFT), 0);
    put(0xbd, (uint8_t)(0x20 | drums[d].bit));
    render(SECOND / 10);
    ck_assert_int_gt(peak(sound, SECOND / 10, LEFT), 7500); /* each counts twice */
    double a = tone(sound, SECOND / 10, OPL_HZ, A440_HZ / 2, LEFT);
    double part = a / sqrt(2) / loudness(sound, SECOND / 10, LEFT);
    if (drums[d].tonal)
      ck_assert_msg(part > 0.6, "drum %u: %f of it the tone", d, part);
    else
      ck_assert_msg(part < 0.5, "drum %u: %f of it the tone", d, part);
    put(0xbd, 0x20);
    render(SECOND * 2);
    ck_assert_int_eq(peak(sound + SECOND, SECOND, LEFT), 0);
    ck_assert(!opl_synth_active(&synth));
  }
}
END_TEST

START_TEST(release_to_silence) {
  carrier(0);
  ck_assert(opl_synth_active(&synth));
  render(1000);
  frequency(0, A440, 4, false);
  render(2000);
  ck_assert_int_gt(peak(sound, 100, LEFT), 1000);
  ck_assert_int_eq(peak(sound + 1000, 1000, LEFT), 0);
  ck_assert(!opl_synth_active(&synth));
  put(0xb0, 0x32); /* and again */
  render(1000);
  ck_assert_int_gt(peak(sound, 1000, LEFT), 4000);
}
END_TEST

/* --- the chip --- */

#define BASE 0x388

static struct device *chip;

static struct rig *set_up(bool opl3, struct audio *audio) {
  struct rig *r = rig_new();
  struct opl_config config = {opl3, audio};
  chip = rig_add(r, &opl_class, &(struct device_args){.id = "opl", .port = {BASE}, .config = &config});
  return r;
}

static void reg(struct rig *r, unsigned n, uint8_t value) {
  rig_out(r, BASE + (n >> 8) * 2, (uint8_t)n);
  rig_out(r, BASE + 1, value);
}

/* The detection that AdLib published. */
START_TEST(detection) {
  for (int opl3 = 0; opl3 < 2; opl3++) {
    struct rig *r = set_up(opl3, NULL);
    uint8_t idle = opl3 ? 0 : 6;
    reg(r, 4, 0x60);
    reg(r, 4, 0x80);
    ck_assert_uint_eq(rig_in(r, BASE), idle);
    reg(r, 2, 0xff);
    reg(r, 4, 0x21);
    rig_advance(r, 78999);
    ck_assert_uint_eq(rig_in(r, BASE), idle); /* (itself a microsecond) */
    rig_advance(r, 1001);
    ck_assert_uint_eq(rig_in(r, BASE), 0xc0 | idle);
    reg(r, 4, 0x60);
    reg(r, 4, 0x80);
    ck_assert_uint_eq(rig_in(r, BASE), idle);
    reg(r, 4, 0x21); /* or by counting reads, as if on a bus of the time */
    for (int i = 0; i < 79; i++)
      ck_assert_uint_eq(rig_in(r, BASE), idle);
    rig_advance(r, 2000);
    ck_assert_uint_eq(rig_in(r, BASE), 0xc0 | idle);
    reg(r, 4, 0x80); /* only up to the first overflow */
    for (int i = 0; i < 200; i++)
      ck_assert_uint_eq(rig_in(r, BASE), idle);
    ck_assert_uint_eq(rig_in(r, BASE + 1), 0xff);
    rig_free(r);
  }
}
END_TEST

START_TEST(timers) {
  struct rig *r = set_up(true, NULL);
  reg(r, 2, 256 - 10);
  reg(r, 3, 256 - 10);
  reg(r, 4, 0x03);
  rig_advance(r, 798999);
  ck_assert_uint_eq(rig_in(r, BASE), 0);
  rig_advance(r, 1001);
  ck_assert_uint_eq(rig_in(r, BASE), 0xc0);
  reg(r, 4, 0x80); /* clears the flags; the timers run on */
  ck_assert_uint_eq(rig_in(r, BASE), 0);
  rig_advance(r, 800000);
  ck_assert_uint_eq(rig_in(r, BASE), 0xc0);
  rig_advance(r, 1600000);
  ck_assert_uint_eq(rig_in(r, BASE), 0xe0);
  reg(r, 4, 0x80);
  reg(r, 4, 0x43); /* timer 1 runs, but is masked */
  rig_advance(r, 10000000);
  ck_assert_uint_eq(rig_in(r, BASE), 0xa0);
  reg(r, 4, 0x80);
  reg(r, 4, 0x60); /* stopped */
  rig_advance(r, 100000000);
  ck_assert_uint_eq(rig_in(r, BASE), 0);
  rig_free(r);
}
END_TEST

struct take {
  struct audio_frame *frames;
  uint64_t count;
};

static void take_write(void *opaque, const struct audio_frame *frames, uint64_t count) {
  struct take *t = opaque;
  ck_assert_uint_lt(t->count + count, AUDIO_RATE * 4);
  if (frames)
    memcpy(t->frames + t->count, frames, count * sizeof *frames);
  t->count += count;
}

/* Two seconds of a note that ends after one; with `stir`, the chip is looked at all the time. */
static struct take play(bool stir) {
  struct rig *r = rig_new();
  struct take take = {.frames = calloc(AUDIO_RATE * 4, sizeof(struct audio_frame))};
  struct audio *audio = audio_new(r->set.clock);
  audio_set_sink(audio, &(struct audio_sink){.write = take_write, .opaque = &take});
  struct opl_config config = {false, audio};
  chip = rig_add(r, &opl_class, &(struct device_args){.id = "opl", .port = {BASE}, .config = &config});
  static const uint8_t note[][2] = {{0x20, 1},    {0x40, 0x3f}, {0x23, 0x21},        {0x43, 0},
                                    {0x63, 0xf0}, {0x83, 0x0f}, {0xa0, A440 & 0xff}, {0xb0, 0x32}};
  for (unsigned i = 0; i < sizeof note / sizeof note[0]; i++)
    reg(r, note[i][0], note[i][1]);
  for (int i = 0; i < 2000; i++) {
    if (i == 1000)
      reg(r, 0xb0, 0x12);
    rig_advance(r, 1000000);
    if (stir && rig_random(r) & 1)
      reg(r, 0x24, (uint8_t)rig_random(r)); /* of a channel that is silent */
  }
  device_free_all(&r->set);
  audio_free(audio);
  rig_free(r);
  return take;
}

START_TEST(at_its_time) {
  struct take quiet = play(false), stirred = play(true);
  ck_assert_uint_ge(quiet.count, AUDIO_RATE);
  ck_assert_uint_eq(quiet.count, stirred.count);
  ck_assert_int_eq(memcmp(quiet.frames, stirred.frames, quiet.count * sizeof(struct audio_frame)), 0);
  double a = tone(quiet.frames + AUDIO_RATE / 5, AUDIO_RATE / 2, AUDIO_RATE, 440, LEFT);
  ck_assert_double_eq_tol(a, 2 * 4084, 20);
  ck_assert_int_lt(peak(quiet.frames + AUDIO_RATE * 11 / 10, AUDIO_RATE / 20, LEFT), 2);
  free(quiet.frames);
  free(stirred.frames);
}
END_TEST

START_TEST(fuzz) {
  static const uint16_t ports[] = {BASE, BASE + 1, BASE + 2, BASE + 3};
  struct rig *r = set_up(true, NULL);
  rig_fuzz_ports(r, ports, 4, NULL, chip);
  rig_check_fields(chip);
  rig_free(r);
}
END_TEST

RIG_SUITE(opl, sine, notes, waveforms, modulation, feedback, envelope, key_scaling, tremolo_and_vibrato,
          four_operators, second_bank_and_sides, rhythm, release_to_silence, detection, timers, at_its_time,
          fuzz)
