/* SPDX-License-Identifier: MIT */
/* Sound to the host by SDL2, whose thread takes it from the ring that makes up for the difference of the
 * clocks. */
#include <SDL.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "frontends/audio_out.h"
#include "frontends/audio_ring.h"

#define DEVICE_FRAMES 1024
#define TARGET_MS 60 /* of sound in the ring */

struct sdl_audio {
  SDL_AudioDeviceID device;
  struct audio_ring ring;
};

static void sdl_write(void *opaque, const struct audio_frame *frames, uint64_t count) {
  if (frames) /* silence from before now is over; the device was silent by itself */
    audio_ring_write(&((struct sdl_audio *)opaque)->ring, frames, count);
}

static void sdl_rest(void *opaque) { audio_ring_rest(&((struct sdl_audio *)opaque)->ring); }

static void SDLCALL callback(void *opaque, Uint8 *stream, int bytes) {
  struct audio_frame *out = (struct audio_frame *)(void *)stream;
  audio_ring_read(&((struct sdl_audio *)opaque)->ring, out, (unsigned)bytes / sizeof *out);
}

static void sdl_info(void *opaque, FILE *out) {
  struct audio_ring *r = &((struct sdl_audio *)opaque)->ring;
  uint32_t filled = atomic_load(&r->head) - atomic_load(&r->tail);
  fprintf(out, "%s, %u ms waiting, %u underruns, %u frames skipped, %u dropped\n",
          SDL_GetCurrentAudioDriver(), filled * 1000 / AUDIO_RATE, atomic_load(&r->underruns),
          atomic_load(&r->skipped), atomic_load(&r->dropped));
}

static void sdl_close_audio(void *opaque) {
  struct sdl_audio *s = opaque;
  if (s->device)
    SDL_CloseAudioDevice(s->device);
  SDL_QuitSubSystem(SDL_INIT_AUDIO);
  free(s);
}

/* Libraries below SDL chat on standard error when there is no sound card; SDL's own message is enough. */
static int quiet_begin(void) {
  int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (kept >= 0 && null >= 0)
    dup2(null, STDERR_FILENO);
  if (null >= 0)
    close(null);
  return kept;
}

static void quiet_end(int kept) {
  if (kept < 0)
    return;
  dup2(kept, STDERR_FILENO);
  close(kept);
}

static SDL_AudioDeviceID open_device(const SDL_AudioSpec *spec) {
  int kept = quiet_begin();
  SDL_AudioDeviceID device =
      SDL_InitSubSystem(SDL_INIT_AUDIO) ? 0 : SDL_OpenAudioDevice(NULL, 0, spec, NULL, 0);
  quiet_end(kept);
  return device;
}

static void *sdl_open_audio(const struct audiodev_option *o, char *error, size_t size) {
  struct sdl_audio *s = calloc(1, sizeof *s);
  if (!s) {
    snprintf(error, size, "out of memory");
    return NULL;
  }
  s->ring.target = (o->buffer_us ? o->buffer_us / 1000 : TARGET_MS) * (AUDIO_RATE / 1000);
  SDL_SetHint(SDL_HINT_NO_SIGNAL_HANDLERS, "1");
  SDL_AudioSpec spec = {.freq = AUDIO_RATE,
                        .format = AUDIO_S16SYS,
                        .channels = 2,
                        .samples = DEVICE_FRAMES,
                        .callback = callback,
                        .userdata = s};
  s->device = open_device(&spec);
  if (!s->device) {
    snprintf(error, size, "-audiodev sdl: %s", SDL_GetError());
    sdl_close_audio(s);
    return NULL;
  }
  SDL_PauseAudioDevice(s->device, 0);
  return s;
}

const struct audio_backend audio_sdl = {
    .name = "sdl",
    .help = "to the host's sound card; out.buffer-length=USECS (default 60000)",
    .open = sdl_open_audio,
    .sink = {.write = sdl_write, .rest = sdl_rest, .info = sdl_info},
    .close = sdl_close_audio,
};
