/* SPDX-License-Identifier: MIT */
/*
 * What tools do with disk images besides reading and writing them: making, checking, describing, converting.
 * Functions return 0 or -errno, and a line of text in *error.
 */
#ifndef DEVICES_BLOCK_IMAGE_H
#define DEVICES_BLOCK_IMAGE_H

#include "devices/block/block.h"

/* qemu-img create: `options` is -o's text, "key=value,key=value" (may be NULL), see block_option(). */
struct block_create {
  uint64_t size;                        /* of the guest's disk: a multiple of SECTOR */
  const char *backing, *backing_format; /* NULL: none; the name is stored as it is */
  const char *options;
};

struct block_check {
  bool verbose;                /* given: a line on stderr for each finding */
  uint64_t errors;             /* could not be checked */
  uint64_t corruptions, leaks; /* that remain */
  uint64_t corruptions_fixed, leaks_fixed;
  uint64_t clusters, allocated, compressed,
      fragmented;     /* data clusters of the disk; those that are there ... */
  uint64_t image_end; /* offset; 0: not known */
};
enum block_repair { BLOCK_REPAIR_NONE, BLOCK_REPAIR_LEAKS, BLOCK_REPAIR_ALL };

/* For `info`: what every format has, and lines of its own ("compat", "1.1"). */
struct block_info {
  uint64_t cluster_size; /* 0: none */
  bool compressed, encrypted, dirty;
  unsigned items;
  struct block_info_item {
    char key[32], value[96];
    bool text; /* JSON wants it in quotes */
  } item[16];
};

/* An internal snapshot. */
struct block_snapshot {
  char id[64], name[256];
  uint64_t date_ns, vm_clock_ns, state_size, disk_size; /* date since 1970 */
};
#define BLOCK_SNAPSHOTS 1024u

/* What a part of an image is. */
enum block_state {
  BLOCK_STATE_DATA,
  BLOCK_STATE_ZERO,       /* reads as zeros, whatever the backing holds */
  BLOCK_STATE_UNALLOCATED /* the backing's; zeros if there is none */
};

/* The value of a key in -o's text; false: not given. "key" alone is "on". */
bool block_option(const char *options, const char *key, char *value, size_t size);
/* "64k", "1M", plain bytes ... false: not a size. */
bool block_parse_size(const char *text, uint64_t *size);

const char *block_format_name_at(unsigned index); /* NULL: past the last */
bool block_format_known(const char *name);
/* Make (or make anew) the file. With a backing file, size 0 takes the backing's. */
int block_create(const char *path, const char *format, const struct block_create *c, const char **error);
/* -ENOTSUP: this format has nothing to check. */
int block_check(struct block *b, struct block_check *result, enum block_repair repair, const char **error);
/* Always succeeds; what is not known is zero. */
void block_info(struct block *b, struct block_info *info);
uint64_t block_file_bytes(const struct block *b);        /* that the file takes on its disk */
const char *block_backing_name(const struct block *b);   /* as the image says; NULL: none */
const char *block_backing_format(const struct block *b); /* as the image says; NULL: not said */
/* What is at `offset` in this image alone, *run bytes long. An enum block_state or -errno. */
int block_status(struct block *b, uint64_t offset, uint64_t len, uint64_t *run);
/* The same through the whole chain; *depth: which image holds it (0: this one). Never BLOCK_STATE_UNALLOCATED
 * but if no image has it. */
int block_map(struct block *b, uint64_t offset, uint64_t len, uint64_t *run, unsigned *depth);
int block_write_zeroes(struct block *b, uint64_t offset, uint64_t len);
/* A cluster compressed, if the format can do that, otherwise as it is. */
int block_write_compressed(struct block *b, uint64_t offset, const void *buf, uint64_t len);
bool block_can_compress(const struct block *b);
int block_resize(struct block *b, uint64_t size, const char **error);
/* Only what the image says; nothing of its contents changes. */
int block_change_backing(struct block *b, const char *name, const char *format, const char **error);
/* What BLOCK_SNAPSHOT has kept apart goes to the image; or everything that the image holds goes to its
 * backing file, after that (`empty`) the image is emptied. The image must be writable. `progress` may be
 * NULL. */
bool block_can_commit(const struct block *b);
int block_commit(struct block *b, bool empty, void (*progress)(uint64_t done, uint64_t all),
                 const char **error);
/* Internal snapshots. The number of them or -errno; up to `max` are listed. -ENOTSUP: not in this format. */
int block_snapshots(struct block *b, struct block_snapshot *list, unsigned max);
enum block_snapshot_action { BLOCK_SNAPSHOT_CREATE, BLOCK_SNAPSHOT_APPLY, BLOCK_SNAPSHOT_DELETE };
int block_snapshot(struct block *b, enum block_snapshot_action action, const char *name, const char **error);

#endif
