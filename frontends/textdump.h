/* SPDX-License-Identifier: MIT */
/* A text-mode screen as UTF-8 lines, for the monitor, headless runs and tests. */
#ifndef FRONTENDS_TEXTDUMP_H
#define FRONTENDS_TEXTDUMP_H

#include <stdint.h>
#include <stdio.h>

#include "core/display.h"

/* The UTF-8 form (1 to 3 bytes, not terminated) of a code page 437 character as it looks on screen; NUL is a
 * space. */
int cp437_to_utf8(uint8_t c, char out[4]);
/* Print the screen, trailing spaces removed, a line feed after each row. 0; -ENOTSUP in graphics modes. */
int textdump_print(struct display *d, FILE *out);
/* The same into a malloc'ed string; NULL in graphics modes or without memory. */
char *textdump_string(struct display *d);

#endif
