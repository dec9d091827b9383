/* SPDX-License-Identifier: MIT */
/* Files on FAT volumes (frontends/test/fat.h): against mtools, on a full disk, and on damaged images. */
#include <check.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frontends/test/fat.h"

static char dir[] = "/tmp/dragoman-fat-XXXXXX";

static int shell(const char *format, ...) {
  char command[1024];
  va_list ap;
  va_start(ap, format);
  vsnprintf(command, sizeof command, format, ap);
  va_end(ap);
  return system(command);
}

static struct fat fat;

static void write_or_die(const char *path, const void *data, uint32_t size) {
  ck_assert_msg(fat_write(&fat, path, data, size) == 0, "%s: %s", path, fat.error);
}

static void check_file(const char *path, const void *data, uint32_t size) {
  struct fat_file file;
  ck_assert_msg(fat_find(&fat, path, &file) == 0, "%s: %s", path, fat.error);
  ck_assert_uint_eq(file.size, size);
  uint8_t *back = fat_read(&fat, &file);
  ck_assert_msg(back != NULL, "%s: %s", path, fat.error);
  ck_assert(memcmp(back, data, size) == 0);
  free(back);
}

static void fill(uint8_t *data, uint32_t size) {
  for (uint32_t i = 0; i < size; i++)
    data[i] = (uint8_t)(i * 2654435761u >> 24);
}

static void count(void *opaque, const struct fat_file *file) {
  (void)file;
  ++*(unsigned *)opaque;
}

/* What we write is what mtools reads; after files were replaced and removed as well. */
static void against_mtools(const char *format, unsigned partition) {
  static uint8_t data[100000];
  struct block *b;
  const char *why;
  char path[200];
  ck_assert(mkdtemp(dir) != NULL);
  snprintf(path, sizeof path, "%s/img", dir);
  ck_assert_int_eq(shell(format, path), 0);
  ck_assert_int_eq(block_open(&b, path, BLOCK_WRITE, &why), 0);
  ck_assert_msg(fat_open(&fat, b, partition) == 0, "%s", fat.error);
  fill(data, sizeof data);
  write_or_die("big file with a long name.bin", data, 50000);
  write_or_die("SHORT.BIN", data, 512);
  write_or_die("dir/deep/empty", data, 0);
  write_or_die("big file with a long name.bin", data, sizeof data);
  write_or_die("gone.txt", data, 3000);
  ck_assert_int_eq(fat_remove(&fat, "GONE.TXT"), 0);
  for (int i = 0; i < 70; i++) {
    char name[80];
    snprintf(name, sizeof name, "many/a name that is rather long, with a number %d", i);
    write_or_die(name, data, (uint32_t)i);
  }
  check_file("BIGFIL~1.BIN", data, sizeof data);
  unsigned files = 0;
  ck_assert_int_eq(fat_list(&fat, "many", count, &files), 0);
  ck_assert_uint_eq(files, 70);
  ck_assert_int_eq(fat_remove(&fat, "many"), -1);
  block_flush(b);
  block_close(b);
  const char *at = partition ? "@@32256" : "";
  ck_assert_int_eq(
      shell("cd %s && mcopy -i img%s '::big file with a long name.bin' out && mcopy -i img%s ::short.bin "
            "small && "
            "mcopy -i img%s ::dir/deep/empty empty && ! mdir -i img%s ::gone.txt >/dev/null 2>&1 && "
            "test $(mdir -b -i img%s ::many | wc -l) -eq 70 && mcopy -i img%s "
            "'::many/a name that is rather long, with a number 69' last && test $(wc -c <last) -eq 69",
            dir, at, at, at, at, at, at),
      0);
  FILE *f;
  static uint8_t back[sizeof data + 1];
  snprintf(path, sizeof path, "%s/out", dir);
  ck_assert((f = fopen(path, "rb")) != NULL);
  ck_assert_uint_eq(fread(back, 1, sizeof back, f), sizeof data);
  fclose(f);
  ck_assert(memcmp(back, data, sizeof data) == 0);
  ck_assert_int_eq(shell("command -v fsck.fat >/dev/null || exit 0; cd %s && %s && fsck.fat -n part >fsck || "
                         "{ cat fsck; exit 1; }",
                         dir, partition ? "dd if=img of=part bs=512 skip=63 status=none" : "cp img part"),
                   0);
  shell("rm -rf %s", dir);
}

static bool have_mtools(void) { return system("command -v mformat >/dev/null") == 0; }

