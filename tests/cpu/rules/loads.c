/* SPDX-License-Identifier: MIT */
/*
 * What a selector may be used for: every type of descriptor, present or not, at every DPL, RPL and CPL, in
 * segment registers, LLDT, LTR, LAR, LSL, VERR and VERW (SDM vol. 3, 5.5 to 5.7 and table 3-2; vol. 2 for the
 * instructions).
 */
#include "tests/cpu/rules/rules.h"

struct combination {
  unsigned type; /* with S: 0-31 */
  unsigned dpl, rpl, cpl;
  bool present;
  uint16_t sel;
};

static bool is_segment(unsigned type) { return type & 16; }
static bool is_code(unsigned type) { return (type & 24) == 24; }
static bool is_conforming(unsigned type) { return (type & 28) == 28; }
static bool is_down(unsigned type) { return (type & 28) == 20; } /* usable from the limit on */
static bool is_readable(unsigned type) { return is_segment(type) && (!is_code(type) || (type & 2)); }
static bool is_writable(unsigned type) { return is_segment(type) && !is_code(type) && (type & 2); }

struct verdict_of {
  int vector;
  uint32_t error;
};
static struct verdict_of fault(int vector, uint32_t error) { return (struct verdict_of){vector, error}; }
static struct verdict_of fine(void) { return fault(END, 0); }

/* --- rules --- */

static struct verdict_of data_rule(const struct combination *c) {
  uint32_t error = c->sel & ~3u;
  if (!is_readable(c->type))
    return fault(EXC_GP, error);
  if (!is_conforming(c->type) && (c->rpl > c->dpl || c->cpl > c->dpl))
    return fault(EXC_GP, error);
  return c->present ? fine() : fault(EXC_NP, error);
}

static struct verdict_of stack_rule(const struct combination *c) {
  uint32_t error = c->sel & ~3u;
  if (c->rpl != c->cpl || c->dpl != c->cpl || !is_writable(c->type))
    return fault(EXC_GP, error);
  return c->present ? fine() : fault(EXC_SS, error);
}

static struct verdict_of lldt_rule(const struct combination *c) {
  if (c->cpl != 0)
    return fault(EXC_GP, 0);
  if (c->type != 2)
    return fault(EXC_GP, c->sel & ~3u);
  return c->present ? fine() : fault(EXC_NP, c->sel & ~3u);
}

static struct verdict_of ltr_rule(const struct combination *c) {
  if (c->cpl != 0)
    return fault(EXC_GP, 0);
  if (c->type != 1 && c->type != 9)
    return fault(EXC_GP, c->sel & ~3u);
  return c->present ? fine() : fault(EXC_NP, c->sel & ~3u);
}

/* LAR and LSL look at absent segments, too. */
static bool visible(const struct combination *c) {
  return is_conforming(c->type) || (c->cpl <= c->dpl && c->rpl <= c->dpl);
}
static bool lar_rule(const struct combination *c) {
  switch (c->type) {
  case 0:
  case 6:
  case 7:
  case 8:
  case 10:
  case 13:
  case 14:
  case 15: return false;
  default: return visible(c);
  }
}
static bool lsl_rule(const struct combination *c) {
  return (is_segment(c->type) || c->type == 1 || c->type == 2 || c->type == 3 || c->type == 9 ||
          c->type == 11) &&
         visible(c);
}
static bool verr_rule(const struct combination *c) { return is_readable(c->type) && visible(c); }
static bool verw_rule(const struct combination *c) { return is_writable(c->type) && visible(c); }

/* --- cases --- */

