/* SPDX-License-Identifier: MIT */
/*
 * Looking after a machine while a script runs it: has the guest crashed (crash.h), does it make progress,
 * what did it show lately (history.h). Looks are taken at guest times that depend on nothing else, so that
 * verdicts can be repeated.
 *
 *   expect_crash(kind, {timeout}) waits for a crash and returns a table; watch_crashes(false) looks away
 */
#include <stdlib.h>
#include <string.h>

#include "core/monitor.h"
#include "frontends/test/script_int.h"

#define LOOK_NS 100000000    /* between two looks */
#define SETTLE_NS 500000000  /* from a crash that is seen to the end of what the guest says about it */
#define HALT_NS 1000000000   /* HLT with interrupts off for so long: for ever */
#define STILL_NS 15000000000 /* one loop for so long: no progress */
#define READ_NS 2000000000   /* a picture is read when it has not changed for so long */
#define CELLS_MAX (256 * 128)
#define TAIL (16u << 10) /* of the serial port's text */
#define LOOP_BYTES 24u

struct watch {
  bool off; /* the script wants no crashes recognised */
  bool expecting;
  int64_t next;
  struct crash crash;
  int64_t seen; /* the first look that saw it */
  bool reported;
  size_t serial[BOARD_SERIALS]; /* looked at up to here */
  uint64_t screen;              /* hash of what was shown */
  int64_t screen_since;
  bool screen_read;
  uint64_t triples;
  int64_t halted_since; /* -1: not */
  uint64_t halted_count;
  int64_t loop_since;
  uint32_t loop_low, loop_high;
  size_t loop_serial;
  struct history history;
};

int script_watch_begin(struct script *s) {
  s->watch = calloc(1, sizeof *s->watch);
  if (!s->watch)
    return -1;
  s->watch->halted_since = -1;
  s->watch->off = s->config.ignore_crashes;
  return 0;
}

void script_watch_end(struct script *s) {
  if (s->watch)
    history_free(&s->watch->history);
  free(s->watch);
  s->watch = NULL;
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t length) {
  const uint8_t *p = data;
  for (size_t i = 0; i < length; i++)
    hash = (hash ^ p[i]) * 0x100000001b3ull;
  return hash;
}

/* Words at a time: pictures are large. */
static uint64_t hash_surface(const struct surface *p) {
  uint64_t hash = 0xcbf29ce484222325ull ^ (uint64_t)p->width << 32 ^ (uint64_t)p->height;
  for (int y = 0; y < p->height; y++) {
    const uint32_t *line = p->pixels + (size_t)y * (size_t)p->stride;
    for (int x = 0; x < p->width; x++)
      hash = (hash ^ (line[x] & 0xffffff)) * 0x100000001b3ull;
  }
  return hash;
}

uint64_t script_screen_hash(struct script *s) {
  const struct surface *p = s->machine ? script_surface(s) : NULL;
  return p && p->pixels ? hash_surface(p) : 0;
}

static void found(struct script *s, const struct crash *seen) {
  struct watch *w = s->watch;
  if (seen->kind < w->crash.kind)
    return;
  if (seen->kind == w->crash.kind) { /* more of the same message */
    if (strlen(seen->text) >= strlen(w->crash.text))
      memcpy(w->crash.text, seen->text, sizeof seen->text);
    if (!w->crash.module[0])
      memcpy(w->crash.module, seen->module, sizeof seen->module);
    if (seen->guest_says && !w->crash.guest_says) {
      w->crash.guest_says = true;
      w->crash.cs = seen->cs;
      w->crash.eip = seen->eip;
    }
    return;
  }
  const struct cpu *cpu = s->machine->cpu[0];
  if (w->crash.kind == CRASH_NONE) {
    w->seen = script_now(s);
    w->next = w->seen + SETTLE_NS;
  }
  w->crash = *seen;
  w->crash.time = script_now(s);
  w->crash.icount = cpu_icount(s->machine->cpu[0]);
  if (!seen->guest_says) {
    w->crash.cs = cpu->seg[CS].sel;
    w->crash.eip = cpu->eip;
  }
}

static void found_by_machine(struct script *s, enum crash_kind kind, const char *text) {
  struct crash c = {.kind = kind};
  snprintf(c.text, sizeof c.text, "%s", text);
  found(s, &c);
}

/* --- what is looked at -------------------------------------------------------------------------------- */

