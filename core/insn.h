/* SPDX-License-Identifier: MIT */
/*
 * The instruction table and the decoder (SDM vol. 2, ch. 2 and app. A).
 *
 * insn.def is *the* table: it includes insn-int.def, insn-fpu.def and insn-sse.def, whose rows are
 *
 *   I(id, map, opcode, ext, pfx, "mnemonic", OP1, OP2, OP3, flags_read, flags_written, flags_undefined,
 *     class, attributes, feature)
 *
 * and every user (decoder, interpreter dispatch, translator, disassembler cross-check, test generator,
 * coverage) is generated from it. One row serves all operand sizes of an opcode (Ev: 16 or 32 bits).
 */
#ifndef CORE_INSN_H
#define CORE_INSN_H

#include <stdbool.h>
#include <stdint.h>

enum insn_map { MAP_1, MAP_0F, MAP_0F38, MAP_0F3A, MAP_COUNT };

/* How ModRM selects a row (column `ext`). */
#define X_NONE 0x000 /* no ModRM byte */
#define X_RM 0x100 /* ModRM, any form */
#define X_MEM 0x200 /* ModRM, memory forms only */
#define X_REG 0x300 /* ModRM, register forms only */
#define X_R(n) (0x400 | (n)) /* ModRM.reg = n, any form */
#define X_MR(n) (0x500 | (n)) /* ModRM.reg = n, memory forms */
#define X_RR(n) (0x600 | (n)) /* ModRM.reg = n, register forms */
#define X_B(b) (0x700 | (b)) /* this very ModRM byte */

/* Mandatory prefix (column `pfx`). P_ANY: 66, F2, F3 keep their ordinary meaning. */
enum insn_pfx { P_ANY, P_NP, P_66, P_F3, P_F2 };

/* Operands, in the letters of the SDM's appendix A.2. */
enum insn_op {
  OP_NONE,
  Eb, Ew, Ed, Ev, /* ModRM.rm: general register or memory */
  Gb, Gw, Gd, Gv, /* ModRM.reg: general register */
  Rd, Rv, /* ModRM.rm, register form only */
  Mb, Mw, Md, Mq, Mdq, Mv, Mp, Ma, Ms, M, /* memory only; Mp far pointer, Ma BOUND pair, Ms pseudo-descriptor */
  Mt, /* 80-bit real */
  Mu, /* operand of another size (FSAVE, FXSAVE, FBLD, environment) */
  Ib, Iw, Iv, Ibs, /* immediates; Ibs: byte, sign-extended to operand size */
  Jb, Jv, /* relative branch */
  Ap, /* far pointer immediate */
  Ob, Ov, /* moffs */
  Sw, /* segment register in ModRM.reg */
  Cd, Dd, /* control, debug register */
  Zb, Zv, /* register in the opcode's low 3 bits */
  AL_, CL_, AX_, eAX_, DX_, ONE, /* implied */
  Xb, Xv, Yb, Yv, /* DS:rSI, ES:rDI string operands */
  ES_, CS_, SS_, DS_, FS_, GS_,
  ST0, STi, /* x87 stack */
  Pq, Qd, Qq, Nq, /* MMX: reg; rm register or memory; rm register only */
  Vx, Wx, Wd, Wq, Ww, Wb, Ux, /* SSE: reg; rm xmm or memory of 128, 32, 64, 16, 8 bits; rm register only */
  XMM0_, /* implied */
};

enum insn_class {
  CL_COPY, /* integer, ModRM or register operands only; the host does the same */
  CL_MUL, /* implied EAX/EDX: MUL, IMUL, DIV, IDIV, CBW, CWD, BCD ... */
  CL_SHIFT,
  CL_STACK, /* PUSH, POP, PUSHA, ENTER, LEAVE, PUSHF, POPF */
  CL_BRANCH, /* near Jcc, JMP, CALL, RET, LOOP, JCXZ */
  CL_FAR, /* far JMP, CALL, RET, INT n, IRET, SYSENTER: changes CS */
  CL_STRING,
  CL_FLAG, /* CLC, STC, CMC, CLD, STD, LAHF, SAHF */
  CL_SEG, /* loads a segment register */
  CL_IO, /* IN, OUT (INS and OUTS are CL_STRING) */
  CL_SYSTEM, /* privileged or sensitive */
  CL_FPU, /* x87 */
  CL_MMX,
  CL_SSE,
  CL_NOP,
};

