/* SPDX-License-Identifier: MIT */
/*
 * A whole machine to a file and back (docs/snapshots.md), and its copy in a child process. What is saved:
 * CPU, clock, memory, every device's fields and timers, the parts and stores that the board and front ends
 * have added. A machine that is loaded into must have been made with the same options; it then goes on
 * exactly where the other was.
 *
 * Callers hold the machine lock.
 */
#ifndef CORE_SNAPSHOT_H
#define CORE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/state.h"

struct machine;
struct snapshot_writer;

/* Something with contents by offset besides memory: a disk's overlay. */
struct snapshot_store {
  const char *name; /* unique, e.g. "disk:ide0-hd0" */
  void *opaque;
  /* A line that says what it belongs to; on load `match` is given that of the file. -errno: error has a line.
   */
  void (*about)(void *opaque, char *text, size_t size);
  int (*match)(void *opaque, const char *text, char *error, size_t size);
  int (*save)(void *opaque, struct snapshot_writer *w); /* 0 or -errno */
  int (*clear)(void *opaque);                           /* before the first put: 0 or -errno */
  int (*put)(void *opaque, uint64_t offset, const void *data, size_t len);
  /* See machine_before_fork and machine_after_fork. */
  int (*freeze)(void *opaque, char *error, size_t size);
  int (*forked)(void *opaque, char *error, size_t size);
  struct snapshot_store *next;
};

/* For save: what is at `offset`. */
void snapshot_put(struct snapshot_writer *w, uint64_t offset, const void *data, size_t len);

void machine_add_part(struct machine *m, struct state_part *part);
void machine_remove_part(struct machine *m, struct state_part *part);
void machine_add_store(struct machine *m, struct snapshot_store *store);
void machine_remove_store(struct machine *m, struct snapshot_store *store);

/* Told now and then how far it is; NULL allowed. */
struct snapshot_progress {
  void (*tell)(void *opaque, unsigned percent);
  void *opaque;
};

/* 0, or -errno and `error` has a line. The file appears, or is replaced, when it is complete. */
int machine_save(struct machine *m, const char *path, const struct snapshot_progress *progress, char *error,
                 size_t size);
/*
 * 0; or -errno, `error` has a line, and the machine is as it was. If it cannot be (a read error half way), it
 * is told to quit. A machine that was powered off is paused then; else it stays running or paused.
 */
int machine_load(struct machine *m, const char *path, char *error, size_t size);

struct snapshot_info {
  int64_t now; /* the machine's time, ns */
  uint64_t icount;
};
/* What kind of snapshot is it? All of it is checked. 0, or -errno and a line. */
int snapshot_info(const char *path, struct snapshot_info *info, char *error, size_t size);

/*
 * A machine in a child process. Before each fork: machine_before_fork, while the machine does not run. In the child, at
 * once: machine_after_fork, which gives it memory and disk overlays of its own; the images below must not be written to
 * by anybody. Several children may copy at the same time; the parent's machine, should it run again, first waits until
 * they have. Only the thread that calls fork lives on in the child. 0, or -errno and a line: the child's machine cannot
 * be used then.
 */
int machine_before_fork(struct machine *m, char *error, size_t size);
int machine_after_fork(struct machine *m, char *error, size_t size);
/* Wait until no child copies any more. */
void machine_settle_forks(struct machine *m);

#endif
