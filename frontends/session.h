/* SPDX-License-Identifier: MIT */
/*
 * A machine made from parsed options, and taken down again: what the program, the test runner and the tests that
 * compare machines have in common. Everything stays in the order below: options, session_begin, channels or other
 * back ends for board.serial[] and so on, session_finish, keys and front ends, session_end.
 */
#ifndef FRONTENDS_SESSION_H
#define FRONTENDS_SESSION_H

#include "core/machine.h"
#include "devices/board.h"
#include "frontends/channel.h"
#include "frontends/media.h"
#include "frontends/net.h"
#include "frontends/options.h"

#define SESSION_ERROR 1024

struct session {
  struct options options; /* filled by the caller: options_parse, guest_apply */
  struct board_config board;
  struct machine_config config; /* an engine that the caller has put here is taken */
  struct media media;
  struct channel_set channels; /* with the event loop; nothing is in it until the caller opens some */
  struct machine *machine;
  struct replay *replay; /* of -icount rr= */
  struct net_set nets;
  bool board_made;
  char error[SESSION_ERROR]; /* one line; empty if the cause was reported already */
};

/* The engines that the program has; the first that this host can run is the default. NULL past the end. */
const struct engine *session_engine(unsigned index);

/* Choose models, open the images, start the log, make the event loop and an empty machine. 0, or -1. */
int session_begin(struct session *s);
/* Open -serial, -parallel and -debugcon as channels. 0, or -1. */
int session_open_channels(struct session *s);
int session_open_channel(struct session *s, const char *label, const char *spec, struct chardev **dev);
/* Networks and the board: the machine can run. 0, or -1. */
int session_finish(struct session *s);
/* Changes reach the images: 0 or -errno. */
int session_flush(struct session *s);
/* Take everything down, in any state that the calls above may leave; the options too. Nothing is flushed. */
void session_end(struct session *s);

#endif
