/* SPDX-License-Identifier: MIT */
/*
 * The desktop window (SDL2). It belongs to the main thread; the CPU runs in its own. Builds without SDL have stubs that
 * say so.
 */
#ifndef FRONTENDS_SDL_H
#define FRONTENDS_SDL_H

#include <stddef.h>
#include <stdio.h>

#include "config.h"
#include "core/machine.h"

struct sdl_window;

#if CONFIG_SDL
/* Open the window. NULL and one line in `error` (no display, for example). name: for the title. */
struct sdl_window *sdl_open(struct machine *m, const char *name, char *error, size_t size);
/* Show the machine and feed it input until its state is QUIT (or SHUTDOWN without no_shutdown), or the user closes the
 * window (then it asks the machine to quit). */
void sdl_run(struct sdl_window *w);
void sdl_close(struct sdl_window *w); /* NULL allowed */
#else
static inline struct sdl_window *sdl_open(struct machine *m, const char *name, char *error, size_t size) {
  (void)m;
  (void)name;
  snprintf(error, size, "-display sdl: built without a window; configure again with libsdl2-dev, or use -display none");
  return NULL;
}
static inline void sdl_run(struct sdl_window *w) { (void)w; }
static inline void sdl_close(struct sdl_window *w) { (void)w; }
#endif

#endif
