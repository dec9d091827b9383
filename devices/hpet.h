/* SPDX-License-Identifier: MIT */
/*
 * High precision event timers (IA-PC HPET 1.0a): one 64-bit counter at 100 MHz, three comparators.
 *
 * device_args: addr[0] = FED00000h; irq[0..23] = lines by global interrupt number (0 stands for the timer's
 * line, which the board routes to IRQ0 and pin 2; 8 for the clock's); config unused. The timer and the clock
 * chip drive their interrupts through hpet_legacy_in(hpet, 0 or 8, level), which passes them on to irq[n]
 * unless legacy replacement is on.
 */
#ifndef DEVICES_HPET_H
#define DEVICES_HPET_H

#include "core/device.h"

extern const struct device_class hpet_class;

void hpet_legacy_in(void *hpet, int n, int level);

#endif
