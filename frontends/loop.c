/* SPDX-License-Identifier: MIT */
/*
 * The event loop: see loop.h. Watches live in a list under a mutex that is a leaf (nothing is called while it
 * is held); a removed watch is only marked, and freed by the loop between two polls.
 */
#include "frontends/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LOOP_MAX 64 /* watches polled at once; every channel needs two at most */
#define SOURCES_MAX 1024 /* descriptors of all sources */

struct watch {
  int fd;
  short events;
  bool dead;
  void (*ready)(void *opaque, short revents);
  void *opaque;
  struct watch *next;
};

struct loop {
  pthread_mutex_t mutex;
  struct watch *watches;
  struct loop_source *sources; /* added at the front: what follows one stays as it is */
  int wake_fd;
  atomic_bool quit, kicked;
  struct pollfd fds[LOOP_MAX + 1 + SOURCES_MAX];
};

struct loop *loop_new(void) {
  struct loop *l = calloc(1, sizeof *l);
  if (!l)
    return NULL;
  l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (l->wake_fd < 0) {
    free(l);
    return NULL;
  }
  pthread_mutex_init(&l->mutex, NULL);
  return l;
}

void loop_free(struct loop *l) {
  if (!l)
    return;
  while (l->watches) {
    struct watch *w = l->watches;
    l->watches = w->next;
    free(w);
  }
  close(l->wake_fd);
  pthread_mutex_destroy(&l->mutex);
  free(l);
}

static void loop_wake(struct loop *l) {
  uint64_t one = 1;
  ssize_t n = write(l->wake_fd, &one, sizeof one);
  (void)n; /* EAGAIN: the counter is full, so the loop will wake anyway */
}

/* Any number of kicks between two polls is one wake-up. */
void loop_kick(struct loop *l) {
  if (!atomic_exchange(&l->kicked, true))
    loop_wake(l);
}

void loop_add_source(struct loop *l, struct loop_source *s) {
  pthread_mutex_lock(&l->mutex);
  s->count = 0;
  s->fds = NULL;
  s->next = l->sources;
  l->sources = s;
  pthread_mutex_unlock(&l->mutex);
  loop_wake(l);
}

void loop_remove_source(struct loop *l, struct loop_source *s) {
  pthread_mutex_lock(&l->mutex);
  struct loop_source **link = &l->sources;
  while (*link && *link != s)
    link = &(*link)->next;
  if (*link)
    *link = s->next;
  pthread_mutex_unlock(&l->mutex);
}

struct watch *loop_add(struct loop *l, int fd, short events, void (*ready)(void *, short), void *opaque) {
  struct watch *w = calloc(1, sizeof *w);
  if (!w)
    return NULL;
  *w = (struct watch){.fd = fd, .events = events, .ready = ready, .opaque = opaque};
  pthread_mutex_lock(&l->mutex);
  w->next = l->watches;
  l->watches = w;
  pthread_mutex_unlock(&l->mutex);
  loop_wake(l);
  return w;
}

void loop_set(struct loop *l, struct watch *w, short events) {
  pthread_mutex_lock(&l->mutex);
  bool changed = w->events != events;
  w->events = events;
  pthread_mutex_unlock(&l->mutex);
  if (changed)
    loop_wake(l);
}

void loop_remove(struct loop *l, struct watch *w) {
  if (!w)
    return;
  pthread_mutex_lock(&l->mutex);
  w->dead = true;
  pthread_mutex_unlock(&l->mutex);
  loop_wake(l);
}

/* Free the dead and collect the live that want something; returns how many. */
static unsigned loop_collect(struct loop *l, struct pollfd *fds, struct watch **owners) {
  unsigned n = 0;
  pthread_mutex_lock(&l->mutex);
  for (struct watch **link = &l->watches; *link;) {
    struct watch *w = *link;
    if (w->dead) {
      *link = w->next;
      free(w);
      continue;
    }
    if (w->events && n < LOOP_MAX) {
      fds[n] = (struct pollfd){.fd = w->fd, .events = w->events};
      owners[n++] = w;
    }
    link = &w->next;
  }
  pthread_mutex_unlock(&l->mutex);
  return n;
}

/* Fill in the sources' descriptors from fds[n] on; returns how many there are now. */
static unsigned prepare_sources(struct loop *l, struct loop_source *first, unsigned n, int *timeout) {
  const unsigned most = sizeof l->fds / sizeof l->fds[0];
  for (struct loop_source *s = first; s; s = s->next) {
    s->fds = l->fds + n;
    s->count = s->prepare(s->opaque, s->fds, most - n, timeout);
    n += s->count;
  }
  return n;
}

static void drain(int fd) {
  uint64_t count;
  ssize_t got = read(fd, &count, sizeof count);
  (void)got;
}

void loop_run(struct loop *l) {
  struct pollfd *fds = l->fds;
  struct watch *owners[LOOP_MAX];
  while (!atomic_load(&l->quit)) {
    int timeout = -1;
    unsigned n = loop_collect(l, fds, owners);
    fds[n] = (struct pollfd){.fd = l->wake_fd, .events = POLLIN};
    atomic_store(&l->kicked, false); /* what happens from here on wakes the poll */
    pthread_mutex_lock(&l->mutex);
    struct loop_source *sources = l->sources;
    pthread_mutex_unlock(&l->mutex);
    unsigned all = prepare_sources(l, sources, n + 1, &timeout);
    if (poll(fds, all, timeout) < 0) {
      if (errno == EINTR)
        continue;
      return;
    }
    if (fds[n].revents)
      drain(l->wake_fd);
    for (unsigned i = 0; i < n; i++) {
      pthread_mutex_lock(&l->mutex);
      bool live = !owners[i]->dead;
      pthread_mutex_unlock(&l->mutex);
      if (live && fds[i].revents)
        owners[i]->ready(owners[i]->opaque, fds[i].revents);
    }
    for (struct loop_source *s = sources; s; s = s->next)
      s->dispatch(s->opaque, s->fds, s->count);
  }
}

void loop_quit(struct loop *l) {
  atomic_store(&l->quit, true);
  loop_wake(l);
}
