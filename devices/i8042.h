/* SPDX-License-Identifier: MIT */
/*
 * 8042 keyboard controller with PS/2 auxiliary port. Create keyboard and mouse first.
 *
 * device_args: port[0] = 60h (data), port[1] = 64h (status and command);
 *              irq[0] = IRQ1, irq[1] = IRQ12, irq[2] = A20 gate (set on every write of the output port; the
 * last writer among this and port 92h wins), irq[3] = system reset (pulsed); config = struct i8042_config.
 */
#ifndef DEVICES_I8042_H
#define DEVICES_I8042_H

#include "core/device.h"

struct i8042_config {
  struct device *keyboard; /* of ps2kbd_class, or NULL */
  struct device *mouse;    /* of ps2mouse_class, or NULL */
};

extern const struct device_class i8042_class;

/* Another source (port 92h) moved A20: keeps bit 1 of the output port in step. */
void i8042_set_a20(struct device *dev, bool level);

#endif
