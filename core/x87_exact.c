/* SPDX-License-Identifier: MIT */
/*
 * The x87's transcendental instructions and SSE's approximations, the same on every host: in counted time
 * they must not depend on whose processor computes (Intel's, AMD's and others' results differ in the last
 * bits).
 *
 * A series is summed in fixed point with 128 bits, of an argument that was reduced exactly enough: results
 * are within 0.51 units in the last place of 64 bits before the rounding that the control word asks for (as
 * the manual wants, SDM vol. 1, 8.3.10: below 1). Angles are reduced by a 2/pi of 320 bits, where Intel's
 * processors take a pi of 66. Outside of the arguments that the manual defines: F2XM1 leaves ST(0) alone;
 * FYL2XP1 goes on as far as 1 + x is positive. Zeros, infinities, NaNs, stack faults, and results that
 * overflow or underflow are the host's, and exact on all.
 *
 * RCPPS and RSQRTPS round the true value to 13 bits, a relative error of 2^-13 (the manual: at most 1.5 *
 * 2^-12).
 */
#include "core/x87_exact.h"

#include <string.h>

#include "core/fpu.h"

typedef unsigned __int128 u128;
#define W(high, low) ((u128)(high) << 64 | (low))
#define BIAS 16383
#define EXP_MAX 0x7fff

struct num { /* +-m * 2^(exp - 127), the top bit of m set */
  u128 m;
  int exp;
  bool neg;
};

