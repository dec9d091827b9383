/* SPDX-License-Identifier: MIT */
/*
 * Formatted output to the text screen (80x25 at B8000h, written directly) and to the serial line.
 */
#include "demo.h"

#define COLUMNS 80
#define ROWS 25

static u16 *const screen = (u16 *)0xb8000;
static unsigned column, row;
static u8 attribute = GREY;

void *memset(void *to, int c, size_t n) {
  void *p = to;
  __asm__ volatile("rep stosb" : "+D"(p), "+c"(n) : "a"(c) : "memory");
  return to;
}

void *memcpy(void *to, const void *from, size_t n) {
  void *p = to;
  __asm__ volatile("rep movsb" : "+D"(p), "+S"(from), "+c"(n) : : "memory");
  return to;
}

int memcmp(const void *a, const void *b, size_t n) {
  const u8 *x = a, *y = b;
  for (; n; n--, x++, y++)
    if (*x != *y)
      return *x - *y;
  return 0;
}

/* --- formatting --- */

struct output {
  char *at, *end;
};

static void put(struct output *o, char c) {
  if (o->at < o->end)
    *o->at++ = c;
}

static const char *number(char *end, u32 v, unsigned base) {
  *end = 0;
  do {
    *--end = "0123456789abcdef"[v % base];
    v /= base;
  } while (v);
  return end;
}

static void put_field(struct output *o, const char *s, unsigned width, bool left, char fill) {
  unsigned length = 0;
  while (s[length])
    length++;
  for (unsigned i = length; !left && i < width; i++)
    put(o, fill);
  for (unsigned i = 0; i < length; i++)
    put(o, s[i]);
  for (unsigned i = length; left && i < width; i++)
    put(o, ' ');
}

size_t format_v(char *out, size_t size, const char *format, va_list ap) {
  struct output o = {out, out + size - 1};
  for (; *format; format++) {
    char digits[16];
    if (*format != '%') {
      put(&o, *format);
      continue;
    }
    bool left = *++format == '-';
    format += left;
    char fill = *format == '0' ? '0' : ' ';
    unsigned width = 0;
    for (; *format >= '0' && *format <= '9'; format++)
      width = width * 10 + (unsigned)(*format - '0');
    switch (*format) {
    case 's': put_field(&o, va_arg(ap, const char *), width, left, ' '); break;
    case 'c': put(&o, (char)va_arg(ap, int)); break;
    case 'x': put_field(&o, number(digits + 15, va_arg(ap, u32), 16), width, left, fill); break;
    case 'u': put_field(&o, number(digits + 15, va_arg(ap, u32), 10), width, left, fill); break;
    case 'd': {
      int v = va_arg(ap, int);
      if (v < 0)
        put(&o, '-');
      put_field(&o, number(digits + 15, v < 0 ? 0u - (u32)v : (u32)v, 10), width, left, fill);
      break;
    }
    default: put(&o, *format); break;
    }
  }
  *o.at = 0;
  return (size_t)(o.at - out);
}

size_t format_to(char *out, size_t size, const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  size_t n = format_v(out, size, format, ap);
  va_end(ap);
  return n;
}

/* --- the screen --- */

void text_mode(void) {
  struct bios_regs r = {.eax = 3};
  bios_call(0x10, &r);
  r = (struct bios_regs){.eax = 0x100, .ecx = 0x2000}; /* no cursor */
  bios_call(0x10, &r);
  on_text = true;
}

void text_colour(u8 a) { attribute = a; }

void text_at(unsigned c, unsigned r) {
  column = c;
  row = r;
}

static void clear_row(unsigned r, u8 a) {
  for (unsigned i = 0; i < COLUMNS; i++)
    screen[r * COLUMNS + i] = (u16)(a << 8 | ' ');
}

void page(const char *title) {
  clear_row(0, BLUE << 4 | WHITE);
  for (unsigned i = 1; i < ROWS; i++)
    clear_row(i, GREY);
  attribute = BLUE << 4 | WHITE;
  text_at(2, 0);
  print("Dragoman demo disk");
  attribute = BLUE << 4 | YELLOW;
  text_at(40, 0);
  print("%s", title);
  attribute = GREY;
  text_at(0, 2);
}

static void new_line(void) {
  column = 0;
  if (++row < ROWS)
    return;
  row = ROWS - 1;
  for (unsigned i = COLUMNS; i < ROWS * COLUMNS; i++) /* the head line stays */
    if (i >= 2 * COLUMNS)
      screen[i - COLUMNS] = screen[i];
  clear_row(ROWS - 1, GREY);
}

void print(const char *format, ...) {
  char line[256];
  va_list ap;
  va_start(ap, format);
  format_v(line, sizeof line, format, ap);
  va_end(ap);
  for (const char *p = line; *p; p++) {
    if (*p == '\n') {
      new_line();
    } else if (*p == '\b') {
      column -= column > 0;
    } else {
      screen[row * COLUMNS + column] = (u16)(attribute << 8 | (u8)*p);
      if (++column == COLUMNS)
        new_line();
    }
  }
}

void serial_print(const char *format, ...) {
  char line[256];
  va_list ap;
  va_start(ap, format);
  format_v(line, sizeof line, format, ap);
  va_end(ap);
  for (const char *p = line; *p; p++) {
    if (*p == '\n')
      serial_put('\r');
    serial_put(*p);
  }
}
