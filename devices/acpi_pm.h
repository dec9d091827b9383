/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware as in the PIIX4 (82371AB): PM1a event and control blocks, PM timer, GPE0. A core
 * without ports: the PCI function that holds it (piix4_pm.c) maps it.
 */
#ifndef DEVICES_ACPI_PM_H
#define DEVICES_ACPI_PM_H

#include "core/device.h"

#define ACPI_PM_SIZE 64

struct acpi_pm {
  struct clock *clock;
  const struct irq *sci;
  void (*power_off)(void *opaque);
  void *opaque;
  uint16_t pm1_sts, pm1_en, pm1_cnt;
  uint16_t gpe_sts, gpe_en;
  uint8_t regs[ACPI_PM_SIZE]; /* what only remembers */
  int64_t tmr_checked;        /* half periods of the timer up to which TMR_STS is known */
  struct timer tmr;           /* next change of the PM timer's bit 23, armed while TMR_EN */
};

#define ACPI_PM_FIELDS(type, pm)                                                                             \
  {FIELD_U16, "pm1_sts", offsetof(type, pm.pm1_sts), 1},                                                     \
      {FIELD_U16, "pm1_en", offsetof(type, pm.pm1_en), 1},                                                   \
      {FIELD_U16, "pm1_cnt", offsetof(type, pm.pm1_cnt), 1},                                                 \
      {FIELD_U16, "gpe_sts", offsetof(type, pm.gpe_sts), 1},                                                 \
      {FIELD_U16, "gpe_en", offsetof(type, pm.gpe_en), 1},                                                   \
      {FIELD_BYTES, "pm_regs", offsetof(type, pm.regs), ACPI_PM_SIZE},                                       \
      {FIELD_I64, "tmr_checked", offsetof(type, pm.tmr_checked), 1}, {                                       \
    FIELD_TIMER, "tmr", offsetof(type, pm.tmr), 1                                                            \
  }

void acpi_pm_init(struct acpi_pm *pm, struct clock *clock, const struct irq *sci, void (*power_off)(void *),
                  void *opaque);
void acpi_pm_reset(struct acpi_pm *pm);
/* The 64 bytes of the PM block (io_ops with max_size 4; opaque = struct acpi_pm). */
uint32_t acpi_pm_read(void *pm, uint32_t offset, int size);
void acpi_pm_write(void *pm, uint32_t offset, int size, uint32_t value);
/* The four bytes of GPE0: status, enable. */
uint32_t acpi_gpe_read(void *pm, uint32_t offset, int size);
void acpi_gpe_write(void *pm, uint32_t offset, int size, uint32_t value);
void acpi_pm_enable(struct acpi_pm *pm, bool on); /* SCI_EN */
void acpi_pm_power_button(struct acpi_pm *pm);

#endif