/* 1 / (2n + 3)!, and 1 / (2n + 2)!: sine and cosine. */
static const u128 sin_terms[] = {
    W(0x2aaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaab), W(0x0222222222222222, 0x2222222222222222),
    W(0x000d00d00d00d00d, 0x00d00d00d00d00d0), W(0x00002e3bc74aad8e, 0x671f5583911ca003),
    W(0x0000006b99159fd5, 0x138e3f9d1f92e0df), W(0x00000000b092309d, 0x43684be51c198e92),
    W(0x0000000000d73f9f, 0x399dc0f88ec32b58), W(0x000000000000ca96, 0x3b81856a53593029),
    W(0x0000000000000097, 0xa4da340a0ab92651), W(0x0000000000000000, 0x5c6e3bdb73d5c630),
    W(0x0000000000000000, 0x002ec368262c7034), W(0x0000000000000000, 0x000013f3ccdd1660),
    W(0x0000000000000000, 0x0000000746ac70b7), W(0x0000000000000000, 0x00000000024b3f31),
    W(0x0000000000000000, 0x000000000000a1a7), W(0x0000000000000000, 0x0000000000000027),
};
static const u128 cos_terms[] = {
    W(0x8000000000000000, 0x0000000000000000), W(0x0aaaaaaaaaaaaaaa, 0xaaaaaaaaaaaaaaab),
    W(0x005b05b05b05b05b, 0x05b05b05b05b05b0), W(0x0001a01a01a01a01, 0xa01a01a01a01a01a),
    W(0x0000049f93edde27, 0xd71cbbc05b4fa99a), W(0x00000008f76c77fc, 0x6c4bdaa26d4c3d68),
    W(0x000000000c9cba54, 0x603e4e905d6f8a2f), W(0x00000000000d73f9, 0xf399dc0f88ec32b6),
    W(0x0000000000000b41, 0x3c31dcbecbbdd802), W(0x0000000000000007, 0x950ae900808941ea),
    W(0x0000000000000000, 0x04338e5b6dfe14a5), W(0x0000000000000000, 0x0001f2cf01972f57),
    W(0x0000000000000000, 0x000000c4742fe352), W(0x0000000000000000, 0x0000000042862899),
    W(0x0000000000000000, 0x000000000013932c), W(0x0000000000000000, 0x000000000000050d),
};
/* 1 / (2n + 3): arc tangent (12 terms are enough) and area tangent. */
static const u128 odd_terms[] = {
    W(0x5555555555555555, 0x5555555555555555), W(0x3333333333333333, 0x3333333333333333),
    W(0x2492492492492492, 0x4924924924924925), W(0x1c71c71c71c71c71, 0xc71c71c71c71c71c),
    W(0x1745d1745d1745d1, 0x745d1745d1745d17), W(0x13b13b13b13b13b1, 0x3b13b13b13b13b14),
    W(0x1111111111111111, 0x1111111111111111), W(0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f),
    W(0x0d79435e50d79435, 0xe50d79435e50d794), W(0x0c30c30c30c30c30, 0xc30c30c30c30c30c),
    W(0x0b21642c8590b216, 0x42c8590b21642c86), W(0x0a3d70a3d70a3d70, 0xa3d70a3d70a3d70a),
    W(0x097b425ed097b425, 0xed097b425ed097b4), W(0x08d3dcb08d3dcb08, 0xd3dcb08d3dcb08d4),
    W(0x0842108421084210, 0x8421084210842108), W(0x07c1f07c1f07c1f0, 0x7c1f07c1f07c1f08),
    W(0x0750750750750750, 0x7507507507507507), W(0x06eb3e45306eb3e4, 0x5306eb3e45306eb4),
    W(0x0690690690690690, 0x6906906906906907), W(0x063e7063e7063e70, 0x63e7063e7063e706),
    W(0x05f417d05f417d05, 0xf417d05f417d05f4), W(0x05b05b05b05b05b0, 0x5b05b05b05b05b06),
    W(0x0572620ae4c415c9, 0x882b9310572620ae), W(0x05397829cbc14e5e, 0x0a72f05397829cbc),
    W(0x0505050505050505, 0x0505050505050505), W(0x04d4873ecade304d, 0x4873ecade304d487),
    W(0x04a7904a7904a790, 0x4a7904a7904a7905),
};
/* 1 / (n + 1)! with 127 fraction bits: the exponential. */
static const u128 exp_terms[] = {
    W(0x8000000000000000, 0x0000000000000000), W(0x4000000000000000, 0x0000000000000000),
    W(0x1555555555555555, 0x5555555555555555), W(0x0555555555555555, 0x5555555555555555),
    W(0x0111111111111111, 0x1111111111111111), W(0x002d82d82d82d82d, 0x82d82d82d82d82d8),
    W(0x0006806806806806, 0x8068068068068068), W(0x0000d00d00d00d00, 0xd00d00d00d00d00d),
    W(0x0000171de3a556c7, 0x338faac1c88e5001), W(0x0000024fc9f6ef13, 0xeb8e5de02da7d4cd),
    W(0x00000035cc8acfea, 0x89c71fce8fc97070), W(0x000000047bb63bfe, 0x3625ed5136a61eb4),
    W(0x000000005849184e, 0xa1b425f28e0cc749), W(0x00000000064e5d2a, 0x301f27482eb7c517),
    W(0x00000000006b9fcf, 0x9ccee07c476195ac), W(0x000000000006b9fc, 0xf9ccee07c476195b),
    W(0x000000000000654b, 0x1dc0c2b529ac9814), W(0x00000000000005a0, 0x9e18ee5f65deec01),
    W(0x000000000000004b, 0xd26d1a05055c9328), W(0x0000000000000003, 0xca8574804044a0f5),
    W(0x0000000000000000, 0x2e371dedb9eae318), W(0x0000000000000000, 0x0219c72db6ff0a53),
    W(0x0000000000000000, 0x001761b41316381a), W(0x0000000000000000, 0x0000f96780cb97ac),
    W(0x0000000000000000, 0x000009f9e66e8b30), W(0x0000000000000000, 0x000000623a17f1a9),
    W(0x0000000000000000, 0x00000003a356385c), W(0x0000000000000000, 0x000000002143144c),
    W(0x0000000000000000, 0x0000000001259f99), W(0x0000000000000000, 0x000000000009c996),
    W(0x0000000000000000, 0x00000000000050d3), W(0x0000000000000000, 0x0000000000000287),
    W(0x0000000000000000, 0x0000000000000014),
};
/* atan(n / 32) with 127 fraction bits. */
static const u128 atan_table[] = {
    W(0x0000000000000000, 0x0000000000000000), W(0x03ffaab7752ec495, 0x09de75ddb76a3188),
    W(0x07fd56edcb3f7a71, 0xb6593c96e071706b), W(0x0bf70c1301788746, 0x093567e784cf8367),
    W(0x0feadd4d5617b6e3, 0x2c897989f3e888ef), W(0x13d6eee8c6626c58, 0x68ec33a4a06c1fd1),
    W(0x17b97b4bce5b0226, 0x8f6169f103938e91), W(0x1b90d7529260a204, 0x5ec434b8396aa5e0),
    W(0x1f5b75f92c80dd62, 0xadb8f3debef442fd), W(0x2317eb4617e2f04c, 0x3291d22c6fe20a63),
    W(0x26c4ee6e0fd7979a, 0x716aed26349ebcca), W(0x2a615b32a39a93b6, 0xa66dfddefdf67a30),
    W(0x2dec3283c9bde11c, 0xe2a8c848b73f9121), W(0x31649a7294364adb, 0x685d1ba47d428a37),
    W(0x34c9dd879847f96d, 0x909f257a40079c4e), W(0x381b69929d93df19, 0xf18c7b659e632e01),
    W(0x3b58ce0ac3769ed1, 0x5bf9117b2f0ea341), W(0x3e81ba16a8282f97, 0x19b48f1f57723b31),
    W(0x4195fa536cc33f15, 0x25b504e5b0d28ae0), W(0x4495766fef4aa3da, 0x84a23c7e2395a57e),
    W(0x47802eaf7bfacfcd, 0xae41af0b32e21ba4), W(0x4a563964c238c37b, 0x0c6279c9fbc5197c),
    W(0x4d17c07338deed10, 0x21137c711027f9de), W(0x4fc4fee27a5bd0f6, 0x7c5a4932278380f0),
    W(0x525e3e8c9a7b8492, 0x0cd43f9522bed64f), W(0x54e3d5ee24187ae4, 0x48b5425adf3c99fb),
    W(0x5756261c5a6c6040, 0x0a392f179f290385), W(0x59b598e48f821b48, 0xac80a0ba22317c9d),
    W(0x5c029f15e118cf39, 0xe596d2a90852221f), W(0x5e3daef574c57940, 0x6a0898037407d948),
    W(0x606742dc56293320, 0x44eeb16237497d12), W(0x627fd7fd5fc7deaa, 0x465a1e885e4f0111),
    W(0x6487ed5110b4611a, 0x62633145c06e0e69),
};
/* 2 / pi: 320 bits behind the point, the lowest first. */
static const uint64_t two_over_pi[5] = {0xb7246e3a424dd2e0, 0xfe5163abdebbc561, 0xdb6295993c439041,
                                        0xfc2757d1f534ddc0, 0xa2f9836e4e441529};
