/* SPDX-License-Identifier: MIT */
/*
 * VDI, VirtualBox's disk images, version 1.1 (VirtualBox's VDICore.h and its forum's "Tutorial: All about
 * VDIs"): a header, a table with one 32-bit index for every block of the disk, and the blocks. Dynamic and
 * fixed ones are read and written; differencing images (of VirtualBox's snapshots) are refused, as are undo
 * images and version 0.
 *
 * A new block: its data, then the header's count and the table's entry. Both lie in the first page of the
 * file for disks of up to 896 MB of 1 MB blocks and are written at once; for larger ones the count comes
 * first, so that a program that allocates by the count never uses a block twice. Opening trusts the table
 * alone.
 */
#include "devices/block/format.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define SIGNATURE 0xbeda107fu
#define HEADER 512u
#define AT_SIGNATURE 0x40
#define AT_VERSION 0x44
#define AT_HEADER_SIZE 0x48
#define AT_TYPE 0x4c
#define AT_MAP 0x154
#define AT_DATA 0x158
#define AT_SECTOR_SIZE 0x168
#define AT_DISK_SIZE 0x170
#define AT_BLOCK_SIZE 0x178
#define AT_BLOCK_EXTRA 0x17c
#define AT_BLOCKS 0x180
#define AT_ALLOCATED 0x184
#define AT_UUID 0x188
#define AT_UUID_SNAPSHOT 0x198
#define AT_UUID_LINK 0x1a8
#define AT_UUID_PARENT 0x1b8

#define VERSION 0x00010001u
#define FREE 0xffffffffu      /* never written */
#define DISCARDED 0xfffffffeu /* zeros */
#define MAX_BLOCKS (16u << 20)
#define ATOMIC 4096u /* a write inside of the first page is whole or not there */

enum vdi_type { VDI_DYNAMIC = 1, VDI_FIXED, VDI_UNDO, VDI_DIFFERENCING };

struct vdi {
  uint8_t header[HEADER];
  uint64_t map_at, data_at;
  uint32_t block_size, blocks, allocated;
  uint32_t *map;
  uint8_t *used;     /* one bit for each place of a block below `blocks` */
  uint32_t low_free; /* no free place is below this one */
};

static bool there(uint32_t entry) { return entry < DISCARDED; }

static uint64_t place(const struct vdi *v, uint32_t entry) {
  return v->data_at + (uint64_t)entry * v->block_size;
}

static int bad(const struct block *b, const char **error, const char *what) {
  *error = block_message("VDI image '%s': %s", b->path, what);
  return -EINVAL;
}

static bool is_null(const uint8_t *uuid) {
  for (int i = 0; i < 16; i++)
    if (uuid[i])
      return false;
  return true;
}

static int vdi_probe(const struct block_probe *p) {
  return p->head_len >= HEADER && le32_at(p->head + AT_SIGNATURE) == SIGNATURE ? 100 : 0;
}

/* What the header says, checked as far as the file's length goes. */
static int parse(struct block *b, struct vdi *v, const char **error) {
  const uint8_t *h = v->header;
  if (b->file_size < HEADER || file_read(b->fd, 0, v->header, HEADER))
    return bad(b, error, "the header is cut off");
  if (le32_at(h + AT_SIGNATURE) != SIGNATURE)
    return bad(b, error, "it has not the signature of one");
  if (le32_at(h + AT_VERSION) != VERSION) {
    *error = block_message("VDI image '%s': version %u.%u; only 1.1 is supported", b->path,
                           le16_at(h + AT_VERSION + 2), le16_at(h + AT_VERSION));
    return -ENOTSUP;
  }
  uint32_t type = le32_at(h + AT_TYPE);
  if (type == VDI_DIFFERENCING || type == VDI_UNDO || !is_null(h + AT_UUID_LINK) ||
      !is_null(h + AT_UUID_PARENT)) {
    bad(b, error,
        "a differencing image, which is not supported: clone the disk in VirtualBox to one without "
        "a parent");
    return -ENOTSUP;
  }
  if (type != VDI_DYNAMIC && type != VDI_FIXED)
    return bad(b, error, "an unknown type of image");
  v->map_at = le32_at(h + AT_MAP);
  v->data_at = le32_at(h + AT_DATA);
  v->block_size = le32_at(h + AT_BLOCK_SIZE);
  v->blocks = le32_at(h + AT_BLOCKS);
  b->size = le64_at(h + AT_DISK_SIZE);
  if (le32_at(h + AT_SECTOR_SIZE) != SECTOR)
    return bad(b, error, "its sectors are not of 512 bytes");
  if (v->block_size < 4096 || v->block_size > 256u << 20 || (v->block_size & (v->block_size - 1)))
    return bad(b, error, "the size of its blocks is no power of two from 4 kB to 256 MB");
  if (le32_at(h + AT_BLOCK_EXTRA))
    return bad(b, error, "its blocks bear extra data, which is not supported");
  if (!v->blocks || v->blocks > MAX_BLOCKS)
    return bad(b, error, "the number of blocks is damaged, or the disk is too large");
  if (!b->size || b->size > (uint64_t)v->blocks * v->block_size)
    return bad(b, error, "the disk's size is zero or more than its blocks hold");
  if (v->map_at < HEADER || v->map_at % SECTOR || v->map_at + 4ull * v->blocks > b->file_size)
    return bad(b, error, "the table of blocks does not lie inside of the file");
  if (v->data_at % SECTOR || v->data_at < v->map_at + 4ull * v->blocks)
    return bad(b, error, "the first block lies inside of the table");
  b->size = (b->size + SECTOR - 1) / SECTOR * SECTOR; /* (VirtualBox and QEMU round up, too) */
  return 0;
}

