/* SPDX-License-Identifier: MIT */
/* Monitor commands that act as keyboard and mouse: sendkey, type, mouse_move, mouse_button; which mouse it is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/keyqueue.h"
#include "frontends/monitor.h"

#define HOLD_MS_DEFAULT 100
#define HOLD_MS_MAX 60000
#define MOUSE_STEP_MAX INPUT_ABS_MAX

int monitor_parse_keys(const char *text, int keys[SENDKEY_MAX], char *bad) {
  int count = 0;
  for (;;) {
    size_t n = strcspn(text, "-");
    char name[32];
    snprintf(name, sizeof name, "%.*s", (int)n, text);
    memcpy(bad, name, sizeof name);
    int key;
    if (!strcmp(name, "<"))
      key = input_key_from_name("less");
    else if (!strncmp(name, "0x", 2)) {
      char *end;
      key = (int)strtoul(name, &end, 16);
      if (*end || key < 1 || (key & 0x7f) == 0 || key > (KEY_E0 | 0x7f))
        key = -1;
    } else {
      key = input_key_from_name(name);
    }
    if (n >= sizeof name || key < 0)
      return -1;
    if (count == SENDKEY_MAX)
      return -1;
    keys[count++] = key;
    if (!text[n])
      return count;
    text += n + 1;
  }
}

void cmd_sendkey(struct monitor_env *env, char *args, FILE *out) {
  int keys[SENDKEY_MAX];
  char bad[32];
  int64_t hold = HOLD_MS_DEFAULT;
  char *names = monitor_need(&args, "sendkey", "string", out);
  if (!names)
    return;
  char *time = monitor_word(&args);
  if (time && (!monitor_number(time, &hold) || hold < 0 || hold > HOLD_MS_MAX)) {
    fprintf(out, "invalid hold time: %s\n", time);
    return;
  }
  if (!monitor_end(&args, "sendkey", out))
    return;
  int count = monitor_parse_keys(names, keys, bad);
  if (count < 0)
    fprintf(out, "invalid parameter: %s\n", bad);
  else if (keyqueue_combination(env->keys, keys, count, hold) < 0)
    fprintf(out, "Error: too many keys are waiting\n");
}

/* \n \r \t \b \e \\ in the text that the rest of the line holds. */
static void unescape(char *text) {
  char *to = text;
  for (char *s = text; *s; s++) {
    if (*s == '\\' && s[1]) {
      static const char from[] = "nrtbe\\", codes[] = "\n\n\t\b\033\\";
      const char *at = strchr(from, *++s);
      *to++ = at ? codes[at - from] : *s;
    } else {
      *to++ = *s;
    }
  }
  *to = '\0';
}

void cmd_type(struct monitor_env *env, char *args, FILE *out) {
  char bad = 0;
  if (*args == ' ')
    args++;
  size_t n = strlen(args);
  if (n >= 2 && args[0] == '"' && args[n - 1] == '"') { /* "text" keeps blanks at the ends */
    args[n - 1] = '\0';
    args++;
  }
  if (!*args) {
    fprintf(out, "type: text expected\nTry \"help type\" for more information\n");
    return;
  }
  unescape(args);
  int r = keyqueue_type(env->keys, args, &bad);
  if (r == -EINVAL)
    fprintf(out, "Error: no key for the character 0x%02x\n", (unsigned char)bad);
  else if (r < 0)
    fprintf(out, "Error: too many keys are waiting\n");
}

static bool mouse_number(const char *word, int *value, FILE *out) {
  int64_t v;
  if (!monitor_number(word, &v) || v < -MOUSE_STEP_MAX || v > MOUSE_STEP_MAX) {
    fprintf(out, "invalid number: %s\n", word);
    return false;
  }
  *value = (int)v;
  return true;
}

static bool tablet_wanted(const struct input_sink *in) {
  return in->tablet && in->tablet_active && in->tablet_active(in->tablet_opaque);
}

/* A position for a tablet that the guest listens to, else a movement. */
static void pointer_event(struct monitor_env *env, int x, int y, int dz) {
  struct input_sink *in = &env->machine->input;
  if (tablet_wanted(in)) {
    in->x = x < 0 ? 0 : x;
    in->y = y < 0 ? 0 : y;
    in->tablet(in->tablet_opaque, in->x, in->y, dz, in->buttons);
  } else if (in->mouse) {
    in->mouse(in->mouse_opaque, x, y, dz, in->buttons);
  }
  machine_kick(env->machine);
}

void cmd_mouse_move(struct monitor_env *env, char *args, FILE *out) {
  int dx, dy, dz = 0;
  char *x = monitor_need(&args, "mouse_move", "string", out);
  if (!x)
    return;
  char *y = monitor_need(&args, "mouse_move", "string", out);
  if (!y)
    return;
  char *z = monitor_word(&args);
  if (!mouse_number(x, &dx, out) || !mouse_number(y, &dy, out) || (z && !mouse_number(z, &dz, out)))
    return;
  pointer_event(env, dx, dy, -dz); /* the monitor's dz is positive away from the user, the sink's towards */
}

void cmd_mouse_button(struct monitor_env *env, char *args, FILE *out) {
  int64_t state;
  char *word = monitor_need(&args, "mouse_button", "integer", out);
  if (!word)
    return;
  if (!monitor_number(word, &state) || state < 0 || state > 7) {
    fprintf(out, "invalid button state: %s\n", word);
    return;
  }
  struct input_sink *in = &env->machine->input;
  in->buttons = (state & 1 ? MOUSE_LEFT : 0) | (state & 2 ? MOUSE_MIDDLE : 0) | (state & 4 ? MOUSE_RIGHT : 0);
  if (tablet_wanted(in))
    pointer_event(env, in->x, in->y, 0);
  else
    pointer_event(env, 0, 0, 0);
}

void cmd_mouse_set(struct monitor_env *env, char *args, FILE *out) {
  struct input_sink *in = &env->machine->input;
  int64_t n;
  char *word = monitor_need(&args, "mouse_set", "integer", out);
  if (!word)
    return;
  if (!monitor_number(word, &n) || n < 0 || (n >= in->pointer_count && n > 0))
    fprintf(out, "Mouse at index '%s' not found\n", word);
  else if (in->pointer_count)
    in->chosen = (unsigned)n + 1;
}

void cmd_info_mice(struct monitor_env *env, char *args, FILE *out) {
  const struct input_sink *in = &env->machine->input;
  (void)args;
  if (!in->pointer_count) {
    fprintf(out, in->mouse ? "* Mouse #0: PS/2 Mouse\n" : "No mouse devices connected\n");
    return;
  }
  int position = input_pointer_for(in, true);
  int now = position >= 0 ? position : input_pointer_for(in, false);
  for (unsigned i = 0; i < in->pointer_count; i++)
    fprintf(out, "%s Mouse #%u: %s%s\n", (int)i == now ? "*" : " ", i, in->pointer[i].name,
            in->pointer[i].absolute ? " (absolute)" : "");
}
