/* SPDX-License-Identifier: MIT */
/*
 * Random programs from the instruction table: see fuzz.h. Values and addresses are biased to edges: the ends
 * of pages and segments, the extremes of integers, the special numbers of the x87 and SSE. Branches go
 * forward or loop a few times, so that programs end; they end in INT3, which fills the rest of the code page.
 */
#include <cpuid.h>
#include <string.h>

#include "tests/cpu/forms.h"
#include "tests/cpu/fuzz.h"

#define TEMPLATES 16u
#define AREA (NATIVE_DATA_SIZE + NATIVE_READONLY_SIZE)

const char *const insn_names[INSN_COUNT] = {
#define I(id, ...) [INSN_##id] = #id,
#include "core/insn.def"
#undef I
};

static uint8_t templates[TEMPLATES][NATIVE_DATA_SIZE];
static uint8_t readonly[NATIVE_READONLY_SIZE];
static uint64_t rng;

static uint32_t rnd(void) {
  rng += 0x9e3779b97f4a7c15ull;
  uint64_t z = rng;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ z >> 27) * 0x94d049bb133111ebull;
  return (uint32_t)((z ^ z >> 31) >> 16);
}
static uint32_t below(uint32_t n) { return (uint32_t)((uint64_t)rnd() * n >> 32); }
static bool chance(uint32_t percent) { return below(100) < percent; }

bool name_has_prefix(const char *s, const char *prefix) { return strncmp(s, prefix, strlen(prefix)) == 0; }

/* --- which rows --- */

/* Features of the model that the host's processor may not have, by bit of CPUID leaf 1, ECX or EDX. */
static bool host_has(uint64_t features) {
  static const struct {
    uint64_t feature;
    uint8_t in_ecx, bit;
  } bits[] = {
      {FEAT_CX8, 0, 8},     {FEAT_CMOV, 0, 15},  {FEAT_CLFLUSH, 0, 19}, {FEAT_MMX, 0, 23},
      {FEAT_FXSR, 0, 24},   {FEAT_SSE, 0, 25},   {FEAT_SSE2, 0, 26},    {FEAT_SSE3, 1, 0},
      {FEAT_SSSE3, 1, 9},   {FEAT_SSE41, 1, 19}, {FEAT_SSE42, 1, 20},   {FEAT_MOVBE, 1, 22},
      {FEAT_POPCNT, 1, 23},
  };
  unsigned eax, ebx, ecx = 0, edx = 0;
  __get_cpuid(1, &eax, &ebx, &ecx, &edx);
  for (unsigned i = 0; i < sizeof bits / sizeof bits[0]; i++)
    if ((features & bits[i].feature) && !((bits[i].in_ecx ? ecx : edx) >> bits[i].bit & 1))
      return false;
  return true;
}

const char *row_excluded(unsigned id) {
  static const struct {
    const char *prefix, *why;
  } rows[] = {
      {"SGDT", "UMIP: the host's kernel answers"}, {"SIDT", "UMIP: the host's kernel answers"},
      {"SLDT", "UMIP: the host's kernel answers"}, {"STR", "UMIP: the host's kernel answers"},
      {"SMSW", "UMIP: the host's kernel answers"}, {"CPUID", "the processors' identities differ"},
      {"RDTSC", "the processors' clocks differ"},  {"SYSENTER", "a system call, or #UD in AMD's long mode"},
      {"SYSEXIT", "#UD in AMD's long mode"},       {"INT1", "hypervisors answer"},
  };
  for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
    if (name_has_prefix(insn_names[id], rows[i].prefix) &&
        (strcmp(rows[i].prefix, "STR") != 0 || id == INSN_STR_Ew))
      return rows[i].why;
  return host_has(insn_desc[id].feature) ? NULL : "the host's processor lacks it";
}

/* 64-bit code has no BCD instructions: what they leave undefined, the interpreter knows of AMD's processors
 * only. */
bool leaves_undefined(unsigned id) {
  static int amd = -1;
  if (amd < 0) {
    unsigned a, b = 0, c, d;
    amd = __get_cpuid(0, &a, &b, &c, &d) && b == signature_AMD_ebx;
  }
  return !amd && (id == INSN_AAA || id == INSN_AAS || id == INSN_AAM_Ib || id == INSN_AAD_Ib ||
                  id == INSN_DAA || id == INSN_DAS);
}

/* --- values --- */

static uint32_t interesting32(void) {
  static const uint32_t values[] = {
      0,          1,          2,          0x09,       0x0a,       0x1f,       0x20,
      0x7f,       0x80,       0x99,       0x9a,       0xff,       0x7fff,     0x8000,
      0xffff,     0x00800000, 0x7fffffff, 0x80000000, 0xffffffff, 0x3f000000, 0x3f800000,
      0x4f000000, 0xcf000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001,
  };
  if (chance(50))
    return values[below(sizeof values / sizeof values[0])];
  return chance(50) ? rnd() : rnd() >> below(32);
}

