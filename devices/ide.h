/* SPDX-License-Identifier: MIT */
/*
 * ATA/ATAPI channels with two drives each, and their PCI attachment (PIIX3 IDE function, 8086:7010 at
 * 00:01.1).
 */
#ifndef DEVICES_IDE_H
#define DEVICES_IDE_H

#include "core/audio.h"
#include "devices/block/block.h"
#include "devices/pci.h"

struct ide_drive_config {
  bool present; /* a drive is attached (a CD-ROM drive may be empty) */
  bool cdrom;
  struct block *block; /* medium; not owned */
  const char *serial;  /* NULL: "DGM0000n" */
  const char *model;   /* NULL: "DRAGOMAN HARDDISK" / "DRAGOMAN CD-ROM" */
  uint16_t cylinders;  /* CHS translation; 0: derived from the size, 16 heads, 63 sectors */
  uint8_t heads, sectors;
};

struct piix3_ide_config {
  struct pci_bus *bus;
  struct ide_drive_config drive[4]; /* primary master, primary slave, secondary master, secondary slave */
  struct audio *audio;              /* where compact discs play; NULL: nowhere */
  uint32_t latency_ns;              /* from command to interrupt; 0: 50 microseconds */
};

/* port[0] = 1F0h, port[1] = 3F6h, port[2] = 170h, port[3] = 376h; irq[0] = IRQ 14, irq[1] = IRQ 15. */
extern const struct device_class piix3_ide_class;

/* Media, by drive number 0-3 (CD-ROM drives only: -ENOTSUP, -ENODEV). block NULL ejects; -EBUSY if the guest
 * has locked the tray and !force. The caller owns the old and the new block. */
int ide_change_media(struct device *dev, int drive, struct block *block, bool force);
struct block *ide_media(const struct device *dev, int drive); /* NULL: none, or no such drive */
bool ide_present(const struct device *dev, int drive);
bool ide_is_cdrom(const struct device *dev, int drive);
bool ide_tray_locked(const struct device *dev, int drive);
bool ide_tray_open(const struct device *dev, int drive);
/* Default translation of a hard disk (for CMOS): cylinders as the drive reports them in IDENTIFY words 1,
 * 3, 6. False if there is no hard disk. */
bool ide_geometry(const struct device *dev, int drive, uint16_t *cylinders, uint8_t *heads, uint8_t *sectors);

#endif
