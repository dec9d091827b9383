/* SPDX-License-Identifier: MIT */
/*
 * VHDX images, built byte by byte since Dragoman makes none: block states, the bitmaps' places in the
 * table, both sector sizes, parents, logs that must be laid over the file, damaged copies, hostile numbers.
 */
#include "tests/img/vhdx_build.h"
#include "tests/unit/image_rig.h"

#define MB (1u << 20)
#define LOG_AT VHDX_BUILD_LOG
#define TABLE_AT VHDX_BUILD_TABLE
#define METADATA_AT VHDX_BUILD_METADATA
#define DATA_AT VHDX_BUILD_DATA
#define IDENTITY VHDX_BUILD_IDENTITY

static int file_of(const char *name, int flags) {
  int fd = open(image_path(name), O_RDWR | O_CREAT | flags, 0600);
  ck_assert_int_ge(fd, 0);
  return fd;
}
static void build(const char *name, const struct vhdx_recipe *r) {
  int fd = file_of(name, O_TRUNC);
  vhdx_build(fd, r);
  close(fd);
}
static void put_header(const char *name, unsigned which, uint64_t sequence, bool log) {
  int fd = file_of(name, 0);
  vhdx_build_header(fd, which, sequence, MB, log);
  close(fd);
}
static void put_log(const char *name, uint32_t at, uint32_t tail, uint64_t sequence, uint64_t target,
                    uint8_t with, uint64_t zero_at, uint64_t zero_len) {
  int fd = file_of(name, 0);
  vhdx_build_log(fd, MB, at, tail, sequence, target, with, zero_at, zero_len);
  close(fd);
}

static void put_entry(const char *name, uint64_t index, uint64_t at, unsigned state) {
  uint8_t raw[8];
  put_le64(raw, at | state);
  image_poke(name, TABLE_AT + 8 * index, raw, sizeof raw);
}

static void fill(const char *name, uint64_t at, uint64_t len, uint8_t with) {
  uint8_t *data = malloc(len);
  memset(data, with, len);
  image_poke(name, at, data, len);
  free(data);
}

static void expect(struct block *b, uint64_t at, uint8_t value) {
  uint8_t byte = 0x5a;
  ck_assert_int_eq(block_read(b, at, &byte, 1), 0);
  ck_assert_msg(byte == value, "at %llu: %02x, not %02x", (unsigned long long)at, byte, value);
}

static const struct vhdx_recipe simple = {.size = 8 * MB, .block = MB, .sector = 512};

START_TEST(checksum) { ck_assert_uint_eq(vhdx_crc(0, "123456789", 9), 0xe3069283); }
END_TEST

START_TEST(states) {
  image_begin();
  build("disk", &simple);
  for (unsigned i = 0; i < 8; i++)
    put_entry("disk", i, DATA_AT, 0);
  put_entry("disk", 1, DATA_AT, 1);
  put_entry("disk", 2, DATA_AT, 2);
  put_entry("disk", 3, DATA_AT, 3);
  put_entry("disk", 4, DATA_AT, 6);
  fill("disk", DATA_AT, MB, 0xaa);
  struct block *b = image_open("disk", NULL, 0);
  ck_assert_uint_eq(block_size(b), 8 * MB);
  for (unsigned i = 0; i < 8; i++) {
    expect(b, i * MB, i == 4 ? 0xaa : 0);
    expect(b, i * MB + MB - 1, i == 4 ? 0xaa : 0);
  }
  block_close(b);
  image_clean("disk");
  image_refused("disk", NULL, BLOCK_WRITE, -EROFS, "not written");
  uint8_t byte;
  put_entry("disk", 5, DATA_AT, 7); /* in part, but there is no parent */
  put_entry("disk", 6, 500ull * MB, 6);
  put_entry("disk", 7, 0, 6);
  b = image_open("disk", NULL, 0);
  for (unsigned i = 5; i < 8; i++)
    ck_assert_int_eq(block_read(b, i * MB, &byte, 1), -EIO);
  block_close(b);
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_NONE).corruptions, 3);
  put_entry("disk", 5, DATA_AT, 6);
  put_entry("disk", 6, 0, 0);
  put_entry("disk", 7, 0, 0);
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_NONE).corruptions, 1);
  image_end();
}
END_TEST

