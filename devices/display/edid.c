/* SPDX-License-Identifier: MIT */
/*
 * EDID 1.3 after the VESA Enhanced EDID standard, release A (3.1 to 3.11: header, features, established,
 * standard and detailed timings, descriptors), and a DDC2B display after the VESA DDC standard, version 3: an
 * I2C slave with 128 bytes, sequential reads, the offset set by a write.
 */
#include "devices/display/edid.h"

#include <string.h>

/* --- EDID --- */

static void standard_timing(uint8_t *at, unsigned width, unsigned height, unsigned hz) {
  unsigned ratio = width * 10 == height * 16  ? 0
                   : width * 3 == height * 4  ? 1
                   : width * 4 == height * 5  ? 2
                   : width * 9 == height * 16 ? 3
                                              : 1;
  at[0] = (uint8_t)(width / 8 - 31);
  at[1] = (uint8_t)(ratio << 6 | (hz - 60));
}

/* 1024x768 at 60 Hz: 65 MHz, 1344 x 806, both syncs negative (VESA DMT 10h). On a 17-inch tube. */
static const uint8_t preferred[18] = {0x64, 0x19, 0x00, 0x40, 0x41, 0x00, 0x26, 0x30, 0x18,
                                      0x88, 0x36, 0x00, 0x40, 0xf0, 0x10, 0x00, 0x00, 0x18};
/* 50-130 Hz vertical, 30-100 kHz horizontal, 220 MHz */
static const uint8_t range_limits[18] = {0,  0, 0,    0xfd, 0,   50,  130, 30,  100,
                                         22, 0, '\n', ' ',  ' ', ' ', ' ', ' ', ' '};
static const uint8_t name[18] = {0,   0,   0,   0xfc, 0,   'D', 'r', 'a', 'g',
                                 'o', 'm', 'a', 'n',  ' ', 'C', 'R', 'T', '\n'};
static const uint8_t serial[18] = {0,   0,   0,   0xff, 0,   '1', '\n', ' ', ' ',
                                   ' ', ' ', ' ', ' ',  ' ', ' ', ' ',  ' ', ' '};

void edid_build(uint8_t edid[EDID_SIZE], unsigned max_width, unsigned max_height) {
  static const struct {
    uint16_t width, height;
    uint8_t hz;
  } timings[] = {{1280, 1024, 60}, {1152, 864, 75}, {1280, 960, 60},  {1600, 1200, 60},
                 {1280, 800, 60},  {1440, 900, 60}, {1680, 1050, 60}, {1920, 1080, 60}};
  static const uint8_t header[8] = {0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00};
  const unsigned maker = ('D' - '@') << 10 | ('G' - '@') << 5 | ('M' - '@');

  memset(edid, 0, EDID_SIZE);
  memcpy(edid, header, sizeof header);
  edid[8] = (uint8_t)(maker >> 8);
  edid[9] = (uint8_t)maker;
  edid[10] = 0x01; /* product, serial number, week and year of manufacture */
  edid[12] = 0x01;
  edid[16] = 1;
  edid[17] = 2000 - 1990;
  edid[18] = 1; /* 1.3 */
  edid[19] = 3;
  edid[20] = 0x0e; /* analogue, 0.7/0.3 V, separate, composite and green syncs */
  edid[21] = 32;   /* cm */
  edid[22] = 24;
  edid[23] = 120;  /* gamma 2.2 */
  edid[24] = 0x2a; /* off by DPMS; RGB; the first detailed timing is preferred */
  static const uint8_t srgb[10] = {0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54};
  memcpy(edid + 25, srgb, sizeof srgb);
  edid[35] = 0xaf; /* 720x400@70; 640x480@60,72,75; 800x600@56,60 */
  edid[36] = max_width >= 1280 && max_height >= 1024
                 ? 0xcf
                 : 0xce; /* 800x600@72,75; 1024x768@60,70,75; 1280x1024@75 */
  unsigned used = 0;
  for (unsigned i = 0; i < sizeof timings / sizeof timings[0]; i++)
    if (timings[i].width <= max_width && timings[i].height <= max_height)
      standard_timing(edid + 38 + 2 * used++, timings[i].width, timings[i].height, timings[i].hz);
  memset(edid + 38 + 2 * used, 0x01, 16 - 2 * used); /* unused */
  memcpy(edid + 54, preferred, sizeof preferred);
  memcpy(edid + 72, range_limits, sizeof range_limits);
  memcpy(edid + 90, name, sizeof name);
  memcpy(edid + 108, serial, sizeof serial);
  uint8_t sum = 0;
  for (int i = 0; i < EDID_SIZE - 1; i++)
    sum = (uint8_t)(sum + edid[i]);
  edid[EDID_SIZE - 1] = (uint8_t)-sum;
}

