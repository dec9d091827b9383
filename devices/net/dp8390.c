/* SPDX-License-Identifier: MIT */
/*
 * National Semiconductor DP8390D network interface controller (datasheet: 7 packet reception, 8 packet
 * transmission, 9 remote DMA, 10 internal registers, 12 loopback diagnostics) with the wiring of the NE2000:
 * the station address in 32 bytes at 0, each twice, and 16 KB of RAM at 4000h.
 *
 * Not modelled: collisions, deferring and other errors of the medium; runts; the time that a frame takes (it
 * leaves at once); byte order BOS; the early receive of the RTL8029.
 */
#include "devices/net/dp8390.h"

#include <string.h>

#define CR_STP 0x01
#define CR_STA 0x02
#define CR_TXP 0x04
#define CR_RD 0x38
#define CR_RD_READ 0x08
#define CR_RD_WRITE 0x10
#define CR_RD_SEND 0x18
#define CR_PAGE(cr) ((cr) >> 6)

#define ISR_PRX 0x01
#define ISR_PTX 0x02
#define ISR_RXE 0x04
#define ISR_TXE 0x08
#define ISR_OVW 0x10
#define ISR_CNT 0x20
#define ISR_RDC 0x40
#define ISR_RST 0x80

#define RSR_PRX 0x01
#define RSR_MPA 0x10
#define RSR_PHY 0x20
#define RSR_DIS 0x40

#define TSR_PTX 0x01

#define RCR_AB 0x04
#define RCR_AM 0x08
#define RCR_PRO 0x10
#define RCR_MON 0x20

#define TCR_CRC 0x01
#define TCR_LOOP 0x06

#define DCR_WTS 0x01

#define HEADER 4u

static void update_irq(struct dp8390 *d) { d->set_irq(d->opaque, (d->isr & d->imr & 0x7f) != 0); }

static void interrupt(struct dp8390 *d, uint8_t bits) {
  d->isr |= bits;
  update_irq(d);
}

/* --- the card's memory ---------------------------------------------------------------------------------- */

static uint8_t mem_get(const struct dp8390 *d, uint16_t at) {
  if (at < DP8390_PROM_SIZE)
    return d->prom[at];
  return at >= DP8390_RAM_START && at < DP8390_RAM_START + DP8390_RAM_SIZE ? d->ram[at - DP8390_RAM_START]
                                                                           : 0xff;
}

static void mem_put(struct dp8390 *d, uint16_t at, uint8_t value) {
  if (at >= DP8390_RAM_START && at < DP8390_RAM_START + DP8390_RAM_SIZE)
    d->ram[at - DP8390_RAM_START] = value;
}

/* One further in the ring. */
static uint16_t ring_next(const struct dp8390 *d, uint16_t at) {
  at++;
  return at == d->pstop << 8 ? (uint16_t)(d->pstart << 8) : at;
}

static unsigned ring_pages(const struct dp8390 *d) {
  return d->pstop > d->pstart ? (unsigned)(d->pstop - d->pstart) : 0;
}

/* Pages that can be filled before DMA meets the boundary (7.2). */
static unsigned free_pages(const struct dp8390 *d) {
  unsigned pages = ring_pages(d);
  if (!pages || d->curr < d->pstart || d->curr >= d->pstop)
    return 0;
  /* Drivers that keep it one page behind what they read next let it fall before the start of the ring. */
  unsigned boundary = d->bnry == d->pstart - 1 ? d->pstop - 1u : d->bnry;
  if (boundary < d->pstart || boundary >= d->pstop || boundary == d->curr)
    return pages;
  return boundary > d->curr ? boundary - d->curr : pages - (d->curr - boundary);
}

static unsigned pages_for(size_t len) { return (unsigned)(HEADER + len + NIC_FCS + 255) / 256; }

/* --- receiving -------------------------------------------------------------------------------------------
 */

/* STA has started it once STP is gone; drivers that turn to another page write both as 0, and it goes on. */
static bool receiving(const struct dp8390 *d) { return !(d->cr & CR_STP); }

static bool accepts(const struct dp8390 *d, const uint8_t *frame) {
  if (nic_broadcast(frame))
    return d->rcr & RCR_AB;
  if (nic_multicast(frame)) {
    unsigned hash = nic_hash_msb(frame);
    return (d->rcr & RCR_AM) && (d->mar[hash >> 3] >> (hash & 7) & 1);
  }
  return (d->rcr & RCR_PRO) || !memcmp(frame, d->par, 6);
}

static void count(struct dp8390 *d, int which) {
  if (d->counter[which] < 0xff)
    d->counter[which]++;
  if (d->counter[which] & 0x80)
    interrupt(d, ISR_CNT);
}

