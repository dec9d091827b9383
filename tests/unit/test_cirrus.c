/* SPDX-License-Identifier: MIT */
/* The CL-GD5446's registers, apertures, display and cursor; and whatever a hostile driver may do to it. */
#include "tests/unit/cirrus_rig.h"
#include "tests/unit/vga_modes.h"

Suite *suite_cirrus(void);

static void set_mode(const struct vga_mode_registers *m) {
  out(0x3c2, m->misc);
  for (unsigned i = 0; i < 5; i++)
    seq(i, m->seq[i]);
  crtc(0x11, 0);
  for (unsigned i = 0; i < 25; i++)
    crtc(i, m->crtc[i]);
  for (unsigned i = 0; i < 9; i++)
    gc(i, m->gc[i]);
  in(0x3da);
  for (unsigned i = 0; i < 21; i++) {
    out(0x3c0, i);
    out(0x3c0, m->attr[i]);
  }
  out(0x3c0, 0x20);
}

static void hidden_dac(unsigned value) {
  in(0x3c8);
  for (int i = 0; i < 4; i++)
    in(0x3c6);
  out(0x3c6, value);
}

/* 640x480 with packed pixels: SR7, hidden DAC and pitch in bytes. */
static void packed_mode(unsigned sr7, unsigned dac, unsigned pitch) {
  set_mode(&vga_mode_12h);
  seq(4, 0x0e);
  gc(5, 0x40);
  seq(7, sr7);
  crtc(0x13, pitch / 8);
  crtc(0x1b, 0x22 | (pitch / 8 >> 4 & 0x10));
  hidden_dac(dac);
}

static bool refresh(int *y, int *h) {
  int x, w;
  return display->refresh(display, &x, y, &w, h);
}
static uint32_t pixel(int x, int y) {
  const struct surface *s = &display->surface;
  ck_assert(x < s->width && y < s->height);
  return s->pixels[y * s->stride + x];
}
static void poke(uint32_t pa, unsigned value) { mem_write(set.mem, pa, 1, value); }
static unsigned peek(uint32_t pa) { return (unsigned)mem_read(set.mem, pa, 1); }

START_TEST(identity) {
  ck_assert_uint_eq(pci_config_read(bus, DEVFN, 0, 4), 0x00b81013);
  ck_assert_uint_eq(pci_config_read(bus, DEVFN, 8, 4), 0x03000000);
  ck_assert_uint_eq(indexed(0x3d4, 0x27), 0xb8);
  ck_assert_uint_eq(indexed(0x3c4, 0x06), 0x0f);
  seq(6, 0x12);
  ck_assert_uint_eq(indexed(0x3c4, 0x06), 0x12);
  seq(6, 0xf2); /* the bits that do not count */
  ck_assert_uint_eq(indexed(0x3c4, 0x06), 0x12);
  seq(6, 0);
  ck_assert_uint_eq(indexed(0x3c4, 0x06), 0x0f);
  ck_assert_uint_eq(indexed(0x3c4, 0x0f) & 0x18, 0x18); /* 4 MB */
  seq(0x17, 0xff);
  ck_assert_uint_eq(indexed(0x3c4, 0x17), 0xe7); /* the bus type stays: PCI */
  ck_assert_uint_eq(indexed(0x3c4, 0x20), 0xff);
  ck_assert_uint_eq(indexed(0x3ce, 0x3a), 0xff);
  gc(0x21, 0xff);
  gc(0x23, 0xff);
  gc(0x2a, 0xff);
  ck_assert_uint_eq(indexed(0x3ce, 0x21), 0x1f);
  ck_assert_uint_eq(indexed(0x3ce, 0x23), 0x07);
  ck_assert_uint_eq(indexed(0x3ce, 0x2a), 0x3f);
  pci_config_write(bus, DEVFN, 0x10, 4, 0xffffffff);
  ck_assert_uint_eq(pci_config_read(bus, DEVFN, 0x10, 4), 0xfe000008);
}
END_TEST

