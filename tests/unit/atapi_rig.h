/* SPDX-License-Identifier: MIT */
/* Packets for the CD-ROM drive at the primary master, and what they answer. */
#ifndef TESTS_UNIT_ATAPI_RIG_H
#define TESTS_UNIT_ATAPI_RIG_H

#include "tests/unit/ide_rig.h"

/* Send a packet given in hexadecimal; the rest is zeros. */
static inline void packet(struct ide *c, uint8_t feature, uint16_t limit, const char *hex) {
  uint8_t bytes[12] = {0};
  for (int i = 0; *hex; i++) {
    bytes[i] = (uint8_t)strtoul(hex, (char **)&hex, 16);
    while (*hex == ' ')
      hex++;
  }
  outb(c->rig, 0x1f1, feature);
  outb(c->rig, 0x1f4, limit);
  outb(c->rig, 0x1f5, limit >> 8);
  ide_command(c, 0, 0xa0);
  ck_assert_uint_eq(inb(c->rig, 0x1f2) & 3, 1); /* command, to the device */
  ide_write_data(c, bytes, 12);
  ck_assert_uint_eq(inb(c->rig, 0x3f6) & 0x80, 0x80);
}

/* The end of a packet command: no error, or the sense key. */
static inline void expect_key(struct ide *c, uint8_t key) {
  ide_wait_irq(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f2) & 3, 3);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), key ? 0x51 : 0x50);
  ck_assert_uint_eq(inb(c->rig, 0x1f1) >> 4, key);
}

/* Receive one data block; its length. */
static inline uint32_t data_block(struct ide *c, void *buf) {
  ide_wait_irq(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x58);
  ck_assert_uint_eq(inb(c->rig, 0x1f2) & 3, 2);
  uint32_t n = inb(c->rig, 0x1f4) | (uint32_t)inb(c->rig, 0x1f5) << 8;
  ide_read_data(c, buf, n);
  return n;
}

static inline uint32_t reply(struct ide *c, const char *hex, uint8_t *buf) {
  packet(c, 0, 0xfffe, hex);
  uint32_t n = data_block(c, buf);
  expect_key(c, 0);
  return n;
}

static inline void expect_sense(struct ide *c, uint8_t key, uint8_t asc) {
  uint8_t sense[18];
  ck_assert_uint_eq(reply(c, "03 00 00 00 12", sense), 18);
  ck_assert_uint_eq(sense[0], 0x70);
  ck_assert_uint_eq(sense[2], key);
  ck_assert_uint_eq(sense[12], asc);
}

static inline uint32_t be32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

#endif
