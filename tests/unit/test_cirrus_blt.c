/* SPDX-License-Identifier: MIT */
/*
 * The CL-GD5446's BitBLT engine against a plain one that goes pixel by pixel: random rectangles, operations,
 * depths, directions, expansions, patterns and transparencies; memory must be the same afterwards, all 4 MB
 * of it.
 */
#include "tests/unit/cirrus_rig.h"

Suite *suite_cirrus_blt(void);

struct blt {                               /* as the registers say it */
  unsigned mode, modeext, operation, clip; /* GR30, GR33, GR32, GR2F */
  unsigned width, height, dst_pitch, src_pitch;
  uint32_t dst, src;
  uint8_t fg[4], bg[4], key[2];
};

enum { BACKWARDS = 1, SYSTEM_DST = 2, SYSTEM_SRC = 4, TRANSPARENT = 8, PATTERN = 0x40, EXPAND = 0x80 };
enum { DWORDS = 1, INVERT = 2, SOLID = 4, BACKGROUND_CLIP = 8 };

static const uint8_t operations[16] = {0x00, 0x05, 0x06, 0x09, 0x0b, 0x0d, 0x0e, 0x50,
                                       0x59, 0x6d, 0x90, 0x95, 0xad, 0xd0, 0xd6, 0xda};

static uint8_t *ref; /* what memory should be */

/* --- the plain engine --- */

static uint8_t operate(unsigned operation, uint8_t s, uint8_t d) {
  switch (operation) {
  case 0x00: return 0;
  case 0x05: return s & d;
  case 0x09: return s & (uint8_t)~d;
  case 0x0b: return (uint8_t)~d;
  case 0x0d: return s;
  case 0x0e: return 0xff;
  case 0x50: return (uint8_t)~s & d;
  case 0x59: return s ^ d;
  case 0x6d: return s | d;
  case 0x90: return (uint8_t)(~s | ~d);
  case 0x95: return (uint8_t) ~(s ^ d);
  case 0xad: return (uint8_t)(s | ~d);
  case 0xd0: return (uint8_t)~s;
  case 0xd6: return (uint8_t)(~s | d);
  case 0xda: return (uint8_t)(~s & ~d);
  default: return d;
  }
}

static uint8_t *at(uint32_t address) { return &ref[address & (VRAM_SIZE - 1)]; }
static unsigned depth_of(const struct blt *b) { return (b->mode >> 4 & 3) + 1; }
static bool is_keyed(const struct blt *b) {
  return (b->mode & TRANSPARENT) && !(b->mode & EXPAND) && depth_of(b) <= 2;
}
static unsigned clipped(const struct blt *b) { /* bytes */
  if (!(b->mode & (PATTERN | EXPAND)))
    return 0;
  return depth_of(b) == 3 ? b->clip & 31 : (b->clip & 7) * depth_of(b);
}

/* One pixel, of which `have` bytes are within the line, lowest address first. */
static void ref_pixel(const struct blt *b, uint32_t address, const uint8_t *source, unsigned have) {
  uint8_t result[4];
  for (unsigned i = 0; i < have; i++)
    result[i] = operate(b->operation, source[i], *at(address + i));
  if (is_keyed(b) && !memcmp(result, b->key, have))
    return;
  for (unsigned i = 0; i < have; i++)
    *at(address + i) = result[i];
}

static void ref_copy(const struct blt *b) {
  unsigned unit = is_keyed(b) ? depth_of(b) : 1;
  for (unsigned y = 0; y < b->height; y++)
    for (unsigned x = 0; x < b->width; x += unit) {
      unsigned have = b->width - x < unit ? b->width - x : unit;
      uint32_t src = b->src + y * b->src_pitch + x, dst = b->dst + y * b->dst_pitch + x;
      uint8_t pixel[4];
      if (b->mode & BACKWARDS) {
        src = b->src - y * b->src_pitch - x - (have - 1);
        dst = b->dst - y * b->dst_pitch - x - (have - 1);
      }
      for (unsigned i = 0; i < have; i++)
        pixel[i] = *at(src + i);
      ref_pixel(b, dst, pixel, have);
    }
}

static bool ref_bit(const uint8_t *bits, unsigned x) { return bits[x / 8] >> (7 - x % 8) & 1; }

