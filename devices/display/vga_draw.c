/* SPDX-License-Identifier: MIT */
/*
 * From video memory to pixels: the CRTC's address counter, the graphics controller's shift modes, the
 * character generator, the attribute controller and the DAC, a scan line at a time, after the IBM VGA
 * technical reference. The surface shows what a monitor would: 320-pixel modes are doubled, 200-line modes
 * scanned twice.
 *
 * Only lines whose video memory, cursor or blinking changed are drawn again; a change of registers or palette
 * redraws everything. Not modelled: the border, changes within a frame, the internal palette in 256-colour
 * modes, nine-dot graphics, cursor and display skew.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/display/vga_state.h"

#define LINE_MAX                                                                                             \
  16384 /* colour indices of one line, with room for a panned-in character; or packed pixels                 \
         */
#define HEIGHT_MAX 2048
#define WIDTH_MIN 128
#define HEIGHT_MIN 60

static uint64_t bits_to_bytes[256]; /* leftmost pixel (bit 7) in the lowest byte, values 0 or 1 */

/* --- what the registers ask for --- */

static void frame_vbe(const struct vga *v, struct vga_frame *f) {
  static const struct {
    uint8_t bpp, kind, bytes;
  } depth[] = {
      {8, VGA_VBE8, 1}, {15, VGA_VBE15, 2}, {16, VGA_VBE16, 2}, {24, VGA_VBE24, 3}, {32, VGA_VBE32, 4}};
  const uint16_t *r = v->vbe;

  f->width = r[VBE_INDEX_XRES];
  f->height = r[VBE_INDEX_YRES];
  f->pitch = vbe_pitch(v);
  f->start = r[VBE_INDEX_Y_OFFSET] * f->pitch;
  f->line_compare = UINT32_MAX;
  f->xdup = f->ydup = 1;
  f->plane_mask = v->plane_wrap;
  if (r[VBE_INDEX_BPP] == 4) {
    f->kind = VGA_PLANAR;
    f->chars = (uint32_t)f->width / 8;
    f->cell_width = 8;
    f->start += r[VBE_INDEX_X_OFFSET] / 8;
    f->pan = r[VBE_INDEX_X_OFFSET] & 7;
    f->crtc_mode = 0xe3;
    f->color_enable = v->attr[0x12] & 15;
    return;
  }
  for (unsigned i = 0; i < sizeof depth / sizeof depth[0]; i++)
    if (depth[i].bpp == r[VBE_INDEX_BPP]) {
      f->kind = depth[i].kind;
      f->start += (uint32_t)r[VBE_INDEX_X_OFFSET] * depth[i].bytes;
    }
}

static void frame_kind(const struct vga *v, struct vga_frame *f) {
  bool slow = v->seq[1] & 8; /* dot clock halved */
  f->cell_width = 8;
  f->xdup = slow ? 2 : 1;
  f->pan = v->attr[0x13] & 7;
  if (!(v->gc[6] & 1)) {
    f->kind = VGA_TEXT;
    if (!(v->seq[1] & 1)) {
      f->cell_width = 9;
      f->pan = v->attr[0x13] >= 8 ? 0 : v->attr[0x13] + 1u;
    }
  } else if (v->gc[5] & 0x40) {
    f->kind = v->attr[0x10] & 0x40 ? VGA_256 : VGA_NIBBLES;
    if (f->kind == VGA_256) {
      f->cell_width = 4;
      f->xdup = 2;
      f->pan = v->attr[0x13] >> 1 & 3;
    }
  } else {
    f->kind = v->gc[5] & 0x20 ? VGA_CGA : VGA_PLANAR;
  }
}

