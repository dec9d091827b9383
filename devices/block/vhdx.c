/* SPDX-License-Identifier: MIT */
/*
 * VHDX, Hyper-V's second disk format ([MS-VHDX]), read only: fixed, dynamic and differencing disks with
 * sectors of 512 or 4096 bytes. A table gives a state and a place to each block of 1 to 256 MB; blocks of a
 * differencing disk may be there in part, as bitmaps say. Writing would need the log to be kept, and is
 * refused.
 */
#include "devices/block/vhdx.h"

#include <stdlib.h>
#include <string.h>

enum state { NOT_PRESENT, UNDEFINED, ZERO, UNMAPPED, PRESENT = 6, PARTIAL = 7 };

static int bad(const struct block *b, const char **error, const char *what) {
  *error = block_message("VHDX image '%s': %s", b->path, what);
  return -EINVAL;
}

static int vhdx_probe(const struct block_probe *p) {
  return p->head_len >= 8 && !memcmp(p->head, "vhdxfile", 8) ? 100 : 0;
}

/* The valid one with the higher number. */
static int read_headers(struct block *b, struct vhdx *v, const char **error) {
  uint8_t h[VHDX_HEADER], stated[4];
  uint64_t best = 0;
  bool found = false;
  for (int i = 0; i < 2; i++) {
    int result = file_read_padded(b->fd, 65536ull * (unsigned)(i + 1), h, sizeof h);
    if (result)
      return result;
    memcpy(stated, h + 4, 4);
    memset(h + 4, 0, 4);
    v->header_damaged[i] = memcmp(h, "head", 4) || vhdx_crc(0, h, sizeof h) != le32_at(stated);
    if (v->header_damaged[i] || (found && le64_at(h + 8) <= best))
      continue;
    found = true;
    best = le64_at(h + 8);
    memcpy(v->header, h, sizeof h);
  }
  if (!found)
    return bad(b, error, "both headers are damaged");
  if (le16_at(v->header + VHDX_VERSION) != 1)
    return bad(b, error, "a version of the format that is not known");
  return 0;
}

static void release(struct vhdx *v) {
  for (uint32_t i = 0; v && i < v->patches; i++)
    free(v->patch[i].data);
  if (v)
    free(v->patch);
  free(v);
}

static void vhdx_close(struct block *b) { release(b->state); }

/* --- reading ------------------------------------------------------------------------------------------ */

static int table_entry(struct block *b, const struct vhdx *v, uint64_t index, uint64_t *entry) {
  uint8_t raw[8];
  int result = vhdx_fetch(b, v, v->table_at + 8 * index, raw, sizeof raw);
  *entry = le64_at(raw);
  return result;
}

static uint64_t place(uint64_t entry) { return entry >> 20 << 20; }
static enum state state(uint64_t entry) { return (enum state)(entry & 7); }

/* A piece of a request whose bytes have one source. */
struct piece {
  uint64_t at, len;
  enum { HERE, ZEROS, PARENT } source;
};

/* In a block that is there in part: the run of sectors from `in_block` on that are (not) here. */
static int find_partial(struct block *b, const struct vhdx *v, uint64_t block, uint32_t in_block,
                        struct piece *p) {
  uint64_t entry, per_block = v->block_size / v->sector_size;
  uint64_t bit = block % v->ratio * per_block + in_block / v->sector_size;
  uint8_t bits[64];
  int result = table_entry(b, v, block / v->ratio * (v->ratio + 1) + v->ratio, &entry);
  if (!result && state(entry) != PRESENT)
    result = -EIO;
  if (!result)
    result = vhdx_fetch(b, v, place(entry) + bit / 8, bits, sizeof bits);
  if (result)
    return result;
  uint64_t first = bit % 8, i = first, n = v->sector_size - in_block % v->sector_size;
  bool here = bits[0] >> first & 1;
  while (n < p->len && ++i < 8 * sizeof bits && (bits[i / 8] >> i % 8 & 1) == here)
    n += v->sector_size;
  p->len = n < p->len ? n : p->len;
  p->source = here ? HERE : PARENT;
  return 0;
}

static int find(struct block *b, uint64_t offset, uint64_t len, struct piece *p) {
  const struct vhdx *v = b->state;
  uint64_t block = offset / v->block_size, entry;
  uint32_t in_block = (uint32_t)(offset % v->block_size);
  p->len = v->block_size - in_block < len ? v->block_size - in_block : len;
  p->source = ZEROS;
  int result = table_entry(b, v, block + block / v->ratio, &entry);
  if (result)
    return result;
  p->at = place(entry) + in_block;
  switch (state(entry)) {
  case NOT_PRESENT: p->source = v->has_parent ? PARENT : ZEROS; break;
  case UNDEFINED:
  case ZERO:
  case UNMAPPED: break;
  case PRESENT: p->source = HERE; break;
  case PARTIAL: result = v->has_parent ? find_partial(b, v, block, in_block, p) : -EIO; break;
  default: return -EIO;
  }
  /* (A block that ends behind the file has zeros there; one that begins there is damage.) */
  return !result && p->source == HERE && (place(entry) < 1u << 20 || place(entry) >= b->file_size) ? -EIO
                                                                                                   : result;
}

