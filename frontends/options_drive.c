/* SPDX-License-Identifier: MIT */
/* Drives (-drive, -hda and friends) and the syntax of channels (-serial and friends). */
#include "devices/block/image.h"
#include "frontends/options.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *const slot_names[OPTIONS_DRIVES] = {
    "IDE drive 0 (hda)", "IDE drive 1 (hdb)", "IDE drive 2 (hdc, cdrom)",
    "IDE drive 3 (hdd)", "floppy drive A",    "floppy drive B",
};

int option_drive_named(struct option_parser *p, const char *option, unsigned slot, const char *file) {
  struct drive_options *d = &p->o->drive[slot];
  if (!*file)
    return option_error(p, "-%s: the file name is empty", option);
  if (d->by)
    return option_error(p, "%s is defined twice, by '%s' and by '%s'; leave one out or choose another drive",
                        slot_names[slot], d->by, option);
  *d = (struct drive_options){.file = file, .by = option};
  return 0;
}

struct drive_words {
  const char *interface, *index, *bus, *unit, *media, *id;
  struct drive_options d;
};

/* One key=value of -drive. */
static int drive_word(struct option_parser *p, struct drive_words *w, const char *key, const char *value) {
  static const char *const ignored[] = {"cache", "aio", "discard", "detect-zeroes", "werror", "rerror"};
  if (!strcmp(key, "snapshot"))
    return option_bool(p, "drive", key, value, &w->d.snapshot);
  if (!strcmp(key, "readonly") || !strcmp(key, "read-only"))
    return option_bool(p, "drive", key, value, &w->d.readonly);
  if (!value)
    return option_error(p, "-drive: '%s' wants a value; write file=NAME,if=ide,index=0", key);
  for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
    if (!strcmp(key, ignored[i]))
      return 0;
  const struct {
    const char *key, **out;
  } words[] = {
      {"file", &w->d.file},
      {"if", &w->interface},
      {"index", &w->index},
      {"bus", &w->bus},
      {"unit", &w->unit},
      {"media", &w->media},
      {"format", &w->d.format},
      {"serial", &w->d.serial},
      {"id", &w->id},
      {"overlay", &w->d.overlay},
      {"snapshot-name", &w->d.snapshot_name},
  };
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    if (!strcmp(key, words[i].key)) {
      if (*words[i].out)
        return option_error(p, "-drive: %s= is given twice", key);
      *words[i].out = value;
      return 0;
    }
  return option_error(p,
                      "-drive: '%s' is not understood; use file=, if=, index=, media=, format=, overlay=, "
                      "snapshot=, snapshot-name=, readonly=",
                      key);
}

/* A number from 0 to max-1, or -1 with an error. */
static int small_number(struct option_parser *p, const char *key, const char *text, int max) {
  if (!isdigit((unsigned char)text[0]) || text[1] || text[0] - '0' >= max)
    return option_error(p, "-drive: %s=%s: there are %s=0 to %d", key, text, key, max - 1);
  return text[0] - '0';
}

/* Which slot: index=, or bus= and unit=, or the first that is free. */
static int drive_slot(struct option_parser *p, const struct drive_words *w, bool floppy) {
  int base = floppy ? FLOPPY_DRIVE(0) : 0, count = floppy ? 2 : 4;
  if (w->index && (w->bus || w->unit))
    return option_error(p, "-drive: index= and bus=/unit= contradict each other; keep index=");
  if (w->index) {
    int n = small_number(p, "index", w->index, count);
    return n < 0 ? -1 : base + n;
  }
  if (w->bus || w->unit) {
    int bus = w->bus ? small_number(p, "bus", w->bus, floppy ? 1 : 2) : 0;
    int unit = w->unit ? small_number(p, "unit", w->unit, 2) : 0;
    return bus < 0 || unit < 0 ? -1 : base + bus * 2 + unit;
  }
  if (w->d.cdrom && !p->o->drive[2].by)
    return 2;
  for (int i = 0; i < count; i++)
    if (!p->o->drive[base + i].by)
      return base + i;
  return option_error(p, "-drive: all %d %s drives are taken", count, floppy ? "floppy" : "IDE");
}

/* if=none: for the device that names it by drive=ID. */
static int drive_for_device(struct option_parser *p, struct drive_words *w, const char *arg) {
  if (!w->id)
    return option_error(p, "-drive %s: if=none needs id=NAME, by which -device ...,drive=NAME takes it", arg);
  if (!w->d.file || !*w->d.file)
    return option_error(p, "-drive %s: file=NAME is missing", arg);
  for (unsigned i = 0; i < p->o->none_count; i++)
    if (!strcmp(p->o->none[i].id, w->id))
      return option_error(p, "-drive: id=%s is given twice", w->id);
  if (p->o->none_count == OPTIONS_NONE_DRIVES)
    return option_error(p, "-drive: %d drives with if=none at most", OPTIONS_NONE_DRIVES);
  w->d.id = w->id;
  p->o->none[p->o->none_count++] = w->d;
  return 0;
}

