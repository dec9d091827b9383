/* SPDX-License-Identifier: MIT */
/* The ATAPI CD-ROM drive: PACKET protocol by PIO and DMA, sense data, replies, media change and tray lock. */
#include "tests/unit/atapi_rig.h"

#define CD_SIZE (300 * 2048)

static struct ide *cd_new(void) {
  struct ide *c = ide_new(CD_SIZE, 0, true);
  packet(c, 0, 0, "00");
  expect_key(c, 6); /* power on */
  expect_sense(c, 6, 0x29);
  packet(c, 0, 0, "00");
  expect_key(c, 0);
  return c;
}

START_TEST(signature) {
  struct ide *c = ide_new(CD_SIZE, 0, true);
  uint8_t id[512];
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0);
  ck_assert_uint_eq(inb(c->rig, 0x1f4), 0x14);
  ck_assert_uint_eq(inb(c->rig, 0x1f5), 0xeb);
  outb(c->rig, 0x1f4, 0);
  ide_command(c, 0, 0xec);
  ide_expect_error(c, 0x04);
  ck_assert_uint_eq(inb(c->rig, 0x1f4), 0x14);
  ck_assert_uint_eq(inb(c->rig, 0x1f5), 0xeb);
  ide_command(c, 0, 0xa1);
  ide_wait_irq(c);
  ide_read_data(c, id, 512);
  ck_assert_uint_eq(id[0] | id[1] << 8, 0x85c0);
  ck_assert_mem_eq(id + 54, "RDGAMONAC -DOR M", 16);
  ide_command(c, 0, 0x08);
  rig_run(c->rig, 1000000);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0);
  ck_assert_uint_eq(inb(c->rig, 0x1f5), 0xeb);
  ide_free(c);
}
END_TEST

START_TEST(describe) {
  struct ide *c = cd_new();
  uint8_t buf[512];
  ck_assert_uint_eq(reply(c, "12 00 00 00 24", buf), 36);
  ck_assert_uint_eq(buf[0], 5);
  ck_assert_uint_eq(buf[1], 0x80);
  ck_assert_mem_eq(buf + 8, "DRAGOMANCD-ROM          1.0 ", 28);
  ck_assert_uint_eq(reply(c, "12 00 00 00 05", buf), 5); /* an odd allocation length */
  ck_assert_uint_eq(reply(c, "25", buf), 8);
  ck_assert_uint_eq(be32(buf), 299);
  ck_assert_uint_eq(be32(buf + 4), 2048);
  ck_assert_uint_eq(reply(c, "5a 00 2a 00 00 00 00 00 80", buf), 28);
  ck_assert_uint_eq(buf[2], 1);
  ck_assert_uint_eq(buf[8], 0x2a);
  ck_assert_uint_eq(reply(c, "1a 00 3f 00 ff", buf), buf[0] + 1u);
  packet(c, 0, 0xfffe, "5a 00 05 00 00 00 00 00 80");
  expect_key(c, 5);
  expect_sense(c, 5, 0x24);
  ck_assert_uint_eq(reply(c, "46 00 00 00 00 00 00 01 00", buf), be32(buf) + 4);
  ck_assert_uint_eq(buf[7], 8); /* current profile: CD-ROM */
  ck_assert_uint_eq(reply(c, "51 00 00 00 00 00 00 00 22", buf), 34);
  ck_assert_uint_eq(reply(c, "52 01 00 00 00 01 00 00 24", buf), 36);
  ck_assert_uint_eq(be32(buf + 24), 300);
  ck_assert_uint_eq(reply(c, "bd 00 00 00 00 00 00 00 00 08", buf), 8);
  ck_assert_uint_eq(reply(c, "42 02 40 01 00 00 00 00 10", buf), 16);
  packet(c, 0, 0xfffe, "ad 00 00 00 00 00 00 00 08");
  expect_key(c, 5);
  packet(c, 0, 0xfffe, "48 00 00 00 01 00 00 01 01"); /* play */
  expect_key(c, 5);
  packet(c, 0, 0xfffe, "2a");
  expect_key(c, 5);
  expect_sense(c, 5, 0x20);
  ide_free(c);
}
END_TEST