/* Count the blocks and mark their places; the number of entries that no sane writer leaves. */
static uint32_t survey(struct vdi *v) {
  uint32_t wrong = 0;
  v->allocated = 0;
  v->low_free = 0;
  memset(v->used, 0, v->blocks / 8 + 1);
  for (uint32_t i = 0; i < v->blocks; i++) {
    uint32_t entry = v->map[i];
    if (!there(entry))
      continue;
    v->allocated++;
    if (entry >= v->blocks || (v->used[entry / 8] >> entry % 8 & 1)) {
      wrong++;
      continue;
    }
    v->used[entry / 8] |= (uint8_t)(1u << entry % 8);
  }
  return wrong;
}

static void release(struct vdi *v) {
  if (!v)
    return;
  free(v->map);
  free(v->used);
  free(v);
}

static void vdi_close(struct block *b) { release(b->state); }

/* Up to the end of the block or of the request. */
static uint64_t piece(const struct vdi *v, uint64_t offset, uint64_t len) {
  uint64_t left = v->block_size - offset % v->block_size;
  return left < len ? left : len;
}

static int vdi_read(struct block *b, uint64_t offset, void *buf, uint64_t len) {
  const struct vdi *v = b->state;
  for (uint8_t *to = buf; len;) {
    uint64_t n = piece(v, offset, len);
    uint32_t entry = v->map[offset / v->block_size];
    if (!there(entry)) {
      memset(to, 0, n);
    } else {
      int result = file_read_padded(b->fd, place(v, entry) + offset % v->block_size, to, n);
      if (result)
        return result;
    }
    to += n, offset += n, len -= n;
  }
  return 0;
}

static int vdi_status(struct block *b, uint64_t offset, uint64_t len, uint64_t *run) {
  const struct vdi *v = b->state;
  uint32_t entry = v->map[offset / v->block_size];
  uint64_t n = piece(v, offset, len);
  if (there(entry))
    return (int)file_state(b->fd, place(v, entry) + offset % v->block_size, n, run);
  while (n < len && v->map[(offset + n) / v->block_size] == entry)
    n += piece(v, offset + n, len - n);
  *run = n;
  return entry == DISCARDED ? BLOCK_STATE_ZERO : BLOCK_STATE_UNALLOCATED;
}

/* The lowest place that no entry uses. */
static int free_place(struct vdi *v, uint32_t *out) {
  for (uint32_t i = v->low_free; i < v->blocks; i++) {
    if (v->used[i / 8] == 0xff && i % 8 == 0) {
      i += 7;
    } else if (!(v->used[i / 8] >> i % 8 & 1)) {
      v->low_free = i;
      *out = i;
      return 0;
    }
  }
  return -EIO;
}

/* The entry and the count, see above. */
static int commit_entry(struct block *b, struct vdi *v, uint32_t index, uint32_t entry) {
  uint8_t number[4], page[ATOMIC];
  uint64_t at = v->map_at + 4ull * index;
  int result;
  if (at + 4 <= ATOMIC && (result = file_read(b->fd, 0, page, at + 4)) == 0) {
    put_le32(page + AT_ALLOCATED, v->allocated + 1);
    put_le32(page + at, entry);
    result = file_write(b->fd, AT_ALLOCATED, page + AT_ALLOCATED, at + 4 - AT_ALLOCATED);
  } else {
    put_le32(number, v->allocated + 1);
    if ((result = file_write(b->fd, AT_ALLOCATED, number, 4)))
      return result;
    put_le32(number, entry);
    result = file_write(b->fd, at, number, 4);
  }
  if (result)
    return result;
  v->allocated++;
  put_le32(v->header + AT_ALLOCATED, v->allocated);
  v->map[index] = entry;
  v->used[entry / 8] |= (uint8_t)(1u << entry % 8);
  return 0;
}

