/* SPDX-License-Identifier: MIT */
/*
 * A judge for the confinement checker that knows nothing of how it proves: runs a block on the host, one
 * instruction at a time under the trap flag, and looks at the registers before each. The surroundings are
 * such that a wrong step shows: pages of guest memory lie apart with holes between them, reads and writes
 * have memory of their own, the TLB of the other privilege level and jump cache entries that don't match lead
 * to poison, struct cpu is compared.
 *
 * What a stub would do is played: calls return with changed scratch registers, exits end the run.
 */
#include <asm/prctl.h>
#include <capstone/capstone.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "verify_rig.h"

#define PAGES 256u               /* of guest memory, repeated all over the linear addresses */
#define STRIDE 8192u             /* from one to the next */
#define POISON 0x7f0000000000ull /* nobody lives there */
#define LANDING 0x10000000u      /* where the jump cache leads */
#define MAX_STEPS 20000u
#define HEAD_SIZE offsetof(struct cpu, tlb_used_count) /* without the big tables */
#define WINDOW (1ull << 32)
#define GUARD 0x10000u

static struct {
  const struct jit *j;
  const struct block *b;
  struct dice *d;
  struct cpu *cpu;
  struct cpu before; /* as the block may leave it, as far as that is known */
  uint8_t saved[HEAD_SIZE];
  uint8_t *reads, *writes, *window;
  csh handle;
  cs_insn *insn;
  bool armed, entered, escaped, called;
  uint64_t rsp, budget;
  unsigned steps;
  char why[160];
  sigjmp_buf out;
} w;

static const int guest_reg[8] = {REG_RAX, REG_R10, REG_RDX, REG_RBX, REG_R15, REG_RBP, REG_RSI, REG_RDI};

