/* SPDX-License-Identifier: MIT */
/* NE2000: identity, remote DMA, sending, the receive ring with its wrap and overflow, filters, loopback;
 * RTL8029. */
#include "tests/unit/net_rig.h"

#define CR 0x00
#define DATA 0x10
#define RESET 0x1f
#define PSTART 0x46
#define PSTOP 0x60

static struct net_rig *isa_new(void) {
  struct net_rig *n = net_rig_begin();
  struct nic_config config = net_rig_config(n);
  net_rig_add(n, &ne2k_isa_class, &config);
  return n;
}

static struct net_rig *pci_new(void) {
  struct net_rig *n = net_rig_begin();
  struct nic_config config = net_rig_config(n);
  net_rig_add(n, &ne2k_pci_class, &config);
  return n;
}

static void remote(struct net_rig *n, unsigned at, unsigned count, unsigned command) {
  nout(n, 0x07, 1, 0x40);
  nout(n, 0x08, 1, at & 0xff);
  nout(n, 0x09, 1, at >> 8);
  nout(n, 0x0a, 1, count & 0xff);
  nout(n, 0x0b, 1, count >> 8);
  nout(n, CR, 1, command | 0x02);
}

static void read_card(struct net_rig *n, unsigned at, uint8_t *to, unsigned count) {
  remote(n, at, count, 0x08);
  for (unsigned i = 0; i < count; i += 2) {
    unsigned word = nin(n, DATA, 2);
    to[i] = (uint8_t)word;
    if (i + 1 < count)
      to[i + 1] = (uint8_t)(word >> 8);
  }
  ck_assert_uint_eq(nin(n, 0x07, 1) & 0x40, 0x40); /* RDC */
}

static void write_card(struct net_rig *n, unsigned at, const uint8_t *from, unsigned count) {
  remote(n, at, count, 0x10);
  for (unsigned i = 0; i < count; i += 2)
    nout(n, DATA, 2, from[i] | (i + 1 < count ? (uint32_t)from[i + 1] << 8 : 0));
  ck_assert_uint_eq(nin(n, 0x07, 1) & 0x40, 0x40);
}

/* As a driver begins: words, ring, address, all that is ours and broadcasts, started. CURR = PSTART + 1. */
static void start(struct net_rig *n) {
  nin(n, RESET, 1);
  nout(n, CR, 1, 0x21);
  nout(n, 0x0e, 1, 0x49);
  nout(n, 0x0c, 1, 0x0c);
  nout(n, 0x0d, 1, 0x00);
  nout(n, 0x01, 1, PSTART);
  nout(n, 0x02, 1, PSTOP);
  nout(n, 0x03, 1, PSTART);
  nout(n, 0x07, 1, 0xff);
  nout(n, 0x0f, 1, 0x3f);
  nout(n, CR, 1, 0x61);
  for (unsigned i = 0; i < 6; i++)
    nout(n, (uint16_t)(1 + i), 1, net_mac[i]);
  nout(n, 0x07, 1, PSTART + 1);
  nout(n, CR, 1, 0x22);
}

static unsigned curr(struct net_rig *n) {
  nout(n, CR, 1, 0x62);
  unsigned value = nin(n, 0x07, 1);
  nout(n, CR, 1, 0x22);
  return value;
}

/* Read the frame at a page, check header and contents; the next page. */
static unsigned check_frame(struct net_rig *n, unsigned page, unsigned status, size_t len, const uint8_t *to,
                            unsigned seed) {
  uint8_t got[4 + NET_FRAME_MAX + 4], want[NET_FRAME_MAX];
  net_make(want, len, to, seed);
  read_card(n, page << 8, got, (unsigned)len + 8);
  ck_assert_uint_eq(got[0], status);
  ck_assert_uint_eq(got[2] | got[3] << 8, len + 4);
  ck_assert_int_eq(memcmp(got + 4, want, len), 0);
  uint32_t crc = net_crc(want, len);
  ck_assert_int_eq(memcmp(got + 4 + len, &crc, 4), 0);
  return got[1];
}

