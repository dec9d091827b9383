/* SPDX-License-Identifier: MIT */
/*
 * The runner's own process: the matrix, who runs when, what came of it. See runner.h. Templates lead process
 * groups of their own, and die with the runner, as their children die with them: nothing is left behind
 * however it ends.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"
#include "frontends/test/runner.h"
#include "frontends/test/test.h"

#define PATIENCE 30      /* times the ceiling of CPU time may pass on the clock: hosts are loaded */
#define LOOK_MS 200      /* the progress line, and deadlines */
#define END_MS 10000     /* for a template to end */
#define BUFFER (1 << 20) /* of the sockets */

int64_t run_clock_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int64_t deadline(const struct run *run) {
  return run_clock_ms() + (int64_t)run->options.host_seconds * PATIENCE * 1000;
}

/* --- the matrix --------------------------------------------------------------------------------------- */

static const char *last_part(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* A name for files: letters, digits, dots, dashes. */
static void make_file_name(char *text) {
  for (char *p = text; *p; p++)
    if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *p) ||
        (p == text && *p == '.'))
      *p = '-';
}

static void name_cell(struct run *run, struct cell *c) {
  char script[100];
  const char *image = c->image ? last_part(c->image) : "", *cpu = c->cpu ? c->cpu : "";
  bool several = c->image || c->cpu;
  snprintf(c->label, sizeof c->label, "%.99s%s%.90s%s%.90s%s", last_part(c->script), several ? " [" : "",
           image, c->image && c->cpu ? ", " : "", cpu, several ? "]" : "");
  snprintf(script, sizeof script, "%.99s", last_part(c->script));
  char *dot = strrchr(script, '.');
  if (dot && dot != script)
    *dot = '\0';
  snprintf(c->directory, sizeof c->directory, "%s%s%.90s%s%.90s", script, *image ? "-" : "", image,
           *cpu ? "-" : "", cpu);
  make_file_name(c->directory);
  for (const struct cell *other = run->cell; other < c; other++)
    if (!strcmp(other->directory, c->directory)) {
      size_t n = strlen(c->directory);
      snprintf(c->directory + n, sizeof c->directory - n, "-%u", c->number + 1);
      break;
    }
}

/* "screens.lua: a picture [disk.img, 486]" */
static char *full_name(const struct cell *c, const char *test) {
  char *out;
  const char *where = strchr(c->label, '[');
  const char *script = last_part(c->script);
  return asprintf(&out, "%s: %s%s%s", script, test, where ? " " : "", where ? where : "") < 0 ? NULL : out;
}

static char *files_of(const struct run *run, const struct cell *c, const char *test) {
  char name[200], *out;
  snprintf(name, sizeof name, "%.199s", test);
  make_file_name(name);
  if (asprintf(&out, "%s/%s", c->directory, name) < 0)
    return NULL;
  for (unsigned i = c->first; i < run->tests; i++)
    if (!strcasecmp(run->test[i].files, out)) {
      free(out);
      return asprintf(&out, "%s/%s-%u", c->directory, name, run->tests - c->first + 1) < 0 ? NULL : out;
    }
  return out;
}

static int add_test(struct run *run, struct cell *c, unsigned index, const char *name) {
  char *full = full_name(c, name);
  if (full && !run_wanted(&run->options, full, name)) {
    free(full);
    return 0;
  }
  struct run_test *t = run->tests < RUN_TESTS ? realloc(run->test, (run->tests + 1) * sizeof *t) : NULL;
  if (t)
    run->test = t;
  char *files = files_of(run, c, name), *own = strdup(name);
  if (!t || !full || !files || !own) {
    free(full);
    free(files);
    free(own);
    error_report("test: too many tests");
    return -1;
  }
  t[run->tests++] =
      (struct run_test){.index = index, .name = own, .full_name = full, .files = files, .pidfd = -1};
  c->count++;
  c->left++;
  return 0;
}

