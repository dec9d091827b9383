/* SPDX-License-Identifier: MIT */
/*
 * Inside the confinement checker: what it knows of a register, of the state in front of a host instruction,
 * and of the instruction.
 *
 * 32-bit quantities are linear forms over symbols: every value that is not computed from others in a way that
 * the proof needs gets a new symbol. Two registers hold the same linear address if their forms are equal.
 */
#ifndef TRANSLATE_VERIFY_FLOW_H
#define TRANSLATE_VERIFY_FLOW_H

#include <capstone/capstone.h>

#include "translate/jit.h"

/* coef[0] * sym[0] + coef[1] * sym[1] + off, modulo 2^32; sym 0 = unused, sorted. No padding: compared by
 * memcmp. */
struct vform {
  uint32_t sym[2], coef[2], off;
};

enum vkind {
  V_ANY, /* 64 bits of which nothing is known */
  /* upper half zero: */
  V_FORM,     /* a */
  V_PAGE,     /* a >> 12 */
  V_PAGES,    /* (a >> 12) + (b >> 12) */
  V_LOW16,    /* a & 0xffff */
  V_LOW16X2,  /* twice that: index of a jump cache entry in units of 8 bytes */
  V_FLAGS,    /* cpu->eflags after step `arg` of changing IF by rotations */
  V_BIAS,     /* eip_bias of the jump cache entry that was hit */
  V_KEY_ID,   /* upper half of jc_key */
  V_KEY_SAME, /* that minus the one under which exit `num` was linked */
  V_MOVED,    /* not zero: mode and privilege level have changed */
  V_LAST32 = V_MOVED,
  /* values of the host, none of the guest's business: */
  V_ADDEND,   /* cpu->tlb[arg][(a >> 12) + (b >> 12)] */
  V_HOST,     /* address of a + num, where an addend for a .. b was not zero */
  V_TAG,      /* tag of the jump cache entry of EIP a; arg bit 0: + a, bit 1: + key */
  V_KEY,      /* cpu->jc_key */
  V_TARGET,   /* host address from the jump cache entry that was hit */
  V_BUDGET,   /* R12: the one at entry + num */
  V_BUDGET_C, /* R12: as C left it */
  V_SPENT,    /* V_BUDGET >> 44: zero if it went below zero */
  V_CPU,
  V_STACK,
};

struct vvalue { /* no padding */
  uint32_t kind, arg, nonzero, num;
  struct vform a, b;
};

#define V_FACTS 4

struct vstate {
  struct vvalue reg[16];
  struct vform below[V_FACTS]; /* forms that are less than 4096 */
  uint32_t below_count;
  uint32_t hit; /* the jump cache entry of EIP hit_eip has matched */
  struct vform hit_eip;
  uint32_t far;       /* exit far - 1 was linked under the key that is current */
  uint32_t moved;     /* C may have changed mode and privilege level: no guest memory any more */
  uint32_t budget_ok; /* V_BUDGET is known not to be negative */
};

/* An operand, from Capstone's. */
struct vop {
  uint8_t type; /* x86_op_type */
  uint8_t size;
  int8_t reg;         /* general register number, or -1 */
  bool high;          /* AH, CH, DH, BH */
  int8_t base, index; /* -1: none, -2: not a 64-bit (or, with 67h, 32-bit) general register */
  uint8_t scale, seg; /* seg: 0 none, 1 GS, 2 another */
  int64_t disp;
  int64_t imm;
};

enum { VP_66 = 1, VP_F2 = 2, VP_F3 = 4, VP_LOCK = 8, VP_GS = 16, VP_67 = 32, VP_REX = 64, VP_VEX = 128 };

struct vinsn {
  uint32_t off;
  uint16_t id; /* x86_insn */
  uint8_t len;
  uint8_t prefixes; /* VP_* */
  uint8_t opcode;   /* first opcode byte; 0x0f: see opcode2 */
  uint8_t opcode2, modrm;
  uint8_t op_count;
  struct vop op[3];
  int32_t next[3]; /* successors in the block (instruction numbers), -1 = none: falls through, jumps to, link
                      stub */
  int16_t link;    /* which of the block's exits this branch is, or -1 */
  const uint8_t *target; /* of a direct branch, executable alias */
  struct vstate *state;
  uint8_t mark;
};

struct verifier {
  const struct jit *j;
  const struct block *b;
  const uint8_t *base; /* of the block's code, with what is in front of the entry; executable alias */
  uint32_t size;
  struct vinsn *insns;
  uint32_t count, room;
  int32_t *at; /* by offset: instruction that begins there, -1 none, -2 inside of one */
  uint32_t at_room;
  uint32_t *order; /* reverse postorder */
  uint32_t next_sym;
  const struct vinsn *now; /* for the message */
  char *why;
  size_t why_size;
  bool failed;
};

