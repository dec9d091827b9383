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
#include "devices/board.h"
#include "frontends/audio_out.h"
#include "frontends/channel.h"
#include "frontends/guests.h"
#include "frontends/headless.h"
#include "frontends/keyqueue.h"
#include "frontends/media.h"
#include "frontends/monitor.h"
#include "frontends/net.h"
#include "frontends/options.h"
#include "frontends/sdl.h"
#include "translate/translate.h"

#define ERROR_SIZE 1024
#define MONITORS 3 /* -monitor twice, and one that shares a serial port's channel */

struct session { /* everything that main makes, in the order of making */
  struct options options;
  struct board_config board;
  struct machine_config config;
  struct media media;
  struct machine *machine;
  struct net_set nets;
  bool board_made;
  struct channel_set channels;
  struct keyqueue *keys;
  struct monitor_env env;
  struct monitor *monitor[MONITORS];
  unsigned monitor_count;
  struct sdl_window *window;
  struct audio_outs audio;
  bool pidfile_written;
  char error[ERROR_SIZE];
};

static const struct engine *const engines[] = {&engine_window, &engine_tlb,
                                               &engine_interp}; /* the first is the default */
#define ENGINES (sizeof engines / sizeof engines[0])

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
    for (size_t i = 0; i < ENGINES; i++)
      printf("%s%s\n", engines[i]->name, i == 0 ? " (default)" : "");
    break;
  }
  return true;
}

/* --- making --- */

static int fail(struct session *s, const char *format, const char *what) {
  snprintf(s->error, sizeof s->error, format, what);
  return -1;
}

static int choose_models(struct session *s) {
  const struct options *o = &s->options;
  s->config.cpu_model = cpu_model_find(o->cpu ? o->cpu : "max");
  if (!s->config.cpu_model)
    return fail(s, "-cpu %s: no such model; 'dragoman -cpu help' lists them", o->cpu ? o->cpu : "max");
  for (size_t i = 0; i < ENGINES && !s->config.engine; i++)
    if (o->accel ? !strcmp(o->accel, engines[i]->name) : engines[i] == &engine_interp || tlb_host_supported())
      s->config.engine = engines[i];
  if (!s->config.engine)
    return fail(s, "-accel %s: no such engine; 'dragoman -accel help' lists them", o->accel);
  if (!o->accel && s->config.engine == &engine_interp)
    warn_report("this processor lacks BMI2, which the translator needs: interpreting, which is slow");
  s->config.engine_options = o->accel_options;
  s->config.ram_mb = o->ram_mb;
  s->config.counted = o->counted;
  s->config.mhz = o->mhz;
  s->config.tsc_mhz = o->cpu_mhz;
  s->config.pace_khz = o->cpu_mhz * 10000 / s->config.cpu_model->clocks;
  s->config.no_reboot = o->no_reboot;
  s->config.no_shutdown = o->no_shutdown;
  s->config.start_paused = o->start_paused;
  return 0;
}

/* The images that devices name by drive=ID. */
static int connect_drives(struct session *s) {
  for (unsigned i = 0; i < s->options.device_count; i++) {
    struct board_extra *extra = &s->board.extra[i];
    const char *id = s->options.device[i].drive;
    if (!id)
      continue;
    extra->block = media_none(&s->media, id);
    if (!extra->block)
      return fail(s, "-device: drive=%s: there is no -drive if=none with this id", id);
    for (unsigned j = 0; j < i; j++)
      if (s->board.extra[j].block == extra->block)
        return fail(s, "-device: drive=%s is used by two devices", id);
  }
  return 0;
}

static void fill_board(struct session *s) {
  const struct options *o = &s->options;
  struct board_config *b = &s->board;
  b->bios_path = o->bios;
  b->bios_dirs[0] = o->bios_dir ? o->bios_dir : CONFIG_SEABIOS_DIR;
  b->bios_dirs[1] = o->bios_dir ? CONFIG_SEABIOS_DIR : NULL;
  b->boot_order = o->boot_order;
  b->boot_once = o->boot_once;
  b->boot_menu = o->boot_menu;
  b->kernel = o->kernel;
  b->initrd = o->initrd;
  b->append = o->append;
  b->vga = o->vga;
  for (unsigned i = 0; i < o->device_count; i++)
    b->extra[b->extra_count++] = (struct board_extra){.driver = o->device[i].driver, .props = o->device[i].props};
  b->usb = o->usb;
  b->no_vmport = o->no_vmport;
  b->hpet = o->acpi; /* nobody would find it without the tables */
  b->no_acpi = !o->acpi;
  b->ide_delay_us = o->ide_delay_us;
  b->rtc_localtime = o->rtc_localtime;
  b->rtc_base = o->rtc_base;
  b->rtc_clock_vm = o->rtc_clock_vm;
}

