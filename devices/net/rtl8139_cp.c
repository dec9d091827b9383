/* SPDX-License-Identifier: MIT */
/*
 * The RTL8139C+'s descriptor rings (C+ datasheet 1.6, sections 7 and 8): receive and two transmit rings of up
 * to 64 descriptors in memory, checksums and segmentation done by the chip, VLAN tags, the tally counters.
 *
 * Not modelled: checksum results of receiving (the protocol field says "not IP", so that the driver checks).
 */
#include <string.h>

#include "devices/net/rtl8139_int.h"

#define RING 64u   /* descriptors at most (7.1) */
#define BURST 128u /* frames sent before the CPU goes on */
#define BURST_NS 100000
#define TX_MAX 65536u

#define OWN 0x80000000u
#define EOR 0x40000000u
#define FS 0x20000000u
#define LS 0x10000000u
#define TX_LGSEN 0x08000000u
#define TX_IPCS 0x00040000u
#define TX_UDPCS 0x00020000u
#define TX_TCPCS 0x00010000u
#define TX_TAGC 0x00020000u /* in the second word */
#define RX_TAVA 0x00010000u
#define RX_SIZE 0x1fffu

struct descriptor {
  uint32_t command, vlan;
  uint64_t buffer;
};

static struct descriptor fetch(struct rtl8139 *s, uint64_t ring, unsigned index) {
  uint32_t word[4];
  mem_dma_read(s->dev.mem, ring + 16u * index, word, sizeof word);
  return (struct descriptor){word[0], word[1], word[2] | (uint64_t)word[3] << 32};
}

static unsigned after(unsigned index, const struct descriptor *d) {
  return d->command & EOR ? 0 : (index + 1) % RING;
}

/* --- receiving ---------------------------------------------------------------------------------------- */

/* From rx_index on: descriptors that together take `need` bytes; their number, or 0. */
static unsigned gather(struct rtl8139 *s, unsigned need, struct descriptor d[RING]) {
  unsigned index = s->rx_index, room = 0;
  for (unsigned n = 0; n < RING; n++) {
    d[n] = fetch(s, s->rdsar, index);
    if (!(d[n].command & OWN))
      return 0;
    room += d[n].command & RX_SIZE;
    if (room >= need)
      return n + 1;
    index = after(index, &d[n]);
  }
  return 0;
}

bool rtl8139_cp_ready(struct rtl8139 *s) {
  struct descriptor d[RING];
  return gather(s, NET_FRAME_MAX + NIC_FCS, d) != 0;
}

bool rtl8139_cp_receive(struct rtl8139 *s, const uint8_t *frame, size_t len, int how) {
  struct descriptor d[RING];
  uint8_t data[NET_FRAME_MAX + NIC_FCS];
  uint32_t tag = 0;
  if ((s->cpcr & CPCR_RXVLAN) && len >= 18 && frame[12] == 0x81 && frame[13] == 0x00) {
    tag = RX_TAVA | (uint32_t)frame[15] << 8 | frame[14]; /* as it lies in the frame */
    memcpy(data, frame, 12);
    memcpy(data + 12, frame + 16, len - 16);
    len -= 4;
  } else {
    memcpy(data, frame, len);
  }
  nic_put_fcs(data + len, data, len);
  unsigned total = (unsigned)len + NIC_FCS, done = 0;
  unsigned count = gather(s, total, d);
  if (!count)
    return false;
  uint32_t kind = how == RX_MULTICAST ? 1u << 27 : how == RX_PHYSICAL ? 1u << 26 : 1u << 25;
  for (unsigned n = 0; n < count; n++) {
    unsigned room = d[n].command & RX_SIZE, part = total - done < room ? total - done : room;
    mem_dma_write(s->dev.mem, d[n].buffer, data + done, part);
    done += part;
    uint32_t status[2] = {(d[n].command & EOR) | (n == 0 ? FS : 0), tag};
    if (n == count - 1)
      status[0] |= LS | kind | total;
    mem_dma_write(s->dev.mem, s->rdsar + 16u * s->rx_index, status, sizeof status);
    s->rx_index = (uint16_t)after(s->rx_index, &d[n]);
  }
  return true;
}

