/* SPDX-License-Identifier: MIT */
/*
 * 8042 keyboard controller with auxiliary port (IBM PS/2 Hardware Interface Technical Reference, "Keyboard
 * and Auxiliary Device Controller"): command byte, self and interface tests, output port with A20 gate and
 * system reset, translation of scan code set 2 to set 1.
 *
 * A device's next byte becomes visible some time after the previous one was read, as on the serial wire:
 * interrupt handlers that read the data port twice see the same byte. Not modelled: the password, time-out
 * and parity errors.
 */
#include "devices/i8042.h"

#include <string.h>

#include "devices/ps2.h"

#define BYTE_GAP_NS 250000

#define STR_OBF 0x01
#define STR_SYS 0x04
#define STR_CMD 0x08
#define STR_UNLOCKED 0x10
#define STR_AUX 0x20 /* the byte in the output buffer is the mouse's */

#define CTR_INT 0x01
#define CTR_INT2 0x02
#define CTR_SYS 0x04
#define CTR_KBD_DISABLED 0x10
#define CTR_AUX_DISABLED 0x20
#define CTR_TRANSLATE 0x40

#define OUT_NOT_RESET 0x01
#define OUT_A20 0x02
#define OUT_OBF 0x10
#define OUT_AUX_OBF 0x20
#define OUT_FIXED 0xc0 /* clock and data of the keyboard, idle */

enum { LINE_KBD, LINE_AUX, LINE_A20, LINE_RESET };

struct i8042 {
  struct device dev;
  struct ps2_port *kbd, *aux;
  uint8_t ram[32]; /* byte 0 is the command byte */
  uint8_t status, data, outport;
  uint8_t expect;              /* command whose parameter comes next at port 60h; 0 = none */
  bool has_answer, answer_aux; /* the controller's own byte waits for the output buffer */
  uint8_t answer;
  bool break_prefix;  /* translation: F0 came, the next code is a break */
  struct timer timer; /* armed: the wire is busy */
};

/* Scan code set 2 -> set 1. */
static const uint8_t translation[128] = {
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

static void update_lines(struct i8042 *k) {
  bool full = k->status & STR_OBF, aux = k->status & STR_AUX;
  k->outport &= ~(OUT_OBF | OUT_AUX_OBF);
  if (full)
    k->outport |= aux ? OUT_AUX_OBF : OUT_OBF;
  irq_set(&k->dev.irq[LINE_KBD], full && !aux && (k->ram[0] & CTR_INT));
  irq_set(&k->dev.irq[LINE_AUX], full && aux && (k->ram[0] & CTR_INT2));
}

static void fill(struct i8042 *k, uint8_t byte, bool aux) {
  k->data = byte;
  k->status = (uint8_t)((k->status & ~STR_AUX) | STR_OBF | (aux ? STR_AUX : 0));
  update_lines(k);
}

/* Take a byte from the keyboard through the translation. False: it was only a prefix, or there was none. */
static bool take_key(struct i8042 *k, uint8_t *out) {
  while (ps2_has_data(k->kbd)) {
    uint8_t byte = ps2_take(k->kbd);
    if (!(k->ram[0] & CTR_TRANSLATE)) {
      *out = byte;
      return true;
    }
    if (byte == 0xf0) {
      k->break_prefix = true;
      continue;
    }
    uint8_t code = byte < 128 ? translation[byte] : byte == 0x83 ? 0x41 : byte == 0x84 ? 0x54 : byte;
    *out = code | (k->break_prefix ? 0x80 : 0);
    k->break_prefix = false;
    return true;
  }
  return false;
}

/* Fill the output buffer, if it is empty, with what waits. */
static void pump(struct i8042 *k) {
  uint8_t byte;
  if (k->status & STR_OBF)
    return;
  if (k->has_answer) {
    k->has_answer = false;
    fill(k, k->answer, k->answer_aux);
  } else if (k->timer.armed) {
    return;
  } else if (k->kbd && !(k->ram[0] & CTR_KBD_DISABLED) && take_key(k, &byte)) {
    fill(k, byte, false);
  } else if (k->aux && !(k->ram[0] & CTR_AUX_DISABLED) && ps2_has_data(k->aux)) {
    fill(k, ps2_take(k->aux), true);
  }
}

static void wire_idle(void *opaque) { pump(opaque); }
static void device_has_data(void *opaque) { pump(opaque); }

static void answer(struct i8042 *k, uint8_t byte, bool aux) {
  k->has_answer = true;
  k->answer = byte;
  k->answer_aux = aux;
  pump(k);
}

static void write_ctr(struct i8042 *k, uint8_t value) {
  k->ram[0] = value;
  k->status = (uint8_t)((k->status & ~STR_SYS) | (value & CTR_SYS ? STR_SYS : 0));
  update_lines(k);
  pump(k);
}

static void write_outport(struct i8042 *k, uint8_t value) {
  k->outport =
      (uint8_t)((value & (OUT_NOT_RESET | OUT_A20)) | (k->outport & (OUT_OBF | OUT_AUX_OBF)) | OUT_FIXED);
  irq_set(&k->dev.irq[LINE_A20], !!(value & OUT_A20));
  if (!(value & OUT_NOT_RESET))
    irq_pulse(&k->dev.irq[LINE_RESET]);
}

static void write_command(struct i8042 *k, uint8_t value) {
  k->status |= STR_CMD;
  k->expect = 0;
  switch (value) {
  case 0xa4: answer(k, 0xf1, false); break; /* no password */
  case 0xa7: write_ctr(k, k->ram[0] | CTR_AUX_DISABLED); break;
  case 0xa8: write_ctr(k, k->ram[0] & ~CTR_AUX_DISABLED); break;
  case 0xa9: answer(k, k->aux ? 0x00 : 0x02, false); break;
  case 0xaa:
    k->status |= STR_SYS;
    k->ram[0] |= CTR_SYS;
    answer(k, 0x55, false);
    break;
  case 0xab: answer(k, 0x00, false); break;
  case 0xad: write_ctr(k, k->ram[0] | CTR_KBD_DISABLED); break;
  case 0xae: write_ctr(k, k->ram[0] & ~CTR_KBD_DISABLED); break;
  case 0xc0: answer(k, 0xa0, false); break; /* not locked, no manufacturing jumper */
  case 0xd0: answer(k, k->outport, false); break;
  case 0xd1:
  case 0xd2:
  case 0xd3:
  case 0xd4: k->expect = value; break;
  case 0xdd: write_outport(k, k->outport & ~OUT_A20); break;
  case 0xdf: write_outport(k, k->outport | OUT_A20); break;
  case 0xe0: answer(k, 0x00, false); break; /* test inputs: clocks */
  default:
    if (value >= 0x20 && value <= 0x3f)
      answer(k, k->ram[value & 31], false);
    else if (value >= 0x60 && value <= 0x7f)
      k->expect = value;
    else if (value >= 0xf0 && !(value & 1)) /* pulse output bit 0 */
      irq_pulse(&k->dev.irq[LINE_RESET]);
    break;
  }
}

static void write_data(struct i8042 *k, uint8_t value) {
  uint8_t command = k->expect;
  k->expect = 0;
  k->status &= ~STR_CMD;
  if (command >= 0x60 && command <= 0x7f) {
    if (command == 0x60)
      write_ctr(k, value);
    else
      k->ram[command & 31] = value;
  } else if (command == 0xd1) {
    write_outport(k, value);
  } else if (command == 0xd2 || command == 0xd3) {
    answer(k, value, command == 0xd3);
  } else if (command == 0xd4) {
    if (k->aux) {
      k->ram[0] &= ~CTR_AUX_DISABLED;
      k->aux->command(k->aux, value);
    }
  } else if (k->kbd) {
    k->ram[0] &= ~CTR_KBD_DISABLED;
    k->break_prefix = false;
    k->kbd->command(k->kbd, value);
  }
}

static uint32_t data_read(void *opaque, uint32_t offset, int size) {
  struct i8042 *k = opaque;
  (void)offset, (void)size;
  uint8_t data = k->data;
  if (k->status & STR_OBF) {
    k->status &= ~(STR_OBF | STR_AUX);
    update_lines(k);
    timer_arm(&k->timer, clock_now(k->dev.clock) + BYTE_GAP_NS);
    pump(k);
  }
  return data;
}

static void data_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)offset, (void)size;
  write_data(opaque, (uint8_t)value);
}

