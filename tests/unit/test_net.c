/* SPDX-License-Identifier: MIT */
/* The cable: order, queues, receivers that are not ready, the link; the serial EEPROM; checksums and hashes.
 */
#include "devices/net/eeprom93c46.h"
#include "tests/unit/net_rig.h"

struct end {
  unsigned got, links;
  uint8_t first[1024];
  size_t len;
  bool ready, up;
  struct net_cable *cable;
  bool answers;
};

static struct rig *r;
static struct net_cable *cable;
static struct end card, host;

static void take(void *opaque, const uint8_t *frame, size_t len) {
  struct end *e = opaque;
  e->first[e->got++ % 1024] = frame[0];
  e->len = len;
  if (e->answers)
    net_send(cable, e == &card ? NET_CARD : NET_HOST, frame, len);
}
static bool is_ready(void *opaque) { return ((struct end *)opaque)->ready; }
static void link_is(void *opaque, bool up) {
  ((struct end *)opaque)->links++;
  ((struct end *)opaque)->up = up;
}

static void begin(void) {
  r = rig_new();
  cable = net_cable_new(r->set.clock, "name");
  card = host = (struct end){.ready = true};
  net_attach(cable, NET_CARD, &(struct net_end){take, is_ready, link_is, &card});
  net_attach(cable, NET_HOST, &(struct net_end){take, is_ready, link_is, &host});
}

static void end(void) {
  net_cable_free(cable);
  rig_free(r);
}

static void send_one(enum net_side from, uint8_t first, size_t len) {
  uint8_t frame[NET_FRAME_MAX] = {first};
  net_send(cable, from, frame, len);
}

START_TEST(order) {
  begin();
  ck_assert_str_eq(net_cable_name(cable), "name");
  for (uint8_t i = 0; i < 10; i++)
    send_one(NET_CARD, i, 100);
  ck_assert_uint_eq(host.got, 0); /* never from within net_send */
  rig_advance(r, 1);
  ck_assert_uint_eq(host.got, 10);
  for (uint8_t i = 0; i < 10; i++)
    ck_assert_uint_eq(host.first[i], i);
  ck_assert_uint_eq(card.got, 0);
  end();
}
END_TEST

START_TEST(padding) {
  begin();
  send_one(NET_HOST, 1, 14);
  send_one(NET_CARD, 1, 14);
  rig_advance(r, 1);
  ck_assert_uint_eq(card.len, 60);
  ck_assert_uint_eq(host.len, 14);
  end();
}
END_TEST

START_TEST(full_queue) {
  begin();
  card.ready = false;
  for (unsigned i = 0; i < NET_QUEUE + 10; i++)
    send_one(NET_HOST, (uint8_t)i, 60);
  ck_assert_uint_eq(net_dropped(cable), 10);
  rig_advance(r, 1000);
  ck_assert_uint_eq(card.got, 0);
  card.ready = true;
  net_ready(cable, NET_CARD);
  ck_assert_uint_eq(card.got, 0);
  rig_advance(r, 1);
  ck_assert_uint_eq(card.got, NET_QUEUE);
  ck_assert_uint_eq(card.first[255], 255);
  end();
}
END_TEST

/* Nobody says that the receiver is ready: it is asked. One that never is gets frames one by one in the end.
 */
START_TEST(patience) {
  begin();
  card.ready = false;
  for (int i = 0; i < 3; i++)
    send_one(NET_HOST, (uint8_t)i, 60);
  rig_advance(r, 3 * NET_POLL_NS);
  ck_assert_uint_eq(card.got, 0);
  card.ready = true;
  rig_advance(r, NET_POLL_NS + 1);
  ck_assert_uint_eq(card.got, 3);
  card.ready = false;
  for (int i = 0; i < 3; i++)
    send_one(NET_HOST, (uint8_t)i, 60);
  rig_advance(r, (NET_PATIENCE - 1) * (int64_t)NET_POLL_NS);
  ck_assert_uint_eq(card.got, 3);
  rig_advance(r, 2 * NET_POLL_NS);
  ck_assert_uint_ge(card.got, 4);
  ck_assert_uint_le(card.got, 5);
  rig_advance(r, 4 * NET_POLL_NS);
  ck_assert_uint_eq(card.got, 6);
  end();
}
END_TEST

START_TEST(pulled) {
  begin();
  send_one(NET_CARD, 1, 60);
  net_set_link(cable, false);
  ck_assert(card.links == 1 && host.links == 1 && !card.up && !net_link(cable));
  send_one(NET_CARD, 2, 60);
  rig_advance(r, 1000);
  ck_assert_uint_eq(host.got, 0);
  ck_assert_uint_eq(net_dropped(cable), 2);
  net_set_link(cable, false); /* as it is */
  ck_assert_uint_eq(card.links, 1);
  net_set_link(cable, true);
  send_one(NET_CARD, 3, 60);
  rig_advance(r, 1);
  ck_assert(host.got == 1 && host.first[0] == 3 && card.up);
  end();
}
END_TEST