/* --- checksums and segments --------------------------------------------------------------------------- */

static unsigned get16(const uint8_t *p) { return (unsigned)p[0] << 8 | p[1]; }
static void put16(uint8_t *p, unsigned value) {
  p[0] = (uint8_t)(value >> 8);
  p[1] = (uint8_t)value;
}
static uint32_t get32(const uint8_t *p) { return (uint32_t)get16(p) << 16 | get16(p + 2); }

/* The Internet checksum (RFC 1071) over data, begun with `sum`. */
static unsigned checksum(uint32_t sum, const uint8_t *data, size_t len) {
  for (; len > 1; len -= 2, data += 2)
    sum += get16(data);
  if (len)
    sum += (unsigned)data[0] << 8;
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

struct packet { /* where things are in an IPv4 frame */
  uint8_t *ip, *payload;
  size_t payload_len; /* TCP or UDP header and data */
  unsigned protocol;
};

static bool parse(uint8_t *frame, size_t len, struct packet *p) {
  if (len < 34 || get16(frame + 12) != 0x0800 || frame[14] >> 4 != 4)
    return false;
  unsigned header = (frame[14] & 15u) * 4, total = get16(frame + 16);
  if (header < 20 || total < header || total > len - 14)
    return false;
  *p = (struct packet){frame + 14, frame + 14 + header, total - header, frame[23]};
  return true;
}

static void finish_ip(const struct packet *p) {
  put16(p->ip + 10, 0);
  put16(p->ip + 10, checksum(0, p->ip, (size_t)(p->payload - p->ip)));
}

/* `at`: where the checksum is in the TCP or UDP header. */
static void finish_payload(const struct packet *p, size_t at) {
  if (p->payload_len < at + 2)
    return;
  uint32_t pseudo = p->protocol + (uint32_t)p->payload_len;
  for (int i = 12; i < 20; i += 2)
    pseudo += get16(p->ip + i);
  put16(p->payload + at, 0);
  unsigned sum = checksum(pseudo, p->payload, p->payload_len);
  put16(p->payload + at, sum || p->protocol == 6 ? sum : 0xffff);
}

/* A TCP packet as segments of `mss` bytes. False if it is none. The number of frames is added to *sent. */
static bool segment(struct rtl8139 *s, uint8_t *frame, size_t len, unsigned mss, unsigned *sent) {
  struct packet p;
  if (!parse(frame, len, &p) || p.protocol != 6 || p.payload_len < 20)
    return false;
  unsigned header = (p.payload[12] >> 4) * 4u;
  size_t before = (size_t)(p.payload - frame) + header;
  if (header < 20 || header > p.payload_len || mss < 64 || before + mss > NET_FRAME_MAX)
    return false;
  uint32_t sequence = get32(p.payload + 4);
  unsigned id = get16(p.ip + 4), flags = p.payload[13];
  size_t data = p.payload_len - header;
  for (size_t at = 0; at == 0 || at < data; at += mss, id++) {
    uint8_t out[NET_FRAME_MAX];
    size_t part = data - at < mss ? data - at : mss;
    memcpy(out, frame, before);
    memcpy(out + before, frame + before + at, part);
    struct packet q = {out + 14, out + (p.payload - frame), header + part, 6};
    bool last = at + part == data;
    put16(q.ip + 2, (unsigned)(before - 14 + part));
    put16(q.ip + 4, id & 0xffff);
    put16(q.payload + 4, (sequence + (uint32_t)at) >> 16);
    put16(q.payload + 6, (sequence + (uint32_t)at) & 0xffff);
    q.payload[13] = (uint8_t)(last ? flags : flags & ~0x09u); /* FIN and PSH */
    finish_ip(&q);
    finish_payload(&q, 16);
    rtl8139_emit(s, out, before + part);
    ++*sent;
  }
  return true;
}

/* --- sending ------------------------------------------------------------------------------------------ */

static unsigned send_frame(struct rtl8139 *s, uint8_t *frame, size_t len, const struct descriptor *d) {
  struct packet p;
  unsigned sent = 0;
  if ((d->command & TX_LGSEN) && segment(s, frame, len, d->command >> 16 & 0x7ff, &sent))
    return sent;
  if (!(d->command & TX_LGSEN) && parse(frame, len, &p)) {
    if (d->command & TX_IPCS)
      finish_ip(&p);
    if ((d->command & TX_TCPCS) && p.protocol == 6)
      finish_payload(&p, 16);
    else if ((d->command & TX_UDPCS) && p.protocol == 17)
      finish_payload(&p, 6);
  }
  if ((d->vlan & TX_TAGC) && len >= 14 && len + 4 <= NET_FRAME_MAX) {
    memmove(frame + 16, frame + 12, len - 12);
    put16(frame + 12, 0x8100);
    frame[14] = (uint8_t)d->vlan;
    frame[15] = (uint8_t)(d->vlan >> 8);
    len += 4;
  }
  rtl8139_emit(s, frame, len);
  return 1;
}

/* The next frame of a ring; the number of frames it made, or 0 if no whole one is there. */
static unsigned send_next(struct rtl8139 *s, uint64_t ring, uint16_t *index, bool *none) {
  struct descriptor d[RING];
  static const uint32_t kept = EOR | FS | LS;
  uint8_t frame[TX_MAX + 64];
  unsigned count = 0, at = *index;
  size_t len = 0;
  *none = true;
  do {
    d[count] = fetch(s, ring, at);
    if (!(d[count].command & OWN))
      return 0;
    at = after(at, &d[count]);
  } while (!(d[count++].command & LS) && count < RING);
  *none = false;
  for (unsigned n = 0; n < count; n++) {
    size_t part = d[n].command & 0xffff;
    if (len + part > TX_MAX)
      part = TX_MAX - len;
    mem_dma_read(s->dev.mem, d[n].buffer, frame + len, part);
    len += part;
    uint32_t status = d[n].command & kept;
    mem_dma_write(s->dev.mem, ring + 16u * *index, &status, sizeof status);
    *index = (uint16_t)after(*index, &d[n]);
  }
  /* Descriptors that begin or end no frame are given back without effect. */
  bool whole = (d[0].command & FS) && (d[count - 1].command & LS);
  return whole && len ? send_frame(s, frame, len, &d[0]) : 0;
}

void rtl8139_cp_transmit(struct rtl8139 *s, int high) {
  if (!(s->cr & CR_TE) || !s->cplus || !(s->cpcr & CPCR_TX) || !pci_bus_master(&s->pci))
    return;
  uint64_t ring = (s->tsad[high ? 2 : 0] & ~0xffu) | (uint64_t)s->tsad[high ? 3 : 1] << 32;
  unsigned sent = 0;
  bool none = false;
  for (unsigned n = 0; n < RING && sent < BURST && !none; n++) {
    unsigned frames = send_next(s, ring, &s->tx_index[high], &none);
    sent += frames;
    if (frames)
      s->isr |= ISR_TOK;
  }
  if (!none)
    timer_arm(&s->tx_timer, clock_now(s->dev.clock) + BURST_NS);
  rtl8139_update_irq(s);
}

void rtl8139_cp_dump_counters(struct rtl8139 *s) {
  struct {
    uint64_t tx_ok, rx_ok, tx_errors;
    uint32_t rx_errors;
    uint16_t missed, alignment;
    uint32_t one_collision, collisions;
    uint64_t rx_physical, rx_broadcast;
    uint32_t rx_multicast;
    uint16_t aborted, underrun;
  } __attribute__((packed)) tally = {
      .tx_ok = s->tx_ok,
      .rx_ok = s->rx_ok,
      .rx_errors = s->rx_errors,
      .missed = (uint16_t)s->missed,
      .rx_physical = s->rx_physical,
      .rx_broadcast = s->rx_broadcast,
      .rx_multicast = s->rx_multicast,
  };
  _Static_assert(sizeof tally == 64, "the C+ datasheet's dump is 64 bytes");
  if (pci_bus_master(&s->pci))
    mem_dma_write(s->dev.mem, s->dtccr & ~63ull, &tally, sizeof tally);
  s->dtccr &= ~8ull;
}
