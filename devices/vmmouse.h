/* SPDX-License-Identifier: MIT */
/*
 * The port that VMware's guests talk to the hypervisor through (5658h), with the absolute pointer behind it.
 *
 * device_args: port[0] = 5658h; no lines; config = struct vmmouse_config.
 */
#ifndef DEVICES_VMMOUSE_H
#define DEVICES_VMMOUSE_H

#include "core/device.h"
#include "core/input.h"

struct vmmouse_config {
  uint32_t *gpr; /* of the processor that reads the port: EAX, ECX, EDX, EBX as they are numbered */
  uint32_t ram_mb;
  struct device *ps2mouse;  /* its interrupt tells the guest of events */
  struct input_sink *input; /* NULL allowed */
};

extern const struct device_class vmmouse_class;

#endif
