/* SPDX-License-Identifier: MIT */
/*
 * The human monitor: the command table, help, and one session on a channel (echo, a little line editing,
 * history). The commands are in monitor_cmd_*.c.
 */
#include "frontends/monitor.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "core/replay.h"

#define PROMPT "(dragoman) "
#define LINE_SIZE 4096
#define HISTORY 32

static void cmd_help(struct monitor_env *env, char *args, FILE *out);
static void cmd_info(struct monitor_env *env, char *args, FILE *out);

static const struct monitor_command commands[] = {
    {"at", NULL, "seconds command", "run the command when the guest's clock has come that far", cmd_at},
    {"change", NULL, "device [-f] filename [format [read-only-mode]]", "change a removable medium",
     cmd_change},
    {"commit", NULL, "device|all", "write a drive's overlay (or -snapshot's) to the image below it", cmd_commit},
    {"cont", "c", "", "resume emulation", cmd_cont},
    {"delvm", NULL, "filename", "delete a snapshot", cmd_delvm},
    {"eject", NULL, "[-f] device", "eject a removable medium (use -f to force it)", cmd_eject},
    {"help", "?", "[cmd]", "show the help", cmd_help},
    {"hostfwd_add", NULL, "[netdev] [tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport",
     "redirect TCP or UDP connections from host to guest", cmd_hostfwd_add},
    {"hostfwd_remove", NULL, "[netdev] [tcp|udp]:[hostaddr]:hostport", "remove host-to-guest redirection",
     cmd_hostfwd_remove},
    {"info", NULL, "[subcommand]", "show various information about the system state", cmd_info},
    {"loadvm", NULL, "filename", "restore the machine from a snapshot", cmd_loadvm},
    {"log", NULL, "item1[,...]", "activate logging of the specified items ('none': stop)", cmd_log},
    {"logfile", NULL, "filename", "output logs to 'filename'", cmd_logfile},
    {"mouse_button", NULL, "state", "change mouse button state (1=L, 2=M, 4=R)", cmd_mouse_button},
    {"mouse_move", NULL, "dx dy [dz]", "send mouse move events (a tablet: positions, 0 to 32767)", cmd_mouse_move},
    {"mouse_set", NULL, "index", "set which mouse device receives events", cmd_mouse_set},
    {"nmi", NULL, "", "inject an NMI", cmd_nmi},
    {"print", "p", "/fmt expr", "print expression value (use $reg for CPU register access)", cmd_print},
    {"quit", "q", "", "quit the emulator", cmd_quit},
    {"replay_break", NULL, "icount", "stop when the replay has come to this instruction count", cmd_replay_break},
    {"replay_delete_break", NULL, "", "forget the replay's break", cmd_replay_delete_break},
    {"replay_seek", NULL, "icount", "replay up to this count, from the snapshot before it or from here, and stop",
     cmd_replay_seek},
    {"savevm", NULL, "filename", "save a snapshot of the whole machine to a file", cmd_savevm},
    {"screendump", NULL, "filename [-f png|ppm]",
     "save the screen as an image (PNG if the name ends in .png, else PPM)", cmd_screendump},
    {"screentext", NULL, "[filename]", "show or save a text-mode screen as UTF-8", cmd_screentext},
    {"sendkey", NULL, "keys [hold_ms]",
     "send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)", cmd_sendkey},
    {"set_link", NULL, "name on|off", "change the link status of a network adapter", cmd_set_link},
    {"stop", "s", "", "stop emulation", cmd_stop},
    {"system_powerdown", NULL, "", "send system power down event", cmd_system_powerdown},
    {"system_reset", NULL, "", "reset the system", cmd_system_reset},
    {"type", NULL, "text", "type the text (US keyboard; \\n is Enter, \\t Tab, \\e Escape)", cmd_type},
    {"x", NULL, "/fmt addr", "virtual memory dump starting at 'addr'", cmd_x},
    {"xp", NULL, "/fmt addr", "physical memory dump starting at 'addr'", cmd_xp},
    {NULL, NULL, NULL, NULL, NULL},
};

/* --- arguments --- */

char *monitor_word(char **args) {
  char *s = *args;
  while (isspace((unsigned char)*s))
    s++;
  if (!*s) {
    *args = s;
    return NULL;
  }
  char *word = s, *to = s;
  if (*s == '"') {
    for (s++; *s && *s != '"'; s++) {
      if (*s == '\\' && s[1])
        s++;
      *to++ = *s;
    }
  } else {
    while (*s && !isspace((unsigned char)*s))
      *to++ = *s++;
  }
  if (*s)
    s++;
  *to = '\0';
  *args = s;
  return word;
}

char *monitor_need(char **args, const char *command, const char *what, FILE *out) {
  char *word = monitor_word(args);
  if (!word)
    fprintf(out, "%s: %s expected\nTry \"help %s\" for more information\n", command, what, command);
  return word;
}

