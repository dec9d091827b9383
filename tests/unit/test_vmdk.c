/* SPDX-License-Identifier: MIT */
/* VMDK images: all kinds of them against a model, parents, tables that are missing or differ, descriptors and
 * headers from enemies, a stream-optimised image with its directory at the end, unlucky ends. */
#include "devices/block/image.h"
#include "devices/block/vmdk.h"
#include "tests/unit/image_rig.h"

#define MB (1u << 20)

static void put64(const char *name, uint64_t at, uint64_t value) {
  uint8_t raw[8];
  put_le64(raw, value);
  image_poke(name, at, raw, 8);
}
static void put32(const char *name, uint64_t at, uint32_t value) {
  uint8_t raw[4];
  put_le32(raw, value);
  image_poke(name, at, raw, 4);
}
static uint32_t get32(const char *name, uint64_t at) {
  uint8_t raw[4];
  image_peek(name, at, raw, 4);
  return le32_at(raw);
}

START_TEST(sparse) {
  image_begin();
  image_model_test("vmdk", NULL, 5 * MB + 512 * 3);
  image_end();
}
END_TEST

START_TEST(flat) {
  image_begin();
  image_model_test("vmdk", "subformat=monolithicFlat", 3 * MB);
  image_end();
}
END_TEST

START_TEST(zeroed_grains) {
  image_begin();
  image_model_test("vmdk", "zeroed_grain=on", 3 * MB);
  image_end();
}
END_TEST

START_TEST(split) { /* the border of two extents */
  uint8_t buf[300];
  const uint64_t border = 4192256ull * SECTOR;
  image_begin();
  for (int flat = 0; flat < 2; flat++) {
    image_create("disk.vmdk", "vmdk", border + 5 * MB,
                 flat ? "subformat=twoGbMaxExtentFlat" : "subformat=twoGbMaxExtentSparse", NULL);
    ck_assert_uint_ge(image_length(flat ? "disk-f002.vmdk" : "disk-s002.vmdk"), 65536);
    struct block *b = image_open("disk.vmdk", NULL, BLOCK_WRITE);
    ck_assert_uint_eq(block_size(b), border + 5 * MB);
    memset(buf, 7, sizeof buf);
    ck_assert_int_eq(block_write(b, border - 100, buf, sizeof buf), 0);
    ck_assert_int_eq(block_flush(b), 0);
    block_close(b);
    image_clean("disk.vmdk");
    b = image_open("disk.vmdk", NULL, 0);
    memset(buf, 0, sizeof buf);
    ck_assert_int_eq(block_read(b, border - 101, buf, sizeof buf), 0);
    ck_assert_uint_eq(buf[0], 0);
    ck_assert_uint_eq(buf[1], 7);
    ck_assert_uint_eq(buf[299], 7);
    block_close(b);
  }
  image_end();
}
END_TEST

START_TEST(stream_made) { /* written once, from begin to end; then no more */
  const uint64_t size = 3 * MB + 512;
  uint8_t *model = malloc(size);
  uint32_t seed = 3;
  image_begin();
  image_create("disk", "vmdk", size, "subformat=streamOptimized", NULL);
  for (uint64_t i = 0; i < size; i++)
    model[i] = i / 100000 % 3 ? (uint8_t)rig_random(&seed) : 0;
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  for (uint64_t at = 0, n; at < size; at += n) { /* pieces that don't meet the grains */
    n = size - at < 50000 ? size - at : 50000;
    ck_assert_int_eq(block_write(b, at, model + at, n), 0);
  }
  image_same(b, model, size);
  block_close(b);
  image_clean("disk");
  b = image_open("disk", NULL, 0);
  image_same(b, model, size);
  block_close(b);
  image_refused("disk", NULL, BLOCK_WRITE, -EROFS, "stream-optimised");
  free(model);
  image_end();
}
END_TEST

