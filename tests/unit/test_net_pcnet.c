/* SPDX-License-Identifier: MIT */
/* PCnet-PCI II: identity, word and dword access, initialization blocks and rings in all styles, chaining,
 * errors. */
#include "tests/unit/net_rig.h"

#define INIT 0x8000u
#define RXD 0x9000u
#define TXD 0xa000u
#define RXBUF 0x20000u
#define TXBUF 0x40000u
#define RING 8u

static bool dword_mode;

static struct net_rig *card_new(void) {
  struct net_rig *n = net_rig_begin();
  struct nic_config config = net_rig_config(n);
  net_rig_add(n, &pcnet_class, &config);
  dword_mode = false;
  return n;
}

static void select_register(struct net_rig *n, unsigned rap) {
  if (dword_mode)
    nout(n, 0x14, 4, rap);
  else
    nout(n, 0x12, 2, rap);
}
static unsigned csr(struct net_rig *n, unsigned rap) {
  select_register(n, rap);
  return nin(n, 0x10, dword_mode ? 4 : 2);
}
static void set_csr(struct net_rig *n, unsigned rap, unsigned value) {
  select_register(n, rap);
  nout(n, 0x10, dword_mode ? 4 : 2, value);
}
static unsigned bcr(struct net_rig *n, unsigned rap) {
  select_register(n, rap);
  return nin(n, dword_mode ? 0x1c : 0x16, dword_mode ? 4 : 2);
}
static void set_bcr(struct net_rig *n, unsigned rap, unsigned value) {
  select_register(n, rap);
  nout(n, dword_mode ? 0x1c : 0x16, dword_mode ? 4 : 2, value);
}

/* --- descriptors in any style --- */

static void put_descriptor(struct net_rig *n, unsigned style, uint32_t at, uint32_t buffer, uint32_t status,
                           unsigned size) {
  if (style == 0) {
    put16(n, at, buffer & 0xffff);
    put16(n, at + 2, status >> 16 | (buffer >> 16 & 0xff));
    put16(n, at + 4, 0xf000 | (-size & 0xfff));
    put16(n, at + 6, 0);
    return;
  }
  put32(n, at + (style == 3 ? 8 : 0), buffer);
  put32(n, at + 4, status | 0xf000 | (-size & 0xfff));
  put32(n, at + (style == 3 ? 0 : 8), 0);
}

static uint32_t status_of(struct net_rig *n, unsigned style, uint32_t at) {
  return style == 0 ? (get16(n, at + 2) & 0xff00) << 16 : get32(n, at + 4) & 0xfff00000u;
}
static uint32_t extra_of(struct net_rig *n, unsigned style, uint32_t at) {
  return style == 0 ? get16(n, at + 6) : get32(n, at + (style == 3 ? 0 : 8));
}
static uint32_t rxd(unsigned style, unsigned i) { return RXD + (style ? 16 : 8) * (i % RING); }
static uint32_t txd(unsigned style, unsigned i) { return TXD + (style ? 16 : 8) * (i % RING); }

/* All buffers of `size` bytes, rings of eight; initialized and started. */
static void start(struct net_rig *n, unsigned style, unsigned mode, unsigned size) {
  nin(n, dword_mode ? 0x18 : 0x14, dword_mode ? 4 : 2);
  set_bcr(n, 20, style);
  memset(n->ram->host + INIT, 0, 28);
  put16(n, INIT, mode);
  uint32_t address = INIT + (style ? 4 : 2), filter = INIT + (style ? 12 : 8);
  memcpy(n->ram->host + address, net_mac, 6);
  memset(n->ram->host + filter, 0, 8);
  if (style) {
    put16(n, INIT + 2, 0x3030);
    put32(n, INIT + 20, RXD);
    put32(n, INIT + 24, TXD);
  } else {
    put32(n, INIT + 16, RXD | 3u << 29);
    put32(n, INIT + 20, TXD | 3u << 29);
  }
  for (unsigned i = 0; i < RING; i++) {
    put_descriptor(n, style, rxd(style, i), RXBUF + 0x800 * i, 0x80000000u, size);
    put_descriptor(n, style, txd(style, i), TXBUF + 0x800 * i, 0, size);
  }
  set_csr(n, 1, INIT & 0xffff);
  set_csr(n, 2, INIT >> 16);
  set_csr(n, 0, 0x0041);
  ck_assert_uint_eq(csr(n, 0) & 0x01ff, 0x01c1);
  ck_assert(net_irq(n));
  set_csr(n, 0, 0x0142);
  ck_assert(!net_irq(n));
}

