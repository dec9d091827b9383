/* SPDX-License-Identifier: MIT */
/* ES1370: its channels' counters, buffers and interrupts at their times, what is heard, the window, the
 * codec. */
#include "devices/sound/es1370.h"

#include "tests/unit/audio_pci.h"

#define PORT 0x1000
#define CONTROL 0x00
#define STATUS 0x04
#define PAGE 0x0c
#define CODEC 0x10
#define SERIAL 0x20
#define DAC1_COUNT 0x24
#define DAC2_COUNT 0x28
#define ADC_COUNT 0x2c

#define DAC2_EN 0x20
#define STEREO16 (3 << 2)
#define DIVIDER(rate) ((1411200u / (rate)-2) << 16)

static uint32_t get(struct card *c, unsigned reg) { return card_in(c, (uint16_t)(PORT + reg), 4); }
static void set(struct card *c, unsigned reg, uint32_t value) {
  card_out(c, (uint16_t)(PORT + reg), 4, value);
}
static void codec(struct card *c, unsigned reg, unsigned value) {
  card_out(c, PORT + CODEC, 2, reg << 8 | value);
}

static void setup(struct card *c) {
  memset(c, 0, sizeof *c);
  card_begin(c);
  c->dev = rig_add(
      c->r, &es1370_class,
      &(struct device_args){.id = "card", .config = &(struct es1370_config){c->bus, CARD_DEVFN, c->b.a}});
  card_enable(c);
  for (unsigned reg = 0; reg < 2; reg++)
    codec(c, reg, 0); /* master 0 dB */
  for (unsigned reg = 2; reg < 6; reg++)
    codec(c, reg, 6); /* voice and FM 0 dB */
  codec(c, 0x10, 0x60);
  codec(c, 0x11, 0x0c);
}

static void frame(struct card *c, unsigned page, unsigned window, uint32_t addr, uint32_t bytes) {
  set(c, PAGE, page);
  set(c, 0x30 + 4 * window, addr);
  set(c, 0x34 + 4 * window, bytes / 4 - 1);
}

START_TEST(identity) {
  struct card c;
  setup(&c);
  ck_assert_uint_eq(pci_config_read(c.bus, CARD_DEVFN, 0, 4), 0x50001274);
  ck_assert_uint_eq(pci_config_read(c.bus, CARD_DEVFN, 8, 4), 0x04010000);
  ck_assert_uint_eq(pci_config_read(c.bus, CARD_DEVFN, 0x2c, 4), 0x4c4c4942);
  ck_assert_uint_eq(pci_config_read(c.bus, CARD_DEVFN, 0x3c, 4), 0x800c0100);
  ck_assert_uint_eq(get(&c, STATUS), 0x60);
  ck_assert_uint_eq(get(&c, CONTROL), 1);
  /* The window: 16 pages of four dwords; two channels' and the ADC's addresses are pages 12 and 13. */
  for (unsigned i = 0; i < 64; i++) {
    set(&c, PAGE, i / 4);
    set(&c, 0x30 + 4 * (i % 4), 0x11110004 * i);
  }
  for (unsigned i = 0; i < 64; i++) {
    set(&c, PAGE, i / 4);
    uint32_t expected = 0x11110004 * i;
    if (i == 48 || i == 50 || i == 52)
      expected &= ~3u;
    if (i == 49 || i == 51 || i == 53) /* the current position is inside the buffer */
      expected = expected >> 16 > (expected & 0xffff) ? expected & 0xffff : expected;
    ck_assert_msg(get(&c, 0x30 + 4 * (i % 4)) == expected, "%u: %x", i, get(&c, 0x30 + 4 * (i % 4)));
  }
  ck_assert_uint_eq(card_in(&c, PORT + PAGE, 1), 15);
  rig_check_fields(c.dev);
  card_free(&c);
}
END_TEST

