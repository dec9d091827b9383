/* SPDX-License-Identifier: MIT */
/*
 * HID class devices (Device Class Definition for HID 1.11; boot protocol, appendix B; usages from the HID
 * Usage Tables): one interrupt endpoint each, the class requests on endpoint 0.
 *
 * Events wait in a short queue, one report each, so that quick clicks and key strokes are seen; movements
 * without a change of the buttons are merged. The tablet has no boot protocol.
 */
#include "devices/usb/hid.h"

#include <string.h>

#define QUEUE 16
#define IDLE_UNIT_NS 4000000ll
#define POLLED_NS NS_PER_SEC
#define MOVEMENT_MAX 100000
#define WHEEL_MAX 1000

#define GET_DESCRIPTOR 0x06
#define GET_REPORT 0x01
#define GET_IDLE 0x02
#define GET_PROTOCOL 0x03
#define SET_REPORT 0x09
#define SET_IDLE 0x0a
#define SET_PROTOCOL 0x0b
#define TO_HOST 0xa1 /* class request to an interface */
#define FROM_HOST 0x21

enum { USAGE_FIRST_MODIFIER = 0xe0, ROLL_OVER = 1 };

struct hid;

struct hid_kind {
  const uint8_t *report_descriptor;
  unsigned report_size; /* of the descriptor */
  const uint8_t *hid_descriptor;
  bool absolute, keyboard;
  const char *name; /* for info mice */
};

struct hid {
  struct usb_device usb;
  const struct hid_kind *kind;
  struct input_sink *input;
  uint8_t protocol;         /* 0 boot, 1 report */
  uint8_t idle;             /* in 4 ms; 0: only changes are reported */
  int64_t reported, polled; /* ns */
  bool ever_polled;
  uint8_t first, count;
  uint8_t buttons, sent_buttons;
  int32_t x[QUEUE], y[QUEUE], dz[QUEUE]; /* pointers */
  uint8_t change[QUEUE];                 /* buttons after it; keyboards: usage */
  bool down[QUEUE];
  int32_t at_x, at_y; /* last position told */
  uint8_t modifiers, keys, key[16];
  uint8_t leds;
  /* whom the keys go to while the guest does not ask us */
  void (*next_key)(void *opaque, int key, bool down);
  int (*next_leds)(void *opaque);
  bool (*next_ready)(void *opaque);
  void *next_opaque;
};

/* --- descriptors --- */

static const uint8_t tablet_report[] = {
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, /* generic desktop, mouse { pointer { */
    0x05, 0x09, 0x19, 0x01, 0x29, 0x03, 0x15, 0x00, 0x25, 0x01, /* buttons 1 to 3, 0 or 1 */
    0x95, 0x03, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x05, 0x81, 0x01, /* 3 bits, 5 to fill */
    0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x15, 0x00, 0x26, 0xff, 0x7f,       /* X, Y: 0 to 7FFFh */
    0x35, 0x00, 0x46, 0xff, 0x7f, 0x75, 0x10, 0x95, 0x02, 0x81, 0x02,       /* 16 bits each, absolute */
    0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, 0x35, 0x00, 0x45, 0x00,             /* wheel: -127 to 127 */
    0x75, 0x08, 0x95, 0x01, 0x81, 0x06, 0xc0, 0xc0,                         /* 8 bits, relative } } */
};
static const uint8_t mouse_report[] = {
    0x05, 0x01, 0x09, 0x02, 0xa1, 0x01, 0x09, 0x01, 0xa1, 0x00, 0x05, 0x09, 0x19, 0x01, 0x29,
    0x03, 0x15, 0x00, 0x25, 0x01, 0x95, 0x03, 0x75, 0x01, 0x81, 0x02, 0x95, 0x01, 0x75, 0x05,
    0x81, 0x01, 0x05, 0x01, 0x09, 0x30, 0x09, 0x31, 0x09, 0x38, 0x15, 0x81, 0x25, 0x7f, /* X, Y, wheel */
    0x75, 0x08, 0x95, 0x03, 0x81, 0x06, 0xc0, 0xc0,
};
static const uint8_t keyboard_report[] = {
    0x05, 0x01, 0x09, 0x06, 0xa1, 0x01, 0x05, 0x07, 0x19, 0xe0, 0x29, 0xe7, /* keyboard { modifiers */
    0x15, 0x00, 0x25, 0x01, 0x75, 0x01, 0x95, 0x08, 0x81, 0x02, 0x95, 0x01, 0x75, 0x08, 0x81,
    0x01, 0x95, 0x05, 0x75, 0x01, 0x05, 0x08, 0x19, 0x01, 0x29, 0x05, 0x91, 0x02,             /* five LEDs */
    0x95, 0x01, 0x75, 0x03, 0x91, 0x01, 0x95, 0x06, 0x75, 0x08, 0x15, 0x00, 0x26, 0xff, 0x00, /* six keys */
    0x05, 0x07, 0x19, 0x00, 0x2a, 0xff, 0x00, 0x81, 0x00, 0xc0,
};

