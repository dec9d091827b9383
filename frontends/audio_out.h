/* SPDX-License-Identifier: MIT */
/*
 * Where the machine's sound goes: the back ends of -audiodev. There is one mixer; each back end hears all of
 * it. A back end's functions are called with the machine lock held, but for open and close.
 */
#ifndef FRONTENDS_AUDIO_OUT_H
#define FRONTENDS_AUDIO_OUT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "config.h"
#include "core/audio.h"
#include "frontends/options.h"

struct audio_backend {
  const char *name, *help;
  /* NULL and one line in `error`. */
  void *(*open)(const struct audiodev_option *o, char *error, size_t size);
  struct audio_sink sink; /* its opaque is what open made */
  void (*close)(void *opaque);
};

#if CONFIG_SDL
extern const struct audio_backend audio_sdl;
#endif
extern const struct audio_backend audio_wav;

struct audio_outs {
  unsigned count;
  struct {
    const struct audio_backend *backend;
    const char *id;
    void *opaque;
  } out[OPTIONS_AUDIODEVS];
};

void audio_out_help(FILE *out); /* -audiodev help */
/*
 * Open what -audiodev asks for, or, if it was not given and there is a window, the host's sound (whose
 * failure is only warned of), and connect it to the mixer. -1 with one line in `error`; audio_out_close is
 * due in both cases.
 */
int audio_out_open(struct audio_outs *outs, const struct options *o, struct audio *audio, bool window,
                   char *error, size_t size);
void audio_out_close(struct audio_outs *outs); /* when the machine runs no more */

#endif
