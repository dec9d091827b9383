/* SPDX-License-Identifier: MIT */
/*
 * VHD, Virtual PC's and Hyper-V's first disk format ("vpc" to qemu-img): Microsoft, "Virtual Hard Disk Image
 * Format Specification" 1.0. Fixed, dynamic and differencing disks are read and written.
 *
 * A dynamic disk is a table of 2 MB blocks, each behind a bitmap of its sectors: a clear bit means zeros, or
 * the parent's sector. A new block: the footer at the file's new end, the bitmap and the data (over the old
 * footer), then the table's entry. A sector of a block that is there: the data, then its bit. So the file
 * ends in a footer and no entry points to what is not yet there, wherever it stops.
 *
 * How large the disk is follows QEMU: some programs count on the geometry, others on the current size.
 */
#include "devices/block/vhd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The one's complement of the sum of all bytes but the field's own four. */
uint32_t vhd_sum(const uint8_t *at, unsigned len, unsigned field) {
  uint32_t sum = 0;
  for (unsigned i = 0; i < len; i++)
    sum += i >= field && i < field + 4 ? 0 : at[i];
  return ~sum;
}

bool vhd_footer_valid(const uint8_t *footer) {
  return !memcmp(footer, "conectix", 8) && be32_at(footer + VHD_VERSION) >> 16 == 1 &&
         be32_at(footer + VHD_CHECKSUM) == vhd_sum(footer, VHD_FOOTER, VHD_CHECKSUM);
}

/* Programs that go by the geometry round it up to what was asked for (or leave a rest unused), so the bytes
 * behind it don't belong to the disk; the others state the size and a geometry that is only near. */
uint64_t vhd_disk_size(const uint8_t *footer) {
  static const char by_size[][4] = {"win ", "qem2", "d2v ", "CTXS", {'t', 'a', 'p', 0}, {'w', 'a', 0, 0}};
  uint64_t sectors = (uint64_t)be16_at(footer + VHD_CYLINDERS) * footer[VHD_HEADS] * footer[VHD_SECTORS];
  bool use_size = sectors == VHD_MAX_GEOMETRY;
  for (unsigned i = 0; i < sizeof by_size / sizeof by_size[0]; i++)
    use_size |= !memcmp(footer + VHD_CREATOR, by_size[i], 4);
  return use_size ? be64_at(footer + VHD_CURRENT_SIZE) / SECTOR * SECTOR : sectors * SECTOR;
}

static int bad(const struct block *b, const char **error, const char *what) {
  *error = block_message("VHD image '%s': %s", b->path, what);
  return -EINVAL;
}

/* A fixed disk begins with the guest's own sectors and is known by its end only. */
static int vhd_probe(const struct block_probe *p) {
  if (p->head_len >= VHD_FOOTER && !memcmp(p->head, "conectix", 8))
    return 100;
  bool fixed = p->file_size > VHD_FOOTER && vhd_footer_valid(p->tail) &&
               be32_at(p->tail + VHD_TYPE) == VHD_FIXED &&
               vhd_disk_size(p->tail) <= p->file_size - VHD_FOOTER;
  return fixed ? 90 : 0;
}

/* --- opening ------------------------------------------------------------------------------------------ */

static int read_footer(struct block *b, struct vhd *v, const char **error) {
  uint8_t tail[VHD_FOOTER];
  if (b->file_size < VHD_FOOTER)
    return bad(b, error, "too short for a footer");
  int result = file_read(b->fd, 0, v->footer, VHD_FOOTER);
  if (!result)
    result = file_read(b->fd, b->file_size - VHD_FOOTER, tail, VHD_FOOTER);
  if (result) {
    *error = block_message("cannot read VHD image '%s': %s", b->path, strerror(-result));
    return result;
  }
  v->back_damaged = !vhd_footer_valid(tail);
  v->front_damaged = !vhd_footer_valid(v->footer);
  if (v->front_damaged && v->back_damaged)
    return bad(b, error,
               !memcmp(v->footer, "conectix", 8) || !memcmp(tail, "conectix", 8)
                   ? "both copies of the footer are damaged"
                   : "it has no footer");
  if (v->front_damaged)
    memcpy(v->footer, tail, VHD_FOOTER);
  uint32_t type = be32_at(v->footer + VHD_TYPE);
  if (type != VHD_FIXED && type != VHD_DYNAMIC && type != VHD_DIFFERENCING)
    return bad(b, error, "an unknown type of disk");
  v->type = (enum vhd_type)type;
  b->size = vhd_disk_size(v->footer);
  if (!b->size || b->size / SECTOR > VHD_MAX_SECTORS)
    return bad(b, error, "the disk's size is zero or more than 2040 GB");
  if (v->type == VHD_FIXED && b->size > b->file_size - VHD_FOOTER)
    return bad(b, error, "the file is shorter than the disk: is it cut off?");
  return 0;
}

