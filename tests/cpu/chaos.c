/* SPDX-License-Identifier: MIT */
/*
 * Hostile guests: random descriptor tables, gates, page tables and TSSs, and code made of system instructions with
 * random operands, run by both engines side by side. They must survive and agree: after each slice every register
 * of cpu_fields and all of memory are compared. Usage: chaos [-n CASES] [-s SEED] [-1] [-v] [-d]; -1 compares after
 * each instruction, -d logs events.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "core/desc.h"
#include "core/log.h"
#include "core/machine.h"
#include "core/mem.h"
#include "core/state.h"
#include "translate/translate.h"

#define RAM_MB 2
#define GDT 0x1000u
#define IDT 0x2000u
#define TSS 0x3000u
#define LDT 0x4000u
#define PAGES 0x10000u
#define PDPT (PAGES + 0x3000u)
#define CODE 0x20000u
#define CODE_SIZE 0x10000u
#define SLICES 60

static struct machine *machines[2];
static uint64_t rng;
static bool single, verbose;
static bool interrupts; /* this case has them; then it has no REP, whose pauses depend on the engine's page states */

static uint32_t rnd(uint32_t n) { /* xorshift64*; 0 .. n - 1 */
  rng ^= rng >> 12;
  rng ^= rng << 25;
  rng ^= rng >> 27;
  return (uint32_t)((rng * 2685821657736338717ull) >> 32) % n;
}
static bool chance(uint32_t percent) { return rnd(100) < percent; }
#define PICK(array) ((array)[rnd(sizeof(array) / sizeof((array)[0]))])

static void put32(uint8_t *ram, uint32_t pa, uint32_t v) { memcpy(ram + pa, &v, 4); }
static void put64(uint8_t *ram, uint32_t pa, uint64_t v) { memcpy(ram + pa, &v, 8); }

/* --- tables --- */

static uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t access, uint32_t flags) {
  return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(access & 0xff) << 40 |
         (uint64_t)(limit >> 16 & 15) << 48 | (uint64_t)flags << 52 | (uint64_t)(base >> 24) << 56;
}

static uint16_t selector(void) { return (uint16_t)(rnd(40) << 3 | (chance(10) ? 4 : 0) | (chance(50) ? 3 : rnd(4))); }

static uint64_t random_descriptor(void) {
  static const uint8_t segments[] = {0x9b, 0x93, 0xfb, 0xf3, 0x9a, 0xf2, 0x97, 0xf7,
                                     0x9f, 0xfe, 0x91, 0xf9, 0xbb, 0xb3};
  static const uint8_t systems[] = {0x82, 0x89, 0x81, 0xe9, 0x8b};
  static const uint8_t gates[] = {0xec, 0x8c, 0xe4, 0xe5, 0x85};
  static const uint32_t bases[] = {0, 0, 0, CODE, 0x30000, 0x40000};
  static const uint32_t limits[] = {0xfffff, 0xfffff, 0xffff, 0x7fff, 0x1ff};
  uint32_t kind = rnd(100);
  if (kind < 75)
    return descriptor(PICK(bases), PICK(limits), PICK(segments), chance(60) ? 0xc : chance(50) ? 4 : 0);
  if (kind < 85)
    return descriptor(TSS + rnd(4) * 0x100, 0x67 + rnd(0x90), PICK(systems), 0);
  if (kind < 95)
    return (uint64_t)PICK(gates) << 40 | rnd(0x10000) | (uint64_t)selector() << 16 | (uint64_t)rnd(8) << 32;
  return (uint64_t)rnd(0xffffffff) << 32 | rnd(0xffffffff);
}

