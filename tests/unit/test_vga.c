/* SPDX-License-Identifier: MIT */
/* The VGA through its ports, its memory window, its PCI BARs and its display interface. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "devices/display/vga_state.h"
#include "frontends/textdump.h"
#include "tests/unit/vga_modes.h"

#define LFB 0xe0000000u
#define REGS 0xe2000000u
#define WINDOW 0xa0000u
#define TEXT 0xb8000u

static struct device_set set;
static struct pci_bus *bus;
static struct display *display;
static struct vga *vga;
static uint32_t config_address;
static uint64_t instructions; /* 10 ns each */

static uint64_t count_instructions(void *opaque) {
  (void)opaque;
  return instructions;
}

static void vga_setup(void) {
  instructions = 0;
  set = (struct device_set){
      .io = io_bus_new(), .mem = mem_new(), .clock = clock_new_counted(count_instructions, NULL, 100)};
  bus = pci_bus_new(set.io, set.mem, 0x80000000u, 0xfebfffffu, &config_address);
  struct vga_config config = {.display = &display, .pci = bus};
  struct device_args args = {.id = "vga", .config = &config};
  struct device *dev = device_new(&set, &vga_class, &args);
  ck_assert_ptr_nonnull(dev);
  vga = DEVICE(struct vga, dev);
  ck_assert_ptr_nonnull(display);
}

static void vga_teardown(void) {
  device_free_all(&set);
  pci_bus_free(bus);
  io_bus_free(set.io);
  mem_free(set.mem);
  clock_free(set.clock);
}

static void out(unsigned port, unsigned value) { io_write(set.io, (uint16_t)port, 1, value); }
static unsigned in(unsigned port) { return io_read(set.io, (uint16_t)port, 1); }
static void out_indexed(unsigned port, unsigned index, unsigned value) {
  io_write(set.io, (uint16_t)port, 2, value << 8 | index); /* as OUT DX, AX */
}
static void seq(unsigned index, unsigned value) { out_indexed(0x3c4, index, value); }
static void gc(unsigned index, unsigned value) { out_indexed(0x3ce, index, value); }
static void crtc(unsigned index, unsigned value) { out_indexed(0x3d4, index, value); }
static void attribute(unsigned index, unsigned value) {
  in(0x3da);
  out(0x3c0, index);
  out(0x3c0, value);
  in(0x3da);
  out(0x3c0, 0x20);
}
static void vbe(unsigned index, unsigned value) {
  io_write(set.io, 0x1ce, 2, index);
  io_write(set.io, 0x1cf, 2, value);
}
static unsigned vbe_get(unsigned index) {
  io_write(set.io, 0x1ce, 2, index);
  return io_read(set.io, 0x1d0, 2);
}
static void poke(uint32_t pa, unsigned value) { mem_write(set.mem, pa, 1, value); }
static unsigned peek(uint32_t pa) { return (unsigned)mem_read(set.mem, pa, 1); }
static uint8_t plane(uint32_t offset, unsigned p) { return vga->vram->host[offset * 4 + p]; }

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
  out(0x3c6, 0xff);
}

static void set_dac(unsigned index, unsigned r, unsigned g, unsigned b) {
  out(0x3c8, index);
  out(0x3c9, r);
  out(0x3c9, g);
  out(0x3c9, b);
}

