/* SPDX-License-Identifier: MIT */
/*
 * Machines in forked processes. One boots in counted time and forks children, at once, each of which types
 * something else and runs on while the others do, and the parent too. Each must end in the very state that a
 * machine has which was booted and ran all the way in one process: their snapshots are compared, byte by
 * byte.
 *
 *   fork-check [-engine E] [-first INSNS] [-after INSNS] [-children N] [-typed TEXT] [-time N] [dragoman's
 * options]
 *
 * -typed: what all type, each with its number in front. -time N: also fork N times and print how long it
 * takes from before the fork to behind the child's first instruction.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"
#include "core/snapshot.h"
#include "frontends/keyqueue.h"
#include "frontends/session.h"
#include "translate/translate.h"

#define MAX_CHILDREN 16u
#define MAX_TIMES 1000u

static struct {
  uint64_t first, after;
  unsigned children, times;
  const char *engine, *typed;
  int argc;
  char **argv;
  char directory[2048];
} run_options = {
    .first = 60000000, .after = 20000000, .children = 3, .engine = "window", .typed = "echo x\n"};

static void die(const char *what) {
  fprintf(stderr, "fork-check: %s\n", what);
  exit(2);
}

static struct session *session_new(struct keyqueue **keys) {
  struct session *s = calloc(1, sizeof *s);
  if (!s)
    die("out of memory");
  s->config.engine = engine_find(run_options.engine, &s->config.engine_options);
  if (!s->config.engine)
    die("no such engine");
  if (options_parse(&s->options, run_options.argc, run_options.argv, s->error, SESSION_ERROR) < 0)
    die(s->error);
  s->options.snapshot = s->options.counted = s->options.no_reboot = true;
  if (session_begin(s) < 0 || session_finish(s) < 0)
    die(s->error);
  *keys = keyqueue_new(s->machine);
  return s;
}

static void boot(struct session *s) { machine_run_until(s->machine, run_options.first); }

/* What run `n` does from the boot on; 0 types nothing. */
static void go_on(struct session *s, struct keyqueue *keys, unsigned n) {
  char text[256], bad;
  snprintf(text, sizeof text, "%u%s", n, run_options.typed);
  machine_lock(s->machine);
  if (n && keyqueue_type(keys, text, &bad) < 0)
    die("cannot type that");
  machine_unlock(s->machine);
  machine_run_until(s->machine, run_options.first + run_options.after);
}

static void file_of(char *path, size_t size, const char *kind, unsigned n) {
  snprintf(path, size, "%s/%s%u", run_options.directory, kind, n);
}

static void save(struct session *s, const char *kind, unsigned n) {
  char path[2100], error[512];
  file_of(path, sizeof path, kind, n);
  machine_lock(s->machine);
  s->machine->stat.slices = s->machine->slice_seed =
      0; /* when a slice ends early is the engine's own matter */
  memset(s->machine->cpu[0]->fx.pad, 0, sizeof s->machine->cpu[0]->fx.pad);
  for (int i = 0; i < 8; i++) { /* the host's, not the guest's */
    memset(s->machine->cpu[0]->fx.st[i] + 10, 0, 6);
    memset(s->machine->cpu[0]->fx.xmm[8 + i], 0, 16);
  }
  if (machine_save(s->machine, path, NULL, error, sizeof error) < 0)
    die(error);
  machine_unlock(s->machine);
}

/* Run `what` in a process of its own. */
static pid_t spawn(void (*what)(unsigned n), unsigned n) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid < 0)
    die("cannot fork");
  if (pid == 0) {
    what(n);
    fflush(stdout);
    _exit(0);
  }
  return pid;
}

