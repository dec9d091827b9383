/* SPDX-License-Identifier: MIT */
/* SDL's key positions as the PC's keys. */
#ifndef FRONTENDS_SDL_KEYS_H
#define FRONTENDS_SDL_KEYS_H

#include <SDL.h>

/* The key (core/input.h) at a position, whatever the host's layout prints on it; -1: a PC has none there. */
int sdl_key_from_scancode(SDL_Scancode scancode);

#endif
