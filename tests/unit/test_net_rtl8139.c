/* SPDX-License-Identifier: MIT */
/* RTL8139: identity, EEPROM, sending, the receive ring with its wrap and overflow, timer, link, filters; C+
 * rings. */
#include "tests/unit/net_rig.h"

#define RX 0x10000u
#define TX 0x30000u
#define RXD 0x40000u
#define TXD 0x41000u
#define RXBUF 0x50000u

static struct net_rig *card_new(bool cplus) {
  struct net_rig *n = net_rig_begin();
  struct rtl8139_config config = {net_rig_config(n), cplus};
  net_rig_add(n, &rtl8139_class, &config);
  return n;
}

/* 8 KB ring, ours and broadcasts. */
static void start(struct net_rig *n) {
  nout(n, 0x37, 1, 0x10);
  nout(n, 0x30, 4, RX);
  nout(n, 0x3c, 2, 0xffff);
  nout(n, 0x37, 1, 0x0c);
  nout(n, 0x44, 4, 0x0000000a);
}

static unsigned read_pointer(struct net_rig *n) { return (nin(n, 0x38, 2) + 16u) & 0x1fff; }

/* Take the frame at the read pointer out of the ring and compare it. */
static void check_frame(struct net_rig *n, unsigned status, size_t len, const uint8_t *to, unsigned seed,
                        bool wrap) {
  uint8_t want[NET_FRAME_MAX], got[4 + NET_FRAME_MAX + 4];
  unsigned at = read_pointer(n);
  net_make(want, len, to, seed);
  ck_assert_uint_eq(nin(n, 0x37, 1) & 1, 0); /* not empty */
  for (size_t i = 0; i < len + 8; i++)
    got[i] = n->ram->host[RX + (wrap ? (at + i) & 0x1fff : at + i)];
  ck_assert_uint_eq(got[0] | got[1] << 8, status);
  ck_assert_uint_eq(got[2] | got[3] << 8, len + 4);
  ck_assert_int_eq(memcmp(got + 4, want, len), 0);
  uint32_t crc = net_crc(want, len);
  ck_assert_int_eq(memcmp(got + 4 + len, &crc, 4), 0);
  nout(n, 0x38, 2, ((at + (unsigned)len + 8 + 3) & 0x1ffc) - 16);
}

static unsigned eeprom_word(struct net_rig *n, unsigned address) {
  unsigned command = 0x180 | address, value = 0;
  nout(n, 0x50, 1, 0x80);
  for (int i = 8; i >= 0; i--) {
    unsigned bit = command >> i & 1 ? 2 : 0;
    nout(n, 0x50, 1, 0x88 | bit);
    nout(n, 0x50, 1, 0x8c | bit);
  }
  for (int i = 0; i < 16; i++) {
    nout(n, 0x50, 1, 0x88);
    nout(n, 0x50, 1, 0x8c);
    value = value << 1 | (nin(n, 0x50, 1) & 1);
  }
  nout(n, 0x50, 1, 0);
  return value;
}

START_TEST(identity) {
  struct net_rig *n = card_new(true);
  ck_assert_uint_eq(pci_config_read(n->bus, NET_DEVFN, 0, 4), 0x813910ec);
  ck_assert_uint_eq(pci_config_read(n->bus, NET_DEVFN, 8, 4), 0x02000020);
  ck_assert_uint_eq(nin(n, 0x40, 4) & 0x7cc00000, 0x74800000);
  for (uint16_t i = 0; i < 6; i++)
    ck_assert_uint_eq(nin(n, i, 1), net_mac[i]);
  ck_assert_uint_eq(eeprom_word(n, 0), 0x8129);
  ck_assert_uint_eq(eeprom_word(n, 7), (unsigned)(net_mac[0] | net_mac[1] << 8));
  ck_assert_uint_eq(eeprom_word(n, 9), (unsigned)(net_mac[4] | net_mac[5] << 8));
  nout(n, 0x37, 1, 0x10);
  ck_assert_uint_eq(nin(n, 0x37, 1), 0x01); /* reset is over, the ring is empty */
  ck_assert_uint_eq(nin(n, 0x10, 4), 0x2000);
  nout(n, 0x52, 1, 0xff); /* CONFIG1 is locked */
  ck_assert_uint_eq(nin(n, 0x52, 1), 0x0c);
  nout(n, 0x50, 1, 0xc0);
  nout(n, 0x52, 1, 0xff);
  ck_assert_uint_eq(nin(n, 0x52, 1), 0xff);
  nout(n, 0x50, 1, 0x40); /* loaded anew */
  ck_assert_uint_eq(nin(n, 0x52, 1), 0x0c);
  rig_check_fields(n->dev);
  net_rig_free(n);
  n = card_new(false);
  ck_assert_uint_eq(pci_config_read(n->bus, NET_DEVFN, 8, 1), 0x10);
  ck_assert_uint_eq(nin(n, 0x40, 4) & 0x7cc00000, 0x74000000);
  nout(n, 0xe0, 2, 3);
  ck_assert_uint_eq(nin(n, 0xe0, 2), 0);
  net_rig_free(n);
}
END_TEST

