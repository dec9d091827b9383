/* SPDX-License-Identifier: MIT */
/*
 * Integer kernels: the mix of lists, matrices, a state machine and a CRC that CoreMark made popular, the
 * records and strings that Dhrystone did, and arithmetic by itself: long numbers, division, bits. The
 * programs are our own.
 */
#include "bench.h"

/* Lists, matrices, states, CRC. */

enum { ITEMS = 96, MATRIX = 10 };

struct item {
  struct item *next;
  u16 key, order;
};

static struct item items[ITEMS];
static int16_t matrix_a[MATRIX][MATRIX], matrix_b[MATRIX][MATRIX];
static int32_t matrix_c[MATRIX][MATRIX];
static const char numbers[] = "5012,1234,-874,+122,35.54400,.1234500,-110.700,+0.64400,"
                              "5.500e+3,-.123e-2,T0.3e-1F,-87e+832,0x";

static u32 crc16(u32 crc, u32 value, int bits) {
  for (int i = 0; i < bits; i++) {
    u32 out = (crc ^ value) & 1;
    value >>= 1;
    crc >>= 1;
    if (out)
      crc ^= 0xa001;
  }
  return crc;
}

static struct item *list_merge_sort(struct item *list, int by_order) {
  for (u32 width = 1;; width *= 2) {
    struct item *p = list, *tail = NULL;
    u32 merges = 0;
    list = NULL;
    while (p) {
      struct item *q = p;
      u32 np = 0, nq = width;
      merges++;
      for (; np < width && q; np++)
        q = q->next;
      while (np || (nq && q)) {
        struct item *e;
        int left = !nq || !q || (np && (by_order ? p->order <= q->order : p->key <= q->key));
        if (np && left)
          e = p, p = p->next, np--;
        else
          e = q, q = q->next, nq--;
        if (tail)
          tail->next = e;
        else
          list = e;
        tail = e;
      }
      p = q;
    }
    tail->next = NULL;
    if (merges <= 1)
      return list;
  }
}

static BENCH_NOINLINE u32 list_work(u32 seed) {
  struct item *list = NULL, *reversed = NULL;
  for (u32 i = 0; i < ITEMS; i++) {
    items[i].key = bench_random(&seed) >> 9 & 0x3ff;
    items[i].order = i;
    items[i].next = list;
    list = &items[i];
  }
  u32 found = 0;
  for (u32 k = 0; k < 30; k++) {
    struct item *p = list;
    while (p && (p->key & 0x7f) != k)
      p = p->next;
    found = found * 3 + (p ? p->order : 1);
  }
  while (list) {
    struct item *next = list->next;
    list->next = reversed;
    reversed = list;
    list = next;
  }
  list = list_merge_sort(reversed, 0);
  u32 crc = found & 0xffff;
  for (struct item *p = list; p; p = p->next)
    crc = crc16(crc, p->key, 16);
  list = list_merge_sort(list, 1);
  return crc16(crc, list->key, 16);
}

static BENCH_NOINLINE u32 matrix_work(int seed) {
  for (int i = 0; i < MATRIX; i++)
    for (int j = 0; j < MATRIX; j++) {
      matrix_a[i][j] = (int16_t)(seed * (i + 3) + j * 7);
      matrix_b[i][j] = (int16_t)(seed + i * 11 - j * (i + 1));
    }
  u32 sum = 0;
  for (int i = 0; i < MATRIX; i++)
    for (int j = 0; j < MATRIX; j++) {
      int32_t t = 0;
      for (int k = 0; k < MATRIX; k++)
        t += matrix_a[i][k] * matrix_b[k][j];
      matrix_c[i][j] = t;
    }
  for (int i = 0; i < MATRIX; i++)
    for (int j = 0; j < MATRIX; j++) {
      u32 t = (u32)matrix_c[i][j];
      sum += (t >> 2 & 0xf) * (t >> 5 & 0x7f);
      sum = (int32_t)t > 1000 ? sum + 10 : sum;
    }
  return sum;
}

