/* SPDX-License-Identifier: MIT */
/*
 * Sound Blaster 16: ports, interrupts and the CT1745 mixer (Creative, "Sound Blaster Series Hardware
 * Programming Guide", ch. 2 to 4 and appendix A). The volumes of voice and FM chip act; those of CD, line,
 * microphone and PC speaker, the switches, the tone controls and the gain of recordings are kept only.
 * Register 82h's high nibble tells the DSP's version, as drivers know it.
 *
 * Volumes come up at 0 dB, where Creative's start-up utilities or users would put them, not at the
 * guide's -14 dB for each of master and source.
 */
#include "devices/sound/sb16.h"

#include <math.h>
#include <string.h>

#include "devices/sound/opl.h"
#include "devices/sound/sb16_int.h"

enum {
  MIX_RESET = 0x00,
  MIX_VOICE_PRO = 0x04, /* 04h-2Eh: the Sound Blaster Pro's registers, two nibbles each */
  MIX_MIC_PRO = 0x0a,
  MIX_FILTER_IN = 0x0c,
  MIX_STEREO = 0x0e,
  MIX_MASTER_PRO = 0x22,
  MIX_MIDI_PRO = 0x26,
  MIX_CD_PRO = 0x28,
  MIX_LINE_PRO = 0x2e,
  MIX_MASTER = 0x30, /* left, right; five bits on top */
  MIX_VOICE = 0x32,
  MIX_MIDI = 0x34,
  MIX_CD = 0x36,
  MIX_LINE = 0x38,
  MIX_MIC = 0x3a,
  MIX_SPEAKER = 0x3b,
  MIX_OUTPUT = 0x3c,
  MIX_INPUT = 0x3d,
  MIX_GAIN_IN = 0x3f,
  MIX_GAIN_OUT = 0x41,
  MIX_AGC = 0x43,
  MIX_TREBLE = 0x44,
  MIX_BASS = 0x46,
  MIX_IRQ = 0x80,
  MIX_DMA = 0x81,
  MIX_IRQ_STATUS = 0x82,
};

#define LEVEL_ONE 0xf8 /* 0 dB */

static const uint8_t irq_numbers[4] = {2, 5, 7, 10}; /* by the bits of register 80h */

/* --- interrupts --- */

static void update_line(struct sb16 *s) {
  if (s->line >= 0)
    irq_set(&s->dev.irq[s->line], s->irqs != 0);
}

/* Each event makes an edge, or one that waits for its acknowledgement would hide the others. */
void sb16_raise(struct sb16 *s, uint8_t irqs) {
  if (s->irqs && s->line >= 0)
    irq_lower(&s->dev.irq[s->line]);
  s->irqs |= irqs;
  update_line(s);
}

void sb16_lower(struct sb16 *s, uint8_t irqs) {
  s->irqs &= (uint8_t)~irqs;
  update_line(s);
}

void sb16_mpu_irq(void *sb16, int n, int level) {
  (void)n;
  if (level)
    sb16_raise(sb16, SB16_IRQ_MPU);
  else
    sb16_lower(sb16, SB16_IRQ_MPU);
}

static void select_irq(struct sb16 *s) {
  int line = -1;
  for (int i = 3; i >= 0; i--)
    if (s->mixer[MIX_IRQ] >> i & 1)
      line = i;
  if (line == s->line)
    return;
  if (s->line >= 0)
    irq_lower(&s->dev.irq[s->line]);
  s->line = (int8_t)line;
  update_line(s);
}

/* The channel that register 81h selects; the lowest, if more than one. */
int sb16_channel(const struct sb16 *s, bool wide) {
  uint8_t select = s->mixer[MIX_DMA];
  for (int channel = wide ? 5 : 0; channel < 8; channel++)
    if (select >> channel & 1)
      return channel < 4 || wide ? channel : -1;
  return wide ? sb16_channel(s, false) : -1;
}

/* --- mixer --- */

bool sb16_pro_stereo(const struct sb16 *s) { return s->mixer[MIX_STEREO] & 2; }

/* 2 dB a step; the guide's -62 dB at the lowest. */
static double decibels(uint8_t level) { return (level >> 3) * 2 - 62; }

