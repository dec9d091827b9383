/* SPDX-License-Identifier: MIT */
/*
 * What CPU is this, and does it compute? Integer, x87, MMX/SSE and self-modifying code against results known
 * from the manuals or worked out by hand (80-bit constants are bit patterns).
 */
#include "demo.h"

struct cpu_features cpu;

struct extended { /* an 80-bit number */
  u32 low, high;
  u16 sign_exponent;
} __attribute__((packed));

static bool flag_changes(u32 bit) {
  u32 before, after;
  __asm__ volatile(
      "pushfl; popl %0; movl %0, %1; xorl %2, %1; pushl %1; popfl; pushfl; popl %1; pushl %0; popfl"
      : "=&r"(before), "=&r"(after)
      : "r"(bit));
  return (before ^ after) & bit;
}

static void cpuid(u32 leaf, u32 *a, u32 *b, u32 *c, u32 *d) {
  __asm__ volatile("cpuid" : "=a"(*a), "=b"(*b), "=c"(*c), "=d"(*d) : "a"(leaf), "c"(0));
}

static bool fpu_present(void) {
  u16 status = 0x5a5a, control = 0;
  __asm__ volatile("fninit; fnstsw %0; fnstcw %1" : "+m"(status), "=m"(control));
  return !(status & 0xff) && (control & 0x103f) == 0x3f;
}

void cpu_identify(void) {
  u32 a, b, c, d, top;
  u32 cr0;
  cpu.fpu = fpu_present();
  __asm__ volatile("mov %%cr0, %0" : "=r"(cr0));
  cr0 = (cr0 & ~0xcu) | 2; /* no EM or TS; MP */
  if (cpu.fpu && flag_changes(1u << 18))
    cr0 |= 0x20; /* a 486 has NE */
  __asm__ volatile("mov %0, %%cr0" : : "r"(cr0));
  cpu.cpuid = flag_changes(1u << 21);
  if (!cpu.cpuid) {
    cpu.family = flag_changes(1u << 18) ? 4 : 3;
    memcpy(cpu.vendor, "no CPUID", 9);
    return;
  }
  cpuid(0, &top, &b, &c, &d);
  memcpy(cpu.vendor, &b, 4);
  memcpy(cpu.vendor + 4, &d, 4);
  memcpy(cpu.vendor + 8, &c, 4);
  if (top < 1)
    return;
  cpuid(1, &a, &b, &c, &d);
  cpu.family = a >> 8 & 15;
  cpu.model = a >> 4 & 15;
  if (cpu.family == 15 || cpu.family == 6)
    cpu.model |= a >> 12 & 0xf0;
  cpu.tsc = d >> 4 & 1;
  cpu.fxsr = d >> 24 & 1;
  cpu.sse = cpu.fxsr && (d >> 25 & 1);
  cpu.sse2 = cpu.sse && (d >> 26 & 1);
  if (cpu.fxsr) {
    u32 cr4;
    __asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
    __asm__ volatile("mov %0, %%cr4" : : "r"(cr4 | 0x200 | (cpu.sse ? 0x400 : 0)));
  }
  cpuid(0x80000000, &top, &b, &c, &d);
  if (top < 0x80000004)
    return;
  for (u32 i = 0; i < 3; i++) {
    u32 *to = (u32 *)(cpu.brand + 16 * i);
    cpuid(0x80000002 + i, to, to + 1, to + 2, to + 3);
  }
}

/* --- integer --- */

static bool integer_flags(void) {
  u32 sum = 0x7fffffff, flags;
  __asm__ volatile("addl $1, %0; pushfl; popl %1" : "+r"(sum), "=r"(flags));
  bool ok = sum == 0x80000000 && (flags & 0x8d5) == 0x894; /* OF SF AF PF */
  u32 zero = 5;
  __asm__ volatile("subl $5, %0; pushfl; popl %1" : "+r"(zero), "=r"(flags));
  ok = ok && (flags & 0x8d5) == 0x44; /* ZF PF */
  return ok;
}

static bool integer_divide(void) {
  u32 low, high;
  __asm__ volatile("mull %3" : "=a"(low), "=d"(high) : "a"(0xfedcba98), "r"(0x89abcdef));
  bool ok = low == 0xad05ebe8 && high == 0x890f2a50;
  u32 quotient, rest;
  __asm__ volatile("divl %4"
                   : "=a"(quotient), "=d"(rest)
                   : "a"(0x9abcdef0), "d"(0x12345678), "r"(0x76543210));
  u32 back_low, back_high;
  __asm__ volatile("mull %3" : "=a"(back_low), "=d"(back_high) : "a"(quotient), "r"(0x76543210));
  u32 restored = back_low + rest;
  return ok && restored == 0x9abcdef0 && back_high + (restored < back_low) == 0x12345678;
}

static bool integer_decimal(void) {
  u32 ax = 0x59;
  __asm__ volatile("addb $0x28, %%al; daa" : "+a"(ax)); /* 59 + 28 = 87 */
  u32 aam = 97;
  __asm__ volatile("aam" : "+a"(aam));
  return (ax & 0xff) == 0x87 && (aam & 0xffff) == 0x0907;
}

