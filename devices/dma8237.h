/* SPDX-License-Identifier: MIT */
/*
 * Two cascaded 8237A DMA controllers with the AT's page registers. Channels 0..3 move bytes, 5..7 words,
 * 4 is the cascade.
 *
 * device_args: port[0] = 00h (channels 0-3), port[1] = C0h (channels 4-7), port[2] = 80h (page registers); no
 *              lines; config unused.
 *
 * A device owns a channel: it raises its request with dma_request; whenever the channel is requested,
 * unmasked and enabled, `run` is called (from dma_request or from a register write). In it the device moves
 * what it can with dma_write_memory / dma_read_memory, and lowers the request when it has no more to move.
 */
#ifndef DEVICES_DMA8237_H
#define DEVICES_DMA8237_H

#include "core/device.h"

typedef void dma_handler(void *opaque, int channel);

extern const struct device_class dma8237_class;

void dma_register(struct device *dev, int channel, dma_handler *run, void *opaque);
void dma_request(struct device *dev, int channel, int level);
bool dma_ready(const struct device *dev,
               int channel); /* requested, unmasked, enabled: transfers would run now */
/*
 * Device to memory (the 8237's "write transfer") and memory to device. Moves at most the channel's remaining
 * count and returns the bytes moved (whole words on channels 5..7). *tc = the terminal count was reached with
 * this call; the channel is then masked, or reloaded if it autoinitializes. Moves nothing if the channel is
 * not ready.
 */
size_t dma_write_memory(struct device *dev, int channel, const void *buf, size_t len, bool *tc);
size_t dma_read_memory(struct device *dev, int channel, void *buf, size_t len, bool *tc);

#endif
