/* SPDX-License-Identifier: MIT */
/*
 * AC '97 codec (Audio Codec '97 component specification, revision 2.1, section 6 "Mixer interface" and
 * appendix A, variable sample rate audio), identified as SigmaTel's STAC9700 with variable rates: 18-bit
 * volumes of five bits, the power-down bits and what they leave ready.
 *
 * Not modelled: sources other than the DAC, the 3D circuit, loopback, the modem, secondary codecs.
 */
#include "devices/sound/ac97_codec.h"

#include <string.h>

#include "devices/sound/pcm.h"

enum {
  RESET = 0x00,
  MASTER = 0x02,
  PCM_OUT = 0x18,
  POWERDOWN = 0x26,
  EXTENDED_ID = 0x28,
  EXTENDED = 0x2a,
  DAC_RATE = 0x2c,
  ADC_RATE = 0x32,
  MIC_RATE = 0x34,
  VENDOR_ID1 = 0x7c,
  VENDOR_ID2 = 0x7e,
};

#define MUTE 0x8000
#define VRA 0x0001 /* variable rate: extended ID and control */
#define VRM 0x0008 /* the same of the dedicated microphone ADC */
#define RATE_MIN 4000
#define PR0_ADC 0x0100
#define PR1_DAC 0x0200
#define PR2_MIXER 0x0400
#define PR3_REFERENCE 0x0800
#define PR4_LINK 0x1000
#define READY_ADC 1
#define READY_DAC 2
#define READY_ANALOG 4
#define READY_REFERENCE 8
#define READY_ALL 15
#define MAX_STEP 0x1f

/* Defaults and the bits that can be written; what is not here reads 0. */
static const struct {
  uint8_t offset;
  uint16_t reset, writable;
} registers[] = {
    {MASTER, 0x8000, 0x9f1f},       {0x04, 0x8000, 0x9f1f}, /* headphones */
    {0x06, 0x8000, 0x801f},                                 /* mono */
    {0x0a, 0x0000, 0x801e},                                 /* beep */
    {0x0c, 0x8008, 0x801f},                                 /* phone */
    {0x0e, 0x8008, 0x805f},                                 /* microphone */
    {0x10, 0x8808, 0x9f1f},                                 /* line */
    {0x12, 0x8808, 0x9f1f},                                 /* CD */
    {0x14, 0x8808, 0x9f1f},                                 /* video */
    {0x16, 0x8808, 0x9f1f},                                 /* aux */
    {PCM_OUT, 0x8808, 0x9f1f},      {0x1a, 0x0000, 0x0707}, /* record select */
    {0x1c, 0x8000, 0x8f0f},                                 /* record gain */
    {0x1e, 0x8000, 0x800f},                                 /* record gain of the microphone */
    {0x20, 0x0000, 0x8380},                                 /* general purpose */
    {0x22, 0x0000, 0x0003},                                 /* 3D */
    {POWERDOWN, READY_ALL, 0xff00}, {EXTENDED_ID, VRA | VRM, 0}, {EXTENDED, 0x0000, VRA | VRM},
    {DAC_RATE, 48000, 0xffff},      {ADC_RATE, 48000, 0xffff},   {MIC_RATE, 48000, 0xffff},
    {VENDOR_ID1, 0x8384, 0},        {VENDOR_ID2, 0x7600, 0},
};
#define REGISTERS (sizeof registers / sizeof registers[0])

void ac97_codec_reset(struct ac97_codec *c) {
  memset(c->reg, 0, sizeof c->reg);
  for (size_t i = 0; i < REGISTERS; i++)
    c->reg[registers[i].offset / 2] = registers[i].reset;
  c->reg[RESET / 2] = 0x0010; /* headphone output; 18 bits are not claimed */
}

void ac97_codec_wake(struct ac97_codec *c) { c->reg[POWERDOWN / 2] &= (uint16_t)~PR4_LINK; }

static uint16_t ready(uint16_t power) {
  unsigned bits = READY_ALL;
  if (power & PR0_ADC)
    bits &= ~READY_ADC;
  if (power & PR1_DAC)
    bits &= ~READY_DAC;
  if (power & (PR2_MIXER | PR3_REFERENCE))
    bits &= ~READY_ANALOG;
  if (power & PR3_REFERENCE)
    bits &= ~READY_REFERENCE;
  return (uint16_t)bits;
}

uint16_t ac97_codec_read(const struct ac97_codec *c, unsigned offset) {
  return c->reg[offset / 2 % AC97_REGS];
}

/* A volume beyond the five bits is the lowest there is (section 6.3.1). */
static uint16_t saturated(uint16_t value) {
  if (value & 0x2000)
    value |= MAX_STEP << 8;
  if (value & 0x0020)
    value |= MAX_STEP;
  return value;
}

void ac97_codec_write(struct ac97_codec *c, unsigned offset, uint16_t value) {
  if (offset == RESET) {
    ac97_codec_reset(c);
    return;
  }
  for (size_t i = 0; i < REGISTERS; i++) {
    if (registers[i].offset != offset)
      continue;
    if (offset == DAC_RATE || offset == ADC_RATE || offset == MIC_RATE) {
      if (!(c->reg[EXTENDED / 2] & (offset == MIC_RATE ? VRM : VRA)))
        return;
      value = value < RATE_MIN ? RATE_MIN : value > 48000 ? 48000 : value;
    }
    if (offset == MASTER || offset == 0x04 || offset == 0x06)
      value = saturated(value);
    uint16_t fixed =
        offset == POWERDOWN ? ready(value) : registers[i].reset & (uint16_t)~registers[i].writable;
    c->reg[offset / 2] = (value & registers[i].writable) | fixed;
    if (offset == EXTENDED && !(value & VRA))
      c->reg[DAC_RATE / 2] = c->reg[ADC_RATE / 2] = 48000;
    if (offset == EXTENDED && !(value & VRM))
      c->reg[MIC_RATE / 2] = 48000;
  }
}

uint32_t ac97_codec_rate(const struct ac97_codec *c, enum ac97_converter converter) {
  static const uint8_t offset[] = {DAC_RATE, ADC_RATE, MIC_RATE};
  uint32_t rate = c->reg[offset[converter] / 2];
  return rate < RATE_MIN ? RATE_MIN : rate; /* a loaded state may say anything */
}

static uint32_t gain(const struct ac97_codec *c, unsigned shift) {
  uint16_t master = c->reg[MASTER / 2], pcm = c->reg[PCM_OUT / 2];
  uint16_t off = c->reg[POWERDOWN / 2] & (PR1_DAC | PR2_MIXER | PR3_REFERENCE);
  if (((master | pcm) & MUTE) || off)
    return 0;
  return pcm_gain(12 - 1.5 * (pcm >> shift & MAX_STEP) - 1.5 * (master >> shift & MAX_STEP));
}

void ac97_codec_gain(const struct ac97_codec *c, uint32_t *left, uint32_t *right) {
  *left = gain(c, 8);
  *right = gain(c, 0);
}
