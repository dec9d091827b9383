/* SPDX-License-Identifier: MIT */
/* USB devices, transaction by transaction: chapter 9, HID, hub, and mass storage with its thirteen cases. */
#include "devices/usb/hid.h"
#include "devices/usb/hub.h"
#include "devices/usb/storage.h"
#include "tests/unit/usb_rig.h"

static struct usb_rig u;
static struct input_sink sink;
static uint8_t buf[USB_PACKET];

/* --- endpoint 0, as a host does it --- */

/* A control transfer; the number of bytes of its data stage, or USB_STALL. */
static int control(struct usb_device *d, uint8_t type, uint8_t request, unsigned value, unsigned index,
                   unsigned length, uint8_t *data) {
  uint8_t setup[8] = {type,
                      request,
                      (uint8_t)value,
                      (uint8_t)(value >> 8),
                      (uint8_t)index,
                      (uint8_t)(index >> 8),
                      (uint8_t)length,
                      (uint8_t)(length >> 8)};
  bool toggle = true, in = (type & 0x80) && length;
  unsigned done = 0;
  memcpy(buf, setup, 8);
  ck_assert_int_eq(usb_transact(d, USB_SETUP, 0, false, buf, 8), 8);
  while (done < length) {
    unsigned part = length - done < d->usb->packet0 ? length - done : d->usb->packet0;
    if (!in)
      memcpy(buf, data + done, part);
    int n = usb_transact(d, in ? USB_IN : USB_OUT, 0, toggle, buf, in ? USB_PACKET : part);
    if (n < 0)
      return n;
    if (in)
      memcpy(data + done, buf, (size_t)n);
    toggle = !toggle;
    done += (unsigned)n;
    if (n < d->usb->packet0)
      break;
  }
  int n = usb_transact(d, in ? USB_OUT : USB_IN, 0, true, buf, 0);
  return n < 0 ? n : (int)done;
}

static struct usb_device *begin(const struct device_class *cls, const void *config) {
  usb_rig_make(&u);
  memset(&sink, 0, sizeof sink);
  struct usb_device *d = usb_rig_add(&u, &u.ports[0], cls, config);
  usb_rig_start(&u);
  return d;
}

static struct usb_device *configured(const struct device_class *cls, const void *config) {
  struct usb_device *d = begin(cls, config);
  ck_assert_int_eq(control(d, 0, 5, 3, 0, 0, NULL), 0);
  ck_assert_int_eq(control(d, 0, 9, 1, 0, 0, NULL), 0);
  return d;
}

static void end(void) { usb_rig_free(&u); }

