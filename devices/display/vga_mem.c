/* SPDX-License-Identifier: MIT */
/*
 * The VGA's memory window at A0000h-BFFFFh: latches, write modes 0-3, read modes 0 and 1, chain-4, odd/even
 * and planar addressing, after the IBM VGA technical reference ("Video Memory", "Graphics Controller").
 *
 * Where the registers make the window behave like plain memory (chain-4 with neutral masks, VBE packed
 * pixels) and the guest uses it so, VRAM pages are mapped in its place. Latches are not loaded
 * by reads through such a mapping.
 *
 * Not modelled: the page bit of odd/even mode (misc. output bit 5).
 */
#include <string.h>

#include "devices/display/vga_state.h"

/* Plain accesses before pages are mapped: a mapping costs a TLB flush. */
#define HEAT_TO_MAP 64
#define HEAT_MAX 4096 /* for who keeps needing the handlers back */
#define BANK_SIZE 0x8000u

/* bit p -> byte p all ones */
static const uint32_t spread_table[16] = {
    0x00000000, 0x000000ff, 0x0000ff00, 0x0000ffff, 0x00ff0000, 0x00ff00ff, 0x00ffff00, 0x00ffffff,
    0xff000000, 0xff0000ff, 0xff00ff00, 0xff00ffff, 0xffff0000, 0xffff00ff, 0xffffff00, 0xffffffff,
};
static uint32_t spread_bits(unsigned bits) { return spread_table[bits & 15]; }

static uint32_t vram_get(const struct vga *v, uint32_t plane_offset) {
  uint32_t all;
  memcpy(&all, v->vram->host + (size_t)(plane_offset & v->plane_wrap) * 4, 4);
  return all;
}

static void vram_put(struct vga *v, uint32_t plane_offset, uint32_t mask, uint32_t value) {
  uint32_t at = (plane_offset & v->plane_wrap) * 4, all;
  memcpy(&all, v->vram->host + at, 4);
  all = (all & ~mask) | (value & mask);
  memcpy(v->vram->host + at, &all, 4);
  v->vram->log[at / MEM_PAGE] = 1;
}

/* The ALU: combine with the latch by function select, then by bit mask. */
static uint32_t alu(const struct vga *v, uint32_t value, uint32_t bit_mask) {
  switch (v->gc[3] >> 3 & 3) {
  case 1: value &= v->latch; break;
  case 2: value |= v->latch; break;
  case 3: value ^= v->latch; break;
  }
  return (value & bit_mask) | (v->latch & ~bit_mask);
}

static uint8_t rotate_right(uint8_t value, unsigned n) { return (uint8_t)(value >> n | value << (8 - n)); }

/* What a write of `value` makes of the latches, by the write mode. */
static uint32_t planar_result(const struct vga *v, uint8_t value) {
  uint32_t result;
  switch (v->gc[5] & 3) {
  case 0:
    result = rotate_right(value, v->gc[3] & 7) * 0x01010101u;
    result = (result & ~v->set_reset_enable) | (v->set_reset & v->set_reset_enable);
    return alu(v, result, v->bit_mask);
  case 1: return v->latch;
  case 2: return alu(v, spread_bits(value), v->bit_mask);
  default: return alu(v, v->set_reset, v->bit_mask & (rotate_right(value, v->gc[3] & 7) * 0x01010101u));
  }
}

void vga_planar_write(struct vga *v, uint32_t plane_offset, uint32_t planes, uint8_t value) {
  vram_put(v, plane_offset, planes, planar_result(v, value));
}

uint8_t vga_planar_read(struct vga *v, uint32_t plane_offset, unsigned plane) {
  v->latch = vram_get(v, plane_offset);
  if (!(v->gc[5] & 8))
    return (uint8_t)(v->latch >> (8 * plane));
  uint32_t differ = (v->latch ^ v->compare) & v->compare_mask;
  differ |= differ >> 16;
  return (uint8_t) ~(differ | differ >> 8);
}

/* Odd/even: A0 chooses the plane and the address bit comes from A16 instead. */
static uint32_t odd_even_offset(uint32_t addr) { return (addr & ~1u & 0xffff) | (addr >> 16 & 1); }

static inline uint32_t bank_of(const struct vga *v, uint32_t addr) { return v->win_offset[addr >> 15 & 1]; }

static uint8_t window_read8(struct vga *v, uint32_t addr) {
  addr += bank_of(v, addr);
  if (v->ext_window)
    return v->ext->read8(v, addr);
  if (v->linear)
    return v->vram->host[addr & (v->vram_size - 1)];
  if (v->seq[4] & 8)
    return vga_planar_read(v, addr >> 2, addr & 3);
  if (v->gc[5] & 0x10)
    return vga_planar_read(v, odd_even_offset(addr), (v->gc[4] & 2) | (addr & 1));
  return vga_planar_read(v, addr, v->gc[4] & 3);
}