START_TEST(hidden_registers) {
  out(0x3c6, 0xff);
  hidden_dac(0xe5);
  ck_assert_uint_eq(cirrus->hidden_dac, 0xe5);
  ck_assert_uint_eq(cirrus->vga.dac_mask, 0xff);
  for (int i = 0; i < 4; i++)
    ck_assert_uint_eq(in(0x3c6), 0xff); /* the pixel mask */
  ck_assert_uint_eq(in(0x3c6), 0xe5);
  in(0x3c6);
  in(0x3c6);
  in(0x3c8); /* starts over */
  in(0x3c6);
  in(0x3c6);
  out(0x3c6, 0x0f);
  ck_assert_uint_eq(cirrus->vga.dac_mask, 0x0f);
  ck_assert_uint_eq(cirrus->hidden_dac, 0xe5);

  out(0x3c8, 15);
  for (unsigned i = 1; i <= 3; i++)
    out(0x3c9, i); /* the palette */
  seq(0x12, 0x02);
  out(0x3c8, 15);
  for (unsigned i = 1; i <= 3; i++)
    out(0x3c9, 0x10 * i); /* the cursor's colour */
  out(0x3c7, 15);
  ck_assert_uint_eq(in(0x3c9) | in(0x3c9) << 8 | in(0x3c9) << 16, 0x302010);
  seq(0x12, 0);
  out(0x3c7, 15);
  ck_assert_uint_eq(in(0x3c9) | in(0x3c9) << 8 | in(0x3c9) << 16, 0x030201);
}
END_TEST

START_TEST(banks) {
  packed_mode(0x01, 0, 640);
  for (uint32_t i = 0; i < VRAM_SIZE; i += 4)
    memcpy(vram() + i, &i, 4);
  gc(0x0b, 0); /* one bank, 4 KB granules */
  gc(9, 0x12);
  ck_assert_uint_eq(mem_read(set.mem, WINDOW + 0x10, 4), 0x12010);
  ck_assert_uint_eq(mem_read(set.mem, WINDOW + 0xfff0, 4), 0x21ff0);
  gc(0x0b, 0x20); /* 16 KB */
  ck_assert_uint_eq(mem_read(set.mem, WINDOW + 0x10, 4), 0x48010);
  gc(0x0a, 0xff);
  gc(0x0b, 0x21); /* two banks */
  ck_assert_uint_eq(mem_read(set.mem, WINDOW + 0x7ff0, 4), 0x4fff0);
  ck_assert_uint_eq(mem_read(set.mem, WINDOW + 0x8010, 4), 0x3fc010);
  ck_assert_uint_eq(mem_read(set.mem, WINDOW + 0xc010, 4), 0x000010); /* wraps around */
  /* The same through mapped pages. */
  gc(0x0a, 0x34);
  for (int i = 0; i < 5000; i++)
    mem_write(set.mem, WINDOW + 0x8000, 4, 0xd0000);
  ck_assert(cirrus->vga.direct);
  ck_assert_uint_eq(mem_read(set.mem, WINDOW + 0x7ff0, 4), 0x4fff0);
  ck_assert_uint_eq(mem_read(set.mem, WINDOW + 0x8010, 4), 0xd0010);
  gc(0x0a, 0x35);
  ck_assert(cirrus->vga.direct);
  ck_assert_uint_eq(mem_read(set.mem, WINDOW + 0x8010, 4), 0xd4010);
  gc(0x0b, 0x20);
  ck_assert_uint_eq(mem_read(set.mem, WINDOW + 0x8010, 4), 0x50010);
  ck_assert_uint_eq(peek(0xb0000), 0xff);
}
END_TEST

