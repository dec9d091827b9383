/* SPDX-License-Identifier: MIT */
/* AC '97: descriptor lists, status and interrupts at their times, what is heard bit by bit, the codec's
 * registers. */
#include "devices/sound/ac97.h"

#include "tests/unit/audio_pci.h"

#define NAM 0x1000
#define NABM 0x1400
#define PI 0x00
#define PO 0x10
#define MC 0x20
#define GLOB_CNT 0x2c
#define GLOB_STA 0x30
#define CIV 4
#define LVI 5
#define SR 6
#define PICB 8
#define PIV 10
#define CR 11
#define LIST 0x8000u
#define IOC 0x80000000u
#define BUP 0x40000000u

static uint32_t get(struct card *c, unsigned reg, int size) {
  return card_in(c, (uint16_t)(NABM + reg), size);
}
static void set(struct card *c, unsigned reg, int size, uint32_t value) {
  card_out(c, (uint16_t)(NABM + reg), size, value);
}
static uint16_t codec(struct card *c, unsigned reg) { return (uint16_t)card_in(c, (uint16_t)(NAM + reg), 2); }
static void set_codec(struct card *c, unsigned reg, uint16_t value) {
  card_out(c, (uint16_t)(NAM + reg), 2, value);
}

static void descriptor(struct card *c, unsigned n, uint32_t addr, uint32_t samples_and_flags) {
  memcpy((uint8_t *)c->ram->host + LIST + 8 * n, &addr, 4);
  memcpy((uint8_t *)c->ram->host + LIST + 8 * n + 4, &samples_and_flags, 4);
}

static void setup(struct card *c) {
  memset(c, 0, sizeof *c);
  card_begin(c);
  c->dev = rig_add(
      c->r, &ac97_class,
      &(struct device_args){.id = "card", .config = &(struct ac97_config){c->bus, CARD_DEVFN, c->b.a}});
  card_enable(c);
  set(c, GLOB_CNT, 4, 2);
  set_codec(c, 0x02, 0x0000);
  set_codec(c, 0x18, 0x0808);
  for (unsigned n = 0; n < 3; n++)
    set(c, 16 * n, 4, LIST);
}

START_TEST(identity) {
  struct card c;
  setup(&c);
  ck_assert_uint_eq(pci_config_read(c.bus, CARD_DEVFN, 0, 4), 0x24158086);
  ck_assert_uint_eq(pci_config_read(c.bus, CARD_DEVFN, 8, 4) >> 8, 0x040100);
  ck_assert_uint_eq(codec(&c, 0x7c), 0x8384);
  ck_assert_uint_eq(codec(&c, 0x26), 0x000f);
  for (unsigned n = 0; n < 48; n += 16) {
    ck_assert_uint_eq(get(&c, n + SR, 2), 1);
    ck_assert_uint_eq(get(&c, n + CIV, 1), 0);
    ck_assert_uint_eq(get(&c, n + CR, 1), 0);
    ck_assert_uint_eq(get(&c, n, 4), LIST);
  }
  /* The semaphore of codec accesses. */
  ck_assert_uint_eq(get(&c, 0x34, 1), 0);
  ck_assert_uint_eq(get(&c, 0x34, 1), 1);
  codec(&c, 0);
  ck_assert_uint_eq(get(&c, 0x34, 1), 0);
  /* Cold reset takes the codec's readiness away and resets it, warm reset is over at once. */
  ck_assert_uint_eq(get(&c, GLOB_STA, 4), 0x100);
  set(&c, GLOB_CNT, 4, 0);
  ck_assert_uint_eq(get(&c, GLOB_STA, 4), 0);
  set(&c, GLOB_CNT, 4, 2);
  ck_assert_uint_eq(get(&c, GLOB_STA, 4), 0x100);
  ck_assert_uint_eq(codec(&c, 0x02), 0x8000);
  set(&c, GLOB_CNT, 4, 6);
  ck_assert_uint_eq(get(&c, GLOB_CNT, 4), 2);
  rig_check_fields(c.dev);
  card_free(&c);
}
END_TEST

