/* SPDX-License-Identifier: MIT */
/* VMware's port and pointer: version, enabling, events, misuse. */
#include "devices/vmmouse.h"

#include "devices/ps2mouse.h"
#include "tests/unit/chip_rig.h"

#define MAGIC 0x564d5868u
#define PORT 0x5658

enum { A, C, D, B };

static struct rig *r;
static uint32_t gpr[8];
static struct input_sink sink;
static struct ps2_port *ps2;

static uint32_t call(uint32_t command, uint32_t argument) {
  gpr[A] = MAGIC;
  gpr[C] = command;
  gpr[B] = argument;
  gpr[D] = PORT;
  gpr[A] = io_read(r->set.io, PORT, 4);
  return gpr[A];
}

static void setup(void) {
  r = rig_new();
  memset(&sink, 0, sizeof sink);
  struct device *mouse = rig_add(
      r, &ps2mouse_class, &(struct device_args){.id = "m", .config = &(struct ps2mouse_config){&sink}});
  ps2 = (struct ps2_port *)mouse;
  struct vmmouse_config config = {gpr, 77, mouse, &sink};
  rig_add(r, &vmmouse_class, &(struct device_args){.id = "vmmouse", .port = {PORT}, .config = &config});
  ps2->command(ps2, 0xf4); /* the PS/2 mouse reports */
  while (ps2_has_data(ps2))
    ps2_take(ps2);
}

static void enable(void) {
  ck_assert_uint_eq(call(41, 0x45414552), MAGIC);
  ck_assert_uint_eq(call(40, 0) & 0xffff, 1);
  ck_assert_uint_eq(call(39, 1), 0x3442554a);
  call(41, 0x53424152);
}

START_TEST(version) {
  setup();
  ck_assert_uint_eq(call(10, 0xffffffff), 6);
  ck_assert_uint_eq(gpr[B], MAGIC);
  ck_assert_uint_eq(call(20, 0), 77);
  ck_assert_uint_eq(call(99, 5), 0xffffffff);
  ck_assert_uint_eq(gpr[B], 5);
  gpr[A] = 1; /* no magic: an empty port */
  gpr[C] = 10;
  ck_assert_uint_eq(io_read(r->set.io, PORT, 4), 0xffffffff);
  gpr[A] = MAGIC;
  ck_assert_uint_eq(io_read(r->set.io, PORT, 2), 0xffff);
  ck_assert_uint_eq(gpr[C], 10);
  rig_free(r);
}
END_TEST

START_TEST(events) {
  setup();
  ck_assert(!sink.tablet_active(sink.tablet_opaque));
  enable();
  ck_assert(sink.tablet_active(sink.tablet_opaque));
  ck_assert(!ps2_has_data(ps2));
  sink.tablet(sink.tablet_opaque, INPUT_ABS_MAX, 0x4000, -1, MOUSE_LEFT | MOUSE_MIDDLE);
  ck_assert(ps2_has_data(ps2)); /* a packet tells */
  ck_assert_uint_eq(call(40, 0), 4);
  call(39, 4);
  ck_assert_uint_eq(gpr[A], 0x28);
  ck_assert_uint_eq(gpr[B], 0xffff);
  ck_assert_uint_eq(gpr[C], 0x8000);
  ck_assert_uint_eq(gpr[D], 0xffffffff);
  ck_assert_uint_eq(call(40, 0), 0);
  call(41, 0x4c455252);
  ck_assert(!sink.tablet_active(sink.tablet_opaque)); /* movements again */
  rig_free(r);
}
END_TEST

START_TEST(misuse) {
  setup();
  enable();
  for (int i = 0; i < 1000; i++)
    sink.tablet(sink.tablet_opaque, i, i, 0, 0);
  uint32_t waiting = call(40, 0), last = 0;
  ck_assert_uint_gt(waiting, 4);
  ck_assert_uint_eq(waiting % 4, 0);
  for (uint32_t i = 0; i < waiting; i += 4) {
    call(39, 4);
    last = gpr[B];
  }
  ck_assert_uint_eq(last, (uint32_t)(999 * 0xffffll / INPUT_ABS_MAX)); /* the newest is kept */
  call(39, 4);                                                         /* nothing there */
  ck_assert_uint_eq(call(40, 0), 0xffff0000);
  ck_assert(!sink.tablet_active(sink.tablet_opaque));
  enable();
  call(39, 7);
  ck_assert_uint_eq(call(40, 0), 0xffff0000);
  enable();
  device_reset_all(&r->set);
  ck_assert(!sink.tablet_active(sink.tablet_opaque));
  rig_free(r);
}
END_TEST

START_TEST(hostile) {
  setup();
  static const uint32_t arguments[] = {0x45414552, 0xf5, 0x4c455252, 0x53424152, 1, 4, 6, 0xffffffff};
  for (int i = 0, n = RIG_FUZZ_OPS; i < n; i++) {
    uint64_t x = rig_random(r);
    if (x & 1)
      call((uint32_t)(x >> 8 & 1 ? 39 + (x >> 9) % 3 : x >> 9 & 0xffff), arguments[x >> 40 & 7]);
    else if (x & 2)
      sink.tablet(sink.tablet_opaque, (int)(x >> 32), (int)(x >> 16), (int)(x >> 8), (int)x);
    else if (x & 4)
      io_read(r->set.io, (uint16_t)(PORT + (x >> 8 & 3)), 1 << (x >> 24) % 3);
    else
      io_write(r->set.io, (uint16_t)(PORT + (x >> 8 & 3)), 1 << (x >> 24) % 3, (uint32_t)(x >> 32));
  }
  rig_check_fields(device_find(&r->set, "vmmouse"));
  rig_free(r);
}
END_TEST

RIG_SUITE(vmmouse, version, events, misuse, hostile)