/* Never USER_CODE64, which leaves the mode under test, nor 78h to 7Bh, where Linux keeps the processor's
 * number. */
static uint16_t random_selector(void) {
  static const uint16_t gdt[] = {0x08, 0x10, 0x18, USER_DATA, USER_CODE32, 0x20,
                                 0x28, 0x43, 0x53, 0x63,      0x80,        0xfff8};
  switch (below(10)) {
  case 0: return (uint16_t)below(4);
  case 1: return gdt[below(sizeof gdt / sizeof gdt[0])];
  case 2: return USER_DATA;
  case 3: return (uint16_t)((LDT_SELECTOR(below(LDT_COUNT)) & ~3u) | below(4));
  default: return LDT_SELECTOR(below(LDT_COUNT + 1u));
  }
}

static uint32_t random_offset(void) {
  if (chance(6)) /* around the ends of the pages, and of the segments of native_ldt */
    return (0x1000 * below(7) + (below(40) - 24)) & (chance(70) ? ~0u : ~1u);
  if (chance(2))
    return (uint32_t[]){0x7f0, 0x800, 0x1800, 0x1ff0, 0x2000, 0x2ffe, 0xfff0, 0xfffe, 0xffff}[below(9)] +
           below(16);
  uint32_t offset = below(NATIVE_DATA_SIZE - 1024) + 512;
  return chance(75) ? offset & ~15u : offset;
}

static bool is_flat(uint16_t sel) { return sel == USER_DATA || sel == LDT_SELECTOR(LDT_FLAT); }

/* An address as the program's data segments see it. */
static uint32_t data_address(const struct test_case *t) {
  return random_offset() + (is_flat(t->state.sel[DS]) ? NATIVE_DATA : 0);
}
/* One where nothing faults, for pointers that a patch has put there. */
static uint32_t tame_offset(void) { return 512 + (below(NATIVE_DATA_SIZE - 1024) & ~15u); }

static void random_real80(uint8_t *p) {
  uint64_t mantissa = (uint64_t)rnd() << 32 | rnd();
  uint32_t exponent = chance(70) ? 0x3fff - 70 + below(140) : below(0x8000);
  if (chance(90))
    mantissa |= 1ull << 63;
  if (chance(30))
    mantissa &= ~0ull << below(64);
  switch (below(24)) {
  case 0: mantissa = 0, exponent = 0; break;
  case 1: mantissa = 1ull << 63, exponent = 0x7fff; break; /* infinity */
  case 2: exponent = 0x7fff; break;                        /* NaN, or a format that is not supported */
  case 3: mantissa = 1ull << 63, exponent = 0x3fff; break; /* one */
  case 4: exponent = 0; break;                             /* denormal, or pseudo-denormal */
  case 5: mantissa = 3ull << 62, exponent = 0xffff; break; /* the indefinite NaN */
  case 6: mantissa = ~0ull, exponent = 0x7ffe; break;      /* the greatest */
  case 7: mantissa = 1ull << 63, exponent = 1; break;      /* the least that is normal */
  case 8: exponent = 0x403d + below(3); break;             /* around 2^63 */
  case 9: exponent = chance(50) ? 0x3c00 + below(3) : 0x43fe - below(3); break;  /* the ends of doubles */
  case 10: exponent = chance(50) ? 0x3f80 + below(3) : 0x407f - below(3); break; /* of singles */
  default: break;
  }
  exponent |= chance(30) ? 0x8000 : 0;
  memcpy(p, &mantissa, 8);
  memcpy(p + 8, &exponent, 2);
}

static void random_double(uint8_t *p) {
  uint64_t exponent =
      chance(80) ? 0x3ff - 40 + below(80) : (uint64_t[]){0, 1, 0x7fe, 0x7ff, 0x43e, 0x41e}[below(6)];
  uint64_t d = (uint64_t)below(2) << 63 | exponent << 52 | (chance(70) ? (uint64_t)rnd() << 20 : 0);
  memcpy(p, &d, 8);
}

static void random_block(uint8_t *p, unsigned size) {
  for (unsigned i = 0; i + 4 <= size; i += 4) {
    uint32_t v = interesting32();
    if (chance(10) && i + 8 <= size) {
      random_double(p + i);
      i += 4;
      continue;
    }
    if (chance(5))
      v = (v & 0xffff0000) | random_selector();
    memcpy(p + i, &v, 4);
  }
}

static void fill_template(uint8_t *p, unsigned size) {
  for (unsigned i = 0; i < size; i += 16) {
    random_block(p + i, 16);
    if (chance(20))
      random_real80(p + i);
  }
}

void make_templates(void) {
  rng = 0x6a09e667f3bcc908ull;
  for (unsigned i = 0; i < TEMPLATES; i++)
    fill_template(templates[i], NATIVE_DATA_SIZE);
  fill_template(readonly, sizeof readonly);
}

