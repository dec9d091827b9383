/* SPDX-License-Identifier: MIT */
/*
 * Recording and replaying a machine's input; see replay.h.
 *
 * What is called from within the guest's run or a timer (a key queue's timer, say) is put off until the
 * machine is at rest, in a recording; the replay applies it at the same place. So the order of inputs and
 * timers is the same in both, though the replay has no such timers.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"
#include "core/replay_int.h"
#include "core/snapshot.h"

#define CHECK_EVERY 10000000u /* instructions */
#define MEMORY_EVERY 50u      /* checkpoints */
#define STUCK_MAX 16u
#define NO_BREAK UINT64_MAX

static struct replay_place here(const struct replay *r) {
  struct machine *m = r->machine;
  return (struct replay_place){(uint32_t)m->stat.resets, cpu_icount(m->cpu[0]), clock_now(m->clock)};
}

/* --- making and taking down --- */

static struct replay *replay_new(bool playing) {
  struct replay *r = calloc(1, sizeof *r);
  if (!r)
    return NULL;
  r->playing = playing;
  r->file.fd = -1;
  r->last = &r->first;
  r->every = CHECK_EVERY;
  r->memory_every = MEMORY_EVERY;
  r->break_at = NO_BREAK;
  r->header.args = r->args;
  r->header.about = "";
  return r;
}

struct replay *replay_record(const char *path, const struct replay_header *h, char *error, size_t size) {
  struct replay *r = replay_new(false);
  if (!r || replay_file_create(&r->file, path, error, size) < 0) {
    if (!r)
      snprintf(error, size, "out of memory");
    free(r);
    return NULL;
  }
  size_t used = 8, total = 8 + strlen(h->about) + 1;
  for (const char *const *a = h->args; *a; a++)
    total += strlen(*a) + 1;
  char *buf = total <= REPLAY_PAYLOAD_MAX ? malloc(total) : NULL;
  if (!buf) {
    snprintf(error, size, "rrfile: the command line is too long to be recorded");
    replay_free(r);
    return NULL;
  }
  memcpy(buf, &h->rtc_base, 8);
  memcpy(buf + used, h->about, strlen(h->about) + 1);
  used += strlen(h->about) + 1;
  for (const char *const *a = h->args; *a; a++) {
    memcpy(buf + used, *a, strlen(*a) + 1);
    used += strlen(*a) + 1;
  }
  replay_file_write(&r->file, REPLAY_HEADER, &(struct replay_place){0}, buf, (uint32_t)used);
  free(buf);
  return r;
}

/* The first record: 8 bytes of time, the description, and the arguments, each ended by a NUL. */
static bool take_header(struct replay *r, const struct replay_record *h) {
  if (h->kind != REPLAY_HEADER || h->size < 9 || h->data[h->size - 1] != 0)
    return false;
  memcpy(&r->header.rtc_base, h->data, 8);
  r->text = malloc(h->size - 8);
  if (!r->text)
    return false;
  memcpy(r->text, h->data + 8, h->size - 8);
  r->header.about = r->text;
  unsigned n = 0;
  for (const char *p = r->text + strlen(r->text) + 1; p < r->text + h->size - 8 && n < REPLAY_ARGS;
       p += strlen(p) + 1)
    r->args[n++] = p;
  return true;
}

static void step_record(struct replay *r) { r->has_next = replay_file_next(&r->file, &r->next) == 1; }

struct replay *replay_play(const char *path, char *error, size_t size) {
  struct replay *r = replay_new(true);
  struct replay_record record;
  if (!r || replay_file_open(&r->file, path, error, size) < 0) {
    if (!r)
      snprintf(error, size, "out of memory");
    free(r);
    return NULL;
  }
  int got = replay_file_next(&r->file, &record);
  if (got != 1 || !take_header(r, &record)) {
    snprintf(error, size, "rrfile: %s is damaged at its beginning", path);
    replay_free(r);
    return NULL;
  }
  r->begin = r->file.at;
  while ((got = replay_file_next(&r->file, &record)) == 1) {
    r->end = record.place;
    r->complete = record.kind == REPLAY_END;
  }
  if (got < 0) {
    snprintf(error, size, "rrfile: %s is damaged at byte %zu", path, r->file.at);
    replay_free(r);
    return NULL;
  }
  r->file.at = r->begin;
  step_record(r);
  return r;
}

void replay_free(struct replay *r) {
  if (!r)
    return;
  while (r->first) {
    struct replay_deferred *d = r->first;
    r->first = d->next;
    free(d->data);
    free(d);
  }
  replay_file_close(&r->file);
  free(r->text);
  free(r);
}