START_TEST(extended_write_modes) {
  packed_mode(0x01, 0, 640);
  seq(2, 0x0f);
  gc(0x0b, 0x04);
  seq(2, 0xff);
  gc(0, 0xb0);
  gc(1, 0xf1);
  gc(0x10, 0xb2);
  gc(0x11, 0xf3);
  memset(vram(), 0x77, 4096);
  gc(5, 0x44); /* write mode 4, by 1 */
  poke(WINDOW + 0x100, 0xa5);
  const uint8_t mode4[8] = {0xf1, 0x77, 0xf1, 0x77, 0x77, 0xf1, 0x77, 0xf1};
  ck_assert_mem_eq(vram() + 0x100, mode4, 8);
  gc(0x0b, 0x06); /* by 8 */
  gc(5, 0x45);
  seq(2, 0xf0); /* the left four only */
  poke(WINDOW + 0x20, 0xa5);
  const uint8_t mode5[8] = {0xf1, 0xb0, 0xf1, 0xb0, 0x77, 0xf1, 0x77, 0xf1};
  ck_assert_mem_eq(vram() + 0x100, mode5, 8);
  seq(2, 0xff);
  gc(0x0b, 0x16); /* by 16, 16-bit pixels */
  poke(LFB + 0x10, 0x80);
  const uint8_t wide[6] = {0xf1, 0xf3, 0xb0, 0xb2, 0xb0, 0xb2};
  ck_assert_mem_eq(vram() + 0x100, wide, 6);
  ck_assert_uint_eq(vram()[0x110], 0x77);
  /* Eight-byte latches. */
  gc(0x0b, 0x0e);
  gc(5, 0x41);
  for (unsigned i = 0; i < 8; i++)
    vram()[0x200 + i] = (uint8_t)(i * 3);
  peek(WINDOW + 0x40);
  poke(WINDOW + 0x60, 0);
  ck_assert_mem_eq(vram() + 0x300, vram() + 0x200, 8);
  ck_assert_uint_eq(vram()[0x308], 0x77);
}
END_TEST

/* Graphics controller functions apply to packed pixels, through the window and BAR 0. */
START_TEST(packed_functions) {
  packed_mode(0x01, 0, 640);
  memset(vram(), 0x3c, 64);
  gc(3, 0x18); /* XOR with the latches */
  peek(LFB + 5);
  poke(LFB + 5, 0xff);
  ck_assert_uint_eq(vram()[5], 0xc3);
  ck_assert_uint_eq(vram()[4], 0x3c);
  gc(3, 0);
  gc(8, 0x0f);
  peek(WINDOW + 9);
  poke(WINDOW + 9, 0xaa);
  ck_assert_uint_eq(vram()[9], 0x3a);
  gc(8, 0xff);
  gc(0, 0x55); /* the BitBLT's colours don't */
  gc(1, 0xff);
  poke(WINDOW + 9, 0xaa);
  ck_assert_uint_eq(vram()[9], 0xaa);
}
END_TEST

START_TEST(planar_beyond_64k) {
  set_mode(&vga_mode_12h);
  seq(2, 0x0f);
  crtc(0x1b, 0x02);
  gc(9, 0x10); /* 64 KB further in each plane */
  poke(WINDOW + 3, 0xff);
  ck_assert_uint_eq(vram()[0x10003 * 4], 0xff);
  ck_assert_uint_eq(vram()[3 * 4], 0);
  crtc(0x1b, 0x00); /* without the extension it wraps */
  poke(WINDOW + 3, 0xff);
  ck_assert_uint_eq(vram()[3 * 4], 0xff);
}
END_TEST