static int vhdx_read(struct block *b, uint64_t offset, void *buf, uint64_t len) {
  for (uint8_t *to = buf; len;) {
    struct piece p;
    int result = find(b, offset, len, &p);
    if (result)
      return result;
    if (p.source == HERE)
      result = vhdx_fetch(b, b->state, p.at, to, p.len);
    else if (p.source == PARENT)
      result = block_read_backing(b, offset, to, p.len);
    else
      memset(to, 0, p.len);
    if (result)
      return result;
    to += p.len, offset += p.len, len -= p.len;
  }
  return 0;
}

static int vhdx_status(struct block *b, uint64_t offset, uint64_t len, uint64_t *run) {
  const struct vhdx *v = b->state;
  struct piece p;
  int result = find(b, offset, len, &p);
  *run = p.len;
  if (result)
    return result;
  if (p.source != HERE)
    return p.source == ZEROS && v->has_parent ? BLOCK_STATE_ZERO : BLOCK_STATE_UNALLOCATED;
  return v->patches ? BLOCK_STATE_DATA : (int)file_state(b->fd, p.at, p.len, run);
}

static int vhdx_flush(struct block *b) {
  (void)b;
  return 0;
}

static const struct block_driver vhdx_driver = {
    .read = vhdx_read,
    .flush = vhdx_flush,
    .close = vhdx_close,
    .status = vhdx_status,
};

static int vhdx_open(struct block *b, const struct block_options *o, const char **error) {
  if (o->flags & BLOCK_WRITE) {
    *error =
        block_message("VHDX image '%s' can be read, but not written: use -snapshot or an overlay, or convert "
                      "it",
                      b->path);
    return -EROFS;
  }
  struct vhdx *v = calloc(1, sizeof *v);
  uint8_t magic[8] = {0};
  int result = v ? file_read_padded(b->fd, 0, magic, sizeof magic) : -ENOMEM;
  if (!result && memcmp(magic, "vhdxfile", 8))
    result = bad(b, error, "it has not the signature of one");
  if (!result)
    result = read_headers(b, v, error);
  if (!result)
    result = vhdx_replay(b, v, error);
  if (!result)
    result = vhdx_read_regions(b, v, error);
  if (!result)
    result = vhdx_read_metadata(b, v, error);
  if (!result && v->has_parent && !(o->flags & BLOCK_NO_BACKING))
    result = vhdx_open_parent(b, v, error);
  if (result) {
    release(v);
    return result;
  }
  b->state = v;
  b->driver = &vhdx_driver;
  return 0;
}

/* --- check and info ----------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b) {
  uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
  return x < y ? -1 : x > y;
}

static int vhdx_check(struct block *b, struct block_check *c, enum block_repair repair) {
  const struct vhdx *v = b->state;
  uint64_t n = 0, max = b->file_size >> 20;
  uint64_t *used = malloc(8 * (max + 1));
  int result = used ? 0 : -ENOMEM;
  (void)repair; /* the file is never written */
  c->corruptions += v->header_damaged[0] && v->header_damaged[1];
  c->corruptions += v->regions_damaged[0] + v->regions_damaged[1];
  for (uint64_t i = 0; i < v->blocks && !result; i++) {
    uint64_t entry;
    result = table_entry(b, v, i + i / v->ratio, &entry);
    bool known = state(entry) < 4 || state(entry) == PRESENT || (state(entry) == PARTIAL && v->has_parent);
    if (!result && state(entry) < PRESENT)
      c->corruptions += !known;
    else if (!result && (!known || place(entry) < 1u << 20 || place(entry) >= b->file_size || n > max))
      c->corruptions++;
    else if (!result)
      used[n++] = place(entry);
  }
  if (!result)
    qsort(used, n, 8, by_number);
  for (uint64_t i = 1; i < n && !result; i++)
    c->corruptions += used[i] - used[i - 1] < v->block_size;
  c->clusters = v->blocks;
  c->allocated = n;
  c->image_end = n && !result ? used[n - 1] + v->block_size : 0;
  free(used);
  return result;
}

static int vhdx_info(struct block *b, struct block_info *info) {
  const struct vhdx *v = b->state;
  info->cluster_size = v->block_size;
  info->dirty = v->dirty;
  block_info_add(info, "subformat", true, "%s",
                 v->has_parent ? "differencing"
                 : v->fixed    ? "fixed"
                               : "dynamic");
  block_info_add(info, "sector size", false, "%u", v->sector_size);
  return 0;
}

const struct block_format vhdx_format = {
    .name = "vhdx",
    .probe = vhdx_probe,
    .open = vhdx_open,
    .check = vhdx_check,
    .info = vhdx_info,
};
