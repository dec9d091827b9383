/* SPDX-License-Identifier: MIT */
/* VHD images: use against a model, parents by all kinds of locators, sizes, bitmaps, footers, unlucky ends.
 */
#include "devices/block/vhd.h"
#include "tests/unit/image_rig.h"

#define MB (1u << 20)

/* Change a field of both footers, or of the header, with its checksum put right. */
static void set_footer(const char *name, unsigned field, const void *data, unsigned len) {
  uint8_t f[VHD_FOOTER];
  uint64_t at[2] = {image_length(name) - VHD_FOOTER, 0};
  image_peek(name, at[0], f, sizeof f);
  memcpy(f + field, data, len);
  put_be32(f + VHD_CHECKSUM, vhd_sum(f, VHD_FOOTER, VHD_CHECKSUM));
  for (unsigned i = 0; i < (be32_at(f + VHD_TYPE) == VHD_FIXED ? 1 : 2); i++)
    image_poke(name, at[i], f, sizeof f);
}
static void set_header(const char *name, unsigned field, const void *data, unsigned len) {
  uint8_t h[VHD_DYNAMIC_HEADER];
  image_peek(name, VHD_FOOTER, h, sizeof h);
  memcpy(h + field, data, len);
  put_be32(h + VHD_DYN_CHECKSUM, vhd_sum(h, sizeof h, VHD_DYN_CHECKSUM));
  image_poke(name, VHD_FOOTER, h, sizeof h);
}
static void set_header32(const char *name, unsigned field, uint32_t value) {
  uint8_t raw[4];
  put_be32(raw, value);
  set_header(name, field, raw, 4);
}

START_TEST(dynamic) {
  image_begin();
  image_model_test("vpc", NULL, 7 * MB + 512);
  image_end();
}
END_TEST

START_TEST(fixed) {
  image_begin();
  image_model_test("vpc", "subformat=fixed", 3 * MB);
  image_end();
}
END_TEST

START_TEST(differencing) {
  const uint64_t size = 5 * MB;
  uint8_t *model = calloc(1, size), *parent = malloc(size);
  image_begin();
  image_create("base", "vpc", size, "force_size=on", NULL);
  struct block *b = image_open("base", NULL, BLOCK_WRITE);
  image_exercise(b, model, size, 60, 11);
  memcpy(parent, model, size);
  block_close(b);
  image_create("disk", "vpc", 512, NULL, "base");
  b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_uint_eq(block_size(b), size);
  image_same(b, model, size);
  image_exercise(b, model, size, 300, 12);
  block_close(b);
  image_create("grandchild", "vpc", 512, NULL, image_path("disk")); /* an absolute name */
  b = image_open("grandchild", NULL, BLOCK_WRITE);
  image_exercise(b, model, size, 100, 13);
  ck_assert_str_eq(block_path(block_backing(b)), image_path("disk"));
  block_close(b);
  image_clean("disk");
  image_clean("grandchild");
  b = image_open("grandchild", NULL, 0);
  image_same(b, model, size);
  block_close(b);
  b = image_open("base", NULL, 0);
  image_same(b, parent, size);
  block_close(b);
  free(model);
  free(parent);
  image_end();
}
END_TEST

/* The locator: a platform's code and a name. */
static void set_locator(uint32_t code, const char *name, bool wide) {
  uint8_t entry[24] = {0}, text[512] = {0};
  uint32_t len = 0, at = 0;
  for (const char *p = name; *p; p++) {
    text[len++] = (uint8_t)*p;
    len += wide;
  }
  image_peek("disk", VHD_FOOTER + VHD_DYN_LOCATORS + 20, entry, 4);
  at = be32_at(entry); /* where create put the first */
  image_poke("disk", at, text, sizeof text);
  put_be32(entry, code);
  put_be32(entry + 4, 512);
  put_be32(entry + 8, len);
  put_be32(entry + 12, 0);
  put_be64(entry + 16, at);
  set_header("disk", VHD_DYN_LOCATORS, entry, sizeof entry);
}

