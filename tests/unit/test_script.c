/* SPDX-License-Identifier: MIT */
/* Reading text from pictures, comparing pictures, and what is not in a script's Lua. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "frontends/test/picture.h"
#include "frontends/test/screentext.h"
#include "frontends/test/script.h"

/* --- a picture to write on, and fonts of our own --- */

#define WIDTH 640
#define HEIGHT 200

static uint32_t pixels[WIDTH * HEIGHT];
static struct surface screen = {.pixels = pixels, .width = WIDTH, .height = HEIGHT, .stride = WIDTH};
static uint8_t memory[100000]; /* where fonts are found */
static struct font_set fonts;

static uint32_t random_state;
static uint32_t random_number(void) {
  random_state = random_state * 1664525u + 1013904223u;
  return random_state >> 8;
}

/* Glyphs of chance with a blank column at the left, and the blocks that a VGA font has. */
static void make_font(uint8_t *to, int height, uint32_t seed) {
  random_state = seed;
  for (int c = 0; c < 256; c++)
    for (int y = 0; y < height; y++)
      to[c * height + y] = y == 0 || y >= height - 2 ? 0 : random_number() & 0x7e;
  memset(to, 0, (size_t)height);
  memset(to + ' ' * height, 0, (size_t)height);
  memset(to + '_' * height, 0, (size_t)height);
  to['_' * height + height - 2] = 0xff;
  memset(to + 255 * height, 0, (size_t)height);
  memset(to + 0xdb * height, 0xff, (size_t)height);
  memset(to + 0xdd * height, 0xf0, (size_t)height);
  memset(to + 0xde * height, 0x0f, (size_t)height);
  memset(to + 0xdc * height, 0, (size_t)height / 2);
  memset(to + 0xdc * height + height / 2, 0xff, (size_t)(height - height / 2));
  memset(to + 0xdf * height, 0xff, (size_t)height / 2);
  memset(to + 0xdf * height + height / 2, 0, (size_t)(height - height / 2));
}

static void find_fonts(void) {
  memset(memory, 0x55, sizeof memory);
  make_font(memory + 777, 16, 1);
  make_font(memory + 9001, 8, 2);
  font_set_free(&fonts);
  ck_assert_uint_eq(font_scan(&fonts, memory, sizeof memory), 2);
  ck_assert_uint_eq(font_scan(&fonts, memory, sizeof memory), 0); /* known already */
}

/* back UINT32_MAX: on what is there. */
static void draw(int x, int y, int height, const char *text, uint32_t fore, uint32_t back) {
  const uint8_t *font = memory + (height == 16 ? 777 : 9001);
  for (; *text; text++, x += 8)
    for (int j = 0; j < height; j++)
      for (int i = 0; i < 8; i++) {
        uint32_t *p = &pixels[(y + j) * WIDTH + x + i];
        if (font[(uint8_t)*text * height + j] & 0x80 >> i)
          *p = fore;
        else if (back != UINT32_MAX)
          *p = back;
      }
}

static void clear(uint32_t colour) {
  for (int i = 0; i < WIDTH * HEIGHT; i++)
    pixels[i] = colour;
}

static void expect(const char *wanted) {
  struct screen_text *t = screen_text_of_picture(&screen, &fonts);
  ck_assert(t != NULL && t->graphics);
  ck_assert_str_eq(t->text, wanted);
  screen_text_free(t);
}

START_TEST(aligned) {
  find_fonts();
  clear(0x102030);
  expect("");
  draw(0, 0, 16, "Hello, world!", 0xffffff, 0x102030);
  draw(8 * 20, 0, 16, "far", 0xffffff, 0x102030);
  draw(8 * 4, 32, 16, "third line: __ and .", 0x000000, 0x00ff00); /* another pair of colours */
  expect("Hello, world!       far\n\n    third line: __ and .\n");
}
END_TEST

