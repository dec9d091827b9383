/* SPDX-License-Identifier: MIT */
/*
 * An AC '97 codec: its registers, which the controller reaches over the link, and what they mean for what is
 * played.
 */
#ifndef DEVICES_SOUND_AC97_CODEC_H
#define DEVICES_SOUND_AC97_CODEC_H

#include <stdint.h>

#define AC97_REGS 64 /* words */

struct ac97_codec {
  uint16_t reg[AC97_REGS];
};

enum ac97_converter { AC97_DAC, AC97_ADC, AC97_MIC };

void ac97_codec_reset(struct ac97_codec *c); /* cold, or by register 0 */
void ac97_codec_wake(struct ac97_codec *c);  /* warm reset: the link is back */
/* offset: of the register, even, 0-7Eh. */
uint16_t ac97_codec_read(const struct ac97_codec *c, unsigned offset);
void ac97_codec_write(struct ac97_codec *c, unsigned offset, uint16_t value);
uint32_t ac97_codec_rate(const struct ac97_codec *c, enum ac97_converter converter); /* frames a second */
/* From the DAC to the line output, as of AUDIO_GAIN_ONE. */
void ac97_codec_gain(const struct ac97_codec *c, uint32_t *left, uint32_t *right);

#endif
