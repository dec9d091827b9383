/* SPDX-License-Identifier: MIT */
/*
 * Templates and their children: see runner.h. Neither outlives whoever made it. A child gets a machine of its
 * own (core/snapshot.h), runs one test, sends what came of it, and ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "core/log.h"
#include "core/snapshot.h"
#include "frontends/test/runner.h"
#include "frontends/test/sandbox.h"

#define FIRST_INSTRUCTION_NS 100000000 /* of guest time that may pass before it: the guest may rest */

struct template {
  struct run *run;
  struct cell *cell;
  struct script *script;
  int fd;
  struct {     /* running children */
    pid_t pid; /* 0: free */
    uint32_t test;
  } child[RUN_JOBS];
};

static double clock_ms(clockid_t clock) {
  struct timespec t;
  clock_gettime(clock, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* --- sending ------------------------------------------------------------------------------------------ */

static void send_message(int fd, struct message *m, const char *log, int pass_fd) {
  const char *screen = m->result.screen;
  size_t log_length = log ? strlen(log) : 0, screen_length = screen ? strlen(screen) : 0;
  m->log_length = (uint32_t)(log_length < RUN_LOG ? log_length : RUN_LOG);
  m->screen_length = (uint32_t)(screen_length < RUN_SCREEN ? screen_length : RUN_SCREEN);
  struct iovec part[3] = {
      {m, sizeof *m}, {(void *)(uintptr_t)screen, m->screen_length}, {(void *)(uintptr_t)log, m->log_length}};
  union {
    struct cmsghdr align;
    char space[CMSG_SPACE(sizeof(int))];
  } control = {0};
  struct msghdr header = {.msg_iov = part, .msg_iovlen = 3};
  if (pass_fd >= 0) {
    header.msg_control = control.space;
    header.msg_controllen = sizeof control.space;
    struct cmsghdr *c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(c), &pass_fd, sizeof pass_fd);
  }
  while (sendmsg(fd, &header, MSG_NOSIGNAL) < 0 && errno == EINTR)
    ;
}

static void fail_result(struct message *m, const char *format, const char *why) {
  m->result = (struct script_result){.verdict = VERDICT_FAIL};
  snprintf(m->result.message, sizeof m->result.message, format, why);
}

/* --- a child ------------------------------------------------------------------------------------------ */

static void keep_files(struct template *t, struct message *m, const char *log, const char *where) {
  if (!script_machine(t->script) || (!t->run->options.keep && m->result.verdict != VERDICT_FAIL))
    return;
  script_set_output(t->script, where, "screen");
  int error = script_save(t->script);
  char path[2 * RUN_PATH];
  snprintf(path, sizeof path, "%s/history.png", where);
  if (!error)
    script_watch_save(t->script, path);
  snprintf(path, sizeof path, "%s/log.txt", where);
  FILE *file = error ? NULL : fopen(path, "w");
  if (file) {
    fputs(log ? log : "", file);
    if (m->result.verdict == VERDICT_FAIL)
      fprintf(file, "%s:%d: %s\n%s\n", m->result.file, m->result.line, m->result.message, m->result.trace);
    if (m->result.screen)
      fprintf(file, "--- the screen ---\n%s", m->result.screen);
    error = fclose(file) ? -errno : 0;
  }
  if (m->result.verdict == VERDICT_FAIL && m->result.crash.kind != CRASH_NONE && !error) {
    snprintf(path, sizeof path, "%s/crash.json", where);
    file = fopen(path, "w");
    if (file) {
      crash_write_json(&m->result.crash, file);
      fputc('\n', file);
      fclose(file);
    }
  }
  m->kept = !error;
}

/* Up to its first instruction, for the time that it takes; a guest that rests needs a tick of its clock. */
static void first_instruction(struct machine *m) {
  int64_t end = clock_now(m->clock) + FIRST_INSTRUCTION_NS;
  uint64_t count = cpu_icount(m->cpu[0]);
  while (m->state == MACHINE_RUNNING && cpu_icount(m->cpu[0]) == count && clock_now(m->clock) < end)
    machine_run_to(m, clock_now(m->clock) + (m->cpu[0]->halted ? 1000000 : 1000));
}

static _Noreturn void run_child(struct template *t, uint32_t test, double forked) {
  struct message m = {.type = MESSAGE_RESULT, .test = test};
  const struct run_test *it = &t->run->test[t->cell->first];
  char error[1024], where[2 * RUN_PATH], *log = NULL;
  size_t log_length;
  struct machine *machine = script_machine(t->script);
  FILE *out = open_memstream(&log, &log_length);
  for (unsigned i = 0; i < t->cell->count; i++, it++)
    if (it->index == test)
      break;
  snprintf(where, sizeof where, "%s/%s", t->run->output, it->files);
  script_set_log(t->script, out);
  script_set_output(t->script, where, "screen");
  if (machine_after_fork(machine, error, sizeof error) < 0) {
    fail_result(&m, "the machine cannot be forked: %s", error);
  } else if (t->run->options.sandbox && sandbox_enter_leaf(error, sizeof error) < 0) {
    fail_result(&m, "%s", error);
  } else {
    first_instruction(machine);
    m.fork_ms = clock_ms(CLOCK_MONOTONIC) - forked;
    m.fork_cpu_ms = clock_ms(CLOCK_PROCESS_CPUTIME_ID);
    script_run(t->script, test, &m.result);
    m.screen_hash = script_screen_hash(t->script);
  }
  if (out)
    fflush(out);
  keep_files(t, &m, log, where);
  send_message(t->fd, &m, log, -1);
  script_drop_snapshots(t->script);
  if (!m.kept)
    rmdir(where); /* if only snapshots were there */
  _exit(0);
}

/* --- the template ------------------------------------------------------------------------------------- */

static void on_child(int number) { (void)number; }

static void die_with(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(1);
}

static void start_test(struct template *t, uint32_t test) {
  struct message m = {.type = MESSAGE_RESULT, .test = test};
  char error[1024];
  unsigned slot = 0;
  while (slot < RUN_JOBS && t->child[slot].pid)
    slot++;
  double before = clock_ms(CLOCK_MONOTONIC);
  if (slot == RUN_JOBS || machine_before_fork(script_machine(t->script), error, sizeof error) < 0) {
    fail_result(&m, "the machine cannot be forked: %s",
                slot == RUN_JOBS ? "too many tests at a time" : error);
    send_message(t->fd, &m, NULL, -1);
    m.type = MESSAGE_ENDED;
    send_message(t->fd, &m, NULL, -1);
    return;
  }
  pid_t self = getpid(), pid = fork();
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    die_with(self);
    run_child(t, test, before);
  }
  if (pid < 0) {
    fail_result(&m, "no process can be made: %s", strerror(errno));
    send_message(t->fd, &m, NULL, -1);
    m.type = MESSAGE_ENDED;
    send_message(t->fd, &m, NULL, -1);
    return;
  }
  t->child[slot].pid = pid;
  t->child[slot].test = test;
  int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
  m.type = MESSAGE_STARTED;
  send_message(t->fd, &m, NULL, pidfd);
  if (pidfd >= 0)
    close(pidfd);
}