START_TEST(chunks) { /* every so many entries stands one of bitmaps */
  static const struct {
    uint32_t block, sector, ratio;
  } cases[] = {{MB, 512, 4096}, {256 * MB, 512, 16}, {256 * MB, 4096, 128}, {32 * MB, 4096, 1024}};
  image_begin();
  for (unsigned i = 0; i < 4; i++) {
    uint32_t ratio = cases[i].ratio;
    struct vhdx_recipe r = {
        (uint64_t)cases[i].block * (ratio + 2), cases[i].block, cases[i].sector, false, NULL, 0};
    build("disk", &r);
    put_entry("disk", ratio - 1, DATA_AT, 6);
    put_entry("disk", ratio, 7, 6); /* the bitmaps' */
    put_entry("disk", ratio + 1, DATA_AT + MB, 6);
    fill("disk", DATA_AT, MB, 1);
    fill("disk", DATA_AT + MB, MB, 2);
    struct block *b = image_open("disk", NULL, 0);
    expect(b, (uint64_t)cases[i].block * (ratio - 1), 1);
    expect(b, (uint64_t)cases[i].block * ratio, 2);
    expect(b, (uint64_t)cases[i].block * (ratio + 1), 0);
    block_close(b);
  }
  image_end();
}
END_TEST

START_TEST(parent) {
  image_begin();
  build("base", &simple);
  for (unsigned i = 0; i < 4; i++)
    put_entry("base", i, DATA_AT, 6);
  fill("base", DATA_AT, MB, 0xbb);
  for (unsigned large = 0; large < 2; large++) {
    uint32_t sector = large ? 4096 : 512;
    struct vhdx_recipe r = {8 * MB, MB, sector, true, "{" IDENTITY "}", 0};
    build("disk", &r);
    put_entry("disk", 1, 0, 2);
    put_entry("disk", 2, DATA_AT, 6);
    put_entry("disk", 3, DATA_AT + 2 * MB, 7);
    put_entry("disk", large ? 32768 : 4096, DATA_AT + MB, 6); /* bitmaps */
    fill("disk", DATA_AT, MB, 0xcc);
    fill("disk", DATA_AT + MB, MB, 0);
    fill("disk", DATA_AT + 2 * MB, MB, 0xdd);
    uint8_t bits[3] = {0x05, 0, 0x80}; /* sectors 0, 2 and 23 of block 3; the lowest bit is the first */
    image_poke("disk", DATA_AT + MB + 3 * MB / sector / 8, bits, 3);
    struct block *b = image_open("disk", NULL, 0);
    expect(b, 100, 0xbb);
    expect(b, MB, 0);
    expect(b, 2 * MB, 0xcc);
    for (unsigned s = 0; s < 30; s++) {
      expect(b, 3 * MB + s * sector, s == 0 || s == 2 || s == 23 ? 0xdd : 0xbb);
      expect(b, 3 * MB + s * sector + sector - 1, s == 0 || s == 2 || s == 23 ? 0xdd : 0xbb);
    }
    expect(b, 5 * MB, 0);
    block_close(b);
    image_clean("disk");
  }
  struct vhdx_recipe other = {8 * MB, MB, 512, true, "{00000000-0000-0000-0000-000000000001}", 0};
  build("disk", &other);
  image_refused("disk", NULL, 0, -EINVAL, "not its parent");
  unlink(image_path("base"));
  image_refused("disk", NULL, 0, -ENOENT, "base");
  block_close(image_open("disk", NULL, BLOCK_NO_BACKING));
  image_end();
}
END_TEST

START_TEST(replay) {
  uint8_t *before = malloc(8 * MB), *after = malloc(8 * MB), byte = 1;
  image_begin();
  build("disk", &simple);
  put_entry("disk", 0, DATA_AT, 6);
  fill("disk", DATA_AT, MB, 0xaa);
  put_header("disk", 1, 7, true);
  /* An older sequence, one that lacks its end, and the right one, which goes round. */
  put_log("disk", 65536, 65536, 90, DATA_AT, 0x77, DATA_AT + 65536, 4096);
  put_log("disk", 131072, 12288, 500, DATA_AT, 0x78, DATA_AT + 65536, 4096);
  put_log("disk", MB - 4096, MB - 4096, 100, DATA_AT + 8192, 0x21, DATA_AT + 16384, 8192);
  put_log("disk", 4096, MB - 4096, 101, DATA_AT + 8192, 0x22, DATA_AT + 4096, 4096);
  put_log("disk", 12288, MB - 4096, 102, DATA_AT + 20480, 0x23, DATA_AT + 9 * 4096, 4096);
  image_peek("disk", 0, before, 5 * MB);
  struct block *b = image_open("disk", NULL, 0);
  struct block_info info = {0};
  ck_assert_int_eq(b->format->info(b, &info), 0);
  ck_assert(info.dirty);
  static const uint8_t want[10] = {0xaa, 0, 0x22, 0xaa, 0, 0x23, 0xaa, 0xaa, 0xaa, 0};
  for (unsigned i = 0; i < 10; i++) {
    expect(b, i * 4096, want[i]);
    expect(b, i * 4096 + 8, want[i]);
    expect(b, i * 4096 + 4095, want[i]);
  }
  expect(b, 65536, 0xaa);
  uint8_t across[8200];
  ck_assert_int_eq(block_read(b, 8190, across, sizeof across), 0);
  ck_assert_uint_eq(across[1], 0);
  ck_assert_uint_eq(across[2], 0x22);
  ck_assert_uint_eq(across[4097], 0x22);
  ck_assert_uint_eq(across[4098], 0xaa);
  block_close(b);
  image_peek("disk", 0, after, 5 * MB);
  ck_assert_mem_eq(before, after, 5 * MB); /* the file is as it was */
  /* The log can hold the table itself. */
  put_log("disk", 20480, MB - 4096, 103, TABLE_AT, 0, METADATA_AT, 0);
  b = image_open("disk", NULL, 0);
  expect(b, 0, 0);
  block_close(b);
  /* Damage in the newest: it ends with the one before. */
  image_poke("disk", LOG_AT + 20480 + 5000, &byte, 1);
  b = image_open("disk", NULL, 0);
  expect(b, 0, 0xaa);
  expect(b, 20480, 0x23);
  block_close(b);
  fill("disk", LOG_AT, MB, 0);
  image_refused("disk", NULL, 0, -EINVAL, "log is damaged");
  free(before);
  free(after);
  image_end();
}
END_TEST