/* The first write to a block. What an unlucky end left at its place is wiped. */
static int write_new(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  struct vdi *v = b->state;
  uint32_t entry;
  int result = free_place(v, &entry);
  if (result)
    return result;
  uint64_t at = place(v, entry), end = at + v->block_size, from = offset % v->block_size;
  if (at < b->file_size && len < v->block_size)
    result = file_zero(b->fd, at, (b->file_size < end ? b->file_size : end) - at);
  if (!result)
    result = file_write(b->fd, at + from, buf, len);
  if (!result && end > b->file_size && ftruncate(b->fd, (off_t)end) < 0)
    result = -errno;
  if (result) {
    if (at + from + len > b->file_size) /* what a failed write left must not count as zeros */
      b->file_size = at + from + len;
    return result;
  }
  if (end > b->file_size)
    b->file_size = end;
  return commit_entry(b, v, (uint32_t)(offset / v->block_size), entry);
}

static int vdi_write(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  const struct vdi *v = b->state;
  for (const uint8_t *from = buf; len;) {
    uint64_t n = piece(v, offset, len);
    uint32_t entry = v->map[offset / v->block_size];
    int result = there(entry) ? file_write(b->fd, place(v, entry) + offset % v->block_size, from, n)
                              : write_new(b, offset, from, n);
    if (result)
      return result;
    from += n, offset += n, len -= n;
  }
  return 0;
}

static int vdi_write_zeroes(struct block *b, uint64_t offset, uint64_t len) {
  const struct vdi *v = b->state;
  while (len) {
    uint64_t n = piece(v, offset, len);
    uint32_t entry = v->map[offset / v->block_size];
    int result = there(entry) ? file_zero(b->fd, place(v, entry) + offset % v->block_size, n) : 0;
    if (result)
      return result;
    offset += n, len -= n;
  }
  return 0;
}

static int vdi_flush(struct block *b) { return file_flush(b->fd); }

static const struct block_driver vdi_driver = {
    .read = vdi_read,
    .write = vdi_write,
    .flush = vdi_flush,
    .close = vdi_close,
    .status = vdi_status,
    .write_zeroes = vdi_write_zeroes,
};

static int vdi_open(struct block *b, const struct block_options *o, const char **error) {
  struct vdi *v = calloc(1, sizeof *v);
  int result = v ? parse(b, v, error) : -ENOMEM;
  if (!result) {
    v->map = malloc(4ull * v->blocks);
    v->used = malloc(v->blocks / 8 + 1);
    result = v->map && v->used ? file_read(b->fd, v->map_at, v->map, 4ull * v->blocks) : -ENOMEM;
    if (result)
      *error =
          block_message("VDI image '%s': cannot read the table of blocks: %s", b->path, strerror(-result));
  }
  if (!result) {
    for (uint32_t i = 0; i < v->blocks; i++)
      v->map[i] = le32_at(&v->map[i]);
    if (survey(v) && (o->flags & BLOCK_WRITE) && !(o->flags & BLOCK_CHECK))
      result = bad(b, error, "its table of blocks is damaged: it can be read, but not written");
  }
  if (result) {
    release(v);
    return result;
  }
  b->state = v;
  b->driver = &vdi_driver;
  return 0;
}

/* --- check, info and create --------------------------------------------------------------------------- */

static int store_map(struct block *b, const struct vdi *v) {
  int result = 0;
  for (uint32_t i = 0; !result && i < v->blocks; i++) {
    uint8_t now[4], want[4];
    put_le32(want, v->map[i]);
    result = file_read(b->fd, v->map_at + 4ull * i, now, 4);
    if (!result && memcmp(now, want, 4))
      result = file_write(b->fd, v->map_at + 4ull * i, want, 4);
  }
  return result;
}

