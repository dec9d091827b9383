/* SPDX-License-Identifier: MIT */
/* The last distinct screens of a machine, small, and a contact sheet of them: oldest first, left to right. */
#ifndef FRONTENDS_TEST_HISTORY_H
#define FRONTENDS_TEST_HISTORY_H

#include <stdint.h>

#include "core/display.h"

#define HISTORY_SCREENS 16
#define HISTORY_WIDTH 320
#define HISTORY_HEIGHT 200

struct history {
  uint32_t *picture[HISTORY_SCREENS]; /* HISTORY_WIDTH x HISTORY_HEIGHT */
  unsigned first, count;
};

/* What is not there in memory is left out. */
void history_add(struct history *h, const struct surface *s);
void history_free(struct history *h);
/* 0, or -errno; -ENOENT: nothing was ever shown. */
int history_write(const struct history *h, const char *path);

#endif
