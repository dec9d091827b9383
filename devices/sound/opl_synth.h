/* SPDX-License-Identifier: MIT */
/* The sound of an OPL2 or OPL3: registers in, frames at OPL_HZ out. No ports, no timers, no time of its own.
 */
#ifndef DEVICES_SOUND_OPL_SYNTH_H
#define DEVICES_SOUND_OPL_SYNTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/audio.h"

#define OPL_HZ 49716u /* 14.31818 MHz / 288 */
#define OPL_SLOTS 36  /* operators: 18 of each register bank */
#define OPL_CHANNELS 18

struct opl_synth {
  bool opl3;           /* YMF262; else YM3812, which has the first bank only */
  uint8_t reg[512];    /* as written, second bank from 100h */
  uint32_t count;      /* samples made: runs envelopes, vibrato and tremolo */
  uint32_t noise;      /* 23-bit shift register */
  uint32_t phase[36];  /* 19 bits */
  uint16_t level[36];  /* of the envelope, 0..511 in steps of 0.1875 dB of attenuation */
  uint8_t stage[36];   /* enum opl_stage */
  uint8_t keys[36];    /* what holds the key down: bit 0 the channel's, bit 1 the rhythm register */
  uint16_t out[36];    /* last outputs, signed; the newest here */
  uint16_t before[36]; /* and the one before, for feedback */
  uint16_t sine[256];  /* -log2 of a quarter sine, 8 binary places */
  uint16_t power[256]; /* 2^x - 1, 10 binary places */
};

void opl_synth_init(struct opl_synth *s, bool opl3); /* and reset */
void opl_synth_reset(struct opl_synth *s);
void opl_synth_write(struct opl_synth *s, unsigned reg, uint8_t value); /* reg: 0 to 1FFh */
/* Can anything be heard? If not, opl_synth_skip does what opl_synth_render would, at once. */
bool opl_synth_active(const struct opl_synth *s);
void opl_synth_render(struct opl_synth *s, struct audio_frame *frames, size_t count);
void opl_synth_skip(struct opl_synth *s, uint64_t count);

#endif
