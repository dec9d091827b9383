/* SPDX-License-Identifier: MIT */
/*
 * VHDX images, built here byte by byte since Dragoman makes none: block states, the bitmaps' places in the
 * table, both sector sizes, parents, logs that must be laid over the file, damaged copies, hostile numbers.
 */
#include "devices/block/vhdx.h"
#include "tests/unit/image_rig.h"

#define MB (1u << 20)
#define LOG_AT MB
#define TABLE_AT (2 * MB)
#define METADATA_AT (3 * MB)
#define DATA_AT (4 * MB)

static void wide(uint8_t *to, const char *text) {
  for (; *text; to += 2, text++)
    to[0] = (uint8_t)*text, to[1] = 0;
}

static void guid(uint8_t *to, const char *digits) { /* 2DC27766-F623-... */
  static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  for (unsigned i = 0; i < 16; i++) {
    unsigned byte;
    digits += *digits == '-';
    ck_assert_int_eq(sscanf(digits, "%2x", &byte), 1);
    to[order[i]] = (uint8_t)byte;
    digits += 2;
  }
}

struct recipe {
  uint64_t size;
  uint32_t block, sector;
  bool parent;
  const char *linkage; /* of the parent */
};

#define IDENTITY "11223344-5566-7788-99AA-BBCCDDEEFF00"

static void put_header(const char *name, unsigned which, uint64_t sequence, bool log) {
  uint8_t h[4096] = {0};
  memcpy(h, "head", 4);
  put_le64(h + 8, sequence);
  guid(h + 32, IDENTITY);
  if (log)
    memset(h + 48, 0x11, 16);
  put_le16(h + 66, 1);
  put_le32(h + 68, MB);
  put_le64(h + 72, LOG_AT);
  put_le32(h + 4, vhdx_crc(0, h, sizeof h));
  image_poke(name, 65536 * (which + 1), h, sizeof h);
}

static void put_item(const char *name, unsigned index, const char *id, uint32_t at, uint32_t len,
                     uint32_t flags) {
  uint8_t e[32] = {0};
  guid(e, id);
  put_le32(e + 16, at);
  put_le32(e + 20, len);
  put_le32(e + 24, flags);
  image_poke(name, METADATA_AT + 32 + 32 * index, e, sizeof e);
}

static void put_locator(const char *name, const char *linkage) {
  static const char *const keys[] = {"parent_linkage", "relative_path"};
  const char *values[] = {linkage, ".\\base"};
  uint8_t l[1024] = {0};
  uint32_t at = 100;
  guid(l, "B04AEFB7-D19E-4A81-B789-25B8E9445913");
  put_le16(l + 18, 2);
  for (unsigned i = 0; i < 2; i++) {
    uint8_t *e = l + 20 + 12 * i;
    put_le32(e, at);
    put_le16(e + 8, (uint16_t)(2 * strlen(keys[i])));
    wide(l + at, keys[i]);
    at += 2 * (uint32_t)strlen(keys[i]);
    put_le32(e + 4, at);
    put_le16(e + 10, (uint16_t)(2 * strlen(values[i])));
    wide(l + at, values[i]);
    at += 2 * (uint32_t)strlen(values[i]);
  }
  image_poke(name, METADATA_AT + 65536 + 256, l, sizeof l);
  put_item(name, 3, "A8D35F2D-B30B-454D-ABF7-D3D84834AB0C", 65536 + 256, sizeof l, 4);
}

