/* SPDX-License-Identifier: MIT */
/* dragoman compare A B: where two runs part. */
#ifndef FRONTENDS_COMPARE_H
#define FRONTENDS_COMPARE_H

#include <stdio.h>

/* The arguments after "compare". Exit status: 0 the runs are the same, 1 they are not, 2 they cannot be compared. */
int compare_runs(int argc, char **argv, FILE *out);

#endif