bool replay_is_playing(const struct replay *r) { return r->playing; }
const struct replay_header *replay_header(const struct replay *r) { return &r->header; }

struct replay_place replay_end(const struct replay *r, bool *complete) {
  *complete = r->complete;
  return r->end;
}

bool replay_fits(const struct replay *r, const char *about, char *error, size_t size) {
  const char *a = r->header.about, *b = about;
  while (*a || *b) {
    size_t n = strcspn(a, "\n"), k = strcspn(b, "\n");
    if (n != k || memcmp(a, b, n)) {
      snprintf(error, size, "%s was recorded on another machine: recorded with %.*s, now %.*s", r->file.path,
               n ? (int)n : 4, n ? a : "less", k ? (int)k : 4, k ? b : "less");
      return false;
    }
    a += n + (a[n] == '\n');
    b += k + (b[k] == '\n');
  }
  return true;
}

void replay_attach(struct replay *r, struct machine *m) {
  r->machine = m;
  m->replay = r;
  r->next_check = r->every;
}

void replay_set_command(struct replay *r, void (*run)(void *opaque, char *line), void *opaque) {
  r->command = run;
  r->command_opaque = opaque;
}

void replay_set_checks(struct replay *r, uint64_t every, unsigned memory_every) {
  r->every = every ? every : CHECK_EVERY;
  r->memory_every = memory_every ? memory_every : MEMORY_EVERY;
  r->next_check = r->every;
}

void replay_set_quiet(struct replay *r) { r->quiet = true; }

void replay_set_break(struct replay *r, uint64_t icount) { r->break_at = icount; }
const char *replay_difference(const struct replay *r) { return r->difference[0] ? r->difference : NULL; }

/* --- the first difference --- */

