/* SPDX-License-Identifier: MIT */
/*
 * qcow2: how often each cluster of the file is referred to, and finding free ones. Changes are written at
 * once: what goes up goes up before anything refers to it, what goes down goes down by qcow2_commit() (see
 * qcow2.h).
 */
#include "devices/block/qcow2.h"

#include <stdlib.h>
#include <string.h>

#define PAST_END (1u << 20) /* clusters */

static uint64_t per_block(const struct qcow2 *q) { return q->cluster_size * 8 >> q->refcount_order; }

uint64_t qcow2_refcount_max(const struct qcow2 *q) {
  return q->refcount_order == 6 ? INT64_MAX : (1ull << (1u << q->refcount_order)) - 1;
}

uint64_t qcow2_count_at(const struct qcow2 *q, const uint8_t *block, uint64_t index) {
  unsigned bits = 1u << q->refcount_order;
  switch (q->refcount_order) {
  case 3: return block[index];
  case 4: return be16_at(block + index * 2);
  case 5: return be32_at(block + index * 4);
  case 6: return be64_at(block + index * 8);
  default: return block[index * bits / 8] >> index * bits % 8 & ((1u << bits) - 1);
  }
}

void qcow2_set_count_at(const struct qcow2 *q, uint8_t *block, uint64_t index, uint64_t count) {
  unsigned bits = 1u << q->refcount_order, shift = (unsigned)(index * bits % 8);
  uint8_t *byte = block + index * bits / 8;
  switch (q->refcount_order) {
  case 3: *byte = (uint8_t)count; break;
  case 4: put_be16(byte, (uint16_t)count); break;
  case 5: put_be32(byte, (uint32_t)count); break;
  case 6: put_be64(byte, count); break;
  default: *byte = (uint8_t)((*byte & ~(((1u << bits) - 1) << shift)) | count << shift); break;
  }
}

void qcow2_mark_meta(struct qcow2 *q, uint64_t offset, uint64_t clusters, bool meta) {
  if (!q->writable)
    return;
  uint64_t at = offset >> q->cluster_bits;
  if (meta && (at > qcow2_clusters(q, q->file_end) + PAST_END || clusters > PAST_END))
    return; /* (where a damaged image says that a table is) */
  if (meta && at + clusters > q->meta_clusters) {
    uint64_t have = (at + clusters) * 2 + 4096;
    uint8_t *more = realloc(q->meta, have / 8 + 1);
    if (!more)
      return; /* only a safety net gets thinner */
    uint64_t old = q->meta ? q->meta_clusters / 8 + 1 : 0;
    memset(more + old, 0, have / 8 + 1 - old);
    q->meta = more;
    q->meta_clusters = have;
  }
  for (; clusters && at < q->meta_clusters; clusters--, at++)
    if (meta)
      q->meta[at / 8] |= (uint8_t)(1u << at % 8);
    else
      q->meta[at / 8] &= (uint8_t) ~(1u << at % 8);
}

bool qcow2_is_meta(const struct qcow2 *q, uint64_t offset) {
  uint64_t at = offset >> q->cluster_bits;
  return at < q->meta_clusters && q->meta[at / 8] >> at % 8 & 1;
}

void qcow2_forget_refblocks(struct qcow2 *q) {
  for (unsigned i = 0; q->refblock && i < QCOW2_REFBLOCKS; i++)
    q->refblock[i].offset = 0;
}

/* The block with a cluster's refcount; *block NULL: there is none (refcount 0). */
static int find_block(struct block *b, uint64_t index, struct qcow2_table **block) {
  struct qcow2 *q = qcow2_of(b);
  *block = NULL;
  uint64_t offset = index < q->reftable_entries ? q->reftable[index] & ~511ull : 0;
  if (!offset)
    return 0;
  if (!qcow2_inside(b, offset, q->cluster_size))
    return qcow2_broken(b, "a refcount block lies outside of the file");
  if (!q->refblock && !(q->refblock = calloc(QCOW2_REFBLOCKS, sizeof *q->refblock)))
    return -ENOMEM;
  struct qcow2_table *t = &q->refblock[index % QCOW2_REFBLOCKS];
  if (t->offset != offset) {
    if (!t->data && !(t->data = malloc(q->cluster_size)))
      return -ENOMEM;
    t->offset = 0;
    int result = file_read_padded(b->fd, offset, t->data, q->cluster_size);
    if (result)
      return result;
    t->offset = offset;
  }
  t->index = index;
  *block = t;
  return 0;
}