START_TEST(toc) {
  struct ide *c = cd_new();
  uint8_t buf[512];
  ck_assert_uint_eq(reply(c, "43 00 00 00 00 00 00 02 00", buf), 20);
  ck_assert_uint_eq(buf[1], 18);
  ck_assert_uint_eq(be32(buf + 16), 300);
  ck_assert_uint_eq(reply(c, "43 02 00 00 00 00 00 02 00", buf), 20);
  ck_assert_uint_eq(be32(buf + 8), 0x00000200); /* 00:02:00 */
  ck_assert_uint_eq(be32(buf + 16), 0x00000600);
  ck_assert_uint_eq(reply(c, "43 00 00 00 00 00 aa 02 00", buf), 12);
  ck_assert_uint_eq(reply(c, "43 00 01 00 00 00 00 02 00", buf), 12);
  ck_assert_uint_eq(reply(c, "43 00 00 00 00 00 00 00 0c 40", buf), 12);
  ck_assert_uint_eq(reply(c, "43 00 02 00 00 00 00 02 00", buf), 48);
  packet(c, 0, 0xfffe, "43 00 00 00 00 00 02 02 00");
  expect_key(c, 5);
  ide_free(c);
}
END_TEST

START_TEST(read_pio) {
  struct ide *c = cd_new();
  static uint8_t buf[65536];
  packet(c, 0, 2048, "28 00 00 00 00 10 00 00 03");
  for (uint32_t n = 0; n < 3; n++) {
    ck_assert_uint_eq(data_block(c, buf), 2048);
    ck_assert_uint_eq(*(uint32_t *)buf, (16 + n) * 512);
  }
  expect_key(c, 0);
  packet(c, 0, 0xffff, "a8 00 00 00 00 10 00 00 00 28"); /* 40 sectors: 31 fit below 65534 bytes */
  ck_assert_uint_eq(data_block(c, buf), 31 * 2048);
  ck_assert_uint_eq(data_block(c, buf), 9 * 2048);
  ck_assert_uint_eq(*(uint32_t *)buf, 47 * 512);
  expect_key(c, 0);
  packet(c, 0, 1000, "08 00 00 01 02"); /* pieces smaller than a sector */
  uint32_t sum = 0;
  for (int i = 0; i < 5; i++)
    sum += data_block(c, buf + sum);
  ck_assert_uint_eq(sum, 4096);
  for (uint32_t i = 0; i < 1024; i++)
    ck_assert_uint_eq(((uint32_t *)buf)[i], 512 + i);
  expect_key(c, 0);
  packet(c, 0, 2048, "28 00 00 00 01 2b 00 00 02"); /* past the end */
  expect_key(c, 5);
  expect_sense(c, 5, 0x21);
  packet(c, 0, 2048, "28 00 00 00 00 00 00 00 00"); /* nothing */
  expect_key(c, 0);
  ide_free(c);
}
END_TEST

START_TEST(read_cd) {
  struct ide *c = cd_new();
  static uint8_t buf[65536];
  packet(c, 0, 0xfffe, "be 00 00 00 00 02 00 00 01 10");
  ck_assert_uint_eq(data_block(c, buf), 2048);
  ck_assert_uint_eq(*(uint32_t *)buf, 1024);
  expect_key(c, 0);
  packet(c, 0, 0xfffe, "be 00 00 00 00 02 00 00 01 f8");
  ck_assert_uint_eq(data_block(c, buf), 2352);
  ck_assert_uint_eq(buf[1], 0xff);
  ck_assert_mem_eq(buf + 12, "\x00\x02\x02\x01", 4);
  ck_assert_uint_eq(*(uint32_t *)(buf + 16), 1024);
  expect_key(c, 0);
  packet(c, 0, 0xfffe, "b9 00 00 00 02 02 00 02 03 10");
  ck_assert_uint_eq(data_block(c, buf), 2048);
  ck_assert_uint_eq(*(uint32_t *)buf, 1024);
  expect_key(c, 0);
  packet(c, 0, 0xfffe, "be 04 00 00 00 02 00 00 01 10"); /* audio */
  expect_key(c, 5);
  ide_free(c);
}
END_TEST

START_TEST(dma) {
  struct ide *c = cd_new();
  prd(c, 0, 0x20000, 0x1000, false);
  prd(c, 1, 0x100000, 0, false);
  prd(c, 2, 0x110000, 0xf000, true);
  packet(c, 1, 0, "28 00 00 00 00 20 00 00 40"); /* 128 KB */
  bm_start(c, 0x09);
  expect_key(c, 0);
  ck_assert_uint_eq(inb(c->rig, BM + 2) & 7, 4);
  ck_assert_uint_eq(mem_read(c->rig->set.mem, 0x20000, 4), 32 * 512);
  ck_assert_uint_eq(mem_read(c->rig->set.mem, 0x11effc, 4), 96 * 512 - 1);
  /* A reply by DMA, shorter than its table. */
  prd(c, 0, 0x20000, 0x1000, true);
  packet(c, 1, 0, "25");
  bm_start(c, 0x09);
  expect_key(c, 0);
  ck_assert_uint_eq(inb(c->rig, BM + 2) & 7, 5);
  ck_assert_uint_eq(mem_read(c->rig->set.mem, 0x20000, 4), 0x2b010000);
  ide_free(c);
}
END_TEST

