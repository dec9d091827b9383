/* SPDX-License-Identifier: MIT */
/*
 * System instructions in line (SYSENTER and SYSEXIT by a short way to C), where they are only data or change
 * nothing but IF: CLI, STI, PUSHF, POPF, CLTS, MOV to and from control registers, MOV Ew,Sw. Everything with
 * consequences is the core's: an instruction that turns out to have them is executed there as a whole.
 */
#include "core/segment.h"
#include "translate/gen.h"
#include "translate/gen_stack.h"

/* Flags that change more than what a later instruction computes with: modes, traps, checks. IF has its own
 * rules. */
#define FL_SPECIAL (FL_TF | FL_DF | FL_NT)

/* --- stubs: no C is called; guest registers and, unless said otherwise, flags survive; RCX, R8, R9, R11
 * don't --- */

enum { ALU_OR = 1, ALU_AND = 4, ALU_XOR = 6, ALU_CMP = 7 };

static void alu_imm(struct emitter *e, int op, int reg, uint32_t imm) {
  emit_op_rr(e, 0, OM_1, 0x81, op, reg);
  e32(e, imm);
}

static void test_imm(struct emitter *e, int reg, uint32_t imm) {
  emit_op_rr(e, 0, OM_1, 0xf7, 0, reg);
  e32(e, imm);
}

/* RAX is put aside in R9; R8D = AH: flags, AL: OF. */
static void save_flags(struct emitter *e) {
  emit_mov_rr(e, R9, RAX);
  e8(e, 0x9f);                           /* lahf */
  emit_op_rr(e, 0, OM_0F, 0x90, 0, RAX); /* seto al */
  emit_mov_rr(e, R8, RAX);
}

/* Flags from EAX as above, then RAX from R9. */
static void load_flags(struct emitter *e) {
  emit_op_rr(e, 0, OM_1, 0x80, 0, RAX); /* add al, 127: OF = old OF */
  e8(e, 127);
  e8(e, 0x9e); /* sahf */
  emit_mov_rr(e, RAX, R9);
}

/* R11D = what PUSHF stores outside V86 mode. */
static void make_pushf(struct emitter *e) {
  save_flags(e);
  emit_op_rr(e, 0, OM_0F, 0xb6, RCX, 4); /* movzx ecx, ah: bit 1 is set, 3 and 5 are clear */
  emit_movzx8(e, R11, RAX);
  emit_op_rr(e, 0, OM_1, 0xc1, 4, R11); /* shl r11d, 11 */
  e8(e, 11);
  emit_op_rr(e, 0, OM_1, 0x0b, RCX, R11); /* or ecx, r11d */
  emit_load(e, R11, CPU_FIELD(eflags));
  alu_imm(e, ALU_AND, R11, ~(FL_ARITH | FL_VM | FL_RF));
  emit_op_rr(e, 0, OM_1, 0x0b, R11, RCX);
  emit_mov_rr(e, RAX, R8);
  load_flags(e);
  e8(e, 0xc3);
}

static void compare_slot(struct emitter *e, struct host_mem slot, unsigned value) {
  emit_op_rm(e, 0, OM_1, 0x83, ALU_CMP, slot);
  e8(e, value);
}

/* R11D = the value popped. RCX = 1: flags are loaded; RCX = 0: nothing has changed, the core must do it. At
 * CPL 3 IF and IOPL stay as they are, unless IOPL is 3. */
static void make_popf(struct emitter *e, bool user, bool wide) {
  uint8_t *fail[4];
  unsigned fails = 0;
  uint32_t special = FL_SPECIAL | (wide ? FL_AC | FL_ID : 0) | (user ? 0 : FL_IOPL);
  save_flags(e);
  emit_load(e, RAX, CPU_FIELD(eflags));
  if (user) { /* IOPL 3 is rare: leave it to the core */
    emit_mov_rr(e, RCX, RAX);
    alu_imm(e, ALU_AND, RCX, FL_IOPL);
    alu_imm(e, ALU_CMP, RCX, FL_IOPL);
    fail[fails++] = emit_jcc32(e, 4);
  } else {
    compare_slot(e, CPU_FIELD(cpl), 0);
    fail[fails++] = emit_jcc32(e, 5);
  }
  emit_op_rr(e, 0, OM_1, 0x33, RAX, R11); /* xor eax, r11d: what changes */
  test_imm(e, RAX, special);
  fail[fails++] = emit_jcc32(e, 5);
  if (!user) {
    test_imm(e, RAX, FL_IF);
    uint8_t *same = emit_jcc8(e, 4);
    test_imm(e, R11, FL_IF);
    uint8_t *clears = emit_jcc8(e, 4);
    compare_slot(e, hm_cpu(offsetof(struct cpu, pending)), 0); /* an interrupt may come now */
    fail[fails++] = emit_jcc32(e, 5);
    emit_patch8(clears, e->p);
    emit_op_rm(e, 0, OM_1, 0x81, ALU_XOR, CPU_FIELD(eflags));
    e32(e, FL_IF);
    emit_patch8(same, e->p);
  }
  emit_mov_rr(e, RAX, R11);
  emit_op_rr(e, 0, OM_1, 0x88, RAX, 4);  /* mov ah, al */
  emit_op_rr(e, 0, OM_0F, 0xba, 4, R11); /* bt r11d, 11 */
  e8(e, 11);
  emit_op_rr(e, 0, OM_0F, 0x92, 0, RAX); /* setc al */
  load_flags(e);
  emit_mov_imm(e, RCX, 1);
  e8(e, 0xc3);
  for (unsigned i = 0; i < fails; i++)
    emit_patch32(fail[i], e->p);
  emit_mov_rr(e, RAX, R8);
  load_flags(e);
  emit_mov_imm(e, RCX, 0);
  e8(e, 0xc3);
}

