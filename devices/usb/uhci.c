/* SPDX-License-Identifier: MIT */
/*
 * Universal Host Controller Interface, Intel's Design Guide 1.1: registers (chapter 2), frame list, transfer
 * descriptors and queue heads (chapter 3), as function 2 of the PIIX3 (datasheet 290550), whose legacy
 * support register gates the interrupt.
 *
 * Frames are run when they are due. As long as nothing but NAKs happens in them, several are run together, so
 * that an idle bus costs the host little; a device that has news, or any access to the registers, ends that.
 *
 * Not modelled: the traps and SMIs of the legacy support (its bits are stored), single-step debugging,
 * bit-stuffing errors. A transaction takes no time within its frame: bytes are counted instead.
 */
#include "devices/usb/uhci.h"

#include <string.h>

#define FRAME_NS 1000000
#define FRAME_BYTES 1500   /* 12 Mb/s for a millisecond */
#define PACKET_OVERHEAD 13 /* sync, PIDs, token, CRC, turn-around; bytes */
#define FRAME_STEPS 512    /* descriptors looked at: an endless list ends here */
#define QUEUES 128         /* queue heads remembered within a frame */
#define BEHIND_MAX 32      /* frames made up for; more are skipped */
#define IDLE_AFTER 16      /* frames with nothing but NAKs */
#define IDLE_FRAMES 8      /* run together from then on */

#define CMD_RS 0x01
#define CMD_HCRESET 0x02
#define CMD_GRESET 0x04
#define CMD_EGSM 0x08
#define CMD_FGR 0x10

#define STS_INT 0x01
#define STS_ERROR 0x02
#define STS_RESUME 0x04
#define STS_HOST_ERROR 0x08
#define STS_PROCESS_ERROR 0x10
#define STS_HALTED 0x20

#define INTR_CRC 0x01
#define INTR_RESUME 0x02
#define INTR_IOC 0x04
#define INTR_SHORT 0x08

#define PORT_CONNECTED 0x0001
#define PORT_CONNECT_CHANGE 0x0002
#define PORT_ENABLED 0x0004
#define PORT_ENABLE_CHANGE 0x0008
#define PORT_RESUME 0x0040
#define PORT_ONE 0x0080
#define PORT_LOW_SPEED 0x0100
#define PORT_RESET 0x0200
#define PORT_SUSPEND 0x1000
#define PORT_WRITABLE (PORT_ENABLED | PORT_RESUME | PORT_RESET | PORT_SUSPEND)

#define LINK_END 1u
#define LINK_QUEUE 2u
#define LINK_DEPTH 4u
#define LINK_ADDR(link) ((link) & ~15u)

#define TD_CRC (1u << 18)
#define TD_NAK (1u << 19)
#define TD_BABBLE (1u << 20)
#define TD_STALLED (1u << 22)
#define TD_ACTIVE (1u << 23)
#define TD_IOC (1u << 24)
#define TD_ISOCHRONOUS (1u << 25)
#define TD_LOW_SPEED (1u << 26)
#define TD_ERRORS(control) ((control) >> 27 & 3)
#define TD_SHORT (1u << 29)
#define TD_STATUS 0x007e0000u
#define TD_LENGTH 0x7ffu

#define LEGSUP 0xc0
#define LEGSUP_PIRQ 0x20 /* of the second byte: USBPIRQDEN */

struct uhci {
  struct device dev;
  struct pci_func func;
  struct usb_port port[UHCI_PORTS];
  uint16_t portsc[UHCI_PORTS];
  uint16_t cmd, sts, intr, frnum;
  uint32_t flbase;
  uint8_t sofmod;
  bool ioc, short_packet; /* what STS_INT stands for */
  int64_t frame;          /* when the next frame begins, ns */
  uint32_t idle;          /* frames without progress */
  bool in_frame;          /* frames are being run: a device that has news does not begin others */
  struct timer timer;
};

