/* SPDX-License-Identifier: MIT */
/*
 * The guest's x87, MMX and SSE state (cpu->fx) between instructions: what the interpreter's files share,
 * and what a translator needs to agree with them.
 */
#ifndef CORE_FPU_H
#define CORE_FPU_H

#include "core/cpu.h"
#include "core/insn.h"

#define FSW_IE 0x0001u
#define FSW_DE 0x0002u
#define FSW_ZE 0x0004u
#define FSW_OE 0x0008u
#define FSW_UE 0x0010u
#define FSW_PE 0x0020u
#define FSW_SF 0x0040u
#define FSW_ES 0x0080u
#define FSW_TOP 0x3800u
#define FSW_TOP_SHIFT 11
#define FSW_B 0x8000u
#define FSW_EXCEPTIONS 0x003fu
#define FCW_INIT 0x037fu

/* Set ES and B from the flags and masks. */
void fpu_update_summary(struct fxsave *fx);
/* Full tag word: two bits per physical register. */
uint16_t fpu_tag_word(const struct fxsave *fx);

/*
 * What every waiting x87 or MMX instruction does first: report a pending exception. True: go on. False: the
 * processor waits here for FERR#'s interrupt (CR0.NE clear), next_eip names this instruction again.
 */
bool fpu_wait(struct cpu *cpu);
/* After the status or control word has changed: let go of FERR# once nothing is pending. */
void fpu_update_ferr(struct cpu *cpu);

/* Valid bits of MXCSR. */
uint32_t fpu_mxcsr_mask(const struct cpu *cpu);

/* x87 state becomes MMX state: TOP = 0, every register in use (SDM vol. 1, 9.5). */
void mmx_enter(struct cpu *cpu);
/* MMn: cpu->fx.st is in stack order. */
uint8_t *mmx_register(struct cpu *cpu, unsigned reg);

/* Linear address of the memory operand for an access of `size` bytes, segment checks done; alignment if the
 * row demands it. A write is checked to its last byte. */
uint32_t fpu_operand_la(struct cpu *cpu, const struct insn *in, unsigned size, bool write);
void fpu_read_la(struct cpu *cpu, uint32_t la, void *buf, unsigned size);
void fpu_write_la(struct cpu *cpu, uint32_t la, const void *buf, unsigned size);
/* Bytes in memory of an operand letter; 0 if it names no memory. */
unsigned fpu_operand_size(enum insn_op op);

/* Any row of class CL_FPU; CL_MMX and CL_SSE. */
void interp_x87_row(struct cpu *cpu, const struct insn *in);
void interp_simd_row(struct cpu *cpu, const struct insn *in);
/* The MASKMOV pair, and EMMS. */
void interp_maskmov(struct cpu *cpu, const struct insn *in);
void interp_emms(struct cpu *cpu);

#endif
