/* SPDX-License-Identifier: MIT */
/*
 * Bochs VBE ("DISPI"): resolution, depth, banks, virtual screen and offsets, at ports 1CEh (index) and
 * 1CFh/1D0h (data), and again in PCI BAR 2 as QEMU's standard VGA has them: EDID at 0, VGA ports 3C0h-3DFh at
 * 400h, DISPI registers at 500h. Answers to interface versions B0C0h to B0C5h.
 *
 * Register values are made consistent when written, so that the visible area always lies within VRAM.
 * Not modelled: big-endian frame buffers.
 */
#include <string.h>

#include "devices/display/vga_state.h"

#define VBE_ID_FIRST 0xb0c0
#define VBE_ID_LAST 0xb0c5

uint32_t vbe_pitch(const struct vga *v) {
  uint32_t width = v->vbe[VBE_INDEX_VIRT_WIDTH];
  switch (v->vbe[VBE_INDEX_BPP]) {
  case 4: return width / 8;
  case 15:
  case 16: return width * 2;
  case 24: return width * 3;
  case 32: return width * 4;
  default: return width;
  }
}

static uint32_t lines_available(const struct vga *v) {
  uint32_t memory = v->vbe[VBE_INDEX_BPP] == 4 ? v->vram_size / 4 : v->vram_size;
  return memory / vbe_pitch(v);
}

/* Bring dependent registers into range after one has changed. */
static void vbe_settle(struct vga *v) {
  uint16_t *r = v->vbe;
  bool planar = r[VBE_INDEX_BPP] == 4;

  if (planar)
    r[VBE_INDEX_XRES] &= ~7;
  if (r[VBE_INDEX_XRES] < 8)
    r[VBE_INDEX_XRES] = 8;
  if (r[VBE_INDEX_XRES] > VBE_MAX_XRES)
    r[VBE_INDEX_XRES] = VBE_MAX_XRES;
  if (r[VBE_INDEX_VIRT_WIDTH] < r[VBE_INDEX_XRES])
    r[VBE_INDEX_VIRT_WIDTH] = r[VBE_INDEX_XRES];
  if (r[VBE_INDEX_VIRT_WIDTH] > 8192)
    r[VBE_INDEX_VIRT_WIDTH] = 8192;
  if (planar)
    r[VBE_INDEX_VIRT_WIDTH] &= ~7;
  uint32_t lines = lines_available(v);
  if (r[VBE_INDEX_YRES] < 1)
    r[VBE_INDEX_YRES] = 1;
  if (r[VBE_INDEX_YRES] > VBE_MAX_YRES)
    r[VBE_INDEX_YRES] = VBE_MAX_YRES;
  if (r[VBE_INDEX_YRES] > lines)
    r[VBE_INDEX_YRES] = (uint16_t)lines;
  r[VBE_INDEX_VIRT_HEIGHT] = lines > 0xffff ? 0xffff : (uint16_t)lines;
  if (r[VBE_INDEX_X_OFFSET] + r[VBE_INDEX_XRES] > r[VBE_INDEX_VIRT_WIDTH])
    r[VBE_INDEX_X_OFFSET] = 0;
  if ((uint32_t)r[VBE_INDEX_Y_OFFSET] + r[VBE_INDEX_YRES] > lines)
    r[VBE_INDEX_Y_OFFSET] = 0;
  v->timing_stale = true;
}

static void enable_write(struct vga *v, uint16_t value) {
  uint16_t old = v->vbe[VBE_INDEX_ENABLE];
  if (value & VBE_ENABLED & ~old) {
    v->vbe[VBE_INDEX_VIRT_WIDTH] = 0;
    v->vbe[VBE_INDEX_X_OFFSET] = v->vbe[VBE_INDEX_Y_OFFSET] = 0;
    v->vbe[VBE_INDEX_BANK] = 0;
    vbe_settle(v);
    if (!(value & VBE_NOCLEARMEM)) {
      memset(v->vram->host, 0, v->vram_size);
      mem_log_mark(v->vram, 0, v->vram_size);
    }
  }
  if ((value ^ old) & VBE_8BIT_DAC) {
    for (int i = 0; i < 768; i++) /* the stored widths differ: keep the colours */
      v->dac[i] = value & VBE_8BIT_DAC ? (uint8_t)(v->dac[i] << 2 | v->dac[i] >> 4) : v->dac[i] >> 2;
    v->palette_stale = true;
  }
  v->vbe[VBE_INDEX_ENABLE] =
      value & (VBE_ENABLED | VBE_GETCAPS | VBE_8BIT_DAC | VBE_LFB_ENABLED | VBE_NOCLEARMEM);
  v->timing_stale = true;
  vga_window_update(v);
}

