/* SPDX-License-Identifier: MIT */
/*
 * Directories with long names: see fat.h. Long names are compared, and given to the caller, as UTF-8; a name
 * that is no 8.3 name in capitals gets a long one, and a short one with a number. Entries are dated the first
 * of January 2000, so that runs can be repeated.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "frontends/test/fat_int.h"
#include "frontends/test/font.h"

#define ATTR_VOLUME 0x08
#define ATTR_DIRECTORY 0x10
#define ATTR_LONG 0x0f
#define DATE_2000 0x2821
#define LONG_UNITS 255u

/* --- the entries of a directory, one after the other --- */

struct walk {
  struct fat *f;
  uint32_t cluster;      /* 0: the root of FAT12 and FAT16 */
  uint32_t index, count; /* in the stretch */
  uint32_t total;        /* entries seen */
  uint8_t *stretch;
  uint64_t at;
};

static int load(struct walk *w) {
  struct fat *f = w->f;
  uint32_t size = w->cluster ? f->v.cluster_size : f->v.root_entries * FAT_ENTRY;
  w->at = w->cluster ? fat_cluster_at(f, w->cluster) : f->v.root;
  w->index = 0;
  w->count = size / FAT_ENTRY;
  free(w->stretch);
  w->stretch = malloc(size ? size : 1);
  if (!w->stretch)
    return fat_fail(f, "out of memory");
  return fat_get(f, w->at, w->stretch, size);
}

static int walk_start(struct walk *w, struct fat *f, const struct fat_file *dir) {
  *w = (struct walk){.f = f, .cluster = dir->first ? dir->first : f->v.root_cluster};
  if (w->cluster && !fat_is_cluster(f, w->cluster))
    return fat_fail(f, "the file system is damaged: a directory has no first cluster");
  return load(w);
}

static void walk_end(struct walk *w) { free(w->stretch); }

/* The next entry, or NULL at the end; *error is set if it is none. */
static uint8_t *walk_next(struct walk *w, bool *error) {
  *error = false;
  while (w->index == w->count) {
    uint32_t next = w->cluster ? fat_next(w->f, w->cluster) : 0;
    if (!next)
      return NULL;
    w->cluster = next;
    if (load(w) < 0) {
      *error = true;
      return NULL;
    }
  }
  if (w->total++ >= FAT_ENTRIES_MAX) {
    fat_fail(w->f, "the file system is damaged: a directory does not end");
    *error = true;
    return NULL;
  }
  return w->stretch + FAT_ENTRY * w->index++;
}

static uint64_t walk_offset(const struct walk *w) { return w->at + FAT_ENTRY * (uint64_t)(w->index - 1); }

/* --- names --- */

static uint8_t checksum(const uint8_t *short_name) {
  uint8_t sum = 0;
  for (int i = 0; i < 11; i++)
    sum = (uint8_t)((sum << 7 | sum >> 1) + short_name[i]);
  return sum;
}

struct long_name {
  uint16_t unit[LONG_UNITS + 13];
  unsigned next; /* the ordinal that must come, counting down; 0: complete; 255: none */
  uint8_t sum;
  uint64_t entry;
};

static const uint8_t unit_offset[13] = {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30};

static void take_part(struct long_name *l, const uint8_t *e, uint64_t at) {
  unsigned ordinal = e[0] & 0x3f;
  if (e[0] & 0x40 && ordinal >= 1 && ordinal <= 20) {
    memset(l->unit, 0, sizeof l->unit);
    l->next = ordinal;
    l->sum = e[13];
    l->entry = at;
  }
  if (l->next == 255 || ordinal != l->next || ordinal == 0 || l->sum != e[13]) {
    l->next = 255;
    return;
  }
  for (unsigned i = 0; i < 13; i++)
    l->unit[(ordinal - 1) * 13 + i] = (uint16_t)fat16(e + unit_offset[i]);
  l->next--;
}

