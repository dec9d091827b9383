/* SPDX-License-Identifier: MIT */
/*
 * The PS/2 wire between the 8042 and a keyboard or mouse: bytes from the device wait in its queue until the
 * controller takes them; bytes from the host arrive through `command`.
 */
#ifndef DEVICES_PS2_H
#define DEVICES_PS2_H

#include "core/device.h"

#define PS2_QUEUE 64

struct ps2_port { /* first member of a PS/2 device's structure */
  struct device dev;
  uint8_t queue[PS2_QUEUE];
  uint8_t head, count;
  void (*command)(struct ps2_port *p, uint8_t byte);
  void (*notify)(void *opaque); /* set by the controller: a byte was queued */
  void *notify_opaque;
};

#define PS2_FIELDS(type, port) \
  {FIELD_BYTES, "queue", offsetof(type, port.queue), PS2_QUEUE}, {FIELD_U8, "head", offsetof(type, port.head), 1}, \
    {FIELD_U8, "count", offsetof(type, port.count), 1}

static inline unsigned ps2_room(const struct ps2_port *p) { return PS2_QUEUE - p->count; }

static inline void ps2_clear(struct ps2_port *p) { p->head = p->count = 0; }

/* Does not notify: a caller that queues several bytes calls ps2_notify once. A full queue drops the byte. */
static inline void ps2_put(struct ps2_port *p, uint8_t byte) {
  if (p->count < PS2_QUEUE)
    p->queue[(p->head + p->count++) % PS2_QUEUE] = byte;
}

static inline void ps2_notify(struct ps2_port *p) {
  if (p->notify && p->count)
    p->notify(p->notify_opaque);
}

static inline uint8_t ps2_take(struct ps2_port *p) { /* count > 0 */
  uint8_t byte = p->queue[p->head % PS2_QUEUE];
  p->head = (p->head + 1) % PS2_QUEUE;
  p->count--;
  return byte;
}

#endif
