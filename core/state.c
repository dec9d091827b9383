/* SPDX-License-Identifier: MIT */
/* Declared state: printing, comparing and serialising an object by its table of fields. */
#include "core/state.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/log.h"

/* Bytes of one element in the object and in the serial form. A timer is stored as a flag and its deadline. */
static const struct {
  size_t native, serial;
} sizes[] = {
    [FIELD_U8] = {1, 1},    [FIELD_U16] = {2, 2},          [FIELD_U32] = {4, 4},
    [FIELD_U64] = {8, 8},   [FIELD_I64] = {8, 8},          [FIELD_BOOL] = {sizeof(bool), 1},
    [FIELD_BYTES] = {1, 1}, [FIELD_TIMER] = {sizeof(struct timer), 9},
};

static const uint8_t *element(const void *object, const struct field *f, size_t i) {
  return (const uint8_t *)object + f->offset + i * sizes[f->kind].native;
}

/* The host is little-endian x86-64. */
static uint64_t element_value(const uint8_t *p, enum field_kind kind) {
  uint64_t value = 0;
  if (kind == FIELD_BOOL)
    return *(const bool *)p;
  memcpy(&value, p, sizes[kind].native);
  return value;
}

static void print_timer(FILE *out, const struct timer *t) {
  if (t->armed)
    fprintf(out, "at %" PRId64 " ns", t->deadline);
  else
    fputs("off", out);
}

void state_print(FILE *out, const void *object, const struct field *fields) {
  for (const struct field *f = fields; f && f->kind != FIELD_END; f++) {
    fprintf(out, "%s=", f->name);
    size_t shown = f->count < 32 ? f->count : 32;
    for (size_t i = 0; i < shown; i++) {
      const uint8_t *p = element(object, f, i);
      if (f->kind == FIELD_TIMER)
        print_timer(out, (const struct timer *)p);
      else if (f->kind == FIELD_BYTES)
        fprintf(out, "%02x", *p);
      else
        fprintf(out, "%s%" PRIx64, i ? "," : "", element_value(p, f->kind));
    }
    fputs(shown < f->count ? "...\n" : "\n", out);
  }
}

const struct field *state_diff(const void *a, const void *b, const struct field *fields) {
  for (const struct field *f = fields; f && f->kind != FIELD_END; f++) {
    if (f->kind != FIELD_TIMER) {
      if (memcmp(element(a, f, 0), element(b, f, 0), f->count * sizes[f->kind].native))
        return f;
      continue;
    }
    for (size_t i = 0; i < f->count; i++) {
      const struct timer *ta = (const struct timer *)element(a, f, i), *tb = (const struct timer *)element(b, f, i);
      if (ta->armed != tb->armed || (ta->armed && ta->deadline != tb->deadline))
        return f;
    }
  }
  return NULL;
}

size_t state_size(const struct field *fields) {
  size_t size = 0;
  for (const struct field *f = fields; f && f->kind != FIELD_END; f++)
    size += f->count * sizes[f->kind].serial;
  return size;
}

void state_save(void *buf, const void *object, const struct field *fields) {
  uint8_t *to = buf;
  for (const struct field *f = fields; f && f->kind != FIELD_END; f++) {
    for (size_t i = 0; i < f->count; i++) {
      const uint8_t *p = element(object, f, i);
      if (f->kind == FIELD_TIMER) {
        const struct timer *t = (const struct timer *)p;
        to[0] = t->armed;
        memcpy(to + 1, &t->deadline, 8);
      } else {
        uint64_t value = element_value(p, f->kind);
        memcpy(to, &value, sizes[f->kind].serial);
      }
      to += sizes[f->kind].serial;
    }
  }
}

static void load_element(uint8_t *p, enum field_kind kind, const uint8_t *from) {
  if (kind == FIELD_TIMER) {
    int64_t deadline;
    memcpy(&deadline, from + 1, 8);
    if (from[0])
      timer_arm((struct timer *)p, deadline);
    else
      timer_cancel((struct timer *)p);
  } else if (kind == FIELD_BOOL) {
    *(bool *)p = from[0] != 0;
  } else {
    memcpy(p, from, sizes[kind].native);
  }
}

int state_load(const void *buf, size_t len, void *object, const struct field *fields) {
  if (len < state_size(fields))
    return -EINVAL;
  const uint8_t *from = buf;
  for (const struct field *f = fields; f && f->kind != FIELD_END; f++) {
    for (size_t i = 0; i < f->count; i++) {
      load_element((uint8_t *)object + f->offset + i * sizes[f->kind].native, f->kind, from);
      from += sizes[f->kind].serial;
    }
  }
  return 0;
}

/* --- by name ------------------------------------------------------------------------------------------ */

#define TIMER_BYTES 13u /* armed, deadline, rank */
#define NAME_MAX_BYTES 255u
#define FIELD_HEAD 6u /* kind, length of the name, count */

void state_put(struct state_buf *b, const void *data, size_t len) {
  if (b->failed)
    return;
  if (b->size - b->len < len) {
    size_t size = b->size * 2 > b->len + len ? b->size * 2 : b->len + len + 4096;
    uint8_t *more = realloc(b->data, size);
    if (!more) {
      b->failed = true;
      return;
    }
    b->data = more;
    b->size = size;
  }
  if (len)
    memcpy(b->data + b->len, data, len);
  b->len += len;
}

