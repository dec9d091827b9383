/* SPDX-License-Identifier: MIT */
/*
 * PS/2 mouse (IBM PS/2 Hardware Interface Technical Reference, "Auxiliary Device") with the Microsoft
 * extensions: the sample rates 200, 100, 80 turn on the wheel (ID 3), then 200, 200, 80 two more buttons (ID
 * 4).
 *
 * Movement that the host does not fetch in time is added up; each change of the buttons gets a packet of
 * its own. The sample rate does not limit the packets: the controller's pace does.
 */
#include "devices/ps2mouse.h"

#include <string.h>

#define ACK 0xfa
#define RESEND 0xfe

struct ps2mouse {
  struct ps2_port port;
  uint8_t id; /* 0, 3, 4 */
  uint8_t rate, resolution;
  uint8_t magic[3]; /* the last sample rates */
  uint8_t expect;   /* command whose parameter comes next; 0 = none */
  bool reporting, remote, wrap, scale21;
  uint8_t buttons, sent_buttons;
  int64_t dx, dy, dz; /* not reported yet; dy positive = down */
};

static int64_t clamp(int64_t v, int64_t low, int64_t high) { return v < low ? low : v > high ? high : v; }

/* Scaling 2:1 of stream mode. */
static int64_t scale(const struct ps2mouse *m, int64_t v) {
  static const uint8_t curve[6] = {0, 1, 1, 3, 6, 9};
  if (!m->scale21 || m->remote)
    return v;
  int64_t a = v < 0 ? -v : v, s = a < 6 ? curve[a] : 2 * a;
  return v < 0 ? -s : s;
}

static unsigned packet_size(const struct ps2mouse *m) { return m->id ? 4 : 3; }

static bool moved(const struct ps2mouse *m) {
  return m->dx || m->dy || (m->id && m->dz) || m->buttons != m->sent_buttons;
}

/* Queue one packet with what can be expressed in it; `put` is ps2_put or ps2_reply. */
static void send_packet(struct ps2mouse *m, void (*put)(struct ps2_port *, uint8_t)) {
  int64_t dx = clamp(m->dx, -127, 127), dy = clamp(m->dy, -127, 127);
  int64_t dz = m->id == 4 ? clamp(m->dz, -8, 7) : clamp(m->dz, -127, 127);
  m->dx -= dx;
  m->dy -= dy;
  m->dz -= m->id ? dz : m->dz;
  m->sent_buttons = m->buttons;
  dx = clamp(scale(m, dx), -255, 255);
  dy = clamp(scale(m, -dy), -255, 255);
  put(&m->port, (uint8_t)(0x08 | (m->buttons & 7) | (dx < 0) << 4 | (dy < 0) << 5));
  put(&m->port, (uint8_t)dx);
  put(&m->port, (uint8_t)dy);
  if (m->id == 3)
    put(&m->port, (uint8_t)dz);
  else if (m->id == 4)
    put(&m->port, (uint8_t)((dz & 15) | (m->buttons & 0x18) << 1));
}

static bool streaming(const struct ps2mouse *m) { return m->reporting && !m->remote && !m->wrap; }

void ps2mouse_event(void *mouse, int dx, int dy, int dz, int buttons) {
  struct ps2mouse *m = mouse;
  uint8_t new_buttons = buttons & 0x1f;
  if (!streaming(m) && !m->remote) {
    m->buttons = new_buttons;
    return;
  }
  /* The old state of the buttons goes out before a change of it. */
  if (streaming(m) && new_buttons != m->buttons && moved(m) && ps2_room(&m->port) >= 2 * packet_size(m))
    send_packet(m, ps2_put);
  m->buttons = new_buttons;
  m->dx = clamp(m->dx + dx, -100000, 100000);
  m->dy = clamp(m->dy + dy, -100000, 100000);
  m->dz = clamp(m->dz + dz, -1000, 1000);
  if (streaming(m) && !m->port.count && moved(m))
    send_packet(m, ps2_put);
  ps2_notify(&m->port);
}

static void mouse_drained(struct ps2_port *p) {
  struct ps2mouse *m = (struct ps2mouse *)p;
  if (streaming(m) && moved(m))
    send_packet(m, ps2_put);
}

/* --- commands --- */

static void forget_movement(struct ps2mouse *m) {
  m->port.count = 0;
  m->dx = m->dy = m->dz = 0;
  m->sent_buttons = m->buttons;
}

static void mouse_defaults(struct ps2mouse *m) {
  forget_movement(m);
  m->rate = 100;
  m->resolution = 2;
  m->scale21 = m->remote = m->wrap = m->reporting = false;
  m->expect = 0;
}

static void set_rate(struct ps2mouse *m, uint8_t rate) {
  m->rate = rate;
  m->magic[0] = m->magic[1];
  m->magic[1] = m->magic[2];
  m->magic[2] = rate;
  if (m->magic[0] != 200 || m->magic[2] != 80)
    return;
  if (m->magic[1] == 100 && m->id == 0)
    m->id = 3;
  else if (m->magic[1] == 200)
    m->id = 4;
}

