/* SPDX-License-Identifier: MIT */
/*
 * qcow2: internal snapshots: a table of them, each with an L1 table of its own whose clusters are counted
 * once more. Version 3 images are marked dirty while refcounts and flags change, so that a crash is repaired
 * by the next writer.
 */
#include "devices/block/qcow2.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIXED 40u /* bytes of an entry before extra data, id and name */
#define TABLE_MAX (1u << 20)

/* --- the table ---------------------------------------------------------------------------------------- */

static void copy_text(char *to, size_t size, const uint8_t *from, size_t len) {
  size_t n = len < size - 1 ? len : size - 1;
  memcpy(to, from, n);
  to[n] = 0;
}

/* One entry at table[at]; its length or 0. */
static uint64_t parse_entry(const uint8_t *table, uint64_t at, uint64_t end, struct qcow2_disk_snapshot *s) {
  if (end - at < FIXED)
    return 0;
  const uint8_t *p = table + at;
  uint32_t id_len = be16_at(p + 12), name_len = be16_at(p + 14), extra = be32_at(p + 36);
  if (extra > 1024 || FIXED + extra + id_len + name_len > end - at)
    return 0;
  *s = (struct qcow2_disk_snapshot){.l1_offset = be64_at(p), .l1_entries = be32_at(p + 8)};
  s->s.date_ns = be32_at(p + 16) * 1000000000ull + be32_at(p + 20);
  s->s.vm_clock_ns = be64_at(p + 24);
  s->s.state_size = extra >= 8 ? be64_at(p + FIXED) : be32_at(p + 32);
  s->s.disk_size = extra >= 16 ? be64_at(p + FIXED + 8) : 0;
  s->extra_size = extra < sizeof s->extra ? extra : sizeof s->extra;
  memcpy(s->extra, p + FIXED, s->extra_size);
  copy_text(s->s.id, sizeof s->s.id, p + FIXED + extra, id_len);
  copy_text(s->s.name, sizeof s->s.name, p + FIXED + extra + id_len, name_len);
  return (FIXED + extra + id_len + name_len + 7) & ~7ull;
}

int qcow2_snapshot_load(struct block *b, struct qcow2_disk_snapshot **list, uint32_t *count) {
  struct qcow2 *q = qcow2_of(b);
  *list = NULL;
  *count = 0;
  q->snapshots_bytes = 0;
  if (!q->snapshots)
    return 0;
  if (q->snapshots > BLOCK_SNAPSHOTS || !qcow2_inside(b, q->snapshots_offset, 1))
    return -EINVAL;
  uint64_t end = q->file_end - q->snapshots_offset, at = 0;
  end = end < TABLE_MAX ? end : TABLE_MAX;
  uint8_t *table = malloc(end);
  struct qcow2_disk_snapshot *s = calloc(q->snapshots, sizeof *s);
  int result = table && s ? file_read_padded(b->fd, q->snapshots_offset, table, end) : -ENOMEM;
  for (uint32_t i = 0; i < q->snapshots && !result; i++) {
    uint64_t n = parse_entry(table, at, end, &s[i]);
    if (!n || s[i].l1_entries * 8ull > QCOW2_L1_MAX)
      result = -EINVAL;
    at = at + n < end ? at + n : end;
  }
  free(table);
  if (result) {
    free(s);
    return result;
  }
  q->snapshots_bytes = at;
  *list = s;
  *count = q->snapshots;
  return 0;
}

/* By name, or by id. -1: none. */
static int find(const struct qcow2_disk_snapshot *list, uint32_t count, const char *name) {
  for (uint32_t i = 0; i < count; i++)
    if (!strcmp(list[i].s.name, name))
      return (int)i;
  for (uint32_t i = 0; i < count; i++)
    if (!strcmp(list[i].s.id, name))
      return (int)i;
  return -1;
}

static int load_or_say(struct block *b, struct qcow2_disk_snapshot **list, uint32_t *count,
                       const char **error) {
  int result = qcow2_snapshot_load(b, list, count);
  if (result)
    *error = block_message("the table of snapshots in '%s' cannot be read: %s", b->path,
                           result == -EINVAL ? "it is damaged" : strerror(-result));
  return result;
}

int qcow2_snapshot_find(struct block *b, const char *name, struct qcow2_disk_snapshot *out,
                        const char **error) {
  struct qcow2_disk_snapshot *list;
  uint32_t count;
  int result = load_or_say(b, &list, &count, error);
  if (result)
    return result;
  int at = find(list, count, name);
  if (at >= 0)
    *out = list[at];
  else
    *error = block_message("'%s' has no snapshot '%s'", b->path, name);
  free(list);
  return at >= 0 ? 0 : -ENOENT;
}

