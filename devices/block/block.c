/* SPDX-License-Identifier: MIT */
/*
 * Disk images as the devices see them: sizes, bounds, write permission, memory images; dispatch to the image
 * format (raw.c) and to the snapshot overlay (snapshot.c). All calls are synchronous.
 */
#include "devices/block/disc_int.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const char *block_message(const char *format, ...) {
  static char text[4600]; /* a path and some words */
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  return text;
}

int block_open(struct block **out, const char *path, unsigned flags, const char **error) {
  const char *ignored;
  if (!error)
    error = &ignored;
  struct block *b = calloc(1, sizeof *b);
  *out = NULL;
  *error = "out of memory";
  if (!b)
    return -ENOMEM;
  b->fd = -1;
  b->driver = &raw_driver;
  b->path = strdup(path);
  bool snapshot = flags & BLOCK_SNAPSHOT;
  int result = !b->path ? -ENOMEM : flags & BLOCK_CD ? disc_open(b, error) : 1;
  if (result > 0)
    result = raw_open(b, (flags & BLOCK_WRITE) && !snapshot, error);
  if (!result && snapshot)
    result = overlay_new(&b->overlay, b->size, error);
  if (result) {
    block_close(b);
    return result;
  }
  b->writable = snapshot || (flags & BLOCK_WRITE);
  *error = NULL;
  *out = b;
  return 0;
}

static int memory_read(struct block *b, uint64_t offset, void *buf, uint64_t len) {
  if (b->copy) {
    memcpy(buf, b->copy + offset, len);
    return 0;
  }
  uint64_t present = offset >= b->file_size ? 0 : b->file_size - offset < len ? b->file_size - offset : len;
  if (present)
    memcpy(buf, b->original + offset, present);
  memset((uint8_t *)buf + present, 0, len - present);
  return 0;
}

static int memory_write(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  if (!b->copy) {
    uint8_t *copy = calloc(1, b->size);
    if (!copy)
      return -ENOMEM;
    memcpy(copy, b->original, b->file_size);
    b->copy = copy;
  }
  memcpy(b->copy + offset, buf, len);
  return 0;
}

static int memory_flush(struct block *b) {
  (void)b;
  return 0;
}

static void memory_close(struct block *b) { free(b->copy); }

static const struct block_driver memory_driver = {memory_read, memory_write, memory_flush, memory_close};

struct block *block_open_memory(const char *name, const void *data, uint64_t size) {
  struct block *b = calloc(1, sizeof *b);
  if (!b)
    return NULL;
  b->path = strdup(name);
  if (!b->path) {
    free(b);
    return NULL;
  }
  b->fd = -1;
  b->driver = &memory_driver;
  b->original = data;
  b->file_size = size;
  b->size = (size + SECTOR - 1) / SECTOR * SECTOR;
  b->writable = true;
  return b;
}

void block_close(struct block *b) {
  if (!b)
    return;
  b->driver->close(b);
  overlay_free(b->overlay);
  free(b->path);
  free(b);
}

uint64_t block_size(const struct block *b) { return b->size; }
bool block_writable(const struct block *b) { return b->writable; }
const char *block_path(const struct block *b) { return b->path; }

static bool inside(const struct block *b, uint64_t offset, uint64_t len) {
  return offset <= b->size && len <= b->size - offset;
}

int block_read(struct block *b, uint64_t offset, void *buf, uint64_t len) {
  if (!inside(b, offset, len))
    return -EINVAL;
  if (!len)
    return 0;
  return b->overlay ? overlay_read(b, offset, buf, len) : b->driver->read(b, offset, buf, len);
}

int block_write(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  if (!b->writable)
    return -EROFS;
  if (!inside(b, offset, len))
    return -EINVAL;
  if (!len)
    return 0;
  int result = b->overlay ? overlay_write(b, offset, buf, len) : b->driver->write(b, offset, buf, len);
  if (result && !b->complained) {
    b->complained = true;
    warn_report("cannot write to %s'%s': %s; the guest sees a disk error",
                b->overlay ? "the temporary snapshot of " : "", b->path, strerror(-result));
  }
  return result;
}

int block_flush(struct block *b) { return b->writable && !b->overlay ? b->driver->flush(b) : 0; }
