/* SPDX-License-Identifier: MIT */
/*
 * What all USB devices have in common: endpoint 0's transfers and the standard requests (USB 1.1, chapter 9),
 * data toggles and halted endpoints (chapter 8), ports and the search for an address.
 */
#include "devices/usb/usb.h"

#include <string.h>

enum { STAGE_IDLE, STAGE_IN, STAGE_OUT, STAGE_STATUS_IN, STAGE_STATUS_OUT, STAGE_STALLED };

enum {
  GET_STATUS = 0,
  CLEAR_FEATURE = 1,
  SET_FEATURE = 3,
  SET_ADDRESS = 5,
  GET_DESCRIPTOR = 6,
  GET_CONFIGURATION = 8,
  SET_CONFIGURATION = 9,
  GET_INTERFACE = 10,
  SET_INTERFACE = 11,
};

/* --- ports --- */

static struct usb_port *hub_port(struct usb_device *d, unsigned n) {
  return d->usb->port ? d->usb->port(d, n) : NULL;
}

int usb_attach(struct usb_port *port, struct usb_device *d) {
  if (port->dev)
    return -EBUSY;
  port->dev = d;
  d->at = port;
  struct usb_port *below;
  for (unsigned n = 0; (below = hub_port(d, n)); n++)
    below->up = port;
  usb_device_reset(d);
  port->changed(port);
  return 0;
}

void usb_detach(struct usb_port *port) {
  if (!port->dev)
    return;
  port->dev->at = NULL;
  port->dev = NULL;
  port->enabled = false;
  port->changed(port);
}

static void forget(struct usb_device *d) {
  d->toggle_in = d->toggle_out = d->halt_in = d->halt_out = 0;
  if (d->usb->bus_reset)
    d->usb->bus_reset(d);
}

void usb_device_reset(struct usb_device *d) {
  d->addr = d->new_addr = d->configuration = 0;
  d->remote_wakeup = false;
  d->stage = STAGE_IDLE;
  d->length = d->done = 0;
  forget(d);
}

static struct usb_device *find_behind(struct usb_port *port, unsigned addr, int depth) {
  struct usb_device *d = port->dev;
  if (!d || !port->enabled || depth > USB_HUB_DEPTH)
    return NULL;
  if (d->addr == addr)
    return d;
  struct usb_port *below;
  for (unsigned n = 0; (below = hub_port(d, n)); n++) {
    struct usb_device *found = find_behind(below, addr, depth + 1);
    if (found)
      return found;
  }
  return NULL;
}

struct usb_device *usb_find(struct usb_port *ports, unsigned count, unsigned addr) {
  for (unsigned i = 0; i < count; i++) {
    struct usb_device *found = find_behind(&ports[i], addr, 0);
    if (found)
      return found;
  }
  return NULL;
}

void usb_notify(struct usb_device *d) {
  struct usb_port *port = d->at;
  if (!port)
    return;
  if (d->remote_wakeup && port->wakeup)
    port->wakeup(port);
  while (port->up)
    port = port->up;
  if (port->activity)
    port->activity(port);
}

void usb_path(const struct usb_device *d, char *buf, size_t size) {
  int number[USB_HUB_DEPTH + 2], count = 0;
  for (const struct usb_port *p = d->at; p && count < USB_HUB_DEPTH + 2; p = p->up)
    number[count++] = p->number;
  size_t used = 0;
  buf[0] = '\0';
  while (count-- > 0 && used < size)
    used += (size_t)snprintf(buf + used, size - used, "%s%d", used ? "." : "", number[count]);
}

static const char *product(const struct usb_device *d) {
  unsigned index = d->usb->device_descriptor[15];
  return index ? d->usb->strings[index - 1] : d->dev.cls->name;
}

static void info_port(struct usb_port *port, int depth, FILE *out) {
  struct usb_device *d = port->dev;
  char path[32];
  if (!d || depth > USB_HUB_DEPTH)
    return;
  usb_path(d, path, sizeof path);
  fprintf(out, "  Device 0.%u, Port %s, Speed %s Mb/s, Product %s, ID: %s\n", d->addr, path,
          d->usb->low_speed ? "1.5" : "12", product(d), d->dev.id);
  struct usb_port *below;
  for (unsigned n = 0; (below = hub_port(d, n)); n++)
    info_port(below, depth + 1, out);
}

void usb_info(struct usb_port *ports, unsigned count, FILE *out) {
  for (unsigned i = 0; i < count; i++)
    info_port(&ports[i], 0, out);
}

/* --- standard requests --- */

static int string_descriptor(const struct usb_device *d, unsigned index, uint8_t *buf) {
  unsigned n = 0;
  if (index == 0) {
    memcpy(buf, (const uint8_t[]){4, 3, 0x09, 0x04}, 4); /* US English */
    return 4;
  }
  while (n < index && d->usb->strings[n])
    n++;
  if (n < index)
    return USB_STALL;
  const char *text = d->usb->strings[index - 1];
  if (index == d->usb->device_descriptor[16] && d->serial[0])
    text = d->serial;
  unsigned length = (unsigned)strlen(text);
  length = length > 126 ? 126 : length;
  buf[0] = (uint8_t)(2 + 2 * length);
  buf[1] = 3;
  for (unsigned i = 0; i < length; i++) {
    buf[2 + 2 * i] = (uint8_t)text[i];
    buf[3 + 2 * i] = 0;
  }
  return buf[0];
}

