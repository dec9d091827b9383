/* SPDX-License-Identifier: MIT */
/*
 * Intel 82441FX PCI and memory controller (PMC), 8086:1237 at 00:00.0. Creates PCI bus 0 and owns CF8h-CFFh.
 */
#ifndef DEVICES_I440FX_H
#define DEVICES_I440FX_H

#include "devices/pci.h"

struct i440fx_config {
  struct mem_block *ram; /* guest RAM: offset = physical address */
  uint64_t ram_size;     /* bytes below the PCI hole; 0 = ram->size */
  /* What PCI (ISA behind it) answers at C0000h-FFFFFh when a PAM segment is disabled: `rom` at offset
   * rom_offset covers rom_base .. FFFFFh; below rom_base nobody answers. */
  struct mem_block *rom;
  uint64_t rom_offset;
  uint32_t rom_base; /* E0000h or F0000h typically; multiple of 4 KB in C0000h-FFFFFh */
};

/* No ports, no lines. Create it before every other PCI device. */
extern const struct device_class i440fx_class;

struct pci_bus *i440fx_bus(struct device *dev);

#endif