static int start_log(struct session *s) {
  const struct options *o = &s->options;
  const char *bad = "";
  int mask = o->log_items && strcmp(o->log_items, "none") ? log_parse(o->log_items, &bad) : 0;
  if (mask < 0)
    return fail(s, "-d: '%s' is no log item; 'dragoman -d help' lists them", bad);
  int r = o->log_path ? log_open(o->log_path) : 0;
  if (r < 0) {
    snprintf(s->error, sizeof s->error, "-D: cannot write to %s: %s", o->log_path, strerror(-r));
    return -1;
  }
  log_mask = (unsigned)mask;
  return 0;
}

/* The cables, with a back end on each; a card comes to the other end when the board is made. */
static int open_networks(struct session *s) {
  const struct options *o = &s->options;
  if (net_open(&s->nets, o->netdev, o->netdev_count, s->machine, s->channels.loop, s->error, sizeof s->error) < 0)
    return -1;
  for (unsigned i = 0; i < o->device_count; i++) {
    const struct board_driver *d = board_driver_find(o->device[i].driver);
    if (o->device[i].netdev)
      s->board.extra[i].net = net_cable_of(&s->nets, (unsigned)o->device[i].netdev - 1);
    else if (d && (d->needs & DRIVER_NET))
      warn_report("the network card %s has no network: give it netdev=ID, or use -nic", d->name);
  }
  for (unsigned i = 0; i < o->netdev_count; i++)
    if (!o->netdev[i].card)
      warn_report("-%s: no network card uses %s", o->netdev[i].by, o->netdev[i].id);
  return 0;
}

static int open_channel(struct session *s, const char *label, const char *spec, struct chardev **dev) {
  struct channel *c;
  if (!spec)
    return 0;
  if (channel_open(&s->channels, label, spec, &c, s->error, sizeof s->error) < 0)
    return -1;
  *dev = c ? &c->dev : NULL;
  return 0;
}

static int open_channels(struct session *s) {
  const struct options *o = &s->options;
  char label[32];
  for (unsigned i = 0; i < o->serial_count; i++) {
    snprintf(label, sizeof label, "serial%u", i);
    if (open_channel(s, label, o->serial[i], &s->board.serial[i]) < 0)
      return -1;
  }
  if (open_channel(s, "parallel0", o->parallel, &s->board.parallel) < 0)
    return -1;
  return open_channel(s, "debugcon", o->debugcon, &s->board.debugcon);
}

static int add_monitor(struct session *s, struct channel *c) {
  struct monitor *m = monitor_new(&s->env, c);
  if (!m)
    return fail(s, "%s", "out of memory");
  s->monitor[s->monitor_count++] = m;
  return 0;
}

static int open_monitors(struct session *s) {
  const struct options *o = &s->options;
  s->keys = keyqueue_new(s->machine);
  if (!s->keys)
    return fail(s, "%s", "out of memory");
  s->env = (struct monitor_env){
      .machine = s->machine,
      .channels = &s->channels,
      .media = &s->media,
      .nets = &s->nets,
      .keys = s->keys,
      .name = o->name,
  };
  for (unsigned i = 0; i < o->monitor_count; i++) {
    struct channel *c;
    if (channel_open(&s->channels, i ? "monitor1" : "monitor", o->monitor[i], &c, s->error, sizeof s->error) <
        0)
      return -1;
    if (c && add_monitor(s, c) < 0)
      return -1;
  }
  for (unsigned i = 0; i < o->serial_count && s->monitor_count < MONITORS; i++) {
    struct channel *c = channel_mux_monitor((struct channel *)s->board.serial[i]);
    if (c && add_monitor(s, c) < 0)
      return -1;
  }
  return 0;
}

static bool want_window(struct session *s) {
  if (s->options.display != DISPLAY_DEFAULT)
    return s->options.display == DISPLAY_SDL;
  bool desktop = getenv("DISPLAY") || getenv("WAYLAND_DISPLAY");
  if (desktop && CONFIG_SDL)
    return true;
  if (!s->monitor_count && !s->options.serial_count)
    fprintf(stderr, "dragoman: %s: running without a window; look in with -monitor stdio or -nographic\n",
            CONFIG_SDL ? "no desktop found" : "built without a window");
  return false;
}

