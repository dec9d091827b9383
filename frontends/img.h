/* SPDX-License-Identifier: MIT */
/* dragoman-img: disk images from the command line, in qemu-img's words. */
#ifndef FRONTENDS_IMG_H
#define FRONTENDS_IMG_H

#include <stdbool.h>
#include <stdint.h>

#include "devices/block/image.h"

/* argv[0] is the subcommand. Returns the exit status. */
int img_main(int argc, char **argv);

/* The rest is between img*.c. */

#define IMG_WORDS 64

/* A subcommand's line, taken apart. */
struct img_args {
  const char *command;
  const char *f, *F, *O, *o, *b, *B, *l, *r, *S, *snapshot_name; /* -f raw and so on */
  char options[1024];                                            /* -o, more than once is joined */
  enum { IMG_NO_ACTION, IMG_LIST, IMG_CREATE, IMG_APPLY, IMG_DELETE } action;
  bool compress, progress, quiet, json, no_create, unsafe, strict, empty_stays, shrink, chain;
  unsigned words;
  const char *word[IMG_WORDS];
};

/* An error line; returns 1. */
int img_error(const struct img_args *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Opens or says why not. */
struct block *img_open(const struct img_args *a, const char *path, const char *format, unsigned flags);
/* -p: "    (12.34/100%)". */
void img_progress(uint64_t done, uint64_t all);
void img_progress_end(void);
/* A number as qemu-img shows sizes: 1.5 GiB. */
const char *img_size(uint64_t bytes, char text[32]);

int img_create(const struct img_args *a);
int img_info(const struct img_args *a);
int img_map(const struct img_args *a);
int img_check(const struct img_args *a);
int img_convert(const struct img_args *a);
int img_compare(const struct img_args *a);
int img_commit(const struct img_args *a);
int img_snapshot(const struct img_args *a);
int img_resize(const struct img_args *a);
int img_rebase(const struct img_args *a);

#endif
