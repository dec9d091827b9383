/* SPDX-License-Identifier: MIT */
/*
 * PS/2 keyboard (IBM PS/2 Hardware Interface Technical Reference, "Keyboard (101- and 102-Key)"): scan code
 * sets 1, 2 and 3, the full command set, Pause, Print Screen and their Ctrl, Shift and Alt forms.
 *
 * The host repeats keys that are held down, so the typematic rate is only remembered. Not modelled: the extra
 * Shift codes around the grey cursor keys while Num Lock or Shift is on; in set 3 the make-only and
 * typematic types apply to all keys or none.
 */
#include "devices/ps2kbd.h"

#include <string.h>

#define ACK 0xfa
#define RESEND 0xfe
#define BAT_OK 0xaa

struct ps2kbd {
  struct ps2_port port;
  uint8_t scan_set; /* 1..3 */
  uint8_t leds, rate;
  uint8_t expect; /* command whose parameter comes next; 0 = none */
  bool scanning;
  bool make_only;   /* set 3: no break codes */
  uint8_t down[32]; /* bitmaps by key_number: makes that were sent */
  uint8_t owed[32]; /* breaks that did not fit into the queue */
};

/* Codes by set-1 code: set 2 (the 8042's translation, inverted), set 3, set 3 of keys with E0 prefix. */
static const uint8_t set2_code[128] = {
    0x00, 0x76, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x14, 0x1c, 0x1b,
    0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5d, 0x1a, 0x22, 0x21, 0x2a,
    0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7c, 0x11, 0x29, 0x58, 0x05, 0x06, 0x04, 0x0c, 0x03,
    0x0b, 0x83, 0x0a, 0x01, 0x09, 0x77, 0x7e, 0x6c, 0x75, 0x7d, 0x7b, 0x6b, 0x73, 0x74, 0x79, 0x69,
    0x72, 0x7a, 0x70, 0x71, 0x84, 0x60, 0x61, 0x78, 0x07, 0x0f, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f,
    0x47, 0x4f, 0x56, 0x5e, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x57, 0x6f,
    0x13, 0x19, 0x39, 0x51, 0x53, 0x5c, 0x5f, 0x62, 0x63, 0x64, 0x65, 0x67, 0x68, 0x6a, 0x6d, 0x6e,
};
static const uint8_t set3_code[128] = {
    0x00, 0x08, 0x16, 0x1e, 0x26, 0x25, 0x2e, 0x36, 0x3d, 0x3e, 0x46, 0x45, 0x4e, 0x55, 0x66, 0x0d,
    0x15, 0x1d, 0x24, 0x2d, 0x2c, 0x35, 0x3c, 0x43, 0x44, 0x4d, 0x54, 0x5b, 0x5a, 0x11, 0x1c, 0x1b,
    0x23, 0x2b, 0x34, 0x33, 0x3b, 0x42, 0x4b, 0x4c, 0x52, 0x0e, 0x12, 0x5c, 0x1a, 0x22, 0x21, 0x2a,
    0x32, 0x31, 0x3a, 0x41, 0x49, 0x4a, 0x59, 0x7e, 0x19, 0x29, 0x14, 0x07, 0x0f, 0x17, 0x1f, 0x27,
    0x2f, 0x37, 0x3f, 0x47, 0x4f, 0x76, 0x5f, 0x6c, 0x75, 0x7d, 0x84, 0x6b, 0x73, 0x74, 0x7c, 0x69,
    0x72, 0x7a, 0x70, 0x71, 0x57, 0x00, 0x13, 0x56, 0x5e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
};
static const uint8_t set3_e0_code[128] = {
    [0x1c] = 0x79, [0x1d] = 0x58, [0x35] = 0x77, [0x37] = 0x57, [0x38] = 0x39, [0x47] = 0x6e,
    [0x48] = 0x63, [0x49] = 0x6f, [0x4b] = 0x61, [0x4d] = 0x6a, [0x4f] = 0x65, [0x50] = 0x60,
    [0x51] = 0x6d, [0x52] = 0x67, [0x53] = 0x64, [0x5b] = 0x8b, [0x5c] = 0x8c, [0x5d] = 0x8d,
};

static bool bit_get(const uint8_t *map, int key) { return map[key >> 3 & 31] >> (key & 7) & 1; }

static void bit_set(uint8_t *map, int key, bool on) {
  uint8_t mask = (uint8_t)(1u << (key & 7));
  map[key >> 3 & 31] = (uint8_t)(on ? map[key >> 3 & 31] | mask : map[key >> 3 & 31] & ~mask);
}