START_TEST(linear_apertures) {
  packed_mode(0x01, 0, 640);
  mem_write(set.mem, LFB + 0x100, 4, 0x44332211);
  ck_assert_uint_eq(mem_read(set.mem, LFB + 0x400100, 4), 0x33441122);
  ck_assert_uint_eq(mem_read(set.mem, LFB + 0x800100, 4), 0x11223344);
  ck_assert_uint_eq(mem_read(set.mem, LFB + 0x800100, 1), 0x44);
  mem_write(set.mem, LFB + 0x800200, 2, 0xabcd);
  ck_assert_uint_eq(vram()[0x203], 0xcd);
  ck_assert_uint_eq(vram()[0x202], 0xab);
  ck_assert_uint_eq(mem_read(set.mem, BLT_APERTURE, 4), 0xffffffff);
  mem_write(set.mem, BLT_APERTURE, 4, 0x55555555); /* nobody waits for it */
  ck_assert_uint_eq(vram()[0], 0);
  ck_assert(!cirrus->linear_direct);
  for (int i = 0; i < 100; i++)
    mem_write(set.mem, LFB + 0x3ffffc, 4, 7);
  ck_assert(cirrus->linear_direct);
  ck_assert_ptr_eq(set.mem->page[LFB / MEM_PAGE].write, vram()); /* no exit */
  ck_assert_uint_eq(mem_read(set.mem, LFB + 0x3ffffc, 4), 7);
  /* Registers in its last bytes. */
  seq(0x17, 0x44);
  ck_assert(!cirrus->linear_direct);
  mem_write(set.mem, LFB + 0x3fff20, 1, 0x5a);
  ck_assert_uint_eq(indexed(0x3ce, 0x38), 0x5a);
  for (int i = 0; i < 200; i++)
    mem_write(set.mem, LFB, 4, 7);
  ck_assert(cirrus->linear_direct);
  ck_assert_uint_eq(mem_read(set.mem, LFB + 0x3fff20, 1), 0x5a);
  /* A planar write mode takes the mapping away, and so does moving it. */
  gc(0x0b, 0x02);
  ck_assert(!cirrus->linear_direct);
  gc(0x0b, 0x00);
  for (int i = 0; i < 200; i++)
    mem_write(set.mem, LFB, 4, 7);
  ck_assert(cirrus->linear_direct);
  pci_config_write(bus, DEVFN, 0x10, 4, LFB + 0x8000000);
  ck_assert(!cirrus->linear_direct);
  ck_assert_uint_eq(mem_read(set.mem, LFB, 4), 0xffffffff);
  for (int i = 0; i < 200; i++)
    mem_write(set.mem, LFB + 0x8000000, 4, 9);
  ck_assert_uint_eq(vram()[0], 9);
}
END_TEST

START_TEST(registers_in_memory) {
  mem_write(set.mem, REGS + 4, 2, 0x0107); /* 3C4h and 3C5h */
  ck_assert_uint_eq(indexed(0x3c4, 7), 0x01);
  mem_write(set.mem, REGS + 0x100, 4, 0x44332211); /* background colour */
  ck_assert_uint_eq(indexed(0x3ce, 0x00), 0x11);
  ck_assert_uint_eq(indexed(0x3ce, 0x10), 0x22);
  ck_assert_uint_eq(indexed(0x3ce, 0x12), 0x33);
  ck_assert_uint_eq(indexed(0x3ce, 0x14), 0x44);
  mem_write(set.mem, REGS + 0x104, 4, 0x88776655);
  ck_assert_uint_eq(indexed(0x3ce, 0x01), 0x55);
  ck_assert_uint_eq(indexed(0x3ce, 0x15), 0x88);
  ck_assert_uint_eq(mem_read(set.mem, REGS + 0x104, 4), 0x88776655);
  ck_assert_uint_eq(mem_read(set.mem, REGS + 0x119, 1), 0xff);
  ck_assert_uint_eq(mem_read(set.mem, REGS + 0x800, 4), 0xffffffff);
  ck_assert_uint_eq(mem_read(set.mem, MMIO_WINDOW + 0x04, 4) == 0x88776655, 0);
  seq(0x17, 0x04);
  ck_assert_uint_eq(mem_read(set.mem, MMIO_WINDOW + 0x04, 4), 0x88776655);
  mem_write(set.mem, MMIO_WINDOW + 0x08, 2, 0x1234);
  ck_assert_uint_eq(indexed(0x3ce, 0x20), 0x34);
  ck_assert_uint_eq(indexed(0x3ce, 0x21), 0x12);
  /* For the VGA, four bits of the colours count. */
  ck_assert_uint_eq(cirrus->vga.set_reset, 0x000000ff);
}
END_TEST

