/* SPDX-License-Identifier: MIT */
/* qcow2 images: a model of the disk, tables that grow, snapshots, chains, overlays, refusals, hostile
 * headers. */
#include "tests/unit/image_rig.h"

#define MB (1024 * 1024ull)

/* Words of a file, as they are in memory. */
static uint32_t get32(const char *name, uint64_t at) {
  uint32_t value;
  image_peek(name, at, &value, 4);
  return value;
}
static void put32(const char *name, uint64_t at, uint32_t value) { image_poke(name, at, &value, 4); }

/* Random use in every geometry, compared with a model; sound afterwards. */
START_TEST(model) {
  static const char *const options[] = {
      "cluster_size=512", "cluster_size=4k",
      "cluster_size=64k", "cluster_size=2M",
      "refcount_bits=1",  "refcount_bits=64,cluster_size=1k",
      "refcount_bits=4",  "compat=0.10,cluster_size=4k",
  };
  image_begin();
  for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
    image_model_test("qcow2", options[i], 3 * MB + 512);
  image_end();
}
END_TEST

/* Clusters of 512 bytes: the refcount table is too short after 8 MB and moves. */
START_TEST(refcount_table_grows) {
  static uint8_t buf[65536];
  image_begin();
  image_create("disk", "qcow2", 40 * MB, "cluster_size=512", NULL);
  uint64_t before = get32("disk", 52);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  for (uint64_t at = 0; at < 30 * MB; at += sizeof buf) {
    memset(buf, (int)(at >> 16) + 1, sizeof buf);
    ck_assert_int_eq(block_write(b, at, buf, sizeof buf), 0);
  }
  block_close(b);
  ck_assert(get32("disk", 52) != before);
  image_clean("disk");
  b = image_open("disk", NULL, 0);
  for (uint64_t at = 0; at < 30 * MB; at += sizeof buf) {
    ck_assert_int_eq(block_read(b, at, buf, sizeof buf), 0);
    ck_assert_uint_eq(buf[0], ((at >> 16) + 1) & 255);
    ck_assert_uint_eq(buf[65535], ((at >> 16) + 1) & 255);
  }
  block_close(b);
  image_end();
}
END_TEST

static uint32_t word(struct block *b, uint64_t offset) {
  uint32_t value;
  ck_assert_int_eq(block_read(b, offset, &value, 4), 0);
  return value;
}

static void set_word(struct block *b, uint64_t offset, uint32_t value) {
  ck_assert_int_eq(block_write(b, offset, &value, 4), 0);
}

START_TEST(snapshots) {
  const char *error;
  struct block_snapshot list[4];
  image_begin();
  image_create("disk", "qcow2", 4 * MB, "cluster_size=4k", NULL);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  for (uint32_t i = 0; i < 3; i++) {
    set_word(b, 0, 10 + i);
    set_word(b, (i + 1) * MB, 20 + i);
    ck_assert_int_eq(block_snapshot(b, BLOCK_SNAPSHOT_CREATE, i == 0 ? "a" : i == 1 ? "b" : "c", &error), 0);
  }
  set_word(b, 0, 99);
  ck_assert_int_eq(block_snapshots(b, list, 4), 3);
  ck_assert_str_eq(list[1].name, "b");
  ck_assert_str_eq(list[2].id, "3");
  ck_assert_uint_eq(list[2].disk_size, 4 * MB);
  ck_assert_int_eq(block_snapshot(b, BLOCK_SNAPSHOT_APPLY, "b", &error), 0);
  ck_assert_uint_eq(word(b, 0), 11);
  ck_assert_uint_eq(word(b, 2 * MB), 21);
  ck_assert_uint_eq(word(b, 3 * MB), 0);
  ck_assert_int_eq(block_snapshot(b, BLOCK_SNAPSHOT_DELETE, "b", &error), 0);
  set_word(b, 4, 7);
  ck_assert_int_eq(block_snapshot(b, BLOCK_SNAPSHOT_DELETE, "b", &error), -ENOENT);
  ck_assert_ptr_nonnull(strstr(error, "no snapshot 'b'"));
  block_close(b);
  image_clean("disk");
  struct block_options o = {.format = "qcow2", .snapshot = "c"};
  ck_assert_int_eq(block_open_with(&b, image_path("disk"), &o, &error), 0);
  ck_assert_uint_eq(word(b, 0), 12);
  ck_assert_int_eq(block_write(b, 0, "x", 1), -EROFS);
  block_close(b);
  o.flags = BLOCK_WRITE;
  ck_assert_int_eq(block_open_with(&b, image_path("disk"), &o, &error), -EROFS);
  b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_snapshot(b, BLOCK_SNAPSHOT_DELETE, "1", &error), 0); /* by its id */
  ck_assert_int_eq(block_snapshot(b, BLOCK_SNAPSHOT_DELETE, "c", &error), 0);
  block_close(b);
  image_clean("disk");
  image_end();
}
END_TEST

