/* SPDX-License-Identifier: MIT */
/*
 * Recording what reaches a counted machine from outside, and applying it again at the same instruction.
 *
 * A recording is a file of records, each with its length, a checksum and its place: resets so far,
 * instruction count, virtual time. Inputs take effect only where the machine is at rest: the CPU has just
 * arrived at an instruction count or halts, and no timer is due. A replay can stop at exactly the same place.
 * Between the inputs stand checkpoints, hashes of CPU and devices and, more rarely, of all memory and the
 * screen, that a replay is compared with. A recording that was cut off is good up to its last whole record.
 *
 * In a replay live input is ignored. Everything here wants the machine lock.
 */
#ifndef CORE_REPLAY_H
#define CORE_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct chardev;
struct machine;
struct net_cable;
struct replay;

#define REPLAY_STREAMS 8
#define REPLAY_CABLES 8

struct replay_place {
  uint32_t resets;
  uint64_t icount;
  int64_t ns; /* of virtual time */
};

enum replay_kind {
  REPLAY_HEADER = 1,
  REPLAY_KEY,
  REPLAY_MOUSE,
  REPLAY_TABLET,
  REPLAY_STREAM,  /* bytes for a serial or parallel port */
  REPLAY_FRAME,   /* for a network card */
  REPLAY_COMMAND, /* of the monitor, that changes the machine */
  REPLAY_RESET,
  REPLAY_POWERDOWN,
  REPLAY_QUIT,
  REPLAY_CHECK,    /* hashes of CPU and devices */
  REPLAY_MEMORY,   /* the same, and of memory and screen */
  REPLAY_END,      /* hashes, state and exit status */
  REPLAY_SNAPSHOT, /* the machine was saved, see replay_set_snapshots */
};

/* What the file says about the machine, first of all. */
struct replay_header {
  int64_t rtc_base;        /* the time of day at power-on */
  const char *about;       /* lines of "option=value", which a replay must agree with */
  const char *const *args; /* the command line, NULL at the end */
};

struct replay_hashes {
  uint64_t cpu, devices, memory, screen;
};

/* A new recording at `path`. NULL, with one line in `error`. */
struct replay *replay_record(const char *path, const struct replay_header *h, char *error, size_t size);
/* An old one, read and checked to its end. */
struct replay *replay_play(const char *path, char *error, size_t size);
void replay_free(struct replay *r);
bool replay_is_playing(const struct replay *r);
const struct replay_header *replay_header(const struct replay *r);
/* First line of `about` that differs, as "recorded X, now Y" in `error`; true if none does. */
bool replay_fits(const struct replay *r, const char *about, char *error, size_t size);
/* The last whole record's place; *complete: the run came to its end in the file. */
struct replay_place replay_end(const struct replay *r, bool *complete);
/* From now on `m` is recorded, or fed. Before its board is made. */
void replay_attach(struct replay *r, struct machine *m);

/* What input comes through, once the board is made: keys, pointers and the power button; ports; network
 * cables. */
void replay_add_input(struct replay *r);
void replay_add_stream(struct replay *r, unsigned number, struct chardev *c);
void replay_add_cable(struct replay *r, unsigned number, struct net_cable *c);
void replay_set_command(struct replay *r, void (*run)(void *opaque, char *line), void *opaque);
/* A command that changes the machine is about to run: record it. False: it must not, this is a replay. */
bool replay_command(struct replay *r, const char *line);
/*
 * Run fn once the machine is at rest, or at once if it is or nothing is recorded: for what timers do in the
 * name of somebody outside.
 */
void replay_defer(struct machine *m, void (*fn)(void *opaque), void *opaque);

/* Checkpoints every so many instructions, memory with every so many of them; before the run. 0: the defaults.
 */
void replay_set_checks(struct replay *r, uint64_t every, unsigned memory_every);
/* Recording: every so many seconds of the guest the machine is saved beside the file, as FILE.COUNT.snap. 0:
 * never. */
void replay_set_snapshots(struct replay *r, uint32_t seconds);
/*
 * Playing: to the last of these that is not behind `icount`, if the machine is not nearer already. 0; or -1,
 * a line in `error`, and the machine is as it was.
 */
int replay_go_back(struct replay *r, uint64_t icount, char *error, size_t size);
/* Pause when the count is reached (UINT64_MAX: never). */
void replay_set_break(struct replay *r, uint64_t icount);
void replay_set_quiet(struct replay *r); /* nothing on standard error */
void replay_info(struct replay *r, FILE *out);
/* The first thing that differed, or NULL. */
const char *replay_difference(const struct replay *r);

struct replay_hashes replay_hash(struct machine *m, bool all); /* all: memory and screen, too */

/* --- for the CPU loop --- */
bool replay_at_rest(const struct machine *m);
void replay_poll(struct machine *m);            /* at rest: checkpoints, recorded input, what was deferred */
uint64_t replay_limit(const struct machine *m); /* the next count to stop at; UINT64_MAX */
int64_t
replay_deadline(const struct machine *m); /* while the CPU halts: the next time to stop at; INT64_MAX */
void replay_finish(struct machine *m);    /* the machine has ended */
/* A request of the outside: true: do it. */
bool replay_request(struct machine *m, enum replay_kind kind, int32_t value);

#endif
