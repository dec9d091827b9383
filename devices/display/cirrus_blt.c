/* SPDX-License-Identifier: MIT */
/*
 * The BitBLT engine of the CL-GD5446 (technical reference manual, chapter 9 and GR0/1, GR10 to GR15, GR20 to
 * GR35): copies between memory and memory, from and to the CPU, 8x8 patterns, solid fills, colour expansion,
 * 16 raster operations, transparency and left clipping. A BitBLT takes no time, but for what the CPU has to
 * deliver or fetch.
 *
 * Lines are done one by one: the line's source pixels and a mask of the bytes to write are made up, combined
 * with the destination eight bytes at a time and stored. All addresses wrap at the end of memory. Where the
 * manual leaves things undefined: transparency by colour needs 8- or 16-bit pixels, else it is ignored;
 * direction matters for plain copies only; overlapping copies behave as if done byte by byte, or pixel by
 * pixel with transparency.
 *
 * Not modelled: synchronisation with the display (GR33[5:4]) and suspending a BitBLT.
 */
#include <string.h>

#include "devices/display/cirrus_state.h"

#define MODE_BACKWARDS 0x01u
#define MODE_SYSTEM_DST 0x02u
#define MODE_SYSTEM_SRC 0x04u
#define MODE_TRANSPARENT 0x08u
#define MODE_PATTERN 0x40u
#define MODE_EXPAND 0x80u

#define EXT_DWORD_GRANULES 0x01u
#define EXT_INVERT 0x02u
#define EXT_SOLID 0x04u
#define EXT_BACKGROUND_CLIP 0x08u

#define GR31_START 0x02u
#define GR31_RESET 0x04u
#define GR31_AUTOSTART 0x80u

#define TRUTH_COPY 0xc
#define TRUTH_KEEP 0xa
#define LINE (CIRRUS_BLT_WIDTH + 8) /* room for a whole last pixel, and for whole words */

/* GR32 to a truth table: bit (S << 1 | D) is the result. What is no operation keeps the destination. */
static uint8_t truth_of(uint8_t operation) {
  switch (operation) {
  case 0x00: return 0x0;
  case 0x05: return 0x8; /* S and D */
  case 0x06: return TRUTH_KEEP;
  case 0x09: return 0x4; /* S and not D */
  case 0x0b: return 0x5; /* not D */
  case 0x0d: return TRUTH_COPY;
  case 0x0e: return 0xf;
  case 0x50: return 0x2; /* not S and D */
  case 0x59: return 0x6; /* S xor D */
  case 0x6d: return 0xe; /* S or D */
  case 0x90: return 0x7; /* not S or not D */
  case 0x95: return 0x9; /* S xnor D */
  case 0xad: return 0xd; /* S or not D */
  case 0xd0: return 0x3; /* not S */
  case 0xd6: return 0xb; /* not S or D */
  case 0xda: return 0x1; /* not S and not D */
  default: return TRUTH_KEEP;
  }
}

/* Wherever S is 1 the result is D and/xor with one pair of constants, wherever it is 0 with another. */
struct combiner {
  uint64_t and0, xor0, and1, xor1;
};

static struct combiner combiner_of(uint8_t truth) {
  uint64_t t00 = truth & 1 ? ~0ull : 0, t01 = truth & 2 ? ~0ull : 0, t10 = truth & 4 ? ~0ull : 0,
           t11 = truth & 8 ? ~0ull : 0;
  return (struct combiner){t00 ^ t01, t00, t10 ^ t11, t10};
}

static inline uint64_t combine(const struct combiner *k, uint64_t s, uint64_t d) {
  return (s & ((d & k->and1) ^ k->xor1)) | (~s & ((d & k->and0) ^ k->xor0));
}

/* --- a line --- */

static void combine_line(uint8_t truth, const uint8_t *src, const uint8_t *dst, uint8_t *out, uint32_t n) {
  struct combiner k = combiner_of(truth);
  uint32_t i = 0;
  uint64_t s, d;
  for (; i + 8 <= n; i += 8) {
    memcpy(&s, src + i, 8);
    memcpy(&d, dst + i, 8);
    d = combine(&k, s, d);
    memcpy(out + i, &d, 8);
  }
  for (; i < n; i++)
    out[i] = (uint8_t)combine(&k, src[i], dst[i]);
}

