/* SPDX-License-Identifier: MIT */
/*
 * Two cascaded 8259A interrupt controllers (Intel 8259A datasheet, order number 231468) as integrated in the
 * PIIX3, with its edge/level control registers (82371SB, section 2.5).
 *
 * Modelled: ICW1-4, OCW1-3, fully nested, special fully nested, rotation (automatic, specific), special mask,
 * polling, automatic end of interrupt, spurious IRQ7 and IRQ15. IRQ0 and IRQ7 stay latched until they are
 * acknowledged even if their line falls (the chip would forget them), so that short pulses are never lost.
 * Not modelled: 8080 mode, buffered mode, level triggering by ICW1 (the ELCR decides, as in the PIIX3).
 */
#include "devices/pic.h"

#include <string.h>

#define PULSED 0x0081u /* inputs driven by pulses: timer, printer acknowledge */

struct pic_chip {
  uint8_t irr, imr, isr;
  uint8_t line;            /* levels of the inputs */
  uint8_t elcr, elcr_mask; /* 1 = level-triggered; bits that can be set */
  uint8_t lowest;          /* input of lowest priority */
  uint8_t base;            /* ICW2 */
  uint8_t init_state;      /* ICW that the data port expects next; 0 = none */
  bool need_icw4, single, auto_eoi, rotate_aeoi, sfnm, special_mask;
  bool read_isr, poll;
};

struct pic {
  struct device dev;
  struct pic_chip chip[2];
  bool intr;
};

#define CASCADE 2

/* Highest-priority set bit of `bits` as distance from the top (0..7), 8 if none. */
static unsigned rank(const struct pic_chip *c, unsigned bits) {
  if (!bits)
    return 8;
  unsigned top = (c->lowest + 1) & 7;
  unsigned rotated = (bits >> top | bits << (8 - top)) & 0xff;
  return (unsigned)__builtin_ctz(rotated);
}

static unsigned rank_to_input(const struct pic_chip *c, unsigned r) { return (r + c->lowest + 1) & 7; }

/* The input that would be acknowledged now, or -1. */
static int chip_request(const struct pic *p, const struct pic_chip *c) {
  unsigned wanted = rank(c, c->irr & ~c->imr);
  if (wanted == 8)
    return -1;
  unsigned busy = c->isr;
  if (c->special_mask)
    busy &= ~c->imr;
  if (c->sfnm && c == &p->chip[0])
    busy &= ~(1u << CASCADE);
  return wanted < rank(c, busy) ? (int)rank_to_input(c, wanted) : -1;
}

static void pic_update(struct pic *p) {
  struct pic_chip *m = &p->chip[0];
  if (chip_request(p, &p->chip[1]) >= 0 && !m->single)
    m->irr |= 1 << CASCADE;
  else
    m->irr &= ~(1 << CASCADE);
  bool intr = chip_request(p, m) >= 0;
  if (intr != p->intr) {
    p->intr = intr;
    irq_set(&p->dev.irq[0], intr);
  }
}

void pic_set_irq(void *pic, int n, int level) {
  struct pic *p = pic;
  DGM_ASSERT(n >= 0 && n < 16);
  if (n == CASCADE)
    return;
  struct pic_chip *c = &p->chip[n >> 3];
  uint8_t bit = (uint8_t)(1u << (n & 7));
  if (!!(c->line & bit) == !!level)
    return;
  c->line ^= bit;
  if (level)
    c->irr |= bit;
  else if ((c->elcr & bit) || !(PULSED >> n & 1))
    c->irr &= ~bit; /* an edge whose line falls before the acknowledge is forgotten (8259A, "IR triggering") */
  else
    return;
  pic_update(p);
}

static void chip_ack(struct pic_chip *c, unsigned n) {
  uint8_t bit = (uint8_t)(1u << n);
  if (!(c->elcr & bit))
    c->irr &= ~bit;
  if (!c->auto_eoi)
    c->isr |= bit;
  else if (c->rotate_aeoi)
    c->lowest = (uint8_t)n;
}

