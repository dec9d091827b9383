/* SPDX-License-Identifier: MIT */
/* Log categories (-d), the log file (-D), messages to the user, and the end of a run that met our own bug. */
#include "core/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

unsigned log_mask;
static FILE *log_stream;
static void (*dump_guest)(void *opaque, FILE *out);
static void *dump_opaque;

static const struct {
  const char *name;
  unsigned mask;
  const char *help;
} categories[] = {
    {"in_asm", LOG_IN_ASM, "guest code of each block translated"},
    {"out_asm", LOG_OUT_ASM, "host code made from it"},
    {"blocks", LOG_BLOCKS, "translation, linking and dropping of blocks"},
    {"int", LOG_INT, "interrupts and exceptions taken"},
    {"exec", LOG_EXEC, "each block or instruction as it is entered"},
    {"cpu", LOG_CPU, "CPU registers with each line of exec"},
    {"page", LOG_PAGE, "page faults and TLB flushes"},
    {"guest_errors", LOG_GUEST_ERRORS, "what a correct guest would not do"},
    {"unimp", LOG_UNIMP, "what the guest asked for and is not modelled"},
    {"ioport", LOG_IOPORT, "every access to an I/O port"},
    {"pci", LOG_PCI, "PCI configuration accesses"},
    {"cpu_reset", LOG_CPU_RESET, "CPU state at each reset"},
};
#define CATEGORIES (sizeof(categories) / sizeof(categories[0]))

int log_parse(const char *words, const char **bad) {
  unsigned mask = 0;
  while (*words) {
    size_t len = strcspn(words, ",");
    size_t i = 0;
    if (len == 4 && strncmp(words, "help", 4) == 0) {
      for (i = 0; i < CATEGORIES; i++)
        printf("%-14s %s\n", categories[i].name, categories[i].help);
      return 0;
    }
    while (i < CATEGORIES && (strlen(categories[i].name) != len || strncmp(words, categories[i].name, len) != 0))
      i++;
    if (i == CATEGORIES) {
      *bad = words;
      return -1;
    }
    mask |= categories[i].mask;
    words += len + (words[len] == ',');
  }
  return (int)mask;
}

int log_open(const char *path) {
  FILE *f = fopen(path, "we");
  if (!f)
    return -errno;
  setvbuf(f, NULL, _IOLBF, 0);
  if (log_stream)
    fclose(log_stream);
  log_stream = f;
  return 0;
}

FILE *log_file(void) { return log_stream ? log_stream : stderr; }

void log_print(unsigned category, const char *format, ...) {
  if (!log_on(category))
    return;
  va_list args;
  va_start(args, format);
  vfprintf(log_file(), format, args);
  va_end(args);
}

static void report(const char *kind, const char *format, va_list args) {
  char line[1024];
  vsnprintf(line, sizeof line, format, args);
  fprintf(stderr, "dragoman: %s%s\n", kind, line);
}

void error_report(const char *format, ...) {
  va_list args;
  va_start(args, format);
  report("", format, args);
  va_end(args);
}

void warn_report(const char *format, ...) {
  va_list args;
  va_start(args, format);
  report("warning: ", format, args);
  va_end(args);
}

void log_set_dump(void (*dump)(void *opaque, FILE *out), void *opaque) {
  dump_guest = dump;
  dump_opaque = opaque;
}

void bug_report(const char *file, int line, const char *condition) {
  void (*dump)(void *, FILE *) = dump_guest;
  fprintf(stderr, "dragoman: bug at %s:%d: %s does not hold\n", file, line, condition);
  dump_guest = NULL; /* the dump itself may meet a broken state */
  if (dump)
    dump(dump_opaque, stderr);
  fflush(log_file());
  abort();
}
