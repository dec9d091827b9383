/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the qcow2 format share: qcow2.c (header, opening, making), qcow2_refcount.c (which
 * clusters of the file are in use), qcow2_map.c (where the guest's clusters are), qcow2_io.c (reading and
 * writing), qcow2_check.c, qcow2_snapshot.c. Clusters and tables as in QEMU's docs/interop/qcow2.txt.
 *
 * Crash safety. Data, refcounts that go up and the first contents of new tables are written at once. Entries
 * of L1 and L2 tables that point to them stay in memory until qcow2_commit(), which waits for what was
 * written to reach the disk, then writes L2 and L1 entries, waits, and only then lets
 * refcounts go down. So whatever the file's tables refer to has been counted and written; what is lost by a
 * crash is what no flush has acknowledged, and at worst clusters stay counted that nothing refers to (leaks,
 * which check repairs).
 */
#ifndef DEVICES_BLOCK_QCOW2_H
#define DEVICES_BLOCK_QCOW2_H

#include "devices/block/format.h"

#define QCOW2_MAGIC 0x514649fbu
#define QCOW2_L1_MAX (32u << 20)      /* bytes */
#define QCOW2_REFTABLE_MAX (8u << 20) /* bytes */
#define QCOW2_HEADER_V3 112u

/* Incompatible features. */
#define QCOW2_DIRTY 1u
#define QCOW2_CORRUPT 2u
#define QCOW2_DATA_FILE 4u
#define QCOW2_COMPRESSION 8u
#define QCOW2_EXTENDED_L2 16u
/* Compatible. */
#define QCOW2_LAZY 1u

/* Entries of L1 and L2 tables. */
#define QCOW2_COPIED (1ull << 63) /* refcount is exactly one */
#define QCOW2_COMPRESSED (1ull << 62)
#define QCOW2_ZERO 1ull
#define QCOW2_OFFSET 0x00fffffffffffe00ull

struct qcow2_table { /* an L2 table or a refcount block in memory, as in the file */
  uint64_t offset;   /* 0: nothing here */
  uint64_t index;    /* of the L1 entry or refcount block */
  uint8_t *data;
  uint32_t dirty_begin, dirty_end; /* bytes of it that wait for qcow2_commit() */
};

struct qcow2_disk_snapshot {
  struct block_snapshot s;
  uint64_t l1_offset;
  uint32_t l1_entries;
  uint32_t extra_size; /* as in the file, kept for rewriting */
  uint8_t extra[64];
};

struct qcow2 {
  uint32_t version, cluster_bits, l2_bits, refcount_order, header_length;
  uint64_t cluster_size;
  uint64_t incompatible, compatible, autoclear;
  uint64_t disk_size;

  uint64_t l1_offset;
  uint32_t l1_entries;
  uint64_t *l1; /* host order */
  uint32_t l1_dirty_begin, l1_dirty_end;
  struct qcow2_table *l2; /* direct-mapped cache by L1 index */
  uint32_t l2_slots;
  bool pending;          /* something waits for qcow2_commit() */
  int64_t pending_since; /* CLOCK_MONOTONIC, ns */

  uint64_t reftable_offset;
  uint32_t reftable_clusters, reftable_entries;
  uint64_t *reftable;
  struct qcow2_table *refblock; /* cache by index */
  uint64_t free_hint;           /* no free cluster is below */
  uint64_t file_end;            /* bytes */
  uint64_t *drop; /* L2 entries (or host offsets) whose clusters lose a reference at the next commit */
  uint32_t drops;

  uint8_t *meta; /* bit per host cluster: holds tables, never data. Only when writable. */
  uint64_t meta_clusters;
  bool broken; /* the tables contradict each other: no more writes */

  uint64_t compressed_entry; /* what `cluster` holds decompressed; 0: nothing */
  uint8_t *cluster, *packed; /* buffers, made when needed */
  uint8_t *bounce;
  uint64_t packed_at; /* where the next compressed cluster may begin; 0: in a new cluster */

  uint64_t header_end; /* bytes of the header with its extensions and names */
  uint64_t snapshots_offset;
  uint64_t snapshots_bytes; /* of the table, once loaded */
  uint32_t snapshots;
  bool writable, active; /* active: the current disk, not a snapshot */
};

#define QCOW2_DROPS 4096u
#define QCOW2_REFBLOCKS 16u

