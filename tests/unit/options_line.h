/* SPDX-License-Identifier: MIT */
/* A command line as one string, for the tests of options: understood, or refused with these words. */
#ifndef TESTS_UNIT_OPTIONS_LINE_H
#define TESTS_UNIT_OPTIONS_LINE_H

#include <check.h>
#include <stdio.h>
#include <string.h>

#include "frontends/options.h"

static struct options o;
static char error[512];

/* Parse a command line that is given as one string; blanks separate arguments. */
static int parse(const char *line) {
  static char copy[512];
  char *rest;
  char *argv[64] = {"dragoman"};
  int argc = 1;
  options_free(&o);
  error[0] = '\0';
  snprintf(copy, sizeof copy, "%s", line);
  for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest))
    argv[argc++] = word;
  return options_parse(&o, argc, argv, error, sizeof error);
}

static void good(const char *line) { ck_assert_msg(parse(line) == 0, "'%s' refused: %s", line, error); }

static void bad(const char *line, const char *expected) {
  ck_assert_msg(parse(line) == -1, "'%s' accepted", line);
  ck_assert_msg(strstr(error, expected) != NULL, "'%s' says '%s', not '%s'", line, error, expected);
  ck_assert_msg(!strchr(error, '\n'), "more than one line: %s", error);
}

#endif
