/* SPDX-License-Identifier: MIT */
/*
 * NE2000 cards: the DP8390 on the ISA bus (Novell's card: 32 ports and an interrupt line, set by jumpers),
 * and the RTL8029AS on PCI (10EC:8029, its datasheet's sections 5 and 6), which is the same behind one I/O
 * BAR.
 *
 * Not modelled: the boot ROM of the ISA card; the RTL8029's EEPROM and full duplex registers.
 */
#include <string.h>

#include "devices/net/dp8390.h"

struct ne2k_isa {
  struct device dev;
  struct dp8390 chip;
};

struct ne2k_pci {
  struct device dev;
  struct pci_func pci;
  struct dp8390 chip;
};

static uint32_t port_read(void *opaque, uint32_t offset, int size) {
  return ne2000_read(opaque, offset, size);
}
static void port_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  ne2000_write(opaque, offset, size, value);
}

static const struct io_ops isa_ops = {port_read, port_write, 2};
static const struct io_ops pci_ops = {port_read, port_write, 4};

static void unplug(struct dp8390 *d) {
  if (d->cable)
    net_attach(d->cable, NET_CARD, NULL);
}

static void power_on(struct dp8390 *d) {
  static const uint8_t zero[8];
  dp8390_reset(d);
  memcpy(d->par, zero, 6);
  memcpy(d->mar, zero, 8);
  memset(d->ram, 0, sizeof d->ram);
  memset(d->fifo, 0, sizeof d->fifo);
  d->pstart = d->pstop = d->bnry = d->curr = d->tpsr = d->fifo_at = 0;
  d->tbcr = d->rsar = d->rbcr = d->crda = d->clda = 0;
  d->dcr = d->tcr = d->rcr = 0;
}

/* --- ISA --- */

static void isa_irq(void *opaque, int level) { irq_set(&((struct ne2k_isa *)opaque)->dev.irq[0], level); }

static int isa_init(struct device *dev, const struct device_args *args) {
  struct ne2k_isa *s = DEVICE(struct ne2k_isa, dev);
  dp8390_init(&s->chip, args->config, false, isa_irq, s);
  int error = io_map(dev->io, args->port[0], NE2000_PORTS, &isa_ops, &s->chip, "ne2k_isa");
  if (error)
    unplug(&s->chip);
  return error;
}

static void isa_reset(struct device *dev) { power_on(&DEVICE(struct ne2k_isa, dev)->chip); }
static void isa_destroy(struct device *dev) { unplug(&DEVICE(struct ne2k_isa, dev)->chip); }

static const struct field isa_fields[] = {DP8390_FIELDS(struct ne2k_isa, chip), FIELDS_END};

const struct device_class ne2k_isa_class = {
    .name = "NE2000",
    .size = sizeof(struct ne2k_isa),
    .init = isa_init,
    .reset = isa_reset,
    .destroy = isa_destroy,
    .fields = isa_fields,
};

/* --- PCI --- */

static void pci_irq(void *opaque, int level) { pci_set_intx(&((struct ne2k_pci *)opaque)->pci, level); }

static int pci_card_init(struct device *dev, const struct device_args *args) {
  struct ne2k_pci *s = DEVICE(struct ne2k_pci, dev);
  const struct nic_config *config = args->config;
  pci_func_init(&s->pci, "ne2k_pci", 0x10ec, 0x8029, 0x020000, 0, 1);
  pci_set16(&s->pci, 6, 0x0200);     /* medium DEVSEL# */
  s->pci.wmask[4] &= (uint8_t)~0x06; /* neither memory space nor bus master */
  pci_func_set_bar(
      &s->pci, 0,
      &(struct pci_bar){.kind = PCI_BAR_IO, .size = NE2000_PORTS, .io_ops = &pci_ops, .opaque = &s->chip});
  if (config->rom_path)
    s->pci.wmask[4] |= 0x02;
  int error = nic_load_rom(dev, &s->pci, config->rom_path);
  if (!error)
    error = pci_register(config->bus, &s->pci, config->devfn);
  if (!error)
    dp8390_init(&s->chip, config, true, pci_irq, s);
  return error;
}

static void pci_card_reset(struct device *dev) {
  struct ne2k_pci *s = DEVICE(struct ne2k_pci, dev);
  pci_func_reset(&s->pci);
  power_on(&s->chip);
}

static void pci_card_destroy(struct device *dev) { unplug(&DEVICE(struct ne2k_pci, dev)->chip); }

static const struct field pci_fields[] = {
    FIELD_BUFFER(struct ne2k_pci, pci.config),
    DP8390_FIELDS(struct ne2k_pci, chip),
    FIELDS_END,
};

const struct device_class ne2k_pci_class = {
    .name = "RTL8029",
    .size = sizeof(struct ne2k_pci),
    .init = pci_card_init,
    .reset = pci_card_reset,
    .destroy = pci_card_destroy,
    .fields = pci_fields,
};