const uint8_t *readonly_page(void) { return readonly; }

/* --- the initial state --- */

static uint16_t random_data_segment(void) {
  static const uint8_t usable[] = {LDT_DATA,       LDT_DATA,   LDT_HALF,       LDT_ODD,       LDT_READ,
                                   LDT_DOWN32,     LDT_DOWN16, LDT_DATA16,     LDT_SMALL16,   LDT_WRAP,
                                   LDT_DOWN_PAGES, LDT_CODE32, LDT_MISALIGNED, LDT_DOWN_READ, LDT_BYTE};
  if (chance(4))
    return 0;
  return chance(5) ? USER_DATA : LDT_SELECTOR(usable[below(sizeof usable)]);
}

static uint16_t random_stack_segment(void) {
  static const uint8_t usable[] = {LDT_DATA,   LDT_HALF,    LDT_ODD,  LDT_DOWN32,     LDT_DOWN16,
                                   LDT_DATA16, LDT_SMALL16, LDT_WRAP, LDT_DOWN_PAGES, LDT_MISALIGNED};
  return LDT_SELECTOR(usable[below(sizeof usable)]);
}

/* Half of the programs run in flat segments, the others with segments of the LDT, in 16- or 32-bit code. */
static void random_segments(struct test_case *t) {
  static const uint8_t code32[] = {LDT_CODE32, LDT_CODE32_X, LDT_CODE_FLAT};
  static const uint8_t code16[] = {LDT_CODE16, LDT_CODE16_64K, LDT_CODE16_X, LDT_CODE_HIGH};
  uint16_t *sel = t->state.sel;
  unsigned world = below(8);
  t->code32 = true;
  for (int s = ES; s <= GS; s++)
    sel[s] = world < 4 ? (s == FS || s == GS ? (chance(50) ? 0 : LDT_SELECTOR(LDT_DATA)) : USER_DATA)
                       : random_data_segment();
  sel[CS] = USER_CODE32;
  if (world >= 4) {
    sel[SS] = random_stack_segment();
    t->code32 = world < 6;
    if (t->code32)
      sel[CS] = chance(30) ? USER_CODE32 : LDT_SELECTOR(code32[below(sizeof code32)]);
    else
      sel[CS] = LDT_SELECTOR(code16[below(sizeof code16)]);
  }
  t->code_base = sel[CS] == USER_CODE32 ? 0 : native_ldt[sel[CS] >> 3].base;
}

static void random_fpu(struct fxsave *fx) {
  fx->fcw = (uint16_t)(0x0340 | (chance(85) ? 0x3f : below(64)) | below(4) << 10);
  if (chance(30))
    fx->fcw = (uint16_t)((fx->fcw & ~0x300) | below(4) << 8);
  fx->fsw = (uint16_t)(below(8) << 11 | (rnd() & 0x4700));
  if (chance(10))
    fx->fsw |= (uint16_t)below(64);
  if (fx->fsw & ~fx->fcw & 0x3f)
    fx->fsw |= 0x8080;
  fx->ftw = (uint8_t)(chance(70) ? 0xff : rnd());
  for (int i = 0; i < 8; i++) {
    random_real80(fx->st[i]);
    random_block(fx->xmm[i], 16);
  }
  fx->mxcsr = 0x1f80;
  if (chance(30))
    fx->mxcsr = (rnd() & 0xe040) | (chance(50) ? 0x1f80 : rnd() & 0x1f80) | (chance(20) ? rnd() & 0x3f : 0);
}

static void random_state(struct test_case *t) {
  struct native_state *s = &t->state;
  memset(s, 0, sizeof *s);
  random_segments(t);
  for (int i = 0; i < 8; i++) {
    s->gpr[i] = chance(65) ? data_address(t) : interesting32();
    if (!t->code32 && chance(15))
      s->gpr[i] |= rnd() << 16;
  }
  bool flat_stack = s->sel[SS] == USER_DATA;
  uint32_t sp = chance(95) ? NATIVE_DATA_SIZE / 2 + below(256) : random_offset();
  s->gpr[ESP] = (sp & (chance(90) ? ~3u : ~0u)) + (flat_stack ? NATIVE_DATA : 0);
  if (!flat_stack && !native_ldt[s->sel[SS] >> 3].big && chance(30))
    s->gpr[ESP] |= rnd() << 16;
  if (s->sel[SS] == LDT_SELECTOR(LDT_WRAP) && chance(50))
    s->gpr[ESP] = 0xffffe000 + below(0x1000);
  s->eflags = FL_1 | FL_IF | (rnd() & FL_ARITH) | (chance(15) ? FL_DF : 0) | (chance(2) ? FL_AC : 0) |
              (chance(5) ? FL_ID : 0);
  random_fpu(&s->fx);
}

/* --- emitting --- */

