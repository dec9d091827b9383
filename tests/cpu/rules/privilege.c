/* SPDX-License-Identifier: MIT */
/*
 * Who may: privileged instructions at every CPL, in V86 and real mode; EFLAGS by POPF, IRET, CLI and STI at
 * every CPL and IOPL, with PVI; V86 mode with and without VME; ports by IOPL and by the permission map (SDM
 * vol. 3, 5.9, 20.2 to 20.4; vol. 1, 18.5).
 */
#include "tests/cpu/rules/rules.h"

#define AT CODE
#define LOW 0x7800u /* code for V86 mode, whose CS is 0 */

/* --- privileged instructions --- */

enum { REAL = 1, ANY_RING = 2, NEED_PE = 4 };

static const struct {
  const char *name;
  uint8_t code[8];
  unsigned where;
} instructions[] = {
    {"clts", {0x0f, 0x06, 0xcc}, REAL},
    {"lmsw ax", {0x0f, 0x01, 0xf0, 0xcc}, REAL},
    {"smsw ax", {0x0f, 0x01, 0xe0, 0xcc}, REAL | ANY_RING},
    {"mov eax, cr0", {0x0f, 0x20, 0xc0, 0xcc}, REAL},
    {"mov eax, cr2", {0x0f, 0x20, 0xd0, 0xcc}, REAL},
    {"mov eax, cr3", {0x0f, 0x20, 0xd8, 0xcc}, REAL},
    {"mov eax, cr4", {0x0f, 0x20, 0xe0, 0xcc}, REAL},
    {"mov cr2, eax", {0x0f, 0x22, 0xd0, 0xcc}, REAL},
    {"mov eax, dr0", {0x0f, 0x21, 0xc0, 0xcc}, REAL},
    {"mov eax, dr6", {0x0f, 0x21, 0xf0, 0xcc}, REAL},
    {"mov dr1, eax", {0x0f, 0x23, 0xc8, 0xcc}, REAL},
    {"lgdt [ebx]", {0x0f, 0x01, 0x13, 0xcc}, REAL},
    {"lidt [ebx]", {0x0f, 0x01, 0x1b, 0xcc}, REAL},
    {"sgdt [ebx]", {0x0f, 0x01, 0x03, 0xcc}, REAL | ANY_RING},
    {"sidt [ebx]", {0x0f, 0x01, 0x0b, 0xcc}, REAL | ANY_RING},
    {"invlpg [ebx]", {0x0f, 0x01, 0x3b, 0xcc}, REAL},
    {"invd", {0x0f, 0x08, 0xcc}, REAL},
    {"wbinvd", {0x0f, 0x09, 0xcc}, REAL},
    {"rdmsr", {0x0f, 0x32, 0xcc}, REAL},
    {"wrmsr", {0x0f, 0x30, 0xcc}, REAL},
    {"rdtsc", {0x0f, 0x31, 0xcc}, REAL | ANY_RING},
    {"cpuid", {0x0f, 0xa2, 0xcc}, REAL | ANY_RING},
    {"lldt ax", {0x0f, 0x00, 0xd0, 0xcc}, NEED_PE},
    {"sldt ax", {0x0f, 0x00, 0xc0, 0xcc}, NEED_PE | ANY_RING},
    {"str ax", {0x0f, 0x00, 0xc8, 0xcc}, NEED_PE | ANY_RING},
    {"verr ax", {0x0f, 0x00, 0xe0, 0xcc}, NEED_PE | ANY_RING},
    {"verw ax", {0x0f, 0x00, 0xe8, 0xcc}, NEED_PE | ANY_RING},
    {"lar eax, ax", {0x0f, 0x02, 0xc0, 0xcc}, NEED_PE | ANY_RING},
    {"lsl eax, ax", {0x0f, 0x03, 0xc0, 0xcc}, NEED_PE | ANY_RING},
    {"arpl ax, ax", {0x63, 0xc0, 0xcc}, NEED_PE | ANY_RING},
};

static void operands(struct bed *b) {
  b->cpu->gpr[EBX] = DATA;
  b->cpu->gpr[EAX] = 1; /* LMSW: PE stays; LLDT: null */
  b->cpu->gpr[EDX] = 0;
  b->cpu->gpr[ECX] = 0x174; /* SYSENTER_CS */
}

