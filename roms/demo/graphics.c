/* SPDX-License-Identifier: MIT */
/*
 * Graphics: 320x200 with a palette (mode 13h), 640x480 in planes (mode 12h), a linear frame buffer by VBE
 * 2.0, and the plasma of the menu. Modes are set by the video BIOS; pixels, planes and palette are ours, and
 * are read back as tests. The letters are the video BIOS's own 8x16 font.
 */
#include "demo.h"

#define SEQUENCER 0x3c4
#define GRAPHICS 0x3ce

static const u8 *font;
static int sine[256]; /* -128 to 127 */
static u8 *const vga = (u8 *)0xa0000;

typedef void (*plot)(int x, int y, u32 colour);

void graphics_init(void) {
  struct bios_regs r = {.eax = 0x1130, .ebx = 0x0600};
  bios_call(0x10, &r);
  font = (const u8 *)((u32)r.es * 16 + (r.ebp & 0xffff));
  for (int i = 0; i < 128; i++) { /* two parabolas are near enough */
    sine[i] = i * (128 - i) * 127 / 4096;
    sine[128 + i] = -sine[i];
  }
}

static void draw_text(plot put, int x, int y, int scale, u32 colour, const char *text) {
  for (; *text; text++, x += 8 * scale)
    for (int row = 0; row < 16 * scale; row++)
      for (int column = 0; column < 8 * scale; column++)
        if (font[(u8)*text * 16 + row / scale] & 0x80 >> column / scale)
          put(x + column, y + row, colour);
}

static void set_mode(u32 mode) {
  struct bios_regs r = {.eax = mode};
  bios_call(0x10, &r);
  on_text = false;
}

/* --- mode 13h --- */

static void set_palette(u8 first, unsigned count, const u8 *rgb) {
  outb(0x3c8, first);
  for (unsigned i = 0; i < 3 * count; i++)
    outb(0x3c9, rgb[i]);
}

static u8 ramp(int position) { /* up, flat, down over 256 steps; 6 bits */
  position &= 255;
  int v = position < 43    ? position * 63 / 43
          : position < 128 ? 63
          : position < 171 ? (171 - position) * 63 / 43
                           : 0;
  return (u8)v;
}

static void rainbow(u8 *rgb) {
  for (int i = 0; i < 256; i++) {
    rgb[3 * i] = ramp(i + 85);
    rgb[3 * i + 1] = ramp(i);
    rgb[3 * i + 2] = ramp(i - 85);
  }
  for (int i = 0; i < 3; i++) {
    rgb[i] = 0;
    rgb[255 * 3 + i] = 63;
  }
}

static void plot13(int x, int y, u32 colour) {
  if (x >= 0 && x < 320 && y >= 0 && y < 200)
    vga[y * 320 + x] = (u8)colour;
}

void graphics_mode13(void) {
  static u8 rgb[768];
  set_mode(0x13);
  rainbow(rgb);
  set_palette(0, 256, rgb);
  u8 *copy = BUFFER_A;
  for (int y = 0; y < 200; y++)
    for (int x = 0; x < 320; x++) {
      int dx = x - 100, dy = y - 100;
      u8 c = (u8)(1 + (dx * dx + dy * dy) / 64 % 254);
      if (x >= 208 && x < 304 && y >= 48 && y < 144) /* the palette, 16 by 16 */
        c = (u8)((y - 48) / 6 * 16 + (x - 208) / 6);
      copy[y * 320 + x] = vga[y * 320 + x] = c;
    }
  bool same = !memcmp(copy, vga, 64000);
  bool palette = true;
  outb(0x3c7, 0);
  for (int i = 0; i < 768; i++)
    palette = (inb(0x3c9) & 63) == rgb[i] && palette;
  draw_text(plot13, 208, 8, 1, 255, "Mode 13h");
  draw_text(plot13, 208, 24, 1, 255, "256 colours");
  draw_text(plot13, 8, 180, 1, 0, "320x200, one byte a pixel");
  draw_text(plot13, 7, 179, 1, 255, "320x200, one byte a pixel");
  check("mode 13h", same, "64000 pixels read back");
  check("palette", palette, "256 colours read back");
  hold("mode13h");
}