/* Clear the mask where the result is the transparent colour. A last odd byte counts as a pixel of its own. */
static void mask_key(const struct cirrus_blt *b, const uint8_t *result, uint8_t *mask, uint32_t n,
                     uint32_t first) {
  if (b->depth == 1) {
    for (uint32_t i = 0; i < n; i++)
      if (result[i] == b->key[0])
        mask[i] = 0;
    return;
  }
  if (first && n && result[0] == b->key[0])
    mask[0] = 0;
  for (uint32_t i = first; i < n; i += 2)
    if (result[i] == b->key[0] && (i + 1 == n || result[i + 1] == b->key[1])) {
      mask[i] = 0;
      if (i + 1 < n)
        mask[i + 1] = 0;
    }
}

static bool keyed(const struct cirrus_blt *b) {
  return (b->mode & (MODE_TRANSPARENT | MODE_EXPAND)) == MODE_TRANSPARENT && b->depth <= 2;
}

static void memory_get(const struct vga *v, uint32_t at, uint8_t *to, uint32_t n) {
  at &= v->vram_size - 1;
  uint32_t room = v->vram_size - at, head = n < room ? n : room;
  memcpy(to, v->vram->host + at, head);
  memcpy(to + head, v->vram->host, n - head);
}

static void memory_put(struct vga *v, uint32_t at, const uint8_t *from, uint32_t n) {
  at &= v->vram_size - 1;
  uint32_t room = v->vram_size - at, head = n < room ? n : room;
  memcpy(v->vram->host + at, from, head);
  mem_log_mark(v->vram, at, head);
  if (head < n) {
    memcpy(v->vram->host, from + head, n - head);
    mem_log_mark(v->vram, 0, n - head);
  }
}

/* Combine n bytes with the destination at `at`. mask: bytes to write, NULL: all; it is changed. `first`:
 * bytes before the first whole pixel. */
static void put_line(struct cirrus *c, uint32_t at, const uint8_t *src, uint8_t *mask, uint32_t n,
                     uint32_t first) {
  struct cirrus_blt *b = &c->blt;
  uint8_t dst[LINE], all[LINE];

  if (b->truth == TRUTH_COPY && !mask && !keyed(b)) {
    memory_put(&c->vga, at, src, n);
    return;
  }
  uint8_t result[LINE];
  memory_get(&c->vga, at, dst, n);
  combine_line(b->truth, src, dst, result, n);
  if (keyed(b)) {
    if (!mask) {
      mask = all;
      memset(mask, 0xff, n);
    }
    mask_key(b, result, mask, n, first);
  }
  if (mask)
    for (uint32_t i = 0; i < n; i++)
      result[i] = (result[i] & mask[i]) | (dst[i] & ~mask[i]);
  memory_put(&c->vga, at, result, n);
}

/* --- source pixels --- */

static uint32_t pixels(const struct cirrus_blt *b) { return (b->width + b->depth - 1) / b->depth; }

/* Expand bits, most significant first, to pixels; repeat: the first eight again and again. Pixels and masks
 * are written four bytes at a time: what is too much the next one covers. */
static void expand(const struct cirrus_blt *b, const uint8_t *bits, bool repeat, uint8_t *src,
                   uint8_t *mask) {
  bool transparent = b->mode & MODE_TRANSPARENT,
       clip_background = !transparent && (b->modeext & EXT_BACKGROUND_CLIP);
  uint32_t invert = transparent && (b->modeext & EXT_INVERT) ? ~0u : 0;
  uint32_t count = pixels(b), depth = b->depth, end = count * depth;

  for (uint32_t i = 0, at = 0; i < count; i++, at += depth) {
    uint32_t set = -(uint32_t)(bits[repeat ? 0 : i / 8] >> (7 - i % 8) & 1);
    memcpy(src + at, set ? b->fg : b->bg, 4);
    set = transparent ? set ^ invert : clip_background && at < b->skip ? set : ~0u;
    memcpy(mask + at, &set, 4);
  }
  if (!clip_background)
    memset(mask, 0, b->skip < end ? b->skip : end);
  for (uint32_t at = b->skip; clip_background && at < end && at % depth; at++)
    mask[at] = 0xff; /* 24-bit pixels are clipped by the byte */
}

