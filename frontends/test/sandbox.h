/* SPDX-License-Identifier: MIT */
/*
 * What a process that runs guests and scripts may still do: Landlock for files (and, where the kernel has it,
 * TCP ports and signals), seccomp for system calls. Needs no privilege; once entered it cannot be left, and
 * forks inherit it.
 */
#ifndef FRONTENDS_TEST_SANDBOX_H
#define FRONTENDS_TEST_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#define SANDBOX_PATHS 300

struct sandbox {                    /* paths that are not there are left out */
  const char *read[SANDBOX_PATHS];  /* files, and directories with all that is below */
  const char *write[SANDBOX_PATHS]; /* directories where files may be made, changed and removed */
  unsigned reads, writes;
};

void sandbox_allow(struct sandbox *b, const char *path, bool write);
/*
 * Confine this process. 0; or -1, with a line that says what could not be done. `note`, if it is not empty
 * afterwards, says what this kernel does not confine.
 */
int sandbox_enter(const struct sandbox *b, char *note, size_t note_size, char *error, size_t size);
/* For a process that makes no more processes: takes fork, wait and signals away too. */
int sandbox_enter_leaf(char *error, size_t size);

#endif
