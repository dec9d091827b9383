/* SPDX-License-Identifier: MIT */
/*
 * System control ports of the AT and PS/2 (82371SB, sections 2.5.4 and 2.5.5): port B at 61h with the
 * speaker, the gate and output of timer channel 2 and the refresh toggle; port A at 92h with A20 and fast
 * reset. No parity or channel check errors occur.
 */
#include "devices/sysctl.h"

#define B_GATE2 0x01
#define B_SPEAKER 0x02
#define B_WRITABLE 0x0f
#define B_REFRESH 0x10
#define B_OUT2 0x20

#define A_RESET 0x01
#define A_A20 0x02

#define REFRESH_NS 15085 /* 18 ticks of the timer's clock */

enum { LINE_A20, LINE_RESET };

struct sysctl {
  struct device dev;
  struct sysctl_config config;
  uint8_t port_b, port_a;
};

static uint32_t port_b_read(void *opaque, uint32_t offset, int size) {
  struct sysctl *s = opaque;
  (void)offset, (void)size;
  uint32_t value = s->port_b;
  if (clock_now(s->dev.clock) / REFRESH_NS & 1)
    value |= B_REFRESH;
  if (s->config.get_out2 && s->config.get_out2(s->config.pit))
    value |= B_OUT2;
  return value;
}

static void port_b_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct sysctl *s = opaque;
  (void)offset, (void)size;
  s->port_b = value & B_WRITABLE;
  if (s->config.set_gate2)
    s->config.set_gate2(s->config.pit, value & B_GATE2);
  if (s->config.speaker)
    s->config.speaker(s->config.speaker_opaque, value & B_GATE2, value & B_SPEAKER);
}

static uint32_t port_a_read(void *opaque, uint32_t offset, int size) {
  struct sysctl *s = opaque;
  (void)offset, (void)size;
  return s->port_a;
}

static void port_a_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct sysctl *s = opaque;
  bool reset = (value & A_RESET) && !(s->port_a & A_RESET);
  (void)offset, (void)size;
  s->port_a = (uint8_t)value;
  irq_set(&s->dev.irq[LINE_A20], !!(value & A_A20));
  if (reset)
    irq_pulse(&s->dev.irq[LINE_RESET]);
}

void sysctl_set_a20(struct device *dev, bool level) {
  struct sysctl *s = DEVICE(struct sysctl, dev);
  s->port_a = (uint8_t)((s->port_a & ~A_A20) | (level ? A_A20 : 0));
}

static const struct io_ops port_b_ops = {port_b_read, port_b_write, 1};
static const struct io_ops port_a_ops = {port_a_read, port_a_write, 1};

static void sysctl_reset(struct device *dev) {
  struct sysctl *s = DEVICE(struct sysctl, dev);
  s->port_a = A_A20; /* A20 passes after reset, until the firmware decides */
  port_b_write(s, 0, 1, 0);
}

static int sysctl_init(struct device *dev, const struct device_args *args) {
  struct sysctl *s = DEVICE(struct sysctl, dev);
  if (args->config)
    s->config = *(const struct sysctl_config *)args->config;
  sysctl_reset(dev);
  int err = io_map(dev->io, args->port[0], 1, &port_b_ops, dev, "sysctl-b");
  return err ? err : io_map(dev->io, args->port[1], 1, &port_a_ops, dev, "sysctl-a");
}

static const struct field sysctl_fields[] = {
    FIELD(U8, struct sysctl, port_b),
    FIELD(U8, struct sysctl, port_a),
    FIELDS_END,
};

const struct device_class sysctl_class = {
    .name = "sysctl",
    .size = sizeof(struct sysctl),
    .init = sysctl_init,
    .reset = sysctl_reset,
    .fields = sysctl_fields,
};
