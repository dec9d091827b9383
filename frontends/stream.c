/* SPDX-License-Identifier: MIT */
/*
 * Channels over file descriptors: see stream.h. A descriptor that is shared with the shell (stdout) is never
 * made non-blocking; it is asked by poll and fed small pieces instead.
 */
#include "frontends/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "core/log.h"

#define PENDING_MAX (64u << 20) /* beyond this, output is lost rather than memory */
#define PIECE 512u              /* a writable pipe or terminal takes this much without blocking */
#define CLOSE_WAIT_MS 500

static bool writable(int fd, int timeout_ms) {
  struct pollfd p = {.fd = fd, .events = POLLOUT};
  return poll(&p, 1, timeout_ms) > 0 && (p.revents & (POLLOUT | POLLERR | POLLHUP));
}

/* Write what the descriptor takes now; returns the bytes taken, or -errno. */
static ssize_t write_some(struct stream *s, const uint8_t *buf, size_t len) {
  size_t done = 0;
  while (done < len) {
    size_t piece = len - done;
    if (s->may_block) {
      if (!writable(s->out_fd, 0))
        break;
      piece = piece > PIECE ? PIECE : piece;
    }
    ssize_t n = write(s->out_fd, buf + done, piece);
    if (n >= 0)
      done += (size_t)n;
    else if (errno == EAGAIN || errno == EWOULDBLOCK)
      break;
    else if (errno != EINTR)
      return -errno;
  }
  return (ssize_t)done;
}

static size_t device_room(struct stream *s) {
  const struct chardev *dev = &s->c.dev;
  return dev->can_receive ? dev->can_receive(dev->receive_opaque) : 0;
}

static void update_events(struct stream *s) {
  if (s->in)
    loop_set(s->c.set->loop, s->in, !s->input_ended && device_room(s) ? POLLIN : 0);
  if (s->out)
    loop_set(s->c.set->loop, s->out, s->pending_used ? POLLOUT : 0);
}

static void output_failed(struct stream *s, int error) {
  if (s->listen_fd >= 0 || error == EPIPE || error == ECONNRESET || error == EIO) {
    s->pending_used = 0; /* nobody reads any more; the reading side notices the end */
    if (s->listen_fd < 0) {
      close(s->out_fd);
      s->out_fd = -1;
      loop_remove(s->c.set->loop, s->out);
      s->out = NULL;
    }
    return;
  }
  s->pending_used = 0;
  s->out_fd = -1;
  loop_remove(s->c.set->loop, s->out);
  s->out = NULL;
  channel_fail(&s->c, error);
}

static void keep_pending(struct stream *s, const uint8_t *buf, size_t len) {
  if (s->pending_used + len > PENDING_MAX)
    return;
  if (s->pending_used + len > s->pending_size) {
    size_t size = s->pending_size ? s->pending_size : 4096;
    while (size < s->pending_used + len)
      size *= 2;
    uint8_t *grown = realloc(s->pending, size);
    if (!grown)
      return;
    s->pending = grown;
    s->pending_size = size;
  }
  memcpy(s->pending + s->pending_used, buf, len);
  s->pending_used += len;
}

static size_t stream_write(struct chardev *dev, const uint8_t *buf, size_t len) {
  struct stream *s = (struct stream *)dev;
  if (s->out_fd < 0)
    return len; /* nobody there: as an unplugged cable */
  ssize_t n = 0;
  if (!s->pending_used)
    n = write_some(s, buf, len);
  if (n < 0) {
    output_failed(s, (int)-n);
    return len;
  }
  if ((size_t)n < len) {
    keep_pending(s, buf + n, len - (size_t)n);
    update_events(s);
  }
  return len;
}

static void stream_device_ready(struct chardev *dev) { update_events((struct stream *)dev); }

static void on_writable(void *opaque, short revents) {
  struct stream *s = opaque;
  (void)revents;
  machine_lock(s->c.set->machine);
  if (s->out_fd >= 0 && s->pending_used) {
    ssize_t n = write_some(s, s->pending, s->pending_used);
    if (n < 0) {
      output_failed(s, (int)-n);
    } else {
      s->pending_used -= (size_t)n;
      memmove(s->pending, s->pending + n, s->pending_used);
    }
  }
  update_events(s);
  machine_unlock(s->c.set->machine);
}

static void input_ended(struct stream *s) {
  if (s->listen_fd >= 0)
    stream_disconnect(s);
  else
    s->input_ended = true;
}

