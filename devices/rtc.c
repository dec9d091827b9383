/* SPDX-License-Identifier: MIT */
/*
 * MC146818A real-time clock (Motorola datasheet) with 128 bytes of CMOS RAM, as on the AT: time of day
 * in BCD or binary, 12 or 24 hours, a century byte at 32h, update-in-progress, alarm, periodic and
 * update-ended interrupts, divider reset, NMI mask in the index port.
 *
 * Nothing ticks: registers and flags follow from the clock when they are read, and timers run only for
 * interrupts that are enabled. Periodic interrupts that the guest was too late for are made up for. Not
 * modelled: daylight saving switch-over (DSE), the square-wave pin.
 */
#include "devices/rtc.h"

#include <string.h>
#include <time.h>

enum {
  REG_SECONDS = 0,
  REG_SECONDS_ALARM,
  REG_MINUTES,
  REG_MINUTES_ALARM,
  REG_HOURS,
  REG_HOURS_ALARM,
  REG_WEEKDAY,
  REG_DAY,
  REG_MONTH,
  REG_YEAR,
  REG_A,
  REG_B,
  REG_C,
  REG_D
};

#define A_UIP 0x80
#define B_SET 0x80
#define B_PIE 0x40
#define B_AIE 0x20
#define B_UIE 0x10
#define B_SQWE 0x08
#define B_DM 0x04 /* 1 = binary */
#define B_24H 0x02
#define C_IRQF 0x80
#define C_PF 0x40
#define C_AF 0x20
#define C_UF 0x10

#define XTAL_HZ 32768
#define UIP_NS (244000 + 1984000) /* UIP rises 244 us before an update, which lasts 1984 us */
#define OWED_MAX XTAL_HZ          /* periodic interrupts are made up for within a second */
#define MIN_GAP_NS 50000
#define NEVER INT64_MAX

struct rtc {
  struct device dev;
  uint8_t cmos[128]; /* with the registers; time registers are current only after rtc_sync */
  uint8_t index;
  bool nmi_masked;
  bool clock_vm;
  int64_t base_sec;    /* seconds since 1970 (in the CMOS's own time zone) ... */
  int64_t base_ns;     /* ... at this time of rtc_ns */
  int64_t seen_sec;    /* second up to which UF and AF are accounted for */
  int64_t alarm_sec;   /* the next alarm after seen_sec */
  int64_t next_period; /* tick of the next periodic flag */
  struct timer second, periodic;
};

static int64_t host_ns(void) {
  struct timespec ts;
  clock_gettime(CLOCK_REALTIME, &ts);
  return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

/* Nanoseconds by the clock that drives the time of day: virtual since power-on, or the host's since 1970. */
static int64_t rtc_ns(const struct rtc *r) { return r->clock_vm ? clock_now(r->dev.clock) : host_ns(); }

static bool dividing(const struct rtc *r) { return (r->cmos[REG_A] & 0x70) <= 0x20; }
static bool running(const struct rtc *r) { return !(r->cmos[REG_B] & B_SET) && dividing(r); }

static int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0); }

static int64_t current_sec(const struct rtc *r) {
  return r->base_sec + floor_div(rtc_ns(r) - r->base_ns, NS_PER_SEC);
}

/* --- calendar --- */

/* Days since 1970-01-01 of the proleptic Gregorian calendar; month 1..12. */
static int64_t days_from_civil(int64_t year, int month, int day) {
  static const short before[12] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  int64_t y = year - 1; /* whole years before this one; year >= 0, so y >= -1 */
  int64_t days = year * 365 + (y < 0 ? 0 : y / 4 - y / 100 + y / 400 + 1);
  return days + before[month - 1] + (leap && month > 2) + day - 1 - 719528;
}

static uint8_t encode(const struct rtc *r, int v) {
  return (uint8_t)(r->cmos[REG_B] & B_DM ? v : v / 10 << 4 | v % 10);
}

static int decode(const struct rtc *r, uint8_t v) {
  return r->cmos[REG_B] & B_DM ? v : (v >> 4) * 10 + (v & 15);
}

static int decode_hour(const struct rtc *r, uint8_t v) {
  if (r->cmos[REG_B] & B_24H)
    return decode(r, v);
  return decode(r, v & 0x7f) % 12 + (v & 0x80 ? 12 : 0);
}