/* The header goes before the frame, the FCS behind it; the next frame begins on a page of its own. */
static void store(struct dp8390 *d, const uint8_t *frame, size_t len) {
  uint8_t data[HEADER + NET_FRAME_MAX + NIC_FCS];
  size_t total = HEADER + len + NIC_FCS;
  unsigned next = d->curr + pages_for(len);
  if (next >= d->pstop)
    next -= ring_pages(d);
  data[0] = d->rsr;
  data[1] = (uint8_t)next;
  data[2] = (uint8_t)(len + NIC_FCS);
  data[3] = (uint8_t)((len + NIC_FCS) >> 8);
  memcpy(data + HEADER, frame, len);
  nic_put_fcs(data + HEADER + len, frame, len);
  uint16_t at = (uint16_t)(d->curr << 8);
  for (size_t i = 0; i < total; i++, at = ring_next(d, at))
    mem_put(d, at, data[i]);
  d->clda = at;
  d->curr = (uint8_t)next;
}

static void receive(void *opaque, const uint8_t *frame, size_t len) {
  struct dp8390 *d = opaque;
  if (!receiving(d) || (d->tcr & TCR_LOOP) || len < 14 || len > NET_FRAME_MAX || !accepts(d, frame))
    return;
  d->rsr = nic_multicast(frame) ? RSR_PHY : 0;
  if (d->rcr & RCR_MON) { /* checked and counted only */
    d->rsr |= RSR_MPA | RSR_DIS;
    count(d, 2);
    return;
  }
  if (pages_for(len) >= free_pages(d)) {
    d->rsr |= RSR_MPA;
    count(d, 2);
    interrupt(d, ISR_OVW);
    return;
  }
  d->rsr |= RSR_PRX;
  store(d, frame, len);
  interrupt(d, ISR_PRX);
}

/*
 * A ring that could never take the longest frame does not make the cable wait. Drivers stop the chip for a
 * moment and go through loopback when it has overflowed: what comes meanwhile waits too.
 */
static bool ready(void *opaque) {
  struct dp8390 *d = opaque;
  unsigned most = pages_for(NET_FRAME_MAX);
  if ((d->rcr & RCR_MON) || ring_pages(d) <= most)
    return true;
  if (!receiving(d) || (d->tcr & TCR_LOOP))
    return false;
  if (free_pages(d) > most)
    return true;
  if (!(d->isr & (ISR_PRX | ISR_OVW)))
    interrupt(d, ISR_PRX);
  return false;
}

static void room_made(struct dp8390 *d) {
  if (d->cable)
    net_ready(d->cable, NET_CARD);
}

/* --- sending ---------------------------------------------------------------------------------------------
 */

/* Loopback (12): the frame's end and its length are left in the FIFO, filled round and round. */
static void loop_back(struct dp8390 *d, const uint8_t *frame, size_t len) {
  uint8_t tail[4 + 3];
  size_t at = 0;
  if (!(d->tcr & TCR_CRC))
    nic_put_fcs(tail, frame, len);
  size_t fcs = d->tcr & TCR_CRC ? 0 : NIC_FCS, total = len + fcs;
  tail[fcs] = (uint8_t)total;
  tail[fcs + 1] = tail[fcs + 2] = (uint8_t)(total >> 8);
  for (size_t i = 0; i < len; i++)
    d->fifo[at++ & 7] = frame[i];
  for (size_t i = 0; i < fcs + 3; i++)
    d->fifo[at++ & 7] = tail[i];
  d->fifo_at = 0;
  d->rsr = len >= 6 && accepts(d, frame) ? RSR_PRX | (nic_multicast(frame) ? RSR_PHY : 0) : 0;
}

static void transmit(struct dp8390 *d) {
  uint8_t frame[NET_FRAME_MAX + NIC_FCS];
  size_t len = d->tbcr;
  bool fits = len <= sizeof frame;
  for (size_t i = 0; fits && i < len; i++)
    frame[i] = mem_get(d, (uint16_t)((d->tpsr << 8) + i));
  if (fits && (d->tcr & TCR_LOOP))
    loop_back(d, frame, len);
  else if (fits && (d->tcr & TCR_CRC)) /* the driver has put it there */
    nic_send(d->cable, frame, len > NIC_FCS ? len - NIC_FCS : 0);
  else if (fits)
    nic_send(d->cable, frame, len);
  d->cr &= (uint8_t)~CR_TXP;
  d->tsr = TSR_PTX;
  d->ncr = 0;
  interrupt(d, ISR_PTX);
}

/* --- remote DMA ------------------------------------------------------------------------------------------
 */

static void remote_step(struct dp8390 *d) {
  d->crda = ring_next(d, d->crda);
  if (d->left)
    d->left--;
}