static void window_write8(struct vga *v, uint32_t addr, uint8_t value) {
  addr += bank_of(v, addr);
  if (v->ext_window) {
    v->ext->write8(v, addr, value);
  } else if (v->linear) {
    addr &= v->vram_size - 1;
    v->vram->host[addr] = value;
    v->vram->log[addr / MEM_PAGE] = 1;
  } else if (v->seq[4] & 8) {
    vga_planar_write(v, addr >> 2, v->map_mask & 0xffu << (8 * (addr & 3)), value);
  } else if (!(v->seq[4] & 4)) {
    vga_planar_write(v, odd_even_offset(addr), v->map_mask & (addr & 1 ? 0xff00ff00u : 0x00ff00ffu), value);
  } else {
    vga_planar_write(v, addr, v->map_mask, value);
  }
}

static void window_map(struct vga *v);

static inline void window_heat(struct vga *v) {
  if (v->direct_ok && !v->direct && ++v->heat >= v->heat_limit)
    window_map(v);
}

/* Does nothing stand between CPU and planes but the map mask? */
static inline bool writes_plainly(const struct vga *v) {
  return !(v->gc[5] & 3) && v->gc[3] == 0 && v->set_reset_enable == 0 && v->bit_mask == ~0u;
}

/* Text as everybody writes it: a character and its attribute at an even address, to planes 0 and 1. */
static inline bool write_cell(struct vga *v, uint32_t addr, uint16_t value) {
  if (v->linear || v->ext_window || (v->seq[4] & 12) || (addr & 1) || addr + 1 >= v->win_size ||
      !writes_plainly(v) || (v->map_mask & 0xffff) != 0xffff || (v->map_mask >> 16))
    return false;
  uint32_t at = (odd_even_offset(addr + bank_of(v, addr)) & v->plane_wrap) * 4;
  memcpy(v->vram->host + at, &value, 2);
  v->vram->log[at / MEM_PAGE] = 1;
  return true;
}

uint64_t vga_window_read(void *opaque, uint32_t offset, int size) {
  struct vga *v = opaque;
  uint64_t value = 0;
  for (int i = 0; i < size; i++) {
    uint32_t addr = offset + (uint32_t)i - v->win_base;
    uint64_t byte = addr < v->win_size ? window_read8(v, addr) : 0xff;
    value |= byte << (8 * i);
  }
  window_heat(v);
  return value;
}

void vga_window_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  struct vga *v = opaque;
  if (size == 2 && write_cell(v, offset - v->win_base, (uint16_t)value))
    return;
  for (int i = 0; i < size; i++) {
    uint32_t addr = offset + (uint32_t)i - v->win_base;
    if (addr < v->win_size)
      window_write8(v, addr, (uint8_t)(value >> (8 * i)));
  }
  window_heat(v);
}

/* Bytes to consecutive addresses of the planes: the latches stay, so each stores the same. */
static bool window_fill(void *opaque, uint32_t offset, int size, uint64_t value, uint32_t count) {
  struct vga *v = opaque;
  uint32_t addr = offset - v->win_base, bytes = count * (uint32_t)size;
  if (v->direct_ok || v->linear || v->ext_window || (v->seq[4] & 12) != 4 || addr >= v->win_size ||
      bytes > v->win_size - addr || v->win_offset[0] != v->win_offset[1])
    return false;
  uint32_t at = (addr + v->win_offset[0]) & v->plane_wrap, first = value & 0xff;
  if (bytes > v->plane_wrap + 1 - at || value != (first * 0x0101010101010101ull & (~0ull >> (64 - size * 8))))
    return false;
  const uint32_t mask = v->map_mask, set = planar_result(v, (uint8_t)first) & mask;
  uint8_t *p = v->vram->host + (size_t)at * 4;
  for (uint32_t i = 0; i < bytes; i++, p += 4) {
    uint32_t all;
    memcpy(&all, p, 4);
    all = (all & ~mask) | set;
    memcpy(p, &all, 4);
  }
  mem_log_mark(v->vram, (uint64_t)at * 4, (uint64_t)bytes * 4);
  return true;
}

const struct mmio_ops vga_window_ops = {
    .read = vga_window_read, .write = vga_window_write, .max_size = 8, .runs = true, .fill = window_fill};

static int map_handlers(struct vga *v) {
  const struct mmio_ops *ops = v->ext && v->ext->window_ops ? v->ext->window_ops : &vga_window_ops;
  v->direct = false;
  return mem_map_mmio(v->dev.mem, VGA_WINDOW_BASE, VGA_WINDOW_SIZE, ops, v, "vga");
}