/* Two ends that answer each frame at once: each gets its turn, and time goes on. */
START_TEST(answers) {
  begin();
  card.answers = host.answers = true;
  send_one(NET_CARD, 9, 60);
  for (int i = 0; i < 100; i++)
    clock_run_timers(r->set.clock);
  ck_assert_uint_ge(host.got, 40);
  ck_assert_uint_le(host.got + card.got, 210);
  net_attach(cable, NET_HOST, NULL);
  rig_advance(r, 1000);
  unsigned got = host.got;
  send_one(NET_CARD, 9, 60);
  rig_advance(r, 1000);
  ck_assert_uint_eq(host.got, got);
  end();
}
END_TEST

static unsigned seen;
static void see(void *opaque, int64_t ns, const uint8_t *frame, size_t len) {
  ck_assert(opaque == &seen && frame && len == 60 && ns >= 0);
  seen++;
}

START_TEST(taps) {
  begin();
  seen = 0;
  for (unsigned i = 0; i < NET_TAPS; i++)
    ck_assert(net_tap(cable, see, &seen));
  ck_assert(!net_tap(cable, see, &seen));
  send_one(NET_CARD, 0, 60);
  send_one(NET_HOST, 0, 60);
  ck_assert_uint_eq(seen, 2 * NET_TAPS);
  end();
}
END_TEST

static unsigned eeprom_shift(struct eeprom93c46 *e, unsigned bits, int count) {
  unsigned out = 0;
  for (int i = count - 1; i >= 0; i--) {
    eeprom93c46_pins(e, true, false, bits >> i & 1);
    eeprom93c46_pins(e, true, true, bits >> i & 1);
    out = out << 1 | e->dout;
  }
  return out;
}

static unsigned eeprom_read(struct eeprom93c46 *e, unsigned address) {
  eeprom93c46_pins(e, false, false, false);
  eeprom_shift(e, 0x180 | address, 9);
  ck_assert(!e->dout); /* the dummy bit */
  return eeprom_shift(e, 0, 16);
}

START_TEST(eeprom) {
  struct eeprom93c46 e = {.word = {[0] = 0x8129, [5] = 0x1234, [6] = 0x5678}};
  ck_assert_uint_eq(eeprom_read(&e, 0), 0x8129);
  ck_assert_uint_eq(eeprom_read(&e, 5), 0x1234);
  ck_assert_uint_eq(eeprom_shift(&e, 0, 16), 0x5678); /* goes on */
  eeprom93c46_pins(&e, false, false, false);
  eeprom_shift(&e, 0x140 | 5, 9); /* WRITE, but writing is not enabled */
  eeprom_shift(&e, 0xabcd, 16);
  ck_assert_uint_eq(eeprom_read(&e, 5), 0x1234);
  eeprom93c46_pins(&e, false, false, false);
  eeprom_shift(&e, 0x130, 9); /* EWEN */
  eeprom93c46_pins(&e, false, false, false);
  eeprom_shift(&e, 0x140 | 5, 9);
  eeprom_shift(&e, 0xabcd, 16);
  ck_assert_uint_eq(eeprom_read(&e, 5), 0xabcd);
  eeprom93c46_pins(&e, false, false, false);
  eeprom_shift(&e, 0x1c0 | 5, 9); /* ERASE */
  ck_assert_uint_eq(eeprom_read(&e, 5), 0xffff);
}
END_TEST

/* 802.3's check value, and the hash of 01:00:5E:00:00:01 as drivers reckon it: bit 31 of the MSB-first CRC.
 */
START_TEST(checksums) {
  ck_assert_uint_eq(nic_fcs((const uint8_t *)"123456789", 9), 0xcbf43926);
  static const uint8_t all_hosts[6] = {0x01, 0x00, 0x5e, 0x00, 0x00, 0x01};
  for (int n = 0; n < 200; n++) {
    uint8_t mac[6];
    uint32_t msb = 0xffffffff, lsb = 0xffffffff;
    for (int i = 0; i < 6; i++)
      mac[i] = n ? (uint8_t)(n * 31 + i * 17) : all_hosts[i];
    for (int i = 0; i < 48; i++) {
      uint32_t bit = mac[i / 8] >> (i & 7) & 1;
      msb = msb << 1 ^ ((msb >> 31 ^ bit) ? 0x04c11db7 : 0);
      lsb = lsb >> 1 ^ (((lsb ^ bit) & 1) ? 0xedb88320 : 0);
    }
    ck_assert_uint_eq(nic_hash_msb(mac), msb >> 26);
    ck_assert_uint_eq(nic_hash_lsb(mac), lsb >> 26);
  }
}
END_TEST

RIG_SUITE(net, order, padding, full_queue, patience, pulled, answers, taps, eeprom, checksums)
