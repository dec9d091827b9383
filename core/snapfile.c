/* SPDX-License-Identifier: MIT */
/*
 * The container of snapshots: a line of text and a version, then sections: a head, the name, the contents as
 * a zlib stream (RFC 1950, level 1) or, where that is no shorter, as they are. A CRC-32 goes over head, name
 * and contents. The last section is called "end" and holds the number of those before it, so that a file that
 * was cut off between two sections is known for what it is.
 */
#include "core/snapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define MAGIC "DRAGOMAN SNAPSHOT\n"
#define MAGIC_LEN 18u
#define VERSION 1u
#define FILE_HEAD 20u
#define SECTION_MAGIC 0x54434553u /* "SECT" */
#define SECTION_HEAD 20u          /* magic, length of the name, flags, raw, stored, checksum */
#define CRC_AT 16u
#define DEFLATED 1u
#define END "end"
#define LEVEL 1
#define PIECE (1u << 20)

static void put16(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}
static void put32(uint8_t *p, uint32_t v) {
  put16(p, v);
  put16(p + 2, v >> 16);
}
static uint32_t get16(const uint8_t *p) { return (uint32_t)(p[0] | p[1] << 8); }
static uint32_t get32(const uint8_t *p) { return get16(p) | get16(p + 2) << 16; }

/* --- writing ------------------------------------------------------------------------------------------ */

struct snapfile_out {
  char *path, *temporary;
  int fd, error; /* error: the first, errno */
  uint32_t sections;
  uint64_t size;
  uint8_t *packed;
  size_t packed_size;
};

struct snapfile_out *snapfile_create(const char *path, char *error, size_t size) {
  struct snapfile_out *f = calloc(1, sizeof *f);
  if (f) {
    f->path = strdup(path);
    f->temporary = malloc(strlen(path) + 16);
    f->fd = -1;
  }
  if (!f || !f->path || !f->temporary) {
    snprintf(error, size, "out of memory");
    snapfile_abandon(f);
    return NULL;
  }
  snprintf(f->temporary, strlen(path) + 16, "%s.XXXXXX", path);
  f->fd = mkostemp(f->temporary, O_CLOEXEC);
  if (f->fd < 0) {
    snprintf(error, size, "cannot make a snapshot '%s': %s", path, strerror(errno));
    free(f->temporary);
    f->temporary = NULL;
    snapfile_abandon(f);
    return NULL;
  }
  mode_t mask = umask(0); /* mkostemp is stricter than the user asks for */
  umask(mask);
  fchmod(f->fd, 0666 & ~mask);
  uint8_t head[FILE_HEAD] = MAGIC;
  put16(head + MAGIC_LEN, VERSION);
  if (write(f->fd, head, sizeof head) != (ssize_t)sizeof head)
    f->error = errno ? errno : EIO;
  f->size = sizeof head;
  return f;
}

static void out_write(struct snapfile_out *f, const void *data, size_t len) {
  for (const uint8_t *p = data; len && !f->error;) {
    ssize_t n = write(f->fd, p, len);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      f->error = n < 0 ? errno : EIO;
      return;
    }
    p += n, len -= (size_t)n, f->size += (uint64_t)n;
  }
}

/* Compressed into f->packed; the length, or 0 if that does not pay. */
static size_t pack(struct snapfile_out *f, const void *data, size_t len) {
  uLongf packed = compressBound(len);
  if (len < 64)
    return 0;
  if (f->packed_size < packed) {
    free(f->packed);
    f->packed = malloc(packed);
    f->packed_size = f->packed ? packed : 0;
  }
  if (!f->packed || compress2(f->packed, &packed, data, len, LEVEL) != Z_OK || packed >= len)
    return 0;
  return packed;
}

void snapfile_put(struct snapfile_out *f, const char *name, const void *data, size_t len) {
  size_t name_len = strlen(name);
  if (f->error)
    return;
  if (name_len > SNAPFILE_NAME || len > SNAPFILE_RAW) {
    f->error = E2BIG;
    return;
  }
  size_t packed = pack(f, data, len);
  const void *stored = packed ? f->packed : len ? data : ""; /* crc32 takes NULL for a wish to begin anew */
  size_t stored_len = packed ? packed : len;
  uint8_t head[SECTION_HEAD] = {0};
  put32(head, SECTION_MAGIC);
  put16(head + 4, (uint32_t)name_len);
  put16(head + 6, packed ? DEFLATED : 0);
  put32(head + 8, (uint32_t)len);
  put32(head + 12, (uint32_t)stored_len);
  uLong crc = crc32(0, head, CRC_AT);
  crc = crc32(crc, (const Bytef *)name, (uInt)name_len);
  crc = crc32(crc, stored, (uInt)stored_len);
  put32(head + CRC_AT, (uint32_t)crc);
  out_write(f, head, sizeof head);
  out_write(f, name, name_len);
  out_write(f, stored, stored_len);
  f->sections++;
}

