/* SPDX-License-Identifier: MIT */
/* What block.c, the overlay, discs and the image formats (format.h) share. Not for devices. */
#ifndef DEVICES_BLOCK_BLOCK_INT_H
#define DEVICES_BLOCK_BLOCK_INT_H

#include "core/device.h"
#include "devices/block/block.h"

struct block_driver { /* offsets and lengths were checked against block->size */
  int (*read)(struct block *b, uint64_t offset, void *buf, uint64_t len);
  int (*write)(struct block *b, uint64_t offset, const void *buf, uint64_t len); /* may be NULL: read-only */
  int (*flush)(struct block *b);
  /* Optional. Called now and then: what waits in memory since a second ago or more should reach the file. */
  void (*tick)(struct block *b);
  void (*close)(struct block *b); /* not b->fd and b->backing: block.c closes them */
  /* Optional. What is at `offset`, and *run: how far it goes, 1 to len bytes. An enum block_state or -errno.
   */
  int (*status)(struct block *b, uint64_t offset, uint64_t len, uint64_t *run);
  /* Optional. As a write of zeros. */
  int (*write_zeroes)(struct block *b, uint64_t offset, uint64_t len);
  /* Optional. Whole clusters become the backing's again (zeros without one); parts of clusters stay. */
  int (*unmap)(struct block *b, uint64_t offset, uint64_t len);
  /* Optional. A whole cluster (or the last one) that was never written; -ENOTSUP: not in this kind of file.
   */
  int (*write_compressed)(struct block *b, uint64_t offset, const void *buf, uint64_t len);
};

struct overlay;    /* snapshot.c */
struct disc_image; /* disc.c */
struct block_format;

struct block {
  const struct block_driver *driver;
  const struct block_format *format; /* NULL: a memory image or a disc */
  char *path;
  uint64_t size;            /* what the guest sees: a multiple of SECTOR */
  bool writable;            /* by the guest */
  bool complained;          /* a failed write was reported to the user */
  bool probed;              /* nobody said format=raw: the guest must not make it look like another one */
  int fd;                   /* of the file; -1: none */
  uint64_t file_size;       /* when it was opened; the format keeps it up to date if it needs it */
  void *state;              /* the format's own */
  struct block *backing;    /* what it doesn't hold is there; NULL: none */
  struct block *child;      /* while opening: the image whose backing this is */
  char *backing_name;       /* as the image says; NULL: none */
  char *backing_format;     /* as the image says; NULL: not said */
  const uint8_t *original;  /* memory image */
  uint8_t *copy;            /* memory image, once written */
  struct disc_image *image; /* disc.c: the tracks of a compact disc; NULL for other images */
  struct overlay *overlay;  /* writes go here; NULL without BLOCK_SNAPSHOT */
};

/* An empty overlay in $TMPDIR or /var/tmp for an image of `size` bytes. */
int overlay_new(struct overlay **out, uint64_t size, const char **error);
void overlay_free(struct overlay *o);
int overlay_read(struct block *b, uint64_t offset, void *buf, uint64_t len);
int overlay_write(struct block *b, uint64_t offset, const void *buf, uint64_t len);
/* What block_each_written and so on do with an overlay. */
int overlay_each(struct block *b, int (*each)(void *, uint64_t, const void *, size_t), void *opaque);
int overlay_clear(struct block *b, const char **error);
int overlay_freeze(struct block *b, const char **error);
int overlay_forked(struct block *b, const char **error);

#endif
