/* SPDX-License-Identifier: MIT */
/* The I/O port space: one table entry per port that names the range it belongs to. */
#include "core/io.h"

#include <errno.h>
#include <stdlib.h>

#include "core/log.h"

#define PORTS 65536u
#define RANGES 1024u

struct io_range {
  const struct io_ops *ops;
  void *opaque;
  const char *name;
  uint32_t base, count;
  uint32_t ports; /* still mapped; 0 = free for reuse */
};

struct io_bus {
  struct io_range range[RANGES]; /* [0]: nobody; entries never move, handlers may map and unmap */
  uint16_t port[PORTS];
};

struct io_bus *io_bus_new(void) { return calloc(1, sizeof(struct io_bus)); }

void io_bus_free(struct io_bus *bus) { free(bus); }

int io_map(struct io_bus *bus, uint16_t base, unsigned count, const struct io_ops *ops, void *opaque,
           const char *name) {
  DGM_ASSERT(count > 0 && base + count <= PORTS);
  for (unsigned i = 0; i < count; i++) {
    if (bus->port[base + i]) {
      error_report("%s and %s both claim I/O port %#x", name, bus->range[bus->port[base + i]].name, base + i);
      return -EBUSY;
    }
  }
  unsigned slot = 1;
  while (slot < RANGES && bus->range[slot].ports)
    slot++;
  if (slot == RANGES)
    return -ENOMEM;
  bus->range[slot] = (struct io_range){ops, opaque, name, base, count, count};
  for (unsigned i = 0; i < count; i++)
    bus->port[base + i] = (uint16_t)slot;
  return 0;
}

void io_unmap(struct io_bus *bus, uint16_t base, unsigned count) {
  for (unsigned port = base; port < base + count && port < PORTS; port++) {
    if (bus->port[port])
      bus->range[bus->port[port]].ports--;
    bus->port[port] = 0;
  }
}

/*
 * How many bytes of an access of `size` at `port` one handler call takes: no more than the handler knows, naturally
 * aligned within its range, and not past the end of the range.
 */
static int piece_size(const struct io_range *r, uint32_t port, int size) {
  int max = r->ops ? (r->ops->max_size ? r->ops->max_size : 1) : size;
  int piece = size < max ? size : max;
  if (piece == 3) /* what is left of a split dword */
    piece = 2;
  uint32_t offset = port - r->base;
  while (piece > 1 && ((offset & (uint32_t)(piece - 1)) || offset + (uint32_t)piece > r->count))
    piece /= 2;
  return piece;
}

static uint32_t size_mask(int size) { return size == 4 ? 0xffffffffu : (1u << (size * 8)) - 1; }

/* One handler call is all it takes: the usual case. */
static inline bool is_whole(const struct io_range *r, uint32_t offset, int size) {
  return size <= r->ops->max_size && (offset & (uint32_t)(size - 1)) == 0 && offset + (uint32_t)size <= r->count;
}

uint32_t io_read(struct io_bus *bus, uint16_t port, int size) {
  uint32_t value = 0;
  const struct io_range *whole = &bus->range[bus->port[port]];
  if (whole->ops && whole->ops->read && is_whole(whole, port - whole->base, size)) {
    value = whole->ops->read(whole->opaque, port - whole->base, size) & size_mask(size);
    if (log_on(LOG_IOPORT))
      log_print(LOG_IOPORT, "in  %04x/%d = %x\n", port, size, value);
    return value;
  }
  for (int done = 0; done < size;) {
    uint32_t at = (uint32_t)(port + done) & (PORTS - 1);
    struct io_range r = bus->range[bus->port[at]]; /* a copy: the handler may remap */
    int piece = r.ops ? piece_size(&r, at, size - done) : 1;
    uint32_t part = r.ops && r.ops->read ? r.ops->read(r.opaque, at - r.base, piece) : ~0u;
    value |= (part & size_mask(piece)) << (done * 8);
    done += piece;
  }
  log_print(LOG_IOPORT, "in  %04x/%d = %x\n", port, size, value);
  return value;
}

void io_write(struct io_bus *bus, uint16_t port, int size, uint32_t value) {
  if (log_on(LOG_IOPORT))
    log_print(LOG_IOPORT, "out %04x/%d = %x\n", port, size, value & size_mask(size));
  const struct io_range *whole = &bus->range[bus->port[port]];
  if (whole->ops && whole->ops->write && is_whole(whole, port - whole->base, size)) {
    whole->ops->write(whole->opaque, port - whole->base, size, value & size_mask(size));
    return;
  }
  for (int done = 0; done < size;) {
    uint32_t at = (uint32_t)(port + done) & (PORTS - 1);
    struct io_range r = bus->range[bus->port[at]];
    int piece = r.ops ? piece_size(&r, at, size - done) : 1;
    if (r.ops && r.ops->write)
      r.ops->write(r.opaque, at - r.base, piece, (value >> (done * 8)) & size_mask(piece));
    done += piece;
  }
}