static const uint8_t *start(struct emitter *e) {
  while ((uintptr_t)e->p & 15)
    e8(e, 0xcc);
  return e->p;
}

/* --- SYSENTER, SYSEXIT: C, but only with the registers that C does not preserve put aside --- */

static uint32_t try_sysenter(struct cpu *cpu, uint32_t ecx, uint32_t edx) {
  (void)ecx, (void)edx;
  return cpu->pending == 0 && far_try_sysenter(cpu);
}

static uint32_t try_sysexit(struct cpu *cpu, uint32_t ecx, uint32_t edx) {
  return cpu->pending == 0 && far_try_sysexit(cpu, edx, ecx);
}

/*
 * A protected-mode load of DS, ES, FS or GS that the block's mode does not depend on: the descriptor can be
 * read without a fault, has been accessed before, and passes all checks. Calls nobody and uses no XMM
 * registers, which are the guest's.
 */
static __attribute__((target("general-regs-only"))) uint32_t try_seg_load(struct cpu *cpu, uint32_t sel,
                                                                          uint32_t n) {
  struct seg *s = &cpu->seg[n & 7];
  if (n > GS || n == CS || n == SS)
    return 0;
  sel &= 0xffff;
  if ((sel & 0xfffc) == 0) {
    if (n < FS && s->attr != 0)
      return 0;
    s->sel = (uint16_t)sel;
    s->attr = 0;
    s->base = 0;
    s->room_read = s->room_write = s->room_down = 0;
    s->full = 0;
    return 1;
  }
  const struct seg *ldt = &cpu->seg[LDTR];
  bool local = sel & 4;
  uint32_t offset = sel & 0xfff8, table_limit = local ? ldt->limit : cpu->gdtr.limit;
  uint32_t la = (local ? ldt->base : cpu->gdtr.base) + offset;
  uint64_t addend = cpu->tlb[TLB_SUP_READ][((la >> 12) + ((la + 7) >> 12)) & (TLB_ENTRIES - 1)], raw;
  if (addend == 0 || offset + 7 > table_limit || (local && !(ldt->attr & SEG_P)))
    return 0;
  __builtin_memcpy(&raw, (const void *)(uintptr_t)(addend + la), 8);
  uint32_t attr = (uint32_t)(raw >> 40) & 0xf0ff, limit = (raw & 0xffff) | (raw >> 32 & 0xf0000);
  uint32_t base = (uint32_t)(raw >> 16 & 0xffffff) | (uint32_t)(raw >> 56) << 24;
  uint32_t dpl = attr >> SEG_DPL_SHIFT & 3, ready = SEG_P | SEG_S | SEG_A;
  bool code = attr & SEG_CODE, usable = !code || (attr & SEG_RW);
  if ((attr & ready) != ready || !usable)
    return 0;
  if (!(code && (attr & SEG_EC)) && ((sel & 3) > dpl || cpu->cpl > dpl))
    return 0;
  limit = attr & SEG_G ? limit << 12 | 0xfff : limit;
  bool down = !code && (attr & SEG_EC);
  uint32_t top = attr & SEG_DB ? 0xffffffffu : 0xffffu;
  int64_t room = down ? 0 : -((int64_t)limit + 1);
  int64_t room_write = code || !(attr & SEG_RW) ? 0 : room;
  if (n < FS && (base != s->base || room != s->room_read || room_write != s->room_write))
    return 0;
  s->sel = (uint16_t)sel;
  s->attr = (uint16_t)attr;
  s->base = base;
  s->limit = limit;
  s->room_read = room;
  s->room_write = room_write;
  s->full = room_write == -((int64_t)1 << 32) ? base + 1 : 0;
  s->down = -(limit + 1);
  s->room_down = down && (attr & SEG_RW) && limit < top ? -(int64_t)(top - limit) : 0;
  return 1;
}