int pic_ack(void *pic) {
  struct pic *p = pic;
  struct pic_chip *m = &p->chip[0], *s = &p->chip[1];
  int vector;
  int n = chip_request(p, m);
  if (n == CASCADE) {
    int k = chip_request(p, s);
    chip_ack(m, CASCADE);
    if (k >= 0)
      chip_ack(s, (unsigned)k);
    vector = s->base | (k >= 0 ? k : 7);
  } else if (n >= 0) {
    chip_ack(m, (unsigned)n);
    vector = m->base | n;
  } else {
    vector = m->base | 7;
  }
  pic_update(p);
  return vector;
}

bool pic_irq0_waits(void *pic) {
  const struct pic_chip *c = &((const struct pic *)pic)->chip[0];
  return c->irr & ~c->imr & 1;
}

int pic_intr(const struct device *dev) { return DEVICE(const struct pic, dev)->intr; }

static void write_icw1(struct pic_chip *c, uint8_t value) {
  c->irr &= c->elcr;
  c->imr = 0;
  c->isr = 0;
  c->lowest = 7;
  c->special_mask = c->read_isr = c->poll = false;
  c->auto_eoi = c->rotate_aeoi = c->sfnm = false;
  c->need_icw4 = value & 1;
  c->single = value & 2;
  c->init_state = 2;
}

static void end_of_interrupt(struct pic_chip *c, unsigned n, bool rotate) {
  c->isr &= ~(1u << n);
  if (rotate)
    c->lowest = (uint8_t)n;
}

static void write_ocw2(struct pic_chip *c, uint8_t value) {
  unsigned r;
  switch (value >> 5) {
  case 0: c->rotate_aeoi = false; break;
  case 4: c->rotate_aeoi = true; break;
  case 1: /* non-specific EOI; in special mask mode masked levels keep their bit */
  case 5:
    r = rank(c, c->special_mask ? c->isr & ~c->imr : c->isr);
    if (r < 8)
      end_of_interrupt(c, rank_to_input(c, r), value & 0x80);
    break;
  case 3:
  case 7: end_of_interrupt(c, value & 7, value & 0x80); break;
  case 6: c->lowest = value & 7; break;
  default: break; /* 2: no operation */
  }
}

static void write_ocw3(struct pic_chip *c, uint8_t value) {
  c->poll = value & 4;
  if (value & 2)
    c->read_isr = value & 1;
  if (value & 0x40)
    c->special_mask = value & 0x20;
}

static void write_data(struct pic_chip *c, uint8_t value) {
  switch (c->init_state) {
  case 2:
    c->base = value & 0xf8;
    c->init_state = !c->single ? 3 : c->need_icw4 ? 4 : 0;
    break;
  case 3: /* ICW3 states the cascade wiring, which is fixed */ c->init_state = c->need_icw4 ? 4 : 0; break;
  case 4:
    c->sfnm = value & 0x10;
    c->auto_eoi = value & 2;
    c->init_state = 0;
    break;
  default: c->imr = value; break;
  }
}

static void chip_write(struct pic *p, struct pic_chip *c, uint32_t offset, uint32_t value) {
  if (offset & 1)
    write_data(c, (uint8_t)value);
  else if (value & 0x10)
    write_icw1(c, (uint8_t)value);
  else if (value & 8)
    write_ocw3(c, (uint8_t)value);
  else
    write_ocw2(c, (uint8_t)value);
  pic_update(p);
}

static uint32_t chip_read(struct pic *p, struct pic_chip *c, uint32_t offset) {
  if (c->poll) {
    c->poll = false;
    int n = chip_request(p, c);
    if (n < 0)
      return 0;
    chip_ack(c, (unsigned)n);
    pic_update(p);
    return 0x80 | (uint32_t)n;
  }
  if (offset & 1)
    return c->imr;
  return c->read_isr ? c->isr : c->irr;
}

static uint32_t master_read(void *opaque, uint32_t offset, int size) {
  struct pic *p = opaque;
  (void)size;
  return chip_read(p, &p->chip[0], offset);
}

