/* SPDX-License-Identifier: MIT */
/*
 * USB hub (USB 1.1, chapter 11): eight ports powered together, the status change endpoint, the hub class
 * requests.
 *
 * A port's reset lasts no time. Not modelled: over-current, frame timers, the translation of low-speed
 * packets (PRE).
 */
#include "devices/usb/hub.h"

#include <string.h>

enum { GET_STATUS = 0, CLEAR_FEATURE = 1, SET_FEATURE = 3, GET_DESCRIPTOR = 6, SET_DESCRIPTOR = 7 };
enum {
  PORT_CONNECTION = 0,
  PORT_ENABLE = 1,
  PORT_SUSPEND = 2,
  PORT_RESET = 4,
  PORT_POWER = 8,
  PORT_LOW_SPEED = 9,
  C_PORT_CONNECTION = 16,
  C_PORT_ENABLE = 17,
  C_PORT_SUSPEND = 18,
  C_PORT_RESET = 20,
};

#define BIT(feature) ((uint16_t)(1u << ((feature)&15)))

struct hub {
  struct usb_device usb;
  struct usb_port port[USB_HUB_PORTS];
  uint16_t status[USB_HUB_PORTS], change[USB_HUB_PORTS];
};

static const uint8_t device_descriptor[18] = {18,   1,    0x10, 0x01, 9, 0, 0, 8, 0x09,
                                              0x04, 0xaa, 0x55, 0x01, 1, 1, 2, 3, 1};
static const uint8_t config_descriptor[25] = {
    9, 2, 25,   0, 1, 1, 0,    0xe0, 0, /* self-powered, remote wakeup */
    9, 4, 0,    0, 1, 9, 0,    0,    0, /* hub class */
    7, 5, 0x81, 3, 2, 0, 0xff,          /* status change: two bytes, every 255 ms */
};
/* Ganged power, compound no, no over-current protection; 2 ms to good power; all removable. */
static const uint8_t hub_descriptor[11] = {11, 0x29, USB_HUB_PORTS, 0x12, 0x00, 1, 0, 0x00, 0x00, 0xff, 0xff};
static const char *const strings[] = {"Dragoman", "Dragoman USB Hub", "314159", NULL};

static void set_change(struct hub *h, int n, int feature) {
  h->change[n] |= BIT(feature);
  usb_notify(&h->usb);
}

static void update(struct hub *h, int n) {
  uint16_t s = h->status[n];
  h->port[n].enabled = h->usb.configuration && s & BIT(PORT_ENABLE) && !(s & BIT(PORT_SUSPEND));
}

/* What is plugged in shows once there is power. */
static void sense(struct hub *h, int n) {
  struct usb_device *d = h->port[n].dev;
  uint16_t old = h->status[n];
  bool seen = d && old & BIT(PORT_POWER);
  uint16_t s = old & BIT(PORT_POWER);
  if (seen)
    s |= BIT(PORT_CONNECTION) | (d->usb->low_speed ? BIT(PORT_LOW_SPEED) : 0);
  h->status[n] = s;
  update(h, n);
  if (seen || old & BIT(PORT_CONNECTION))
    set_change(h, n, C_PORT_CONNECTION);
}

static void port_changed(struct usb_port *port) { sense(port->owner, port->number - 1); }

static void port_wakeup(struct usb_port *port) {
  struct hub *h = port->owner;
  int n = port->number - 1;
  if (h->status[n] & BIT(PORT_SUSPEND)) {
    h->status[n] &= (uint16_t)~BIT(PORT_SUSPEND);
    update(h, n);
    set_change(h, n, C_PORT_SUSPEND);
  } else if (h->usb.at && h->usb.at->wakeup) {
    h->usb.at->wakeup(h->usb.at);
  }
}

static int set_port_feature(struct hub *h, int n, unsigned feature) {
  uint16_t *s = &h->status[n];
  bool connected = (*s & BIT(PORT_CONNECTION)) != 0;
  switch (feature) {
  case PORT_SUSPEND:
    if (*s & BIT(PORT_ENABLE))
      *s |= BIT(PORT_SUSPEND);
    break;
  case PORT_RESET:
    if (!connected)
      break;
    usb_device_reset(h->port[n].dev);
    *s = (uint16_t)((*s & ~BIT(PORT_SUSPEND)) | BIT(PORT_ENABLE));
    set_change(h, n, C_PORT_RESET);
    break;
  case PORT_POWER:
    if (!(*s & BIT(PORT_POWER))) {
      *s |= BIT(PORT_POWER);
      sense(h, n);
    }
    break;
  case PORT_ENABLE: return USB_STALL; /* only a reset enables */
  default: return USB_STALL;
  }
  update(h, n);
  return 0;
}

