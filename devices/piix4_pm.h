/* SPDX-License-Identifier: MIT */
/*
 * Power management function of the PIIX4 (82371AB function 3, 8086:7113).
 *
 * device_args: port[0] = B2h (APMC, APMS), port[1] = AFE0h (fixed GPE0 block; 0 = only at PMBASE + 0Ch);
 *              irq[0] = SCI (IRQ9, active high at this chip); config = struct piix4_pm_config.
 */
#ifndef DEVICES_PIIX4_PM_H
#define DEVICES_PIIX4_PM_H

#include "devices/pci.h"

struct piix4_pm_config {
  struct pci_bus *bus;
  int devfn;                       /* slot << 3 | function */
  void (*power_off)(void *opaque); /* guest entered S5 (or S4) */
  void *opaque;
  uint8_t acpi_enable, acpi_disable; /* values of APMC; 0 = F1h and F0h */
};

extern const struct device_class piix4_pm_class;

void piix4_pm_power_button(struct device *dev);

#endif
