/* SPDX-License-Identifier: MIT */
/*
 * The generator: guest instructions of one block to host code. gen.c has the frame of a block and its exits,
 * gen_mem.c the address strategy, gen_alu.c / gen_stack.c / gen_branch.c / gen_fpu.c / gen_string.c the
 * classes.
 */
#ifndef TRANSLATE_GEN_H
#define TRANSLATE_GEN_H

#include "translate/jit.h"

struct gen;

/* Emits the part of an instruction that touches memory, with the operand at `m`. Called twice: for the fast
 * path and for the out-of-line slow path, where m is cpu->membuf. Must not fault, must not branch out. */
typedef void (*gen_op)(struct gen *g, const struct insn *in, struct host_mem m);

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_RMW };

/* Where to go on if a slow store must leave the block after this instruction. */
enum leave { LEAVE_NEXT, LEAVE_CONST, LEAVE_R11 };

/* COLD_CORE: like COLD_MEM, but the core executes the whole instruction. */
enum cold_kind { COLD_MEM, COLD_CORE, COLD_SEG, COLD_FPU, COLD_EXIT_LEAVE, COLD_HEAD };

/*
 * x87 pointers that are not in memory yet. They are stored where somebody can look: before calls to the core,
 * exits and changes of the registers that the operand's address is made of, and on slow paths.
 */
struct fp_pointers {
  bool code, data; /* FIP, FCS and FOP; FDP and FDS */
  uint8_t seg;     /* of FDS */
  uint16_t opcode;
  uint32_t eip;
  struct host_mem at; /* FDP, in 32 bits */
};

/* An out-of-line path, emitted behind the block. */
struct cold {
  enum cold_kind kind;
  uint8_t *jrcxz;  /* rel8 that must reach an island (or NULL: patched) */
  uint8_t *island; /* rel32 of the island's jump */
  const uint8_t *resume;
  const uint8_t *again; /* COLD_MEM: the access, with RCX = addend; NULL: not to be tried again */
  uint8_t index;        /* guest instruction */
  int8_t la;            /* COLD_MEM: register that holds the linear address */
  uint8_t leave;
  uint8_t access;
  uint8_t check; /* COLD_SEG: see gen_segment */
  struct fp_pointers fp;
  bool reload_fpu; /* COLD_CORE: what follows relies on a loaded FPU */
  uint32_t leave_eip;
  uint32_t info;
  gen_op op;
  int32_t arg; /* g->arg when op was emitted */
};

/* A direct exit that is emitted behind the block: the link's own stub, and of a side exit of a trace, what
 * must be put right before. */
struct gen_exit {
  uint8_t *field; /* rel32 of the jump that goes there */
  uint32_t target;
  uint8_t index; /* guest instruction */
  uint8_t rest;  /* side exit: instructions of the trace that are not executed */
  bool side;
  bool thunk;   /* it is not there: side exit to where it was */
  uint8_t *key; /* then the immediate operand of the comparison */
  int32_t sp;   /* and what is to be added to R15 */
  struct fp_pointers fp;
};
#define MAX_EXITS (BLOCK_MAX_INSNS + 4)

/* PUSH from memory: two limit checks, two probes; head and end of the block */
#define MAX_COLD (4 * BLOCK_MAX_INSNS + 8)

struct gen {
  struct jit *j;
  struct block *b;
  struct emitter e;
  uint32_t mode;
  uint32_t cs_limit;
  const struct insn *insns;
  const int16_t *off;  /* of their EIP from the block's */
  const int8_t *thunk; /* of each: the register that the thunk loads which it calls, or -1 */
  unsigned count;
  uint8_t left[BLOCK_MAX_INSNS + 1]; /* instructions from here to the end, with those of thunks */
  int32_t sp;                        /* ESP is R15 + sp, see gen_sp_may_wait */
  unsigned index;                    /* instruction being generated */
  uint32_t eip, next;                /* of it, and of the one after it */
  int32_t arg;                       /* parameter of gen_op, kept in struct cold */
  bool fpu_ready;                    /* the guest's FPU state is known to be in the host's registers */
  struct fp_pointers fp;
  unsigned cold_count;
  unsigned first_pending; /* colds before this one have reached an island */
  uint8_t *front[2];      /* jumps before the entry for the first that have none: out of nobody's way */
  unsigned front_used;
  unsigned exit_count;
  bool ended;                 /* the block's last instruction has emitted its exits */
  struct cold no_cold;        /* what an access by the window returns */
  bool only_tlb;              /* this access does not go by the window */
  struct cold cold[MAX_COLD]; /* from here on not cleared for each block */
  struct gen_exit exit[MAX_EXITS];
};

