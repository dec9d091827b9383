/* SPDX-License-Identifier: MIT */
/*
 * The results that counted time promises on every host: transcendental instructions (expected bits from
 * 400-bit arithmetic, rounded as the control word says) and reciprocal approximations.
 */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/fpu.h"
#include "core/x87_exact.h"

Suite *suite_x87_exact(void);

struct row {
  int id, rounding;
  uint16_t exp0; /* ST(0), ST(1) */
  uint64_t m0;
  uint16_t exp1;
  uint64_t m1;
  uint16_t exp; /* the result */
  uint64_t m;
  int up;
};

static const struct row rows[] = {
    {INSN_FSIN, 0, 0x3ffa, 0xa9b74aef40b2d002u, 0x0000, 0x0000000000000000u, 0x3ffa, 0xa9aadca4fcc69f00u, 1},
    {INSN_FSIN, 0, 0xbfff, 0xeaef3748074206e2u, 0x0000, 0x0000000000000000u, 0xbffe, 0xf716aa9a6c04a0acu, 1},
    {INSN_FSIN, 0, 0x4011, 0xbc1df52e88b224f0u, 0x0000, 0x0000000000000000u, 0xbffe, 0xaaba0e385d713309u, 1},
    {INSN_FSIN, 0, 0xc039, 0xaa189d1dbe3e00fcu, 0x0000, 0x0000000000000000u, 0xbffd, 0xd209a079a7f129cbu, 0},
    {INSN_FSIN, 0, 0x403d, 0xfad7f91cf7b4c8e4u, 0x0000, 0x0000000000000000u, 0xbffe, 0xead49cf0865497f2u, 0},
    {INSN_FSIN, 0, 0xc001, 0xea020bc80e6fd1c9u, 0x0000, 0x0000000000000000u, 0xbffe, 0xdb693f055f4cf548u, 0},
    {INSN_FSIN, 0, 0xc00a, 0xbf76c73b0d5f1c83u, 0x0000, 0x0000000000000000u, 0x3ffd, 0xb987c6ec3514eda2u, 0},
    {INSN_FSIN, 1, 0xc037, 0xa62c910425bca5d7u, 0x0000, 0x0000000000000000u, 0xbffe, 0xc96f080747a647efu, 1},
    {INSN_FSIN, 2, 0x3fe3, 0xebf7ffcf04653cb9u, 0x0000, 0x0000000000000000u, 0x3fe3, 0xebf7ffcf04653c34u, 1},
    {INSN_FSIN, 3, 0xbffd, 0x8b490b593d6a78d8u, 0x0000, 0x0000000000000000u, 0xbffd, 0x8992dbed5df39954u, 0},
    {INSN_FCOS, 0, 0x3ffd, 0x915c2710daef4bd5u, 0x0000, 0x0000000000000000u, 0x3ffe, 0xf5c080baa8862fc4u, 1},
    {INSN_FCOS, 0, 0xc000, 0xfda342cbf788956eu, 0x0000, 0x0000000000000000u, 0xbffe, 0xae5e449e562d2031u, 1},
    {INSN_FCOS, 0, 0xc011, 0xba14136e49a2628cu, 0x0000, 0x0000000000000000u, 0x3ffe, 0xa893fb558e1bc9d3u, 0},
    {INSN_FCOS, 0, 0x4037, 0xb66bcc1ec76ff7aau, 0x0000, 0x0000000000000000u, 0x3ffe, 0xd7fa956bda4ee937u, 0},
    {INSN_FCOS, 0, 0x3fe4, 0xd5027988f38b6874u, 0x0000, 0x0000000000000000u, 0x3ffe, 0xfffffffffffffa76u, 0},
    {INSN_FCOS, 0, 0xbfff, 0xf31c94a4dd42f005u, 0x0000, 0x0000000000000000u, 0xbffd, 0xa53094ca51093b46u, 1},
    {INSN_FCOS, 0, 0xc020, 0xe3fdf27bc488e594u, 0x0000, 0x0000000000000000u, 0xbffe, 0xa593b38d3abe1c4bu, 1},
    {INSN_FCOS, 1, 0x4037, 0xd66aef0d4636ff26u, 0x0000, 0x0000000000000000u, 0xbffc, 0xaf35e0a0832855f5u, 1},
    {INSN_FCOS, 2, 0xbfe5, 0xae06151e23377b1cu, 0x0000, 0x0000000000000000u, 0x3ffe, 0xfffffffffffff137u, 1},
    {INSN_FCOS, 3, 0x4002, 0xe95dc35eb11991d2u, 0x0000, 0x0000000000000000u, 0xbffd, 0xdde22831f007896bu, 0},
    {INSN_FPTAN, 0, 0xbff8, 0xca9c40e39fbc24ccu, 0x0000, 0x0000000000000000u, 0xbff8, 0xca9ee5cc596b7368u, 1},
    {INSN_FPTAN, 0, 0x4001, 0xe8f9cab9d9b97c5cu, 0x0000, 0x0000000000000000u, 0x3fff, 0xc62c19e4fc691f15u, 0},
    {INSN_FPTAN, 0, 0xc026, 0x9654d010d332baacu, 0x0000, 0x0000000000000000u, 0xc001, 0xb43722bf836873f9u, 0},
    {INSN_FPTAN, 0, 0x403b, 0xbc00995a531cb51fu, 0x0000, 0x0000000000000000u, 0xbffd, 0xaeac949f80cb3471u, 1},
    {INSN_FPTAN, 0, 0x3fe7, 0xc9e8a1797c6b1c64u, 0x0000, 0x0000000000000000u, 0x3fe7, 0xc9e8a1797c6bc3dbu, 0},
    {INSN_FPTAN, 0, 0xc002, 0xd25c7e314e84d753u, 0x0000, 0x0000000000000000u, 0xbffe, 0xa82a9c015615ad24u, 0},
    {INSN_FPTAN, 0, 0xc027, 0xac203b41287951e1u, 0x0000, 0x0000000000000000u, 0x3ffe, 0xcf4472ca9a6d1a1eu, 0},
    {INSN_FPTAN, 1, 0xc03a, 0x9626c8954a0da81bu, 0x0000, 0x0000000000000000u, 0xbfff, 0x9b3afab46f16b2beu, 1},
    {INSN_FPTAN, 2, 0xbfe1, 0xa5df1ccee8e0746eu, 0x0000, 0x0000000000000000u, 0xbfe1, 0xa5df1ccee8e07473u, 0},
    {INSN_FPTAN, 3, 0xc000, 0xb0fc0fceea4a88c4u, 0x0000, 0x0000000000000000u, 0x3ffd, 0xca406193d6f149fbu, 0},
    {INSN_FPATAN, 0, 0x3ffb, 0xcc1fbe8df79e902fu, 0xbfff, 0xc16f00a1704b8500u, 0xbfff, 0xc0a1cb34fc9306d4u,
     0},
    {INSN_FPATAN, 0, 0x4002, 0xc8a0772dae3e8374u, 0xbffc, 0xaa512f7a6366b13fu, 0xbff8, 0xd94fe39bc2c099d1u,
     0},
    {INSN_FPATAN, 0, 0xc000, 0xa2072359a83051e3u, 0x3ffc, 0xad9a135e59a71c17u, 0x4000, 0xc4c857de1d91a289u,
     0},
    {INSN_FPATAN, 0, 0xbffc, 0xd96e0ae3721ecca3u, 0x3ffd, 0x8620bcc92a5e69bdu, 0x4000, 0x901f8f49c1f387f9u,
     1},
    {INSN_FPATAN, 0, 0xbfff, 0xadbb1c3a57ef669fu, 0xbffc, 0xf4203cafe1ff47dbu, 0xc000, 0xbdef12cbf2658894u,
     1},
    {INSN_FPATAN, 0, 0x3fff, 0xe50190d2c5d18d8au, 0xbffd, 0xb694ebc554440bc7u, 0xbffc, 0xc9768fe4a9ca0a92u,
     1},
    {INSN_FPATAN, 0, 0x3ffb, 0xcb52503c7921cd14u, 0x4003, 0xb7408d96a20fb328u, 0x3fff, 0xc881d62e618ab23du,
     1},
    {INSN_FPATAN, 1, 0xbffe, 0xd1b207efb83f90e9u, 0xbffb, 0xf779624ff05343c3u, 0xc000, 0xbfb0319c5cd13f0eu,
     1},
    {INSN_FPATAN, 2, 0xc02a, 0xce34c6c61b6f20ccu, 0x4001, 0x82cb0344e83a0613u, 0x4000, 0xc90fdaa22154762au,
     1},
    {INSN_FPATAN, 3, 0x3fb6, 0xdce1e3b50edf8f58u, 0x4002, 0xa3914e9877bbc220u, 0x3fff, 0xc90fdaa22168c234u,
     0},
    {INSN_FYL2X, 0, 0x3ffe, 0x98d64019defe5e77u, 0xc000, 0x9d8417c384b01c57u, 0x3fff, 0xea6e68a829ce5156u, 1},
    {INSN_FYL2X, 0, 0x3ef3, 0xd4e68e8ca9af3d85u, 0xc007, 0xdbaf00edf3cf3a11u, 0x400f, 0xe559f380e1431ad1u, 0},
    {INSN_FYL2X, 0, 0x3ffe, 0xea144f002dd31f50u, 0xbffb, 0xace33fdb47021cf1u, 0x3ff8, 0xb29f554416b20e24u, 0},
    {INSN_FYL2X, 0, 0x400a, 0xdef8e6540d748d59u, 0x4006, 0xc2cf87a116245dacu, 0x400a, 0x8fae7fb595dec9edu, 0},
    {INSN_FYL2X, 0, 0x3fff, 0xb99c2fc2a36e4eb8u, 0x4004, 0x9f60f311f1f0b241u, 0x4003, 0xaae557e1e6e950b4u, 0},
    {INSN_FYL2X, 0, 0x4101, 0xb966ff177ac0b14cu, 0xc001, 0xb485c660b9e2c3c5u, 0xc009, 0xb64f4fe8dc696834u, 1},
    {INSN_FYL2X, 0, 0x3fff, 0xaf5433af189c8e0cu, 0x3ff8, 0xbf9a206ea3ac9ccau, 0x3ff7, 0xadf1adce8efe0badu, 0},
    {INSN_FYL2X, 1, 0x3ff5, 0xe57f860cce694edfu, 0x3fff, 0xa1b50d5abece71a3u, 0xc002, 0xb91b85e9d83c663bu, 1},
    {INSN_FYL2X, 2, 0x3fff, 0xde98f4e85d9057fau, 0x3ffc, 0xe6529262e7001163u, 0x3ffc, 0xb7dd70035c7f583au, 1},
    {INSN_FYL2X, 3, 0x3f00, 0xfbde1e3c06d8f504u, 0xc006, 0xe300bf923ff6056cu, 0x400e, 0xe1401271dcb1ef4au, 0},
    {INSN_FYL2XP1, 0, 0x3fd8, 0xee5e43666c51623fu, 0xbffb, 0xdf7e7012bae01f72u, 0xbfd6, 0x961cf41d848c910du,
     0},
    {INSN_FYL2XP1, 0, 0x3ff2, 0xcd08ca2e3a6230c0u, 0x3ffc, 0xaa5bcd784e0b9dcdu, 0x3ff0, 0xc4d37e269fddb1d3u,
     0},
    {INSN_FYL2XP1, 0, 0x3fde, 0xaab02972a59fd12fu, 0x4008, 0xbf96ac8193b73293u, 0x3fe8, 0xb84adcaab0af2521u,
     0},
    {INSN_FYL2XP1, 0, 0x3ff0, 0xf97d67a87bd4e856u, 0xbff9, 0x83d17fa82ff6c8c4u, 0xbfeb, 0xb954fee8c0a7e590u,
     0},
    {INSN_FYL2XP1, 0, 0x3fd9, 0x95c31b440cc5224cu, 0x4000, 0xe7034a6cf67098f6u, 0x3fdb, 0xc2f8e3913d4fd2c5u,
     1},
    {INSN_FYL2XP1, 0, 0xbfe7, 0xbbe661478f622a2au, 0x3ff7, 0xa3d0739cd45a9d51u, 0xbfe0, 0xad7725a4fa24c71fu,
     1},
    {INSN_FYL2XP1, 0, 0xbff9, 0xce216ea21888b674u, 0xc003, 0x915ae102096940bdu, 0x3ffe, 0xab03538fd3a211c8u,
     0},
    {INSN_FYL2XP1, 1, 0xbfee, 0xfb18adab7629b2c7u, 0x3ffa, 0xe18dd3c91adcf3f2u, 0xbfeb, 0x9f96666b60f64a77u,
     1},
    {INSN_FYL2XP1, 2, 0xbffa, 0xa27903e5ea4f2f12u, 0x3ffe, 0xf674dbecec62da5du, 0xbffa, 0xe642047b3bbf5d8cu,
     0},
    {INSN_FYL2XP1, 3, 0xbfee, 0xeb409792f662a1f5u, 0x3ffd, 0x9448b59403ec2b0bu, 0xbfed, 0xc4978e47c43c5adbu,
     0},
    {INSN_F2XM1, 0, 0x3fe8, 0x9c86feb171269a2bu, 0x0000, 0x0000000000000000u, 0x3fe7, 0xd8fe32737146625cu, 0},
    {INSN_F2XM1, 0, 0x3fe7, 0xab846218b966bb4du, 0x0000, 0x0000000000000000u, 0x3fe6, 0xedc5f219d6ac7b9eu, 0},
    {INSN_F2XM1, 0, 0xbfd7, 0xd43dfead8e40850bu, 0x0000, 0x0000000000000000u, 0xbfd7, 0x931d74906ff45b09u, 1},
    {INSN_F2XM1, 0, 0x3ff5, 0xd725f70cdbebc96bu, 0x0000, 0x0000000000000000u, 0x3ff5, 0x9536dcde44ad6311u, 1},
    {INSN_F2XM1, 0, 0x3fd9, 0xda741701cb51bb6du, 0x0000, 0x0000000000000000u, 0x3fd9, 0x976ba00e64e37c06u, 0},
    {INSN_F2XM1, 0, 0x3ff2, 0xb17340eca479be79u, 0x0000, 0x0000000000000000u, 0x3ff1, 0xf6033d3d4bbf5a81u, 0},
    {INSN_F2XM1, 0, 0xbff0, 0x8fcd561b21268afau, 0x0000, 0x0000000000000000u, 0xbfef, 0xc75983a2984a615fu, 1},
    {INSN_F2XM1, 1, 0xbfea, 0x8db06754cfdecfdau, 0x0000, 0x0000000000000000u, 0xbfe9, 0xc46c382c7c9ae262u, 1},
    {INSN_F2XM1, 2, 0x3fec, 0xa78e0336eb4b62b1u, 0x0000, 0x0000000000000000u, 0x3feb, 0xe847c778db671398u, 1},
    {INSN_F2XM1, 3, 0x3ffc, 0xf3c85d3c77159664u, 0x0000, 0x0000000000000000u, 0x3ffc, 0xb7b80b6f5805d54eu, 0},
};

