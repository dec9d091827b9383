/* SPDX-License-Identifier: MIT */
/* String instructions: the core's for now, in bulk where they repeat. */
#include "translate/gen.h"

bool gen_string(struct gen *g, const struct insn *in) {
  (void)g, (void)in;
  return false;
}
