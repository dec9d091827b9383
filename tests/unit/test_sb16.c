/* SPDX-License-Identifier: MIT */
/*
 * Sound Blaster 16: what drivers ask the DSP, each kind of transfer with the bytes that it plays and the time
 * of its interrupt, pause and auto-init, ADPCM against hand-computed samples, the mixer's two register sets,
 * interrupt and DMA selection, the MPU-401.
 */
#include "devices/sound/sb16.h"

#include "devices/dma8237.h"
#include "devices/sound/mpu401.h"
#include "devices/sound/opl.h"
#include "tests/unit/chip_rig.h"
#include "tests/unit/spectrum.h"

#define BASE 0x220
#define RESET (BASE + 6)
#define DATA (BASE + 0xa)
#define WRITE (BASE + 0xc)
#define STATUS (BASE + 0xe)
#define ACK16 (BASE + 0xf)
#define MPU 0x330

enum { IRQ9, IRQ5, IRQ7, IRQ10 }; /* lines of the card */

#define TAKE_MAX (AUDIO_RATE * 4)

static struct device *sb16, *dma, *mpu;
static struct audio *audio;
static struct audio_frame take[TAKE_MAX];
static uint64_t taken;

static void take_write(void *opaque, const struct audio_frame *frames, uint64_t count) {
  (void)opaque;
  ck_assert_uint_le(taken + count, TAKE_MAX);
  if (frames)
    memcpy(take + taken, frames, count * sizeof *frames);
  else
    memset(take + taken, 0, count * sizeof *frames);
  taken += count;
}

static void dsp(struct rig *r, uint8_t value) {
  rig_advance(r, 2000);
  ck_assert_uint_eq(rig_in(r, WRITE) & 0x80, 0);
  rig_out(r, WRITE, value);
}

static void dsp2(struct rig *r, uint8_t command, uint8_t a) {
  dsp(r, command);
  dsp(r, a);
}

static void dsp3(struct rig *r, uint8_t command, unsigned word) {
  dsp(r, command);
  dsp(r, (uint8_t)word);
  dsp(r, (uint8_t)(word >> 8));
}

static uint8_t dsp_in(struct rig *r) {
  ck_assert_uint_ne(rig_in(r, STATUS) & 0x80, 0);
  return rig_in(r, DATA);
}

static void mix(struct rig *r, uint8_t reg, uint8_t value) {
  rig_out(r, BASE + 4, reg);
  rig_out(r, BASE + 5, value);
}

static uint8_t mixed(struct rig *r, uint8_t reg) {
  rig_out(r, BASE + 4, reg);
  return rig_in(r, BASE + 5);
}

static void reset(struct rig *r) {
  rig_out(r, RESET, 1);
  rig_advance(r, 3000);
  rig_out(r, RESET, 0);
  rig_advance(r, 100000);
  ck_assert_uint_eq(dsp_in(r), 0xaa);
}

static struct rig *setup(bool listen) {
  struct rig *r = rig_new();
  struct mem_block *ram = mem_block_new(r->set.mem, "ram", 1 << 20);
  mem_map_ram(r->set.mem, 0, 1 << 20, ram, 0);
  audio = NULL;
  taken = 0;
  if (listen) {
    audio = audio_new(r->set.clock);
    audio_set_sink(audio, &(struct audio_sink){.write = take_write});
  }
  dma = rig_add(r, &dma8237_class, &(struct device_args){.id = "dma", .port = {0x00, 0xc0, 0x80}});
  struct opl_config fm = {true, audio};
  struct device *opl =
      rig_add(r, &opl_class, &(struct device_args){.id = "opl", .port = {0x388}, .config = &fm});
  struct sb16_config config = {
      .dma = dma, .opl = opl, .audio = audio, .irq = 5, .dma8 = 1, .dma16 = 5, .version = 0x405};
  sb16 =
      rig_add(r, &sb16_class, &(struct device_args){.id = "sb16", .port = {BASE, 0x201}, .config = &config});
  struct device_args args = {.id = "mpu", .port = {MPU}, .irq = {{sb16_mpu_irq, sb16, 0}}};
  mpu = device_new(&r->set, &mpu401_class, &args);
  return r;
}

static void done(struct rig *r) {
  device_free_all(&r->set);
  audio_free(audio);
  rig_free(r);
}

