/* SPDX-License-Identifier: MIT */
/* What the parts of compact disc images share: disc.c (files, frames) and cue.c (cue sheets). */
#ifndef DEVICES_BLOCK_DISC_INT_H
#define DEVICES_BLOCK_DISC_INT_H

#include "devices/block/block_int.h"
#include "devices/block/disc.h"
#include "devices/block/format.h"

#define DISC_MAX_FRAMES 450000u /* 100 minutes */
#define DISC_EXTENTS (4 * DISC_TRACKS)

struct disc_file {
  int fd;
  bool swapped;         /* samples are big-endian */
  bool wave;            /* holds sound only */
  uint64_t begin, size; /* the bytes that count */
};

/* A run of frames that lie one behind the other in a file, or in none (zeros). */
struct disc_extent {
  uint32_t lba, count;
  int file; /* -1: none */
  uint64_t offset;
  uint16_t stride; /* bytes a frame has in the file: 2048, 2336 or 2352 */
  uint8_t mode;
};

struct disc_image {
  struct disc disc;
  struct disc_file file[DISC_TRACKS];
  unsigned files;
  struct disc_extent extent[DISC_EXTENTS];
  unsigned extents;
};

/* disc.c. Open a file of a disc, for reading, locked against writers: its number, or -errno with a message.
 */
int disc_add_file(struct disc_image *image, const char *path, bool wave, bool swapped, const char **error);
/* Open b->path as a disc. 0; 1 = it isn't one, or only plain 2048-byte sectors; -errno with a message. */
int disc_open(struct block *b, const char **error);

/* cue.c. Fill the image from a cue sheet of `len` bytes. `path` says where it lies and what its name is. */
int cue_parse(struct disc_image *image, const char *path, const char *text, size_t len, const char **error);

#endif
