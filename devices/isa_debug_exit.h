/* SPDX-License-Identifier: MIT */
/*
 * Exit port for test guests: a write ends the emulator with status (value << 1) | 1.
 *
 * device_args: port[0] = base; config = struct isa_debug_exit_config.
 */
#ifndef DEVICES_ISA_DEBUG_EXIT_H
#define DEVICES_ISA_DEBUG_EXIT_H

#include "core/device.h"

struct isa_debug_exit_config {
  unsigned size; /* ports claimed, 1..8; 0 = 4 */
  void (*exit)(void *opaque, int status);
  void *opaque;
};

extern const struct device_class isa_debug_exit_class;

#endif
