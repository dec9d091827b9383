/* SPDX-License-Identifier: MIT */
/*
 * A byte stream between a device (UART, parallel port, debug port) and the host. Front ends implement it
 * (frontends/chardev*.c): stdio, file, unix, tcp, pty, null, vc.
 */
#ifndef CORE_CHARDEV_H
#define CORE_CHARDEV_H

#include <stddef.h>
#include <stdint.h>

struct chardev {
  /* Device -> host. Called by the CPU thread under the machine lock; must not block; returns bytes taken. */
  size_t (*write)(struct chardev *c, const uint8_t *buf, size_t len);
  /* Host -> device: the device sets these at init. Called under the machine lock. can_receive: how many bytes fit. */
  size_t (*can_receive)(void *opaque);
  void (*receive)(void *opaque, const uint8_t *buf, size_t len);
  void *receive_opaque;
  void (*device_ready)(struct chardev *c); /* the device has room again; may be NULL */
  void (*close)(struct chardev *c);
  char label[64];
};

static inline size_t chardev_write(struct chardev *c, const uint8_t *buf, size_t len) {
  return c && c->write ? c->write(c, buf, len) : len;
}

#endif
