/* SPDX-License-Identifier: MIT */
/*
 * Options about the network: -netdev, -nic, -net, -object filter-dump, and which card goes on which netdev.
 * Without any of them the machine has a card on a user network, as QEMU's has; not in counted time, whose
 * runs must not depend on the world outside.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/board.h"
#include "frontends/options.h"

#define DEFAULT_CARD "rtl8139"

/* --- pieces of values ----------------------------------------------------------------------------------- */

static bool parse_port(const char *text, uint16_t *port) {
  char *end;
  unsigned long n = strtoul(text, &end, 10);
  *port = (uint16_t)n;
  return *text >= '0' && *text <= '9' && !*end && n <= 65535;
}

/* "[HOST]:PORT" into address and port; without a host the address stays zero. */
static bool parse_address_port(char *text, struct in_addr *address, uint16_t *port) {
  char *colon = strrchr(text, ':');
  if (!colon)
    return false;
  *colon = '\0';
  address->s_addr = 0;
  return parse_port(colon + 1, port) && (!*text || inet_pton(AF_INET, text, address) == 1);
}

static const char *protocol(const char *text, struct net_forward *f) {
  f->udp = !strncmp(text, "udp:", 4);
  return f->udp || !strncmp(text, "tcp:", 4) ? text + 4 : *text == ':' ? text + 1 : NULL;
}

bool net_parse_forward_host(const char *text, struct net_forward *f, char *error, size_t size) {
  char buf[64];
  *f = (struct net_forward){0};
  const char *rest = protocol(text, f);
  if (rest && (size_t)snprintf(buf, sizeof buf, "%s", rest) < sizeof buf &&
      parse_address_port(buf, &f->host, &f->host_port))
    return true;
  snprintf(error, size, "'%s' is not [tcp|udp]:[HOST]:PORT", text);
  return false;
}

bool net_parse_forward(const char *text, struct net_forward *f, char *error, size_t size) {
  char buf[128];
  if ((size_t)snprintf(buf, sizeof buf, "%s", text) < sizeof buf) {
    char *guest = strchr(buf, '-'), ignored[1];
    if (guest) {
      *guest++ = '\0';
      if (net_parse_forward_host(buf, f, ignored, sizeof ignored) &&
          parse_address_port(guest, &f->guest, &f->guest_port) && f->guest_port)
        return true;
    }
  }
  snprintf(error, size, "'%s' is not [tcp|udp]:[HOST]:PORT-[GUEST]:PORT, for example tcp::2222-:22", text);
  return false;
}

/* "ADDRESS[/BITS or /MASK]"; without a mask that of its class, as RFC 791 divides them. */
static bool parse_net(const char *text, struct netdev_options *n) {
  char buf[64];
  if ((size_t)snprintf(buf, sizeof buf, "%s", text) >= sizeof buf)
    return false;
  char *slash = strchr(buf, '/'), *end;
  if (slash)
    *slash++ = '\0';
  if (inet_pton(AF_INET, buf, &n->net) != 1)
    return false;
  uint32_t net = ntohl(n->net.s_addr);
  n->mask.s_addr = htonl(net < 0x80000000 ? 0xff000000 : net < 0xc0000000 ? 0xffff0000 : 0xffffff00);
  if (slash && inet_pton(AF_INET, slash, &n->mask) != 1) {
    unsigned long bits = strtoul(slash, &end, 10);
    if (*end || end == slash || bits < 4 || bits > 29)
      return false;
    n->mask.s_addr = htonl(0xffffffffu << (32 - bits));
  }
  n->net.s_addr &= n->mask.s_addr;
  return true;
}

static bool parse_guest_forward(struct option_parser *p, const char *text, struct net_guest_forward *f) {
  const char *command = strstr(text, "-cmd:");
  const char *server = !strncmp(text, "tcp:", 4) ? text + 4 : *text == ':' ? text + 1 : NULL;
  if (!command || !server || command < server)
    return false;
  f->command = option_string(p, command + 5, strlen(command + 5));
  return parse_address_port(option_string(p, server, (size_t)(command - server)), &f->server, &f->port) &&
         f->port && f->server.s_addr && *f->command;
}

static bool parse_mac(const char *text, uint8_t mac[6]) {
  unsigned b[6];
  int n = 0;
  if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &n) != 6 || text[n])
    return false;
  for (int i = 0; i < 6; i++)
    mac[i] = (uint8_t)b[i];
  return true;
}

/* --- netdevs -------------------------------------------------------------------------------------------- */

