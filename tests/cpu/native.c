/* SPDX-License-Identifier: MIT */
/* 16- and 32-bit code on the host's processor; see native.h. */
#include "tests/cpu/native.h"

#include <asm/ldt.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/hostfpu.h"

#define XSTATE_BV 512                                       /* offset in the frame's XSAVE image */
#define FLAGS_IN (FL_ARITH | FL_DF | FL_AC | FL_NT | FL_ID) /* TF would trap before the far jump */
#define TICK_US 50000
#define TICKS_MAX 6 /* then it has timed out */
#define HWCAP2_FSGSBASE 2u

const struct native_segment native_ldt[LDT_COUNT] = {
    [LDT_FLAT] = {.limit = 0xfffff, .pages = 1, .big = 1},
    [LDT_DATA] = {.base = NATIVE_DATA, .limit = 0x4fff, .big = 1},
    [LDT_HALF] = {.base = NATIVE_DATA, .limit = 0x1fff, .big = 1},
    [LDT_ODD] = {.base = NATIVE_DATA, .limit = 0x2ffd, .big = 1},
    [LDT_READ] = {.base = NATIVE_DATA, .limit = 0x3fff, .big = 1, .read_only = 1},
    [LDT_DOWN32] = {.base = NATIVE_DATA, .limit = 0xfff, .big = 1, .expand_down = 1},
    [LDT_DOWN16] = {.base = NATIVE_DATA, .limit = 0x7ff, .expand_down = 1},
    [LDT_DATA16] = {.base = NATIVE_DATA, .limit = 0xffff},
    [LDT_SMALL16] = {.base = NATIVE_DATA, .limit = 0x3fff},
    [LDT_WRAP] = {.base = NATIVE_DATA + 0x3000, .limit = 0xffffe, .pages = 1, .big = 1},
    [LDT_DOWN_PAGES] = {.base = NATIVE_DATA, .limit = 0, .pages = 1, .big = 1, .expand_down = 1},
    [LDT_CODE32] = {.base = NATIVE_CODE, .limit = 0xfff, .big = 1, .code = 1},
    [LDT_CODE32_X] = {.base = NATIVE_CODE, .limit = 0xfff, .big = 1, .code = 1, .read_only = 1},
    [LDT_CODE16] = {.base = NATIVE_CODE, .limit = 0xfff, .code = 1},
    [LDT_CODE16_64K] = {.base = NATIVE_CODE, .limit = 0xffff, .code = 1},
    [LDT_ABSENT] = {.base = NATIVE_DATA, .limit = 0x4fff, .big = 1, .absent = 1},
    [LDT_CODE_ABSENT] = {.base = NATIVE_CODE, .limit = 0xfff, .big = 1, .code = 1, .absent = 1},
    [LDT_CODE_FLAT] = {.limit = 0xfffff, .pages = 1, .big = 1, .code = 1},
    [LDT_CODE16_X] = {.base = NATIVE_CODE, .limit = 0x7ff, .code = 1, .read_only = 1},
    [LDT_MISALIGNED] = {.base = NATIVE_DATA + 3, .limit = 0x3fff, .big = 1},
    [LDT_DOWN_READ] = {.base = NATIVE_DATA, .limit = 0x17ff, .big = 1, .expand_down = 1, .read_only = 1},
    [LDT_BYTE] = {.base = NATIVE_DATA, .limit = 0, .big = 1},
    [LDT_CODE_HIGH] = {.base = NATIVE_CODE - 0x8000, .limit = 0x8fff, .code = 1},
};

/* What native_enter loads; FLAGS, segments and registers of the code, and what leads back. */
struct crossing {
  uint32_t gpr[8];
  uint32_t eip, cs; /* the operand of a far jump */
  uint64_t flags;
  uint32_t es, ss, ds, fs, gs, pad;
  uint64_t host_rsp, host_fs_base, host_gs_base;
  uint8_t fx[512] __attribute__((aligned(16)));
} __attribute__((aligned(64)));
struct crossing native_crossing;
#define IN_EIP 32
#define IN_FLAGS 40
#define IN_SEGMENTS 48
#define IN_RSP 72
#define IN_FX 96
_Static_assert(offsetof(struct crossing, eip) == IN_EIP, "native_enter");
_Static_assert(offsetof(struct crossing, flags) == IN_FLAGS, "native_enter");
_Static_assert(offsetof(struct crossing, es) == IN_SEGMENTS, "native_enter");
_Static_assert(offsetof(struct crossing, host_rsp) == IN_RSP, "native_enter");
_Static_assert(offsetof(struct crossing, fx) == IN_FX, "native_enter");

void native_enter(void);
extern const char native_return[];

/*
 * SS last, and no stack after it. FNINIT clears the x87's pointers, whatever the image's exceptions make of
 * them. The signal handler leads to native_return with the host's FS base already in place.
 */
