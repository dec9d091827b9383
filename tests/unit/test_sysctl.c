/* SPDX-License-Identifier: MIT */
/* Ports 61h and 92h with timer and speaker; the parallel port; the debug ports. */
#include "devices/debugcon.h"
#include "devices/isa_debug_exit.h"
#include "devices/parallel.h"
#include "devices/pc_testdev.h"
#include "devices/pcspk.h"
#include "devices/pit.h"
#include "devices/sysctl.h"
#include "tests/unit/chip_rig.h"

static struct device *ctl, *speaker;
static uint32_t heard_hz;
static uint8_t sent[64];
static size_t sent_count, accept_max;
static int exit_status;

static void heard(void *opaque, uint32_t hz, bool level) {
  (void)opaque, (void)level;
  heard_hz = hz;
}

static size_t back_write(struct chardev *c, const uint8_t *buf, size_t len) {
  (void)c;
  size_t n = len < accept_max ? len : accept_max;
  for (size_t i = 0; i < n; i++)
    sent[sent_count++ % sizeof(sent)] = buf[i];
  return n;
}

static struct rig *setup(void) {
  struct rig *r = rig_new();
  sent_count = 0;
  accept_max = SIZE_MAX;
  speaker = rig_add(r, &pcspk_class,
                    &(struct device_args){.id = "pcspk", .config = &(struct pcspk_config){.changed = heard}});
  struct device *pit = rig_add(
      r, &pit_class,
      &(struct device_args){.id = "pit",
                            .port = {0x40},
                            .config = &(struct pit_config){.tone = pcspk_tone, .tone_opaque = speaker}});
  ctl = rig_add(r, &sysctl_class,
                &(struct device_args){.id = "sysctl",
                                      .port = {0x61, 0x92},
                                      .config = &(struct sysctl_config){.set_gate2 = pit_set_gate2,
                                                                        .get_out2 = pit_get_out2,
                                                                        .pit = pit,
                                                                        .speaker = pcspk_set,
                                                                        .speaker_opaque = speaker}});
  return r;
}

START_TEST(port_b) {
  struct rig *r = setup();
  int toggles = 0;
  uint8_t last = rig_in(r, 0x61) & 0x10;
  for (int i = 0; i < 1000; i++) {
    rig_advance(r, 5000);
    uint8_t now = rig_in(r, 0x61) & 0x10;
    toggles += now != last;
    last = now;
  }
  ck_assert_int_ge(toggles, 325); /* 5 ms at 15 us */
  ck_assert_int_le(toggles, 340);
  rig_out(r, 0x61, 0x01);
  rig_out(r, 0x43, 0xb0);
  rig_out(r, 0x42, 0xff);
  rig_out(r, 0x42, 0x00);
  ck_assert_uint_eq(rig_in(r, 0x61) & 0x2f, 0x01);
  rig_advance(r, 300000);
  ck_assert_uint_eq(rig_in(r, 0x61) & 0x2f, 0x21);
  rig_free(r);
}
END_TEST

START_TEST(beep) {
  struct rig *r = setup();
  rig_out(r, 0x43, 0xb6);
  rig_out(r, 0x42, 1193 & 0xff);
  rig_out(r, 0x42, 1193 >> 8);
  ck_assert_uint_eq(heard_hz, 0);
  rig_out(r, 0x61, 0x03);
  ck_assert_uint_eq(heard_hz, 1000);
  ck_assert_uint_eq(pcspk_hz(speaker), 1000);
  rig_out(r, 0x61, 0x00);
  ck_assert_uint_eq(heard_hz, 0);
  rig_free(r);
}
END_TEST

START_TEST(port_a) {
  struct rig *r = setup();
  rig_out(r, 0x92, 0x02);
  ck_assert_int_eq(r->level[0], 1);
  rig_out(r, 0x92, 0x00);
  ck_assert_int_eq(r->level[0], 0);
  ck_assert_uint_eq(rig_in(r, 0x92) & 2, 0);
  sysctl_set_a20(ctl, true);
  ck_assert_uint_eq(rig_in(r, 0x92) & 2, 2);
  r->edges[1] = 0;
  rig_out(r, 0x92, 0x03);
  rig_out(r, 0x92, 0x03);
  ck_assert_uint_eq(r->edges[1], 1);
  rig_free(r);
}
END_TEST