#define LE16(n) (n) & 0xff, (n) >> 8
#define DEVICE_DESCRIPTOR(name, product, packet0)                                                            \
  static const uint8_t name[18] = {18,      1, LE16(0x110), 0, 0, 0, packet0, LE16(0x0627), LE16(product),   \
                                   LE16(0), 1, 2,           3, 1}
/* Configuration, interface, HID and endpoint; remote wakeup, 100 mA. */
#define CONFIG_DESCRIPTOR(name, sub, proto, report, packet, interval)                                        \
  static const uint8_t name[34] = {9,                                                                        \
                                   2,                                                                        \
                                   LE16(34),                                                                 \
                                   1,                                                                        \
                                   1,                                                                        \
                                   0,                                                                        \
                                   0xa0,                                                                     \
                                   50,                                                                       \
                                   9,                                                                        \
                                   4,                                                                        \
                                   0,                                                                        \
                                   0,                                                                        \
                                   1,                                                                        \
                                   3,                                                                        \
                                   sub,                                                                      \
                                   proto,                                                                    \
                                   0,                                                                        \
                                   9,                                                                        \
                                   0x21,                                                                     \
                                   LE16(0x111),                                                              \
                                   0,                                                                        \
                                   1,                                                                        \
                                   0x22,                                                                     \
                                   LE16(sizeof(report)),                                                     \
                                   7,                                                                        \
                                   5,                                                                        \
                                   0x81,                                                                     \
                                   3,                                                                        \
                                   LE16(packet),                                                             \
                                   interval}

DEVICE_DESCRIPTOR(tablet_device, 1, 8);
DEVICE_DESCRIPTOR(mouse_device, 2, 8);
DEVICE_DESCRIPTOR(keyboard_device, 3, 8);
CONFIG_DESCRIPTOR(tablet_config, 0, 0, tablet_report, 8, 8);
CONFIG_DESCRIPTOR(mouse_config, 1, 2, mouse_report, 4, 10);
CONFIG_DESCRIPTOR(keyboard_config, 1, 1, keyboard_report, 8, 10);

static const char *const tablet_strings[] = {"Dragoman", "Dragoman USB Tablet", "1", NULL};
static const char *const mouse_strings[] = {"Dragoman", "Dragoman USB Mouse", "2", NULL};
static const char *const keyboard_strings[] = {"Dragoman", "Dragoman USB Keyboard", "3", NULL};

/* --- keys: set 1 scancodes to usages of page 7 --- */

static const uint8_t usage_plain[0x59] = {
    [0x01] = 0x29, 0x1e, 0x1f, 0x20,          0x21,          0x22, 0x23, 0x24,
    0x25,          0x26, 0x27, 0x2d,          0x2e,          0x2a, 0x2b, [0x10] = 0x14,
    0x1a,          0x08, 0x15, 0x17,          0x1c,          0x18, 0x0c, 0x12,
    0x13,          0x2f, 0x30, 0x28,          0xe0,          0x04, 0x16, [0x20] = 0x07,
    0x09,          0x0a, 0x0b, 0x0d,          0x0e,          0x0f, 0x33, 0x34,
    0x35,          0xe1, 0x31, 0x1d,          0x1b,          0x06, 0x19, [0x30] = 0x05,
    0x11,          0x10, 0x36, 0x37,          0x38,          0xe5, 0x55, 0xe2,
    0x2c,          0x39, 0x3a, 0x3b,          0x3c,          0x3d, 0x3e, [0x40] = 0x3f,
    0x40,          0x41, 0x42, 0x43,          0x53,          0x47, 0x5f, 0x60,
    0x61,          0x56, 0x5c, 0x5d,          0x5e,          0x57, 0x59, [0x50] = 0x5a,
    0x5b,          0x62, 0x63, [0x54] = 0x46, [0x56] = 0x64, 0x44, 0x45,
};

