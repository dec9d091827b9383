/* SPDX-License-Identifier: MIT */
/*
 * Lockstep on random code: the same short program, made from the instruction table, runs under the interpreter and
 * under the translator from the same state; registers, flags, segments, FPU state and all memory must agree
 * afterwards. Modes: flat 32-bit, 32-bit with small limited segments, every mixture of both, real mode, V86
 * mode, 16-bit protected mode, rings 0 and 3 with paging, where code lies elsewhere than in physical memory. Pointers
 * into the code make it change itself; in half of the cases the translator runs in slices of a few instructions.
 *
 *   lockstep-random [seed [cases]]      a failing case prints its seed; run it alone with cases = 1
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "core/insn.h"
#include "core/machine.h"
#include "core/paging.h"
#include "core/segment.h"
#include "translate/translate.h"

#define RAM (4u << 20)
#define CODE 0x10000u
#define DATA 0x20000u
#define TABLES 0x100000u
#define LIMIT 300u /* instructions a case may retire */
#define PROGRAM 24u

static uint64_t rng_state;
static int sticky = -1; /* base register that most memory operands of this program share, with small displacements */

static uint32_t rnd(void) {
  rng_state ^= rng_state << 13;
  rng_state ^= rng_state >> 7;
  rng_state ^= rng_state << 17;
  return (uint32_t)(rng_state >> 16);
}

static uint32_t edge(void) {
  static const uint32_t v[] = {0,      1,      2,          0x7f,       0x80,       0xff, 0x100, 0x7fff,
                               0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 31,   32};
  switch (rnd() % 4) {
  case 0: return v[rnd() % (sizeof v / sizeof v[0])];
  case 1: return rnd();
  case 2:
    if (rnd() % 2)
      return CODE + rnd() % 0x180;
    /* fall through */
  default: return DATA + rnd() % 0x9000;
  }
}

enum world { FLAT, LIMITED, MIXED, REAL, V86, PROT16, PAGED, USER, WORLDS };
static const char *const world_name[] = {"flat", "limited", "mixed", "real", "V86", "16-bit protected", "paged",
                                         "user"};

static bool is_16bit(enum world w) { return w == REAL || w == V86 || w == PROT16; }
static bool is_paged(enum world w) { return w == V86 || w == PAGED || w == USER; }

static bool wanted(const struct insn_desc *d) {
  switch (d->cls) {
  case CL_FAR:
  case CL_IO: return false;
  case CL_SYSTEM:
  case CL_SEG: return rnd() % 8 == 0;
  case CL_STRING: return rnd() % 3 == 0;
  default: return true;
  }
}

/* One random instruction of the table; returns its length. */
static unsigned make_insn(uint8_t *p, enum world w) {
  const struct insn_desc *d;
  do
    d = &insn_desc[rnd() % INSN_COUNT];
  while (!wanted(d));
  uint8_t *first = p, *q = p;
  bool rep = (d->attr & A_REP) && rnd() % 4 == 0;
  if (rep) { /* mov ecx, 0..63 */
    if (is_16bit(w))
      *q++ = 0x66;
    *q++ = 0xb9;
    *q++ = (uint8_t)(rnd() & 63);
    memset(q, 0, 3);
    q += 3;
  }
  uint8_t *start = q;
  if (rnd() % 6 == 0)
    *q++ = 0x66;
  if (is_16bit(w) ? rnd() % 12 == 0 : rnd() % 30 == 0)
    *q++ = 0x67;
  if (rnd() % 16 == 0) {
    static const uint8_t seg[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65};
    *q++ = seg[rnd() % 6];
  }
  if (d->pfx == P_66)
    *q++ = 0x66;
  if (d->pfx == P_F3 || rep)
    *q++ = 0xf3;
  if (d->pfx == P_F2)
    *q++ = 0xf2;
  if ((d->attr & A_LOCK) && rnd() % 16 == 0)
    *q++ = 0xf0;
  if (d->map != MAP_1)
    *q++ = 0x0f;
  if (d->map == MAP_0F38)
    *q++ = 0x38;
  if (d->map == MAP_0F3A)
    *q++ = 0x3a;
  *q++ = d->op[0] == Zb || d->op[0] == Zv ? (uint8_t)(d->opcode | (rnd() & 7)) : d->opcode;
  unsigned kind = d->ext & 0xf00, n = d->ext & 0xff;
  if (kind != X_NONE) {
    uint8_t modrm = (uint8_t)rnd();
    if (kind == 0x700)
      modrm = (uint8_t)n;
    else if (kind >= 0x400)
      modrm = (uint8_t)((modrm & 0xc7) | n << 3);
    if (kind == X_REG || kind == 0x600)
      modrm |= 0xc0;
    else if (kind != 0x700 && sticky >= 0 && rnd() % 4)
      modrm = (uint8_t)(0x40 | (modrm & 0x38) | sticky);
    *q++ = modrm;
  }
  for (int i = 0; i < 10; i++) /* SIB, displacement, immediate: small values are frequent */
    *q++ = rnd() % 3 ? (uint8_t)(rnd() & 15) : (uint8_t)rnd();
  struct insn in;
  bool code32 = !is_16bit(w);
  p = start;
  if (insn_decode(&in, p, INSN_MAX, code32, ~0ull) != INSN_OK)
    return 0;
  if (insn_describe(&in)->cls == CL_BRANCH && in.opsize == 4 &&
      (in.opcode == 0xe8 || in.opcode == 0xe9 || in.map == MAP_0F))
    p[in.length - 1] = p[in.length - 2] = p[in.length - 3] = 0; /* short distances */
  if (in.is_mem && in.mod == 0 && in.base == 0xff && !is_16bit(w) && rnd() % 4) { /* absolute: into the data */
    uint32_t a = DATA + rnd() % 0x9000;
    memcpy(p + in.length - 4, &a, in.map == MAP_1 && insn_describe(&in)->op[1] == Ib ? 0 : 4);
  }
  return (unsigned)(start - first) + in.length;
}

