/* SPDX-License-Identifier: MIT */
/* -d in_asm, out_asm: listings by Capstone. */
#ifndef TRANSLATE_DUMP_H
#define TRANSLATE_DUMP_H

#include "translate/jit.h"

void dump_guest(const struct block *b, const struct insn *insns, const int16_t *off, unsigned count);
void dump_host(const struct jit *j, const struct block *b);

#endif
