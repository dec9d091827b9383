/* SPDX-License-Identifier: MIT */
/* The monitor's EDID: sums, versions, and modes that add up. (Reading it by DDC is in test_cirrus.c.) */
#include <check.h>

#include "devices/display/edid.h"

Suite *suite_edid(void);

static const struct {
  unsigned width, height;
} sizes[] = {{1024, 768}, {1280, 1024}, {1600, 1200}, {2560, 1600}};

START_TEST(block) {
  uint8_t edid[EDID_SIZE], sum = 0;
  edid_build(edid, sizes[_i].width, sizes[_i].height);
  for (unsigned i = 0; i < EDID_SIZE; i++)
    sum = (uint8_t)(sum + edid[i]);
  ck_assert_uint_eq(sum, 0);
  ck_assert_mem_eq(edid, "\x00\xff\xff\xff\xff\xff\xff\x00", 8);
  ck_assert_uint_eq(edid[18] << 8 | edid[19], 0x0103);
  ck_assert_uint_eq(edid[126], 0);          /* no extension */
  ck_assert_uint_eq(edid[35] & 0x21, 0x21); /* 640x480 and 800x600 at 60 Hz */
  ck_assert_uint_eq(edid[36] & 0x08, 0x08); /* 1024x768 at 60 Hz */
  ck_assert_uint_eq(edid[36] & 0x01, sizes[_i].width >= 1280 ? 0x01 : 0x00);
}
END_TEST

/* 1024x768 is preferred: 1344 x 806 clocks in all at 65 MHz, 60 Hz. */
START_TEST(preferred) {
  uint8_t edid[EDID_SIZE];
  edid_build(edid, sizes[_i].width, sizes[_i].height);
  const uint8_t *t = edid + 54;
  unsigned width = t[2] | (t[4] & 0xf0u) << 4, blank = t[3] | (t[4] & 0x0fu) << 8;
  unsigned height = t[5] | (t[7] & 0xf0u) << 4, vertical_blank = t[6] | (t[7] & 0x0fu) << 8;
  ck_assert_uint_eq(width, 1024);
  ck_assert_uint_eq(height, 768);
  ck_assert_uint_eq((t[0] | t[1] << 8) * 10000u / ((width + blank) * (height + vertical_blank)), 60);
  ck_assert_uint_eq(edid[24] & 2, 2);
  for (const uint8_t *d = edid + 72; d < edid + 126; d += 18) /* the others are descriptors */
    ck_assert_uint_eq(d[0] | d[1] | d[2], 0);
}
END_TEST

/* Standard timings: no more than the adapter shows. */
START_TEST(standard) {
  uint8_t edid[EDID_SIZE];
  edid_build(edid, sizes[_i].width, sizes[_i].height);
  static const unsigned counts[] = {0, 4, 6, 8};
  unsigned found = 0;
  for (const uint8_t *t = edid + 38; t < edid + 54; t += 2) {
    static const unsigned ratio[4][2] = {{16, 10}, {4, 3}, {5, 4}, {16, 9}};
    if (t[0] == 1 && t[1] == 1)
      continue;
    unsigned width = (t[0] + 31u) * 8, height = width * ratio[t[1] >> 6][1] / ratio[t[1] >> 6][0];
    ck_assert_uint_le(width, sizes[_i].width);
    ck_assert_uint_le(height, sizes[_i].height);
    found++;
  }
  ck_assert_uint_eq(found, counts[_i]);
}
END_TEST

Suite *suite_edid(void) {
  Suite *s = suite_create("edid");
  TCase *t = tcase_create("edid");
  tcase_add_loop_test(t, block, 0, 4);
  tcase_add_loop_test(t, preferred, 0, 4);
  tcase_add_loop_test(t, standard, 0, 4);
  suite_add_tcase(s, t);
  return s;
}
