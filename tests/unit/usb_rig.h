/* SPDX-License-Identifier: MIT */
/* A UHCI controller at port 1000h on a PCI bus of its own, with 4 MB of RAM, and what drivers do with it. */
#ifndef TESTS_UNIT_USB_RIG_H
#define TESTS_UNIT_USB_RIG_H

#include "devices/usb/uhci.h"
#include "tests/unit/rig.h"

#define USB_IO 0x1000
#define USB_DEVFN (1 << 3 | 2)
#define USB_LINE 3 /* INTD of slot 1 is PIRQD */
#define FRAME 1000000u

#define FRAME_LIST 0x10000u
#define QH 0x20000u
#define TD 0x21000u
#define DATA 0x30000u

#define ACTIVE (1u << 23)
#define IOC (1u << 24)
#define SPD (1u << 29)
#define LOW (1u << 26)
#define ERRORS(n) ((n) << 27)
#define END 1u
#define QUEUE 2u
#define DEPTH 4u

struct usb_rig {
  struct rig *r;
  struct pci_bus *bus;
  uint32_t config_address;
  struct device *hc;
  struct usb_port *ports;
};

static inline void put(struct usb_rig *u, uint32_t pa, uint32_t v) { mem_write(u->r->set.mem, pa, 4, v); }
static inline uint32_t get(struct usb_rig *u, uint32_t pa) {
  return (uint32_t)mem_read(u->r->set.mem, pa, 4);
}
static inline uint16_t reg(struct usb_rig *u, unsigned n) {
  return (uint16_t)in(u->r, (uint16_t)(USB_IO + n), 2);
}
static inline void set(struct usb_rig *u, unsigned n, uint16_t v) { out(u->r, (uint16_t)(USB_IO + n), 2, v); }

static inline void usb_rig_map(struct usb_rig *u) {
  pci_config_write(u->bus, USB_DEVFN, 0x20, 4, USB_IO);
  pci_config_write(u->bus, USB_DEVFN, 0x04, 2, 5);
}

static inline void usb_rig_make(struct usb_rig *u) {
  memset(u, 0, sizeof *u);
  u->r = rig_new();
  u->bus = pci_bus_new(u->r->set.io, u->r->set.mem, RIG_RAM, 0xfebfffff, &u->config_address);
  struct irq pirq[4];
  for (int i = 0; i < 4; i++)
    pirq[i] = rig_line(u->r, i);
  pci_bus_connect(u->bus, pirq);
  struct uhci_config config = {u->bus, USB_DEVFN};
  u->hc = device_new(&u->r->set, &uhci_class, &(struct device_args){.id = "usb", .config = &config});
  ck_assert_ptr_nonnull(u->hc);
  u->ports = uhci_ports(u->hc);
}

static inline struct usb_device *usb_rig_add(struct usb_rig *u, struct usb_port *port,
                                             const struct device_class *cls, const void *config) {
  static const char *const ids[] = {"device0", "device1", "device2", "device3"};
  unsigned n = 0;
  while (device_find(&u->r->set, ids[n]))
    n++;
  struct device *dev = device_new(&u->r->set, cls, &(struct device_args){.id = ids[n], .config = config});
  ck_assert_ptr_nonnull(dev);
  ck_assert_int_eq(usb_attach(port, (struct usb_device *)dev), 0);
  return (struct usb_device *)dev;
}

/* Power-on; an empty frame list whose every entry is QH; both ports reset and enabled; running. */
static inline void usb_rig_start(struct usb_rig *u) {
  device_reset_all(&u->r->set);
  usb_rig_map(u);
  for (unsigned i = 0; i < 1024; i++)
    put(u, FRAME_LIST + 4 * i, QH | QUEUE);
  put(u, QH, END);
  put(u, QH + 4, END);
  out(u->r, USB_IO + 8, 4, FRAME_LIST);
  set(u, 4, 0x0f);
  for (unsigned n = 0; n < 2; n++) {
    set(u, 0x10 + 2 * n, 0x200);
    set(u, 0x10 + 2 * n, 0);
    set(u, 0x10 + 2 * n, 0x0e);
  }
  set(u, 0, 0xc1);
}

static inline void usb_rig_free(struct usb_rig *u) {
  struct pci_bus *bus = u->bus;
  device_free_all(&u->r->set);
  pci_bus_free(bus);
  rig_free(u->r);
}

static inline uint32_t token(unsigned pid, unsigned addr, unsigned endpoint, unsigned toggle,
                             unsigned length) {
  return pid | addr << 8 | endpoint << 15 | toggle << 19 | ((length - 1) & 0x7ff) << 21;
}

static inline uint32_t td_at(unsigned n) { return TD + 32 * n; }

static inline void td(struct usb_rig *u, unsigned n, uint32_t link, uint32_t control, uint32_t t,
                      uint32_t buffer) {
  put(u, td_at(n), link);
  put(u, td_at(n) + 4, control);
  put(u, td_at(n) + 8, t);
  put(u, td_at(n) + 12, buffer);
}
static inline uint32_t td_control(struct usb_rig *u, unsigned n) { return get(u, td_at(n) + 4); }

static inline void frames(struct usb_rig *u, unsigned n) { rig_run(u->r, (uint64_t)n * FRAME); }

#endif
