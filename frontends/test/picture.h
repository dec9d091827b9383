/* SPDX-License-Identifier: MIT */
/* Pictures that screens are compared with: PNG files (libpng), regions and masks, and pictures searched in a
 * screen. */
#ifndef FRONTENDS_TEST_PICTURE_H
#define FRONTENDS_TEST_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/display.h"

#define PICTURE_AREAS 32

struct picture { /* XRGB8888; the high byte is 0 where the file is transparent, which matches everything */
  uint32_t *pixels;
  int width, height;
};

struct area {
  int x, y, width, height;
};

struct comparison {
  struct area region[PICTURE_AREAS],
      mask[PICTURE_AREAS]; /* look only there (none: everywhere), and not there */
  unsigned regions, masks;
  int tolerance;   /* what a channel may differ by */
  int64_t allowed; /* how many pixels may differ by more */
};

/* 0, or -1 with one line in error. */
int picture_read(struct picture *p, const char *path, char *error, unsigned size);
void picture_free(struct picture *p);
/* How many pixels differ by more than the tolerance; -1: another size. diff, if not NULL, receives a picture
 * of the differences: red where they are, the screen's grey shadow elsewhere, black where it was not looked.
 */
int64_t picture_compare(const struct picture *p, const struct surface *s, const struct comparison *c,
                        struct picture *diff);
/* Where the picture is in the screen, from the top on; false: it is not. */
bool picture_find(const struct picture *p, const struct surface *s, const struct comparison *c, int *x,
                  int *y);

#endif
