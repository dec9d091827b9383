/* SPDX-License-Identifier: MIT */
/*
 * A machine's copy in a child process. Guest memory and translated code are shared mappings, so the child
 * makes its own before it runs anything; all else is private anyway. The TLB's entries stay good: the memory
 * has the same addresses.
 *
 * The memory must stand still while children copy it. They hold the writing end of a pipe as long; the
 * parent's machine runs on when all have let it go, or died.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/machine.h"
#include "core/snapshot.h"

static void close_end(int *fd) {
  if (*fd > 0)
    close(*fd);
  *fd = 0;
}

int machine_before_fork(struct machine *m, char *error, size_t size) {
  if (!m->fork_pipe[1] && pipe2(m->fork_pipe, O_CLOEXEC) < 0) {
    int result = -errno;
    m->fork_pipe[0] = m->fork_pipe[1] = 0;
    snprintf(error, size, "cannot make a pipe: %s", strerror(-result));
    return result;
  }
  for (const struct snapshot_store *s = m->stores; s; s = s->next) {
    int result = s->freeze ? s->freeze(s->opaque, error, size) : 0;
    if (result)
      return result;
  }
  return 0;
}

int machine_after_fork(struct machine *m, char *error, size_t size) {
  machine_forked(m);
  int result = mem_forked(m->mem);
  close_end(&m->fork_pipe[0]);
  close_end(&m->fork_pipe[1]);
  if (!result)
    result = machine_restart_engine(m);
  if (result) {
    snprintf(error, size, "cannot copy the machine: %s", strerror(-result));
    return result;
  }
  for (const struct snapshot_store *s = m->stores; s && !result; s = s->next)
    result = s->forked ? s->forked(s->opaque, error, size) : 0;
  return result;
}

void machine_settle_forks(struct machine *m) {
  char byte;
  if (!m->fork_pipe[0])
    return;
  close_end(&m->fork_pipe[1]);
  while (read(m->fork_pipe[0], &byte, 1) < 0 && errno == EINTR)
    continue;
  close_end(&m->fork_pipe[0]);
}
