/* SPDX-License-Identifier: MIT */
/* A tap interface of the Linux kernel (its Documentation/networking/tuntap.rst) at the host's end of the
 * cable. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/log.h"
#include "frontends/net.h"

#define BURST 64 /* frames taken between two looks at everything else */

extern char **environ;

struct tap {
  struct net_backend base;
  int fd;
  char ifname[IFNAMSIZ];
  struct watch *watch;
};

/* Run SCRIPT IFNAME and wait for it. */
static bool run_script(const char *script, const char *ifname) {
  char *const argv[] = {(char *)script, (char *)ifname, NULL};
  pid_t pid;
  int status;
  if (!script)
    return true;
  if (posix_spawn(&pid, script, NULL, NULL, argv, environ) || waitpid(pid, &status, 0) < 0)
    return false;
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void readable(void *opaque, short revents) {
  struct tap *t = opaque;
  (void)revents;
  uint8_t frame[2048];
  machine_lock(t->base.machine);
  for (int i = 0; i < BURST; i++) {
    ssize_t n = read(t->fd, frame, sizeof frame);
    if (n <= 0)
      break;
    if ((size_t)n <= NET_FRAME_MAX)
      net_send(t->base.cable, NET_HOST, frame, (size_t)n);
  }
  machine_unlock(t->base.machine);
}

/* A full interface queue drops frames, as a wire does. */
static void receive(void *opaque, const uint8_t *frame, size_t len) {
  struct tap *t = opaque;
  ssize_t n = write(t->fd, frame, len);
  (void)n;
}

static void describe(struct net_backend *b, FILE *out) {
  fprintf(out, "ifname=%s", ((struct tap *)b)->ifname);
}

static void destroy(struct net_backend *b) {
  struct tap *t = (struct tap *)b;
  loop_remove(b->loop, t->watch);
  if (!run_script(b->options->downscript, t->ifname))
    warn_report("-%s: downscript=%s failed", b->options->by, b->options->downscript);
  close(t->fd);
  free(t);
}

static int open_interface(struct tap *t, char *error, size_t size) {
  const struct netdev_options *o = t->base.options;
  struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
  if (o->fd >= 0) {
    t->fd = o->fd;
    snprintf(t->ifname, sizeof t->ifname, "fd%d", o->fd);
    if (fcntl(t->fd, F_GETFD) < 0) {
      snprintf(error, size, "-%s tap: fd=%d is no open descriptor", o->by, o->fd);
      return -1;
    }
    return 0;
  }
  if (strlen(o->ifname) >= IFNAMSIZ) {
    snprintf(error, size, "-%s tap: ifname=%s is too long", o->by, o->ifname);
    return -1;
  }
  snprintf(request.ifr_name, IFNAMSIZ, "%s", o->ifname);
  t->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
  if (t->fd < 0 || ioctl(t->fd, TUNSETIFF, &request) < 0) {
    int why = errno;
    snprintf(error, size, "-%s tap: cannot open the interface %s: %s%s", o->by, o->ifname, strerror(why),
             why == EPERM || why == EACCES ? "; make it first with 'ip tuntap add mode tap user $USER'" : "");
    if (t->fd >= 0)
      close(t->fd);
    return -1;
  }
  memcpy(t->ifname, request.ifr_name, IFNAMSIZ);
  return 0;
}

struct net_backend *net_open_tap(const struct net_backend *common, char *error, size_t size) {
  struct tap *t = net_backend_new(common, sizeof *t, error, size);
  if (!t)
    return NULL;
  if (open_interface(t, error, size) < 0) {
    free(t);
    return NULL;
  }
  fcntl(t->fd, F_SETFL, fcntl(t->fd, F_GETFL) | O_NONBLOCK);
  if (!run_script(common->options->script, t->ifname)) {
    snprintf(error, size, "-%s tap: script=%s failed", common->options->by, common->options->script);
    close(t->fd);
    free(t);
    return NULL;
  }
  t->base.describe = describe;
  t->base.destroy = destroy;
  t->watch = loop_add(common->loop, t->fd, POLLIN, readable, t);
  net_attach(t->base.cable, NET_HOST, &(struct net_end){.receive = receive, .opaque = t});
  return &t->base;
}
