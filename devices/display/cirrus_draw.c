/* SPDX-License-Identifier: MIT */
/*
 * What the CL-GD5446 shows: extended display addresses and depths (technical reference manual, chapters 5 and
 * 6: SR7, CR1A, CR1B, CR1D, the hidden DAC register) and the hardware cursor (SR10 to SR13, appendix on the
 * cursor).
 *
 * Not modelled: the video window, the overlay, colour keys, mixed 5-5-5 and palette pixels, 3-3-2 and grey
 * 8-bit pixels, clock-doubling restrictions.
 */
#include <string.h>

#include "devices/display/cirrus_state.h"

#define HEIGHT_MAX 2048
#define CURSOR_ON 0x01u
#define CURSOR_LARGE 0x04u
#define CURSOR_MEMORY 16384u /* patterns lie in the last 16 KB */

static enum vga_kind pixel_kind(const struct cirrus *c) {
  switch (c->vga.seq[7] >> 1 & 7) {
  case 1:
  case 3: return (c->hidden_dac & 15) == 1 ? VGA_VBE16 : VGA_VBE15;
  case 2: return VGA_VBE24;
  case 4: return VGA_VBE32;
  default: return VGA_VBE8;
  }
}

void cirrus_frame(const struct vga *v, struct vga_frame *f) {
  const struct cirrus *c = cirrus_of_const(v);
  const uint8_t *cr = v->crtc;

  f->start |= (cr[0x1b] & 0x01u) << 16 | (cr[0x1b] & 0x0cu) << 15 | (cr[0x1d] & 0x80u) << 12;
  f->pitch += (cr[0x1b] & 0x10u) << 5;
  f->plane_mask = v->plane_wrap;
  if (!cirrus_packed(c) || !(v->gc[6] & 1))
    return;
  f->kind = pixel_kind(c);
  f->xdup = v->seq[1] & 8 ? 2 : 1;
  f->width = (int)(f->chars * 8 * f->xdup);
  f->ydup *= f->max_scan + 1;
  if (cr[0x1a] & 1) /* interlaced: both fields */
    f->height *= 2;
  if (f->height > HEIGHT_MAX)
    f->height = HEIGHT_MAX;
  if (f->line_compare >= (uint32_t)f->height)
    f->line_compare = UINT32_MAX;
  f->start = f->start * 4 & (v->vram_size - 1);
  f->pitch *= 4;
  f->max_scan = f->preset_row = f->byte_pan = f->pan = 0;
  f->crtc_mode = f->crtc_underline = 0;
}

static uint32_t cursor_color(const struct cirrus *c, unsigned index) {
  const uint8_t *p = &c->hidden_palette[index * 3];
  uint32_t six = (uint32_t)p[0] << 16 | (uint32_t)p[1] << 8 | p[2];
  return (six << 2 & 0xfcfcfc) | (six >> 4 & 0x030303);
}

static void cursor_now(const struct cirrus *c, const struct vga_frame *f, struct cirrus_cursor *now) {
  const struct vga *v = &c->vga;
  memset(now, 0, sizeof *now);
  if (!(v->seq[0x12] & CURSOR_ON) || f->kind == VGA_TEXT || f->kind == VGA_BLANK)
    return;
  bool large = v->seq[0x12] & CURSOR_LARGE;
  now->x = c->cursor_x;
  now->y = c->cursor_y;
  now->size = large ? 64 : 32;
  now->color[0] = cursor_color(c, 0);
  now->color[1] = cursor_color(c, 15);
  uint32_t at = v->vram_size - CURSOR_MEMORY + (v->seq[0x13] & (large ? 0x3cu : 0x3fu)) * 256;
  memcpy(now->image, v->vram->host + at, large ? 1024 : 256);
}

static struct vga_lines cursor_lines(const struct cirrus_cursor *cursor) {
  return cursor->size ? (struct vga_lines){cursor->y, cursor->y + cursor->size - 1}
                      : (struct vga_lines){0, -1};
}

void cirrus_cursor_update(struct vga *v, const struct vga_frame *f) {
  struct cirrus *c = cirrus_of(v);
  struct cirrus_cursor now;
  cursor_now(c, f, &now);
  v->overlaid = cursor_lines(&now);
  if (!memcmp(&now, &c->cursor, sizeof now))
    return;
  v->overlay[0] = cursor_lines(&c->cursor);
  v->overlay[1] = v->overlaid;
  c->cursor = now;
}

/* Plane 1 and plane 0 of a pixel: 00 transparent, 01 inverted, 10 and 11 the two cursor colours. */
void cirrus_cursor_draw(struct vga *v, const struct vga_frame *f, uint32_t *line, int y) {
  const struct cirrus_cursor *cursor = &cirrus_of(v)->cursor;
  if (y < cursor->y || y >= cursor->y + cursor->size)
    return;
  bool large = cursor->size == 64;
  const uint8_t *plane0 = cursor->image + (y - cursor->y) * (large ? 16 : 4),
                *plane1 = plane0 + (large ? 8 : 128);
  for (int i = 0; i < cursor->size && cursor->x + i < f->width; i++) {
    unsigned bit0 = plane0[i / 8] >> (7 - i % 8) & 1, bit1 = plane1[i / 8] >> (7 - i % 8) & 1;
    if (bit1)
      line[cursor->x + i] = cursor->color[bit0];
    else if (bit0)
      line[cursor->x + i] ^= 0xffffff;
  }
}
