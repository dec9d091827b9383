/* SPDX-License-Identifier: MIT */
/*
 * Random user-mode instruction sequences, generated from the instruction table, on the host's processor and
 * in the interpreter: registers, flags, x87, SSE, memory and the exception must agree bit for bit.
 *
 *   fuzz_cpu [-e ENGINE] [-n CASES] [-s SEED] [-i NAME] [-c CLASS] [-l LENGTH] [-v]
 *
 * Case k of seed s is case 0 of seed s + k, which is how a mismatch is reported. -i and -c (fpu, mmx, sse,
 * int) choose rows by the beginning of their name and by class; -l is the longest sequence. -e tlb runs the
 * translator instead of the interpreter. Not covered, because the host's kernel, not its processor, decides:
 * system instructions, segment loads, far transfers.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/insn.h"
#include "tests/cpu/guest.h"
#include "translate/translate.h"

#define LENGTH_MAX 32u

static const char *const insn_names[INSN_COUNT] = {
#define I(id, ...) [INSN_##id] = #id,
#include "core/insn.def"
#undef I
};

struct options {
  uint64_t cases, seed;
  const char *name, *class_name, *engine;
  unsigned length;
  bool verbose;
};

struct test_case {
  struct native_state state;
  uint8_t code[NATIVE_CODE_SIZE];
  uint8_t data[NATIVE_DATA_SIZE];
  uint16_t ids[LENGTH_MAX];
  unsigned count, bytes;
};

static uint64_t rng;
static uint16_t rows[INSN_COUNT];
static unsigned row_count;

static uint32_t rnd(void) {
  rng += 0x9e3779b97f4a7c15ull;
  uint64_t z = rng;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return (uint32_t)((z ^ z >> 31) >> 16);
}
static uint32_t below(uint32_t n) { return rnd() % n; }
static bool chance(uint32_t percent) { return below(100) < percent; }

/* --- which rows --- */

static bool has_prefix(const char *s, const char *prefix) { return strncmp(s, prefix, strlen(prefix)) == 0; }

/* Rows whose outcome in user mode is not the processor's alone, or differs on purpose. */
static bool row_excluded(unsigned id) {
  static const char *const names[] = {
    "FNSTENV", "FNSAVE", "FXSAVE", /* store pointers that the kernel has overwritten */
    "INT", "BOUND", "CPUID", "RDTSC", "RDPMC", "SYS", "LAR", "LSL", "VER", "STR", "SLDT", "SGDT", "SIDT",
    "SMSW", "ARPL", "PAUSE", "UD", "SALC", "PREFETCHW",
  };
  const struct insn_desc *d = &insn_desc[id];
  if (d->cls == CL_FAR || d->cls == CL_SEG || d->cls == CL_IO || d->cls == CL_SYSTEM || (d->attr & A_CPL0))
    return true;
  for (int i = 0; i < 3; i++)
    if (d->op[i] == Sw || (d->op[i] >= ES_ && d->op[i] <= GS_) || d->op[i] == Jv || d->op[i] == Jb)
      return true;
  if (d->cls == CL_BRANCH)
    return true;
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
    if (has_prefix(insn_names[id], names[i]))
      return true;
  return false;
}

static bool class_matches(const char *name, uint8_t cls) {
  if (!name)
    return true;
  if (strcmp(name, "fpu") == 0)
    return cls == CL_FPU;
  if (strcmp(name, "mmx") == 0)
    return cls == CL_MMX;
  if (strcmp(name, "sse") == 0)
    return cls == CL_SSE;
  return cls != CL_FPU && cls != CL_MMX && cls != CL_SSE;
}

static void choose_rows(const struct options *o) {
  for (unsigned id = 0; id < INSN_COUNT; id++)
    if (!row_excluded(id) && class_matches(o->class_name, insn_desc[id].cls) &&
        (!o->name || has_prefix(insn_names[id], o->name)))
      rows[row_count++] = (uint16_t)id;
}

/* --- generating --- */

static uint32_t interesting32(void) {
  static const uint32_t values[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
                                    0xffffffff, 0x3f800000, 0x7f800000, 0x7fc00000, 0x7f800001, 0xff800000,
                                    0x00000001, 0x00800000, 0x80000000, 0x4f000000, 0xcf000000, 0x3f000000};
  if (chance(50))
    return values[below(sizeof values / sizeof values[0])];
  return chance(50) ? rnd() : rnd() >> below(32);
}

