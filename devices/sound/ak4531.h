/* SPDX-License-Identifier: MIT */
/*
 * Asahi Kasei AK4531 audio codec, the mixer behind the ES1370: attenuators, mutes and switches on the way
 * from its two DAC inputs to the line output. Not modelled: the other sources (nothing is connected), and the
 * input side.
 */
#ifndef DEVICES_SOUND_AK4531_H
#define DEVICES_SOUND_AK4531_H

#include <stdint.h>

#define AK4531_REGS 0x1a

enum ak4531_input { AK4531_VOICE, AK4531_FM };

struct ak4531 {
  uint8_t reg[AK4531_REGS];
};

void ak4531_reset(struct ak4531 *k);
void ak4531_write(struct ak4531 *k, uint8_t reg, uint8_t value);
/* From an input to the output, as of AUDIO_GAIN_ONE. */
void ak4531_gain(const struct ak4531 *k, enum ak4531_input input, uint32_t *left, uint32_t *right);

#endif
