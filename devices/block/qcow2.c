/* SPDX-License-Identifier: MIT */
/*
 * qcow2 images, versions 2 and 3 (QEMU's docs/interop/qcow2.txt): header, opening, making, facts. Not
 * supported, and refused by name: encryption, zstd compression, external data files, extended L2 entries.
 * Persistent bitmaps are ignored; a writer clears the bit that says they are up to date.
 */
#include "devices/block/qcow2.h"

#include <stdlib.h>
#include <string.h>

#define EXT_END 0u
#define EXT_BACKING_FORMAT 0xe2792acau
#define BACKING_NAME_MAX 1023u
#define CACHE_BYTES (8u << 20)

int qcow2_set_incompatible(struct block *b, uint64_t features) {
  struct qcow2 *q = qcow2_of(b);
  uint8_t raw[8];
  if (q->version < 3)
    return 0;
  put_be64(raw, features);
  int result = file_write(b->fd, 72, raw, 8);
  if (!result)
    result = file_flush(b->fd);
  if (!result)
    q->incompatible = features;
  return result;
}

int qcow2_broken(struct block *b, const char *what) {
  struct qcow2 *q = qcow2_of(b);
  if (!b->complained)
    warn_report("qcow2 image '%s' is damaged: %s%s", b->path, what,
                q->writable ? "; nothing more is written to it (dragoman-img check -r all may mend it)" : "");
  b->complained = true;
  if (q->writable && !q->broken)
    qcow2_set_incompatible(b, q->incompatible | QCOW2_CORRUPT);
  q->broken = true;
  return -EIO;
}

bool qcow2_inside(struct block *b, uint64_t offset, uint64_t len) {
  const struct qcow2 *q = qcow2_of(b);
  uint64_t end = q->file_end;
  return qcow2_aligned(q, offset) && offset >= q->cluster_size && offset < end && len <= end - offset;
}

int qcow2_read_table(struct block *b, uint64_t offset, uint64_t entries, uint64_t *table) {
  int result = file_read_padded(b->fd, offset, table, entries * 8);
  for (uint64_t i = 0; !result && i < entries; i++)
    table[i] = be64_at(&table[i]);
  return result;
}

int qcow2_write_table(struct block *b, uint64_t offset, uint64_t entries, const uint64_t *table) {
  uint8_t raw[4096];
  int result = 0;
  for (uint64_t at = 0; at < entries && !result; at += sizeof raw / 8) {
    uint64_t n = entries - at < sizeof raw / 8 ? entries - at : sizeof raw / 8;
    for (uint64_t i = 0; i < n; i++)
      put_be64(raw + i * 8, table[at + i]);
    result = file_write(b->fd, offset + at * 8, raw, n * 8);
  }
  uint64_t mask = qcow2_of(b)->cluster_size - 1, end = (offset + entries * 8 + mask) & ~mask;
  if (end > qcow2_of(b)->file_end)
    qcow2_of(b)->file_end = end;
  return result;
}

uint64_t qcow2_l1_needed(const struct qcow2 *q, uint64_t size) {
  unsigned shift = q->cluster_bits + q->l2_bits;
  return (size >> shift) + ((size & ((1ull << shift) - 1)) != 0);
}

/* --- the header --------------------------------------------------------------------------------------- */

static int qcow2_probe(const struct block_probe *p) {
  return p->head_len >= 8 && be32_at(p->head) == QCOW2_MAGIC && be32_at(p->head + 4) >= 2 ? 100 : 0;
}

static int refuse(struct block *b, const char **error, const char *why) {
  *error = block_message("qcow2 image '%s': %s", b->path, why);
  return -ENOTSUP;
}

static int damaged(struct block *b, const char **error, const char *why) {
  *error = block_message("qcow2 image '%s' is damaged: %s", b->path, why);
  return -EINVAL;
}