static uint8_t usage_of(int key) {
  static const struct {
    int key;
    uint8_t usage;
  } prefixed[] = {
      {0x11c, 0x58}, {0x11d, 0xe4},     {0x135, 0x54}, {0x137, 0x46}, {0x138, 0xe6}, {0x147, 0x4a},
      {0x148, 0x52}, {0x149, 0x4b},     {0x14b, 0x50}, {0x14d, 0x4f}, {0x14f, 0x4d}, {0x150, 0x51},
      {0x151, 0x4e}, {0x152, 0x49},     {0x153, 0x4c}, {0x15b, 0xe3}, {0x15c, 0xe7}, {0x15d, 0x65},
      {0x15e, 0x66}, {KEY_PAUSE, 0x48}, {0x146, 0x48},
  };
  if (key > 0 && key < (int)sizeof usage_plain)
    return usage_plain[key];
  for (size_t i = 0; i < sizeof prefixed / sizeof prefixed[0]; i++)
    if (prefixed[i].key == key)
      return prefixed[i].usage;
  return 0;
}

static void press(struct hid *h, uint8_t usage, bool down) {
  if (usage >= USAGE_FIRST_MODIFIER) {
    uint8_t bit = (uint8_t)(1u << (usage & 7));
    h->modifiers = down ? h->modifiers | bit : h->modifiers & (uint8_t)~bit;
    return;
  }
  unsigned i = 0;
  while (i < h->keys && h->key[i] != usage)
    i++;
  if (down && i == h->keys && h->keys < sizeof h->key)
    h->key[h->keys++] = usage;
  if (!down && i < h->keys) {
    memmove(h->key + i, h->key + i + 1, (size_t)(h->keys - i - 1));
    h->keys--;
  }
}

/* --- events --- */

bool usb_hid_polled(void *opaque) {
  const struct hid *h = opaque;
  return h->usb.configuration && h->ever_polled && clock_now(h->usb.dev.clock) - h->polled < POLLED_NS;
}

static unsigned tail(const struct hid *h, unsigned n) { return (h->first + n) % QUEUE; }

/* What nobody fetches does not add up without end. */
static void add(int32_t *sum, int v, int32_t most) {
  int64_t n = (int64_t)*sum + v;
  *sum = (int32_t)(n < -most ? -most : n > most ? most : n);
}

void usb_hid_pointer(void *opaque, int x, int y, int dz, int buttons) {
  struct hid *h = opaque;
  bool changed = (uint8_t)buttons != h->buttons;
  /* The last event of the queue is still open, unless it is a click. */
  bool merge = h->count && !changed && !h->down[tail(h, h->count - 1u)];
  if (h->count == QUEUE)
    merge = true; /* positions matter more than the order */
  unsigned i = tail(h, merge ? h->count - 1u : h->count);
  if (!merge) {
    h->count++;
    h->x[i] = h->y[i] = h->dz[i] = 0;
    h->down[i] = changed;
  }
  if (h->kind->absolute) {
    h->x[i] = x < 0 ? 0 : x > INPUT_ABS_MAX ? INPUT_ABS_MAX : x;
    h->y[i] = y < 0 ? 0 : y > INPUT_ABS_MAX ? INPUT_ABS_MAX : y;
  } else {
    add(&h->x[i], x, MOVEMENT_MAX);
    add(&h->y[i], y, MOVEMENT_MAX);
  }
  add(&h->dz[i], dz, WHEEL_MAX);
  h->change[i] = h->buttons = (uint8_t)buttons;
  usb_notify(&h->usb);
}

void usb_hid_key(void *opaque, int key, bool down) {
  struct hid *h = opaque;
  uint8_t usage = usage_of(key);
  if (!usb_hid_polled(h) && !(h->usb.configuration && h->usb.remote_wakeup)) {
    if (h->next_key)
      h->next_key(h->next_opaque, key, down);
    return;
  }
  if (!usage || h->count == QUEUE)
    return;
  unsigned i = tail(h, h->count++);
  h->change[i] = usage;
  h->down[i] = down;
  usb_notify(&h->usb);
}

static int keyboard_leds(void *opaque) {
  struct hid *h = opaque;
  if (!usb_hid_polled(h))
    return h->next_leds ? h->next_leds(h->next_opaque) : 0;
  return (h->leds & 4 ? 1 : 0) | (h->leds & 1 ? 2 : 0) | (h->leds & 2 ? 4 : 0);
}

static bool keyboard_ready(void *opaque) {
  struct hid *h = opaque;
  if (!usb_hid_polled(h))
    return h->next_ready ? h->next_ready(h->next_opaque) : true;
  return h->count == 0;
}

/* --- reports --- */

static int32_t step(int32_t *v) {
  int32_t n = *v < -127 ? -127 : *v > 127 ? 127 : *v;
  *v -= n;
  return n;
}

