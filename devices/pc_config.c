/* SPDX-License-Identifier: MIT */
/*
 * What the firmware is told about the machine: CMOS RAM in the layout of the IBM AT and its extensions, and
 * fw_cfg items in the layout that SeaBIOS knows from QEMU.
 */
#include <string.h>

#include "devices/fdc82077.h"
#include "devices/fw_cfg.h"
#include "devices/ide.h"
#include "devices/pc.h"
#include "devices/rtc.h"

#define CMOS_FLOPPY 0x10
#define CMOS_DISK 0x12
#define CMOS_EQUIPMENT 0x14
#define CMOS_BASE_KB 0x15
#define CMOS_EXT_KB 0x17
#define CMOS_DISK_TYPE 0x19 /* two bytes: 47 = see CMOS_DISK_GEOMETRY */
#define CMOS_DISK_GEOMETRY 0x1b /* nine bytes for each of two disks */
#define CMOS_EXT_KB_FOUND 0x30
#define CMOS_ABOVE_16M 0x34 /* in 64 KB units */
#define CMOS_BOOT_3 0x38
#define CMOS_DISK_TRANSLATION 0x39
#define CMOS_BOOT_12 0x3d
#define CMOS_CPUS 0x5f

#define EQUIPMENT_FLOPPY 0x01
#define EQUIPMENT_FPU 0x02
#define EQUIPMENT_MOUSE 0x04
#define EQUIPMENT_FLOPPY_2 0x40

static void cmos16(struct pc *pc, unsigned index, uint64_t value) {
  if (value > 0xffff)
    value = 0xffff;
  rtc_set_cmos(pc->rtc, index, (uint8_t)value);
  rtc_set_cmos(pc->rtc, index + 1, (uint8_t)(value >> 8));
}

/* A hard disk of the primary channel: the AT's drive table entry, and how the BIOS translates its geometry. */
static void cmos_disk(struct pc *pc, int drive) {
  uint16_t cylinders;
  uint8_t heads, sectors;
  if (!ide_geometry(pc->ide, drive, &cylinders, &heads, &sectors))
    return;
  unsigned at = CMOS_DISK_GEOMETRY + 9u * (unsigned)drive;
  rtc_set_cmos(pc->rtc, CMOS_DISK, rtc_get_cmos(pc->rtc, CMOS_DISK) | (drive == 0 ? 0xf0 : 0x0f));
  rtc_set_cmos(pc->rtc, CMOS_DISK_TYPE + (unsigned)drive, 47);
  cmos16(pc, at, cylinders);
  rtc_set_cmos(pc->rtc, at + 2, heads);
  cmos16(pc, at + 3, 0xffff); /* no write precompensation */
  rtc_set_cmos(pc->rtc, at + 5, (uint8_t)(0xc0 | (heads > 8) << 3));
  cmos16(pc, at + 6, cylinders);
  rtc_set_cmos(pc->rtc, at + 8, sectors);
}

/* Two bits a drive: 0 = none, 1 = LBA. Small disks are used as they are, as BIOSes of the time did. */
static uint8_t disk_translation(struct pc *pc) {
  uint8_t bits = 0;
  for (int drive = 0; drive < 4; drive++) {
    uint16_t cylinders;
    uint8_t heads, sectors;
    if (ide_geometry(pc->ide, drive, &cylinders, &heads, &sectors) &&
        (cylinders > 1024 || heads > 16 || sectors > 63))
      bits |= (uint8_t)(1u << 2 * drive);
  }
  return bits;
}

/* The BIOS's numbers for the letters of -boot; 0 ends the list. */
static int boot_order(const char *letters, uint8_t order[3]) {
  int n = 0;
  memset(order, 0, 3);
  for (const char *p = letters; *p; p++) {
    uint8_t device = *p == 'a' || *p == 'b' ? 1 : *p == 'c' ? 2 : *p == 'd' ? 3 : *p == 'n' ? 4 : 0;
    if (device == 0)
      return -EINVAL;
    if (n < 3)
      order[n++] = device;
  }
  return 0;
}