static const struct load {
  const char *name;
  uint8_t code[8];
  int seg;
  struct verdict_of (*rule)(const struct combination *c);
} loads[] = {
    {"mov ds, ax", {0x8e, 0xd8, 0xcc}, DS, data_rule},
    {"mov es, ax", {0x8e, 0xc0, 0xcc}, ES, data_rule},
    {"mov fs, ax", {0x8e, 0xe0, 0xcc}, FS, data_rule},
    {"mov gs, ax", {0x8e, 0xe8, 0xcc}, GS, data_rule},
    {"mov ss, ax",
     {0x8e, 0xd0, 0xcc, 0xcc},
     SS,
     stack_rule}, /* the trap comes after one more instruction at most */
    {"push eax; pop ds", {0x50, 0x1f, 0xcc}, DS, data_rule},
    {"push eax; pop es", {0x50, 0x07, 0xcc}, ES, data_rule},
    {"push eax; pop fs", {0x50, 0x0f, 0xa1, 0xcc}, FS, data_rule},
    {"push eax; pop gs", {0x50, 0x0f, 0xa9, 0xcc}, GS, data_rule},
    {"push eax; pop ss", {0x50, 0x17, 0xcc}, SS, stack_rule},
    {"lds ecx, [ebx]", {0xc5, 0x0b, 0xcc}, DS, data_rule},
    {"les ecx, [ebx]", {0xc4, 0x0b, 0xcc}, ES, data_rule},
    {"lfs ecx, [ebx]", {0x0f, 0xb4, 0x0b, 0xcc}, FS, data_rule},
    {"lgs ecx, [ebx]", {0x0f, 0xb5, 0x0b, 0xcc}, GS, data_rule},
    {"lss esp, [ebx]", {0x0f, 0xb2, 0x23, 0xcc}, SS, stack_rule},
    {"lldt ax", {0x0f, 0x00, 0xd0, 0xcc}, LDTR, lldt_rule},
    {"ltr ax", {0x0f, 0x00, 0xd8, 0xcc}, TR, ltr_rule},
};

static const struct look {
  const char *name;
  uint8_t code[8];
  bool (*rule)(const struct combination *c);
  bool answers;
} looks[] = {
    {"lar ecx, ax", {0x0f, 0x02, 0xc8, 0xcc}, lar_rule, true},
    {"lsl ecx, ax", {0x0f, 0x03, 0xc8, 0xcc}, lsl_rule, true},
    {"verr ax", {0x0f, 0x00, 0xe0, 0xcc}, verr_rule, false},
    {"verw ax", {0x0f, 0x00, 0xe8, 0xcc}, verw_rule, false},
};

#define AT(i) (CODE + 32 * (uint32_t)(i))

static void prepare(struct bed *b, const struct combination *c) {
  bed_ring(b, c->cpl);
  put_desc(b, S_TEST, is_segment(c->type) ? 0 : TSS_B, is_down(c->type) ? 0 : 0xfffff,
           c->present << 7 | c->dpl << 5 | c->type, 0xc);
  b->cpu->gpr[EAX] = c->sel;
  b->cpu->gpr[EBX] = DATA;
  put32(b, DATA, b->cpu->gpr[ESP]);
  put16(b, DATA + 4, c->sel);
}

/* The accessed bit is set by a load that succeeds, and the busy bit by LTR. */
static unsigned type_after(const struct load *l, const struct combination *c, int vector) {
  if (vector != END || l->seg == LDTR)
    return c->type;
  return c->type | (l->seg == TR ? 2 : 1);
}

static void one_load(struct bed *b, const struct load *l, uint32_t at, const struct combination *c) {
  prepare(b, c);
  struct verdict_of want = l->rule(c);
  struct seg before = b->cpu->seg[l->seg];
  uint32_t esp = b->cpu->gpr[ESP];
  struct outcome o = run(b, at);
  expect(b, &o, want.vector, want.error, "%s: type %02x P %d DPL %u RPL %u CPL %u", l->name, c->type,
         c->present, c->dpl, c->rpl, c->cpl);
  unsigned type = get8(b, GDT + (S_TEST & ~7u) + 5) & 31;
  verdict(b, type == type_after(l, c, want.vector), "%s: type %02x became %02x", l->name, c->type, type);
  if (o.vector != want.vector || (l->seg == SS && c->cpl != 0))
    return; /* the handler has a stack of its own */
  uint16_t sel = b->cpu->seg[l->seg].sel;
  verdict(b, sel == (want.vector == END ? c->sel : before.sel), "%s: selector %04x afterwards", l->name, sel);
  bool pops = l->code[0] == 0x50; /* a POP that faults leaves ESP */
  if (c->cpl != 0)
    verdict(b, o.esp == (pops && want.vector != END ? esp - 4 : esp), "%s: ESP %08x afterwards", l->name,
            o.esp);
}

