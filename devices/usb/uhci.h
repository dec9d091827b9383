/* SPDX-License-Identifier: MIT */
/*
 * The USB host controller of the PIIX3 (function 2, 8086:7020) with two root ports.
 *
 * device_args: no ports (BAR 4), no lines (INTD#); config = struct uhci_config.
 */
#ifndef DEVICES_USB_UHCI_H
#define DEVICES_USB_UHCI_H

#include "devices/pci.h"
#include "devices/usb/usb.h"

#define UHCI_PORTS 2

struct uhci_config {
  struct pci_bus *bus;
  int devfn;
};

extern const struct device_class uhci_class;

struct usb_port *uhci_ports(struct device *dev); /* UHCI_PORTS of them */

#endif