/* The script's tests for all its cells; false with a message if it cannot be read. */
static bool add_script(struct run *run, const char *path) {
  char error[4096];
  struct script_config config = {
      .path = path,
      .dirs = run->options.dir,
      .dir_count = run->options.dirs,
      .host_seconds = run->options.host_seconds,
  };
  struct script *s = script_load(&config, error, sizeof error);
  if (!s) {
    error_report("%s", error);
    return false;
  }
  unsigned images = run->options.images ? run->options.images : 1,
           cpus = run->options.cpus ? run->options.cpus : 1;
  int result = 0;
  for (unsigned i = 0; i < images; i++)
    for (unsigned k = 0; k < cpus && !result; k++) {
      struct cell *c = &run->cell[run->cells];
      *c = (struct cell){
          .number = run->cells,
          .script = path,
          .image = run->options.images ? run->options.image[i] : NULL,
          .cpu = run->options.cpus ? run->options.cpu[k] : NULL,
          .first = run->tests,
          .fd = -1,
      };
      name_cell(run, c);
      run->cells++;
      for (unsigned n = 0; n < script_test_count(s) && !result; n++)
        result = add_test(run, c, n, script_test_name(s, n));
    }
  script_close(s);
  return result == 0;
}

static bool make_matrix(struct run *run) {
  const struct run_options *o = &run->options;
  size_t cells = (size_t)o->scripts * (o->images ? o->images : 1) * (o->cpus ? o->cpus : 1);
  run->cell = calloc(cells, sizeof *run->cell);
  bool good = run->cell != NULL;
  for (unsigned i = 0; i < o->scripts && run->cell; i++)
    good &= add_script(run, o->script[i]);
  for (unsigned i = 0; i < run->cells; i++) /* the array stays where it is now */
    for (unsigned k = 0; k < run->cell[i].count; k++)
      run->test[run->cell[i].first + k].cell = &run->cell[i];
  return good;
}

static void free_run(struct run *run) {
  for (unsigned i = 0; i < run->tests; i++) {
    struct run_test *t = &run->test[i];
    free(t->name);
    free(t->full_name);
    free(t->files);
    free(t->outcome.log);
    script_result_free(&t->outcome.result);
  }
  free(run->test);
  free(run->cell);
}

/* --- directories -------------------------------------------------------------------------------------- */

static int make_directories(const char *path) {
  char copy[RUN_PATH];
  snprintf(copy, sizeof copy, "%s", path);
  for (char *p = copy + 1;; p++) {
    char c = *p;
    if (c && c != '/')
      continue;
    *p = '\0';
    if (mkdir(copy, 0777) < 0 && errno != EEXIST)
      return -errno;
    if (!c)
      return 0;
    *p = c;
  }
}

/* The output directory must be there before the sandbox can allow it; it goes again if nothing was put into
 * it. */
static bool prepare(struct run *run) {
  const char *temporary = getenv("TMPDIR");
  int error = make_directories(run->options.output);
  if (error || !realpath(run->options.output, run->output)) {
    error_report("test: cannot make the directory '%s': %s", run->options.output,
                 strerror(error ? -error : errno));
    return false;
  }
  snprintf(run->temporary, sizeof run->temporary, "%s/dragoman-test-XXXXXX",
           temporary && *temporary ? temporary : "/var/tmp");
  if (!mkdtemp(run->temporary)) {
    error_report("test: cannot make a directory like '%s': %s (set TMPDIR to another directory)",
                 run->temporary, strerror(errno));
    return false;
  }
  setenv("TMPDIR", run->temporary, 1);
  return true;
}

/* --- cells -------------------------------------------------------------------------------------------- */