START_TEST(overlays) {
  struct block *b, *second;
  const char *error;
  char over[320], base[320];
  image_begin();
  image_create("base", "raw", MB, NULL, NULL);
  image_create("other", "raw", MB, NULL, NULL);
  snprintf(over, sizeof over, "%s", image_path("over"));
  snprintf(base, sizeof base, "%s", image_path("base"));
  put32("base", 4096, 0x12345678);
  struct block_options o = {.flags = BLOCK_WRITE, .format = "raw", .overlay = over};
  ck_assert_int_eq(block_open_with(&b, base, &o, &error), 0);
  ck_assert_str_eq(block_format_name(b), "qcow2");
  ck_assert_str_eq(block_format_name(block_backing(b)), "raw");
  set_word(b, 4100, 1);
  /* The image below may have readers, but no writer; the overlay only one owner. */
  ck_assert_int_eq(block_open(&second, base, 0, &error), 0);
  block_close(second);
  ck_assert_int_eq(block_open(&second, base, BLOCK_WRITE, &error), -EBUSY);
  ck_assert_int_eq(block_open_with(&second, base, &o, &error), -EBUSY);
  block_close(b);
  ck_assert_int_eq(block_open_with(&b, base, &o, &error), 0);
  ck_assert_uint_eq(word(b, 4096), get32("base", 4096));
  ck_assert_uint_eq(word(b, 4100), 1);
  block_close(b);
  ck_assert_int_eq(block_open_with(&b, image_path("other"), &o, &error), -EINVAL);
  ck_assert_ptr_nonnull(strstr(error, "belongs to"));
  ck_assert_uint_eq(get32("base", 4100), 0);
  /* What was written goes down; the overlay is empty, still in use, and the base is only read again. */
  ck_assert_int_eq(block_open_with(&b, base, &o, &error), 0);
  ck_assert_int_eq(block_open(&second, base, 0, &error), 0);
  ck_assert_int_eq(block_commit(b, true, NULL, &error), -EBUSY); /* somebody else reads the image */
  block_close(second);
  ck_assert_uint_eq(word(b, 4100), 1);
  ck_assert_int_eq(block_commit(b, true, NULL, &error), 0);
  ck_assert_uint_eq(word(b, 4100), 1);
  set_word(b, 4104, 2);
  ck_assert_int_eq(block_open(&second, base, 0, &error), 0);
  ck_assert_uint_eq(word(second, 4100), 1);
  ck_assert_uint_eq(word(second, 4104), 0);
  block_close(second);
  block_close(b);
  image_clean("over");
  image_end();
}
END_TEST

/* An image whose format nobody named must not be given another's header by the guest. */
START_TEST(disguise) {
  uint8_t header[512], buf[8192] = {0};
  freopen("/dev/null", "w", stderr);
  image_begin();
  image_create("theirs", "qcow2", MB, NULL, NULL);
  image_create("disk", "raw", MB, NULL, NULL);
  image_peek("theirs", 0, header, sizeof header);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, 0, header, sizeof header), -EPERM);
  ck_assert_int_eq(block_write(b, 0, header, 2), 0); /* piece by piece */
  ck_assert_int_eq(block_write(b, 2, header + 2, 510), -EPERM);
  memcpy(buf, header, sizeof header);
  ck_assert_int_eq(block_write(b, 0, buf, sizeof buf), -EPERM);
  ck_assert_int_eq(block_write(b, 512, header, sizeof header), 0);
  block_close(b);
  image_create("vhd", "vpc", MB, "subformat=fixed", NULL);
  uint64_t end = image_length("vhd");
  image_peek("vhd", end - 512, header, sizeof header);
  image_create("disk", "raw", end, NULL, NULL);
  b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, end - 512, header, sizeof header), -EPERM);
  block_close(b);
  b = image_open("disk", "raw", BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, end - 512, header, sizeof header), 0);
  block_close(b);
  image_end();
}
END_TEST

START_TEST(chains) {
  char name[16], below[16];
  struct block *b;
  const char *error;
  image_begin();
  image_create("0", "qcow2", MB, NULL, NULL);
  b = image_open("0", NULL, BLOCK_WRITE);
  set_word(b, 0, 77);
  block_close(b);
  for (int i = 1; i < 70; i++) {
    snprintf(name, sizeof name, "%d", i);
    snprintf(below, sizeof below, "%d", i - 1);
    image_create(name, "qcow2", MB, "cluster_size=4k", below);
  }
  b = image_open("60", NULL, 0);
  ck_assert_uint_eq(word(b, 0), 77);
  block_close(b);
  ck_assert_int_eq(block_open(&b, image_path("69"), 0, &error), -ELOOP);
  image_create("self", "qcow2", MB, NULL, "self");
  ck_assert_int_eq(block_open(&b, image_path("self"), 0, &error), -ELOOP);
  image_create("net", "qcow2", MB, NULL, "nbd://host/disk");
  ck_assert_int_eq(block_open(&b, image_path("net"), 0, &error), -ENOTSUP);
  image_create("lost", "qcow2", MB, NULL, "nowhere");
  ck_assert_int_eq(block_open(&b, image_path("lost"), 0, &error), -ENOENT);
  ck_assert_ptr_nonnull(strstr(error, "nowhere"));
  image_end();
}
END_TEST

