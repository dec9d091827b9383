/* SPDX-License-Identifier: MIT */
/*
 * The devices that can be added to the board by name (-device and what stands for it): one row each, with the
 * function that gives the chip its ports, lines and back ends.
 */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "devices/debugcon.h"
#include "devices/isa_debug_exit.h"
#include "devices/pc.h"
#include "devices/pc_testdev.h"
#include "devices/props.h"

#define TESTDEV_ADDR 0xff000000u

struct driver {
  struct board_driver public;
  int (*add)(struct pc *pc, const struct board_extra *extra, const char *id); /* 0 or -errno, reported */
};

static int add_debug_exit(struct pc *pc, const struct board_extra *extra, const char *id) {
  uint32_t port = 0x501, size = 2; /* QEMU's defaults */
  if (props_u32(extra->props, "isa-debug-exit", "iobase", 1, 0xffff, &port) ||
      props_u32(extra->props, "isa-debug-exit", "iosize", 1, 4, &size))
    return -EINVAL;
  if (port + size > 0x10000) {
    error_report("-device isa-debug-exit: the ports end beyond 0xffff");
    return -EINVAL;
  }
  struct isa_debug_exit_config config = {size, pc_debug_exit, pc};
  struct device_args args = {.id = id, .port = {(uint16_t)port}, .config = &config};
  return pc_add(pc, &isa_debug_exit_class, &args) ? 0 : -errno;
}

/* Another port of the debug console, such as E9h; what -debugcon names gets the text. */
static int add_debugcon(struct pc *pc, const struct board_extra *extra, const char *id) {
  uint32_t port = 0xe9;
  if (props_u32(extra->props, "isa-debugcon", "iobase", 1, 0xffff, &port))
    return -EINVAL;
  struct debugcon_config config = {pc->config.debugcon};
  struct device_args args = {.id = id, .port = {(uint16_t)port}, .config = &config};
  return pc_add(pc, &debugcon_class, &args) ? 0 : -errno;
}

static int add_testdev(struct pc *pc, const struct board_extra *extra, const char *id) {
  struct device_args args = {.id = id, .port = {0xe0, 0xe4, 0x2000}, .addr = {TESTDEV_ADDR}};
  (void)extra;
  for (int i = 0; i < PC_TESTDEV_LINES; i++)
    args.irq[i] = (struct irq){pc_test_irq, pc, i};
  return pc_add(pc, &pc_testdev_class, &args) ? 0 : -errno;
}

/* In alphabetical order, as -device help shows them. */
static const struct driver drivers[] = {
    {{"AC97", "audiodev id", "Intel 82801AA AC '97 audio", 0}, pc_add_ac97},
    {{"ES1370", "audiodev id", "Ensoniq AudioPCI ES1370", 0}, pc_add_es1370},
    {{"adlib", "iobase freq audiodev id", "AdLib: OPL2 FM chip at 388h", 0}, pc_add_adlib},
    {{"isa-debug-exit", "iobase iosize", "ends the run with status (value << 1) | 1", 0}, add_debug_exit},
    {{"ne2k_isa", "id netdev mac iobase irq", "network card NE2000 (ISA, by default at 300h with IRQ 10)",
      DRIVER_NET},
     pc_add_ne2k_isa},
    {{"ne2k_pci", "id netdev mac romfile", "network card RTL8029 (PCI, compatible with NE2000)", DRIVER_NET},
     pc_add_ne2k_pci},
    {{"isa-debugcon", "iobase", "debug console at another port, E9h by default; -debugcon has the text", 0},
     add_debugcon},
    {{"pc-testdev", "", "registers and interrupt lines for test suites", 0}, add_testdev},
    {{"pcnet", "id netdev mac romfile", "network card AMD PCnet-PCI II (Am79C970A)", DRIVER_NET}, pc_add_pcnet},
    {{"rtl8139", "id netdev mac romfile cplus", "network card Realtek RTL8139C+ (cplus=off: RTL8139C)", DRIVER_NET},
     pc_add_rtl8139},
    {{"sb16", "iobase irq dma hdma audiodev version id", "Sound Blaster 16, OPL3, MPU-401: A220 I5 D1 H5 P330", 0},
     pc_add_sb16},
    {{"usb-hub", "id bus port", "USB hub with eight ports", 0}, pc_add_usb_hub},
    {{"usb-kbd", "id bus port", "USB keyboard", 0}, pc_add_usb_kbd},
    {{"usb-mouse", "id bus port", "USB mouse", 0}, pc_add_usb_mouse},
    {{"usb-storage", "id drive bus port serial removable", "USB disk; its image: -drive if=none,id=ID,file=FILE",
      DRIVER_BLOCK},
     pc_add_usb_storage},
    {{"usb-tablet", "id bus port", "USB tablet: a pointer that need not be captured", 0}, pc_add_usb_tablet},
};
#define DRIVERS (sizeof drivers / sizeof drivers[0])

const struct board_driver *board_driver(size_t index) {
  return index < DRIVERS ? &drivers[index].public : NULL;
}

const struct board_driver *board_driver_find(const char *name) {
  for (size_t i = 0; i < DRIVERS; i++)
    if (!strcasecmp(drivers[i].public.name, name)) /* QEMU has es1370 as an alias */
      return &drivers[i].public;
  return NULL;
}

static int add_extra(struct pc *pc, unsigned n) {
  const struct board_extra *extra = &pc->config.extra[n];
  const struct board_driver *public = board_driver_find(extra->driver);
  if (!public) {
    error_report("-device %s: this machine has no such device to add; '-device help' lists them",
                 extra->driver);
    return -EINVAL;
  }
  const struct driver *d = (const struct driver *)public;
  if (props_check(extra->props, extra->driver, public->keys))
    return -EINVAL;
  char *id = pc->extra_id[n];
  if (!props_get(extra->props, "id", id, sizeof pc->extra_id[n]))
    snprintf(id, sizeof pc->extra_id[n], "%s.%u", extra->driver, n);
  if (device_find(&pc->machine->devices, id)) {
    error_report("-device %s: id=%s is taken by another device", extra->driver, id);
    return -EINVAL;
  }
  return d->add(pc, extra, id);
}

int pc_add_extras(struct pc *pc) {
  for (unsigned i = 0; i < pc->config.extra_count; i++) {
    int error = add_extra(pc, i);
    if (error)
      return error;
  }
  return 0;
}

int pc_free_slot(const struct pc *pc) {
  for (int slot = 3; slot < 32; slot++)
    if (!pci_find(pc->pci, slot << 3))
      return slot << 3;
  error_report("all PCI slots are taken; leave a device out");
  return -ENOSPC;
}
