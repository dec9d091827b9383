/* SPDX-License-Identifier: MIT */
/*
 * The stubs through which translated code and C meet: entry, exits, and calls to the core that save
 * and restore guest registers, flags and FPU state. Generated once at the start of the code cache.
 */
#include "translate/gen.h"

const int8_t host_gpr[8] = {RAX, R10, RDX, RBX, R15, RBP, RSI, RDI};

#define ALU_AND 4
#define ALU_OR 1
#define ALU_ADD 0
#define ALU_SUB 5

static void alu_imm(struct emitter *e, int op, int reg, uint32_t imm) {
  emit_op_rr(e, 0, OM_1, 0x81, op, reg);
  e32(e, imm);
}

/* Guest registers and flags to memory. Changes RAX, RCX and EFLAGS. */
static void spill_guest(struct emitter *e) {
  for (int r = 0; r < 8; r++)
    emit_store(e, CPU_FIELD(gpr[r]), host_gpr[r]);
  e8(e, 0x9f);                           /* lahf */
  emit_op_rr(e, 0, OM_0F, 0x90, 0, RAX); /* seto al */
  emit_op_rr(e, 0, OM_0F, 0xb6, RCX, 4); /* movzx ecx, ah */
  emit_movzx8(e, RAX, RAX);
  emit_op_rr(e, 0, OM_1, 0xc1, 4, RAX); /* shl eax, 11 */
  e8(e, 11);
  alu_imm(e, ALU_AND, RCX, FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF);
  emit_op_rr(e, 0, OM_1, 0x0b, RAX, RCX); /* or eax, ecx */
  emit_load(e, RCX, CPU_FIELD(eflags));
  alu_imm(e, ALU_AND, RCX, ~FL_ARITH);
  emit_op_rr(e, 0, OM_1, 0x0b, RAX, RCX);
  emit_store(e, CPU_FIELD(eflags), RAX);
}

/* Flags and registers from memory; `all`: also those that C preserves. Changes RCX. */
static void fill_guest(struct emitter *e, bool all) {
  emit_load(e, RAX, CPU_FIELD(eflags));
  emit_op_rr(e, 0, OM_0F, 0xba, 4, RAX); /* bt eax, 11 */
  e8(e, 11);
  emit_op_rr(e, 0, OM_0F, 0x92, 0, RCX);      /* setc cl */
  emit_op_rr(e, 0, OM_1, 0x80, ALU_ADD, RCX); /* add cl, 127: OF = old OF */
  e8(e, 127);
  emit_op_rr(e, 0, OM_1, 0x88, RAX, 4); /* mov ah, al */
  e8(e, 0x9e);                          /* sahf */
  static const uint8_t preserved[8] = {0, 0, 0, 1, 1, 1, 0, 0};
  for (int r = 0; r < 8; r++)
    if (all || !preserved[r])
      emit_load(e, host_gpr[r], CPU_FIELD(gpr[r]));
}

/* If the guest's FPU state is in the host's registers: save it, keep its guest pointers, and give C a clean
 * unit. Changes RCX, R8, R9, EFLAGS. */
static void fpu_unload(struct emitter *e) {
  emit_load(e, RCX, CPU_FIELD(fpu_loaded));
  emit_op_rr(e, 0, OM_1, 0x85, RCX, RCX); /* test ecx, ecx */
  uint8_t *skip = emit_jcc32(e, 4);
  emit_load64(e, R8, CPU_FIELD(fx.fip));                 /* FIP, FCS */
  emit_load64(e, R9, CPU_FIELD(fx.fdp));                 /* FDP, FDS */
  emit_op_rm(e, 0, OM_0F, 0xb7, RCX, CPU_FIELD(fx.fop)); /* movzx ecx, word [fop] */
  emit_op_rm(e, 0, OM_0F, 0xae, 0, CPU_FIELD(fx));       /* fxsave [fx] */
  emit_store64(e, CPU_FIELD(fx.fip), R8);
  emit_store64(e, CPU_FIELD(fx.fdp), R9);
  emit_op_rm(e, EO_66, OM_1, 0x89, RCX, CPU_FIELD(fx.fop));
  emit_store_imm(e, CPU_FIELD(fpu_loaded), 0);
  e8(e, 0xdb), e8(e, 0xe3); /* fninit */
  emit_store_imm(e, CPU_FIELD(scratch[SCR_INFO]), 0x1f80);
  emit_op_rm(e, 0, OM_0F, 0xae, 2, CPU_FIELD(scratch[SCR_INFO])); /* ldmxcsr */
  emit_patch32(skip, e->p);
}

static void fpu_reload(struct emitter *e) {
  emit_op_rm(e, 0, OM_0F, 0xae, 1, CPU_FIELD(fx)); /* fxrstor [fx] */
  emit_store_imm(e, CPU_FIELD(fpu_loaded), FPU_LOADED);
}

