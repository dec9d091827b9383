/* SPDX-License-Identifier: MIT */
/* What one does with whole VHD images: make, check and describe them. */
#include "devices/block/vhd.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK_BYTES (2u << 20)
#define TABLE_AT (VHD_FOOTER + VHD_DYNAMIC_HEADER)
#define LOCATOR_BYTES 1024u

/* The specification's appendix: cylinders, heads and sectors for a number of sectors, rounded down. */
static void geometry(uint64_t sectors, uint32_t *cylinders, uint32_t *heads, uint32_t *per_track) {
  uint32_t tracks;
  if (sectors > VHD_MAX_GEOMETRY)
    sectors = VHD_MAX_GEOMETRY;
  if (sectors >= 65535ull * 16 * 63) {
    *per_track = 255;
    *heads = 16;
    tracks = (uint32_t)(sectors / *per_track);
  } else {
    *per_track = 17;
    tracks = (uint32_t)(sectors / *per_track);
    *heads = (tracks + 1023) / 1024;
    if (*heads < 4)
      *heads = 4;
    if (tracks >= *heads * 1024 || *heads > 16) {
      *per_track = 31;
      *heads = 16;
      tracks = (uint32_t)(sectors / *per_track);
    }
    if (tracks >= *heads * 1024) {
      *per_track = 63;
      *heads = 16;
      tracks = (uint32_t)(sectors / *per_track);
    }
  }
  *cylinders = tracks / *heads;
}

/* A geometry of at least that many sectors, as far as there is one. */
static uint64_t geometry_for(uint64_t sectors, uint8_t *footer) {
  uint32_t cylinders, heads, per_track;
  uint64_t ask = sectors, have;
  do {
    geometry(ask++, &cylinders, &heads, &per_track);
    have = (uint64_t)cylinders * heads * per_track;
  } while (have < sectors && have < VHD_MAX_GEOMETRY);
  put_be16(footer + VHD_CYLINDERS, (uint16_t)cylinders);
  footer[VHD_HEADS] = (uint8_t)heads;
  footer[VHD_SECTORS] = (uint8_t)per_track;
  return have;
}

static int make_footer(uint8_t *f, uint64_t sectors, bool by_size, enum vhd_type type) {
  uint64_t round = geometry_for(sectors, f);
  if (!by_size && round != VHD_MAX_GEOMETRY)
    sectors = round;
  memcpy(f, "conectix", 8);
  put_be32(f + VHD_FEATURES, 2);
  put_be32(f + VHD_VERSION, 0x10000);
  put_be64(f + VHD_DATA_OFFSET, type == VHD_FIXED ? UINT64_MAX : VHD_FOOTER);
  put_be32(f + VHD_TIMESTAMP, (uint32_t)(time(NULL) - VHD_EPOCH));
  memcpy(f + VHD_CREATOR, by_size ? "win " : "vpc ", 4);
  put_be32(f + VHD_CREATOR_VERSION, 0x50003);
  memcpy(f + VHD_CREATOR_OS, "Wi2k", 4);
  put_be64(f + VHD_ORIGINAL_SIZE, sectors * SECTOR);
  put_be64(f + VHD_CURRENT_SIZE, sectors * SECTOR);
  put_be32(f + VHD_TYPE, type);
  if (getrandom(f + VHD_UUID, 16, 0) != 16)
    return -EIO;
  f[VHD_UUID + 6] = (uint8_t)((f[VHD_UUID + 6] & 15) | 0x40);
  f[VHD_UUID + 8] = (uint8_t)((f[VHD_UUID + 8] & 0x3f) | 0x80);
  put_be32(f + VHD_CHECKSUM, vhd_sum(f, VHD_FOOTER, VHD_CHECKSUM));
  return 0;
}

static void make_header(uint8_t *h, uint64_t size) {
  memcpy(h, "cxsparse", 8);
  put_be64(h + VHD_DYN_NEXT, UINT64_MAX);
  put_be64(h + VHD_DYN_TABLE, TABLE_AT);
  put_be32(h + VHD_DYN_VERSION, 0x10000);
  put_be32(h + VHD_DYN_ENTRIES, (uint32_t)((size + BLOCK_BYTES - 1) / BLOCK_BYTES));
  put_be32(h + VHD_DYN_BLOCK_SIZE, BLOCK_BYTES);
}

/* --- a differencing image ----------------------------------------------------------------------------- */

/* UTF-8 to UTF-16 (without characters behind the first 65536, which become "?"). Bytes written. */
static uint32_t to_utf16(const char *in, bool big, bool windows, uint8_t *out, uint32_t size) {
  uint32_t n = 0;
  for (const uint8_t *p = (const uint8_t *)in; *p && n + 4 <= size; n += 2) {
    uint16_t ch = *p;
    unsigned more = *p < 0xc0 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
    if (more)
      ch = *p & (0x3f >> more);
    for (p++; more && (*p & 0xc0) == 0x80; p++, more--)
      ch = (uint16_t)(ch << 6 | (*p & 0x3f));
    if (windows && ch == '/')
      ch = '\\';
    if (big)
      put_be16(out + n, ch);
    else
      put_le16(out + n, ch);
  }
  return n;
}