static void bpp_write(struct vga *v, uint16_t value) {
  switch (value) {
  case 0: value = 8; break;
  case 4:
  case 8:
  case 15:
  case 16:
  case 24:
  case 32: break;
  default: return;
  }
  v->vbe[VBE_INDEX_BPP] = value;
}

void vbe_write(struct vga *v, unsigned index, uint16_t value) {
  switch (index) {
  case VBE_INDEX_ID:
    if (value >= VBE_ID_FIRST && value <= VBE_ID_LAST)
      v->vbe[index] = value;
    return;
  case VBE_INDEX_XRES:
  case VBE_INDEX_YRES:
  case VBE_INDEX_VIRT_WIDTH:
  case VBE_INDEX_X_OFFSET:
  case VBE_INDEX_Y_OFFSET: v->vbe[index] = value; break;
  case VBE_INDEX_BPP: bpp_write(v, value); break;
  case VBE_INDEX_ENABLE: enable_write(v, value); return;
  case VBE_INDEX_BANK: v->vbe[index] = value & (uint16_t)((v->vram_size >> 16) - 1); break;
  default: return;
  }
  if (vbe_enabled(v)) { /* while disabled the guest fills the registers in any order */
    if (index != VBE_INDEX_BANK)
      vbe_settle(v);
    vga_window_update(v);
  }
}

uint16_t vbe_read(struct vga *v, unsigned index) {
  if (v->vbe[VBE_INDEX_ENABLE] & VBE_GETCAPS) {
    switch (index) {
    case VBE_INDEX_XRES: return VBE_MAX_XRES;
    case VBE_INDEX_YRES: return VBE_MAX_YRES;
    case VBE_INDEX_BPP: return 32;
    }
  }
  if (index == VBE_INDEX_VIDEO_MEMORY_64K)
    return (uint16_t)(v->vram_size >> 16);
  return index < VBE_INDEX_COUNT ? v->vbe[index] : 0;
}

void vbe_reset(struct vga *v) {
  memset(v->vbe, 0, sizeof v->vbe);
  v->vbe_index = v->vbe_data_low = 0;
  v->vbe[VBE_INDEX_ID] = VBE_ID_LAST;
  v->vbe[VBE_INDEX_BPP] = 8;
}

/*
 * Ports: 1CEh index, 1CFh and 1D0h both data, 16 bits each. The bus splits a 16-bit access at the odd 1CFh
 * into bytes at 1CFh and 1D0h: the low one waits for the high one.
 */
static uint32_t port_read(void *opaque, uint32_t offset, int size) {
  struct vga *v = opaque;
  if (offset == 0)
    return v->vbe_index;
  if (offset == 2 && size == 1)
    return vbe_read(v, v->vbe_index) >> 8;
  return offset < 3 ? vbe_read(v, v->vbe_index) : 0xff;
}

static void port_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct vga *v = opaque;
  if (offset == 0)
    v->vbe_index = (uint16_t)value;
  else if (offset == 1)
    v->vbe_data_low = (uint8_t)value;
  else if (offset == 2)
    vbe_write(v, v->vbe_index, (uint16_t)(size == 1 ? value << 8 | v->vbe_data_low : value));
}

const struct io_ops vbe_port_ops = {port_read, port_write, 2};

static uint64_t bar_read(void *opaque, uint32_t offset, int size) {
  struct vga *v = opaque;
  if (offset < EDID_SIZE)
    return v->edid[offset] | (uint64_t)(size == 2 ? v->edid[(offset + 1) % EDID_SIZE] : 0) << 8;
  if (offset >= 0x400 && offset < 0x420) {
    uint64_t value = vga_port_read(v, 0x3c0 + (offset & 0x1f));
    return size == 2 ? value | (uint64_t)vga_port_read(v, 0x3c0 + ((offset + 1) & 0x1f)) << 8 : value;
  }
  if (offset >= 0x500 && offset < 0x500 + 2 * VBE_INDEX_COUNT)
    return vbe_read(v, (offset - 0x500) / 2) >> (8 * (offset & 1));
  return 0;
}

static void bar_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  struct vga *v = opaque;
  if (offset >= 0x400 && offset < 0x420) {
    for (int i = 0; i < size; i++)
      vga_port_write(v, 0x3c0 + ((offset + (uint32_t)i) & 0x1f), (uint8_t)(value >> (8 * i)));
  } else if (offset >= 0x500 && offset < 0x500 + 2 * VBE_INDEX_COUNT && size == 2) {
    vbe_write(v, (offset - 0x500) / 2, (uint16_t)value);
  }
}

const struct mmio_ops vbe_mmio_ops = {.read = bar_read, .write = bar_write, .max_size = 2};
