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
#include "translate/window.h"

/* A host fault that maps a page into a window costs about what a slice of 100000 instructions does (10 us),
 * and the window makes memory accesses about twice as fast: so many fills for each slice seen in the block
 * are too many. */
#define FILLS_CHECKED 64u
#define FILLS_PER_SLICE 4u
#define LONG_RUN 8u
#define HOT_BLOCK 2u   /* slices that begin in a block until it is translated for the window */
#define PASSES_HOT 24u /* by an exit from a hot block to a cold one, until that is hot, too */
#define HOT_SPACE 100u /* slices of a space until it gets a window */
#define COLD_RUNS 2u   /* the interpreter's runs of code until it is translated */
#define COLD_INSNS 64u /* at most, in one of them */
#define CACHE_SIZE (128u << 20)
#define CACHE_MAX_MB 1024u

static _Thread_local struct jit *running; /* for the fault handler */

/* --- host faults in translated code --- */

/* An x87 store: an unmasked exception may suppress it after its operand's page was asked for. */
static bool is_x87(const uint8_t *pc) {
  while (*pc == 0x65 || *pc == 0x66 || *pc == 0x67 || (*pc & 0xf0) == 0x40)
    pc++;
  return (*pc & 0xf8) == 0xd8;
}

/* `pages` were mapped into a window for the block at pc. False: it costs more than it is worth. Long runs do
 * not count: there can't be many of them. */
static bool fill_pays(struct jit *j, const uint8_t *pc, unsigned pages) {
  struct block *b = (struct block *)jit_block_at(j, pc);
  if (!b || pages >= LONG_RUN || ++b->fills < FILLS_CHECKED)
    return true;
  bool pays = b->fills <= b->heat * FILLS_PER_SLICE || j->hot == 0;
  b->fills = b->heat = 0;
  return pays;
}

/*
 * An access that its window does not hold is tried again when the page is mapped (window.h). Else classify
 * and redirect, nothing else: an arithmetic fault, a general protection fault (no address: a misaligned SSE
 * operand), or an access that no window can make, goes on in stub_host_fault with the faulting address in
 * RCX.
 */
