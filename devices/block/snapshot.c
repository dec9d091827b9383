/* SPDX-License-Identifier: MIT */
/*
 * The overlay of BLOCK_SNAPSHOT: what the guest writes goes to a sparse temporary file without a name, at the
 * offset it would have in the image; a bitmap knows which clusters live there. Below it there may be others
 * that are only read: those that processes share after a fork.
 */
#include "devices/block/format.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLUSTER 4096u

struct overlay {
  int fd;
  uint8_t *present; /* one bit a cluster */
  bool used;        /* some bit is set */
  struct overlay *below; /* NULL: the image */
};

static int temporary_file(const char *directory) {
  int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
    return fd;
  char name[4096];
  if ((size_t)snprintf(name, sizeof name, "%s/dragoman-XXXXXX", directory) >= sizeof name) {
    errno = ENAMETOOLONG;
    return -1;
  }
  fd = mkostemp(name, O_CLOEXEC);
  if (fd >= 0)
    unlink(name);
  return fd;
}

int overlay_new(struct overlay **out, uint64_t size, const char **error) {
  const char *directory = getenv("TMPDIR");
  if (!directory || !*directory)
    directory = "/var/tmp";
  struct overlay *o = calloc(1, sizeof *o);
  if (!o)
    return -ENOMEM;
  o->fd = -1;
  o->present = calloc(1, size / CLUSTER / 8 + 1);
  if (!o->present) {
    overlay_free(o);
    return -ENOMEM;
  }
  o->fd = temporary_file(directory);
  if (o->fd < 0) {
    int result = -errno;
    *error =
        block_message("-snapshot: cannot make a temporary file in '%s': %s (set TMPDIR to another directory)",
                      directory, strerror(-result));
    overlay_free(o);
    return result;
  }
  *out = o;
  return 0;
}

void overlay_free(struct overlay *o) {
  for (struct overlay *below; o; o = below) {
    below = o->below;
    if (o->fd >= 0)
      close(o->fd);
    free(o->present);
    free(o);
  }
}

static bool has(const struct overlay *o, uint64_t cluster) {
  return o->present[cluster / 8] >> cluster % 8 & 1;
}
static void mark(struct overlay *o, uint64_t cluster) {
  o->present[cluster / 8] |= (uint8_t)(1u << cluster % 8);
  o->used = true;
}

/* The overlay that holds the cluster; NULL: none. */
static struct overlay *holder(struct overlay *o, uint64_t cluster) {
  while (o && !has(o, cluster))
    o = o->below;
  return o;
}

int overlay_read(struct block *b, uint64_t offset, void *buf, uint64_t len) {
  struct overlay *o = b->overlay;
  for (uint8_t *to = buf; len;) {
    struct overlay *here = holder(o, offset / CLUSTER);
    uint64_t n = CLUSTER - offset % CLUSTER;
    while (n < len && holder(o, (offset + n) / CLUSTER) == here)
      n += CLUSTER;
    if (n > len)
      n = len;
    int result = here ? file_read(here->fd, offset, to, n) : b->driver->read(b, offset, to, n);
    if (result)
      return result;
    to += n, offset += n, len -= n;
  }
  return 0;
}

/* A write to part of a cluster that lives elsewhere: take the whole cluster over. */
static int write_part(struct block *b, uint64_t offset, const uint8_t *from, uint64_t len) {
  uint8_t cluster[CLUSTER] = {0};
  uint64_t start = offset - offset % CLUSTER;
  uint64_t have = b->size - start < CLUSTER ? b->size - start : CLUSTER;
  int result = overlay_read(b, start, cluster, have);
  if (result)
    return result;
  memcpy(cluster + offset % CLUSTER, from, len);
  return file_write(b->overlay->fd, start, cluster, CLUSTER);
}

int overlay_write(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  struct overlay *o = b->overlay;
  for (const uint8_t *from = buf; len;) {
    uint64_t n = CLUSTER - offset % CLUSTER < len ? CLUSTER - offset % CLUSTER : len;
    bool whole = n == CLUSTER;
    if (whole)
      n = len - len % CLUSTER; /* all the whole clusters at once */
    int result = whole || has(o, offset / CLUSTER) ? file_write(o->fd, offset, from, n)
                                                   : write_part(b, offset, from, n);
    if (result)
      return result;
    for (uint64_t at = offset / CLUSTER; at <= (offset + n - 1) / CLUSTER; at++)
      mark(o, at);
    from += n, offset += n, len -= n;
  }
  return 0;
}

/* --- snapshots and forks ------------------------------------------------------------------------------ */

int overlay_each(struct block *b, int (*each)(void *, uint64_t, const void *, size_t), void *opaque) {
  uint8_t cluster[CLUSTER];
  for (uint64_t at = 0; at < b->size; at += CLUSTER) {
    if (at / CLUSTER % 8 == 0) { /* eight at once */
      bool any = false;
      for (const struct overlay *o = b->overlay; o && !any; o = o->below)
        any = o->present[at / CLUSTER / 8] != 0;
      if (!any) {
        at += 7 * CLUSTER;
        continue;
      }
    }
    if (!holder(b->overlay, at / CLUSTER))
      continue;
    uint64_t n = b->size - at < CLUSTER ? b->size - at : CLUSTER;
    int result = overlay_read(b, at, cluster, n);
    if (!result)
      result = each(opaque, at, cluster, n);
    if (result)
      return result;
  }
  return 0;
}

/* A new one in place of the topmost, or on it. */
static int renew(struct block *b, bool on_top, const char **error) {
  struct overlay *o, *old = b->overlay;
  int result = overlay_new(&o, b->size, error);
  if (result)
    return result;
  o->below = on_top ? old : old->below;
  if (!on_top) {
    old->below = NULL;
    overlay_free(old);
  }
  b->overlay = o;
  return 0;
}

int overlay_clear(struct block *b, const char **error) {
  overlay_free(b->overlay->below);
  b->overlay->below = NULL;
  return renew(b, false, error);
}

int overlay_freeze(struct block *b, const char **error) { return b->overlay->used ? renew(b, true, error) : 0; }

int overlay_forked(struct block *b, const char **error) { return renew(b, false, error); }