static int check_features(struct block *b, const uint8_t *header, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  if (be32_at(header + 32))
    return refuse(b, error, "encrypted images are not supported; decrypt it with qemu-img convert");
  if (q->incompatible & QCOW2_EXTENDED_L2)
    return refuse(b, error, "extended L2 entries are not supported; qemu-img convert makes an image without");
  if (q->incompatible & QCOW2_DATA_FILE)
    return refuse(b, error, "external data files are not supported");
  if (q->incompatible & QCOW2_COMPRESSION && q->header_length > 104 && header[104] != 0)
    return refuse(b, error, "its clusters are compressed by zstd; only zlib is supported");
  if (q->incompatible & ~31ull) {
    *error = block_message("qcow2 image '%s' needs features that are not supported (mask %llx)", b->path,
                           (unsigned long long)(q->incompatible & ~31ull));
    return -ENOTSUP;
  }
  return 0;
}

/* The fields of fixed size. */
static int parse_header(struct block *b, const uint8_t *h, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  if (be32_at(h) != QCOW2_MAGIC) {
    *error = block_message("'%s' is not a qcow2 image", b->path);
    return -EINVAL;
  }
  q->version = be32_at(h + 4);
  if (q->version != 2 && q->version != 3) {
    *error = block_message("qcow2 image '%s' has version %u; 2 and 3 are supported", b->path, q->version);
    return -ENOTSUP;
  }
  q->cluster_bits = be32_at(h + 20);
  q->disk_size = be64_at(h + 24);
  q->l1_entries = be32_at(h + 36);
  q->l1_offset = be64_at(h + 40);
  q->reftable_offset = be64_at(h + 48);
  q->reftable_clusters = be32_at(h + 56);
  q->snapshots = be32_at(h + 60);
  q->snapshots_offset = be64_at(h + 64);
  q->refcount_order = 4;
  q->header_length = 72;
  if (q->cluster_bits < 9 || q->cluster_bits > 21)
    return damaged(b, error, "its cluster size is not 512 bytes to 2 MB");
  q->cluster_size = 1ull << q->cluster_bits;
  q->l2_bits = q->cluster_bits - 3;
  uint64_t mask = q->cluster_size - 1;
  q->file_end = (b->file_size + mask) & ~mask;
  if (q->version == 3) {
    q->incompatible = be64_at(h + 72);
    q->compatible = be64_at(h + 80);
    q->autoclear = be64_at(h + 88);
    q->refcount_order = be32_at(h + 96);
    q->header_length = be32_at(h + 100);
    if (q->header_length < 104 || q->header_length > q->cluster_size)
      return damaged(b, error, "the length of its header is wrong");
    if (q->refcount_order > 6)
      return damaged(b, error, "the width of its refcounts is wrong");
  }
  return check_features(b, h, error);
}

static int keep_name(char **to, const uint8_t *from, uint32_t len) {
  *to = malloc(len + 1);
  if (!*to)
    return -ENOMEM;
  memcpy(*to, from, len);
  (*to)[len] = 0;
  return 0;
}

/* Extensions and the backing file's name, all in the first cluster. */
static int parse_extensions(struct block *b, const uint8_t *h, uint64_t len, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t name = be64_at(h + 8), at = q->header_length;
  uint32_t name_len = be32_at(h + 16);
  if (name && (name_len > BACKING_NAME_MAX || name < q->header_length || name > len || name_len > len - name))
    return damaged(b, error, "the name of its backing file lies outside of the header");
  uint64_t end = name ? name : len;
  while (at + 8 <= end && be32_at(h + at) != EXT_END) {
    uint32_t type = be32_at(h + at), size = be32_at(h + at + 4);
    at += 8;
    if (size > end - at)
      return damaged(b, error, "a header extension is too long");
    if (type == EXT_BACKING_FORMAT && !b->backing_format && keep_name(&b->backing_format, h + at, size))
      return -ENOMEM;
    at += ((uint64_t)size + 7) & ~7ull;
  }
  q->header_end = name ? name + name_len : at + 8;
  return name && name_len ? keep_name(&b->backing_name, h + name, name_len) : 0;
}