/* Entry i gets a colour that tells it from all others, 18 bits: R = i & 63, G = i >> 2, B = 63 - R. */
static void set_palette(void) {
  for (unsigned i = 0; i < 256; i++)
    set_dac(i, i & 63, i >> 2, 63 - (i & 63));
}
static uint32_t six(uint32_t c) { return c << 2 | c >> 4; }
static uint32_t palette_color(unsigned i) {
  return six(i & 63) << 16 | six(i >> 2) << 8 | six(63 - (i & 63));
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

START_TEST(write_mode_0) {
  set_mode(&vga_mode_12h);
  poke(WINDOW + 5, 0xa5);
  for (unsigned p = 0; p < 4; p++)
    ck_assert_uint_eq(plane(5, p), 0xa5);
  seq(2, 0x05); /* map mask */
  poke(WINDOW + 5, 0x3c);
  ck_assert_uint_eq(plane(5, 0), 0x3c);
  ck_assert_uint_eq(plane(5, 1), 0xa5);
  ck_assert_uint_eq(plane(5, 2), 0x3c);
  ck_assert_uint_eq(plane(5, 3), 0xa5);
  seq(2, 0x0f);
  gc(3, 0x03); /* rotate by 3 */
  poke(WINDOW + 6, 0x81);
  ck_assert_uint_eq(plane(6, 0), 0x30);
  gc(3, 0x00);
  gc(0, 0x06); /* set/reset */
  gc(1, 0x03); /* enabled in planes 0, 1 */
  poke(WINDOW + 7, 0x55);
  ck_assert_uint_eq(plane(7, 0), 0x00);
  ck_assert_uint_eq(plane(7, 1), 0xff);
  ck_assert_uint_eq(plane(7, 2), 0x55);
  ck_assert_uint_eq(plane(7, 3), 0x55);
}
END_TEST

START_TEST(logic_and_bit_mask) {
  static const uint8_t expected[4] = {0xcc, 0x88, 0xee, 0x66};
  set_mode(&vga_mode_12h);
  for (unsigned function = 0; function < 4; function++) {
    gc(3, 0);
    poke(WINDOW + 9, 0xaa);
    peek(WINDOW + 9); /* latches */
    gc(3, function << 3);
    poke(WINDOW + 10, 0xcc);
    ck_assert_uint_eq(plane(10, 2), expected[function]);
  }
  gc(3, 0);
  gc(8, 0x0f);
  poke(WINDOW + 10, 0x33); /* the upper half comes from the latch */
  ck_assert_uint_eq(plane(10, 0), 0xa3);
}
END_TEST

START_TEST(write_modes_1_2_3) {
  set_mode(&vga_mode_12h);
  for (unsigned p = 0; p < 4; p++) {
    seq(2, 1u << p);
    poke(WINDOW + 20, 0x11 * (p + 1));
  }
  seq(2, 0x0f);
  ck_assert_uint_eq(peek(WINDOW + 20), 0x11);
  gc(5, 1);
  poke(WINDOW + 30, 0x00);
  for (unsigned p = 0; p < 4; p++)
    ck_assert_uint_eq(plane(30, p), 0x11 * (p + 1));
  gc(5, 2);
  gc(8, 0xf0);
  poke(WINDOW + 31, 0x0a); /* colour 10 in the left half, latch in the right */
  ck_assert_uint_eq(plane(31, 0), 0x01);
  ck_assert_uint_eq(plane(31, 1), 0xf2);
  ck_assert_uint_eq(plane(31, 2), 0x03);
  ck_assert_uint_eq(plane(31, 3), 0xf4);
  gc(5, 3);
  gc(8, 0x3c);
  gc(0, 0x05);
  poke(WINDOW + 32, 0xf0); /* bit mask = 3C & F0 */
  ck_assert_uint_eq(plane(32, 0), 0x31);
  ck_assert_uint_eq(plane(32, 1), 0x02);
  ck_assert_uint_eq(plane(32, 2), 0x33);
  ck_assert_uint_eq(plane(32, 3), 0x44);
}
END_TEST

START_TEST(read_modes) {
  set_mode(&vga_mode_12h);
  for (unsigned p = 0; p < 4; p++) {
    seq(2, 1u << p);
    poke(WINDOW + 1, p == 1 ? 0xff : p == 3 ? 0x0f : 0x00); /* pixels: 2222AAAA */
  }
  for (unsigned p = 0; p < 4; p++) {
    gc(4, p);
    ck_assert_uint_eq(peek(WINDOW + 1), plane(1, p));
  }
  gc(5, 8);
  gc(2, 0x0a);
  gc(7, 0x0f);
  ck_assert_uint_eq(peek(WINDOW + 1), 0x0f);
  gc(2, 0x02);
  ck_assert_uint_eq(peek(WINDOW + 1), 0xf0);
  gc(7, 0x07); /* plane 3 does not matter */
  ck_assert_uint_eq(peek(WINDOW + 1), 0xff);
  gc(7, 0x00);
  ck_assert_uint_eq(peek(WINDOW + 1), 0xff);
}
END_TEST

START_TEST(wide_accesses) {
  set_mode(&vga_mode_12h);
  mem_write(set.mem, WINDOW + 100, 4, 0x44332211);
  for (unsigned i = 0; i < 4; i++)
    ck_assert_uint_eq(plane(100 + i, 3), 0x11 * (i + 1));
  ck_assert_uint_eq(mem_read(set.mem, WINDOW + 100, 4), 0x44332211);
  ck_assert_uint_eq(vga->latch, 0x44444444);
}
END_TEST

START_TEST(chain4_and_odd_even) {
  set_mode(&vga_mode_13h);
  for (unsigned i = 0; i < 8; i++)
    poke(WINDOW + i, 0x10 + i);
  for (unsigned i = 0; i < 8; i++)
    ck_assert_uint_eq(plane(i / 4, i % 4), 0x10 + i);
  ck_assert_uint_eq(peek(WINDOW + 6), 0x16);
  set_mode(&vga_mode_03h);
  poke(TEXT + 0, 'A');
  poke(TEXT + 1, 0x1f);
  poke(TEXT + 2, 'B');
  ck_assert_uint_eq(plane(0, 0), 'A');
  ck_assert_uint_eq(plane(0, 1), 0x1f);
  ck_assert_uint_eq(plane(2, 0), 'B');
  ck_assert_uint_eq(peek(TEXT + 1), 0x1f);
  ck_assert_uint_eq(peek(WINDOW), 0xff); /* outside the selected 32 KB */
}
END_TEST

START_TEST(direct_mapping) {
  set_mode(&vga_mode_13h);
  for (unsigned i = 0; i < 200; i++)
    poke(WINDOW + i, i);
  ck_assert(vga->direct); /* plain memory by now */
  ck_assert_ptr_nonnull(set.mem->page[WINDOW / MEM_PAGE].write);
  poke(WINDOW + 4 * 70, 0x77);
  ck_assert_uint_eq(plane(70, 0), 0x77);
  for (unsigned i = 0; i < 200; i++)
    ck_assert_uint_eq(peek(WINDOW + i), i);
  gc(8, 0x0f);
  ck_assert(!vga->direct);
  peek(WINDOW + 4); /* latch 4 */
  poke(WINDOW + 4, 0xff);
  ck_assert_uint_eq(peek(WINDOW + 4), 0x0f);
  gc(8, 0xff);
  for (unsigned i = 0; i < 100; i++)
    peek(WINDOW);
  ck_assert(vga->direct);
  seq(4, 6); /* unchain: mode X */
  ck_assert(!vga->direct);
  poke(WINDOW + 1, 0x99);
  for (unsigned p = 0; p < 4; p++)
    ck_assert_uint_eq(plane(1, p), 0x99);
}
END_TEST

START_TEST(dac_sequences) {
  out(0x3c8, 10);
  for (unsigned i = 0; i < 6; i++)
    out(0x3c9, 0x41 + i); /* bits 6 and 7 are lost */
  out(0x3c7, 10);
  ck_assert_uint_eq(in(0x3c7) & 3, 3);
  for (unsigned i = 0; i < 6; i++)
    ck_assert_uint_eq(in(0x3c9), 1 + i);
  out(0x3c8, 10); /* an unfinished triple changes nothing */
  ck_assert_uint_eq(in(0x3c7) & 3, 0);
  out(0x3c9, 9);
  out(0x3c9, 9);
  out(0x3c7, 10);
  ck_assert_uint_eq(in(0x3c9), 1);
  out(0x3c8, 255);
  for (unsigned i = 0; i < 6; i++)
    out(0x3c9, i); /* wraps to entry 0 */
  ck_assert_uint_eq(vga->dac[0], 3);
  vbe(VBE_INDEX_ENABLE, VBE_8BIT_DAC);
  set_dac(1, 0xfe, 0x81, 0x42);
  out(0x3c7, 1);
  ck_assert_uint_eq(in(0x3c9), 0xfe);
  ck_assert_uint_eq(in(0x3c9), 0x81);
}
END_TEST

START_TEST(attribute_flip_flop) {
  out(0x3c2, 0x01);
  in(0x3da);
  out(0x3c0, 0x02);
  out(0x3c0, 0x15);
  out(0x3c0, 0x03);
  in(0x3da); /* index again, not data */
  out(0x3c0, 0x02);
  ck_assert_uint_eq(in(0x3c1), 0x15);
  out(0x3c0, 0x16);
  ck_assert_uint_eq(in(0x3c1), 0x16);
  ck_assert_uint_eq(in(0x3c0), 0x02);
}
END_TEST

START_TEST(crtc_protection) {
  set_mode(&vga_mode_03h); /* CR11 = 8Eh: protected */
  crtc(0x01, 0x10);
  crtc(0x07, 0xef);
  out(0x3d4, 0x01);
  ck_assert_uint_eq(in(0x3d5), 0x4f);
  out(0x3d4, 0x07);
  ck_assert_uint_eq(in(0x3d5), 0x0f); /* only line compare bit 8 */
  crtc(0x11, 0x0e);
  crtc(0x01, 0x10);
  out(0x3d4, 0x01);
  ck_assert_uint_eq(in(0x3d5), 0x10);
  ck_assert_uint_eq(in(0x3b5), 0xff); /* the monochrome address is not decoded */
  out(0x3c2, 0x66);
  ck_assert_uint_eq(in(0x3d5), 0xff);
  ck_assert_uint_eq(in(0x3b5), 0x10);
}
END_TEST

START_TEST(retrace_timing) {
  int vertical = 0, disabled = 0, edges = 0, before = 0;
  const int step = 500; /* ns */
  set_mode(&vga_mode_03h);
  for (int ns = 0; ns < 1000000000; ns += step) {
    instructions = (uint64_t)ns / 10;
    unsigned status = in(0x3da);
    vertical += status >> 3 & 1;
    disabled += status & 1;
    edges += (status & 8) && !before;
    before = status & 8;
  }
  ck_assert_int_ge(edges, 69); /* 70.08 Hz */
  ck_assert_int_le(edges, 71);
  int total = 1000000000 / step;
  ck_assert_int_ge(vertical, total * 2 / 449 * 9 / 10); /* 2 of 449 lines */
  ck_assert_int_le(vertical, total * 2 / 449 * 11 / 10);
  ck_assert_int_ge(disabled, total * 27 / 100); /* 1 - 400/449 * 80/100 = 28.7 % */
  ck_assert_int_le(disabled, total * 30 / 100);
}
END_TEST

START_TEST(text_screen) {
  static const char message[] = "Hello, \xc9\xcd\xbb";
  uint8_t cells[80 * 50], attrs[80 * 50];
  int rows, cx, cy, y, h;

  set_mode(&vga_mode_03h);
  set_palette();
  for (unsigned i = 0; i < 80 * 25; i++)
    mem_write(set.mem, TEXT + 2 * i, 2, 0x0720);
  for (unsigned i = 0; message[i]; i++)
    mem_write(set.mem, TEXT + 160 * 3 + 2 * i, 2, 0x1f00u | (uint8_t)message[i]);
  crtc(0x0e, 0);
  crtc(0x0f, 83);
  ck_assert_int_eq(display->text(display, cells, attrs, sizeof cells, &rows, &cx, &cy), 80);
  ck_assert_int_eq(rows, 25);
  ck_assert_int_eq(cx, 3);
  ck_assert_int_eq(cy, 1);
  ck_assert_int_eq(memcmp(cells + 240, message, strlen(message)), 0);
  ck_assert_uint_eq(attrs[240], 0x1f);
  ck_assert_str_eq(display->mode_name(display), "80x25 text");
  char *text = textdump_string(display);
  ck_assert_str_eq(text, "\n\n\nHello, \u2554\u2550\u2557\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n");
  free(text);

  ck_assert(refresh(&y, &h));
  ck_assert_int_eq(display->surface.width, 720);
  ck_assert_int_eq(display->surface.height, 400);
  ck_assert_int_eq(h, 400);
  ck_assert_uint_eq(pixel(0, 48), palette_color(1)); /* background of attribute 1Fh, no font loaded */
  ck_assert(!refresh(&y, &h));
  poke(TEXT + 160 * 20, 'x'); /* dirty by pages: some rows around it */
  ck_assert(refresh(&y, &h));
  ck_assert_int_le(y, 320);
  ck_assert_int_ge(y + h, 336);
  ck_assert_int_lt(h, 200);
  ck_assert_int_eq(display->text(display, cells, NULL, 100, &rows, &cx, &cy), 80);
  ck_assert_int_eq(rows, 1); /* never past the buffer */
  set_mode(&vga_mode_13h);
  ck_assert_int_eq(display->text(display, cells, NULL, sizeof cells, &rows, &cx, &cy), 0);
}
END_TEST

static void load_glyph(unsigned code,
                       unsigned bits) { /* the same bits in all 32 rows, as a BIOS loads fonts */
  seq(2, 4);
  seq(4, 7);
  gc(4, 2);
  gc(5, 0);
  gc(6, 4);
  for (unsigned row = 0; row < 32; row++)
    poke(WINDOW + code * 32 + row, bits);
  seq(2, 3);
  seq(4, 3);
  gc(4, 0);
  gc(5, 0x10);
  gc(6, 0x0e);
}

START_TEST(text_glyphs) {
  int y, h;
  set_mode(&vga_mode_03h);
  set_palette();
  crtc(0x0a, 0x20); /* no cursor */
  load_glyph('A', 0x81);
  load_glyph(0xc4, 0x01);
  mem_write(set.mem, TEXT, 2, 0x0741);
  mem_write(set.mem, TEXT + 2, 2, 0x07c4);
  mem_write(set.mem, TEXT + 4, 2, 0x8741);
  refresh(&y, &h);
  uint32_t white = palette_color(7), black = palette_color(0);
  ck_assert_uint_eq(pixel(0, 0), white);
  ck_assert_uint_eq(pixel(1, 0), black);
  ck_assert_uint_eq(pixel(7, 15), white);
  ck_assert_uint_eq(pixel(8, 0), black); /* ninth column: blank */
  ck_assert_uint_eq(pixel(9 + 7, 0), white);
  ck_assert_uint_eq(pixel(9 + 8, 0), white); /* line graphics continue */
  ck_assert_uint_eq(pixel(18, 0), white);
  instructions += 250000000 / 10; /* 16 of 32 frames */
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(18, 0), black); /* blinked away */
  load_glyph('A', 0x40);
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(0, 0), black);
  ck_assert_uint_eq(pixel(1, 0), white);
  crtc(0x0a, 0x0d);
  crtc(0x0b, 0x0e);
  crtc(0x0f, 1);
  instructions += 250000000 / 10;
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(9, 12), black);
  ck_assert_uint_eq(pixel(9, 13), white);
  ck_assert_uint_eq(pixel(17, 14), white);
  ck_assert_uint_eq(pixel(9, 15), black);
  attribute(0x13, 0); /* 9-dot panning: one pixel */
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(0, 0), white);
  ck_assert_uint_eq(pixel(8, 13), white);
}
END_TEST

