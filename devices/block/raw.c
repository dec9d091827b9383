/* SPDX-License-Identifier: MIT */
/*
 * Raw disk images: a regular file or a host block device, byte for byte the guest's disk.
 *
 * Locks are open file description locks on the whole file: shared by readers, exclusive for a writer. They
 * go away with the descriptor, whatever happens to the process.
 */
#include "devices/block/block_int.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <linux/fs.h>
#include <unistd.h>

#define CHUNK (1ull << 30) /* one system call moves less than 2 GiB */

int file_read(int fd, uint64_t offset, void *buf, uint64_t len) {
  for (uint8_t *to = buf; len;) {
    ssize_t n = pread(fd, to, len < CHUNK ? len : CHUNK, (off_t)offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? -errno : -ENODATA;
    to += n, offset += (uint64_t)n, len -= (uint64_t)n;
  }
  return 0;
}

int file_write(int fd, uint64_t offset, const void *buf, uint64_t len) {
  for (const uint8_t *from = buf; len;) {
    ssize_t n = pwrite(fd, from, len < CHUNK ? len : CHUNK, (off_t)offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? -errno : -EIO;
    from += n, offset += (uint64_t)n, len -= (uint64_t)n;
  }
  return 0;
}

static int open_failed(const char *path, bool write, int error, const char **message) {
  if (error == EISDIR)
    *message = block_message("'%s' is a directory, not a disk image", path);
  else if (error == ENOENT)
    *message = block_message("there is no disk image '%s'", path);
  else if (write && (error == EROFS || error == EACCES || error == EPERM) && access(path, R_OK) == 0)
    *message = block_message("disk image '%s' is write-protected: make it writable, or use -snapshot", path);
  else
    *message = block_message("cannot open disk image '%s': %s", path, strerror(error));
  return -error;
}

static int lock(struct block *b, bool write, const char **error) {
  struct flock all = {.l_type = write ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
  if (fcntl(b->fd, F_OFD_SETLK, &all) == 0)
    return 0;
  if (errno == EAGAIN || errno == EACCES) {
    *error = block_message("disk image '%s' is in use by another %s", b->path,
                           write ? "drive or program: close it, or use -snapshot if it only reads"
                                 : "drive or program that writes to it");
    return -EBUSY;
  }
  warn_report("cannot lock disk image '%s' (%s): nothing else may write to it now", b->path, strerror(errno));
  return 0;
}

static int measure(struct block *b, const char **error) {
  struct stat st;
  if (fstat(b->fd, &st) < 0)
    return open_failed(b->path, false, errno, error);
  if (S_ISDIR(st.st_mode))
    return open_failed(b->path, false, EISDIR, error);
  if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
    *error = block_message("'%s' is neither a file nor a block device", b->path);
    return -EINVAL;
  }
  b->file_size = (uint64_t)st.st_size;
  if (S_ISBLK(st.st_mode) && ioctl(b->fd, BLKGETSIZE64, &b->file_size) < 0)
    return open_failed(b->path, false, errno, error);
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
  return 0;
}

int raw_open(struct block *b, bool write, const char **error) {
  /* O_NONBLOCK: a FIFO must not make us wait; it is without effect on files. */
  b->fd = open(b->path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
  if (b->fd < 0)
    return open_failed(b->path, write, errno, error);
  int result = measure(b, error);
  return result ? result : lock(b, write, error);
}

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

static int raw_flush(struct block *b) { return fdatasync(b->fd) < 0 ? -errno : 0; }

static void raw_close(struct block *b) {
  if (b->fd >= 0)
    close(b->fd);
}

const struct block_driver raw_driver = {raw_read, raw_write, raw_flush, raw_close};
