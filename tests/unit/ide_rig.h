/* SPDX-License-Identifier: MIT */
/*
 * For tests of IDE drives: the rig with a 440FX and the PIIX3 IDE function, an image at the primary master,
 * an empty secondary master CD-ROM, bus master registers at C000h.
 */
#ifndef TESTS_UNIT_IDE_RIG_H
#define TESTS_UNIT_IDE_RIG_H

#include "devices/i440fx.h"
#include "devices/ide.h"
#include "tests/unit/rig.h"

#define BM 0xc000
#define PRD_TABLE 0x40000u

struct ide {
  struct rig *rig;
  struct device *dev;
  struct pci_bus *bus;
  struct block *block;
  struct audio *audio; /* the test's own, or NULL */
  char path[32];
};

/* With c->rig, c->block and c->audio set. */
static inline void ide_build(struct ide *c, bool cdrom) {
  struct device *host =
      device_new(&c->rig->set, &i440fx_class,
                 &(struct device_args){.id = "host", .config = &(struct i440fx_config){.ram = c->rig->ram}});
  c->bus = i440fx_bus(host);
  struct piix3_ide_config config = {.bus = c->bus, .audio = c->audio};
  config.drive[0] = (struct ide_drive_config){.present = true, .cdrom = cdrom, .block = c->block};
  config.drive[2] = (struct ide_drive_config){.present = true, .cdrom = true};
  c->dev = device_new(&c->rig->set, &piix3_ide_class,
                      &(struct device_args){.id = "ide",
                                            .port = {0x1f0, 0x3f6, 0x170, 0x376},
                                            .irq = {rig_line(c->rig, 14), rig_line(c->rig, 15)},
                                            .config = &config});
  ck_assert_ptr_nonnull(c->dev);
  device_reset_all(&c->rig->set);
  pci_config_write(c->bus, 9, 0x20, 4, BM);
  pci_config_write(c->bus, 9, 4, 2, 5);
}

static inline struct ide *ide_new(uint64_t size, unsigned flags, bool cdrom) {
  struct ide *c = calloc(1, sizeof *c);
  const char *error;
  c->rig = rig_new();
  if (size) {
    rig_file(c->path, size);
    ck_assert_int_eq(block_open(&c->block, c->path, flags, &error), 0);
  }
  ide_build(c, cdrom);
  return c;
}

static inline void ide_free(struct ide *c) {
  rig_free(c->rig);
  block_close(c->block);
  if (c->path[0])
    unlink(c->path);
  free(c);
}

static inline void ide_wait_irq(struct ide *c) {
  for (int i = 0; i < 1000 && !c->rig->level[14]; i++)
    rig_run(c->rig, 10000);
  ck_assert_int_eq(c->rig->level[14], 1);
}

/* Count and the 24 low bits of an address, primary channel. */
static inline void ide_address(struct ide *c, uint8_t feature, uint32_t lba, uint8_t count) {
  outb(c->rig, 0x1f1, feature);
  outb(c->rig, 0x1f2, count);
  outb(c->rig, 0x1f3, lba);
  outb(c->rig, 0x1f4, lba >> 8);
  outb(c->rig, 0x1f5, lba >> 16);
}

static inline void ide_command(struct ide *c, uint8_t device, uint8_t command) {
  outb(c->rig, 0x1f6, device);
  outb(c->rig, 0x1f7, command);
}

static inline void ide_read_data(struct ide *c, void *buf, uint32_t len) {
  ck_assert_uint_eq(inb(c->rig, 0x1f7) & 0x88, 0x08);
  for (uint32_t i = 0; i < len; i += 2) {
    uint32_t word = in(c->rig, 0x1f0, 2);
    memcpy((uint8_t *)buf + i, &word, len - i < 2 ? 1 : 2);
  }
}

static inline void ide_write_data(struct ide *c, const void *buf, uint32_t len) {
  ck_assert_uint_eq(inb(c->rig, 0x1f7) & 0x88, 0x08);
  for (uint32_t i = 0; i < len; i += 4) {
    uint32_t word;
    memcpy(&word, (const uint8_t *)buf + i, 4);
    out(c->rig, 0x1f0, 4, word);
  }
}

static inline void ide_expect_done(struct ide *c) {
  ide_wait_irq(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x50);
}

