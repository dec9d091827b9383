/* SPDX-License-Identifier: MIT */
/*
 * SHA-256 (FIPS 180-4), MD5 (RFC 1321) and AES-128 (FIPS 197, one table) of 4 KB, and a Lempel-Ziv compressor
 * with its decompressor on 1 MB of made-up text. Tables are computed at the start.
 */
#include "bench.h"

enum { BUFFER = 4096, TEXT = 1 << 20 };

static u8 buffer[BUFFER];

static inline u32 ror(u32 x, int n) { return x >> n | x << (32 - n); }
static inline u32 rol(u32 x, int n) { return x << n | x >> (32 - n); }

static void fill(void) {
  u32 seed = 4;
  for (int i = 0; i < BUFFER; i++)
    buffer[i] = (u8)(bench_random(&seed) >> 11);
}

/* SHA-256: the constants are the fractional parts of cube roots of primes, found by bisection in integers. */
static u32 sha_k[64], md5_k[64];

/* Whether x, a number with 32 bits after the point and up to 3 before it, has a cube not above p. */
static int cube_below(u64 x, u32 p) {
  /* x^3 in units of 2^-96 needs 105 bits: by halves, keeping the top. */
  u64 hi = x >> 32, lo = x & 0xffffffff;
  u64 square_lo = lo * lo, square_mid = 2 * hi * lo + (square_lo >> 32),
      square_hi = hi * hi + (square_mid >> 32);
  u64 s2 = square_hi, s1 = square_mid & 0xffffffff, s0 = square_lo & 0xffffffff;
  u64 c0 = s0 * lo, c1 = s1 * lo + (c0 >> 32), d1 = s0 * hi + (c1 & 0xffffffff);
  u64 c2 = s2 * lo + (c1 >> 32) + s1 * hi + (d1 >> 32), c3 = s2 * hi + (c2 >> 32);
  return c3 < p;
}

static void init_sha(void) {
  u32 p = 1;
  for (int i = 0; i < 64; i++) {
    for (int prime = 0; !prime;) {
      prime = 1;
      p++;
      for (u32 d = 2; d * d <= p; d++)
        if (p % d == 0)
          prime = 0;
    }
    u64 x = 0;
    for (int bit = 34; bit >= 0; bit--)
      if (cube_below(x | 1ull << bit, p))
        x |= 1ull << bit;
    sha_k[i] = (u32)x;
  }
  fill();
}

static BENCH_NOINLINE void sha_block(u32 h[8], const u8 *p) {
  u32 w[64];
  for (int i = 0; i < 16; i++)
    w[i] = (u32)p[4 * i] << 24 | (u32)p[4 * i + 1] << 16 | (u32)p[4 * i + 2] << 8 | p[4 * i + 3];
  for (int i = 16; i < 64; i++) {
    u32 a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (ror(a, 7) ^ ror(a, 18) ^ a >> 3) + w[i - 7] + (ror(b, 17) ^ ror(b, 19) ^ b >> 10);
  }
  u32 a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], x = h[7];
  for (int i = 0; i < 64; i++) {
    u32 t1 = x + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) + sha_k[i] + w[i];
    u32 t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
    x = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
  }
  h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += x;
}

static u32 run_sha(u32 n) {
  u32 sum = 0;
  for (u32 k = 0; k < n; k++) {
    u32 h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    for (int i = 0; i < BUFFER; i += 64)
      sha_block(h, buffer + i);
    sum = bench_mix(sum, h[0] ^ h[7]);
  }
  return sum;
}

/* (Constants of our own instead of sines: the work is the same.) */
static void init_md5(void) {
  for (int i = 0; i < 64; i++) {
    u32 seed = (u32)i * 77 + 1;
    md5_k[i] = bench_random(&seed);
  }
  fill();
}

