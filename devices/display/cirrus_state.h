/* SPDX-License-Identifier: MIT */
/*
 * The state of the CL-GD5446, shared by its parts: cirrus.c (registers), cirrus_mem.c (apertures),
 * cirrus_blt.c (BitBLT engine) and cirrus_draw.c (what is shown). Register files are those of struct vga:
 * v->seq, v->gc, v->crtc.
 */
#ifndef DEVICES_DISPLAY_CIRRUS_STATE_H
#define DEVICES_DISPLAY_CIRRUS_STATE_H

#include "devices/display/cirrus.h"
#include "devices/display/edid.h"
#include "devices/display/vga_state.h"

#define CIRRUS_VRAM (4u << 20)
#define CIRRUS_BAR0 (32u << 20)
#define CIRRUS_BLT_WIDTH 8192u /* bytes */
#define CIRRUS_CURSOR_BYTES 1024

/* A BitBLT; as it was when it started, since the CPU may have to supply or fetch its data. */
struct cirrus_blt {
  bool active;                  /* waits for the CPU: data for it, or from it if `reading` */
  bool reading;                 /* system memory is the destination */
  uint8_t mode, modeext, truth; /* GR30, GR33, raster operation as S,D truth table */
  uint8_t depth;                /* bytes a pixel */
  uint8_t offset;               /* bytes to leave out at the start of each line from the CPU */
  uint8_t preset;               /* first row of a pattern */
  uint8_t rounding, pad; /* bytes after the last one that round up to a doubleword; those still to come */
  uint8_t key[2];        /* transparent colour */
  uint8_t fg[4], bg[4];
  uint32_t width, height; /* bytes, lines (those left) */
  uint32_t skip;          /* bytes clipped at the left */
  uint32_t dst, src;
  uint32_t dst_pitch, src_pitch; /* two's complement */
  uint32_t line;                 /* bytes that the CPU writes or reads for a line, or for a pattern */
  uint32_t filled;               /* of them done */
  uint8_t buffer[CIRRUS_BLT_WIDTH + 8];
};

struct cirrus_cursor { /* as drawn */
  int x, y, size;      /* 0: hidden */
  uint32_t color[2];
  uint8_t image[CIRRUS_CURSOR_BYTES];
};

struct cirrus {
  struct vga vga;
  uint8_t hidden_dac, hidden_count; /* mode register behind 3C6h, and reads of 3C6h towards it */
  uint8_t hidden_palette[48];
  uint16_t cursor_x, cursor_y;
  uint8_t latch8[8]; /* GRB[3] */
  struct ddc ddc;
  struct cirrus_blt blt;

  /* Derived. */
  bool plain;         /* the graphics controller leaves packed pixels alone */
  bool linear_direct; /* VRAM is mapped at BAR 0 in place of the handlers ... */
  uint32_t linear_size;
  uint32_t linear_heat, linear_limit; /* see struct vga */
  struct cirrus_cursor cursor;
};

static inline struct cirrus *cirrus_of(struct vga *v) { return (struct cirrus *)v; }
static inline const struct cirrus *cirrus_of_const(const struct vga *v) { return (const struct cirrus *)v; }
static inline bool cirrus_packed(const struct cirrus *c) { return c->vga.seq[7] & 1; }

/* cirrus.c */
uint8_t cirrus_gc_read(struct cirrus *c, unsigned index);
void cirrus_gc_write(struct cirrus *c, unsigned index, uint8_t value);

/* cirrus_mem.c */
void cirrus_window_update(struct vga *v);
uint8_t cirrus_read8(struct vga *v, uint32_t addr);
void cirrus_write8(struct vga *v, uint32_t addr, uint8_t value);
void cirrus_linear_moved(void *opaque);
void cirrus_undirect(struct cirrus *c); /* the CPU's next accesses must be seen */
extern const struct mmio_ops cirrus_window_ops, cirrus_linear_ops, cirrus_mmio_ops;

/* cirrus_blt.c */
void cirrus_blt_control(struct cirrus *c, uint8_t value); /* GR31 */
void cirrus_blt_start(struct cirrus *c);
void cirrus_blt_reset(struct cirrus *c);
bool cirrus_blt_valid(const struct cirrus_blt *b); /* as restored from a snapshot */
void cirrus_blt_feed(struct cirrus *c, const uint8_t *bytes, unsigned count);
uint8_t cirrus_blt_fetch(struct cirrus *c);

/* cirrus_draw.c */
void cirrus_frame(const struct vga *v, struct vga_frame *f);
void cirrus_cursor_update(struct vga *v, const struct vga_frame *f);
void cirrus_cursor_draw(struct vga *v, const struct vga_frame *f, uint32_t *line, int y);

#endif
