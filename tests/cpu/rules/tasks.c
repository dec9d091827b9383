/* SPDX-License-Identifier: MIT */
/*
 * Task switches by JMP, CALL, INT n, exceptions with an error code and IRET, between 16- and 32-bit TSSs:
 * what is saved and loaded, busy bits, back link, NT and TS; and a fault at each step, before the switch in
 * the old task and behind it in the new one (SDM vol. 3, 7.3, tables 7-1 and 7-2).
 */
#include "tests/cpu/rules/rules.h"

#define AT_JMP CODE
#define AT_CALL (CODE + 0x20)
#define AT_INT (CODE + 0x40)
#define AT_GP (CODE + 0x60)
#define AT_IRET (CODE + 0x80)
#define VECTOR 0x92u
#define TARGET 0x4800u /* INT3; 16 bits are enough to name it */
#define NEW_STACK 0x60000u
#define PAGE_DIR 0x100000u
#define PAGE_TABLE 0x101000u

enum way { BY_JMP, BY_CALL, BY_INT, BY_EXCEPTION, BY_IRET, WAYS };
static const uint32_t entry[WAYS] = {AT_JMP, AT_CALL, AT_INT, AT_GP, AT_IRET};
static const char *const way_names[] = {"jmp", "call", "int", "exception", "iret"};

struct plan {
  enum way way;
  bool from32, to32;
};

static bool nests(enum way w) { return w == BY_CALL || w == BY_INT || w == BY_EXCEPTION; }
static uint16_t new_sel(const struct plan *p) { return p->to32 ? S_TSS_B : S_TSS_C; }
static uint32_t new_base(const struct plan *p) { return p->to32 ? TSS_B : TSS_C; }

/* The new task's field for a segment: ES CS SS DS FS GS LDT. */
static uint32_t segment_field(const struct plan *p, int n) {
  if (n == LDTR)
    return new_base(p) + (p->to32 ? 0x60 : 0x2a);
  return new_base(p) + (p->to32 ? 0x48 + 4 * (uint32_t)n : 0x22 + 2 * (uint32_t)n);
}

static void new_task(struct bed *b, const struct plan *p) {
  uint32_t at = new_base(p);
  put_zero(b, at, 0x68);
  if (p->to32) {
    put32(b, at + 4, STACK(0));
    put32(b, at + 8, R_DATA(0));
    put32(b, at + 0x20, TARGET);
    put32(b, at + 0x24, 0x3002 | FL_CF);
    for (uint32_t i = 0; i < 8; i++)
      put32(b, at + 0x28 + 4 * i, i == ESP ? 0x800 : 0xa0a0a0a0 + i);
    put32(b, at + 0x1c, b->cpu->cr3);
  } else {
    put16(b, at + 2, 0x7f00);
    put16(b, at + 4, S_STACK);
    put16(b, at + 0x0e, TARGET);
    put16(b, at + 0x10, 0x3002 | FL_CF);
    for (uint32_t i = 0; i < 8; i++)
      put16(b, at + 0x12 + 2 * i, (uint16_t)(i == ESP ? 0x800 : 0xb0b0 + i));
  }
  for (int i = ES; i <= (p->to32 ? GS : DS); i++)
    put16(b, segment_field(p, i), (uint16_t)(i == CS ? R_CODE(3) : i == SS ? S_TARGET | 3 : R_DATA(3)));
}

