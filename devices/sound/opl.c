/* SPDX-License-Identifier: MIT */
/*
 * OPL2 or OPL3 as a chip on the bus (YM3812 and YMF262 application manuals, "Status register", "Timers").
 * Sound is made up to now before each register write that may change it, and before each mix while any is
 * heard.
 *
 * The timers count 80 and 320 us from their start; the chips' own prescaler, which makes the first period
 * shorter by chance, is not modelled. Writes take no time. Reads of the status do: detection routines wait by
 * so many of them, each a microsecond on an ISA bus, but much less here. So for the first overflow after a
 * start each counts as that, up to 100 of them: enough for the shortest period, and nothing to those who
 * keep time by the longer ones.
 */
#include "devices/sound/opl.h"

#include "devices/sound/opl_synth.h"

#define TIMER1_NS 80000
#define TIMER2_NS 320000
#define READ_NS 1000
#define READS_MAX 100
#define CHUNK 256u

/* A single channel's full scale is an eighth of 16 bits; cards amplify it. */
#define CHIP_GAIN 2

enum {
  CONTROL_START1 = 1,
  CONTROL_START2 = 2,
  CONTROL_MASK2 = 0x20,
  CONTROL_MASK1 = 0x40,
  CONTROL_RESET = 0x80
};
enum { STATUS_OPL2 = 0x06, STATUS_TIMER2 = 0x20, STATUS_TIMER1 = 0x40, STATUS_IRQ = 0x80 };
enum { REG_TIMER1 = 2, REG_TIMER2 = 3, REG_CONTROL = 4 };

struct opl {
  struct device dev;
  struct opl_synth synth;
  struct audio_voice *voice;
  uint16_t address;  /* the register selected, second bank from 100h */
  uint8_t preset[2]; /* of the timers */
  uint8_t control, flags;
  int64_t overflow[2]; /* ns of the next, while the timer runs */
  uint8_t reads[2];    /* of the status since the start; over READS_MAX: it has overflowed */
  uint64_t made;       /* samples since power-on */
};

static void catch_up(struct opl *o) {
  uint64_t due = (uint64_t)muldiv64(clock_now(o->dev.clock), OPL_HZ, NS_PER_SEC);
  uint64_t count = due > o->made ? due - o->made : 0;
  o->made += count;
  if (count > OPL_HZ / 2) { /* the machine stood still: half a second is what a voice keeps */
    opl_synth_skip(&o->synth, count - OPL_HZ / 2);
    count = OPL_HZ / 2;
  }
  while (count && opl_synth_active(&o->synth)) {
    struct audio_frame frames[CHUNK];
    size_t n = count < CHUNK ? (size_t)count : CHUNK;
    opl_synth_render(&o->synth, frames, n);
    audio_voice_write(o->voice, frames, n);
    count -= n;
  }
  opl_synth_skip(&o->synth, count);
}

static bool pull(void *opaque) {
  struct opl *o = opaque;
  catch_up(o);
  return opl_synth_active(&o->synth);
}

static int64_t period(const struct opl *o, int n) {
  return (256 - o->preset[n]) * (n ? (int64_t)TIMER2_NS : TIMER1_NS);
}

/* Set the flags of what has overflowed since the last look. */
static void update_timers(struct opl *o) {
  int64_t now = clock_now(o->dev.clock);
  for (int n = 0; n < 2; n++) {
    int64_t ahead = o->reads[n] <= READS_MAX ? o->reads[n] * READ_NS : 0;
    if (!(o->control & (n ? CONTROL_START2 : CONTROL_START1)) || now + ahead < o->overflow[n])
      continue;
    o->reads[n] = READS_MAX + 1;
    if (!(o->control & (n ? CONTROL_MASK2 : CONTROL_MASK1)))
      o->flags |= n ? STATUS_TIMER2 : STATUS_TIMER1;
    int64_t late = now > o->overflow[n] ? now - o->overflow[n] : 0;
    o->overflow[n] += (late / period(o, n) + 1) * period(o, n);
  }
}

static void write_control(struct opl *o, uint8_t value) {
  update_timers(o);
  if (value & CONTROL_RESET) { /* the other bits do not count then */
    o->flags = 0;
    return;
  }
  uint8_t started = value & ~o->control;
  o->control = value;
  for (int n = 0; n < 2; n++) {
    if (started & (n ? CONTROL_START2 : CONTROL_START1)) {
      o->overflow[n] = clock_now(o->dev.clock) + period(o, n);
      o->reads[n] = 0;
    }
  }
}

