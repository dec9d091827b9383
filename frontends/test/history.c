/* SPDX-License-Identifier: MIT */
/* See history.h. */
#include "frontends/test/history.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS 4
#define GAP 4
#define GROUND 0x404040u

/* The mean of the pixels that fall on one of the small picture's. */
static uint32_t mean(const struct surface *s, int x0, int x1, int y0, int y1) {
  uint32_t r = 0, g = 0, b = 0, n = 0;
  for (int y = y0; y < y1; y++)
    for (int x = x0; x < x1; x++, n++) {
      uint32_t pixel = s->pixels[(size_t)y * (size_t)s->stride + (size_t)x];
      r += pixel >> 16 & 0xff;
      g += pixel >> 8 & 0xff;
      b += pixel & 0xff;
    }
  return n ? r / n << 16 | g / n << 8 | b / n : 0;
}

void history_add(struct history *h, const struct surface *s) {
  if (!s->pixels || s->width < 1 || s->height < 1)
    return;
  unsigned at = (h->first + h->count) % HISTORY_SCREENS;
  uint32_t *picture = h->picture[at];
  if (!picture && !(picture = malloc(HISTORY_WIDTH * HISTORY_HEIGHT * sizeof *picture)))
    return;
  h->picture[at] = picture;
  if (h->count < HISTORY_SCREENS)
    h->count++;
  else
    h->first = (h->first + 1) % HISTORY_SCREENS;
  for (int y = 0; y < HISTORY_HEIGHT; y++)
    for (int x = 0; x < HISTORY_WIDTH; x++) {
      int x0 = x * s->width / HISTORY_WIDTH, x1 = (x + 1) * s->width / HISTORY_WIDTH;
      int y0 = y * s->height / HISTORY_HEIGHT, y1 = (y + 1) * s->height / HISTORY_HEIGHT;
      picture[y * HISTORY_WIDTH + x] = mean(s, x0, x1 > x0 ? x1 : x0 + 1, y0, y1 > y0 ? y1 : y0 + 1);
    }
}

void history_free(struct history *h) {
  for (int i = 0; i < HISTORY_SCREENS; i++)
    free(h->picture[i]);
  *h = (struct history){0};
}

int history_write(const struct history *h, const char *path) {
  if (!h->count)
    return -ENOENT;
  int columns = h->count < COLUMNS ? (int)h->count : COLUMNS, rows = ((int)h->count + COLUMNS - 1) / COLUMNS;
  struct surface sheet = {.width = GAP + columns * (HISTORY_WIDTH + GAP),
                          .height = GAP + rows * (HISTORY_HEIGHT + GAP)};
  sheet.stride = sheet.width;
  size_t pixels = (size_t)sheet.width * (size_t)sheet.height;
  sheet.pixels = malloc(pixels * sizeof *sheet.pixels);
  if (!sheet.pixels)
    return -ENOMEM;
  for (size_t i = 0; i < pixels; i++)
    sheet.pixels[i] = GROUND;
  for (unsigned i = 0; i < h->count; i++) {
    const uint32_t *picture = h->picture[(h->first + i) % HISTORY_SCREENS];
    int left = GAP + (int)(i % COLUMNS) * (HISTORY_WIDTH + GAP),
        top = GAP + (int)(i / COLUMNS) * (HISTORY_HEIGHT + GAP);
    for (int y = 0; y < HISTORY_HEIGHT; y++)
      memcpy(sheet.pixels + (size_t)(top + y) * (size_t)sheet.stride + left, picture + y * HISTORY_WIDTH,
             HISTORY_WIDTH * sizeof *picture);
  }
  int error = image_write_png(&sheet, path);
  free(sheet.pixels);
  return error;
}