/* As VMware writes it, for a pipe: grains, tables and directory behind markers, a footer. */
static uint64_t make_stream(const char *name) {
  uint8_t h[VMDK_HEADER] = {0}, grain[65536], sector[SECTOR] = {0};
  static uint8_t packed[70000];
  uint8_t table[2048] = {0};
  put_le32(h, VMDK_MAGIC);
  put_le32(h + VMDK_VERSION, 3);
  put_le32(h + VMDK_FLAGS, VMDK_HAS_NEWLINES | VMDK_COMPRESSED | VMDK_MARKERS);
  put_le64(h + VMDK_CAPACITY, 128 * 3 + 10); /* the last grain is cut off */
  put_le64(h + VMDK_GRAIN, 128);
  put_le32(h + VMDK_TABLE_ENTRIES, 512);
  put_le64(h + VMDK_DIRECTORY_AT, VMDK_AT_END);
  put_le64(h + VMDK_OVERHEAD, 1);
  memcpy(h + VMDK_NEWLINES, "\n \r\n", 4);
  put_le16(h + VMDK_COMPRESSION, 1);
  image_poke(name, 0, h, sizeof h);
  uint64_t at = SECTOR;
  for (unsigned g = 0; g < 4; g++) {
    if (g == 1)
      continue;
    unsigned len = g == 3 ? 10 * SECTOR : sizeof grain;
    for (unsigned i = 0; i < len; i++)
      grain[i] = (uint8_t)(i / 7 + g);
    size_t n = block_deflate(grain, len, packed + 12, sizeof packed - 12, 15);
    ck_assert_uint_gt(n, 0);
    put_le64(packed, g * 128);
    put_le32(packed + 8, (uint32_t)n);
    image_poke(name, at, packed, n + 12);
    put_le32(table + 4 * g, (uint32_t)(at / SECTOR));
    at = (at + n + 12 + SECTOR - 1) / SECTOR * SECTOR;
  }
  put_le32(sector + 12, 1); /* a marker: grain table */
  image_poke(name, at, sector, SECTOR);
  image_poke(name, at + SECTOR, table, sizeof table);
  put_le32(sector + 12, 2); /* grain directory */
  image_poke(name, at + 5 * SECTOR, sector, SECTOR);
  put_le32(sector + 12, 0);
  put_le32(sector, (uint32_t)(at / SECTOR) + 1);
  image_poke(name, at + 6 * SECTOR, sector, SECTOR);
  put_le32(sector, 0);
  put_le32(sector + 12, 3); /* footer */
  image_poke(name, at + 7 * SECTOR, sector, SECTOR);
  put_le64(h + VMDK_DIRECTORY_AT, at / SECTOR + 6);
  image_poke(name, at + 8 * SECTOR, h, sizeof h);
  put_le32(sector + 12, 0); /* end of stream */
  image_poke(name, at + 9 * SECTOR, sector, SECTOR);
  return at + 10 * SECTOR;
}

START_TEST(stream_with_footer) {
  uint8_t byte;
  image_begin();
  uint64_t len = make_stream("disk");
  struct block *b = image_open("disk", NULL, 0);
  ck_assert_uint_eq(block_size(b), (128 * 3 + 10) * SECTOR);
  for (uint64_t at = 0; at < block_size(b); at += 501) {
    unsigned g = (unsigned)(at / 65536);
    ck_assert_int_eq(block_read(b, at, &byte, 1), 0);
    ck_assert_uint_eq(byte, g == 1 ? 0 : (uint8_t)(at % 65536 / 7 + g));
  }
  block_close(b);
  image_clean("disk");
  image_refused("disk", NULL, BLOCK_WRITE, -EROFS, "stream-optimised");
  byte = 0x55; /* in the middle of the first stream */
  image_poke("disk", SECTOR + 60, &byte, 1);
  b = image_open("disk", NULL, 0);
  ck_assert_int_eq(block_read(b, 0, &byte, 1), -EIO);
  ck_assert_int_eq(block_read(b, 131072, &byte, 1), 0);
  block_close(b);
  ck_assert_int_eq(truncate(image_path("disk"), (off_t)len - SECTOR), 0);
  image_refused("disk", NULL, 0, -EINVAL, "cut off");
  image_end();
}
END_TEST