/* RCX = 1: done, EIP is in memory; RCX = 0: nothing has changed. Arguments: ECX and EDX. Or, `segment`: R11D
 * and R8D. */
static void make_transition(struct emitter *e, uint32_t (*fn)(struct cpu *, uint32_t, uint32_t),
                            bool segment) {
  static const uint8_t saved[6] = {R9, RDX, R10, RSI, RDI, R8}; /* R9: EAX, R8: flags */
  if (segment) {
    emit_mov_rr(e, RCX, R8);
  } else {
    emit_load(e, RCX, CPU_FIELD(fpu_loaded)); /* XMM registers are C's as well */
    uint8_t *clean = emit_jrcxz(e);
    emit_mov_imm(e, RCX, 0);
    e8(e, 0xc3);
    emit_patch8(clean, e->p);
    emit_store(e, CPU_FIELD(gpr[ESP]), R15);
  }
  save_flags(e);
  for (int i = 0; i < 6; i++)
    emit_push64(e, saved[i]);
  emit_op_rr(e, EO_W, OM_1, 0x83, 5, RSP); /* sub rsp, 8: aligned for C */
  e8(e, 8);
  emit_mov_rr64(e, RDI, R14);
  emit_mov_rr(e, RSI, segment ? R11 : R10);
  if (segment)
    emit_mov_rr(e, RDX, RCX);
  emit_mov_imm64(e, RAX, (uintptr_t)fn);
  emit_op_rr(e, 0, OM_1, 0xff, 2, RAX); /* call rax */
  emit_mov_rr(e, RCX, RAX);
  emit_op_rr(e, EO_W, OM_1, 0x83, 0, RSP);
  e8(e, 8);
  for (int i = 5; i >= 0; i--)
    emit_pop64(e, saved[i]);
  emit_mov_rr(e, RAX, R8);
  load_flags(e);
  if (!segment)
    emit_load(e, R15, CPU_FIELD(gpr[ESP]));
  e8(e, 0xc3);
}

void gen_make_stubs(struct jit *j, struct emitter *e) {
  j->stub_sysenter = start(e);
  make_transition(e, try_sysenter, false);
  j->stub_sysexit = start(e);
  make_transition(e, try_sysexit, false);
  j->stub_seg_load = start(e);
  make_transition(e, try_seg_load, true);
  j->stub_pushf = start(e);
  make_pushf(e);
  for (int i = 0; i < 4; i++) {
    j->stub_popf[i] = start(e);
    make_popf(e, i & 2, i & 1);
  }
}

/* --- flags --- */

/* Go on if RCX is 0, else let the core execute the instruction. */
static void core_unless_zero(struct gen *g) {
  struct emitter *e = &g->e;
  gen_reserve(g, 64);
  uint8_t *zero = emit_jrcxz(e);
  emit_mov_imm(e, RCX, 0);
  gen_cold(g, COLD_CORE);
  emit_patch8(zero, e->p);
}

/* Where the core is done, the block goes on here. */
static void resume_here(struct gen *g, unsigned first) {
  for (unsigned i = first; i < g->cold_count; i++)
    if (g->cold[i].kind == COLD_CORE)
      g->cold[i].resume = g->e.p;
}

/* The core raises #GP(0) elsewhere. */
static void only_cpl0(struct gen *g) {
  if (!(g->mode & MODE_PE))
    return;
  emit_load(&g->e, RCX, CPU_FIELD(cpl)); /* not ring 3, but perhaps ring 1 or 2 */
  core_unless_zero(g);
}

static bool may_be_cpl0(const struct gen *g) { return !(g->mode & (MODE_USER | MODE_V86)); }

/*
 * CLI, and STI when nothing is pending: then there is nothing that its shadow could hold off, provided that
 * the next instruction follows in this block, so that no slice ends in between. CPL 0 or real mode only.
 */
static bool gen_interrupt_flag(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  bool set = in->opcode == 0xfb;
  if (!may_be_cpl0(g) || (set && g->index + 1 == g->count))
    return false;
  unsigned first = g->cold_count;
  only_cpl0(g);
  if (set) {
    emit_load(e, RCX, hm_cpu(offsetof(struct cpu, pending)));
    core_unless_zero(g);
  }
  /* by rotations, which leave the host's flags alone: IF is bit 9 */
  emit_load(e, RCX, CPU_FIELD(eflags));
  emit_rorx(e, RCX, RCX, 10);
  emit_lea(e, RCX, hm_index(RCX, RCX, 0, set));
  emit_rorx(e, RCX, RCX, 23);
  emit_store(e, CPU_FIELD(eflags), RCX);
  resume_here(g, first);
  return true;
}

