/* SPDX-License-Identifier: MIT */
/* How strong a tone is in some sound: the amplitude of one frequency over a Hann window. */
#ifndef TESTS_UNIT_SPECTRUM_H
#define TESTS_UNIT_SPECTRUM_H

#include <math.h>
#include <stddef.h>

#include "core/audio.h"

enum spectrum_side { LEFT, RIGHT };

static inline int side_of(struct audio_frame f, enum spectrum_side side) {
  return side == LEFT ? f.left : f.right;
}

/* Amplitude (peak) of `hz` in frames at `rate` per second. */
static inline double tone(const struct audio_frame *frames, size_t count, double rate, double hz,
                          enum spectrum_side side) {
  double re = 0, im = 0, weight = 0;
  for (size_t i = 0; i < count; i++) {
    double w = 0.5 - 0.5 * cos(2 * M_PI * ((double)i + 0.5) / (double)count);
    double a = 2 * M_PI * hz * (double)i / rate, v = side_of(frames[i], side) * w;
    re += v * cos(a);
    im += v * sin(a);
    weight += w;
  }
  return 2 * sqrt(re * re + im * im) / weight;
}

/* Root of the mean square, of what is not constant. */
static inline double loudness(const struct audio_frame *frames, size_t count, enum spectrum_side side) {
  double sum = 0, square = 0;
  for (size_t i = 0; i < count; i++) {
    sum += side_of(frames[i], side);
    square += (double)side_of(frames[i], side) * side_of(frames[i], side);
  }
  double mean = sum / (double)count;
  return sqrt(fmax(0, square / (double)count - mean * mean));
}

static inline int peak(const struct audio_frame *frames, size_t count, enum spectrum_side side) {
  int top = 0;
  for (size_t i = 0; i < count; i++) {
    int v = side_of(frames[i], side);
    if (v > top)
      top = v;
    if (-v > top)
      top = -v;
  }
  return top;
}

#endif