/* Take over the parent's size and identity; its name goes into the header and a locator at `at`. */
static int adopt(const char *path, const struct block_create *c, uint64_t at, uint8_t *header,
                 uint8_t locator[LOCATOR_BYTES], const uint8_t parent[VHD_FOOTER], time_t changed) {
  char name[4096];
  bool absolute = c->backing[0] == '/';
  const char *base = strrchr(c->backing, '/') ? strrchr(c->backing, '/') + 1 : c->backing;
  uint8_t *l = header + VHD_DYN_LOCATORS;
  (void)path;
  memcpy(header + VHD_DYN_PARENT_UUID, parent + VHD_UUID, 16);
  put_be32(header + VHD_DYN_PARENT_UUID + 16, (uint32_t)(changed - VHD_EPOCH));
  to_utf16(base, true, false, header + VHD_DYN_PARENT_NAME, 512);
  snprintf(name, sizeof name, "%s%s", absolute ? "" : "./", c->backing);
  uint32_t len = to_utf16(name, false, !absolute, locator, LOCATOR_BYTES);
  put_be32(l, absolute ? 0x57326b75 : 0x57327275); /* W2ku, W2ru */
  put_be32(l + 4, LOCATOR_BYTES);
  put_be32(l + 8, len);
  put_be64(l + 16, at);
  return len + 2 >= LOCATOR_BYTES ? -ENAMETOOLONG : 0;
}

static int read_parent(const char *path, const struct block_create *c, uint8_t *footer, time_t *changed,
                       const char **error) {
  struct block *parent;
  struct stat st;
  struct block_options o = {.format = "vpc"};
  char *name = block_path_beside(path, c->backing);
  if (!name)
    return -ENOMEM;
  int result = block_open_with(&parent, name, &o, error);
  free(name);
  if (result)
    return result;
  memcpy(footer, ((const struct vhd *)parent->state)->footer, VHD_FOOTER);
  *changed = fstat(parent->fd, &st) == 0 ? st.st_mtime : VHD_EPOCH;
  block_close(parent);
  return 0;
}

/* --- create ------------------------------------------------------------------------------------------- */

/* Everything but the footer at the end. */
static int make_dynamic(int fd, const char *path, const struct block_create *c, uint8_t *footer,
                        const uint8_t *parent, time_t changed, uint64_t *end) {
  uint8_t header[VHD_DYNAMIC_HEADER] = {0}, locator[LOCATOR_BYTES] = {0};
  uint64_t size = vhd_disk_size(footer);
  make_header(header, size);
  uint64_t table = 4ull * be32_at(header + VHD_DYN_ENTRIES);
  table = (table + SECTOR - 1) / SECTOR * SECTOR;
  *end = TABLE_AT + table;
  uint8_t *entries = malloc(table);
  int result = entries ? 0 : -ENOMEM;
  if (!result && parent) {
    result = adopt(path, c, *end, header, locator, parent, changed);
    if (!result)
      result = file_write(fd, *end, locator, LOCATOR_BYTES);
    *end += LOCATOR_BYTES;
  }
  put_be32(header + VHD_DYN_CHECKSUM, vhd_sum(header, VHD_DYNAMIC_HEADER, VHD_DYN_CHECKSUM));
  if (!result) {
    memset(entries, 0xff, table);
    result = file_write(fd, TABLE_AT, entries, table);
  }
  if (!result)
    result = file_write(fd, VHD_FOOTER, header, VHD_DYNAMIC_HEADER);
  if (!result)
    result = file_write(fd, 0, footer, VHD_FOOTER);
  free(entries);
  return result;
}

