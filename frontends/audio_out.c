/* SPDX-License-Identifier: MIT */
/* The list of sound's back ends, and the sink that hands the mixer's frames to each that is open. */
#include "frontends/audio_out.h"

#include <string.h>

#include "core/log.h"

static const struct audio_backend audio_none = {.name = "none", .help = "no sound"};

static const struct audio_backend *const backends[] = {
    &audio_none,
#if CONFIG_SDL
    &audio_sdl,
#endif
    &audio_wav,
};
#define BACKENDS (sizeof backends / sizeof backends[0])

void audio_out_help(FILE *out) {
  for (size_t i = 0; i < BACKENDS; i++)
    fprintf(out, "%-6s %s\n", backends[i]->name, backends[i]->help);
}

static void outs_write(void *opaque, const struct audio_frame *frames, uint64_t count) {
  struct audio_outs *outs = opaque;
  for (unsigned i = 0; i < outs->count; i++)
    outs->out[i].backend->sink.write(outs->out[i].opaque, frames, count);
}

static void outs_rest(void *opaque) {
  struct audio_outs *outs = opaque;
  for (unsigned i = 0; i < outs->count; i++)
    if (outs->out[i].backend->sink.rest)
      outs->out[i].backend->sink.rest(outs->out[i].opaque);
}

static void outs_info(void *opaque, FILE *out) {
  struct audio_outs *outs = opaque;
  for (unsigned i = 0; i < outs->count; i++) {
    fprintf(out, "%s (%s): ", outs->out[i].id ? outs->out[i].id : "default", outs->out[i].backend->name);
    outs->out[i].backend->sink.info(outs->out[i].opaque, out);
  }
}

static int open_one(struct audio_outs *outs, const struct audiodev_option *o, char *error, size_t size) {
  for (size_t i = 0; i < BACKENDS; i++) {
    const struct audio_backend *b = backends[i];
    if (strcmp(b->name, o->driver))
      continue;
    if (!b->open)
      return 0;
    void *opaque = b->open(o, error, size);
    if (!opaque)
      return -1;
    outs->out[outs->count].backend = b;
    outs->out[outs->count].id = o->id;
    outs->out[outs->count++].opaque = opaque;
    return 0;
  }
  snprintf(error, size, "-audiodev %s: no such back end; 'dragoman -audiodev help' lists them", o->driver);
  return -1;
}

int audio_out_open(struct audio_outs *outs, const struct options *o, struct audio *audio, bool window,
                   char *error, size_t size) {
  for (unsigned i = 0; i < o->audiodev_count; i++)
    if (open_one(outs, &o->audiodev[i], error, size) < 0)
      return -1;
  if (!o->audiodev_count && window && CONFIG_SDL) {
    if (open_one(outs, &(struct audiodev_option){.driver = "sdl"}, error, size) < 0) {
      warn_report("no sound: %s", error);
      error[0] = '\0';
    }
  }
  if (outs->count)
    audio_set_sink(audio, &(struct audio_sink){outs_write, outs_rest, outs_info, outs});
  return 0;
}

void audio_out_close(struct audio_outs *outs) {
  while (outs->count) {
    outs->count--;
    outs->out[outs->count].backend->close(outs->out[outs->count].opaque);
  }
}
