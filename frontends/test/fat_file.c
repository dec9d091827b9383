/* SPDX-License-Identifier: MIT */
/* Files by their paths: see fat.h. */
#include <stdlib.h>
#include <string.h>

#include "frontends/test/fat_int.h"

static const struct fat_file root = {.directory = true};

/* Slashes and backslashes at the beginning don't count. */
static const char *skip_slashes(const char *path) { return path + strspn(path, "/\\"); }

/*
 * Walk down to the last part of the path: *dir is what holds it, and the rest of the path comes back (empty:
 * the root itself). make: directories that are missing are made. NULL with f->error.
 */
static const char *walk_down(struct fat *f, const char *path, bool make, struct fat_file *dir) {
  *dir = root;
  path = skip_slashes(path);
  for (;;) {
    size_t n = strcspn(path, "/\\");
    const char *next = skip_slashes(path + n);
    struct fat_file found;
    if (!*next)
      return path;
    if (fat_dir_find(f, dir, path, n, &found) < 0) {
      if (!make || fat_dir_add(f, dir, path, n, true, &found) < 0)
        return NULL;
      uint8_t *cluster = calloc(1, f->v.cluster_size);
      found.first = cluster ? fat_extend(f, 0) : 0;
      if (found.first) { /* "." and ".." */
        memset(cluster, ' ', 11);
        memset(cluster + FAT_ENTRY, ' ', 11);
        cluster[0] = cluster[FAT_ENTRY] = cluster[FAT_ENTRY + 1] = '.';
        cluster[11] = cluster[FAT_ENTRY + 11] = 0x10;
        fat_put16(cluster + 24, 0x2821);
        fat_put16(cluster + FAT_ENTRY + 24, 0x2821);
        fat_put16(cluster + 26, found.first);
        fat_put16(cluster + FAT_ENTRY + 26, dir->first);
        if (f->v.kind == VOLUME_FAT32) {
          fat_put16(cluster + 20, found.first >> 16);
          fat_put16(cluster + FAT_ENTRY + 20, dir->first >> 16);
        }
      }
      bool ok = found.first && fat_put(f, fat_cluster_at(f, found.first), cluster, f->v.cluster_size) == 0 &&
                fat_dir_update(f, &found) == 0;
      free(cluster);
      if (!ok)
        return NULL;
    }
    if (!found.directory) {
      fat_fail(f, "'%.*s' is no directory", (int)n, path);
      return NULL;
    }
    *dir = found;
    path = next;
  }
}

static size_t last_length(const char *name) { return strcspn(name, "/\\"); }

int fat_find(struct fat *f, const char *path, struct fat_file *file) {
  struct fat_file dir;
  const char *name = walk_down(f, path, false, &dir);
  if (!name)
    return -1;
  if (!*name) {
    *file = root;
    return 0;
  }
  return fat_dir_find(f, &dir, name, last_length(name), file);
}

struct lister {
  void (*each)(void *opaque, const struct fat_file *file);
  void *opaque;
};

static int list_one(void *opaque, const struct fat_file *file) {
  const struct lister *l = opaque;
  l->each(l->opaque, file);
  return 0;
}

int fat_list(struct fat *f, const char *path, void (*each)(void *opaque, const struct fat_file *file),
             void *opaque) {
  struct fat_file dir;
  struct lister l = {each, opaque};
  if (fat_find(f, path, &dir) < 0)
    return -1;
  if (!dir.directory)
    return fat_fail(f, "'%s' is no directory", path);
  return fat_dir_each(f, &dir, list_one, &l);
}

uint8_t *fat_read(struct fat *f, const struct fat_file *file) {
  if (file->directory) {
    fat_fail(f, "it is a directory");
    return NULL;
  }
  if (file->size > block_size(f->v.block)) {
    fat_fail(f, "the file system is damaged: a file is larger than the disk");
    return NULL;
  }
  uint8_t *data = malloc((size_t)file->size + 1);
  if (!data) {
    fat_fail(f, "out of memory");
    return NULL;
  }
  uint32_t cluster = file->first, done = 0;
  while (done < file->size) {
    uint32_t n = file->size - done < f->v.cluster_size ? file->size - done : f->v.cluster_size;
    if (!fat_is_cluster(f, cluster)) {
      fat_fail(f, "the file system is damaged: a file ends before its size");
      free(data);
      return NULL;
    }
    if (fat_get(f, fat_cluster_at(f, cluster), data + done, n) < 0) {
      free(data);
      return NULL;
    }
    done += n;
    cluster = fat_next(f, cluster);
  }
  data[file->size] = '\0';
  return data;
}

static int write_chain(struct fat *f, struct fat_file *file, const uint8_t *data, uint32_t size) {
  uint32_t last = 0, cluster_size = f->v.cluster_size;
  uint8_t *buf = malloc(cluster_size);
  int r = buf ? 0 : fat_fail(f, "out of memory");
  for (uint32_t done = 0; r == 0 && done < size;) {
    uint32_t n = size - done < cluster_size ? size - done : cluster_size;
    uint32_t cluster = fat_extend(f, last);
    if (!cluster) {
      r = -1;
      break;
    }
    if (!last)
      file->first = cluster;
    memset(buf, 0, cluster_size);
    memcpy(buf, data + done, n);
    r = fat_put(f, fat_cluster_at(f, cluster), buf, cluster_size);
    last = cluster;
    done += n;
  }
  free(buf);
  return r;
}

int fat_write(struct fat *f, const char *path, const void *data, uint32_t size) {
  struct fat_file dir, file;
  const char *name = walk_down(f, path, true, &dir);
  if (!name)
    return -1;
  size_t length = last_length(name);
  if (fat_dir_find(f, &dir, name, length, &file) < 0) {
    if (fat_dir_add(f, &dir, name, length, false, &file) < 0)
      return -1;
  } else if (file.directory) {
    return fat_fail(f, "'%s' is a directory", path);
  } else if (fat_free_chain(f, file.first) < 0) {
    return -1;
  }
  file.first = 0;
  file.size = size;
  int r = write_chain(f, &file, data, size);
  if (r < 0) { /* as much as there was room for is of no use */
    char why[sizeof f->error];
    memcpy(why, f->error, sizeof why);
    fat_free_chain(f, file.first);
    file.first = file.size = 0;
    fat_dir_update(f, &file);
    memcpy(f->error, why, sizeof why);
    return -1;
  }
  return fat_dir_update(f, &file);
}

static int not_empty(void *opaque, const struct fat_file *file) {
  (void)opaque;
  (void)file;
  return 1;
}

int fat_remove(struct fat *f, const char *path) {
  struct fat_file dir, file;
  const char *name = walk_down(f, path, false, &dir);
  if (!name)
    return -1;
  if (!*name)
    return fat_fail(f, "the root directory cannot be removed");
  if (fat_dir_find(f, &dir, name, last_length(name), &file) < 0)
    return -1;
  if (file.directory) {
    int r = fat_dir_each(f, &file, not_empty, NULL);
    if (r)
      return r < 0 ? -1 : fat_fail(f, "the directory '%s' is not empty", path);
  }
  if (fat_free_chain(f, file.first) < 0)
    return -1;
  return fat_dir_remove(f, &dir, &file);
}
