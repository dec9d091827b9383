/* SPDX-License-Identifier: MIT */
/* 8259A pair: initialisation, priorities, end of interrupt, rotation, special modes, polling, ELCR. */
#include "devices/pic.h"
#include "tests/unit/chip_rig.h"

static struct device *pic;

static struct rig *setup(bool aeoi) {
  struct rig *r = rig_new();
  pic = rig_add(r, &pic_class, &(struct device_args){.id = "pic", .port = {0x20, 0xa0, 0x4d0}});
  rig_out(r, 0x20, 0x11);
  rig_out(r, 0x21, 0x08);
  rig_out(r, 0x21, 0x04);
  rig_out(r, 0x21, aeoi ? 0x03 : 0x01);
  rig_out(r, 0xa0, 0x11);
  rig_out(r, 0xa1, 0x70);
  rig_out(r, 0xa1, 0x02);
  rig_out(r, 0xa1, aeoi ? 0x03 : 0x01);
  return r;
}

/* A new edge; the line stays up. */
static void pulse(int n) {
  pic_set_irq(pic, n, 0);
  pic_set_irq(pic, n, 1);
}

/* The mouse driver that polls with its interrupt masked must not find that interrupt waiting afterwards. */
START_TEST(withdrawn_edge) {
  struct rig *r = setup(false);
  rig_out(r, 0xa1, 0x10);
  pic_set_irq(pic, 12, 1);
  pic_set_irq(pic, 12, 0);
  rig_out(r, 0xa1, 0x00);
  ck_assert_int_eq(r->level[0], 0);
  pic_set_irq(pic, 0, 1); /* the timer's is kept */
  pic_set_irq(pic, 0, 0);
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_int_eq(pic_ack(pic), 0x08);
  rig_free(r);
}
END_TEST

START_TEST(priorities) {
  struct rig *r = setup(false);
  pulse(4);
  pulse(1);
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_int_eq(pic_ack(pic), 0x09);
  ck_assert_int_eq(r->level[0], 0); /* 4 waits for 1 */
  pulse(0);
  ck_assert_int_eq(r->level[0], 1); /* 0 interrupts 1 */
  ck_assert_int_eq(pic_ack(pic), 0x08);
  rig_out(r, 0x20, 0x0b);
  ck_assert_uint_eq(rig_in(r, 0x20), 0x03);
  rig_out(r, 0x20, 0x0a);
  ck_assert_uint_eq(rig_in(r, 0x20), 0x10);
  rig_out(r, 0x20, 0x20);
  ck_assert_int_eq(r->level[0], 0);
  rig_out(r, 0x20, 0x20);
  ck_assert_int_eq(pic_ack(pic), 0x0c);
  rig_free(r);
}
END_TEST

START_TEST(cascade) {
  struct rig *r = setup(false);
  pulse(14);
  pulse(9);
  pulse(3);
  ck_assert_int_eq(pic_ack(pic), 0x71); /* the slave's inputs rank between 1 and 3 */
  rig_out(r, 0x20, 0x0b);
  ck_assert_uint_eq(rig_in(r, 0x20), 0x04);
  ck_assert_int_eq(r->level[0], 0);
  rig_out(r, 0xa0, 0x20);
  rig_out(r, 0x20, 0x20);
  ck_assert_int_eq(pic_ack(pic), 0x76);
  rig_out(r, 0xa0, 0x66); /* specific */
  rig_out(r, 0x20, 0x62);
  ck_assert_int_eq(pic_ack(pic), 0x0b);
  rig_free(r);
}
END_TEST

START_TEST(masks_and_spurious) {
  struct rig *r = setup(false);
  rig_out(r, 0x21, 0xef);
  pulse(3);
  ck_assert_int_eq(r->level[0], 0);
  rig_out(r, 0x21, 0x00);
  ck_assert_int_eq(r->level[0], 1);
  rig_out(r, 0x21, 0xff); /* masked between request and acknowledge */
  ck_assert_int_eq(pic_ack(pic), 0x0f);
  rig_out(r, 0x20, 0x0b);
  ck_assert_uint_eq(rig_in(r, 0x20), 0x00);
  rig_free(r);
}
END_TEST

