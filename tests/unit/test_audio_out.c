/* SPDX-License-Identifier: MIT */
/* Sound's back ends: their options, the WAV file, and the ring between the mixer's clock and a sound card's.
 */
#include "frontends/audio_out.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "frontends/audio_ring.h"
#include "tests/unit/audio_bench.h"

/* --- options --- */

static struct options o;
static char error[512];

static int parse(const char *a, const char *b, const char *c, const char *d) {
  char *argv[] = {"dragoman", (char *)a, (char *)b, (char *)c, (char *)d};
  options_free(&o);
  error[0] = '\0';
  return options_parse(&o, c ? 5 : 3, argv, error, sizeof error);
}

static void bad(const char *a, const char *b, const char *c, const char *d, const char *expected) {
  ck_assert_msg(parse(a, b, c, d) == -1, "%s %s accepted", a, b);
  ck_assert_msg(strstr(error, expected) != NULL, "%s %s: '%s', not '%s'", a, b, error, expected);
}

START_TEST(command_line) {
  ck_assert_int_eq(parse("-audiodev", "wav,id=a,path=x.wav", "-audiodev", "sdl,out.buffer-length=40000"), 0);
  ck_assert_uint_eq(o.audiodev_count, 2);
  ck_assert_str_eq(o.audiodev[0].driver, "wav");
  ck_assert_str_eq(o.audiodev[0].id, "a");
  ck_assert_str_eq(o.audiodev[0].path, "x.wav");
  ck_assert_str_eq(o.audiodev[1].driver, "sdl");
  ck_assert_uint_eq(o.audiodev[1].buffer_us, 40000);
  ck_assert_int_eq(parse("-audiodev", "driver=none,id=a", "-machine", "pc,pcspk-audiodev=a"), 0);
  ck_assert_str_eq(o.pcspk_audiodev, "a");
  ck_assert_int_eq(parse("-audiodev", "help", NULL, NULL), 0);
  ck_assert_int_eq(o.action, ACTION_AUDIODEV_HELP);
  ck_assert_int_eq(parse("-soundhw", "pcspk", NULL, NULL), 0);
  bad("-audiodev", "alsa,id=a", NULL, NULL, "use sdl");
  bad("-audiodev", "loud", NULL, NULL, "none, sdl and wav");
  bad("-audiodev", "id=x", NULL, NULL, "begin with the back end");
  bad("-audiodev", "sdl,path=x", NULL, NULL, "'path' is not understood");
  bad("-audiodev", "sdl,out.buffer-length=1", NULL, NULL, "from 20000 to");
  bad("-audiodev", "wav,out.frequency=44100", NULL, NULL, "from 48000 to 48000");
  bad("-audiodev", "wav,id=a", "-audiodev", "none,id=a", "twice");
  bad("-audiodev", "wav,id=a", "-machine", "pcspk-audiodev=b", "no -audiodev with id=b");
  bad("-soundhw", "gus", NULL, NULL, "no such sound card");
  bad("-soundhw", "all", NULL, NULL, "name the cards");
  options_free(&o);
}
END_TEST

/* --- the file --- */

static uint32_t get32(const uint8_t *p) { return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24; }

static char path[] = "/tmp/dragoman-test-XXXXXX";

static void *wav_make(void) {
  memcpy(path + sizeof path - 7, "XXXXXX", 7);
  int fd = mkstemp(path);
  ck_assert_int_ge(fd, 0);
  close(fd);
  void *w = audio_wav.open(&(struct audiodev_option){.driver = "wav", .path = path}, error, sizeof error);
  ck_assert_msg(w != NULL, "%s", error);
  return w;
}

/* How many frames the header tells of, all of which are in the file. */
static uint32_t wav_frames(uint8_t *data, size_t size) {
  int fd = open(path, O_RDONLY);
  ssize_t n = read(fd, data, size);
  close(fd);
  ck_assert_int_ge(n, 44);
  ck_assert(!memcmp(data, "RIFF", 4) && !memcmp(data + 8, "WAVEfmt ", 8) && !memcmp(data + 36, "data", 4));
  static const uint8_t format[] = {16, 0, 0, 0, 1, 0, 2, 0, 0x80, 0xbb, 0, 0, 0, 0xee, 2, 0, 4, 0, 16, 0};
  ck_assert_int_eq(memcmp(data + 16, format, sizeof format), 0);
  ck_assert_uint_eq(get32(data + 4), get32(data + 40) + 36);
  ck_assert_uint_le(get32(data + 40) + 44, (size_t)n);
  return get32(data + 40) / 4;
}

START_TEST(wav) {
  static uint8_t data[4 * 200000];
  static struct audio_frame f[480];
  void *w = wav_make();
  ck_assert_uint_eq(wav_frames(data, sizeof data), 0);
  audio_wav.sink.write(w, NULL, 7000);
  for (int i = 0; i < 250; i++) {
    for (int k = 0; k < 480; k++)
      f[k] = (struct audio_frame){(int16_t)(i * 100 + k), (int16_t)-i};
    audio_wav.sink.write(w, f, 480);
  }
  /* As a kill would leave it: all but the last second is there. */
  for (int tries = 0; tries < 500 && wav_frames(data, sizeof data) < 7000 + 250 * 480 - AUDIO_RATE; tries++)
    usleep(10000);
  ck_assert_uint_ge(wav_frames(data, sizeof data), 7000 + 250 * 480 - AUDIO_RATE);
  audio_wav.sink.write(w, NULL, 1000);
  audio_wav.close(w);
  ck_assert_uint_eq(wav_frames(data, sizeof data), 7000 + 250 * 480 + 1000);
  const uint8_t *p = data + 44;
  for (int i = 0; i < 7000 * 4; i++)
    ck_assert_uint_eq(*p++, 0);
  for (int i = 0; i < 250; i++)
    for (int k = 0; k < 480; k++, p += 4)
      ck_assert_uint_eq(get32(p), (uint32_t)(uint16_t)(i * 100 + k) | (uint32_t)(uint16_t)-i << 16);
  unlink(path);
}
END_TEST

