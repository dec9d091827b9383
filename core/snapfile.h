/* SPDX-License-Identifier: MIT */
/*
 * The file that a snapshot is: named sections, each compressed and with a checksum (docs/snapshots.md).
 * Nothing here knows what is in them.
 */
#ifndef CORE_SNAPFILE_H
#define CORE_SNAPFILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SNAPFILE_NAME 120u       /* longest name of a section */
#define SNAPFILE_RAW (96u << 20) /* longest section */

/* --- writing: to a file beside `path`, which takes its place at the end --- */
struct snapfile_out;
struct snapfile_out *snapfile_create(const char *path, char *error, size_t size); /* NULL: error has a line */
/* Sections of one name may be many. What goes wrong is told by snapfile_finish. */
void snapfile_put(struct snapfile_out *f, const char *name, const void *data, size_t len);
bool snapfile_failed(const struct snapfile_out *f); /* the rest need not be put */
uint64_t snapfile_size(const struct snapfile_out *f);
/* The file is complete and safe; or 0 is not what is returned, error has a line, and what was there before
 * still is. */
int snapfile_finish(struct snapfile_out *f, char *error, size_t size);
void snapfile_abandon(struct snapfile_out *f);

/* --- reading --- */
struct snapfile_section {
  char name[SNAPFILE_NAME + 1];
  uint64_t offset; /* of what is stored */
  uint32_t raw, stored;
  bool deflated;
};

struct snapfile_in {
  int fd;
  char *path;
  struct snapfile_section *section; /* in the file's order, without the last */
  size_t count;
};

/* Open and check all of it. 0 or -errno, and error has a line. */
int snapfile_open(struct snapfile_in *f, const char *path, char *error, size_t size);
void snapfile_close(struct snapfile_in *f);
/* The first section of this name, NULL: none. */
const struct snapfile_section *snapfile_find(const struct snapfile_in *f, const char *name);
/* Its contents, s->raw bytes, to be freed; NULL: error has a line. */
uint8_t *snapfile_read(const struct snapfile_in *f, const struct snapfile_section *s, char *error,
                       size_t size);

#endif