static void build(const char *name, const struct recipe *r) {
  static uint8_t regions[65536];
  uint8_t head[32] = "metadata", numbers[24] = {0};
  unlink(image_path(name));
  image_poke(name, 0, "vhdxfile", 8);
  put_header(name, 0, 5, false);
  put_header(name, 1, 6, false);
  memset(regions, 0, sizeof regions);
  memcpy(regions, "regi", 4);
  put_le32(regions + 8, 2);
  guid(regions + 16, "2DC27766-F623-4200-9D64-115E9BFD4A08");
  put_le64(regions + 32, TABLE_AT);
  put_le32(regions + 40, MB);
  put_le32(regions + 44, 1);
  guid(regions + 48, "8B7CA206-4790-4B9A-B8FE-575F050F886E");
  put_le64(regions + 64, METADATA_AT);
  put_le32(regions + 72, MB);
  put_le32(regions + 76, 1);
  put_le32(regions + 4, vhdx_crc(0, regions, sizeof regions));
  image_poke(name, 3 * 65536, regions, sizeof regions);
  image_poke(name, 4 * 65536, regions, sizeof regions);
  put_le16(head + 10, r->parent ? 4 : 3);
  image_poke(name, METADATA_AT, head, sizeof head);
  put_le32(numbers, r->block);
  numbers[4] = r->parent ? 2 : 0;
  put_le64(numbers + 8, r->size);
  put_le32(numbers + 16, r->sector);
  image_poke(name, METADATA_AT + 65536, numbers, sizeof numbers);
  put_item(name, 0, "CAA16737-FA36-4D43-B3B6-33F0AA44E76B", 65536, 8, 4);
  put_item(name, 1, "2FA54224-CD1B-4876-B211-5DBED83BF4B8", 65536 + 8, 8, 6);
  put_item(name, 2, "8141BF1D-A96F-4709-BA47-F233A8FAAB5F", 65536 + 16, 4, 6);
  if (r->parent)
    put_locator(name, r->linkage);
  ck_assert_int_eq(truncate(image_path(name), DATA_AT), 0);
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

static const struct recipe simple = {.size = 8 * MB, .block = MB, .sector = 512};

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
    struct recipe r = {(uint64_t)cases[i].block * (ratio + 2), cases[i].block, cases[i].sector, false, NULL};
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
    struct recipe r = {8 * MB, MB, sector, true, "{" IDENTITY "}"};
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
  struct recipe other = {8 * MB, MB, 512, true, "{00000000-0000-0000-0000-000000000001}"};
  build("disk", &other);
  image_refused("disk", NULL, 0, -EINVAL, "not its parent");
  unlink(image_path("base"));
  image_refused("disk", NULL, 0, -ENOENT, "base");
  block_close(image_open("disk", NULL, BLOCK_NO_BACKING));
  image_end();
}
END_TEST

/* An entry of the log at `at` (may go round): one data sector for `target` filled with `with`, and zeros over
 * `zero_len` bytes at `zero_at`. */
static void put_log(const char *name, uint32_t at, uint32_t tail, uint64_t sequence, uint64_t target,
                    uint8_t with, uint64_t zero_at, uint64_t zero_len) {
  uint8_t e[8192] = {0};
  memcpy(e, "loge", 4);
  put_le32(e + 8, sizeof e);
  put_le32(e + 12, tail);
  put_le64(e + 16, sequence);
  put_le32(e + 24, 2);
  memset(e + 32, 0x11, 16);
  put_le64(e + 48, DATA_AT);
  put_le64(e + 56, DATA_AT);
  uint8_t *d = e + 64;
  memcpy(d, "desc", 4);
  memset(d + 4, with, 12);
  put_le64(d + 16, target);
  put_le64(d + 24, sequence);
  memcpy(d + 32, "zero", 4);
  put_le64(d + 32 + 8, zero_len);
  put_le64(d + 32 + 16, zero_at);
  put_le64(d + 32 + 24, sequence);
  memset(e + 4096, with, 4096);
  memcpy(e + 4096, "data", 4);
  put_le32(e + 4100, (uint32_t)(sequence >> 32));
  put_le32(e + 8188, (uint32_t)sequence);
  put_le32(e + 4, vhdx_crc(0, e, sizeof e));
  image_poke(name, LOG_AT + at, e, 4096);
  image_poke(name, LOG_AT + (at + 4096) % MB, e + 4096, 4096);
}

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
  tcase_set_timeout(tests, 60);
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
