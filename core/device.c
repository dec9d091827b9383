/* SPDX-License-Identifier: MIT */
/* Creating, finding, resetting and freeing the devices of a machine. */
#include "core/device.h"

#include <stdlib.h>
#include <string.h>

struct device *device_new(struct device_set *set, const struct device_class *cls, const struct device_args *args) {
  DGM_ASSERT(cls->size >= sizeof(struct device));
  DGM_ASSERT(args->id && !device_find(set, args->id));
  struct device *dev = calloc(1, cls->size);
  if (!dev) {
    error_report("%s: out of memory", args->id);
    errno = ENOMEM;
    return NULL;
  }
  dev->cls = cls;
  dev->id = args->id;
  dev->io = set->io;
  dev->mem = set->mem;
  dev->clock = set->clock;
  memcpy(dev->irq, args->irq, sizeof dev->irq);
  int error = cls->init ? cls->init(dev, args) : 0;
  if (error) {
    free(dev);
    errno = -error;
    return NULL;
  }
  if (set->last)
    set->last->next = dev;
  else
    set->first = dev;
  set->last = dev;
  return dev;
}

struct device *device_find(const struct device_set *set, const char *id) {
  struct device *dev = set->first;
  while (dev && strcmp(dev->id, id) != 0)
    dev = dev->next;
  return dev;
}

void device_reset_all(struct device_set *set) {
  for (struct device *dev = set->first; dev; dev = dev->next)
    if (dev->cls->reset)
      dev->cls->reset(dev);
}

/* Nothing of the device stays in the clock's queue. */
static void cancel_timers(struct device *dev) {
  for (const struct field *f = dev->cls->fields; f && f->kind != FIELD_END; f++)
    for (size_t i = 0; f->kind == FIELD_TIMER && i < f->count; i++)
      timer_cancel((struct timer *)((char *)dev + f->offset) + i);
}

void device_free_all(struct device_set *set) {
  while (set->first) {
    struct device *dev = set->first;
    set->first = dev->next;
    cancel_timers(dev);
    if (dev->cls->destroy)
      dev->cls->destroy(dev);
    free(dev);
  }
  set->last = NULL;
}
