/* SPDX-License-Identifier: MIT */
/* A program that was built without libseccomp confines nothing, and says so. */
#include "frontends/test/sandbox.h"

#include <stdio.h>

void sandbox_allow(struct sandbox *b, const char *path, bool write) {
  (void)b;
  (void)path;
  (void)write;
}

int sandbox_enter(const struct sandbox *b, char *note, size_t note_size, char *error, size_t size) {
  (void)b;
  (void)error;
  (void)size;
  snprintf(note, note_size, "built without libseccomp: nothing is confined");
  return 0;
}

int sandbox_enter_leaf(char *error, size_t size) {
  (void)error;
  (void)size;
  return 0;
}
