/* SPDX-License-Identifier: MIT */
/*
 * Two cascaded 8237A DMA controllers (Intel 8237A datasheet, order number 231466) and the page registers of
 * the AT (74LS612). Transfers run at once and in blocks: single, demand and block mode differ only in time.
 *
 * Channels 0-3 work even if channel 4, through which they are cascaded, is masked. Not modelled:
 * memory-to-memory transfers (the AT's wiring cannot do them), compressed timing, rotating priority.
 */
#include "devices/dma8237.h"

#include <string.h>

#define CMD_DISABLE 0x04
#define MODE_AUTO 0x10
#define MODE_DECREMENT 0x20
#define MODE_TRANSFER 0x0c
#define MODE_WRITE 0x04 /* device to memory */
#define MODE_READ 0x08
#define MODE_KIND 0xc0
#define MODE_CASCADE 0xc0

struct dma_channel {
  uint16_t base_addr, base_count, addr, count;
  uint8_t mode, page;
  dma_handler *run;
  void *opaque;
};

struct dma_chip {
  uint8_t command, mask, status, line, soft; /* status: TC bits 0-3; line, soft: requests */
  uint8_t temp;
  bool high; /* byte pointer flip-flop */
};

struct dma8237 {
  struct device dev;
  struct dma_channel ch[8];
  struct dma_chip chip[2];
  uint8_t pages[16]; /* as written at 80h-8Fh */
  uint8_t running;   /* channels whose handler is active */
};

/* Channel of a page register; -1 = only a latch. */
static const int8_t page_channel[16] = {-1, 2, 3, 1, -1, -1, -1, 0, -1, 6, 7, 5, -1, -1, -1, 4};

bool dma_ready(const struct device *dev, int channel) {
  const struct dma8237 *d = DEVICE(const struct dma8237, dev);
  const struct dma_chip *c = &d->chip[channel >> 2 & 1];
  unsigned bit = 1u << (channel & 3);
  return ((c->line | c->soft) & bit) && !(c->mask & bit) && !(c->command & CMD_DISABLE) &&
         (d->ch[channel & 7].mode & MODE_KIND) != MODE_CASCADE;
}

static void run_channel(struct dma8237 *d, int channel) {
  struct dma_channel *ch = &d->ch[channel];
  uint8_t bit = (uint8_t)(1u << channel);
  if (!ch->run || (d->running & bit) || !dma_ready(&d->dev, channel))
    return;
  d->running |= bit;
  ch->run(ch->opaque, channel);
  d->running &= ~bit;
}

static void run_chip(struct dma8237 *d, int chip) {
  for (int i = 0; i < 4; i++)
    run_channel(d, chip * 4 + i);
}

void dma_register(struct device *dev, int channel, dma_handler *run, void *opaque) {
  struct dma8237 *d = DEVICE(struct dma8237, dev);
  DGM_ASSERT(channel >= 0 && channel < 8 && channel != 4);
  d->ch[channel].run = run;
  d->ch[channel].opaque = opaque;
}

void dma_request(struct device *dev, int channel, int level) {
  struct dma8237 *d = DEVICE(struct dma8237, dev);
  DGM_ASSERT(channel >= 0 && channel < 8 && channel != 4);
  struct dma_chip *c = &d->chip[channel >> 2];
  uint8_t bit = (uint8_t)(1u << (channel & 3));
  if (level) {
    c->line |= bit;
    run_channel(d, channel);
  } else {
    c->line &= ~bit;
  }
}

static void terminal_count(struct dma8237 *d, int channel) {
  struct dma_chip *c = &d->chip[channel >> 2];
  struct dma_channel *ch = &d->ch[channel];
  uint8_t bit = (uint8_t)(1u << (channel & 3));
  c->status |= bit;
  c->soft &= ~bit;
  if (ch->mode & MODE_AUTO) {
    ch->addr = ch->base_addr;
    ch->count = ch->base_count;
  } else {
    c->mask |= bit;
  }
}