static const struct num pi_half = {W(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1), 0, false};
static const struct num ln_2 = {W(0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af), -1, false};
static const struct num two_over_ln_2 = {W(0xb8aa3b295c17f0bb, 0xbe87fed0691d3e89), 1, false};

/* --- arithmetic --- */

static u128 mulhi(u128 a, u128 b) {
  uint64_t a1 = (uint64_t)(a >> 64), a0 = (uint64_t)a, b1 = (uint64_t)(b >> 64), b0 = (uint64_t)b;
  u128 low = (u128)a0 * b0, mid = (u128)a1 * b0, mid2 = (u128)a0 * b1;
  u128 carry = (low >> 64) + (uint64_t)mid + (uint64_t)mid2;
  return (u128)a1 * b1 + (mid >> 64) + (mid2 >> 64) + (carry >> 64);
}

static struct num normal(u128 m, int exp, bool neg) {
  uint64_t high = (uint64_t)(m >> 64);
  int zeros = high ? __builtin_clzll(high) : 64 + ((uint64_t)m ? __builtin_clzll((uint64_t)m) : 0);
  return (struct num){m << zeros, exp - zeros, neg};
}

static struct num mul(struct num a, struct num b) {
  u128 m = mulhi(a.m, b.m); /* [1/4, 1) */
  return normal(m, a.exp + b.exp + 1, a.neg ^ b.neg);
}

static struct num divide(struct num a, struct num b) {
  u128 q = 0, rest = a.m;
  int bits = 127, exp = a.exp - b.exp;
  if (rest >= b.m) {
    q = 1;
    rest -= b.m;
  } else {
    exp--;
    bits = 128;
  }
  while (bits--) {
    bool carry = rest >> 127;
    rest <<= 1;
    q <<= 1;
    if (carry || rest >= b.m) {
      rest -= b.m;
      q |= 1;
    }
  }
  return (struct num){q, exp, a.neg ^ b.neg};
}