static bool masked(const struct cirrus_blt *b) { return (b->mode & MODE_TRANSPARENT) || b->skip; }

static uint32_t pattern_pitch(const struct cirrus_blt *b) {
  return b->mode & MODE_EXPAND ? 1 : b->depth == 3 ? 32 : 8u * b->depth;
}

static bool solid(const struct cirrus_blt *b) {
  return (b->modeext & EXT_SOLID) &&
         (b->mode & (MODE_PATTERN | MODE_EXPAND | MODE_TRANSPARENT)) == (MODE_PATTERN | MODE_EXPAND);
}

/* n bytes of a sequence that repeats every `period`. */
static void repeat_bytes(uint8_t *to, const uint8_t *from, uint32_t period, uint32_t n) {
  uint32_t have = period < n ? period : n;
  memcpy(to, from, have);
  while (have < n) { /* a multiple of the period each time */
    uint32_t more = have < n - have ? have : n - have;
    memcpy(to + have, to, more);
    have += more;
  }
}

static void fill(struct cirrus *c) {
  struct cirrus_blt *b = &c->blt;
  uint8_t src[LINE];
  repeat_bytes(src, b->fg, b->depth, b->width);
  for (; b->height; b->height--, b->dst += b->dst_pitch)
    put_line(c, b->dst, src, NULL, b->width, 0);
}

/* An 8x8 pattern, whose rows are in `pattern`. */
static void fill_pattern(struct cirrus *c, const uint8_t *pattern) {
  struct cirrus_blt *b = &c->blt;
  uint32_t pitch = pattern_pitch(b), period = 8u * b->depth;
  uint8_t src[LINE], mask[LINE];

  for (uint32_t y = b->preset; b->height; b->height--, y++, b->dst += b->dst_pitch) {
    const uint8_t *row = pattern + (y & 7) * pitch;
    if (b->mode & MODE_EXPAND) {
      expand(b, row, true, src, mask);
    } else {
      repeat_bytes(src, row, period, b->width);
      memset(mask, 0xff, b->width);
      memset(mask, 0, b->skip < b->width ? b->skip : b->width);
    }
    put_line(c, b->dst, src, masked(b) ? mask : NULL, b->width, 0);
  }
}

/* One line of data from the CPU or, expanding, from memory. */
static void put_data(struct cirrus *c, const uint8_t *data) {
  struct cirrus_blt *b = &c->blt;
  uint8_t src[LINE], mask[LINE];
  if (b->mode & MODE_EXPAND) {
    expand(b, data, false, src, mask);
    put_line(c, b->dst, src, masked(b) ? mask : NULL, b->width, 0);
  } else {
    put_line(c, b->dst, data, NULL, b->width, 0);
  }
  b->dst += b->dst_pitch;
}

/* Memory to memory, upwards. Where the line runs into its own source it goes in steps that don't. */
static void copy_forward(struct cirrus *c) {
  struct cirrus_blt *b = &c->blt;
  uint8_t src[LINE];
  uint32_t distance = (b->dst - b->src) & (c->vga.vram_size - 1), step = b->width;
  if (distance && distance < step)
    step = keyed(b) && b->depth == 2 ? (distance < 2 ? 2 : distance & ~1u) : distance;
  for (uint32_t i = 0; i < b->width; i += step) {
    uint32_t n = b->width - i < step ? b->width - i : step;
    memory_get(&c->vga, b->src + i, src, n);
    put_line(c, b->dst + i, src, NULL, n, 0);
  }
}

/* The addresses are of the last byte, and pixels are counted from there. */
static void copy_backward(struct cirrus *c) {
  struct cirrus_blt *b = &c->blt;
  uint8_t src[LINE];
  uint32_t distance = (b->src - b->dst) & (c->vga.vram_size - 1), step = b->width;
  if (distance && distance < step)
    step = keyed(b) && b->depth == 2 ? (distance < 2 ? 2 : distance & ~1u) : distance;
  for (uint32_t i = 0; i < b->width; i += step) {
    uint32_t n = b->width - i < step ? b->width - i : step;
    memory_get(&c->vga, b->src - i - (n - 1), src, n);
    put_line(c, b->dst - i - (n - 1), src, NULL, n, n & 1);
  }
}

