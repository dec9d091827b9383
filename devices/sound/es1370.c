/* SPDX-License-Identifier: MIT */
/*
 * Ensoniq AudioPCI ES1370, 1274:5000 (AudioPCI ES1370 specification: "Registers", "Memory map", "Serial
 * interface"), with its AK4531 codec: two DACs and an ADC that are bus masters over one circular buffer each,
 * sample counters that interrupt, the paged window to the chip's memory, the codec's write port. A DAC's
 * frames are played when they have been fetched; the ADC hears silence.
 *
 * Not modelled: the joystick port, MIDI beyond taking bytes at once, the host-visible sample FIFOs (plain
 * memory), the CCB and the MPEG serial port.
 */
#include "devices/sound/es1370.h"

#include <string.h>

#include "devices/sound/ak4531.h"
#include "devices/sound/pcm.h"

enum { /* registers by dword */
       CONTROL = 0x00,
       STATUS = 0x04,
       UART = 0x08, /* data, status and control, test: bytes */
       PAGE = 0x0c,
       CODEC = 0x10,
       SERIAL = 0x20,
       DAC1_COUNT = 0x24,
       ADC_COUNT = 0x2c,
       WINDOW = 0x30,
};

#define C_PCLKDIV(control) ((control) >> 16 & 0x1fff)
#define C_WTSRSEL(control) ((control) >> 12 & 3)
#define C_UART_EN 0x08u
#define C_ADC_STOP 0x80000000u
#define CONTROL_RESET 0x00000001u

#define S_INTR 0x80000000u
#define S_NO_VOICE 0x60u
#define S_UART 0x08u

#define UART_TX_READY 0x02u
#define UART_TX_INT 0x04u
#define UART_RESET 3u    /* of the control byte's low bits */
#define UART_TX_INTEN 1u /* of bits 6:5 */

#define CHIP_CLOCK 1411200u
#define RATE_MAX 200000u
#define GAP_NS 10000 /* between two interrupts' timers */
#define BATCH 256    /* frames */

enum { DAC1, DAC2, ADC, CHANNELS };

/* What tells the channels apart. */
static const struct {
  uint32_t enable, status;              /* bits of CONTROL and STATUS */
  uint32_t pause, stop_mode, interrupt; /* bits of SERIAL */
  unsigned mode;                        /* shift in SERIAL */
  unsigned page, window;                /* of its frame address; the size is the next dword */
} wiring[CHANNELS] = {
    {0x40, 4, 0x0800, 0x2000, 0x0100, 0, 0xc, 0},
    {0x20, 2, 0x1000, 0x4000, 0x0200, 2, 0xc, 2},
    {0x10, 1, 0, 0x8000, 0x0400, 4, 0xd, 0},
};

#define SERIAL_RELOAD_DAC1 0x80u

struct channel {
  uint16_t count, left; /* samples less one between interrupts; to the next */
  uint16_t size;        /* of the buffer, dwords less one */
  uint32_t addr, at;    /* of the buffer; bytes into it */
  bool stopped;         /* the counter ran out in stop mode */
  struct pcm_run run;
};

struct es1370 {
  struct device dev;
  struct pci_func func;
  uint32_t control, serial, status; /* status: the channels' bits */
  uint8_t page, uart_control;
  uint32_t memory[16 * 4]; /* what has no meaning to us */
  struct channel channel[CHANNELS];
  struct ak4531 codec;
  struct timer timer;
  struct audio *audio;
  struct audio_voice *voice[2];
};

/* --- interrupts --------------------------------------------------------------------------------------- */

static bool uart_interrupts(const struct es1370 *s) {
  return (s->control & C_UART_EN) && (s->uart_control & 3) != UART_RESET &&
         (s->uart_control >> 5 & 3) == UART_TX_INTEN;
}

static uint32_t status(const struct es1370 *s) {
  uint32_t bits = s->status | (uart_interrupts(s) ? S_UART : 0);
  return bits | S_NO_VOICE | (bits ? S_INTR : 0);
}

static void update_irq(struct es1370 *s) { pci_set_intx(&s->func, (status(s) & S_INTR) != 0); }

/* --- the channels ------------------------------------------------------------------------------------- */

static unsigned mode_of(const struct es1370 *s, int n) { return s->serial >> wiring[n].mode & 3; }