/* a's magnitude with `bits` fraction bits. */
static u128 fixed(struct num a, int bits) {
  int shift = 127 - bits - a.exp;
  return shift >= 128 ? 0 : shift >= 0 ? a.m >> shift : a.m << -shift;
}

/* a * (1 + t), a * (1 - t); t has 128 fraction bits. */
static struct num grow(struct num a, u128 t) {
  u128 more = mulhi(a.m, t);
  if (a.m + more >= a.m)
    return (struct num){a.m + more, a.exp, a.neg};
  return (struct num){(a.m + more) >> 1 | (u128)1 << 127, a.exp + 1, a.neg};
}

static struct num shrink(struct num a, u128 t) { return normal(a.m - mulhi(a.m, t), a.exp, a.neg); }

static u128 square(struct num a) { return fixed(mul(a, a), 128); }

/* z * (c[0] - z * (c[1] - ...)); z below 1. */
static u128 alternating(const u128 *c, unsigned n, u128 z) {
  u128 p = 0;
  while (n--)
    p = c[n] - mulhi(z, p);
  return mulhi(z, p);
}

static u128 summing(const u128 *c, unsigned n, u128 z) {
  u128 p = 0;
  while (n--)
    p = c[n] + mulhi(z, p);
  return mulhi(z, p);
}

#define COUNT(table) (sizeof(table) / sizeof(table)[0])

/* --- 80-bit values --- */

/* A finite number other than 0; denormals are normalised. */
static bool unpack(const uint8_t *st, struct num *a) {
  uint64_t mantissa;
  memcpy(&mantissa, st, 8);
  int exp = (st[8] | st[9] << 8) & EXP_MAX;
  if (exp == EXP_MAX || mantissa == 0 || (exp != 0 && !(mantissa >> 63)))
    return false;
  *a = normal((u128)mantissa << 64, (exp ? exp : 1) - BIAS, st[9] >> 7);
  return true;
}

/* By the rounding of the control word. *up: away from 0. False: it is no normal number. */
static bool pack(uint8_t *st, struct num a, unsigned fcw, bool *up) {
  uint64_t mantissa = (uint64_t)(a.m >> 64), rest = (uint64_t)a.m;
  switch (fcw >> 10 & 3) {
  case 0: *up = rest >> 63 && ((rest << 1) || (mantissa & 1)); break;
  case 1: *up = a.neg && rest; break;
  case 2: *up = !a.neg && rest; break;
  default: *up = false; break;
  }
  if (*up && ++mantissa == 0) {
    mantissa = 1ull << 63;
    a.exp++;
  }
  int exp = a.exp + BIAS;
  if (exp <= 0 || exp >= EXP_MAX)
    return false;
  memset(st, 0, 16);
  memcpy(st, &mantissa, 8);
  st[8] = (uint8_t)exp;
  st[9] = (uint8_t)(exp >> 8 | (a.neg ? 0x80 : 0));
  return true;
}

/* --- angles --- */

/* |x| below 2^63 = quadrant * pi/2 + *r, |*r| at most pi/4. */
static unsigned reduce(struct num x, struct num *r) {
  static const u128 quarter_pi = W(0xc90fdaa22168c234, 0xc4c6628b80dc1cd1);
  if (x.exp < -1 || (x.exp == -1 && x.m <= quarter_pi)) {
    *r = x;
    r->neg = false;
    return 0;
  }
  uint64_t w[6] = {0}, mantissa = (uint64_t)(x.m >> 64);
  u128 carry = 0;
  for (unsigned i = 0; i < 5; i++) {
    carry += (u128)mantissa * two_over_pi[i];
    w[i] = (uint64_t)carry;
    carry >>= 64;
  }
  w[5] = (uint64_t)carry;
  /* The point is E + 1 bits below the top. */
  unsigned shift = (unsigned)(x.exp + 1), quadrant = shift ? (unsigned)(w[5] >> (64 - shift)) & 3 : 0;
  for (unsigned i = 5; shift && i > 0; i--)
    w[i] = w[i] << shift | w[i - 1] >> (64 - shift);
  w[0] <<= shift;
  bool over = w[5] >> 63;
  if (over) { /* from the next one downwards */
    quadrant++;
    for (unsigned i = 0; i < 6; i++)
      w[i] = ~w[i];
  }
  unsigned top = 5; /* no number of 64 bits comes closer to a multiple than about 2^-70 */
  while (top > 3 && !w[top])
    top--;
  unsigned zeros = w[top] ? (unsigned)__builtin_clzll(w[top]) : 0;
  u128 m = W(w[top], w[top - 1]);
  if (zeros)
    m = m << zeros | w[top - 2] >> (64 - zeros);
  struct num f = {m, -1 - (int)(64 * (5 - top) + zeros), over};
  *r = mul(f, pi_half);
  return quadrant & 3;
}

