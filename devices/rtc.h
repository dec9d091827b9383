/* SPDX-License-Identifier: MIT */
/*
 * MC146818A real-time clock with 128 bytes of CMOS RAM.
 *
 * device_args: port[0] = 70h (index and NMI mask, data); irq[0] = IRQ8, irq[1] = NMI mask (1 = masked), may
 * be unconnected; config = struct rtc_config or NULL (host time, UTC).
 */
#ifndef DEVICES_RTC_H
#define DEVICES_RTC_H

#include "core/device.h"

struct rtc_config {
  int64_t base;   /* seconds since 1970 UTC at power-on; -1 = the host's time of day */
  bool localtime; /* the CMOS clock shows the host's local time instead of UTC (base -1 only) */
  bool clock_vm; /* runs with virtual time after power-on (always so on a counted clock); else with the host's
                    time */
};

#define RTC_CENTURY 0x32

extern const struct device_class rtc_class;

/* CMOS RAM by the board (memory size, boot order ...). index 0..127. Kept across reset. */
void rtc_set_cmos(struct device *dev, unsigned index, uint8_t value);
uint8_t rtc_get_cmos(struct device *dev, unsigned index);

#endif