static int clear_port_feature(struct hub *h, int n, unsigned feature) {
  switch (feature) {
  case PORT_ENABLE: h->status[n] &= (uint16_t) ~(BIT(PORT_ENABLE) | BIT(PORT_SUSPEND)); break;
  case PORT_SUSPEND:
    if (h->status[n] & BIT(PORT_SUSPEND)) {
      h->status[n] &= (uint16_t)~BIT(PORT_SUSPEND);
      set_change(h, n, C_PORT_SUSPEND);
    }
    break;
  case PORT_POWER: h->status[n] = h->change[n] = 0; break;
  case C_PORT_CONNECTION:
  case C_PORT_ENABLE:
  case C_PORT_SUSPEND:
  case C_PORT_SUSPEND + 1:
  case C_PORT_RESET: h->change[n] &= (uint16_t)~BIT(feature); break;
  default: return USB_STALL;
  }
  update(h, n);
  return 0;
}

static int hub_control(struct usb_device *d, const struct usb_setup *s, uint8_t *buf) {
  struct hub *h = (struct hub *)d;
  int n = s->index - 1;
  bool port = n >= 0 && n < USB_HUB_PORTS;
  switch (s->type << 8 | s->request) {
  case 0xa000 | GET_DESCRIPTOR:
    if (s->value >> 8 != 0x29 && s->value >> 8 != 0)
      return USB_STALL;
    memcpy(buf, hub_descriptor, sizeof hub_descriptor);
    return sizeof hub_descriptor;
  case 0xa000 | GET_STATUS: memset(buf, 0, 4); return 4; /* local power good */
  case 0x2000 | CLEAR_FEATURE:
  case 0x2000 | SET_FEATURE: return s->value <= 1 ? 0 : USB_STALL;
  case 0xa300 | GET_STATUS:
    if (!port)
      return USB_STALL;
    buf[0] = (uint8_t)h->status[n];
    buf[1] = (uint8_t)(h->status[n] >> 8);
    buf[2] = (uint8_t)h->change[n];
    buf[3] = 0;
    return 4;
  case 0x2300 | SET_FEATURE: return port ? set_port_feature(h, n, s->value) : USB_STALL;
  case 0x2300 | CLEAR_FEATURE: return port ? clear_port_feature(h, n, s->value) : USB_STALL;
  default: return USB_STALL;
  }
}

static int hub_in(struct usb_device *d, unsigned endpoint, uint8_t *buf) {
  struct hub *h = (struct hub *)d;
  unsigned bits = 0;
  (void)endpoint;
  for (int n = 0; n < USB_HUB_PORTS; n++)
    bits |= h->change[n] ? 2u << n : 0;
  if (!bits)
    return USB_NAK;
  buf[0] = (uint8_t)bits;
  buf[1] = (uint8_t)(bits >> 8);
  return 2;
}

static void hub_bus_reset(struct usb_device *d) {
  struct hub *h = (struct hub *)d;
  for (int n = 0; n < USB_HUB_PORTS; n++) {
    h->status[n] = h->change[n] = 0;
    update(h, n);
  }
}

static struct usb_port *hub_port(struct usb_device *d, unsigned n) {
  return n < USB_HUB_PORTS ? &((struct hub *)d)->port[n] : NULL;
}

struct usb_port *usb_hub_ports(struct device *dev) {
  DGM_ASSERT(dev->cls == &usb_hub_class);
  return ((struct hub *)dev)->port;
}

static const struct usb_class hub_class = {
    .device_descriptor = device_descriptor,
    .config_descriptor = config_descriptor,
    .strings = strings,
    .packet0 = 8,
    .packet = 2,
    .control = hub_control,
    .in = hub_in,
    .bus_reset = hub_bus_reset,
    .port = hub_port,
};

static int hub_init(struct device *dev, const struct device_args *args) {
  struct hub *h = DEVICE(struct hub, dev);
  (void)args;
  h->usb.usb = &hub_class;
  for (int n = 0; n < USB_HUB_PORTS; n++)
    h->port[n] =
        (struct usb_port){.number = n + 1, .owner = h, .changed = port_changed, .wakeup = port_wakeup};
  return 0;
}

static void hub_reset(struct device *dev) { usb_device_reset((struct usb_device *)dev); }

static const struct field hub_fields[] = {
    USB_FIELDS(struct hub),
    FIELD_ARRAY(U16, struct hub, status),
    FIELD_ARRAY(U16, struct hub, change),
    FIELD(BOOL, struct hub, port[0].enabled),
    FIELD(BOOL, struct hub, port[1].enabled),
    FIELD(BOOL, struct hub, port[2].enabled),
    FIELD(BOOL, struct hub, port[3].enabled),
    FIELD(BOOL, struct hub, port[4].enabled),
    FIELD(BOOL, struct hub, port[5].enabled),
    FIELD(BOOL, struct hub, port[6].enabled),
    FIELD(BOOL, struct hub, port[7].enabled),
    FIELDS_END,
};

/* A snapshot may say anything. */
static const char *hub_check(const struct device *dev) {
  const struct hub *s = DEVICE(const struct hub, dev);
  return usb_valid(&s->usb) ? NULL : "a transfer that cannot be";
}

const struct device_class usb_hub_class = {
    .name = "usb-hub",
    .size = sizeof(struct hub),
    .init = hub_init,
    .reset = hub_reset,
    .fields = hub_fields,
    .check = hub_check,
};
