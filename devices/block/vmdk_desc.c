/* SPDX-License-Identifier: MIT */
/*
 * The descriptor of a VMDK: text of KEY=VALUE lines and of lines that describe the extents (VMware, "Virtual
 * Disk Format 5.0", "The Descriptor"). It comes from anywhere, so extents can only be files beside or below
 * it.
 */
#include "devices/block/vmdk.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int bad(const char *path, const char **error, const char *what) {
  *error = block_message("VMDK image '%s': %s", path, what);
  return -EINVAL;
}

/* Comments and empty lines, then "version=". */
bool vmdk_is_descriptor(const char *text, unsigned len) {
  unsigned i = 0;
  while (i < len && (text[i] == '#' || text[i] == '\n' || text[i] == '\r' || text[i] == ' ')) {
    if (text[i] == '#')
      while (i < len && text[i] != '\n') {
        if (!text[i])
          return false;
        i++;
      }
    i += i < len;
  }
  return len - i > 9 && !strncasecmp(text + i, "version=", 8) && text[i + 8] >= '1' && text[i + 8] <= '3';
}

/* A line, without its end and the blanks around; false: there is none any more, or it is too long. */
struct line {
  char text[4600];
  uint32_t at; /* of the text's begin */
};

static bool next_line(const char *text, uint32_t len, uint32_t *at, struct line *l) {
  while (*at < len && text[*at] && strchr(" \t\r\n", text[*at]))
    ++*at;
  l->at = *at;
  uint32_t n = 0;
  while (*at < len && text[*at] && text[*at] != '\n' && n + 1 < sizeof l->text)
    l->text[n++] = text[(*at)++];
  while (n && strchr(" \t\r", l->text[n - 1]))
    n--;
  l->text[n] = '\0';
  return n > 0;
}

/* KEY = "VALUE": the value's place in the line, or NULL if it is another key. The closing quote is taken off.
 */
static char *value_of(char *line, const char *key) {
  size_t n = strlen(key);
  if (strncasecmp(line, key, n))
    return NULL;
  char *p = line + n;
  p += strspn(p, " \t");
  if (*p++ != '=')
    return NULL;
  p += strspn(p, " \t");
  if (*p == '"') {
    p++;
    p[strcspn(p, "\"")] = '\0';
  }
  return p;
}

static bool hex32(const char *text, uint32_t *out) {
  char *end;
  if (!*text || strspn(text, "0123456789abcdefABCDEF") != strlen(text) || strlen(text) > 8)
    return false;
  *out = (uint32_t)strtoul(text, &end, 16);
  return true;
}

static bool decimal(char **p, uint64_t *out) {
  char *end;
  *p += strspn(*p, " \t");
  errno = 0;
  if (**p < '0' || **p > '9')
    return false;
  *out = strtoull(*p, &end, 10);
  bool good = !errno && (!*end || *end == ' ' || *end == '\t');
  *p = end;
  return good;
}

static bool word(char **p, char *out, size_t size) {
  *p += strspn(*p, " \t");
  size_t n = strcspn(*p, " \t");
  if (!n || n >= size)
    return false;
  memcpy(out, *p, n);
  out[n] = '\0';
  *p += n;
  return true;
}

/* Beside or below the descriptor, whatever it says. */
static bool safe_name(char *name) {
  for (char *p = name; *p; p++)
    if (*p == '\\')
      *p = '/';
  if (!*name || *name == '/' || (name[1] == ':' && name[0] != '.'))
    return false;
  for (const char *p = name; p; p = strchr(p, '/') ? strchr(p, '/') + 1 : NULL)
    if (!strncmp(p, "..", 2) && (p[2] == '/' || !p[2]))
      return false;
  return true;
}