/* Bring the time registers up to date. */
static void rtc_sync(struct rtc *r) {
  if (!running(r))
    return;
  time_t t = (time_t)current_sec(r);
  struct tm tm;
  if (!gmtime_r(&t, &tm))
    return;
  r->cmos[REG_SECONDS] = encode(r, tm.tm_sec);
  r->cmos[REG_MINUTES] = encode(r, tm.tm_min);
  if (r->cmos[REG_B] & B_24H)
    r->cmos[REG_HOURS] = encode(r, tm.tm_hour);
  else
    r->cmos[REG_HOURS] = encode(r, tm.tm_hour % 12 ? tm.tm_hour % 12 : 12) | (tm.tm_hour >= 12 ? 0x80 : 0);
  r->cmos[REG_WEEKDAY] = encode(r, tm.tm_wday + 1);
  r->cmos[REG_DAY] = encode(r, tm.tm_mday);
  r->cmos[REG_MONTH] = encode(r, tm.tm_mon + 1);
  r->cmos[REG_YEAR] = encode(r, (tm.tm_year + 1900) % 100);
  r->cmos[RTC_CENTURY] = encode(r, (tm.tm_year + 1900) / 100 % 100);
}

/* Seconds since 1970 that the time registers show; nonsense is carried over as mktime does. */
static int64_t registers_to_sec(const struct rtc *r) {
  int year = decode(r, r->cmos[RTC_CENTURY]) * 100 + decode(r, r->cmos[REG_YEAR]);
  int month = decode(r, r->cmos[REG_MONTH]);
  month = month < 1 ? 1 : month > 12 ? 12 : month;
  int64_t days = days_from_civil(year, month, decode(r, r->cmos[REG_DAY]));
  return days * 86400 + decode_hour(r, r->cmos[REG_HOURS]) * 3600 + decode(r, r->cmos[REG_MINUTES]) * 60 +
         decode(r, r->cmos[REG_SECONDS]);
}

/* --- alarm --- */

static bool alarm_matches(const struct rtc *r, int reg, int value) {
  uint8_t a = r->cmos[reg];
  return a >= 0xc0 || (reg == REG_HOURS_ALARM ? decode_hour(r, a) : decode(r, a)) == value;
}

/* First second after `from` at which the alarm goes off. */
static int64_t next_alarm(const struct rtc *r, int64_t from) {
  if (r->cmos[REG_SECONDS_ALARM] < 0xc0 && decode(r, r->cmos[REG_SECONDS_ALARM]) > 59)
    return NEVER;
  for (int64_t t = from + 1; t <= from + 86400;) {
    int64_t of_day = t - floor_div(t, 86400) * 86400;
    if (!alarm_matches(r, REG_HOURS_ALARM, (int)(of_day / 3600)))
      t += 3600 - of_day % 3600;
    else if (!alarm_matches(r, REG_MINUTES_ALARM, (int)(of_day / 60 % 60)))
      t += 60 - of_day % 60;
    else if (!alarm_matches(r, REG_SECONDS_ALARM, (int)(of_day % 60)))
      t++;
    else
      return t;
  }
  return NEVER;
}

/* The time, its format or the alarm changed. */
static void restart_seconds(struct rtc *r) {
  r->seen_sec = current_sec(r);
  r->alarm_sec = next_alarm(r, r->seen_sec);
}

/* --- flags, timers and the line --- */

static int64_t period_ticks(const struct rtc *r) {
  unsigned rs = r->cmos[REG_A] & 15;
  if (!rs || !dividing(r))
    return 0;
  return 1 << ((rs <= 2 ? rs + 7 : rs) - 1);
}

static int64_t xtal_now(const struct rtc *r) {
  return muldiv64(clock_now(r->dev.clock), XTAL_HZ, NS_PER_SEC);
}

static void restart_period(struct rtc *r) {
  int64_t period = period_ticks(r);
  r->next_period = period ? (xtal_now(r) / period + 1) * period : NEVER;
}

/* Set the flags of everything that has happened by now. */
static void update_flags(struct rtc *r) {
  if (running(r)) {
    int64_t sec = current_sec(r);
    if (sec > r->seen_sec) {
      r->cmos[REG_C] |= C_UF;
      if (sec >= r->alarm_sec) {
        r->cmos[REG_C] |= C_AF;
        r->alarm_sec = next_alarm(r, sec);
      }
      r->seen_sec = sec;
    }
  }
  if (!r->periodic.armed && r->next_period != NEVER && xtal_now(r) >= r->next_period) {
    r->cmos[REG_C] |= C_PF;
    restart_period(r);
  }
}

static void update_line(struct rtc *r) {
  bool on = r->cmos[REG_B] & r->cmos[REG_C] & (C_PF | C_AF | C_UF);
  r->cmos[REG_C] = (uint8_t)((r->cmos[REG_C] & ~C_IRQF) | (on ? C_IRQF : 0));
  irq_set(&r->dev.irq[0], on);
}

