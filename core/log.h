/* SPDX-License-Identifier: MIT */
/* Log categories of -d, messages to the user, and assertions with a state dump. */
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include <stdbool.h>
#include <stdio.h>

#define LOG_IN_ASM 0x0001u
#define LOG_OUT_ASM 0x0002u
#define LOG_BLOCKS 0x0004u
#define LOG_INT 0x0008u
#define LOG_EXEC 0x0010u
#define LOG_CPU 0x0020u
#define LOG_PAGE 0x0040u
#define LOG_GUEST_ERRORS 0x0080u
#define LOG_UNIMP 0x0100u
#define LOG_IOPORT 0x0200u
#define LOG_PCI 0x0400u
#define LOG_CPU_RESET 0x0800u

extern unsigned log_mask;
/* "in_asm,int" -> mask; -1 and the offending word in *bad on error. "help" prints the list and returns 0. */
int log_parse(const char *words, const char **bad);
int log_open(const char *path); /* -D; -errno. Default: stderr */
FILE *log_file(void);
void log_print(unsigned category, const char *format, ...) __attribute__((format(printf, 2, 3)));
static inline bool log_on(unsigned category) { return __builtin_expect((log_mask & category) != 0, 0); }

/* One line to stderr: "dragoman: ...". error_report is for what ends or refuses something. */
void error_report(const char *format, ...) __attribute__((format(printf, 1, 2)));
void warn_report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The guest asked for something that is not modelled: logged once per call site under LOG_UNIMP. */
#define log_unimp_once(...) \
  do { \
    static bool done_; \
    if (!done_) { \
      done_ = true; \
      log_print(LOG_UNIMP, __VA_ARGS__); \
    } \
  } while (0)

/* What bug_report() prints about the guest; NULL = nothing. */
void log_set_dump(void (*dump)(void *opaque, FILE *out), void *opaque);
/* Our own bug: print the condition and the CPU state if there is one, then abort. */
_Noreturn void bug_report(const char *file, int line, const char *condition);
#define DGM_ASSERT(cond) ((cond) ? (void)0 : bug_report(__FILE__, __LINE__, #cond))

#endif