bool snapfile_failed(const struct snapfile_out *f) { return f->error != 0; }
uint64_t snapfile_size(const struct snapfile_out *f) { return f->size; }

/* The name of the file itself must be on the disk, too. */
static int sync_directory(const char *path) {
  const char *slash = strrchr(path, '/');
  char *directory = slash == path ? strdup("/") : slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
  int fd = directory ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
  int error = fd >= 0 && fsync(fd) < 0 ? errno : 0;
  if (fd >= 0)
    close(fd);
  free(directory);
  return error == EINVAL ? 0 : error; /* file systems that have no such thing */
}

int snapfile_finish(struct snapfile_out *f, char *error, size_t size) {
  uint8_t count[4];
  put32(count, f->sections);
  snapfile_put(f, END, count, sizeof count);
  if (!f->error && fsync(f->fd) < 0 && errno != EINVAL)
    f->error = errno;
  if (!f->error && rename(f->temporary, f->path) < 0)
    f->error = errno;
  if (!f->error) {
    free(f->temporary);
    f->temporary = NULL;
    f->error = sync_directory(f->path);
  }
  int result = -f->error;
  if (result)
    snprintf(error, size, "cannot write the snapshot '%s': %s", f->path, strerror(f->error));
  snapfile_abandon(f);
  return result;
}

void snapfile_abandon(struct snapfile_out *f) {
  if (!f)
    return;
  if (f->fd >= 0)
    close(f->fd);
  if (f->temporary && f->fd >= 0)
    unlink(f->temporary);
  free(f->packed);
  free(f->temporary);
  free(f->path);
  free(f);
}

/* --- reading ------------------------------------------------------------------------------------------ */

/* len bytes at `offset`. 0, -ENODATA at the end, or -errno. */
static int read_at(int fd, uint64_t offset, void *buf, size_t len) {
  for (uint8_t *to = buf; len;) {
    ssize_t n = pread(fd, to, len, (off_t)offset);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      return n < 0 ? -errno : -ENODATA;
    to += n, offset += (uint64_t)n, len -= (size_t)n;
  }
  return 0;
}

static int damaged(const struct snapfile_in *f, const char *how, char *error, size_t size) {
  snprintf(error, size, "the snapshot '%s' is damaged: %s", f->path, how);
  return -EINVAL;
}

static int cannot_read(const struct snapfile_in *f, int result, char *error, size_t size) {
  if (result == -ENODATA)
    return damaged(f, "it is cut off", error, size);
  snprintf(error, size, "cannot read the snapshot '%s': %s", f->path, strerror(-result));
  return result;
}

static int check_head(struct snapfile_in *f, char *error, size_t size) {
  uint8_t head[FILE_HEAD] = {0};
  int result = read_at(f->fd, 0, head, sizeof head);
  if (result && result != -ENODATA)
    return cannot_read(f, result, error, size);
  if (memcmp(head, MAGIC, MAGIC_LEN)) {
    snprintf(error, size, "'%s' is not a snapshot", f->path);
    return -EINVAL;
  }
  if (result)
    return cannot_read(f, result, error, size);
  if (get16(head + MAGIC_LEN) != VERSION) {
    snprintf(error, size, "the snapshot '%s' has format %u, and this program reads format %u", f->path,
             (unsigned)get16(head + MAGIC_LEN), VERSION);
    return -EINVAL;
  }
  return 0;
}

/* The checksum of what is stored. 0 or -errno. */
static int stored_crc(struct snapfile_in *f, uint64_t offset, uint32_t len, uint8_t *piece, uLong *crc) {
  while (len) {
    uint32_t n = len < PIECE ? len : PIECE;
    int result = read_at(f->fd, offset, piece, n);
    if (result)
      return result;
    *crc = crc32(*crc, piece, n);
    offset += n, len -= n;
  }
  return 0;
}

static struct snapfile_section *add_section(struct snapfile_in *f) {
  if (f->count % 64 == 0) {
    struct snapfile_section *more = realloc(f->section, (f->count + 64) * sizeof *more);
    if (!more)
      return NULL;
    f->section = more;
  }
  return &f->section[f->count];
}

