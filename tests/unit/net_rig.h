/* SPDX-License-Identifier: MIT */
/*
 * A network card on a PCI bus of its own, with 4 MB of RAM, and at the other end of its cable a peer that
 * keeps what it gets. The I/O BAR is at C000h.
 */
#ifndef TESTS_UNIT_NET_RIG_H
#define TESTS_UNIT_NET_RIG_H

#include "core/net.h"
#include "devices/net/nic.h"
#include "tests/unit/chip_rig.h"

#define NET_RAM 0x400000u
#define NET_DEVFN (3 << 3)
#define NET_BASE 0xc000
#define NET_KEPT 512

static const uint8_t net_mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

struct net_rig {
  struct rig *r; /* its lines 0-3 are PIRQA-D, or 0 an ISA card's */
  struct mem_block *ram;
  struct pci_bus *bus;
  uint32_t config_address;
  struct net_cable *cable;
  struct device *dev;
  unsigned got;
  size_t len[NET_KEPT];
  uint8_t frame[NET_KEPT][NET_FRAME_MAX];
};

static inline void net_rig_take(void *opaque, const uint8_t *frame, size_t len) {
  struct net_rig *n = opaque;
  n->len[n->got % NET_KEPT] = len;
  memcpy(n->frame[n->got % NET_KEPT], frame, len);
  n->got++;
}

static inline void net_rig_enable(struct net_rig *n) {
  pci_config_write(n->bus, NET_DEVFN, 0x10, 4, NET_BASE);
  pci_config_write(n->bus, NET_DEVFN, 0x04, 2, 0x0005);
}

static inline struct net_rig *net_rig_begin(void) {
  struct net_rig *n = calloc(1, sizeof *n);
  ck_assert_ptr_nonnull(n);
  n->r = rig_new();
  n->ram = mem_block_new(n->r->set.mem, "ram", NET_RAM);
  mem_map_ram(n->r->set.mem, 0, NET_RAM, n->ram, 0);
  n->bus = pci_bus_new(n->r->set.io, n->r->set.mem, NET_RAM, 0xfebfffff, &n->config_address);
  n->cable = net_cable_new(n->r->set.clock, "cable");
  ck_assert(n->ram && n->bus && n->cable);
  struct irq pirq[4];
  for (int i = 0; i < 4; i++)
    pirq[i] = (struct irq){rig_line_set, n->r, i};
  pci_bus_connect(n->bus, pirq);
  net_attach(n->cable, NET_HOST, &(struct net_end){.receive = net_rig_take, .opaque = n});
  return n;
}

static inline struct nic_config net_rig_config(struct net_rig *n) {
  struct nic_config config = {.bus = n->bus, .devfn = NET_DEVFN, .cable = n->cable};
  memcpy(config.mac, net_mac, 6);
  return config;
}

static inline void net_rig_add(struct net_rig *n, const struct device_class *cls, const void *config) {
  n->dev = rig_add(n->r, cls, &(struct device_args){.id = "nic", .port = {NET_BASE}, .config = config});
  device_reset_all(&n->r->set);
  if (cls != &ne2k_isa_class)
    net_rig_enable(n);
}

static inline void net_rig_free(struct net_rig *n) {
  device_free_all(&n->r->set);
  net_cable_free(n->cable);
  pci_bus_free(n->bus);
  rig_free(n->r);
  free(n);
}

static inline uint32_t nin(struct net_rig *n, uint16_t offset, int size) {
  return io_read(n->r->set.io, (uint16_t)(NET_BASE + offset), size);
}
static inline void nout(struct net_rig *n, uint16_t offset, int size, uint32_t value) {
  io_write(n->r->set.io, (uint16_t)(NET_BASE + offset), size, value);
}

static inline int net_irq(const struct net_rig *n) {
  return n->r->level[0] || n->r->level[1] || n->r->level[2] || n->r->level[3];
}

