/* SPDX-License-Identifier: MIT */
/*
 * The frame of a block: budget check at its head, one instruction after the other, exits, islands for the
 * short-range JRCXZ, and the out-of-line paths behind it.
 */
#include "translate/gen.h"

#include "core/log.h"
#include "core/mem.h"

#define ISLAND_JUMP 5u

uint32_t gen_left(const struct gen *g) { return g->left[g->index]; }

static void note_host(struct gen *g) {
  struct jit *j = g->j;
  struct host_map *m = &j->maps[j->map_count + g->b->map_count++];
  m->host_off = (uint16_t)(g->e.p - jit_to_rw(j, g->b->host));
  m->index = (uint8_t)g->index;
  m->left = g->left[g->index];
  m->sp = (int16_t)g->sp;
  m->eip_off = g->off[g->index];
}

static void select_insn(struct gen *g, unsigned index) {
  g->index = index;
  g->eip = g->b->eip + (uint32_t)(int32_t)g->off[index];
  g->next = g->eip + g->insns[index].length;
}

/* --- islands --- */

/* Jumps for every jrcxz that has not got one. */
static void emit_island(struct gen *g) {
  for (; g->first_pending < g->cold_count; g->first_pending++) {
    struct cold *c = &g->cold[g->first_pending];
    if (c->island)
      continue;
    bool near = emit_patch8(c->jrcxz, g->e.p);
    DGM_ASSERT(near);
    c->island = emit_jmp32(&g->e);
  }
}

void gen_reserve(struct gen *g, unsigned bytes) {
  unsigned waiting = g->cold_count - g->first_pending;
  if (waiting == 0)
    return;
  const uint8_t *oldest = g->cold[g->first_pending].jrcxz;
  if ((size_t)(g->e.p - oldest) + bytes + ISLAND_JUMP * (waiting + 2) + 2 < 126)
    return;
  uint8_t *over = emit_jmp8(&g->e);
  emit_island(g);
  bool near = emit_patch8(over, g->e.p);
  DGM_ASSERT(near);
}

struct cold *gen_cold(struct gen *g, enum cold_kind kind) {
  DGM_ASSERT(g->cold_count < MAX_COLD);
  struct cold *c = &g->cold[g->cold_count++];
  memset(c, 0, sizeof *c);
  c->kind = kind;
  c->index = (uint8_t)g->index;
  c->reload_fpu = g->fpu_ready;
  c->fp = g->fp;
  c->jrcxz = emit_jrcxz(&g->e);
  return c;
}

/* Room for two jumps, then the entry. */
static void emit_front(struct gen *g) {
  struct block *b = g->b;
  while ((uintptr_t)(g->e.p + BLOCK_FRONT) & 15)
    e8(&g->e, 0xcc);
  for (int i = 0; i < 2; i++)
    g->front[i] = emit_jmp32(&g->e);
  b->host = jit_to_rx(g->j, g->e.p);
}

/* The cold path just made is reached by a jump before the entry, if one is left and not too far. */
void gen_reach_front(struct gen *g) {
  struct cold *c = &g->cold[g->cold_count - 1];
  if (g->front_used == 2 || !emit_patch8(c->jrcxz, g->front[g->front_used] - 1))
    return;
  c->island = g->front[g->front_used++];
  if (g->first_pending == g->cold_count - 1)
    g->first_pending++;
}

/* --- EIP constants --- */

void gen_eip(struct gen *g, int reg, uint32_t eip) {
  if (!g->b->relative) {
    emit_mov_imm(&g->e, reg, eip);
    return;
  }
  emit_load(&g->e, reg, CPU_FIELD(eip_bias));
  emit_lea(&g->e, reg, hm_base(reg, (int32_t)(eip - g->b->eip + g->b->pa)));
}

void gen_store_eip(struct gen *g, uint32_t eip) {
  if (!g->b->relative) {
    emit_store_imm(&g->e, CPU_FIELD(eip), eip);
    return;
  }
  gen_eip(g, RCX, eip);
  emit_store(&g->e, CPU_FIELD(eip), RCX);
}