static void set_seg(struct seg *s, uint16_t sel, uint32_t base, uint32_t limit, uint16_t attr) {
  *s = (struct seg){.sel = sel, .attr = attr, .base = base, .limit = limit};
  seg_update_room(s, false);
}

/* Linear minus physical address of the code. */
static uint32_t code_shift(enum world w, uint64_t seed) {
  return is_paged(w) && w != V86 ? (uint32_t)(seed >> 20 & 7) * 0x40000u : 0;
}

static void make_tables(uint8_t *ram, uint32_t shift) {
  uint32_t dir = (TABLES + 0x1000) | 7;
  memset(ram + TABLES, 0, 0x2000);
  memcpy(ram + TABLES, &dir, 4);
  for (uint32_t i = 0; i < 1024; i++) {
    uint32_t pte = i << 12 | 7;
    if (i >= 0x28 && i < 0x30 && (i & 1)) /* holes and read-only pages in the data */
      pte = i & 2 ? (i << 12 | 5) : 0;
    memcpy(ram + TABLES + 0x1000 + 4 * i, &pte, 4);
  }
  for (uint32_t i = (CODE >> 12) - 1; i < (CODE >> 12) + 3; i++) {
    uint32_t pte = i << 12 | 7;
    memcpy(ram + TABLES + 0x1000 + 4 * (i + (shift >> 12)), &pte, 4);
  }
}

static void set_real_segments(struct cpu *cpu, enum world w) {
  for (int s = ES; s <= GS; s++) {
    uint32_t base = s == CS || rnd() % 4 == 0 ? CODE : DATA;
    set_seg(&cpu->seg[s], (uint16_t)(base >> 4), base, 0xffff, w == V86 ? 0xf3 : 0x93);
  }
  cpu->eip = 0;
  cpu->mode = 0;
  if (w == V86) {
    cpu->eflags |= FL_VM | FL_IOPL;
    cpu->cpl = 3;
  }
}

static void set_16bit_segments(struct cpu *cpu) {
  for (int s = ES; s <= GS; s++)
    set_seg(&cpu->seg[s], 0x10, DATA, rnd() % 4 ? 0xffff : 0x8fff, 0x0093);
  if (rnd() % 4 == 0)
    set_seg(&cpu->seg[SS], 0x20, DATA, 0xffff, 0x4093); /* 32-bit stack */
  if (rnd() % 4 == 0)
    set_seg(&cpu->seg[DS], 0x28, 0, 0xffffffff, 0xc093);
  if (rnd() % 4 == 0)
    set_seg(&cpu->seg[ES], 0x38, 0, 0x1000, 0x0097); /* expand-down */
  set_seg(&cpu->seg[CS], 8, CODE, 0xffff, 0x009b);
  cpu->gpr[ESP] = 0x8000 + rnd() % 16;
  cpu->eip = 0;
}