/* Keys as small numbers: set-1 code, 80h for the E0 prefix; Pause is 0. */
static int key_number(int key) { return key == KEY_PAUSE ? 0 : (key & 0x7f) | (key & KEY_E0 ? 0x80 : 0); }

static bool held(const struct ps2kbd *k, int a, int b) { return bit_get(k->down, a) || bit_get(k->down, b); }

struct sequence {
  uint8_t byte[16];
  unsigned count;
};

static void add(struct sequence *s, uint8_t byte) {
  if (s->count < sizeof(s->byte))
    s->byte[s->count++] = byte;
}

/* One make or break code of a set-1 or set-2 key. */
static void add_code(const struct ps2kbd *k, struct sequence *s, bool e0, uint8_t code, bool down) {
  if (e0)
    add(s, 0xe0);
  if (k->scan_set == 1) {
    add(s, code | (down ? 0 : 0x80));
  } else {
    if (!down)
      add(s, 0xf0);
    add(s, set2_code[code]);
  }
}

static void add_set3(const struct ps2kbd *k, struct sequence *s, int n, bool down) {
  uint8_t code = n == 0 ? 0x62 : n & 0x80 ? set3_e0_code[n & 0x7f] : set3_code[n];
  if (!code || (!down && k->make_only))
    return;
  if (!down)
    add(s, 0xf0);
  add(s, code);
}

static void make_sequence(const struct ps2kbd *k, struct sequence *s, int n, bool down) {
  bool ctrl = held(k, 0x1d, 0x9d), shift = held(k, 0x2a, 0x36), alt = held(k, 0x38, 0xb8);
  s->count = 0;
  if (k->scan_set == 3) {
    add_set3(k, s, n, down);
  } else if (n == 0 && ctrl) { /* Break */
    if (down) {
      add_code(k, s, true, 0x46, true);
      add_code(k, s, true, 0x46, false);
    }
  } else if (n == 0) { /* Pause has no break code: E1 14 77 E1 F0 14 F0 77 in set 2 */
    for (int i = 0; down && i < 2; i++) {
      add(s, 0xe1);
      add_code(k, s, false, 0x1d, !i);
      add_code(k, s, false, 0x45, !i);
    }
  } else if (n == 0xb7 && alt) { /* SysRq */
    add_code(k, s, false, 0x54, down);
  } else if (n == 0xb7 && !ctrl && !shift) { /* Print Screen comes with a Shift of its own */
    add_code(k, s, true, down ? 0x2a : 0x37, down);
    add_code(k, s, true, down ? 0x37 : 0x2a, down);
  } else {
    add_code(k, s, n & 0x80, n & 0x7f, down);
  }
}

static bool send_key(struct ps2kbd *k, int n, bool down, unsigned spare) {
  struct sequence s;
  make_sequence(k, &s, n, down);
  if (ps2_room(&k->port) < s.count + spare)
    return false;
  bit_set(k->down, n, down);
  for (unsigned i = 0; i < s.count; i++)
    ps2_put(&k->port, s.byte[i]);
  return true;
}

void ps2kbd_key(void *kbd, int key, bool down) {
  struct ps2kbd *k = kbd;
  int n = key_number(key);
  if (!k->scanning || (key != KEY_PAUSE && !(key & 0x7f)))
    return;
  if (down) {
    /* Half the queue is left for breaks: a key that went down must come up again. */
    if (!send_key(k, n, true, PS2_QUEUE / 2))
      return;
    bit_set(k->owed, n, false);
  } else if (bit_get(k->down, n) && !send_key(k, n, false, 0)) {
    bit_set(k->owed, n, true);
  }
  ps2_notify(&k->port);
}

static void kbd_drained(struct ps2_port *p) {
  struct ps2kbd *k = (struct ps2kbd *)p;
  for (int n = 0; n < 256; n++) {
    if (k->owed[n >> 3] && bit_get(k->owed, n) && send_key(k, n, false, 0))
      bit_set(k->owed, n, false);
  }
}

bool ps2kbd_key_ready(void *kbd) {
  struct ps2kbd *k = kbd;
  return !ps2_has_data(&k->port);
}

int ps2kbd_leds(void *kbd) { return ((struct ps2kbd *)kbd)->leds; }

/* --- commands --- */

