/* SPDX-License-Identifier: MIT */
/*
 * Sound into a file: RIFF/WAVE, 16-bit stereo at the mixer's rate, from the machine's start on. The sizes in
 * the header are brought up to date every second of sound, so that the file is good however the emulator
 * ends. Silence is left as a hole. At 4 GB, the most that the header can say (six hours), it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "frontends/audio_out.h"

#define HEADER 44
#define FRAME sizeof(struct audio_frame)
#define FRAMES_MAX ((0xffffffffu - HEADER) / FRAME)
#define BUFFER 4096 /* frames */

struct wav {
  int fd;
  const char *path;
  uint64_t frames;   /* so far, with those in the buffer */
  uint64_t headed;   /* those of which the header tells */
  bool failed, full; /* reported */
  unsigned held;
  struct audio_frame buffer[BUFFER];
};

static void fail(struct wav *w, int error) {
  if (!w->failed)
    error_report("cannot write sound to %s: %s; it ends after %llu s", w->path, strerror(error),
                 (unsigned long long)(w->headed / AUDIO_RATE));
  w->failed = true;
}

static bool write_at(struct wav *w, const void *data, size_t size, uint64_t at) {
  const uint8_t *bytes = data;
  while (size && !w->failed) {
    ssize_t n = pwrite(w->fd, bytes, size, (off_t)at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      fail(w, n < 0 ? errno : EIO);
      break;
    }
    bytes += n;
    at += (uint64_t)n;
    size -= (size_t)n;
  }
  return !w->failed;
}

static void put32(uint8_t *p, uint32_t value) {
  for (int i = 0; i < 4; i++)
    p[i] = (uint8_t)(value >> 8 * i);
}

static void write_header(struct wav *w) {
  uint32_t bytes = (uint32_t)(w->frames * FRAME);
  uint8_t h[HEADER] = "RIFF....WAVEfmt ....\1\0\2\0........\4\0\20\0data";
  put32(h + 4, bytes + HEADER - 8);
  put32(h + 16, 16);
  put32(h + 24, AUDIO_RATE);
  put32(h + 28, AUDIO_RATE * FRAME);
  put32(h + 40, bytes);
  /* The file is never shorter than the header says, also if it ends with silence. */
  if (!w->failed && ftruncate(w->fd, (off_t)(HEADER + w->frames * FRAME)) < 0)
    fail(w, errno);
  if (write_at(w, h, HEADER, 0))
    w->headed = w->frames;
}

static void flush(struct wav *w) {
  if (w->held)
    write_at(w, w->buffer, w->held * FRAME, HEADER + (w->frames - w->held) * FRAME);
  w->held = 0;
}

static void wav_write(void *opaque, const struct audio_frame *frames, uint64_t count) {
  struct wav *w = opaque;
  if (count > FRAMES_MAX - w->frames) {
    if (!w->full)
      warn_report("%s is full: a WAV file holds 4 GB", w->path);
    w->full = true;
    return;
  }
  if (!frames) {
    flush(w);
    w->frames += count;
  }
  for (; frames && count; count--) {
    w->buffer[w->held++] = *frames++;
    w->frames++;
    if (w->held == BUFFER)
      flush(w);
  }
  if (w->frames - w->headed >= AUDIO_RATE) {
    flush(w);
    write_header(w);
  }
}

static void wav_rest(void *opaque) {
  flush(opaque);
  write_header(opaque);
}

static void wav_info(void *opaque, FILE *out) {
  const struct wav *w = opaque;
  fprintf(out, "%s, %llu frames%s\n", w->path, (unsigned long long)w->frames, w->failed ? ", failed" : "");
}

static void wav_close(void *opaque) {
  struct wav *w = opaque;
  wav_rest(w);
  if (close(w->fd) < 0)
    fail(w, errno);
  free(w);
}

static void *wav_open(const struct audiodev_option *o, char *error, size_t size) {
  struct wav *w = calloc(1, sizeof *w);
  struct stat st;
  if (!w) {
    snprintf(error, size, "out of memory");
    return NULL;
  }
  w->path = o->path ? o->path : "dragoman.wav";
  w->fd = open(w->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
  if (w->fd < 0 || fstat(w->fd, &st) < 0) {
    snprintf(error, size, "-audiodev wav: cannot write to %s: %s", w->path, strerror(errno));
  } else if (!S_ISREG(st.st_mode)) {
    snprintf(error, size, "-audiodev wav: %s is not a plain file", w->path);
  } else if (ftruncate(w->fd, 0) < 0) {
    snprintf(error, size, "-audiodev wav: cannot write to %s: %s", w->path, strerror(errno));
  } else {
    write_header(w);
    return w;
  }
  if (w->fd >= 0)
    close(w->fd);
  free(w);
  return NULL;
}

const struct audio_backend audio_wav = {
    .name = "wav",
    .help = "into a file: path=FILE (default dragoman.wav), 48 kHz, 16-bit stereo",
    .open = wav_open,
    .sink = {.write = wav_write, .rest = wav_rest, .info = wav_info},
    .close = wav_close,
};
