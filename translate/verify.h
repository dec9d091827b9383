/* SPDX-License-Identifier: MIT */
/*
 * The confinement checker: proves of the host code of one block, as emitted, that it touches no memory but
 * the guest's and the slots of struct cpu that are its business, and that control stays in the code cache.
 */
#ifndef TRANSLATE_VERIFY_H
#define TRANSLATE_VERIFY_H

#include "translate/jit.h"

/* False: `why` says what could not be proved, and at which offset of the block. */
bool verify_block(const struct jit *j, const struct block *b, char *why, size_t why_size);

/* For `-accel ...,verify=on`: a block that can't be proved is listed in the log, and the program ends. */
void verify_or_die(const struct jit *j, const struct block *b, const struct insn *insns, const int16_t *off,
                   unsigned count);

#endif