static unsigned pointer_report(struct hid *h, uint8_t *buf, bool take) {
  uint8_t buttons = h->sent_buttons;
  int32_t dx = 0, dy = 0, dz = 0;
  if (h->count && take) {
    unsigned i = h->first;
    buttons = h->sent_buttons = h->change[i];
    dz = step(&h->dz[i]);
    if (h->kind->absolute) {
      h->at_x = h->x[i];
      h->at_y = h->y[i];
    } else {
      dx = step(&h->x[i]);
      dy = step(&h->y[i]);
    }
    if (!h->dz[i] && (h->kind->absolute || (!h->x[i] && !h->y[i]))) {
      h->first = (uint8_t)((h->first + 1) % QUEUE);
      h->count--;
    }
  }
  buf[0] = buttons & 7; /* left, right, middle as in MOUSE_* */
  if (h->kind->absolute) {
    buf[1] = (uint8_t)h->at_x;
    buf[2] = (uint8_t)(h->at_x >> 8);
    buf[3] = (uint8_t)h->at_y;
    buf[4] = (uint8_t)(h->at_y >> 8);
    buf[5] = (uint8_t)-dz; /* positive: away from the user */
    return 6;
  }
  buf[1] = (uint8_t)dx;
  buf[2] = (uint8_t)dy;
  buf[3] = (uint8_t)-dz;
  return h->protocol ? 4 : 3;
}

static unsigned keyboard_fill(struct hid *h, uint8_t *buf, bool take) {
  if (h->count && take) {
    press(h, h->change[h->first], h->down[h->first]);
    h->first = (uint8_t)((h->first + 1) % QUEUE);
    h->count--;
  }
  memset(buf, 0, 8);
  buf[0] = h->modifiers;
  if (h->keys > 6)
    memset(buf + 2, ROLL_OVER, 6);
  else
    memcpy(buf + 2, h->key, h->keys);
  return 8;
}

static unsigned fill_report(struct hid *h, uint8_t *buf, bool take) {
  return h->kind->keyboard ? keyboard_fill(h, buf, take) : pointer_report(h, buf, take);
}

static int hid_in(struct usb_device *d, unsigned endpoint, uint8_t *buf) {
  struct hid *h = (struct hid *)d;
  (void)endpoint;
  int64_t now = clock_now(d->dev.clock);
  h->polled = now;
  h->ever_polled = true;
  if (!h->count && !(h->idle && now - h->reported >= h->idle * IDLE_UNIT_NS))
    return USB_NAK;
  h->reported = now;
  return (int)fill_report(h, buf, true);
}

/* --- class requests (7.2) --- */

static int get_descriptor(const struct hid *h, const struct usb_setup *s, uint8_t *buf) {
  if (s->value >> 8 == 0x22) {
    memcpy(buf, h->kind->report_descriptor, h->kind->report_size);
    return (int)h->kind->report_size;
  }
  if (s->value >> 8 != 0x21)
    return USB_STALL;
  memcpy(buf, h->kind->hid_descriptor, 9);
  return 9;
}

static int hid_control(struct usb_device *d, const struct usb_setup *s, uint8_t *buf) {
  struct hid *h = (struct hid *)d;
  if (s->type == 0x81 && s->request == GET_DESCRIPTOR)
    return get_descriptor(h, s, buf);
  if (s->type == TO_HOST)
    switch (s->request) {
    case GET_REPORT: return s->value >> 8 == 1 ? (int)fill_report(h, buf, false) : USB_STALL;
    case GET_IDLE: buf[0] = h->idle; return 1;
    case GET_PROTOCOL: buf[0] = h->protocol; return 1;
    }
  if (s->type == FROM_HOST)
    switch (s->request) {
    case SET_REPORT:
      if (!h->kind->keyboard || s->value >> 8 != 2 || s->length < 1)
        return USB_STALL;
      h->leds = buf[0];
      return 0;
    case SET_IDLE:
      h->idle = (uint8_t)(s->value >> 8);
      h->reported = clock_now(d->dev.clock);
      return 0;
    case SET_PROTOCOL:
      if (h->kind->absolute || s->value > 1)
        return USB_STALL;
      h->protocol = (uint8_t)s->value;
      return 0;
    }
  return USB_STALL;
}

static void hid_bus_reset(struct usb_device *d) {
  struct hid *h = (struct hid *)d;
  h->protocol = 1;
  h->idle = 0;
  h->first = h->count = 0;
  h->modifiers = h->keys = h->leds = 0;
  h->sent_buttons = h->buttons = 0;
  h->ever_polled = false;
}

static void hid_reset(struct device *dev) { usb_device_reset((struct usb_device *)dev); }

