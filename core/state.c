/* SPDX-License-Identifier: MIT */
/* Declared state: printing, comparing and serialising an object by its table of fields. */
#include "core/state.h"

#include <errno.h>
#include <inttypes.h>
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
