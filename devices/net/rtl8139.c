/* SPDX-License-Identifier: MIT */
/*
 * Realtek RTL8139 (10EC:8139): the RTL8139C(L) datasheet 1.4 section 5 for registers, section 6 for the
 * EEPROM, the RTL8139(A/B) programming guide for the receive ring and the four transmit descriptors, the
 * RTL8139C+ datasheet 1.6 for C+ mode (rtl8139_cp.c). The property cplus=off makes it an RTL8139C, for
 * drivers that refuse the newer chip.
 *
 * Not modelled: early receive and transmit thresholds (frames arrive and leave whole), collisions and other
 * errors of the medium, runts, flow control, wake-up, the flash port, interrupt mitigation.
 */
#include "devices/net/rtl8139_int.h"

#include <string.h>

#define RCR_AAP 0x01u
#define RCR_APM 0x02u
#define RCR_AM 0x04u
#define RCR_AB 0x08u
#define RCR_WRAP 0x80u

#define TSD_SIZE 0x1fffu
#define TSD_OWN 0x2000u
#define TSD_TOK 0x8000u
#define TX_MAX 1792u

#define TCR_LOOPBACK 0x00060000u
#define TCR_CRC 0x00010000u /* none is appended */
#define TCR_WRITABLE 0x030707f1u

#define EEM_PROGRAM 0x80u
#define EEM_CONFIG 0xc0u
#define EEM_LOAD 0x40u

#define PCI_CLOCK_MHZ 33
#define RX_ALIGN(n) (((n) + 3u) & ~3u)

static unsigned ring_size(const struct rtl8139 *s) { return 8192u << (s->rcr >> 11 & 3); }
static unsigned ring_mask(const struct rtl8139 *s) { return ring_size(s) - 1; }
static unsigned read_at(const struct rtl8139 *s) { return (s->capr + 16u) & ring_mask(s); }
static bool cp_receiving(const struct rtl8139 *s) { return s->cplus && (s->cpcr & CPCR_RX); }

void rtl8139_update_irq(struct rtl8139 *s) { pci_set_intx(&s->pci, (s->isr & s->imr) != 0); }

/* --- receiving ---------------------------------------------------------------------------------------- */

/* Does the ring of old have room for a frame of len bytes (without FCS)? It must not become quite full. */
static bool ring_has_room(const struct rtl8139 *s, size_t len) {
  unsigned free = (read_at(s) - s->cbr) & ring_mask(s);
  if (!free)
    free = ring_size(s);
  return RX_ALIGN(4 + (unsigned)len + NIC_FCS) < free;
}

/* Into the ring at `at`; beyond its end go on at its start, or, as WRAP says, straight on. */
static void ring_write(struct rtl8139 *s, unsigned at, const void *data, unsigned len) {
  unsigned size = ring_size(s);
  bool straight = (s->rcr & RCR_WRAP) && size < 65536;
  unsigned first = at + len > size && !straight ? (at < size ? size - at : 0) : len;
  mem_dma_write(s->dev.mem, s->rbstart + at, data, first);
  if (first < len)
    mem_dma_write(s->dev.mem, s->rbstart, (const uint8_t *)data + first, len - first);
}

static bool ring_receive(struct rtl8139 *s, const uint8_t *frame, size_t len, int how) {
  if (!ring_has_room(s, len))
    return false;
  uint8_t data[4 + NET_FRAME_MAX + NIC_FCS];
  unsigned status = 1 | (how == RX_BROADCAST ? 0x2000 : how == RX_PHYSICAL ? 0x4000 : 0x8000);
  unsigned total = (unsigned)len + NIC_FCS;
  uint32_t header = status | total << 16;
  memcpy(data, &header, 4);
  memcpy(data + 4, frame, len);
  nic_put_fcs(data + 4 + len, frame, len);
  ring_write(s, s->cbr, data, 4 + total);
  s->cbr = (uint16_t)((s->cbr + RX_ALIGN(4 + total)) & ring_mask(s));
  return true;
}

