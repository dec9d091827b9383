/* SPDX-License-Identifier: MIT */
/*
 * Random user-mode programs made from the instruction table (fuzz_gen.c), and what a comparison between the
 * host's processor and an engine looks at (fuzz_compare.c). fuzz_cpu.c puts them together.
 */
#ifndef TESTS_CPU_FUZZ_H
#define TESTS_CPU_FUZZ_H

#include "core/insn.h"
#include "tests/cpu/native.h"

#define PIECES_MAX 32u
#define PIECE_BYTES 48u
#define FIXUPS_MAX 3u
#define PATCHES_MAX 64u
#define NO_TARGET 0xff

/* Where a branch's displacement or target goes, once the program is laid out. */
struct fixup {
  uint8_t at, size;
  uint8_t target; /* piece; the number of pieces = the end; NO_TARGET: what is there already */
  bool relative;
  uint32_t base; /* of the code segment that the target is an offset in */
};

/* One instruction of the table with what prepares for it: the unit in which a program is shortened. */
struct piece {
  uint16_t id;
  uint8_t length, fixups;
  struct fixup fixup[FIXUPS_MAX];
  uint8_t bytes[PIECE_BYTES];
};

/* Memory that differs from the data template; a target as above or a value. */
struct patch {
  uint16_t offset;
  struct fixup fixup;
  uint32_t value;
};

struct test_case {
  struct native_state state;
  uint32_t code_base;
  bool code32;
  unsigned template, count, patches, start, bytes; /* start, bytes: of the program in the code page */
  struct patch patch[PATCHES_MAX];
  struct piece piece[PIECES_MAX];
};

/* How a program is to be made. */
struct recipe {
  const uint16_t *rows;
  unsigned row_count, length_max;
  bool sweep; /* one instruction, in this form (forms.h) */
  unsigned form;
};

extern const char *const insn_names[INSN_COUNT];
bool name_has_prefix(const char *s, const char *prefix);

/* Why this row cannot be compared on a host that runs Linux; NULL if it can. */
const char *row_excluded(unsigned id);
/* Does the row leave flags undefined that the emulator has not from the host? */
bool leaves_undefined(unsigned id);

void make_templates(void);
void make_case(struct test_case *t, const struct recipe *recipe, uint64_t seed);
/* Code and data areas as the program wants them; after changes of piece[] as well. */
void lay_out(struct test_case *t, uint8_t *code, uint8_t *data);
const uint8_t *readonly_page(void);

/* What a run left behind. */
struct outcome {
  struct native_state state;
  const uint8_t *code, *data;
};
/* What processors may do differently, found by processors_vary after a difference. */
struct leniency {
  const char *reason;                      /* NULL: nothing is excused */
  bool all, flags, registers, fpu, memory; /* what need not agree */
};
struct leniency processors_vary(const struct outcome *host, const struct outcome *guest);
/* Number of differences; printed if `print`. */
unsigned compare_outcomes(const struct test_case *t, const struct outcome *host, const struct outcome *guest,
                          const struct leniency *lenient, bool print);

#endif
