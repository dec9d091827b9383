/* SPDX-License-Identifier: MIT */
/* What the host's processor and an engine must agree on; see fuzz.h. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "core/fpu.h"
#include "tests/cpu/fuzz.h"
#include "tests/cpu/guest.h"

#define FLAGS_COMPARED (FL_ARITH | FL_TF | FL_IF | FL_DF | FL_IOPL | FL_NT | FL_RF | FL_AC | FL_ID)

struct comparison {
  unsigned differences;
  bool print;
  struct leniency lenient;
};

static void differ(struct comparison *c, const char *what, const void *host, const void *guest,
                   unsigned size) {
  c->differences++;
  if (!c->print)
    return;
  printf("  %s: host ", what);
  for (unsigned i = size; i-- > 0;)
    printf("%02x", ((const uint8_t *)host)[i]);
  printf(" guest ");
  for (unsigned i = size; i-- > 0;)
    printf("%02x", ((const uint8_t *)guest)[i]);
  printf("\n");
}

static void compare(struct comparison *c, const char *what, const void *host, const void *guest,
                    unsigned size) {
  if (memcmp(host, guest, size) != 0)
    differ(c, what, host, guest, size);
}
#define COMPARE(what, member) compare(c, what, &h->member, &g->member, sizeof h->member)

static bool has_error_code(int vector) {
  return vector == EXC_TS || vector == EXC_NP || vector == EXC_SS || vector == EXC_GP || vector == EXC_PF ||
         vector == EXC_AC;
}

static void compare_fpu(struct comparison *c, const struct fxsave *h, const struct fxsave *g) {
  char name[8];
  COMPARE("fcw", fcw);
  COMPARE("fsw", fsw);
  COMPARE("ftw", ftw);
  if (h->fsw & FSW_ES) { /* AMD's processors save the pointers only then */
    COMPARE("fop", fop);
    COMPARE("fip", fip);
    COMPARE("fdp", fdp);
  }
  COMPARE("mxcsr", mxcsr);
  for (unsigned i = 0; i < 8; i++) {
    snprintf(name, sizeof name, "st%u", i);
    compare(c, name, h->st[i], g->st[i], 10);
    snprintf(name, sizeof name, "xmm%u", i);
    compare(c, name, h->xmm[i], g->xmm[i], 16);
  }
}