START_TEST(sending) {
  struct net_rig *n = card_new(false);
  start(n);
  for (unsigned i = 0; i < 9; i++) {
    uint16_t reg = (uint16_t)(4 * (i % 4));
    size_t len = i == 8 ? 20 : 100 + 170 * i;
    net_make(n->ram->host + TX + 0x800 * (i % 4), len, net_mac, i);
    nout(n, 0x20 + reg, 4, TX + 0x800 * (i % 4));
    nout(n, 0x10 + reg, 4, (uint32_t)len);
    ck_assert_uint_eq(nin(n, 0x10 + reg, 4), 0xa000 | len);
    ck_assert_uint_eq(nin(n, 0x3e, 2), 0x0004);
    ck_assert(net_irq(n));
    nout(n, 0x3e, 2, 0x0004);
    ck_assert(!net_irq(n));
    rig_advance(n->r, 1);
    ck_assert_uint_eq(n->got, i + 1);
    ck_assert_uint_eq(n->len[i], len < 60 ? 60 : len);
    ck_assert_int_eq(memcmp(n->frame[i], n->ram->host + TX + 0x800 * (i % 4), len), 0);
  }
  nout(n, 0x37, 1, 0x08); /* not enabled: waits until it is */
  nout(n, 0x10, 4, 60);
  rig_advance(n->r, 1);
  ck_assert_uint_eq(n->got, 9);
  nout(n, 0x37, 1, 0x0c);
  rig_advance(n->r, 1);
  ck_assert_uint_eq(n->got, 10);
  net_rig_free(n);
}
END_TEST

START_TEST(loopback) {
  struct net_rig *n = card_new(false);
  start(n);
  nout(n, 0x40, 4, 0x00060000);
  net_make(n->ram->host + TX, 200, net_mac, 1);
  nout(n, 0x20, 4, TX);
  nout(n, 0x10, 4, 200);
  ck_assert_uint_eq(nin(n, 0x3e, 2), 0x0005);
  check_frame(n, 0x4001, 200, net_mac, 1, true);
  rig_advance(n->r, 1000);
  ck_assert_uint_eq(n->got, 0);
  net_rig_free(n);
}
END_TEST

static void ring(bool straight) {
  struct net_rig *n = card_new(false);
  start(n);
  if (straight)
    nout(n, 0x44, 4, 0x0000008a);
  memset(n->ram->host + RX, 0xee, 0x4000);
  for (unsigned i = 0; i < 300; i++) {
    size_t len = 60 + i * 131 % 1455;
    net_peer_sends(n, net_mac, len, i);
    ck_assert_uint_eq(nin(n, 0x3e, 2), 0x0001);
    check_frame(n, 0x4001, len, net_mac, i, !straight);
    ck_assert_uint_eq(nin(n, 0x37, 1) & 1, 1);
    nout(n, 0x3e, 2, 1);
  }
  /* Without WRAP nothing is written behind the ring. */
  bool beyond = false;
  for (unsigned i = 0x2000; i < 0x2600; i++)
    beyond |= n->ram->host[RX + i] != 0xee;
  ck_assert(beyond == straight);
  net_rig_free(n);
}

START_TEST(ring_wrap) { ring(false); }
END_TEST
START_TEST(ring_straight) { ring(true); }
END_TEST

