/* SPDX-License-Identifier: MIT */
/* The command line of "dragoman test", and its filters: see runner.h. */
#include <errno.h>
#include <fnmatch.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/test/runner.h"

const char run_usage[] =
    "Usage: dragoman test [option]... SCRIPT.lua...\n\n"
    "  -j, --jobs N     so many tests at a time [1]\n"
    "  --filter WORDS   only tests whose name has these words, matches the glob (with * ? [) or the "
    "/expression/;\n"
    "                   may be repeated\n"
    "  --image FILE     run every script with this image in the drive that it means for it; may be repeated\n"
    "  --cpu MODEL      run every script on this CPU model; may be repeated\n"
    "  --accel, --memory VALUE\n"
    "                   instead of what the scripts say\n"
    "  --update         wait_screen accepts what it sees: pictures are written anew\n"
    "  --output DIR     a directory for each test goes there: log, last screen, screens on the way, serial "
    "ports; also of\n"
    "                   tests that pass [dragoman-test, of those that fail]. --keep is the same\n"
    "  --tap            TAP on standard output, which is what comes anyway\n"
    "  --junit FILE     a report in JUnit's XML\n"
    "  --json FILE      a report with instruction counts and hashes of screens\n"
    "  --retries N      run a test that fails so many times more; it is reported if that helps [0]\n"
    "  --timeout S      ceiling for each test, in seconds of the host's CPU time [600]. --host-timeout is "
    "the same\n"
    "  --path DIR       scripts may read files there too; may be repeated\n"
    "  --no-sandbox     do without Landlock and seccomp\n"
    "  --list           print the names of the tests\n"
    "  --help           this text\n\n"
    "The exit status is 0 if all tests passed, 1 if some failed, 2 if they could not be run.\n";

enum { VALUE_NONE, VALUE_LIST, VALUE_OPTION, VALUE_TEXT, VALUE_NUMBER };

static bool add(const char **list, unsigned *count, const char *value) {
  if (*count == RUN_LIST)
    return false;
  list[(*count)++] = value;
  return true;
}

static bool take_number(unsigned *out, const char *value, unsigned low, unsigned high) {
  char *end;
  errno = 0;
  unsigned long n = strtoul(value, &end, 10);
  if (errno || end == value || *end || value[0] == '-' || n < low || n > high)
    return false;
  *out = (unsigned)n;
  return true;
}

/* A word that takes no value; false: it is none. */
static bool take_flag(struct run_options *o, const char *word) {
  if (!strcmp(word, "--update"))
    o->update = true;
  else if (!strcmp(word, "--list"))
    o->list = true;
  else if (!strcmp(word, "--tap"))
    o->tap = true;
  else if (!strcmp(word, "--no-sandbox"))
    o->sandbox = false;
  else if (!strcmp(word, "--help"))
    o->help = true;
  else
    return false;
  return true;
}

/* 1: taken; 0: no such option; -1: the value is wrong, *why says what it should be. */
static int take_value(struct run_options *o, const char *word, const char *value, const char **why) {
  *why = "too often";
  if (!strcmp(word, "--image"))
    return add(o->image, &o->images, value) ? 1 : -1;
  if (!strcmp(word, "--cpu"))
    return add(o->cpu, &o->cpus, value) ? 1 : -1;
  if (!strcmp(word, "--path"))
    return add(o->dir, &o->dirs, value) ? 1 : -1;
  if (!strcmp(word, "--filter"))
    return add(o->filter, &o->filters, value) ? 1 : -1;
  if (!strcmp(word, "--accel") || !strcmp(word, "--memory")) {
    const char *option = word[2] == 'a' ? "-accel" : "-m";
    return add(o->option, &o->options, option) && add(o->option, &o->options, value) ? 1 : -1;
  }
  if (!strcmp(word, "--output") || !strcmp(word, "--keep")) {
    o->output = value;
    o->keep = true;
    return 1;
  }
  if (!strcmp(word, "--junit") || !strcmp(word, "--json")) {
    *(word[3] == 'u' ? &o->junit : &o->json) = value;
    return 1;
  }
  *why = "wants a number from 1 to 256";
  if (!strcmp(word, "--jobs") || !strcmp(word, "-j"))
    return take_number(&o->jobs, value, 1, RUN_JOBS) ? 1 : -1;
  *why = "wants a number from 0 to 100";
  if (!strcmp(word, "--retries"))
    return take_number(&o->retries, value, 0, 100) ? 1 : -1;
  *why = "wants seconds";
  if (!strcmp(word, "--timeout") || !strcmp(word, "--host-timeout"))
    return take_number(&o->host_seconds, value, 1, 1000000) ? 1 : -1;
  return 0;
}