static void look_at_serial(struct script *s) {
  struct watch *w = s->watch;
  for (unsigned i = 0; i < s->serials; i++) {
    const struct script_port *p = &s->port[i];
    if (p->length == w->serial[i] && w->crash.kind == CRASH_NONE)
      continue;
    size_t from =
        w->serial[i] > TAIL ? w->serial[i] - TAIL : 0; /* a crash's first lines may have come before */
    if (p->length - from > 4 * TAIL)
      from = p->length - 4 * TAIL;
    struct crash c = {0};
    if (p->data && crash_in_serial(p->data + from, p->length - from, &c))
      found(s, &c);
    w->serial[i] = p->length;
  }
}

static void look_at_screen(struct script *s) {
  struct watch *w = s->watch;
  struct display *d = s->machine->display;
  static uint8_t cells[CELLS_MAX], attributes[CELLS_MAX];
  int rows = 0, x, y;
  if (!d)
    return;
  int columns = d->text ? d->text(d, cells, attributes, CELLS_MAX, &rows, &x, &y) : 0;
  size_t count = columns > 0 ? (size_t)columns * (size_t)rows : 0;
  uint64_t hash = hash_bytes(hash_bytes(0xcbf29ce484222325ull, cells, count), attributes, count);
  const struct surface *p = count ? NULL : script_surface(s);
  if (p && p->pixels)
    hash = hash_surface(p);
  struct crash c = {0};
  if (hash != w->screen) {
    w->screen = hash;
    w->screen_since = script_now(s);
    w->screen_read = false;
    const struct surface *shown = script_surface(s);
    if (shown)
      history_add(&w->history, shown);
    if (count && !w->off && crash_in_cells(cells, attributes, columns, rows, &c))
      found(s, &c);
  } else if (p && p->pixels && !w->off && !w->screen_read && script_now(s) - w->screen_since >= READ_NS) {
    w->screen_read = true;
    const struct screen_text *t = crash_is_blue(p) ? script_screen_text(s) : NULL;
    if (crash_in_picture(p, t ? t->text : NULL, &c))
      found(s, &c);
  }
}

/* What the CPU does can mean that nothing will happen any more. */
static void look_at_cpu(struct script *s) {
  struct watch *w = s->watch;
  const struct cpu *cpu = s->machine->cpu[0];
  int64_t now = script_now(s);
  uint64_t count = cpu_icount(s->machine->cpu[0]);
  bool dead = cpu->halted && !(cpu->eflags & FL_IF);
  if (!dead || w->halted_since < 0 || w->halted_count != count) {
    w->halted_since = dead ? now : -1;
    w->halted_count = count;
  } else if (now - w->halted_since >= HALT_NS) {
    found_by_machine(s, CRASH_HALTED, "HLT with interrupts disabled");
  }

  uint32_t at = cpu->seg[CS].base + cpu->eip;
  uint32_t low = at < w->loop_low ? at : w->loop_low, high = at > w->loop_high ? at : w->loop_high;
  if (cpu->halted || high - low >= LOOP_BYTES || now - w->screen_since < LOOK_NS ||
      s->port[0].length != w->loop_serial) {
    w->loop_since = now;
    w->loop_low = w->loop_high = at;
    w->loop_serial = s->port[0].length;
    return;
  }
  w->loop_low = low;
  w->loop_high = high;
  if (now - w->loop_since < STILL_NS || now - w->screen_since < STILL_NS)
    return;
  uint8_t code[LOOP_BYTES];
  unsigned n = debug_read(s->machine, low, code, sizeof code, 0);
  if (crash_is_dead_loop(code, n, cpu->mode & MODE_CODE32, cpu->eflags & FL_IF))
    found_by_machine(s, CRASH_NO_PROGRESS, "a loop that nothing leaves, and a screen that does not change");
  w->loop_since = now; /* ask again later */
}

static void look(struct script *s) {
  struct watch *w = s->watch;
  w->next = script_now(s) + LOOK_NS;
  look_at_screen(s);
  if (w->off)
    return;
  look_at_serial(s);
  if (s->machine->stat.triple_faults != w->triples) {
    struct crash c = {.kind = CRASH_TRIPLE_FAULT, .text = "triple fault", .guest_says = true};
    c.cs = s->machine->triple_cs;
    c.eip = s->machine->triple_eip;
    found(s, &c);
    w->crash.guest_says = false;
    w->triples = s->machine->stat.triple_faults;
  }
  if (w->crash.kind == CRASH_NONE && script_running(s))
    look_at_cpu(s);
}

static bool is_settled(const struct script *s) {
  const struct watch *w = s->watch;
  return w->crash.kind != CRASH_NONE && (script_now(s) - w->seen >= SETTLE_NS || !script_running(s));
}