static void copy(struct cirrus *c) {
  struct cirrus_blt *b = &c->blt;
  for (; b->height; b->height--) {
    if (b->mode & MODE_BACKWARDS)
      copy_backward(c);
    else
      copy_forward(c);
    b->dst += b->dst_pitch;
    b->src += b->src_pitch;
  }
}

/* Bits in memory lie without gaps but for the rounding of each line. */
static void expand_memory(struct cirrus *c) {
  struct cirrus_blt *b = &c->blt;
  uint8_t bits[LINE];
  for (; b->height; b->height--, b->src += b->line) {
    memory_get(&c->vga, b->src, bits, b->line);
    put_data(c, bits);
  }
}

/* --- start and end --- */

static void finish(struct cirrus *c) {
  c->blt.active = false;
  c->vga.gc[0x31] &= (uint8_t) ~(GR31_START | 0x19);
}

void cirrus_blt_reset(struct cirrus *c) {
  c->blt.pad = 0;
  finish(c);
}

static uint32_t gc16(const struct cirrus *c, unsigned n) {
  return c->vga.gc[n] | (uint32_t)c->vga.gc[n + 1] << 8;
}
static uint32_t gc24(const struct cirrus *c, unsigned n) {
  return gc16(c, n) | (uint32_t)c->vga.gc[n + 2] << 16;
}

/* Bytes of bits for a line, from the CPU with b->offset in front. */
static uint32_t bits_line(const struct cirrus_blt *b) {
  uint32_t bytes = (pixels(b) + 7) / 8;
  return b->modeext & EXT_DWORD_GRANULES ? (bytes + b->offset + 3) & ~3u : bytes;
}

static void load(struct cirrus *c) {
  struct cirrus_blt *b = &c->blt;
  const uint8_t *gc = c->vga.gc;

  b->mode = gc[0x30];
  b->modeext = gc[0x33];
  b->truth = truth_of(gc[0x32]);
  b->depth = (b->mode >> 4 & 3) + 1;
  b->width = gc16(c, 0x20) + 1;
  b->height = gc16(c, 0x22) + 1;
  b->dst_pitch = gc16(c, 0x24);
  b->src_pitch = gc16(c, 0x26);
  b->dst = gc24(c, 0x28);
  b->src = gc24(c, 0x2c);
  b->preset = b->src & 7;
  memcpy(b->key, &gc[0x34], 2);
  for (unsigned i = 0; i < 4; i++) {
    b->bg[i] = gc[i ? 0x0e + 2 * i : 0];
    b->fg[i] = gc[i ? 0x0f + 2 * i : 1];
  }
  b->skip = 0;
  if (b->mode & (MODE_PATTERN | MODE_EXPAND)) {
    b->skip = b->depth == 3 ? gc[0x2f] & 0x1f : (gc[0x2f] & 7u) * b->depth;
  } else if (b->mode & MODE_BACKWARDS) {
    b->dst_pitch = -b->dst_pitch;
    b->src_pitch = -b->src_pitch;
  }
  bool whole_words = !(b->mode & MODE_EXPAND) || (b->modeext & EXT_DWORD_GRANULES);
  b->offset = (b->mode & MODE_SYSTEM_SRC) && !(b->mode & MODE_PATTERN) && whole_words ? gc[0x2f] >> 5 & 3 : 0;
  b->pad = 0;
  b->filled = 0;
}

/* Wait for the CPU. */
static void wait(struct cirrus *c, bool reading, uint32_t line) {
  struct cirrus_blt *b = &c->blt;
  b->active = true;
  b->reading = reading;
  b->line = line;
  b->rounding = (uint8_t)(-(b->mode & MODE_PATTERN ? line : line * b->height) & 3);
  cirrus_undirect(c);
  if (reading)
    memory_get(&c->vga, b->src, b->buffer, b->width);
}

