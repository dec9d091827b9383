/* SPDX-License-Identifier: MIT */
/* The firmware configuration device, through its ports and by DMA. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/fw_cfg.h"

static struct device_set set;
static struct device *fw;
static struct mem_block *ram;

static void setup(void) {
  set = (struct device_set){.io = io_bus_new(), .mem = mem_new(), .clock = clock_new_real()};
  ram = mem_block_new(set.mem, "ram", 0x10000);
  mem_map_ram(set.mem, 0, 0x10000, ram, 0);
  fw = device_new(&set, &fw_cfg_class, &(struct device_args){.id = "fw_cfg", .port = {0x510, 0x514}});
  ck_assert_ptr_nonnull(fw);
}
static void teardown(void) {
  device_free_all(&set);
  clock_free(set.clock);
  io_bus_free(set.io);
  mem_free(set.mem);
}

static uint64_t item(uint16_t key, int bytes) {
  uint64_t value = 0;
  io_write(set.io, 0x510, 2, key);
  for (int i = 0; i < bytes; i++)
    value |= (uint64_t)io_read(set.io, 0x511, 1) << 8 * i;
  return value;
}

static uint32_t be32(const uint8_t *p) { return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }

START_TEST(items_read_byte_by_byte) {
  ck_assert_uint_eq(item(FW_CFG_SIGNATURE, 4), 0x554d4551);
  ck_assert_uint_eq(item(FW_CFG_ID, 4), 3);
  ck_assert_int_eq(fw_cfg_add_u64(fw, FW_CFG_RAM_SIZE, 0x123456789abcull), 0);
  ck_assert_uint_eq(item(FW_CFG_RAM_SIZE, 8), 0x123456789abcull);
  ck_assert_uint_eq(io_read(set.io, 0x511, 1), 0); /* past the end */
  ck_assert_int_eq(fw_cfg_add_u16(fw, FW_CFG_RAM_SIZE, 1), -EEXIST);
  ck_assert_int_eq(fw_cfg_add_u16(fw, FW_CFG_SMBIOS, 7), 0);
  ck_assert_uint_eq(item(FW_CFG_SMBIOS, 2), 7);
  ck_assert_uint_eq(item(FW_CFG_ID, 2), 3); /* bit 15 is another space */
  ck_assert_uint_eq(item(0x3fff, 2), 0);
  ck_assert_uint_eq(item(0xffff, 2), 0);
}
END_TEST

START_TEST(files_are_in_the_directory) {
  ck_assert_int_eq(fw_cfg_add_file(fw, "etc/one", "hello", 5), 0);
  ck_assert_int_eq(fw_cfg_add_file(fw, "etc/empty", NULL, 0), 0);
  uint8_t dir[4 + 2 * 64];
  io_write(set.io, 0x510, 2, FW_CFG_FILE_DIR);
  for (size_t i = 0; i < sizeof dir; i++)
    dir[i] = (uint8_t)io_read(set.io, 0x511, 1);
  ck_assert_uint_eq(be32(dir), 2);
  ck_assert_uint_eq(be32(dir + 4), 5);
  ck_assert_str_eq((char *)dir + 12, "etc/one");
  ck_assert_uint_eq(be32(dir + 68), 0);
  ck_assert_str_eq((char *)dir + 76, "etc/empty");
  ck_assert_uint_eq(item((uint16_t)(dir[8] << 8 | dir[9]), 5), 0x6f6c6c6568);
  for (int i = 2; i < 32; i++) {
    char name[16];
    snprintf(name, sizeof name, "etc/%d", i);
    ck_assert_int_eq(fw_cfg_add_file(fw, name, "x", 1), 0);
  }
  ck_assert_int_eq(fw_cfg_add_file(fw, "etc/more", "x", 1), -ENOSPC);
}
END_TEST

static void dma(uint32_t control, uint32_t length, uint64_t address) {
  uint32_t command[4] = {__builtin_bswap32(control), __builtin_bswap32(length),
                         __builtin_bswap32((uint32_t)(address >> 32)), __builtin_bswap32((uint32_t)address)};
  mem_dma_write(set.mem, 0x100, command, sizeof command);
  io_write(set.io, 0x518, 4, __builtin_bswap32(0x100));
}

