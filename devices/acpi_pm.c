/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware of the PIIX4 (82371AB datasheet, order number 290562, section 7.2): PM1a status, enable
 * and control, the 3.579545 MHz timer of 24 bits, one general purpose event block, power button.
 *
 * Sleep type 0 (soft off) and 2 (suspend to disk) switch the machine off; the other sleep states wake up at
 * once. The device monitors, throttling and GPIO registers are only storage.
 */
#include "devices/acpi_pm.h"

#include <string.h>

#define PM_TIMER_HZ 3579545
#define TMR_HALF (1 << 23) /* bit 23 changes after so many counts */

#define STS_TMR 0x0001
#define STS_GBL 0x0020
#define STS_PWRBTN 0x0100
#define STS_RTC 0x0400
#define STS_WAK 0x8000
#define STS_CLEARABLE 0x8d31
#define STS_SCI (STS_TMR | STS_GBL | STS_PWRBTN | STS_RTC)

#define CNT_SCI_EN 0x0001
#define CNT_SLP_EN 0x2000
#define CNT_WRITABLE 0x1c03

static int64_t timer_now(const struct acpi_pm *pm) {
  return muldiv64(clock_now(pm->clock), PM_TIMER_HZ, NS_PER_SEC);
}

static void update_timer_status(struct acpi_pm *pm) {
  int64_t half = timer_now(pm) / TMR_HALF;
  if (half != pm->tmr_checked)
    pm->pm1_sts |= STS_TMR;
  pm->tmr_checked = half;
}

static void update_sci(struct acpi_pm *pm) {
  bool wanted = (pm->pm1_sts & pm->pm1_en & STS_SCI) || (pm->gpe_sts & pm->gpe_en);
  irq_set(pm->sci, wanted && (pm->pm1_cnt & CNT_SCI_EN));
}

static void arm(struct acpi_pm *pm) {
  if (!(pm->pm1_en & STS_TMR) || (pm->pm1_sts & STS_TMR)) {
    timer_cancel(&pm->tmr);
    return;
  }
  timer_arm(&pm->tmr, muldiv64((pm->tmr_checked + 1) * TMR_HALF, NS_PER_SEC, PM_TIMER_HZ) + 1);
}

static void update(struct acpi_pm *pm) {
  update_timer_status(pm);
  update_sci(pm);
  arm(pm);
}

static void timer_fire(void *opaque) { update(opaque); }

void acpi_pm_enable(struct acpi_pm *pm, bool on) {
  pm->pm1_cnt = (uint16_t)((pm->pm1_cnt & ~CNT_SCI_EN) | (on ? CNT_SCI_EN : 0));
  update(pm);
}

void acpi_pm_power_button(struct acpi_pm *pm) {
  pm->pm1_sts |= STS_PWRBTN;
  update(pm);
}

static void write_control(struct acpi_pm *pm, uint16_t value) {
  pm->pm1_cnt = (uint16_t)(value & CNT_WRITABLE); /* SCI_EN is plain storage on the PIIX4 */
  if (value & CNT_SLP_EN) {
    unsigned type = value >> 10 & 7;
    if (type == 0 || type == 2) {
      if (pm->power_off)
        pm->power_off(pm->opaque);
    } else {
      log_unimp_once("acpi: sleep type %u\n", type);
      pm->pm1_sts |= STS_WAK;
    }
  }
  update(pm);
}

/* --- the block as bytes --- */

static uint8_t read_byte(struct acpi_pm *pm, uint32_t offset) {
  uint32_t shift = (offset & 1) * 8;
  switch (offset & ~1u) {
  case 0x00: return (uint8_t)(pm->pm1_sts >> shift);
  case 0x02: return (uint8_t)(pm->pm1_en >> shift);
  case 0x04: return (uint8_t)(pm->pm1_cnt >> shift);
  case 0x0c: return (uint8_t)(pm->gpe_sts >> shift);
  case 0x0e: return (uint8_t)(pm->gpe_en >> shift);
  default: return offset < ACPI_PM_SIZE ? pm->regs[offset] : 0xff;
  }
}

/* Merge a byte into a 16-bit register. */
static uint16_t merge(uint16_t old, uint32_t offset, uint8_t byte) {
  return offset & 1 ? (uint16_t)((old & 0x00ff) | byte << 8) : (uint16_t)((old & 0xff00) | byte);
}

static void write_byte(struct acpi_pm *pm, uint32_t offset, uint8_t byte) {
  switch (offset & ~1u) {
  case 0x00: pm->pm1_sts &= (uint16_t) ~(merge(0, offset, byte) & STS_CLEARABLE); break;
  case 0x02: pm->pm1_en = merge(pm->pm1_en, offset, byte) & STS_SCI; break;
  case 0x04: write_control(pm, merge(pm->pm1_cnt, offset, byte)); break;
  case 0x0c: pm->gpe_sts &= (uint16_t)~merge(0, offset, byte); break;
  case 0x0e: pm->gpe_en = merge(pm->gpe_en, offset, byte); break;
  case 0x08:
  case 0x0a: break; /* the timer is read-only */
  default:
    if (offset < ACPI_PM_SIZE)
      pm->regs[offset] = byte;
    break;
  }
}

uint32_t acpi_pm_read(void *opaque, uint32_t offset, int size) {
  struct acpi_pm *pm = opaque;
  uint32_t value = 0;
  if (offset >= 8 && offset < 12)
    return (uint32_t)(timer_now(pm) & 0xffffff) >> (offset & 3) * 8;
  if (offset < 4)
    update_timer_status(pm);
  for (int i = 0; i < size; i++)
    value |= (uint32_t)read_byte(pm, offset + (uint32_t)i) << i * 8;
  return value;
}

void acpi_pm_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct acpi_pm *pm = opaque;
  update_timer_status(pm);
  if (offset == 4 && size >= 2) { /* one write, one sleep */
    write_control(pm, (uint16_t)value);
    return;
  }
  for (int i = 0; i < size; i++)
    write_byte(pm, offset + (uint32_t)i, (uint8_t)(value >> i * 8));
  update(pm);
}

uint32_t acpi_gpe_read(void *opaque, uint32_t offset, int size) {
  return acpi_pm_read(opaque, 0x0c + offset, size);
}

void acpi_gpe_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  acpi_pm_write(opaque, 0x0c + offset, size, value);
}

void acpi_pm_init(struct acpi_pm *pm, struct clock *clock, const struct irq *sci, void (*power_off)(void *),
                  void *opaque) {
  pm->clock = clock;
  pm->sci = sci;
  pm->power_off = power_off;
  pm->opaque = opaque;
  timer_init(&pm->tmr, clock, "acpi-pm", timer_fire, pm);
}

void acpi_pm_reset(struct acpi_pm *pm) {
  pm->pm1_sts = pm->pm1_en = pm->pm1_cnt = 0;
  pm->gpe_sts = pm->gpe_en = 0;
  memset(pm->regs, 0, sizeof(pm->regs));
  pm->tmr_checked = timer_now(pm) / TMR_HALF;
  update(pm);
}
