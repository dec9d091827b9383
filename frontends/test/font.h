/* SPDX-License-Identifier: MIT */
/*
 * Bitmap fonts with cells of one size, as text on graphics screens is drawn with: found in the guest's video
 * ROM or memory by what every VGA font has in common, or read from a file (PSF 1 and 2, or plain bitmaps of
 * 256 characters).
 */
#ifndef FRONTENDS_TEST_FONT_H
#define FRONTENDS_TEST_FONT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FONT_WIDTH_MAX 32
#define FONT_HEIGHT_MAX 64
#define FONTS_MAX 16

struct font {
  int width, height;
  unsigned count;
  uint32_t *row;  /* count * height; the leftmost pixel is bit width - 1 */
  uint32_t *code; /* the character of each glyph (Unicode); 0: none */
};

struct font_set {
  struct font font[FONTS_MAX];
  unsigned count;
};

/* Add the fonts of 8x8, 8x14 and 8x16 pixels in code page 437 that a stretch of memory holds; those that are
 * known already are left out. Returns how many were added. */
unsigned font_scan(struct font_set *set, const uint8_t *data, size_t size);
/* A font file. 0, or -1: it is none that is known. */
int font_read(struct font_set *set, const uint8_t *data, size_t size);
void font_set_free(struct font_set *set);

/* UTF-8, at most four bytes, not terminated. */
int utf8_put(uint32_t code, char *out);

#endif
