/* SPDX-License-Identifier: MIT */
/*
 * The interpreter: the oracle that translated code is compared with. Fetch, decode, check what the row's attributes
 * ask for, call the row's handler, commit EIP. Counting: an instruction counts as retired when its handler returns
 * and, if repeated, is done; one that faults does not count, nor does the delivery of an event.
 */
#include "core/engine.h"

#include <errno.h>

#include "core/interp.h"
#include "core/log.h"
#include "core/mem.h"

#define DR6_BS 0x4000u

typedef void handler_fn(struct cpu *cpu, const struct insn *in);

static handler_fn *const handlers[INSN_COUNT] = {
#define I(id, ...) [INSN_##id] = interp_##id,
#include "core/insn.def"
#undef I
};

void (*interp_watch)(const struct insn *in, bool retired);

/*
 * Decoded instructions by linear address and code size. The bytes are compared on each use, so nothing need ever be
 * invalidated: this remembers results of a pure function, for one set of CPU features.
 */
#define MEMO_ENTRIES 4096u
#define MEMO_VALID (1ull << 33)
struct memo {
  uint64_t key; /* la, code size in bit 32, MEMO_VALID */
  uint64_t bytes[2], mask[2];
  handler_fn *handler;
  bool special; /* not simply: call the handler, count one */
  struct insn in;
};
static _Thread_local struct memo memo[MEMO_ENTRIES];
static _Thread_local uint64_t memo_features;

static void memo_check_features(const struct cpu *cpu) {
  if (memo_features != cpu->features)
    memset(memo, 0, sizeof memo);
  memo_features = cpu->features;
}

static void memo_fill(struct memo *m, uint64_t key, const struct insn *in) {
  const struct insn_desc *d = insn_describe(in);
  uint8_t mask[16] = {0};
  memset(mask, 0xff, in->length);
  memcpy(m->mask, mask, 16);
  memset(m->bytes, 0, 16);
  memcpy(m->bytes, in->bytes, in->length);
  m->key = key;
  m->handler = handlers[in->id];
  m->special = (d->attr & (A_PE | A_CPL0)) || (d->cls == CL_STRING && in->rep) || in->id == INSN_IRET || interp_watch;
  m->in = *in;
  if (interp_watch)
    interp_watch(in, false);
}

static inline bool memo_matches(const struct memo *m, uint64_t key, const uint8_t bytes[16]) {
  uint64_t a, b;
  memcpy(&a, bytes, 8);
  memcpy(&b, bytes + 8, 8);
  return m->key == key && (((a ^ m->bytes[0]) & m->mask[0]) | ((b ^ m->bytes[1]) & m->mask[1])) == 0;
}

static void decode_slow(struct cpu *cpu, struct insn *in, uint8_t buf[INSN_MAX], unsigned avail, bool code32) {
  for (;;) {
    switch (insn_decode(in, buf, avail, code32, cpu->features)) {
    case INSN_OK: return;
    case INSN_MORE: avail = cpu_fetch(cpu, buf, avail + 1); continue;
    case INSN_TOO_LONG: cpu_raise_error(cpu, EXC_GP, 0);
    default: cpu_raise(cpu, EXC_UD);
    }
  }
}

static __attribute__((noinline)) struct memo *fetch_slow(struct cpu *cpu, struct memo *m, uint64_t key) {
  uint8_t buf[16] = {0};
  struct insn in;
  unsigned avail = cpu_fetch(cpu, buf, 1);
  if (m->in.length <= avail && memo_matches(m, key, buf))
    return m;
  decode_slow(cpu, &in, buf, avail, (cpu->seg[CS].attr & SEG_DB) != 0);
  memo_fill(m, key, &in);
  return m;
}

/* The instruction at CS:EIP. The fast path looks at the bytes where cpu_fetch found the page last time. */
static inline struct memo *fetch(struct cpu *cpu) {
  const struct seg *cs = &cpu->seg[CS];
  uint32_t la = cs->base + cpu->eip, page = (la & ~0xfffu) | (cpu->cpl == 3) | 2;
  uint64_t key = la | (uint64_t)(cs->attr & SEG_DB) << (32 - 14) | MEMO_VALID;
  struct memo *m = &memo[(la ^ la >> 12) & (MEMO_ENTRIES - 1)];
  if (cpu->fetch_page == page && (la & 0xfff) <= MEM_PAGE - 16 && (uint64_t)cpu->eip + 15 <= cs->limit &&
      memo_matches(m, key, cpu->fetch_host + (la & 0xfff)))
    return m;
  return fetch_slow(cpu, m, key);
}

static void check_attributes(struct cpu *cpu, uint16_t attr) {
  if ((attr & A_PE) && !cpu_protected(cpu))
    cpu_raise(cpu, EXC_UD);
  if ((attr & A_CPL0) && cpu->cpl != 0)
    cpu_raise_error(cpu, EXC_GP, 0);
}

/*
 * TF was set: does a single-step trap follow? Not after a load of SS, nor where a software interrupt cleared TF (SDM
 * vol. 3, 17.3.1.4 and 6.8.3).
 */
