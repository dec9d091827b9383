/* SPDX-License-Identifier: MIT */
/*
 * The Lua state of a script: what is in it, and what is not. No io, os, package and debug, no precompiled
 * code; `require` loads Lua files of the script's own directory. What could differ between two runs is taken
 * out: pairs and next go through a table in the order of its keys, random numbers begin with a fixed seed,
 * and tables and functions print as numbers that count up instead of addresses. Memory and host time have
 * ceilings.
 */
#include <stdlib.h>
#include <string.h>

#include "frontends/test/script_int.h"

#define HOOK_EVERY 100000 /* Lua instructions between two looks at the time */

static const char loaded_key, ids_key, format_key;

/* --- memory and time --- */

static void *allocate(void *opaque, void *old, size_t old_size, size_t size) {
  struct script *s = opaque;
  if (!old)
    old_size = 0;
  if (size == 0) {
    free(old);
    s->memory -= old_size;
    return NULL;
  }
  if (size > old_size && s->memory + (size - old_size) > SCRIPT_MEMORY)
    return NULL;
  void *p = realloc(old, size);
  if (p)
    s->memory = s->memory - old_size + size;
  return p;
}

void script_check_host_time(lua_State *L, struct script *s) {
  if (!s->host_end || script_cpu_seconds() * 1e9 < (double)s->host_end)
    return;
  s->host_over = true;
  script_error(L, "it took too long: more than %u seconds of the host's CPU time",
               s->config.host_seconds ? s->config.host_seconds : 600);
}

static void hook(lua_State *L, lua_Debug *d) {
  (void)d;
  script_check_host_time(L, script_of(L));
}

/* --- tables in order --- */

struct key {
  int type, index;
  double number;
  const char *string;
  size_t length;
};

static int key_class(int type) {
  return type == LUA_TBOOLEAN ? 0 : type == LUA_TNUMBER ? 1 : type == LUA_TSTRING ? 2 : 3;
}

static int compare_keys(const void *a, const void *b) {
  const struct key *p = a, *q = b;
  if (key_class(p->type) != key_class(q->type))
    return key_class(p->type) - key_class(q->type);
  if (p->type != LUA_TSTRING)
    return (p->number > q->number) - (p->number < q->number);
  int r = memcmp(p->string, q->string, p->length < q->length ? p->length : q->length);
  return r ? r : (p->length > q->length) - (p->length < q->length);
}

/* Push a list of the keys of the table at 1, in order. */
static void push_keys(lua_State *L) {
  int count = 0, objects = 0;
  lua_newtable(L);
  int list = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, 1); count++) {
    lua_pop(L, 1);
    objects += key_class(lua_type(L, -1)) == 3;
    lua_pushvalue(L, -1);
    lua_rawseti(L, list, count + 1);
  }
  if (objects > 1)
    luaL_error(
        L, "the keys of this table have no order that could be repeated (tables or functions); use a list");
  if (count < 2)
    return;
  struct key *key = lua_newuserdatauv(L, sizeof *key * (size_t)count, 0);
  for (int i = 0; i < count; i++) {
    key[i] = (struct key){.type = lua_rawgeti(L, list, i + 1), .index = i + 1};
    if (key[i].type == LUA_TSTRING) /* the list keeps it */
      key[i].string = lua_tolstring(L, -1, &key[i].length);
    else
      key[i].number = key[i].type == LUA_TBOOLEAN ? lua_toboolean(L, -1) : lua_tonumber(L, -1);
    lua_pop(L, 1);
  }
  qsort(key, (size_t)count, sizeof *key, compare_keys);
  lua_createtable(L, count, 0);
  for (int i = 0; i < count; i++) {
    lua_rawgeti(L, list, key[i].index);
    lua_rawseti(L, -2, i + 1);
  }
  lua_replace(L, list);
  lua_settop(L, list);
}

/* Upvalues: the table, its keys, how many are done. */
static int next_pair(lua_State *L) {
  lua_Integer i = lua_tointeger(L, lua_upvalueindex(3));
  while (lua_rawgeti(L, lua_upvalueindex(2), ++i) != LUA_TNIL) {
    lua_pushvalue(L, -1);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) {
      lua_pushinteger(L, i);
      lua_replace(L, lua_upvalueindex(3));
      return 2;
    }
    lua_pop(L, 2); /* removed on the way */
  }
  return 1;
}