static void on_readable(void *opaque, short revents) {
  struct stream *s = opaque;
  uint8_t buf[4096];
  (void)revents;
  machine_lock(s->c.set->machine);
  size_t room = s->in_fd >= 0 ? device_room(s) : 0;
  if (room) {
    ssize_t n = read(s->in_fd, buf, room < sizeof buf ? room : sizeof buf);
    if (n > 0)
      s->c.dev.receive(s->c.dev.receive_opaque, buf, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
      input_ended(s);
  }
  update_events(s);
  machine_unlock(s->c.set->machine);
}

void stream_connect(struct stream *s, int in_fd, int out_fd) {
  struct loop *loop = s->c.set->loop;
  s->in_fd = in_fd;
  s->out_fd = out_fd;
  s->input_ended = false;
  s->pending_used = 0;
  if (!s->started)
    return;
  s->in = loop_add(loop, in_fd, 0, on_readable, s);
  s->out = loop_add(loop, out_fd, 0, on_writable, s);
  update_events(s);
  if (s->c.opened)
    s->c.opened(s->c.opened_opaque);
}

void stream_disconnect(struct stream *s) {
  struct loop *loop = s->c.set->loop;
  loop_remove(loop, s->in);
  loop_remove(loop, s->out);
  s->in = s->out = NULL;
  if (s->out_fd >= 0 && s->out_fd != s->in_fd)
    close(s->out_fd);
  if (s->in_fd >= 0)
    close(s->in_fd);
  s->in_fd = s->out_fd = -1;
  s->pending_used = 0;
  if (s->listener)
    loop_set(loop, s->listener, POLLIN);
}

int stream_start(struct channel *c, char *error, size_t size) {
  struct stream *s = (struct stream *)c;
  (void)error;
  (void)size;
  s->started = true;
  if (s->in_fd >= 0)
    stream_connect(s, s->in_fd, s->out_fd);
  return 0;
}

/* Give the last output a moment to leave. */
static void drain(struct stream *s) {
  size_t done = 0;
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  while (s->out_fd >= 0 && done < s->pending_used && writable(s->out_fd, CLOSE_WAIT_MS)) {
    ssize_t n = write_some(s, s->pending + done, s->pending_used - done);
    clock_gettime(CLOCK_MONOTONIC, &now);
    if (n <= 0 || now.tv_sec - start.tv_sec > 1)
      break;
    done += (size_t)n;
  }
}

static void stream_destroy(struct channel *c) {
  struct stream *s = (struct stream *)c;
  drain(s);
  if (s->terminal)
    terminal_restore();
  loop_remove(c->set->loop, s->in);
  loop_remove(c->set->loop, s->out);
  loop_remove(c->set->loop, s->listener);
  if (s->in_fd > STDERR_FILENO)
    close(s->in_fd);
  if (s->out_fd > STDERR_FILENO && s->out_fd != s->in_fd)
    close(s->out_fd);
  if (s->listen_fd >= 0)
    close(s->listen_fd);
  if (s->unlink_path)
    unlink(s->unlink_path);
  free(s->unlink_path);
  free(s->pending);
  free(s);
}

struct stream *stream_new(struct channel_set *set, const char *label) {
  struct stream *s = calloc(1, sizeof *s);
  if (!s)
    return NULL;
  s->in_fd = s->out_fd = s->listen_fd = -1;
  s->c.dev.write = stream_write;
  s->c.dev.device_ready = stream_device_ready;
  s->c.start = stream_start;
  s->c.destroy = stream_destroy;
  channel_add(set, &s->c, label);
  return s;
}

static int stdio_start(struct channel *c, char *error, size_t size) {
  struct stream *s = (struct stream *)c;
  terminal_raw(STDIN_FILENO, !s->wait);
  return stream_start(c, error, size);
}

int channel_open_stdio(struct channel_set *set, const char *label, bool keep_signals, struct channel **out,
                       char *error, size_t size) {
  struct stream *s = stream_new(set, label);
  if (!s) {
    snprintf(error, size, "out of memory");
    return -1;
  }
  s->in_fd = STDIN_FILENO;
  s->out_fd = STDOUT_FILENO;
  s->may_block = true;
  s->terminal = true;
  s->wait = !keep_signals;
  s->c.start = stdio_start;
  snprintf(s->c.description, sizeof s->c.description, "stdio");
  *out = &s->c;
  return 0;
}

int channel_open_pty(struct channel_set *set, const char *label, struct channel **out, char *error,
                     size_t size) {
  struct termios t;
  struct stream *s = stream_new(set, label);
  int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  const char *name = NULL;
  if (master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0)
    name = ptsname(master);
  /* Our own descriptor of the far side keeps the line up while nobody has it open; it is never read. */
  int slave = name ? open(name, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
  if (!s || slave < 0) {
    snprintf(error, size, "%s: cannot make a pty: %s", label, strerror(errno));
    if (master >= 0)
      close(master);
    return -1;
  }
  if (tcgetattr(slave, &t) == 0) {
    cfmakeraw(&t);
    tcsetattr(slave, TCSANOW, &t);
  }
  s->in_fd = s->out_fd = master;
  snprintf(s->c.description, sizeof s->c.description, "pty:%s", name);
  fprintf(stderr, "dragoman: %s is %s\n", label, name);
  *out = &s->c;
  return 0;
}
