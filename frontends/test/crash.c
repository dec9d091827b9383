/* SPDX-License-Identifier: MIT */
/*
 * See crash.h. Messages are those of Linux (arch/x86/kernel/dumpstack.c, kernel/panic.c, since 2.0), of the
 * blue screens that Microsoft's Knowledge Base describes (Q150314 for Windows 95, Q103059 for NT), FreeDOS,
 * EMM386 and JEMM. A message counts only where it begins a line: programs that quote one in the middle have
 * not crashed.
 */
#include "frontends/test/crash.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/test/escape.h"

#define LINE_MAX_ 512

static const char *const names[CRASH_KINDS] = {
    "none", "no-progress", "halted", "triple-fault", "off", "dos", "oops", "panic", "blue-screen", "stop",
};

const char *crash_kind_name(enum crash_kind kind) { return kind < CRASH_KINDS ? names[kind] : "?"; }

enum crash_kind crash_kind_from_name(const char *name) {
  for (int i = 1; i < CRASH_KINDS; i++)
    if (!strcmp(names[i], name))
      return (enum crash_kind)i;
  return CRASH_NONE;
}

/* --- lines -------------------------------------------------------------------------------------------- */

/* How a message begins; '#' stands for a run of hexadecimal digits, '*' for anything up to what follows. */
static const struct pattern {
  enum crash_kind kind;
  const char *text;
} serial_patterns[] =
    {
        {CRASH_PANIC, "Kernel panic - not syncing"},
        {CRASH_PANIC, "Kernel panic: "},
        {CRASH_OOPS, "Oops: #"},
        {CRASH_OOPS, "BUG: unable to handle "},
        {CRASH_OOPS, "BUG: kernel NULL pointer dereference"},
        {CRASH_OOPS, "Unable to handle kernel "},
        {CRASH_OOPS, "kernel BUG at "},
        {CRASH_OOPS, "general protection fault: # [##"},
        {CRASH_OOPS, "general protection fault, "},
        {CRASH_OOPS, "invalid opcode: # [##"},
        {CRASH_OOPS, "divide error: # [##"},
        {CRASH_OOPS, "double fault: # [##"},
        {CRASH_OOPS, "Internal error: Oops"},
},
  screen_patterns[] =
      {
          {CRASH_DOS, "Invalid Opcode at # #"},
          {CRASH_DOS, "Invalid Opcode at #:#"},
          {CRASH_DOS, "Interrupt divide by zero at #"},
          {CRASH_DOS, "Jemm386: exception # occured at "},
          {CRASH_DOS, "JemmEx: exception # occured at "},
          {CRASH_DOS, "Jemm386: exception # occurred at "},
          {CRASH_DOS, "JemmEx: exception # occurred at "},
          {CRASH_DOS, "EMM386 has detected error ##"},
          {CRASH_DOS, "EMM386 *xception error"},
          {CRASH_DOS, "Internal stack overflow"},
          {CRASH_DOS, "Stack overflow, system halted"},
          {CRASH_DOS, "Memory allocation error"},
          {CRASH_DOS, "PANIC: "},
          {CRASH_BLUE_SCREEN, "Windows protection error"},
          {CRASH_BLUE_SCREEN, "While initializing device *Windows protection error"},
          {CRASH_STOP, "*** STOP: 0x#"},
},
  blue_patterns[] = {
      /* only where the screen is blue */
      {CRASH_BLUE_SCREEN, "A fatal exception # has occurred at #"},
      {CRASH_BLUE_SCREEN, "An exception # has occurred at #"},
      {CRASH_BLUE_SCREEN, "An error has occurred. To continue"},
      {CRASH_BLUE_SCREEN, "The system is busy waiting for "},
      {CRASH_BLUE_SCREEN, "The system is either busy or has become unstable"},
      {CRASH_BLUE_SCREEN, "This Windows application has stopped responding"},
      {CRASH_STOP, "*** STOP: 0x#"},
      {CRASH_STOP, "A problem has been detected and "},
};

