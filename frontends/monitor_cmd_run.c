/* SPDX-License-Identifier: MIT */
/* Monitor commands that control the run, the screen, the media and the log. */
#include <errno.h>
#include <string.h>

#include "core/display.h"
#include "core/log.h"
#include "devices/block/image.h"
#include "frontends/media.h"
#include "frontends/monitor.h"
#include "frontends/textdump.h"

void cmd_stop(struct monitor_env *env, char *args, FILE *out) {
  if (monitor_end(&args, "stop", out))
    machine_pause(env->machine, "monitor");
}

void cmd_cont(struct monitor_env *env, char *args, FILE *out) {
  if (monitor_end(&args, "cont", out))
    machine_continue(env->machine);
}

void cmd_system_reset(struct monitor_env *env, char *args, FILE *out) {
  if (monitor_end(&args, "system_reset", out))
    machine_request_reset(env->machine);
}

void cmd_system_powerdown(struct monitor_env *env, char *args, FILE *out) {
  if (!monitor_end(&args, "system_powerdown", out))
    return;
  if (env->machine->on_powerdown)
    env->machine->on_powerdown(env->machine);
  else
    fprintf(out, "Error: this machine has no power button\n");
}

void cmd_quit(struct monitor_env *env, char *args, FILE *out) {
  if (monitor_end(&args, "quit", out))
    machine_request_quit(env->machine, 0);
}

void cmd_nmi(struct monitor_env *env, char *args, FILE *out) {
  if (!monitor_end(&args, "nmi", out))
    return;
  cpu_pulse_nmi(env->machine->cpu[0]);
  machine_kick(env->machine);
}

/* --- screen --- */

static bool refresh(struct display *d, FILE *out) {
  int x, y, w, h;
  if (!d || !d->refresh) {
    fprintf(out, "Error: There is no display to take a screendump of\n");
    return false;
  }
  d->refresh(d, &x, &y, &w, &h);
  if (d->invalidate)
    d->invalidate(d); /* a window must not miss what this refresh has seen */
  return true;
}

void cmd_screendump(struct monitor_env *env, char *args, FILE *out) {
  struct display *d = env->machine->display;
  const char *format = NULL;
  char *path = monitor_need(&args, "screendump", "filename", out), *word;
  if (!path)
    return;
  while ((word = monitor_word(&args))) {
    if (!strcmp(word, "-f"))
      format = monitor_word(&args);
    else if (!strncmp(word, "-f", 2))
      format = word + 2;
  }
  size_t n = strlen(path);
  if (!format)
    format = n > 4 && !strcmp(path + n - 4, ".png") ? "png" : "ppm";
  bool png = !strcmp(format, "png");
  if (!png && strcmp(format, "ppm")) {
    fprintf(out, "Error: the image formats are png and ppm\n");
    return;
  }
  if (!refresh(d, out))
    return;
  if (!d->surface.pixels || d->surface.width <= 0 || d->surface.height <= 0) {
    fprintf(out, "Error: the screen has no picture yet\n");
    return;
  }
  int r = png ? image_write_png(&d->surface, path) : image_write_ppm(&d->surface, path);
  if (r < 0)
    fprintf(out, "Error: failed to write file '%s': %s\n", path, strerror(-r));
}

void cmd_screentext(struct monitor_env *env, char *args, FILE *out) {
  struct display *d = env->machine->display;
  char *path = monitor_word(&args);
  if (!monitor_end(&args, "screentext", out))
    return;
  if (!d) {
    fprintf(out, "Error: there is no display\n");
    return;
  }
  FILE *file = path ? fopen(path, "w") : out;
  if (!file) {
    fprintf(out, "Error: failed to open file '%s': %s\n", path, strerror(errno));
    return;
  }
  int r = textdump_print(d, file);
  if (path && fclose(file) != 0 && r >= 0)
    r = -errno;
  if (r == -ENOTSUP)
    fprintf(out, "Error: the screen is in a graphics mode (%s); use screendump\n",
            d->mode_name ? d->mode_name(d) : "unknown");
  else if (r < 0)
    fprintf(out, "Error: failed to write file '%s': %s\n", path ? path : "", strerror(-r));
}