/* --- mode 12h --- */

static void vga_reg(u16 port, u8 index, u8 value) {
  outb(port, index);
  outb(port + 1, value);
}

static void plot12(int x, int y, u32 colour) { /* write mode 2: bit mask and latches */
  if (x < 0 || x >= 640 || y < 0 || y >= 480)
    return;
  volatile u8 *p = vga + y * 80 + x / 8;
  vga_reg(GRAPHICS, 8, (u8)(0x80 >> (x & 7)));
  (void)*p;
  *p = (u8)colour;
}

/* Write mode 0 with set/reset; whole bytes. */
static void fill12(int x, int y, int width, int height, u8 colour) {
  vga_reg(GRAPHICS, 5, 0);
  vga_reg(GRAPHICS, 0, colour);
  vga_reg(GRAPHICS, 1, 15);
  vga_reg(GRAPHICS, 8, 0xff);
  for (int row = y; row < y + height; row++)
    memset(vga + row * 80 + x / 8, 0xff, (size_t)width / 8);
  vga_reg(GRAPHICS, 1, 0);
}

static void line12(int x0, int y0, int x1, int y1, u8 colour) {
  int dx = x1 > x0 ? x1 - x0 : x0 - x1, dy = y1 > y0 ? y0 - y1 : y1 - y0;
  int error = dx + dy, step_x = x1 > x0 ? 1 : -1, step_y = y1 > y0 ? 1 : -1;
  for (;;) {
    plot12(x0, y0, colour);
    if (x0 == x1 && y0 == y1)
      return;
    int twice = 2 * error;
    if (twice >= dy) {
      error += dy;
      x0 += step_x;
    }
    if (twice <= dx) {
      error += dx;
      y0 += step_y;
    }
  }
}

/* Copy a block by the latches: write mode 1. */
static void copy12(int from_row, int to_row, int rows) {
  vga_reg(GRAPHICS, 5, 1);
  volatile u8 *from = vga + from_row * 80, *to = vga + to_row * 80;
  for (int i = 0; i < rows * 80; i++)
    to[i] = from[i];
}

static bool bars_are_right(int y) { /* read mode 1: which pixels have this colour? */
  bool ok = true;
  vga_reg(GRAPHICS, 5, 8);
  vga_reg(GRAPHICS, 7, 15);
  for (u8 c = 0; c < 16; c++) {
    vga_reg(GRAPHICS, 2, c);
    for (int i = 0; i < 80; i++)
      ok = ok && vga[y * 80 + i] == (i / 5 == c ? 0xff : 0);
  }
  vga_reg(GRAPHICS, 5, 0);
  return ok;
}

static bool planes_are_right(int y) { /* read mode 0, plane by plane */
  bool ok = true;
  for (u8 plane = 0; plane < 4; plane++) {
    vga_reg(GRAPHICS, 4, plane);
    for (int i = 0; i < 80; i++)
      ok = ok && vga[y * 80 + i] == (i / 5 >> plane & 1 ? 0xff : 0);
  }
  return ok;
}

void graphics_mode12(void) {
  set_mode(0x12);
  vga_reg(SEQUENCER, 2, 15);
  for (u8 c = 0; c < 16; c++)
    fill12(c * 40, 0, 40, 60, c);
  copy12(0, 420, 60);
  bool bars = bars_are_right(30) && bars_are_right(450);
  bool planes = planes_are_right(479);
  vga_reg(GRAPHICS, 5, 2); /* write mode 2 from here on */
  for (int i = 0; i <= 16; i++) {
    line12(40 + i * 17, 80, 40, 390 - i * 18, (u8)(9 + i % 6));
    line12(600 - i * 17, 400, 600, 90 + i * 18, (u8)(9 + i % 6));
  }
  for (int i = 0; i < 256; i++) {
    int x = sine[i] * 110 / 127, y = sine[(i + 64) & 255] * 110 / 127;
    line12(320, 240, 320 + x, 240 + y, (u8)(1 + (i >> 4) % 15));
  }
  draw_text(plot12, 212, 84, 2, 15, "Mode 12h: four");
  draw_text(plot12, 216, 376, 2, 15, "planes, 640x480");
  check("mode 12h", bars, "16 colours by colour compare");
  check("planes", planes, "4 planes, copied by the latches");
  vga_reg(GRAPHICS, 5, 0);
  vga_reg(GRAPHICS, 8, 0xff);
  hold("mode12h");
}