bool v_fail(struct verifier *v, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* returns false */

/* --- verify_value.c --- */
struct vform vf_const(uint32_t value);
bool vf_equal(const struct vform *x, const struct vform *y);
/* *sum = x + coef * y; false if that takes more than two symbols */
bool vf_add(struct vform *sum, const struct vform *x, const struct vform *y, uint32_t coef);
bool vf_is_const(const struct vform *f, uint32_t *value);
struct vvalue v_value(uint32_t kind);
struct vvalue v_form(struct vform f);
struct vvalue v_fresh(struct verifier *v); /* a new 32-bit quantity */
bool v_equal(const struct vvalue *x, const struct vvalue *y);
static inline bool v_is32(const struct vvalue *x) { return x->kind >= V_FORM && x->kind <= V_LAST32; }
static inline bool v_is_host(const struct vvalue *x) { return x->kind > V_LAST32; }
void vs_entry(struct verifier *v, struct vstate *s);
void vs_join(struct verifier *v, struct vstate *into, const struct vstate *from);
void vs_learn_below(struct vstate *s, const struct vform *f);
bool vs_knows_below(const struct vstate *s, const struct vform *f);
void vs_forget_host(struct vstate *s); /* C has run: TLB and jump cache may have changed */

/* Writable address of the last 4 bytes of v->now: displacement or immediate. */
const uint8_t *v_tail(const struct verifier *v);
/* The exit with the constant at this address, plus 1; 0 = none. */
uint32_t v_far_key(const struct verifier *v, const uint8_t *field);
uint32_t v_far_bias(const struct verifier *v, const uint8_t *field);

/* --- verify_mem.c --- */
struct vaccess {
  const struct vop *op;
  unsigned size;
  bool read, write;
  bool aligned; /* the host checks 16-byte alignment */
};
enum vplace { VM_BAD, VM_GUEST, VM_SLOT, VM_TLB, VM_JUMP };
/* Where a memory operand points; VM_BAD after v_fail. VM_SLOT: *slot is the offset in struct cpu; VM_TLB:
 * *slot is the table; VM_JUMP: *slot is the offset in struct jc_entry. */
enum vplace v_memory(struct verifier *v, const struct vstate *s, const struct vaccess *a, uint32_t *slot);
/* Is [offset, offset + size) a field that generated code may read, or a buffer that it may also write? */
bool v_slot_read(struct verifier *v, uint32_t offset, unsigned size);
bool v_slot_write(struct verifier *v, uint32_t offset, unsigned size, const struct vvalue *value);
bool v_is_membuf(uint32_t offset, unsigned size);
/* base and addend, in either order: the address as (addend, linear form) */
bool v_addend_pair(const struct vstate *s, const struct vop *op, const struct vvalue **addend,
                   const struct vvalue **linear);

/* --- verify_step.c --- */
/* The effect of v->now, which is not a branch, on the state. */
bool v_step(struct verifier *v, struct vstate *s);

/* --- verify_exit.c --- */
bool v_call(struct verifier *v, struct vstate *s); /* of a stub */
bool v_leave(struct verifier *v, const struct vstate *s,
             const uint8_t *stub);                            /* jump to a stub; executable alias */
bool v_jump_out(struct verifier *v, const struct vstate *s);  /* to another block */
bool v_take_link(struct verifier *v, const struct vstate *s); /* by exit v->now->link */
bool v_jump_register(struct verifier *v, const struct vstate *s);
/* JRCXZ: *taken is the state if RCX is zero, *s if not; either may turn out impossible. */
void v_split(const struct vstate *s, struct vstate *taken, struct vstate *not_taken, bool *may_take,
             bool *may_not);

/* --- verify_insns.c --- */
#define VI_OK 0x01u
#define VI_READ0 0x02u /* operand 0 is only read */
#define VI_BOTH 0x04u  /* operand 1 is written, too */
#define VI_AX 0x08u    /* writes EAX (or a part) as well; so DX, CX */
#define VI_DX 0x10u
#define VI_CX 0x20u
#define VI_LOOSE 0x40u        /* a 16-byte operand need not be aligned */
#define VI_BITS 0x80u         /* a bit offset in a register reaches beyond the operand */
#define VI_SIZE(n) ((n) << 8) /* bytes of the memory operand, where Capstone is wrong */
#define VI_SIZE_OF(flags) ((flags) >> 8 & 31)
#define VI_MM4 0x8000u /* 4 bytes if the first operand is an MMX register */
/* 0: generated code must not contain it. For those that verify_step.c and verify_exit.c don't treat one by
 * one. */
unsigned v_insn_flags(unsigned id);

#endif
