/* SPDX-License-Identifier: MIT */
/*
 * Keyboard and mouse: type, press, mouse, move_to, click, click_text, click_image. A key goes in when the
 * guest has fetched what came before (frontends/keyqueue.h), and the words return when the guest has fetched
 * everything.
 */
#include <math.h>
#include <string.h>

#include "frontends/monitor.h"
#include "frontends/test/script_int.h"

#define LOOK_NS 2000000
#define HOLD_MS 50
#define MOUSE_NS 20000000 /* between two events: a PS/2 mouse reports 40 to 100 times a second */
#define MOUSE_STEP 1      /* what a relative mouse moves at once: drivers do not accelerate that */
#define CHUNK 8000        /* characters in the queue at once */

/* Until the guest has all keys; a machine that a key switches off does not wait for it to be released. */
static void wait_keys(lua_State *L, struct script *s) {
  if (!script_running(s))
    script_error(L, "%s: there is nobody to press keys for", script_stop_reason(s));
  while (script_running(s) && !keyqueue_done(s->keys))
    script_advance(L, s, script_now(s) + LOOK_NS);
}

static int word_type(lua_State *L) {
  static const char *const known[] = {"delay", NULL};
  struct script *s = script_with_machine(L);
  size_t length;
  if (lua_type(L, 1) != LUA_TSTRING)
    script_error(L, "type: a text, please; Lua's own function of that name is called typeof here");
  const char *text = lua_tolstring(L, 1, &length);
  char part[CHUNK + 1], bad;
  script_check_options(L, 2, known);
  double delay =
      script_option_number(L, 2, "delay", 0.001); /* seconds that a key is held, and between keys */
  if (!(delay >= 0 && delay <= 10))
    script_error(L, "type: delay is in seconds, up to 10");
  if (strlen(text) != length)
    script_error(L, "type: there is no key for the character 0x00");
  keyqueue_set_pace(s->keys, (int64_t)(delay * SECONDS), (int64_t)(delay * SECONDS));
  for (size_t at = 0; at < length; at += strlen(part)) {
    snprintf(part, sizeof part, "%s", text + at);
    machine_lock(s->machine);
    int r = keyqueue_type(s->keys, part, &bad);
    machine_unlock(s->machine);
    if (r < 0)
      script_error(L, "type: there is no key for the character 0x%02x", (unsigned char)bad);
    wait_keys(L, s);
  }
  return 0;
}

static int word_press(lua_State *L) {
  static const char *const known[] = {"hold", NULL};
  struct script *s = script_with_machine(L);
  int n = lua_gettop(L), keys[SENDKEY_MAX];
  double hold = HOLD_MS / 1000.0;
  char bad[32];
  if (n > 1 && lua_istable(L, n)) {
    script_check_options(L, n, known);
    hold = script_option_number(L, n, "hold", hold);
    n--;
  }
  if (!(hold >= 0 && hold <= 60) || n < 1)
    script_error(L, n < 1 ? "press: which key?" : "press: hold is in seconds, up to 60");
  for (int i = 1; i <= n; i++) {
    int count = monitor_parse_keys(luaL_checkstring(L, i), keys, bad);
    if (count < 0)
      script_error(L, "press: there is no key '%s'", bad);
    machine_lock(s->machine);
    keyqueue_combination(s->keys, keys, count, (int64_t)(hold * 1000));
    machine_unlock(s->machine);
    wait_keys(L, s);
  }
  return 0;
}

/* --- the mouse --- */

static int button_of(lua_State *L, const char *name) {
  if (!strcmp(name, "left"))
    return MOUSE_LEFT;
  if (!strcmp(name, "right"))
    return MOUSE_RIGHT;
  if (!strcmp(name, "middle"))
    return MOUSE_MIDDLE;
  script_error(L, "the mouse has the buttons left, right and middle, no '%s'", name);
}

static bool has_position(const struct input_sink *in) {
  return in->tablet && in->tablet_active && in->tablet_active(in->tablet_opaque);
}

/* A movement, or the buttons alone. */
static void mouse_event(lua_State *L, struct script *s, int dx, int dy, int dz) {
  struct input_sink *in = &s->machine->input;
  machine_lock(s->machine);
  if (has_position(in) && !dx && !dy)
    in->tablet(in->tablet_opaque, in->x, in->y, dz, in->buttons);
  else if (in->mouse)
    in->mouse(in->mouse_opaque, dx, dy, dz, in->buttons);
  machine_kick(s->machine);
  machine_unlock(s->machine);
  script_pass(L, s, MOUSE_NS / SECONDS);
}

