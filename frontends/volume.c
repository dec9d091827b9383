/* SPDX-License-Identifier: MIT */
/*
 * See volume.h. FAT by Microsoft's "FAT: General Overview of On-Disk Format" 1.03, ISO 9660 by ECMA-119, the
 * MBR as IBM's PC DOS made it. Of NTFS only the volume's version is read: record 3 of the MFT, attribute 70h.
 */
#include "frontends/volume.h"

#include <ctype.h>
#include <string.h>

#define ISO_SECTOR 2048u
#define DIRECTORY_MAX (4u << 20) /* bytes of a directory that are looked at */

static uint32_t le16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
static uint32_t le32(const uint8_t *p) { return le16(p) | le16(p + 2) << 16; }
static uint64_t le64(const uint8_t *p) { return le32(p) | (uint64_t)le32(p + 4) << 32; }

static bool get(struct volume *v, uint64_t offset, void *buf, uint32_t size) {
  uint64_t end = block_size(v->block);
  return offset <= end && size <= end - offset && block_read(v->block, offset, buf, size) == 0;
}

const char *volume_kind_name(enum volume_kind kind) {
  static const char *const names[] = {
      "no known file system", "FAT12", "FAT16", "FAT32", "NTFS", "HPFS", "Linux", "ISO 9660"};
  return names[kind];
}

static void copy_label(struct volume *v, const uint8_t *text, unsigned length) {
  while (length && (text[length - 1] == ' ' || text[length - 1] == 0))
    length--;
  for (unsigned i = 0; i < length && i < sizeof v->label - 1; i++)
    v->label[i] = isprint(text[i]) ? (char)text[i] : '?';
}

/* --- FAT --- */

static bool power_of_two(uint32_t n) { return n && !(n & (n - 1)); }

/* The boot sector at v->start as a FAT volume's. */
static bool open_fat(struct volume *v, const uint8_t *boot) {
  uint32_t sector = le16(boot + 11), per_cluster = boot[13], reserved = le16(boot + 14), fats = boot[16];
  uint32_t entries = le16(boot + 17), total = le16(boot + 19), fat_size = le16(boot + 22);
  if ((boot[0] != 0xeb && boot[0] != 0xe9) || !power_of_two(sector) || sector < 128 || sector > 4096 ||
      !power_of_two(per_cluster) || !reserved || !fats || fats > 4)
    return false;
  bool fat32 = fat_size == 0;
  if (fat32)
    fat_size = le32(boot + 36);
  if (!total)
    total = le32(boot + 32);
  uint64_t root_sectors = ((uint64_t)entries * 32 + sector - 1) / sector;
  uint64_t data = reserved + (uint64_t)fats * fat_size + root_sectors;
  if (!fat_size || data >= total)
    return false;
  v->cluster_size = sector * per_cluster;
  v->clusters = (uint32_t)((total - data) / per_cluster);
  v->fat = v->start + (uint64_t)reserved * sector;
  v->root = v->start + ((uint64_t)reserved + (uint64_t)fats * fat_size) * sector;
  v->data = v->start + data * sector;
  v->root_entries = entries;
  v->root_cluster = fat32 ? le32(boot + 44) : 0;
  v->kind = fat32 ? VOLUME_FAT32 : v->clusters < 4085 ? VOLUME_FAT12 : VOLUME_FAT16;
  copy_label(v, boot + (fat32 ? 71 : 43), 11);
  return true;
}

/* The next cluster of a chain; 0: it ends. */
static uint32_t next_cluster(struct volume *v, uint32_t cluster) {
  uint8_t e[4] = {0};
  uint32_t next;
  if (v->kind == VOLUME_FAT12) {
    if (!get(v, v->fat + cluster * 3 / 2, e, 2))
      return 0;
    next = cluster & 1 ? le16(e) >> 4 : le16(e) & 0xfff;
  } else if (v->kind == VOLUME_FAT16) {
    next = get(v, v->fat + (uint64_t)cluster * 2, e, 2) ? le16(e) : 0;
  } else {
    next = get(v, v->fat + (uint64_t)cluster * 4, e, 4) ? le32(e) & 0x0fffffff : 0;
  }
  return next >= 2 && next < v->clusters + 2 ? next : 0;
}

static uint64_t cluster_at(const struct volume *v, uint32_t cluster) {
  return v->data + (uint64_t)(cluster - 2) * v->cluster_size;
}