/* As the registers say; 0: stands still. */
static uint32_t rate_of(const struct es1370 *s, int n) {
  static const uint16_t fixed[] = {5512, 11025, 22050, 44100};
  if (!(s->control & wiring[n].enable) || (s->serial & wiring[n].pause) || s->channel[n].stopped ||
      !pci_bus_master(&s->func) || (n == ADC && (s->control & C_ADC_STOP)))
    return 0;
  if (n == DAC1)
    return fixed[C_WTSRSEL(s->control)];
  uint32_t divisor = C_PCLKDIV(s->control) + 2, rate = (CHIP_CLOCK + divisor / 2) / divisor;
  return rate < RATE_MAX ? rate : RATE_MAX;
}

static void play(struct es1370 *s, int n, const uint8_t *data, uint32_t frames) {
  struct audio_frame out[BATCH];
  unsigned mode = mode_of(s, n);
  for (uint32_t i = 0; i < frames; i++)
    out[i] = pcm_frame(data + i * pcm_bytes(mode), mode);
  audio_voice_write(s->voice[n], out, frames);
}

/* Move `frames` between memory and the outside, no more than a batch, none beyond the buffer's end. */
static void transfer(struct es1370 *s, int n, uint32_t frames) {
  struct channel *c = &s->channel[n];
  uint8_t data[BATCH * 4];
  uint32_t bytes = frames * pcm_bytes(mode_of(s, n));
  if (n == ADC) {
    memset(data, mode_of(s, n) & 2 ? 0 : 0x80, bytes);
    mem_dma_write(s->dev.mem, c->addr + c->at, data, bytes);
  } else if (audio_listening(s->audio)) {
    mem_dma_read(s->dev.mem, c->addr + c->at, data, bytes);
    play(s, n, data, frames);
  }
  c->at += bytes;
  if (c->at >= (c->size + 1u) * 4)
    c->at = 0;
}

/* Bring a channel to where it is now. */
static void advance(struct es1370 *s, int n, int64_t now) {
  struct channel *c = &s->channel[n];
  uint32_t due = c->run.rate ? pcm_due(&c->run, now) : 0, bytes = pcm_bytes(mode_of(s, n));
  while (due && !c->stopped) {
    c->at &= ~(bytes - 1);
    uint32_t frames = due < BATCH ? due : BATCH, to_end = ((c->size + 1u) * 4 - c->at) / bytes;
    frames = frames < to_end ? frames : to_end;
    frames = frames < c->left + 1u ? frames : c->left + 1u;
    transfer(s, n, frames);
    due -= frames;
    c->run.done += frames;
    if (frames <= c->left) {
      c->left -= (uint16_t)frames;
      continue;
    }
    c->left = c->count;
    c->stopped = (s->serial & wiring[n].stop_mode) != 0;
    if (s->serial & wiring[n].interrupt)
      s->status |= wiring[n].status;
  }
}

static void advance_all(struct es1370 *s) {
  int64_t now = clock_now(s->dev.clock);
  for (int n = 0; n < CHANNELS; n++)
    advance(s, n, now);
}

/* After registers or channels changed: who runs, how fast, and when to look again. */
static void update(struct es1370 *s) {
  int64_t now = clock_now(s->dev.clock), next = INT64_MAX;
  for (int n = 0; n < CHANNELS; n++) {
    struct channel *c = &s->channel[n];
    uint32_t rate = rate_of(s, n);
    if (rate != c->run.rate) {
      pcm_start(&c->run, now, rate);
      if (n != ADC && rate)
        audio_voice_rate(s->voice[n], rate);
    }
    if (!rate)
      continue;
    int64_t look = now + (n == ADC || audio_listening(s->audio) ? PCM_LOOK_NS : PCM_UNHEARD_NS);
    if (s->serial & wiring[n].interrupt) {
      int64_t interrupt = pcm_when(&c->run, c->left + 1u);
      look = interrupt < look ? interrupt : look;
    }
    next = look < next ? look : next;
  }
  pcm_look_again(&s->timer, now, next, GAP_NS);
  update_irq(s);
}

static void on_timer(void *opaque) {
  struct es1370 *s = opaque;
  advance_all(s);
  update(s);
}

static void set_gains(struct es1370 *s) {
  uint32_t left, right;
  ak4531_gain(&s->codec, AK4531_FM, &left, &right); /* DAC1 is wired to the codec's synthesizer input */
  audio_voice_gain(s->voice[DAC1], left, right);
  ak4531_gain(&s->codec, AK4531_VOICE, &left, &right);
  audio_voice_gain(s->voice[DAC2], left, right);
}

