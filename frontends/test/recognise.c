/* SPDX-License-Identifier: MIT */
/*
 * Reading text from a picture. Where neighbouring pixels differ does not depend on a text's two colours: so
 * every place of the picture has, for each size of character, a hash of the differences inside the cell that
 * would begin there (kept up to date from line to line), and a glyph's own differences have the same hash.
 * What matches is compared pixel by pixel. Characters that stand in a row make runs; the runs with the most
 * ink win where several claim the same pixels, and single specks that look like a dot or a bar are dropped
 * unless they are in line with the rest. What is left is searched once more for text on top of pictures: for
 * each of the colours that are frequent there, by where that colour is and where it is not.
 *
 * Pictures whose lines or columns are doubled (320x200 on a VGA) are halved before. Not read: proportional
 * fonts, and smoothed edges.
 */
#include "frontends/test/recognise.h"

#include <stdlib.h>
#include <string.h>

#define HASH_STEP 0x9e3779b1u
#define BLOOM_BITS 16
#define GROUPS_MAX FONTS_MAX
#define GAP_MAX 3     /* blank cells inside a run */
#define INK_LEAST 12  /* differences that a run outside the main grid must have */
#define OVER_LEAST 40 /* and one on top of a picture */
#define COLOURS 6     /* that text on top of pictures is looked for in */
#define PIXELS_MAX (4096u * 4096u)

enum { BY_DIFFERENCES, BY_COLOUR, WAYS };

struct glyph {
  uint32_t hash[WAYS];
  uint32_t code;
  const uint32_t *row;
  unsigned ink; /* differences; 0 also for pieces of frames and blocks, which prove nothing */
  struct glyph *next[WAYS];
};

struct group { /* the glyphs of one size */
  int width, height;
  struct glyph *bucket[WAYS][4096];
  uint8_t bloom[WAYS][(1 << BLOOM_BITS) / 8];
  uint32_t power;      /* HASH_STEP^height */
  struct glyph *plain; /* glyphs without differences along lines: bars, blanks */
};

struct hit {
  int x, y;
  const struct group *group;
  const struct glyph *glyph;
};

struct run {
  unsigned first, count; /* into order[] */
  unsigned ink;
  int phase_x, phase_y;
};

struct search {
  int width, height, scale_x, scale_y;
  uint32_t *pixel;
  struct group group[GROUPS_MAX];
  unsigned group_count;
  struct glyph *glyphs;
  struct hit *hit;
  unsigned hit_count, hit_size;
  uint8_t *taken; /* pixels that belong to a character */
  uint64_t *bits; /* what is hashed: height lines of `words` */
  int words;
  int way;
  uint32_t colour; /* BY_COLOUR */
};

/* --- the picture --- */

static bool doubled_columns(const struct surface *s) {
  for (int y = 0; y < s->height; y++) {
    const uint32_t *p = s->pixels + (size_t)y * (size_t)s->stride;
    for (int x = 0; x + 1 < s->width; x += 2)
      if ((p[x] ^ p[x + 1]) & 0xffffff)
        return false;
  }
  return s->width % 2 == 0;
}

static bool doubled_lines(const struct surface *s) {
  for (int y = 0; y + 1 < s->height; y += 2)
    if (memcmp(s->pixels + (size_t)y * (size_t)s->stride, s->pixels + (size_t)(y + 1) * (size_t)s->stride,
               (size_t)s->width * sizeof *s->pixels))
      return false;
  return s->height % 2 == 0;
}

static bool take_picture(struct search *q, const struct surface *s) {
  if (!s->pixels || s->width < 8 || s->height < 8 || (size_t)s->width * (size_t)s->height > PIXELS_MAX)
    return false;
  q->scale_x = doubled_columns(s) ? 2 : 1;
  q->scale_y = doubled_lines(s) ? 2 : 1;
  q->width = s->width / q->scale_x;
  q->height = s->height / q->scale_y;
  q->pixel = malloc((size_t)q->width * (size_t)q->height * sizeof *q->pixel);
  q->taken = calloc((size_t)q->width, (size_t)q->height);
  if (!q->pixel || !q->taken)
    return false;
  uint32_t *out = q->pixel;
  for (int y = 0; y < q->height; y++)
    for (int x = 0; x < q->width; x++)
      *out++ = s->pixels[(size_t)(y * q->scale_y) * (size_t)s->stride + (size_t)(x * q->scale_x)] & 0xffffff;
  return true;
}

