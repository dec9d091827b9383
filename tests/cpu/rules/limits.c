/* SPDX-License-Identifier: MIT */
/*
 * Segment limits at every edge: operands of every size around the ends of byte- and page-granular, expand-up
 * and expand-down segments, reads, writes and both, through DS-like segments and through SS; code that runs
 * over its limit; pushes and pops around the wrap of 16- and 32-bit stacks (SDM vol. 3, 3.4.5, 5.3; vol.
 * 1, 6.2).
 */
#include "tests/cpu/rules/rules.h"

#define BASE 0x200000u

struct segment {
  const char *name;
  unsigned access; /* without DPL */
  unsigned flags;  /* G, D/B */
  uint32_t limit;  /* field */
};

static const struct segment segments[] = {
    {"byte 0", 0x93, 4, 0},
    {"byte 1", 0x93, 4, 1},
    {"byte fe", 0x93, 4, 0xfe},
    {"byte fff", 0x93, 4, 0xfff},
    {"byte ffff", 0x93, 4, 0xffff},
    {"byte 10000", 0x93, 4, 0x10000},
    {"page 0", 0x93, 0xc, 0},
    {"page 1", 0x93, 0xc, 1},
    {"page 3ff", 0x93, 0xc, 0x3ff},
    {"flat", 0x93, 0xc, 0xfffff},
    {"read-only ff", 0x91, 4, 0xff},
    {"code ff", 0x9b, 4, 0xff},
    {"code only ff", 0x99, 4, 0xff},
    {"flat read-only", 0x91, 0xc, 0xfffff},
    {"down 0", 0x97, 4, 0},
    {"down fff", 0x97, 4, 0xfff},
    {"down16 fff", 0x97, 0, 0xfff},
    {"down16 fffe", 0x97, 0, 0xfffe},
    {"down16 ffff", 0x97, 0, 0xffff},
    {"down page 0", 0x97, 0xc, 0},
    {"down page 3ff", 0x97, 0xc, 0x3ff},
    {"down all", 0x97, 0xc, 0xfffff},
    {"down read-only", 0x95, 4, 0xff},
    {"segment 16", 0x93, 0, 0xfff},
};

struct access {
  const char *name;
  uint8_t code[10]; /* [esi], behind a segment override */
  unsigned size;
  bool read, write;
};

static const struct access accesses[] = {
    {"mov al, [esi]", {0x8a, 0x06, 0xcc}, 1, true, false},
    {"mov [esi], al", {0x88, 0x06, 0xcc}, 1, false, true},
    {"inc byte [esi]", {0xfe, 0x06, 0xcc}, 1, true, true},
    {"mov ax, [esi]", {0x66, 0x8b, 0x06, 0xcc}, 2, true, false},
    {"mov [esi], ax", {0x66, 0x89, 0x06, 0xcc}, 2, false, true},
    {"add eax, [esi]", {0x03, 0x06, 0xcc}, 4, true, false},
    {"mov [esi], eax", {0x89, 0x06, 0xcc}, 4, false, true},
    {"add [esi], eax", {0x01, 0x06, 0xcc}, 4, true, true},
    {"xchg [esi], eax", {0x87, 0x06, 0xcc}, 4, true, true},
    {"movzx eax, word [esi]", {0x0f, 0xb7, 0x06, 0xcc}, 2, true, false},
    {"cmpxchg8b [esi]", {0x0f, 0xc7, 0x0e, 0xcc}, 8, true, true},
    {"fld qword [esi]", {0xdd, 0x06, 0xcc}, 8, true, false},
    {"fstp tword [esi]", {0xdb, 0x3e, 0xcc}, 10, false, true},
    {"movq mm0, [esi]", {0x0f, 0x6f, 0x06, 0xcc}, 8, true, false},
    {"movups xmm0, [esi]", {0x0f, 0x10, 0x06, 0xcc}, 16, true, false},
    {"movups [esi], xmm0", {0x0f, 0x11, 0x06, 0xcc}, 16, false, true},
    {"lodsd", {0xad, 0xcc}, 4, true, false},
    {"bound eax, [esi]", {0x62, 0x06, 0xcc}, 8, true, false},
    {"sidt [esi]", {0x0f, 0x01, 0x0e, 0xcc}, 6, false, true},
    {"fnsave [esi]", {0xdd, 0x36, 0xcc}, 108, false, true},
};
#define ACCESSES (sizeof accesses / sizeof accesses[0])
#define AT(i, ss) (CODE + 32 * (uint32_t)(i) + ((ss) ? 0x1000 : 0))