START_TEST(mixer_registers) {
  struct card c;
  setup(&c);
  static const struct {
    uint8_t reg;
    uint16_t write, read;
  } cases[] = {{0x02, 0xffff, 0x9f1f}, {0x02, 0x2003, 0x1f03}, {0x02, 0x0025, 0x001f}, {0x18, 0x1f1f, 0x1f1f},
               {0x18, 0xffff, 0x9f1f}, {0x1a, 0xffff, 0x0707}, {0x0a, 0xffff, 0x801e}, {0x26, 0x0100, 0x010e},
               {0x26, 0x0200, 0x020d}, {0x26, 0x0c00, 0x0c03}, {0x26, 0x0000, 0x000f}, {0x7c, 0x0000, 0x8384},
               {0x2c, 0x5622, 48000},  {0x2a, 0x0001, 0x0001}, {0x2c, 22050, 22050},   {0x32, 8000, 8000},
               {0x34, 8000, 48000},    {0x2c, 100, 4000},      {0x2c, 60000, 48000},   {0x2c, 11025, 11025},
               {0x2a, 0x0000, 0x0000}, {0x2c, 11025, 48000},   {0x50, 0xffff, 0x0000}};
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    set_codec(&c, cases[i].reg, cases[i].write);
    ck_assert_msg(codec(&c, cases[i].reg) == cases[i].read, "%u: %02x = %04x", i, cases[i].reg,
                  codec(&c, cases[i].reg));
  }
  set_codec(&c, 0x00, 0x1234);
  ck_assert_uint_eq(codec(&c, 0x02), 0x8000);
  ck_assert_uint_eq(codec(&c, 0x18), 0x8808);
  card_free(&c);
}
END_TEST

START_TEST(
    list) { /* 32 buffers of 10 ms; an interrupt after each; then it halts, and goes on with a new LVI */
  struct card c;
  setup(&c);
  card_fill(&c, 0x100000, 32 * 1920);
  for (unsigned i = 0; i < 32; i++)
    descriptor(&c, i, 0x100000 + i * 1920, 960 | IOC);
  set(&c, PO + LVI, 1, 31);
  set(&c, PO + CR, 1, 0x15);
  ck_assert_uint_eq(get(&c, PO + SR, 2), 0);
  ck_assert_uint_eq(get(&c, PO + PICB, 2), 960);
  int64_t begin = clock_now(c.r->set.clock);
  for (unsigned i = 1; i <= 32; i++) {
    rig_advance(c.r, 2500000); /* a quarter of the buffer */
    ck_assert_uint_eq(get(&c, PO + PICB, 2), 720);
    ck_assert_int_ge(card_wait(&c, 20000000), 0);
    int64_t now = clock_now(c.r->set.clock) - begin;
    ck_assert_msg(llabs(now - i * 10000000ll) < 50, "%u: at %lld", i, (long long)now);
    ck_assert_uint_eq(get(&c, GLOB_STA, 4), 0x140);
    ck_assert_uint_eq(get(&c, PO + SR, 2), i < 32 ? 0x08 : 0x0f);
    ck_assert_uint_eq(get(&c, PO + CIV, 1), i < 32 ? i : 31);
    ck_assert_uint_eq(get(&c, PO + PIV, 1), (i < 32 ? i + 1 : 32) & 31);
    ck_assert_uint_eq(get(&c, PO + PICB, 2), i < 32 ? 960 : 0);
    set(&c, PO + SR, 2, i < 32 ? 0x1c : 0x08);
    ck_assert_int_eq(card_irq(&c), i == 32); /* the last valid buffer's own interrupt */
  }
  set(&c, PO + SR, 2, 0x1c);
  ck_assert_int_eq(card_irq(&c), 0);
  ck_assert_uint_eq(get(&c, PO + SR, 2), 0x03);
  rig_advance(c.r, NS_PER_SEC);
  ck_assert(clock_deadline(c.r->set.clock) == INT64_MAX);
  uint64_t first = card_heard(&c);
  ck_assert_int_eq(memcmp(c.b.take.frames + first, (uint8_t *)c.ram->host + 0x100000, 32 * 1920), 0);
  ck_assert_uint_eq(c.b.take.frames[first + 32 * 480].left, 0);
  set(&c, PO + LVI, 1, 2); /* three more */
  ck_assert_uint_eq(get(&c, PO + SR, 2), 0);
  ck_assert_uint_eq(get(&c, PO + CIV, 1), 0);
  for (unsigned i = 0; i < 3; i++) {
    ck_assert_int_ge(card_wait(&c, 20000000), 0);
    set(&c, PO + SR, 2, 0x1c);
  }
  ck_assert_uint_eq(get(&c, PO + SR, 2), 0x03);
  ck_assert_uint_eq(get(&c, PO + CIV, 1), 2);
  /* Halted, a new LVI, and only then told to run: the next buffer, not the old one. */
  set(&c, PO + CR, 1, 0);
  set(&c, PO + LVI, 1, 4);
  set(&c, PO + CR, 1, 1);
  ck_assert_uint_eq(get(&c, PO + CIV, 1), 3);
  set(&c, PO + CR, 1, 0);
  set(&c, PO + CR, 1, 2); /* reset */
  ck_assert_uint_eq(get(&c, PO + CR, 1), 0);
  ck_assert_uint_eq(get(&c, PO + CIV, 1), 0);
  ck_assert_uint_eq(get(&c, PO, 4), 0);
  ck_assert_uint_eq(get(&c, PO + SR, 2), 1);
  card_free(&c);
}
END_TEST