/* Channel 1 or 5, at 10000h, `count` bytes or words. */
static void program(struct rig *r, int channel, bool repeat, bool to_memory, unsigned count) {
  uint16_t address = channel < 4 ? 0x02 : 0xc4, length = channel < 4 ? 0x03 : 0xc6;
  uint8_t mode = (uint8_t)((repeat ? 0x50 : 0x40) | (to_memory ? 4 : 8) | (channel & 3));
  rig_out(r, channel < 4 ? 0x0a : 0xd4, (uint8_t)(4 | (channel & 3)));
  rig_out(r, channel < 4 ? 0x0c : 0xd8, 0);
  rig_out(r, channel < 4 ? 0x0b : 0xd6, mode);
  rig_out(r, address, 0);
  rig_out(r, address, channel < 4 ? 0 : 0x80); /* words; their page register has no bit 16 */
  rig_out(r, length, (uint8_t)(count - 1));
  rig_out(r, length, (uint8_t)((count - 1) >> 8));
  rig_out(r, channel < 4 ? 0x83 : 0x8b, channel < 4);
  rig_out(r, channel < 4 ? 0x0a : 0xd4, (uint8_t)(channel & 3));
}

static unsigned dma_count(struct rig *r, int channel) {
  rig_out(r, channel < 4 ? 0x0c : 0xd8, 0);
  unsigned low = rig_in(r, channel < 4 ? 0x03 : 0xc6);
  return low | (unsigned)rig_in(r, channel < 4 ? 0x03 : 0xc6) << 8;
}

static void fill(struct rig *r, const uint8_t *bytes, unsigned count) {
  for (unsigned i = 0; i < count; i++)
    mem_write(r->set.mem, 0x10000 + i, 1, bytes[i]);
}

static unsigned edges(struct rig *r) { return r->edges[IRQ5]; }

/* Time until the card's interrupt, which it is then acknowledged; ns. */
static int64_t until_irq(struct rig *r, uint16_t acknowledge) {
  unsigned before = edges(r);
  int64_t begin = clock_now(r->set.clock);
  while (edges(r) == before) {
    int64_t next = clock_deadline(r->set.clock);
    ck_assert_int_lt(next - begin, 10 * NS_PER_SEC);
    rig_advance(r, next - clock_now(r->set.clock));
  }
  ck_assert_int_eq(r->level[IRQ5], 1);
  uint8_t source = acknowledge == STATUS ? 1 : 2;
  ck_assert_uint_eq(mixed(r, 0x82) & 7, source);
  rig_in(r, acknowledge);
  ck_assert_int_eq(r->level[IRQ5], 0);
  ck_assert_uint_eq(mixed(r, 0x82) & 7, 0);
  return clock_now(r->set.clock) - begin;
}

/* Where in what was played these samples (left sides) are, or -1. */
static int find(const int16_t *samples, unsigned count) {
  for (uint64_t at = 0; at + count <= taken; at++) {
    unsigned i = 0;
    while (i < count && take[at + i].left == samples[i])
      i++;
    if (i == count)
      return (int)at;
  }
  return -1;
}

START_TEST(identification) {
  struct rig *r = setup(false);
  ck_assert_uint_eq(rig_in(r, STATUS) & 0x80, 0);
  rig_out(r, RESET, 1);
  ck_assert_uint_ne(rig_in(r, WRITE) & 0x80, 0); /* held in reset */
  rig_advance(r, 3000);
  rig_out(r, RESET, 0);
  ck_assert_uint_eq(rig_in(r, STATUS) & 0x80, 0); /* takes its time */
  rig_advance(r, 100000);
  ck_assert_uint_eq(dsp_in(r), 0xaa);
  ck_assert_uint_eq(rig_in(r, STATUS) & 0x80, 0);
  ck_assert_uint_eq(rig_in(r, DATA), 0xaa); /* the last byte again */
  dsp(r, 0xe1);
  ck_assert_uint_eq(dsp_in(r), 4);
  ck_assert_uint_eq(dsp_in(r), 5);
  dsp2(r, 0xe0, 0x5a);
  ck_assert_uint_eq(dsp_in(r), 0xa5);
  dsp2(r, 0xe4, 0x77);
  dsp(r, 0xe8);
  ck_assert_uint_eq(dsp_in(r), 0x77);
  dsp(r, 0xe3);
  for (const char *c = "COPYRIGHT (C) CREATIVE TECHNOLOGY LTD, 1992."; *c; c++)
    ck_assert_int_eq(dsp_in(r), *c);
  ck_assert_uint_eq(dsp_in(r), 0);
  ck_assert_uint_eq(rig_in(r, STATUS) & 0x80, 0);
  dsp(r, 0xd8);
  ck_assert_uint_eq(dsp_in(r), 0);
  dsp(r, 0xd1);
  dsp(r, 0xd8);
  ck_assert_uint_eq(dsp_in(r), 0xff);
  dsp(r, 0xd3);
  dsp(r, 0xd8);
  ck_assert_uint_eq(dsp_in(r), 0);
  dsp3(r, 0xfa, 0x5512);
  dsp2(r, 0xf9, 0x12);
  ck_assert_uint_eq(dsp_in(r), 0x55);
  dsp(r, 0x20);
  ck_assert_uint_eq(dsp_in(r), 0x80);
  dsp(r, 0xf8);
  ck_assert_uint_eq(dsp_in(r), 0);
  rig_out(r, WRITE, 0xd1); /* busy behind a byte, for a while */
  ck_assert_uint_ne(rig_in(r, WRITE) & 0x80, 0);
  rig_advance(r, 10000);
  ck_assert_uint_eq(rig_in(r, WRITE) & 0x80, 0);
  ck_assert_uint_eq(rig_in(r, 0x201), 0xff); /* no joystick: its one-shots do not end */
  rig_out(r, 0x201, 0);
  rig_advance(r, 10000000);
  ck_assert_uint_eq(rig_in(r, 0x201), 0xff);
  done(r);
}
END_TEST