static bool is_code(const struct segment *s) { return s->access & 8; }
static bool is_down(const struct segment *s) { return !is_code(s) && (s->access & 4); }

static uint32_t limit_of(const struct segment *s) { return s->flags & 8 ? s->limit << 12 | 0xfff : s->limit; }

static bool fits(const struct segment *s, uint32_t offset, unsigned size) {
  uint64_t last = (uint64_t)offset + size - 1;
  if (is_down(s))
    return offset > limit_of(s) && last <= (s->flags & 4 ? 0xffffffffu : 0xffff);
  return last <= limit_of(s) || limit_of(s) == 0xffffffffu;
}

static bool allowed(const struct segment *s, const struct access *a) {
  if (a->write)
    return !is_code(s) && (s->access & 2);
  return !is_code(s) || (s->access & 2);
}

static void one_access(struct bed *b, const struct segment *s, const struct access *a, size_t i, bool ss,
                       uint32_t offset) {
  bool pass = allowed(s, a) && fits(s, offset, a->size);
  int vector = pass ? END : ss && allowed(s, a) ? EXC_SS : EXC_GP;
  uint32_t la = BASE + offset;
  if (pass && (la >= RAM_SIZE || la + a->size > RAM_SIZE))
    return; /* no memory there */
  bed_ring(b, 3);
  struct seg *seg = &b->cpu->seg[ss ? SS : ES];
  seg_from_desc(seg, S_TEST | 3,
                (struct desc){BASE << 16 | (s->limit & 0xffff), s->flags << 20 | (s->limit & 0xf0000) |
                                                                    (s->access | 0x60) << 8 |
                                                                    (BASE >> 16 & 0xff)});
  cpu_update_mode(b->cpu);
  uint8_t before[108], after[108];
  if (a->write && la + sizeof before < RAM_SIZE)
    memcpy(before, b->m->ram->host + la, sizeof before);
  b->cpu->gpr[ESI] = offset;
  b->cpu->gpr[ESP] = 0x80;
  b->cpu->gpr[EAX] = 1; /* within any bounds that memory may hold */
  put64(b, la < RAM_SIZE - 8 ? la : BASE, 0x7fffffff80000000ull);
  if (a->write && la + sizeof before < RAM_SIZE)
    memcpy(before, b->m->ram->host + la, sizeof before);
  struct outcome o = run(b, AT(i, ss));
  expect(b, &o, vector, 0, "%s %s at %08x of %s", a->name, ss ? "ss" : "es", offset, s->name);
  if (vector == END || o.vector != vector)
    return;
  verdict(b, o.eip == AT(i, ss), "%s: EIP %08x", a->name, o.eip);
  if (a->write && la + sizeof before < RAM_SIZE) {
    memcpy(after, b->m->ram->host + la, sizeof after);
    verdict(b, memcmp(before, after, a->size) == 0, "%s at %08x of %s: memory was written", a->name, offset,
            s->name);
  }
}

static void all_offsets(struct bed *b, const struct segment *s, const struct access *a, size_t i, bool ss) {
  uint32_t edges[] = {0, limit_of(s), 0xffff, 0x10000, 0xffffffff};
  for (size_t e = 0; e < sizeof edges / sizeof edges[0]; e++)
    for (uint32_t d = 0; d < 2 * a->size + 4; d++)
      if (a->size <= 16 || d % 9 == 0)
        one_access(b, s, a, i, ss, edges[e] - a->size - 1 + d);
}

/* --- stacks --- */

struct stack_insn {
  const char *name;
  uint8_t code[8];
  unsigned size; /* of one item */
  int items;     /* pushed, or popped if negative */
};