static void privileged(struct bed *b) {
  for (size_t i = 0; i < sizeof instructions / sizeof instructions[0]; i++) {
    unsigned where = instructions[i].where;
    put_code(b, AT, instructions[i].code, 8);
    for (unsigned cpl = 0; cpl < 4; cpl++) {
      bed_ring(b, cpl);
      operands(b);
      put16(b, DATA, strstr(instructions[i].name, "lidt") ? 0x7ff : GDT_SIZE - 1);
      put32(b, DATA + 2, strstr(instructions[i].name, "lidt") ? IDT : GDT);
      struct outcome o = run(b, AT);
      expect(b, &o, cpl == 0 || (where & ANY_RING) ? END : EXC_GP, 0, "%s at CPL %u", instructions[i].name,
             cpl);
    }
    uint8_t code16[10] = {0x67}; /* [ebx]; the operand size does not matter here */
    memcpy(code16 + 1, instructions[i].code, 8);
    put_code(b, LOW, code16, sizeof code16);
    bed_v86(b, 3);
    operands(b);
    b->cpu->gpr[EBX] = 0x7000;
    struct outcome o = run(b, LOW);
    int want = where & NEED_PE ? EXC_UD : where & ANY_RING ? END : EXC_GP;
    expect(b, &o, want, 0, "%s in V86 mode", instructions[i].name);
    bed_real(b);
    operands(b);
    b->cpu->gpr[EAX] = 0; /* LMSW: PE stays clear */
    b->cpu->gpr[EBX] = 0x7100;
    put16(b, 0x7100, 0x3ff);
    put32(b, 0x7102, 0);
    o = run(b, LOW);
    expect(b, &o, where & REAL ? END : EXC_UD, 0, "%s in real mode", instructions[i].name);
  }
}

/* RDTSC under TSD, RDPMC without PCE. */
static void counters(struct bed *b) {
  for (unsigned cpl = 0; cpl < 4; cpl++)
    for (unsigned bit = 0; bit < 2; bit++) {
      put_code(b, AT, (uint8_t[]){0x0f, 0x31, 0xcc}, 3);
      bed_ring(b, cpl);
      b->cpu->cr4 |= bit ? CR4_TSD : 0;
      struct outcome o = run(b, AT);
      expect(b, &o, bit && cpl ? EXC_GP : END, 0, "rdtsc at CPL %u, TSD %u", cpl, bit);
      put_code(b, AT, (uint8_t[]){0x0f, 0x33, 0xcc}, 3);
      bed_ring(b, cpl);
      b->cpu->gpr[ECX] = 0;
      b->cpu->cr4 |= bit ? CR4_PCE : 0;
      o = run(b, AT);
      expect(b, &o, !bit && cpl ? EXC_GP : END, 0, "rdpmc at CPL %u, PCE %u", cpl, bit);
      b->cpu->cr4 = CR4_OSFXSR;
    }
}

/* --- flags --- */

#define IMAGE (0xcd5 | FL_1 | FL_IF | FL_IOPL | FL_NT) /* no TF: it would trap */

static void flag_writes(struct bed *b) {
  for (unsigned bits = 0; bits < 256; bits++) {
    unsigned cpl = bits & 3, iopl = bits >> 2 & 3;
    bool on = bits >> 4 & 1, wide = bits >> 5 & 1, iret = bits >> 6 & 1, before = bits >> 7;
    uint8_t code[4] = {0x66, iret ? 0xcf : 0x9d, 0xcc};
    put_code(b, AT, wide ? code + 1 : code, 3);
    bed_ring(b, cpl);
    uint32_t start = FL_1 | iopl << 12 | (before ? FL_IF : 0) | FL_RF;
    b->cpu->eflags = start;
    uint32_t image = on ? IMAGE | FL_AC | FL_ID | FL_VIF | FL_VIP | (iret && cpl == 0 ? 0 : FL_VM) : 0,
             at = b->cpu->gpr[ESP];
    if (iret) { /* to a place that 16 bits can name */
      put8(b, 0x4900, 0xcc);
      uint32_t size = wide ? 4 : 2;
      uint32_t v[3] = {0x4900, R_CODE(cpl), image};
      for (uint32_t i = 0; i < 3; i++)
        put(b, at + i * size, &v[i], size);
    } else {
      put32(b, at, image);
    }
    struct outcome o = run(b, AT);
    uint32_t mask = FL_ARITH | FL_DF | FL_NT | FL_RF;
    mask |= cpl <= iopl ? FL_IF : 0;
    mask |= cpl == 0 ? FL_IOPL : 0;
    mask |= wide ? FL_AC | FL_ID : 0;
    mask |= wide && iret && cpl == 0 ? FL_VIF | FL_VIP : 0;
    uint32_t want = (start & ~mask) | (image & mask) | FL_1;
    expect(b, &o, END, 0, "%s: flags", iret ? "iret" : "popf");
    verdict(b, o.eflags == want, "%s%s at CPL %u IOPL %u: %08x, not %08x", iret ? "iret" : "popf",
            wide ? "d" : "", cpl, iopl, o.eflags, want);
  }
}

