/* SPDX-License-Identifier: MIT */
/* See session.h. */
#include "frontends/session.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config.h"
#include "core/log.h"
#include "frontends/replay.h"
#include "translate/translate.h"

const struct engine *session_engine(unsigned index) {
  static const struct engine *const engines[] = {&engine_window, &engine_tlb, &engine_interp};
  return index < sizeof engines / sizeof engines[0] ? engines[index] : NULL;
}

static int fail(struct session *s, const char *format, const char *what) {
  snprintf(s->error, sizeof s->error, format, what);
  return -1;
}

static int choose_models(struct session *s) {
  const struct options *o = &s->options;
  s->config.cpu_model = cpu_model_find(o->cpu ? o->cpu : "max");
  if (!s->config.cpu_model)
    return fail(s, "-cpu %s: no such model; 'dragoman -cpu help' lists them", o->cpu ? o->cpu : "max");
  const struct engine *e;
  bool chosen = o->accel || s->config.engine;
  for (unsigned i = 0; !s->config.engine && (e = session_engine(i)); i++)
    if (o->accel ? !strcmp(o->accel, e->name) : e == &engine_interp || tlb_host_supported())
      s->config.engine = e;
  if (!s->config.engine)
    return fail(s, "-accel %s: no such engine; 'dragoman -accel help' lists them", o->accel);
  if (!chosen && s->config.engine == &engine_interp)
    warn_report("this processor lacks BMI2, which the translator needs: interpreting, which is slow");
  if (!s->config.engine_options)
    s->config.engine_options = o->accel_options;
  s->config.ram_mb = o->ram_mb;
  s->config.counted = o->counted;
  s->config.mhz = o->mhz;
  s->config.sleep = o->sleep;
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
    b->extra[b->extra_count++] =
        (struct board_extra){.driver = o->device[i].driver, .props = o->device[i].props};
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
  if (net_open(&s->nets, o->netdev, o->netdev_count, s->machine, s->channels.loop, s->error,
               sizeof s->error) < 0)
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

int session_open_channel(struct session *s, const char *label, const char *spec, struct chardev **dev) {
  struct channel *c;
  if (!spec)
    return 0;
  if (channel_open(&s->channels, label, spec, &c, s->error, sizeof s->error) < 0)
    return -1;
  *dev = c ? &c->dev : NULL;
  return 0;
}

int session_open_channels(struct session *s) {
  const struct options *o = &s->options;
  char label[32];
  for (unsigned i = 0; i < o->serial_count; i++) {
    snprintf(label, sizeof label, "serial%u", i);
    if (session_open_channel(s, label, o->serial[i], &s->board.serial[i]) < 0)
      return -1;
  }
  if (session_open_channel(s, "parallel0", o->parallel, &s->board.parallel) < 0)
    return -1;
  return session_open_channel(s, "debugcon", o->debugcon, &s->board.debugcon);
}

int session_begin(struct session *s) {
  if (choose_models(s) < 0 || media_open(&s->media, &s->options, &s->board, s->error, sizeof s->error) < 0)
    return -1;
  fill_board(s);
  if (connect_drives(s) < 0 || start_log(s) < 0)
    return -1;
  s->channels.loop = loop_new();
  if (!s->channels.loop)
    return fail(s, "cannot make the event loop: %s", strerror(errno));
  s->machine = machine_new(&s->config);
  if (!s->machine || session_replay_begin(s) < 0)
    return -1;
  if (s->replay)
    replay_attach(s->replay, s->machine);
  s->channels.machine = s->media.machine = s->machine;
  media_watch(&s->media, s->channels.loop);
  return 0;
}

int session_finish(struct session *s) {
  if (open_networks(s) < 0 || board_init(s->machine, &s->board) < 0)
    return -1;
  s->board_made = true;
  session_replay_connect(s);
  return 0;
}

int session_flush(struct session *s) { return s->board_made ? board_flush(s->machine) : 0; }

void session_end(struct session *s) {
  channel_close_all(&s->channels);
  if (s->board_made)
    board_free(s->machine);
  net_close(&s->nets);
  machine_free(s->machine);
  replay_free(s->replay);
  media_close(&s->media);
  loop_free(s->channels.loop);
  options_free(&s->options);
}
