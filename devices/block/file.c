/* SPDX-License-Identifier: MIT */
/*
 * The files that images are made of, for block.c and the formats: opening, locks, whole reads and writes,
 * holes; deflate; options and sizes as qemu-img writes them.
 *
 * Locks are open file description locks on the whole file: shared by readers, exclusive for a writer. They
 * go away with the descriptor, whatever happens to the process.
 */
#include "devices/block/format.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <linux/fs.h>
#include <unistd.h>
#include <zlib.h>

#define CHUNK (1ull << 30) /* one system call moves less than 2 GiB */

const char *block_message(const char *format, ...) {
  static char text[2][4600]; /* a path and some words; twice, as a message may quote the one before */
  static unsigned turn;
  va_list args;
  va_start(args, format);
  turn ^= 1;
  vsnprintf(text[turn], sizeof text[turn], format, args);
  va_end(args);
  for (char *at = text[turn]; *at; at++) /* names out of images may hold anything */
    if ((unsigned char)*at < ' ' || *at == 0x7f)
      *at = '?';
  return text[turn];
}

/* --- reading and writing ------------------------------------------------------------------------------ */

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

int file_read_padded(int fd, uint64_t offset, void *buf, uint64_t len) {
  for (uint8_t *to = buf; len;) {
    ssize_t n = pread(fd, to, len < CHUNK ? len : CHUNK, (off_t)offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -errno;
    if (n == 0) {
      memset(to, 0, len);
      return 0;
    }
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

int file_flush(int fd) { return fdatasync(fd) < 0 ? -errno : 0; }

enum block_state file_state(int fd, uint64_t offset, uint64_t len, uint64_t *run) {
  *run = len;
  off_t data = lseek(fd, (off_t)offset, SEEK_DATA);
  if (data < 0)
    return errno == ENXIO ? BLOCK_STATE_ZERO : BLOCK_STATE_DATA; /* no data up to the end; not supported */
  if ((uint64_t)data > offset) {
    *run = (uint64_t)data - offset < len ? (uint64_t)data - offset : len;
    return BLOCK_STATE_ZERO;
  }
  off_t hole = lseek(fd, (off_t)offset, SEEK_HOLE);
  if (hole > 0 && (uint64_t)hole > offset && (uint64_t)hole - offset < len)
    *run = (uint64_t)hole - offset;
  return BLOCK_STATE_DATA;
}

int file_zero(int fd, uint64_t offset, uint64_t len) {
  static const uint8_t zeros[65536];
  if (!len || fallocate(fd, FALLOC_FL_ZERO_RANGE, (off_t)offset, (off_t)len) == 0)
    return 0;
  struct stat st;
  if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && offset + len <= (uint64_t)st.st_size &&
      fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) == 0)
    return 0;
  while (len) {
    uint64_t n = len < sizeof zeros ? len : sizeof zeros;
    int result = file_write(fd, offset, zeros, n);
    if (result)
      return result;
    offset += n, len -= n;
  }
  return 0;
}

/* --- opening ------------------------------------------------------------------------------------------ */

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

static int file_lock(int fd, const char *path, bool write, const char **error) {
  struct flock all = {.l_type = write ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
  if (fcntl(fd, F_OFD_SETLK, &all) == 0)
    return 0;
  if (errno == EAGAIN || errno == EACCES) {
    *error = block_message("disk image '%s' is in use by another %s", path,
                           write ? "drive or program: close it, or use -snapshot if it only reads"
                                 : "drive or program that writes to it");
    return -EBUSY;
  }
  warn_report("cannot lock disk image '%s' (%s): nothing else may write to it now", path, strerror(errno));
  return 0;
}

int file_relock(int fd, enum file_lock lock) {
  static const short types[] = {[FILE_UNLOCKED] = F_UNLCK, [FILE_READER] = F_RDLCK};
  struct flock all = {.l_type = types[lock], .l_whence = SEEK_SET};
  return fcntl(fd, F_OFD_SETLK, &all) < 0 ? -errno : 0;
}

static int measure(int fd, const char *path, uint64_t *size, const char **error) {
  struct stat st;
  if (fstat(fd, &st) < 0)
    return open_failed(path, false, errno, error);
  if (S_ISDIR(st.st_mode))
    return open_failed(path, false, EISDIR, error);
  if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode)) {
    *error = block_message("'%s' is neither a file nor a block device", path);
    return -EINVAL;
  }
  *size = (uint64_t)st.st_size;
  if (S_ISBLK(st.st_mode) && ioctl(fd, BLKGETSIZE64, size) < 0)
    return open_failed(path, false, errno, error);
  return 0;
}

