/* SPDX-License-Identifier: MIT */
/* What the files of the VMDK format share: the sparse header's layout, the descriptor, extents. */
#ifndef DEVICES_BLOCK_VMDK_H
#define DEVICES_BLOCK_VMDK_H

#include "devices/block/format.h"

/* The header of a sparse extent: 512 bytes, little-endian; offsets and sizes in sectors. */
#define VMDK_HEADER 512u
#define VMDK_MAGIC 0x564d444bu /* "KDMV" */
#define VMDK_VERSION 4
#define VMDK_FLAGS 8
#define VMDK_CAPACITY 12
#define VMDK_GRAIN 20
#define VMDK_DESCRIPTOR_AT 28
#define VMDK_DESCRIPTOR_SIZE 36
#define VMDK_TABLE_ENTRIES 44
#define VMDK_REDUNDANT_AT 48
#define VMDK_DIRECTORY_AT 56
#define VMDK_OVERHEAD 64
#define VMDK_NEWLINES 73 /* "\n \r\n" */
#define VMDK_COMPRESSION 77
#define VMDK_AT_END UINT64_MAX /* the directory's place is in the footer */

#define VMDK_HAS_NEWLINES 1u
#define VMDK_HAS_REDUNDANT 2u
#define VMDK_HAS_ZEROED 4u
#define VMDK_COMPRESSED 0x10000u
#define VMDK_MARKERS 0x20000u

/* Entries of grain tables that are no sector; the second only if the header says that it is used. */
#define VMDK_FREE 0u
#define VMDK_ZEROED 1u

#define VMDK_EXTENTS 2048u
#define VMDK_MAX_SECTORS (1ull << 38) /* 128 TB */
#define VMDK_MAX_TABLE 512u           /* entries of a grain table */
#define VMDK_DESCRIPTOR_MAX (1u << 20)
#define VMDK_CACHE 64u
#define VMDK_NO_PARENT 0xffffffffu

enum vmdk_kind { VMDK_FLAT, VMDK_SPARSE, VMDK_ZERO };
enum vmdk_access { VMDK_RW, VMDK_RDONLY, VMDK_NOACCESS };

struct vmdk_extent {
  enum vmdk_kind kind;
  enum vmdk_access access;
  char *path;           /* NULL: the image's own file */
  int fd;               /* -1: none */
  uint64_t start, size; /* in the disk, bytes */
  uint64_t file_at;     /* flat: where in the file */
  uint64_t file_end;
  /* Sparse from here on. */
  uint32_t version, flags;
  uint32_t grain;                      /* bytes */
  uint32_t tables, entries;            /* grain tables, and entries in each */
  uint64_t directory_at, redundant_at; /* bytes; the second 0: none */
  uint64_t overhead;                   /* bytes before the first grain, as the header says */
  uint64_t descriptor_at, descriptor_size;
  uint32_t *directory, *redundant; /* sectors */
  struct {
    uint32_t index; /* of the table in the directory */
    uint32_t *entry;
  } cache[VMDK_CACHE];
  uint64_t next;           /* where the next grain goes */
  uint64_t last_at;        /* the compressed grain that was written last; 0: none */
  uint8_t *plain, *packed; /* buffers: a grain; one deflated */
  uint64_t plain_at;       /* the place of the grain in `plain`; 0: of none */
};

static inline bool vmdk_is_place(const struct vmdk_extent *e, uint32_t entry) {
  return entry > VMDK_ZEROED || (entry == VMDK_ZEROED && !(e->flags & VMDK_HAS_ZEROED));
}

struct vmdk_descriptor {
  uint32_t cid, parent_cid;
  /* Where the digits of both begin in the text, and how many there are (QEMU writes no leading zeros). */
  uint32_t cid_at, cid_digits, parent_at, parent_digits;
  char type[40], hint[4096];
  unsigned extents;
  struct vmdk_line { /* of an extent */
    enum vmdk_access access;
    enum vmdk_kind kind;
    uint64_t sectors, offset;
    char name[512];
  } * extent;
};

struct vmdk {
  struct vmdk_descriptor d;
  uint64_t descriptor_at; /* in b->fd */
  bool writing, cid_renewed;
  unsigned extents;
  struct vmdk_extent *extent;
};

/* vmdk_desc.c */
bool vmdk_is_descriptor(const char *text, unsigned len);
/* `text` is not terminated. Without `extents` such lines are passed over: they are in one file with the text.
 * *d is to be freed in any case. */
int vmdk_parse(struct vmdk_descriptor *d, const char *path, const char *text, uint32_t len, bool extents,
               const char **error);
void vmdk_free_descriptor(struct vmdk_descriptor *d);

/* vmdk_sparse.c */
int vmdk_sparse_open(struct block *b, struct vmdk_extent *e, unsigned flags, const char **error);
void vmdk_sparse_close(struct vmdk_extent *e);
uint32_t *vmdk_table(struct vmdk_extent *e, uint32_t index, int *result); /* NULL and 0: there is none */
/* `offset` is in the extent; one grain at most. */
int vmdk_sparse_read(struct block *b, struct vmdk_extent *e, uint64_t offset, void *buf, uint64_t len);
int vmdk_sparse_write(struct block *b, struct vmdk_extent *e, uint64_t offset, const void *buf, uint64_t len);
int vmdk_sparse_zero(struct block *b, struct vmdk_extent *e, uint64_t offset, uint64_t len);
int vmdk_sparse_status(struct vmdk_extent *e, uint64_t offset, uint64_t len, uint64_t *run);
bool vmdk_tables_fit(const struct vmdk_extent *e);
bool vmdk_entry_plausible(const struct vmdk_extent *e, uint32_t entry); /* a sector */
int vmdk_set_entry(struct vmdk_extent *e, uint64_t grain, uint32_t value);

/* vmdk_admin.c */
int vmdk_create(int fd, const char *path, const struct block_create *c, const char **error);
int vmdk_check(struct block *b, struct block_check *c, enum block_repair repair);
int vmdk_info(struct block *b, struct block_info *info);
int vmdk_change_backing(struct block *b, const char *name, const char *format, const char **error);

#endif
