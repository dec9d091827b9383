/* SPDX-License-Identifier: MIT */
/*
 * AC '97 audio controller of Intel's 82801AA, 8086:2415 (82801AA datasheet, order number 290655, chapter 13):
 * the codec's registers at BAR 0; at BAR 1 three bus masters, PCM in, PCM out and microphone in, each over a
 * list of 32 buffer descriptors, and the global registers. What is played are the buffers' frames when their
 * time is over; the inputs hear silence.
 *
 * Not modelled: the modem's function, FIFO errors, more than two channels (later chips), codec access times.
 * The codec answers also while the link is held in cold reset, as it does under emulators that some drivers
 * were only ever run on.
 */
#include "devices/sound/ac97.h"

#include <string.h>

#include "devices/sound/ac97_codec.h"
#include "devices/sound/pcm.h"

enum { /* of a bus master's 16 bytes */
       BDBAR = 0x0,
       CIV = 0x4,
       LVI = 0x5,
       SR = 0x6,
       PICB = 0x8,
       PIV = 0xa,
       CR = 0xb,
};

enum { GLOB_CNT = 0x2c, GLOB_STA = 0x30, CAS = 0x34 };

#define SR_DCH 0x01   /* halted */
#define SR_CELV 0x02  /* at the last valid buffer */
#define SR_LVBCI 0x04 /* it is complete */
#define SR_BCIS 0x08  /* a buffer with IOC is */
#define SR_FIFOE 0x10
#define SR_W1C (SR_LVBCI | SR_BCIS | SR_FIFOE)

#define CR_RPBM 0x01 /* run */
#define CR_RR 0x02   /* reset registers */
#define CR_LVBIE 0x04
#define CR_IOCE 0x10
#define CR_MASK 0x1f

#define BD_IOC 0x80000000u
#define BD_BUP 0x40000000u

#define CNT_COLD 0x02u /* low: cold reset */
#define CNT_WARM 0x04u
#define CNT_MASK 0x3fu
#define STA_PCR 0x100u /* primary codec ready */

#define GAP_NS 10000 /* between two interrupts' timers */
#define BATCH 512    /* samples */

enum { PI, PO, MC, MASTERS };

static const struct {
  uint32_t status; /* in GLOB_STA */
  enum ac97_converter converter;
  unsigned channels;
} wiring[MASTERS] = {{0x20, AC97_ADC, 2}, {0x40, AC97_DAC, 2}, {0x80, AC97_MIC, 1}};

struct master {
  uint32_t bdbar;
  uint8_t civ, lvi, piv, cr, sr;
  uint16_t picb;        /* samples left in the buffer */
  uint32_t addr, flags; /* of the buffer: where the next sample is; IOC and BUP */
  bool used;            /* that of CIV, which was the last */
  bool fetched;         /* there is a buffer */
  int16_t held[2];      /* the last frame, for BUP */
  struct pcm_run run;
};

struct ac97 {
  struct device dev;
  struct pci_func func;
  struct master master[MASTERS];
  uint32_t glob_cnt;
  uint8_t cas;
  struct ac97_codec codec;
  struct timer timer;
  struct audio *audio;
  struct audio_voice *voice;
};

/* --- interrupts --------------------------------------------------------------------------------------- */

static uint32_t global_status(const struct ac97 *s) {
  uint32_t value = s->glob_cnt & CNT_COLD ? STA_PCR : 0;
  for (int n = 0; n < MASTERS; n++) {
    const struct master *b = &s->master[n];
    if (((b->sr & SR_LVBCI) && (b->cr & CR_LVBIE)) || ((b->sr & SR_BCIS) && (b->cr & CR_IOCE)))
      value |= wiring[n].status;
  }
  return value;
}

static void update_irq(struct ac97 *s) { pci_set_intx(&s->func, (global_status(s) & ~STA_PCR) != 0); }

/* --- the bus masters ---------------------------------------------------------------------------------- */