/* How the address filter (RCR, MAR) takes the frame; 0: not at all. */
static int filter(const struct rtl8139 *s, const uint8_t *frame) {
  if (nic_broadcast(frame))
    return s->rcr & (RCR_AB | RCR_AAP) ? RX_BROADCAST : 0;
  if (nic_multicast(frame)) {
    unsigned hash = nic_hash_msb(frame);
    bool hit = (s->rcr & RCR_AM) && (s->mar[hash >> 3] >> (hash & 7) & 1);
    return hit || (s->rcr & RCR_AAP) ? RX_MULTICAST : 0;
  }
  bool mine = (s->rcr & RCR_APM) && !memcmp(frame, s->idr, 6);
  return mine || (s->rcr & RCR_AAP) ? RX_PHYSICAL : 0;
}

static void receive(void *opaque, const uint8_t *frame, size_t len) {
  struct rtl8139 *s = opaque;
  if (!(s->cr & CR_RE) || !pci_bus_master(&s->pci) || len < 14 || len > NET_FRAME_MAX)
    return;
  int how = filter(s, frame);
  if (!how)
    return;
  bool taken = cp_receiving(s) ? rtl8139_cp_receive(s, frame, len, how) : ring_receive(s, frame, len, how);
  if (taken) {
    s->rx_ok++;
    s->rx_physical += how == RX_PHYSICAL;
    s->rx_broadcast += how == RX_BROADCAST;
    s->rx_multicast += how == RX_MULTICAST;
    s->isr |= ISR_ROK;
  } else {
    s->missed = (s->missed + 1) & 0xffffff;
    s->isr |= ISR_RXOVW;
  }
  rtl8139_update_irq(s);
}

static bool ready(void *opaque) {
  struct rtl8139 *s = opaque;
  if (!(s->cr & CR_RE) || !pci_bus_master(&s->pci))
    return true; /* to be dropped */
  if (cp_receiving(s))
    return rtl8139_cp_ready(s);
  if (ring_has_room(s, NET_FRAME_MAX))
    return true;
  if (!(s->isr & (ISR_ROK | ISR_RXOVW))) { /* a driver may have cleared it before it had emptied the ring */
    s->isr |= ISR_ROK;
    rtl8139_update_irq(s);
  }
  return false;
}

static void link_changed(void *opaque, bool up) {
  struct rtl8139 *s = opaque;
  (void)up;
  s->isr |= ISR_LINK;
  rtl8139_update_irq(s);
}

static void room_made(struct rtl8139 *s) {
  if (s->cable)
    net_ready(s->cable, NET_CARD);
}

/* --- sending ------------------------------------------------------------------------------------------ */

void rtl8139_emit(struct rtl8139 *s, uint8_t *frame, size_t len) {
  if (!len)
    return;
  if (len < NIC_MIN) {
    memset(frame + len, 0, NIC_MIN - len);
    len = NIC_MIN;
  }
  s->tx_ok++;
  if ((s->tcr & TCR_LOOPBACK) == TCR_LOOPBACK)
    receive(s, frame, len);
  else
    nic_send(s->cable, frame, len);
}

/* Send what the driver has handed over, in the order of the descriptors. */
static void transmit(struct rtl8139 *s) {
  if (!pci_bus_master(&s->pci))
    return;
  while ((s->cr & CR_TE) && !(s->tsd[s->tx_current] & TSD_OWN)) {
    uint8_t frame[TX_MAX];
    uint32_t *tsd = &s->tsd[s->tx_current];
    size_t len = *tsd & TSD_SIZE;
    if (len > TX_MAX)
      len = TX_MAX;
    mem_dma_read(s->dev.mem, s->tsad[s->tx_current], frame, len);
    *tsd |= TSD_OWN | TSD_TOK;
    s->tx_current = (s->tx_current + 1) & 3;
    if ((s->tcr & TCR_CRC) && len >= NIC_FCS) /* the driver has put it there */
      len -= NIC_FCS;
    rtl8139_emit(s, frame, len);
    s->isr |= ISR_TOK;
  }
  rtl8139_update_irq(s);
}