static void set_32bit_segments(struct cpu *cpu, enum world w) {
  uint16_t dpl = w == USER ? 0x60 : 0;
  for (int s = ES; s <= GS; s++)
    set_seg(&cpu->seg[s], w == USER ? 0x23 : 0x10, 0, 0xffffffff, (uint16_t)(0xc093 | dpl));
  set_seg(&cpu->seg[CS], w == USER ? 0x1b : 8, 0, 0xffffffff, (uint16_t)(0xc09b | dpl));
  set_seg(&cpu->seg[FS], 0x30, DATA, 0x8fff, (uint16_t)(0xc093 | dpl));
  unsigned limited = w == LIMITED ? 7 : w == MIXED ? rnd() & 31 : 0;
  if (limited & 1)
    set_seg(&cpu->seg[DS], 0x10, 0x100, DATA + 0x8000, 0x4093);
  if (limited & 2)
    set_seg(&cpu->seg[ES], 0x18, 0x200, DATA + 0x9000, 0x4093);
  if (limited & 4)
    set_seg(&cpu->seg[SS], 0x20, 0x40, DATA + 0xa000, 0x4093);
  if (w == LIMITED)
    set_seg(&cpu->seg[GS], 0x38, 0, DATA + 0x2000, 0x4097); /* expand-down */
  if (limited & 8) {
    set_seg(&cpu->seg[CS], 8, limited & 16 ? 0x3000 : 0, CODE + 0x3000, 0x409b);
    cpu->eip -= cpu->seg[CS].base;
  }
  cpu->cpl = w == USER ? 3 : 0;
}

static void set_state(struct cpu *cpu, enum world w, uint64_t seed, uint32_t shift) {
  rng_state = seed;
  cpu_reset(cpu);
  for (int r = 0; r < 8; r++)
    cpu->gpr[r] = edge();
  if (sticky >= 0) /* often just below the end of a page */
    cpu->gpr[sticky] = DATA + 0x1000 * (rnd() % 9) + (rnd() % 2 ? rnd() % 0x1000 : 0xfc0 + rnd() % 0x40);
  cpu->gpr[ESP] = rnd() % 4 ? DATA + 0x8000 + rnd() % 16 : CODE + shift + rnd() % 0x180;
  cpu->eflags = FL_1 | (rnd() & (FL_ARITH | (rnd() % 8 ? 0 : FL_DF)));
  cpu->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
  cpu->fx.fcw = (uint16_t)(0x37f ^ (rnd() % 4 ? 0 : rnd() & 0xf3f)); /* rounding, precision, unmasked exceptions */
  cpu->fx.mxcsr = rnd() % 4 ? 0x1f80 : 0x1f80 ^ (rnd() & 0xffc0);
  for (int i = 0; i < 8; i++) {
    for (int k = 0; k < 16; k++)
      cpu->fx.xmm[i][k] = (uint8_t)rnd();
    double v = (double)(int32_t)rnd() / 1024;
    float f[2] = {(float)v, (float)(v * 3)};
    if (rnd() % 2)
      memcpy(cpu->fx.xmm[i], &v, 8);
    else
      memcpy(cpu->fx.xmm[i], f, 8);
  }
  cpu->idtr.limit = 0; /* any exception is a triple fault: the case ends */
  cpu->icount = 0;
  cpu->icount_limit = LIMIT;
  cpu->halted = cpu->shutdown = 0;
  cpu->pending = 0;
  cpu->shadow = SHADOW_NONE;
  cpu->eip = CODE + shift;
  cpu->cpl = 0;
  if (w == REAL || w == V86)
    set_real_segments(cpu, w);
  else if (w == PROT16)
    set_16bit_segments(cpu);
  else
    set_32bit_segments(cpu, w);
  if (w != REAL)
    cpu->cr0 |= CR0_PE | (rnd() % 3 ? CR0_NE : 0) | (rnd() % 32 ? 0 : CR0_TS) | (rnd() % 2 ? CR0_MP : 0);
  if (is_paged(w)) {
    cpu->cr0 |= CR0_PG | (rnd() & CR0_WP);
    cpu->cr3 = TABLES;
  }
  tlb_flush(cpu, false);
  cpu_update_mode(cpu);
}

static void set_memory(uint8_t *ram, const uint8_t *program, unsigned size, uint64_t seed, uint32_t shift) {
  rng_state = seed;
  memset(ram + CODE - 0x1000, 0xf4, 0x4000); /* HLT all around */
  memcpy(ram + CODE, program, size);
  for (uint32_t i = 0; i < 0x11000; i += 4) {
    uint32_t v = rnd();
    if (rnd() % 8 == 0)
      v = 0x3ff00000 | (v & 0x800fffff);
    memcpy(ram + DATA + i, &v, 4);
  }
  make_tables(ram, shift);
}

