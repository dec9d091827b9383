/* SPDX-License-Identifier: MIT */
/*
 * MPU-401 (Roland MPU-401 Technical Reference Manual; Creative's Sound Blaster 16 Programming Guide, ch. 5):
 * the commands FFh (reset) and 3Fh (UART mode) are acknowledged; in UART mode every byte goes to the MIDI
 * cable, where it is counted and forgotten. Not modelled: the intelligent mode's other commands, whose
 * acknowledgement is all that comes back; MIDI input.
 */
#include "devices/sound/mpu401.h"

#define ACK 0xfe

enum { COMMAND_UART = 0x3f, COMMAND_RESET = 0xff };
enum { STATUS_NO_DATA = 0x80, STATUS_BUSY = 0x40, STATUS_ONES = 0x3f };

struct mpu401 {
  struct device dev;
  bool uart;
  uint8_t waiting; /* bytes to read, all of them ACK */
  uint64_t sent;
};

uint64_t mpu401_sent(const struct device *dev) { return DEVICE(const struct mpu401, dev)->sent; }

static void set_waiting(struct mpu401 *m, uint8_t waiting) {
  m->waiting = waiting;
  irq_set(&m->dev.irq[0], waiting != 0);
}

static void write_command(struct mpu401 *m, uint8_t value) {
  if (m->uart) { /* only a reset is heard, and not acknowledged */
    if (value == COMMAND_RESET) {
      m->uart = false;
      set_waiting(m, 0);
    }
    return;
  }
  m->uart = value == COMMAND_UART;
  set_waiting(m, 1);
}

static uint32_t mpu_read(void *opaque, uint32_t offset, int size) {
  struct mpu401 *m = opaque;
  (void)size;
  if (offset)
    return STATUS_ONES | (m->waiting ? 0 : STATUS_NO_DATA);
  if (!m->waiting)
    return 0xff;
  set_waiting(m, (uint8_t)(m->waiting - 1));
  return ACK;
}

static void mpu_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct mpu401 *m = opaque;
  (void)size;
  if (offset)
    write_command(m, (uint8_t)value);
  else if (m->uart)
    m->sent++;
}

static const struct io_ops mpu_ops = {mpu_read, mpu_write, 1};

static void mpu_reset(struct device *dev) {
  struct mpu401 *m = DEVICE(struct mpu401, dev);
  m->uart = false;
  set_waiting(m, 0);
}

static int mpu_init(struct device *dev, const struct device_args *args) {
  return io_map(dev->io, args->port[0], 2, &mpu_ops, dev, dev->id);
}

static const struct field mpu_fields[] = {
    FIELD(BOOL, struct mpu401, uart),
    FIELD(U8, struct mpu401, waiting),
    FIELD(U64, struct mpu401, sent),
    FIELDS_END,
};

const struct device_class mpu401_class = {
    .name = "mpu401",
    .size = sizeof(struct mpu401),
    .init = mpu_init,
    .reset = mpu_reset,
    .fields = mpu_fields,
};