static void prepare(struct bed *b, const struct plan *p) {
  bed_tables(b);
  bed_ring(b, 0);
  put_desc(b, S_STACK, 0x30000, 0xffff, 0x93, 0);
  put_desc(b, S_TARGET, NEW_STACK, 0xfff, 0xf3, p->to32 ? 4 : 0);
  put_desc(b, S_TSS, TSS, p->from32 ? 0x67 : 0x2b, p->from32 ? 0x8b : 0x83, 0);
  struct seg *tr = &b->cpu->seg[TR];
  tr->attr = (uint16_t)(SEG_P | (p->from32 ? 11 : 3));
  tr->limit = p->from32 ? 0x67 : 0x2b;
  bool iret = p->way == BY_IRET;
  put_desc(b, S_TSS_B, TSS_B, 0x67, iret ? 0x8b : 0x89, 0);
  put_desc(b, S_TSS_C, TSS_C, 0x2b, iret ? 0x83 : 0x81, 0);
  if (iret) {
    b->cpu->eflags |= FL_NT;
    put16(b, TSS, new_sel(p));
  }
  put_gate(b, IDT + 8 * VECTOR, new_sel(p), 0, 0xe5, 0);
  new_task(b, p);
  put32(b, DATA, 0);
  put16(b, DATA + 4, new_sel(p));
  b->cpu->gpr[EBX] = DATA;
  b->cpu->cr0 &= ~CR0_TS;
  cpu_update_mode(b->cpu);
}

static struct outcome switch_task(struct bed *b, const struct plan *p) {
  if (p->way == BY_EXCEPTION) {
    put_gate(b, IDT + 8 * EXC_NP, new_sel(p), 0, 0x85, 0);
    put_desc(b, S_TEST, 0, 0xfffff, 0x13, 0xc);
    b->cpu->gpr[EAX] = S_TEST;
  }
  struct outcome o = run(b, entry[p->way]);
  put_gate(b, IDT + 8 * EXC_NP, R_CODE(0), HANDLERS + 16 * EXC_NP, 0x8e, 0);
  return o;
}

/* --- a switch that works --- */

static void check_saved(struct bed *b, const struct plan *p, const uint32_t *gpr, uint32_t next) {
  unsigned size = p->from32 ? 4 : 2;
  uint32_t mask = p->from32 ? ~0u : 0xffff, at = TSS + (p->from32 ? 0x20 : 0x0e);
  uint32_t eip = p->from32 ? get32(b, at) : get16(b, at);
  verdict(b, eip == (next & mask), "%s: saved EIP %x, not %x", way_names[p->way], eip, next);
  uint32_t flags = p->from32 ? get32(b, at + size) : get16(b, at + size);
  uint32_t want = FL_1 | (p->way == BY_EXCEPTION && p->from32 ? FL_RF : 0);
  verdict(b, flags == want, "%s: saved EFLAGS %x, not %x", way_names[p->way], flags, want);
  for (uint32_t i = 0; i < 8; i++) {
    uint32_t v = p->from32 ? get32(b, at + 8 + 4 * i) : get16(b, at + 4 + 2 * i);
    verdict(b, v == (gpr[i] & mask), "%s: saved register %u: %x", way_names[p->way], i, v);
  }
  uint32_t segs = at + 10 * size;
  for (uint32_t i = 0; i < (p->from32 ? 6u : 4u); i++)
    verdict(b, get16(b, segs + size * i) == (i == CS ? R_CODE(0) : R_DATA(0)), "%s: saved segment %u",
            way_names[p->way], i);
}

static void check_loaded(struct bed *b, const struct plan *p, const struct outcome *o) {
  struct cpu *c = b->cpu;
  verdict(b, c->seg[TR].sel == new_sel(p) && c->seg[TR].base == new_base(p), "%s: TR %04x", way_names[p->way],
          c->seg[TR].sel);
  verdict(b, (c->cr0 & CR0_TS) != 0, "%s: TS", way_names[p->way]);
  verdict(b, o->eip == TARGET + 1 && o->cs == R_CODE(3) && o->ss == (S_TARGET | 3),
          "%s: CS:EIP %04x:%08x SS %04x", way_names[p->way], o->cs, o->eip, o->ss);
  uint32_t want = 0x3002 | FL_CF | (nests(p->way) ? FL_NT : 0);
  uint32_t flags = p->to32 ? o->eflags : get32(b, o->frame + 8);
  verdict(b, flags == want, "%s: EFLAGS %x, not %x", way_names[p->way], flags, want);
  for (int i = 0; i < 8; i++)
    if (i != ESP)
      verdict(b, p->to32 ? c->gpr[i] == 0xa0a0a0a0u + (unsigned)i : (uint16_t)c->gpr[i] == 0xb0b0 + i,
              "%s: register %d is %x", way_names[p->way], i, c->gpr[i]);
  unsigned error_size = p->way != BY_EXCEPTION ? 0 : p->to32 ? 4 : 2;
  verdict(b, (o->esp & 0xffff) == 0x800 - error_size, "%s: ESP %x", way_names[p->way], o->esp);
  if (error_size)
    verdict(b, get16(b, NEW_STACK + 0x800 - error_size) == S_TEST, "error code on the new stack");
  for (int i = ES; i <= GS; i++)
    if (i != CS && i != SS)
      verdict(b, c->seg[i].sel == (i < FS || p->to32 ? R_DATA(3) : 0), "%s: segment %d is %04x",
              way_names[p->way], i, c->seg[i].sel);
  verdict(b, c->seg[LDTR].sel == 0 && !(c->seg[LDTR].attr & SEG_P), "%s: LDTR", way_names[p->way]);
}

