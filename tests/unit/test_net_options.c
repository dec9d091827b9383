/* SPDX-License-Identifier: MIT */
/* Options about the network: the default card, -netdev, -nic, -net, addresses, forwarded ports, dumps,
 * mistakes. */
#include <arpa/inet.h>

#include "tests/unit/options_line.h"

Suite *suite_net_options(void);

static void address(struct in_addr a, const char *text) {
  char buf[INET_ADDRSTRLEN];
  ck_assert_str_eq(inet_ntop(AF_INET, &a, buf, sizeof buf), text);
}

START_TEST(default_card) {
  good("");
  ck_assert_uint_eq(o.netdev_count, CONFIG_SLIRP);
  ck_assert_uint_eq(o.device_count, CONFIG_SLIRP);
  good("-device pc-testdev");
  ck_assert_uint_eq(o.device_count, CONFIG_SLIRP + 1u);
  ck_assert_str_eq(o.device[CONFIG_SLIRP].driver, "pc-testdev"); /* the card comes first */
  static const char *const none[] = {"-nic none", "-net none", "-nodefaults", "-icount on"};
  for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
    good(none[i]);
    ck_assert_uint_eq(o.netdev_count, 0);
    ck_assert_uint_eq(o.device_count, 0);
  }
  good("-icount on -nic user"); /* asked for */
  ck_assert_uint_eq(o.netdev_count, 1);
  good("-device pcnet"); /* a card without a network is what was asked for */
  ck_assert(o.netdev_count == 0 && o.device_count == 1 && o.device[0].netdev == 0);
}
END_TEST

START_TEST(netdevs) {
  good("-device pcnet,netdev=b -netdev user,id=a -netdev socket,id=b,listen=:1234 -device "
       "ne2k_isa,netdev=a,irq=5");
  ck_assert_uint_eq(o.netdev_count, 2);
  ck_assert_int_eq(o.device[0].netdev, 2);
  ck_assert_int_eq(o.device[1].netdev, 1);
  ck_assert_str_eq(o.netdev[1].listen, ":1234");
  ck_assert_str_eq(o.netdev[1].card, "pcnet.0");
  ck_assert_str_eq(o.netdev[0].model, "ne2k_isa");
  ck_assert_str_eq(o.netdev[1].mac, "52:54:00:12:34:56");
  ck_assert_str_eq(o.netdev[0].mac, "52:54:00:12:34:57");
  bad("-netdev user", "name by id=");
  bad("-netdev user,id=a -netdev user,id=a", "taken");
  bad("-netdev vde,id=a", "user, socket and tap");
  bad("-netdev user,id=a -device pcnet,netdev=b", "no -netdev with id=b");
  bad("-netdev user,id=a -device pcnet,netdev=a -device rtl8139,netdev=a", "has a card already");
  bad("-netdev user,id=a,colour=red", "'colour' is not understood");
  bad("-netdev user,id=a,host", "lacks its value");
  bad("-netdev user,id=a,smb=/srv", "not supported");
}
END_TEST

START_TEST(user_network) {
  good("-nic user");
  address(o.netdev[0].net, "10.0.2.0");
  address(o.netdev[0].mask, "255.255.255.0");
  address(o.netdev[0].host, "10.0.2.2");
  address(o.netdev[0].dns, "10.0.2.3");
  address(o.netdev[0].dhcp_start, "10.0.2.15");
  ck_assert(o.netdev[0].ipv4 && o.netdev[0].ipv6 && !o.netdev[0].restricted);
  good("-nic "
       "user,net=192.168.7.0/28,host=192.168.7.1,restrict=on,ipv6=off,hostname=pc,dnssearch=a,dnssearch=b");
  address(o.netdev[0].mask, "255.255.255.240");
  address(o.netdev[0].host, "192.168.7.1");
  address(o.netdev[0].dns, "192.168.7.3");
  address(o.netdev[0].dhcp_start, "192.168.7.4");
  ck_assert(o.netdev[0].restricted && !o.netdev[0].ipv6);
  ck_assert_str_eq(o.netdev[0].search[1], "b");
  ck_assert_ptr_null(o.netdev[0].search[2]);
  good("-nic user,net=172.20.0.0");
  address(o.netdev[0].mask, "255.255.0.0");
  bad("-nic user,net=10.0.2", "net=");
  bad("-nic user,net=10.0.2.0/33", "net=");
  bad("-nic user,host=10.0.3.2", "not in the network");
  bad("-nic user,host=10.0.2.3", "must differ");
  bad("-nic user,dns=x", "not an IPv4 address");
  bad("-nic user,restrict=maybe", "on or off");
}
END_TEST

