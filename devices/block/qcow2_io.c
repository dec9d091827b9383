/* SPDX-License-Identifier: MIT */
/* qcow2: reading and writing the guest's clusters. */
#include "devices/block/qcow2.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COMMIT_AFTER 1000000000ll /* ns that tables may wait */
#define DEFLATE_WINDOW 12         /* what qcow2's readers provide */

enum kind { UNALLOCATED, ZERO, DATA, COMPRESSED };

static enum kind kind_of(uint64_t entry) {
  return entry & QCOW2_COMPRESSED ? COMPRESSED
         : entry & QCOW2_ZERO     ? ZERO
         : entry & QCOW2_OFFSET   ? DATA
                                  : UNALLOCATED;
}

static uint64_t in_cluster(const struct qcow2 *q, uint64_t offset) { return offset & (q->cluster_size - 1); }

/* An entry of the table (NULL: all are unallocated), checked. */
static int get_entry(struct block *b, const struct qcow2_table *table, uint64_t offset, uint64_t *entry) {
  *entry = qcow2_l2_get(qcow2_of(b), table, offset);
  return qcow2_entry_valid(qcow2_of(b), *entry) ? 0 : qcow2_broken(b, "an L2 entry is no cluster's offset");
}

/*
 * How far from `offset` the same goes on, in this table and at most `len`: clusters of the same kind, those
 * with data one behind the other in the file. (`copied`: only such with a refcount of one.)
 */
static uint64_t run_length(const struct qcow2 *q, const struct qcow2_table *table, uint64_t offset,
                           uint64_t len, uint64_t entry, bool copied) {
  uint64_t n = q->cluster_size - in_cluster(q, offset);
  uint64_t end = q->cluster_size << q->l2_bits; /* of the table, from its beginning */
  uint64_t left = end - (offset & (end - 1));
  if (len > left)
    len = left;
  enum kind kind = kind_of(entry);
  for (uint64_t host = entry & QCOW2_OFFSET; n < len && kind != COMPRESSED; n += q->cluster_size) {
    uint64_t next = qcow2_l2_get(q, table, offset + n);
    host += q->cluster_size;
    if (kind_of(next) != kind || !qcow2_entry_valid(q, next))
      break;
    if (kind == DATA && ((next & QCOW2_OFFSET) != host || (copied && !(next & QCOW2_COPIED))))
      break;
  }
  return n < len ? n : len;
}

/* --- reading ------------------------------------------------------------------------------------------ */

static int decompress(struct block *b, uint64_t entry) {
  struct qcow2 *q = qcow2_of(b);
  if (q->compressed_entry == entry)
    return 0;
  unsigned bits = 62 - (q->cluster_bits - 8);
  uint64_t offset = entry & ((1ull << bits) - 1);
  uint64_t sectors = ((entry & ~(QCOW2_COPIED | QCOW2_COMPRESSED)) >> bits) + 1;
  uint64_t len = sectors * 512 - (offset & 511);
  if (!q->cluster && !(q->cluster = malloc(q->cluster_size)))
    return -ENOMEM;
  if (!q->packed && !(q->packed = malloc(2 * q->cluster_size + 512)))
    return -ENOMEM;
  if (offset > INT64_MAX - len || len > 2 * q->cluster_size)
    return qcow2_broken(b, "a compressed cluster lies outside of the file");
  q->compressed_entry = 0;
  int result = file_read_padded(b->fd, offset, q->packed, len);
  if (!result)
    result = block_inflate(q->packed, len, q->cluster, q->cluster_size, -15);
  if (!result)
    q->compressed_entry = entry;
  return result;
}