/* --- gen.c --- */
void gen_block(struct gen *g);
/* Make room: if a pending jrcxz could not reach past `bytes` more bytes, emit an island here. */
void gen_reserve(struct gen *g, unsigned bytes);
struct cold *gen_cold(struct gen *g, enum cold_kind kind); /* emits jrcxz, registers its target */
void gen_reach_front(struct gen *g);
/* reg = EIP constant of this block; the second form stores it to cpu->eip (changes RCX). Flags survive. */
void gen_eip(struct gen *g, int reg, uint32_t eip);
void gen_store_eip(struct gen *g, uint32_t eip);
void gen_store_fp_pointers(struct gen *g);                   /* those that are pending; changes RCX */
void gen_lea(struct emitter *e, int dst, struct host_mem m); /* 32 bits; base may be NOREG */
void gen_exit_to(struct gen *g, uint32_t target);            /* leave for a constant EIP */
/* Inside a trace: leave for `target` if the condition holds. */
void gen_side_exit(struct gen *g, int cc, uint32_t target);
/* Leave if the thunk at `target` is not there any more. */
void gen_thunk_exit(struct gen *g, uint32_t target);
static inline bool gen_inside(const struct gen *g) { return g->index + 1 < g->count; }
void gen_exit_lookup(struct gen *g);                 /* leave for the EIP in R8D */
void gen_exec(struct gen *g, const struct insn *in); /* call the core for this instruction */
uint32_t gen_left(const struct gen *g);              /* instructions not retired, the current one included */

/* --- gen_mem.c --- */
/* Effective address (offset) of a ModRM operand; returns the register that holds it, upper half zero. R8 or a
 * guest register. */
int gen_offset(struct gen *g, const struct insn *in);
struct host_mem gen_guest_mem(const struct insn *in); /* 32-bit address size: the offset as an expression */
bool gen_depends(const struct host_mem *m, unsigned gprs); /* is one of these guest registers (bits) in it? */
void gen_offset_into(struct gen *g, const struct insn *in, int dst); /* 32-bit address size only */
/* Limit check and base: offset in `reg` to linear address in the returned register (R8 or `reg`). */
int gen_linear(struct gen *g, int seg, int reg, unsigned size, bool write);
void gen_cold_segment(struct gen *g, const struct cold *c);
void gen_call_slow(struct gen *g, const struct cold *c, const uint8_t *stub); /* gen.c */
/* TLB probe and access at the linear address in `la`. align: misalignment of a 16-byte operand is #GP(0). */
struct cold *gen_access(struct gen *g, const struct insn *in, int la, unsigned size, enum access access,
                        bool align, gen_op op);
/* All three for a ModRM (or moffs) operand. */
struct cold *gen_modrm_access(struct gen *g, const struct insn *in, unsigned size, enum access access,
                              bool align, gen_op op);
/* The cold path of this access is the core's: its operation is not the same on a buffer (x87 stores that an
 * unmasked exception suppresses). */
void gen_slow_by_core(struct cold *c);
/* Is this instruction's memory reached by the window? Then the host's page faults do what a cold path does,
 * and nothing of the guest's may change before the last access. */
bool gen_windowed(const struct gen *g);
/* Access at [reg + disp] in a flat segment. */
struct cold *gen_window_access(struct gen *g, const struct insn *in, struct host_mem m, gen_op op);
bool gen_seg_flat(const struct gen *g, int seg);

/* --- classes; false: not handled, use gen_exec --- */
bool gen_alu(struct gen *g, const struct insn *in);
bool gen_shift(struct gen *g, const struct insn *in);
bool gen_mul(struct gen *g, const struct insn *in);
bool gen_flag(struct gen *g, const struct insn *in);
bool gen_stack(struct gen *g, const struct insn *in);
bool gen_branch(struct gen *g, const struct insn *in);
bool gen_fpu(struct gen *g, const struct insn *in);
bool gen_simd(struct gen *g, const struct insn *in);
bool gen_string(struct gen *g, const struct insn *in);
bool gen_seg_load(struct gen *g, const struct insn *in);
bool gen_system(struct gen *g, const struct insn *in);

/* --- gen_stack.c --- */
/* May R15 lag behind ESP while this instruction is generated? */
bool gen_sp_may_wait(const struct gen *g, const struct insn *in);
void gen_settle_sp(struct gen *g); /* R15 = ESP */

/* --- gen_system.c --- */
bool gen_pushf(struct gen *g, const struct insn *in);
bool gen_popf(struct gen *g, const struct insn *in);
bool gen_far(struct gen *g, const struct insn *in);
/* Does the block go on behind an instruction with A_END, as it is translated in line? */
bool gen_goes_on(const struct insn *in, uint32_t mode);
void gen_make_stubs(struct jit *j, struct emitter *e);

#endif
