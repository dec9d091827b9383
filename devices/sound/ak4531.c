/* SPDX-License-Identifier: MIT */
/* AK4531 (datasheet, "Register map" and "Volume tables"): 0 to -62 dB for the master, +12 to -50 dB for
 * inputs. */
#include "devices/sound/ak4531.h"

#include <string.h>

#include "devices/sound/pcm.h"

enum { /* registers, left first where there are two */
       MASTER = 0x00,
       VOICE = 0x02,
       FM = 0x04,
       MONO_OUT = 0x0f,
       OUT_SW1 = 0x10,
       OUT_SW2 = 0x11,
       RESET = 0x16,
};

#define MUTE 0x80
#define STEPS 0x1f   /* of 2 dB */
#define INPUT_DB 12  /* at step 0 */
#define ZERO_DB 0x06 /* the step that is 0 dB for inputs */
#define RESET_OFF 0x01
#define POWER_ON 0x02

void ak4531_reset(struct ak4531 *k) {
  memset(k->reg, 0, sizeof k->reg);
  memset(k->reg + MASTER, MUTE, 2);
  memset(k->reg + VOICE, MUTE | ZERO_DB, MONO_OUT - VOICE);
  k->reg[MONO_OUT] = MUTE;
  k->reg[RESET] = RESET_OFF | POWER_ON;
}

void ak4531_write(struct ak4531 *k, uint8_t reg, uint8_t value) {
  if (reg >= AK4531_REGS)
    return;
  if (reg == RESET && !(value & RESET_OFF))
    ak4531_reset(k);
  k->reg[reg] = value;
}

static uint32_t gain(const struct ak4531 *k, int input, int side, bool on) {
  uint8_t master = k->reg[MASTER + side], volume = k->reg[input + side];
  if (!on || (master & MUTE) || (volume & MUTE) || (k->reg[RESET] & 3) != (RESET_OFF | POWER_ON))
    return 0;
  return pcm_gain(INPUT_DB - 2 * (volume & STEPS) - 2 * (master & STEPS));
}

void ak4531_gain(const struct ak4531 *k, enum ak4531_input input, uint32_t *left, uint32_t *right) {
  bool fm = input == AK4531_FM;
  uint8_t switches = fm ? k->reg[OUT_SW1] >> 5 : k->reg[OUT_SW2] >> 2;
  *left = gain(k, fm ? FM : VOICE, 0, switches & 2);
  *right = gain(k, fm ? FM : VOICE, 1, switches & 1);
}