START_TEST(depths) {
  static const struct {
    unsigned sr7, dac, bytes;
    uint32_t value, shown;
    const char *name;
  } modes[] = {
      {0x01, 0x00, 1, 0x05, 0x0000a8 | 0x000002, "640x480x8"},
      {0x03, 0xe1, 2, 0xf81f, 0xff00ff, "640x480x16"},
      {0x07, 0xf0, 2, 0x7c1f, 0xff00ff, "640x480x15"},
      {0x07, 0xc1, 2, 0x07e0, 0x00ff00, "640x480x16"},
      {0x05, 0xe5, 3, 0x123456, 0x123456, "640x480x24"},
      {0x09, 0xe5, 4, 0x654321, 0x654321, "640x480x32"},
  };
  int y, h;
  out(0x3c8, 5);
  out(0x3c9, 0);
  out(0x3c9, 0);
  out(0x3c9, 42);
  for (unsigned i = 0; i < sizeof modes / sizeof modes[0]; i++) {
    unsigned pitch = 640 * modes[i].bytes;
    packed_mode(modes[i].sr7, modes[i].dac, pitch);
    uint32_t at = pitch * 99 + 77 * modes[i].bytes;
    memset(vram(), 0, 0x200000);
    mem_log_mark(cirrus->vga.vram, 0, VRAM_SIZE);
    memcpy(vram() + at, &modes[i].value, modes[i].bytes);
    ck_assert(refresh(&y, &h));
    ck_assert_int_eq(display->surface.width, 640);
    ck_assert_int_eq(display->surface.height, 480);
    ck_assert_str_eq(display->mode_name(display), modes[i].name);
    ck_assert_uint_eq(pixel(77, 99), modes[i].shown);
    ck_assert_uint_eq(pixel(76, 99), pixel(0, 0));
    ck_assert_uint_eq(pixel(78, 99), pixel(0, 0));
    ck_assert(!refresh(&y, &h));
    mem_write(set.mem, LFB + at, 1, 0xff); /* only what changed is drawn */
    ck_assert(refresh(&y, &h));
    ck_assert(y <= 99 && y + h > 99 && h <= 8);
  }
}
END_TEST

START_TEST(start_address) {
  int y, h;
  packed_mode(0x09, 0xe5, 2560);
  uint32_t red = 0xff0000, start = 0xfff00; /* doublewords: the picture wraps around the end of memory */
  crtc(0x0c, start >> 8);
  crtc(0x0d, start);
  crtc(0x1b, 0x22 | 0x10 | (start >> 16 & 1) | (start >> 15 & 0x0c));
  crtc(0x1d, start >> 12 & 0x80);
  memcpy(vram() + start * 4 + 40, &red, 4);
  memcpy(vram() + 2560 * 3 - 1024 + 80, &red, 4);
  memcpy(vram() + (640 - 256) * 4 - 4, &red, 4); /* the end of the line that crosses it */
  ck_assert(refresh(&y, &h));
  ck_assert_uint_eq(pixel(10, 0), red);
  ck_assert_uint_eq(pixel(20, 3), red);
  ck_assert_uint_eq(pixel(639, 0), red);
  ck_assert(!refresh(&y, &h));
  mem_write(set.mem, LFB + 80, 4, red);
  ck_assert(refresh(&y, &h));
  ck_assert_uint_eq(pixel(256 + 20, 0), red);
  /* A split screen starts over from the beginning of memory. */
  crtc(0x18, 99);
  crtc(0x07, 0x2e);
  crtc(0x09, 0x00);
  crtc(0x11, 0x00);
  crtc(0x07, 0x2e);
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(20, 100), red);
}
END_TEST

/* The cursor's pixel by its definition. */
static uint32_t cursor_expected(const uint8_t *pattern, bool large, int x, int y, uint32_t below) {
  unsigned row = large ? 16 : 4, plane = large ? 8 : 128;
  bool p0 = pattern[(unsigned)y * row + (unsigned)x / 8] >> (7 - x % 8) & 1,
       p1 = pattern[(unsigned)y * row + plane + (unsigned)x / 8] >> (7 - x % 8) & 1;
  if (!p0 && !p1)
    return below;
  return p1 ? (p0 ? 0xffffff : 0x00ff00) : below ^ 0xffffff;
}

static void check_cursor(int cx, int cy, bool large, unsigned slot) {
  const uint8_t *pattern = vram() + VRAM_SIZE - 0x4000 + slot * 256;
  int size = large ? 64 : 32, y, h;
  refresh(&y, &h);
  ck_assert_int_eq(display->surface.width, 640);
  ck_assert_int_eq(display->surface.height, 480);
  for (y = 0; y < 480; y++)
    for (int x = 0; x < 640; x++) {
      uint32_t below = 0x010101u * (uint32_t)((x ^ y) & 0xff);
      bool inside = x >= cx && x < cx + size && y >= cy && y < cy + size;
      uint32_t want = inside ? cursor_expected(pattern, large, x - cx, y - cy, below) : below;
      uint32_t got = display->surface.pixels[y * display->surface.stride + x];
      if (got != want)
        ck_abort_msg("%d,%d is %06x, not %06x; cursor at %d,%d", x, y, got, want, cx, cy);
    }
}