START_TEST(line_compare) {
  int y, h;
  set_mode(&vga_mode_12h);
  set_palette();
  seq(2, 1);
  for (unsigned i = 0; i < 80; i++)
    poke(WINDOW + i, 0xff); /* first line of memory: colour 1 */
  seq(2, 2);
  for (unsigned i = 0; i < 80; i++)
    poke(WINDOW + 8000 + i, 0xff); /* line 100: colour 2 */
  crtc(0x0c, 8000 >> 8);
  crtc(0x0d, 8000 & 0xff);
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(0, 0), palette_color(2));
  ck_assert_uint_eq(pixel(0, 201), palette_color(0));
  crtc(0x11, 0);
  crtc(0x09, 0x00); /* line compare = 200 */
  crtc(0x07, 0x2e);
  crtc(0x18, 200);
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(0, 200), palette_color(0));
  ck_assert_uint_eq(pixel(0, 201), palette_color(1));
  ck_assert_uint_eq(pixel(639, 201), palette_color(1));
  ck_assert_uint_eq(pixel(0, 301), palette_color(2));
}
END_TEST

START_TEST(planar_pixels) {
  int y, h;
  set_mode(&vga_mode_12h);
  set_palette();
  gc(5, 2);
  for (unsigned i = 0; i < 640; i++) { /* a pixel of each colour in turn */
    gc(8, 0x80u >> (i & 7));
    peek(WINDOW + i / 8);
    poke(WINDOW + i / 8, i & 15);
  }
  refresh(&y, &h);
  ck_assert_str_eq(display->mode_name(display), "640x480x4");
  static const uint8_t dac_index[16] = {0,    1,    2,    3,    4,    5,    0x14, 7,
                                        0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f};
  for (int x = 0; x < 640; x++)
    ck_assert_uint_eq(pixel(x, 0), palette_color(dac_index[x & 15]));
  attribute(0x13, 3); /* pixel panning */
  refresh(&y, &h);
  for (int x = 0; x < 600; x++)
    ck_assert_uint_eq(pixel(x, 0), palette_color(dac_index[(x + 3) & 15]));
  attribute(0x12, 0x03); /* colour plane enable */
  attribute(0x13, 0);
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(7, 0), palette_color(3));
  out(0x3c6, 0x02); /* DAC mask */
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(3, 0), palette_color(2));
  seq(1, 0x21); /* screen off */
  ck_assert(refresh(&y, &h));
  ck_assert_uint_eq(pixel(3, 0), 0);
}
END_TEST

