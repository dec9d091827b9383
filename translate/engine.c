/* SPDX-License-Identifier: MIT */
/*
 * The translating engine's run loop: find or make the block at CS:EIP, enter it, link what it asked to be
 * linked, deliver events and exceptions between blocks, and let the interpreter do single steps.
 */
#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "core/hostfpu.h"
#include "core/log.h"
#include "core/machine.h"
#include "core/mem.h"
#include "core/paging.h"
#include "core/segment.h"
#include "translate/jit.h"
#include "translate/translate.h"

#define CACHE_SIZE (128u << 20)
#define CACHE_MAX_MB 1024u

static _Thread_local struct jit *running; /* for the fault handler */

/* --- host faults in translated code --- */

/*
 * Classify and redirect, nothing else: an arithmetic fault, or a general protection fault (no address: a misaligned
 * SSE operand), in translated code goes on in stub_host_fault with the faulting address in RCX.
 */
static void on_host_fault(int sig, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  struct jit *j = running;
  const uint8_t *pc = (const uint8_t *)(uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
  bool inside = j && pc >= jit_to_rx(j, j->stubs_end) && pc < j->rx + j->size;
  bool expected = sig == SIGFPE || (sig == SIGSEGV && info->si_code == SI_KERNEL);
  if (sig == SIGFPE && hostfpu_sigfpe(context))
    return; /* an instruction that the core tries out on the host */
  if (!inside || !expected) {
    signal(sig, SIG_DFL); /* our own bug: fault again, and die of it */
    return;
  }
  uc->uc_mcontext.gregs[REG_RCX] = (greg_t)(uintptr_t)pc;
  uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)jit_to_rx(j, j->stub_host_fault);
}