static void send_status(struct ps2mouse *m) {
  uint8_t b = m->buttons;
  ps2_reply(&m->port,
            (uint8_t)(m->remote << 6 | m->reporting << 5 | m->scale21 << 4 | (b & MOUSE_LEFT ? 4 : 0) |
                      (b & MOUSE_MIDDLE ? 2 : 0) | (b & MOUSE_RIGHT ? 1 : 0)));
  ps2_reply(&m->port, m->resolution);
  ps2_reply(&m->port, m->rate);
}

static void take_command(struct ps2mouse *m, uint8_t byte) {
  struct ps2_port *p = &m->port;
  if (m->wrap && byte != 0xec && byte != 0xff) {
    ps2_reply(p, byte);
    return;
  }
  uint8_t answer = ACK;
  switch (byte) {
  case 0xe6: m->scale21 = false; break;
  case 0xe7: m->scale21 = true; break;
  case 0xe8:
  case 0xf3: m->expect = byte; break;
  case 0xe9:
  case 0xeb:
  case 0xf2: break; /* answered below */
  case 0xea: m->remote = false; break;
  case 0xec: m->wrap = false; break;
  case 0xee: m->wrap = true; break;
  case 0xf0:
    forget_movement(m);
    m->remote = true;
    break;
  case 0xf4: m->reporting = true; break;
  case 0xf5:
    forget_movement(m);
    m->reporting = false;
    break;
  case 0xf6: mouse_defaults(m); break;
  case 0xfe: answer = p->last; break;
  case 0xff:
    mouse_defaults(m);
    p->reply_count = 0;
    m->id = 0;
    break;
  default: answer = RESEND; break;
  }
  ps2_reply(p, answer);
  if (byte == 0xe9)
    send_status(m);
  else if (byte == 0xeb)
    send_packet(m, ps2_reply);
  else if (byte == 0xf2)
    ps2_reply(p, m->id);
  else if (byte == 0xff) {
    ps2_reply(p, 0xaa);
    ps2_reply(p, 0x00);
  }
}

static void mouse_command(struct ps2_port *p, uint8_t byte) {
  struct ps2mouse *m = (struct ps2mouse *)p;
  uint8_t command = m->expect;
  m->expect = 0;
  /* What the one before still has to say stays: who sends on at the first byte of it (i8042prt) wants the rest. */
  if (command == 0xe8 && byte <= 3) {
    m->resolution = byte;
    ps2_reply(p, ACK);
  } else if (command == 0xf3 && byte <= 200) {
    set_rate(m, byte);
    ps2_reply(p, ACK);
  } else {
    take_command(m, byte);
  }
  ps2_notify(p);
}

static void mouse_reset(struct device *dev) {
  struct ps2mouse *m = DEVICE(struct ps2mouse, dev);
  ps2_clear(&m->port);
  mouse_defaults(m);
  m->id = 0;
  m->port.last = 0;
  memset(m->magic, 0, sizeof(m->magic));
}

static int mouse_init(struct device *dev, const struct device_args *args) {
  struct ps2mouse *m = DEVICE(struct ps2mouse, dev);
  const struct ps2mouse_config *config = args->config;
  m->port.command = mouse_command;
  m->port.drained = mouse_drained;
  if (config && config->input) {
    config->input->mouse = ps2mouse_event;
    config->input->mouse_opaque = m;
  }
  mouse_reset(dev);
  return 0;
}

static const struct field mouse_fields[] = {
    PS2_FIELDS(struct ps2mouse, port),       FIELD(U8, struct ps2mouse, id),
    FIELD(U8, struct ps2mouse, rate),        FIELD(U8, struct ps2mouse, resolution),
    FIELD_BUFFER(struct ps2mouse, magic),    FIELD(U8, struct ps2mouse, expect),
    FIELD(BOOL, struct ps2mouse, reporting), FIELD(BOOL, struct ps2mouse, remote),
    FIELD(BOOL, struct ps2mouse, wrap),      FIELD(BOOL, struct ps2mouse, scale21),
    FIELD(U8, struct ps2mouse, buttons),     FIELD(U8, struct ps2mouse, sent_buttons),
    FIELD(I64, struct ps2mouse, dx),         FIELD(I64, struct ps2mouse, dy),
    FIELD(I64, struct ps2mouse, dz),         FIELDS_END,
};

/* A snapshot may say anything. */
static const char *mouse_check(const struct device *dev) {
  const struct ps2mouse *s = DEVICE(const struct ps2mouse, dev);
  return ps2_valid(&s->port) ? NULL : "a queue that cannot be";
}

const struct device_class ps2mouse_class = {
    .name = "ps2mouse",
    .size = sizeof(struct ps2mouse),
    .init = mouse_init,
    .reset = mouse_reset,
    .fields = mouse_fields,
    .check = mouse_check,
};