/* --- glyphs --- */

static uint32_t differences(uint32_t row, int width) { return (row ^ row >> 1) & ((1u << (width - 1)) - 1); }

static unsigned bloom_bit(uint32_t hash) { return hash * 0x85ebca6bu >> (32 - BLOOM_BITS); }

static struct glyph **bucket_of(struct group *g, int way, uint32_t hash) {
  return &g->bucket[way][hash * 0x85ebca6bu >> 20];
}

static struct group *group_of(struct search *q, int width, int height) {
  for (unsigned i = 0; i < q->group_count; i++)
    if (q->group[i].width == width && q->group[i].height == height)
      return &q->group[i];
  struct group *g = &q->group[q->group_count++];
  g->width = width;
  g->height = height;
  g->power = 1;
  for (int i = 0; i < height; i++)
    g->power *= HASH_STEP;
  return g;
}

/* The same picture may stand for several characters: letters come before pictures, and what came first stays.
 */
static bool better(uint32_t a, uint32_t b) { return (a >= 0x20 && a < 0x7f) && !(b >= 0x20 && b < 0x7f); }

static bool is_frame(uint32_t code) { return code >= 0x2500 && code < 0x25a0; }

static void enter_glyph(struct group *g, int way, struct glyph *n) {
  struct glyph **list = bucket_of(g, way, n->hash[way]);
  unsigned bit = bloom_bit(n->hash[way]);
  n->next[way] = *list;
  *list = n;
  g->bloom[way][bit >> 3] |= (uint8_t)(1u << (bit & 7));
}

static void add_glyph(struct group *g, struct glyph *n, uint32_t code, const uint32_t *row) {
  uint32_t all_bits = g->width == 32 ? UINT32_MAX : (1u << g->width) - 1;
  bool empty = true, full = true;
  *n = (struct glyph){.code = code, .row = row};
  for (int y = 0; y < g->height; y++) {
    uint32_t d = differences(row[y], g->width);
    n->hash[BY_DIFFERENCES] = n->hash[BY_DIFFERENCES] * HASH_STEP + d;
    n->hash[BY_COLOUR] = n->hash[BY_COLOUR] * HASH_STEP + row[y];
    n->ink += (unsigned)__builtin_popcount(d);
    empty = empty && !row[y];
    full = full && row[y] == all_bits;
  }
  struct glyph **list = n->ink ? bucket_of(g, BY_DIFFERENCES, n->hash[BY_DIFFERENCES]) : &g->plain;
  if (empty || full) /* one colour either way */
    n->code = ' ';
  for (struct glyph *o = *list; o; o = o->next[BY_DIFFERENCES])
    if (memcmp(o->row, row, (size_t)g->height * sizeof *row) == 0) {
      if (better(code, o->code))
        o->code = code;
      return;
    }
  if (!n->ink) {
    n->next[BY_DIFFERENCES] = *list;
    *list = n;
    return;
  }
  enter_glyph(g, BY_DIFFERENCES, n);
  if (is_frame(code))
    n->ink = 0;
  else
    enter_glyph(g, BY_COLOUR, n);
}

static bool take_fonts(struct search *q, const struct font_set *fonts) {
  size_t total = 0;
  for (unsigned i = 0; i < fonts->count; i++)
    total += fonts->font[i].count;
  q->glyphs = calloc(total ? total : 1, sizeof *q->glyphs);
  if (!q->glyphs)
    return false;
  struct glyph *n = q->glyphs;
  for (unsigned i = 0; i < fonts->count; i++) {
    const struct font *f = &fonts->font[i];
    struct group *g = f->width >= 2 && f->width <= q->width && f->height <= q->height
                          ? group_of(q, f->width, f->height)
                          : NULL;
    for (unsigned c = 0; g && c < f->count; c++)
      if (f->code[c])
        add_glyph(g, n++, f->code[c], f->row + (size_t)c * (size_t)f->height);
  }
  return true;
}

