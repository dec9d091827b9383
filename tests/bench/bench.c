/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's driver. Starts the native program and each emulator once, and then lets them run kernel by
 * kernel in turn, several times, each while the others wait: what is compared ran within a second or so of
 * the other. An emulator's time is the CPU time of its process, user and system, all threads, between the
 * guest's lines (guest.c), so other load on the machine matters little. Results that differ from the native
 * ones, or from one run to the next, are errors, except where an engine is known to compute differently
 * (QEMU's x87 functions).
 *
 *   bench -n NATIVE [-c DIRECTORY] -g GUEST [-i INITRD] -d DRAGOMAN -q QEMU [-e ENGINES] [-f FILTER] [-r
 * RUNS] [-t TICKS]
 *
 * With an INITRD the guest is Linux (linux_init.c), and the CPU time that it took to be ready is a row, too.
 * ENGINES is a list: native, qemu, dragoman (as it comes), or what its -accel takes: tlb, interp, ...
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "table.h"

enum { SILENCE_MS = 120000, STARTS = 3 };

static struct program {
  pid_t pid; /* 0: not running */
  int in, out, starts;
  int number[ROWS]; /* of the row's kernel, as the program counts; -1: it has none */
  double start;     /* CPU time at the last S line */
} programs[ENGINES];

static const char starting[] = "boot-to-user-space";
static struct table table;
static const char *native, *directory, *dragoman, *qemu = "qemu-system-i386", *guest, *initrd, *filter = "";
static int runs = 3, ticks = 10, errors;

/* CPU time in ns of another process, all its threads. */
static double cpu_time(pid_t pid) {
  clockid_t id;
  struct timespec t = {0};
  if (clock_getcpuclockid(pid, &id) || clock_gettime(id, &t))
    return 0;
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* guest_ns: on the guest's own clock; 0 if it doesn't say. */
static void add_sample(int e, const char *name, double ns, double guest_ns, unsigned checksum) {
  struct row *r = row_find(&table, name);
  if (!r)
    return;
  struct cell *c = &r->cell[e];
  int wrong = c->samples && c->checksum != checksum;
  if (c->samples < RUNS) {
    c->guest_ns[c->samples] = guest_ns;
    c->ns[c->samples++] = ns;
  }
  c->checksum = checksum;
  if (table.native >= 0 && e != table.native && r->cell[table.native].samples &&
      !(e == table.qemu && !strcmp(name, "trigonometry-x87")))
    wrong |= r->cell[table.native].checksum != checksum;
  if (wrong) {
    fprintf(stderr, "bench: %s: wrong result under %s: %08x\n", name, table.engine[e], checksum);
    errors++;
  }
}

enum meaning { GOES_ON, RESULT, READY, END };

static enum meaning take_line(int e, const char *line) {
  char name[40], group[16];
  double iterations, ns;
  unsigned checksum, number;
  struct program *p = &programs[e];
  switch (line[0]) {
  case 'K':
    if (sscanf(line, "K %u %39s %15s", &number, name, group) == 3) {
      struct row *r = row_add(&table, name, group);
      if (r)
        p->number[r - table.row] = (int)number;
    }
    return GOES_ON;
  case 'B': return READY;
  case 'S': p->start = cpu_time(p->pid); return GOES_ON;
  case 'E': {
    double used = cpu_time(p->pid) - p->start;
    double guest_ns = 0;
    if (sscanf(line, "E %39s %15s %lf %x %lf", name, group, &iterations, &checksum, &used) < 4)
      return END;
    sscanf(line, "E %*s %*s %*s %*s @%lf", &guest_ns);
    add_sample(e, name, used / iterations, guest_ns / iterations, checksum);
    return RESULT;
  }
  case 'R':
    if (sscanf(line, "R %39s %15s %lf %x %lf", name, group, &iterations, &checksum, &ns) == 5)
      add_sample(e, name, ns / iterations, 0, checksum);
    return RESULT;
  case 'F':
    fprintf(stderr, "bench: %s: %s\n", table.engine[e], line + 2);
    errors++;
    return END;
  default: return GOES_ON;
  }
}

/* Takes lines until one says more than "goes on". */
static enum meaning listen_to(int e) {
  char line[512], c;
  size_t n = 0;
  for (;;) {
    struct pollfd p = {programs[e].out, POLLIN, 0};
    int ready = poll(&p, 1, SILENCE_MS);
    if (ready < 0 && errno == EINTR)
      continue;
    if (ready <= 0) {
      fprintf(stderr, "bench: %s: nothing heard for %d s\n", table.engine[e], SILENCE_MS / 1000);
      return END;
    }
    if (read(programs[e].out, &c, 1) != 1)
      return END;
    if (c == '\r')
      continue;
    if (c != '\n' && n < sizeof line - 1) {
      line[n++] = c;
      continue;
    }
    line[n] = 0;
    n = 0;
    enum meaning m = take_line(e, line);
    if (m != GOES_ON)
      return m;
  }
}

static void execute(int e) {
  char append[256], time[16], accel[80];
  snprintf(append, sizeof append, "%sticks=%d filter=%s", initrd ? "console=ttyS0 quiet loglevel=1 " : "",
           ticks, filter);
  snprintf(time, sizeof time, "%d", ticks * 6);
  snprintf(accel, sizeof accel, "%s", e == table.qemu ? "tcg" : table.engine[e]);
  const char *args[32] = {e == table.qemu ? qemu : dragoman};
  static const char *const machine[] = {
      "-m",      "512",   "-display", "none", "-nodefaults", "-vga",    "std",
      "-serial", "stdio", "-monitor", "none", "-no-reboot",  "-device", "isa-debug-exit,iobase=0xf4,iosize=4",
      "-kernel",
  };
  int n = 1;
  for (size_t i = 0; i < sizeof machine / sizeof *machine; i++)
    args[n++] = machine[i];
  args[n++] = guest;
  args[n++] = "-append";
  args[n++] = append;
  if (strcmp(table.engine[e], "dragoman")) {
    args[n++] = "-accel";
    args[n++] = accel;
  }
  if (initrd) {
    args[n++] = "-initrd";
    args[n++] = initrd;
  }
  const char *alone[] = {native, filter, time, NULL};
  const char *rooted[] = {native, directory, filter, NULL};
  const char *const *command = e != table.native ? args : directory ? rooted : alone;
  execvp(command[0], (char *const *)command);
  _exit(127);
}

static void stop(int e) {
  struct program *p = &programs[e];
  if (!p->pid)
    return;
  kill(p->pid, SIGKILL);
  waitpid(p->pid, NULL, 0);
  close(p->in);
  close(p->out);
  p->pid = 0;
}

static int start(int e) {
  struct program *p = &programs[e];
  int in[2], out[2];
  if (pipe(in) || pipe(out))
    return -1;
  p->starts++;
  p->pid = fork();
  if (p->pid == 0) {
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    for (int fd = 3; fd < 64; fd++)
      close(fd);
    execute(e);
  }
  close(in[0]);
  close(out[1]);
  p->in = in[1];
  p->out = out[0];
  for (int i = 0; i < ROWS; i++)
    p->number[i] = -1;
  if (p->pid > 0 && listen_to(e) == READY)
    return 0;
  stop(e);
  return -1;
}

static void run(int e, int row) {
  struct program *p = &programs[e];
  if (!p->pid || p->number[row] < 0 || table.row[row].cell[e].failed)
    return;
  char command[32];
  int n = snprintf(command, sizeof command, "r %d\n", p->number[row]);
  if (write(p->in, command, (size_t)n) == n && listen_to(e) == RESULT)
    return;
  fprintf(stderr, "bench: %s ended in %s\n", table.engine[e], table.row[row].name);
  errors++;
  table.row[row].cell[e].failed = 1;
  stop(e);
  if (p->starts < STARTS)
    start(e);
}

static void run_all(void) {
  for (int i = 0; i < table.rows; i++) {
    if (isatty(STDERR_FILENO))
      fprintf(stderr, "\rbench: %d of %d: %-24s", i + 1, table.rows, table.row[i].name);
    for (int k = 0; k < runs; k++)
      for (int e = 0; e < table.engines; e++)
        run(e, i);
  }
  if (isatty(STDERR_FILENO))
    fprintf(stderr, "\r%-50s\r", "");
}

static void name_engines(char *list) {
  char *name;
  while ((name = strsep(&list, " "))) {
    if (!*name)
      continue;
    if (table.engines == ENGINES) {
      fprintf(stderr, "bench: more than %d engines\n", ENGINES);
      exit(2);
    }
    if (!strcmp(name, "native") && !native)
      continue;
    if (!strcmp(name, "native"))
      table.native = table.engines;
    if (!strcmp(name, "qemu"))
      table.qemu = table.engines;
    table.engine[table.engines++] = name;
  }
}

/* An engine that doesn't start is left out; that is an error but of QEMU, which need not be there. */
static void start_all(void) {
  if (initrd)
    row_add(&table, starting, "start");
  for (int e = 0; e < table.engines; e++) {
    int failed = start(e);
    for (int k = 0; initrd && e != table.native && !failed && k < runs; k++) {
      add_sample(e, starting, cpu_time(programs[e].pid), 0, 0);
      if (k + 1 < runs) {
        stop(e);
        failed = start(e);
      }
    }
    programs[e].starts = 1;
    if (!failed)
      continue;
    fprintf(stderr, "bench: %s cannot be started; left out\n", table.engine[e]);
    errors += e != table.qemu;
  }
}

int main(int argc, char **argv) {
  char engines[256] = "native dragoman qemu";
  int option;
  table.native = table.qemu = -1;
  while ((option = getopt(argc, argv, "n:c:g:i:d:q:e:f:r:t:")) != -1)
    switch (option) {
    case 'n': native = optarg; break;
    case 'c': directory = optarg; break;
    case 'g': guest = optarg; break;
    case 'i': initrd = optarg; break;
    case 'd': dragoman = optarg; break;
    case 'q': qemu = optarg; break;
    case 'e': snprintf(engines, sizeof engines, "%s", optarg); break;
    case 'f': filter = optarg; break;
    case 'r': runs = atoi(optarg); break;
    case 't': ticks = atoi(optarg); break;
    default: return 2;
    }
  if (runs < 1 || runs > RUNS || ticks < 1 || !guest || !dragoman) {
    fprintf(stderr, "bench: 1 to %d runs, at least one tick, a guest image (-g), an emulator (-d)\n", RUNS);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  name_engines(engines);
  start_all();
  run_all();
  for (int e = 0; e < table.engines; e++)
    stop(e);
  table_print(&table);
  if (errors)
    fprintf(stderr, "bench: %d errors\n", errors);
  return errors != 0;
}
