/* SPDX-License-Identifier: MIT */
/* Running a machine: the CPU thread, the signals that end it, and the front end without a window. */
#ifndef FRONTENDS_HEADLESS_H
#define FRONTENDS_HEADLESS_H

#include "core/machine.h"
#include "frontends/loop.h"

struct runner;

/* Start the CPU thread; when it ends, the loop quits. SIGINT, SIGTERM and SIGHUP end the run cleanly. NULL,
 * errno. */
struct runner *runner_start(struct machine *m, struct loop *loop);
/* Run the event loop in a thread of its own: the main thread belongs to the window. 0 or -errno. */
int runner_loop_thread(struct runner *r);
/* No window: the event loop in this thread until the machine is done. */
void headless_run(struct runner *r);
/* Ask the CPU thread to end if it still runs, and wait for it and for the loop's thread. */
void runner_finish(struct runner *r);

#endif
