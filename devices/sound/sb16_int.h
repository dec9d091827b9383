/* SPDX-License-Identifier: MIT */
/* What the Sound Blaster 16's own files share: sb16.c ports and mixer, sb16_dsp.c commands, sb16_pcm.c
 * transfers. */
#ifndef DEVICES_SOUND_SB16_INT_H
#define DEVICES_SOUND_SB16_INT_H

#include "devices/sound/sb16.h"

/* Register 82h of the mixer. */
enum { SB16_IRQ_8BIT = 1, SB16_IRQ_16BIT = 2, SB16_IRQ_MPU = 4 };

enum sb16_kind { SB16_IDLE, SB16_PLAY, SB16_RECORD, SB16_SILENCE };

/* One DMA transfer and its sample clock: frame n ends at base + n * den / num seconds. */
struct sb16_pcm {
  uint8_t kind; /* enum sb16_kind */
  bool wide;    /* units are 16-bit samples, else bytes */
  bool stereo, sign;
  bool repeat; /* auto-init: the next block follows without a command */
  bool paused;
  bool stalled;             /* the DMA controller has nothing for us; waits for sb16_dma_run */
  uint8_t adpcm;            /* samples in a byte: 2, 3, 4; 0: PCM */
  bool reference;           /* the next byte is the ADPCM reference */
  uint8_t level;            /* ADPCM: last output */
  uint8_t scale;            /* and step size */
  uint8_t held, held_count; /* the byte in work, and the samples left in it */
  uint32_t block, left;     /* units */
  int64_t base;             /* ns */
  uint64_t frames;          /* since base */
  uint32_t num, den;        /* frames per second = num / den */
  struct timer timer;
};

struct sb16 {
  struct device dev;
  struct sb16_config config;
  struct audio_voice *voice;
  struct sb16_pcm pcm[2]; /* 8-bit, 16-bit */
  /* mixer */
  uint8_t index, mixer[256];
  uint8_t irqs; /* pending: SB16_IRQ_* */
  int8_t line;  /* of dev.irq that is driven */
  /* DSP */
  uint8_t strobe; /* last write to the reset port */
  uint8_t command, arg[3], arg_count, arg_need;
  bool uart; /* MIDI UART mode: all that is written goes to the cable */
  bool speaker;
  uint8_t test;            /* E4h */
  uint8_t ram[256];        /* of the DSP's microcontroller, F9h, FAh */
  uint8_t id_sum, id_mask; /* E2h */
  bool id_wanted;          /* a byte of it waits for the DMA controller */
  uint8_t later;           /* SB16_IRQ_* to be raised by F2h, F3h */
  struct timer irq_timer;
  uint8_t queue[64], queue_first, queue_count; /* to be read */
  uint8_t last_read;
  int64_t queue_from; /* ns at which it can be read */
  int64_t busy_until; /* ns */
  /* the sampling rate: in Hz (41h), or by a byte's period in us (40h) */
  bool rate_hz;
  uint8_t time_constant;
  uint16_t rate;
  uint16_t block; /* 48h: length - 1 */
  /* direct output, 10h */
  bool direct;
  uint8_t direct_level;
  int64_t direct_base, direct_last;
  uint64_t direct_frames;
  struct timer direct_timer;
};

/* --- sb16.c --- */
void sb16_raise(struct sb16 *s, uint8_t irqs);
void sb16_lower(struct sb16 *s, uint8_t irqs);
bool sb16_pro_stereo(const struct sb16 *s); /* the mixer's SBPro stereo switch */

/* --- sb16_dsp.c --- */
void sb16_dsp_write(struct sb16 *s, uint8_t value);
uint8_t sb16_dsp_read(struct sb16 *s);
uint8_t sb16_dsp_status(struct sb16 *s);             /* port Eh: bit 7 data to be read */
uint8_t sb16_dsp_write_status(struct sb16 *s);       /* port Ch: bit 7 busy */
void sb16_dsp_strobe(struct sb16 *s, uint8_t value); /* the reset port */
void sb16_dsp_reset(struct sb16 *s);                 /* power-on */
void sb16_dsp_init(struct sb16 *s);
void sb16_id_run(struct sb16 *s); /* the 8-bit channel is ready */

/* --- sb16_pcm.c --- */
struct sb16_play { /* a transfer as the command wants it */
  enum sb16_kind kind;
  bool wide, stereo, sign, repeat;
  uint8_t adpcm;
  bool reference;
  uint32_t units;    /* of a block */
  uint32_t num, den; /* frames per second */
};
void sb16_pcm_start(struct sb16 *s, int n, const struct sb16_play *play); /* n: 0 8-bit, 1 16-bit commands */
void sb16_pcm_pause(struct sb16 *s, int n);
void sb16_pcm_continue(struct sb16 *s, int n);
void sb16_pcm_last_block(struct sb16 *s, int n); /* end auto-init with the block in work */
void sb16_pcm_repeat(struct sb16 *s, int n);     /* back to auto-init */
void sb16_pcm_stop_all(struct sb16 *s);
void sb16_pcm_init(struct sb16 *s);
void sb16_direct(struct sb16 *s, uint8_t level);
int sb16_channel(const struct sb16 *s, bool wide); /* DMA channel by the mixer; -1: none */
void sb16_dma_connect(struct sb16 *s, bool on);    /* with the channels that the mixer selects */

#endif