static void name_from_long(const struct long_name *l, char *out) {
  char *end = out + FAT_NAME - 5;
  for (unsigned i = 0; i < LONG_UNITS && l->unit[i] && l->unit[i] != 0xffff && out < end; i++) {
    uint32_t code = l->unit[i];
    if (code >= 0xd800 && code < 0xdc00 && (l->unit[i + 1] & 0xfc00) == 0xdc00)
      code = 0x10000 + ((code & 0x3ff) << 10) + (l->unit[++i] & 0x3ff);
    out += utf8_put(code, out);
  }
  *out = '\0';
}

static void name_from_short(const uint8_t *e, char *out) {
  for (int i = 0; i < 11; i++) {
    if (i == 8 && memcmp(e + 8, "   ", 3) != 0)
      *out++ = '.';
    bool lower = e[12] & (i < 8 ? 0x08 : 0x10); /* as Windows NT writes them */
    uint8_t c = i == 0 && e[0] == 5 ? 0xe5 : e[i];
    if (c == ' ')
      continue;
    *out++ = (char)(c >= 0x80 || c < 0x20 ? '_' : lower ? tolower(c) : c);
  }
  *out = '\0';
}

static void short_as_text(const uint8_t *e, char out[13]) {
  uint8_t plain[13];
  memcpy(plain, e, 12);
  plain[12] = 0;
  name_from_short(plain, out);
}

/* One file; `alias` is its short name. Non-zero ends the walk and is the result. */
static int each_entry(struct fat *f, const struct fat_file *dir,
                      int (*each)(void *opaque, const struct fat_file *file, const char *alias),
                      void *opaque) {
  struct walk w;
  struct long_name l = {.next = 255};
  struct fat_file file;
  char alias[13];
  bool error = true;
  const uint8_t *e;
  int r = walk_start(&w, f, dir);
  while (r == 0 && (e = walk_next(&w, &error)) && e[0]) {
    error = false;
    if (e[0] == 0xe5) {
      l.next = 255;
    } else if ((e[11] & 0x3f) == ATTR_LONG) {
      take_part(&l, e, walk_offset(&w));
    } else if (!(e[11] & ATTR_VOLUME)) {
      bool has_long = l.next == 0 && l.sum == checksum(e);
      file = (struct fat_file){.directory = e[11] & ATTR_DIRECTORY,
                               .first = fat16(e + 26) | (f->v.kind == VOLUME_FAT32 ? fat16(e + 20) << 16 : 0),
                               .size = fat32(e + 28),
                               .entry = walk_offset(&w)};
      file.name_entry = has_long ? l.entry : file.entry;
      short_as_text(e, alias);
      if (has_long)
        name_from_long(&l, file.name);
      else
        name_from_short(e, file.name);
      l.next = 255;
      if (e[0] != '.')
        r = each(opaque, &file, alias);
    } else {
      l.next = 255;
    }
  }
  walk_end(&w);
  return r ? r : error ? -1 : 0;
}

struct plain_each {
  int (*each)(void *opaque, const struct fat_file *file);
  void *opaque;
};

static int without_alias(void *opaque, const struct fat_file *file, const char *alias) {
  const struct plain_each *p = opaque;
  (void)alias;
  return p->each(p->opaque, file);
}

int fat_dir_each(struct fat *f, const struct fat_file *dir,
                 int (*each)(void *opaque, const struct fat_file *file), void *opaque) {
  struct plain_each p = {each, opaque};
  return each_entry(f, dir, without_alias, &p);
}

struct wanted {
  const char *name;
  size_t length;
  struct fat_file *file;
};

static bool same_name(const struct wanted *w, const char *name) {
  return strlen(name) == w->length && strncasecmp(name, w->name, w->length) == 0;
}

static int is_wanted(void *opaque, const struct fat_file *file, const char *alias) {
  struct wanted *w = opaque;
  if (!same_name(w, file->name) && !same_name(w, alias))
    return 0;
  *w->file = *file;
  return 1;
}