static void compare_states(struct comparison *c, const struct test_case *t, const struct native_state *h,
                           const struct native_state *g) {
  static const char *const names[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  static const char *const segments[6] = {"es", "cs", "ss", "ds", "fs", "gs"};
  COMPARE("vector", vector);
  if (h->vector == g->vector && has_error_code(h->vector))
    COMPARE("error", error);
  if (h->vector == g->vector && h->vector == EXC_PF)
    COMPARE("cr2", cr2);
  for (unsigned i = 0; i < 8; i++)
    if (!c->lenient.registers)
      COMPARE(names[i], gpr[i]);
  for (unsigned i = 0; i < 6; i++)
    if ((h->sel[i] | g->sel[i]) &
        ~3) /* IRET, on the host's way to the signal handler, clears the RPL of null ones */
      COMPARE(segments[i], sel[i]);
  COMPARE("eip", eip);
  uint32_t mask = FLAGS_COMPARED;
  if (leaves_undefined(t->piece[t->count - 1].id))
    mask &= ~(uint32_t)insn_desc[t->piece[t->count - 1].id].flags_undefined;
  if (c->lenient.flags)
    mask &= ~FL_ARITH;
  uint32_t hf = h->eflags & mask, gf = g->eflags & mask;
  compare(c, "eflags", &hf, &gf, 4);
  if (!c->lenient.fpu)
    compare_fpu(c, &h->fx, &g->fx);
}

/* FXSAVE's MXCSR_MASK: AMD's has bit 17. */
static bool is_mxcsr_mask(const uint8_t *h, const uint8_t *g) {
  static const uint8_t amd[4] = {0xff, 0xff, 2, 0}, ours[4] = {0xff, 0xff, 0, 0};
  return memcmp(h, amd, 4) == 0 && memcmp(g, ours, 4) == 0;
}

static bool contains(const struct test_case *t, unsigned id) {
  for (unsigned i = 0; i < t->count; i++)
    if (t->piece[i].id == id)
      return true;
  return false;
}

/* FXSAVE's opcode and pointers, at 6 to 17h of a 16-byte aligned image: AMD's are zero without an exception.
 */
static bool are_pointers(const struct test_case *t, unsigned at, const uint8_t *h, const uint8_t *g) {
  if (!contains(t, INSN_FXSAVE))
    return false;
  if ((at & 15) == 4 && memcmp(h, g, 2) == 0)
    return h[2] == 0 && h[3] == 0;
  if (((at & 15) == 12 || (at & 15) == 4) && memcmp(h + 2, g + 2, 2) == 0)
    return h[0] == 0 && h[1] == 0;
  return memcmp(h, (uint8_t[4]){0}, 4) == 0;
}

static void compare_memory(struct comparison *c, const struct test_case *t, const char *area,
                           const uint8_t *h, const uint8_t *g, unsigned size) {
  unsigned before = c->differences;
  char name[24];
  if (memcmp(h, g, size) == 0)
    return;
  for (unsigned i = 0; i < size && c->differences < before + 6; i += 4) {
    snprintf(name, sizeof name, "%s+%x", area, i);
    if (!is_mxcsr_mask(h + i, g + i) && !are_pointers(t, i, h + i, g + i))
      compare(c, name, h + i, g + i, 4);
  }
}

static uint32_t linear_eip(const struct native_state *s) {
  bool ldt = (s->sel[CS] & 7) == 7 && s->sel[CS] >> 3 < LDT_COUNT;
  return s->eip + (ldt ? native_ldt[s->sel[CS] >> 3].base : 0);
}

static bool is_code32(const struct native_state *s) {
  uint16_t sel = s->sel[CS];
  return sel == USER_CODE32 || ((sel & 7) == 7 && sel >> 3 < LDT_COUNT && native_ldt[sel >> 3].big);
}

/* The instruction at which a run ended. False where there is none. */
static bool insn_at(struct insn *in, const struct outcome *o) {
  uint32_t offset = linear_eip(&o->state) - NATIVE_CODE;
  return offset < NATIVE_CODE_SIZE &&
         insn_decode(in, o->code + offset, NATIVE_CODE_SIZE - offset, is_code32(&o->state), ~0ull) == INSN_OK;
}

/* LOCK where it is not allowed makes no instruction. */
static bool has_bad_lock(const struct outcome *o) {
  uint32_t offset = linear_eip(&o->state) - NATIVE_CODE;
  return offset < NATIVE_CODE_SIZE - INSN_MAX && memchr(o->code + offset, 0xf0, 4) != NULL;
}

static bool is_row(unsigned id, const char *prefix) { return name_has_prefix(insn_names[id], prefix); }
static bool limit_or_page(int vector) { return vector == EXC_GP || vector == EXC_SS || vector == EXC_PF; }
static bool is_far_call(unsigned id) { return id == INSN_CALLF_Ap || id == INSN_CALLF_Mp; }

/* An engine's code lies below 4 GiB, where the guest has nothing. */
static bool in_engine(uint32_t la) {
  return (la < NATIVE_CODE || la >= NATIVE_READONLY + NATIVE_READONLY_SIZE) &&
         msync((void *)(uintptr_t)(la & ~0xfffu), 0x1000, MS_ASYNC) == 0;
}

/* Instructions of several accesses, whose order is each processor's own. */
static const char *accesses_vary(unsigned id) {
  if (is_row(id, "CMPS_"))
    return "order of the operands of CMPS";
  if (insn_desc[id].op[0] == Mu || insn_desc[id].op[0] == Mt)
    return "order of accesses to an FPU image or an 80-bit operand (AMD: of FXSAVE, the last byte first)";
  if (id == INSN_POPA || id == INSN_IRET || id == INSN_RETF || id == INSN_RETF_Iw)
    return "order of accesses of POPA, RETF and IRET";
  if (id == INSN_MASKMOVDQU_Vx_Ux || id == INSN_MASKMOVQ_Pq_Nq)
    return "bytes that MASKMOV does not select";
  return NULL;
}

/* May the instruction be cut off by the end of the page or of the segment, or by its length? */
static bool cut_off(const struct outcome *o) {
  const struct native_state *s = &o->state;
  uint32_t offset = linear_eip(s) - NATIVE_CODE;
  struct insn in;
  if (offset < NATIVE_CODE_SIZE - INSN_MAX &&
      insn_decode(&in, o->code + offset, INSN_MAX, is_code32(s), ~0ull) == INSN_TOO_LONG)
    return true;
  const struct native_segment *cs = (s->sel[CS] & 7) == 7 ? &native_ldt[s->sel[CS] >> 3] : NULL;
  return (linear_eip(s) & 0xfff) > 0x1000 - INSN_MAX || (cs && !cs->pages && s->eip + INSN_MAX > cs->limit);
}
static bool is_fetch(const struct native_state *s) {
  return s->vector == EXC_GP || (s->vector == EXC_PF && (s->error & 0x10));
}

/* Both fault at the same place, on different grounds or at different addresses. */
static const char *priorities_vary(const struct outcome *host, const struct outcome *guest) {
  const struct native_state *h = &host->state, *g = &guest->state;
  if ((h->vector == EXC_AC && limit_or_page(g->vector)) || (g->vector == EXC_AC && limit_or_page(h->vector)))
    return "priority of #AC";
  if ((h->vector == EXC_GP || h->vector == EXC_SS) && g->vector == EXC_PF && g->cr2 + 512 < 1024)
    return "an access across 4 GiB (SDM vol. 3, 5.3: may be #GP)";
  if (cut_off(guest) && (is_fetch(h) || is_fetch(g)) && (h->vector == EXC_UD || g->vector == EXC_UD))
    return "priority of #UD and the fetch of the rest";
  if (h->vector == EXC_GP && g->vector == EXC_SS && h->error == 0 && g->error == 0)
    return "priority of alignment and limit (AMD: alignment)";
  return NULL;
}

static const char *transfers_vary(unsigned id, const struct native_state *h, const struct native_state *g) {
  if (id == INSN_IRET && h->vector == EXC_GP && h->error == 0 && (g->eflags & FL_NT))
    return "IRET with NT (in the host's long mode always #GP)";
  bool call = id == INSN_CALL_Jv || id == INSN_CALL_Ev;
  if (call && h->vector != EXC_GP && g->vector == EXC_GP)
    return "CALL beyond the limit without a stack (SDM: limit; AMD: stack)";
  if (is_far_call(id) && h->vector != EXC_GP && g->vector == EXC_GP && g->error == 0)
    return "CALL far beyond the limit without a stack (SDM: limit; AMD: stack)";
  return NULL;
}

/* The same fault, before which processors may have done different things. */
static struct leniency progress_varies(unsigned id) {
  if (id == INSN_MASKMOVQ_Pq_Nq)
    return (struct leniency){"MASKMOVQ that faults (AMD: the MMX state is entered)", .fpu = true};
  if (id == INSN_POPA)
    return (struct leniency){"POPA that faults (AMD: registers may have been loaded)", .registers = true};
  if (is_row(id, "CMPS_") || is_row(id, "SCAS_"))
    return (struct leniency){"CMPS or SCAS that faults (AMD: may have changed the flags)", .flags = true};
  if (is_far_call(id))
    return (struct leniency){"CALL far that faults (AMD: has pushed)", .memory = true};
  return (struct leniency){.reason = NULL};
}

/* Only one of the two faults, or both at different places. */
static const char *faults_vary(const struct outcome *host, const struct outcome *guest) {
  const struct native_state *h = &host->state, *g = &guest->state;
  struct insn in;
  bool moved = linear_eip(h) != linear_eip(g);
  if (g->vector == EXC_PF && in_engine(g->cr2))
    return "the engine has memory there";
  if (g->vector == EXC_PF && h->vector == EXC_PF && g->cr2 - GUEST_TABLES < GUEST_TABLES_SIZE &&
      !(h->error & 1))
    return "the guest's tables are there";
  if (h->vector == 0x80 && g->vector != 0x80)
    return "SYSCALL and SYSENTER (the host has system calls)";
  if (h->sel[CS] == USER_CODE64)
    return "left for 64-bit mode";
  if (h->fx.mxcsr & 0x20000)
    return "MXCSR bit 17 (AMD: misaligned exception mask)";
  if (insn_at(&in, host) && row_excluded(in.id)) /* bytes of other instructions */
    return row_excluded(in.id);
  if (h->vector == EXC_UD && insn_at(&in, host) && in.id == INSN_PREFETCHW_Ev)
    return "0F 0D with a register (AMD: #UD, Intel: NOP)";
  if (g->vector == EXC_UD && has_bad_lock(guest) && (moved || limit_or_page(h->vector)))
    return "LOCK where it is not allowed (AMD: the operand's fault comes first, and VERW has none)";
  if (g->vector == EXC_GP && moved && insn_at(&in, guest) && (in.id == INSN_LDMXCSR || in.id == INSN_FXRSTOR))
    return "MXCSR bit 17 (AMD: misaligned exception mask)";
  return NULL;
}

struct leniency processors_vary(const struct outcome *host, const struct outcome *guest) {
  const struct native_state *h = &host->state, *g = &guest->state;
  struct leniency all = {.all = true};
  struct insn in;
  if (h->vector == -1 || g->vector == -1)
    all.reason = "runs for long";
  else
    all.reason = faults_vary(host, guest);
  if (all.reason || linear_eip(h) != linear_eip(g))
    return all;
  bool same = h->vector == g->vector && (h->vector != EXC_PF || (h->cr2 == g->cr2 && h->error == g->error));
  bool known = insn_at(&in, host), operand = limit_or_page(h->vector) && limit_or_page(g->vector);
  if (same && known && (limit_or_page(h->vector) || h->vector == EXC_AC))
    return progress_varies(in.id);
  if (!same)
    all.reason = priorities_vary(host, guest);
  if (!same && !all.reason && known)
    all.reason = transfers_vary(in.id, h, g);
  if (!same && !all.reason && known && operand)
    all.reason = accesses_vary(in.id);
  return all;
}

unsigned compare_outcomes(const struct test_case *t, const struct outcome *host, const struct outcome *guest,
                          const struct leniency *lenient, bool print) {
  struct comparison c = {0, print, *lenient};
  if (lenient->reason && lenient->all)
    return 0;
  compare_states(&c, t, &host->state, &guest->state);
  if (!lenient->memory)
    compare_memory(&c, t, "data", host->data, guest->data, NATIVE_DATA_SIZE);
  compare_memory(&c, t, "code", host->code, guest->code, NATIVE_CODE_SIZE);
  return c.differences;
}
