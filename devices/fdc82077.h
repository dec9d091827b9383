/* SPDX-License-Identifier: MIT */
/*
 * Intel 82077AA floppy disk controller with up to two drives (PC/AT register set).
 */
#ifndef DEVICES_FDC82077_H
#define DEVICES_FDC82077_H

#include "core/device.h"
#include "devices/block/block.h"

/* CMOS register 10h nibble of a drive. */
enum fdc_drive_kind {
  FDC_DRIVE_NONE = 0,
  FDC_DRIVE_360K = 1,
  FDC_DRIVE_1200K = 2,
  FDC_DRIVE_720K = 3,
  FDC_DRIVE_1440K = 4,
  FDC_DRIVE_2880K = 5,
};

struct fdc82077_config {
  struct device *dma;     /* the 8237 pair, or NULL: PIO only */
  int dma_channel;        /* 2 */
  bool present[2];        /* a drive exists, even if empty */
  struct block *block[2]; /* media; not owned */
  uint8_t kind[2];        /* enum fdc_drive_kind; 0: chosen by the medium's size, 2.88M if empty */
};

/* port[0] = 3F0h (claims 3F0h-3F5h and 3F7h); irq[0] = IRQ 6. */
extern const struct device_class fdc82077_class;

/* CMOS type of drive 0 or 1 (enum fdc_drive_kind). */
int fdc_drive_type(const struct device *dev, int drive);
/* block NULL ejects. -ENODEV: no such drive; -EINVAL: no floppy format has this size. */
int fdc_change_media(struct device *dev, int drive, struct block *block);
struct block *fdc_media(const struct device *dev, int drive);

/* fdc_format.c */
struct fdc_format {
  uint8_t cylinders, heads, sectors, kind; /* kind: the drive it is made for */
};
const struct fdc_format *fdc_find_format(uint64_t bytes); /* NULL: no format has this size */
/* Is this the size of a floppy format? Cylinders, heads and sectors per track may be NULL. */
bool fdc_geometry(uint64_t bytes, unsigned *cylinders, unsigned *heads, unsigned *sectors);

#endif