static inline void ide_expect_error(struct ide *c, uint8_t error) {
  ide_wait_irq(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x51);
  ck_assert_uint_eq(inb(c->rig, 0x1f1), error);
}

static inline void prd(struct ide *c, uint32_t n, uint32_t address, uint32_t count, bool last) {
  mem_write(c->rig->set.mem, PRD_TABLE + n * 8, 4, address);
  mem_write(c->rig->set.mem, PRD_TABLE + n * 8 + 4, 4, (count & 0xffff) | (last ? 0x80000000u : 0));
}

static inline void bm_start(struct ide *c, uint8_t command) {
  outb(c->rig, BM, 0);
  outb(c->rig, BM + 2, 6);
  out(c->rig, BM + 4, 4, PRD_TABLE);
  outb(c->rig, BM, command);
}

/* Register noise with a bias towards commands that do something. */
static inline void ide_noise(struct ide *c, uint32_t seed) {
  static const uint8_t commands[] = {0x20, 0x24, 0x25, 0x30, 0x34, 0x35, 0xc4, 0xc5, 0xc8, 0xca, 0xa0, 0xa0,
                                     0xa0, 0xa0, 0xa0, 0xa1, 0xec, 0xef, 0xe4, 0xe8, 0x90, 0x08, 0x91, 0xb0};
  static const uint8_t packets[] = {0x00, 0x03, 0x12, 0x28, 0xa8, 0xbe, 0xb9, 0x43, 0x5a,
                                    0x1a, 0x55, 0x15, 0x46, 0x4a, 0x51, 0x52, 0x1b, 0x1e,
                                    0x25, 0x42, 0x44, 0xad, 0xbd, 0x08, 0x2b};
  for (int i = 0, n = rig_fuzz_ops(); i < n; i++) {
    uint32_t r = rig_random(&seed), value = rig_random(&seed);
    uint16_t base = r & 0x10 ? 0x1f0 : 0x170;
    switch (r % 16) {
    case 0: outb(c->rig, (uint16_t)(base + 7), commands[value % sizeof commands]); break;
    case 1: outb(c->rig, (uint16_t)(base + 7), r % 7 ? 0xa0 : value); break;
    case 2: /* a packet */
      outb(c->rig, (uint16_t)(base + 1), value & 1);
      outb(c->rig, (uint16_t)(base + 5), value >> 8);
      outb(c->rig, (uint16_t)(base + 7), 0xa0);
      out(c->rig, base, 4, packets[(value >> 16) % sizeof packets] | (rig_random(&seed) & 0xff00));
      out(c->rig, base, 4, value & 2 ? rig_random(&seed) & 0x0f0f0f0f : 0);
      out(c->rig, base, 4, value & 4 ? rig_random(&seed) & 0x0f0f0f0f : 0xff00ff);
      break;
    case 3: outb(c->rig, (uint16_t)(base + 0x206), value % 8 ? 0 : value >> 8); break;
    case 4: outb(c->rig, (uint16_t)(base + 6), value & 0x10 ? 0xa0 : 0xe0 | (value >> 8 & 0x1f)); break;
    case 5: rig_run(c->rig, value % 200000); break;
    case 6:
      for (uint32_t n = value % 600; n; n--)
        in(c->rig, base, 1 << (value >> 16) % 3);
      break;
    case 7:
      for (uint32_t n = value % 200; n; n--)
        out(c->rig, base, 1 << (value >> 16) % 3, rig_random(&seed));
      break;
    case 8: outb(c->rig, (uint16_t)(BM + (r & 0x20 ? 8 : 0)), value & 9); break;
    case 9: out(c->rig, (uint16_t)(BM + value % 16), 1 << (value >> 8) % 3, value >> 4 & 0x3fffff); break;
    case 10: prd(c, value % 4, value >> 8 & 0x7fffff, rig_random(&seed), value & 1); break;
    case 11: in(c->rig, (uint16_t)(base + value % 8), 1 << (value >> 8) % 3); break;
    case 12:
      if (value % 500 == 0)
        ide_change_media(c->dev, value & 0x10000 ? 0 : 2, value & 0x20000 ? c->block : NULL, true);
      break;
    default: outb(c->rig, (uint16_t)(base + 1 + value % 6), value >> (value & 0x100 ? 24 : 31)); break;
    }
  }
}

#endif