static struct host_mem selector(int seg) {
  return hm_cpu(offsetof(struct cpu, seg) + (size_t)seg * sizeof(struct seg) + offsetof(struct seg, sel));
}

static void emit_fp_pointers(struct gen *g, const struct fp_pointers *fp) {
  struct emitter *e = &g->e;
  if (fp->code) {
    if (g->b->relative) {
      gen_eip(g, RCX, fp->eip);
      emit_store(e, CPU_FIELD(fx.fip), RCX);
    } else {
      emit_store_imm(e, CPU_FIELD(fx.fip), fp->eip);
    }
    emit_store_imm16(e, CPU_FIELD(fx.fop), fp->opcode);
    emit_op_rm(e, 0, OM_0F, 0xb7, RCX, selector(CS)); /* movzx ecx, word [cs] */
    emit_op_rm(e, EO_66, OM_1, 0x89, RCX, CPU_FIELD(fx.fcs));
  }
  if (fp->data) {
    gen_lea(e, RCX, fp->at);
    emit_store(e, CPU_FIELD(fx.fdp), RCX);
    emit_op_rm(e, 0, OM_0F, 0xb7, RCX, selector(fp->seg));
    emit_op_rm(e, EO_66, OM_1, 0x89, RCX, CPU_FIELD(fx.fds));
  }
}

void gen_store_fp_pointers(struct gen *g) {
  if (!g->fp.code && !g->fp.data)
    return;
  gen_reserve(g, 80);
  emit_fp_pointers(g, &g->fp);
  g->fp.code = g->fp.data = false;
}

/* The next instruction may change what the pending pointers are made of. */
static void keep_fp_pointers(struct gen *g, const struct insn *in) {
  if (!g->fp.data || !(gen_depends(&g->fp.at, insn_may_write(in)) || insn_describe(in)->cls == CL_SEG))
    return;
  struct fp_pointers data = g->fp;
  data.code = false;
  gen_reserve(g, 48);
  emit_fp_pointers(g, &data);
  g->fp.data = false;
}

/* --- exits --- */

/* The part of a direct exit that runs until it is linked: store EIP, tell C which link it was. */
static struct link *emit_link_stub(struct gen *g, uint8_t *field, uint32_t target) {
  struct emitter *e = &g->e;
  struct jit *j = g->j;
  uint32_t number = j->link_count + g->b->link_count++;
  struct link *l = &j->links[number];
  *l = (struct link){.stub = (uint32_t)(e->p - j->rw), .from = jit_block_number(j, g->b)};
  if (field) {
    l->field = (uint32_t)(field - j->rw);
    emit_patch32(field, e->p);
  }
  gen_store_eip(g, target);
  emit_mov_imm(e, R8, number + 1);
  uint8_t *leave = emit_jmp32(e);
  emit_patch32(leave, j->stub_exit_link);
  l->leave = (uint8_t)(leave - j->rw - l->stub);
  return l;
}

/* May a direct jump to target stay linked whatever the page tables do? Only on the same page. */
static bool linkable(const struct gen *g, uint32_t target) {
  if (target > g->cs_limit)
    return false;
  /* without paging only A20 can change where a linear address leads */
  uint32_t unit = g->mode & MODE_PAGING ? MEM_PAGE : 1u << 20;
  int64_t offset = (int64_t)(g->b->pa & (unit - 1)) + (int32_t)(target - g->b->eip);
  return offset >= 0 && offset < unit;
}

void gen_exit_lookup(struct gen *g) {
  gen_reserve(g, 80);
  jit_emit_lookup(&g->e, (int)JC_TABLE(g->mode), g->j->stub_miss);
}

/* RCX = 0 if the key is the one at the returned address, negated; see link_far_key. */
static uint8_t *emit_compare_key(struct emitter *e) {
  emit_load(e, RCX, hm_cpu(offsetof(struct cpu, jc_key) + 4));
  e8(e, 0x8d), e8(e, 0x89); /* lea ecx, [rcx + disp32] */
  e32(e, 0);                /* no key is 0 */
  return e->p - 4;
}