static bool wait_for(pid_t pid) {
  int status;
  return waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void whole_run(unsigned n) {
  struct keyqueue *keys;
  struct session *s = session_new(&keys);
  boot(s);
  go_on(s, keys, n);
  save(s, "whole", n);
}

static struct session *booted;
static struct keyqueue *booted_keys;

static void forked_run(unsigned n) {
  char error[512];
  if (machine_after_fork(booted->machine, error, sizeof error) < 0)
    die(error);
  go_on(booted, booted_keys, n);
  save(booted, "forked", n);
}

static bool same_files(unsigned n) {
  char a[2100], b[2100], command[4400];
  file_of(a, sizeof a, "whole", n);
  file_of(b, sizeof b, "forked", n);
  snprintf(command, sizeof command, "cmp '%s' '%s'", a, b);
  bool same = system(command) == 0;
  unlink(a);
  unlink(b);
  return same;
}

/* --- how long it takes -------------------------------------------------------------------------------- */

struct times {
  double start, forked, copied, ran;
};

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static struct times *times; /* shared */

static void first_instruction(unsigned n) {
  char error[512];
  struct times *t = &times[n];
  t->forked = now();
  if (machine_after_fork(booted->machine, error, sizeof error) < 0)
    die(error);
  t->copied = now();
  machine_run_until(booted->machine, booted->machine->cpu[0]->icount + 1);
  t->ran = now();
}

static int by_total(const void *a, const void *b) {
  const struct times *x = a, *y = b;
  double d = (x->ran - x->start) - (y->ran - y->start);
  return d < 0 ? -1 : d > 0;
}

static void measure(void) {
  char error[512];
  times = mmap(NULL, MAX_TIMES * sizeof *times, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (times == MAP_FAILED)
    die("out of memory");
  for (unsigned n = 0; n < run_options.times; n++) {
    times[n].start = now();
    if (machine_before_fork(booted->machine, error, sizeof error) < 0)
      die(error);
    if (!wait_for(spawn(first_instruction, n)))
      die("a child failed");
  }
  qsort(times, run_options.times, sizeof *times, by_total);
  const struct times *t = &times[run_options.times / 2];
  printf("fork to first instruction, median of %u: %.1f ms (fork %.1f, copy %.1f, run %.1f); least %.1f, "
         "most %.1f\n",
         run_options.times, t->ran - t->start, t->forked - t->start, t->copied - t->forked,
         t->ran - t->copied, times[0].ran - times[0].start,
         times[run_options.times - 1].ran - times[run_options.times - 1].start);
}

/* --- the check ---------------------------------------------------------------------------------------- */

static int check(void) {
  unsigned passed = 0, failed = 0, runs = run_options.children + 1;
  char error[512];
  pid_t pid[MAX_CHILDREN + 1];
  for (unsigned n = 0; n < runs; n++)
    if (!wait_for(spawn(whole_run, n)))
      die("a run in one process failed");
  booted = session_new(&booted_keys);
  boot(booted);
  if (machine_before_fork(booted->machine, error, sizeof error) < 0)
    die(error);
  for (unsigned n = 1; n < runs; n++)
    pid[n] = spawn(forked_run, n);
  if (run_options.times)
    measure();
  go_on(booted, booted_keys, 0);
  save(booted, "forked", 0);
  for (unsigned n = 0; n < runs; n++) {
    bool good = (n == 0 || wait_for(pid[n])) && same_files(n);
    printf("%s %u: %s\n", n ? "child" : "parent", n,
           good ? "as if it had never been forked" : "another state");
    passed += good;
    failed += !good;
  }
  keyqueue_free(booted_keys);
  session_end(booted);
  rmdir(run_options.directory);
  printf("%u passed, %u failed\n", passed, failed);
  return failed != 0;
}

static void parse(int argc, char **argv) {
  const char *directory = getenv("TMPDIR");
  run_options.argv = calloc((size_t)argc + 1, sizeof *argv);
  if (!run_options.argv)
    die("out of memory");
  run_options.argv[run_options.argc++] = argv[0];
  for (int i = 1; i < argc; i++) {
    const char *value = i + 1 < argc ? argv[i + 1] : "";
    if (!strcmp(argv[i], "-first"))
      run_options.first = strtoull(value, NULL, 0);
    else if (!strcmp(argv[i], "-after"))
      run_options.after = strtoull(value, NULL, 0);
    else if (!strcmp(argv[i], "-children"))
      run_options.children = (unsigned)strtoul(value, NULL, 0) % (MAX_CHILDREN + 1);
    else if (!strcmp(argv[i], "-time"))
      run_options.times = (unsigned)strtoul(value, NULL, 0) % MAX_TIMES;
    else if (!strcmp(argv[i], "-engine"))
      run_options.engine = value;
    else if (!strcmp(argv[i], "-typed"))
      run_options.typed = value;
    else {
      run_options.argv[run_options.argc++] = argv[i];
      continue;
    }
    i++;
  }
  snprintf(run_options.directory, sizeof run_options.directory, "%s/fork-check.XXXXXX",
           directory ? directory : "/var/tmp");
  if (!mkdtemp(run_options.directory))
    die("cannot make a directory in TMPDIR");
}

int main(int argc, char **argv) {
  parse(argc, argv);
  setvbuf(stdout, NULL, _IOLBF, 0);
  return check();
}