static void put(uint8_t *st, uint16_t exp, uint64_t m) {
  memset(st, 0, 16);
  memcpy(st, &m, 8);
  memcpy(st + 8, &exp, 2);
}

static struct fxsave run(int id, const struct row *t) {
  struct fxsave before = {.fcw = (uint16_t)(FCW_INIT | t->rounding << 10), .fsw = 0x4500};
  struct insn in = {.id = (uint16_t)id};
  put(before.st[0], t->exp0, t->m0);
  put(before.st[1], t->exp1, t->m1);
  struct fxsave after = before;
  after.fsw = 0; /* what the host left */
  ck_assert(x87_is_transcendental(&in));
  x87_transcendental(&in, &before, &after);
  return after;
}

START_TEST(bits) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    const struct row *t = &rows[i];
    struct fxsave got = run(t->id, t);
    unsigned at = t->id == INSN_FPTAN ? 1 : 0;
    uint64_t m;
    uint16_t exp;
    memcpy(&m, got.st[at], 8);
    memcpy(&exp, got.st[at] + 8, 2);
    ck_assert_msg(exp == t->exp && m == t->m, "row %zu: %04x %016llx, not %04x %016llx", i, exp,
                  (unsigned long long)m, t->exp, (unsigned long long)t->m);
    ck_assert_uint_eq(got.fsw >> 9 & 1, (unsigned)t->up);
    ck_assert_uint_ne(got.fsw & FSW_PE, 0);
    ck_assert_uint_eq(got.fsw & 0x4100, 0x4100); /* undefined: as before */
  }
}
END_TEST

