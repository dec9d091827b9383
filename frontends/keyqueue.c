/* SPDX-License-Identifier: MIT */
/* Keys waiting to be pressed: see keyqueue.h. */
#include "frontends/keyqueue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/monitor.h"
#include "core/snapshot.h"

#define QUEUE_MAX 65536u
#define MS 1000000ll
#define POLL_NS (1 * MS)        /* while a key waits */
#define PATIENCE_NS (2000 * MS) /* then it is pressed all the same */
#define TYPE_HOLD_NS (15 * MS)
#define TYPE_GAP_NS (10 * MS)
#define SENDKEY_GAP_NS (20 * MS)
#define KEY_LEFT_SHIFT 0x2a

/* BIOS data area: the type-ahead buffer's head and tail, at 0040:001A */
#define BDA_KEY_HEAD 0x41au
#define BDA_BUFFER_FIRST 0x1e
#define BDA_BUFFER_BYTES 32
#define BDA_BUSY_BYTES 16

struct key_event {
  int key;
  bool down;
  bool wait;   /* for the guest to have read what came before */
  int64_t gap; /* ns until the next event */
};

struct keyqueue {
  struct machine *machine;
  struct timer timer;
  int64_t waiting_since; /* -1: not waiting */
  int64_t hold, gap;     /* of typed keys */
  uint8_t stale[4];      /* the type-ahead buffer's pointers after nobody fetched from it for too long */
  unsigned first, count;
  struct key_event event[QUEUE_MAX];
  struct state_part part;
};

/* --- snapshots: the keys that wait are part of the machine --- */

static const struct field fields[] = {
    FIELD(TIMER, struct keyqueue, timer), FIELD(I64, struct keyqueue, waiting_since),
    FIELD(U32, struct keyqueue, first),   FIELD(U32, struct keyqueue, count),
    FIELD_BUFFER(struct keyqueue, event), FIELD(I64, struct keyqueue, hold),
    FIELD(I64, struct keyqueue, gap),     FIELD_BUFFER(struct keyqueue, stale),
    FIELDS_END,
};

static const char *check(const void *object) {
  const struct keyqueue *q = object;
  if (q->first >= QUEUE_MAX || q->count > QUEUE_MAX)
    return "a queue that cannot be";
  for (unsigned i = 0; i < q->count; i++) {
    const struct key_event *e = &q->event[(q->first + i) % QUEUE_MAX];
    if (e->key < 0 || e->key > (KEY_PAUSE | 0x1ff) || *(const uint8_t *)&e->down > 1 ||
        *(const uint8_t *)&e->wait > 1)
      return "a key that cannot be";
  }
  return NULL;
}

/*
 * True if programs read keys from the BIOS and are behind. In protected mode too: DOS may run under a memory manager.
 * Systems without a BIOS below leave the pointers alone, and equal or as somebody left them: see must_wait.
 */
static bool bios_busy(const struct keyqueue *q, uint8_t bda[4]) {
  if (debug_read(q->machine, BDA_KEY_HEAD, bda, 4, 1) != 4 || memcmp(bda, q->stale, 4) == 0)
    return false;
  int head = bda[0] | bda[1] << 8, tail = bda[2] | bda[3] << 8;
  if (head < BDA_BUFFER_FIRST || head >= BDA_BUFFER_FIRST + BDA_BUFFER_BYTES || tail < BDA_BUFFER_FIRST ||
      tail >= BDA_BUFFER_FIRST + BDA_BUFFER_BYTES)
    return false;
  return (tail - head + BDA_BUFFER_BYTES) % BDA_BUFFER_BYTES >= BDA_BUSY_BYTES;
}

