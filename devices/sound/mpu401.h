/* SPDX-License-Identifier: MIT */
/*
 * Roland MPU-401 in UART mode, as sound cards have it, with nothing on the MIDI cable.
 *
 * device_args: port[0] = data port, status and command behind it; irq[0] = high while a byte waits; config
 * unused.
 */
#ifndef DEVICES_SOUND_MPU401_H
#define DEVICES_SOUND_MPU401_H

#include "core/device.h"

extern const struct device_class mpu401_class;

uint64_t mpu401_sent(const struct device *dev); /* bytes that went to the cable */

#endif