static void check_descriptors(const struct device_class *cls, const void *config, unsigned interface_class) {
  uint8_t data[512];
  struct usb_device *d = begin(cls, config);
  ck_assert_int_eq(control(d, 0x80, 6, 0x100, 0, 8, data), 8); /* as much as was asked for */
  ck_assert_uint_eq(data[7], d->usb->packet0);
  ck_assert_int_eq(control(d, 0x80, 6, 0x100, 0, 64, data), 18);
  ck_assert_uint_eq(data[0], 18);
  ck_assert_uint_eq(data[1], 1);
  ck_assert_int_eq(control(d, 0, 5, 77, 0, 0, NULL), 0);
  ck_assert_uint_eq(d->addr, 77);
  int total = control(d, 0x80, 6, 0x200, 0, 512, data);
  ck_assert_int_eq(total, data[2] | data[3] << 8);
  int at = 0, endpoints = 0, promised = 0;
  for (; at < total; at += data[at]) { /* a chain of whole descriptors */
    ck_assert_int_ge(data[at], 2);
    if (data[at + 1] == 4) {
      ck_assert_uint_eq(data[at + 5], interface_class);
      promised = data[at + 4];
    }
    endpoints += data[at + 1] == 5;
  }
  ck_assert_int_eq(at, total);
  ck_assert_int_eq(endpoints, promised);
  ck_assert_int_eq(control(d, 0x80, 6, 0x300, 0, 255, data), 4);
  ck_assert_int_eq(control(d, 0x80, 6, 0x301, 0x409, 255, data), 2 + 2 * 8);
  ck_assert_int_eq(memcmp(data, "\22\3D\0r\0a\0g\0o\0m\0a\0n\0", 18), 0);
  ck_assert_int_eq(control(d, 0x80, 6, 0x309, 0x409, 255, data), USB_STALL);
  ck_assert_int_eq(control(d, 0x80, 6, 0x600, 0, 10, data), USB_STALL); /* no other speed */
  ck_assert_int_eq(control(d, 0x80, 8, 0, 0, 1, data), 1);
  ck_assert_uint_eq(data[0], 0);
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, false, data, 64), USB_STALL); /* not configured */
  ck_assert_int_eq(control(d, 0, 9, 2, 0, 0, NULL), USB_STALL);
  ck_assert_int_eq(control(d, 0, 9, 1, 0, 0, NULL), 0);
  ck_assert_int_eq(control(d, 0x80, 8, 0, 0, 1, data), 1);
  ck_assert_uint_eq(data[0], 1);
  /* A halted endpoint: seen, cleared, its toggle begins anew. */
  ck_assert_int_eq(control(d, 2, 3, 0, 0x81, 0, NULL), 0);
  ck_assert_int_eq(control(d, 0x82, 0, 0, 0x81, 2, data), 2);
  ck_assert_uint_eq(data[0], 1);
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, false, data, 64), USB_STALL);
  d->toggle_in |= 2;
  ck_assert_int_eq(control(d, 2, 1, 0, 0x81, 0, NULL), 0);
  ck_assert_int_eq(control(d, 0x82, 0, 0, 0x81, 2, data), 2);
  ck_assert_uint_eq(data[0], 0);
  ck_assert_uint_eq(d->toggle_in & 2, 0);
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, false, data, 64), USB_NAK);
  ck_assert_int_eq(control(d, 2, 1, 0, 0x8e, 0, NULL), USB_STALL);
  size_t size = state_size(d->dev.cls->fields);
  void *a = malloc(size), *b = malloc(size);
  state_save(a, d, d->dev.cls->fields);
  ck_assert_int_eq(state_load(a, size, d, d->dev.cls->fields), 0);
  state_save(b, d, d->dev.cls->fields);
  ck_assert_int_eq(memcmp(a, b, size), 0);
  free(a);
  free(b);
  end();
}

START_TEST(descriptors) {
  static const uint8_t disk[8192];
  struct block *b = block_open_memory("<disk>", disk, sizeof disk);
  check_descriptors(&usb_tablet_class, NULL, 3);
  check_descriptors(&usb_mouse_class, NULL, 3);
  check_descriptors(&usb_keyboard_class, NULL, 3);
  check_descriptors(&usb_hub_class, NULL, 9);
  check_descriptors(&usb_storage_class, &(struct usb_storage_config){.block = b}, 8);
  block_close(b);
}
END_TEST

START_TEST(control_stages) {
  uint8_t data[16] = {0};
  struct usb_device *d = begin(&usb_keyboard_class, NULL);
  /* The address holds from the status stage on. */
  memcpy(buf, (const uint8_t[]){0, 5, 9, 0, 0, 0, 0, 0}, 8);
  ck_assert_int_eq(usb_transact(d, USB_SETUP, 0, false, buf, 8), 8);
  ck_assert_uint_eq(d->addr, 0);
  ck_assert_int_eq(usb_transact(d, USB_IN, 0, true, buf, 0), 0);
  ck_assert_uint_eq(d->addr, 9);
  /* A status stage that comes early; a setup packet that interrupts; a short one that is none. */
  memcpy(buf, (const uint8_t[]){0x80, 6, 0, 1, 0, 0, 18, 0}, 8);
  ck_assert_int_eq(usb_transact(d, USB_SETUP, 0, false, buf, 8), 8);
  ck_assert_int_eq(usb_transact(d, USB_IN, 0, true, buf, 64), 8);
  ck_assert_int_eq(usb_transact(d, USB_OUT, 0, true, buf, 0), 0);
  memcpy(buf, (const uint8_t[]){0x80, 6, 0, 1, 0, 0, 18, 0}, 8);
  ck_assert_int_eq(usb_transact(d, USB_SETUP, 0, false, buf, 8), 8);
  ck_assert_int_eq(control(d, 0x80, 8, 0, 0, 1, data), 1);
  ck_assert_int_eq(usb_transact(d, USB_SETUP, 0, false, buf, 7), USB_TIMEOUT);
  /* Babble, if the host wants less than a packet. */
  memcpy(buf, (const uint8_t[]){0x80, 6, 0, 1, 0, 0, 18, 0}, 8);
  ck_assert_int_eq(usb_transact(d, USB_SETUP, 0, false, buf, 8), 8);
  ck_assert_int_eq(usb_transact(d, USB_IN, 0, true, buf, 4), USB_BABBLE);
  /* More data than can be: stalled, not stored. */
  ck_assert_int_eq(control(d, 0x21, 9, 0x200, 0, 0xffff, data), USB_STALL);
  end();
}
END_TEST