int qcow2_snapshot_list(struct block *b, struct block_snapshot *out, unsigned max) {
  struct qcow2_disk_snapshot *list;
  uint32_t count;
  int result = qcow2_snapshot_load(b, &list, &count);
  if (result)
    return result;
  for (uint32_t i = 0; i < count && i < max; i++)
    out[i] = list[i].s;
  free(list);
  return (int)count;
}

/* A new table in a new place; then the header turns to it. */
static int store(struct block *b, const struct qcow2_disk_snapshot *list, uint32_t count) {
  struct qcow2 *q = qcow2_of(b);
  uint8_t *table = calloc(1, TABLE_MAX);
  uint64_t at = 0, offset = 0, clusters = 0, old = q->snapshots_offset, old_clusters;
  if (!table)
    return -ENOMEM;
  for (uint32_t i = 0; i < count; i++) {
    const struct qcow2_disk_snapshot *s = &list[i];
    size_t id = strlen(s->s.id), name = strlen(s->s.name);
    uint32_t extra = s->extra_size < 16 ? 16 : s->extra_size;
    if (at + FIXED + extra + id + name + 8 > TABLE_MAX) {
      free(table);
      return -EFBIG;
    }
    uint8_t *p = table + at;
    put_be64(p, s->l1_offset);
    put_be32(p + 8, s->l1_entries);
    put_be16(p + 12, (uint16_t)id);
    put_be16(p + 14, (uint16_t)name);
    put_be32(p + 16, (uint32_t)(s->s.date_ns / 1000000000));
    put_be32(p + 20, (uint32_t)(s->s.date_ns % 1000000000));
    put_be64(p + 24, s->s.vm_clock_ns);
    put_be32(p + 32, s->s.state_size > UINT32_MAX ? UINT32_MAX : (uint32_t)s->s.state_size);
    put_be32(p + 36, extra);
    memcpy(p + FIXED, s->extra, s->extra_size);
    put_be64(p + FIXED, s->s.state_size);
    put_be64(p + FIXED + 8, s->s.disk_size ? s->s.disk_size : q->disk_size);
    memcpy(p + FIXED + extra, s->s.id, id);
    memcpy(p + FIXED + extra + id, s->s.name, name);
    at += (FIXED + extra + id + name + 7) & ~7ull;
  }
  old_clusters = q->snapshots ? qcow2_clusters(q, q->snapshots_bytes) : 0;
  clusters = qcow2_clusters(q, at);
  int result = clusters ? qcow2_alloc(b, clusters, &offset) : 0;
  if (!result && at)
    result = file_write(b->fd, offset, table, at);
  free(table);
  if (offset + (clusters << q->cluster_bits) > q->file_end)
    q->file_end = offset + (clusters << q->cluster_bits);
  uint8_t raw[12];
  put_be32(raw, count);
  put_be64(raw + 4, offset);
  if (!result)
    result = file_flush(b->fd);
  if (!result)
    result = file_write(b->fd, 60, raw, sizeof raw);
  if (!result)
    result = file_flush(b->fd);
  if (result)
    return result;
  qcow2_mark_meta(q, offset, clusters, true);
  q->snapshots = count;
  q->snapshots_offset = offset;
  q->snapshots_bytes = at;
  if (old_clusters)
    qcow2_free(b, old, old_clusters);
  return 0;
}

/* --- references --------------------------------------------------------------------------------------- */

/* Count everything that an L1 table refers to once more or once less. */
static int add_all(struct block *b, const uint64_t *l1, uint32_t entries, int delta) {
  struct qcow2 *q = qcow2_of(b);
  uint8_t *table = malloc(q->cluster_size);
  int result = table ? 0 : -ENOMEM;
  for (uint32_t i = 0; i < entries && !result; i++) {
    uint64_t at = l1[i] & QCOW2_OFFSET;
    if (!at)
      continue;
    if (!qcow2_inside(b, at, q->cluster_size)) {
      result = qcow2_broken(b, "an L2 table lies outside of the file");
      break;
    }
    result = file_read_padded(b->fd, at, table, q->cluster_size);
    for (uint64_t n = 0; n < qcow2_entries(q) && !result; n++) {
      uint64_t entry = be64_at(table + n * 8), first, clusters;
      if (!qcow2_entry_valid(q, entry))
        result = qcow2_broken(b, "an L2 entry is no cluster's offset");
      else if ((clusters = qcow2_entry_clusters(q, entry, &first)))
        result = qcow2_refcount_add(b, first, clusters, delta);
    }
    if (!result)
      result = qcow2_refcount_add(b, at >> q->cluster_bits, 1, delta);
  }
  free(table);
  return result;
}