static void on_host_fault(int sig, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  struct jit *j = running;
  const uint8_t *pc = (const uint8_t *)(uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
  bool inside = j && pc >= jit_to_rx(j, j->stubs_end) && pc < j->rx + j->size;
  bool expected = sig == SIGFPE || (sig == SIGSEGV && info->si_code == SI_KERNEL);
  if (info->si_code <= 0) { /* not a fault: somebody has sent the signal. It would not come again: go where it
                             * does (a filter of system calls may forbid to raise it) */
    signal(SIGSEGV, SIG_DFL);
    uc->uc_mcontext.gregs[REG_RIP] = 0;
    return;
  }
  if (sig == SIGFPE && hostfpu_sigfpe(context))
    return; /* an instruction that the core tries out on the host */
  if (inside && sig == SIGSEGV && info->si_code != SI_KERNEL && j->windows) {
    bool write = uc->uc_mcontext.gregs[REG_ERR] & 2;
    unsigned pages = window_fault(j, (uintptr_t)info->si_addr, write, write && is_x87(pc));
    if (pages) {
      if (fill_pays(j, pc, pages))
        return;
      j->cold_block = true;
    }
    expected = window_holds(j, (uintptr_t)info->si_addr);
  }
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
  jit_code_written(m->cpu[0]->engine_data, pa, size);
}

static void on_tlb_flush(struct cpu *cpu, bool keep_global) {
  struct jit *j = cpu->engine_data;
  /* what supervisor code left in the jump cache is global, but for these */
  if (j->local_jump_count == LOCAL_JUMPS)
    keep_global = false;
  for (unsigned i = 0; i < j->local_jump_count; i++)
    cpu->jump_cache[0][j->local_jumps[i]].tag = JC_NEVER;
  j->local_jump_count = 0;
  j->space = NULL; /* windows look after theirs */
  j->supervisor_flushes += !keep_global;
  jit_forget_code_stores(j);
  window_space_changed(j);
  jit_rekey(cpu);
}

static void on_tlb_flush_page(struct cpu *cpu, uint32_t la) {
  struct jit *j = cpu->engine_data;
  jit_forget_code_stores(j);
  uint8_t bit = (uint8_t)(1u << (la >> 12 & 7)), *supervisor = &j->ran[la >> 15];
  bool user_changed = spaces_flush_page(j, la), supervisor_changed = *supervisor & bit;
  j->supervisor_flushes += supervisor_changed;
  *supervisor &= (uint8_t)~bit;
  if (user_changed || supervisor_changed)
    jit_rekey(cpu);
}

static void jit_engine_flush(struct cpu *cpu) {
  struct jit *j = cpu->engine_data;
  j->flush_wanted = true;
}

/* --- running --- */

/* Code that runs once or twice, as half of a system's start does, is not worth a translation, which takes as
 * long as fifty runs by the interpreter and leaves hundreds of bytes behind. */
static bool is_cold(struct jit *j, uint32_t pa) {
  uint8_t *runs = &j->runs[(pa * 0x9e3779b1u ^ j->cpu->mode * 0x85ebca6bu) >> (32 - RUNS_BITS)];
  if (*runs >= j->cold)
    return false;
  if (*runs == 0 && ++j->runs_used > RUNS / 2) { /* or all that is new would seem known */
    memset(j->runs, 0, RUNS);
    j->runs_used = 1;
  }
  ++*runs;
  return true;
}

/* *local: the way from EIP to the block does not survive a load of CR3. */
static struct block *find_block(struct jit *j, bool *local) {
  struct cpu *cpu = j->cpu;
  uint32_t access = PF_FETCH | (cpu->cpl == 3 ? PF_USER : 0);
  uint32_t la = cpu->seg[CS].base + cpu->eip;
  bool global;
  *local = false;
  if (cpu->eip > cpu->seg[CS].limit)
    return NULL; /* #GP(0) comes before #PF */
  uint32_t pa = paging_translate_code(cpu, la, access, &global);
  bool flushed = (cpu->mode & MODE_USER) || !(cpu->cr4 & CR4_PGE); /* all is, with every load of CR3 */
  bool crosses = false;
  j->stat.lookups++;
  struct block *b = jit_find(j, pa, cpu->eip, NO_PAGE, &crosses);
  if (!b && crosses) {
    uint32_t pa2; /* if it is not there, a trace is no good, and an instruction that goes on there raises */
    if (jit_next_page(cpu, &pa2))
      b = jit_find(j, pa, cpu->eip, pa2, &crosses);
  }
  if (!b) {
    if (is_cold(j, pa)) {
      j->run_cold = true;
      return NULL;
    }
    b = jit_translate(j, pa, j->hot == 0);
  }
  if (global && b && b->pa2 != NO_PAGE) /* it was there a moment ago: no fault */
    paging_translate_code(cpu, (la & ~(MEM_PAGE - 1)) + MEM_PAGE, access, &global);
  *local = !flushed && !(global && b);
  return b;
}

static void note_ran(struct jit *j, uint32_t la, uint32_t pa) {
  if (j->cpu->mode & MODE_USER)
    spaces_ran(j, la, pa);
  else
    j->ran[la >> 15] |= (uint8_t)(1u << (la >> 12 & 7));
}

/* True: until jc_key changes, this EIP leads to b. */
static bool remember_jump(struct cpu *cpu, const struct block *b, bool local) {
  struct jit *j = cpu->engine_data;
  uint32_t la = cpu->seg[CS].base + cpu->eip;
  bool in_window = cpu->mode & MODE_WINDOW;
  if (in_window) {
    if (!window_note_code(j, la, !local) ||
        (b->pa2 != NO_PAGE && !window_note_code(j, la + MEM_PAGE, !local)))
      return false;
  } else if (local) {
    if (j->local_jump_count == LOCAL_JUMPS)
      return false; /* until the next load of CR3 */
    j->local_jumps[j->local_jump_count++] = (uint16_t)(cpu->eip & (JC_ENTRIES - 1));
  }
  if (!in_window) {
    note_ran(j, la, b->pa);
    if (b->pa2 != NO_PAGE)
      note_ran(j, la + MEM_PAGE, b->pa2);
  }
  struct jc_entry *e = &cpu->jump_cache[JC_TABLE(cpu->mode)][cpu->eip & (JC_ENTRIES - 1)];
  e->tag = -((uint64_t)cpu->eip + cpu->jc_key);
  e->host = (uint32_t)(uintptr_t)b->host;
  e->eip_bias = cpu->eip - b->pa;
  return in_window;
}

static void step(struct jit *j) {
  j->stat.steps++;
  jit_fpu_settle(j->cpu);
  interp_step(j->cpu);
}

/* Straight on by the interpreter, as far as a block would go. */
static void run_cold(struct jit *j) {
  struct cpu *cpu = j->cpu;
  uint32_t mode = cpu->mode, eip;
  j->run_cold = false;
  for (unsigned n = 0; n < COLD_INSNS; n++) {
    eip = cpu->eip;
    step(j);
    bool straight = cpu->eip - eip - 1 < INSN_MAX && cpu->mode == mode && cpu->shadow == SHADOW_NONE;
    if (!straight || cpu->pending || cpu->halted || cpu->shutdown || j->flush_wanted ||
        cpu->icount >= cpu->icount_limit)
      return;
  }
}

/* The exit that was just taken leads to b: jump there directly from now on. */
static void link_exit(struct jit *j, uint32_t number, struct block *b, bool lasts) {
  if (!number)
    return;
  struct link *l = &j->links[number - 1];
  const struct block *from = jit_block(j, l->from);
  if (!from->valid || from->mode != b->mode || from->cs_limit != b->cs_limit)
    return;
  if (l->far && lasts)
    jit_link_far(j, l, b);
  else if (!l->far && (b->pa2 == NO_PAGE || b->pa2 == from->pa2))
    jit_link(j, l, b);
  else
    emit_patch32(link_leave(j, l), j->stub_lookup); /* where b's second page is, is asked each time */
}

static void enter(struct jit *j, const uint8_t *host, uint32_t eip_bias) {
  struct cpu *cpu = j->cpu;
  cpu->eip_bias = eip_bias;
  cpu->budget = BUDGET_BASE + (cpu->icount_limit - cpu->icount);
  j->enter(cpu, host);
  cpu->icount = cpu->icount_limit - (cpu->budget - BUDGET_BASE);
  jit_retire_rf(cpu);
}

/* The way that the jump cache knows, if there is one: after an exception, say. Once at each count, as the
 * block may be too long for the slice and leave at once. */
static bool enter_known(struct jit *j) {
  struct cpu *cpu = j->cpu;
  const struct jc_entry *e = &cpu->jump_cache[JC_TABLE(cpu->mode)][cpu->eip & (JC_ENTRIES - 1)];
  if (e->tag != -((uint64_t)cpu->eip + cpu->jc_key) || j->known_icount == cpu->icount)
    return false;
  j->known_icount = cpu->icount;
  enter(j, (const uint8_t *)(uintptr_t)e->host, e->eip_bias);
  return true;
}

/* Translate b again, for the window and as a trace. */
static struct block *promote(struct jit *j, struct block *b) {
  uint64_t flushes = j->stat.flushes;
  struct block *better = jit_translate(j, b->pa, true); /* looks at the old one's links */
  if (j->stat.flushes == flushes)
    jit_block_invalidate(j, b);
  if (better)
    better->heat = (uint16_t)j->hot;
  j->stat.promoted++;
  return better;
}

/* A slice begins at b: after some of these it is worth better code. The samples are spread over the code as
 * its execution is. */
static struct block *sample(struct jit *j, struct block *b) {
  if (b->heat < UINT16_MAX)
    b->heat++;
  if (!(j->cpu->mode & MODE_WINDOW) || b->heat < j->hot)
    return b;
  return !b->hot || (b->window_sites != ~0ull && jit_retry_sites(j, b)) ? promote(j, b) : b;
}

/* A hot block was left for a cold one, by this exit: if that happens often, it is part of the hot code, too.
 * (Slices hardly ever end in a short block behind a long one.) The exit is not linked while that is open. */
static struct block *spread_heat(struct jit *j, uint32_t *link, struct block *b) {
  struct link *l = &j->links[*link - 1];
  const struct block *from = jit_block(j, l->from);
  if (!(j->cpu->mode & MODE_WINDOW) || !from->hot || !from->valid || b->hot)
    return b;
  if (++l->passes < PASSES_HOT) {
    *link = 0;
    return b;
  }
  return promote(j, b);
}

/* One turn: false when run() shall return. */
static bool turn(struct jit *j, uint32_t *link) {
  struct cpu *cpu = j->cpu;
  if ((cpu->pending & PEND_EXIT) || cpu->shutdown || cpu->icount >= cpu->icount_limit)
    return false;
  if (cpu_event_deliverable(cpu)) {
    *link = 0;
    if (cpu->pending & PEND_INIT)
      jit_fpu_settle(cpu);
    cpu_deliver_events(cpu);
    return true;
  }
  if (cpu->halted)
    return false;
  if (j->flush_wanted) {
    j->flush_wanted = false;
    *link = 0;
    windows_drop_all(j);
    jit_flush(j);
  }
  if ((cpu->mode & MODE_SINGLE) || cpu->shadow != SHADOW_NONE || j->step_wanted) {
    j->step_wanted = false;
    *link = 0;
    step(j);
    return true;
  }
  jit_sync_mode(cpu);
  j->rf_icount = cpu->icount;
  if (!*link && !j->slice_begins && enter_known(j)) {
    *link = (uint32_t)cpu->scratch[SCR_LINK];
    return true;
  }
  uint64_t flushes = j->stat.flushes;
  bool local;
  struct block *b = find_block(j, &local);
  if (j->stat.flushes != flushes)
    *link = 0;
  if (b && j->slice_begins && j->windows) {
    *link = 0;
    b = sample(j, b);
  } else if (b && *link && j->windows) {
    b = spread_heat(j, link, b);
  }
  j->slice_begins = false;
  if (b && b->hot && cpu->machine->config.counted && b->insns > cpu->icount_limit - cpu->icount) {
    j->hold_windows = true; /* the rest of the slice in shorter blocks */
    jit_rekey(cpu);
    *link = 0;
    b = find_block(j, &local);
  }
  if (j->run_cold) {
    *link = 0;
    run_cold(j);
    return true;
  }
  if (!b || b->insns > cpu->icount_limit - cpu->icount) {
    *link = 0;
    if (b && !cpu->machine->config.counted)
      return false; /* a slice of the real clock may end a little early */
    step(j);
    return true;
  }
  bool lasts = remember_jump(cpu, b, local);
  if (j->stat.flushes == flushes)
    link_exit(j, *link, b, lasts);
  enter(j, b->host, cpu->eip - b->pa);
  *link = (uint32_t)cpu->scratch[SCR_LINK];
  return true;
}

static void jit_run(struct cpu *cpu) {
  struct jit *j = cpu->engine_data;
  sigjmp_buf env;
  sigjmp_buf *outer = cpu->fault_env;
  volatile uint32_t link = 0;
  running = j;
  window_enter(j);
  bool held = j->hold_windows, begins = !cpu->slice_continues;
  j->hold_windows = false;
  if (j->windows && ((begins && window_sample(j)) || held))
    jit_rekey(cpu);
  j->slice_begins |= begins;
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
  jit_fpu_settle(cpu);
  cpu->fault_env = outer;
}

/* --- set-up --- */

bool tlb_host_supported(void) {
  unsigned a, b, c, d;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_BMI2);
}

