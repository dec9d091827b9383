/* SPDX-License-Identifier: MIT */
/*
 * Network cards, as the board makes them, and what they share: checksums, the hash of multicast filters, the
 * expansion ROM, the link.
 */
#ifndef DEVICES_NET_NIC_H
#define DEVICES_NET_NIC_H

#include "core/device.h"
#include "core/net.h"
#include "devices/pci.h"

struct nic_config {
  struct pci_bus *bus; /* PCI cards */
  int devfn;
  struct net_cable *cable; /* NULL: nothing is plugged in */
  uint8_t mac[6];
  const char *rom_path; /* expansion ROM of a PCI card; NULL: none */
};

struct rtl8139_config {
  struct nic_config nic;
  bool cplus; /* an RTL8139C+; else an RTL8139C */
};

/* config: struct nic_config. ISA: port[0] is the base of 32 ports, irq[0] the line. */
extern const struct device_class ne2k_isa_class, ne2k_pci_class, pcnet_class;
extern const struct device_class rtl8139_class; /* config: struct rtl8139_config */

/* --- between the cards --- */

#define NIC_MIN NET_FRAME_MIN
#define NIC_FCS 4u

static inline bool nic_multicast(const uint8_t *mac) { return mac[0] & 1; }
bool nic_broadcast(const uint8_t *mac);
/* The frame check sequence (IEEE 802.3, 3.2.8), to be sent least significant byte first. */
uint32_t nic_fcs(const uint8_t *data, size_t len);
void nic_put_fcs(uint8_t *to, const uint8_t *data, size_t len);
/* The upper six bits of the CRC register after an address, in the order of transmission (first bit highest),
 * and the other way round: multicast filters use the one or the other. */
unsigned nic_hash_msb(const uint8_t *mac);
unsigned nic_hash_lsb(const uint8_t *mac);
/* Send, if there is a cable; frames longer than a cable takes, and empty ones, are dropped. */
void nic_send(struct net_cable *cable, const uint8_t *frame, size_t len);
bool nic_link(const struct net_cable *cable);
/* Read an expansion ROM into a block for BAR PCI_BAR_ROM. 0 (also without a path) or -errno, reported. */
int nic_load_rom(struct device *dev, struct pci_func *f, const char *path);

#endif