/* The status of all four descriptors: OWN, TABT, TUN, TOK, four bits each. */
static uint16_t tsad_status(const struct rtl8139 *s) {
  unsigned value = 0;
  for (int i = 0; i < 4; i++) {
    value |= (s->tsd[i] & TSD_OWN ? 1u : 0) << i;
    value |= (s->tsd[i] >> 30 & 1) << (4 + i);
    value |= (s->tsd[i] >> 14 & 1) << (8 + i);
    value |= (s->tsd[i] & TSD_TOK ? 1u : 0) << (12 + i);
  }
  return (uint16_t)value;
}

/* --- the timer: one tick of TCTR is one PCI clock ------------------------------------------------------ */

static uint32_t tctr(struct rtl8139 *s) {
  return (uint32_t)muldiv64(clock_now(s->dev.clock) - s->timer_base, PCI_CLOCK_MHZ, 1000);
}

static void arm_timer(struct rtl8139 *s) {
  timer_cancel(&s->timer);
  if (!s->timer_int)
    return;
  uint32_t left = s->timer_int - tctr(s);
  int64_t ticks = left ? left : 1ll << 32;
  timer_arm(&s->timer, clock_now(s->dev.clock) + muldiv64(ticks, 1000, PCI_CLOCK_MHZ) + 1);
}

static void timer_fired(void *opaque) {
  struct rtl8139 *s = opaque;
  s->isr |= ISR_TIMEOUT;
  rtl8139_update_irq(s);
  arm_timer(s);
}

static void tx_timer_fired(void *opaque) {
  struct rtl8139 *s = opaque;
  rtl8139_cp_transmit(s, 1);
  rtl8139_cp_transmit(s, 0);
}

/* --- reset -------------------------------------------------------------------------------------------- */

static void load_from_eeprom(struct rtl8139 *s) {
  memcpy(s->idr, &s->eeprom.word[7], 6);
  s->config[0] = 0;
  s->config[1] = 0x0c; /* both kinds of access are on */
  s->config[3] = 0x01;
}

static void software_reset(struct rtl8139 *s) {
  s->cr = 0;
  s->rcr = 0;
  s->tcr = 0;
  s->capr = 0xfff0;
  s->cbr = 0;
  s->imr = s->isr = 0;
  s->missed = 0;
  s->tx_current = 0;
  s->rx_index = s->tx_index[0] = s->tx_index[1] = 0;
  s->cpcr = s->mitigate = 0;
  s->rbstart = 0;
  s->timer_int = 0;
  s->timer_base = clock_now(s->dev.clock);
  for (int i = 0; i < 4; i++) {
    s->tsd[i] = TSD_OWN;
    s->tsad[i] = 0;
  }
  s->bmcr = 0x3100; /* automatic negotiation found 100 Mbit/s, full duplex */
  s->anar = 0x01e1;
  arm_timer(s);
  timer_cancel(&s->tx_timer);
  rtl8139_update_irq(s);
  room_made(s);
}

static void rtl8139_reset(struct device *dev) {
  struct rtl8139 *s = DEVICE(struct rtl8139, dev);
  pci_func_reset(&s->pci);
  memset(s->mar, 0, sizeof s->mar);
  memset(s->phy, 0, sizeof s->phy);
  memset(s->config, 0, sizeof s->config);
  s->cr9346 = s->msr = s->etthr = 0;
  s->mulint = s->nwaytr = s->cscr = 0;
  s->dtccr = s->rdsar = 0;
  s->tx_ok = s->rx_ok = s->rx_physical = s->rx_broadcast = 0;
  s->rx_multicast = s->rx_errors = 0;
  load_from_eeprom(s);
  software_reset(s);
}

/* --- registers: a dword at a time, as on the bus with its byte enables --------------------------------- */

static uint32_t bytes4(unsigned a, unsigned b, unsigned c, unsigned d) {
  return a | b << 8 | c << 16 | d << 24;
}

static uint32_t read_cr9346(const struct rtl8139 *s) {
  uint8_t value = s->cr9346 & 0xfe;
  return (s->cr9346 & 0xc0) == EEM_PROGRAM ? value | s->eeprom.dout : value;
}

