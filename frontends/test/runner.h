/* SPDX-License-Identifier: MIT */
/*
 * "dragoman test": scripts x images x CPU models. Each such cell has one process, the template, that brings
 * the machine to where tests begin and then forks a child for every test; the runner itself runs no guest.
 * Results come back as messages, reports are written in the order of the command line, whatever finishes
 * first.
 *
 * runner.c is the runner's own process, runner_worker.c what template and children do, runner_options.c the
 * command line, runner_report.c TAP, JUnit XML and JSON.
 */
#ifndef FRONTENDS_TEST_RUNNER_H
#define FRONTENDS_TEST_RUNNER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "frontends/test/script.h"

#define RUN_LIST 256
#define RUN_TESTS 100000u
#define RUN_JOBS 256u
#define RUN_LOG (64u << 10)    /* of a test's log in reports */
#define RUN_SCREEN (32u << 10) /* of a screen's text */
#define RUN_PATH 4096

struct run_options { /* strings are the command line's */
  const char *script[RUN_LIST], *image[RUN_LIST], *cpu[RUN_LIST], *dir[RUN_LIST], *option[RUN_LIST],
      *filter[RUN_LIST];
  unsigned scripts, images, cpus, dirs, options, filters;
  const char *output, *junit, *json;
  bool keep, update, list, help, sandbox, tap;
  unsigned jobs, host_seconds, retries;
};

enum run_action { RUN_WRONG = -1, RUN_TESTS_NOW, RUN_LIST_ONLY, RUN_HELP };

/* RUN_WRONG: error has a line. */
enum run_action run_parse(struct run_options *o, int argc, char **argv, char *error, size_t size);
extern const char run_usage[];
/* Does a filter want this test? Any of them: /regular expression/, a glob if it has * ? or [, else a part of
 * the name. */
bool run_wanted(const struct run_options *o, const char *full_name, const char *test_name);
/* 0, or -1 with a line. */
int run_check_filters(const struct run_options *o, char *error, size_t size);

struct cell { /* one script on one machine */
  unsigned number;
  const char *script, *image, *cpu; /* image, cpu: NULL, the script's own */
  char label[300];                  /* "screens.lua [disk.img, 486]" */
  char directory[300];              /* below the output directory */
  unsigned first, count;            /* tests */
  unsigned left;                    /* tests that are not done */

  enum { CELL_NEW, CELL_SETUP, CELL_READY, CELL_DONE } state;
  pid_t template;
  int fd;
  int64_t deadline; /* of the setup; host's clock, ms */
};

struct outcome {
  struct script_result result; /* screen is malloc'ed */
  char *log;                   /* malloc'ed, or NULL */
  uint64_t screen_hash;
  double fork_ms;     /* from fork to the first instruction, on the clock */
  double fork_cpu_ms; /* and of the child's CPU time */
};

struct run_test {
  struct cell *cell;
  unsigned index; /* of the script's */
  char *name;     /* the script's */
  char *full_name;
  char *files; /* its directory below the output directory */
  enum { TEST_WAITS, TEST_RUNS, TEST_DONE } state;
  int pidfd; /* -1: none */
  int64_t deadline;
  unsigned attempts;
  bool answered, killed, kept;
  struct outcome outcome;
};

struct run {
  struct run_options options;
  struct cell *cell;
  struct run_test *test;
  unsigned cells, tests;
  unsigned running;  /* jobs: setups and tests */
  unsigned reported; /* tests whose line is out */
  unsigned passed, failed, skipped, flaky;
  char output[RUN_PATH], temporary[RUN_PATH];
  char note[200]; /* what the sandbox cannot do here */
  int64_t begin;  /* ms */
  pid_t pid;
  bool terminal;
};

int64_t run_clock_ms(void);

/* --- messages, over a SOCK_SEQPACKET pair ------------------------------------------------------------- */

enum message_type { MESSAGE_READY = 1, MESSAGE_STARTED, MESSAGE_RESULT, MESSAGE_ENDED };

struct message {
  uint32_t type, test; /* test: index in the script */
  int32_t status;      /* ENDED: as wait returns it; READY: 1 ready, 0 not */
  uint32_t screen_length, log_length;
  uint32_t kept;
  uint64_t screen_hash;
  double fork_ms, fork_cpu_ms;
  struct script_result result;
  char note[200];
};

#define MESSAGE_MAX (sizeof(struct message) + RUN_LOG + RUN_SCREEN)

struct command {
  uint32_t test;
};

/* What a template does; does not return. */
_Noreturn void run_template(struct run *run, struct cell *cell, int fd);

/* --- reports ------------------------------------------------------------------------------------------ */

void report_tap_begin(const struct run *run, FILE *out);
void report_tap_test(const struct run *run, unsigned i, FILE *out);
void report_tap_end(const struct run *run, FILE *out);
/* 0 or -errno. */
int report_junit(const struct run *run, const char *path);
int report_json(const struct run *run, const char *path);

#endif