static void make_tables(uint8_t *ram) {
  static const uint8_t gate_types[] = {0xee, 0x8e, 0x8f, 0xef, 0x86, 0xe7, 0x85};
  for (uint32_t i = 1; i < 40; i++)
    put64(ram, GDT + i * 8, random_descriptor());
  put64(ram, GDT + 8, descriptor(0, 0xfffff, 0x9b, 0xc));
  put64(ram, GDT + 16, descriptor(0, 0xfffff, 0x93, 0xc));
  put64(ram, GDT + 24, descriptor(0, 0xfffff, 0xfb, 0xc));
  put64(ram, GDT + 32, descriptor(0, 0xfffff, 0xf3, 0xc));
  put64(ram, GDT + 40, descriptor(TSS, 0xff, 0x89, 0));
  put64(ram, GDT + 48, descriptor(CODE, 0xffff, 0x9b, 0));
  put64(ram, GDT + 56, descriptor(0x30000, 0xffff, 0x93, 0));
  put64(ram, GDT + 64, descriptor(LDT, 0x7f, 0x82, 0));
  for (uint32_t i = 0; i < 16; i++)
    put64(ram, LDT + i * 8, random_descriptor());
  for (uint32_t i = 0; i < 256; i++) {
    uint64_t sel = chance(70) ? 8 : chance(50) ? 48 : selector();
    uint64_t off = sel == 8 ? CODE + rnd(CODE_SIZE) : rnd(CODE_SIZE);
    put64(ram, IDT + i * 8, (off & 0xffff) | sel << 16 | (uint64_t)PICK(gate_types) << 40 | (off >> 16) << 48);
    put32(ram, i * 4, (CODE >> 4) << 16 | rnd(CODE_SIZE)); /* real mode */
  }
  for (uint32_t t = 0; t < 4; t++) {
    uint32_t base = TSS + t * 0x100;
    for (uint32_t i = 0; i < 3; i++) {
      put32(ram, base + 4 + i * 8, 0x38000 + i * 0x1000);
      put32(ram, base + 8 + i * 8, i == 0 ? 16 : selector());
    }
    put32(ram, base + 0x1c, PAGES);
    put32(ram, base + 0x20, CODE + rnd(CODE_SIZE));
    put32(ram, base + 0x24, rnd(0x400000) & ~0x100u);
    put32(ram, base + 0x38, 0x3c000);
    for (uint32_t i = 0; i < 6; i++)
      put32(ram, base + 0x48 + i * 4, i == 1 ? 8 : i == 2 ? 16 : selector());
    put32(ram, base + 0x60, chance(50) ? 64 : 0);
    put32(ram, base + 0x64, 0x880000);
  }
  /* Accessed already: a translator reads code ahead, as processors do. */
  static const uint32_t rights[] = {0x27, 0x27, 0x27, 0x27, 0x27, 0x67, 0x127, 0x25, 0x23, 6};
  for (uint32_t i = 0; i < 1024; i++) {
    put32(ram, PAGES + i * 4, (PAGES + 0x1000) | 0x27); /* the same table everywhere: aliases */
    uint32_t page = i % (RAM_MB * 256);
    uint32_t entry = page << 12 | (i < 0x40 && i != 0x30 ? 0x27 : PICK(rights));
    if (page >= PAGES >> 12 && page < (PAGES >> 12) + 6)
      entry = 0; /* stale TLB entries, which may differ, would come from stores there */
    put32(ram, PAGES + 0x1000 + i * 4, entry);
    if (i < 512) { /* the same with PAE: one directory, one table */
      put64(ram, PAGES + 0x4000 + i * 8, (PAGES + 0x5000) | 0x27);
      put64(ram, PAGES + 0x5000 + i * 8, entry | (chance(4) ? 1ull << 63 : 0));
    }
  }
  for (uint32_t i = 0; i < 4; i++)
    put64(ram, PDPT + i * 8, (PAGES + 0x4000) | 1);
}

/* --- code: templates; s = selector, i = byte, w = word, d = doubleword, a = an address, m = ModRM --- */

