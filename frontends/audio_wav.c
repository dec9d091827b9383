/* SPDX-License-Identifier: MIT */
/*
 * Sound into a file: RIFF/WAVE, 16-bit stereo at the mixer's rate, from the machine's start on. The sizes in
 * the header are brought up to date every second of sound, so that the file is good however the emulator
 * ends. Silence is left as a hole. A thread of its own writes: a busy disk takes a tenth of a second now and
 * then, and the machine must not wait for it. At 4 GB, the most that the header can say (six hours), it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/log.h"
#include "frontends/audio_out.h"

#define HEADER 44
#define FRAME sizeof(struct audio_frame)
#define FRAMES_MAX ((0xffffffffu - HEADER) / FRAME)
#define CHUNK 4096      /* frames */
#define WAITING_MAX 128 /* chunks: 11 s; who writes faster waits for the disk */

struct chunk {
  struct chunk *next;
  uint64_t silence; /* frames before those that are here */
  unsigned count;
  struct audio_frame frames[CHUNK];
};

struct wav {
  const char *path;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t changed;
  /* Under the lock. */
  struct chunk *first, **last;
  unsigned waiting;
  bool closing, failed; /* failed: reported */
  /* The mixer's side. */
  struct chunk *current; /* being filled, or NULL */
  uint64_t taken;        /* frames so far */
  bool full;             /* reported */
  /* The thread's. */
  int fd;
  uint64_t frames, headed; /* written; those of which the header tells */
};

/* --- the thread that writes ----------------------------------------------------------------------------- */

static void fail(struct wav *w, int error) {
  pthread_mutex_lock(&w->lock);
  if (!w->failed)
    error_report("cannot write sound to %s: %s; it ends after %llu s", w->path, strerror(error),
                 (unsigned long long)(w->headed / AUDIO_RATE));
  w->failed = true;
  pthread_mutex_unlock(&w->lock);
}

static bool write_at(struct wav *w, const void *data, size_t size, uint64_t at) {
  const uint8_t *bytes = data;
  while (size) {
    ssize_t n = pwrite(w->fd, bytes, size, (off_t)at);
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0) {
      fail(w, n < 0 ? errno : EIO);
      return false;
    }
    bytes += n;
    at += (uint64_t)n;
    size -= (size_t)n;
  }
  return true;
}

static void put32(uint8_t *p, uint32_t value) {
  for (int i = 0; i < 4; i++)
    p[i] = (uint8_t)(value >> 8 * i);
}

static bool write_header(struct wav *w) {
  uint32_t bytes = (uint32_t)(w->frames * FRAME);
  uint8_t h[HEADER] = "RIFF....WAVEfmt ....\1\0\2\0........\4\0\20\0data";
  put32(h + 4, bytes + HEADER - 8);
  put32(h + 16, 16);
  put32(h + 24, AUDIO_RATE);
  put32(h + 28, AUDIO_RATE * FRAME);
  put32(h + 40, bytes);
  /* The file is never shorter than the header says, also if it ends with silence. */
  if (ftruncate(w->fd, (off_t)(HEADER + w->frames * FRAME)) < 0) {
    fail(w, errno);
    return false;
  }
  w->headed = w->frames;
  return write_at(w, h, HEADER, 0);
}

static bool write_chunk(struct wav *w, const struct chunk *c) {
  w->frames += c->silence;
  if (c->count && !write_at(w, c->frames, c->count * FRAME, HEADER + w->frames * FRAME))
    return false;
  w->frames += c->count;
  return w->frames - w->headed < AUDIO_RATE || write_header(w);
}