static int get_descriptor(const struct usb_device *d, const struct usb_setup *s, uint8_t *buf) {
  const uint8_t *config = d->usb->config_descriptor;
  unsigned total = config[2] | (unsigned)config[3] << 8;
  switch (s->value >> 8) {
  case 1: memcpy(buf, d->usb->device_descriptor, 18); return 18;
  case 2:
    if (s->value & 0xff)
      return USB_STALL;
    memcpy(buf, config, total);
    return (int)total;
  case 3: return string_descriptor(d, s->value & 0xff, buf);
  default: return USB_STALL;
  }
}

/* Does the configuration have this endpoint? Bit 7 = IN. */
static bool has_endpoint(const struct usb_device *d, unsigned address) {
  const uint8_t *config = d->usb->config_descriptor;
  unsigned total = config[2] | (unsigned)config[3] << 8;
  if ((address & 0x7f) == 0)
    return true;
  for (unsigned at = 0; at + 2 < total && config[at] >= 2; at += config[at])
    if (config[at + 1] == 5 && config[at + 2] == address)
      return d->configuration != 0;
  return false;
}

static int endpoint_feature(struct usb_device *d, const struct usb_setup *s) {
  unsigned bit = 1u << (s->index & 15);
  uint16_t *halt = s->index & 0x80 ? &d->halt_in : &d->halt_out;
  uint16_t *toggle = s->index & 0x80 ? &d->toggle_in : &d->toggle_out;
  if (s->value || !has_endpoint(d, s->index & 0x8f))
    return USB_STALL;
  if (bit == 1)
    return 0; /* the default pipe never stays halted */
  if (s->request == SET_FEATURE) {
    *halt |= (uint16_t)bit;
  } else {
    *toggle &= (uint16_t)~bit;
    if (!d->usb->may_clear_halt || d->usb->may_clear_halt(d))
      *halt &= (uint16_t)~bit;
  }
  return 0;
}

static int get_status(const struct usb_device *d, const struct usb_setup *s, uint8_t *buf) {
  unsigned status = 0, bit = 1u << (s->index & 15);
  switch (s->type & 0x1f) {
  case 0: status = (d->usb->config_descriptor[7] >> 6 & 1) | (d->remote_wakeup ? 2u : 0); break;
  case 1: break;
  case 2:
    if (!has_endpoint(d, s->index & 0x8f))
      return USB_STALL;
    status = ((s->index & 0x80 ? d->halt_in : d->halt_out) & bit) != 0;
    break;
  default: return USB_STALL;
  }
  buf[0] = (uint8_t)status;
  buf[1] = 0;
  return 2;
}

static int device_request(struct usb_device *d, const struct usb_setup *s, uint8_t *buf) {
  switch (s->request) {
  case CLEAR_FEATURE:
  case SET_FEATURE:
    if (s->value != 1 || !(d->usb->config_descriptor[7] & 0x20))
      return USB_STALL;
    d->remote_wakeup = s->request == SET_FEATURE;
    return 0;
  case SET_ADDRESS:
    if (s->value > 127)
      return USB_STALL;
    d->new_addr = (uint8_t)s->value; /* holds from the end of the status stage on */
    return 0;
  case GET_CONFIGURATION: buf[0] = d->configuration; return 1;
  case SET_CONFIGURATION:
    if (s->value && s->value != d->usb->config_descriptor[5])
      return USB_STALL;
    d->configuration = (uint8_t)s->value;
    forget(d);
    return 0;
  default: return USB_STALL;
  }
}

static int standard_request(struct usb_device *d, const struct usb_setup *s, uint8_t *buf) {
  unsigned recipient = s->type & 0x1f;
  if (s->request == GET_STATUS && s->type & 0x80)
    return get_status(d, s, buf);
  if (s->request == GET_DESCRIPTOR && s->type == 0x80)
    return get_descriptor(d, s, buf);
  if (recipient == 0)
    return device_request(d, s, buf);
  if (recipient == 2 && (s->request == CLEAR_FEATURE || s->request == SET_FEATURE))
    return endpoint_feature(d, s);
  if (recipient == 1 && s->request == GET_INTERFACE && d->configuration) {
    buf[0] = 0;
    return 1;
  }
  if (recipient == 1 && s->request == SET_INTERFACE && d->configuration && s->value == 0) {
    d->toggle_in = d->toggle_out = 0;
    return 0;
  }
  return USB_STALL;
}

/* --- endpoint 0 --- */

static struct usb_setup setup_of(const struct usb_device *d) {
  const uint8_t *p = d->setup;
  return (struct usb_setup){p[0], p[1], (uint16_t)(p[2] | p[3] << 8), (uint16_t)(p[4] | p[5] << 8),
                            (uint16_t)(p[6] | p[7] << 8)};
}

