/* SPDX-License-Identifier: MIT */
/*
 * The screen as scripts see it: wait_text, screen_text, wait_screen, screenshot, font. Looks are taken at
 * guest times that depend on the script only.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/monitor.h"
#include "frontends/test/script_int.h"

#define CELLS_MAX (256 * 128)
#define LOOK_TEXT_NS 20000000     /* between two looks at a text screen */
#define LOOK_PICTURE_NS 100000000 /* at a picture, which takes longer to read */
#define SCAN_EVERY_NS 5000000000  /* between two searches for fonts */
#define CURSOR_WIDTH 16
#define CURSOR_HEIGHT 32
#define SCAN_BYTES (1u << 20)
#define SCAN_OVERLAP 4096u
#define ROM_BYTES 0x20000u
#define STILL_NS 1000000000 /* a screen that is accepted has not changed for so long */

/* --- options of words --- */

void script_check_options(lua_State *L, int table, const char *const *known) {
  if (lua_isnoneornil(L, table))
    return;
  luaL_checktype(L, table, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, table); lua_pop(L, 1)) {
    const char *key = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
    unsigned i = 0;
    while (known[i] && strcmp(known[i], key))
      i++;
    if (!known[i])
      script_error(L, "there is no option '%s' here", key);
  }
}

double script_option_number(lua_State *L, int table, const char *key, double otherwise) {
  double value = otherwise;
  if (lua_istable(L, table)) {
    if (lua_getfield(L, table, key) != LUA_TNIL) {
      if (!lua_isnumber(L, -1))
        script_error(L, "the option '%s' is a number", key);
      value = lua_tonumber(L, -1);
    }
    lua_pop(L, 1);
  }
  return value;
}

