/* SPDX-License-Identifier: MIT */
/*
 * Expressions and dump formats of the monitor, with QEMU's syntax and precedence: + and - bind least, then &
 * | ^, then * / %, then unary + - ~ and parentheses. Numbers are 64-bit; $name is a CPU register.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/monitor.h"

#define DEPTH_MAX 64 /* nested parentheses and signs */

struct expression {
  struct machine *machine;
  const char *text;
  const char *error;
  int depth;
};

bool monitor_register(struct machine *m, const char *name, size_t length, int64_t *value) {
  static const char *const gpr[8] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
  static const char *const seg[SEG_COUNT] = {"es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"};
  const struct cpu *cpu = m->cpu[0];
  char n[12];
  if (length == 0 || length >= sizeof n)
    return false;
  memcpy(n, name, length);
  n[length] = '\0';
  for (int i = 0; i < 8; i++) {
    if (!strcmp(n, gpr[i]))
      return *value = cpu->gpr[i], true;
    if (!strcmp(n, gpr[i] + 1))
      return *value = cpu->gpr[i] & 0xffff, true;
  }
  for (int i = 0; i < SEG_COUNT; i++)
    if (!strcmp(n, seg[i]))
      return *value = cpu->seg[i].sel, true;
  const struct {
    const char *name;
    uint32_t value;
  } others[] = {
      {"eip", cpu->eip},
      {"pc", cpu->seg[CS].base + cpu->eip},
      {"eflags", cpu->eflags},
      {"fp", cpu->gpr[EBP]},
      {"cr0", cpu->cr0},
      {"cr2", cpu->cr2},
      {"cr3", cpu->cr3},
      {"cr4", cpu->cr4},
      {"gdtr", cpu->gdtr.base},
      {"idtr", cpu->idtr.base},
      {"dr6", cpu->dr[6]},
      {"dr7", cpu->dr[7]},
      {"cs.base", cpu->seg[CS].base},
      {"ds.base", cpu->seg[DS].base},
      {"es.base", cpu->seg[ES].base},
      {"ss.base", cpu->seg[SS].base},
      {"fs.base", cpu->seg[FS].base},
      {"gs.base", cpu->seg[GS].base},
  };
  for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
    if (!strcmp(n, others[i].name))
      return *value = others[i].value, true;
  return false;
}

static void skip_blanks(struct expression *e) {
  while (isspace((unsigned char)*e->text))
    e->text++;
}

static int64_t fail(struct expression *e, const char *why) {
  if (!e->error)
    e->error = why;
  return 0;
}

static int64_t sum(struct expression *e);

static int64_t character(struct expression *e) {
  char c = *++e->text;
  if (c == '\\' && e->text[1]) {
    c = *++e->text;
    const char *from = "nrt\\'", *to = "\n\r\t\\'", *at = strchr(from, c);
    if (!at)
      return fail(e, "invalid character constant");
    c = to[at - from];
  }
  if (!c || e->text[1] != '\'')
    return fail(e, "missing terminating \' character");
  e->text += 2;
  return (unsigned char)c;
}

static int64_t unary(struct expression *e) {
  skip_blanks(e);
  if (++e->depth > DEPTH_MAX)
    return fail(e, "expression too deep");
  int64_t v = 0;
  char c = *e->text;
  if (c == '+' || c == '-' || c == '~') {
    e->text++;
    v = unary(e);
    v = c == '-' ? (int64_t)(0 - (uint64_t)v) : c == '~' ? ~v : v;
  } else if (c == '(') {
    e->text++;
    v = sum(e);
    skip_blanks(e);
    if (*e->text != ')')
      fail(e, "')' expected");
    else
      e->text++;
  } else if (c == '\'') {
    v = character(e);
  } else if (c == '$') {
    const char *name = ++e->text;
    while (isalnum((unsigned char)*e->text) || *e->text == '_' || *e->text == '.')
      e->text++;
    if (!monitor_register(e->machine, name, (size_t)(e->text - name), &v))
      fail(e, "unknown register");
  } else if (c == '\0') {
    fail(e, "unexpected end of expression");
  } else {
    char *end;
    v = (int64_t)strtoull(e->text, &end, 0);
    if (end == e->text)
      fail(e, "invalid char in expression");
    e->text = end;
  }
  e->depth--;
  skip_blanks(e);
  return v;
}