START_TEST(identity) {
  struct net_rig *n = card_new();
  ck_assert_uint_eq(pci_config_read(n->bus, NET_DEVFN, 0, 4), 0x20001022);
  for (uint16_t i = 0; i < 6; i++)
    ck_assert_uint_eq(nin(n, i, 1), net_mac[i]);
  ck_assert_uint_eq(nin(n, 14, 2), 0x5757);
  unsigned sum = 0;
  for (uint16_t i = 0; i < 16; i++)
    sum += i == 12 || i == 13 ? 0 : nin(n, i, 1);
  ck_assert_uint_eq(nin(n, 12, 2), sum);
  ck_assert_uint_eq(csr(n, 88), 0x1003);
  ck_assert_uint_eq(csr(n, 89), 0x0262);
  ck_assert_uint_eq(csr(n, 0), 0x0004);
  ck_assert_uint_eq(bcr(n, 18) & 0x80, 0);
  nout(n, 0x10, 4, 0); /* dword mode from here on */
  dword_mode = true;
  ck_assert_uint_eq(bcr(n, 18) & 0x80, 0x80);
  ck_assert_uint_eq(csr(n, 88), 0x1003);
  ck_assert_uint_eq(nin(n, 0x12, 2), 0xffff);
  nin(n, 0x18, 4); /* S_RESET does not leave it */
  ck_assert_uint_eq(csr(n, 0), 0x0004);
  device_reset_all(&n->r->set);
  net_rig_enable(n);
  dword_mode = false;
  ck_assert_uint_eq(csr(n, 0), 0x0004);
  rig_check_fields(n->dev);
  net_rig_free(n);
}
END_TEST

START_TEST(link_led) {
  struct net_rig *n = card_new();
  ck_assert_uint_eq(bcr(n, 4), 0x80c0);
  net_set_link(n->cable, false);
  ck_assert_uint_eq(bcr(n, 4), 0x00c0);
  net_rig_free(n);
}
END_TEST

static void round_trip(unsigned style) {
  struct net_rig *n = card_new();
  uint8_t want[1514];
  start(n, style, 0, 1536);
  for (unsigned i = 0; i < 30; i++) { /* several times round the ring */
    size_t len = 60 + i * 50;
    net_peer_sends(n, net_mac, len, i);
    net_make(want, len, net_mac, i);
    ck_assert_uint_eq(csr(n, 0), 0x04f3);
    ck_assert(net_irq(n));
    set_csr(n, 0, 0x0440);
    ck_assert(!net_irq(n));
    uint32_t at = rxd(style, i);
    ck_assert_uint_eq(status_of(n, style, at), style ? 0x03400000u : 0x03000000u);
    ck_assert_uint_eq(extra_of(n, style, at), len + 4);
    ck_assert_int_eq(memcmp(n->ram->host + RXBUF + 0x800 * (i % RING), want, len), 0);
    ck_assert_uint_eq(get32(n, RXBUF + 0x800 * (i % RING) + (uint32_t)len), net_crc(want, len));
    put_descriptor(n, style, at, RXBUF + 0x800 * (i % RING), 0x80000000u, 1536);

    memcpy(n->ram->host + TXBUF + 0x800 * (i % RING), want, len);
    put_descriptor(n, style, txd(style, i), TXBUF + 0x800 * (i % RING), 0x83000000u, (unsigned)len);
    set_csr(n, 0, 0x0048);
    ck_assert_uint_eq(csr(n, 0), 0x02f3);
    set_csr(n, 0, 0x0240);
    ck_assert_uint_eq(status_of(n, style, txd(style, i)), 0x03000000u);
    rig_advance(n->r, 1000);
    ck_assert(n->got == i + 1 && n->len[i] == len && !memcmp(n->frame[i], want, len));
  }
  net_rig_free(n);
}

START_TEST(style_0) { round_trip(0); }
END_TEST
START_TEST(style_1) { round_trip(1); }
END_TEST
START_TEST(style_2) { round_trip(2); }
END_TEST
START_TEST(style_3) { round_trip(3); }
END_TEST

/* A frame over several buffers, both ways. */
START_TEST(chaining) {
  struct net_rig *n = card_new();
  uint8_t want[1000];
  start(n, 2, 0, 400);
  net_peer_sends(n, net_mac, 1000, 3);
  net_make(want, 1000, net_mac, 3);
  ck_assert_uint_eq(status_of(n, 2, rxd(2, 0)), 0x02000000u);
  ck_assert_uint_eq(status_of(n, 2, rxd(2, 1)), 0);
  ck_assert_uint_eq(status_of(n, 2, rxd(2, 2)), 0x01400000u);
  ck_assert_uint_eq(extra_of(n, 2, rxd(2, 2)), 1004);
  for (unsigned i = 0; i < 3; i++) {
    unsigned part = i < 2 ? 400 : 200;
    ck_assert_int_eq(memcmp(n->ram->host + RXBUF + 0x800 * i, want + 400 * i, part), 0);
    memcpy(n->ram->host + TXBUF + 0x800 * i, want + 400 * i, part);
    uint32_t bounds = (i == 0 ? 0x02000000u : 0) | (i == 2 ? 0x01000000u : 0);
    put_descriptor(n, 2, txd(2, i), TXBUF + 0x800 * i, 0x80000000u | bounds, part);
  }
  set_csr(n, 0, 0x0048);
  rig_advance(n->r, 1000);
  ck_assert(n->got == 1 && n->len[0] == 1000 && !memcmp(n->frame[0], want, 1000));
  net_rig_free(n);
}
END_TEST

