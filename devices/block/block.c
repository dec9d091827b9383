/* SPDX-License-Identifier: MIT */
/*
 * Disk images as the devices see them: sizes, bounds, write permission, memory images; which format a file
 * has and its chain of backing files; dispatch to the format (format.h) and to the snapshot overlay
 * (snapshot.c). All calls are synchronous.
 */
#include "devices/block/disc_int.h"
#include "devices/block/format.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct block_format *const formats[] = {
    &raw_format, &qcow2_format, &vdi_format, &vpc_format, &vmdk_format, &vhdx_format,
};

const struct block_format *block_format_at(unsigned index) {
  return index < sizeof formats / sizeof formats[0] ? formats[index] : NULL;
}

const struct block_format *block_format_named(const char *name) {
  for (unsigned i = 0; i < sizeof formats / sizeof formats[0]; i++)
    if (!strcmp(formats[i]->name, name))
      return formats[i];
  return NULL;
}

/* --- opening ------------------------------------------------------------------------------------------ */

static const struct block_format *probe(const struct block_probe *p) {
  const struct block_format *best = &raw_format;
  int score = 0;
  for (unsigned i = 0; i < sizeof formats / sizeof formats[0]; i++) {
    int n = formats[i]->probe ? formats[i]->probe(p) : 0;
    if (n > score)
      score = n, best = formats[i];
  }
  return best;
}

static int probe_file(struct block *b, const struct block_format **format) {
  struct block_probe *p = calloc(1, sizeof *p);
  if (!p)
    return -ENOMEM;
  p->path = b->path;
  p->file_size = b->file_size;
  p->head_len = b->file_size < sizeof p->head ? (unsigned)b->file_size : sizeof p->head;
  int result = file_read(b->fd, 0, p->head, p->head_len);
  if (!result && b->file_size >= sizeof p->tail)
    result = file_read(b->fd, b->file_size - sizeof p->tail, p->tail, sizeof p->tail);
  if (!result)
    *format = probe(p);
  free(p);
  return result;
}

/* Open the file and find out what it is. */
static int open_file(struct block *b, const struct block_options *o, const char **error) {
  bool write = (o->flags & BLOCK_WRITE) && !(o->flags & BLOCK_SNAPSHOT);
  const struct block_format *format = o->format ? block_format_named(o->format) : NULL;
  if (o->format && !format) {
    *error = block_message("'%s': there is no image format '%s'", b->path, o->format);
    return -EINVAL;
  }
  int result = file_open(b->path, write, &b->fd, &b->file_size, error);
  if (!result && !format) {
    result = probe_file(b, &format);
    if (result)
      *error = block_message("cannot read disk image '%s': %s", b->path, strerror(-result));
    b->probed = format == &raw_format;
  }
  if (result)
    return result;
  b->format = format;
  struct block_options how = *o;
  how.flags = (o->flags & ~(unsigned)(BLOCK_WRITE | BLOCK_SNAPSHOT | BLOCK_CD)) | (write ? BLOCK_WRITE : 0);
  *error = "out of memory";
  return format->open(b, &how, error);
}

static int open_block(struct block **out, const char *path, const struct block_options *o,
                      struct block *child, const char **error) {
  const char *ignored;
  if (!error)
    error = &ignored;
  struct block *b = calloc(1, sizeof *b);
  *out = NULL;
  *error = "out of memory";
  if (!b)
    return -ENOMEM;
  b->fd = -1;
  b->child = child;
  b->path = strdup(path);
  bool snapshot = o->flags & BLOCK_SNAPSHOT;
  int result = !b->path ? -ENOMEM : o->flags & BLOCK_CD && !o->format ? disc_open(b, error) : 1;
  if (result > 0)
    result = open_file(b, o, error);
  if (!result && snapshot)
    result = overlay_new(&b->overlay, b->size, error);
  if (result) {
    block_close(b);
    return result;
  }
  b->child = NULL;
  b->writable = snapshot || (o->flags & BLOCK_WRITE);
  *error = NULL;
  *out = b;
  return 0;
}

/* The overlay file, if there is none: an empty qcow2 image over `path`. */
static int make_overlay(const char *path, const struct block_options *o, const char **error) {
  struct block_options how = {.flags = o->flags & BLOCK_CD, .format = o->format};
  struct block *base;
  int result = block_open_with(&base, path, &how, error);
  if (result)
    return result;
  char *full = realpath(path, NULL);
  struct block_create c = {.size = base->size, .backing = full, .backing_format = block_format_name(base)};
  *error = "out of memory";
  result = !full ? -ENOMEM : block_format_named(c.backing_format) ? 0 : -ENOTSUP;
  if (result == -ENOTSUP)
    *error = block_message("'%s' cannot have an overlay", path);
  block_close(base);
  if (!result)
    result = block_create(o->overlay, "qcow2", &c, error);
  free(full);
  return result;
}

