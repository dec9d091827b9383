/* SPDX-License-Identifier: MIT */
/*
 * qcow2: from guest offsets to L2 entries, and the order in which changed tables reach the file (see
 * qcow2.h).
 */
#include "devices/block/qcow2.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

bool qcow2_entry_valid(const struct qcow2 *q, uint64_t entry) {
  if (entry & QCOW2_COMPRESSED)
    return true;
  if (q->version == 2 && (entry & QCOW2_ZERO))
    return false;
  return qcow2_aligned(q, entry & QCOW2_OFFSET);
}

static uint64_t l1_index(const struct qcow2 *q, uint64_t offset) {
  return offset >> (q->cluster_bits + q->l2_bits);
}

static uint64_t l2_index(const struct qcow2 *q, uint64_t offset) {
  return offset >> q->cluster_bits & ((1u << q->l2_bits) - 1);
}

void qcow2_pending(struct qcow2 *q) {
  struct timespec now;
  if (q->pending)
    return;
  q->pending = true;
  clock_gettime(CLOCK_MONOTONIC, &now);
  q->pending_since = now.tv_sec * 1000000000ll + now.tv_nsec;
}

/* The cache's place for a table, free to be filled. */
static int slot_for(struct block *b, uint64_t index, struct qcow2_table **slot) {
  struct qcow2 *q = qcow2_of(b);
  struct qcow2_table *t = &q->l2[index % q->l2_slots];
  if (t->offset && t->dirty_begin < t->dirty_end) {
    int result = qcow2_commit(b);
    if (result)
      return result;
  }
  if (!t->data && !(t->data = malloc(q->cluster_size)))
    return -ENOMEM;
  t->offset = 0;
  t->index = index;
  t->dirty_begin = t->dirty_end = 0;
  *slot = t;
  return 0;
}

static int load_l2(struct block *b, uint64_t index, struct qcow2_table **table) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t offset = q->l1[index] & QCOW2_OFFSET;
  struct qcow2_table *t = &q->l2[index % q->l2_slots];
  *table = t;
  if (t->offset && t->index == index)
    return 0;
  if (!qcow2_inside(b, offset, q->cluster_size))
    return qcow2_broken(b, "an L2 table lies outside of the file");
  int result = slot_for(b, index, table);
  if (!result)
    result = file_read_padded(b->fd, offset, t->data, q->cluster_size);
  if (!result)
    t->offset = offset;
  return result;
}

int qcow2_l2(struct block *b, uint64_t offset, struct qcow2_table **table) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t index = l1_index(q, offset);
  *table = NULL;
  if (index >= q->l1_entries || !(q->l1[index] & QCOW2_OFFSET))
    return 0;
  return load_l2(b, index, table);
}

static void set_l1(struct qcow2 *q, uint64_t index, uint64_t entry) {
  q->l1[index] = entry;
  if (q->l1_dirty_begin == q->l1_dirty_end)
    q->l1_dirty_begin = (uint32_t)index, q->l1_dirty_end = (uint32_t)index + 1;
  else if (index < q->l1_dirty_begin)
    q->l1_dirty_begin = (uint32_t)index;
  else if (index >= q->l1_dirty_end)
    q->l1_dirty_end = (uint32_t)index + 1;
  qcow2_pending(q);
}

/* A table of our own instead of the one that is shared (or not there): written before anything refers to it.
 */
static int new_l2(struct block *b, uint64_t index, struct qcow2_table **table) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t old = q->l1[index] & QCOW2_OFFSET, offset;
  struct qcow2_table *t;
  int result = old ? load_l2(b, index, &t) : slot_for(b, index, &t);
  if (result)
    return result;
  if (!old)
    memset(t->data, 0, q->cluster_size);
  result = qcow2_alloc(b, 1, &offset);
  if (result)
    goto fail;
  result = file_write(b->fd, offset, t->data, q->cluster_size);
  if (!result && old)
    result = qcow2_drop(b, old);
  if (result) {
    qcow2_free(b, offset, 1);
    goto fail;
  }
  if (offset + q->cluster_size > q->file_end)
    q->file_end = offset + q->cluster_size;
  qcow2_mark_meta(q, offset, 1, true);
  t->offset = offset;
  set_l1(q, index, offset | QCOW2_COPIED);
  *table = t;
  return 0;
fail:
  if (!old)
    t->offset = 0;
  return result;
}

int qcow2_l2_own(struct block *b, uint64_t offset, struct qcow2_table **table) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t index = l1_index(q, offset);
  if (q->broken || index >= q->l1_entries)
    return -EIO;
  if (q->l1[index] & QCOW2_COPIED && q->l1[index] & QCOW2_OFFSET)
    return load_l2(b, index, table);
  return new_l2(b, index, table);
}

uint64_t qcow2_l2_get(const struct qcow2 *q, const struct qcow2_table *table, uint64_t offset) {
  return table ? be64_at(table->data + l2_index(q, offset) * 8) : 0;
}

void qcow2_l2_set(struct qcow2 *q, struct qcow2_table *table, uint64_t offset, uint64_t entry) {
  uint32_t at = (uint32_t)l2_index(q, offset) * 8;
  put_be64(table->data + at, entry);
  if (table->dirty_begin == table->dirty_end)
    table->dirty_begin = at, table->dirty_end = at + 8;
  else if (at < table->dirty_begin)
    table->dirty_begin = at;
  else if (at + 8 > table->dirty_end)
    table->dirty_end = at + 8;
  qcow2_pending(q);
}

void qcow2_forget_l2(struct qcow2 *q) {
  for (uint32_t i = 0; q->l2 && i < q->l2_slots; i++)
    q->l2[i].offset = 0, q->l2[i].dirty_begin = q->l2[i].dirty_end = 0;
}

static int write_l2(struct block *b, bool *any) {
  struct qcow2 *q = qcow2_of(b);
  for (uint32_t i = 0; i < q->l2_slots; i++) {
    struct qcow2_table *t = &q->l2[i];
    if (!t->offset || t->dirty_begin == t->dirty_end)
      continue;
    int result = file_write(b->fd, t->offset + t->dirty_begin, t->data + t->dirty_begin,
                            t->dirty_end - t->dirty_begin);
    if (result)
      return result;
    t->dirty_begin = t->dirty_end = 0;
    *any = true;
  }
  return 0;
}

int qcow2_commit(struct block *b) {
  struct qcow2 *q = qcow2_of(b);
  if (!q->pending)
    return 0;
  if (q->broken)
    return -EIO;
  bool l2 = false, l1 = q->l1_dirty_begin < q->l1_dirty_end;
  int result = file_flush(b->fd); /* data, refcounts, new tables with what the old ones held */
  if (!result)
    result = write_l2(b, &l2);
  if (!result && l1)
    result = qcow2_write_table(b, q->l1_offset + q->l1_dirty_begin * 8ull,
                               q->l1_dirty_end - q->l1_dirty_begin, q->l1 + q->l1_dirty_begin);
  if (!result && (l1 || l2))
    result = file_flush(b->fd);
  if (result)
    return result;
  q->l1_dirty_begin = q->l1_dirty_end = 0;
  q->pending = false;
  return qcow2_drop_now(b);
}