static const struct stack_insn stack_insns[] = {
    {"push ax", {0x66, 0x50, 0xcc}, 2, 1},
    {"push eax", {0x50, 0xcc}, 4, 1},
    {"push byte", {0x6a, 0x7f, 0xcc}, 4, 1},
    {"pushfd", {0x9c, 0xcc}, 4, 1},
    {"pushf", {0x66, 0x9c, 0xcc}, 2, 1},
    {"call next", {0xe8, 0, 0, 0, 0, 0xcc}, 4, 1},
    {"pusha", {0x66, 0x60, 0xcc}, 2, 8},
    {"pushad", {0x60, 0xcc}, 4, 8},
    {"pop ax", {0x66, 0x58, 0xcc}, 2, -1},
    {"pop eax", {0x58, 0xcc}, 4, -1},
    {"popa", {0x66, 0x61, 0xcc}, 2, -8},
    {"popad", {0x61, 0xcc}, 4, -8},
    {"push word [abs]", {0x66, 0xff, 0x35, 0, 0, 5, 0, 0xcc}, 2, 1},
};
#define AT_STACK(i) (CODE + 0x2000 + 32 * (uint32_t)(i))

static void one_stack(struct bed *b, const struct segment *s, size_t i, uint32_t esp) {
  const struct stack_insn *p = &stack_insns[i];
  uint32_t mask = s->flags & 4 ? 0xffffffff : 0xffff;
  unsigned n = (unsigned)(p->items < 0 ? -p->items : p->items);
  bool pass = true;
  for (unsigned k = 0; k < n; k++) {
    uint32_t off = (p->items > 0 ? esp - (k + 1) * p->size : esp + k * p->size) & mask;
    pass = pass && fits(s, off, p->size);
    if (BASE + off > RAM_SIZE - 16)
      return;
  }
  uint32_t after = p->items > 0 ? esp - n * p->size : esp + n * p->size;
  after = (esp & ~mask) | (after & mask);
  bed_ring(b, 3);
  seg_from_desc(&b->cpu->seg[SS], S_TEST | 3,
                (struct desc){BASE << 16 | (s->limit & 0xffff), s->flags << 20 | (s->limit & 0xf0000) |
                                                                    0xf300 | (s->access & 4) << 8 |
                                                                    (BASE >> 16 & 0xff)});
  cpu_update_mode(b->cpu);
  b->cpu->gpr[ESP] = esp;
  struct outcome o = run(b, AT_STACK(i));
  expect(b, &o, pass ? END : EXC_SS, 0, "%s with ESP %08x of %s", p->name, esp, s->name);
  if (o.vector == (pass ? END : EXC_SS))
    verdict(b, o.esp == (pass ? after : esp), "%s with ESP %08x of %s: then %08x", p->name, esp, s->name,
            o.esp);
}

static void stacks(struct bed *b, const struct segment *s) {
  uint32_t edges[] = {0, limit_of(s), 0x10000, 0x12340000, 0xabcd8000};
  for (size_t i = 0; i < sizeof stack_insns / sizeof stack_insns[0]; i++)
    for (size_t e = 0; e < sizeof edges / sizeof edges[0]; e++)
      for (uint32_t d = 0; d < 80; d++)
        one_stack(b, s, i, edges[e] - 40 + d);
}

/* --- code --- */

/* INC EAX, five bytes of MOV EBX, then INT3: how far does each get under a limit that cuts it? */
static void code_limit(struct bed *b) {
  static const uint8_t code[] = {0x40, 0xbb, 1, 2, 3, 4, 0xeb, 0x00, 0xcc};
  uint32_t at = CODE + 0x4000;
  put_code(b, at, code, sizeof code);
  for (uint32_t cut = 0; cut <= sizeof code; cut++) {
    bed_ring(b, 3);
    b->cpu->seg[CS].limit = at + cut - 1;
    seg_update_room(&b->cpu->seg[CS], false);
    cpu_update_mode(b->cpu);
    struct outcome o = run(b, at);
    uint32_t stop = cut < 1 ? at : cut < 6 ? at + 1 : cut < 8 ? at + 6 : at + 8;
    bool branch_out = cut == 8; /* the jump is there, its target is not */
    expect(b, &o, cut == sizeof code ? END : EXC_GP, 0, "code cut after %u bytes", cut);
    verdict(b,
            o.eip == (cut == sizeof code ? at + 9
                      : branch_out       ? at + 6
                                         : stop),
            "code cut after %u bytes: EIP %08x", cut, o.eip);
  }
}

