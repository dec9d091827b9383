/* SPDX-License-Identifier: MIT */
/*
 * Cables between emulators, compatible with QEMU's: listen= and connect= carry frames over TCP, each behind
 * its length in four bytes, most significant first; udp= and mcast= carry one frame in a datagram.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/log.h"
#include "frontends/net.h"

#define BUFFER 65536u
#define BURST 64

struct link {
  struct net_backend base;
  int fd; /* the connection, or the datagram socket; -1: nobody is there */
  int listen_fd;
  struct watch *watch, *listener;
  bool datagrams;
  struct sockaddr_in peer; /* of datagrams */
  int send_fd;             /* mcast: sends, so that its address tells our own frames when they come back */
  struct sockaddr_in self;
  size_t in_used, out_used;
  uint8_t in[BUFFER], out[BUFFER];
};

static int fail(char *error, size_t size, const struct netdev_options *o, const char *what, const char *why) {
  snprintf(error, size, "-%s socket: cannot use %s: %s", o->by, what, why);
  return -1;
}

/* "[HOST]:PORT". */
static bool resolve(const char *text, bool passive, struct sockaddr_in *out) {
  char host[256];
  if ((size_t)snprintf(host, sizeof host, "%s", text) >= sizeof host)
    return false;
  char *colon = strrchr(host, ':');
  if (!colon)
    return false;
  *colon = '\0';
  struct addrinfo hints = {.ai_family = AF_INET, .ai_socktype = SOCK_DGRAM, .ai_flags = AI_NUMERICSERV},
                  *list;
  hints.ai_flags |= passive ? AI_PASSIVE : 0;
  if (getaddrinfo(*host ? host : passive ? NULL : "127.0.0.1", colon + 1, &hints, &list))
    return false;
  memcpy(out, list->ai_addr, sizeof *out);
  freeaddrinfo(list);
  return true;
}

/* --- streams, under the machine lock ---------------------------------------------------------------------
 */

static void hang_up(struct link *l) {
  if (l->fd < 0)
    return;
  loop_remove(l->base.loop, l->watch);
  l->watch = NULL;
  close(l->fd);
  l->fd = -1;
  l->in_used = l->out_used = 0;
  if (l->listener)
    loop_set(l->base.loop, l->listener, POLLIN);
}

static void flush(struct link *l) {
  while (l->out_used) {
    ssize_t n = send(l->fd, l->out, l->out_used, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
      hang_up(l);
      return;
    }
    if (n <= 0)
      break;
    l->out_used -= (size_t)n;
    memmove(l->out, l->out + n, l->out_used);
  }
  loop_set(l->base.loop, l->watch, l->out_used ? POLLIN | POLLOUT : POLLIN);
}

/* Pass on the whole frames of the input. False: the other side sends nonsense. */
static bool take_frames(struct link *l) {
  size_t at = 0;
  while (l->in_used - at >= 4) {
    const uint8_t *p = l->in + at;
    size_t len = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    if (len == 0 || len > BUFFER - 4)
      return false;
    if (l->in_used - at - 4 < len)
      break;
    if (len <= NET_FRAME_MAX)
      net_send(l->base.cable, NET_HOST, p + 4, len);
    at += 4 + len;
  }
  l->in_used -= at;
  memmove(l->in, l->in + at, l->in_used);
  return true;
}

static void stream_ready(void *opaque, short revents) {
  struct link *l = opaque;
  machine_lock(l->base.machine);
  if (l->fd >= 0 && (revents & POLLOUT)) {
    flush(l);
    net_ready(l->base.cable, NET_HOST);
  }
  if (l->fd >= 0 && (revents & (POLLIN | POLLHUP | POLLERR))) {
    ssize_t n = recv(l->fd, l->in + l->in_used, BUFFER - l->in_used, MSG_DONTWAIT);
    if (n > 0)
      l->in_used += (size_t)n;
    bool gone = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (gone || !take_frames(l))
      hang_up(l);
  }
  machine_unlock(l->base.machine);
}

static void connected(struct link *l, int fd) {
  int one = 1;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  l->fd = fd;
  l->watch = loop_add(l->base.loop, fd, POLLIN, stream_ready, l);
  if (l->listener)
    loop_set(l->base.loop, l->listener, 0);
}

static void on_client(void *opaque, short revents) {
  struct link *l = opaque;
  (void)revents;
  int fd = accept4(l->listen_fd, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0)
    return;
  machine_lock(l->base.machine);
  connected(l, fd);
  machine_unlock(l->base.machine);
}

/* --- datagrams -------------------------------------------------------------------------------------------
 */

static void datagram_ready(void *opaque, short revents) {
  struct link *l = opaque;
  (void)revents;
  uint8_t frame[2048];
  machine_lock(l->base.machine);
  for (int i = 0; i < BURST; i++) {
    struct sockaddr_in from = {0};
    socklen_t from_len = sizeof from;
    ssize_t n = recvfrom(l->fd, frame, sizeof frame, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);
    if (n < 0)
      break;
    bool own = from.sin_port == l->self.sin_port && from.sin_addr.s_addr == l->self.sin_addr.s_addr;
    if (n > 0 && (size_t)n <= NET_FRAME_MAX && !own)
      net_send(l->base.cable, NET_HOST, frame, (size_t)n);
  }
  machine_unlock(l->base.machine);
}

/* --- the cable's end --------------------------------------------------------------------------------------
 */

static bool ready(void *opaque) {
  struct link *l = opaque;
  return l->datagrams || l->fd < 0 || BUFFER - l->out_used >= NET_FRAME_MAX + 4;
}

