/* SPDX-License-Identifier: MIT */
/*
 * High precision event timers (IA-PC HPET specification 1.0a): a 64-bit counter at 100 MHz, three comparators
 * with one-shot and periodic modes, edge and level interrupts, legacy replacement routing. No FSB interrupts.
 */
#include "devices/hpet.h"

#include <string.h>

#define TIMERS 3
#define PERIOD_FS 10000000u
#define PERIOD_NS 10
#define LONGEST_NS (3600 * NS_PER_SEC) /* longer waits are cut into pieces */
#define MIN_GAP_NS 10000
#define ROUTES 0x00f00000u /* pins 20-23 */

#define CFG_ENABLE 1
#define CFG_LEGACY 2

#define TN_LEVEL 0x02u
#define TN_ENABLE 0x04u
#define TN_PERIODIC 0x08u
#define TN_CAP 0x30u /* periodic and 64-bit capable */
#define TN_SET_VALUE 0x40u
#define TN_32BIT 0x100u
#define TN_WRITABLE 0x3f0eu /* without the value-set strobe */

struct hpet_timer {
  uint32_t config;
  uint64_t comparator, period;
  bool setting; /* the next comparator write sets the accumulator too */
  bool final;   /* the timer runs to the match, not only to the next piece of a long wait */
  struct timer timer;
};

struct hpet {
  struct device dev;
  uint32_t config, status;
  uint64_t counter; /* while halted */
  int64_t start;    /* ns at which the counter was `counter`, while enabled */
  struct hpet_timer t[TIMERS];
  uint8_t legacy_line; /* levels of inputs 0 (bit 0) and 8 (bit 1) */
  struct hpet_ref {
    struct hpet *h;
    int n;
  } ref[TIMERS];
};

static bool enabled(const struct hpet *h) { return h->config & CFG_ENABLE; }
static bool legacy(const struct hpet *h) { return h->config & CFG_LEGACY; }

static uint64_t counter_now(const struct hpet *h) {
  if (!enabled(h))
    return h->counter;
  return h->counter + (uint64_t)(clock_now(h->dev.clock) - h->start) / PERIOD_NS;
}

static int route(const struct hpet *h, int n) {
  if (legacy(h) && n < 2)
    return n ? 8 : 0;
  return h->t[n].config >> 9 & 31;
}

static void set_line(struct hpet *h, int n, int level) {
  int pin = route(h, n);
  if (pin < 24)
    irq_set(&h->dev.irq[pin], level);
}

/* Counter ticks until the comparator matches, 1 at least. */
static uint64_t ticks_left(const struct hpet_timer *t, uint64_t now) {
  uint64_t left = t->comparator - now;
  if (t->config & TN_32BIT)
    left = (uint32_t)left ? (uint32_t)left : 1ull << 32;
  return left ? left : ~0ull;
}

static void timer_update(struct hpet *h, int n) {
  struct hpet_timer *t = &h->t[n];
  timer_cancel(&t->timer);
  if (!enabled(h))
    return;
  uint64_t left = ticks_left(t, counter_now(h));
  t->final = left <= LONGEST_NS / PERIOD_NS;
  int64_t wait = t->final ? (int64_t)left * PERIOD_NS : LONGEST_NS;
  if ((t->config & TN_PERIODIC) && wait < MIN_GAP_NS)
    wait = MIN_GAP_NS;
  timer_arm(&t->timer, clock_now(h->dev.clock) + wait);
}

static void expire(struct hpet *h, int n) {
  struct hpet_timer *t = &h->t[n];
  if (t->config & TN_LEVEL) {
    h->status |= 1u << n;
    if (t->config & TN_ENABLE)
      set_line(h, n, 1);
  } else if (t->config & TN_ENABLE) {
    set_line(h, n, 1);
    set_line(h, n, 0);
  }
}