START_TEST(anywhere) {
  find_fonts();
  clear(0);
  draw(13, 7, 16, "Odd place", 0xffff00, 0x0000ff);
  draw(301, 5, 8, "small letters", 0xffffff, 0);
  struct screen_text *t = screen_text_of_picture(&screen, &fonts);
  const char *odd = strstr(t->text, "Odd place"), *small = strstr(t->text, "small letters");
  ck_assert_msg(odd && small, "%s", t->text);
  const struct text_box *box = &t->box[odd - t->text];
  ck_assert_int_eq(box->x, 13);
  ck_assert_int_eq(box->y, 7);
  ck_assert_int_eq(box->width, 8);
  ck_assert_int_eq(box->height, 16);
  ck_assert_int_eq(t->box[small - t->text].x, 301);
  ck_assert_int_eq(t->box[small - t->text].height, 8);
  struct text_box region = {300, 0, 200, 20};
  struct screen_text *part = screen_text_region(t, &region);
  ck_assert_ptr_eq(strstr(part->text, "Odd"), NULL);
  ck_assert_ptr_ne(strstr(part->text, "small letters"), NULL);
  screen_text_free(part);
  screen_text_free(t);
}
END_TEST

/* Text without a background of its own, over noise. */
START_TEST(over_noise) {
  find_fonts();
  random_state = 99;
  for (int i = 0; i < WIDTH * HEIGHT; i++)
    pixels[i] = random_number() & 0xfefefe;
  expect("");
  draw(123, 45, 16, "Over all that", 0xffffff, UINT32_MAX);
  struct screen_text *t = screen_text_of_picture(&screen, &fonts);
  ck_assert_msg(strstr(t->text, "Over all that") != NULL, "%s", t->text);
  screen_text_free(t);
}
END_TEST

START_TEST(doubled) { /* 320x100 on 640x200 */
  static uint32_t small[320 * 100];
  find_fonts();
  clear(0);
  draw(16, 24, 8, "Doubled", 0xaaaaaa, 0);
  for (int y = 0; y < 100; y++)
    for (int x = 0; x < 320; x++)
      small[y * 320 + x] = pixels[y * WIDTH + x];
  for (int y = 0; y < HEIGHT; y++)
    for (int x = 0; x < WIDTH; x++)
      pixels[y * WIDTH + x] = small[y / 2 * 320 + x / 2];
  struct screen_text *t = screen_text_of_picture(&screen, &fonts);
  const char *at = strstr(t->text, "Doubled");
  ck_assert_msg(at != NULL, "%s", t->text);
  ck_assert_int_eq(t->box[at - t->text].x, 32);
  ck_assert_int_eq(t->box[at - t->text].y, 48);
  ck_assert_int_eq(t->box[at - t->text].width, 16);
  screen_text_free(t);
}
END_TEST

START_TEST(wrong_letters) { /* a pixel too many is no letter */
  find_fonts();
  clear(0);
  draw(0, 0, 16, "ABCDEF", 0xffffff, 0);
  pixels[5 * WIDTH + 16] ^= 0xffffff; /* in the C's blank column */
  expect("AB DEF\n");
}
END_TEST

START_TEST(font_files) {
  static uint8_t file[4 + 4096 + 600];
  uint8_t *p = file;
  find_fonts();
  *p++ = 0x36; /* PSF 1 with a table of characters: glyph 0 is a lambda, glyph 1 has none, glyph 2 is A */
  *p++ = 0x04;
  *p++ = 2;
  *p++ = 16;
  make_font(p, 16, 7);
  memset(p, 0x18, 16);
  p += 4096;
  for (int c = 0; c < 256; c++) {
    uint16_t code = c == 0 ? 0x3bb : c == 2 ? 'A' : 0;
    if (code) {
      *p++ = (uint8_t)code;
      *p++ = (uint8_t)(code >> 8);
    }
    *p++ = 0xff;
    *p++ = 0xff;
  }
  font_set_free(&fonts);
  ck_assert_int_eq(font_read(&fonts, file, (size_t)(p - file)), 0);
  ck_assert_uint_eq(fonts.font[0].code[0], 0x3bb);
  ck_assert_uint_eq(fonts.font[0].code[1], 0);
  ck_assert_uint_eq(fonts.font[0].code[2], 'A');
  ck_assert_int_eq(font_read(&fonts, file, 100), -1);
  ck_assert_int_eq(
      font_read(&fonts, (const uint8_t *)"\x72\xb5\x4a\x86nonsense that is longer than a header is", 40), -1);
  ck_assert_int_eq(font_read(&fonts, file + 4, 4096), 0);
  ck_assert_uint_eq(fonts.count, 2);
  font_set_free(&fonts);
}
END_TEST

