/* SPDX-License-Identifier: MIT */
/*
 * The controlling terminal: raw input for -serial stdio and -monitor stdio. It is put back at exit and before
 * a fatal signal kills us; the orderly signals (INT, TERM, HUP) end the run through main's handlers.
 */
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include "frontends/stream.h"

static struct termios saved, raw;
static volatile sig_atomic_t saved_fd = -1;

void terminal_restore(void) {
  int fd = saved_fd;
  if (fd >= 0) {
    saved_fd = -1;
    tcsetattr(fd, TCSANOW, &saved);
  }
}

/* Back from being stopped: the shell has its own settings in force. */
static void continued(int sig) {
  (void)sig;
  if (saved_fd >= 0 && tcgetpgrp(saved_fd) == getpgrp())
    tcsetattr(saved_fd, TCSANOW, &raw);
}

static void fatal_signal(int sig) {
  terminal_restore();
  signal(sig, SIG_DFL);
  raise(sig);
}

void terminal_raw(int fd, bool keep_signals) {
  struct termios t;
  /* A background job must not touch the terminal: it would be stopped. */
  if (saved_fd >= 0 || tcgetattr(fd, &t) < 0 || tcgetpgrp(fd) != getpgrp())
    return;
  saved = t;
  t.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
  t.c_oflag |= OPOST;
  t.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
  if (!keep_signals)
    t.c_lflag &= ~(tcflag_t)ISIG;
  t.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
  t.c_cflag |= CS8;
  t.c_cc[VMIN] = 1;
  t.c_cc[VTIME] = 0;
  if (tcsetattr(fd, TCSANOW, &t) < 0)
    return;
  raw = t;
  saved_fd = fd;
  atexit(terminal_restore);
  static const int fatal[] = {SIGABRT, SIGQUIT, SIGALRM, SIGXCPU};
  struct sigaction resume = {.sa_handler = continued, .sa_flags = SA_RESTART};
  sigaction(SIGCONT, &resume, NULL);
  for (size_t i = 0; i < sizeof fatal / sizeof fatal[0]; i++)
    signal(fatal[i], fatal_signal);
}
