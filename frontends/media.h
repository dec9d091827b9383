/* SPDX-License-Identifier: MIT */
/* The disk images of a machine: opening them for the command line, and media changes by the monitor. */
#ifndef FRONTENDS_MEDIA_H
#define FRONTENDS_MEDIA_H

#include "devices/board.h"
#include "frontends/loop.h"
#include "frontends/options.h"

#define MEDIA_NAME 16

struct media_slot {
  char drive[MEDIA_NAME]; /* as the monitor and board_change_media name it: ide1-cd0, floppy0 */
  struct block *block;
  bool removable;
};

struct media {
  struct machine *machine;
  const char *notice;        /* one line to tell the user once the machine stands, or NULL */
  struct loop_source source; /* see media_watch */
  int64_t ticked;            /* CLOCK_MONOTONIC, ms */
  bool snapshot;             /* -snapshot also holds for media put in later */
  struct media_slot slot[OPTIONS_DRIVES];
  struct { /* for devices that name them */
    const char *id;
    struct block *block;
  } none[OPTIONS_NONE_DRIVES];
};

/* Open what the options name and enter it into the board's configuration. 0, or -1 with one line in `error`.
 */
int media_open(struct media *media, const struct options *o, struct board_config *board, char *error,
               size_t size);
void media_close(struct media *media); /* after the machine has stopped using them */
/* By drive name ("ide1-cd0", also "cdrom", "fda", "fdb"). NULL if there is no such drive. */
struct media_slot *media_find(struct media *media, const char *name);
/* The image of -drive if=none,id=...; NULL: there is none. */
struct block *media_none(const struct media *media, const char *id);
/* path NULL: eject; format NULL: look at the file. 0, or -1 with one line in `error`. Under the machine lock.
 */
int media_change(struct media *media, struct media_slot *slot, const char *path, const char *format,
                 bool readonly, bool force, char *error, size_t size);
/* The block of a slot or id, whichever has the name; NULL: none. */
struct block *media_block(struct media *media, const char *name);
/* Have the loop look once a second whether images have something to write out (block_tick), even if the guest
 * leaves them alone. */
void media_watch(struct media *media, struct loop *loop);

#endif
