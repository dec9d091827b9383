/* SPDX-License-Identifier: MIT */
/*
 * USB on the board: the PIIX3's controller, and where the devices that were asked for are plugged in;
 * VMware's port.
 */
#include <string.h>

#include "core/segment.h"
#include "devices/pc.h"
#include "devices/props.h"
#include "devices/usb/hid.h"
#include "devices/usb/hub.h"
#include "devices/usb/storage.h"
#include "devices/usb/uhci.h"
#include "devices/vmmouse.h"

#define UHCI_DEVFN (1 << 3 | 2)
#define VMPORT 0x5658

int pc_add_usb(struct pc *pc) {
  if (!pc->config.no_vmport) {
    struct vmmouse_config config = {.gpr = pc->machine->cpu[0]->gpr,
                                    .ram_mb = (uint32_t)(pc->machine->ram->size >> 20),
                                    .ps2mouse = pc->ps2mouse,
                                    .input = &pc->machine->input};
    if (!pc_add(pc, &vmmouse_class,
                &(struct device_args){.id = "vmmouse", .port = {VMPORT}, .config = &config}))
      return -errno;
  }
  if (!pc->config.usb)
    return 0;
  struct uhci_config config = {pc->pci, UHCI_DEVFN};
  pc->uhci = pc_add(pc, &uhci_class, &(struct device_args){.id = "usb", .config = &config});
  return pc->uhci ? 0 : -errno;
}

void board_info_usb(struct machine *m, FILE *out) {
  struct pc *pc = m->board;
  if (pc->uhci)
    usb_info(uhci_ports(pc->uhci), UHCI_PORTS, out);
  else
    fprintf(out, "USB support not enabled\n");
}

/* --- where to plug in --- */

static struct usb_port *ports_of(struct usb_device *d, unsigned *count) {
  *count = USB_HUB_PORTS;
  return d && d->dev.cls == &usb_hub_class ? usb_hub_ports(&d->dev) : NULL;
}

/* The first free port, hubs after the ports beside them; counts all. */
static struct usb_port *free_port(struct usb_port *ports, unsigned count, int depth, unsigned *found) {
  struct usb_port *first = NULL;
  for (unsigned i = 0; i < count; i++)
    if (!ports[i].dev) {
      first = first ? first : &ports[i];
      ++*found;
    }
  for (unsigned i = 0; i < count && depth < USB_HUB_DEPTH; i++) {
    unsigned below;
    struct usb_port *hub = ports_of(ports[i].dev, &below), *port = NULL;
    if (hub)
      port = free_port(hub, below, depth + 1, found);
    first = first ? first : port;
  }
  return first;
}

/* "1.3": port 3 of the hub at port 1. */
static struct usb_port *port_named(struct pc *pc, const char *path) {
  struct usb_port *ports = uhci_ports(pc->uhci);
  unsigned count = UHCI_PORTS;
  for (int depth = 0; ports && depth <= USB_HUB_DEPTH; depth++) {
    if (path[0] < '1' || path[0] > '9' || (unsigned)(path[0] - '0') > count)
      return NULL;
    struct usb_port *port = &ports[path[0] - '1'];
    if (!path[1])
      return port;
    if (path[1] != '.')
      return NULL;
    path += 2;
    ports = ports_of(port->dev, &count);
  }
  return NULL;
}

/* As in QEMU, the last port gets a hub unless it is one that comes. */
static struct usb_port *next_port(struct pc *pc, bool hub) {
  static const char *const ids[] = {"usb-hub.auto0", "usb-hub.auto1", "usb-hub.auto2", "usb-hub.auto3",
                                    "usb-hub.auto4"};
  unsigned found = 0, n = 0;
  struct usb_port *port = free_port(uhci_ports(pc->uhci), UHCI_PORTS, 0, &found);
  if (found != 1 || hub)
    return port;
  while (n < sizeof ids / sizeof ids[0] && device_find(&pc->machine->devices, ids[n]))
    n++;
  struct device *dev =
      n < sizeof ids / sizeof ids[0] ? pc_add(pc, &usb_hub_class, &(struct device_args){.id = ids[n]}) : NULL;
  if (!dev || usb_attach(port, (struct usb_device *)dev))
    return port;
  found = 0;
  return free_port(uhci_ports(pc->uhci), UHCI_PORTS, 0, &found);
}

static struct usb_port *choose_port(struct pc *pc, const struct board_extra *extra) {
  char text[32];
  if (!pc->uhci) {
    error_report("-device %s: there is no USB controller; add -usb", extra->driver);
    return NULL;
  }
  if (props_get(extra->props, "bus", text, sizeof text) && strcmp(text, "usb-bus.0") &&
      strcmp(text, "usb.0")) {
    error_report("-device %s: bus=%s: there is one bus, usb-bus.0", extra->driver, text);
    return NULL;
  }
  struct usb_port *port;
  if (props_get(extra->props, "port", text, sizeof text)) {
    port = port_named(pc, text);
    if (!port)
      error_report("-device %s: port=%s: there is no such port", extra->driver, text);
  } else {
    port = next_port(pc, !strcmp(extra->driver, "usb-hub"));
    if (!port)
      error_report("-device %s: all USB ports are taken; add -device usb-hub before", extra->driver);
  }
  if (port && port->dev) {
    error_report("-device %s: port=%s: there is a device already", extra->driver, text);
    return NULL;
  }
  return port;
}

/* --- the devices --- */

static int plug_in(struct pc *pc, const struct board_extra *extra, const char *id,
                   const struct device_class *cls, const void *config) {
  struct usb_port *port = choose_port(pc, extra);
  if (!port)
    return -EINVAL;
  struct device *dev = pc_add(pc, cls, &(struct device_args){.id = id, .config = config});
  return dev ? usb_attach(port, (struct usb_device *)dev) : -errno;
}

static int add_hid(struct pc *pc, const struct board_extra *extra, const char *id,
                   const struct device_class *cls) {
  return plug_in(pc, extra, id, cls, &(struct usb_hid_config){&pc->machine->input});
}

int pc_add_usb_tablet(struct pc *pc, const struct board_extra *extra, const char *id) {
  return add_hid(pc, extra, id, &usb_tablet_class);
}
int pc_add_usb_mouse(struct pc *pc, const struct board_extra *extra, const char *id) {
  return add_hid(pc, extra, id, &usb_mouse_class);
}
int pc_add_usb_kbd(struct pc *pc, const struct board_extra *extra, const char *id) {
  return add_hid(pc, extra, id, &usb_keyboard_class);
}
int pc_add_usb_hub(struct pc *pc, const struct board_extra *extra, const char *id) {
  return plug_in(pc, extra, id, &usb_hub_class, NULL);
}

int pc_add_usb_storage(struct pc *pc, const struct board_extra *extra, const char *id) {
  char serial[32];
  bool removable = false;
  if (!extra->block) {
    error_report(
        "-device usb-storage: give it a drive: -drive if=none,id=X,file=F -device usb-storage,drive=X");
    return -EINVAL;
  }
  if (props_bool(extra->props, "usb-storage", "removable", &removable))
    return -EINVAL;
  struct usb_storage_config config = {
      extra->block, props_get(extra->props, "serial", serial, sizeof serial) ? serial : NULL, removable};
  return plug_in(pc, extra, id, &usb_storage_class, &config);
}
