/* SPDX-License-Identifier: MIT */
/*
 * Local APIC of a single P6-class CPU (Intel SDM vol. 3, chapter 10, "Advanced Programmable Interrupt
 * Controller"): vectors and priorities, all local vector table entries, the timer, interprocessor interrupts
 * to oneself, ExtINT through LINT0, relocation and disabling through IA32_APIC_BASE.
 *
 * LINT0 starts as an unmasked ExtINT: the virtual wire that firmware would set up. ExtINT passes even while
 * the APIC is disabled by software, so that systems that know no APIC get their interrupts. Not modelled:
 * other CPUs (messages to them vanish), arbitration, TSC deadline, x2APIC.
 */
#include "devices/apic.h"

#include <string.h>

#define LVT_MASKED 0x10000u
#define LVT_PERIODIC 0x20000u
#define LVT_LEVEL 0x08000u
#define LVT_REMOTE_IRR 0x04000u
#define SVR_ENABLE 0x100u
#define ESR_SEND_VECTOR 0x20u
#define ESR_RECEIVE_VECTOR 0x40u
#define ESR_REGISTER 0x80u
#define VERSION 0x00050014u

#define DEFAULT_HZ 100000000
#define MIN_GAP_NS 10000

enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVT_COUNT };
enum { LINE_INTR, LINE_NMI, LINE_INIT, LINE_SMI };

struct apic {
  struct device dev;
  uint64_t base;
  uint32_t id, tpr, ldr, dfr, svr, esr, esr_next;
  uint32_t icr[2];
  uint32_t lvt[LVT_COUNT];
  uint32_t isr[8], tmr[8], irr[8];
  uint32_t tmict, tdcr;
  bool expired; /* a one-shot count ended: whatever the mode becomes, only a new initial count starts it again */
  int64_t timer_start; /* ns */
  int64_t expiry;      /* next, in bus clocks after timer_start */
  uint8_t lint;        /* levels */
  bool intr;           /* level of the output */
  struct timer timer;

  uint32_t reset_id, hz;
  int (*extint_ack)(void *opaque);
  void *extint_opaque;
  void (*eoi)(void *opaque, uint8_t vector);
  void *eoi_opaque;
};

/* --- vectors --- */

static int highest(const uint32_t *bits) {
  for (int i = 7; i >= 0; i--)
    if (bits[i])
      return i * 32 + 31 - __builtin_clz(bits[i]);
  return -1;
}

static bool test(const uint32_t *bits, unsigned n) { return bits[n >> 5] >> (n & 31) & 1; }
static void set(uint32_t *bits, unsigned n) { bits[n >> 5] |= 1u << (n & 31); }
static void clear(uint32_t *bits, unsigned n) { bits[n >> 5] &= ~(1u << (n & 31)); }

static bool hw_enabled(const struct apic *a) { return a->base & APIC_BASE_ENABLE; }
static bool sw_enabled(const struct apic *a) { return a->svr & SVR_ENABLE; }

static uint32_t ppr(const struct apic *a) {
  int isrv = highest(a->isr);
  uint32_t in_service = isrv < 0 ? 0 : (uint32_t)isrv & 0xf0;
  return (a->tpr & 0xf0) >= in_service ? a->tpr : in_service;
}

/* The vector that would be delivered now, or -1. */
static int deliverable(const struct apic *a) {
  if (!sw_enabled(a))
    return -1;
  int irrv = highest(a->irr);
  return irrv >= 0 && (uint32_t)irrv >> 4 > ppr(a) >> 4 ? irrv : -1;
}

static bool extint(const struct apic *a) {
  if (!(a->lint & 1))
    return false;
  return !hw_enabled(a) || (a->lvt[LVT_LINT0] & (LVT_MASKED | 0x700)) == APIC_EXTINT << 8;
}

static void update(struct apic *a) {
  bool intr = extint(a) || (hw_enabled(a) && deliverable(a) >= 0);
  if (intr != a->intr) {
    a->intr = intr;
    irq_set(&a->dev.irq[LINE_INTR], intr);
  }
}

static void raise_error(struct apic *a, uint32_t bit);

static void accept(struct apic *a, uint8_t vector, bool level) {
  if (vector < 16) {
    raise_error(a, ESR_RECEIVE_VECTOR);
    return;
  }
  set(a->irr, vector);
  if (level)
    set(a->tmr, vector);
  else
    clear(a->tmr, vector);
  update(a);
}

