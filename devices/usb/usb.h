/* SPDX-License-Identifier: MIT */
/*
 * USB 1.1: ports, the devices behind them, and transactions. A host controller or hub owns ports; a device is
 * a struct device whose first member is a struct usb_device. One call of usb_transact is one transaction on
 * the wire: token, data, handshake. Endpoint 0, data toggles and halts are handled here for all devices
 * (chapters 8 and 9).
 */
#ifndef DEVICES_USB_USB_H
#define DEVICES_USB_USB_H

#include <stdio.h>

#include "core/device.h"

#define USB_SETUP 0x2d
#define USB_IN 0x69
#define USB_OUT 0xe1

#define USB_PACKET 1280     /* the most that a host controller asks for at once */
#define USB_CONTROL_MAX 512 /* data stage of a control transfer */
#define USB_HUB_DEPTH 5     /* hubs below each other (section 4.1.1) */

/* What a transaction can end with, other than a number of bytes. */
enum { USB_NAK = -1, USB_STALL = -2, USB_BABBLE = -3, USB_TIMEOUT = -4, USB_WRONG_TOGGLE = -5 };

struct usb_device;

struct usb_port {
  struct usb_device *dev; /* NULL: nothing is plugged in */
  struct usb_port *up;    /* of the hub that owns this port; NULL: a root port */
  int number;             /* from 1 */
  bool enabled;           /* passes packets on */
  void *owner;
  void (*changed)(struct usb_port *port); /* something was plugged in or out */
  void (*wakeup)(struct usb_port *port);  /* the device signals resume; suspended ports only take note */
  /* The device has something to say: the controller may have been polling at leisure. */
  void (*activity)(struct usb_port *port);
};

struct usb_setup {
  uint8_t type, request;
  uint16_t value, index, length;
};

struct usb_class {
  const uint8_t *device_descriptor;
  const uint8_t *config_descriptor; /* all of it, wTotalLength bytes */
  const char *const *strings;       /* from index 1 on, ended by NULL */
  bool low_speed;
  uint8_t packet0; /* largest packet of endpoint 0 */
  uint8_t packet;  /* and of all others */
  /* A request that chapter 9 does not answer alike for all. Data from the host is in buf; data for it goes
   * there (USB_CONTROL_MAX). The number of bytes, or USB_STALL. NULL: none. */
  int (*control)(struct usb_device *d, const struct usb_setup *s, uint8_t *buf);
  int (*in)(struct usb_device *d, unsigned endpoint,
            uint8_t *buf); /* at most `packet` bytes; USB_NAK, USB_STALL */
  int (*out)(struct usb_device *d, unsigned endpoint, const uint8_t *data, unsigned length);
  void (*bus_reset)(struct usb_device *d);                    /* or a new configuration; NULL allowed */
  struct usb_port *(*port)(struct usb_device *d, unsigned n); /* hubs: n from 0; NULL past the end */
  bool (*may_clear_halt)(struct usb_device *d);               /* NULL: always */
};

struct usb_device { /* first member of a USB device's structure */
  struct device dev;
  const struct usb_class *usb;
  struct usb_port *at;
  uint8_t addr, new_addr, configuration;
  bool remote_wakeup;
  uint8_t setup[8];
  uint8_t stage;         /* of the control transfer */
  uint16_t length, done; /* bytes of its data stage */
  uint8_t buf[USB_CONTROL_MAX];
  uint16_t toggle_in, toggle_out, halt_in, halt_out; /* bit per endpoint */
  char serial[32];
};

#define USB_FIELD(kind, type, member)                                                                        \
  { FIELD_##kind, #member, offsetof(type, usb.member), 1 }
#define USB_FIELD_BYTES(type, member, n)                                                                     \
  { FIELD_BYTES, #member, offsetof(type, usb.member), n }
#define USB_FIELDS(type)                                                                                     \
  USB_FIELD(U8, type, addr), USB_FIELD(U8, type, new_addr), USB_FIELD(U8, type, configuration),              \
      USB_FIELD(BOOL, type, remote_wakeup), USB_FIELD_BYTES(type, setup, 8), USB_FIELD(U8, type, stage),     \
      USB_FIELD(U16, type, length), USB_FIELD(U16, type, done), USB_FIELD_BYTES(type, buf, USB_CONTROL_MAX), \
      USB_FIELD(U16, type, toggle_in), USB_FIELD(U16, type, toggle_out), USB_FIELD(U16, type, halt_in),      \
      USB_FIELD(U16, type, halt_out)

/* What a snapshot says: can it be? */
static inline bool usb_valid(const struct usb_device *d) {
  return d->addr < 128 && d->new_addr < 128 && d->configuration <= 1 && d->length <= USB_CONTROL_MAX &&
         d->done <= d->length;
}
/* Plug in; -EBUSY if the port is taken. Unplug what is there. */
int usb_attach(struct usb_port *port, struct usb_device *d);
void usb_detach(struct usb_port *port);
/* Power-on, and reset on the wire (from a port): address 0, not configured. */
void usb_device_reset(struct usb_device *d);
/* The device that answers to `addr` behind an enabled port of `count`; NULL: none. */
struct usb_device *usb_find(struct usb_port *ports, unsigned count, unsigned addr);
/*
 * One transaction. SETUP and OUT send `length` bytes of buf with the data toggle given; IN fills up to
 * `length` bytes (buf has room for USB_PACKET). Bytes, or USB_NAK and so on. USB_WRONG_TOGGLE: what came is a
 * repetition for the host, which drops it.
 */
int usb_transact(struct usb_device *d, unsigned pid, unsigned endpoint, bool toggle, uint8_t *buf,
                 unsigned length);
/* The device has new data: let the controller look soon; wakes a suspended bus if the host allowed that. */
void usb_notify(struct usb_device *d);
/* "1.2": port 2 of the hub at root port 1. */
void usb_path(const struct usb_device *d, char *buf, size_t size);
void usb_info(struct usb_port *ports, unsigned count, FILE *out); /* as QEMU's "info usb" */

#endif