static int open_window(struct session *s) {
  if (!want_window(s))
    return 0;
  s->window = sdl_open(s->machine, s->options.name, s->error, sizeof s->error);
  return s->window ? 0 : -1;
}

static int open_audio(struct session *s) {
  return audio_out_open(&s->audio, &s->options, s->machine->audio, s->window != NULL, s->error, sizeof s->error);
}

static int write_pidfile(struct session *s) {
  const char *path = s->options.pidfile;
  if (!path)
    return 0;
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  int written = fd < 0 ? -1 : dprintf(fd, "%ld\n", (long)getpid());
  if (fd < 0 || close(fd) < 0 || written < 0) {
    snprintf(s->error, sizeof s->error, "-pidfile: cannot write to %s: %s", path, strerror(errno));
    return -1;
  }
  s->pidfile_written = true;
  return 0;
}

/* Everything up to the first instruction. 0; -1 with s->error, which may be empty if the cause was reported
 * already. */
static int make(struct session *s) {
  if (choose_models(s) < 0 || media_open(&s->media, &s->options, &s->board, s->error, sizeof s->error) < 0)
    return -1;
  fill_board(s);
  if (connect_drives(s) < 0 || start_log(s) < 0)
    return -1;
  s->channels.loop = loop_new();
  if (!s->channels.loop)
    return fail(s, "cannot make the event loop: %s", strerror(errno));
  s->machine = machine_new(&s->config);
  if (!s->machine)
    return -1;
  s->channels.machine = s->media.machine = s->machine;
  if (open_channels(s) < 0 || open_networks(s) < 0)
    return -1;
  if (board_init(s->machine, &s->board) < 0)
    return -1;
  s->board_made = true;
  if (open_monitors(s) < 0 || open_window(s) < 0 || open_audio(s) < 0 || write_pidfile(s) < 0)
    return -1;
  return channel_start_all(&s->channels, s->error, sizeof s->error);
}

/* --- running --- */

static int run(struct session *s) {
  if (s->media.notice)
    fprintf(stderr, "dragoman: %s\n", s->media.notice);
  struct runner *r = runner_start(s->machine, s->channels.loop);
  int error = r ? 0 : -errno;
  if (r && s->window)
    error = runner_loop_thread(r);
  if (!error && s->window)
    sdl_run(s->window);
  else if (!error)
    headless_run(r);
  if (r)
    runner_finish(r);
  return error ? fail(s, "cannot start a thread: %s", strerror(-error)) : 0;
}

/* --- taking down --- */

static int take_down(struct session *s, int status) {
  if (s->board_made) {
    int r = board_flush(s->machine);
    if (r < 0) {
      error_report("could not save all changes to the disk images: %s", strerror(-r));
      status = 1;
    }
  }
  if (s->machine)
    audio_set_sink(s->machine->audio, NULL);
  audio_out_close(&s->audio);
  sdl_close(s->window);
  channel_close_all(&s->channels);
  for (unsigned i = 0; i < s->monitor_count; i++)
    monitor_free(s->monitor[i]);
  monitor_unschedule(&s->env);
  keyqueue_free(s->keys);
  if (s->board_made)
    board_free(s->machine);
  net_close(&s->nets);
  machine_free(s->machine);
  media_close(&s->media);
  loop_free(s->channels.loop);
  if (s->pidfile_written)
    unlink(s->options.pidfile);
  options_free(&s->options);
  return status;
}

int main(int argc, char **argv) {
  static struct session s;
  signal(SIGPIPE, SIG_IGN);
  if (argc > 1 && !strcmp(argv[1], "doctor"))
    return guest_doctor(argc - 2, argv + 2, stdout);
  if (options_parse(&s.options, argc, argv, s.error, sizeof s.error) < 0) {
    error_report("%s", s.error);
    options_free(&s.options);
    return 1;
  }
  if (print_and_exit(&s.options)) {
    options_free(&s.options);
    return fflush(stdout) == 0 ? 0 : 1;
  }
  if (guest_apply(&s.options, s.error, sizeof s.error) < 0 || make(&s) < 0 || run(&s) < 0) {
    if (s.error[0])
      error_report("%s", s.error);
    return take_down(&s, 1);
  }
  return take_down(&s, s.machine->exit_status);
}