START_TEST(pause) {
  struct card c;
  setup(&c);
  card_fill(&c, 0x100000, 19200);
  descriptor(&c, 0, 0x100000, 9600);
  set(&c, PO + CR, 1, 0x01);
  rig_advance(c.r, 30000000);
  set(&c, PO + CR, 1, 0x00);
  ck_assert_uint_eq(get(&c, PO + PICB, 2), 9600 - 2880);
  ck_assert_uint_eq(get(&c, PO + SR, 2), 1);
  rig_advance(c.r, NS_PER_SEC);
  ck_assert_uint_eq(get(&c, PO + PICB, 2), 9600 - 2880);
  set(&c, PO + CR, 1, 0x01);
  rig_advance(c.r, 10000000);
  ck_assert_uint_eq(get(&c, PO + PICB, 2), 9600 - 3840);
  card_free(&c);
}
END_TEST

START_TEST(empty_buffers) { /* of length 0: passed over at once; a ring of nothing else ends nowhere, but
                               costs little */
  struct card c;
  setup(&c);
  card_fill(&c, 0x100000, 4000);
  descriptor(&c, 0, 0x100000, 1000);
  descriptor(&c, 1, 0x100000, 0 | IOC);
  descriptor(&c, 2, 0x100000, 1); /* half a frame */
  descriptor(&c, 3, 0x1007d0, 1000 | IOC);
  set(&c, PO + LVI, 1, 3);
  set(&c, PO + CR, 1, 0x11);
  rig_advance(c.r, NS_PER_SEC / 2);
  ck_assert_uint_eq(get(&c, PO + SR, 2), 0x0f);
  uint64_t first = card_heard(&c);
  ck_assert_int_eq(memcmp(c.b.take.frames + first, (uint8_t *)c.ram->host + 0x100000, 4000), 0);
  set(&c, PO + CR, 1, 0);
  set(&c, PO + CR, 1, 2);
  set(&c, PO, 4, LIST);
  memset((uint8_t *)c.ram->host + LIST, 0, 256);
  for (unsigned i = 0; i < 32; i++)
    descriptor(&c, i, 0x100000, i == 31 ? 0 : BUP);
  set(&c, PO + LVI, 1, 31);
  set(&c, PO + CR, 1, 1);
  for (unsigned i = 0; i < 100; i++) {
    set(&c, PO + LVI, 1, (get(&c, PO + CIV, 1) + 31) & 31);
    rig_advance(c.r, 1000000);
  }
  card_free(&c);
}
END_TEST

