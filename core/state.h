/* SPDX-License-Identifier: MIT */
/*
 * The declared state of a device or CPU: one table serves save, load, monitor, lockstep diffs and tests.
 */
#ifndef CORE_STATE_H
#define CORE_STATE_H

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

#endif
