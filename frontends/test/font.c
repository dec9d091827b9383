/* SPDX-License-Identifier: MIT */
/* See font.h. PSF as the Linux console tools read it (version 1: magic 36h 04h, version 2: 72h B5h 4Ah 86h).
 */
#include "frontends/test/font.h"

#include <stdlib.h>
#include <string.h>

#include "frontends/textdump.h"

#define CP437 256u

static uint32_t le32(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int utf8_put(uint32_t code, char *out) {
  if (code < 0x80) {
    out[0] = (char)code;
    return 1;
  }
  int n = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  for (int i = n - 1; i > 0; i--, code >>= 6)
    out[i] = (char)(0x80 | (code & 0x3f));
  out[0] = (char)(0xf00 >> n | code); /* C0, E0, F0 */
  return n;
}

/* One character of UTF-8 from s; *length is 0 at the end or where it is none. */
static uint32_t utf8_get(const uint8_t *s, size_t size, size_t *length) {
  *length = 0;
  if (!size || s[0] >= 0xf8 || (s[0] & 0xc0) == 0x80)
    return 0;
  size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
  if (n > size)
    return 0;
  uint32_t code = n == 1 ? s[0] : s[0] & (0x7fu >> n);
  for (size_t i = 1; i < n; i++)
    code = code << 6 | (s[i] & 0x3f);
  *length = n;
  return code;
}

static uint32_t cp437_code(unsigned glyph) {
  char utf8[4];
  size_t length;
  int n = cp437_to_utf8((uint8_t)glyph, utf8);
  return utf8_get((const uint8_t *)utf8, (size_t)n, &length);
}

/* Room for one more font; NULL: there is none. */
static struct font *add_font(struct font_set *set, int width, int height, unsigned count) {
  if (set->count == FONTS_MAX || width < 1 || width > FONT_WIDTH_MAX || height < 1 ||
      height > FONT_HEIGHT_MAX || !count || count > 65536)
    return NULL;
  struct font *f = &set->font[set->count];
  *f = (struct font){.width = width, .height = height, .count = count};
  f->row = calloc((size_t)count * (size_t)height, sizeof *f->row);
  f->code = calloc(count, sizeof *f->code);
  if (!f->row || !f->code) {
    free(f->row);
    free(f->code);
    return NULL;
  }
  set->count++;
  return f;
}

/* Rows of whole bytes, the leftmost pixel in the highest bit. */
static void take_bitmap(struct font *f, const uint8_t *data) {
  unsigned bytes = ((unsigned)f->width + 7) / 8;
  for (size_t i = 0; i < (size_t)f->count * (size_t)f->height; i++) {
    uint32_t bits = 0;
    for (unsigned k = 0; k < bytes; k++)
      bits = bits << 8 | *data++;
    f->row[i] = bits >> (bytes * 8 - (unsigned)f->width);
  }
}

static bool known(const struct font_set *set, const struct font *f) {
  for (unsigned i = 0; i < set->count; i++) {
    const struct font *g = &set->font[i];
    if (g != f && g->width == f->width && g->height == f->height && g->count == f->count &&
        memcmp(g->row, f->row, (size_t)f->count * (size_t)f->height * sizeof *f->row) == 0)
      return true;
  }
  return false;
}

static bool all(const uint8_t *p, int n, uint8_t value) {
  while (n > 0 && *p == value)
    p++, n--;
  return n == 0;
}

/*
 * What makes a table of glyphs one of code page 437: NUL, blank and FFh are empty, DBh is full, DCh and DFh
 * are its halves and DDh and DEh its other halves, and letters are neither empty nor alike.
 */
static bool is_cp437(const uint8_t *p, int h) {
  const uint8_t *half = p + 0xdc * h;
  if (!all(p, h, 0) || !all(p + ' ' * h, h, 0) || !all(p + 255 * h, h, 0) || !all(p + 0xdb * h, h, 0xff))
    return false;
  if (!all(half, 3, 0) || !all(half + h - 3, 3, 0xff) || !all(p + 0xdf * h, 3, 0xff) ||
      !all(p + 0xdd * h, h, 0xf0) || !all(p + 0xde * h, h, 0x0f))
    return false;
  for (int c = 'A'; c <= 'Z'; c++)
    if (all(p + c * h, h, 0) || memcmp(p + c * h, p + (c + 1) * h, (size_t)h) == 0)
      return false;
  return true;
}

unsigned font_scan(struct font_set *set, const uint8_t *data, size_t size) {
  static const int heights[] = {8, 14, 16};
  unsigned added = 0;
  const uint8_t *at = data, *end = data + size;
  while (at < end && (at = memchr(at, 0xff, (size_t)(end - at)))) {
    size_t run = 0;
    while (run < (size_t)(end - at) && at[run] == 0xff)
      run++;
    for (int i = 0; i < 3 && set->count < FONTS_MAX; i++) {
      int h = heights[i];
      /* The full block begins the run, or ends it: its neighbours DAh and DCh may join in. */
      for (size_t skip = 0; skip + (size_t)h <= run && skip < 4; skip++) {
        size_t offset = (size_t)(at - data) + skip;
        if (offset < 0xdbu * (size_t)h || offset - 0xdbu * (size_t)h + CP437 * (size_t)h > size ||
            !is_cp437(data + offset - 0xdb * h, h))
          continue;
        struct font *f = add_font(set, 8, h, CP437);
        if (!f)
          return added;
        take_bitmap(f, data + offset - 0xdb * h);
        for (unsigned c = 0; c < CP437; c++)
          f->code[c] = cp437_code(c);
        if (known(set, f)) {
          free(f->row);
          free(f->code);
          set->count--;
        } else {
          added++;
        }
        break;
      }
    }
    at += run;
  }
  return added;
}

/* --- files --- */

/* The first character that the Unicode table says for each glyph. */
static void take_unicode(struct font *f, const uint8_t *p, size_t size, bool utf8) {
  unsigned glyph = 0;
  bool first = true;
  for (size_t i = 0; i < size && glyph < f->count;) {
    size_t length = utf8 ? 1 : 2;
    if (i + length > size)
      return;
    uint32_t code = utf8 ? p[i] : p[i] | (uint32_t)p[i + 1] << 8;
    bool end = code == (utf8 ? 0xffu : 0xffffu), sequence = code == (utf8 ? 0xfeu : 0xfffeu);
    if (end) {
      glyph++;
      first = true;
    } else if (sequence) {
      first = false;
    } else {
      if (utf8)
        code = utf8_get(p + i, size - i, &length);
      if (!length)
        return;
      if (first)
        f->code[glyph] = code;
      first = false;
    }
    i += length;
  }
}

static int read_psf(struct font_set *set, const uint8_t *data, size_t size, bool two) {
  size_t header = two ? le32(data + 8) : 4, bytes;
  unsigned count = two ? le32(data + 16) : data[2] & 1 ? 512 : 256;
  uint32_t height = two ? le32(data + 24) : data[3], width = two ? le32(data + 28) : 8;
  bool table = two ? le32(data + 12) & 1 : data[2] & 6;
  if (width > FONT_WIDTH_MAX || height > FONT_HEIGHT_MAX || count > 65536 || header > size)
    return -1;
  bytes = (size_t)count * height * ((width + 7) / 8);
  struct font *f = bytes <= size - header ? add_font(set, (int)width, (int)height, count) : NULL;
  if (!f)
    return -1;
  take_bitmap(f, data + header);
  if (table)
    take_unicode(f, data + header + bytes, size - header - bytes, two);
  else
    for (unsigned c = 0; c < count && c < CP437; c++)
      f->code[c] = cp437_code(c);
  return 0;
}

int font_read(struct font_set *set, const uint8_t *data, size_t size) {
  if (size >= 4 && data[0] == 0x36 && data[1] == 0x04)
    return read_psf(set, data, size, false);
  if (size >= 32 && le32(data) == 0x864ab572)
    return read_psf(set, data, size, true);
  if (size % CP437 || size / CP437 < 6 || size / CP437 > FONT_HEIGHT_MAX)
    return -1;
  struct font *f = add_font(set, 8, (int)(size / CP437), CP437);
  if (!f)
    return -1;
  take_bitmap(f, data);
  for (unsigned c = 0; c < CP437; c++)
    f->code[c] = cp437_code(c);
  return 0;
}

void font_set_free(struct font_set *set) {
  for (unsigned i = 0; i < set->count; i++) {
    free(set->font[i].row);
    free(set->font[i].code);
  }
  set->count = 0;
}