static uint32_t data_address(void) {
  uint32_t offset = chance(97) ? below(NATIVE_DATA_SIZE - 1024) + 512 : below(NATIVE_DATA_SIZE);
  return NATIVE_DATA + (chance(75) ? offset & ~15u : offset);
}

static void random_real80(uint8_t *p) {
  uint64_t mantissa = (uint64_t)rnd() << 32 | rnd();
  uint32_t exponent = chance(70) ? 0x3fff - 70 + below(140) : below(0x8000);
  if (chance(90))
    mantissa |= 1ull << 63;
  if (chance(30))
    mantissa &= ~0ull << below(64);
  switch (below(16)) {
  case 0: mantissa = 0, exponent = 0; break;
  case 1: mantissa = 1ull << 63, exponent = 0x7fff; break;
  case 2: exponent = 0x7fff; break;
  case 3: mantissa = 1ull << 63, exponent = 0x3fff; break;
  case 4: exponent = 0; break;
  default: break;
  }
  exponent |= chance(30) ? 0x8000 : 0;
  memcpy(p, &mantissa, 8);
  memcpy(p + 8, &exponent, 2);
}

static void random_block(uint8_t *p, unsigned size) {
  for (unsigned i = 0; i + 4 <= size; i += 4) {
    uint32_t v = interesting32();
    if (chance(10) && i + 8 <= size) { /* a double */
      uint64_t d = (uint64_t)(0x3ff - 40 + below(80) + 0x800 * below(2)) << 52 | (uint64_t)rnd() << 20;
      memcpy(p + i, &d, 8);
      i += 4;
      continue;
    }
    memcpy(p + i, &v, 4);
  }
}

static void random_state(struct native_state *s) {
  memset(s, 0, sizeof *s);
  for (int i = 0; i < 8; i++)
    s->gpr[i] = chance(65) ? data_address() : interesting32();
  s->gpr[ESP] = (NATIVE_DATA + NATIVE_DATA_SIZE / 2 + below(256)) & (chance(90) ? ~3u : ~0u);
  s->eip = NATIVE_CODE;
  s->eflags = FL_1 | FL_IF | (rnd() & FL_ARITH) | (chance(15) ? FL_DF : 0) | (chance(2) ? FL_AC : 0);
  s->fx.fcw = (uint16_t)(0x0340 | (chance(85) ? 0x3f : below(64)) | below(4) << 10);
  if (chance(30))
    s->fx.fcw = (uint16_t)((s->fx.fcw & ~0x300) | below(4) << 8);
  s->fx.fsw = (uint16_t)(below(8) << 11 | (rnd() & 0x4700));
  if (chance(10))
    s->fx.fsw |= (uint16_t)below(64);
  if (s->fx.fsw & ~s->fx.fcw & 0x3f)
    s->fx.fsw |= 0x8080;
  s->fx.ftw = (uint8_t)(chance(70) ? 0xff : rnd());
  for (int i = 0; i < 8; i++)
    random_real80(s->fx.st[i]);
  for (int i = 0; i < 8; i++)
    random_block(s->fx.xmm[i], 16);
  s->fx.mxcsr = 0x1f80;
  if (chance(30))
    s->fx.mxcsr = (rnd() & 0xe040) | (chance(50) ? 0x1f80 : rnd() & 0x1f80) | (chance(20) ? rnd() & 0x3f : 0);
}

static uint8_t *emit32(uint8_t *p, uint32_t v) {
  memcpy(p, &v, 4);
  return p + 4;
}

/* A memory operand, mostly inside the data area. */
static uint8_t *emit_memory(uint8_t *p, unsigned reg, bool addr16) {
  unsigned mod = below(3), rm = below(8);
  if (addr16) {
    *p++ = (uint8_t)(mod << 6 | reg << 3 | rm);
    unsigned disp = mod == 1 ? 1 : mod == 2 || rm == 6 ? 2 : 0;
    for (unsigned i = 0; i < disp; i++)
      *p++ = (uint8_t)rnd();
    return p;
  }
  if (chance(20)) {
    *p++ = (uint8_t)(reg << 3 | 5);
    return emit32(p, data_address());
  }
  *p++ = (uint8_t)(mod << 6 | reg << 3 | rm);
  bool absolute = mod == 0 && rm == 5;
  if (rm == 4) {
    uint8_t sib = (uint8_t)(chance(60) ? 0x20 | below(8) : rnd());
    *p++ = sib;
    absolute = mod == 0 && (sib & 7) == 5;
  }
  if (absolute)
    return emit32(p, data_address());
  if (mod == 1)
    *p++ = (uint8_t)(chance(60) ? rnd() & 0xf0 : rnd());
  if (mod == 2)
    p = emit32(p, (below(1024) - 512) & (chance(70) ? ~15u : ~0u));
  return p;
}

