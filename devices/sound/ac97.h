/* SPDX-License-Identifier: MIT */
/*
 * The AC '97 controller of Intel's 82801AA (ICH) with a codec.
 *
 * device_args: no ports (the BARs), no lines (INTB, as on the ICH); config = struct ac97_config.
 */
#ifndef DEVICES_SOUND_AC97_H
#define DEVICES_SOUND_AC97_H

#include "core/audio.h"
#include "core/device.h"
#include "devices/pci.h"

struct ac97_config {
  struct pci_bus *bus;
  int devfn;
  struct audio *audio; /* NULL: makes no sound */
};

extern const struct device_class ac97_class;

#endif