START_TEST(locators) {
  static const struct {
    uint32_t code;
    const char *name;
    bool wide, found;
  } cases[] = {
      {0x57327275, ".\\base.vhd", true, true},
      {0x57327275, "base.vhd", true, true},
      {0x57326b75, "C:\\Virtual Machines\\base.vhd", true, true},
      {0x57326b75, "\\\\server\\share\\base.vhd", true, true},
      {0x57693272, ".\\base.vhd", false, true},
      {0x4d616358, "file://./base.vhd", false, true},
      {0x4d616358, "file://localhost/none/b%61se.vhd", false, false},
      {0x57327275, "..\\none\\base.vhd", true, false},
      {0x12345678, "base.vhd", true, false},
      {0x57327275, "", true, false},
  };
  uint8_t no_name[512] = {0}, name[512] = {0};
  image_begin();
  image_create("base.vhd", "vpc", 4 * MB, NULL, NULL);
  image_create("disk", "vpc", 512, NULL, "base.vhd");
  block_close(image_open("disk", NULL, 0));
  set_header("disk", VHD_DYN_PARENT_NAME, no_name, sizeof no_name);
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    set_locator(cases[i].code, cases[i].name, cases[i].wide);
    if (cases[i].found)
      block_close(image_open("disk", NULL, 0));
    else
      image_refused("disk", NULL, 0, -ENOENT, "parent");
  }
  for (unsigned i = 0; i < 8; i++) /* the name in the header, UTF-16 with the high byte first */
    name[2 * i + 1] = (uint8_t) "base.vhd"[i];
  set_header("disk", VHD_DYN_PARENT_NAME, name, sizeof name);
  block_close(image_open("disk", NULL, 0));
  block_close(image_open("disk", NULL, BLOCK_NO_BACKING));
  set_footer("base.vhd", VHD_UUID, "0123456789abcdef", 16);
  image_refused("disk", NULL, 0, -EINVAL, "identity");
  image_end();
}
END_TEST

START_TEST(sizes) { /* by geometry or by size, as the creator counts */
  static const struct {
    char creator[5];
    bool by_size;
  } cases[] = {{"vpc ", false}, {"vs  ", false}, {"qemu", false}, {"vbox", false},
               {"win ", true},  {"qem2", true},  {"d2v ", true},  {"tap\0", true}};
  image_begin();
  uint8_t size[8];
  put_be64(size, 10 * MB);
  image_create("disk", "vpc", 10 * MB, NULL, NULL);
  set_footer("disk", VHD_CURRENT_SIZE, size, 8);
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    set_footer("disk", VHD_CREATOR, cases[i].creator, 4);
    struct block *b = image_open("disk", NULL, 0);
    ck_assert_uint_eq(block_size(b), cases[i].by_size ? 10 * MB : 302 * 4 * 17 * 512);
    block_close(b);
  }
  image_create("disk", "vpc", 200ull << 30, NULL, NULL); /* more than geometry can tell */
  struct block *b = image_open("disk", NULL, 0);
  ck_assert_uint_eq(block_size(b), 200ull << 30);
  block_close(b);
  image_end();
}
END_TEST

START_TEST(bitmap) { /* of a dynamic disk: a clear bit means zeros, whatever lies there */
  uint8_t byte, bits;
  image_begin();
  image_create("disk", "vpc", 4 * MB, NULL, NULL);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, 0, "0123", 4), 0);
  ck_assert_int_eq(block_write(b, 512, "abcd", 4), 0);
  block_close(b);
  bits = 0xbf; /* sector 1 */
  image_poke("disk", 2048, &bits, 1);
  b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_read(b, 0, &byte, 1), 0);
  ck_assert_uint_eq(byte, '0');
  ck_assert_int_eq(block_read(b, 512, &byte, 1), 0);
  ck_assert_uint_eq(byte, 0);
  ck_assert_int_eq(block_write(b, 513, "z", 1), 0);
  ck_assert_int_eq(block_read(b, 512, &byte, 1), 0);
  ck_assert_uint_eq(byte, 0);
  ck_assert_int_eq(block_read(b, 513, &byte, 1), 0);
  ck_assert_uint_eq(byte, 'z');
  block_close(b);
  image_peek("disk", 2048, &bits, 1);
  ck_assert_uint_eq(bits, 0xff);
  image_end();
}
END_TEST

START_TEST(footers) {
  uint8_t byte = 0x55;
  image_begin();
  image_create("disk", "vpc", 4 * MB, NULL, NULL);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, 3 * MB, "abcd", 4), 0);
  block_close(b);
  uint64_t back = image_length("disk") - VHD_FOOTER;
  image_poke("disk", 100, &byte, 1);
  block_close(image_open("disk", NULL, 0));
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_NONE).corruptions, 1);
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_ALL).corruptions_fixed, 1);
  image_clean("disk");
  image_poke("disk", back + 100, &byte, 1);
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_ALL).corruptions_fixed, 1);
  image_clean("disk");
  ck_assert_uint_eq(image_length("disk"), back + VHD_FOOTER);
  image_poke("disk", 100, &byte, 1);
  image_poke("disk", back + 100, &byte, 1);
  image_refused("disk", NULL, 0, -EINVAL, "both copies");
  /* A fixed disk is known by its end alone; without a valid footer it is a raw one. */
  image_create("disk", "vpc", 4 * MB, "subformat=fixed", NULL);
  b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_str_eq(block_format_name(b), "vpc");
  block_close(b);
  image_poke("disk", image_length("disk") - 100, &byte, 1);
  b = image_open("disk", NULL, 0);
  ck_assert_str_eq(block_format_name(b), "raw");
  block_close(b);
  image_refused("disk", "vpc", 0, -EINVAL, "damaged");
  image_end();
}
END_TEST