static void arm_second(struct rtc *r) {
  int64_t target = NEVER;
  if (running(r) && (r->cmos[REG_B] & B_UIE))
    target = r->seen_sec + 1;
  else if (running(r) && (r->cmos[REG_B] & B_AIE))
    target = r->alarm_sec;
  if (target == NEVER) {
    timer_cancel(&r->second);
    return;
  }
  int64_t wait = (target - r->base_sec) * NS_PER_SEC + r->base_ns - rtc_ns(r);
  timer_arm(&r->second, clock_now(r->dev.clock) + (wait < 1000 ? 1000 : wait));
}

static void arm_periodic(struct rtc *r) {
  if (!(r->cmos[REG_B] & B_PIE) || r->next_period == NEVER) {
    timer_cancel(&r->periodic);
    return;
  }
  int64_t now = clock_now(r->dev.clock), at = muldiv64(r->next_period, NS_PER_SEC, XTAL_HZ) + 1;
  if (at < now) { /* late: catch up gently */
    int64_t gap = muldiv64(period_ticks(r), NS_PER_SEC / 4, XTAL_HZ);
    at = now + (gap < MIN_GAP_NS ? MIN_GAP_NS : gap);
  }
  timer_arm(&r->periodic, at);
}

static void second_fire(void *opaque) {
  struct rtc *r = opaque;
  update_flags(r);
  update_line(r);
  arm_second(r);
}

static void periodic_fire(void *opaque) {
  struct rtc *r = opaque;
  int64_t period = period_ticks(r);
  if (!period)
    return;
  if (xtal_now(r) - r->next_period > OWED_MAX) {
    restart_period(r);
  } else if (r->cmos[REG_C] & C_PF) { /* not fetched yet: this one is owed */
    timer_arm(&r->periodic, clock_now(r->dev.clock) + muldiv64(period, NS_PER_SEC, XTAL_HZ));
    return;
  } else {
    r->next_period += period;
  }
  r->cmos[REG_C] |= C_PF;
  arm_periodic(r);
  update_line(r);
}

/* --- registers --- */

static void write_a(struct rtc *r, uint8_t value) {
  bool was_dividing = dividing(r);
  update_flags(r);
  rtc_sync(r);
  if ((r->cmos[REG_A] & 0x7f) == (value & 0x7f))
    return;
  r->cmos[REG_A] = value & 0x7f;
  if (dividing(r) != was_dividing) {
    if (!was_dividing) { /* the first update comes half a second after the divider is released */
      r->base_ns = rtc_ns(r) - NS_PER_SEC / 2;
      r->base_sec = registers_to_sec(r);
    }
    restart_seconds(r);
  }
  restart_period(r);
  arm_second(r);
  arm_periodic(r);
}

/* Show time `sec` from now on, without moving the second's boundary. */
static void set_time(struct rtc *r, int64_t sec) {
  r->base_sec += sec - current_sec(r);
  restart_seconds(r);
}

static void write_b(struct rtc *r, uint8_t value) {
  update_flags(r);
  rtc_sync(r);
  bool was_set = r->cmos[REG_B] & B_SET;
  uint8_t old = r->cmos[REG_B];
  if (value & B_SET)
    value &= ~B_UIE;
  r->cmos[REG_B] = value;
  if (was_set && !(value & B_SET))
    set_time(r, registers_to_sec(r));
  else if ((old ^ value) & (B_DM | B_24H))
    restart_seconds(r);
  if ((value & ~old & B_PIE) && !r->periodic.armed)
    restart_period(r);
  update_line(r);
  arm_second(r);
  arm_periodic(r);
}

static void write_register(struct rtc *r, unsigned index, uint8_t value) {
  switch (index) {
  case REG_SECONDS:
  case REG_MINUTES:
  case REG_HOURS:
  case REG_WEEKDAY:
  case REG_DAY:
  case REG_MONTH:
  case REG_YEAR:
  case RTC_CENTURY:
    update_flags(r);
    rtc_sync(r);
    r->cmos[index] = value;
    if (running(r)) {
      set_time(r, registers_to_sec(r));
      arm_second(r);
    }
    break;
  case REG_SECONDS_ALARM:
  case REG_MINUTES_ALARM:
  case REG_HOURS_ALARM:
    update_flags(r);
    r->cmos[index] = value;
    restart_seconds(r);
    arm_second(r);
    break;
  case REG_A: write_a(r, value); break;
  case REG_B: write_b(r, value); break;
  case REG_C:
  case REG_D: break;
  default: r->cmos[index] = value; break;
  }
}

