/* SPDX-License-Identifier: MIT */
/*
 * An Ethernet cable between a network card and a back end of the host (user network, socket, tap). Frames are
 * without preamble and FCS, 1 to NET_FRAME_MAX bytes; a card pads what it sends to NET_FRAME_MIN bytes if its
 * chip does; what the host sends is padded here.
 *
 * net_send never calls the other end: frames wait in a queue, and a timer that is due at once delivers them
 * while the receiver says it is ready. A full queue drops the frame, as a wire does. A receiver that is not
 * ready is asked again every NET_POLL_NS; after NET_PATIENCE times it gets a frame all the same at each of
 * these times, which it then loses and says so to its driver, as on a wire. Callers hold the machine lock.
 */
#ifndef CORE_NET_H
#define CORE_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/clock.h"

#define NET_FRAME_MIN 60u
#define NET_FRAME_MAX 1518u
#define NET_QUEUE 256u /* frames per direction */
#define NET_POLL_NS 500000
#define NET_PATIENCE 40u
#define NET_TAPS 4

enum net_side { NET_CARD, NET_HOST };

struct net_cable;

struct net_end {
  void (*receive)(void *opaque, const uint8_t *frame, size_t len);
  bool (*ready)(void *opaque);         /* takes a frame now; NULL: always */
  void (*link)(void *opaque, bool up); /* the cable was plugged in or pulled; NULL allowed */
  void *opaque;
};

struct net_cable *net_cable_new(struct clock *clock, const char *name); /* NULL when out of memory */
void net_cable_free(struct net_cable *c);
const char *net_cable_name(const struct net_cable *c);
/* Put an end on; a side without one drops what is sent to it. */
void net_attach(struct net_cable *c, enum net_side side, const struct net_end *end);
void net_send(struct net_cable *c, enum net_side from, const uint8_t *frame, size_t len);
/* The side's receiver has become ready: deliver what waits for it (by the timer, not within this call). */
void net_ready(struct net_cable *c, enum net_side side);
void net_set_link(struct net_cable *c, bool up);
bool net_link(const struct net_cable *c);
/* Frames that were dropped because a queue was full or the cable was pulled. */
uint64_t net_dropped(const struct net_cable *c);
/* For snapshots: what is on its way. */
struct state_part;
struct state_part *net_part(struct net_cable *c);
/*
 * What the host sends goes to `gate` first; true: deliver it. muted: what the card sends reaches nobody. The host's end
 * then counts as always ready, so that nothing in the guest depends on it.
 */
void net_set_gate(struct net_cable *c, bool (*gate)(void *opaque, const uint8_t *frame, size_t len), bool muted,
                  void *opaque);
/* See every frame, in either direction, as it is sent (pcap dump). False: there are NET_TAPS already. */
bool net_tap(struct net_cable *c, void (*seen)(void *opaque, int64_t ns, const uint8_t *frame, size_t len),
             void *opaque);

#endif