static bool matches(const char *p, const char *s) {
  for (; *p; p++) {
    if (*p == '#' && p[1] == '#') { /* the character itself */
      if (*s++ != '#')
        return false;
      p++;
    } else if (*p == '#' && (p[1] == ' ' || p[1] == ':' || p[1] == '\0')) {
      if (!isxdigit((unsigned char)*s))
        return false;
      while (isxdigit((unsigned char)*s))
        s++;
    } else if (*p == '*' && p[1] != '*' && p[1] != ' ' && p[1] != '\0') {
      for (; *s; s++)
        if (matches(p + 1, s))
          return true;
      return false;
    } else if (*p != *s++) {
      return false;
    }
  }
  return true;
}

/* Behind blanks, syslog's level and the kernel's time: "<0>[   12.345678] ". */
static const char *line_body(const char *s) {
  while (*s == ' ' || *s == '\r')
    s++;
  if (*s == '<' && isdigit((unsigned char)s[1]) && s[2] == '>')
    s += 3;
  if (*s == '[') {
    const char *p = s + 1;
    while (*p == ' ' || isdigit((unsigned char)*p) || *p == '.')
      p++;
    if (*p == ']' && p > s + 1) {
      for (s = p + 1; *s == ' ';)
        s++;
    }
  }
  return s;
}

static void copy_word(char *out, size_t size, const char *s, const char *end) {
  size_t n = strcspn(s, end);
  snprintf(out, size, "%.*s", (int)n, s);
}

/* "0028:C0001234" */
static bool take_address(const char *s, struct crash *c) {
  char *end;
  unsigned long cs = strtoul(s, &end, 16);
  if (end == s || *end != ':' || !isxdigit((unsigned char)end[1]))
    return false;
  c->cs = (uint32_t)cs;
  c->eip = (uint32_t)strtoul(end + 1, NULL, 16);
  c->guest_says = true;
  return true;
}

/* What a line tells besides, once it is known that something crashed. */
static void note_linux(const char *s, struct crash *c) {
  static const char *const before[] = {"EIP is at ", "RIP: 0010:", "EIP: ", "IP: "};
  for (size_t i = 0; i < sizeof before / sizeof before[0]; i++) {
    size_t n = strlen(before[i]);
    if (strncmp(s, before[i], n))
      continue;
    const char *word = s + n;
    if (take_address(word, c)) { /* EIP: 0060:[<c0123456>] comes before "EIP is at" */
      const char *hex = strstr(word, "[<");
      if (hex)
        c->eip = (uint32_t)strtoul(hex + 2, NULL, 16);
    } else if (strstr(word, "[<")) {
      c->eip = (uint32_t)strtoul(strstr(word, "[<") + 2, NULL, 16);
    }
    if (!strncmp(word, "0060:", 5))
      word += 5;
    if (!c->module[0] && strchr(word, '+') && (isalpha((unsigned char)*word) || *word == '_')) {
      const char *own = strchr(word, '[');
      copy_word(c->module, sizeof c->module, word, " \r[");
      if (own && isalpha((unsigned char)own[1])) { /* "[ext4]": the module that it belongs to */
        char function[60];
        snprintf(function, sizeof function, "%.59s", c->module);
        snprintf(c->module, sizeof c->module, "%.*s:%s", (int)(strcspn(own + 1, "]") & 15), own + 1,
                 function);
      }
    }
    return;
  }
}

static void note_windows(const char *s, struct crash *c) {
  const char *at = strstr(s, "occurred at "), *vxd = strcasestr(s, "in VxD "), *driver = strstr(s, " - ");
  if (at)
    take_address(at + 12, c);
  if (vxd && !c->module[0])
    copy_word(c->module, sizeof c->module, vxd + 7, "( .");
  if (!strncmp(s, "*** Address ", 12) || !strncmp(s, "*** ", 4)) {
    const char *address = strstr(s, "Address ");
    const char *file = strstr(s, "*** ") + 4;
    if (address) {
      c->eip = (uint32_t)strtoul(address + 8, NULL, 16);
      c->guest_says = true;
      if (driver)
        copy_word(c->module, sizeof c->module, driver + 3, " \r");
      else if (file != address && isalpha((unsigned char)*file))
        copy_word(c->module, sizeof c->module, file, " -");
    }
  }
  const char *caused = strstr(s, "caused by the following file: ");
  if (caused)
    copy_word(c->module, sizeof c->module, caused + 30, " \r");
}