static int read_header(struct block *b, const char **error) {
  uint8_t fixed[QCOW2_HEADER_V3] = {0};
  int result = b->file_size < 72 ? -EINVAL : file_read_padded(b->fd, 0, fixed, sizeof fixed);
  if (result == -EINVAL)
    return damaged(b, error, "it is cut off");
  if (!result)
    result = parse_header(b, fixed, error);
  if (result)
    return result;
  uint64_t len = qcow2_of(b)->cluster_size;
  uint8_t *head = malloc(len);
  if (!head)
    return -ENOMEM;
  result = file_read_padded(b->fd, 0, head, len);
  if (!result)
    result = parse_extensions(b, head, len, error);
  free(head);
  return result;
}

/* --- opening ------------------------------------------------------------------------------------------ */

static int load_l1(struct block *b, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t entries = q->l1_entries, needed;
  if (q->disk_size > INT64_MAX - (1u << 22))
    return damaged(b, error, "the size of its disk is wrong");
  needed = qcow2_l1_needed(q, q->disk_size);
  if (entries * 8 > QCOW2_L1_MAX || entries < needed)
    return damaged(b, error, "the size of its L1 table is wrong");
  if (entries && !qcow2_inside(b, q->l1_offset, entries * 8))
    return damaged(b, error, "its L1 table lies outside of the file");
  q->l1 = malloc(entries * 8 + 8);
  return q->l1 ? qcow2_read_table(b, q->l1_offset, entries, q->l1) : -ENOMEM;
}

static int load_reftable(struct block *b, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t bytes = (uint64_t)q->reftable_clusters << q->cluster_bits;
  if (!bytes || bytes > QCOW2_REFTABLE_MAX)
    return damaged(b, error, "the size of its refcount table is wrong");
  if (!qcow2_inside(b, q->reftable_offset, bytes))
    return damaged(b, error, "its refcount table lies outside of the file");
  q->reftable_entries = (uint32_t)(bytes / 8);
  q->reftable = malloc(bytes);
  return q->reftable ? qcow2_read_table(b, q->reftable_offset, q->reftable_entries, q->reftable) : -ENOMEM;
}

/* Where tables are: data never goes there. */
static int mark_tables(struct block *b, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  struct qcow2_disk_snapshot *list = NULL;
  uint32_t count;
  qcow2_mark_meta(q, 0, 1, true);
  qcow2_mark_meta(q, q->l1_offset, qcow2_clusters(q, q->l1_entries * 8ull), true);
  qcow2_mark_meta(q, q->reftable_offset, q->reftable_clusters, true);
  for (uint32_t i = 0; i < q->l1_entries; i++)
    if (qcow2_inside(b, q->l1[i] & QCOW2_OFFSET, q->cluster_size))
      qcow2_mark_meta(q, q->l1[i] & QCOW2_OFFSET, 1, true);
  for (uint32_t i = 0; i < q->reftable_entries; i++)
    if (qcow2_inside(b, q->reftable[i] & ~511ull, q->cluster_size))
      qcow2_mark_meta(q, q->reftable[i] & ~511ull, 1, true);
  int result = qcow2_snapshot_load(b, &list, &count);
  if (result) {
    *error = block_message("qcow2 image '%s' is damaged: its table of snapshots is wrong", b->path);
    return result;
  }
  for (uint32_t i = 0; i < count; i++)
    qcow2_mark_meta(q, list[i].l1_offset, qcow2_clusters(q, list[i].l1_entries * 8ull), true);
  if (count && q->snapshots_offset)
    qcow2_mark_meta(q, q->snapshots_offset, 1, true);
  free(list);
  return 0;
}

