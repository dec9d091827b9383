/* SPDX-License-Identifier: MIT */
/*
 * System control ports: port B (61h: speaker, refresh toggle, timer 2) and port A (92h: fast A20, fast
 * reset).
 *
 * device_args: port[0] = 61h, port[1] = 92h; irq[0] = A20 (set on every write of port 92h), irq[1] = system
 * reset (pulsed); config = struct sysctl_config.
 */
#ifndef DEVICES_SYSCTL_H
#define DEVICES_SYSCTL_H

#include "core/device.h"

struct sysctl_config {
  void (*set_gate2)(void *opaque, bool level); /* pit_set_gate2 */
  bool (*get_out2)(void *opaque);              /* pit_get_out2 */
  void *pit;
  void (*speaker)(void *opaque, bool gate, bool data); /* pcspk_set; may be NULL */
  void *speaker_opaque;
};

extern const struct device_class sysctl_class;

/* Another source (the 8042) moved A20: port 92h reads back the new state. */
void sysctl_set_a20(struct device *dev, bool level);

#endif