/* Unknown and unsupported commands take their arguments and nothing else. */
START_TEST(argument_counts) {
  static const struct {
    uint8_t command, count;
  } list[] = {{0x03, 0}, {0x04, 1}, {0x05, 2}, {0x0e, 2}, {0x10, 1}, {0x38, 1}, {0x40, 1},
              {0x41, 2}, {0x42, 2}, {0x48, 2}, {0xf0, 0}, {0xa0, 0}, {0xa8, 0}, {0x30, 0},
              {0x31, 0}, {0xd0, 0}, {0xd9, 0}, {0xff, 0}, {0x60, 0}};
  struct rig *r = setup(false);
  reset(r);
  for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++) {
    dsp(r, list[i].command);
    for (unsigned n = 0; n < list[i].count; n++)
      dsp(r, 0x80);
    ck_assert_uint_eq(rig_in(r, STATUS) & 0x80, 0);
    dsp2(r, 0xe0, list[i].command);
    ck_assert_uint_eq(dsp_in(r), (uint8_t)~list[i].command);
  }
  ck_assert_uint_eq(edges(r), 0);
  done(r);
}
END_TEST

START_TEST(irq_requests) {
  struct rig *r = setup(false);
  reset(r);
  dsp(r, 0xf2);
  ck_assert_uint_eq(edges(r), 0); /* not within the instruction that asks for it */
  until_irq(r, STATUS);
  dsp(r, 0xf3);
  until_irq(r, ACK16);
  dsp(r, 0xf2); /* both: each with an edge of its own */
  rig_advance(r, 20000);
  dsp(r, 0xf3);
  rig_advance(r, 20000);
  ck_assert_uint_eq(edges(r), 4);
  ck_assert_uint_eq(mixed(r, 0x82) & 7, 3);
  rig_in(r, STATUS);
  ck_assert_int_eq(r->level[IRQ5], 1);
  rig_in(r, ACK16);
  ck_assert_int_eq(r->level[IRQ5], 0);
  dsp(r, 0xf2);
  rig_advance(r, 20000);
  reset(r); /* acknowledges, too */
  ck_assert_int_eq(r->level[IRQ5], 0);
  /* To where the mixer says. */
  static const uint8_t select[4] = {1, 2, 4, 8};
  for (int line = 0; line < 4; line++) {
    mix(r, 0x80, select[line]);
    ck_assert_uint_eq(mixed(r, 0x80), select[line]);
    dsp(r, 0xf2);
    rig_advance(r, 20000);
    for (int i = 0; i < 4; i++)
      ck_assert_int_eq(r->level[i], i == line);
    rig_in(r, STATUS);
    ck_assert_int_eq(r->level[line], 0);
  }
  done(r);
}
END_TEST

/* The answer of E2h, in memory by DMA: as a driver computes it. */
START_TEST(dma_identification) {
  static const uint8_t mask[4] = {0x96, 0xa5, 0x69, 0x5a};
  struct rig *r = setup(false);
  reset(r);
  uint8_t sum = 0xaa;
  for (int i = 0; i < 9; i++) {
    uint8_t byte = (uint8_t)(i * 73 + 5);
    program(r, 1, false, true, 1);
    dsp2(r, 0xe2, byte);
    sum = (uint8_t)(sum + (byte ^ mask[i & 3]));
    ck_assert_uint_eq(mem_read(r->set.mem, 0x10000, 1), sum);
    ck_assert_uint_eq(rig_in(r, 8) & 0x22, 0x02); /* terminal count, no request */
  }
  dsp2(r, 0xe2, 0x11); /* the channel is opened later */
  sum = (uint8_t)(sum + (0x11 ^ mask[1]));
  program(r, 1, false, true, 1);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x10000, 1), sum);
  done(r);
}
END_TEST

