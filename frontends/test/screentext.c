/* SPDX-License-Identifier: MIT */
/* Texts with the places of their characters: see screentext.h; the search in pictures is in recognise.c. */
#include "frontends/test/screentext.h"

#include <stdlib.h>
#include <string.h>

#include "frontends/test/recognise.h"
#include "frontends/textdump.h"

bool text_builder_put(struct text_builder *b, uint32_t code, const struct text_box *box) {
  struct screen_text *t = b->t;
  if (t->length + 5 > b->size) {
    size_t size = b->size ? b->size * 2 : 1024;
    char *text = realloc(t->text, size);
    if (text)
      t->text = text;
    struct text_box *boxes = realloc(t->box, size * sizeof *boxes);
    if (boxes)
      t->box = boxes;
    if (!text || !boxes)
      return false;
    b->size = size;
  }
  int n = utf8_put(code, t->text + t->length);
  for (int i = 0; i < n; i++)
    t->box[t->length++] = *box;
  t->text[t->length] = '\0';
  return true;
}

void text_builder_trim(struct text_builder *b) {
  struct screen_text *t = b->t;
  while (t->length && t->text[t->length - 1] == ' ')
    t->length--;
  if (t->text)
    t->text[t->length] = '\0';
}

struct screen_text *screen_text_new(struct text_builder *b) {
  struct text_box none = {0, 0, 0, 0};
  *b = (struct text_builder){.t = calloc(1, sizeof *b->t)};
  if (!b->t)
    return NULL;
  if (!text_builder_put(b, ' ', &none)) { /* makes room */
    screen_text_free(b->t);
    return NULL;
  }
  text_builder_trim(b);
  return b->t;
}

struct screen_text *screen_text_of_cells(const uint8_t *cells, int columns, int rows) {
  struct text_builder b;
  struct screen_text *t = screen_text_new(&b);
  bool ok = t;
  for (int y = 0; ok && y < rows; y++) {
    for (int x = 0; ok && x < columns; x++) {
      struct text_box box = {(int16_t)x, (int16_t)y, 1, 1};
      char utf8[5] = {0};
      uint8_t c = cells[y * columns + x];
      int n = cp437_to_utf8(c, utf8);
      uint32_t code =
          n == 1   ? (uint8_t)utf8[0]
          : n == 2 ? (uint32_t)(utf8[0] & 0x1f) << 6 | (utf8[1] & 0x3f)
                   : (uint32_t)(utf8[0] & 0xf) << 12 | (uint32_t)(utf8[1] & 0x3f) << 6 | (utf8[2] & 0x3f);
      ok = text_builder_put(&b, code, &box);
    }
    text_builder_trim(&b);
    struct text_box end = {(int16_t)columns, (int16_t)y, 0, 1};
    ok = ok && text_builder_put(&b, '\n', &end);
  }
  if (!ok) {
    screen_text_free(t);
    return NULL;
  }
  t->width = columns;
  t->height = rows;
  return t;
}

struct screen_text *screen_text_region(const struct screen_text *t, const struct text_box *r) {
  struct text_builder b;
  struct screen_text *part = screen_text_new(&b);
  bool ok = part;
  for (size_t i = 0; ok && i < t->length; i++) {
    const struct text_box *c = &t->box[i];
    bool line_end = t->text[i] == '\n';
    if (c->y < r->y || c->y + c->height > r->y + r->height)
      continue;
    if (!line_end && (c->x < r->x || c->x + c->width > r->x + r->width))
      continue;
    if (line_end)
      text_builder_trim(&b);
    /* Byte by byte: the bytes of a character have the same place. */
    ok = text_builder_put(&b, 'x', c);
    if (ok)
      part->text[part->length - 1] = t->text[i];
  }
  if (!ok) {
    screen_text_free(part);
    return NULL;
  }
  part->graphics = t->graphics;
  part->width = t->width;
  part->height = t->height;
  return part;
}

void screen_text_free(struct screen_text *t) {
  if (!t)
    return;
  free(t->text);
  free(t->box);
  free(t);
}