/* A writer: nobody else knows of bitmaps; a dirty image's refcounts are made anew. */
static int open_writable(struct block *b, const struct block_options *o, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  if (q->incompatible & QCOW2_CORRUPT && !(o->flags & BLOCK_CHECK)) {
    *error = block_message("qcow2 image '%s' is marked as damaged: it can be read (readonly=on, -snapshot); "
                           "dragoman-img check -r all may mend it",
                           b->path);
    return -EROFS;
  }
  q->writable = true;
  int result = o->flags & BLOCK_CHECK ? 0 : mark_tables(b, error);
  if (!result && q->autoclear) {
    uint8_t none[8] = {0};
    q->autoclear = 0;
    result = file_write(b->fd, 88, none, 8);
  }
  if (!result && q->incompatible & QCOW2_DIRTY && !(o->flags & BLOCK_CHECK)) {
    struct block_check check = {0};
    warn_report("qcow2 image '%s' was not closed cleanly: rebuilding its refcounts", b->path);
    result = qcow2_check(b, &check, BLOCK_REPAIR_ALL);
    if (!result && (check.corruptions || check.errors)) {
      *error = block_message("qcow2 image '%s' is damaged: its refcounts could not be rebuilt", b->path);
      result = -EIO;
    }
  }
  if (result == 0 || *error)
    return result;
  *error = block_message("cannot prepare '%s' for writing: %s", b->path, strerror(-result));
  return result;
}

/* o->snapshot: the disk as it was then. */
static int use_snapshot(struct block *b, const char *name, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  struct qcow2_disk_snapshot s;
  int result = qcow2_snapshot_find(b, name, &s, error);
  if (result)
    return result;
  q->active = false;
  q->l1_offset = s.l1_offset;
  q->l1_entries = s.l1_entries;
  if (s.s.disk_size)
    q->disk_size = s.s.disk_size;
  return 0;
}

static int open_parts(struct block *b, const struct block_options *o, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  int result = read_header(b, error);
  if (result)
    return result;
  q->active = true;
  if (o->snapshot && o->flags & BLOCK_WRITE) {
    *error = block_message("'%s': an internal snapshot can only be read", b->path);
    return -EROFS;
  }
  if (o->snapshot && (result = use_snapshot(b, o->snapshot, error)))
    return result;
  if ((result = load_l1(b, error)) || (result = load_reftable(b, error)))
    return result;
  q->l2_slots = (uint32_t)(CACHE_BYTES / q->cluster_size);
  q->l2_slots = q->l2_slots > 1024 ? 1024 : q->l2_slots;
  q->l2 = calloc(q->l2_slots, sizeof *q->l2);
  b->size = (q->disk_size + SECTOR - 1) / SECTOR * SECTOR;
  if (!q->l2)
    return -ENOMEM;
  if (!b->size && !(o->flags & BLOCK_CHECK))
    return damaged(b, error, "its disk has no sectors");
  if (b->backing_name && !(o->flags & BLOCK_NO_BACKING)) {
    result = block_open_backing(b, b->backing_name, b->backing_format, error);
    if (result)
      return result;
  }
  *error = NULL;
  return o->flags & BLOCK_WRITE ? open_writable(b, o, error) : 0;
}

static int qcow2_open(struct block *b, const struct block_options *o, const char **error) {
  b->state = calloc(1, sizeof(struct qcow2));
  if (!b->state)
    return -ENOMEM;
  int result = open_parts(b, o, error);
  if (result) {
    qcow2_of(b)->broken = true; /* nothing to write */
    qcow2_of(b)->writable = false;
    if (!*error)
      *error = block_message("cannot read qcow2 image '%s': %s", b->path, strerror(-result));
    qcow2_driver.close(b);
    return result;
  }
  b->driver = &qcow2_driver;
  return 0;
}

/* --- making ------------------------------------------------------------------------------------------- */

struct layout {
  uint32_t version, cluster_bits, refcount_order;
  uint64_t l1_entries, l1_clusters, table_clusters, blocks, used;
};

