/* SPDX-License-Identifier: MIT */
/*
 * machine{}: from a table to the command line's words, and from these to a machine (frontends/session.h);
 * running it from one guest time to another. A script's machine counts its time, writes to no image, and
 * reaches nothing of the host but the images that it was given: options that would are refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/guests.h"
#include "frontends/test/script_int.h"

#define SLICE_NS 10000000 /* between two looks at the host's time */

/* --- options --- */

enum { WORD_PLAIN, WORD_TEXT, WORD_FILE, WORD_DRIVE };

static const struct allowed {
  const char *name;
  int kind;
} allowed[] = {
    {"accel", WORD_TEXT},      {"append", WORD_TEXT}, {"bios", WORD_FILE},    {"boot", WORD_TEXT},
    {"cdrom", WORD_FILE},      {"cpu", WORD_TEXT},    {"device", WORD_TEXT},  {"drive", WORD_DRIVE},
    {"fda", WORD_FILE},        {"fdb", WORD_FILE},    {"guest", WORD_TEXT},   {"hda", WORD_FILE},
    {"hdb", WORD_FILE},        {"hdc", WORD_FILE},    {"hdd", WORD_FILE},     {"icount", WORD_TEXT},
    {"initrd", WORD_FILE},     {"kernel", WORD_FILE}, {"m", WORD_TEXT},       {"machine", WORD_TEXT},
    {"no-reboot", WORD_PLAIN}, {"rtc", WORD_TEXT},    {"soundhw", WORD_TEXT}, {"usb", WORD_PLAIN},
    {"usbdevice", WORD_TEXT},  {"vga", WORD_TEXT},
};

static const struct allowed *find_allowed(const char *name) {
  for (size_t i = 0; i < sizeof allowed / sizeof allowed[0]; i++)
    if (!strcmp(allowed[i].name, name))
      return &allowed[i];
  return NULL;
}

static void add_word(lua_State *L, struct script *s, const char *prefix, const char *word) {
  char *copy;
  if (s->word_count == SCRIPT_WORDS || asprintf(&copy, "%s%s", prefix, word) < 0)
    script_error(L, "machine: too many options");
  s->word[s->word_count++] = copy;
}

/* file=NAME in a -drive becomes the path that may be read; a comma in it is doubled. */
static const char *drive_value(lua_State *L, struct script *s, const char *value) {
  if (strstr(value, "overlay="))
    script_error(L, "machine: a script's disks are written to no file: leave overlay= out");
  const char *at = !strncmp(value, "file=", 5) ? value : strstr(value, ",file=");
  if (!at)
    return value;
  at = strchr(at, '=') + 1;
  size_t n = strcspn(at, ",");
  lua_pushlstring(L, at, n);
  const char *path = script_path(L, s, lua_tostring(L, -1));
  path = luaL_gsub(L, path, ",", ",,");
  lua_pushlstring(L, value, (size_t)(at - value));
  lua_pushfstring(L, "%s%s%s", lua_tostring(L, -1), path, at + n);
  return lua_tostring(L, -1);
}

/* One option; value NULL for those without. */
static void add_option(lua_State *L, struct script *s, const char *name, const char *value) {
  const struct allowed *a = find_allowed(name);
  int top = lua_gettop(L);
  if (!a)
    script_error(
        L, "machine: '%s' is not for scripts; they may use%s", name,
        " accel, append, bios, boot, cdrom, cpu, devices, drive, fda, fdb, guest, hda to hdd, icount, image,"
        " initrd, kernel, machine, memory, no-reboot, rtc, serials, soundhw, timeout, usb, usbdevice, vga");
  if (!value != (a->kind == WORD_PLAIN))
    script_error(L, "machine: '%s' %s", name, value ? "takes no value but true" : "needs a value");
  if (!strcmp(name, "rtc") && !strpbrk(value, "0123456789"))
    script_error(L, "machine: rtc must be a date (base=1998-06-01), or runs could not be repeated");
  add_word(L, s, "-", name);
  if (a->kind == WORD_FILE)
    value = script_path(L, s, value);
  else if (a->kind == WORD_DRIVE)
    value = drive_value(L, s, value);
  if (value)
    add_word(L, s, "", value);
  lua_settop(L, top);
}

