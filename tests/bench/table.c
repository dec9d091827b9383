/* SPDX-License-Identifier: MIT */
/* The benchmark's table, in text. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

/* So much slower than QEMU is slower. */
static const double slower_by = 1.03;

struct mean {
  double log_sum;
  int count;
};

struct row *row_find(struct table *t, const char *name) {
  for (int i = 0; i < t->rows; i++)
    if (!strcmp(t->row[i].name, name))
      return &t->row[i];
  return NULL;
}

struct row *row_add(struct table *t, const char *name, const char *group) {
  struct row *r = row_find(t, name);
  if (r || t->rows == ROWS)
    return r;
  r = &t->row[t->rows++];
  snprintf(r->name, sizeof r->name, "%s", name);
  snprintf(r->group, sizeof r->group, "%s", group);
  return r;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* 0 if there are no samples. */
static double median(struct row *r, int e, double *spread) {
  if (e < 0 || !r->cell[e].samples)
    return 0;
  struct cell *c = &r->cell[e];
  int n = c->samples;
  qsort(c->ns, (size_t)n, sizeof c->ns[0], by_value);
  double middle = (c->ns[n / 2] + c->ns[(n - 1) / 2]) / 2;
  if (spread)
    *spread = (c->ns[n - 1] - c->ns[0]) / 2 / middle * 100;
  return middle;
}

static double native_of(struct table *t, struct row *r) { return median(r, t->native, NULL); }

static void mean_add(struct mean *m, double ratio) {
  m->log_sum += log(ratio);
  m->count++;
}

static double mean_of(const struct mean *m) { return exp(m->log_sum / m->count); }

/* The groups that sums are made of: `cpu` for plain integer code, `all` for everything that is a program. */
static const char cpu_groups[] = "integer crypto memory calls compress digest";
static const char all_groups[] = "integer crypto memory calls x87 sse simd strings selfmod "
                                 "compress digest scripts system";

/* Over the rows of the named groups: the time in multiples of another column's. */
static struct mean mean_against(struct table *t, int e, int other, const char *groups) {
  struct mean m = {0};
  for (int i = 0; i < t->rows; i++) {
    double x = median(&t->row[i], e, NULL), y = median(&t->row[i], other, NULL);
    const char *group = t->row[i].group, *at = strstr(groups, group);
    size_t n = strlen(group);
    if (x > 0 && y > 0 && at && (at[n] == 0 || at[n] == ' ') && (at == groups || at[-1] == ' '))
      mean_add(&m, x / y);
  }
  return m;
}

static int is_slower(struct table *t, struct row *r, int e) {
  double ours = median(r, e, NULL), theirs = median(r, t->qemu, NULL);
  return e != t->native && e != t->qemu && ours > 0 && theirs > 0 && ours > theirs * slower_by;
}

static int has_native(struct table *t, const char *group) {
  for (int i = 0; i < t->rows; i++)
    if (!strcmp(t->row[i].group, group) && native_of(t, &t->row[i]) > 0)
      return 1;
  return 0;
}

static void print_row(struct table *t, struct row *r) {
  double spread, one = native_of(t, r);
  printf("%-24s", r->name);
  for (int e = 0; e < t->engines; e++) {
    double ns = median(r, e, &spread);
    if (ns <= 0)
      printf(" %17s", "-");
    else if ((e == t->native || one <= 0) && ns >= 1e7)
      printf(" %9.1f ms %3.0f%%", ns / 1e6, spread);
    else if (e == t->native || one <= 0)
      printf(" %9.*f ns %3.0f%%", ns < 10000 ? 1 : 0, ns, spread);
    else
      printf(" %11.2fx %3.0f%%", ns / one, spread);
  }
  for (int e = 0; e < t->engines; e++)
    if (is_slower(t, r, e))
      printf("  %s slower than qemu", t->engine[e]);
  printf("\n");
}

/* The guest's clock against the emulator's CPU time: far from 1, its timers or its idling are amiss. */
static void print_guest_clocks(struct table *t) {
  for (int e = 0; e < t->engines; e++) {
    struct mean m = {0};
    for (int i = 0; i < t->rows; i++)
      for (int k = 0; k < t->row[i].cell[e].samples; k++)
        if (t->row[i].cell[e].guest_ns[k] > 0)
          mean_add(&m, t->row[i].cell[e].guest_ns[k] / t->row[i].cell[e].ns[k]);
    if (m.count)
      printf("%s: by the guest's clock %.2f of the CPU time, geometric mean\n", t->engine[e], mean_of(&m));
  }
}

/* A group without native times is held against QEMU. */
static void print_mean(struct table *t, const char *group) {
  int other = has_native(t, group) ? t->native : t->qemu;
  if (other < 0)
    return;
  printf("  %-22s", group);
  for (int e = 0; e < t->engines; e++) {
    struct mean m = mean_against(t, e, other, group);
    if (!m.count || e == other)
      printf(" %17s", e == other && other == t->qemu ? "(1)" : "");
    else
      printf(" %11.2f%-6s", mean_of(&m), other == t->native ? "x" : " qemu");
  }
  printf("\n");
}

static int last_of_group(struct table *t, int i) {
  return i + 1 == t->rows || strcmp(t->row[i].group, t->row[i + 1].group) != 0;
}

/* Groups of one name may stand apart (x87); each is summed up after its last row. */
static int seen_later(struct table *t, int i) {
  for (int k = i + 1; k < t->rows; k++)
    if (!strcmp(t->row[i].group, t->row[k].group))
      return 1;
  return 0;
}

/* summary ENGINE: group mean ...; cpu mean all mean x native; n rows, n slower than qemu; all: qemu/ENGINE
 * mean */
static void print_summary(struct table *t, int e) {
  int rows = 0, slower = 0;
  printf("summary %s:", t->engine[e]);
  for (int i = 0; i < t->rows; i++) {
    slower += is_slower(t, &t->row[i], e);
    if (!last_of_group(t, i) || seen_later(t, i))
      continue;
    struct mean m = mean_against(t, e, t->native, t->row[i].group);
    if (m.count)
      printf(" %s %.2f", t->row[i].group, mean_of(&m));
  }
  struct mean cpu = mean_against(t, e, t->native, cpu_groups),
              all = mean_against(t, e, t->native, all_groups);
  struct mean qemu = mean_against(t, t->qemu, e, all_groups);
  for (int i = 0; i < t->rows; i++)
    rows += median(&t->row[i], e, NULL) > 0;
  if (cpu.count && all.count)
    printf("; cpu %.2f all %.2f x native", mean_of(&cpu), mean_of(&all));
  printf("; %d rows", rows);
  if (qemu.count && e != t->qemu)
    printf(", %d slower than qemu; all: qemu/%s %.2f", slower, t->engine[e], mean_of(&qemu));
  printf("\n");
}

void table_print(struct table *t) {
  printf("%-24s", "kernel");
  for (int e = 0; e < t->engines; e++)
    printf(" %17s", t->engine[e]);
  printf("\n");
  for (int i = 0; i < t->rows; i++) {
    print_row(t, &t->row[i]);
    if (last_of_group(t, i) && !seen_later(t, i))
      print_mean(t, t->row[i].group);
  }
  print_guest_clocks(t);
  for (int e = 0; e < t->engines; e++)
    if (e == t->qemu)
      print_summary(t, e);
  for (int e = 0; e < t->engines; e++)
    if (e != t->native && e != t->qemu)
      print_summary(t, e);
}
