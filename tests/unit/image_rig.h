/* SPDX-License-Identifier: MIT */
/* For tests of image formats: a directory of images, bytes put into files, and random use against a model. */
#ifndef TESTS_UNIT_IMAGE_RIG_H
#define TESTS_UNIT_IMAGE_RIG_H

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "devices/block/format.h"
#include "tests/unit/rig.h"

static char image_dir[40];
static char image_text[8][320];

/* The path of a file in the directory; eight of them live at a time. */
static inline const char *image_path(const char *name) {
  static unsigned next;
  char *text = image_text[next++ % 8];
  snprintf(text, sizeof image_text[0], "%s/%s", image_dir, name);
  return text;
}

static inline void image_begin(void) {
  snprintf(image_dir, sizeof image_dir, "/tmp/dragoman-image-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(image_dir));
}

static inline void image_end(void) {
  DIR *d = opendir(image_dir);
  ck_assert_ptr_nonnull(d);
  for (struct dirent *e; (e = readdir(d));)
    if (e->d_name[0] != '.')
      unlink(image_path(e->d_name));
  closedir(d);
  ck_assert_int_eq(rmdir(image_dir), 0);
}

static inline void image_create(const char *name, const char *format, uint64_t size, const char *options,
                                const char *backing) {
  struct block_create c = {.size = size, .options = options, .backing = backing};
  const char *error = NULL;
  int fd = open(image_path(name), O_RDWR | O_CREAT | O_TRUNC, 0600);
  ck_assert_int_ge(fd, 0);
  int result = block_format_named(format)->create(fd, image_path(name), &c, &error);
  close(fd);
  ck_assert_msg(!result, "%s: %s", name, error);
}

static inline struct block *image_open(const char *name, const char *format, unsigned flags) {
  struct block_options o = {.format = format, .flags = flags};
  struct block *b;
  const char *error;
  int result = block_open_with(&b, image_path(name), &o, &error);
  ck_assert_msg(!result, "%s: %s", name, error);
  return b;
}

/* Must not open; the message says `words` in one line and names the file. */
static inline void image_refused(const char *name, const char *format, unsigned flags, int expected,
                                 const char *words) {
  struct block_options o = {.format = format, .flags = flags};
  struct block *b;
  const char *error;
  ck_assert_int_eq(block_open_with(&b, image_path(name), &o, &error), expected);
  ck_assert_ptr_null(b);
  ck_assert_msg(strstr(error, words) && strstr(error, image_dir) && !strchr(error, '\n'), "%s", error);
}

/* Bytes into a file that is closed. */
static inline void image_poke(const char *name, uint64_t at, const void *data, size_t len) {
  int fd = open(image_path(name), O_RDWR | O_CREAT, 0600);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(file_write(fd, at, data, len), 0);
  close(fd);
}
static inline void image_peek(const char *name, uint64_t at, void *data, size_t len) {
  int fd = open(image_path(name), O_RDONLY);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(file_read_padded(fd, at, data, len), 0);
  close(fd);
}
static inline uint64_t image_length(const char *name) {
  struct stat st;
  ck_assert_int_eq(stat(image_path(name), &st), 0);
  return (uint64_t)st.st_size;
}

static inline struct block_check image_check(const char *name, enum block_repair repair) {
  struct block *b = image_open(name, NULL, BLOCK_CHECK | (repair ? BLOCK_WRITE : 0));
  struct block_check c = {0};
  ck_assert_int_eq(b->format->check(b, &c, repair), 0);
  block_close(b);
  return c;
}
static inline void image_clean(const char *name) {
  struct block_check c = image_check(name, BLOCK_REPAIR_NONE);
  ck_assert_uint_eq(c.corruptions + c.errors, 0);
}

static inline void image_same(struct block *b, const uint8_t *model, uint64_t size) {
  uint8_t *all = malloc(size);
  ck_assert_ptr_nonnull(all);
  ck_assert_int_eq(block_read(b, 0, all, size), 0);
  for (uint64_t at = 0; at < size; at++)
    if (all[at] != model[at])
      ck_abort_msg("byte %llu is %02x, not %02x", (unsigned long long)at, all[at], model[at]);
  free(all);
}

static inline uint64_t image_random_at(uint32_t *seed, uint64_t size, uint64_t *len) {
  uint64_t at = rig_random(seed) % size;
  if (rig_random(seed) % 2)
    at -= at % SECTOR;
  *len = rig_random(seed) % (rig_random(seed) % 8 ? 9000 : 300000) + 1;
  *len = *len < size - at ? *len : size - at;
  return at;
}

/* Random writes, zeros and reads of all lengths: here and in the model, which is what the disk holds now. */
static inline void image_exercise(struct block *b, uint8_t *model, uint64_t size, unsigned count,
                                  uint32_t seed) {
  uint8_t *buf = malloc(300001);
  for (unsigned i = 0; i < count; i++) {
    uint64_t len, at = image_random_at(&seed, size, &len);
    switch (rig_random(&seed) % 4) {
    case 0:
      ck_assert_int_eq(block_read(b, at, buf, len), 0);
      ck_assert_mem_eq(buf, model + at, len);
      break;
    case 1:
      ck_assert_ptr_nonnull(b->driver->write_zeroes);
      ck_assert_int_eq(b->driver->write_zeroes(b, at, len), 0);
      memset(model + at, 0, len);
      break;
    default:
      for (uint64_t n = 0; n < len; n++)
        buf[n] = (uint8_t)rig_random(&seed);
      memcpy(model + at, buf, len);
      ck_assert_int_eq(block_write(b, at, buf, len), 0);
    }
    if (i % 50 == 0)
      ck_assert_int_eq(block_flush(b), 0);
  }
  image_same(b, model, size);
  for (uint64_t at = 0, run; at < size; at += run) { /* what is said of it is true */
    int state = b->driver->status(b, at, size - at, &run);
    ck_assert(state >= 0 && run >= 1 && run <= size - at);
    for (uint64_t i = 0; state == BLOCK_STATE_ZERO && i < run; i++)
      if (model[at + i]) /* (an assertion a byte would take long) */
        ck_abort_msg("byte %llu is said to be zero", (unsigned long long)(at + i));
  }
  free(buf);
}

/* A new image, filled, closed, opened again and checked. */
static inline void image_model_test(const char *format, const char *options, uint64_t size) {
  uint8_t *model = calloc(1, size);
  image_create("disk", format, size, options, NULL);
  struct block *b = image_open("disk", format, BLOCK_WRITE);
  ck_assert_uint_ge(block_size(b), size);
  image_exercise(b, model, size, 300, 5);
  block_close(b);
  image_clean("disk");
  b = image_open("disk", NULL, 0);
  ck_assert_str_eq(block_format_name(b), format);
  image_same(b, model, size);
  block_close(b);
  free(model);
}

/* Write whole pieces of a value of their own, one after the other, flushing and telling through a pipe how
 * far it came: with `limit` until the file may grow no more, else until somebody ends it. */
#define IMAGE_PIECE 24576u
static inline void image_writer(const char *name, const char *format, uint64_t size, uint64_t limit,
                                int tell) {
  static uint8_t buf[IMAGE_PIECE];
  struct rlimit l = {limit, limit};
  freopen("/dev/null", "w", stderr);
  signal(SIGXFSZ, SIG_IGN);
  struct block *b = image_open(name, format, BLOCK_WRITE);
  if (limit)
    setrlimit(RLIMIT_FSIZE, &l);
  uint32_t pieces = (uint32_t)(size / IMAGE_PIECE);
  for (uint32_t i = 0; i < pieces; i++) { /* in a mixed order: 7 and `pieces` have no common divisor */
    uint32_t piece = (uint32_t)(i * 7ull % pieces);
    memset(buf, (int)(i % 251 + 1), sizeof buf);
    bool done = block_write(b, (uint64_t)piece * IMAGE_PIECE, buf, sizeof buf) == 0 && block_flush(b) == 0;
    if (!done)
      continue;
    if (write(tell, &i, sizeof i) != sizeof i)
      break;
  }
  if (!limit)
    for (;;)
      pause();
  _exit(0); /* without closing */
}

/* After an unlucky end: the image checks clean, and what was flushed is there. */
static inline void image_crash_test(const char *name, const char *format, uint64_t size, uint64_t limit,
                                    unsigned after_us) {
  int pipes[2], status;
  uint32_t pieces = (uint32_t)(size / IMAGE_PIECE), i, flushed = 0;
  ck_assert_int_eq(pipe(pipes), 0);
  pid_t child = fork();
  if (child == 0) {
    close(pipes[0]);
    image_writer(name, format, size, limit, pipes[1]);
  }
  close(pipes[1]);
  bool *done = calloc(pieces, 1);
  if (!limit) {
    ck_assert_int_eq(read(pipes[0], &i, sizeof i), sizeof i);
    done[i] = true;
    usleep(after_us);
    kill(child, SIGKILL);
  }
  while (read(pipes[0], &i, sizeof i) == sizeof i)
    done[i] = true, flushed++;
  close(pipes[0]);
  ck_assert_int_eq(waitpid(child, &status, 0), child);
  image_clean(name);
  struct block *b = image_open(name, format, 0);
  static uint8_t buf[IMAGE_PIECE];
  for (i = 0; i < pieces; i++) {
    ck_assert_int_eq(block_read(b, i * 7ull % pieces * IMAGE_PIECE, buf, sizeof buf), 0);
    for (unsigned n = 0; done[i] && n < sizeof buf; n++)
      if (buf[n] != i % 251 + 1)
        ck_abort_msg("%s: piece %u was flushed, and is lost at %u", name, i, n);
  }
  block_close(b);
  free(done);
  if (limit)
    ck_assert_msg(flushed < pieces, "the limit of %llu was none", (unsigned long long)limit);
}

#endif