/* A piece being made, and the sizes of its instruction. */
struct maker {
  struct test_case *t;
  struct piece *p;
  unsigned index; /* of the piece */
  bool memory;    /* names memory */
  unsigned opsize, addrsize;
  const struct recipe *recipe;
};

static void put(struct maker *m, uint32_t v, unsigned size) {
  memcpy(m->p->bytes + m->p->length, &v, size);
  m->p->length = (uint8_t)(m->p->length + size);
}
static void put8(struct maker *m, uint32_t v) { put(m, v, 1); }

static unsigned default_size(const struct maker *m) { return m->t->code32 ? 4 : 2; }
static void put_opsize(struct maker *m, unsigned size) {
  if (size != default_size(m))
    put8(m, 0x66);
}

static void put_target(struct maker *m, unsigned size, bool relative, uint32_t base, unsigned target) {
  struct piece *p = m->p;
  p->fixup[p->fixups++] = (struct fixup){p->length, (uint8_t)size, (uint8_t)target, relative, base};
  put(m, 0, size);
}

/* Any later piece, or the end. Resolved to the end where a piece is the last. */
static unsigned later(const struct maker *m) { return m->index + 1 + below(m->t->count - m->index); }

static void put_mov(struct maker *m, unsigned reg, uint32_t v) {
  put_opsize(m, 4);
  put8(m, 0xb8 | reg);
  put(m, v, 4);
}

static void put_push(struct maker *m, unsigned size, uint32_t v) {
  put_opsize(m, size);
  put8(m, 0x68);
  put(m, v, size);
}

static struct patch *add_patch(struct test_case *t, uint32_t offset, unsigned size, uint32_t value) {
  static struct patch none;
  struct patch *p = t->patches < PATCHES_MAX ? &t->patch[t->patches++] : &none;
  *p = (struct patch){(uint16_t)offset, {0, (uint8_t)size, NO_TARGET, false, 0}, value};
  return p;
}

/* [disp] in the instruction's address size */
static void put_absolute(struct maker *m, unsigned reg, uint32_t address) {
  put8(m, reg << 3 | (m->addrsize == 4 ? 5 : 6));
  put(m, address, m->addrsize);
}

/* A patched operand: where it is, as an address. */
static uint32_t patched_address(const struct maker *m, uint32_t offset) {
  return offset + (is_flat(m->t->state.sel[DS]) ? NATIVE_DATA : 0);
}

static void put_memory16(struct maker *m, unsigned reg) {
  unsigned mod = below(3), rm = below(8);
  put8(m, mod << 6 | reg << 3 | rm);
  if (mod == 0 && rm == 6)
    put(m, data_address(m->t), 2);
  else if (mod == 1)
    put8(m, chance(60) ? rnd() & 0xf0 : rnd());
  else if (mod == 2)
    put(m, rm < 4 ? rnd() : (below(1024) - 512) & (chance(70) ? ~15u : ~0u), 2);
}

static void put_memory32(struct maker *m, unsigned reg) {
  unsigned mod = below(3), rm = below(8);
  if (chance(20)) {
    put_absolute(m, reg, data_address(m->t));
    return;
  }
  put8(m, mod << 6 | reg << 3 | rm);
  bool absolute = mod == 0 && rm == 5;
  if (rm == 4) {
    uint32_t sib = chance(60) ? 0x20 | below(8) : rnd() & 0xff;
    put8(m, sib);
    absolute = mod == 0 && (sib & 7) == 5;
  }
  if (absolute)
    put(m, data_address(m->t), 4);
  else if (mod == 1)
    put8(m, chance(60) ? rnd() & 0xf0 : rnd());
  else if (mod == 2)
    put(m, (below(1024) - 512) & (chance(70) ? ~15u : ~0u), 4);
}

static void put_modrm(struct maker *m, const struct insn_desc *d) {
  unsigned kind = d->ext & 0xff00;
  unsigned reg = kind >= X_R(0) && kind != X_B(0) ? d->ext & 7 : below(8);
  if (kind == X_NONE)
    return;
  if (kind == X_B(0))
    put8(m, d->ext & 0xff);
  else if (!m->memory)
    put8(m, 0xc0 | reg << 3 | below(8));
  else if (m->addrsize == 4)
    put_memory32(m, reg);
  else
    put_memory16(m, reg);
}

static void put_immediates(struct maker *m, const struct insn_desc *d) {
  for (int i = 0; i < 3; i++) {
    switch (d->op[i]) {
    case Ib:
    case Ibs: put8(m, interesting32()); break;
    case Iw: put(m, d->cls == CL_BRANCH || d->cls == CL_FAR ? below(64) : interesting32(), 2); break;
    case Iv: put(m, interesting32(), m->opsize); break;
    case Ob:
    case Ov: put(m, data_address(m->t), m->addrsize); break;
    default: break;
    }
  }
}

