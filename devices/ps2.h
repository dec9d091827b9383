/* SPDX-License-Identifier: MIT */
/*
 * The PS/2 wire between the 8042 and a keyboard or mouse: bytes from the device wait in its queues until the
 * controller takes them, answers to commands first; bytes from the host arrive through `command`.
 */
#ifndef DEVICES_PS2_H
#define DEVICES_PS2_H

#include "core/device.h"

#define PS2_QUEUE 64
#define PS2_REPLIES 8

struct ps2_port { /* first member of a PS/2 device's structure */
  struct device dev;
  uint8_t queue[PS2_QUEUE];
  uint8_t reply[PS2_REPLIES];
  uint8_t head, count;
  uint8_t reply_head, reply_count;
  uint8_t last; /* byte sent last, for Resend */
  void (*command)(struct ps2_port *p, uint8_t byte);
  void (*drained)(struct ps2_port *p); /* the last byte was taken; NULL allowed */
  void (*notify)(void *opaque);        /* set by the controller: bytes were queued */
  void *notify_opaque;
};

/* For the field table of `type`, whose member `port` is the struct ps2_port. */
#define PS2_FIELD(kind, type, port, member, n)                                                               \
  { FIELD_##kind, #member, offsetof(type, port.member), n }
#define PS2_FIELDS(type, port)                                                                               \
  PS2_FIELD(BYTES, type, port, queue, PS2_QUEUE), PS2_FIELD(BYTES, type, port, reply, PS2_REPLIES),          \
      PS2_FIELD(U8, type, port, head, 1), PS2_FIELD(U8, type, port, count, 1),                               \
      PS2_FIELD(U8, type, port, reply_head, 1), PS2_FIELD(U8, type, port, reply_count, 1),                   \
      PS2_FIELD(U8, type, port, last, 1)

static inline unsigned ps2_room(const struct ps2_port *p) {
  return p->count < PS2_QUEUE ? PS2_QUEUE - p->count : 0;
}

static inline bool ps2_has_data(const struct ps2_port *p) { return p->count || p->reply_count; }

static inline bool ps2_valid(const struct ps2_port *p) {
  return p->head < PS2_QUEUE && p->count <= PS2_QUEUE && p->reply_head < PS2_REPLIES && p->reply_count <= PS2_REPLIES;
}

static inline void ps2_clear(struct ps2_port *p) { p->head = p->count = p->reply_head = p->reply_count = 0; }

/* These do not notify: a caller that queues several bytes calls ps2_notify once. Full queues drop the byte.
 */
static inline void ps2_put(struct ps2_port *p, uint8_t byte) {
  if (p->count < PS2_QUEUE)
    p->queue[(p->head + p->count++) % PS2_QUEUE] = byte;
}

static inline void ps2_reply(struct ps2_port *p, uint8_t byte) {
  if (p->reply_count < PS2_REPLIES)
    p->reply[(p->reply_head + p->reply_count++) % PS2_REPLIES] = byte;
}

static inline void ps2_notify(struct ps2_port *p) {
  if (p->notify && ps2_has_data(p))
    p->notify(p->notify_opaque);
}

static inline uint8_t ps2_take(struct ps2_port *p) { /* only if ps2_has_data */
  if (p->reply_count) {
    p->last = p->reply[p->reply_head % PS2_REPLIES];
    p->reply_head = (p->reply_head + 1) % PS2_REPLIES;
    p->reply_count--;
  } else {
    p->last = p->queue[p->head % PS2_QUEUE];
    p->head = (p->head + 1) % PS2_QUEUE;
    p->count--;
  }
  uint8_t byte = p->last;
  if (!ps2_has_data(p) && p->drained)
    p->drained(p);
  return byte;
}

#endif