static void move_cursor(int x, int y) {
  seq(0x10 | (x & 7) << 5, x >> 3);
  seq(0x11 | (y & 7) << 5, y >> 3);
}

START_TEST(cursor) {
  packed_mode(0x09, 0xe5, 2560);
  for (uint32_t y = 0; y < 480; y++)
    for (uint32_t x = 0; x < 640; x++) {
      uint32_t grey = 0x010101u * ((x ^ y) & 0xff);
      memcpy(vram() + y * 2560 + x * 4, &grey, 4);
    }
  random_state = 9;
  for (uint32_t i = 0; i < 0x4000; i++)
    vram()[VRAM_SIZE - 0x4000 + i] = (uint8_t)random_next();
  seq(0x12, 0x02);
  out(0x3c8, 0);
  out(0x3c9, 0), out(0x3c9, 63), out(0x3c9, 0);
  out(0x3c8, 15);
  out(0x3c9, 63), out(0x3c9, 63), out(0x3c9, 63);
  seq(0x13, 0x05);
  seq(0x12, 0x01);
  move_cursor(101, 203);
  ck_assert_uint_eq(indexed(0x3c4, 0x10), 101 >> 3);
  check_cursor(101, 203, false, 5);
  move_cursor(106, 230); /* the old one goes away */
  check_cursor(106, 230, false, 5);
  move_cursor(630, 470); /* over the edge */
  check_cursor(630, 470, false, 5);
  move_cursor(0, 0);
  check_cursor(0, 0, false, 5);
  seq(0x12, 0x05);
  seq(0x13, 0x0b); /* its low bits do not count for a large one */
  check_cursor(0, 0, true, 8);
  move_cursor(2040, 2040);
  check_cursor(2040, 2040, true, 8);
  move_cursor(300, 100);
  check_cursor(300, 100, true, 8);
  vram()[VRAM_SIZE - 0x4000 + 8 * 256 + 77] ^= 0xff; /* a new pattern shows without a move */
  check_cursor(300, 100, true, 8);
  seq(0x12, 0x00);
  check_cursor(1000, 1000, false, 0);
}
END_TEST

START_TEST(cursor_in_planar_mode) {
  int y, h;
  set_mode(&vga_mode_12h);
  memset(vram() + VRAM_SIZE - 0x4000, 0xff, 256);
  seq(0x12, 0x02);
  out(0x3c8, 15);
  out(0x3c9, 63), out(0x3c9, 0), out(0x3c9, 0);
  seq(0x12, 0x01);
  move_cursor(8, 8);
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(8, 8), 0xff0000);
  ck_assert_uint_eq(pixel(39, 39), 0xff0000);
  ck_assert_uint_eq(pixel(40, 39), 0);
  move_cursor(8, 9);
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(8, 8), 0);
  ck_assert_uint_eq(pixel(8, 40), 0xff0000);
}
END_TEST

START_TEST(clocks) {
  set_mode(&vga_mode_12h); /* 25.175 MHz: 800 x 525 */
  ck_assert_int_eq(vga_get_timing(&cirrus->vga)->frame_ns / 100000, 166);
  seq(0x0b, 0x66);
  seq(0x1b, 0x3a); /* without the divisor by two */
  ck_assert_int_eq(vga_get_timing(&cirrus->vga)->frame_ns / 100000, 83);
}
END_TEST

/* --- DDC --- */

static void wires(bool scl, bool sda) { seq(8, (scl ? 1 : 0) | (sda ? 2 : 0)); }
static bool data_wire(void) { return indexed(0x3c4, 8) & 0x80; }

static void i2c_start(void) {
  wires(true, true);
  ck_assert_uint_eq(indexed(0x3c4, 8) & 0x04, 0x04);
  wires(true, false);
  wires(false, false);
  ck_assert_uint_eq(indexed(0x3c4, 8) & 0x04, 0);
}