static bool runs(const struct ac97 *s, const struct master *b) {
  return (b->cr & CR_RPBM) && !(b->sr & SR_DCH) && pci_bus_master(&s->func);
}

static void fetch(struct ac97 *s, struct master *b) {
  uint8_t d[8];
  mem_dma_read(s->dev.mem, b->bdbar + b->civ * 8u, d, sizeof d);
  b->addr = (d[0] | d[1] << 8 | d[2] << 16 | (uint32_t)d[3] << 24) & ~1u;
  b->picb = (uint16_t)(d[4] | d[5] << 8);
  b->flags = (uint32_t)(d[6] << 16) | (uint32_t)d[7] << 24;
  b->fetched = true;
}

static void next_buffer(struct ac97 *s, struct master *b) {
  b->used = false;
  b->civ = b->piv;
  b->piv = (b->piv + 1) & 31;
  fetch(s, b);
}

/* The buffer is used up (13.2.1: the registers' behaviour at its end). */
static void complete(struct ac97 *s, struct master *b) {
  if (b->flags & BD_IOC)
    b->sr |= SR_BCIS;
  if (b->civ == b->lvi) {
    b->sr |= SR_LVBCI | SR_CELV | SR_DCH;
    b->fetched = false;
    b->used = true;
  } else {
    next_buffer(s, b);
  }
}

static void play(struct ac97 *s, struct master *b, const uint8_t *data, uint32_t frames) {
  struct audio_frame out[BATCH / 2];
  for (uint32_t i = 0; i < frames; i++)
    out[i] = pcm_frame(data + i * 4, 3);
  b->held[0] = out[frames - 1].left;
  b->held[1] = out[frames - 1].right;
  audio_voice_write(s->voice, out, frames);
}

static void transfer(struct ac97 *s, int n, uint32_t frames) {
  struct master *b = &s->master[n];
  uint8_t data[BATCH * 2];
  uint32_t samples = frames * wiring[n].channels;
  if (n != PO) {
    memset(data, 0, samples * 2);
    mem_dma_write(s->dev.mem, b->addr, data, samples * 2);
  } else if (audio_listening(s->audio)) {
    mem_dma_read(s->dev.mem, b->addr, data, samples * 2);
    play(s, b, data, frames);
  }
  b->addr += samples * 2;
  b->picb = (uint16_t)(b->picb - samples);
}

/* Out of buffers with BUP: the last frame stands until somebody gives more. */
static void hold(struct ac97 *s, struct master *b, uint32_t due) {
  struct audio_frame out[BATCH / 2];
  for (uint32_t i = 0; i < BATCH / 2; i++)
    out[i] = (struct audio_frame){b->held[0], b->held[1]};
  for (; due && audio_listening(s->audio); due -= due < BATCH / 2 ? due : BATCH / 2)
    audio_voice_write(s->voice, out, due < BATCH / 2 ? due : BATCH / 2);
}

/* Bring a bus master to where it is now. */
static void advance(struct ac97 *s, int n, int64_t now) {
  struct master *b = &s->master[n];
  unsigned channels = wiring[n].channels, empty = 0;
  if (!b->run.rate)
    return;
  uint32_t due = pcm_due(&b->run, now);
  while (due && runs(s, b) && empty <= 32) {
    uint32_t frames = b->picb / channels;
    if (!b->fetched || !frames) { /* an empty buffer is over at once; a list of nothing else does not go on */
      empty++;
      complete(s, b);
      continue;
    }
    empty = 0;
    frames = frames < due ? frames : due;
    frames = frames < BATCH / channels ? frames : BATCH / channels;
    transfer(s, n, frames);
    due -= frames;
    b->run.done += frames;
    if (b->picb < channels)
      complete(s, b);
  }
  if (due && empty > 32)
    b->run.done += due;
  else if (due && n == PO && (b->sr & SR_DCH) && (b->flags & BD_BUP)) {
    hold(s, b, due);
    b->run.done += due;
  }
}