START_TEST(parents) {
  const uint64_t size = 3 * MB;
  uint8_t *model = calloc(1, size);
  image_begin();
  image_create("base.vmdk", "vmdk", size, NULL, NULL);
  struct block *b = image_open("base.vmdk", NULL, BLOCK_WRITE);
  image_exercise(b, model, size, 60, 11);
  block_close(b);
  image_create("middle.vmdk", "vmdk", size, NULL, "base.vmdk");
  b = image_open("middle.vmdk", NULL, BLOCK_WRITE);
  image_exercise(b, model, size, 60, 12);
  block_close(b);
  image_create("top.vmdk", "vmdk", size, "zeroed_grain=on", image_path("middle.vmdk"));
  b = image_open("top.vmdk", NULL, BLOCK_WRITE);
  image_same(b, model, size);
  image_exercise(b, model, size, 200, 13);
  block_close(b);
  image_clean("top.vmdk");
  b = image_open("top.vmdk", NULL, 0);
  image_same(b, model, size);
  block_close(b);
  b = image_open("middle.vmdk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, 0, "x", 1), 0); /* now top is worth nothing */
  block_close(b);
  image_refused("top.vmdk", NULL, 0, -EINVAL, "CID");
  block_close(image_open("top.vmdk", NULL, BLOCK_NO_BACKING));
  const char *error; /* until it is taken as it is */
  b = image_open("top.vmdk", NULL, BLOCK_WRITE | BLOCK_NO_BACKING);
  ck_assert_int_eq(b->format->change_backing(b, image_path("middle.vmdk"), "vmdk", &error), 0);
  block_close(b);
  image_clean("top.vmdk");
  b = image_open("top.vmdk", NULL, BLOCK_WRITE);
  image_same(b, model, size);
  ck_assert_int_eq(b->format->change_backing(b, "base.vmdk", "raw", &error), -EINVAL);
  ck_assert_int_eq(b->format->change_backing(b, NULL, NULL, &error), 0);
  block_close(b);
  b = image_open("top.vmdk", NULL, 0);
  ck_assert_ptr_null(block_backing(b));
  block_close(b);
  unlink(image_path("base.vmdk"));
  image_refused("middle.vmdk", NULL, 0, -ENOENT, "base.vmdk");
  free(model);
  image_end();
}
END_TEST

START_TEST(committed) { /* the child of a parent that a commit writes to stays its child */
  const uint64_t size = 2 * MB;
  uint8_t *model = calloc(1, size);
  const char *error;
  image_begin();
  image_create("base", "vmdk", size, NULL, NULL);
  image_create("disk", "vmdk", size, NULL, "base");
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  image_exercise(b, model, size, 50, 11);
  ck_assert_int_eq(block_commit(b, true, NULL, &error), 0);
  image_same(b, model, size);
  block_close(b);
  b = image_open("disk", NULL, 0);
  ck_assert_ptr_nonnull(block_backing(b));
  image_same(b, model, size);
  block_close(b);
  b = image_open("base", NULL, 0);
  image_same(b, model, size);
  block_close(b);
  free(model);
  image_end();
}
END_TEST

START_TEST(short_cid) { /* QEMU writes it without leading zeros */
  uint8_t text[64] = {0};
  image_begin();
  image_create("disk", "vmdk", 2 * MB, NULL, NULL);
  image_peek("disk", SECTOR, text, sizeof text - 1);
  char *cid = strstr((char *)text, "\nCID=");
  ck_assert_ptr_nonnull(cid);
  uint64_t at = SECTOR + (uint64_t)((uint8_t *)cid - text);
  image_poke("disk", at, "\nCID=123\n####", 14);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, 0, "x", 1), 0);
  block_close(b);
  image_peek("disk", at, text, 14);
  ck_assert(memcmp(text, "\nCID=123", 8));
  ck_assert_uint_eq(strspn((char *)text + 5, "0123456789abcdef"), 3);
  ck_assert_mem_eq(text + 8, "\n####", 5);
  image_end();
}
END_TEST