static void settle(struct run *run, struct run_test *t) {
  struct script_result *r = &t->outcome.result;
  run->running--;
  if (r->verdict == VERDICT_FAIL && t->attempts <= run->options.retries && t->cell->state == CELL_READY) {
    t->state = TEST_WAITS;
    return;
  }
  t->state = TEST_DONE;
  t->cell->left--;
  run->passed += r->verdict == VERDICT_PASS;
  run->failed += r->verdict == VERDICT_FAIL;
  run->skipped += r->verdict == VERDICT_SKIP;
  run->flaky += r->verdict == VERDICT_PASS && t->attempts > 1;
}

static void set_failure(struct run_test *t, const char *why) {
  struct outcome *o = &t->outcome;
  script_result_free(&o->result);
  o->result = (struct script_result){.verdict = VERDICT_FAIL};
  snprintf(o->result.message, sizeof o->result.message, "%s", why);
}

static void end_process(struct cell *c) {
  if (c->fd >= 0)
    close(c->fd);
  c->fd = -1;
  if (c->template > 0) {
    kill(-c->template, SIGKILL); /* children that still run are of no use */
    kill(c->template, SIGKILL);
    while (waitpid(c->template, NULL, 0) < 0 && errno == EINTR)
      ;
  }
  c->template = 0;
}

/* A template that has nothing left to do ends by itself, and takes its snapshots along. */
static void end_quietly(struct cell *c) {
  close(c->fd);
  c->fd = -1;
  for (int i = 0; i < END_MS / 5 && c->template > 0; i++) {
    pid_t ended = waitpid(c->template, NULL, WNOHANG);
    if (ended == c->template || (ended < 0 && errno == ECHILD))
      c->template = 0;
    else
      usleep(5000);
  }
  end_process(c);
}

/* The cell cannot go on: what is not done has this result. */
static void end_cell(struct run *run, struct cell *c, const struct script_result *r, const char *log) {
  bool was_setup = c->state == CELL_SETUP;
  c->state = CELL_DONE;
  run->running -= was_setup;
  for (unsigned i = c->first; i < c->first + c->count; i++) {
    struct run_test *t = &run->test[i];
    if (t->state == TEST_DONE)
      continue;
    run->running += t->state == TEST_WAITS; /* settle() counts it down */
    if (t->pidfd >= 0)
      close(t->pidfd);
    t->pidfd = -1;
    script_result_free(&t->outcome.result);
    t->outcome.result = *r;
    t->outcome.result.screen = r->screen ? strdup(r->screen) : NULL;
    if (log && !t->outcome.log)
      t->outcome.log = strdup(log);
    settle(run, t);
  }
  end_process(c);
}

static void lose_cell(struct run *run, struct cell *c, const char *why) {
  struct script_result r = {.verdict = VERDICT_FAIL};
  snprintf(r.message, sizeof r.message, "%s", why);
  end_cell(run, c, &r, NULL);
}

static void start_cell(struct run *run, struct cell *c) {
  int fd[2], size = BUFFER;
  char why[160];
  fflush(NULL);
  c->state = CELL_SETUP;
  c->deadline = deadline(run);
  run->running++;
  pid_t pid = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) == 0 ? fork() : -1;
  if (pid == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    run_template(run, c, fd[1]);
  }
  if (pid < 0) {
    snprintf(why, sizeof why, "no process can be made: %s", strerror(errno));
    lose_cell(run, c, why);
    return;
  }
  setpgid(pid, pid); /* the child does it, too: whoever is first */
  close(fd[1]);
  setsockopt(fd[0], SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  c->template = pid;
  c->fd = fd[0];
}

static void start_test(struct run *run, struct run_test *t) {
  struct command c = {t->index};
  if (send(t->cell->fd, &c, sizeof c, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)sizeof c)
    return; /* the template has gone: its socket says so */
  t->state = TEST_RUNS;
  t->attempts++;
  t->answered = t->killed = t->kept = false;
  t->deadline = deadline(run);
  run->running++;
}

