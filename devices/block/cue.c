/* SPDX-License-Identifier: MIT */
/*
 * Cue sheets (CDRWIN's guide, "cuesheet commands"): which files make up a disc, and where in them its tracks
 * begin. FILE (BINARY, MOTOROLA, WAVE), TRACK, INDEX 00 and 01, PREGAP, POSTGAP, FLAGS, CATALOG and ISRC
 * count; further indices are only checked, texts are passed over.
 *
 * The sheet comes from anywhere, so it can only name files beside or below itself.
 */
#include "devices/block/disc_int.h"

#include <dirent.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct cue {
  struct disc_image *image;
  const char *path; /* of the sheet */
  unsigned line;
  const char *at, *end; /* the rest of the line */
  const char **error;
  uint32_t lba;             /* the end of what is laid out */
  int file;                 /* being laid out; -1: none yet */
  struct disc_track *track; /* NULL: none yet */
  uint16_t stride;          /* of the track */
  int index;                /* its last; -1: none yet */
  uint32_t pregap, postgap; /* of the track: frames that are in no file */
  struct disc_extent run;   /* in `file`, its length not yet known */
  bool running;
  uint32_t run_frame; /* where in the file, as the sheet counts */
};

static int bad(struct cue *c, const char *what) {
  *c->error = block_message("cue sheet '%s', line %u: %s", c->path, c->line, what);
  return -EINVAL;
}

/* --- words -------------------------------------------------------------------------------------------- */

static bool blank(char ch) { return ch == ' ' || ch == '\t' || ch == '\r' || ch == '\0'; }

/* The next word of the line, without its quotes; false: the line is over, or the word too long. */
static bool word(struct cue *c, char *to, size_t size) {
  size_t n = 0;
  while (c->at < c->end && blank(*c->at))
    c->at++;
  if (c->at == c->end)
    return false;
  bool quoted = *c->at == '"';
  for (c->at += quoted; c->at < c->end && (quoted ? *c->at != '"' : !blank(*c->at)); c->at++) {
    if (n + 1 >= size || *c->at == '\0')
      return false;
    to[n++] = *c->at;
  }
  if (quoted && c->at < c->end)
    c->at++;
  to[n] = '\0';
  return true;
}

/* Digits only, up to `max`. */
static bool number(const char *text, size_t len, uint32_t max, uint32_t *out) {
  uint32_t n = 0;
  if (!len || len > 4)
    return false;
  for (size_t i = 0; i < len; i++) {
    if (text[i] < '0' || text[i] > '9')
      return false;
    n = n * 10 + (uint32_t)(text[i] - '0');
  }
  *out = n;
  return n <= max;
}

/* mm:ss:ff in frames. */
static bool time_word(struct cue *c, uint32_t *out) {
  char text[32];
  uint32_t part[3];
  static const uint32_t max[3] = {999, 59, 74};
  if (!word(c, text, sizeof text))
    return false;
  const char *p = text;
  for (int i = 0; i < 3; i++) {
    size_t n = strcspn(p, ":");
    if (!number(p, n, max[i], &part[i]) || (p[n] == ':') != (i < 2))
      return false;
    p += n + 1;
  }
  *out = (part[0] * 60 + part[1]) * DISC_FRAMES_PER_SECOND + part[2];
  return true;
}

/* --- layout ------------------------------------------------------------------------------------------- */

static int add_extent(struct cue *c, struct disc_extent e) {
  struct disc_image *image = c->image;
  if (!e.count)
    return 0;
  if (e.count > DISC_MAX_FRAMES || c->lba + e.count > DISC_MAX_FRAMES)
    return bad(c, "the disc would be longer than 100 minutes");
  if (image->extents == DISC_EXTENTS)
    return bad(c, "too many pieces");
  e.lba = c->lba;
  image->extent[image->extents++] = e;
  c->lba += e.count;
  return 0;
}

static int add_gap(struct cue *c, uint32_t *frames, uint8_t mode) {
  struct disc_extent gap = {.count = *frames, .file = -1, .stride = DISC_FRAME, .mode = mode};
  *frames = 0;
  return add_extent(c, gap);
}

/* The run in the file ends where it is `frame`; UINT32_MAX: at the end of the file. */
static int end_run(struct cue *c, uint32_t frame) {
  if (!c->running)
    return 0;
  const struct disc_file *f = &c->image->file[c->file];
  uint64_t left = f->size > c->run.offset ? f->size - c->run.offset : 0;
  uint64_t count = (left + c->run.stride - 1) / c->run.stride;
  if (frame != UINT32_MAX) {
    if (frame < c->run_frame)
      return bad(c, "the index lies before the one above");
    if (frame - c->run_frame > count)
      return bad(c, "the index lies behind the end of the file");
    count = frame - c->run_frame;
  }
  c->running = false;
  c->run.count = count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
  return add_extent(c, c->run);
}