/* --- HID --- */

START_TEST(tablet) {
  struct usb_hid_config config = {&sink};
  struct usb_device *d = configured(&usb_tablet_class, &config);
  ck_assert(!sink.tablet_active(sink.tablet_opaque));
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, false, buf, 8), USB_NAK);
  ck_assert(sink.tablet_active(sink.tablet_opaque)); /* it is listened to */
  sink.tablet(sink.tablet_opaque, 0x1234, 0x7fff, 0, 0);
  sink.tablet(sink.tablet_opaque, 0x2345, 0x6fff, -2, 0); /* the same report may tell both */
  sink.tablet(sink.tablet_opaque, 0x2345, 0x6fff, 0, MOUSE_LEFT | MOUSE_MIDDLE);
  sink.tablet(sink.tablet_opaque, 0x2345, 0x6fff, 0, 0); /* a click is not lost */
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, false, buf, 8), 6);
  ck_assert_mem_eq(buf, ((uint8_t[]){0, 0x45, 0x23, 0xff, 0x6f, 2}), 6);
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, true, buf, 8), 6);
  ck_assert_mem_eq(buf, ((uint8_t[]){5, 0x45, 0x23, 0xff, 0x6f, 0}), 6);
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, false, buf, 8), 6);
  ck_assert_uint_eq(buf[0], 0);
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, true, buf, 8), USB_NAK);
  ck_assert_int_eq(control(d, 0xa1, 1, 0x100, 0, 6, buf), 6);
  ck_assert_int_eq(control(d, 0x21, 11, 0, 0, 0, NULL), USB_STALL); /* no boot protocol */
  /* An idle rate repeats the report. */
  ck_assert_int_eq(control(d, 0x21, 10, 5 << 8, 0, 0, NULL), 0);
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, true, buf, 8), USB_NAK);
  rig_run(u.r, 20 * FRAME);
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, true, buf, 8), 6);
  rig_run(u.r, 2000 * (uint64_t)FRAME);
  ck_assert(!sink.tablet_active(sink.tablet_opaque)); /* nobody asks any more */
  end();
}
END_TEST

static int other[4];
static void other_mouse(void *opaque, int dx, int dy, int dz, int buttons) {
  (void)opaque;
  memcpy(other, (int[]){dx, dy, dz, buttons}, sizeof other);
}

START_TEST(mouse) {
  struct usb_hid_config config = {&sink};
  usb_rig_make(&u);
  memset(&sink, 0, sizeof sink);
  sink.mouse = other_mouse;
  struct usb_device *d = usb_rig_add(&u, &u.ports[0], &usb_mouse_class, &config);
  usb_rig_start(&u);
  sink.mouse(sink.mouse_opaque, 3, 4, 5, 6); /* nobody listens to us: to the one that was there before */
  ck_assert_int_eq(other[0], 3);
  ck_assert_int_eq(other[3], 6);
  ck_assert_int_eq(control(d, 0, 9, 1, 0, 0, NULL), 0);
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, false, buf, 8), USB_NAK);
  sink.mouse(sink.mouse_opaque, 300, -7, 1, 0);
  ck_assert_int_eq(other[0], 3);
  int x = 0, y = 0, z = 0, n = 0;
  while (usb_transact(d, USB_IN, 1, n & 1, buf, 8) == 4) {
    x += (int8_t)buf[1];
    y += (int8_t)buf[2];
    z += (int8_t)buf[3];
    n++;
  }
  ck_assert_int_eq(n, 3);
  ck_assert(x == 300 && y == -7 && z == -1);
  for (int i = 0; i < 3; i++)
    sink.mouse(sink.mouse_opaque, INT32_MAX, INT32_MIN, INT32_MAX, 0); /* adds up to a limit */
  for (n = 0; usb_transact(d, USB_IN, 1, (n + 1) & 1, buf, 8) == 4;)
    n++;
  ck_assert_int_eq(n, (100000 + 126) / 127);
  n++;
  sink.chosen = 1;
  sink.mouse(sink.mouse_opaque, 9, 0, 0, 0);
  ck_assert_int_eq(other[0], 9);
  sink.chosen = 0;
  ck_assert_int_eq(control(d, 0x21, 11, 0, 0, 0, NULL), 0); /* boot protocol */
  ck_assert_int_eq(control(d, 0xa1, 3, 0, 0, 1, buf), 1);
  ck_assert_uint_eq(buf[0], 0);
  sink.mouse(sink.mouse_opaque, 1, 1, 0, MOUSE_RIGHT);
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, n & 1, buf, 8), 3);
  ck_assert_mem_eq(buf, ((uint8_t[]){2, 1, 1}), 3);
  end();
}
END_TEST

