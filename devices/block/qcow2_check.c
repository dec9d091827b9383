/* SPDX-License-Identifier: MIT */
/*
 * qcow2: do the refcounts say how often each cluster is referred to? And making it so: refcounts are
 * corrected in place, or if their own tables are damaged or too short, made anew behind the end of the file.
 */
#include "devices/block/qcow2.h"

#include <stdlib.h>
#include <string.h>

#define PAGE_BITS 12
#define PAGE (1u << PAGE_BITS)

struct walk {
  struct block *b;
  struct qcow2 *q;
  struct block_check *result;
  uint64_t clusters; /* of the file */
  uint32_t **count;  /* pages of reference counts, made when needed */
  uint8_t *buf;      /* a cluster */
  bool rebuild;      /* the refcount table or a block is unusable or missing */
};

static void complain(const struct walk *w, bool leak, uint64_t at, uint64_t is, uint64_t should) {
  if (w->result->verbose && w->result->corruptions + w->result->leaks <= 100)
    fprintf(stderr, "%s cluster %llu refcount=%llu reference=%llu\n", leak ? "Leaked" : "ERROR",
            (unsigned long long)at, (unsigned long long)is, (unsigned long long)should);
}

static void corrupt(const struct walk *w, const char *what, uint64_t at) {
  w->result->corruptions++;
  if (w->result->verbose && w->result->corruptions <= 100)
    fprintf(stderr, "ERROR %s: %#llx\n", what, (unsigned long long)at);
}

static uint32_t *counter(struct walk *w, uint64_t cluster, bool make) {
  if (cluster >= w->clusters)
    return NULL;
  uint32_t **page = &w->count[cluster >> PAGE_BITS];
  if (!*page && make)
    *page = calloc(PAGE, sizeof **page);
  return *page ? *page + cluster % PAGE : NULL;
}

static uint64_t counted(struct walk *w, uint64_t cluster) {
  const uint32_t *c = counter(w, cluster, false);
  return c ? *c : 0;
}

static int count(struct walk *w, uint64_t first, uint64_t n, const char *what) {
  if (first >= w->clusters || n > w->clusters - first) {
    corrupt(w, what, first << w->q->cluster_bits);
    return 0;
  }
  for (; n; n--, first++) {
    uint32_t *c = counter(w, first, true);
    if (!c)
      return -ENOMEM;
    if (*c < UINT32_MAX)
      ++*c;
  }
  return 0;
}

/* --- what is referred to ------------------------------------------------------------------------------ */

static int walk_l2(struct walk *w, const uint8_t *table, bool active) {
  const struct qcow2 *q = w->q;
  uint64_t next = 0;
  for (uint64_t i = 0; i < qcow2_entries(q); i++) {
    uint64_t entry = be64_at(table + i * 8), first, n;
    if (!qcow2_entry_valid(q, entry)) {
      corrupt(w, "an L2 entry is no cluster's offset", entry);
      continue;
    }
    n = qcow2_entry_clusters(q, entry, &first);
    if (!n)
      continue;
    int result = count(w, first, n, "a cluster lies outside of the file");
    if (result)
      return result;
    if (!active)
      continue;
    w->result->allocated++;
    if (entry & QCOW2_COMPRESSED)
      w->result->compressed++, w->result->fragmented++;
    else
      w->result->fragmented += next && (entry & QCOW2_OFFSET) != next;
    next = entry & QCOW2_COMPRESSED ? 0 : (entry & QCOW2_OFFSET) + q->cluster_size;
  }
  return 0;
}

static int walk_l1(struct walk *w, uint64_t offset, uint64_t entries, const uint64_t *l1, bool active) {
  struct qcow2 *q = w->q;
  if (!entries)
    return 0;
  uint8_t *seen = calloc(1, w->clusters / 8 + 1); /* no L2 table twice: bounds the work, too */
  if (!seen)
    return -ENOMEM;
  int result =
      count(w, offset >> q->cluster_bits, qcow2_clusters(q, entries * 8), "an L1 table lies outside");
  for (uint64_t i = 0; i < entries && !result; i++) {
    uint64_t at = l1[i] & QCOW2_OFFSET, cluster = at >> q->cluster_bits;
    if (!at)
      continue;
    if (!qcow2_inside(w->b, at, q->cluster_size)) {
      corrupt(w, "an L2 table lies outside of the file", at);
      continue;
    }
    if (seen[cluster / 8] >> cluster % 8 & 1) {
      corrupt(w, "an L2 table is used twice", at);
      continue;
    }
    seen[cluster / 8] |= (uint8_t)(1u << cluster % 8);
    result = count(w, cluster, 1, "an L2 table lies outside of the file");
    if (!result && file_read_padded(w->b->fd, at, w->buf, q->cluster_size))
      w->result->errors++;
    else if (!result)
      result = walk_l2(w, w->buf, active);
  }
  free(seen);
  return result;
}