static void differ(struct replay *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void differ(struct replay *r, const char *format, ...) {
  va_list args;
  if (r->difference[0])
    return;
  va_start(args, format);
  vsnprintf(r->difference, sizeof r->difference, format, args);
  va_end(args);
  if (!r->quiet)
    error_report("replay: %s; the last checkpoint that agreed is at %" PRIu64 " instructions (%.6f s)",
                 r->difference, r->good.icount, (double)r->good.ns / NS_PER_SEC);
  r->applying = true;
  machine_request_quit(r->machine, 1);
  r->applying = false;
}

/* --- applying --- */

static int32_t word(const struct replay_record *e, unsigned n) {
  int32_t value = 0;
  if (e->size >= 4 * (n + 1))
    memcpy(&value, e->data + 4 * n, 4);
  return value;
}

static void apply_stream(struct replay *r, const struct replay_record *e) {
  unsigned n = e->size ? e->data[0] : REPLAY_STREAMS;
  if (n < REPLAY_STREAMS && r->stream[n].receive)
    r->stream[n].receive(r->stream[n].opaque, e->data + 1, e->size - 1);
  else
    differ(r, "there is input for a port that is not there");
}

static void apply_frame(struct replay *r, const struct replay_record *e) {
  unsigned n = e->size ? e->data[0] : REPLAY_CABLES;
  if (n < REPLAY_CABLES && r->cable[n].cable && e->size >= 2 && e->size - 1 <= NET_FRAME_MAX)
    net_send(r->cable[n].cable, NET_HOST, e->data + 1, e->size - 1);
  else
    differ(r, "there is a frame for a network that is not there");
}

static void apply_command(struct replay *r, const struct replay_record *e) {
  char *line = malloc(e->size + 1u);
  if (!line || !r->command) {
    differ(r, "there is a command of the monitor, and no monitor");
  } else {
    memcpy(line, e->data, e->size);
    line[e->size] = '\0';
    r->command(r->command_opaque, line);
  }
  free(line);
}

/* One input takes effect. */
static void apply(struct replay *r, const struct replay_record *e) {
  struct machine *m = r->machine;
  struct input_sink *in = &r->input;
  r->applying = true;
  r->inputs++;
  switch (e->kind) {
  case REPLAY_KEY:
    if (in->key)
      in->key(in->key_opaque, word(e, 0), word(e, 1) != 0);
    break;
  case REPLAY_MOUSE:
    if (in->mouse)
      in->mouse(in->mouse_opaque, word(e, 0), word(e, 1), word(e, 2), word(e, 3));
    break;
  case REPLAY_TABLET:
    if (in->tablet)
      in->tablet(in->tablet_opaque, word(e, 0), word(e, 1), word(e, 2), word(e, 3));
    break;
  case REPLAY_STREAM: apply_stream(r, e); break;
  case REPLAY_FRAME: apply_frame(r, e); break;
  case REPLAY_COMMAND: apply_command(r, e); break;
  case REPLAY_RESET: machine_request_reset(m); break;
  case REPLAY_POWERDOWN:
    if (r->powerdown)
      r->powerdown(m);
    break;
  case REPLAY_QUIT: machine_request_quit(m, word(e, 0)); break;
  default: differ(r, "the recording holds something unknown (kind %d)", (int)e->kind); break;
  }
  r->applying = false;
}

/* --- what comes from outside --- */

static void defer(struct replay *r, void (*fn)(void *opaque), void *opaque, enum replay_kind kind,
                  const void *data, uint32_t size) {
  struct replay_deferred *d = calloc(1, sizeof *d);
  uint8_t *copy = size ? malloc(size) : NULL;
  if (!d || (size && !copy)) {
    free(d);
    free(copy);
    warn_report("out of memory: an input is lost");
    return;
  }
  if (size)
    memcpy(copy, data, size);
  *d = (struct replay_deferred){fn, opaque, kind, copy, size, NULL};
  *r->last = d;
  r->last = &d->next;
  machine_kick(r->machine);
}

/* An input of the outside; false: it is ignored, or comes later. Recorded if it is to take effect now. */
static bool admit(struct replay *r, enum replay_kind kind, const void *data, uint32_t size) {
  if (r->applying)
    return true;
  if (r->playing || r->ended)
    return false;
  if (r->machine->in_guest) {
    defer(r, NULL, NULL, kind, data, size);
    return false;
  }
  struct replay_place p = here(r);
  replay_file_write(&r->file, kind, &p, data, size);
  r->inputs++;
  return true;
}

static void live(struct replay *r, enum replay_kind kind, const void *data, uint32_t size) {
  if (!admit(r, kind, data, size))
    return;
  struct replay_record e = {.kind = kind, .data = data, .size = size};
  r->inputs--; /* apply counts it */
  apply(r, &e);
}

static void on_key(void *opaque, int key, bool down) { live(opaque, REPLAY_KEY, (int32_t[]){key, down}, 8); }

static void on_mouse(void *opaque, int dx, int dy, int dz, int buttons) {
  live(opaque, REPLAY_MOUSE, (int32_t[]){dx, dy, dz, buttons}, 16);
}

static void on_tablet(void *opaque, int x, int y, int dz, int buttons) {
  live(opaque, REPLAY_TABLET, (int32_t[]){x, y, dz, buttons}, 16);
}

static void on_powerdown(struct machine *m) { live(m->replay, REPLAY_POWERDOWN, NULL, 0); }

static bool key_ready(void *opaque) {
  struct replay *r = opaque;
  return r->input.key_ready(r->input.key_opaque);
}

static int leds(void *opaque) {
  struct replay *r = opaque;
  return r->input.leds(r->input.key_opaque);
}

static bool tablet_active(void *opaque) {
  struct replay *r = opaque;
  return r->input.tablet_active && r->input.tablet_active(r->input.tablet_opaque);
}

void replay_add_input(struct replay *r) {
  struct machine *m = r->machine;
  struct input_sink *in = &m->input;
  r->input = *in;
  if (in->key)
    in->key = on_key;
  if (in->key_ready)
    in->key_ready = key_ready;
  if (in->leds)
    in->leds = leds;
  in->key_opaque = r;
  r->powerdown = m->on_powerdown;
  if (m->on_powerdown)
    m->on_powerdown = on_powerdown;
  if (in->mouse) {
    in->mouse = on_mouse;
    in->mouse_opaque = r;
  }
  if (in->tablet) {
    in->tablet = on_tablet;
    in->tablet_active = tablet_active;
    in->tablet_opaque = r;
  }
}

static void on_receive(void *opaque, const uint8_t *buf, size_t len) {
  struct replay_stream *s = opaque;
  uint8_t data[4097];
  for (size_t n; len; buf += n, len -= n) {
    n = len < sizeof data - 1 ? len : sizeof data - 1;
    data[0] = (uint8_t)s->number;
    memcpy(data + 1, buf, n);
    live(s->replay, REPLAY_STREAM, data, (uint32_t)n + 1);
  }
}

/* What was put off will take some of the room. */
static size_t can_receive(void *opaque) {
  const struct replay_stream *s = opaque;
  if (s->replay->playing)
    return 0;
  size_t room = s->can_receive(s->opaque), coming = 0;
  for (const struct replay_deferred *d = s->replay->first; d; d = d->next)
    if (d->kind == REPLAY_STREAM && d->data[0] == s->number)
      coming += d->size - 1;
  return room > coming ? room - coming : 0;
}

void replay_add_stream(struct replay *r, unsigned number, struct chardev *c) {
  if (!c || !c->receive || number >= REPLAY_STREAMS)
    return;
  r->stream[number] = (struct replay_stream){r, number, c, c->can_receive, c->receive, c->receive_opaque};
  if (c->can_receive)
    c->can_receive = can_receive;
  c->receive = on_receive;
  c->receive_opaque = &r->stream[number];
}

/* The host sends a frame to the card. */
static bool on_frame(void *opaque, const uint8_t *frame, size_t len) {
  struct replay_cable *c = opaque;
  uint8_t data[NET_FRAME_MAX + 1];
  if (c->replay->applying)
    return true;
  data[0] = (uint8_t)c->number;
  memcpy(data + 1, frame, len);
  live(c->replay, REPLAY_FRAME, data, (uint32_t)len + 1);
  return false;
}

void replay_add_cable(struct replay *r, unsigned number, struct net_cable *c) {
  if (!c || number >= REPLAY_CABLES)
    return;
  r->cable[number] = (struct replay_cable){r, number, c};
  net_set_gate(c, on_frame, r->playing, &r->cable[number]);
}

bool replay_command(struct replay *r, const char *line) {
  size_t n = strlen(line);
  return admit(r, REPLAY_COMMAND, line, (uint32_t)(n < REPLAY_PAYLOAD_MAX ? n : REPLAY_PAYLOAD_MAX));
}

bool replay_request(struct machine *m, enum replay_kind kind, int32_t value) {
  struct replay *r = m->replay;
  if (!r || m->in_guest || r->applying || r->ended)
    return true;
  if (r->playing) /* who looks on may leave */
    return kind == REPLAY_QUIT;
  return admit(r, kind, &value, sizeof value);
}

void replay_defer(struct machine *m, void (*fn)(void *opaque), void *opaque) {
  if (m->replay && !m->replay->playing && m->in_guest)
    defer(m->replay, fn, opaque, 0, NULL, 0);
  else
    fn(opaque);
}

/* --- the CPU loop --- */

bool replay_at_rest(const struct machine *m) {
  return m->settled && (m->state != MACHINE_RUNNING || clock_deadline(m->clock) > clock_now(m->clock));
}

static void run_deferred(struct replay *r) {
  while (r->first) {
    struct replay_deferred *d = r->first;
    r->first = d->next;
    if (!r->first)
      r->last = &r->first;
    if (d->fn)
      d->fn(d->opaque);
    else
      live(r, d->kind, d->data, d->size);
    free(d->data);
    free(d);
  }
}

/* --- snapshots --- */

void replay_set_snapshots(struct replay *r, uint32_t seconds) {
  r->snapshot_ns = seconds * NS_PER_SEC;
  r->next_snapshot = r->snapshot_ns;
}

static void snapshot_path(const struct replay *r, uint64_t icount, char *path, size_t size) {
  snprintf(path, size, "%s.%" PRIu64 ".snap", r->file.path, icount);
}

/* The record stands where the snapshot does among the inputs. */
static void take_snapshot(struct replay *r) {
  char path[4096], error[512];
  struct replay_place p = here(r);
  r->next_snapshot = p.ns - p.ns % r->snapshot_ns + r->snapshot_ns;
  snapshot_path(r, p.icount, path, sizeof path);
  if (machine_save(r->machine, path, NULL, error, sizeof error) == 0) {
    replay_file_write(&r->file, REPLAY_SNAPSHOT, &p, NULL, 0);
    return;
  }
  r->snapshot_ns = 0;
  warn_report("rrsnapshot: %s; there will be no further snapshots", error);
}

int replay_go_back(struct replay *r, uint64_t icount, char *error, size_t size) {
  struct replay_file f = r->file;
  struct replay_record e, best = {0};
  size_t after = 0;
  char path[4096];
  f.at = r->begin;
  while (replay_file_next(&f, &e) == 1)
    if (e.kind == REPLAY_SNAPSHOT && e.place.icount <= icount) {
      best = e;
      after = f.at;
    }
  uint64_t now = cpu_icount(r->machine->cpu[0]);
  if (now <= icount && (!after || best.place.icount <= now))
    return 0;
  if (!after) {
    snprintf(error, size,
             "the replay has passed that count, and there is no earlier snapshot (rrsnapshot=SECONDS)");
    return -1;
  }
  snapshot_path(r, best.place.icount, path, sizeof path);
  if (machine_load(r->machine, path, error, size) < 0)
    return -1;
  r->file.at = after;
  r->ended = false;
  r->difference[0] = 0;
  r->good = best.place;
  step_record(r);
  return 0;
}

struct check { /* the data of checkpoints */
  struct replay_hashes hashes;
  int32_t state, status;
};

static struct check take_check(struct replay *r, bool memory) {
  struct machine *m = r->machine;
  return (struct check){replay_hash(m, memory), (int32_t)m->state, m->exit_status};
}

static void write_check(struct replay *r) {
  bool memory = ++r->checks % r->memory_every == 0;
  struct check c = take_check(r, memory);
  struct replay_place p = here(r);
  replay_file_write(&r->file, memory ? REPLAY_MEMORY : REPLAY_CHECK, &p, &c, sizeof c);
  r->next_check = p.icount - p.icount % r->every + r->every;
}

static void compare_check(struct replay *r, const struct replay_record *e) {
  struct check then, now;
  if (e->size != sizeof then) {
    differ(r, "a checkpoint of a size that is not ours");
    return;
  }
  memcpy(&then, e->data, sizeof then);
  now = take_check(r, e->kind != REPLAY_CHECK);
  r->screen = now.hashes.screen;
  const char *what = then.hashes.cpu != now.hashes.cpu                                    ? "the CPU"
                     : then.hashes.devices != now.hashes.devices                          ? "a device"
                     : e->kind != REPLAY_CHECK && then.hashes.memory != now.hashes.memory ? "memory"
                     : e->kind != REPLAY_CHECK && then.hashes.screen != now.hashes.screen ? "the screen"
                     : e->kind == REPLAY_END && then.state != now.state   ? "how the machine ended"
                     : e->kind == REPLAY_END && then.status != now.status ? "the exit status"
                                                                          : NULL;
  if (what)
    differ(r, "%s differs from the recording at %" PRIu64 " instructions (%.6f s)", what, e->place.icount,
           (double)e->place.ns / NS_PER_SEC);
  else
    r->good = e->place, r->matched++;
}

/* Is the machine where the record was made? 1; 0: not yet; -1: it has gone past it. */
static int arrived(struct replay *r, const struct replay_record *e) {
  struct replay_place p = here(r);
  if (p.resets != e->place.resets)
    return p.resets < e->place.resets ? 0 : -1;
  if (p.icount != e->place.icount)
    return p.icount < e->place.icount ? 0 : -1;
  if (p.ns != e->place.ns)
    return p.ns < e->place.ns ? 0 : -1;
  return 1;
}

static void recording_ends(struct replay *r) {
  if (r->ended || r->difference[0])
    return;
  r->ended = true;
  if (!r->quiet)
    fprintf(stderr,
            "dragoman: replay: the recording was cut off here, at %" PRIu64 " instructions (%.6f s); %" PRIu64
            " inputs, %" PRIu64 " checkpoints agreed\n",
            r->end.icount, (double)r->end.ns / NS_PER_SEC, r->inputs, r->matched);
  r->applying = true;
  machine_request_quit(r->machine, 0);
  r->applying = false;
}

/* At the count of the record, and neither time nor the count of resets comes any nearer to its. */
static bool is_stuck(struct replay *r, const struct replay_record *e) {
  struct replay_place p = here(r);
  if (p.icount != e->place.icount || p.ns != r->stuck_at.ns || p.resets != r->stuck_at.resets ||
      p.icount != r->stuck_at.icount)
    r->stuck = 0;
  r->stuck_at = p;
  return ++r->stuck > STUCK_MAX;
}

static void play(struct replay *r) {
  struct machine *m = r->machine;
  while (r->has_next && !r->difference[0] && (m->state == MACHINE_RUNNING || m->state == MACHINE_PAUSED) &&
         !m->reset_wanted) {
    struct replay_record e = r->next;
    int where = arrived(r, &e);
    if (where == 0 && is_stuck(r, &e)) /* only a CPU that halts lets time pass at one count */
      where = -1;
    if (where < 0)
      differ(r,
             "the machine is at %" PRIu64 " instructions, %.9f s, where the recording has %" PRIu64
             ", %.9f s",
             cpu_icount(m->cpu[0]), (double)clock_now(m->clock) / NS_PER_SEC, e.place.icount,
             (double)e.place.ns / NS_PER_SEC);
    if (where <= 0 || e.kind == REPLAY_END)
      return; /* the end is compared when the machine has ended, see replay_finish */
    step_record(r);
    if (e.kind == REPLAY_CHECK || e.kind == REPLAY_MEMORY)
      compare_check(r, &e);
    else if (e.kind != REPLAY_SNAPSHOT)
      apply(r, &e);
  }
  if (!r->has_next && m->state == MACHINE_RUNNING)
    recording_ends(r);
}

void replay_poll(struct machine *m) {
  struct replay *r = m->replay;
  if (r->ended)
    return;
  if (r->playing) {
    play(r);
  } else {
    if (cpu_icount(m->cpu[0]) >= r->next_check)
      write_check(r);
    if (r->snapshot_ns && clock_now(m->clock) >= r->next_snapshot && m->state == MACHINE_RUNNING)
      take_snapshot(r);
    run_deferred(r);
  }
  if (cpu_icount(m->cpu[0]) >= r->break_at && m->state == MACHINE_RUNNING) {
    r->break_at = NO_BREAK;
    machine_pause(m, "replay");
  }
}

uint64_t replay_limit(const struct machine *m) {
  const struct replay *r = m->replay;
  uint64_t now = cpu_icount(m->cpu[0]), limit = UINT64_MAX;
  if (r->playing && r->has_next && r->next.place.resets == m->stat.resets && r->next.place.icount >= now &&
      (r->next.kind != REPLAY_END || r->next.place.icount > now))
    limit = r->next.place.icount;
  if (!r->playing && r->next_check > now)
    limit = r->next_check;
  if (r->break_at > now && r->break_at < limit)
    limit = r->break_at;
  return limit;
}

int64_t replay_deadline(const struct machine *m) {
  const struct replay *r = m->replay;
  if (!r->playing || !r->has_next || r->next.place.resets != m->stat.resets ||
      r->next.place.icount != cpu_icount(m->cpu[0]))
    return INT64_MAX;
  return r->next.place.ns;
}

void replay_finish(struct machine *m) {
  struct replay *r = m->replay;
  if (r->ended || r->difference[0])
    return;
  if (!r->playing) {
    struct check c = take_check(r, true);
    struct replay_place p = here(r);
    replay_file_write(&r->file, REPLAY_END, &p, &c, sizeof c);
    r->ended = true;
    return;
  }
  struct replay_record e = r->next;
  if (!r->has_next || e.kind != REPLAY_END)
    return; /* somebody quit the replay */
  if (arrived(r, &e) != 1)
    differ(r, "the machine ends at %" PRIu64 " instructions, %.9f s, the recording at %" PRIu64 ", %.9f s",
           cpu_icount(m->cpu[0]), (double)clock_now(m->clock) / NS_PER_SEC, e.place.icount,
           (double)e.place.ns / NS_PER_SEC);
  else
    compare_check(r, &e);
  r->ended = true;
  if (!r->difference[0] && !r->quiet)
    fprintf(stderr,
            "dragoman: replay: as recorded, to the end: %" PRIu64 " instructions, %.6f s, %" PRIu64
            " inputs, %" PRIu64 " checkpoints, screen %016" PRIx64 "\n",
            e.place.icount, (double)e.place.ns / NS_PER_SEC, r->inputs, r->matched, r->screen);
  if (r->difference[0])
    m->exit_status = 1;
}

void replay_info(struct replay *r, FILE *out) {
  struct replay_place p = here(r);
  fprintf(out, "%s '%s': instruction count = %" PRIu64 ", %.6f s, %" PRIu64 " inputs",
          r->playing ? "Replaying" : "Recording", r->file.path, p.icount, (double)p.ns / NS_PER_SEC,
          r->inputs);
  if (r->playing) {
    fprintf(out, ", %" PRIu64 " checkpoints agreed\nthe recording %s at %" PRIu64 " instructions, %.6f s\n",
            r->matched, r->complete ? "ends" : "was cut off", r->end.icount, (double)r->end.ns / NS_PER_SEC);
    if (r->break_at != NO_BREAK)
      fprintf(out, "break at %" PRIu64 "\n", r->break_at);
    if (r->difference[0])
      fprintf(out, "%s\n", r->difference);
  } else {
    fprintf(out, "\n");
  }
}