/* "name.ext" as the eleven bytes of a directory entry. False: not an 8.3 name. */
static bool short_name(const char *name, size_t length, uint8_t out[11]) {
  memset(out, ' ', 11);
  unsigned at = 0, end = 8;
  for (size_t i = 0; i < length; i++) {
    if (name[i] == '.' && end == 8) {
      at = 8;
      end = 11;
    } else if (at < end) {
      out[at++] = (uint8_t)toupper((unsigned char)name[i]);
    } else {
      return false;
    }
  }
  return true;
}

/* The entries in one stretch of a directory. 1: found, 0: go on, -1: the directory ends here. */
static int scan_entries(struct volume *v, uint64_t offset, uint32_t size, const uint8_t name[11],
                        struct volume_file *file) {
  uint8_t e[32];
  for (uint32_t at = 0; at + 32 <= size; at += 32) {
    if (!get(v, offset + at, e, 32) || e[0] == 0)
      return -1;
    if (e[0] == 0xe5 || (e[11] & 0x08) ||
        memcmp(e, name, 11) != 0) /* deleted, a label or a long name's part */
      continue;
    file->directory = e[11] & 0x10;
    file->first = le16(e + 26) | (v->kind == VOLUME_FAT32 ? le16(e + 20) << 16 : 0);
    file->size = le32(e + 28);
    return 1;
  }
  return 0;
}

static bool find_in_fat(struct volume *v, const struct volume_file *dir, const char *name, size_t length,
                        struct volume_file *file) {
  uint8_t wanted[11];
  if (!short_name(name, length, wanted))
    return false;
  uint32_t cluster = dir->first ? dir->first : v->root_cluster;
  if (!cluster)
    return scan_entries(v, v->root, v->root_entries * 32, wanted, file) == 1;
  for (uint32_t done = 0; cluster >= 2 && cluster < v->clusters + 2 && done < DIRECTORY_MAX;
       done += v->cluster_size) {
    int r = scan_entries(v, cluster_at(v, cluster), v->cluster_size, wanted, file);
    if (r)
      return r > 0;
    cluster = next_cluster(v, cluster);
  }
  return false;
}

static uint32_t read_fat(struct volume *v, const struct volume_file *file, char *buf, uint32_t size) {
  uint32_t done = 0, cluster = file->first;
  if (size > file->size)
    size = file->size;
  while (done < size && cluster >= 2 && cluster < v->clusters + 2) {
    uint32_t n = size - done < v->cluster_size ? size - done : v->cluster_size;
    if (!get(v, cluster_at(v, cluster), buf + done, n))
      break;
    done += n;
    cluster = next_cluster(v, cluster);
  }
  return done;
}

/* --- ISO 9660 --- */

static bool open_iso(struct volume *v) {
  uint8_t pvd[ISO_SECTOR];
  if (!get(v, 16 * ISO_SECTOR, pvd, sizeof pvd) || memcmp(pvd, "\1CD001", 6) != 0)
    return false;
  v->kind = VOLUME_ISO;
  v->start = 0;
  v->root_extent = le32(pvd + 156 + 2);
  v->root_size = le32(pvd + 156 + 10);
  copy_label(v, pvd + 40, 32);
  return true;
}

/* Is this record's name the wanted one? The version (";1") and a dot at the end don't count. */
static bool iso_name_is(const uint8_t *record, const char *name, size_t length) {
  size_t n = record[32];
  const char *text = (const char *)record + 33;
  const char *version = memchr(text, ';', n);
  if (version)
    n = (size_t)(version - text);
  if (n && text[n - 1] == '.')
    n--;
  if (n != length)
    return false;
  for (size_t i = 0; i < n; i++)
    if (toupper((unsigned char)text[i]) != toupper((unsigned char)name[i]))
      return false;
  return true;
}

static bool find_in_iso(struct volume *v, const struct volume_file *dir, const char *name, size_t length,
                        struct volume_file *file) {
  uint8_t sector[ISO_SECTOR];
  for (uint32_t done = 0; done < dir->size && done < DIRECTORY_MAX; done += ISO_SECTOR) {
    if (!get(v, (uint64_t)dir->first * ISO_SECTOR + done, sector, sizeof sector))
      return false;
    for (uint32_t at = 0; at + 34 < ISO_SECTOR && sector[at] >= 34; at += sector[at]) {
      const uint8_t *r = sector + at;
      if (at + r[0] > ISO_SECTOR || 33u + r[32] > r[0])
        break;
      if (!iso_name_is(r, name, length))
        continue;
      *file = (struct volume_file){.directory = r[25] & 2, .first = le32(r + 2), .size = le32(r + 10)};
      return true;
    }
  }
  return false;
}