/* 14h at each time constant: the block takes its samples' time to the nanosecond, and the count moves on. */
START_TEST(single_cycle) {
  struct rig *r = setup(false);
  reset(r);
  for (unsigned period = 20; period <= 256; period += 59) {
    dsp2(r, 0x40, (uint8_t)(256 - period));
    program(r, 1, false, false, 1000);
    dsp3(r, 0x14, 999);
    rig_advance(r, (int64_t)period * 1000 * 500);
    unsigned left = dma_count(r, 1);
    ck_assert_uint_ge(left, 499);
    ck_assert_uint_le(left, 499 + 1000 / period + 1);
    ck_assert_int_eq(until_irq(r, STATUS), (int64_t)period * 1000 * 500);
    ck_assert_uint_eq(dma_count(r, 1), 0xffff);
    ck_assert_uint_eq(rig_in(r, 8) & 0x22, 0x02);
    unsigned before = edges(r);
    rig_advance(r, 1000000000);
    ck_assert_uint_eq(edges(r), before); /* it was the only one */
  }
  /* The DSP's block is half of the DMA controller's; its next command goes on in the middle. */
  dsp2(r, 0x40, 256 - 100);
  program(r, 1, false, false, 200);
  for (int i = 0; i < 2; i++) {
    dsp3(r, 0x14, 99);
    ck_assert_int_eq(until_irq(r, STATUS), 10000000);
    ck_assert_uint_eq(dma_count(r, 1), i ? 0xffff : 99);
  }
  done(r);
}
END_TEST

START_TEST(auto_init) {
  static const struct {
    uint8_t start, exit;
    bool high;
  } kinds[] = {{0x1c, 0xda, false}, {0x90, 0xda, true}};
  struct rig *r = setup(false);
  reset(r);
  for (unsigned k = 0; k < 2; k++) {
    dsp3(r, 0x48, 255);
    dsp2(r, 0x40, 256 - 50);
    program(r, 1, true, false, 1024);
    dsp(r, kinds[k].start);
    for (int i = 0; i < 9; i++) { /* twice around the buffer, without drift */
      ck_assert_int_eq(until_irq(r, STATUS), 256 * 50000);
      ck_assert_uint_eq(dma_count(r, 1), 1023 - (unsigned)(i + 1) % 4 * 256);
    }
    rig_advance(r, 1000000);
    dsp(r, kinds[k].exit);
    until_irq(r, STATUS); /* the block in work is the last */
    unsigned before = edges(r);
    rig_advance(r, 100000000);
    ck_assert_uint_eq(edges(r), before);
    ck_assert_uint_eq(rig_in(r, 8) & 0x20, 0);
  }
  dsp3(r, 0x48, 255); /* 91h: high speed, one block */
  program(r, 1, true, false, 1024);
  dsp(r, 0x91);
  ck_assert_int_eq(until_irq(r, STATUS), 256 * 50000);
  rig_advance(r, 100000000);
  ck_assert_uint_eq(dma_count(r, 1), 1023 - 256);
  /* 45h: from the block after on again without end. */
  dsp(r, 0x1c);
  dsp(r, 0xda);
  dsp(r, 0x45);
  until_irq(r, STATUS);
  ck_assert_int_eq(until_irq(r, STATUS), 256 * 50000);
  reset(r); /* ends everything */
  unsigned before = edges(r);
  rig_advance(r, 100000000);
  ck_assert_uint_eq(edges(r), before);
  done(r);
}
END_TEST

START_TEST(pause) {
  struct rig *r = setup(false);
  reset(r);
  dsp2(r, 0x40, 256 - 100);
  program(r, 1, false, false, 1000);
  dsp3(r, 0x14, 999);
  rig_advance(r, 40000000);
  rig_out(r, WRITE, 0xd0);
  unsigned left = dma_count(r, 1);
  ck_assert_uint_eq(left, 599); /* what is due has been brought over */
  rig_advance(r, 500000000);
  ck_assert_uint_eq(dma_count(r, 1), left);
  ck_assert_uint_eq(edges(r), 0);
  rig_out(r, WRITE, 0xd4);
  ck_assert_int_eq(until_irq(r, STATUS), 60000000);
  /* The same for 16 bits: D5h, D6h. */
  dsp3(r, 0x41, 10000 >> 8 | (10000 & 0xff) << 8);
  program(r, 5, false, false, 1000);
  dsp(r, 0xb0);
  dsp3(r, 0x10, 999);
  rig_advance(r, 40000000);
  rig_out(r, WRITE, 0xd5);
  left = dma_count(r, 5);
  ck_assert_uint_eq(left, 599);
  rig_advance(r, 500000000);
  ck_assert_uint_eq(dma_count(r, 5), left);
  rig_out(r, WRITE, 0xd6);
  ck_assert_int_eq(until_irq(r, ACK16), 60000000);
  done(r);
}
END_TEST

