/* SPDX-License-Identifier: MIT */
/* Keyboard controller, keyboard and mouse, as a guest's drivers see them. */
#include "core/input.h"
#include "devices/i8042.h"
#include "devices/ps2kbd.h"
#include "devices/ps2mouse.h"
#include "tests/unit/chip_rig.h"

static struct device *ctl;
static struct input_sink input;

static struct rig *setup(void) {
  struct rig *r = rig_new();
  memset(&input, 0, sizeof(input));
  struct device *kbd = rig_add(r, &ps2kbd_class,
                               &(struct device_args){.id = "kbd", .config = &(struct ps2kbd_config){&input}});
  struct device *mouse = rig_add(
      r, &ps2mouse_class, &(struct device_args){.id = "mouse", .config = &(struct ps2mouse_config){&input}});
  ctl = rig_add(r, &i8042_class,
                &(struct device_args){
                    .id = "i8042", .port = {0x60, 0x64}, .config = &(struct i8042_config){kbd, mouse}});
  return r;
}

/* The next byte, -1 if none comes within 10 ms. */
static int next(struct rig *r) {
  for (int i = 0; i < 100; i++) {
    if (rig_in(r, 0x64) & 1)
      return rig_in(r, 0x60);
    rig_advance(r, 100000);
  }
  return -1;
}

static void expect(struct rig *r, const char *hex) {
  for (unsigned byte; sscanf(hex, "%2x", &byte) == 1; hex += hex[2] ? 3 : 2)
    ck_assert_int_eq(next(r), (int)byte);
  ck_assert_int_eq(next(r), -1);
}

static void command(struct rig *r, uint8_t value) { rig_out(r, 0x64, value); }
static void data(struct rig *r, uint8_t value) { rig_out(r, 0x60, value); }

static void set_ctr(struct rig *r, uint8_t value) {
  command(r, 0x60);
  data(r, value);
}

static void to_mouse(struct rig *r, uint8_t value) {
  command(r, 0xd4);
  data(r, value);
}

static void key(int k, bool down) { input.key(input.key_opaque, k, down); }

START_TEST(controller) {
  struct rig *r = setup();
  command(r, 0xaa);
  expect(r, "55");
  ck_assert_uint_eq(rig_in(r, 0x64) & 4, 4);
  command(r, 0xab);
  expect(r, "00");
  command(r, 0xa9);
  expect(r, "00");
  set_ctr(r, 0x65);
  command(r, 0x20);
  expect(r, "65");
  command(r, 0xa7);
  command(r, 0x20);
  expect(r, "65");
  command(r, 0xa8);
  command(r, 0x20);
  expect(r, "45");
  command(r, 0x6a); /* another byte of its RAM */
  data(r, 0x77);
  command(r, 0x2a);
  expect(r, "77");
  command(r, 0xd2);
  data(r, 0x5a);
  ck_assert_uint_eq(rig_in(r, 0x64) & 0x21, 0x01);
  expect(r, "5a");
  command(r, 0xd3);
  data(r, 0xa5);
  ck_assert_uint_eq(rig_in(r, 0x64) & 0x21, 0x21);
  expect(r, "a5");
  rig_free(r);
}
END_TEST

START_TEST(a20_and_reset) {
  struct rig *r = setup();
  command(r, 0xdf);
  ck_assert_int_eq(r->level[2], 1);
  command(r, 0xdd);
  ck_assert_int_eq(r->level[2], 0);
  command(r, 0xd1);
  data(r, 0xdf);
  ck_assert_int_eq(r->level[2], 1);
  command(r, 0xd0);
  ck_assert_uint_eq((unsigned)next(r) & 3, 3);
  i8042_set_a20(ctl, false);
  command(r, 0xd0);
  ck_assert_uint_eq((unsigned)next(r) & 3, 1);
  ck_assert_uint_eq(r->edges[3], 0);
  command(r, 0xff);
  ck_assert_uint_eq(r->edges[3], 0);
  command(r, 0xfe);
  ck_assert_uint_eq(r->edges[3], 1);
  rig_free(r);
}
END_TEST