/* --- NTFS --- */

static void read_ntfs_version(struct volume *v, const uint8_t *boot) {
  uint8_t r[1024];
  uint64_t cluster = (uint64_t)le16(boot + 11) * boot[13];
  int8_t units = (int8_t)boot[64];
  uint64_t record = units > 0 ? (uint64_t)units * cluster : units >= -16 ? 1ull << -units : 0;
  if (record < sizeof r || record > 65536 || le64(boot + 48) > 1ull << 40 ||
      !get(v, v->start + le64(boot + 48) * cluster + 3 * record, r, sizeof r) || memcmp(r, "FILE", 4) != 0)
    return;
  for (uint32_t at = le16(r + 20); at + 24 <= 510 && le32(r + at) != 0xffffffff;) {
    uint32_t type = le32(r + at), length = le32(r + at + 4), content = le16(r + at + 20);
    if (type == 0x70 && at + content + 10 <= 510) {
      v->ntfs_major = r[at + content + 8];
      v->ntfs_minor = r[at + content + 9];
    }
    if (length < 24)
      break;
    at += length;
  }
}

/* --- the whole --- */

static bool open_at(struct volume *v, uint64_t start) {
  uint8_t boot[SECTOR];
  v->start = start;
  if (!get(v, start, boot, sizeof boot))
    return false;
  if (!memcmp(boot + 3, "NTFS    ", 8)) {
    v->kind = VOLUME_NTFS;
    read_ntfs_version(v, boot);
    return true;
  }
  return open_fat(v, boot);
}

/* Partition type of systems whose volumes aren't read. */
static enum volume_kind kind_of_type(uint8_t type) {
  return type == 0x83 || type == 0x82 ? VOLUME_LINUX : type == 0x07 ? VOLUME_HPFS : VOLUME_NONE;
}

static void open_partitions(struct volume *v, const uint8_t *mbr) {
  for (int active = 1; active >= 0; active--) {
    for (int i = 0; i < 4; i++) {
      const uint8_t *p = mbr + 446 + 16 * i;
      if ((p[0] != 0 && p[0] != 0x80) || (p[0] == 0x80) != active || !p[4] || !le32(p + 8))
        continue;
      v->partitioned = true;
      if (open_at(v, (uint64_t)le32(p + 8) * SECTOR))
        return;
      if (v->kind == VOLUME_NONE)
        v->kind = kind_of_type(p[4]);
    }
  }
}

void volume_open(struct volume *v, struct block *block) {
  uint8_t sector[SECTOR];
  *v = (struct volume){.block = block};
  if (open_iso(v) || !get(v, 0, sector, sizeof sector) || open_at(v, 0))
    return;
  if (sector[510] == 0x55 && sector[511] == 0xaa)
    open_partitions(v, sector);
}

void volume_open_at(struct volume *v, struct block *block, uint64_t start) {
  *v = (struct volume){.block = block};
  open_at(v, start);
}

static bool is_fat(const struct volume *v) { return v->kind >= VOLUME_FAT12 && v->kind <= VOLUME_FAT32; }

bool volume_find(struct volume *v, const char *path, struct volume_file *file) {
  struct volume_file at = {.directory = true, .first = v->root_extent, .size = v->root_size};
  if (!is_fat(v) && v->kind != VOLUME_ISO)
    return false;
  while (*path) {
    size_t length = strcspn(path, "/");
    struct volume_file next;
    if (!at.directory || !(is_fat(v) ? find_in_fat : find_in_iso)(v, &at, path, length, &next))
      return false;
    at = next;
    path += length + (path[length] == '/');
  }
  *file = at;
  return true;
}

uint32_t volume_read(struct volume *v, const struct volume_file *file, char *buf, uint32_t size) {
  uint32_t done = 0;
  if (is_fat(v)) {
    done = read_fat(v, file, buf, size);
  } else if (v->kind == VOLUME_ISO) {
    done = size < file->size ? size : file->size;
    if (!get(v, (uint64_t)file->first * ISO_SECTOR, buf, done))
      done = 0;
  }
  buf[done] = '\0';
  return done;
}
