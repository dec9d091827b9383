/* SPDX-License-Identifier: MIT */
/* Shared by script*.c. */
#ifndef FRONTENDS_TEST_SCRIPT_INT_H
#define FRONTENDS_TEST_SCRIPT_INT_H

#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <lualib.h>

#include "frontends/keyqueue.h"
#include "frontends/session.h"
#include "frontends/test/font.h"
#include "frontends/test/history.h"
#include "frontends/test/picture.h"
#include "frontends/test/screentext.h"
#include "frontends/test/script.h"

#define SCRIPT_TESTS 1000
#define SCRIPT_SNAPSHOTS 16
#define SCRIPT_WORDS 128
#define SCRIPT_MEMORY (64u << 20) /* Lua's */
#define SCRIPT_SERIAL_MAX (64u << 20)
#define SCRIPT_TIMEOUT 30.0 /* guest seconds that waits take if nothing is said */
#define SECONDS 1e9

struct script_port { /* a serial port: what came, and what is to be sent */
  struct chardev dev;
  char *data;
  size_t length, size;
  size_t seen; /* wait_serial goes on here */
  char *send;
  size_t send_length, sent;
};

struct script_test {
  char *name;
  int function; /* in the registry */
};

struct script {
  struct script_config config;
  char dir[PATH_MAX], name[256], prefix[300], output[PATH_MAX];
  lua_State *L;
  size_t memory;
  struct script_test *test;
  unsigned test_count;
  int setup;                /* in the registry; LUA_NOREF: none */
  char *word[SCRIPT_WORDS]; /* the machine's options */
  unsigned word_count;
  bool described; /* machine{} was called */
  char image_drive[16];
  unsigned serials;
  double timeout;
  double mouse_scale; /* steps of a relative mouse for a pixel */

  struct session *session; /* NULL: no machine yet */
  struct machine *machine;
  struct keyqueue *keys;
  struct script_port port[BOARD_SERIALS];
  bool in_test;
  int64_t host_end; /* CPU time of the process, ns; 0: none */
  double host_begin;
  bool host_over, skipped;
  struct script_result *result;
  struct watch *watch;

  char *snapshot[SCRIPT_SNAPSHOTS]; /* files, which go with the script */
  struct font_set fonts;
  bool fonts_found;
  unsigned user_fonts;
  int64_t fonts_time;
  void *frame; /* see script_screen_changed */
  size_t frame_size;
  struct screen_text *screen; /* what was read last; NULL: read anew */
  bool screen_old;            /* the machine has run since */
  uint64_t screen_hash;       /* of the picture that it was read from */
  unsigned screen_fonts;
};

/* --- script.c --- */

struct script *script_of(lua_State *L);
/* Ends the function that called: an error at the script's line. */
int script_error(lua_State *L, const char *format, ...) __attribute__((format(printf, 2, 3), noreturn));
/* The script, with a machine; an error where there is none yet. */
struct script *script_with_machine(lua_State *L);
void script_log(struct script *s, const char *text);
double script_cpu_seconds(void);

/* --- script_sandbox.c --- */

lua_State *script_new_state(struct script *s);
/* Load a Lua file of the script's directory as a function on the stack; false: an error message is there. */
bool script_load_file(struct script *s, lua_State *L, const char *path, const char *name);
void script_check_host_time(lua_State *L, struct script *s);

/* --- script_path.c --- */

/* Where a file that the script names is, for reading: pushes the path. An error if it may not, or is not
 * there. */
const char *script_path(lua_State *L, struct script *s, const char *name);
/* The same for a file that may not be there yet. */
const char *script_new_path(lua_State *L, struct script *s, const char *name);
/* A file in the output directory, which is made: pushes the path. */
const char *script_output_path(lua_State *L, struct script *s, const char *name);
int script_make_output(struct script *s);
/* The whole file, malloc'ed; NULL with errno. */
char *script_read_file(const char *path, size_t *length);

/* --- script_machine.c --- */

int script_make_machine(struct script *s, char *error, size_t size);
void script_end_machine(struct script *s);
int64_t script_now(const struct script *s);
bool script_running(const struct script *s);
/* Run up to a guest time, or until the machine stops. */
void script_advance(lua_State *L, struct script *s, int64_t when);
/* Run for so long; an error if the machine stops. */
void script_pass(lua_State *L, struct script *s, double seconds);
const char *script_stop_reason(const struct script *s);

/* --- script_screen.c --- */

/* The text on the screen now; NULL only where there is no display or memory. Owned by s, until the machine
 * runs. */
const struct screen_text *script_screen_text(struct script *s);
/* The text is read anew next time. */
void script_forget_screen(struct script *s);
/* The screen's picture, refreshed; NULL: no display. */
const struct surface *script_surface(struct script *s);

/* Is there something else on it than when this was asked last? Not counting a cursor that blinks. */
bool script_screen_changed(struct script *s);

struct script_match {
  struct text_box box; /* around it */
  int index;           /* of the text in the list, from 1 */
};
/* Wait until a text is on the screen, as wait_text's arguments on the stack say. */
void script_wait_text(lua_State *L, struct script *s, struct script_match *match);
bool script_is_graphics(struct script *s);
struct script_comparison; /* of a picture */
/* Wait until a picture is somewhere on the screen; its middle. */
void script_wait_image(lua_State *L, struct script *s, int *x, int *y);

/* --- script_watch.c --- */

int script_watch_begin(struct script *s); /* 0, or -1: out of memory */
void script_watch_end(struct script *s);
int64_t script_watch_next(const struct script *s); /* the guest time of the next look */
void script_watch(lua_State *L, struct script *s);  /* an error if the guest has crashed */
void script_watch_result(struct script *s, struct script_result *r);

/* --- options of words --- */

double script_option_number(lua_State *L, int table, const char *key, double otherwise);
bool script_option_bool(lua_State *L, int table, const char *key);
double script_option_timeout(lua_State *L, struct script *s, int table);
/* region = {x, y, width, height}, or a list of such; returns how many. */
unsigned script_option_areas(lua_State *L, int table, const char *key, struct area *out);
/* Complain about keys that are not in the list (ended by NULL). */
void script_check_options(lua_State *L, int table, const char *const *known);

/* The words, registered by script_sandbox.c. */
extern const luaL_Reg script_words_machine[], script_words_wait[], script_words_input[], script_words_disk[],
    script_words_screen[], script_words_state[], script_words_watch[];

#endif
