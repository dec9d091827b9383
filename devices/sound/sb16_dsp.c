/* SPDX-License-Identifier: MIT */
/*
 * The Sound Blaster's digital signal processor: reset, and the commands of DSP 1.xx to 4.xx (Creative, "Sound
 * Blaster Series Hardware Programming Guide", ch. 2, 3 and 6; E2h, E4h, E8h, F0h and up as drivers use them).
 * High-speed commands are plain ones, and the speaker switch only tells its state, as in DSP 4.xx.
 *
 * Not modelled: the advanced signal processor (its commands take their arguments and answer FFh), MIDI input,
 * what analogue input there is (silence), the sine generator F0h of early versions. A version below 4 is
 * told, but takes the commands of 4.xx all the same.
 */
#include <string.h>

#include "devices/dma8237.h"

#include "devices/sound/sb16_int.h"

#define RESET_NS 10000 /* until AAh can be read; the guide's 100 us is its longest */
#define BUSY_NS 1000   /* after a byte */
#define IRQ_NS 10000   /* F2h, F3h */
/* Drivers wait by a number of reads, each a microsecond on an ISA bus; so each counts as one, however fast.
 */
#define READ_NS 1000

#define RATE_MIN 4000u /* Hz */
#define RATE_MAX 50000u
#define PERIOD_MIN 20u /* us, of a byte by time constant */

static const char copyright[] = "COPYRIGHT (C) CREATIVE TECHNOLOGY LTD, 1992.";

/* --- what the host reads --- */

static void answer(struct sb16 *s, uint8_t value) {
  if (s->queue_count == sizeof s->queue)
    return;
  s->queue[(uint8_t)(s->queue_first + s->queue_count) % sizeof s->queue] = value;
  s->queue_count++;
}

static void clear_answers(struct sb16 *s) {
  s->queue_count = 0;
  s->queue_from = 0;
}

static bool has_data(const struct sb16 *s) {
  return s->queue_count && clock_now(s->dev.clock) >= s->queue_from;
}

uint8_t sb16_dsp_status(struct sb16 *s) {
  bool data = has_data(s);
  if (!data)
    s->queue_from -= READ_NS;
  return data ? 0xff : 0x7f;
}

uint8_t sb16_dsp_read(struct sb16 *s) {
  if (has_data(s)) {
    s->last_read = s->queue[s->queue_first];
    s->queue_first = (uint8_t)((s->queue_first + 1) % sizeof s->queue);
    s->queue_count--;
  }
  return s->last_read;
}

uint8_t sb16_dsp_write_status(struct sb16 *s) {
  bool busy = (s->strobe & 1) || clock_now(s->dev.clock) < s->busy_until;
  if (busy)
    s->busy_until -= READ_NS;
  return busy ? 0xff : 0x7f;
}

/* --- transfers --- */

/* Frames per second. For the commands before 4.xx a time constant counts the samples of both channels. */
static void sample_rate(const struct sb16 *s, unsigned channels, struct sb16_play *p) {
  if (s->rate_hz) {
    p->num = s->rate;
    p->den = 1;
  } else {
    uint32_t period = 256u - s->time_constant;
    p->num = 1000000;
    p->den = (period < PERIOD_MIN ? PERIOD_MIN : period) * channels;
  }
}

static void old_transfer(struct sb16 *s, enum sb16_kind kind, bool repeat, uint32_t units) {
  struct sb16_play p = {.kind = kind, .repeat = repeat, .units = units, .stereo = sb16_pro_stereo(s)};
  sample_rate(s, p.stereo ? 2 : 1, &p);
  sb16_pcm_start(s, 0, &p);
}

static void adpcm_transfer(struct sb16 *s, uint8_t samples, bool reference, bool repeat, uint32_t units) {
  struct sb16_play p = {
      .kind = SB16_PLAY, .repeat = repeat, .units = units, .adpcm = samples, .reference = reference};
  sample_rate(s, 1, &p);
  sb16_pcm_start(s, 0, &p);
}

/* Bxh, Cxh: bits 3 input, 2 auto-init, 1 FIFO (always on here); mode: bits 5 stereo, 4 signed. */
static void new_transfer(struct sb16 *s) {
  bool input = s->command & 8, wide = s->command < 0xc0;
  struct sb16_play p = {
      .kind = input ? SB16_RECORD : SB16_PLAY,
      .wide = wide,
      .repeat = s->command & 4,
      .stereo = s->arg[0] & 0x20,
      .sign = s->arg[0] & 0x10,
      .units = (s->arg[1] | (uint32_t)s->arg[2] << 8) + 1,
  };
  sample_rate(s, 1, &p);
  sb16_pcm_start(s, wide, &p);
}

static void set_rate(struct sb16 *s) {
  uint32_t hz = (uint32_t)s->arg[0] << 8 | s->arg[1];
  s->rate = (uint16_t)(hz < RATE_MIN ? RATE_MIN : hz > RATE_MAX ? RATE_MAX : hz);
  s->rate_hz = true;
}

