/* SPDX-License-Identifier: MIT */
/*
 * Creative Sound Blaster 16: DSP and CT1745 mixer. Its FM chip (devices/sound/opl.h) and its MPU-401 are
 * devices of their own; the mixer sets the first one's volume and passes the second one's interrupt on.
 *
 * device_args: port[0] = base (mixer at +4, DSP at +6 to +Fh; the FM chip's ports are free), port[1] = game
 * port or 0; irq[0..3] = ISA IRQ 2 (9 on an AT), 5, 7, 10, of which the mixer's register 80h selects; config
 * = struct sb16_config.
 */
#ifndef DEVICES_SOUND_SB16_H
#define DEVICES_SOUND_SB16_H

#include "core/audio.h"
#include "core/device.h"

struct sb16_config {
  struct device *dma;  /* dma8237 */
  struct device *opl;  /* NULL: none */
  struct audio *audio; /* NULL: nobody listens */
  int irq;             /* 2, 5, 7, 10: what the card is set to at power-on */
  int dma8, dma16;     /* 0, 1, 3; 5, 6, 7 or -1: 16-bit sound by the 8-bit channel */
  uint16_t version;    /* of the DSP, 0405h for 4.05 */
};

extern const struct device_class sb16_class;

void sb16_mpu_irq(void *sb16, int n, int level); /* struct irq's set, for the MPU-401 */

#endif