static bool must_wait(struct keyqueue *q, int64_t now) {
  struct machine *m = q->machine;
  uint8_t bda[4] = {0};
  bool ready = !m->input.key_ready || m->input.key_ready(m->input.key_opaque);
  if (ready && !bios_busy(q, bda)) {
    q->waiting_since = -1;
    return false;
  }
  if (q->waiting_since < 0)
    q->waiting_since = now;
  if (now - q->waiting_since < PATIENCE_NS)
    return true;
  q->waiting_since = -1;
  if (ready)
    memcpy(q->stale, bda, sizeof q->stale);
  return false;
}

static void fire(void *opaque) {
  struct keyqueue *q = opaque;
  struct machine *m = q->machine;
  int64_t now = clock_now(m->clock);
  while (q->count) {
    struct key_event *e = &q->event[q->first];
    if (e->wait && must_wait(q, now)) {
      timer_arm(&q->timer, now + POLL_NS);
      return;
    }
    if (m->input.key)
      m->input.key(m->input.key_opaque, e->key, e->down);
    q->first = (q->first + 1) % QUEUE_MAX;
    q->count--;
    if (e->gap) { /* also after the last: the next command keeps its distance */
      timer_arm(&q->timer, now + e->gap);
      return;
    }
  }
}

static void push(struct keyqueue *q, int key, bool down, bool wait, int64_t gap) {
  q->event[(q->first + q->count++) % QUEUE_MAX] = (struct key_event){key, down, wait, gap};
}

static void start(struct keyqueue *q) {
  if (q->count && !q->timer.armed) {
    timer_arm(&q->timer, clock_now(q->machine->clock));
    machine_kick(q->machine);
  }
}

struct keyqueue *keyqueue_new(struct machine *m) {
  struct keyqueue *q = calloc(1, sizeof *q);
  if (!q)
    return NULL;
  q->machine = m;
  q->waiting_since = -1;
  timer_init(&q->timer, m->clock, "keys", fire, q);
  q->part =
      (struct state_part){.name = "keys", .object = q, .fields = fields, .check = check, .optional = true};
  machine_add_part(m, &q->part);
  return q;
}

void keyqueue_free(struct keyqueue *q) {
  if (!q)
    return;
  timer_cancel(&q->timer);
  machine_remove_part(q->machine, &q->part);
  free(q);
}

int keyqueue_combination(struct keyqueue *q, const int *keys, int count, int64_t hold_ms) {
  if (q->count + 2 * (unsigned)count > QUEUE_MAX)
    return -ENOSPC;
  for (int i = 0; i < count; i++)
    push(q, keys[i], true, true, i == count - 1 ? hold_ms * MS : 0);
  for (int i = count - 1; i >= 0; i--)
    push(q, keys[i], false, false, i == 0 ? SENDKEY_GAP_NS : 0);
  start(q);
  return 0;
}

int keyqueue_type(struct keyqueue *q, const char *text, char *bad) {
  bool shift;
  size_t length = strlen(text);
  for (size_t i = 0; i < length; i++)
    if (input_key_from_ascii(text[i], &shift) < 0) {
      *bad = text[i];
      return -EINVAL;
    }
  if (length > QUEUE_MAX / 4 || q->count + 4 * (unsigned)length > QUEUE_MAX)
    return -ENOSPC;
  for (size_t i = 0; i < length; i++) {
    int key = input_key_from_ascii(text[i], &shift);
    if (shift)
      push(q, KEY_LEFT_SHIFT, true, true, 0);
    push(q, key, true, true, q->hold);
    push(q, key, false, true, shift ? 0 : q->gap);
    if (shift)
      push(q, KEY_LEFT_SHIFT, false, true, q->gap);
  }
  start(q);
  return 0;
}

void keyqueue_set_pace(struct keyqueue *q, int64_t hold, int64_t gap) {
  q->hold = hold;
  q->gap = gap;
}

bool keyqueue_done(const struct keyqueue *q) {
  const struct input_sink *in = &q->machine->input;
  return !q->count && !q->timer.armed && (!in->key_ready || in->key_ready(in->key_opaque));
}