/* --- E2h: what a byte makes of the sum goes to memory by DMA --- */

static void identify_dma(struct sb16 *s) {
  s->id_sum = (uint8_t)(s->id_sum + (s->arg[0] ^ s->id_mask));
  s->id_mask = (uint8_t)(s->id_mask >> 2 | s->id_mask << 6);
  int channel = sb16_channel(s, false);
  s->id_wanted = true;
  if (channel >= 0)
    dma_request(s->config.dma, channel, 1);
}

void sb16_id_run(struct sb16 *s) {
  int channel = sb16_channel(s, false);
  bool tc;
  if (dma_write_memory(s->config.dma, channel, &s->id_sum, 1, &tc)) {
    s->id_wanted = false;
    if (s->pcm[0].kind == SB16_IDLE || s->pcm[0].kind == SB16_SILENCE)
      dma_request(s->config.dma, channel, 0);
  }
}

static void irq_timer(void *opaque) {
  struct sb16 *s = opaque;
  uint8_t irqs = s->later;
  s->later = 0;
  sb16_raise(s, irqs);
}

static void raise_later(struct sb16 *s, uint8_t irqs) {
  s->later |= irqs;
  timer_arm(&s->irq_timer, clock_now(s->dev.clock) + IRQ_NS);
}

/* --- commands --- */

static uint8_t arguments(uint8_t command) {
  if (command >= 0xb0 && command < 0xd0)
    return 3;
  switch (command) {
  case 0x04: /* ASP */
  case 0x08:
  case 0x0f:
  case 0x10:
  case 0x38:
  case 0x40:
  case 0xe0:
  case 0xe2:
  case 0xe4:
  case 0xf9: return 1;
  case 0x05: /* ASP */
  case 0x0e:
  case 0x14:
  case 0x15:
  case 0x16:
  case 0x17:
  case 0x24:
  case 0x41:
  case 0x42:
  case 0x48:
  case 0x74:
  case 0x75:
  case 0x76:
  case 0x77:
  case 0x80:
  case 0xfa: return 2;
  default: return 0;
  }
}

/* 10h to 9Fh: sound by the commands of DSP 1.xx to 3.xx. */
static void old_command(struct sb16 *s) {
  uint32_t length = (s->arg[0] | (uint32_t)s->arg[1] << 8) + 1, block = s->block + 1u;
  switch (s->command) {
  case 0x10: sb16_direct(s, s->arg[0]); break;
  case 0x14:
  case 0x15: old_transfer(s, SB16_PLAY, false, length); break;
  case 0x16: adpcm_transfer(s, 4, false, false, length); break;
  case 0x17: adpcm_transfer(s, 4, true, false, length); break;
  case 0x1c: old_transfer(s, SB16_PLAY, true, block); break;
  case 0x1f: adpcm_transfer(s, 4, true, true, block); break;
  case 0x20: answer(s, 0x80); break; /* direct input: silence */
  case 0x24: old_transfer(s, SB16_RECORD, false, length); break;
  case 0x2c: old_transfer(s, SB16_RECORD, true, block); break;
  case 0x34:
  case 0x35:
  case 0x36:
  case 0x37: s->uart = true; break;
  case 0x38: break; /* a byte for the MIDI cable, where nobody is */
  case 0x40:
    s->time_constant = s->arg[0];
    s->rate_hz = false;
    break;
  case 0x41: /* there is one sample clock, for output and input */
  case 0x42: set_rate(s); break;
  case 0x45: sb16_pcm_repeat(s, 0); break;
  case 0x47: sb16_pcm_repeat(s, 1); break;
  case 0x48: s->block = (uint16_t)(length - 1); break;
  case 0x74: adpcm_transfer(s, 2, false, false, length); break;
  case 0x75: adpcm_transfer(s, 2, true, false, length); break;
  case 0x76: adpcm_transfer(s, 3, false, false, length); break;
  case 0x77: adpcm_transfer(s, 3, true, false, length); break;
  case 0x7d: adpcm_transfer(s, 2, true, true, block); break;
  case 0x7f: adpcm_transfer(s, 3, true, true, block); break;
  case 0x80: old_transfer(s, SB16_SILENCE, false, length); break;
  case 0x90: old_transfer(s, SB16_PLAY, true, block); break;
  case 0x91: old_transfer(s, SB16_PLAY, false, block); break;
  case 0x98: old_transfer(s, SB16_RECORD, true, block); break;
  case 0x99: old_transfer(s, SB16_RECORD, false, block); break;
  default: log_print(LOG_UNIMP, "sb16: DSP command %02x\n", s->command); break;
  }
}