/* 16-bit code runs on beyond offset FFFFh if the limit lets it; only what a branch aims at has 16 bits. */
static void code16(struct bed *b, const char *what, uint32_t limit, uint32_t from, const void *code,
                   unsigned size, int vector, uint32_t eip) {
  uint32_t base = 0x80000;
  for (uint32_t at = 0; at < 0x30; at += 16) { /* INT3 wherever it may lead */
    put(b, base + at, "\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc", 16);
    put(b, base + 0x10000 + at, "\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc\xcc", 16);
  }
  put(b, base + from, code, size);
  bed_ring(b, 3);
  struct seg *cs = &b->cpu->seg[CS];
  seg_from_desc(cs, S_TEST | 3,
                (struct desc){base << 16 | (limit & 0xffff), (limit & 0xf0000) | 0xfb00 | base >> 16});
  cpu_update_mode(b->cpu);
  struct outcome o = run(b, from);
  expect(b, &o, vector, 0, "16-bit code, limit %x: %s", limit, what);
  verdict(b, o.eip == eip, "16-bit code, limit %x: %s: EIP %x, not %x", limit, what, o.eip, eip);
}

static void all_code16(struct bed *b) {
  static const uint8_t nops[] = {0x90, 0x90, 0x90, 0x90}, jump[] = {0x90, 0xeb, 0x10},
                       cut[] = {0x90, 0xeb, 0x05};
  static const uint8_t mov[] = {0x90, 0xb8, 0x34, 0x12}, wide[] = {0x66, 0xe9, 0x10, 0, 0, 0};
  code16(b, "NOPs to the end", 0xffff, 0xfffc, nops, 4, EXC_GP, 0x10000);
  code16(b, "NOPs to the end", 0x1ffff, 0xfffc, nops, 4, END, 0x10001);
  code16(b, "short jump", 0xffff, 0xfffd, jump, 3, END, 0x11);
  code16(b, "short jump", 0x1ffff, 0xfffb, jump, 3, END, 0x0f);
  code16(b, "jump cut by the end", 0xffff, 0xfffe, cut, 3, EXC_GP, 0xffff);
  code16(b, "jump across", 0x1ffff, 0xfffe, cut, 3, END, 7);
  code16(b, "MOV across", 0x1ffff, 0xfffe, mov, 4, END, 0x10003);
  code16(b, "MOV cut by the end", 0xffff, 0xfffe, mov, 4, EXC_GP, 0xffff);
  code16(b, "32-bit jump", 0x1ffff, 0xfff8, wide, 6, END, 0x1000f);
  code16(b, "32-bit jump", 0xffff, 0xfff8, wide, 6, EXC_GP, 0xfff8);
}

void rules_limits(struct bed *b) {
  for (size_t i = 0; i < ACCESSES; i++)
    for (unsigned ss = 0; ss < 2; ss++) {
      uint8_t code[16] = {ss ? 0x36 : 0x26};
      memcpy(code + 1, accesses[i].code, sizeof accesses[i].code);
      put_code(b, AT(i, ss), code, sizeof code);
    }
  for (size_t i = 0; i < sizeof stack_insns / sizeof stack_insns[0]; i++)
    put_code(b, AT_STACK(i), stack_insns[i].code, sizeof stack_insns[i].code);
  for (size_t n = 0; n < sizeof segments / sizeof segments[0]; n++) {
    const struct segment *s = &segments[n];
    for (size_t i = 0; i < ACCESSES; i++) {
      all_offsets(b, s, &accesses[i], i, false);
      if (!is_code(s))
        all_offsets(b, s, &accesses[i], i, true);
    }
    if (!is_code(s) && (s->access & 2))
      stacks(b, s);
  }
  code_limit(b);
  all_code16(b);
}