START_TEST(wav_full_disk) { /* one message, no crash, and a file whose header is true */
  static uint8_t data[4 * 200000];
  static struct audio_frame f[480];
  signal(SIGXFSZ, SIG_IGN);
  struct rlimit limit = {300000, 300000};
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  void *w = wav_make();
  for (int i = 0; i < 1000; i++)
    audio_wav.sink.write(w, f, 480);
  audio_wav.close(w);
  ck_assert_uint_ge(wav_frames(data, sizeof data), AUDIO_RATE);
  unlink(path);
  ck_assert_ptr_null(
      audio_wav.open(&(struct audiodev_option){.driver = "wav", .path = "/dev/null"}, error, 512));
  ck_assert_ptr_nonnull(strstr(error, "not a plain file"));
  ck_assert_ptr_null(
      audio_wav.open(&(struct audiodev_option){.driver = "wav", .path = "/proc/no"}, error, 512));
}
END_TEST

/* --- the ring --- */

/* A card whose clock is off by `parts` in a million and takes blocks of 1024; the mixer's ticks come up to 8
 * ms late. */
static void ring_run(struct bench *b, struct audio_ring *r, double parts, unsigned seconds,
                     struct audio_frame *out, unsigned *count) {
  double mixer = 0, card = 0, tick = 0.01, block = 1024.0 / (AUDIO_RATE * (1 + parts / 1e6)), late = 0;
  uint64_t n = 0;
  while (card < seconds) {
    if (mixer + late <= card) {
      struct audio_frame f[480];
      for (int i = 0; i < 480; i++, n++) {
        int16_t s = (int16_t)lrint(12000 * sin(2 * M_PI * 1000 * (double)(n % 48) / AUDIO_RATE));
        f[i] = (struct audio_frame){s, s};
      }
      audio_ring_write(r, f, 480);
      mixer += tick;
      late = (double)(rig_random(b->r) % 8000) / 1e6;
    } else {
      audio_ring_read(r, out + *count, 1024);
      *count += 1024;
      card += block;
    }
  }
}

START_TEST(ring) {
  static const double off[] = {0, 100, -100, 2000, -2000};
  for (unsigned k = 0; k < 5; k++) {
    struct bench b;
    bench_make(&b);
    struct audio_ring *r = calloc(1, sizeof *r);
    r->target = 60 * 48;
    struct audio_frame *out = malloc(sizeof *out * 60 * 49000);
    ck_assert(r && out);
    unsigned count = 0;
    ring_run(&b, r, off[k], 60, out, &count);
    ck_assert_uint_eq(r->underruns, 0);
    ck_assert_uint_eq(r->skipped + r->dropped, 0);
    double waiting = (r->head - r->tail) / 48.0;
    ck_assert_msg(waiting > 8 && waiting < 95, "%g ppm: %g ms", off[k], waiting);
    /* The tone is there, a little higher or lower, without a jump: a frame never differs more from the next
     * than the tone's slope. */
    int jump = 0;
    for (unsigned i = 20000; i < count; i++) {
      int d = abs(out[i].left - out[i - 1].left);
      jump = d > jump ? d : jump;
    }
    ck_assert_int_le(jump, (int)(12000 * 2 * M_PI * 1000 / AUDIO_RATE * 1.01));
    free(out);
    free(r);
    bench_free(&b);
  }
}
END_TEST

START_TEST(ring_starved) {
  struct audio_ring *r = calloc(1, sizeof *r);
  static struct audio_frame in[4800], out[4800];
  ck_assert_ptr_nonnull(r);
  for (int i = 0; i < 4800; i++)
    in[i] = (struct audio_frame){10000, 10000};
  r->target = 2880;
  audio_ring_write(r, in, 2400);
  audio_ring_read(r, out, 512);
  ck_assert_int_eq(out[511].left, 0); /* waits for more */
  audio_ring_write(r, in, 2400);
  audio_ring_read(r, out, 512);
  ck_assert_int_eq(out[0].left, 10000);
  for (int i = 0; i < 12; i++)
    audio_ring_read(r, out, 512);
  ck_assert_uint_eq(r->underruns, 1);
  ck_assert_int_eq(out[511].left, 0);
  /* The same at rest is no fault. */
  audio_ring_write(r, in, 4800);
  audio_ring_rest(r);
  for (int i = 0; i < 12; i++)
    audio_ring_read(r, out, 512);
  ck_assert_uint_eq(r->underruns, 1);
  /* A reader that was away does not stay behind for ever, and the writer does not overrun it. */
  for (int i = 0; i < 20; i++)
    audio_ring_write(r, in, 4800);
  ck_assert_uint_eq(r->head - r->tail, AUDIO_RING);
  ck_assert_uint_ge(r->dropped, 20 * 4800 - AUDIO_RING);
  audio_ring_read(r, out, 512);
  ck_assert_uint_ge(r->skipped, AUDIO_RING - 3 * 2880);
  ck_assert_uint_le(r->head - r->tail, 2880);
  free(r);
}
END_TEST

RIG_SUITE(audio_out, command_line, wav, wav_full_disk, ring, ring_starved)