START_TEST(cga_pixels) {
  int y, h;
  set_mode(&vga_mode_04h);
  set_palette();
  poke(TEXT, 0x1b);          /* pixels 0 1 2 3 */
  poke(TEXT + 0x2000, 0xe4); /* next line: 3 2 1 0 */
  poke(TEXT + 1, 0x55);
  refresh(&y, &h);
  ck_assert_int_eq(display->surface.width, 640);
  ck_assert_int_eq(display->surface.height, 400);
  static const uint8_t dac_index[4] = {0, 0x13, 0x15, 0x17};
  for (int i = 0; i < 4; i++) {
    ck_assert_uint_eq(pixel(2 * i, 0), palette_color(dac_index[i]));
    ck_assert_uint_eq(pixel(2 * i + 1, 1), palette_color(dac_index[i]));
    ck_assert_uint_eq(pixel(2 * i, 2), palette_color(dac_index[3 - i]));
    ck_assert_uint_eq(pixel(8 + 2 * i, 0), palette_color(dac_index[1]));
  }
  ck_assert_str_eq(display->mode_name(display), "320x200x2");
  set_mode(&vga_mode_06h);
  poke(TEXT, 0xa0);
  poke(TEXT + 0x2000 + 79, 0x01);
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(0, 0), palette_color(0x17));
  ck_assert_uint_eq(pixel(1, 0), palette_color(0));
  ck_assert_uint_eq(pixel(2, 1), palette_color(0x17));
  ck_assert_uint_eq(pixel(639, 2), palette_color(0x17));
}
END_TEST