static void load_mxcsr(struct emitter *e, struct host_mem m) { emit_op_rm(e, 0, OM_0F, 0xae, 2, m); }

/* Around C that computes with integers: what it may use of the FPU. Changes RCX. */
static void fpu_park(struct emitter *e) {
  emit_load(e, RCX, CPU_FIELD(fpu_loaded));
  emit_op_rr(e, 0, OM_1, 0x85, RCX, RCX); /* test ecx, ecx */
  uint8_t *skip = emit_jcc32(e, 4);
  for (int i = 0; i < 8; i++)
    emit_op_rm(e, 0, OM_0F, 0x29, i, CPU_FIELD(fx.xmm[i])); /* movaps [xmm], xmm */
  emit_op_rm(e, 0, OM_0F, 0xae, 3, CPU_FIELD(fx.mxcsr));    /* stmxcsr */
  emit_store_imm(e, CPU_FIELD(scratch[SCR_INFO]), 0x1f80);
  load_mxcsr(e, CPU_FIELD(scratch[SCR_INFO]));
  emit_store_imm(e, CPU_FIELD(fpu_loaded), FPU_PARKED);
  emit_patch32(skip, e->p);
}

/* Load again what is parked. Changes EFLAGS. */
static void fpu_unpark(struct emitter *e) {
  emit_op_rm(e, 0, OM_1, 0x83, 7, CPU_FIELD(fpu_loaded)); /* cmp [fpu_loaded], FPU_PARKED */
  e8(e, FPU_PARKED);
  uint8_t *skip = emit_jcc32(e, 5);
  for (int i = 0; i < 8; i++)
    emit_op_rm(e, 0, OM_0F, 0x28, i, CPU_FIELD(fx.xmm[i]));
  load_mxcsr(e, CPU_FIELD(fx.mxcsr));
  emit_store_imm(e, CPU_FIELD(fpu_loaded), FPU_LOADED);
  emit_patch32(skip, e->p);
}

void jit_fpu_settle(struct cpu *cpu) {
  struct fxsave now;
  if (cpu->fpu_loaded != FPU_PARKED)
    return;
  __asm__ volatile("fxsave %0\n\tfninit" : "=m"(now));
  cpu->fx.fcw = now.fcw;
  cpu->fx.fsw = now.fsw;
  cpu->fx.ftw = now.ftw;
  memcpy(cpu->fx.st, now.st, sizeof now.st);
  cpu->fpu_loaded = 0;
}

static const uint8_t callee_saved[6] = {RBX, RBP, R12, R13, R14, R15};

static void adjust_rsp(struct emitter *e, int op) {
  emit_op_rr(e, EO_W, OM_1, 0x83, op, RSP);
  e8(e, 8);
}

/* void enter(struct cpu *rdi, const uint8_t *rsi) */
static void make_enter(struct emitter *e) {
  for (int i = 0; i < 6; i++)
    emit_push64(e, callee_saved[i]);
  adjust_rsp(e, ALU_SUB);
  emit_mov_rr64(e, R14, RDI);
  emit_store64(e, CPU_FIELD(scratch[SCR_ENTRY]), RSI);
  fpu_unpark(e);
  emit_store_imm(e, CPU_FIELD(scratch[SCR_LINK]), 0);
  emit_mov_imm(e, R13, 44);
  emit_load64(e, R12, CPU_FIELD(budget));
  fill_guest(e, true);
  emit_jmp_mem(e, CPU_FIELD(scratch[SCR_ENTRY]));
}

static void make_exit(struct emitter *e) {
  spill_guest(e);
  emit_store64(e, CPU_FIELD(budget), R12);
  fpu_park(e);
  adjust_rsp(e, ALU_ADD);
  for (int i = 5; i >= 0; i--)
    emit_pop64(e, callee_saved[i]);
  e8(e, 0xc3); /* ret */
}

/*
 * call: ECX = info, R9D = EIP of the instruction, R8 = argument. Calls fn(cpu, r8, info), stores its result
 * in scratch[SCR_STAY]. R8 and R11 survive. `reload_all`: fn may change guest registers, and may settle the
 * FPU state.
 */
static void make_call(struct emitter *e, uint32_t (*fn)(struct cpu *, uint32_t, uint32_t), bool reload_all) {
  emit_store(e, CPU_FIELD(eip), R9);
  emit_store64(e, CPU_FIELD(scratch[SCR_R8]), R8);
  emit_store64(e, CPU_FIELD(scratch[SCR_R11]), R11);
  emit_mov_rr(e, R11, RCX);
  spill_guest(e);
  emit_store64(e, CPU_FIELD(budget), R12);
  fpu_park(e);
  adjust_rsp(e, ALU_SUB);
  emit_mov_rr64(e, RDI, R14);
  emit_load(e, RSI, CPU_FIELD(scratch[SCR_R8]));
  emit_mov_rr(e, RDX, R11);
  emit_mov_imm64(e, RAX, (uintptr_t)fn);
  emit_op_rr(e, 0, OM_1, 0xff, 2, RAX); /* call rax */
  adjust_rsp(e, ALU_ADD);
  emit_store(e, CPU_FIELD(scratch[SCR_STAY]), RAX);
  fpu_unpark(e);
  if (reload_all)
    emit_load64(e, R12, CPU_FIELD(budget));
  fill_guest(e, reload_all);
  emit_load64(e, R8, CPU_FIELD(scratch[SCR_R8]));
  emit_load64(e, R11, CPU_FIELD(scratch[SCR_R11]));
  e8(e, 0xc3);
}