static bool row_has_z(const struct insn_desc *d) {
  return d->op[0] == Zb || d->op[0] == Zv || d->op[1] == Zb || d->op[1] == Zv;
}

/* Prefixes in the order given; mandatory ones last, so that a 66h before them is an operand size. */
static void put_prefixes(struct maker *m, const struct insn_desc *d) {
  if (d->pfx != P_66)
    put_opsize(m, m->opsize);
  if (m->addrsize != default_size(m))
    put8(m, 0x67);
  if (!m->recipe->sweep && chance(5))
    put8(m, (uint8_t[]){0x2e, 0x36, 0x3e, 0x26, 0x64, 0x65}[below(6)]);
  if (!m->recipe->sweep && below(500) == 0) /* fifteen bytes, and one more */
    for (unsigned n = 5 + below(9); n > 0; n--)
      put8(m, 0x3e);
  bool sweep = m->recipe->sweep, lockable = (d->attr & A_LOCK) && m->memory;
  bool lock = lockable ? chance(10) : below(500) == 0;
  if (sweep ? m->recipe->form & FORM_LOCK : lock && d->op[0] != Cd && d->op[1] != Cd)
    put8(m, 0xf0); /* but AMD's LOCK MOV CR0 is MOV CR8 */
  if (d->attr & A_REP) {
    if (sweep ? m->recipe->form & FORM_REP : chance(40))
      put8(m, chance(50) ? 0xf2 : 0xf3);
  } else if (!sweep && d->map == MAP_1 && d->pfx == P_ANY && d->opcode != 0x90 && d->opcode != 0xe0 &&
             d->opcode != 0xe1 && chance(1)) {
    put8(m, chance(50) ? 0xf2 : 0xf3); /* means nothing there, but to AMD's LOOPE and LOOPNE */
  }
  if (d->pfx >= P_66)
    put8(m, d->pfx == P_66 ? 0x66 : d->pfx == P_F3 ? 0xf3 : 0xf2);
}

static void put_opcode(struct maker *m, const struct insn_desc *d) {
  put_prefixes(m, d);
  if (d->map != MAP_1)
    put8(m, 0x0f);
  if (d->map >= MAP_0F38)
    put8(m, d->map == MAP_0F38 ? 0x38 : 0x3a);
  put8(m, d->opcode | (row_has_z(d) && (d->opcode & 7) == 0 ? below(8) : 0));
}

/* --- control transfers --- */

/* A few times around: loop: inc, dec, shift or complement something; LOOP loop */
static void put_loop(struct maker *m, const struct insn_desc *d) {
  static const uint8_t bodies[][2] = {{0x40, 0x90}, {0xd0, 0xc0}, {0xf5, 0x90},
                                      {0x4b, 0x90}, {0x01, 0xc3}, {0xa8, 0x03}};
  put_mov(m, ECX, 1 + below(5));
  unsigned head = m->p->length;
  const uint8_t *body = bodies[below(sizeof bodies / sizeof bodies[0])];
  put8(m, body[0]);
  put8(m, body[1]);
  put_opcode(m, d);
  put8(m, head - (m->p->length + 1u));
}

static void put_relative(struct maker *m, const struct insn_desc *d) {
  unsigned size = d->op[0] == Jb ? 1 : m->opsize;
  if (m->p->id >= INSN_LOOPNE_Jb && m->p->id <= INSN_LOOP_Jb && chance(50)) {
    put_loop(m, d);
    return;
  }
  put_opcode(m, d);
  if (!chance(4))
    put_target(m, size, true, 0, later(m));
  else if (size == 1)
    put8(m, 100 + below(28)); /* behind the end of a short program */
  else
    put(m, rnd() | 0x4000, size);
}

static bool code_selector(uint16_t sel) {
  return sel == USER_CODE32 || ((sel & 7) == 7 && sel >> 3 < LDT_COUNT && native_ldt[sel >> 3].code);
}
static uint32_t selector_base(uint16_t sel) { return sel == USER_CODE32 ? 0 : native_ldt[sel >> 3].base; }

static uint16_t random_code_selector(void) {
  static const uint8_t usable[] = {LDT_CODE32,    LDT_CODE32_X, LDT_CODE16,    LDT_CODE16_64K,
                                   LDT_CODE_FLAT, LDT_CODE16_X, LDT_CODE_HIGH, LDT_CODE_ABSENT};
  if (chance(15))
    return random_selector();
  return chance(20) ? USER_CODE32 : LDT_SELECTOR(usable[below(sizeof usable)]);
}

static void push_target(struct maker *m, uint32_t base) {
  put_opsize(m, m->opsize);
  put8(m, 0x68);
  put_target(m, m->opsize, false, base, later(m));
}