static int address_key(struct option_parser *p, const char *by, const char *key, const char *value,
                       struct in_addr *out) {
  if (inet_pton(AF_INET, value, out) == 1)
    return 0;
  return option_error(p, "-%s: %s=%s: not an IPv4 address", by, key, value);
}

/* Keys of "user". 1: not one of them. */
static int user_key(struct option_parser *p, struct netdev_options *n, const char *key, const char *value) {
  char why[200];
  if (!strcmp(key, "restrict"))
    return option_bool(p, n->by, key, value, &n->restricted);
  if (!strcmp(key, "ipv4"))
    return option_bool(p, n->by, key, value, &n->ipv4);
  if (!strcmp(key, "ipv6"))
    return option_bool(p, n->by, key, value, &n->ipv6);
  if (!strcmp(key, "smb"))
    return option_error(p, "-%s: smb= is not supported; serve files from the host by HTTP or FTP instead",
                        n->by);
  if (!value)
    return 1;
  if (!strcmp(key, "net"))
    return parse_net(value, n)
               ? 0
               : option_error(p, "-%s: net=%s: write for example net=10.0.2.0/24", n->by, value);
  if (!strcmp(key, "host"))
    return address_key(p, n->by, key, value, &n->host);
  if (!strcmp(key, "dns"))
    return address_key(p, n->by, key, value, &n->dns);
  if (!strcmp(key, "dhcpstart"))
    return address_key(p, n->by, key, value, &n->dhcp_start);
  if (!strcmp(key, "hostfwd")) {
    if (n->forwards == NET_FORWARDS)
      return option_error(p, "-%s: %d forwarded ports at most", n->by, NET_FORWARDS);
    if (!net_parse_forward(value, &n->forward[n->forwards++], why, sizeof why))
      return option_error(p, "-%s: hostfwd=%s", n->by, why);
    return 0;
  }
  if (!strcmp(key, "guestfwd")) {
    if (n->guest_forwards == NET_FORWARDS)
      return option_error(p, "-%s: %d guestfwd= at most", n->by, NET_FORWARDS);
    if (!parse_guest_forward(p, value, &n->guest_forward[n->guest_forwards++]))
      return option_error(p, "-%s: guestfwd=%s: write for example guestfwd=tcp:10.0.2.100:80-cmd:COMMAND",
                          n->by, value);
    return 0;
  }
  if (!strcmp(key, "dnssearch")) {
    unsigned i = 0;
    while (i < NET_SEARCH && n->search[i])
      i++;
    if (i == NET_SEARCH)
      return option_error(p, "-%s: %d search domains at most", n->by, NET_SEARCH);
    n->search[i] = value;
    return 0;
  }
  const struct {
    const char *key, **to;
  } texts[] = {{"hostname", &n->hostname},
               {"domainname", &n->domain},
               {"tftp", &n->tftp},
               {"bootfile", &n->bootfile},
               {"tftp-server-name", &n->tftp_server}};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
    if (!strcmp(texts[i].key, key)) {
      *texts[i].to = value;
      return 0;
    }
  return 1;
}

static int socket_key(struct netdev_options *n, const char *key, const char *value) {
  const struct {
    const char *key, **to;
  } texts[] = {{"listen", &n->listen},
               {"connect", &n->connect},
               {"mcast", &n->mcast},
               {"udp", &n->udp},
               {"localaddr", &n->local}};
  for (size_t i = 0; value && i < sizeof texts / sizeof texts[0]; i++)
    if (!strcmp(texts[i].key, key)) {
      *texts[i].to = value;
      return 0;
    }
  return 1;
}

static int tap_key(struct option_parser *p, struct netdev_options *n, const char *key, const char *value) {
  uint16_t fd;
  if (value && !strcmp(key, "ifname"))
    n->ifname = value;
  else if (value && !strcmp(key, "script"))
    n->script = strcmp(value, "no") ? value : NULL;
  else if (value && !strcmp(key, "downscript"))
    n->downscript = strcmp(value, "no") ? value : NULL;
  else if (value && !strcmp(key, "fd")) {
    if (!parse_port(value, &fd))
      return option_error(p, "-%s: fd=%s: the number of an open descriptor", n->by, value);
    n->fd = fd;
  } else
    return 1;
  return 0;
}

static struct netdev_options *netdev_find(struct options *o, const char *id) {
  for (unsigned i = 0; i < o->netdev_count; i++)
    if (!strcmp(o->netdev[i].id, id))
      return &o->netdev[i];
  return NULL;
}

