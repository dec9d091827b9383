/* SPDX-License-Identifier: MIT */
/* Inside screentext.h: building a text. */
#ifndef FRONTENDS_TEST_RECOGNISE_H
#define FRONTENDS_TEST_RECOGNISE_H

#include "frontends/test/screentext.h"

struct text_builder {
  struct screen_text *t;
  size_t size;
};

/* An empty text, for the builder; NULL: out of memory. */
struct screen_text *screen_text_new(struct text_builder *b);
bool text_builder_put(struct text_builder *b, uint32_t code, const struct text_box *box);
void text_builder_trim(struct text_builder *b); /* blanks at the end go */

#endif