static int read_header(struct block *b, struct vhd *v, const char **error) {
  uint64_t at = be64_at(v->footer + VHD_DATA_OFFSET);
  const uint8_t *h = v->header;
  if (at > b->file_size || b->file_size - at < VHD_DYNAMIC_HEADER ||
      file_read(b->fd, at, v->header, VHD_DYNAMIC_HEADER))
    return bad(b, error, "the header of the dynamic disk does not lie inside of the file");
  if (memcmp(h, "cxsparse", 8) ||
      be32_at(h + VHD_DYN_CHECKSUM) != vhd_sum(h, VHD_DYNAMIC_HEADER, VHD_DYN_CHECKSUM))
    return bad(b, error, "the header of the dynamic disk is damaged");
  v->table_at = be64_at(h + VHD_DYN_TABLE);
  v->entries = be32_at(h + VHD_DYN_ENTRIES);
  v->block_size = be32_at(h + VHD_DYN_BLOCK_SIZE);
  if (be32_at(h + VHD_DYN_VERSION) >> 16 != 1)
    return bad(b, error, "a version of the dynamic disk's header that is not known");
  if (v->block_size < 4096 || v->block_size > 256u << 20 || (v->block_size & (v->block_size - 1)))
    return bad(b, error, "the size of its blocks is no power of two from 4 kB to 256 MB");
  if ((uint64_t)v->entries * v->block_size < b->size)
    return bad(b, error, "the table of blocks is too short for the disk");
  if (v->table_at > b->file_size || b->file_size - v->table_at < 4ull * v->entries)
    return bad(b, error, "the table of blocks does not lie inside of the file");
  v->bitmap_size = (v->block_size / SECTOR / 8 + SECTOR - 1) / SECTOR * SECTOR;
  v->data_at = v->table_at + 4ull * v->entries;
  /* What lies behind the disk is of no interest, and the table may be much too long. */
  v->entries = (uint32_t)((b->size + v->block_size - 1) / v->block_size);
  if (v->data_at < at + VHD_DYNAMIC_HEADER)
    v->data_at = at + VHD_DYNAMIC_HEADER;
  for (int i = 0; i < VHD_LOCATORS; i++) { /* (the second field counts sectors, or bytes, as programs go) */
    const uint8_t *l = h + VHD_DYN_LOCATORS + 24 * i;
    uint64_t space = be32_at(l + 4) > be32_at(l + 8) ? be32_at(l + 4) : be32_at(l + 8);
    uint64_t from = be64_at(l + 16);
    if (be32_at(l) && from < b->file_size && from + space > v->data_at && from < (uint64_t)1 << 62)
      v->data_at = from + space;
  }
  v->data_at = (v->data_at + SECTOR - 1) / SECTOR * SECTOR;
  return 0;
}

static uint64_t span(const struct vhd *v) { return (uint64_t)v->bitmap_size + v->block_size; }