START_TEST(byte_pixels) {
  int y, h;
  set_mode(&vga_mode_13h);
  set_palette();
  for (unsigned i = 0; i < 64000; i++)
    poke(WINDOW + i, i % 320 + i / 320);
  refresh(&y, &h);
  ck_assert_int_eq(display->surface.width, 640);
  for (int py = 0; py < 400; py += 7)
    for (int px = 0; px < 640; px++)
      ck_assert_uint_eq(pixel(px, py), palette_color((unsigned)(px / 2 + py / 2) & 255));
  poke(WINDOW + 320 * 100, 0xee); /* through the direct mapping: noticed by the dirty log */
  ck_assert(refresh(&y, &h));
  ck_assert_int_le(y, 200);
  ck_assert_int_ge(y + h, 202);
  ck_assert_int_le(h, 40);
  ck_assert_uint_eq(pixel(1, 201), palette_color(0xee));
  set_mode(&vga_mode_x);
  for (unsigned i = 0; i < 320 * 240; i++) {
    seq(2, 1u << (i & 3));
    poke(WINDOW + i / 4, i % 320 * 3 + i / 320);
  }
  refresh(&y, &h);
  ck_assert_int_eq(display->surface.height, 480);
  for (int py = 0; py < 480; py += 7)
    for (int px = 0; px < 640; px++)
      ck_assert_uint_eq(pixel(px, py), palette_color((unsigned)(px / 2 * 3 + py / 2) & 255));
  crtc(0x0d, 1);      /* scroll by 4 pixels */
  attribute(0x13, 2); /* and one more */
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(0, 0), palette_color(15));
  ck_assert_str_eq(display->mode_name(display), "320x240x8");
}
END_TEST

static void map_bars(void) {
  pci_config_write(bus, 0x10, 0x10, 4, LFB);
  pci_config_write(bus, 0x10, 0x18, 4, REGS);
  pci_config_write(bus, 0x10, 0x04, 2, 3);
}

