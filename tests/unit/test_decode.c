/* SPDX-License-Identifier: MIT */
/*
 * The decoder against Capstone: every opcode with every ModRM byte, and random prefixes and operands, in 16- and
 * 32-bit code, must have the same length and mnemonic. Where the two differ by design (what no model has,
 * aliases, Capstone's own errors), the difference is listed here by opcode. Then what Capstone cannot say: prefixes,
 * features, lengths, address forms.
 */
#include <capstone/capstone.h>
#include <check.h>
#include <stdio.h>
#include <string.h>

#include "core/cpu.h"
#include "core/insn.h"

static uint64_t random_state = 88172645463325252ull;
static uint32_t random_next(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return (uint32_t)(random_state >> 16);
}

static csh capstone[2]; /* 16-bit, 32-bit */

static void setup(void) {
  ck_assert_int_eq(cs_open(CS_ARCH_X86, CS_MODE_16, &capstone[0]), CS_ERR_OK);
  ck_assert_int_eq(cs_open(CS_ARCH_X86, CS_MODE_32, &capstone[1]), CS_ERR_OK);
}

static void teardown(void) {
  cs_close(&capstone[0]);
  cs_close(&capstone[1]);
}

/* Capstone knows it, no model of ours has it. */
static bool foreign(const cs_insn *ci) {
  static const uint8_t groups[] = {
    X86_GRP_VM, X86_GRP_3DNOW, X86_GRP_AES, X86_GRP_ADX, X86_GRP_AVX, X86_GRP_AVX2, X86_GRP_AVX512,
    X86_GRP_BMI, X86_GRP_BMI2, X86_GRP_FMA, X86_GRP_FMA4, X86_GRP_FSGSBASE, X86_GRP_HLE, X86_GRP_RTM,
    X86_GRP_SHA, X86_GRP_SSE4A, X86_GRP_XOP, X86_GRP_TBM, X86_GRP_SMAP, X86_GRP_PCLMUL,
  };
  static const char *const names[] = {
    "getsec", "sysret", "syscall", "femms", "xsave", "xrstor", "rdrand", "rdseed", "rdtscp", "monitor",
    "mwait", "xgetbv", "xsetbv", "clac", "stac", "encls", "enclu", "swapgs", "clwb", "clflushopt", "pcommit",
    "xcrypt", "xsha", "xstore", "montmul", "invpcid", "clgi", "stgi", "skinit", "vm", "inv", "rdpkru", "wrpkru",
    "clzero", "aes", "gf2p8", "k", "xtest", "xend", "xabort", "xbegin", "movabs", "rdpid", "ptwrite", "v",
    "pi2f", "pf2i", "pf", "pavgusb", "pswapd", "pmulhrw", "insertq", "extrq", "movntss", "movntsd", "sha",
    "cldemote", "wbnoinvd", "tpause", "umonitor", "umwait", "movdir", "rdssp", "incssp", "wrss", "rstorssp",
    "setssbsy", "clrssbsy", "saveprev", "endbr", "adcx", "adox", "pclmul",
  };
  for (size_t i = 0; i < sizeof groups; i++)
    for (int g = 0; g < ci->detail->groups_count; g++)
      if (ci->detail->groups[g] == groups[i])
        return true;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strncmp(ci->mnemonic, names[i], strlen(names[i])) == 0)
      return true;
  return false;
}

/* Rows that mandatory prefixes tell apart. */
static bool by_prefix(const struct insn *in) {
  uint8_t cls = insn_describe(in)->cls;
  return cls == CL_SSE || cls == CL_MMX || insn_describe(in)->pfx != P_ANY;
}

/*
 * Valid for us, not (or not to this length) for Capstone: the reserved NOP space and PREFETCHW with register operands,
 * UD0 and UD1, whose ModRM byte it leaves out, fences with rm other than 0, old aliases.
 */
static bool only_ours(const struct insn *in) {
  if (in->map == MAP_0F)
    return in->opcode == 0x0d || (in->opcode >= 0x18 && in->opcode <= 0x1f) || in->opcode == 0xb9 ||
           in->opcode == 0xff || in->opcode == 0xae;
  return false;
}