START_TEST(interrupts) { /* DAC2 at 44.1 kHz: every 441 frames is every 10 ms, over a buffer of 1000 frames */
  struct card c;
  setup(&c);
  frame(&c, 0xc, 2, 0x10000, 4000);
  set(&c, DAC2_COUNT, 440);
  set(&c, SERIAL, STEREO16 | 0x200);
  set(&c, CONTROL, DIVIDER(44100) | DAC2_EN);
  for (unsigned i = 1; i <= 20; i++) {
    int64_t took = card_wait(&c, 20000000);
    int64_t now = clock_now(c.r->set.clock);
    ck_assert_msg(took >= 0, "%u: no interrupt", i);
    ck_assert_msg(llabs(now - i * 10000000ll) < 50, "%u: at %lld", i, (long long)now);
    ck_assert_uint_eq(get(&c, STATUS), 0x80000062);
    set(&c, PAGE, 0xc);
    ck_assert_uint_eq(get(&c, 0x3c) >> 16, i * 441 % 1000);
    ck_assert_uint_eq(get(&c, DAC2_COUNT), 440u << 16 | 440);
    set(&c, SERIAL, STEREO16); /* acknowledged by taking the enable away */
    ck_assert_int_eq(card_irq(&c), 0);
    set(&c, SERIAL, STEREO16 | 0x200);
  }
  /* In between, the position follows time. */
  rig_advance(c.r, 1000000);
  ck_assert_uint_eq(get(&c, 0x3c) >> 16, (20 * 441 + 44) % 1000);
  ck_assert_uint_eq(get(&c, DAC2_COUNT) >> 16, 440 - 44);
  set(&c, SERIAL, STEREO16 | 0x1200); /* paused */
  rig_advance(c.r, NS_PER_SEC);
  ck_assert_uint_eq(get(&c, 0x3c) >> 16, (20 * 441 + 44) % 1000);
  ck_assert_int_eq(card_irq(&c), 0);
  /* Stop mode: one more interrupt, and no further. */
  set(&c, SERIAL, STEREO16 | 0x4200);
  ck_assert_int_ge(card_wait(&c, 20000000), 0);
  uint32_t at = get(&c, 0x3c);
  rig_advance(c.r, NS_PER_SEC);
  ck_assert_uint_eq(get(&c, 0x3c), at);
  set(&c, CONTROL, 1);
  ck_assert_uint_eq(get(&c, STATUS), 0x80000062); /* stays until acknowledged */
  set(&c, SERIAL, 0);
  ck_assert_uint_eq(get(&c, STATUS), 0x60);
  rig_advance(c.r, NS_PER_SEC);
  ck_assert(clock_deadline(c.r->set.clock) == INT64_MAX);
  card_free(&c);
}
END_TEST

START_TEST(heard) { /* all formats of both DACs at 44.1 kHz: a tone, through the mixer's rate change */
  for (unsigned dac = 1; dac <= 2; dac++) {
    for (unsigned mode = 0; mode < 4; mode++) {
      struct card c;
      setup(&c);
      unsigned bytes = (mode & 1 ? 2 : 1) * (mode & 2 ? 2 : 1), frames = 4410; /* 100 periods of 1 kHz */
      for (unsigned i = 0; i < frames; i++) {
        int16_t x = (int16_t)lrint(10000 * sin(2 * M_PI * 1000 * i / 44100));
        uint8_t *p = (uint8_t *)c.ram->host + 0x20000 + i * bytes;
        for (unsigned side = 0; side < (mode & 1 ? 2 : 1); side++, x = (int16_t)(x / 2)) {
          if (mode & 2)
            memcpy(p + 2 * side, &x, 2);
          else
            p[side] = (uint8_t)((x >> 8) + 128);
        }
      }
      uint32_t size = (frames * bytes + 3) & ~3u;
      ck_assert_uint_eq(frames * bytes, frames * bytes / 4 * 4 + (mode ? 0 : frames % 4));
      frame(&c, 0xc, dac == 1 ? 0 : 2, 0x20000, mode ? frames * bytes : size);
      set(&c, SERIAL, mode << (dac == 1 ? 0 : 2));
      set(&c, CONTROL, DIVIDER(44100) | 3 << 12 | (dac == 1 ? 0x40 : 0x20));
      rig_advance(c.r, 95000000);
      double rest, first = fit(c.b.take.frames + 2400, 1920, 1000, &rest);
      ck_assert_msg(fabs(first / 10000 - 1) < 0.02, "DAC%u mode %u: %g", dac, mode, first);
      ck_assert_msg(rest < (mode & 2 ? -65 : -30), "DAC%u mode %u: %g dB", dac, mode, rest);
      int loudest = 0;
      for (unsigned i = 2400; i < 4000; i++)
        loudest = abs(c.b.take.frames[i].right) > loudest ? abs(c.b.take.frames[i].right) : loudest;
      ck_assert_msg(abs(loudest - (mode & 1 ? 5000 : 10000)) < 300, "DAC%u mode %u: %d", dac, mode, loudest);
      card_free(&c);
    }
  }
}
END_TEST