/* RET, RETF and IRET, behind pushes of what they take. */
static void put_return(struct maker *m, const struct insn_desc *d) {
  if (chance(95)) {
    uint32_t base = m->t->code_base;
    if (m->p->id == INSN_IRET) {
      put_opsize(m, m->opsize);
      put8(m, 0x9c); /* pushf */
    }
    if (d->cls == CL_FAR) {
      uint16_t sel = random_code_selector();
      put_push(m, m->opsize, sel);
      base = code_selector(sel) ? selector_base(sel) : 0;
    }
    push_target(m, base);
  }
  put_opcode(m, d);
  put_immediates(m, d);
}

/* A pointer in memory, the selector behind its offset if it is a far one. */
static uint32_t patch_pointer(struct maker *m, uint16_t sel, bool far, uint32_t value, unsigned target) {
  uint32_t offset = tame_offset();
  struct patch *p = add_patch(m->t, offset, m->opsize, value);
  if (target != NO_TARGET) {
    p->fixup.target = (uint8_t)target;
    p->fixup.base = !far ? m->t->code_base : code_selector(sel) ? selector_base(sel) : 0;
  }
  if (far)
    add_patch(m->t, offset + m->opsize, 2, sel);
  return patched_address(m, offset);
}

/* CALL and JMP by ModRM, near and far. */
static void put_indirect(struct maker *m, const struct insn_desc *d) {
  bool far = d->op[0] == Mp;
  if (m->memory) {
    uint32_t address = patch_pointer(m, random_code_selector(), far, 0, later(m));
    put_opcode(m, d);
    put_absolute(m, d->ext & 7, address);
    return;
  }
  unsigned reg = below(8);
  if (reg == ESP)
    reg = EAX;
  put_opsize(m, 4);
  put8(m, 0xb8 | reg);
  put_target(m, 4, false, m->t->code_base, later(m));
  put_opcode(m, d);
  put8(m, 0xc0 | (d->ext & 7) << 3 | reg);
}

static void put_far_direct(struct maker *m, const struct insn_desc *d) {
  uint16_t sel = random_code_selector();
  put_opcode(m, d);
  put_target(m, m->opsize, false, code_selector(sel) ? selector_base(sel) : 0, later(m));
  put(m, sel, 2);
}

/* --- segments --- */

/* LES and its kind: a pointer whose offset is an address again. */
static void put_load_pointer(struct maker *m, const struct insn_desc *d) {
  uint16_t sel = m->p->id == INSN_LSS_Gv_Mp && chance(70) ? random_stack_segment() : random_selector();
  uint32_t value = data_address(m->t);
  unsigned reg = below(8);
  if (m->p->id == INSN_LSS_Gv_Mp && chance(70))
    reg = ESP;
  uint32_t address = patch_pointer(m, sel, true, value, NO_TARGET);
  put_opcode(m, d);
  put_absolute(m, reg, address);
}

/* With a selector in a register or in memory: MOV Sreg, LAR, LSL, VERR, VERW, ARPL, LLDT, LTR */
static void put_with_selector(struct maker *m, const struct insn_desc *d) {
  uint16_t sel = m->p->id == INSN_MOV_SS_Ew && chance(60) ? random_stack_segment() : random_selector();
  unsigned kind = d->ext & 0xff00, reg = kind == X_RM ? below(8) : d->ext & 7, rm = below(8);
  if (m->memory) {
    uint32_t offset = tame_offset();
    add_patch(m->t, offset, 2, sel);
    put_opcode(m, d);
    put_absolute(m, reg, patched_address(m, offset));
    return;
  }
  put_mov(m, rm == ESP ? EAX : rm, sel | (chance(30) ? rnd() << 16 : 0));
  put_opcode(m, d);
  put8(m, 0xc0 | reg << 3 | (rm == ESP ? EAX : rm));
}

/*
 * FXSAVE and FXRSTOR: AMD's processors store and load the x87's pointers only with an exception, and their
 * MXCSR_MASK has a bit more. So an FLDENV zeroes the pointers before an FXSAVE, that bit is cleared in memory
 * behind it, and an FCOM sets the pointers after an FXRSTOR.
 */
static void put_fxsave(struct maker *m, const struct insn_desc *d) {
  static const uint32_t image[7] = {0x037f, 0x1800, 0x2aaa};
  uint32_t offset = tame_offset(), address = patched_address(m, tame_offset());
  unsigned addrsize = m->addrsize;
  bool last = m->index + 1 == m->t->count;
  for (unsigned i = 0; i < 7; i++)
    add_patch(m->t, offset + 4 * i, 4, image[i]);
  m->addrsize = default_size(m);
  put_opsize(m, 4);
  put8(m, 0xd9);
  put_absolute(m, 4, patched_address(m, offset));
  if (last) {
    m->addrsize = addrsize;
    put_opcode(m, d);
    put_modrm(m, d);
    return;
  }
  put8(m, 0x0f);
  put8(m, 0xae);
  put_absolute(m, 0, address);
  put8(m, 0xc6);
  put_absolute(m, 0, address + 30);
  put8(m, 0);
}

