/* SPDX-License-Identifier: MIT */
/*
 * The forms in which a row of the instruction table exists: what a sweep runs through and what coverage
 * counts. A form is a set of FORM_* bits; a size that makes no difference to the row counts as 32 bits.
 */
#ifndef TESTS_CPU_FORMS_H
#define TESTS_CPU_FORMS_H

#include "core/insn.h"

#define FORM_MEMORY 1u /* ModRM names memory */
#define FORM_OP16 2u
#define FORM_ADDR16 4u
#define FORM_REP 8u /* F2 or F3 before a string instruction */
#define FORM_LOCK 16u
#define FORMS 32u

bool row_sized(unsigned id); /* does the operand size make a difference? */
bool row_has_form(unsigned id, unsigned form);
unsigned insn_form(const struct insn *in);
const char *form_name(unsigned id, unsigned form); /* in a static buffer */

#endif