START_TEST(overflow) {
  struct net_rig *n = card_new(false);
  start(n);
  for (unsigned i = 0; i < 9; i++)
    net_peer_sends(n, net_mac, 1514, i);
  ck_assert_uint_eq(nin(n, 0x3e, 2), 0x0001);
  rig_advance(n->r, 100 * (int64_t)NET_POLL_NS);
  ck_assert_uint_eq(nin(n, 0x3e, 2) & 0x10, 0x10);
  ck_assert_uint_ge(nin(n, 0x4c, 4), 1);
  for (unsigned i = 0; i < 5; i++)
    check_frame(n, 0x4001, 1514, net_mac, i, true);
  nout(n, 0x4c, 4, 0);
  ck_assert_uint_eq(nin(n, 0x4c, 4), 0);
  net_rig_free(n);
}
END_TEST

START_TEST(filters) {
  static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, other[6] = {2, 2, 2, 2, 2, 2},
                       group[6] = {0x01, 0x00, 0x5e, 0x01, 0x02, 0x03};
  struct net_rig *n = card_new(false);
  unsigned hash = nic_hash_msb(group);
  start(n);
  nout(n, 0x44, 4, 0);
  net_peer_sends(n, net_mac, 60, 1);
  net_peer_sends(n, broadcast, 60, 1);
  net_peer_sends(n, other, 60, 1);
  net_peer_sends(n, group, 60, 1);
  ck_assert_uint_eq(nin(n, 0x37, 1) & 1, 1);
  nout(n, 0x44, 4, 0x08);
  net_peer_sends(n, broadcast, 60, 1);
  check_frame(n, 0x2001, 60, broadcast, 1, true);
  nout(n, 0x44, 4, 0x04);
  net_peer_sends(n, group, 60, 1);
  ck_assert_uint_eq(nin(n, 0x37, 1) & 1, 1);
  nout(n, (uint16_t)(8 + hash / 8), 1, 1u << (hash & 7));
  net_peer_sends(n, group, 60, 2);
  check_frame(n, 0x8001, 60, group, 2, true);
  nout(n, 0x44, 4, 0x01);
  net_peer_sends(n, other, 60, 3);
  check_frame(n, 0x4001, 60, other, 3, true);
  net_rig_free(n);
}
END_TEST

START_TEST(timer_and_link) {
  struct net_rig *n = card_new(false);
  nout(n, 0x3c, 2, 0x4020);
  nout(n, 0x54, 4, 33000); /* 1 ms */
  nout(n, 0x48, 4, 0);
  rig_advance(n->r, 990000);
  ck_assert_uint_eq(nin(n, 0x3e, 2), 0);
  ck_assert_uint_ge(nin(n, 0x48, 4), 32600);
  rig_advance(n->r, 20000);
  ck_assert_uint_eq(nin(n, 0x3e, 2), 0x4000);
  ck_assert(net_irq(n));
  nout(n, 0x3e, 2, 0x4000);
  ck_assert(!net_irq(n));
  ck_assert_uint_eq(nin(n, 0x58, 1) & 4, 0);
  ck_assert_uint_eq(nin(n, 0x64, 2) & 0x24, 0x24);
  net_set_link(n->cable, false);
  ck_assert_uint_eq(nin(n, 0x3e, 2), 0x0020);
  ck_assert_uint_eq(nin(n, 0x58, 1) & 4, 4);
  ck_assert_uint_eq(nin(n, 0x64, 2) & 0x24, 0);
  net_rig_free(n);
}
END_TEST

/* --- C+ --- */

static void start_cplus(struct net_rig *n) {
  nout(n, 0x37, 1, 0x10);
  for (unsigned i = 0; i < 8; i++) {
    put32(n, RXD + 16 * i, 0x80000000u | (i == 7 ? 0x40000000u : 0) | 0x600);
    put32(n, RXD + 16 * i + 4, 0);
    put32(n, RXD + 16 * i + 8, RXBUF + 0x800 * i);
    put32(n, RXD + 16 * i + 12, 0);
  }
  nout(n, 0xe0, 2, 0x0003);
  nout(n, 0x37, 1, 0x0c);
  nout(n, 0xe4, 4, RXD);
  nout(n, 0xe8, 4, 0);
  nout(n, 0x20, 4, TXD);
  nout(n, 0x24, 4, 0);
  nout(n, 0x44, 4, 0x0000000a);
  nout(n, 0x3c, 2, 0xffff);
}