bool monitor_end(char **args, const char *command, FILE *out) {
  if (!monitor_word(args))
    return true;
  fprintf(out, "%s: extraneous characters at the end of line\nTry \"help %s\" for more information\n",
          command, command);
  return false;
}

bool monitor_number(const char *word, int64_t *out) {
  char *end;
  *out = strtoll(word, &end, 0);
  return *word && !*end;
}

/* --- help and info --- */

static void help_line(const struct monitor_command *c, const char *prefix, FILE *out) {
  fprintf(out, "%s%s%s%s %s -- %s\n", prefix, c->name, c->alias ? "|" : "", c->alias ? c->alias : "", c->args,
          c->help);
}

static const struct monitor_command *find(const struct monitor_command *table, const char *name) {
  for (const struct monitor_command *c = table; c->name; c++)
    if (!strcmp(c->name, name) || (c->alias && !strcmp(c->alias, name)))
      return c;
  return NULL;
}

static void cmd_help(struct monitor_env *env, char *args, FILE *out) {
  (void)env;
  char *word = monitor_word(&args);
  const struct monitor_command *only = word ? find(commands, word) : NULL;
  if (word && !strcmp(word, "info")) {
    char *sub = monitor_word(&args);
    for (const struct monitor_command *c = monitor_info_commands; c->name; c++)
      if (!sub || !strcmp(sub, c->name))
        help_line(c, "info ", out);
    return;
  }
  if (word && !only) {
    fprintf(out, "unknown command: '%s'\n", word);
    return;
  }
  for (const struct monitor_command *c = commands; c->name; c++)
    if (!only || c == only)
      help_line(c, "", out);
}

static void cmd_info(struct monitor_env *env, char *args, FILE *out) {
  char *word = monitor_word(&args);
  if (!word) {
    for (const struct monitor_command *c = monitor_info_commands; c->name; c++)
      help_line(c, "info ", out);
    return;
  }
  const struct monitor_command *c = find(monitor_info_commands, word);
  if (c)
    c->run(env, args, out);
  else
    fprintf(out, "unknown command: 'info %s'\n", word);
}

/* Commands that act on the machine itself; keys, pointers, reset, power button and quit are input by another way. */
static bool changes_machine(const struct monitor_command *c) {
  static const char *const names[] = {"change", "eject", "mouse_set", "nmi", "set_link"};
  for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
    if (!strcmp(c->name, names[i]))
      return true;
  return false;
}

void monitor_execute(struct monitor_env *env, char *line, FILE *out) {
  char name[32];
  while (isspace((unsigned char)*line))
    line++;
  if (!*line || *line == '#')
    return;
  size_t n = strcspn(line, " \t/"); /* "x/8xw" is x with the argument /8xw */
  if (n == 0)
    n = 1;
  snprintf(name, sizeof name, "%.*s", (int)n, line);
  const struct monitor_command *c = n < sizeof name ? find(commands, name) : NULL;
  if (c && env->machine->replay && (!strcmp(c->name, "commit") || !strcmp(c->name, "loadvm")))
    fprintf(out, "Error: not while the machine is recorded or replayed\n");
  else if (c && env->machine->replay && changes_machine(c) && !replay_command(env->machine->replay, line))
    fprintf(out, "Error: a replay takes its input from the recording only\n");
  else if (c)
    c->run(env, line + n, out);
  else
    fprintf(out, "unknown command: '%.*s'\n", (int)n, line);
}

/* --- a session --- */

struct monitor {
  struct monitor_env *env;
  struct channel *channel;
  char line[LINE_SIZE];
  unsigned length;
  int escape; /* 0; 1 after ESC; 2 inside a control sequence */
  bool after_cr;
  char *history[HISTORY]; /* newest last */
  int history_count, history_at;
};

static void put(struct monitor *m, const char *text, size_t length) {
  chardev_write(&m->channel->dev, (const uint8_t *)text, length);
}

static void put_text(struct monitor *m, const char *text) { put(m, text, strlen(text)); }

/* Command output, with the line ends of a terminal in raw mode. */
static void put_output(struct monitor *m, const char *text, size_t length) {
  size_t lines = 0, used = 0;
  for (size_t i = 0; i < length; i++)
    lines += text[i] == '\n';
  char *buf = malloc(length + lines + 1);
  if (!buf)
    return;
  for (size_t i = 0; i < length; i++) {
    if (text[i] == '\n')
      buf[used++] = '\r';
    buf[used++] = text[i];
  }
  put(m, buf, used);
  free(buf);
}

static void history_add(struct monitor *m) {
  m->history_at = m->history_count;
  if (!m->length || (m->history_count && !strcmp(m->history[m->history_count - 1], m->line)))
    return;
  char *copy = strdup(m->line);
  if (!copy)
    return;
  if (m->history_count == HISTORY) {
    free(m->history[0]);
    memmove(m->history, m->history + 1, (HISTORY - 1) * sizeof m->history[0]);
    m->history_count--;
  }
  m->history[m->history_count++] = copy;
  m->history_at = m->history_count;
}

