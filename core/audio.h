/* SPDX-License-Identifier: MIT */
/*
 * Sound from chips to front ends. A chip runs by its own timers in virtual time: it fetches what a block's
 * duration needs and writes the frames to its voice; or it is asked at every tick what has sounded since the
 * last (audio_voice_pull). The mixer wakes every AUDIO_TICK of virtual time, takes from each voice what
 * belongs to that time (resampled), and hands the sum to the sink, if there is one. While nothing sounds it
 * rests. So what is played depends on virtual time only, and a counted run plays the same bytes each time. A
 * sink that plays in real time deals with the difference of the clocks itself.
 *
 * Callers hold the machine lock.
 */
#ifndef CORE_AUDIO_H
#define CORE_AUDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/clock.h"

struct state_part;

#define AUDIO_RATE 48000u             /* of the mixer's output, frames per second */
#define AUDIO_TICK (NS_PER_SEC / 100) /* ns */
#define AUDIO_TICK_FRAMES (AUDIO_RATE / 100)
#define AUDIO_GAIN_ONE 65536u

struct audio_frame {
  int16_t left, right;
};

struct audio;
struct audio_voice;

struct audio_sink { /* where mixed sound goes; AUDIO_RATE frames per second of virtual time */
  /* The next frames, beginning at virtual time 0; frames NULL: so much silence (also long after the time). */
  void (*write)(void *opaque, const struct audio_frame *frames, uint64_t count);
  void (*rest)(void *opaque);            /* nothing will come until something sounds again; may be NULL */
  void (*info)(void *opaque, FILE *out); /* a line about itself; may be NULL */
  void *opaque;
};

struct audio *audio_new(struct clock *clock); /* NULL when out of memory */
void audio_free(struct audio *a);
/* NULL: none, and the mixer rests. The sink's time begins where the machine's is now. */
void audio_set_sink(struct audio *a, const struct audio_sink *sink);
bool audio_listening(const struct audio *a); /* is there a sink? Without one writing is pointless */
/* For snapshots: the mixer and its voices. */
void audio_each_part(struct audio *a, void (*each)(void *opaque, const struct state_part *part), void *opaque);
void audio_info(struct audio *a, FILE *out); /* the voices, for the monitor */

/*
 * A source of sound, owned by `a`, silent at first. NULL when out of memory, and for `a` NULL (a chip on a
 * bench without a mixer); all functions below take a NULL voice and do nothing. The name must outlive it.
 */
struct audio_voice *audio_voice_new(struct audio *a, const char *name);
void audio_voice_free(struct audio_voice *v); /* before its chip goes */
/* The frames written from now on are so many per second, 1000 to 200000 (others are brought to these). */
void audio_voice_rate(struct audio_voice *v, uint32_t hz);
/* 0 to 4 * AUDIO_GAIN_ONE. */
void audio_voice_gain(struct audio_voice *v, uint32_t left, uint32_t right);
/*
 * Add frames to what waits in the voice. A voice that was dry waits for two ticks from this on before it
 * plays, so that later writes may come in lumps of any length; one that runs dry plays silence. Beyond half a
 * second the oldest are dropped.
 */
void audio_voice_write(struct audio_voice *v, const struct audio_frame *frames, size_t count);
void audio_voice_stop(struct audio_voice *v); /* drop what waits */
/*
 * For chips without blocks: `pull` is called before each mix, writes the frames of the time that passed, and
 * says whether there will be more. When it said no it rests until audio_voice_wake. May come when nobody
 * listens.
 */
void audio_voice_pull(struct audio_voice *v, bool (*pull)(void *opaque), void *opaque);
void audio_voice_wake(struct audio_voice *v);
bool audio_voice_awake(const struct audio_voice *v); /* will its pull be called? */

#endif
