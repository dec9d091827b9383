/* SPDX-License-Identifier: MIT */
/*
 * mon:SPEC, one channel for a serial port and a monitor. Output of both goes out; input goes to the one that
 * has the focus. Ctrl-A begins a command: c changes the focus, x quits, h helps, Ctrl-A sends itself.
 */
#include <stdlib.h>
#include <string.h>

#include "frontends/channel.h"

#define ESCAPE 0x01 /* Ctrl-A */
#define QUEUE 64

enum { SERIAL, MONITOR, SIDES };

struct mux {
  struct channel side[SIDES]; /* side[SERIAL] first: the pointer that channel_open returns */
  struct channel *base;
  int focus;
  bool escaped;
  uint8_t queue[QUEUE]; /* input that the focused side had no room for */
  unsigned queued;
};

static struct mux *mux_of(struct chardev *dev, int side) {
  return (struct mux *)((char *)dev - offsetof(struct mux, side) - (size_t)side * sizeof(struct channel));
}

static void deliver(struct mux *m) {
  const struct chardev *dev = &m->side[m->focus].dev;
  size_t room = dev->can_receive ? dev->can_receive(dev->receive_opaque) : QUEUE;
  unsigned n = room < m->queued ? (unsigned)room : m->queued;
  if (!n)
    return;
  uint8_t bytes[QUEUE];
  memcpy(bytes, m->queue, n);
  m->queued -= n;
  memmove(m->queue, m->queue + n, m->queued);
  if (dev->receive)
    dev->receive(dev->receive_opaque, bytes, n);
}

static void say(struct mux *m, const char *text) {
  chardev_write(&m->base->dev, (const uint8_t *)text, strlen(text));
}

static void change_focus(struct mux *m) {
  deliver(m);
  m->queued = 0;
  m->focus = !m->focus;
  struct channel *c = &m->side[m->focus];
  if (m->focus == MONITOR)
    say(m, "\r\n");
  if (c->opened)
    c->opened(c->opened_opaque);
}

static void command(struct mux *m, uint8_t c) {
  switch (c) {
  case 'c': change_focus(m); break;
  case 'x':
    say(m, "\r\ndragoman: terminated\r\n");
    machine_request_quit(m->base->set->machine, 0);
    break;
  case 'h':
  case '?':
    say(m, "\r\nCtrl-A h  this help\r\nCtrl-A x  quit the emulator\r\nCtrl-A c  switch between console and "
           "monitor\r\n"
           "Ctrl-A Ctrl-A  send Ctrl-A\r\n");
    break;
  case ESCAPE: m->queue[m->queued++] = ESCAPE; break;
  }
}

static size_t mux_can_receive(void *opaque) {
  struct mux *m = opaque;
  deliver(m);
  return QUEUE - m->queued;
}

static void mux_receive(void *opaque, const uint8_t *buf, size_t len) {
  struct mux *m = opaque;
  for (size_t i = 0; i < len; i++) {
    if (m->escaped) {
      m->escaped = false;
      command(m, buf[i]);
    } else if (buf[i] == ESCAPE) {
      m->escaped = true;
    } else if (m->queued < QUEUE) {
      m->queue[m->queued++] = buf[i];
    }
  }
  deliver(m);
}

static size_t serial_write(struct chardev *dev, const uint8_t *buf, size_t len) {
  return chardev_write(&mux_of(dev, SERIAL)->base->dev, buf, len);
}
static size_t monitor_write(struct chardev *dev, const uint8_t *buf, size_t len) {
  return chardev_write(&mux_of(dev, MONITOR)->base->dev, buf, len);
}
static void wake_base(struct mux *m) {
  deliver(m);
  if (m->base->dev.device_ready)
    m->base->dev.device_ready(&m->base->dev);
}
static void serial_ready(struct chardev *dev) { wake_base(mux_of(dev, SERIAL)); }
static void monitor_ready(struct chardev *dev) { wake_base(mux_of(dev, MONITOR)); }

static void mux_destroy(struct channel *c) { free(c); }
static void side_destroy(struct channel *c) { (void)c; }

struct channel *channel_mux_new(struct channel_set *set, const char *label, struct channel *base) {
  struct mux *m = calloc(1, sizeof *m);
  if (!m)
    return NULL;
  m->base = base;
  m->side[SERIAL].dev.write = serial_write;
  m->side[SERIAL].dev.device_ready = serial_ready;
  m->side[MONITOR].dev.write = monitor_write;
  m->side[MONITOR].dev.device_ready = monitor_ready;
  snprintf(m->side[SERIAL].description, sizeof m->side[SERIAL].description, "mux of %.64s", base->dev.label);
  snprintf(m->side[MONITOR].description, sizeof m->side[MONITOR].description, "mux of %.64s",
           base->dev.label);
  base->dev.can_receive = mux_can_receive;
  base->dev.receive = mux_receive;
  base->dev.receive_opaque = m;
  /* The monitor's side goes first, so that the mux is freed after it. */
  m->side[MONITOR].destroy = side_destroy;
  channel_add(set, &m->side[MONITOR], "monitor");
  m->side[SERIAL].destroy = mux_destroy;
  channel_add(set, &m->side[SERIAL], label);
  return &m->side[SERIAL];
}

struct channel *channel_mux_monitor(struct channel *serial) {
  return serial && serial->destroy == mux_destroy ? &((struct mux *)serial)->side[MONITOR] : NULL;
}