START_TEST(text_cells) {
  static const uint8_t cells[] = "ab  \xe4\x01 c ";
  struct screen_text *t = screen_text_of_cells(cells, 3, 3);
  ck_assert_str_eq(t->text, "ab\n \xce\xa3\xe2\x98\xba\n c\n");
  ck_assert_int_eq(t->box[strchr(t->text, 'c') - t->text].x, 1);
  ck_assert_int_eq(t->box[strchr(t->text, 'c') - t->text].y, 2);
  screen_text_free(t);
}
END_TEST

/* --- pictures --- */

START_TEST(pictures) {
  char path[] = "/tmp/dragoman-png-XXXXXX", error[300];
  struct picture p, diff;
  struct comparison c = {0};
  int x, y;
  close(mkstemp(path));
  random_state = 5;
  for (int i = 0; i < WIDTH * HEIGHT; i++)
    pixels[i] = random_number() & 0xffffff;
  ck_assert_int_eq(image_write_png(&screen, path), 0);
  ck_assert_msg(picture_read(&p, path, error, sizeof error) == 0, "%s", error);
  ck_assert_int_eq(picture_compare(&p, &screen, &c, NULL), 0);
  pixels[10 * WIDTH + 20] ^= 0x040000;
  pixels[30 * WIDTH + 40] ^= 0x000001;
  ck_assert_int_eq(picture_compare(&p, &screen, &c, &diff), 2);
  ck_assert_uint_eq(diff.pixels[10 * WIDTH + 20], 0xff0000);
  ck_assert_uint_ne(diff.pixels[10 * WIDTH + 21], 0xff0000);
  picture_free(&diff);
  c.tolerance = 1;
  ck_assert_int_eq(picture_compare(&p, &screen, &c, NULL), 1);
  c.mask[c.masks++] = (struct area){20, 10, 1, 1};
  ck_assert_int_eq(picture_compare(&p, &screen, &c, NULL), 0);
  c.tolerance = 0;
  c.region[c.regions++] = (struct area){0, 0, 40, 31};
  ck_assert_int_eq(picture_compare(&p, &screen, &c, NULL), 0);
  c.region[c.regions++] = (struct area){40, 0, 1, 31};
  ck_assert_int_eq(picture_compare(&p, &screen, &c, NULL), 1);
  picture_free(&p);
  /* a part of it, found where it is */
  struct surface part = {.pixels = pixels + 50 * WIDTH + 300, .width = 30, .height = 20, .stride = WIDTH};
  ck_assert_int_eq(image_write_png(&part, path), 0);
  ck_assert_int_eq(picture_read(&p, path, error, sizeof error), 0);
  memset(&c, 0, sizeof c);
  ck_assert(picture_find(&p, &screen, &c, &x, &y));
  ck_assert_int_eq(x, 300);
  ck_assert_int_eq(y, 50);
  ck_assert_int_eq(picture_compare(&p, &screen, &c, NULL), -1);
  pixels[55 * WIDTH + 310] ^= 0xff;
  ck_assert(!picture_find(&p, &screen, &c, &x, &y));
  c.allowed = 1;
  ck_assert(picture_find(&p, &screen, &c, &x, &y));
  c.region[c.regions++] = (struct area){0, 0, 329, 200};
  ck_assert(!picture_find(&p, &screen, &c, &x, &y));
  picture_free(&p);
  ck_assert_int_eq(truncate(path, 50), 0);
  ck_assert_int_eq(picture_read(&p, path, error, sizeof error), -1);
  unlink(path);
}
END_TEST

/* --- Lua --- */

/* Load a script with this text; "" if it loads. */
static const char *load_text(const char *text) {
  static char error[4096];
  char path[] = "/tmp/dragoman-lua-XXXXXX";
  int fd = mkstemp(path);
  ck_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
  struct script_config config = {.path = path, .host_seconds = 2};
  error[0] = '\0';
  struct script *s = script_load(&config, error, sizeof error);
  if (s)
    ck_assert_uint_ge(script_test_count(s), 1);
  script_close(s);
  unlink(path);
  return error;
}

#define TEST "test('x', function() end) "