static void check_links(struct bed *b, const struct plan *p) {
  unsigned was = p->from32 ? 9 : 1, is = p->to32 ? 9 : 1;
  unsigned old = get8(b, GDT + S_TSS + 5) & 15, new = get8(b, GDT + new_sel(p) + 5) & 15;
  verdict(b, old == (was | (nests(p->way) ? 2 : 0)), "%s: old TSS of type %u", way_names[p->way], old);
  verdict(b, new == (is | 2), "%s: new TSS of type %u", way_names[p->way], new);
  verdict(b, get16(b, new_base(p)) == (nests(p->way) ? S_TSS : 0), "%s: back link", way_names[p->way]);
}

static void works(struct bed *b, const struct plan *p) {
  static const unsigned length[WAYS] = {2, 2, 2, 0, 1};
  prepare(b, p);
  uint32_t gpr[8];
  memcpy(gpr, b->cpu->gpr, sizeof gpr);
  if (p->way == BY_EXCEPTION)
    gpr[EAX] = S_TEST;
  b->cpu->dr[7] = 0x4ff; /* local and global enables; nothing there is ever executed */
  for (int i = 0; i < 4; i++)
    b->cpu->dr[i] = 0xfff00000;
  control_update_debug(b->cpu);
  struct outcome o = switch_task(b, p);
  expect(b, &o, END, 0, "%s from TSS%d to TSS%d", way_names[p->way], p->from32 ? 32 : 16, p->to32 ? 32 : 16);
  verdict(b, b->cpu->dr[7] == 0x6aa || b->cpu->dr[7] == 0x4aa, "DR7 %x", b->cpu->dr[7]);
  if (o.vector != END)
    return;
  check_saved(b, p, gpr, entry[p->way] + length[p->way]);
  check_loaded(b, p, &o);
  check_links(b, p);
}

/* --- a fault at each step --- */

enum when { OLD, NEW };

static void faults(struct bed *b, const struct plan *p, enum when when, int vector, uint32_t error,
                   const char *what) {
  bool ext = p->way == BY_EXCEPTION;
  struct outcome o = switch_task(b, p);
  /* What is raised while #NP is being delivered makes a double fault of it, if it is of the contributory
   * kind. */
  bool doubled = ext && when == OLD && vector != EXC_PF;
  bool doubled_new = ext && when == NEW;
  if (doubled || doubled_new)
    expect(b, &o, EXC_DF, 0, "%s to TSS%d: %s", way_names[p->way], p->to32 ? 32 : 16, what);
  else
    expect(b, &o, vector, error, "%s to TSS%d: %s", way_names[p->way], p->to32 ? 32 : 16, what);
  verdict(b, b->cpu->seg[TR].sel == (when == OLD ? S_TSS : new_sel(p)), "%s: %s: TR %04x", way_names[p->way],
          what, b->cpu->seg[TR].sel);
  if (when == NEW) {
    verdict(b, o.eip == TARGET || vector == EXC_GP, "%s: %s: EIP %08x", way_names[p->way], what, o.eip);
    check_links(b, p);
    return;
  }
  verdict(b, o.eip == entry[p->way] && o.cs == R_CODE(0), "%s: %s: CS:EIP %04x:%08x", way_names[p->way], what,
          o.cs, o.eip);
  verdict(b, (get8(b, GDT + S_TSS + 5) & 15) == (p->from32 ? 11 : 3),
          "%s: %s: the old task is no longer busy", way_names[p->way], what);
}

