/* SPDX-License-Identifier: MIT */
/*
 * Disk images from enemies: small sound images of every kind of a format, with some bytes changed, are
 * opened, read, described, checked, repaired and written to.
 *
 *   img-fuzz FORMAT COUNT SEED DIRECTORY
 *
 * Every image must either open or be refused with one line that names a file. Nothing may crash, hang, take
 * memory or disk without bounds (build with --enable-sanitize to see reads and writes out of bounds, too).
 * What is changed lies mostly where the format describes itself, gets values from a list of nasty ones, and
 * checksums are put right most of the time, since else nothing behind them would be reached. Change n of a
 * seed is always the same: COUNT 1 and SEED as a failure prints it do it again.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/image.h"
#include "devices/block/format.h"
#include "devices/block/vhd.h"
#include "tests/img/vhdx_build.h"

#define PAGE 4096u
#define DISK (4u << 20)
#define MAX_CHANGES 24u

static const struct kind {
  const char *format, *options;
  bool backed, log;
  uint32_t described; /* bytes at the beginning that matter most */
} kinds[] = {
    {"qcow2", "cluster_size=4k", false, false, 24576},
    {"qcow2", "cluster_size=512", true, false, 8192},
    {"qcow2", "compat=0.10,cluster_size=4k", false, false, 20480},
    {"vmdk", "subformat=monolithicSparse", false, false, 30000},
    {"vmdk", "subformat=streamOptimized", false, false, 30000},
    {"vmdk", "zeroed_grain=on", true, false, 30000},
    {"vmdk", "subformat=monolithicFlat", false, false, 350},
    {"vmdk", "subformat=twoGbMaxExtentSparse", false, false, 360},
    {"vdi", "static=off", false, false, 600},
    {"vpc", "subformat=dynamic", false, false, 1560},
    {"vpc", "subformat=dynamic", true, false, 2600},
    {"vpc", "subformat=fixed", false, false, 600},
    {"vhdx", "plain", false, false, 0},
    {"vhdx", "log", false, true, 0},
};

static uint64_t random_state, number;
static char image[PATH_MAX], base[PATH_MAX];
static uint8_t *sound;
static uint64_t sound_len;
static uint32_t *pages, page_count; /* those of the image that hold anything */
static uint64_t touched[MAX_CHANGES];
static unsigned touches;
static struct { uint64_t opened, refused, checked, written; } count;

static uint32_t rnd(uint32_t n) {
  random_state ^= random_state << 13, random_state ^= random_state >> 7, random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 16) % n;
}

static void fail(const char *what, const char *detail) {
  printf("FAILED: %s: change %llu: %s: %s\n", image, (unsigned long long)number, what, detail ? detail : "");
  exit(1);
}

static void too_long(int signal) {
  (void)signal;
  char text[100];
  int n = snprintf(text, sizeof text, "FAILED: change %llu takes too long\n", (unsigned long long)number);
  _exit(write(1, text, (size_t)n) == n ? 1 : 2);
}

/* The formats' warnings would fill the screen. */
void warn_report(const char *format, ...) { (void)format; }

/* --- sound images ------------------------------------------------------------------------------------- */

static void make_vhdx(bool log) {
  struct vhdx_recipe r = {.size = DISK, .block = VHDX_BUILD_MB, .sector = 512, .log_len = 65536};
  static uint8_t data[65536];
  uint8_t entry[8];
  int fd = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);
  vhdx_build(fd, &r);
  put_le64(entry, VHDX_BUILD_DATA | 6);
  vhdx_build_put(fd, VHDX_BUILD_TABLE + 8, entry, 8);
  memset(data, 0x77, sizeof data);
  vhdx_build_put(fd, VHDX_BUILD_DATA, data, sizeof data);
  if (ftruncate(fd, VHDX_BUILD_DATA + VHDX_BUILD_MB))
    exit(2);
  if (log) {
    vhdx_build_header(fd, 1, 7, r.log_len, true);
    vhdx_build_log(fd, r.log_len, 57344, 57344, 20, VHDX_BUILD_DATA, 0x22, VHDX_BUILD_DATA + 8192, 4096);
    vhdx_build_log(fd, r.log_len, 0, 57344, 21, VHDX_BUILD_DATA + 4096, 0x33, VHDX_BUILD_DATA + 16384, 4096);
  }
  close(fd);
}

static void make(const char *path, const struct kind *k, bool backed) {
  struct block_create c = {.size = DISK,
                           .options = k->options,
                           .backing = backed ? base : NULL,
                           .backing_format = backed ? k->format : NULL};
  struct block_options o = {.flags = BLOCK_WRITE, .format = k->format};
  struct block *b;
  const char *error;
  static uint8_t data[90000];
  for (unsigned i = 0; i < sizeof data; i++)
    data[i] = (uint8_t)(i / 300);
  if (block_create(path, k->format, &c, &error) || block_open_with(&b, path, &o, &error))
    fail("cannot be made", error);
  if (block_write(b, 100000, data, sizeof data) || block_write(b, 3000000, data, 5000) || block_flush(b))
    fail("cannot be written", NULL);
  block_close(b);
}

