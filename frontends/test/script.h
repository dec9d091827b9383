/* SPDX-License-Identifier: MIT */
/*
 * A test script: a Lua 5.4 program that describes a machine, how it comes to the point where tests begin
 * (setup), and tests. docs/testing.md has the vocabulary. Script and machine run in the caller's thread:
 * whoever runs the tests may fork between script_setup and script_run, and does what the machine needs then.
 *
 *   script_load, script_setup, script_run for one test (in a process of its own, or after another),
 * script_close
 *
 * Time is counted; time-outs are in guest time. Only the ceilings of host time (CPU seconds of this process)
 * and of Lua's memory are the host's, against scripts that run away.
 */
#ifndef FRONTENDS_TEST_SCRIPT_H
#define FRONTENDS_TEST_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/machine.h"
#include "frontends/test/crash.h"

struct script;

struct script_config {     /* strings must outlive the script */
  const char *path;        /* the .lua file; what it refers to lies in its directory, or in one of: */
  const char *const *dirs; /* further directories that it may read from */
  unsigned dir_count;
  const char *image; /* --image: put into the drive that the script means for it; NULL: none */
  const char *const
      *options; /* words of the command line behind the script's own; -m, -cpu, -accel ... override */
  unsigned option_count;
  const char *output;    /* where screenshots and logs go (made when needed) */
  bool update;           /* wait_screen accepts what it sees */
  unsigned host_seconds; /* ceiling for loading, for setup, and for each test; 0: 600 */
  bool ignore_crashes;   /* watch_crashes(false) from the beginning */
  FILE *log;             /* what the script logs, each line behind "# "; NULL: nowhere */
};

enum verdict { VERDICT_PASS, VERDICT_FAIL, VERDICT_SKIP };

struct script_result {
  enum verdict verdict;
  char message[2048]; /* why it failed, or was skipped */
  char file[256];     /* where: the script's own file or one that it requires; line 0: nowhere */
  int line;
  char trace[2048];    /* the calls that led there */
  int64_t time;        /* guest's, ns since power-on */
  uint64_t icount;     /* instructions */
  double host_seconds; /* CPU time that it took */
  struct crash crash;  /* kind CRASH_NONE: that is not why it failed */
  char *screen;        /* what was written on the screen at the end of a failure, UTF-8; NULL: nothing */
};

/* NULL with a line in `error` that names file and line. */
struct script *script_load(const struct script_config *config, char *error, size_t size);
void script_close(struct script *s);

unsigned script_test_count(const struct script *s);
const char *script_test_name(const struct script *s, unsigned i);

/* Make the machine and run what the script gave to setup(). False: result says why. */
bool script_setup(struct script *s, struct script_result *result);
/* Run a test on the machine as it is. */
void script_run(struct script *s, unsigned i, struct script_result *result);
void script_result_free(struct script_result *r);

/* NULL before script_setup. */
struct machine *script_machine(struct script *s);
/* From here on pictures and logs go there, under names that begin with `prefix`. */
void script_set_output(struct script *s, const char *dir, const char *prefix);
void script_set_log(struct script *s, FILE *log);
/* Write what shows the machine's last state: PREFIX.png and PREFIX-serial0.log ... 0 or -errno. */
int script_save(struct script *s);
/* Snapshots that the script has made since its output directory was set go. */
void script_drop_snapshots(struct script *s);
/* The last distinct screens as one picture. 0, or negative: there is none. */
int script_watch_save(struct script *s, const char *path);
/* Of what is shown now; 0: nothing. */
uint64_t script_screen_hash(struct script *s);

#endif
