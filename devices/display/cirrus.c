/* SPDX-License-Identifier: MIT */
/*
 * Cirrus Logic CL-GD5446 on PCI (1013:00B8): the registers it adds to the VGA's (technical reference manual,
 * chapters 5 to 9: SR6 to SR1F, GR9 to GR39, CR19 to CR27, the hidden DAC register) and its PCI
 * configuration.
 *
 * As later chips of the family, it answers whether SR6 holds the key or not. Not modelled: the feature
 * connector, general-purpose I/O, video capture and overlay, the signature generator, the power-down modes;
 * the scratch and tuning registers keep what is written. DDC is on SR8.
 */
#include <string.h>

#include "devices/display/cirrus_state.h"

#define PART_ID 0xb8
#define SR8_SCL_OUT 0x01u
#define SR8_SDA_OUT 0x02u
#define SR8_SCL_IN 0x04u
#define SR8_SDA_IN 0x80u
#define SR12_HIDDEN_PALETTE 0x02u
#define GR31_AUTOSTART 0x80u
#define GR31_BUSY 0x09u

/* --- sequencer --- */

static bool seq_read(struct cirrus *c, uint8_t *value) {
  struct vga *v = &c->vga;
  unsigned n = v->seq_index;
  if ((n & 0x1f) == 0x10 || (n & 0x1f) == 0x11)
    n &= 0x1f;
  if (n < 5)
    return false;
  if (n == 8)
    *value = (uint8_t)((v->seq[8] & ~(SR8_SCL_IN | SR8_SDA_IN)) | (c->ddc.scl ? SR8_SCL_IN : 0) |
                       (ddc_sda(&c->ddc) ? SR8_SDA_IN : 0));
  else
    *value = n < sizeof v->seq ? v->seq[n] : 0xff;
  return true;
}

static bool seq_write(struct cirrus *c, uint8_t value) {
  struct vga *v = &c->vga;
  unsigned n = v->seq_index, low = n & 0x1f;

  if (low == 0x10 || low == 0x11) { /* the index brings three low bits of the position along */
    v->seq[low] = value;
    *(low == 0x10 ? &c->cursor_x : &c->cursor_y) = (uint16_t)(value << 3 | n >> 5);
    return true;
  }
  switch (n) {
  case 2: /* a mask of eight pixels in extended write modes */
    v->seq[2] = value & (v->gc[0x0b] & 4 ? 0xff : 0x0f);
    if (cirrus_packed(c))
      vga_window_update(v);
    else
      vga_window_masks(v);
    return true;
  case 0:
  case 1:
  case 3:
  case 4: return false;
  case 5: break;
  case 6: v->seq[6] = (value & 0x17) == 0x12 ? 0x12 : 0x0f; break;
  case 8:
    v->seq[8] = value;
    ddc_drive(&c->ddc, value & SR8_SCL_OUT, value & SR8_SDA_OUT);
    break;
  case 7:
    v->seq[7] = value;
    v->timing_stale = true;
    vga_window_update(v);
    break;
  case 0x17: /* 5:3 tell the bus */
    v->seq[0x17] = (v->seq[0x17] & 0x38) | (value & 0xc7);
    vga_window_update(v);
    break;
  case 0x0b:
  case 0x0c:
  case 0x0d:
  case 0x0e:
  case 0x1b:
  case 0x1c:
  case 0x1d:
  case 0x1e: v->timing_stale = true; /* fall through */
  default:
    if (n < sizeof v->seq)
      v->seq[n] = value;
  }
  return true;
}

static int64_t dot_clock(const struct vga *v) {
  static const int64_t reference = 14318180;
  unsigned n = v->misc >> 2 & 3, numerator = v->seq[0x0b + n] & 0x7f, denominator = v->seq[0x1b + n];
  unsigned divisor = denominator >> 1 & 0x1f;
  if (!divisor || !numerator)
    return 0;
  return reference * numerator / divisor >> (denominator & 1);
}

/* --- DAC --- */

static uint8_t hidden_dac_read(struct cirrus *c) {
  if (c->hidden_count == 4) {
    c->hidden_count = 0;
    return c->hidden_dac;
  }
  c->hidden_count++;
  return c->vga.dac_mask;
}