static int right_flag(struct block *b, uint64_t *entry, bool *changed) {
  const struct qcow2 *q = qcow2_of(b);
  uint64_t at = *entry & QCOW2_OFFSET, refs;
  if (!at || *entry & QCOW2_COMPRESSED)
    return 0;
  int result = qcow2_refcount(b, at >> q->cluster_bits, &refs);
  uint64_t should = (*entry & ~QCOW2_COPIED) | (refs == 1 ? QCOW2_COPIED : 0);
  *changed |= should != *entry;
  *entry = should;
  return result;
}

/* The flags "refcount is one" of the active tables, after refcounts changed. */
static int right_flags(struct block *b) {
  struct qcow2 *q = qcow2_of(b);
  uint8_t *table = malloc(q->cluster_size);
  int result = table ? 0 : -ENOMEM;
  bool l1_changed = false;
  for (uint32_t i = 0; i < q->l1_entries && !result; i++) {
    bool changed = false;
    uint64_t at = q->l1[i] & QCOW2_OFFSET;
    if (!at)
      continue;
    result = right_flag(b, &q->l1[i], &l1_changed);
    if (!result)
      result = file_read_padded(b->fd, at, table, q->cluster_size);
    for (uint64_t n = 0; n < qcow2_entries(q) && !result; n++) {
      uint64_t entry = be64_at(table + n * 8);
      result = right_flag(b, &entry, &changed);
      put_be64(table + n * 8, entry);
    }
    if (!result && changed)
      result = file_write(b->fd, at, table, q->cluster_size);
  }
  free(table);
  if (!result && l1_changed)
    result = qcow2_write_table(b, q->l1_offset, q->l1_entries, q->l1);
  qcow2_forget_l2(q);
  return result ? result : file_flush(b->fd);
}

static int begin(struct block *b) {
  struct qcow2 *q = qcow2_of(b);
  int result = qcow2_commit(b);
  return result ? result : qcow2_set_incompatible(b, q->incompatible | QCOW2_DIRTY);
}

static int end(struct block *b, int result, const char *what, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  if (!result)
    result = file_flush(b->fd);
  if (!result)
    result = qcow2_set_incompatible(b, q->incompatible & ~(uint64_t)QCOW2_DIRTY);
  if (result)
    *error = block_message("cannot %s of '%s': %s", what, b->path, strerror(-result));
  return result;
}

/* --- what the user does ------------------------------------------------------------------------------- */

static int write_l1_copy(struct block *b, const uint64_t *l1, uint32_t entries, uint64_t *offset) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t clusters = qcow2_clusters(q, entries * 8ull);
  uint64_t *copy = calloc(clusters ? clusters << q->cluster_bits : 8, 1);
  if (!copy)
    return -ENOMEM;
  for (uint32_t i = 0; i < entries; i++)
    copy[i] = l1[i] & ~QCOW2_COPIED;
  int result = clusters ? qcow2_alloc(b, clusters, offset) : 0;
  if (!result)
    result = qcow2_write_table(b, *offset, clusters << q->cluster_bits >> 3, copy);
  if (!result)
    qcow2_mark_meta(q, *offset, clusters, true);
  free(copy);
  return result;
}

int qcow2_snapshot_create(struct block *b, const char *name, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  struct qcow2_disk_snapshot *list, *more;
  uint32_t count;
  unsigned long id = 0;
  struct timespec now;
  int result = load_or_say(b, &list, &count, error);
  if (result)
    return result;
  if (count >= BLOCK_SNAPSHOTS || strlen(name) >= sizeof list->s.name || !*name) {
    free(list);
    *error = block_message("'%s': %s", b->path,
                           count >= BLOCK_SNAPSHOTS ? "too many snapshots" : "no usable name");
    return -EINVAL;
  }
  for (uint32_t i = 0; i < count; i++)
    if (strtoul(list[i].s.id, NULL, 10) > id)
      id = strtoul(list[i].s.id, NULL, 10);
  more = realloc(list, (count + 1) * sizeof *list);
  if (!more) {
    free(list);
    return -ENOMEM;
  }
  clock_gettime(CLOCK_REALTIME, &now);
  struct qcow2_disk_snapshot *s = &more[count];
  *s = (struct qcow2_disk_snapshot){.l1_entries = q->l1_entries};
  snprintf(s->s.id, sizeof s->s.id, "%lu", id + 1);
  snprintf(s->s.name, sizeof s->s.name, "%s", name);
  s->s.date_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
  s->s.disk_size = q->disk_size;
  result = begin(b);
  if (!result)
    result = write_l1_copy(b, q->l1, q->l1_entries, &s->l1_offset);
  if (!result)
    result = add_all(b, q->l1, q->l1_entries, 1);
  if (!result)
    result = right_flags(b);
  if (!result)
    result = store(b, more, count + 1);
  free(more);
  return end(b, result, "make a snapshot", error);
}