static void timer_fire(void *opaque) {
  struct hpet_ref *ref = opaque;
  struct hpet *h = ref->h;
  struct hpet_timer *t = &h->t[ref->n];
  uint64_t now = counter_now(h);
  if (t->final) {
    expire(h, ref->n);
    if ((t->config & TN_PERIODIC) && t->period) {
      uint64_t late = t->config & TN_32BIT ? (uint32_t)(now - t->comparator) : now - t->comparator;
      t->comparator += (late / t->period + 1) * t->period;
      if (t->config & TN_32BIT)
        t->comparator = (uint32_t)t->comparator;
    }
  }
  timer_update(h, ref->n);
}

static void update_all(struct hpet *h) {
  for (int n = 0; n < TIMERS; n++)
    timer_update(h, n);
}

static void write_config(struct hpet *h, uint32_t value) {
  uint64_t now = counter_now(h);
  uint32_t old = h->config;
  h->config = value & (CFG_ENABLE | CFG_LEGACY);
  h->counter = now;
  h->start = clock_now(h->dev.clock);
  if ((old ^ h->config) & CFG_LEGACY) { /* give the lines to the other side */
    irq_set(&h->dev.irq[0], legacy(h) ? 0 : h->legacy_line & 1);
    irq_set(&h->dev.irq[8], legacy(h) ? 0 : h->legacy_line >> 1 & 1);
  }
  update_all(h);
}

static void write_timer_config(struct hpet *h, int n, uint32_t value) {
  struct hpet_timer *t = &h->t[n];
  if (h->status & 1u << n)
    set_line(h, n, 0);
  t->config = (value & TN_WRITABLE) | TN_CAP;
  if ((ROUTES >> (t->config >> 9 & 31) & 1) == 0)
    t->config &= ~0x3e00u;
  t->setting = (value & TN_SET_VALUE) && (value & TN_PERIODIC);
  if (t->config & TN_32BIT) {
    t->comparator = (uint32_t)t->comparator;
    t->period = (uint32_t)t->period;
  }
  if (!(t->config & TN_LEVEL))
    h->status &= ~(1u << n);
  else if ((h->status & 1u << n) && (t->config & TN_ENABLE))
    set_line(h, n, 1);
  timer_update(h, n);
}

/* mask: which bits of value count (half of the register, or all). */
static void write_comparator(struct hpet *h, int n, uint64_t value, uint64_t mask) {
  struct hpet_timer *t = &h->t[n];
  if (t->config & TN_32BIT) {
    value = (uint32_t)value;
    mask |= 0xffffffff00000000ull;
  }
  if (!(t->config & TN_PERIODIC) || t->setting)
    t->comparator = (t->comparator & ~mask) | (value & mask);
  if (t->config & TN_PERIODIC)
    t->period = (t->period & ~mask) | (value & mask);
  if (mask >> 32)
    t->setting = false;
  timer_update(h, n);
}

static uint64_t read_register(struct hpet *h, uint32_t reg) {
  if (reg >= 0x100 && reg < 0x100 + 0x20 * TIMERS) {
    const struct hpet_timer *t = &h->t[(reg - 0x100) >> 5];
    switch (reg & 0x18) {
    case 0x00: return (uint64_t)ROUTES << 32 | t->config;
    case 0x08: return t->comparator;
    default: return 0;
    }
  }
  switch (reg) {
  case 0x00: return (uint64_t)PERIOD_FS << 32 | 0x8086a001u | (TIMERS - 1) << 8;
  case 0x10: return h->config;
  case 0x20: return h->status;
  case 0xf0: return counter_now(h);
  default: return 0;
  }
}