/* Is the cell at x, y this glyph in two colours? Any background may do for a blank. */
static bool is_glyph(const struct search *q, const struct group *g, const struct glyph *n, int x, int y) {
  int64_t colour[2] = {-1, -1};
  for (int j = 0; j < g->height; j++) {
    const uint32_t *p = q->pixel + (size_t)(y + j) * (size_t)q->width + x;
    for (int i = 0; i < g->width; i++) {
      int bit = n->row[j] >> (g->width - 1 - i) & 1;
      if (colour[bit] < 0)
        colour[bit] = p[i];
      else if (colour[bit] != p[i])
        return false;
    }
  }
  return colour[0] != colour[1];
}

static bool add_hit(struct search *q, int x, int y, const struct group *g, const struct glyph *n) {
  if (q->hit_count == q->hit_size) {
    unsigned size = q->hit_size ? q->hit_size * 2 : 4096;
    struct hit *h = realloc(q->hit, size * sizeof *h);
    if (!h)
      return false;
    q->hit = h;
    q->hit_size = size;
  }
  q->hit[q->hit_count++] = (struct hit){x, y, g, n};
  return true;
}

/* --- the search --- */

static void take_bits(struct search *q) {
  memset(q->bits, 0, (size_t)q->words * (size_t)q->height * sizeof *q->bits);
  for (int y = 0; y < q->height; y++) {
    const uint32_t *p = q->pixel + (size_t)y * (size_t)q->width;
    uint64_t *bits = q->bits + (size_t)y * (size_t)q->words;
    if (q->way == BY_COLOUR)
      for (int x = 0; x < q->width; x++)
        bits[x >> 6] |= (uint64_t)(p[x] == q->colour) << (63 - (x & 63));
    else
      for (int x = 1; x < q->width; x++)
        bits[x >> 6] |= (uint64_t)(p[x] != p[x - 1]) << (63 - (x & 63));
  }
}

/* n bits from `at` on, the first in the highest. */
static inline uint32_t window(const uint64_t *bits, int at, int n) {
  uint64_t v = bits[at >> 6] << (at & 63);
  if ((at & 63) + n > 64)
    v |= bits[(at >> 6) + 1] >> (64 - (at & 63));
  return (uint32_t)(v >> (64 - n));
}

/* Is the glyph there in this colour, on anything else? */
static bool is_over(const struct search *q, const struct group *g, const struct glyph *n, int x, int y) {
  for (int j = 0; j < g->height; j++) {
    const uint32_t *p = q->pixel + (size_t)(y + j) * (size_t)q->width + x;
    for (int i = 0; i < g->width; i++)
      if ((p[i] == q->colour) != (n->row[j] >> (g->width - 1 - i) & 1))
        return false;
  }
  return true;
}

static bool look(struct search *q, struct group *g, int x, int y, uint32_t hash) {
  for (const struct glyph *n = *bucket_of(g, q->way, hash); n; n = n->next[q->way])
    if (n->hash[q->way] == hash && (q->way == BY_COLOUR ? is_over : is_glyph)(q, g, n, x, y))
      return add_hit(q, x, y, g, n);
  return true;
}

