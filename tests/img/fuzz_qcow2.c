/* SPDX-License-Identifier: MIT */
/*
 * Damaged qcow2 images, meant to be built with sanitizers. (fuzz.c has all formats; here are internal
 * snapshots, compressed clusters, all widths of refcounts, and tables whose entries change places.)
 *
 *   img-fuzz-qcow2 COUNT SEED DIRECTORY [FIRST]
 *
 * Makes a few images with everything in them that it can hold, then damages one of them COUNT
 * times: bits, bytes, fields of 2, 4 and 8 bytes that get interesting values, entries that change places,
 * files cut off; mostly where tables and headers are. Each time the image is opened (often by probing),
 * described, mapped, read and checked, every fourth time also written, repaired, resized and snapshot.
 * Nothing is expected but that the process lives on, in bounded time: an alarm ends it after 20 seconds. A
 * failure is repeated by its number, which is in DIRECTORY/number: img-fuzz-qcow2 1 SEED DIRECTORY NUMBER.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices/block/image.h"

#define DISK (1u << 20)
#define TEMPLATES 8
#define DAMAGES 12

struct template {
  uint8_t *data;
  uint64_t size;
  uint64_t places[4096]; /* 64-byte pieces that are neither zeros nor the disk's data */
  unsigned count;
};

static struct template templates[TEMPLATES];
static unsigned template_count;
static const char format[] = "qcow2";
static char image[4096], base[4096];
static uint64_t state = 1;
static uint64_t opened, refused;
static bool dirty_file = true;
static const struct template *on_disk;

static uint32_t rnd(uint32_t n) {
  state ^= state << 13, state ^= state >> 7, state ^= state << 17;
  return (uint32_t)(state >> 20) % n;
}

static void die(const char *what, const char *why) {
  printf("%s: %s\n", what, why);
  exit(2);
}

/* --- images to damage --------------------------------------------------------------------------------- */

/* What the disk's data looks like: easy to tell from tables. */
static void fill(uint8_t *p, uint32_t len) { memset(p, 0xda, len); }

static void load(const char *path) {
  struct template *t = &templates[template_count++];
  FILE *f = fopen(path, "rb");
  struct stat st;
  if (!f || fstat(fileno(f), &st) < 0)
    die(path, "cannot be read");
  t->size = (uint64_t)st.st_size;
  t->data = malloc(t->size + 64);
  if (!t->data || fread(t->data, 1, t->size, f) != t->size)
    die(path, "cannot be read");
  fclose(f);
  for (uint64_t at = 0; at < t->size && t->count < 4096; at += 64) {
    bool zeros = true, data = true;
    for (uint64_t i = at; i < at + 64 && i < t->size; i++)
      zeros &= t->data[i] == 0, data &= t->data[i] == 0xda;
    if (!zeros && !data)
      t->places[t->count++] = at;
  }
}

static void make(const char *options, bool backed, bool packed, bool snapshot) {
  static uint8_t buf[65536];
  const char *error = "";
  struct block_create c = {.size = DISK,
                           .options = options,
                           .backing = backed ? base : NULL,
                           .backing_format = backed ? "raw" : NULL};
  struct block_options o = {.flags = BLOCK_WRITE, .format = format};
  struct block *b;
  if (block_create(image, format, &c, &error) || block_open_with(&b, image, &o, &error))
    die(image, error);
  fill(buf, sizeof buf);
  struct block_info info;
  block_info(b, &info);
  uint32_t cluster = info.cluster_size ? (uint32_t)info.cluster_size : 65536;
  for (uint32_t i = 0; i < 8; i++) {
    for (uint32_t n = 0; packed && n < cluster; n += 16)
      buf[n] = (uint8_t)rnd(256);
    if (packed ? block_write_compressed(b, i * (uint64_t)cluster, buf, cluster)
               : block_write(b, i * 100000ull, buf, 8000 + i * 2000))
      die(image, "cannot be written");
  }
  if (snapshot &&
      (block_snapshot(b, BLOCK_SNAPSHOT_CREATE, "one", &error) || block_write(b, 5000, buf, 20000) ||
       block_snapshot(b, BLOCK_SNAPSHOT_CREATE, "two", &error) || block_write(b, 300000, buf, 5000)))
    die(image, error);
  if (!packed)
    block_write_zeroes(b, 650000, 70000);
  block_close(b);
  load(image);
}

static void make_all(void) {
  FILE *f = fopen(base, "wb");
  if (!f || ftruncate(fileno(f), DISK) < 0)
    die(base, "cannot be made");
  fclose(f);
  make("cluster_size=4k", false, false, true);
  make("cluster_size=512", false, false, true);
  make("cluster_size=4k", false, true, false);
  make("cluster_size=1k,refcount_bits=64", true, false, true);
  make("compat=0.10,cluster_size=4k", true, false, false);
  make("cluster_size=64k,refcount_bits=1", false, false, false);
}