static uint32_t read_dword(struct rtl8139 *s, unsigned at) {
  uint32_t dword;
  bool up = nic_link(s->cable);
  switch (at) {
  case 0x00:
  case 0x04: memcpy(&dword, s->idr + at, 4); return dword;
  case 0x08:
  case 0x0c: memcpy(&dword, s->mar + (at - 8), 4); return dword;
  case 0x10:
  case 0x14:
    if (s->cplus && (s->cpcr & CPCR_TX))
      return (uint32_t)(s->dtccr >> (at == 0x14 ? 32 : 0));
    return s->tsd[(at - 0x10) / 4];
  case 0x18:
  case 0x1c: return s->tsd[(at - 0x10) / 4];
  case 0x20:
  case 0x24:
  case 0x28:
  case 0x2c: return s->tsad[(at - 0x20) / 4];
  case 0x30: return s->rbstart;
  case 0x34: {
    bool empty = read_at(s) == (s->cbr & ring_mask(s));
    return (uint32_t)(s->cr | (empty && !cp_receiving(s) ? CR_BUFE : 0)) << 24;
  }
  case 0x38: return s->capr | (uint32_t)s->cbr << 16;
  case 0x3c: return s->imr | (uint32_t)s->isr << 16;
  case 0x40: return s->tcr | (s->cplus ? 0x74800000u : 0x74000000u);
  case 0x44: return s->rcr;
  case 0x48: return tctr(s);
  case 0x4c: return s->missed;
  case 0x50: return bytes4(read_cr9346(s), s->config[0], s->config[1], 0);
  case 0x54: return s->timer_int;
  case 0x58: return bytes4((s->msr & 0xc0u) | 0x10 | (up ? 0 : 4), s->config[3], s->config[4], 0);
  case 0x5c: return s->mulint | 0x10u << 16;
  case 0x60: return tsad_status(s) | (uint32_t)s->bmcr << 16;
  case 0x64: return (up ? 0x782du : 0x7809u) | (uint32_t)s->anar << 16;
  case 0x68: return (up ? 0x45e1u : 0) | (up ? 1u : 0) << 16;
  case 0x70: return s->nwaytr;
  case 0x74: return s->cscr | (up ? 0x0100u : 0);
  case 0x78:
  case 0x7c:
  case 0x80: return s->phy[(at - 0x78) / 4];
  case 0xd8: return s->cplus ? s->config[5] : 0;
  case 0xe0: return s->cplus ? s->cpcr | (uint32_t)s->mitigate << 16 : 0;
  case 0xe4: return s->cplus ? (uint32_t)s->rdsar : 0;
  case 0xe8: return s->cplus ? (uint32_t)(s->rdsar >> 32) : 0;
  case 0xec: return s->cplus ? s->etthr : 0;
  default: return 0;
  }
}

static uint32_t merge(uint32_t old, uint32_t value, uint32_t mask) { return (old & ~mask) | (value & mask); }

static void write_cr(struct rtl8139 *s, uint8_t value) {
  if (value & CR_RST) {
    software_reset(s);
    return;
  }
  uint8_t was = s->cr;
  s->cr = value & (CR_RE | CR_TE);
  if ((s->cr & ~was) & CR_TE) {
    s->tx_current = 0;
    s->tx_index[0] = s->tx_index[1] = 0;
    transmit(s);
  }
  if ((s->cr & ~was) & CR_RE) {
    s->rx_index = 0;
    s->cbr &= (uint16_t)ring_mask(s);
  }
  room_made(s);
}

static void write_cr9346(struct rtl8139 *s, uint8_t value) {
  unsigned mode = value & 0xc0;
  s->cr9346 = value & 0xce;
  if (mode == EEM_LOAD) {
    load_from_eeprom(s);
    s->cr9346 = 0;
  } else if (mode == EEM_PROGRAM) {
    eeprom93c46_pins(&s->eeprom, value & 8, value & 4, value & 2);
  }
}

