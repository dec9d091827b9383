/* SPDX-License-Identifier: MIT */
/*
 * The user network: libslirp answers the guest as a router with DHCP, DNS, TFTP and NAT, and speaks to the
 * world through ordinary sockets, which the event loop polls. Its timers run on the machine's clock.
 *
 * The library is started when the guest sends its first frame (or at once if ports of the host are
 * forwarded), so that a machine that never uses the network does not pay for it.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <libslirp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "frontends/net.h"

struct user {
  struct net_backend base;
  Slirp *slirp;
  bool failed;
  struct loop_source source;
  bool in_loop;
  /* While the loop polls: */
  struct pollfd *fds;
  unsigned count, max;
};

struct user_timer {
  struct timer timer;
  struct user *user;
  SlirpTimerId id;
  void *opaque;
};

/* --- what libslirp asks for ---------------------------------------------------------------------------- */

static ssize_t send_packet(const void *buf, size_t len, void *opaque) {
  struct user *u = opaque;
  if (len && len <= NET_FRAME_MAX)
    net_send(u->base.cable, NET_HOST, buf, len);
  return (ssize_t)len;
}

static void guest_error(const char *msg, void *opaque) {
  (void)opaque;
  log_print(LOG_GUEST_ERRORS, "user network: %s\n", msg);
}

static int64_t clock_get_ns(void *opaque) { return clock_now(((struct user *)opaque)->base.machine->clock); }

static void timer_fired(void *opaque) {
  struct user_timer *t = opaque;
  slirp_handle_timer(t->user->slirp, t->id, t->opaque);
}

static void *timer_new(SlirpTimerId id, void *cb_opaque, void *opaque) {
  struct user *u = opaque;
  struct user_timer *t = calloc(1, sizeof *t);
  if (!t)
    abort();
  *t = (struct user_timer){.user = u, .id = id, .opaque = cb_opaque};
  timer_init(&t->timer, u->base.machine->clock, "user-net", timer_fired, t);
  return t;
}

static void timer_free(void *timer, void *opaque) {
  (void)opaque;
  timer_cancel(&((struct user_timer *)timer)->timer);
  free(timer);
}

static void timer_mod(void *timer, int64_t expire_ms, void *opaque) {
  (void)opaque;
  timer_arm(&((struct user_timer *)timer)->timer, expire_ms * 1000000);
}

static void poll_fd_ignored(int fd, void *opaque) { (void)fd, (void)opaque; }
static void notify(void *opaque) { loop_kick(((struct user *)opaque)->base.loop); }

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = poll_fd_ignored,
    .unregister_poll_fd = poll_fd_ignored,
    .notify = notify,
    .timer_new_opaque = timer_new,
};

/* --- polling, in the loop's thread --------------------------------------------------------------------- */

static int add_poll(int fd, int events, void *opaque) {
  struct user *u = opaque;
  if (u->count == u->max)
    return -1;
  short wanted = (short)((events & SLIRP_POLL_IN ? POLLIN : 0) | (events & SLIRP_POLL_OUT ? POLLOUT : 0) |
                         (events & SLIRP_POLL_PRI ? POLLPRI : 0));
  u->fds[u->count] = (struct pollfd){.fd = fd, .events = wanted};
  return (int)u->count++;
}

static int get_revents(int index, void *opaque) {
  struct user *u = opaque;
  if (index < 0 || (unsigned)index >= u->count)
    return 0;
  int r = u->fds[index].revents;
  return (r & POLLIN ? SLIRP_POLL_IN : 0) | (r & POLLOUT ? SLIRP_POLL_OUT : 0) |
         (r & POLLPRI ? SLIRP_POLL_PRI : 0) | (r & POLLERR ? SLIRP_POLL_ERR : 0) |
         (r & POLLHUP ? SLIRP_POLL_HUP : 0);
}

static unsigned prepare(void *opaque, struct pollfd *fds, unsigned max, int *timeout_ms) {
  struct user *u = opaque;
  uint32_t timeout = UINT32_MAX;
  u->fds = fds;
  u->max = max;
  u->count = 0;
  machine_lock(u->base.machine);
  slirp_pollfds_fill(u->slirp, &timeout, add_poll, u);
  machine_unlock(u->base.machine);
  if (timeout <= INT32_MAX && (*timeout_ms < 0 || (int)timeout < *timeout_ms))
    *timeout_ms = (int)timeout;
  return u->count;
}

static void dispatch(void *opaque, struct pollfd *fds, unsigned count) {
  struct user *u = opaque;
  u->fds = fds;
  u->count = count;
  machine_lock(u->base.machine);
  slirp_pollfds_poll(u->slirp, 0, get_revents, u);
  machine_unlock(u->base.machine);
}