static void start_pattern(struct cirrus *c) {
  struct cirrus_blt *b = &c->blt;
  uint8_t pattern[256];
  uint32_t size = 8 * pattern_pitch(b);
  if (b->mode & MODE_SYSTEM_SRC) {
    wait(c, false, size);
    return;
  }
  memory_get(&c->vga, b->src & ~(size - 1), pattern, size);
  fill_pattern(c, pattern);
  finish(c);
}

void cirrus_blt_start(struct cirrus *c) {
  struct cirrus_blt *b = &c->blt;

  load(c);
  b->active = false;
  if ((b->mode & (MODE_SYSTEM_SRC | MODE_SYSTEM_DST)) == (MODE_SYSTEM_SRC | MODE_SYSTEM_DST)) {
    log_unimp_once("cirrus: BitBLT from system memory to system memory\n");
    finish(c);
  } else if (b->mode & MODE_SYSTEM_DST) {
    if (b->mode & (MODE_PATTERN | MODE_EXPAND)) /* the manual excludes these */
      finish(c);
    else
      wait(c, true, (b->width + 3) & ~3u);
  } else if (solid(b)) {
    fill(c);
    finish(c);
  } else if (b->mode & MODE_PATTERN) {
    start_pattern(c);
  } else if (b->mode & MODE_SYSTEM_SRC) {
    wait(c, false, b->mode & MODE_EXPAND ? bits_line(b) : (b->width + b->offset + 3) & ~3u);
  } else {
    if (b->mode & MODE_EXPAND) {
      b->line = bits_line(b);
      expand_memory(c);
    } else {
      copy(c);
    }
    finish(c);
  }
}

void cirrus_blt_control(struct cirrus *c, uint8_t value) {
  uint8_t old = c->vga.gc[0x31];
  c->vga.gc[0x31] = value;
  if ((old | value) & GR31_RESET)
    cirrus_blt_reset(c);
  else if (value & ~old & GR31_START)
    cirrus_blt_start(c);
}

bool cirrus_blt_valid(const struct cirrus_blt *b) {
  return !b->active ||
         (b->width >= 1 && b->width <= CIRRUS_BLT_WIDTH && b->height >= 1 && b->height <= 0x800 &&
          b->depth >= 1 && b->depth <= 4 && b->skip <= 31 && b->offset <= 3 && b->preset <= 7 &&
          b->line >= 1 && b->line <= sizeof b->buffer && b->filled < b->line && b->pad <= 3 &&
          b->rounding <= 3 && (!b->reading || b->line >= b->width));
}

/* --- data --- */

/* What the CPU sends is complete: up to three bytes more make it whole doublewords. */
static void fed(struct cirrus *c) {
  finish(c);
  c->blt.pad = c->blt.rounding;
}

static void line_fed(struct cirrus *c) {
  struct cirrus_blt *b = &c->blt;
  b->filled = 0;
  if (b->mode & MODE_PATTERN) {
    fill_pattern(c, b->buffer);
    fed(c);
    return;
  }
  put_data(c, b->buffer + b->offset);
  if (--b->height == 0)
    fed(c);
}

void cirrus_blt_feed(struct cirrus *c, const uint8_t *bytes, unsigned count) {
  struct cirrus_blt *b = &c->blt;
  for (unsigned i = 0; i < count; i++) {
    if (!b->active) { /* what remains of this access is lost */
      b->pad = (uint8_t)(b->pad > count - i ? b->pad - (count - i) : 0);
      return;
    }
    b->buffer[b->filled++] = bytes[i];
    if (b->filled == b->line)
      line_fed(c);
  }
}

uint8_t cirrus_blt_fetch(struct cirrus *c) {
  struct cirrus_blt *b = &c->blt;
  if (!b->active || !b->reading)
    return 0xff;
  uint8_t byte = b->filled < b->width ? b->buffer[b->filled] : 0;
  if (++b->filled < b->line)
    return byte;
  b->filled = 0;
  b->src += b->src_pitch;
  if (--b->height == 0)
    finish(c);
  else
    memory_get(&c->vga, b->src, b->buffer, b->width);
  return byte;
}
