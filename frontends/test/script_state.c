/* SPDX-License-Identifier: MIT */
/* The machine's state and the test's verdict: time, icount, registers, read_memory, reset, powerdown, check,
 * fail, skip. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/monitor.h"
#include "core/snapshot.h"
#include "frontends/test/script_int.h"

#define READ_MAX (16u << 20)

static int word_time(lua_State *L) {
  lua_pushnumber(L, (double)script_now(script_with_machine(L)) / SECONDS);
  return 1;
}

static int word_icount(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)cpu_icount(script_with_machine(L)->machine->cpu[0]));
  return 1;
}

static int word_registers(lua_State *L) {
  static const char *const gpr[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  static const char *const seg[] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
  const struct cpu *c = script_with_machine(L)->machine->cpu[0];
  const struct {
    const char *name;
    uint32_t value;
  } other[] = {{"eip", c->eip}, {"eflags", c->eflags}, {"cr0", c->cr0}, {"cr2", c->cr2},
               {"cr3", c->cr3}, {"cr4", c->cr4},       {"cpl", c->cpl}};
  lua_newtable(L);
  for (int i = 0; i < 8; i++) {
    lua_pushinteger(L, c->gpr[i]);
    lua_setfield(L, -2, gpr[i]);
    lua_pushinteger(L, c->seg[i].sel);
    lua_setfield(L, -2, seg[i]);
  }
  for (size_t i = 0; i < sizeof other / sizeof other[0]; i++) {
    lua_pushinteger(L, other[i].value);
    lua_setfield(L, -2, other[i].name);
  }
  return 1;
}

static int word_read_memory(lua_State *L) {
  static const char *const known[] = {"virtual", NULL};
  struct script *s = script_with_machine(L);
  lua_Integer address = luaL_checkinteger(L, 1), length = luaL_checkinteger(L, 2);
  script_check_options(L, 3, known);
  if (address < 0 || address > UINT32_MAX || length < 0 || length > READ_MAX)
    script_error(L, "read_memory: an address below 4 GB, and up to %u bytes", READ_MAX);
  luaL_Buffer b;
  char *data = luaL_buffinitsize(L, &b, (size_t)length + 1);
  unsigned n =
      debug_read(s->machine, (uint32_t)address, data, (unsigned)length, !script_option_bool(L, 3, "virtual"));
  if (n != (unsigned)length)
    script_error(L, "read_memory: nothing is mapped at 0x%08x", (unsigned)(address + n));
  luaL_pushresultsize(&b, n);
  return 1;
}

static int word_reset(lua_State *L) {
  struct script *s = script_with_machine(L);
  if (!script_running(s))
    script_error(L, "reset: %s", script_stop_reason(s));
  machine_lock(s->machine);
  machine_request_reset(s->machine);
  machine_unlock(s->machine);
  return 0;
}

static int word_powerdown(lua_State *L) {
  struct script *s = script_with_machine(L);
  if (!script_running(s))
    script_error(L, "powerdown: %s", script_stop_reason(s));
  if (!s->machine->on_powerdown)
    script_error(L, "powerdown: the machine has no ACPI power button");
  machine_lock(s->machine);
  s->machine->on_powerdown(s->machine);
  machine_kick(s->machine);
  machine_unlock(s->machine);
  return 0;
}

static int word_running(lua_State *L) {
  lua_pushboolean(L, script_running(script_with_machine(L)));
  return 1;
}

/* --- snapshots --- */

/* snapshot("name") keeps the machine as it is, restore("name") goes back to it: a file in the output
 * directory, which goes with the script. What came from the serial ports stays, and so does what wait_serial
 * has seen. */
static const char *snapshot_path(lua_State *L, struct script *s) {
  const char *name = luaL_checkstring(L, 1);
  if (strlen(name) > 64)
    script_error(L, "a snapshot's name is one of up to 64 characters");
  return script_output_path(L, s, lua_pushfstring(L, "%s.snapshot", name));
}

static int word_snapshot(lua_State *L) {
  struct script *s = script_with_machine(L);
  char error[512];
  const char *path = snapshot_path(L, s);
  machine_lock(s->machine);
  int r = machine_save(s->machine, path, NULL, error, sizeof error);
  machine_unlock(s->machine);
  if (r < 0)
    script_error(L, "snapshot: %s", error);
  char *copy = strdup(path);
  for (unsigned i = 0; copy && i < SCRIPT_SNAPSHOTS; i++) {
    if (s->snapshot[i] && strcmp(s->snapshot[i], copy))
      continue;
    free(s->snapshot[i]);
    s->snapshot[i] = copy;
    return 0;
  }
  free(copy);
  unlink(path);
  script_error(L, "snapshot: %d are the most", SCRIPT_SNAPSHOTS);
}

/* One of this test's, or of setup, which has another output directory. NULL: it is not there. */
static const char *find_snapshot(const struct script *s, const char *path) {
  const char *name = strrchr(path, '/');
  for (unsigned i = 0; i < SCRIPT_SNAPSHOTS; i++)
    if (s->snapshot[i] && !strcmp(s->snapshot[i], path))
      return s->snapshot[i];
  for (unsigned i = 0; i < SCRIPT_SNAPSHOTS && name; i++)
    if (s->snapshot[i] && strrchr(s->snapshot[i], '/') && !strcmp(strrchr(s->snapshot[i], '/'), name))
      return s->snapshot[i];
  return NULL;
}

static int word_restore(lua_State *L) {
  struct script *s = script_with_machine(L);
  char error[512];
  const char *path = find_snapshot(s, snapshot_path(L, s));
  if (!path)
    script_error(L, "restore: there is no snapshot '%s'", lua_tostring(L, 1));
  machine_lock(s->machine);
  int r = machine_load(s->machine, path, error, sizeof error);
  if (r == 0)
    machine_continue(s->machine); /* one that was off is paused */
  machine_unlock(s->machine);
  if (r < 0)
    script_error(L, "restore: %s", error);
  script_forget_screen(s);
  return 0;
}

/* In a test's process those of setup stay: other tests want them. */
void script_drop_snapshots(struct script *s) {
  size_t n = strlen(s->output);
  for (unsigned i = 0; i < SCRIPT_SNAPSHOTS; i++) {
    if (s->snapshot[i] && !strncmp(s->snapshot[i], s->output, n) && s->snapshot[i][n] == '/')
      unlink(s->snapshot[i]);
    free(s->snapshot[i]);
    s->snapshot[i] = NULL;
  }
}

/* --- verdicts --- */

static int word_check(lua_State *L) {
  luaL_checkany(L, 1);
  if (lua_toboolean(L, 1)) {
    lua_settop(L, 1);
    return 1;
  }
  script_error(L, "%s", luaL_optstring(L, 2, "the check failed"));
}

static int word_fail(lua_State *L) { script_error(L, "%s", luaL_optstring(L, 1, "failed")); }

static int word_skip(lua_State *L) {
  struct script *s = script_of(L);
  s->skipped = true;
  script_error(L, "%s", luaL_optstring(L, 1, "skipped"));
}

const luaL_Reg script_words_state[] = {
    {"time", word_time},
    {"icount", word_icount},
    {"registers", word_registers},
    {"read_memory", word_read_memory},
    {"reset", word_reset},
    {"powerdown", word_powerdown},
    {"running", word_running},
    {"check", word_check},
    {"fail", word_fail},
    {"skip", word_skip},
    {"snapshot", word_snapshot},
    {"restore", word_restore},
    {NULL, NULL},
};