/* --- DDC2B --- */

enum { DDC_IDLE, DDC_ADDRESS, DDC_WRITE, DDC_READ, DDC_ACK_ADDRESS, DDC_ACK_WRITE, DDC_ACK_READ };

#define DDC_SLAVE 0xa0

void ddc_reset(struct ddc *d) {
  d->scl = d->sda = 1;
  d->phase = DDC_IDLE;
  d->shift = d->bit = d->pull = d->addressed = d->offset = 0;
}

bool ddc_sda(const struct ddc *d) { return d->sda && !d->pull; }

static void next_read_bit(struct ddc *d) { d->pull = !(d->shift >> (7 - d->bit) & 1); }

static void load_byte(struct ddc *d) {
  d->shift = d->edid[d->offset % EDID_SIZE];
  d->offset++;
  d->bit = 0;
  d->phase = DDC_READ;
  next_read_bit(d);
}

/* A byte from the host is complete: acknowledge it if it is for us. */
static void byte_received(struct ddc *d) {
  if (d->phase == DDC_ADDRESS) {
    if ((d->shift & 0xfe) != DDC_SLAVE) {
      d->phase = DDC_IDLE;
      return;
    }
    d->phase = DDC_ACK_ADDRESS;
  } else {
    if (!d->addressed)
      d->offset = d->shift;
    d->addressed = 1; /* what follows would be written to read-only memory */
    d->phase = DDC_ACK_WRITE;
  }
  d->pull = 1;
}

static void clock_fell(struct ddc *d) {
  switch (d->phase) {
  case DDC_ADDRESS:
  case DDC_WRITE:
    if (d->bit == 8)
      byte_received(d);
    break;
  case DDC_ACK_ADDRESS:
    if (d->shift & 1) {
      load_byte(d);
      break;
    }
    d->addressed = 0;
    /* fall through */
  case DDC_ACK_WRITE:
    d->phase = DDC_WRITE;
    d->pull = d->bit = d->shift = 0;
    break;
  case DDC_READ:
    if (d->bit < 8) {
      next_read_bit(d);
    } else {
      d->phase = DDC_ACK_READ;
      d->pull = 0;
    }
    break;
  case DDC_ACK_READ: load_byte(d); break;
  }
}

static void clock_rose(struct ddc *d) {
  switch (d->phase) {
  case DDC_ADDRESS:
  case DDC_WRITE:
    d->shift = (uint8_t)(d->shift << 1 | d->sda);
    d->bit++;
    break;
  case DDC_READ: d->bit++; break;
  case DDC_ACK_READ:
    if (d->sda) /* not acknowledged: the host has enough */
      d->phase = DDC_IDLE;
    break;
  }
}

void ddc_drive(struct ddc *d, bool scl, bool sda) {
  bool was_scl = d->scl, was_sda = d->sda;
  d->scl = scl;
  d->sda = sda;
  if (was_scl && scl && was_sda != sda) { /* start or stop */
    d->phase = sda ? DDC_IDLE : DDC_ADDRESS;
    d->pull = d->bit = d->shift = 0;
  } else if (was_scl && !scl) {
    clock_fell(d);
  } else if (!was_scl && scl) {
    clock_rose(d);
  }
}
