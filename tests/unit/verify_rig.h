/* SPDX-License-Identifier: MIT */
/* For the tests of the confinement checker: machines in several modes, and blocks of random guest code. */
#ifndef TESTS_UNIT_VERIFY_RIG_H
#define TESTS_UNIT_VERIFY_RIG_H

#include "cpu_fixture.h"
#include "translate/jit.h"
#include "translate/translate.h"
#include "translate/verify.h"

enum setup {
  SETUP_FLAT,    /* protected mode, flat segments, no paging: blocks are bound to their EIP */
  SETUP_LIMITED, /* limits and bases */
  SETUP_PAGED,   /* flat, paging: blocks are relative */
  SETUP_USER,    /* the same in ring 3 */
  SETUP_REAL,
  SETUP_V86,
  SETUP_WINDOW,
  SETUP_WINDOW_USER,
  SETUPS
};
extern const char *const setup_name[SETUPS];

/* The engine never runs: blocks are made and looked at. */
struct bed verify_bed(enum setup setup);
static inline struct jit *verify_jit(struct bed *b) { return b->cpu->engine_data; }

/* Seeded, the same everywhere. */
struct dice {
  uint64_t state;
};
uint32_t roll(struct dice *d, uint32_t sides);

/* One to `most` instructions of all kinds, the last one perhaps a branch, translated. */
struct block *verify_random_block(struct bed *b, struct dice *d, unsigned most);
/* These bytes, translated. */
struct block *verify_block_of(struct bed *b, const void *code, size_t size);

/* --- verify_watch.c --- */
/* Surroundings for blocks of this machine; its TLB and jump cache are gone. One machine at a time. */
void verify_watch_begin(struct bed *b);
/* Run the block once, with registers by the dice. False: it did what it must not, *why says what. */
bool verify_watch(struct block *block, struct dice *d, const char **why);

/* --- verify_mutants.c --- */
struct mutation {
  const char *name;
  unsigned made, caught;
  unsigned run, seen; /* of those that were caught: tried out, and found to escape by verify_watch */
};
/* Every mutation wherever it fits in this block, at most `each` times: bytes are changed, the checker looks,
 * the bytes are put back. Each of these mutations breaks the confinement. Returns how many were not caught.
 * `watched`: of those that were caught, so many times each is tried out (after verify_watch_begin). */
unsigned verify_mutate(struct bed *b, struct block *block, struct dice *d, unsigned each, unsigned watched);
const struct mutation *verify_mutations(size_t *count);

#endif