int file_open(const char *path, bool write, int *fd, uint64_t *size, const char **error) {
  /* O_NONBLOCK: a FIFO must not make us wait; it is without effect on files. */
  *fd = open(path, (write ? O_RDWR : O_RDONLY) | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0)
    return open_failed(path, write, errno, error);
  int result = measure(*fd, path, size, error);
  if (!result)
    result = file_lock(*fd, path, write, error);
  if (result) {
    close(*fd);
    *fd = -1;
  }
  return result;
}

char *block_path_beside(const char *path, const char *name) {
  const char *slash = strrchr(path, '/');
  if (*name == '/' || !slash)
    return strdup(name);
  size_t directory = (size_t)(slash - path) + 1, len = strlen(name) + 1;
  char *both = malloc(directory + len);
  if (both) {
    memcpy(both, path, directory);
    memcpy(both + directory, name, len);
  }
  return both;
}

/* --- deflate ------------------------------------------------------------------------------------------ */

int block_inflate(const void *in, size_t in_len, void *out, size_t out_len, int window) {
  z_stream z = {.next_in = (Bytef *)(uintptr_t)in,
                .avail_in = (uInt)in_len,
                .next_out = out,
                .avail_out = (uInt)out_len};
  if (in_len > UINT32_MAX || out_len > UINT32_MAX || inflateInit2(&z, window) != Z_OK)
    return -EIO;
  int result = inflate(&z, Z_FINISH);
  bool whole = z.avail_out == 0 && (result == Z_STREAM_END || result == Z_BUF_ERROR);
  inflateEnd(&z);
  return whole ? 0 : -EIO;
}

size_t block_deflate(const void *in, size_t in_len, void *out, size_t out_size, int window) {
  z_stream z = {.next_in = (Bytef *)(uintptr_t)in,
                .avail_in = (uInt)in_len,
                .next_out = out,
                .avail_out = (uInt)out_size};
  if (in_len > UINT32_MAX || out_size > UINT32_MAX ||
      deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, window, 9, Z_DEFAULT_STRATEGY) != Z_OK)
    return 0;
  int result = deflate(&z, Z_FINISH);
  size_t len = out_size - z.avail_out;
  deflateEnd(&z);
  return result == Z_STREAM_END ? len : 0;
}

/* --- options ------------------------------------------------------------------------------------------ */

bool block_option(const char *options, const char *key, char *value, size_t size) {
  bool found = false;
  size_t key_len = strlen(key);
  for (const char *at = options; at && *at;) {
    size_t len = strcspn(at, ",");
    if (len >= key_len && !strncmp(at, key, key_len) && (len == key_len || at[key_len] == '=')) {
      found = true; /* the last one counts */
      snprintf(value, size, "%.*s", len == key_len ? 2 : (int)(len - key_len - 1),
               len == key_len ? "on" : at + key_len + 1);
    }
    at += len + (at[len] == ',');
  }
  return found;
}

bool block_parse_size(const char *text, uint64_t *size) {
  static const char suffixes[] = "bkmgtpe";
  char *end;
  errno = 0;
  if (*text < '0' || *text > '9')
    return false;
  uint64_t n = strtoull(text, &end, 10);
  const char *suffix = *end ? strchr(suffixes, *end | 0x20) : suffixes;
  if (errno || !suffix || (*end && end[1]))
    return false;
  unsigned shift = (unsigned)(suffix - suffixes) * 10;
  if (n > UINT64_MAX >> shift)
    return false;
  *size = n << shift;
  return true;
}

void block_info_add(struct block_info *info, const char *key, bool text, const char *format, ...) {
  if (info->items == sizeof info->item / sizeof info->item[0])
    return;
  struct block_info_item *item = &info->item[info->items++];
  va_list args;
  va_start(args, format);
  item->text = text;
  snprintf(item->key, sizeof item->key, "%s", key);
  vsnprintf(item->value, sizeof item->value, format, args);
  va_end(args);
}
