/* SPDX-License-Identifier: MIT */
/* -icount rr=record and rr=replay: a session's recording (core/replay.h). */
#ifndef FRONTENDS_REPLAY_H
#define FRONTENDS_REPLAY_H

#include "core/replay.h"
#include "frontends/session.h"

/* Once the images are open and the board's configuration is filled in: opens the file. 0, or -1 with
 * s->error. */
int session_replay_begin(struct session *s);
/* The board is made. */
void session_replay_connect(struct session *s);

#endif