/* --- registers ---------------------------------------------------------------------------------------- */

static void write_control(struct es1370 *s, uint32_t value) {
  uint32_t started = value & ~s->control;
  s->control = value;
  for (int n = 0; n < CHANNELS; n++) {
    if (!(started & wiring[n].enable))
      continue;
    s->channel[n].left = s->channel[n].count;
    s->channel[n].stopped = false;
  }
}

static void write_serial(struct es1370 *s, uint32_t value) {
  s->serial = value & 0x3fffff;
  if (value & SERIAL_RELOAD_DAC1)
    s->channel[DAC1].left = s->channel[DAC1].count;
  for (int n = 0; n < CHANNELS; n++) {
    if (!(value & wiring[n].interrupt))
      s->status &= ~wiring[n].status;
    if (!(value & wiring[n].stop_mode))
      s->channel[n].stopped = false;
  }
}

static struct channel *count_register(struct es1370 *s, uint32_t reg) {
  return &s->channel[(reg - DAC1_COUNT) / 4];
}

/* Which channel's address (or, *size, its size) is in the window at index 0-3; NULL: plain memory. */
static struct channel *in_window(struct es1370 *s, unsigned index, bool *size) {
  *size = index & 1;
  for (int n = 0; n < CHANNELS; n++)
    if (wiring[n].page == s->page && wiring[n].window == (index & ~1u))
      return &s->channel[n];
  return NULL;
}

static uint32_t read_register(struct es1370 *s, uint32_t reg) {
  bool size;
  struct channel *c;
  switch (reg) {
  case CONTROL: return s->control;
  case STATUS: return status(s);
  case UART: return (UART_TX_READY | (uart_interrupts(s) ? UART_TX_INT : 0)) << 8;
  case PAGE: return s->page;
  case SERIAL: return s->serial;
  }
  if (reg >= DAC1_COUNT && reg <= ADC_COUNT) {
    c = count_register(s, reg);
    return (uint32_t)c->left << 16 | c->count;
  }
  if (reg < WINDOW)
    return 0;
  unsigned index = (reg - WINDOW) / 4;
  c = in_window(s, index, &size);
  if (!c)
    return s->memory[s->page * 4u + index];
  return size ? (c->at / 4) << 16 | c->size : c->addr;
}

static void write_window(struct es1370 *s, unsigned index, uint32_t value) {
  bool size;
  struct channel *c = in_window(s, index, &size);
  if (!c) {
    s->memory[s->page * 4u + index] = value;
  } else if (size) {
    c->size = (uint16_t)value;
    c->at = (value >> 16) * 4;
  } else {
    c->addr = value & ~3u;
  }
  if (c && c->at >= (c->size + 1u) * 4)
    c->at = 0;
}

/* `lanes`: the bits of the dword that are written. */
static void write_register(struct es1370 *s, uint32_t reg, uint32_t value, uint32_t lanes) {
  uint32_t merged = (read_register(s, reg) & ~lanes) | (value & lanes);
  switch (reg) {
  case CONTROL: write_control(s, merged); return;
  case UART:
    if (lanes & 0xff00)
      s->uart_control = (uint8_t)(value >> 8);
    return;
  case PAGE: s->page = merged & 15; return;
  case CODEC:
    if ((lanes & 0xffff) != 0xffff)
      return;
    ak4531_write(&s->codec, (uint8_t)(value >> 8), (uint8_t)value);
    set_gains(s);
    return;
  case SERIAL: write_serial(s, merged); return;
  }
  if (reg >= DAC1_COUNT && reg <= ADC_COUNT) {
    struct channel *c = count_register(s, reg);
    c->count = (uint16_t)merged;
    if (!c->run.rate)
      c->left = c->count;
  } else if (reg >= WINDOW) {
    write_window(s, (reg - WINDOW) / 4, merged);
  }
}

static uint32_t es1370_read(void *opaque, uint32_t offset, int size) {
  struct es1370 *s = opaque;
  uint32_t value = 0;
  (void)size;
  advance_all(s);
  update_irq(s);
  value = read_register(s, offset & ~3u) >> 8 * (offset & 3);
  return size == 4 ? value : value & ((1u << 8 * size) - 1);
}

