/* SPDX-License-Identifier: MIT */
/* The instruction table as data; see insn.h. */
#include "core/cpu.h"
#include "core/insn.h"

const struct insn_desc insn_desc[INSN_COUNT] = {
#define I(id, map, opcode, ext, pfx, mnemonic, op1, op2, op3, fr, fw, fu, cls, attr, feature) \
  [INSN_##id] = {mnemonic, map, opcode, ext, pfx, {op1, op2, op3}, fr, fw, fu, cls, attr, feature},
#include "core/insn.def"
#undef I
};