__asm__(".pushsection .text\n"
        ".type native_enter, @function\n"
        "native_enter:\n"
        "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
        "  sub $8, %rsp\n"
        "  mov %rsp, native_crossing+72(%rip)\n"
        "  fninit\n"
        "  fxrstor native_crossing+96(%rip)\n"
        "  mov native_crossing+48(%rip), %es\n"
        "  mov native_crossing+56(%rip), %ds\n"
        "  mov native_crossing+60(%rip), %fs\n"
        "  mov native_crossing+64(%rip), %gs\n"
        "  mov native_crossing+4(%rip), %ecx\n"
        "  mov native_crossing+8(%rip), %edx\n"
        "  mov native_crossing+12(%rip), %ebx\n"
        "  mov native_crossing+20(%rip), %ebp\n"
        "  mov native_crossing+24(%rip), %esi\n"
        "  mov native_crossing+28(%rip), %edi\n"
        "  mov native_crossing+0(%rip), %eax\n"
        "  pushq native_crossing+40(%rip)\n"
        "  mov native_crossing+52(%rip), %ss\n"
        "  popfq\n"
        "  mov native_crossing+16(%rip), %esp\n"
        "  ljmpl *native_crossing+32(%rip)\n"
        ".globl native_return\n"
        "native_return:\n"
        "  fninit\n"
        "  mov native_crossing+72(%rip), %rsp\n"
        "  pushq $0x202\n"
        "  popfq\n"
        "  add $8, %rsp\n"
        "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n"
        "  ret\n"
        ".size native_enter, . - native_enter\n"
        ".popsection\n");

static struct native_state *volatile current;
static volatile sig_atomic_t inside, ticks;
static struct sigaction previous[NSIG];
static const int greg_of[8] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI};

static inline uint16_t selector_es(void) {
  uint16_t s;
  __asm__ volatile("mov %%es, %0" : "=r"(s));
  return s;
}
static inline uint16_t selector_ds(void) {
  uint16_t s;
  __asm__ volatile("mov %%ds, %0" : "=r"(s));
  return s;
}
static inline uint16_t selector_fs(void) {
  uint16_t s;
  __asm__ volatile("mov %%fs, %0" : "=r"(s));
  return s;
}
static inline uint16_t selector_gs(void) {
  uint16_t s;
  __asm__ volatile("mov %%gs, %0" : "=r"(s));
  return s;
}

/* Before anything that might use thread-local storage. */
static inline void restore_host_segments(void) {
  __asm__ volatile(
      "mov %0, %%es\n\tmov %0, %%ds\n\tmov %1, %%fs\n\tmov %1, %%gs\n\twrfsbase %2\n\twrgsbase %3"
      :
      : "r"(USER_DATA), "r"(0), "r"(native_crossing.host_fs_base), "r"(native_crossing.host_gs_base));
}

/* Components in their initial state are not written out. */
static void take_fpu(struct native_state *s, const uint8_t *fp) {
  bool xsave = *(const uint32_t *)(fp + 464) != 0; /* FP_XSTATE_MAGIC1 */
  uint64_t present = xsave ? *(const uint64_t *)(fp + XSTATE_BV) : 3;
  memcpy(&s->fx.mxcsr, fp + 24, 4);
  if (present & 1) {
    memcpy(&s->fx, fp, 8);
    memcpy(&s->fx.fip, fp + 8, 4); /* 64-bit pointers */
    memcpy(&s->fx.fdp, fp + 16, 4);
    memcpy(s->fx.st, fp + 32, 128);
  } else {
    memset(&s->fx, 0, 24);
    s->fx.fcw = 0x37f;
    memset(s->fx.st, 0, 128);
  }
  if (present & 2)
    memcpy(s->fx.xmm, fp + 160, 128);
  else
    memset(s->fx.xmm, 0, 128);
}

static void leave(ucontext_t *uc, int vector) {
  greg_t *gregs = uc->uc_mcontext.gregs;
  struct native_state *s = current;
  uint64_t segments = (uint64_t)gregs[REG_CSGSFS];
  for (int i = 0; i < 8; i++)
    s->gpr[i] = (uint32_t)gregs[greg_of[i]];
  s->eip = (uint32_t)gregs[REG_RIP];
  s->eflags = (uint32_t)gregs[REG_EFL];
  s->sel[CS] = (uint16_t)segments;
  s->sel[SS] = (uint16_t)(segments >> 48);
  s->vector = vector;
  s->error = (uint32_t)gregs[REG_ERR];
  s->cr2 = (uint32_t)gregs[REG_CR2];
  take_fpu(s, (const uint8_t *)uc->uc_mcontext.fpregs);
  gregs[REG_RIP] = (greg_t)(uintptr_t)native_return;
  gregs[REG_EFL] = 0x202;
  gregs[REG_CSGSFS] = (greg_t)((segments & 0x0000ffffffff0000ull) | USER_CODE64 | (uint64_t)USER_DATA << 48);
  inside = 0;
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
  ucontext_t *uc = context;
  if (!inside) {
    pass_on(sig, info, context);
    return;
  }
  uint16_t es = selector_es(), ds = selector_ds(), fs = selector_fs(), gs = selector_gs();
  restore_host_segments();
  /* The kernel leaves AC as the code had it. */
  __asm__ volatile("pushf\n\tandl %0, (%%rsp)\n\tpopf" : : "i"(~(FL_AC | FL_NT)) : "cc", "memory");
  if (sig == SIGVTALRM && ++ticks < TICKS_MAX) {
    __asm__ volatile("mov %0, %%es\n\tmov %1, %%ds\n\tmov %2, %%fs\n\tmov %3, %%gs"
                     :
                     : "r"(es), "r"(ds), "r"(fs), "r"(gs));
    return;
  }
  current->sel[ES] = es;
  current->sel[DS] = ds;
  current->sel[FS] = fs;
  current->sel[GS] = gs;
  leave(uc, sig == SIGVTALRM ? -1 : sig == SIGSYS ? 0x80 : (int)uc->uc_mcontext.gregs[REG_TRAPNO]);
}

