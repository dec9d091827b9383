/* SPDX-License-Identifier: MIT */
/*
 * What is written on a screen. In text modes the characters are there; in graphics modes the picture is
 * searched for the glyphs of bitmap fonts, wherever they are, in any two colours.
 */
#ifndef FRONTENDS_TEST_SCREENTEXT_H
#define FRONTENDS_TEST_SCREENTEXT_H

#include "core/display.h"
#include "frontends/test/font.h"

struct text_box { /* where a character is; pixels of the surface, or characters in text modes */
  int16_t x, y, width, height;
};

struct screen_text {
  char *text;           /* UTF-8; lines end with a line feed, blanks at their ends are left out */
  struct text_box *box; /* one for each byte of the text */
  size_t length;
  bool graphics;
  int width, height; /* of the screen, in the boxes' unit */
};

/* NULL: out of memory. */
struct screen_text *screen_text_of_cells(const uint8_t *cells, int columns, int rows);
struct screen_text *screen_text_of_picture(const struct surface *s, const struct font_set *fonts);
/* The part that lies in a rectangle, as a text of its own. */
struct screen_text *screen_text_region(const struct screen_text *t, const struct text_box *region);
void screen_text_free(struct screen_text *t);

#endif
