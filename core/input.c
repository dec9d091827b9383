/* SPDX-License-Identifier: MIT */
/* Names of keys, as the monitor's sendkey knows them, and the US layout's way to type ASCII. */
#include "core/input.h"

#include <stddef.h>
#include <string.h>

static const struct {
  const char *name;
  int key;
} keys[] = {
    {"esc", 0x01}, {"1", 0x02}, {"2", 0x03}, {"3", 0x04}, {"4", 0x05}, {"5", 0x06}, {"6", 0x07}, {"7", 0x08},
    {"8", 0x09}, {"9", 0x0a}, {"0", 0x0b}, {"minus", 0x0c}, {"equal", 0x0d}, {"backspace", 0x0e}, {"tab", 0x0f},
    {"q", 0x10}, {"w", 0x11}, {"e", 0x12}, {"r", 0x13}, {"t", 0x14}, {"y", 0x15}, {"u", 0x16}, {"i", 0x17},
    {"o", 0x18}, {"p", 0x19}, {"bracket_left", 0x1a}, {"bracket_right", 0x1b}, {"ret", 0x1c}, {"ctrl", 0x1d},
    {"a", 0x1e}, {"s", 0x1f}, {"d", 0x20}, {"f", 0x21}, {"g", 0x22}, {"h", 0x23}, {"j", 0x24}, {"k", 0x25},
    {"l", 0x26}, {"semicolon", 0x27}, {"apostrophe", 0x28}, {"grave_accent", 0x29}, {"shift", 0x2a},
    {"backslash", 0x2b}, {"z", 0x2c}, {"x", 0x2d}, {"c", 0x2e}, {"v", 0x2f}, {"b", 0x30}, {"n", 0x31}, {"m", 0x32},
    {"comma", 0x33}, {"dot", 0x34}, {"slash", 0x35}, {"shift_r", 0x36}, {"asterisk", 0x37}, {"kp_multiply", 0x37},
    {"alt", 0x38}, {"spc", 0x39}, {"caps_lock", 0x3a}, {"f1", 0x3b}, {"f2", 0x3c}, {"f3", 0x3d}, {"f4", 0x3e},
    {"f5", 0x3f}, {"f6", 0x40}, {"f7", 0x41}, {"f8", 0x42}, {"f9", 0x43}, {"f10", 0x44}, {"num_lock", 0x45},
    {"scroll_lock", 0x46}, {"kp_7", 0x47}, {"kp_8", 0x48}, {"kp_9", 0x49}, {"kp_subtract", 0x4a}, {"kp_4", 0x4b},
    {"kp_5", 0x4c}, {"kp_6", 0x4d}, {"kp_add", 0x4e}, {"kp_1", 0x4f}, {"kp_2", 0x50}, {"kp_3", 0x51}, {"kp_0", 0x52},
    {"kp_decimal", 0x53}, {"sysrq", 0x54}, {"less", 0x56}, {"f11", 0x57}, {"f12", 0x58},
    {"kp_enter", 0x11c}, {"ctrl_r", 0x11d}, {"kp_divide", 0x135}, {"print", 0x137}, {"alt_r", 0x138},
    {"home", 0x147}, {"up", 0x148}, {"pgup", 0x149}, {"left", 0x14b}, {"right", 0x14d}, {"end", 0x14f},
    {"down", 0x150}, {"pgdn", 0x151}, {"insert", 0x152}, {"delete", 0x153}, {"meta_l", 0x15b}, {"meta_r", 0x15c},
    {"menu", 0x15d}, {"compose", 0x15d}, {"power", 0x15e}, {"sleep", 0x15f}, {"wake", 0x163}, {"pause", KEY_PAUSE},
};

int input_key_from_name(const char *name) {
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
    if (strcmp(keys[i].name, name) == 0)
      return keys[i].key;
  return -1;
}

int input_key_from_ascii(char c, bool *shift) {
  /* Characters of the scancodes from 0x02 on, without and with Shift; NUL where a key types nothing. */
  static const char plain[] = "1234567890-=\b\tqwertyuiop[]\n\0asdfghjkl;'`\0\\zxcvbnm,./";
  static const char shifted[] = "!@#$%^&*()_+\0\0QWERTYUIOP{}\0\0ASDFGHJKL:\"~\0|ZXCVBNM<>?";
  *shift = false;
  if (c == '\0')
    return -1;
  if (c == ' ')
    return 0x39;
  if (c == '\r')
    c = '\n';
  if (c == 0x1b)
    return 0x01;
  for (int i = 0; i < (int)sizeof plain - 1; i++) {
    if (plain[i] == c)
      return 0x02 + i;
    if (shifted[i] == c) {
      *shift = true;
      return 0x02 + i;
    }
  }
  return -1;
}

/* --- pointers --- */

static bool listened_to(const struct input_pointer *p) { return p->active && p->active(p->opaque); }

int input_pointer_for(const struct input_sink *in, bool absolute) {
  int fallback = -1;
  if (in->chosen) {
    const struct input_pointer *p = &in->pointer[in->chosen - 1];
    return p->absolute == absolute && (!absolute || listened_to(p)) ? (int)in->chosen - 1 : -1;
  }
  for (int i = (int)in->pointer_count - 1; i >= 0; i--) {
    const struct input_pointer *p = &in->pointer[i];
    if (p->absolute != absolute)
      continue;
    if (listened_to(p))
      return i;
    if (!p->active)
      fallback = i;
  }
  return fallback;
}

static void send(struct input_sink *in, bool absolute, int x, int y, int dz, int buttons) {
  int n = input_pointer_for(in, absolute);
  if (n >= 0)
    in->pointer[n].event(in->pointer[n].opaque, x, y, dz, buttons);
}

static void send_movement(void *opaque, int dx, int dy, int dz, int buttons) {
  send(opaque, false, dx, dy, dz, buttons);
}

static void send_position(void *opaque, int x, int y, int dz, int buttons) {
  send(opaque, true, x, y, dz, buttons);
}

static bool position_wanted(void *opaque) { return input_pointer_for(opaque, true) >= 0; }

void input_add_pointer(struct input_sink *in, const struct input_pointer *p) {
  if (!in->pointer_count && in->mouse)
    in->pointer[in->pointer_count++] =
        (struct input_pointer){"PS/2 Mouse", false, in->mouse, NULL, in->mouse_opaque};
  if (in->pointer_count == INPUT_POINTERS)
    return;
  in->pointer[in->pointer_count++] = *p;
  in->mouse = send_movement;
  in->tablet = send_position;
  in->tablet_active = position_wanted;
  in->mouse_opaque = in->tablet_opaque = in;
}
