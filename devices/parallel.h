/* SPDX-License-Identifier: MIT */
/*
 * Standard parallel port (SPP). Every strobed byte goes to the character device.
 *
 * device_args: port[0] = base (378h ...), three ports; irq[0] = IRQ7; config = struct parallel_config or
 * NULL.
 */
#ifndef DEVICES_PARALLEL_H
#define DEVICES_PARALLEL_H

#include "core/chardev.h"
#include "core/device.h"

struct parallel_config {
  struct chardev *chardev; /* NULL: no printer attached */
};

extern const struct device_class parallel_class;

#endif
