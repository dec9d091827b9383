/* SPDX-License-Identifier: MIT */
/*
 * The Am79C970A's buffer management unit (datasheet: "Buffer Management", "Software Access": initialization
 * block, receive and transmit descriptors): rings of 8-byte descriptors in style 0, of 16-byte descriptors in
 * styles 1 to 3, buffer chaining, address filter, padding and stripping, loopback.
 */
#include <string.h>

#include "devices/net/pcnet_int.h"

/* Status bits of a descriptor, as in the upper half of the second word; the 16-bit forms lie 16 lower. */
#define D_OWN 0x80000000u
#define D_ERR 0x40000000u
#define R_OFLO 0x10000000u
#define R_BUFF 0x04000000u
#define R_PAM 0x00400000u
#define R_LAFM 0x00200000u
#define R_BAM 0x00100000u
#define T_ADD_FCS 0x20000000u
#define T_LTINT 0x10000000u
#define D_STP 0x02000000u
#define D_ENP 0x01000000u
#define KEPT_RX (D_OWN | 0x0000ffffu)
/* Of the third word of a transmit descriptor. */
#define T_BUFF 0x80000000u
#define T_UFLO 0x40000000u

#define RING_MAX 512u /* descriptors by an initialization block; CSR76 and 78 allow more, looked at in turn  \
                       */

#define CSR_CRDA 28 /* current descriptor addresses, for those who look */
#define CSR_CXDA 34
#define CSR_BADR 24
#define CSR_BADX 30

struct descriptor {               /* in one form for all styles */
  uint32_t address, flags, extra; /* flags: status 31-16, BCNT as the driver gave it 11-0 */
};

static void dma_read(struct pcnet *s, uint32_t at, void *buf, size_t len) {
  mem_dma_read(s->dev.mem, at, buf, len);
}
static void dma_write(struct pcnet *s, uint32_t at, const void *buf, size_t len) {
  mem_dma_write(s->dev.mem, at, buf, len);
}

/* Style 0 has 24 address lines; the others come from IADR's upper byte (CSR2). */
static uint32_t address24(const struct pcnet *s, uint32_t at) {
  return (at & 0xffffff) | (uint32_t)(s->csr[2] & 0xff00) << 16;
}

static unsigned descriptor_size(const struct pcnet *s) { return pcnet_wide(s) ? 16 : 8; }

static struct descriptor fetch(struct pcnet *s, uint32_t at) {
  struct descriptor d;
  if (!pcnet_wide(s)) {
    uint16_t w[4];
    dma_read(s, at, w, sizeof w);
    d.address = address24(s, w[0] | (uint32_t)(w[1] & 0xff) << 16);
    d.flags = (uint32_t)(w[1] & 0xff00) << 16 | w[2];
    d.extra = w[3];
    return d;
  }
  uint32_t w[4];
  dma_read(s, at, w, sizeof w);
  bool swapped = pcnet_style(s) == 3;
  d.address = swapped ? w[2] : w[0];
  d.flags = w[1];
  d.extra = swapped ? w[0] : w[2];
  return d;
}

/* Give a descriptor back: first what belongs to the frame, then the word with OWN. */
static void give_back(struct pcnet *s, uint32_t at, const struct descriptor *d, bool receive) {
  if (!pcnet_wide(s)) {
    uint16_t status = (uint16_t)((d->flags >> 16 & 0xff00) | (d->address >> 16 & 0xff));
    uint16_t extra = (uint16_t)(receive ? d->extra & 0xfff : d->extra >> 16);
    dma_write(s, at + 6, &extra, 2);
    dma_write(s, at + 2, &status, 2);
    return;
  }
  dma_write(s, at + (pcnet_style(s) == 3 ? 0 : 8), &d->extra, 4);
  dma_write(s, at + 4, &d->flags, 4);
}

/* BCNT is a negative number of 12 bits. */
static unsigned buffer_size(const struct descriptor *d) { return 4096 - (d->flags & 0xfff); }

/* --- the initialization block
 * --------------------------------------------------------------------------------- */

static uint16_t ring_length(unsigned code) {
  unsigned length = 1u << (code > 9 ? 9 : code);
  return (uint16_t)(0u - length); /* the counters hold it as a negative number */
}

