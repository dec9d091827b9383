/* SPDX-License-Identifier: MIT */
/* See image.h: what tools do with images, above block.c and the formats. */
#include "devices/block/image.h"

#include "devices/block/format.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define COMMIT_CHUNK (2u << 20)

const char *block_format_name_at(unsigned index) {
  return block_format_at(index) ? block_format_at(index)->name : NULL;
}
bool block_format_known(const char *name) { return block_format_named(name) != NULL; }

/* --- making ------------------------------------------------------------------------------------------- */

static bool option_known(const struct block_format *f, const char *key, size_t len) {
  for (const char *const *at = f->create_options; at && *at; at++)
    if (strlen(*at) == len && !strncmp(*at, key, len))
      return true;
  return false;
}

static int check_create(const char *path, const struct block_format *f, const struct block_create *c,
                        const char **error) {
  if (!f->create) {
    *error = block_message("'%s': Dragoman cannot make %s images", path, f->name);
    return -ENOTSUP;
  }
  if (c->backing && !f->backing) {
    *error = block_message("'%s': %s images have no backing files", path, f->name);
    return -ENOTSUP;
  }
  for (const char *at = c->options; at && *at;) {
    size_t len = strcspn(at, ",="), all = strcspn(at, ",");
    if (!option_known(f, at, len)) {
      *error = block_message("'%s': %s has no option '%.*s'", path, f->name, (int)len, at);
      return -EINVAL;
    }
    at += all + (at[all] == ',');
  }
  return 0;
}

int block_create(const char *path, const char *format, const struct block_create *c, const char **error) {
  const struct block_format *f = block_format_named(format);
  if (!f) {
    *error = block_message("'%s': there is no image format '%s'", path, format);
    return -EINVAL;
  }
  int result = check_create(path, f, c, error), fd;
  struct stat st;
  uint64_t size;
  if (result)
    return result;
  if (stat(path, &st) < 0) {
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
      result = -errno;
      *error = block_message("cannot make '%s': %s", path, strerror(-result));
      return result;
    }
    close(fd);
  }
  result = file_open(path, true, &fd, &size, error);
  if (result)
    return result;
  struct block_create rounded = *c;
  rounded.size = (c->size + SECTOR - 1) / SECTOR * SECTOR;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && ftruncate(fd, 0) < 0) {
    result = -errno;
    *error = block_message("cannot make '%s': %s", path, strerror(-result));
  } else {
    result = f->create(fd, path, &rounded, error);
  }
  close(fd);
  return result;
}

/* --- facts -------------------------------------------------------------------------------------------- */

int block_check(struct block *b, struct block_check *result, enum block_repair repair, const char **error) {
  *result = (struct block_check){.verbose = result->verbose};
  if (!b->format || !b->format->check) {
    *error = block_message("This image format does not support checks");
    return -ENOTSUP;
  }
  int r = b->format->check(b, result, repair);
  if (r)
    *error = block_message("checking '%s' failed: %s", b->path, strerror(-r));
  return r;
}

void block_info(struct block *b, struct block_info *info) {
  *info = (struct block_info){0};
  if (b->format && b->format->info && b->format->info(b, info))
    *info = (struct block_info){0};
}