/* ACCESS SECTORS TYPE "NAME" OFFSET. 1: not such a line. */
static int parse_extent(struct vmdk_line *x, const char *path, char *p, const char **error) {
  static const char *const access[] = {"RW", "RDONLY", "NOACCESS"};
  char text[32];
  int a = 0;
  memset(x, 0, sizeof *x);
  if (!word(&p, text, sizeof text))
    return 1;
  while (a < 3 && strcmp(text, access[a]))
    a++;
  if (a == 3)
    return 1;
  x->access = (enum vmdk_access)a;
  if (!decimal(&p, &x->sectors) || !word(&p, text, sizeof text))
    return bad(path, error, "a line of an extent makes no sense");
  if (!x->sectors || x->sectors > VMDK_MAX_SECTORS)
    return bad(path, error, "an extent has no size, or one of more than 128 TB");
  if (!strcmp(text, "ZERO")) {
    x->kind = VMDK_ZERO;
    return 0;
  }
  if (strcmp(text, "FLAT") && strcmp(text, "VMFS") && strcmp(text, "SPARSE")) {
    *error = block_message(
        "VMDK image '%s': extents of the type %s are not supported, only FLAT, SPARSE and ZERO", path, text);
    return -ENOTSUP;
  }
  x->kind = strcmp(text, "SPARSE") ? VMDK_FLAT : VMDK_SPARSE;
  p += strspn(p, " \t");
  size_t n = *p == '"' ? strcspn(p + 1, "\"") : 0;
  if (!n || n >= sizeof x->name || p[1 + n] != '"')
    return bad(path, error, "an extent has no name, or one that is too long");
  memcpy(x->name, p + 1, n);
  x->name[n] = '\0';
  p += n + 2;
  p += strspn(p, " \t");
  if (*p && !decimal(&p, &x->offset))
    return bad(path, error, "the offset of an extent is no number");
  if (x->offset > VMDK_MAX_SECTORS)
    return bad(path, error, "the offset of an extent is too large");
  if (!safe_name(x->name)) {
    *error = block_message("VMDK image '%s': its extent '%s' does not lie beside or below it", path, x->name);
    return -EPERM;
  }
  return 0;
}

static int add_extent(struct vmdk_descriptor *d, const char *path, char *line, const char **error) {
  if (d->extents % 16 == 0) {
    struct vmdk_line *more = realloc(d->extent, (d->extents + 16) * sizeof *more);
    if (!more)
      return -ENOMEM;
    d->extent = more;
  }
  int result = parse_extent(&d->extent[d->extents], path, line, error);
  if (result)
    return result;
  return ++d->extents > VMDK_EXTENTS ? bad(path, error, "it has too many extents") : 0;
}

int vmdk_parse(struct vmdk_descriptor *d, const char *path, const char *text, uint32_t len, bool extents,
               const char **error) {
  struct line *l = malloc(sizeof *l);
  uint32_t at = 0;
  int result = l ? 0 : -ENOMEM;
  d->parent_cid = VMDK_NO_PARENT;
  while (result >= 0 && next_line(text, len, &at, l)) {
    char *v;
    if ((v = value_of(l->text, "CID"))) {
      if (!hex32(v, &d->cid))
        result = bad(path, error, "its CID is no number");
      d->cid_at = l->at + (uint32_t)(v - l->text);
      d->cid_digits = (uint32_t)strlen(v);
    } else if ((v = value_of(l->text, "parentCID"))) {
      if (!hex32(v, &d->parent_cid))
        result = bad(path, error, "its parentCID is no number");
      d->parent_at = l->at + (uint32_t)(v - l->text);
      d->parent_digits = (uint32_t)strlen(v);
    } else if ((v = value_of(l->text, "parentFileNameHint"))) {
      snprintf(d->hint, sizeof d->hint, "%s", v);
    } else if ((v = value_of(l->text, "createType"))) {
      snprintf(d->type, sizeof d->type, "%s", v);
    } else if (extents && l->text[0] != '#') {
      result = add_extent(d, path, l->text, error);
    }
  }
  free(l);
  return result < 0 ? result : 0;
}

void vmdk_free_descriptor(struct vmdk_descriptor *d) {
  free(d->extent);
  d->extent = NULL;
}