/* Jump through the jump cache to the EIP in R8D. The key makes entries of other modes miss. table < 0: the
 * mode is whatever the CPU's is now. */
void jit_emit_lookup(struct emitter *e, int table, const uint8_t *miss) {
  int32_t jc = (int32_t)offsetof(struct cpu, jump_cache) +
               (table < 0 ? 0 : table * (int32_t)(JC_ENTRIES * sizeof(struct jc_entry)));
  emit_movzx16(e, R9, R8);
  emit_lea(e, R9, hm_index(R9, R9, 0, 0));
  if (table < 0) {
    emit_load(e, RCX, CPU_FIELD(jc_table));
    emit_lea(e, R9, hm_index(RCX, R9, 0, 0));
  }
  emit_load64(e, RCX, hm_index(R14, R9, 3, jc));
  emit_op_rm(e, EO_W, OM_1, 0x8b, R11, CPU_FIELD(jc_key));
  emit_lea64(e, RCX, hm_index(RCX, R8, 0, 0));
  emit_lea64(e, RCX, hm_index(RCX, R11, 0, 0)); /* -(eip + key) + eip + key */
  uint8_t *hit = emit_jrcxz(e);
  emit_jmp_to(e, miss);
  emit_patch8(hit, e->p);
  emit_load(e, R8, hm_index(R14, R9, 3, jc + (int32_t)offsetof(struct jc_entry, eip_bias)));
  emit_load(e, R9, hm_index(R14, R9, 3, jc + (int32_t)offsetof(struct jc_entry, host)));
  emit_store(e, CPU_FIELD(eip_bias), R8);
  emit_op_rr(e, 0, OM_1, 0xff, 4, R9); /* jmp r9 */
}

static const uint8_t *start(struct emitter *e) {
  while ((uintptr_t)e->p & 15)
    e8(e, 0xcc);
  return e->p;
}

void jit_make_stubs(struct jit *j) {
  struct emitter emitter = {j->rw, j->rw + 8192};
  struct emitter *e = &emitter;

  const uint8_t *enter = start(e);
  make_enter(e);
  union { /* data to function pointer, as dlsym does */
    const void *data;
    void (*function)(struct cpu *, const uint8_t *);
  } u = {jit_to_rx(j, enter)};
  j->enter = u.function;

  j->stub_exit_link = start(e);
  emit_store(e, CPU_FIELD(scratch[SCR_LINK]), R8);
  j->stub_exit = e->p;
  make_exit(e);

  j->stub_miss = start(e);
  emit_store(e, CPU_FIELD(eip), R8);
  emit_jmp_to(e, j->stub_exit);

  j->stub_lookup = start(e);
  emit_load(e, R8, CPU_FIELD(eip));
  jit_emit_lookup(e, -1, j->stub_miss);

  j->stub_read = start(e);
  make_call(e, jit_slow_read, false);
  j->stub_write = start(e);
  make_call(e, jit_slow_write, false);
  j->stub_write_check = start(e);
  make_call(e, jit_slow_write_check, false);
  j->stub_write_commit = start(e);
  make_call(e, jit_slow_write_commit, false);
  j->stub_seg_check = start(e);
  make_call(e, jit_slow_seg_check, false);
  j->stub_exec = start(e);
  make_call(e, jit_exec, true);

  j->stub_code_store = start(e);
  jit_make_code_store(j, e);

  j->stub_fpu_load = start(e);
  fpu_reload(e);
  e8(e, 0xc3);

  j->stub_host_fault = start(e);
  emit_store64(e, CPU_FIELD(scratch[SCR_HOSTPC]), RCX);
  spill_guest(e);
  emit_store64(e, CPU_FIELD(budget), R12);
  fpu_unload(e);
  emit_mov_rr64(e, RDI, R14);
  emit_mov_imm64(e, RAX, (uintptr_t)jit_host_fault);
  emit_op_rr(e, 0, OM_1, 0xff, 2, RAX); /* call; returns: EIP and budget are set */
  adjust_rsp(e, ALU_ADD);
  for (int i = 5; i >= 0; i--)
    emit_pop64(e, callee_saved[i]);
  e8(e, 0xc3);

  gen_make_stubs(j, e);
  j->next = (uint8_t *)start(e);
  j->stubs_end = j->next;
}