/* Same instruction, other name. */
static bool same_name(const char *theirs, const struct insn *in) {
  static const struct {
    const char *ours, *theirs;
  } alias[] = {
    {"cwd", "cdq"}, {"cbw", "cwde"}, {"fwait", "wait"}, {"shl", "sal"}, {"jcxz", "jecxz"}, {"nop", "prefetch"},
    {"bsf", "tzcnt"}, {"bsr", "lzcnt"}, {"ud1", "ud2b"}, {"pusha", "pushal"}, {"popa", "popal"}, {"movq", "movd"},
    {"movd", "movq"}, {"nop", "xchg"}, {"cmp", "cmp"}, {"fxch", "fxch"}, {"fstp1", "fstpnce"},
    {"pause", "nop"}, {"prefetchw", "prefetch"}, {"nop", "bnd"}, {"nop", "endbr"}, {"nop", "cldemote"},
  };
  const char *ours = insn_describe(in)->mnemonic;
  size_t n = strlen(ours);
  while (n > 0 && ours[n - 1] >= '0' && ours[n - 1] <= '9' && in->map == MAP_1)
    n--; /* fstp9 and the like: x87 aliases carry a number */
  const char *word = strrchr(theirs, ' '); /* "lock xchg", "rep movsb" */
  word = word ? word + 1 : theirs;
  if (strncmp(word, ours, n) == 0)
    return true;
  if (strncmp(ours, "cmp", 3) == 0 && by_prefix(in) && strncmp(word, "cmp", 3) == 0)
    return true;
  for (size_t i = 0; i < sizeof alias / sizeof alias[0]; i++)
    if (strcmp(ours, alias[i].ours) == 0 && strncmp(word, alias[i].theirs, strlen(alias[i].theirs)) == 0)
      return true;
  return false;
}

static const char *hex(const uint8_t *bytes, unsigned n) {
  static char text[64];
  for (unsigned i = 0; i < n && i < 16; i++)
    snprintf(text + 2 * i, 3, "%02x", bytes[i]);
  return text;
}

/* `mandatory`: more than one of 66, F2, F3 may be there; Capstone's choice among rows is not ours to follow then. */
static void compare(const uint8_t bytes[16], bool code32, bool mandatory) {
  struct insn in;
  cs_insn *ci;
  cs_option(capstone[code32], CS_OPT_DETAIL, CS_OPT_ON);
  int status = insn_decode(&in, bytes, INSN_MAX, code32, ~0ull);
  size_t count = cs_disasm(capstone[code32], bytes, INSN_MAX, 0, 1, &ci);
  bool ours = status == INSN_OK;
  /* In 16-bit code Capstone takes 66h as absent and the other way round when it looks for SSE rows. */
  bool skip = ours && (by_prefix(&in) || in.map >= MAP_0F38) && (!code32 || mandatory);
  if (ours && count == 0) {
    ck_assert_msg(skip || only_ours(&in), "%d: %s: only ours: %s", code32 ? 32 : 16, hex(bytes, 15),
                  insn_describe(&in)->mnemonic);
  } else if (!ours && count != 0) {
    bool absent_register = in.map == MAP_0F ? (in.opcode & 0xfc) == 0x20 : in.opcode == 0x8e || in.opcode == 0x8c;
    bool needs_no_prefix = in.map != MAP_1 && (in.rep || in.p66); /* rows with P_NP */
    ck_assert_msg(foreign(ci) || in.lock || absent_register || needs_no_prefix || (in.map != MAP_1 && !code32),
                  "%d: %s: only Capstone's: %s %s", code32 ? 32 : 16, hex(bytes, ci->size), ci->mnemonic, ci->op_str);
  } else if (ours && !skip && !only_ours(&in)) {
    bool wrong_there = in.opcode == 0xe8 || in.opcode == 0xe9; /* F3 66 E8: Capstone reads four bytes */
    ck_assert_msg(ci->size == in.length || (mandatory && wrong_there), "%d: %s: length %u, Capstone: %u %s %s",
                  code32 ? 32 : 16, hex(bytes, ci->size), in.length, ci->size, ci->mnemonic, ci->op_str);
    ck_assert_msg(same_name(ci->mnemonic, &in), "%d: %s: %s, Capstone: %s %s", code32 ? 32 : 16,
                  hex(bytes, ci->size), insn_describe(&in)->mnemonic, ci->mnemonic, ci->op_str);
  }
  if (count)
    cs_free(ci, count);
}

static bool is_prefix(uint8_t b) {
  return b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || (b >= 0x64 && b <= 0x67) || b == 0xf0 || b == 0xf2 ||
         b == 0xf3;
}

