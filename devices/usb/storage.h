/* SPDX-License-Identifier: MIT */
/*
 * USB mass storage: a disk behind the bulk-only transport.
 *
 * device_args: no ports, no lines; config = struct usb_storage_config. The board plugs the device in.
 */
#ifndef DEVICES_USB_STORAGE_H
#define DEVICES_USB_STORAGE_H

#include "devices/block/block.h"
#include "devices/usb/usb.h"

struct usb_storage_config {
  struct block *block; /* not owned */
  const char *serial;  /* of the device; NULL: "1" */
  bool removable;      /* says that its medium can be taken out */
};

extern const struct device_class usb_storage_class;

struct block *usb_storage_block(const struct device *dev);

#endif