static void load(const struct kind *k) {
  struct stat st;
  if (!strcmp(k->format, "vhdx")) {
    make_vhdx(k->log);
  } else {
    if (k->backed)
      make(base, k, false);
    make(image, k, k->backed);
  }
  int fd = open(image, O_RDONLY);
  if (fd < 0 || fstat(fd, &st))
    exit(2);
  sound_len = (uint64_t)st.st_size;
  free(sound);
  free(pages);
  sound = calloc(1, sound_len + PAGE);
  pages = malloc(4 * (sound_len / PAGE + 1));
  if (!sound || !pages || file_read(fd, 0, sound, sound_len))
    exit(2);
  close(fd);
  page_count = 0;
  for (uint64_t p = 0; p * PAGE < sound_len; p++)
    for (unsigned i = 0; i < PAGE; i++)
      if (sound[p * PAGE + i]) {
        pages[page_count++] = (uint32_t)p;
        break;
      }
}

static void restore(int fd) {
  if (ftruncate(fd, 0) || ftruncate(fd, (off_t)sound_len))
    exit(2);
  for (uint32_t i = 0; i < page_count; i++) {
    uint64_t at = (uint64_t)pages[i] * PAGE, n = sound_len - at < PAGE ? sound_len - at : PAGE;
    if (file_write(fd, at, sound + at, n))
      exit(2);
  }
}

/* --- changes ------------------------------------------------------------------------------------------ */

static void put(int fd, uint64_t at, const void *data, size_t len) {
  if (file_write(fd, at, data, len))
    exit(2);
  if (touches < MAX_CHANGES)
    touched[touches++] = at;
}

static uint64_t place(const struct kind *k) {
  uint64_t at;
  switch (rnd(8)) {
  case 0: at = sound_len - (sound_len < 1536 ? sound_len : 1536) + rnd(1536); break;
  case 1: at = (uint64_t)pages[rnd(page_count)] * PAGE + rnd(PAGE); break;
  case 2: at = rnd(512); break;
  default:
    at =
        k->described ? rnd(k->described) : (uint64_t)pages[rnd(page_count)] * PAGE + rnd(rnd(2) ? PAGE : 256);
  }
  return at < sound_len - 8 ? at : sound_len - 8;
}

static void change(int fd, const struct kind *k) {
  static const uint64_t nasty[] = {0,          1,          2,          0xff,       0xffff,     0xffffffff,
                                   0xfffffffe, 0x7fffffff, 0x80000000, UINT64_MAX, 0x100000,   0x200000,
                                   512,        1ull << 40, 1ull << 62, 4096,       1ull << 63, 65536};
  uint64_t at = place(k), value = nasty[rnd(sizeof nasty / sizeof nasty[0])];
  unsigned len = 1u << rnd(4);
  uint8_t bytes[8];
  memcpy(bytes, sound + at, 8);
  switch (rnd(6)) {
  case 0: len = 1, bytes[0] = (uint8_t)rnd(256); break;
  case 1: len = 1, bytes[0] ^= (uint8_t)(1u << rnd(8)); break;
  case 2: at &= ~(uint64_t)(len - 1), put_le64(bytes, value); break;
  case 3: at &= ~(uint64_t)(len - 1), put_be64(bytes, value << (64 - 8 * len)); break;
  case 4:
    at &= ~3ull, len = 4;
    put_le32(bytes, le32_at(sound + at) + (rnd(2) ? 1 : UINT32_MAX));
    break;
  default: at &= ~7ull, len = 8; memcpy(bytes, sound + (place(k) & ~7ull), 8);
  }
  put(fd, at, bytes, at + len > sound_len ? sound_len - at : len);
}

/* Put a little- or big-endian checksum right, if something that it covers has changed. */
static void mend(int fd, uint64_t at, uint32_t len, unsigned field, bool vhd) {
  static uint8_t data[65536];
  bool changed = false;
  for (unsigned i = 0; i < touches; i++)
    changed |= touched[i] >= at && touched[i] < at + len;
  if (!changed || at + len > sound_len || file_read(fd, at, data, len))
    return;
  put_le32(data + field, 0);
  if (vhd)
    put_be32(data + field, vhd_sum(data, len, field));
  else
    put_le32(data + field, vhdx_crc(0, data, len));
  put(fd, at + field, data + field, 4);
}

static void mend_checksums(int fd, const struct kind *k) {
  if (!strcmp(k->format, "vpc")) {
    mend(fd, 0, VHD_FOOTER, VHD_CHECKSUM, true);
    mend(fd, sound_len - VHD_FOOTER, VHD_FOOTER, VHD_CHECKSUM, true);
    mend(fd, VHD_FOOTER, VHD_DYNAMIC_HEADER, VHD_DYN_CHECKSUM, true);
  } else if (!strcmp(k->format, "vhdx")) {
    for (unsigned i = 1; i < 3; i++) {
      mend(fd, 65536 * i, VHDX_HEADER, 4, false);
      mend(fd, 65536 * (i + 2), 65536, 4, false);
    }
    mend(fd, VHDX_BUILD_LOG + 57344, 8192, 4, false);
    mend(fd, VHDX_BUILD_LOG, 8192, 4, false);
  }
}