static void one_look(struct bed *b, const struct look *l, uint32_t at, const struct combination *c) {
  prepare(b, c);
  uint32_t before = b->cpu->gpr[ECX], want = before;
  struct outcome o = run(b, at);
  bool yes = l->rule(c);
  if (l->answers && yes)
    want = l->code[1] == 2
               ? (is_down(c->type) ? 0x00c00000 : 0x00cf0000) | c->present << 15 | c->dpl << 13 | c->type << 8
           : is_down(c->type) ? 0xfff
                              : 0xffffffff;
  verdict(b, o.vector == END && !(o.eflags & FL_ZF) == !yes && b->cpu->gpr[ECX] == want,
          "%s: type %02x P %d DPL %u RPL %u CPL %u: %02x ZF %d ECX %08x", l->name, c->type, c->present,
          c->dpl, c->rpl, c->cpl, (unsigned)o.vector, !!(o.eflags & FL_ZF), b->cpu->gpr[ECX]);
}

static void all_instructions(struct bed *b, const struct combination *c) {
  for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++)
    one_load(b, &loads[i], AT(i), c);
  for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++)
    one_look(b, &looks[i], AT(32 + i), c);
}

/* Null selectors, and selectors beyond their table or into an LDT that is not there. */
static void no_descriptor(struct bed *b, unsigned cpl) {
  static const uint16_t sels[] = {0, 1, 2, 3, GDT_SIZE, GDT_SIZE + 3, 0xfff8, 4, 0xffff};
  for (size_t n = 0; n < sizeof sels / sizeof sels[0]; n++) {
    struct combination c = {.cpl = cpl, .sel = sels[n], .rpl = sels[n] & 3};
    bool null = c.sel < 4;
    for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++) {
      const struct load *l = &loads[i];
      bool privileged = l->seg == LDTR || l->seg == TR;
      prepare(b, &c);
      struct outcome o = run(b, AT(i));
      bool allowed = null && l->seg != SS && l->seg != TR && !(privileged && cpl);
      uint32_t error = null || (privileged && cpl) ? 0 : c.sel & ~3u;
      expect(b, &o, allowed ? END : EXC_GP, error, "%s: selector %04x CPL %u", l->name, c.sel, cpl);
    }
    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++) {
      prepare(b, &c);
      struct outcome o = run(b, AT(32 + i));
      verdict(b, o.vector == END && !(o.eflags & FL_ZF), "%s: selector %04x CPL %u", looks[i].name, c.sel,
              cpl);
    }
  }
}

/* The last descriptor of a table is there only if all its eight bytes are, and so for the LDT. */
static void table_edges(struct bed *b) {
  for (unsigned limit = 0x60; limit < 0x80; limit++)
    for (unsigned ti = 0; ti < 2; ti++) {
      struct combination c = {.type = 0x13, .present = true, .dpl = 3, .sel = (uint16_t)(0x68 | ti << 2)};
      prepare(b, &c);
      put(b, LDT + 0x68, (uint8_t[8]){0xff, 0xff, 0, 0, 0, 0xf3, 0xcf, 0}, 8);
      b->cpu->gdtr.limit = (uint16_t)(ti ? GDT_SIZE - 1 : limit);
      struct seg *ldt = &b->cpu->seg[LDTR];
      *ldt = (struct seg){.sel = S_LDT, .attr = SEG_P | 2, .base = LDT, .limit = ti ? limit : 0x3f};
      struct outcome o = run(b, AT(0));
      expect(b, &o, limit >= 0x6f ? END : EXC_GP, c.sel & ~3u, "table limit %x, TI %u", limit, ti);
    }
}

void rules_loads(struct bed *b) {
  for (size_t i = 0; i < sizeof loads / sizeof loads[0]; i++)
    put_code(b, AT(i), loads[i].code, sizeof loads[i].code);
  for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++)
    put_code(b, AT(32 + i), looks[i].code, sizeof looks[i].code);
  struct combination c = {0};
  for (c.type = 0; c.type < 32; c.type++)
    for (unsigned bits = 0; bits < 128; bits++) {
      c.dpl = bits & 3;
      c.rpl = bits >> 2 & 3;
      c.cpl = bits >> 4 & 3;
      c.present = bits >> 6;
      c.sel = (uint16_t)(S_TEST | c.rpl);
      all_instructions(b, &c);
    }
  for (unsigned cpl = 0; cpl < 4; cpl++)
    no_descriptor(b, cpl);
  table_edges(b);
}