static void remote_done(struct dp8390 *d) {
  if (d->left)
    return;
  if ((d->cr & CR_RD) == CR_RD_SEND) /* Send Packet: the boundary follows (9) */
    d->bnry = mem_get(d, (uint16_t)((d->bnry << 8) + 1));
  interrupt(d, ISR_RDC);
  room_made(d);
}

/* A transfer of one byte or word, as DCR says, whatever the width of the access. */
static unsigned remote_width(const struct dp8390 *d, int size) {
  return d->dcr & DCR_WTS ? (size == 4 ? 4 : 2) : (unsigned)size;
}

static uint32_t data_read(struct dp8390 *d, int size) {
  uint32_t value = 0;
  if (!(d->cr & CR_RD_READ) || !d->left)
    return 0xffffffffu;
  for (unsigned i = 0; i < remote_width(d, size); i++) {
    value |= (uint32_t)mem_get(d, d->crda) << 8 * i;
    remote_step(d);
  }
  remote_done(d);
  return value;
}

static void data_write(struct dp8390 *d, int size, uint32_t value) {
  if ((d->cr & CR_RD) != CR_RD_WRITE || !d->left)
    return;
  for (unsigned i = 0; i < remote_width(d, size); i++) {
    mem_put(d, d->crda, (uint8_t)(value >> 8 * i));
    remote_step(d);
  }
  remote_done(d);
}

static void start_remote(struct dp8390 *d) {
  if ((d->cr & CR_RD) == CR_RD_SEND) {
    d->rsar = (uint16_t)(d->bnry << 8);
    d->rbcr = (uint16_t)(mem_get(d, (uint16_t)(d->rsar + 2)) | mem_get(d, (uint16_t)(d->rsar + 3)) << 8);
  }
  d->crda = d->rsar;
  d->left = d->rbcr;
  remote_done(d); /* nothing to transfer is done at once */
}

/* --- registers -------------------------------------------------------------------------------------------
 */

static void write_cr(struct dp8390 *d, uint8_t value) {
  uint8_t rd = value & CR_RD;
  bool was_stopped = d->cr & CR_STP;
  d->cr = (value & (uint8_t)~CR_TXP) | (d->cr & CR_TXP);
  if (value & CR_STP) {
    d->cr &= (uint8_t)~CR_TXP;
    d->isr |= ISR_RST;
    update_irq(d);
  } else if ((value & CR_STA) && was_stopped) {
    d->isr &= (uint8_t)~ISR_RST;
    update_irq(d);
  }
  if (rd == CR_RD_READ || rd == CR_RD_WRITE || rd == CR_RD_SEND)
    start_remote(d);
  else if (rd & 0x20) /* abort */
    d->left = 0;
  if ((value & CR_TXP) && receiving(d))
    transmit(d);
  room_made(d);
}

static uint8_t read_page0(struct dp8390 *d, unsigned reg) {
  switch (reg) {
  case 0x01: return (uint8_t)d->clda;
  case 0x02: return (uint8_t)(d->clda >> 8);
  case 0x03: return d->bnry;
  case 0x04: return d->tsr;
  case 0x05: return d->ncr;
  case 0x06: return d->fifo[d->fifo_at++ & 7];
  case 0x07: return d->isr;
  case 0x08: return (uint8_t)d->crda;
  case 0x09: return (uint8_t)(d->crda >> 8);
  case 0x0a: return d->rtl8029 ? 0x50 : 0xff;
  case 0x0b: return d->rtl8029 ? 0x43 : 0xff;
  case 0x0c: return d->rsr;
  default: { /* the counters are cleared by reading */
    uint8_t value = d->counter[reg - 0x0d];
    d->counter[reg - 0x0d] = 0;
    return value;
  }
  }
}

static uint8_t read_page2(const struct dp8390 *d, unsigned reg) {
  switch (reg) {
  case 0x01: return d->pstart;
  case 0x02: return d->pstop;
  case 0x04: return d->tpsr;
  case 0x05: return d->curr; /* local next packet pointer */
  case 0x06: return (uint8_t)(d->clda >> 8);
  case 0x07: return (uint8_t)d->clda;
  case 0x0c: return d->rcr | 0xc0;
  case 0x0d: return d->tcr | 0xe0;
  case 0x0e: return d->dcr | 0x80;
  case 0x0f: return d->imr | 0x80;
  default: return 0xff;
  }
}

/* The RTL8029's own page: the strapped configuration, full duplex off, and its name. */
static uint8_t read_page3(const struct dp8390 *d, unsigned reg) {
  if (!d->rtl8029)
    return 0xff;
  return reg == 0x0e ? 0x29 : reg == 0x0f ? 0x80 : 0;
}