static bool same_fpu(const struct fxsave *a, const struct fxsave *b) {
  return a->fcw == b->fcw && a->fsw == b->fsw && a->ftw == b->ftw && a->fop == b->fop && a->fip == b->fip &&
         a->fcs == b->fcs && a->fdp == b->fdp && a->fds == b->fds && a->mxcsr == b->mxcsr &&
         memcmp(a->st, b->st, sizeof a->st) == 0 && memcmp(a->xmm, b->xmm, 8 * 16) == 0;
}

static bool same_state(const struct cpu *a, const struct cpu *b) {
  bool same = memcmp(a->gpr, b->gpr, sizeof a->gpr) == 0 && a->eip == b->eip && a->eflags == b->eflags &&
              a->icount == b->icount && a->halted == b->halted && a->shutdown == b->shutdown && a->cr2 == b->cr2 &&
              same_fpu(&a->fx, &b->fx);
  for (int s = 0; s < SEG_COUNT; s++)
    same = same && a->seg[s].sel == b->seg[s].sel && a->seg[s].base == b->seg[s].base &&
           a->seg[s].limit == b->seg[s].limit && a->seg[s].attr == b->seg[s].attr;
  return same;
}

static void print_state(const char *name, const struct cpu *c) {
  printf("%-7s eip %08x fl %08x n %llu halt %d shut %d cr2 %08x\n", name, c->eip, c->eflags,
         (unsigned long long)c->icount, c->halted, c->shutdown, c->cr2);
  for (int r = 0; r < 8; r++)
    printf(" %08x", c->gpr[r]);
  printf("\n fcw %04x fsw %04x ftw %02x fop %03x fip %04x:%08x fdp %04x:%08x mxcsr %04x\n", c->fx.fcw, c->fx.fsw,
         c->fx.ftw, c->fx.fop, c->fx.fcs, c->fx.fip, c->fx.fds, c->fx.fdp, c->fx.mxcsr);
}

static void print_diff(const struct cpu *a, const struct cpu *b) {
  print_state("interp", a);
  print_state("tlb", b);
  for (int i = 0; i < 8; i++) {
    if (memcmp(a->fx.st[i], b->fx.st[i], 16))
      printf(" st%d differs\n", i);
    if (memcmp(a->fx.xmm[i], b->fx.xmm[i], 16))
      printf(" xmm%d differs\n", i);
  }
  for (int s = 0; s < SEG_COUNT; s++)
    if (a->seg[s].sel != b->seg[s].sel || a->seg[s].base != b->seg[s].base)
      printf(" seg%d %04x/%08x %04x/%08x\n", s, a->seg[s].sel, a->seg[s].base, b->seg[s].sel, b->seg[s].base);
}

static struct machine *new_machine(const char *name) {
  const char *options;
  const struct engine *engine = engine_find(name, &options);
  if (!engine) {
    fprintf(stderr, "lockstep-random: no engine '%s'\n", name);
    exit(1);
  }
  struct machine_config config = {
      .ram_mb = RAM >> 20, .cpu_model = cpu_model_find("max"), .engine = engine, .engine_options = options,
      .counted = true};
  struct machine *m = machine_new(&config);
  if (!m)
    exit(1);
  mem_map_ram(m->mem, 0, RAM, m->ram, 0);
  return m;
}

/*
 * A repeated string instruction with a huge count counts as one and may take minutes. A case that runs for long is
 * cut off and says nothing.
 */
static volatile sig_atomic_t cut_off;
static unsigned cut_count;
static struct cpu *volatile cut_cpu[2];

static void on_alarm(int sig) {
  (void)sig;
  cut_off = 1;
  for (int i = 0; i < 2; i++)
    __atomic_fetch_or(&cut_cpu[i]->pending, PEND_EXIT, __ATOMIC_SEQ_CST);
}

static void set_alarm(unsigned ms) {
  struct itimerval t = {.it_value = {.tv_usec = ms * 1000}};
  cut_off = 0;
  setitimer(ITIMER_VIRTUAL, &t, NULL);
}

static bool in_slices;

static void run(struct cpu *cpu, const struct engine *engine) {
  uint64_t limit = cpu->icount_limit;
  for (unsigned i = 0; i < 1000 && !cut_off && !cpu->shutdown && cpu->icount < limit; i++) {
    if (cpu->halted && !cpu_event_deliverable(cpu)) /* a trap may follow HLT */
      break;
    cpu->pending &= ~PEND_EXIT;
    uint64_t slice = cpu->icount + 1 + i * 7 % 11;
    cpu->icount_limit = in_slices && engine != &engine_interp && slice < limit ? slice : limit;
    engine->run(cpu);
  }
  cpu->icount_limit = limit;
}

