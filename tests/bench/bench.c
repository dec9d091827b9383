/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's driver. Runs the kernels natively and in each emulator in turn, several times, and prints a table:
 * the native time per iteration, and how many times longer each emulator takes. An emulator's time is the CPU time of
 * its process between the guest's lines (guest.c), so other load on the machine matters little. Results that differ
 * from the native ones are errors, except where an engine is known to compute differently (QEMU's x87 functions).
 *
 *   bench -n NATIVE -g GUEST -d DRAGOMAN -q QEMU [-e ENGINES] [-f FILTER] [-r RUNS] [-t TICKS]
 */
#include <errno.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ROWS = 128, RUNS = 9, SILENCE_MS = 60000 };
enum engine { NATIVE, DRAGOMAN, INTERP, QEMU, ENGINES };

static const char *const engine_names[ENGINES] = {"native", "dragoman", "interp", "qemu"};

struct cell {
  double ns[RUNS];
  int samples;
  unsigned checksum;
};

struct row {
  char name[40], group[16];
  struct cell cell[ENGINES];
};

static struct row rows[ROWS];
static int row_count, errors;
static int wanted[ENGINES], missing[ENGINES];
static const char *programs[ENGINES], *guest, *filter = "";
static int runs = 3, ticks = 10;

static struct row *row_find(const char *name) {
  for (int i = 0; i < row_count; i++)
    if (!strcmp(rows[i].name, name))
      return &rows[i];
  if (row_count == ROWS)
    return NULL;
  struct row *r = &rows[row_count++];
  snprintf(r->name, sizeof r->name, "%s", name);
  return r;
}

/* CPU time in ns of another process, all its threads. */
static double cpu_time(pid_t pid) {
  clockid_t id;
  struct timespec t = {0};
  if (clock_getcpuclockid(pid, &id) || clock_gettime(id, &t))
    return 0;
  return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void add_sample(enum engine e, const char *name, const char *group, double ns, unsigned checksum) {
  struct row *r = row_find(name);
  if (!r)
    return;
  snprintf(r->group, sizeof r->group, "%s", group);
  struct cell *c = &r->cell[e], *native = &r->cell[NATIVE];
  if (c->samples < RUNS)
    c->ns[c->samples++] = ns;
  c->checksum = checksum;
  if (e == NATIVE || !native->samples || native->checksum == checksum)
    return;
  if (e == QEMU && !strcmp(name, "trigonometry-x87"))
    return;
  if (c->samples == 1) {
    fprintf(stderr, "bench: %s: wrong result under %s: %08x, natively %08x\n", name, engine_names[e], checksum,
            native->checksum);
    errors++;
  }
}

/* One line from the program. S and E lines time the process `pid` between them. Returns false after the last. */
static int take_line(enum engine e, const char *line, pid_t pid, double *start) {
  char name[40], group[16];
  double iterations, ns;
  unsigned checksum;
  switch (line[0]) {
  case 'S': *start = cpu_time(pid); return 1;
  case 'E':
    ns = cpu_time(pid) - *start;
    if (sscanf(line, "E %39s %15s %lf %x", name, group, &iterations, &checksum) == 4)
      add_sample(e, name, group, ns / iterations, checksum);
    return 1;
  case 'R':
    if (sscanf(line, "R %39s %15s %lf %x %lf", name, group, &iterations, &checksum, &ns) == 5)
      add_sample(e, name, group, ns / iterations, checksum);
    return 1;
  case 'F':
    fprintf(stderr, "bench: %s: %s\n", engine_names[e], line + 2);
    errors++;
    return 1;
  default: return line[0] != 'Q';
  }
}

static pid_t start(enum engine e, int *out) {
  char append[256], time[16];
  int ends[2];
  snprintf(append, sizeof append, "ticks=%d filter=%s", ticks, filter);
  snprintf(time, sizeof time, "%d", ticks * 6);
  const char *accel = e == DRAGOMAN ? "tlb" : e == INTERP ? "interp" : "tcg";
  const char *emulate[] = {
      programs[e], "-accel", accel, "-m", "512", "-display", "none", "-nodefaults", "-vga", "std", "-serial", "stdio",
      "-monitor", "none", "-no-reboot", "-device", "isa-debug-exit,iobase=0xf4,iosize=4", "-kernel", guest,
      "-append", append, NULL,
  };
  const char *native[] = {programs[NATIVE], filter, time, NULL};
  if (pipe(ends))
    return -1;
  pid_t pid = fork();
  if (pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    const char *const *args = e == NATIVE ? native : emulate;
    execvp(args[0], (char *const *)args);
    _exit(127);
  }
  close(ends[1]);
  *out = ends[0];
  return pid;
}

static void run(enum engine e) {
  char line[512];
  size_t n = 0;
  int out, status, more = 1;
  double start_time = 0;
  pid_t pid = start(e, &out);
  if (pid < 0) {
    perror("bench");
    exit(1);
  }
  while (more) {
    struct pollfd p = {out, POLLIN, 0};
    int ready = poll(&p, 1, SILENCE_MS);
    if (ready < 0 && errno == EINTR)
      continue;
    if (ready <= 0) {
      fprintf(stderr, "bench: %s: nothing heard for %d s\n", engine_names[e], SILENCE_MS / 1000);
      kill(pid, SIGKILL);
      errors++;
      break;
    }
    char c;
    if (read(out, &c, 1) != 1)
      break;
    if (c == '\r')
      continue;
    if (c != '\n' && n < sizeof line - 1) {
      line[n++] = c;
      continue;
    }
    line[n] = 0;
    n = 0;
    more = take_line(e, line, pid, &start_time);
  }
  waitpid(pid, &status, 0);
  close(out);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
    missing[e] = 1;
  else if (!WIFEXITED(status) || (e == NATIVE ? WEXITSTATUS(status) != 0 : more)) {
    fprintf(stderr, "bench: %s ended early (status %#x)\n", engine_names[e], (unsigned)status);
    errors++;
  }
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double median(struct cell *c) {
  if (!c->samples)
    return 0;
  qsort(c->ns, (size_t)c->samples, sizeof c->ns[0], by_value);
  return c->ns[c->samples / 2];
}

struct mean {
  double log_sum[ENGINES];
  int count[ENGINES];
};

static void mean_print(const char *name, struct mean *m) {
  int any = 0;
  for (int e = DRAGOMAN; e < ENGINES; e++)
    any += m->count[e];
  if (!any)
    return;
  printf("  %-22s %12s", name, "");
  for (int e = DRAGOMAN; e < ENGINES; e++)
    if (wanted[e]) {
      if (m->count[e])
        printf(" %10.2f", exp(m->log_sum[e] / m->count[e]));
      else
        printf(" %10s", "-");
    }
  printf("\n");
}

/* Slowdowns where there is a native time, else ns. */
static void print_table(void) {
  struct mean group = {0}, all = {0}, against_qemu = {0};
  int slower = 0;
  printf("%-24s %12s", "kernel", "native ns");
  for (int e = DRAGOMAN; e < ENGINES; e++)
    if (wanted[e])
      printf(" %10s", engine_names[e]);
  printf("\n");
  for (int i = 0; i < row_count; i++) {
    struct row *r = &rows[i];
    double native = median(&r->cell[NATIVE]), dragoman = median(&r->cell[DRAGOMAN]), qemu = median(&r->cell[QEMU]);
    printf("%-24s ", r->name);
    if (native)
      printf("%12.1f", native);
    else
      printf("%12s", "-");
    for (int e = DRAGOMAN; e < ENGINES; e++) {
      double ns = median(&r->cell[e]);
      if (!wanted[e])
        continue;
      if (!ns) {
        printf(" %10s", "-");
      } else if (native) {
        printf(" %9.2fx", ns / native);
        group.log_sum[e] += log(ns / native), group.count[e]++;
        all.log_sum[e] += log(ns / native), all.count[e]++;
      } else {
        printf(" %7.1f ns", ns);
      }
    }
    if (dragoman && qemu) {
      against_qemu.log_sum[DRAGOMAN] += log(qemu / dragoman), against_qemu.count[DRAGOMAN]++;
      slower += dragoman > qemu * 1.03;
      printf("%s", dragoman > qemu * 1.03 ? "  slower than qemu" : "");
    }
    printf("\n");
    if (i + 1 == row_count || strcmp(r->group, rows[i + 1].group)) {
      mean_print(r->group, &group);
      memset(&group, 0, sizeof group);
    }
  }
  mean_print("all with a native time", &all);
  if (against_qemu.count[DRAGOMAN])
    printf("%d rows, dragoman slower than qemu in %d; qemu's time over dragoman's, geometric mean: %.2f\n",
           against_qemu.count[DRAGOMAN], slower, exp(against_qemu.log_sum[DRAGOMAN] / against_qemu.count[DRAGOMAN]));
}

int main(int argc, char **argv) {
  const char *engines = "native dragoman qemu";
  int option;
  programs[QEMU] = "qemu-system-i386";
  while ((option = getopt(argc, argv, "n:g:d:q:e:f:r:t:")) != -1)
    switch (option) {
    case 'n': programs[NATIVE] = optarg; break;
    case 'g': guest = optarg; break;
    case 'd': programs[DRAGOMAN] = programs[INTERP] = optarg; break;
    case 'q': programs[QEMU] = optarg; break;
    case 'e': engines = optarg; break;
    case 'f': filter = optarg; break;
    case 'r': runs = atoi(optarg); break;
    case 't': ticks = atoi(optarg); break;
    default: return 2;
    }
  if (runs < 1 || runs > RUNS || ticks < 1 || !guest) {
    fprintf(stderr, "bench: 1 to %d runs, at least one tick, and a guest image (-g)\n", RUNS);
    return 2;
  }
  for (int e = 0; e < ENGINES; e++)
    wanted[e] = programs[e] && strstr(engines, engine_names[e]);
  for (int i = 0; i < runs; i++)
    for (int e = 0; e < ENGINES; e++)
      if (wanted[e] && !missing[e]) {
        fprintf(stderr, "bench: run %d of %d: %s\n", i + 1, runs, engine_names[e]);
        run((enum engine)e);
        if (missing[e]) {
          fprintf(stderr, "bench: %s: %s cannot be started; left out\n", engine_names[e], programs[e]);
          errors += e != QEMU;
          wanted[e] = 0;
        }
      }
  print_table();
  if (errors)
    fprintf(stderr, "bench: %d errors\n", errors);
  return errors != 0;
}
