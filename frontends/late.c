/* SPDX-License-Identifier: MIT */
/*
 * SDL, Capstone and libslirp, loaded when something first needs them. A program linked with them starts 10 ms later and
 * 5 MB larger, most of it for fifty libraries behind SDL, also where it neither opens a window nor lists
 * code. So the emulator is linked with this file instead: each function is a jump to where dlsym found it. A
 * function that is missing here fails the link. (The unit tests are linked with the libraries themselves.)
 */
#include "config.h"

#include <capstone/capstone.h>
#include <dlfcn.h>
#include <stdlib.h>

#include "core/log.h"
#if CONFIG_SDL
#include <SDL.h>
#endif
#if CONFIG_SLIRP
#include <libslirp.h>
#endif

#define STRING2(x) #x
#define STRING(x) STRING2(x)

/* A function `name` that goes on where slot_name says. */
#define FORWARD(name)                                                                                        \
  static void *slot_##name __asm__("slot_" #name) __attribute__((used));                                     \
  __asm__(".text\n\t.globl " #name "\n\t.type " #name ", @function\n" #name ":\n\tjmp *slot_" #name          \
          "(%rip)\n\t.size " #name ", . - " #name);
#define ENTRY(name) {#name, &slot_##name},

struct late_function {
  const char *name;
  void **slot;
};

/* False, with a line on standard error: the library or a function of it is not there. */
static bool load(const char *library, const char *what_for, const struct late_function *f, size_t count) {
  void *handle = dlopen(library, RTLD_NOW);
  if (!handle) {
    error_report("%s needs a library that cannot be loaded: %s", what_for, dlerror());
    return false;
  }
  for (size_t i = 0; i < count; i++) {
    *f[i].slot = dlsym(handle, f[i].name);
    if (!*f[i].slot) {
      error_report("%s: %s has no function %s", what_for, library, f[i].name);
      return false;
    }
  }
  return true;
}

/* --- Capstone: cs_open comes first --- */

#define CAPSTONE_FUNCTIONS(X) X(cs_close) X(cs_disasm) X(cs_disasm_iter) X(cs_free) X(cs_malloc) X(cs_option)

CAPSTONE_FUNCTIONS(FORWARD)
static void *slot_cs_open;

cs_err CAPSTONE_API cs_open(cs_arch arch, cs_mode mode, csh *handle) {
  static const struct late_function functions[] = {CAPSTONE_FUNCTIONS(ENTRY){"cs_open", &slot_cs_open}};
  if (!slot_cs_open && !load("libcapstone.so." STRING(CS_API_MAJOR), "a listing of code", functions,
                             sizeof functions / sizeof *functions))
    return CS_ERR_MEM;
  return ((__typeof__(cs_open) *)slot_cs_open)(arch, mode, handle);
}

/* --- libslirp: slirp_new comes first --- */

#if CONFIG_SLIRP
#define SLIRP_FUNCTIONS(X)                                                                                   \
  X(slirp_add_exec)                                                                                          \
  X(slirp_add_hostfwd)                                                                                       \
  X(slirp_cleanup)                                                                                           \
  X(slirp_connection_info)                                                                                   \
  X(slirp_handle_timer)                                                                                      \
  X(slirp_input)                                                                                             \
  X(slirp_pollfds_fill)                                                                                      \
  X(slirp_pollfds_poll)                                                                                      \
  X(slirp_remove_hostfwd)

SLIRP_FUNCTIONS(FORWARD)
static void *slot_slirp_new;

Slirp *slirp_new(const SlirpConfig *config, const SlirpCb *callbacks, void *opaque) {
  static const struct late_function functions[] = {SLIRP_FUNCTIONS(ENTRY){"slirp_new", &slot_slirp_new}};
  if (!slot_slirp_new &&
      !load("libslirp.so.0", "the user network", functions, sizeof functions / sizeof *functions))
    return NULL;
  return ((__typeof__(slirp_new) *)slot_slirp_new)(config, callbacks, opaque);
}
#endif

/* --- SDL: a hint comes first --- */

#if CONFIG_SDL
#define SDL_FUNCTIONS(X)                                                                                     \
  X(SDL_CloseAudioDevice)                                                                                    \
  X(SDL_CreateRenderer)                                                                                      \
  X(SDL_CreateTexture)                                                                                       \
  X(SDL_CreateWindow)                                                                                        \
  X(SDL_DestroyRenderer)                                                                                     \
  X(SDL_DestroyTexture)                                                                                      \
  X(SDL_DestroyWindow)                                                                                       \
  X(SDL_GetCurrentAudioDriver)                                                                               \
  X(SDL_GetCurrentVideoDriver)                                                                               \
  X(SDL_GetDisplayUsableBounds)                                                                              \
  X(SDL_GetError)                                                                                            \
  X(SDL_GetRendererOutputSize)                                                                               \
  X(SDL_GetTicks)                                                                                            \
  X(SDL_GetWindowBordersSize)                                                                                \
  X(SDL_GetWindowDisplayIndex)                                                                               \
  X(SDL_GetWindowPosition)                                                                                   \
  X(SDL_GetWindowSize)                                                                                       \
  X(SDL_Init)                                                                                                \
  X(SDL_InitSubSystem)                                                                                       \
  X(SDL_OpenAudioDevice)                                                                                     \
  X(SDL_PauseAudioDevice)                                                                                    \
  X(SDL_PollEvent)                                                                                           \
  X(SDL_Quit)                                                                                                \
  X(SDL_QuitSubSystem)                                                                                       \
  X(SDL_RenderClear)                                                                                         \
  X(SDL_RenderCopy)                                                                                          \
  X(SDL_RenderPresent)                                                                                       \
  X(SDL_SetError)                                                                                            \
  X(SDL_SetRelativeMouseMode)                                                                                \
  X(SDL_SetRenderDrawColor)                                                                                  \
  X(SDL_SetRenderTarget)                                                                                     \
  X(SDL_SetTextureBlendMode)                                                                                 \
  X(SDL_SetTextureScaleMode)                                                                                 \
  X(SDL_SetWindowFullscreen)                                                                                 \
  X(SDL_SetWindowKeyboardGrab)                                                                               \
  X(SDL_SetWindowMinimumSize)                                                                                \
  X(SDL_SetWindowPosition)                                                                                   \
  X(SDL_SetWindowSize)                                                                                       \
  X(SDL_ShowCursor)                                                                                          \
  X(SDL_SetWindowTitle)                                                                                      \
  X(SDL_StopTextInput)                                                                                       \
  X(SDL_UpdateTexture)                                                                                       \
  X(SDL_WaitEventTimeout)

SDL_FUNCTIONS(FORWARD)
static void *slot_SDL_SetHint;

SDL_bool SDLCALL SDL_SetHint(const char *name, const char *value) {
  static const struct late_function functions[] = {SDL_FUNCTIONS(ENTRY){"SDL_SetHint", &slot_SDL_SetHint}};
  if (!slot_SDL_SetHint &&
      !load("libSDL2-2.0.so.0", "-display sdl", functions, sizeof functions / sizeof *functions))
    exit(1);
  return ((__typeof__(SDL_SetHint) *)slot_SDL_SetHint)(name, value);
}
#endif