static void integer_tests(void) {
  check("integer flags", integer_flags(), "carries, signs, parity");
  check("integer multiply", integer_divide(), "64 bits by 32 and back");
  check("decimal adjust", integer_decimal(), "DAA, AAM");
}

/* --- self-modifying code --- */

static bool code_rewritten(void) {
  u8 *code = CODE_BUFFER;
  for (u32 i = 0; i < 2000; i++) {
    u32 value = i * 2654435761u;
    code[0] = 0xb8; /* MOV EAX, value; RET */
    memcpy(code + 1, &value, 4);
    code[5] = 0xc3;
    if (((u32(*)(void))code)() != value)
      return false;
  }
  return true;
}

/* Two routines swapped by string moves across a page boundary. */
static bool code_moved(void) {
  static const u8 add[] = {0x8b, 0x44, 0x24, 0x04, 0x03, 0x44, 0x24, 0x08, 0xc3};
  static const u8 sub[] = {0x8b, 0x44, 0x24, 0x04, 0x2b, 0x44, 0x24, 0x08, 0xc3};
  u8 *code = CODE_BUFFER + 0x1000 - 5;
  bool ok = true;
  for (int i = 0; i < 200; i++) {
    memcpy(code, i & 1 ? sub : add, sizeof add);
    ok = ok && ((int (*)(int, int))code)(50, i) == (i & 1 ? 50 - i : 50 + i);
  }
  return ok;
}

static void modify_tests(void) {
  bool ahead = true;
  for (u32 i = 0; i < 1000; i++)
    ahead = ahead && patch_ahead(i * 77777) == i * 77777;
  check("self-modifying code", code_rewritten() && ahead, "2000 rewritten, 1000 patched ahead");
  check("code that is moved", code_moved(), "REP MOVSB over a page boundary");
  check("code patching its loop", patch_loop(1000) == 500500, "1000 times");
}

/* --- x87 --- */

static bool same(const struct extended *x, u16 sign_exponent, u32 high, u32 low) {
  return x->sign_exponent == sign_exponent && x->high == high && x->low == low;
}

static bool x87_constants(void) {
  struct extended pi, log2, two;
  __asm__ volatile("fninit; fldpi; fstpt %0" : "=m"(pi));
  __asm__ volatile("fldlg2; fstpt %0" : "=m"(log2));
  __asm__ volatile("fld1; fadd %%st(0), %%st; fsqrt; fstpt %0" : "=m"(two));
  return same(&pi, 0x4000, 0xc90fdaa2, 0x2168c235) && same(&log2, 0x3ffd, 0x9a209a84, 0xfbcff799) &&
         same(&two, 0x3fff, 0xb504f333, 0xf9de6484);
}

/* 1/3 in each rounding mode at 64 bits, then at 24. */
static bool x87_rounding(void) {
  static const struct {
    u16 control;
    u32 high, low;
  } cases[] = {
      {0x37f, 0xaaaaaaaa, 0xaaaaaaab}, /* nearest */
      {0x77f, 0xaaaaaaaa, 0xaaaaaaaa}, /* down */
      {0xb7f, 0xaaaaaaaa, 0xaaaaaaab}, /* up */
      {0xf7f, 0xaaaaaaaa, 0xaaaaaaaa}, /* to zero */
      {0x07f, 0xaaaaab00, 0x00000000}, /* nearest, single */
      {0x27f, 0xaaaaaaaa, 0xaaaaa800}, /* nearest, double */
  };
  bool ok = true;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    struct extended third;
    u16 control = cases[i].control;
    static const u16 three = 3;
    __asm__ volatile("fninit; fldcw %1; fld1; fidivs %2; fstpt %0" : "=m"(third) : "m"(control), "m"(three));
    ok = ok && same(&third, 0x3ffd, cases[i].high, cases[i].low);
  }
  __asm__ volatile("fninit");
  return ok;
}

/* Functions of one (and log2 10, 2^0.5 - 1), in thousand-millionths. */
static bool x87_functions(void) {
  static const u32 wanted[] = {841470985, 540302306, 785398163, 3321928095u, 414213562, 1557407725};
  double r[6];
  static const u16 ten = 10;
  static const float half = 0.5f;
  __asm__ volatile("fninit; fld1; fsin; fstpl %0" : "=m"(r[0]));
  __asm__ volatile("fld1; fcos; fstpl %0" : "=m"(r[1]));
  __asm__ volatile("fld1; fld1; fpatan; fstpl %0" : "=m"(r[2]));
  __asm__ volatile("fld1; filds %1; fyl2x; fstpl %0" : "=m"(r[3]) : "m"(ten));
  __asm__ volatile("flds %1; f2xm1; fstpl %0" : "=m"(r[4]) : "m"(half));
  __asm__ volatile("fld1; fptan; fstp %%st(0); fstpl %0" : "=m"(r[5]));
  for (int i = 0; i < 6; i++) {
    u32 scaled[2];
    static const u32 billion = 1000000000;
    __asm__ volatile("fildl %2; fmull %1; fistpll %0" : "=m"(scaled) : "m"(r[i]), "m"(billion));
    if (scaled[0] != wanted[i] || scaled[1])
      return false;
  }
  return true;
}