static int parse_create(const struct block_create *c, struct layout *l, const char *path,
                        const char **error) {
  char value[64];
  uint64_t n;
  *l = (struct layout){.version = 3, .cluster_bits = 16, .refcount_order = 4};
  if (block_option(c->options, "compat", value, sizeof value)) {
    if (!strcmp(value, "0.10") || !strcmp(value, "v2"))
      l->version = 2;
    else if (strcmp(value, "1.1") && strcmp(value, "v3"))
      goto bad;
  }
  if (block_option(c->options, "cluster_size", value, sizeof value)) {
    if (!block_parse_size(value, &n) || n & (n - 1) || n < 512 || n > 2 << 20)
      goto bad;
    l->cluster_bits = (uint32_t)__builtin_ctzll(n);
  }
  if (block_option(c->options, "refcount_bits", value, sizeof value)) {
    if (!block_parse_size(value, &n) || !n || n & (n - 1) || n > 64 || (l->version == 2 && n != 16))
      goto bad;
    l->refcount_order = (uint32_t)__builtin_ctzll(n);
  }
  if (block_option(c->options, "lazy_refcounts", value, sizeof value) && strcmp(value, "off"))
    goto bad;
  if (block_option(c->options, "preallocation", value, sizeof value) && strcmp(value, "off"))
    goto bad;
  if (block_option(c->options, "compression_type", value, sizeof value) && strcmp(value, "zlib"))
    goto bad;
  return 0;
bad:
  *error = block_message("'%s': '%s' is not a value that this option of qcow2 can have", path, value);
  return -EINVAL;
}

/* Header, refcount table, refcount blocks, L1 table, in this order. */
static int plan(const struct block_create *c, struct layout *l, const char *path, const char **error) {
  uint64_t cluster = 1ull << l->cluster_bits, entries = cluster / 8;
  uint64_t per_block = cluster * 8 >> l->refcount_order;
  struct qcow2 q = {.cluster_bits = l->cluster_bits, .l2_bits = l->cluster_bits - 3, .cluster_size = cluster};
  l->l1_entries = c->size > INT64_MAX - cluster ? UINT64_MAX : qcow2_l1_needed(&q, c->size);
  if (l->l1_entries > QCOW2_L1_MAX / 8) {
    *error = block_message("'%s': the disk is too large for qcow2 with this cluster size", path);
    return -EFBIG;
  }
  l->l1_clusters = (l->l1_entries + entries - 1) / entries;
  l->l1_clusters += !l->l1_clusters;
  l->table_clusters = l->blocks = 1;
  for (;;) {
    l->used = 1 + l->table_clusters + l->blocks + l->l1_clusters;
    uint64_t blocks = (l->used + per_block - 1) / per_block, tables = (blocks + entries - 1) / entries;
    if (blocks <= l->blocks && tables <= l->table_clusters)
      return 0;
    l->blocks = blocks > l->blocks ? blocks : l->blocks;
    l->table_clusters = tables > l->table_clusters ? tables : l->table_clusters;
  }
}

/* The header with its extensions and the backing file's name; its length or -errno. */
static int make_header(uint8_t *h, size_t room, const struct block_create *c, const struct layout *l) {
  size_t name_len = c->backing ? strlen(c->backing) : 0,
         format_len = c->backing_format ? strlen(c->backing_format) : 0;
  size_t at = l->version == 2 ? 72 : 104;
  if (name_len > BACKING_NAME_MAX || at + 16 + format_len + 8 + name_len > room)
    return -ENAMETOOLONG;
  put_be32(h, QCOW2_MAGIC);
  put_be32(h + 4, l->version);
  put_be32(h + 20, l->cluster_bits);
  put_be64(h + 24, c->size);
  put_be32(h + 36, (uint32_t)l->l1_entries);
  put_be64(h + 40, (1 + l->table_clusters + l->blocks) << l->cluster_bits);
  put_be64(h + 48, 1ull << l->cluster_bits);
  put_be32(h + 56, (uint32_t)l->table_clusters);
  if (l->version == 3) {
    put_be32(h + 96, l->refcount_order);
    put_be32(h + 100, 104);
  }
  if (c->backing && c->backing_format) {
    put_be32(h + at, EXT_BACKING_FORMAT);
    put_be32(h + at + 4, (uint32_t)format_len);
    memcpy(h + at + 8, c->backing_format, format_len);
    at += 8 + ((format_len + 7) & ~7ull);
  }
  at += 8; /* the end of the extensions */
  if (c->backing) {
    put_be64(h + 8, at);
    put_be32(h + 16, (uint32_t)name_len);
    memcpy(h + at, c->backing, name_len);
    at += name_len;
  }
  return (int)at;
}

