/* SPDX-License-Identifier: MIT */
/*
 * PC speaker: combines timer channel 2 with the two low bits of port 61h, reports the tone and sounds it.
 *
 * device_args: no ports, no lines; config = struct pcspk_config or NULL.
 */
#ifndef DEVICES_PCSPK_H
#define DEVICES_PCSPK_H

#include "core/audio.h"
#include "core/device.h"

struct pcspk_config {
  /* The tone changed. hz = 0: silent, or the speaker is driven by hand; `level` is the cone's position then.
   */
  void (*changed)(void *opaque, uint32_t hz, bool level);
  void *opaque;
  struct audio *audio; /* NULL: makes no sound */
};

extern const struct device_class pcspk_class;

/* Whose OUT of channel 2 drives the cone: pit_out2_at. Before this the speaker is silent. */
void pcspk_connect(struct device *dev, bool (*out2_at)(void *pit, int64_t ns, int64_t *until), void *pit);

void pcspk_set(void *pcspk, bool gate, bool data);      /* for sysctl_config.speaker */
void pcspk_tone(void *pcspk, int mode, uint32_t count); /* for pit_config.tone */
void pcspk_changes(void *pcspk);                        /* for pit_config.out2_changes */
uint32_t pcspk_hz(const struct device *dev);            /* of the tone now sounding, 0 = none */

#endif