static void random_bytes(uint8_t bytes[16]) {
  for (int i = 0; i < 16; i++)
    bytes[i] = (uint8_t)random_next();
}

START_TEST(test_every_modrm) {
  static const uint8_t escape[4][2] = {{0, 0}, {0x0f, 0}, {0x0f, 0x38}, {0x0f, 0x3a}};
  for (int map = 0; map < 4; map++) {
    for (unsigned opcode = 0; opcode < 256; opcode++) {
      if (map == 0 && (is_prefix((uint8_t)opcode) || opcode == 0x0f || opcode == 0xc4 || opcode == 0xc5))
        continue; /* C4 and C5 with register operands are VEX to Capstone */
      if (map == 1 && (opcode == 0x38 || opcode == 0x3a || opcode == 0x0f))
        continue; /* 0F 0F is 3DNow! */
      for (unsigned modrm = 0; modrm < 256; modrm++) {
        if (map == 0 && ((opcode == 0x8f && (modrm & 0x38)) || (opcode == 0x62 && modrm >= 0xc0)))
          continue; /* XOP, EVEX */
        uint8_t bytes[16];
        unsigned n = 0;
        random_bytes(bytes);
        while (n < 2 && escape[map][n])
          bytes[n] = escape[map][n], n++;
        bytes[n++] = (uint8_t)opcode;
        bytes[n] = (uint8_t)modrm;
        compare(bytes, true, false);
        compare(bytes, false, false);
      }
    }
  }
}
END_TEST

START_TEST(test_random) {
  static const uint8_t prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0x2e, 0x65, 0x67, 0x66};
  for (int i = 0; i < 300000; i++) {
    uint8_t bytes[16];
    unsigned n = 0, mandatory = 0;
    random_bytes(bytes);
    for (unsigned count = random_next() % 3; count > 0; count--) {
      bytes[n] = prefixes[random_next() % sizeof prefixes];
      mandatory += bytes[n] == 0x66 || bytes[n] >= 0xf2;
      n++;
    }
    if (random_next() % 3 == 0)
      bytes[n++] = 0x0f;
    while (is_prefix(bytes[n]) || ((bytes[n] & 0xfe) == 0xc4) || bytes[n] == 0x62 || bytes[n] == 0x8f ||
           (bytes[n] & 0xfc) == 0xa0)
      bytes[n]++; /* prefixes make these VEX, EVEX, XOP; Capstone refuses moffs behind 66 and REP */
    compare(bytes, i & 1, mandatory > 0);
  }
}
END_TEST

/* Each row of the table is what its own encoding decodes to. */
START_TEST(test_rows_reachable) {
  for (unsigned id = 0; id < INSN_COUNT; id++) {
    const struct insn_desc *d = &insn_desc[id];
    uint8_t bytes[16] = {0};
    unsigned n = 0;
    if (d->pfx == P_66 || d->pfx == P_F3 || d->pfx == P_F2)
      bytes[n++] = d->pfx == P_66 ? 0x66 : d->pfx == P_F3 ? 0xf3 : 0xf2;
    if (d->map != MAP_1)
      bytes[n++] = 0x0f;
    if (d->map >= MAP_0F38)
      bytes[n++] = d->map == MAP_0F38 ? 0x38 : 0x3a;
    /* The last of eight registers: 90h itself is NOP. */
    bytes[n++] = d->op[0] == Zb || d->op[0] == Zv ? d->opcode + 7 : d->opcode;
    uint8_t reg = (d->ext & 7) << 3;
    switch (d->ext & 0xff00) {
    case X_REG: bytes[n] = 0xc0; break;
    case X_R(0): bytes[n] = 0xc0 | reg; break;
    case X_MR(0): bytes[n] = reg; break;
    case X_RR(0): bytes[n] = 0xc0 | reg; break;
    case X_B(0): bytes[n] = d->ext & 0xff; break;
    default: break;
    }
    struct insn in;
    int status = INSN_UD;
    /* An exact row may cover some registers of a general one: try all. */
    for (unsigned rm = 0; rm < 8 && (status != INSN_OK || in.id != id); rm++) {
      status = insn_decode(&in, bytes, INSN_MAX, true, ~0ull);
      if ((d->ext & 0xff00) == X_B(0))
        break;
      bytes[n]++;
    }
    ck_assert_msg(status == INSN_OK && in.id == id, "row %u %s %02x", id, d->mnemonic, d->opcode);
  }
}
END_TEST

