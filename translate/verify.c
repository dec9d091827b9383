/* SPDX-License-Identifier: MIT */
/*
 * The checker's driver: decode what can be reached of a block, order it (generated code has no loops inside a
 * block; one that had would be refused), and follow it once from its entry with everything that is known of
 * the registers.
 *
 * What it proves, of every path from the block's entry, given jit.h's contract of what holds there:
 *  - only instructions of an allow-list, decoded without overlaps;
 *  - memory operands are the window, guest memory behind a proper probe of the TLB, or slots of struct cpu
 * (see verify_mem.c);
 *  - RSP, R13 and R14 stay; R12 only counts, and no other block is entered without a check of it;
 *  - control goes to stubs with arguments in range, to linked blocks of the same mode, or to the host address
 * of a jump cache entry that matched; guest registers are 32 bits of the guest's then. What it does not
 * prove: that the translation is right, and what the stubs and C do. Segment limits are part of the former:
 * they protect guests from themselves.
 */
#include "translate/verify.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "core/log.h"
#include "translate/dump.h"
#include "translate/verify_flow.h"

static _Thread_local csh handle;
static _Thread_local cs_insn *scratch;
static _Thread_local struct verifier arena; /* its buffers are kept from block to block */

bool v_fail(struct verifier *v, const char *format, ...) {
  if (v->failed)
    return false;
  v->failed = true;
  int n = v->now ? snprintf(v->why, v->why_size, "+%#x: ", v->now->off) : 0;
  if (n < 0 || (size_t)n >= v->why_size)
    return false;
  va_list args;
  va_start(args, format);
  vsnprintf(v->why + n, v->why_size - (size_t)n, format, args);
  va_end(args);
  return false;
}

/* --- decoding --- */

/* Capstone's register, as a number of a general register. */
static int8_t general(x86_reg reg, uint8_t *size, bool *high) {
  static const uint16_t names[4][16] = {
      {X86_REG_AL, X86_REG_CL, X86_REG_DL, X86_REG_BL, X86_REG_SPL, X86_REG_BPL, X86_REG_SIL, X86_REG_DIL,
       X86_REG_R8B, X86_REG_R9B, X86_REG_R10B, X86_REG_R11B, X86_REG_R12B, X86_REG_R13B, X86_REG_R14B,
       X86_REG_R15B},
      {X86_REG_AX, X86_REG_CX, X86_REG_DX, X86_REG_BX, X86_REG_SP, X86_REG_BP, X86_REG_SI, X86_REG_DI,
       X86_REG_R8W, X86_REG_R9W, X86_REG_R10W, X86_REG_R11W, X86_REG_R12W, X86_REG_R13W, X86_REG_R14W,
       X86_REG_R15W},
      {X86_REG_EAX, X86_REG_ECX, X86_REG_EDX, X86_REG_EBX, X86_REG_ESP, X86_REG_EBP, X86_REG_ESI, X86_REG_EDI,
       X86_REG_R8D, X86_REG_R9D, X86_REG_R10D, X86_REG_R11D, X86_REG_R12D, X86_REG_R13D, X86_REG_R14D,
       X86_REG_R15D},
      {X86_REG_RAX, X86_REG_RCX, X86_REG_RDX, X86_REG_RBX, X86_REG_RSP, X86_REG_RBP, X86_REG_RSI, X86_REG_RDI,
       X86_REG_R8, X86_REG_R9, X86_REG_R10, X86_REG_R11, X86_REG_R12, X86_REG_R13, X86_REG_R14, X86_REG_R15},
  };
  static _Thread_local int8_t number[X86_REG_ENDING], bytes[X86_REG_ENDING];
  static _Thread_local bool ready;
  if (!ready) {
    memset(number, -1, sizeof number);
    for (int s = 0; s < 4; s++)
      for (int r = 0; r < 16; r++)
        number[names[s][r]] = (int8_t)r, bytes[names[s][r]] = (int8_t)(1 << s);
    static const uint16_t highs[4] = {X86_REG_AH, X86_REG_CH, X86_REG_DH, X86_REG_BH};
    for (int r = 0; r < 4; r++)
      number[highs[r]] = (int8_t)r, bytes[highs[r]] = 1;
    ready = true;
  }
  *high = reg == X86_REG_AH || reg == X86_REG_CH || reg == X86_REG_DH || reg == X86_REG_BH;
  if (number[reg] >= 0)
    *size = (uint8_t)bytes[reg];
  return number[reg];
}

/* Register of an address: it must have the address size. */
static int8_t address_register(x86_reg reg, unsigned want) {
  uint8_t size = 0;
  bool high;
  if (reg == X86_REG_INVALID)
    return -1;
  int8_t r = general(reg, &size, &high);
  return r >= 0 && size == want ? r : -2;
}