static void put_fxrstor(struct maker *m, const struct insn_desc *d) {
  put_opcode(m, d);
  put_modrm(m, d);
  if (m->index + 1 == m->t->count)
    return;
  m->addrsize = default_size(m);
  put8(m, 0xd8);
  put_absolute(m, 2, data_address(m->t));
}

static void put_string(struct maker *m, const struct insn_desc *d) {
  put_mov(m, ECX, 1 + below(40)); /* a REP that ends */
  if (chance(60))
    put_mov(m, ESI, data_address(m->t));
  if (chance(60))
    put_mov(m, EDI, data_address(m->t));
  put_opcode(m, d);
}

/* --- programs --- */

/* Undefined flags that the emulator does not reproduce must not reach what follows: or al, al */
static void settle_flags(struct maker *m, unsigned id) {
  if (!leaves_undefined(id) || m->index + 1 == m->t->count)
    return;
  put8(m, 0x08);
  put8(m, 0xc0);
}

static void put_row(struct maker *m, const struct insn_desc *d) {
  enum insn_op op = d->op[0];
  if (op == Jb || op == Jv)
    put_relative(m, d);
  else if (op == Ap)
    put_far_direct(m, d);
  else if (m->p->id == INSN_RET || m->p->id == INSN_RET_Iw || m->p->id == INSN_RETF ||
           m->p->id == INSN_RETF_Iw || m->p->id == INSN_IRET)
    put_return(m, d);
  else if ((d->cls == CL_BRANCH || d->cls == CL_FAR) && (d->ext & 0xff00) >= X_R(0))
    put_indirect(m, d);
  else if (d->op[1] == Mp)
    put_load_pointer(m, d);
  else if (op == Sw || ((d->attr & A_PE) && (d->attr & A_LOAD)))
    put_with_selector(m, d);
  else if (m->p->id == INSN_FXSAVE)
    put_fxsave(m, d);
  else if (m->p->id == INSN_FXRSTOR)
    put_fxrstor(m, d);
  else if (d->cls == CL_STRING)
    put_string(m, d);
  else {
    if (d->cls == CL_SEG && op != OP_NONE && chance(80)) /* POP Sreg */
      put_push(m, m->opsize, op == SS_ ? random_stack_segment() : random_selector());
    put_opcode(m, d);
    put_modrm(m, d);
    put_immediates(m, d);
  }
  settle_flags(m, m->p->id);
}

static bool wants_memory(const struct insn_desc *d) {
  switch (d->ext & 0xff00) {
  case X_MEM:
  case X_MR(0): return true;
  case X_NONE:
  case X_REG:
  case X_RR(0):
  case X_B(0): return false;
  default: return d->op[0] != Rd && d->op[1] != Rd && chance(50);
  }
}

static void make_piece(struct test_case *t, unsigned index, const struct recipe *r, unsigned id) {
  const struct insn_desc *d = &insn_desc[id];
  struct maker m = {.t = t, .p = &t->piece[index], .index = index, .recipe = r};
  *m.p = (struct piece){.id = (uint16_t)id};
  m.memory = wants_memory(d);
  bool other = (d->pfx == P_ANY || row_sized(id)) && chance(!row_sized(id) ? 4 : t->code32 ? 25 : 40);
  m.opsize = t->code32 != other ? 4 : 2;
  m.addrsize = t->code32 != chance(t->code32 ? 3 : 25) ? 4 : 2;
  if (r->sweep) {
    m.memory = r->form & FORM_MEMORY;
    m.opsize = !row_sized(id) ? default_size(&m) : r->form & FORM_OP16 ? 2 : 4;
    m.addrsize = r->form & FORM_ADDR16 ? 2 : 4;
  }
  put_row(&m, d);
}

/* Encodings that no x86 of this kind has, register forms where only memory has a meaning among them. */
static void make_undefined(struct test_case *t, unsigned index) {
  static const uint8_t encodings[][4] = {
      {2, 0x0f, 0x0b},       {3, 0x0f, 0xb9, 0xc0}, {2, 0x0f, 0x04},       {2, 0x0f, 0x0a},
      {2, 0x0f, 0x0c},       {3, 0x0f, 0x00, 0xf0}, {2, 0xff, 0xf8},       {2, 0xff, 0xd9 | 0x20},
      {2, 0xfe, 0xd0},       {2, 0xfe, 0xf8},       {2, 0xc6, 0xc8},       {2, 0xc7, 0xd0},
      {2, 0x8d, 0xc1},       {3, 0x0f, 0xba, 0xc0}, {3, 0x0f, 0xba, 0xd9}, {2, 0x8e, 0xc8},
      {2, 0x8e, 0xf0},       {2, 0x8c, 0xf1},       {3, 0x0f, 0xc7, 0xc8}, {2, 0xd9, 0xd1},
      {2, 0xd9, 0xe2},       {2, 0xd9, 0xe6},       {2, 0xd9, 0xef},       {2, 0xda, 0xe0},
      {2, 0xda, 0xe8},       {2, 0xdb, 0xe5},       {2, 0xdb, 0xf8},       {2, 0xdd, 0xf0},
      {2, 0xdf, 0xf8},       {3, 0x0f, 0x71, 0xc0}, {3, 0x0f, 0x72, 0xc8}, {3, 0x0f, 0x73, 0xc0},
      {3, 0x0f, 0xae, 0xc8}, {3, 0x0f, 0x24, 0xc0}, {3, 0x0f, 0x26, 0xc0}, {3, 0x0f, 0xb2, 0xc0},
      {3, 0x0f, 0x36, 0xc0}, {3, 0x0f, 0xa6, 0xc0},
  };
  const uint8_t *e = encodings[below(sizeof encodings / sizeof encodings[0])];
  struct piece *p = &t->piece[index];
  *p = (struct piece){.id = INSN_UD2, .length = e[0]};
  memcpy(p->bytes, e + 1, e[0]);
}

