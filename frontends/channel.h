/* SPDX-License-Identifier: MIT */
/*
 * Channels: the host's ends of chardevs. A specification (-serial, -parallel, -debugcon, -monitor) is one of
 *   stdio | file:PATH | unix:PATH[,server][,nowait] | tcp:HOST:PORT[,server][,nowait] | pty | null | vc |
 * mon:SPEC Opening checks and reserves; nothing is written (a file is not truncated) and no input is taken
 * before channel_start_all. vc (a console in the window) is accepted and behaves as null.
 *
 * Everything here is called under the machine lock, or before the CPU thread starts.
 */
#ifndef FRONTENDS_CHANNEL_H
#define FRONTENDS_CHANNEL_H

#include <stdbool.h>
#include <stdio.h>

#include "core/chardev.h"
#include "core/machine.h"
#include "frontends/loop.h"

struct channel;

struct channel_set {
  struct loop *loop;
  struct machine *machine; /* set before channel_start_all */
  struct channel *first;
};

struct channel { /* every kind of channel begins with this */
  struct chardev dev;
  struct channel_set *set;
  struct channel *next;
  char description[160];                                     /* for info chardev */
  int (*start)(struct channel *c, char *error, size_t size); /* NULL: nothing to do */
  void (*destroy)(struct channel *c);                        /* flush, close, free */
  void (*opened)(
      void *opaque); /* the user's: somebody is there now (connected, or focus gained). NULL allowed */
  void *opened_opaque;
};

/* *out = NULL for "none". 0, or -1 and one line in `error`. The set owns the channel. */
int channel_open(struct channel_set *set, const char *label, const char *spec, struct channel **out,
                 char *error, size_t size);
int channel_start_all(struct channel_set *set, char *error, size_t size);
void channel_close_all(struct channel_set *set);
void channel_info(struct channel_set *set, FILE *out); /* info chardev */

/* "mon:SPEC": *out is the serial side; the monitor side is found here afterwards (NULL for other channels).
 */
struct channel *channel_mux_monitor(struct channel *serial);

/* --- between the channel*.c files --- */
void channel_add(struct channel_set *set, struct channel *c, const char *label); /* into the list */
int channel_open_stdio(struct channel_set *set, const char *label, bool keep_signals, struct channel **out,
                       char *error, size_t size);
int channel_open_pty(struct channel_set *set, const char *label, struct channel **out, char *error,
                     size_t size);
int channel_open_socket(struct channel_set *set, const char *label, const char *spec, struct channel **out,
                        char *error, size_t size);
struct channel *channel_mux_new(struct channel_set *set, const char *label, struct channel *base);
/* Host side failed (disk full): say so and end the run with status 1. */
void channel_fail(struct channel *c, int error);

#endif
