/* SPDX-License-Identifier: MIT */
/*
 * Disk images. Opened read-only unless the caller asks for writing; a writable image is locked against a
 * second writer (and a reader against a writer) with OFD locks. With `snapshot` writes go to an unlinked
 * temporary overlay and the image itself is never written.
 */
#ifndef DEVICES_BLOCK_BLOCK_H
#define DEVICES_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SECTOR 512u

struct block; /* opaque */

/* BLOCK_CD: may also be a cue sheet or a raw track, see disc.h; read-only. */
/* BLOCK_CHECK: to look into or mend the image, not for a guest: damaged ones open too.
 * BLOCK_NO_BACKING: leave the backing file closed. */
enum block_flags {
  BLOCK_WRITE = 1,
  BLOCK_SNAPSHOT = 2,
  BLOCK_CD = 4,
  BLOCK_CHECK = 8,
  BLOCK_NO_BACKING = 16,
};

struct block_options {
  unsigned flags;
  const char *format;   /* raw, qcow2 ...; NULL: look at the file */
  const char *overlay;  /* writes go to this qcow2 file, which is made if it isn't there; NULL: no */
  const char *snapshot; /* read this internal snapshot instead of the current disk; NULL: no */
};

/* 0 or -errno; *error receives one clear line that says what to do (static, valid until the next failure). */
int block_open(struct block **out, const char *path, unsigned flags, const char **error);
int block_open_with(struct block **out, const char *path, const struct block_options *o, const char **error);
/* A memory image (the embedded demo disk): writes are kept in memory. `data` must outlive the block. */
struct block *block_open_memory(const char *name, const void *data, uint64_t size);
void block_close(struct block *b);
uint64_t block_size(const struct block *b); /* bytes */
bool block_writable(const struct block *b);
const char *block_path(const struct block *b);
const char *block_format_name(const struct block *b);     /* raw, qcow2 ...; "memory", "disc" */
const struct block *block_backing(const struct block *b); /* NULL: none */
/* Now and then, if it may be long until the next access: what waits in memory for a second goes to the file.
 */
void block_tick(struct block *b);
bool block_ticks(const struct block *b); /* it may have something to do */
int block_read(struct block *b, uint64_t offset, void *buf,
               uint64_t len); /* 0 or -errno; past the end: -EINVAL */
int block_write(struct block *b, uint64_t offset, const void *buf, uint64_t len); /* -EROFS, -ENOSPC ... */
/*
 * For snapshots of a whole machine: is what the guest writes kept apart from the image? Then each piece of it, and
 * the block as it was when it was opened. 0 or -errno.
 */
bool block_is_apart(const struct block *b);
int block_each_written(struct block *b, int (*each)(void *opaque, uint64_t offset, const void *data, size_t len),
                       void *opaque);
int block_forget_written(struct block *b);
/*
 * For fork: before it, in the parent, what was written becomes a layer that nobody writes to any more; in the
 * child, the parent's further writes are not seen and its own go elsewhere. The image below must not be
 * written to. -EBUSY: it is, by this block. *error as for block_open.
 */
int block_freeze(struct block *b, const char **error);
int block_forked(struct block *b, const char **error);
int block_flush(struct block *b); /* data and metadata reach the disk */

#endif