static size_t packed_size(enum field_kind kind) { return kind == FIELD_TIMER ? TIMER_BYTES : sizes[kind].serial; }

static void pack_element(uint8_t *to, const uint8_t *p, enum field_kind kind) {
  if (kind == FIELD_TIMER) {
    const struct timer *t = (const struct timer *)p;
    int64_t deadline = t->armed ? t->deadline : 0;
    uint32_t rank = timer_rank(t);
    to[0] = t->armed;
    memcpy(to + 1, &deadline, 8);
    memcpy(to + 9, &rank, 4);
  } else {
    uint64_t value = element_value(p, kind);
    memcpy(to, &value, sizes[kind].serial);
  }
}

void state_pack(struct state_buf *b, const void *object, const struct field *fields) {
  for (const struct field *f = fields; f && f->kind != FIELD_END; f++) {
    size_t length = strlen(f->name);
    DGM_ASSERT(length <= NAME_MAX_BYTES && f->count <= UINT32_MAX);
    uint8_t head[FIELD_HEAD] = {(uint8_t)f->kind, (uint8_t)length};
    uint32_t count = (uint32_t)f->count;
    memcpy(head + 2, &count, 4);
    state_put(b, head, sizeof head);
    state_put(b, f->name, length);
    if (f->kind == FIELD_BYTES) {
      state_put(b, element(object, f, 0), f->count);
      continue;
    }
    for (size_t i = 0; i < f->count; i++) {
      uint8_t value[TIMER_BYTES];
      pack_element(value, element(object, f, i), f->kind);
      state_put(b, value, packed_size(f->kind));
    }
  }
}

static int note_timer(struct state_timers *timers, struct timer *t, const uint8_t *from) {
  if (timers->count == timers->size) {
    size_t size = timers->size ? timers->size * 2 : 64;
    struct state_timer *more = realloc(timers->timer, size * sizeof *more);
    if (!more)
      return -ENOMEM;
    timers->timer = more;
    timers->size = size;
  }
  struct state_timer *n = &timers->timer[timers->count++];
  *n = (struct state_timer){.timer = t, .armed = from[0] != 0};
  memcpy(&n->deadline, from + 1, 8);
  memcpy(&n->rank, from + 9, 4);
  return 0;
}

/* Does the record at `data` hold field f? Its length, or 0. */
static size_t match_field(const uint8_t *data, size_t len, const struct field *f) {
  size_t name = strlen(f->name), body = f->count * packed_size(f->kind);
  uint32_t count = 0;
  if (len < FIELD_HEAD + name || data[0] != (uint8_t)f->kind || data[1] != name)
    return 0;
  memcpy(&count, data + 2, 4);
  if (count != f->count || memcmp(data + FIELD_HEAD, f->name, name) || len - FIELD_HEAD - name < body)
    return 0;
  return FIELD_HEAD + name + body;
}

static int take_field(uint8_t *object, const struct field *f, const uint8_t *from, struct state_timers *timers) {
  for (size_t i = 0; i < f->count; i++, from += packed_size(f->kind)) {
    uint8_t *p = object + f->offset + i * sizes[f->kind].native;
    if (f->kind != FIELD_TIMER)
      load_element(p, f->kind, from);
    else if (timers && note_timer(timers, (struct timer *)p, from))
      return -ENOMEM;
  }
  return 0;
}

int state_unpack(const uint8_t *data, size_t len, void *object, const struct field *fields,
                 struct state_timers *timers, char *what, size_t size) {
  size_t at = 0;
  for (const struct field *f = fields; f && f->kind != FIELD_END; f++) {
    size_t n = match_field(data + at, len - at, f);
    if (!n) {
      snprintf(what, size, "%s", f->name);
      return -EINVAL;
    }
    at += n;
  }
  if (at != len) {
    snprintf(what, size, "more than it has here");
    return -EINVAL;
  }
  at = 0;
  for (const struct field *f = fields; object && f && f->kind != FIELD_END; f++) {
    size_t head = FIELD_HEAD + strlen(f->name);
    if (take_field(object, f, data + at + head, timers))
      return -ENOMEM;
    at += head + f->count * packed_size(f->kind);
  }
  return 0;
}

bool state_unpack_one(const uint8_t *data, size_t len, void *object, const struct field *field) {
  if (!match_field(data, len, field))
    return false;
  return take_field(object, field, data + FIELD_HEAD + strlen(field->name), NULL) == 0;
}

static int by_rank(const void *a, const void *b) {
  const struct state_timer *x = a, *y = b;
  return x->rank < y->rank ? -1 : x->rank > y->rank;
}

void state_apply_timers(struct state_timers *timers) {
  if (timers->count)
    qsort(timers->timer, timers->count, sizeof *timers->timer, by_rank);
  for (size_t i = 0; i < timers->count; i++)
    timer_cancel(timers->timer[i].timer);
  for (size_t i = 0; i < timers->count; i++)
    if (timers->timer[i].armed)
      timer_arm(timers->timer[i].timer, timers->timer[i].deadline);
}