bool script_option_bool(lua_State *L, int table, const char *key) {
  bool value = false;
  if (lua_istable(L, table)) {
    lua_getfield(L, table, key);
    value = lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  return value;
}

double script_option_timeout(lua_State *L, struct script *s, int table) {
  double seconds = script_option_number(L, table, "timeout", s->timeout);
  if (!(seconds >= 0 && seconds <= 1e6))
    script_error(L, "timeout is in seconds of guest time, 0 to 1000000");
  return seconds;
}

static void take_area(lua_State *L, int index, struct area *a) {
  int v[4];
  for (int i = 0; i < 4; i++) {
    if (lua_rawgeti(L, index, i + 1) != LUA_TNUMBER)
      script_error(L, "a region is {x, y, width, height}");
    v[i] = (int)lua_tonumber(L, -1);
    lua_pop(L, 1);
    if (v[i] < 0 || v[i] > 16384)
      script_error(L, "a region is {x, y, width, height}, none of them negative");
  }
  *a = (struct area){v[0], v[1], v[2], v[3]};
}

unsigned script_option_areas(lua_State *L, int table, const char *key, struct area *out) {
  unsigned count = 0;
  if (!lua_istable(L, table))
    return 0;
  if (lua_getfield(L, table, key) != LUA_TNIL) {
    int index = lua_gettop(L);
    luaL_checktype(L, index, LUA_TTABLE);
    if (lua_rawgeti(L, index, 1) == LUA_TNUMBER) {
      take_area(L, index, &out[count++]);
      lua_pop(L, 1);
    } else {
      lua_pop(L, 1);
      lua_Integer n = luaL_len(L, index);
      for (lua_Integer i = 1; i <= n; i++) {
        if (count == PICTURE_AREAS || lua_rawgeti(L, index, i) != LUA_TTABLE)
          script_error(L, "'%s' is {x, y, width, height}, or a list of up to %d such", key, PICTURE_AREAS);
        take_area(L, lua_gettop(L), &out[count++]);
        lua_pop(L, 1);
      }
    }
  }
  lua_pop(L, 1);
  return count;
}

/* --- what is on the screen --- */

const struct surface *script_surface(struct script *s) {
  struct display *d = s->machine->display;
  int x, y, w, h;
  if (!d)
    return NULL;
  d->refresh(d, &x, &y, &w, &h);
  return &d->surface;
}

/* The guest's memory, stretch by stretch, without making the host provide what was never written. */
static void scan_ram(struct script *s) {
  const struct mem_block *ram = s->machine->ram;
  int fd = s->machine->mem->fd;
  off_t at = (off_t)ram->fd_offset, end = at + (off_t)ram->size;
  size_t kept = 0;
  uint8_t *buf = malloc(SCAN_BYTES + SCAN_OVERLAP);
  while (buf && at < end) {
    off_t data = lseek(fd, at, SEEK_DATA);
    if (data < 0 || data >= end)
      break;
    if (data != at)
      kept = 0;
    off_t hole = lseek(fd, data, SEEK_HOLE);
    if (hole < 0 || hole > end)
      hole = end;
    size_t n = (size_t)(hole - data) < SCAN_BYTES ? (size_t)(hole - data) : SCAN_BYTES;
    ssize_t got = pread(fd, buf + kept, n, data);
    if (got <= 0)
      break;
    font_scan(&s->fonts, buf, kept + (size_t)got);
    size_t have = kept + (size_t)got;
    kept = have < SCAN_OVERLAP ? have : SCAN_OVERLAP; /* a font may lie across the border */
    memmove(buf, buf + have - kept, kept);
    at = data + got;
  }
  free(buf);
}

/* The fonts in the video ROM, and those that the guest's programs have in memory now; looked for now and
 * then. */
static void find_fonts(struct script *s) {
  uint8_t *rom = malloc(ROM_BYTES);
  int64_t now = script_now(s);
  if (rom && (!s->fonts_found || now - s->fonts_time >= SCAN_EVERY_NS)) {
    memset(rom, 0, ROM_BYTES);
    debug_read(s->machine, 0xc0000, rom, ROM_BYTES, 1);
    font_scan(&s->fonts, rom, ROM_BYTES);
    scan_ram(s);
    s->fonts_found = s->fonts.count > s->user_fonts; /* before the firmware ran there are none */
    s->fonts_time = now;
  }
  free(rom);
}

/* Columns of the text on the screen, which goes to cells; 0 in graphics modes. */
static int read_cells(struct script *s, uint8_t *cells, uint8_t *attributes, int *rows) {
  struct display *d = s->machine->display;
  int cursor_x, cursor_y;
  *rows = 0;
  return d && d->text ? d->text(d, cells, attributes, CELLS_MAX, rows, &cursor_x, &cursor_y) : 0;
}

void script_forget_screen(struct script *s) {
  screen_text_free(s->screen);
  s->screen = NULL;
}

static uint64_t hash_picture(const struct surface *p) {
  uint64_t hash = (uint64_t)p->width << 32 ^ (uint64_t)p->height;
  for (int y = 0; y < p->height; y++)
    for (int x = 0; x < p->width; x++)
      hash = (hash ^ p->pixels[(size_t)y * (size_t)p->stride + (size_t)x]) * 0x100000001b3ull;
  return hash;
}

/* Reading a picture takes some ten milliseconds: not twice the same with the same fonts. */
static struct screen_text *read_picture(struct script *s) {
  static const struct surface empty;
  const struct surface *picture = script_surface(s);
  find_fonts(s);
  uint64_t hash = picture ? hash_picture(picture) : 0;
  if (s->screen && s->screen->graphics && s->screen_hash == hash && s->screen_fonts == s->fonts.count)
    return s->screen;
  s->screen_hash = hash;
  s->screen_fonts = s->fonts.count;
  return screen_text_of_picture(picture ? picture : &empty, &s->fonts);
}

const struct screen_text *script_screen_text(struct script *s) {
  int rows;
  if (s->screen && !s->screen_old)
    return s->screen;
  uint8_t *cells = malloc(CELLS_MAX);
  int columns = cells ? read_cells(s, cells, NULL, &rows) : 0;
  struct screen_text *t = columns ? screen_text_of_cells(cells, columns, rows) : read_picture(s);
  free(cells);
  if (t != s->screen)
    screen_text_free(s->screen);
  s->screen = t;
  s->screen_old = false;
  return t;
}

bool script_is_graphics(struct script *s) {
  int rows;
  static uint8_t cells[CELLS_MAX];
  return read_cells(s, cells, NULL, &rows) == 0;
}

/* Keep what is shown. Was it different before? */
static bool keep_frame(struct script *s, const void *data, size_t size) {
  bool same = s->frame && s->frame_size == size && memcmp(s->frame, data, size) == 0;
  if (same)
    return false;
  void *copy = malloc(size);
  if (copy)
    memcpy(copy, data, size);
  free(s->frame);
  s->frame = copy;
  s->frame_size = copy ? size : 0;
  return true;
}

/* Do two pictures differ only where a cursor may blink? */
static bool only_cursor(const uint32_t *a, const uint32_t *b, int width, int height) {
  int x0 = width, x1 = 0, y0 = height, y1 = 0;
  for (int y = 0; y < height; y++) {
    const uint32_t *p = a + (size_t)y * (size_t)width, *q = b + (size_t)y * (size_t)width;
    if (memcmp(p, q, (size_t)width * sizeof *p) == 0)
      continue;
    y0 = y < y0 ? y : y0;
    y1 = y + 1;
    for (int x = 0; x < width; x++)
      if (p[x] != q[x]) {
        x0 = x < x0 ? x : x0;
        x1 = x + 1 > x1 ? x + 1 : x1;
      }
  }
  return x1 - x0 <= CURSOR_WIDTH && y1 - y0 <= CURSOR_HEIGHT;
}

bool script_screen_changed(struct script *s) {
  int rows;
  uint8_t *cells = calloc(2, CELLS_MAX);
  bool changed = false;
  int columns = cells ? read_cells(s, cells, cells + CELLS_MAX, &rows) : 0;
  const struct surface *p = columns || !cells ? NULL : script_surface(s);
  if (columns) {
    size_t size = (size_t)columns * (size_t)rows;
    memmove(cells + size, cells + CELLS_MAX, size);
    changed = keep_frame(s, cells, 2 * size);
  }
  free(cells);
  if (!p || p->width < 1)
    return changed;
  size_t line = (size_t)p->width * sizeof *p->pixels, size = line * (size_t)p->height;
  uint32_t *picture = malloc(size);
  if (!picture)
    return true;
  for (int y = 0; y < p->height; y++)
    memcpy(picture + (size_t)y * (size_t)p->width, p->pixels + (size_t)y * (size_t)p->stride, line);
  /* A cursor's blinking is compared with the same picture each time, so that other small changes add up. */
  if (s->frame_size != size || !s->frame || !only_cursor(s->frame, picture, p->width, p->height))
    changed = keep_frame(s, picture, size);
  free(picture);
  return changed;
}

static int64_t next_look(struct script *s, int64_t end) {
  int64_t at = script_now(s) + (script_is_graphics(s) ? LOOK_PICTURE_NS : LOOK_TEXT_NS);
  return at < end ? at : end;
}

/* --- wait_text --- */

static struct text_box box_around(const struct screen_text *t, size_t from, size_t to) {
  int x0 = INT16_MAX, y0 = INT16_MAX, x1 = 0, y1 = 0;
  for (size_t i = from; i < to && i < t->length; i++) {
    const struct text_box *b = &t->box[i];
    if (t->text[i] == '\n')
      continue;
    x0 = b->x < x0 ? b->x : x0;
    y0 = b->y < y0 ? b->y : y0;
    x1 = b->x + b->width > x1 ? b->x + b->width : x1;
    y1 = b->y + b->height > y1 ? b->y + b->height : y1;
  }
  if (x1 <= x0)
    return (struct text_box){0, 0, 0, 0};
  return (struct text_box){(int16_t)x0, (int16_t)y0, (int16_t)(x1 - x0), (int16_t)(y1 - y0)};
}

/* string.find on text[from, to) with the pattern at `index`: leaves the captures, or the whole match, on the
 * stack, and says how many. 0: it is not there. */
static int find_pattern(lua_State *L, const char *text, size_t length, int index, size_t *start,
                        size_t *end) {
  int top = lua_gettop(L);
  lua_getglobal(L, "string");
  lua_getfield(L, -1, "find");
  lua_remove(L, -2);
  lua_pushlstring(L, text, length);
  lua_pushvalue(L, index);
  lua_call(L, 2, LUA_MULTRET);
  if (lua_isnil(L, top + 1)) {
    lua_settop(L, top);
    return 0;
  }
  *start = (size_t)lua_tointeger(L, top + 1) - 1;
  *end = (size_t)lua_tointeger(L, top + 2);
  if (lua_gettop(L) == top + 2)
    lua_pushlstring(L, text + *start, *end - *start);
  lua_remove(L, top + 1);
  lua_remove(L, top + 1);
  return lua_gettop(L) - top;
}

/* Look for one text, at `index` of the stack; pushes what was found. */
static int find_one(lua_State *L, const struct screen_text *t, int index, bool pattern,
                    struct text_box *box) {
  size_t wanted_length;
  const char *wanted = lua_tolstring(L, index, &wanted_length);
  const char *line = t->text;
  if (!pattern) {
    const char *at = memmem(t->text, t->length, wanted, wanted_length);
    if (!at)
      return 0;
    *box = box_around(t, (size_t)(at - t->text), (size_t)(at - t->text) + wanted_length);
    lua_pushlstring(L, wanted, wanted_length);
    return 1;
  }
  while (*line) {
    size_t n = strcspn(line, "\n"), start, end;
    int results = find_pattern(L, line, n, index, &start, &end);
    if (results) {
      size_t at = (size_t)(line - t->text);
      *box = box_around(t, at + start, at + end);
      return results;
    }
    line += n + (line[n] == '\n');
  }
  return 0;
}

/* Any of the texts, the string or list at 1: pushes what was found. */
static int find_any(lua_State *L, const struct screen_text *t, bool pattern, struct script_match *m) {
  if (lua_type(L, 1) == LUA_TSTRING) {
    m->index = 1;
    return find_one(L, t, 1, pattern, &m->box);
  }
  lua_Integer n = luaL_len(L, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    lua_rawgeti(L, 1, i);
    int top = lua_gettop(L), results = find_one(L, t, top, pattern, &m->box);
    m->index = (int)i;
    lua_remove(L, top);
    if (results)
      return results;
  }
  return 0;
}

static void check_texts(lua_State *L) {
  if (lua_type(L, 1) == LUA_TSTRING)
    return;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_Integer n = luaL_len(L, 1);
  for (lua_Integer i = 1; i <= n; i++) {
    if (lua_rawgeti(L, 1, i) != LUA_TSTRING)
      script_error(L, "what is waited for is a text, or a list of texts");
    lua_pop(L, 1);
  }
  if (n == 0)
    script_error(L, "the list of texts is empty");
}

/* The texts for a message: 'a' or 'b'. */
static const char *push_texts(lua_State *L) {
  if (lua_type(L, 1) == LUA_TSTRING)
    return lua_pushfstring(L, "'%s'", lua_tostring(L, 1));
  luaL_Buffer b;
  lua_Integer n = luaL_len(L, 1);
  luaL_buffinit(L, &b);
  for (lua_Integer i = 1; i <= n; i++) {
    luaL_addstring(&b, i > 1 ? " or '" : "'");
    lua_rawgeti(L, 1, i);
    luaL_addvalue(&b);
    luaL_addchar(&b, '\'');
  }
  luaL_pushresult(&b);
  return lua_tostring(L, -1);
}

/* Pushes what the pattern captured; returns how many. */
static int wait_for_text(lua_State *L, struct script *s, struct script_match *m) {
  static const char *const known[] = {"timeout", "pattern", "region", "gone",
                                      "button",  "double",  "count",  NULL};
  struct area area[PICTURE_AREAS];
  check_texts(L);
  script_check_options(L, 2, known);
  double timeout = script_option_timeout(L, s, 2);
  bool pattern = script_option_bool(L, 2, "pattern"), gone = script_option_bool(L, 2, "gone");
  unsigned regions = script_option_areas(L, 2, "region", area);
  int64_t end = script_now(s) + (int64_t)(timeout * SECONDS);
  int top = lua_gettop(L);
  for (;;) {
    const struct screen_text *t = script_screen_text(s);
    struct screen_text *part = NULL;
    if (regions && t) {
      struct text_box box = {(int16_t)area[0].x, (int16_t)area[0].y, (int16_t)area[0].width,
                             (int16_t)area[0].height};
      part = screen_text_region(t, &box);
      t = part;
    }
    int results = t ? find_any(L, t, pattern, m) : 0;
    screen_text_free(part);
    if ((results > 0) != gone)
      return results;
    lua_settop(L, top);
    if (!script_running(s))
      script_error(L, "%s did not %s: %s", push_texts(L), gone ? "go" : "appear", script_stop_reason(s));
    if (script_now(s) >= end)
      script_error(L, "%s did not %s within %.14g s", push_texts(L), gone ? "go" : "appear", timeout);
    script_advance(L, s, next_look(s, end));
  }
}

void script_wait_text(lua_State *L, struct script *s, struct script_match *match) {
  int top = lua_gettop(L);
  wait_for_text(L, s, match);
  lua_settop(L, top);
}

static int word_wait_text(lua_State *L) {
  struct script *s = script_with_machine(L);
  struct script_match m = {.index = 0};
  lua_settop(L, 2);
  int results = wait_for_text(L, s, &m);
  if (lua_type(L, 1) == LUA_TSTRING || !results)
    return results;
  lua_pushinteger(L, m.index); /* of a list: which it was, then what was found */
  lua_insert(L, -results - 1);
  return results + 1;
}

static int word_screen_text(lua_State *L) {
  struct script *s = script_with_machine(L);
  const struct screen_text *t = script_screen_text(s);
  lua_pushstring(L, t ? t->text : "");
  return 1;
}

static int word_font(lua_State *L) {
  struct script *s = script_of(L);
  size_t length;
  const char *path = script_path(L, s, luaL_checkstring(L, 1));
  char *data = script_read_file(path, &length);
  int r = data ? font_read(&s->fonts, (const uint8_t *)data, length) : -1;
  free(data);
  script_forget_screen(s);
  s->user_fonts += r == 0;
  if (r < 0)
    script_error(L, "'%s' is no bitmap font (PSF, or 256 characters of 8 pixels)", lua_tostring(L, 1));
  return 0;
}

/* --- pictures --- */

static void take_comparison(lua_State *L, int table, struct comparison *c) {
  c->regions = script_option_areas(L, table, "region", c->region);
  c->masks = script_option_areas(L, table, "mask", c->mask);
  c->tolerance = (int)script_option_number(L, table, "tolerance", 0);
  c->allowed = (int64_t)script_option_number(L, table, "pixels", 0);
}

/* Until the screen has not changed for a while, or until `end`. */
static void wait_still(lua_State *L, struct script *s, int64_t end) {
  int64_t since = script_now(s);
  script_screen_changed(s);
  while (script_running(s) && script_now(s) < end && script_now(s) - since < STILL_NS) {
    script_advance(L, s, script_now(s) + LOOK_PICTURE_NS);
    if (script_screen_changed(s))
      since = script_now(s);
  }
}

static void accept_screen(lua_State *L, struct script *s, const char *name) {
  char text[300];
  const struct surface *p = script_surface(s);
  int r = p ? image_write_png(p, script_new_path(L, s, name)) : -ENODEV;
  if (r < 0)
    script_error(L, "cannot write %s: %s", name, strerror(-r));
  snprintf(text, sizeof text, "updated %s", name);
  script_log(s, text);
}

/* What was there instead, and where it differs, beside the logs. */
static void save_difference(lua_State *L, struct script *s, const struct picture *want,
                            const struct comparison *c) {
  const struct surface *p = script_surface(s);
  struct picture diff = {0};
  if (!p || !s->output[0])
    return;
  image_write_png(p, script_output_path(L, s, "actual.png"));
  if (picture_compare(want, p, c, &diff) >= 0 && diff.pixels) {
    struct surface d = {
        .pixels = diff.pixels, .width = diff.width, .height = diff.height, .stride = diff.width};
    image_write_png(&d, script_output_path(L, s, "diff.png"));
  }
  picture_free(&diff);
}

/* The picture in a userdata that frees it when it is collected. */
static int free_picture(lua_State *L) {
  picture_free(lua_touserdata(L, 1));
  return 0;
}

static struct picture *load_picture(lua_State *L, struct script *s, const char *name) {
  char error[512];
  struct picture *p = lua_newuserdatauv(L, sizeof *p, 0);
  *p = (struct picture){0};
  if (luaL_newmetatable(L, "picture")) {
    lua_pushcfunction(L, free_picture);
    lua_setfield(L, -2, "__gc");
  }
  lua_setmetatable(L, -2);
  if (picture_read(p, script_path(L, s, name), error, sizeof error) < 0)
    script_error(L, "%s", error);
  lua_pop(L, 1); /* the path */
  return p;
}

static int word_wait_screen(lua_State *L) {
  static const char *const known[] = {"timeout", "region", "mask", "tolerance", "pixels", NULL};
  struct script *s = script_with_machine(L);
  const char *name = luaL_checkstring(L, 1);
  struct comparison c = {0};
  int64_t differ = 0;
  lua_settop(L, 2);
  script_check_options(L, 2, known);
  take_comparison(L, 2, &c);
  double timeout = script_option_timeout(L, s, 2);
  int64_t end = script_now(s) + (int64_t)(timeout * SECONDS);
  size_t length;
  char *there = script_read_file(script_new_path(L, s, name), &length);
  free(there);
  if (!there) {
    if (!s->config.update)
      script_error(L, "there is no %s yet: look at the screen and accept it with --update", name);
    wait_still(L, s, end);
    accept_screen(L, s, name);
    return 0;
  }
  struct picture *want = load_picture(L, s, name);
  for (;;) {
    const struct surface *p = script_surface(s);
    differ = p ? picture_compare(want, p, &c, NULL) : -1;
    if (differ >= 0 && differ <= c.allowed)
      return 0;
    if (!script_running(s) || script_now(s) >= end)
      break;
    int64_t at = script_now(s) + LOOK_PICTURE_NS;
    script_advance(L, s, at < end ? at : end);
  }
  if (s->config.update) {
    accept_screen(L, s, name);
    return 0;
  }
  const struct surface *p = script_surface(s);
  save_difference(L, s, want, &c);
  if (differ < 0)
    script_error(L, "the screen did not become %s within %.14g s: it has %dx%d pixels, the picture %dx%d",
                 name, timeout, p ? p->width : 0, p ? p->height : 0, want->width, want->height);
  script_error(L, "the screen did not become %s within %.14g s: %lld pixels differ%s", name, timeout,
               (long long)differ, script_running(s) ? "" : "; the machine has stopped");
}

void script_wait_image(lua_State *L, struct script *s, int *x, int *y) {
  static const char *const known[] = {"timeout", "region", "tolerance", "pixels", "button", "double", NULL};
  const char *name = luaL_checkstring(L, 1);
  struct comparison c = {0};
  script_check_options(L, 2, known);
  take_comparison(L, 2, &c);
  double timeout = script_option_timeout(L, s, 2);
  int64_t end = script_now(s) + (int64_t)(timeout * SECONDS);
  struct picture *want = load_picture(L, s, name);
  for (;;) {
    const struct surface *p = script_surface(s);
    if (p && picture_find(want, p, &c, x, y)) {
      *x += want->width / 2;
      *y += want->height / 2;
      return;
    }
    if (!script_running(s) || script_now(s) >= end)
      script_error(L, "%s did not appear on the screen within %.14g s%s", name, timeout,
                   script_running(s) ? "" : "; the machine has stopped");
    int64_t at = script_now(s) + LOOK_PICTURE_NS;
    script_advance(L, s, at < end ? at : end);
  }
}

static int word_wait_image(lua_State *L) {
  struct script *s = script_with_machine(L);
  int x, y;
  lua_settop(L, 2);
  script_wait_image(L, s, &x, &y);
  lua_pushinteger(L, x);
  lua_pushinteger(L, y);
  return 2;
}

static int word_screenshot(lua_State *L) {
  struct script *s = script_with_machine(L);
  const char *name = luaL_checkstring(L, 1), *dot = strrchr(name, '.');
  const struct surface *p = script_surface(s);
  if (!dot || strcmp(dot, ".png"))
    script_error(L, "screenshot: the name ends in .png");
  int r = p ? image_write_png(p, script_output_path(L, s, name)) : -ENODEV;
  if (r < 0)
    script_error(L, "screenshot: cannot write %s: %s", name, strerror(-r));
  return 0;
}

const luaL_Reg script_words_screen[] = {
    {"wait_text", word_wait_text},
    {"screen_text", word_screen_text},
    {"wait_screen", word_wait_screen},
    {"wait_image", word_wait_image},
    {"screenshot", word_screenshot},
    {"font", word_font},
    {NULL, NULL},
};