bool pcnet_read_init_block(struct pcnet *s) {
  uint32_t at = pcnet_pair(s, 1), rx, tx;
  uint8_t b[28];
  if (!pci_bus_master(&s->pci))
    return false;
  bool wide = pcnet_wide(s);
  dma_read(s, at, b, wide ? 28 : 24);
  const uint8_t *rest = wide ? b + 4 : b + 2;
  unsigned rlen, tlen;
  s->csr[CSR_MODE] = (uint16_t)(b[0] | b[1] << 8);
  memcpy(&s->csr[12], rest, 6);
  memcpy(&s->csr[8], rest + (wide ? 8 : 6), 8);
  memcpy(&rx, b + (wide ? 20 : 16), 4);
  memcpy(&tx, b + (wide ? 24 : 20), 4);
  if (wide) {
    rlen = b[2] >> 4;
    tlen = b[3] >> 4;
  } else {
    rlen = rx >> 29;
    tlen = tx >> 29;
    rx = address24(s, rx);
    tx = address24(s, tx);
  }
  s->csr[6] = (uint16_t)(tlen << 12 | rlen << 8);
  s->csr[CSR_RCVRL] = s->csr[CSR_RCVRC] = ring_length(rlen);
  s->csr[CSR_XMTRL] = s->csr[CSR_XMTRC] = ring_length(tlen);
  pcnet_set_pair(s, CSR_BADR, rx & ~7u);
  pcnet_set_pair(s, CSR_BADX, tx & ~7u);
  return true;
}

/* --- rings: RCVRC and XMTRC count from minus the length up to minus one
 * ------------------------------------------ */

static unsigned ring_size(const struct pcnet *s, unsigned length_csr) {
  unsigned n = (0u - s->csr[length_csr]) & 0xffff;
  return n ? n : 65536;
}

static uint32_t current(struct pcnet *s, unsigned base, unsigned length_csr, unsigned count_csr) {
  unsigned size = ring_size(s, length_csr), left = (0u - s->csr[count_csr]) & 0xffff;
  unsigned index = left && left <= size ? size - left : 0;
  return pcnet_pair(s, base) + index * descriptor_size(s);
}

static void advance(struct pcnet *s, unsigned length_csr, unsigned count_csr) {
  if (++s->csr[count_csr] == 0)
    s->csr[count_csr] = s->csr[length_csr];
}

static uint32_t rx_at(struct pcnet *s) { return current(s, CSR_BADR, CSR_RCVRL, CSR_RCVRC); }
static uint32_t tx_at(struct pcnet *s) { return current(s, CSR_BADX, CSR_XMTRL, CSR_XMTRC); }

/* --- receiving
 * ---------------------------------------------------------------------------------------------------- */

/* Descriptors from the current one on that a frame of `need` bytes would fill are the chip's, or are as many
 * as a frame can need. */
bool pcnet_receive_ready(struct pcnet *s) {
  uint16_t saved = s->csr[CSR_RCVRC];
  unsigned room = 0;
  bool owned = true;
  for (unsigned i = 0; i < 64 && owned && room < NET_FRAME_MAX + NIC_FCS; i++) {
    struct descriptor d = fetch(s, rx_at(s));
    owned = d.flags & D_OWN;
    room += buffer_size(&d);
    advance(s, CSR_RCVRL, CSR_RCVRC);
  }
  s->csr[CSR_RCVRC] = saved;
  return owned;
}

/* How the frame's address matches: R_PAM, R_LAFM, R_BAM, 1 for promiscuous mode, 0: not at all. */
static uint32_t match(const struct pcnet *s, const uint8_t *frame) {
  uint16_t mode = s->csr[CSR_MODE];
  if (nic_broadcast(frame)) {
    if (!(mode & MODE_DRCVBC))
      return R_BAM;
  } else if (nic_multicast(frame)) {
    unsigned hash = nic_hash_lsb(frame);
    if (s->csr[8 + (hash >> 4)] >> (hash & 15) & 1)
      return R_LAFM;
  } else if (!(mode & MODE_DRCVPA) && !memcmp(frame, &s->csr[12], 6)) {
    return R_PAM;
  }
  return mode & MODE_PROM ? 1 : 0;
}

static void missed(struct pcnet *s) {
  s->csr[0] |= C0_MISS;
  if (++s->csr[CSR_MFC] == 0)
    s->csr[4] |= C4_MFCO;
  pcnet_update_irq(s);
}

/* ASTRP_RCV: a frame with a length below 46 in place of a type loses padding and FCS. */
static size_t strip(const struct pcnet *s, const uint8_t *frame, size_t len) {
  unsigned length = (unsigned)frame[12] << 8 | frame[13];
  bool stripped = (s->csr[4] & C4_ASTRP_RCV) && length < 46;
  return stripped ? 14 + length : len + NIC_FCS;
}