START_TEST(keyboard) {
  struct usb_hid_config config = {&sink};
  struct usb_device *d = configured(&usb_keyboard_class, &config);
  uint8_t leds = 3;
  bool toggle = false;
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, false, buf, 8), USB_NAK);
  sink.key(sink.key_opaque, 0x2a, true); /* Shift, A, both up */
  sink.key(sink.key_opaque, 0x1e, true);
  sink.key(sink.key_opaque, 0x1e, false);
  sink.key(sink.key_opaque, 0x2a, false);
  ck_assert(!sink.key_ready(sink.key_opaque));
  static const uint8_t expected[4][3] = {{2, 0, 0}, {2, 0, 4}, {2, 0, 0}, {0, 0, 0}};
  for (int i = 0; i < 4; i++, toggle = !toggle) {
    ck_assert_int_eq(usb_transact(d, USB_IN, 1, toggle, buf, 8), 8);
    ck_assert_mem_eq(buf, expected[i], 3);
  }
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, toggle, buf, 8), USB_NAK);
  ck_assert(sink.key_ready(sink.key_opaque));
  for (int i = 0; i < 7; i++, toggle = !toggle) { /* seven keys: roll-over */
    sink.key(sink.key_opaque, 0x10 + i, true);
    ck_assert_int_eq(usb_transact(d, USB_IN, 1, toggle, buf, 8), 8);
    ck_assert_uint_eq(buf[7], i < 5 ? 0 : i < 6 ? 0x1c : 1);
  }
  sink.key(sink.key_opaque, 0x13, false);
  ck_assert_int_eq(usb_transact(d, USB_IN, 1, toggle, buf, 8), 8);
  ck_assert_mem_eq(buf, ((uint8_t[]){0, 0, 0x14, 0x1a, 0x08, 0x17, 0x1c, 0x18}), 8);
  ck_assert_int_eq(control(d, 0x21, 9, 0x200, 0, 1, &leds), 1);
  ck_assert_int_eq(sink.leds(sink.key_opaque), 6); /* num, caps */
  sink.key(sink.key_opaque, 0x1c0, true);          /* no such key */
  end();
}
END_TEST

/* --- hub --- */

START_TEST(hub) {
  uint8_t data[16];
  struct usb_device *h = configured(&usb_hub_class, NULL);
  struct usb_port *ports = usb_hub_ports(&h->dev);
  struct usb_device *d = usb_rig_add(&u, &ports[2], &usb_mouse_class, NULL);
  char path[16];
  usb_path(d, path, sizeof path);
  ck_assert_str_eq(path, "1.3");
  ck_assert_int_eq(control(h, 0xa0, 6, 0x2900, 0, 32, data), 11);
  ck_assert_uint_eq(data[2], USB_HUB_PORTS);
  ck_assert_int_eq(control(h, 0xa3, 0, 0, 3, 4, data), 4); /* no power: nothing to see */
  ck_assert_mem_eq(data, ((uint8_t[4]){0}), 4);
  ck_assert_int_eq(usb_transact(h, USB_IN, 1, false, data, 2), USB_NAK);
  ck_assert_int_eq(control(h, 0x23, 3, 8, 3, 0, NULL), 0);
  ck_assert_int_eq(usb_transact(h, USB_IN, 1, false, data, 2), 2);
  ck_assert_uint_eq(data[0], 8);
  ck_assert_int_eq(control(h, 0xa3, 0, 0, 3, 4, data), 4);
  ck_assert_mem_eq(data, ((uint8_t[]){0x01, 0x03, 0x01, 0x00}), 4); /* low speed, power, connected; changed */
  ck_assert_int_eq(control(h, 0x23, 1, 16, 3, 0, NULL), 0);
  ck_assert_int_eq(usb_transact(h, USB_IN, 1, true, data, 2), USB_NAK);
  ck_assert_ptr_null(usb_find(u.ports, 2, 0));
  ck_assert_int_eq(control(h, 0x23, 3, 4, 3, 0, NULL), 0); /* reset enables */
  ck_assert_int_eq(control(h, 0xa3, 0, 0, 3, 4, data), 4);
  ck_assert_mem_eq(data, ((uint8_t[]){0x03, 0x03, 0x10, 0x00}), 4);
  ck_assert_ptr_eq(usb_find(u.ports, 2, 0), d);
  ck_assert_int_eq(control(h, 0x23, 3, 2, 3, 0, NULL), 0); /* suspend, wake */
  ck_assert_ptr_null(usb_find(u.ports, 2, 0));
  d->remote_wakeup = true;
  usb_notify(d);
  ck_assert_ptr_eq(usb_find(u.ports, 2, 0), d);
  usb_detach(&ports[2]);
  ck_assert_int_eq(control(h, 0xa3, 0, 0, 3, 4, data), 4);
  ck_assert_mem_eq(data, ((uint8_t[]){0x00, 0x01, 0x15, 0x00}), 4);
  ck_assert_int_eq(control(h, 0xa3, 0, 0, 9, 4, data), USB_STALL);
  ck_assert_int_eq(control(h, 0x23, 3, 8, 0, 0, NULL), USB_STALL);
  end();
}
END_TEST

