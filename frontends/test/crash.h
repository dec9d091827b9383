/* SPDX-License-Identifier: MIT */
/*
 * Recognising that a guest has crashed by what it shows: kernel panics and oopses of Linux, blue screens of
 * Windows 9x, STOP screens of Windows NT, what DOS, its memory managers and its extenders say. The functions
 * look at one moment; script_watch.c decides when to look, and knows what can be told from the machine alone.
 */
#ifndef FRONTENDS_TEST_CRASH_H
#define FRONTENDS_TEST_CRASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "core/display.h"

enum crash_kind { /* later ones say more than earlier ones */
                  CRASH_NONE,
                  CRASH_NO_PROGRESS, /* a loop that nothing leaves */
                  CRASH_HALTED,      /* HLT with interrupts disabled */
                  CRASH_TRIPLE_FAULT,
                  CRASH_OFF,         /* powered off, or reset where that ends the machine */
                  CRASH_DOS,         /* DOS or a memory manager stopped a program, or itself */
                  CRASH_OOPS,        /* Linux goes on, or tries */
                  CRASH_PANIC,       /* Linux does not */
                  CRASH_BLUE_SCREEN, /* Windows 3.x, 95, 98, ME */
                  CRASH_STOP,        /* Windows NT */
                  CRASH_KINDS
};

struct crash {
  enum crash_kind kind;
  char text[400];  /* what the guest says, or what was seen */
  char module[80]; /* a driver's file, VxD, or function+offset as the guest names it; empty: not known */
  bool guest_says; /* cs:eip are from the text, not the CPU's */
  uint32_t cs, eip;
  int64_t time; /* guest's, ns */
  uint64_t icount;
};

const char *crash_kind_name(enum crash_kind kind);
/* CRASH_NONE: there is no such kind. */
enum crash_kind crash_kind_from_name(const char *name);

/* Each returns true and fills kind, text, module and perhaps cs:eip if there is a crash to be seen. */
bool crash_in_serial(const char *text, size_t length, struct crash *c);
/* What was read on a screen, lines ended by line feeds. */
bool crash_in_text(const char *text, struct crash *c);
/* A text mode's characters and attributes. */
bool crash_in_cells(const uint8_t *cells, const uint8_t *attributes, int columns, int rows, struct crash *c);
/* Is it worth while to read this picture? Mostly blue, and hardly more than one other colour. */
bool crash_is_blue(const struct surface *s);
/* A picture; text is what was read on it, or NULL. */
bool crash_in_picture(const struct surface *s, const char *text, struct crash *c);
/* Do these bytes, where the CPU is with interrupts on or off, loop for ever? */
bool crash_is_dead_loop(const uint8_t *code, unsigned length, bool big, bool interrupts);

/* A JSON object. */
void crash_write_json(const struct crash *c, FILE *out);

#endif