/* --- damage ------------------------------------------------------------------------------------------- */

static void put(uint8_t *p, unsigned bytes, uint64_t value, bool big) {
  for (unsigned i = 0; i < bytes; i++)
    p[i] = (uint8_t)(value >> 8 * (big ? bytes - 1 - i : i));
}

static uint64_t interesting(const struct template *t) {
  static const uint64_t values[] = {0,  1,   2,   7,   8,   16,   31,   32,    63,
                                    64, 255, 256, 511, 512, 4095, 4096, 65535, 65536};
  switch (rnd(8)) {
  case 0: return values[rnd(sizeof values / sizeof values[0])];
  case 1: return UINT64_MAX - rnd(3);
  case 2: return 1ull << rnd(64);
  case 3: return (1ull << rnd(64)) - 1;
  case 4: return t->size - rnd(1024) + 512;
  case 5: return rnd((uint32_t)t->size) & ~511ull; /* a place in the file */
  case 6: return (1ull << 63 | rnd((uint32_t)t->size)) & ~511ull;
  default: return (uint64_t)rnd(UINT32_MAX) << 32 | rnd(UINT32_MAX);
  }
}

struct change {
  uint64_t at;
  uint8_t bytes[16];
  unsigned len;
};

static void damage(const struct template *t, struct change *c) {
  uint64_t place = rnd(10) && t->count ? t->places[rnd(4) ? rnd(t->count) : 0] : rnd((uint32_t)t->size);
  c->at = place + (rnd(2) ? rnd(64) : rnd(8) * 8);
  if (rnd(6) == 0)
    c->at = rnd(128);
  if (c->at + 16 > t->size)
    c->at = t->size - 16;
  memcpy(c->bytes, t->data + c->at, 16);
  bool big = rnd(8);
  switch (rnd(7)) {
  case 0: c->len = 1, c->bytes[0] ^= (uint8_t)(1u << rnd(8)); break;
  case 1: c->len = 1, c->bytes[0] = (uint8_t)rnd(256); break;
  case 2: c->len = 2, put(c->bytes, 2, interesting(t), big); break;
  case 3: c->len = 4, put(c->bytes, 4, interesting(t), big); break;
  case 4: c->at &= ~7ull, c->len = 8, put(c->bytes, 8, interesting(t), big); break;
  case 5: /* another entry in its place */
    c->at &= ~7ull, c->len = 8;
    memcpy(c->bytes, t->data + (t->count ? t->places[rnd(t->count)] & ~7ull : 0), 8);
    break;
  default: c->len = 8, memset(c->bytes, rnd(2) ? 0xff : 0, 8); break;
  }
}

/* --- use ---------------------------------------------------------------------------------------------- */

static void look(struct block *b) {
  static uint8_t buf[65536];
  static struct block_snapshot list[BLOCK_SNAPSHOTS];
  struct block_info info;
  block_info(b, &info);
  block_snapshots(b, list, BLOCK_SNAPSHOTS);
  uint64_t size = block_size(b), at = 0, run;
  unsigned depth;
  for (int i = 0; i < 64 && at < size; i++, at += run)
    if (block_map(b, at, size - at, &run, &depth) < 0)
      break;
  for (int i = 0; i < 24; i++) {
    at = i < 16 ? i * (uint64_t)sizeof buf : size ? ((uint64_t)rnd(UINT32_MAX) << 16) % size : 0;
    block_read(b, at, buf, at < size && size - at < sizeof buf ? size - at : sizeof buf);
  }
}

static void change(struct block *b) {
  static uint8_t buf[100000];
  const char *error;
  uint64_t size = block_size(b);
  for (int i = 0; i < 6; i++) {
    uint64_t at = rnd(3) || !size ? rnd(DISK) : ((uint64_t)rnd(UINT32_MAX) << 16) % size;
    uint64_t len = rnd(4) ? 512u << rnd(7) : 1 + rnd(sizeof buf);
    if (rnd(5) == 0)
      block_write_zeroes(b, at, len);
    else
      block_write(b, at, buf, len);
    if (rnd(3) == 0)
      block_flush(b);
  }
  switch (rnd(6)) {
  case 0: block_snapshot(b, BLOCK_SNAPSHOT_CREATE, "three", &error); break;
  case 1: block_snapshot(b, BLOCK_SNAPSHOT_APPLY, rnd(2) ? "one" : "two", &error); break;
  case 2: block_snapshot(b, BLOCK_SNAPSHOT_DELETE, rnd(2) ? "one" : "two", &error); break;
  case 3: block_resize(b, rnd(4) * 700000ull, &error); break;
  case 4: block_write_compressed(b, rnd(200) * 4096ull, buf, 4096); break;
  default: break;
  }
}