struct jit_options {
  size_t cache; /* bytes */
  bool verify;
  unsigned hot_block, hot_space, cold;
};

/* "cache=N" (size of the code cache in MB), "verify=on|off", "hot=on" (translate at once,
 * and use windows at once and everywhere: for tests), comma between them. False: none of these. */
static bool parse_options(const char *options, struct jit_options *o) {
  *o = (struct jit_options){CACHE_SIZE, false, HOT_BLOCK, HOT_SPACE, COLD_RUNS};
  for (const char *p = options ? options : ""; *p;) {
    size_t n = strcspn(p, ",");
    if (strncmp(p, "cache=", 6) == 0 && p[6] >= '0' && p[6] <= '9') {
      char *end;
      unsigned long mb = strtoul(p + 6, &end, 10);
      if (end != p + n || mb == 0 || mb > CACHE_MAX_MB)
        return false;
      o->cache = (size_t)mb << 20;
    } else if (n == 9 && strncmp(p, "verify=on", n) == 0) {
      o->verify = true;
    } else if (n == 10 && strncmp(p, "verify=off", n) == 0) {
      o->verify = false;
    } else if (n == 6 && strncmp(p, "hot=on", n) == 0) {
      o->hot_block = o->hot_space = o->cold = 0;
    } else {
      return false;
    }
    p += n + (p[n] == ',');
  }
  return true;
}

