/* SPDX-License-Identifier: MIT */
/* The Ethernet cable: two queues of frames, one for each direction, and the timer that empties them. */
#include "core/net.h"

#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/state.h"

struct queued {
  uint16_t len;
  uint8_t data[NET_FRAME_MAX];
};

struct direction { /* frames towards one end */
  struct net_end end;
  bool attached;
  unsigned refusals; /* how often in a row the receiver was asked and was not ready */
  int64_t asked;     /* when that was counted last */
  unsigned first, count;
  struct queued frame[NET_QUEUE];
};

struct net_cable {
  struct clock *clock;
  char *name;
  bool link;
  uint64_t dropped;
  struct timer timer;
  struct {
    void (*seen)(void *opaque, int64_t ns, const uint8_t *frame, size_t len);
    void *opaque;
  } tap[NET_TAPS];
  unsigned taps;
  struct direction to[2]; /* by the side that receives */
  struct state_part part;
  char part_name[100];
  bool (*gate)(void *opaque, const uint8_t *frame, size_t len);
  void *gate_opaque;
  bool muted;
};

static bool is_ready(const struct direction *d) { return !d->end.ready || d->end.ready(d->end.opaque); }

/*
 * May the first frame be handed over now? Patience is counted in questions, not in time, because the host may
 * not run the guest at all for a while.
 */
static bool may_deliver(const struct net_cable *c, struct direction *d, int64_t now, bool *forced) {
  *forced = false;
  if ((c->gate && d == &c->to[NET_HOST]) || is_ready(d)) {
    d->refusals = 0;
    return true;
  }
  if (d->refusals == 0 || now - d->asked >= NET_POLL_NS) {
    d->asked = now;
    d->refusals++;
  } else {
    return false;
  }
  *forced = d->refusals > NET_PATIENCE;
  return *forced;
}

/* Deliver what was there at the beginning. True if frames are left that wait for the receiver. */
static bool deliver(struct net_cable *c, struct direction *d) {
  int64_t now = clock_now(c->clock);
  bool forced = false;
  for (unsigned left = d->count; left && d->count && !forced; left--) {
    if (d->attached && !may_deliver(c, d, now, &forced))
      break;
    /* The slot is given back afterwards, so that an answer cannot overwrite it. */
    const struct queued *q = &d->frame[d->first];
    if (d->attached && !(c->muted && d == &c->to[NET_HOST]))
      d->end.receive(d->end.opaque, q->data, q->len);
    if (d->count) { /* unless the cable was pulled meanwhile */
      d->first = (d->first + 1) % NET_QUEUE;
      d->count--;
    }
  }
  return d->count != 0;
}

static void deliver_all(void *opaque) {
  struct net_cable *c = opaque;
  bool card = deliver(c, &c->to[NET_CARD]), host = deliver(c, &c->to[NET_HOST]);
  /* Deliveries may have armed the timer for answers. */
  if ((card || host || c->to[NET_CARD].count) && !c->timer.armed)
    timer_arm(&c->timer, clock_now(c->clock) + NET_POLL_NS);
}

struct net_cable *net_cable_new(struct clock *clock, const char *name) {
  struct net_cable *c = calloc(1, sizeof *c);
  if (!c)
    return NULL;
  c->name = strdup(name);
  if (!c->name) {
    free(c);
    return NULL;
  }
  c->clock = clock;
  c->link = true;
  timer_init(&c->timer, clock, "net", deliver_all, c);
  return c;
}

void net_cable_free(struct net_cable *c) {
  if (!c)
    return;
  timer_cancel(&c->timer);
  free(c->name);
  free(c);
}

const char *net_cable_name(const struct net_cable *c) { return c->name; }

void net_attach(struct net_cable *c, enum net_side side, const struct net_end *end) {
  struct direction *d = &c->to[side];
  d->attached = end != NULL;
  d->end = end ? *end : (struct net_end){0};
  d->refusals = 0;
  d->count = 0;
}