START_TEST(identity) {
  struct net_rig *n = isa_new();
  uint8_t prom[32];
  nout(n, 0x0e, 1, 0x49);
  read_card(n, 0, prom, 32);
  for (int i = 0; i < 6; i++)
    ck_assert(prom[2 * i] == net_mac[i] && prom[2 * i + 1] == net_mac[i]);
  ck_assert(prom[28] == 'W' && prom[30] == 'W');
  ck_assert_uint_eq(nin(n, 0x0a, 1), 0xff); /* not an RTL8029 */
  nin(n, RESET, 1);
  ck_assert_uint_eq(nin(n, CR, 1), 0x21);
  ck_assert_uint_eq(nin(n, 0x07, 1), 0x80);
  rig_check_fields(n->dev);
  net_rig_free(n);
  n = pci_new();
  ck_assert_uint_eq(pci_config_read(n->bus, NET_DEVFN, 0, 4), 0x802910ec);
  ck_assert_uint_eq(nin(n, 0x0a, 1), 0x50);
  ck_assert_uint_eq(nin(n, 0x0b, 1), 0x43);
  net_rig_free(n);
}
END_TEST

START_TEST(remote_dma) {
  struct net_rig *n = isa_new();
  uint8_t out[300], in[300];
  start(n);
  for (unsigned i = 0; i < sizeof out; i++)
    out[i] = (uint8_t)(i * 3 + 1);
  write_card(n, 0x4100, out, 300);
  read_card(n, 0x4100, in, 300);
  ck_assert_int_eq(memcmp(in, out, 300), 0);
  /* At PSTOP the address goes on at PSTART. */
  write_card(n, (PSTOP << 8) - 2, out, 4);
  read_card(n, PSTART << 8, in, 2);
  ck_assert(in[0] == out[2] && in[1] == out[3]);
  /* Bytes. */
  nout(n, 0x0e, 1, 0x48);
  remote(n, 0x4101, 1, 0x08);
  ck_assert_uint_eq(nin(n, DATA, 1), out[1]);
  ck_assert_uint_eq(nin(n, DATA, 1), 0xff); /* over */
  /* Outside the memory nothing is. */
  nout(n, 0x0e, 1, 0x49);
  write_card(n, 0xf000, out, 2);
  read_card(n, 0xf000, in, 2);
  ck_assert(in[0] == 0xff && in[1] == 0xff);
  net_rig_free(n);
}
END_TEST

START_TEST(sending) {
  struct net_rig *n = isa_new();
  uint8_t frame[1514];
  start(n);
  net_make(frame, 1514, net_mac, 5);
  write_card(n, 0x4000, frame, 1514);
  nout(n, 0x04, 1, 0x40);
  nout(n, 0x05, 1, 1514 & 0xff);
  nout(n, 0x06, 1, 1514 >> 8);
  nout(n, 0x07, 1, 0xff);
  ck_assert(!net_irq(n));
  nout(n, CR, 1, 0x26);
  ck_assert_uint_eq(nin(n, CR, 1), 0x22); /* TXP is over */
  ck_assert_uint_eq(nin(n, 0x04, 1), 0x01);
  ck_assert_uint_eq(nin(n, 0x07, 1), 0x02);
  ck_assert(net_irq(n));
  nout(n, 0x07, 1, 0x02);
  ck_assert(!net_irq(n));
  rig_advance(n->r, 1);
  ck_assert(n->got == 1 && n->len[0] == 1514 && !memcmp(n->frame[0], frame, 1514));
  nout(n, CR, 1, 0x21); /* stopped, it sends nothing */
  nout(n, CR, 1, 0x25);
  rig_advance(n->r, 1);
  ck_assert_uint_eq(n->got, 1);
  net_rig_free(n);
}
END_TEST

