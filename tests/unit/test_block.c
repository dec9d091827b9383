/* SPDX-License-Identifier: MIT */
/* Disk images: errors when opening, locks, padding, snapshots, memory images. */
#include <sys/stat.h>
#include <sys/wait.h>

#include "devices/block/block.h"
#include "tests/unit/rig.h"

static struct block *open_ok(const char *path, unsigned flags) {
  struct block *b;
  const char *error;
  ck_assert_int_eq(block_open(&b, path, flags, &error), 0);
  ck_assert_ptr_null(error);
  return b;
}

static void open_fails(const char *path, unsigned flags, int expected, const char *words) {
  struct block *b;
  const char *error;
  ck_assert_int_eq(block_open(&b, path, flags, &error), expected);
  ck_assert_ptr_null(b);
  ck_assert_ptr_nonnull(strstr(error, words));
  ck_assert_ptr_null(strchr(error, '\n'));
}

static uint32_t word_at(struct block *b, uint64_t offset) {
  uint32_t word;
  ck_assert_int_eq(block_read(b, offset, &word, 4), 0);
  return word;
}

START_TEST(refused) {
  char path[32];
  rig_file(path, 0);
  open_fails(path, 0, -EINVAL, "empty");
  ck_assert_int_eq(truncate(path, 100), 0);
  open_fails(path, 0, -EINVAL, "too short");
  open_fails("/nowhere/at/all.img", 0, -ENOENT, "no disk image");
  open_fails("/tmp", 0, -EISDIR, "directory");
  open_fails("/tmp", BLOCK_WRITE, -EISDIR, "directory");
  open_fails("/dev/null", 0, -EINVAL, "neither");
  unlink(path);
  ck_assert_int_eq(mkfifo(path, 0600), 0);
  open_fails(path, 0, -EINVAL, "neither"); /* and doesn't wait */
  unlink(path);
}
END_TEST

START_TEST(write_protected) {
  char path[32];
  rig_file(path, 4096);
  chmod(path, 0400);
  if (geteuid() != 0) {
    open_fails(path, BLOCK_WRITE, -EACCES, "write-protected");
  }
  struct block *b = open_ok(path, 0);
  ck_assert(!block_writable(b));
  ck_assert_int_eq(block_write(b, 0, "x", 1), -EROFS);
  ck_assert_uint_eq(word_at(b, 0x800), 0x200);
  block_close(b);
  unlink(path);
}
END_TEST

START_TEST(locks) {
  char path[32];
  rig_file(path, 4096);
  struct block *reader = open_ok(path, 0), *second = open_ok(path, 0);
  open_fails(path, BLOCK_WRITE, -EBUSY, "in use");
  block_close(reader);
  block_close(second);
  struct block *writer = open_ok(path, BLOCK_WRITE);
  open_fails(path, BLOCK_WRITE, -EBUSY, "in use");
  open_fails(path, 0, -EBUSY, "in use");
  open_fails(path, BLOCK_SNAPSHOT, -EBUSY, "in use");
  pid_t child = fork(); /* another process sees the same */
  if (child == 0) {
    struct block *b;
    const char *error;
    _exit(block_open(&b, path, BLOCK_WRITE, &error) == -EBUSY ? 0 : 1);
  }
  int status;
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  ck_assert_int_eq(status, 0);
  block_close(writer);
  block_close(open_ok(path, BLOCK_WRITE));
  unlink(path);
}
END_TEST

START_TEST(bounds_and_padding) {
  char path[32];
  rig_file(path, 1300);
  freopen("/dev/null", "w", stderr); /* the warning about the size */
  struct block *b = open_ok(path, BLOCK_WRITE);
  uint8_t buf[512];
  ck_assert_uint_eq(block_size(b), 1536);
  ck_assert_int_eq(block_read(b, 1024, buf, 512), 0);
  ck_assert_uint_eq(buf[273], 0x01); /* byte 1297: of word 144h */
  ck_assert_uint_eq(buf[276], 0);
  ck_assert_uint_eq(buf[511], 0);
  ck_assert_int_eq(block_read(b, 1536, buf, 1), -EINVAL);
  ck_assert_int_eq(block_read(b, 1535, buf, 2), -EINVAL);
  ck_assert_int_eq(block_read(b, UINT64_MAX, buf, 2), -EINVAL);
  ck_assert_int_eq(block_read(b, 1536, buf, 0), 0);
  ck_assert_int_eq(block_write(b, 1024, buf, 512), 0);
  ck_assert_int_eq(block_flush(b), 0);
  ck_assert_int_eq(block_read(b, 1024, buf, 512), 0);
  block_close(b);
  unlink(path);
}
END_TEST

START_TEST(snapshot) {
  char path[32];
  const uint64_t size = 40960 + 512;
  rig_file(path, size);
  chmod(path, 0400);
  struct block *b = open_ok(path, BLOCK_WRITE | BLOCK_SNAPSHOT);
  static uint8_t model[40960 + 512], buf[sizeof model];
  ck_assert(block_writable(b));
  ck_assert_int_eq(block_read(b, 0, model, size), 0);
  uint32_t seed = 7;
  for (int i = 0; i < 2000; i++) {
    uint64_t offset = rig_random(&seed) % size, len = rig_random(&seed) % (i % 8 ? 1500 : 20000);
    if (len > size - offset)
      len = size - offset;
    if (i % 3) {
      for (uint64_t at = 0; at < len; at++)
        buf[at] = (uint8_t)rig_random(&seed);
      memcpy(model + offset, buf, len);
      ck_assert_int_eq(block_write(b, offset, buf, len), 0);
    } else {
      ck_assert_int_eq(block_read(b, offset, buf, len), 0);
      ck_assert_mem_eq(buf, model + offset, len);
    }
  }
  block_close(b);
  b = open_ok(path, 0); /* the image itself never changed */
  for (uint64_t at = 0; at < size; at += 4)
    ck_assert_uint_eq(word_at(b, at), at / 4);
  block_close(b);
  unlink(path);
}
END_TEST

START_TEST(snapshot_without_directory) {
  char path[32];
  rig_file(path, 4096);
  setenv("TMPDIR", "/nowhere/at/all", 1);
  open_fails(path, BLOCK_SNAPSHOT, -ENOENT, "TMPDIR");
  unlink(path);
}
END_TEST

START_TEST(memory_image) {
  static const uint8_t data[600] = {1, 2, 3};
  struct block *b = block_open_memory("demo", data, sizeof data);
  ck_assert_uint_eq(block_size(b), 1024);
  ck_assert_str_eq(block_path(b), "demo");
  ck_assert_uint_eq(word_at(b, 0), 0x00030201);
  ck_assert_uint_eq(word_at(b, 1020), 0);
  ck_assert_int_eq(block_write(b, 1020, "abcd", 4), 0);
  ck_assert_uint_eq(word_at(b, 0), 0x00030201);
  ck_assert_uint_eq(word_at(b, 1020), 0x64636261);
  ck_assert_int_eq(block_flush(b), 0);
  block_close(b);
}
END_TEST

Suite *suite_block(void) {
  Suite *suite = suite_create("block");
  TCase *tests = tcase_create("block");
  tcase_add_test(tests, refused);
  tcase_add_test(tests, write_protected);
  tcase_add_test(tests, locks);
  tcase_add_test(tests, bounds_and_padding);
  tcase_add_test(tests, snapshot);
  tcase_add_test(tests, snapshot_without_directory);
  tcase_add_test(tests, memory_image);
  suite_add_tcase(suite, tests);
  return suite;
}