enum number_state { START, SIGN, INTEGER, FLOAT, EXPONENT, SCIENTIFIC, INVALID, STATES };

static enum number_state number_next(const char **text) {
  enum number_state s = START;
  const char *p = *text;
  for (; *p && *p != ','; p++) {
    int digit = *p >= '0' && *p <= '9';
    switch (s) {
    case START: s = digit ? INTEGER : *p == '+' || *p == '-' ? SIGN : *p == '.' ? FLOAT : INVALID; break;
    case SIGN: s = digit ? INTEGER : *p == '.' ? FLOAT : INVALID; break;
    case INTEGER: s = digit ? INTEGER : *p == '.' ? FLOAT : *p == 'e' ? EXPONENT : INVALID; break;
    case FLOAT: s = digit ? FLOAT : *p == 'e' ? EXPONENT : INVALID; break;
    case EXPONENT: s = *p == '+' || *p == '-' ? SCIENTIFIC : INVALID; break;
    case SCIENTIFIC: s = digit ? SCIENTIFIC : INVALID; break;
    default: break;
    }
  }
  *text = *p ? p + 1 : p;
  return s;
}

static BENCH_NOINLINE u32 state_work(u32 crc) {
  u32 count[STATES] = {0};
  for (int i = 0; i < 4; i++)
    for (const char *p = numbers; *p;)
      count[number_next(&p)]++;
  for (int i = 0; i < STATES; i++)
    crc = crc16(crc, count[i], 32);
  return crc;
}

static u32 run_mix(u32 n) {
  u32 sum = 0;
  for (u32 i = 0; i < n; i++) {
    sum = bench_mix(sum, list_work(i));
    sum = bench_mix(sum, matrix_work((int)(i & 63)));
    sum = bench_mix(sum, state_work(sum & 0xffff));
  }
  return sum;
}

/* Records, strings, small procedures. */

struct record {
  struct record *other;
  int kind, choice, number;
  char text[31];
};

static struct record record_a, record_b;
static int global_number, global_array[50], global_table[50][50];
static char global_char;

static BENCH_NOINLINE int text_compare(const char *a, const char *b) {
  while (*a && *a == *b)
    a++, b++;
  return (u8)*a - (u8)*b;
}

static BENCH_NOINLINE void text_copy(char *to, const char *from) {
  while ((*to++ = *from++))
    ;
}

static BENCH_NOINLINE int choose(char a, char b) {
  char c = a;
  if (c != b)
    return 0;
  global_char = c;
  return 1;
}

static BENCH_NOINLINE void add_up(int a, int b, int *result) { *result = a + 2 + b; }

static BENCH_NOINLINE void array_work(int *array, int table[50][50], int a, int b) {
  int i = a + 5;
  array[i] = b;
  array[i + 1] = array[i];
  array[i + 30] = i;
  for (int j = i; j <= i + 1; j++)
    table[i][j] = i;
  table[i][i - 1]++;
  table[i + 20][i] = array[i];
  global_number = 5;
}

static BENCH_NOINLINE void record_work(struct record *p) {
  struct record *next = p->other;
  *next = *p;
  p->number = 5;
  next->number = p->number;
  next->other = p->other;
  if (next->kind == 0) {
    next->number = 6;
    add_up(next->number, 10, &next->number);
  } else {
    *p = *next;
  }
}

static void init_records(void) {
  record_a = (struct record){.other = &record_b, .kind = 0, .choice = 2, .number = 40};
  text_copy(record_a.text, "A PROGRAM OF RECORDS, STRINGS,");
  record_b = record_a;
  for (int i = 0; i < 50; i++) {
    global_array[i] = 0;
    for (int j = 0; j < 50; j++)
      global_table[i][j] = 0;
  }
}