START_TEST(cplus_receiving) {
  struct net_rig *n = card_new(true);
  uint8_t want[1514];
  start_cplus(n);
  for (unsigned i = 0; i < 20; i++) {
    unsigned k = i % 8;
    size_t len = 60 + i * 70;
    net_peer_sends(n, net_mac, len, i);
    net_make(want, len, net_mac, i);
    ck_assert_uint_eq(nin(n, 0x3e, 2), 0x0001);
    nout(n, 0x3e, 2, 0x0001);
    ck_assert_uint_eq(get32(n, RXD + 16 * k), (k == 7 ? 0x40000000u : 0) | 0x34000000u | (uint32_t)(len + 4));
    ck_assert_int_eq(memcmp(n->ram->host + RXBUF + 0x800 * k, want, len), 0);
    ck_assert_uint_eq(get32(n, RXBUF + 0x800 * k + (uint32_t)len), net_crc(want, len));
    put32(n, RXD + 16 * k, 0x80000000u | (k == 7 ? 0x40000000u : 0) | 0x600);
  }
  /* Over several descriptors. */
  for (unsigned i = 0; i < 8; i++)
    put32(n, RXD + 16 * i, 0x80000000u | (i == 7 ? 0x40000000u : 0) | 0x200);
  net_peer_sends(n, net_mac, 1200, 99);
  net_make(want, 1200, net_mac, 99);
  ck_assert_uint_eq(get32(n, RXD + 16 * 4), 0x20000000u);
  ck_assert_uint_eq(get32(n, RXD + 16 * 5), 0);
  ck_assert_uint_eq(get32(n, RXD + 16 * 6), 0x14000000u | 1204);
  ck_assert_int_eq(memcmp(n->ram->host + RXBUF + 0x800 * 5, want + 0x200, 0x200), 0);
  net_rig_free(n);
}
END_TEST

START_TEST(cplus_no_descriptor) {
  struct net_rig *n = card_new(true);
  start_cplus(n);
  for (unsigned i = 0; i < 10; i++)
    net_peer_sends(n, net_mac, 60, i);
  ck_assert_uint_eq(nin(n, 0x3e, 2), 0x0001);
  rig_advance(n->r, 100 * (int64_t)NET_POLL_NS);
  ck_assert_uint_eq(nin(n, 0x3e, 2) & 0x10, 0x10);
  ck_assert_uint_ge(nin(n, 0x4c, 4), 1);
  net_rig_free(n);
}
END_TEST