START_TEST(volumes) {
  struct card c;
  setup(&c);
  int16_t x = 10000;
  for (unsigned i = 0; i < 2000; i++)
    memcpy((uint8_t *)c.ram->host + 0x20000 + 2 * i, &x, 2);
  frame(&c, 0xc, 2, 0x20000, 4000);
  set(&c, SERIAL, STEREO16);
  set(&c, CONTROL, DIVIDER(22050) | DAC2_EN);
  static const struct {
    uint8_t reg, value;
    int left, right;
  } cases[] = {{0x00, 10, 1000, 10000}, {0x03, 16, 1000, 1000},  {0x00, 0, 10000, 1000},
               {0x03, 0, 10000, 32767}, {0x11, 8, 10000, 0},     {0x02, 0x86, 0, 0},
               {0x11, 12, 0, 32767},    {0x02, 6, 10000, 32767}, {0x01, 0x80, 10000, 0},
               {0x16, 1, 0, 0},         {0x16, 3, 10000, 0},     {0x16, 0, 0, 0}};
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    codec(&c, cases[i].reg, cases[i].value);
    rig_advance(c.r, 100000000);
    const struct audio_frame *f = &c.b.take.frames[c.b.take.count - 1];
    ck_assert_msg(abs(f->left - cases[i].left) <= 20 && abs(f->right - cases[i].right) <= 20, "%u: %d %d", i,
                  f->left, f->right);
  }
  card_free(&c);
}
END_TEST

START_TEST(capture) { /* silence, at its rate, in its format; nothing beyond the buffer */
  struct card c;
  setup(&c);
  card_fill(&c, 0x30000, 0x10000);
  frame(&c, 0xd, 0, 0x34000, 4000);
  set(&c, ADC_COUNT, 499);
  set(&c, SERIAL, 2 << 4 | 0x400); /* 16-bit mono: 2000 frames */
  set(&c, CONTROL, DIVIDER(8000) | 0x10);
  const uint8_t *ram = c.ram->host;
  ck_assert_int_ge(card_wait(&c, NS_PER_SEC), 500 * NS_PER_SEC / 8018);
  ck_assert_uint_eq(get(&c, STATUS), 0x80000061);
  for (unsigned i = 0; i < 1000; i++)
    ck_assert_uint_eq(ram[0x34000 + i], 0);
  ck_assert_uint_ne(ram[0x34000 + 1000], 0);
  rig_advance(c.r, NS_PER_SEC);
  ck_assert_uint_eq(ram[0x34000 + 3998], 0);
  ck_assert_uint_ne(ram[0x34000 + 4000], 0);
  ck_assert_uint_ne(ram[0x33ffe], 0);
  set(&c, SERIAL, 0);
  rig_advance(c.r, NS_PER_SEC);
  ck_assert_uint_eq(ram[0x34000], 0x80);
  card_free(&c);
}
END_TEST

START_TEST(no_master) { /* without bus mastering nothing moves */
  struct card c;
  setup(&c);
  frame(&c, 0xc, 2, 0x10000, 4000);
  set(&c, SERIAL, STEREO16);
  set(&c, CONTROL, DIVIDER(44100) | DAC2_EN);
  rig_advance(c.r, 1000000);
  card_config(&c, 4, 2, 1);
  set(&c, PAGE, 0xc);
  uint32_t at = get(&c, 0x3c);
  ck_assert_uint_eq(at >> 16, 44);
  rig_advance(c.r, NS_PER_SEC);
  ck_assert_uint_eq(get(&c, 0x3c), at);
  card_config(&c, 4, 2, 5);
  rig_advance(c.r, 1000000);
  ck_assert_uint_eq(get(&c, 0x3c) >> 16, 88);
  card_free(&c);
}
END_TEST

START_TEST(uart) { /* takes bytes at once; the transmit interrupt while it is enabled */
  struct card c;
  setup(&c);
  ck_assert_uint_eq(card_in(&c, PORT + 9, 1), 2);
  set(&c, CONTROL, 8);
  card_out(&c, PORT + 9, 1, 0x20);
  ck_assert_uint_eq(get(&c, STATUS), 0x80000068);
  ck_assert_int_eq(card_irq(&c), 1);
  card_out(&c, PORT + 8, 1, 0x90);
  card_out(&c, PORT + 9, 1, 0x00);
  ck_assert_int_eq(card_irq(&c), 0);
  card_free(&c);
}
END_TEST

START_TEST(hostile) {
  struct card c;
  setup(&c);
  card_fuzz(&c, PORT, 64, 0, 0);
  rig_check_fields(c.dev);
  card_free(&c);
}
END_TEST

RIG_SUITE(audio_es1370, identity, interrupts, heard, volumes, capture, no_master, uart, hostile)
