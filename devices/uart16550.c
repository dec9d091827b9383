/* SPDX-License-Identifier: MIT */
/*
 * PC16550D UART (National Semiconductor datasheet, TL/C/8652): FIFOs, prioritised interrupts with receive
 * time-out, modem control, loopback. OUT2 gates the interrupt line, as on the PC.
 *
 * Characters leave at once, whatever the baud rate, unless `paced` is set; a back end that takes no more
 * keeps the transmitter full. The modem inputs are CTS, DSR and DCD, always on. Parity, stop bits and word
 * length are only remembered.
 */
#include "devices/uart16550.h"

#include <string.h>

#define FIFO 16
#define CLOCK_HZ 1843200
#define RETRY_NS 1000000
#define TIMEOUT_MAX_NS 500000

enum { IER_RX = 1, IER_TX = 2, IER_LINE = 4, IER_MODEM = 8 };
enum { IIR_NONE = 1, IIR_MODEM = 0, IIR_TX = 2, IIR_RX = 4, IIR_LINE = 6, IIR_TIMEOUT = 12 };
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_DMA = 8 };
enum { LCR_BREAK = 0x40, LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16 };
enum {
  LSR_DR = 1,
  LSR_OE = 2,
  LSR_BI = 16,
  LSR_ERRORS = 0x1e,
  LSR_THRE = 32,
  LSR_TEMT = 64,
  LSR_FIFO_ERROR = 128
};
enum { MSR_DELTA = 0x0f, MSR_TERI = 4, MSR_CTS = 16, MSR_DSR = 32, MSR_RI = 64, MSR_DCD = 128 };

struct uart {
  struct device dev;
  struct chardev *chardev;
  bool paced;
  uint8_t ier, fcr, lcr, mcr, lsr, msr, scratch;
  uint16_t divisor;
  bool tx_pending; /* the transmitter's interrupt condition */
  bool timeout_pending;
  uint8_t rx[FIFO], tx[FIFO];
  uint8_t rx_head, rx_count, tx_head, tx_count;
  struct timer tx_timer, rx_timer;
};

static bool fifo_mode(const struct uart *u) { return u->fcr & FCR_ENABLE; }

static unsigned rx_trigger(const struct uart *u) {
  static const uint8_t level[4] = {1, 4, 8, 14};
  return fifo_mode(u) ? level[u->fcr >> 6] : 1;
}

static int64_t char_ns(const struct uart *u) {
  unsigned bits = 1 + 5 + (u->lcr & 3) + (u->lcr >> 3 & 1) + 1 + (u->lcr >> 2 & 1);
  int64_t divisor = u->divisor ? u->divisor : 65536;
  return bits * 16 * divisor * NS_PER_SEC / CLOCK_HZ;
}

static uint8_t interrupt_id(const struct uart *u) {
  if ((u->ier & IER_LINE) && (u->lsr & LSR_ERRORS))
    return IIR_LINE;
  if ((u->ier & IER_RX) && u->rx_count >= rx_trigger(u))
    return IIR_RX;
  if ((u->ier & IER_RX) && u->timeout_pending)
    return IIR_TIMEOUT;
  if ((u->ier & IER_TX) && u->tx_pending)
    return IIR_TX;
  if ((u->ier & IER_MODEM) && (u->msr & MSR_DELTA))
    return IIR_MODEM;
  return IIR_NONE;
}

static void update_line(struct uart *u) {
  irq_set(&u->dev.irq[0], interrupt_id(u) != IIR_NONE && (u->mcr & MCR_OUT2));
}

/* --- receiver --- */

static unsigned rx_capacity(const struct uart *u) { return fifo_mode(u) ? FIFO : 1; }

static void rx_arm_timeout(struct uart *u) {
  if (!fifo_mode(u) || !u->rx_count) {
    timer_cancel(&u->rx_timer);
    return;
  }
  int64_t wait = 4 * char_ns(u);
  if (!u->paced && wait > TIMEOUT_MAX_NS)
    wait = TIMEOUT_MAX_NS;
  timer_arm(&u->rx_timer, clock_now(u->dev.clock) + wait);
}

static void rx_push(struct uart *u, uint8_t byte) {
  if (u->rx_count >= rx_capacity(u)) {
    u->lsr |= LSR_OE;
    if (!fifo_mode(u)) /* the register is overwritten; the FIFO keeps what it has */
      u->rx[u->rx_head] = byte;
    return;
  }
  u->rx[(u->rx_head + u->rx_count++) % FIFO] = byte;
  u->lsr |= LSR_DR;
}

static void rx_clear(struct uart *u) {
  u->rx_head = u->rx_count = 0;
  u->lsr &= ~(LSR_DR | LSR_BI | LSR_FIFO_ERROR);
  u->timeout_pending = false;
  timer_cancel(&u->rx_timer);
}

static void rx_timeout(void *opaque) {
  struct uart *u = opaque;
  u->timeout_pending = u->rx_count > 0;
  update_line(u);
}

