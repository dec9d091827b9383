/* SPDX-License-Identifier: MIT */
/* The command "dragoman test": docs/testing.md. */
#ifndef FRONTENDS_TEST_TEST_H
#define FRONTENDS_TEST_TEST_H

/* The words behind "test". The exit status: 0 all passed, 1 some failed, 2 they could not be run. */
int test_command(int argc, char **argv);

#endif
