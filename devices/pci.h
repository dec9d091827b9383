/* SPDX-License-Identifier: MIT */
/*
 * PCI 2.1: configuration mechanism #1 (ports CF8h/CFCh), buses, functions, base address registers and INTx
 * routing.
 */
#ifndef DEVICES_PCI_H
#define DEVICES_PCI_H

#include "core/device.h"

struct pci_bus;

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
};

struct pci_func {
  const char *name;
  uint8_t devfn;
  uint8_t config[256];
  uint8_t wmask[256]; /* bits that configuration writes may change */
  uint8_t w1c[256]; /* bits cleared by writing one */
  struct pci_bar bar[6];
  struct pci_bar rom; /* expansion ROM BAR (kind MEM, block set), if any */
  struct pci_bus *bus;
  /* Called after a configuration write changed bytes offset .. offset + size - 1; may be NULL. */
  void (*config_written)(struct pci_func *f, uint32_t offset, int size);
  void *opaque;
  int intx_level;
};

/* Fill the standard header: IDs, class (24 bits: base, sub, interface), header type 0, and the write masks. */
void pci_func_init(struct pci_func *f, const char *name, uint16_t vendor, uint16_t device, uint32_t class_code,
                   uint8_t revision, uint8_t int_pin /* 0 none, 1 = INTA */);
void pci_func_set_bar(struct pci_func *f, int n, const struct pci_bar *bar);
/* Put the function on the bus at devfn = slot << 3 | function. -EBUSY. */
int pci_register(struct pci_bus *bus, struct pci_func *f, int devfn);
void pci_set_intx(struct pci_func *f, int level);
/* Back to power-on: BARs unmapped, command register 0. */
void pci_func_reset(struct pci_func *f);
bool pci_bus_master(const struct pci_func *f);

#endif
