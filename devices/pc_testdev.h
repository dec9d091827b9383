/* SPDX-License-Identifier: MIT */
/*
 * Test device, for suites written for QEMU's pc-testdev: what a test needs in order to emulate on demand an access to
 * a port, to memory-mapped registers, or an interrupt.
 *
 * device_args: port[0] = the data port (four bytes), port[1] = the flush port (four), port[2] = first of
 * PC_TESTDEV_LINES interrupt ports; addr[0] = 64 KB of registers; irq[n] = the line that interrupt port n sets.
 */
#ifndef DEVICES_PC_TESTDEV_H
#define DEVICES_PC_TESTDEV_H

#include "core/device.h"

#define PC_TESTDEV_LINES 24

extern const struct device_class pc_testdev_class;

#endif