static uint8_t read_register(struct dp8390 *d, unsigned reg) {
  if (reg == 0)
    return d->cr;
  switch (CR_PAGE(d->cr)) {
  case 0: return read_page0(d, reg);
  case 1: return reg < 7 ? d->par[reg - 1] : reg == 7 ? d->curr : d->mar[reg - 8];
  case 2: return read_page2(d, reg);
  default: return read_page3(d, reg);
  }
}

static void write_page0(struct dp8390 *d, unsigned reg, uint8_t value) {
  switch (reg) {
  case 0x01: d->pstart = value; break;
  case 0x02: d->pstop = value; break;
  case 0x03:
    d->bnry = value;
    room_made(d);
    break;
  case 0x04: d->tpsr = value; break;
  case 0x05: d->tbcr = (d->tbcr & 0xff00) | value; break;
  case 0x06: d->tbcr = (uint16_t)((d->tbcr & 0xff) | value << 8); break;
  case 0x07: /* ones clear; RST follows the state of the chip */
    d->isr &= (uint8_t) ~(value & (d->cr & CR_STP ? 0x7f : 0xff));
    update_irq(d);
    break;
  case 0x08: d->crda = d->rsar = (d->rsar & 0xff00) | value; break;
  case 0x09: d->crda = d->rsar = (uint16_t)((d->rsar & 0xff) | value << 8); break;
  case 0x0a: d->rbcr = (d->rbcr & 0xff00) | value; break;
  case 0x0b: d->rbcr = (uint16_t)((d->rbcr & 0xff) | value << 8); break;
  case 0x0c: d->rcr = value & 0x3f; break;
  case 0x0d:
    d->tcr = value & 0x1f;
    room_made(d);
    break;
  case 0x0e: d->dcr = value & 0x7f; break;
  case 0x0f:
    d->imr = value & 0x7f;
    update_irq(d);
    break;
  }
}

static void write_register(struct dp8390 *d, unsigned reg, uint8_t value) {
  if (reg == 0) {
    write_cr(d, value);
  } else if (CR_PAGE(d->cr) == 0) {
    write_page0(d, reg, value);
  } else if (CR_PAGE(d->cr) == 1) {
    if (reg < 7)
      d->par[reg - 1] = value;
    else if (reg == 7)
      d->curr = value;
    else
      d->mar[reg - 8] = value;
  } else if (CR_PAGE(d->cr) == 2) { /* diagnostics: addresses on their way */
    if (reg == 1)
      d->clda = (d->clda & 0xff00) | value;
    else if (reg == 2)
      d->clda = (uint16_t)((d->clda & 0xff) | value << 8);
    else if (reg == 5)
      d->curr = value;
  }
}

void dp8390_reset(struct dp8390 *d) {
  d->cr = CR_STP | 0x20; /* page 0, remote DMA aborted */
  d->isr = ISR_RST;
  d->imr = 0;
  d->left = 0;
  d->tsr = d->rsr = d->ncr = 0;
  d->tcr &= (uint8_t)~TCR_LOOP;
  memset(d->counter, 0, sizeof d->counter);
  update_irq(d);
  room_made(d);
}

uint32_t ne2000_read(struct dp8390 *d, uint32_t offset, int size) {
  uint32_t value = 0;
  if (offset >= 0x18) { /* reading pulses the reset line */
    dp8390_reset(d);
    return 0xffffffffu >> (32 - 8 * size);
  }
  if (offset >= DP8390_PORTS)
    return data_read(d, size) & 0xffffffffu >> (32 - 8 * size);
  for (int i = 0; i < size; i++)
    value |= (uint32_t)read_register(d, (offset + (unsigned)i) & 15) << 8 * i;
  return value;
}

void ne2000_write(struct dp8390 *d, uint32_t offset, int size, uint32_t value) {
  if (offset >= 0x18)
    return; /* ends the reset that reading began */
  if (offset >= DP8390_PORTS) {
    data_write(d, size, value);
    return;
  }
  for (int i = 0; i < size; i++)
    write_register(d, (offset + (unsigned)i) & 15, (uint8_t)(value >> 8 * i));
}

void dp8390_init(struct dp8390 *d, const struct nic_config *config, bool rtl8029,
                 void (*set_irq)(void *opaque, int level), void *opaque) {
  d->cable = config->cable;
  d->set_irq = set_irq;
  d->opaque = opaque;
  d->rtl8029 = rtl8029;
  for (unsigned i = 0; i < DP8390_PROM_SIZE; i++) /* then the mark of a card with 16-bit memory */
    d->prom[i] = i < 12 ? config->mac[i / 2] : i >= 28 ? 'W' : 0;
  if (d->cable)
    net_attach(d->cable, NET_CARD, &(struct net_end){.receive = receive, .ready = ready, .opaque = d});
}