static void advance_all(struct ac97 *s) {
  int64_t now = clock_now(s->dev.clock);
  for (int n = 0; n < MASTERS; n++)
    advance(s, n, now);
}

/* Does the converter run? Also without buffers, if the last frame is to be held. */
static bool converts(const struct ac97 *s, int n) {
  const struct master *b = &s->master[n];
  bool holds = n == PO && (b->cr & CR_RPBM) && (b->flags & BD_BUP) && audio_listening(s->audio) &&
               (b->held[0] || b->held[1]);
  return runs(s, b) || holds;
}

/* After registers or bus masters changed: who runs, how fast, and when to look again. */
static void update(struct ac97 *s) {
  int64_t now = clock_now(s->dev.clock), next = INT64_MAX;
  for (int n = 0; n < MASTERS; n++) {
    struct master *b = &s->master[n];
    uint32_t rate = converts(s, n) ? ac97_codec_rate(&s->codec, wiring[n].converter) : 0;
    if (rate != b->run.rate) {
      pcm_start(&b->run, now, rate);
      if (n == PO && rate)
        audio_voice_rate(s->voice, rate);
    }
    if (!rate)
      continue;
    int64_t look = now + (n != PO || audio_listening(s->audio) ? PCM_LOOK_NS : PCM_UNHEARD_NS);
    uint32_t left = b->picb / wiring[n].channels;
    if (runs(s, b)) { /* at a buffer's end registers change, whether it interrupts or not */
      int64_t end = pcm_when(&b->run, left ? left : rate / 1000);
      look = end < look ? end : look;
    }
    next = look < next ? look : next;
  }
  pcm_look_again(&s->timer, now, next, GAP_NS);
  update_irq(s);
}

static void on_timer(void *opaque) {
  struct ac97 *s = opaque;
  advance_all(s);
  update(s);
}

static void master_reset(struct master *b) {
  uint8_t kept = b->cr & (CR_LVBIE | 0x08 | CR_IOCE); /* the interrupt enables stay (13.2.7) */
  *b = (struct master){.sr = SR_DCH, .cr = kept, .piv = 1};
}

static void write_cr(struct ac97 *s, struct master *b, uint8_t value) {
  if (value & CR_RR) { /* also of one that runs, which drivers should not ask for */
    b->cr = value & CR_MASK;
    master_reset(b);
    return;
  }
  bool starts = (value & CR_RPBM) && !(b->cr & CR_RPBM);
  b->cr = value & CR_MASK & (uint8_t)~CR_RR;
  if (!(value & CR_RPBM)) {
    b->sr |= SR_DCH;
  } else if (starts && b->fetched) { /* after a pause: goes on in the same buffer */
    b->sr &= (uint8_t)~SR_DCH;
  } else if (starts && !(b->sr & SR_CELV)) {
    b->sr &= (uint8_t)~SR_DCH;
    if (b->used)
      next_buffer(s, b);
    else
      fetch(s, b);
  }
}

static void write_lvi(struct ac97 *s, struct master *b, uint8_t value) {
  b->lvi = value & 31;
  if (!(b->sr & SR_CELV) || b->lvi == b->civ)
    return;
  b->sr &= (uint8_t)~SR_CELV; /* more buffers: it goes on by itself */
  if (b->cr & CR_RPBM) {
    b->sr &= (uint8_t)~SR_DCH;
    next_buffer(s, b);
  }
}

/* --- registers ---------------------------------------------------------------------------------------- */

static uint8_t master_read(const struct master *b, unsigned offset) {
  switch (offset) {
  case CIV: return b->civ;
  case LVI: return b->lvi;
  case SR: return b->sr;
  case PICB: return (uint8_t)b->picb;
  case PICB + 1: return (uint8_t)(b->picb >> 8);
  case PIV: return b->piv;
  case CR: return b->cr;
  }
  return offset < 4 ? (uint8_t)(b->bdbar >> 8 * offset) : 0;
}