static const char *const templates[] = {
  "8e m", "8c m", "07", "17", "1f", "0f a1", "0f a9", "06", "0e", "16", "1e", "9c", "9d", "9c 9d", "fa", "fb", "f4",
  "cd i", "cc", "ce", "cf", "cb", "ca 04 00", "c3", "9a d s", "ea d s", "ea c s", "ff m", "c4 m", "c5 m", "0f b2 m",
  "0f b4 m", "0f 00 m", "0f 01 m", "0f 02 m", "0f 03 m", "0f 06", "0f 20 i", "0f 22 i", "0f 21 i", "0f 23 i", "63 m",
  "60", "61", "c8 w 02", "c9", "e4 e0", "e6 e0", "6c", "6e", "a4", "a5", "f3 a4", "f3 ab", "f2 ae", "f3 a6", "aa",
  "66", "67", "f0", "2e", "36", "64", "b8 d", "b8 s 00 00", "bb s 00 00", "b9 i 00 00 00", "bc a", "bf a", "be a",
  "bd a", "50", "58", "53", "5b", "ff 30", "8f 00", "87 m", "01 m", "81 m d", "0f b1 m", "0f c1 m", "0f c7 m", "f6 m",
  "f7 m", "e8 04 00 00 00", "eb i", "74 i", "e2 i", "90", "0f 0b", "0f a2", "0f 31", "0f 34", "0f 35", "0f 08", "62 m",
  "68 d", "6a i", "c6 05 c i", "c7 05 c d", "ff 05 a", "d8 m", "0f 6f m", "0f 28 m", "e0 i", "d4 0a", "37", "a0 a",
  "a3 a", "0f 30", "0f 32", "b9 74 01 00 00", "f1", "6d", "6f", "d9 m", "db m", "0f ae m", "9b", "0f ba m i",
};
/* Between them, so that there is something to translate. */
static const char *const plain[] = {
  "01 m", "29 m", "31 m", "85 m", "39 m", "8b m", "89 m", "0f b6 m", "0f bf m", "83 m i", "c1 m i", "d3 m", "40", "4b",
  "8d m", "0f af m", "0f 95 m", "0f 44 m", "66 01 m", "00 m", "a8 i", "72 i", "7d i", "50", "5a", "e8 10 00 00 00",
  "67 8b m", "0f a4 m i", "99", "98", "f7 m", "fe m", "ff m", "0f c8", "9e", "9f", "f8", "fc", "fd", "91", "86 m", "a4",
  "ab", "f3 aa", "dd m", "d9 e8", "d9 c0", "de c1", "0f fe m", "66 0f fe m", "0f 58 m", "f3 0f 59 m", "66 0f 38 00 m",
  "0f 38 f0 m", "f3 0f b8 m", "0f ab m", "0f bc m", "d5 0a", "2f", "0f 18 m",
};

static uint8_t *emit(uint8_t *p, const char *t) {
  uint32_t v;
  for (; *t; t++) {
    if (*t == ' ')
      continue;
    switch (*t) {
    case 's':
      v = selector();
      memcpy(p, &v, 2), p += 2;
      break;
    case 'i': *p++ = (uint8_t)rnd(256); break;
    case 'w':
      v = rnd(64);
      memcpy(p, &v, 2), p += 2;
      break;
    case 'm': /* registers, or memory with a small displacement */
      v = rnd(256);
      *p++ = (uint8_t)v;
      if ((v >> 6) == 1)
        *p++ = (uint8_t)rnd(256);
      break;
    default:
      if (strchr("acd", *t) && (t[1] == ' ' || t[1] == 0) && t[-1] == ' ') {
        v = *t == 'a' ? 0x30000 + rnd(0x10000) : *t == 'c' ? CODE + rnd(CODE_SIZE) : rnd(0xffffffff);
        memcpy(p, &v, 4), p += 4;
      } else {
        char hex[3] = {t[0], t[1], 0};
        *p++ = (uint8_t)strtoul(hex, NULL, 16);
        t++;
      }
    }
  }
  return p;
}

static const char *pick_template(uint32_t plain_share) {
  for (;;) {
    const char *t = chance(plain_share) ? PICK(plain) : chance(97) ? PICK(templates) : "i i";
    if (!interrupts || (strncmp(t, "f3 a", 4) != 0 && strncmp(t, "f2 a", 4) != 0))
      return t;
  }
}

static void make_code(uint8_t *ram) {
  interrupts = chance(40);
  uint32_t plain_share = rnd(100);
  uint8_t *p = ram + CODE, *end = ram + CODE + CODE_SIZE - 32;
  while (p < end)
    p = emit(p, pick_template(plain_share));
}

/* --- the CPU --- */

static void load(struct cpu *c, int seg, uint16_t sel, const uint8_t *ram) {
  struct desc d;
  memcpy(&d, ram + GDT + (sel & ~7u), 8);
  seg_from_desc(&c->seg[seg], sel, d);
}

static int acknowledge(void *opaque) {
  cpu_set_intr(opaque, false);
  return (int)(cpu_icount(opaque) & 0xff);
}