static uint32_t gain(const struct sb16 *s, int source, int side) {
  double db = decibels(s->mixer[MIX_MASTER + side]) + decibels(s->mixer[source + side]);
  double g = pow(10, db / 20) * (1 << (s->mixer[MIX_GAIN_OUT + side] >> 6));
  return (uint32_t)((g < 4 ? g : 4) * AUDIO_GAIN_ONE);
}

static void update_volume(struct sb16 *s) {
  audio_voice_gain(s->voice, gain(s, MIX_VOICE, 0), gain(s, MIX_VOICE, 1));
  if (s->config.opl)
    opl_gain(s->config.opl, gain(s, MIX_MIDI, 0), gain(s, MIX_MIDI, 1));
}

/* The SB16 register pair behind a Sound Blaster Pro volume; 0: none. */
static uint8_t pro_volume(uint8_t reg) {
  switch (reg) {
  case MIX_VOICE_PRO: return MIX_VOICE;
  case MIX_MASTER_PRO: return MIX_MASTER;
  case MIX_MIDI_PRO: return MIX_MIDI;
  case MIX_CD_PRO: return MIX_CD;
  case MIX_LINE_PRO: return MIX_LINE;
  default: return 0;
  }
}

/* The bits that a register keeps. */
static uint8_t mixer_mask(uint8_t reg) {
  if (reg >= MIX_MASTER && reg <= MIX_MIC)
    return 0xf8;
  switch (reg) {
  case MIX_FILTER_IN: return 0x2e;
  case MIX_STEREO: return 0x22;
  case MIX_SPEAKER:
  case MIX_GAIN_IN:
  case MIX_GAIN_IN + 1:
  case MIX_GAIN_OUT:
  case MIX_GAIN_OUT + 1: return 0xc0;
  case MIX_OUTPUT: return 0x1f;
  case MIX_INPUT:
  case MIX_INPUT + 1: return 0x7f;
  case MIX_AGC: return 0x01;
  case MIX_TREBLE:
  case MIX_TREBLE + 1:
  case MIX_BASS:
  case MIX_BASS + 1: return 0xf0;
  case MIX_IRQ: return 0x0f;
  case MIX_DMA: return 0xeb;
  default: return 0;
  }
}

static void mixer_reset(struct sb16 *s) {
  uint8_t irq = s->mixer[MIX_IRQ], dma = s->mixer[MIX_DMA];
  memset(s->mixer, 0, sizeof s->mixer);
  s->mixer[MIX_IRQ] = irq; /* the settings of the card stay */
  s->mixer[MIX_DMA] = dma;
  for (int i = 0; i < 2; i++) {
    s->mixer[MIX_MASTER + i] = s->mixer[MIX_VOICE + i] = s->mixer[MIX_MIDI + i] = LEVEL_ONE;
    s->mixer[MIX_TREBLE + i] = s->mixer[MIX_BASS + i] = 0x80; /* flat */
  }
  s->mixer[MIX_OUTPUT] = 0x1f;
  s->mixer[MIX_INPUT] = 0x15;
  s->mixer[MIX_INPUT + 1] = 0x0b;
  update_volume(s);
}

static uint8_t version_bits(const struct sb16 *s) {
  return s->config.version < 0x405 ? 0x20 : s->config.version == 0x405 ? 0x40 : 0x80;
}

static uint8_t mixer_read(const struct sb16 *s) {
  uint8_t pair = pro_volume(s->index);
  if (pair)
    return (uint8_t)((s->mixer[pair] & 0xf0) | s->mixer[pair + 1] >> 4);
  switch (s->index) {
  case MIX_MIC_PRO: return s->mixer[MIX_MIC] >> 5;
  case MIX_IRQ_STATUS: return s->irqs | version_bits(s);
  default: return mixer_mask(s->index) ? s->mixer[s->index] : 0xff;
  }
}