/* A line of expanded bits; `wrap`: pixels until they repeat. */
static void ref_expand(const struct blt *b, uint32_t dst, const uint8_t *bits, unsigned wrap) {
  unsigned depth = depth_of(b);
  for (unsigned x = 0; x < b->width; x++) {
    bool set = ref_bit(bits, x / depth % wrap);
    if (b->mode & TRANSPARENT) {
      if (set == !!(b->modeext & INVERT) || x < clipped(b))
        continue;
    } else if (x < clipped(b) && !(set && (b->modeext & BACKGROUND_CLIP))) {
      continue;
    }
    uint8_t color = set ? b->fg[x % depth] : b->bg[x % depth];
    *at(dst + x) = operate(b->operation, color, *at(dst + x));
  }
}

static void ref_pattern(const struct blt *b, const uint8_t *pattern) {
  unsigned depth = depth_of(b), pitch = depth == 3 ? 32 : 8 * depth;
  for (unsigned y = 0; y < b->height; y++) {
    unsigned row = (y + b->src) & 7;
    uint32_t dst = b->dst + y * b->dst_pitch;
    if (b->mode & EXPAND) {
      ref_expand(b, dst, pattern + row, 8);
      continue;
    }
    for (unsigned x = 0; x < b->width; x += depth) {
      unsigned have = b->width - x < depth ? b->width - x : depth;
      const uint8_t *pixel = pattern + row * pitch + x / depth % 8 * depth;
      if (x >= clipped(b)) {
        ref_pixel(b, dst + x, pixel, have);
      } else if (x + have > clipped(b)) { /* 24-bit pixels are clipped by the byte */
        unsigned gone = clipped(b) - x;
        ref_pixel(b, dst + x + gone, pixel + gone, have - gone);
      }
    }
  }
}

static unsigned ref_bits_line(const struct blt *b) {
  unsigned bytes = (b->width + depth_of(b) - 1) / depth_of(b);
  bytes = (bytes + 7) / 8;
  if (!(b->modeext & DWORDS))
    return bytes;
  return (bytes + (b->mode & SYSTEM_SRC ? b->clip >> 5 & 3 : 0) + 3) / 4 * 4;
}

static unsigned ref_data_line(const struct blt *b) {
  return b->mode & EXPAND ? ref_bits_line(b) : (b->width + (b->clip >> 5 & 3) + 3) / 4 * 4;
}

static unsigned ref_pattern_size(const struct blt *b) {
  return b->mode & EXPAND ? 8 : depth_of(b) == 3 ? 256 : 64 * depth_of(b);
}

static void ref_data(const struct blt *b, const uint8_t *data) {
  unsigned offset = !(b->mode & EXPAND) || (b->modeext & DWORDS) ? b->clip >> 5 & 3 : 0, unit = depth_of(b);
  for (unsigned y = 0; y < b->height; y++, data += ref_data_line(b)) {
    uint32_t dst = b->dst + y * b->dst_pitch;
    if (b->mode & BACKWARDS && !(b->mode & EXPAND))
      dst = b->dst - y * b->dst_pitch;
    if (b->mode & EXPAND) {
      ref_expand(b, dst, data + offset, UINT32_MAX);
      continue;
    }
    for (unsigned x = 0; x < b->width; x += unit)
      ref_pixel(b, dst + x, data + offset + x, b->width - x < unit ? b->width - x : unit);
  }
}

/* A BitBLT within memory. */
static void ref_blt(const struct blt *b) {
  uint8_t pattern[256], bits[2048];
  if ((b->mode & (PATTERN | EXPAND | TRANSPARENT)) == (PATTERN | EXPAND) && (b->modeext & SOLID)) {
    for (unsigned y = 0; y < b->height; y++)
      for (unsigned x = 0; x < b->width; x++) {
        uint8_t *p = at(b->dst + y * b->dst_pitch + x);
        *p = operate(b->operation, b->fg[x % depth_of(b)], *p);
      }
  } else if (b->mode & PATTERN) {
    for (unsigned i = 0; i < ref_pattern_size(b); i++)
      pattern[i] = *at((b->src & ~(ref_pattern_size(b) - 1)) + i);
    ref_pattern(b, pattern);
  } else if (b->mode & EXPAND) {
    for (unsigned y = 0; y < b->height; y++) {
      for (unsigned i = 0; i < ref_bits_line(b); i++)
        bits[i] = *at(b->src + y * ref_bits_line(b) + i);
      ref_expand(b, b->dst + y * b->dst_pitch, bits, UINT32_MAX);
    }
  } else {
    ref_copy(b);
  }
}

/* --- driving the chip --- */

