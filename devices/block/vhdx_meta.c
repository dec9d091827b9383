/* SPDX-License-Identifier: MIT */
/* Where things are in a VHDX and what disk it describes: the region table, metadata, and the parent's locator
 * ([MS-VHDX] 2.2.3, 2.6). */
#include "devices/block/vhdx.h"
#include "devices/block/vhd.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define REGIONS (64u << 10)
#define METADATA_TABLE (64u << 10)
#define LOCATOR_MAX (64u << 10)

static const uint8_t region_table[VHDX_GUID] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                                0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
static const uint8_t region_metadata[VHDX_GUID] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                                   0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t locator_type[VHDX_GUID] = {0xb7, 0xef, 0x4a, 0xb0, 0x9e, 0xd1, 0x81, 0x4a,
                                                0xb7, 0x89, 0x25, 0xb8, 0xe9, 0x44, 0x59, 0x13};

static int bad(const struct block *b, const char **error, const char *what) {
  *error = block_message("VHDX image '%s': %s", b->path, what);
  return -EINVAL;
}

/* --- regions ------------------------------------------------------------------------------------------ */

static bool regions_valid(uint8_t *r) {
  uint8_t stated[4], zero[4] = {0};
  memcpy(stated, r + 4, 4);
  memcpy(r + 4, zero, 4);
  return !memcmp(r, "regi", 4) && vhdx_crc(0, r, REGIONS) == le32_at(stated) && le32_at(r + 8) <= 2047;
}

static int take_regions(struct block *b, struct vhdx *v, const uint8_t *r, const char **error) {
  uint32_t n = le32_at(r + 8);
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *e = r + 16 + 32 * i;
    uint64_t at = le64_at(e + 16), len = le32_at(e + 24);
    bool table = !memcmp(e, region_table, VHDX_GUID), metadata = !memcmp(e, region_metadata, VHDX_GUID);
    if (!table && !metadata) {
      if (le32_at(e + 28) & 1)
        return bad(b, error, "it needs a region that is not known here");
      continue;
    }
    if (at < 1u << 20 || at > b->file_size || len > b->file_size - at)
      return bad(b, error, "a region does not lie inside of the file");
    *(table ? &v->table_at : &v->metadata_at) = at;
    *(table ? &v->table_len : &v->metadata_len) = len;
  }
  return v->table_at && v->metadata_at ? 0 : bad(b, error, "it has no table of blocks or no metadata");
}

int vhdx_read_regions(struct block *b, struct vhdx *v, const char **error) {
  uint8_t *r = malloc(REGIONS);
  int result = r ? 0 : -ENOMEM;
  bool taken = false;
  for (int copy = 0; copy < 2 && !result; copy++) {
    result = vhdx_fetch(b, v, (192ull + 64 * copy) << 10, r, REGIONS);
    v->regions_damaged[copy] = result || !regions_valid(r);
    if (!result && !v->regions_damaged[copy] && !taken) {
      taken = true;
      result = take_regions(b, v, r, error);
    }
  }
  if (!result && !taken)
    result = bad(b, error, "both region tables are damaged");
  free(r);
  return result;
}

/* --- metadata ----------------------------------------------------------------------------------------- */

enum item { FILE_PARAMETERS, DISK_SIZE, DISK_ID, LOGICAL_SECTOR, PHYSICAL_SECTOR, PARENT_LOCATOR, ITEMS };

static const uint8_t item_guid[ITEMS][VHDX_GUID] = {
    {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b},
    {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8},
    {0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09, 0xe0, 0x00, 0xc7, 0x46},
    {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f},
    {0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88, 0x52, 0x51, 0xc5, 0x56},
    {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8, 0x48, 0x34, 0xab, 0x0c},
};

/* Find an item and read up to `size` bytes of it; *len: how long it is, 0: it is not there. */
static int read_item(struct block *b, struct vhdx *v, enum item item, void *buf, uint32_t size, uint32_t *len,
                     const char **error) {
  uint8_t head[32], e[32];
  *len = 0;
  int result = vhdx_fetch(b, v, v->metadata_at, head, sizeof head);
  if (result)
    return result;
  if (v->metadata_len < METADATA_TABLE || memcmp(head, "metadata", 8) || le16_at(head + 10) > 2047)
    return bad(b, error, "its metadata are damaged");
  for (uint32_t i = 0; i < le16_at(head + 10); i++) {
    result = vhdx_fetch(b, v, v->metadata_at + 32 + 32 * i, e, sizeof e);
    if (result)
      return result;
    if (memcmp(e, item_guid[item], VHDX_GUID))
      continue;
    uint64_t at = le32_at(e + 16), n = le32_at(e + 20);
    if (at < METADATA_TABLE || at + n > v->metadata_len)
      return bad(b, error, "its metadata are damaged");
    *len = (uint32_t)n;
    return vhdx_fetch(b, v, v->metadata_at + at, buf, n < size ? n : size);
  }
  return 0;
}

/* Nothing that must be understood but is not. */
static int check_items(struct block *b, struct vhdx *v, const char **error) {
  uint8_t head[32], e[32];
  int result = vhdx_fetch(b, v, v->metadata_at, head, sizeof head);
  for (uint32_t i = 0; !result && i < le16_at(head + 10) && i <= 2047; i++) {
    unsigned known = 0;
    result = vhdx_fetch(b, v, v->metadata_at + 32 + 32 * i, e, sizeof e);
    while (known < ITEMS && memcmp(e, item_guid[known], VHDX_GUID))
      known++;
    if (!result && known == ITEMS && le32_at(e + 24) & 4)
      return bad(b, error, "it needs metadata that are not known here");
  }
  return result;
}

