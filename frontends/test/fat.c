/* SPDX-License-Identifier: MIT */
/*
 * Volumes, tables and chains: see fat.h. By Microsoft's "FAT: General Overview of On-Disk Format" 1.03. The
 * boot sector was read by frontends/volume.c; here is what writing needs besides. Entries are changed in
 * every copy of the table; what FSInfo says about free clusters is set to "unknown".
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "frontends/test/fat_int.h"

#define WINDOW 4096u

int fat_fail(struct fat *f, const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  vsnprintf(f->error, sizeof f->error, format, ap);
  va_end(ap);
  return -1;
}

int fat_get(struct fat *f, uint64_t offset, void *buf, uint32_t size) {
  uint64_t end = block_size(f->v.block);
  if (offset > end || size > end - offset)
    return fat_fail(f, "the file system is damaged: it goes on behind the end of the disk");
  int r = block_read(f->v.block, offset, buf, size);
  return r < 0 ? fat_fail(f, "cannot read the disk: %s", strerror(-r)) : 0;
}

int fat_put(struct fat *f, uint64_t offset, const void *buf, uint32_t size) {
  uint64_t end = block_size(f->v.block);
  if (offset > end || size > end - offset)
    return fat_fail(f, "the file system is damaged: it goes on behind the end of the disk");
  if (!block_writable(f->v.block))
    return fat_fail(f, "the disk is write-protected");
  int r = block_write(f->v.block, offset, buf, size);
  return r < 0 ? fat_fail(f, "cannot write to the disk: %s", strerror(-r)) : 0;
}

uint64_t fat_cluster_at(const struct fat *f, uint32_t cluster) {
  return f->v.data + (uint64_t)(cluster - 2) * f->v.cluster_size;
}

bool fat_is_cluster(const struct fat *f, uint32_t cluster) {
  return cluster >= 2 && cluster < f->v.clusters + 2;
}

/* --- the volume --- */

static uint64_t bits_per_entry(const struct fat *f) {
  return f->v.kind == VOLUME_FAT12 ? 12 : f->v.kind == VOLUME_FAT16 ? 16 : 32;
}

/* What volume_open found at v.start, with the rest of its boot sector. */
static int take_boot_sector(struct fat *f) {
  uint8_t boot[SECTOR];
  if (fat_get(f, f->v.start, boot, sizeof boot) < 0)
    return -1;
  uint32_t sector = fat16(boot + 11), size = fat16(boot + 22);
  bool large = f->v.kind == VOLUME_FAT32;
  f->fats = boot[16];
  uint64_t bytes = (uint64_t)(large ? fat32(boot + 36) : size) * sector;
  if (!bytes || bytes > UINT32_MAX)
    return fat_fail(f, "the file system is damaged: the size of its table cannot be");
  f->fat_bytes = (uint32_t)bytes;
  uint32_t info = large ? fat16(boot + 48) : 0;
  f->info = info && info < 32 ? info * sector : 0;
  /* A table that is too short for the clusters limits them. */
  uint64_t entries = bytes * 8 / bits_per_entry(f);
  if (entries < 3)
    return fat_fail(f, "the file system is damaged: its table is empty");
  if (f->v.clusters > entries - 2)
    f->v.clusters = (uint32_t)(entries - 2);
  f->hint = 2;
  return 0;
}

static bool is_fat(const struct volume *v) { return v->kind >= VOLUME_FAT12 && v->kind <= VOLUME_FAT32; }

int fat_open(struct fat *f, struct block *b, unsigned partition) {
  uint8_t mbr[SECTOR];
  *f = (struct fat){.v = {.block = b}};
  if (partition == 0) {
    volume_open(&f->v, b);
  } else {
    if (partition > 4)
      return fat_fail(f, "partitions are numbered from 1 to 4");
    if (fat_get(f, 0, mbr, sizeof mbr) < 0)
      return -1;
    const uint8_t *p = mbr + 446 + 16 * (partition - 1);
    if (mbr[510] != 0x55 || mbr[511] != 0xaa || !p[4] || !fat32(p + 8))
      return fat_fail(f, "the disk has no partition %u", partition);
    volume_open_at(&f->v, b, (uint64_t)fat32(p + 8) * SECTOR);
  }
  if (!is_fat(&f->v))
    return fat_fail(f, "the disk has no FAT file system there (%s)", volume_kind_name(f->v.kind));
  return take_boot_sector(f);
}

