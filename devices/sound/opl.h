/* SPDX-License-Identifier: MIT */
/*
 * Yamaha YM3812 (OPL2) and YMF262 (OPL3) on a card: ports, timers, and the sound at its time.
 *
 * device_args: port[0..2] = where it answers (0: not there): four ports each for the OPL3, two for the OPL2;
 *              port[3] = an OPL3's first bank alone, two ports; no lines (no card connects the interrupt);
 *              config = struct opl_config.
 */
#ifndef DEVICES_SOUND_OPL_H
#define DEVICES_SOUND_OPL_H

#include "core/audio.h"
#include "core/device.h"

struct opl_config {
  bool opl3;
  struct audio *audio; /* NULL: nobody listens */
};

extern const struct device_class opl_class;

void opl_gain(struct device *dev, uint32_t left, uint32_t right); /* of AUDIO_GAIN_ONE */

#endif