static void reap(struct template *t) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
    for (unsigned i = 0; i < RUN_JOBS; i++)
      if (t->child[i].pid == pid) {
        struct message m = {.type = MESSAGE_ENDED, .test = t->child[i].test, .status = status};
        t->child[i].pid = 0;
        send_message(t->fd, &m, NULL, -1);
      }
}

/* Until the runner closes its end. */
static void serve(struct template *t) {
  struct sigaction action = {.sa_handler = on_child};
  sigset_t child, none;
  sigemptyset(&none);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  sigprocmask(SIG_BLOCK, &child, NULL);
  sigaction(SIGCHLD, &action, NULL);
  for (;;) {
    struct pollfd p = {.fd = t->fd, .events = POLLIN};
    struct command c;
    int ready = ppoll(&p, 1, NULL, &none);
    reap(t);
    if (ready <= 0)
      continue;
    ssize_t n = recv(t->fd, &c, sizeof c, MSG_DONTWAIT);
    if (n == (ssize_t)sizeof c)
      start_test(t, c.test);
    else if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
      return;
  }
}

static int confine(struct run *run, const struct cell *cell, char *note, size_t note_size, char *error,
                   size_t size) {
  static struct sandbox b;
  static char real[PATH_MAX], directory[PATH_MAX];
  if (realpath(cell->script, real))
    snprintf(directory, sizeof directory, "%s", dirname(real));
  sandbox_allow(&b, directory, run->options.update);
  sandbox_allow(&b, directory, false);
  for (unsigned i = 0; i < run->options.dirs; i++)
    sandbox_allow(&b, run->options.dir[i], false);
  sandbox_allow(&b, cell->image, false);
  sandbox_allow(&b, CONFIG_SEABIOS_DIR, false);
  sandbox_allow(&b, "/proc/sys/vm/max_map_count", false);
  sandbox_allow(&b, run->output, true);
  sandbox_allow(&b, run->temporary, true);
  return sandbox_enter(&b, note, note_size, error, size);
}