static void act(struct apic *a, int mode, uint8_t vector, bool level) {
  switch (mode) {
  case APIC_FIXED:
  case APIC_LOWEST: accept(a, vector, level); break;
  case APIC_SMI: irq_pulse(&a->dev.irq[LINE_SMI]); break;
  case APIC_NMI: irq_pulse(&a->dev.irq[LINE_NMI]); break;
  case APIC_INIT: irq_pulse(&a->dev.irq[LINE_INIT]); break;
  case APIC_STARTUP: break; /* the only CPU runs already */
  default: log_unimp_once("apic: message with delivery mode %d\n", mode); break;
  }
}

static void raise_error(struct apic *a, uint32_t bit) {
  a->esr_next |= bit;
  uint32_t lvt = a->lvt[LVT_ERROR];
  if (!(lvt & LVT_MASKED) && (lvt & 0xff) >= 16)
    accept(a, (uint8_t)lvt, false);
}

static bool addressed(const struct apic *a, uint8_t dest, bool logical) {
  if (!logical)
    return dest == 0xff || dest == (uint8_t)(a->id >> 24);
  uint8_t mine = (uint8_t)(a->ldr >> 24);
  if (a->dfr >> 28 == 15) /* flat model */
    return dest & mine;
  return (dest >> 4 == 15 || dest >> 4 == mine >> 4) && (dest & mine & 15);
}

void apic_deliver(void *apic, uint8_t dest, bool logical, int mode, uint8_t vector, bool level) {
  struct apic *a = apic;
  if (hw_enabled(a) && addressed(a, dest, logical))
    act(a, mode, vector, level);
}

/* --- local interrupts --- */

static void lint_level(struct apic *a, int n) {
  uint32_t *lvt = &a->lvt[LVT_LINT0 + n];
  if ((*lvt & (LVT_MASKED | LVT_REMOTE_IRR)) || !(a->lint >> n & 1))
    return;
  bool level = (*lvt & LVT_LEVEL) && (*lvt >> 8 & 7) == APIC_FIXED;
  if (level)
    *lvt |= LVT_REMOTE_IRR;
  if ((*lvt >> 8 & 7) != APIC_EXTINT)
    act(a, (int)(*lvt >> 8 & 7), (uint8_t)*lvt, level);
}

void apic_set_lint(void *apic, int n, int level) {
  struct apic *a = apic;
  DGM_ASSERT(n == 0 || n == 1);
  if ((a->lint >> n & 1) == !!level)
    return;
  a->lint ^= (uint8_t)(1u << n);
  if (hw_enabled(a))
    lint_level(a, n);
  else if (n == 1 && level)
    irq_pulse(&a->dev.irq[LINE_NMI]);
  update(a);
}

int apic_ack(void *apic) {
  struct apic *a = apic;
  int vector = hw_enabled(a) ? deliverable(a) : -1;
  if (vector >= 0) {
    clear(a->irr, (unsigned)vector);
    set(a->isr, (unsigned)vector);
    update(a);
    return vector;
  }
  if (a->extint_ack && (extint(a) || !hw_enabled(a))) {
    vector = a->extint_ack(a->extint_opaque);
    update(a);
    return vector & 0xff;
  }
  return (int)(a->svr & 0xff);
}

static void end_of_interrupt(struct apic *a) {
  int vector = highest(a->isr);
  if (vector < 0)
    return;
  clear(a->isr, (unsigned)vector);
  if (test(a->tmr, (unsigned)vector)) {
    for (int n = 0; n < 2; n++) {
      uint32_t *lvt = &a->lvt[LVT_LINT0 + n];
      if ((*lvt & LVT_REMOTE_IRR) && (int)(*lvt & 0xff) == vector) {
        *lvt &= ~LVT_REMOTE_IRR;
        lint_level(a, n);
      }
    }
    if (a->eoi)
      a->eoi(a->eoi_opaque, (uint8_t)vector);
  }
  update(a);
}

/* --- timer --- */

static int64_t divider(const struct apic *a) {
  unsigned v = (a->tdcr >> 1 & 4) | (a->tdcr & 3);
  return 1 << ((v + 1) & 7);
}

static bool periodic(const struct apic *a) { return a->lvt[LVT_TIMER] & LVT_PERIODIC; }

static int64_t bus_clocks(struct apic *a) { /* since timer_start */
  return muldiv64(clock_now(a->dev.clock) - a->timer_start, a->hz, NS_PER_SEC);
}

static uint32_t current_count(struct apic *a) {
  if (!a->tmict || a->expired)
    return 0;
  int64_t counts = bus_clocks(a) / divider(a);
  if (periodic(a))
    return a->tmict - (uint32_t)(counts % a->tmict);
  return counts >= a->tmict ? 0 : a->tmict - (uint32_t)counts;
}