/* The controller masks the channel in the middle: the transfer waits for it. */
START_TEST(masked_channel) {
  struct rig *r = setup(false);
  reset(r);
  dsp2(r, 0x40, 256 - 100);
  program(r, 1, false, false, 1000);
  dsp3(r, 0x14, 999);
  rig_advance(r, 50000000);
  rig_out(r, 0x0a, 5);
  rig_advance(r, 700000000);
  ck_assert_uint_eq(edges(r), 0);
  unsigned left = dma_count(r, 1);
  ck_assert_uint_ge(left, 499);
  ck_assert_uint_le(left, 511); /* what the last millisecond would have brought */
  rig_out(r, 0x0a, 1);
  ck_assert_int_eq(until_irq(r, STATUS), (left + 1) * 100000);
  program(r, 1, false, false, 100); /* the controller ends first, and is programmed anew */
  dsp3(r, 0x14, 149);
  rig_advance(r, 30000000);
  ck_assert_uint_eq(edges(r), 1);
  program(r, 1, false, false, 50);
  ck_assert_int_eq(until_irq(r, STATUS), 5000000);
  done(r);
}
END_TEST

static void rate48000(struct rig *r) { dsp3(r, 0x41, 48000 >> 8 | (48000 & 0xff) << 8); }

/* Bxh and Cxh at the mixer's rate, which leaves the samples alone: each format as it should be heard. */
START_TEST(formats) {
  struct rig *r = setup(true);
  uint8_t bytes[512];
  int16_t want[64];
  for (unsigned format = 0; format < 8; format++) {
    bool wide = format & 4, stereo = format & 2, sign = format & 1;
    for (unsigned i = 0; i < 512; i++)
      bytes[i] = (uint8_t)(i * 37 + 11 + format * 3);
    fill(r, bytes, 512);
    for (unsigned i = 0; i < 64; i++) {
      unsigned at = i << (wide + stereo);
      uint16_t v = wide ? (uint16_t)(bytes[at] | bytes[at + 1] << 8) : (uint16_t)(bytes[at] << 8);
      want[i] = (int16_t)(sign ? v : v ^ 0x8000);
    }
    reset(r);
    rate48000(r);
    taken = 0;
    unsigned units = 64u << stereo;
    program(r, wide ? 5 : 1, false, false, units);
    dsp(r, wide ? 0xb0 : 0xc0);
    dsp3(r, (uint8_t)(stereo << 5 | sign << 4), units - 1);
    ck_assert_int_eq(until_irq(r, wide ? ACK16 : STATUS), (64 * NS_PER_SEC + 47999) / 48000);
    rig_advance(r, 100000000);
    int at = find(want, 64);
    ck_assert_msg(at >= 0, "format %u", format);
    for (unsigned i = 0; i < 64; i++) {
      unsigned from = (i << (wide + stereo)) + (stereo ? wide + 1u : 0);
      uint16_t v = wide ? (uint16_t)(bytes[from] | bytes[from + 1] << 8) : (uint16_t)(bytes[from] << 8);
      ck_assert_int_eq(take[(unsigned)at + i].right, (int16_t)(sign ? v : v ^ 0x8000));
    }
  }
  done(r);
}
END_TEST

/* 16-bit auto-init, with 16-bit samples through the 8-bit channel too when there is no other. */
START_TEST(wide_auto_init) {
  struct rig *r = setup(false);
  for (int narrow = 0; narrow < 2; narrow++) {
    reset(r);
    mix(r, 0x81, narrow ? 0x02 : 0x22);
    dsp3(r, 0x41, 44100 >> 8 | (44100 & 0xff) << 8);
    if (narrow)
      program(r, 1, true, false, 4096);
    else
      program(r, 5, true, false, 2048);
    int64_t begin = clock_now(r->set.clock) + 4000 * 2;
    dsp(r, 0xb6);
    dsp3(r, 0x30, 1023);
    begin = clock_now(r->set.clock);
    for (int i = 1; i <= 50; i++) {
      until_irq(r, ACK16);
      ck_assert_int_eq(clock_now(r->set.clock) - begin, (512ll * i * NS_PER_SEC + 44099) / 44100);
    }
    dsp(r, 0xd9);
    until_irq(r, ACK16);
    unsigned before = edges(r);
    rig_advance(r, 100000000);
    ck_assert_uint_eq(edges(r), before);
  }
  done(r);
}
END_TEST

