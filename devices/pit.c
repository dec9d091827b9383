/* SPDX-License-Identifier: MIT */
/*
 * 8254 programmable interval timer (Intel 82C54 datasheet, order number 231244): three counters, all six
 * modes, binary and BCD, latch and read-back commands, the gate of counter 2.
 *
 * A counter is not stepped: its value and OUT follow from the tick (of 1.193182 MHz, counted since
 * power-on) at which it was loaded. Channel 0 is the only one whose OUT is a wire; the rising edges are
 * scheduled from the load, so the guest's clock does not drift. Edges missed because the host was late are
 * made up for at up to four times the rate, unless more than a second is owed.
 */
#include "devices/pit.h"

#include <string.h>

#define OWED_MAX PIT_HZ
#define MIN_GAP_NS 10000 /* between two periodic edges */

struct pit_channel {
  uint8_t mode; /* 0..5 */
  uint8_t rw;   /* 1 = low byte, 2 = high byte, 3 = low then high */
  bool bcd, gate;
  bool counting;              /* loaded, and triggered where the mode wants that */
  bool frozen;                /* gate low in modes 0, 2, 3, 4: `elapsed` stands still */
  bool have_count;            /* a count was written since the mode */
  bool write_high, read_high; /* second byte of two is next */
  uint8_t write_low;
  uint8_t latched; /* bytes of the count latch left to read: 0, 1 or 2 */
  bool status_latched;
  uint8_t status;
  uint16_t latch;
  uint32_t count;    /* 1..65536 (BCD: up to 10000), in effect */
  uint32_t reload;   /* written last */
  int64_t start;     /* tick of the load */
  int64_t reload_at; /* modes 2, 3: tick at which `reload` takes effect; 0 = nothing pending */
  int64_t elapsed;   /* while frozen */
};

struct pit {
  struct device dev;
  struct pit_channel ch[3];
  int64_t next_edge; /* of channel 0, tick */
  struct timer timer;
  void (*tone)(void *opaque, int mode, uint32_t count);
  void *tone_opaque;
  void (*out2_changes)(void *opaque);
  void *out2_opaque;
  bool (*irq_waits)(void *opaque);
  void *irq_waits_opaque;
};

static int64_t pit_ticks(const struct pit *p) {
  return muldiv64(clock_now(p->dev.clock), PIT_HZ, NS_PER_SEC);
}

/* The first nanosecond at which pit_ticks is `tick`. */
static int64_t tick_to_ns(int64_t tick) { return muldiv64(tick, NS_PER_SEC, PIT_HZ) + 1; }

static bool periodic(const struct pit_channel *c) { return c->mode == 2 || c->mode == 3; }
static bool triggered(const struct pit_channel *c) { return c->mode == 1 || c->mode == 5; }

/* Let a pending reload take effect, if its time has come. */
static void channel_sync(struct pit_channel *c, int64_t now) {
  if (c->reload_at && now >= c->reload_at) {
    c->start = c->reload_at;
    c->count = c->reload;
    c->reload_at = 0;
  }
}

static int64_t channel_elapsed(const struct pit_channel *c, int64_t now) {
  int64_t d = c->frozen ? c->elapsed : now - c->start;
  return d < 0 ? 0 : d;
}

static bool channel_out(const struct pit_channel *c, int64_t now) {
  if (!c->counting)
    return c->mode != 0;
  int64_t d = channel_elapsed(c, now);
  switch (c->mode) {
  case 0:
  case 1: return d >= c->count;
  case 2: return (c->frozen && !c->gate) || d % c->count != c->count - 1;
  case 3: return (c->frozen && !c->gate) || d % c->count < (c->count + 1) / 2;
  default: return d != c->count;
  }
}

static uint16_t to_bcd(uint32_t v) {
  return (uint16_t)(v % 10 | v / 10 % 10 << 4 | v / 100 % 10 << 8 | v / 1000 % 10 << 12);
}

