/* SPDX-License-Identifier: MIT */
/*
 * VGA: the register ports 3B0h-3DFh and the device itself, after the IBM VGA technical reference; as a PCI
 * function it is the "stdvga" of the Bochs VBE specification (1234:1111).
 *
 * Not modelled: the vertical retrace interrupt, the sense bit's analogue comparison, the light pen, and
 * video-timing side effects of sequencer resets.
 */
#include <stdlib.h>
#include <string.h>

#include "devices/display/vga_state.h"

#define VRAM_DEFAULT (16u << 20)
#define VRAM_MIN (256u << 10)
#define VRAM_MAX (64u << 20)
#define ROM_MAX (256 << 10)

static const uint8_t seq_mask[8] = {0x03, 0x3d, 0x0f, 0x3f, 0x0e, 0, 0, 0xff};
static const uint8_t gc_mask[16] = {0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff};
static const uint8_t attr_mask[32] = {0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0x3f,
                                      0x3f, 0x3f, 0x3f, 0x3f, 0x3f, 0xef, 0xff, 0x3f, 0x0f, 0x0f};

/* --- time --- */

static uint32_t crtc_vertical(const struct vga *v, int low, int bit8, int bit9) {
  return v->crtc[low] | (uint32_t)(v->crtc[7] >> bit8 & 1) << 8 | (uint32_t)(v->crtc[7] >> bit9 & 1) << 9;
}

static void timing_compute(struct vga *v) {
  struct vga_timing *t = &v->timing;
  int64_t hz = (v->misc >> 2 & 3) == 1 ? 28322000 : 25175000;
  uint32_t dots = v->seq[1] & 1 ? 8 : 9, scale = v->crtc[0x17] & 4 ? 2 : 1;
  int64_t programmed = v->ext && v->ext->dot_clock ? v->ext->dot_clock(v) : 0;

  v->timing_stale = false;
  if (programmed)
    hz = programmed;
  if (v->seq[1] & 8)
    hz /= 2;
  t->char_count = v->crtc[0] + 5u;
  t->chars_shown = v->crtc[1] + 1u;
  t->line_count = (crtc_vertical(v, 6, 0, 5) + 2) * scale;
  t->lines_shown = (crtc_vertical(v, 0x12, 1, 6) + 1) * scale;
  t->retrace_start = crtc_vertical(v, 0x10, 2, 7) * scale;
  uint32_t length = (v->crtc[0x11] - v->crtc[0x10]) & 15;
  t->retrace_end = t->retrace_start + (length ? length : 16) * scale;
  t->frame_ns = muldiv64((int64_t)t->char_count * dots * t->line_count, NS_PER_SEC, hz);
  bool sane = t->frame_ns >= 4000000 && t->frame_ns <= 50000000 && t->retrace_start < t->line_count &&
              t->chars_shown < t->char_count && t->lines_shown <= t->line_count;
  if (vbe_enabled(v) || !sane) { /* the clock chip is not described: 60 Hz with VESA-like proportions */
    uint32_t lines = vbe_enabled(v) ? v->vbe[VBE_INDEX_YRES] : 480;
    *t = (struct vga_timing){.frame_ns = NS_PER_SEC / 60,
                             .line_count = lines + 45,
                             .lines_shown = lines,
                             .retrace_start = lines + 10,
                             .retrace_end = lines + 12,
                             .char_count = 100,
                             .chars_shown = 80};
  }
}

const struct vga_timing *vga_get_timing(struct vga *v) {
  if (v->timing_stale)
    timing_compute(v);
  return &v->timing;
}

uint8_t vga_retrace_status(struct vga *v, int64_t ns) {
  const struct vga_timing *t = vga_get_timing(v);
  int64_t scaled = ns % t->frame_ns * t->line_count;
  uint32_t line = (uint32_t)(scaled / t->frame_ns);
  uint32_t column = (uint32_t)(scaled % t->frame_ns * t->char_count / t->frame_ns);
  uint8_t status = 0;
  if (line >= t->retrace_start && line < t->retrace_end)
    status |= 0x08;
  if (line >= t->lines_shown || column >= t->chars_shown)
    status |= 0x01;
  return status;
}