START_TEST(scan_codes) {
  struct rig *r = setup();
  set_ctr(r, 0x01); /* no translation: set 2 */
  key(0x1e, true);
  key(0x1e, false);
  expect(r, "1c f0 1c");
  key(0x148, true);
  key(0x148, false);
  expect(r, "e0 75 e0 f0 75");
  key(0x41, true);
  key(0x41, false);
  expect(r, "83 f0 83");
  key(KEY_PAUSE, true);
  key(KEY_PAUSE, false);
  expect(r, "e1 14 77 e1 f0 14 f0 77");
  key(0x137, true);
  key(0x137, false);
  expect(r, "e0 12 e0 7c e0 f0 7c e0 f0 12");
  set_ctr(r, 0x41); /* translated to set 1 */
  key(0x1e, true);
  key(0x1e, false);
  expect(r, "1e 9e");
  key(0x11d, true);
  key(KEY_PAUSE, true); /* Ctrl+Break */
  key(KEY_PAUSE, false);
  key(0x11d, false);
  expect(r, "e0 1d e0 46 e0 c6 e0 9d");
  key(KEY_PAUSE, true);
  expect(r, "e1 1d 45 e1 9d c5");
  key(0x38, true);
  key(0x137, true);
  key(0x137, false);
  key(0x38, false);
  expect(r, "38 54 d4 b8");
  rig_free(r);
}
END_TEST

START_TEST(every_key_translates_to_itself) {
  struct rig *r = setup();
  set_ctr(r, 0x41);
  for (int k = 1; k <= 0x58; k++) {
    if (k == 0x55)
      continue;
    key(k, true);
    ck_assert_int_eq(next(r), k);
    key(k, false);
    ck_assert_int_eq(next(r), k | 0x80);
  }
  rig_free(r);
}
END_TEST

START_TEST(keyboard_commands) {
  struct rig *r = setup();
  set_ctr(r, 0x01);
  data(r, 0xff);
  expect(r, "fa aa");
  data(r, 0xf2);
  expect(r, "fa ab 83");
  data(r, 0xee);
  expect(r, "ee");
  data(r, 0xed);
  expect(r, "fa");
  data(r, 0x06);
  expect(r, "fa");
  ck_assert_int_eq(input.leds(input.key_opaque), 6);
  data(r, 0xf3);
  data(r, 0x20);
  expect(r, "fa fa");
  data(r, 0xf0);
  data(r, 0x00);
  expect(r, "fa fa 02");
  data(r, 0xf0);
  data(r, 0x03);
  expect(r, "fa fa");
  data(r, 0xfa);
  expect(r, "fa");
  key(0x1d, true);
  key(0x1d, false);
  key(0x14b, true);
  expect(r, "11 f0 11 61");
  data(r, 0xf0);
  data(r, 0x01);
  expect(r, "fa fa");
  key(0x14b, true);
  key(0x14b, false);
  expect(r, "e0 4b e0 cb");
  data(r, 0xfe);
  expect(r, "cb");
  data(r, 0xf5);
  expect(r, "fa");
  key(0x1e, true);
  expect(r, "");
  data(r, 0xf4);
  expect(r, "fa");
  data(r, 0xd7);
  expect(r, "fe");
  rig_free(r);
}
END_TEST

START_TEST(interrupts) {
  struct rig *r = setup();
  set_ctr(r, 0x41);
  key(0x1e, true);
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_int_eq(rig_in(r, 0x60), 0x1e);
  ck_assert_int_eq(r->level[0], 0);
  ck_assert_int_eq(rig_in(r, 0x60), 0x1e); /* reads again what was there */
  key(0x1e, false);
  ck_assert_int_eq(r->level[0], 0); /* not before the wire had time for it */
  rig_advance(r, 1000000);
  ck_assert_int_eq(r->level[0], 1);
  set_ctr(r, 0x40);
  ck_assert_int_eq(r->level[0], 0);
  expect(r, "9e");
  command(r, 0xad); /* keys wait while the interface is off */
  key(0x30, true);
  expect(r, "");
  command(r, 0xae);
  expect(r, "30");
  rig_free(r);
}
END_TEST

START_TEST(no_key_sticks) {
  struct rig *r = setup();
  set_ctr(r, 0x41);
  bool down[0x59] = {false};
  for (int k = 1; k <= 0x58; k++) /* nobody reads: most of this is lost */
    key(k, true);
  for (int k = 1; k <= 0x58; k++)
    key(k, false);
  ck_assert(!input.key_ready(input.key_opaque));
  for (int c; (c = next(r)) != -1;)
    down[c & 0x7f] = !(c & 0x80);
  for (int k = 1; k <= 0x58; k++)
    ck_assert(!down[k]);
  ck_assert(input.key_ready(input.key_opaque));
  rig_free(r);
}
END_TEST