static void write_register(struct hpet *h, uint32_t reg, uint64_t value, uint64_t mask) {
  bool low = mask & 1;
  if (reg >= 0x100 && reg < 0x100 + 0x20 * TIMERS) {
    int n = (int)((reg - 0x100) >> 5);
    if ((reg & 0x18) == 0x00 && low)
      write_timer_config(h, n, (uint32_t)value);
    else if ((reg & 0x18) == 0x08)
      write_comparator(h, n, value, mask);
    return;
  }
  if (reg == 0x10 && low) {
    write_config(h, (uint32_t)value);
  } else if (reg == 0x20 && low) {
    uint32_t cleared = h->status & (uint32_t)value;
    h->status &= ~cleared;
    for (int n = 0; n < TIMERS; n++)
      if (cleared >> n & 1)
        set_line(h, n, 0);
  } else if (reg == 0xf0 && !enabled(h)) {
    h->counter = (h->counter & ~mask) | (value & mask);
  }
}

static uint64_t mmio_read(void *opaque, uint32_t offset, int size) {
  uint64_t value = read_register(opaque, offset & 0x3f8) >> (offset & 7) * 8;
  return size == 8 ? value : value & ((1ull << size * 8) - 1);
}

static void mmio_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  if (size < 4)
    return; /* only aligned dwords and quadwords are defined */
  if (size == 8)
    write_register(opaque, offset & 0x3f8, value, ~0ull);
  else if (offset & 4)
    write_register(opaque, offset & 0x3f8, value << 32, 0xffffffff00000000ull);
  else
    write_register(opaque, offset & 0x3f8, (uint32_t)value, 0xffffffffull);
}

static const struct mmio_ops hpet_ops = {.read = mmio_read, .write = mmio_write, .max_size = 8};

void hpet_legacy_in(void *hpet, int n, int level) {
  struct hpet *h = hpet;
  uint8_t bit = n == 8 ? 2 : 1;
  h->legacy_line = (uint8_t)(level ? h->legacy_line | bit : h->legacy_line & ~bit);
  if (!legacy(h))
    irq_set(&h->dev.irq[n == 8 ? 8 : 0], level);
}

static void hpet_reset(struct device *dev) {
  struct hpet *h = DEVICE(struct hpet, dev);
  h->config = h->status = 0;
  h->counter = 0;
  h->start = 0;
  for (int n = 0; n < TIMERS; n++) {
    struct hpet_timer *t = &h->t[n];
    timer_cancel(&t->timer);
    t->config = TN_CAP;
    t->comparator = ~0ull;
    t->period = 0;
    t->setting = false;
  }
}

static int hpet_init(struct device *dev, const struct device_args *args) {
  struct hpet *h = DEVICE(struct hpet, dev);
  for (int n = 0; n < TIMERS; n++) {
    h->ref[n] = (struct hpet_ref){h, n};
    timer_init(&h->t[n].timer, dev->clock, "hpet", timer_fire, &h->ref[n]);
  }
  hpet_reset(dev);
  return mem_map_mmio(dev->mem, args->addr[0], MEM_PAGE, &hpet_ops, h, "hpet");
}

#define T_FIELD(i, kind, member)                                                                             \
  { FIELD_##kind, "t" #i "." #member, offsetof(struct hpet, t[i].member), 1 }
#define T_FIELDS(i)                                                                                          \
  T_FIELD(i, U32, config), T_FIELD(i, U64, comparator), T_FIELD(i, U64, period), T_FIELD(i, BOOL, setting),  \
      T_FIELD(i, BOOL, final), T_FIELD(i, TIMER, timer)

static const struct field hpet_fields[] = {
    FIELD(U32, struct hpet, config),
    FIELD(U32, struct hpet, status),
    FIELD(U64, struct hpet, counter),
    FIELD(I64, struct hpet, start),
    T_FIELDS(0),
    T_FIELDS(1),
    T_FIELDS(2),
    FIELD(U8, struct hpet, legacy_line),
    FIELDS_END,
};

const struct device_class hpet_class = {
    .name = "hpet",
    .size = sizeof(struct hpet),
    .init = hpet_init,
    .reset = hpet_reset,
    .fields = hpet_fields,
};
