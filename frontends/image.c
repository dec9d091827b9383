/* SPDX-License-Identifier: MIT */
/*
 * Screenshots: a surface as PNG (8-bit RGB, deflated by zlib) or binary PPM. The file appears under its name
 * only when it is complete: it is written beside it and renamed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "core/display.h"

static void put_be32(uint8_t *out, uint32_t value) {
  out[0] = (uint8_t)(value >> 24);
  out[1] = (uint8_t)(value >> 16);
  out[2] = (uint8_t)(value >> 8);
  out[3] = (uint8_t)value;
}

static void rgb_line(const struct surface *s, int y, uint8_t *out) {
  const uint32_t *src = s->pixels + (size_t)y * (size_t)s->stride;
  for (int x = 0; x < s->width; x++) {
    *out++ = (uint8_t)(src[x] >> 16);
    *out++ = (uint8_t)(src[x] >> 8);
    *out++ = (uint8_t)src[x];
  }
}

static int put(FILE *file, const void *data, size_t length) {
  errno = 0;
  if (fwrite(data, 1, length, file) == length)
    return 0;
  return errno ? -errno : -EIO;
}

static int png_chunk(FILE *file, const char *type, const uint8_t *data, size_t length) {
  uint8_t head[8], tail[4];
  put_be32(head, (uint32_t)length);
  memcpy(head + 4, type, 4);
  uLong crc = crc32(0, head + 4, 4);
  if (length)
    crc = crc32(crc, data, (uInt)length);
  put_be32(tail, (uint32_t)crc);
  int error = put(file, head, sizeof head);
  if (!error && length)
    error = put(file, data, length);
  return error ? error : put(file, tail, sizeof tail);
}

static int png_body(FILE *file, const struct surface *s) {
  static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  size_t line = 1 + (size_t)s->width * 3, raw_size = line * (size_t)s->height;
  uLongf packed_size = compressBound(raw_size);
  uint8_t *raw = malloc(raw_size), *packed = malloc(packed_size), header[13];
  int error = -ENOMEM;

  if (raw && packed) {
    for (int y = 0; y < s->height; y++) {
      raw[line * (size_t)y] = 0; /* filter: none */
      rgb_line(s, y, raw + line * (size_t)y + 1);
    }
    put_be32(header, (uint32_t)s->width);
    put_be32(header + 4, (uint32_t)s->height);
    memcpy(header + 8, "\x08\x02\x00\x00\x00",
           5); /* 8 bits, RGB, deflate, adaptive filters, not interlaced */
    error = compress2(packed, &packed_size, raw, raw_size, 6) == Z_OK ? 0 : -ENOMEM;
  }
  if (!error)
    error = put(file, signature, sizeof signature);
  if (!error)
    error = png_chunk(file, "IHDR", header, sizeof header);
  if (!error)
    error = png_chunk(file, "IDAT", packed, packed_size);
  if (!error)
    error = png_chunk(file, "IEND", NULL, 0);
  free(raw);
  free(packed);
  return error;
}

static int ppm_body(FILE *file, const struct surface *s) {
  size_t length = (size_t)s->width * 3;
  uint8_t *line = malloc(length);
  int error = line ? 0 : -ENOMEM;
  if (!error && fprintf(file, "P6\n%d %d\n255\n", s->width, s->height) < 0)
    error = -EIO;
  for (int y = 0; y < s->height && !error; y++) {
    rgb_line(s, y, line);
    error = put(file, line, length);
  }
  free(line);
  return error;
}

static int write_whole(const struct surface *s, const char *path,
                       int (*body)(FILE *, const struct surface *)) {
  char temporary[4096];
  if (!s->pixels || s->width < 1 || s->height < 1)
    return -EINVAL;
  if (snprintf(temporary, sizeof temporary, "%s.part", path) >= (int)sizeof temporary)
    return -ENAMETOOLONG;
  FILE *file = fopen(temporary, "wb");
  if (!file)
    return -errno;
  int error = body(file, s);
  if (fclose(file) && !error)
    error = -errno;
  if (!error && rename(temporary, path))
    error = -errno;
  if (error)
    unlink(temporary);
  return error;
}

int image_write_png(const struct surface *s, const char *path) { return write_whole(s, path, png_body); }

int image_write_ppm(const struct surface *s, const char *path) { return write_whole(s, path, ppm_body); }