START_TEST(level_triggered) {
  struct rig *r = setup(false);
  rig_out(r, 0x4d0, 0xff);
  rig_out(r, 0x4d1, 0xff);
  ck_assert_uint_eq(rig_in(r, 0x4d0), 0xf8);
  ck_assert_uint_eq(rig_in(r, 0x4d1), 0xde);
  pic_set_irq(pic, 11, 1);
  ck_assert_int_eq(pic_ack(pic), 0x73);
  rig_out(r, 0xa0, 0x20);
  rig_out(r, 0x20, 0x20);
  ck_assert_int_eq(r->level[0], 1); /* still asserted */
  pic_set_irq(pic, 11, 0);
  ck_assert_int_eq(r->level[0], 0);
  rig_free(r);
}
END_TEST

START_TEST(rotation) {
  struct rig *r = setup(false);
  pulse(3);
  pulse(5);
  ck_assert_int_eq(pic_ack(pic), 0x0b);
  rig_out(r, 0x20, 0xa0); /* rotate on non-specific EOI: 3 becomes lowest */
  pulse(3);
  ck_assert_int_eq(pic_ack(pic), 0x0d);
  rig_out(r, 0x20, 0x20);
  ck_assert_int_eq(pic_ack(pic), 0x0b);
  rig_out(r, 0x20, 0x20);
  rig_out(r, 0x20, 0xc5); /* set priority: 5 lowest, 6 highest */
  pulse(0);
  pulse(6);
  ck_assert_int_eq(pic_ack(pic), 0x0e);
  rig_free(r);
}
END_TEST

START_TEST(automatic_eoi) {
  struct rig *r = setup(true);
  pulse(8);
  pulse(9);
  ck_assert_int_eq(pic_ack(pic), 0x70);
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_int_eq(pic_ack(pic), 0x71);
  ck_assert_int_eq(r->level[0], 0);
  rig_out(r, 0x20, 0x80); /* rotate in automatic EOI */
  pulse(1);
  ck_assert_int_eq(pic_ack(pic), 0x09);
  pulse(1);
  pulse(3);
  ck_assert_int_eq(pic_ack(pic), 0x0b);
  ck_assert_int_eq(pic_ack(pic), 0x09);
  rig_free(r);
}
END_TEST

START_TEST(special_mask_and_poll) {
  struct rig *r = setup(false);
  pulse(1);
  ck_assert_int_eq(pic_ack(pic), 0x09);
  pulse(4);
  ck_assert_int_eq(r->level[0], 0);
  rig_out(r, 0x21, 0x02);
  rig_out(r, 0x20, 0x68); /* special mask: all but the masked level may interrupt */
  ck_assert_int_eq(r->level[0], 1);
  rig_out(r, 0x20, 0x0c); /* poll */
  ck_assert_uint_eq(rig_in(r, 0x20), 0x84);
  ck_assert_int_eq(r->level[0], 0);
  rig_out(r, 0x20, 0x0c);
  ck_assert_uint_eq(rig_in(r, 0x20), 0x00);
  rig_out(r, 0x20, 0x20); /* ends 4; 1 is masked and stays */
  rig_out(r, 0x20, 0x0b);
  ck_assert_uint_eq(rig_in(r, 0x20), 0x02);
  rig_free(r);
}
END_TEST

START_TEST(special_fully_nested) {
  struct rig *r = setup(false);
  rig_out(r, 0x20, 0x11);
  rig_out(r, 0x21, 0x08);
  rig_out(r, 0x21, 0x04);
  rig_out(r, 0x21, 0x11);
  pulse(12);
  ck_assert_int_eq(pic_ack(pic), 0x74);
  pulse(8); /* higher on the same slave */
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_int_eq(pic_ack(pic), 0x70);
  rig_free(r);
}
END_TEST

static void fuzz_lines(struct rig *r, struct device *dev) {
  uint64_t x = rig_random(r);
  if (x & 3)
    pic_set_irq(dev, x >> 8 & 15, x >> 16 & 1);
  else
    ck_assert_int_eq(pic_ack(dev) & ~0xff, 0);
  ck_assert_int_eq(r->level[0], pic_intr(dev));
}

START_TEST(fuzz) {
  static const uint16_t ports[] = {0x20, 0x21, 0xa0, 0xa1, 0x4d0, 0x4d1};
  struct rig *r = setup(false);
  rig_fuzz_ports(r, ports, 6, fuzz_lines, pic);
  rig_check_fields(pic);
  rig_free(r);
}
END_TEST

RIG_SUITE(pic, priorities, withdrawn_edge, cascade, masks_and_spurious, level_triggered, rotation, automatic_eoi,
          special_mask_and_poll, special_fully_nested, fuzz)