static void make_cpu(struct cpu *c, const uint8_t *ram, uint64_t seed) {
  rng = seed * 0x9e3779b97f4a7c15ull + 1;
  rnd(2);
  cpu_reset(c);
  cpu_set_intr(c, false);
  __atomic_and_fetch(&c->pending, 0, __ATOMIC_SEQ_CST);
  c->gdtr = (struct dtr){GDT, 40 * 8 - 1};
  c->eflags = FL_1 | (chance(50) ? FL_IOPL : 0) | (chance(5) ? FL_TF : 0);
  for (int i = 0; i < 8; i++)
    c->gpr[i] = chance(50) ? 0x30000 + rnd(0x10000) : rnd(0xffffffff);
  c->gpr[ECX] = rnd(64);
  c->gpr[ESP] = 0x3a000;
  uint32_t mode = rnd(4); /* real, ring 0, ring 3, V86 */
  if (mode == 0) {
    c->idtr = (struct dtr){0, 0x3ff};
    for (int i = ES; i <= GS; i++)
      seg_load_real(c, i, i == CS ? CODE >> 4 : 0x3000);
    c->gpr[ESP] &= 0xffff;
  } else {
    c->idtr = (struct dtr){IDT, 0x7ff};
    c->cr0 = CR0_PE | CR0_ET | (chance(50) ? CR0_NE : 0) | (chance(50) ? CR0_WP : 0) | (chance(20) ? CR0_AM : 0);
    c->cr4 = CR4_OSFXSR | (chance(30) ? CR4_VME : 0) | (chance(30) ? CR4_PGE : 0) | (chance(20) ? CR4_DE : 0);
    if (chance(60))
      c->cr0 |= CR0_PG;
    c->cr3 = PAGES;
    if (chance(30)) {
      c->cr4 |= CR4_PAE;
      c->cr3 = PDPT;
      c->efer = chance(80) ? EFER_NXE : 0;
      for (int i = 0; i < 4; i++)
        c->pdpte[i] = (PAGES + 0x4000) | 1;
    }
    load(c, TR, 40, ram);
    c->cpl = mode == 1 ? 0 : 3;
    for (int i = ES; i <= GS; i++)
      load(c, i, (uint16_t)(i == CS ? mode == 1 ? 8 : 27 : mode == 1 ? 16 : 35), ram);
    if (mode == 3) {
      c->eflags |= FL_VM;
      for (int i = ES; i <= GS; i++)
        seg_make_v86(&c->seg[i], i == CS ? CODE >> 4 : 0x3000);
      c->gpr[ESP] &= 0xffff;
    }
  }
  c->eip = rnd(CODE_SIZE) + (mode == 0 || mode == 3 ? 0 : CODE);
  c->next_eip = c->eip;
  if (chance(15)) {
    c->dr[0] = chance(50) ? 0x30000 + rnd(0x10000) : CODE + rnd(CODE_SIZE);
    c->dr[7] = 0x400 | rnd(4) << 16 | rnd(4) << 18 | 2;
    control_update_debug(c);
  }
  c->icount = 0;
  c->intr_ack = acknowledge;
  c->intr_ack_opaque = c;
  c->sysenter_cs = 8;
  c->sysenter_esp = 0x3b000;
  c->sysenter_eip = CODE + 0x100;
  tlb_flush(c, false);
  cpu_update_mode(c);
}

/* --- comparison --- */

static void on_alarm(int sig) {
  (void)sig;
  for (int i = 0; i < 2; i++)
    if (machines[i])
      __atomic_or_fetch(&machines[i]->cpu[0]->pending, PEND_EXIT, __ATOMIC_SEQ_CST);
}

static bool is_stuck(struct cpu *c) { return c->shutdown || (c->halted && !cpu_event_deliverable(c)); }

static bool compare(uint64_t seed, int slice, uint32_t before_cs, uint32_t before_eip) {
  struct cpu *a = machines[0]->cpu[0], *b = machines[1]->cpu[0];
  a->fx.mxcsr_mask = b->fx.mxcsr_mask; /* the host's own; guests are shown the model's */
  const struct field *f = state_diff(a, b, cpu_fields());
  const uint8_t *ra = machines[0]->ram->host, *rb = machines[1]->ram->host;
  if (f == NULL && cpu_icount(a) == cpu_icount(b) && memcmp(ra, rb, RAM_MB << 20) == 0)
    return true;
  printf("case %llu slice %d, slice began at %04x:%08x: %s differs\n", (unsigned long long)seed, slice, before_cs,
         before_eip, f ? f->name : cpu_icount(a) != cpu_icount(b) ? "instruction count" : "memory");
  printf("  icount %llu, %llu; eip %08x, %08x; mode %05x, %05x\n", (unsigned long long)cpu_icount(a),
         (unsigned long long)cpu_icount(b), a->eip, b->eip, a->mode, b->mode);
  for (f = cpu_fields(); f->kind != FIELD_END; f++) {
    struct field one[2] = {*f, FIELDS_END};
    if (state_diff(a, b, one) == NULL)
      continue;
    printf("  ");
    state_print(stdout, a, one);
    printf("  ");
    state_print(stdout, b, one);
  }
  for (uint32_t i = 0, shown = 0; i < RAM_MB << 20 && shown < 8; i++)
    if (ra[i] != rb[i]) {
      printf("  memory %06x: %02x, %02x\n", i, ra[i], rb[i]);
      shown++;
    }
  return false;
}