static int qcow2_read(struct block *b, uint64_t offset, void *buf, uint64_t len) {
  struct qcow2 *q = qcow2_of(b);
  for (uint8_t *to = buf; len;) {
    struct qcow2_table *table;
    uint64_t entry;
    int result = qcow2_l2(b, offset, &table);
    if (!result)
      result = get_entry(b, table, offset, &entry);
    if (result)
      return result;
    uint64_t n = run_length(q, table, offset, len, entry, false), in = in_cluster(q, offset);
    switch (kind_of(entry)) {
    case UNALLOCATED: result = block_read_backing(b, offset, to, n); break;
    case ZERO: memset(to, 0, n); break;
    case DATA: result = file_read_padded(b->fd, (entry & QCOW2_OFFSET) + in, to, n); break;
    case COMPRESSED:
      result = decompress(b, entry);
      if (!result)
        memcpy(to, q->cluster + in, n);
      break;
    }
    if (result)
      return result;
    to += n, offset += n, len -= n;
  }
  return 0;
}

static int qcow2_status(struct block *b, uint64_t offset, uint64_t len, uint64_t *run) {
  struct qcow2_table *table;
  uint64_t entry;
  int result = qcow2_l2(b, offset, &table);
  if (!result)
    result = get_entry(b, table, offset, &entry);
  if (result)
    return result;
  *run = run_length(qcow2_of(b), table, offset, len, entry, false);
  switch (kind_of(entry)) {
  case UNALLOCATED: return BLOCK_STATE_UNALLOCATED;
  case ZERO: return BLOCK_STATE_ZERO;
  default: return BLOCK_STATE_DATA;
  }
}

/* --- writing ------------------------------------------------------------------------------------------ */

/* What a cluster held, with the new bytes over it. */
static int merge(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t start = offset - in_cluster(q, offset);
  uint64_t have = b->size - start < q->cluster_size ? b->size - start : q->cluster_size;
  if (!q->bounce && !(q->bounce = malloc(q->cluster_size)))
    return -ENOMEM;
  memset(q->bounce + have, 0, q->cluster_size - have);
  int result = have == len ? 0 : qcow2_read(b, start, q->bounce, have);
  if (!result)
    memcpy(q->bounce + (offset - start), buf, len);
  return result;
}

/* Data for a cluster at `host` that nothing refers to yet: all of it, or what isn't zeros anyway. */
static int fill(struct block *b, uint64_t host, uint64_t offset, const void *buf, uint64_t len,
                uint64_t old) {
  struct qcow2 *q = qcow2_of(b);
  int result;
  bool nothing = kind_of(old) == ZERO || (kind_of(old) == UNALLOCATED && !b->backing);
  if (len == q->cluster_size)
    return file_write(b->fd, host, buf, len);
  if (nothing && host >= q->file_end) /* the file's hole is the rest */
    return file_write(b->fd, host + in_cluster(q, offset), buf, len);
  result = merge(b, offset, buf, len);
  return result ? result : file_write(b->fd, host, q->bounce, q->cluster_size);
}

/* A write into a cluster that is not ours alone, or not there. At most to the end of the cluster. */
static int write_new(struct block *b, struct qcow2_table *table, uint64_t offset, const void *buf,
                     uint64_t len, uint64_t old) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t host = old & QCOW2_OFFSET;
  bool reserved = kind_of(old) == ZERO && host && old & QCOW2_COPIED && !qcow2_is_meta(q, host);
  int result = reserved ? 0 : qcow2_alloc(b, 1, &host);
  if (result)
    return result;
  result = fill(b, host, offset, buf, len, old);
  if (host + q->cluster_size > q->file_end) /* (even if only a part could be written) */
    q->file_end = host + q->cluster_size;
  if (!result && !reserved)
    result = qcow2_drop(b, old);
  if (result) {
    if (!reserved)
      qcow2_free(b, host, 1);
    return result;
  }
  qcow2_l2_set(q, table, offset, host | QCOW2_COPIED);
  return 0;
}

/* Before a cluster changes its place: room to note what is given up. */
static int begin_change(struct block *b) {
  struct qcow2 *q = qcow2_of(b);
  q->packed_at = 0;
  q->compressed_entry = 0;
  return q->broken ? -EIO : q->drops > QCOW2_DROPS - 8 ? qcow2_commit(b) : 0;
}

