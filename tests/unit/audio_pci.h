/* SPDX-License-Identifier: MIT */
/* A sound card on a PCI bus of its own, with 4 MB of RAM, between a clock that the test moves and a sink that
 * keeps. */
#ifndef TESTS_UNIT_AUDIO_PCI_H
#define TESTS_UNIT_AUDIO_PCI_H

#include "devices/pci.h"
#include "tests/unit/audio_bench.h"

#define CARD_RAM 0x400000u
#define CARD_DEVFN (3 << 3)

struct card {
  struct bench b;
  struct rig *r; /* its lines 0-3 are PIRQA-D */
  struct pci_bus *bus;
  uint32_t config_address;
  struct mem_block *ram;
  struct device *dev;
};

static inline void card_config(struct card *c, uint32_t offset, int size, uint32_t value) {
  pci_config_write(c->bus, CARD_DEVFN, offset, size, value);
}

/* Up to where the class is made: a bus, memory. */
static inline void card_begin(struct card *c) {
  bench_make(&c->b);
  c->r = c->b.r;
  c->ram = mem_block_new(c->r->set.mem, "ram", CARD_RAM);
  ck_assert_ptr_nonnull(c->ram);
  mem_map_ram(c->r->set.mem, 0, CARD_RAM, c->ram, 0);
  c->bus = pci_bus_new(c->r->set.io, c->r->set.mem, CARD_RAM, 0xfebfffff, &c->config_address);
  ck_assert_ptr_nonnull(c->bus);
  struct irq pirq[4];
  for (int i = 0; i < 4; i++)
    pirq[i] = (struct irq){rig_line_set, c->r, i};
  pci_bus_connect(c->bus, pirq);
}

/* Then: its BARs at 1000h and 1400h, decoded, bus master. */
static inline void card_enable(struct card *c) {
  card_config(c, 0x10, 4, 0x1000);
  card_config(c, 0x14, 4, 0x1400);
  card_config(c, 0x04, 2, 0x0005);
}

static inline void card_free(struct card *c) {
  device_free_all(&c->r->set);
  pci_bus_free(c->bus);
  bench_free(&c->b);
}

static inline uint32_t card_in(struct card *c, uint16_t port, int size) {
  return io_read(c->r->set.io, port, size);
}
static inline void card_out(struct card *c, uint16_t port, int size, uint32_t value) {
  io_write(c->r->set.io, port, size, value);
}

static inline int card_irq(const struct card *c) {
  return c->r->level[0] || c->r->level[1] || c->r->level[2] || c->r->level[3];
}

/* Let time pass until the line rises; the time it took, ns, or -1 after `most`. */
static inline int64_t card_wait(struct card *c, int64_t most) {
  int64_t begin = clock_now(c->r->set.clock);
  while (!card_irq(c)) {
    int64_t next = clock_deadline(c->r->set.clock), now = clock_now(c->r->set.clock);
    if (next - begin > most)
      return -1;
    rig_advance(c->r, next > now ? next - now : 0);
  }
  return clock_now(c->r->set.clock) - begin;
}

/* Noise in memory: nothing in it is 0. */
static inline void card_fill(struct card *c, uint32_t pa, uint32_t bytes) {
  for (uint32_t i = 0; i < bytes; i += 2) {
    uint16_t x = (uint16_t)rig_random(c->r) | 1;
    memcpy((uint8_t *)c->ram->host + pa + i, &x, 2);
  }
}

/* Where sound begins in what the sink got. */
static inline uint64_t card_heard(const struct card *c) {
  uint64_t i = 0;
  while (i < c->b.take.count && !c->b.take.frames[i].left && !c->b.take.frames[i].right)
    i++;
  return i;
}

/*
 * A hostile driver: random accesses of all sizes to `ports` from `base` on, whose memory is full of random
 * descriptors, with steps of time between.
 */
static inline void card_fuzz(struct card *c, uint16_t base, unsigned ports, uint16_t base2, unsigned ports2) {
  int n = RIG_FUZZ_OPS;
  card_fill(c, 0, CARD_RAM);
  for (int i = 0; i < n; i++) {
    uint64_t x = rig_random(c->r);
    bool second = ports2 && (x & 0x80);
    uint16_t port = (uint16_t)((second ? base2 : base) + (x >> 8) % (second ? ports2 : ports));
    int size = 1 << (x >> 24) % 3;
    uint32_t value = (uint32_t)(x >> 32);
    if (x & 0x10)
      value &= CARD_RAM - 1; /* addresses that are memory */
    switch (x & 7) {
    case 0:
    case 1:
    case 2: card_in(c, port, size); break;
    case 3:
    case 4:
    case 5: card_out(c, port, size, value); break;
    case 6: rig_advance(c->r, (int64_t)((x >> 32) % (x & 0x20 ? 20000 : 2000000))); break;
    default:
      if ((x >> 40) % 64 == 0) {
        card_config(c, (uint32_t)(x >> 48 & 0xfc), 4, value);
        card_enable(c);
      } else if ((x >> 40) % 64 == 1) {
        device_reset_all(&c->r->set);
        card_enable(c);
      }
    }
    c->b.take.count = 0;
  }
}

#endif