static void take_operand(const struct vinsn *in, struct vop *to, const cs_x86_op *from) {
  memset(to, 0, sizeof *to);
  to->type = (uint8_t)from->type;
  to->size = from->size;
  to->reg = to->base = to->index = -1;
  if (from->type == X86_OP_REG) {
    to->reg = general(from->reg, &to->size, &to->high);
  } else if (from->type == X86_OP_IMM) {
    to->imm = from->imm;
  } else {
    unsigned want = in->prefixes & VP_67 ? 4 : 8;
    to->base = address_register(from->mem.base, want);
    to->index = address_register(from->mem.index, want);
    to->scale = (uint8_t)from->mem.scale;
    to->seg = in->prefixes & VP_GS ? 1 : from->mem.segment == X86_REG_INVALID ? 0 : 2;
    to->disp = from->mem.disp;
  }
}

/* Prefixes and opcode, without Capstone: each prefix once, none but those that the emitter knows, REX last.
 */
static bool scan_prefixes(struct verifier *v, struct vinsn *in, const uint8_t *p) {
  const uint8_t *end = p + in->len;
  for (; p < end; p++) {
    unsigned prefix;
    switch (*p) {
    case 0x66: prefix = VP_66; break;
    case 0xf2: prefix = VP_F2; break;
    case 0xf3: prefix = VP_F3; break;
    case 0xf0: prefix = VP_LOCK; break;
    case 0x65: prefix = VP_GS; break;
    case 0x67: prefix = VP_67; break;
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
    case 0x64: return v_fail(v, "prefix");
    default: prefix = 0; break;
    }
    if (!prefix)
      break;
    if (in->prefixes & prefix)
      return v_fail(v, "prefix twice");
    in->prefixes |= (uint8_t)prefix;
  }
  if (p < end && (*p & 0xf0) == 0x40)
    p++, in->prefixes |= VP_REX;
  if (p >= end)
    return v_fail(v, "no opcode");
  in->opcode = *p;
  in->opcode2 = p + 1 < end ? p[1] : 0;
  if (in->opcode == 0xc4 || in->opcode == 0xc5)
    in->prefixes |= VP_VEX;
  return true;
}

static bool decode(struct verifier *v, struct vinsn *in) {
  const uint8_t *start = jit_to_rw(v->j, v->base) + in->off, *p = start;
  size_t left = v->size - in->off;
  uint64_t address = (uint64_t)(uintptr_t)v->base + in->off;
  if (!cs_disasm_iter(handle, &p, &left, &address, scratch))
    return v_fail(v, "no instruction");
  in->id = (uint16_t)scratch->id;
  in->len = (uint8_t)scratch->size;
  if (!scan_prefixes(v, in, start))
    return false;
  const cs_x86 *x = &scratch->detail->x86;
  in->op_count = x->op_count > 3 ? 3 : x->op_count;
  for (int i = 0; i < in->op_count; i++)
    take_operand(in, &in->op[i], &x->operands[i]);
  return true;
}

/* --- control flow --- */

/* Instruction number of the one at `off`, to be decoded if it is new. -1 after v_fail. */
static int32_t place(struct verifier *v, uint32_t off) {
  if (off >= v->size) {
    v_fail(v, "runs out of the block");
    return -1;
  }
  if (v->at[off] == -2)
    v_fail(v, "jumps into an instruction");
  if (v->at[off] != -1)
    return v->at[off] < 0 ? -1 : v->at[off];
  if (v->count == v->room) {
    v->room = v->room ? v->room * 2 : 1024;
    uint32_t now = v->now ? (uint32_t)(v->now - v->insns) : 0;
    struct vinsn *insns = realloc(v->insns, v->room * sizeof *insns);
    DGM_ASSERT(insns != NULL);
    v->insns = insns;
    if (v->now)
      v->now = &v->insns[now];
  }
  int32_t n = (int32_t)v->count++;
  struct vinsn *in = &v->insns[n];
  memset(in, 0, sizeof *in);
  in->off = off;
  in->link = -1;
  in->next[0] = in->next[1] = in->next[2] = -1;
  v->at[off] = n;
  return n;
}

static bool succeed(struct verifier *v, uint32_t n, int slot, uint32_t off) {
  int32_t to = place(v, off);
  if (to < 0)
    return false;
  v->insns[n].next[slot] = to;
  return true;
}

static bool is_jcc(const struct vinsn *in) {
  return (in->opcode & 0xf0) == 0x70 || (in->opcode == 0x0f && (in->opcode2 & 0xf0) == 0x80);
}

static bool is_branch(const struct vinsn *in) {
  return in->opcode == 0xe9 || in->opcode == 0xeb || in->opcode == 0xe8 || in->opcode == 0xe3 || is_jcc(in);
}

static bool is_jump_register(const struct vinsn *in) { return in->opcode == 0xff && in->id == X86_INS_JMP; }

