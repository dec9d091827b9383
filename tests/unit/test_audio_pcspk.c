/* SPDX-License-Identifier: MIT */
/* The PC speaker's sound: tones of the timer, the cone moved by hand, samples as widths of pulses. */
#include "devices/pcspk.h"

#include "devices/pit.h"
#include "devices/sysctl.h"
#include "tests/unit/audio_bench.h"

static void setup(struct bench *b) {
  bench_make(b);
  struct device *speaker =
      rig_add(b->r, &pcspk_class,
              &(struct device_args){.id = "pcspk", .config = &(struct pcspk_config){.audio = b->a}});
  struct device *pit =
      rig_add(b->r, &pit_class,
              &(struct device_args){.id = "pit",
                                    .port = {0x40},
                                    .config = &(struct pit_config){.tone = pcspk_tone,
                                                                   .tone_opaque = speaker,
                                                                   .out2_changes = pcspk_changes,
                                                                   .out2_opaque = speaker}});
  pcspk_connect(speaker, pit_out2_at, pit);
  rig_add(b->r, &sysctl_class,
          &(struct device_args){.id = "sysctl",
                                .port = {0x61, 0x92},
                                .config = &(struct sysctl_config){.set_gate2 = pit_set_gate2,
                                                                  .get_out2 = pit_get_out2,
                                                                  .pit = pit,
                                                                  .speaker = pcspk_set,
                                                                  .speaker_opaque = speaker}});
}

static void teardown(struct bench *b) {
  device_free_all(&b->r->set); /* before the mixer that owns their voices */
  bench_free(b);
}

static void program(struct bench *b, uint8_t control, unsigned count) {
  rig_out(b->r, 0x43, control);
  rig_out(b->r, 0x42, (uint8_t)count);
  if ((control & 0x30) == 0x30)
    rig_out(b->r, 0x42, (uint8_t)(count >> 8));
}

START_TEST(tone) {
  static const unsigned counts[] = {1193, 2712, 12000, 298};
  for (unsigned n = 0; n < sizeof counts / sizeof counts[0]; n++) {
    struct bench b;
    setup(&b);
    double hz = 1193182.0 / counts[n], rest;
    program(&b, 0xb6, counts[n]);
    rig_out(b.r, 0x61, 0x03);
    for (unsigned i = 0; i < 7000; i++) { /* software that looks at the output does not disturb it */
      rig_in(b.r, 0x61);
      rig_advance(b.r, 177777);
    }
    const struct audio_frame *f = b.take.frames + 9600;
    /* A square wave between 0 and 16000: the fundamental, a third of it three times as high, nothing at the
     * double. */
    unsigned whole = (unsigned)(floor(hz) * AUDIO_RATE / hz); /* periods */
    double first = fit(f, whole, hz, &rest), pole = 1 / (1 + pow(hz / 9000, 2));
    ck_assert_msg(fabs(first / (16000 * 2 / M_PI * pole) - 1) < 0.02, "%g Hz: %g", hz, first);
    if (hz < 2000) {
      double third = fit(f, whole, hz * 3, &rest), pole3 = 1 / (1 + pow(hz * 3 / 9000, 2));
      ck_assert_msg(fabs(third / (16000 * 2 / M_PI / 3 * pole3) - 1) < 0.04, "%g Hz: third %g", hz, third);
    }
    double second = fit(f, whole, hz * 2, &rest);
    ck_assert_msg(second < 25, "%g Hz: second %g", hz, second);
    rig_out(b.r, 0x61, 0x00);
    rig_advance(b.r, 2 * NS_PER_SEC);
    ck_assert(clock_deadline(b.r->set.clock) == INT64_MAX); /* all is quiet, nobody wakes */
    ck_assert_int_eq(b.take.frames[b.take.count - 1].left, 0);
    teardown(&b);
  }
}
END_TEST

START_TEST(duration) { /* a beep lasts as long as it was on, and begins 15 to 30 ms later */
  struct bench b;
  setup(&b);
  rig_advance(b.r, NS_PER_SEC / 3);
  program(&b, 0xb6, 596);
  rig_out(b.r, 0x61, 0x03);
  rig_advance(b.r, NS_PER_SEC / 2);
  rig_out(b.r, 0x61, 0x00);
  rig_advance(b.r, NS_PER_SEC);
  uint64_t first = 0, last = 0;
  for (uint64_t i = 12; i < b.take.count; i++) { /* half a period apart */
    if (abs(b.take.frames[i].left - b.take.frames[i - 12].left) < 6000)
      continue;
    first = first ? first : i;
    last = i;
  }
  ck_assert_uint_ge(first, 16000 + 720);
  ck_assert_uint_le(first, 16000 + 1440 + 24);
  ck_assert_int_le(abs((int)(last - first) - 24000), 48);
  teardown(&b);
}
END_TEST

START_TEST(by_hand) { /* the timer's output stays high (mode 0, long over), bit 1 moves the cone: 2 kHz */
  struct bench b;
  setup(&b);
  program(&b, 0x90, 1);
  rig_out(b.r, 0x61, 0x01);
  rig_advance(b.r, 1000000);
  for (unsigned i = 0; i < 4000; i++) {
    rig_out(b.r, 0x61, i & 1 ? 0x01 : 0x03);
    rig_advance(b.r, 250000);
  }
  double rest, first = fit(b.take.frames + 12000, 24000, 2000, &rest);
  ck_assert_msg(fabs(first / (16000 * 2 / M_PI / (1 + pow(2.0 / 9, 2))) - 1) < 0.02, "%g", first);
  teardown(&b);
}
END_TEST

START_TEST(
    pulses) { /* mode 0, one byte each 1/16000 s: low for 8 to 64 of 74 ticks, as a sine of 500 Hz says */
  struct bench b;
  setup(&b);
  rig_out(b.r, 0x43, 0x90);
  rig_out(b.r, 0x61, 0x03);
  for (unsigned i = 0; i < 32000; i++) {
    rig_out(b.r, 0x42, (uint8_t)(36 + lrint(28 * sin(2 * M_PI * i / 32))));
    rig_advance(b.r, 62500);
  }
  const struct audio_frame *f = b.take.frames + 24000;
  double rest, tone = fit(f, 48000, 500, &rest);
  double expected = 16000 * 28 / (1193182.0 / 16000);
  ck_assert_msg(fabs(tone / expected - 1) < 0.03, "%g, not %g", tone, expected);
  /* Only one edge of a pulse is moved, which by itself makes 4 % of the double. */
  for (unsigned hz = 250; hz < 7000; hz += 250)
    if (hz != 500)
      ck_assert_msg(fit(f, 48000, hz, &rest) < tone / 25, "%g at %u Hz", fit(f, 48000, hz, &rest), hz);
  teardown(&b);
}
END_TEST

START_TEST(hostile) {
  struct bench b;
  setup(&b);
  for (int i = 0, n = RIG_FUZZ_OPS; i < n; i++) {
    uint64_t x = rig_random(b.r);
    static const uint16_t ports[] = {0x42, 0x42, 0x43, 0x61};
    uint16_t port = ports[x >> 8 & 3];
    if (x & 4)
      rig_out(b.r, port, port == 0x43 ? (uint8_t)(0x80 | (x >> 32 & 0x3f)) : (uint8_t)(x >> 32));
    else if (x & 3)
      rig_in(b.r, port);
    else
      rig_advance(b.r, (int64_t)((x >> 32) % (x & 0x10000 ? 200000 : 3000)));
    b.take.count = 0;
  }
  teardown(&b);
}
END_TEST

RIG_SUITE(audio_pcspk, tone, duration, by_hand, pulses, hostile)
