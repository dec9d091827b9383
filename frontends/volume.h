/* SPDX-License-Identifier: MIT */
/*
 * A look into the file systems of a disk image, to find out which system is on it: FAT12, FAT16 and FAT32 (on
 * the whole disk, or in the active or first such partition of an MBR), ISO 9660, and of NTFS its version
 * only. Read-only; the image may be damaged or hostile: nothing is believed, and no walk is endless.
 */
#ifndef FRONTENDS_VOLUME_H
#define FRONTENDS_VOLUME_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/block/block.h"

enum volume_kind {
  VOLUME_NONE,
  VOLUME_FAT12,
  VOLUME_FAT16,
  VOLUME_FAT32,
  VOLUME_NTFS,
  VOLUME_HPFS,
  VOLUME_LINUX,
  VOLUME_ISO
};

struct volume {
  struct block *block;
  enum volume_kind kind;
  bool partitioned;               /* found by way of an MBR */
  uint8_t ntfs_major, ntfs_minor; /* 0.0: not found */
  char label[33];
  uint64_t start; /* bytes */
  /* FAT */
  uint32_t cluster_size, clusters, root_cluster, root_entries;
  uint64_t fat, root, data; /* bytes from the start of the image */
  /* ISO 9660 */
  uint32_t root_extent, root_size;
};

struct volume_file {
  bool directory;
  uint32_t first; /* cluster or extent; 0 of a FAT12/16 directory: the root */
  uint32_t size;  /* bytes; of a FAT directory 0 */
};

/* What the image holds; kind VOLUME_NONE if nothing is known. The block stays the caller's. */
void volume_open(struct volume *v, struct block *block);
/* The same for what begins at this byte. */
void volume_open_at(struct volume *v, struct block *block, uint64_t start);
/* Find "DIR/NAME.EXT", in upper or lower case; FAT by 8.3 names. False: not there. */
bool volume_find(struct volume *v, const char *path, struct volume_file *file);
/* Up to `size` bytes from the file's beginning, and a NUL (size + 1 bytes of buf). Returns how many. */
uint32_t volume_read(struct volume *v, const struct volume_file *file, char *buf, uint32_t size);
const char *volume_kind_name(enum volume_kind kind);

#endif