static int word_mouse(lua_State *L) {
  static const char *const known[] = {"dx", "dy", "wheel", "buttons", NULL};
  struct script *s = script_with_machine(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  script_check_options(L, 1, known);
  int dx = (int)script_option_number(L, 1, "dx", 0), dy = (int)script_option_number(L, 1, "dy", 0);
  int wheel = (int)script_option_number(L, 1, "wheel", 0);
  if (lua_getfield(L, 1, "buttons") == LUA_TSTRING) {
    const char *name = lua_tostring(L, -1);
    s->machine->input.buttons = *name ? button_of(L, name) : 0;
  } else if (lua_istable(L, -1)) {
    int buttons = 0;
    lua_Integer n = luaL_len(L, -1);
    for (lua_Integer i = 1; i <= n; i++) {
      lua_rawgeti(L, -1, i);
      buttons |= button_of(L, luaL_checkstring(L, -1));
      lua_pop(L, 1);
    }
    s->machine->input.buttons = buttons;
  } else if (!lua_isnil(L, -1)) {
    script_error(L, "mouse: buttons is a name, or a list of names");
  }
  mouse_event(L, s, dx, dy, wheel);
  return 0;
}

/* Into the corner, and from there by small steps; `scale` of them make a pixel. */
static void move_relative(lua_State *L, struct script *s, int x, int y, double scale,
                          const struct surface *p) {
  struct input_sink *in = &s->machine->input;
  int steps_x = (int)lround(x * scale), steps_y = (int)lround(y * scale);
  if (!in->mouse)
    script_error(L, "the machine has no mouse");
  for (int i = 0; i < (p->width > p->height ? p->width : p->height) * 2 / 100 + 2; i++)
    mouse_event(L, s, -100, -100, 0);
  while (steps_x || steps_y) {
    int dx = steps_x < MOUSE_STEP ? steps_x : MOUSE_STEP, dy = steps_y < MOUSE_STEP ? steps_y : MOUSE_STEP;
    mouse_event(L, s, dx, dy, 0);
    steps_x -= dx;
    steps_y -= dy;
  }
}

static void move_to(lua_State *L, struct script *s, int x, int y) {
  const struct surface *p = script_surface(s);
  struct input_sink *in = &s->machine->input;
  if (!p || p->width < 2 || p->height < 2)
    script_error(L, "there is no screen to point at");
  if (x < 0 || y < 0 || x >= p->width || y >= p->height)
    script_error(L, "%d, %d is not on the screen, which has %dx%d pixels", x, y, p->width, p->height);
  if (!has_position(in)) {
    move_relative(L, s, x, y, s->mouse_scale, p);
    return;
  }
  machine_lock(s->machine);
  in->x = (int)((int64_t)x * INPUT_ABS_MAX / (p->width - 1));
  in->y = (int)((int64_t)y * INPUT_ABS_MAX / (p->height - 1));
  in->tablet(in->tablet_opaque, in->x, in->y, 0, in->buttons);
  machine_kick(s->machine);
  machine_unlock(s->machine);
  script_pass(L, s, MOUSE_NS / SECONDS);
}

static int word_move_to(lua_State *L) {
  struct script *s = script_with_machine(L);
  move_to(L, s, (int)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2));
  return 0;
}

static void click(lua_State *L, struct script *s, int options) {
  int button = MOUSE_LEFT, times = script_option_bool(L, options, "double") ? 2 : 1;
  if (lua_istable(L, options)) {
    if (lua_getfield(L, options, "button") != LUA_TNIL)
      button = button_of(L, luaL_checkstring(L, -1));
    lua_pop(L, 1);
  }
  for (int i = 0; i < times; i++) {
    s->machine->input.buttons = button;
    mouse_event(L, s, 0, 0, 0);
    script_pass(L, s, HOLD_MS / 1000.0);
    s->machine->input.buttons = 0;
    mouse_event(L, s, 0, 0, 0);
    script_pass(L, s, HOLD_MS / 1000.0);
  }
}

static int word_click(lua_State *L) {
  static const char *const known[] = {"button", "double", NULL};
  struct script *s = script_with_machine(L);
  lua_settop(L, 1);
  script_check_options(L, 1, known);
  click(L, s, 1);
  return 0;
}

static int word_click_text(lua_State *L) {
  struct script *s = script_with_machine(L);
  struct script_match m = {.index = 0};
  lua_settop(L, 2);
  script_wait_text(L, s, &m);
  const struct surface *p = script_surface(s);
  const struct screen_text *t = script_screen_text(s);
  int x = m.box.x + m.box.width / 2, y = m.box.y + m.box.height / 2;
  if (!t->graphics && t->width && t->height) { /* characters */
    x = (2 * m.box.x + m.box.width) * p->width / (2 * t->width);
    y = (2 * m.box.y + m.box.height) * p->height / (2 * t->height);
  }
  move_to(L, s, x, y);
  click(L, s, 2);
  return 0;
}

static int word_click_image(lua_State *L) {
  struct script *s = script_with_machine(L);
  int x, y;
  lua_settop(L, 2);
  script_wait_image(L, s, &x, &y);
  move_to(L, s, x, y);
  click(L, s, 2);
  return 0;
}

const luaL_Reg script_words_input[] = {
    {"type", word_type},
    {"press", word_press},
    {"mouse", word_mouse},
    {"move_to", word_move_to},
    {"click", word_click},
    {"click_text", word_click_text},
    {"click_image", word_click_image},
    {NULL, NULL},
};
