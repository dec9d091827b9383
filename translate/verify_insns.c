/* SPDX-License-Identifier: MIT */
/*
 * The host instructions that generated code may contain, by Capstone's identifiers, and which of their
 * operands they change (Capstone's own notes on that, and on some sizes, have errors). Moves, LEA, SHRX,
 * RORX, branches and string instructions have rules of their own in verify_step.c and verify_exit.c.
 *
 * Unless stated otherwise the first operand is read and written, the others are read. Not here, for good
 * reasons: whatever names memory implicitly (PUSH, XLAT, MASKMOV), is privileged, changes segment registers,
 * DF or the control registers of the SSE unit (MXCSR must not hold reserved bits), loads whole x87 states, or
 * traps.
 */
#include "translate/verify_flow.h"

/* --- integer --- */

static const uint16_t integer[] = {
    X86_INS_ADD,    X86_INS_OR,     X86_INS_ADC,    X86_INS_SBB,    X86_INS_AND,    X86_INS_SUB,
    X86_INS_XOR,    X86_INS_INC,    X86_INS_DEC,    X86_INS_NOT,    X86_INS_NEG,    X86_INS_BSWAP,
    X86_INS_MOVSX,  X86_INS_MOVBE,  X86_INS_MOVNTI, X86_INS_CRC32,  X86_INS_POPCNT, X86_INS_BSF,
    X86_INS_BSR,    X86_INS_IMUL,   X86_INS_ROL,    X86_INS_ROR,    X86_INS_RCL,    X86_INS_RCR,
    X86_INS_SHL,    X86_INS_SHR,    X86_INS_SAL,    X86_INS_SAR,    X86_INS_SHLD,   X86_INS_SHRD,
    X86_INS_SETO,   X86_INS_SETNO,  X86_INS_SETB,   X86_INS_SETAE,  X86_INS_SETE,   X86_INS_SETNE,
    X86_INS_SETBE,  X86_INS_SETA,   X86_INS_SETS,   X86_INS_SETNS,  X86_INS_SETP,   X86_INS_SETNP,
    X86_INS_SETL,   X86_INS_SETGE,  X86_INS_SETLE,  X86_INS_SETG,   X86_INS_CMOVO,  X86_INS_CMOVNO,
    X86_INS_CMOVB,  X86_INS_CMOVAE, X86_INS_CMOVE,  X86_INS_CMOVNE, X86_INS_CMOVBE, X86_INS_CMOVA,
    X86_INS_CMOVS,  X86_INS_CMOVNS, X86_INS_CMOVP,  X86_INS_CMOVNP, X86_INS_CMOVL,  X86_INS_CMOVGE,
    X86_INS_CMOVLE, X86_INS_CMOVG,  X86_INS_SAHF,   X86_INS_CMC,    X86_INS_CLC,    X86_INS_STC};

static const uint16_t integer_read[] = {X86_INS_CMP, X86_INS_TEST, X86_INS_CLFLUSH, X86_INS_NOP};

static const uint16_t integer_both[] = {X86_INS_XCHG, X86_INS_XADD};

static const uint16_t integer_ax[] = {X86_INS_CMPXCHG, X86_INS_CBW, X86_INS_CWDE, X86_INS_LAHF};

static const uint16_t integer_ax_dx[] = {X86_INS_MUL, X86_INS_DIV, X86_INS_IDIV};

static const uint16_t integer_dx[] = {X86_INS_CWD, X86_INS_CDQ};

static const uint16_t integer_bits_read[] = {X86_INS_BT};

static const uint16_t integer_bits[] = {X86_INS_BTS, X86_INS_BTR, X86_INS_BTC};

/* --- x87: loads and arithmetic read their operand, stores write it --- */

static const uint16_t x87[] = {
    X86_INS_WAIT,    X86_INS_FST,     X86_INS_FSTP,    X86_INS_FIST,     X86_INS_FISTP,   X86_INS_FISTTP,
    X86_INS_FBSTP,   X86_INS_FNSTCW,  X86_INS_FADDP,   X86_INS_FMULP,    X86_INS_FCOMPP,  X86_INS_FSUBRP,
    X86_INS_FSUBP,   X86_INS_FDIVRP,  X86_INS_FDIVP,   X86_INS_FXCH,     X86_INS_FNOP,    X86_INS_FSTPNCE,
    X86_INS_FCHS,    X86_INS_FABS,    X86_INS_FTST,    X86_INS_FXAM,     X86_INS_FLD1,    X86_INS_FLDL2T,
    X86_INS_FLDL2E,  X86_INS_FLDPI,   X86_INS_FLDLG2,  X86_INS_FLDLN2,   X86_INS_FLDZ,    X86_INS_F2XM1,
    X86_INS_FYL2X,   X86_INS_FPTAN,   X86_INS_FPATAN,  X86_INS_FXTRACT,  X86_INS_FPREM1,  X86_INS_FDECSTP,
    X86_INS_FINCSTP, X86_INS_FPREM,   X86_INS_FYL2XP1, X86_INS_FSQRT,    X86_INS_FSINCOS, X86_INS_FRNDINT,
    X86_INS_FSCALE,  X86_INS_FSIN,    X86_INS_FCOS,    X86_INS_FCMOVB,   X86_INS_FCMOVE,  X86_INS_FCMOVBE,
    X86_INS_FCMOVU,  X86_INS_FCMOVNB, X86_INS_FCMOVNE, X86_INS_FCMOVNBE, X86_INS_FCMOVNU, X86_INS_FUCOM,
    X86_INS_FUCOMP,  X86_INS_FUCOMPP, X86_INS_FUCOMI,  X86_INS_FUCOMIP,  X86_INS_FCOMI,   X86_INS_FCOMIP,
    X86_INS_FFREE,   X86_INS_FFREEP};