START_TEST(dma_transfers) {
  ck_assert_uint_eq(io_read(set.io, 0x514, 4), 0x554d4551); /* "QEMU" */
  ck_assert_uint_eq(io_read(set.io, 0x518, 4), 0x47464320); /* " CFG" */
  uint8_t data[5000];
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (uint8_t)(i * 13);
  ck_assert_int_eq(fw_cfg_add(fw, FW_CFG_KERNEL_DATA, data, sizeof data), 0);
  memset(ram->host + 0x2000, 0xee, 0x2000);
  dma(FW_CFG_KERNEL_DATA << 16 | 8 | 2, 5100, 0x2000);
  ck_assert_uint_eq(mem_read(set.mem, 0x100, 4), 0); /* done, no error */
  ck_assert_mem_eq(ram->host + 0x2000, data, sizeof data);
  ck_assert_uint_eq(ram->host[0x2000 + 5000], 0); /* zeros past the item's end */
  ck_assert_uint_eq(ram->host[0x2000 + 5099], 0);
  ck_assert_uint_eq(ram->host[0x2000 + 5100], 0xee);
  dma(FW_CFG_KERNEL_DATA << 16 | 8 | 4, 100, 0); /* select and skip */
  dma(2, 4, 0x5000);
  ck_assert_mem_eq(ram->host + 0x5000, data + 100, 4);
  dma(FW_CFG_KERNEL_DATA << 16 | 8 | 0x10, 4, 0x5000); /* write: refused */
  ck_assert_uint_eq(mem_read(set.mem, 0x100, 4), __builtin_bswap32(1));
  dma(FW_CFG_KERNEL_DATA << 16 | 8 | 2, 0xffffffff, 0xfffffffffffff000ull); /* hostile: ends, nothing is hurt */
  ck_assert_mem_eq(ram->host + 0x2000, data, sizeof data);
}
END_TEST

/* A part of a file: read when it is asked for; beyond the file's end, zeros. */
START_TEST(parts_of_files) {
  char path[] = "fw_cfg-XXXXXX";
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  uint8_t data[40000];
  for (size_t i = 0; i < sizeof data; i++)
    data[i] = (uint8_t)(i * 7 + i / 256);
  ck_assert_int_eq(write(fd, data, sizeof data), sizeof data);
  ck_assert_int_eq(fw_cfg_add_part(fw, FW_CFG_INITRD_DATA, "/nonexistent", 0, 1), -ENOENT);
  ck_assert_int_eq(fw_cfg_add_part(fw, FW_CFG_INITRD_DATA, path, 1000, 38000), 0);
  ck_assert_int_eq(fw_cfg_add_part(fw, FW_CFG_INITRD_DATA, path, 1000, 38000), -EEXIST);
  ck_assert_int_eq(fw_cfg_add(fw, FW_CFG_INITRD_DATA, data, 4), -EEXIST);
  unlink(path);
  ck_assert_uint_eq(item(FW_CFG_INITRD_DATA, 2), data[1000] | data[1001] << 8);
  dma(FW_CFG_INITRD_DATA << 16 | 8 | 2, 38000, 0x2000);
  ck_assert_mem_eq(ram->host + 0x2000, data + 1000, 38000);
  ck_assert_int_eq(ftruncate(fd, 1010), 0);
  dma(FW_CFG_INITRD_DATA << 16 | 8 | 2, 20, 0x2000);
  ck_assert_mem_eq(ram->host + 0x2000, data + 1000, 10);
  ck_assert_mem_eq(ram->host + 0x200a, (uint8_t[10]){0}, 10);
  close(fd);
}
END_TEST

Suite *suite_fw_cfg(void) {
  Suite *s = suite_create("fw_cfg");
  TCase *t = tcase_create("fw_cfg");
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_test(t, items_read_byte_by_byte);
  tcase_add_test(t, files_are_in_the_directory);
  tcase_add_test(t, dma_transfers);
  tcase_add_test(t, parts_of_files);
  suite_add_tcase(s, t);
  return s;
}