/* --- for script_advance ------------------------------------------------------------------------------- */

int64_t script_watch_next(const struct script *s) { return s->watch ? s->watch->next : INT64_MAX; }

static _Noreturn void report(lua_State *L, struct script *s) {
  const struct crash *c = &s->watch->crash;
  script_error(L, "the guest crashed (%s): %s%s%s%s", crash_kind_name(c->kind), c->text,
               c->module[0] ? " [" : "", c->module, c->module[0] ? "]" : "");
}

void script_watch(lua_State *L, struct script *s) {
  struct watch *w = s->watch;
  if (!w)
    return;
  if (w->next > script_now(s) + SETTLE_NS) { /* back in time: restore() */
    bool off = w->off;
    struct history history = w->history;
    *w = (struct watch){.off = off, .history = history, .halted_since = -1, .next = script_now(s)};
    w->triples = s->machine->stat.triple_faults;
    for (unsigned i = 0; i < s->serials; i++)
      w->serial[i] = s->port[i].length;
    w->screen_since = w->loop_since = script_now(s);
  }
  if (script_now(s) >= w->next || !script_running(s))
    look(s);
  if (is_settled(s) && !w->expecting && !w->reported) {
    w->reported = true;
    if (s->result)
      s->result->crash = w->crash;
    report(L, s);
  }
}

/* A test that failed on a machine that had gone off: that is why, or nearly. */
void script_watch_result(struct script *s, struct script_result *r) {
  struct watch *w = s->watch;
  if (!w || r->verdict != VERDICT_FAIL || r->crash.kind != CRASH_NONE || w->off)
    return;
  if (w->crash.kind == CRASH_NONE && s->machine && !script_running(s) && !w->expecting)
    found_by_machine(s, CRASH_OFF, script_stop_reason(s));
  if (!w->expecting)
    r->crash = w->crash;
}

int script_watch_save(struct script *s, const char *path) {
  return s->watch ? history_write(&s->watch->history, path) : -1;
}

/* --- words -------------------------------------------------------------------------------------------- */

static void push_crash(lua_State *L, const struct crash *c) {
  lua_newtable(L);
  lua_pushstring(L, crash_kind_name(c->kind));
  lua_setfield(L, -2, "kind");
  lua_pushstring(L, c->text);
  lua_setfield(L, -2, "text");
  if (c->module[0]) {
    lua_pushstring(L, c->module);
    lua_setfield(L, -2, "module");
  }
  lua_pushinteger(L, c->cs);
  lua_setfield(L, -2, "cs");
  lua_pushinteger(L, c->eip);
  lua_setfield(L, -2, "eip");
  lua_pushnumber(L, (double)c->time / SECONDS);
  lua_setfield(L, -2, "time");
}

static int word_expect_crash(lua_State *L) {
  static const char *const known[] = {"timeout", NULL};
  struct script *s = script_with_machine(L);
  struct watch *w = s->watch;
  const char *kind = luaL_optstring(L, 1, NULL);
  script_check_options(L, 2, known);
  if (kind && crash_kind_from_name(kind) == CRASH_NONE)
    script_error(
        L,
        "expect_crash: there is no kind '%s' (panic, oops, blue-screen, stop, dos, triple-fault, halted,"
        " no-progress, off)",
        kind);
  int64_t end = script_now(s) + (int64_t)(script_option_timeout(L, s, 2) * SECONDS);
  w->expecting = true;
  w->off = false;
  while (!is_settled(s) && script_running(s) && script_now(s) < end)
    script_advance(L, s, script_now(s) + LOOK_NS < end ? script_now(s) + LOOK_NS : end);
  if (w->crash.kind == CRASH_NONE && !script_running(s))
    found_by_machine(s, CRASH_OFF, script_stop_reason(s));
  if (w->crash.kind == CRASH_NONE)
    script_error(L, "the guest did not crash");
  if (kind && w->crash.kind != crash_kind_from_name(kind)) {
    s->result->crash = w->crash;
    script_error(L, "the guest crashed, but not by '%s' (%s): %s", kind, crash_kind_name(w->crash.kind),
                 w->crash.text);
  }
  push_crash(L, &w->crash);
  return 1;
}

static int word_watch_crashes(lua_State *L) {
  luaL_checktype(L, 1, LUA_TBOOLEAN);
  script_with_machine(L)->watch->off = !lua_toboolean(L, 1);
  return 0;
}

const luaL_Reg script_words_watch[] = {
    {"expect_crash", word_expect_crash}, {"watch_crashes", word_watch_crashes}, {NULL, NULL}};