static int ordered_pairs(lua_State *L) {
  luaL_checkany(L, 1);
  if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
    lua_pushvalue(L, 1);
    lua_call(L, 1, 3);
    return 3;
  }
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_pushvalue(L, 1);
  push_keys(L);
  lua_pushinteger(L, 0);
  lua_pushcclosure(L, next_pair, 3);
  lua_pushvalue(L, 1);
  return 2;
}

static int ordered_next(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 2);
  push_keys(L);
  lua_Integer i = 1;
  if (!lua_isnil(L, 2))
    for (int type; (type = lua_rawgeti(L, 3, i++)) != LUA_TNIL && !lua_rawequal(L, -1, 2);)
      lua_pop(L, 1);
  if (lua_rawgeti(L, 3, i) == LUA_TNIL)
    return 1;
  lua_pushvalue(L, -1);
  lua_rawget(L, 1);
  return 2;
}

/* --- texts of things --- */

static bool has_address(lua_State *L, int index) {
  int type = lua_type(L, index);
  if (type != LUA_TTABLE && type != LUA_TFUNCTION && type != LUA_TUSERDATA && type != LUA_TTHREAD &&
      type != LUA_TLIGHTUSERDATA)
    return false;
  if (luaL_getmetafield(L, index, "__tostring") == LUA_TNIL)
    return true;
  lua_pop(L, 1);
  return false;
}

/* "table: 3", the third thing that was printed. */
static int plain_tostring(lua_State *L) {
  luaL_checkany(L, 1);
  lua_settop(L, 1);
  if (!has_address(L, 1)) {
    luaL_tolstring(L, 1, NULL);
    return 1;
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &ids_key);
  lua_pushvalue(L, 1);
  if (lua_rawget(L, 2) == LUA_TNIL) {
    lua_rawgeti(L, 2, 0);
    lua_Integer id = lua_tointeger(L, -1) + 1;
    lua_pushinteger(L, id);
    lua_rawseti(L, 2, 0);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, id);
    lua_rawset(L, 2);
    lua_pushinteger(L, id);
  }
  lua_pushfstring(L, "%s: %d", luaL_typename(L, 1), (int)lua_tointeger(L, -1));
  return 1;
}

static int plain_format(lua_State *L) {
  const char *p = luaL_checkstring(L, 1);
  for (; (p = strchr(p, '%')); p++) {
    p++;
    p += strspn(p, "-+ #0123456789.");
    if (*p == 'p')
      luaL_error(L, "%%p would print an address, which no two runs have in common");
    if (!*p)
      break;
  }
  int n = lua_gettop(L);
  for (int i = 2; i <= n; i++)
    if (has_address(L, i)) {
      lua_pushcfunction(L, plain_tostring);
      lua_pushvalue(L, i);
      lua_call(L, 1, 1);
      lua_replace(L, i);
    }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &format_key);
  lua_insert(L, 1);
  lua_call(L, n, 1);
  return 1;
}

static int log_words(lua_State *L) {
  luaL_Buffer b;
  int n = lua_gettop(L);
  luaL_buffinit(L, &b);
  for (int i = 1; i <= n; i++) {
    if (i > 1)
      luaL_addchar(&b, ' ');
    lua_pushcfunction(L, plain_tostring);
    lua_pushvalue(L, i);
    lua_call(L, 1, 1);
    luaL_addvalue(&b);
  }
  luaL_pushresult(&b);
  script_log(script_of(L), lua_tostring(L, -1));
  return 0;
}

/* --- code --- */

static int load_text(lua_State *L) { /* load(text [, name [, mode [, environment]]]) */
  size_t length;
  const char *text = luaL_checklstring(L, 1, &length);
  const char *name = luaL_optstring(L, 2, "=(load)");
  bool environment = lua_gettop(L) >= 4;
  if (luaL_loadbufferx(L, text, length, name, "t") != LUA_OK) {
    lua_pushnil(L);
    lua_insert(L, -2);
    return 2;
  }
  if (environment) {
    lua_pushvalue(L, 4);
    lua_setupvalue(L, -2, 1);
  }
  return 1;
}

bool script_load_file(struct script *s, lua_State *L, const char *path, const char *name) {
  char chunk[300];
  size_t length;
  (void)s;
  char *text = script_read_file(path, &length);
  if (!text) {
    lua_pushfstring(L, "%s: cannot be read", name);
    return false;
  }
  size_t skip = text[0] == '#' ? strcspn(text, "\n") : 0; /* #! */
  snprintf(chunk, sizeof chunk, "@%s", name);
  int r = luaL_loadbufferx(L, text + skip, length - skip, chunk, "t");
  free(text);
  return r == LUA_OK;
}

