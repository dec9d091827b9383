/* SPDX-License-Identifier: MIT */
/*
 * Options of sound: -audiodev, -audio, -soundhw, and who refers to an audiodev by its id. There is one mixer,
 * and all back ends hear all cards, so that an id only has to exist.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/board.h"
#include "frontends/options.h"

static int number(struct option_parser *p, const char *key, const char *value, uint32_t min, uint32_t max,
                  uint32_t *out) {
  char *end;
  unsigned long n = value && isdigit((unsigned char)*value) ? strtoul(value, &end, 10) : 0;
  if (!value || !isdigit((unsigned char)*value) || *end || n < min || n > max)
    return option_error(p, "-audiodev: %s is a number from %u to %u", key, min, max);
  *out = (uint32_t)n;
  return 0;
}

static int set_driver(struct option_parser *p, struct audiodev_option *a, const char *driver) {
  static const char *const known[] = {"none", "sdl", "wav"};
  static const char *const foreign[] = {"alsa", "coreaudio", "dbus",     "dsound", "jack",
                                        "oss",  "pa",        "pipewire", "sndio",  "spice"};
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
    if (!strcmp(driver, known[i])) {
      a->driver = driver;
      return 0;
    }
  for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
    if (!strcmp(driver, foreign[i]))
      return option_error(p, "-audiodev %s: use sdl, which plays by whatever sound system the host has",
                          driver);
  return option_error(p, "-audiodev %s: no such back end; the choices are none, sdl and wav", driver);
}

static int set_key(struct option_parser *p, struct audiodev_option *a, const char *key, const char *value) {
  uint32_t n;
  if (!strncmp(key, "out.", 4) && a->driver && !strcmp(a->driver, "sdl") && !strcmp(key + 4, "buffer-length"))
    return number(p, key, value, 20000, 200000, &a->buffer_us);
  if (!strcmp(key, "driver") && value)
    return set_driver(p, a, value);
  if (!strcmp(key, "id") && value && *value) {
    a->id = value;
    return 0;
  }
  if (!strcmp(key, "path") && value && *value && a->driver && !strcmp(a->driver, "wav")) {
    a->path = value;
    return 0;
  }
  if (!strcmp(key, "out.frequency"))
    return number(p, key, value, 48000, 48000, &n);
  if (!strcmp(key, "out.channels"))
    return number(p, key, value, 2, 2, &n);
  return option_error(
      p, "-audiodev: '%s' is not understood; it takes id=, path= (wav) and out.buffer-length= (sdl)", key);
}

static bool id_exists(const struct options *o, const char *id) {
  for (unsigned i = 0; i < o->audiodev_count; i++)
    if (o->audiodev[i].id && !strcmp(o->audiodev[i].id, id))
      return true;
  return false;
}

/* "DRIVER,KEY=VALUE...", without model= (*model, if that may be there). */
static int add_audiodev(struct option_parser *p, const char *option, const char *arg, const char **model) {
  const char *key, *value, *list = arg;
  struct audiodev_option a = {0};
  for (bool first = true; option_next(p, &list, &key, &value); first = false) {
    int r;
    if (!value && first && (!strcmp(key, "help") || !strcmp(key, "?"))) {
      p->o->action = ACTION_AUDIODEV_HELP;
      return 0;
    }
    if (!value && first)
      r = set_driver(p, &a, key);
    else if (model && value && !strcmp(key, "model")) {
      *model = value;
      r = 0;
    } else
      r = set_key(p, &a, key, value);
    if (r < 0)
      return r;
  }
  if (!a.driver)
    return option_error(p, "-%s %s: begin with the back end: none, sdl or wav", option, arg);
  if (a.id && id_exists(p->o, a.id))
    return option_error(p, "-%s: the id %s is there twice", option, a.id);
  if (p->o->audiodev_count >= OPTIONS_AUDIODEVS)
    return option_error(p, "-%s: %d back ends at most", option, OPTIONS_AUDIODEVS);
  p->o->audiodev[p->o->audiodev_count++] = a;
  return 0;
}

int option_audiodev(struct option_parser *p, const char *arg) {
  return add_audiodev(p, "audiodev", arg, NULL);
}

/* One of -soundhw's words, or a card by the name that -device knows. */
static int add_card(struct option_parser *p, const char *option, const char *name) {
  if (!strcmp(name, "pcspk")) /* always there */
    return 0;
  if (!board_driver_find(name))
    return option_error(p, "-%s %s: no such sound card; '-device help' lists the devices", option, name);
  return option_add_device(p, name, NULL);
}

int option_audio(struct option_parser *p, const char *arg) {
  const char *model = NULL;
  if (add_audiodev(p, "audio", arg, &model) < 0)
    return -1;
  return model ? add_card(p, "audio model", model) : 0;
}

int option_soundhw(struct option_parser *p, const char *arg) {
  const char *list = arg, *key, *value;
  if (!strcmp(arg, "all"))
    return option_error(p, "-soundhw all: name the cards, for example -soundhw sb16,adlib");
  while (option_next(p, &list, &key, &value))
    if (add_card(p, "soundhw", key) < 0)
      return -1;
  return 0;
}

int option_check_audio(struct option_parser *p) {
  const struct options *o = p->o;
  if (o->pcspk_audiodev && !id_exists(o, o->pcspk_audiodev))
    return option_error(p, "-machine pcspk-audiodev=%s: there is no -audiodev with id=%s", o->pcspk_audiodev,
                        o->pcspk_audiodev);
  for (unsigned i = 0; i < o->device_count; i++) {
    const char *list = o->device[i].props, *key, *value;
    while (option_next(p, &list, &key, &value))
      if (!strcmp(key, "audiodev") && (!value || !id_exists(o, value)))
        return option_error(p, "-device %s: there is no -audiodev with id=%s", o->device[i].driver,
                            value ? value : "");
  }
  return 0;
}