static void es1370_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct es1370 *s = opaque;
  unsigned shift = 8 * (offset & 3);
  uint32_t lanes = size == 4 ? 0xffffffffu : ((1u << 8 * size) - 1) << shift;
  advance_all(s);
  write_register(s, offset & ~3u, value << shift, lanes);
  update(s);
}

static const struct io_ops es1370_ops = {es1370_read, es1370_write, 4};

/* --- the device --------------------------------------------------------------------------------------- */

static void config_written(struct pci_func *f, uint32_t offset, int size) {
  struct es1370 *s = f->opaque;
  (void)size;
  if (offset <= 4) { /* bus mastering */
    advance_all(s);
    update(s);
  }
}

static void es1370_reset(struct device *dev) {
  struct es1370 *s = DEVICE(struct es1370, dev);
  pci_func_reset(&s->func);
  pci_set16(&s->func, 0x06, 0x0400); /* DEVSEL# slow */
  s->control = CONTROL_RESET;
  s->serial = s->status = 0;
  s->page = s->uart_control = 0;
  memset(s->memory, 0, sizeof s->memory);
  memset(s->channel, 0, sizeof s->channel);
  ak4531_reset(&s->codec);
  for (int i = 0; i < 2; i++)
    audio_voice_stop(s->voice[i]);
  set_gains(s);
  update(s);
}

static int es1370_init(struct device *dev, const struct device_args *args) {
  struct es1370 *s = DEVICE(struct es1370, dev);
  const struct es1370_config *config = args->config;
  s->audio = config->audio;
  s->voice[DAC1] = audio_voice_new(s->audio, "es1370 DAC1");
  s->voice[DAC2] = audio_voice_new(s->audio, "es1370 DAC2");
  timer_init(&s->timer, dev->clock, "es1370", on_timer, s);
  pci_func_init(&s->func, "ES1370", 0x1274, 0x5000, 0x040100, 0x00, 1);
  s->func.opaque = s;
  s->func.config_written = config_written;
  pci_set16(&s->func, 0x2c, 0x4942);
  pci_set16(&s->func, 0x2e, 0x4c4c);
  s->func.config[0x3e] = 0x0c; /* MIN_GNT, MAX_LAT */
  s->func.config[0x3f] = 0x80;
  s->func.w1c[0x07] = 0x30;
  pci_func_set_bar(&s->func, 0,
                   &(struct pci_bar){.kind = PCI_BAR_IO, .size = 64, .io_ops = &es1370_ops, .opaque = s});
  int error = pci_register(config->bus, &s->func, config->devfn);
  if (!error)
    es1370_reset(dev);
  return error;
}

static void es1370_destroy(struct device *dev) {
  struct es1370 *s = DEVICE(struct es1370, dev);
  timer_cancel(&s->timer);
  for (int i = 0; i < 2; i++)
    audio_voice_free(s->voice[i]);
}

#define CHANNEL_FIELDS(n)                                                                                    \
  FIELD(U16, struct es1370, channel[n].count), FIELD(U16, struct es1370, channel[n].left),                   \
      FIELD(U16, struct es1370, channel[n].size), FIELD(U32, struct es1370, channel[n].addr),                \
      FIELD(U32, struct es1370, channel[n].at), FIELD(BOOL, struct es1370, channel[n].stopped),              \
      PCM_FIELDS(struct es1370, channel[n].run)

static const struct field es1370_fields[] = {
    FIELD_BUFFER(struct es1370, func.config),
    FIELD(U32, struct es1370, func.intx_level),
    FIELD(U32, struct es1370, control),
    FIELD(U32, struct es1370, serial),
    FIELD(U32, struct es1370, status),
    FIELD(U8, struct es1370, page),
    FIELD(U8, struct es1370, uart_control),
    FIELD_ARRAY(U32, struct es1370, memory),
    CHANNEL_FIELDS(0),
    CHANNEL_FIELDS(1),
    CHANNEL_FIELDS(2),
    FIELD_BUFFER(struct es1370, codec.reg),
    FIELD(TIMER, struct es1370, timer),
    FIELDS_END,
};

const struct device_class es1370_class = {
    .name = "ES1370",
    .size = sizeof(struct es1370),
    .init = es1370_init,
    .reset = es1370_reset,
    .destroy = es1370_destroy,
    .fields = es1370_fields,
};
