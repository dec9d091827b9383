/* SPDX-License-Identifier: MIT */
/* What the board's own files share (pc*.c); nobody else includes it. */
#ifndef DEVICES_PC_H
#define DEVICES_PC_H

#include "devices/board.h"
#include "devices/pci.h"

#define PC_ISA_IRQS 16

/* Who can pull an ISA interrupt line. */
enum pc_irq_source { PC_IRQ_DEVICE, PC_IRQ_PCI, PC_IRQ_HPET, PC_IRQ_SCI, PC_IRQ_TEST };

struct pc {
  struct machine *machine;
  struct board_config config;
  struct mem_block *bios;
  struct pci_bus *pci;
  struct device *i440fx, *piix3, *pm, *pic, *pit, *dma, *rtc, *i8042, *sysctl, *pcspk, *fw_cfg, *fdc, *ide, *vga;
  struct device *apic, *ioapic, *hpet, *uhci; /* may be NULL */
  struct device *ps2mouse;
  uint8_t isa_level[PC_ISA_IRQS]; /* bit per enum pc_irq_source */
  char extra_id[BOARD_EXTRAS][32];
  struct pc_snapshot *snapshot; /* pc_snapshot.c */
  bool booted; /* reset at least once: boot_once no longer holds */
};

/* --- pc.c, for pc_devices.c --- */
struct device *pc_add(struct pc *pc, const struct device_class *cls, const struct device_args *args); /* NULL, errno */
struct irq pc_isa_irq(struct pc *pc, int n); /* the line of a card on the ISA bus */
void pc_test_irq(void *pc, int n, int level);
void pc_debug_exit(void *pc, int status);

/* --- pc_devices.c --- */
int pc_add_extras(struct pc *pc);
int pc_free_slot(const struct pc *pc); /* devfn of the first free PCI slot from 3 on; -ENOSPC, reported */

/* --- pc_net.c --- */
int pc_add_ne2k_isa(struct pc *pc, const struct board_extra *extra, const char *id);
int pc_add_ne2k_pci(struct pc *pc, const struct board_extra *extra, const char *id);
int pc_add_pcnet(struct pc *pc, const struct board_extra *extra, const char *id);
int pc_add_rtl8139(struct pc *pc, const struct board_extra *extra, const char *id);

/* --- pc_sound.c --- */
int pc_add_ac97(struct pc *pc, const struct board_extra *extra, const char *id);
int pc_add_es1370(struct pc *pc, const struct board_extra *extra, const char *id);
int pc_add_adlib(struct pc *pc, const struct board_extra *extra, const char *id);
int pc_add_sb16(struct pc *pc, const struct board_extra *extra, const char *id);

/* --- pc_usb.c --- */
int pc_add_usb(struct pc *pc);
int pc_add_usb_hub(struct pc *pc, const struct board_extra *extra, const char *id);
int pc_add_usb_kbd(struct pc *pc, const struct board_extra *extra, const char *id);
int pc_add_usb_mouse(struct pc *pc, const struct board_extra *extra, const char *id);
int pc_add_usb_storage(struct pc *pc, const struct board_extra *extra, const char *id);
int pc_add_usb_tablet(struct pc *pc, const struct board_extra *extra, const char *id);

/* pc_snapshot.c: have the board, its cables and its disks saved. */
int pc_add_snapshot(struct pc *pc);
void pc_free_snapshot(struct pc *pc);

/* pc_config.c: what firmware is told, through CMOS RAM and fw_cfg. */
int pc_config_init(struct pc *pc);
/* The boot order as letters of -boot, into CMOS RAM. -EINVAL, reported. */
int pc_set_boot_order(struct pc *pc, const char *letters);
/* pc_kernel.c: -kernel, -initrd and -append become fw_cfg items that the option ROM roms/kernelboot.asm fetches. */
int pc_load_kernel(struct pc *pc);

#endif
