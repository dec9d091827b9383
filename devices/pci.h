/* SPDX-License-Identifier: MIT */
/*
 * PCI 2.1: configuration mechanism #1 (ports CF8h/CFCh), buses, functions, base address registers and INTx
 * routing.
 */
#ifndef DEVICES_PCI_H
#define DEVICES_PCI_H

#include <stdio.h>

#include "core/device.h"

struct pci_bus;

#define PCI_BAR_ROM 6 /* pci_func_set_bar: the expansion ROM */

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM, PCI_BAR_MEM_PREFETCH };

struct pci_bar {
  enum pci_bar_kind kind;
  uint32_t size; /* power of two */
  uint32_t addr; /* where it is mapped now; valid if mapped */
  bool mapped;
  /* One of: */
  const struct io_ops *io_ops;
  const struct mmio_ops *mmio_ops;
  struct mem_block *block; /* RAM-like BAR (VRAM) */
  void *opaque;
  /* With mmio_ops: told that the BAR was mapped or unmapped, so that its owner can lay memory over a part. */
  void (*moved)(void *opaque);
};

struct pci_func {
  const char *name;
  uint8_t devfn;
  uint8_t config[256];
  uint8_t wmask[256]; /* bits that configuration writes may change */
  uint8_t w1c[256];   /* bits cleared by writing one */
  struct pci_bar bar[6];
  struct pci_bar rom; /* expansion ROM BAR (kind MEM, block set), if any */
  struct pci_bus *bus;
  /* Called after a configuration write changed bytes offset .. offset + size - 1; may be NULL. */
  void (*config_written)(struct pci_func *f, uint32_t offset, int size);
  void *opaque;
  int intx_level;
};

/* Fill the standard header: IDs, class (24 bits: base, sub, interface), header type 0, and the write masks.
 */
void pci_func_init(struct pci_func *f, const char *name, uint16_t vendor, uint16_t device,
                   uint32_t class_code, uint8_t revision, uint8_t int_pin /* 0 none, 1 = INTA */);
void pci_func_set_bar(struct pci_func *f, int n, const struct pci_bar *bar);
/* Put the function on the bus at devfn = slot << 3 | function. -EBUSY. */
int pci_register(struct pci_bus *bus, struct pci_func *f, int devfn);
void pci_set_intx(struct pci_func *f, int level);
/* Back to power-on: BARs unmapped, command register 0. */
void pci_func_reset(struct pci_func *f);
bool pci_bus_master(const struct pci_func *f);
bool pci_io_enabled(const struct pci_func *f);  /* command register bit 0 */
bool pci_mem_enabled(const struct pci_func *f); /* command register bit 1 */

/* Register access for chips that own a function: little-endian, no masks, no callbacks. */
uint16_t pci_get16(const struct pci_func *f, unsigned offset);
uint32_t pci_get32(const struct pci_func *f, unsigned offset);
void pci_set16(struct pci_func *f, unsigned offset, uint16_t value);
void pci_set32(struct pci_func *f, unsigned offset, uint32_t value);

/*
 * Bus 0. Made by the host bridge, who owns the ports CF8h-CFFh. Memory BARs are decoded only inside
 * [mem_first, mem_last] (between the top of RAM and the fixed devices below 4 GiB), so that no BAR value
 * can cover RAM or firmware; I/O BARs anywhere but at 0. CONFIG_ADDRESS is part of the host bridge's state.
 */
struct pci_bus *pci_bus_new(struct io_bus *io, struct mem *mem, uint32_t mem_first, uint32_t mem_last,
                            uint32_t *config_address);
void pci_bus_free(struct pci_bus *bus); /* the functions belong to their devices */
/* Where INTA-INTD of all slots end: PIRQA-PIRQD, swizzled as (slot - 1 + pin - 1) mod 4. */
void pci_bus_connect(struct pci_bus *bus, const struct irq pirq[4]);
/* Byte accesses to CF9h are not part of mechanism #1: the south bridge's reset control register lives there.
 */
void pci_bus_claim_cf9(struct pci_bus *bus, const struct io_ops *ops, void *opaque);
struct pci_func *pci_find(const struct pci_bus *bus, int devfn); /* NULL: nobody there */
/* One configuration access as the guest does it: offset 0-FFh, size 1, 2 or 4, not crossing a dword. */
uint32_t pci_config_read(struct pci_bus *bus, int devfn, uint32_t offset, int size);
void pci_config_write(struct pci_bus *bus, int devfn, uint32_t offset, int size, uint32_t value);
/* After the functions' fields were loaded: map the BARs anew, tell each function (offset 0, size 256). */
void pci_bus_restore(struct pci_bus *bus);
void pci_bus_info(const struct pci_bus *bus, FILE *out); /* as QEMU's "info pci" */

#endif
