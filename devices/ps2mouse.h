/* SPDX-License-Identifier: MIT */
/*
 * PS/2 mouse with wheel (IntelliMouse, ID 3) and five buttons (IntelliMouse Explorer, ID 4).
 *
 * device_args: no ports, no lines; config = struct ps2mouse_config or NULL. Connect it by handing the device
 * to i8042_config.mouse.
 */
#ifndef DEVICES_PS2MOUSE_H
#define DEVICES_PS2MOUSE_H

#include "core/input.h"
#include "devices/ps2.h"

struct ps2mouse_config {
  struct input_sink *input; /* mouse is set at init; NULL allowed */
};

extern const struct device_class ps2mouse_class;

/* As in struct input_sink: dy positive = down, dz positive = wheel towards the user. */
void ps2mouse_event(void *mouse, int dx, int dy, int dz, int buttons);

#endif
