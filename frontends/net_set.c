/* SPDX-License-Identifier: MIT */
/* The set of network back ends, their cables, and dumps of what passes (libpcap's file format, Ethernet). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/replay.h"
#include "frontends/net.h"

static const char *const kind_names[] = {"user", "socket", "tap"};

/* --- dumps -------------------------------------------------------------------------------------------- */

static void dump_frame(void *opaque, int64_t ns, const uint8_t *frame, size_t len) {
  FILE *f = opaque;
  uint32_t header[4] = {(uint32_t)(ns / NS_PER_SEC), (uint32_t)(ns % NS_PER_SEC / 1000), (uint32_t)len,
                        (uint32_t)len};
  fwrite(header, sizeof header, 1, f);
  fwrite(frame, len, 1, f);
  fflush(f);
}

static int open_dump(struct net_backend *b, char *error, size_t size) {
  const char *path = b->options->dump;
  static const struct {
    uint32_t magic;
    uint16_t major, minor;
    uint32_t zone, accuracy, snaplen, linktype;
  } header = {0xa1b2c3d4, 2, 4, 0, 0, 65536, 1};
  if (!path)
    return 0;
  b->dump = fopen(path, "wbe");
  if (!b->dump || fwrite(&header, sizeof header, 1, b->dump) != 1 || fflush(b->dump)) {
    snprintf(error, size, "-%s: cannot write the dump %s: %s", b->options->by, path, strerror(errno));
    return -1;
  }
  net_tap(b->cable, dump_frame, b->dump);
  return 0;
}

/* --- opening and closing ------------------------------------------------------------------------------- */

void *net_backend_new(const struct net_backend *common, size_t bytes, char *error, size_t size) {
  struct net_backend *b = calloc(1, bytes);
  if (!b)
    snprintf(error, size, "out of memory");
  else
    *b = *common;
  return b;
}

static void describe_nothing(struct net_backend *b, FILE *out) {
  (void)b;
  fprintf(out, "replayed");
}

static void destroy_nothing(struct net_backend *b) { free(b); }

/* In a replay the frames come from the recording, and what the guest sends reaches nobody. */
static struct net_backend *open_nothing(const struct net_backend *common, char *error, size_t size) {
  struct net_backend *b = net_backend_new(common, sizeof *b, error, size);
  if (!b)
    return NULL;
  b->describe = describe_nothing;
  b->destroy = destroy_nothing;
  return b;
}

static struct net_backend *open_kind(const struct net_backend *common, char *error, size_t size) {
  const struct replay *r = common->machine->replay;
  if (r && replay_is_playing(r))
    return open_nothing(common, error, size);
  switch (common->options->kind) {
  case NET_SOCKET: return net_open_socket(common, error, size);
  case NET_TAP: return net_open_tap(common, error, size);
  default: return net_open_user(common, error, size);
  }
}

int net_open(struct net_set *set, const struct netdev_options *o, unsigned count, struct machine *m,
             struct loop *loop, char *error, size_t size) {
  struct net_backend **link = &set->first;
  for (unsigned i = 0; i < count; i++) {
    struct net_backend common = {.options = &o[i], .machine = m, .loop = loop};
    common.cable = net_cable_new(m->clock, o[i].id);
    if (!common.cable) {
      snprintf(error, size, "out of memory");
      return -1;
    }
    struct net_backend *b = open_kind(&common, error, size);
    if (!b) {
      net_cable_free(common.cable);
      return -1;
    }
    *link = b;
    link = &b->next;
    if (open_dump(b, error, size) < 0)
      return -1;
  }
  return 0;
}

void net_close(struct net_set *set) {
  while (set->first) {
    struct net_backend *b = set->first;
    struct net_cable *cable = b->cable;
    FILE *dump = b->dump;
    set->first = b->next;
    net_attach(cable, NET_HOST, NULL);
    b->destroy(b);
    net_cable_free(cable);
    if (dump)
      fclose(dump);
  }
}

struct net_backend *net_find(struct net_set *set, const char *name, int kind) {
  for (struct net_backend *b = set->first; b; b = b->next) {
    const struct netdev_options *o = b->options;
    if (kind >= 0 && (int)o->kind != kind)
      continue;
    if (!name || !strcmp(o->id, name) || (o->card && !strcmp(o->card, name)))
      return b;
  }
  return NULL;
}

struct net_cable *net_cable_of(struct net_set *set, unsigned index) {
  struct net_backend *b = set->first;
  while (b && index--)
    b = b->next;
  return b ? b->cable : NULL;
}

void net_info(struct net_set *set, FILE *out) {
  for (struct net_backend *b = set->first; b; b = b->next) {
    const struct netdev_options *o = b->options;
    const char *indent = "";
    if (o->card) {
      fprintf(out, "%s: index=0,type=nic,model=%s,macaddr=%s%s\n", o->card, o->model, o->mac,
              net_link(b->cable) ? "" : ",link=off");
      indent = " \\ ";
    }
    fprintf(out, "%s%s: index=0,type=%s,", indent, o->id, kind_names[o->kind]);
    b->describe(b, out);
    fputc('\n', out);
  }
}