static void write_config(struct rtl8139 *s, unsigned n, uint8_t value) {
  static const uint8_t writable[6] = {0x00, 0xf3, 0x00, 0xe0, 0xff, 0x7f};
  if ((s->cr9346 & 0xc0) == EEM_CONFIG)
    s->config[n] = (uint8_t)merge(s->config[n], value, writable[n]);
}

static void write_bmcr(struct rtl8139 *s, uint16_t value) {
  if (value & 0x8000)
    s->bmcr = 0x3100;
  else
    s->bmcr = value & 0x3100;
}

static void write_tppoll(struct rtl8139 *s, uint8_t value) {
  if (value & 0x01)
    s->isr |= ISR_SWINT;
  if (value & 0x80)
    rtl8139_cp_transmit(s, 1);
  if (value & 0x40)
    rtl8139_cp_transmit(s, 0);
  rtl8139_update_irq(s);
}

/* A write of TSD hands the descriptor over when it clears OWN. */
static void write_tsd(struct rtl8139 *s, unsigned at, uint32_t value, uint32_t mask) {
  if (s->cplus && (s->cpcr & CPCR_TX) && at < 0x18) {
    unsigned shift = at == 0x14 ? 32 : 0;
    s->dtccr = (s->dtccr & ~((uint64_t)mask << shift)) | (uint64_t)(value & mask) << shift;
    if (shift == 0 && (value & mask & 8))
      rtl8139_cp_dump_counters(s);
    return;
  }
  uint32_t *tsd = &s->tsd[(at - 0x10) / 4];
  *tsd = merge(*tsd, value, mask) & 0x003fffffu;
  *tsd &= ~(uint32_t)(*tsd & TSD_OWN ? 0 : 0xc000);
  transmit(s);
}

static void write_isr(struct rtl8139 *s, uint32_t value, uint32_t mask) {
  s->imr = (uint16_t)merge(s->imr, value, mask) & ISR_BITS;
  s->isr &= (uint16_t) ~((value & mask) >> 16);
  rtl8139_update_irq(s);
}

/* C+ registers; the older chip has nothing there. */
static void write_cplus(struct rtl8139 *s, unsigned at, uint32_t value, uint32_t mask) {
  switch (at) {
  case 0xd8:
    if (mask & 0xff)
      write_config(s, 5, (uint8_t)value);
    if (mask & 0xff00)
      write_tppoll(s, (uint8_t)(value >> 8));
    break;
  case 0xe0:
    s->cpcr = (uint16_t)merge(s->cpcr, value, mask) & 0x027f;
    s->mitigate = (uint16_t)(merge((uint32_t)s->mitigate << 16, value, mask) >> 16);
    room_made(s);
    break;
  case 0xe4:
    s->rdsar = (s->rdsar & ~0xffffffffull) | (merge((uint32_t)s->rdsar, value, mask) & ~0xffu);
    break;
  case 0xe8:
    s->rdsar = (uint32_t)s->rdsar | (uint64_t)merge((uint32_t)(s->rdsar >> 32), value, mask) << 32;
    break;
  case 0xec: s->etthr = (uint8_t)merge(s->etthr, value, mask) & 0x3f; break;
  }
}