static uint8_t read_register(struct rtc *r, unsigned index) {
  uint8_t value;
  switch (index) {
  case REG_SECONDS:
  case REG_MINUTES:
  case REG_HOURS:
  case REG_WEEKDAY:
  case REG_DAY:
  case REG_MONTH:
  case REG_YEAR:
  case RTC_CENTURY: rtc_sync(r); return r->cmos[index];
  case REG_A: {
    int64_t into = rtc_ns(r) - r->base_ns;
    into -= floor_div(into, NS_PER_SEC) * NS_PER_SEC;
    return r->cmos[REG_A] | (running(r) && into >= NS_PER_SEC - UIP_NS ? A_UIP : 0);
  }
  case REG_C:
    update_flags(r);
    update_line(r);
    value = r->cmos[REG_C];
    r->cmos[REG_C] = 0;
    update_line(r);
    if (r->second.armed)
      arm_second(r);
    return value;
  default: return r->cmos[index];
  }
}

static void rtc_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct rtc *r = opaque;
  (void)size;
  if (offset & 1) {
    write_register(r, r->index, (uint8_t)value);
    return;
  }
  r->index = value & 0x7f;
  if (r->nmi_masked != !!(value & 0x80)) {
    r->nmi_masked = !r->nmi_masked;
    irq_set(&r->dev.irq[1], r->nmi_masked);
  }
}

static uint32_t rtc_read(void *opaque, uint32_t offset, int size) {
  struct rtc *r = opaque;
  (void)size;
  return offset & 1 ? read_register(r, r->index) : 0xff; /* the index port is write-only */
}

void rtc_set_cmos(struct device *dev, unsigned index, uint8_t value) {
  write_register(DEVICE(struct rtc, dev), index & 0x7f, value);
}

uint8_t rtc_get_cmos(struct device *dev, unsigned index) {
  struct rtc *r = DEVICE(struct rtc, dev);
  rtc_sync(r);
  return r->cmos[index & 0x7f];
}

static const struct io_ops rtc_ops = {rtc_read, rtc_write, 1};

static void rtc_reset(struct device *dev) {
  struct rtc *r = DEVICE(struct rtc, dev);
  r->cmos[REG_B] &= ~(B_PIE | B_AIE | B_UIE | B_SQWE);
  r->cmos[REG_C] = 0;
  r->index = 0;
  r->nmi_masked = false;
  irq_lower(&dev->irq[1]);
  timer_cancel(&r->second);
  timer_cancel(&r->periodic);
  update_line(r);
}

static int64_t local_offset(time_t t) {
  struct tm tm;
  return localtime_r(&t, &tm) ? tm.tm_gmtoff : 0;
}

static int rtc_init(struct device *dev, const struct device_args *args) {
  static const struct rtc_config defaults = {.base = -1};
  struct rtc *r = DEVICE(struct rtc, dev);
  const struct rtc_config *config = args->config ? args->config : &defaults;
  r->clock_vm = config->clock_vm || clock_is_counted(dev->clock);
  int64_t host = host_ns();
  r->base_sec = config->base;
  r->base_ns = rtc_ns(r);
  if (config->base == -1) {
    r->base_sec = host / NS_PER_SEC;
    r->base_ns -= host % NS_PER_SEC;
    if (config->localtime)
      r->base_sec += local_offset((time_t)r->base_sec);
  }
  r->cmos[REG_A] = 0x26;
  r->cmos[REG_B] = B_24H;
  r->cmos[REG_D] = 0x80;
  timer_init(&r->second, dev->clock, "rtc-second", second_fire, r);
  timer_init(&r->periodic, dev->clock, "rtc-periodic", periodic_fire, r);
  restart_seconds(r);
  restart_period(r);
  rtc_reset(dev);
  return io_map(dev->io, args->port[0], 2, &rtc_ops, dev, "rtc");
}

static const struct field rtc_fields[] = {
    FIELD_BUFFER(struct rtc, cmos),
    FIELD(U8, struct rtc, index),
    FIELD(BOOL, struct rtc, nmi_masked),
    FIELD(I64, struct rtc, base_sec),
    FIELD(I64, struct rtc, base_ns),
    FIELD(I64, struct rtc, seen_sec),
    FIELD(I64, struct rtc, alarm_sec),
    FIELD(I64, struct rtc, next_period),
    FIELD(TIMER, struct rtc, second),
    FIELD(TIMER, struct rtc, periodic),
    FIELDS_END,
};

const struct device_class rtc_class = {
    .name = "rtc",
    .size = sizeof(struct rtc),
    .init = rtc_init,
    .reset = rtc_reset,
    .fields = rtc_fields,
};