void pcnet_receive(struct pcnet *s, const uint8_t *frame, size_t len) {
  uint8_t data[NET_FRAME_MAX + NIC_FCS];
  if (!pci_bus_master(&s->pci) || len < 14 || len > NET_FRAME_MAX)
    return;
  uint32_t how = match(s, frame);
  if (!how)
    return;
  memcpy(data, frame, len);
  nic_put_fcs(data + len, frame, len);
  size_t total = strip(s, frame, len), done = 0;
  uint32_t status = D_STP;
  if (total > len + NIC_FCS)
    total = len + NIC_FCS;
  struct descriptor d = fetch(s, rx_at(s));
  if (!(d.flags & D_OWN)) {
    missed(s);
    return;
  }
  for (unsigned n = 0; n < sizeof data; n++) {
    unsigned room = buffer_size(&d);
    size_t part = total - done < room ? total - done : room;
    uint32_t at = rx_at(s);
    dma_write(s, d.address, data + done, part);
    done += part;
    advance(s, CSR_RCVRL, CSR_RCVRC);
    struct descriptor next = {0};
    if (done < total)
      next = fetch(s, rx_at(s));
    d.flags = (d.flags & KEPT_RX & ~D_OWN) | status;
    d.extra = 0;
    if (done == total) {
      d.flags |= D_ENP | (pcnet_wide(s) && how > 1 ? how : 0);
      d.extra = (uint32_t)total;
    } else if (!(next.flags & D_OWN)) { /* the frame is cut off */
      d.flags |= D_ERR | R_BUFF | R_OFLO;
      done = total;
    }
    give_back(s, at, &d, true);
    status = 0;
    if (done == total)
      break;
    d = next;
  }
  pcnet_set_pair(s, CSR_CRDA, rx_at(s));
  s->csr[0] |= C0_RINT;
  pcnet_update_irq(s);
}

/* --- sending
 * ------------------------------------------------------------------------------------------------------- */

static void send_frame(struct pcnet *s, uint8_t *frame, size_t len, uint32_t first_flags) {
  bool fcs_by_driver = (s->csr[CSR_MODE] & MODE_DXMTFCS) && !(pcnet_wide(s) && (first_flags & T_ADD_FCS));
  if ((s->csr[4] & C4_APAD_XMT) && len < NIC_MIN) {
    memset(frame + len, 0, NIC_MIN - len);
    len = NIC_MIN;
    fcs_by_driver = false;
  }
  if (len > NET_FRAME_MAX + (fcs_by_driver ? NIC_FCS : 0)) {
    s->csr[0] |= C0_BABL;
    return;
  }
  if (fcs_by_driver)
    len = len > NIC_FCS ? len - NIC_FCS : 0;
  if (s->csr[CSR_MODE] & MODE_LOOP) {
    if (len && (s->csr[0] & C0_RXON))
      pcnet_receive(s, frame, len);
  } else {
    nic_send(s->cable, frame, len);
  }
}

/* The ring broke off within a frame: the chip stops sending, unless DXSUFLO lets it go on. */
static void underflow(struct pcnet *s, uint32_t at, struct descriptor *d) {
  d->flags |= D_ERR;
  d->extra = T_BUFF | T_UFLO | (d->extra & 0x03ffffff);
  give_back(s, at, d, false);
  if (!(s->csr[3] & C3_DXSUFLO))
    s->csr[0] &= (uint16_t)~C0_TXON;
}

/* One frame: its descriptors from the current one to the one with ENP. Returns how many were taken; 0: none
 * is the chip's. */
static unsigned send_next(struct pcnet *s) {
  uint8_t frame[NET_FRAME_MAX + NIC_FCS + 1]; /* one more shows what is too long */
  size_t len = 0;
  uint32_t first = 0;
  for (unsigned n = 1;; n++) {
    uint32_t at = tx_at(s);
    struct descriptor d = fetch(s, at);
    if (!(d.flags & D_OWN))
      return n - 1;
    if (n == 1)
      first = d.flags;
    bool in_frame = first & D_STP; /* what does not begin a frame is passed over */
    size_t part = buffer_size(&d);
    if (in_frame) {
      if (part > sizeof frame - len)
        part = sizeof frame - len;
      dma_read(s, d.address, frame + len, part);
      len += part;
    }
    advance(s, CSR_XMTRL, CSR_XMTRC);
    bool end = !in_frame || (d.flags & D_ENP);
    d.flags &= ~D_OWN;
    d.extra &= pcnet_wide(s) ? 0x03ffffff : 0;
    bool broken =
        !end && (n >= ring_size(s, CSR_XMTRL) || n >= RING_MAX || !(fetch(s, tx_at(s)).flags & D_OWN));
    if (broken) {
      underflow(s, at, &d);
      s->csr[0] |= C0_TINT;
      return n;
    }
    give_back(s, at, &d, false);
    if (!end)
      continue;
    if (in_frame) {
      send_frame(s, frame, len, first);
      if (!(s->csr[5] & C5_LTINTEN) || (d.flags & T_LTINT))
        s->csr[0] |= C0_TINT;
      s->csr[4] |= C4_TXSTRT;
    }
    return n;
  }
}

void pcnet_transmit(struct pcnet *s) {
  unsigned looked_at = 0, taken;
  s->csr[0] &= (uint16_t)~C0_TDMD;
  while ((s->csr[0] & C0_TXON) && !(s->csr[5] & C5_SPND) && pci_bus_master(&s->pci) && looked_at < RING_MAX) {
    taken = send_next(s);
    if (!taken)
      break;
    looked_at += taken;
  }
  pcnet_set_pair(s, CSR_CXDA, tx_at(s));
  pcnet_update_irq(s);
}
