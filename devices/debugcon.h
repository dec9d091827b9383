/* SPDX-License-Identifier: MIT */
/*
 * Debug console port: bytes written go to the character device; reads return E9h.
 *
 * device_args: port[0] = 402h; config = struct debugcon_config or NULL.
 */
#ifndef DEVICES_DEBUGCON_H
#define DEVICES_DEBUGCON_H

#include "core/chardev.h"
#include "core/device.h"

struct debugcon_config {
  struct chardev *chardev; /* NULL: discarded */
};

extern const struct device_class debugcon_class;

#endif
