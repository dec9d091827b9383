/* SPDX-License-Identifier: MIT */
/* Transcendental and approximating instructions with results that are the same on every host: for counted
 * time. */
#ifndef CORE_X87_EXACT_H
#define CORE_X87_EXACT_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cpu.h"
#include "core/insn.h"

/* F2XM1, FYL2X, FYL2XP1, FPTAN, FPATAN, FSIN, FCOS, FSINCOS. */
bool x87_is_transcendental(const struct insn *in);
/* The host has executed it: put the result in that does not depend on it. `before`: its operands. */
void x87_transcendental(const struct insn *in, const struct fxsave *before, struct fxsave *after);

/* RCPPS, RCPSS, RSQRTPS, RSQRTSS. */
bool simd_is_approximation(const struct insn *in);
void simd_approximate(const struct insn *in, uint8_t *result, const uint8_t *source);

#endif