static void mixer_write(struct sb16 *s, uint8_t value) {
  uint8_t pair = pro_volume(s->index);
  if (pair) { /* four bits of volume for five: the lowest is set */
    s->mixer[pair] = (value & 0xf0) | 8;
    s->mixer[pair + 1] = (uint8_t)(value << 4 | 8);
    update_volume(s);
    return;
  }
  uint8_t mask = mixer_mask(s->index);
  switch (s->index) {
  case MIX_RESET: mixer_reset(s); break;
  case MIX_MIC_PRO: s->mixer[MIX_MIC] = (uint8_t)((value & 7) << 5 | 0x18); break;
  case MIX_IRQ:
    s->mixer[MIX_IRQ] = value & mask;
    select_irq(s);
    break;
  case MIX_DMA:
    sb16_dma_connect(s, false);
    s->mixer[MIX_DMA] = value & mask;
    sb16_dma_connect(s, true);
    break;
  default:
    s->mixer[s->index] = value & mask;
    update_volume(s);
    break;
  }
}

/* --- ports --- */

static uint32_t mixer_port_read(void *opaque, uint32_t offset, int size) {
  (void)size;
  return offset ? mixer_read(opaque) : ((struct sb16 *)opaque)->index;
}

static void mixer_port_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct sb16 *s = opaque;
  (void)size;
  if (offset)
    mixer_write(s, (uint8_t)value);
  else
    s->index = (uint8_t)value;
}

static uint32_t reset_read(void *opaque, uint32_t offset, int size) {
  (void)opaque, (void)offset, (void)size;
  return 0xff;
}

static void reset_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)offset, (void)size;
  sb16_dsp_strobe(opaque, (uint8_t)value);
}

static uint32_t dsp_port_read(void *opaque, uint32_t offset, int size) { /* from base + Ah */
  struct sb16 *s = opaque;
  (void)size;
  switch (offset) {
  case 0: return sb16_dsp_read(s);
  case 2: return sb16_dsp_write_status(s);
  case 4: sb16_lower(s, SB16_IRQ_8BIT); return sb16_dsp_status(s);
  case 5: sb16_lower(s, SB16_IRQ_16BIT); return 0xff;
  default: return 0xff;
  }
}

static void dsp_port_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)size;
  if (offset == 2)
    sb16_dsp_write(opaque, (uint8_t)value);
}

/* No joystick: the one-shots of its axes, once started, never end. */
static uint32_t game_read(void *opaque, uint32_t offset, int size) {
  (void)opaque, (void)offset, (void)size;
  return 0xff;
}

static void game_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)opaque, (void)offset, (void)size, (void)value;
}

static const struct io_ops mixer_ops = {mixer_port_read, mixer_port_write, 1};
static const struct io_ops reset_ops = {reset_read, reset_write, 1};
static const struct io_ops dsp_ops = {dsp_port_read, dsp_port_write, 1};
static const struct io_ops game_ops = {game_read, game_write, 1};

/* --- the device --- */

static void sb16_reset(struct device *dev) {
  struct sb16 *s = DEVICE(struct sb16, dev);
  sb16_dma_connect(s, false);
  sb16_dsp_reset(s);
  s->irqs = 0;
  update_line(s);
  s->index = 0;
  s->mixer[MIX_IRQ] = 0;
  for (int i = 0; i < 4; i++)
    if (irq_numbers[i] == s->config.irq)
      s->mixer[MIX_IRQ] = (uint8_t)(1 << i);
  s->mixer[MIX_DMA] = (uint8_t)(1 << s->config.dma8 | (s->config.dma16 >= 5 ? 1 << s->config.dma16 : 0));
  select_irq(s);
  mixer_reset(s);
  sb16_dma_connect(s, true);
  audio_voice_stop(s->voice);
}

static int sb16_init(struct device *dev, const struct device_args *args) {
  struct sb16 *s = DEVICE(struct sb16, dev);
  s->config = *(const struct sb16_config *)args->config;
  s->line = -1;
  s->voice = audio_voice_new(s->config.audio, dev->id);
  if (s->config.audio && !s->voice)
    return -ENOMEM;
  sb16_pcm_init(s);
  sb16_dsp_init(s);
  sb16_reset(dev);
  int error = io_map(dev->io, (uint16_t)(args->port[0] + 4), 2, &mixer_ops, s, "sb16-mixer");
  if (!error)
    error = io_map(dev->io, (uint16_t)(args->port[0] + 6), 1, &reset_ops, s, "sb16-reset");
  if (!error)
    error = io_map(dev->io, (uint16_t)(args->port[0] + 10), 6, &dsp_ops, s, "sb16-dsp");
  if (!error && args->port[1])
    error = io_map(dev->io, args->port[1], 1, &game_ops, s, "gameport");
  if (error)
    audio_voice_free(s->voice);
  return error;
}