int pc_set_boot_order(struct pc *pc, const char *letters) {
  uint8_t order[3];
  if (!letters || !*letters)
    letters = "cad";
  if (boot_order(letters, order) < 0) {
    error_report("-boot order=%s: the letters are a (floppy), c (hard disk), d (CD-ROM) and n (network)", letters);
    return -EINVAL;
  }
  rtc_set_cmos(pc->rtc, CMOS_BOOT_12, (uint8_t)(order[1] << 4 | order[0]));
  rtc_set_cmos(pc->rtc, CMOS_BOOT_3, (uint8_t)(order[2] << 4));
  return 0;
}

static int fill_cmos(struct pc *pc) {
  uint64_t ram = pc->machine->ram->size;
  uint64_t ext_kb = ram > 1u << 20 ? (ram - (1u << 20)) >> 10 : 0;
  cmos16(pc, CMOS_BASE_KB, 640);
  cmos16(pc, CMOS_EXT_KB, ext_kb);
  cmos16(pc, CMOS_EXT_KB_FOUND, ext_kb);
  cmos16(pc, CMOS_ABOVE_16M, ram > 16u << 20 ? (ram - (16u << 20)) >> 16 : 0);
  rtc_set_cmos(pc->rtc, CMOS_CPUS, (uint8_t)(pc->machine->cpu_count - 1));

  int a = fdc_drive_type(pc->fdc, 0), b = fdc_drive_type(pc->fdc, 1);
  rtc_set_cmos(pc->rtc, CMOS_FLOPPY, (uint8_t)(a << 4 | b));
  uint8_t equipment = EQUIPMENT_MOUSE;
  if (cpu_has(pc->machine->cpu[0], FEAT_FPU))
    equipment |= EQUIPMENT_FPU;
  if (a || b)
    equipment |= EQUIPMENT_FLOPPY;
  if (a && b)
    equipment |= EQUIPMENT_FLOPPY_2;
  rtc_set_cmos(pc->rtc, CMOS_EQUIPMENT, equipment);

  cmos_disk(pc, 0);
  cmos_disk(pc, 1);
  rtc_set_cmos(pc->rtc, CMOS_DISK_TRANSLATION, disk_translation(pc));
  return pc_set_boot_order(pc, pc->config.boot_order);
}

struct e820_entry {
  uint64_t base, size;
  uint32_t type;
} __attribute__((packed));

int pc_config_init(struct pc *pc) {
  struct device *fw = pc->fw_cfg;
  uint64_t ram = pc->machine->ram->size;
  int error = fill_cmos(pc);
  if (error)
    return error;
  const struct e820_entry e820[] = {{0, ram, 1}};
  const uint8_t uuid[16] = {0}, yes = 1;
  const uint8_t sleep_states[6] = {0x80, 0, 0, 0, 0, 0x80}; /* S0 and S5: who sleeps must be woken */
  const uint64_t no_numa[2] = {0, 0}, serial_console = 0x3f8;
  int results[] = {
      fw_cfg_add(fw, FW_CFG_UUID, uuid, sizeof uuid),
      fw_cfg_add_u64(fw, FW_CFG_RAM_SIZE, ram),
      fw_cfg_add_u16(fw, FW_CFG_NOGRAPHIC, !pc->config.vga),
      fw_cfg_add_u16(fw, FW_CFG_NB_CPUS, (uint16_t)pc->machine->cpu_count),
      fw_cfg_add_u16(fw, FW_CFG_MAX_CPUS, (uint16_t)pc->machine->cpu_count),
      fw_cfg_add(fw, FW_CFG_NUMA, no_numa, sizeof no_numa),
      fw_cfg_add_u16(fw, FW_CFG_BOOT_MENU, pc->config.boot_menu),
      fw_cfg_add_u16(fw, FW_CFG_ACPI_TABLES, 0),
      fw_cfg_add_u16(fw, FW_CFG_SMBIOS, 0),
      fw_cfg_add(fw, FW_CFG_IRQ0_OVERRIDE, &yes, 1),
      fw_cfg_add_file(fw, "etc/system-states", sleep_states, sizeof sleep_states),
      fw_cfg_add_file(fw, "etc/e820", e820, sizeof e820),
      /* Without a screen the firmware talks to the first serial port. */
      pc->config.vga ? 0 : fw_cfg_add_file(fw, "etc/sercon-port", &serial_console, sizeof serial_console),
  };
  for (size_t i = 0; i < sizeof results / sizeof results[0]; i++)
    if (results[i])
      return results[i];
  return 0;
}