START_TEST(receiving) {
  struct net_rig *n = isa_new();
  start(n);
  net_peer_sends(n, net_mac, 60, 1);
  ck_assert(net_irq(n));
  ck_assert_uint_eq(nin(n, 0x07, 1), 0x01);
  ck_assert_uint_eq(nin(n, 0x0c, 1), 0x01);
  ck_assert_uint_eq(curr(n), PSTART + 2);
  ck_assert_uint_eq(check_frame(n, PSTART + 1, 0x01, 60, net_mac, 1), PSTART + 2);
  /* 256 bytes with header and FCS are one page, one more are two. */
  net_peer_sends(n, net_mac, 248, 2);
  net_peer_sends(n, net_mac, 249, 3);
  ck_assert_uint_eq(curr(n), PSTART + 5);
  ck_assert_uint_eq(check_frame(n, PSTART + 2, 0x01, 248, net_mac, 2), PSTART + 3);
  ck_assert_uint_eq(check_frame(n, PSTART + 3, 0x01, 249, net_mac, 3), PSTART + 5);
  /* A command that only turns the page stops nothing. */
  nout(n, CR, 1, 0x40);
  nout(n, CR, 1, 0x00);
  net_peer_sends(n, net_mac, 60, 4);
  ck_assert_uint_eq(curr(n), PSTART + 6);
  nout(n, 0x0f, 1, 0);
  ck_assert(!net_irq(n));
  net_rig_free(n);
}
END_TEST

/* Frame after frame, so that they lie across the end of the ring in every way. */
START_TEST(ring_wrap) {
  struct net_rig *n = isa_new();
  start(n);
  unsigned page = PSTART + 1, wrapped = 0;
  for (unsigned i = 0; i < 200; i++) {
    size_t len = 60 + i * 97 % 1455;
    net_peer_sends(n, net_mac, len, i);
    unsigned next = check_frame(n, page, 0x01, len, net_mac, i);
    ck_assert(next >= PSTART && next < PSTOP);
    ck_assert_uint_eq(next, curr(n));
    wrapped += next < page;
    nout(n, 0x03, 1, next == PSTART ? PSTOP - 1 : next - 1);
    page = next;
  }
  ck_assert_uint_ge(wrapped, 15);
  net_rig_free(n);
}
END_TEST

/* A driver that does not read: frames wait in the cable, then the chip overflows and says so; nothing is
 * overwritten. */
START_TEST(overflow) {
  struct net_rig *n = isa_new();
  start(n);
  for (unsigned i = 0; i < 20; i++)
    net_peer_sends(n, net_mac, 1514, i);
  unsigned held = curr(n);
  ck_assert_uint_eq(held, PSTART + 1 + 4 * 6);
  ck_assert_uint_eq(nin(n, 0x07, 1), 0x01);
  rig_advance(n->r, 100 * (int64_t)NET_POLL_NS);
  ck_assert_uint_eq(nin(n, 0x07, 1) & 0x10, 0x10);
  ck_assert_uint_ge(nin(n, 0x0f, 1), 1); /* missed */
  ck_assert_uint_eq(nin(n, 0x0f, 1), 0); /* cleared by reading */
  unsigned page = PSTART + 1;
  for (unsigned i = 0; i < 4; i++)
    page = check_frame(n, page, 0x01, 1514, net_mac, i);
  net_rig_free(n);
}
END_TEST

/* Room made by the boundary lets what waits come in; a boundary before the ring's start counts as its end. */
START_TEST(room_again) {
  struct net_rig *n = isa_new();
  start(n);
  for (unsigned i = 0; i < 6; i++)
    net_peer_sends(n, net_mac, 1514, i);
  unsigned page = PSTART + 1;
  for (unsigned i = 0; i < 6; i++) {
    page = check_frame(n, page, 0x01, 1514, net_mac, i);
    nout(n, 0x03, 1, page - 1);
    rig_advance(n->r, 1);
  }
  ck_assert_uint_eq(nin(n, 0x07, 1) & 0x10, 0);
  ck_assert_uint_eq(curr(n), page);
  net_rig_free(n);
}
END_TEST