/* --- DAC --- */

static uint8_t dac_data_read(struct vga *v) {
  uint8_t value = v->dac[v->dac_read * 3 + v->dac_step];
  if (++v->dac_step == 3) {
    v->dac_step = 0;
    v->dac_read++;
  }
  return value;
}

static void dac_data_write(struct vga *v, uint8_t value) {
  if (!(v->vbe[VBE_INDEX_ENABLE] & VBE_8BIT_DAC))
    value &= 0x3f;
  v->dac_latch[v->dac_step] = value;
  if (++v->dac_step < 3)
    return;
  v->dac_step = 0;
  if (memcmp(&v->dac[v->dac_write * 3], v->dac_latch, 3)) {
    memcpy(&v->dac[v->dac_write * 3], v->dac_latch, 3);
    v->palette_stale = true;
  }
  v->dac_write++;
}

/* --- register files --- */

static void attr_write(struct vga *v, uint8_t value) {
  if (!v->attr_data) {
    v->attr_index = value & 0x3f;
  } else {
    unsigned n = v->attr_index & 0x1f;
    value &= attr_mask[n];
    if (v->attr[n] != value) {
      v->attr[n] = value;
      v->palette_stale = true;
    }
  }
  v->attr_data = !v->attr_data;
}

static void seq_write(struct vga *v, uint8_t value) {
  unsigned n = v->seq_index & 7;
  v->seq[n] = value & seq_mask[n];
  if (n == 1)
    v->timing_stale = true;
  else if (n == 2)
    vga_window_masks(v);
  else if (n == 4)
    vga_window_update(v);
}

static void gc_write(struct vga *v, uint8_t value) {
  unsigned n = v->gc_index & 15;
  v->gc[n] = value & gc_mask[n];
  switch (n) { /* masks and modes change all the time in planar drawing: keep them cheap */
  case 0:
  case 1:
  case 2:
  case 7: vga_window_masks(v); return;
  case 3:
  case 4: break;
  case 5: vga_window_check_direct(v); return;
  case 8: v->bit_mask = v->gc[8] * 0x01010101u; break;
  default: vga_window_update(v); return;
  }
  if (v->seq[4] & 8)
    vga_window_check_direct(v);
}

static void crtc_write(struct vga *v, uint8_t value) {
  unsigned n = v->crtc_index;
  if (n > 0x18)
    return;
  if (n < 8 && (v->crtc[0x11] & 0x80)) { /* protected, but for line compare bit 8 */
    if (n != 7)
      return;
    value = (v->crtc[7] & ~0x10) | (value & 0x10);
  }
  v->crtc[n] = value;
  v->timing_stale = true;
}

static uint8_t crtc_read(const struct vga *v) {
  switch (v->crtc_index) {
  case 0x22: return (uint8_t)(v->latch >> (8 * (v->gc[4] & 3)));
  case 0x24: return v->attr_data ? 0x80 : 0;
  default: return v->crtc_index <= 0x18 ? v->crtc[v->crtc_index] : 0;
  }
}

static uint8_t status1_read(struct vga *v) {
  v->attr_data = false;
  return vga_retrace_status(v, clock_now(v->dev.clock));
}

/* --- ports --- */

/* 3B4h-3BAh answer with a monochrome, 3D4h-3DAh with a colour setting of misc. output bit 0. */
static bool port_decoded(const struct vga *v, unsigned port) {
  bool color = v->misc & 1;
  if (port < 0x3c0)
    return !color;
  return port < 0x3d0 || color;
}

uint8_t vga_port_read(struct vga *v, unsigned port) {
  uint8_t value;
  if (!port_decoded(v, port))
    return 0xff;
  if (v->ext && v->ext->port_read && v->ext->port_read(v, port, &value))
    return value;
  switch (port) {
  case 0x3c0: return v->attr_index;
  case 0x3c1: return v->attr[v->attr_index & 0x1f];
  case 0x3c2: return 0x10;
  case 0x3c3: return v->enable;
  case 0x3c4: return v->seq_index;
  case 0x3c5: return v->seq[v->seq_index & 7];
  case 0x3c6: return v->dac_mask;
  case 0x3c7: return v->dac_state;
  case 0x3c8: return v->dac_write;
  case 0x3c9: return dac_data_read(v);
  case 0x3ca: return v->feature;
  case 0x3cc: return v->misc;
  case 0x3ce: return v->gc_index;
  case 0x3cf: return v->gc[v->gc_index & 15];
  case 0x3b4:
  case 0x3d4: return v->crtc_index;
  case 0x3b5:
  case 0x3d5: return crtc_read(v);
  case 0x3ba:
  case 0x3da: return status1_read(v);
  default: return 0xff;
  }
}