static void cli_sti(struct bed *b) {
  for (unsigned bits = 0; bits < 512; bits++) {
    unsigned cpl = bits & 3, iopl = bits >> 2 & 3;
    bool sti = bits >> 4 & 1, pvi = bits >> 5 & 1, vip = bits >> 6 & 1, vif = bits >> 7 & 1,
         before = bits >> 8 & 1;
    put_code(b, AT, (uint8_t[]){sti ? 0xfb : 0xfa, 0xcc}, 2);
    bed_ring(b, cpl);
    b->cpu->cr4 = CR4_OSFXSR | (pvi ? CR4_PVI : 0);
    uint32_t start = FL_1 | iopl << 12 | (before ? FL_IF : 0) | (vip ? FL_VIP : 0) | (vif ? FL_VIF : 0),
             want = start;
    b->cpu->eflags = start;
    struct outcome o = run(b, AT);
    bool fault = false;
    uint32_t flag = cpl <= iopl ? FL_IF : FL_VIF;
    if (cpl > iopl)
      fault = !pvi || cpl != 3 || (sti && vip);
    if (!fault)
      want = sti ? start | flag : start & ~flag;
    expect(b, &o, fault ? EXC_GP : END, 0, "%s at CPL %u IOPL %u PVI %d VIP %d", sti ? "sti" : "cli", cpl,
           iopl, pvi, vip);
    verdict(b, (o.eflags & ~FL_RF) == want, "%s at CPL %u IOPL %u: %08x, not %08x", sti ? "sti" : "cli", cpl,
            iopl, o.eflags, want);
    b->cpu->cr4 = CR4_OSFXSR;
  }
}

/* --- V86 mode --- */

enum v86_insn { V_CLI, V_STI, V_PUSHF, V_PUSHFD, V_POPF, V_POPFD, V_IRET, V_IRETD, V_INSNS };
static const struct {
  const char *name;
  uint8_t code[4];
} v86_insns[V_INSNS] = {
    {"cli", {0xfa, 0xcc}},   {"sti", {0xfb, 0xcc}},
    {"pushf", {0x9c, 0xcc}}, {"pushfd", {0x66, 0x9c, 0xcc}},
    {"popf", {0x9d, 0xcc}},  {"popfd", {0x66, 0x9d, 0xcc}},
    {"iret", {0xcf}},        {"iretd", {0x66, 0xcf}},
};

struct v86_case {
  enum v86_insn insn;
  unsigned iopl;
  bool vme, vip, vif, intf; /* before */
  uint32_t image;           /* for POPF and IRET */
};

/* EFLAGS afterwards; *pushed: the image of PUSHF. False: #GP(0). */
static bool v86_rule(const struct v86_case *c, uint32_t before, uint32_t *after, uint32_t *pushed) {
  bool full = c->iopl == 3, wide = c->insn == V_PUSHFD || c->insn == V_POPFD || c->insn == V_IRETD;
  *after = before;
  if (!full && (!c->vme || wide))
    return false;
  switch (c->insn) {
  case V_CLI: *after &= full ? ~FL_IF : ~FL_VIF; return true;
  case V_STI:
    if (!full && c->vip)
      return false;
    *after |= full ? FL_IF : FL_VIF;
    return true;
  case V_PUSHF:
  case V_PUSHFD:
    *pushed = before & ~(FL_VM | FL_RF);
    if (!full)
      *pushed = (*pushed & ~FL_IF) | FL_IOPL | (before & FL_VIF ? FL_IF : 0);
    return true;
  default: break;
  }
  uint32_t mask = FL_ARITH | FL_DF | FL_NT | (wide ? FL_AC | FL_ID : 0) | (full ? FL_IF : 0);
  if (!full && ((c->image & FL_TF) || ((c->image & FL_IF) && c->vip)))
    return false;
  *after = (before & ~mask) | (c->image & mask) | FL_1;
  if (!full)
    *after = (*after & ~FL_VIF) | (c->image & FL_IF ? FL_VIF : 0);
  return true;
}