START_TEST(forwards) {
  good("-nic "
       "user,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:53-10.0.2.20:5353,guestfwd=tcp:10.0.2.100:80-cmd:"
       "cat");
  const struct netdev_options *n = &o.netdev[0];
  ck_assert_uint_eq(n->forwards, 2);
  ck_assert(!n->forward[0].udp && n->forward[0].host_port == 2222 && n->forward[0].guest_port == 22);
  address(n->forward[0].host, "0.0.0.0");
  ck_assert(n->forward[1].udp && n->forward[1].host_port == 53 && n->forward[1].guest_port == 5353);
  address(n->forward[1].host, "127.0.0.1");
  address(n->forward[1].guest, "10.0.2.20");
  ck_assert_uint_eq(n->guest_forwards, 1);
  address(n->guest_forward[0].server, "10.0.2.100");
  ck_assert_str_eq(n->guest_forward[0].command, "cat");
  static const char *const wrong[] = {
      "tcp:2222-:22",  "tcp::2222",      "tcp::x-:22",         "tcp::70000-:22",
      "tcp::2222-:0",  "tcp:::22-:22",   "sctp::22-:22",       "tcp:localhost:1-:1",
      "tcp::2222-22:", "tcp::2222-:-22", "udp::2222-1.2.3:22", ""};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    struct net_forward f;
    char why[200] = "";
    ck_assert_msg(!net_parse_forward(wrong[i], &f, why, sizeof why), "%s", wrong[i]);
    ck_assert(strstr(why, "for example"));
  }
  bad("-nic user,hostfwd=tcp::2222", "hostfwd=");
  bad("-nic user,guestfwd=tcp:10.0.2.100-cmd:cat", "guestfwd=");
}
END_TEST

START_TEST(nics) {
  good("-nic user,model=ne2k_pci,mac=02:00:00:00:00:07 -nic socket,udp=127.0.0.1:1,localaddr=:2,dump=f.pcap");
  ck_assert_uint_eq(o.device_count, 2);
  ck_assert_str_eq(o.device[0].driver, "ne2k_pci");
  ck_assert_str_eq(o.netdev[0].mac, "02:00:00:00:00:07");
  ck_assert_str_eq(o.netdev[1].mac, "52:54:00:12:34:56");
  ck_assert_str_eq(o.netdev[1].dump, "f.pcap");
  good("-nic user,mac=52:54:00:12:34:56 -nic tap,ifname=tap7"); /* the default goes on behind a given one */
  ck_assert_str_eq(o.netdev[1].mac, "52:54:00:12:34:57");
  ck_assert_ptr_null(o.netdev[1].script);
  bad("-nic user,model=e1000", "the cards are ne2k_isa, ne2k_pci, pcnet, rtl8139");
  bad("-nic user,mac=01:00:00:00:00:07", "not the address of one card");
  bad("-nic user,mac=02:00", "not the address of one card");
  bad("-nic socket", "exactly one");
  bad("-nic socket,listen=:1,connect=:2", "exactly one");
  bad("-nic socket,udp=:1", "localaddr");
}
END_TEST

START_TEST(old_style) {
  good("-net nic,model=pcnet,macaddr=02:00:00:00:00:01 -net user,hostfwd=tcp::1-:2");
  ck_assert(o.netdev_count == 1 && o.device_count == 1 && o.device[0].netdev == 1);
  ck_assert_str_eq(o.device[0].driver, "pcnet");
  good("-net user -net nic");
  ck_assert(o.netdev_count == 1 && o.device_count == 1 && o.device[0].netdev == 1);
  good("-net user");
  ck_assert(o.device_count == 1 && o.device[0].netdev == 1);
  good("-net nic");
  ck_assert(o.device_count == 1 && o.netdev_count == 0);
  good("-netdev user,id=x -net nic,netdev=x");
  ck_assert_int_eq(o.device[0].netdev, 1);
  bad("-net nic -net nic", "use -nic");
  bad("-net user -net socket,listen=:1", "use -nic");
}
END_TEST

START_TEST(dumps) {
  good("-netdev user,id=x -device pcnet,netdev=x -object filter-dump,id=f,netdev=x,file=out.pcap");
  ck_assert_str_eq(o.netdev[0].dump, "out.pcap");
  bad("-object filter-dump,id=f,netdev=x,file=y", "no -netdev");
  bad("-object filter-dump,id=f,netdev=x", "file=");
  bad("-object rng-random,id=r", "filter-dump");
  bad("-netdev user,id=x,dump=a -object filter-dump,id=f,netdev=x,file=b", "already");
}
END_TEST

Suite *suite_net_options(void) {
  Suite *s = suite_create("net_options");
  TCase *t = tcase_create("net_options");
  tcase_add_test(t, default_card);
  tcase_add_test(t, netdevs);
  tcase_add_test(t, user_network);
  tcase_add_test(t, forwards);
  tcase_add_test(t, nics);
  tcase_add_test(t, old_style);
  tcase_add_test(t, dumps);
  suite_add_tcase(s, t);
  return s;
}