START_TEST(log_of_longer_file) {
  image_begin();
  build("disk", &simple);
  put_header("disk", 1, 7, true);
  put_log("disk", 0, 0, 1, DATA_AT, 1, DATA_AT, 4096);
  block_close(image_open("disk", NULL, 0));
  ck_assert_int_eq(truncate(image_path("disk"), DATA_AT - MB / 2), 0);
  image_refused("disk", NULL, 0, -EINVAL, "cut off");
  image_end();
}
END_TEST

START_TEST(copies) {
  uint8_t byte = 0x5a;
  image_begin();
  build("disk", &simple);
  image_poke("disk", 65536 + 100, &byte, 1);
  image_poke("disk", 3 * 65536 + 100, &byte, 1);
  block_close(image_open("disk", NULL, 0));
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_NONE).corruptions, 1);
  image_poke("disk", 4 * 65536 + 100, &byte, 1);
  image_refused("disk", NULL, 0, -EINVAL, "region tables");
  build("disk", &simple);
  image_poke("disk", 65536 + 100, &byte, 1);
  image_poke("disk", 131072 + 100, &byte, 1);
  image_refused("disk", NULL, 0, -EINVAL, "headers");
  image_end();
}
END_TEST

START_TEST(refused) {
  static const struct {
    uint32_t at;
    uint64_t value;
    const char *words;
  } cases[] = {
      {METADATA_AT + 65536, 0, "blocks"},
      {METADATA_AT + 65536, 3 * MB, "blocks"},
      {METADATA_AT + 65536, 0x80000000, "blocks"},
      {METADATA_AT + 65536 + 8, 0, "size"},
      {METADATA_AT + 65536 + 8, 1000, "size"},
      {METADATA_AT + 65536 + 8, UINT64_MAX << 9, "size"},
      {METADATA_AT + 65536 + 8, 64ull << 40, "too short"},
      {METADATA_AT + 65536 + 16, 1024, "sectors"},
      {METADATA_AT, 0, "metadata"},
      {METADATA_AT + 8, 0xffff0000, "metadata"},
      {METADATA_AT + 32 + 16, 0x00000008fffffff0, "metadata"},
      {METADATA_AT + 32, 7, "metadata"},
  };
  uint8_t raw[8];
  image_begin();
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    build("disk", &simple);
    put_le64(raw, cases[i].value);
    image_poke("disk", cases[i].at, raw, 8);
    image_refused("disk", NULL, 0, -EINVAL, cases[i].words);
  }
  ck_assert_int_eq(truncate(image_path("disk"), 3000), 0);
  image_refused("disk", NULL, 0, -EINVAL, "headers");
  image_end();
}
END_TEST

Suite *suite_vhdx(void) {
  Suite *suite = suite_create("vhdx");
  TCase *tests = tcase_create("vhdx");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, checksum);
  tcase_add_test(tests, states);
  tcase_add_test(tests, chunks);
  tcase_add_test(tests, parent);
  tcase_add_test(tests, replay);
  tcase_add_test(tests, log_of_longer_file);
  tcase_add_test(tests, copies);
  tcase_add_test(tests, refused);
  suite_add_tcase(suite, tests);
  return suite;
}
