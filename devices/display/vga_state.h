/* SPDX-License-Identifier: MIT */
/*
 * The state of the VGA, shared by its parts: vga.c (ports), vga_mem.c (the A0000h window), vga_draw.c
 * (pixels) and vbe.c (Bochs VBE); and what a chip that extends the VGA hooks into (struct vga_ext).
 *
 * Video memory is interleaved: byte `offset` of plane p lies at vram[offset * 4 + p]. So one 32-bit access
 * touches all four planes, and chain-4 memory is linear. The price: in chain-4 and doubleword addressing
 * the real chip leaves holes in each plane (offsets a AND ~3), where we use offsets a / 4. Only a program
 * that writes chained and displays unchained can tell.
 */
#ifndef DEVICES_DISPLAY_VGA_STATE_H
#define DEVICES_DISPLAY_VGA_STATE_H

#include "core/device.h"
#include "core/display.h"
#include "devices/display/edid.h"
#include "devices/display/vga.h"
#include "devices/pci.h"

#define VGA_WINDOW_BASE 0xa0000u
#define VGA_WINDOW_SIZE 0x20000u
#define VGA_PLANE_MASK 0xffffu /* 64 KB a plane on a standard VGA */

#define VBE_INDEX_ID 0
#define VBE_INDEX_XRES 1
#define VBE_INDEX_YRES 2
#define VBE_INDEX_BPP 3
#define VBE_INDEX_ENABLE 4
#define VBE_INDEX_BANK 5
#define VBE_INDEX_VIRT_WIDTH 6
#define VBE_INDEX_VIRT_HEIGHT 7
#define VBE_INDEX_X_OFFSET 8
#define VBE_INDEX_Y_OFFSET 9
#define VBE_INDEX_VIDEO_MEMORY_64K 10
#define VBE_INDEX_COUNT 11

#define VBE_ENABLED 0x01u
#define VBE_GETCAPS 0x02u
#define VBE_8BIT_DAC 0x20u
#define VBE_LFB_ENABLED 0x40u
#define VBE_NOCLEARMEM 0x80u

#define VBE_MAX_XRES 2560u
#define VBE_MAX_YRES 1600u

enum vga_kind {
  VGA_BLANK,
  VGA_TEXT,
  VGA_PLANAR,  /* 1 bit from each plane */
  VGA_CGA,     /* shift register interleave: 2 + 2 bits */
  VGA_NIBBLES, /* 256-colour shift without the 8-bit latch: 4-bit pixels */
  VGA_256,
  VGA_VBE8,
  VGA_VBE15,
  VGA_VBE16,
  VGA_VBE24,
  VGA_VBE32,
};

/* Everything the picture depends on besides VRAM contents, palette, cursor and blink phase. */
struct vga_frame {
  enum vga_kind kind;
  int width, height;     /* of the surface */
  uint32_t chars;        /* character clocks a line */
  uint32_t cell_width;   /* pixels a character clock */
  uint32_t xdup;         /* each pixel is shown this many times */
  uint32_t ydup;         /* scan lines for each step of the row counter */
  uint32_t max_scan;     /* last row of a character */
  uint32_t start, pitch; /* VGA: in character clocks; VBE linear: in bytes */
  uint32_t line_compare;
  uint32_t byte_pan, pan, preset_row;
  bool split_unpanned;
  uint32_t plane_mask;               /* wraps a plane offset */
  uint8_t crtc_mode, crtc_underline; /* CR17h, CR14h */
  uint8_t color_enable;              /* AR12h */
  uint8_t attr_mode;                 /* AR10h */
  uint32_t font_a, font_b;           /* offsets in plane 2 */
};

struct vga_timing { /* derived from the CRTC */
  int64_t frame_ns;
  uint32_t line_count, lines_shown, retrace_start, retrace_end;
  uint32_t char_count, chars_shown;
};

struct vga;

/* A chip that extends the VGA: its structure begins with struct vga. Every hook may be NULL. */
struct vga_ext {
  /* Ports 3B0h-3DFh that are decoded now; false: the VGA answers. */
  bool (*port_read)(struct vga *v, unsigned port, uint8_t *value);
  bool (*port_write)(struct vga *v, unsigned port, uint8_t value);
  bool packed_lit;                           /* SR1's screen-off bit does not blank packed pixels */
  int64_t (*dot_clock)(const struct vga *v); /* Hz, before SR1's halving; 0: a standard one */
  /* Adapt what the VGA's registers made of the frame, or of the window. */
  void (*frame)(const struct vga *v, struct vga_frame *f);
  void (*window)(struct vga *v);
  /* Window accesses while v->ext_window; `addr` has its bank added. */
  uint8_t (*read8)(struct vga *v, uint32_t addr);
  void (*write8)(struct vga *v, uint32_t addr, uint8_t value);
  const struct mmio_ops *window_ops; /* in place of vga_window_ops */
  /* A cursor over graphics: say in v->overlaid where it is, and in v->overlay where it was and is if it
   * changed; then draw it on line y. */
  void (*overlay_update)(struct vga *v, const struct vga_frame *f);
  void (*overlay)(struct vga *v, const struct vga_frame *f, uint32_t *line, int y);
};

struct vga_lines { /* none if last < first */
  int first, last;
};

struct vga {
  struct device dev;
  const struct vga_ext *ext; /* NULL: none */
  struct display display;
  struct pci_func pci;
  struct mem_block *vram, *rom;
  uint32_t vram_size;

