/* SPDX-License-Identifier: MIT */
/*
 * PC16550D UART, clocked at 1.8432 MHz.
 *
 * device_args: port[0] = base (3F8h ...), eight ports; irq[0] = interrupt; config = struct uart_config.
 */
#ifndef DEVICES_UART16550_H
#define DEVICES_UART16550_H

#include "core/chardev.h"
#include "core/device.h"

struct uart_config {
  struct chardev *chardev; /* NULL: nothing connected */
  bool paced;              /* send no faster than the programmed baud rate */
};

extern const struct device_class uart16550_class;

#endif
