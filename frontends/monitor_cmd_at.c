/* SPDX-License-Identifier: MIT */
/*
 * The monitor's "at": run a command at a stated guest time. In counted mode a script of such commands, given before
 * the first instruction (-S, then cont), makes a run that can be repeated exactly, input and screenshots included.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/replay.h"
#include "frontends/monitor.h"

#define SECONDS_MAX 1e9

struct scheduled {
  struct timer timer;
  struct monitor_env *env;
  struct monitor *monitor; /* whose output it is; NULL: nobody's */
  struct scheduled *next;
  char line[];
};

static void unlink_scheduled(struct scheduled *s) {
  struct scheduled **link = &s->env->scheduled;
  while (*link != s)
    link = &(*link)->next;
  *link = s->next;
}

static void run(void *opaque) {
  struct scheduled *s = opaque;
  unlink_scheduled(s);
  monitor_run(s->env, s->monitor, s->line);
  free(s);
}

static void fire(void *opaque) {
  struct scheduled *s = opaque;
  replay_defer(s->env->machine, run, s);
}

void cmd_at(struct monitor_env *env, char *args, FILE *out) {
  char *when = monitor_need(&args, "at", "time", out), *end;
  if (!when)
    return;
  double seconds = strtod(when, &end);
  if (*end || end == when || !(seconds >= 0 && seconds <= SECONDS_MAX)) {
    fprintf(out, "at: '%s' is not a guest time in seconds\n", when);
    return;
  }
  size_t length = strlen(args);
  struct scheduled *s = length ? calloc(1, sizeof *s + length + 1) : NULL;
  if (!s) {
    fprintf(out, "at: command expected\nTry \"help at\" for more information\n");
    return;
  }
  memcpy(s->line, args, length);
  s->env = env;
  s->monitor = env->current;
  timer_init(&s->timer, env->machine->clock, "monitor", fire, s);
  /* In order of entry: timers that are due together fire in the order they were armed. */
  struct scheduled **link = &env->scheduled;
  while (*link)
    link = &(*link)->next;
  *link = s;
  timer_arm(&s->timer, llround(seconds * (double)NS_PER_SEC));
  machine_kick(env->machine);
}

void monitor_unschedule(struct monitor_env *env) {
  while (env->scheduled) {
    struct scheduled *s = env->scheduled;
    env->scheduled = s->next;
    timer_cancel(&s->timer);
    free(s);
  }
}