int fat_dir_find(struct fat *f, const struct fat_file *dir, const char *name, size_t length,
                 struct fat_file *file) {
  struct wanted w = {name, length, file};
  int r = each_entry(f, dir, is_wanted, &w);
  if (r == 1)
    return 0;
  return r == 0 ? fat_fail(f, "there is no '%.*s'", (int)length, name) : -1;
}

/* --- new entries --- */

static bool short_char(unsigned char c) {
  return isupper(c) || isdigit(c) || (c && strchr("!#$%&'()-@^_`{}~", c)) || c >= 0x80;
}

/* Is the name what a short entry can hold as it is? Then out is that. */
static bool plain_short(const char *name, size_t length, uint8_t out[11]) {
  size_t at = 0, end = 8;
  memset(out, ' ', 11);
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)name[i];
    if (c == '.' && end == 8 && i > 0 && i + 1 < length) {
      at = 8;
      end = 11;
    } else if (at < end && c < 0x80 && short_char(c)) {
      out[at++] = c;
    } else {
      return false;
    }
  }
  return length > 0;
}

/* NAME~N.EXT */
static void numbered_short(const char *name, size_t length, unsigned number, uint8_t out[11]) {
  char tail[8];
  size_t dot = length, at = 0;
  int n = snprintf(tail, sizeof tail, "~%u", number);
  memset(out, ' ', 11);
  while (dot > 0 && name[dot - 1] != '.')
    dot--;
  if (dot <= 1)
    dot = length + 1;
  for (size_t i = 0; i + 1 < dot && at < 8 - (size_t)n; i++) {
    unsigned char c = (unsigned char)toupper((unsigned char)name[i]);
    if (c != ' ' && c != '.')
      out[at++] = c < 0x80 && short_char(c) ? c : '_';
  }
  memcpy(out + at, tail, (size_t)n);
  at = 8;
  for (size_t i = dot; i < length && at < 11; i++) {
    unsigned char c = (unsigned char)toupper((unsigned char)name[i]);
    if (c != ' ')
      out[at++] = c < 0x80 && short_char(c) ? c : '_';
  }
}

/* UTF-8 to UTF-16. How many units; 0: it is none, or not a file name. */
static unsigned to_units(const char *name, size_t length, uint16_t *unit) {
  unsigned n = 0;
  for (size_t i = 0; i < length;) {
    unsigned char c = (unsigned char)name[i++];
    uint32_t code = c;
    unsigned more = c < 0x80 ? 0 : c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc2 ? 1 : 9;
    if (more == 9 || more > length - i || c < 0x20 || strchr("\\/:*?\"<>|", c) || n + 2 > LONG_UNITS)
      return 0;
    if (more)
      code = c & (0x3fu >> more);
    for (; more; more--)
      code = code << 6 | ((unsigned char)name[i++] & 0x3f);
    if (code >= 0x10000) {
      unit[n++] = (uint16_t)(0xd800 + ((code - 0x10000) >> 10));
      code = 0xdc00 + ((code - 0x10000) & 0x3ff);
    }
    unit[n++] = (uint16_t)code;
  }
  return n;
}

/* Room for `count` entries in a row. 0, or -1. */
static int find_room(struct fat *f, const struct fat_file *dir, unsigned count, struct fat_slot *slot) {
  struct walk w;
  unsigned n = 0;
  bool error = false, ended = false;
  uint8_t *e;
  if (walk_start(&w, f, dir) < 0) {
    walk_end(&w);
    return -1;
  }
  for (;;) {
    while (n < count && (e = walk_next(&w, &error))) {
      ended = ended || !e[0];
      if (!ended && e[0] != 0xe5)
        n = 0;
      else
        slot->at[n++] = walk_offset(&w);
    }
    if (n == count || error)
      break;
    uint32_t more = w.cluster ? fat_extend(f, w.cluster) : 0;
    uint8_t *empty = more ? calloc(1, f->v.cluster_size) : NULL;
    if (!w.cluster)
      fat_fail(f, "the root directory is full");
    error = !empty || fat_put(f, fat_cluster_at(f, more), empty, f->v.cluster_size) < 0;
    free(empty);
    if (error)
      break;
  }
  /* The directory ended in these entries: it must end behind them now, whatever lies there. */
  uint8_t end = 0;
  if (n == count && ended && (e = walk_next(&w, &error)) && e[0] && fat_put(f, walk_offset(&w), &end, 1) < 0)
    error = true;
  walk_end(&w);
  return n == count && !error ? 0 : -1;
}

