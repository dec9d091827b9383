/* SPDX-License-Identifier: MIT */
/*
 * Text that a guest or a script made, in files of reports: JSON strings (RFC 8259), XML 1.0 character data,
 * YAML double-quoted scalars as TAP's blocks have them. What is no UTF-8, or no character of XML, becomes
 * U+FFFD.
 */
#ifndef FRONTENDS_TEST_ESCAPE_H
#define FRONTENDS_TEST_ESCAPE_H

#include <stdio.h>

void escape_json(FILE *out, const char *text); /* with its quotation marks */
void escape_xml(FILE *out, const char *text);  /* for element content and attributes */
void escape_yaml(FILE *out, const char *text); /* with its quotation marks */
/* Lines of a YAML literal block, each behind `indent` blanks. */
void escape_block(FILE *out, const char *text, int indent);

#endif