static int64_t product(struct expression *e) {
  int64_t v = unary(e);
  while (!e->error && *e->text && strchr("*/%", *e->text)) {
    char op = *e->text++;
    int64_t w = unary(e);
    if (op == '*')
      v = (int64_t)((uint64_t)v * (uint64_t)w);
    else if (w == 0)
      fail(e, "division by zero");
    else if (w == -1)
      v = op == '/' ? (int64_t)(0 - (uint64_t)v) : 0;
    else
      v = op == '/' ? v / w : v % w;
  }
  return v;
}

static int64_t logic(struct expression *e) {
  int64_t v = product(e);
  while (!e->error && *e->text && strchr("&|^", *e->text)) {
    char op = *e->text++;
    int64_t w = product(e);
    v = op == '&' ? v & w : op == '|' ? v | w : v ^ w;
  }
  return v;
}

static int64_t sum(struct expression *e) {
  int64_t v = logic(e);
  while (!e->error && (*e->text == '+' || *e->text == '-')) {
    char op = *e->text++;
    uint64_t w = (uint64_t)logic(e);
    v = (int64_t)(op == '+' ? (uint64_t)v + w : (uint64_t)v - w);
  }
  return v;
}

bool monitor_expression(struct machine *m, const char **text, int64_t *value, const char **error) {
  struct expression e = {.machine = m, .text = *text};
  *value = sum(&e);
  *text = e.text;
  *error = e.error;
  return !e.error;
}

bool monitor_format(const char **text, struct dump_format *f, const char **error) {
  const char *s = *text;
  while (isspace((unsigned char)*s))
    s++;
  if (*s != '/') {
    *text = s;
    return true;
  }
  s++;
  if (isdigit((unsigned char)*s)) {
    char *end;
    unsigned long n = strtoul(s, &end, 10);
    f->count = n > 1000000 ? 1000000 : (int)n;
    s = end;
  }
  bool size_given = false;
  for (; *s && !isspace((unsigned char)*s); s++) {
    switch (*s) {
    case 'x':
    case 'o':
    case 'd':
    case 'u':
    case 'c':
    case 'i': f->format = *s; break;
    case 'b': f->size = 1, size_given = true; break;
    case 'h': f->size = 2, size_given = true; break;
    case 'w': f->size = 4, size_given = true; break;
    case 'g': f->size = 8, size_given = true; break;
    default:
      *error = "invalid char in format";
      *text = s;
      return false;
    }
  }
  if (f->format == 'c' && !size_given)
    f->size = 1;
  *text = s;
  return true;
}

static void print_char(FILE *out, uint64_t value) {
  fputc('\'', out);
  switch (value) {
  case '\'': fputs("\\'", out); break;
  case '\\': fputs("\\\\", out); break;
  case '\n': fputs("\\n", out); break;
  case '\r': fputs("\\r", out); break;
  default:
    if (value >= 32 && value <= 126)
      fputc((int)value, out);
    else
      fprintf(out, "\\x%02llx", (unsigned long long)value);
  }
  fputc('\'', out);
}

void monitor_print_value(FILE *out, char format, int digits, uint64_t value) {
  unsigned long long v = value;
  switch (format) {
  case 'o': fprintf(out, "%#*llo", digits, v); break;
  case 'u': fprintf(out, "%*llu", digits, v); break;
  case 'd': fprintf(out, "%*lld", digits, (long long)value); break;
  case 'c': print_char(out, value); break;
  default: fprintf(out, "0x%0*llx", digits, v); break;
  }
}