static void before_switch(struct bed *b, const struct plan *p) {
  bool iret = p->way == BY_IRET;
  uint16_t sel = new_sel(p);
  unsigned type = p->to32 ? 9 : 1;
  prepare(b, p);
  put_desc(b, sel, new_base(p), p->to32 ? 0x66 : 0x2a, 0x80 | type | (iret ? 2 : 0), 0);
  faults(b, p, OLD, EXC_TS, sel, "TSS too short");
  prepare(b, p);
  put_desc(b, sel, new_base(p), 0x67, type | (iret ? 2 : 0), 0);
  faults(b, p, OLD, EXC_NP, sel, "TSS absent");
  prepare(b, p);
  put_desc(b, sel, new_base(p), 0x67, 0x80 | type | (iret ? 0 : 2), 0);
  faults(b, p, OLD, iret ? EXC_TS : EXC_GP, sel, "busy bit");
  prepare(b, p);
  put_desc(b, sel, new_base(p), 0x67, 0x82, 0);
  faults(b, p, OLD, iret ? EXC_TS : EXC_GP, sel, "not a TSS");
  static const uint16_t bad[] = {4, 0x54, GDT_SIZE, 0xfff8};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    prepare(b, p);
    if (iret) {
      put16(b, TSS, bad[i]);
    } else if (p->way == BY_INT) {
      put_gate(b, IDT + 8 * VECTOR, bad[i], 0, 0xe5, 0);
    } else if (p->way == BY_EXCEPTION) {
      continue;
    } else { /* through a task gate */
      put_gate(b, GDT + S_TASK_GATE, bad[i], 0, 0xe5, 0);
      put16(b, DATA + 4, S_TASK_GATE);
    }
    faults(b, p, OLD, iret ? EXC_TS : EXC_GP, bad[i], "selector");
  }
}

