/* SPDX-License-Identifier: MIT */
/* The table of a benchmark: rows in groups, engines in columns, some runs in each cell. */
#ifndef TESTS_BENCH_TABLE_H
#define TESTS_BENCH_TABLE_H

enum { ROWS = 128, RUNS = 15, ENGINES = 6 };

struct cell {
  double ns[RUNS];       /* per iteration */
  double guest_ns[RUNS]; /* on the guest's own clock, where it has told; else 0 */
  int samples, failed;
  unsigned checksum;
};

struct row {
  char name[40], group[16];
  struct cell cell[ENGINES];
};

struct table {
  const char *engine[ENGINES];
  int engines, native, qemu; /* the columns of these two; -1: none */
  struct row row[ROWS];
  int rows;
};

struct row *row_find(struct table *t, const char *name); /* NULL: none */
struct row *row_add(struct table *t, const char *name,
                    const char *group); /* the one there is; NULL: no room */

/*
 * Medians, in multiples of the native one where there is one, with the spread: half of what lies between the
 * fastest and the slowest run, in percent of the median. Then geometric means, by group and of all, and one
 * line a column that other runs can be compared with.
 */
void table_print(struct table *t);

#endif