/* FSINCOS is FSIN and FCOS. */
START_TEST(both) {
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    if (rows[i].id != INSN_FSIN)
      continue;
    struct fxsave two = run(INSN_FSINCOS, &rows[i]), s = run(INSN_FSIN, &rows[i]),
                  c = run(INSN_FCOS, &rows[i]);
    ck_assert_mem_eq(two.st[1], s.st[0], 10);
    ck_assert_mem_eq(two.st[0], c.st[0], 10);
  }
}
END_TEST

/* Out of range, or nothing to compute: the host's result stays. */
START_TEST(left_alone) {
  static const struct row none[] = {
      {INSN_FSIN, 0, 0x403e, 1ull << 63, 0, 0, 0, 0, 0}, /* 2^63 */
      {INSN_FSIN, 0, 0, 0, 0, 0, 0, 0, 0},               /* 0 */
      {INSN_FPATAN, 0, 0x7fff, 1ull << 63, 0x3fff, 1ull << 63, 0, 0, 0},
      {INSN_FYL2X, 0, 0x3fff, 1ull << 63, 0x3fff, 1ull << 63, 0, 0, 0}, /* log2(1) */
      {INSN_FYL2X, 0, 0xbfff, 1ull << 63, 0x3fff, 1ull << 63, 0, 0, 0},
      {INSN_FCOS, 0, 0x3fff, 1ull << 62, 0, 0, 0, 0, 0}, /* no number since the 387 */
  };
  for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
    struct fxsave got = run(none[i].id, &none[i]);
    uint8_t st[16];
    put(st, none[i].exp0, none[i].m0);
    ck_assert_mem_eq(got.st[0], st, 10);
    ck_assert_uint_eq(got.fsw, 0);
  }
}
END_TEST