static int put_long(struct fat *f, const struct fat_slot *slot, const uint16_t *unit, unsigned units,
                    const uint8_t short_name[11]) {
  unsigned parts = (units + 12) / 13;
  for (unsigned p = 0; p < parts; p++) {
    unsigned ordinal = parts - p;
    uint8_t e[FAT_ENTRY] = {0};
    e[0] = (uint8_t)(ordinal | (p == 0 ? 0x40 : 0));
    e[11] = ATTR_LONG;
    e[13] = checksum(short_name);
    for (unsigned i = 0; i < 13; i++) {
      unsigned at = (ordinal - 1) * 13 + i;
      fat_put16(e + unit_offset[i], at < units ? unit[at] : at == units ? 0 : 0xffff);
    }
    if (fat_put(f, slot->at[p], e, sizeof e) < 0)
      return -1;
  }
  return 0;
}

int fat_dir_add(struct fat *f, const struct fat_file *dir, const char *name, size_t length, bool directory,
                struct fat_file *file) {
  uint16_t unit[LONG_UNITS + 13];
  uint8_t e[FAT_ENTRY] = {0};
  struct fat_slot slot;
  struct fat_file other;
  unsigned units = to_units(name, length, unit);
  if (!units)
    return fat_fail(f, "'%.*s' cannot be the name of a file", (int)length, name);
  bool plain = plain_short(name, length, e);
  for (unsigned number = 1; !plain; number++) {
    char text[13];
    if (number > 99999)
      return fat_fail(f, "there are too many names like '%.*s'", (int)length, name);
    numbered_short(name, length, number, e);
    short_as_text(e, text);
    if (fat_dir_find(f, dir, text, strlen(text), &other) < 0)
      break;
  }
  unsigned parts = plain ? 0 : (units + 12) / 13;
  if (find_room(f, dir, parts + 1, &slot) < 0)
    return -1;
  if (!plain && put_long(f, &slot, unit, units, e) < 0)
    return -1;
  e[11] = directory ? ATTR_DIRECTORY : 0x20;
  fat_put16(e + 16, DATE_2000);
  fat_put16(e + 18, DATE_2000);
  fat_put16(e + 24, DATE_2000);
  *file = (struct fat_file){.directory = directory, .entry = slot.at[parts], .name_entry = slot.at[0]};
  return fat_put(f, slot.at[parts], e, sizeof e);
}

int fat_dir_update(struct fat *f, const struct fat_file *file) {
  uint8_t e[FAT_ENTRY];
  if (fat_get(f, file->entry, e, sizeof e) < 0)
    return -1;
  fat_put16(e + 26, file->first);
  if (f->v.kind == VOLUME_FAT32)
    fat_put16(e + 20, file->first >> 16);
  fat_put32(e + 28, file->directory ? 0 : file->size);
  return fat_put(f, file->entry, e, sizeof e);
}

int fat_dir_remove(struct fat *f, const struct fat_file *dir, const struct fat_file *file) {
  struct walk w;
  bool error = false, inside = false;
  int r = walk_start(&w, f, dir);
  uint8_t gone = 0xe5;
  while (r == 0 && walk_next(&w, &error)) {
    uint64_t at = walk_offset(&w);
    inside = inside || at == file->name_entry;
    if (inside)
      r = fat_put(f, at, &gone, 1);
    if (at == file->entry)
      break;
  }
  walk_end(&w);
  return r < 0 || error ? -1 : 0;
}