static const uint16_t x87_read[] = {X86_INS_FADD,  X86_INS_FMUL,   X86_INS_FCOM,  X86_INS_FCOMP,
                                    X86_INS_FSUB,  X86_INS_FSUBR,  X86_INS_FDIV,  X86_INS_FDIVR,
                                    X86_INS_FIADD, X86_INS_FIMUL,  X86_INS_FICOM, X86_INS_FICOMP,
                                    X86_INS_FISUB, X86_INS_FISUBR, X86_INS_FIDIV, X86_INS_FIDIVR,
                                    X86_INS_FLD,   X86_INS_FILD,   X86_INS_FBLD,  X86_INS_FLDCW};

static const uint16_t x87_2[] = {X86_INS_FNSTSW};

/* --- MMX and SSE --- */

static const uint16_t simd_move_loose[] = {X86_INS_MOVUPS, X86_INS_MOVUPD, X86_INS_MOVDQU, X86_INS_LDDQU};

static const uint16_t simd_move[] = {
    X86_INS_MOVAPS,   X86_INS_MOVAPD,   X86_INS_MOVDQA,   X86_INS_MOVNTPS,  X86_INS_MOVNTPD,
    X86_INS_MOVNTDQ,  X86_INS_MOVNTDQA, X86_INS_MOVNTQ,   X86_INS_MOVSS,    X86_INS_MOVSD,
    X86_INS_MOVLPS,   X86_INS_MOVLPD,   X86_INS_MOVHPS,   X86_INS_MOVHPD,   X86_INS_MOVHLPS,
    X86_INS_MOVLHPS,  X86_INS_MOVSLDUP, X86_INS_MOVSHDUP, X86_INS_MOVDDUP,  X86_INS_MOVD,
    X86_INS_MOVQ,     X86_INS_MOVQ2DQ,  X86_INS_MOVDQ2Q,  X86_INS_MOVMSKPS, X86_INS_MOVMSKPD,
    X86_INS_PMOVMSKB, X86_INS_EMMS,     X86_INS_STMXCSR,  X86_INS_PINSRB,   X86_INS_PINSRW,
    X86_INS_PINSRD,   X86_INS_PEXTRB,   X86_INS_PEXTRW,   X86_INS_PEXTRD,   X86_INS_EXTRACTPS,
    X86_INS_INSERTPS, X86_INS_PMOVSXBW, X86_INS_PMOVSXBD, X86_INS_PMOVSXBQ, X86_INS_PMOVSXWD,
    X86_INS_PMOVSXWQ, X86_INS_PMOVSXDQ, X86_INS_PMOVZXBW, X86_INS_PMOVZXBD, X86_INS_PMOVZXBQ,
    X86_INS_PMOVZXWD, X86_INS_PMOVZXWQ, X86_INS_PMOVZXDQ};

static const uint16_t simd_convert[] = {
    X86_INS_CVTPI2PS,  X86_INS_CVTPI2PD,  X86_INS_CVTSI2SS,  X86_INS_CVTSI2SD,  X86_INS_CVTTPS2PI,
    X86_INS_CVTTPD2PI, X86_INS_CVTTSS2SI, X86_INS_CVTTSD2SI, X86_INS_CVTPS2PI,  X86_INS_CVTPD2PI,
    X86_INS_CVTSS2SI,  X86_INS_CVTSD2SI,  X86_INS_CVTPS2PD,  X86_INS_CVTPD2PS,  X86_INS_CVTSS2SD,
    X86_INS_CVTSD2SS,  X86_INS_CVTDQ2PS,  X86_INS_CVTPS2DQ,  X86_INS_CVTTPS2DQ, X86_INS_CVTTPD2DQ,
    X86_INS_CVTDQ2PD,  X86_INS_CVTPD2DQ};

