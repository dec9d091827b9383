/* SPDX-License-Identifier: MIT */
/*
 * The PC board (i440FX + PIIX3/PIIX4 PM): the only place that knows addresses and IRQ numbers. Front ends fill
 * in board_config; strings and blocks must outlive the machine.
 */
#ifndef DEVICES_BOARD_H
#define DEVICES_BOARD_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "core/chardev.h"
#include "core/machine.h"
#include "devices/block/block.h"

#define BOARD_SERIALS 4
#define BOARD_EXTRAS 32

struct net_cable;

/* A device that can be added by name. */
struct board_driver {
  const char *name;
  const char *keys; /* the properties it takes, a blank between them; "id" only if listed */
  const char *help;
  enum { DRIVER_NET = 1, DRIVER_BLOCK = 2 } needs; /* back ends: netdev=, drive= */
};

struct board_extra { /* one of them on this board */
  const char *driver, *props; /* as in -device DRIVER,PROPS (devices/props.h); props may be NULL */
  struct net_cable *net; /* DRIVER_NET: the cable that it goes on; NULL: none */
  struct block *block; /* DRIVER_BLOCK */
};

enum board_vga { BOARD_VGA_NONE, BOARD_VGA_STD, BOARD_VGA_CIRRUS };

struct board_config {
  const char *bios_path; /* -bios; NULL = found in bios_dirs ("bios-256k.bin") */
  const char *bios_dirs[4]; /* -L, then the directory that configure found */
  struct block *floppy[2];
  bool floppy_present[2]; /* a drive exists even if empty; drive A exists by default */
  struct block *ide[4]; /* hda..hdd */
  bool ide_is_cd[4]; /* CD-ROM drive (may be empty: ide[i] == NULL) */
  const char *ide_serial[4];
  struct chardev *serial[BOARD_SERIALS]; /* NULL = port absent, except serial[0], which always exists */
  struct chardev *parallel; /* NULL: port present, nothing attached */
  struct chardev *debugcon; /* port 402h; NULL = absent sink */
  const char *boot_order; /* "a", "c", "d", "n" letters as in -boot; NULL: default "cad" */
  const char *boot_once; /* the same for the first boot only; NULL: none */
  bool boot_menu;
  const char *kernel, *initrd, *append;
  enum board_vga vga;
  struct board_extra extra[BOARD_EXTRAS]; /* -device, -nic and so on */
  unsigned extra_count;
  bool usb;       /* the USB controller */
  bool no_vmport; /* no VMware port */
  bool hpet;
  bool no_acpi; /* no power management function: firmware makes no ACPI tables, APM remains */
  uint32_t ide_delay_us; /* what a disk command takes at least; 0: as fast as it goes */
  bool rtc_localtime;
  time_t rtc_base; /* -1: host's time of day (counted mode: 2000-01-01 00:00 UTC); else -rtc base= */
  bool rtc_clock_vm; /* time of day runs with virtual time from rtc_base (always so in counted mode) */
};

/* The drivers by index (NULL past the end), and by name (NULL: none). */
const struct board_driver *board_driver(size_t index);
const struct board_driver *board_driver_find(const char *name);

/* Build every device of the PC onto m. 0 or -errno with an error_report. */
int board_init(struct machine *m, const struct board_config *config);
void board_free(struct machine *m);
/* Load a memory image for "-kernel" etc.: see loader.c. */

/* Media change by monitor. `drive` is QEMU's name: "floppy0", "floppy1", "ide0-hd0", "ide0-cd0", "ide1-cd0" ...
 * block NULL = eject. force: even if the guest locked the tray. 0 or -errno (-ENODEV, -EBUSY; hard disks: -ENOTSUP). */
int board_change_media(struct machine *m, const char *drive, struct block *block, bool force);
/*
 * Loading a snapshot: called when it has another medium in a removable drive than is there now (path NULL: none), to
 * change that, also against the guest's will. 0 or -errno. Without it such a snapshot is refused.
 */
void board_on_other_medium(struct machine *m, int (*change)(void *opaque, const char *drive, const char *path),
                           void *opaque);
void board_info_block(struct machine *m, FILE *out); /* as QEMU's "info block" */
void board_info_pci(struct machine *m, FILE *out);
void board_info_usb(struct machine *m, FILE *out);
void board_info_pic(struct machine *m, FILE *out);
void board_info_qtree(struct machine *m, FILE *out); /* devices and their fields */
/* Make the host's files safe: flush all images. 0 or the first -errno. */
int board_flush(struct machine *m);

#endif
