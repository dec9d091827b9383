/* SPDX-License-Identifier: MIT */
/*
 * 8254 programmable interval timer, 1.193182 MHz.
 *
 * device_args: port[0] = 40h; irq[0] = OUT of channel 0; config = struct pit_config or NULL.
 */
#ifndef DEVICES_PIT_H
#define DEVICES_PIT_H

#include "core/device.h"

#define PIT_HZ 1193182

struct pit_config {
  /* Channel 2 was programmed: its mode (0..5) and its count in input clocks (1..65536). */
  void (*tone)(void *opaque, int mode, uint32_t count);
  void *tone_opaque;
  /* What OUT of channel 2 does is about to change (pit_out2_at still tells the old). */
  void (*out2_changes)(void *opaque);
  void *out2_opaque;
  /* Has the last edge of channel 0 not been taken yet (pic_irq0_waits)? Later ones are then held back, so
   * that none is lost. NULL: unknown, edges come on time. */
  bool (*irq_waits)(void *opaque);
  void *irq_waits_opaque;
};

extern const struct device_class pit_class;

/* GATE of channel 2 (the others are tied high) and its OUT, as port 61h sees them. `pit` is the struct
 * device. */
void pit_set_gate2(void *pit, bool level);
bool pit_get_out2(void *pit);
/* OUT of channel 2 at virtual time ns, no earlier than the last change, and until when (ns; INT64_MAX: for ever) it
 * stays so if nobody programs the channel. Changes nothing. */
bool pit_out2_at(void *pit, int64_t ns, int64_t *until);

#endif
