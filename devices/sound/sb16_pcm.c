/* SPDX-License-Identifier: MIT */
/*
 * Sound between memory and the Sound Blaster 16's converters: 8- and 16-bit samples, Creative's ADPCM,
 * silence and direct output, each sample at its time. A frame is fetched when its time is over, so a block's
 * interrupt comes at its length after its start to the nanosecond; in between a timer brings frames over
 * every millisecond, so that the DMA controller's count moves on for those who look. A transfer for which the
 * controller is not ready stands still until it is.
 *
 * Not modelled: the FIFO, by which the chip is a few samples ahead. Recordings are silence.
 */
#include <string.h>

#include "devices/dma8237.h"
#include "devices/sound/sb16_int.h"

#define STEP_NS 1000000
#define CHUNK 64u /* frames */
#define DIRECT_HZ 48000u
#define DIRECT_STEP_NS 5000000
#define DIRECT_HOLD_NS 250000000 /* after the last write the output counts as silent */

static int channel_of(const struct sb16 *s, int n) { return sb16_channel(s, s->pcm[n].wide); }

static void request(struct sb16 *s, int n, int level) {
  int channel = channel_of(s, n);
  const struct sb16_pcm *other = &s->pcm[!n];
  if (channel < 0 || s->pcm[n].kind == SB16_SILENCE)
    return;
  if (!level && other->kind != SB16_IDLE && !other->paused && channel == channel_of(s, !n))
    return; /* both on the 8-bit channel */
  dma_request(s->config.dma, channel, level);
}

/* --- ADPCM --- */

/*
 * One sample: a sign and a magnitude of `bits` in all, times a step that grows with large magnitudes and
 * shrinks with zero. At the lowest scale the magnitude itself counts, above it magnitude and a half, doubled
 * each time (the last of 2.6-bit coding being five for four).
 */
static int16_t decode(struct sb16_pcm *p, unsigned code, unsigned bits) {
  unsigned sign = 1u << (bits - 1), magnitude = code & (sign - 1);
  unsigned top = bits == 4 ? 3 : bits == 3 ? 4 : 5;
  unsigned grow = bits == 4 ? 5 : sign - 1;
  int delta = (int)magnitude;
  if (p->scale == 4 && bits == 3)
    delta = (int)(2 * magnitude + 1) * 5;
  else if (p->scale)
    delta = (int)(2 * magnitude + 1) << (p->scale - 1);
  int level = p->level + (code & sign ? -delta : delta);
  p->level = (uint8_t)(level < 0 ? 0 : level > 255 ? 255 : level);
  if (magnitude >= grow && p->scale < top)
    p->scale++;
  else if (!magnitude && p->scale)
    p->scale--;
  return (int16_t)((p->level - 128) * 256);
}

/* The next sample of the byte that is held, highest bits first. */
static int16_t next_sample(struct sb16_pcm *p) {
  unsigned bits = p->adpcm == 2 ? 4 : p->adpcm == 3 ? 3 : 2;
  unsigned code = p->held >> (8 - bits); /* of 2.6 bits the last lacks its lowest, which is zero */
  p->held = (uint8_t)(p->held << bits);
  p->held_count--;
  return decode(p, code, bits);
}

/* --- frames --- */

/* One unit from memory. False: none to be had. */
static bool fetch(struct sb16 *s, int n, int16_t *sample, uint8_t *byte) {
  struct sb16_pcm *p = &s->pcm[n];
  int channel = channel_of(s, n);
  uint8_t buf[2] = {0, 0};
  bool tc;
  if (channel < 0 || !dma_read_memory(s->config.dma, channel, buf, p->wide || channel > 4 ? 2 : 1, &tc))
    return false;
  if (p->wide) {
    unsigned v = buf[0] | (unsigned)buf[1] << 8;
    *sample = (int16_t)(p->sign ? v : v ^ 0x8000);
  } else {
    *sample = (int16_t)((p->sign ? buf[0] : buf[0] ^ 0x80) << 8);
    *byte = buf[0];
  }
  p->left--;
  return true;
}

/* One unit of silence to memory. */
static bool store(struct sb16 *s, int n) {
  struct sb16_pcm *p = &s->pcm[n];
  int channel = channel_of(s, n);
  uint8_t buf[2] = {p->wide || p->sign ? 0 : 0x80, p->sign ? 0 : 0x80};
  bool tc;
  if (channel < 0 || !dma_write_memory(s->config.dma, channel, buf, p->wide || channel > 4 ? 2 : 1, &tc))
    return false;
  p->left--;
  return true;
}

static bool adpcm_frame(struct sb16 *s, int n, struct audio_frame *f) {
  struct sb16_pcm *p = &s->pcm[n];
  int16_t unused;
  if (p->reference) {
    if (!fetch(s, n, &unused, &p->level))
      return false;
    p->reference = false;
    p->scale = 0;
    if (!p->left) { /* nothing but the reference */
      f->left = f->right = (int16_t)((p->level - 128) * 256);
      return true;
    }
  }
  if (!p->held_count) {
    if (!fetch(s, n, &unused, &p->held))
      return false;
    p->held_count = p->adpcm;
  }
  f->left = f->right = next_sample(p);
  return true;
}