static const uint16_t simd_float[] = {
    X86_INS_UCOMISS,  X86_INS_UCOMISD,  X86_INS_SQRTPS,   X86_INS_SQRTPD,   X86_INS_SQRTSS,
    X86_INS_SQRTSD,   X86_INS_RSQRTPS,  X86_INS_RSQRTSS,  X86_INS_RCPPS,    X86_INS_RCPSS,
    X86_INS_ANDPS,    X86_INS_ANDPD,    X86_INS_ANDNPS,   X86_INS_ANDNPD,   X86_INS_ORPS,
    X86_INS_ORPD,     X86_INS_XORPS,    X86_INS_XORPD,    X86_INS_ADDPS,    X86_INS_ADDPD,
    X86_INS_ADDSS,    X86_INS_ADDSD,    X86_INS_MULPS,    X86_INS_MULPD,    X86_INS_MULSS,
    X86_INS_MULSD,    X86_INS_SUBPS,    X86_INS_SUBPD,    X86_INS_SUBSS,    X86_INS_SUBSD,
    X86_INS_MINPS,    X86_INS_MINPD,    X86_INS_MINSS,    X86_INS_MINSD,    X86_INS_DIVPS,
    X86_INS_DIVPD,    X86_INS_DIVSS,    X86_INS_DIVSD,    X86_INS_MAXPS,    X86_INS_MAXPD,
    X86_INS_MAXSS,    X86_INS_MAXSD,    X86_INS_CMPPS,    X86_INS_CMPPD,    X86_INS_CMPSS,
    X86_INS_CMPSD,    X86_INS_SHUFPS,   X86_INS_SHUFPD,   X86_INS_UNPCKLPS, X86_INS_UNPCKLPD,
    X86_INS_UNPCKHPS, X86_INS_UNPCKHPD, X86_INS_HADDPD,   X86_INS_HADDPS,   X86_INS_HSUBPD,
    X86_INS_HSUBPS,   X86_INS_ADDSUBPD, X86_INS_ADDSUBPS, X86_INS_BLENDVPS, X86_INS_BLENDVPD,
    X86_INS_BLENDPS,  X86_INS_BLENDPD,  X86_INS_ROUNDPS,  X86_INS_ROUNDPD,  X86_INS_ROUNDSS,
    X86_INS_ROUNDSD,  X86_INS_DPPS,     X86_INS_DPPD};

/* CMPSS and its like with a condition that has a name. */
static const uint16_t simd_compare[] = {
    X86_INS_CMPEQSS,  X86_INS_CMPLTSS,    X86_INS_CMPLESS,    X86_INS_CMPUNORDSS, X86_INS_CMPNEQSS,
    X86_INS_CMPNLTSS, X86_INS_CMPNLESS,   X86_INS_CMPORDSS,   X86_INS_CMPEQSD,    X86_INS_CMPLTSD,
    X86_INS_CMPLESD,  X86_INS_CMPUNORDSD, X86_INS_CMPNEQSD,   X86_INS_CMPNLTSD,   X86_INS_CMPNLESD,
    X86_INS_CMPORDSD, X86_INS_CMPEQPS,    X86_INS_CMPLTPS,    X86_INS_CMPLEPS,    X86_INS_CMPUNORDPS,
    X86_INS_CMPNEQPS, X86_INS_CMPNLTPS,   X86_INS_CMPNLEPS,   X86_INS_CMPORDPS,   X86_INS_CMPEQPD,
    X86_INS_CMPLTPD,  X86_INS_CMPLEPD,    X86_INS_CMPUNORDPD, X86_INS_CMPNEQPD,   X86_INS_CMPNLTPD,
    X86_INS_CMPNLEPD, X86_INS_CMPORDPD};

static const uint16_t simd_float_4[] = {X86_INS_COMISS};

static const uint16_t simd_float_8[] = {X86_INS_COMISD};

static const uint16_t simd_integer_mm4[] = {X86_INS_PUNPCKLBW, X86_INS_PUNPCKLWD, X86_INS_PUNPCKLDQ};