static void i2c_stop(void) {
  wires(false, false);
  wires(true, false);
  wires(true, true);
}

static bool i2c_write(unsigned byte) { /* acknowledged? */
  for (int i = 7; i >= 0; i--) {
    wires(false, byte >> i & 1);
    wires(true, byte >> i & 1);
    wires(false, byte >> i & 1);
  }
  wires(false, true);
  wires(true, true);
  bool low = !data_wire();
  wires(false, true);
  return low;
}

static unsigned i2c_read(bool last) {
  unsigned byte = 0;
  for (int i = 0; i < 8; i++) {
    wires(true, true);
    byte = byte << 1 | data_wire();
    wires(false, true);
  }
  wires(false, last);
  wires(true, last);
  wires(false, last);
  wires(false, true);
  return byte;
}

START_TEST(ddc) {
  uint8_t edid[EDID_SIZE], sum = 0;
  i2c_start();
  ck_assert(!i2c_write(0x60)); /* nobody */
  i2c_stop();
  i2c_start();
  ck_assert(i2c_write(0xa0));
  ck_assert(i2c_write(0x00));
  i2c_start(); /* again, to read */
  ck_assert(i2c_write(0xa1));
  for (unsigned i = 0; i < EDID_SIZE; i++)
    sum = (uint8_t)(sum + (edid[i] = (uint8_t)i2c_read(i == EDID_SIZE - 1)));
  i2c_stop();
  ck_assert_uint_eq(sum, 0);
  ck_assert_mem_eq(edid, "\x00\xff\xff\xff\xff\xff\xff\x00", 8);
  ck_assert_uint_eq(edid[18], 1);
  ck_assert_uint_eq(edid[19], 3);
  /* 1024x768 first: active sizes of the detailed timing. */
  ck_assert_uint_eq(edid[56] | (edid[58] & 0xf0u) << 4, 1024);
  ck_assert_uint_eq(edid[59] | (edid[61] & 0xf0u) << 4, 768);
  ck_assert_mem_eq(edid, cirrus->ddc.edid, EDID_SIZE);
  i2c_start();
  i2c_write(0xa0);
  i2c_write(18);
  i2c_start();
  i2c_write(0xa1);
  ck_assert_uint_eq(i2c_read(true), 1);
  i2c_stop();
}
END_TEST

START_TEST(state_round_trip) {
  size_t size = state_size(cirrus_class.fields);
  uint8_t *saved = malloc(size), *again = malloc(size);
  packed_mode(0x05, 0xc5, 1920);
  gc(0x30, 0x55);
  move_cursor(12, 34);
  state_save(saved, cirrus, cirrus_class.fields);
  cirrus_class.reset(&cirrus->vga.dev);
  ck_assert_int_eq(state_load(saved, size, cirrus, cirrus_class.fields), 0);
  state_save(again, cirrus, cirrus_class.fields);
  ck_assert_int_eq(memcmp(saved, again, size), 0);
  free(saved);
  free(again);
}
END_TEST

/* --- a hostile driver --- */

static uint32_t hostile_address(void) {
  uint32_t r = random_next();
  switch (random_below(8)) {
  case 0:
  case 1: return WINDOW + (r & 0x1ffff);
  case 2: return MMIO_WINDOW + (r & 0xff);
  case 3: return LFB + (r & 0x1ffffff);
  case 4: return LFB + VRAM_SIZE - 1 - (r & 0x1ff);
  case 5: return LFB + (r & 0xffff);
  default: return REGS + (r & 0x1ff);
  }
}

static void hostile_memory(void) {
  int size = 1 << random_below(4);
  uint32_t pa = hostile_address() & ~(uint32_t)(size - 1);
  uint64_t value = (uint64_t)random_next() << 32 | random_next();
  switch (random_below(8)) {
  case 0: mem_read(set.mem, pa, size); break;
  case 1: mem_fill_run(set.mem, pa, size, value, 1 + random_below(40)); break;
  case 2:
    mem_copy_run(set.mem, pa, hostile_address() & ~(uint32_t)(size - 1), size, 1 + random_below(40));
    break;
  default: mem_write(set.mem, pa, size, value);
  }
}