static void vbe_mode(unsigned width, unsigned height, unsigned bpp) {
  vbe(VBE_INDEX_ENABLE, 0);
  vbe(VBE_INDEX_XRES, width);
  vbe(VBE_INDEX_YRES, height);
  vbe(VBE_INDEX_BPP, bpp);
  vbe(VBE_INDEX_ENABLE, VBE_ENABLED | VBE_LFB_ENABLED);
  in(0x3da);
  out(0x3c0, 0x20);
}

START_TEST(vbe_registers) {
  ck_assert_uint_eq(vbe_get(VBE_INDEX_ID), 0xb0c5);
  for (unsigned id = 0xb0c0; id <= 0xb0c5; id++) {
    vbe(VBE_INDEX_ID, id);
    ck_assert_uint_eq(vbe_get(VBE_INDEX_ID), id);
  }
  ck_assert_uint_eq(vbe_get(VBE_INDEX_VIDEO_MEMORY_64K), 256);
  vbe(VBE_INDEX_ENABLE, VBE_GETCAPS);
  ck_assert_uint_ge(vbe_get(VBE_INDEX_XRES), 1920);
  ck_assert_uint_ge(vbe_get(VBE_INDEX_YRES), 1200);
  ck_assert_uint_eq(vbe_get(VBE_INDEX_BPP), 32);
  vbe_mode(1024, 768, 32);
  ck_assert_uint_eq(vbe_get(VBE_INDEX_VIRT_WIDTH), 1024);
  ck_assert_uint_eq(vbe_get(VBE_INDEX_VIRT_HEIGHT), (16u << 20) / 4096);
  vbe(VBE_INDEX_VIRT_WIDTH, 100);
  ck_assert_uint_eq(vbe_get(VBE_INDEX_VIRT_WIDTH), 1024);
  vbe(VBE_INDEX_Y_OFFSET, 3329); /* 4096 lines: one too many */
  ck_assert_uint_eq(vbe_get(VBE_INDEX_Y_OFFSET), 0);
  vbe(VBE_INDEX_Y_OFFSET, 3328);
  ck_assert_uint_eq(vbe_get(VBE_INDEX_Y_OFFSET), 3328);
  map_bars();
  ck_assert_uint_eq(mem_read(set.mem, REGS + 0x502, 2), 1024);
  mem_write(set.mem, REGS + 0x512, 2, 5);
  ck_assert_uint_eq(vbe_get(VBE_INDEX_Y_OFFSET), 5);
  mem_write(set.mem, REGS + 0x408, 1, 7); /* 3C8h */
  ck_assert_uint_eq(in(0x3c8), 7);
}
END_TEST

START_TEST(edid_in_bar2) {
  map_bars();
  for (unsigned i = 0; i < EDID_SIZE; i++)
    ck_assert_uint_eq(peek(REGS + i), vga->edid[i]);
  ck_assert_uint_eq(mem_read(set.mem, REGS, 4), 0xffffff00);
  mem_write(set.mem, REGS, 1, 0x55);
  ck_assert_uint_eq(peek(REGS), 0);
}
END_TEST

START_TEST(vbe_depths) {
  static const struct {
    unsigned bpp;
    uint32_t value, color;
  } cases[] = {{8, 0x42, 0},           {15, 0x7c1f, 0xff00ff},   {16, 0xf81f, 0xff00ff},
               {16, 0x07e0, 0x00ff00}, {24, 0x123456, 0x123456}, {32, 0x00abcdef, 0xabcdef}};
  int y, h;
  map_bars();
  set_mode(&vga_mode_03h);
  set_palette();
  for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    unsigned bytes = (cases[i].bpp + 7) / 8;
    vbe_mode(800, 600, cases[i].bpp);
    uint32_t at = LFB + (801 * 5 + 7) * bytes; /* line 5, column 12 */
    for (unsigned b = 0; b < bytes; b++)
      poke(at + b, cases[i].value >> (8 * b) & 0xff);
    ck_assert(refresh(&y, &h));
    ck_assert_int_eq(display->surface.width, 800);
    ck_assert_int_eq(display->surface.height, 600);
    ck_assert_uint_eq(pixel(12, 5) & 0xffffff, cases[i].bpp == 8 ? palette_color(0x42) : cases[i].color);
    ck_assert_uint_eq(pixel(13, 5) & 0xffffff, cases[i].bpp == 8 ? palette_color(0) : 0);
    ck_assert(!refresh(&y, &h));
    poke(LFB + 800 * 300 * bytes, 1);
    ck_assert(refresh(&y, &h));
    ck_assert(y <= 300 && y + h > 300 && h <= 8);
  }
}
END_TEST