static int write_layout(int fd, const struct block_create *c, const struct layout *l) {
  uint64_t cluster = 1ull << l->cluster_bits, per_block = cluster * 8 >> l->refcount_order;
  struct qcow2 q = {.refcount_order = l->refcount_order};
  uint8_t *buf = calloc(1, cluster);
  if (!buf)
    return -ENOMEM;
  int result = 0;
  for (uint64_t i = 1; i < l->used && !result; i++) {
    uint64_t block = i - 1 - l->table_clusters;
    memset(buf, 0, cluster);
    if (i <= l->table_clusters)
      for (uint64_t n = 0, at = (i - 1) * cluster / 8; n < cluster / 8 && at + n < l->blocks; n++)
        put_be64(buf + n * 8, (1 + l->table_clusters + at + n) << l->cluster_bits);
    else if (block < l->blocks)
      for (uint64_t n = 0; n < per_block && block * per_block + n < l->used; n++)
        qcow2_set_count_at(&q, buf, n, 1);
    result = file_write(fd, i << l->cluster_bits, buf, cluster);
  }
  memset(buf, 0, cluster);
  int len = make_header(buf, cluster, c, l);
  if (!result && len < 0)
    result = len;
  if (!result)
    result = file_write(fd, 0, buf, (uint64_t)len); /* last: before that it is no image */
  if (!result)
    result = file_flush(fd);
  free(buf);
  return result;
}

static int qcow2_create(int fd, const char *path, const struct block_create *c, const char **error) {
  struct layout l;
  int result = parse_create(c, &l, path, error);
  if (!result)
    result = plan(c, &l, path, error);
  if (result)
    return result;
  result = write_layout(fd, c, &l);
  if (result)
    *error = block_message("cannot make '%s': %s", path, strerror(-result));
  return result;
}

/* --- facts and changes -------------------------------------------------------------------------------- */

static int qcow2_info(struct block *b, struct block_info *info) {
  const struct qcow2 *q = qcow2_of(b);
  info->cluster_size = q->cluster_size;
  info->dirty = q->incompatible & QCOW2_DIRTY;
  block_info_add(info, "compat", true, "%s", q->version == 2 ? "0.10" : "1.1");
  block_info_add(info, "compression type", true, "zlib");
  if (q->version == 3)
    block_info_add(info, "lazy refcounts", false, "%s", q->compatible & QCOW2_LAZY ? "true" : "false");
  block_info_add(info, "refcount bits", false, "%u", 1u << q->refcount_order);
  if (q->version == 3) {
    block_info_add(info, "corrupt", false, "%s", q->incompatible & QCOW2_CORRUPT ? "true" : "false");
    block_info_add(info, "extended l2", false, "false");
  }
  return 0;
}

/* A longer L1 table in a new place. */
static int grow_l1(struct block *b, uint64_t entries) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t offset, old = q->l1_offset, old_clusters = qcow2_clusters(q, q->l1_entries * 8ull);
  uint64_t clusters = qcow2_clusters(q, entries * 8);
  uint64_t *l1 = calloc(clusters << q->cluster_bits, 1);
  if (!l1)
    return -ENOMEM;
  memcpy(l1, q->l1, q->l1_entries * 8ull);
  int result = qcow2_alloc(b, clusters, &offset);
  if (!result)
    result = qcow2_write_table(b, offset, clusters << q->cluster_bits >> 3, l1);
  if (!result)
    result = file_flush(b->fd);
  uint8_t raw[12];
  put_be32(raw, (uint32_t)entries);
  put_be64(raw + 4, offset);
  if (!result)
    result = file_write(b->fd, 36, raw, sizeof raw);
  if (!result)
    result = file_flush(b->fd);
  if (result) {
    free(l1);
    return result;
  }
  qcow2_mark_meta(q, offset, clusters, true);
  free(q->l1);
  q->l1 = l1;
  q->l1_entries = (uint32_t)entries;
  q->l1_offset = offset;
  if (old_clusters)
    qcow2_free(b, old, old_clusters);
  return 0;
}