static void master_write(struct ac97 *s, struct master *b, unsigned offset, uint8_t value) {
  switch (offset) {
  case LVI: write_lvi(s, b, value); return;
  case SR: b->sr &= (uint8_t) ~(value & SR_W1C); return;
  case CR: write_cr(s, b, value); return;
  }
  if (offset < 4)
    b->bdbar = ((b->bdbar & ~(0xffu << 8 * offset)) | (uint32_t)value << 8 * offset) & ~7u;
}

static void write_global(struct ac97 *s, unsigned shift, uint8_t value) {
  uint32_t old = s->glob_cnt;
  s->glob_cnt = ((old & ~(0xffu << shift)) | (uint32_t)value << shift) & CNT_MASK;
  if ((old & CNT_COLD) && !(s->glob_cnt & CNT_COLD))
    ac97_codec_reset(&s->codec);
  if (s->glob_cnt & CNT_WARM) { /* over at once */
    s->glob_cnt &= ~CNT_WARM;
    ac97_codec_wake(&s->codec);
  }
}

static uint8_t nabm_byte(struct ac97 *s, unsigned offset) {
  if (offset < 16 * MASTERS && (offset & 15) <= CR)
    return master_read(&s->master[offset / 16], offset & 15);
  if (offset >= GLOB_CNT && offset < GLOB_CNT + 4)
    return (uint8_t)(s->glob_cnt >> 8 * (offset - GLOB_CNT));
  if (offset >= GLOB_STA && offset < GLOB_STA + 4)
    return (uint8_t)(global_status(s) >> 8 * (offset - GLOB_STA));
  if (offset == CAS) { /* a semaphore: taken by reading it as free, given back by an access to the codec */
    uint8_t taken = s->cas;
    s->cas = 1;
    return taken;
  }
  return 0;
}

static uint32_t nabm_read(void *opaque, uint32_t offset, int size) {
  struct ac97 *s = opaque;
  uint32_t value = 0;
  advance_all(s);
  update_irq(s);
  for (int i = 0; i < size && offset + (unsigned)i < 64; i++)
    value |= (uint32_t)nabm_byte(s, offset + (unsigned)i) << 8 * i;
  return value;
}

static void nabm_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct ac97 *s = opaque;
  advance_all(s);
  for (int i = 0; i < size; i++) {
    unsigned at = offset + (unsigned)i;
    uint8_t byte = (uint8_t)(value >> 8 * i);
    if (at >= GLOB_CNT && at < GLOB_CNT + 4)
      write_global(s, 8 * (at - GLOB_CNT), byte);
    else if (at < 16 * MASTERS && (at & 15) <= CR)
      master_write(s, &s->master[at / 16], at & 15, byte);
  }
  update(s);
}

static void set_gain(struct ac97 *s) {
  uint32_t left, right;
  ac97_codec_gain(&s->codec, &left, &right);
  audio_voice_gain(s->voice, left, right);
}

/* The codec's registers are words; the link carries nothing else (13.1). */
static uint32_t nam_read(void *opaque, uint32_t offset, int size) {
  struct ac97 *s = opaque;
  s->cas = 0;
  if (size != 2 || (offset & 1) || offset >= 2 * AC97_REGS)
    return 0xffffffffu >> (32 - 8 * size);
  return ac97_codec_read(&s->codec, offset);
}

static void nam_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct ac97 *s = opaque;
  s->cas = 0;
  if (size != 2 || (offset & 1) || offset >= 2 * AC97_REGS)
    return;
  advance_all(s);
  ac97_codec_write(&s->codec, offset, (uint16_t)value);
  set_gain(s);
  update(s);
}

static const struct io_ops nam_ops = {nam_read, nam_write, 2}, nabm_ops = {nabm_read, nabm_write, 4};