static bool hidden_dac_write(struct cirrus *c, uint8_t value) {
  bool hidden = c->hidden_count == 4;
  c->hidden_count = 0;
  if (hidden)
    c->hidden_dac = value;
  return hidden;
}

static void dac_step(struct vga *v, uint8_t *index) {
  if (++v->dac_step == 3) {
    v->dac_step = 0;
    ++*index;
  }
}

static bool hidden_palette_read(struct cirrus *c, uint8_t *value) {
  struct vga *v = &c->vga;
  c->hidden_count = 0;
  if (!(v->seq[0x12] & SR12_HIDDEN_PALETTE))
    return false;
  *value = c->hidden_palette[(v->dac_read & 15) * 3 + v->dac_step];
  dac_step(v, &v->dac_read);
  return true;
}

static bool hidden_palette_write(struct cirrus *c, uint8_t value) {
  struct vga *v = &c->vga;
  c->hidden_count = 0;
  if (!(v->seq[0x12] & SR12_HIDDEN_PALETTE))
    return false;
  v->dac_latch[v->dac_step] = value & 0x3f;
  if (v->dac_step == 2)
    memcpy(&c->hidden_palette[(v->dac_write & 15) * 3], v->dac_latch, 3);
  dac_step(v, &v->dac_write);
  return true;
}

/* --- graphics controller --- */

uint8_t cirrus_gc_read(struct cirrus *c, unsigned index) {
  if (index == 0x31)
    return c->vga.gc[0x31] | (c->blt.active ? GR31_BUSY : 0);
  return index < 0x3a ? c->vga.gc[index] : 0xff;
}

/* Registers of the VGA: true if they need no more than it does. */
static bool standard_gc_write(struct cirrus *c, unsigned index, uint8_t value) {
  struct vga *v = &c->vga;
  static const uint8_t mask[9] = {0xff, 0xff, 0x0f, 0x1f, 0x03, 0x7f, 0x0f, 0x0f, 0xff};
  bool colors = index < 2; /* eight bits for BitBLTs and extended write modes, four for the VGA */
  if (index > 8 || (!colors && index != 5 && !cirrus_packed(c)))
    return false;
  v->gc[index] = value & mask[index];
  if (!cirrus_packed(c))
    vga_window_masks(v);
  else
    vga_window_update(v);
  return true;
}

void cirrus_gc_write(struct cirrus *c, unsigned index, uint8_t value) {
  struct vga *v = &c->vga;
  c->blt.pad = 0; /* no more data for the last one */
  if (standard_gc_write(c, index, value))
    return;
  switch (index) {
  case 0x09:
  case 0x0a:
  case 0x0b:
    v->gc[index] = value;
    vga_window_update(v);
    break;
  case 0x21:
  case 0x25:
  case 0x27: v->gc[index] = value & 0x1f; break;
  case 0x23: v->gc[index] = value & 0x07; break;
  case 0x2a:
    v->gc[index] = value & 0x3f;
    if (v->gc[0x31] & GR31_AUTOSTART)
      cirrus_blt_start(c);
    break;
  case 0x2e: v->gc[index] = value & 0x3f; break;
  case 0x31: cirrus_blt_control(c, value); break;
  default:
    if (index > 8 && index < 0x3a)
      v->gc[index] = value;
  }
}

/* --- CRTC --- */

static bool crtc_read(struct cirrus *c, uint8_t *value) {
  struct vga *v = &c->vga;
  unsigned n = v->crtc_index;
  if (n <= 0x18 || n == 0x22 || n == 0x24)
    return false;
  if (n == 0x26)
    *value = v->attr_index & 0x3f;
  else if (n == 0x27)
    *value = PART_ID;
  else if (n == 0x25)
    *value = 0; /* part status: the first revision */
  else
    *value = n < sizeof v->crtc ? v->crtc[n] : 0xff;
  return true;
}

