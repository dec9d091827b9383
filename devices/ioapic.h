/* SPDX-License-Identifier: MIT */
/*
 * 82093AA I/O APIC, 24 pins.
 *
 * device_args: addr[0] = FEC00000h; no lines; config = struct ioapic_config.
 */
#ifndef DEVICES_IOAPIC_H
#define DEVICES_IOAPIC_H

#include "core/device.h"

struct ioapic_config {
  /* apic_deliver */
  void (*deliver)(void *opaque, uint8_t dest, bool logical, int mode, uint8_t vector, bool level);
  void *opaque;
};

#define IOAPIC_PINS 24

extern const struct device_class ioapic_class;

/* Pin n goes to `level` (1 = active whatever the programmed polarity). Fits struct irq. */
void ioapic_set_irq(void *ioapic, int n, int level);
/* For apic_set_eoi_handler. */
void ioapic_eoi(void *ioapic, uint8_t vector);
void ioapic_info(const struct device *dev, FILE *out);

/* The vector that an edge on this pin sends to the CPU; -1: masked, or no fixed interrupt. */
int ioapic_vector(const struct device *dev, int pin);

#endif
