/* SPDX-License-Identifier: MIT */
/*
 * The declared state of a device or CPU: one table serves save, load, monitor, lockstep diffs and tests.
 */
#ifndef CORE_STATE_H
#define CORE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum field_kind {
  FIELD_END, FIELD_U8, FIELD_U16, FIELD_U32, FIELD_U64, FIELD_I64, FIELD_BOOL, FIELD_BYTES, FIELD_TIMER
};

struct field {
  enum field_kind kind;
  const char *name;
  size_t offset;
  size_t count; /* elements; bytes for FIELD_BYTES */
};

#define FIELD(kind, type, member) {FIELD_##kind, #member, offsetof(type, member), 1}
#define FIELD_ARRAY(kind, type, member) \
  {FIELD_##kind, #member, offsetof(type, member), sizeof(((type *)0)->member) / sizeof(((type *)0)->member[0])}
#define FIELD_BUFFER(type, member) {FIELD_BYTES, #member, offsetof(type, member), sizeof(((type *)0)->member)}
#define FIELDS_END {FIELD_END, NULL, 0, 0}

/* Print "name=value" pairs, hexadecimal. */
void state_print(FILE *out, const void *object, const struct field *fields);
/* First field that differs between two objects, or NULL. */
const struct field *state_diff(const void *a, const void *b, const struct field *fields);
/* Little-endian serial form; the size is the same for equal tables. load: -EINVAL if short. */
size_t state_size(const struct field *fields);
void state_save(void *buf, const void *object, const struct field *fields);
int state_load(const void *buf, size_t len, void *object, const struct field *fields);

/*
 * A part of a machine's state that is no device: what snapshots save besides CPU, memory and devices. Owned by whom it
 * belongs to; machine_add_part (core/snapshot.h) makes it known.
 */
struct state_part {
  const char *name; /* unique, e.g. "net:lan" */
  void *object;
  const struct field *fields;
  /* As in struct device_class; NULL allowed. */
  const char *(*check)(const void *object);
  void (*loaded)(void *object);
  bool optional; /* a snapshot without it leaves it as it is */
  struct state_part *next;
};

/* --- by name, for files ------------------------------------------------------------------------------- */

struct timer;

struct state_buf { /* grows; `failed`: out of memory, and nothing more is added */
  uint8_t *data;
  size_t len, size;
  bool failed;
};

struct state_timer { /* what a timer is to be when all else is loaded */
  struct timer *timer;
  int64_t deadline;
  uint32_t rank; /* of those armed, in the order in which they fire */
  bool armed;
};

struct state_timers {
  struct state_timer *timer;
  size_t count, size;
};

void state_put(struct state_buf *b, const void *data, size_t len);
/* The object's fields, each with its name, kind and number of elements. */
void state_pack(struct state_buf *b, const void *object, const struct field *fields);
/*
 * The other way. All fields must be there, and no others; else -EINVAL with *what naming the first that isn't right,
 * and nothing is changed. object NULL: only look. Timers are not touched but added to `timers` (NULL: left out).
 * -ENOMEM: only for timers.
 */
int state_unpack(const uint8_t *data, size_t len, void *object, const struct field *fields,
                 struct state_timers *timers, char *what, size_t size);
/* Only the first field, which must be that of the table; what follows does not matter. */
bool state_unpack_one(const uint8_t *data, size_t len, void *object, const struct field *field);
/* Arm and cancel, in order. */
void state_apply_timers(struct state_timers *timers);

#endif
