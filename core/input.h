/* SPDX-License-Identifier: MIT */
/*
 * Input events from front ends to devices. Keys are named by IBM PC set-1 scancodes: 0x01..0x58 plain, or'ed with
 * 0x100 where the key has the E0 prefix (0x11d = right Ctrl); 0x200 = Pause, 0x137 = Print Screen.
 * Callers hold the machine lock.
 */
#ifndef CORE_INPUT_H
#define CORE_INPUT_H

#include <stdbool.h>

#define KEY_E0 0x100
#define KEY_PAUSE 0x200

#define INPUT_ABS_MAX 0x7fff

#define MOUSE_LEFT 1
#define MOUSE_RIGHT 2
#define MOUSE_MIDDLE 4

/* Several pointing devices can be there: events go to the one that the guest listens to (input_add_pointer). */
#define INPUT_POINTERS 8

struct input_pointer {
  const char *name;
  bool absolute; /* event takes positions, 0 to INPUT_ABS_MAX; else movements */
  void (*event)(void *opaque, int x, int y, int dz, int buttons);
  bool (*active)(void *opaque); /* NULL: whenever no other is */
  void *opaque;
};

struct input_sink { /* filled in by the devices that take input */
  void (*key)(void *opaque, int key, bool down);
  void *key_opaque;
  void (*mouse)(void *opaque, int dx, int dy, int dz, int buttons); /* dy positive = down; buttons: state MOUSE_* */
  void *mouse_opaque;
  int buttons; /* last state */
  int x, y;    /* last position told to a tablet */
  /* A pointer that knows positions: x and y from 0 to INPUT_ABS_MAX across the screen. NULL: there is none.
   * tablet_active: the guest listens to it now, so that front ends need not grab the mouse. */
  void (*tablet)(void *opaque, int x, int y, int dz, int buttons);
  bool (*tablet_active)(void *opaque);
  void *tablet_opaque;
  struct input_pointer pointer[INPUT_POINTERS]; /* pointer_count 0: `mouse` and `tablet` are all there is */
  unsigned pointer_count, chosen; /* chosen: number + 1; 0: by activity */
  int (*leds)(void *opaque); /* 1 scroll, 2 num, 4 caps; NULL allowed */
  bool (*key_ready)(void *opaque); /* the keyboard's buffer has been drained: the next key will not be lost */
};

/* One more pointer: it and those before it are reached through `mouse` and `tablet` from now on. */
void input_add_pointer(struct input_sink *in, const struct input_pointer *p);
/* Where events of this kind go now; -1: nowhere. */
int input_pointer_for(const struct input_sink *in, bool absolute);

/* QEMU's sendkey names: "ret", "a", "shift", "ctrl-alt-delete" one part; -1 if unknown. (core/input.c) */
int input_key_from_name(const char *name);
/* US layout: the key for an ASCII character and whether Shift goes with it; -1 if none. */
int input_key_from_ascii(char c, bool *shift);

#endif