static int write_some(struct block *b, uint64_t offset, const void *buf, uint64_t len, uint64_t *done) {
  struct qcow2 *q = qcow2_of(b);
  struct qcow2_table *table;
  uint64_t entry;
  int result = begin_change(b);
  if (!result)
    result = qcow2_l2_own(b, offset, &table);
  if (!result)
    result = get_entry(b, table, offset, &entry);
  if (result)
    return result;
  if (kind_of(entry) != DATA || !(entry & QCOW2_COPIED)) {
    uint64_t left = q->cluster_size - in_cluster(q, offset);
    *done = len < left ? len : left;
    return write_new(b, table, offset, buf, *done, entry);
  }
  *done = run_length(q, table, offset, len, entry, true);
  uint64_t host = (entry & QCOW2_OFFSET) + in_cluster(q, offset);
  for (uint64_t at = entry & QCOW2_OFFSET; at < host + *done; at += q->cluster_size)
    if (qcow2_is_meta(q, at))
      return qcow2_broken(b, "a data cluster is also a table");
  return file_write(b->fd, host, buf, *done);
}

static void qcow2_tick(struct block *b) {
  struct timespec now;
  if (!qcow2_of(b)->pending)
    return;
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (now.tv_sec * 1000000000ll + now.tv_nsec - qcow2_of(b)->pending_since > COMMIT_AFTER)
    qcow2_commit(b); /* an error comes again with the next flush */
}

static int qcow2_write(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  for (const uint8_t *from = buf; len;) {
    uint64_t n;
    int result = write_some(b, offset, from, len, &n);
    if (result)
      return result;
    from += n, offset += n, len -= n;
  }
  qcow2_tick(b);
  return 0;
}

static int qcow2_flush(struct block *b) { return qcow2_of(b)->pending ? qcow2_commit(b) : file_flush(b->fd); }

static int zero_part(struct block *b, uint64_t offset, uint64_t len) {
  static const uint8_t zeros[65536];
  while (len) {
    uint64_t n = len < sizeof zeros ? len : sizeof zeros;
    int result = qcow2_write(b, offset, zeros, n);
    if (result)
      return result;
    offset += n, len -= n;
  }
  return 0;
}

/* Give a whole cluster an entry without data. */
static int replace(struct block *b, uint64_t offset, uint64_t new) {
  struct qcow2 *q = qcow2_of(b);
  struct qcow2_table *table;
  uint64_t old;
  int result = qcow2_l2(b, offset, &table);
  if (!result)
    result = get_entry(b, table, offset, &old);
  if (result || old == new)
    return result;
  result = begin_change(b);
  if (!result)
    result = qcow2_l2_own(b, offset, &table);
  if (!result)
    result = qcow2_drop(b, old);
  if (!result)
    qcow2_l2_set(q, table, offset, new);
  return result;
}

static int each_cluster(struct block *b, uint64_t offset, uint64_t len, uint64_t new, bool parts) {
  struct qcow2 *q = qcow2_of(b);
  while (len) {
    uint64_t n = q->cluster_size - in_cluster(q, offset);
    n = n < len ? n : len;
    bool whole = !in_cluster(q, offset) && (n == q->cluster_size || offset + n == b->size);
    int result = whole ? replace(b, offset, new) : parts ? zero_part(b, offset, n) : 0;
    if (result)
      return result;
    offset += n, len -= n;
  }
  return 0;
}

static int qcow2_write_zeroes(struct block *b, uint64_t offset, uint64_t len) {
  if (b->backing && qcow2_of(b)->version == 2)
    return zero_part(b, offset, len);
  return each_cluster(b, offset, len, b->backing ? QCOW2_ZERO : 0, true);
}

static int qcow2_unmap(struct block *b, uint64_t offset, uint64_t len) {
  return each_cluster(b, offset, len, 0, false);
}

/* --- compressed clusters ------------------------------------------------------------------------------ */