static void timer_rearm(struct apic *a) {
  int64_t now = clock_now(a->dev.clock);
  int64_t at = a->timer_start + muldiv64(a->expiry, NS_PER_SEC, a->hz) + 1;
  if (periodic(a)) {
    int64_t gap = MIN_GAP_NS;
    if (at < now) {
      gap = muldiv64(a->tmict * divider(a), NS_PER_SEC / 4, a->hz);
      gap = gap < MIN_GAP_NS ? MIN_GAP_NS : gap;
    }
    at = at < now + gap ? now + gap : at;
  }
  timer_arm(&a->timer, at);
}

/* Find the next expiry after now and wait for it, if anybody wants to hear of it. */
static void timer_update(struct apic *a) {
  timer_cancel(&a->timer);
  if (!a->tmict || a->expired || (a->lvt[LVT_TIMER] & LVT_MASKED))
    return;
  int64_t period = a->tmict * divider(a), passed = periodic(a) ? bus_clocks(a) / period : 0;
  a->expiry = (passed + 1) * period; /* of a one-shot perhaps in the past already: the host may have been slow */
  timer_rearm(a);
}

static void timer_fire(void *opaque) {
  struct apic *a = opaque;
  uint8_t vector = (uint8_t)a->lvt[LVT_TIMER];
  bool taken = !test(a->irr, vector);
  accept(a, vector, false);
  if (!periodic(a)) {
    a->expired = true;
    return;
  }
  if (taken) /* else the last one still waits, and this one is owed */
    a->expiry += a->tmict * divider(a);
  if (bus_clocks(a) - a->expiry > (int64_t)a->hz) /* more than a second is owed: forget it */
    timer_update(a);
  else
    timer_rearm(a);
}

/* What is due by now comes before any change of the registers. */
static void timer_settle(struct apic *a) {
  if (!a->timer.armed || a->timer.deadline > clock_now(a->dev.clock))
    return;
  timer_cancel(&a->timer);
  timer_fire(a);
}

/* The timer's way of counting has changed: go on from `left`. */
static void timer_continue(struct apic *a, uint32_t left) {
  a->timer_start = clock_now(a->dev.clock) - muldiv64((a->tmict - left) * divider(a), NS_PER_SEC, a->hz);
  timer_update(a);
}

static void write_tdcr(struct apic *a, uint32_t value) {
  timer_settle(a);
  uint32_t left = current_count(a);
  a->tdcr = value & 0xb;
  timer_continue(a, left);
}

/* --- registers --- */

static void write_lvt(struct apic *a, unsigned n, uint32_t value) {
  static const uint32_t writable[LVT_COUNT] = {0x300ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};
  if (n == LVT_TIMER)
    timer_settle(a);
  uint32_t keep = a->lvt[n] & LVT_REMOTE_IRR, left = current_count(a);
  bool was_periodic = periodic(a);
  if (!(value & LVT_LEVEL))
    keep = 0;
  if (n == LVT_TIMER && !was_periodic && left == 0)
    a->expired = true;
  a->lvt[n] = (value & writable[n]) | keep | (sw_enabled(a) ? 0 : LVT_MASKED);
  if (n == LVT_TIMER && was_periodic && !periodic(a))
    timer_continue(a, left);
  else if (n == LVT_TIMER)
    timer_update(a);
  else if (n == LVT_LINT0 && (a->lvt[n] & LVT_LEVEL))
    lint_level(a, 0);
  update(a);
}

static void write_svr(struct apic *a, uint32_t value) {
  a->svr = value & 0x3ff;
  if (!sw_enabled(a)) {
    for (int i = 0; i < LVT_COUNT; i++)
      a->lvt[i] |= LVT_MASKED;
    timer_update(a);
  }
  update(a);
}

static void write_icr(struct apic *a, uint32_t value) {
  a->icr[0] = value & 0x000ccfff;
  int mode = (int)(value >> 8 & 7);
  uint8_t vector = (uint8_t)value;
  bool level = value & 0x8000, assert_level = value & 0x4000;
  if (mode == APIC_INIT && level && !assert_level)
    return; /* INIT level de-assert: arbitration only */
  if ((mode == APIC_FIXED || mode == APIC_LOWEST) && vector < 16) {
    raise_error(a, ESR_SEND_VECTOR);
    return;
  }
  switch (value >> 18 & 3) {
  case 0:
    if (addressed(a, (uint8_t)(a->icr[1] >> 24), value & 0x800))
      act(a, mode, vector, false);
    break;
  case 1: /* self: only fixed is legal */
    if (mode == APIC_FIXED)
      accept(a, vector, false);
    break;
  case 2: act(a, mode, vector, false); break;
  default: break; /* all but self: nobody */
  }
}