static inline struct qcow2 *qcow2_of(struct block *b) { return b->state; }
static inline uint64_t qcow2_entries(const struct qcow2 *q) { return q->cluster_size / 8; }
static inline uint64_t qcow2_clusters(const struct qcow2 *q, uint64_t bytes) {
  return (bytes >> q->cluster_bits) + ((bytes & (q->cluster_size - 1)) != 0);
}
static inline bool qcow2_aligned(const struct qcow2 *q, uint64_t offset) {
  return !(offset & (q->cluster_size - 1));
}

/* qcow2.c */
/* The tables contradict each other: say so, set the corrupt bit, refuse further writes. Returns -EIO. */
int qcow2_broken(struct block *b, const char *what) __attribute__((cold));
int qcow2_set_incompatible(struct block *b, uint64_t features);
/* Does [offset, offset + len) lie in the file, behind the header and on a cluster's boundary? */
bool qcow2_inside(struct block *b, uint64_t offset, uint64_t len);
int qcow2_read_table(struct block *b, uint64_t offset, uint64_t entries, uint64_t *table);
int qcow2_write_table(struct block *b, uint64_t offset, uint64_t entries, const uint64_t *table);
uint64_t qcow2_l1_needed(const struct qcow2 *q, uint64_t size);

/* qcow2_refcount.c. Clusters are numbered by their place in the file. */
int qcow2_refcount(struct block *b, uint64_t cluster, uint64_t *count);
/* Change `n` refcounts by `delta`, at once. */
int qcow2_refcount_add(struct block *b, uint64_t cluster, uint64_t n, int delta);
int qcow2_refcount_set(struct block *b, uint64_t cluster, uint64_t count);
/* `n` contiguous clusters with refcount 1. */
int qcow2_alloc(struct block *b, uint64_t n, uint64_t *offset);
void qcow2_free(struct block *b, uint64_t offset, uint64_t n);
/* What an L2 entry refers to: 0 or more host clusters. */
uint64_t qcow2_entry_clusters(const struct qcow2 *q, uint64_t entry, uint64_t *first);
/* One reference less for what the L2 entry (or host offset of a table) refers to, after the next commit. */
int qcow2_drop(struct block *b, uint64_t entry);
int qcow2_drop_now(struct block *b);
void qcow2_mark_meta(struct qcow2 *q, uint64_t offset, uint64_t clusters, bool meta);
bool qcow2_is_meta(const struct qcow2 *q, uint64_t offset);
uint64_t qcow2_refcount_max(const struct qcow2 *q);
uint64_t qcow2_count_at(const struct qcow2 *q, const uint8_t *block, uint64_t index);
void qcow2_set_count_at(const struct qcow2 *q, uint8_t *block, uint64_t index, uint64_t count);
void qcow2_forget_refblocks(struct qcow2 *q);

/* qcow2_map.c */
/* The L2 table for a guest offset; *table NULL: there is none. */
int qcow2_l2(struct block *b, uint64_t offset, struct qcow2_table **table);
/* The same to write to: made or copied if need be. */
int qcow2_l2_own(struct block *b, uint64_t offset, struct qcow2_table **table);
uint64_t qcow2_l2_get(const struct qcow2 *q, const struct qcow2_table *table, uint64_t offset);
void qcow2_l2_set(struct qcow2 *q, struct qcow2_table *table, uint64_t offset, uint64_t entry);
int qcow2_commit(struct block *b);
void qcow2_forget_l2(struct qcow2 *q);
void qcow2_pending(struct qcow2 *q);
/* Is the entry what the tables may hold? */
bool qcow2_entry_valid(const struct qcow2 *q, uint64_t entry);

/* qcow2_io.c */
extern const struct block_driver qcow2_driver;

/* qcow2_check.c */
int qcow2_check(struct block *b, struct block_check *result, enum block_repair repair);

/* qcow2_snapshot.c */
int qcow2_snapshot_find(struct block *b, const char *name, struct qcow2_disk_snapshot *out,
                        const char **error);
int qcow2_snapshot_load(struct block *b, struct qcow2_disk_snapshot **list, uint32_t *count);
int qcow2_snapshot_list(struct block *b, struct block_snapshot *list, unsigned max);
int qcow2_snapshot_create(struct block *b, const char *name, const char **error);
int qcow2_snapshot_apply(struct block *b, const char *name, const char **error);
int qcow2_snapshot_delete(struct block *b, const char *name, const char **error);

#endif