/* The last track, before a new one or the end. */
static int end_track(struct cue *c) {
  return c->track && c->index < 1 ? bad(c, "a track has no INDEX 01") : 0;
}

/* --- commands ----------------------------------------------------------------------------------------- */

/* The file's path: beside or below the sheet, whatever the sheet says. In the directory of the file letters
 * of either case will do. */
static bool resolve(const struct cue *c, char *name, char *path, size_t size) {
  for (char *p = name; *p; p++)
    if (*p == '\\')
      *p = '/';
  bool away =
      name[0] == '/' || (name[0] && name[1] == ':') || !strncmp(name, "../", 3) || strstr(name, "/../");
  const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name, *mine = strrchr(c->path, '/');
  if (away)
    name = (char *)base;
  if (!*base || !strcmp(base, "..") || !strcmp(base, "."))
    return false;
  int dir = mine ? (int)(mine - c->path + 1) : 0;
  int n = snprintf(path, size, "%.*s%s", dir, c->path, name);
  if (n < 0 || (size_t)n >= size)
    return false;
  char folder[PATH_MAX];
  size_t at = (size_t)n - strlen(base);
  snprintf(folder, sizeof folder, "%.*s", (int)at, path);
  DIR *d = opendir(at ? folder : ".");
  if (!d)
    return true; /* opening the file will say what is wrong */
  char other[NAME_MAX + 1] = "";
  for (struct dirent *e; (e = readdir(d));) {
    if (!strcmp(e->d_name, base)) {
      other[0] = '\0';
      break;
    }
    if (!strcasecmp(e->d_name, base))
      snprintf(other, sizeof other, "%s", e->d_name);
  }
  closedir(d);
  if (other[0]) /* of the same length */
    memcpy(path + at, other, strlen(other));
  return true;
}

static int command_file(struct cue *c) {
  char name[PATH_MAX], type[16], path[PATH_MAX];
  if (!word(c, name, sizeof name))
    return bad(c, "FILE wants a name and a type");
  if (!word(c, type, sizeof type))
    memcpy(type, "BINARY", 7);
  bool wave = !strcasecmp(type, "WAVE"), swapped = !strcasecmp(type, "MOTOROLA");
  if (!wave && !swapped && strcasecmp(type, "BINARY"))
    return bad(c, "the file types are BINARY, MOTOROLA and WAVE");
  int result = end_run(c, UINT32_MAX);
  if (result)
    return result;
  if (!resolve(c, name, path, sizeof path))
    return bad(c, "this is no file name");
  int file = disc_add_file(c->image, path, wave, swapped, c->error);
  if (file < 0)
    return file;
  c->file = file;
  c->run_frame = 0;
  c->run = (struct disc_extent){.file = file};
  return 0;
}

static int command_track(struct cue *c) {
  static const struct {
    const char *name;
    uint8_t mode;
    uint16_t stride;
  } modes[] = {
      {"AUDIO", DISC_AUDIO, 2352},      {"MODE1/2048", DISC_MODE1, 2048}, {"MODE1/2352", DISC_MODE1, 2352},
      {"MODE2/2048", DISC_MODE2, 2048}, {"MODE2/2336", DISC_MODE2, 2336}, {"MODE2/2352", DISC_MODE2, 2352},
      {"CDI/2336", DISC_MODE2, 2336},   {"CDI/2352", DISC_MODE2, 2352},
  };
  char text[16];
  uint32_t n;
  size_t i = 0;
  struct disc *disc = &c->image->disc;
  int result = end_track(c);
  if (result)
    return result;
  if (c->file < 0)
    return bad(c, "TRACK before FILE");
  if (!word(c, text, sizeof text) || !number(text, strlen(text), DISC_TRACKS, &n) || n == 0)
    return bad(c, "TRACK wants a number from 1 to 99");
  if (disc->tracks && n != (uint32_t)disc->first + disc->tracks)
    return bad(c, "the track has not the next number");
  if (!word(c, text, sizeof text))
    return bad(c, "TRACK wants a mode");
  while (i < sizeof modes / sizeof modes[0] && strcasecmp(text, modes[i].name))
    i++;
  if (i == sizeof modes / sizeof modes[0])
    return bad(c, "the modes are AUDIO, MODE1/2048, MODE1/2352, MODE2/2048, MODE2/2336 and MODE2/2352");
  if (!disc->tracks)
    disc->first = (uint8_t)n;
  c->track = &disc->track[disc->tracks++];
  c->track->mode = modes[i].mode;
  c->track->control = modes[i].mode == DISC_AUDIO ? 0 : DISC_IS_DATA;
  c->stride = modes[i].stride;
  c->index = -1;
  c->pregap = 0;
  return 0;
}

