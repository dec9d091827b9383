/* SPDX-License-Identifier: MIT */
/*
 * Memory kernels: sorting, a search tree and lists larger and smaller than the caches and TLBs, scattered
 * updates.
 */
#include "bench.h"

enum { SORTED = 256 << 10, TREE_LEVELS = 21, STEPS = 10000, UPDATES = 16384 };

static int compare(const void *a, const void *b) {
  u32 x = *(const u32 *)a, y = *(const u32 *)b;
  return (x > y) - (x < y);
}

static BENCH_NOINLINE void sort(u32 *v, int lo, int hi, int (*cmp)(const void *, const void *)) {
  while (hi - lo > 12) {
    u32 pivot = v[lo + (hi - lo) / 2], t;
    int i = lo, j = hi;
    while (i <= j) {
      while (cmp(&v[i], &pivot) < 0)
        i++;
      while (cmp(&v[j], &pivot) > 0)
        j--;
      if (i <= j)
        t = v[i], v[i] = v[j], v[j] = t, i++, j--;
    }
    if (j - lo < hi - i) {
      sort(v, lo, j, cmp);
      lo = i;
    } else {
      sort(v, i, hi, cmp);
      hi = j;
    }
  }
  for (int i = lo + 1; i <= hi; i++) {
    u32 x = v[i];
    int j = i;
    for (; j > lo && cmp(&v[j - 1], &x) > 0; j--)
      v[j] = v[j - 1];
    v[j] = x;
  }
}

static u32 run_sort(u32 n) {
  u32 *v = (u32 *)(void *)bench_arena, sum = 0;
  for (u32 k = 0; k < n; k++) {
    u32 seed = k + 1;
    for (int i = 0; i < SORTED; i++)
      v[i] = bench_random(&seed);
    sort(v, 0, SORTED - 1, compare);
    for (int i = 0; i < SORTED; i += 1000)
      sum = bench_mix(sum, v[i]);
  }
  return sum;
}

/* A balanced tree of 2 M nodes, 32 bytes each, scattered over 64 MB. */
struct node {
  struct node *left, *right;
  u32 key, value, fill[4];
};

static struct node *tree;
static u32 tree_seed;

/* Multiplication by an odd number permutes the numbers below 2^21, so each node has a place of its own. */
static struct node *tree_place(u32 i) {
  return (struct node *)(void *)bench_arena + (i * 1640531527u & ((1u << TREE_LEVELS) - 1));
}

static void init_tree(void) {
  for (u32 i = 1; i < 1u << TREE_LEVELS; i++) {
    struct node *p = tree_place(i);
    u32 step = (i & -i) >> 1;
    p->key = i;
    p->value = i * 3;
    p->left = step ? tree_place(i - step) : NULL;
    p->right = step ? tree_place(i + step) : NULL;
  }
  tree_seed = 5;
  tree = tree_place(1u << (TREE_LEVELS - 1));
}

static u32 run_tree(u32 n) {
  u32 sum = 0;
  for (u32 k = 0; k < n; k++) {
    u32 key = bench_random(&tree_seed) >> 8 & ((1u << TREE_LEVELS) - 1);
    struct node *p = tree;
    while (p && p->key != key)
      p = key < p->key ? p->left : p->right;
    sum += p ? p->value : 1;
  }
  return sum;
}

struct link {
  struct link *next;
  u32 number, fill[14];
};

static struct link *chase_at;

/* A cycle through all: i -> 5 i + odd has full period modulo a power of two, and the multiplier scatters it.
 */
static void make_chain(u32 count) {
  struct link *v = (struct link *)(void *)bench_arena;
  for (u32 i = 0; i < count; i++) {
    v[i].next = &v[(i * 1664525u + 1013904223u) & (count - 1)];
    v[i].number = i;
  }
  chase_at = v;
}

static void init_chase_64m(void) { make_chain(1 << 20); }
static void init_chase_16k(void) { make_chain(256); }

static u32 run_chase(u32 n) {
  struct link *p = chase_at;
  u32 sum = 0;
  for (u32 k = 0; k < n; k++) {
    for (int i = 0; i < STEPS; i++)
      p = p->next;
    sum = bench_mix(sum, p->number);
  }
  chase_at = p;
  return sum;
}

/* (Each run goes on where the last one ended, or it would find everything in the cache.) */
static u32 update_at;

static void number(u32 count) {
  u32 *v = (u32 *)(void *)bench_arena;
  update_at = 1;
  for (u32 i = 0; i < count; i++)
    v[i] = i;
}

static void init_update_256m(void) { number(64 << 20); }
static void init_update_4m(void) { number(1 << 20); }

static inline u32 update(u32 n, u32 mask) {
  u32 *v = (u32 *)(void *)bench_arena, x = update_at, sum = 0;
  for (u32 k = 0; k < n; k++)
    for (int i = 0; i < UPDATES; i++) {
      x = x * 1664525u + 1013904223u;
      v[x >> 4 & mask] += x;
    }
  update_at = x;
  for (u32 i = 0; i < 64; i++)
    sum = bench_mix(sum, v[i * 10211 & mask]);
  return sum;
}

static u32 run_update_256m(u32 n) { return update(n, (64 << 20) - 1); }
static u32 run_update_4m(u32 n) { return update(n, (1 << 20) - 1); }

const struct bench_kernel bench_memory[] = {
    {"qsort-256k", "memory", 1, NULL, run_sort},
    {"tree-64m", "memory", 2000, init_tree, run_tree},
    {"chase-64m", "memory", 1, init_chase_64m, run_chase},
    {"chase-16k", "memory", 20, init_chase_16k, run_chase},
    {"rmw-256m", "memory", 1, init_update_256m, run_update_256m},
    {"rmw-4m", "memory", 4, init_update_4m, run_update_4m},
    {NULL, NULL, 0, NULL, NULL},
};
