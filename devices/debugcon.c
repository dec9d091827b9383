/* SPDX-License-Identifier: MIT */
/*
 * Debug console port, as firmware under emulators knows it: bytes written are the message, reads return
 * E9h to say that somebody listens.
 */
#include "devices/debugcon.h"

struct debugcon {
  struct device dev;
  struct chardev *chardev;
};

static uint32_t debugcon_read(void *opaque, uint32_t offset, int size) {
  (void)opaque, (void)offset, (void)size;
  return 0xe9;
}

static void debugcon_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct debugcon *d = opaque;
  uint8_t byte = (uint8_t)value;
  (void)offset, (void)size;
  chardev_write(d->chardev, &byte, 1);
}

static const struct io_ops debugcon_ops = {debugcon_read, debugcon_write, 1};

static void debugcon_reset(struct device *dev) { (void)dev; }

static int debugcon_init(struct device *dev, const struct device_args *args) {
  const struct debugcon_config *config = args->config;
  DEVICE(struct debugcon, dev)->chardev = config ? config->chardev : NULL;
  return io_map(dev->io, args->port[0], 1, &debugcon_ops, dev, "debugcon");
}

static const struct field debugcon_fields[] = {FIELDS_END};

const struct device_class debugcon_class = {
    .name = "debugcon",
    .size = sizeof(struct debugcon),
    .init = debugcon_init,
    .reset = debugcon_reset,
    .fields = debugcon_fields,
};