  uint8_t misc, feature, enable;
  uint8_t seq_index, seq[32];
  uint8_t crtc_index, crtc[32];
  uint8_t gc_index, gc[64];
  uint8_t attr_index, attr[32];
  bool attr_data; /* flip-flop: the next write to 3C0h is data */
  uint8_t dac_mask, dac_write, dac_read, dac_state, dac_step;
  uint8_t dac_latch[3];
  uint8_t dac[768];
  uint16_t vbe_index, vbe[16];
  uint8_t vbe_data_low;
  uint8_t edid[EDID_SIZE]; /* what BAR 2 shows of the monitor */
  uint32_t latch;          /* one byte of each plane */

  /* Derived: how the window maps (vga_mem.c). Masks have a byte for each plane. */
  uint32_t win_base, win_size; /* relative to A0000h */
  uint32_t win_offset[2];      /* bank of each 32 KB half (by address bit 15), in addresses of the window */
  uint32_t plane_wrap;
  uint32_t map_mask, bit_mask, set_reset, set_reset_enable, compare, compare_mask;
  bool linear;     /* packed pixels */
  bool ext_window; /* the extension handles it */
  bool direct_ok;  /* the window's semantics are those of plain memory now */
  bool direct;     /* ... and it is mapped so */
  uint32_t direct_base, direct_size, direct_offset[2]; /* as mapped */
  uint32_t heat, heat_limit; /* accesses that would have been plain memory; enough */
  bool window_claimed;

  struct vga_timing timing;
  bool timing_stale;

  /* Drawing (vga_draw.c) */
  struct vga_frame frame; /* as last drawn */
  bool redraw_all, palette_stale, blink_seen;
  uint32_t cursor_drawn; /* position and shape as last drawn, 0 = hidden */
  bool blink_drawn;
  struct vga_lines overlay[2]; /* what to draw again because the overlay changed, for this refresh */
  struct vga_lines overlaid;   /* where the overlay is */
  uint32_t palette[256], palette16[16];
  uint8_t *dirty;        /* a byte per page, for one refresh */
  uint8_t *pixel_line;   /* colour indices of one line */
  uint8_t font[2][8192]; /* as last drawn */
  size_t surface_capacity;
  char mode_text[32];
};

/* vga.c: the parts of a device class */
int vga_init_core(struct vga *v, const struct vga_config *config, const struct vga_ext *ext);
void vga_reset_core(struct vga *v);
void vga_restored(struct vga *v); /* from a snapshot: derive what is not saved */
void vga_destroy(struct device *dev);
#define VGA_FIELDS                                                                                           \
  FIELD(U8, struct vga, misc), FIELD(U8, struct vga, feature), FIELD(U8, struct vga, enable),                \
      FIELD(U8, struct vga, seq_index), FIELD_ARRAY(U8, struct vga, seq), FIELD(U8, struct vga, crtc_index), \
      FIELD_ARRAY(U8, struct vga, crtc), FIELD(U8, struct vga, gc_index), FIELD_ARRAY(U8, struct vga, gc),   \
      FIELD(U8, struct vga, attr_index), FIELD_ARRAY(U8, struct vga, attr),                                  \
      FIELD(BOOL, struct vga, attr_data), FIELD(U8, struct vga, dac_mask), FIELD(U8, struct vga, dac_write), \
      FIELD(U8, struct vga, dac_read), FIELD(U8, struct vga, dac_state), FIELD(U8, struct vga, dac_step),    \
      FIELD_ARRAY(U8, struct vga, dac_latch), FIELD_BUFFER(struct vga, dac), FIELD(U32, struct vga, latch),  \
      FIELD(BOOL, struct vga, direct), FIELD(U32, struct vga, heat), FIELD(U32, struct vga, heat_limit),     \
      FIELD_BUFFER(struct vga, pci.config)

uint8_t vga_port_read(struct vga *v, unsigned port);
void vga_port_write(struct vga *v, unsigned port, uint8_t value);
const struct vga_timing *vga_get_timing(struct vga *v);
/* 3DAh bits 3 (vertical retrace) and 0 (display disabled) at `ns` of virtual time. */
uint8_t vga_retrace_status(struct vga *v, int64_t ns);

/* vga_mem.c */
uint64_t vga_window_read(void *opaque, uint32_t offset, int size);
void vga_window_write(void *opaque, uint32_t offset, int size, uint64_t value);
void vga_window_update(struct vga *v);       /* after any register that matters changed */
void vga_window_masks(struct vga *v);        /* a part of it: SR2, GR0, GR1, GR2, GR7 and GR8 */
/* From a snapshot: as direct, heat and heat_limit say; whether reads load the latches depends on it. */
void vga_window_restored(struct vga *v);
void vga_window_check_direct(struct vga *v); /* the cheap half of the above: masks and write modes only */
void vga_window_undirect(struct vga *v);     /* the handlers, for now: what is mapped may come back */
/* One byte by the graphics controller's rules, which must be up to date: planes as a mask with a byte for
 * each. */
uint8_t vga_planar_read(struct vga *v, uint32_t plane_offset, unsigned plane);
void vga_planar_write(struct vga *v, uint32_t plane_offset, uint32_t planes, uint8_t value);
extern const struct mmio_ops vga_window_ops;

/* vga_draw.c */
int vga_draw_init(struct vga *v);
void vga_draw_free(struct vga *v);

/* vbe.c */
uint16_t vbe_read(struct vga *v, unsigned index);
void vbe_write(struct vga *v, unsigned index, uint16_t value);
void vbe_reset(struct vga *v);
uint32_t vbe_pitch(const struct vga *v); /* bytes; of one plane with 4 bpp */
static inline bool vbe_enabled(const struct vga *v) { return v->vbe[VBE_INDEX_ENABLE] & VBE_ENABLED; }
extern const struct io_ops vbe_port_ops;
extern const struct mmio_ops vbe_mmio_ops; /* BAR 2 */

#endif
