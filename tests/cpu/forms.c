/* SPDX-License-Identifier: MIT */
/* The forms of the instruction table's rows; see forms.h. */
#include "tests/cpu/forms.h"

#include <stdio.h>

/* Operands that are as wide as the operand size says, or pushed or popped as wide. */
static bool op_sized(uint8_t op) {
  switch (op) {
  case Ev:
  case Gv:
  case Rv:
  case Mv:
  case Mp:
  case Ma:
  case Ms:
  case Iv:
  case Ibs:
  case Jb:
  case Jv:
  case Ap:
  case Zv:
  case Ov:
  case Xv:
  case Yv:
  case eAX_:
  case ES_:
  case CS_:
  case SS_:
  case DS_:
  case FS_:
  case GS_: return true;
  default: return false;
  }
}

bool row_sized(unsigned id) {
  const struct insn_desc *d = &insn_desc[id];
  switch (id) {
  case INSN_PUSHA:
  case INSN_POPA:
  case INSN_PUSHF:
  case INSN_POPF:
  case INSN_CBW:
  case INSN_CWD:
  case INSN_ENTER_Iw_Ib:
  case INSN_LEAVE:
  case INSN_RET:
  case INSN_RET_Iw:
  case INSN_RETF:
  case INSN_RETF_Iw:
  case INSN_IRET:
  case INSN_FLDENV:
  case INSN_FNSTENV:
  case INSN_FRSTOR:
  case INSN_FNSAVE:
  case INSN_SLDT_Ew:
  case INSN_STR_Ew:
  case INSN_SMSW_Ew:
  case INSN_MOV_Ew_Sw: return true;
  default: break;
  }
  if (d->pfx == P_66 || d->pfx == P_NP || (d->attr & A_F32) || d->cls == CL_NOP || d->cls == CL_SSE)
    return false;
  return op_sized(d->op[0]) || op_sized(d->op[1]) || op_sized(d->op[2]);
}

/* Forms without ModRM memory that have an address all the same, or count in rCX. */
static bool row_addressed(unsigned id) {
  const struct insn_desc *d = &insn_desc[id];
  switch (id) {
  case INSN_XLAT:
  case INSN_MASKMOVQ_Pq_Nq:
  case INSN_MASKMOVDQU_Vx_Ux:
  case INSN_LOOPNE_Jb:
  case INSN_LOOPE_Jb:
  case INSN_LOOP_Jb:
  case INSN_JCXZ_Jb: return true;
  default: break;
  }
  return d->cls == CL_STRING || d->op[0] == Ob || d->op[0] == Ov || d->op[1] == Ob || d->op[1] == Ov;
}

static bool row_admits_memory(unsigned id, bool memory) {
  const struct insn_desc *d = &insn_desc[id];
  switch (d->ext & 0xff00) {
  case X_MEM:
  case X_MR(0): return memory;
  case X_NONE:
  case X_REG:
  case X_RR(0):
  case X_B(0): return !memory;
  default: return !memory || (d->op[0] != Rd && d->op[1] != Rd); /* MOV CR and DR ignore mod */
  }
}

bool row_has_form(unsigned id, unsigned form) {
  bool memory = form & FORM_MEMORY;
  if (!row_admits_memory(id, memory))
    return false;
  if ((form & FORM_REP) && !(insn_desc[id].attr & A_REP))
    return false;
  if ((form & FORM_LOCK) && !((insn_desc[id].attr & A_LOCK) && memory))
    return false;
  if ((form & FORM_OP16) && !row_sized(id))
    return false;
  return !(form & FORM_ADDR16) || memory || row_addressed(id);
}

unsigned insn_form(const struct insn *in) {
  unsigned form = in->is_mem && row_admits_memory(in->id, true) ? FORM_MEMORY : 0;
  if (in->opsize == 2 && row_sized(in->id))
    form |= FORM_OP16;
  if (in->addrsize == 2 && (form & FORM_MEMORY || row_addressed(in->id)))
    form |= FORM_ADDR16;
  if (in->rep && (insn_describe(in)->attr & A_REP))
    form |= FORM_REP;
  if (in->lock)
    form |= FORM_LOCK;
  return form;
}

const char *form_name(unsigned id, unsigned form) {
  static char name[80];
  bool memory = form & FORM_MEMORY;
  snprintf(name, sizeof name, "%s%s%s%s%s",
           (insn_desc[id].ext & 0xff00) == X_NONE ? "-"
           : memory                               ? "memory"
                                                  : "register",
           !row_sized(id)     ? ""
           : form & FORM_OP16 ? ", 16-bit operand"
                              : ", 32-bit operand",
           !memory && !row_addressed(id) ? ""
           : form & FORM_ADDR16          ? ", 16-bit address"
                                         : ", 32-bit address",
           form & FORM_REP ? ", REP" : "", form & FORM_LOCK ? ", LOCK" : "");
  return name;
}
