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

#define DR6_BS 0x4000u

typedef void handler_fn(struct cpu *cpu, const struct insn *in);

static handler_fn *const handlers[INSN_COUNT] = {
#define I(id, ...) [INSN_##id] = interp_##id,
#include "core/insn.def"
#undef I
};

/*
 * Decoded instructions by linear address. The bytes are compared on each use, so nothing need ever be
 * invalidated: this remembers results of a pure function.
 */
#define MEMO_ENTRIES 4096u
struct memo {
  uint64_t features;
  bool code32;
  struct insn in; /* length 0: empty */
};
static _Thread_local struct memo memo[MEMO_ENTRIES];

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

/* Compare the few bytes of an instruction; `buf` and `bytes` both hold INSN_MAX. */
static inline bool same_bytes(const uint8_t *buf, const uint8_t *bytes, unsigned length) {
  uint64_t a, b;
  memcpy(&a, buf, 8);
  memcpy(&b, bytes, 8);
  if (length <= 8)
    return ((a ^ b) << (64 - 8 * length)) == 0;
  return a == b && memcmp(buf + 8, bytes + 8, length - 8) == 0;
}

static const struct insn *fetch_insn(struct cpu *cpu) {
  uint8_t buf[INSN_MAX + 1];
  uint32_t la = cpu->seg[CS].base + cpu->eip;
  bool code32 = (cpu->seg[CS].attr & SEG_DB) != 0;
  struct memo *m = &memo[(la ^ la >> 12) & (MEMO_ENTRIES - 1)];
  unsigned avail = cpu_fetch(cpu, buf, 1);
  if (m->in.length != 0 && m->in.length <= avail && m->code32 == code32 && m->features == cpu->features &&
      same_bytes(buf, m->in.bytes, m->in.length))
    return &m->in;
  m->in.length = 0;
  struct insn in;
  decode_slow(cpu, &in, buf, avail, code32);
  *m = (struct memo){cpu->features, code32, in};
  return &m->in;
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

/* One instruction. Raises its faults. */
static inline void step(struct cpu *cpu) {
  if (__builtin_expect((cpu->dr[7] & 0xff) != 0, 0) && !(cpu->eflags & FL_RF) &&
      debug_check_execute(cpu, cpu->seg[CS].base + cpu->eip))
    cpu_raise(cpu, EXC_DB);
  const struct insn *in = fetch_insn(cpu);
  const struct insn_desc *d = &insn_desc[in->id];
  uint32_t start = cpu->eip, next = start + in->length;
  cpu->next_eip = cpu->seg[CS].attr & SEG_DB ? next : next & 0xffff;
  if (d->attr & (A_PE | A_CPL0))
    check_attributes(cpu, d->attr);

  bool trap = (cpu->eflags & FL_TF) != 0;
  uint16_t id = in->id; /* *in may be gone after the handler */
  bool repeated = d->cls == CL_STRING && in->rep;
  cpu->shadow = SHADOW_NONE;
  handlers[id](cpu, in);
  cpu->eip = cpu->next_eip;
  if (!repeated || cpu->eip != start) { /* retired */
    cpu->icount++;
    if (__builtin_expect(cpu->eflags & FL_RF, 0) && id != INSN_IRET)
      cpu->eflags &= ~FL_RF;
  }
  cpu->stat.interp_insns++;
  if (__builtin_expect(trap, 0) && traps_after(cpu, id))
    debug_trap(cpu, DR6_BS);
}

bool interp_execute(struct cpu *cpu, const struct insn *in) {
  const struct insn_desc *d = insn_describe(in);
  uint32_t start = cpu->eip, next = start + in->length;
  cpu->next_eip = cpu->seg[CS].attr & SEG_DB ? next : next & 0xffff;
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
  if (sigsetjmp(env, 0) == 0)
    step(cpu);
  else
    cpu_deliver_exception(cpu); /* may raise again: then it is called once more */
  cpu->fault_env = outer;
}

static void interp_run(struct cpu *cpu) {
  sigjmp_buf env, *outer = cpu->fault_env;
  cpu->fault_env = &env;
  if (sigsetjmp(env, 0) != 0)
    cpu_deliver_exception(cpu);
  while (cpu->icount < cpu->icount_limit) {
    if (cpu->pending || cpu->halted || cpu->shutdown) {
      if (cpu->shutdown || (cpu->pending & PEND_EXIT))
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
