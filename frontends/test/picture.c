/* SPDX-License-Identifier: MIT */
/* See picture.h. */
#include "frontends/test/picture.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIDE_MAX 8192u

int picture_read(struct picture *p, const char *path, char *error, unsigned size) {
  png_image image = {.version = PNG_IMAGE_VERSION};
  *p = (struct picture){0};
  if (!png_image_begin_read_from_file(&image, path)) {
    snprintf(error, size, "%s: %s", path, image.message);
    return -1;
  }
  if (image.width > SIDE_MAX || image.height > SIDE_MAX) {
    snprintf(error, size, "%s: larger than %u pixels", path, SIDE_MAX);
    png_image_free(&image);
    return -1;
  }
  image.format = PNG_FORMAT_BGRA;
  p->pixels = malloc(PNG_IMAGE_SIZE(image));
  if (!p->pixels || !png_image_finish_read(&image, NULL, p->pixels, 0, NULL)) {
    snprintf(error, size, "%s: %s", path, p->pixels ? image.message : "out of memory");
    png_image_free(&image);
    picture_free(p);
    return -1;
  }
  p->width = (int)image.width;
  p->height = (int)image.height;
  return 0;
}

void picture_free(struct picture *p) {
  free(p->pixels);
  p->pixels = NULL;
}

static bool differs(uint32_t a, uint32_t b, int tolerance) {
  if (((a ^ b) & 0xffffff) == 0)
    return false;
  for (int shift = 0; shift < 24; shift += 8)
    if (abs((int)(a >> shift & 0xff) - (int)(b >> shift & 0xff)) > tolerance)
      return true;
  return false;
}

static bool inside(const struct area *a, unsigned count, int x, int y) {
  for (unsigned i = 0; i < count; i++)
    if (x >= a[i].x && y >= a[i].y && x < a[i].x + a[i].width && y < a[i].y + a[i].height)
      return true;
  return false;
}

static uint32_t shadow(uint32_t pixel) {
  uint32_t sum = (pixel >> 16 & 0xff) + (pixel >> 8 & 0xff) + (pixel & 0xff);
  return (sum / 6) * 0x010101u;
}

int64_t picture_compare(const struct picture *p, const struct surface *s, const struct comparison *c,
                        struct picture *diff) {
  int64_t count = 0;
  if (p->width != s->width || p->height != s->height)
    return -1;
  if (diff) {
    *diff = (struct picture){.width = p->width, .height = p->height};
    diff->pixels = calloc((size_t)p->width * (size_t)p->height, sizeof *diff->pixels);
  }
  for (int y = 0; y < p->height; y++) {
    const uint32_t *want = p->pixels + (size_t)y * (size_t)p->width,
                   *have = s->pixels + (size_t)y * (size_t)s->stride;
    uint32_t *out = diff && diff->pixels ? diff->pixels + (size_t)y * (size_t)p->width : NULL;
    for (int x = 0; x < p->width; x++) {
      if ((c->regions && !inside(c->region, c->regions, x, y)) || inside(c->mask, c->masks, x, y))
        continue;
      bool bad = (want[x] >> 24) && differs(want[x], have[x], c->tolerance);
      count += bad;
      if (out)
        out[x] = bad ? 0xff0000 : shadow(have[x]);
    }
  }
  return count;
}

static bool is_at(const struct picture *p, const struct surface *s, const struct comparison *c, int x,
                  int y) {
  int64_t left = c->allowed;
  for (int j = 0; j < p->height; j++) {
    const uint32_t *want = p->pixels + (size_t)j * (size_t)p->width;
    const uint32_t *have = s->pixels + (size_t)(y + j) * (size_t)s->stride + x;
    for (int i = 0; i < p->width; i++)
      if ((want[i] >> 24) && differs(want[i], have[i], c->tolerance) && left-- == 0)
        return false;
  }
  return true;
}

bool picture_find(const struct picture *p, const struct surface *s, const struct comparison *c, int *x,
                  int *y) {
  for (*y = 0; *y + p->height <= s->height; ++*y)
    for (*x = 0; *x + p->width <= s->width; ++*x) {
      bool looked = !c->regions;
      for (unsigned i = 0; i < c->regions; i++) { /* wholly in a region */
        const struct area *r = &c->region[i];
        looked |= *x >= r->x && *y >= r->y && *x + p->width <= r->x + r->width &&
                  *y + p->height <= r->y + r->height;
      }
      if (looked && is_at(p, s, c, *x, *y))
        return true;
    }
  return false;
}