static BENCH_NOINLINE void md5_block(u32 h[4], const u8 *p) {
  static const u8 shift[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
  const u32 *w = (const u32 *)(const void *)p;
  u32 a = h[0], b = h[1], c = h[2], d = h[3];
#define MD5_STEP(f, word, i)                                                                                 \
  do {                                                                                                       \
    u32 t = a + (f) + md5_k[i] + w[word];                                                                    \
    a = d, d = c, c = b;                                                                                     \
    b += rol(t, shift[(i) / 16][(i)&3]);                                                                     \
  } while (0)
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++)
    MD5_STEP((b & c) | (~b & d), i, i);
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++)
    MD5_STEP((d & b) | (~d & c), (5 * i + 1) & 15, i + 16);
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++)
    MD5_STEP(b ^ c ^ d, (3 * i + 5) & 15, i + 32);
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++)
    MD5_STEP(c ^ (b | ~d), (7 * i) & 15, i + 48);
  h[0] += a, h[1] += b, h[2] += c, h[3] += d;
}

static u32 run_md5(u32 n) {
  u32 sum = 0;
  for (u32 k = 0; k < n; k++) {
    u32 h[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
    for (int i = 0; i < BUFFER; i += 64)
      md5_block(h, buffer + i);
    sum = bench_mix(sum, h[0] ^ h[3]);
  }
  return sum;
}

static u8 sbox[256];
static u32 aes_table[256], aes_key[44];

static u8 gf_times(u8 a, u8 b) {
  u8 r = 0;
  for (; b; b >>= 1) {
    if (b & 1)
      r ^= a;
    a = (u8)(a << 1 ^ (a & 0x80 ? 0x1b : 0));
  }
  return r;
}

static void init_aes(void) {
  for (int i = 0; i < 256; i++) {
    u8 inverse = 0;
    for (int j = 1; i && j < 256 && !inverse; j++)
      if (gf_times((u8)i, (u8)j) == 1)
        inverse = (u8)j;
    u32 x = inverse * 0x101u;
    sbox[i] = (u8)(0x63 ^ x ^ x >> 4 ^ x >> 5 ^ x >> 6 ^ x >> 7);
    u8 s = sbox[i];
    aes_table[i] = gf_times(s, 2) | (u32)s << 8 | (u32)s << 16 | (u32)gf_times(s, 3) << 24;
  }
  for (u32 i = 0; i < 4; i++)
    aes_key[i] = 0x03020100 + 0x04040404 * i;
  u8 round = 1;
  for (int i = 4; i < 44; i++) {
    u32 t = aes_key[i - 1];
    if (i % 4 == 0) {
      t = ror(t, 8);
      t = sbox[t & 255] | (u32)sbox[t >> 8 & 255] << 8 | (u32)sbox[t >> 16 & 255] << 16 |
          (u32)sbox[t >> 24] << 24;
      t ^= round;
      round = gf_times(round, 2);
    }
    aes_key[i] = aes_key[i - 4] ^ t;
  }
  fill();
}

static BENCH_NOINLINE void aes_block(u32 s[4]) {
  u32 t[4];
  for (int i = 0; i < 4; i++)
    s[i] ^= aes_key[i];
  for (int r = 1; r < 10; r++) {
    for (int i = 0; i < 4; i++)
      t[i] = aes_key[4 * r + i] ^ aes_table[s[i] & 255] ^ rol(aes_table[s[(i + 1) & 3] >> 8 & 255], 8) ^
             rol(aes_table[s[(i + 2) & 3] >> 16 & 255], 16) ^ rol(aes_table[s[(i + 3) & 3] >> 24], 24);
    for (int i = 0; i < 4; i++)
      s[i] = t[i];
  }
  for (int i = 0; i < 4; i++)
    t[i] = aes_key[40 + i] ^
           (sbox[s[i] & 255] | (u32)sbox[s[(i + 1) & 3] >> 8 & 255] << 8 |
            (u32)sbox[s[(i + 2) & 3] >> 16 & 255] << 16 | (u32)sbox[s[(i + 3) & 3] >> 24] << 24);
  for (int i = 0; i < 4; i++)
    s[i] = t[i];
}

static u32 run_aes(u32 n) {
  u32 sum = 0;
  for (u32 k = 0; k < n; k++)
    for (int i = 0; i < BUFFER; i += 16) {
      u32 *s = (u32 *)(void *)(buffer + i);
      aes_block(s);
      sum = bench_mix(sum, s[0]);
    }
  return sum;
}

/* LZ: a flag byte for eight items, each a literal or (distance, length - 3). */

static u8 *lz_text, *lz_packed, *lz_unpacked;
static u32 lz_hash[1 << 14];

static void init_lz(void) {
  static const char words[16][9] = {
      "the ",     "emulator", " reads ", "a page ", "of code", " and ",    "writes ", "memory ",
      "without ", "any ",     "fault, ", "while ",  "time ",   "passes. ", "Then ",   "it stops",
  };
  lz_text = bench_arena;
  lz_packed = bench_arena + 2 * TEXT;
  lz_unpacked = bench_arena + 4 * TEXT;
  u32 seed = 11, n = 0;
  while (n < TEXT) {
    u32 r = bench_random(&seed) >> 8;
    for (const char *p = words[r & 15]; *p && p < words[r & 15] + 9 && n < TEXT; p++)
      lz_text[n++] = (u8)*p;
    if ((r >> 4 & 7) == 0 && n < TEXT)
      lz_text[n++] = (u8)(r >> 7);
  }
}

static BENCH_NOINLINE u32 lz_pack(const u8 *in, u32 size, u8 *out) {
  u32 at = 0, o = 1, flags = 0, flag_count = 0, flag_at = 0;
  for (u32 i = 0; i < 1 << 14; i++)
    lz_hash[i] = 0;
  while (at < size) {
    u32 length = 0, from = 0;
    if (at + 4 <= size) {
      u32 h = (*(const u32 *)(const void *)(in + at) & 0xffffff) * 2654435761u >> 18;
      from = lz_hash[h];
      lz_hash[h] = at + 1;
      if (from && at + 1 - from < 65536)
        while (length < 258 && at + length < size && in[from - 1 + length] == in[at + length])
          length++;
    }
    if (length >= 4) {
      u32 distance = at + 1 - from;
      flags |= 1u << flag_count;
      out[o++] = (u8)distance, out[o++] = (u8)(distance >> 8), out[o++] = (u8)(length - 3);
      at += length;
    } else {
      out[o++] = in[at++];
    }
    if (++flag_count == 8) {
      out[flag_at] = (u8)flags;
      flag_at = o++;
      flags = flag_count = 0;
    }
  }
  out[flag_at] = (u8)flags;
  return o;
}

static BENCH_NOINLINE void lz_unpack(const u8 *in, u8 *out, u32 size) {
  u32 n = 0;
  while (n < size) {
    u32 flags = *in++;
    for (int i = 0; i < 8 && n < size; i++, flags >>= 1) {
      if (flags & 1) {
        u32 distance = in[0] | (u32)in[1] << 8, length = in[2] + 3u;
        in += 3;
        for (; length; length--, n++)
          out[n] = out[n - distance];
      } else {
        out[n++] = *in++;
      }
    }
  }
}

static u32 run_lz(u32 n) {
  u32 sum = 0;
  for (u32 k = 0; k < n; k++) {
    sum = bench_mix(sum, lz_pack(lz_text, TEXT, lz_packed));
    lz_unpack(lz_packed, lz_unpacked, TEXT);
    for (u32 i = 0; i < TEXT; i += 509)
      sum = bench_mix(sum, lz_unpacked[i] ^ (u32)(lz_unpacked[i] != lz_text[i]) << 31);
  }
  return sum;
}

const struct bench_kernel bench_crypto[] = {
    {"sha256-4k", "crypto", 40, init_sha, run_sha},
    {"md5-4k", "crypto", 80, init_md5, run_md5},
    {"aes-4k", "crypto", 50, init_aes, run_aes},
    {"lz-1m", "crypto", 1, init_lz, run_lz},
    {NULL, NULL, 0, NULL, NULL},
};