static int command_index(struct cue *c) {
  char text[8];
  uint32_t n, frame;
  if (!c->track)
    return bad(c, "INDEX before TRACK");
  if (!word(c, text, sizeof text) || !number(text, strlen(text), 99, &n) || !time_word(c, &frame))
    return bad(c, "INDEX wants a number and a time mm:ss:ff");
  if ((int)n <= c->index || (c->index < 1 && n > 1))
    return bad(c, "the indices are not in order");
  if (c->image->file[c->file].wave && c->track->mode != DISC_AUDIO)
    return bad(c, "a track of data cannot be in a WAVE file");
  if (n > 1) {
    c->index = (int)n;
    return 0;
  }
  bool first = !c->running; /* in this file */
  uint64_t offset = c->run.offset;
  int result = end_run(c, frame);
  if (result)
    return result;
  offset = first ? (uint64_t)frame * c->stride : offset + (uint64_t)c->run.count * c->run.stride;
  if (c->index < 0) {
    uint8_t before = c->track > c->image->disc.track ? c->track[-1].mode : c->track->mode;
    if ((result = add_gap(c, &c->postgap, before)))
      return result;
    c->track->pregap = c->lba;
  }
  if (n == 1) {
    if ((result = add_gap(c, &c->pregap, c->track->mode)))
      return result;
    c->track->start = c->lba;
  }
  c->index = (int)n;
  c->run =
      (struct disc_extent){.file = c->file, .offset = offset, .stride = c->stride, .mode = c->track->mode};
  c->run_frame = frame;
  c->running = true;
  return 0;
}

static int command_gap(struct cue *c, uint32_t *gap, bool before) {
  if (!c->track || before != (c->index < 1))
    return bad(c, "the gap stands at a wrong place");
  return time_word(c, gap) ? 0 : bad(c, "a gap wants a time mm:ss:ff");
}

static int command_flags(struct cue *c) {
  char text[16];
  if (!c->track)
    return bad(c, "FLAGS before TRACK");
  while (word(c, text, sizeof text))
    c->track->control |= !strcasecmp(text, "DCP")   ? DISC_COPY
                         : !strcasecmp(text, "PRE") ? DISC_PREEMPHASIS
                         : !strcasecmp(text, "4CH") ? DISC_FOUR_CHANNELS
                                                    : 0;
  return 0;
}

/* A code of letters and digits; anything else is passed over. */
static void command_code(struct cue *c, char *to, size_t len) {
  char text[16];
  if (!word(c, text, sizeof text) || strlen(text) != len)
    return;
  for (size_t i = 0; i < len; i++)
    if (text[i] < '0' || text[i] > 'z')
      return;
  memcpy(to, text, len + 1);
}

static int command(struct cue *c) {
  char name[16];
  if (!word(c, name, sizeof name))
    return 0;
  if (!strcasecmp(name, "FILE"))
    return command_file(c);
  if (!strcasecmp(name, "TRACK"))
    return command_track(c);
  if (!strcasecmp(name, "INDEX"))
    return command_index(c);
  if (!strcasecmp(name, "PREGAP"))
    return command_gap(c, &c->pregap, true);
  if (!strcasecmp(name, "POSTGAP"))
    return command_gap(c, &c->postgap, false);
  if (!strcasecmp(name, "FLAGS"))
    return command_flags(c);
  if (!strcasecmp(name, "CATALOG"))
    command_code(c, c->image->disc.catalog, 13);
  else if (!strcasecmp(name, "ISRC") && c->track)
    command_code(c, c->track->isrc, 12);
  return 0; /* REM, TITLE, PERFORMER ... */
}

/* The tracks end where the next ones begin. */
static int finish(struct cue *c) {
  struct disc *disc = &c->image->disc;
  int result = end_run(c, UINT32_MAX);
  if (!result)
    result = end_track(c);
  if (result)
    return result;
  if (!disc->tracks)
    return bad(c, "the sheet names no track");
  if ((result = add_gap(c, &c->postgap, c->track->mode)))
    return result;
  disc->leadout = c->lba;
  for (unsigned i = 0; i < disc->tracks; i++) {
    disc->track[i].end = i + 1 < disc->tracks ? disc->track[i + 1].pregap : disc->leadout;
    if (disc->track[i].end <= disc->track[i].start)
      return bad(c, "a track is empty: is its file complete?");
  }
  return 0;
}

int cue_parse(struct disc_image *image, const char *path, const char *text, size_t len, const char **error) {
  struct cue c = {.image = image, .path = path, .error = error, .file = -1, .index = -1};
  const char *end = text + len;
  if (len >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
    text += 3;
  while (text < end) {
    const char *eol = memchr(text, '\n', (size_t)(end - text));
    c.at = text;
    c.end = eol ? eol : end;
    c.line++;
    int result = command(&c);
    if (result)
      return result;
    text = eol ? eol + 1 : end;
  }
  return finish(&c);
}
