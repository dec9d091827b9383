/* SPDX-License-Identifier: MIT */
/*
 * Frequency modulation synthesis of Yamaha's YM3812 (OPL2) and YMF262 (OPL3), after their application
 * manuals: two- and four-operator channels, eight waveforms, rhythm, vibrato, tremolo, key scaling. What the
 * manuals leave out is arithmetic known from the chips themselves: everything is a logarithm (256 steps to
 * the octave of amplitude), the tables are a quarter sine's logarithm and a power of two, envelopes count 512
 * steps of 0.1875 dB at times that a counter of samples picks.
 *
 * Not modelled: composite speech (CSM), test registers, outputs C and D of the OPL3, the digital-to-analogue
 * converter's floating point of the OPL2.
 */
#include "devices/sound/opl_synth.h"

#include <math.h>
#include <string.h>

enum opl_stage { OFF, ATTACK, DECAY, SUSTAIN, RELEASE };

#define LEVEL_MAX 511
#define PHASE_MASK 0x7ffffu
#define KEY_CHANNEL 1
#define KEY_RHYTHM 2

/* Registers, of each bank unless it says otherwise. */
enum {
  REG_TEST = 0x01,  /* OPL2: bit 5 allows other waveforms than the sine */
  REG_NOTE = 0x08,  /* bit 6: note select */
  REG_AVEKM = 0x20, /* tremolo, vibrato, sustain, key scale rate, multiple */
  REG_LEVEL = 0x40, /* key scale level, total level */
  REG_AD = 0x60,
  REG_SR = 0x80,
  REG_FNUM = 0xa0,
  REG_KEY = 0xb0,
  REG_RHYTHM = 0xbd, /* depths, rhythm; first bank only */
  REG_FEEDBACK = 0xc0,
  REG_WAVE = 0xe0,
  REG_FOUR = 0x104, /* four-operator channels */
  REG_NEW = 0x105,  /* bit 0: OPL3 mode */
};

/* What a slot's registers mean; made anew for each stretch of samples, in which no register changes. */
struct setup {
  uint32_t step;                  /* of the phase, without vibrato */
  uint16_t fnum;                  /* 10 bits */
  uint8_t block, multiple;        /* multiple: twice the factor */
  uint16_t attenuation;           /* total level and key scale level */
  uint8_t attack, decay, release; /* rates, 0..63 */
  uint8_t sustain;                /* level / 16 */
  bool hold;                      /* in SUSTAIN until the key is released */
  bool tremolo, vibrato;
  uint8_t wave;
  uint8_t feedback;
};

static const uint8_t multiples[16] = {1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 20, 24, 24, 30, 30};

/* Operator 0..17 of a bank is at this offset from a group's first register. */
static unsigned slot_offset(unsigned op) { return op / 6 * 8 + op % 6; }

/* The first operator of channel 0..17; the second is three further. */
static unsigned first_slot(unsigned channel) {
  unsigned c = channel % 9;
  return channel / 9 * 18 + c / 3 * 6 + c % 3;
}

static unsigned slot_channel(unsigned slot) {
  unsigned op = slot % 18;
  return slot / 18 * 9 + op / 6 * 3 + op % 3;
}

static uint8_t channel_reg(const struct opl_synth *s, unsigned group, unsigned channel) {
  return s->reg[channel / 9 * 256 + group + channel % 9];
}

static bool new_mode(const struct opl_synth *s) { return s->opl3 && (s->reg[REG_NEW] & 1); }

/* Is this the first (0..2, 9..11) or second (3..5, 12..14) half of a four-operator channel? */
static bool four_first(const struct opl_synth *s, unsigned channel) {
  unsigned c = channel % 9;
  return c < 3 && new_mode(s) && (s->reg[REG_FOUR] >> (channel / 9 * 3 + c) & 1);
}

static bool four_second(const struct opl_synth *s, unsigned channel) {
  unsigned c = channel % 9;
  return c >= 3 && c < 6 && four_first(s, channel - 3);
}

static bool rhythm(const struct opl_synth *s) { return s->reg[REG_RHYTHM] & 0x20; }

/* --- keys --- */

static unsigned rate_of(unsigned nibble, unsigned scale) {
  unsigned rate = nibble ? nibble * 4 + scale : 0;
  return rate > 63 ? 63 : rate;
}

