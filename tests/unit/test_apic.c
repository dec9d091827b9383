/* SPDX-License-Identifier: MIT */
/* Local APIC and I/O APIC: virtual wire, priorities, timer, interprocessor interrupts, level-triggered pins.
 */
#include "devices/apic.h"
#include "devices/ioapic.h"
#include "tests/unit/chip_rig.h"

#define APIC 0xfee00000u
#define IOAPIC 0xfec00000u

static struct device *apic, *ioapic;
static int extint_vector;

static int extint_ack(void *opaque) {
  (void)opaque;
  apic_set_lint(apic, 0, 0);
  return extint_vector;
}

static struct rig *setup(void) {
  struct rig *r = rig_new();
  apic =
      rig_add(r, &apic_class,
              &(struct device_args){
                  .id = "apic", .addr = {APIC}, .config = &(struct apic_config){.extint_ack = extint_ack}});
  ioapic =
      rig_add(r, &ioapic_class,
              &(struct device_args){
                  .id = "ioapic", .addr = {IOAPIC}, .config = &(struct ioapic_config){apic_deliver, apic}});
  apic_set_eoi_handler(apic, ioapic_eoi, ioapic);
  extint_vector = 0x33;
  return r;
}

static void enable(struct rig *r) { rig_mmio_out(r, APIC + 0xf0, 0x1ff); }
static void self_ipi(struct rig *r, uint8_t vector) { rig_mmio_out(r, APIC + 0x300, 0x44000u | vector); }
static void eoi(struct rig *r) { rig_mmio_out(r, APIC + 0xb0, 0); }

static void pin(struct rig *r, int n, uint32_t low) {
  rig_mmio_out(r, IOAPIC, 0x11 + 2 * (unsigned)n);
  rig_mmio_out(r, IOAPIC + 0x10, 0);
  rig_mmio_out(r, IOAPIC, 0x10 + 2 * (unsigned)n);
  rig_mmio_out(r, IOAPIC + 0x10, low);
}

START_TEST(virtual_wire) {
  struct rig *r = setup();
  apic_set_lint(apic, 0, 1);
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_int_eq(apic_ack(apic), 0x33);
  ck_assert_int_eq(r->level[0], 0);
  enable(r);
  rig_mmio_out(r, APIC + 0x350, 0x10700); /* masked */
  apic_set_lint(apic, 0, 1);
  ck_assert_int_eq(r->level[0], 0);
  rig_mmio_out(r, APIC + 0x350, 0x700);
  ck_assert_int_eq(r->level[0], 1);
  apic_set_base(apic, APIC | APIC_BASE_BSP); /* globally disabled: straight through */
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_uint_eq(rig_mmio(r, APIC + 0x30), 0xffffffff);
  ck_assert_int_eq(apic_ack(apic), 0x33);
  apic_set_base(apic, 0xfe000000 | APIC_BASE_BSP | APIC_BASE_ENABLE); /* moved */
  ck_assert_uint_eq(rig_mmio(r, 0xfe000030), 0x50014);
  apic->cls->reset(apic);
  ck_assert_uint_eq(rig_mmio(r, APIC + 0x30), 0x50014);
  rig_free(r);
}
END_TEST

START_TEST(priorities) {
  struct rig *r = setup();
  enable(r);
  self_ipi(r, 0x41);
  self_ipi(r, 0x52);
  ck_assert_uint_eq(rig_mmio(r, APIC + 0x220), 0x00040002); /* IRR 40h-5Fh */
  ck_assert_int_eq(apic_ack(apic), 0x52);
  ck_assert_int_eq(r->level[0], 0);
  ck_assert_uint_eq(rig_mmio(r, APIC + 0xa0), 0x50);
  self_ipi(r, 0x5f); /* same class: waits */
  ck_assert_int_eq(r->level[0], 0);
  self_ipi(r, 0x60);
  ck_assert_int_eq(r->level[0], 1);
  rig_mmio_out(r, APIC + 0x80, 0x60);
  ck_assert_int_eq(r->level[0], 0);
  ck_assert_int_eq(apic_ack(apic), 0xff); /* spurious */
  rig_mmio_out(r, APIC + 0x80, 0);
  ck_assert_int_eq(apic_ack(apic), 0x60);
  eoi(r);
  eoi(r);
  ck_assert_int_eq(apic_ack(apic), 0x5f);
  eoi(r);
  ck_assert_int_eq(apic_ack(apic), 0x41);
  eoi(r);
  eoi(r); /* nothing in service */
  ck_assert_uint_eq(rig_mmio(r, APIC + 0xa0), 0);
  self_ipi(r, 0x05);
  rig_mmio_out(r, APIC + 0x280, 0);
  ck_assert_uint_eq(rig_mmio(r, APIC + 0x280), 0x20);
  rig_free(r);
}
END_TEST