static bool search_group(struct search *q, struct group *g) {
  int places = q->width - g->width + 1, first = q->way == BY_COLOUR ? 0 : 1, n = g->width - first;
  uint32_t *hash = calloc((size_t)places, sizeof *hash);
  const uint8_t *bloom = g->bloom[q->way];
  bool ok = hash;
  for (int y = 0; ok && y < q->height; y++) {
    const uint64_t *now = q->bits + (size_t)y * (size_t)q->words,
                   *old = now - (ptrdiff_t)g->height * q->words;
    for (int x = 0; x < places; x++)
      hash[x] = hash[x] * HASH_STEP + window(now, x + first, n);
    if (y >= g->height)
      for (int x = 0; x < places; x++)
        hash[x] -= window(old, x + first, n) * g->power;
    if (y < g->height - 1)
      continue;
    for (int x = 0; ok && x < places; x++) {
      unsigned b = bloom_bit(hash[x]);
      if (hash[x] && bloom[b >> 3] >> (b & 7) & 1)
        ok = look(q, g, x, y - g->height + 1, hash[x]);
    }
  }
  free(hash);
  return ok;
}

static bool search_all(struct search *q) {
  bool ok = true;
  q->hit_count = 0;
  take_bits(q);
  for (unsigned i = 0; ok && i < q->group_count; i++)
    ok = search_group(q, &q->group[i]);
  return ok;
}

/* --- runs --- */

/* By size, line and phase, so that what is in a row with equal steps comes together. */
static int compare_hits(const void *a, const void *b) {
  const struct hit *p = a, *q = b;
  if (p->group != q->group)
    return p->group < q->group ? -1 : 1;
  if (p->y != q->y)
    return p->y < q->y ? -1 : 1;
  int w = p->group->width;
  if (p->x % w != q->x % w)
    return p->x % w < q->x % w ? -1 : 1;
  return (p->x > q->x) - (p->x < q->x);
}

static int compare_runs(const void *a, const void *b) {
  const struct run *p = a, *q = b;
  if (p->ink != q->ink)
    return p->ink > q->ink ? -1 : 1;
  return (p->first > q->first) - (p->first < q->first);
}

/* Text in reading order. */
static int compare_places(const void *a, const void *b) {
  const struct hit *p = a, *q = b;
  if (p->y != q->y)
    return p->y < q->y ? -1 : 1;
  return (p->x > q->x) - (p->x < q->x);
}

static struct run *make_runs(const struct search *q, unsigned *count) {
  struct run *run = malloc((q->hit_count + 1) * sizeof *run);
  *count = 0;
  for (unsigned i = 0; run && i < q->hit_count; i++) {
    const struct hit *h = &q->hit[i], *before = h - 1;
    bool joins = i > 0 && before->group == h->group && before->y == h->y &&
                 (h->x - before->x) % h->group->width == 0 && h->x > before->x &&
                 h->x - before->x <= (GAP_MAX + 1) * h->group->width;
    if (!joins)
      run[(*count)++] =
          (struct run){.first = i, .phase_x = h->x % h->group->width, .phase_y = h->y % h->group->height};
    run[*count - 1].count++;
    run[*count - 1].ink += h->glyph->ink;
  }
  return run;
}

static bool is_free(const struct search *q, int x, int y, int width, int height) {
  for (int j = y; j < y + height; j++)
    if (memchr(q->taken + (size_t)j * (size_t)q->width + x, 1, (size_t)width))
      return false;
  return true;
}

static void take(struct search *q, int x, int y, int width, int height) {
  for (int j = y; j < y + height; j++)
    memset(q->taken + (size_t)j * (size_t)q->width + x, 1, (size_t)width);
}

/* Put what wins into kept[]; returns how many that are then. */
static unsigned choose(struct search *q, struct run *run, unsigned runs, struct hit *kept, unsigned count) {
  unsigned least = q->way == BY_COLOUR ? OVER_LEAST : INK_LEAST;
  qsort(run, runs, sizeof *run, compare_runs);
  const struct hit *main = runs && run[0].ink >= least && q->way != BY_COLOUR ? &q->hit[run[0].first] : NULL;
  for (unsigned r = 0; r < runs; r++) {
    const struct hit *h = &q->hit[run[r].first];
    unsigned ink = 0;
    for (unsigned i = 0; i < run[r].count; i++)
      if (is_free(q, h[i].x, h[i].y, h->group->width, h->group->height))
        ink += h[i].glyph->ink;
    bool in_line = main && h->group == main->group && run[r].phase_x == run[0].phase_x &&
                   run[r].phase_y == run[0].phase_y;
    if (ink < least && !in_line)
      continue;
    for (unsigned i = 0; i < run[r].count; i++)
      if (is_free(q, h[i].x, h[i].y, h->group->width, h->group->height)) {
        take(q, h[i].x, h[i].y, h->group->width, h->group->height);
        kept[count++] = h[i];
      }
  }
  return count;
}