static int vdi_check(struct block *b, struct block_check *c, enum block_repair repair) {
  struct vdi *v = b->state;
  uint64_t outside = 0, end = 0, past = 0;
  uint32_t wrong = survey(v);
  uint32_t before = FREE;
  for (uint32_t i = 0; i < v->blocks; i++) {
    uint32_t entry = v->map[i];
    if (!there(entry))
      continue;
    if (entry >= v->blocks || place(v, entry) >= b->file_size) {
      outside++, past += entry < v->blocks;
      if (repair == BLOCK_REPAIR_ALL)
        v->map[i] = FREE; /* nothing was ever there */
    } else {
      end = place(v, entry) + v->block_size > end ? place(v, entry) + v->block_size : end;
      c->fragmented += before != FREE && entry != before + 1;
      before = entry;
    }
  }
  uint64_t damage = wrong + past;
  if (repair == BLOCK_REPAIR_ALL && outside) {
    wrong = survey(v); /* those that are used twice remain */
    c->corruptions_fixed += damage - wrong;
    damage = wrong;
  }
  c->corruptions += damage;
  bool miscounted = le32_at(v->header + AT_ALLOCATED) != v->allocated;
  if (miscounted && repair == BLOCK_REPAIR_ALL) {
    put_le32(v->header + AT_ALLOCATED, v->allocated);
    int result = file_write(b->fd, AT_ALLOCATED, v->header + AT_ALLOCATED, 4);
    if (result)
      return result;
    c->corruptions_fixed++;
  } else {
    c->corruptions += miscounted;
  }
  c->clusters = v->blocks;
  c->allocated = v->allocated;
  c->image_end = end ? end : v->data_at;
  if (!outside || repair != BLOCK_REPAIR_ALL)
    return 0;
  int result = store_map(b, v);
  return result ? result : file_flush(b->fd);
}

static int vdi_info(struct block *b, struct block_info *info) {
  const struct vdi *v = b->state;
  info->cluster_size = v->block_size;
  block_info_add(info, "subformat", true, "%s",
                 le32_at(v->header + AT_TYPE) == VDI_FIXED ? "static" : "dynamic");
  return 0;
}

static int random_uuid(uint8_t *uuid) {
  if (getrandom(uuid, 16, 0) != 16)
    return -EIO;
  uuid[6] = (uint8_t)((uuid[6] & 15) | 0x40);
  uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
  return 0;
}

static int vdi_create(int fd, const char *path, const struct block_create *c, const char **error) {
  const uint32_t block = 1u << 20;
  char text[8] = "off";
  uint8_t header[HEADER] = {0};
  uint64_t blocks = c->size / block + (c->size % block != 0);
  block_option(c->options, "static", text, sizeof text);
  bool fixed = !strcmp(text, "on");
  if (!fixed && strcmp(text, "off")) {
    *error = block_message("'%s': static= wants on or off", path);
    return -EINVAL;
  }
  if (!blocks || blocks > MAX_BLOCKS) {
    *error = block_message("'%s': a VDI image can hold up to %u MB, and not nothing", path, MAX_BLOCKS);
    return -EFBIG;
  }
  uint64_t map = 4 * blocks, data = (HEADER + map + block - 1) / block * block;
  memcpy(header, "<<< Oracle VM VirtualBox Disk Image >>>\n", 40);
  put_le32(header + AT_SIGNATURE, SIGNATURE);
  put_le32(header + AT_VERSION, VERSION);
  put_le32(header + AT_HEADER_SIZE, 400);
  put_le32(header + AT_TYPE, fixed ? VDI_FIXED : VDI_DYNAMIC);
  put_le32(header + AT_MAP, HEADER);
  put_le32(header + AT_DATA, (uint32_t)data);
  put_le32(header + AT_SECTOR_SIZE, SECTOR);
  put_le64(header + AT_DISK_SIZE, c->size);
  put_le32(header + AT_BLOCK_SIZE, block);
  put_le32(header + AT_BLOCKS, (uint32_t)blocks);
  put_le32(header + AT_ALLOCATED, fixed ? (uint32_t)blocks : 0);
  int result = random_uuid(header + AT_UUID);
  if (!result)
    result = random_uuid(header + AT_UUID_SNAPSHOT);
  uint8_t *entries = malloc(map);
  if (!entries)
    result = -ENOMEM;
  for (uint32_t i = 0; entries && i < blocks; i++)
    put_le32(entries + 4ull * i, fixed ? i : FREE);
  if (!result)
    result = file_write(fd, HEADER, entries, map);
  if (!result && ftruncate(fd, (off_t)(data + (fixed ? blocks * block : 0))) < 0)
    result = -errno;
  if (!result)
    result = file_write(fd, 0, header, HEADER);
  if (result)
    *error = block_message("cannot write '%s': %s", path, strerror(-result));
  free(entries);
  return result;
}

static const char *const vdi_options[] = {"static", NULL};

const struct block_format vdi_format = {
    .name = "vdi",
    .create_options = vdi_options,
    .probe = vdi_probe,
    .open = vdi_open,
    .create = vdi_create,
    .check = vdi_check,
    .info = vdi_info,
};
