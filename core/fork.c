/* SPDX-License-Identifier: MIT */
/*
 * A machine's copy in a child process. Guest memory and translated code are shared mappings, so the child
 * makes its own before it runs anything; all else is private anyway. The TLB's entries stay good: the memory
 * has the same addresses.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/machine.h"
#include "core/snapshot.h"

int machine_before_fork(struct machine *m, char *error, size_t size) {
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