static int walk_snapshots(struct walk *w) {
  struct qcow2 *q = w->q;
  struct qcow2_disk_snapshot *list = NULL;
  uint32_t n = 0;
  int result = qcow2_snapshot_load(w->b, &list, &n);
  if (result == -ENOMEM)
    return result;
  if (result) {
    corrupt(w, "the table of snapshots is wrong", q->snapshots_offset);
    return 0;
  }
  result = 0;
  for (uint32_t i = 0; i < n && !result; i++) {
    uint64_t bytes = list[i].l1_entries * 8ull;
    if (bytes && (bytes > QCOW2_L1_MAX || !qcow2_inside(w->b, list[i].l1_offset, bytes))) {
      corrupt(w, "a snapshot's L1 table lies outside of the file", list[i].l1_offset);
      continue;
    }
    uint64_t *l1 = malloc(bytes + 8);
    result = l1 ? qcow2_read_table(w->b, list[i].l1_offset, list[i].l1_entries, l1) : -ENOMEM;
    if (!result)
      result = walk_l1(w, list[i].l1_offset, list[i].l1_entries, l1, false);
    free(l1);
  }
  if (!result && n)
    result = count(w, q->snapshots_offset >> q->cluster_bits, qcow2_clusters(q, q->snapshots_bytes),
                   "the table of snapshots lies outside of the file");
  free(list);
  return result;
}

static int walk_refcounts(struct walk *w) {
  struct qcow2 *q = w->q;
  int result = count(w, q->reftable_offset >> q->cluster_bits, q->reftable_clusters, "the refcount table");
  for (uint64_t i = 0; i < q->reftable_entries && !result; i++) {
    uint64_t at = q->reftable[i] & ~511ull;
    if (!at)
      continue;
    if (!qcow2_inside(w->b, at, q->cluster_size)) {
      corrupt(w, "a refcount block lies outside of the file", at);
      w->rebuild = true;
      continue;
    }
    result = count(w, at >> q->cluster_bits, 1, "a refcount block");
    if (!result && counted(w, at >> q->cluster_bits) > 1) {
      corrupt(w, "a refcount block is also something else", at);
      w->rebuild = true;
    }
  }
  return result;
}

static int walk_all(struct walk *w, bool refcounts) {
  struct qcow2 *q = w->q;
  int result = count(w, 0, 1, "the header");
  w->result->clusters = qcow2_clusters(q, w->b->size);
  if (!result)
    result = walk_l1(w, q->l1_offset, q->l1_entries, q->l1, true);
  if (!result)
    result = walk_snapshots(w);
  return !result && refcounts ? walk_refcounts(w) : result;
}

/* --- comparing ---------------------------------------------------------------------------------------- */

static uint64_t per_block(const struct qcow2 *q) { return q->cluster_size * 8 >> q->refcount_order; }

static bool usable_block(struct walk *w, uint64_t at) {
  return at && qcow2_inside(w->b, at, w->q->cluster_size) && counted(w, at >> w->q->cluster_bits) == 1;
}

/* One refcount block (or the lack of one) against what was counted; with `fix` also corrected: `up` what is
 * too small, otherwise what is too large. */
static int compare_block(struct walk *w, uint64_t index, bool fix, bool up) {
  struct qcow2 *q = w->q;
  uint64_t at = index < q->reftable_entries ? q->reftable[index] & ~511ull : 0;
  bool usable = usable_block(w, at), changed = false;
  if (usable && file_read_padded(w->b->fd, at, w->buf, q->cluster_size)) {
    w->result->errors++;
    return 0;
  }
  /* Behind the end of the file only what isn't zero matters. */
  uint64_t base = index * per_block(q), last = usable ? q->cluster_size : 0, entries;
  while (last && !w->buf[last - 1])
    last--;
  entries = last * 8 >> q->refcount_order;
  if (base < w->clusters && w->clusters - base > entries)
    entries = w->clusters - base < per_block(q) ? w->clusters - base : per_block(q);
  for (uint64_t i = 0; i < entries; i++) {
    uint64_t cluster = base + i;
    uint64_t is = usable ? qcow2_count_at(q, w->buf, i) : 0, should = counted(w, cluster);
    if (is == should)
      continue;
    if (fix && usable && up == (is < should) && should <= qcow2_refcount_max(q)) {
      qcow2_set_count_at(q, w->buf, i, should);
      changed = true;
    }
    if (fix)
      continue;
    w->rebuild |= !usable;
    is > should ? w->result->leaks++ : w->result->corruptions++;
    complain(w, is > should, cluster, is, should);
  }
  return changed ? file_write(w->b->fd, at, w->buf, q->cluster_size) : 0;
}