static void frame_vga(const struct vga *v, struct vga_frame *f) {
  const uint8_t *cr = v->crtc;

  frame_kind(v, f);
  f->chars = cr[1] + 1u;
  f->width = (int)(f->chars * f->cell_width * f->xdup);
  f->height = (cr[0x12] | (cr[7] & 0x02) << 7 | (cr[7] & 0x40) << 3) + 1;
  f->line_compare = cr[0x18] | (cr[7] & 0x10u) << 4 | (cr[9] & 0x40u) << 3;
  f->ydup = cr[9] & 0x80 ? 2 : 1;
  if (cr[0x17] & 4) {
    f->height *= 2;
    f->ydup *= 2;
    f->line_compare = f->line_compare * 2 + 1;
  }
  if (f->height > HEIGHT_MAX)
    f->height = HEIGHT_MAX;
  f->max_scan = cr[9] & 0x1f;
  f->start = (uint32_t)cr[0x0c] << 8 | cr[0x0d];
  f->pitch = cr[0x13] * 2u;
  f->byte_pan = cr[8] >> 5 & 3;
  f->preset_row = cr[8] & 0x1f;
  f->plane_mask = VGA_PLANE_MASK;
  f->crtc_mode = cr[0x17];
  f->crtc_underline = cr[0x14];
  f->attr_mode = v->attr[0x10];
  f->split_unpanned = v->attr[0x10] & 0x20;
  f->color_enable = v->attr[0x12] & 15;
  f->font_a = ((v->seq[3] >> 5 & 1u) | (v->seq[3] >> 1 & 6u)) * 8192;
  f->font_b = ((v->seq[3] >> 4 & 1u) | (v->seq[3] << 1 & 6u)) * 8192;
}

static void frame_compute(const struct vga *v, struct vga_frame *f) {
  memset(f, 0, sizeof *f);
  if (vbe_enabled(v))
    frame_vbe(v, f);
  else
    frame_vga(v, f);
  if (v->ext && v->ext->frame)
    v->ext->frame(v, f);
  bool unlikely = f->width < WIDTH_MIN || f->height < HEIGHT_MIN; /* not programmed yet, or half of it */
  bool lit = v->ext && v->ext->packed_lit && f->kind >= VGA_VBE8;
  if (unlikely || (!lit && (v->seq[1] & 0x20)) || !(v->attr_index & 0x20)) {
    const struct surface *s = &v->display.surface;
    memset(f, 0, sizeof *f); /* keep the size: windows need not follow every step of a mode change */
    f->kind = VGA_BLANK;
    f->width = s->width ? s->width : 720;
    f->height = s->height ? s->height : 400;
  }
}

/* --- palette --- */