static void behind_switch(struct bed *b, const struct plan *p) {
  static const struct {
    const char *what;
    int seg; /* LDTR for the LDT's */
    uint16_t sel;
    unsigned access; /* of S_TEST; 0: as it is */
    int vector;
    uint32_t error;
  } bad[] = {
      {"LDT is data", LDTR, S_TEST, 0xf3, EXC_TS, S_TEST},
      {"LDT absent", LDTR, S_TEST, 0x02, EXC_TS, S_TEST},
      {"LDT in an LDT", LDTR, 0x0c, 0, EXC_TS, 0x0c},
      {"LDT beyond", LDTR, GDT_SIZE, 0, EXC_TS, GDT_SIZE},
      {"CS null", CS, 3, 0, EXC_TS, 0},
      {"CS is data", CS, S_TEST | 3, 0xf3, EXC_TS, S_TEST},
      {"CS is a gate", CS, S_TEST | 3, 0xec, EXC_TS, S_TEST},
      {"CS of DPL 0", CS, S_TEST | 3, 0x9b, EXC_TS, S_TEST},
      {"CS absent", CS, S_TEST | 3, 0x7b, EXC_NP, S_TEST},
      {"CS beyond", CS, GDT_SIZE | 3, 0, EXC_TS, GDT_SIZE},
      {"CS in no LDT", CS, 0x0f, 0, EXC_TS, 0x0c},
      {"SS null", SS, 0, 0, EXC_TS, 0},
      {"SS is code", SS, S_TEST | 3, 0xfb, EXC_TS, S_TEST},
      {"SS read-only", SS, S_TEST | 3, 0xf1, EXC_TS, S_TEST},
      {"SS of DPL 0", SS, S_TEST | 3, 0x93, EXC_TS, S_TEST},
      {"SS of RPL 0", SS, S_TEST, 0xf3, EXC_TS, S_TEST},
      {"SS absent", SS, S_TEST | 3, 0x73, EXC_SS, S_TEST},
      {"SS beyond", SS, GDT_SIZE | 3, 0, EXC_TS, GDT_SIZE},
      {"DS is a TSS", DS, S_TEST, 0xe9, EXC_TS, S_TEST},
      {"DS execute-only", DS, S_TEST | 3, 0xf9, EXC_TS, S_TEST},
      {"DS of DPL 0", DS, S_TEST, 0x93, EXC_TS, S_TEST},
      {"DS absent", DS, S_TEST | 3, 0x73, EXC_NP, S_TEST},
      {"DS beyond", DS, GDT_SIZE | 3, 0, EXC_TS, GDT_SIZE},
      {"ES of DPL 2", ES, S_TEST | 3, 0xd3, EXC_TS, S_TEST},
      {"ES absent", ES, S_TEST | 3, 0x71, EXC_NP, S_TEST},
      {"FS execute-only", FS, S_TEST | 3, 0xf9, EXC_TS, S_TEST},
      {"GS absent", GS, S_TEST | 3, 0x73, EXC_NP, S_TEST},
  };
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    if (!p->to32 && (bad[i].seg == FS || bad[i].seg == GS))
      continue;
    prepare(b, p);
    if (bad[i].access)
      put_desc(b, S_TEST, 0, 0xfffff, bad[i].access, 0xc);
    if (p->way == BY_EXCEPTION && bad[i].access)
      continue; /* S_TEST is what raises the exception */
    put16(b, segment_field(p, bad[i].seg), bad[i].sel);
    faults(b, p, NEW, bad[i].vector, bad[i].error, bad[i].what);
  }
  prepare(b, p);
  put_desc(b, S_CODE16, 0, TARGET - 1, 0xfb, 4);
  put16(b, segment_field(p, CS), S_CODE16 | 3);
  faults(b, p, NEW, EXC_GP, 0, "EIP beyond CS");
  put_desc(b, S_CODE16, 0, 0xffff, 0x9b, 0);
}

/* Pages of the two TSSs and of the GDT. */
static void page_faults(struct bed *b, const struct plan *p) {
  static const struct {
    const char *what;
    uint32_t page, rights, error;
    bool nesting_only;
  } holes[] = {
      {"old TSS absent", TSS, 0, 2, false}, {"old TSS read-only", TSS, 5, 3, false},
      {"new TSS absent", 0, 0, 0, false},   {"new TSS read-only", 0, 5, 3, true}, /* the back link */
      {"GDT read-only", GDT, 5, 3, false},                                        /* the busy bits */
  };
  for (size_t i = 0; i < sizeof holes / sizeof holes[0]; i++) {
    uint32_t page = holes[i].page ? holes[i].page : new_base(p);
    bool fault = nests(p->way) || !holes[i].nesting_only;
    if (page == TSS && (p->way == BY_IRET || p->way == BY_EXCEPTION) && holes[i].rights == 0)
      continue; /* the back link is read first; an exception in ring 0 needs no TSS */
    for (uint32_t n = 0; n < 1024; n++)
      put32(b, PAGE_TABLE + 4 * n, n << 12 | 7);
    put32(b, PAGE_DIR, PAGE_TABLE | 7);
    prepare(b, p);
    bed_control(b, CR0_PG | CR0_WP, PAGE_DIR, CR4_OSFXSR, 0);
    new_task(b, p);
    put32(b, PAGE_TABLE + 4 * (page >> 12), page | holes[i].rights);
    tlb_flush(b->cpu, false);
    if (fault) {
      bool link = holes[i].page == 0 &&
                  nests(p->way); /* the manual leaves open which access to the new TSS is first */
      faults(b, p, OLD, EXC_PF, holes[i].error | (link ? 2 : 0), holes[i].what);
    } else {
      struct outcome o = switch_task(b, p);
      expect(b, &o, END, 0, "%s: %s", way_names[p->way], holes[i].what);
    }
    bed_ring(b, 0);
  }
}

