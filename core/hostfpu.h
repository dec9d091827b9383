/* SPDX-License-Identifier: MIT */
/*
 * One x87, MMX or SSE instruction on the host's own unit: the interpreter's floating point is the
 * silicon's. The caller normalises the operands (memory is [rdi], registers as below), loads them here, and
 * takes the results; the host's own control words are put back, and nothing is left on its x87 stack.
 */
#ifndef CORE_HOSTFPU_H
#define CORE_HOSTFPU_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cpu.h"

struct hostfpu_simd {
  uint8_t xmm[3][16]; /* in and out: XMM0-2 */
  uint8_t mem[64]; /* [rdi] */
  uint64_t mm[2]; /* in and out: MM1, MM2, if `mmx` */
  uint32_t eax, ecx, edx; /* in and out */
  uint32_t eflags; /* out */
  uint32_t mxcsr; /* in and out; reserved bits must be clear */
  uint32_t mmx;
} __attribute__((aligned(64)));

struct hostfpu_x87 {
  struct fxsave state; /* in and out, up to `st` and without the pointers; no exception may be pending */
  uint8_t mem[128]; /* [rdi] */
  uint32_t eflags; /* in and out: arithmetic flags */
};

/* Execute the instruction `code` of `length` (at most 7) bytes. False if it raised an unmasked SIMD
 * exception: then only mxcsr has changed. */
bool hostfpu_simd(const uint8_t *code, unsigned length, struct hostfpu_simd *op);
/* The same for the x87. An unmasked exception is in the status word afterwards. */
void hostfpu_x87(const uint8_t *code, unsigned length, struct hostfpu_x87 *op);

/*
 * SIGFPE of an unmasked SIMD exception: true if it was ours and the context has been redirected. A
 * handler that others install later must ask here first; ours asks the one it found.
 */
bool hostfpu_sigfpe(void *ucontext);

#endif