/* Which exit of the block is this branch? */
static int link_of(const struct verifier *v, const struct vinsn *in) {
  const uint8_t *field = jit_to_rw(v->j, v->base) + in->off + in->len - 4;
  for (uint32_t i = 0; i < v->b->link_count; i++)
    if (link_field(v->j, &v->j->links[v->b->link_first + i]) == field)
      return (int)i;
  return -1;
}

const uint8_t *v_tail(const struct verifier *v) {
  return jit_to_rw(v->j, v->base) + v->now->off + v->now->len - 4;
}

uint32_t v_far_key(const struct verifier *v, const uint8_t *field) {
  for (uint32_t i = 0; i < v->b->link_count; i++)
    if (link_far_key(v->j, &v->j->links[v->b->link_first + i]) == field)
      return i + 1;
  return 0;
}

uint32_t v_far_bias(const struct verifier *v, const uint8_t *field) {
  for (uint32_t i = 0; i < v->b->link_count; i++)
    if (link_far_bias(v->j, &v->j->links[v->b->link_first + i]) == field)
      return i + 1;
  return 0;
}

/* An exit aims at its stub, or at the block to which it is linked; the stub counts as reached in either case.
 */
static bool link_targets(struct verifier *v, uint32_t n, int slot) {
  struct vinsn *in = &v->insns[n];
  const struct link *l = &v->j->links[v->b->link_first + (uint32_t)slot];
  const uint8_t *stub = v->j->rx + l->stub;
  const struct block *to = jit_block(v->j, l->to);
  in->link = (int16_t)slot;
  if (stub < v->base || stub >= v->base + v->size)
    return v_fail(v, "exit stub outside of the block");
  if (to && (!to->valid || to->mode != v->b->mode || to->cs_limit != v->b->cs_limit))
    return v_fail(v, "linked to a block of another mode");
  if (in->target != (to ? to->host : stub))
    return v_fail(v, "linked to something else");
  return succeed(v, n, 2, (uint32_t)(stub - v->base));
}

static bool branch_targets(struct verifier *v, uint32_t n) {
  struct vinsn *in = &v->insns[n];
  bool conditional = is_jcc(in) || in->opcode == 0xe3, call = in->opcode == 0xe8;
  if (in->prefixes || in->op_count != 1 || in->op[0].type != X86_OP_IMM)
    return v_fail(v, "form of a branch");
  in->target = (const uint8_t *)(uintptr_t)in->op[0].imm;
  if ((conditional || call) && !succeed(v, n, 0, in->off + in->len))
    return false;
  in = &v->insns[n]; /* succeed may move them */
  if (call)
    return true;
  int slot = link_of(v, in);
  if (slot >= 0)
    return link_targets(v, n, slot);
  if (in->target >= v->base && in->target < v->base + v->size)
    return succeed(v, n, 1, (uint32_t)(in->target - v->base));
  return true; /* a stub: v_leave will see */
}

static bool explore(struct verifier *v) {
  if (place(v, BLOCK_FRONT) < 0)
    return false;
  for (uint32_t n = 0; n < v->count; n++) {
    v->now = &v->insns[n];
    if (!decode(v, &v->insns[n]))
      return false;
    struct vinsn *in = &v->insns[n];
    for (uint32_t i = 1; i < in->len; i++) {
      if (v->at[in->off + i] != -1)
        return v_fail(v, "instructions overlap");
      v->at[in->off + i] = -2;
    }
    if (is_branch(in) ? !branch_targets(v, n) : !is_jump_register(in) && !succeed(v, n, 0, in->off + in->len))
      return false;
  }
  return true;
}

/* Reverse postorder into v->order; fails if there is a way back. */
static bool sort(struct verifier *v) {
  uint32_t *order = realloc(v->order, 2 * v->room * sizeof *order); /* second half: the stack */
  DGM_ASSERT(order != NULL);
  v->order = order;
  uint32_t *stack = v->order + v->room, depth = 0, at = v->count;
  stack[depth++] = 0;
  v->insns[0].mark = 1; /* bits 1:0: successors looked at so far, plus 1; 0x80: done */
  while (depth) {
    struct vinsn *in = &v->insns[stack[depth - 1]];
    if (in->mark == 4) {
      in->mark = 0x80;
      v->order[--at] = stack[--depth];
      continue;
    }
    int32_t to = in->next[in->mark++ - 1];
    if (to < 0 || v->insns[to].mark == 0x80)
      continue;
    v->now = in;
    if (v->insns[to].mark != 0)
      return v_fail(v, "loop inside of a block");
    v->insns[to].mark = 1;
    stack[depth++] = (uint32_t)to;
  }
  DGM_ASSERT(at == 0);
  return true;
}

/* --- states --- */