/* --- text on top of pictures --- */

struct colour {
  uint32_t value;
  unsigned count;
};

/* The most frequent colours of what is not taken; there must be enough for a word, and they must not be
 * everywhere. */
static unsigned frequent_colours(const struct search *q, uint32_t out[COLOURS]) {
  static const unsigned slots = 16384;
  struct colour *table = calloc(slots, sizeof *table);
  unsigned found = 0, all = (unsigned)q->width * (unsigned)q->height;
  for (unsigned i = 0; table && i < all; i++) {
    struct colour *c = &table[q->pixel[i] * 0x9e3779b1u >> 18];
    if (q->taken[i])
      continue;
    if (!c->count) /* the majority's colour keeps the slot */
      c->value = q->pixel[i];
    c->count += c->value == q->pixel[i] ? 1 : -1u;
  }
  while (table && found < COLOURS) {
    struct colour *best = table;
    for (unsigned i = 1; i < slots; i++)
      if (table[i].count > best->count)
        best = &table[i];
    if (best->count < OVER_LEAST)
      break;
    if (best->count < all / 4)
      out[found++] = best->value;
    best->count = 0;
  }
  free(table);
  return found;
}

/* --- the text --- */

/* The bar or blank in a cell; NULL: something else. Blank is what has one colour. */
static const struct glyph *plain_at(const struct search *q, const struct group *g, int x, int y) {
  static const struct glyph blank = {.code = ' '};
  if (x < 0 || y < 0 || x + g->width > q->width || y + g->height > q->height ||
      !is_free(q, x, y, g->width, g->height))
    return NULL;
  for (const struct glyph *n = g->plain; n; n = n->next[BY_DIFFERENCES])
    if (n->code != ' ' && is_glyph(q, g, n, x, y))
      return n;
  uint32_t first = q->pixel[(size_t)y * (size_t)q->width + (size_t)x];
  for (int j = 0; j < g->height; j++)
    for (int i = 0; i < g->width; i++)
      if (q->pixel[(size_t)(y + j) * (size_t)q->width + (size_t)(x + i)] != first)
        return NULL;
  return &blank;
}

static struct text_box box_of(const struct search *q, int x, int y, int width, int height) {
  return (struct text_box){(int16_t)(x * q->scale_x), (int16_t)(y * q->scale_y),
                           (int16_t)(width * q->scale_x), (int16_t)(height * q->scale_y)};
}

/* What stands between x and `to` on the line of h: bars where there are any, else blanks. */
static bool put_gap(struct search *q, struct text_builder *b, const struct hit *h, int x, int to) {
  int w = h->group->width;
  bool ok = true;
  while (ok && to - x >= w / 2 + 1) {
    int at = to - (to - x) / w * w; /* on the grid of what follows */
    if (to - x < w)
      at = x;
    const struct glyph *n = to - x >= w ? plain_at(q, h->group, at, h->y) : NULL;
    struct text_box box = box_of(q, at, h->y, w, h->group->height);
    ok = text_builder_put(b, n ? n->code : ' ', &box);
    x = at + w;
  }
  return ok;
}

/* Bars behind the last character: "____". */
static bool put_tail(struct search *q, struct text_builder *b, const struct hit *h) {
  bool ok = true;
  const struct glyph *n;
  int x = h->x + h->group->width;
  while (ok && (n = plain_at(q, h->group, x, h->y)) && n->code != ' ') {
    struct text_box box = box_of(q, x, h->y, h->group->width, h->group->height);
    ok = text_builder_put(b, n->code, &box);
    x += h->group->width;
  }
  return ok;
}