void vga_port_write(struct vga *v, unsigned port, uint8_t value) {
  if (!port_decoded(v, port))
    return;
  if (v->ext && v->ext->port_write && v->ext->port_write(v, port, value))
    return;
  switch (port) {
  case 0x3c0:
  case 0x3c1: attr_write(v, value); break;
  case 0x3c2:
    v->misc = value & ~0x10;
    v->timing_stale = true;
    vga_window_update(v);
    break;
  case 0x3c3: v->enable = value & 1; break;
  case 0x3c4: v->seq_index = value; break;
  case 0x3c5: seq_write(v, value); break;
  case 0x3c6:
    v->dac_mask = value;
    v->palette_stale = true;
    break;
  case 0x3c7:
    v->dac_read = value;
    v->dac_step = 0;
    v->dac_state = 3;
    break;
  case 0x3c8:
    v->dac_write = value;
    v->dac_step = 0;
    v->dac_state = 0;
    break;
  case 0x3c9: dac_data_write(v, value); break;
  case 0x3ce: v->gc_index = value; break;
  case 0x3cf: gc_write(v, value); break;
  case 0x3b4:
  case 0x3d4: v->crtc_index = value; break;
  case 0x3b5:
  case 0x3d5: crtc_write(v, value); break;
  case 0x3ba:
  case 0x3da: v->feature = value & 3; break;
  }
}

static uint32_t mono_read(void *opaque, uint32_t offset, int size) {
  (void)size;
  return vga_port_read(opaque, 0x3b0 + offset);
}
static void mono_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)size;
  vga_port_write(opaque, 0x3b0 + offset, (uint8_t)value);
}
static uint32_t color_read(void *opaque, uint32_t offset, int size) {
  (void)size;
  return vga_port_read(opaque, 0x3c0 + offset);
}
static void color_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)size;
  vga_port_write(opaque, 0x3c0 + offset, (uint8_t)value);
}
static const struct io_ops mono_ops = {mono_read, mono_write, 1};
static const struct io_ops color_ops = {color_read, color_write, 1};

/* --- device --- */

void vga_reset_core(struct vga *v) {
  v->misc = v->feature = v->enable = 0;
  v->seq_index = v->crtc_index = v->gc_index = v->attr_index = 0;
  memset(v->seq, 0, sizeof v->seq);
  memset(v->crtc, 0, sizeof v->crtc);
  memset(v->gc, 0, sizeof v->gc);
  memset(v->attr, 0, sizeof v->attr);
  memset(v->dac, 0, sizeof v->dac);
  v->attr_data = false;
  v->dac_mask = 0xff;
  v->dac_read = v->dac_write = v->dac_state = v->dac_step = 0;
  v->latch = 0;
  mem_block_clear(v->vram);
  mem_log_mark(v->vram, 0, v->vram_size);
  v->timing_stale = v->palette_stale = v->redraw_all = true;
  vga_window_update(v);
  vga_map_window(&v->dev);
  if (v->pci.bus)
    pci_func_reset(&v->pci);
}

static void vga_reset(struct device *dev) {
  struct vga *v = DEVICE(struct vga, dev);
  vbe_reset(v);
  vga_reset_core(v);
}

static struct mem_block *rom_load(struct mem *mem, const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    error_report("%s: %s", path, strerror(errno));
    return NULL;
  }
  uint8_t *image = malloc(ROM_MAX);
  size_t length = image ? fread(image, 1, ROM_MAX, file) : 0, size = 4096;
  while (size < length)
    size *= 2;
  struct mem_block *block = length ? mem_block_new(mem, "vga-rom", size) : NULL;
  if (block)
    memcpy(block->host, image, length);
  else
    error_report("%s: cannot be loaded as video BIOS", path);
  free(image);
  fclose(file);
  return block;
}