int qcow2_refcount(struct block *b, uint64_t cluster, uint64_t *count) {
  struct qcow2 *q = qcow2_of(b);
  struct qcow2_table *block;
  int result = find_block(b, cluster / per_block(q), &block);
  *count = result || !block ? 0 : qcow2_count_at(q, block->data, cluster % per_block(q));
  return result;
}

/* Write bytes of a refcount block that hold entries [from, to). */
static int write_counts(struct block *b, struct qcow2_table *t, uint64_t from, uint64_t to) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t bits = 1u << q->refcount_order;
  uint64_t begin = from * bits / 8, end = (to * bits + 7) / 8;
  int result = file_write(b->fd, t->offset + begin, t->data + begin, end - begin);
  if (result)
    t->offset = 0; /* read it again */
  return result;
}

static int new_block(struct block *b, uint64_t index);

static int change(struct block *b, uint64_t cluster, uint64_t n, int delta, uint64_t value) {
  struct qcow2 *q = qcow2_of(b);
  while (n) {
    struct qcow2_table *t;
    uint64_t index = cluster / per_block(q), from = cluster % per_block(q);
    uint64_t count = per_block(q) - from < n ? per_block(q) - from : n;
    int result = find_block(b, index, &t);
    if (!result && !t)
      result = (result = new_block(b, index)) ? result : find_block(b, index, &t);
    if (result)
      return result;
    for (uint64_t i = from; i < from + count; i++) {
      uint64_t old = qcow2_count_at(q, t->data, i), new = delta ? old + (uint64_t)(int64_t)delta : value;
      if ((delta < 0 && !old) || new > qcow2_refcount_max(q)) {
        t->offset = 0;
        return delta < 0 ? qcow2_broken(b, "a cluster in use has a refcount of zero") : -EMLINK;
      }
      qcow2_set_count_at(q, t->data, i, new);
      if (!new &&cluster + (i - from) < q->free_hint)
        q->free_hint = cluster + (i - from);
    }
    result = write_counts(b, t, from, from + count);
    if (result)
      return result;
    cluster += count, n -= count;
  }
  return 0;
}

int qcow2_refcount_add(struct block *b, uint64_t cluster, uint64_t n, int delta) {
  return change(b, cluster, n, delta, 0);
}

int qcow2_refcount_set(struct block *b, uint64_t cluster, uint64_t count) {
  return change(b, cluster, 1, 0, count);
}

static int write_block(struct block *b, uint64_t offset, const uint8_t *data) {
  struct qcow2 *q = qcow2_of(b);
  int result = file_write(b->fd, offset, data, q->cluster_size);
  if (!result && offset + q->cluster_size > q->file_end)
    q->file_end = offset + q->cluster_size;
  qcow2_mark_meta(q, offset, 1, true);
  return result;
}

/*
 * A longer refcount table: it and the blocks that count its own clusters go behind everything that the old
 * one can count. Nothing refers to them until the header does.
 */