int vhdx_read_metadata(struct block *b, struct vhdx *v, const char **error) {
  uint8_t parameters[8], size[8], sector[4];
  uint32_t len[3] = {0};
  int result = read_item(b, v, FILE_PARAMETERS, parameters, 8, &len[0], error);
  if (!result)
    result = read_item(b, v, DISK_SIZE, size, 8, &len[1], error);
  if (!result)
    result = read_item(b, v, LOGICAL_SECTOR, sector, 4, &len[2], error);
  if (!result)
    result = check_items(b, v, error);
  if (result)
    return result;
  if (len[0] < 8 || len[1] < 8 || len[2] < 4)
    return bad(b, error, "its metadata don't describe a disk");
  v->block_size = le32_at(parameters);
  v->fixed = parameters[4] & 1;
  v->has_parent = parameters[4] & 2;
  v->sector_size = le32_at(sector);
  b->size = le64_at(size);
  if (v->block_size < 1u << 20 || v->block_size > 256u << 20 || (v->block_size & (v->block_size - 1)))
    return bad(b, error, "the size of its blocks is no power of two from 1 to 256 MB");
  if (v->sector_size != 512 && v->sector_size != 4096)
    return bad(b, error, "its sectors are neither of 512 nor of 4096 bytes");
  if (!b->size || b->size % v->sector_size || b->size > 64ull << 40)
    return bad(b, error, "the disk's size is zero, more than 64 TB or no number of sectors");
  v->ratio = (uint32_t)(((uint64_t)v->sector_size << 23) / v->block_size);
  v->blocks = (b->size + v->block_size - 1) / v->block_size;
  uint64_t chunks = (v->blocks + v->ratio - 1) / v->ratio;
  uint64_t entries = v->has_parent ? chunks * (v->ratio + 1) : v->blocks + (v->blocks - 1) / v->ratio;
  if (entries * 8 > v->table_len)
    return bad(b, error, "its table of blocks is too short for the disk");
  return 0;
}

/* --- the parent --------------------------------------------------------------------------------------- */

/* A value of the locator by its key, as UTF-8. */
static bool locator_value(const uint8_t *l, uint32_t len, const char *key, char *out) {
  char name[256];
  for (uint32_t i = 0; i < le16_at(l + 18) && 20 + 12 * (i + 1) <= len; i++) {
    const uint8_t *e = l + 20 + 12 * i;
    uint32_t key_at = le32_at(e), value_at = le32_at(e + 4), key_len = le16_at(e + 8),
             value_len = le16_at(e + 10);
    if (key_at > len || key_len > len - key_at || value_at > len || value_len > len - value_at)
      continue;
    if (vhd_from_utf16(l + key_at, key_len, false, name, sizeof name) && !strcmp(name, key))
      return vhd_from_utf16(l + value_at, value_len, false, out, VHD_NAME_BYTES);
  }
  return false;
}

static void guid_text(const uint8_t *g, char text[40]) {
  snprintf(text, 40, "{%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x}", le32_at(g), le16_at(g + 4),
           le16_at(g + 6), g[8], g[9], g[10], g[11], g[12], g[13], g[14], g[15]);
}

static int try(struct block *b, const uint8_t *l, uint32_t len, const char *name, const char **error) {
  static char value[VHD_NAME_BYTES + 1];
  char identity[40];
  int result = block_open_backing(b, name, "vhdx", error);
  if (result)
    return result;
  guid_text(((const struct vhdx *)b->backing->state)->header + VHDX_DATA_GUID, identity);
  if ((locator_value(l, len, "parent_linkage", value) && !strcasecmp(value, identity)) ||
      (locator_value(l, len, "parent_linkage2", value) && !strcasecmp(value, identity))) {
    b->backing_name = strdup(name);
    b->backing_format = strdup("vhdx");
    return b->backing_name && b->backing_format ? 0 : -ENOMEM;
  }
  *error = block_message("VHDX image '%s': '%s' is not its parent, or was written to since", b->path,
                         b->backing->path);
  block_close(b->backing);
  b->backing = NULL;
  return -EINVAL;
}

int vhdx_open_parent(struct block *b, struct vhdx *v, const char **error) {
  static const char *const keys[] = {"relative_path", "absolute_win32_path"};
  static char name[VHD_NAME_BYTES + 1];
  uint32_t len;
  uint8_t *l = malloc(LOCATOR_MAX);
  int result = l ? read_item(b, v, PARENT_LOCATOR, l, LOCATOR_MAX, &len, error) : -ENOMEM;
  if (!result && (len < 20 || len > LOCATOR_MAX || memcmp(l, locator_type, VHDX_GUID)))
    result = bad(b, error, "it does not say where its parent is");
  bool tried = false;
  for (int i = 0; i < 2 && !result && !tried; i++) {
    if (!locator_value(l, len, keys[i], name) || !vhd_make_local(name))
      continue;
    char *path = block_path_beside(b->path, name);
    tried = path && access(path, F_OK) == 0;
    free(path);
    if (tried)
      result = try(b, l, len, name, error);
  }
  if (!result && !tried) {
    *error = block_message("VHDX image '%s': its parent '%s' is not there", b->path, name);
    result = -ENOENT;
  }
  free(l);
  return result;
}