static void note_dos(const char *s, struct crash *c) {
  const char *at = strstr(s, "CS:EIP=");
  if (at)
    take_address(at + 7, c);
  at = strstr(s, "memory address ");
  if (at)
    take_address(at + 15, c);
}

static void add_text(struct crash *c, const char *line) {
  size_t have = strlen(c->text), n = strlen(line);
  while (n && (line[n - 1] == ' ' || line[n - 1] == '\r'))
    n--;
  if (have + n + 4 < sizeof c->text)
    snprintf(c->text + have, sizeof c->text - have, "%s%.*s", have ? "; " : "", (int)n, line);
}

static void look_at_line(const char *line, const struct pattern *p, size_t count, struct crash *c) {
  const char *s = line_body(line);
  for (size_t i = 0; i < count; i++)
    if (matches(p[i].text, s)) {
      if (p[i].kind > c->kind)
        c->kind = p[i].kind;
      add_text(c, s);
      break;
    }
  if (c->kind == CRASH_NONE)
    return;
  if (c->kind == CRASH_PANIC || c->kind == CRASH_OOPS)
    note_linux(s, c);
  else if (c->kind == CRASH_DOS)
    note_dos(s, c);
  else
    note_windows(s, c);
}

static bool look(const char *text, size_t length, const struct pattern *p, size_t count, struct crash *c) {
  char line[LINE_MAX_];
  for (size_t at = 0; at < length;) {
    const char *end = memchr(text + at, '\n', length - at);
    size_t n = end ? (size_t)(end - text) - at : length - at, kept = n < sizeof line ? n : sizeof line - 1,
           out = 0;
    for (size_t i = 0; i < kept; i++)
      if (text[at + i] != '\r' && text[at + i] != '\0')
        line[out++] = text[at + i];
    line[out] = '\0';
    look_at_line(line, p, count, c);
    at += n + 1;
  }
  return c->kind != CRASH_NONE;
}

#define LOOK(text, length, table, c) look(text, length, table, sizeof table / sizeof table[0], c)

bool crash_in_serial(const char *text, size_t length, struct crash *c) {
  return LOOK(text, length, serial_patterns, c);
}

static bool crash_on_screen(const char *text, bool blue, struct crash *c) {
  size_t n = strlen(text);
  bool seen = LOOK(text, n, serial_patterns, c);
  seen |= LOOK(text, n, screen_patterns, c);
  if (blue && !seen)
    seen = LOOK(text, n, blue_patterns, c);
  return seen;
}

bool crash_in_text(const char *text, struct crash *c) { return crash_on_screen(text, false, c); }

/* --- screens ------------------------------------------------------------------------------------------ */

bool crash_in_cells(const uint8_t *cells, const uint8_t *attributes, int columns, int rows, struct crash *c) {
  int blue = 0, all = columns * rows;
  if (columns <= 0 || rows <= 0 || all > 256 * 128)
    return false;
  char *text = malloc((size_t)(columns + 1) * (size_t)rows + 1), *p = text;
  if (!text)
    return false;
  for (int y = 0; y < rows; y++) {
    for (int x = 0; x < columns; x++) {
      uint8_t ch = cells[y * columns + x];
      *p++ = ch >= 0x20 && ch < 0x7f ? (char)ch : ' ';
      blue += (attributes[y * columns + x] & 0x70) == 0x10;
    }
    *p++ = '\n';
  }
  *p = '\0';
  bool seen = crash_on_screen(text, blue >= all * 8 / 10, c);
  free(text);
  return seen;
}