START_TEST(timer) {
  struct rig *r = setup();
  enable(r);
  rig_mmio_out(r, APIC + 0x3e0, 0x0b); /* divide by 1: 10 ns */
  rig_mmio_out(r, APIC + 0x320, 0x40);
  rig_mmio_out(r, APIC + 0x380, 100000);
  rig_advance(r, 400000);
  ck_assert_uint_eq(rig_mmio(r, APIC + 0x390), 60000);
  rig_advance(r, 599000);
  ck_assert_int_eq(r->level[0], 0);
  rig_advance(r, 2000);
  ck_assert_int_eq(apic_ack(apic), 0x40);
  eoi(r);
  ck_assert_uint_eq(rig_mmio(r, APIC + 0x390), 0);
  rig_advance(r, 10000000);
  ck_assert_int_eq(r->level[0], 0);
  rig_mmio_out(r, APIC + 0x3e0, 0x00); /* divide by 2 */
  rig_mmio_out(r, APIC + 0x320, 0x20041);
  rig_mmio_out(r, APIC + 0x380, 50000);
  rig_advance(r, 1250000); /* one and a quarter periods, then once more only */
  ck_assert_int_eq(apic_ack(apic), 0x41);
  eoi(r);
  rig_mmio_out(r, APIC + 0x320, 0x41);
  ck_assert_uint_eq(rig_mmio(r, APIC + 0x390), 37500);
  rig_advance(r, 749000);
  ck_assert_int_eq(r->level[0], 0);
  rig_advance(r, 2000);
  ck_assert_int_eq(apic_ack(apic), 0x41);
  eoi(r);
  ck_assert_uint_eq(rig_mmio(r, APIC + 0x390), 0);
  rig_mmio_out(r, APIC + 0x320, 0x20041);
  rig_mmio_out(r, APIC + 0x380, 50000);
  int count = 0;
  for (int i = 0; i < 1000; i++) {
    rig_advance(r, 100000);
    if (r->level[0]) {
      ck_assert_int_eq(apic_ack(apic), 0x41);
      eoi(r);
      count++;
    }
  }
  ck_assert_int_ge(count, 99);
  ck_assert_int_le(count, 100);
  rig_advance(r, 20000000); /* nobody takes it for 20 ms */
  for (int i = 0; i < 800; i++) {
    rig_advance(r, 100000);
    if (r->level[0]) {
      ck_assert_int_eq(apic_ack(apic), 0x41);
      eoi(r);
      count++;
    }
  }
  ck_assert_int_ge(count, 199);
  ck_assert_int_le(count, 201);
  rig_mmio_out(r, APIC + 0x320, 0x30041); /* masked */
  rig_advance(r, 5000000);
  ck_assert_int_eq(r->level[0], 0);
  rig_free(r);
}
END_TEST

/* The host is slow: time passes between two looks at the clock, and timers run late. Nothing may get lost. */
START_TEST(late_timer) {
  struct rig *r = setup();
  enable(r);
  rig_mmio_out(r, APIC + 0x3e0, 0x0b);
  rig_mmio_out(r, APIC + 0x320, 0x40);
  r->drift = 5000;
  rig_mmio_out(r, APIC + 0x380, 10); /* 100 ns */
  r->drift = 0;
  rig_advance(r, 1000);
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_int_eq(apic_ack(apic), 0x40);
  eoi(r);
  rig_mmio_out(r, APIC + 0x380, 10);
  r->ns += 1000; /* due, but not run yet */
  rig_mmio_out(r, APIC + 0x320, 0x41);
  ck_assert_int_eq(apic_ack(apic), 0x40);
  eoi(r);
  rig_mmio_out(r, APIC + 0x380, 10);
  r->ns += 1000;
  rig_mmio_out(r, APIC + 0x380, 100000);
  ck_assert_int_eq(apic_ack(apic), 0x41);
  eoi(r);
  rig_advance(r, 900000);
  ck_assert_int_eq(r->level[0], 0);
  rig_advance(r, 200000);
  ck_assert_int_eq(apic_ack(apic), 0x41);
  rig_free(r);
}
END_TEST