static void install_handlers(void) {
  struct sigaction sa = {.sa_sigaction = on_host_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigemptyset(&sa.sa_mask);
  sigaction(SIGFPE, &sa, NULL);
  sigaction(SIGSEGV, &sa, NULL);
}

/* --- what the core announces --- */

static void on_code_write(void *opaque, uint32_t pa, unsigned size) {
  struct machine *m = opaque;
  struct jit *j = m->cpu[0]->engine_data;
  j->stat.smc_writes++;
  jit_invalidate_range(j, pa, size);
}

static void on_tlb_flush(struct cpu *cpu, bool keep_global) {
  struct jit *j = cpu->engine_data;
  /* what supervisor code left in the jump cache is global, see remember_jump */
  for (unsigned i = 0; i < JIT_IDS; i++)
    if (!keep_global || (j->ids[i].mode & MODE_USER))
      j->ids[i].id = 0;
  memset(j->code_store, 0, sizeof j->code_store);
  jit_rekey(cpu);
}

static void on_tlb_flush_page(struct cpu *cpu, uint32_t la) {
  struct jit *j = cpu->engine_data;
  memset(j->code_store, 0, sizeof j->code_store);
  if (j->ran[la >> 15] >> (la >> 12 & 7) & 1)
    on_tlb_flush(cpu, false);
}

static void tlb_engine_flush(struct cpu *cpu) {
  struct jit *j = cpu->engine_data;
  j->flush_wanted = true;
}

/* --- running --- */

/* *keep: the way from EIP to the block may be remembered until the next flush. */
static struct block *find_block(struct jit *j, bool *keep) {
  struct cpu *cpu = j->cpu;
  uint32_t access = PF_FETCH | (cpu->cpl == 3 ? PF_USER : 0);
  uint32_t la = cpu->seg[CS].base + cpu->eip;
  bool global;
  *keep = false;
  if (cpu->eip > cpu->seg[CS].limit)
    return NULL; /* #GP(0) comes before #PF */
  uint32_t pa = paging_translate_code(cpu, la, access, &global);
  bool flushed = (cpu->mode & MODE_USER) || !(cpu->cr4 & CR4_PGE); /* with every load of CR3 */
  bool crosses = false;
  j->stat.lookups++;
  struct block *b = jit_find(j, pa, cpu->eip, NO_PAGE, &crosses);
  if (!b && crosses) {
    uint32_t pa2 = paging_translate(cpu, (la & ~(MEM_PAGE - 1)) + MEM_PAGE, access);
    b = jit_find(j, pa, cpu->eip, pa2 & ~(MEM_PAGE - 1), &crosses);
  }
  if (!b)
    b = jit_translate(j, pa);
  *keep = flushed || (global && b && b->pa2 == NO_PAGE);
  return b;
}

static void note_ran(struct jit *j, uint32_t la) { j->ran[la >> 15] |= (uint8_t)(1u << (la >> 12 & 7)); }

static void remember_jump(struct cpu *cpu, const struct block *b) {
  struct jit *j = cpu->engine_data;
  uint32_t la = cpu->seg[CS].base + cpu->eip;
  note_ran(j, la);
  if (b->pa2 != NO_PAGE)
    note_ran(j, la + MEM_PAGE);
  struct jc_entry *e = &cpu->jump_cache[cpu->eip & (JC_ENTRIES - 1)];
  e->tag = -((uint64_t)cpu->eip + cpu->jc_key);
  e->host = (uint32_t)(uintptr_t)b->host;
  e->eip_bias = cpu->eip - b->pa;
}

static void step(struct jit *j) {
  j->stat.steps++;
  interp_step(j->cpu);
}

/* The exit that was just taken leads to b: jump there directly from now on. */
static void link_exit(struct jit *j, uint32_t number, struct block *b) {
  if (!number)
    return;
  struct block *from = &j->blocks[(number - 1) / 2];
  struct link *l = &from->out[(number - 1) & 1];
  bool same_world = from->mode == b->mode && from->cs_limit == b->cs_limit && b->pa2 == NO_PAGE;
  if (from->valid && same_world && l->field)
    jit_link(j, l, b);
}

static void enter_block(struct jit *j, const struct block *b) {
  struct cpu *cpu = j->cpu;
  cpu->eip_bias = cpu->eip - b->pa;
  cpu->budget = BUDGET_BASE + (cpu->icount_limit - cpu->icount);
  j->enter(cpu, b->host);
  cpu->icount = cpu->icount_limit - (cpu->budget - BUDGET_BASE);
}

/* One turn: false when run() shall return. */
static bool turn(struct jit *j, uint32_t *link) {
  struct cpu *cpu = j->cpu;
  if ((cpu->pending & PEND_EXIT) || cpu->shutdown || cpu->icount >= cpu->icount_limit)
    return false;
  if (cpu_event_deliverable(cpu)) {
    *link = 0;
    cpu_deliver_events(cpu);
    return true;
  }
  if (cpu->halted)
    return false;
  if (j->flush_wanted) {
    j->flush_wanted = false;
    *link = 0;
    jit_flush(j);
  }
  if ((cpu->mode & MODE_SINGLE) || cpu->shadow != SHADOW_NONE || (cpu->eflags & FL_RF) || j->step_wanted) {
    j->step_wanted = false;
    *link = 0;
    step(j);
    return true;
  }
  jit_sync_mode(cpu);
  uint64_t flushes = j->stat.flushes;
  bool keep;
  struct block *b = find_block(j, &keep);
  if (!b || b->insns > cpu->icount_limit - cpu->icount) {
    *link = 0;
    if (b && !cpu->machine->config.counted)
      return false; /* a slice of the real clock may end a little early */
    step(j);
    return true;
  }
  if (j->stat.flushes == flushes)
    link_exit(j, *link, b);
  if (keep)
    remember_jump(cpu, b);
  enter_block(j, b);
  *link = (uint32_t)cpu->scratch[SCR_LINK];
  return true;
}

static void tlb_run(struct cpu *cpu) {
  struct jit *j = cpu->engine_data;
  sigjmp_buf env;
  sigjmp_buf *outer = cpu->fault_env;
  volatile uint32_t link = 0;
  running = j;
  if (sigsetjmp(env, 0)) {
    cpu->fault_env = &env;
    cpu_deliver_exception(cpu); /* may raise again: comes back here */
    link = 0;
  }
  for (;;) {
    cpu->fault_env = &env;
    uint32_t l = link;
    bool more = turn(j, &l);
    link = l;
    if (!more)
      break;
  }
  cpu->fault_env = outer;
}

/* --- set-up --- */

bool tlb_host_supported(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_BMI2);
}

/* "cache=N" (size of the code cache in MB) and "verify=on|off", comma between them. False: neither. */
static bool parse_options(const char *options, size_t *size, bool *verify) {
  *size = CACHE_SIZE;
  *verify = false;
  for (const char *p = options ? options : ""; *p;) {
    size_t n = strcspn(p, ",");
    if (strncmp(p, "cache=", 6) == 0 && p[6] >= '0' && p[6] <= '9') {
      char *end;
      unsigned long mb = strtoul(p + 6, &end, 10);
      if (end != p + n || mb == 0 || mb > CACHE_MAX_MB)
        return false;
      *size = (size_t)mb << 20;
    } else if (n == 9 && strncmp(p, "verify=on", n) == 0) {
      *verify = true;
    } else if (n == 10 && strncmp(p, "verify=off", n) == 0) {
      *verify = false;
    } else {
      return false;
    }
    p += n + (p[n] == ',');
  }
  return true;
}

