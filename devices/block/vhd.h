/* SPDX-License-Identifier: MIT */
/* What the files of the VHD format share: the layout of its structures and the state of an open image. */
#ifndef DEVICES_BLOCK_VHD_H
#define DEVICES_BLOCK_VHD_H

#include "devices/block/format.h"

/* The footer: at the end of the file, and again at its beginning unless the disk is fixed. All big-endian. */
#define VHD_FOOTER 512u
#define VHD_FEATURES 8
#define VHD_VERSION 12
#define VHD_DATA_OFFSET 16 /* of the dynamic header */
#define VHD_TIMESTAMP 24
#define VHD_CREATOR 28
#define VHD_CREATOR_VERSION 32
#define VHD_CREATOR_OS 36
#define VHD_ORIGINAL_SIZE 40
#define VHD_CURRENT_SIZE 48
#define VHD_CYLINDERS 56
#define VHD_HEADS 58
#define VHD_SECTORS 59
#define VHD_TYPE 60
#define VHD_CHECKSUM 64
#define VHD_UUID 68

/* The dynamic header. */
#define VHD_DYNAMIC_HEADER 1024u
#define VHD_DYN_NEXT 8
#define VHD_DYN_TABLE 16
#define VHD_DYN_VERSION 24
#define VHD_DYN_ENTRIES 28
#define VHD_DYN_BLOCK_SIZE 32
#define VHD_DYN_CHECKSUM 36
#define VHD_DYN_PARENT_UUID 40
#define VHD_DYN_PARENT_NAME 64 /* 512 bytes, UTF-16 */
#define VHD_DYN_LOCATORS 576   /* 8 of 24 bytes: platform, space, length, 0, offset (64 bits) */
#define VHD_LOCATORS 8

#define VHD_EPOCH 946684800 /* 2000-01-01 */
#define VHD_FREE 0xffffffffu
#define VHD_MAX_GEOMETRY (65535ull * 16 * 255)
#define VHD_MAX_SECTORS 0xff000000ull /* 2040 GiB, as elsewhere */

enum vhd_type { VHD_FIXED = 2, VHD_DYNAMIC, VHD_DIFFERENCING };

struct vhd {
  uint8_t footer[VHD_FOOTER], header[VHD_DYNAMIC_HEADER];
  enum vhd_type type;
  bool front_damaged, back_damaged; /* the two copies of the footer */
  /* From here on not for fixed disks. */
  uint64_t table_at, data_at; /* the first byte behind all headers and tables */
  uint64_t next;              /* where the next block goes */
  uint64_t file_end;
  uint32_t entries, block_size, bitmap_size; /* the last with its padding */
  uint32_t *table;                           /* in sectors */
  uint8_t *bits;                             /* the bitmap of ... */
  uint32_t bits_of;                          /* ... this block; VHD_FREE: of none */
};

uint32_t vhd_sum(const uint8_t *at, unsigned len, unsigned field);
bool vhd_footer_valid(const uint8_t *footer);
uint64_t vhd_disk_size(const uint8_t *footer);
/* Entries that no sane writer leaves: outside of the file or overlapping. Sets `next`. 0 or -errno. */
int vhd_survey(struct vhd *v, uint64_t *outside, uint64_t *overlapping);

/* UTF-16 to UTF-8, up to a 0; backslashes become slashes. False: not text, or too long. (VHDX, too.) */
#define VHD_NAME_BYTES 4096u
bool vhd_from_utf16(const uint8_t *in, uint32_t len, bool big, char *out, size_t size);
/* A name as it can be looked for here: of paths with drives and hosts the last component; false: none. */
bool vhd_make_local(char *name);
int vhd_open_parent(struct block *b, struct vhd *v, const char **error);                    /* vhd_parent.c */
int vhd_create(int fd, const char *path, const struct block_create *c, const char **error); /* vhd_admin.c */
int vhd_check(struct block *b, struct block_check *c, enum block_repair repair);
int vhd_info(struct block *b, struct block_info *info);

#endif