/* "-m 16 -vga cirrus", or one word of a list. */
static void add_words(lua_State *L, struct script *s, const char *text) {
  size_t size = strlen(text) + 1;
  char *copy = lua_newuserdatauv(L, size, 0), *rest = copy, *word; /* Lua's: an error leaves no leak */
  char name[32] = "";
  memcpy(copy, text, size);
  while ((word = strsep(&rest, " \t\n"))) {
    if (!*word)
      continue;
    if (name[0]) {
      add_option(L, s, name, word);
      name[0] = '\0';
      continue;
    }
    const char *plain = word + (word[0] == '-') + (word[0] == '-' && word[1] == '-');
    const struct allowed *a = find_allowed(plain);
    if (word[0] != '-')
      add_option(L, s, "hda", word);
    else if (!a || a->kind == WORD_PLAIN)
      add_option(L, s, plain, NULL);
    else
      snprintf(name, sizeof name, "%s", plain);
  }
  lua_pop(L, 1);
  if (name[0])
    script_error(L, "machine: -%s needs a value", name);
}

/* A key of the table; the value is on top of the stack. */
static void add_key(lua_State *L, struct script *s, const char *key) {
  if (!strcmp(key, "timeout")) {
    s->timeout = luaL_checknumber(L, -1);
  } else if (!strcmp(key, "mouse_scale")) {
    s->mouse_scale = luaL_checknumber(L, -1);
    if (!(s->mouse_scale > 0 && s->mouse_scale <= 100))
      script_error(L, "machine: mouse_scale is more than 0, up to 100");
  } else if (!strcmp(key, "serials")) {
    lua_Integer n = luaL_checkinteger(L, -1);
    if (n < 0 || n > BOARD_SERIALS)
      script_error(L, "machine: serials is 0 to %d", BOARD_SERIALS);
    s->serials = (unsigned)n;
  } else if (!strcmp(key, "image")) {
    snprintf(s->image_drive, sizeof s->image_drive, "%s", luaL_checkstring(L, -1));
    if (!find_allowed(s->image_drive) || find_allowed(s->image_drive)->kind != WORD_FILE)
      script_error(L, "machine: image is the drive that --image goes into: hda, fda or cdrom");
  } else if (!strcmp(key, "memory")) {
    add_option(L, s, "m", luaL_checkstring(L, -1));
  } else if (!strcmp(key, "options")) {
    add_words(L, s, luaL_checkstring(L, -1));
  } else if (lua_istable(L, -1)) { /* devices = {"sb16", ...}, drive = {...} */
    const char *name = !strcmp(key, "devices") ? "device" : key;
    lua_Integer n = luaL_len(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, -1, i);
      add_option(L, s, name, luaL_checkstring(L, -1));
      lua_pop(L, 1);
    }
  } else if (lua_isboolean(L, -1)) {
    if (lua_toboolean(L, -1))
      add_option(L, s, key, NULL);
  } else {
    add_option(L, s, !strcmp(key, "devices") ? "device" : key, luaL_checkstring(L, -1));
  }
}

static int compare_names(const void *a, const void *b) {
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int word_machine(lua_State *L) {
  struct script *s = script_of(L);
  const char *key[SCRIPT_WORDS];
  size_t count = 0;
  if (s->machine || s->described)
    script_error(L, "machine: a script has one machine, described before its tests run");
  s->described = true;
  if (lua_type(L, 1) == LUA_TSTRING) {
    add_words(L, s, lua_tostring(L, 1));
    return 0;
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, 1); lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING || count == SCRIPT_WORDS)
      script_error(L, "machine: options are named, like memory = 16");
    key[count++] = lua_tostring(L, -2);
  }
  qsort(key, count, sizeof key[0], compare_names); /* the order of devices must not depend on chance */
  for (size_t i = 0; i < count; i++) {
    lua_getfield(L, 1, key[i]);
    add_key(L, s, key[i]);
    lua_pop(L, 1);
  }
  return 0;
}

static int word_setup(lua_State *L) {
  struct script *s = script_of(L);
  luaL_checktype(L, 1, LUA_TFUNCTION);
  if (s->machine || s->setup != LUA_NOREF)
    script_error(L, "setup: a script has one setup, given before its tests run");
  lua_settop(L, 1);
  s->setup = luaL_ref(L, LUA_REGISTRYINDEX);
  return 0;
}

