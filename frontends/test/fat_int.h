/* SPDX-License-Identifier: MIT */
/* Shared by fat.c (tables and chains), fat_dir.c (directories) and fat_file.c. */
#ifndef FRONTENDS_TEST_FAT_INT_H
#define FRONTENDS_TEST_FAT_INT_H

#include "frontends/test/fat.h"

#define FAT_ENTRY 32u
#define FAT_ENTRIES_MAX 65536u /* of a directory */

static inline uint32_t fat16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static inline uint32_t fat32(const uint8_t *p) { return fat16(p) | fat16(p + 2) << 16; }
static inline void fat_put16(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}
static inline void fat_put32(uint8_t *p, uint32_t v) {
  fat_put16(p, v);
  fat_put16(p + 2, v >> 16);
}

int fat_fail(struct fat *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
int fat_get(struct fat *f, uint64_t offset, void *buf, uint32_t size);
int fat_put(struct fat *f, uint64_t offset, const void *buf, uint32_t size);
uint64_t fat_cluster_at(const struct fat *f, uint32_t cluster);
bool fat_is_cluster(const struct fat *f, uint32_t cluster);
/* The next of a chain; 0: it ends there. */
uint32_t fat_next(struct fat *f, uint32_t cluster);
int fat_set(struct fat *f, uint32_t cluster, uint32_t value);
/* One more cluster behind `last` (0: a new chain). 0: the disk is full. */
uint32_t fat_extend(struct fat *f, uint32_t last);
int fat_free_chain(struct fat *f, uint32_t first);

/* The directories. dir->first 0: the root. */
struct fat_slot {  /* where entries can go */
  uint64_t at[21]; /* offsets of as many entries as a name needs */
};
int fat_dir_each(struct fat *f, const struct fat_file *dir,
                 int (*each)(void *opaque, const struct fat_file *file), void *opaque);
int fat_dir_find(struct fat *f, const struct fat_file *dir, const char *name, size_t length,
                 struct fat_file *file);
/* A new entry, with a long name if it takes one. */
int fat_dir_add(struct fat *f, const struct fat_file *dir, const char *name, size_t length, bool directory,
                struct fat_file *file);
int fat_dir_update(struct fat *f, const struct fat_file *file); /* first cluster and size */
int fat_dir_remove(struct fat *f, const struct fat_file *dir, const struct fat_file *file);

#endif