static uint32_t status_read(void *opaque, uint32_t offset, int size) {
  struct i8042 *k = opaque;
  (void)offset, (void)size;
  return k->status;
}

static void status_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)offset, (void)size;
  write_command(opaque, (uint8_t)value);
}

void i8042_set_a20(struct device *dev, bool level) {
  struct i8042 *k = DEVICE(struct i8042, dev);
  k->outport = (uint8_t)((k->outport & ~OUT_A20) | (level ? OUT_A20 : 0));
}

static const struct io_ops data_ops = {data_read, data_write, 1};
static const struct io_ops status_ops = {status_read, status_write, 1};

static void i8042_reset(struct device *dev) {
  struct i8042 *k = DEVICE(struct i8042, dev);
  memset(k->ram, 0, sizeof(k->ram));
  k->ram[0] = CTR_INT | CTR_INT2;
  k->status = STR_CMD | STR_UNLOCKED;
  k->data = 0;
  k->outport = OUT_NOT_RESET | OUT_A20 | OUT_FIXED;
  k->expect = 0;
  k->has_answer = k->break_prefix = false;
  timer_cancel(&k->timer);
  update_lines(k);
}

static void attach(struct ps2_port *p, struct i8042 *k) {
  p->notify = device_has_data;
  p->notify_opaque = k;
}

static int i8042_init(struct device *dev, const struct device_args *args) {
  struct i8042 *k = DEVICE(struct i8042, dev);
  const struct i8042_config *config = args->config;
  if (config && config->keyboard) {
    k->kbd = DEVICE(struct ps2_port, config->keyboard);
    attach(k->kbd, k);
  }
  if (config && config->mouse) {
    k->aux = DEVICE(struct ps2_port, config->mouse);
    attach(k->aux, k);
  }
  timer_init(&k->timer, dev->clock, "i8042", wire_idle, k);
  i8042_reset(dev);
  int err = io_map(dev->io, args->port[0], 1, &data_ops, dev, "i8042-data");
  return err ? err : io_map(dev->io, args->port[1], 1, &status_ops, dev, "i8042-status");
}

static const struct field i8042_fields[] = {
    FIELD_BUFFER(struct i8042, ram),
    FIELD(U8, struct i8042, status),
    FIELD(U8, struct i8042, data),
    FIELD(U8, struct i8042, outport),
    FIELD(U8, struct i8042, expect),
    FIELD(BOOL, struct i8042, has_answer),
    FIELD(BOOL, struct i8042, answer_aux),
    FIELD(U8, struct i8042, answer),
    FIELD(BOOL, struct i8042, break_prefix),
    FIELD(TIMER, struct i8042, timer),
    FIELDS_END,
};

const struct device_class i8042_class = {
    .name = "i8042",
    .size = sizeof(struct i8042),
    .init = i8042_init,
    .reset = i8042_reset,
    .fields = i8042_fields,
};