/*
 * To another page: where that is depends on the page tables. In a window, a change of them that concerns code
 * changes jc_key, so the exit can be linked under a key (jit_link_far); elsewhere, and where such links did
 * not last, the jump cache is asked each time.
 */
static void exit_far(struct gen *g, uint32_t target) {
  struct emitter *e = &g->e;
  bool hot;
  gen_reserve(g, 110);
  if (!(g->mode & MODE_WINDOW) || target > g->cs_limit || jit_takes_turns(g->j, g->b->pa, g->mode, &hot)) {
    gen_eip(g, R8, target);
    gen_exit_lookup(g);
    return;
  }
  emit_compare_key(e);
  uint8_t *same = emit_jrcxz(e);
  struct link *l = emit_link_stub(g, NULL, target);
  emit_patch8(same, e->p);
  emit_store_imm(e, CPU_FIELD(eip_bias), 0);
  l->far = true;
  uint8_t *field = emit_jmp32(e);
  l->field = (uint32_t)(field - g->j->rw);
  emit_patch32(field, g->j->rw + l->stub);
}

static struct gen_exit *note_exit(struct gen *g, uint8_t *field, uint32_t target) {
  DGM_ASSERT(g->exit_count < MAX_EXITS);
  struct gen_exit *x = &g->exit[g->exit_count++];
  *x = (struct gen_exit){.field = field, .target = target, .index = (uint8_t)g->index};
  return x;
}

void gen_exit_to(struct gen *g, uint32_t target) {
  struct emitter *e = &g->e;
  if (!linkable(g, target)) {
    exit_far(g, target);
    return;
  }
  note_exit(g, emit_jmp32(e), target);
}

void gen_side_exit(struct gen *g, int cc, uint32_t target) {
  struct gen_exit *x = note_exit(g, emit_jcc32(&g->e, cc), target);
  x->side = true;
  x->rest = g->left[g->index + 1];
  x->fp = g->fp;
}

void gen_thunk_exit(struct gen *g, uint32_t target) {
  struct emitter *e = &g->e;
  gen_reserve(g, 40);
  uint8_t *key = emit_compare_key(e);
  uint8_t *same = emit_jrcxz(e);
  struct gen_exit *x = note_exit(g, emit_jmp32(e), target);
  emit_patch8(same, e->p);
  x->side = x->thunk = true;
  x->key = key;
  x->sp = g->sp - 4;
  x->rest = (uint8_t)(g->left[g->index + 1] + THUNK_INSNS);
  x->fp = g->fp;
}

static void emit_exit(struct gen *g, const struct gen_exit *x) {
  struct emitter *e = &g->e;
  if (!x->side) {
    emit_link_stub(g, x->field, x->target);
    return;
  }
  emit_patch32(x->field, e->p);
  emit_lea64(e, R12, hm_base(R12, x->rest));
  emit_fp_pointers(g, &x->fp);
  if (x->thunk) {
    emit_lea(e, R15, hm_base(R15, x->sp));
    struct link *l = emit_link_stub(g, NULL, x->target);
    l->far = true;
    l->field = (uint32_t)(x->key - g->j->rw);
    l->thunk = (uint8_t)(g->thunk[x->index] + 1);
  } else if (linkable(g, x->target)) {
    emit_link_stub(g, emit_jmp32(e), x->target);
  } else {
    exit_far(g, x->target);
  }
}

/* --- calls to the core --- */

void gen_exec(struct gen *g, const struct insn *in) {
  struct emitter *e = &g->e;
  struct jit *j = g->j;
  const struct insn_desc *d = insn_describe(in);
  DGM_ASSERT(in->base != BASE_EIP);
  uint32_t slot = j->insn_count++;
  j->insns[slot] = *in;
  gen_store_fp_pointers(g);
  gen_reserve(g, 64);
  emit_mov_imm(e, RCX, SLOW_LEFT(gen_left(g)));
  gen_eip(g, R9, g->eip);
  emit_mov_imm(e, R8, slot);
  emit_call_to(e, j->stub_exec);
  g->fpu_ready = false;
  emit_load(e, RCX, CPU_FIELD(scratch[SCR_STAY]));
  gen_cold(g, COLD_EXIT_LEAVE);
  if (d->attr & A_END) { /* somewhere else, perhaps in another mode: EIP is in memory */
    emit_jmp_to(e, j->stub_lookup);
    g->ended = true;
  }
}

