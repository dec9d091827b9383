/* SPDX-License-Identifier: MIT */
/* Stack steps that branches share with PUSH and POP. */
#ifndef TRANSLATE_GEN_STACK_H
#define TRANSLATE_GEN_STACK_H

#include "translate/gen.h"

/* Push a host register or a constant of the operand size; the returned cold path's `leave` may be changed. */
struct cold *gen_push_reg(struct gen *g, const struct insn *in, int reg);
struct cold *gen_push_eip(struct gen *g, const struct insn *in, uint32_t eip); /* for CALL */
void gen_push_thunk(struct gen *g, const struct insn *in, uint32_t eip); /* R9D = eip, ESP stays */
struct cold *gen_push_imm(struct gen *g, const struct insn *in, uint32_t value);
void gen_peek(struct gen *g, const struct insn *in); /* R11D = top of stack, zero-extended; ESP unchanged */
void gen_adjust_sp(struct gen *g, int bytes);
void gen_load_r11(struct gen *g, const struct insn *in); /* R11D = ModRM memory operand of the operand size */

#endif