static size_t uart_can_receive(void *opaque) {
  struct uart *u = opaque;
  if (u->mcr & MCR_LOOP)
    return 0;
  return rx_capacity(u) > u->rx_count ? rx_capacity(u) - u->rx_count : 0;
}

static void uart_receive(void *opaque, const uint8_t *buf, size_t len) {
  struct uart *u = opaque;
  if (u->mcr & MCR_LOOP)
    return;
  for (size_t i = 0; i < len; i++)
    rx_push(u, buf[i]);
  rx_arm_timeout(u);
  update_line(u);
}

static void backend_ready(struct uart *u) {
  if (u->chardev && u->chardev->device_ready && uart_can_receive(u))
    u->chardev->device_ready(u->chardev);
}

static uint8_t read_rbr(struct uart *u) {
  uint8_t byte = u->rx[u->rx_head];
  if (u->rx_count) {
    u->rx_count--;
    if (fifo_mode(u))
      u->rx_head = (u->rx_head + 1) % FIFO;
  }
  if (!u->rx_count)
    u->lsr &= ~LSR_DR;
  u->timeout_pending = false;
  rx_arm_timeout(u);
  update_line(u);
  backend_ready(u);
  return byte;
}

/* --- transmitter --- */

static void tx_empty(struct uart *u) {
  u->lsr |= LSR_THRE | LSR_TEMT;
  u->tx_pending = true;
  update_line(u);
}

static void tx_drop(struct uart *u, size_t n) {
  u->tx_head = (uint8_t)((u->tx_head + n) % FIFO);
  u->tx_count = (uint8_t)(u->tx_count - n);
}

/* Hand over what the back end takes; come back for the rest. */
static void tx_flush(struct uart *u) {
  while (u->tx_count) {
    size_t run = u->tx_head + u->tx_count > FIFO ? (size_t)(FIFO - u->tx_head) : u->tx_count;
    if (u->paced)
      run = 1;
    size_t taken = chardev_write(u->chardev, &u->tx[u->tx_head], run);
    tx_drop(u, taken < run ? taken : run);
    if (u->paced || taken < run) {
      timer_arm(&u->tx_timer, clock_now(u->dev.clock) + (taken ? char_ns(u) : RETRY_NS));
      return;
    }
  }
  tx_empty(u);
}

static void tx_timer(void *opaque) { tx_flush(opaque); }

static void write_thr(struct uart *u, uint8_t byte) {
  u->tx_pending = false;
  if (u->mcr & MCR_LOOP) {
    rx_push(u, byte);
    rx_arm_timeout(u);
    tx_empty(u);
    return;
  }
  unsigned capacity = fifo_mode(u) ? FIFO : 1;
  if (u->tx_count >= capacity) /* overwrites what was written last */
    u->tx_count--;
  u->tx[(u->tx_head + u->tx_count++) % FIFO] = byte;
  u->lsr &= ~(LSR_THRE | LSR_TEMT);
  if (!u->tx_timer.armed)
    tx_flush(u);
  else
    update_line(u);
}

static void tx_clear(struct uart *u) {
  u->tx_head = u->tx_count = 0;
  timer_cancel(&u->tx_timer);
  u->lsr |= LSR_THRE | LSR_TEMT;
}

/* --- registers --- */

static void update_modem(struct uart *u) {
  uint8_t in = MSR_CTS | MSR_DSR | MSR_DCD, old = u->msr;
  if (u->mcr & MCR_LOOP) {
    in = (uint8_t)((u->mcr & MCR_DTR ? MSR_DSR : 0) | (u->mcr & MCR_RTS ? MSR_CTS : 0) |
                   (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0));
  }
  uint8_t delta = (uint8_t)((in ^ old) >> 4);
  if (in & MSR_RI) /* only the trailing edge of RI counts */
    delta &= ~MSR_TERI;
  u->msr = (uint8_t)(in | (old & MSR_DELTA) | delta);
}

static void write_fcr(struct uart *u, uint8_t value) {
  bool toggled = (value ^ u->fcr) & FCR_ENABLE;
  if (toggled || (value & FCR_CLEAR_RX))
    rx_clear(u);
  if (toggled || (value & FCR_CLEAR_TX)) {
    bool was_busy = u->tx_count > 0;
    tx_clear(u);
    if (was_busy)
      u->tx_pending = true;
  }
  u->fcr = value & FCR_ENABLE ? value & (0xc0 | FCR_DMA | FCR_ENABLE) : 0;
  update_line(u);
  backend_ready(u);
}

static void write_ier(struct uart *u, uint8_t value) {
  if ((value & ~u->ier & IER_TX) && (u->lsr & LSR_THRE))
    u->tx_pending = true;
  u->ier = value & 15;
  update_line(u);
}

static void write_lcr(struct uart *u, uint8_t value) {
  bool starts_break = value & ~u->lcr & LCR_BREAK;
  u->lcr = value;
  if (starts_break && (u->mcr & MCR_LOOP)) {
    rx_push(u, 0);
    u->lsr |= LSR_BI;
    update_line(u);
  }
}