/* --- mass storage --- */

static uint8_t medium[65536];
static bool toggle_in, toggle_out;

static int bulk_out(struct usb_device *d, const void *data, unsigned length) {
  memcpy(buf, data, length);
  int n = usb_transact(d, USB_OUT, 2, toggle_out, buf, length);
  if (n >= 0)
    toggle_out = !toggle_out;
  return n;
}

static int bulk_in(struct usb_device *d, void *data) {
  int n = usb_transact(d, USB_IN, 1, toggle_in, buf, 64);
  if (n < 0)
    return n;
  toggle_in = !toggle_in;
  memcpy(data, buf, (size_t)n);
  return n;
}

static void clear_halts(struct usb_device *d) {
  ck_assert_int_eq(control(d, 2, 1, 0, 0x81, 0, NULL), 0);
  ck_assert_int_eq(control(d, 2, 1, 0, 0x02, 0, NULL), 0);
  toggle_in = toggle_out = false;
}

static int send_cbw(struct usb_device *d, uint32_t expected, bool in, const uint8_t *cdb, unsigned length) {
  uint8_t cbw[31] = {'U', 'S', 'B', 'C', 0x78, 0x56, 0x34, 0x12};
  for (int i = 0; i < 4; i++)
    cbw[8 + i] = (uint8_t)(expected >> 8 * i);
  cbw[12] = in ? 0x80 : 0;
  cbw[14] = (uint8_t)length;
  memcpy(cbw + 15, cdb, length);
  return bulk_out(d, cbw, 31);
}

/* A whole command: *moved bytes of data; the status, with its residue in *residue. A stall is cleared, and
 * told. */
static int command(struct usb_device *d, uint32_t expected, bool in, const uint8_t *cdb, unsigned length,
                   uint8_t *data, uint32_t *moved, uint32_t *residue, bool *stalled) {
  uint8_t csw[64];
  *moved = 0;
  *stalled = false;
  ck_assert_int_eq(send_cbw(d, expected, in, cdb, length), 31);
  while (*moved < expected) {
    unsigned part = expected - *moved < 64 ? expected - *moved : 64;
    int n = in ? bulk_in(d, data + *moved) : bulk_out(d, data + *moved, part);
    if (n == USB_STALL) {
      *stalled = true;
      clear_halts(d);
      break;
    }
    ck_assert_int_ge(n, 0);
    *moved += (uint32_t)n;
    if (n < 64)
      break;
  }
  int n = bulk_in(d, csw);
  if (n == USB_STALL) {
    *stalled = true;
    clear_halts(d);
    n = bulk_in(d, csw);
  }
  ck_assert_int_eq(n, 13);
  ck_assert_mem_eq(csw, "USBS\x78\x56\x34\x12", 8);
  *residue = csw[8] | (uint32_t)csw[9] << 8 | (uint32_t)csw[10] << 16 | (uint32_t)csw[11] << 24;
  return csw[12];
}

static struct block *block;