static int grow_reftable(struct block *b, uint64_t index) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t base = (uint64_t)q->reftable_entries * per_block(q), blocks = 1, table, entries;
  if (base < qcow2_clusters(q, q->file_end))
    base = qcow2_clusters(q, q->file_end);
  for (;;) { /* the blocks must count the table and themselves */
    uint64_t last = base / per_block(q) + blocks;
    entries = (index > last ? index : last) + 1;
    entries = (entries + entries / 2 + qcow2_entries(q) - 1) / qcow2_entries(q) * qcow2_entries(q);
    table = entries / qcow2_entries(q);
    uint64_t need = (base + table + blocks - 1) / per_block(q) - base / per_block(q) + 1;
    if (need <= blocks)
      break;
    blocks = need;
  }
  if (entries * 8 > QCOW2_REFTABLE_MAX)
    return -EFBIG;
  uint64_t first = base / per_block(q), used = table + blocks;
  uint64_t *t = calloc(entries, 8);
  uint8_t *data = malloc(q->cluster_size);
  int result = t && data ? 0 : -ENOMEM;
  if (!result)
    memcpy(t, q->reftable, (uint64_t)q->reftable_entries * 8);
  for (uint64_t i = 0; i < blocks && !result; i++) {
    memset(data, 0, q->cluster_size);
    for (uint64_t n = 0; n < per_block(q); n++) {
      uint64_t cluster = (first + i) * per_block(q) + n;
      if (cluster >= base && cluster < base + used)
        qcow2_set_count_at(q, data, n, 1);
    }
    if (t[first + i])
      result = qcow2_broken(b, "refcounts exist beyond the end of the file");
    t[first + i] = (base + table + i) << q->cluster_bits;
    if (!result)
      result = write_block(b, t[first + i], data);
  }
  uint64_t offset = base << q->cluster_bits;
  if (!result)
    result = qcow2_write_table(b, offset, entries, t);
  if (!result)
    result = file_flush(b->fd);
  uint8_t header[12];
  put_be64(header, offset);
  put_be32(header + 8, (uint32_t)table);
  if (!result)
    result = file_write(b->fd, 48, header, sizeof header);
  if (!result)
    result = file_flush(b->fd);
  free(data);
  if (result) {
    free(t);
    return result;
  }
  uint64_t old_offset = q->reftable_offset, old_clusters = q->reftable_clusters;
  free(q->reftable);
  q->reftable = t;
  q->reftable_entries = (uint32_t)entries;
  q->reftable_offset = offset;
  q->reftable_clusters = (uint32_t)table;
  qcow2_mark_meta(q, offset, table, true);
  qcow2_mark_meta(q, old_offset, old_clusters, false);
  return qcow2_refcount_add(b, old_offset >> q->cluster_bits, old_clusters, -1);
}

/* The first cluster from `from` on that nothing refers to. Some behind the end of the file may be counted
 * (leaks of a full disk), but a table that counts very many there is wrong. */
static int first_free(struct block *b, uint64_t from, uint64_t *cluster) {
  uint64_t limit = qcow2_clusters(qcow2_of(b), qcow2_of(b)->file_end) + PAST_END;
  for (;; from++) {
    uint64_t count;
    int result = qcow2_refcount(b, from, &count);
    if (result)
      return result;
    if (!count)
      break;
    if (from > limit)
      return qcow2_broken(b, "refcounts exist beyond the end of the file");
  }
  *cluster = from;
  return 0;
}

/* A refcount block that isn't there yet: in a free cluster, of those that it counts itself if need be. */
static int new_block(struct block *b, uint64_t index) {
  struct qcow2 *q = qcow2_of(b);
  if (index >= q->reftable_entries) {
    int result = grow_reftable(b, index);
    if (result || q->reftable[index])
      return result;
  }
  uint64_t at;
  int result = first_free(b, q->free_hint, &at);
  if (result)
    return result;
  struct qcow2_table *t;
  uint64_t own = at / per_block(q);
  result = find_block(b, own, &t);
  if (result)
    return result;
  if (!t) /* counted by itself: in the block's own range */
    at = own == index ? at : index * per_block(q), own = index;
  uint64_t offset = at << q->cluster_bits;
  if (qcow2_is_meta(q, offset))
    return qcow2_broken(b, "a table has a refcount of zero");
  uint8_t *data = calloc(1, q->cluster_size);
  if (!data)
    return -ENOMEM;
  if (own == index)
    qcow2_set_count_at(q, data, at % per_block(q), 1);
  result = write_block(b, offset, data);
  free(data);
  if (!result && own != index)
    result = qcow2_refcount_set(b, at, 1);
  if (!result)
    result = file_flush(b->fd);
  if (result)
    return result;
  q->reftable[index] = offset;
  uint8_t entry[8];
  put_be64(entry, offset);
  result = file_write(b->fd, q->reftable_offset + index * 8, entry, 8);
  if (result)
    q->reftable[index] = 0;
  return result;
}