/* The section at *at. 0, or -errno with a line. */
static int scan_section(struct snapfile_in *f, uint64_t *at, uint64_t end, uint8_t *piece, char *error,
                        size_t size) {
  uint8_t head[SECTION_HEAD];
  int result = read_at(f->fd, *at, head, sizeof head);
  if (result)
    return cannot_read(f, result, error, size);
  uint32_t name_len = get16(head + 4), flags = get16(head + 6);
  struct snapfile_section *s = add_section(f);
  if (!s)
    return cannot_read(f, -ENOMEM, error, size);
  *s = (struct snapfile_section){
      .raw = get32(head + 8), .stored = get32(head + 12), .deflated = flags & DEFLATED};
  s->offset = *at + SECTION_HEAD + name_len;
  if (get32(head) != SECTION_MAGIC || name_len > SNAPFILE_NAME || flags > DEFLATED || s->raw > SNAPFILE_RAW ||
      (!s->deflated && s->raw != s->stored))
    return damaged(f, "a section has a bad head", error, size);
  if (s->offset > end || s->stored > end - s->offset)
    return damaged(f, "it is cut off", error, size);
  result = read_at(f->fd, *at + SECTION_HEAD, s->name, name_len);
  uLong crc = crc32(0, head, CRC_AT);
  crc = crc32(crc, (const Bytef *)s->name, name_len);
  if (!result)
    result = stored_crc(f, s->offset, s->stored, piece, &crc);
  if (result)
    return cannot_read(f, result, error, size);
  if ((uint32_t)crc != get32(head + CRC_AT) || strlen(s->name) != name_len)
    return damaged(f, "a checksum is wrong", error, size);
  *at = s->offset + s->stored;
  return 0;
}

static int scan(struct snapfile_in *f, uint64_t end, char *error, size_t size) {
  uint64_t at = FILE_HEAD;
  uint8_t *piece = malloc(PIECE);
  int result = piece ? 0 : cannot_read(f, -ENOMEM, error, size);
  while (!result) {
    result = scan_section(f, &at, end, piece, error, size);
    if (!result && !strcmp(f->section[f->count].name, END))
      break;
    f->count += !result;
  }
  free(piece);
  if (result)
    return result;
  const struct snapfile_section *last = &f->section[f->count];
  uint8_t count[4];
  if (last->raw != sizeof count || last->deflated || read_at(f->fd, last->offset, count, sizeof count) ||
      get32(count) != f->count)
    return damaged(f, "sections are missing", error, size);
  return at == end ? 0 : damaged(f, "there is something behind its end", error, size);
}

int snapfile_open(struct snapfile_in *f, const char *path, char *error, size_t size) {
  struct stat st;
  *f = (struct snapfile_in){.fd = -1, .path = strdup(path)};
  if (!f->path) {
    snprintf(error, size, "out of memory");
    return -ENOMEM;
  }
  f->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  int result = f->fd < 0 || fstat(f->fd, &st) < 0 ? -errno : S_ISREG(st.st_mode) ? 0 : -EINVAL;
  if (result == -ENOENT)
    snprintf(error, size, "there is no snapshot '%s'", path);
  else if (result)
    cannot_read(f, result, error, size);
  if (!result)
    result = check_head(f, error, size);
  if (!result)
    result = scan(f, (uint64_t)st.st_size, error, size);
  if (result)
    snapfile_close(f);
  return result;
}

void snapfile_close(struct snapfile_in *f) {
  if (f->fd >= 0)
    close(f->fd);
  free(f->section);
  free(f->path);
  *f = (struct snapfile_in){.fd = -1};
}

const struct snapfile_section *snapfile_find(const struct snapfile_in *f, const char *name) {
  for (size_t i = 0; i < f->count; i++)
    if (!strcmp(f->section[i].name, name))
      return &f->section[i];
  return NULL;
}

uint8_t *snapfile_read(const struct snapfile_in *f, const struct snapfile_section *s, char *error,
                       size_t size) {
  uint8_t *raw = malloc(s->raw ? s->raw : 1), *stored = s->deflated ? malloc(s->stored ? s->stored : 1) : raw;
  int result = raw && stored ? read_at(f->fd, s->offset, stored, s->stored) : -ENOMEM;
  uLongf len = s->raw;
  if (result)
    cannot_read(f, result, error, size);
  else if (s->deflated && (uncompress(raw, &len, stored, s->stored) != Z_OK || len != s->raw))
    result = damaged(f, "a section cannot be unpacked", error, size);
  if (stored != raw)
    free(stored);
  if (result) {
    free(raw);
    return NULL;
  }
  return raw;
}
