/* SPDX-License-Identifier: MIT */
/*
 * What an image format is to block.c, and what block.c does for it. To add one: a struct block_format in a
 * file of its own, a line in `formats` of block.c and one in Makefile.in. Everything read from an image is
 * hostile: check every offset, size and count before it is used; memory and work must be bounded by what the
 * file really holds, or by a fixed limit.
 *
 * block.c opens and locks the file (b->fd, b->path, b->file_size are set), finds the format and calls open(),
 * which sets b->driver, b->size and b->state. When open() fails, it has freed what it made; block.c closes
 * b->fd and b->backing. Offsets and lengths given to a driver lie inside of b->size.
 */
#ifndef DEVICES_BLOCK_FORMAT_H
#define DEVICES_BLOCK_FORMAT_H

#include "devices/block/block_int.h"
#include "devices/block/image.h"

#define BLOCK_PROBE_HEAD 4096u

/* What is known of a file before its format is. */
struct block_probe {
  const char *path;
  uint64_t file_size;
  uint8_t head[BLOCK_PROBE_HEAD]; /* the first `head_len` bytes, then zeros */
  unsigned head_len;
  uint8_t tail[SECTOR]; /* the last 512 bytes; zeros if the file is shorter */
};

void block_info_add(struct block_info *info, const char *key, bool text, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

struct block_format {
  const char *name;                  /* qemu-img's: raw, qcow2, vmdk, vdi, vpc, vhdx */
  const char *const *create_options; /* NULL-terminated names of -o's keys; NULL: none */
  bool backing;                      /* create() takes a backing file */
  /* 0 (no) to 100 (surely). */
  int (*probe)(const struct block_probe *p);
  /* o->flags & BLOCK_WRITE: the guest will write. A format (or kind of file) that can't be written refuses
   * with -EROFS and says so. 0 or -errno and a message by block_message(). */
  int (*open)(struct block *b, const struct block_options *o, const char **error);
  /* Fill the file `fd`, which is empty, locked and open for reading and writing. NULL: cannot be made. */
  int (*create)(int fd, const char *path, const struct block_create *c, const char **error);
  /* All optional. Of an open block: */
  int (*check)(struct block *b, struct block_check *result, enum block_repair repair);
  int (*info)(struct block *b, struct block_info *info);
  int (*resize)(struct block *b, uint64_t size, const char **error);
  int (*change_backing)(struct block *b, const char *name, const char *format, const char **error);
  /* Internal snapshots: list up to `max`, returns how many there are or -errno; the others 0 or -errno. */
  int (*snapshots)(struct block *b, struct block_snapshot *list, unsigned max);
  int (*snapshot_create)(struct block *b, const char *name, const char **error);
  int (*snapshot_apply)(struct block *b, const char *name, const char **error);
  int (*snapshot_delete)(struct block *b, const char *name, const char **error);
};

extern const struct block_format raw_format, qcow2_format, vdi_format, vpc_format, vmdk_format, vhdx_format;
const struct block_format *block_format_named(const char *name); /* NULL: not known */
const struct block_format *block_format_at(unsigned index);      /* NULL: past the last */

/* Open b->backing: `name` as it stands in the image b (relative to its directory), format NULL: probe.
 * Read-only, locked against writers; loops and more than BLOCK_CHAIN images are refused. */
#define BLOCK_CHAIN 64u
int block_open_backing(struct block *b, const char *name, const char *format, const char **error);
/* From the backing; zeros behind its end and without one. */
int block_read_backing(struct block *b, uint64_t offset, void *buf, uint64_t len);
/* `name` as seen from the directory of the file `path`; to be freed. NULL: no memory. */
char *block_path_beside(const char *path, const char *name);

/* Open and lock another file of an image (a VMDK extent). Sets *fd and *size. */
int file_open(const char *path, bool write, int *fd, uint64_t *size, const char **error);
/* Another lock for an open file. */
enum file_lock { FILE_UNLOCKED, FILE_READER };
int file_relock(int fd, enum file_lock lock);
/* Read and write all of it; 0 or -errno. End of file: -ENODATA. */
int file_read(int fd, uint64_t offset, void *buf, uint64_t len);
int file_write(int fd, uint64_t offset, const void *buf, uint64_t len);
/* As file_read, but what lies behind the end of the file is zeros. */
int file_read_padded(int fd, uint64_t offset, void *buf, uint64_t len);
int file_flush(int fd); /* fdatasync */
/* Data, or a hole that reads as zeros? *run: how far from `offset` it goes, at most `len`. */
enum block_state file_state(int fd, uint64_t offset, uint64_t len, uint64_t *run);
/* Make a range zeros, without writing them out where the file system can. */
int file_zero(int fd, uint64_t offset, uint64_t len);

/* A deflate stream of at most in_len bytes that gives exactly out_len bytes. `window` is zlib's windowBits:
 * 15 with zlib's header, -15 to -8 without. 0, or -EIO: damaged. */
int block_inflate(const void *in, size_t in_len, void *out, size_t out_len, int window);
/* The other way. The length, 0: it doesn't fit into out_size. */
size_t block_deflate(const void *in, size_t in_len, void *out, size_t out_size, int window);

/* A message for *error: one line, valid until the next one. */
const char *block_message(const char *format, ...) __attribute__((format(printf, 1, 2)));

static inline uint16_t be16_at(const void *at) {
  const uint8_t *p = at;
  return (uint16_t)(p[0] << 8 | p[1]);
}
static inline uint32_t be32_at(const void *at) {
  return (uint32_t)be16_at(at) << 16 | be16_at((const uint8_t *)at + 2);
}
static inline uint64_t be64_at(const void *at) {
  return (uint64_t)be32_at(at) << 32 | be32_at((const uint8_t *)at + 4);
}
static inline uint16_t le16_at(const void *at) {
  const uint8_t *p = at;
  return (uint16_t)(p[1] << 8 | p[0]);
}
static inline uint32_t le32_at(const void *at) {
  return le16_at(at) | (uint32_t)le16_at((const uint8_t *)at + 2) << 16;
}
static inline uint64_t le64_at(const void *at) {
  return le32_at(at) | (uint64_t)le32_at((const uint8_t *)at + 4) << 32;
}
static inline void put_be16(void *at, uint16_t v) {
  uint8_t *p = at;
  p[0] = (uint8_t)(v >> 8), p[1] = (uint8_t)v;
}
static inline void put_be32(void *at, uint32_t v) {
  put_be16(at, (uint16_t)(v >> 16)), put_be16((uint8_t *)at + 2, (uint16_t)v);
}
static inline void put_be64(void *at, uint64_t v) {
  put_be32(at, (uint32_t)(v >> 32)), put_be32((uint8_t *)at + 4, (uint32_t)v);
}
static inline void put_le16(void *at, uint16_t v) {
  uint8_t *p = at;
  p[0] = (uint8_t)v, p[1] = (uint8_t)(v >> 8);
}
static inline void put_le32(void *at, uint32_t v) {
  put_le16(at, (uint16_t)v), put_le16((uint8_t *)at + 2, (uint16_t)(v >> 16));
}
static inline void put_le64(void *at, uint64_t v) {
  put_le32(at, (uint32_t)v), put_le32((uint8_t *)at + 4, (uint32_t)(v >> 32));
}

#endif
