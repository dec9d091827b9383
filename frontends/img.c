/* SPDX-License-Identifier: MIT */
/*
 * dragoman-img: the command line. Subcommands, options, output and exit statuses are qemu-img's, as far as
 * they exist here; cache modes and such (-t, -T, -W, -m, -U) are taken and have no effect.
 */
#include "frontends/img.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config.h"

static const struct {
  const char *name, *options, *usage;
  int (*run)(const struct img_args *a);
} commands[] = {
    {"create", "f:F:b:o:qu", "[-f FORMAT] [-b BACKING -F FORMAT] [-o OPTIONS] [-u] [-q] FILE [SIZE]",
     img_create},
    {"convert", "f:O:o:B:F:cpqnl:S:t:T:W;m:r:",
     "[-f FORMAT] [-O FORMAT] [-o OPTIONS] [-c] [-p] [-q] [-n] [-l SNAPSHOT] "
     "[-B BACKING [-F FORMAT]] FILE... OUTPUT",
     img_convert},
    {"info", "f:U;", "[-f FORMAT] [--output=json] [--backing-chain] FILE", img_info},
    {"check", "f:r:qT:U;", "[-f FORMAT] [-r leaks|all] [-q] [--output=json] FILE", img_check},
    {"commit", "f:b:dpqt:r:", "[-f FORMAT] [-d] [-p] [-q] FILE", img_commit},
    {"compare", "f:F:psqT:U;", "[-f FORMAT] [-F FORMAT] [-s] [-p] [-q] FILE1 FILE2", img_compare},
    {"snapshot", "f:lc:a:d:qU;", "[-f FORMAT] [-l | -c NAME | -a NAME | -d NAME] [-q] FILE", img_snapshot},
    {"resize", "f:q", "[-f FORMAT] [--shrink] [-q] FILE [+|-]SIZE", img_resize},
    {"rebase", "f:F:b:upqt:T:", "[-f FORMAT] [-u] -b BACKING [-F FORMAT] [-p] [-q] FILE", img_rebase},
    {"map", "f:U;", "[-f FORMAT] [--output=json] FILE", img_map},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

int img_error(const struct img_args *a, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fflush(stdout);
  fprintf(stderr, "dragoman-img: %s%s", a ? a->command : "", a ? ": " : "");
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  return 1;
}

struct block *img_open(const struct img_args *a, const char *path, const char *format, unsigned flags) {
  struct block *b;
  const char *error;
  struct block_options o = {.flags = flags, .format = format, .snapshot = a->snapshot_name};
  if (block_open_with(&b, path, &o, &error))
    img_error(a, "Could not open '%s': %s", path, error);
  return b;
}

void img_progress(uint64_t done, uint64_t all) {
  static int last = -1;
  int now = all ? (int)((double)done * 10000 / (double)all) : 10000;
  if (now == last)
    return;
  last = now;
  printf("    (%.2f/100%%)\r", now / 100.0);
  fflush(stdout);
}

void img_progress_end(void) {
  img_progress(1, 1);
  putchar('\n');
}

const char *img_size(uint64_t bytes, char text[32]) {
  static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  unsigned unit = 0;
  double n = (double)bytes;
  while (n >= 1000 && unit < 6)
    n /= 1024, unit++;
  snprintf(text, 32, "%0.3g %s", n, units[unit]);
  return text;
}

static void help(FILE *to) {
  fprintf(to, "dragoman-img %s: disk images, in qemu-img's words\n\n", DRAGOMAN_VERSION);
  for (size_t i = 0; i < COMMANDS; i++)
    fprintf(to, "dragoman-img %s %s\n", commands[i].name, commands[i].usage);
  fprintf(to, "\nFormats:");
  for (unsigned i = 0; block_format_name_at(i); i++)
    fprintf(to, " %s", block_format_name_at(i));
  fputc('\n', to);
}

static int add_options(struct img_args *a, const char *more) {
  size_t have = strlen(a->options);
  int n = snprintf(a->options + have, sizeof a->options - have, "%s%s", have ? "," : "", more);
  a->o = a->options;
  return n < 0 || (size_t)n >= sizeof a->options - have ? img_error(a, "the options are too long") : 0;
}

/* --long[=value]. */
static int long_option(struct img_args *a, const char *text) {
  if (!strcmp(text, "--output=json"))
    a->json = true;
  else if (!strcmp(text, "--shrink"))
    a->shrink = true;
  else if (!strcmp(text, "--backing-chain"))
    a->chain = true;
  else if (strcmp(text, "--output=human") && strcmp(text, "--force-share") &&
           strncmp(text, "--preallocation=off", 20))
    return img_error(a, "unrecognized option '%s'", text);
  return 0;
}

static int short_option(struct img_args *a, char letter, const char *value) {
  switch (letter) {
  case 'f': a->f = value; break;
  case 'F': a->F = value; break;
  case 'O': a->O = value; break;
  case 'o': return add_options(a, value);
  case 'b': a->b = value; break;
  case 'B': a->B = value; break;
  case 'S': a->S = value; break;
  case 'r': a->r = value; break;
  case 'l':
    if (value)
      a->snapshot_name = strncmp(value, "snapshot.name=", 14) && strncmp(value, "snapshot.id=", 12)
                             ? value
                             : strchr(value, '=') + 1;
    else
      a->action = IMG_LIST;
    break;
  case 'c':
    if (value)
      a->action = IMG_CREATE, a->l = value;
    else
      a->compress = true;
    break;
  case 'a': a->action = IMG_APPLY, a->l = value; break;
  case 'd':
    if (value)
      a->action = IMG_DELETE, a->l = value;
    else
      a->empty_stays = true;
    break;
  case 'p': a->progress = true; break;
  case 'q': a->quiet = true; break;
  case 'n': a->no_create = true; break;
  case 'u': a->unsafe = true; break;
  case 's': a->strict = true; break;
  default: break; /* cache modes and the like */
  }
  return 0;
}

/* Options in any order among the words. In the list "x:" takes a value, "x;" and "x" don't. */
static int parse(struct img_args *a, const char *known, int argc, char **argv) {
  bool words_only = false;
  for (int i = 1; i < argc; i++) {
    const char *at = argv[i];
    if (words_only || at[0] != '-' || !at[1] ||
        (!strcmp(a->command, "resize") && at[1] >= '0' && at[1] <= '9')) {
      if (a->words == IMG_WORDS)
        return img_error(a, "too many file names");
      a->word[a->words++] = at;
      continue;
    }
    if (!strcmp(at, "--")) {
      words_only = true;
      continue;
    }
    if (at[1] == '-') {
      if (long_option(a, at))
        return 1;
      continue;
    }
    while (*++at) {
      const char *spec = *at == ':' || *at == ';' ? NULL : strchr(known, *at), *value = NULL;
      if (!spec)
        return img_error(a, "unrecognized option '-%c'", *at);
      if (spec[1] == ':') {
        value = at[1] ? at + 1 : i + 1 < argc ? argv[++i] : NULL;
        if (!value)
          return img_error(a, "option requires an argument -- '%c'", *at);
      }
      if (short_option(a, *spec, value))
        return 1;
      if (value)
        break;
    }
  }
  return 0;
}

int img_main(int argc, char **argv) {
  if (argc < 1 || !strcmp(argv[0], "--help") || !strcmp(argv[0], "-h") || !strcmp(argv[0], "help")) {
    help(argc < 1 ? stderr : stdout);
    return argc < 1;
  }
  if (!strcmp(argv[0], "--version") || !strcmp(argv[0], "-V")) {
    printf("dragoman-img %s\n", DRAGOMAN_VERSION);
    return 0;
  }
  for (size_t i = 0; i < COMMANDS; i++) {
    if (strcmp(commands[i].name, argv[0]))
      continue;
    struct img_args a = {.command = commands[i].name};
    if (parse(&a, commands[i].options, argc, argv))
      return 1;
    const char *formats[] = {a.f, a.F, a.O};
    for (size_t n = 0; n < 3; n++)
      if (formats[n] && !block_format_known(formats[n]))
        return img_error(&a, "Unknown file format '%s'", formats[n]);
    return commands[i].run(&a);
  }
  img_error(NULL, "unknown command '%s'; dragoman-img --help lists them", argv[0]);
  return 1;
}