static bool crtc_write(struct cirrus *c, uint8_t value) {
  struct vga *v = &c->vga;
  unsigned n = v->crtc_index;
  if (n <= 0x18)
    return false;
  if (n < sizeof v->crtc) {
    v->crtc[n] = value;
    v->timing_stale = true;
    if (n == 0x1b)
      vga_window_update(v);
  }
  return true;
}

/* --- ports --- */

static bool port_read(struct vga *v, unsigned port, uint8_t *value) {
  struct cirrus *c = cirrus_of(v);
  switch (port) {
  case 0x3c5: return seq_read(c, value);
  case 0x3c6: *value = hidden_dac_read(c); return true;
  case 0x3c8: c->hidden_count = 0; return false;
  case 0x3c9: return hidden_palette_read(c, value);
  case 0x3cf: *value = cirrus_gc_read(c, v->gc_index); return true;
  case 0x3b5:
  case 0x3d5: return crtc_read(c, value);
  default: return false;
  }
}

static bool port_write(struct vga *v, unsigned port, uint8_t value) {
  struct cirrus *c = cirrus_of(v);
  switch (port) {
  case 0x3c5: return seq_write(c, value);
  case 0x3c6: return hidden_dac_write(c, value);
  case 0x3c7:
  case 0x3c8: c->hidden_count = 0; return false;
  case 0x3c9: return hidden_palette_write(c, value);
  case 0x3cf:
    if (v->gc_index <= 8 && !standard_gc_write(c, v->gc_index, value))
      return false;
    if (v->gc_index > 8)
      cirrus_gc_write(c, v->gc_index, value);
    return true;
  case 0x3b5:
  case 0x3d5: return crtc_write(c, value);
  default: return false;
  }
}

/* --- device --- */

/* packed_lit: SeaVGABIOS sets its modes with the screen off and leaves it so. */
static const struct vga_ext cirrus_ext = {
    .packed_lit = true,
    .port_read = port_read,
    .port_write = port_write,
    .dot_clock = dot_clock,
    .frame = cirrus_frame,
    .window = cirrus_window_update,
    .read8 = cirrus_read8,
    .write8 = cirrus_write8,
    .window_ops = &cirrus_window_ops,
    .overlay_update = cirrus_cursor_update,
    .overlay = cirrus_cursor_draw,
};

static void cirrus_reset(struct device *dev) {
  struct cirrus *c = DEVICE(struct cirrus, dev);
  struct vga *v = &c->vga;
  static const uint8_t clocks[4] = {0x66, 0x5b, 0x45, 0x7e}, denominators[4] = {0x3b, 0x2f, 0x30, 0x33};

  c->hidden_dac = c->hidden_count = 0;
  memset(c->hidden_palette, 0, sizeof c->hidden_palette);
  memset(c->latch8, 0, sizeof c->latch8);
  c->cursor_x = c->cursor_y = 0;
  ddc_reset(&c->ddc);
  memset(&c->blt, 0, sizeof c->blt);
  vga_reset_core(v);
  v->seq[0x06] = 0x0f;
  memcpy(&v->seq[0x0b], clocks, sizeof clocks);
  memcpy(&v->seq[0x1b], denominators, sizeof denominators);
  v->seq[0x0f] = 0x98; /* 4 MB, 64 bits wide */
  v->seq[0x15] = 0x04; /* as its BIOS leaves the memory size */
  v->seq[0x17] = 0x20; /* PCI */
  v->seq[0x1f] = 0x2d;
  v->gc[0x18] = 0x0f;
  v->timing_stale = true;
  vga_window_update(v);
}

static void config_written(struct pci_func *f, uint32_t offset, int size) {
  struct cirrus *c = f->opaque;
  if (offset != 0 || size != 256)
    return;
  if (!cirrus_blt_valid(&c->blt))
    memset(&c->blt, 0, sizeof c->blt);
  vga_restored(&c->vga);
}