START_TEST(tables) { /* missing ones are added, in both directories; those that differ are found */
  uint8_t first[2048], second[2048];
  image_begin();
  image_create("disk", "vmdk", 64 * MB, NULL, NULL);
  uint32_t redundant = get32("disk", VMDK_REDUNDANT_AT) * SECTOR,
           directory = get32("disk", VMDK_DIRECTORY_AT) * SECTOR;
  put32("disk", redundant + 4, 0);
  put32("disk", directory + 4, 0);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, 40 * MB, "abcd", 4), 0);
  ck_assert_int_eq(block_write(b, 45 * MB, "abcd", 4), 0);
  ck_assert_int_eq(block_write(b, 50, "abcd", 4), 0);
  block_close(b);
  image_clean("disk");
  for (unsigned t = 0; t < 2; t++) {
    uint64_t a = get32("disk", directory + 4 * t), r = get32("disk", redundant + 4 * t);
    ck_assert(a && r && a != r);
    image_peek("disk", a * SECTOR, first, sizeof first);
    image_peek("disk", r * SECTOR, second, sizeof second);
    ck_assert_mem_eq(first, second, sizeof first);
  }
  uint64_t table = get32("disk", directory) * (uint64_t)SECTOR;
  put32("disk", get32("disk", redundant) * (uint64_t)SECTOR, 77);
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_NONE).corruptions, 1);
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_ALL).corruptions_fixed, 1);
  image_clean("disk");
  put32("disk", table + 8, 0x01000000); /* behind the file */
  struct block_check c = image_check("disk", BLOCK_REPAIR_ALL);
  ck_assert_uint_eq(c.corruptions_fixed, 1);
  image_clean("disk");
  put32("disk", table + 8, get32("disk", table)); /* two grains in one place: not mended */
  c = image_check("disk", BLOCK_REPAIR_ALL);
  ck_assert_uint_ge(c.corruptions, 1);
  put32("disk", table + 8, 0);
  put32("disk", table, 3); /* a grain in the descriptor */
  image_refused("disk", NULL, BLOCK_WRITE, -EINVAL, "damaged");
  image_end();
}
END_TEST

START_TEST(leaks) {
  static uint8_t junk[200000];
  image_begin();
  image_create("disk", "vmdk", 8 * MB, NULL, NULL);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, MB, "abcd", 4), 0);
  block_close(b);
  uint64_t end = image_length("disk");
  memset(junk, 0xee, sizeof junk);
  image_poke("disk", end, junk, sizeof junk);
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_NONE).leaks, 3);
  b = image_open("disk", NULL, BLOCK_WRITE); /* it doesn't shine through */
  ck_assert_int_eq(block_write(b, 2 * MB, "abcd", 4), 0);
  ck_assert_int_eq(block_read(b, 2 * MB + 4, junk, 60000), 0);
  for (unsigned i = 0; i < 60000; i++)
    if (junk[i])
      ck_abort_msg("byte %u is %02x", i, junk[i]);
  block_close(b);
  image_poke("disk", image_length("disk"), junk, sizeof junk);
  ck_assert_uint_eq(image_check("disk", BLOCK_REPAIR_LEAKS).leaks_fixed, 3);
  image_clean("disk");
  image_end();
}
END_TEST

