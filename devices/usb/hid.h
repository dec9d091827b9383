/* SPDX-License-Identifier: MIT */
/*
 * USB human interface devices: tablet (absolute pointer), mouse and keyboard, the latter two with the boot
 * protocol.
 *
 * device_args: no ports, no lines; config = struct usb_hid_config. The board plugs the device in
 * (usb_attach).
 */
#ifndef DEVICES_USB_HID_H
#define DEVICES_USB_HID_H

#include "core/input.h"
#include "devices/usb/usb.h"

struct usb_hid_config {
  struct input_sink *input; /* its events come from there; NULL allowed */
};

extern const struct device_class usb_tablet_class, usb_mouse_class, usb_keyboard_class;

/* As in struct input_sink. */
void usb_hid_pointer(void *hid, int x, int y, int dz, int buttons);
void usb_hid_key(void *hid, int key, bool down);
bool usb_hid_polled(void *hid); /* the guest has asked for reports lately */

#endif