static u32 run_records(u32 n) {
  char text_a[31], text_b[31];
  u32 sum = 0;
  text_copy(text_a, "A PROGRAM OF RECORDS, 1'ST STR");
  for (u32 i = 0; i < n; i++) {
    int a = 2, b = 3, c = 0;
    text_copy(text_b, "A PROGRAM OF RECORDS, 2'ND STR");
    int same = text_compare(text_a, text_b) == 0;
    while (a < b) {
      c = 5 * a - b;
      add_up(a, b, &c);
      a++;
    }
    array_work(global_array, global_table, a, c);
    record_work(&record_a);
    for (char ch = 'A'; ch <= 'C'; ch++)
      if (choose(ch, 'C'))
        same += 2;
    b = b * a;
    a = b / (c | 1);
    b = 7 * (b - c) - a;
    sum = bench_mix(sum, (u32)(a + b * same + global_number + global_char + record_b.number));
  }
  return bench_mix(sum, (u32)global_table[8][7]);
}

/* 1024-bit numbers multiplied. */

enum { LIMBS = 32 };
static u32 big_a[LIMBS], big_b[LIMBS], big_c[2 * LIMBS];

static void init_big(void) {
  u32 seed = 7;
  for (int i = 0; i < LIMBS; i++) {
    big_a[i] = bench_random(&seed);
    big_b[i] = bench_random(&seed);
  }
}

static u32 run_big(u32 n) {
  for (u32 k = 0; k < n; k++) {
    for (int i = 0; i < LIMBS; i++)
      big_c[i] = 0;
    for (int i = 0; i < LIMBS; i++) {
      u32 carry = 0;
      for (int j = 0; j < LIMBS; j++) {
        u64 t = (u64)big_a[i] * big_b[j] + big_c[i + j] + carry;
        big_c[i + j] = (u32)t;
        carry = t >> 32;
      }
      big_c[i + LIMBS] = carry;
    }
    u32 *p = big_a, *q = big_c, count = LIMBS;
    /* A carry through the whole number, which C cannot say. */
    __asm__ volatile(
        "clc\n1: movl (%1), %%eax\n adcl %%eax, (%0)\n leal 4(%0), %0\n leal 4(%1), %1\n decl %2\n jnz 1b"
        : "+r"(p), "+r"(q), "+r"(count)
        :
        : "eax", "cc", "memory");
  }
  u32 sum = 0;
  for (int i = 0; i < 2 * LIMBS; i++)
    sum = bench_mix(sum, big_c[i]);
  return sum;
}

static u32 run_division(u32 n) {
  u32 seed = 99, sum = 0;
  for (u32 i = 0; i < n; i++) {
    u32 a = bench_random(&seed), b = (seed >> 20) + 3, quotient, rest;
    __asm__("divl %4" : "=a"(quotient), "=d"(rest) : "0"(a), "1"(b - 1), "rm"(b) : "cc");
    sum += quotient ^ rest;
    sum += (u32)((int32_t)sum / (int32_t)(b | 1));
  }
  return sum;
}

static u32 run_bits(u32 n) {
  u32 x = 0x12345678, sum = 0;
  for (u32 i = 0; i < n; i++) {
    x ^= x << 13, x ^= x >> 17, x ^= x << 5;
    u32 c = x - (x >> 1 & 0x55555555);
    c = (c & 0x33333333) + (c >> 2 & 0x33333333);
    c = ((c + (c >> 4)) & 0x0f0f0f0f) * 0x01010101 >> 24;
    u32 high = 31 - (u32)__builtin_clz(x | 1), low = (u32)__builtin_ctz(x | 0x80000000);
    u64 wide = (u64)x << 32 | sum;
    sum += c + high * low + __builtin_bswap32(x) + (u32)(wide >> (x & 31));
    sum = sum << (c & 31) | sum >> (-c & 31);
  }
  return sum;
}

const struct bench_kernel bench_integer[] = {
    {"coremark-like", "integer", 20, NULL, run_mix},
    {"dhrystone-like", "integer", 10000, init_records, run_records},
    {"big-numbers", "integer", 400, init_big, run_big},
    {"division", "integer", 100000, NULL, run_division},
    {"bit-tricks", "integer", 200000, NULL, run_bits},
    {NULL, NULL, 0, NULL, NULL},
};