START_TEST(vbe_banks_and_offsets) {
  int y, h;
  map_bars();
  vbe_mode(1024, 768, 32);
  vbe(VBE_INDEX_BANK, 3);
  for (unsigned i = 0; i < 100; i++) /* 100: past the point where the window becomes a mapping */
    mem_write(set.mem, WINDOW + i * 4, 4, 0x1000 + i);
  for (unsigned i = 0; i < 100; i++)
    ck_assert_uint_eq(mem_read(set.mem, LFB + 0x30000 + i * 4, 4), 0x1000 + i);
  ck_assert(vga->direct);
  vbe(VBE_INDEX_BANK, 4);
  mem_write(set.mem, WINDOW, 4, 0x777777);
  ck_assert_uint_eq(mem_read(set.mem, LFB + 0x40000, 4), 0x777777);
  vbe(VBE_INDEX_Y_OFFSET, 64); /* 40000h / 4096 */
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(0, 0), 0x777777);
  vbe(VBE_INDEX_VIRT_WIDTH, 2048);
  vbe(VBE_INDEX_Y_OFFSET, 31);
  vbe(VBE_INDEX_X_OFFSET, 1023);
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(0, 1), 0); /* 32 * 2048 is one to the left */
  vbe(VBE_INDEX_X_OFFSET, 0);
  refresh(&y, &h);
  ck_assert_uint_eq(pixel(0, 1), 0x777777);
  vbe(VBE_INDEX_ENABLE, 0);
  vbe(VBE_INDEX_ENABLE, VBE_ENABLED | VBE_NOCLEARMEM);
  ck_assert_uint_eq(mem_read(set.mem, LFB + 0x40000, 4), 0x777777);
  vbe(VBE_INDEX_ENABLE, 0);
  vbe(VBE_INDEX_ENABLE, VBE_ENABLED);
  ck_assert_uint_eq(mem_read(set.mem, LFB + 0x40000, 4), 0);
}
END_TEST

START_TEST(vbe_planar) {
  int y, h;
  set_mode(&vga_mode_12h);
  set_palette();
  vbe_mode(1024, 768, 4);
  seq(2, 4);
  poke(WINDOW + 128 * 10 + 1, 0x80);
  vbe(VBE_INDEX_BANK, 1);
  poke(WINDOW, 0x01); /* 65536 / 128 = line 512 */
  refresh(&y, &h);
  ck_assert_int_eq(display->surface.width, 1024);
  ck_assert_uint_eq(pixel(8, 10), palette_color(4));
  ck_assert_uint_eq(pixel(9, 10), palette_color(0));
  ck_assert_uint_eq(pixel(7, 512), palette_color(4));
}
END_TEST

START_TEST(state_round_trip) {
  size_t size = state_size(vga_class.fields);
  uint8_t *saved = malloc(size), *again = malloc(size);
  set_mode(&vga_mode_12h);
  set_palette();
  state_save(saved, vga, vga_class.fields);
  vga_class.reset(&vga->dev);
  ck_assert_int_eq(state_load(saved, size, vga, vga_class.fields), 0);
  state_save(again, vga, vga_class.fields);
  ck_assert_int_eq(memcmp(saved, again, size), 0);
  free(saved);
  free(again);
}
END_TEST

static uint32_t random_state;
static uint32_t random_next(void) {
  random_state = random_state * 1664525 + 1013904223;
  return random_state >> 8;
}

enum { RUN_FILL, RUN_WRITE, RUN_COPY, RUN_KINDS };

static uint32_t do_run(unsigned kind, uint32_t to, uint32_t from, int size, const uint8_t *values,
                       uint32_t count) {
  uint32_t first = 0;
  memcpy(&first, values, 4);
  switch (kind) {
  case RUN_FILL: return mem_fill_run(set.mem, to, size, first, count);
  case RUN_WRITE: return mem_write_run(set.mem, to, size, values, count);
  default: return mem_copy_run(set.mem, to, from, size, count);
  }
}

static void do_singles(unsigned kind, uint32_t to, uint32_t from, int size, const uint8_t *values,
                       uint32_t count) {
  for (uint32_t i = 0; i < count * (uint32_t)size; i += (uint32_t)size) {
    uint64_t value = 0;
    memcpy(&value, kind == RUN_WRITE ? values + i : values, (size_t)size);
    if (kind == RUN_COPY)
      value = mem_read(set.mem, from + i, size);
    mem_write(set.mem, to + i, size, value);
  }
}

/* A run leaves the VRAM, the latches and what is to be redrawn as so many accesses would, whatever the
 * registers. */
START_TEST(runs_are_many_accesses) {
  enum { BYTES = 0x40000, PAGES = BYTES / MEM_PAGE };
  static uint8_t before[BYTES], after[BYTES], values[64], log[PAGES];
  unsigned done[RUN_KINDS] = {0};
  random_state = 77;
  map_bars();
  set_mode(&vga_mode_12h);
  for (unsigned i = 0; i < BYTES; i++)
    vga->vram->host[i] = (uint8_t)random_next();
  for (unsigned i = 0; i < 1500; i++) {
    seq(2, random_next() % 3 ? 15 : random_next() & 15);
    seq(4, (random_next() & 3) ? 6 : random_next() & 14);
    for (unsigned k = 0; k < 9; k++)
      gc(k, k == 8 && random_next() % 2 ? 0xff : random_next() & (k == 6 ? 0x0d : 0xff));
    for (unsigned k = 0; k < sizeof values; k++)
      values[k] = random_next() % 3 ? values[0] : (uint8_t)random_next();
    unsigned kind = random_next() % RUN_KINDS;
    int size = 1 << random_next() % 3;
    uint32_t count = 1 + random_next() % 16, step = 0xfc;
    uint32_t to = WINDOW + (random_next() & 0x1ff00) + (random_next() & step);
    uint32_t from = random_next() % 2 ? to + 4 : WINDOW + (random_next() & 0x1ff00);
    if (to % MEM_PAGE > MEM_PAGE - 64 || from % MEM_PAGE > MEM_PAGE - 64)
      continue;
    uint32_t latch = vga->latch;
    memcpy(before, vga->vram->host, BYTES);
    memset(vga->vram->log, 0, PAGES);
    if (!do_run(kind, to, from, size, values, count))
      continue;
    uint32_t latch_after = vga->latch;
    memcpy(after, vga->vram->host, BYTES);
    memcpy(log, vga->vram->log, PAGES);
    memcpy(vga->vram->host, before, BYTES);
    memset(vga->vram->log, 0, PAGES);
    vga->latch = latch;
    do_singles(kind, to, from, size, values, count);
    ck_assert_mem_eq(vga->vram->host, after, BYTES);
    ck_assert_mem_eq(vga->vram->log, log, PAGES);
    ck_assert_uint_eq(vga->latch, latch_after);
    done[kind]++;
  }
  for (unsigned kind = 0; kind < RUN_KINDS; kind++)
    ck_assert_uint_gt(done[kind], 100);
}
END_TEST