/* Is b's backing file the one that the user named? */
static int check_overlay(const struct block *b, const char *path, const char **error) {
  struct stat named, backing;
  if (b->backing && stat(path, &named) == 0 && fstat(b->backing->fd, &backing) == 0 &&
      named.st_dev == backing.st_dev && named.st_ino == backing.st_ino)
    return 0;
  *error = block_message("overlay '%s' belongs to %s%s, not to '%s'", b->path, b->backing ? "" : "no image",
                         b->backing ? b->backing->path : "", path);
  return -EINVAL;
}

int block_open_with(struct block **out, const char *path, const struct block_options *o, const char **error) {
  const char *ignored;
  error = error ? error : &ignored;
  if (!o->overlay)
    return open_block(out, path, o, NULL, error);
  *out = NULL;
  if (access(o->overlay, F_OK) < 0) {
    if (o->flags & BLOCK_SNAPSHOT)
      return open_block(out, path, o, NULL, error);
    int result = make_overlay(path, o, error);
    if (result)
      return result;
  }
  struct block_options how = {.flags = o->flags & ~(unsigned)BLOCK_CD, .format = "qcow2"};
  int result = open_block(out, o->overlay, &how, NULL, error);
  if (!result && (result = check_overlay(*out, path, error))) {
    block_close(*out);
    *out = NULL;
  }
  return result;
}

int block_open(struct block **out, const char *path, unsigned flags, const char **error) {
  struct block_options o = {.flags = flags};
  return block_open_with(out, path, &o, error);
}

void block_close(struct block *b) {
  if (!b)
    return;
  if (b->driver)
    b->driver->close(b);
  if (b->fd >= 0)
    close(b->fd);
  block_close(b->backing);
  overlay_free(b->overlay);
  free(b->backing_name);
  free(b->backing_format);
  free(b->path);
  free(b);
}

/* --- backing files ------------------------------------------------------------------------------------ */

/* Is the file already part of the chain that is being opened? Also counts the chain. */
static int in_chain(const struct block *b, const char *path, const char **error) {
  struct stat backing, own;
  unsigned depth = 0;
  if (stat(path, &backing) < 0)
    return 0; /* opening it says why */
  for (const struct block *at = b; at; at = at->child) {
    if (++depth == BLOCK_CHAIN) {
      *error = block_message("'%s': more than %u backing files behind each other", path, BLOCK_CHAIN);
      return -ELOOP;
    }
    if (fstat(at->fd, &own) == 0 && own.st_dev == backing.st_dev && own.st_ino == backing.st_ino) {
      *error = block_message("'%s' is its own backing file", path);
      return -ELOOP;
    }
  }
  return 0;
}

int block_open_backing(struct block *b, const char *name, const char *format, const char **error) {
  if (strchr(name, ':') && strncmp(name, "file:", 5) && strcspn(name, ":") < strcspn(name, "/")) {
    *error = block_message("'%s': backing file '%s' is not a local file", b->path, name);
    return -ENOTSUP;
  }
  char *path = block_path_beside(b->path, strncmp(name, "file:", 5) ? name : name + 5);
  if (!path)
    return -ENOMEM;
  struct block_options o = {.format = format};
  int result = in_chain(b, path, error);
  if (!result) {
    result = open_block(&b->backing, path, &o, b, error);
    if (result)
      *error = block_message("backing file of '%s': %s", b->path, *error);
  }
  free(path);
  return result;
}

int block_read_backing(struct block *b, uint64_t offset, void *buf, uint64_t len) {
  uint64_t size = b->backing ? b->backing->size : 0;
  uint64_t present = offset >= size ? 0 : size - offset < len ? size - offset : len;
  memset((uint8_t *)buf + present, 0, len - present);
  return present ? b->backing->driver->read(b->backing, offset, buf, present) : 0;
}

/* --- memory images ------------------------------------------------------------------------------------ */

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

static const struct block_driver memory_driver = {
    .read = memory_read, .write = memory_write, .flush = memory_flush, .close = memory_close};

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

/* --- use ---------------------------------------------------------------------------------------------- */

