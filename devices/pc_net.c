/* SPDX-License-Identifier: MIT */
/* The network cards of the board: their properties, places, interrupt lines and expansion ROMs. */
#include <stdio.h>
#include <string.h>

#include "devices/firmware.h"
#include "devices/net/nic.h"
#include "devices/pc.h"
#include "devices/props.h"

/* The expansion ROM: as the user says, or iPXE's if the network is to be booted from. Empty: none. */
static void nic_rom(const struct pc *pc, const struct board_extra *extra, const char *rom, char *path,
                    size_t size) {
  const char *const dirs[] = {pc->config.bios_dirs[0], pc->config.bios_dirs[1], "/usr/lib/ipxe/qemu",
                              "/usr/share/qemu"};
  const struct board_config *c = &pc->config;
  bool boot = (c->boot_order && strchr(c->boot_order, 'n')) || (c->boot_once && strchr(c->boot_once, 'n'));
  path[0] = '\0';
  if (!props_get(extra->props, "romfile", path, size) && boot && !firmware_find(rom, dirs, 4, path, size))
    path[0] = '\0';
}

static int nic_config(const struct board_extra *extra, struct nic_config *config) {
  char text[24] = "52:54:00:12:34:56";
  unsigned b[6];
  int n = 0;
  props_get(extra->props, "mac", text, sizeof text);
  if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &n) != 6 ||
      text[n]) {
    error_report("-device %s: mac=%s: write for example 52:54:00:12:34:56", extra->driver, text);
    return -EINVAL;
  }
  for (int i = 0; i < 6; i++)
    config->mac[i] = (uint8_t)b[i];
  config->cable = extra->net;
  return 0;
}

int pc_add_ne2k_isa(struct pc *pc, const struct board_extra *extra, const char *id) {
  struct nic_config config = {0};
  uint32_t port = 0x300, irq = 10;
  if (nic_config(extra, &config) || props_u32(extra->props, "ne2k_isa", "iobase", 0x100, 0xffe0, &port) ||
      props_u32(extra->props, "ne2k_isa", "irq", 2, 15, &irq))
    return -EINVAL;
  if (irq == 2)
    irq = 9; /* the AT has put that line there */
  struct device_args args = {
      .id = id, .port = {(uint16_t)port}, .irq = {pc_isa_irq(pc, (int)irq)}, .config = &config};
  return pc_add(pc, &ne2k_isa_class, &args) ? 0 : -errno;
}

static int add_pci_nic(struct pc *pc, const struct board_extra *extra, const char *id,
                       const struct device_class *cls, const char *rom) {
  struct rtl8139_config config = {.cplus = true}; /* the others' configuration is its first member */
  char path[4096];
  bool is_rtl8139 = cls == &rtl8139_class;
  if (nic_config(extra, &config.nic) ||
      (is_rtl8139 && props_bool(extra->props, "rtl8139", "cplus", &config.cplus)))
    return -EINVAL;
  config.nic.devfn = pc_free_slot(pc);
  if (config.nic.devfn < 0)
    return config.nic.devfn;
  nic_rom(pc, extra, rom, path, sizeof path);
  config.nic.bus = pc->pci;
  config.nic.rom_path = path[0] ? path : NULL;
  struct device_args args = {.id = id, .config = is_rtl8139 ? (const void *)&config : &config.nic};
  return pc_add(pc, cls, &args) ? 0 : -errno;
}

int pc_add_ne2k_pci(struct pc *pc, const struct board_extra *extra, const char *id) {
  return add_pci_nic(pc, extra, id, &ne2k_pci_class, "pxe-ne2k_pci.rom");
}
int pc_add_pcnet(struct pc *pc, const struct board_extra *extra, const char *id) {
  return add_pci_nic(pc, extra, id, &pcnet_class, "pxe-pcnet.rom");
}
int pc_add_rtl8139(struct pc *pc, const struct board_extra *extra, const char *id) {
  return add_pci_nic(pc, extra, id, &rtl8139_class, "pxe-rtl8139.rom");
}
