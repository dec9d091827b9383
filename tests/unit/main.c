/* SPDX-License-Identifier: MIT */
/*
 * Runs the unit test suites listed in suites.def; arguments name the suites to run (all without). CK_FORK=no in the
 * environment keeps everything in one process, for debuggers. The last line says how many tests passed and failed.
 */
#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#define SUITE(name) Suite *suite_##name(void);
#include "tests/unit/suites.def"
#undef SUITE

static const struct {
  const char *name;
  Suite *(*make)(void);
} suites[] = {
#define SUITE(name) {#name, suite_##name},
#include "tests/unit/suites.def"
#undef SUITE
    {NULL, NULL},
};

static bool wanted(const char *name, int argc, char **argv) {
  for (int i = 1; i < argc; i++)
    if (strcmp(argv[i], name) == 0)
      return true;
  return argc == 1;
}

int main(int argc, char **argv) {
  SRunner *runner = NULL;
  for (int i = 0; suites[i].name; i++) {
    if (!wanted(suites[i].name, argc, argv))
      continue;
    Suite *suite = suites[i].make();
    if (runner)
      srunner_add_suite(runner, suite);
    else
      runner = srunner_create(suite);
  }
  if (!runner) {
    printf("no such suite\n0 passed, 0 failed\n");
    return EXIT_FAILURE;
  }
  srunner_run_all(runner, CK_ENV);
  int run = srunner_ntests_run(runner), failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  printf("%d passed, %d failed\n", run - failed, failed);
  return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