static void apic_write32(struct apic *a, uint32_t reg, uint32_t value) {
  switch (reg) {
  case 0x020: a->id = value & 0xff000000; break;
  case 0x080:
    a->tpr = value & 0xff;
    update(a);
    break;
  case 0x0b0: end_of_interrupt(a); break;
  case 0x0d0: a->ldr = value & 0xff000000; break;
  case 0x0e0: a->dfr = value | 0x0fffffff; break;
  case 0x0f0: write_svr(a, value); break;
  case 0x280:
    a->esr = a->esr_next;
    a->esr_next = 0;
    break;
  case 0x300: write_icr(a, value); break;
  case 0x310: a->icr[1] = value & 0xff000000; break;
  case 0x320: write_lvt(a, LVT_TIMER, value); break;
  case 0x330: write_lvt(a, LVT_THERMAL, value); break;
  case 0x340: write_lvt(a, LVT_PERF, value); break;
  case 0x350: write_lvt(a, LVT_LINT0, value); break;
  case 0x360: write_lvt(a, LVT_LINT1, value); break;
  case 0x370: write_lvt(a, LVT_ERROR, value); break;
  case 0x380:
    timer_settle(a);
    a->tmict = value;
    a->expired = false;
    a->timer_start = clock_now(a->dev.clock);
    timer_update(a);
    break;
  case 0x3e0: write_tdcr(a, value); break;
  case 0x030:
  case 0x090:
  case 0x0a0:
  case 0x0c0:
  case 0x390: break; /* read-only */
  default:
    if (reg < 0x100 || reg >= 0x280)
      raise_error(a, ESR_REGISTER);
    break;
  }
}

static uint32_t apic_read32(struct apic *a, uint32_t reg) {
  unsigned word = reg >> 4 & 7;
  switch (reg) {
  case 0x020: return a->id;
  case 0x030: return VERSION;
  case 0x080: return a->tpr;
  case 0x090: return 0;
  case 0x0a0: return ppr(a);
  case 0x0b0:
  case 0x0c0: return 0;
  case 0x0d0: return a->ldr;
  case 0x0e0: return a->dfr;
  case 0x0f0: return a->svr;
  case 0x280: return a->esr;
  case 0x300: return a->icr[0];
  case 0x310: return a->icr[1];
  case 0x320: return a->lvt[LVT_TIMER];
  case 0x330: return a->lvt[LVT_THERMAL];
  case 0x340: return a->lvt[LVT_PERF];
  case 0x350: return a->lvt[LVT_LINT0];
  case 0x360: return a->lvt[LVT_LINT1];
  case 0x370: return a->lvt[LVT_ERROR];
  case 0x380: return a->tmict;
  case 0x390: return current_count(a);
  case 0x3e0: return a->tdcr;
  default: break;
  }
  if (reg >= 0x100 && reg < 0x180)
    return a->isr[word];
  if (reg >= 0x180 && reg < 0x200)
    return a->tmr[word];
  if (reg >= 0x200 && reg < 0x280)
    return a->irr[word];
  raise_error(a, ESR_REGISTER);
  return 0;
}

static uint64_t mmio_read(void *opaque, uint32_t offset, int size) {
  (void)size;
  if (offset & 0xc)
    return 0;
  return apic_read32(opaque, offset & 0xff0) >> (offset & 3) * 8;
}

static void mmio_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  if (size == 4 && !(offset & 15)) /* others are undefined: ignored */
    apic_write32(opaque, offset & 0xff0, (uint32_t)value);
}

static const struct mmio_ops apic_ops = {.read = mmio_read, .write = mmio_write, .max_size = 4};

/* --- life --- */

void apic_set_eoi_handler(struct device *dev, void (*eoi)(void *opaque, uint8_t vector), void *opaque) {
  struct apic *a = DEVICE(struct apic, dev);
  a->eoi = eoi;
  a->eoi_opaque = opaque;
}

uint64_t apic_get_base(const struct device *dev) { return DEVICE(const struct apic, dev)->base; }

