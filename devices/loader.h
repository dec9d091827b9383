/* SPDX-License-Identifier: MIT */
/* Kernel images for -kernel: parsing and laying out, apart from the machine so that tests reach it. */
#ifndef DEVICES_LOADER_H
#define DEVICES_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct load_piece { /* what is to lie at a guest-physical address; data owned (free) */
  uint32_t addr;
  uint8_t *data;
  size_t len;
};

struct load_plan {
  struct load_piece kernel, initrd, cmdline, setup; /* fw_cfg's four groups; unused: len 0 */
  uint32_t entry; /* Multiboot: entry point, never 0; Linux: 0 */
};

/* A file in memory. */
struct load_file {
  const char *name;
  const uint8_t *data;
  size_t len;
};

#define LOAD_MODULES 32

/*
 * Lay out a kernel for a machine with `ram` bytes of memory. `initrd`: one file for Linux, modules (each with its
 * command line) for Multiboot. 0 or -errno and *why, a static string; the plan's pieces are to be freed in any case.
 */
int load_plan_make(struct load_plan *plan, const struct load_file *kernel, const char *append,
                   const struct load_file *initrd, unsigned initrd_count, uint64_t ram, const char **why);
void load_plan_free(struct load_plan *plan);

#endif