/* As many as may: tests of machines that are there first, in order, then new machines. */
static void start_some(struct run *run) {
  for (unsigned i = 0; i < run->cells && run->running < run->options.jobs; i++) {
    struct cell *c = &run->cell[i];
    if (c->state == CELL_READY)
      for (unsigned k = c->first; k < c->first + c->count && run->running < run->options.jobs; k++)
        if (run->test[k].state == TEST_WAITS)
          start_test(run, &run->test[k]);
  }
  for (unsigned i = 0; i < run->cells && run->running < run->options.jobs; i++)
    if (run->cell[i].state == CELL_NEW && run->cell[i].left)
      start_cell(run, &run->cell[i]);
}

/* --- messages ----------------------------------------------------------------------------------------- */

static char *copy_text(const char *from, uint32_t length) {
  char *text = malloc((size_t)length + 1);
  if (text) {
    memcpy(text, from, length);
    text[length] = '\0';
  }
  return text;
}

static void end_strings(struct message *m) { /* they come from a process that ran a guest */
  struct script_result *r = &m->result;
  r->message[sizeof r->message - 1] = r->file[sizeof r->file - 1] = r->trace[sizeof r->trace - 1] = '\0';
  r->crash.text[sizeof r->crash.text - 1] = r->crash.module[sizeof r->crash.module - 1] = '\0';
  m->note[sizeof m->note - 1] = '\0';
  if (r->verdict != VERDICT_PASS && r->verdict != VERDICT_SKIP)
    r->verdict = VERDICT_FAIL;
  if ((unsigned)r->crash.kind >= CRASH_KINDS)
    r->crash.kind = CRASH_NONE;
  r->screen = NULL;
}

static void take_ready(struct run *run, struct cell *c, struct message *m, char *text) {
  if (c->state != CELL_SETUP)
    return;
  if (m->note[0] && !run->note[0])
    memcpy(run->note, m->note, sizeof run->note);
  if (m->status == 1) {
    c->state = CELL_READY;
    run->running--;
    return;
  }
  char message[sizeof m->result.message];
  snprintf(message, sizeof message, "%s", m->result.message);
  if (m->result.verdict == VERDICT_FAIL)
    snprintf(m->result.message, sizeof m->result.message, "setup: %.*s", (int)(sizeof message - 8), message);
  m->result.screen = m->screen_length ? copy_text(text, m->screen_length) : NULL;
  char *log = m->log_length ? copy_text(text + m->screen_length, m->log_length) : NULL;
  end_cell(run, c, &m->result, log);
  free(log);
  free(m->result.screen);
}

static void take_result(struct run_test *t, struct message *m, const char *text) {
  struct outcome *o = &t->outcome;
  script_result_free(&o->result);
  free(o->log);
  o->result = m->result;
  o->result.screen = m->screen_length ? copy_text(text, m->screen_length) : NULL;
  o->log = m->log_length ? copy_text(text + m->screen_length, m->log_length) : NULL;
  o->screen_hash = m->screen_hash;
  o->fork_ms = m->fork_ms;
  o->fork_cpu_ms = m->fork_cpu_ms;
  t->kept = m->kept;
  t->answered = true;
}

static void take_end(struct run *run, struct run_test *t, int status) {
  char why[160];
  if (t->pidfd >= 0)
    close(t->pidfd);
  t->pidfd = -1;
  if (t->killed) {
    snprintf(why, sizeof why, "the emulator did not end within %u s of the host's time, and was killed",
             run->options.host_seconds * PATIENCE);
    set_failure(t, why);
  } else if (WIFSIGNALED(status)) {
    snprintf(why, sizeof why, "the emulator crashed: %s", strsignal(WTERMSIG(status)));
    set_failure(t, why);
  } else if (!t->answered) {
    snprintf(why, sizeof why, "the emulator ended with status %d and no result", WEXITSTATUS(status));
    set_failure(t, why);
  }
  settle(run, t);
}

