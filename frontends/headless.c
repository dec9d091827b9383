/* SPDX-License-Identifier: MIT */
/* Running a machine: see headless.h. Signals are events of the loop (signalfd), never taken inside the
 * guest's run. */
#include "frontends/headless.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

struct runner {
  struct machine *machine;
  struct loop *loop;
  pthread_t cpu_thread, loop_thread;
  bool has_loop_thread;
  int signal_fd;
  struct watch *signal_watch;
};

static void *cpu_thread(void *opaque) {
  struct runner *r = opaque;
  machine_run(r->machine);
  loop_quit(r->loop);
  return NULL;
}

static void *loop_thread(void *opaque) {
  loop_run(((struct runner *)opaque)->loop);
  return NULL;
}

static void on_signal(void *opaque, short revents) {
  struct runner *r = opaque;
  struct signalfd_siginfo info;
  (void)revents;
  if (read(r->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
    return;
  machine_lock(r->machine);
  machine_request_quit(r->machine, 0);
  machine_unlock(r->machine);
}

struct runner *runner_start(struct machine *m, struct loop *loop) {
  struct runner *r = calloc(1, sizeof *r);
  if (!r)
    return NULL;
  r->machine = m;
  r->loop = loop;
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  sigaddset(&ending, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &ending, NULL); /* every thread made from here on inherits this */
  r->signal_fd = signalfd(-1, &ending, SFD_CLOEXEC | SFD_NONBLOCK);
  if (r->signal_fd >= 0)
    r->signal_watch = loop_add(loop, r->signal_fd, POLLIN, on_signal, r);
  if (!r->signal_watch)
    goto fail;
  errno = pthread_create(&r->cpu_thread, NULL, cpu_thread, r);
  if (errno)
    goto fail;
  return r;

fail:
  if (r->signal_fd >= 0)
    close(r->signal_fd);
  free(r);
  return NULL;
}

int runner_loop_thread(struct runner *r) {
  int error = pthread_create(&r->loop_thread, NULL, loop_thread, r);
  r->has_loop_thread = error == 0;
  return -error;
}

void headless_run(struct runner *r) { loop_run(r->loop); }

void runner_finish(struct runner *r) {
  machine_lock(r->machine);
  bool off = r->machine->state == MACHINE_SHUTDOWN && !r->machine->config.no_shutdown;
  if (r->machine->state != MACHINE_QUIT && !off)
    machine_request_quit(r->machine, 0);
  machine_unlock(r->machine);
  pthread_join(r->cpu_thread, NULL);
  loop_quit(r->loop);
  if (r->has_loop_thread)
    pthread_join(r->loop_thread, NULL);
  close(r->signal_fd);
  free(r);
}
