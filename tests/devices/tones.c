/* SPDX-License-Identifier: MIT */
/*
 * What was played? tones FILE.wav [LEFT,RIGHT ...]: the stretches of sound in a WAV file (16-bit stereo)
 * between silences of a tenth of a second or more, each with its length and, for both sides, the strongest
 * tone and how much of the sound's power it is. With frequencies (0: silence on that side), there must be as
 * many stretches, of 0.8 to 1.4 s, and nine tenths of each side's power must be that tone; else the status
 * is 1.
 */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SILENT 40 /* amplitude */
#define GAP 0.1   /* s */
#define HZ_MIN 40
#define HZ_MAX 4000
#define MEASURE 0.5 /* s, of the middle of a stretch */

struct wav {
  uint32_t rate, frames;
  int16_t *samples; /* left, right, left ... */
};

static uint32_t get32(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool load(const char *path, struct wav *w) {
  FILE *in = fopen(path, "rb");
  uint8_t header[44];
  if (!in || fread(header, 1, 44, in) != 44 || memcmp(header, "RIFF", 4) ||
      memcmp(header + 8, "WAVEfmt ", 8) || header[20] != 1 || header[22] != 2 || header[34] != 16) {
    fprintf(stderr, "%s: not a WAV file of 16-bit stereo\n", path);
    if (in)
      fclose(in);
    return false;
  }
  w->rate = get32(header + 24);
  uint32_t bytes = get32(header + 40);
  w->samples = malloc(bytes + 4);
  w->frames = w->samples ? (uint32_t)fread(w->samples, 4, bytes / 4, in) : 0;
  fclose(in);
  return true;
}

/* Part of the power of one side, without its mean, that is at `hz` (0 to 1). */
static double part(const struct wav *w, uint32_t first, uint32_t count, int side, double hz) {
  double re = 0, im = 0, weight = 0, power = 0, mean = 0;
  for (uint32_t i = 0; i < count; i++)
    mean += w->samples[(first + i) * 2 + side] / (double)count;
  for (uint32_t i = 0; i < count; i++) {
    double a = 2 * M_PI * hz * i / w->rate, h = 0.5 - 0.5 * cos(2 * M_PI * i / count);
    double v = (w->samples[(first + i) * 2 + side] - mean) * h;
    re += v * cos(a);
    im += v * sin(a);
    weight += h;
    power += v * v;
  }
  double amplitude = 2 * sqrt(re * re + im * im) / weight,
         window = 0.375 * count; /* sum of the Hann window squared */
  return power > 0 ? amplitude * amplitude / 2 * window / power : 0;
}

static int loudest(const struct wav *w, uint32_t first, uint32_t count, int side) {
  int top = 0;
  for (uint32_t i = first; i < first + count; i++)
    top = abs(w->samples[i * 2 + side]) > top ? abs(w->samples[i * 2 + side]) : top;
  return top;
}

static int strongest(const struct wav *w, uint32_t first, uint32_t count, int side) {
  int best = 0;
  double most = 0;
  for (int hz = HZ_MIN; hz <= HZ_MAX; hz += 2) {
    double p = part(w, first, count, side, hz);
    if (p > most) {
      most = p;
      best = hz;
    }
  }
  return best;
}

/* The next stretch of sound from *at on. */
static bool stretch(const struct wav *w, uint32_t *at, uint32_t *first, uint32_t *count) {
  uint32_t gap = (uint32_t)(GAP * w->rate), quiet = 0, i = *at;
  while (i < w->frames && abs(w->samples[i * 2]) < SILENT && abs(w->samples[i * 2 + 1]) < SILENT)
    i++;
  *first = i;
  for (; i < w->frames && quiet < gap; i++) {
    bool sounds = abs(w->samples[i * 2]) >= SILENT || abs(w->samples[i * 2 + 1]) >= SILENT;
    quiet = sounds ? 0 : quiet + 1;
  }
  *count = i - *first - quiet;
  *at = i;
  return *first < w->frames;
}

/* One side: as wanted? `hz` negative: only tell. */
static bool side_is(const struct wav *w, uint32_t first, uint32_t count, int side, double hz) {
  uint32_t middle = (uint32_t)(MEASURE * w->rate);
  if (middle > count)
    middle = count;
  first += (count - middle) / 2;
  if (loudest(w, first, middle, side) < SILENT) {
    printf(" silent");
    return hz <= 0;
  }
  if (hz < 0)
    hz = strongest(w, first, middle, side);
  double p = hz > 0 ? part(w, first, middle, side, hz) : 0;
  printf(" %.1f Hz %.1f %%", hz, p * 100);
  if (p < 0.9 && hz >= 0)
    printf(" (%d Hz is stronger)", strongest(w, first, middle, side));
  return p >= 0.9;
}

int main(int argc, char **argv) {
  struct wav w;
  if (argc < 2 || !load(argv[1], &w))
    return 2;
  uint32_t at = 0, first, count;
  int n = 0;
  bool good = true;
  while (stretch(&w, &at, &first, &count)) {
    double hz[2] = {-1, -1}, seconds = (double)count / w.rate;
    if (argc > 2 && (n + 2 >= argc || sscanf(argv[n + 2], "%lf,%lf", &hz[0], &hz[1]) != 2))
      good = false;
    printf("%.3f s: %.3f s,", (double)first / w.rate, seconds);
    good &= side_is(&w, first, count, 0, hz[0]) && (argc < 3 || (seconds > 0.8 && seconds < 1.4));
    printf(" |");
    good &= side_is(&w, first, count, 1, hz[1]);
    printf("\n");
    n++;
  }
  free(w.samples);
  if (argc < 3)
    return 0;
  return good && n == argc - 2 ? 0 : 1;
}
