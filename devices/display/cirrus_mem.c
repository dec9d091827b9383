/* SPDX-License-Identifier: MIT */
/*
 * How the CPU reaches the CL-GD5446's memory, after its technical reference manual: the A0000h window with
 * two banks (GR9 to GRB), extended write modes 4 and 5, by-8 and by-16 addressing and 8-byte latches (GRB),
 * memory-mapped registers (SR17), and the linear apertures of BAR 0 with their byte swappers. Data for a
 * BitBLT may be written to, or fetched from, any of them.
 *
 * Packed pixels that the graphics controller leaves alone are plain memory and get mapped as such, in the
 * window (see vga_mem.c) as at BAR 0; a BitBLT that wants data from the CPU takes the mappings away.
 */
#include <string.h>

#include "devices/display/cirrus_state.h"

#define GRB_DUAL_BANK 0x01u
#define GRB_BY8 0x02u
#define GRB_EXTENDED_WRITE 0x04u
#define GRB_LATCH8 0x08u
#define GRB_WIDE 0x10u /* 16-bit pixels in extended write modes: by-16 */
#define GRB_GRANULE_16K 0x20u

#define SR17_MMIO 0x04u
#define SR17_MMIO_LINEAR 0x40u

#define HEAT_TO_MAP 64
#define HEAT_MAX 4096
#define MMIO_WINDOW 0x18000u /* B8000h */
#define MMIO_SIZE 0x100u
#define BLT_APERTURE (16u << 20)

/* --- memory by the graphics controller's rules --- */

static bool wide_pixels(const struct cirrus *c) {
  return (c->vga.gc[0x0b] & (GRB_WIDE | GRB_EXTENDED_WRITE)) == (GRB_WIDE | GRB_EXTENDED_WRITE);
}

static unsigned write_mode(const struct cirrus *c) {
  return c->vga.gc[5] & (c->vga.gc[0x0b] & GRB_EXTENDED_WRITE ? 7 : 3);
}

static bool controller_is_plain(const struct cirrus *c) {
  const struct vga *v = &c->vga;
  return !(v->gc[0x0b] & GRB_BY8) && !wide_pixels(c) && write_mode(c) == 0 && !(v->gc[5] & 8) &&
         v->gc[3] == 0 && v->gc[8] == 0xff && (!(v->seq[4] & 8) || (v->seq[2] & 15) == 15);
}

static uint32_t memory_address(const struct cirrus *c, uint32_t addr) {
  addr <<= wide_pixels(c) ? 4 : c->vga.gc[0x0b] & GRB_BY8 ? 3 : 0;
  return addr & (c->vga.vram_size - 1);
}

uint8_t cirrus_read8(struct vga *v, uint32_t addr) {
  struct cirrus *c = cirrus_of(v);
  uint32_t at = memory_address(c, addr);
  if (v->gc[0x0b] & GRB_LATCH8)
    memcpy(c->latch8, v->vram->host + (at & ~7u), 8);
  return vga_planar_read(v, at >> 2, at & 3);
}

/* Write modes 4 and 5: a bit for each of eight pixels, of which SR2 masks some. */
static void write_pixels(struct cirrus *c, uint32_t at, uint8_t bits, bool opaque) {
  struct vga *v = &c->vga;
  uint32_t size = wide_pixels(c) ? 2 : 1;
  at &= ~(8 * size - 1);
  for (uint32_t i = 0; i < 8; i++) {
    bool set = bits >> (7 - i) & 1;
    if (!(v->seq[2] >> (7 - i) & 1) || (!set && !opaque))
      continue;
    uint8_t *p = v->vram->host + at + i * size;
    p[0] = v->gc[set ? 0x01 : 0x00];
    if (size == 2)
      p[1] = v->gc[set ? 0x11 : 0x10];
  }
  v->vram->log[at / MEM_PAGE] = 1;
}

void cirrus_write8(struct vga *v, uint32_t addr, uint8_t value) {
  struct cirrus *c = cirrus_of(v);
  uint32_t at = memory_address(c, addr);
  unsigned mode = write_mode(c);
  if (mode == 4 || mode == 5) {
    write_pixels(c, at, value, mode == 5);
  } else if (mode == 1 && (v->gc[0x0b] & (GRB_LATCH8 | GRB_BY8)) == (GRB_LATCH8 | GRB_BY8)) {
    memcpy(v->vram->host + (at & ~7u), c->latch8, 8);
    v->vram->log[at / MEM_PAGE] = 1;
  } else {
    uint32_t plane = 0xffu << (8 * (at & 3));
    vga_planar_write(v, at >> 2, v->seq[4] & 8 ? v->map_mask & plane : plane, value);
  }
}

static bool linear_ok(const struct cirrus *c) { return !c->blt.active && (!cirrus_packed(c) || c->plain); }