/* --- media --- */

static struct media_slot *drive(struct monitor_env *env, const char *name, FILE *out) {
  struct media_slot *slot = env->media ? media_find(env->media, name) : NULL;
  if (!slot)
    fprintf(out, "Error: Device '%s' not found\n", name);
  return slot;
}

void cmd_change(struct monitor_env *env, char *args, FILE *out) {
  char error[512];
  bool force = false, readonly = false;
  const char *format = NULL;
  char *name = monitor_need(&args, "change", "device name", out);
  char *path = name ? monitor_need(&args, "change", "filename", out) : NULL, *word;
  if (path && !strcmp(path, "-f")) {
    force = true;
    path = monitor_need(&args, "change", "filename", out);
  }
  if (!path)
    return;
  while ((word = monitor_word(&args))) {
    if (!strcmp(word, "read-only")) {
      readonly = true;
    } else if (block_format_known(word)) {
      format = word;
    } else if (strcmp(word, "retain") && strcmp(word, "read-write")) {
      fprintf(out, "Error: '%s' is neither an image format nor read-only, read-write or retain\n", word);
      return;
    }
  }
  struct media_slot *slot = drive(env, name, out);
  if (slot && media_change(env->media, slot, path, format, readonly, force, error, sizeof error) < 0)
    fprintf(out, "Error: %s\n", error);
}

void cmd_eject(struct monitor_env *env, char *args, FILE *out) {
  char error[512];
  char *name = monitor_need(&args, "eject", "device name", out);
  bool force = name && !strcmp(name, "-f");
  if (force)
    name = monitor_need(&args, "eject", "device name", out);
  if (!name || !monitor_end(&args, "eject", out))
    return;
  struct media_slot *slot = drive(env, name, out);
  if (slot && media_change(env->media, slot, NULL, NULL, false, force, error, sizeof error) < 0)
    fprintf(out, "Error: %s\n", error);
}

/* One drive's changes, or those of all drives that have somewhere to put them. */
void cmd_commit(struct monitor_env *env, char *args, FILE *out) {
  char *name = monitor_need(&args, "commit", "device name (or 'all')", out);
  const char *error;
  if (!name || !monitor_end(&args, "commit", out))
    return;
  bool all = !strcmp(name, "all");
  struct block *one = env->media && !all ? media_block(env->media, name) : NULL;
  if (!all && !one)
    fprintf(out, "Error: Device '%s' not found or without an image\n", name);
  if (one && block_commit(one, true, NULL, &error))
    fprintf(out, "Error: %s\n", error);
  for (int i = 0; all && env->media && i < OPTIONS_DRIVES; i++) {
    struct block *b = env->media->slot[i].block;
    if (b && block_can_commit(b) && block_commit(b, true, NULL, &error))
      fprintf(out, "Error: %s\n", error);
  }
}

/* --- log --- */

void cmd_log(struct monitor_env *env, char *args, FILE *out) {
  (void)env;
  const char *bad = "";
  char *items = monitor_need(&args, "log", "item list", out);
  if (!items || !monitor_end(&args, "log", out))
    return;
  if (!strcmp(items, "none")) {
    log_mask = 0;
    return;
  }
  if (strstr(items, "help")) {
    fprintf(out, "'dragoman -d help' lists the items; 'none' stops logging\n");
    return;
  }
  int mask = log_parse(items, &bad);
  if (mask < 0)
    fprintf(out, "Error: '%s' is no log item; 'dragoman -d help' lists them\n", bad);
  else
    log_mask = (unsigned)mask;
}

void cmd_logfile(struct monitor_env *env, char *args, FILE *out) {
  (void)env;
  char *path = monitor_need(&args, "logfile", "filename", out);
  if (!path || !monitor_end(&args, "logfile", out))
    return;
  int r = log_open(path);
  if (r < 0)
    fprintf(out, "Error: failed to open file '%s': %s\n", path, strerror(-r));
}
