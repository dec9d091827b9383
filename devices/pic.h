/* SPDX-License-Identifier: MIT */
/*
 * Two cascaded 8259A interrupt controllers with the PIIX3's edge/level control registers.
 *
 * device_args: port[0] = 20h (master), port[1] = A0h (slave), port[2] = 4D0h (ELCR, two ports);
 *              irq[0] = INTR output; config unused.
 */
#ifndef DEVICES_PIC_H
#define DEVICES_PIC_H

#include "core/device.h"

extern const struct device_class pic_class;

/* Input line n (0..15; 2 is the cascade and ignored) goes to `level`. `pic` is the struct device. */
void pic_set_irq(void *pic, int n, int level);
/* INTA cycle: the vector (0..255); spurious IRQ7 or IRQ15 if the request went away. Fits cpu->intr_ack. */
int pic_ack(void *pic);
/* Input 0 (the timer) is requested, unmasked and not acknowledged yet. For pit_config.irq_waits. */
bool pic_irq0_waits(void *pic);
/* Level of INTR. */
int pic_intr(const struct device *dev);
/* One line per controller, as in QEMU's "info pic". */
void pic_info(const struct device *dev, FILE *out);

#endif
