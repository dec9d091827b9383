/* SPDX-License-Identifier: MIT */
/* Loading scripts and running their parts: see script.h. The words are in script_*.c, by subject. */
#include <errno.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "frontends/test/script_int.h"

#define HOST_SECONDS 600

double script_cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct script *script_of(lua_State *L) {
  return *(struct script **)lua_getextraspace(L);
}

int script_error(lua_State *L, const char *format, ...) {
  char text[2048];
  va_list ap;
  va_start(ap, format);
  vsnprintf(text, sizeof text, format, ap);
  va_end(ap);
  lua_pushstring(L, text);
  lua_error(L);
  abort(); /* lua_error does not return */
}

struct script *script_with_machine(lua_State *L) {
  struct script *s = script_of(L);
  if (!s->machine)
    script_error(L, "there is no machine yet: this belongs into setup() or test()");
  return s;
}

/* Lines of any length, each behind "# ". */
void script_log(struct script *s, const char *text) {
  if (!s->config.log)
    return;
  while (*text) {
    size_t n = strcspn(text, "\n");
    fprintf(s->config.log, "# %.*s\n", (int)n, text);
    text += n + (text[n] == '\n');
  }
}

/* --- results --- */

static void note_place(lua_State *L, struct script_result *r) {
  lua_Debug d;
  for (int level = 1; lua_getstack(L, level, &d); level++) {
    if (!lua_getinfo(L, "Sl", &d) || d.currentline <= 0)
      continue;
    snprintf(r->file, sizeof r->file, "%s", d.short_src);
    r->line = d.currentline;
    return;
  }
}

/* What lua_pcall calls at an error, with the stack as it was. */
static int at_error(lua_State *L) {
  struct script *s = script_of(L);
  struct script_result *r = s->result;
  const char *message = lua_type(L, 1) == LUA_TSTRING || lua_type(L, 1) == LUA_TNUMBER
                            ? lua_tostring(L, 1)
                            : "an error that is no text was raised";
  r->line = 0;
  note_place(L, r);
  char prefix[300]; /* which Lua's own errors have */
  int n = snprintf(prefix, sizeof prefix, "%s:%d: ", r->file, r->line);
  if (r->line && !strncmp(message, prefix, (size_t)n))
    message += n;
  snprintf(r->message, sizeof r->message, "%s", message);
  luaL_traceback(L, L, NULL, 1);
  snprintf(r->trace, sizeof r->trace, "%s", lua_tostring(L, -1));
  lua_settop(L, 1);
  return 1;
}

static void begin_result(struct script *s, struct script_result *r) {
  *r = (struct script_result){0};
  s->result = r;
  s->skipped = s->host_over = false;
  s->host_begin = script_cpu_seconds();
  unsigned seconds = s->config.host_seconds ? s->config.host_seconds : HOST_SECONDS;
  s->host_end = (int64_t)((s->host_begin + seconds) * 1e9);
}

static void end_result(struct script *s, bool ok) {
  struct script_result *r = s->result;
  r->verdict = s->skipped ? VERDICT_SKIP : ok ? VERDICT_PASS : VERDICT_FAIL;
  r->host_seconds = script_cpu_seconds() - s->host_begin;
  s->host_end = 0;
  if (s->machine) {
    r->time = script_now(s);
    r->icount = cpu_icount(s->machine->cpu[0]);
    const struct screen_text *t = r->verdict == VERDICT_FAIL ? script_screen_text(s) : NULL;
    r->screen = t ? strdup(t->text) : NULL;
    script_watch_result(s, r);
  }
}

/* Run the function on the stack. */
static bool run_protected(struct script *s, struct script_result *r) {
  lua_State *L = s->L;
  int base = lua_gettop(L);
  begin_result(s, r);
  lua_pushcfunction(L, at_error);
  lua_insert(L, base);
  int status = lua_pcall(L, 0, 0, base);
  if (status == LUA_ERRMEM && !r->message[0])
    snprintf(r->message, sizeof r->message, "the script needs more than %u MB of memory",
             SCRIPT_MEMORY >> 20);
  lua_settop(L, base - 1);
  end_result(s, status == LUA_OK);
  if (s->host_over) /* also where the script caught the error */
    r->verdict = VERDICT_FAIL;
  return r->verdict == VERDICT_PASS;
}

void script_result_free(struct script_result *r) {
  free(r->screen);
  r->screen = NULL;
}

/* --- loading --- */

