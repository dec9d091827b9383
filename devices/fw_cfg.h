/* SPDX-License-Identifier: MIT */
/*
 * Firmware configuration device, as SeaBIOS and guest kernels know it from QEMU.
 *
 * device_args: port[0] = 510h (selector, data), port[1] = 514h (DMA address register); config unused.
 * The board adds items after creation and before the first reset.
 */
#ifndef DEVICES_FW_CFG_H
#define DEVICES_FW_CFG_H

#include "core/device.h"

enum { /* item numbers */
  FW_CFG_SIGNATURE = 0x00, FW_CFG_ID = 0x01, FW_CFG_UUID = 0x02, FW_CFG_RAM_SIZE = 0x03, FW_CFG_NOGRAPHIC = 0x04,
  FW_CFG_NB_CPUS = 0x05, FW_CFG_KERNEL_ADDR = 0x07, FW_CFG_KERNEL_SIZE = 0x08, FW_CFG_INITRD_ADDR = 0x0a,
  FW_CFG_INITRD_SIZE = 0x0b, FW_CFG_NUMA = 0x0d, FW_CFG_BOOT_MENU = 0x0e, FW_CFG_MAX_CPUS = 0x0f,
  FW_CFG_KERNEL_ENTRY = 0x10, FW_CFG_KERNEL_DATA = 0x11, FW_CFG_INITRD_DATA = 0x12, FW_CFG_CMDLINE_ADDR = 0x13,
  FW_CFG_CMDLINE_SIZE = 0x14, FW_CFG_CMDLINE_DATA = 0x15, FW_CFG_SETUP_ADDR = 0x16, FW_CFG_SETUP_SIZE = 0x17,
  FW_CFG_SETUP_DATA = 0x18, FW_CFG_FILE_DIR = 0x19, FW_CFG_FILE_FIRST = 0x20,
  FW_CFG_ARCH = 0x8000, FW_CFG_ACPI_TABLES = 0x8000, FW_CFG_SMBIOS = 0x8001, FW_CFG_IRQ0_OVERRIDE = 0x8002,
};

extern const struct device_class fw_cfg_class;

/* All of these but fw_cfg_add_part copy the data. -EEXIST, -ENOMEM, -ENOSPC (no file slots left); names of files up to
 * 55 characters. */
int fw_cfg_add(struct device *dev, uint16_t key, const void *data, size_t len);
/* `len` bytes of a file from `offset` on, read when the guest asks for them and not kept. -EEXIST, or open's. */
int fw_cfg_add_part(struct device *dev, uint16_t key, const char *path, uint64_t offset, size_t len);
int fw_cfg_add_u16(struct device *dev, uint16_t key, uint16_t value);
int fw_cfg_add_u32(struct device *dev, uint16_t key, uint32_t value);
int fw_cfg_add_u64(struct device *dev, uint16_t key, uint64_t value);
int fw_cfg_add_file(struct device *dev, const char *name, const void *data, size_t len);

#endif
