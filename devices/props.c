/* SPDX-License-Identifier: MIT */
/* Properties of devices: a walk over the list for each question, because the lists are short. */
#include "devices/props.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/log.h"

/* Take the next item off *list: its key's length and its value, or NULL (a bare key). False at the end. */
static bool next_item(const char **list, const char **key, size_t *key_length, const char **value) {
  const char *s = *list;
  if (!s || !*s)
    return false;
  *key = s;
  *key_length = strcspn(s, "=,");
  *value = s[*key_length] == '=' ? s + *key_length + 1 : NULL;
  while (*s && (*s != ',' || s[1] == ','))
    s += *s == ',' ? 2 : 1;
  *list = *s ? s + 1 : s;
  return true;
}

/* Up to the comma that ends it; false if it does not fit. */
static bool copy_value(const char *value, char *buf, size_t size) {
  size_t n = 0;
  for (const char *s = value; *s && (*s != ',' || s[1] == ','); s++) {
    if (*s == ',')
      s++;
    if (n + 1 >= size)
      return false;
    buf[n++] = *s;
  }
  buf[n] = '\0';
  return true;
}

bool props_get(const char *props, const char *key, char *buf, size_t size) {
  const char *name, *value;
  size_t length;
  bool found = false;
  while (next_item(&props, &name, &length, &value))
    if (strlen(key) == length && !memcmp(name, key, length))
      found = copy_value(value ? value : "on", buf, size);
  return found;
}

int props_u32(const char *props, const char *who, const char *key, uint32_t min, uint32_t max,
              uint32_t *value) {
  char text[32], *end;
  if (!props_get(props, key, text, sizeof text))
    return 0;
  errno = 0;
  unsigned long long n = strtoull(text, &end, 0);
  if (!isdigit((unsigned char)text[0]) || *end || errno || n < min || n > max) {
    error_report("%s: %s=%s: a number from %#x to %#x is wanted", who, key, text, min, max);
    return -EINVAL;
  }
  *value = (uint32_t)n;
  return 0;
}

int props_bool(const char *props, const char *who, const char *key, bool *value) {
  char text[8] = "?";
  if (!props_get(props, key, text, sizeof text))
    return 0;
  bool on = !strcmp(text, "on") || !strcmp(text, "yes");
  if (!on && strcmp(text, "off") && strcmp(text, "no")) {
    error_report("%s: %s is on or off, not %s", who, key, text);
    return -EINVAL;
  }
  *value = on;
  return 0;
}

static bool has_word(const char *words, const char *word, size_t length) {
  for (const char *s = words; *s; s += strcspn(s, " ")) {
    s += strspn(s, " ");
    if (strcspn(s, " ") == length && !memcmp(s, word, length))
      return true;
  }
  return false;
}

int props_check(const char *props, const char *who, const char *keys) {
  const char *name, *value;
  size_t length;
  while (next_item(&props, &name, &length, &value)) {
    if (length && has_word(keys, name, length))
      continue;
    if (*keys)
      error_report("-device %s: '%.*s' is not understood; it takes: %s", who, (int)length, name, keys);
    else
      error_report("-device %s takes no options: '%.*s'", who, (int)length, name);
    return -EINVAL;
  }
  return 0;
}