static void forget_keys(struct ps2kbd *k) {
  k->port.count = 0;
  memset(k->down, 0, sizeof(k->down));
  memset(k->owed, 0, sizeof(k->owed));
}

static void kbd_defaults(struct ps2kbd *k) {
  forget_keys(k);
  k->scan_set = 2;
  k->rate = 0x2b;
  k->expect = 0;
  k->make_only = false;
  k->leds = 0;
}

static void take_parameter(struct ps2kbd *k, uint8_t byte) {
  struct ps2_port *p = &k->port;
  uint8_t command = k->expect;
  k->expect = 0;
  ps2_reply(p, ACK);
  switch (command) {
  case 0xed: k->leds = byte & 7; break;
  case 0xf0:
    if (byte == 0) {
      ps2_reply(p, k->scan_set);
    } else if (byte <= 3) {
      k->scan_set = byte;
      forget_keys(k);
    } else {
      p->reply_count = 0;
      ps2_reply(p, RESEND);
    }
    break;
  case 0xf3: k->rate = byte & 0x7f; break;
  default: k->expect = command; break; /* FBh..FDh: keys of one type, until the next command */
  }
}

static void take_command(struct ps2kbd *k, uint8_t byte) {
  struct ps2_port *p = &k->port;
  uint8_t answer = ACK;
  k->expect = 0;
  switch (byte) {
  case 0xed:
  case 0xf0:
  case 0xf3:
  case 0xfb:
  case 0xfc:
  case 0xfd: k->expect = byte; break;
  case 0xee: answer = 0xee; break;
  case 0xf2: break;
  case 0xf4:
    forget_keys(k);
    k->scanning = true;
    break;
  case 0xf5:
    kbd_defaults(k);
    k->scanning = false;
    break;
  case 0xf6: kbd_defaults(k); break;
  case 0xf7:
  case 0xf9: k->make_only = true; break;
  case 0xf8:
  case 0xfa: k->make_only = false; break;
  case 0xfe: answer = p->last; break;
  case 0xff:
    kbd_defaults(k);
    p->reply_count = 0;
    k->scanning = true;
    break;
  default: answer = RESEND; break;
  }
  ps2_reply(p, answer);
  if (byte == 0xf2) {
    ps2_reply(p, 0xab);
    ps2_reply(p, 0x83);
  } else if (byte == 0xff) {
    ps2_reply(p, BAT_OK);
  }
}

static void kbd_command(struct ps2_port *p, uint8_t byte) {
  struct ps2kbd *k = (struct ps2kbd *)p;
  if (k->expect && byte < 0xed)
    take_parameter(k, byte);
  else
    take_command(k, byte);
  ps2_notify(p);
}

static void kbd_reset(struct device *dev) {
  struct ps2kbd *k = DEVICE(struct ps2kbd, dev);
  ps2_clear(&k->port);
  kbd_defaults(k);
  k->port.last = 0;
  k->scanning = true;
}

static int kbd_init(struct device *dev, const struct device_args *args) {
  struct ps2kbd *k = DEVICE(struct ps2kbd, dev);
  const struct ps2kbd_config *config = args->config;
  k->port.command = kbd_command;
  k->port.drained = kbd_drained;
  if (config && config->input) {
    config->input->key = ps2kbd_key;
    config->input->key_opaque = k;
    config->input->leds = ps2kbd_leds;
    config->input->key_ready = ps2kbd_key_ready;
  }
  kbd_reset(dev);
  return 0;
}

static const struct field kbd_fields[] = {
    PS2_FIELDS(struct ps2kbd, port),       FIELD(U8, struct ps2kbd, scan_set),
    FIELD(U8, struct ps2kbd, leds),        FIELD(U8, struct ps2kbd, rate),
    FIELD(U8, struct ps2kbd, expect),      FIELD(BOOL, struct ps2kbd, scanning),
    FIELD(BOOL, struct ps2kbd, make_only), FIELD_BUFFER(struct ps2kbd, down),
    FIELD_BUFFER(struct ps2kbd, owed),     FIELDS_END,
};

/* A snapshot may say anything. */
static const char *kbd_check(const struct device *dev) {
  const struct ps2kbd *s = DEVICE(const struct ps2kbd, dev);
  return ps2_valid(&s->port) ? NULL : "a queue that cannot be";
}

const struct device_class ps2kbd_class = {
    .name = "ps2kbd",
    .size = sizeof(struct ps2kbd),
    .init = kbd_init,
    .reset = kbd_reset,
    .fields = kbd_fields,
    .check = kbd_check,
};
