/* SPDX-License-Identifier: MIT */
/* USB 1.1 hub with eight ports. device_args: no ports, no lines, no config. The board plugs it in. */
#ifndef DEVICES_USB_HUB_H
#define DEVICES_USB_HUB_H

#include "devices/usb/usb.h"

#define USB_HUB_PORTS 8

extern const struct device_class usb_hub_class;

struct usb_port *usb_hub_ports(struct device *hub); /* USB_HUB_PORTS of them */

#endif