int vhd_create(int fd, const char *path, const struct block_create *c, const char **error) {
  char subformat[16] = "dynamic", force[8] = "off";
  uint8_t footer[VHD_FOOTER] = {0}, parent[VHD_FOOTER];
  time_t changed = 0;
  uint64_t size = c->size, end;
  block_option(c->options, "subformat", subformat, sizeof subformat);
  block_option(c->options, "force_size", force, sizeof force);
  bool fixed = !strcmp(subformat, "fixed"), by_size = !strcmp(force, "on");
  if ((!fixed && strcmp(subformat, "dynamic")) || (!by_size && strcmp(force, "off"))) {
    *error =
        block_message("'%s': a VHD image knows subformat=dynamic or fixed, and force_size=on or off", path);
    return -EINVAL;
  }
  if (fixed && c->backing) {
    *error = block_message("'%s': a fixed VHD image cannot have a backing file", path);
    return -EINVAL;
  }
  int result = c->backing ? read_parent(path, c, parent, &changed, error) : 0;
  if (result)
    return result;
  if (c->backing) /* as large as the parent, whatever was asked for */
    size = vhd_disk_size(parent);
  if (!size || size / SECTOR > VHD_MAX_SECTORS) {
    *error = block_message("'%s': a VHD image can hold up to 2040 GB, and not nothing", path);
    return -EFBIG;
  }
  enum vhd_type type = fixed ? VHD_FIXED : c->backing ? VHD_DIFFERENCING : VHD_DYNAMIC;
  result = make_footer(footer, size / SECTOR, by_size, type);
  if (!result && c->backing) { /* the parent's way of telling its size, too */
    memcpy(footer + VHD_CREATOR, parent + VHD_CREATOR, 4);
    memcpy(footer + VHD_ORIGINAL_SIZE, parent + VHD_ORIGINAL_SIZE, VHD_TYPE - VHD_ORIGINAL_SIZE);
    put_be32(footer + VHD_CHECKSUM, vhd_sum(footer, VHD_FOOTER, VHD_CHECKSUM));
  }
  if (!result && fixed) {
    end = vhd_disk_size(footer);
    result = ftruncate(fd, (off_t)end) < 0 ? -errno : 0;
  } else if (!result) {
    result = make_dynamic(fd, path, c, footer, c->backing ? parent : NULL, changed, &end);
  }
  if (!result)
    result = file_write(fd, end, footer, VHD_FOOTER);
  if (result)
    *error = block_message("cannot write '%s': %s", path, strerror(-result));
  return result;
}

/* --- check and info ----------------------------------------------------------------------------------- */

/* Both copies of the footer, the one at the end right behind what is used. */
static int mend_footers(struct block *b, struct vhd *v) {
  uint64_t end = v->type == VHD_FIXED ? b->file_size - VHD_FOOTER : v->next;
  int result = file_write(b->fd, end, v->footer, VHD_FOOTER);
  if (!result && v->type != VHD_FIXED) {
    if (ftruncate(b->fd, (off_t)(end + VHD_FOOTER)) < 0)
      return -errno;
    v->file_end = b->file_size = end + VHD_FOOTER;
    result = file_write(b->fd, 0, v->footer, VHD_FOOTER);
  }
  return result ? result : file_flush(b->fd);
}

static int drop_outside(struct block *b, struct vhd *v) {
  uint8_t entry[4];
  put_be32(entry, VHD_FREE);
  for (uint32_t i = 0; i < v->entries; i++) {
    uint64_t at = (uint64_t)v->table[i] * SECTOR;
    if (v->table[i] == VHD_FREE || (at >= VHD_FOOTER && at + v->bitmap_size <= v->file_end))
      continue;
    int result = file_write(b->fd, v->table_at + 4ull * i, entry, 4);
    if (result)
      return result;
    v->table[i] = VHD_FREE;
  }
  v->bits_of = VHD_FREE;
  return 0;
}

int vhd_check(struct block *b, struct block_check *c, enum block_repair repair) {
  struct vhd *v = b->state;
  uint64_t outside = 0, overlapping = 0, unused = 0;
  bool fixed = v->type == VHD_FIXED;
  unsigned footers = v->back_damaged + (v->front_damaged && !fixed);
  int result = fixed ? 0 : vhd_survey(v, &outside, &overlapping);
  if (!result && outside && repair == BLOCK_REPAIR_ALL) {
    result = drop_outside(b, v);
    if (!result) {
      c->corruptions_fixed += outside;
      result = vhd_survey(v, &outside, &overlapping);
    }
  }
  if (result)
    return result;
  c->corruptions += outside + overlapping;
  if (!fixed && v->file_end > v->next + VHD_FOOTER)
    unused = (v->file_end - v->next - VHD_FOOTER + v->block_size - 1) / v->block_size;
  bool safe = !outside && !overlapping;
  if (safe && ((footers && repair == BLOCK_REPAIR_ALL) || (unused && repair != BLOCK_REPAIR_NONE))) {
    result = mend_footers(b, v);
    if (result)
      return result;
    v->front_damaged = v->back_damaged = false;
    c->corruptions_fixed += footers;
    c->leaks_fixed += unused;
    footers = 0, unused = 0;
  }
  c->corruptions += footers;
  c->leaks += unused;
  c->image_end = fixed ? b->file_size : v->next + VHD_FOOTER;
  c->clusters = fixed ? 0 : v->entries;
  uint32_t before = VHD_FREE;
  for (uint32_t i = 0; i < c->clusters; i++)
    if (v->table[i] != VHD_FREE) {
      c->allocated++;
      c->fragmented +=
          before != VHD_FREE && v->table[i] != before + (v->bitmap_size + v->block_size) / SECTOR;
      before = v->table[i];
    }
  return 0;
}

int vhd_info(struct block *b, struct block_info *info) {
  const struct vhd *v = b->state;
  info->cluster_size = v->type == VHD_FIXED ? 0 : v->block_size;
  block_info_add(info, "subformat", true, "%s",
                 v->type == VHD_FIXED     ? "fixed"
                 : v->type == VHD_DYNAMIC ? "dynamic"
                                          : "differencing");
  return 0;
}
