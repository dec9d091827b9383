/* SPDX-License-Identifier: MIT */
/*
 * The I/O port space: 64 K ports. Accesses wider than a range's max_size, or past its end, are split into smaller
 * ones by the bus; a port where nobody lives reads as ones.
 */
#ifndef CORE_IO_H
#define CORE_IO_H

#include <stdint.h>

struct io_ops {
  uint32_t (*read)(void *opaque, uint32_t offset, int size); /* offset from the start of the range */
  void (*write)(void *opaque, uint32_t offset, int size, uint32_t value);
  int max_size; /* 1, 2 or 4; 0 means 1 */
};

struct io_bus;
struct io_bus *io_bus_new(void);
void io_bus_free(struct io_bus *bus);
/* Claim ports base .. base + count - 1. -EBUSY (logged, with both names) if another device holds one, -ENOMEM. */
int io_map(struct io_bus *bus, uint16_t base, unsigned count, const struct io_ops *ops, void *opaque, const char *name);
void io_unmap(struct io_bus *bus, uint16_t base, unsigned count);
uint32_t io_read(struct io_bus *bus, uint16_t port, int size); /* size 1, 2, 4 */
void io_write(struct io_bus *bus, uint16_t port, int size, uint32_t value);

#endif