START_TEST(filters) {
  static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, other[6] = {2, 2, 2, 2, 2, 2},
                       group[6] = {0x01, 0x00, 0x5e, 0x01, 0x02, 0x03};
  struct net_rig *n = isa_new();
  start(n);
  unsigned at = curr(n), hash = nic_hash_msb(group);
  nout(n, 0x0c, 1, 0x00);
  net_peer_sends(n, broadcast, 60, 1);
  net_peer_sends(n, other, 60, 2);
  net_peer_sends(n, group, 60, 3);
  ck_assert_uint_eq(curr(n), at);
  nout(n, 0x0c, 1, 0x04);
  net_peer_sends(n, broadcast, 60, 1);
  ck_assert_uint_eq(curr(n), ++at);
  ck_assert_uint_eq(nin(n, 0x0c, 1), 0x21);
  nout(n, 0x0c, 1, 0x08);
  net_peer_sends(n, group, 60, 3);
  ck_assert_uint_eq(curr(n), at); /* its bit is not set */
  nout(n, CR, 1, 0x62);
  nout(n, (uint16_t)(8 + hash / 8), 1, 1u << (hash & 7));
  nout(n, CR, 1, 0x22);
  net_peer_sends(n, group, 60, 3);
  ck_assert_uint_eq(curr(n), ++at);
  nout(n, 0x0c, 1, 0x10);
  net_peer_sends(n, other, 60, 2);
  ck_assert_uint_eq(curr(n), ++at);
  nout(n, 0x0c, 1, 0x30); /* monitor: counted only */
  net_peer_sends(n, net_mac, 60, 2);
  ck_assert_uint_eq(curr(n), at);
  ck_assert_uint_eq(nin(n, 0x0f, 1), 1);
  net_rig_free(n);
}
END_TEST

START_TEST(loopback) {
  struct net_rig *n = isa_new();
  uint8_t frame[64];
  start(n);
  nout(n, CR, 1, 0x21);
  nout(n, 0x0d, 1, 0x02);
  nout(n, CR, 1, 0x22);
  net_make(frame, 64, net_mac, 1);
  write_card(n, 0x4000, frame, 64);
  nout(n, 0x04, 1, 0x40);
  nout(n, 0x05, 1, 64);
  nout(n, 0x06, 1, 0);
  nout(n, CR, 1, 0x26);
  uint32_t crc = net_crc(frame, 64);
  for (int i = 0; i < 4; i++)
    ck_assert_uint_eq(nin(n, 0x06, 1), crc >> 8 * i & 0xff);
  ck_assert_uint_eq(nin(n, 0x06, 1), 68);
  ck_assert_uint_eq(nin(n, 0x0c, 1), 0x01);
  rig_advance(n->r, 1000);
  ck_assert_uint_eq(n->got, 0);
  net_rig_free(n);
}
END_TEST

/* Send Packet: remote DMA finds address and length itself, and moves the boundary. */
START_TEST(send_packet) {
  struct net_rig *n = isa_new();
  start(n);
  nout(n, 0x03, 1, PSTART + 1);
  net_peer_sends(n, net_mac, 100, 7);
  nout(n, CR, 1, 0x1a);
  uint8_t want[100];
  net_make(want, 100, net_mac, 7);
  unsigned header = nin(n, DATA, 2) | nin(n, DATA, 2) << 16;
  ck_assert_uint_eq(header, (104u << 16) | (PSTART + 2) << 8 | 0x01);
  for (unsigned i = 0; i < 100; i += 2)
    ck_assert_uint_eq(nin(n, DATA, 2), (unsigned)(want[i] | want[i + 1] << 8));
  ck_assert_uint_eq(nin(n, 0x07, 1) & 0x40, 0x40);
  ck_assert_uint_eq(nin(n, 0x03, 1), PSTART + 2);
  net_rig_free(n);
}
END_TEST

START_TEST(fuzz_isa) {
  struct net_rig *n = isa_new();
  net_fuzz(n, 32, start);
  net_rig_free(n);
}
END_TEST

START_TEST(fuzz_pci) {
  struct net_rig *n = pci_new();
  net_fuzz(n, 32, start);
  net_rig_free(n);
}
END_TEST

RIG_SUITE(net_ne2000, identity, remote_dma, sending, receiving, ring_wrap, overflow, room_again, filters,
          loopback, send_packet, fuzz_isa, fuzz_pci)