/* --- the table --- */

/* Where the entry is, from the table's start; with it in the cache. */
static int cache_entry(struct fat *f, uint32_t cluster, uint64_t *offset) {
  *offset = cluster * bits_per_entry(f) / 8;
  uint64_t window = *offset / WINDOW * WINDOW;
  if (f->cached && f->window == window)
    return 0;
  /* Two bytes more, for an entry of FAT12 across the end. */
  uint64_t left = f->fat_bytes - window;
  f->cached = false;
  memset(f->cache, 0, sizeof f->cache);
  if (fat_get(f, f->v.fat + window, f->cache,
              left < sizeof f->cache ? (uint32_t)left : (uint32_t)sizeof f->cache) < 0)
    return -1;
  f->window = window;
  f->cached = true;
  return 0;
}

static uint32_t entry_value(const struct fat *f, const uint8_t *e, uint32_t cluster) {
  if (f->v.kind == VOLUME_FAT12)
    return cluster & 1 ? fat16(e) >> 4 : fat16(e) & 0xfff;
  return f->v.kind == VOLUME_FAT16 ? fat16(e) : fat32(e) & 0x0fffffff;
}

/* UINT32_MAX: it could not be read. */
static uint32_t get_entry(struct fat *f, uint32_t cluster) {
  uint64_t offset;
  if (cache_entry(f, cluster, &offset) < 0)
    return UINT32_MAX;
  return entry_value(f, f->cache + (offset - f->window), cluster);
}

uint32_t fat_next(struct fat *f, uint32_t cluster) {
  uint32_t next = fat_is_cluster(f, cluster) ? get_entry(f, cluster) : 0;
  return fat_is_cluster(f, next) ? next : 0;
}

int fat_set(struct fat *f, uint32_t cluster, uint32_t value) {
  uint64_t offset;
  if (cache_entry(f, cluster, &offset) < 0)
    return -1;
  uint8_t *e = f->cache + (offset - f->window);
  uint32_t size = f->v.kind == VOLUME_FAT32 ? 4 : 2;
  if (f->v.kind == VOLUME_FAT12)
    fat_put16(e, cluster & 1 ? (fat16(e) & 0xf) | value << 4 : (fat16(e) & 0xf000) | (value & 0xfff));
  else if (f->v.kind == VOLUME_FAT16)
    fat_put16(e, value);
  else
    fat_put32(e, (fat32(e) & 0xf0000000) | (value & 0x0fffffff));
  if (offset + size > f->fat_bytes)
    size = (uint32_t)(f->fat_bytes - offset);
  for (uint32_t copy = 0; copy < f->fats; copy++)
    if (fat_put(f, f->v.fat + (uint64_t)copy * f->fat_bytes + offset, e, size) < 0)
      return -1;
  return 0;
}

uint32_t fat_extend(struct fat *f, uint32_t last) {
  for (uint32_t i = 0; i < f->v.clusters; i++) {
    uint32_t cluster = 2 + (f->hint - 2 + i) % f->v.clusters;
    uint32_t value = get_entry(f, cluster);
    if (value == UINT32_MAX)
      return 0;
    if (value)
      continue;
    f->hint = cluster;
    if (fat_set(f, cluster, 0x0fffffff) < 0 || (last && fat_set(f, last, cluster) < 0))
      return 0;
    if (f->info) { /* free clusters and the hint: unknown */
      uint8_t unknown[8];
      memset(unknown, 0xff, sizeof unknown);
      if (fat_put(f, f->v.start + f->info + 488, unknown, sizeof unknown) < 0)
        return 0;
      f->info = 0;
    }
    return cluster;
  }
  fat_fail(f, "the disk is full");
  return 0;
}

int fat_free_chain(struct fat *f, uint32_t first) {
  for (uint32_t n = 0; fat_is_cluster(f, first) && n < f->v.clusters; n++) {
    uint32_t next = fat_next(f, first);
    if (fat_set(f, first, 0) < 0)
      return -1;
    if (first < f->hint)
      f->hint = first;
    first = next;
  }
  return 0;
}