static void load(const struct blt *b, bool mmio) {
  static const uint8_t address[] = {/* offsets in the memory-mapped registers of what is listed below */
                                    0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f, 0x10, 0x11,
                                    0x12, 0x14, 0x15, 0x16, 0x17, 0x18, 0x1a, 0x1b, 0x1c, 0x1d,
                                    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07};
  const struct {
    uint8_t index, value;
  } list[] = {{0x20, (uint8_t)(b->width - 1)},
              {0x21, (uint8_t)((b->width - 1) >> 8)},
              {0x22, (uint8_t)(b->height - 1)},
              {0x23, (uint8_t)((b->height - 1) >> 8)},
              {0x24, (uint8_t)b->dst_pitch},
              {0x25, (uint8_t)(b->dst_pitch >> 8)},
              {0x26, (uint8_t)b->src_pitch},
              {0x27, (uint8_t)(b->src_pitch >> 8)},
              {0x28, (uint8_t)b->dst},
              {0x29, (uint8_t)(b->dst >> 8)},
              {0x2a, (uint8_t)(b->dst >> 16)},
              {0x2c, (uint8_t)b->src},
              {0x2d, (uint8_t)(b->src >> 8)},
              {0x2e, (uint8_t)(b->src >> 16)},
              {0x2f, (uint8_t)b->clip},
              {0x30, (uint8_t)b->mode},
              {0x32, (uint8_t)b->operation},
              {0x33, (uint8_t)b->modeext},
              {0x34, b->key[0]},
              {0x35, b->key[1]},
              {0x00, b->bg[0]},
              {0x10, b->bg[1]},
              {0x12, b->bg[2]},
              {0x14, b->bg[3]},
              {0x01, b->fg[0]},
              {0x11, b->fg[1]},
              {0x13, b->fg[2]},
              {0x15, b->fg[3]}};
  for (unsigned i = 0; i < sizeof list / sizeof list[0]; i++) {
    if (mmio)
      mem_write(set.mem, REGS + 0x100 + address[i], 1, list[i].value);
    else
      gc(list[i].index, list[i].value);
  }
}

static struct blt random_blt(void) {
  struct blt b = {.mode = random_below(4) << 4 | (random_next() & TRANSPARENT),
                  .operation = operations[random_below(16)],
                  .modeext = random_next() & (DWORDS | INVERT | SOLID | BACKGROUND_CLIP),
                  .clip = random_below(3) ? random_next() & 0x7f : 0,
                  .width = 1 + random_below(random_below(20) ? 90 : 5000),
                  .height = 1 + random_below(random_below(8) ? 9 : 40),
                  .dst_pitch = random_below(4) ? 1024 : random_below(0x2000),
                  .src_pitch = random_below(4) ? 1024 : random_below(0x2000),
                  .dst = random_below(VRAM_SIZE),
                  .src = random_below(VRAM_SIZE)};
  switch (random_below(4)) {
  case 0: b.mode |= EXPAND; break;
  case 1: b.mode |= PATTERN; break;
  case 2: b.mode |= PATTERN | EXPAND; break;
  }
  if (!(b.mode & (PATTERN | EXPAND)) && random_below(2))
    b.mode |= BACKWARDS;
  if (random_below(2)) /* near one another, so that they overlap */
    b.src = (b.dst + random_below(200) - 100) & (VRAM_SIZE - 1);
  if (random_below(8) == 0)
    b.dst = (VRAM_SIZE - 50 + random_below(100)) & (VRAM_SIZE - 1);
  for (int i = 0; i < 4; i++) {
    b.fg[i] = (uint8_t)random_next();
    b.bg[i] = (uint8_t)random_next();
  }
  b.key[0] = (uint8_t)random_below(4); /* memory has few values, so that some pixels match */
  b.key[1] = (uint8_t)random_below(4);
  return b;
}

static void fill_memory(void) {
  for (uint32_t i = 0; i < VRAM_SIZE; i++) {
    uint32_t r = random_next();
    vram()[i] = (uint8_t)(r >> 10 & 3 ? r & 3 : r);
  }
  ref = malloc(VRAM_SIZE);
  ck_assert_ptr_nonnull(ref);
  memcpy(ref, vram(), VRAM_SIZE);
}

static void check_memory(const struct blt *b) {
  if (!memcmp(ref, vram(), VRAM_SIZE))
    return;
  uint32_t i = 0;
  while (ref[i] == vram()[i])
    i++;
  ck_abort_msg("at %06x %02x, not %02x: mode %02x ext %02x op %02x clip %02x %ux%u dst %06x+%x src %06x+%x",
               i, vram()[i], ref[i], b->mode, b->modeext, b->operation, b->clip, b->width, b->height, b->dst,
               b->dst_pitch, b->src, b->src_pitch);
}