/* Where `n` free clusters lie one behind the other. */
static int find_run(struct block *b, uint64_t n, uint64_t *start) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t at, run = 0;
  int result = first_free(b, q->free_hint, &at);
  if (result)
    return result;
  q->free_hint = at;
  while (run < n) {
    uint64_t count;
    result = qcow2_refcount(b, at + run, &count);
    if (result)
      return result;
    if (count) {
      result = first_free(b, at + run + 1, &at);
      if (result)
        return result;
      run = 0;
    } else {
      run++;
    }
  }
  *start = at;
  return 0;
}

int qcow2_alloc(struct block *b, uint64_t n, uint64_t *offset) {
  struct qcow2 *q = qcow2_of(b);
  if (q->broken)
    return -EIO;
  for (;;) {
    uint64_t start, index;
    int result = find_run(b, n, &start);
    if (result)
      return result;
    if ((start + n) > (QCOW2_OFFSET >> q->cluster_bits))
      return -EFBIG;
    for (index = start / per_block(q); index <= (start + n - 1) / per_block(q); index++)
      if (index >= q->reftable_entries || !q->reftable[index])
        break;
    if (index <= (start + n - 1) / per_block(q)) { /* it may take one of these clusters: look again */
      result = new_block(b, index);
      if (result)
        return result;
      continue;
    }
    for (uint64_t i = 0; i < n; i++)
      if (qcow2_is_meta(q, (start + i) << q->cluster_bits))
        return qcow2_broken(b, "a table has a refcount of zero");
    result = qcow2_refcount_add(b, start, n, 1);
    if (result)
      return result;
    if (start == q->free_hint)
      q->free_hint = start + n;
    *offset = start << q->cluster_bits;
    return 0;
  }
}

void qcow2_free(struct block *b, uint64_t offset, uint64_t n) {
  struct qcow2 *q = qcow2_of(b);
  qcow2_mark_meta(q, offset, n, false);
  if (!q->broken)
    qcow2_refcount_add(b, offset >> q->cluster_bits, n, -1); /* an error leaves a leak */
}

uint64_t qcow2_entry_clusters(const struct qcow2 *q, uint64_t entry, uint64_t *first) {
  if (entry & QCOW2_COMPRESSED) {
    unsigned bits = 62 - (q->cluster_bits - 8);
    uint64_t offset = entry & ((1ull << bits) - 1);
    uint64_t sectors = (entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >> bits;
    uint64_t end = (offset & ~511ull) + (sectors + 1) * 512;
    *first = offset >> q->cluster_bits;
    return ((end - 1) >> q->cluster_bits) - *first + 1;
  }
  *first = (entry & QCOW2_OFFSET) >> q->cluster_bits;
  return (entry & QCOW2_OFFSET) != 0;
}

int qcow2_drop(struct block *b, uint64_t entry) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t first;
  if (!qcow2_entry_clusters(q, entry, &first))
    return 0;
  if (!q->drop && !(q->drop = malloc(QCOW2_DROPS * 8)))
    return -ENOMEM;
  if (q->drops == QCOW2_DROPS)
    return -ENOSPC; /* the caller commits before the list is full */
  q->drop[q->drops++] = entry;
  qcow2_pending(q);
  return 0;
}

int qcow2_drop_now(struct block *b) {
  struct qcow2 *q = qcow2_of(b);
  int result = 0;
  for (uint32_t i = 0; i < q->drops; i++) {
    uint64_t first, n = qcow2_entry_clusters(q, q->drop[i], &first);
    qcow2_mark_meta(q, first << q->cluster_bits, (q->drop[i] & QCOW2_COMPRESSED) ? 0 : n, false);
    int r = q->broken ? -EIO : qcow2_refcount_add(b, first, n, -1);
    result = result ? result : r;
  }
  q->drops = 0;
  return result;
}
