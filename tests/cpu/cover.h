/* SPDX-License-Identifier: MIT */
/*
 * Coverage of the instruction table. A program that is linked with cover.o and finds INSN_COVERAGE=FILE in
 * its environment notes there which forms of which rows (forms.h) the interpreter has executed; several
 * programs may add to one file. cover_report.c reads it.
 */
#ifndef TESTS_CPU_COVER_H
#define TESTS_CPU_COVER_H

#include "tests/cpu/forms.h"

/* A file is a byte for each form of each row. */
#define COVER_SIZE (INSN_COUNT * FORMS)
#define COVER_FETCHED 1u
#define COVER_RETIRED 2u /* without a fault */

#endif