/* Attributes. */
#define A_LOCK 0x0001u /* LOCK allowed with a memory destination */
#define A_CPL0 0x0002u /* #GP unless CPL 0 */
#define A_IOPL 0x0004u /* sensitive to IOPL */
#define A_END 0x0008u /* ends a translated block: control transfer, or changes the mode */
#define A_REP 0x0010u /* F2/F3 repeat */
#define A_LOAD 0x0020u /* reads its memory operand, if ModRM names one */
#define A_STORE 0x0040u /* writes its memory operand */
#define A_NOMEM 0x0080u /* names memory but does not touch it (LEA, INVLPG, NOP, prefetch) */
#define A_PE 0x0100u /* #UD in real and V86 mode */
#define A_ALIGN 0x0200u /* 128-bit memory operand must be aligned, else #GP(0) */
#define A_NOFPCHK 0x0400u /* x87 no-wait form: does not report pending exceptions */
#define A_D64 0x0800u /* reserved */
#define A_F32 0x1000u /* operand size is 32 bits whatever the prefix (MOV CR, ...) */

enum insn_id {
#define I(id, ...) INSN_##id,
#include "core/insn.def"
#undef I
  INSN_COUNT
};

struct insn_desc {
  const char *mnemonic;
  uint8_t map, opcode;
  uint16_t ext;
  uint8_t pfx;
  uint8_t op[3];
  uint16_t flags_read, flags_written, flags_undefined; /* FL_*; written includes undefined ones */
  uint8_t cls;
  uint16_t attr;
  uint64_t feature; /* FEAT_*; 0 = every model */
};
extern const struct insn_desc insn_desc[INSN_COUNT];

#define INSN_MAX 15 /* longer: #GP(0) (SDM vol. 2, 2.3.11) */

/* One decoded instruction. */
struct insn {
  uint16_t id; /* enum insn_id */
  uint8_t length; /* 1..15 */
  uint8_t opsize; /* 2 or 4 */
  uint8_t addrsize; /* 2 or 4 */
  uint8_t map, opcode;
  uint8_t rep; /* 0, 0xf2 or 0xf3: the last one seen, mandatory prefixes included */
  uint8_t p66; /* a 66h prefix was seen */
  uint8_t lock;
  uint8_t seg_override; /* ES..GS, or 0xff */
  uint8_t seg; /* segment of the memory operand: override or default (SS for EBP/ESP/BP bases) */
  uint8_t has_modrm, modrm, mod, reg, rm;
  uint8_t is_mem; /* ModRM names memory */
  uint8_t base, index, scale; /* GPR numbers, 0xff = none; scale 0..3 (shift). 16-bit forms too (BX + SI ...) */
  uint32_t disp; /* sign-extended; Ob/Ov/moffs: the offset */
  uint32_t imm; /* immediate, sign-extended for Ibs, Jb, Jv(16) */
  uint32_t imm2; /* ENTER's second byte; the selector of Ap */
  uint8_t bytes[INSN_MAX]; /* the instruction as fetched */
};

enum { INSN_OK = 0, INSN_MORE = -1, INSN_UD = -2, INSN_TOO_LONG = -3 };

/*
 * Decode the instruction that starts at bytes[0], of which `avail` bytes may be read. `code32` is
 * CS.D; `features` the model's FEAT_* (a row whose feature is absent is #UD). LOCK where it is not
 * allowed is #UD here. Returns INSN_OK, INSN_MORE (more than `avail` bytes are needed), INSN_UD
 * (out->length counts what was consumed) or INSN_TOO_LONG.
 */
int insn_decode(struct insn *out, const uint8_t *bytes, unsigned avail, bool code32, uint64_t features);

static inline const struct insn_desc *insn_describe(const struct insn *in) { return &insn_desc[in->id]; }

#endif