static int compare(struct walk *w, bool fix, bool up) {
  struct qcow2 *q = w->q;
  uint64_t blocks = (w->clusters + per_block(q) - 1) / per_block(q);
  int result = 0;
  for (uint64_t i = 0; i < (blocks > q->reftable_entries ? blocks : q->reftable_entries) && !result; i++)
    if (i < blocks || usable_block(w, q->reftable[i] & ~511ull))
      result = compare_block(w, i, fix, up);
  return result;
}

static bool copied_wrong(struct walk *w, uint64_t entry) {
  uint64_t at = (entry & QCOW2_OFFSET) >> w->q->cluster_bits;
  if (!at || entry & QCOW2_COMPRESSED || at >= w->clusters)
    return false;
  return !(entry & QCOW2_COPIED) != (counted(w, at) != 1);
}

/* The flags that say "refcount is one", in the active tables. */
static int compare_copied(struct walk *w, bool fix) {
  struct qcow2 *q = w->q;
  bool l1_changed = false;
  for (uint64_t i = 0; i < q->l1_entries; i++) {
    uint64_t at = q->l1[i] & QCOW2_OFFSET;
    bool changed = false;
    if (!at || !qcow2_inside(w->b, at, q->cluster_size))
      continue;
    if (copied_wrong(w, q->l1[i])) {
      if (fix)
        q->l1[i] ^= QCOW2_COPIED, l1_changed = true;
      else
        corrupt(w, "the 'copied' flag of an L1 entry is wrong", q->l1[i]);
    }
    if (file_read_padded(w->b->fd, at, w->buf, q->cluster_size))
      continue;
    for (uint64_t n = 0; n < qcow2_entries(q); n++) {
      uint64_t entry = be64_at(w->buf + n * 8);
      if (!qcow2_entry_valid(q, entry) || !copied_wrong(w, entry))
        continue;
      if (fix)
        put_be64(w->buf + n * 8, entry ^ QCOW2_COPIED), changed = true;
      else
        corrupt(w, "the 'copied' flag of an L2 entry is wrong", entry);
    }
    int result = changed ? file_write(w->b->fd, at, w->buf, q->cluster_size) : 0;
    if (result)
      return result;
  }
  return l1_changed ? qcow2_write_table(w->b, q->l1_offset, q->l1_entries, q->l1) : 0;
}

/* --- repairing ---------------------------------------------------------------------------------------- */

static void end_walk(struct walk *w) {
  for (uint64_t i = 0; w->count && i <= w->clusters >> PAGE_BITS; i++)
    free(w->count[i]);
  free(w->count);
  free(w->buf);
  w->count = NULL;
  w->buf = NULL;
}

static int begin_walk(struct walk *w, struct block *b, struct block_check *result) {
  struct qcow2 *q = qcow2_of(b);
  *w = (struct walk){.b = b, .q = q, .result = result, .clusters = q->file_end >> q->cluster_bits};
  if (w->clusters > 1ull << 40)
    return -EFBIG;
  w->count = calloc((w->clusters >> PAGE_BITS) + 1, sizeof *w->count);
  w->buf = malloc(q->cluster_size);
  return w->count && w->buf ? 0 : -ENOMEM;
}

