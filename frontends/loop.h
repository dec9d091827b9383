/* SPDX-License-Identifier: MIT */
/*
 * The event loop of the host side: one poll(2) over everything that is not the guest's CPU. It runs in the
 * main thread without a window and in a thread of its own beside one. Watches may be changed from any thread;
 * callbacks run in the loop's thread without the machine lock and take it themselves.
 */
#ifndef FRONTENDS_LOOP_H
#define FRONTENDS_LOOP_H

struct loop;
struct watch;
struct pollfd;

/*
 * What chooses its descriptors anew before each poll. prepare fills in up to `max` of them, says how many, and may
 * lower *timeout_ms (negative: for ever); dispatch gets them back with revents after the poll.
 */
struct loop_source {
  unsigned (*prepare)(void *opaque, struct pollfd *fds, unsigned max, int *timeout_ms);
  void (*dispatch)(void *opaque, struct pollfd *fds, unsigned count);
  void *opaque;
  struct loop_source *next; /* the loop's own from here on */
  struct pollfd *fds;
  unsigned count;
};

struct loop *loop_new(void); /* NULL, errno */
void loop_free(struct loop *l);
/* events: POLLIN | POLLOUT, may be 0. NULL when out of memory. The fd stays the caller's. */
struct watch *loop_add(struct loop *l, int fd, short events, void (*ready)(void *opaque, short revents),
                       void *opaque);
void loop_set(struct loop *l, struct watch *w, short events);
void loop_remove(struct loop *l,
                 struct watch *w); /* no callback begins after this, if called by the loop's thread */
void loop_add_source(struct loop *l, struct loop_source *s); /* any thread; the structure stays the caller's */
void loop_remove_source(struct loop *l, struct loop_source *s); /* only while the loop does not run */
void loop_kick(struct loop *l); /* any thread: prepare the sources again and poll anew */
void loop_run(struct loop *l);     /* until loop_quit */
void loop_quit(struct loop *l);    /* any thread or signal handler */

#endif
