/* SPDX-License-Identifier: MIT */
/* What the files of the VHDX format share. All numbers in the file are little-endian. */
#ifndef DEVICES_BLOCK_VHDX_H
#define DEVICES_BLOCK_VHDX_H

#include "devices/block/format.h"

#define VHDX_GUID 16u
#define VHDX_HEADER 4096u

struct vhdx_patch { /* what the log lays over the file */
  uint64_t at, len;
  uint8_t *data; /* 4096 bytes; NULL: zeros */
};

struct vhdx {
  uint8_t header[VHDX_HEADER]; /* the newer one */
  bool header_damaged[2], regions_damaged[2];
  bool dirty; /* the log was not empty */
  uint64_t table_at, table_len, metadata_at, metadata_len;
  uint32_t block_size, sector_size, ratio; /* payload blocks for each block of bitmaps */
  uint64_t blocks;
  bool fixed, has_parent;
  struct vhdx_patch *patch;
  uint32_t patches;
  uint64_t patched_from, patched_to;
};

#define VHDX_LOG_GUID 48
#define VHDX_DATA_GUID 32
#define VHDX_LOG_VERSION 64
#define VHDX_VERSION 66
#define VHDX_LOG_LENGTH 68
#define VHDX_LOG_AT 72

uint32_t vhdx_crc(uint32_t crc, const void *data, uint64_t len); /* CRC-32C; begins and ends with 0 */
/* The file with the log over it; zeros behind its end. */
int vhdx_fetch(struct block *b, const struct vhdx *v, uint64_t at, void *buf, uint64_t len);
/* vhdx_log.c: read the log, if there is one, into v->patch. */
int vhdx_replay(struct block *b, struct vhdx *v, const char **error);
/* vhdx_meta.c: regions and metadata; the parent. */
int vhdx_read_regions(struct block *b, struct vhdx *v, const char **error);
int vhdx_read_metadata(struct block *b, struct vhdx *v, const char **error);
int vhdx_open_parent(struct block *b, struct vhdx *v, const char **error);

#endif
