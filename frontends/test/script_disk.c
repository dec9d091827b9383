/* SPDX-License-Identifier: MIT */
/*
 * Media and the files on them: insert, eject, put_file, get_file, list_files, remove_file, read_file. Changes
 * go to the run's overlay; the image that was given stays as it is.
 */
#include <stdlib.h>
#include <string.h>

#include "frontends/test/fat.h"
#include "frontends/test/script_int.h"

static const struct {
  const char *name, *drive;
} drive_names[] = {{"hda", "ide0-hd0"}, {"hdb", "ide0-hd1"}, {"hdc", "ide1-hd0"}, {"hdd", "ide1-hd1"}};

static struct media_slot *drive_at(lua_State *L, struct script *s, const char *name) {
  struct media_slot *slot = media_find(&s->session->media, name);
  for (size_t i = 0; !slot && i < sizeof drive_names / sizeof drive_names[0]; i++)
    if (!strcmp(name, drive_names[i].name))
      slot = media_find(&s->session->media, drive_names[i].drive);
  if (!slot)
    script_error(L, "the machine has no drive '%s'", name);
  return slot;
}

static int change(lua_State *L, const char *path, bool readonly, bool force) {
  struct script *s = script_of(L);
  char error[512];
  struct media_slot *slot = drive_at(L, s, lua_tostring(L, 1));
  machine_lock(s->machine);
  int r = media_change(&s->session->media, slot, path, NULL, readonly, force, error, sizeof error);
  machine_unlock(s->machine);
  if (r < 0)
    script_error(L, "%s", error);
  return 0;
}

static int word_insert(lua_State *L) {
  static const char *const known[] = {"readonly", "force", NULL};
  struct script *s = script_with_machine(L);
  luaL_checkstring(L, 1);
  lua_settop(L, 3);
  script_check_options(L, 3, known);
  const char *path = script_path(L, s, luaL_checkstring(L, 2));
  return change(L, path, script_option_bool(L, 3, "readonly"), script_option_bool(L, 3, "force"));
}

static int word_eject(lua_State *L) {
  static const char *const known[] = {"force", NULL};
  script_with_machine(L);
  luaL_checkstring(L, 1);
  script_check_options(L, 2, known);
  return change(L, NULL, false, script_option_bool(L, 2, "force"));
}

/* --- files --- */

/* The volume of the drive at 1, as the options at `options` say; Lua's, so that errors do not leak it. */
static struct fat *open_volume(lua_State *L, int options) {
  static const char *const known[] = {"partition", NULL};
  struct script *s = script_with_machine(L);
  const char *name = luaL_checkstring(L, 1);
  struct media_slot *slot = drive_at(L, s, name);
  script_check_options(L, options, known);
  double partition = script_option_number(L, options, "partition", 0);
  if (!slot->block)
    script_error(L, "there is no disk in '%s'", name);
  struct fat *f = lua_newuserdatauv(L, sizeof *f, 0);
  if (fat_open(f, slot->block,
               partition >= 1 && partition <= 4 ? (unsigned)partition
               : partition                      ? 99
                                                : 0) < 0)
    script_error(L, "%s: %s", name, f->error);
  return f;
}

static int word_put_file(lua_State *L) {
  size_t length;
  const char *path = luaL_checkstring(L, 2), *data = luaL_checklstring(L, 3, &length);
  struct fat *f = open_volume(L, 4);
  if (length > UINT32_MAX || fat_write(f, path, data, (uint32_t)length) < 0)
    script_error(L, "%s: %s: %s", lua_tostring(L, 1), path, length > UINT32_MAX ? "too large" : f->error);
  return 0;
}

static int word_get_file(lua_State *L) {
  const char *path = luaL_checkstring(L, 2);
  struct fat *f = open_volume(L, 3);
  struct fat_file file;
  uint8_t *data = fat_find(f, path, &file) == 0 ? fat_read(f, &file) : NULL;
  if (!data)
    script_error(L, "%s: %s: %s", lua_tostring(L, 1), path, f->error);
  bool fits = file.size <= SCRIPT_MEMORY / 2;
  if (fits)
    lua_pushlstring(L, (char *)data, file.size);
  free(data);
  if (!fits)
    script_error(L, "%s: %s: too large for a script", lua_tostring(L, 1), path);
  return 1;
}

static int word_remove_file(lua_State *L) {
  const char *path = luaL_checkstring(L, 2);
  struct fat *f = open_volume(L, 3);
  if (fat_remove(f, path) < 0)
    script_error(L, "%s: %s: %s", lua_tostring(L, 1), path, f->error);
  return 0;
}

struct listing {
  struct fat_file *file;
  size_t count;
};

static void add_file(void *opaque, const struct fat_file *file) {
  struct listing *l = opaque;
  struct fat_file *grown = realloc(l->file, (l->count + 1) * sizeof *grown);
  if (!grown)
    return;
  l->file = grown;
  l->file[l->count++] = *file;
}

static int compare_files(const void *a, const void *b) {
  return strcmp(((const struct fat_file *)a)->name, ((const struct fat_file *)b)->name);
}

/* A list of {name=, size=, directory=}, sorted by name. */
static int push_listing(lua_State *L) {
  const struct listing *l = lua_touserdata(L, 1);
  lua_createtable(L, (int)l->count, 0);
  for (size_t i = 0; i < l->count; i++) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, l->file[i].name);
    lua_setfield(L, -2, "name");
    lua_pushinteger(L, l->file[i].size);
    lua_setfield(L, -2, "size");
    lua_pushboolean(L, l->file[i].directory);
    lua_setfield(L, -2, "directory");
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static int word_list_files(lua_State *L) {
  const char *path = luaL_optstring(L, 2, "");
  struct fat *f = open_volume(L, 3);
  struct listing l = {0};
  int r = fat_list(f, path, add_file, &l);
  if (l.count)
    qsort(l.file, l.count, sizeof *l.file, compare_files);
  lua_pushcfunction(L, push_listing);
  lua_pushlightuserdata(L, &l);
  int status = r == 0 ? lua_pcall(L, 1, 1, 0) : LUA_OK;
  free(l.file);
  if (r < 0)
    script_error(L, "%s: %s: %s", lua_tostring(L, 1), path, f->error);
  return status == LUA_OK ? 1 : lua_error(L);
}

/* A file of the host, beside the script. */
static int word_read_file(lua_State *L) {
  struct script *s = script_of(L);
  size_t length;
  const char *path = script_path(L, s, luaL_checkstring(L, 1));
  char *data = script_read_file(path, &length);
  if (!data || length > SCRIPT_MEMORY / 2) {
    free(data);
    script_error(L, "'%s' cannot be read, or is too large for a script", lua_tostring(L, 1));
  }
  lua_pushlstring(L, data, length);
  free(data);
  return 1;
}

const luaL_Reg script_words_disk[] = {
    {"insert", word_insert},         {"eject", word_eject},
    {"put_file", word_put_file},     {"get_file", word_get_file},
    {"list_files", word_list_files}, {"remove_file", word_remove_file},
    {"read_file", word_read_file},   {NULL, NULL},
};