static void start(bool autostart, const struct blt *b, bool mmio) {
  gc(0x31, 0);
  load(b, mmio);
  gc(0x31, autostart ? 0x80 : 0x02);
  if (autostart)
    gc(0x2a, b->dst >> 16);
}

/* The graphics controller out of the way of plain writes. */
static void packed_pixels(void) {
  seq(7, 0x01);
  seq(2, 0x0f);
  gc(8, 0xff);
}

/* --- tests --- */

START_TEST(memory_to_memory) {
  random_state = 1;
  fill_memory();
  for (int i = 0; i < 700; i++) {
    struct blt b = random_blt();
    start(false, &b, random_below(2));
    ref_blt(&b);
    check_memory(&b);
    ck_assert_uint_eq(indexed(0x3ce, 0x31) & 0x0b, 0);
  }
  free(ref);
}
END_TEST

/* Every operation at every depth, in both directions or both ways of expanding. */
START_TEST(every_operation) {
  static const unsigned modes[] = {0,           BACKWARDS,           EXPAND, PATTERN, PATTERN | EXPAND,
                                   TRANSPARENT, EXPAND | TRANSPARENT};
  random_state = 2;
  fill_memory();
  for (unsigned op = 0; op < 16; op++)
    for (unsigned depth = 0; depth < 4; depth++)
      for (unsigned m = 0; m < sizeof modes / sizeof modes[0]; m++) {
        struct blt b = random_blt();
        b.mode = modes[m] | depth << 4;
        b.operation = operations[op];
        b.width = 61;
        b.height = 5;
        start(false, &b, true);
        ref_blt(&b);
        check_memory(&b);
      }
  free(ref);
}
END_TEST

static void feed(const uint8_t *data, uint32_t size) {
  unsigned way = random_below(4), width = 1u << random_below(3);
  uint32_t base = way == 0 ? WINDOW : way == 1 ? LFB + 0x1000 : BLT_APERTURE;
  for (uint32_t i = 0; i < size;) {
    uint32_t value = 0, n = size - i < width ? size - i : width;
    while (n & (n - 1))
      n &= n - 1;
    memcpy(&value, data + i, n);
    mem_write(set.mem, base + (i & 0x7ff & ~(n - 1)), (int)n, value);
    i += n;
  }
}

START_TEST(from_the_cpu) {
  uint8_t *data = malloc(64 << 20);
  random_state = 3;
  fill_memory();
  packed_pixels();
  for (int i = 0; i < 400; i++) {
    struct blt b = random_blt();
    b.mode |= SYSTEM_SRC;
    bool is_solid = (b.mode & (PATTERN | EXPAND | TRANSPARENT)) == (PATTERN | EXPAND) && (b.modeext & SOLID);
    uint32_t size = b.mode & PATTERN ? ref_pattern_size(&b) : ref_data_line(&b) * b.height;
    for (uint32_t k = 0; k < size + 4; k++)
      data[k] = (uint8_t)(random_below(3) ? random_below(4) : random_next());
    start(random_below(2), &b, random_below(2));
    if (is_solid) { /* needs no data */
      ref_blt(&b);
    } else {
      ck_assert_uint_eq(indexed(0x3ce, 0x31) & 0x09, 0x09);
      feed(data, (size + 3) & ~3u); /* whole doublewords */
      if (b.mode & PATTERN)
        ref_pattern(&b, data);
      else
        ref_data(&b, data);
    }
    ck_assert_uint_eq(indexed(0x3ce, 0x31) & 0x0b, 0);
    check_memory(&b);
    gc(0x31, 0);
  }
  /* After a register access, what is written is memory again. */
  mem_write(set.mem, LFB + 0x1234, 1, 0x5a);
  ck_assert_uint_eq(vram()[0x1234], 0x5a);
  free(data);
  free(ref);
}
END_TEST

START_TEST(to_the_cpu) {
  random_state = 4;
  fill_memory();
  for (int i = 0; i < 200; i++) {
    struct blt b = random_blt();
    b.mode = SYSTEM_DST;
    b.operation = 0x0d;
    start(false, &b, true);
    for (unsigned y = 0; y < b.height; y++)
      for (unsigned x = 0; x < b.width; x += 4) {
        uint32_t got = (uint32_t)mem_read(set.mem, (i & 1 ? WINDOW : BLT_APERTURE) + (x & 0xffc), 4);
        for (unsigned k = 0; k < 4 && x + k < b.width; k++)
          ck_assert_uint_eq(got >> (8 * k) & 0xff, *at(b.src + y * b.src_pitch + x + k));
      }
    ck_assert_uint_eq(indexed(0x3ce, 0x31) & 0x0b, 0);
  }
  check_memory(&(struct blt){0});
  free(ref);
}
END_TEST

