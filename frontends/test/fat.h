/* SPDX-License-Identifier: MIT */
/*
 * Files on FAT12, FAT16 and FAT32 volumes, on the whole disk or in a partition, with long names: listed,
 * read, written and removed while the guest does not run. Writes go to the block, so to the run's overlay.
 * The image may be damaged or hostile: nothing is believed, and no walk is endless.
 */
#ifndef FRONTENDS_TEST_FAT_H
#define FRONTENDS_TEST_FAT_H

#include <stdbool.h>
#include <stdint.h>

#include "frontends/volume.h"

#define FAT_NAME 768 /* bytes of a long name as UTF-8, at most */

struct fat {
  struct volume v;
  uint32_t fats, fat_bytes; /* copies, and the size of each */
  uint32_t info;            /* FAT32: offset of the FSInfo sector from the volume's start; 0: none */
  uint32_t hint;            /* where to look for free clusters */
  uint64_t window;          /* offset in the FAT of what `cache` holds */
  uint8_t cache[4098];
  bool cached;
  char error[160];
};

struct fat_file {
  char name[FAT_NAME];
  bool directory;
  uint32_t first, size;
  uint64_t entry;      /* offset of the short entry on the disk; 0: the root */
  uint64_t name_entry; /* of the first entry that belongs to it */
};

/* partition 0: the whole disk, or the first volume that is found; 1 to 4: of the MBR. 0, or -1 with f->error.
 */
int fat_open(struct fat *f, struct block *b, unsigned partition);
/* "DIR/NAME.TXT", long or short names, in either case. 0, or -1 with f->error. */
int fat_find(struct fat *f, const char *path, struct fat_file *file);
/* Calls back for every entry but "." and "..". 0, or -1. */
int fat_list(struct fat *f, const char *path, void (*each)(void *opaque, const struct fat_file *file),
             void *opaque);
/* The whole file, malloc'ed. NULL with f->error. */
uint8_t *fat_read(struct fat *f, const struct fat_file *file);
/* Make or replace a file, and the directories on the way. 0, or -1 with f->error. */
int fat_write(struct fat *f, const char *path, const void *data, uint32_t size);
int fat_remove(struct fat *f, const char *path); /* files, and empty directories */

#endif