static struct block *try_open(unsigned flags, const char *how, const char *snapshot) {
  struct block *b;
  const char *error = NULL;
  struct block_options o = {.flags = flags, .format = how, .snapshot = snapshot};
  if (block_open_with(&b, image, &o, &error) == 0) {
    opened++;
    return b;
  }
  refused++;
  if (!error || !*error || strchr(error, '\n'))
    die("no line of text says what is wrong", error ? error : "nothing");
  return NULL;
}

static void use(bool write) {
  struct block_check c = {0};
  const char *error;
  struct block *b = try_open(0, rnd(2) ? format : NULL, NULL);
  if (b)
    look(b);
  block_close(b);
  if (!rnd(4) && (b = try_open(0, format, rnd(2) ? "one" : "2"))) {
    look(b);
    block_close(b);
  }
  if ((b = try_open(BLOCK_CHECK | BLOCK_NO_BACKING, format, NULL)))
    block_check(b, &c, BLOCK_REPAIR_NONE, &error);
  block_close(b);
  if (!write)
    return;
  if (rnd(2) && (b = try_open(BLOCK_WRITE | BLOCK_CHECK, format, NULL))) {
    block_check(b, &c, rnd(2) ? BLOCK_REPAIR_ALL : BLOCK_REPAIR_LEAKS, &error);
    block_close(b);
  }
  if ((b = try_open(BLOCK_WRITE, format, NULL))) {
    change(b);
    look(b);
    block_close(b);
  }
}

static void write_file(int fd, const void *data, uint64_t size, uint64_t at) {
  if (pwrite(fd, data, size, (off_t)at) != (ssize_t)size)
    die(image, strerror(errno));
}

static void one(uint64_t number, int fd) {
  struct change changes[DAMAGES];
  const struct template *t = &templates[number % template_count];
  if (dirty_file || on_disk != t) {
    if (ftruncate(fd, 0) < 0)
      die(image, strerror(errno));
    write_file(fd, t->data, t->size, 0);
    on_disk = t;
    dirty_file = false;
  }
  unsigned n = 1 + rnd(rnd(3) ? 3 : DAMAGES);
  for (unsigned i = 0; i < n; i++) {
    damage(t, &changes[i]);
    write_file(fd, changes[i].bytes, changes[i].len, changes[i].at);
  }
  bool cut = rnd(50) == 0, write = number / template_count % 4 == 0;
  if (cut && ftruncate(fd, rnd((uint32_t)t->size)) < 0)
    die(image, strerror(errno));
  alarm(20);
  use(write);
  dirty_file = cut || write;
  for (unsigned i = 0; i < n && !dirty_file; i++)
    write_file(fd, t->data + changes[i].at, changes[i].len, changes[i].at);
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: %s COUNT SEED DIRECTORY [FIRST]\n", argv[0]);
    return 2;
  }
  uint64_t count = strtoull(argv[1], NULL, 10), seed = strtoull(argv[2], NULL, 10);
  uint64_t first = argc > 4 ? strtoull(argv[4], NULL, 10) : 0;
  char number_file[4096];
  snprintf(image, sizeof image, "%s/fuzz.%s", argv[3], format);
  snprintf(base, sizeof base, "%s/base.raw", argv[3]);
  snprintf(number_file, sizeof number_file, "%s/number", argv[3]);
  make_all();
  int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600),
      number = open(number_file, O_WRONLY | O_CREAT, 0600);
  if (fd < 0 || number < 0)
    die(image, strerror(errno));
  for (uint64_t i = first; i < first + count; i++) {
    char text[32];
    write_file(number, text, (uint64_t)snprintf(text, sizeof text, "%-20llu\n", (unsigned long long)i), 0);
    state = (seed * 0x9e3779b97f4a7c15ull) ^ (i * 0xbf58476d1ce4e5b9ull + 0x94d049bb133111ebull);
    for (int n = 0; n < 4; n++)
      rnd(2);
    one(i, fd);
    if ((i + 1 - first) % 100000 == 0) {
      printf("%s: %llu\n", format, (unsigned long long)(i + 1 - first));
      fflush(stdout);
    }
  }
  printf("%s: %llu damaged images, opened %llu times, refused %llu times\n", format,
         (unsigned long long)count, (unsigned long long)opened, (unsigned long long)refused);
  return 0;
}