/* Move `n` contiguous units (1 or 1 << shift bytes) that do not wrap. */
static void move_memory(struct dma8237 *d, int channel, uint8_t *buf, size_t bytes, bool to_memory) {
  const struct dma_channel *ch = &d->ch[channel];
  uint32_t pa = channel < 4 ? (uint32_t)ch->page << 16 | ch->addr
                            : (uint32_t)(ch->page & 0xfe) << 16 | (uint32_t)ch->addr << 1;
  if (to_memory && (ch->mode & MODE_TRANSFER) == MODE_WRITE)
    mem_dma_write(d->dev.mem, pa, buf, bytes);
  else if (!to_memory && (ch->mode & MODE_TRANSFER) == MODE_READ)
    mem_dma_read(d->dev.mem, pa, buf, bytes);
  else if (!to_memory)
    memset(buf, 0xff, bytes); /* verify, or the wrong direction */
}

static size_t transfer(struct dma8237 *d, int channel, uint8_t *buf, size_t len, bool to_memory, bool *tc) {
  struct dma_channel *ch = &d->ch[channel];
  unsigned shift = channel >= 4;
  size_t units = len >> shift, done = 0;
  *tc = false;
  if (!dma_ready(&d->dev, channel))
    return 0;
  if (units > ch->count + 1u)
    units = ch->count + 1u;
  while (done < units) {
    size_t n = 1;
    if (!(ch->mode & MODE_DECREMENT)) {
      n = 0x10000u - ch->addr;
      n = n > units - done ? units - done : n;
    }
    move_memory(d, channel, buf + (done << shift), n << shift, to_memory);
    ch->addr = (uint16_t)(ch->mode & MODE_DECREMENT ? ch->addr - n : ch->addr + n);
    done += n;
  }
  *tc = units == ch->count + 1u;
  ch->count = (uint16_t)(ch->count - units);
  if (*tc)
    terminal_count(d, channel);
  return units << shift;
}

size_t dma_write_memory(struct device *dev, int channel, const void *buf, size_t len, bool *tc) {
  return transfer(DEVICE(struct dma8237, dev), channel, (uint8_t *)(uintptr_t)buf, len, true, tc);
}

size_t dma_read_memory(struct device *dev, int channel, void *buf, size_t len, bool *tc) {
  return transfer(DEVICE(struct dma8237, dev), channel, buf, len, false, tc);
}

/* --- registers --- */

static void chip_clear(struct dma_chip *c) {
  uint8_t line = c->line;
  memset(c, 0, sizeof(*c));
  c->line = line;
  c->mask = 15;
}

static void write_counter(struct dma8237 *d, int chip, uint32_t reg, uint8_t value) {
  struct dma_channel *ch = &d->ch[chip * 4 + (int)(reg >> 1)];
  uint16_t *base = reg & 1 ? &ch->base_count : &ch->base_addr;
  bool high = d->chip[chip].high;
  *base = high ? (uint16_t)((*base & 0x00ff) | value << 8) : (uint16_t)((*base & 0xff00) | value);
  *(reg & 1 ? &ch->count : &ch->addr) = *base;
  d->chip[chip].high = !high;
}

static void chip_write(struct dma8237 *d, int chip, uint32_t reg, uint8_t value) {
  struct dma_chip *c = &d->chip[chip];
  uint8_t bit = (uint8_t)(1u << (value & 3));
  switch (reg) {
  case 8:
    c->command = value;
    if (value & 1)
      log_unimp_once("dma8237: memory-to-memory transfer\n");
    run_chip(d, chip);
    break;
  case 9:
    c->soft = (uint8_t)(value & 4 ? c->soft | bit : c->soft & ~bit);
    run_chip(d, chip);
    break;
  case 10:
    c->mask = (uint8_t)(value & 4 ? c->mask | bit : c->mask & ~bit);
    run_chip(d, chip);
    break;
  case 11: d->ch[chip * 4 + (value & 3)].mode = value & ~3; break;
  case 12: c->high = false; break;
  case 13: chip_clear(c); break;
  case 14:
    c->mask = 0;
    run_chip(d, chip);
    break;
  case 15:
    c->mask = value & 15;
    run_chip(d, chip);
    break;
  default: write_counter(d, chip, reg, value); break;
  }
}