static struct usb_device *begin_disk(void) {
  for (unsigned i = 0; i < sizeof medium; i++)
    medium[i] = (uint8_t)(i * 7 + i / 512);
  block = block_open_memory("<disk>", medium, sizeof medium);
  toggle_in = toggle_out = false;
  return configured(&usb_storage_class, &(struct usb_storage_config){.block = block});
}

static void end_disk(void) {
  end();
  block_close(block);
}

/* The thirteen cases of 6.7: what the host expects (bytes, direction) and the device intends. */
START_TEST(thirteen_cases) {
  static const uint8_t none[6] = {0}; /* TEST UNIT READY */
  static const uint8_t rd[10] = {0x28, 0, 0, 0, 0, 3, 0, 0, 1}, wr[10] = {0x2a, 0, 0, 0, 0, 9, 0, 0, 1};
  static const struct {
    uint32_t expected;
    bool in;
    const uint8_t *cdb;
    unsigned length;
    int status;
    uint32_t moved, residue;
    bool stalled;
  } cases[13] = {
      {0, false, none, 6, 0, 0, 0, false},      /* 1 Hn = Dn */
      {0, true, rd, 10, 2, 0, 0, false},        /* 2 Hn < Di */
      {0, false, wr, 10, 2, 0, 0, false},       /* 3 Hn < Do */
      {64, true, none, 6, 0, 0, 64, true},      /* 4 Hi > Dn */
      {1024, true, rd, 10, 0, 512, 512, false}, /* 5 Hi > Di: ends with an empty packet */
      {512, true, rd, 10, 0, 512, 0, false},    /* 6 Hi = Di */
      {128, true, rd, 10, 2, 0, 128, true},     /* 7 Hi < Di */
      {512, true, wr, 10, 2, 0, 512, true},     /* 8 Hi <> Do */
      {64, false, none, 6, 0, 0, 64, true},     /* 9 Ho > Dn */
      {512, false, rd, 10, 2, 0, 512, true},    /* 10 Ho <> Di */
      {1024, false, wr, 10, 0, 512, 512, true}, /* 11 Ho > Do */
      {512, false, wr, 10, 0, 512, 0, false},   /* 12 Ho = Do */
      {128, false, wr, 10, 2, 0, 128, true},    /* 13 Ho < Do */
  };
  struct usb_device *d = begin_disk();
  uint8_t data[2048];
  for (int i = 0; i < 13; i++) {
    uint32_t moved, residue;
    bool stalled;
    memset(data, 0xa5 + i, sizeof data);
    int status = command(d, cases[i].expected, cases[i].in, cases[i].cdb, cases[i].length, data, &moved,
                         &residue, &stalled);
    ck_assert_msg(status == cases[i].status && moved == cases[i].moved && residue == cases[i].residue &&
                      stalled == cases[i].stalled,
                  "case %d: status %d, moved %u, residue %u, stalled %d", i + 1, status, moved, residue,
                  stalled);
    if (cases[i].in && moved)
      ck_assert_mem_eq(data, medium + 3 * 512, 512);
  }
  uint8_t sector[512];
  ck_assert_int_eq(block_read(block, 9 * 512, sector, 512), 0);
  ck_assert_uint_eq(sector[0], 0xa5 + 11);
  ck_assert_uint_eq(sector[511], 0xa5 + 11);
  end_disk();
}
END_TEST

static int run(struct usb_device *d, const uint8_t *cdb, unsigned length, bool in, uint8_t *data,
               uint32_t expected) {
  uint32_t moved, residue;
  bool stalled;
  int status = command(d, expected, in, cdb, length, data, &moved, &residue, &stalled);
  return status ? -status : (int)moved;
}
#define RUN_IN(d, data, expected, ...)                                                                       \
  run(d, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), true, data, expected)
#define RUN_OUT(d, data, expected, ...)                                                                      \
  run(d, (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}), false, data, expected)

static unsigned sense(struct usb_device *d) { /* key, ASC */
  uint8_t data[64];
  ck_assert_int_eq(RUN_IN(d, data, 18, 3, 0, 0, 0, 18, 0), 18);
  return (unsigned)data[2] << 8 | data[12];
}