START_TEST(mode_select) {
  struct ide *c = cd_new();
  uint8_t list[20] = {0};
  packet(c, 0, 0xfffe, "55 10 00 00 00 00 00 00 14");
  ide_wait_irq(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f2) & 3, 0);
  ide_write_data(c, list, sizeof list);
  expect_key(c, 0);
  ide_free(c);
}
END_TEST

START_TEST(media_change) {
  struct ide *c = cd_new();
  uint8_t buf[512];
  struct block *other = block_open_memory("other", "", 0);
  ck_assert_int_eq(ide_change_media(c->dev, 0, NULL, false), 0);
  ck_assert(ide_tray_open(c->dev, 0));
  ck_assert_ptr_null(ide_media(c->dev, 0));
  packet(c, 0, 0, "00");
  expect_key(c, 2);
  expect_sense(c, 2, 0x3a);
  ck_assert_uint_eq(reply(c, "4a 01 00 00 10 00 00 00 08", buf), 8);
  ck_assert_uint_eq(buf[4], 3);
  ck_assert_uint_eq(buf[5], 1);
  ck_assert_int_eq(ide_change_media(c->dev, 0, c->block, false), 0);
  packet(c, 0, 0, "00");
  expect_key(c, 6);
  expect_sense(c, 6, 0x28);
  ck_assert_uint_eq(reply(c, "4a 01 00 00 10 00 00 00 08", buf), 8);
  ck_assert_uint_eq(buf[4], 2);
  ck_assert_uint_eq(buf[5], 2);
  /* Locked: neither the monitor nor START STOP UNIT opens the tray. */
  packet(c, 0, 0, "1e 00 00 00 01");
  expect_key(c, 0);
  ck_assert(ide_tray_locked(c->dev, 0));
  ck_assert_int_eq(ide_change_media(c->dev, 0, other, false), -EBUSY);
  ck_assert_ptr_eq(ide_media(c->dev, 0), c->block);
  ck_assert_uint_eq(reply(c, "4a 01 00 00 10 00 00 00 08", buf), 8);
  ck_assert_uint_eq(buf[4], 1);
  packet(c, 0, 0, "1b 00 00 00 02");
  expect_key(c, 5);
  expect_sense(c, 5, 0x53);
  packet(c, 0, 0, "1e");
  expect_key(c, 0);
  packet(c, 0, 0, "1b 00 00 00 02");
  expect_key(c, 0);
  ck_assert(ide_tray_open(c->dev, 0));
  packet(c, 0, 0, "1b 00 00 00 03");
  expect_key(c, 0);
  packet(c, 0, 0, "00");
  expect_key(c, 6);
  packet(c, 0, 0, "1e 00 00 00 01");
  expect_key(c, 0);
  ck_assert_int_eq(ide_change_media(c->dev, 0, NULL, true), 0);
  ck_assert_int_eq(ide_change_media(c->dev, 0, c->block, false), 0);
  block_close(other);
  ide_free(c);
}
END_TEST

/* The medium goes while a read is under way. */
START_TEST(eject_during_read) {
  struct ide *c = cd_new();
  static uint8_t buf[65536];
  packet(c, 0, 2048, "28 00 00 00 00 00 00 00 80");
  ck_assert_uint_eq(data_block(c, buf), 2048);
  ck_assert_int_eq(ide_change_media(c->dev, 0, NULL, true), 0);
  for (int i = 0; i < 200; i++) {
    ide_wait_irq(c);
    if (inb(c->rig, 0x1f7) & 1)
      break;
    ide_read_data(c, buf, 2048);
  }
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x51);
  ck_assert_uint_eq(inb(c->rig, 0x1f1) >> 4, 2);
  ide_free(c);
}
END_TEST

START_TEST(noise) {
  struct ide *c = ide_new(CD_SIZE, 0, true);
  ide_noise(c, 5);
  ide_free(c);
}
END_TEST

START_TEST(noise_on_disk) {
  struct ide *c = ide_new(CD_SIZE, BLOCK_WRITE, false);
  ide_noise(c, 6);
  ide_free(c);
}
END_TEST

Suite *suite_atapi(void) {
  Suite *suite = suite_create("atapi");
  TCase *tests = tcase_create("atapi");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, signature);
  tcase_add_test(tests, describe);
  tcase_add_test(tests, toc);
  tcase_add_test(tests, read_pio);
  tcase_add_test(tests, read_cd);
  tcase_add_test(tests, dma);
  tcase_add_test(tests, mode_select);
  tcase_add_test(tests, media_change);
  tcase_add_test(tests, eject_during_read);
  tcase_add_test(tests, noise);
  tcase_add_test(tests, noise_on_disk);
  suite_add_tcase(suite, tests);
  return suite;
}