static int jit_init(struct cpu *cpu, const char *name, const char *options, struct jit_options *o) {
  if (!parse_options(options, o)) {
    error_report(
        "-accel %s takes only cache=1 to cache=%u (code cache in MB), verify=on or off, and hot=on, not '%s'",
        name, CACHE_MAX_MB, options);
    return -EINVAL;
  }
  if (!tlb_host_supported()) {
    error_report("-accel %s needs a host processor with BMI2 (Haswell, Zen or later); use -accel interp",
                 name);
    return -ENOTSUP;
  }
  struct jit *j = calloc(1, sizeof *j);
  if (!j)
    return -ENOMEM;
  j->cpu = cpu;
  j->verify = o->verify;
  j->cold = o->cold;
  j->rf_icount = cpu->icount; /* EFLAGS.RF, if set, is for the next instruction */
  cpu->engine_data = j;
  int err = jit_cache_init(j, o->cache);
  if (err) {
    error_report("cannot allocate the %u MB code cache: %s", (unsigned)(o->cache >> 20), strerror(-err));
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

static int tlb_init(struct cpu *cpu, const char *options) {
  struct jit_options o;
  int err = jit_init(cpu, "tlb", options, &o);
  if (!err)
    ((struct jit *)cpu->engine_data)->hot = HOT_BLOCK;
  return err;
}

static int window_init(struct cpu *cpu, const char *options) {
  struct jit_options o;
  int err = jit_init(cpu, "window", options, &o);
  if (err)
    return err;
  struct jit *j = cpu->engine_data;
  const char *why = "";
  j->hot = o.hot_block;
  if (windows_init(j, o.hot_space, &why)) {
    warn_report("-accel window: %s; going on as -accel tlb, which is slower", why);
    j->hot = HOT_BLOCK;
  }
  jit_rekey(cpu);
  return 0;
}

static void jit_destroy(struct cpu *cpu) {
  struct jit *j = cpu->engine_data;
  cpu->on_tlb_flush = NULL;
  cpu->on_tlb_flush_page = NULL;
  cpu->on_mode_change = NULL;
  if (!j)
    return;
  windows_free(j);
  jit_cache_free(j);
  free(j);
  cpu->engine_data = NULL;
}

static void jit_info(struct cpu *cpu, FILE *out) {
  static const char *const class_name[] = {"copy",   "mul",  "shift", "stack", "branch", "far",
                                           "string", "flag", "seg",   "io",    "system", "fpu",
                                           "mmx",    "sse",  "nop",   "?"};
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
  fprintf(out, "blocks invalidated  %llu (%llu writes to code pages)\n",
          (unsigned long long)j->stat.invalidated, (unsigned long long)j->stat.smc_writes);
  fprintf(out, "cache flushes       %llu\n", (unsigned long long)j->stat.flushes);
  fprintf(out, "links               %llu\n", (unsigned long long)j->stat.links);
  fprintf(out, "dispatcher lookups  %llu\n", (unsigned long long)j->stat.lookups);
  fprintf(out, "slow reads, writes  %llu, %llu\n", (unsigned long long)j->stat.slow_reads,
          (unsigned long long)j->stat.slow_writes);
  fprintf(out, "host faults         %llu\n", (unsigned long long)j->stat.host_faults);
  fprintf(out, "TLB fills, flushes  %llu, %llu\n", (unsigned long long)cpu->stat.tlb_fills,
          (unsigned long long)cpu->stat.tlb_flushes);
  fprintf(out, "promoted, demoted   %llu, %llu blocks\n", (unsigned long long)j->stat.promoted,
          (unsigned long long)j->stat.demoted);
  windows_info(j, out);
}

const struct engine engine_tlb = {"tlb", tlb_init, jit_run, jit_engine_flush, jit_info, jit_destroy};
const struct engine engine_window = {"window", window_init, jit_run, jit_engine_flush, jit_info, jit_destroy};

const struct engine *engine_find(const char *name, const char **options) {
  static const struct engine *const all[] = {&engine_interp, &engine_tlb, &engine_window};
  size_t n = strcspn(name, ",");
  *options = name[n] ? name + n + 1 : NULL;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (strlen(all[i]->name) == n && memcmp(all[i]->name, name, n) == 0)
      return all[i];
  return NULL;
}