static bool wants_memory(const struct insn_desc *d) {
  switch (d->ext & 0xff00) {
  case X_MEM:
  case X_MR(0): return true;
  case X_REG:
  case X_RR(0):
  case X_B(0): return false;
  default: return chance(50);
  }
}

static uint8_t *emit_modrm(uint8_t *p, const struct insn_desc *d, bool addr16) {
  unsigned kind = d->ext & 0xff00;
  unsigned reg = kind >= X_R(0) && kind != X_B(0) ? d->ext & 7 : below(8);
  if (kind == X_NONE)
    return p;
  if (kind == X_B(0)) {
    *p++ = (uint8_t)d->ext;
    return p;
  }
  if (wants_memory(d))
    return emit_memory(p, reg, addr16);
  *p++ = (uint8_t)(0xc0 | reg << 3 | below(8));
  return p;
}

static uint8_t *emit_immediates(uint8_t *p, const struct insn_desc *d, bool op16, bool addr16) {
  for (int i = 0; i < 3; i++) {
    unsigned bytes = 0;
    switch (d->op[i]) {
    case Ib: case Ibs: bytes = 1; break;
    case Iw: bytes = 2; break;
    case Iv: bytes = op16 ? 2 : 4; break;
    case Ob: case Ov:
      if (!addr16)
        p = emit32(p, data_address());
      else
        bytes = 2;
      break;
    default: break;
    }
    uint32_t v = interesting32();
    memcpy(p, &v, bytes);
    p += bytes;
  }
  return p;
}

static bool row_has_z(const struct insn_desc *d) {
  return d->op[0] == Zb || d->op[0] == Zv || d->op[1] == Zb || d->op[1] == Zv;
}

static uint8_t *emit_insn(uint8_t *p, const struct insn_desc *d) {
  bool op16 = d->pfx == P_ANY && chance(d->cls == CL_FPU ? 3 : 30), addr16 = chance(2);
  if (op16)
    *p++ = 0x66;
  if (addr16)
    *p++ = 0x67;
  if (chance(3))
    *p++ = (uint8_t[]){0x2e, 0x36, 0x3e, 0x26}[below(4)];
  if ((d->attr & A_LOCK) && chance(10))
    *p++ = 0xf0;
  if (d->attr & A_REP && chance(40))
    *p++ = chance(50) ? 0xf2 : 0xf3;
  if (d->pfx >= P_66)
    *p++ = d->pfx == P_66 ? 0x66 : d->pfx == P_F3 ? 0xf3 : 0xf2;
  if (d->map != MAP_1)
    *p++ = 0x0f;
  if (d->map >= MAP_0F38)
    *p++ = d->map == MAP_0F38 ? 0x38 : 0x3a;
  *p++ = (uint8_t)(d->opcode | (row_has_z(d) && (d->opcode & 7) == 0 ? below(8) : 0));
  p = emit_modrm(p, d, addr16);
  return emit_immediates(p, d, op16, addr16);
}

/* Flags that 64-bit code cannot produce, so that the interpreter does not have them from the host. */
static bool leaves_undefined(unsigned id) {
  static const char *const names[] = {"AAA", "AAS", "AAM", "AAD", "DAA", "DAS"};
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
    if (has_prefix(insn_names[id], names[i]))
      return true;
  return false;
}

static void make_case(struct test_case *t, const struct options *o) {
  random_state(&t->state);
  random_block(t->data, sizeof t->data);
  memset(t->code, 0xcc, sizeof t->code);
  t->count = 1 + below(o->length);
  uint8_t *p = t->code;
  for (unsigned i = 0; i < t->count; i++) {
    do
      t->ids[i] = rows[below(row_count)];
    while (i + 1 < t->count && leaves_undefined(t->ids[i]));
    if (insn_desc[t->ids[i]].cls == CL_STRING) { /* a REP that ends */
      static const uint8_t mov_ecx[] = {0xb9};
      memcpy(p, mov_ecx, 1);
      p = emit32(p + 1, 1 + below(40));
    }
    p = emit_insn(p, &insn_desc[t->ids[i]]);
  }
  t->bytes = (unsigned)(p - t->code);
}

