/* SPDX-License-Identifier: MIT */
/* "dragoman test" of a program that was built without Lua. */
#include "core/log.h"
#include "frontends/test/test.h"

int test_command(int argc, char **argv) {
  (void)argc;
  (void)argv;
  error_report("test: this program was built without scripts: install liblua5.4-dev and libpng-dev, and "
               "configure anew");
  return 2;
}