/* Both stopped at a fault: go on behind the faulting instruction. False when the program is over. */
static bool skip_fault(struct machine *m) {
  struct cpu *cpu = m->cpu[0];
  uint32_t pa;
  struct insn in;
  if (!cpu->shutdown || !paging_probe(cpu, cpu->seg[CS].base + cpu->eip, &pa) || pa >= RAM - 16)
    return false;
  if (insn_decode(&in, m->ram->host + pa, INSN_MAX, cpu->mode & MODE_CODE32, cpu->features) != INSN_OK)
    in.length = 1;
  cpu->eip += in.length;
  cpu->shutdown = 0;
  cpu->icount++;
  cpu->exc_depth_vector = ~0u;
  return cpu->icount < cpu->icount_limit;
}

static bool one_case(struct machine *a, struct machine *b, uint64_t seed, bool verbose) {
  uint8_t program[PROGRAM * 16];
  unsigned size = 0;
  rng_state = seed * 0x9e3779b97f4a7c15ull | 1;
  for (int i = 0; i < 8; i++)
    rnd();
  enum world w = (enum world)(rnd() % WORLDS);
  sticky = w != REAL && rnd() % 2 ? (int)(3 + 3 * (rnd() % 2)) : -1; /* EBX or ESI */
  for (unsigned i = 0; i < PROGRAM; i++) {
    uint8_t buf[40];
    unsigned n = make_insn(buf, w);
    memcpy(program + size, buf, n);
    size += n;
  }
  uint64_t memory_seed = rng_state, state_seed = rng_state ^ 0x55555555;
  if (b->config.engine->flush)
    b->config.engine->flush(b->cpu[0]);
  uint32_t shift = code_shift(w, seed * 0x9e3779b97f4a7c15ull);
  set_memory(a->ram->host, program, size, memory_seed, shift);
  set_memory(b->ram->host, program, size, memory_seed, shift);
  set_state(a->cpu[0], w, state_seed, shift);
  set_state(b->cpu[0], w, state_seed, shift);
  bool same, more;
  in_slices = rnd() % 2;
  set_alarm(100);
  do {
    run(a->cpu[0], a->config.engine);
    run(b->cpu[0], b->config.engine);
    same = same_state(a->cpu[0], b->cpu[0]);
    more = same && skip_fault(a) == skip_fault(b) && !a->cpu[0]->shutdown && !a->cpu[0]->halted &&
           a->cpu[0]->icount < LIMIT;
  } while (more && !cut_off);
  bool cut = cut_off;
  set_alarm(0);
  if (cut) {
    cut_count++;
    memset(a->ram->host, 0, RAM);
    memset(b->ram->host, 0, RAM);
    return true;
  }
  bool memory = memcmp(a->ram->host, b->ram->host, RAM) == 0;
  if (!same || !memory || verbose) {
    printf("%s: seed %llu, %s, %u bytes\n", same && memory ? "ok" : "MISMATCH", (unsigned long long)seed,
           world_name[w], size);
    for (unsigned i = 0; i < size;) {
      struct insn in;
      if (insn_decode(&in, program + i, 15, !is_16bit(w), ~0ull) != INSN_OK)
        break;
      printf("  %04x %-12s", i, insn_describe(&in)->mnemonic);
      for (unsigned k = 0; k < in.length; k++)
        printf(" %02x", program[i + k]);
      printf("\n");
      i += in.length;
    }
    print_diff(a->cpu[0], b->cpu[0]);
    for (uint32_t i = 0; i < RAM && !memory; i++)
      if (a->ram->host[i] != b->ram->host[i]) {
        printf("  memory differs at %08x: %02x %02x\n", i, a->ram->host[i], b->ram->host[i]);
        break;
      }
  }
  if (!memory) { /* one case must not fail the next */
    memset(a->ram->host, 0, RAM);
    memset(b->ram->host, 0, RAM);
  }
  return same && memory;
}

int main(int argc, char **argv) {
  uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 0) : 1;
  uint64_t cases = argc > 2 ? strtoull(argv[2], NULL, 0) : 2000;
  struct machine *a = new_machine("interp"), *b = new_machine(argc > 3 ? argv[3] : "tlb");
  unsigned long long failed = 0;
  cut_cpu[0] = a->cpu[0];
  cut_cpu[1] = b->cpu[0];
  signal(SIGVTALRM, on_alarm);
  for (uint64_t i = 0; i < cases; i++)
    if (!one_case(a, b, seed + i, cases == 1) && ++failed == 10)
      break;
  if (cut_count)
    printf("%u of them cut off\n", cut_count);
  printf("%llu passed, %llu failed\n", (unsigned long long)cases - failed, failed);
  machine_free(a);
  machine_free(b);
  return failed != 0;
}