static struct run_test *test_of(struct run *run, const struct cell *c, uint32_t index) {
  for (unsigned i = c->first; i < c->first + c->count; i++)
    if (run->test[i].index == index && run->test[i].state == TEST_RUNS)
      return &run->test[i];
  return NULL;
}

static void take_message(struct run *run, struct cell *c, struct message *m, char *text, int pidfd) {
  end_strings(m);
  if (m->type == MESSAGE_READY) {
    take_ready(run, c, m, text);
  } else {
    struct run_test *t = test_of(run, c, m->test);
    if (t && m->type == MESSAGE_STARTED && t->pidfd < 0) {
      t->pidfd = pidfd;
      pidfd = -1;
    } else if (t && m->type == MESSAGE_RESULT) {
      take_result(t, m, text);
    } else if (t && m->type == MESSAGE_ENDED) {
      take_end(run, t, m->status);
    }
  }
  if (pidfd >= 0)
    close(pidfd);
}

static int passed_file(struct msghdr *h) {
  int fd = -1;
  struct cmsghdr *c = CMSG_FIRSTHDR(h);
  if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len >= CMSG_LEN(sizeof fd))
    memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return fd;
}

static void receive(struct run *run, struct cell *c) {
  static union {
    struct message m;
    char bytes[MESSAGE_MAX];
  } buffer;
  union {
    struct cmsghdr align;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec part = {&buffer, sizeof buffer};
  struct msghdr h = {.msg_iov = &part,
                     .msg_iovlen = 1,
                     .msg_control = control.space,
                     .msg_controllen = sizeof control.space};
  ssize_t n = recvmsg(c->fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0 && (errno == EAGAIN || errno == EINTR))
    return;
  if (n >= (ssize_t)sizeof buffer.m &&
      (uint64_t)n == sizeof buffer.m + (uint64_t)buffer.m.screen_length + buffer.m.log_length) {
    take_message(run, c, &buffer.m, buffer.bytes + sizeof buffer.m, passed_file(&h));
    return;
  }
  if (n > 0) { /* nothing that we send */
    lose_cell(run, c, "the emulator sent nonsense");
    return;
  }
  int status = 0;
  char why[200];
  pid_t ended = waitpid(c->template, &status, 0);
  if (ended == c->template)
    c->template = 0;
  snprintf(why, sizeof why, "the emulator crashed %s: %s",
           c->state == CELL_SETUP ? "in setup" : "between tests",
           WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "it ended");
  lose_cell(run, c, why);
}

/* --- the loop ----------------------------------------------------------------------------------------- */

static void check_deadlines(struct run *run) {
  int64_t now = run_clock_ms();
  for (unsigned i = 0; i < run->cells; i++) {
    struct cell *c = &run->cell[i];
    char why[160];
    if (c->state == CELL_SETUP && now > c->deadline) {
      snprintf(why, sizeof why, "setup did not end within %u s of the host's time, and was killed",
               run->options.host_seconds * PATIENCE);
      lose_cell(run, c, why);
    }
    for (unsigned k = c->first; k < c->first + c->count && c->state == CELL_READY; k++) {
      struct run_test *t = &run->test[k];
      if (t->state != TEST_RUNS || now <= t->deadline)
        continue;
      if (t->killed || t->pidfd < 0) { /* no use: take the whole cell down */
        if (now > t->deadline + 10000)
          lose_cell(run, c, "the emulator did not end, and was killed");
        continue;
      }
      t->killed = true;
      syscall(SYS_pidfd_send_signal, t->pidfd, SIGKILL, NULL, 0);
    }
  }
}

static void show_progress(const struct run *run) {
  if (!run->terminal)
    return;
  fprintf(stderr, "\r\033[K%u/%u done, %u failed, %u running, %.0f s",
          run->passed + run->failed + run->skipped, run->tests, run->failed, run->running,
          (double)(run_clock_ms() - run->begin) / 1e3);
  fflush(stderr);
}

static void report_some(struct run *run) {
  if (run->reported < run->tests && run->test[run->reported].state == TEST_DONE && run->terminal)
    fprintf(stderr, "\r\033[K");
  while (run->reported < run->tests && run->test[run->reported].state == TEST_DONE)
    report_tap_test(run, run->reported++, stdout);
  fflush(stdout);
}

/* False: it was interrupted. */
static bool wait_for_some(struct run *run, int signals) {
  struct pollfd *p = calloc(run->cells + 1, sizeof *p);
  unsigned n = 0;
  bool go_on = true;
  if (!p)
    return false;
  p[n++] = (struct pollfd){.fd = signals, .events = POLLIN};
  for (unsigned i = 0; i < run->cells; i++)
    p[n++] = (struct pollfd){.fd = run->cell[i].fd, .events = POLLIN}; /* -1: left out */
  if (poll(p, n, LOOK_MS) > 0) {
    go_on = !(p[0].revents & POLLIN);
    for (unsigned i = 0; i < run->cells && go_on; i++)
      if (p[i + 1].revents)
        receive(run, &run->cell[i]);
  }
  free(p);
  return go_on;
}

static bool run_all(struct run *run) {
  sigset_t set, old;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  sigprocmask(SIG_BLOCK, &set, &old);
  int signals = signalfd(-1, &set, SFD_CLOEXEC);
  bool good = true;
  while (good && run->passed + run->failed + run->skipped < run->tests) {
    start_some(run);
    good = wait_for_some(run, signals);
    check_deadlines(run);
    for (unsigned i = 0; i < run->cells; i++)
      if (run->cell[i].state == CELL_READY && !run->cell[i].left) {
        run->cell[i].state = CELL_DONE;
        end_quietly(&run->cell[i]);
      }
    report_some(run);
    show_progress(run);
  }
  for (unsigned i = 0; i < run->cells; i++)
    end_process(&run->cell[i]);
  if (run->terminal)
    fprintf(stderr, "\r\033[K");
  if (signals >= 0)
    close(signals);
  sigprocmask(SIG_SETMASK, &old, NULL);
  return good;
}

static int run_tests(struct run *run) {
  run->begin = run_clock_ms();
  if (!prepare(run))
    return 2;
  report_tap_begin(run, stdout);
  fflush(stdout);
  bool good = run_all(run);
  rmdir(run->temporary);
  rmdir(run->output); /* if it is empty */
  if (!good) {
    printf("Bail out! interrupted\n");
    return 2;
  }
  report_tap_end(run, stdout);
  int error = run->options.junit ? report_junit(run, run->options.junit) : 0;
  if (error)
    error_report("test: cannot write %s: %s", run->options.junit, strerror(-error));
  int other = run->options.json ? report_json(run, run->options.json) : 0;
  if (other)
    error_report("test: cannot write %s: %s", run->options.json, strerror(-other));
  if (fflush(stdout) || error || other)
    return 2;
  return run->failed ? 1 : 0;
}

int test_command(int argc, char **argv) {
  static struct run run;
  char error[1024];
  int status = 2;
  enum run_action action = run_parse(&run.options, argc, argv, error, sizeof error);
  run.pid = getpid();
  run.terminal = isatty(STDERR_FILENO) && !getenv("CI");
  if (action == RUN_HELP) {
    fputs(run_usage, stdout);
    return 0;
  }
  if (action == RUN_WRONG) {
    error_report("%s", error);
    return 2;
  }
  bool good = make_matrix(&run);
  if (action == RUN_LIST_ONLY) {
    for (unsigned i = 0; i < run.tests; i++)
      printf("%s\n", run.test[i].full_name);
    status = good ? 0 : 2;
  } else if (good && !run.tests) {
    error_report("test: no test is left by --filter");
  } else if (good) {
    status = run_tests(&run);
  }
  free_run(&run);
  return status;
}