/* Whatever is written, nothing is read or written outside VRAM (run under the sanitizers) and drawing ends.
 */
START_TEST(hostile_registers) {
  static const struct vga_mode_registers *const modes[] = {
      &vga_mode_03h, &vga_mode_04h, &vga_mode_06h, &vga_mode_0dh, &vga_mode_12h, &vga_mode_13h, &vga_mode_x};
  int y, h, rows, cx, cy;
  uint8_t cells[1000];
  random_state = (uint32_t)_i + 1;
  map_bars();
  for (unsigned i = 0; i < 25000; i++) {
    uint32_t r = random_next(), value = random_next();
    switch (r & 15) {
    case 0:
    case 1:
    case 2: out(0x3b0 + (value & 0x3f) % 48, random_next() & 0xff); break;
    case 3: in(0x3b0 + (value & 0x3f) % 48); break;
    case 4: seq(value & 7, value >> 8 & 0xff); break;
    case 5:
    case 6: crtc(value % 26, value >> 8 & 0xff); break;
    case 7: gc(value & 15, value >> 8 & 0xff); break;
    case 8: attribute(value & 31, value >> 8 & 0xff); break;
    case 9: vbe(value % 12, random_next() & 0xffff); break;
    case 10: vbe(VBE_INDEX_BPP, (const uint8_t[]){4, 8, 15, 16, 24, 32, 7, 0}[value & 7]); break;
    case 11: vbe(VBE_INDEX_ENABLE, value >> 4 & 0xc3); break;
    case 12:
      if ((r & 0x70) == 0)
        set_mode(modes[value % 7]);
      break;
    case 13: mem_write(set.mem, WINDOW + (value & 0x1fff8), 1 << (r >> 4 & 3), random_next()); break;
    case 14: mem_read(set.mem, WINDOW + (value & 0x1fff8), 1 << (r >> 4 & 3)); break;
    default: mem_write(set.mem, REGS + (value & 0xffc), 1 << (r >> 4 & 1), random_next()); break;
    }
    instructions += 1000;
    if (i % 50 == 0) {
      refresh(&y, &h);
      ck_assert_int_ge(y, 0);
      ck_assert_int_le(y + h, display->surface.height);
      int columns = display->text(display, cells, cells, sizeof cells, &rows, &cx, &cy);
      ck_assert_int_le(columns * (columns ? rows : 0), (int)sizeof cells);
      ck_assert_ptr_nonnull(display->mode_name(display));
    }
  }
}
END_TEST

Suite *suite_vga(void) {
  Suite *suite = suite_create("vga");
  TCase *c = tcase_create("vga");
  tcase_add_checked_fixture(c, vga_setup, vga_teardown);
  tcase_set_timeout(c, 60);
  tcase_add_test(c, write_mode_0);
  tcase_add_test(c, logic_and_bit_mask);
  tcase_add_test(c, write_modes_1_2_3);
  tcase_add_test(c, read_modes);
  tcase_add_test(c, wide_accesses);
  tcase_add_test(c, chain4_and_odd_even);
  tcase_add_test(c, direct_mapping);
  tcase_add_test(c, dac_sequences);
  tcase_add_test(c, attribute_flip_flop);
  tcase_add_test(c, crtc_protection);
  tcase_add_test(c, retrace_timing);
  tcase_add_test(c, text_screen);
  tcase_add_test(c, text_glyphs);
  tcase_add_test(c, line_compare);
  tcase_add_test(c, planar_pixels);
  tcase_add_test(c, cga_pixels);
  tcase_add_test(c, byte_pixels);
  tcase_add_test(c, vbe_registers);
  tcase_add_test(c, edid_in_bar2);
  tcase_add_test(c, vbe_depths);
  tcase_add_test(c, vbe_banks_and_offsets);
  tcase_add_test(c, vbe_planar);
  tcase_add_test(c, state_round_trip);
  tcase_add_test(c, runs_are_many_accesses);
  tcase_add_loop_test(c, hostile_registers, 0, 4);
  suite_add_tcase(suite, c);
  return suite;
}
