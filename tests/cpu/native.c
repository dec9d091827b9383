/* SPDX-License-Identifier: MIT */
/* 32-bit code on the host's processor; see native.h. The kernel's frame holds the whole register state. */
#include "tests/cpu/native.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/hostfpu.h"

#define USER32_CS 0x23u
#define USER_DS 0x2bu
#define XSTATE_BV 512 /* offset in the frame's XSAVE image */
#define FLAGS_IN (FL_ARITH | FL_DF | FL_AC | FL_TF | FL_RF)

static struct native_state *volatile current; /* raise() is known not to look at it */
static volatile bool inside;
static struct sigaction previous[NSIG];
static gregset_t saved_gregs;
static uint8_t saved_fp[512];
static const int greg_of[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI};

static void enter(ucontext_t *uc) {
  greg_t *gregs = uc->uc_mcontext.gregs;
  uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
  memcpy(saved_gregs, gregs, sizeof saved_gregs);
  memcpy(saved_fp, fp, sizeof saved_fp);
  for (int i = 0; i < 8; i++)
    gregs[greg_of[i]] = current->gpr[i];
  gregs[REG_RIP] = current->eip;
  gregs[REG_EFL] = (gregs[REG_EFL] & ~(greg_t)FLAGS_IN) | (current->eflags & FLAGS_IN);
  gregs[REG_CSGSFS] = (greg_t)((uint64_t)gregs[REG_CSGSFS] & ~0xffffull) | USER32_CS;
  memcpy(fp, &current->fx, 8); /* FCW, FSW, FTW, FOP */
  memset(fp + 8, 0, 16);
  memcpy(fp + 24, &current->fx.mxcsr, 4);
  memcpy(fp + 32, current->fx.st, 128 + 128);
  if (*(uint32_t *)(fp + 464) != 0) /* FP_XSTATE_MAGIC1: an XSAVE image; both components are there */
    *(uint64_t *)(fp + XSTATE_BV) |= 3;
  inside = true;
}

static void leave(ucontext_t *uc, int vector) {
  greg_t *gregs = uc->uc_mcontext.gregs;
  uint8_t *fp = (uint8_t *)uc->uc_mcontext.fpregs;
  for (int i = 0; i < 8; i++)
    current->gpr[i] = (uint32_t)gregs[greg_of[i]];
  current->eip = (uint32_t)gregs[REG_RIP];
  current->eflags = (uint32_t)gregs[REG_EFL];
  current->vector = vector;
  current->error = (uint32_t)gregs[REG_ERR];
  current->cr2 = (uint32_t)gregs[REG_CR2];
  bool xsave = *(uint32_t *)(fp + 464) != 0;
  if (xsave && !(*(uint64_t *)(fp + XSTATE_BV) & 1)) { /* in its initial state, and not written out */
    memset(fp, 0, 24);
    fp[0] = 0x7f, fp[1] = 0x03;
    memset(fp + 32, 0, 128);
  }
  if (xsave && !(*(uint64_t *)(fp + XSTATE_BV) & 2))
    memset(fp + 160, 0, 256);
  memcpy(&current->fx, fp, 8);
  memcpy(&current->fx.mxcsr, fp + 24, 4);
  memcpy(current->fx.st, fp + 32, 128 + 128);
  memcpy(gregs, saved_gregs, sizeof saved_gregs);
  memcpy(fp, saved_fp, sizeof saved_fp);
  if (xsave)
    *(uint64_t *)(fp + XSTATE_BV) |= 3;
  inside = false;
}

/* A signal of the emulator's own. */
static void pass_on(int sig, siginfo_t *info, void *context) {
  if (sig == SIGFPE && hostfpu_sigfpe(context))
    return;
  if (previous[sig].sa_flags & SA_SIGINFO)
    previous[sig].sa_sigaction(sig, info, context);
  else if (sig != SIGVTALRM)
    signal(sig, SIG_DFL); /* a crash: it happens again */
}

static void on_signal(int sig, siginfo_t *info, void *context) {
  /* The kernel leaves AC as the code had it. */
  __asm__ volatile("pushf\n\tandl %0, (%%rsp)\n\tpopf" : : "i"(~FL_AC) : "cc", "memory");
  ucontext_t *uc = context;
  if (inside && sig != SIGUSR1)
    leave(uc, sig == SIGVTALRM ? -1 : (int)uc->uc_mcontext.gregs[REG_TRAPNO]);
  else if (!inside && sig == SIGUSR1 && current)
    enter(uc);
  else
    pass_on(sig, info, context);
}

bool native_init(void) {
  static bool done;
  if (done)
    return true;
  for (int i = 0; i < 2; i++) {
    void *where = (void *)(uintptr_t)(i ? NATIVE_DATA : NATIVE_CODE);
    size_t size = i ? NATIVE_DATA_SIZE : NATIVE_CODE_SIZE;
    if (mmap(where, size, PROT_READ | PROT_WRITE | (i ? 0 : PROT_EXEC),
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != where)
      return false;
  }
  static uint8_t stack[65536];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, NULL);
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  sigemptyset(&action.sa_mask);
  static const int signals[] = {SIGUSR1, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGVTALRM};
  for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++)
    sigaction(signals[i], &action, &previous[signals[i]]);
  /* Flat data segments: 64-bit mode ignores them and 32-bit code needs them. */
  __asm__ volatile("mov %0, %%ds\n\tmov %0, %%es" : : "r"(USER_DS));
  done = true;
  return true;
}

/* Flags that returning from a signal does not change. */
static void set_kept_flags(uint32_t flags) {
  uint64_t f;
  __asm__ volatile("pushf\n\tpop %0" : "=r"(f));
  f = (f & ~(uint64_t)(FL_NT | FL_ID)) | (flags & (FL_NT | FL_ID));
  __asm__ volatile("push %0\n\tpopf" : : "r"(f) : "cc");
}

void native_run(struct native_state *state) {
  static const struct itimerval limit = {.it_value = {.tv_sec = 1}}, off;
  current = state;
  setitimer(ITIMER_VIRTUAL, &limit, NULL);
  set_kept_flags(state->eflags);
  raise(SIGUSR1);
  setitimer(ITIMER_VIRTUAL, &off, NULL);
  current = NULL;
}
