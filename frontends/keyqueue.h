/* SPDX-License-Identifier: MIT */
/*
 * Keys waiting to be pressed. sendkey and type put them here; a guest-time timer lets them through one after
 * the other, so that commands do not overlap and no key is lost: a key waits until the keyboard's buffer has
 * been drained, and where the BIOS collects keys until its type-ahead buffer is half empty.
 */
#ifndef FRONTENDS_KEYQUEUE_H
#define FRONTENDS_KEYQUEUE_H

#include "core/machine.h"

struct keyqueue;

struct keyqueue *keyqueue_new(struct machine *m); /* NULL when out of memory */
void keyqueue_free(struct keyqueue *q);
/* Press all in order, hold, release in reverse. 0 or -ENOSPC (the queue is full). */
int keyqueue_combination(struct keyqueue *q, const int *keys, int count, int64_t hold_ms);
/* Type text on a US keyboard: 0, -EINVAL (*bad is the character that has no key; nothing is typed) or
 * -ENOSPC. */
int keyqueue_type(struct keyqueue *q, const char *text, char *bad);
/* How long typed keys are held, and the time between them, ns; at first what suits a person watching. */
void keyqueue_set_pace(struct keyqueue *q, int64_t hold, int64_t gap);
/* Has everything been pressed, and has the guest fetched it? */
bool keyqueue_done(const struct keyqueue *q);

#endif