START_TEST(sandbox) {
  ck_assert_str_eq(load_text(TEST), "");
  ck_assert_str_eq(load_text("#!/usr/bin/lua\n" TEST), "");
  ck_assert_str_eq(
      load_text(TEST "for _, name in ipairs { 'io', 'os', 'package', 'debug', 'dofile', 'loadfile', "
                     "'collectgarbage' } do assert(_G[name] == nil, name) end assert(not string.dump)"),
      "");
  ck_assert_str_eq(load_text(TEST "assert(load('return 1 + 1')() == 2) assert(not load('\\27Lua'))"), "");
  ck_assert_str_eq(load_text(TEST "local e = {a = 5} assert(load('return a', 'x', 't', e)() == 5)"), "");
  ck_assert_str_eq(load_text(TEST "math.randomseed() local a = math.random(1000000) math.randomseed() "
                                  "assert(a == math.random(1000000))"),
                   "");
  ck_assert_str_eq(
      load_text(TEST "local t, u = {}, {} assert(tostring(t) == 'table: 1' and tostring(u) == 'table: 2') "
                     "assert(('%s'):format(t) == 'table: 1') assert(not pcall(string.format, '%-10p', t))"),
      "");
  ck_assert_str_eq(load_text(TEST
                             "local s = '' for k in pairs { z = 1, a = 1, [10] = 1, [9] = 1, 5, b = 1 } do "
                             "s = s .. k end assert(s == '1910abz', s)"),
                   "");
  ck_assert_str_eq(
      load_text(TEST "local t = { a = 1, b = 2, c = 3 } for k in pairs(t) do t[k] = nil end "
                     "assert(next(t) == nil) t = { x = 1, y = 2 } assert(next(t) == 'x' and next(t, 'x') == "
                     "'y' and next(t, 'y') == nil)"),
      "");
  ck_assert_ptr_ne(strstr(load_text(TEST "for k in pairs { [{}] = 1, [print] = 2 } do end"), "no order"),
                   NULL);
  ck_assert_ptr_ne(strstr(load_text("local x = nil + 1"), ":1: attempt to perform arithmetic"), NULL);
  ck_assert_ptr_ne(strstr(load_text("x = "), ":1: unexpected symbol"), NULL);
  ck_assert_ptr_ne(strstr(load_text("y = 1"), "no test in it"), NULL);
  ck_assert_ptr_ne(strstr(load_text("while true do end"), "took too long"), NULL);
  ck_assert_ptr_ne(
      strstr(load_text("local c = coroutine.wrap(function() while true do end end) c()"), "took too long"),
      NULL);
  ck_assert_ptr_ne(
      strstr(load_text("local t = {} while true do t[#t + 1] = ('x'):rep(1000000) end"), "64 MB"), NULL);
  ck_assert_ptr_ne(strstr(load_text(TEST TEST), "a test 'x' already"), NULL);
  ck_assert_ptr_ne(strstr(load_text("machine { nonsense = 1 }"), "'nonsense' is not for scripts"), NULL);
  ck_assert_ptr_ne(strstr(load_text("machine { netdev = 'user,id=n' }"), "is not for scripts"), NULL);
  ck_assert_ptr_ne(strstr(load_text("machine { hda = '/etc/passwd' }"), "outside"), NULL);
  ck_assert_ptr_ne(strstr(load_text("machine { drive = 'if=ide,file=/etc/passwd' }"), "outside"), NULL);
  ck_assert_ptr_ne(strstr(load_text("machine '-m 16 -hda /etc/passwd'"), "outside"), NULL);
  ck_assert_ptr_ne(strstr(load_text("machine { rtc = 'base=localtime' }"), "must be a date"), NULL);
  ck_assert_ptr_ne(strstr(load_text("type('x')"), "no machine yet"), NULL);
}
END_TEST

Suite *suite_script(void);
Suite *suite_script(void) {
  Suite *s = suite_create("script");
  TCase *t = tcase_create("script");
  tcase_set_timeout(t, 60);
  tcase_add_test(t, aligned);
  tcase_add_test(t, anywhere);
  tcase_add_test(t, over_noise);
  tcase_add_test(t, doubled);
  tcase_add_test(t, wrong_letters);
  tcase_add_test(t, font_files);
  tcase_add_test(t, text_cells);
  tcase_add_test(t, pictures);
  tcase_add_test(t, sandbox);
  suite_add_tcase(s, t);
  return s;
}