static bool traps_after(const struct cpu *cpu, uint16_t id) {
  if (id == INSN_INT_Ib || id == INSN_INT3 || id == INSN_INTO || id == INSN_INT1)
    return (cpu->eflags & FL_TF) != 0;
  return cpu->shadow != SHADOW_MOVSS;
}

/* After the handler: EIP, RF, the count. An unfinished repeated instruction keeps all three. */
static __attribute__((noinline)) void step_special(struct cpu *cpu, const struct memo *m) {
  const struct insn_desc *d = insn_describe(&m->in);
  uint32_t start = cpu->eip, rf = cpu->eflags & FL_RF;
  check_attributes(cpu, d->attr);
  m->handler(cpu, &m->in);
  if (interp_watch)
    interp_watch(&m->in, true);
  cpu->eip = cpu->next_eip;
  if (d->cls == CL_STRING && m->in.rep && cpu->eip == start) {
    if (cpu->mode & MODE_SINGLE) /* the rest is no new instruction to a breakpoint (SDM vol. 3, 17.3.1.1) */
      cpu->eflags |= FL_RF;
    return;
  }
  cpu->icount++;
  if (m->in.id != INSN_IRET)
    cpu->eflags &= ~rf;
}

/* One instruction. Raises its faults. */
static inline void step(struct cpu *cpu) {
  bool single = cpu->mode & MODE_SINGLE, trap = false;
  if (__builtin_expect(single, 0)) {
    /* A load of SS hides a breakpoint on the next instruction (SDM vol. 3, 6.8.3); so does RF. */
    bool armed = cpu->shadow != SHADOW_MOVSS && !(cpu->eflags & FL_RF);
    if (armed && debug_check_execute(cpu, cpu->seg[CS].base + cpu->eip))
      cpu_raise(cpu, EXC_DB);
    trap = (cpu->eflags & FL_TF) != 0;
  }
  const struct memo *m = fetch(cpu);
  uint32_t next = cpu->eip + m->in.length;
  uint16_t id = m->in.id;
  cpu->next_eip = next; /* 16-bit code, too, runs on beyond FFFFh: into the limit, or not */
  cpu->shadow = SHADOW_NONE;
  if (__builtin_expect(m->special, 0)) {
    step_special(cpu, m);
  } else {
    uint32_t rf = cpu->eflags & FL_RF;
    m->handler(cpu, &m->in);
    cpu->eip = cpu->next_eip;
    cpu->icount++;
    if (__builtin_expect(rf != 0, 0)) /* a task switch may have set it only now */
      cpu->eflags &= ~FL_RF;
  }
  cpu->stat.interp_insns++;
  if (__builtin_expect(trap, 0) && traps_after(cpu, id))
    debug_trap(cpu, DR6_BS);
}

bool interp_execute(struct cpu *cpu, const struct insn *in) {
  const struct insn_desc *d = insn_describe(in);
  uint32_t start = cpu->eip, next = start + in->length;
  cpu->next_eip = next;
  if (d->attr & (A_PE | A_CPL0))
    check_attributes(cpu, d->attr);
  bool repeated = d->cls == CL_STRING && in->rep;
  handlers[in->id](cpu, in);
  cpu->eip = cpu->next_eip;
  return !repeated || cpu->eip != start;
}

void interp_step(struct cpu *cpu) {
  sigjmp_buf env, *outer = cpu->fault_env;
  cpu->fault_env = &env;
  memo_check_features(cpu);
  if (sigsetjmp(env, 0) == 0)
    step(cpu);
  else
    cpu_deliver_exception(cpu); /* may raise again: then it is called once more */
  cpu->fault_env = outer;
}

static void interp_run(struct cpu *cpu) {
  sigjmp_buf env, *outer = cpu->fault_env;
  cpu->fault_env = &env;
  memo_check_features(cpu);
  if (sigsetjmp(env, 0) != 0)
    cpu_deliver_exception(cpu);
  while (cpu->icount < cpu->icount_limit) {
    uint32_t pending = cpu->pending;
    if (!(cpu->eflags & FL_IF))
      pending &= ~PEND_INTR; /* guests poll with interrupts off for long */
    if (__builtin_expect(pending | cpu->halted | cpu->shutdown, 0)) {
      if (cpu->shutdown || (pending & PEND_EXIT))
        break;
      if (cpu_deliver_events(cpu))
        continue;
      if (cpu->halted)
        break;
    }
    step(cpu);
  }
  cpu->fault_env = outer;
}

static int interp_init(struct cpu *cpu, const char *options) {
  (void)cpu;
  if (options && *options) {
    error_report("-accel interp takes no options: '%s'", options);
    return -EINVAL;
  }
  return 0;
}

static void interp_info(struct cpu *cpu, FILE *out) {
  fprintf(out, "interpreted instructions: %llu\n", (unsigned long long)cpu->stat.interp_insns);
}

static void interp_destroy(struct cpu *cpu) { (void)cpu; }

const struct engine engine_interp = {
  .name = "interp",
  .init = interp_init,
  .run = interp_run,
  .info = interp_info,
  .destroy = interp_destroy,
};