static uint32_t dac_color(const struct vga *v, uint8_t index) {
  const uint8_t *c = &v->dac[(index & v->dac_mask) * 3];
  if (v->vbe[VBE_INDEX_ENABLE] & VBE_8BIT_DAC)
    return (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
  uint32_t six = (uint32_t)c[0] << 16 | (uint32_t)c[1] << 8 | c[2];
  return (six << 2 & 0xfcfcfc) | (six >> 4 & 0x030303);
}

static void palette_compute(struct vga *v) {
  uint32_t old[256], old16[16];
  memcpy(old, v->palette, sizeof old);
  memcpy(old16, v->palette16, sizeof old16);
  v->palette_stale = false;
  for (unsigned i = 0; i < 256; i++)
    v->palette[i] = dac_color(v, (uint8_t)i);
  for (unsigned i = 0; i < 16; i++) {
    unsigned index = v->attr[i] & 0x3f;
    if (v->attr[0x10] & 0x80)
      index = (index & 0x0f) | (v->attr[0x14] & 3) << 4;
    v->palette16[i] = dac_color(v, (uint8_t)(index | (v->attr[0x14] & 0x0c) << 4));
  }
  if (memcmp(old, v->palette, sizeof old) || memcmp(old16, v->palette16, sizeof old16))
    v->redraw_all = true;
}

/* --- one line: colour indices --- */

/* The CRTC's address multiplexer: where character clock `ma` of row scan `row` is fetched from, in each
 * plane. */
static inline uint32_t plane_offset(const struct vga_frame *f, uint32_t ma, uint32_t row) {
  uint32_t a = ma, shift = 0;
  if (f->crtc_underline & 0x40)
    shift = 2; /* doubleword mode: our planes are packed, see vga_state.h */
  else if (!(f->crtc_mode & 0x40))
    a = ma << 1 | (ma >> (f->crtc_mode & 0x20 ? 15 : 13) & 1);
  if (!(f->crtc_mode & 1))
    a = (a & ~(0x2000u >> shift)) | (row & 1) << (13 - shift);
  if (!(f->crtc_mode & 2))
    a = (a & ~(0x4000u >> shift)) | (row >> 1 & 1) << (14 - shift);
  return a & f->plane_mask;
}

static inline uint32_t count_shift(const struct vga_frame *f) { /* "count by two" and "by four" */
  return f->crtc_underline & 0x20 ? 2 : f->crtc_mode & 0x08 ? 1 : 0;
}

static inline const uint8_t *fetch(const struct vga *v, uint32_t ma, uint32_t row) {
  return v->vram->host + (size_t)plane_offset(&v->frame, ma, row) * 4;
}

static inline void put8(uint8_t *out, uint64_t pixels) { memcpy(out, &pixels, 8); }

static void gather_planar(struct vga *v, uint32_t ma, uint32_t row, uint32_t chars) {
  uint8_t *out = v->pixel_line;
  uint32_t shift = count_shift(&v->frame);
  uint64_t enable = v->frame.color_enable * 0x0101010101010101ull;
  for (uint32_t i = 0; i < chars; i++, out += 8) {
    const uint8_t *p = fetch(v, ma + (i >> shift), row);
    put8(out, (bits_to_bytes[p[0]] | bits_to_bytes[p[1]] << 1 | bits_to_bytes[p[2]] << 2 |
               bits_to_bytes[p[3]] << 3) &
                  enable);
  }
}

static void gather_cga(struct vga *v, uint32_t ma, uint32_t row, uint32_t chars) {
  uint8_t *out = v->pixel_line;
  uint32_t shift = count_shift(&v->frame);
  for (uint32_t i = 0; i < chars; i++) {
    const uint8_t *p = fetch(v, ma + (i >> shift), row);
    for (int half = 0; half < 2; half++)
      for (int bit = 6; bit >= 0; bit -= 2)
        *out++ = ((p[half] >> bit & 3) | (p[half + 2] >> bit & 3) << 2) & v->frame.color_enable;
  }
}

static void gather_nibbles(struct vga *v, uint32_t ma, uint32_t row, uint32_t chars) {
  uint8_t *out = v->pixel_line;
  uint32_t shift = count_shift(&v->frame);
  for (uint32_t i = 0; i < chars; i++) {
    const uint8_t *p = fetch(v, ma + (i >> shift), row);
    for (int plane = 0; plane < 4; plane++) {
      *out++ = p[plane] >> 4 & v->frame.color_enable;
      *out++ = p[plane] & 15 & v->frame.color_enable;
    }
  }
}

static void gather_256(struct vga *v, uint32_t ma, uint32_t row, uint32_t chars) {
  uint32_t shift = count_shift(&v->frame);
  for (uint32_t i = 0; i < chars; i++)
    memcpy(v->pixel_line + i * 4, fetch(v, ma + (i >> shift), row), 4);
}

static bool cursor_at(uint32_t cursor, uint32_t ma, uint32_t row) {
  return cursor && (cursor & 0xffff) == (ma & 0xffff) && row >= (cursor >> 21 & 31) &&
         row <= (cursor >> 16 & 31);
}

static void gather_text(struct vga *v, uint32_t ma, uint32_t row, uint32_t chars) {
  const struct vga_frame *f = &v->frame;
  uint8_t *out = v->pixel_line;
  uint32_t shift = count_shift(f);
  bool blink = f->attr_mode & 8, line_graphics = f->attr_mode & 4;
  for (uint32_t i = 0; i < chars; i++) {
    uint32_t at = ma + (i >> shift);
    const uint8_t *p = fetch(v, at, row);
    uint8_t code = p[0], attr = p[1], bits = v->font[attr & 8 ? 0 : 1][code * 32 + row];
    uint64_t fg = attr & 15, bg = attr >> 4;
    if ((attr & 7) == 1 && row == (f->crtc_underline & 31u))
      bits = 0xff;
    bool ninth = line_graphics && code >= 0xc0 && code <= 0xdf && (bits & 1);
    if (blink) {
      bg &= 7;
      if (attr & 0x80) {
        v->blink_seen = true;
        if (v->blink_drawn)
          bits = 0, ninth = false;
      }
    }
    if (cursor_at(v->cursor_drawn, at, row))
      bits = 0xff, ninth = true;
    put8(out, bg * 0x0101010101010101ull ^ bits_to_bytes[bits] * (fg ^ bg));
    out += 8;
    if (f->cell_width == 9)
      *out++ = (uint8_t)(ninth ? fg : bg);
  }
}

/* --- one line: pixels --- */

static void line_vga(struct vga *v, uint32_t *dst, uint32_t ma, uint32_t row, uint32_t pan) {
  const struct vga_frame *f = &v->frame;
  uint32_t chars = f->chars + (pan ? 1 : 0), count = f->chars * f->cell_width;
  switch (f->kind) {
  case VGA_TEXT: gather_text(v, ma, row, chars); break;
  case VGA_PLANAR: gather_planar(v, ma, row, chars); break;
  case VGA_CGA: gather_cga(v, ma, row, chars); break;
  case VGA_NIBBLES: gather_nibbles(v, ma, row, chars); break;
  default: gather_256(v, ma, row, chars); break;
  }
  const uint8_t *src = v->pixel_line + pan;
  const uint32_t *palette = f->kind == VGA_256 ? v->palette : v->palette16;
  if (f->xdup == 1) {
    for (uint32_t i = 0; i < count; i++)
      dst[i] = palette[src[i]];
  } else {
    for (uint32_t i = 0; i < count; i++)
      dst[2 * i] = dst[2 * i + 1] = palette[src[i]];
  }
}

static void line_vbe(struct vga *v, uint32_t *dst, const uint8_t *src) {
  const struct vga_frame *f = &v->frame;
  int width = f->width / (int)f->xdup;
  uint16_t word;

  switch (f->kind) {
  case VGA_VBE8:
    for (int i = 0; i < width; i++)
      dst[i] = v->palette[src[i]];
    break;
  case VGA_VBE15:
    for (int i = 0; i < width; i++) {
      memcpy(&word, src + 2 * i, 2);
      uint32_t c = (word & 0x7c00u) << 9 | (word & 0x03e0u) << 6 | (word & 0x001fu) << 3;
      dst[i] = c | (c >> 5 & 0x070707);
    }
    break;
  case VGA_VBE16:
    for (int i = 0; i < width; i++) {
      memcpy(&word, src + 2 * i, 2);
      uint32_t rb = (word & 0xf800u) << 8 | (word & 0x001fu) << 3, g = (word & 0x07e0u) << 5;
      dst[i] = rb | (rb >> 5 & 0x070007) | g | (g >> 6 & 0x000300);
    }
    break;
  case VGA_VBE24:
    for (int i = 0; i < width; i++)
      dst[i] = src[3 * i] | (uint32_t)src[3 * i + 1] << 8 | (uint32_t)src[3 * i + 2] << 16;
    break;
  default: memcpy(dst, src, (size_t)width * 4); break;
  }
  if (f->xdup == 2)
    for (int i = width - 1; i >= 0; i--)
      dst[2 * i] = dst[2 * i + 1] = dst[i];
}

/* --- a frame --- */

static bool pages_dirty(const struct vga *v, uint32_t first, uint32_t last) { /* byte offsets in VRAM */
  for (uint32_t page = first / MEM_PAGE; page <= last / MEM_PAGE; page++)
    if (v->dirty[page])
      return true;
  return false;
}

/* Take over the dirty marks of bytes first .. last and clear them, a run of pages at a time. */
static bool dirty_collect(struct vga *v, uint32_t first, uint32_t last) {
  uint32_t page = first / MEM_PAGE, end = last / MEM_PAGE + 1;
  bool any = false;
  memcpy(v->dirty + page, v->vram->log + page, end - page);
  while (page < end) {
    if (!v->dirty[page]) {
      page++;
      continue;
    }
    uint32_t from = page;
    while (page < end && v->dirty[page])
      page++;
    mem_log_clear(v->dev.mem, v->vram, (uint64_t)from * MEM_PAGE, (uint64_t)(page - from) * MEM_PAGE);
    any = true;
  }
  return any;
}

static bool font_refresh(struct vga *v, int n, uint32_t offset) {
  const uint8_t *src = v->vram->host + (size_t)offset * 4 + 2;
  bool changed = false;
  if (!v->redraw_all && !pages_dirty(v, offset * 4, offset * 4 + 8192 * 4 - 1))
    return false;
  for (int i = 0; i < 8192; i++) {
    changed |= v->font[n][i] != src[i * 4];
    v->font[n][i] = src[i * 4];
  }
  return changed;
}

static uint32_t cursor_now(struct vga *v, int64_t frames) {
  const uint8_t *cr = v->crtc;
  uint32_t start = cr[0x0a] & 31, end = cr[0x0b] & 31;
  if ((cr[0x0a] & 0x20) || start > end || (frames & 8))
    return 0;
  return 0x80000000u | start << 21 | end << 16 | (uint32_t)cr[0x0e] << 8 | cr[0x0f];
}

static bool cursor_in(uint32_t cursor, uint32_t ma, uint32_t chars) {
  return cursor && ((cursor - ma) & 0xffff) < chars;
}

/* Prepare a text frame: fonts, cursor and blinking. Returns the cursor as drawn before. */
static uint32_t text_prepare(struct vga *v) {
  int64_t frames = clock_now(v->dev.clock) / vga_get_timing(v)->frame_ns;
  uint32_t cursor_before = v->cursor_drawn;
  bool hidden = frames & 16;

  bool changed = font_refresh(v, 0, v->frame.font_a);
  changed |= font_refresh(v, 1, v->frame.font_b);
  if (hidden != v->blink_drawn && v->blink_seen)
    changed = true;
  v->redraw_all |= changed;
  v->blink_drawn = hidden;
  if (v->redraw_all)
    v->blink_seen = false;
  v->cursor_drawn = cursor_now(v, frames);
  return cursor_before;
}

static bool line_in(const struct vga_lines *lines, int y) { return y >= lines->first && y <= lines->last; }

/* Is an overlay to be drawn on line y, or to be wiped from it? */
static bool line_overlaid(const struct vga *v, int y) {
  return line_in(&v->overlay[0], y) || line_in(&v->overlay[1], y);
}

static void line_changed(struct vga *v, struct vga_lines *changed, int y) {
  struct surface *s = &v->display.surface;
  if (v->ext && v->ext->overlay)
    v->ext->overlay(v, &v->frame, s->pixels + (size_t)y * (size_t)s->stride, y);
  if (changed->first < 0)
    changed->first = y;
  changed->last = y;
}

static void frame_draw_vga(struct vga *v, struct vga_lines *changed) {
  const struct vga_frame *f = &v->frame;
  struct surface *s = &v->display.surface;
  bool text = f->kind == VGA_TEXT, before_drawn = false;
  uint32_t cursor_before = text ? text_prepare(v) : 0;
  uint32_t ma = f->start + f->byte_pan, row = f->preset_row, repeat = 0, pan = f->pan;
  uint32_t row_end = f->chars + (pan ? 1 : 0), before_ma = 0, before_row = 0, before_pan = 0;
  bool interleaved = text || (f->crtc_mode & 3) != 3; /* the picture depends on the row counter */

  for (int y = 0; y < f->height; y++) {
    uint32_t *dst = s->pixels + (size_t)y * (size_t)s->stride, row_key = interleaved ? row : 0;
    bool overlaid = line_overlaid(v, y);
    if (y > 0 && ma == before_ma && row_key == before_row && pan == before_pan && !overlaid &&
        !line_in(&v->overlaid, y - 1)) {
      if (before_drawn)
        memcpy(dst, dst - s->stride, (size_t)f->width * 4);
    } else {
      uint32_t first = plane_offset(f, ma, row), last = plane_offset(f, ma + row_end, row);
      before_drawn = v->redraw_all || overlaid || last < first || pages_dirty(v, first * 4, last * 4 + 3);
      if (text && cursor_before != v->cursor_drawn)
        before_drawn |= cursor_in(cursor_before, ma, row_end) || cursor_in(v->cursor_drawn, ma, row_end);
      if (before_drawn)
        line_vga(v, dst, ma, row, pan);
      before_ma = ma;
      before_row = row_key;
      before_pan = pan;
    }
    if (before_drawn)
      line_changed(v, changed, y);
    if ((uint32_t)y == f->line_compare) {
      ma = row = repeat = 0;
      if (f->split_unpanned)
        pan = 0;
      else
        ma = f->byte_pan;
    } else if (++repeat == f->ydup) {
      repeat = 0;
      if (row == f->max_scan) {
        row = 0;
        ma += f->pitch;
      } else {
        row = (row + 1) & 31;
      }
    }
  }
}

static uint32_t packed_length(const struct vga_frame *f) {
  static const uint8_t bytes[] = {
      [VGA_VBE8] = 1, [VGA_VBE15] = 2, [VGA_VBE16] = 2, [VGA_VBE24] = 3, [VGA_VBE32] = 4};
  return (uint32_t)f->width / f->xdup * bytes[f->kind];
}

/* Packed pixels of a line; memory wraps around. */
static const uint8_t *packed_line(struct vga *v, uint32_t offset, uint32_t length) {
  uint32_t room = v->vram_size - offset;
  if (length <= room)
    return v->vram->host + offset;
  memcpy(v->pixel_line, v->vram->host + offset, room);
  memcpy(v->pixel_line + room, v->vram->host, length - room);
  return v->pixel_line;
}

static bool packed_dirty(const struct vga *v, uint32_t offset, uint32_t length) {
  if (length <= v->vram_size - offset)
    return pages_dirty(v, offset, offset + length - 1);
  return pages_dirty(v, offset, v->vram_size - 1) || pages_dirty(v, 0, length - (v->vram_size - offset) - 1);
}

static uint32_t packed_offset(const struct vga *v, const struct vga_frame *f, uint32_t y) {
  bool below = y > f->line_compare;
  uint32_t row = (below ? y - f->line_compare - 1 : y) / f->ydup;
  return ((below ? 0 : f->start) + row * f->pitch) & (v->vram_size - 1);
}

static void frame_draw_vbe(struct vga *v, struct vga_lines *changed) {
  const struct vga_frame *f = &v->frame;
  struct surface *s = &v->display.surface;
  uint32_t length = packed_length(f);

  DGM_ASSERT(length <= LINE_MAX && length <= v->vram_size);
  for (int y = 0; y < f->height; y++) {
    uint32_t offset = packed_offset(v, f, (uint32_t)y);
    if (!v->redraw_all && !line_overlaid(v, y) && !packed_dirty(v, offset, length))
      continue;
    line_vbe(v, s->pixels + (size_t)y * (size_t)s->stride, packed_line(v, offset, length));
    line_changed(v, changed, y);
  }
}

/* Collect the dirty marks of all that a frame of packed pixels may show. */
static bool packed_collect(struct vga *v, const struct vga_frame *f) {
  uint64_t last = f->start + (uint64_t)f->pitch * (uint32_t)(f->height - 1) + packed_length(f) - 1;
  if (f->line_compare < (uint32_t)f->height || last >= v->vram_size)
    return dirty_collect(v, 0, v->vram_size - 1);
  return dirty_collect(v, f->start, (uint32_t)last);
}

static bool surface_resize(struct vga *v) {
  struct surface *s = &v->display.surface;
  size_t need = (size_t)v->frame.width * (size_t)v->frame.height;
  if (need > v->surface_capacity) {
    uint32_t *pixels = realloc(s->pixels, need * 4);
    if (!pixels) {
      memset(&v->frame, 0, sizeof v->frame); /* try again next time */
      return false;
    }
    s->pixels = pixels;
    v->surface_capacity = need;
  }
  s->width = s->stride = v->frame.width;
  s->height = v->frame.height;
  v->display.generation++;
  v->redraw_all = true;
  return true;
}

static bool display_refresh(struct display *d, int *x, int *y, int *w, int *h) {
  struct vga *v = d->opaque;
  struct vga_lines changed = {-1, -1};
  struct vga_frame now;

  frame_compute(v, &now);
  if (memcmp(&now, &v->frame, sizeof now)) {
    v->frame = now;
    v->redraw_all = true;
  }
  if ((now.width != d->surface.width || now.height != d->surface.height) && !surface_resize(v))
    return false;
  if (v->palette_stale)
    palette_compute(v);
  v->overlay[0] = v->overlay[1] = v->overlaid = (struct vga_lines){0, -1};
  if (v->ext && v->ext->overlay_update)
    v->ext->overlay_update(v, &v->frame);
  switch (now.kind) {
  case VGA_BLANK:
    if (v->redraw_all) {
      memset(d->surface.pixels, 0, (size_t)now.width * (size_t)now.height * 4);
      changed = (struct vga_lines){0, now.height - 1};
    }
    break;
  case VGA_TEXT:
  case VGA_PLANAR:
  case VGA_CGA:
  case VGA_NIBBLES:
  case VGA_256:
    dirty_collect(v, 0, now.plane_mask * 4 + 3);
    frame_draw_vga(v, &changed);
    break;
  default:
    if (packed_collect(v, &now) || v->redraw_all || v->overlay[0].last >= 0 || v->overlay[1].last >= 0)
      frame_draw_vbe(v, &changed);
  }
  v->redraw_all = false;
  *x = 0;
  *w = now.width;
  *y = changed.first < 0 ? 0 : changed.first;
  *h = changed.first < 0 ? 0 : changed.last - changed.first + 1;
  return changed.first >= 0;
}

static void display_invalidate(struct display *d) { ((struct vga *)d->opaque)->redraw_all = true; }

/* --- what monitors and tests ask --- */

static int display_text(struct display *d, uint8_t *buf, uint8_t *attrs, int size, int *rows, int *cursor_x,
                        int *cursor_y) {
  struct vga *v = d->opaque;
  struct vga_frame f;

  frame_compute(v, &f);
  if (f.kind != VGA_TEXT)
    return 0;
  int columns = (int)f.chars, lines = f.height / (int)((f.max_scan + 1) * f.ydup);
  if (lines < 1 || columns > size)
    return 0;
  if (lines > size / columns)
    lines = size / columns;
  for (int y = 0; y < lines; y++)
    for (int x = 0; x < columns; x++) {
      uint32_t ma = f.start + f.byte_pan + (uint32_t)y * f.pitch + ((uint32_t)x >> count_shift(&f));
      const uint8_t *p = v->vram->host + (size_t)plane_offset(&f, ma, 0) * 4;
      buf[y * columns + x] = p[0];
      if (attrs)
        attrs[y * columns + x] = p[1];
    }
  *rows = lines;
  uint32_t at = ((uint32_t)v->crtc[0x0e] << 8 | v->crtc[0x0f]) - f.start;
  uint32_t cy = f.pitch ? at / f.pitch : 0, cx = f.pitch ? at % f.pitch : at;
  bool inside = cx < f.chars && cy < (uint32_t)lines;
  if (cursor_x)
    *cursor_x = inside ? (int)cx : -1;
  if (cursor_y)
    *cursor_y = inside ? (int)cy : -1;
  return columns;
}

static const char *display_mode_name(struct display *d) {
  static const uint8_t bits[] = {0, 0, 4, 2, 4, 8, 8, 15, 16, 24, 32};
  struct vga *v = d->opaque;
  struct vga_frame f;

  frame_compute(v, &f);
  int rows = (int)(f.ydup * (f.max_scan + 1));
  if (f.kind == VGA_BLANK)
    snprintf(v->mode_text, sizeof v->mode_text, "blank");
  else if (f.kind == VGA_TEXT)
    snprintf(v->mode_text, sizeof v->mode_text, "%ux%d text", f.chars, f.height / rows);
  else
    snprintf(v->mode_text, sizeof v->mode_text, "%dx%dx%d", f.width / (int)f.xdup,
             f.height / ((f.crtc_mode & 3) == 3 || !f.crtc_mode ? rows : (int)f.ydup), bits[f.kind]);
  return v->mode_text;
}

int vga_draw_init(struct vga *v) {
  for (int i = 0; i < 256; i++)
    for (int bit = 0; bit < 8; bit++)
      if (i >> (7 - bit) & 1)
        bits_to_bytes[i] |= 1ull << (8 * bit);
  v->dirty = calloc(1, v->vram_size / MEM_PAGE);
  v->pixel_line = calloc(1, LINE_MAX);
  v->display.refresh = display_refresh;
  v->display.invalidate = display_invalidate;
  v->display.text = display_text;
  v->display.mode_name = display_mode_name;
  v->display.opaque = v;
  return v->dirty && v->pixel_line ? 0 : -ENOMEM;
}

void vga_draw_free(struct vga *v) {
  free(v->dirty);
  free(v->pixel_line);
  free(v->display.surface.pixels);
}