/* What is said about the image itself. */
static int check_image_words(struct option_parser *p, const struct drive_words *w) {
  char known[128] = "";
  if (w->d.format && !block_format_known(w->d.format)) {
    for (unsigned i = 0; block_format_name_at(i); i++)
      snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
               block_format_name_at(i));
    return option_error(p, "-drive: format=%s: the formats are %s", w->d.format, known);
  }
  if (w->d.overlay && (!*w->d.overlay || !w->d.file))
    return option_error(p, "-drive: overlay=FILE keeps what is written to the image of file=NAME");
  if (w->d.overlay && w->d.readonly)
    return option_error(p, "-drive: overlay= and readonly= contradict each other");
  if (w->d.snapshot_name && !w->d.readonly && !w->d.snapshot && !p->o->snapshot)
    return option_error(p, "-drive: snapshot-name=%s is read only; add snapshot=on", w->d.snapshot_name);
  if (w->d.snapshot_name && w->d.overlay)
    return option_error(p, "-drive: snapshot-name= and overlay= contradict each other");
  return 0;
}

int option_drive(struct option_parser *p, const char *arg) {
  const char *key, *value, *list = arg;
  struct drive_words w = {.d = {.by = arg}};
  while (option_next(p, &list, &key, &value))
    if (drive_word(p, &w, key, value) < 0)
      return -1;
  bool floppy = w.interface && !strcmp(w.interface, "floppy");
  bool none = w.interface && !strcmp(w.interface, "none");
  if (w.interface && !floppy && !none && strcmp(w.interface, "ide"))
    return option_error(p, "-drive: if=%s: this machine has if=ide and if=floppy, and if=none for -device",
                        w.interface);
  if (check_image_words(p, &w) < 0)
    return -1;
  if (w.media && strcmp(w.media, "disk") && strcmp(w.media, "cdrom"))
    return option_error(p, "-drive: media=%s: the choices are disk and cdrom", w.media);
  w.d.cdrom = w.media && !strcmp(w.media, "cdrom");
  if (none)
    return drive_for_device(p, &w, arg);
  if (floppy && w.d.cdrom)
    return option_error(p, "-drive: if=floppy and media=cdrom contradict each other");
  if (!w.d.file && !floppy && !w.d.cdrom)
    return option_error(p, "-drive %s: a hard disk needs file=NAME", arg);
  if (w.d.file && !*w.d.file)
    w.d.file = NULL;
  if (w.d.readonly && !floppy && !w.d.cdrom)
    return option_error(p, "-drive: an IDE hard disk cannot be read-only; use snapshot=on");
  int slot = drive_slot(p, &w, floppy);
  if (slot < 0)
    return -1;
  struct drive_options *d = &p->o->drive[slot];
  if (d->by)
    return option_error(p, "%s is defined twice, by '%s' and by '%s'; leave one out or choose another drive",
                        slot_names[slot], d->by, arg);
  *d = w.d;
  return 0;
}

/* --- channels --- */

static bool starts_with(const char *text, const char *prefix) {
  return !strncmp(text, prefix, strlen(prefix));
}

/* Flags after the address of a socket. */
static int socket_flags(struct option_parser *p, const char *option, const char *flags) {
  static const char *const known[] = {
      "server", "server=on", "server=off", "nowait", "wait", "wait=on", "wait=off", "nodelay", "nodelay=on",
  };
  bool server = false;
  const char *wait = NULL;
  while (*flags == ',') {
    flags++;
    size_t n = strcspn(flags, ",");
    const char *word = option_string(p, flags, n);
    size_t i = 0;
    while (i < sizeof known / sizeof known[0] && strcmp(word, known[i]))
      i++;
    if (i == sizeof known / sizeof known[0])
      return option_error(p, "-%s: '%s' is not understood after the address; use server and nowait", option,
                          word);
    server |= !strcmp(word, "server") || !strcmp(word, "server=on");
    if (strstr(word, "wait"))
      wait = word;
    flags += n;
  }
  if (wait && !server)
    return option_error(p, "-%s: '%s' is for servers; add server", option, wait);
  return 0;
}

int option_channel(struct option_parser *p, const char *option, const char *spec) {
  bool monitor = !strcmp(option, "monitor");
  if (starts_with(spec, "mon:")) {
    if (monitor || strcmp(option, "serial"))
      return option_error(p, "-%s %s: 'mon:' (sharing with the monitor) is for -serial", option, spec);
    spec += 4;
    if (!strcmp(spec, "null") || !strcmp(spec, "none") || starts_with(spec, "file:") ||
        starts_with(spec, "mon:"))
      return option_error(p, "-%s: a monitor cannot be reached through '%s'", option, spec);
  }
  if (!strcmp(spec, "stdio") || !strcmp(spec, "null") || !strcmp(spec, "none") || !strcmp(spec, "pty") ||
      starts_with(spec, "vc"))
    return 0;
  if (starts_with(spec, "file:")) {
    if (monitor)
      return option_error(p, "-monitor %s: commands cannot come from there; use stdio, unix:, tcp: or pty",
                          spec);
    return spec[5] ? 0 : option_error(p, "-%s file: has no file name", option);
  }
  if (starts_with(spec, "unix:")) {
    size_t n = strcspn(spec + 5, ",");
    if (!n)
      return option_error(p, "-%s unix: has no path", option);
    return socket_flags(p, option, spec + 5 + n);
  }
  if (starts_with(spec, "tcp:")) {
    size_t n = strcspn(spec + 4, ",");
    const char *address = option_string(p, spec + 4, n), *colon = strrchr(address, ':');
    if (!colon || !colon[1] || colon[1 + strspn(colon + 1, "0123456789")] || atoi(colon + 1) > 65535)
      return option_error(p, "-%s %s: write tcp:HOST:PORT", option, spec);
    return socket_flags(p, option, spec + 4 + n);
  }
  return option_error(p, "-%s %s: not a channel; use stdio, file:PATH, unix:PATH, tcp:HOST:PORT, pty or null",
                      option, spec);
}
