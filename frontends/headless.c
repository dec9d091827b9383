/* SPDX-License-Identifier: MIT */
/*
 * Running a machine: see headless.h. A thread waits for the signals that end a run; they are never taken inside the
 * guest's run. (Not a signalfd in the event loop: the kernel wakes whoever polls one for every signal of the process,
 * and the translator's page faults are thousands a second.)
 */
#include "frontends/headless.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

struct runner {
  struct machine *machine;
  struct loop *loop;
  pthread_t cpu_thread, loop_thread, signal_thread;
  bool has_loop_thread;
};

static sigset_t ending_signals(void) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGHUP);
  return set;
}

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

/* Until it is cancelled, which it can be only while it waits. */
static void *signal_thread(void *opaque) {
  struct runner *r = opaque;
  sigset_t ending = ending_signals();
  int old, signal;
  while (sigwait(&ending, &signal) == 0) {
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    machine_lock(r->machine);
    machine_request_quit(r->machine, 0);
    machine_unlock(r->machine);
    pthread_setcancelstate(old, NULL);
  }
  return NULL;
}

struct runner *runner_start(struct machine *m, struct loop *loop) {
  struct runner *r = calloc(1, sizeof *r);
  if (!r)
    return NULL;
  r->machine = m;
  r->loop = loop;
  sigset_t ending = ending_signals();
  pthread_sigmask(SIG_BLOCK, &ending, NULL); /* every thread made from here on inherits this */
  errno = pthread_create(&r->signal_thread, NULL, signal_thread, r);
  if (errno) {
    free(r);
    return NULL;
  }
  errno = pthread_create(&r->cpu_thread, NULL, cpu_thread, r);
  if (errno) {
    int error = errno;
    pthread_cancel(r->signal_thread);
    pthread_join(r->signal_thread, NULL);
    free(r);
    errno = error;
    return NULL;
  }
  return r;
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
  pthread_cancel(r->signal_thread);
  pthread_join(r->signal_thread, NULL);
  free(r);
}
