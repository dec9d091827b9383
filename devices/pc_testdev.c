/* SPDX-License-Identifier: MIT */
/*
 * Test device with the programming interface of QEMU's pc-testdev, as kvm-unit-tests use it: a data port that holds
 * what was written, 64 KB of registers that do, too (memory, but every access comes here), one port for each
 * interrupt line, and a port that would flush a page on other hypervisors and here does nothing.
 */
#include "devices/pc_testdev.h"

#include <string.h>

#define MEMORY_SIZE 0x10000u

struct pc_testdev {
  struct device dev;
  uint32_t data;
  uint8_t level[PC_TESTDEV_LINES];
  uint8_t memory[MEMORY_SIZE];
};

static uint32_t data_read(void *opaque, uint32_t offset, int size) {
  const struct pc_testdev *t = opaque;
  uint32_t value = 0;
  memcpy(&value, (const uint8_t *)&t->data + offset, (size_t)size);
  return value;
}

static void data_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct pc_testdev *t = opaque;
  memcpy((uint8_t *)&t->data + offset, &value, (size_t)size);
}

static uint32_t flush_read(void *opaque, uint32_t offset, int size) {
  (void)opaque, (void)offset, (void)size;
  return 0;
}

static void flush_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)opaque, (void)offset, (void)size, (void)value;
}

static uint32_t line_read(void *opaque, uint32_t offset, int size) {
  (void)size;
  return ((const struct pc_testdev *)opaque)->level[offset];
}

static void line_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct pc_testdev *t = opaque;
  (void)size;
  t->level[offset] = value != 0;
  irq_set(&t->dev.irq[offset], value != 0);
}

static uint64_t memory_read(void *opaque, uint32_t offset, int size) {
  const struct pc_testdev *t = opaque;
  uint64_t value = 0;
  memcpy(&value, t->memory + offset, (size_t)size);
  return value;
}

static void memory_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  struct pc_testdev *t = opaque;
  memcpy(t->memory + offset, &value, (size_t)size);
}

static const struct io_ops data_ops = {data_read, data_write, 4};
static const struct io_ops flush_ops = {flush_read, flush_write, 4};
static const struct io_ops line_ops = {line_read, line_write, 1};
static const struct mmio_ops memory_ops = {.read = memory_read, .write = memory_write, .max_size = 4};

static void testdev_reset(struct device *dev) {
  struct pc_testdev *t = DEVICE(struct pc_testdev, dev);
  t->data = 0;
  memset(t->memory, 0, sizeof t->memory);
  for (unsigned i = 0; i < PC_TESTDEV_LINES; i++)
    line_write(t, i, 1, 0);
}

static int testdev_init(struct device *dev, const struct device_args *args) {
  int error = io_map(dev->io, args->port[0], 4, &data_ops, dev, "pc-testdev data");
  if (!error)
    error = io_map(dev->io, args->port[1], 4, &flush_ops, dev, "pc-testdev flush");
  if (!error)
    error = io_map(dev->io, args->port[2], PC_TESTDEV_LINES, &line_ops, dev, "pc-testdev lines");
  return error ? error : mem_map_mmio(dev->mem, args->addr[0], MEMORY_SIZE, &memory_ops, dev, "pc-testdev");
}

static const struct field testdev_fields[] = {
    FIELD(U32, struct pc_testdev, data),
    FIELD_ARRAY(U8, struct pc_testdev, level),
    FIELD_BUFFER(struct pc_testdev, memory),
    FIELDS_END,
};

const struct device_class pc_testdev_class = {
    .name = "pc-testdev",
    .size = sizeof(struct pc_testdev),
    .init = testdev_init,
    .reset = testdev_reset,
    .fields = testdev_fields,
};