static void v86_case(struct bed *b, const struct v86_case *c) {
  put_code(b, LOW, v86_insns[c->insn].code, sizeof v86_insns[0].code);
  put8(b, LOW + 0x20, 0xcc);
  bed_v86(b, c->iopl);
  b->cpu->cr4 = CR4_OSFXSR | (c->vme ? CR4_VME : 0);
  uint32_t before = b->cpu->eflags | (c->vip ? FL_VIP : 0) | (c->vif ? FL_VIF : 0) | (c->intf ? FL_IF : 0);
  b->cpu->eflags = before;
  bool iret = c->insn == V_IRET || c->insn == V_IRETD, pops = iret || c->insn == V_POPF || c->insn == V_POPFD;
  uint32_t size = c->insn == V_POPFD || c->insn == V_IRETD || c->insn == V_PUSHFD ? 4 : 2, at = 0x7000;
  if (iret) {
    uint32_t v[2] = {LOW + 0x20, 0};
    put(b, at, &v[0], size);
    put(b, at + size, &v[1], size);
    at += 2 * size;
  }
  if (pops)
    put(b, at, &c->image, size);
  uint32_t after, pushed = 0;
  bool pass = v86_rule(c, before, &after, &pushed);
  struct outcome o = run(b, LOW);
  expect(b, &o, pass ? END : EXC_GP, 0, "V86 %s: IOPL %u VME %d VIP %d VIF %d image %x",
         v86_insns[c->insn].name, c->iopl, c->vme, c->vip, c->vif, c->image);
  if (o.vector == (pass ? END : EXC_GP))
    verdict(b, (o.eflags & ~FL_RF) == after, "V86 %s: IOPL %u VME %d: EFLAGS %08x, not %08x",
            v86_insns[c->insn].name, c->iopl, c->vme, o.eflags, after);
  if (pass && (c->insn == V_PUSHF || c->insn == V_PUSHFD))
    verdict(b, size == 4 ? get32(b, 0x6ffc) == pushed : get16(b, 0x6ffe) == (pushed & 0xffff),
            "V86 %s: IOPL %u VME %d pushed %x", v86_insns[c->insn].name, c->iopl, c->vme,
            size == 4 ? get32(b, 0x6ffc) : get16(b, 0x6ffe));
  b->cpu->cr4 = CR4_OSFXSR;
}

static void v86_flags(struct bed *b) {
  static const uint32_t images[] = {FL_1,  FL_1 | FL_IF,   FL_1 | FL_TF,
                                    IMAGE, IMAGE & ~FL_IF, IMAGE | FL_AC | FL_ID};
  struct v86_case c;
  for (c.insn = 0; c.insn < V_INSNS; c.insn++)
    for (unsigned bits = 0; bits < 64; bits++)
      for (size_t i = 0; i < sizeof images / sizeof images[0]; i++) {
        c.iopl = bits & 3;
        c.vme = bits >> 2 & 1;
        c.vip = bits >> 3 & 1;
        c.vif = bits >> 4 & 1;
        c.intf = bits >> 5 & 1;
        c.image = images[i];
        if ((c.image & FL_TF) && (c.iopl == 3 || !c.vme || c.insn < V_POPF))
          continue; /* would trap, or tells nothing */
        v86_case(b, &c);
      }
}

/* INT n: to the 8086 handler by the redirection map, or through the IDT, or #GP(0). */
static void v86_int(struct bed *b) {
  put_code(b, LOW, (uint8_t[]){0xcd, 0x94, 0xcc}, 3);
  put8(b, 0x7900, 0xcc);
  put32(b, 0x94 * 4, 0x7900);
  for (unsigned bits = 0; bits < 128; bits++) {
    unsigned iopl = bits & 3;
    bool vme = bits >> 2 & 1, trapped = bits >> 3 & 1, vif = bits >> 4 & 1, nt = bits >> 5 & 1,
         dpl3 = bits >> 6 & 1;
    put8(b, TSS + 0x66 + 0x22 - 32 + 0x94 / 8, trapped ? 0x10 : 0); /* the map ends where the ports' begins */
    put_gate(b, IDT + 8 * 0x94, R_CODE(0), HANDLERS + 16 * 0x94, dpl3 ? 0xee : 0x8e, 0);
    bed_v86(b, iopl);
    b->cpu->cr4 = CR4_OSFXSR | (vme ? CR4_VME : 0);
    uint32_t before = b->cpu->eflags | FL_IF | (vif ? FL_VIF : 0) | (nt ? FL_NT : 0);
    b->cpu->eflags = before;
    struct outcome o = run(b, LOW);
    b->cpu->cr4 = CR4_OSFXSR;
    if (vme && !trapped) {
      expect(b, &o, END, 0, "V86 int: IOPL %u redirected", iopl);
      uint32_t image = iopl == 3 ? before : (before & ~FL_IF) | FL_IOPL | (vif ? FL_IF : 0);
      verdict(b, get16(b, 0x6ffe) == (image & 0xffff) && get16(b, 0x6ffc) == 0 && get16(b, 0x6ffa) == LOW + 2,
              "V86 int: IOPL %u: frame %x %x %x", iopl, get16(b, 0x6ffa), get16(b, 0x6ffc), get16(b, 0x6ffe));
      verdict(b, o.eflags == (before & (iopl == 3 ? ~FL_IF : ~FL_VIF)), "V86 int: EFLAGS %08x", o.eflags);
    } else {
      int want = iopl < 3 || !dpl3 ? EXC_GP : 0x94;
      expect(b, &o, want, iopl < 3 ? 0 : 0x94 * 8 + 2, "V86 int: IOPL %u VME %d DPL %d", iopl, vme,
             dpl3 ? 3 : 0);
    }
  }
  put_gate(b, IDT + 8 * 0x94, R_CODE(0), HANDLERS + 16 * 0x94, 0x8e, 0);
  bed_tables(b);
}

