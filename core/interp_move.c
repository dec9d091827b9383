/* SPDX-License-Identifier: MIT */
/* Interpreter: data transfer (MOV, MOVZX, MOVSX, XCHG, LEA, loads of segment registers), SDM vol. 2. */
#include "core/interp.h"

#define HANDLER(id) void interp_##id(struct cpu *cpu, const struct insn *in)

HANDLER(MOV_Eb_Gb) { write_e(cpu, in, 1, reg8(cpu, in->reg)); }
HANDLER(MOV_Ev_Gv) { write_e(cpu, in, in->opsize, cpu->gpr[in->reg]); }
HANDLER(MOV_Gb_Eb) { set_reg8(cpu, in->reg, (uint8_t)read_e(cpu, in, 1)); }
HANDLER(MOV_Gv_Ev) { set_reg_v(cpu, in->reg, in->opsize, read_e(cpu, in, in->opsize)); }
HANDLER(MOV_Eb_Ib) { write_e(cpu, in, 1, in->imm); }
HANDLER(MOV_Ev_Iv) { write_e(cpu, in, in->opsize, in->imm); }
HANDLER(MOV_Zb_Ib) { set_reg8(cpu, in->rm, (uint8_t)in->imm); }
HANDLER(MOV_Zv_Iv) { set_reg_v(cpu, in->rm, in->opsize, in->imm); }

HANDLER(MOV_AL_Ob) { set_reg8(cpu, EAX, (uint8_t)vmem_read(cpu, in->seg, in->disp, 1)); }
HANDLER(MOV_eAX_Ov) {
  set_reg_v(cpu, EAX, in->opsize, (uint32_t)vmem_read(cpu, in->seg, in->disp, in->opsize));
}
HANDLER(MOV_Ob_AL) { vmem_write(cpu, in->seg, in->disp, 1, reg8(cpu, EAX)); }
HANDLER(MOV_Ov_eAX) { vmem_write(cpu, in->seg, in->disp, in->opsize, cpu->gpr[EAX]); }

HANDLER(MOVZX_Gv_Eb) { set_reg_v(cpu, in->reg, in->opsize, read_e(cpu, in, 1)); }
HANDLER(MOVZX_Gv_Ew) { set_reg_v(cpu, in->reg, in->opsize, read_e(cpu, in, 2)); }
HANDLER(MOVSX_Gv_Eb) { set_reg_v(cpu, in->reg, in->opsize, (uint32_t)(int8_t)read_e(cpu, in, 1)); }
HANDLER(MOVSX_Gv_Ew) { set_reg_v(cpu, in->reg, in->opsize, (uint32_t)(int16_t)read_e(cpu, in, 2)); }

HANDLER(LEA_Gv_M) { set_reg_v(cpu, in->reg, in->opsize, insn_ea(cpu, in)); }

HANDLER(XCHG_Eb_Gb) {
  uint32_t la = 0, v = modify_e(cpu, in, 1, &la);
  uint8_t r = reg8(cpu, in->reg);
  set_reg8(cpu, in->reg, (uint8_t)v);
  modify_e_done(cpu, in, 1, la, r);
}

HANDLER(XCHG_Ev_Gv) {
  uint32_t la = 0, v = modify_e(cpu, in, in->opsize, &la);
  uint32_t r = cpu->gpr[in->reg];
  set_reg_v(cpu, in->reg, in->opsize, v);
  modify_e_done(cpu, in, in->opsize, la, r);
}

HANDLER(XCHG_Zv_eAX) {
  uint32_t v = cpu->gpr[in->rm], a = cpu->gpr[EAX];
  set_reg_v(cpu, in->rm, in->opsize, a);
  set_reg_v(cpu, EAX, in->opsize, v);
}

/* Memory is 16 bits wide whatever the operand size; a register is zero-extended. */
HANDLER(MOV_Ew_Sw) { write_e(cpu, in, in->is_mem ? 2 : in->opsize, cpu->seg[in->reg].sel); }

static void mov_seg(struct cpu *cpu, const struct insn *in) {
  seg_load(cpu, in->reg, (uint16_t)read_e(cpu, in, 2));
  if (in->reg == SS)
    cpu->shadow = SHADOW_MOVSS;
}

HANDLER(MOV_ES_Ew) { mov_seg(cpu, in); }
HANDLER(MOV_SS_Ew) { mov_seg(cpu, in); }
HANDLER(MOV_DS_Ew) { mov_seg(cpu, in); }
HANDLER(MOV_FS_Ew) { mov_seg(cpu, in); }
HANDLER(MOV_GS_Ew) { mov_seg(cpu, in); }

/* LSS loads ESP itself, so it holds nothing off as MOV SS does. */
static void load_far_pointer(struct cpu *cpu, const struct insn *in, int seg) {
  uint32_t ea = insn_ea(cpu, in);
  uint32_t off = (uint32_t)vmem_read(cpu, in->seg, ea, in->opsize);
  uint16_t sel = (uint16_t)vmem_read(cpu, in->seg, (ea + in->opsize) & address_mask(in), 2);
  seg_load(cpu, seg, sel);
  set_reg_v(cpu, in->reg, in->opsize, off);
}

HANDLER(LES_Gv_Mp) { load_far_pointer(cpu, in, ES); }
HANDLER(LDS_Gv_Mp) { load_far_pointer(cpu, in, DS); }
HANDLER(LSS_Gv_Mp) { load_far_pointer(cpu, in, SS); }
HANDLER(LFS_Gv_Mp) { load_far_pointer(cpu, in, FS); }
HANDLER(LGS_Gv_Mp) { load_far_pointer(cpu, in, GS); }