static bool x87_stores(void) {
  u8 decimal[10];
  static const u32 million = 1234567890;
  __asm__ volatile("fninit; fildl %1; fchs; fbstp %0" : "=m"(decimal) : "m"(million));
  static const u8 wanted[10] = {0x90, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0x80};
  u16 status;
  __asm__ volatile("fld1; fldz; fdivrp; fnstsw %0; fninit" : "=m"(status)); /* one of 0/1 and 1/0 */
  u16 compare;
  __asm__ volatile("fldpi; fld1; fcompp; fnstsw %0" : "=m"(compare)); /* 1 < pi: C0 */
  return !memcmp(decimal, wanted, 10) && !(status & 1) && (compare & 0x4500) == 0x100;
}

static void x87_tests(void) {
  if (!cpu.fpu) {
    report("x87", SKIPPED, "no coprocessor");
    return;
  }
  check("x87 constants", x87_constants(), "pi, lg 2, sqrt 2 to 64 bits");
  check("x87 rounding", x87_rounding(), "1/3 in 4 modes, 3 precisions");
  check("x87 functions", x87_functions(), "sin cos tan atan log2 exp2");
  check("x87 stores", x87_stores(), "packed decimal, comparison");
}

/* --- SSE --- */

static bool sse_floats(void) {
  static const float a[4] __attribute__((aligned(16))) = {1.0f, 2.0f, 3.0f, 4.0f};
  static const float b[4] __attribute__((aligned(16))) = {0.5f, 16.0f, -3.0f, 9.0f};
  float r[4] __attribute__((aligned(16)));
  /* (a * b + a), reversed */
  __asm__ volatile("movaps %1, %%xmm0; movaps %%xmm0, %%xmm1; mulps %2, %%xmm0; addps %%xmm1, %%xmm0;"
                   "shufps $0x1b, %%xmm0, %%xmm0; movaps %%xmm0, %0"
                   : "=m"(r)
                   : "m"(a), "m"(b));
  static const u32 wanted[4] = {0x42200000, 0xc0c00000, 0x42080000, 0x3fc00000}; /* 40, -6, 34, 1.5 */
  bool ok = !memcmp(r, wanted, 16);
  static const float two = 2.0f;
  u32 root, truncated;
  __asm__ volatile("sqrtss %2, %%xmm0; movss %%xmm0, %0; mulss %2, %%xmm0; cvttss2si %%xmm0, %1"
                   : "=m"(root), "=r"(truncated)
                   : "m"(two));
  return ok && root == 0x3fb504f3 && truncated == 2;
}

static bool sse_integers(void) {
  static const u8 a[16]
      __attribute__((aligned(16))) = {1, 2, 3, 4, 5, 6, 7, 8, 250, 251, 252, 253, 254, 255, 0, 1};
  static const u8 b[16] __attribute__((aligned(16))) = {8, 7, 6, 5, 4, 3, 2, 1, 9, 9, 9, 9, 9, 9, 9, 9};
  u32 sums[4] __attribute__((aligned(16)));
  u8 saturated[16] __attribute__((aligned(16)));
  u32 mask;
  __asm__ volatile("movdqa %3, %%xmm0; movdqa %%xmm0, %%xmm1; psadbw %4, %%xmm0; movdqa %%xmm0, %0;"
                   "paddusb %4, %%xmm1; movdqa %%xmm1, %1; pcmpeqb %4, %%xmm1; pmovmskb %%xmm1, %2"
                   : "=m"(sums), "=m"(saturated), "=r"(mask)
                   : "m"(a), "m"(b));
  return sums[0] == 32 && sums[2] == 241 + 242 + 243 + 244 + 245 + 246 + 9 + 8 && saturated[0] == 9 &&
         saturated[8] == 255 && saturated[15] == 10 && mask == 0x4000;
}

static bool sse_doubles(void) {
  static const double a[2] __attribute__((aligned(16))) = {1.0, 2.0},
                           b[2] __attribute__((aligned(16))) = {3.0, 7.0};
  u32 r[4] __attribute__((aligned(16)));
  __asm__ volatile("movapd %1, %%xmm0; divpd %2, %%xmm0; movapd %%xmm0, %0" : "=m"(r) : "m"(a), "m"(b));
  return r[0] == 0x55555555 && r[1] == 0x3fd55555 && r[2] == 0x92492492 && r[3] == 0x3fd24924;
}

static void sse_tests(void) {
  if (cpu.sse)
    check("SSE", sse_floats(), "packed multiply, shuffle, root");
  else
    report("SSE", SKIPPED, "not present");
  if (cpu.sse2)
    check("SSE2", sse_integers() && sse_doubles(), "sums, saturation, doubles");
  else
    report("SSE2", SKIPPED, "not present");
}

void cpu_tests(void) {
  integer_tests();
  modify_tests();
  x87_tests();
  sse_tests();
}
