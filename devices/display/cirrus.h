/* SPDX-License-Identifier: MIT */
/*
 * Cirrus Logic CL-GD5446 on PCI: what the board needs to create one. device_args.config is a struct
 * vga_config whose pci is not NULL and whose vram_size is 0 (4 MB). The device claims the VGA's ports and
 * window; BAR 0 is 32 MB of frame buffer apertures, BAR 1 the registers.
 */
#ifndef DEVICES_DISPLAY_CIRRUS_H
#define DEVICES_DISPLAY_CIRRUS_H

#include "devices/display/vga.h"

extern const struct device_class cirrus_class;

#endif
