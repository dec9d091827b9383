/* SPDX-License-Identifier: MIT */
/* VDI images: use against a model, unlucky ends, discarded blocks, damage found and mended, what is refused.
 */
#include "tests/unit/image_rig.h"

#define MB (1u << 20)
#define MAP 512
#define DATA MB

static void put32(uint64_t at, uint32_t value) {
  uint8_t raw[4];
  put_le32(raw, value);
  image_poke("disk", at, raw, 4);
}
static uint32_t get32(uint64_t at) {
  uint8_t raw[4];
  image_peek("disk", at, raw, 4);
  return le32_at(raw);
}

START_TEST(dynamic) {
  image_begin();
  image_model_test("vdi", NULL, 5 * MB + 512 * 3);
  image_end();
}
END_TEST

START_TEST(fixed) {
  image_begin();
  image_model_test("vdi", "static=on", 3 * MB);
  ck_assert_uint_eq(get32(MAP + 8), 2);
  image_end();
}
END_TEST

START_TEST(large_table) { /* the count and the entry lie too far apart for one write */
  image_begin();
  image_create("disk", "vdi", 2000ull * MB, NULL, NULL);
  struct block *b = image_open("disk", "vdi", BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, 1999ull * MB, "end", 3), 0);
  ck_assert_int_eq(block_write(b, 0, "begin", 5), 0);
  block_close(b);
  image_clean("disk");
  ck_assert_uint_eq(get32(0x184), 2);
  ck_assert_uint_eq(get32(MAP + 4 * 1999), 0);
  ck_assert_uint_eq(get32(MAP), 1);
  image_end();
}
END_TEST

START_TEST(discarded) {
  uint8_t byte = 1;
  image_begin();
  image_create("disk", "vdi", 4 * MB, NULL, NULL);
  put32(MAP + 4, 0xfffffffe);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_read(b, MB + 7, &byte, 1), 0);
  ck_assert_uint_eq(byte, 0);
  ck_assert_int_eq(block_write(b, MB + 7, "x", 1), 0);
  ck_assert_int_eq(block_read(b, MB + 7, &byte, 1), 0);
  ck_assert_uint_eq(byte, 'x');
  ck_assert_int_eq(block_read(b, MB + 8, &byte, 1), 0);
  ck_assert_uint_eq(byte, 0);
  block_close(b);
  image_clean("disk");
  image_end();
}
END_TEST

START_TEST(leftovers) { /* data of an unlucky end at the place of the next block must not shine through */
  static uint8_t junk[MB];
  uint8_t byte;
  image_begin();
  image_create("disk", "vdi", 4 * MB, NULL, NULL);
  memset(junk, 0xee, sizeof junk);
  image_poke("disk", DATA, junk, sizeof junk);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, 2 * MB + 100, "x", 1), 0);
  for (unsigned at = 0; at < MB; at += 50) {
    ck_assert_int_eq(block_read(b, 2 * MB + at, &byte, 1), 0);
    ck_assert_uint_eq(byte, at == 100 ? 'x' : 0);
  }
  block_close(b);
  image_end();
}
END_TEST

START_TEST(unlucky_ends) {
  image_begin();
  for (unsigned i = 0; i < 6; i++) {
    image_create("disk", "vdi", 6 * MB, NULL, NULL);
    image_crash_test("disk", "vdi", 6 * MB, 0, 300 * i * i);
    image_create("disk", "vdi", 6 * MB, NULL, NULL);
    image_crash_test("disk", "vdi", 6 * MB, 3 * MB + 400000 * i, 0);
  }
  image_end();
}
END_TEST

START_TEST(check_and_repair) {
  image_begin();
  image_create("disk", "vdi", 8 * MB, NULL, NULL);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  for (unsigned i = 0; i < 4; i++)
    ck_assert_int_eq(block_write(b, i * MB, "abcd", 4), 0);
  block_close(b);
  put32(0x184, 9); /* the count */
  put32(MAP + 4, 700);
  struct block_check c = image_check("disk", BLOCK_REPAIR_NONE);
  ck_assert_uint_eq(c.corruptions, 2);
  image_refused("disk", NULL, BLOCK_WRITE, -EINVAL, "damaged");
  c = image_check("disk", BLOCK_REPAIR_ALL);
  ck_assert_uint_eq(c.corruptions, 0);
  ck_assert_uint_eq(c.corruptions_fixed, 2);
  image_clean("disk");
  ck_assert_uint_eq(get32(0x184), 3);
  put32(MAP + 4, 2); /* twice: nobody knows whose it is */
  c = image_check("disk", BLOCK_REPAIR_ALL);
  ck_assert_uint_ge(c.corruptions, 1);
  image_refused("disk", NULL, BLOCK_WRITE, -EINVAL, "damaged");
  block_close(image_open("disk", NULL, 0));
  image_end();
}
END_TEST

START_TEST(refused) {
  static const struct {
    uint32_t at, value;
    int result;
    const char *words;
  } cases[] = {
      {0x44, 0x00010000, -ENOTSUP, "version 1.0"},
      {0x4c, 4, -ENOTSUP, "differencing"},
      {0x4c, 9, -EINVAL, "type"},
      {0x1b8, 5, -ENOTSUP, "differencing"},
      {0x154, 0x7fffffff, -EINVAL, "table"},
      {0x154, 0, -EINVAL, "table"},
      {0x158, 512, -EINVAL, "first block"},
      {0x168, 2048, -EINVAL, "sectors"},
      {0x178, 12345, -EINVAL, "blocks"},
      {0x178, 0, -EINVAL, "blocks"},
      {0x17c, 16, -EINVAL, "extra"},
      {0x180, 0, -EINVAL, "number of blocks"},
      {0x180, 0xffffffff, -EINVAL, "blocks"},
      {0x174, 1, -EINVAL, "size"},
      {0x174, 0xffffffff, -EINVAL, "size"},
  };
  image_begin();
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    image_create("disk", "vdi", 4 * MB, NULL, NULL);
    put32(cases[i].at, cases[i].value);
    image_refused("disk", NULL, 0, cases[i].result, cases[i].words);
  }
  ck_assert_int_eq(truncate(image_path("disk"), 300), 0);
  image_refused("disk", "vdi", 0, -EINVAL, "cut off");
  image_end();
}
END_TEST

Suite *suite_vdi(void) {
  Suite *suite = suite_create("vdi");
  TCase *tests = tcase_create("vdi");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, dynamic);
  tcase_add_test(tests, fixed);
  tcase_add_test(tests, large_table);
  tcase_add_test(tests, discarded);
  tcase_add_test(tests, leftovers);
  tcase_add_test(tests, unlucky_ends);
  tcase_add_test(tests, check_and_repair);
  tcase_add_test(tests, refused);
  suite_add_tcase(suite, tests);
  return suite;
}