static int cirrus_init_pci(struct cirrus *c, const struct vga_config *config) {
  struct pci_func *f = &c->vga.pci;
  pci_func_init(f, "cirrus", 0x1013, 0x00b8, 0x030000, 0, 0);
  memcpy(f->config + 0x2c, "\xf4\x1a\x00\x11", 4); /* subsystem 1AF4:1100, as the std adapter's */
  f->opaque = c;
  f->config_written = config_written;
  pci_func_set_bar(f, 0,
                   &(struct pci_bar){.kind = PCI_BAR_MEM_PREFETCH,
                                     .size = CIRRUS_BAR0,
                                     .mmio_ops = &cirrus_linear_ops,
                                     .opaque = c,
                                     .moved = cirrus_linear_moved});
  pci_func_set_bar(
      f, 1, &(struct pci_bar){.kind = PCI_BAR_MEM, .size = 4096, .mmio_ops = &cirrus_mmio_ops, .opaque = c});
  if (c->vga.rom)
    pci_func_set_bar(
        f, PCI_BAR_ROM,
        &(struct pci_bar){.kind = PCI_BAR_MEM, .size = (uint32_t)c->vga.rom->size, .block = c->vga.rom});
  return pci_register(config->pci, f, config->devfn ? config->devfn : 0x10);
}

static int cirrus_init(struct device *dev, const struct device_args *args) {
  struct cirrus *c = DEVICE(struct cirrus, dev);
  const struct vga_config *config = args->config;

  DGM_ASSERT(config && config->pci && !config->vram_size);
  struct vga_config core = *config;
  core.vram_size = CIRRUS_VRAM;
  edid_build(c->ddc.edid, 1280, 1024);
  cirrus_linear_moved(c);
  int error = vga_init_core(&c->vga, &core, &cirrus_ext);
  if (error || (error = cirrus_init_pci(c, config)))
    return error;
  cirrus_reset(dev);
  return 0;
}

static const struct field cirrus_fields[] = {
    VGA_FIELDS,
    FIELD(U8, struct cirrus, hidden_dac),
    FIELD(U8, struct cirrus, hidden_count),
    FIELD_BUFFER(struct cirrus, hidden_palette),
    FIELD(U16, struct cirrus, cursor_x),
    FIELD(U16, struct cirrus, cursor_y),
    FIELD_BUFFER(struct cirrus, latch8),
    FIELD(U8, struct cirrus, ddc.scl),
    FIELD(U8, struct cirrus, ddc.sda),
    FIELD(U8, struct cirrus, ddc.phase),
    FIELD(U8, struct cirrus, ddc.shift),
    FIELD(U8, struct cirrus, ddc.bit),
    FIELD(U8, struct cirrus, ddc.pull),
    FIELD(U8, struct cirrus, ddc.addressed),
    FIELD(U8, struct cirrus, ddc.offset),
    FIELD(BOOL, struct cirrus, blt.active),
    FIELD(BOOL, struct cirrus, blt.reading),
    FIELD(U8, struct cirrus, blt.mode),
    FIELD(U8, struct cirrus, blt.modeext),
    FIELD(U8, struct cirrus, blt.truth),
    FIELD(U8, struct cirrus, blt.depth),
    FIELD(U8, struct cirrus, blt.offset),
    FIELD(U8, struct cirrus, blt.preset),
    FIELD(U8, struct cirrus, blt.rounding),
    FIELD(U8, struct cirrus, blt.pad),
    FIELD_ARRAY(U8, struct cirrus, blt.key),
    FIELD_ARRAY(U8, struct cirrus, blt.fg),
    FIELD_ARRAY(U8, struct cirrus, blt.bg),
    FIELD(U32, struct cirrus, blt.width),
    FIELD(U32, struct cirrus, blt.height),
    FIELD(U32, struct cirrus, blt.skip),
    FIELD(U32, struct cirrus, blt.dst),
    FIELD(U32, struct cirrus, blt.src),
    FIELD(U32, struct cirrus, blt.dst_pitch),
    FIELD(U32, struct cirrus, blt.src_pitch),
    FIELD(U32, struct cirrus, blt.line),
    FIELD(U32, struct cirrus, blt.filled),
    FIELD_BUFFER(struct cirrus, blt.buffer),
    FIELDS_END,
};

const struct device_class cirrus_class = {
    .name = "cirrus",
    .size = sizeof(struct cirrus),
    .init = cirrus_init,
    .reset = cirrus_reset,
    .destroy = vga_destroy,
    .fields = cirrus_fields,
};
