/* SPDX-License-Identifier: MIT */
/*
 * The file of a recording: a line that names it and its version, then records, little-endian:
 *   4 bytes  size of what follows the checksum
 *   4 bytes  CRC-32 (the Ethernet polynomial) of what follows
 *   1 kind, 4 resets, 8 instruction count, 8 virtual time in ns, then the record's own data
 * Each record is written by one call and never changed, so a recorder that is killed leaves a whole number of
 * records, and perhaps a part of one, which is taken as the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "core/replay_int.h"

#define MAGIC "DRAGOMAN REPLAY 1\n"
#define MAGIC_SIZE (sizeof MAGIC - 1)
#define FRONT 8u /* size and checksum */
#define PLACE 21u

static uint32_t crc32(const uint8_t *p, size_t size) {
  static uint32_t table[256];
  if (!table[1]) {
    for (uint32_t i = 0; i < 256; i++) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; bit++)
        c = c >> 1 ^ (c & 1 ? 0xedb88320u : 0);
      table[i] = c;
    }
  }
  uint32_t crc = ~0u;
  for (size_t i = 0; i < size; i++)
    crc = crc >> 8 ^ table[(crc ^ p[i]) & 0xff];
  return ~crc;
}

static bool write_all(int fd, const void *data, size_t size) {
  const uint8_t *p = data;
  while (size) {
    ssize_t n = write(fd, p, size);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return false;
    p += n;
    size -= (size_t)n;
  }
  return true;
}

int replay_file_create(struct replay_file *f, const char *path, char *error, size_t size) {
  *f = (struct replay_file){.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
  f->path = strdup(path);
  if (f->fd >= 0 && f->path && write_all(f->fd, MAGIC, MAGIC_SIZE))
    return 0;
  snprintf(error, size, "rrfile: cannot write to %s: %s", path, strerror(errno));
  replay_file_close(f);
  return -1;
}

static int read_all(struct replay_file *f, int fd) {
  struct stat st;
  if (fstat(fd, &st) < 0)
    return -1;
  f->size = (size_t)st.st_size;
  f->data = malloc(f->size + 1);
  if (!f->data)
    return -1;
  for (size_t done = 0; done < f->size;) {
    ssize_t n = read(fd, f->data + done, f->size - done);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      return -1;
    if (n == 0) { /* it has become shorter */
      f->size = done;
      break;
    }
    done += (size_t)n;
  }
  return 0;
}

int replay_file_open(struct replay_file *f, const char *path, char *error, size_t size) {
  *f = (struct replay_file){.fd = -1, .path = strdup(path)};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  int r = fd >= 0 && f->path ? read_all(f, fd) : -1;
  if (r < 0)
    snprintf(error, size, "rrfile: cannot read %s: %s", path, strerror(errno));
  if (fd >= 0)
    close(fd);
  if (r == 0 && (f->size < MAGIC_SIZE || memcmp(f->data, MAGIC, MAGIC_SIZE - 2))) {
    snprintf(error, size, "rrfile: %s is no recording", path);
    r = -1;
  } else if (r == 0 && memcmp(f->data, MAGIC, MAGIC_SIZE)) {
    snprintf(error, size, "rrfile: %s was recorded by another version, in another format", path);
    r = -1;
  }
  if (r < 0) {
    replay_file_close(f);
    return -1;
  }
  f->at = MAGIC_SIZE;
  return 0;
}

void replay_file_close(struct replay_file *f) {
  if (f->fd >= 0)
    close(f->fd);
  free(f->path);
  free(f->data);
  *f = (struct replay_file){.fd = -1};
}

static uint8_t *put(uint8_t *p, uint64_t value, unsigned bytes) {
  memcpy(p, &value, bytes);
  return p + bytes;
}

static uint64_t get(const uint8_t *p, unsigned bytes) {
  uint64_t value = 0;
  memcpy(&value, p, bytes);
  return value;
}

void replay_file_write(struct replay_file *f, enum replay_kind kind, const struct replay_place *place,
                       const void *data, uint32_t size) {
  uint8_t small[256], *buf = small;
  size_t total = FRONT + PLACE + size;
  if (f->failed || (total > sizeof small && !(buf = malloc(total))))
    return;
  uint8_t *p = buf + FRONT;
  *p++ = (uint8_t)kind;
  p = put(p, place->resets, 4);
  p = put(p, place->icount, 8);
  p = put(p, (uint64_t)place->ns, 8);
  if (size)
    memcpy(p, data, size);
  put(buf, PLACE + size, 4);
  put(buf + 4, crc32(buf + FRONT, PLACE + size), 4);
  if (!write_all(f->fd, buf, total)) {
    f->failed = true;
    error_report("rrfile: cannot write to %s: %s; the recording ends here", f->path, strerror(errno));
  }
  if (buf != small)
    free(buf);
}

int replay_file_next(struct replay_file *f, struct replay_record *r) {
  const uint8_t *p = f->data + f->at;
  size_t left = f->size - f->at;
  if (left < FRONT)
    return 0;
  uint64_t size = get(p, 4);
  if (size > left - FRONT)
    return size > PLACE + REPLAY_PAYLOAD_MAX ? -1 : 0;
  if (size < PLACE || size > PLACE + REPLAY_PAYLOAD_MAX || get(p + 4, 4) != crc32(p + FRONT, size))
    return -1;
  r->offset = f->at;
  f->at += FRONT + size;
  p += FRONT;
  r->kind = (enum replay_kind)p[0];
  r->place = (struct replay_place){
      .resets = (uint32_t)get(p + 1, 4), .icount = get(p + 5, 8), .ns = (int64_t)get(p + 13, 8)};
  r->data = p + PLACE;
  r->size = (uint32_t)(size - PLACE);
  return 1;
}
