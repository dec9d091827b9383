/* SPDX-License-Identifier: MIT */
/*
 * Files that scripts name. Read are those in the script's own directory and in those that the command line
 * gave
 * (--path), also behind symbolic links only there; written are pictures of wait_screen in the script's
 * directory, and what goes to the output directory, by plain names.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontends/test/script_int.h"

#define FILE_MAX (1u << 30)

char *script_read_file(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  char *data = NULL;
  struct stat st;
  if (!file)
    return NULL;
  if (fstat(fileno(file), &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
    errno = errno ? errno : EINVAL;
  } else {
    data = malloc((size_t)st.st_size + 1);
    *length = data ? fread(data, 1, (size_t)st.st_size, file) : 0;
    if (data)
      data[*length] = '\0';
  }
  fclose(file);
  return data;
}

static bool is_below(const char *path, const char *dir) {
  size_t n = strlen(dir);
  while (n > 1 && dir[n - 1] == '/')
    n--;
  return !strncmp(path, dir, n) && (path[n] == '/' || path[n] == '\0' || n == 1);
}

static bool is_allowed(const struct script *s, const char *real) {
  char dir[PATH_MAX];
  if (is_below(real, s->dir))
    return true;
  for (unsigned i = 0; i < s->config.dir_count; i++)
    if (realpath(s->config.dirs[i], dir) && is_below(real, dir))
      return true;
  return false;
}

/* Where the name leads to: beside the script, or in a directory of the command line. */
static bool find_file(const struct script *s, const char *name, char real[PATH_MAX]) {
  char path[2 * PATH_MAX];
  if (name[0] == '/')
    return realpath(name, real);
  snprintf(path, sizeof path, "%s/%s", s->dir, name);
  if (realpath(path, real))
    return true;
  for (unsigned i = 0; i < s->config.dir_count; i++) {
    snprintf(path, sizeof path, "%s/%s", s->config.dirs[i], name);
    if (realpath(path, real))
      return true;
  }
  return false;
}

const char *script_path(lua_State *L, struct script *s, const char *name) {
  char real[PATH_MAX];
  if (!find_file(s, name, real))
    script_error(L, "there is no file '%s' beside the script%s", name,
                 s->config.dir_count ? " or in the directories of --path" : "");
  if (!is_allowed(s, real))
    script_error(L, "'%s' lies outside the script's directory; allow its directory by --path", name);
  return lua_pushstring(L, real);
}

const char *script_new_path(lua_State *L, struct script *s, const char *name) {
  char path[2 * PATH_MAX], real[PATH_MAX];
  const char *slash = strrchr(name, '/');
  const char *last = slash ? slash + 1 : name;
  if (name[0] == '/' || !*last || !strcmp(last, ".."))
    script_error(L, "'%s' must be the name of a file beside the script", name);
  if (find_file(s, name, real))
    return script_path(L, s, name);
  snprintf(path, sizeof path, "%s/%.*s", s->dir, (int)(last - name), name);
  if (!realpath(path, real) || !is_allowed(s, real))
    script_error(L, "'%s' must lie below the script's directory, in a directory that is there", name);
  return lua_pushfstring(L, "%s/%s", real, last);
}

int script_make_output(struct script *s) {
  char path[PATH_MAX];
  if (!s->output[0])
    return -ENOENT;
  snprintf(path, sizeof path, "%s", s->output);
  for (char *p = path + 1;; p++) { /* and its parents */
    char c = *p;
    if (c && c != '/')
      continue;
    *p = '\0';
    if (mkdir(path, 0777) < 0 && errno != EEXIST)
      return -errno;
    if (!c)
      return 0;
    *p = c;
  }
}

const char *script_output_path(lua_State *L, struct script *s, const char *name) {
  if (!*name || strchr(name, '/') || name[0] == '.')
    script_error(L, "'%s' must be a plain name: it goes into the output directory", name);
  int r = script_make_output(s);
  if (r < 0)
    script_error(L, "cannot make the output directory '%s': %s", s->output, strerror(-r));
  return lua_pushfstring(L, "%s/%s-%s", s->output, s->prefix, name);
}