static void *wav_thread(void *opaque) {
  struct wav *w = opaque;
  bool good = true;
  pthread_mutex_lock(&w->lock);
  while (w->first || !w->closing) {
    struct chunk *c = w->first;
    if (c) {
      w->first = c->next;
      if (!w->first)
        w->last = &w->first;
      w->waiting--;
      pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    if (c)
      good = good && write_chunk(w, c);
    else if (good && w->headed != w->frames) /* nothing to do: a good time to say how far it goes */
      good = write_header(w);
    free(c);
    pthread_mutex_lock(&w->lock);
    if (!w->first && !w->closing && (!good || w->headed == w->frames))
      pthread_cond_wait(&w->changed, &w->lock);
  }
  pthread_mutex_unlock(&w->lock);
  if (good && w->headed != w->frames)
    write_header(w);
  return NULL;
}

/* --- the mixer's side ----------------------------------------------------------------------------------- */

static void push(struct wav *w) {
  if (!w->current)
    return;
  pthread_mutex_lock(&w->lock);
  while (w->waiting >= WAITING_MAX)
    pthread_cond_wait(&w->changed, &w->lock);
  *w->last = w->current;
  w->last = &w->current->next;
  w->waiting++;
  w->current = NULL;
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
}

/* With room for a frame at least; NULL: no memory. */
static struct chunk *current(struct wav *w) {
  if (!w->current) {
    w->current = malloc(sizeof *w->current);
    if (!w->current) {
      fail(w, ENOMEM);
      return NULL;
    }
    w->current->next = NULL;
    w->current->silence = 0;
    w->current->count = 0;
  }
  return w->current;
}

static void wav_write(void *opaque, const struct audio_frame *frames, uint64_t count) {
  struct wav *w = opaque;
  if (count > FRAMES_MAX - w->taken) {
    if (!w->full)
      warn_report("%s is full: a WAV file holds 4 GB", w->path);
    w->full = true;
    return;
  }
  w->taken += count;
  if (!frames) {
    if (w->current && w->current->count)
      push(w);
    struct chunk *c = current(w);
    if (c)
      c->silence += count;
    return;
  }
  while (count) {
    struct chunk *c = current(w);
    if (!c)
      return;
    unsigned n = count < CHUNK - c->count ? (unsigned)count : CHUNK - c->count;
    memcpy(c->frames + c->count, frames, n * FRAME);
    c->count += n;
    frames += n;
    count -= n;
    if (c->count == CHUNK)
      push(w);
  }
}

static void wav_rest(void *opaque) { push(opaque); }

static void wav_info(void *opaque, FILE *out) {
  struct wav *w = opaque;
  pthread_mutex_lock(&w->lock);
  fprintf(out, "%s, %llu frames%s\n", w->path, (unsigned long long)w->taken, w->failed ? ", failed" : "");
  pthread_mutex_unlock(&w->lock);
}

static void wav_free(struct wav *w) {
  pthread_cond_destroy(&w->changed);
  pthread_mutex_destroy(&w->lock);
  free(w);
}

static void wav_close(void *opaque) {
  struct wav *w = opaque;
  push(w);
  pthread_mutex_lock(&w->lock);
  w->closing = true;
  pthread_cond_broadcast(&w->changed);
  pthread_mutex_unlock(&w->lock);
  pthread_join(w->thread, NULL);
  if (close(w->fd) < 0)
    fail(w, errno);
  wav_free(w);
}

/* The thread takes no signals: those that end the run are the front end's. */
static int start_thread(struct wav *w) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&w->thread, NULL, wav_thread, w);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return error;
}

static bool open_file(struct wav *w, char *error, size_t size) {
  struct stat st;
  w->fd = open(w->path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
  if (w->fd < 0 || fstat(w->fd, &st) < 0) {
    snprintf(error, size, "-audiodev wav: cannot write to %s: %s", w->path, strerror(errno));
  } else if (!S_ISREG(st.st_mode)) {
    snprintf(error, size, "-audiodev wav: %s is not a plain file", w->path);
  } else if (ftruncate(w->fd, 0) < 0) {
    snprintf(error, size, "-audiodev wav: cannot write to %s: %s", w->path, strerror(errno));
  } else {
    return true;
  }
  if (w->fd >= 0)
    close(w->fd);
  return false;
}

static void *wav_open(const struct audiodev_option *o, char *error, size_t size) {
  struct wav *w = calloc(1, sizeof *w);
  if (!w) {
    snprintf(error, size, "out of memory");
    return NULL;
  }
  w->path = o->path ? o->path : "dragoman.wav";
  w->last = &w->first;
  pthread_mutex_init(&w->lock, NULL);
  pthread_cond_init(&w->changed, NULL);
  if (!open_file(w, error, size)) {
    wav_free(w);
    return NULL;
  }
  write_header(w);
  int e = start_thread(w);
  if (e) {
    snprintf(error, size, "-audiodev wav: cannot start a thread: %s", strerror(e));
    close(w->fd);
    wav_free(w);
    return NULL;
  }
  return w;
}

const struct audio_backend audio_wav = {
    .name = "wav",
    .help = "into a file: path=FILE (default dragoman.wav), 48 kHz, 16-bit stereo",
    .open = wav_open,
    .sink = {.write = wav_write, .rest = wav_rest, .info = wav_info},
    .close = wav_close,
};