static void write_dword(struct rtl8139 *s, unsigned at, uint32_t value, uint32_t mask) {
  uint32_t dword;
  switch (at) {
  case 0x00:
  case 0x04:
    memcpy(&dword, s->idr + at, 4);
    dword = merge(dword, value, at ? mask & 0xffff : mask);
    memcpy(s->idr + at, &dword, 4);
    break;
  case 0x08:
  case 0x0c:
    memcpy(&dword, s->mar + (at - 8), 4);
    dword = merge(dword, value, mask);
    memcpy(s->mar + (at - 8), &dword, 4);
    break;
  case 0x10:
  case 0x14:
  case 0x18:
  case 0x1c: write_tsd(s, at, value, mask); break;
  case 0x20:
  case 0x24:
  case 0x28:
  case 0x2c: s->tsad[(at - 0x20) / 4] = merge(s->tsad[(at - 0x20) / 4], value, mask); break;
  case 0x30: s->rbstart = merge(s->rbstart, value, mask); break;
  case 0x34:
    if (mask >> 24)
      write_cr(s, (uint8_t)(value >> 24));
    break;
  case 0x38:
    if (mask & 0xffff) {
      s->capr = (uint16_t)merge(s->capr, value, mask);
      room_made(s);
    }
    break;
  case 0x3c: write_isr(s, value, mask); break;
  case 0x40: s->tcr = merge(s->tcr, value, mask) & TCR_WRITABLE; break;
  case 0x44:
    s->rcr = merge(s->rcr, value, mask) & 0x0f03ffffu;
    s->cbr &= (uint16_t)ring_mask(s);
    room_made(s);
    break;
  case 0x48:
    s->timer_base = clock_now(s->dev.clock);
    arm_timer(s);
    break;
  case 0x4c: s->missed = 0; break;
  case 0x50:
    if (mask & 0xff)
      write_cr9346(s, (uint8_t)value);
    if (mask & 0xff0000)
      write_config(s, 1, (uint8_t)(value >> 16));
    break;
  case 0x54:
    s->timer_int = merge(s->timer_int, value, mask);
    arm_timer(s);
    break;
  case 0x58:
    if (mask & 0xff)
      s->msr = value & 0xc0;
    if (mask & 0xff00)
      write_config(s, 3, (uint8_t)(value >> 8));
    if (mask & 0xff0000)
      write_config(s, 4, (uint8_t)(value >> 16));
    break;
  case 0x5c: s->mulint = (uint16_t)merge(s->mulint, value, mask); break;
  case 0x60:
    if (mask >> 16)
      write_bmcr(s, (uint16_t)(merge((uint32_t)s->bmcr << 16, value, mask) >> 16));
    break;
  case 0x64: s->anar = (uint16_t)(merge((uint32_t)s->anar << 16, value, mask) >> 16); break;
  case 0x70: s->nwaytr = (uint16_t)merge(s->nwaytr, value, mask); break;
  case 0x74: s->cscr = (uint16_t)merge(s->cscr, value, mask) & 0xe0ff; break;
  case 0x78:
  case 0x7c:
  case 0x80: s->phy[(at - 0x78) / 4] = merge(s->phy[(at - 0x78) / 4], value, mask); break;
  default:
    if (s->cplus)
      write_cplus(s, at, value, mask);
  }
}

static uint32_t reg_read(void *opaque, uint32_t offset, int size) {
  struct rtl8139 *s = opaque;
  uint32_t ones = 0xffffffffu >> (32 - 8 * size), value = 0;
  if (offset >= 256)
    return ones;
  if ((offset & 3) + (unsigned)size <= 4)
    return read_dword(s, offset & ~3u) >> 8 * (offset & 3) & ones;
  for (int i = 0; i < size; i++)
    value |= reg_read(s, offset + (unsigned)i, 1) << 8 * i;
  return value;
}

static void reg_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct rtl8139 *s = opaque;
  if (offset >= 256)
    return;
  unsigned shift = 8 * (offset & 3);
  uint32_t mask = 0xffffffffu >> (32 - 8 * size);
  if ((offset & 3) + (unsigned)size <= 4) {
    write_dword(s, offset & ~3u, value << shift, mask << shift);
    return;
  }
  for (int i = 0; i < size; i++)
    reg_write(s, offset + (unsigned)i, 1, value >> 8 * i & 0xff);
}

static uint64_t mmio_read(void *opaque, uint32_t offset, int size) { return reg_read(opaque, offset, size); }
static void mmio_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  reg_write(opaque, offset, size, (uint32_t)value);
}

static const struct io_ops io_ops = {reg_read, reg_write, 4};
static const struct mmio_ops mmio_ops = {.read = mmio_read, .write = mmio_write, .max_size = 4};

/* --- making ------------------------------------------------------------------------------------------- */

