/* SPDX-License-Identifier: MIT */
/*
 * Running single x87, MMX and SSE instructions on the host (see hostfpu.h).
 *
 * Each distinct normalised instruction gets a thunk "instruction; ret" in a memory file mapped twice, once
 * writable and once executable. Their number is bounded (operands are normalised; immediates make most
 * of them), so that thunks are never discarded. The table serves all CPUs of the process: filling it takes a
 * lock, looking up does not.
 *
 * Unmasked SIMD exceptions are taken from the host, because what it computes differs from the masked case
 * (an unmasked invalid operand hides an inexact result beside it, for example): SIGFPE resumes
 * at the thunk's last byte, a RET. Unmasked x87 exceptions do not trap before the next waiting
 * instruction, and FXSAVE and FNINIT do not wait.
 */
#include "core/hostfpu.h"

#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "core/log.h"

#define SLOTS 65536u
#define SLOT_SIZE 16u

static uint64_t slot_key[SLOTS]; /* instruction bytes and length; 0 = free */
static uint8_t *slot_write, *slot_exec;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;

void hostfpu_run_simd(struct hostfpu_simd *op, const void *thunk);
void hostfpu_run_mmx(struct hostfpu_simd *op, const void *thunk);
void hostfpu_run_x87(struct hostfpu_x87 *op, const void *thunk);

#define STR2(x) #x
#define STR(x) STR2(x)
#define SIMD_MEM 48
#define SIMD_MM 112
#define SIMD_EAX 128
#define SIMD_ECX 132
#define SIMD_EDX 136
#define SIMD_EFLAGS 140
#define SIMD_MXCSR 144
#define X87_MEM 512
#define X87_EFLAGS 640
_Static_assert(offsetof(struct hostfpu_simd, mem) == SIMD_MEM, "hostfpu_run_simd");
_Static_assert(offsetof(struct hostfpu_simd, mm) == SIMD_MM, "hostfpu_run_mmx");
_Static_assert(offsetof(struct hostfpu_simd, eax) == SIMD_EAX, "hostfpu_run_simd");
_Static_assert(offsetof(struct hostfpu_simd, ecx) == SIMD_ECX, "hostfpu_run_simd");
_Static_assert(offsetof(struct hostfpu_simd, edx) == SIMD_EDX, "hostfpu_run_simd");
_Static_assert(offsetof(struct hostfpu_simd, eflags) == SIMD_EFLAGS, "hostfpu_run_simd");
_Static_assert(offsetof(struct hostfpu_simd, mxcsr) == SIMD_MXCSR, "hostfpu_run_simd");
_Static_assert(offsetof(struct hostfpu_x87, mem) == X87_MEM, "hostfpu_run_x87");
_Static_assert(offsetof(struct hostfpu_x87, eflags) == X87_EFLAGS, "hostfpu_run_x87");

/* rdi = operands, rsi = thunk */
__asm__(
  ".pushsection .text\n"
  ".globl hostfpu_run_mmx, hostfpu_run_simd, hostfpu_run_x87\n"
  ".type hostfpu_run_mmx, @function\n"
  "hostfpu_run_mmx:\n"
  "  movq " STR(SIMD_MM) "(%rdi), %mm1\n"
  "  movq " STR(SIMD_MM) "+8(%rdi), %mm2\n"
  "  push %rdi\n"
  "  call hostfpu_run_simd\n"
  "  pop %rdi\n"
  "  movq %mm1, " STR(SIMD_MM) "(%rdi)\n"
  "  movq %mm2, " STR(SIMD_MM) "+8(%rdi)\n"
  "  emms\n"
  "  ret\n"
  ".size hostfpu_run_mmx, . - hostfpu_run_mmx\n"

  ".type hostfpu_run_simd, @function\n"
  "hostfpu_run_simd:\n"
  "  push %rbx\n"
  "  sub $16, %rsp\n"
  "  mov %rdi, %rbx\n"
  "  stmxcsr (%rsp)\n"
  "  movaps (%rbx), %xmm0\n"
  "  movaps 16(%rbx), %xmm1\n"
  "  movaps 32(%rbx), %xmm2\n"
  "  mov " STR(SIMD_EAX) "(%rbx), %eax\n"
  "  mov " STR(SIMD_ECX) "(%rbx), %ecx\n"
  "  mov " STR(SIMD_EDX) "(%rbx), %edx\n"
  "  lea " STR(SIMD_MEM) "(%rbx), %rdi\n"
  "  ldmxcsr " STR(SIMD_MXCSR) "(%rbx)\n"
  "  call *%rsi\n"
  "  stmxcsr " STR(SIMD_MXCSR) "(%rbx)\n"
  "  ldmxcsr (%rsp)\n"
  "  pushf\n"
  "  pop %r8\n"
  "  mov %r8d, " STR(SIMD_EFLAGS) "(%rbx)\n"
  "  mov %eax, " STR(SIMD_EAX) "(%rbx)\n"
  "  mov %ecx, " STR(SIMD_ECX) "(%rbx)\n"
  "  mov %edx, " STR(SIMD_EDX) "(%rbx)\n"
  "  movaps %xmm0, (%rbx)\n"
  "  movaps %xmm1, 16(%rbx)\n"
  "  movaps %xmm2, 32(%rbx)\n"
  "  add $16, %rsp\n"
  "  pop %rbx\n"
  "  ret\n"
  ".size hostfpu_run_simd, . - hostfpu_run_simd\n"

  ".type hostfpu_run_x87, @function\n"
  "hostfpu_run_x87:\n"
  "  push %rbx\n"
  "  sub $16, %rsp\n"
  "  mov %rdi, %rbx\n"
  "  fnstcw (%rsp)\n"
  "  stmxcsr 4(%rsp)\n"
  "  fxrstor (%rbx)\n"
  "  mov " STR(X87_EFLAGS) "(%rbx), %eax\n"
  "  push %rax\n"
  "  popf\n"
  "  lea " STR(X87_MEM) "(%rbx), %rdi\n"
  "  call *%rsi\n"
  "  pushf\n"
  "  pop %rax\n"
  "  mov %eax, " STR(X87_EFLAGS) "(%rbx)\n"
  "  fxsave (%rbx)\n"
  "  fninit\n"
  "  fldcw (%rsp)\n"
  "  ldmxcsr 4(%rsp)\n"
  "  add $16, %rsp\n"
  "  pop %rbx\n"
  "  ret\n"
  ".size hostfpu_run_x87, . - hostfpu_run_x87\n"
  ".popsection\n");