static bool map_area(uint32_t where, size_t size, int protection) {
  void *address = (void *)(uintptr_t)where;
  return mmap(address, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) == address;
}

static bool make_ldt(void) {
  for (unsigned i = 0; i < LDT_COUNT; i++) {
    const struct native_segment *s = &native_ldt[i];
    struct user_desc d = {.entry_number = i,
                          .base_addr = s->base,
                          .limit = s->limit,
                          .seg_32bit = s->big,
                          .contents = s->code          ? 2
                                      : s->expand_down ? 1
                                                       : 0,
                          .read_exec_only = s->read_only,
                          .limit_in_pages = s->pages,
                          .seg_not_present = s->absent};
    if (syscall(SYS_modify_ldt, 0x11, &d, sizeof d) != 0)
      return false;
  }
  return true;
}

/* The core's own handler of SIGFPE, installed at its first use, must be the one found, not the one that finds ours. */
static void use_hostfpu(void) {
  static const uint8_t fnop[2] = {0xd9, 0xd0};
  struct hostfpu_x87 op = {.state = {.fcw = 0x37f}};
  hostfpu_x87(fnop, sizeof fnop, &op);
}

static void install_handlers(void) {
  use_hostfpu();
  static uint8_t stack[65536];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, NULL);
  struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER};
  sigemptyset(&action.sa_mask);
  sigaddset(&action.sa_mask, SIGVTALRM); /* it would reload segments in the midst of another's work */
  static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGVTALRM};
  for (unsigned i = 0; i < sizeof signals / sizeof signals[0]; i++)
    sigaction(signals[i], &action, &previous[signals[i]]);
}

/* System calls of 32-bit code end in SIGSYS, by whatever instruction. */
static bool forbid_system_calls(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
  };
  struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

bool native_init(void) {
  static bool done;
  if (done)
    return true;
  if (!(getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE) || !forbid_system_calls() || !make_ldt() ||
      !map_area(NATIVE_CODE, NATIVE_CODE_SIZE, PROT_READ | PROT_WRITE | PROT_EXEC) ||
      !map_area(NATIVE_DATA, NATIVE_DATA_SIZE, PROT_READ | PROT_WRITE) ||
      !map_area(NATIVE_READONLY, NATIVE_READONLY_SIZE, PROT_READ))
    return false;
  install_handlers();
  done = true;
  return true;
}

/* In each process that runs code: a timer does not survive fork(). */
static void arm(void) {
  static pid_t armed;
  if (armed == getpid())
    return;
  static const struct itimerval tick = {.it_value = {.tv_usec = TICK_US},
                                        .it_interval = {.tv_usec = TICK_US}};
  setitimer(ITIMER_VIRTUAL, &tick, NULL);
  armed = getpid();
}

void native_run(struct native_state *state) {
  struct crossing *c = &native_crossing;
  bool flat = state->sel[CS] == 0;
  arm();
  current = state;
  memcpy(c->gpr, state->gpr, sizeof c->gpr);
  c->eip = state->eip;
  c->flags = 0x202 | (state->eflags & FLAGS_IN);
  c->cs = flat ? USER_CODE32 : state->sel[CS];
  c->es = flat ? USER_DATA : state->sel[ES];
  c->ss = flat ? USER_DATA : state->sel[SS];
  c->ds = flat ? USER_DATA : state->sel[DS];
  c->fs = flat ? 0 : state->sel[FS];
  c->gs = flat ? 0 : state->sel[GS];
  memset(c->fx, 0, sizeof c->fx);
  memcpy(c->fx, &state->fx, 6); /* FCW, FSW, FTW; the pointers are zero */
  memcpy(c->fx + 24, &state->fx.mxcsr, 4);
  memcpy(c->fx + 32, state->fx.st, 128 + 128);
  __asm__ volatile("rdfsbase %0\n\trdgsbase %1" : "=r"(c->host_fs_base), "=r"(c->host_gs_base));
  ticks = 0;
  inside = 1;
  native_enter();
  current = NULL;
}