static int by_place(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

int vhd_survey(struct vhd *v, uint64_t *outside, uint64_t *overlapping) {
  uint32_t *sorted = malloc(4ull * v->entries), n = 0;
  if (!sorted)
    return -ENOMEM;
  uint64_t header = be64_at(v->footer + VHD_DATA_OFFSET);
  *outside = *overlapping = 0;
  v->next = v->data_at;
  for (uint32_t i = 0; i < v->entries; i++)
    if (v->table[i] != VHD_FREE)
      sorted[n++] = v->table[i];
  qsort(sorted, n, 4, by_place);
  for (uint32_t i = 0; i < n; i++) {
    uint64_t at = (uint64_t)sorted[i] * SECTOR;
    /* (Behind a disk whose last block was cut short there may be less than a whole block.) */
    if (at < VHD_FOOTER || at + v->bitmap_size > v->file_end)
      ++*outside;
    else if (i && at - (uint64_t)sorted[i - 1] * SECTOR < span(v))
      ++*overlapping;
    if (at + span(v) > v->next)
      v->next = at + span(v);
    if ((at < v->table_at + 4ull * v->entries && at + span(v) > v->table_at) ||
        (at < header + VHD_DYNAMIC_HEADER && at + span(v) > header))
      ++*overlapping; /* with what describes the disk */
  }
  free(sorted);
  return 0;
}

static int read_table(struct block *b, struct vhd *v, bool write, const char **error) {
  uint64_t outside, overlapping;
  v->table = malloc(4ull * v->entries);
  v->bits = malloc(v->bitmap_size);
  v->bits_of = VHD_FREE;
  v->file_end = b->file_size;
  int result = v->table && v->bits ? file_read(b->fd, v->table_at, v->table, 4ull * v->entries) : -ENOMEM;
  if (!result) {
    for (uint32_t i = 0; i < v->entries; i++)
      v->table[i] = be32_at(&v->table[i]);
    result = vhd_survey(v, &outside, &overlapping);
  }
  if (result) {
    *error = block_message("VHD image '%s': cannot read the table of blocks: %s", b->path, strerror(-result));
    return result;
  }
  if (write && (outside || overlapping))
    return bad(b, error, "its table of blocks is damaged: it can be read, but not written");
  return 0;
}

static void release(struct vhd *v) {
  if (!v)
    return;
  free(v->table);
  free(v->bits);
  free(v);
}

static void vhd_close(struct block *b) { release(b->state); }

/* --- reading ------------------------------------------------------------------------------------------ */

static int load_bits(struct block *b, struct vhd *v, uint32_t block) {
  if (v->bits_of == block)
    return 0;
  v->bits_of = VHD_FREE;
  int result = file_read_padded(b->fd, (uint64_t)v->table[block] * SECTOR, v->bits, v->bitmap_size);
  if (!result)
    v->bits_of = block;
  return result;
}

static bool bit(const struct vhd *v, uint32_t sector) { return v->bits[sector / 8] >> (7 - sector % 8) & 1; }

/* A piece of the request: bytes of one block that are all here or all not here. */
struct piece {
  uint32_t block;
  uint64_t at; /* in the file, if it is here */
  uint64_t len;
  bool here;
};

static int find(struct block *b, uint64_t offset, uint64_t len, struct piece *p) {
  struct vhd *v = b->state;
  uint32_t in_block = (uint32_t)(offset % v->block_size);
  p->block = (uint32_t)(offset / v->block_size);
  p->len = v->block_size - in_block < len ? v->block_size - in_block : len;
  p->here = false;
  if (v->table[p->block] == VHD_FREE)
    return 0;
  int result = load_bits(b, v, p->block);
  if (result)
    return result;
  p->here = bit(v, in_block / SECTOR);
  p->at = (uint64_t)v->table[p->block] * SECTOR + v->bitmap_size + in_block;
  uint64_t n = SECTOR - in_block % SECTOR;
  while (n < p->len && bit(v, (uint32_t)(in_block + n) / SECTOR) == p->here)
    n += SECTOR;
  p->len = n < p->len ? n : p->len;
  return 0;
}

static int vhd_read(struct block *b, uint64_t offset, void *buf, uint64_t len) {
  const struct vhd *v = b->state;
  if (v->type == VHD_FIXED)
    return file_read_padded(b->fd, offset, buf, len);
  for (uint8_t *to = buf; len;) {
    struct piece p;
    int result = find(b, offset, len, &p);
    if (!result)
      result = p.here ? file_read_padded(b->fd, p.at, to, p.len) : block_read_backing(b, offset, to, p.len);
    if (result)
      return result;
    to += p.len, offset += p.len, len -= p.len;
  }
  return 0;
}

static int vhd_status(struct block *b, uint64_t offset, uint64_t len, uint64_t *run) {
  const struct vhd *v = b->state;
  struct piece p;
  if (v->type == VHD_FIXED)
    return (int)file_state(b->fd, offset, len, run);
  int result = find(b, offset, len, &p);
  *run = p.len;
  return result ? result : p.here ? (int)file_state(b->fd, p.at, p.len, run) : BLOCK_STATE_UNALLOCATED;
}

/* --- writing ------------------------------------------------------------------------------------------ */

/* Mark sectors [first, last] as being here, on the disk and in `bits`. Their data are there. */
static int set_bits(struct block *b, struct vhd *v, uint32_t block, uint32_t first, uint32_t last) {
  bool changed = false;
  for (uint32_t i = first; i <= last; i++) {
    changed |= !bit(v, i);
    v->bits[i / 8] |= (uint8_t)(0x80 >> i % 8);
  }
  if (!changed)
    return 0;
  int result = file_write(b->fd, (uint64_t)v->table[block] * SECTOR + first / 8, v->bits + first / 8,
                          last / 8 - first / 8 + 1);
  if (result)
    v->bits_of = VHD_FREE; /* read them again */
  return result;
}

/* Inside of a block that is there. Sectors of which only a part is written are taken over whole. */
static int write_present(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  struct vhd *v = b->state;
  uint32_t block = (uint32_t)(offset / v->block_size), in_block = (uint32_t)(offset % v->block_size);
  uint64_t data = (uint64_t)v->table[block] * SECTOR + v->bitmap_size, start = offset - in_block;
  uint32_t first = in_block / SECTOR, last = (uint32_t)(in_block + len - 1) / SECTOR;
  uint8_t sector[SECTOR];
  int result = load_bits(b, v, block);
  for (int side = 0; !result && side < 2; side++) {
    uint32_t s = side ? last : first;
    bool partial = side ? (in_block + len) % SECTOR : in_block % SECTOR;
    if (!partial || bit(v, s))
      continue;
    result = block_read_backing(b, start + (uint64_t)s * SECTOR, sector, SECTOR);
    if (!result)
      result = file_write(b->fd, data + (uint64_t)s * SECTOR, sector, SECTOR);
  }
  if (!result)
    result = file_write(b->fd, data + in_block, buf, len);
  return result ? result : set_bits(b, v, block, first, last);
}

/* A block that was not there: at first without any sector (differencing) or full of zeros. */
static int add_block(struct block *b, uint32_t block) {
  struct vhd *v = b->state;
  uint64_t at = v->next, end = at + span(v);
  uint8_t entry[4];
  if (at / SECTOR >= VHD_FREE)
    return -EFBIG;
  int result = file_write(b->fd, end, v->footer, VHD_FOOTER);
  if (result) {
    if (end + VHD_FOOTER > v->file_end && ftruncate(b->fd, (off_t)v->file_end) < 0)
      return -errno;
    return result;
  }
  uint64_t stale = v->file_end;
  if (end + VHD_FOOTER > v->file_end)
    v->file_end = end + VHD_FOOTER;
  memset(v->bits, v->type == VHD_DIFFERENCING ? 0 : 0xff, v->bitmap_size);
  v->bits_of = VHD_FREE;
  if (stale > at)
    result = file_zero(b->fd, at, (stale < end ? stale : end) - at);
  if (!result)
    result = file_write(b->fd, at, v->bits, v->bitmap_size);
  if (result)
    return result;
  put_be32(entry, (uint32_t)(at / SECTOR));
  result = file_write(b->fd, v->table_at + 4ull * block, entry, 4);
  if (result)
    return result;
  v->next = end;
  v->table[block] = (uint32_t)(at / SECTOR);
  v->bits_of = block;
  return 0;
}

static int vhd_write(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  const struct vhd *v = b->state;
  if (v->type == VHD_FIXED)
    return file_write(b->fd, offset, buf, len);
  for (const uint8_t *from = buf; len;) {
    uint32_t block = (uint32_t)(offset / v->block_size);
    uint64_t n = v->block_size - offset % v->block_size < len ? v->block_size - offset % v->block_size : len;
    int result = v->table[block] == VHD_FREE ? add_block(b, block) : 0;
    if (!result)
      result = write_present(b, offset, from, n);
    if (result)
      return result;
    from += n, offset += n, len -= n;
  }
  return 0;
}

static int vhd_write_zeroes(struct block *b, uint64_t offset, uint64_t len) {
  static const uint8_t zeros[65536];
  const struct vhd *v = b->state;
  if (v->type == VHD_FIXED)
    return file_zero(b->fd, offset, len);
  while (len) {
    struct piece p;
    int result = find(b, offset, len, &p);
    if (!result && p.here) {
      result = file_zero(b->fd, p.at, p.len);
    } else if (!result && v->type == VHD_DIFFERENCING) {
      p.len = p.len < sizeof zeros ? p.len : sizeof zeros;
      result = vhd_write(b, offset, zeros, p.len);
    }
    if (result)
      return result;
    offset += p.len, len -= p.len;
  }
  return 0;
}

static int vhd_flush(struct block *b) { return file_flush(b->fd); }

static const struct block_driver vhd_driver = {
    .read = vhd_read,
    .write = vhd_write,
    .flush = vhd_flush,
    .close = vhd_close,
    .status = vhd_status,
    .write_zeroes = vhd_write_zeroes,
};

static int vhd_open(struct block *b, const struct block_options *o, const char **error) {
  struct vhd *v = calloc(1, sizeof *v);
  bool write = (o->flags & BLOCK_WRITE) && !(o->flags & BLOCK_CHECK);
  int result = v ? read_footer(b, v, error) : -ENOMEM;
  if (!result && v->type != VHD_FIXED) {
    result = read_header(b, v, error);
    if (!result)
      result = read_table(b, v, write, error);
  }
  if (!result && v->type == VHD_DIFFERENCING && !(o->flags & BLOCK_NO_BACKING))
    result = vhd_open_parent(b, v, error);
  if (result) {
    release(v);
    return result;
  }
  b->state = v;
  b->driver = &vhd_driver;
  return 0;
}

static const char *const vhd_options[] = {"subformat", "force_size", NULL};

const struct block_format vpc_format = {
    .name = "vpc",
    .create_options = vhd_options,
    .backing = true,
    .probe = vhd_probe,
    .open = vhd_open,
    .create = vhd_create,
    .check = vhd_check,
    .info = vhd_info,
};