/* --- out-of-line paths --- */

/* A pending x87 exception comes before any fault of the operand: WAIT raises it. */
static void emit_wait(struct gen *g, const struct cold *c) {
  const struct insn_desc *d = insn_describe(&g->insns[c->index]);
  bool converts = d->cls == CL_SSE && d->op[0] == Pq; /* CVTPS2PI and its like go to MMX registers */
  if ((d->cls == CL_FPU && !(d->attr & A_NOFPCHK)) || d->cls == CL_MMX || converts) {
    note_host(g);
    e8(&g->e, 0x9b);
  }
}

void gen_call_slow(struct gen *g, const struct cold *c, const uint8_t *stub) {
  struct emitter *e = &g->e;
  emit_mov_imm(e, RCX, c->info);
  gen_eip(g, R9, g->eip);
  emit_call_to(e, stub);
}

static void emit_cold_mem(struct gen *g, struct cold *c) {
  struct emitter *e = &g->e;
  struct jit *j = g->j;
  const struct insn *in = &g->insns[c->index];
  bool store = c->access != ACCESS_READ;
  /* MOV and SETcc change nothing but the operand, so the value may be there before the checks. */
  bool plain = c->access == ACCESS_WRITE && insn_describe(in)->cls == CL_COPY;
  emit_wait(g, c);
  g->arg = c->arg;
  if (c->la != R8)
    emit_mov_rr(e, R8, c->la);
  if (c->again) {
    emit_mov_imm(e, RCX, c->info);
    emit_call_to(e, j->stub_code_store);
    uint8_t *none = emit_jrcxz(e);
    emit_jmp_to(e, c->again);
    emit_patch8(none, e->p);
  }
  if (plain)
    c->op(g, in, CPU_FIELD(membuf));
  else
    gen_call_slow(g, c, store ? j->stub_write_check : j->stub_read);
  note_host(g);
  if (!plain)
    c->op(g, in, CPU_FIELD(membuf));
  if (store) {
    gen_call_slow(g, c, plain ? j->stub_write : j->stub_write_commit);
    emit_load(e, RCX, CPU_FIELD(scratch[SCR_STAY]));
    uint8_t *leave = emit_jrcxz(e);
    emit_jmp_to(e, c->resume);
    emit_patch8(leave, e->p);
    if (c->leave == LEAVE_R11)
      emit_store(e, CPU_FIELD(eip), R11);
    else
      gen_store_eip(g, c->leave == LEAVE_CONST ? c->leave_eip : g->next);
    emit_load64(e, R12, CPU_FIELD(budget));
    emit_jmp_to(e, j->stub_exit);
    return;
  }
  emit_jmp_to(e, c->resume);
}

static void emit_cold_core(struct gen *g, struct cold *c) {
  struct emitter *e = &g->e;
  struct jit *j = g->j;
  uint32_t slot = j->insn_count++;
  DGM_ASSERT(g->insns[c->index].base != BASE_EIP);
  j->insns[slot] = g->insns[c->index];
  emit_mov_imm(e, RCX, SLOW_LEFT(gen_left(g)));
  gen_eip(g, R9, g->eip);
  emit_mov_imm(e, R8, slot);
  emit_call_to(e, j->stub_exec);
  if (insn_describe(&g->insns[c->index])->attr & A_END) { /* EIP and budget are set in either case */
    emit_jmp_to(e, j->stub_exit);
    return;
  }
  emit_load(e, RCX, CPU_FIELD(scratch[SCR_STAY]));
  uint8_t *leave = emit_jrcxz(e);
  if (c->reload_fpu) { /* if the core has settled it */
    emit_load(e, RCX, CPU_FIELD(fpu_loaded));
    uint8_t *settled = emit_jrcxz(e);
    emit_jmp_to(e, c->resume);
    emit_patch8(settled, e->p);
    emit_call_to(e, j->stub_fpu_load);
  }
  emit_jmp_to(e, c->resume);
  emit_patch8(leave, e->p);
  emit_jmp_to(e, j->stub_exit);
}

