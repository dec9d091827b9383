/* SPDX-License-Identifier: MIT */
/*
 * PC speaker: combines timer channel 2 with the two low bits of port 61h and reports the tone.
 *
 * device_args: no ports, no lines; config = struct pcspk_config or NULL.
 */
#ifndef DEVICES_PCSPK_H
#define DEVICES_PCSPK_H

#include "core/device.h"

struct pcspk_config {
  /* The tone changed. hz = 0: silent, or the speaker is driven by hand; `level` is the cone's position then.
   */
  void (*changed)(void *opaque, uint32_t hz, bool level);
  void *opaque;
};

extern const struct device_class pcspk_class;

void pcspk_set(void *pcspk, bool gate, bool data);      /* for sysctl_config.speaker */
void pcspk_tone(void *pcspk, int mode, uint32_t count); /* for pit_config.tone */
uint32_t pcspk_hz(const struct device *dev);            /* of the tone now sounding, 0 = none */

#endif