/* Key scale level, in steps of the envelope: 6 dB an octave over the table for the top bits of the F-number.
 */
static unsigned key_scale(unsigned fnum, unsigned block, unsigned ksl) {
  static const uint8_t by_fnum[16] = {0, 32, 40, 45, 48, 51, 53, 55, 56, 58, 59, 60, 61, 62, 63, 64};
  static const uint8_t shift[4] = {0, 1, 2, 0}; /* 3, 1.5, 6 dB */
  int steps = by_fnum[fnum >> 6] * 4 - (int)(8 - block) * 32;
  return ksl && steps > 0 ? (unsigned)steps >> shift[ksl] : 0;
}

static void set_up(const struct opl_synth *s, unsigned slot, struct setup *u) {
  const uint8_t *reg = s->reg + slot / 18 * 256 + slot_offset(slot % 18);
  unsigned channel = slot_channel(slot);
  u->feedback = channel_reg(s, REG_FEEDBACK, channel) >> 1 & 7;
  if (four_second(s, channel))
    channel -= 3; /* its frequency rules both halves */
  uint8_t key = channel_reg(s, REG_KEY, channel);
  uint8_t avekm = reg[REG_AVEKM];
  u->fnum = (uint16_t)((key & 3) << 8 | channel_reg(s, REG_FNUM, channel));
  u->block = key >> 2 & 7;
  u->multiple = multiples[avekm & 15];
  u->step = (((uint32_t)u->fnum << u->block) >> 1) * u->multiple >> 1;
  u->attenuation = (uint16_t)((reg[REG_LEVEL] & 63) * 4 + key_scale(u->fnum, u->block, reg[REG_LEVEL] >> 6));
  unsigned split = s->reg[REG_NOTE] & 0x40 ? 8 : 9;
  unsigned scale = u->block * 2u | (u->fnum >> split & 1u);
  if (!(avekm & 0x10))
    scale >>= 2;
  u->attack = (uint8_t)rate_of(reg[REG_AD] >> 4, scale);
  u->decay = (uint8_t)rate_of(reg[REG_AD] & 15, scale);
  u->release = (uint8_t)rate_of(reg[REG_SR] & 15, scale);
  u->sustain = reg[REG_SR] >> 4;
  if (u->sustain == 15)
    u->sustain = 31;
  u->hold = avekm & 0x20;
  u->tremolo = avekm & 0x80;
  u->vibrato = avekm & 0x40;
  if (s->opl3)
    u->wave = reg[REG_WAVE] & (new_mode(s) ? 7 : 3);
  else
    u->wave = s->reg[REG_TEST] & 0x20 ? reg[REG_WAVE] & 3 : 0;
}

static void key(struct opl_synth *s, unsigned slot, unsigned who, bool down) {
  uint8_t before = s->keys[slot];
  s->keys[slot] = (uint8_t)(down ? before | who : before & ~who);
  if (!before && s->keys[slot]) {
    struct setup u;
    set_up(s, slot, &u);
    s->stage[slot] = ATTACK;
    s->phase[slot] = 0;
    if (u.attack >= 60)
      s->level[slot] = 0;
  } else if (before && !s->keys[slot] && s->stage[slot] != OFF) {
    s->stage[slot] = RELEASE;
  }
}

static void key_channel(struct opl_synth *s, unsigned channel) {
  if (four_second(s, channel))
    return;
  bool down = channel_reg(s, REG_KEY, channel) & 0x20;
  unsigned slot = first_slot(channel);
  key(s, slot, KEY_CHANNEL, down);
  key(s, slot + 3, KEY_CHANNEL, down);
  if (four_first(s, channel)) {
    key(s, slot + 6, KEY_CHANNEL, down);
    key(s, slot + 9, KEY_CHANNEL, down);
  }
}

enum { BASS_1 = 12, HI_HAT = 13, TOM = 14, BASS_2 = 15, SNARE = 16, CYMBAL = 17 };

static void key_rhythm(struct opl_synth *s) {
  uint8_t r = rhythm(s) ? s->reg[REG_RHYTHM] : 0;
  key(s, BASS_1, KEY_RHYTHM, r & 0x10);
  key(s, BASS_2, KEY_RHYTHM, r & 0x10);
  key(s, SNARE, KEY_RHYTHM, r & 0x08);
  key(s, TOM, KEY_RHYTHM, r & 0x04);
  key(s, CYMBAL, KEY_RHYTHM, r & 0x02);
  key(s, HI_HAT, KEY_RHYTHM, r & 0x01);
}