/* Fields of the header that say what cannot be. (Big-endian: the values are swapped.) */
START_TEST(headers) {
  static const struct {
    uint32_t at, value;
    int result;
    const char *words;
  } cases[] = {
      {4, 4, -ENOTSUP, "version 4"},
      {20, 8, -EINVAL, "cluster size"},
      {20, 22, -EINVAL, "cluster size"},
      {24, 0x7fffffff, -EINVAL, "disk"},
      {32, 1, -ENOTSUP, "encrypted"},
      {36, 0x00ffffff, -EINVAL, "L1"},
      {36, 0, -EINVAL, "L1"},
      {40, 1, -EINVAL, "L1"},
      {44, 0x101, -EINVAL, "L1"},
      {48, 1, -EINVAL, "refcount table"},
      {56, 0, -EINVAL, "refcount table"},
      {56, 999, -EINVAL, "refcount table"},
      {76, 4, -ENOTSUP, "external data"},
      {76, 16, -ENOTSUP, "extended L2"},
      {76, 32, -ENOTSUP, "mask 20"},
      {72, 1, -ENOTSUP, "mask"},
      {96, 7, -EINVAL, "width"},
      {100, 90, -EINVAL, "header"},
      {100, 70000, -EINVAL, "header"},
      {12, 65000, -EINVAL, "backing file"},
      {12, 65535, -EINVAL, "backing file"},
  };
  image_begin();
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    image_create("disk", "qcow2", MB, NULL, NULL);
    if (cases[i].at == 12)
      put32("disk", 16, __builtin_bswap32(1000));
    put32("disk", cases[i].at, __builtin_bswap32(cases[i].value));
    image_refused("disk", "qcow2", 0, cases[i].result, cases[i].words);
  }
  image_create("disk", "qcow2", MB, NULL, NULL);
  ck_assert_int_eq(truncate(image_path("disk"), 60), 0);
  image_refused("disk", "qcow2", 0, -EINVAL, "cut off");
  image_end();
}
END_TEST

/* Tables that contradict each other: the image becomes read-only and is marked. */
START_TEST(broken) {
  uint32_t value = 1;
  freopen("/dev/null", "w", stderr);
  image_begin();
  image_create("disk", "qcow2", MB, NULL, NULL);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  set_word(b, 0, 5);
  block_close(b);
  put32("disk", 131072, 0); /* refcounts of header and refcount table */
  put32("disk", 131076, 0);
  b = image_open("disk", NULL, BLOCK_WRITE);
  ck_assert_int_eq(block_write(b, 512 * 1024, &value, 4), -EIO); /* it would lie upon a table */
  ck_assert_int_eq(block_write(b, 512 * 1024, &value, 4), -EIO);
  ck_assert_uint_eq(word(b, 0), 5);
  block_close(b);
  image_refused("disk", NULL, BLOCK_WRITE, -EROFS, "marked as damaged");
  struct block_check c = image_check("disk", BLOCK_REPAIR_ALL);
  ck_assert_uint_gt(c.corruptions_fixed, 0);
  image_clean("disk");
  b = image_open("disk", NULL, BLOCK_WRITE);
  set_word(b, 512 * 1024, 6);
  ck_assert_uint_eq(word(b, 0), 5);
  block_close(b);
  image_clean("disk");
  image_end();
}
END_TEST

START_TEST(resize) {
  const char *error;
  image_begin();
  image_create("disk", "qcow2", MB, "cluster_size=512", NULL);
  struct block *b = image_open("disk", NULL, BLOCK_WRITE);
  set_word(b, MB - 512, 5);
  ck_assert_int_eq(block_resize(b, 300 * MB, &error), 0); /* the L1 table moves */
  set_word(b, 300 * MB - 512, 6);
  ck_assert_uint_eq(word(b, MB - 512), 5);
  ck_assert_int_eq(block_resize(b, MB / 2, &error), 0);
  ck_assert_int_eq(block_resize(b, MB, &error), 0);
  ck_assert_uint_eq(word(b, MB - 512), 0);
  ck_assert_int_lt(block_resize(b, 1ull << 62, &error), 0);
  block_close(b);
  image_clean("disk");
  image_end();
}
END_TEST

Suite *suite_qcow2(void) {
  Suite *suite = suite_create("qcow2");
  TCase *tests = tcase_create("qcow2");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, model);
  tcase_add_test(tests, refcount_table_grows);
  tcase_add_test(tests, snapshots);
  tcase_add_test(tests, overlays);
  tcase_add_test(tests, disguise);
  tcase_add_test(tests, chains);
  tcase_add_test(tests, headers);
  tcase_add_test(tests, broken);
  tcase_add_test(tests, resize);
  suite_add_tcase(suite, tests);
  return suite;
}
