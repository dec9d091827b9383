/* SPDX-License-Identifier: MIT */
/*
 * Standard parallel port (IEEE 1284 compatibility mode; IBM PS/2 Hardware Interface Technical Reference,
 * "Parallel Port Controller"): each rising STROBE bit hands the data byte over, and the acknowledge
 * interrupts if asked. The direction bit of the PS/2 is honoured, but nobody drives the data lines. No EPP,
 * no ECP.
 */
#include "devices/parallel.h"

#define ST_FIXED 0x00 /* bit 0 must be clear: firmware passes it on as "time out" */
#define ST_NO_ERROR 0x08
#define ST_SELECTED 0x10
#define ST_NO_ACK 0x40
#define ST_READY 0x80 /* the BUSY pin, inverted */

#define CT_STROBE 0x01
#define CT_IRQ 0x10
#define CT_INPUT 0x20
#define CT_FIXED 0xc0

#define RETRY_NS 1000000

struct parallel {
  struct device dev;
  struct chardev *chardev;
  uint8_t data, control;
  uint8_t pending; /* byte that the back end has not taken yet */
  bool busy;
  bool ack; /* the pulse on the ACK line that follows a byte has not been seen yet */
  struct timer timer;
};

static void deliver(void *opaque) {
  struct parallel *p = opaque;
  if (!chardev_write(p->chardev, &p->pending, 1)) {
    timer_arm(&p->timer, clock_now(p->dev.clock) + RETRY_NS);
    return;
  }
  p->busy = false;
  p->ack = true;
  if (p->control & CT_IRQ)
    irq_pulse(&p->dev.irq[0]);
}

static void write_control(struct parallel *p, uint8_t value) {
  bool strobe = value & ~p->control & CT_STROBE;
  p->control = value & 0x3f;
  if (!strobe || !p->chardev || p->busy)
    return;
  p->pending = p->data;
  p->busy = true;
  deliver(p);
}

/* ACK is low for microseconds after each byte; firmware polls for that, so one read of the status sees it. */
static uint32_t read_status(struct parallel *p) {
  uint32_t value = ST_FIXED | ST_NO_ERROR | ST_SELECTED;
  if (!p->chardev) /* the lines float high, and BUSY is inverted */
    return value | 0x20 | ST_NO_ACK;
  value |= p->busy ? 0 : ST_READY;
  value |= p->ack ? 0 : ST_NO_ACK;
  p->ack = false;
  return value;
}

static uint32_t parallel_read(void *opaque, uint32_t offset, int size) {
  struct parallel *p = opaque;
  (void)size;
  switch (offset) {
  case 0: return p->control & CT_INPUT ? 0xff : p->data;
  case 1: return read_status(p);
  default: return p->control | CT_FIXED;
  }
}

static void parallel_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct parallel *p = opaque;
  (void)size;
  if (offset == 0)
    p->data = (uint8_t)value;
  else if (offset == 2)
    write_control(p, (uint8_t)value);
}

static const struct io_ops parallel_ops = {parallel_read, parallel_write, 1};

static void parallel_reset(struct device *dev) {
  struct parallel *p = DEVICE(struct parallel, dev);
  p->data = 0;
  p->control = 0x0c;
  p->busy = p->ack = false;
  timer_cancel(&p->timer);
}

static int parallel_init(struct device *dev, const struct device_args *args) {
  struct parallel *p = DEVICE(struct parallel, dev);
  const struct parallel_config *config = args->config;
  p->chardev = config ? config->chardev : NULL;
  timer_init(&p->timer, dev->clock, "parallel", deliver, p);
  parallel_reset(dev);
  return io_map(dev->io, args->port[0], 3, &parallel_ops, dev, "parallel");
}

static const struct field parallel_fields[] = {
    FIELD(U8, struct parallel, data),
    FIELD(U8, struct parallel, control),
    FIELD(U8, struct parallel, pending),
    FIELD(BOOL, struct parallel, busy),
    FIELD(BOOL, struct parallel, ack),
    FIELD(TIMER, struct parallel, timer),
    FIELDS_END,
};

const struct device_class parallel_class = {
    .name = "parallel",
    .size = sizeof(struct parallel),
    .init = parallel_init,
    .reset = parallel_reset,
    .fields = parallel_fields,
};
