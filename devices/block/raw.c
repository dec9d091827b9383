/* SPDX-License-Identifier: MIT */
/* Raw disk images: a regular file or a host block device, byte for byte the guest's disk. */
#include "devices/block/format.h"

#include <string.h>
#include <unistd.h>

static int raw_read(struct block *b, uint64_t offset, void *buf, uint64_t len) {
  uint64_t present = offset >= b->file_size ? 0 : b->file_size - offset < len ? b->file_size - offset : len;
  memset((uint8_t *)buf + present, 0, len - present);
  int result = file_read(b->fd, offset, buf, present);
  return result == -ENODATA ? -EIO : result; /* somebody truncated the file under us */
}

static int raw_write(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  int result = file_write(b->fd, offset, buf, len);
  if (!result && offset + len > b->file_size)
    b->file_size = offset + len;
  return result;
}

static int raw_zero(struct block *b, uint64_t offset, uint64_t len) {
  int result = file_zero(b->fd, offset, len);
  if (!result && offset + len > b->file_size)
    b->file_size = offset + len;
  return result;
}

static int raw_flush(struct block *b) { return file_flush(b->fd); }

static int raw_status(struct block *b, uint64_t offset, uint64_t len, uint64_t *run) {
  return file_state(b->fd, offset, len, run);
}

static void raw_close(struct block *b) { (void)b; }

static const struct block_driver raw_driver = {
    .read = raw_read,
    .write = raw_write,
    .flush = raw_flush,
    .close = raw_close,
    .status = raw_status,
    .write_zeroes = raw_zero,
};

static int raw_probe(const struct block_probe *p) {
  (void)p;
  return 1; /* when nobody else knows it */
}

static int raw_open(struct block *b, const struct block_options *o, const char **error) {
  (void)o;
  if (b->file_size < SECTOR) {
    *error = b->file_size
                 ? block_message("'%s' is too short for a disk image: %llu bytes, less than one sector",
                                 b->path, (unsigned long long)b->file_size)
                 : block_message("'%s' is empty, not a disk image", b->path);
    return -EINVAL;
  }
  if (b->file_size % SECTOR)
    warn_report(
        "the size of '%s' is no multiple of %u bytes: is it cut off? The rest of the last sector reads as "
        "zeros",
        b->path, SECTOR);
  b->size = (b->file_size + SECTOR - 1) / SECTOR * SECTOR;
  b->driver = &raw_driver;
  return 0;
}

static int set_length(int fd, const char *path, uint64_t size, const char **error) {
  if (ftruncate(fd, (off_t)size) == 0)
    return 0;
  int result = -errno;
  *error =
      block_message("cannot give '%s' %llu bytes: %s", path, (unsigned long long)size, strerror(-result));
  return result;
}

static int raw_create(int fd, const char *path, const struct block_create *c, const char **error) {
  return set_length(fd, path, c->size, error);
}

static int raw_resize(struct block *b, uint64_t size, const char **error) {
  int result = set_length(b->fd, b->path, size, error);
  if (!result)
    b->size = b->file_size = size;
  return result;
}

const struct block_format raw_format = {
    .name = "raw",
    .probe = raw_probe,
    .open = raw_open,
    .create = raw_create,
    .resize = raw_resize,
};