/* --- starting, and frames of the guest ------------------------------------------------------------------ */

static bool start(struct user *u) {
  const struct netdev_options *o = u->base.options;
  SlirpConfig config = {
      .version = 4,
      .restricted = o->restricted,
      .in_enabled = o->ipv4,
      .vnetwork = o->net,
      .vnetmask = o->mask,
      .vhost = o->host,
      .in6_enabled = o->ipv6,
      .vprefix_len = 64,
      .vhostname = o->hostname,
      .tftp_server_name = o->tftp_server,
      .tftp_path = o->tftp,
      .bootfile = o->bootfile,
      .vdhcp_start = o->dhcp_start,
      .vnameserver = o->dns,
      .vdnssearch = o->search[0] ? (const char **)o->search : NULL,
      .vdomainname = o->domain,
  };
  inet_pton(AF_INET6, "fec0::", &config.vprefix_addr6);
  inet_pton(AF_INET6, "fec0::2", &config.vhost6);
  inet_pton(AF_INET6, "fec0::3", &config.vnameserver6);
  u->slirp = slirp_new(&config, &callbacks, u);
  if (!u->slirp) {
    error_report("-%s: libslirp could not start the user network", o->by);
    u->failed = true;
    return false;
  }
  loop_add_source(u->base.loop, &u->source);
  u->in_loop = true;
  return true;
}

static void receive(void *opaque, const uint8_t *frame, size_t len) {
  struct user *u = opaque;
  if (u->failed || (!u->slirp && !start(u)))
    return;
  slirp_input(u->slirp, frame, (int)len);
  loop_kick(u->base.loop); /* sockets and timeouts have changed */
}

/* --- the back end --------------------------------------------------------------------------------------- */

bool net_user_forward(struct net_backend *b, const struct net_forward *f, bool add) {
  struct user *u = (struct user *)b;
  if (u->failed || (!u->slirp && (!add || !start(u))))
    return false;
  int r = add ? slirp_add_hostfwd(u->slirp, f->udp, f->host, f->host_port, f->guest, f->guest_port)
              : slirp_remove_hostfwd(u->slirp, f->udp, f->host, f->host_port);
  loop_kick(b->loop);
  return r >= 0;
}

void net_user_info(struct net_backend *b, FILE *out) {
  struct user *u = (struct user *)b;
  char *text = u->slirp ? slirp_connection_info(u->slirp) : NULL;
  fprintf(out, "%s (%s):\n%s", b->options->card ? b->options->card : "no card", b->options->id,
          text ? text : "");
  free(text); /* g_free is free */
}

static void describe(struct net_backend *b, FILE *out) {
  char net[INET_ADDRSTRLEN];
  inet_ntop(AF_INET, &b->options->net, net, sizeof net);
  fprintf(out, "net=%s,restrict=%s", net, b->options->restricted ? "on" : "off");
}

static void destroy(struct net_backend *b) {
  struct user *u = (struct user *)b;
  if (u->in_loop)
    loop_remove_source(b->loop, &u->source);
  if (u->slirp)
    slirp_cleanup(u->slirp);
  free(u);
}

static int add_forwards(struct user *u, char *error, size_t size) {
  const struct netdev_options *o = u->base.options;
  for (unsigned i = 0; i < o->forwards; i++)
    if (!net_user_forward(&u->base, &o->forward[i], true)) {
      snprintf(error, size, "-%s: cannot forward the host's %s port %u: it is in use, or forbidden", o->by,
               o->forward[i].udp ? "UDP" : "TCP", o->forward[i].host_port);
      return -1;
    }
  for (unsigned i = 0; i < o->guest_forwards; i++) {
    struct in_addr server = o->guest_forward[i].server;
    if ((!u->slirp && !start(u)) ||
        slirp_add_exec(u->slirp, o->guest_forward[i].command, &server, o->guest_forward[i].port) < 0) {
      snprintf(error, size,
               "-%s: guestfwd=: the server's address must be in the network, but not the host's or DNS's",
               o->by);
      return -1;
    }
  }
  return 0;
}

struct net_backend *net_open_user(const struct net_backend *common, char *error, size_t size) {
  struct user *u = net_backend_new(common, sizeof *u, error, size);
  if (!u)
    return NULL;
  u->source = (struct loop_source){.prepare = prepare, .dispatch = dispatch, .opaque = u};
  u->base.describe = describe;
  u->base.destroy = destroy;
  net_attach(u->base.cable, NET_HOST, &(struct net_end){.receive = receive, .opaque = u});
  if (add_forwards(u, error, size) < 0) {
    destroy(&u->base);
    return NULL;
  }
  return &u->base;
}