void vga_restored(struct vga *v) {
  v->timing_stale = v->palette_stale = v->redraw_all = true;
  vga_window_restored(v);
}

/* A restored snapshot: all 256 bytes are "written". */
static void vga_config_written(struct pci_func *f, uint32_t offset, int size) {
  if (offset == 0 && size == 256)
    vga_restored(f->opaque);
}

static int vga_init_pci(struct vga *v, const struct vga_config *config) {
  pci_func_init(&v->pci, "vga", 0x1234, 0x1111, 0x030000, 2, 0);
  memcpy(v->pci.config + 0x2c, "\xf4\x1a\x00\x11", 4); /* subsystem 1AF4:1100 */
  v->pci.opaque = v;
  v->pci.config_written = vga_config_written;
  pci_func_set_bar(&v->pci, 0,
                   &(struct pci_bar){.kind = PCI_BAR_MEM_PREFETCH, .size = v->vram_size, .block = v->vram});
  pci_func_set_bar(
      &v->pci, 2,
      &(struct pci_bar){.kind = PCI_BAR_MEM, .size = 4096, .mmio_ops = &vbe_mmio_ops, .opaque = v});
  if (v->rom)
    pci_func_set_bar(&v->pci, PCI_BAR_ROM,
                     &(struct pci_bar){.kind = PCI_BAR_MEM, .size = (uint32_t)v->rom->size, .block = v->rom});
  return pci_register(config->pci, &v->pci, config->devfn ? config->devfn : 0x10);
}

int vga_init_core(struct vga *v, const struct vga_config *config, const struct vga_ext *ext) {
  struct device *dev = &v->dev;
  int error;

  DGM_ASSERT(config);
  v->ext = ext;
  v->vram_size = config->vram_size ? config->vram_size : VRAM_DEFAULT;
  if (v->vram_size < VRAM_MIN || v->vram_size > VRAM_MAX || (v->vram_size & (v->vram_size - 1))) {
    error_report("video memory must be a power of two from 256 KB to 64 MB");
    return -EINVAL;
  }
  v->vram = mem_block_new(dev->mem, "vga-vram", v->vram_size);
  if (!v->vram || mem_log_enable(v->vram) || vga_draw_init(v)) {
    error_report("not enough memory for the video memory");
    return -ENOMEM;
  }
  v->rom = config->rom;
  if (!v->rom && config->rom_path) {
    v->rom = rom_load(dev->mem, config->rom_path);
    if (!v->rom)
      return -ENOENT;
  }
  if ((error = io_map(dev->io, 0x3b0, 12, &mono_ops, v, "vga")) ||
      (error = io_map(dev->io, 0x3c0, 32, &color_ops, v, "vga")))
    return error;
  if (config->display)
    *config->display = &v->display;
  return 0;
}

static int vga_init(struct device *dev, const struct device_args *args) {
  struct vga *v = DEVICE(struct vga, dev);
  const struct vga_config *config = args->config;
  int error = vga_init_core(v, config, NULL);

  if (error || (error = io_map(dev->io, 0x1ce, 4, &vbe_port_ops, v, "vga")))
    return error;
  edid_build(v->edid, VBE_MAX_XRES, VBE_MAX_YRES);
  if (config->pci && (error = vga_init_pci(v, config)))
    return error;
  vga_reset(dev);
  return 0;
}

void vga_destroy(struct device *dev) { vga_draw_free(DEVICE(struct vga, dev)); }

static const struct field vga_fields[] = {
    VGA_FIELDS,
    FIELD(U16, struct vga, vbe_index),
    FIELD_ARRAY(U16, struct vga, vbe),
    FIELD(U8, struct vga, vbe_data_low),
    FIELDS_END,
};

const struct device_class vga_class = {
    .name = "vga",
    .size = sizeof(struct vga),
    .init = vga_init,
    .reset = vga_reset,
    .destroy = vga_destroy,
    .fields = vga_fields,
};
