/* SPDX-License-Identifier: MIT */
/*
 * Running 32-bit user code on the host's own processor: the reference for the interpreter. The code runs in
 * this very process through the compatibility segment (CS 23h), entered by returning from a signal
 * handler with a made-up context, and left by whatever it raises (it should end in INT3).
 */
#ifndef TESTS_CPU_NATIVE_H
#define TESTS_CPU_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cpu.h"

/* What the code may touch, at the same linear addresses natively and in the guest; unmapped around it. */
#define NATIVE_CODE 0x10000000u
#define NATIVE_CODE_SIZE 0x1000u
#define NATIVE_DATA 0x10010000u
#define NATIVE_DATA_SIZE 0x4000u

struct native_state {
  uint32_t gpr[8];
  uint32_t eip, eflags;
  struct fxsave fx; /* without the pointers */
  int vector; /* out: exception that ended it; -1: a time-out */
  uint32_t error, cr2;
};

/* Map the two areas and install the signal handlers; signals of the emulator's own go to the handlers found
 * (so an engine comes first). False where the host cannot do it. */
bool native_init(void);
/* Run from state->eip to the first exception. */
void native_run(struct native_state *state);

#endif