static void receive(void *opaque, const uint8_t *frame, size_t len) {
  struct link *l = opaque;
  if (l->fd < 0)
    return;
  if (l->datagrams) {
    int fd = l->send_fd >= 0 ? l->send_fd : l->fd;
    sendto(fd, frame, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&l->peer, sizeof l->peer);
    return;
  }
  if (BUFFER - l->out_used < len + 4)
    return;
  const uint8_t header[4] = {0, 0, (uint8_t)(len >> 8), (uint8_t)len};
  memcpy(l->out + l->out_used, header, 4);
  memcpy(l->out + l->out_used + 4, frame, len);
  l->out_used += len + 4;
  flush(l);
}

static void describe(struct net_backend *b, FILE *out) {
  const struct netdev_options *o = b->options;
  fprintf(out, "%s=%s%s",
          o->listen    ? "listen"
          : o->connect ? "connect"
          : o->mcast   ? "mcast"
                       : "udp",
          o->listen    ? o->listen
          : o->connect ? o->connect
          : o->mcast   ? o->mcast
                       : o->udp,
          ((struct link *)b)->fd < 0 ? " (nobody connected)" : "");
}

static void destroy(struct net_backend *b) {
  struct link *l = (struct link *)b;
  loop_remove(b->loop, l->watch);
  loop_remove(b->loop, l->listener);
  if (l->fd >= 0)
    close(l->fd);
  if (l->listen_fd >= 0)
    close(l->listen_fd);
  if (l->send_fd >= 0)
    close(l->send_fd);
  free(l);
}

/* --- opening ----------------------------------------------------------------------------------------------
 */

static int open_stream(struct link *l, char *error, size_t size) {
  const struct netdev_options *o = l->base.options;
  const char *text = o->listen ? o->listen : o->connect;
  struct sockaddr_in address;
  int one = 1;
  if (!resolve(text, o->listen != NULL, &address))
    return fail(error, size, o, text, "not [HOST]:PORT, or the host is unknown");
  if (o->listen && *text == ':')
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* 0.0.0.0 opens it to the network */
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return fail(error, size, o, text, strerror(errno));
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  int r = o->listen ? bind(fd, (struct sockaddr *)&address, sizeof address)
                    : connect(fd, (struct sockaddr *)&address, sizeof address);
  if (r == 0 && o->listen)
    r = listen(fd, 1);
  if (r < 0) {
    fail(error, size, o, text, strerror(errno));
    close(fd);
    return -1;
  }
  if (!o->listen) {
    connected(l, fd);
    return 0;
  }
  fcntl(fd, F_SETFL, O_NONBLOCK);
  l->listen_fd = fd;
  l->listener = loop_add(l->base.loop, fd, POLLIN, on_client, l);
  return 0;
}

/* Receive what is sent to the group, and send from a socket of its own. */
static int join_group(struct link *l, const struct netdev_options *o) {
  struct ip_mreq request = {.imr_multiaddr = l->peer.sin_addr};
  socklen_t len = sizeof l->self;
  struct in_addr local = {htonl(INADDR_ANY)};
  unsigned char loop = 1;
  if (o->local && inet_pton(AF_INET, o->local, &local) != 1) {
    errno = EINVAL;
    return -1;
  }
  request.imr_interface = local;
  l->send_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (l->send_fd < 0 ||
      (o->local && setsockopt(l->send_fd, IPPROTO_IP, IP_MULTICAST_IF, &local, sizeof local) < 0) ||
      setsockopt(l->send_fd, IPPROTO_IP, IP_MULTICAST_LOOP, &loop, sizeof loop) < 0 ||
      connect(l->send_fd, (struct sockaddr *)&l->peer, sizeof l->peer) < 0 ||
      getsockname(l->send_fd, (struct sockaddr *)&l->self, &len) < 0)
    return -1;
  return setsockopt(l->fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
}

static int open_datagrams(struct link *l, char *error, size_t size) {
  const struct netdev_options *o = l->base.options;
  const char *text = o->mcast ? o->mcast : o->udp;
  struct sockaddr_in bound;
  int one = 1;
  if (!resolve(text, false, &l->peer))
    return fail(error, size, o, text, "not HOST:PORT, or the host is unknown");
  if (o->mcast && !IN_MULTICAST(ntohl(l->peer.sin_addr.s_addr)))
    return fail(error, size, o, text, "not a multicast address (224.0.0.0 to 239.255.255.255)");
  bound = l->peer;
  if (o->udp && !resolve(o->local, true, &bound))
    return fail(error, size, o, o->local, "not [HOST]:PORT, or the host is unknown");
  l->datagrams = true;
  l->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (l->fd >= 0)
    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (l->fd < 0 || bind(l->fd, (struct sockaddr *)&bound, sizeof bound) < 0 ||
      (o->mcast && join_group(l, o) < 0)) {
    fail(error, size, o, text, strerror(errno));
    if (l->fd >= 0)
      close(l->fd);
    if (l->send_fd >= 0)
      close(l->send_fd);
    return -1;
  }
  l->watch = loop_add(l->base.loop, l->fd, POLLIN, datagram_ready, l);
  return 0;
}

struct net_backend *net_open_socket(const struct net_backend *common, char *error, size_t size) {
  const struct netdev_options *o = common->options;
  struct link *l = net_backend_new(common, sizeof *l, error, size);
  if (!l)
    return NULL;
  l->fd = l->listen_fd = l->send_fd = -1;
  l->base.describe = describe;
  l->base.destroy = destroy;
  int r = o->listen || o->connect ? open_stream(l, error, size) : open_datagrams(l, error, size);
  if (r < 0) {
    free(l);
    return NULL;
  }
  net_attach(l->base.cable, NET_HOST, &(struct net_end){.receive = receive, .ready = ready, .opaque = l});
  return &l->base;
}