/* --- V86 tasks --- */

static void to_v86(struct bed *b, enum way way) {
  struct plan p = {way, true, true};
  prepare(b, &p);
  put32(b, TSS_B + 0x24, FL_VM | FL_1 | FL_CF | 0x3000);
  put32(b, TSS_B + 0x38, 0x7000);
  for (uint32_t i = 0; i < 6; i++)
    put32(b, TSS_B + 0x48 + 4 * i, i == CS || i == SS ? 0 : 0x4321 + i);
  struct outcome o = switch_task(b, &p);
  expect(b, &o, END, 0, "%s to a V86 task", way_names[way]);
  if (o.vector != END)
    return;
  verdict(b, o.eip == TARGET + 1 && o.cs == 0 && (o.esp & 0xffff) == (way == BY_EXCEPTION ? 0x6ffc : 0x7000),
          "V86 task: CS:EIP %04x:%08x ESP %08x", o.cs, o.eip, o.esp);
  verdict(b, o.eflags == (FL_VM | FL_1 | FL_CF | 0x3000 | (nests(way) ? FL_NT : 0)), "V86 task: EFLAGS %08x",
          o.eflags);
  static const int order[] = {ES, DS, FS, GS}; /* behind SS in the frame */
  for (uint32_t i = 0; i < 4; i++)
    verdict(b, get32(b, o.frame + 20 + 4 * i) == 0x4321u + (unsigned)order[i], "V86 task: segment %u", i);
}

/* INT n leaves V86 mode through a task gate: everything is in the old TSS. */
static void from_v86(struct bed *b) {
  struct plan p = {BY_INT, true, true};
  prepare(b, &p);
  bed_v86(b, 3);
  put_code(b, 0x7800, (uint8_t[]){0xcd, VECTOR}, 2);
  for (int i = FS; i <= GS; i++)
    seg_make_v86(&b->cpu->seg[i], (uint16_t)(0x1110 + i));
  uint32_t flags = b->cpu->eflags;
  struct outcome o = run(b, 0x7800);
  expect(b, &o, END, 0, "from a V86 task");
  verdict(b,
          get32(b, TSS + 0x20) == 0x7802 && get32(b, TSS + 0x24) == flags && get32(b, TSS + 0x38) == 0x7000,
          "V86 task saved: EIP %x EFLAGS %x", get32(b, TSS + 0x20), get32(b, TSS + 0x24));
  verdict(b, get16(b, TSS + 0x48 + 4 * FS) == 0x1110 + FS && get16(b, TSS + 0x48 + 4 * CS) == 0,
          "V86 task saved: FS");
  verdict(b, !(o.eflags & FL_VM) && o.cs == R_CODE(3), "from V86: EFLAGS %x", o.eflags);
}

void rules_tasks(struct bed *b) {
  put_code(b, AT_JMP, (uint8_t[]){0xff, 0x2b, 0xcc}, 3);
  put_code(b, AT_CALL, (uint8_t[]){0xff, 0x1b, 0xcc}, 3);
  put_code(b, AT_INT, (uint8_t[]){0xcd, VECTOR, 0xcc}, 3);
  put_code(b, AT_GP, (uint8_t[]){0x8e, 0xd8, 0xcc}, 3); /* mov ds, ax: #NP */
  put_code(b, AT_IRET, (uint8_t[]){0xcf}, 1);
  put8(b, TARGET, 0xcc);
  for (unsigned bits = 0; bits < WAYS * 4; bits++) {
    struct plan p = {bits >> 2, bits & 1, bits >> 1 & 1};
    works(b, &p);
    before_switch(b, &p);
    behind_switch(b, &p);
    page_faults(b, &p);
  }
  for (enum way way = 0; way < WAYS; way++)
    to_v86(b, way);
  from_v86(b);
}