/* --- comparing --- */

static unsigned differences;

static void differ(const char *what, unsigned n, const void *host, const void *guest, unsigned size) {
  printf("  %s%u: host ", what, n);
  for (unsigned i = size; i-- > 0;)
    printf("%02x", ((const uint8_t *)host)[i]);
  printf(" guest ");
  for (unsigned i = size; i-- > 0;)
    printf("%02x", ((const uint8_t *)guest)[i]);
  printf("\n");
  differences++;
}

static void compare(const char *what, unsigned n, const void *host, const void *guest, unsigned size) {
  if (memcmp(host, guest, size) != 0)
    differ(what, n, host, guest, size);
}

static bool contains(const struct test_case *t, const char *name) {
  for (unsigned i = 0; i < t->count; i++)
    if (has_prefix(insn_names[t->ids[i]], name))
      return true;
  return false;
}

static void compare_states(const struct test_case *t, const struct native_state *h,
                           const struct native_state *g) {
  static const char *const names[8] = {"eax ", "ecx ", "edx ", "ebx ", "esp ", "ebp ", "esi ", "edi "};
  compare("vector ", 0, &h->vector, &g->vector, 4);
  if (h->vector == g->vector && (h->vector == EXC_GP || h->vector == EXC_PF || h->vector == EXC_SS))
    compare("error ", 0, &h->error, &g->error, 4);
  /* FXRSTOR and POPA may read their bytes in any order. */
  if (h->vector == g->vector && h->vector == EXC_PF && h->cr2 - g->cr2 >= 512 && !contains(t, "POPA"))
    compare("cr2 ", 0, &h->cr2, &g->cr2, 4);
  for (unsigned i = 0; i < 8; i++)
    compare(names[i], i, &h->gpr[i], &g->gpr[i], 4);
  compare("eip ", 0, &h->eip, &g->eip, 4);
  uint32_t mask = FL_ARITH | FL_DF | FL_AC | FL_ID | FL_NT | FL_IF;
  if (leaves_undefined(t->ids[t->count - 1]))
    mask &= ~(uint32_t)insn_desc[t->ids[t->count - 1]].flags_undefined;
  uint32_t hf = h->eflags & mask, gf = g->eflags & mask;
  compare("eflags ", 0, &hf, &gf, 4);
  compare("fcw ", 0, &h->fx.fcw, &g->fx.fcw, 2);
  compare("fsw ", 0, &h->fx.fsw, &g->fx.fsw, 2);
  compare("ftw ", 0, &h->fx.ftw, &g->fx.ftw, 1);
  compare("mxcsr ", 0, &h->fx.mxcsr, &g->fx.mxcsr, 4);
  for (unsigned i = 0; i < 8; i++) {
    compare("st", i, h->fx.st[i], g->fx.st[i], 10);
    compare("xmm", i, h->fx.xmm[i], g->fx.xmm[i], 16);
  }
}

static void compare_memory(const struct guest *g, const struct test_case *t) {
  const uint8_t *host = (const uint8_t *)(uintptr_t)NATIVE_DATA;
  unsigned shown = 0;
  for (unsigned i = 0; i < NATIVE_DATA_SIZE && shown < 4; i += 4) {
    if (memcmp(host + i, g->data + i, 4) != 0) {
      differ("memory +", i, host + i, g->data + i, 4);
      printf("    was ");
      for (unsigned k = 4; k-- > 0;)
        printf("%02x", t->data[i + k]);
      printf("\n");
      shown++;
    }
  }
  compare("code ", 0, (const void *)(uintptr_t)NATIVE_CODE, g->code, 64);
}

static void print_case(const struct test_case *t) {
  for (unsigned i = 0; i < t->count; i++)
    printf("  %s", insn_names[t->ids[i]]);
  printf("\n  code");
  for (unsigned i = 0; i < t->bytes; i++)
    printf(" %02x", t->code[i]);
  printf("\n ");
  for (unsigned i = 0; i < 8; i++)
    printf(" %08x", t->state.gpr[i]);
  const struct fxsave *fx = &t->state.fx;
  printf(" eflags %08x fcw %04x fsw %04x ftw %02x mxcsr %04x\n", t->state.eflags, fx->fcw, fx->fsw, fx->ftw,
         fx->mxcsr);
}

