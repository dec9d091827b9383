/* SPDX-License-Identifier: MIT */
/* PIIX4 power management: placement by configuration space, PM timer, SCI, power button, soft off, SMBus
 * without slaves. */
#include "devices/piix4_pm.h"
#include "tests/unit/chip_rig.h"

static struct device *pm;
static struct pci_bus *bus;
static uint32_t config_address;
static int offs;

#define DEVFN (1 << 3 | 3)

static void power_off(void *opaque) {
  (void)opaque;
  offs++;
}

static struct rig *setup(void) {
  struct rig *r = rig_new();
  offs = 0;
  bus = pci_bus_new(r->set.io, r->set.mem, 0xc0000000, 0xfebfffff, &config_address);
  pm = rig_add(r, &piix4_pm_class,
               &(struct device_args){
                   .id = "pm",
                   .port = {0xb2, 0xafe0},
                   .config = &(struct piix4_pm_config){.bus = bus, .devfn = DEVFN, .power_off = power_off}});
  pci_config_write(bus, DEVFN, 0x40, 4, 0x601);
  pci_config_write(bus, DEVFN, 0x80, 1, 1);
  return r;
}

static void teardown(struct rig *r) {
  pci_bus_free(bus);
  rig_free(r);
}

START_TEST(configuration) {
  struct rig *r = setup();
  ck_assert_uint_eq(pci_config_read(bus, DEVFN, 0, 4), 0x71138086);
  ck_assert_uint_eq(pci_config_read(bus, DEVFN, 8, 4) >> 8, 0x068000);
  ck_assert_uint_eq(pci_config_read(bus, DEVFN, 0x40, 4), 0x601);
  ck_assert_uint_eq(pci_config_read(bus, DEVFN, 0x58, 4) >> 25 & 1, 1);
  ck_assert_uint_eq(io_read(r->set.io, 0x604, 2), 0);
  pci_config_write(bus, DEVFN, 0x40, 4, 0xb001);
  ck_assert_uint_eq(io_read(r->set.io, 0x604, 2), 0xffff);
  ck_assert_uint_eq(io_read(r->set.io, 0xb004, 2), 0);
  pci_config_write(bus, DEVFN, 0x80, 1, 0);
  ck_assert_uint_eq(io_read(r->set.io, 0xb004, 2), 0xffff);
  teardown(r);
}
END_TEST

START_TEST(pm_timer) {
  struct rig *r = setup();
  rig_advance(r, NS_PER_SEC);
  uint32_t a = io_read(r->set.io, 0x608, 4);
  ck_assert_uint_eq(a, 3579545);
  rig_advance(r, 4 * NS_PER_SEC);
  uint32_t b = io_read(r->set.io, 0x608, 4);
  ck_assert_uint_eq(b, 5 * 3579545 - (1 << 24));
  io_write(r->set.io, 0x600, 2, 1);
  rig_out(r, 0xb2, 0xf1);
  ck_assert_uint_eq(io_read(r->set.io, 0x604, 2) & 1, 1);
  io_write(r->set.io, 0x602, 2, 1);
  ck_assert_int_eq(r->level[0], 0);
  rig_advance(r, 5 * NS_PER_SEC / 2); /* bit 23 changes every 2.34 s */
  ck_assert_int_eq(r->level[0], 1);
  io_write(r->set.io, 0x600, 2, 1);
  ck_assert_int_eq(r->level[0], 0);
  rig_advance(r, 5 * NS_PER_SEC / 2);
  ck_assert_int_eq(r->level[0], 1);
  rig_out(r, 0xb2, 0xf0);
  ck_assert_int_eq(r->level[0], 0);
  teardown(r);
}
END_TEST

START_TEST(button_and_off) {
  struct rig *r = setup();
  rig_out(r, 0xb2, 0xf1);
  piix4_pm_power_button(pm);
  ck_assert_int_eq(r->level[0], 0);
  ck_assert_uint_eq(io_read(r->set.io, 0x600, 2) & 0x100, 0x100);
  io_write(r->set.io, 0x602, 2, 0x100);
  ck_assert_int_eq(r->level[0], 1);
  io_write(r->set.io, 0x600, 2, 0x100);
  ck_assert_int_eq(r->level[0], 0);
  io_write(r->set.io, 0x604, 2, 0x2401); /* S3: wakes at once */
  ck_assert_int_eq(offs, 0);
  ck_assert_uint_eq(io_read(r->set.io, 0x600, 2) & 0x8000, 0x8000);
  io_write(r->set.io, 0x604, 2, 0x2001);
  ck_assert_int_eq(offs, 1);
  teardown(r);
}
END_TEST

START_TEST(gpe_and_smbus) {
  struct rig *r = setup();
  io_write(r->set.io, 0xafe0, 4, 0x00020000);
  ck_assert_uint_eq(io_read(r->set.io, 0xafe0, 4), 0x00020000);
  ck_assert_uint_eq(io_read(r->set.io, 0x60e, 2), 0x0002);
  pci_config_write(bus, DEVFN, 0x90, 4, 0x701);
  pci_config_write(bus, DEVFN, 0xd2, 1, 9);
  ck_assert_uint_eq(rig_in(r, 0x700), 0);
  rig_out(r, 0x702, 0x48);
  ck_assert_uint_eq(rig_in(r, 0x700), 0x04);
  rig_out(r, 0x700, 0x04);
  ck_assert_uint_eq(rig_in(r, 0x700), 0);
  teardown(r);
}
END_TEST

static void fuzz_config(struct rig *r, struct device *dev) {
  uint64_t x = rig_random(r);
  (void)dev;
  pci_config_write(bus, DEVFN, (uint32_t)(x >> 8) & 0xfc, 4, (uint32_t)(x >> 32));
  if (x & 1)
    piix4_pm_power_button(pm);
  if (x & 2) { /* back to where the ports are */
    pci_config_write(bus, DEVFN, 0x40, 4, 0x600);
    pci_config_write(bus, DEVFN, 0x80, 1, 1);
  }
}

START_TEST(fuzz) {
  uint16_t ports[64 + 6] = {0xb2, 0xb3, 0xafe0, 0xafe2, 0x700, 0x702};
  struct rig *r = setup();
  for (int i = 0; i < 64; i++)
    ports[6 + i] = (uint16_t)(0x600 + i);
  FILE *quiet = freopen("/dev/null", "w", stderr); /* places that are taken are reported */
  ck_assert_ptr_nonnull(quiet);
  rig_fuzz_ports(r, ports, 70, fuzz_config, pm);
  rig_check_fields(pm);
  teardown(r);
}
END_TEST

RIG_SUITE(acpi, configuration, pm_timer, button_and_off, gpe_and_smbus, fuzz)