static bool is_blue(uint32_t pixel) {
  unsigned r = pixel >> 16 & 0xff, g = pixel >> 8 & 0xff, b = pixel & 0xff;
  return r < 0x30 && g < 0x30 && b >= 0x60;
}

/* How much of the picture is the blue of its background, in thousandths, and how many colours there are
 * besides. */
static int blue_share(const struct surface *s, int *others) {
  uint32_t background = 0, other[8];
  int64_t blue = 0, all = (int64_t)s->width * s->height;
  *others = 0;
  for (int y = 0; y < s->height; y++)
    for (int x = 0; x < s->width; x++) {
      uint32_t pixel = s->pixels[(size_t)y * (size_t)s->stride + (size_t)x] & 0xffffff;
      if (!background && is_blue(pixel))
        background = pixel;
      if (background && pixel == background) {
        blue++;
        continue;
      }
      int i = 0;
      while (i < *others && other[i] != pixel)
        i++;
      if (i == *others) {
        if (i == 8)
          return 0;
        other[(*others)++] = pixel;
      }
    }
  return all ? (int)(blue * 1000 / all) : 0;
}

bool crash_is_blue(const struct surface *s) {
  int others;
  if (!s || !s->pixels || s->width < 320 || s->height < 200)
    return false;
  int share = blue_share(s, &others);
  return share >= 600 && others >= 1 && others <= 2;
}

bool crash_in_picture(const struct surface *s, const char *text, struct crash *c) {
  bool blue = crash_is_blue(s);
  if (text && *text && crash_on_screen(text, blue, c))
    return true;
  if (!blue || (text && strlen(text) > 40)) /* read, and no message of a crash */
    return false;
  int others, share = blue_share(s, &others);
  if (others != 1 || share > 995 || s->width != 640 || s->height != 480)
    return false;
  c->kind = CRASH_STOP;
  snprintf(c->text, sizeof c->text, "a blue screen in two colours, 640x480; its text could not be read");
  return true;
}

/* --- loops -------------------------------------------------------------------------------------------- */

bool crash_is_dead_loop(const uint8_t *code, unsigned length, bool big, bool interrupts) {
  if (length >= 2 && code[0] == 0xeb && code[1] == 0xfe)
    return true;
  if (length >= 5 && big && !memcmp(code, "\xe9\xfb\xff\xff\xff", 5))
    return true;
  if (length >= 3 && !big && !memcmp(code, "\xe9\xfd\xff", 3))
    return true;
  if (interrupts)
    return false;
  for (unsigned i = 0; i < length; i++) { /* does it ask a device? By ports, at least. */
    if ((code[i] >= 0xe4 && code[i] <= 0xe7) || (code[i] >= 0xec && code[i] <= 0xef) ||
        (code[i] >= 0x6c && code[i] <= 0x6f))
      return false;
    if (i > 0 && code[i - 1] == 0xeb && code[i] >= 0x80)
      return true; /* back to before here */
    if (i > 0 && code[i - 1] >= 0x70 && code[i - 1] <= 0x7f && code[i] >= 0x80)
      return true;
    if (i > 0 && code[i - 1] >= 0xe0 && code[i - 1] <= 0xe2 && code[i] >= 0x80)
      return false; /* LOOP comes to its end */
  }
  return false;
}

/* --- JSON --------------------------------------------------------------------------------------------- */

void crash_write_json(const struct crash *c, FILE *out) {
  fprintf(out, "{\"kind\": \"%s\", \"text\": ", crash_kind_name(c->kind));
  escape_json(out, c->text);
  if (c->module[0]) {
    fprintf(out, ", \"module\": ");
    escape_json(out, c->module);
  }
  fprintf(out, ", \"cs\": \"0x%04x\", \"eip\": \"0x%08x\", \"eip_from\": \"%s\", \"guest_seconds\": %.6f, ",
          c->cs, c->eip, c->guest_says ? "message" : "cpu", (double)c->time / 1e9);
  fprintf(out, "\"instructions\": %" PRIu64 "}", c->icount);
}