static uint8_t chip_read(struct dma8237 *d, int chip, uint32_t reg) {
  struct dma_chip *c = &d->chip[chip];
  uint8_t value;
  if (reg < 8) {
    struct dma_channel *ch = &d->ch[chip * 4 + (int)(reg >> 1)];
    uint16_t v = reg & 1 ? ch->count : ch->addr;
    value = (uint8_t)(c->high ? v >> 8 : v);
    c->high = !c->high;
    return value;
  }
  switch (reg) {
  case 8:
    value = (uint8_t)((c->line | c->soft) << 4 | c->status);
    c->status = 0;
    return value;
  case 13: return c->temp;
  case 15: return c->mask | 0xf0;
  default: return 0xff;
  }
}

static uint32_t low_read(void *opaque, uint32_t offset, int size) {
  (void)size;
  return chip_read(opaque, 0, offset);
}

static void low_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)size;
  chip_write(opaque, 0, offset, (uint8_t)value);
}

static uint32_t high_read(void *opaque, uint32_t offset, int size) {
  (void)size;
  return offset & 1 ? 0xff : chip_read(opaque, 1, offset >> 1);
}

static void high_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)size;
  if (!(offset & 1))
    chip_write(opaque, 1, offset >> 1, (uint8_t)value);
}

static uint32_t page_read(void *opaque, uint32_t offset, int size) {
  struct dma8237 *d = opaque;
  (void)size;
  return d->pages[offset & 15];
}

static void page_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct dma8237 *d = opaque;
  (void)size;
  d->pages[offset & 15] = (uint8_t)value;
  int channel = page_channel[offset & 15];
  if (channel >= 0)
    d->ch[channel].page = (uint8_t)value;
}

static const struct io_ops low_ops = {low_read, low_write, 1};
static const struct io_ops high_ops = {high_read, high_write, 1};
static const struct io_ops page_ops = {page_read, page_write, 1};

static void dma_reset(struct device *dev) {
  struct dma8237 *d = DEVICE(struct dma8237, dev);
  chip_clear(&d->chip[0]);
  chip_clear(&d->chip[1]);
  memset(d->pages, 0, sizeof(d->pages));
  for (int i = 0; i < 8; i++) {
    struct dma_channel *ch = &d->ch[i];
    ch->base_addr = ch->base_count = ch->addr = ch->count = 0;
    ch->mode = ch->page = 0;
  }
}

static int dma_init(struct device *dev, const struct device_args *args) {
  dma_reset(dev);
  int err = io_map(dev->io, args->port[0], 16, &low_ops, dev, "dma1");
  if (!err)
    err = io_map(dev->io, args->port[1], 32, &high_ops, dev, "dma2");
  if (!err)
    err = io_map(dev->io, args->port[2], 16, &page_ops, dev, "dma-page");
  return err;
}

#define CH_FIELD(i, kind, member)                                                                            \
  { FIELD_##kind, "ch" #i "." #member, offsetof(struct dma8237, ch[i].member), 1 }
#define CH_FIELDS(i)                                                                                         \
  CH_FIELD(i, U16, base_addr), CH_FIELD(i, U16, base_count), CH_FIELD(i, U16, addr),                         \
      CH_FIELD(i, U16, count), CH_FIELD(i, U8, mode), CH_FIELD(i, U8, page)
#define CHIP_FIELD(i, kind, member)                                                                          \
  { FIELD_##kind, "chip" #i "." #member, offsetof(struct dma8237, chip[i].member), 1 }
#define CHIP_FIELDS(i)                                                                                       \
  CHIP_FIELD(i, U8, command), CHIP_FIELD(i, U8, mask), CHIP_FIELD(i, U8, status), CHIP_FIELD(i, U8, line),   \
      CHIP_FIELD(i, U8, soft), CHIP_FIELD(i, U8, temp), CHIP_FIELD(i, BOOL, high)

static const struct field dma_fields[] = {
    CH_FIELDS(0),
    CH_FIELDS(1),
    CH_FIELDS(2),
    CH_FIELDS(3),
    CH_FIELDS(4),
    CH_FIELDS(5),
    CH_FIELDS(6),
    CH_FIELDS(7),
    CHIP_FIELDS(0),
    CHIP_FIELDS(1),
    FIELD_BUFFER(struct dma8237, pages),
    FIELDS_END,
};

const struct device_class dma8237_class = {
    .name = "dma8237",
    .size = sizeof(struct dma8237),
    .init = dma_init,
    .reset = dma_reset,
    .fields = dma_fields,
};