static void master_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct pic *p = opaque;
  (void)size;
  chip_write(p, &p->chip[0], offset, value);
}

static uint32_t slave_read(void *opaque, uint32_t offset, int size) {
  struct pic *p = opaque;
  (void)size;
  return chip_read(p, &p->chip[1], offset);
}

static void slave_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct pic *p = opaque;
  (void)size;
  chip_write(p, &p->chip[1], offset, value);
}

static uint32_t elcr_read(void *opaque, uint32_t offset, int size) {
  struct pic *p = opaque;
  (void)size;
  return p->chip[offset & 1].elcr;
}

static void elcr_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct pic *p = opaque;
  struct pic_chip *c = &p->chip[offset & 1];
  (void)size;
  c->elcr = value & c->elcr_mask;
  c->irr = (c->irr & ~c->elcr) | (c->line & c->elcr);
  pic_update(p);
}

static const struct io_ops master_ops = {master_read, master_write, 1};
static const struct io_ops slave_ops = {slave_read, slave_write, 1};
static const struct io_ops elcr_ops = {elcr_read, elcr_write, 1};

void pic_info(const struct device *dev, FILE *out) {
  const struct pic *p = DEVICE(const struct pic, dev);
  for (int i = 0; i < 2; i++) {
    const struct pic_chip *c = &p->chip[i];
    fprintf(out, "pic%d: irr=%02x imr=%02x isr=%02x hprio=%d irq_base=%02x rr_sel=%d elcr=%02x fnm=%d\n", i,
            c->irr, c->imr, c->isr, (c->lowest + 1) & 7, c->base, c->read_isr, c->elcr, c->sfnm);
  }
}

static void pic_reset(struct device *dev) {
  struct pic *p = DEVICE(struct pic, dev);
  for (int i = 0; i < 2; i++) {
    struct pic_chip *c = &p->chip[i];
    uint8_t line = c->line;
    memset(c, 0, sizeof(*c));
    c->line = line;
    c->elcr_mask = i ? 0xde : 0xf8;
    c->lowest = 7;
  }
  pic_update(p);
}

static int pic_init(struct device *dev, const struct device_args *args) {
  int err = io_map(dev->io, args->port[0], 2, &master_ops, dev, "pic-master");
  if (!err)
    err = io_map(dev->io, args->port[1], 2, &slave_ops, dev, "pic-slave");
  if (!err)
    err = io_map(dev->io, args->port[2], 2, &elcr_ops, dev, "pic-elcr");
  if (!err)
    pic_reset(dev);
  return err;
}

#define CHIP_FIELD(i, kind, member)                                                                          \
  { FIELD_##kind, "chip" #i "." #member, offsetof(struct pic, chip[i].member), 1 }
#define CHIP_FIELDS(i)                                                                                       \
  CHIP_FIELD(i, U8, irr), CHIP_FIELD(i, U8, imr), CHIP_FIELD(i, U8, isr), CHIP_FIELD(i, U8, line),           \
      CHIP_FIELD(i, U8, elcr), CHIP_FIELD(i, U8, lowest), CHIP_FIELD(i, U8, base),                           \
      CHIP_FIELD(i, U8, init_state), CHIP_FIELD(i, BOOL, need_icw4), CHIP_FIELD(i, BOOL, single),            \
      CHIP_FIELD(i, BOOL, auto_eoi), CHIP_FIELD(i, BOOL, rotate_aeoi), CHIP_FIELD(i, BOOL, sfnm),            \
      CHIP_FIELD(i, BOOL, special_mask), CHIP_FIELD(i, BOOL, read_isr), CHIP_FIELD(i, BOOL, poll)

static const struct field pic_fields[] = {
    CHIP_FIELDS(0),
    CHIP_FIELDS(1),
    FIELD(BOOL, struct pic, intr),
    FIELDS_END,
};

const struct device_class pic_class = {
    .name = "pic",
    .size = sizeof(struct pic),
    .init = pic_init,
    .reset = pic_reset,
    .fields = pic_fields,
};