START_TEST(unlucky_ends) {
  image_begin();
  image_create("base", "vpc", 6 * MB, NULL, NULL);
  for (unsigned i = 0; i < 6; i++) {
    image_create("disk", "vpc", 6 * MB, NULL, i % 2 ? "base" : NULL);
    image_crash_test("disk", "vpc", 6 * MB, 0, 100 * i * i);
    image_create("disk", "vpc", 6 * MB, NULL, i % 2 ? "base" : NULL);
    image_crash_test("disk", "vpc", 6 * MB, 3 * MB + 400000 * i, 0);
  }
  image_end();
}
END_TEST

START_TEST(check_and_repair) {
  uint8_t entry[4];
  image_begin();
  image_create("disk", "vpc", 16 * MB, NULL, NULL);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, 0, "abcd", 4), 0);
  ck_assert_int_eq(block_write(b, 4 * MB, "abcd", 4), 0);
  block_close(b);
  put_be32(entry, 0x100000);
  image_poke("disk", 1536 + 4, entry, 4);
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_NONE).corruptions, 1);
  image_refused("disk", NULL, BLOCK_WRITE, -EINVAL, "damaged");
  struct block_check c = image_check("disk", BLOCK_REPAIR_ALL);
  ck_assert_uint_eq(c.corruptions_fixed, 1);
  image_clean("disk");
  image_peek("disk", 1536, entry, 4);
  image_poke("disk", 1536 + 12, entry, 4); /* one place for two blocks */
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_ALL).corruptions, 1);
  image_refused("disk", NULL, BLOCK_WRITE, -EINVAL, "damaged");
  image_end();
}
END_TEST

START_TEST(refused) {
  static const struct {
    unsigned field;
    uint32_t value;
    const char *words;
  } cases[] = {
      {0, 0x41414141, "damaged"},
      {VHD_DYN_TABLE, 0xffffffff, "table"},
      {VHD_DYN_TABLE + 4, 0x7fffffff, "table"},
      {VHD_DYN_VERSION, 0x20000, "version"},
      {VHD_DYN_ENTRIES, 0, "too short"},
      {VHD_DYN_ENTRIES, 0xffffffff, "table"},
      {VHD_DYN_BLOCK_SIZE, 0, "blocks"},
      {VHD_DYN_BLOCK_SIZE, 0x30000, "blocks"},
      {VHD_DYN_BLOCK_SIZE, 512, "blocks"},
      {VHD_DYN_BLOCK_SIZE, 0x80000000, "blocks"},
  };
  uint8_t raw[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  image_begin();
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    image_create("disk", "vpc", 4 * MB, NULL, NULL);
    set_header32("disk", cases[i].field, cases[i].value);
    image_refused("disk", NULL, 0, -EINVAL, cases[i].words);
  }
  image_create("disk", "vpc", 4 * MB, NULL, NULL);
  set_footer("disk", VHD_DATA_OFFSET, raw, 8);
  image_refused("disk", NULL, 0, -EINVAL, "header");
  image_create("disk", "vpc", 4 * MB, "force_size=on", NULL);
  set_footer("disk", VHD_CURRENT_SIZE, raw, 8);
  image_refused("disk", NULL, 0, -EINVAL, "size");
  image_create("disk", "vpc", 4 * MB, NULL, NULL);
  put_be32(raw, 7);
  set_footer("disk", VHD_TYPE, raw, 4);
  image_refused("disk", NULL, 0, -EINVAL, "type");
  image_end();
}
END_TEST

Suite *suite_vhd(void) {
  Suite *suite = suite_create("vhd");
  TCase *tests = tcase_create("vhd");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, dynamic);
  tcase_add_test(tests, fixed);
  tcase_add_test(tests, differencing);
  tcase_add_test(tests, locators);
  tcase_add_test(tests, sizes);
  tcase_add_test(tests, bitmap);
  tcase_add_test(tests, footers);
  tcase_add_test(tests, unlucky_ends);
  tcase_add_test(tests, check_and_repair);
  tcase_add_test(tests, refused);
  suite_add_tcase(suite, tests);
  return suite;
}