static uint16_t channel_value(const struct pit_channel *c, int64_t now) {
  int64_t d = c->counting ? channel_elapsed(c, now) : 0;
  uint32_t modulus = c->bcd ? 10000 : 65536, half = (c->count + 1) / 2;
  uint32_t v;
  if (c->mode == 2) {
    v = c->count - (uint32_t)(d % c->count);
  } else if (c->mode == 3) {
    uint32_t e = (uint32_t)(d % c->count);
    v = (c->count & ~1u) - 2 * (e < half ? e : e - half);
  } else {
    v = c->count % modulus + modulus - (uint32_t)(d % modulus);
  }
  v %= modulus;
  return c->bcd ? to_bcd(v) : (uint16_t)v;
}

static void out2_changes(struct pit *p, const struct pit_channel *c) {
  if (c == &p->ch[2] && p->out2_changes)
    p->out2_changes(p->out2_opaque);
}

static void sync(struct pit *p, struct pit_channel *c, int64_t now) {
  if (c->reload_at && now >= c->reload_at)
    out2_changes(p, c);
  channel_sync(c, now);
}

/* --- channel 0's wire --- */

static void pit_arm(struct pit *p, int64_t now_ns) {
  struct pit_channel *c = &p->ch[0];
  int64_t at = tick_to_ns(p->next_edge);
  if (periodic(c)) {
    int64_t gap = MIN_GAP_NS;
    if (at < now_ns) {
      gap = muldiv64(c->count, NS_PER_SEC / 4, PIT_HZ);
      gap = gap < MIN_GAP_NS ? MIN_GAP_NS : gap;
    }
    at = at < now_ns + gap ? now_ns + gap : at;
  }
  timer_arm(&p->timer, at);
}

static void pit_fire(void *opaque) {
  struct pit *p = opaque;
  struct pit_channel *c = &p->ch[0];
  int64_t now_ns = clock_now(p->dev.clock), now = muldiv64(now_ns, PIT_HZ, NS_PER_SEC);
  bool held_back = periodic(c) && p->irq_waits && p->irq_waits(p->irq_waits_opaque);
  if (!held_back) {
    if (c->mode != 0)
      irq_lower(&p->dev.irq[0]);
    irq_raise(&p->dev.irq[0]);
  }
  if (!periodic(c))
    return;
  sync(p, c, now);
  if (!held_back)
    p->next_edge += c->count;
  if (now - p->next_edge > OWED_MAX)
    p->next_edge += (now - p->next_edge) / c->count * c->count;
  pit_arm(p, now_ns);
}

static void channel_started(struct pit *p, struct pit_channel *c) {
  if (c == &p->ch[2] && p->tone)
    p->tone(p->tone_opaque, c->mode, c->count);
  if (c != &p->ch[0])
    return;
  p->next_edge = c->start + c->count + (c->mode == 4);
  pit_arm(p, clock_now(p->dev.clock));
}

static void channel_start(struct pit *p, struct pit_channel *c, int64_t now) {
  c->count = c->reload;
  c->reload_at = 0;
  c->start = now + 1;
  c->elapsed = 0;
  c->counting = true;
  c->frozen = !c->gate && !triggered(c);
  channel_started(p, c);
}

/* --- channel 2's wire: the speaker --- */

/* When OUT changes next: ticks after the load, or INT64_MAX. d: ticks since the load. */
static int64_t next_change(const struct pit_channel *c, int64_t d) {
  int64_t count = c->count, half = (count + 1) / 2, in_period = d % count, period = d - in_period;
  switch (c->mode) {
  case 0:
  case 1: return d < count ? count : INT64_MAX;
  case 2: return in_period < count - 1 ? period + count - 1 : period + count;
  case 3: return in_period < half ? period + half : period + count;
  default: return d < count ? count : d == count ? count + 1 : INT64_MAX;
  }
}

bool pit_out2_at(void *pit, int64_t ns, int64_t *until) {
  struct pit_channel c = ((struct pit *)pit)->ch[2];
  int64_t now = muldiv64(ns, PIT_HZ, NS_PER_SEC), next = INT64_MAX;
  channel_sync(&c, now);
  if (c.counting && !c.frozen) {
    next = next_change(&c, channel_elapsed(&c, now));
    next = next == INT64_MAX ? next : c.start + next;
  }
  if (c.reload_at && c.reload_at < next)
    next = c.reload_at;
  *until = next == INT64_MAX ? next : tick_to_ns(next);
  return channel_out(&c, now);
}

