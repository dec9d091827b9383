/* SPDX-License-Identifier: MIT */
/*
 * VGA with the Bochs VBE extensions ("stdvga"): what the board needs to create one.
 *
 * The device claims ports 3B0h-3BBh, 3C0h-3DFh and 1CEh-1D1h, memory A0000h-BFFFFh and, given a PCI bus,
 * becomes function 1234:1111 with BAR 0 = frame buffer, BAR 2 = registers and the expansion ROM. args->port,
 * addr and irq are not used.
 */
#ifndef DEVICES_DISPLAY_VGA_H
#define DEVICES_DISPLAY_VGA_H

#include "core/device.h"
#include "core/display.h"

struct pci_bus;

struct vga_config {         /* device_args.config */
  struct display **display; /* receives the adapter's display; the board passes &machine->display */
  struct pci_bus *pci;      /* NULL: plain ISA VGA, without the linear frame buffer */
  int devfn;                /* slot << 3 | function; 0 = 10h (00:02.0) */
  uint32_t vram_size;       /* bytes, power of two from 256 KB to 64 MB; 0 = 16 MB */
  struct mem_block *rom;    /* video BIOS image for the expansion ROM, size a power of two >= 4096; or */
  const char *rom_path;     /* a file to load it from; both NULL: no ROM */
};

extern const struct device_class vga_class;

/* Map A0000h-BFFFFh again, after the chipset had other plans for it (SMRAM, PAM). */
void vga_map_window(struct device *dev);

#endif