static int check_addresses(struct option_parser *p, struct netdev_options *n) {
  struct in_addr *const address[] = {&n->host, &n->dns, &n->dhcp_start};
  static const uint32_t last[] = {2, 3, 15};
  static const char *const names[] = {"host", "dns", "dhcpstart"};
  if (!n->net.s_addr)
    parse_net("10.0.2.0/24", n);
  for (int i = 0; i < 3; i++) {
    uint32_t fill = ~ntohl(n->mask.s_addr) < 16 && i == 2 ? 4 : last[i];
    if (!address[i]->s_addr)
      address[i]->s_addr = n->net.s_addr | htonl(fill);
    else if ((address[i]->s_addr & n->mask.s_addr) != n->net.s_addr)
      return option_error(p, "-%s: %s= is not in the network that net= says", n->by, names[i]);
  }
  if (n->host.s_addr == n->dns.s_addr)
    return option_error(p, "-%s: host= and dns= must differ", n->by);
  return 0;
}

static int check_netdev(struct option_parser *p, struct netdev_options *n) {
  if (n->kind == NET_USER)
    return check_addresses(p, n);
  if (n->kind == NET_SOCKET) {
    int kinds = !!n->listen + !!n->connect + !!n->mcast + !!n->udp;
    if (kinds != 1)
      return option_error(p, "-%s socket: exactly one of listen=, connect=, mcast= and udp= is wanted",
                          n->by);
    if (n->udp && !n->local)
      return option_error(p, "-%s socket: udp= wants localaddr=[HOST]:PORT too, where answers come in",
                          n->by);
  }
  if (n->kind == NET_TAP && n->fd < 0 && !n->ifname)
    n->ifname = "tap%d"; /* the kernel chooses the number */
  return 0;
}

/* What follows the kind in -netdev, -nic and -net. `card`: keys that are the card's go into *model and *mac.
 */
static int parse_netdev(struct option_parser *p, const char *by, const char *arg, const char **model,
                        const char **mac) {
  static const char *const kinds[] = {"user", "socket", "tap"};
  struct options *o = p->o;
  const char *key, *value, *list = arg;
  if (o->netdev_count == NETDEVS)
    return option_error(p, "-%s: %d networks at most", by, NETDEVS);
  struct netdev_options *n = &o->netdev[o->netdev_count];
  *n = (struct netdev_options){.by = by, .fd = -1, .ipv4 = true, .ipv6 = true};
  if (!option_next(p, &list, &key, &value) || (value && strcmp(key, "type")))
    return option_error(p, "-%s %s: begin with user, socket or tap", by, arg);
  const char *kind = value ? value : key;
  size_t k = 0;
  while (k < 3 && strcmp(kinds[k], kind))
    k++;
  if (k == 3)
    return option_error(p, "-%s %s: the kinds are user, socket and tap", by, kind);
  n->kind = (enum net_kind)k;
  while (option_next(p, &list, &key, &value)) {
    int r = 1;
    if (!strcmp(key, "id") && value)
      n->id = value, r = 0;
    else if (!strcmp(key, "dump") && value)
      n->dump = value, r = 0;
    else if (model && !strcmp(key, "model") && value)
      *model = value, r = 0;
    else if (model && (!strcmp(key, "mac") || !strcmp(key, "macaddr")) && value)
      *mac = value, r = 0;
    else if (n->kind == NET_USER)
      r = user_key(p, n, key, value);
    else if (n->kind == NET_SOCKET)
      r = socket_key(n, key, value);
    else
      r = tap_key(p, n, key, value);
    if (r > 0)
      return option_error(p, "-%s %s: '%s' is not understood%s", by, kind, key,
                          value ? "" : ", or lacks its value");
    if (r < 0)
      return r;
  }
  char name[16];
  if (!n->id) {
    snprintf(name, sizeof name, "%s%u", "#net", o->netdev_count);
    n->id = option_string(p, name, strlen(name));
  }
  if (netdev_find(o, n->id))
    return option_error(p, "-%s: id=%s is taken already", by, n->id);
  if (check_netdev(p, n) < 0)
    return -1;
  o->netdev_count++;
  return 0;
}

int option_netdev(struct option_parser *p, const char *arg) {
  p->o->net_given = true;
  int r = parse_netdev(p, "netdev", arg, NULL, NULL);
  const struct netdev_options *n = &p->o->netdev[p->o->netdev_count ? p->o->netdev_count - 1 : 0];
  return r == 0 && n->id[0] == '#' ? option_error(p, "-netdev %s: give it a name by id=", arg) : r;
}

/* --- cards ---------------------------------------------------------------------------------------------- */

static bool is_card(const char *driver) {
  const struct board_driver *d = board_driver_find(driver);
  return d && (d->needs & DRIVER_NET);
}

