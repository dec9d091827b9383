/* SPDX-License-Identifier: MIT */
/*
 * Local APIC of one CPU (SDM vol. 3, chapter "Advanced Programmable Interrupt Controller"). The 8259A's INTR
 * goes through it: apic_set_lint(apic, 0, level); apic_ack then is the CPU's INTA.
 *
 * device_args: addr[0] = FEE00000h; irq[0] = the CPU's INTR, irq[1] = NMI (pulsed), irq[2] = INIT (pulsed),
 *              irq[3] = SMI (pulsed); config = struct apic_config or NULL.
 */
#ifndef DEVICES_APIC_H
#define DEVICES_APIC_H

#include "core/device.h"

#define APIC_BASE_BSP 0x100u
#define APIC_BASE_ENABLE 0x800u

enum apic_mode { /* delivery modes of LVT, ICR and the IOAPIC's redirection entries */
                 APIC_FIXED = 0,
                 APIC_LOWEST = 1,
                 APIC_SMI = 2,
                 APIC_NMI = 4,
                 APIC_INIT = 5,
                 APIC_STARTUP = 6,
                 APIC_EXTINT = 7
};

struct apic_config {
  uint8_t id;
  uint32_t timer_hz;               /* bus clock before the divider; 0 = 100 MHz */
  int (*extint_ack)(void *opaque); /* pic_ack: vector of an ExtINT */
  void *extint_opaque;
};

extern const struct device_class apic_class;

/* LINT0 and LINT1. `apic` is the struct device; fits struct irq. */
void apic_set_lint(void *apic, int n, int level);
/* INTA cycle: vector 0..255. Fits cpu->intr_ack. */
int apic_ack(void *apic);
/* A message from the IOAPIC's bus (or an MSI). logical = destination mode. level: level-triggered. */
void apic_deliver(void *apic, uint8_t dest, bool logical, int mode, uint8_t vector, bool level);
/* Who hears the EOI of level-triggered vectors (ioapic_eoi). */
void apic_set_eoi_handler(struct device *dev, void (*eoi)(void *opaque, uint8_t vector), void *opaque);
/* IA32_APIC_BASE was written: global enable (bit 11) and base address. Disabled: LINT0 is INTR, LINT1 is NMI.
 */
void apic_set_base(void *apic, uint64_t base);
/* This vector was delivered and the CPU has not taken it yet. */
bool apic_waits(const struct device *dev, uint8_t vector);
uint64_t apic_get_base(const struct device *dev);
/* CR8 does not exist in 32-bit mode; for the monitor. */
void apic_info(const struct device *dev, FILE *out);

#endif
