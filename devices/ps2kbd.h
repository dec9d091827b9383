/* SPDX-License-Identifier: MIT */
/*
 * PS/2 keyboard (IBM MF2, scan code sets 1, 2 and 3).
 *
 * device_args: no ports, no lines; config = struct ps2kbd_config or NULL. Connect it by handing the device to
 * i8042_config.keyboard.
 */
#ifndef DEVICES_PS2KBD_H
#define DEVICES_PS2KBD_H

#include "core/input.h"
#include "devices/ps2.h"

struct ps2kbd_config {
  struct input_sink *input; /* key, leds and key_ready are set at init; NULL allowed */
};

extern const struct device_class ps2kbd_class;

/* As in struct input_sink; `kbd` is the struct device. Keys auto-repeat only if the caller repeats them. */
void ps2kbd_key(void *kbd, int key, bool down);
bool ps2kbd_key_ready(void *kbd);
int ps2kbd_leds(void *kbd);

#endif
