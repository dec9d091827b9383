/* SPDX-License-Identifier: MIT */
/*
 * The composition root: turns the command line into a machine, gives it its board, engine, channels and front
 * end, and takes everything down again. Errors of the user come here as one line each; the exit status is 1
 * for those, what the guest wrote to isa-debug-exit if it did, else 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "core/log.h"
#include "core/machine.h"
#include "frontends/audio_out.h"
#include "frontends/compare.h"
#include "frontends/guests.h"
#include "frontends/headless.h"
#include "frontends/img.h"
#include "frontends/keyqueue.h"
#include "core/replay.h"
#include "frontends/monitor.h"
#include "frontends/sdl.h"
#include "frontends/session.h"
#include "frontends/test/test.h"

#define MONITORS 3 /* -monitor twice, and one that shares a serial port's channel */

struct program { /* everything that main makes, in the order of making */
  struct session s;
  struct keyqueue *keys;
  struct monitor_env env;
  struct monitor *monitor[MONITORS];
  unsigned monitor_count;
  struct sdl_window *window;
  struct audio_outs audio;
  bool pidfile_written;
};

/* --- the options that only print --- */

static void print_help(void) {
  const struct option_help *h;
  printf("Dragoman " DRAGOMAN_VERSION ", a PC emulator\nUsage: dragoman [option]... [disk image]\n\n");
  for (unsigned i = 0; (h = options_help(i)); i++)
    if (h->text)
      printf("-%s%s%s\n      %s\n", h->name, h->argument ? " " : "", h->argument ? h->argument : "", h->text);
  printf(
      "\nCHANNEL is stdio, file:PATH, unix:PATH[,server][,nowait], tcp:HOST:PORT[,server][,nowait], pty, "
      "null\n"
      "or mon:CHANNEL (a serial port and the monitor share it). Without any disk the built-in demo runs.\n");
}

static int print_cpus(void) {
  size_t count;
  const struct cpu_model *list = cpu_model_list(&count);
  for (size_t i = 0; i < count; i++)
    printf("%s\n", list[i].name);
  return 0;
}

/* Options that print and end; returns true if this was one. */
static bool print_and_exit(const struct options *o) {
  const char *bad;
  switch (o->action) {
  case ACTION_RUN: return false;
  case ACTION_HELP: print_help(); break;
  case ACTION_VERSION: printf("Dragoman %s\n", DRAGOMAN_VERSION); break;
  case ACTION_CPU_HELP: print_cpus(); break;
  case ACTION_MACHINE_HELP: printf("pc                   PC (i440FX + PIIX, 1996) (default)\n"); break;
  case ACTION_DISPLAY_HELP: printf("none\n%s", CONFIG_SDL ? "sdl\n" : ""); break;
  case ACTION_AUDIODEV_HELP: audio_out_help(stdout); break;
  case ACTION_DEVICE_HELP:
    for (size_t i = 0; board_driver(i); i++)
      printf("%-16s %-40s %s\n", board_driver(i)->name, board_driver(i)->keys, board_driver(i)->help);
    break;
  case ACTION_GUEST_HELP:
    printf("%-10s %s\n", "auto", "what is on the disk images");
    for (size_t i = 0; guest_profile(i); i++)
      printf("%-10s %s\n", guest_profile(i)->name, guest_profile(i)->title);
    break;
  case ACTION_LOG_HELP: log_parse("help", &bad); break;
  case ACTION_ACCEL_HELP:
    for (unsigned i = 0; session_engine(i); i++)
      printf("%s%s\n", session_engine(i)->name, i == 0 ? " (default)" : "");
    break;
  }
  return true;
}

/* --- making --- */

static int fail(struct program *p, const char *format, const char *what) {
  snprintf(p->s.error, sizeof p->s.error, format, what);
  return -1;
}

static int add_monitor(struct program *p, struct channel *c) {
  struct monitor *m = monitor_new(&p->env, c);
  if (!m)
    return fail(p, "%s", "out of memory");
  p->monitor[p->monitor_count++] = m;
  return 0;
}

/* From a recording. */
static void replayed_command(void *opaque, char *line) { monitor_run(opaque, NULL, line); }

static int open_monitors(struct program *p) {
  const struct options *o = &p->s.options;
  p->keys = keyqueue_new(p->s.machine);
  if (!p->keys)
    return fail(p, "%s", "out of memory");
  p->env = (struct monitor_env){
      .machine = p->s.machine,
      .channels = &p->s.channels,
      .media = &p->s.media,
      .nets = &p->s.nets,
      .keys = p->keys,
      .name = o->name,
  };
  if (p->s.replay)
    replay_set_command(p->s.replay, replayed_command, &p->env);
  for (unsigned i = 0; i < o->monitor_count; i++) {
    struct channel *c;
    if (channel_open(&p->s.channels, i ? "monitor1" : "monitor", o->monitor[i], &c, p->s.error,
                     sizeof p->s.error) < 0)
      return -1;
    if (c && add_monitor(p, c) < 0)
      return -1;
  }
  for (unsigned i = 0; i < o->serial_count && p->monitor_count < MONITORS; i++) {
    struct channel *c = channel_mux_monitor((struct channel *)p->s.board.serial[i]);
    if (c && add_monitor(p, c) < 0)
      return -1;
  }
  return 0;
}

