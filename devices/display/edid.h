/* SPDX-License-Identifier: MIT */
/* The monitor's identity: an EDID 1.3 block, and the DDC2B slave that hands it out over two wires. */
#ifndef DEVICES_DISPLAY_EDID_H
#define DEVICES_DISPLAY_EDID_H

#include <stdbool.h>
#include <stdint.h>

#define EDID_SIZE 128

/* Modes up to max_width x max_height; 1024x768 at 60 Hz is preferred. */
void edid_build(uint8_t edid[EDID_SIZE], unsigned max_width, unsigned max_height);

/* An I2C memory at A0h/A1h. What is not modelled: E-DDC segments, DDC/CI. */
struct ddc {
  uint8_t scl, sda;   /* as the host drives them; both open drain */
  uint8_t phase;      /* enum in edid.c */
  uint8_t shift, bit; /* byte in transit and its bits so far */
  uint8_t pull;       /* we pull SDA low */
  uint8_t addressed;  /* the word offset is to be sent first */
  uint8_t offset;
  uint8_t edid[EDID_SIZE];
};

void ddc_reset(struct ddc *d);
void ddc_drive(struct ddc *d, bool scl, bool sda);
bool ddc_sda(const struct ddc *d); /* the wire */

#endif