/* One line: hits whose middle lies in the height of the first. Returns how many it took; 0: out of memory. */
static unsigned put_line(struct search *q, struct text_builder *b, struct hit *h, unsigned count) {
  unsigned n = 1;
  int top = h->y, height = h->group->height;
  while (n < count && h[n].y < top + (height + 1) / 2)
    n++;
  for (unsigned i = 1; i < n; i++) { /* by column; few, and nearly in order */
    struct hit moved = h[i];
    unsigned k = i;
    for (; k > 0 && h[k - 1].x > moved.x; k--)
      h[k] = h[k - 1];
    h[k] = moved;
  }
  int x = 0;
  bool ok = true;
  for (unsigned i = 0; ok && i < n; i++) {
    ok = put_gap(q, b, &h[i], x, h[i].x);
    struct text_box box = box_of(q, h[i].x, h[i].y, h[i].group->width, h[i].group->height);
    ok = ok && text_builder_put(b, h[i].glyph->code, &box);
    x = h[i].x + h[i].group->width;
  }
  ok = ok && put_tail(q, b, &h[n - 1]);
  text_builder_trim(b);
  struct text_box end = box_of(q, x, top, 0, height);
  return ok && text_builder_put(b, '\n', &end) ? n : 0;
}

static bool put_lines(struct search *q, struct text_builder *b, struct hit *h, unsigned count) {
  int bottom = 0;
  for (unsigned at = 0; at < count;) {
    int top = h[at].y, height = h[at].group->height;
    for (int y = bottom; y + height <= top; y += height) { /* empty lines */
      struct text_box end = box_of(q, 0, y, 0, height);
      if (!text_builder_put(b, '\n', &end))
        return false;
    }
    unsigned n = put_line(q, b, h + at, count - at);
    if (!n)
      return false;
    at += n;
    bottom = top + height;
  }
  return true;
}

/* One search, and what it found put to the rest. */
static bool find_way(struct search *q, struct hit **kept, unsigned *count) {
  unsigned runs = 0;
  bool ok = search_all(q);
  if (ok && q->hit_count)
    qsort(q->hit, q->hit_count, sizeof *q->hit, compare_hits);
  struct run *run = ok ? make_runs(q, &runs) : NULL;
  struct hit *grown = run ? realloc(*kept, (*count + q->hit_count + 1) * sizeof *grown) : NULL;
  if (grown) {
    *kept = grown;
    *count = choose(q, run, runs, grown, *count);
  }
  free(run);
  return grown;
}

static bool find_all(struct search *q, struct hit **kept, unsigned *count) {
  uint32_t colours[COLOURS];
  q->words = q->width / 64 + 2;
  q->bits = malloc((size_t)q->words * (size_t)q->height * sizeof *q->bits);
  q->way = BY_DIFFERENCES;
  bool ok = q->bits && find_way(q, kept, count);
  unsigned n = ok ? frequent_colours(q, colours) : 0;
  q->way = BY_COLOUR;
  for (unsigned i = 0; ok && i < n; i++) {
    q->colour = colours[i];
    ok = find_way(q, kept, count);
  }
  return ok;
}

struct screen_text *screen_text_of_picture(const struct surface *s, const struct font_set *fonts) {
  struct search *q = calloc(1, sizeof *q);
  struct text_builder b;
  struct screen_text *t = screen_text_new(&b);
  struct hit *kept = NULL;
  unsigned count = 0;
  bool ok = q && t;
  if (ok && take_picture(q, s)) {
    ok = take_fonts(q, fonts) && find_all(q, &kept, &count);
    if (ok && count) {
      qsort(kept, count, sizeof *kept, compare_places);
      ok = put_lines(q, &b, kept, count);
    }
  }
  if (ok) {
    t->graphics = true;
    t->width = s->width;
    t->height = s->height;
  } else {
    screen_text_free(t);
    t = NULL;
  }
  if (q) {
    free(q->pixel);
    free(q->taken);
    free(q->glyphs);
    free(q->hit);
    free(q->bits);
  }
  free(q);
  free(kept);
  return t;
}