/* False: the DMA controller had nothing for us. */
static bool next_frame(struct sb16 *s, int n, struct audio_frame *f) {
  struct sb16_pcm *p = &s->pcm[n];
  uint8_t unused;
  *f = (struct audio_frame){0, 0};
  if (p->kind == SB16_SILENCE) {
    p->left -= p->stereo && p->left > 1 ? 2 : 1;
    return true;
  }
  if (p->adpcm)
    return adpcm_frame(s, n, f);
  if (p->kind == SB16_RECORD)
    return store(s, n) && (!p->stereo || !p->left || store(s, n));
  if (!fetch(s, n, &f->left, &unused))
    return false;
  f->right = f->left;
  return !p->stereo || !p->left || fetch(s, n, &f->right, &unused);
}

static void stop(struct sb16 *s, int n) {
  request(s, n, 0);
  timer_cancel(&s->pcm[n].timer);
  s->pcm[n].kind = SB16_IDLE;
  s->pcm[n].stalled = false;
}

static void end_block(struct sb16 *s, int n) {
  struct sb16_pcm *p = &s->pcm[n];
  if (p->repeat)
    p->left = p->block;
  else
    stop(s, n);
  sb16_raise(s, n ? SB16_IRQ_16BIT : SB16_IRQ_8BIT);
}

/* --- the sample clock --- */

/* When so many frames since base are over, rounded up to a nanosecond. */
static int64_t time_of(const struct sb16_pcm *p, uint64_t frames) {
  return p->base + (int64_t)(((__int128)frames * p->den * NS_PER_SEC + p->num - 1) / p->num);
}

static uint64_t frames_to_end(const struct sb16_pcm *p) {
  if (p->reference)
    return p->left > 1 ? (uint64_t)(p->left - 1) * p->adpcm : 1;
  if (p->adpcm)
    return (uint64_t)p->left * p->adpcm + p->held_count;
  return (p->left + p->stereo) >> p->stereo;
}

static void schedule(struct sb16_pcm *p) {
  uint64_t step = (uint64_t)muldiv64(STEP_NS, p->num, (int64_t)p->den * NS_PER_SEC) + 1,
           end = frames_to_end(p);
  timer_arm(&p->timer, time_of(p, p->frames + (end < step ? end : step)));
}

static void restart_clock(struct sb16_pcm *p) {
  p->base = clock_now(p->timer.clock);
  p->frames = 0;
  p->stalled = false;
  schedule(p);
}

/* Bring over what is due. */
static void run(struct sb16 *s, int n) {
  struct sb16_pcm *p = &s->pcm[n];
  struct audio_frame frames[CHUNK];
  size_t count = 0;
  uint64_t due = (uint64_t)muldiv64(clock_now(s->dev.clock) - p->base, p->num, (int64_t)p->den * NS_PER_SEC);
  if (due > p->frames + p->num / p->den / 2) /* the machine stood still: half a second at most is made up */
    p->frames = due - p->num / p->den / 2;
  while (p->frames < due && p->kind != SB16_IDLE) {
    if (!next_frame(s, n, &frames[count])) {
      p->stalled = true;
      break;
    }
    p->frames++;
    if (p->kind != SB16_RECORD)
      count++;
    if (!p->left && !p->held_count)
      end_block(s, n);
    if (count == CHUNK) {
      audio_voice_write(s->voice, frames, count);
      count = 0;
    }
  }
  audio_voice_write(s->voice, frames, count);
  if (p->kind != SB16_IDLE && !p->stalled)
    schedule(p);
}

static void fire0(void *opaque) { run(opaque, 0); }
static void fire1(void *opaque) { run(opaque, 1); }

/* The DMA controller can serve a channel of ours. */
static void dma_run(void *opaque, int channel) {
  struct sb16 *s = opaque;
  if (s->id_wanted && channel == sb16_channel(s, false))
    sb16_id_run(s);
  for (int n = 0; n < 2; n++) {
    struct sb16_pcm *p = &s->pcm[n];
    if (p->kind != SB16_IDLE && p->stalled && !p->paused && channel == channel_of(s, n))
      restart_clock(p);
  }
}

void sb16_dma_connect(struct sb16 *s, bool on) {
  for (int wide = 0; wide < 2; wide++) {
    int channel = sb16_channel(s, wide);
    if (channel < 0 || (wide && channel == sb16_channel(s, false)))
      continue;
    if (!on)
      dma_request(s->config.dma, channel, 0);
    dma_register(s->config.dma, channel, on ? dma_run : NULL, on ? s : NULL);
  }
  for (int n = 0; on && n < 2; n++)
    if (s->pcm[n].kind != SB16_IDLE && !s->pcm[n].paused)
      request(s, n, 1);
}