static struct num sine(struct num r) {
  return shrink(r, alternating(sin_terms, COUNT(sin_terms), square(r)));
}

static struct num cosine(struct num r) {
  u128 v = alternating(cos_terms, COUNT(cos_terms), square(r));
  return v ? normal(-v, -1, false) : (struct num){(u128)1 << 127, 0, false};
}

static void sine_cosine(struct num x, struct num *s, struct num *c) {
  struct num r;
  unsigned quadrant = reduce(x, &r);
  struct num a = sine(r), b = cosine(r);
  *s = quadrant & 1 ? b : a;
  *c = quadrant & 1 ? a : b;
  s->neg ^= (quadrant >> 1 & 1) ^ x.neg;
  c->neg ^= (quadrant == 1) | (quadrant == 2);
}

/* The angle of (x, y). */
static struct num arc_tangent(struct num y, struct num x) {
  bool neg = y.neg, left = x.neg;
  y.neg = x.neg = false;
  bool steep = y.exp > x.exp || (y.exp == x.exp && y.m > x.m);
  struct num q = steep ? divide(x, y) : divide(y, x), t = q;
  unsigned k = q.exp < -6 ? 0 : (unsigned)((fixed(q, 126) + ((u128)1 << 120)) >> 121);
  if (k) { /* atan(k / 32) + atan((q - k / 32) / (1 + q k / 32)) */
    u128 value = fixed(q, 126), near = (u128)k << 121;
    t = value == near ? (struct num){0} : normal(value > near ? value - near : near - value, 1, value < near);
    if (t.m)
      t = divide(t, normal(((u128)1 << 126) + (value >> 5) * k, 1, false));
  }
  struct num a = t;
  if (t.m)
    a = shrink(t, alternating(odd_terms, 12, square(t)));
  if (!k && !steep && !left) {
    a.neg = neg;
    return a;
  }
  u128 angle = (atan_table[k] >> 1), part = t.m ? fixed(a, 126) : 0; /* 126 fraction bits */
  angle = a.neg && t.m ? angle - part : angle + part;
  if (steep)
    angle = (pi_half.m >> 1) - angle;
  if (left)
    angle = pi_half.m - angle;
  return normal(angle, 1, neg);
}

/* --- logarithms and the exponential --- */

/* log2((1 + s) / (1 - s)) */
static struct num area_tangent(struct num s) {
  return mul(grow(s, summing(odd_terms, COUNT(odd_terms), square(s))), two_over_ln_2);
}

/* log2 of x > 0; false: it is 0. */
static bool log_2(struct num x, struct num *result) {
  static const u128 root_2 = W(0xb504f333f9de6484, 0x597d89b3754abe9f);
  int e = x.exp;
  const u128 one = (u128)1 << 126; /* m with 126 fraction bits, from sqrt(1/2) to sqrt(2) */
  u128 m = x.m >> 1;
  if (x.m > root_2) {
    m >>= 1;
    e++;
  }
  struct num l = {0};
  if (m != one)
    l = area_tangent(divide(normal(m > one ? m - one : one - m, 1, m < one), normal(m + one, 1, false)));
  if (e == 0) {
    *result = l;
    return m != one;
  }
  const int bits = 111;
  u128 sum = (u128)(e < 0 ? -e : e) << bits, part = l.m ? fixed(l, bits) : 0;
  sum = l.neg == (e < 0) ? sum + part : sum - part;
  *result = normal(sum, 127 - bits, e < 0);
  return true;
}