static int tlb_init(struct cpu *cpu, const char *options) {
  size_t size;
  bool verify;
  if (!parse_options(options, &size, &verify)) {
    error_report("-accel tlb takes only cache=1 to cache=%u (code cache in MB) and verify=on or off, not '%s'",
                 CACHE_MAX_MB, options);
    return -EINVAL;
  }
  if (!tlb_host_supported()) {
    error_report("-accel tlb needs a host processor with BMI2 (Haswell, Zen or later); use -accel interp");
    return -ENOTSUP;
  }
  struct jit *j = calloc(1, sizeof *j);
  if (!j)
    return -ENOMEM;
  j->cpu = cpu;
  j->verify = verify;
  cpu->engine_data = j;
  int err = jit_cache_init(j, size);
  if (err) {
    error_report("cannot allocate the %u MB code cache: %s", (unsigned)(size >> 20), strerror(-err));
    jit_cache_free(j);
    free(j);
    cpu->engine_data = NULL;
    return err;
  }
  cpu->on_tlb_flush = on_tlb_flush;
  cpu->on_tlb_flush_page = on_tlb_flush_page;
  cpu->on_mode_change = jit_rekey;
  cpu->machine->mem->on_code_write = on_code_write;
  jit_rekey(cpu);
  install_handlers();
  return 0;
}

static void tlb_destroy(struct cpu *cpu) {
  struct jit *j = cpu->engine_data;
  cpu->on_tlb_flush = NULL;
  cpu->on_tlb_flush_page = NULL;
  cpu->on_mode_change = NULL;
  if (!j)
    return;
  jit_cache_free(j);
  free(j);
  cpu->engine_data = NULL;
}

static void tlb_info(struct cpu *cpu, FILE *out) {
  static const char *const class_name[] = {"copy", "mul", "shift", "stack", "branch", "far", "string", "flag",
                                           "seg",  "io",  "system", "fpu",  "mmx",    "sse", "nop",    "?"};
  const struct jit *j = cpu->engine_data;
  uint64_t total = cpu->icount ? cpu->icount : 1;
  uint64_t by_interp = cpu->stat.interp_insns;
  fprintf(out, "instructions        %llu\n", (unsigned long long)cpu->icount);
  fprintf(out, "  translated        %.4f %%\n", 100.0 * (double)(total - by_interp) / (double)total);
  fprintf(out, "  interpreter steps %llu\n", (unsigned long long)j->stat.steps);
  fprintf(out, "  calls to the core %llu (", (unsigned long long)j->stat.exec_calls);
  for (unsigned i = 0; i < 16; i++)
    if (j->stat.exec_class[i])
      fprintf(out, " %s %llu", class_name[i], (unsigned long long)j->stat.exec_class[i]);
  fprintf(out, " )\n");
  fprintf(out, "blocks translated   %llu (%llu bytes of host code)\n", (unsigned long long)j->stat.blocks,
          (unsigned long long)j->stat.bytes);
  fprintf(out, "blocks invalidated  %llu (%llu writes to code pages)\n", (unsigned long long)j->stat.invalidated,
          (unsigned long long)j->stat.smc_writes);
  fprintf(out, "cache flushes       %llu\n", (unsigned long long)j->stat.flushes);
  fprintf(out, "links               %llu\n", (unsigned long long)j->stat.links);
  fprintf(out, "dispatcher lookups  %llu\n", (unsigned long long)j->stat.lookups);
  fprintf(out, "slow reads, writes  %llu, %llu\n", (unsigned long long)j->stat.slow_reads,
          (unsigned long long)j->stat.slow_writes);
  fprintf(out, "host faults         %llu\n", (unsigned long long)j->stat.host_faults);
  fprintf(out, "TLB fills, flushes  %llu, %llu\n", (unsigned long long)cpu->stat.tlb_fills,
          (unsigned long long)cpu->stat.tlb_flushes);
}

const struct engine engine_tlb = {"tlb", tlb_init, tlb_run, tlb_engine_flush, tlb_info, tlb_destroy};
