/* SPDX-License-Identifier: MIT */
/*
 * Networks: what -netdev, -nic and -net ask for, and the back ends at the host's end of each cable (user
 * network by libslirp, sockets, tap), with their dumps. Back ends are called under the machine lock, or
 * before the CPU thread starts and after it has ended.
 */
#ifndef FRONTENDS_NET_H
#define FRONTENDS_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>

#include "config.h"
#include "core/machine.h"
#include "core/net.h"
#include "frontends/loop.h"

#define NETDEVS 8
#define NET_FORWARDS 16
#define NET_SEARCH 8 /* dnssearch= */

enum net_kind { NET_USER, NET_SOCKET, NET_TAP };

struct net_forward { /* hostfwd=[tcp|udp]:[HOST]:PORT-[GUEST]:PORT */
  bool udp;
  struct in_addr host, guest; /* zero: every address of the host; the first address that DHCP gives */
  uint16_t host_port, guest_port;
};

struct net_guest_forward { /* guestfwd=[tcp]:SERVER:PORT-cmd:COMMAND */
  struct in_addr server;
  uint16_t port;
  const char *command;
};

struct netdev_options {
  enum net_kind kind;
  const char *id;
  const char *by;   /* the option that made it, for messages */
  const char *dump; /* pcap file */
  /* user; addresses that were not given are filled in from the network's */
  bool restricted, ipv4, ipv6;
  struct in_addr net, mask, host, dns, dhcp_start;
  const char *hostname, *domain, *tftp, *tftp_server, *bootfile;
  const char *search[NET_SEARCH + 1]; /* ended by NULL */
  struct net_forward forward[NET_FORWARDS];
  unsigned forwards;
  struct net_guest_forward guest_forward[NET_FORWARDS];
  unsigned guest_forwards;
  /* socket: exactly one of the first four */
  const char *listen, *connect, *mcast, *udp, *local;
  /* tap */
  const char *ifname, *script, *downscript; /* script NULL: none is run */
  int fd;                                   /* an open tap descriptor; -1: none */
  /* who is at the other end, filled in when all options are known */
  const char *card, *model, *mac;
};

/* "[tcp|udp]:[HOST]:PORT-[GUEST]:PORT". False, and why in `error`. */
bool net_parse_forward(const char *text, struct net_forward *f, char *error, size_t size);
/* The part before '-' alone, as hostfwd_remove takes it. */
bool net_parse_forward_host(const char *text, struct net_forward *f, char *error, size_t size);

struct net_backend { /* every kind begins with this */
  struct net_backend *next;
  const struct netdev_options *options;
  struct machine *machine;
  struct loop *loop;
  struct net_cable *cable;
  FILE *dump;
  void (*describe)(struct net_backend *b, FILE *out); /* what "info network" says behind the type */
  void (*destroy)(struct net_backend *b);             /* frees it */
};

struct net_set {
  struct net_backend *first;
};

/* A back end and its cable for each netdev, in their order. 0, or -1 with one line in `error`. */
int net_open(struct net_set *set, const struct netdev_options *o, unsigned count, struct machine *m,
             struct loop *loop, char *error, size_t size);
void net_close(
    struct net_set *set); /* once no card and no loop uses them; the machine's clock still stands */
/* By the netdev's or the card's name; name NULL: the first of that kind (any: -1). NULL: none. */
struct net_backend *net_find(struct net_set *set, const char *name, int kind);
struct net_cable *net_cable_of(struct net_set *set, unsigned index);
void net_info(struct net_set *set, FILE *out);

/* --- the kinds: NULL, with one line in `error`. The caller fills in what is common before. --- */
struct net_backend *net_open_socket(const struct net_backend *common, char *error, size_t size);
struct net_backend *net_open_tap(const struct net_backend *common, char *error, size_t size);
/* Copy `common` to the start of fresh zeroed memory. NULL when out of memory, said in `error`. */
void *net_backend_new(const struct net_backend *common, size_t bytes, char *error, size_t size);

#if CONFIG_SLIRP
struct net_backend *net_open_user(const struct net_backend *common, char *error, size_t size);
bool net_user_forward(struct net_backend *b, const struct net_forward *f, bool add); /* false: refused */
void net_user_info(struct net_backend *b, FILE *out);                                /* info usernet */
#else
static inline struct net_backend *net_open_user(const struct net_backend *common, char *error, size_t size) {
  (void)common;
  snprintf(error, size,
           "-netdev user: built without the user network; install libslirp-dev and configure again, or use "
           "-nic none");
  return NULL;
}
static inline bool net_user_forward(struct net_backend *b, const struct net_forward *f, bool add) {
  (void)b, (void)f, (void)add;
  return false;
}
static inline void net_user_info(struct net_backend *b, FILE *out) { (void)b, (void)out; }
#endif

#endif