static inline void put32(struct net_rig *n, uint32_t pa, uint32_t value) {
  memcpy(n->ram->host + pa, &value, 4);
}
static inline uint32_t get32(struct net_rig *n, uint32_t pa) {
  uint32_t value;
  memcpy(&value, n->ram->host + pa, 4);
  return value;
}
static inline void put16(struct net_rig *n, uint32_t pa, unsigned value) {
  n->ram->host[pa] = (uint8_t)value;
  n->ram->host[pa + 1] = (uint8_t)(value >> 8);
}
static inline unsigned get16(struct net_rig *n, uint32_t pa) {
  return (unsigned)(n->ram->host[pa] | n->ram->host[pa + 1] << 8);
}

/* A frame to `to`, whose bytes can be told from those of frames with another seed. */
static inline void net_make(uint8_t *frame, size_t len, const uint8_t *to, unsigned seed) {
  static const uint8_t from[6] = {0x02, 0, 0, 0, 0, 0x01};
  for (size_t i = 0; i < len; i++)
    frame[i] = (uint8_t)(seed * 37 + i * 7 + (i >> 8));
  memcpy(frame, to, 6);
  memcpy(frame + 6, from, 6);
  frame[12] = 0x88;
  frame[13] = 0xb5;
}

/* The peer sends one, and it arrives. */
static inline void net_peer_sends(struct net_rig *n, const uint8_t *to, size_t len, unsigned seed) {
  uint8_t frame[NET_FRAME_MAX];
  net_make(frame, len, to, seed);
  net_send(n->cable, NET_HOST, frame, len);
  rig_advance(n->r, 1000);
}

/* The FCS that the chip puts behind a frame: that of an independent bitwise reckoning. */
static inline uint32_t net_crc(const uint8_t *p, size_t len) {
  uint32_t crc = 0xffffffff;
  for (size_t i = 0; i < len; i++)
    for (int bit = 0; bit < 8; bit++) {
      uint32_t mix = (crc ^ (uint32_t)(p[i] >> bit)) & 1;
      crc = crc >> 1 ^ (mix ? 0xedb88320u : 0);
    }
  return ~crc;
}

/* Noise in memory, for hostile drivers. */
static inline void net_fill(struct net_rig *n) {
  for (uint32_t at = 0; at < NET_RAM; at += 8) {
    uint64_t x = rig_random(n->r);
    memcpy(n->ram->host + at, &x, 8);
  }
}

/*
 * A hostile driver: random accesses of all sizes to `ports`, memory full of random descriptors that keep
 * changing, a peer that sends frames of all lengths, the cable pulled, resets, and `tame` (may be NULL),
 * which now and then sets the chip up so far that it works.
 */
static inline void net_fuzz(struct net_rig *n, unsigned ports, void (*tame)(struct net_rig *n)) {
  uint8_t frame[NET_FRAME_MAX];
  net_fill(n);
  for (int i = 0, ops = RIG_FUZZ_OPS; i < ops; i++) {
    uint64_t x = rig_random(n->r), y = rig_random(n->r);
    uint16_t port = (uint16_t)((x >> 8) % ports);
    int size = 1 << (x >> 24) % 3;
    uint32_t value = (uint32_t)(x >> 32);
    if (x & 0x10)
      value &= NET_RAM - 1;
    switch (x & 15) {
    case 0:
    case 1:
    case 2:
    case 3: nin(n, port, size); break;
    case 4:
    case 5:
    case 6:
    case 7:
    case 8: nout(n, port, size, value); break;
    case 9: rig_advance(n->r, (int64_t)(value % 2000000)); break;
    case 10:
    case 11: {
      size_t len = 1 + y % NET_FRAME_MAX;
      net_make(frame, len < 14 ? 14 : len, y & 0x100000 ? net_mac : (const uint8_t *)&x, (unsigned)y);
      net_send(n->cable, NET_HOST, frame, len < 14 ? 14 : len);
      break;
    }
    case 12:
    case 13: put32(n, value & (NET_RAM - 4), (uint32_t)y); break;
    default:
      if ((y & 63) == 0)
        device_reset_all(&n->r->set);
      else if ((y & 63) == 1)
        pci_config_write(n->bus, NET_DEVFN, (uint32_t)(y >> 8 & 0xfc), 4, value);
      else if ((y & 63) == 2)
        net_set_link(n->cable, y & 0x100);
      else if ((y & 63) < 16 && tame)
        tame(n);
      if ((y & 63) < 8)
        net_rig_enable(n);
    }
  }
  rig_check_fields(n->dev);
}

#endif