struct frame { /* the work of one millisecond */
  int bytes, steps;
  bool progress; /* something other than a NAK; also since queue[] was last emptied: */
  bool lap;
  unsigned queues;
  uint32_t queue[QUEUES];
};

struct td {
  uint32_t link, control, token, buffer;
};

static void update_line(struct uhci *s) {
  bool level =
      (s->sts & STS_INT && ((s->ioc && s->intr & INTR_IOC) || (s->short_packet && s->intr & INTR_SHORT))) ||
      (s->sts & STS_ERROR && s->intr & INTR_CRC) || (s->sts & STS_RESUME && s->intr & INTR_RESUME) ||
      s->sts & (STS_HOST_ERROR | STS_PROCESS_ERROR);
  s->func.config[LEGSUP + 1] = (uint8_t)((s->func.config[LEGSUP + 1] & ~0x10) | (level ? 0x10 : 0));
  pci_set_intx(&s->func, level && s->func.config[LEGSUP + 1] & LEGSUP_PIRQ);
}

static bool running(const struct uhci *s) { return s->cmd & CMD_RS && !(s->cmd & CMD_EGSM); }

static void schedule(struct uhci *s) {
  if (!running(s))
    timer_cancel(&s->timer);
  else
    timer_arm(&s->timer, s->frame + (s->idle >= IDLE_AFTER ? (IDLE_FRAMES - 1) * FRAME_NS : 0));
}

/* --- transfer descriptors (3.2) --- */