static int load_snapshot_l1(struct block *b, const struct qcow2_disk_snapshot *s, uint64_t **l1) {
  uint64_t bytes = s->l1_entries * 8ull;
  *l1 = NULL;
  if (bytes && !qcow2_inside(b, s->l1_offset, bytes))
    return -EINVAL;
  *l1 = malloc(bytes + 8);
  int result = *l1 ? qcow2_read_table(b, s->l1_offset, s->l1_entries, *l1) : -ENOMEM;
  if (result) {
    free(*l1);
    *l1 = NULL;
  }
  return result;
}

static int select_snapshot(struct block *b, const char *name, struct qcow2_disk_snapshot **list,
                           uint32_t *count, uint64_t **l1, const char **error) {
  int result = load_or_say(b, list, count, error);
  if (result)
    return result;
  int at = find(*list, *count, name);
  if (at < 0) {
    *error = block_message("'%s' has no snapshot '%s'", b->path, name);
    free(*list);
    return -ENOENT;
  }
  result = load_snapshot_l1(b, *list + at, l1);
  if (result) {
    *error = block_message("snapshot '%s' of '%s' is damaged", name, b->path);
    free(*list);
    return result;
  }
  return at;
}

int qcow2_snapshot_delete(struct block *b, const char *name, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  struct qcow2_disk_snapshot *list, gone;
  uint32_t count;
  uint64_t *l1;
  int at = select_snapshot(b, name, &list, &count, &l1, error);
  if (at < 0)
    return at;
  gone = list[at];
  memmove(list + at, list + at + 1, (count - (uint32_t)at - 1) * sizeof *list);
  int result = begin(b);
  if (!result)
    result = store(b, list, count - 1);
  if (!result)
    result = add_all(b, l1, gone.l1_entries, -1);
  if (!result && gone.l1_entries)
    qcow2_free(b, gone.l1_offset, qcow2_clusters(q, gone.l1_entries * 8ull));
  if (!result)
    result = right_flags(b);
  free(l1);
  free(list);
  return end(b, result, "delete a snapshot", error);
}

int qcow2_snapshot_apply(struct block *b, const char *name, const char **error) {
  struct qcow2 *q = qcow2_of(b);
  struct qcow2_disk_snapshot *list, s;
  uint32_t count;
  uint64_t *l1, offset = 0;
  int at = select_snapshot(b, name, &list, &count, &l1, error);
  if (at < 0)
    return at;
  s = list[at];
  free(list);
  uint64_t size = s.s.disk_size ? s.s.disk_size : q->disk_size;
  uint64_t old_offset = q->l1_offset, *old = q->l1;
  uint32_t old_entries = q->l1_entries;
  int result = begin(b);
  if (!result)
    result = add_all(b, l1, s.l1_entries, 1);
  if (!result)
    result = write_l1_copy(b, l1, s.l1_entries, &offset);
  if (!result)
    result = file_flush(b->fd);
  uint8_t raw[24] = {0}; /* size, no encryption, L1 table */
  put_be64(raw, size);
  put_be32(raw + 12, s.l1_entries);
  put_be64(raw + 16, offset);
  if (!result)
    result = file_write(b->fd, 24, raw, sizeof raw);
  if (!result)
    result = file_flush(b->fd);
  if (!result) {
    for (uint32_t i = 0; i < s.l1_entries; i++)
      l1[i] &= ~QCOW2_COPIED;
    q->l1 = l1;
    q->l1_offset = offset;
    q->l1_entries = s.l1_entries;
    q->disk_size = size;
    b->size = (size + SECTOR - 1) / SECTOR * SECTOR;
    qcow2_forget_l2(q);
    l1 = old;
    result = add_all(b, old, old_entries, -1);
    if (!result && old_entries)
      qcow2_free(b, old_offset, qcow2_clusters(q, old_entries * 8ull));
    if (!result)
      result = right_flags(b);
  }
  free(l1);
  return end(b, result, "go back to a snapshot", error);
}