/* Rows that end a program at once, or nearly so, come seldom. */
static bool wanted(unsigned id) {
  const struct insn_desc *d = &insn_desc[id];
  if ((d->attr & A_CPL0) || d->cls == CL_IO || id == INSN_CLI || id == INSN_STI || id == INSN_INT3 ||
      id == INSN_INT1 || id == INSN_INT_Ib || id == INSN_INTO || id == INSN_UD0_Gv_Ev ||
      id == INSN_UD1_Gv_Ev || id == INSN_UD2 || id == INSN_RSM || id == INSN_BOUND_Gv_Ma ||
      id == INSN_RDPMC || (d->attr & A_IOPL && d->cls == CL_STRING))
    return chance(6);
  if (d->cls == CL_SEG || d->cls == CL_FAR)
    return chance(35);
  return true;
}

void make_case(struct test_case *t, const struct recipe *r, uint64_t seed) {
  rng = seed * 0xd1342543de82ef95ull;
  if (r->sweep)
    rng ^= (uint64_t)r->rows[0] << 40 | (uint64_t)r->form << 32;
  do
    random_state(t);
  while (r->sweep && (r->form & FORM_ADDR16) &&
         is_flat(t->state.sel[DS])); /* nothing is mapped below 64 KB */
  t->template = below(TEMPLATES);
  t->patches = 0;
  t->count = r->sweep ? 1 : 1 + below(r->length_max);
  for (unsigned i = 0; i < t->count; i++) {
    if (!r->sweep && below(400) == 0) {
      make_undefined(t, i);
      continue;
    }
    unsigned id;
    do
      id = r->rows[below(r->row_count)];
    while (!r->sweep && r->row_count > 40 && !wanted(id));
    make_piece(t, i, r, id);
  }
  t->start = chance(90) ? 64 : chance(50) ? 0 : 64 + below(1024);
  if (t->state.sel[CS] == LDT_SELECTOR(LDT_CODE16_X)) /* within its limit */
    t->start = 64;
  else if (!r->sweep && chance(2)) /* off the end of the page */
    t->start = NATIVE_CODE_SIZE - 1 - below(40);
}

static uint32_t resolve(const struct fixup *f, const unsigned *at, unsigned origin) {
  uint32_t target = at[f->target];
  return f->relative ? target - (origin + f->at + f->size) : NATIVE_CODE + target - f->base;
}

void lay_out(struct test_case *t, uint8_t *code, uint8_t *data) {
  unsigned at[PIECES_MAX + 1];
  at[0] = t->start;
  for (unsigned i = 0; i < t->count; i++)
    at[i + 1] = at[i] + t->piece[i].length;
  t->bytes = at[t->count] - t->start;
  t->state.eip = NATIVE_CODE + t->start - t->code_base;
  memset(code, 0xcc, NATIVE_CODE_SIZE);
  for (unsigned i = 0; i < t->count; i++) {
    struct piece *p = &t->piece[i];
    for (unsigned k = 0; k < p->fixups; k++) {
      uint32_t value = resolve(&p->fixup[k], at, at[i]);
      memcpy(p->bytes + p->fixup[k].at, &value, p->fixup[k].size);
    }
    if (at[i] < NATIVE_CODE_SIZE)
      memcpy(code + at[i], p->bytes,
             p->length < NATIVE_CODE_SIZE - at[i] ? p->length : NATIVE_CODE_SIZE - at[i]);
  }
  memcpy(data, templates[t->template], NATIVE_DATA_SIZE);
  for (unsigned i = 0; i < t->patches; i++) {
    const struct patch *p = &t->patch[i];
    uint32_t value = p->fixup.target == NO_TARGET ? p->value : resolve(&p->fixup, at, 0);
    memcpy(data + p->offset, &value, p->fixup.size);
  }
}
