/* SPDX-License-Identifier: MIT */
/*
 * Channels over sockets: unix:PATH and tcp:HOST:PORT, as client or with ",server" as server for one client at
 * a time. A server without a host listens on the loopback address only; 0.0.0.0 opens it to the network.
 */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/log.h"
#include "frontends/stream.h"

struct socket_spec {
  char address[256]; /* path, or HOST:PORT */
  bool is_unix, server, wait;
};

static bool has_flag(const char *flags, const char *word) {
  size_t n = strlen(word);
  for (const char *f = flags; (f = strstr(f, word)); f += n)
    if (f[-1] == ',' && (f[n] == '\0' || f[n] == ','))
      return true;
  return false;
}

static int parse_spec(const char *spec, struct socket_spec *out, char *error, size_t size) {
  out->is_unix = !strncmp(spec, "unix:", 5);
  const char *address = spec + (out->is_unix ? 5 : 4);
  size_t n = strcspn(address, ",");
  if (n >= sizeof out->address || (out->is_unix && n >= sizeof((struct sockaddr_un *)0)->sun_path)) {
    snprintf(error, size, "%s: the address is too long", spec);
    return -1;
  }
  memcpy(out->address, address, n);
  out->address[n] = '\0';
  const char *flags = address + n;
  out->server = has_flag(flags, "server") || has_flag(flags, "server=on");
  out->wait = out->server && !has_flag(flags, "nowait") && !has_flag(flags, "wait=off");
  return 0;
}

static int fail(char *error, size_t size, const char *what, const char *address, const char *why) {
  snprintf(error, size, "cannot %s %s: %s", what, address, why);
  return -1;
}

static int unix_socket(const struct socket_spec *spec, char *error, size_t size) {
  struct sockaddr_un sa = {.sun_family = AF_UNIX};
  memcpy(sa.sun_path, spec->address, strlen(spec->address));
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return fail(error, size, "make a socket for", spec->address, strerror(errno));
  bool connected = connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
  if (!spec->server) {
    if (connected)
      return fd;
    fail(error, size, "connect to", spec->address, strerror(errno));
    close(fd);
    return -1;
  }
  close(fd);
  if (connected)
    return fail(error, size, "listen on", spec->address,
                "another program is serving it; choose another path");
  struct stat st;
  if (lstat(spec->address, &st) == 0) {
    if (!S_ISSOCK(st.st_mode))
      return fail(error, size, "listen on", spec->address, "it exists and is no socket; choose another path");
    unlink(spec->address); /* left over from a run that died */
  }
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0 || listen(fd, 1) < 0) {
    fail(error, size, "listen on", spec->address, strerror(errno));
    if (fd >= 0)
      close(fd);
    return -1;
  }
  return fd;
}

static int tcp_socket(const struct socket_spec *spec, char *error, size_t size) {
  char host[256];
  snprintf(host, sizeof host, "%s", spec->address);
  char *colon = strrchr(host, ':');
  *colon = '\0';
  struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
  hints.ai_flags = AI_NUMERICSERV | (spec->server ? AI_PASSIVE : 0);
  int r = getaddrinfo(*host ? host : "localhost", colon + 1, &hints, &list);
  if (r)
    return fail(error, size, "find the host of", spec->address, gai_strerror(r));
  int fd = -1, one = 1;
  for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
    fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0)
      continue;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool ok = spec->server ? bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, 1) == 0
                           : connect(fd, a->ai_addr, a->ai_addrlen) == 0;
    if (!ok) {
      int why = errno;
      close(fd);
      fd = -1;
      errno = why;
    }
  }
  if (fd < 0)
    fail(error, size, spec->server ? "listen on" : "connect to", spec->address, strerror(errno));
  freeaddrinfo(list);
  return fd;
}

static void connected(struct stream *s, int fd) {
  int one = 1;
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails harmlessly on unix sockets */
  if (s->listener)
    loop_set(s->c.set->loop, s->listener, 0);
  stream_connect(s, fd, fd);
}

static void on_client(void *opaque, short revents) {
  struct stream *s = opaque;
  (void)revents;
  int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
  if (fd < 0)
    return;
  machine_lock(s->c.set->machine);
  connected(s, fd);
  machine_unlock(s->c.set->machine);
}

static int server_start(struct channel *c, char *error, size_t size) {
  struct stream *s = (struct stream *)c;
  s->started = true;
  int fd = -1;
  if (s->wait) {
    fprintf(stderr, "dragoman: waiting for a connection on %s (%s)\n", c->description, c->dev.label);
    struct pollfd p = {.fd = s->listen_fd, .events = POLLIN};
    while (fd < 0) {
      if (poll(&p, 1, -1) < 0)
        return fail(error, size, "wait for a connection on", c->description, strerror(errno));
      fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    }
  }
  fcntl(s->listen_fd, F_SETFL, O_NONBLOCK);
  s->listener = loop_add(c->set->loop, s->listen_fd, POLLIN, on_client, s);
  if (fd >= 0)
    connected(s, fd);
  return 0;
}

int channel_open_socket(struct channel_set *set, const char *label, const char *text, struct channel **out,
                        char *error, size_t size) {
  struct socket_spec spec;
  if (parse_spec(text, &spec, error, size) < 0)
    return -1;
  int fd = spec.is_unix ? unix_socket(&spec, error, size) : tcp_socket(&spec, error, size);
  if (fd < 0)
    return -1;
  struct stream *s = stream_new(set, label);
  if (!s) {
    close(fd);
    snprintf(error, size, "out of memory");
    return -1;
  }
  snprintf(s->c.description, sizeof s->c.description, "%.150s", text);
  if (spec.server) {
    s->listen_fd = fd;
    s->wait = spec.wait;
    s->unlink_path = spec.is_unix ? strdup(spec.address) : NULL;
    s->c.start = server_start;
  } else {
    connected(s, fd);
  }
  *out = &s->c;
  return 0;
}