static void replace_line(struct monitor *m, const char *text) {
  while (m->length) {
    put_text(m, "\b \b");
    m->length--;
  }
  m->length = (unsigned)strlen(text);
  memcpy(m->line, text, m->length);
  put(m, m->line, m->length);
}

static void history_move(struct monitor *m, int step) {
  int at = m->history_at + step;
  if (at < 0 || at > m->history_count)
    return;
  m->history_at = at;
  m->line[m->length] = '\0';
  replace_line(m, at == m->history_count ? "" : m->history[at]);
}

/* Execute with this monitor as the current one; the output goes to it. */
static void run_command(struct monitor_env *env, struct monitor *m, char *line) {
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out)
    return;
  struct monitor *outer = env->current;
  env->current = m;
  monitor_execute(env, line, out);
  env->current = outer;
  fclose(out);
  if (m)
    put_output(m, text, size);
  free(text);
}

void monitor_run(struct monitor_env *env, struct monitor *m, char *line) {
  if (m) {
    put_text(m, line);
    put_text(m, "\r\n");
  }
  run_command(env, m, line);
  if (m) {
    put_text(m, PROMPT);
    put(m, m->line, m->length); /* what was being typed */
  }
}

static void run_line(struct monitor *m) {
  m->line[m->length] = '\0';
  put_text(m, "\r\n");
  history_add(m);
  run_command(m->env, m, m->line);
  m->length = 0;
  put_text(m, PROMPT);
}

static void complete(struct monitor *m) {
  const struct monitor_command *table = commands, *match = NULL;
  m->line[m->length] = '\0';
  const char *word = m->line;
  if (!strncmp(word, "info ", 5)) {
    table = monitor_info_commands;
    word += 5;
  }
  unsigned matches = 0;
  size_t n = strlen(word);
  for (const struct monitor_command *c = table; c->name; c++)
    if (!strncmp(c->name, word, n)) {
      match = c;
      matches++;
    }
  size_t rest = matches == 1 ? strlen(match->name) - n : 0;
  if (matches != 1 || m->length + rest + 1 >= LINE_SIZE)
    return;
  memcpy(m->line + m->length, match->name + n, rest);
  m->line[m->length + rest] = ' ';
  put(m, m->line + m->length, rest + 1);
  m->length += (unsigned)rest + 1;
}

/* After ESC [ : arrow keys walk the history, other sequences are swallowed. */
static void escape_char(struct monitor *m, uint8_t c) {
  if (m->escape == 1) {
    m->escape = c == '[' || c == 'O' ? 2 : 0;
    return;
  }
  if (c < 0x40)
    return; /* parameters */
  m->escape = 0;
  if (c == 'A')
    history_move(m, -1);
  else if (c == 'B')
    history_move(m, 1);
}

static void input_char(struct monitor *m, uint8_t c) {
  bool was_cr = m->after_cr;
  m->after_cr = c == '\r';
  if (m->escape) {
    escape_char(m, c);
    return;
  }
  switch (c) {
  case '\n':
    if (was_cr)
      break; /* the second half of CR LF */
    run_line(m);
    break;
  case '\r': run_line(m); break;
  case '\b':
  case 0x7f:
    if (m->length) {
      m->length--;
      put_text(m, "\b \b");
    }
    break;
  case 0x03: /* Ctrl-C: forget the line */
    m->length = 0;
    put_text(m, "\r\n" PROMPT);
    break;
  case 0x15: replace_line(m, ""); break; /* Ctrl-U */
  case 0x10: history_move(m, -1); break; /* Ctrl-P */
  case 0x0e: history_move(m, 1); break;  /* Ctrl-N */
  case '\t': complete(m); break;
  case 0x1b: m->escape = 1; break;
  default:
    if (c >= ' ' && m->length + 1 < LINE_SIZE) {
      m->line[m->length++] = (char)c;
      put(m, (const char *)&c, 1);
    }
  }
}

static size_t monitor_can_receive(void *opaque) {
  (void)opaque;
  return LINE_SIZE;
}

static void monitor_receive(void *opaque, const uint8_t *buf, size_t len) {
  struct monitor *m = opaque;
  for (size_t i = 0; i < len; i++)
    input_char(m, buf[i]);
}

static void monitor_opened(void *opaque) {
  struct monitor *m = opaque;
  m->length = 0;
  m->escape = 0;
  put_text(m, "Dragoman " DRAGOMAN_VERSION " monitor - type 'help' for more information\r\n" PROMPT);
}

struct monitor *monitor_new(struct monitor_env *env, struct channel *c) {
  struct monitor *m = calloc(1, sizeof *m);
  if (!m)
    return NULL;
  m->env = env;
  m->channel = c;
  c->dev.can_receive = monitor_can_receive;
  c->dev.receive = monitor_receive;
  c->dev.receive_opaque = m;
  c->opened = monitor_opened;
  c->opened_opaque = m;
  return m;
}

void monitor_free(struct monitor *m) {
  if (!m)
    return;
  for (int i = 0; i < m->history_count; i++)
    free(m->history[i]);
  free(m);
}