/* require "lib.login" is lib/login.lua beside the script. */
static int require_sibling(lua_State *L) {
  struct script *s = script_of(L);
  const char *name = luaL_checkstring(L, 1);
  char file[260], path[PATH_MAX + 300], real[PATH_MAX];
  size_t n = strlen(name), dir = strlen(s->dir);
  if (n == 0 || n > 250 || name[0] == '.' || strstr(name, "..") ||
      strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.") != n)
    script_error(L, "require: '%s' is no name of a module beside the script", name);
  lua_settop(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &loaded_key);
  if (lua_getfield(L, 2, name) != LUA_TNIL)
    return 1;
  lua_pop(L, 1);
  snprintf(file, sizeof file, "%s.lua", name);
  for (size_t i = 0; i < n; i++)
    file[i] = file[i] == '.' ? '/' : file[i];
  snprintf(path, sizeof path, "%s/%s", s->dir, file);
  if (!realpath(path, real) || strncmp(real, s->dir, dir) != 0 || real[dir] != '/')
    script_error(L, "require: there is no %s in the script's directory", file);
  if (!script_load_file(s, L, real, file))
    lua_error(L);
  lua_pushvalue(L, 1);
  lua_call(L, 1, 1);
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_pushboolean(L, 1);
  }
  lua_pushvalue(L, -1);
  lua_setfield(L, 2, name);
  return 1;
}

/* --- the state --- */

static const luaL_Reg replaced[] = {
    {"pairs", ordered_pairs}, {"next", ordered_next}, {"tostring", plain_tostring}, {"print", log_words},
    {"log", log_words},       {"load", load_text},    {"require", require_sibling}, {NULL, NULL},
};

static const luaL_Reg libraries[] = {
    {LUA_GNAME, luaopen_base},
    {LUA_TABLIBNAME, luaopen_table},
    {LUA_STRLIBNAME, luaopen_string},
    {LUA_MATHLIBNAME, luaopen_math},
    {LUA_UTF8LIBNAME, luaopen_utf8},
    {LUA_COLIBNAME, luaopen_coroutine},
    {NULL, NULL},
};

static int seed_random(lua_State *L) { /* randomseed() of Lua takes time and an address if nothing is given */
  lua_Integer seed = luaL_optinteger(L, 1, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushinteger(L, seed);
  lua_call(L, 1, 0);
  return 0;
}

static void remove_from(lua_State *L, const char *table, const char *const *names) {
  lua_getglobal(L, table);
  for (; *names; names++) {
    lua_pushnil(L);
    lua_setfield(L, -2, *names);
  }
  lua_pop(L, 1);
}

static int fill_state(lua_State *L) {
  static const char *const base[] = {"dofile", "loadfile", "collectgarbage", "warn", NULL};
  static const char *const string[] = {"dump", NULL};
  const luaL_Reg *const words[] = {replaced,           script_words_machine, script_words_wait,
                                   script_words_input, script_words_disk,    script_words_screen,
                                   script_words_state,   script_words_watch};
  for (const luaL_Reg *l = libraries; l->name; l++) {
    luaL_requiref(L, l->name, l->func, 1);
    lua_pop(L, 1);
  }
  lua_getglobal(L, "type"); /* `type` is a word that types */
  lua_setglobal(L, "typeof");
  remove_from(L, "_G", base);
  remove_from(L, "string", string);
  lua_newtable(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &loaded_key);
  lua_newtable(L); /* ids of things, which need not live for that */
  lua_newtable(L);
  lua_pushliteral(L, "k");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &ids_key);
  lua_getglobal(L, "string");
  lua_getfield(L, -1, "format");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &format_key);
  lua_pushcfunction(L, plain_format);
  lua_setfield(L, -2, "format");
  lua_getglobal(L, "math");
  lua_getfield(L, -1, "randomseed");
  lua_pushcclosure(L, seed_random, 1);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "randomseed");
  lua_call(L, 0, 0);
  lua_pushglobaltable(L);
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
    luaL_setfuncs(L, words[i], 0);
  return 0;
}

lua_State *script_new_state(struct script *s) {
  lua_State *L = lua_newstate(allocate, s);
  if (!L)
    return NULL;
  *(struct script **)lua_getextraspace(L) = s;
  lua_pushcfunction(L, fill_state);
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) {
    lua_close(L);
    return NULL;
  }
  lua_sethook(L, hook, LUA_MASKCOUNT, HOOK_EVERY);
  return L;
}