START_TEST(rates) { /* with VRA the time of a buffer is that of its rate, and a tone keeps its pitch */
  static const uint16_t rates[] = {8000, 11025, 22050, 44100};
  for (unsigned k = 0; k < 4; k++) {
    struct card c;
    setup(&c);
    unsigned frames = rates[k];
    for (unsigned i = 0; i < frames; i++) {
      int16_t x[2] = {(int16_t)lrint(12000 * sin(2 * M_PI * 440 * i / rates[k])), 0};
      memcpy((uint8_t *)c.ram->host + 0x100000 + 4 * i, x, 4);
    }
    for (unsigned i = 0; i < 10; i++)
      descriptor(&c, i, 0x100000 + i * (frames / 10) * 4, frames / 10 * 2 | (i == 9 ? IOC : 0));
    set_codec(&c, 0x2a, 1);
    set_codec(&c, 0x2c, rates[k]);
    set(&c, PO + LVI, 1, 9);
    set(&c, PO + CR, 1, 0x11);
    int64_t took = card_wait(&c, 2 * NS_PER_SEC), expected = muldiv64(frames / 10 * 10, NS_PER_SEC, rates[k]);
    ck_assert_msg(llabs(took - expected) < 50, "%u Hz: %lld ns", rates[k], (long long)took);
    rig_advance(c.r, 100000000);
    double rest, level = fit(c.b.take.frames + 9600, 36000, 440, &rest);
    ck_assert_msg(fabs(level - 12000) < 60 && rest < -70, "%u Hz: %g, %g dB", rates[k], level, rest);
    card_free(&c);
  }
}
END_TEST

START_TEST(volumes) {
  struct card c;
  setup(&c);
  int16_t x[2] = {10000, 10000};
  for (unsigned i = 0; i < 480; i++)
    memcpy((uint8_t *)c.ram->host + 0x100000 + 4 * i, x, 4);
  for (unsigned i = 0; i < 32; i++)
    descriptor(&c, i, 0x100000, 960);
  set(&c, PO + CR, 1, 1);
  static const struct {
    uint8_t reg;
    uint16_t value;
    int left, right;
  } cases[] = {{0x02, 0x0004, 10000, 5012},  {0x02, 0x8000, 0, 0},         {0x02, 0x0000, 10000, 10000},
               {0x18, 0x0c08, 5012, 10000},  {0x18, 0x0000, 32767, 32767}, {0x18, 0x8808, 0, 0},
               {0x18, 0x0808, 10000, 10000}, {0x26, 0x0200, 0, 0},         {0x26, 0x0000, 10000, 10000}};
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    set_codec(&c, cases[i].reg, cases[i].value);
    for (unsigned k = 0; k < 10; k++) { /* the list goes round */
      set(&c, PO + LVI, 1, (get(&c, PO + CIV, 1) + 31) & 31);
      rig_advance(c.r, 10000000);
    }
    const struct audio_frame *f = &c.b.take.frames[c.b.take.count - 1];
    ck_assert_msg(abs(f->left - cases[i].left) <= 20 && abs(f->right - cases[i].right) <= 20, "%u: %d %d", i,
                  f->left, f->right);
  }
  card_free(&c);
}
END_TEST

START_TEST(capture) { /* line and microphone: silence at their rates, no further than the buffers */
  struct card c;
  setup(&c);
  card_fill(&c, 0x100000, 0x10000);
  descriptor(&c, 0, 0x104000, 4800 | IOC);
  set(&c, PI + CR, 1, 0x11);
  int64_t took = card_wait(&c, NS_PER_SEC);
  ck_assert(llabs(took - 50000000) < 50); /* 2400 frames */
  ck_assert_uint_eq(get(&c, GLOB_STA, 4), 0x120);
  const uint8_t *p = (uint8_t *)c.ram->host + 0x104000;
  for (unsigned i = 0; i < 9600; i++)
    ck_assert_uint_eq(p[i], 0);
  ck_assert_uint_ne(p[9600], 0);
  ck_assert_uint_ne(p[-2], 0);
  set(&c, PI + SR, 2, 0x1c);
  descriptor(&c, 0, 0x108000, 4800 | IOC);
  set(&c, MC + CR, 1, 0x11);
  took = card_wait(&c, NS_PER_SEC);
  ck_assert(llabs(took - 100000000) < 50); /* mono: 4800 frames */
  ck_assert_uint_eq(get(&c, GLOB_STA, 4), 0x180);
  card_free(&c);
}
END_TEST

START_TEST(hostile) {
  struct card c;
  setup(&c);
  card_fuzz(&c, NABM, 64, NAM, 128);
  rig_check_fields(c.dev);
  card_free(&c);
}
END_TEST

RIG_SUITE(audio_ac97, identity, mixer_registers, list, pause, empty_buffers, rates, volumes, capture, hostile)