uint64_t block_size(const struct block *b) { return b->size; }
bool block_writable(const struct block *b) { return b->writable; }
const char *block_path(const struct block *b) { return b->path; }
const char *block_format_name(const struct block *b) {
  return b->format ? b->format->name : b->image ? "disc" : "memory";
}
const struct block *block_backing(const struct block *b) { return b->backing; }

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

/* Put the part of a write that falls into [at, at + len) there. */
static void lay_over(uint8_t *to, uint64_t at, uint64_t len, uint64_t offset, const uint8_t *from,
                     uint64_t count) {
  uint64_t begin = offset > at ? offset : at;
  uint64_t end = offset + count < at + len ? offset + count : at + len;
  if (begin < end)
    memcpy(to + (begin - at), from + (begin - offset), end - begin);
}

/*
 * Nobody said that the image is raw, so the next one to open it will look at its first and last sectors: if
 * the guest could write a qcow2 header there, it could name any file of the host as its backing file and read
 * it.
 */
static int check_disguise(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  uint64_t tail = b->size - SECTOR;
  if (offset >= BLOCK_PROBE_HEAD && offset + len <= tail)
    return 0;
  struct block_probe *p = calloc(1, sizeof *p);
  if (!p)
    return -ENOMEM;
  p->path = b->path;
  p->file_size = b->size;
  p->head_len = b->size < sizeof p->head ? (unsigned)b->size : sizeof p->head;
  int result = b->driver->read(b, 0, p->head, p->head_len);
  if (!result)
    result = b->driver->read(b, tail, p->tail, sizeof p->tail);
  if (!result) {
    lay_over(p->head, 0, p->head_len, offset, buf, len);
    lay_over(p->tail, tail, sizeof p->tail, offset, buf, len);
    const struct block_format *format = probe(p);
    if (format != &raw_format) {
      result = -EPERM;
      if (!b->complained)
        warn_report("the guest tried to make '%s' look like a %s image, and that write was refused: if it is "
                    "meant to hold one, say format=raw",
                    b->path, format->name);
      b->complained = true;
    }
  }
  free(p);
  return result;
}

int block_write(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  if (!b->writable)
    return -EROFS;
  if (!inside(b, offset, len))
    return -EINVAL;
  if (!len)
    return 0;
  int result = b->probed && !b->overlay ? check_disguise(b, offset, buf, len) : 0;
  if (!result)
    result = b->overlay ? overlay_write(b, offset, buf, len) : b->driver->write(b, offset, buf, len);
  if (result && !b->complained) {
    b->complained = true;
    warn_report("cannot write to %s'%s': %s; the guest sees a disk error",
                b->overlay ? "the temporary snapshot of " : "", b->path, strerror(-result));
  }
  return result;
}

bool block_ticks(const struct block *b) { return b->writable && b->driver->tick; }
void block_tick(struct block *b) {
  if (block_ticks(b))
    b->driver->tick(b);
}

int block_flush(struct block *b) { return b->writable && !b->overlay ? b->driver->flush(b) : 0; }

/* --- snapshots of a machine, and forks ---------------------------------------------------------------- */

bool block_is_apart(const struct block *b) { return b->overlay || b->original; }

static int each_of_memory(struct block *b, int (*each)(void *, uint64_t, const void *, size_t), void *opaque) {
  for (uint64_t at = 0; b->copy && at < b->size; at += SECTOR) {
    uint64_t n = at >= b->file_size ? 0 : b->file_size - at < SECTOR ? b->file_size - at : SECTOR;
    bool same = memcmp(b->copy + at, b->original + at, n) == 0;
    for (uint64_t i = n; same && i < SECTOR; i++)
      same = b->copy[at + i] == 0;
    int result = same ? 0 : each(opaque, at, b->copy + at, SECTOR);
    if (result)
      return result;
  }
  return 0;
}

int block_each_written(struct block *b, int (*each)(void *opaque, uint64_t offset, const void *data, size_t len),
                       void *opaque) {
  return b->overlay ? overlay_each(b, each, opaque) : b->original ? each_of_memory(b, each, opaque) : 0;
}

int block_forget_written(struct block *b) {
  const char *ignored;
  free(b->copy);
  b->copy = NULL;
  return b->overlay ? overlay_clear(b, &ignored) : 0;
}

int block_freeze(struct block *b, const char **error) {
  if (b->overlay)
    return overlay_freeze(b, error);
  if (!b->writable || b->original)
    return 0;
  *error = block_message("'%s' is written to directly, so that processes cannot share it: use -snapshot", b->path);
  return -EBUSY;
}

int block_forked(struct block *b, const char **error) { return b->overlay ? overlay_forked(b, error) : 0; }
