/* SPDX-License-Identifier: MIT */
/* Waiting for other things than the screen: wait, wait_idle, wait_serial, wait_off. */
#include <stdlib.h>
#include <string.h>

#include "frontends/test/script_int.h"

#define LOOK_NS 20000000

static int word_wait(lua_State *L) {
  struct script *s = script_with_machine(L);
  double seconds = luaL_checknumber(L, 1);
  if (!(seconds >= 0 && seconds <= 1e6))
    script_error(L, "wait: seconds of guest time, 0 to 1000000");
  script_pass(L, s, seconds);
  return 0;
}

/* --- wait_idle --- */

/* How much came from the serial ports. */
static uint64_t serial_length(const struct script *s) {
  uint64_t sum = 0;
  for (unsigned i = 0; i < s->serials; i++)
    sum += s->port[i].length;
  return sum;
}

static int word_wait_idle(lua_State *L) {
  static const char *const known[] = {"timeout", "seconds", NULL};
  struct script *s = script_with_machine(L);
  lua_settop(L, 1);
  script_check_options(L, 1, known);
  double still = script_option_number(L, 1, "seconds", 1), timeout = script_option_timeout(L, s, 1);
  int64_t end = script_now(s) + (int64_t)(timeout * SECONDS), since = script_now(s);
  uint64_t length = serial_length(s);
  script_screen_changed(s);
  while (script_now(s) - since < (int64_t)(still * SECONDS)) {
    if (script_now(s) >= end)
      script_error(L, "the machine was not idle for %.14g s within %.14g s", still, timeout);
    script_advance(L, s, script_now(s) + LOOK_NS);
    if (!script_running(s))
      script_error(L, "%s", script_stop_reason(s));
    if (script_screen_changed(s) || serial_length(s) != length)
      since = script_now(s);
    length = serial_length(s);
  }
  return 0;
}

/* --- wait_serial --- */

/* The text without carriage returns and NULs; *map tells where each byte was. NULL: out of memory. */
static char *plain_text(const char *data, size_t length, size_t **map, size_t *out_length) {
  char *text = malloc(length + 1);
  size_t n = 0;
  *map = malloc((length + 1) * sizeof **map);
  for (size_t i = 0; text && *map && i < length; i++)
    if (data[i] != '\r' && data[i] != '\0') {
      text[n] = data[i];
      (*map)[n++] = i;
    }
  if (!text || !*map) {
    free(text);
    free(*map);
    return NULL;
  }
  text[n] = '\0';
  *out_length = n;
  return text;
}

/* Look for the text at `index`: pushes results, and says where it ends. */
static int find_serial(lua_State *L, const char *text, size_t length, int index, bool pattern, size_t *end) {
  size_t wanted_length;
  const char *wanted = lua_tolstring(L, index, &wanted_length);
  if (!pattern) {
    const char *at = memmem(text, length, wanted, wanted_length);
    if (!at)
      return 0;
    *end = (size_t)(at - text) + wanted_length;
    lua_pushvalue(L, index);
    return 1;
  }
  for (size_t line = 0; line < length;) {
    size_t n = strcspn(text + line, "\n");
    int top = lua_gettop(L);
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "find");
    lua_remove(L, -2);
    lua_pushlstring(L, text + line, n);
    lua_pushvalue(L, index);
    lua_call(L, 2, LUA_MULTRET);
    if (!lua_isnil(L, top + 1)) {
      size_t from = (size_t)lua_tointeger(L, top + 1) - 1, to = (size_t)lua_tointeger(L, top + 2);
      *end = line + to;
      if (lua_gettop(L) == top + 2)
        lua_pushlstring(L, text + line + from, to - from);
      lua_remove(L, top + 1);
      lua_remove(L, top + 1);
      return lua_gettop(L) - top;
    }
    lua_settop(L, top);
    line += n + 1;
  }
  return 0;
}