/* The Sound Blaster Pro's stereo: a switch of its mixer, and the time constant counts both channels. */
START_TEST(pro_stereo) {
  struct rig *r = setup(false);
  reset(r);
  mix(r, 0x0e, 0x02);
  dsp2(r, 0x40, 256 - 50); /* 10 kHz a side */
  dsp3(r, 0x48, 1999);
  program(r, 1, true, false, 2000);
  dsp(r, 0x90);
  ck_assert_int_eq(until_irq(r, STATUS), 100000000);
  done(r);
}
END_TEST

START_TEST(recording) {
  struct rig *r = setup(false);
  reset(r);
  uint8_t noise[200];
  memset(noise, 0x33, sizeof noise);
  fill(r, noise, 200);
  dsp2(r, 0x40, 256 - 100);
  program(r, 1, false, true, 100);
  dsp3(r, 0x24, 99);
  ck_assert_int_eq(until_irq(r, STATUS), 10000000);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x10000, 1), 0x80);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x10063, 1), 0x80);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x10064, 1), 0x33);
  program(r, 5, false, true, 100);
  dsp(r, 0xb8);
  dsp3(r, 0x10, 99);
  ck_assert_int_eq(until_irq(r, ACK16), 10000000);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x100c6, 2), 0);
  done(r);
}
END_TEST

START_TEST(silence) {
  struct rig *r = setup(false);
  reset(r);
  dsp2(r, 0x40, 256 - 100);
  dsp3(r, 0x80, 499);
  ck_assert_int_eq(until_irq(r, STATUS), 50000000);
  done(r);
}
END_TEST

/* Codes and what they decode to, by hand: the step doubles after large magnitudes and halves after zero. */
START_TEST(adpcm) {
  static const struct {
    uint8_t command, byte_count, bytes[5], sample_count, samples[16];
  } cases[] = {
      /* 4 bits: reference 80h; 7: +7, up; 7: +15, up; F: -30, up; F: -60; 0: +4, down; 0: +2, down; 0: +1,
         down */
      {0x75, 5, {0x80, 0x77, 0xff, 0x00, 0x01}, 8, {135, 150, 120, 60, 64, 66, 67, 68}},
      /* 2.6 bits, codes 3 3 2, 7 7 4, 1 0 2: +3 up, +7 up, +10, -14 up, -28 up, -5 down, +12, +4 down, +10 */
      {0x77, 4, {0x80, 0x6d, 0xfe, 0x21}, 9, {131, 138, 148, 134, 106, 101, 113, 117, 127}},
      /* 2 bits, codes 1 1 1 1, 3 3 0 0: +1, +3, +6, +12, -24, -48, +16, +8; each up, the last two down */
      {0x17, 3, {0x80, 0x55, 0xf0}, 8, {129, 132, 138, 150, 126, 78, 94, 102}},
  };
  struct rig *r = setup(true);
  for (unsigned c = 0; c < 3; c++) {
    int16_t want[16];
    reset(r);
    rate48000(r);
    fill(r, cases[c].bytes, cases[c].byte_count);
    for (unsigned i = 0; i < cases[c].sample_count; i++)
      want[i] = (int16_t)((cases[c].samples[i] - 128) * 256);
    taken = 0;
    program(r, 1, false, false, cases[c].byte_count);
    dsp3(r, cases[c].command, cases[c].byte_count - 1u);
    ck_assert_int_eq(until_irq(r, STATUS), (cases[c].sample_count * NS_PER_SEC + 47999) / 48000);
    rig_advance(r, 100000000);
    ck_assert_msg(find(want, cases[c].sample_count) >= 0, "case %u", c);
  }
  /* Auto-init with 48h; the reference byte is read once. */
  fill(r, cases[0].bytes, 5);
  dsp3(r, 0x48, 4);
  program(r, 1, true, false, 5);
  dsp(r, 0x7d);
  ck_assert_int_eq(until_irq(r, STATUS), (8 * NS_PER_SEC + 47999) / 48000);
  until_irq(r, STATUS);
  dsp(r, 0xda);
  done(r);
}
END_TEST

/* 10h: a square wave written by hand. */
START_TEST(direct_output) {
  struct rig *r = setup(true);
  reset(r);
  for (int i = 0; i < 1000; i++) {
    rig_out(r, WRITE, 0x10);
    rig_out(r, WRITE, i & 1 ? 0xc0 : 0x40);
    rig_advance(r, 1000000);
  }
  rig_advance(r, 1000000000);
  ck_assert_double_eq_tol(tone(take + AUDIO_RATE / 5, AUDIO_RATE / 2, AUDIO_RATE, 500, LEFT),
                          16384 * 4 / M_PI, 60);
  ck_assert_double_eq_tol(tone(take + AUDIO_RATE / 5, AUDIO_RATE / 2, AUDIO_RATE, 1500, LEFT),
                          16384 * 4 / M_PI / 3, 60);
  ck_assert_int_eq(peak(take + AUDIO_RATE * 3 / 2, AUDIO_RATE / 4, LEFT), 0); /* a constant is not sound */
  done(r);
}
END_TEST

