/* SPDX-License-Identifier: MIT */
/* See escape.h. */
#include "frontends/test/escape.h"

#include <stdint.h>
#include <string.h>

#define REPLACEMENT 0xfffdu

/* The next character of the text; what is no UTF-8 (RFC 3629) is one replacement a byte. */
static uint32_t next_char(const char **text) {
  const uint8_t *p = (const uint8_t *)*text;
  uint32_t code = *p;
  int more = code < 0x80                   ? 0
             : code >= 0xc2 && code < 0xe0 ? 1
             : code >= 0xe0 && code < 0xf0 ? 2
             : code >= 0xf0 && code < 0xf5 ? 3
                                           : -1;
  (*text)++;
  if (more < 0)
    return REPLACEMENT;
  if (more)
    code &= 0x3fu >> more;
  for (int i = 1; i <= more; i++) {
    if ((p[i] & 0xc0) != 0x80)
      return REPLACEMENT;
    code = code << 6 | (p[i] & 0x3f);
  }
  if ((more == 2 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
      (more == 3 && (code < 0x10000 || code > 0x10ffff)))
    return REPLACEMENT;
  *text += more;
  return code;
}

static void put_utf8(FILE *out, uint32_t code) {
  if (code < 0x80) {
    fputc((int)code, out);
  } else if (code < 0x800) {
    fputc((int)(0xc0 | code >> 6), out);
    fputc((int)(0x80 | (code & 0x3f)), out);
  } else {
    if (code < 0x10000) {
      fputc((int)(0xe0 | code >> 12), out);
    } else {
      fputc((int)(0xf0 | code >> 18), out);
      fputc((int)(0x80 | (code >> 12 & 0x3f)), out);
    }
    fputc((int)(0x80 | (code >> 6 & 0x3f)), out);
    fputc((int)(0x80 | (code & 0x3f)), out);
  }
}

static void put_quoted(FILE *out, const char *text, const char *control) {
  fputc('"', out);
  while (*text) {
    uint32_t code = next_char(&text);
    if (code == '"' || code == '\\')
      fprintf(out, "\\%c", (int)code);
    else if (code == '\n')
      fputs("\\n", out);
    else if (code < 0x20 || code == 0x7f)
      fprintf(out, control, code);
    else
      put_utf8(out, code);
  }
  fputc('"', out);
}

void escape_json(FILE *out, const char *text) { put_quoted(out, text, "\\u%04x"); }

void escape_yaml(FILE *out, const char *text) { put_quoted(out, text, "\\x%02x"); }

void escape_xml(FILE *out, const char *text) {
  while (*text) {
    uint32_t code = next_char(&text);
    switch (code) {
    case '&': fputs("&amp;", out); break;
    case '<': fputs("&lt;", out); break;
    case '>': fputs("&gt;", out); break;
    case '"': fputs("&quot;", out); break;
    case '\'': fputs("&#39;", out); break;
    case '\n':
    case '\t':
    case '\r':
      fprintf(out, "&#%u;", code); /* kept in attributes too */
      break;
    default: put_utf8(out, code < 0x20 || code == 0xfffe || code == 0xffff ? REPLACEMENT : code);
    }
  }
}

void escape_block(FILE *out, const char *text, int indent) {
  while (*text) {
    const char *line = text;
    size_t n = strcspn(line, "\n");
    const char *end = line + n;
    fprintf(out, "%*s", indent, "");
    while (line < end) {
      uint32_t code = next_char(&line);
      put_utf8(out, (code < 0x20 && code != '\t') || code == 0x7f ? REPLACEMENT : code);
    }
    fputc('\n', out);
    text = end + (*end == '\n');
  }
}