#define POOL 512u
static _Thread_local struct vstate *pool[POOL];
static _Thread_local uint32_t pooled;

static struct vstate *state_new(const struct vstate *from) {
  struct vstate *s = pooled ? pool[--pooled] : malloc(sizeof *s);
  DGM_ASSERT(s != NULL);
  *s = *from;
  return s;
}

static void state_free(struct vstate *s) {
  if (pooled < POOL)
    pool[pooled++] = s;
  else
    free(s);
}

static void flow_to(struct verifier *v, int32_t to, const struct vstate *s) {
  if (to < 0)
    return;
  struct vinsn *in = &v->insns[to];
  if (in->state)
    vs_join(v, in->state, s);
  else
    in->state = state_new(s);
}

static bool flow_jrcxz(struct verifier *v, const struct vinsn *in, const struct vstate *s) {
  struct vstate taken, not_taken;
  bool may_take, may_not;
  if (in->next[1] < 0)
    return v_fail(v, "jumps out of the block");
  v_split(s, &taken, &not_taken, &may_take, &may_not);
  if (may_take)
    flow_to(v, in->next[1], &taken);
  if (may_not)
    flow_to(v, in->next[0], &not_taken);
  return true;
}

/* One instruction, from *s to its successors. */
static bool flow(struct verifier *v, struct vstate *s) {
  const struct vinsn *in = v->now;
  if (is_jump_register(in))
    return v_jump_register(v, s);
  if (in->opcode == 0xe3)
    return flow_jrcxz(v, in, s);
  if (in->opcode == 0xe8) {
    if (!v_call(v, s))
      return false;
  } else if (!is_branch(in)) {
    if (!v_step(v, s))
      return false;
  } else if (in->link >= 0) {
    if (!v_take_link(v, s))
      return false;
  } else if (in->next[1] < 0 && !v_leave(v, s, in->target)) {
    return false;
  }
  for (int i = 0; i < 3; i++)
    flow_to(v, in->next[i], s);
  return true;
}

static bool follow(struct verifier *v) {
  struct vstate entry;
  vs_entry(v, &entry);
  flow_to(v, 0, &entry);
  bool ok = true;
  for (uint32_t i = 0; i < v->count && ok; i++) {
    struct vinsn *in = &v->insns[v->order[i]];
    v->now = in;
    if (!in->state)
      continue; /* behind a JRCXZ that always or never jumps */
    ok = flow(v, in->state);
    state_free(in->state);
    in->state = NULL;
  }
  for (uint32_t i = 0; i < v->count; i++)
    if (v->insns[i].state)
      state_free(v->insns[i].state);
  return ok;
}

/* --- interface --- */

static bool open_capstone(void) {
  if (handle)
    return true;
  if (cs_open(CS_ARCH_X86, CS_MODE_64, &handle) != CS_ERR_OK) {
    handle = 0;
    return false;
  }
  cs_option(handle, CS_OPT_DETAIL, CS_OPT_ON);
  scratch = cs_malloc(handle);
  return scratch != NULL;
}

bool verify_block(const struct jit *j, const struct block *b, char *why, size_t why_size) {
  struct verifier *v = &arena;
  v->j = j, v->b = b;
  v->base = b->host - BLOCK_FRONT;
  v->size = b->host_size + BLOCK_FRONT;
  v->why = why, v->why_size = why_size;
  v->count = v->next_sym = 0;
  v->now = NULL;
  v->failed = false;
  if (why_size)
    why[0] = '\0';
  if (!open_capstone())
    return v_fail(v, "no disassembler");
  bool inside = jit_to_rw(j, v->base) >= j->stubs_end && v->base + v->size <= j->rx + j->size;
  if (!inside || b->host_size == 0)
    return v_fail(v, "not in the code cache");
  if (v->size > v->at_room) {
    int32_t *at = realloc(v->at, v->size * sizeof *at);
    DGM_ASSERT(at != NULL);
    v->at = at;
    v->at_room = v->size;
  }
  memset(v->at, -1, v->size * sizeof *v->at);
  return explore(v) && sort(v) && follow(v);
}

void verify_or_die(const struct jit *j, const struct block *b, const struct insn *insns, const int16_t *off,
                   unsigned count) {
  char why[160];
  if (verify_block(j, b, why, sizeof why))
    return;
  const struct vinsn *at = arena.now;
  cs_insn *text = NULL;
  if (at && cs_disasm(handle, jit_to_rw(j, arena.base) + at->off, at->len, (uintptr_t)arena.base + at->off, 1,
                      &text))
    error_report("%#llx: %s %s", (unsigned long long)text->address, text->mnemonic, text->op_str);
  dump_guest(b, insns, off, count);
  dump_host(j, b);
  error_report("the translator made a block that is not confined: %s", why);
  DGM_ASSERT(!"confined");
}
