/* SPDX-License-Identifier: MIT */
/* What block.c and the image formats share. Not for devices. */
#ifndef DEVICES_BLOCK_BLOCK_INT_H
#define DEVICES_BLOCK_BLOCK_INT_H

#include "core/device.h"
#include "devices/block/block.h"

struct block_driver { /* offsets and lengths were checked against block->size */
  int (*read)(struct block *b, uint64_t offset, void *buf, uint64_t len);
  int (*write)(struct block *b, uint64_t offset, const void *buf, uint64_t len);
  int (*flush)(struct block *b);
  void (*close)(struct block *b);
};

struct overlay; /* snapshot.c */
struct disc_image; /* disc.c */

struct block {
  const struct block_driver *driver;
  char *path;
  uint64_t size;           /* what the guest sees: a multiple of SECTOR */
  bool writable;           /* by the guest */
  bool complained;         /* a failed write was reported to the user */
  int fd;                  /* raw.c */
  uint64_t file_size;      /* raw.c: bytes that exist; the rest of the last sector reads as zeros */
  const uint8_t *original; /* memory image */
  uint8_t *copy;           /* memory image, once written */
  struct disc_image *image; /* disc.c: the tracks of a compact disc; NULL for other images */
  struct overlay *overlay; /* writes go here; NULL without BLOCK_SNAPSHOT */
};

extern const struct block_driver raw_driver;
/* Open the file, check and lock it, set fd, file_size and size. */
int raw_open(struct block *b, bool write, const char **error);
/* Read and write all of it; 0 or -errno. End of file: -ENODATA. */
int file_read(int fd, uint64_t offset, void *buf, uint64_t len);
int file_write(int fd, uint64_t offset, const void *buf, uint64_t len);
/* A message for *error: one line, valid until the next one. */
const char *block_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* An empty overlay in $TMPDIR or /var/tmp for an image of `size` bytes. */
int overlay_new(struct overlay **out, uint64_t size, const char **error);
void overlay_free(struct overlay *o);
int overlay_read(struct block *b, uint64_t offset, void *buf, uint64_t len);
int overlay_write(struct block *b, uint64_t offset, const void *buf, uint64_t len);

#endif