static void linear_undirect(struct cirrus *c, bool costly) {
  struct pci_bar *bar = &c->vga.pci.bar[0];
  c->linear_heat = 0;
  if (!c->linear_direct)
    return;
  c->linear_direct = false;
  if (bar->mapped)
    mem_map_mmio(c->vga.dev.mem, bar->addr, c->linear_size, &cirrus_linear_ops, c, "cirrus");
  if (costly && c->linear_limit < HEAT_MAX)
    c->linear_limit *= 2;
}

static bool mmio_linear(const struct cirrus *c) {
  return (c->vga.seq[0x17] & (SR17_MMIO | SR17_MMIO_LINEAR)) == (SR17_MMIO | SR17_MMIO_LINEAR);
}

/* The page of the registers stays with the handlers. */
static uint32_t direct_size(const struct cirrus *c) {
  return c->vga.vram_size - (mmio_linear(c) ? MEM_PAGE : 0);
}

static void linear_heat(struct cirrus *c) {
  struct pci_bar *bar = &c->vga.pci.bar[0];
  if (c->linear_direct || !bar->mapped || !linear_ok(c) || ++c->linear_heat < c->linear_limit)
    return;
  c->linear_size = direct_size(c);
  c->linear_direct = true;
  mem_map_ram(c->vga.dev.mem, bar->addr, c->linear_size, c->vga.vram, 0);
}

void cirrus_linear_moved(void *opaque) {
  struct cirrus *c = opaque;
  c->linear_direct = false;
  c->linear_heat = 0;
  c->linear_limit = HEAT_TO_MAP;
}

void cirrus_undirect(struct cirrus *c) {
  vga_window_undirect(&c->vga);
  linear_undirect(c, true);
}

void cirrus_window_update(struct vga *v) {
  struct cirrus *c = cirrus_of(v);
  bool packed = cirrus_packed(c);
  unsigned shift = v->gc[0x0b] & GRB_GRANULE_16K ? 14 : 12;
  uint32_t first = (uint32_t)v->gc[9] << shift, second = (uint32_t)v->gc[0x0a] << shift;

  c->plain = controller_is_plain(c);
  v->plane_wrap = packed || (v->crtc[0x1b] & 2) ? v->vram_size / 4 - 1 : VGA_PLANE_MASK;
  v->win_offset[0] = first;
  v->win_offset[1] = v->gc[0x0b] & GRB_DUAL_BANK ? second - 0x8000 : first;
  v->linear = packed && c->plain;
  v->ext_window = packed && !c->plain;
  if (packed) {
    v->set_reset_enable = 0; /* GR0 and GR1 are colours now */
    v->win_base = 0;
    v->win_size = v->misc & 2 ? 0x10000 : 0;
  }
  if (c->linear_direct && (!linear_ok(c) || c->linear_size != direct_size(c)))
    linear_undirect(c, false);
}

/* --- registers in memory --- */

#define NONE 0xff

static unsigned mmio_register(uint32_t offset) {
  static const uint8_t index[0x24] = {
      0x00, 0x10, 0x12, 0x14, 0x01, 0x11,
      0x13, 0x15, 0x20, 0x21, 0x22, 0x23, /* colours, width, height */
      0x24, 0x25, 0x26, 0x27, 0x28, 0x29,
      0x2a, NONE, 0x2c, 0x2d, 0x2e, 0x2f, /* pitches, addresses, clipping */
      0x30, NONE, 0x32, 0x33, 0x34, 0x35,
      NONE, NONE, 0x38, 0x39, NONE, NONE, /* modes, operation, transparency */
  };
  return offset == 0x40 ? 0x31 : offset < sizeof index ? index[offset] : NONE;
}

static uint8_t mmio_read8(struct cirrus *c, uint32_t offset) {
  unsigned index = mmio_register(offset);
  return index == NONE ? 0xff : cirrus_gc_read(c, index);
}

static void mmio_write8(struct cirrus *c, uint32_t offset, uint8_t value) {
  unsigned index = mmio_register(offset);
  if (index != NONE)
    cirrus_gc_write(c, index, value);
}

/* BAR 1: the VGA's ports from 3C0h on, then the BitBLT registers. */
static uint64_t bar1_read(void *opaque, uint32_t offset, int size) {
  struct cirrus *c = opaque;
  (void)size;
  if (offset < 0x20)
    return vga_port_read(&c->vga, 0x3c0 + offset);
  return offset >= MMIO_SIZE && offset < 2 * MMIO_SIZE ? mmio_read8(c, offset - MMIO_SIZE) : 0xff;
}

static void bar1_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  struct cirrus *c = opaque;
  (void)size;
  if (offset < 0x20)
    vga_port_write(&c->vga, 0x3c0 + offset, (uint8_t)value);
  else if (offset >= MMIO_SIZE && offset < 2 * MMIO_SIZE)
    mmio_write8(c, offset - MMIO_SIZE, (uint8_t)value);
}

const struct mmio_ops cirrus_mmio_ops = {.read = bar1_read, .write = bar1_write, .max_size = 1};

/* --- data for and from the BitBLT engine --- */