/* log2(1 + x), x > -1 */
static bool log_2_plus_1(struct num x, struct num *result) {
  if (x.exp < -2) {                  /* |x| < 1/4 */
    const u128 two = (u128)1 << 126; /* with 125 fraction bits */
    u128 part = fixed(x, 125);
    struct num s = divide(x, normal(x.neg ? two - part : two + part, 2, false));
    *result = area_tangent(s);
    return true;
  }
  if (x.exp > 120)
    return log_2(x, result);
  if (x.exp >= 0) { /* positive: the 1 behind as much of x as stays */
    u128 one = (u128)1 << (127 - x.exp), sum = (x.m >> 1) + (one >> 1);
    return log_2(normal(sum, x.exp + 1, false), result);
  }
  u128 part = fixed(x, 127), one = (u128)1 << 127;
  return log_2(normal(x.neg ? one - part : one + part, 0, false), result);
}

/* 2^x - 1, |x| below 1 */
static struct num power_minus_1(struct num x) {
  struct num u = mul(x, ln_2);
  u128 factor = fixed(u, 128), p = 0;
  for (unsigned n = COUNT(exp_terms); n--;)
    p = u.neg ? exp_terms[n] - mulhi(p, factor) : exp_terms[n] + mulhi(p, factor);
  return mul(u, normal(p, 0, false));
}

/* --- instructions --- */

bool x87_is_transcendental(const struct insn *in) {
  switch (in->id) {
  case INSN_F2XM1:
  case INSN_FYL2X:
  case INSN_FYL2XP1:
  case INSN_FPTAN:
  case INSN_FPATAN:
  case INSN_FSIN:
  case INSN_FCOS:
  case INSN_FSINCOS: return true;
  default: return false;
  }
}

/* Condition codes that the manual leaves undefined stay as they were. */
static void set_conditions(struct fxsave *after, const struct fxsave *before, bool c1, bool c2_defined) {
  const uint16_t c0 = 0x100, c1_bit = 0x200, c2 = 0x400, c3 = 0x4000;
  uint16_t kept = c0 | c3 | (c2_defined ? 0 : c2);
  after->fsw = (uint16_t)((after->fsw & ~(c0 | c1_bit | c2 | c3)) | (before->fsw & kept) | (c1 ? c1_bit : 0) |
                          (c2_defined ? after->fsw & c2 : 0));
}

static void store(struct fxsave *after, const struct fxsave *before, unsigned i, struct num value,
                  bool trig) {
  bool up;
  if (pack(after->st[i], value, before->fcw, &up)) {
    after->fsw |= FSW_PE;
    set_conditions(after, before, up, trig);
  }
}

static void power(struct fxsave *after, const struct fxsave *before, struct num x) {
  bool one = x.m == (u128)1 << 127 && x.exp == 0;
  if (x.exp < 0) {
    store(after, before, 0, power_minus_1(x), false);
    return;
  }
  if (one && x.neg)
    x.exp = -1;
  bool up;
  pack(after->st[0], x, before->fcw, &up);
  after->fsw &= (uint16_t) ~(FSW_IE | FSW_PE | FSW_OE | FSW_UE);
  set_conditions(after, before, false, false);
}

static void logarithm(struct fxsave *after, const struct fxsave *before, struct num x, struct num y,
                      bool plus_1) {
  struct num l;
  if (plus_1 ? x.neg && x.exp >= 0 : x.neg) {
    if (!plus_1)
      return;
    static const uint8_t indefinite[10] = {0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff};
    memcpy(after->st[0], indefinite, 10);
    after->fsw = (uint16_t)((after->fsw & ~(FSW_EXCEPTIONS)) | FSW_IE);
    set_conditions(after, before, false, false);
    return;
  }
  if (plus_1 ? log_2_plus_1(x, &l) : log_2(x, &l))
    store(after, before, 0, mul(l, y), false);
}