static void write_mcr(struct uart *u, uint8_t value) {
  u->mcr = value & 0x1f;
  update_modem(u);
  update_line(u);
  backend_ready(u);
}

static void uart_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct uart *u = opaque;
  uint8_t byte = (uint8_t)value;
  (void)size;
  switch (offset) {
  case 0:
    if (u->lcr & LCR_DLAB)
      u->divisor = (uint16_t)((u->divisor & 0xff00) | byte);
    else
      write_thr(u, byte);
    break;
  case 1:
    if (u->lcr & LCR_DLAB)
      u->divisor = (uint16_t)((u->divisor & 0x00ff) | byte << 8);
    else
      write_ier(u, byte);
    break;
  case 2: write_fcr(u, byte); break;
  case 3: write_lcr(u, byte); break;
  case 4: write_mcr(u, byte); break;
  case 7: u->scratch = byte; break;
  default: break; /* LSR and MSR: factory tests */
  }
}

static uint8_t read_iir(struct uart *u) {
  uint8_t id = interrupt_id(u);
  if (id == IIR_TX) {
    u->tx_pending = false;
    update_line(u);
  }
  return id | (fifo_mode(u) ? 0xc0 : 0);
}

static uint8_t read_lsr(struct uart *u) {
  uint8_t value = u->lsr;
  if (value & LSR_ERRORS) {
    u->lsr &= ~(LSR_ERRORS | LSR_FIFO_ERROR);
    update_line(u);
  }
  return value;
}

static uint8_t read_msr(struct uart *u) {
  uint8_t value = u->msr;
  if (value & MSR_DELTA) {
    u->msr &= ~MSR_DELTA;
    update_line(u);
  }
  return value;
}

static uint32_t uart_read(void *opaque, uint32_t offset, int size) {
  struct uart *u = opaque;
  (void)size;
  switch (offset) {
  case 0: return u->lcr & LCR_DLAB ? u->divisor & 0xff : read_rbr(u);
  case 1: return u->lcr & LCR_DLAB ? u->divisor >> 8 : u->ier;
  case 2: return read_iir(u);
  case 3: return u->lcr;
  case 4: return u->mcr;
  case 5: return read_lsr(u);
  case 6: return read_msr(u);
  default: return u->scratch;
  }
}

static const struct io_ops uart_ops = {uart_read, uart_write, 1};

static void uart_reset(struct device *dev) {
  struct uart *u = DEVICE(struct uart, dev);
  u->ier = u->fcr = u->lcr = u->mcr = u->scratch = 0;
  u->divisor = 12;
  u->lsr = 0;
  rx_clear(u);
  tx_clear(u);
  u->tx_pending = false;
  u->msr = MSR_CTS | MSR_DSR | MSR_DCD;
  update_line(u);
}

static int uart_init(struct device *dev, const struct device_args *args) {
  struct uart *u = DEVICE(struct uart, dev);
  const struct uart_config *config = args->config;
  timer_init(&u->tx_timer, dev->clock, "uart-tx", tx_timer, u);
  timer_init(&u->rx_timer, dev->clock, "uart-rx", rx_timeout, u);
  if (config) {
    u->chardev = config->chardev;
    u->paced = config->paced;
  }
  uart_reset(dev);
  if (u->chardev) {
    u->chardev->receive_opaque = u;
    u->chardev->can_receive = uart_can_receive;
    u->chardev->receive = uart_receive;
  }
  return io_map(dev->io, args->port[0], 8, &uart_ops, dev, "uart16550");
}

static const struct field uart_fields[] = {
    FIELD(U8, struct uart, ier),
    FIELD(U8, struct uart, fcr),
    FIELD(U8, struct uart, lcr),
    FIELD(U8, struct uart, mcr),
    FIELD(U8, struct uart, lsr),
    FIELD(U8, struct uart, msr),
    FIELD(U8, struct uart, scratch),
    FIELD(U16, struct uart, divisor),
    FIELD(BOOL, struct uart, tx_pending),
    FIELD(BOOL, struct uart, timeout_pending),
    FIELD_BUFFER(struct uart, rx),
    FIELD_BUFFER(struct uart, tx),
    FIELD(U8, struct uart, rx_head),
    FIELD(U8, struct uart, rx_count),
    FIELD(U8, struct uart, tx_head),
    FIELD(U8, struct uart, tx_count),
    FIELD(TIMER, struct uart, tx_timer),
    FIELD(TIMER, struct uart, rx_timer),
    FIELDS_END,
};

/* A snapshot may say anything. */
static const char *uart_check(const struct device *dev) {
  const struct uart *s = DEVICE(const struct uart, dev);
  bool good = s->rx_head < FIFO && s->rx_count <= FIFO && s->tx_head < FIFO && s->tx_count <= FIFO;
  return good ? NULL : "a queue that cannot be";
}

const struct device_class uart16550_class = {
    .name = "uart16550",
    .size = sizeof(struct uart),
    .init = uart_init,
    .reset = uart_reset,
    .fields = uart_fields,
    .check = uart_check,
};
