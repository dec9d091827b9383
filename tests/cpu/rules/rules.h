/* SPDX-License-Identifier: MIT */
/*
 * Exhaustive checks of the system architecture: each case sets up a machine, runs a few guest instructions
 * with an engine and compares what happened with what a rule, written down here once more from the manual
 * (SDM vol. 3) and independent of core/, says about that combination of descriptor, privilege, mode and
 * operand.
 *
 * Every guest program ends in INT3 (a gate of DPL 3) or in a fault; each vector's handler is a HLT. All
 * memory is written as a bus master does, so that an engine that keeps translations notices.
 */
#ifndef TESTS_CPU_RULES_RULES_H
#define TESTS_CPU_RULES_RULES_H

#include <stdio.h>
#include <string.h>

#include "core/desc.h"
#include "core/engine.h"
#include "core/machine.h"
#include "core/mem.h"

/* Physical memory; linear addresses are the same. */
#define GDT 0x1000u
#define IDT 0x2000u
#define HANDLERS 0x3000u /* 16 bytes apart */
#define LDT 0x4000u
#define TSS 0x10000u /* with a whole I/O permission map behind it */
#define TSS_MAP (TSS + 0x88)
#define TSS_B 0x14000u /* 32-bit */
#define TSS_C 0x15000u /* 16-bit */
#define CODE 0x20000u
#define OTHER_CODE 0x28000u                       /* where the test's far transfers lead */
#define STACK(ring) (0x38000u + 0x2000u * (ring)) /* tops */
#define DATA 0x50000u
#define RAM_SIZE (16u << 20)

/* Selectors: ring n has code and data segments of DPL n. */
#define R_CODE(n) (0x08u + 16u * (n) + (n))
#define R_DATA(n) (0x10u + 16u * (n) + (n))
enum {
  S_TSS = 0x48,
  S_TSS_B = 0x50,
  S_TSS_C = 0x58,
  S_LDT = 0x60,
  S_TEST = 0x68,
  S_TARGET = 0x70,
  S_STACK = 0x78,
  S_CODE16 = 0x80,
  S_TASK_GATE = 0x88,
  GDT_SIZE = 0x100,
};

#define END 3     /* the vector that means: ran to its end */
#define NONE (-1) /* nothing happened: the budget ended */
#define SHUTDOWN (-2)

struct outcome {
  int vector;
  uint32_t error;                    /* 0 for vectors without */
  uint32_t eip, cs, eflags, esp, ss; /* as pushed; esp and ss from outer rings only, and SP from real mode */
  uint32_t frame;                    /* linear address of what was pushed */
};

struct bed {
  struct machine *m;
  struct cpu *cpu;
  const char *engine;
  unsigned passed, failed;
};

struct bed *bed_new(const struct engine *engine, const char *options, const char *model);
void bed_free(struct bed *b);

void put(struct bed *b, uint32_t pa, const void *from, size_t size);
void put8(struct bed *b, uint32_t pa, uint8_t v);
void put16(struct bed *b, uint32_t pa, uint16_t v);
void put32(struct bed *b, uint32_t pa, uint32_t v);
void put64(struct bed *b, uint32_t pa, uint64_t v);
uint32_t get8(struct bed *b, uint32_t pa);
uint32_t get16(struct bed *b, uint32_t pa);
uint32_t get32(struct bed *b, uint32_t pa);
void put_zero(struct bed *b, uint32_t pa, size_t size);

/* access: descriptor byte 5; flags: the G, D nibble. */
void put_desc(struct bed *b, uint16_t sel, uint32_t base, uint32_t limit, unsigned access, unsigned flags);
void put_gate(struct bed *b, uint32_t at, uint16_t sel, uint32_t off, unsigned access, unsigned count);
void put_code(struct bed *b, uint32_t pa, const void *code, size_t size); /* only if it differs */

/* Everything as at the start: tables, protected mode without paging, ring `cpl` with flat segments. */
void bed_tables(struct bed *b);
void bed_ring(struct bed *b, unsigned cpl);
void bed_real(struct bed *b); /* all segments 0, SP = 7000h, vectors at 0 */
void bed_v86(struct bed *b, unsigned iopl); /* all segments 0, SP = 7000h */
/* As MOV to CR0 and so on would, without their checks. */
void bed_control(struct bed *b, uint32_t cr0, uint32_t cr3, uint32_t cr4, uint64_t efer);

/* Run from CS:eip until an exception, INT3 or a halt. */
struct outcome run(struct bed *b, uint32_t eip);

/* One case: passed or not; the first failures are printed with the text. */
void verdict(struct bed *b, bool ok, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The outcome is this vector and, if it has one, this error code. */
void expect(struct bed *b, const struct outcome *o, int vector, uint32_t error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* Groups of cases. */
void rules_loads(struct bed *b);     /* segment registers, LAR, LSL, VERR, VERW, LLDT, LTR */
void rules_transfers(struct bed *b); /* far JMP, CALL, RET, IRET, interrupts through every gate */
void rules_stacks(struct bed *b);    /* inner stacks that fault */
void rules_limits(struct bed *b);    /* limits at every edge */
void rules_paging(struct bed *b);
void rules_tasks(struct bed *b);
void rules_privilege(struct bed *b);  /* IOPL, V86, VME, PVI, I/O permissions */
void rules_exceptions(struct bed *b); /* double faults */
void rules_real(struct bed *b); /* real mode */

#endif