static uint32_t dma_read32(struct uhci *s, uint32_t pa) {
  uint8_t b[4];
  mem_dma_read(s->dev.mem, pa, b, 4);
  return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static void dma_write32(struct uhci *s, uint32_t pa, uint32_t value) {
  uint8_t b[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
  mem_dma_write(s->dev.mem, pa, b, 4);
}

static void stop(struct uhci *s) {
  s->cmd &= (uint16_t)~CMD_RS;
  s->sts |= STS_HALTED;
}

static void process_error(struct uhci *s) {
  stop(s);
  s->sts |= STS_PROCESS_ERROR;
}

/* The descriptor is done with, well or badly. */
static void retire(struct uhci *s, struct td *td, bool error) {
  td->control &= ~TD_ACTIVE;
  if (td->control & TD_IOC)
    s->ioc = true;
  if (error)
    s->sts |= STS_ERROR;
}

static void no_answer(struct uhci *s, struct td *td) {
  unsigned left = TD_ERRORS(td->control);
  td->control = (td->control & ~(TD_NAK | TD_LENGTH)) | TD_CRC | TD_LENGTH;
  if (left == 0)
    return; /* unlimited */
  left--;
  td->control = (td->control & ~(3u << 27)) | (uint32_t)left << 27;
  if (left == 0) {
    td->control |= TD_STALLED;
    retire(s, td, true);
  }
}

/* Bytes arrived. False: fewer than expected, and the queue stops here. */
static bool arrived(struct uhci *s, struct td *td, unsigned n, unsigned wanted, const uint8_t *buf) {
  bool in = (td->token & 0xff) == USB_IN;
  td->control = (td->control & ~(TD_STATUS | TD_LENGTH)) | ((n - 1) & TD_LENGTH);
  if (in && n)
    mem_dma_write(s->dev.mem, td->buffer, buf, n);
  retire(s, td, false);
  if (!in || n >= wanted || !(td->control & TD_SHORT))
    return true;
  s->short_packet = true;
  return false;
}

static int transact(struct uhci *s, const struct td *td, uint8_t *buf, unsigned length) {
  struct usb_device *d = usb_find(s->port, UHCI_PORTS, td->token >> 8 & 0x7f);
  if (!d || d->usb->low_speed != ((td->control & TD_LOW_SPEED) != 0))
    return USB_TIMEOUT;
  if ((td->token & 0xff) != USB_IN)
    mem_dma_read(s->dev.mem, td->buffer, buf, length);
  return usb_transact(d, td->token & 0xff, td->token >> 15 & 15, td->token >> 19 & 1, buf, length);
}

/* True: its queue goes on to the next descriptor. */
static bool run_td(struct uhci *s, struct frame *f, uint32_t pa, struct td *td) {
  uint8_t buf[USB_PACKET];
  bool advance = false;
  f->steps++;
  *td = (struct td){dma_read32(s, pa), dma_read32(s, pa + 4), dma_read32(s, pa + 8), dma_read32(s, pa + 12)};
  if (!(td->control & TD_ACTIVE))
    return false;
  unsigned length = ((td->token >> 21) + 1) & TD_LENGTH, pid = td->token & 0xff;
  if (length > USB_PACKET || (pid != USB_IN && pid != USB_OUT && pid != USB_SETUP)) {
    process_error(s);
    return false;
  }
  int n = transact(s, td, buf, length);
  uint32_t before = td->control;
  switch (n) {
  case USB_NAK: td->control |= TD_NAK; break;
  case USB_WRONG_TOGGLE: break; /* dropped; the next packet will be the right one */
  case USB_TIMEOUT: no_answer(s, td); break;
  case USB_STALL:
  case USB_BABBLE:
    td->control |= TD_STALLED | TD_LENGTH | (n == USB_BABBLE ? TD_BABBLE : 0);
    retire(s, td, true);
    break;
  default: advance = arrived(s, td, (unsigned)n, length, buf);
  }
  if (td->control & TD_ISOCHRONOUS && td->control & TD_ACTIVE) {
    retire(s, td, n == USB_TIMEOUT);
    advance = true;
  }
  int cost = PACKET_OVERHEAD + (n > 0 ? n : 0);
  f->bytes -= td->control & TD_LOW_SPEED ? 8 * cost : cost;
  if (n != USB_NAK && n != USB_TIMEOUT)
    f->progress = f->lap = true;
  if (td->control != before)
    dma_write32(s, pa + 4, td->control);
  return advance;
}

/* --- the schedule (3.4) --- */

/* Seen before in this frame, without anything having happened since? Then the list has become a circle. */
static bool seen(struct frame *f, uint32_t pa) {
  for (unsigned i = 0; i < f->queues; i++)
    if (f->queue[i] == pa) {
      if (!f->lap)
        return true;
      f->queues = 0;
      f->lap = false;
    }
  if (f->queues == QUEUES)
    return true;
  f->queue[f->queues++] = pa;
  return false;
}

static bool frame_left(const struct uhci *s, const struct frame *f) {
  return f->bytes > 0 && f->steps < FRAME_STEPS && s->cmd & CMD_RS;
}

/* Returns the link to go on with. */
static uint32_t run_queue(struct uhci *s, struct frame *f, uint32_t pa) {
  uint32_t next = dma_read32(s, pa), element = dma_read32(s, pa + 4);
  struct td td;
  f->steps++;
  if (element & LINK_QUEUE && !(element & LINK_END))
    return element;
  while (!(element & (LINK_END | LINK_QUEUE)) && frame_left(s, f)) {
    if (!run_td(s, f, LINK_ADDR(element), &td))
      break;
    element = td.link;
    dma_write32(s, pa + 4, element);
    if (!(element & LINK_DEPTH))
      break;
  }
  return next;
}

static void run_schedule(struct uhci *s, struct frame *f) {
  uint32_t link = dma_read32(s, s->flbase + (s->frnum & 0x3ff) * 4u);
  while (!(link & LINK_END) && frame_left(s, f)) {
    uint32_t pa = LINK_ADDR(link);
    if (link & LINK_QUEUE) {
      if (seen(f, pa))
        break;
      link = run_queue(s, f, pa);
    } else {
      struct td td;
      run_td(s, f, pa, &td);
      link = td.link;
    }
  }
}

static void run_frame(struct uhci *s) {
  struct frame f;
  s->in_frame = true;
  f.bytes = FRAME_BYTES;
  f.steps = 0;
  f.queues = 0;
  f.progress = f.lap = false;
  if (pci_bus_master(&s->func))
    run_schedule(s, &f);
  s->idle = f.progress ? 0 : s->idle < IDLE_AFTER ? s->idle + 1 : s->idle;
  s->in_frame = false;
  s->frnum = (s->frnum + 1) & 0x7ff;
  if (s->ioc || s->short_packet)
    s->sts |= STS_INT;
  update_line(s);
}

/* Run the frames that are due. Those that would have come after an interrupt that the guest has not seen yet
 * are only counted: its driver shall find time to queue more. */
static void catch_up(struct uhci *s) {
  int64_t now = clock_now(s->dev.clock);
  bool skip = false;
  for (int n = 0; running(s) && s->frame <= now; n++) {
    if (skip || n >= BEHIND_MAX) {
      int64_t behind = (now - s->frame) / FRAME_NS + 1;
      s->frnum = (uint16_t)((s->frnum + behind) & 0x7ff);
      s->frame += behind * FRAME_NS;
      return;
    }
    bool was = s->func.intx_level;
    run_frame(s);
    s->frame += FRAME_NS;
    skip = !was && s->func.intx_level;
  }
}

static void frame_due(void *opaque) {
  struct uhci *s = opaque;
  catch_up(s);
  schedule(s);
}

/* --- ports (2.1.7) --- */

static void port_update(struct uhci *s, int n) {
  uint16_t p = s->portsc[n];
  s->port[n].enabled = p & PORT_ENABLED && !(p & (PORT_SUSPEND | PORT_RESET));
}

static void bus_resume(struct uhci *s) {
  if (!(s->cmd & CMD_EGSM))
    return;
  s->cmd |= CMD_FGR;
  s->sts |= STS_RESUME;
  update_line(s);
}

static void port_changed(struct usb_port *port) {
  struct uhci *s = port->owner;
  int n = port->number - 1;
  uint16_t *p = &s->portsc[n];
  *p &= (uint16_t) ~(PORT_CONNECTED | PORT_LOW_SPEED);
  *p |= PORT_CONNECT_CHANGE;
  if (port->dev) {
    *p |= PORT_CONNECTED | (port->dev->usb->low_speed ? PORT_LOW_SPEED : 0);
  } else if (*p & PORT_ENABLED) {
    *p = (uint16_t)((*p & ~(PORT_ENABLED | PORT_SUSPEND)) | PORT_ENABLE_CHANGE);
  }
  port_update(s, n);
  bus_resume(s);
}

static void port_wakeup(struct usb_port *port) {
  struct uhci *s = port->owner;
  uint16_t *p = &s->portsc[port->number - 1];
  if (*p & PORT_SUSPEND && !(*p & PORT_RESUME)) {
    *p |= PORT_RESUME;
    s->sts |= STS_RESUME;
    update_line(s);
  }
  bus_resume(s);
}

static void port_activity(struct usb_port *port) {
  struct uhci *s = port->owner;
  if (s->idle < IDLE_AFTER || s->in_frame)
    return;
  catch_up(s);
  s->idle = 0;
  schedule(s);
}

static void port_write(struct uhci *s, int n, uint16_t value) {
  struct usb_port *port = &s->port[n];
  uint16_t old = s->portsc[n], p = old;
  p &= (uint16_t) ~(value & (PORT_CONNECT_CHANGE | PORT_ENABLE_CHANGE));
  p = (uint16_t)((p & ~PORT_WRITABLE) | (value & PORT_WRITABLE));
  if (!(p & PORT_CONNECTED) || p & PORT_RESET)
    p &= (uint16_t)~PORT_ENABLED;
  if (p & PORT_RESET)
    p &= (uint16_t) ~(PORT_SUSPEND | PORT_RESUME);
  if (p & PORT_RESET && !(old & PORT_RESET) && port->dev)
    usb_device_reset(port->dev);
  if (old & PORT_RESUME && !(p & PORT_RESUME))
    p &= (uint16_t)~PORT_SUSPEND; /* the end of the resume signal wakes the device */
  s->portsc[n] = p;
  port_update(s, n);
}

static uint16_t port_read(const struct uhci *s, int n) {
  uint16_t p = s->portsc[n] | PORT_ONE;
  if (p & PORT_CONNECTED && !(p & PORT_RESET)) /* the lines rest at J */
    p |= p & PORT_LOW_SPEED ? 0x20 : 0x10;
  return p;
}

struct usb_port *uhci_ports(struct device *dev) {
  DGM_ASSERT(dev->cls == &uhci_class);
  return ((struct uhci *)dev)->port;
}

/* --- registers (2.1) --- */

static void controller_reset(struct uhci *s) {
  s->cmd = s->intr = s->frnum = 0;
  s->sts = STS_HALTED;
  s->flbase = 0;
  s->sofmod = 0x40;
  s->ioc = s->short_packet = false;
  s->idle = 0;
  for (int n = 0; n < UHCI_PORTS; n++) {
    struct usb_device *d = s->port[n].dev;
    s->portsc[n] = 0;
    if (d) {
      usb_device_reset(d);
      s->portsc[n] =
          (uint16_t)(PORT_CONNECTED | PORT_CONNECT_CHANGE | (d->usb->low_speed ? PORT_LOW_SPEED : 0));
    }
    port_update(s, n);
  }
  timer_cancel(&s->timer);
  update_line(s);
}

static void command_write(struct uhci *s, uint16_t value) {
  uint16_t old = s->cmd;
  if (value & (CMD_HCRESET | CMD_GRESET)) {
    controller_reset(s);
    s->cmd = value & CMD_GRESET;
    return;
  }
  s->cmd = value & 0xff;
  if (s->cmd & CMD_RS && !(old & CMD_RS)) {
    s->sts &= (uint16_t)~STS_HALTED;
    s->frame = clock_now(s->dev.clock) + FRAME_NS;
    s->idle = 0;
  } else if (!(s->cmd & CMD_RS)) {
    s->sts |= STS_HALTED;
  } else if (old & CMD_EGSM && !(s->cmd & CMD_EGSM)) {
    s->frame = clock_now(s->dev.clock) + FRAME_NS;
  }
  schedule(s);
}

static void status_write(struct uhci *s, uint16_t value) {
  s->sts &= (uint16_t) ~(value & 0x1f);
  if (value & STS_INT)
    s->ioc = s->short_packet = false;
  update_line(s);
}

static void write16(struct uhci *s, uint32_t offset, uint16_t value) {
  switch (offset) {
  case 0x00: command_write(s, value); break;
  case 0x02: status_write(s, value); break;
  case 0x04:
    s->intr = value & 0x0f;
    update_line(s);
    break;
  case 0x06:
    if (s->sts & STS_HALTED)
      s->frnum = value & 0x7ff;
    break;
  case 0x08: s->flbase = (s->flbase & 0xffff0000) | (value & 0xf000); break;
  case 0x0a: s->flbase = (s->flbase & 0x0000ffff) | (uint32_t)value << 16; break;
  case 0x0c: s->sofmod = value & 0x7f; break;
  case 0x10:
  case 0x12: port_write(s, (int)(offset - 0x10) / 2, value); break;
  }
}

static uint16_t read16(const struct uhci *s, uint32_t offset) {
  switch (offset) {
  case 0x00: return s->cmd;
  case 0x02: return s->sts;
  case 0x04: return s->intr;
  case 0x06: return s->frnum;
  case 0x08: return (uint16_t)s->flbase;
  case 0x0a: return (uint16_t)(s->flbase >> 16);
  case 0x0c: return s->sofmod;
  case 0x10:
  case 0x12: return port_read(s, (int)(offset - 0x10) / 2);
  default: return offset > 0x12 ? 0xff7f : 0xffff; /* bit 7 clear: no such port */
  }
}

static uint32_t uhci_read(void *opaque, uint32_t offset, int size) {
  struct uhci *s = opaque;
  catch_up(s);
  uint32_t v = read16(s, offset & ~1u);
  return size == 1 ? v >> (offset & 1) * 8 & 0xff : v;
}

static void uhci_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct uhci *s = opaque;
  uint32_t at = offset & ~1u;
  catch_up(s);
  if (size == 1) { /* the other byte stays; what is cleared by ones is not touched there */
    uint16_t old = at == 0x02 ? 0 : read16(s, at);
    if (at == 0x10 || at == 0x12)
      old &= (uint16_t) ~(PORT_CONNECT_CHANGE | PORT_ENABLE_CHANGE);
    value = offset & 1 ? (old & 0x00ffu) | (value & 0xff) << 8 : (old & 0xff00u) | (value & 0xff);
  }
  if (s->idle >= IDLE_AFTER) { /* a driver is at work */
    s->idle = 0;
    schedule(s);
  }
  write16(s, at, (uint16_t)value);
}

static const struct io_ops uhci_ops = {uhci_read, uhci_write, 2};

static void config_written(struct pci_func *f, uint32_t offset, int size) {
  if (offset < LEGSUP + 2 && offset + (uint32_t)size > LEGSUP)
    update_line(f->opaque);
}

static int uhci_init(struct device *dev, const struct device_args *args) {
  struct uhci *s = DEVICE(struct uhci, dev);
  const struct uhci_config *config = args->config;
  pci_func_init(&s->func, "PIIX3 USB", 0x8086, 0x7020, 0x0c0300, 0x01, 4);
  s->func.opaque = s;
  s->func.config_written = config_written;
  s->func.wmask[0x04] = 0x05; /* no memory space */
  s->func.wmask[LEGSUP] = 0xbf;
  s->func.wmask[LEGSUP + 1] = LEGSUP_PIRQ;
  s->func.w1c[LEGSUP + 1] = 0x8f;
  pci_func_set_bar(&s->func, 4,
                   &(struct pci_bar){.kind = PCI_BAR_IO, .size = 32, .io_ops = &uhci_ops, .opaque = s});
  for (int n = 0; n < UHCI_PORTS; n++)
    s->port[n] = (struct usb_port){.number = n + 1,
                                   .owner = s,
                                   .changed = port_changed,
                                   .wakeup = port_wakeup,
                                   .activity = port_activity};
  timer_init(&s->timer, dev->clock, "uhci", frame_due, s);
  return pci_register(config->bus, &s->func, config->devfn);
}

static void uhci_reset(struct device *dev) {
  struct uhci *s = DEVICE(struct uhci, dev);
  pci_func_reset(&s->func);
  s->func.config[0x07] = 0x02;
  s->func.config[0x60] = 0x10; /* USB 1.0 */
  s->func.config[LEGSUP] = 0x00;
  s->func.config[LEGSUP + 1] = LEGSUP_PIRQ;
  controller_reset(s);
}

static const struct field uhci_fields[] = {
    {FIELD_BYTES, "config", offsetof(struct uhci, func.config), 256},
    FIELD(U16, struct uhci, cmd),
    FIELD(U16, struct uhci, sts),
    FIELD(U16, struct uhci, intr),
    FIELD(U16, struct uhci, frnum),
    FIELD(U32, struct uhci, flbase),
    FIELD(U8, struct uhci, sofmod),
    FIELD_ARRAY(U16, struct uhci, portsc),
    FIELD(BOOL, struct uhci, port[0].enabled),
    FIELD(BOOL, struct uhci, port[1].enabled),
    FIELD(BOOL, struct uhci, ioc),
    FIELD(BOOL, struct uhci, short_packet),
    FIELD(I64, struct uhci, frame),
    FIELD(U32, struct uhci, idle),
    FIELD(TIMER, struct uhci, timer),
    FIELDS_END,
};

const struct device_class uhci_class = {
    .name = "PIIX3 USB",
    .size = sizeof(struct uhci),
    .init = uhci_init,
    .reset = uhci_reset,
    .fields = uhci_fields,
};