/* --- registers --- */

static void write_count(struct pit *p, struct pit_channel *c, uint16_t raw) {
  int64_t now = pit_ticks(p);
  uint32_t count = raw;
  if (c->bcd)
    count = (raw & 15) + (raw >> 4 & 15) * 10u + (raw >> 8 & 15) * 100u + (raw >> 12) * 1000u;
  c->reload = count ? count : c->bcd ? 10000 : 65536;
  c->have_count = true;
  sync(p, c, now);
  if (triggered(c)) {
    if (!c->counting)
      c->count = c->reload;
  } else if (periodic(c) && c->counting && !c->frozen) {
    if (now < c->start) {
      channel_start(p, c, now);
      return;
    }
    c->reload_at = c->start + ((now - c->start) / c->count + 1) * c->count;
    if (c == &p->ch[2] && p->tone)
      p->tone(p->tone_opaque, c->mode, c->reload);
  } else {
    if (c == &p->ch[0] && c->mode == 0)
      irq_lower(&p->dev.irq[0]);
    channel_start(p, c, now);
  }
}

static void write_counter(struct pit *p, struct pit_channel *c, uint8_t value) {
  out2_changes(p, c);
  if (c->rw == 1) {
    write_count(p, c, value);
  } else if (c->rw == 2) {
    write_count(p, c, (uint16_t)(value << 8));
  } else if (!c->write_high) {
    c->write_low = value;
    c->write_high = true;
    if (c->mode == 0) { /* the first byte stops the count and lowers OUT */
      c->counting = false;
      if (c == &p->ch[0]) {
        timer_cancel(&p->timer);
        irq_lower(&p->dev.irq[0]);
      }
    }
  } else {
    c->write_high = false;
    write_count(p, c, (uint16_t)(value << 8 | c->write_low));
  }
}

static void latch_count(struct pit_channel *c, int64_t now) {
  if (c->latched)
    return;
  c->latch = channel_value(c, now);
  c->latched = c->rw == 3 ? 2 : 1;
}

static void latch_status(struct pit_channel *c, int64_t now) {
  if (c->status_latched)
    return;
  bool null_count = !c->have_count || c->reload_at || (c->counting && !c->frozen && now < c->start);
  c->status = (uint8_t)(channel_out(c, now) << 7 | null_count << 6 | c->rw << 4 | c->mode << 1 | c->bcd);
  c->status_latched = true;
}

static void set_mode(struct pit *p, struct pit_channel *c, uint8_t value) {
  out2_changes(p, c);
  c->rw = value >> 4 & 3;
  c->mode = value >> 1 & 7;
  if (c->mode > 5)
    c->mode &= 3;
  c->bcd = value & 1;
  c->counting = c->frozen = c->have_count = false;
  c->write_high = c->read_high = false;
  c->latched = 0;
  c->status_latched = false;
  c->reload_at = 0;
  if (c == &p->ch[0]) {
    timer_cancel(&p->timer);
    irq_set(&p->dev.irq[0], c->mode != 0);
  }
}

static void write_control(struct pit *p, uint8_t value) {
  int64_t now = pit_ticks(p);
  if (value >> 6 == 3) { /* read-back; bits 5 and 4 are active low */
    for (int i = 0; i < 3; i++) {
      if (!(value & 2 << i))
        continue;
      sync(p, &p->ch[i], now);
      if (!(value & 0x20))
        latch_count(&p->ch[i], now);
      if (!(value & 0x10))
        latch_status(&p->ch[i], now);
    }
    return;
  }
  struct pit_channel *c = &p->ch[value >> 6];
  if (value & 0x30) {
    set_mode(p, c, value);
  } else {
    sync(p, c, now);
    latch_count(c, now);
  }
}

static void pit_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct pit *p = opaque;
  (void)size;
  if (offset == 3)
    write_control(p, (uint8_t)value);
  else
    write_counter(p, &p->ch[offset], (uint8_t)value);
}

