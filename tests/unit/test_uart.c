/* SPDX-License-Identifier: MIT */
/* 16550A: data, FIFOs, interrupts and their priority, loopback, a back end that is busy. */
#include "devices/uart16550.h"
#include "tests/unit/chip_rig.h"

static struct device *uart;
static uint8_t sent[4096];
static size_t sent_count, accept_max;
static struct chardev back;

static size_t back_write(struct chardev *c, const uint8_t *buf, size_t len) {
  (void)c;
  size_t n = len < accept_max ? len : accept_max;
  for (size_t i = 0; i < n; i++)
    sent[sent_count++ % sizeof(sent)] = buf[i];
  return n;
}

static struct rig *setup(bool paced) {
  struct rig *r = rig_new();
  sent_count = 0;
  accept_max = SIZE_MAX;
  back = (struct chardev){.write = back_write};
  uart = rig_add(
      r, &uart16550_class,
      &(struct device_args){.id = "serial0", .port = {0x3f8}, .config = &(struct uart_config){&back, paced}});
  rig_out(r, 0x3fb, 0x80);
  rig_out(r, 0x3f8, 1); /* 115200 baud */
  rig_out(r, 0x3f9, 0);
  rig_out(r, 0x3fb, 0x03);
  rig_out(r, 0x3fc, 0x0b);
  return r;
}

static void receive(const char *text) {
  back.receive(back.receive_opaque, (const uint8_t *)text, strlen(text));
}

START_TEST(polled) {
  struct rig *r = setup(false);
  ck_assert_uint_eq(rig_in(r, 0x3fd), 0x60);
  rig_out(r, 0x3f8, 'A');
  ck_assert_uint_eq(sent_count, 1);
  ck_assert_uint_eq(sent[0], 'A');
  ck_assert_uint_eq(rig_in(r, 0x3fd), 0x60);
  ck_assert_uint_eq(back.can_receive(back.receive_opaque), 1);
  receive("x");
  ck_assert_uint_eq(back.can_receive(back.receive_opaque), 0);
  ck_assert_uint_eq(rig_in(r, 0x3fd), 0x61);
  receive("y");
  ck_assert_uint_eq(rig_in(r, 0x3fd), 0x63); /* overrun */
  ck_assert_uint_eq(rig_in(r, 0x3fd), 0x61);
  ck_assert_uint_eq(rig_in(r, 0x3f8), 'y');
  ck_assert_uint_eq(rig_in(r, 0x3fd), 0x60);
  rig_out(r, 0x3ff, 0x5a);
  ck_assert_uint_eq(rig_in(r, 0x3ff), 0x5a);
  ck_assert_uint_eq(rig_in(r, 0x3fa), 0x01);
  ck_assert_uint_eq(rig_in(r, 0x3fe) & 0xf0, 0xb0);
  rig_free(r);
}
END_TEST

START_TEST(fifo_trigger_and_timeout) {
  struct rig *r = setup(false);
  rig_out(r, 0x3fa, 0x87); /* trigger at 8 */
  rig_out(r, 0x3f9, 0x01);
  receive("1234567");
  ck_assert_int_eq(r->level[0], 0);
  ck_assert_uint_eq(rig_in(r, 0x3fa), 0xc1);
  receive("8");
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_uint_eq(rig_in(r, 0x3fa), 0xc4);
  ck_assert_uint_eq(rig_in(r, 0x3f8), '1');
  ck_assert_int_eq(r->level[0], 0);
  rig_advance(r, 1000000);
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_uint_eq(rig_in(r, 0x3fa), 0xcc);
  ck_assert_uint_eq(rig_in(r, 0x3f8), '2');
  ck_assert_int_eq(r->level[0], 0);
  ck_assert_uint_eq(back.can_receive(back.receive_opaque), 10);
  rig_out(r, 0x3fa, 0x83);
  ck_assert_uint_eq(back.can_receive(back.receive_opaque), 16);
  ck_assert_uint_eq(rig_in(r, 0x3fd) & 1, 0);
  rig_free(r);
}
END_TEST