START_TEST(mouse_protocol) {
  struct rig *r = setup();
  set_ctr(r, 0x43);
  to_mouse(r, 0xff);
  expect(r, "fa aa 00");
  to_mouse(r, 0xf2);
  expect(r, "fa 00");
  to_mouse(r, 0xe9);
  expect(r, "fa 00 02 64");
  to_mouse(r, 0xf4);
  expect(r, "fa");
  input.mouse(input.mouse_opaque, 5, 3, 0, MOUSE_LEFT); /* down is negative on the wire */
  ck_assert_int_eq(r->level[1], 1);
  ck_assert_uint_eq(rig_in(r, 0x64) & 0x21, 0x21);
  expect(r, "29 05 fd");
  static const uint8_t rates[] = {200, 100, 80};
  for (int i = 0; i < 3; i++) {
    to_mouse(r, 0xf3);
    to_mouse(r, rates[i]);
    expect(r, "fa fa");
  }
  to_mouse(r, 0xf2);
  expect(r, "fa 03");
  to_mouse(r, 0xf2); /* i8042prt sends on when it has the acknowledgement, and wants the rest */
  to_mouse(r, 0xf3);
  to_mouse(r, 100);
  expect(r, "fa 03 fa fa");
  to_mouse(r, 0xf3); /* a rate of 0 is taken, as ReactOS needs it; one over 200 is not */
  to_mouse(r, 0);
  expect(r, "fa fa");
  to_mouse(r, 0xf3);
  expect(r, "fa");
  to_mouse(r, 201);
  expect(r, "fe");
  input.mouse(input.mouse_opaque, 0, 0, -1, MOUSE_LEFT);
  expect(r, "09 00 00 ff");
  to_mouse(r, 0xf5);
  expect(r, "fa");
  input.mouse(input.mouse_opaque, 9, 9, 0, 0);
  expect(r, "");
  to_mouse(r, 0xf0);
  expect(r, "fa");
  input.mouse(input.mouse_opaque, 7, 0, 0, 0);
  to_mouse(r, 0xeb);
  expect(r, "fa 08 07 00 00");
  to_mouse(r, 0xee);
  expect(r, "fa");
  to_mouse(r, 0x12);
  expect(r, "12");
  to_mouse(r, 0xec);
  expect(r, "fa");
  rig_free(r);
}
END_TEST

START_TEST(mouse_adds_up) {
  struct rig *r = setup();
  set_ctr(r, 0x43);
  to_mouse(r, 0xf4);
  expect(r, "fa");
  int events = 0, x = 0, clicks = 0, last = 0;
  for (int i = 0; i < 300; i++, events++)
    input.mouse(input.mouse_opaque, 3, 0, 0, i / 100 == 1 ? MOUSE_RIGHT : 0);
  for (int c; (c = next(r)) != -1;) {
    int dx = next(r);
    ck_assert_int_eq(next(r), 0);
    x += dx - (c & 0x10 ? 256 : 0);
    clicks += (c & 2) && !last;
    last = c & 2;
  }
  ck_assert_int_eq(x, 900);
  ck_assert_int_eq(clicks, 1);
  rig_free(r);
}
END_TEST

static void fuzz_input(struct rig *r, struct device *dev) {
  uint64_t x = rig_random(r);
  (void)dev;
  if (x & 1)
    key((int)(x >> 8 & 0x3ff), x & 2);
  else
    input.mouse(input.mouse_opaque, (int)(x >> 8), (int)(x >> 16), (int)(x >> 60), (int)(x >> 3) & 31);
}

START_TEST(fuzz) {
  static const uint16_t ports[] = {0x60, 0x64};
  struct rig *r = setup();
  rig_fuzz_ports(r, ports, 2, fuzz_input, ctl);
  for (struct device *d = r->set.first; d; d = d->next)
    rig_check_fields(d);
  rig_free(r);
}
END_TEST

RIG_SUITE(i8042, controller, a20_and_reset, scan_codes, every_key_translates_to_itself, keyboard_commands,
          interrupts, no_key_sticks, mouse_protocol, mouse_adds_up, fuzz)
