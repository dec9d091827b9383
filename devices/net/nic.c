/* SPDX-License-Identifier: MIT */
/* What network cards share: see nic.h. */
#include "devices/net/nic.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "devices/firmware.h"

#define ROM_MAX (512u << 10)

bool nic_broadcast(const uint8_t *mac) {
  static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  return !memcmp(mac, all, 6);
}

uint32_t nic_fcs(const uint8_t *data, size_t len) { return (uint32_t)crc32(0, data, (uInt)len); }

void nic_put_fcs(uint8_t *to, const uint8_t *data, size_t len) {
  uint32_t fcs = nic_fcs(data, len);
  memcpy(to, &fcs, NIC_FCS);
}

unsigned nic_hash_lsb(const uint8_t *mac) { return ~nic_fcs(mac, 6) >> 26; }

unsigned nic_hash_msb(const uint8_t *mac) {
  uint32_t crc = ~nic_fcs(mac, 6);
  unsigned hash = 0;
  for (int i = 0; i < 6; i++)
    hash = hash << 1 | (crc >> i & 1);
  return hash;
}

void nic_send(struct net_cable *cable, const uint8_t *frame, size_t len) {
  if (cable && len && len <= NET_FRAME_MAX)
    net_send(cable, NET_CARD, frame, len);
}

bool nic_link(const struct net_cable *cable) { return cable && net_link(cable); }

/*
 * A ROM may have been built for another card with the same chip; firmware runs it only if its PCI data
 * structure (PCI 2.1, 6.3.1.2) names the card that it is on. The sum of the image's bytes is kept by the byte
 * that is there for that.
 */
static void put_ids(const struct pci_func *f, uint8_t *rom, uint64_t len) {
  const unsigned checksum_at = 6; /* within the jump, where iPXE and its relatives keep it */
  unsigned at = len > 0x20 ? rom[0x18] | (unsigned)rom[0x19] << 8 : 0;
  if (!at || at + 8 > len || memcmp(rom + at, "PCIR", 4))
    return;
  for (unsigned i = 0; i < 4; i++) {
    rom[checksum_at] += (uint8_t)(rom[at + 4 + i] - f->config[i]);
    rom[at + 4 + i] = f->config[i];
  }
}

int nic_load_rom(struct device *dev, struct pci_func *f, const char *path) {
  uint8_t *data;
  uint64_t len;
  if (!path)
    return 0;
  int error = firmware_read(path, ROM_MAX, &data, &len);
  if (error)
    return error;
  put_ids(f, data, len);
  uint32_t size = MEM_PAGE;
  while (size < len)
    size *= 2;
  struct mem_block *block = len ? mem_block_new(dev->mem, "nic-rom", size) : NULL;
  if (block) {
    memcpy(block->host, data, len);
    pci_func_set_bar(f, PCI_BAR_ROM, &(struct pci_bar){.kind = PCI_BAR_MEM, .size = size, .block = block});
  }
  free(data);
  if (!len)
    error_report("%s is empty, not an expansion ROM", path);
  return block ? 0 : len ? -ENOMEM : -EINVAL;
}