/* No descriptor: missed. Too few: the frame is cut off. */
START_TEST(receive_errors) {
  struct net_rig *n = card_new();
  start(n, 2, 0, 1536);
  for (unsigned i = 0; i < 10; i++)
    net_peer_sends(n, net_mac, 60, i);
  ck_assert_uint_eq(csr(n, 0) & 0x1000, 0);
  rig_advance(n->r, 100 * (int64_t)NET_POLL_NS);
  ck_assert_uint_eq(csr(n, 0) & 0x9000, 0x9000);
  ck_assert_uint_ge(csr(n, 112), 1);
  start(n, 2, 0, 100);
  for (unsigned i = 2; i < RING; i++)
    put_descriptor(n, 2, rxd(2, i), RXBUF, 0, 100);
  net_peer_sends(n, net_mac, 1000, 1);
  rig_advance(n->r, 100 * (int64_t)NET_POLL_NS);
  ck_assert_uint_eq(status_of(n, 2, rxd(2, 0)), 0x02000000u);
  ck_assert_uint_eq(status_of(n, 2, rxd(2, 1)), 0x54000000u);
  net_rig_free(n);
}
END_TEST

/* The ring breaks off within a frame: underflow, and the transmitter is off. */
START_TEST(transmit_errors) {
  struct net_rig *n = card_new();
  start(n, 2, 0, 1536);
  put_descriptor(n, 2, txd(2, 0), TXBUF, 0x82000000u, 100);
  set_csr(n, 0, 0x0048);
  ck_assert_uint_eq(csr(n, 0) & 0x0210, 0x0200);
  ck_assert_uint_eq(status_of(n, 2, txd(2, 0)), 0x42000000u);
  ck_assert_uint_eq(extra_of(n, 2, txd(2, 0)) & 0xc0000000u, 0xc0000000u);
  start(n, 2, 0, 1536);
  put_descriptor(n, 2, txd(2, 0), TXBUF, 0x83000000u, 2000); /* too long */
  set_csr(n, 0, 0x0048);
  ck_assert_uint_eq(csr(n, 0) & 0xc000, 0xc000);
  rig_advance(n->r, 1000);
  ck_assert_uint_eq(n->got, 0);
  net_rig_free(n);
}
END_TEST

/* Without TDMD the chip finds a frame by polling, unless DPOLL is set. */
START_TEST(polling) {
  struct net_rig *n = card_new();
  start(n, 2, 0, 1536);
  put_descriptor(n, 2, txd(2, 0), TXBUF, 0x83000000u, 60);
  rig_advance(n->r, 5000000);
  ck_assert_uint_eq(n->got, 1);
  set_csr(n, 4, 0x1000);
  put_descriptor(n, 2, txd(2, 1), TXBUF, 0x83000000u, 60);
  rig_advance(n->r, 20000000);
  ck_assert_uint_eq(n->got, 1);
  net_rig_free(n);
}
END_TEST

START_TEST(padding_and_fcs) {
  struct net_rig *n = card_new();
  start(n, 2, 0x0008, 1536); /* DXMTFCS: the driver gives the FCS */
  put_descriptor(n, 2, txd(2, 0), TXBUF, 0x83000000u, 104);
  put_descriptor(n, 2, txd(2, 1), TXBUF, 0xa3000000u, 100); /* ADD_FCS: the chip does */
  set_csr(n, 0, 0x0048);
  rig_advance(n->r, 1000);
  ck_assert(n->got == 2 && n->len[0] == 100 && n->len[1] == 100);
  set_csr(n, 4, 0x0c00); /* APAD_XMT, ASTRP_RCV */
  put_descriptor(n, 2, txd(2, 2), TXBUF, 0x83000000u, 20);
  set_csr(n, 0, 0x0048);
  rig_advance(n->r, 1000);
  ck_assert_uint_eq(n->len[2], 60);
  uint8_t frame[60];
  net_make(frame, 60, net_mac, 1);
  frame[12] = 0;
  frame[13] = 10; /* an 802.3 frame of ten bytes */
  net_send(n->cable, NET_HOST, frame, 60);
  rig_advance(n->r, 1000);
  ck_assert_uint_eq(extra_of(n, 2, rxd(2, 0)), 24);
  net_rig_free(n);
}
END_TEST