void net_send(struct net_cable *c, enum net_side from, const uint8_t *frame, size_t len) {
  DGM_ASSERT(len >= 1 && len <= NET_FRAME_MAX);
  struct direction *d = &c->to[from == NET_CARD ? NET_HOST : NET_CARD];
  if (from == NET_HOST && c->gate && !c->gate(c->gate_opaque, frame, len))
    return;
  if (!c->link || d->count == NET_QUEUE) {
    c->dropped++;
    return;
  }
  int64_t now = clock_now(c->clock);
  for (unsigned i = 0; i < c->taps; i++)
    c->tap[i].seen(c->tap[i].opaque, now, frame, len);
  if (!d->attached)
    return;
  struct queued *q = &d->frame[(d->first + d->count++) % NET_QUEUE];
  q->len = (uint16_t)len;
  memcpy(q->data, frame, len);
  if (from == NET_HOST && len < NET_FRAME_MIN) {
    memset(q->data + len, 0, NET_FRAME_MIN - len);
    q->len = NET_FRAME_MIN;
  }
  /* A receiver that was found not ready is asked when the timer that runs already says so. */
  if (!d->refusals || !c->timer.armed)
    net_ready(c, from == NET_CARD ? NET_HOST : NET_CARD);
}

void net_ready(struct net_cable *c, enum net_side side) {
  int64_t now = clock_now(c->clock);
  if (c->to[side].count && !(c->timer.armed && c->timer.deadline <= now))
    timer_arm(&c->timer, now);
}

void net_set_link(struct net_cable *c, bool up) {
  if (c->link == up)
    return;
  c->link = up;
  for (int side = 0; side < 2; side++) {
    struct direction *d = &c->to[side];
    c->dropped += d->count;
    d->count = 0;
    if (d->attached && d->end.link)
      d->end.link(d->end.opaque, up);
  }
}

bool net_link(const struct net_cable *c) { return c->link; }
uint64_t net_dropped(const struct net_cable *c) { return c->dropped; }

void net_set_gate(struct net_cable *c, bool (*gate)(void *opaque, const uint8_t *frame, size_t len), bool muted,
                  void *opaque) {
  c->gate = gate;
  c->gate_opaque = opaque;
  c->muted = muted;
}

bool net_tap(struct net_cable *c, void (*seen)(void *, int64_t, const uint8_t *, size_t), void *opaque) {
  if (c->taps == NET_TAPS)
    return false;
  c->tap[c->taps].seen = seen;
  c->tap[c->taps++].opaque = opaque;
  return true;
}

/* --- snapshots ---------------------------------------------------------------------------------------- */

#define DIRECTION_FIELDS(n)                                                                                   \
  FIELD(U32, struct net_cable, to[n].refusals), FIELD(I64, struct net_cable, to[n].asked),                    \
      FIELD(U32, struct net_cable, to[n].first), FIELD(U32, struct net_cable, to[n].count),                   \
      FIELD_BUFFER(struct net_cable, to[n].frame)

static const struct field cable_fields[] = {
    FIELD(BOOL, struct net_cable, link), FIELD(U64, struct net_cable, dropped), FIELD(TIMER, struct net_cable, timer),
    DIRECTION_FIELDS(NET_CARD),          DIRECTION_FIELDS(NET_HOST),            FIELDS_END,
};

static const char *check_cable(const void *object) {
  const struct net_cable *c = object;
  for (int side = 0; side < 2; side++) {
    const struct direction *d = &c->to[side];
    if (d->first >= NET_QUEUE || d->count > NET_QUEUE)
      return "a queue that cannot be";
    for (unsigned i = 0; i < NET_QUEUE; i++)
      if (d->frame[i].len > NET_FRAME_MAX)
        return "a frame that is too long";
    for (unsigned i = 0; i < d->count; i++)
      if (d->frame[(d->first + i) % NET_QUEUE].len == 0)
        return "a frame without contents";
  }
  return NULL;
}

/* What was on its way to a host that is not there is lost. */
static void cable_loaded(void *object) {
  struct net_cable *c = object;
  for (int side = 0; side < 2; side++)
    if (!c->to[side].attached)
      c->to[side].count = 0;
}

struct state_part *net_part(struct net_cable *c) {
  snprintf(c->part_name, sizeof c->part_name, "net:%.80s", c->name);
  c->part = (struct state_part){c->part_name, c, cable_fields, check_cable, cable_loaded, false, NULL};
  return &c->part;
}