static int word_test(lua_State *L) {
  struct script *s = script_of(L);
  const char *name = luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  if (s->machine)
    script_error(L, "test: tests cannot be declared inside of tests");
  for (unsigned i = 0; i < s->test_count; i++)
    if (!strcmp(s->test[i].name, name))
      script_error(L, "test: there is a test '%s' already", name);
  if (!*name || strpbrk(name, "\n\r#") || s->test_count == SCRIPT_TESTS)
    script_error(L, "test: a name is one line without '#', and %d tests are the most", SCRIPT_TESTS);
  struct script_test *t = realloc(s->test, (s->test_count + 1) * sizeof *t);
  char *copy = strdup(name);
  if (t)
    s->test = t;
  if (!t || !copy) {
    free(copy);
    script_error(L, "out of memory");
  }
  lua_settop(L, 2);
  t[s->test_count++] = (struct script_test){copy, luaL_ref(L, LUA_REGISTRYINDEX)};
  return 0;
}

const luaL_Reg script_words_machine[] = {
    {"machine", word_machine}, {"setup", word_setup}, {"test", word_test}, {NULL, NULL}};

/* --- serial ports --- */

static size_t port_write(struct chardev *c, const uint8_t *buf, size_t len) {
  struct script_port *p = (struct script_port *)((char *)c - offsetof(struct script_port, dev));
  if (p->length + len + 1 > p->size && p->size < SCRIPT_SERIAL_MAX) {
    size_t size = (p->length + len + 1) * 2;
    char *data = realloc(p->data, size);
    if (data) {
      p->data = data;
      p->size = size;
    }
  }
  for (size_t i = 0; i < len && p->length + 1 < p->size; i++)
    p->data[p->length++] = (char)buf[i];
  if (p->data)
    p->data[p->length] = '\0';
  return len;
}

/* As much as the UART takes. */
static void port_send(struct script_port *p) {
  struct chardev *c = &p->dev;
  while (p->sent < p->send_length && c->receive && c->can_receive && c->can_receive(c->receive_opaque)) {
    c->receive(c->receive_opaque, (const uint8_t *)p->send + p->sent, 1);
    p->sent++;
  }
}

static void port_ready(struct chardev *c) {
  port_send((struct script_port *)((char *)c - offsetof(struct script_port, dev)));
}

/* --- making --- */

static bool is_given(char *const *word, int count, const char *name) {
  for (int i = 1; i < count; i++)
    if (word[i][0] == '-' && !strcmp(word[i] + 1, name))
      return true;
  return false;
}

/* What overrides stands behind: earlier words for the same thing go. */
static int without(char **word, int count, const char *option) {
  static const char *const many[] = {"-device", "-drive", "-usbdevice", "-soundhw"};
  for (size_t i = 0; i < sizeof many / sizeof many[0]; i++)
    if (!strcmp(option, many[i]))
      return count;
  int out = 1;
  for (int i = 1; i < count; i++) {
    const struct allowed *a = word[i][0] == '-' ? find_allowed(word[i] + 1) : NULL;
    if (!strcmp(word[i], option) && a) {
      i += a->kind != WORD_PLAIN;
      continue;
    }
    word[out++] = word[i];
    if (a && a->kind != WORD_PLAIN && i + 1 < count)
      word[out++] = word[++i];
  }
  return out;
}

/* The drive that an image belongs into, by its name and size, where the script does not say. */
static const char *drive_for(const struct script *s) {
  const char *dot = strrchr(s->config.image, '.');
  struct block *b;
  const char *why;
  if (s->image_drive[0])
    return s->image_drive;
  if (dot && (!strcasecmp(dot, ".iso") || !strcasecmp(dot, ".cue")))
    return "cdrom";
  if (block_open(&b, s->config.image, 0, &why) < 0)
    return "hda"; /* which will say what is wrong */
  bool floppy = block_size(b) <= 2949120;
  block_close(b);
  return floppy ? "fda" : "hda";
}

