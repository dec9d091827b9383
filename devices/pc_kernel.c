/* SPDX-License-Identifier: MIT */
/* -kernel, -initrd and -append: reads the files and hands the laid-out pieces to the option ROM through
 * fw_cfg. */
#include <stdlib.h>
#include <string.h>

#include "devices/firmware.h"
#include "devices/fw_cfg.h"
#include "devices/loader.h"
#include "devices/pc.h"

#define KERNEL_MAX (1ull << 30)
#define PART_MIN (1u << 20)
#define ROM_NAME "genroms/kernelboot.bin"

extern const uint8_t rom_kernelboot[], rom_kernelboot_end[]; /* roms/kernelboot.asm */

/* Make the bytes add up to zero by changing the one at `at`. */
static void fix_checksum(uint8_t *bytes, size_t len, size_t at) {
  uint8_t sum = 0;
  for (size_t i = 0; i < len; i++)
    sum += bytes[i];
  bytes[at] -= sum;
}

static int add_option_rom(struct device *fw) {
  static const char first[] = "/rom@" ROM_NAME "\n";
  size_t len = (size_t)(rom_kernelboot_end - rom_kernelboot);
  uint8_t *rom = malloc(len);
  if (!rom)
    return -ENOMEM;
  memcpy(rom, rom_kernelboot, len);
  size_t pnp = (size_t)(rom[0x1a] | rom[0x1b] << 8);
  DGM_ASSERT(pnp + 0x20 <= len);
  fix_checksum(rom + pnp, rom[pnp + 5] * 16u, 9);
  fix_checksum(rom, len, 5);
  int error = fw_cfg_add_file(fw, ROM_NAME, rom, len);
  free(rom);
  return error ? error : fw_cfg_add_file(fw, "bootorder", first, sizeof first);
}

/* A large piece that is the end of its file, as kernels and initial file systems are, is not kept in memory.
 */
static bool is_end_of(const struct load_piece *piece, const struct load_file *f) {
  return f && piece->len >= PART_MIN && piece->len <= f->len &&
         memcmp(piece->data, f->data + (f->len - piece->len), piece->len) == 0;
}

/* file: that the piece was made from, or NULL. */
static int add_piece(struct device *fw, const struct load_piece *piece, const struct load_file *file,
                     uint16_t addr, uint16_t size, uint16_t data) {
  int error = fw_cfg_add_u32(fw, addr, piece->addr);
  if (!error)
    error = fw_cfg_add_u32(fw, size, (uint32_t)piece->len);
  if (!error && is_end_of(piece, file))
    return fw_cfg_add_part(fw, data, file->name, file->len - piece->len, piece->len);
  return error ? error : fw_cfg_add(fw, data, piece->data, piece->len);
}

static int publish(struct device *fw, const struct load_plan *plan, const struct load_file *kernel,
                   const struct load_file *initrd) {
  int error =
      add_piece(fw, &plan->kernel, kernel, FW_CFG_KERNEL_ADDR, FW_CFG_KERNEL_SIZE, FW_CFG_KERNEL_DATA);
  if (!error)
    error = add_piece(fw, &plan->initrd, initrd, FW_CFG_INITRD_ADDR, FW_CFG_INITRD_SIZE, FW_CFG_INITRD_DATA);
  if (!error)
    error =
        add_piece(fw, &plan->cmdline, NULL, FW_CFG_CMDLINE_ADDR, FW_CFG_CMDLINE_SIZE, FW_CFG_CMDLINE_DATA);
  if (!error)
    error = add_piece(fw, &plan->setup, NULL, FW_CFG_SETUP_ADDR, FW_CFG_SETUP_SIZE, FW_CFG_SETUP_DATA);
  if (!error)
    error = fw_cfg_add_u32(fw, FW_CFG_KERNEL_ENTRY, plan->entry);
  return error ? error : add_option_rom(fw);
}

/* Read the files of -initrd: "path" or, for Multiboot, "path arguments,path arguments". `list` is cut up. */
static int read_initrd(char *list, struct load_file *file, unsigned *count) {
  for (char *next = list; next;) {
    char *name = strsep(&next, ",");
    if (*count == LOAD_MODULES) {
      error_report("-initrd: more than %d files", LOAD_MODULES);
      return -EINVAL;
    }
    char *space = strchr(name, ' ');
    if (space)
      *space = '\0';
    uint8_t *data;
    uint64_t len;
    int error = firmware_read(name, KERNEL_MAX, &data, &len);
    if (space)
      *space = ' ';
    if (error)
      return error;
    file[(*count)++] = (struct load_file){name, data, len};
  }
  return 0;
}

int pc_load_kernel(struct pc *pc) {
  const struct board_config *c = &pc->config;
  if (!c->kernel) {
    if (!c->initrd && !c->append)
      return 0;
    error_report("%s needs -kernel", c->initrd ? "-initrd" : "-append");
    return -EINVAL;
  }
  uint8_t *data;
  uint64_t len;
  int error = firmware_read(c->kernel, KERNEL_MAX, &data, &len);
  if (error)
    return error;
  struct load_file initrd[LOAD_MODULES] = {{0}};
  unsigned count = 0;
  char *list = c->initrd ? strdup(c->initrd) : NULL;
  if (list)
    error = read_initrd(list, initrd, &count);
  if (!error) {
    struct load_plan plan;
    const char *why;
    struct load_file kernel = {c->kernel, data, len};
    error = load_plan_make(&plan, &kernel, c->append ? c->append : "", initrd, count, pc->machine->ram->size,
                           &why);
    if (error)
      error_report("cannot boot %s: %s", c->kernel, why);
    else
      error = publish(pc->fw_cfg, &plan, &kernel, count == 1 && !strchr(initrd[0].name, ' ') ? initrd : NULL);
    load_plan_free(&plan);
  }
  for (unsigned i = 0; i < count; i++)
    free((uint8_t *)initrd[i].data);
  free(list);
  free(data);
  return error;
}