START_TEST(interrupt_priority) {
  struct rig *r = setup(false);
  rig_out(r, 0x3f9, 0x0f);
  ck_assert_int_eq(r->level[0], 1);
  receive("ab");           /* data and overrun */
  rig_out(r, 0x3fc, 0x1b); /* loopback: all modem inputs change */
  ck_assert_uint_eq(rig_in(r, 0x3fa), 0x06);
  rig_in(r, 0x3fd);
  ck_assert_uint_eq(rig_in(r, 0x3fa), 0x04);
  rig_in(r, 0x3f8);
  ck_assert_uint_eq(rig_in(r, 0x3fa), 0x02); /* reading it is the acknowledge */
  rig_out(r, 0x3fc, 0x0f);
  ck_assert_uint_eq(rig_in(r, 0x3fa), 0x01);
  rig_out(r, 0x3fc, 0x18); /* DTR and RTS drop */
  ck_assert_uint_eq(rig_in(r, 0x3fa), 0x00);
  ck_assert_uint_eq(rig_in(r, 0x3fe), 0x83);
  ck_assert_int_eq(r->level[0], 0);
  rig_out(r, 0x3fc, 0x03); /* OUT2 gates the line */
  rig_out(r, 0x3f9, 0x00);
  rig_out(r, 0x3f9, 0x02);
  ck_assert_int_eq(r->level[0], 0);
  rig_out(r, 0x3fc, 0x0b);
  ck_assert_int_eq(r->level[0], 1);
  rig_free(r);
}
END_TEST

START_TEST(loopback) {
  struct rig *r = setup(false);
  rig_out(r, 0x3fc, 0x1f);
  ck_assert_uint_eq(rig_in(r, 0x3fe) & 0xf0, 0xf0);
  rig_out(r, 0x3fc, 0x1a);
  ck_assert_uint_eq(rig_in(r, 0x3fe), 0x96); /* RI fell: TERI; DSR fell */
  rig_out(r, 0x3f8, 0x42);
  ck_assert_uint_eq(sent_count, 0);
  ck_assert_uint_eq(rig_in(r, 0x3f8), 0x42);
  ck_assert_uint_eq(back.can_receive(back.receive_opaque), 0);
  rig_free(r);
}
END_TEST

START_TEST(busy_back_end) {
  struct rig *r = setup(false);
  rig_out(r, 0x3fa, 0x01);
  accept_max = 0;
  for (int i = 0; i < 16; i++)
    rig_out(r, 0x3f8, (uint8_t)('a' + i));
  ck_assert_uint_eq(rig_in(r, 0x3fd) & 0x60, 0);
  rig_advance(r, 5000000);
  ck_assert_uint_eq(sent_count, 0);
  accept_max = 5;
  rig_out(r, 0x3f9, 0x02);
  rig_advance(r, 20000000);
  ck_assert_uint_eq(sent_count, 16);
  ck_assert_int_eq(memcmp(sent, "abcdefghijklmnop", 16), 0);
  ck_assert_uint_eq(rig_in(r, 0x3fd) & 0x60, 0x60);
  ck_assert_int_eq(r->level[0], 1);
  rig_free(r);
}
END_TEST

START_TEST(paced) {
  struct rig *r = setup(true);
  rig_out(r, 0x3fa, 0x01);
  for (int i = 0; i < 10; i++)
    rig_out(r, 0x3f8, 'z');
  rig_advance(r, 400000); /* 87 us a character */
  ck_assert_uint_ge(sent_count, 4);
  ck_assert_uint_le(sent_count, 6);
  rig_advance(r, 1000000);
  ck_assert_uint_eq(sent_count, 10);
  ck_assert_uint_eq(rig_in(r, 0x3fd) & 0x60, 0x60);
  rig_free(r);
}
END_TEST

static void fuzz_back(struct rig *r, struct device *dev) {
  uint64_t x = rig_random(r);
  uint8_t bytes[24];
  (void)dev;
  memset(bytes, (int)(x >> 8), sizeof(bytes));
  accept_max = x >> 16 & 3;
  back.receive(back.receive_opaque, bytes, x >> 24 & 15);
  ck_assert_uint_le(back.can_receive(back.receive_opaque), 16);
}

START_TEST(fuzz) {
  static const uint16_t ports[] = {0x3f8, 0x3f9, 0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff};
  for (int paced = 0; paced < 2; paced++) {
    struct rig *r = setup(paced);
    rig_fuzz_ports(r, ports, 8, fuzz_back, uart);
    rig_check_fields(uart);
    rig_free(r);
  }
}
END_TEST

RIG_SUITE(uart, polled, fifo_trigger_and_timeout, interrupt_priority, loopback, busy_back_end, paced, fuzz)
