/* SPDX-License-Identifier: MIT */
/*
 * Scalar floating point: planets, a Mandelbrot set, the spectral norm of a matrix, a triangle rasteriser.
 * Compiled twice, for the x87 unit and for SSE2; BENCH_TABLE names the table and BENCH_UNIT the unit.
 */
#include "bench.h"

struct body {
  double x, y, z, vx, vy, vz, mass;
};

enum { BODIES = 5, SIDE = 64, NORM = 40, WIDTH = 160, HEIGHT = 100 };

static struct body bodies[BODIES];

static u32 bits_of(double d) {
  u32 w[2];
  __builtin_memcpy(w, &d, sizeof w);
  return bench_mix(w[0], w[1]);
}

static void init_bodies(void) {
  static const struct body start[BODIES] = {
      {0, 0, 0, 0, 0, 0, 39.5},
      {4.8, -1.2, -0.1, 0.6, 2.8, -0.02, 0.038},
      {8.3, 4.1, -0.4, -1.0, 1.8, 0.008, 0.011},
      {12.9, -15.1, -0.2, 1.1, 0.9, -0.01, 0.0017},
      {15.4, -25.9, 0.18, 0.98, 0.6, -0.03, 0.002},
  };
  for (int i = 0; i < BODIES; i++)
    bodies[i] = start[i];
}

static BENCH_NOINLINE void move(double dt) {
  for (int i = 0; i < BODIES; i++) {
    struct body *a = &bodies[i];
    for (int j = i + 1; j < BODIES; j++) {
      struct body *b = &bodies[j];
      double dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
      double square = dx * dx + dy * dy + dz * dz;
      double force = dt / (square * __builtin_sqrt(square));
      a->vx -= dx * b->mass * force, a->vy -= dy * b->mass * force, a->vz -= dz * b->mass * force;
      b->vx += dx * a->mass * force, b->vy += dy * a->mass * force, b->vz += dz * a->mass * force;
    }
  }
  for (int i = 0; i < BODIES; i++) {
    bodies[i].x += dt * bodies[i].vx;
    bodies[i].y += dt * bodies[i].vy;
    bodies[i].z += dt * bodies[i].vz;
  }
}

static u32 run_bodies(u32 n) {
  u32 sum = 0;
  for (u32 k = 0; k < n; k++) {
    for (int i = 0; i < 100; i++)
      move(0.01);
    sum = bench_mix(sum, bits_of(bodies[0].x) ^ bits_of(bodies[4].vz));
  }
  return sum;
}

static u32 run_mandelbrot(u32 n) {
  u32 sum = 0;
  for (u32 k = 0; k < n; k++)
    for (int py = 0; py < SIDE; py++)
      for (int px = 0; px < SIDE; px++) {
        double cr = 3.0 * px / SIDE - 2.1, ci = 2.4 * py / SIDE - 1.2, zr = 0, zi = 0;
        u32 i = 0;
        for (; i < 50; i++) {
          double r2 = zr * zr, i2 = zi * zi;
          if (r2 + i2 > 4.0)
            break;
          zi = 2.0 * zr * zi + ci;
          zr = r2 - i2 + cr;
        }
        sum = bench_mix(sum, i);
      }
  return sum;
}

static double norm_u[NORM], norm_v[NORM], norm_t[NORM];

static inline double element(int i, int j) { return 1.0 / ((i + j) * (i + j + 1) / 2 + i + 1); }

static BENCH_NOINLINE void times(const double *v, double *out, int transposed) {
  for (int i = 0; i < NORM; i++) {
    double sum = 0;
    for (int j = 0; j < NORM; j++)
      sum += (transposed ? element(j, i) : element(i, j)) * v[j];
    out[i] = sum;
  }
}

static u32 run_norm(u32 n) {
  u32 sum = 0;
  for (u32 k = 0; k < n; k++) {
    for (int i = 0; i < NORM; i++)
      norm_u[i] = 1.0;
    for (int i = 0; i < 2; i++) {
      times(norm_u, norm_t, 0);
      times(norm_t, norm_v, 1);
      times(norm_v, norm_t, 0);
      times(norm_t, norm_u, 1);
    }
    double uv = 0, vv = 0;
    for (int i = 0; i < NORM; i++) {
      uv += norm_u[i] * norm_v[i];
      vv += norm_v[i] * norm_v[i];
    }
    sum = bench_mix(sum, bits_of(__builtin_sqrt(uv / vv)));
  }
  return sum;
}

static u32 picture[HEIGHT][WIDTH];
static float depth[HEIGHT][WIDTH];

static BENCH_NOINLINE void triangle(const float *a, const float *b, const float *c) {
  float area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
  if (area == 0)
    return;
  float scale = 1 / area;
  for (int y = 0; y < HEIGHT; y += 2)
    for (int x = 0; x < WIDTH; x += 4) {
      float px = (float)x + 0.5f, py = (float)y + 0.5f;
      float u = ((b[0] - px) * (c[1] - py) - (b[1] - py) * (c[0] - px)) * scale;
      float v = ((c[0] - px) * (a[1] - py) - (c[1] - py) * (a[0] - px)) * scale;
      float w = 1 - u - v;
      if (u < 0 || v < 0 || w < 0)
        continue;
      float z = a[2] * u + b[2] * v + c[2] * w;
      if (z >= depth[y][x])
        continue;
      depth[y][x] = z;
      picture[y][x] = (u32)(int)(u * 255) << 16 | (u32)(int)(v * 255) << 8 | (u32)(int)(w * 255);
    }
}

static u32 run_raster(u32 n) {
  u32 sum = 0, seed = 21;
  for (u32 k = 0; k < n; k++) {
    float p[3][3];
    if (k % 16 == 0)
      for (int y = 0; y < HEIGHT; y++)
        for (int x = 0; x < WIDTH; x++)
          depth[y][x] = 2;
    for (int i = 0; i < 3; i++) {
      p[i][0] = (float)(int)(bench_random(&seed) >> 8 & 255) - 40;
      p[i][1] = (float)(int)(bench_random(&seed) >> 8 & 127) - 10;
      p[i][2] = (float)(int)(bench_random(&seed) >> 8 & 1023) / 1024.0f;
    }
    triangle(p[0], p[1], p[2]);
    sum = bench_mix(sum, picture[HEIGHT / 2][WIDTH / 2]);
  }
  return sum;
}

const struct bench_kernel BENCH_TABLE[] = {
    {"n-body-" BENCH_UNIT, BENCH_UNIT, 20, init_bodies, run_bodies},
    {"mandelbrot-" BENCH_UNIT, BENCH_UNIT, 2, NULL, run_mandelbrot},
    {"spectral-norm-" BENCH_UNIT, BENCH_UNIT, 20, NULL, run_norm},
    {"rasteriser-" BENCH_UNIT, BENCH_UNIT, 100, NULL, run_raster},
    {NULL, NULL, 0, NULL, NULL},
};