START_TEST(scsi) {
  struct usb_device *d = begin_disk();
  uint8_t data[65536 + 64];
  ck_assert_int_eq(control(d, 0xa1, 0xfe, 0, 0, 1, data), 1);
  ck_assert_uint_eq(data[0], 0);
  ck_assert_int_eq(RUN_IN(d, data, 36, 0x12, 0, 0, 0, 36, 0), 36);
  ck_assert_uint_eq(data[0], 0);
  ck_assert_mem_eq(data + 8, "DRAGOMAN", 8);
  ck_assert_int_eq(RUN_IN(d, data, 255, 0x12, 0, 0, 0, 255, 0), 36);
  ck_assert_int_eq(RUN_IN(d, data, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 8);
  ck_assert_mem_eq(data, ((uint8_t[]){0, 0, 0, 127, 0, 0, 2, 0}), 8);
  ck_assert_int_eq(RUN_IN(d, data, 12, 0x23, 0, 0, 0, 0, 0, 0, 0, 12, 0), 12);
  ck_assert_mem_eq(data + 3, ((uint8_t[]){8, 0, 0, 0, 128, 2, 0, 2, 0}), 9);
  ck_assert_int_eq(RUN_IN(d, data, 192, 0x1a, 0, 0x3f, 0, 192, 0), 24);
  ck_assert_uint_eq(data[0], 23);
  ck_assert_uint_eq(data[2], 0); /* can be written */
  ck_assert_int_eq(RUN_IN(d, data, 28, 0x5a, 0, 8, 0, 0, 0, 0, 0, 28, 0), 28);
  ck_assert_int_eq(RUN_IN(d, data, 1536, 0x08, 0, 0, 100, 3, 0), 1536);
  ck_assert_mem_eq(data, medium + 100 * 512, 1536);
  ck_assert_int_eq(RUN_IN(d, data, 65536, 0x28, 0, 0, 0, 0, 0, 0, 0, 128, 0), 65536);
  ck_assert_mem_eq(data, medium, 65536);
  for (int i = 0; i < 20 * 512; i++)
    data[i] = (uint8_t)(i ^ i >> 8);
  ck_assert_int_eq(RUN_OUT(d, data, 20 * 512, 0x2a, 0, 0, 0, 0, 40, 0, 0, 20, 0), 20 * 512);
  uint8_t back[20 * 512];
  ck_assert_int_eq(block_read(block, 40 * 512, back, sizeof back), 0);
  ck_assert_mem_eq(back, data, sizeof back);
  ck_assert_int_eq(RUN_OUT(d, data, 512, 0x0a, 0, 0, 1, 1, 0), 512);
  ck_assert_int_eq(RUN_OUT(d, data, 0, 0x2f, 0, 0, 0, 0, 0, 0, 0, 128, 0), 0);
  ck_assert_int_eq(RUN_OUT(d, data, 0, 0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0);
  ck_assert_int_eq(RUN_OUT(d, data, 0, 0x1e, 0, 0, 0, 1, 0), 0);
  /* What fails: beyond the end, unknown, a bad page; the sense tells once. */
  ck_assert_int_eq(RUN_IN(d, data, 1024, 0x28, 0, 0, 0, 0, 127, 0, 0, 2, 0), -1);
  ck_assert_uint_eq(sense(d), 0x521);
  ck_assert_uint_eq(sense(d), 0);
  ck_assert_int_eq(RUN_OUT(d, data, 512, 0x2a, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0), -1);
  ck_assert_uint_eq(sense(d), 0x521);
  ck_assert_int_eq(RUN_IN(d, data, 0, 0xe0, 0, 0, 0, 0, 0), -1);
  ck_assert_uint_eq(sense(d), 0x520);
  ck_assert_int_eq(RUN_IN(d, data, 64, 0x12, 1, 0xc7, 0, 64, 0), -1);
  ck_assert_uint_eq(sense(d), 0x524);
  /* Stopped and started. */
  ck_assert_int_eq(RUN_OUT(d, data, 0, 0x1b, 0, 0, 0, 0, 0), 0);
  ck_assert_int_eq(RUN_OUT(d, data, 0, 0, 0, 0, 0, 0, 0), -1);
  ck_assert_uint_eq(sense(d), 0x204);
  ck_assert_int_eq(RUN_OUT(d, data, 0, 0x1b, 0, 0, 0, 1, 0), 0);
  ck_assert_int_eq(RUN_OUT(d, data, 0, 0, 0, 0, 0, 0, 0), 0);
  end_disk();
}
END_TEST

START_TEST(reset_recovery) {
  struct usb_device *d = begin_disk();
  uint8_t bad[31] = {'U', 'S', 'B', 'X'};
  ck_assert_int_eq(bulk_in(d, bad + 4), USB_NAK);
  ck_assert_int_eq(bulk_out(d, bad, 31), USB_STALL); /* not a wrapper: both pipes stall */
  ck_assert_int_eq(bulk_in(d, bad + 4), USB_STALL);
  clear_halts(d);
  ck_assert_int_eq(bulk_in(d, bad + 4), USB_STALL); /* until the reset */
  ck_assert_int_eq(control(d, 0x21, 0xff, 0, 0, 0, NULL), 0);
  clear_halts(d);
  ck_assert_int_eq(bulk_in(d, bad + 4), USB_NAK);
  uint8_t data[64];
  ck_assert_int_eq(RUN_IN(d, data, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 8);
  /* And in the middle of a command. */
  ck_assert_int_eq(send_cbw(d, 512, true, (const uint8_t[]){0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0}, 10), 31);
  ck_assert_int_eq(bulk_in(d, data), 64);
  ck_assert_int_eq(control(d, 0x21, 0xff, 0, 0, 0, NULL), 0);
  clear_halts(d);
  ck_assert_int_eq(RUN_IN(d, data, 8, 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 8);
  end_disk();
}
END_TEST

/* Random transactions to every kind of device, half of them plausible. */
START_TEST(hostile) {
  static const struct device_class *const classes[] = {
      &usb_tablet_class, &usb_mouse_class, &usb_keyboard_class, &usb_hub_class, &usb_storage_class};
  static const uint8_t pids[] = {USB_IN, USB_OUT, USB_SETUP, USB_IN, USB_OUT};
  static const uint8_t commands[] = {0,    3,    8,    0x0a, 0x12, 0x1a, 0x1b, 0x1e,
                                     0x23, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x5a, 0xa8};
  const char *wish = getenv("FUZZ_OPS");
  int ops = wish ? atoi(wish) : 50000;
  uint32_t seed = 2463534242u;
  block = block_open_memory("<disk>", medium, sizeof medium);
  for (int k = 0; k < 5; k++) {
    struct usb_device *d =
        configured(classes[k], k == 4 ? (const void *)&(struct usb_storage_config){.block = block}
                                      : &(struct usb_hid_config){&sink});
    for (int i = 0; i < ops; i++) {
      uint32_t x = rig_random(&seed);
      for (unsigned b = 0; b < 64; b += 4) {
        uint32_t v = rig_random(&seed);
        memcpy(buf + b, &v, 4);
      }
      unsigned pid = pids[x % 5], endpoint = x & 0x100 ? x >> 9 & 3 : x >> 9 & 15;
      unsigned length = pid == USB_SETUP ? 8 : x >> 16 & 0x7f;
      if (pid == USB_SETUP && x & 0x2000) {
        buf[0] &= 0xa3;
        buf[1] &= 15;
        buf[3] &= x & 0x4000 ? 3 : 0x2f;
        buf[5] = buf[7] = 0;
      }
      if (k == 4 && endpoint == 2 && x & 0x80000000) {
        memcpy(buf, "USBC", 4);
        buf[9] &= 7;
        buf[10] = buf[11] = buf[13] = 0;
        buf[14] = 10 + (buf[14] & 3);
        buf[15] = commands[buf[15] & 15];
        buf[17] = buf[18] = buf[19] = 0;
        length = 31;
      }
      usb_transact(d, pid, endpoint, x >> 13 & 1, buf, length);
      if (x % 64 == 0 && k < 2)
        usb_hid_pointer(d, (int)(x >> 8), (int)(x >> 4), (int)(x >> 20 & 7) - 3, (int)(x >> 7 & 7));
      else if (x % 64 == 0 && k == 2)
        usb_hid_key(d, (int)(x >> 8 & 0x3ff), x >> 20 & 1);
      if (x % 1024 == 1)
        control(d, 0, 9, 1, 0, 0, NULL);
      if (x % 1024 == 2)
        d->halt_in = d->halt_out = 0;
      if (x % 1024 == 3)
        control(d, 0x21, 0xff, 0, 0, 0, NULL);
    }
    end();
  }
  block_close(block);
}
END_TEST

Suite *suite_usb(void) {
  const TTest *const tests[] = {descriptors, control_stages, tablet, mouse,          keyboard,
                                hub,         thirteen_cases, scsi,   reset_recovery, hostile};
  Suite *suite = suite_create("usb");
  TCase *tc = tcase_create("usb");
  tcase_set_timeout(tc, 60);
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
    tcase_add_test(tc, tests[i]);
  suite_add_tcase(suite, tc);
  return suite;
}
