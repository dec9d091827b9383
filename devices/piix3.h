/* SPDX-License-Identifier: MIT */
/*
 * Intel 82371SB (PIIX3) PCI-to-ISA bridge, 8086:7000 at 00:01.0: PIRQ routing and the reset control register.
 * (The chips behind it, DMA, PIC, PIT, IDE and USB functions, are devices of their own.)
 */
#ifndef DEVICES_PIIX3_H
#define DEVICES_PIIX3_H

#include "devices/pci.h"

struct piix3_config {
  struct pci_bus *bus;
  void (*reset)(void *opaque, bool hard); /* CF9h: the whole machine is to be reset, or INIT# asserted */
  void *opaque;
};

/* irq[0..15]: ISA interrupt lines 0-15 that PIRQA-PIRQD may be steered to. Several PIRQs on one line are ORed
 * here; ORing with an ISA device on the same line is the board's affair. No ports (CF9h comes through the
 * bus). */
extern const struct device_class piix3_class;

/* The IRQ that PIRQ n (0-3) is steered to now, or -1. */
int piix3_pirq_route(const struct device *dev, int n);

#endif