static float approximate(int id, float x) {
  struct insn in = {.id = (uint16_t)id};
  uint8_t source[16] = {0}, result[16] = {0};
  float got;
  memcpy(source, &x, 4);
  ck_assert(simd_is_approximation(&in));
  simd_approximate(&in, result, source);
  memcpy(&got, result, 4);
  return got;
}

static uint32_t approximate_bits(int id, uint32_t bits) {
  float x, got;
  uint32_t r;
  memcpy(&x, &bits, 4);
  got = approximate(id, x);
  memcpy(&r, &got, 4);
  return r;
}

/* SDM vol. 2, RCPPS and RSQRTPS: at most 1.5 * 2^-12; here 2^-13. */
START_TEST(approximations) {
  uint32_t seed = 1;
  for (int i = 0; i < 20000; i++) {
    seed = seed * 1664525u + 1013904223u;
    uint32_t bits = (seed >> 1) % 0x7d000000u + 0x00800000u;
    float x;
    memcpy(&x, &bits, 4);
    double r = approximate(INSN_RCPSS_Vx_Wd, x), q = approximate(INSN_RSQRTSS_Vx_Wd, x);
    ck_assert_double_le(fabs(r * x - 1), 1.0 / 8192 + 1e-9);
    ck_assert_double_le(fabs(q * sqrt((double)x) - 1), 1.0 / 8192 + 1e-9);
  }
  static const uint32_t fixed[][3] = {
      /* x, 1 / x, 1 / sqrt(x) */
      {0x3f800000, 0x3f800000, 0x3f800000}, {0x40800000, 0x3e800000, 0x3f000000},
      {0x40400000, 0x3eaaa800, 0x3f13d000}, {0x00000000, 0x7f800000, 0x7f800000},
      {0x80000000, 0xff800000, 0xff800000}, {0x7f800000, 0x00000000, 0x00000000},
      {0xff800000, 0x80000000, 0xffc00000}, {0xbf800000, 0xbf800000, 0xffc00000},
      {0x7f800001, 0x7fc00001, 0x7fc00001}, {0xffc12345, 0xffc12345, 0xffc12345},
      {0x00000001, 0x7f800000, 0x7f800000}, {0x7f000000, 0x00000000, 0x1fb50800},
      {0x00800000, 0x7e800000, 0x5f000000},
  };
  for (size_t i = 0; i < sizeof fixed / sizeof fixed[0]; i++) {
    ck_assert_uint_eq(approximate_bits(INSN_RCPSS_Vx_Wd, fixed[i][0]), fixed[i][1]);
    ck_assert_uint_eq(approximate_bits(INSN_RSQRTSS_Vx_Wd, fixed[i][0]), fixed[i][2]);
  }
  struct insn in = {.id = INSN_RCPPS_Vx_Wx};
  float four[4] = {1, 2, 4, 8}, got[4];
  simd_approximate(&in, (uint8_t *)got, (const uint8_t *)four);
  for (int i = 0; i < 4; i++)
    ck_assert_float_eq(got[i], 1 / four[i]);
}
END_TEST

Suite *suite_x87_exact(void) {
  Suite *s = suite_create("x87_exact");
  TCase *c = tcase_create("x87_exact");
  tcase_add_test(c, bits);
  tcase_add_test(c, both);
  tcase_add_test(c, left_alone);
  tcase_add_test(c, approximations);
  suite_add_tcase(s, c);
  return s;
}