void opl_synth_write(struct opl_synth *s, unsigned reg, uint8_t value) {
  if (reg >= 0x100 && (!s->opl3 || (!new_mode(s) && reg != REG_NEW)))
    reg &= 0xff; /* the second bank exists in OPL3 mode only */
  s->reg[reg] = value;
  unsigned low = reg & 0xff;
  if (low >= REG_KEY && low < REG_KEY + 9)
    key_channel(s, reg / 256 * 9 + low - REG_KEY);
  else if (reg == REG_RHYTHM)
    key_rhythm(s);
}

/* --- envelopes --- */

/* How many steps an envelope of this rate takes with this sample. */
static unsigned envelope_steps(unsigned rate, uint32_t count) {
  static const uint8_t slow[4] = {0xaa, 0xba, 0xee, 0xfe}; /* of eight turns, those that count */
  static const uint8_t fast[4] = {0x0, 0x8, 0xa, 0xe};     /* of four, those that count double */
  unsigned high = rate >> 2, low = rate & 3;
  if (!high)
    return 0;
  if (high <= 12) {
    unsigned shift = 12 - high;
    if (count & ((1u << shift) - 1))
      return 0;
    return slow[low] >> (count >> shift & 7) & 1;
  }
  if (high == 15)
    return 4;
  return (1u + (fast[low] >> (count & 3) & 1)) << (high - 13);
}

static void silence(struct opl_synth *s, unsigned slot) {
  s->level[slot] = LEVEL_MAX;
  s->stage[slot] = OFF;
  s->out[slot] = s->before[slot] = 0;
}

static void fall(struct opl_synth *s, unsigned slot, unsigned rate) {
  unsigned level = s->level[slot] + envelope_steps(rate, s->count);
  if (level < LEVEL_MAX - 7)
    s->level[slot] = (uint16_t)level;
  else
    silence(s, slot);
}

static void envelope(struct opl_synth *s, const struct setup *u, unsigned slot) {
  switch (s->stage[slot]) {
  case ATTACK:
    if (u->attack < 60) {
      /* By an eighth of what is left, and never by nothing: an exponential approach to zero. */
      int level = s->level[slot];
      level += ~level * (int)envelope_steps(u->attack, s->count) >> 3;
      s->level[slot] = (uint16_t)(level > 0 ? level : 0);
    } else {
      s->level[slot] = 0;
    }
    if (!s->level[slot])
      s->stage[slot] = DECAY;
    break;
  case DECAY:
    if (s->level[slot] >> 4 < u->sustain)
      fall(s, slot, u->decay);
    else
      s->stage[slot] = SUSTAIN;
    if (s->level[slot] >> 4 == 31) /* 93 dB, the lowest sustain level: not to be heard */
      silence(s, slot);
    break;
  case SUSTAIN:
    if (!u->hold)
      fall(s, slot, u->release);
    break;
  case RELEASE: fall(s, slot, u->release); break;
  default: break;
  }
}

/* --- operators --- */

/* Tremolo's triangle of 3.7 Hz, in steps of the envelope: 4.8 or 1 dB deep. */
static unsigned tremolo(const struct opl_synth *s) {
  unsigned at = s->count / 64 % 210;
  return (at < 105 ? at : 210 - at) >> (s->reg[REG_RHYTHM] & 0x80 ? 2 : 4);
}

/* The phase's step under vibrato of 6.1 Hz: 14 or 7 cents, in eight turns 0 + ++ + 0 - -- -. */
static uint32_t vibrato_step(const struct opl_synth *s, const struct setup *u) {
  unsigned turn = s->count >> 10 & 7;
  int bend = u->fnum >> 7;
  if (!(turn & 3))
    bend = 0;
  else if (turn & 1)
    bend >>= 1;
  if (!(s->reg[REG_RHYTHM] & 0x40))
    bend >>= 1;
  uint32_t fnum = (uint32_t)(u->fnum + (turn & 4 ? -bend : bend));
  return ((fnum << u->block) >> 1) * u->multiple >> 1;
}