/* --- the three devices --- */

#define USB_CLASS(kind, low)                                                                                 \
  {                                                                                                          \
    .device_descriptor = kind##_device, .config_descriptor = kind##_config, .strings = kind##_strings,       \
    .low_speed = low, .packet0 = 8, .packet = 8, .control = hid_control, .in = hid_in,                       \
    .bus_reset = hid_bus_reset,                                                                              \
  }
static const struct usb_class tablet_class = USB_CLASS(tablet, false);
static const struct usb_class mouse_class = USB_CLASS(mouse, true);
static const struct usb_class keyboard_class = USB_CLASS(keyboard, true);

#define KIND(kind, is_absolute, is_keyboard, text)                                                           \
  { kind##_report, sizeof kind##_report, kind##_config + 18, is_absolute, is_keyboard, text }
static const struct hid_kind tablet_kind = KIND(tablet, true, false, "USB Tablet");
static const struct hid_kind mouse_kind = KIND(mouse, false, false, "USB Mouse");
static const struct hid_kind keyboard_kind = KIND(keyboard, false, true, "USB Keyboard");

static void take_keys(struct hid *h) {
  struct input_sink *in = h->input;
  h->next_key = in->key;
  h->next_leds = in->leds;
  h->next_ready = in->key_ready;
  h->next_opaque = in->key_opaque;
  in->key = usb_hid_key;
  in->leds = keyboard_leds;
  in->key_ready = keyboard_ready;
  in->key_opaque = h;
}

static int init(struct device *dev, const struct device_args *args, const struct usb_class *usb,
                const struct hid_kind *kind) {
  struct hid *h = DEVICE(struct hid, dev);
  const struct usb_hid_config *config = args->config;
  h->usb.usb = usb;
  h->kind = kind;
  h->input = config ? config->input : NULL;
  if (h->input && kind->keyboard)
    take_keys(h);
  else if (h->input)
    input_add_pointer(
        h->input, &(struct input_pointer){kind->name, kind->absolute, usb_hid_pointer, usb_hid_polled, h});
  hid_bus_reset(&h->usb);
  return 0;
}

static int tablet_init(struct device *dev, const struct device_args *args) {
  return init(dev, args, &tablet_class, &tablet_kind);
}
static int mouse_init(struct device *dev, const struct device_args *args) {
  return init(dev, args, &mouse_class, &mouse_kind);
}
static int keyboard_init(struct device *dev, const struct device_args *args) {
  return init(dev, args, &keyboard_class, &keyboard_kind);
}

#define HID_BYTES(member)                                                                                    \
  { FIELD_BYTES, #member, offsetof(struct hid, member), sizeof(((struct hid *)0)->member) }
static const struct field hid_fields[] = {
    USB_FIELDS(struct hid),
    FIELD(U8, struct hid, protocol),
    FIELD(U8, struct hid, idle),
    FIELD(I64, struct hid, reported),
    FIELD(I64, struct hid, polled),
    FIELD(BOOL, struct hid, ever_polled),
    FIELD(U8, struct hid, first),
    FIELD(U8, struct hid, count),
    FIELD(U8, struct hid, buttons),
    FIELD(U8, struct hid, sent_buttons),
    FIELD_ARRAY(U32, struct hid, x),
    FIELD_ARRAY(U32, struct hid, y),
    FIELD_ARRAY(U32, struct hid, dz),
    HID_BYTES(change),
    FIELD_ARRAY(BOOL, struct hid, down),
    FIELD(U32, struct hid, at_x),
    FIELD(U32, struct hid, at_y),
    FIELD(U8, struct hid, modifiers),
    FIELD(U8, struct hid, keys),
    HID_BYTES(key),
    FIELD(U8, struct hid, leds),
    FIELDS_END,
};

/* A snapshot may say anything. */
static const char *hid_check(const struct device *dev) {
  const struct hid *h = DEVICE(const struct hid, dev);
  bool good = usb_valid(&h->usb) && h->first < QUEUE && h->count <= QUEUE && h->keys <= sizeof h->key;
  return good ? NULL : "a queue that cannot be";
}

#define HID_CLASS(label, start)                                                                              \
  {                                                                                                          \
    .name = label, .size = sizeof(struct hid), .init = start, .reset = hid_reset, .fields = hid_fields,      \
    .check = hid_check                                                                                       \
  }
const struct device_class usb_tablet_class = HID_CLASS("usb-tablet", tablet_init);
const struct device_class usb_mouse_class = HID_CLASS("usb-mouse", mouse_init);
const struct device_class usb_keyboard_class = HID_CLASS("usb-kbd", keyboard_init);