static void fill_eeprom(struct rtl8139 *s, const uint8_t *mac) {
  uint16_t *w = s->eeprom.word;
  w[0] = 0x8129; /* the signature */
  w[1] = 0x10ec;
  w[2] = 0x8139;
  w[3] = 0x10ec;
  w[4] = 0x8139;
  memcpy(&w[7], mac, 6);
}

static int rtl8139_init(struct device *dev, const struct device_args *args) {
  struct rtl8139 *s = DEVICE(struct rtl8139, dev);
  const struct rtl8139_config *config = args->config;
  s->cable = config->nic.cable;
  s->cplus = config->cplus;
  fill_eeprom(s, config->nic.mac);
  timer_init(&s->timer, dev->clock, "rtl8139", timer_fired, s);
  timer_init(&s->tx_timer, dev->clock, "rtl8139-tx", tx_timer_fired, s);
  pci_func_init(&s->pci, "rtl8139", 0x10ec, 0x8139, 0x020000, s->cplus ? 0x20 : 0x10, 1);
  s->pci.opaque = s;
  pci_set16(&s->pci, 6, 0x0280); /* medium DEVSEL#, fast back-to-back */
  s->pci.config[0x3e] = 0x20;    /* MIN_GNT, MAX_LAT */
  s->pci.config[0x3f] = 0x40;
  pci_func_set_bar(&s->pci, 0,
                   &(struct pci_bar){.kind = PCI_BAR_IO, .size = 256, .io_ops = &io_ops, .opaque = s});
  pci_func_set_bar(
      &s->pci, 1,
      &(struct pci_bar){.kind = PCI_BAR_MEM, .size = MEM_PAGE, .mmio_ops = &mmio_ops, .opaque = s});
  int error = nic_load_rom(dev, &s->pci, config->nic.rom_path);
  if (!error)
    error = pci_register(config->nic.bus, &s->pci, config->nic.devfn);
  if (!error && s->cable)
    net_attach(s->cable, NET_CARD, &(struct net_end){receive, ready, link_changed, s});
  return error;
}

static void rtl8139_destroy(struct device *dev) {
  struct rtl8139 *s = DEVICE(struct rtl8139, dev);
  timer_cancel(&s->timer);
  timer_cancel(&s->tx_timer);
  if (s->cable)
    net_attach(s->cable, NET_CARD, NULL);
}

#define F(kind, member) FIELD(kind, struct rtl8139, member)
#define A(kind, member) FIELD_ARRAY(kind, struct rtl8139, member)
static const struct field rtl8139_fields[] = {
    FIELD_BUFFER(struct rtl8139, pci.config),
    EEPROM93C46_FIELDS(struct rtl8139, eeprom),
    F(TIMER, timer),
    F(TIMER, tx_timer),
    A(U8, idr),
    A(U8, mar),
    A(U32, tsd),
    A(U32, tsad),
    F(U32, rbstart),
    F(U32, rcr),
    F(U32, tcr),
    F(U32, timer_int),
    F(U32, missed),
    F(U64, dtccr),
    F(U64, rdsar),
    F(U16, capr),
    F(U16, cbr),
    F(U16, imr),
    F(U16, isr),
    F(U16, mulint),
    F(U16, bmcr),
    F(U16, anar),
    F(U16, nwaytr),
    F(U16, cscr),
    A(U32, phy),
    F(U8, cr),
    F(U8, cr9346),
    A(U8, config),
    F(U8, msr),
    F(U8, etthr),
    F(U16, cpcr),
    F(U16, mitigate),
    F(U8, tx_current),
    F(U16, rx_index),
    A(U16, tx_index),
    F(I64, timer_base),
    F(U64, tx_ok),
    F(U64, rx_ok),
    F(U64, rx_physical),
    F(U64, rx_broadcast),
    F(U32, rx_multicast),
    F(U32, rx_errors),
    FIELDS_END,
};

const struct device_class rtl8139_class = {
    .name = "RTL8139",
    .size = sizeof(struct rtl8139),
    .init = rtl8139_init,
    .reset = rtl8139_reset,
    .destroy = rtl8139_destroy,
    .fields = rtl8139_fields,
};