static bool run_case(uint64_t seed) {
  for (int m = 0; m < 2; m++) {
    uint8_t *ram = machines[m]->ram->host;
    if (machines[m]->config.engine->flush)
      machines[m]->config.engine->flush(machines[m]->cpu[0]);
    memset(ram, 0, RAM_MB << 20);
    rng = seed * 0x2545f4914f6cdd1dull + 99;
    make_tables(ram);
    make_code(ram);
    make_cpu(machines[m]->cpu[0], ram, seed);
  }
  struct cpu *a = machines[0]->cpu[0], *b = machines[1]->cpu[0];
  for (int slice = 0; slice < (single ? SLICES * 20 : SLICES); slice++) {
    uint64_t length = single ? 1 : 1 + rnd(300);
    uint32_t cs = a->seg[CS].sel, eip = a->eip;
    struct itimerval timer = {.it_value = {.tv_usec = 30000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    bool intr = interrupts && chance(40), nmi = interrupts && chance(4);
    for (int m = 0; m < 2; m++) {
      struct cpu *c = machines[m]->cpu[0];
      if (intr)
        cpu_set_intr(c, true);
      if (nmi)
        cpu_pulse_nmi(c);
      uint64_t limit = cpu_icount(c) + length;
      c->icount_limit = limit;
      if (log_on(LOG_INT))
        fprintf(log_file(), "slice %d, %s\n", slice, machines[m]->config.engine->name);
      machines[m]->config.engine->run(c);
      if (cpu_icount(c) < limit && !is_stuck(c)) { /* endless faults: nothing retires */
        if (verbose)
          printf("case %llu: livelock\n", (unsigned long long)seed);
        __atomic_and_fetch(&a->pending, ~PEND_EXIT, __ATOMIC_SEQ_CST);
        __atomic_and_fetch(&b->pending, ~PEND_EXIT, __ATOMIC_SEQ_CST);
        return true;
      }
    }
    if (!compare(seed, slice, cs, eip))
      return false;
    if (is_stuck(a))
      break;
  }
  if (verbose)
    printf("case %llu: %llu instructions%s\n", (unsigned long long)seed, (unsigned long long)cpu_icount(a),
           a->shutdown ? ", shutdown" : a->halted ? ", halted" : "");
  return true;
}

int main(int argc, char **argv) {
  uint64_t cases = 1000, seed = 1, passed = 0, failed = 0;
  const char *second = "tlb";
  int option;
  setvbuf(stdout, NULL, _IOLBF, 0);
  while ((option = getopt(argc, argv, "n:s:e:1vd")) != -1) {
    switch (option) {
    case 'n': cases = strtoull(optarg, NULL, 0); break;
    case 'e': second = optarg; break;
    case 's': seed = strtoull(optarg, NULL, 0); break;
    case '1': single = true; break;
    case 'v': verbose = true; break;
    case 'd': log_mask = LOG_INT; break;
    default: return EXIT_FAILURE;
    }
  }
  const char *options[2] = {NULL, NULL};
  const struct engine *const engines[2] = {&engine_interp, engine_find(second, &options[1])};
  if (!engines[1])
    return EXIT_FAILURE;
  for (int m = 0; m < 2; m++) {
    struct machine_config config = {.ram_mb = RAM_MB, .cpu_model = cpu_model_find("max"), .engine = engines[m],
                                    .engine_options = options[m], .counted = true};
    machines[m] = machine_new(&config);
    if (!machines[m])
      return EXIT_FAILURE;
    mem_map_ram(machines[m]->mem, 0, RAM_MB << 20, machines[m]->ram, 0);
  }
  signal(SIGALRM, on_alarm);
  for (uint64_t i = 0; i < cases && failed < 5; i++) {
    if (run_case(seed + i))
      passed++;
    else
      failed++;
  }
  signal(SIGALRM, SIG_IGN);
  for (int m = 0; m < 2; m++)
    machine_free(machines[m]);
  printf("%llu passed, %llu failed\n", (unsigned long long)passed, (unsigned long long)failed);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