START_TEST(filters) {
  static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, other[6] = {2, 2, 2, 2, 2, 2},
                       group[6] = {0x01, 0x00, 0x5e, 0x01, 0x02, 0x03};
  struct net_rig *n = card_new();
  start(n, 2, 0, 1536);
  net_peer_sends(n, other, 60, 1);
  net_peer_sends(n, group, 60, 1);
  ck_assert_uint_eq(status_of(n, 2, rxd(2, 0)), 0x80000000u);
  net_peer_sends(n, broadcast, 60, 1);
  ck_assert_uint_eq(status_of(n, 2, rxd(2, 0)), 0x03100000u);
  set_csr(n, 0, 0x0004); /* stopped: the filter may be written */
  unsigned hash = nic_hash_lsb(group);
  set_csr(n, 8 + (hash >> 4), 1u << (hash & 15));
  set_csr(n, 0, 0x0042);
  net_peer_sends(n, group, 60, 1);
  ck_assert_uint_eq(status_of(n, 2, rxd(2, 1)), 0x03200000u);
  start(n, 2, 0x8000, 1536);
  net_peer_sends(n, other, 60, 1);
  ck_assert_uint_eq(status_of(n, 2, rxd(2, 0)), 0x03000000u);
  start(n, 2, 0x6000, 1536); /* neither physical nor broadcast */
  net_peer_sends(n, net_mac, 60, 1);
  net_peer_sends(n, broadcast, 60, 1);
  ck_assert_uint_eq(status_of(n, 2, rxd(2, 0)), 0x80000000u);
  net_rig_free(n);
}
END_TEST

START_TEST(loopback) {
  struct net_rig *n = card_new();
  start(n, 2, 0x0004, 1536);
  net_make(n->ram->host + TXBUF, 200, net_mac, 1);
  put_descriptor(n, 2, txd(2, 0), TXBUF, 0x83000000u, 200);
  set_csr(n, 0, 0x0048);
  rig_advance(n->r, 1000);
  ck_assert_uint_eq(n->got, 0);
  ck_assert_uint_eq(csr(n, 0) & 0x0600, 0x0600);
  ck_assert_uint_eq(extra_of(n, 2, rxd(2, 0)), 204);
  ck_assert_int_eq(memcmp(n->ram->host + RXBUF, n->ram->host + TXBUF, 200), 0);
  net_rig_free(n);
}
END_TEST

START_TEST(masks) {
  struct net_rig *n = card_new();
  start(n, 2, 0, 1536);
  set_csr(n, 3, 0x0400); /* RINTM */
  net_peer_sends(n, net_mac, 60, 1);
  ck_assert_uint_eq(csr(n, 0) & 0x0480, 0x0400);
  ck_assert(!net_irq(n));
  set_csr(n, 3, 0);
  ck_assert(net_irq(n));
  set_csr(n, 0, 0x0000); /* IENA off */
  ck_assert(!net_irq(n));
  set_csr(n, 4, 0x0080); /* the user's interrupt */
  set_csr(n, 0, 0x0440);
  ck_assert_uint_eq(csr(n, 4) & 0x0040, 0x0040);
  ck_assert(net_irq(n));
  set_csr(n, 4, 0x0040);
  ck_assert(!net_irq(n));
  net_rig_free(n);
}
END_TEST

static void tame(struct net_rig *n) {
  device_reset_all(&n->r->set);
  net_rig_enable(n);
  net_set_link(n->cable, true);
  unsigned style = rig_random(n->r) & 3;
  set_bcr(n, 20, style);
  for (unsigned i = 0; i < RING; i++) {
    uint64_t x = rig_random(n->r);
    put_descriptor(n, style, rxd(style, i), RXBUF + 0x800 * i, (uint32_t)x & 0xff000000u, x >> 32 & 0xfff);
    put_descriptor(n, style, txd(style, i), TXBUF + 0x800 * i, (uint32_t)(x >> 8) & 0xff000000u,
                   x >> 48 & 0xfff);
  }
  put16(n, INIT, rig_random(n->r) & 0x800c);
  set_csr(n, 1, INIT & 0xffff);
  set_csr(n, 2, 0);
  set_csr(n, 0, 0x0041);
  set_csr(n, 0, 0x0142);
}

START_TEST(fuzz) {
  struct net_rig *n = card_new();
  net_fuzz(n, 32, tame);
  net_rig_free(n);
}
END_TEST

RIG_SUITE(net_pcnet, identity, link_led, style_0, style_1, style_2, style_3, chaining, receive_errors,
          transmit_errors, polling, padding_and_fcs, filters, loopback, masks, fuzz)
