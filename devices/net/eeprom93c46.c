/* SPDX-License-Identifier: MIT */
/* The 93C46's instructions (its datasheet's table of instructions): see eeprom93c46.h. */
#include "devices/net/eeprom93c46.h"

enum phase { WAIT_START, COMMAND, DATA_OUT, DATA_IN, DONE };
enum opcode { EXTENDED, WRITE, READ, ERASE };
enum extended { EWDS, WRAL, ERAL, EWEN };

static void set_word(struct eeprom93c46 *e, bool all, uint16_t value) {
  if (!e->writable)
    return;
  for (unsigned i = 0; i < 64; i++)
    if (all || i == (e->address & 63u))
      e->word[i] = value;
}

/* All eight bits of instruction and address are in. */
static void command(struct eeprom93c46 *e) {
  e->opcode = e->shift >> 6 & 3;
  e->address = e->shift & 63;
  e->count = 0;
  e->phase = DONE;
  unsigned extended = e->address >> 4;
  if (e->opcode == READ) {
    e->phase = DATA_OUT;
    e->shift = e->word[e->address];
    e->dout = false; /* the dummy bit before the data */
  } else if (e->opcode == WRITE || (e->opcode == EXTENDED && extended == WRAL)) {
    e->phase = DATA_IN;
    e->shift = 0;
  } else if (e->opcode == ERASE || extended == ERAL) {
    set_word(e, e->opcode != ERASE, 0xffff);
  } else {
    e->writable = extended == EWEN;
  }
}

static void rising_edge(struct eeprom93c46 *e, bool di) {
  switch (e->phase) {
  case WAIT_START:
    e->shift = 0;
    e->count = 0;
    if (di)
      e->phase = COMMAND;
    break;
  case COMMAND:
    e->shift = (uint16_t)(e->shift << 1 | di);
    if (++e->count == 8)
      command(e);
    break;
  case DATA_OUT:
    e->dout = e->shift >> 15;
    e->shift = (uint16_t)(e->shift << 1);
    if (++e->count == 16) { /* reading goes on with the next word */
      e->count = 0;
      e->address = (e->address + 1) & 63;
      e->shift = e->word[e->address];
    }
    break;
  case DATA_IN:
    e->shift = (uint16_t)(e->shift << 1 | di);
    if (++e->count == 16) {
      set_word(e, e->opcode == EXTENDED, e->shift);
      e->phase = DONE;
      e->dout = true;
    }
    break;
  default: break;
  }
}

void eeprom93c46_pins(struct eeprom93c46 *e, bool cs, bool sk, bool di) {
  if (!cs) {
    e->phase = WAIT_START;
    e->dout = true; /* ready */
  } else if (sk && !e->sk) {
    rising_edge(e, di);
  }
  e->sk = sk;
}