/* --- ports --- */

static const struct {
  const char *name;
  uint8_t code[4];
  unsigned size;
} ports[] = {
    {"in al, dx", {0xec, 0xcc}, 1},
    {"in ax, dx", {0x66, 0xed, 0xcc}, 2},
    {"in eax, dx", {0xed, 0xcc}, 4},
    {"out dx, al", {0xee, 0xcc}, 1},
    {"out dx, ax", {0x66, 0xef, 0xcc}, 2},
    {"out dx, eax", {0xef, 0xcc}, 4},
    {"insb", {0x6c, 0xcc}, 1},
    {"insd", {0x6d, 0xcc}, 4},
    {"outsw", {0x66, 0x6f, 0xcc}, 2},
};

static void one_port(struct bed *b, size_t i, unsigned mode, uint32_t port, int marked, uint32_t map,
                     uint32_t limit) {
  unsigned cpl = mode & 3, iopl = mode >> 2 & 3;
  bool v86 = mode >> 4;
  uint32_t at = v86 ? LOW : AT;
  uint8_t code[4];
  memcpy(code, ports[i].code, sizeof code);
  if (v86) { /* the operand size is the other one */
    if (code[0] == 0x66)
      memmove(code, code + 1, 3);
    else if (ports[i].size == 4) {
      memmove(code + 1, code, 3);
      code[0] = 0x66;
    }
  }
  put_code(b, at, code, sizeof code);
  if (v86)
    bed_v86(b, iopl);
  else
    bed_ring(b, cpl);
  b->cpu->eflags |= iopl << 12;
  b->cpu->gpr[EDX] = port;
  b->cpu->gpr[ESI] = b->cpu->gpr[EDI] = v86 ? 0x100 : DATA;
  put16(b, TSS + 0x66, (uint16_t)map);
  b->cpu->seg[TR].limit = limit;
  uint32_t byte = TSS + map + port / 8;
  put32(b, byte, 0);
  int bit = (int)port + marked;
  bool set = marked >= -1 && bit >= 0;
  if (set)
    put8(b, TSS + map + (uint32_t)bit / 8, (uint8_t)(1u << (bit & 7)));
  bool pass = !v86 && cpl <= iopl;
  if (!pass)
    pass = map + port / 8 + 1 <= limit && !(set && marked >= 0 && marked < (int)ports[i].size);
  struct outcome o = run(b, at);
  expect(b, &o, pass ? END : EXC_GP, 0, "%s: CPL %u IOPL %u V86 %d, port %x, marked %d, map %x, limit %x",
         ports[i].name, cpl, iopl, v86, port, marked, map, limit);
  if (set)
    put8(b, TSS + map + (uint32_t)bit / 8, 0);
}

static void permissions(struct bed *b) {
  static const uint16_t numbers[] = {0x300, 0x305, 0x306, 0x307, 0xfffc};
  for (size_t i = 0; i < sizeof ports / sizeof ports[0]; i++) {
    for (unsigned mode = 0; mode < 32; mode++)
      for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++) {
        if (mode >= 16 && (mode & 3) != 3)
          continue;
        for (int marked = -2; marked < 6; marked++)
          one_port(b, i, mode, numbers[n], marked, 0x88, 0x2088);
      }
    for (uint32_t limit = 0x88 + 0x60 - 2; limit < 0x88 + 0x60 + 3; limit++)
      one_port(b, i, 3, 0x300, -2, 0x88, limit);
    one_port(b, i, 3, 0x300, -2, 0xfffc, 0x2088);
  }
  put_zero(b, TSS + 0x68, 0x2100);
  bed_tables(b);
}

void rules_privilege(struct bed *b) {
  privileged(b);
  counters(b);
  flag_writes(b);
  cli_sti(b);
  v86_flags(b);
  v86_int(b);
  permissions(b);
}