static unsigned sum16(const uint8_t *p, size_t len, uint32_t sum) {
  for (size_t i = 0; i < len; i++)
    sum += i & 1 ? p[i] : (unsigned)p[i] << 8;
  while (sum >> 16)
    sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

/* An IPv4 packet with TCP of `data` bytes, without checksums. */
static size_t make_tcp(uint8_t *f, size_t data, uint32_t sequence) {
  memset(f, 0, 54 + data);
  memcpy(f, net_mac, 6);
  f[12] = 0x08;
  f[14] = 0x45;
  f[16] = (uint8_t)((40 + data) >> 8);
  f[17] = (uint8_t)(40 + data);
  f[19] = 7;
  f[22] = 64;
  f[23] = 6;
  f[26] = 10;
  f[29] = 15;
  f[30] = 10;
  f[33] = 2;
  for (int i = 0; i < 4; i++)
    f[38 + i] = (uint8_t)(sequence >> (24 - 8 * i));
  f[46] = 0x50;
  f[47] = 0x19; /* ACK, PSH, FIN */
  for (size_t i = 0; i < data; i++)
    f[54 + i] = (uint8_t)(i * 5 + i / 256);
  return 54 + data;
}

static void check_tcp(const uint8_t *f, size_t len) {
  size_t total = (size_t)(f[16] << 8 | f[17]);
  ck_assert_uint_eq(14 + total, len);
  ck_assert_uint_eq(sum16(f + 14, 20, 0), 0xffff);
  ck_assert_uint_eq(sum16(f + 34, total - 20, sum16(f + 26, 8, 6 + (uint32_t)total - 20)), 0xffff);
}

START_TEST(cplus_sending) {
  struct net_rig *n = card_new(true);
  start_cplus(n);
  size_t len = make_tcp(n->ram->host + TX, 301, 1000);
  put32(n, TXD, 0xa0000000u | 100 | 1u << 18 | 1u << 16);
  put32(n, TXD + 4, 0);
  put32(n, TXD + 8, TX);
  put32(n, TXD + 12, 0);
  put32(n, TXD + 16, 0);
  nout(n, 0xd9, 1, 0x40);
  rig_advance(n->r, 1000);
  ck_assert_uint_eq(n->got, 0); /* the end of the frame is not there yet */
  put32(n, TXD + 16, 0xd0000000u | (uint32_t)(len - 100) | 1u << 18 | 1u << 16);
  put32(n, TXD + 20, 0);
  put32(n, TXD + 24, TX + 100);
  put32(n, TXD + 28, 0);
  nout(n, 0xd9, 1, 0x40);
  rig_advance(n->r, 1000);
  ck_assert_uint_eq(n->got, 1);
  check_tcp(n->frame[0], n->len[0]);
  ck_assert_uint_eq(get32(n, TXD) >> 28, 2);
  ck_assert_uint_eq(get32(n, TXD + 16) >> 28, 5);
  ck_assert_uint_eq(nin(n, 0x3e, 2), 0x0004);
  net_rig_free(n);
}
END_TEST

START_TEST(cplus_segments) {
  struct net_rig *n = card_new(true);
  start_cplus(n);
  size_t len = make_tcp(n->ram->host + TX, 10000, 0xfffffff0);
  put32(n, TXD, 0xf8000000u | 1460u << 16 | (uint32_t)len);
  put32(n, TXD + 4, 0);
  put32(n, TXD + 8, TX);
  put32(n, TXD + 12, 0);
  nout(n, 0xd9, 1, 0x40);
  rig_advance(n->r, 1000000);
  ck_assert_uint_eq(n->got, 7);
  uint32_t sequence = 0xfffffff0;
  size_t at = 0;
  for (unsigned i = 0; i < 7; i++) {
    const uint8_t *f = n->frame[i];
    check_tcp(f, n->len[i]);
    ck_assert_uint_eq((uint32_t)f[38] << 24 | (uint32_t)f[39] << 16 | (uint32_t)f[40] << 8 | f[41], sequence);
    ck_assert_uint_eq((unsigned)(f[18] << 8 | f[19]), 7 + i);
    ck_assert_uint_eq(f[47], i == 6 ? 0x19 : 0x10);
    ck_assert_int_eq(memcmp(f + 54, n->ram->host + TX + 54 + at, n->len[i] - 54), 0);
    at += n->len[i] - 54;
    sequence += (uint32_t)n->len[i] - 54;
  }
  ck_assert_uint_eq(at, 10000);
  net_rig_free(n);
}
END_TEST

START_TEST(cplus_vlan_and_counters) {
  struct net_rig *n = card_new(true);
  start_cplus(n);
  nout(n, 0xe0, 2, 0x0043);
  net_make(n->ram->host + TX, 100, net_mac, 1);
  put32(n, TXD, 0xf0000000u | 100);
  put32(n, TXD + 4, 0x20000u | 0x3412); /* tag 1234h, as it lies in the frame */
  put32(n, TXD + 8, TX);
  put32(n, TXD + 12, 0);
  nout(n, 0xd9, 1, 0x40);
  rig_advance(n->r, 1000);
  ck_assert_uint_eq(n->len[0], 104);
  static const uint8_t tag[4] = {0x81, 0x00, 0x12, 0x34};
  ck_assert_int_eq(memcmp(n->frame[0] + 12, tag, 4), 0);
  net_send(n->cable, NET_HOST, n->frame[0], 104);
  rig_advance(n->r, 1000);
  ck_assert_uint_eq(get32(n, RXD + 4), 0x13412);
  ck_assert_int_eq(memcmp(n->ram->host + RXBUF, n->ram->host + TX, 100), 0);
  nout(n, 0x14, 4, 0);
  nout(n, 0x10, 4, 0x60008);
  ck_assert_uint_eq(nin(n, 0x10, 4), 0x60000);
  ck_assert_uint_eq(get32(n, 0x60000), 1);
  ck_assert_uint_eq(get32(n, 0x60008), 1);
  net_rig_free(n);
}
END_TEST

static void tame(struct net_rig *n) { (rig_random(n->r) & 1 ? start : start_cplus)(n); }

START_TEST(fuzz) {
  struct net_rig *n = card_new(true);
  net_fuzz(n, 256, tame);
  net_rig_free(n);
}
END_TEST

RIG_SUITE(net_rtl8139, identity, sending, loopback, ring_wrap, ring_straight, overflow, filters,
          timer_and_link, cplus_receiving, cplus_no_descriptor, cplus_sending, cplus_segments,
          cplus_vlan_and_counters, fuzz)