static void registers_reset(struct apic *a) {
  a->id = a->reset_id;
  a->tpr = a->ldr = a->esr = a->esr_next = 0;
  a->dfr = 0xffffffff;
  a->svr = 0xff;
  a->icr[0] = a->icr[1] = 0;
  memset(a->isr, 0, sizeof(a->isr));
  memset(a->tmr, 0, sizeof(a->tmr));
  memset(a->irr, 0, sizeof(a->irr));
  for (int i = 0; i < LVT_COUNT; i++)
    a->lvt[i] = LVT_MASKED;
  a->lvt[LVT_LINT0] = APIC_EXTINT << 8;
  a->tmict = a->tdcr = 0;
  a->expired = false;
  timer_cancel(&a->timer);
}

bool apic_waits(const struct device *dev, uint8_t vector) {
  return test(DEVICE(const struct apic, dev)->irr, vector);
}

void apic_set_base(void *apic, uint64_t base) {
  struct apic *a = apic;
  uint32_t old_pa = (uint32_t)a->base & 0xfffff000, pa = (uint32_t)base & 0xfffff000;
  bool was = hw_enabled(a), now = base & APIC_BASE_ENABLE;
  a->base = base;
  if (was && (!now || pa != old_pa))
    mem_unmap(a->dev.mem, old_pa, MEM_PAGE);
  if (now && (!was || pa != old_pa))
    mem_map_mmio(a->dev.mem, pa, MEM_PAGE, &apic_ops, a, "apic");
  if (was && !now)
    registers_reset(a);
  update(a);
}

void apic_info(const struct device *dev, FILE *out) {
  const struct apic *a = DEVICE(const struct apic, dev);
  static const char *const name[LVT_COUNT] = {"timer", "thermal", "perf", "lint0", "lint1", "error"};
  fprintf(out, "apic: base=%08x%s svr=%03x tpr=%02x ppr=%02x ldr=%08x dfr=%08x esr=%02x icr=%08x%08x\n",
          (unsigned)a->base & 0xfffff000, hw_enabled(a) ? "" : " (disabled)", a->svr, a->tpr, ppr(a), a->ldr,
          a->dfr, a->esr, a->icr[1], a->icr[0]);
  for (int i = 0; i < LVT_COUNT; i++)
    fprintf(out, "  lvt %-7s %08x\n", name[i], a->lvt[i]);
  fprintf(out, "  timer dcr=%x initial=%08x; highest irr=%d isr=%d\n", a->tdcr, a->tmict, highest(a->irr),
          highest(a->isr));
}

static void apic_reset(struct device *dev) {
  struct apic *a = DEVICE(struct apic, dev);
  registers_reset(a);
  apic_set_base(a, 0xfee00000 | APIC_BASE_ENABLE | APIC_BASE_BSP);
}

static int apic_init(struct device *dev, const struct device_args *args) {
  struct apic *a = DEVICE(struct apic, dev);
  const struct apic_config *config = args->config;
  a->hz = DEFAULT_HZ;
  if (config) {
    a->reset_id = (uint32_t)config->id << 24;
    a->hz = config->timer_hz ? config->timer_hz : DEFAULT_HZ;
    a->extint_ack = config->extint_ack;
    a->extint_opaque = config->extint_opaque;
  }
  timer_init(&a->timer, dev->clock, "apic", timer_fire, a);
  DGM_ASSERT(args->addr[0] == 0xfee00000);
  apic_reset(dev);
  return 0;
}

static const struct field apic_fields[] = {
    FIELD(U64, struct apic, base),
    FIELD(U32, struct apic, id),
    FIELD(U32, struct apic, tpr),
    FIELD(U32, struct apic, ldr),
    FIELD(U32, struct apic, dfr),
    FIELD(U32, struct apic, svr),
    FIELD(U32, struct apic, esr),
    FIELD(U32, struct apic, esr_next),
    FIELD_ARRAY(U32, struct apic, icr),
    FIELD_ARRAY(U32, struct apic, lvt),
    FIELD_ARRAY(U32, struct apic, isr),
    FIELD_ARRAY(U32, struct apic, tmr),
    FIELD_ARRAY(U32, struct apic, irr),
    FIELD(U32, struct apic, tmict),
    FIELD(BOOL, struct apic, expired),
    FIELD(U32, struct apic, tdcr),
    FIELD(I64, struct apic, timer_start),
    FIELD(I64, struct apic, expiry),
    FIELD(U8, struct apic, lint),
    FIELD(BOOL, struct apic, intr),
    FIELD(TIMER, struct apic, timer),
    FIELDS_END,
};

const struct device_class apic_class = {
    .name = "apic",
    .size = sizeof(struct apic),
    .init = apic_init,
    .reset = apic_reset,
    .fields = apic_fields,
};