static bool want_window(struct program *p) {
  if (p->s.options.display != DISPLAY_DEFAULT)
    return p->s.options.display == DISPLAY_SDL;
  bool desktop = getenv("DISPLAY") || getenv("WAYLAND_DISPLAY");
  if (desktop && CONFIG_SDL)
    return true;
  if (!p->monitor_count && !p->s.options.serial_count)
    fprintf(stderr, "dragoman: %s: running without a window; look in with -monitor stdio or -nographic\n",
            CONFIG_SDL ? "no desktop found" : "built without a window");
  return false;
}

static int open_window(struct program *p) {
  if (!want_window(p))
    return 0;
  p->window = sdl_open(p->s.machine, p->s.options.name, p->s.error, sizeof p->s.error);
  return p->window ? 0 : -1;
}

static int open_audio(struct program *p) {
  return audio_out_open(&p->audio, &p->s.options, p->s.machine->audio, p->window != NULL, p->s.error,
                        sizeof p->s.error);
}

static int write_pidfile(struct program *p) {
  const char *path = p->s.options.pidfile;
  if (!path)
    return 0;
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  int written = fd < 0 ? -1 : dprintf(fd, "%ld\n", (long)getpid());
  if (fd < 0 || close(fd) < 0 || written < 0) {
    snprintf(p->s.error, sizeof p->s.error, "-pidfile: cannot write to %s: %s", path, strerror(errno));
    return -1;
  }
  p->pidfile_written = true;
  return 0;
}

static int load_snapshot(struct program *p) {
  const char *path = p->s.options.loadvm;
  if (!path)
    return 0;
  machine_lock(p->s.machine);
  int r = monitor_loadvm(p->s.machine, &p->s.media, path, p->s.error, sizeof p->s.error);
  machine_unlock(p->s.machine);
  return r < 0 ? -1 : 0;
}

/* Everything up to the first instruction. 0; -1 with an error, which may be empty if the cause was reported
 * already. */
static int make(struct program *p) {
  struct session *s = &p->s;
  if (session_begin(s) < 0 || session_open_channels(s) < 0 || session_finish(s) < 0)
    return -1;
  if (open_monitors(p) < 0 || open_window(p) < 0 || open_audio(p) < 0 || load_snapshot(p) < 0 ||
      write_pidfile(p) < 0)
    return -1;
  return channel_start_all(&s->channels, s->error, sizeof s->error);
}

/* --- running --- */

static int run(struct program *p) {
  if (p->s.media.notice)
    fprintf(stderr, "dragoman: %s\n", p->s.media.notice);
  struct runner *r = runner_start(p->s.machine, p->s.channels.loop);
  int error = r ? 0 : -errno;
  if (r && p->window)
    error = runner_loop_thread(r);
  if (!error && p->window)
    sdl_run(p->window);
  else if (!error)
    headless_run(r);
  if (r)
    runner_finish(r);
  return error ? fail(p, "cannot start a thread: %s", strerror(-error)) : 0;
}

/* --- taking down --- */

static int take_down(struct program *p, int status) {
  struct session *s = &p->s;
  int r = session_flush(s);
  if (r < 0) {
    error_report("could not save all changes to the disk images: %s", strerror(-r));
    status = 1;
  }
  if (s->machine)
    audio_set_sink(s->machine->audio, NULL);
  audio_out_close(&p->audio);
  sdl_close(p->window);
  channel_close_all(&s->channels);
  for (unsigned i = 0; i < p->monitor_count; i++)
    monitor_free(p->monitor[i]);
  monitor_unschedule(&p->env);
  monitor_forget_snapshots(&p->env);
  keyqueue_free(p->keys);
  if (p->pidfile_written)
    unlink(s->options.pidfile);
  session_end(s);
  return status;
}

int main(int argc, char **argv) {
  static struct program p;
  struct session *s = &p.s;
  signal(SIGPIPE, SIG_IGN);
  if (argc > 1 && !strcmp(argv[1], "img"))
    return img_main(argc - 2, argv + 2);
  if (argc > 1 && !strcmp(argv[1], "compare"))
    return compare_runs(argc - 2, argv + 2, stdout);
  if (argc > 1 && !strcmp(argv[1], "doctor"))
    return guest_doctor(argc - 2, argv + 2, stdout);
  if (argc > 1 && !strcmp(argv[1], "test"))
    return test_command(argc - 2, argv + 2);
  if (options_parse(&s->options, argc, argv, s->error, sizeof s->error) < 0) {
    error_report("%s", s->error);
    options_free(&s->options);
    return 1;
  }
  if (print_and_exit(&s->options)) {
    options_free(&s->options);
    return fflush(stdout) == 0 ? 0 : 1;
  }
  if (guest_apply(&s->options, s->error, sizeof s->error) < 0 || make(&p) < 0 || run(&p) < 0) {
    if (s->error[0])
      error_report("%s", s->error);
    return take_down(&p, 1);
  }
  return take_down(&p, s->machine->exit_status);
}
