/* SPDX-License-Identifier: MIT */
/*
 * A guest CPU in user mode that sees what native.h's code sees: the same areas, Linux's selectors and the
 * same LDT, paging (with PAE and NX if the model has them), an IDT whose handlers are never executed
 * (arriving there ends a run).
 */
#ifndef TESTS_CPU_GUEST_H
#define TESTS_CPU_GUEST_H

#include "core/machine.h"
#include "core/mem.h"
#include "tests/cpu/native.h"

#define GUEST_TABLES 0x7a5c0000u /* where the tables are mapped, for the supervisor only */
#define GUEST_TABLES_SIZE 0x10000u

struct guest {
  struct machine machine;
  const struct engine *engine; /* NULL: the interpreter, step by step */
  struct cpu *cpu;
  bool pae;
  uint8_t *low, *code, *data, *readonly; /* host pointers: physical 0, NATIVE_CODE, _DATA, _READONLY */
};

struct guest *guest_new(const char *model);
void guest_free(struct guest *g);
/* Run by this engine (with its options, may be NULL) from now on. */
void guest_use_engine(struct guest *g, const struct engine *engine, const char *options);
/* Fill the two areas. */
void guest_put_code(struct guest *g, const uint8_t *code);
void guest_put_data(struct guest *g, const uint8_t *data);
/* Load a state into the CPU, ready to step; and read it back. */
void guest_load(struct guest *g, const struct native_state *state);
/* As native_run, interpreted; `steps` bounds it (vector -1 when they are used up). */
void guest_run(struct guest *g, struct native_state *state, unsigned steps);
/* The same from the CPU's present state, after guest_load and what a test has changed since. */
void guest_continue(struct guest *g, struct native_state *state, unsigned steps);

#endif
