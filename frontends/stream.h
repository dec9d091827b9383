/* SPDX-License-Identifier: MIT */
/*
 * A channel over file descriptors (terminal, socket, pty): output is written at once as far as the descriptor
 * takes it, the rest waits in memory; input is read only while the device has room.
 */
#ifndef FRONTENDS_STREAM_H
#define FRONTENDS_STREAM_H

#include <stdint.h>

#include "frontends/channel.h"

struct stream {
  struct channel c;
  int in_fd, out_fd; /* -1: not connected */
  struct watch *in, *out;
  uint8_t *pending; /* output that the descriptor did not take yet */
  size_t pending_used, pending_size;
  bool started, may_block, input_ended;
  /* sockets */
  int listen_fd;
  struct watch *listener;
  bool wait; /* server without nowait: the start waits for a client */
  char *unlink_path;
  bool terminal; /* restore it at the end */
};

struct stream *stream_new(struct channel_set *set, const char *label); /* NULL when out of memory */
void stream_connect(struct stream *s, int in_fd, int out_fd);          /* takes the descriptors over */
void stream_disconnect(struct stream *s);
int stream_start(struct channel *c, char *error, size_t size);

/* The controlling terminal in raw mode, restored at exit and on fatal signals (terminal.c). */
void terminal_raw(int fd, bool keep_signals);
void terminal_restore(void);

#endif