static void write_register(struct opl *o, unsigned reg, uint8_t value) {
  switch (reg) {
  case REG_TIMER1:
  case REG_TIMER2:
    update_timers(o);
    o->preset[reg - REG_TIMER1] = value;
    return;
  case REG_CONTROL: write_control(o, value); return;
  default: break;
  }
  catch_up(o);
  opl_synth_write(&o->synth, reg, value);
  if (opl_synth_active(&o->synth))
    audio_voice_wake(o->voice);
}

static uint32_t opl_read(void *opaque, uint32_t offset, int size) {
  struct opl *o = opaque;
  (void)size;
  if (offset & 1)
    return 0xff;
  for (int n = 0; n < 2; n++)
    o->reads[n] += o->reads[n] < READS_MAX;
  update_timers(o);
  return (uint8_t)(o->flags | (o->flags ? STATUS_IRQ : 0) | (o->synth.opl3 ? 0 : STATUS_OPL2));
}

static void opl_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct opl *o = opaque;
  (void)size;
  if (offset & 1)
    write_register(o, o->address, (uint8_t)value);
  else
    o->address = (uint16_t)((offset & 2) << 7 | (value & 0xff));
}

static const struct io_ops opl_ops = {opl_read, opl_write, 1};

void opl_gain(struct device *dev, uint32_t left, uint32_t right) {
  struct opl *o = DEVICE(struct opl, dev);
  audio_voice_gain(o->voice, left * CHIP_GAIN, right * CHIP_GAIN);
}

static void opl_reset(struct device *dev) {
  struct opl *o = DEVICE(struct opl, dev);
  opl_synth_reset(&o->synth);
  o->address = 0;
  o->preset[0] = o->preset[1] = 0;
  o->control = o->flags = 0;
  o->overflow[0] = o->overflow[1] = 0;
  o->reads[0] = o->reads[1] = 0;
  o->made = (uint64_t)muldiv64(clock_now(dev->clock), OPL_HZ, NS_PER_SEC);
  audio_voice_stop(o->voice);
}

static int opl_init(struct device *dev, const struct device_args *args) {
  struct opl *o = DEVICE(struct opl, dev);
  const struct opl_config *config = args->config;
  opl_synth_init(&o->synth, config->opl3);
  o->voice = audio_voice_new(config->audio, dev->id);
  if (config->audio && !o->voice)
    return -ENOMEM;
  audio_voice_rate(o->voice, OPL_HZ);
  audio_voice_pull(o->voice, pull, o);
  opl_gain(dev, AUDIO_GAIN_ONE, AUDIO_GAIN_ONE);
  opl_reset(dev);
  for (int i = 0; i < 4; i++) {
    if (!args->port[i])
      continue;
    int error = io_map(dev->io, args->port[i], config->opl3 && i < 3 ? 4 : 2, &opl_ops, o, dev->id);
    if (error) {
      audio_voice_free(o->voice);
      return error;
    }
  }
  return 0;
}

static void opl_destroy(struct device *dev) { audio_voice_free(DEVICE(struct opl, dev)->voice); }

static const struct field opl_fields[] = {
    FIELD_BUFFER(struct opl, synth.reg),
    FIELD(U32, struct opl, synth.count),
    FIELD(U32, struct opl, synth.noise),
    FIELD_ARRAY(U32, struct opl, synth.phase),
    FIELD_ARRAY(U16, struct opl, synth.level),
    FIELD_BUFFER(struct opl, synth.stage),
    FIELD_BUFFER(struct opl, synth.keys),
    FIELD_ARRAY(U16, struct opl, synth.out),
    FIELD_ARRAY(U16, struct opl, synth.before),
    FIELD(U16, struct opl, address),
    FIELD_BUFFER(struct opl, preset),
    FIELD(U8, struct opl, control),
    FIELD(U8, struct opl, flags),
    FIELD_ARRAY(I64, struct opl, overflow),
    FIELD_BUFFER(struct opl, reads),
    FIELD(U64, struct opl, made),
    FIELDS_END,
};

const struct device_class opl_class = {
    .name = "opl",
    .size = sizeof(struct opl),
    .init = opl_init,
    .reset = opl_reset,
    .destroy = opl_destroy,
    .fields = opl_fields,
};