bool gen_pushf(struct gen *g, const struct insn *in) {
  if (g->mode & MODE_V86)
    return false;
  gen_reserve(g, 16);
  emit_call_to(&g->e, g->j->stub_pushf);
  gen_push_reg(g, in, R11);
  return true;
}

bool gen_popf(struct gen *g, const struct insn *in) {
  if (g->mode & MODE_V86)
    return false;
  gen_peek(g, in);
  gen_reserve(g, 64);
  emit_call_to(&g->e, g->j->stub_popf[(g->mode & MODE_USER ? 2 : 0) + (in->opsize == 4)]);
  struct cold *c = gen_cold(g, COLD_CORE);
  gen_adjust_sp(g, in->opsize);
  c->resume = g->e.p;
  return true;
}

/* --- control registers --- */

static struct host_mem control_register(int n) {
  static const size_t offset[5] = {offsetof(struct cpu, cr0), 0, offsetof(struct cpu, cr2),
                                   offsetof(struct cpu, cr3), offsetof(struct cpu, cr4)};
  return hm_cpu(offset[n]);
}

static bool gen_read_cr(struct gen *g, const struct insn *in) {
  if (!may_be_cpl0(g) || in->reg == 1 || in->reg > 4)
    return false;
  unsigned first = g->cold_count;
  only_cpl0(g);
  emit_load(&g->e, host_gpr[in->rm], control_register(in->reg));
  resume_here(g, first);
  return true;
}

/* CR0 is often written as it is (TS set or cleared twice). */
static bool gen_write_cr0(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  if (!may_be_cpl0(g) || in->reg != 0)
    return false;
  unsigned first = g->cold_count;
  only_cpl0(g);
  emit_load(e, RCX, control_register(0));
  emit_op_rr(e, 0, OM_1, 0xf7, 2, RCX);                    /* not ecx, which leaves the flags alone */
  emit_lea(e, RCX, hm_index(RCX, host_gpr[in->rm], 0, 1)); /* new - old */
  core_unless_zero(g);
  resume_here(g, first);
  return true;
}

static bool gen_clts(struct gen *g) {
  if (!may_be_cpl0(g) || (g->mode & MODE_NOFPU))
    return false;
  unsigned first = g->cold_count;
  only_cpl0(g); /* and TS is clear already, says the mode */
  resume_here(g, first);
  return true;
}

bool gen_goes_on(const struct insn *in, uint32_t mode) {
  bool cpl0 = !(mode & (MODE_USER | MODE_V86));
  switch (in->id) {
  case INSN_STI: return cpl0;
  case INSN_POPF: return !(mode & MODE_V86);
  case INSN_CLTS: return cpl0 && !(mode & MODE_NOFPU);
  case INSN_MOV_Cd_Rd: return cpl0 && in->reg == 0;
  default: return false;
  }
}

bool gen_far(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  if (in->id != INSN_SYSENTER && in->id != INSN_SYSEXIT)
    return false;
  gen_store_fp_pointers(g);
  gen_reserve(g, 64);
  emit_call_to(e, in->id == INSN_SYSENTER ? g->j->stub_sysenter : g->j->stub_sysexit);
  gen_cold(g, COLD_CORE);
  emit_jmp_to(e, g->j->stub_lookup);
  g->ended = true;
  return true;
}

/* --- selectors --- */

static void op_store_r11w(struct gen *g, const struct insn *in, struct host_mem m) {
  (void)in;
  emit_op_rm(&g->e, EO_66, OM_1, 0x89, R11, m);
}

bool gen_system(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  if (in->map == MAP_1 && (in->opcode == 0xfa || in->opcode == 0xfb))
    return gen_interrupt_flag(g, in);
  if (in->map == MAP_0F && in->opcode == 0x06)
    return gen_clts(g);
  if (in->map == MAP_0F && in->opcode == 0x20)
    return gen_read_cr(g, in);
  if (in->map == MAP_0F && in->opcode == 0x22)
    return gen_write_cr0(g, in);
  if (in->map != MAP_1 || in->opcode != 0x8c || in->reg > GS)
    return false;
  /* MOV Ew, Sw */
  struct host_mem sel =
      hm_cpu(offsetof(struct cpu, seg) + in->reg * sizeof(struct seg) + offsetof(struct seg, sel));
  emit_op_rm(e, 0, OM_0F, 0xb7, R11, sel); /* movzx r11d, word [sel] */
  if (in->is_mem)
    gen_modrm_access(g, in, 2, ACCESS_WRITE, false, op_store_r11w);
  else
    emit_op_rr(e, in->opsize == 2 ? EO_66 : 0, OM_1, 0x8b, host_gpr[in->rm], R11);
  return true;
}