static struct insn decode(bool code32, int expect, unsigned n, const char *bytes) {
  struct insn in;
  int status = insn_decode(&in, (const uint8_t *)bytes, n, code32, ~0ull);
  ck_assert_msg(status == expect, "%s: %d, not %d", hex((const uint8_t *)bytes, n), status, expect);
  return in;
}
#define DECODE(code32, expect, bytes) decode(code32, expect, sizeof(bytes) - 1, bytes)

START_TEST(test_operands) {
  struct insn in = DECODE(true, INSN_OK, "\x8b\x84\x91\x78\x56\x34\x12"); /* mov eax, [ecx + edx*4 + 12345678h] */
  ck_assert(in.base == ECX && in.index == EDX && in.scale == 2 && in.disp == 0x12345678 && in.seg == DS);
  in = DECODE(true, INSN_OK, "\x8b\x44\x24\xfc"); /* mov eax, [esp - 4] */
  ck_assert(in.base == ESP && in.index == 0xff && in.disp == 0xfffffffcu && in.seg == SS);
  in = DECODE(true, INSN_OK, "\x64\x8b\x45\x08"); /* mov eax, fs:[ebp + 8] */
  ck_assert(in.base == EBP && in.seg == FS && in.seg_override == FS);
  in = DECODE(true, INSN_OK, "\x8b\x04\x25\x10\x00\x00\x00"); /* mov eax, [10h] with a SIB byte */
  ck_assert(in.base == 0xff && in.index == 0xff && in.disp == 0x10 && in.seg == DS);
  in = DECODE(false, INSN_OK, "\x8b\x42\xf0"); /* mov ax, [bp + si - 16] */
  ck_assert(in.base == EBP && in.index == ESI && in.disp == 0xfffffff0u && in.seg == SS && in.opsize == 2);
  in = DECODE(false, INSN_OK, "\xa1\x34\x12"); /* mov ax, [1234h] */
  ck_assert(in.disp == 0x1234 && in.addrsize == 2 && in.seg == DS);
  in = DECODE(false, INSN_OK, "\x66\x67\xa1\x78\x56\x34\x12");
  ck_assert(in.disp == 0x12345678 && in.addrsize == 4 && in.opsize == 4);
  in = DECODE(false, INSN_OK, "\x66\xea\x78\x56\x34\x12\x10\x00"); /* jmp 10h:12345678h */
  ck_assert(in.imm == 0x12345678 && in.imm2 == 0x10);
  in = DECODE(true, INSN_OK, "\xc8\x34\x12\x05"); /* enter 1234h, 5 */
  ck_assert(in.imm == 0x1234 && in.imm2 == 5);
  in = DECODE(true, INSN_OK, "\x83\xc0\xff"); /* add eax, -1 */
  ck_assert(in.imm == 0xffffffffu);
  in = DECODE(true, INSN_OK, "\x5d"); /* pop ebp */
  ck_assert(in.rm == EBP && in.id == INSN_POP_Zv);
  in = DECODE(true, INSN_OK, "\x66\xe9\xfe\xff"); /* jmp -2, 16 bits */
  ck_assert(in.imm == 0xfffffffeu && in.opsize == 2);
  in = DECODE(true, INSN_OK, "\x66\x0f\x22\x18"); /* mov cr3, eax: mod is ignored, 66 too */
  ck_assert(in.id == INSN_MOV_Cd_Rd && in.reg == 3 && in.rm == EAX && !in.is_mem && in.opsize == 4);
}
END_TEST