/* --- what commands do --- */

void sb16_pcm_start(struct sb16 *s, int n, const struct sb16_play *play) {
  struct sb16_pcm *p = &s->pcm[n];
  uint8_t level = p->level, scale = p->scale; /* ADPCM without reference goes on where the last one ended */
  if (p->kind != SB16_IDLE)
    stop(s, n);
  *p = (struct sb16_pcm){.kind = (uint8_t)play->kind,
                         .wide = play->wide,
                         .stereo = play->stereo,
                         .sign = play->sign,
                         .repeat = play->repeat,
                         .adpcm = play->adpcm,
                         .reference = play->reference,
                         .level = level,
                         .scale = scale,
                         .block = play->units,
                         .left = play->units,
                         .num = play->num,
                         .den = play->den,
                         .timer = p->timer};
  if (play->kind != SB16_RECORD)
    audio_voice_rate(s->voice, play->num / play->den);
  restart_clock(p);
  request(s, n, 1);
}

void sb16_pcm_pause(struct sb16 *s, int n) {
  struct sb16_pcm *p = &s->pcm[n];
  if (p->kind == SB16_IDLE || p->paused)
    return;
  if (!p->stalled)
    run(s, n);
  if (p->kind == SB16_IDLE)
    return;
  p->paused = true;
  timer_cancel(&p->timer);
  request(s, n, 0);
}

void sb16_pcm_continue(struct sb16 *s, int n) {
  struct sb16_pcm *p = &s->pcm[n];
  if (p->kind == SB16_IDLE || !p->paused)
    return;
  p->paused = false;
  restart_clock(p);
  request(s, n, 1);
}

void sb16_pcm_last_block(struct sb16 *s, int n) { s->pcm[n].repeat = false; }

void sb16_pcm_repeat(struct sb16 *s, int n) {
  if (s->pcm[n].kind != SB16_IDLE)
    s->pcm[n].repeat = true;
}

void sb16_pcm_stop_all(struct sb16 *s) {
  for (int n = 0; n < 2; n++)
    if (s->pcm[n].kind != SB16_IDLE)
      stop(s, n);
  int channel = sb16_channel(s, false);
  if (s->id_wanted && channel >= 0)
    dma_request(s->config.dma, channel, 0);
  s->direct = false;
  timer_cancel(&s->direct_timer);
}

/* --- direct output --- */

/* What the converter held since the last look. */
static void direct_run(struct sb16 *s) {
  struct audio_frame frames[CHUNK];
  int64_t now = clock_now(s->dev.clock);
  uint64_t due = (uint64_t)muldiv64(now - s->direct_base, DIRECT_HZ, NS_PER_SEC);
  if (due > s->direct_frames + DIRECT_HZ / 2)
    s->direct_frames = due - DIRECT_HZ / 2;
  int16_t level = (int16_t)((s->direct_level - 128) * 256);
  for (unsigned i = 0; i < CHUNK; i++)
    frames[i] = (struct audio_frame){level, level};
  while (s->direct_frames < due) {
    size_t n = due - s->direct_frames < CHUNK ? (size_t)(due - s->direct_frames) : CHUNK;
    audio_voice_write(s->voice, frames, n);
    s->direct_frames += n;
  }
}

static bool plays(const struct sb16 *s) {
  return (s->pcm[0].kind != SB16_IDLE && !s->pcm[0].paused) ||
         (s->pcm[1].kind != SB16_IDLE && !s->pcm[1].paused);
}

static void direct_fire(void *opaque) {
  struct sb16 *s = opaque;
  int64_t now = clock_now(s->dev.clock);
  if (plays(s) || now - s->direct_last > DIRECT_HOLD_NS) {
    s->direct = false;
    return;
  }
  direct_run(s);
  timer_arm(&s->direct_timer, now + DIRECT_STEP_NS);
}

void sb16_direct(struct sb16 *s, uint8_t level) {
  int64_t now = clock_now(s->dev.clock);
  if (plays(s))
    return;
  s->direct_last = now;
  if (s->direct) {
    direct_run(s);
  } else {
    s->direct = true;
    s->direct_base = now;
    s->direct_frames = 0;
    audio_voice_rate(s->voice, DIRECT_HZ);
    timer_arm(&s->direct_timer, now + DIRECT_STEP_NS);
  }
  s->direct_level = level;
}

void sb16_pcm_init(struct sb16 *s) {
  for (int n = 0; n < 2; n++) {
    s->pcm[n].num = s->pcm[n].den = 1;
    timer_init(&s->pcm[n].timer, s->dev.clock, n ? "sb16-16bit" : "sb16-8bit", n ? fire1 : fire0, s);
  }
  timer_init(&s->direct_timer, s->dev.clock, "sb16-direct", direct_fire, s);
}
