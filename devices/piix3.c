/* SPDX-License-Identifier: MIT */
/*
 * Intel 82371SB (PIIX3) PCI-to-ISA bridge, datasheet 290550: configuration registers of function 00:01.0,
 * steering of PIRQA#-PIRQD# to ISA interrupts (PIRQRC[A:D], 60h-63h) and the reset control register (CF9h).
 *
 * Not modelled: ISA bus timing, SMI, serial IRQ, motherboard interrupt and DMA steering (stored only). The
 * edge/level registers 4D0h-4D1h belong to the interrupt controller's model.
 */
#include "devices/piix3.h"

#include <string.h>

#define PIRQRC 0x60
#define RC_SRST 0x02
#define RC_RCPU 0x04

struct piix3 {
  struct device dev;
  struct pci_func func;
  struct piix3_config config;
  uint8_t pirq[4]; /* levels */
  uint8_t isa[16]; /* levels that we drive */
  uint8_t rc;
};

static int route(const struct piix3 *s, int n) {
  uint8_t value = s->func.config[PIRQRC + n];
  const uint16_t reserved = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 13;
  return value & 0x80 || reserved >> (value & 15) & 1 ? -1 : value & 15;
}

int piix3_pirq_route(const struct device *dev, int n) {
  DGM_ASSERT(dev->cls == &piix3_class && n >= 0 && n < 4);
  return route((const struct piix3 *)dev, n);
}

static void update_lines(struct piix3 *s) {
  uint8_t level[16] = {0};
  for (int n = 0; n < 4; n++)
    if (route(s, n) >= 0)
      level[route(s, n)] |= s->pirq[n];
  for (int i = 0; i < 16; i++)
    if (level[i] != s->isa[i]) {
      s->isa[i] = level[i];
      irq_set(&s->dev.irq[i], level[i]);
    }
}

static void set_pirq(void *opaque, int n, int level) {
  struct piix3 *s = opaque;
  s->pirq[n & 3] = level != 0;
  update_lines(s);
}

static void piix3_config_written(struct pci_func *f, uint32_t offset, int size) {
  if (offset < PIRQRC + 4 && offset + (uint32_t)size > PIRQRC)
    update_lines(f->opaque);
}

static uint32_t rc_read(void *opaque, uint32_t offset, int size) {
  (void)offset, (void)size;
  return ((struct piix3 *)opaque)->rc;
}

/* RCPU's transition from 0 to 1 resets; SRST chooses hard or soft. */
static void rc_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct piix3 *s = opaque;
  (void)offset, (void)size;
  bool fire = value & RC_RCPU && !(s->rc & RC_RCPU);
  s->rc = value & (RC_SRST | RC_RCPU);
  if (fire && s->config.reset)
    s->config.reset(s->config.opaque, value & RC_SRST);
}

static const struct io_ops rc_ops = {rc_read, rc_write, 1};

static int piix3_init(struct device *dev, const struct device_args *args) {
  struct piix3 *s = DEVICE(struct piix3, dev);
  s->config = *(const struct piix3_config *)args->config;
  pci_func_init(&s->func, "PIIX3", 0x8086, 0x7000, 0x060100, 0x00, 0);
  s->func.opaque = s;
  s->func.config_written = piix3_config_written;
  s->func.config[0x0e] = 0x80;
  s->func.wmask[0x04] = 0x08; /* special cycles; I/O, memory and master are hard-wired */
  s->func.wmask[0x05] = 0x01;
  s->func.wmask[0x0c] = s->func.wmask[0x0d] = 0;
  s->func.w1c[0x07] = 0x78;
  static const struct {
    uint8_t offset, mask;
  } writable[] = {
      {0x4c, 0x7f}, {0x4e, 0xff}, {0x4f, 0x01}, {0x60, 0x8f}, {0x61, 0x8f}, {0x62, 0x8f},
      {0x63, 0x8f}, {0x64, 0xff}, {0x69, 0xfe}, {0x6a, 0xff}, {0x70, 0xef}, {0x71, 0xef},
      {0x76, 0x8f}, {0x77, 0x8f}, {0x78, 0xff}, {0x79, 0xff}, {0x80, 0x7f}, {0x82, 0x0f},
      {0xa0, 0x1f}, {0xa2, 0xff}, {0xa3, 0x01}, {0xa4, 0xff}, {0xa5, 0xff}, {0xa6, 0xff},
      {0xa7, 0xff}, {0xa8, 0xff}, {0xaa, 0xff}, {0xab, 0x01}, {0xac, 0xff}, {0xae, 0xff},
  };
  for (size_t i = 0; i < sizeof writable / sizeof writable[0]; i++)
    s->func.wmask[writable[i].offset] = writable[i].mask;
  int error = pci_register(s->config.bus, &s->func, 1 << 3);
  if (error)
    return error;
  pci_bus_claim_cf9(s->config.bus, &rc_ops, s);
  struct irq lines[4];
  for (int n = 0; n < 4; n++)
    lines[n] = (struct irq){set_pirq, s, n};
  pci_bus_connect(s->config.bus, lines);
  return 0;
}

static void piix3_reset(struct device *dev) {
  struct piix3 *s = DEVICE(struct piix3, dev);
  static const struct {
    uint8_t offset, value;
  } defaults[] = {
      {0x04, 0x07}, {0x05, 0x00}, {0x06, 0x00}, {0x07, 0x02}, {0x4c, 0x4d}, {0x4e, 0x03},
      {0x60, 0x80}, {0x61, 0x80}, {0x62, 0x80}, {0x63, 0x80}, {0x69, 0x02}, {0x70, 0x80},
      {0x71, 0x80}, {0x76, 0x0c}, {0x77, 0x0c}, {0x78, 0x02}, {0xa0, 0x08}, {0xa8, 0x0f},
  };
  pci_func_reset(&s->func);
  memset(s->func.config + 0x40, 0, 0xc0);
  for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
    s->func.config[defaults[i].offset] = defaults[i].value;
  s->rc = 0;
  update_lines(s);
}

static const struct field piix3_fields[] = {
    {FIELD_BYTES, "config", offsetof(struct piix3, func.config), 256},
    FIELD_ARRAY(U8, struct piix3, pirq),
    FIELD_ARRAY(U8, struct piix3, isa),
    FIELD(U8, struct piix3, rc),
    FIELDS_END,
};

const struct device_class piix3_class = {
    .name = "PIIX3",
    .size = sizeof(struct piix3),
    .init = piix3_init,
    .reset = piix3_reset,
    .fields = piix3_fields,
};