START_TEST(unlucky_ends) {
  image_begin();
  image_create("base", "vmdk", 6 * MB, NULL, NULL);
  for (unsigned i = 0; i < 6; i++) {
    image_create("disk", "vmdk", 6 * MB, NULL, i % 2 ? "base" : NULL);
    image_crash_test("disk", "vmdk", 6 * MB, 0, 100 * i * i);
    image_create("disk", "vmdk", 6 * MB, NULL, i % 2 ? "base" : NULL);
    image_crash_test("disk", "vmdk", 6 * MB, 3 * MB + 400000 * i, 0);
  }
  image_end();
}
END_TEST

static void describe(const char *extents) {
  char text[3000];
  int n = snprintf(text, sizeof text,
                   "# Disk DescriptorFile\r\nversion=1\r\nCID=12345678\nparentCID=ffffffff\n"
                   "createType=\"custom\"\n\n# Extent description\n%s\n#DDB\nddb.adapterType = \"ide\"\n",
                   extents);
  unlink(image_path("disk.vmdk"));
  image_poke("disk.vmdk", 0, text, (size_t)n);
}

START_TEST(descriptors) {
  static const struct {
    const char *extents;
    int result;
    const char *words;
  } cases[] = {
      {"RW 8 FLAT \"../flat\" 0", -EPERM, "beside"},
      {"RW 8 FLAT \"/etc/passwd\" 0", -EPERM, "beside"},
      {"RW 8 FLAT \"a/../../flat\" 0", -EPERM, "beside"},
      {"RW 8 FLAT \"..\\flat\" 0", -EPERM, "beside"},
      {"RW 8 FLAT \"C:\\flat\" 0", -EPERM, "beside"},
      {"RW 8 FLAT \"\" 0", -EINVAL, "name"},
      {"RW 8 FLAT flat 0", -EINVAL, "name"},
      {"RW 8 FLAT \"none\" 0", -ENOENT, "none"},
      {"RW 9 FLAT \"flat\" 8", -EINVAL, "too short"},
      {"RW 8 FLAT \"flat\" 99999999999999999999", -EINVAL, "offset"},
      {"RW 8 FLAT \"flat\" 36028797018963960", -EINVAL, "offset"},
      {"RW 0 ZERO", -EINVAL, "size"},
      {"RW 18446744073709551615 ZERO", -EINVAL, "128 TB"},
      {"RW 36028797018963968 ZERO", -EINVAL, "128 TB"},
      {"RW 274877906944 ZERO\nRW 8 ZERO", -EINVAL, "128 TB"},
      {"RW -5 ZERO", -EINVAL, "no sense"},
      {"RW 8 VMFSSPARSE \"flat\"", -ENOTSUP, "VMFSSPARSE"},
      {"RW 8 SPARSE \"flat\"", -EINVAL, "header"},
      {"RW 8 SPARSE \"disk.vmdk\"", -EINVAL, "header"},
      {"", -EINVAL, "no extent"},
  };
  uint8_t sectors[16 * SECTOR], byte;
  image_begin();
  for (unsigned i = 0; i < sizeof sectors; i++)
    sectors[i] = (uint8_t)(i / SECTOR + 1);
  image_poke("flat", 0, sectors, sizeof sectors);
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    describe(cases[i].extents);
    image_refused("disk.vmdk", NULL, 0, cases[i].result, cases[i].words);
  }
  describe("RW 3 FLAT \"flat\" 2\nRDONLY 5 ZERO\nNOACCESS 4 FLAT \"none\" 0\nRW 2 VMFS \"flat2\"");
  image_poke("flat2", 0, sectors, sizeof sectors);
  struct block *b = image_open("disk.vmdk", NULL, BLOCK_WRITE);
  ck_assert_uint_eq(block_size(b), 14 * SECTOR);
  ck_assert_int_eq(block_read(b, SECTOR, &byte, 1), 0);
  ck_assert_uint_eq(byte, 4);
  ck_assert_int_eq(block_read(b, 3 * SECTOR, &byte, 1), 0);
  ck_assert_uint_eq(byte, 0);
  ck_assert_int_eq(block_read(b, 8 * SECTOR, &byte, 1), -EIO);
  ck_assert_int_eq(block_read(b, 13 * SECTOR, &byte, 1), 0);
  ck_assert_uint_eq(byte, 2);
  freopen("/dev/null", "w", stderr);
  ck_assert_int_eq(block_write(b, 3 * SECTOR, "x", 1), -EROFS);
  ck_assert_int_eq(block_write(b, 13 * SECTOR, "x", 1), 0);
  block_close(b);
  image_peek("flat2", SECTOR, &byte, 1);
  ck_assert_uint_eq(byte, 'x');
  image_peek("disk.vmdk", 38, sectors, 8); /* the CID was renewed */
  ck_assert(memcmp(sectors, "12345678", 8));
  image_end();
}
END_TEST

