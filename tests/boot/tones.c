/* SPDX-License-Identifier: MIT */
/*
 * What is in a WAV file (16-bit stereo), for sound.sh: a line for each sound between silences of a quarter of
 * a second or more: where it begins and how long it is (seconds); for either channel its frequency (Hz, by
 * its zero crossings), its amplitude, what is not the tone (dB below it, on the left, by a fit), and how many
 * gaps and jumps it has.
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOUD 500

static int16_t (*f)[2];
static long rate;

static double frequency(long from, long to, int side) {
  long first = -1, last = -1, n = 0;
  double begin = 0, end = 0;
  for (long i = from + 1; i < to; i++) {
    if (f[i - 1][side] >= 0 || f[i][side] < 0)
      continue;
    double at = (double)i - 1 + f[i - 1][side] / (double)(f[i - 1][side] - f[i][side]);
    if (first < 0) {
      first = i;
      begin = at;
    } else {
      n++;
    }
    last = i;
    end = at;
  }
  return last > first ? (double)n * (double)rate / (end - begin) : 0;
}

static double fit(long from, long to, int side, double hz, double *rest) {
  double c = 0, s = 0, mean = 0, power = 0, count = (double)(to - from);
  for (long i = from; i < to; i++)
    mean += f[i][side] / count;
  for (long i = from; i < to; i++) {
    double w = 2 * M_PI * hz * (double)(i - from) / (double)rate;
    c += (f[i][side] - mean) * cos(w) * 2 / count;
    s += (f[i][side] - mean) * sin(w) * 2 / count;
  }
  for (long i = from; i < to; i++) {
    double w = 2 * M_PI * hz * (double)(i - from) / (double)rate;
    double d = f[i][side] - mean - c * cos(w) - s * sin(w);
    power += d * d / count;
  }
  *rest = 10 * log10((power + 1e-9) / ((c * c + s * s) / 2 + 1e-9));
  return hypot(c, s);
}

static void sound(long from, long to) {
  long edge = (to - from) / 20, quiet = 0, gaps = 0, inner = to - edge;
  double left = frequency(from + edge, inner, 0), right = frequency(from + edge, inner, 1), rest, unused;
  /* Over a second in the middle: the fit is to be one of the tone, not of the last digit of its frequency. */
  long middle = (from + to) / 2, most = (to - from) / 2 - edge, half = most < rate / 2 ? most : rate / 2;
  double level = fit(middle - half, middle + half, 0, left, &rest);
  double level2 = fit(middle - half, middle + half, 1, right, &unused);
  for (long i = from + edge; i < inner; i++) { /* a tone is never flat for an eighth of its period */
    quiet = abs(f[i][0]) < LOUD / 2 && left > 0 ? quiet + 1 : 0;
    gaps += quiet == (long)((double)rate / left / 8) + 1;
  }
  printf("%.4f %.4f %.3f %.3f %.0f %.0f %.1f %ld\n", (double)from / (double)rate,
         (double)(to - from) / (double)rate, left, right, level, level2, rest, gaps);
}

int main(int argc, char **argv) {
  uint8_t header[44];
  FILE *in = argc > 1 ? fopen(argv[1], "rb") : NULL;
  if (!in || fread(header, 1, 44, in) != 44 || memcmp(header, "RIFF", 4) || memcmp(header + 36, "data", 4)) {
    fprintf(stderr, "tones: no WAV file\n");
    return 1;
  }
  uint32_t bytes, hz;
  memcpy(&hz, header + 24, 4);
  memcpy(&bytes, header + 40, 4);
  rate = (long)hz;
  f = malloc(bytes + 4);
  long count = f ? (long)fread(f, 4, bytes / 4, in) : 0, from = -1, last = 0;
  for (long i = 0; i <= count; i++) {
    if (from >= 0 && (i == count || i - last > rate / 4)) {
      sound(from, last + 1);
      from = -1;
    }
    if (i < count && (abs(f[i][0]) > LOUD || abs(f[i][1]) > LOUD)) {
      from = from < 0 ? i : from;
      last = i;
    }
  }
  fclose(in);
  return 0;
}