/* The amplitude -4095..4095 of a wave at a phase of 10 bits, under `attenuation` steps of 0.1875 dB. */
static int amplitude(const struct opl_synth *s, unsigned wave, unsigned phase, unsigned attenuation) {
  bool negative = phase & 0x200;
  unsigned log;
  if (wave == 6) {
    log = 0;
  } else if (wave == 7) {
    log = (phase & 0x200 ? ~phase & 0x1ff : phase & 0x1ff) << 3;
  } else {
    if (wave >= 4) { /* two periods in the first half, nothing in the second */
      if (phase & 0x200)
        return 0;
      phase <<= 1;
      negative = phase & 0x200;
    }
    if ((wave == 1 && negative) || (wave == 3 && (phase & 0x100)))
      return 0;
    log = s->sine[phase & 0x100 ? ~phase & 0xff : phase & 0xff];
    if (wave == 2 || wave == 3 || wave == 5)
      negative = false;
  }
  log += attenuation << 3;
  unsigned octaves = log >> 8;
  if (octaves > 12)
    return 0;
  int value = ((s->power[~log & 0xff] | 0x400) << 1) >> octaves;
  return negative ? -value : value;
}

static void advance_phase(struct opl_synth *s, const struct setup *u, unsigned slot) {
  uint32_t step = u->vibrato ? vibrato_step(s, u) : u->step;
  s->phase[slot] = (s->phase[slot] + step) & PHASE_MASK;
}

/* One sample of an operator whose phase, top 10 bits, is given with the modulation. */
static int operate(struct opl_synth *s, const struct setup *u, unsigned slot, unsigned phase) {
  envelope(s, u, slot);
  if (s->stage[slot] == OFF)
    return 0;
  unsigned attenuation = s->level[slot] + u->attenuation + (u->tremolo ? tremolo(s) : 0);
  int out = s->level[slot] == LEVEL_MAX ? 0 : amplitude(s, u->wave, phase & 0x3ff, attenuation);
  s->before[slot] = s->out[slot];
  s->out[slot] = (uint16_t)out;
  return out;
}

static int modulated(struct opl_synth *s, const struct setup *u, unsigned slot, int modulation) {
  int out = operate(s, &u[slot], slot, (s->phase[slot] >> 9) + (unsigned)modulation);
  advance_phase(s, &u[slot], slot);
  return out;
}

/* The first operator of a channel modulates itself, with up to two periods (4 pi). */
static int fed_back(struct opl_synth *s, const struct setup *u, unsigned slot) {
  unsigned feedback = u[slot].feedback;
  int sum = (int16_t)s->out[slot] + (int16_t)s->before[slot];
  return modulated(s, u, slot, feedback ? sum >> (9 - feedback) : 0);
}

/* --- channels --- */

struct sum {
  int left, right;
};

static void add(const struct opl_synth *s, struct sum *sum, unsigned channel, int value) {
  uint8_t to = new_mode(s) ? channel_reg(s, REG_FEEDBACK, channel) >> 4 & 3 : 3;
  if (to & 1)
    sum->left += value;
  if (to & 2)
    sum->right += value;
}

static void two_operators(struct opl_synth *s, const struct setup *u, unsigned channel, struct sum *sum) {
  unsigned slot = first_slot(channel);
  int a = fed_back(s, u, slot);
  if (channel_reg(s, REG_FEEDBACK, channel) & 1)
    add(s, sum, channel, a + modulated(s, u, slot + 3, 0));
  else
    add(s, sum, channel, modulated(s, u, slot + 3, a));
}

static void four_operators(struct opl_synth *s, const struct setup *u, unsigned channel, struct sum *sum) {
  unsigned slot = first_slot(channel);
  bool first = channel_reg(s, REG_FEEDBACK, channel) & 1;
  bool second = channel_reg(s, REG_FEEDBACK, channel + 3) & 1;
  int a = fed_back(s, u, slot);
  int b = modulated(s, u, slot + 3, first ? 0 : a);
  bool chained = !second || first; /* does the second operator modulate the third? */
  int c = modulated(s, u, slot + 6, chained ? b : 0);
  int d = modulated(s, u, slot + 9, first && second ? 0 : c);
  if (first)
    add(s, sum, channel, a);
  if (!chained)
    add(s, sum, channel, b);
  if (first && second)
    add(s, sum, channel + 3, c);
  add(s, sum, channel + 3, d);
}

/*
 * Channels 6 to 8 as bass drum, snare, tom, cymbal and hi-hat. The last two and the snare get their phase
 * from bits of the hi-hat's and the cymbal's, and from noise. Each counts twice in the sum.
 */
