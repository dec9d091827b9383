/* SPDX-License-Identifier: MIT */
/*
 * What a display adapter offers to front ends. A front end calls refresh() at its own pace, under the machine lock;
 * the adapter renders what changed into `surface` and reports the changed rectangle.
 */
#ifndef CORE_DISPLAY_H
#define CORE_DISPLAY_H

#include <stdbool.h>
#include <stdint.h>

struct surface { /* XRGB8888, top-down; owned by the adapter */
  uint32_t *pixels;
  int width, height;
  int stride; /* in pixels */
};

struct display {
  struct surface surface;
  unsigned generation; /* changes when width or height does */
  /* Render; returns false if nothing changed since the last call. x, y, w, h: changed area. */
  bool (*refresh)(struct display *d, int *x, int *y, int *w, int *h);
  void (*invalidate)(struct display *d); /* render everything next time */
  /*
   * Text mode only: the screen as characters (code page 437 bytes), rows * columns, into buf of `size` bytes;
   * returns columns, sets *rows; 0 in graphics modes. attrs, if not NULL, receives the attribute bytes.
   */
  int (*text)(struct display *d, uint8_t *buf, uint8_t *attrs, int size, int *rows, int *cursor_x, int *cursor_y);
  const char *(*mode_name)(struct display *d); /* e.g. "80x25 text", "1024x768x32" */
  void *opaque;
};

/* Write the surface as PNG (zlib) or binary PPM. 0 or -errno. Used on what refresh() rendered. (frontends/image.c) */
int image_write_png(const struct surface *s, const char *path);
int image_write_ppm(const struct surface *s, const char *path);

#endif
