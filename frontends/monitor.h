/* SPDX-License-Identifier: MIT */
/*
 * The human monitor: QEMU's commands with their arguments and output formats, at the prompt "(dragoman) ".
 * monitor_execute runs one line and can be used without any channel. All functions want the machine lock.
 */
#ifndef FRONTENDS_MONITOR_H
#define FRONTENDS_MONITOR_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "core/machine.h"
#include "frontends/channel.h"

struct keyqueue;
struct media;
struct net_set;
struct monitor;
struct scheduled;

struct monitor_env { /* what the commands act on; shared by all monitors of a machine */
  struct machine *machine;
  struct channel_set *channels; /* NULL allowed */
  struct media *media;          /* NULL allowed */
  struct net_set *nets;         /* NULL allowed */
  struct keyqueue *keys;
  const char *name; /* -name */
  char format;      /* of the last x or xp: sticky, as in QEMU */
  int size;
  struct monitor *current; /* which runs a command now */
  struct scheduled *scheduled; /* of "at" */
#define MONITOR_SNAPSHOTS 32
  char *snapshot[MONITOR_SNAPSHOTS]; /* files that were saved or loaded */
  unsigned snapshot_count;
};

struct monitor *monitor_new(struct monitor_env *env, struct channel *c); /* NULL when out of memory */
void monitor_free(struct monitor *m);
/* Run one line; what it says goes to `out` with "\n" line ends. The line is modified. */
void monitor_execute(struct monitor_env *env, char *line, FILE *out);

/* Run a line and show its output on a monitor (NULL: nowhere), as if it had been typed there. */
void monitor_run(struct monitor_env *env, struct monitor *m, char *line);
void monitor_unschedule(struct monitor_env *env); /* forget what "at" has scheduled */
void monitor_forget_snapshots(struct monitor_env *env);
/* Load a snapshot, with media changed as it has them (NULL: not). 0, or -errno and a line. Under the machine lock. */
int monitor_loadvm(struct machine *m, struct media *media, const char *path, char *error, size_t size);

struct monitor_command {
  const char *name, *alias, *args, *help; /* alias may be NULL */
  void (*run)(struct monitor_env *env, char *args, FILE *out);
};
extern const struct monitor_command monitor_info_commands[]; /* ended by name NULL */

/* --- shared by the monitor_cmd_*.c files --- */

/* Cut the next word off *args ("quotes" keep blanks, \ escapes inside them). NULL at the end. */
char *monitor_word(char **args);
/* Cut the next word off, or say "COMMAND: WHAT expected" as QEMU does and return NULL. */
char *monitor_need(char **args, const char *command, const char *what, FILE *out);
/* Nothing may follow; else says so and returns false. */
bool monitor_end(char **args, const char *command, FILE *out);
bool monitor_number(const char *word, int64_t *out); /* C syntax, all of the word */

/* An expression as in QEMU: numbers, 'c', $register, ( ) ~ - + * / % & | ^. Advances *text. */
bool monitor_expression(struct machine *m, const char **text, int64_t *value, const char **error);
bool monitor_register(struct machine *m, const char *name, size_t length, int64_t *value);

struct dump_format {
  int count;
  char format; /* x o d u c i */
  int size;    /* 1 b, 2 h, 4 w, 8 g */
};
/* "/8xw" at *text, if there is one; what is not given is taken from *f. */
bool monitor_format(const char **text, struct dump_format *f, const char **error);
/* One value as QEMU prints it in x and print (width > 0 pads). */
void monitor_print_value(FILE *out, char format, int digits, uint64_t value);

/* Keys joined by '-' -> set-1 codes; the number, or -1 with the bad part in bad (at least 32 bytes). */
#define SENDKEY_MAX 16
int monitor_parse_keys(const char *text, int keys[SENDKEY_MAX], char *bad);

void cmd_at(struct monitor_env *env, char *args, FILE *out);
void cmd_x(struct monitor_env *env, char *args, FILE *out);
void cmd_xp(struct monitor_env *env, char *args, FILE *out);
void cmd_print(struct monitor_env *env, char *args, FILE *out);
void cmd_sendkey(struct monitor_env *env, char *args, FILE *out);
void cmd_type(struct monitor_env *env, char *args, FILE *out);
void cmd_mouse_move(struct monitor_env *env, char *args, FILE *out);
void cmd_mouse_button(struct monitor_env *env, char *args, FILE *out);
void cmd_info_mice(struct monitor_env *env, char *args, FILE *out);
void cmd_mouse_set(struct monitor_env *env, char *args, FILE *out);
void cmd_stop(struct monitor_env *env, char *args, FILE *out);
void cmd_cont(struct monitor_env *env, char *args, FILE *out);
void cmd_system_reset(struct monitor_env *env, char *args, FILE *out);
void cmd_system_powerdown(struct monitor_env *env, char *args, FILE *out);
void cmd_quit(struct monitor_env *env, char *args, FILE *out);
void cmd_screendump(struct monitor_env *env, char *args, FILE *out);
void cmd_screentext(struct monitor_env *env, char *args, FILE *out);
void cmd_change(struct monitor_env *env, char *args, FILE *out);
void cmd_commit(struct monitor_env *env, char *args, FILE *out);
void cmd_eject(struct monitor_env *env, char *args, FILE *out);
void cmd_info_replay(struct monitor_env *env, char *args, FILE *out);
void cmd_replay_break(struct monitor_env *env, char *args, FILE *out);
void cmd_replay_delete_break(struct monitor_env *env, char *args, FILE *out);
void cmd_replay_seek(struct monitor_env *env, char *args, FILE *out);
void cmd_log(struct monitor_env *env, char *args, FILE *out);
void cmd_logfile(struct monitor_env *env, char *args, FILE *out);
void cmd_nmi(struct monitor_env *env, char *args, FILE *out);
void cmd_info_network(struct monitor_env *env, char *args, FILE *out);
void cmd_info_usernet(struct monitor_env *env, char *args, FILE *out);
void cmd_set_link(struct monitor_env *env, char *args, FILE *out);
void cmd_hostfwd_add(struct monitor_env *env, char *args, FILE *out);
void cmd_hostfwd_remove(struct monitor_env *env, char *args, FILE *out);
void cmd_savevm(struct monitor_env *env, char *args, FILE *out);
void cmd_loadvm(struct monitor_env *env, char *args, FILE *out);
void cmd_delvm(struct monitor_env *env, char *args, FILE *out);
void cmd_info_snapshots(struct monitor_env *env, char *args, FILE *out);

#endif