enum run_action run_parse(struct run_options *o, int argc, char **argv, char *error, size_t size) {
  *o = (struct run_options){.output = "dragoman-test", .sandbox = true, .jobs = 1, .host_seconds = 600};
  bool plain = false; /* behind "--" */
  for (int i = 0; i < argc; i++) {
    char *word = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL, *equals, name[32];
    const char *why;
    if (plain || word[0] != '-') {
      if (!add(o->script, &o->scripts, word)) {
        snprintf(error, size, "test: more than %d scripts", RUN_LIST);
        return RUN_WRONG;
      }
      continue;
    }
    if (!strcmp(word, "--")) {
      plain = true;
      continue;
    }
    if (take_flag(o, word))
      continue;
    snprintf(name, sizeof name, "%s", word);
    bool apart = true; /* "--json FILE", but not "--json=FILE" or "-j4" */
    if (word[1] != '-' && word[1] == 'j' && word[2]) {
      name[2] = '\0';
      value = word + 2;
      apart = false;
    } else if ((equals = strchr(name, '=')) != NULL) {
      value = word + (equals - name) + 1;
      *equals = '\0';
      apart = false;
    }
    int taken = take_value(o, name, value ? value : "", &why);
    if (taken == 0 || !value) {
      snprintf(error, size, "test: %s: %s; 'dragoman test --help' lists all", word,
               taken == 0 ? "unknown option" : "needs a value");
      return RUN_WRONG;
    }
    if (taken < 0) {
      snprintf(error, size, "test: %s: %s", name, why);
      return RUN_WRONG;
    }
    i += apart;
  }
  if (o->help)
    return RUN_HELP;
  if (!o->scripts) {
    snprintf(error, size, "test: which script? 'dragoman test --help' lists the options");
    return RUN_WRONG;
  }
  if (run_check_filters(o, error, size) < 0)
    return RUN_WRONG;
  return o->list ? RUN_LIST_ONLY : RUN_TESTS_NOW;
}

/* --- filters ------------------------------------------------------------------------------------------ */

static bool is_expression(const char *filter) {
  size_t n = strlen(filter);
  return n >= 3 && filter[0] == '/' && filter[n - 1] == '/';
}

static int compile(regex_t *re, const char *filter, char *error, size_t size) {
  char text[1024];
  size_t n = strlen(filter) - 2;
  if (n >= sizeof text) {
    snprintf(error, size, "test: --filter: the expression is too long");
    return -1;
  }
  memcpy(text, filter + 1, n);
  text[n] = '\0';
  int result = regcomp(re, text, REG_EXTENDED | REG_NOSUB);
  if (result == 0)
    return 0;
  char why[200];
  regerror(result, re, why, sizeof why);
  snprintf(error, size, "test: --filter %s: %s", filter, why);
  return -1;
}

int run_check_filters(const struct run_options *o, char *error, size_t size) {
  for (unsigned i = 0; i < o->filters; i++) {
    regex_t re;
    if (!is_expression(o->filter[i]))
      continue;
    if (compile(&re, o->filter[i], error, size) < 0)
      return -1;
    regfree(&re);
  }
  return 0;
}

static bool wants(const char *filter, const char *full_name, const char *test_name) {
  if (is_expression(filter)) {
    regex_t re;
    char error[300];
    if (compile(&re, filter, error, sizeof error) < 0)
      return false;
    bool found = regexec(&re, full_name, 0, NULL, 0) == 0;
    regfree(&re);
    return found;
  }
  if (strpbrk(filter, "*?["))
    return fnmatch(filter, full_name, 0) == 0 || fnmatch(filter, test_name, 0) == 0;
  return strstr(full_name, filter) != NULL;
}

bool run_wanted(const struct run_options *o, const char *full_name, const char *test_name) {
  for (unsigned i = 0; i < o->filters; i++)
    if (wants(o->filter[i], full_name, test_name))
      return true;
  return o->filters == 0;
}