/* --- the device --------------------------------------------------------------------------------------- */

static void config_written(struct pci_func *f, uint32_t offset, int size) {
  struct ac97 *s = f->opaque;
  (void)size;
  if (offset <= 4) { /* bus mastering */
    advance_all(s);
    update(s);
  }
}

static void ac97_reset(struct device *dev) {
  struct ac97 *s = DEVICE(struct ac97, dev);
  pci_func_reset(&s->func);
  pci_set16(&s->func, 0x06, 0x0280); /* fast back-to-back, DEVSEL# medium */
  for (int n = 0; n < MASTERS; n++) {
    s->master[n].cr = 0;
    master_reset(&s->master[n]);
  }
  s->glob_cnt = 0;
  s->cas = 0;
  ac97_codec_reset(&s->codec);
  audio_voice_stop(s->voice);
  set_gain(s);
  update(s);
}

static int ac97_init(struct device *dev, const struct device_args *args) {
  struct ac97 *s = DEVICE(struct ac97, dev);
  const struct ac97_config *config = args->config;
  s->audio = config->audio;
  s->voice = audio_voice_new(s->audio, "AC97 PCM out");
  timer_init(&s->timer, dev->clock, "ac97", on_timer, s);
  pci_func_init(&s->func, "AC97", 0x8086, 0x2415, 0x040100, 0x01, 2);
  s->func.opaque = s;
  s->func.config_written = config_written;
  pci_set16(&s->func, 0x2c, 0x8086);
  s->func.w1c[0x07] = 0x30;
  pci_func_set_bar(&s->func, 0,
                   &(struct pci_bar){.kind = PCI_BAR_IO, .size = 256, .io_ops = &nam_ops, .opaque = s});
  pci_func_set_bar(&s->func, 1,
                   &(struct pci_bar){.kind = PCI_BAR_IO, .size = 64, .io_ops = &nabm_ops, .opaque = s});
  int error = pci_register(config->bus, &s->func, config->devfn);
  if (!error)
    ac97_reset(dev);
  return error;
}

static void ac97_destroy(struct device *dev) {
  struct ac97 *s = DEVICE(struct ac97, dev);
  timer_cancel(&s->timer);
  audio_voice_free(s->voice);
}

#define MASTER_FIELDS(n)                                                                                     \
  FIELD(U32, struct ac97, master[n].bdbar), FIELD(U8, struct ac97, master[n].civ),                           \
      FIELD(U8, struct ac97, master[n].lvi), FIELD(U8, struct ac97, master[n].piv),                          \
      FIELD(U8, struct ac97, master[n].cr), FIELD(U8, struct ac97, master[n].sr),                            \
      FIELD(U16, struct ac97, master[n].picb), FIELD(U32, struct ac97, master[n].addr),                      \
      FIELD(U32, struct ac97, master[n].flags), FIELD(BOOL, struct ac97, master[n].used),                    \
      FIELD(BOOL, struct ac97, master[n].fetched), FIELD_ARRAY(U16, struct ac97, master[n].held),            \
      PCM_FIELDS(struct ac97, master[n].run)

static const struct field ac97_fields[] = {
    FIELD_BUFFER(struct ac97, func.config),
    FIELD(U32, struct ac97, func.intx_level),
    MASTER_FIELDS(0),
    MASTER_FIELDS(1),
    MASTER_FIELDS(2),
    FIELD(U32, struct ac97, glob_cnt),
    FIELD(U8, struct ac97, cas),
    FIELD_ARRAY(U16, struct ac97, codec.reg),
    FIELD(TIMER, struct ac97, timer),
    FIELDS_END,
};

const struct device_class ac97_class = {
    .name = "AC97",
    .size = sizeof(struct ac97),
    .init = ac97_init,
    .reset = ac97_reset,
    .destroy = ac97_destroy,
    .fields = ac97_fields,
};