static void hostile_register(void) {
  static const uint16_t ports[] = {0x3c4, 0x3ce, 0x3d4};
  unsigned value = random_next() & 0xff;
  uint16_t port = ports[random_below(3)];
  unsigned index = random_below(8) ? random_below(0x40) : random_next() & 0xff;
  if (port == 0x3ce && (index == 0x21 || index == 0x23) && random_below(500))
    value = 0; /* few large ones, to get on */
  if (port == 0x3ce && random_below(3) == 0)
    index = 0x20 + random_below(0x20);
  io_write(set.io, port, 2, value << 8 | index);
}

static void hostile_step(void) {
  int x, y, w, h;
  switch (random_below(16)) {
  case 0:
    io_write(set.io, (uint16_t)(0x3b0 + random_below(0x30)), 1 << random_below(3), random_next());
    break;
  case 1: io_read(set.io, (uint16_t)(0x3b0 + random_below(0x30)), 1 << random_below(3)); break;
  case 2: gc(0x31, random_next() & 0x82); break;
  case 3:
    if (random_below(200) == 0)
      display->refresh(display, &x, &y, &w, &h);
    now_10ns += random_below(1000000);
    break;
  case 4:
    if (random_below(500) == 0) { /* BARs moved, turned off and back */
      pci_config_write(bus, DEVFN, 0x10 + random_below(6) * 4, 4, random_next() << 16);
      pci_config_write(bus, DEVFN, 0x04, 2, random_next() & 3);
      pci_config_write(bus, DEVFN, 0x10, 4, LFB);
      pci_config_write(bus, DEVFN, 0x14, 4, REGS);
      pci_config_write(bus, DEVFN, 0x04, 2, 3);
    }
    break;
  case 5:
  case 6:
  case 7:
  case 8:
  case 9: hostile_register(); break;
  default: hostile_memory();
  }
}

START_TEST(hostile) {
  const char *given = getenv("FUZZ_OPS");
  unsigned long steps = given ? strtoul(given, NULL, 0) : 40000;
  const char *seed = getenv("FUZZ_SEED");
  random_state = seed ? strtoul(seed, NULL, 0) : 11;
  for (unsigned long i = 0; i < steps; i++) {
    hostile_step();
    if (i % 100000 == 99999) { /* a fresh start, or the picture tends to stay dark */
      cirrus_class.reset(&cirrus->vga.dev);
      pci_config_write(bus, DEVFN, 0x10, 4, LFB);
      pci_config_write(bus, DEVFN, 0x14, 4, REGS);
      pci_config_write(bus, DEVFN, 0x04, 2, 3);
      packed_mode((random_next() & 0x0e) | 1, random_next(), 640 + random_below(3000) / 8 * 8);
    }
  }
  ck_assert_uint_eq(indexed(0x3d4, 0x27) == 0xb8 || !(cirrus->vga.misc & 1), 1);
}
END_TEST

Suite *suite_cirrus(void) {
  Suite *s = suite_create("cirrus");
  TCase *t = tcase_create("cirrus");
  tcase_add_checked_fixture(t, rig_setup, rig_teardown);
  tcase_add_test(t, identity);
  tcase_add_test(t, hidden_registers);
  tcase_add_test(t, banks);
  tcase_add_test(t, extended_write_modes);
  tcase_add_test(t, packed_functions);
  tcase_add_test(t, planar_beyond_64k);
  tcase_add_test(t, linear_apertures);
  tcase_add_test(t, registers_in_memory);
  tcase_add_test(t, depths);
  tcase_add_test(t, start_address);
  tcase_add_test(t, cursor);
  tcase_add_test(t, cursor_in_planar_mode);
  tcase_add_test(t, clocks);
  tcase_add_test(t, ddc);
  tcase_add_test(t, state_round_trip);
  suite_add_tcase(s, t);
  TCase *fuzz = tcase_create("hostile");
  tcase_add_checked_fixture(fuzz, rig_setup, rig_teardown);
  tcase_set_timeout(fuzz, 60);
  tcase_add_test(fuzz, hostile);
  suite_add_tcase(s, fuzz);
  return s;
}