static void percussion(struct opl_synth *s, const struct setup *u, struct sum *sum) {
  int bass = fed_back(s, u, BASS_1);
  bass = modulated(s, u, BASS_2, channel_reg(s, REG_FEEDBACK, 6) & 1 ? 0 : bass);
  int tom = modulated(s, u, TOM, 0);
  unsigned hat = s->phase[HI_HAT] >> 9, cymbal = s->phase[CYMBAL] >> 9;
  unsigned noise = s->noise & 1;
  unsigned ring = ((hat >> 2 ^ hat >> 7) | (hat >> 3 ^ cymbal >> 5) | (cymbal >> 3 ^ cymbal >> 5)) & 1;
  unsigned tail = hat >> 8 & 1;
  int hi_hat = operate(s, &u[HI_HAT], HI_HAT, ring << 9 | (ring ^ noise ? 0xd0 : 0x34));
  int snare = operate(s, &u[SNARE], SNARE, tail << 9 | (tail ^ noise) << 8);
  int crash = operate(s, &u[CYMBAL], CYMBAL, ring << 9 | 0x100);
  advance_phase(s, &u[HI_HAT], HI_HAT);
  advance_phase(s, &u[SNARE], SNARE);
  advance_phase(s, &u[CYMBAL], CYMBAL);
  add(s, sum, 6, bass * 2);
  add(s, sum, 7, (hi_hat + snare) * 2);
  add(s, sum, 8, (tom + crash) * 2);
}

static bool sounds(const struct opl_synth *s, unsigned slot) { return s->stage[slot] != OFF; }

static void step_noise(struct opl_synth *s) {
  s->noise = s->noise >> 1 | ((s->noise ^ s->noise >> 14) & 1) << 22;
}

static int16_t clip(int value) {
  return (int16_t)(value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value);
}

void opl_synth_render(struct opl_synth *s, struct audio_frame *frames, size_t count) {
  struct setup setup[OPL_SLOTS];
  unsigned channels = s->opl3 ? OPL_CHANNELS : 9;
  for (unsigned slot = 0; slot < channels * 2; slot++)
    set_up(s, slot, &setup[slot]);
  for (size_t i = 0; i < count; i++) {
    struct sum sum = {0, 0};
    s->count++;
    step_noise(s);
    for (unsigned c = 0; c < channels; c++) {
      unsigned slot = first_slot(c);
      if (four_second(s, c) || (rhythm(s) && c >= 6 && c < 9))
        continue;
      if (four_first(s, c)) {
        if (sounds(s, slot) || sounds(s, slot + 3) || sounds(s, slot + 6) || sounds(s, slot + 9))
          four_operators(s, setup, c, &sum);
      } else if (sounds(s, slot) || sounds(s, slot + 3)) {
        two_operators(s, setup, c, &sum);
      }
    }
    if (rhythm(s))
      percussion(s, setup, &sum);
    frames[i] = (struct audio_frame){clip(sum.left), clip(sum.right)};
  }
}

bool opl_synth_active(const struct opl_synth *s) {
  for (unsigned slot = 0; slot < OPL_SLOTS; slot++)
    if (sounds(s, slot))
      return true;
  return false;
}

/* Phases do not matter: each starts at zero with its key. Nor does it matter where silence leaves the noise.
 */
void opl_synth_skip(struct opl_synth *s, uint64_t count) { s->count += (uint32_t)count; }

void opl_synth_reset(struct opl_synth *s) {
  memset(s->reg, 0, sizeof s->reg);
  s->count = 0;
  s->noise = 1;
  for (unsigned slot = 0; slot < OPL_SLOTS; slot++) {
    s->phase[slot] = 0;
    s->level[slot] = LEVEL_MAX;
    s->stage[slot] = OFF;
    s->keys[slot] = 0;
    s->out[slot] = s->before[slot] = 0;
  }
}

void opl_synth_init(struct opl_synth *s, bool opl3) {
  s->opl3 = opl3;
  for (int i = 0; i < 256; i++) {
    s->sine[i] = (uint16_t)lround(-log2(sin((i + 0.5) * M_PI / 512)) * 256);
    s->power[i] = (uint16_t)lround((exp2(i / 256.0) - 1) * 1024);
  }
  opl_synth_reset(s);
}