/* Any of the texts at 1, the one that comes first in the list; *which from 1. */
static int find_any_serial(lua_State *L, struct script_port *p, bool pattern, int *which) {
  size_t *map, length, end = 0;
  if (p->seen >= p->length)
    return 0;
  char *text = plain_text(p->data + p->seen, p->length - p->seen, &map, &length);
  if (!text)
    return 0;
  /* Lua's errors must not leave these behind: they become Lua's own. */
  char *own = lua_newuserdatauv(L, length + 1, 0);
  memcpy(own, text, length + 1);
  free(text);
  int results = 0;
  lua_Integer n = lua_istable(L, 1) ? luaL_len(L, 1) : 1;
  for (lua_Integer i = 1; i <= n && !results; i++) {
    if (lua_istable(L, 1))
      lua_rawgeti(L, 1, i);
    else
      lua_pushvalue(L, 1);
    int index = lua_gettop(L);
    results = find_serial(L, own, length, index, pattern, &end);
    lua_remove(L, index);
    *which = (int)i;
  }
  if (results && end)
    p->seen += map[end - 1] + 1;
  free(map);
  return results;
}

static struct script_port *port_at(lua_State *L, struct script *s, double number) {
  if (!(number >= 0 && number < s->serials))
    script_error(L, "there is no serial port %.14g: the machine has %u (machine{serials = N})", number,
                 s->serials);
  return &s->port[(int)number];
}

static int word_wait_serial(lua_State *L) {
  static const char *const known[] = {"timeout", "pattern", "port", NULL};
  struct script *s = script_with_machine(L);
  lua_settop(L, 2);
  if (!lua_istable(L, 1))
    luaL_checkstring(L, 1);
  script_check_options(L, 2, known);
  struct script_port *p = port_at(L, s, script_option_number(L, 2, "port", 0));
  bool pattern = script_option_bool(L, 2, "pattern");
  double timeout = script_option_timeout(L, s, 2);
  int64_t end = script_now(s) + (int64_t)(timeout * SECONDS);
  size_t looked = SIZE_MAX;
  for (;;) {
    int which = 0, results = p->length != looked ? find_any_serial(L, p, pattern, &which) : 0;
    looked = p->length;
    if (results && !lua_istable(L, 1))
      return results;
    if (results) {
      lua_pushinteger(L, which);
      lua_insert(L, -results - 1);
      return results + 1;
    }
    lua_settop(L, 2);
    if (!script_running(s) || script_now(s) >= end) {
      const char *tail = p->length ? p->data + (p->length > 300 ? p->length - 300 : 0) : "";
      script_error(L, "%s%s%s did not come from the serial port within %.14g s%s%s; the end of what came: %s",
                   lua_istable(L, 1) ? "none of the texts" : "'", lua_istable(L, 1) ? "" : lua_tostring(L, 1),
                   lua_istable(L, 1) ? "" : "'", timeout, script_running(s) ? "" : ": ",
                   script_running(s) ? "" : script_stop_reason(s), tail);
    }
    int64_t at = script_now(s) + LOOK_NS;
    script_advance(L, s, at < end ? at : end);
  }
}

static int word_serial_text(lua_State *L) {
  struct script *s = script_with_machine(L);
  struct script_port *p = port_at(L, s, luaL_optnumber(L, 1, 0));
  lua_pushlstring(L, p->data ? p->data : "", p->length);
  luaL_gsub(L, lua_tostring(L, -1), "\r", "");
  return 1;
}

static int word_serial_send(lua_State *L) {
  static const char *const known[] = {"port", NULL};
  struct script *s = script_with_machine(L);
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  script_check_options(L, 2, known);
  struct script_port *p = port_at(L, s, script_option_number(L, 2, "port", 0));
  char *send = realloc(p->send, p->send_length + length + 1);
  if (!send)
    script_error(L, "out of memory");
  memcpy(send + p->send_length, text, length);
  p->send = send;
  p->send_length += length;
  return 0;
}

/* --- wait_off --- */

static int word_wait_off(lua_State *L) {
  static const char *const known[] = {"timeout", NULL};
  struct script *s = script_with_machine(L);
  script_check_options(L, 1, known);
  double timeout = script_option_timeout(L, s, 1);
  script_advance(L, s, script_now(s) + (int64_t)(timeout * SECONDS));
  if (script_running(s))
    script_error(L, "the machine is still on after %.14g s", timeout);
  lua_pushinteger(L, s->machine->exit_status);
  return 1;
}

const luaL_Reg script_words_wait[] = {
    {"wait", word_wait},
    {"wait_idle", word_wait_idle},
    {"wait_serial", word_wait_serial},
    {"wait_off", word_wait_off},
    {"serial_text", word_serial_text},
    {"serial_send", word_serial_send},
    {NULL, NULL},
};