START_TEST(fat12) {
  if (have_mtools())
    against_mtools("mformat -C -i %s -f 1440 ::", 0);
}
END_TEST
START_TEST(fat16) {
  if (have_mtools())
    against_mtools("mformat -C -i %s -T 65536 -h 16 -s 63 -c 4 ::", 0);
}
END_TEST
START_TEST(fat32) {
  if (have_mtools())
    against_mtools("mformat -C -i %s -F -T 200000 -h 16 -s 63 -c 1 ::", 0);
}
END_TEST
START_TEST(in_a_partition) { /* of type 6, at sector 63 */
  if (have_mtools())
    against_mtools(
        "f=%s; head -c 33554432 /dev/zero >$f; printf "
        "'\\200\\0\\0\\0\\6\\0\\0\\0\\77\\0\\0\\0\\0\\372\\0\\0' | "
        "dd of=$f bs=1 seek=446 conv=notrunc status=none; printf '\\125\\252' | dd of=$f bs=1 seek=510 "
        "conv=notrunc status=none; mformat -i $f@@32256 -T 64000 -h 16 -s 63 -c 4 ::",
        1);
}
END_TEST

/* --- without mtools: a FAT12 volume of 64 clusters made here --- */

#define SECTORS 80u
static uint8_t image[SECTORS * 512];

static void make_image(void) {
  memset(image, 0, sizeof image);
  memcpy(image, "\xeb\x3c\x90TEST    \x00\x02\x01\x01\x00\x02\x20\x00\x50\x00\xf0\x01\x00", 24);
  image[510] = 0x55;
  image[511] = 0xaa;
  memcpy(image + 512, "\xf0\xff\xff", 3);
  memcpy(image + 1024, "\xf0\xff\xff", 3);
}

START_TEST(full_disk) {
  static uint8_t data[sizeof image];
  struct fat_file file;
  make_image();
  fill(data, sizeof data);
  struct block *b = block_open_memory("test", image, sizeof image);
  ck_assert_msg(fat_open(&fat, b, 0) == 0, "%s", fat.error);
  ck_assert_int_eq(fat_write(&fat, "toobig", data, sizeof data), -1);
  ck_assert_str_eq(fat.error, "the disk is full");
  write_or_die("fits", data, 70 * 512); /* its clusters are free again */
  check_file("FITS", data, 70 * 512);
  ck_assert_int_eq(fat_write(&fat, "x", data, 6 * 512), -1);
  ck_assert_int_eq(fat_remove(&fat, "fits"), 0);
  /* 32 entries in the root: short names in capitals take one each. "toobig" and "x" are there with a long
   * one. */
  int made = 0;
  for (char name[] = "A"; name[0] <= 'Z'; name[0]++)
    made += fat_write(&fat, name, data, 1) == 0;
  ck_assert_int_ge(made, 25);
  ck_assert_int_eq(fat_write(&fat, "a long name that has no room any more there", data, 1), -1);
  ck_assert_str_eq(fat.error, "the root directory is full");
  ck_assert_int_eq(fat_find(&fat, "nothing", &file), -1);
  ck_assert_int_eq(fat_write(&fat, "a:b", data, 1), -1);
  ck_assert_int_eq(fat_open(&fat, b, 2), -1);
  block_close(b);
}
END_TEST

/* Whatever is damaged, every call ends, and touches nothing but the disk. */
START_TEST(damaged) {
  static uint8_t good[sizeof image], data[5000];
  uint64_t seed = 88172645463325252ull;
  make_image();
  struct block *b = block_open_memory("test", image, sizeof image);
  ck_assert_int_eq(fat_open(&fat, b, 0), 0);
  write_or_die("dir/sub/a long name for a file", data, sizeof data);
  write_or_die("PLAIN", data, 700);
  ck_assert_int_eq(block_read(b, 0, good, sizeof good), 0);
  block_close(b);
  unsigned opened = 0;
  for (int round = 0; round < 20000; round++) {
    memcpy(image, good, sizeof image);
    for (int i = 0; i < 1 + round % 12; i++) {
      seed = seed * 6364136223846793005ull + 1442695040888963407ull;
      uint32_t at = (uint32_t)(seed >> 33) % (round % 3 ? 12 * 512 : 64);
      image[at] = (uint8_t)(seed >> 20);
    }
    b = block_open_memory("test", image, sizeof image);
    if (fat_open(&fat, b, 0) == 0) {
      struct fat_file file;
      unsigned files = 0;
      opened++;
      fat_list(&fat, "", count, &files);
      fat_list(&fat, "dir/sub", count, &files);
      if (fat_find(&fat, "dir/sub/a long name for a file", &file) == 0)
        free(fat_read(&fat, &file));
      fat_write(&fat, "dir/another long name", data, 3000);
      fat_write(&fat, "PLAIN", data, 1500);
      fat_remove(&fat, "dir/sub/a long name for a file");
    }
    block_close(b);
  }
  ck_assert_uint_gt(opened, 1000);
}
END_TEST

Suite *suite_fat(void);
Suite *suite_fat(void) {
  Suite *s = suite_create("fat");
  TCase *t = tcase_create("fat");
  tcase_set_timeout(t, 60);
  tcase_add_test(t, fat12);
  tcase_add_test(t, fat16);
  tcase_add_test(t, fat32);
  tcase_add_test(t, in_a_partition);
  tcase_add_test(t, full_disk);
  tcase_add_test(t, damaged);
  suite_add_tcase(s, t);
  return s;
}