/* All refcounts anew, behind the end of the file; the header turns to them at last. */
static int rebuild(struct block *b) {
  struct qcow2 *q = qcow2_of(b);
  struct block_check ignored = {0};
  struct walk w;
  int result = begin_walk(&w, b, &ignored);
  if (!result)
    result = walk_all(&w, false);
  uint64_t base = w.clusters, table = 1, blocks = 1;
  for (;;) {
    uint64_t need = (base + table + blocks + per_block(q) - 1) / per_block(q);
    uint64_t tables = (need + qcow2_entries(q) - 1) / qcow2_entries(q);
    if (need <= blocks && tables <= table)
      break;
    blocks = need > blocks ? need : blocks;
    table = tables > table ? tables : table;
  }
  if (!result && (table << q->cluster_bits) > QCOW2_REFTABLE_MAX)
    result = -EFBIG;
  uint64_t *t = result ? NULL : calloc(table, q->cluster_size);
  if (!result && !t)
    result = -ENOMEM;
  for (uint64_t i = 0; i < blocks && !result; i++) {
    memset(w.buf, 0, q->cluster_size);
    for (uint64_t n = 0; n < per_block(q); n++) {
      uint64_t cluster = i * per_block(q) + n;
      uint64_t should = cluster >= base && cluster < base + table + blocks ? 1 : counted(&w, cluster);
      qcow2_set_count_at(q, w.buf, n, should <= qcow2_refcount_max(q) ? should : qcow2_refcount_max(q));
    }
    t[i] = (base + table + i) << q->cluster_bits;
    result = file_write(b->fd, t[i], w.buf, q->cluster_size);
  }
  if (!result)
    result = qcow2_write_table(b, base << q->cluster_bits, table << q->cluster_bits >> 3, t);
  uint8_t raw[12];
  put_be64(raw, base << q->cluster_bits);
  put_be32(raw + 8, (uint32_t)table);
  if (!result)
    result = file_flush(b->fd);
  if (!result)
    result = file_write(b->fd, 48, raw, sizeof raw);
  if (!result)
    result = file_flush(b->fd);
  end_walk(&w);
  if (result) {
    free(t);
    return result;
  }
  free(q->reftable);
  q->reftable = t;
  q->reftable_offset = base << q->cluster_bits;
  q->reftable_clusters = (uint32_t)table;
  q->reftable_entries = (uint32_t)(table << q->cluster_bits >> 3);
  q->file_end = (base + table + blocks) << q->cluster_bits;
  return 0;
}

/* One look at everything; with `repair` also a hand on it. */
static int pass(struct block *b, struct block_check *result, enum block_repair repair) {
  struct walk w;
  *result = (struct block_check){.verbose = result->verbose};
  int r = begin_walk(&w, b, result);
  if (!r)
    r = walk_all(&w, true);
  if (!r)
    r = compare(&w, false, false);
  if (!r)
    r = compare_copied(&w, false);
  for (uint64_t i = w.clusters; !r && i && !result->image_end; i--)
    if (counted(&w, i - 1))
      result->image_end = i << w.q->cluster_bits;
  bool all = repair == BLOCK_REPAIR_ALL;
  if (!r && all && w.rebuild) {
    r = rebuild(b);
  } else if (!r && repair) {
    if (all)
      r = compare(&w, true, true);
    if (!r)
      r = file_flush(b->fd);
    if (!r && (all || !result->corruptions)) /* a count is only certain where nothing else is wrong */
      r = compare(&w, true, false);
  }
  if (!r && all)
    r = compare_copied(&w, true);
  end_walk(&w);
  return r;
}

int qcow2_check(struct block *b, struct block_check *result, enum block_repair repair) {
  struct qcow2 *q = qcow2_of(b);
  struct block_check before = {.verbose = result->verbose};
  int r = qcow2_commit(b);
  if (!r)
    r = pass(b, &before, repair);
  *result = before;
  result->verbose = false;
  if (r || !repair || !q->writable)
    return r;
  qcow2_forget_l2(q);
  qcow2_forget_refblocks(q);
  q->free_hint = 0;
  r = file_flush(b->fd);
  if (!r)
    r = pass(b, result, BLOCK_REPAIR_NONE);
  if (!r && result->corruptions + result->leaks + result->errors && repair == BLOCK_REPAIR_ALL) {
    r = pass(b, &(struct block_check){0}, repair); /* what a rebuilding left */
    if (!r)
      r = pass(b, result, BLOCK_REPAIR_NONE);
  }
  if (r)
    return r;
  result->corruptions_fixed =
      before.corruptions > result->corruptions ? before.corruptions - result->corruptions : 0;
  result->leaks_fixed = before.leaks > result->leaks ? before.leaks - result->leaks : 0;
  if (!result->corruptions && !result->errors && q->incompatible & (QCOW2_DIRTY | QCOW2_CORRUPT) &&
      (repair == BLOCK_REPAIR_ALL || !(q->incompatible & QCOW2_CORRUPT))) {
    r = qcow2_set_incompatible(b, q->incompatible & ~(uint64_t)(QCOW2_DIRTY | QCOW2_CORRUPT));
    q->broken = false;
  }
  return r;
}