/* --- VBE --- */

static struct {
  u8 *base;
  u32 pitch, width, height, bits, mode;
} vbe;

static bool vbe_call(u32 function, u32 ebx, u32 ecx, u16 offset) {
  struct bios_regs r = {.eax = function, .ebx = ebx, .ecx = ecx, .es = LOW_SEGMENT, .edi = offset};
  bios_call(0x10, &r);
  return (r.eax & 0xffff) == 0x4f;
}

/* The best of 800x600 and 640x480, the deeper the better, with a linear frame buffer. */
static bool vbe_find(void) {
  u8 *info = LOW_BUFFER, *mode = LOW_BUFFER + 512;
  u32 best = 0;
  memset(info, 0, 1024);
  memcpy(info, "VBE2", 4);
  if (!vbe_call(0x4f00, 0, 0, 0) || memcmp(info, "VESA", 4) || info[5] < 2)
    return false;
  static u16 list[256];
  const u16 *from = (const u16 *)(*(u16 *)(info + 16) * 16u + *(u16 *)(info + 14));
  unsigned count = 0;
  for (; count < 255 && from[count] != 0xffff; count++)
    list[count] = from[count];
  for (unsigned i = 0; i < count; i++) {
    memset(mode, 0, 256);
    if (!vbe_call(0x4f01, 0, list[i], 512) || (*(u16 *)mode & 0x99) != 0x99 || mode[27] != 6)
      continue;
    u32 width = *(u16 *)(mode + 18), height = *(u16 *)(mode + 20), bits = mode[25];
    bool fits = (width == 800 && height == 600) || (width == 640 && height == 480);
    if (!fits || (bits != 16 && bits != 24 && bits != 32) || bits * 1000 + width <= best)
      continue;
    best = bits * 1000 + width;
    vbe.base = *(u8 **)(mode + 40);
    vbe.pitch = *(u16 *)(mode + 16);
    vbe.width = width;
    vbe.height = height;
    vbe.bits = bits;
    vbe.mode = list[i];
  }
  return best;
}

static u32 vbe_pack(u32 rgb) {
  return vbe.bits == 16 ? (rgb >> 8 & 0xf800) | (rgb >> 5 & 0x7e0) | (rgb >> 3 & 0x1f) : rgb;
}

static void plot_vbe(int x, int y, u32 rgb) {
  if (x < 0 || y < 0 || (u32)x >= vbe.width || (u32)y >= vbe.height)
    return;
  u8 *p = vbe.base + (u32)y * vbe.pitch + (u32)x * (vbe.bits / 8);
  rgb = vbe_pack(rgb);
  if (vbe.bits == 32)
    *(u32 *)p = rgb;
  else
    *(u16 *)p = (u16)rgb;
  if (vbe.bits == 24)
    p[2] = (u8)(rgb >> 16);
}

static u32 vbe_pixel(u32 x, u32 y) {
  const u8 *p = vbe.base + y * vbe.pitch + x * (vbe.bits / 8);
  return vbe.bits == 32 ? *(u32 *)p & 0xffffff : vbe.bits == 24 ? *(u16 *)p | (u32)p[2] << 16 : *(u16 *)p;
}

static u32 gradient(u32 x, u32 y) {
  u32 red = x * 255 / (vbe.width - 1), green = y * 255 / (vbe.height - 1);
  u32 blue = 255 - (red + green) / 2;
  return red << 16 | green << 8 | blue;
}