static int qcow2_resize(struct block *b, uint64_t size, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t entries = size > INT64_MAX - q->cluster_size ? UINT64_MAX : qcow2_l1_needed(q, size);
  int result = 0;
  if (entries > QCOW2_L1_MAX / 8) {
    *error = block_message("'%s': the disk is too large for qcow2 with this cluster size", b->path);
    return -EFBIG;
  }
  if (size < b->size) { /* what is cut off reads as zeros (or the backing's) when the disk grows again */
    uint64_t from = (size + q->cluster_size - 1) & ~(q->cluster_size - 1);
    result = from < b->size ? qcow2_driver.unmap(b, from, b->size - from) : 0;
  }
  if (!result)
    result = qcow2_commit(b);
  if (!result && entries > q->l1_entries)
    result = grow_l1(b, entries);
  uint8_t raw[8];
  put_be64(raw, size);
  if (!result)
    result = file_write(b->fd, 24, raw, 8);
  if (!result)
    result = file_flush(b->fd);
  if (result) {
    *error = block_message("cannot resize '%s': %s", b->path, strerror(-result));
    return result;
  }
  q->disk_size = b->size = size;
  return 0;
}

/* The header with other names, all at once. Other extensions go; none that is known has to stay. */
static int qcow2_change_backing(struct block *b, const char *name, const char *format, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  uint8_t *h = calloc(1, q->cluster_size);
  if (!h)
    return -ENOMEM;
  int result = file_read_padded(b->fd, 0, h, q->header_length);
  size_t at = q->header_length, len = name ? strlen(name) : 0,
         format_len = name && format ? strlen(format) : 0;
  if (!result && (len > BACKING_NAME_MAX || at + 24 + format_len + len > q->cluster_size))
    result = -ENAMETOOLONG;
  if (!result) {
    if (format_len) {
      put_be32(h + at, EXT_BACKING_FORMAT);
      put_be32(h + at + 4, (uint32_t)format_len);
      memcpy(h + at + 8, format, format_len);
      at += 8 + ((format_len + 7) & ~7ull);
    }
    at += 8;
    put_be64(h + 8, name ? at : 0);
    put_be32(h + 16, (uint32_t)len);
    if (name)
      memcpy(h + at, name, len);
    at += len;
    result = file_write(b->fd, 0, h,
                        at > q->header_end                ? at
                        : q->header_end < q->cluster_size ? q->header_end
                                                          : at);
    if (!result)
      result = file_flush(b->fd);
  }
  free(h);
  if (result)
    *error = block_message("cannot change the backing file of '%s': %s", b->path, strerror(-result));
  return result;
}

static const char *const create_options[] = {
    "compat", "cluster_size", "refcount_bits", "lazy_refcounts", "preallocation", "compression_type", NULL};

const struct block_format qcow2_format = {
    .name = "qcow2",
    .create_options = create_options,
    .backing = true,
    .probe = qcow2_probe,
    .open = qcow2_open,
    .create = qcow2_create,
    .check = qcow2_check,
    .info = qcow2_info,
    .resize = qcow2_resize,
    .change_backing = qcow2_change_backing,
    .snapshots = qcow2_snapshot_list,
    .snapshot_create = qcow2_snapshot_create,
    .snapshot_apply = qcow2_snapshot_apply,
    .snapshot_delete = qcow2_snapshot_delete,
};