START_TEST(edge_pin) {
  struct rig *r = setup();
  enable(r);
  pin(r, 4, 0x10044);
  ioapic_set_irq(ioapic, 4, 1);
  ioapic_set_irq(ioapic, 4, 0);
  ck_assert_int_eq(r->level[0], 0);
  pin(r, 4, 0x00044); /* the edge was lost */
  ck_assert_int_eq(r->level[0], 0);
  ioapic_set_irq(ioapic, 4, 1);
  ck_assert_int_eq(r->level[0], 1);
  ck_assert_int_eq(apic_ack(apic), 0x44);
  eoi(r);
  ck_assert_int_eq(r->level[0], 0);
  rig_mmio_out(r, IOAPIC, 1);
  ck_assert_uint_eq(rig_mmio(r, IOAPIC + 0x10), 0x170011);
  rig_free(r);
}
END_TEST

START_TEST(level_pin) {
  struct rig *r = setup();
  enable(r);
  pin(r, 11, 0x08051);
  ioapic_set_irq(ioapic, 11, 1);
  rig_mmio_out(r, IOAPIC, 0x10 + 22);
  ck_assert_uint_eq(rig_mmio(r, IOAPIC + 0x10), 0x0c051);
  ck_assert_int_eq(apic_ack(apic), 0x51);
  ck_assert_uint_eq(rig_mmio(r, APIC + 0x1a0), 0x20000); /* TMR */
  eoi(r);
  ck_assert_int_eq(apic_ack(apic), 0x51); /* still asserted */
  ioapic_set_irq(ioapic, 11, 0);
  eoi(r);
  ck_assert_int_eq(r->level[0], 0);
  rig_mmio_out(r, IOAPIC, 0x10 + 22);
  ck_assert_uint_eq(rig_mmio(r, IOAPIC + 0x10), 0x08051);
  rig_free(r);
}
END_TEST

START_TEST(destinations) {
  struct rig *r = setup();
  enable(r);
  apic_deliver(apic, 1, false, APIC_FIXED, 0x40, false);
  ck_assert_int_eq(r->level[0], 0);
  rig_mmio_out(r, APIC + 0xd0, 0x04000000);
  apic_deliver(apic, 2, true, APIC_LOWEST, 0x40, false);
  ck_assert_int_eq(r->level[0], 0);
  apic_deliver(apic, 6, true, APIC_LOWEST, 0x40, false);
  ck_assert_int_eq(r->level[0], 1);
  rig_mmio_out(r, APIC + 0x310, 0);
  rig_mmio_out(r, APIC + 0x300, 0x4400); /* NMI to APIC 0 */
  ck_assert_uint_eq(r->edges[1], 1);
  rig_mmio_out(r, APIC + 0x300, 0x8500); /* INIT de-assert */
  ck_assert_uint_eq(r->edges[2], 0);
  rig_mmio_out(r, APIC + 0x300, 0x4500);
  ck_assert_uint_eq(r->edges[2], 1);
  rig_mmio_out(r, APIC + 0x360, 0x400); /* LINT1 is NMI */
  apic_set_lint(apic, 1, 1);
  ck_assert_uint_eq(r->edges[1], 2);
  rig_free(r);
}
END_TEST

static void fuzz_lines(struct rig *r, struct device *dev) {
  uint64_t x = rig_random(r);
  (void)dev;
  switch (x & 3) {
  case 0: ioapic_set_irq(ioapic, (int)((x >> 8) % 24), x >> 16 & 1); break;
  case 1: apic_set_lint(apic, x >> 8 & 1, x >> 16 & 1); break;
  case 2: ck_assert_int_eq(apic_ack(apic) & ~0xff, 0); break;
  default: rig_mmio_out(r, APIC + 0xb0, 0); break;
  }
}

START_TEST(fuzz) {
  struct rig *r = setup();
  rig_fuzz_mmio(r, APIC, 0x400, fuzz_lines, NULL);
  rig_fuzz_mmio(r, IOAPIC, 0x50, fuzz_lines, NULL);
  for (int i = 0; i < 1000; i++) { /* wherever its base register puts it */
    apic_set_base(apic, rig_random(r));
    fuzz_lines(r, NULL);
  }
  rig_check_fields(apic);
  rig_check_fields(ioapic);
  rig_free(r);
}
END_TEST

RIG_SUITE(apic, virtual_wire, priorities, timer, late_timer, edge_pin, level_pin, destinations, fuzz)
