/* SPDX-License-Identifier: MIT */
/* Exit port for test guests: a write of `value` ends the emulator with status (value << 1) | 1. */
#include "devices/isa_debug_exit.h"

struct isa_debug_exit {
  struct device dev;
  void (*exit)(void *opaque, int status);
  void *opaque;
};

static uint32_t exit_read(void *opaque, uint32_t offset, int size) {
  (void)opaque, (void)offset, (void)size;
  return 0;
}

static void exit_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct isa_debug_exit *e = opaque;
  (void)offset, (void)size;
  if (e->exit)
    e->exit(e->opaque, (int)((value & 0x7f) << 1 | 1));
}

static const struct io_ops exit_ops = {exit_read, exit_write, 4};

static void exit_reset(struct device *dev) { (void)dev; }

static int exit_init(struct device *dev, const struct device_args *args) {
  struct isa_debug_exit *e = DEVICE(struct isa_debug_exit, dev);
  const struct isa_debug_exit_config *config = args->config;
  unsigned size = config && config->size ? config->size : 4;
  if (size > 8) {
    error_report("isa-debug-exit: iosize %u is more than 8", size);
    return -EINVAL;
  }
  if (config) {
    e->exit = config->exit;
    e->opaque = config->opaque;
  }
  return io_map(dev->io, args->port[0], size, &exit_ops, dev, "isa-debug-exit");
}

static const struct field exit_fields[] = {FIELDS_END};

const struct device_class isa_debug_exit_class = {
    .name = "isa-debug-exit",
    .size = sizeof(struct isa_debug_exit),
    .init = exit_init,
    .reset = exit_reset,
    .fields = exit_fields,
};