static void sb16_destroy(struct device *dev) { audio_voice_free(DEVICE(struct sb16, dev)->voice); }

#define PCM_FIELD(i, kind, member)                                                                           \
  { FIELD_##kind, "pcm" #i "." #member, offsetof(struct sb16, pcm[i].member), 1 }
#define PCM_FIELDS(i)                                                                                        \
  PCM_FIELD(i, U8, kind), PCM_FIELD(i, BOOL, wide), PCM_FIELD(i, BOOL, stereo), PCM_FIELD(i, BOOL, sign),    \
      PCM_FIELD(i, BOOL, repeat), PCM_FIELD(i, BOOL, paused), PCM_FIELD(i, BOOL, stalled),                   \
      PCM_FIELD(i, U8, adpcm), PCM_FIELD(i, BOOL, reference), PCM_FIELD(i, U8, level),                       \
      PCM_FIELD(i, U8, scale), PCM_FIELD(i, U8, held), PCM_FIELD(i, U8, held_count),                         \
      PCM_FIELD(i, U32, block), PCM_FIELD(i, U32, left), PCM_FIELD(i, I64, base), PCM_FIELD(i, U64, frames), \
      PCM_FIELD(i, U32, num), PCM_FIELD(i, U32, den), PCM_FIELD(i, TIMER, timer)

static const struct field sb16_fields[] = {
    PCM_FIELDS(0),
    PCM_FIELDS(1),
    FIELD(U8, struct sb16, index),
    FIELD_BUFFER(struct sb16, mixer),
    FIELD(U8, struct sb16, irqs),
    FIELD(U8, struct sb16, line),
    FIELD(U8, struct sb16, strobe),
    FIELD(U8, struct sb16, command),
    FIELD_BUFFER(struct sb16, arg),
    FIELD(U8, struct sb16, arg_count),
    FIELD(U8, struct sb16, arg_need),
    FIELD(BOOL, struct sb16, uart),
    FIELD(BOOL, struct sb16, speaker),
    FIELD(U8, struct sb16, test),
    FIELD_BUFFER(struct sb16, ram),
    FIELD(U8, struct sb16, id_sum),
    FIELD(U8, struct sb16, id_mask),
    FIELD(BOOL, struct sb16, id_wanted),
    FIELD(U8, struct sb16, later),
    FIELD(TIMER, struct sb16, irq_timer),
    FIELD_BUFFER(struct sb16, queue),
    FIELD(U8, struct sb16, queue_first),
    FIELD(U8, struct sb16, queue_count),
    FIELD(U8, struct sb16, last_read),
    FIELD(I64, struct sb16, queue_from),
    FIELD(I64, struct sb16, busy_until),
    FIELD(BOOL, struct sb16, rate_hz),
    FIELD(U8, struct sb16, time_constant),
    FIELD(U16, struct sb16, rate),
    FIELD(U16, struct sb16, block),
    FIELD(BOOL, struct sb16, direct),
    FIELD(U8, struct sb16, direct_level),
    FIELD(I64, struct sb16, direct_base),
    FIELD(I64, struct sb16, direct_last),
    FIELD(U64, struct sb16, direct_frames),
    FIELD(TIMER, struct sb16, direct_timer),
    FIELDS_END,
};

/* A snapshot may say anything. */
static const char *sb16_check(const struct device *dev) {
  const struct sb16 *s = DEVICE(const struct sb16, dev);
  return s->arg_count <= s->arg_need && s->arg_need <= sizeof s->arg ? NULL : "a command that cannot be";
}

const struct device_class sb16_class = {
    .name = "sb16",
    .size = sizeof(struct sb16),
    .init = sb16_init,
    .reset = sb16_reset,
    .destroy = sb16_destroy,
    .fields = sb16_fields,
    .check = sb16_check,
};