START_TEST(reset_ends_it) {
  struct blt b = {
      .mode = SYSTEM_SRC, .operation = 0x0d, .width = 16, .height = 4, .dst_pitch = 64, .dst = 0x100};
  packed_pixels();
  start(false, &b, false);
  mem_write(set.mem, BLT_APERTURE, 4, 0x11111111);
  gc(0x31, 0x04);
  gc(0x31, 0x00);
  ck_assert_uint_eq(indexed(0x3ce, 0x31), 0);
  mem_write(set.mem, LFB + 0x40, 4, 0x22222222);
  ck_assert_uint_eq(vram()[0x40], 0x22);
  ck_assert_uint_eq(vram()[0x100], 0);
}
END_TEST

/* Bytes of the last access beyond the end are lost, and so are those that make up a doubleword. */
START_TEST(surplus_is_dropped) {
  struct blt b = {.mode = SYSTEM_SRC | EXPAND,
                  .operation = 0x0d,
                  .width = 8,
                  .height = 3,
                  .dst_pitch = 64,
                  .dst = 0x1000,
                  .fg = {0xff}};
  packed_pixels();
  start(false, &b, false);
  mem_write(set.mem, WINDOW, 4, 0xffff00ff);
  ck_assert_uint_eq(vram()[0x1000], 0xff);
  ck_assert_uint_eq(vram()[0x1040], 0x00);
  ck_assert_uint_eq(vram()[0x1080], 0xff);
  ck_assert_uint_eq(vram()[0] | vram()[3], 0);
  start(false, &b, false);
  mem_write(set.mem, WINDOW, 2, 0xffff);
  mem_write(set.mem, WINDOW + 2, 2, 0xffff);
  ck_assert_uint_eq(vram()[0] | vram()[2] | vram()[3], 0);
  mem_write(set.mem, WINDOW + 2, 2, 0x3344);
  ck_assert_uint_eq(vram()[2], 0x44);
}
END_TEST

/* What a BitBLT changed must be seen as changed. */
START_TEST(marks_dirty) {
  random_state = 5;
  fill_memory();
  for (int i = 0; i < 300; i++) {
    struct blt b = random_blt();
    memset(cirrus->vga.vram->log, 0, VRAM_SIZE / MEM_PAGE);
    start(false, &b, true);
    for (uint32_t page = 0; page < VRAM_SIZE / MEM_PAGE; page++)
      if (memcmp(ref + page * MEM_PAGE, vram() + page * MEM_PAGE, MEM_PAGE))
        ck_assert(cirrus->vga.vram->log[page]);
    memcpy(ref, vram(), VRAM_SIZE);
  }
  free(ref);
}
END_TEST

/* A snapshot in the middle of a transfer goes on where it was. */
START_TEST(saved_midway) {
  struct blt b = {
      .mode = SYSTEM_SRC, .operation = 0x0d, .width = 8, .height = 2, .dst_pitch = 64, .dst = 0x2000};
  size_t size = state_size(cirrus_class.fields);
  uint8_t *saved = malloc(size);
  packed_pixels();
  start(false, &b, false);
  for (int i = 0; i < 3; i++)
    mem_write(set.mem, BLT_APERTURE, 4, 0x01010101u * (unsigned)(i + 1));
  state_save(saved, cirrus, cirrus_class.fields);
  gc(0x31, 0x04);
  ck_assert_int_eq(state_load(saved, size, cirrus, cirrus_class.fields), 0);
  mem_write(set.mem, BLT_APERTURE, 4, 0x04040404);
  ck_assert_uint_eq(vram()[0x2000], 1);
  ck_assert_uint_eq(vram()[0x2004], 2);
  ck_assert_uint_eq(vram()[0x2040], 3);
  ck_assert_uint_eq(vram()[0x2044], 4);
  free(saved);
}
END_TEST

Suite *suite_cirrus_blt(void) {
  Suite *s = suite_create("cirrus_blt");
  TCase *t = tcase_create("cirrus_blt");
  tcase_add_checked_fixture(t, rig_setup, rig_teardown);
  tcase_set_timeout(t, 60);
  tcase_add_test(t, memory_to_memory);
  tcase_add_test(t, every_operation);
  tcase_add_test(t, from_the_cpu);
  tcase_add_test(t, to_the_cpu);
  tcase_add_test(t, reset_ends_it);
  tcase_add_test(t, surplus_is_dropped);
  tcase_add_test(t, marks_dirty);
  tcase_add_test(t, saved_midway);
  suite_add_tcase(s, t);
  return s;
}