static void escape(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void escape(const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(w.why, sizeof w.why, format, args);
  va_end(args);
  w.escaped = true;
  siglongjmp(w.out, 1);
}
static void done(void) __attribute__((noreturn));
static void done(void) { siglongjmp(w.out, 1); }

/* --- memory operands --- */

static uint64_t reg_value(const greg_t *r, x86_reg reg) {
  static const struct {
    x86_reg wide, narrow;
    int index;
  } map[16] = {
      {X86_REG_RAX, X86_REG_EAX, REG_RAX},  {X86_REG_RCX, X86_REG_ECX, REG_RCX},
      {X86_REG_RDX, X86_REG_EDX, REG_RDX},  {X86_REG_RBX, X86_REG_EBX, REG_RBX},
      {X86_REG_RSP, X86_REG_ESP, REG_RSP},  {X86_REG_RBP, X86_REG_EBP, REG_RBP},
      {X86_REG_RSI, X86_REG_ESI, REG_RSI},  {X86_REG_RDI, X86_REG_EDI, REG_RDI},
      {X86_REG_R8, X86_REG_R8D, REG_R8},    {X86_REG_R9, X86_REG_R9D, REG_R9},
      {X86_REG_R10, X86_REG_R10D, REG_R10}, {X86_REG_R11, X86_REG_R11D, REG_R11},
      {X86_REG_R12, X86_REG_R12D, REG_R12}, {X86_REG_R13, X86_REG_R13D, REG_R13},
      {X86_REG_R14, X86_REG_R14D, REG_R14}, {X86_REG_R15, X86_REG_R15D, REG_R15},
  };
  for (int i = 0; i < 16; i++) {
    if (map[i].wide == reg)
      return (uint64_t)r[map[i].index];
    if (map[i].narrow == reg)
      return (uint32_t)r[map[i].index];
  }
  return 0;
}

static bool within(uint64_t address, const void *start, uint64_t size) {
  return address - (uintptr_t)start < size;
}

#define SPAN(from, to)                                                                                       \
  { offsetof(struct cpu, from), offsetof(struct cpu, to) }

static void check_cpu(uint64_t offset, bool store) {
  static const struct {
    uint64_t from, to;
  } visible[] = {SPAN(eip, seg[LDTR]),
                 SPAN(membuf, gdtr),
                 SPAN(cr0, dr),
                 SPAN(fx, ferr),
                 {offsetof(struct cpu, pending), offsetof(struct cpu, pending) + 4}};
  for (size_t i = 0; i < sizeof visible / sizeof visible[0]; i++)
    if (offset >= visible[i].from && offset < visible[i].to)
      return; /* stores are found by comparing */
  unsigned level = w.b->mode & MODE_USER ? TLB_USER_READ : TLB_SUP_READ;
  uint64_t tlb = offsetof(struct cpu, tlb) + level * TLB_ENTRIES * 8ull;
  bool table = offset - tlb < 2 * TLB_ENTRIES * 8ull || offset >= offsetof(struct cpu, jump_cache);
  if (!table || store)
    escape("%s struct cpu at %#llx", store ? "writes" : "reads", (unsigned long long)offset);
}

static void check_address(uint64_t address, bool store) {
  if (within(address, w.cpu, sizeof *w.cpu))
    check_cpu(address - (uintptr_t)w.cpu, store);
  else if (within(address, w.reads, PAGES * STRIDE) || within(address, w.writes, PAGES * STRIDE))
    ; /* right as far as the host's MMU lets it */
  else if (!(w.b->mode & MODE_WINDOW) || !within(address, w.window, WINDOW))
    escape("touches %#llx", (unsigned long long)address);
}

static void check_memory(const greg_t *r) {
  const cs_x86 *x = &w.insn->detail->x86;
  for (int i = 0; i < x->op_count; i++) {
    const cs_x86_op *op = &x->operands[i];
    if (op->type != X86_OP_MEM || w.insn->id == X86_INS_LEA || w.insn->id == X86_INS_NOP)
      continue;
    uint64_t address = (uint64_t)op->mem.disp;
    if (op->mem.base == X86_REG_RIP || op->mem.base == X86_REG_EIP)
      address += w.insn->address + w.insn->size;
    else
      address += reg_value(r, op->mem.base);
    address += reg_value(r, op->mem.index) * (uint64_t)op->mem.scale;
    if (x->addr_size == 4)
      address = (uint32_t)address;
    if (op->mem.segment == X86_REG_FS)
      escape("FS");
    if (op->mem.segment == X86_REG_GS)
      address += (uintptr_t)w.window;
    check_address(address, i == 0);
  }
}

/* --- instructions and exits --- */

static bool in_group(unsigned group) { return cs_insn_group(w.handle, w.insn, group); }

static void check_insn(const greg_t *r) {
  const uint8_t *p = (const uint8_t *)(uintptr_t)r[REG_RIP];
  size_t left = (size_t)(w.b->host + w.b->host_size - p); /* or a jump in front of it */
  uint64_t address = (uint64_t)r[REG_RIP];
  if (!cs_disasm_iter(w.handle, &p, &left, &address, w.insn))
    escape("no instruction at +%#llx", (unsigned long long)((uint64_t)r[REG_RIP] - (uintptr_t)w.b->host));
  if (in_group(X86_GRP_INT) || in_group(X86_GRP_IRET) || in_group(X86_GRP_RET) || in_group(X86_GRP_PRIVILEGE))
    escape("%s", w.insn->mnemonic);
  switch (w.insn->id) {
  case X86_INS_SYSCALL:
  case X86_INS_SYSENTER:
  case X86_INS_PUSH:
  case X86_INS_POP:
  case X86_INS_PUSHFQ:
  case X86_INS_POPFQ:
  case X86_INS_LEAVE:
  case X86_INS_ENTER:
  case X86_INS_XLATB:
  case X86_INS_MASKMOVQ:
  case X86_INS_MASKMOVDQU:
  case X86_INS_STD:
  case X86_INS_WRGSBASE:
  case X86_INS_WRFSBASE:
  case X86_INS_LDMXCSR:
  case X86_INS_FXRSTOR:
  case X86_INS_FRSTOR:
  case X86_INS_FLDENV:
  case X86_INS_XRSTOR:
  case X86_INS_CLI:
  case X86_INS_STI:
  case X86_INS_IN:
  case X86_INS_OUT:
  case X86_INS_INVALID: escape("%s", w.insn->mnemonic);
  case X86_INS_MOV:
    if (w.insn->detail->x86.operands[0].type == X86_OP_REG && w.insn->detail->x86.opcode[0] == 0x8e)
      escape("segment load");
    break;
  case X86_INS_BT:
  case X86_INS_BTS:
  case X86_INS_BTR:
  case X86_INS_BTC:
    if (w.insn->detail->x86.operands[0].type == X86_OP_MEM &&
        w.insn->detail->x86.operands[1].type == X86_OP_REG)
      escape("bit string");
    break;
  default: break;
  }
  check_memory(r);
  w.called = in_group(X86_GRP_CALL);
}

static void check_registers(const greg_t *r, bool all) {
  if ((uint64_t)r[REG_RSP] != w.rsp || (uint64_t)r[REG_R14] != (uintptr_t)w.cpu || r[REG_R13] != 44)
    escape("a reserved register has changed");
  if (r[REG_EFL] & FL_DF)
    escape("DF");
  int64_t paid = (int64_t)(w.budget - (uint64_t)r[REG_R12]);
  if (paid < 0 || paid > (int64_t)BLOCK_MAX_INSNS)
    escape("budget");
  for (int i = 0; all && i < 8; i++)
    if ((uint64_t)r[guest_reg[i]] >> 32)
      escape("leaves with an upper half");
}

static bool at(const greg_t *r, const uint8_t *stub) {
  return (uint64_t)r[REG_RIP] == (uintptr_t)jit_to_rx(w.j, stub);
}

/* An addend for writes of page `page`, as the TLB's. */
static uint64_t write_addend(uint32_t page) {
  return (uintptr_t)w.writes + (uint64_t)(page % PAGES) * STRIDE - ((uint64_t)page << 12);
}

/* stub_code_store: now and then there is an addend, if the store is within a page. */
static uint64_t play_code_store(const greg_t *r) {
  uint32_t la = (uint32_t)r[REG_R8], info = (uint32_t)r[REG_RCX];
  if ((uint64_t)r[REG_R8] >> 32)
    escape("linear address with an upper half");
  return roll(w.d, 2) && la % MEM_PAGE + (info & 63) <= MEM_PAGE ? write_addend(la / MEM_PAGE) : 0;
}

/* A call of a stub has just been made: as if it had run. */
static void play_call(greg_t *r) {
  const struct jit *j = w.j;
  bool exec = at(r, j->stub_exec), nothing = at(r, j->stub_fpu_load);
  w.rsp -= 8;
  check_registers(r, true);
  w.rsp += 8;
  bool flags = at(r, j->stub_pushf) || at(r, j->stub_seg_load);
  bool moves = at(r, j->stub_sysenter) || at(r, j->stub_sysexit);
  for (int i = 0; i < 4; i++)
    flags |= at(r, j->stub_popf[i]);
  bool code_store = at(r, j->stub_code_store);
  if (!exec && !nothing && !flags && !moves && !code_store && !at(r, j->stub_read) && !at(r, j->stub_write) &&
      !at(r, j->stub_write_check) && !at(r, j->stub_write_commit) && !at(r, j->stub_seg_check))
    escape("calls %#llx", (unsigned long long)r[REG_RIP]);
  if (exec && (uint64_t)r[REG_R8] >= j->insn_count)
    escape("calls for instruction %#llx", (unsigned long long)r[REG_R8]);
  memcpy(&r[REG_RIP], (const void *)(uintptr_t)r[REG_RSP], 8);
  r[REG_RSP] += 8;
  if (nothing)
    return;
  uint64_t addend = code_store ? play_code_store(r) : 0;
  r[REG_RCX] = r[REG_R9] = (greg_t)(POISON + roll(w.d, 1u << 30));
  if (code_store)
    r[REG_RCX] = (greg_t)addend;
  if (flags || moves) {
    r[REG_RCX] = roll(w.d, 2);
    r[REG_R8] = r[REG_R9] = r[REG_R11] = roll(w.d, UINT32_MAX);
  }
  for (int i = 0; exec && i < 8; i++)
    r[guest_reg[i]] = roll(w.d, UINT32_MAX);
  w.cpu->scratch[SCR_STAY] = roll(w.d, 4) != 0;
}

static void check_exit(const greg_t *r) {
  const struct jit *j = w.j;
  uint64_t rip = (uint64_t)r[REG_RIP];
  check_registers(r, true);
  bool landed = rip - LANDING < 16ull * JC_ENTRIES && rip % 16 == 0;
  if ((landed || at(r, j->stub_lookup)) && (uint64_t)r[REG_R12] == w.budget)
    escape("to the next block without payment");
  uint32_t link = (uint32_t)r[REG_R8] - 1 - w.b->link_first;
  if (at(r, j->stub_exit_link) && link >= w.b->link_count)
    escape("exit of another block");
  if (!landed && !at(r, j->stub_lookup) && !at(r, j->stub_exit) && !at(r, j->stub_miss) &&
      !at(r, j->stub_exit_link))
    escape("goes to %#llx", (unsigned long long)rip);
  done();
}

static void on_step(greg_t *r) {
  bool inside = within((uint64_t)r[REG_RIP], w.b->host - BLOCK_FRONT, w.b->host_size + BLOCK_FRONT);
  if (!w.entered) {
    if (!inside)
      return; /* still in enter() */
    w.entered = true;
    w.rsp = (uint64_t)r[REG_RSP];
    w.budget = (uint64_t)r[REG_R12];
  }
  if (++w.steps > MAX_STEPS)
    escape("runs on and on");
  if (!inside && w.called)
    play_call(r);
  else if (!inside)
    check_exit(r);
  check_registers(r, false);
  check_insn(r);
}

static void on_signal(int sig, siginfo_t *info, void *context) {
  ucontext_t *uc = context;
  if (!w.armed) {
    signal(sig, SIG_DFL);
    return;
  }
  if (sig == SIGTRAP)
    on_step(uc->uc_mcontext.gregs);
  else if (sig == SIGSEGV && info->si_code != SI_KERNEL &&
           !within((uintptr_t)info->si_addr, w.window, WINDOW + GUARD))
    escape("host fault at %p", info->si_addr);
  else
    done(); /* division, misaligned operand, LOCK without memory, unmasked x87 exception: as in life */
}

/* --- surroundings --- */

static uint8_t *scattered(int protection) {
  uint8_t *p = mmap(NULL, PAGES * STRIDE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ck_assert_ptr_ne(p, MAP_FAILED);
  for (unsigned i = 0; i < PAGES; i++)
    ck_assert_int_eq(mprotect(p + i * STRIDE, MEM_PAGE, protection), 0);
  return p;
}

/* Half of the entries match an EIP below 64 KB. */
static void fill_jump_cache(struct cpu *c) {
  for (uint32_t i = 0; i < JC_ENTRIES; i++) {
    bool match = (i * 0x85ebca6bu) >> 31;
    c->jump_cache[JC_TABLE(c->mode)][i] =
        (struct jc_entry){match ? -(i + c->jc_key) : 1, match ? LANDING + 16 * i : 8, i * 3};
  }
}

void verify_watch_begin(struct bed *b) {
  w.j = verify_jit(b);
  w.cpu = b->cpu;
  if (!w.handle) {
    ck_assert_int_eq(cs_open(CS_ARCH_X86, CS_MODE_64, &w.handle), CS_ERR_OK);
    cs_option(w.handle, CS_OPT_DETAIL, CS_OPT_ON);
    w.insn = cs_malloc(w.handle);
    w.reads = scattered(PROT_READ);
    w.writes = scattered(PROT_READ | PROT_WRITE);
    w.window = mmap(NULL, WINDOW + GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert_ptr_ne(w.window, MAP_FAILED);
    ck_assert_int_eq(mprotect(w.window, WINDOW, PROT_READ | PROT_WRITE), 0);
    static uint8_t stack[65536];
    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
  }
  madvise(w.window, WINDOW, MADV_DONTNEED);
  unsigned level = b->cpu->mode & MODE_USER ? TLB_USER_READ : TLB_SUP_READ;
  for (uint32_t page = 0; page < 1u << 20; page++) {
    uint64_t at = (uint64_t)(page % PAGES) * STRIDE - ((uint64_t)page << 12);
    bool hit = (page * 0x9e3779b1u) >> 30 != 0;
    for (unsigned t = 0; t < TLB_TABLES; t++)
      b->cpu->tlb[t][page * 2] = POISON;
    b->cpu->tlb[level][page * 2] = hit ? (uintptr_t)w.reads + at : 0;
    b->cpu->tlb[level + 1][page * 2] = hit ? (uintptr_t)w.writes + at : 0;
  }
  fill_jump_cache(b->cpu);
}

static uint32_t guest_number(struct dice *d) {
  switch (roll(d, 6)) {
  case 0: return roll(d, 5000);                                  /* a count */
  case 1: return roll(d, 1u << 20) * MEM_PAGE;                   /* the beginning of a page */
  case 2: return roll(d, 1u << 20) * MEM_PAGE - 1 - roll(d, 16); /* the end */
  case 3: return -roll(d, 64);
  case 4: return roll(d, 65536);
  default: return roll(d, UINT32_MAX);
  }
}

/* Did the run change what it must not? */
static bool spoiled(void) {
  struct cpu *c = w.cpu, *s = &w.before;
  if ((c->eflags ^ s->eflags) & ~FL_IF)
    return true;
  bool real = !(w.b->mode & MODE_PE) || (w.b->mode & MODE_V86);
  for (int i = ES; real && i <= GS; i++)
    if (i != CS && i != SS)
      s->seg[i].sel = c->seg[i].sel, s->seg[i].base = c->seg[i].base;
  s->eip = c->eip, s->eip_bias = c->eip_bias, s->eflags = c->eflags, s->fx.fip = c->fx.fip,
  s->fx.fcs = c->fx.fcs;
  s->fx.fop = c->fx.fop, s->fx.fdp = c->fx.fdp, s->fx.fds = c->fx.fds;
  memcpy(s->membuf, c->membuf, sizeof s->membuf);
  memcpy(s->scratch, c->scratch, sizeof s->scratch);
  return memcmp(c, s, HEAD_SIZE) != 0;
}

static void run(void) {
  struct cpu *c = w.cpu;
  w.armed = true;
  __asm__ volatile("lea -128(%%rsp), %%rsp\n\t" /* the red zone */
                   "pushfq; orl $0x100, (%%rsp); popfq\n\t"
                   "lea 128(%%rsp), %%rsp" ::
                       : "memory", "cc");
  w.j->enter(c, w.b->host);
  abort(); /* the block never comes back: its exits are caught */
}

bool verify_watch(struct block *block, struct dice *d, const char **why) {
  struct cpu *c = w.cpu;
  struct sigaction old[5];
  static const int caught[5] = {SIGTRAP, SIGSEGV, SIGFPE, SIGILL, SIGBUS};
  struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  w.b = block;
  w.d = d;
  w.entered = w.escaped = w.called = false;
  w.steps = 0;
  for (int i = 0; i < 8; i++)
    c->gpr[i] = guest_number(d);
  c->eflags = FL_1 | (roll(d, 2) ? FL_CF : 0) | (roll(d, 2) ? FL_ZF : 0) | (roll(d, 2) ? FL_SF : 0);
  c->budget = BUDGET_BASE + (roll(d, 8) ? 1000 : roll(d, 16));
  c->fpu_loaded = roll(d, 4) != 0;
  memcpy(&w.before, c, HEAD_SIZE);
  memcpy(w.saved, c, HEAD_SIZE);
  unsigned long gs = 0;
  syscall(SYS_arch_prctl, ARCH_GET_GS, &gs);
  syscall(SYS_arch_prctl, ARCH_SET_GS, w.window);
  for (int i = 0; i < 5; i++)
    sigaction(caught[i], &sa, &old[i]);
  if (sigsetjmp(w.out, 0) == 0)
    run();
  w.armed = false;
  __asm__ volatile("cld; fninit" ::: "memory");
  __asm__ volatile("ldmxcsr %0" ::"m"((const uint32_t){0x1f80}));
  for (int i = 0; i < 5; i++)
    sigaction(caught[i], &old[i], NULL);
  syscall(SYS_arch_prctl, ARCH_SET_GS, gs);
  if (!w.escaped && spoiled()) {
    w.escaped = true;
    snprintf(w.why, sizeof w.why, "changes struct cpu");
  }
  memcpy(c, w.saved, HEAD_SIZE);
  *why = w.why;
  return !w.escaped;
}