void x87_transcendental(const struct insn *in, const struct fxsave *before, struct fxsave *after) {
  struct num x, y, s, c;
  bool two = in->id == INSN_FYL2X || in->id == INSN_FYL2XP1 || in->id == INSN_FPATAN;
  if (!unpack(before->st[0], &x) || (two && !unpack(before->st[1], &y)))
    return;
  bool defined = in->id != INSN_FYL2XP1 && in->id != INSN_F2XM1; /* for each number, that is */
  if ((after->fsw & (FSW_IE | FSW_ZE)) && defined)
    return;
  if ((after->fsw & FSW_SF) || (after->fsw & ~before->fcw & (FSW_IE | FSW_DE | FSW_ZE)) ||
      ((after->fsw & (FSW_OE | FSW_UE)) && defined))
    return;
  switch (in->id) {
  case INSN_F2XM1: power(after, before, x); return;
  case INSN_FYL2X:
  case INSN_FYL2XP1: logarithm(after, before, x, y, in->id == INSN_FYL2XP1); return;
  case INSN_FPATAN: store(after, before, 0, arc_tangent(y, x), false); return;
  default: break;
  }
  if (x.exp >= 63) /* C2: out of range */
    return;
  sine_cosine(x, &s, &c);
  if (in->id == INSN_FSIN || in->id == INSN_FCOS)
    store(after, before, 0, in->id == INSN_FSIN ? s : c, true);
  else
    store(after, before, 1, in->id == INSN_FPTAN ? divide(s, c) : s, true);
  if (in->id == INSN_FSINCOS)
    store(after, before, 0, c, true);
}

/* --- approximations --- */

bool simd_is_approximation(const struct insn *in) {
  return in->id == INSN_RCPPS_Vx_Wx || in->id == INSN_RCPSS_Vx_Wd || in->id == INSN_RSQRTPS_Vx_Wx ||
         in->id == INSN_RSQRTSS_Vx_Wd;
}

#define BITS 13u /* of the result */

/* value / 2^(bits - BITS), rounded: a number of BITS bits, or 2^BITS */
static uint32_t round_to_bits(uint64_t value, unsigned bits) {
  unsigned drop = bits - BITS;
  return (uint32_t)((value + (1ull << (drop - 1))) >> drop);
}

/* 1 to 2^BITS is the mantissa, the exponent that of its top bit. */
static uint32_t make_single(uint32_t sign, uint32_t mantissa, int exp) {
  if (mantissa >> BITS) {
    mantissa >>= 1;
    exp++;
  }
  if (exp + 127 <= 0) /* too small: 0 */
    return sign;
  return sign | (uint32_t)(exp + 127) << 23 | (mantissa << (24 - BITS) & 0x7fffff);
}

static uint32_t approximate(uint32_t x, bool root) {
  uint32_t sign = x & 0x80000000u, fraction = x & 0x7fffff;
  int exp = (int)(x >> 23 & 255);
  if (exp == 255 && fraction)
    return x | 0x400000;
  if (exp == 0) /* denormals count as 0 */
    return sign | 0x7f800000;
  if (root && sign)
    return 0xffc00000;
  if (exp == 255)
    return sign;
  uint64_t m = fraction | 0x800000;
  exp -= 127;
  if (!root) {
    /* 2^47 / m is from 2^23 to 2^24 */
    uint64_t q = (1ull << 47) / m;
    return q >> 24 ? make_single(sign, 1u << (BITS - 1), -exp)
                   : make_single(sign, round_to_bits(q, 24), -exp - 1);
  }
  bool odd = exp & 1;
  /* m * 2^odd is from 2^23 to 2^25; the root of 2^63 / that, from 2^19 to 2^20 */
  uint64_t v = (1ull << 63) / (m << odd), q = 1ull << 19;
  for (uint64_t bit = 1ull << 18; bit; bit >>= 1)
    if ((q | bit) * (q | bit) <= v)
      q |= bit;
  if ((m << odd) == 1ull << 23)
    return make_single(0, 1u << (BITS - 1), -(exp / 2));
  return make_single(0, round_to_bits(q, 20), -((exp - odd) / 2) - 1);
}

void simd_approximate(const struct insn *in, uint8_t *result, const uint8_t *source) {
  bool root = in->id == INSN_RSQRTPS_Vx_Wx || in->id == INSN_RSQRTSS_Vx_Wd;
  unsigned n = in->id == INSN_RCPPS_Vx_Wx || in->id == INSN_RSQRTPS_Vx_Wx ? 4 : 1;
  for (unsigned i = 0; i < n; i++) {
    uint32_t value;
    memcpy(&value, source + 4 * i, 4);
    value = approximate(value, root);
    memcpy(result + 4 * i, &value, 4);
  }
}