START_TEST(printer) {
  struct rig *r = setup();
  struct chardev back = {.write = back_write};
  struct device *lpt = rig_add(
      r, &parallel_class,
      &(struct device_args){.id = "lpt", .port = {0x378}, .config = &(struct parallel_config){&back}});
  r->edges[0] = 0;
  r->level[0] = 0; /* the timer's OUT, before it was programmed */
  ck_assert_uint_eq(rig_in(r, 0x379) & 0xf8, 0xd8);
  rig_out(r, 0x378, 'P');
  rig_out(r, 0x37a, 0x0d);
  rig_out(r, 0x37a, 0x0c);
  ck_assert_uint_eq(sent_count, 1);
  ck_assert_uint_eq(sent[0], 'P');
  ck_assert_uint_eq(rig_in(r, 0x379) & 0xf8, 0x98); /* the acknowledge pulse */
  ck_assert_uint_eq(rig_in(r, 0x379) & 0xf8, 0xd8);
  ck_assert_uint_eq(r->edges[0], 0);
  accept_max = 0;
  rig_out(r, 0x37a, 0x1c);
  rig_out(r, 0x37a, 0x1d);
  ck_assert_uint_eq(rig_in(r, 0x379) & 0x80, 0); /* busy */
  accept_max = 1;
  rig_advance(r, 2000000);
  ck_assert_uint_eq(sent_count, 2);
  ck_assert_uint_eq(r->edges[0], 1);
  ck_assert_uint_eq(rig_in(r, 0x379) & 0x80, 0x80);
  rig_check_fields(lpt);
  rig_free(r);
}
END_TEST

static void on_exit_port(void *opaque, int status) {
  (void)opaque;
  exit_status = status;
}

START_TEST(debug_ports) {
  struct rig *r = setup();
  struct chardev back = {.write = back_write};
  rig_add(
      r, &debugcon_class,
      &(struct device_args){.id = "debugcon", .port = {0x402}, .config = &(struct debugcon_config){&back}});
  rig_add(r, &isa_debug_exit_class,
          &(struct device_args){.id = "exit",
                                .port = {0xf4},
                                .config = &(struct isa_debug_exit_config){1, on_exit_port, NULL}});
  ck_assert_uint_eq(rig_in(r, 0x402), 0xe9);
  rig_out(r, 0x402, '!');
  ck_assert_uint_eq(sent[0], '!');
  rig_out(r, 0xf4, 0x10);
  ck_assert_int_eq(exit_status, 0x21);
  ck_assert_uint_eq(rig_in(r, 0xf5), 0xff);
  rig_free(r);
}
END_TEST

START_TEST(test_device) {
  struct rig *r = setup();
  rig_add(r, &pc_testdev_class,
          &(struct device_args){.id = "test", .port = {0xe0, 0xe4, 0x2000}, .addr = {0xff000000u}});
  io_write(r->set.io, 0xe0, 4, 0x12345678);
  ck_assert_uint_eq(io_read(r->set.io, 0xe0, 4), 0x12345678);
  ck_assert_uint_eq(rig_in(r, 0xe1), 0x56);
  io_write(r->set.io, 0xe2, 2, 0xabcd);
  ck_assert_uint_eq(io_read(r->set.io, 0xe0, 4), 0xabcd5678);
  rig_out(r, 0x2000 + 14, 1);
  ck_assert_int_eq(r->level[14], 1);
  rig_out(r, 0x2000 + 14, 0);
  ck_assert_int_eq(r->level[14], 0);
  rig_mmio_out(r, 0xff00fffc, 0xdeadbeef);
  ck_assert_uint_eq(mem_read(r->set.mem, 0xff00fffe, 2), 0xdead);
  ck_assert_uint_eq(mem_read(r->set.mem, 0xff00fffc, 4), 0xdeadbeef);
  rig_free(r);
}
END_TEST

START_TEST(fuzz) {
  static const uint16_t ports[] = {0x61, 0x92, 0x42, 0x43, 0x378, 0x379, 0x37a, 0x402, 0xf4};
  struct rig *r = setup();
  struct chardev back = {.write = back_write};
  rig_add(r, &parallel_class,
          &(struct device_args){.id = "lpt", .port = {0x378}, .config = &(struct parallel_config){&back}});
  rig_add(r, &debugcon_class, &(struct device_args){.id = "debugcon", .port = {0x402}});
  rig_add(r, &isa_debug_exit_class, &(struct device_args){.id = "exit", .port = {0xf4}});
  rig_fuzz_ports(r, ports, 9, NULL, NULL);
  rig_check_fields(ctl);
  rig_check_fields(speaker);
  rig_free(r);
}
END_TEST

RIG_SUITE(sysctl, port_b, beep, port_a, printer, debug_ports, test_device, fuzz)