bool hostfpu_sigfpe(void *ucontext) {
  greg_t *rip = &((ucontext_t *)ucontext)->uc_mcontext.gregs[REG_RIP];
  uintptr_t offset = (uintptr_t)*rip - (uintptr_t)slot_exec;
  if (offset >= SLOTS * SLOT_SIZE)
    return false;
  *rip |= SLOT_SIZE - 1;
  return true;
}

static void on_sigfpe(int sig, siginfo_t *info, void *ucontext) {
  if (hostfpu_sigfpe(ucontext))
    return;
  if (previous.sa_flags & SA_SIGINFO)
    previous.sa_sigaction(sig, info, ucontext);
  else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN)
    previous.sa_handler(sig);
  else
    signal(sig, SIG_DFL); /* the instruction faults again */
}

static void hostfpu_init(void) {
  int fd = memfd_create("dragoman-fpu", MFD_CLOEXEC);
  DGM_ASSERT(fd >= 0 && ftruncate(fd, SLOTS * SLOT_SIZE) == 0);
  void *write = mmap(NULL, SLOTS * SLOT_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  void *exec = mmap(NULL, SLOTS * SLOT_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
  DGM_ASSERT(write != MAP_FAILED && exec != MAP_FAILED);
  close(fd);
  slot_write = write;
  slot_exec = exec;
  struct sigaction action = {.sa_sigaction = on_sigfpe, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaction(SIGFPE, &action, &previous);
}

/* Thunk of an instruction, made at first use. */
static const void *thunk_find(const uint8_t *code, unsigned length) {
  DGM_ASSERT(length >= 1 && length <= 7);
  pthread_once(&once, hostfpu_init);
  uint64_t key = (uint64_t)length << 56;
  for (unsigned i = 0; i < length; i++)
    key |= (uint64_t)code[i] << (8 * i);
  uint32_t slot = (uint32_t)((key * 0x9e3779b97f4a7c15ull) >> 48);
  for (bool locked = false;;) {
    uint64_t found = __atomic_load_n(&slot_key[slot], __ATOMIC_ACQUIRE);
    if (found == key || (found == 0 && locked)) {
      if (found == 0) {
        uint8_t *p = slot_write + slot * SLOT_SIZE;
        memset(p, 0x90, SLOT_SIZE);
        memcpy(p, code, length);
        p[length] = 0xc3;
        p[SLOT_SIZE - 1] = 0xc3;
        __atomic_store_n(&slot_key[slot], key, __ATOMIC_RELEASE);
      }
      if (locked)
        pthread_mutex_unlock(&lock);
      return slot_exec + slot * SLOT_SIZE;
    }
    if (found == 0) {
      pthread_mutex_lock(&lock);
      locked = true;
      continue;
    }
    slot = (slot + 1) % SLOTS;
  }
}

bool hostfpu_simd(const uint8_t *code, unsigned length, struct hostfpu_simd *op) {
  const void *thunk = thunk_find(code, length);
  uint32_t unmasked = ~(op->mxcsr >> 7) & 0x3f;
  uint32_t before = op->mxcsr;
  /* Sticky flags that are already set do not raise again, and must not look as if they did. */
  op->mxcsr &= ~0x3fu;
  if (op->mmx)
    hostfpu_run_mmx(op, thunk);
  else
    hostfpu_run_simd(op, thunk);
  bool trapped = (op->mxcsr & unmasked) != 0;
  op->mxcsr |= before & 0x3f;
  return !trapped;
}

void hostfpu_x87(const uint8_t *code, unsigned length, struct hostfpu_x87 *op) {
  op->state.fip = op->state.fdp = 0;
  op->state.fcs = op->state.fds = op->state.fop = 0;
  op->state.mxcsr = 0x1f80;
  op->eflags = (op->eflags & FL_ARITH) | FL_1 | FL_IF;
  hostfpu_run_x87(op, thunk_find(code, length));
}