START_TEST(mixer_registers) {
  static const uint8_t pairs[][2] = {{0x22, 0x30}, {0x04, 0x32}, {0x26, 0x34}, {0x28, 0x36}, {0x2e, 0x38}};
  static const uint8_t masks[][2] = {{0x30, 0xf8}, {0x31, 0xf8}, {0x3a, 0xf8}, {0x3b, 0xc0}, {0x3c, 0x1f},
                                     {0x3d, 0x7f}, {0x3e, 0x7f}, {0x3f, 0xc0}, {0x40, 0xc0}, {0x41, 0xc0},
                                     {0x42, 0xc0}, {0x43, 0x01}, {0x44, 0xf0}, {0x45, 0xf0}, {0x46, 0xf0},
                                     {0x47, 0xf0}, {0x80, 0x0f}, {0x81, 0xeb}};
  struct rig *r = setup(false);
  for (unsigned i = 0; i < sizeof masks / 2; i++) {
    uint8_t before = mixed(r, masks[i][0]);
    mix(r, masks[i][0], 0xff);
    ck_assert_uint_eq(mixed(r, masks[i][0]), masks[i][1]);
    mix(r, masks[i][0], 0);
    ck_assert_uint_eq(mixed(r, masks[i][0]), 0);
    mix(r, masks[i][0], before);
  }
  for (unsigned i = 0; i < 5; i++) {
    mix(r, pairs[i][0], 0x5c);
    ck_assert_uint_eq(mixed(r, pairs[i][0]), 0x5c);
    ck_assert_uint_eq(mixed(r, pairs[i][1]), 0x58);
    ck_assert_uint_eq(mixed(r, pairs[i][1] + 1), 0xc8);
    mix(r, pairs[i][1], 0xa0);
    ck_assert_uint_eq(mixed(r, pairs[i][0]), 0xac);
  }
  mix(r, 0x80, 0x08);
  mix(r, 0x81, 0x42);
  mix(r, 0x00, 0);
  ck_assert_uint_eq(mixed(r, 0x30), 0xf8);
  ck_assert_uint_eq(mixed(r, 0x38), 0);
  ck_assert_uint_eq(mixed(r, 0x80), 0x08); /* the settings of the card survive */
  ck_assert_uint_eq(mixed(r, 0x81), 0x42);
  ck_assert_uint_eq(mixed(r, 0x82), 0x40); /* DSP 4.05 */
  rig_out(r, BASE + 4, 0x22);
  ck_assert_uint_eq(rig_in(r, BASE + 4), 0x22);
  done(r);
}
END_TEST

/* Volumes: 2 dB a step for either side, of master and voice; 6 dB for the output gain. */
START_TEST(volumes) {
  static const struct {
    uint8_t master, voice, gain;
    double db;
  } cases[] = {{0xf8, 0xf8, 0, 0},
               {0xe8, 0xf8, 0, -4},
               {0xf8, 0xc0, 0, -14},
               {0xc0, 0xc0, 0, -28},
               {0xc0, 0xc0, 0x40, -22}};
  struct rig *r = setup(true);
  uint8_t wave[96];
  for (int i = 0; i < 96; i++)
    wave[i] = i % 48 < 24 ? 0xc0 : 0x40;
  fill(r, wave, 96);
  for (unsigned c = 0; c < 5; c++) {
    reset(r);
    rate48000(r);
    mix(r, 0x30, cases[c].master);
    mix(r, 0x31, 0);
    mix(r, 0x32, cases[c].voice);
    mix(r, 0x41, cases[c].gain);
    taken = 0;
    program(r, 1, true, false, 96);
    dsp(r, 0xc6);
    dsp3(r, 0, 95);
    rig_advance(r, 200000000);
    ck_assert_double_eq_tol(20 * log10(peak(take + 4800, 2400, LEFT) / 16384.0), cases[c].db, 0.05);
    ck_assert_int_lt(peak(take + 4800, 2400, RIGHT), 20);
    rig_in(r, STATUS);
  }
  done(r);
}
END_TEST