/* The machine where tests begin; false: the message says why not. */
static bool set_up(struct template *t, struct message *m) {
  struct run *run = t->run;
  char error[4096];
  static const char *option[RUN_LIST + 2];
  unsigned options = 0;
  for (; options < run->options.options; options++)
    option[options] = run->options.option[options];
  if (t->cell->cpu) {
    option[options++] = "-cpu";
    option[options++] = t->cell->cpu;
  }
  if (run->options.sandbox && confine(run, t->cell, m->note, sizeof m->note, error, sizeof error) < 0) {
    fail_result(m, "%s", error);
    return false;
  }
  struct script_config config = {
      .path = t->cell->script,
      .dirs = run->options.dir,
      .dir_count = run->options.dirs,
      .image = t->cell->image,
      .options = option,
      .option_count = options,
      .output = run->output,
      .update = run->options.update,
      .host_seconds = run->options.host_seconds,
  };
  t->script = script_load(&config, error, sizeof error);
  if (!t->script) {
    fail_result(m, "%s", error);
    return false;
  }
  char *log = NULL, where[2 * RUN_PATH];
  size_t length;
  FILE *out = open_memstream(&log, &length);
  script_set_log(t->script, out);
  snprintf(where, sizeof where, "%s/%s/setup", run->output, t->cell->directory);
  script_set_output(t->script, where, "screen");
  bool ok = script_setup(t->script, &m->result);
  if (out)
    fflush(out);
  keep_files(t, m, log, where);
  m->status = ok;
  send_message(t->fd, m, log, -1);
  script_set_log(t->script, NULL);
  if (out)
    fclose(out);
  free(log);
  script_result_free(&m->result);
  return ok;
}

/* Only standard streams and the socket stay open. */
static int leave_files(int fd) {
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null >= 0) {
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
  }
  if (fd != 3)
    dup3(fd, 3, O_CLOEXEC);
  close_range(4, ~0u, 0);
  return 3;
}

void run_template(struct run *run, struct cell *cell, int fd) {
  static struct template t;
  struct message *m = calloc(1, sizeof *m);
  setpgid(0, 0);
  die_with(run->pid);
  if (!m)
    _exit(2);
  t.run = run;
  t.cell = cell;
  t.fd = leave_files(fd);
  m->type = MESSAGE_READY;
  if (set_up(&t, m))
    serve(&t);
  else if (!t.script) /* else it is said already */
    send_message(t.fd, m, NULL, -1);
  if (t.script) {
    char where[2 * RUN_PATH];
    script_drop_snapshots(t.script);
    snprintf(where, sizeof where, "%s/%s/setup", run->output, cell->directory);
    rmdir(where);
    *strrchr(where, '/') = '\0';
    rmdir(where); /* of a cell that left nothing */
  }
  _exit(0);
}
