/* SPDX-License-Identifier: MIT */
/*
 * 93C46: 1024 bits of serial EEPROM in 64 words, as on network cards (Microwire: a start bit, two bits of
 * instruction, six of address, then data, on rising edges of SK while CS is high). Writing takes no time.
 */
#ifndef DEVICES_NET_EEPROM93C46_H
#define DEVICES_NET_EEPROM93C46_H

#include <stdbool.h>
#include <stdint.h>

struct eeprom93c46 {
  uint16_t word[64];
  uint16_t shift;
  uint8_t phase, count, address, opcode;
  bool sk, dout, writable;
};

void eeprom93c46_pins(struct eeprom93c46 *e, bool cs, bool sk, bool di); /* DO is e->dout afterwards */

#define EEPROM93C46_FIELDS(type, e)                                                                          \
  FIELD_ARRAY(U16, type, e.word), FIELD(U16, type, e.shift), FIELD(U8, type, e.phase),                       \
      FIELD(U8, type, e.count), FIELD(U8, type, e.address), FIELD(U8, type, e.opcode),                       \
      FIELD(BOOL, type, e.sk), FIELD(BOOL, type, e.dout), FIELD(BOOL, type, e.writable)

#endif