START_TEST(test_limits) {
  DECODE(true, INSN_MORE, "\x8b");
  DECODE(true, INSN_MORE, "\x8b\x84\x91\x78\x56\x34");
  DECODE(true, INSN_MORE, "\x66\x66");
  DECODE(true, INSN_OK, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90");
  DECODE(true, INSN_TOO_LONG, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x90");
  DECODE(true, INSN_TOO_LONG, "\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x81\xc0\x34\x12\x00");
}
END_TEST

START_TEST(test_lock) {
  DECODE(true, INSN_OK, "\xf0\x01\x00"); /* lock add [eax], eax */
  DECODE(true, INSN_UD, "\xf0\x01\xc0"); /* register */
  DECODE(true, INSN_UD, "\xf0\x03\x00"); /* memory is the source */
  DECODE(true, INSN_UD, "\xf0\x39\x00"); /* cmp */
  DECODE(true, INSN_UD, "\xf0\x90");
  DECODE(true, INSN_OK, "\xf0\x0f\xc7\x08"); /* lock cmpxchg8b [eax] */
}
END_TEST

START_TEST(test_features) {
  static const struct {
    const char *bytes;
    uint64_t feature;
  } cases[] = {
    {"\x0f\xc1\xc8", FEAT_486}, {"\x0f\xc8", FEAT_FIRMWARE}, {"\x0f\xa2", FEAT_CPUID}, {"\x0f\x31", FEAT_TSC},
    {"\x0f\xc7\x08", FEAT_CX8}, {"\x0f\x44\xc0", FEAT_CMOV}, {"\xf3\x0f\xb8\xc0", FEAT_POPCNT},
    {"\x0f\x20\xe0", FEAT_PENTIUM}, {"\x0f\x6f\xc0", FEAT_MMX}, {"\x0f\x28\xc0", FEAT_SSE},
    {"\x66\x0f\x28\xc0", FEAT_SSE2}, {"\x66\x0f\x38\x00\xc0", FEAT_SSSE3}, {"\x66\x0f\x38\x17\xc0", FEAT_SSE41},
    {"\x0f\x1f\xc0", FEAT_P6}, {"\x0f\x38\xf0\x00", FEAT_MOVBE}, {"\xf2\x0f\x38\xf0\xc0", FEAT_SSE42},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct insn in;
    const uint8_t *bytes = (const uint8_t *)cases[i].bytes;
    ck_assert_int_eq(insn_decode(&in, bytes, 5, true, ~0ull), INSN_OK);
    ck_assert_msg(insn_decode(&in, bytes, 5, true, ~cases[i].feature) == INSN_UD, "%s", hex(bytes, 5));
  }
}
END_TEST

START_TEST(test_refused) {
  DECODE(true, INSN_UD, "\x8e\xc8"); /* mov cs, ax */
  DECODE(true, INSN_UD, "\x8e\xf0"); /* segment 6 */
  DECODE(true, INSN_UD, "\x8c\xf8"); /* segment 7 */
  DECODE(true, INSN_UD, "\x0f\x20\xc8"); /* cr1 */
  DECODE(true, INSN_UD, "\x8d\xc0"); /* lea with a register */
  DECODE(true, INSN_UD, "\xff\xf8"); /* ff /7 */
  DECODE(true, INSN_UD, "\xff\xd8"); /* far call through a register */
  DECODE(true, INSN_UD, "\xc4\xc0"); /* les with a register: VEX elsewhere */
}
END_TEST

START_TEST(test_aliases) {
  ck_assert_int_eq(DECODE(true, INSN_OK, "\x90").id, INSN_NOP);
  ck_assert_int_eq(DECODE(true, INSN_OK, "\xf3\x90").id, INSN_PAUSE);
  ck_assert_int_eq(DECODE(true, INSN_OK, "\x91").id, INSN_XCHG_Zv_eAX);
  ck_assert_int_eq(DECODE(true, INSN_OK, "\x82\xc0\x01").id, INSN_ADD_Eb_Ib_82);
  ck_assert_int_eq(DECODE(true, INSN_OK, "\xf6\xc8\x01").id, INSN_TEST_Eb_Ib_1);
  ck_assert_int_eq(DECODE(true, INSN_OK, "\xd0\xf0").id, INSN_SHL_Eb_1_6);
  ck_assert_int_eq(DECODE(true, INSN_OK, "\xd6").id, INSN_SALC);
  ck_assert_int_eq(DECODE(true, INSN_OK, "\xf1").id, INSN_INT1);
}
END_TEST

Suite *suite_decode(void) {
  Suite *s = suite_create("decode");
  TCase *tc = tcase_create("capstone");
  tcase_add_checked_fixture(tc, setup, teardown);
  tcase_set_timeout(tc, 60);
  tcase_add_test(tc, test_every_modrm);
  tcase_add_test(tc, test_random);
  suite_add_tcase(s, tc);
  tc = tcase_create("decode");
  tcase_add_test(tc, test_rows_reachable);
  tcase_add_test(tc, test_operands);
  tcase_add_test(tc, test_limits);
  tcase_add_test(tc, test_lock);
  tcase_add_test(tc, test_features);
  tcase_add_test(tc, test_refused);
  tcase_add_test(tc, test_aliases);
  suite_add_tcase(s, tc);
  return s;
}
