/* SPDX-License-Identifier: MIT */
/*
 * Running 16- and 32-bit user code on the host's own processor: the reference for interpreter and translator.
 * The code runs in this very process in compatibility mode (CS 23h, or a code segment of the LDT made here),
 * entered by a far jump with the whole state loaded, and left by the exception that it raises (it should end
 * in INT3).
 *
 * System calls that the code might make are turned into vector 80h (syscall user dispatch), so that random
 * code does no harm. Not seen: the x87's pointer selectors, unless the code stores them itself; anything of
 * CPL 0.
 */
#ifndef TESTS_CPU_NATIVE_H
#define TESTS_CPU_NATIVE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cpu.h"

/* What the code may touch, at the same linear addresses natively and in the guest; unmapped around it. Pages
 * other than code cannot be executed. */
#define NATIVE_CODE 0x10000000u
#define NATIVE_CODE_SIZE 0x1000u
#define NATIVE_DATA 0x10010000u
#define NATIVE_DATA_SIZE 0x4000u
#define NATIVE_READONLY (NATIVE_DATA + NATIVE_DATA_SIZE) /* a page that may be read only */
#define NATIVE_READONLY_SIZE 0x1000u

#define USER_CODE32 0x23u /* Linux's selectors, flat */
#define USER_CODE64 0x33u /* would leave the mode under test */
#define USER_DATA 0x2bu

/* The LDT on both sides, by index; the selector is 8 * index + 7. */
struct native_segment {
  uint32_t base, limit;                 /* 20 bits */
  uint8_t code, expand_down, read_only; /* read_only: of code, execute-only */
  uint8_t big, pages, absent;           /* D/B, G, not P */
};
enum {
  LDT_FLAT,
  LDT_DATA,
  LDT_HALF,
  LDT_ODD,
  LDT_READ,
  LDT_DOWN32,
  LDT_DOWN16,
  LDT_DATA16,
  LDT_SMALL16,
  LDT_WRAP,
  LDT_DOWN_PAGES,
  LDT_CODE32,
  LDT_CODE32_X,
  LDT_CODE16,
  LDT_CODE16_64K,
  LDT_ABSENT,
  LDT_CODE_ABSENT,
  LDT_CODE_FLAT,
  LDT_CODE16_X,
  LDT_MISALIGNED,
  LDT_DOWN_READ,
  LDT_BYTE,
  LDT_CODE_HIGH,
  LDT_COUNT
};
extern const struct native_segment native_ldt[LDT_COUNT];
#define LDT_SELECTOR(i) ((uint16_t)((i) << 3 | 7))

struct native_state {
  uint32_t gpr[8];
  uint32_t eip, eflags;
  uint16_t sel[6];  /* ES..GS; CS = 0 stands for the flat segments, with FS and GS null */
  struct fxsave fx; /* FIP, FDP and FOP are results only, FCS and FDS are not there */
  int vector;       /* out: exception that ended it; -1: a time-out */
  uint32_t error, cr2;
};

/* Map the areas and install the signal handlers; signals of the emulator's own go to the handlers found (so
 * an engine comes first). False where the host cannot do it. */
bool native_init(void);
/* Run from state->eip to the first exception. */
void native_run(struct native_state *state);

#endif