/* VRAM in place of the window, whole or in halves. */
static void map_direct(struct vga *v) {
  uint32_t base = VGA_WINDOW_BASE + v->win_base;
  bool remap = !v->direct;
  if (v->win_offset[0] == v->win_offset[1]) {
    if (remap || v->direct_offset[0] != v->win_offset[0] || v->direct_offset[1] != v->win_offset[1])
      mem_map_ram(v->dev.mem, base, v->win_size, v->vram, v->win_offset[0]);
  } else {
    for (uint32_t half = 0; half < 2; half++)
      if (remap || v->direct_offset[half] != v->win_offset[half])
        mem_map_ram(v->dev.mem, base + half * BANK_SIZE, BANK_SIZE, v->vram,
                    v->win_offset[half] + half * BANK_SIZE);
  }
  v->direct = true;
  v->direct_base = v->win_base;
  v->direct_size = v->win_size;
  memcpy(v->direct_offset, v->win_offset, sizeof v->direct_offset);
}

/* Put plain VRAM or the handlers into the guest's address space, as direct_ok says. */
static void window_map(struct vga *v) {
  if (!v->window_claimed)
    return;
  if (v->direct && (!v->direct_ok || v->direct_base != v->win_base || v->direct_size != v->win_size))
    map_handlers(v);
  if (v->direct_ok)
    map_direct(v);
  v->heat = 0;
}

void vga_window_undirect(struct vga *v) {
  v->heat = 0;
  if (!v->direct)
    return;
  map_handlers(v);
  if (v->heat_limit < HEAT_MAX)
    v->heat_limit *= 2;
}

void vga_map_window(struct device *dev) {
  struct vga *v = DEVICE(struct vga, dev);
  v->window_claimed = map_handlers(v) == 0;
  v->heat = 0;
  v->heat_limit = HEAT_TO_MAP;
}

void vga_window_restored(struct vga *v) {
  bool direct = v->direct;
  uint32_t heat = v->heat, limit = v->heat_limit;
  v->direct = false; /* nothing is mapped by this structure's doing yet */
  vga_window_update(v);
  vga_map_window(&v->dev);
  if (direct && v->direct_ok)
    window_map(v);
  v->heat_limit = limit >= HEAT_TO_MAP && limit <= 2 * HEAT_MAX ? limit : HEAT_TO_MAP;
  v->heat = heat < v->heat_limit ? heat : 0;
}

static bool chain4_is_plain(const struct vga *v) {
  return (v->seq[4] & 8) && (v->seq[2] & 15) == 15 && !(v->gc[5] & 0x0b) && v->gc[3] == 0 &&
         !(v->gc[1] & 15) && v->gc[8] == 0xff;
}

/* Does all that the window shows lie in memory? */
static bool banks_inside(const struct vga *v) {
  uint32_t limit = v->linear ? v->vram_size : 0x40000u;
  if (v->win_offset[0] == v->win_offset[1])
    return v->win_offset[0] <= limit && v->win_size <= limit - v->win_offset[0];
  for (uint32_t half = 0; half < 2; half++) {
    uint32_t from = v->win_offset[half] + half * BANK_SIZE;
    if (from % MEM_PAGE || from > limit - BANK_SIZE)
      return false;
  }
  return v->win_size == 2 * BANK_SIZE;
}

void vga_window_check_direct(struct vga *v) {
  bool ok = !v->ext_window && (v->linear || chain4_is_plain(v)) && v->win_size && banks_inside(v);
  if (!ok && !v->direct_ok)
    return;
  if (ok != v->direct_ok)
    v->heat = 0;
  v->direct_ok = ok;
  if (v->direct)
    window_map(v);
}

static void masks_update(struct vga *v) {
  v->map_mask = spread_bits(v->seq[2]);
  v->bit_mask = v->gc[8] * 0x01010101u;
  v->set_reset = spread_bits(v->gc[0]);
  v->set_reset_enable = spread_bits(v->gc[1]);
  v->compare = spread_bits(v->gc[2]);
  v->compare_mask = spread_bits(v->gc[7]);
}

void vga_window_masks(struct vga *v) {
  masks_update(v);
  vga_window_check_direct(v);
}

void vga_window_update(struct vga *v) {
  static const struct {
    uint32_t base, size;
  } select[4] = {{0, 0x20000}, {0, 0x10000}, {0x10000, 0x8000}, {0x18000, 0x8000}};
  bool vbe = vbe_enabled(v);

  v->linear = vbe && v->vbe[VBE_INDEX_BPP] > 4;
  unsigned map = vbe ? 1 : v->gc[6] >> 2 & 3;
  v->win_base = select[map].base;
  v->win_size = vbe || (v->misc & 2) ? select[map].size : 0;
  v->win_offset[0] = v->win_offset[1] = vbe ? (uint32_t)v->vbe[VBE_INDEX_BANK] << 16 : 0;
  v->plane_wrap = vbe ? v->vram_size / 4 - 1 : VGA_PLANE_MASK;
  masks_update(v);
  if (v->ext && v->ext->window)
    v->ext->window(v);
  vga_window_check_direct(v);
}