/* D0h and up: control and identification. */
static void new_command(struct sb16 *s) {
  switch (s->command) {
  case 0xd0: sb16_pcm_pause(s, 0); break;
  case 0xd1: s->speaker = true; break;
  case 0xd3: s->speaker = false; break;
  case 0xd4: sb16_pcm_continue(s, 0); break;
  case 0xd5: sb16_pcm_pause(s, 1); break;
  case 0xd6: sb16_pcm_continue(s, 1); break;
  case 0xd8: answer(s, s->speaker ? 0xff : 0x00); break;
  case 0xd9: sb16_pcm_last_block(s, 1); break;
  case 0xda: sb16_pcm_last_block(s, 0); break;
  case 0xe0: answer(s, (uint8_t)~s->arg[0]); break;
  case 0xe1:
    clear_answers(s);
    answer(s, (uint8_t)(s->config.version >> 8));
    answer(s, (uint8_t)s->config.version);
    break;
  case 0xe2: identify_dma(s); break;
  case 0xe3:
    clear_answers(s);
    for (size_t i = 0; i < sizeof copyright; i++) /* with its NUL */
      answer(s, (uint8_t)copyright[i]);
    break;
  case 0xe4: s->test = s->arg[0]; break;
  case 0xe8: answer(s, s->test); break;
  case 0xf2: raise_later(s, SB16_IRQ_8BIT); break;
  case 0xf3: raise_later(s, SB16_IRQ_16BIT); break;
  case 0xf8: answer(s, 0); break;
  case 0xf9: answer(s, s->ram[s->arg[0]]); break;
  case 0xfa: s->ram[s->arg[0]] = s->arg[1]; break;
  case 0xfb: /* status: bit 0 8-bit, bit 1 16-bit transfer */
    answer(s, (uint8_t)((s->pcm[0].kind != SB16_IDLE) | (s->pcm[1].kind != SB16_IDLE) << 1));
    break;
  case 0xfc: /* auxiliary status: bit 2 8-bit, bit 4 16-bit auto-init */
    answer(s, (uint8_t)((s->pcm[0].repeat && s->pcm[0].kind != SB16_IDLE) << 2 |
                        (s->pcm[1].repeat && s->pcm[1].kind != SB16_IDLE) << 4));
    break;
  default: log_print(LOG_UNIMP, "sb16: DSP command %02x\n", s->command); break;
  }
}

static void execute(struct sb16 *s) {
  if (s->command < 0x10) { /* the signal processor that is not there */
    if (s->command == 0x08 || s->command == 0x0f)
      answer(s, 0xff);
  } else if (s->command < 0xb0) {
    old_command(s);
  } else if (s->command < 0xd0) {
    new_transfer(s);
  } else {
    new_command(s);
  }
}

void sb16_dsp_write(struct sb16 *s, uint8_t value) {
  if (s->strobe & 1)
    return;
  s->busy_until = clock_now(s->dev.clock) + BUSY_NS;
  if (s->uart)
    return;
  if (s->arg_count < s->arg_need) {
    s->arg[s->arg_count++] = value;
  } else {
    s->command = value;
    s->arg_count = 0;
    s->arg_need = arguments(value);
  }
  if (s->arg_count == s->arg_need) {
    s->arg_need = s->arg_count = 0;
    execute(s);
  }
}

/* --- reset --- */

static void restart(struct sb16 *s) {
  sb16_pcm_stop_all(s);
  timer_cancel(&s->irq_timer);
  sb16_lower(s, SB16_IRQ_8BIT | SB16_IRQ_16BIT);
  s->arg_count = s->arg_need = 0;
  s->later = 0;
  s->speaker = false;
  s->uart = false;
  s->id_sum = 0xaa;
  s->id_mask = 0x96;
  s->id_wanted = false;
  s->rate_hz = false;
  s->time_constant = 256 - 45; /* 22 kHz */
  s->rate = 22050;
  s->block = 0x7ff;
  s->busy_until = 0;
  clear_answers(s);
}

/* 1, then 0: the DSP starts anew and says AAh. In MIDI UART mode that only leaves the mode. */
void sb16_dsp_strobe(struct sb16 *s, uint8_t value) {
  bool falling = (s->strobe & 1) && !(value & 1);
  s->strobe = value;
  if (!falling)
    return;
  if (s->uart) {
    s->uart = false;
    return;
  }
  restart(s);
  answer(s, 0xaa);
  s->queue_from = clock_now(s->dev.clock) + RESET_NS;
}

void sb16_dsp_reset(struct sb16 *s) {
  restart(s);
  s->strobe = s->command = s->test = s->last_read = 0;
  memset(s->ram, 0, sizeof s->ram);
  s->ram[0x0e] = 0xff; /* what detection routines expect there */
  s->ram[0x0f] = 0x07;
  s->ram[0x37] = 0x38;
}

void sb16_dsp_init(struct sb16 *s) { timer_init(&s->irq_timer, s->dev.clock, "sb16-irq", irq_timer, s); }
