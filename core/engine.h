/* SPDX-License-Identifier: MIT */
/*
 * How a CPU is run. An engine executes guest instructions until cpu->icount reaches cpu->icount_limit (exactly in
 * counted mode; with the real clock it may stop a few short of it, but never goes beyond), cpu->pending has a bit that
 * wants the caller, the CPU halts or shuts down. It takes pending interrupts and traps itself, by cpu_deliver_events.
 */
#ifndef CORE_ENGINE_H
#define CORE_ENGINE_H

#include <stdio.h>

#include "core/cpu.h"

struct engine {
  const char *name; /* as in -accel */
  int (*init)(struct cpu *cpu, const char *options); /* options after the name, may be NULL; -errno, message logged */
  void (*run)(struct cpu *cpu);
  void (*flush)(struct cpu *cpu); /* drop all translations; NULL allowed */
  void (*info)(struct cpu *cpu, FILE *out); /* info jit; NULL allowed */
  void (*destroy)(struct cpu *cpu);
};

extern const struct engine engine_interp; /* core/interp.c */

/*
 * Execute exactly one instruction at CS:EIP (one iteration of a repeated string instruction counts as
 * one when interrupted, the whole when not: a REP instruction runs to its end unless an event is
 * pending, then EIP stays on it). Delivers faults. Updates cpu->icount and stat.interp_insns. Used by every engine
 * for what is too rare to translate. Does not take interrupts.
 */
void interp_step(struct cpu *cpu);

/*
 * Execute a decoded instruction at CS:EIP, for an engine that has fetched it, with no shadow, TF, RF or breakpoint
 * to honour. Raises. Commits EIP but counts nothing; true if the instruction retired (a repeated string instruction
 * may leave EIP on itself).
 */
struct insn;
bool interp_execute(struct cpu *cpu, const struct insn *in);

/*
 * For tests that count what they cover: called when an instruction is fetched for the first time in a while, and each
 * time that its handler has returned. Set before anything runs; NULL otherwise, and then it costs nothing.
 */
extern void (*interp_watch)(const struct insn *in, bool retired);

#endif