static bool blt_takes(struct cirrus *c, int size, uint64_t value) {
  uint8_t bytes[8];
  if (!(c->blt.active && !c->blt.reading) && !c->blt.pad)
    return false;
  for (int i = 0; i < size; i++)
    bytes[i] = (uint8_t)(value >> (8 * i));
  cirrus_blt_feed(c, bytes, (unsigned)size);
  return true;
}

static uint64_t blt_gives(struct cirrus *c, int size) {
  uint64_t value = 0;
  for (int i = 0; i < size; i++)
    value |= (uint64_t)cirrus_blt_fetch(c) << (8 * i);
  return value;
}

/* --- the window --- */

static bool mmio_in_window(const struct cirrus *c, uint32_t offset) {
  return (c->vga.seq[0x17] & (SR17_MMIO | SR17_MMIO_LINEAR)) == SR17_MMIO && offset >= MMIO_WINDOW &&
         offset < MMIO_WINDOW + MMIO_SIZE;
}

static uint64_t window_read(void *opaque, uint32_t offset, int size) {
  struct cirrus *c = opaque;
  if (mmio_in_window(c, offset)) {
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
      value |= (uint64_t)mmio_read8(c, offset - MMIO_WINDOW + (uint32_t)i) << (8 * i);
    return value;
  }
  if (c->blt.active) {
    c->vga.heat = 0; /* or the window would be mapped under the engine */
    if (c->blt.reading)
      return blt_gives(c, size);
  }
  return vga_window_read(&c->vga, offset, size);
}

static void window_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  struct cirrus *c = opaque;
  if (mmio_in_window(c, offset)) {
    for (int i = 0; i < size; i++)
      mmio_write8(c, offset - MMIO_WINDOW + (uint32_t)i, (uint8_t)(value >> (8 * i)));
  } else if (!blt_takes(c, size, value)) {
    if (c->blt.active)
      c->vga.heat = 0;
    vga_window_write(&c->vga, offset, size, value);
  }
}

static bool window_fill(void *opaque, uint32_t offset, int size, uint64_t value, uint32_t count) {
  struct cirrus *c = opaque;
  if (c->blt.active || c->blt.pad || offset + count * (uint32_t)size > MMIO_WINDOW)
    return false;
  return vga_window_ops.fill(&c->vga, offset, size, value, count);
}

const struct mmio_ops cirrus_window_ops = {
    .read = window_read, .write = window_write, .max_size = 8, .runs = true, .fill = window_fill};

/* --- BAR 0 --- */

static uint32_t swapped(uint32_t offset) {
  switch (offset / CIRRUS_VRAM) {
  case 1: return offset ^ 1;
  case 2: return offset ^ 3;
  default: return offset;
  }
}

static bool mmio_in_linear(const struct cirrus *c, uint32_t offset) {
  return mmio_linear(c) && offset < BLT_APERTURE && offset % CIRRUS_VRAM >= CIRRUS_VRAM - MMIO_SIZE;
}

static uint64_t linear_read(void *opaque, uint32_t offset, int size) {
  struct cirrus *c = opaque;
  struct vga *v = &c->vga;
  uint64_t value = 0;
  if (c->blt.active && c->blt.reading)
    return blt_gives(c, size);
  if (offset >= BLT_APERTURE)
    return ~0ull >> (64 - 8 * size);
  for (int i = 0; i < size; i++) {
    uint32_t at = swapped(offset + (uint32_t)i);
    uint8_t byte;
    if (mmio_in_linear(c, at))
      byte = mmio_read8(c, at % MMIO_SIZE);
    else if (cirrus_packed(c) && !c->plain)
      byte = cirrus_read8(v, at % CIRRUS_VRAM);
    else
      byte = v->vram->host[at % CIRRUS_VRAM];
    value |= (uint64_t)byte << (8 * i);
  }
  linear_heat(c);
  return value;
}

static void linear_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  struct cirrus *c = opaque;
  struct vga *v = &c->vga;
  bool mmio = mmio_in_linear(c, offset);
  if ((!mmio && blt_takes(c, size, value)) || offset >= BLT_APERTURE)
    return;
  for (int i = 0; i < size; i++) {
    uint32_t at = swapped(offset + (uint32_t)i);
    uint8_t byte = (uint8_t)(value >> (8 * i));
    if (mmio) {
      mmio_write8(c, at % MMIO_SIZE, byte);
    } else if (cirrus_packed(c) && !c->plain) {
      cirrus_write8(v, at % CIRRUS_VRAM, byte);
    } else {
      v->vram->host[at % CIRRUS_VRAM] = byte;
      v->vram->log[at % CIRRUS_VRAM / MEM_PAGE] = 1;
    }
  }
  if (offset < CIRRUS_VRAM && !mmio)
    linear_heat(c);
}

const struct mmio_ops cirrus_linear_ops = {
    .read = linear_read, .write = linear_write, .max_size = 8, .runs = true};
