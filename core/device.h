/* SPDX-License-Identifier: MIT */
/*
 * What a chip needs (the umbrella header of devices/): it declares itself once in a struct device_class, and
 * is handed its ports, addresses, lines and back ends in device_args. No chip knows another, the
 * PIC or an absolute address that the board did not give it.
 */
#ifndef CORE_DEVICE_H
#define CORE_DEVICE_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/clock.h"
#include "core/io.h"
#include "core/irq.h"
#include "core/log.h"
#include "core/mem.h"
#include "core/state.h"

struct device;
struct device_set;

#define DEVICE_LINES 32

struct device_args {
  const char *id; /* unique name for monitor and messages, e.g. "serial0" */
  uint16_t port[8]; /* I/O bases, in the order the class documents */
  uint32_t addr[4]; /* MMIO bases */
  struct irq irq[DEVICE_LINES]; /* output lines, in the order the class documents */
  const void *config; /* class-specific struct documented in the class's header, may be NULL */
};

struct device_class {
  const char *name;
  size_t size; /* of the whole device structure, whose first member is struct device */
  int (*init)(struct device *dev, const struct device_args *args); /* -errno, message logged */
  void (*reset)(struct device *dev); /* power-on and system reset */
  void (*destroy)(struct device *dev); /* frees what init took; the bus ranges go with the buses. NULL allowed */
  const struct field *fields;
  /*
   * Loading a snapshot (core/snapshot.h). When the fields of all devices but the timers are loaded, check says what of
   * them cannot be, in a few words, or NULL; it must not change anything. Then loaded makes anew what follows from the
   * fields: mappings, pointers, what is cached. Lines keep their levels by themselves. Both NULL allowed.
   */
  const char *(*check)(const struct device *dev);
  void (*loaded)(struct device *dev);
};

struct device {
  const struct device_class *cls;
  const char *id;
  struct io_bus *io;
  struct mem *mem;
  struct clock *clock;
  struct irq irq[DEVICE_LINES]; /* copied from args */
  struct device *next;
};

/* The devices of one machine, in creation order. */
struct device_set {
  struct io_bus *io;
  struct mem *mem;
  struct clock *clock;
  struct device *first, *last;
};

/* Allocate (zeroed), fill the common part, call init. NULL on failure (init logged why); errno set. */
struct device *device_new(struct device_set *set, const struct device_class *cls, const struct device_args *args);
struct device *device_find(const struct device_set *set, const char *id);
void device_reset_all(struct device_set *set);
void device_free_all(struct device_set *set);

#define DEVICE(type, dev) ((type *)(dev)) /* struct device is the first member */

#endif