static int request(struct usb_device *d) {
  struct usb_setup s = setup_of(d);
  int n = (s.type & 0x60) == 0 ? standard_request(d, &s, d->buf) : USB_STALL;
  if (n == USB_STALL && d->usb->control)
    n = d->usb->control(d, &s, d->buf);
  return n;
}

static int take_setup(struct usb_device *d, const uint8_t *data, unsigned length) {
  if (length != 8)
    return USB_TIMEOUT; /* not a setup packet: ignored, no handshake */
  memcpy(d->setup, data, 8);
  struct usb_setup s = setup_of(d);
  d->done = d->length = 0;
  d->new_addr = d->addr;
  if (s.type & 0x80 && s.length) {
    int n = request(d);
    d->stage = n < 0 ? STAGE_STALLED : STAGE_IN;
    d->length = n < 0 ? 0 : (uint16_t)(n < s.length ? n : s.length);
  } else if (s.length > USB_CONTROL_MAX) {
    d->stage = STAGE_STALLED;
  } else if (s.length) {
    d->stage = STAGE_OUT;
    d->length = s.length;
  } else {
    d->stage = request(d) < 0 ? STAGE_STALLED : STAGE_STATUS_IN;
  }
  d->toggle_in |= 1; /* data and status stages begin with DATA1 */
  d->toggle_out |= 1;
  return 8;
}

static int control_in(struct usb_device *d, uint8_t *buf) {
  if (d->stage == STAGE_STATUS_IN) {
    d->stage = STAGE_IDLE;
    d->addr = d->new_addr;
    return 0;
  }
  if (d->stage != STAGE_IN)
    return USB_STALL;
  unsigned n = d->length - d->done;
  n = n > d->usb->packet0 ? d->usb->packet0 : n;
  memcpy(buf, d->buf + d->done, n);
  d->done = (uint16_t)(d->done + n);
  return (int)n;
}

static int control_out(struct usb_device *d, const uint8_t *data, unsigned length) {
  if (d->stage == STAGE_IN && length == 0) { /* the status stage, perhaps before all data was fetched */
    d->stage = STAGE_IDLE;
    return 0;
  }
  if (d->stage != STAGE_OUT || length > d->usb->packet0 || d->done + length > d->length) {
    d->stage = STAGE_STALLED;
    return USB_STALL;
  }
  memcpy(d->buf + d->done, data, length);
  d->done = (uint16_t)(d->done + length);
  if (d->done == d->length) {
    d->stage = request(d) < 0 ? STAGE_STALLED : STAGE_STATUS_IN;
    d->toggle_in |= 1;
  }
  return (int)length;
}

/* --- transactions --- */

static int transact_in(struct usb_device *d, unsigned endpoint, bool toggle, uint8_t *buf, unsigned length) {
  uint16_t bit = (uint16_t)(1u << endpoint);
  int n;
  if (endpoint == 0)
    n = control_in(d, buf);
  else if (d->halt_in & bit || !has_endpoint(d, endpoint | 0x80) || !d->usb->in)
    n = USB_STALL;
  else
    n = d->usb->in(d, endpoint, buf);
  if (n == USB_STALL && endpoint)
    d->halt_in |= bit;
  if (n < 0)
    return n;
  if ((unsigned)n > length)
    return USB_BABBLE;
  bool sent = (d->toggle_in & bit) != 0;
  d->toggle_in ^= bit;
  return sent == toggle ? n : USB_WRONG_TOGGLE;
}

static int transact_out(struct usb_device *d, unsigned endpoint, bool toggle, const uint8_t *buf,
                        unsigned length) {
  uint16_t bit = (uint16_t)(1u << endpoint);
  if (endpoint && (d->halt_out & bit || !has_endpoint(d, endpoint) || !d->usb->out)) {
    d->halt_out |= bit;
    return USB_STALL;
  }
  if (((d->toggle_out & bit) != 0) != toggle && !(endpoint == 0 && d->stage == STAGE_IN))
    return (int)length; /* a repetition of what we have: acknowledged and dropped */
  if (endpoint && length > d->usb->packet)
    return USB_TIMEOUT;
  int n = endpoint ? d->usb->out(d, endpoint, buf, length) : control_out(d, buf, length);
  if (n == USB_STALL && endpoint)
    d->halt_out |= bit;
  if (n >= 0)
    d->toggle_out ^= bit;
  return n;
}

int usb_transact(struct usb_device *d, unsigned pid, unsigned endpoint, bool toggle, uint8_t *buf,
                 unsigned length) {
  endpoint &= 15;
  switch (pid) {
  case USB_SETUP: return endpoint == 0 ? take_setup(d, buf, length) : USB_TIMEOUT;
  case USB_IN: return transact_in(d, endpoint, toggle, buf, length);
  case USB_OUT: return transact_out(d, endpoint, toggle, buf, length);
  default: return USB_TIMEOUT;
  }
}