static uint32_t pit_read(void *opaque, uint32_t offset, int size) {
  struct pit *p = opaque;
  (void)size;
  if (offset == 3)
    return 0;
  struct pit_channel *c = &p->ch[offset];
  if (c->status_latched) {
    c->status_latched = false;
    return c->status;
  }
  if (c->latched) {
    bool high = c->rw == 2 || (c->rw == 3 && c->latched == 1);
    c->latched--;
    return high ? c->latch >> 8 : c->latch & 0xff;
  }
  int64_t now = pit_ticks(p);
  sync(p, c, now);
  uint16_t v = channel_value(c, now);
  bool high = c->rw == 2 || (c->rw == 3 && c->read_high);
  c->read_high = c->rw == 3 && !c->read_high;
  return high ? v >> 8 : v & 0xff;
}

void pit_set_gate2(void *pit, bool level) {
  struct pit *p = pit;
  struct pit_channel *c = &p->ch[2];
  if (c->gate == level)
    return;
  out2_changes(p, c);
  int64_t now = pit_ticks(p);
  sync(p, c, now);
  c->gate = level;
  if (level && c->have_count && (triggered(c) || periodic(c))) {
    channel_start(p, c, now);
  } else if (triggered(c) || !c->counting) {
    return;
  } else if (level) {
    c->start = now - c->elapsed;
    c->frozen = false;
  } else {
    c->elapsed = channel_elapsed(c, now);
    c->frozen = true;
    c->reload_at = 0;
  }
}

bool pit_get_out2(void *pit) {
  struct pit *p = pit;
  int64_t now = pit_ticks(p);
  sync(p, &p->ch[2], now);
  return channel_out(&p->ch[2], now);
}

static const struct io_ops pit_ops = {pit_read, pit_write, 1};

static void pit_reset(struct device *dev) {
  struct pit *p = DEVICE(struct pit, dev);
  timer_cancel(&p->timer);
  for (int i = 0; i < 3; i++) {
    p->ch[i] = (struct pit_channel){.mode = 3, .rw = 3, .gate = i != 2, .count = 65536, .reload = 65536};
  }
  irq_raise(&dev->irq[0]);
}

static int pit_init(struct device *dev, const struct device_args *args) {
  struct pit *p = DEVICE(struct pit, dev);
  const struct pit_config *config = args->config;
  if (config) {
    p->tone = config->tone;
    p->tone_opaque = config->tone_opaque;
    p->out2_changes = config->out2_changes;
    p->out2_opaque = config->out2_opaque;
    p->irq_waits = config->irq_waits;
    p->irq_waits_opaque = config->irq_waits_opaque;
  }
  timer_init(&p->timer, dev->clock, "pit", pit_fire, p);
  pit_reset(dev);
  return io_map(dev->io, args->port[0], 4, &pit_ops, dev, "pit");
}

#define CH_FIELD(i, kind, member)                                                                            \
  { FIELD_##kind, "ch" #i "." #member, offsetof(struct pit, ch[i].member), 1 }
#define CH_FIELDS(i)                                                                                         \
  CH_FIELD(i, U8, mode), CH_FIELD(i, U8, rw), CH_FIELD(i, BOOL, bcd), CH_FIELD(i, BOOL, gate),               \
      CH_FIELD(i, BOOL, counting), CH_FIELD(i, BOOL, frozen), CH_FIELD(i, BOOL, have_count),                 \
      CH_FIELD(i, BOOL, write_high), CH_FIELD(i, BOOL, read_high), CH_FIELD(i, U8, write_low),               \
      CH_FIELD(i, U8, latched), CH_FIELD(i, BOOL, status_latched), CH_FIELD(i, U8, status),                  \
      CH_FIELD(i, U16, latch), CH_FIELD(i, U32, count), CH_FIELD(i, U32, reload), CH_FIELD(i, I64, start),   \
      CH_FIELD(i, I64, reload_at), CH_FIELD(i, I64, elapsed)

static const struct field pit_fields[] = {
    CH_FIELDS(0),
    CH_FIELDS(1),
    CH_FIELDS(2),
    FIELD(I64, struct pit, next_edge),
    FIELD(TIMER, struct pit, timer),
    FIELDS_END,
};

const struct device_class pit_class = {
    .name = "pit",
    .size = sizeof(struct pit),
    .init = pit_init,
    .reset = pit_reset,
    .fields = pit_fields,
};