uint64_t block_file_bytes(const struct block *b) {
  struct stat st;
  return b->fd >= 0 && fstat(b->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

const char *block_backing_name(const struct block *b) { return b->backing_name; }
const char *block_backing_format(const struct block *b) { return b->backing_format; }

int block_status(struct block *b, uint64_t offset, uint64_t len, uint64_t *run) {
  if (offset >= b->size)
    return -EINVAL;
  if (len > b->size - offset)
    len = b->size - offset;
  *run = len;
  return b->driver->status && !b->overlay ? b->driver->status(b, offset, len, run) : BLOCK_STATE_DATA;
}

int block_map(struct block *b, uint64_t offset, uint64_t len, uint64_t *run, unsigned *depth) {
  *run = len;
  *depth = 0;
  for (;;) {
    int state = block_status(b, offset, *run, run);
    if (state != BLOCK_STATE_UNALLOCATED || !b->backing)
      return state;
    b = b->backing;
    ++*depth;
    if (offset >= b->size) { /* behind the end of a shorter backing file */
      --*depth;
      return BLOCK_STATE_UNALLOCATED;
    }
  }
}

/* --- changing ----------------------------------------------------------------------------------------- */

int block_write_zeroes(struct block *b, uint64_t offset, uint64_t len) {
  static const uint8_t zeros[65536];
  if (!b->writable)
    return -EROFS;
  if (offset > b->size || len > b->size - offset)
    return -EINVAL;
  if (b->driver->write_zeroes && !b->overlay)
    return b->driver->write_zeroes(b, offset, len);
  while (len) {
    uint64_t n = len < sizeof zeros ? len : sizeof zeros;
    int result = block_write(b, offset, zeros, n);
    if (result)
      return result;
    offset += n, len -= n;
  }
  return 0;
}

bool block_can_compress(const struct block *b) { return b->driver->write_compressed != NULL; }

int block_write_compressed(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  if (!b->writable)
    return -EROFS;
  if (offset > b->size || len > b->size - offset)
    return -EINVAL;
  if (!b->driver->write_compressed || b->overlay)
    return block_write(b, offset, buf, len);
  return b->driver->write_compressed(b, offset, buf, len);
}

int block_resize(struct block *b, uint64_t size, const char **error) {
  if (!b->format || !b->format->resize) {
    *error = block_message("'%s': %s images cannot be resized", b->path, block_format_name(b));
    return -ENOTSUP;
  }
  return b->format->resize(b, (size + SECTOR - 1) / SECTOR * SECTOR, error);
}

int block_change_backing(struct block *b, const char *name, const char *format, const char **error) {
  if (!b->format || !b->format->change_backing) {
    *error = block_message("'%s': %s images have no backing files", b->path, block_format_name(b));
    return -ENOTSUP;
  }
  return b->format->change_backing(b, name, format, error);
}

/* Copy what b holds to `to`, which is as large or gets so. */
static int copy_down(struct block *b, struct block *to, void (*progress)(uint64_t, uint64_t)) {
  uint8_t *buf = malloc(COMMIT_CHUNK);
  int result = buf ? 0 : -ENOMEM;
  for (uint64_t at = 0, n; at < b->size && !result; at += n) {
    int state = block_status(b, at, COMMIT_CHUNK, &n);
    if (state < 0)
      result = state;
    else if (state == BLOCK_STATE_ZERO)
      result = block_write_zeroes(to, at, n);
    else if (state == BLOCK_STATE_DATA && !(result = b->driver->read(b, at, buf, n)))
      result = block_write(to, at, buf, n);
    if (progress && !result)
      progress(at + n, b->size);
  }
  free(buf);
  return result ? result : block_flush(to);
}

bool block_can_commit(const struct block *b) { return b->writable && (b->overlay || b->backing); }

static int write_piece(void *to, uint64_t offset, const void *data, size_t len) {
  return block_write(to, offset, data, len);
}

/* What -snapshot has kept apart goes to the image. The image is opened once more, for writing, and stays open
 * in this way: what the first opening knows of its tables is out of date then. */
static int commit_snapshot(struct block *b, const char **error) {
  struct block *to, old;
  struct block_options o = {.flags = BLOCK_WRITE, .format = block_format_name(b)};
  if (!b->format) {
    *error = block_message("'%s' cannot be written to", b->path);
    return -EROFS;
  }
  file_relock(b->fd, FILE_UNLOCKED);
  int result = block_open_with(&to, b->path, &o, error);
  if (result) {
    file_relock(b->fd, FILE_READER);
    return result;
  }
  result = block_each_written(b, write_piece, to);
  if (!result)
    result = block_flush(to);
  old = *b;
  *b = *to;
  *to = old;
  b->overlay = old.overlay;
  to->overlay = NULL;
  to->writable = false;
  block_close(to);
  file_relock(b->fd, FILE_READER);
  if (!result)
    result = block_forget_written(b);
  if (result)
    *error = block_message("committing '%s' failed: %s", b->path, strerror(-result));
  return result;
}

int block_commit(struct block *b, bool empty, void (*progress)(uint64_t, uint64_t), const char **error) {
  if (b->overlay)
    return commit_snapshot(b, error);
  if (!b->backing || !b->backing_name) {
    *error = block_message("'%s' has no backing file", b->path);
    return -ENOTSUP;
  }
  if (!b->writable) {
    *error = block_message("'%s' is not open for writing", b->path);
    return -EROFS;
  }
  /* The backing file is open and locked for reading. It stays so if it can't be opened for writing. */
  struct block *to = NULL;
  struct block_options o = {.flags = BLOCK_WRITE, .format = block_format_name(b->backing)};
  file_relock(b->backing->fd, FILE_UNLOCKED);
  int result = block_open_with(&to, b->backing->path, &o, error);
  if (result) {
    file_relock(b->backing->fd, FILE_READER);
    return result;
  }
  block_close(b->backing);
  b->backing = to;
  *error = NULL;
  if (to->size < b->size)
    result = block_resize(to, b->size, error);
  if (!result)
    result = copy_down(b, to, progress);
  if (!result && empty && b->driver->unmap) { /* only now that the backing's disk has it */
    result = b->driver->unmap(b, 0, b->size);
    result = result ? result : block_flush(b);
  }
  if (result && !*error)
    *error = block_message("committing '%s' failed: %s", b->path, strerror(-result));
  to->writable = false;
  file_relock(to->fd, FILE_READER);
  return result;
}

int block_snapshots(struct block *b, struct block_snapshot *list, unsigned max) {
  return b->format && b->format->snapshots ? b->format->snapshots(b, list, max) : -ENOTSUP;
}

int block_snapshot(struct block *b, enum block_snapshot_action action, const char *name, const char **error) {
  const struct block_format *f = b->format;
  *error = block_message("'%s': %s images have no internal snapshots", b->path, block_format_name(b));
  if (!f || !f->snapshot_create || !f->snapshot_apply || !f->snapshot_delete)
    return -ENOTSUP;
  if (!b->writable)
    return -EROFS;
  switch (action) {
  case BLOCK_SNAPSHOT_CREATE: return f->snapshot_create(b, name, error);
  case BLOCK_SNAPSHOT_APPLY: return f->snapshot_apply(b, name, error);
  default: return f->snapshot_delete(b, name, error);
  }
}