static void emit_cold(struct gen *g, struct cold *c) {
  struct emitter *e = &g->e;
  struct jit *j = g->j;
  emit_patch32(c->island, e->p);
  emit_fp_pointers(g, &c->fp);
  switch (c->kind) {
  case COLD_MEM: emit_cold_mem(g, c); break;
  case COLD_CORE: emit_cold_core(g, c); break;
  case COLD_SEG:
    emit_wait(g, c);
    gen_cold_segment(g, c);
    break;
  case COLD_FPU:
    emit_call_to(e, j->stub_fpu_load);
    emit_jmp_to(e, c->resume);
    break;
  case COLD_EXIT_LEAVE: emit_jmp_to(e, j->stub_exit); break; /* jit_exec has set EIP and the budget */
  case COLD_HEAD:
    emit_lea64(e, R12, hm_base(R12, (int32_t)g->b->insns));
    gen_store_eip(g, g->b->eip);
    emit_jmp_to(e, j->stub_exit);
    break;
  }
}

/* --- the block --- */

static bool generate(struct gen *g, const struct insn *in) {
  switch (insn_describe(in)->cls) {
  case CL_COPY: return gen_alu(g, in);
  case CL_MUL: return gen_mul(g, in);
  case CL_SHIFT: return gen_shift(g, in);
  case CL_STACK: return gen_stack(g, in);
  case CL_BRANCH: return gen_branch(g, in);
  case CL_STRING: return gen_string(g, in);
  case CL_FLAG: return gen_flag(g, in);
  case CL_FPU: return gen_fpu(g, in);
  case CL_MMX:
  case CL_SSE: return gen_simd(g, in);
  case CL_SEG: return gen_seg_load(g, in);
  case CL_SYSTEM: return gen_system(g, in);
  case CL_FAR: return gen_far(g, in);
  case CL_NOP: return true;
  default: return false;
  }
}

static void emit_head(struct gen *g) {
  struct emitter *e = &g->e;
  emit_lea64(e, R12, hm_base(R12, -(int32_t)g->b->insns));
  emit_shrx(e, RCX, R12, R13, true);
  gen_cold(g, COLD_HEAD);
  gen_reach_front(g);
}

/* g->insns, g->count, g->b's key and g->e are set. Leaves host_size and the links complete. */
void gen_block(struct gen *g) {
  struct block *b = g->b;
  for (unsigned i = g->count; i-- > 0;)
    g->left[i] = (uint8_t)(g->left[i + 1] + 1 + (g->thunk[i] >= 0 ? THUNK_INSNS : 0));
  b->insns = g->left[0];
  emit_front(g);
  emit_head(g);
  for (unsigned i = 0; i < g->count; i++) {
    select_insn(g, i);
    gen_reserve(g, 56);
    if (!gen_sp_may_wait(g, &g->insns[i]))
      gen_settle_sp(g);
    note_host(g);
    if (insn_describe(&g->insns[i])->cls == CL_BRANCH && !gen_inside(g))
      gen_store_fp_pointers(g);
    keep_fp_pointers(g, &g->insns[i]);
    if (!generate(g, &g->insns[i]))
      gen_exec(g, &g->insns[i]);
  }
  if (!g->ended) {
    gen_settle_sp(g);
    gen_store_fp_pointers(g);
    gen_reserve(g, 96);
    gen_exit_to(g, g->next);
  }
  DGM_ASSERT(g->sp == 0);
  emit_island(g);
  for (unsigned i = 0; i < g->exit_count; i++) {
    select_insn(g, g->exit[i].index);
    emit_exit(g, &g->exit[i]);
  }
  for (unsigned i = 0; i < g->cold_count; i++) {
    select_insn(g, g->cold[i].index);
    emit_cold(g, &g->cold[i]);
  }
  b->host_size = (uint16_t)(g->e.p - jit_to_rw(g->j, b->host));
}