static int no_card(struct option_parser *p, const char *by, const char *model) {
  char list[200] = "";
  size_t used = 0;
  for (size_t i = 0; board_driver(i); i++)
    if ((board_driver(i)->needs & DRIVER_NET) && used < sizeof list)
      used +=
          (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", board_driver(i)->name);
  return option_error(p, "-%s: there is no network card '%s'; the cards are %s", by, model, list);
}

static int add_card(struct option_parser *p, const char *by, const char *model, const char *mac,
                    const char *netdev) {
  char props[128];
  if (!model)
    model = DEFAULT_CARD;
  if (!is_card(model))
    return no_card(p, by, model);
  snprintf(props, sizeof props, "%s%s%s%s%.40s", netdev ? "netdev=" : "", netdev ? netdev : "",
           netdev && mac ? "," : "", mac ? "mac=" : "", mac ? mac : "");
  return option_add_device(p, model, option_string(p, props, strlen(props)));
}

int option_nic(struct option_parser *p, const char *arg) {
  struct options *o = p->o;
  const char *model = NULL, *mac = NULL;
  o->net_given = true;
  if (!strcmp(arg, "none"))
    return 0;
  if (parse_netdev(p, "nic", arg, &model, &mac) < 0)
    return -1;
  return add_card(p, "nic", model, mac, o->netdev[o->netdev_count - 1].id);
}

/* -net nic and -net BACKEND, of old, meet on one cable. */
int option_net(struct option_parser *p, const char *arg) {
  struct options *o = p->o;
  const char *key, *value, *list = arg;
  o->net_given = true;
  if (!strcmp(arg, "none"))
    return 0;
  if (strcmp(arg, "nic") && strncmp(arg, "nic,", 4)) {
    if (o->old_netdev)
      return option_error(p, "-net: two networks on one old-style cable; use -nic for each of them");
    if (parse_netdev(p, "net", arg, NULL, NULL) < 0)
      return -1;
    o->old_netdev = o->netdev[o->netdev_count - 1].id;
    return 0;
  }
  if (o->old_card)
    return option_error(p, "-net nic: two cards on one old-style cable; use -nic for each of them");
  const char *model = NULL, *mac = NULL, *netdev = NULL;
  option_next(p, &list, &key, &value);
  while (option_next(p, &list, &key, &value)) {
    if (!value)
      return option_error(p, "-net nic: '%s' is not understood", key);
    if (!strcmp(key, "model"))
      model = value;
    else if (!strcmp(key, "macaddr") || !strcmp(key, "mac"))
      mac = value;
    else if (!strcmp(key, "netdev"))
      netdev = value;
    else if (strcmp(key, "name") && strcmp(key, "addr") && strcmp(key, "vectors"))
      return option_error(p, "-net nic: '%s' is not understood; use model=, macaddr= and netdev=", key);
  }
  if (add_card(p, "net nic", model, mac, netdev) < 0)
    return -1;
  if (!netdev)
    o->old_card = o->device_count;
  return 0;
}

/* -object filter-dump,id=I,netdev=N,file=F */
int option_object(struct option_parser *p, const char *arg) {
  struct options *o = p->o;
  const char *key, *value, *list = arg, *netdev = NULL, *file = NULL;
  if (!option_next(p, &list, &key, &value) || value || strcmp(key, "filter-dump"))
    return option_error(
        p, "-object %s: only filter-dump,id=ID,netdev=ID,file=FILE is supported; leave it out", arg);
  while (option_next(p, &list, &key, &value)) {
    if (value && !strcmp(key, "netdev"))
      netdev = value;
    else if (value && !strcmp(key, "file"))
      file = value;
    else if (strcmp(key, "id") && strcmp(key, "maxlen"))
      return option_error(p, "-object filter-dump: '%s' is not understood; use id=, netdev= and file=", key);
  }
  if (!netdev || !file)
    return option_error(p, "-object filter-dump: netdev= and file= are wanted");
  if (o->filter_count == NETDEVS)
    return option_error(p, "-object filter-dump: %d at most", NETDEVS);
  o->filter[o->filter_count].netdev = netdev;
  o->filter[o->filter_count++].file = file;
  return 0;
}

/* --- when all options are known ------------------------------------------------------------------------- */

/* The value of a key among a device's properties (the last one), or NULL. */
static const char *device_prop(struct option_parser *p, const struct device_option *d, const char *key) {
  const char *list = d->props, *k, *value, *found = NULL;
  while (option_next(p, &list, &k, &value))
    if (value && !strcmp(k, key))
      found = value;
  return found;
}

static void append_prop(struct option_parser *p, struct device_option *d, const char *key,
                        const char *value) {
  char *text;
  int length =
      asprintf(&text, "%s%s%s=%s", d->props ? d->props : "", d->props && *d->props ? "," : "", key, value);
  if (length < 0)
    abort();
  d->props = option_string(p, text, (size_t)length);
  free(text);
}

/* The default card comes before all others, where QEMU has it. */
static int default_network(struct option_parser *p) {
  struct options *o = p->o;
  if (o->net_given || o->nodefaults || o->counted || !CONFIG_SLIRP || o->device_count == OPTIONS_DEVICES)
    return 0;
  for (unsigned i = 0; i < o->device_count; i++)
    if (is_card(o->device[i].driver))
      return 0;
  if (!is_card(DEFAULT_CARD))
    return 0;
  if (parse_netdev(p, "nic", "user", NULL, NULL) < 0 ||
      add_card(p, "nic", NULL, NULL, o->netdev[o->netdev_count - 1].id) < 0)
    return -1;
  struct device_option card = o->device[o->device_count - 1];
  memmove(o->device + 1, o->device, (o->device_count - 1) * sizeof o->device[0]);
  o->device[0] = card;
  o->default_card = true;
  return 0;
}

/* 52:54:00:12:34:56 and on, without those that were given. */
static int choose_mac(struct option_parser *p, struct device_option *d, const char **mac) {
  struct options *o = p->o;
  uint8_t bytes[6];
  *mac = device_prop(p, d, "mac");
  if (*mac && (!parse_mac(*mac, bytes) || (bytes[0] & 1)))
    return option_error(
        p, "-device %s: mac=%s: not the address of one card; write for example 52:54:00:12:34:56", d->driver,
        *mac);
  for (unsigned n = 0x56; !*mac; n++) {
    char text[18];
    snprintf(text, sizeof text, "52:54:00:12:34:%02x", n & 0xff);
    bool taken = false;
    for (unsigned i = 0; i < o->device_count; i++) {
      const char *other = is_card(o->device[i].driver) ? device_prop(p, &o->device[i], "mac") : NULL;
      taken |= other && !strcasecmp(other, text);
    }
    if (taken)
      continue;
    *mac = option_string(p, text, strlen(text));
    append_prop(p, d, "mac", *mac);
  }
  return 0;
}

static int connect_card(struct option_parser *p, unsigned i) {
  struct options *o = p->o;
  struct device_option *d = &o->device[i];
  const char *mac, *name = device_prop(p, d, "netdev");
  if (choose_mac(p, d, &mac) < 0)
    return -1;
  if (!name)
    return 0;
  struct netdev_options *n = netdev_find(o, name);
  if (!n)
    return option_error(p, "-device %s: there is no -netdev with id=%s", d->driver, name);
  if (n->card)
    return option_error(p, "-device %s: netdev %s has a card already (%s); give each card its own", d->driver,
                        name, n->card);
  char id[64];
  const char *given = device_prop(p, d, "id");
  snprintf(id, sizeof id, "%s.%u", d->driver, i);
  n->card = given ? given : option_string(p, id, strlen(id));
  n->model = d->driver;
  n->mac = mac;
  d->netdev = (int)(n - o->netdev) + 1;
  return 0;
}

int option_check_net(struct option_parser *p) {
  struct options *o = p->o;
  if (o->old_card && o->old_netdev)
    append_prop(p, &o->device[o->old_card - 1], "netdev", o->old_netdev);
  else if (o->old_netdev && add_card(p, "net", NULL, NULL, o->old_netdev) < 0)
    return -1;
  if (default_network(p) < 0)
    return -1;
  for (unsigned i = 0; i < o->device_count; i++)
    if (is_card(o->device[i].driver) && connect_card(p, i) < 0)
      return -1;
  for (unsigned i = 0; i < o->filter_count; i++) {
    struct netdev_options *n = netdev_find(o, o->filter[i].netdev);
    if (!n)
      return option_error(p, "-object filter-dump: there is no -netdev with id=%s", o->filter[i].netdev);
    if (n->dump)
      return option_error(p, "-object filter-dump: netdev %s is dumped to %s already", n->id, n->dump);
    n->dump = o->filter[i].file;
  }
  return 0;
}

void options_default_card(struct options *o, const char *model) {
  struct option_parser p = {.o = o};
  char id[64];
  if (!o->default_card || !model || !is_card(model))
    return;
  struct netdev_options *n = &o->netdev[o->device[0].netdev - 1];
  int length = snprintf(id, sizeof id, "%s.0", model);
  o->device[0].driver = n->model = model;
  n->card = option_string(&p, id, (size_t)length);
}