START_TEST(headers) {
  static const struct {
    unsigned at;
    uint64_t value;
    const char *words;
  } cases[] = {
      {VMDK_VERSION, 0x0000000300000009, "version 9"},
      {VMDK_CAPACITY, 0, "size"},
      {VMDK_CAPACITY, UINT64_MAX, "size"},
      {VMDK_CAPACITY, 1ull << 37, "directory"},
      {VMDK_GRAIN, 0, "grains"},
      {VMDK_GRAIN, 100, "grains"},
      {VMDK_GRAIN, 1ull << 63, "grains"},
      {VMDK_DESCRIPTOR_SIZE, 1ull << 60, "descriptor"},
      {VMDK_DESCRIPTOR_AT, 1ull << 60, "descriptor"},
      {VMDK_TABLE_ENTRIES, 0x0000001500000000, "entries"},
      {VMDK_TABLE_ENTRIES, 0x0000001580000000, "entries"},
      {VMDK_DIRECTORY_AT, 0, "directory"},
      {VMDK_DIRECTORY_AT, 1ull << 55, "directory"},
      {VMDK_DIRECTORY_AT, UINT64_MAX - 1, "directory"},
      {VMDK_DIRECTORY_AT, UINT64_MAX, "footer"},
      {VMDK_REDUNDANT_AT, 1ull << 55, "redundant"},
  };
  image_begin();
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    image_create("disk", "vmdk", 4 * MB, NULL, NULL);
    put64("disk", cases[i].at, cases[i].value);
    image_refused("disk", NULL, 0, cases[i].at == VMDK_VERSION ? -ENOTSUP : -EINVAL, cases[i].words);
  }
  image_create("disk", "vmdk", 4 * MB, NULL, NULL);
  image_poke("disk", VMDK_NEWLINES, "\n \n\n", 4);
  image_refused("disk", NULL, 0, -EINVAL, "text");
  image_create("disk", "vmdk", 4 * MB, NULL, NULL);
  put32("disk", VMDK_VERSION, 3);
  image_refused("disk", NULL, BLOCK_WRITE, -EROFS, "version 3");
  block_close(image_open("disk", NULL, 0));
  image_poke("disk", 0, "COWD", 4);
  image_refused("disk", "vmdk", 0, -ENOTSUP, "ESX");
  image_end();
}
END_TEST

Suite *suite_vmdk(void) {
  Suite *suite = suite_create("vmdk");
  TCase *tests = tcase_create("vmdk");
  tcase_set_timeout(tests, 120);
  tcase_add_test(tests, sparse);
  tcase_add_test(tests, flat);
  tcase_add_test(tests, zeroed_grains);
  tcase_add_test(tests, split);
  tcase_add_test(tests, stream_made);
  tcase_add_test(tests, stream_with_footer);
  tcase_add_test(tests, parents);
  tcase_add_test(tests, committed);
  tcase_add_test(tests, short_cid);
  tcase_add_test(tests, tables);
  tcase_add_test(tests, leaks);
  tcase_add_test(tests, unlucky_ends);
  tcase_add_test(tests, descriptors);
  tcase_add_test(tests, headers);
  suite_add_tcase(suite, tests);
  return suite;
}
