/* SPDX-License-Identifier: MIT */
/*
 * I/O APIC (Intel 82093AA datasheet, order number 290566): 24 pins, edge and level triggering, remote IRR.
 *
 * An edge on a masked pin is lost, as the datasheet says (3.2.4, interrupt mask). Polarity is ignored: levels arrive
 * as active or inactive. Not modelled: the arbitration register, delivery status.
 */
#include "devices/ioapic.h"

#define VERSION 0x00170011u

#define ENTRY_LEVEL 0x8000u
#define ENTRY_REMOTE_IRR 0x4000u
#define ENTRY_MASKED 0x10000u
#define ENTRY_LOGICAL 0x800u
#define ENTRY_WRITABLE_LOW 0x1afffu

struct ioapic {
  struct device dev;
  struct ioapic_config config;
  uint8_t index;
  uint32_t id;
  uint32_t line;                                /* levels */
  uint32_t low[IOAPIC_PINS], high[IOAPIC_PINS]; /* redirection table */
};

/* A level may want service, or there was an edge. */
static void service(struct ioapic *s, int pin, bool edge) {
  uint32_t *low = &s->low[pin], bit = 1u << pin;
  bool level = *low & ENTRY_LEVEL;
  if (*low & ENTRY_MASKED)
    return;
  if (level) {
    if (!(s->line & bit) || (*low & ENTRY_REMOTE_IRR))
      return;
    *low |= ENTRY_REMOTE_IRR;
  } else if (!edge) {
    return;
  }
  if (s->config.deliver)
    s->config.deliver(s->config.opaque, (uint8_t)(s->high[pin] >> 24), *low & ENTRY_LOGICAL,
                      (int)(*low >> 8 & 7), (uint8_t)*low, level);
}

void ioapic_set_irq(void *ioapic, int n, int level) {
  struct ioapic *s = ioapic;
  DGM_ASSERT(n >= 0 && n < IOAPIC_PINS);
  uint32_t bit = 1u << n;
  if (!!(s->line & bit) == !!level)
    return;
  s->line ^= bit;
  if (level)
    service(s, n, true);
}

int ioapic_vector(const struct device *dev, int pin) {
  uint32_t low = DEVICE(const struct ioapic, dev)->low[pin];
  return (low & ENTRY_MASKED) || (low >> 8 & 7) > 1 ? -1 : (int)(low & 0xff);
}

void ioapic_eoi(void *ioapic, uint8_t vector) {
  struct ioapic *s = ioapic;
  for (int pin = 0; pin < IOAPIC_PINS; pin++) {
    if (!(s->low[pin] & ENTRY_REMOTE_IRR) || (uint8_t)s->low[pin] != vector)
      continue;
    s->low[pin] &= ~ENTRY_REMOTE_IRR;
    service(s, pin, false);
  }
}

static void write_entry(struct ioapic *s, unsigned reg, uint32_t value) {
  unsigned pin = reg >> 1;
  if (reg & 1) {
    s->high[pin] = value & 0xff000000;
    return;
  }
  uint32_t keep = value & ENTRY_LEVEL ? s->low[pin] & ENTRY_REMOTE_IRR : 0;
  s->low[pin] = (value & ENTRY_WRITABLE_LOW) | keep;
  service(s, (int)pin, false);
}

static uint32_t read_register(const struct ioapic *s) {
  unsigned reg = s->index;
  if (reg >= 0x10 && reg < 0x10 + 2 * IOAPIC_PINS) {
    reg -= 0x10;
    return reg & 1 ? s->high[reg >> 1] : s->low[reg >> 1];
  }
  return reg == 0 || reg == 2 ? s->id : reg == 1 ? VERSION : 0;
}

static void write_register(struct ioapic *s, uint32_t value) {
  unsigned reg = s->index;
  if (reg == 0)
    s->id = value & 0x0f000000;
  else if (reg >= 0x10 && reg < 0x10 + 2 * IOAPIC_PINS)
    write_entry(s, reg - 0x10, value);
}

static uint64_t mmio_read(void *opaque, uint32_t offset, int size) {
  struct ioapic *s = opaque;
  uint32_t value = (offset & 0xf0) == 0x00 ? s->index : (offset & 0xf0) == 0x10 ? read_register(s) : 0;
  (void)size;
  return offset & 0xc ? 0 : value >> (offset & 3) * 8;
}

static void mmio_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  struct ioapic *s = opaque;
  if ((offset & 0xff) == 0x00)
    s->index = (uint8_t)value;
  else if ((offset & 0xff) == 0x10 && size == 4)
    write_register(s, (uint32_t)value);
}

static const struct mmio_ops ioapic_ops = {.read = mmio_read, .write = mmio_write, .max_size = 4};

void ioapic_info(const struct device *dev, FILE *out) {
  const struct ioapic *s = DEVICE(const struct ioapic, dev);
  for (int pin = 0; pin < IOAPIC_PINS; pin++)
    fprintf(out, "ioapic pin %2d: %08x%08x%s\n", pin, s->high[pin], s->low[pin],
            s->line >> pin & 1 ? " active" : "");
}

static void ioapic_reset(struct device *dev) {
  struct ioapic *s = DEVICE(struct ioapic, dev);
  s->index = 0;
  s->id = 0;
  for (int pin = 0; pin < IOAPIC_PINS; pin++) {
    s->low[pin] = ENTRY_MASKED;
    s->high[pin] = 0;
  }
}

static int ioapic_init(struct device *dev, const struct device_args *args) {
  struct ioapic *s = DEVICE(struct ioapic, dev);
  if (args->config)
    s->config = *(const struct ioapic_config *)args->config;
  ioapic_reset(dev);
  return mem_map_mmio(dev->mem, args->addr[0], MEM_PAGE, &ioapic_ops, s, "ioapic");
}

static const struct field ioapic_fields[] = {
    FIELD(U8, struct ioapic, index),
    FIELD(U32, struct ioapic, id),
    FIELD(U32, struct ioapic, line),
    FIELD_ARRAY(U32, struct ioapic, low),
    FIELD_ARRAY(U32, struct ioapic, high),
    FIELDS_END,
};

const struct device_class ioapic_class = {
    .name = "ioapic",
    .size = sizeof(struct ioapic),
    .init = ioapic_init,
    .reset = ioapic_reset,
    .fields = ioapic_fields,
};
