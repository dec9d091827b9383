/* SPDX-License-Identifier: MIT */
/*
 * Hashes of a machine's state, for the checkpoints of a recording: equal states have equal hashes on every
 * host. Memory is hashed by pages; pages of zeros count nothing, so that those that were never touched need
 * not be read.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/replay_int.h"

#define PRIME 0x9fb21c651e98df25ull

static uint64_t mix(uint64_t h) {
  h ^= h >> 32;
  h *= PRIME;
  h ^= h >> 29;
  h *= PRIME;
  return h ^ h >> 32;
}

static uint64_t hash_bytes(uint64_t seed, const void *data, size_t size) {
  const uint8_t *p = data;
  uint64_t lane[4] = {seed, seed ^ PRIME, seed + PRIME, ~seed};
  for (; size >= 32; p += 32, size -= 32)
    for (unsigned i = 0; i < 4; i++) {
      uint64_t v;
      memcpy(&v, p + 8 * i, 8);
      lane[i] = ((lane[i] ^ v) * PRIME);
      lane[i] ^= lane[i] >> 31;
    }
  uint64_t tail[4] = {size, 0, 0, 0};
  memcpy((uint8_t *)tail + 1, p, size < 31 ? size : 31);
  for (unsigned i = 0; i < 4; i++)
    lane[i] = mix(lane[i] ^ tail[i]);
  return mix(lane[0] ^ mix(lane[1] ^ mix(lane[2] ^ mix(lane[3]))));
}

/* A timer that is off keeps the deadline that it had last; a machine that was loaded from a snapshot does not. */
static void forget_deadlines(uint8_t *buf, const struct field *fields) {
  for (const struct field *f = fields; f && f->kind != FIELD_END; f++) {
    struct field one[2] = {*f, FIELDS_END};
    size_t size = state_size(one);
    for (size_t i = 0; f->kind == FIELD_TIMER && i < f->count; i++)
      if (!buf[i * (size / f->count)])
        memset(buf + i * (size / f->count), 0, size / f->count);
    buf += size;
  }
}

static uint64_t hash_fields(uint64_t h, const void *object, const struct field *fields) {
  uint8_t stack[4096], *buf = stack;
  size_t size = fields ? state_size(fields) : 0;
  if (size > sizeof stack && !(buf = malloc(size)))
    return h;
  if (size) {
    state_save(buf, object, fields);
    forget_deadlines(buf, fields);
  }
  h = hash_bytes(h, buf, size);
  if (buf != stack)
    free(buf);
  return h;
}

/* cpu_fields() without fx, whose registers are wider than what a guest can see of them. */
static const struct field *cpu_fields_but_fx(void) {
  static struct field fields[128];
  if (fields[0].name)
    return fields;
  unsigned n = 0;
  for (const struct field *f = cpu_fields(); f->kind != FIELD_END && n < 127; f++)
    if (strcmp(f->name, "fx"))
      fields[n++] = *f;
  fields[n].kind = FIELD_END;
  return fields;
}

static uint64_t hash_cpu(const struct cpu *c) {
  uint64_t h = hash_fields(c->icount, c, cpu_fields_but_fx());
  const struct fxsave *fx = &c->fx;
  uint32_t control[] = {fx->fcw, fx->fsw, fx->ftw, fx->fop, fx->fip, fx->fcs, fx->fdp, fx->fds, fx->mxcsr};
  h = hash_bytes(h, control, sizeof control);
  for (unsigned i = 0; i < 8; i++)
    h = hash_bytes(h, fx->st[i], 10);
  return hash_bytes(h, fx->xmm, 8 * sizeof fx->xmm[0]);
}

static bool all_zero(const uint8_t *p, size_t size) { return p[0] == 0 && memcmp(p, p + 1, size - 1) == 0; }

static uint64_t hash_block(const struct mem *mem, const struct mem_block *b, uint64_t seed) {
  uint64_t sum = 0;
  off_t end = (off_t)(b->fd_offset + b->size);
  for (off_t at = (off_t)b->fd_offset; at < end;) {
    off_t data = lseek(mem->fd, at, SEEK_DATA);
    if (data < 0 || data >= end) /* nothing but a hole to the end */
      break;
    off_t hole = lseek(mem->fd, data, SEEK_HOLE);
    if (hole < 0 || hole > end)
      hole = end;
    for (off_t page = data & ~(off_t)(MEM_PAGE - 1); page < hole; page += MEM_PAGE) {
      uint64_t offset = (uint64_t)page - b->fd_offset;
      const uint8_t *p = b->host + offset;
      if (!all_zero(p, MEM_PAGE))
        sum += hash_bytes(mix(seed + offset), p, MEM_PAGE);
    }
    at = hole;
  }
  return sum;
}

static uint64_t hash_screen(struct display *d) {
  int x, y, w, h;
  if (!d || !d->refresh)
    return 0;
  d->refresh(d, &x, &y, &w, &h);
  if (d->invalidate) /* a window must not miss what this refresh has seen */
    d->invalidate(d);
  const struct surface *s = &d->surface;
  uint64_t sum = mix((uint64_t)s->width << 32 | (uint32_t)s->height);
  for (int row = 0; s->pixels && row < s->height; row++)
    sum = hash_bytes(sum, s->pixels + (size_t)row * (size_t)s->stride, (size_t)s->width * sizeof *s->pixels);
  return sum;
}

struct replay_hashes replay_hash(struct machine *m, bool all) {
  struct replay_hashes h = {.cpu = m->cpu_count};
  for (unsigned i = 0; i < m->cpu_count; i++)
    h.cpu = mix(h.cpu) ^ hash_cpu(m->cpu[i]);
  for (const struct device *d = m->devices.first; d; d = d->next)
    h.devices = hash_fields(mix(h.devices), d, d->cls->fields);
  unsigned n = 0;
  for (const struct mem_block *b = m->mem->blocks; all && b; b = b->next)
    h.memory += hash_block(m->mem, b, mix(++n));
  if (all)
    h.screen = hash_screen(m->display);
  return h;
}