/* Both engines at once, 8 bits one way and 16 the other, as drivers in full duplex do. */
START_TEST(both_at_once) {
  struct rig *r = setup(false);
  reset(r);
  dsp2(r, 0x40, 256 - 100);
  program(r, 1, true, true, 100);
  program(r, 5, true, false, 200);
  dsp(r, 0xce);
  dsp3(r, 0x00, 99);
  dsp(r, 0xb6);
  dsp3(r, 0x10, 199);
  unsigned eight = 0, sixteen = 0;
  for (int i = 0; i < 1000; i++) {
    rig_advance(r, 100000);
    uint8_t source = mixed(r, 0x82) & 7;
    eight += source & 1;
    sixteen += source >> 1 & 1;
    if (source & 1)
      rig_in(r, STATUS);
    if (source & 2)
      rig_in(r, ACK16);
  }
  ck_assert_uint_ge(eight, 9);
  ck_assert_uint_le(eight, 10);
  ck_assert_uint_ge(sixteen, 4);
  ck_assert_uint_le(sixteen, 5);
  dsp(r, 0xd0); /* one stops, the other runs on */
  rig_advance(r, 40000000);
  ck_assert_uint_eq(mixed(r, 0x82) & 7, 2);
  done(r);
}
END_TEST

START_TEST(midi) {
  struct rig *r = setup(false);
  ck_assert_uint_eq(rig_in(r, MPU + 1) & 0xc0, 0x80);
  rig_out(r, MPU + 1, 0xff);
  ck_assert_uint_eq(rig_in(r, MPU + 1) & 0xc0, 0);
  ck_assert_uint_eq(mixed(r, 0x82) & 7, 4);
  ck_assert_int_eq(r->level[IRQ5], 1);
  ck_assert_uint_eq(rig_in(r, MPU), 0xfe);
  ck_assert_int_eq(r->level[IRQ5], 0);
  ck_assert_uint_eq(rig_in(r, MPU + 1) & 0xc0, 0x80);
  rig_out(r, MPU, 0x90);
  ck_assert_uint_eq(mpu401_sent(mpu), 0); /* not in UART mode yet */
  rig_out(r, MPU + 1, 0x3f);
  ck_assert_uint_eq(rig_in(r, MPU), 0xfe);
  for (int i = 0; i < 3; i++)
    rig_out(r, MPU, 0x90);
  ck_assert_uint_eq(mpu401_sent(mpu), 3);
  rig_out(r, MPU + 1, 0xff); /* leaves UART mode, silently */
  ck_assert_uint_eq(rig_in(r, MPU + 1) & 0xc0, 0x80);
  rig_out(r, MPU + 1, 0xff);
  ck_assert_uint_eq(rig_in(r, MPU), 0xfe);
  /* The DSP's own: 38h a byte; 34h all, until a reset that only ends that. */
  reset(r);
  dsp2(r, 0x38, 0xe1);
  ck_assert_uint_eq(rig_in(r, STATUS) & 0x80, 0);
  dsp(r, 0x34);
  dsp(r, 0xe1);
  ck_assert_uint_eq(rig_in(r, STATUS) & 0x80, 0);
  rig_out(r, RESET, 1);
  rig_out(r, RESET, 0);
  rig_advance(r, 1000000);
  ck_assert_uint_eq(rig_in(r, STATUS) & 0x80, 0);
  dsp(r, 0xe1);
  ck_assert_uint_eq(dsp_in(r), 4);
  done(r);
}
END_TEST

static void stir(struct rig *r, struct device *dev) {
  static const uint8_t starts[] = {0x14, 0x1c, 0x1f, 0x75, 0x7d, 0x80, 0x90,
                                   0xb6, 0xbe, 0xc6, 0xce, 0xb0, 0xc0};
  uint64_t x = rig_random(r);
  (void)dev;
  program(r, x & 1 ? 1 : 5, x & 2, x & 4, (unsigned)(x >> 8) % 65536 + 1);
  rig_out(r, WRITE, starts[(x >> 24) % sizeof starts]);
}

static void ignore(void *opaque, const struct audio_frame *frames, uint64_t count) {
  (void)opaque, (void)frames, (void)count;
}

START_TEST(fuzz) {
  static const uint16_t ports[] = {WRITE,   WRITE,  WRITE, WRITE, BASE + 4, BASE + 5, BASE + 5, RESET,
                                   DATA,    STATUS, ACK16, 0x388, 0x389,    0x38a,    0x38b,    MPU,
                                   MPU + 1, 0x0a,   0x0b,  0x03,  0xd4,     0xd6,     0x201,    0x0f};
  struct rig *r = setup(true);
  audio_set_sink(audio, &(struct audio_sink){.write = ignore}); /* voices and mixer work, too */
  rig_fuzz_ports(r, ports, sizeof ports / sizeof ports[0], stir, sb16);
  rig_check_fields(sb16);
  rig_check_fields(mpu);
  done(r);
}
END_TEST

RIG_SUITE(sb16, identification, argument_counts, irq_requests, dma_identification, single_cycle, auto_init,
          pause, masked_channel, formats, wide_auto_init, pro_stereo, recording, silence, adpcm,
          direct_output, mixer_registers, volumes, both_at_once, midi, fuzz)
