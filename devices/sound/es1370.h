/* SPDX-License-Identifier: MIT */
/*
 * Ensoniq AudioPCI ES1370.
 *
 * device_args: no ports (the BAR), no lines (INTA); config = struct es1370_config.
 */
#ifndef DEVICES_SOUND_ES1370_H
#define DEVICES_SOUND_ES1370_H

#include "core/audio.h"
#include "core/device.h"
#include "devices/pci.h"

struct es1370_config {
  struct pci_bus *bus;
  int devfn;
  struct audio *audio; /* NULL: makes no sound */
};

extern const struct device_class es1370_class;

#endif