static const uint16_t simd_integer[] = {
    X86_INS_PUNPCKLQDQ, X86_INS_PUNPCKHBW, X86_INS_PUNPCKHWD, X86_INS_PUNPCKHDQ, X86_INS_PUNPCKHQDQ,
    X86_INS_PACKSSWB,   X86_INS_PACKUSWB,  X86_INS_PACKSSDW,  X86_INS_PACKUSDW,  X86_INS_PCMPGTB,
    X86_INS_PCMPGTW,    X86_INS_PCMPGTD,   X86_INS_PCMPGTQ,   X86_INS_PCMPEQB,   X86_INS_PCMPEQW,
    X86_INS_PCMPEQD,    X86_INS_PCMPEQQ,   X86_INS_PSHUFB,    X86_INS_PSHUFW,    X86_INS_PSHUFD,
    X86_INS_PSHUFHW,    X86_INS_PSHUFLW,   X86_INS_PSRLW,     X86_INS_PSRAW,     X86_INS_PSLLW,
    X86_INS_PSRLD,      X86_INS_PSRAD,     X86_INS_PSLLD,     X86_INS_PSRLQ,     X86_INS_PSLLQ,
    X86_INS_PSRLDQ,     X86_INS_PSLLDQ,    X86_INS_PADDB,     X86_INS_PADDW,     X86_INS_PADDD,
    X86_INS_PADDQ,      X86_INS_PSUBB,     X86_INS_PSUBW,     X86_INS_PSUBD,     X86_INS_PSUBQ,
    X86_INS_PADDSB,     X86_INS_PADDSW,    X86_INS_PADDUSB,   X86_INS_PADDUSW,   X86_INS_PSUBSB,
    X86_INS_PSUBSW,     X86_INS_PSUBUSB,   X86_INS_PSUBUSW,   X86_INS_PMULLW,    X86_INS_PMULHW,
    X86_INS_PMULHUW,    X86_INS_PMULUDQ,   X86_INS_PMULDQ,    X86_INS_PMULLD,    X86_INS_PMADDWD,
    X86_INS_PMADDUBSW,  X86_INS_PMULHRSW,  X86_INS_PSADBW,    X86_INS_MPSADBW,   X86_INS_PAND,
    X86_INS_PANDN,      X86_INS_POR,       X86_INS_PXOR,      X86_INS_PAVGB,     X86_INS_PAVGW,
    X86_INS_PMINUB,     X86_INS_PMINUW,    X86_INS_PMINUD,    X86_INS_PMINSB,    X86_INS_PMINSW,
    X86_INS_PMINSD,     X86_INS_PMAXUB,    X86_INS_PMAXUW,    X86_INS_PMAXUD,    X86_INS_PMAXSB,
    X86_INS_PMAXSW,     X86_INS_PMAXSD,    X86_INS_PHADDW,    X86_INS_PHADDD,    X86_INS_PHADDSW,
    X86_INS_PHSUBW,     X86_INS_PHSUBD,    X86_INS_PHSUBSW,   X86_INS_PSIGNB,    X86_INS_PSIGNW,
    X86_INS_PSIGND,     X86_INS_PABSB,     X86_INS_PABSW,     X86_INS_PABSD,     X86_INS_PALIGNR,
    X86_INS_PBLENDVB,   X86_INS_PBLENDW,   X86_INS_PTEST,     X86_INS_PHMINPOSUW};

static const uint16_t simd_integer_loose[] = {X86_INS_PCMPESTRM, X86_INS_PCMPISTRM};

static const uint16_t simd_integer_loose_cx[] = {X86_INS_PCMPESTRI, X86_INS_PCMPISTRI};

/* --- all of them --- */

static const struct group {
  const uint16_t *ids;
  size_t count;
  unsigned flags;
} groups[] = {
#define GROUP(ids, flags)                                                                                    \
  { ids, sizeof ids / sizeof ids[0], VI_OK | (flags) }
    GROUP(integer, 0),
    GROUP(integer_read, VI_READ0),
    GROUP(integer_both, VI_BOTH),
    GROUP(integer_ax, VI_AX),
    GROUP(integer_ax_dx, VI_READ0 | VI_AX | VI_DX),
    GROUP(integer_dx, VI_DX),
    GROUP(integer_bits_read, VI_READ0 | VI_BITS),
    GROUP(integer_bits, VI_BITS),
    GROUP(x87, 0),
    GROUP(x87_read, VI_READ0),
    GROUP(x87_2, VI_SIZE(2)),
    GROUP(simd_move_loose, VI_LOOSE),
    GROUP(simd_move, 0),
    GROUP(simd_convert, 0),
    GROUP(simd_float, 0),
    GROUP(simd_compare, 0),
    GROUP(simd_float_4, VI_SIZE(4)),
    GROUP(simd_float_8, VI_SIZE(8)),
    GROUP(simd_integer_mm4, VI_MM4),
    GROUP(simd_integer, 0),
    GROUP(simd_integer_loose, VI_LOOSE),
    GROUP(simd_integer_loose_cx, VI_LOOSE | VI_CX),
#undef GROUP
};

unsigned v_insn_flags(unsigned id) {
  static _Thread_local uint16_t flags[X86_INS_ENDING];
  static _Thread_local bool ready;
  if (!ready) {
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++)
      for (size_t i = 0; i < groups[g].count; i++)
        flags[groups[g].ids[i]] = (uint16_t)groups[g].flags;
    ready = true;
  }
  return id < X86_INS_ENDING ? flags[id] : 0;
}
