/* SPDX-License-Identifier: MIT */
/* Noting what the interpreter executes; see cover.h. The file is shared memory, so that a crash or fork()
 * loses nothing. */
#include "tests/cpu/cover.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/engine.h"

static uint8_t *hits;

static void note(const struct insn *in, bool retired) {
  hits[in->id * FORMS + insn_form(in)] |= retired ? COVER_RETIRED : COVER_FETCHED;
}

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("INSN_COVERAGE");
  if (!path)
    return;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0 || ftruncate(fd, COVER_SIZE) != 0 ||
      (hits = mmap(NULL, COVER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)) == MAP_FAILED) {
    perror(path);
    exit(2);
  }
  close(fd);
  interp_watch = note;
}