static void vbe_picture(void) {
  int cx = (int)vbe.width / 2, cy = (int)vbe.height / 2;
  char line[64];
  for (int y = -120; y <= 120; y++) /* a lit ball */
    for (int x = -120; x <= 120; x++) {
      int square = x * x + y * y, light = 255 - ((x + 40) * (x + 40) + (y + 40) * (y + 40)) / 110;
      if (square < 14400)
        plot_vbe(cx + x, cy + y, (u32)(light < 20 ? 20 : light) * 0x010100u + 0x30);
    }
  draw_text(plot_vbe, cx - 156 + 3, 35, 3, 0x000000, "Dragoman demo");
  draw_text(plot_vbe, cx - 156, 32, 3, 0xffffff, "Dragoman demo");
  format_to(line, sizeof line, "VBE mode %03x: %ux%u, %u bits", vbe.mode, vbe.width, vbe.height, vbe.bits);
  draw_text(plot_vbe, cx - 4 * 30 + 1, (int)vbe.height - 47, 1, 0x000000, line);
  draw_text(plot_vbe, cx - 4 * 30, (int)vbe.height - 48, 1, 0xffff80, line);
}

void graphics_vbe(void) {
  if (!vbe_find()) {
    report("VBE", SKIPPED, "no VBE 2.0 with a linear frame buffer");
    return;
  }
  on_text = false;
  if (!vbe_call(0x4f02, vbe.mode | 0x4000, 0, 0)) {
    report("VBE", FAILED, "mode %x is listed but cannot be set", vbe.mode);
    return;
  }
  for (u32 y = 0; y < vbe.height; y++)
    for (u32 x = 0; x < vbe.width; x++)
      plot_vbe((int)x, (int)y, gradient(x, y));
  u32 wrong = 0;
  for (u32 y = 0; y < vbe.height; y += 7)
    for (u32 x = 0; x < vbe.width; x += 3)
      wrong += vbe_pixel(x, y) != vbe_pack(gradient(x, y));
  vbe_picture();
  check("VBE", !wrong, "%ux%u, %u bits at %08x, pitch %u", vbe.width, vbe.height, vbe.bits, (u32)vbe.base,
        vbe.pitch);
  hold("vbe");
}

/* --- plasma --- */

static void wait_retrace(void) {
  for (u32 start = ticks; ticks - start < 3 && (inb(0x3da) & 8);)
    ;
  for (u32 start = ticks; ticks - start < 3 && !(inb(0x3da) & 8);)
    ;
}

static void plot_buffer(int x, int y, u32 colour) {
  if (x >= 0 && x < 320)
    BUFFER_A[y * 320 + x] = (u8)colour;
}

void graphics_plasma(void) {
  static const char message[] = "Dragoman demo disk: plasma in mode 13h, a frame each retrace.  Esc ends it.";
  static u8 rgb[768];
  set_mode(0x13);
  rainbow(rgb);
  set_palette(0, 256, rgb);
  int scroll = 320;
  for (u32 t = 0; key_get() != KEY_ESCAPE; t++) {
    for (u32 y = 0; y < 200; y++) {
      int row = sine[(y + 2 * t) & 255] + sine[(3 * y - t) & 255] / 2;
      u8 *p = BUFFER_A + y * 320;
      for (u32 x = 0; x < 320; x++) {
        int v = row + sine[(x + t) & 255] + sine[(x + y + 3 * t) & 255];
        u8 c = (u8)(128 + v / 3 + (int)t);
        p[x] = c == 0 || c == 255 ? 1 : c;
      }
    }
    draw_text(plot_buffer, scroll + 2, 162, 2, 0, message);
    draw_text(plot_buffer, scroll, 160, 2, 255, message);
    scroll = scroll < -(int)(sizeof message) * 16 ? 320 : scroll - 3;
    wait_retrace();
    u32 n = 16000;
    void *to = vga;
    const void *from = BUFFER_A;
    __asm__ volatile("rep movsl" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
  }
}