/* Where only one side has anything: the guest's tables (a fault with P set), an engine's code cache. */
static bool mapped_on_host(uint32_t la) {
  return msync((void *)(uintptr_t)(la & ~(MEM_PAGE - 1)), MEM_PAGE, MS_ASYNC) == 0;
}

/*
 * What processors may do differently: an access across 4 GiB may or may not be #GP (SDM vol. 3, 5.3); the
 * priorities of #AC and #MF; CMPS may read its operands in either order, and a fault in a repeated CMPS or
 * SCAS may or may not take back the flags; what MASKMOVQ, ENTER and PUSHA have done when they fault. AMD's
 * MXCSR has a bit more.
 */
static bool processors_vary(const struct test_case *t, const struct native_state *h,
                            const struct native_state *g) {
  static const char *const names[] = {"MASKMOVQ", "ENTER", "PUSHA", "CMPS_", "SCAS_"};
  for (unsigned i = 0; i < sizeof names / sizeof names[0] && h->vector != EXC_BP; i++)
    if (contains(t, names[i]))
      return true;
  if (g->vector == EXC_PF && ((g->error & 1) || mapped_on_host(g->cr2)))
    return true;
  if (h->vector == EXC_MF && (g->vector == EXC_PF || g->vector == EXC_GP))
    return true;
  if ((h->vector == EXC_GP || h->vector == EXC_SS) && (g->vector == EXC_PF || g->vector == EXC_AC))
    return g->vector == EXC_AC || g->cr2 + 512 < 1024;
  if (h->fx.mxcsr & 0xffff0000u)
    return true;
  if (h->vector == EXC_PF && g->vector == EXC_AC)
    return true;
  return h->vector == EXC_AC && (g->vector == EXC_PF || g->vector == EXC_GP || g->vector == EXC_MF);
}

/* True if both agree. */
static bool run_case(struct guest *g, const struct options *o, uint64_t seed) {
  static struct test_case t;
  rng = seed * 0xd1342543de82ef95ull;
  make_case(&t, o);
  memcpy((void *)(uintptr_t)NATIVE_CODE, t.code, sizeof t.code);
  memcpy((void *)(uintptr_t)NATIVE_DATA, t.data, sizeof t.data);
  guest_put_code(g, t.code);
  guest_put_data(g, t.data);
  struct native_state host = t.state, guest = t.state;
  native_run(&host);
  guest_run(g, &guest, 100000);
  differences = 0;
  if (processors_vary(&t, &host, &guest))
    return true;
  compare_states(&t, &host, &guest);
  compare_memory(g, &t);
  if (differences != 0 || o->verbose) {
    printf("seed %llu: %s, vector %d\n", (unsigned long long)seed, differences ? "MISMATCH" : "same",
           host.vector);
    print_case(&t);
  }
  return differences == 0;
}

static void parse(struct options *o, int argc, char **argv) {
  int c;
  while ((c = getopt(argc, argv, "n:s:i:c:e:l:v")) != -1) {
    switch (c) {
    case 'n': o->cases = strtoull(optarg, NULL, 0); break;
    case 's': o->seed = strtoull(optarg, NULL, 0); break;
    case 'i': o->name = optarg; break;
    case 'c': o->class_name = optarg; break;
    case 'e': o->engine = optarg; break;
    case 'l': o->length = (unsigned)strtoul(optarg, NULL, 0); break;
    case 'v': o->verbose = true; break;
    default: exit(2);
    }
  }
  if (o->length == 0 || o->length > LENGTH_MAX)
    o->length = LENGTH_MAX;
}

int main(int argc, char **argv) {
  struct options o = {.cases = 20000, .seed = 1, .length = 6};
  parse(&o, argc, argv);
  struct guest *g = guest_new("max");
  if (o.engine && strcmp(o.engine, "tlb") == 0)
    guest_use_engine(g, &engine_tlb);
  if (!native_init()) {
    printf("32-bit code cannot be run on this host\n0 passed, 0 failed\n");
    return 0;
  }
  uint64_t failed = 0;
  choose_rows(&o);
  if (row_count == 0) {
    printf("no such instructions\n");
    return 2;
  }
  for (uint64_t i = 0; i < o.cases && failed < 20; i++)
    failed += !run_case(g, &o, o.seed + i);
  guest_free(g);
  printf("%llu passed, %llu failed\n", (unsigned long long)(o.cases - failed), (unsigned long long)failed);
  return failed != 0;
}