/* --- use ---------------------------------------------------------------------------------------------- */

static void use(struct block *b, unsigned flags) {
  static uint8_t buf[800000];
  struct block_info info = {0};
  uint64_t size = block_size(b);
  for (int i = 0; i < 6 && size; i++) { /* (a disk of no size is allowed) */
    uint64_t len = rnd(i ? 70000 : 700000) + 1,
             at = ((uint64_t)rnd(UINT32_MAX) << 31 | rnd(UINT32_MAX)) % size, run;
    if (i == 1)
      at = 0;
    if (i == 2)
      at = size - (len < size ? len : size);
    len = len < size - at ? len : size - at;
    (void)block_read(b, at, buf, len);
    int state = b->driver->status ? b->driver->status(b, at, len, &run) : -1;
    if (state >= 0 && (run < 1 || run > len))
      fail("a state of nothing, or of too much", NULL);
    if (flags == BLOCK_WRITE && i > 2 && strcmp(block_format_name(b), "raw"))
      (void)(i == 3 && b->driver->write_zeroes ? b->driver->write_zeroes(b, at, len)
                                               : block_write(b, at, buf, len));
  }
  if (b->format && b->format->info)
    b->format->info(b, &info);
  if (flags & BLOCK_CHECK && b->format && b->format->check) {
    struct block_check c = {0};
    b->format->check(b, &c, flags & BLOCK_WRITE ? BLOCK_REPAIR_ALL : BLOCK_REPAIR_NONE);
    count.checked++;
  }
  count.written += flags == BLOCK_WRITE;
}

static void one(int fd, const struct kind *k) {
  static const unsigned ways[] = {BLOCK_WRITE, BLOCK_CHECK, BLOCK_CHECK | BLOCK_WRITE, 0, 0, 0, 0, 0};
  unsigned flags = ways[rnd(8)], changes = 1 + rnd(rnd(4) ? 3 : 16);
  struct block_options o = {.flags = flags, .format = rnd(4) ? k->format : NULL};
  struct block *b;
  struct stat st;
  const char *error = NULL;
  bool cut = rnd(60) == 0;
  touches = 0;
  while (changes--)
    change(fd, k);
  if (rnd(4))
    mend_checksums(fd, k);
  if (cut && ftruncate(fd, (off_t)rnd((uint32_t)sound_len)))
    exit(2);
  int result = block_open_with(&b, image, &o, &error);
  if (!result) {
    use(b, flags);
    block_close(b);
    count.opened++;
  } else {
    count.refused++;
    if (b || !error || strchr(error, '\n') || (result != -ENOMEM && !strchr(error, '\'')))
      fail("no clear error", error);
  }
  if (fstat(fd, &st) == 0 && (uint64_t)st.st_blocks * 512 > sound_len + (64u << 20))
    fail("the file has grown without bounds", NULL);
  if (cut || flags & BLOCK_WRITE) {
    restore(fd);
    return;
  }
  for (unsigned i = 0; i < touches; i++) {
    uint64_t at = touched[i] & ~7ull, n = sound_len - at < 16 ? sound_len - at : 16;
    if (file_write(fd, at, sound + at, n))
      exit(2);
  }
}

int main(int argc, char **argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: %s FORMAT COUNT SEED DIRECTORY\n", argv[0]);
    return 2;
  }
  const char *format = argv[1];
  uint64_t changes = strtoull(argv[2], NULL, 0), seed = strtoull(argv[3], NULL, 0), used = 0;
#ifndef __SANITIZE_ADDRESS__
  struct rlimit memory = {2ull << 30, 2ull << 30};
  setrlimit(RLIMIT_AS, &memory);
#endif
  signal(SIGALRM, too_long);
  setvbuf(stdout, NULL, _IOLBF, 0);
  for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
    used += !strcmp(kinds[i].format, format);
  for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
    const struct kind *k = &kinds[i];
    if (strcmp(k->format, format))
      continue;
    snprintf(image, sizeof image, "%s/fuzz%u.%s", argv[4], i, format);
    snprintf(base, sizeof base, "%s/base%u.%s", argv[4], i, format);
    load(k);
    int fd = open(image, O_RDWR);
    memset(&count, 0, sizeof count);
    for (number = seed; number < seed + (changes + used - 1) / used; number++) {
      random_state = number * 0x9e3779b97f4a7c15ull + 1;
      rnd(2), rnd(2);
      if (number % 256 == 0 || number == seed)
        alarm(120);
      one(fd, k);
    }
    close(fd);
    printf("%s, %s%s: %llu changed images: %llu opened, %llu refused, %llu checked, %llu written to\n",
           format, k->options, k->backed ? ", with a backing file" : "", (unsigned long long)(number - seed),
           (unsigned long long)count.opened, (unsigned long long)count.refused,
           (unsigned long long)count.checked, (unsigned long long)count.written);
  }
  return used ? 0 : 2;
}