/* Room for `len` bytes, less than a cluster, behind the compressed cluster before if that is possible. */
static int alloc_bytes(struct block *b, uint64_t len, uint64_t *offset) {
  struct qcow2 *q = qcow2_of(b);
  uint64_t left = q->packed_at ? q->cluster_size - in_cluster(q, q->packed_at) : 0, host;
  int result;
  if (left >= len) {
    result = qcow2_refcount_add(b, q->packed_at >> q->cluster_bits, 1, 1);
    if (!result)
      *offset = q->packed_at;
    if (result != -EMLINK)
      return result;
    left = 0; /* counted as often as it can be */
  }
  result = qcow2_alloc(b, 1, &host);
  if (result)
    return result;
  *offset = host;
  if (left && host == q->packed_at + left && !qcow2_refcount_add(b, q->packed_at >> q->cluster_bits, 1, 1))
    *offset = q->packed_at;
  return 0;
}

static int qcow2_write_compressed(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  struct qcow2 *q = qcow2_of(b);
  struct qcow2_table *table;
  uint64_t entry, packed_at = q->packed_at, host;
  if (in_cluster(q, offset) || (len != q->cluster_size && offset + len != b->size))
    return -EINVAL;
  if (!q->packed && !(q->packed = malloc(2 * q->cluster_size + 512)))
    return -ENOMEM;
  int result = begin_change(b);
  q->packed_at = packed_at;
  if (!result)
    result = merge(b, offset, buf, len);
  if (!result)
    result = qcow2_l2_own(b, offset, &table);
  if (!result)
    result = get_entry(b, table, offset, &entry);
  if (result)
    return result;
  size_t packed = block_deflate(q->bounce, q->cluster_size, q->packed, q->cluster_size - 1, -DEFLATE_WINDOW);
  if (!packed || kind_of(entry) != UNALLOCATED)
    return qcow2_write(b, offset, buf, len);
  result = alloc_bytes(b, packed, &host);
  if (result)
    return result;
  unsigned bits = 62 - (q->cluster_bits - 8);
  uint64_t sectors = ((host + packed - 1) >> 9) - (host >> 9), first;
  entry = QCOW2_COMPRESSED | sectors << bits | host;
  result = host >> bits ? -EFBIG : file_write(b->fd, host, q->packed, packed);
  if (result) {
    uint64_t n = qcow2_entry_clusters(q, entry, &first);
    q->packed_at = 0;
    qcow2_free(b, first << q->cluster_bits, n);
    return result;
  }
  uint64_t end = host + packed, mask = q->cluster_size - 1;
  if (((end + mask) & ~mask) > q->file_end)
    q->file_end = (end + mask) & ~mask;
  q->packed_at = in_cluster(q, end) ? end : 0;
  qcow2_l2_set(q, table, offset, entry);
  return 0;
}

static void free_tables(struct qcow2_table *tables, uint32_t n) {
  for (uint32_t i = 0; tables && i < n; i++)
    free(tables[i].data);
  free(tables);
}

static void qcow2_close(struct block *b) {
  struct qcow2 *q = qcow2_of(b);
  int result = q->writable && !q->broken ? qcow2_commit(b) : 0;
  if (result)
    warn_report("'%s': the last writes since the guest's last flush are lost: %s", b->path,
                strerror(-result));
  free_tables(q->l2, q->l2_slots);
  free_tables(q->refblock, QCOW2_REFBLOCKS);
  free(q->l1);
  free(q->reftable);
  free(q->drop);
  free(q->meta);
  free(q->cluster);
  free(q->packed);
  free(q->bounce);
  free(q);
  b->state = NULL;
}

const struct block_driver qcow2_driver = {
    .read = qcow2_read,
    .write = qcow2_write,
    .flush = qcow2_flush,
    .tick = qcow2_tick,
    .close = qcow2_close,
    .status = qcow2_status,
    .write_zeroes = qcow2_write_zeroes,
    .unmap = qcow2_unmap,
    .write_compressed = qcow2_write_compressed,
};