static bool find_place(struct script *s, char *error, size_t size) {
  char path[PATH_MAX], copy[PATH_MAX];
  if (!realpath(s->config.path, path)) {
    snprintf(error, size, "%s: %s", s->config.path, strerror(errno));
    return false;
  }
  snprintf(copy, sizeof copy, "%s", path);
  snprintf(s->dir, sizeof s->dir, "%s", dirname(copy));
  snprintf(copy, sizeof copy, "%s", path);
  snprintf(s->name, sizeof s->name, "%s", basename(copy));
  return true;
}

struct script *script_load(const struct script_config *config, char *error, size_t size) {
  struct script *s = calloc(1, sizeof *s);
  struct script_result r;
  if (!s) {
    snprintf(error, size, "out of memory");
    return NULL;
  }
  s->config = *config;
  s->setup = LUA_NOREF;
  s->serials = 1;
  s->timeout = SCRIPT_TIMEOUT;
  s->mouse_scale = 1;
  script_set_output(s, config->output, "screen");
  if (!find_place(s, error, size)) {
    free(s);
    return NULL;
  }
  s->L = script_new_state(s);
  if (!s->L) {
    snprintf(error, size, "out of memory");
    free(s);
    return NULL;
  }
  char path[PATH_MAX + 300];
  snprintf(path, sizeof path, "%s/%s", s->dir, s->name);
  if (!script_load_file(s, s->L, path, s->name)) {
    snprintf(error, size, "%s", lua_tostring(s->L, -1));
    script_close(s);
    return NULL;
  }
  bool ok = run_protected(s, &r);
  if (!ok)
    snprintf(error, size, "%s:%d: %s", r.line ? r.file : s->name, r.line, r.message);
  else if (!s->test_count)
    snprintf(error, size, "%s: there is no test in it", s->name);
  script_result_free(&r);
  s->result = NULL;
  if (ok && s->test_count)
    return s;
  script_close(s);
  return NULL;
}

void script_close(struct script *s) {
  if (!s)
    return;
  script_end_machine(s);
  script_drop_snapshots(s);
  if (s->L)
    lua_close(s->L);
  for (unsigned i = 0; i < s->test_count; i++)
    free(s->test[i].name);
  free(s->test);
  for (unsigned i = 0; i < s->word_count; i++)
    free(s->word[i]);
  font_set_free(&s->fonts);
  screen_text_free(s->screen);
  free(s->frame);
  free(s);
}

unsigned script_test_count(const struct script *s) { return s->test_count; }

const char *script_test_name(const struct script *s, unsigned i) {
  return i < s->test_count ? s->test[i].name : NULL;
}

struct machine *script_machine(struct script *s) {
  return s->machine;
}

void script_set_output(struct script *s, const char *dir, const char *prefix) {
  snprintf(s->output, sizeof s->output, "%s", dir ? dir : "");
  snprintf(s->prefix, sizeof s->prefix, "%s", prefix);
}

void script_set_log(struct script *s, FILE *log) { s->config.log = log; }

/* --- running --- */

bool script_setup(struct script *s, struct script_result *result) {
  begin_result(s, result);
  if (script_make_machine(s, result->message, sizeof result->message) < 0) {
    end_result(s, false);
    return false;
  }
  if (s->setup == LUA_NOREF) {
    end_result(s, true);
    return true;
  }
  lua_rawgeti(s->L, LUA_REGISTRYINDEX, s->setup);
  return run_protected(s, result);
}

void script_run(struct script *s, unsigned i, struct script_result *result) {
  lua_rawgeti(s->L, LUA_REGISTRYINDEX, s->test[i].function);
  run_protected(s, result);
}

int script_save(struct script *s) {
  char path[2 * PATH_MAX];
  int error = script_make_output(s);
  const struct surface *picture = s->machine && !error ? script_surface(s) : NULL;
  if (picture && picture->pixels && picture->width > 0) {
    snprintf(path, sizeof path, "%s/%s.png", s->output, s->prefix);
    error = image_write_png(picture, path);
  }
  for (unsigned i = 0; i < s->serials && !error; i++) {
    snprintf(path, sizeof path, "%s/%s-serial%u.log", s->output, s->prefix, i);
    FILE *file = s->port[i].length ? fopen(path, "wb") : NULL;
    if (!file)
      continue;
    fwrite(s->port[i].data, 1, s->port[i].length, file);
    error = fclose(file) ? -errno : 0;
  }
  return error;
}
