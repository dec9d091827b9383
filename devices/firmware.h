/* SPDX-License-Identifier: MIT */
/* Finding and loading firmware images (SeaBIOS, its video BIOS): roms/README.md says where they come from. */
#ifndef DEVICES_FIRMWARE_H
#define DEVICES_FIRMWARE_H

#include <stddef.h>
#include <stdint.h>

#include "core/mem.h"

/* Path of `name` in the first of `count` directories that has it (entries may be NULL), else in the one that configure
 * found. False: in none. */
bool firmware_find(const char *name, const char *const *dirs, unsigned count, char *path, size_t size);
/* Read a whole file into fresh memory that the caller frees. -errno; an error_report says what was wrong. */
int firmware_read(const char *path, uint64_t max, uint8_t **data, uint64_t *len);

#endif
