/* SPDX-License-Identifier: MIT */
/* Screenshot files: read back by hand, and what happens when they cannot be written. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "core/display.h"
#include "frontends/textdump.h"

#define WIDTH 5
#define HEIGHT 3
#define STRIDE 8

static uint32_t pixels[HEIGHT * STRIDE];
static const struct surface surface = {pixels, WIDTH, HEIGHT, STRIDE};
static char directory[64], path[80];

static void setup(void) {
  snprintf(directory, sizeof directory, "test-image-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(directory));
  snprintf(path, sizeof path, "%s/shot", directory);
  for (unsigned i = 0; i < HEIGHT * STRIDE; i++)
    pixels[i] = 0xff000000u | i * 0x070503u;
}

static void teardown(void) {
  unlink(path);
  ck_assert_int_eq(rmdir(directory), 0); /* no temporary file is left behind */
}

static size_t slurp(uint8_t *buf, size_t size) {
  FILE *file = fopen(path, "rb");
  ck_assert_ptr_nonnull(file);
  size_t length = fread(buf, 1, size, file);
  fclose(file);
  return length;
}

static uint32_t be32(const uint8_t *p) {
  return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void check_rgb(const uint8_t *rgb, int x, int y) {
  uint32_t c = pixels[y * STRIDE + x];
  ck_assert_uint_eq(rgb[0], c >> 16 & 0xff);
  ck_assert_uint_eq(rgb[1], c >> 8 & 0xff);
  ck_assert_uint_eq(rgb[2], c & 0xff);
}

START_TEST(ppm) {
  uint8_t buf[256];
  ck_assert_int_eq(image_write_ppm(&surface, path), 0);
  ck_assert_uint_eq(slurp(buf, sizeof buf), 11 + WIDTH * HEIGHT * 3);
  ck_assert_int_eq(memcmp(buf, "P6\n5 3\n255\n", 11), 0);
  for (int y = 0; y < HEIGHT; y++)
    for (int x = 0; x < WIDTH; x++)
      check_rgb(buf + 11 + (y * WIDTH + x) * 3, x, y);
}
END_TEST

START_TEST(png) {
  uint8_t buf[512], raw[HEIGHT * (1 + WIDTH * 3)];
  uLongf raw_size = sizeof raw;
  ck_assert_int_eq(image_write_png(&surface, path), 0);
  size_t length = slurp(buf, sizeof buf), at = 8;
  ck_assert_int_eq(memcmp(buf, "\x89PNG\r\n\x1a\n", 8), 0);
  bool data_seen = false, end_seen = false;
  while (at < length) {
    uint32_t size = be32(buf + at);
    ck_assert_uint_le(at + 12 + size, length);
    ck_assert_uint_eq(be32(buf + at + 8 + size), crc32(0, buf + at + 4, size + 4));
    if (!memcmp(buf + at + 4, "IHDR", 4)) {
      ck_assert_uint_eq(be32(buf + at + 8), WIDTH);
      ck_assert_uint_eq(be32(buf + at + 12), HEIGHT);
    } else if (!memcmp(buf + at + 4, "IDAT", 4)) {
      ck_assert_int_eq(uncompress(raw, &raw_size, buf + at + 8, size), Z_OK);
      data_seen = true;
    } else if (!memcmp(buf + at + 4, "IEND", 4)) {
      end_seen = true;
    }
    at += 12 + size;
  }
  ck_assert(data_seen && end_seen);
  ck_assert_uint_eq(raw_size, sizeof raw);
  for (int y = 0; y < HEIGHT; y++)
    for (int x = 0; x < WIDTH; x++)
      check_rgb(raw + y * (1 + WIDTH * 3) + 1 + x * 3, x, y);
}
END_TEST

START_TEST(failures) {
  struct surface empty = {0};
  ck_assert_int_eq(image_write_png(&empty, path), -EINVAL);
  ck_assert_int_eq(image_write_png(&surface, "no-such-directory/shot.png"), -ENOENT);
  ck_assert_int_eq(image_write_ppm(&surface, "no-such-directory/shot.ppm"), -ENOENT);
  ck_assert_int_eq(mkdir(path, 0777), 0);
  ck_assert_int_eq(image_write_png(&surface, path), -EISDIR);
  ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(code_page) {
  static const struct {
    uint8_t code;
    const char *utf8;
  } cases[] = {{'A', "A"},       {0, " "},         {1, "\u263a"},    {0x7e, "~"},      {0x7f, "\u2302"},
               {0x80, "\u00c7"}, {0x9b, "\u00a2"}, {0x9e, "\u20a7"}, {0xb0, "\u2591"}, {0xc4, "\u2500"},
               {0xdb, "\u2588"}, {0xe1, "\u00df"}, {0xf8, "\u00b0"}, {0xfe, "\u25a0"}, {0xff, " "}};
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char out[5] = {0};
    ck_assert_int_eq(cp437_to_utf8(cases[i].code, out), (int)strlen(cases[i].utf8));
    ck_assert_str_eq(out, cases[i].utf8);
  }
}
END_TEST

Suite *suite_image(void) {
  Suite *suite = suite_create("image");
  TCase *c = tcase_create("image");
  tcase_add_checked_fixture(c, setup, teardown);
  tcase_add_test(c, ppm);
  tcase_add_test(c, png);
  tcase_add_test(c, failures);
  tcase_add_test(c, code_page);
  suite_add_tcase(suite, c);
  return suite;
}