/* The command line of the machine, in `word`; strings stay where they are. */
static int command_line(struct script *s, char **word, char drive[20]) {
  int n = 0;
  word[n++] = (char *)"dragoman";
  for (unsigned i = 0; i < s->word_count; i++)
    word[n++] = s->word[i];
  if (s->config.image) {
    snprintf(drive, 20, "-%s", drive_for(s));
    n = without(word, n, drive);
    word[n++] = drive;
    word[n++] = (char *)s->config.image;
  }
  for (unsigned i = 0; i < s->config.option_count; i++)
    if (s->config.options[i][0] == '-')
      n = without(word, n, s->config.options[i]);
  for (unsigned i = 0; i < s->config.option_count && n < 2 * SCRIPT_WORDS; i++)
    word[n++] = (char *)s->config.options[i];
  if (!is_given(word, n, "icount")) {
    word[n++] = (char *)"-icount";
    word[n++] = (char *)"on";
  }
  word[n++] = (char *)"-nodefaults";
  word[n++] = (char *)"-snapshot";
  return n;
}

int script_make_machine(struct script *s, char *error, size_t size) {
  char *word[2 * SCRIPT_WORDS + 16], drive[20];
  int count = command_line(s, word, drive);
  struct session *session = calloc(1, sizeof *session);
  if (!session) {
    snprintf(error, size, "out of memory");
    return -1;
  }
  s->session = session;
  if (options_parse(&session->options, count, word, session->error, SESSION_ERROR) < 0 ||
      guest_apply(&session->options, session->error, SESSION_ERROR) < 0 || session_begin(session) < 0) {
    snprintf(error, size, "machine: %s", session->error[0] ? session->error : "it cannot be made");
    return -1;
  }
  for (unsigned i = 0; i < s->serials; i++) {
    s->port[i].dev.write = port_write;
    s->port[i].dev.device_ready = port_ready;
    session->board.serial[i] = &s->port[i].dev;
  }
  if (session_finish(session) < 0) {
    snprintf(error, size, "machine: %s", session->error[0] ? session->error : "it cannot be made");
    return -1;
  }
  s->machine = session->machine;
  s->keys = keyqueue_new(s->machine);
  if (!s->keys || script_watch_begin(s) < 0) {
    snprintf(error, size, "out of memory");
    return -1;
  }
  keyqueue_set_pace(s->keys, 1000000, 1000000);
  return 0;
}

void script_end_machine(struct script *s) {
  script_watch_end(s);
  keyqueue_free(s->keys);
  s->keys = NULL;
  s->machine = NULL;
  if (s->session)
    session_end(s->session);
  free(s->session);
  s->session = NULL;
  for (unsigned i = 0; i < BOARD_SERIALS; i++) {
    free(s->port[i].data);
    free(s->port[i].send);
    s->port[i] = (struct script_port){0};
  }
}

/* --- running --- */

int64_t script_now(const struct script *s) { return clock_now(s->machine->clock); }

bool script_running(const struct script *s) { return s->machine->state == MACHINE_RUNNING; }

const char *script_stop_reason(const struct script *s) {
  static char text[160];
  const struct machine *m = s->machine;
  snprintf(text, sizeof text, "the machine %s%s%s%s",
           m->state == MACHINE_PAUSED ? "is paused"
           : m->state == MACHINE_QUIT ? "was ended"
                                      : "is off",
           m->stop_reason[0] ? " (" : "", m->stop_reason, m->stop_reason[0] ? ")" : "");
  return text;
}

void script_advance(lua_State *L, struct script *s, int64_t when) {
  s->screen_old = true;
  while (script_running(s) && script_now(s) < when) {
    int64_t step = script_now(s) + SLICE_NS;
    for (unsigned i = 0; i < s->serials; i++)
      port_send(&s->port[i]);
    script_check_host_time(L, s);
    int64_t look = script_watch_next(s);
    if (look < step && look > script_now(s))
      step = look;
    machine_run_to(s->machine, step < when ? step : when);
    script_watch(L, s);
  }
}

void script_pass(lua_State *L, struct script *s, double seconds) {
  script_advance(L, s, script_now(s) + (int64_t)(seconds * SECONDS));
  if (!script_running(s))
    script_error(L, "%s", script_stop_reason(s));
}
