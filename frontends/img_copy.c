/* SPDX-License-Identifier: MIT */
/* dragoman-img: create, convert, compare, commit, resize, rebase: making and changing images. */
#include "frontends/img.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (2u << 20)
#define SPARSE 4096u /* zeros of this length, aligned, are not written */

static bool all_zero(const uint8_t *p, uint64_t len) { return !len || (!p[0] && !memcmp(p, p + 1, len - 1)); }

/* --- create ------------------------------------------------------------------------------------------- */

/* `name` as the image `path` would find it. */
static char *beside(const char *path, const char *name) {
  const char *slash = strrchr(path, '/');
  char *both = NULL;
  if (*name == '/' || !slash)
    return strdup(name);
  return asprintf(&both, "%.*s/%s", (int)(slash - path), path, name) < 0 ? NULL : both;
}

/* The size of the backing file's disk. */
static int backing_size(const struct img_args *a, const char *path, const char *name, const char *format,
                        uint64_t *size) {
  char *full = beside(path, name);
  struct block *b = full ? img_open(a, full, format, 0) : NULL;
  free(full);
  if (!b)
    return 1;
  *size = block_size(b);
  block_close(b);
  return 0;
}

int img_create(const struct img_args *a) {
  const char *format = a->f ? a->f : "raw", *error;
  char backing[1024], backing_format[32], size[32];
  struct block_create c = {.backing = a->b, .backing_format = a->F, .options = a->o};
  if (a->words < 1 || a->words > 2)
    return img_error(a, "Expecting image file name and size");
  /* -o backing_file= and -o size= are -b and SIZE; the rest goes to the format. */
  if (block_option(a->o, "backing_file", backing, sizeof backing))
    c.backing = backing;
  if (block_option(a->o, "backing_fmt", backing_format, sizeof backing_format))
    c.backing_format = backing_format;
  bool sized = block_option(a->o, "size", size, sizeof size);
  if (a->words == 2)
    snprintf(size, sizeof size, "%s", a->word[1]);
  if ((a->words == 2 || sized) && !block_parse_size(size, &c.size))
    return img_error(a,
                     "Invalid image size specified! You can use k, M, G, T, P or E suffixes for kilobytes, "
                     "megabytes, gigabytes, terabytes, petabytes and exabytes.");
  if (c.backing && !c.backing_format)
    return img_error(a, "%s: Backing file specified without backing format (-F)", a->word[0]);
  if (c.backing && !block_format_known(c.backing_format))
    return img_error(a, "Unknown backing file format '%s'", c.backing_format);
  uint64_t from_backing = 0;
  if (c.backing && !a->unsafe && backing_size(a, a->word[0], c.backing, c.backing_format, &from_backing))
    return 1;
  if (a->words < 2 && !sized) {
    if (!c.backing || a->unsafe)
      return img_error(a, "Image creation needs a size parameter");
    c.size = from_backing;
  }
  char rest[1024] = "";
  for (const char *at = a->o; at && *at;) {
    size_t len = strcspn(at, ","), key = strcspn(at, ",=");
    bool ours = (key == 12 && !strncmp(at, "backing_file", 12)) ||
                (key == 11 && !strncmp(at, "backing_fmt", 11)) || (key == 4 && !strncmp(at, "size", 4));
    if (!ours)
      snprintf(rest + strlen(rest), sizeof rest - strlen(rest), "%s%.*s", *rest ? "," : "", (int)len, at);
    at += len + (at[len] == ',');
  }
  c.options = *rest ? rest : NULL;
  if (!a->quiet) {
    printf("Formatting '%s', fmt=%s size=%" PRIu64, a->word[0], format, c.size);
    if (c.backing)
      printf(" backing_file=%s backing_fmt=%s", c.backing, c.backing_format);
    printf("%s%s\n", c.options ? " " : "", c.options ? c.options : "");
  }
  return block_create(a->word[0], format, &c, &error) ? img_error(a, "%s", error) : 0;
}

/* --- convert ------------------------------------------------------------------------------------------ */

struct copy {
  const struct img_args *a;
  struct block *from, *to;
  uint64_t base; /* where this input begins in the output */
  uint64_t all;  /* bytes of all inputs */
  uint64_t cluster;
  uint64_t sparse; /* 0: write zeros, too */
  bool zeroed;     /* the output holds zeros where nothing is written */
  bool backed;     /* and its backing file holds what the input's backing has */
  uint8_t *buf;
};

static int write_run(struct copy *c, uint64_t at, const uint8_t *buf, uint64_t len) {
  return block_write(c->to, at, buf, len);
}

/* Data without its long runs of zeros. */
static int write_sparse(struct copy *c, uint64_t at, const uint8_t *buf, uint64_t len) {
  uint64_t unit = c->sparse ? c->sparse : len;
  for (uint64_t i = 0, n; i < len; i += n) {
    n = len - i < unit ? len - i : unit;
    bool zero = c->sparse && all_zero(buf + i, n);
    while (i + n < len) {
      uint64_t more = len - i - n < unit ? len - i - n : unit;
      if ((c->sparse && all_zero(buf + i + n, more)) != zero)
        break;
      n += more;
    }
    int result = 0;
    if (!zero)
      result = write_run(c, at + i, buf + i, n);
    else if (!c->zeroed)
      result = block_write_zeroes(c->to, at + i, n);
    if (result)
      return result;
  }
  return 0;
}

static int write_packed(struct copy *c, uint64_t at, const uint8_t *buf, uint64_t len) {
  for (uint64_t i = 0, n; i < len; i += n) {
    n = len - i < c->cluster ? len - i : c->cluster;
    if (c->zeroed && all_zero(buf + i, n))
      continue;
    int result = block_write_compressed(c->to, at + i, buf + i, n);
    if (result)
      return result;
  }
  return 0;
}

/* A piece of at most CHUNK bytes whose kind is the same all over. */
static int copy_piece(struct copy *c, uint64_t at, uint64_t *len) {
  unsigned depth = 0;
  uint64_t left = block_size(c->from) - at, n = left < CHUNK ? left : CHUNK;
  int state;
  if (c->a->compress && !(c->base % c->cluster)) { /* by clusters of the output */
    state = BLOCK_STATE_DATA;
    *len = n;
    uint64_t run;
    int s = block_map(c->from, at, n, &run, &depth);
    if (s >= 0 && s != BLOCK_STATE_DATA && run == n && c->zeroed)
      return 0;
  } else {
    state = block_map(c->from, at, n, len, &depth);
  }
  if (state < 0)
    return state;
  if (c->backed && (depth || state == BLOCK_STATE_UNALLOCATED))
    return 0;
  if (state != BLOCK_STATE_DATA)
    return c->zeroed ? 0 : block_write_zeroes(c->to, c->base + at, *len);
  int result = block_read(c->from, at, c->buf, *len);
  if (result)
    return result;
  return c->a->compress ? write_packed(c, c->base + at, c->buf, *len)
                        : write_sparse(c, c->base + at, c->buf, *len);
}

static int copy_all(struct copy *c) {
  int result = 0;
  for (uint64_t at = 0, n = 0; at < block_size(c->from) && !result; at += n) {
    result = copy_piece(c, at, &n);
    if (result)
      return img_error(c->a, "error while copying at byte %" PRIu64 ": %s", at, strerror(-result));
    if (c->a->progress)
      img_progress(c->base + at + n, c->all);
  }
  return 0;
}

static int make_output(struct copy *c, const char *path, const char *format, uint64_t size) {
  const struct img_args *a = c->a;
  const char *error;
  char backing[1024], backing_format[32];
  struct block_create make = {.size = size, .backing = a->B, .backing_format = a->F, .options = a->o};
  if (block_option(a->o, "backing_file", backing, sizeof backing) ||
      block_option(a->o, "backing_fmt", backing_format, sizeof backing_format))
    return img_error(a, "use -B and -F for a backing file");
  if (a->B && !a->F)
    return img_error(a, "backing format must be specified with -F");
  if (!a->no_create && block_create(path, format, &make, &error))
    return img_error(a, "%s: error while converting %s: %s", path, format, error);
  c->to = img_open(&(struct img_args){.command = a->command}, path, format, BLOCK_WRITE);
  if (!c->to)
    return 1;
  if (block_size(c->to) < size)
    return img_error(a, "output file is smaller than input file");
  if (a->compress && !block_can_compress(c->to))
    return img_error(a, "Compression not supported for this file format");
  struct block_info info;
  block_info(c->to, &info);
  c->cluster = info.cluster_size ? info.cluster_size : 65536;
  if (CHUNK % c->cluster)
    c->cluster = 65536;
  struct stat st; /* a new file has zeros, a device what was there */
  c->zeroed = !a->no_create && !a->B && stat(path, &st) == 0 && S_ISREG(st.st_mode);
  c->backed = a->B;
  return 0;
}

int img_convert(const struct img_args *a) {
  struct block *input[IMG_WORDS] = {0};
  struct copy c = {.a = a, .sparse = SPARSE, .buf = malloc(CHUNK)};
  int status = 0;
  if (a->words < 2 || !c.buf) {
    free(c.buf);
    return img_error(a, "Must specify image file name and output");
  }
  if (a->S && (!block_parse_size(a->S, &c.sparse) || c.sparse % SECTOR || c.sparse > CHUNK)) {
    free(c.buf);
    return img_error(a, "Invalid buffer size for sparse output specified");
  }
  unsigned inputs = a->words - 1;
  for (unsigned i = 0; i < inputs && !status; i++) {
    input[i] = img_open(a, a->word[i], a->f, 0);
    status = !input[i];
    c.all += input[i] ? block_size(input[i]) : 0;
  }
  if (!status)
    status = make_output(&c, a->word[inputs], a->O ? a->O : "raw", c.all);
  for (unsigned i = 0; i < inputs && !status; i++) {
    c.from = input[i];
    status = copy_all(&c);
    c.base += block_size(input[i]);
  }
  int result = status ? 0 : block_flush(c.to);
  if (result)
    status = img_error(a, "error while writing: %s", strerror(-result));
  if (!status && a->progress)
    img_progress_end();
  for (unsigned i = 0; i < inputs; i++)
    block_close(input[i]);
  block_close(c.to);
  free(c.buf);
  return status;
}

/* --- compare ------------------------------------------------------------------------------------------ */

/* Exit status 1 is a difference, more is an error. */
static int compare_failed(const struct img_args *a, const char *path, int result) {
  img_error(a, "Error while reading of %s: %s", path, strerror(-result));
  return 3;
}

static int differ(const struct img_args *a, uint64_t at) {
  if (!a->quiet)
    printf("Content mismatch at offset %" PRIu64 "!\n", at);
  return 1;
}

static int read_padded(struct block *b, uint64_t at, uint8_t *buf, uint64_t len) {
  uint64_t here = at >= block_size(b) ? 0 : block_size(b) - at < len ? block_size(b) - at : len;
  memset(buf + here, 0, len - here);
  return here ? block_read(b, at, buf, here) : 0;
}

static int compare(const struct img_args *a, struct block *x, struct block *y, uint8_t *buf) {
  uint64_t size = block_size(x) > block_size(y) ? block_size(x) : block_size(y);
  if (block_size(x) != block_size(y)) {
    if (a->strict) {
      if (!a->quiet)
        printf("Strict mode: Image size mismatch!\n");
      return 1;
    }
    if (!a->quiet)
      printf("Warning: Image size mismatch!\n");
  }
  for (uint64_t at = 0; at < size; at += CHUNK) {
    uint64_t n = size - at < CHUNK ? size - at : CHUNK;
    int result = read_padded(x, at, buf, n);
    if (result)
      return compare_failed(a, block_path(x), result);
    result = read_padded(y, at, buf + CHUNK, n);
    if (result)
      return compare_failed(a, block_path(y), result);
    for (uint64_t i = 0; i < n; i++)
      if (buf[i] != buf[CHUNK + i])
        return differ(a, at + i);
    if (a->progress)
      img_progress(at + n, size);
  }
  if (a->progress)
    img_progress_end();
  if (!a->quiet)
    printf("Images are identical.\n");
  return 0;
}

int img_compare(const struct img_args *a) {
  if (a->words != 2)
    return img_error(a, "Expecting two image file names") + 1;
  struct block *x = img_open(a, a->word[0], a->f, 0), *y = x ? img_open(a, a->word[1], a->F, 0) : NULL;
  uint8_t *buf = malloc(2 * CHUNK);
  int status = x && y && buf ? compare(a, x, y, buf) : 2;
  free(buf);
  block_close(x);
  block_close(y);
  return status;
}

/* --- commit, resize, rebase --------------------------------------------------------------------------- */

int img_commit(const struct img_args *a) {
  const char *error;
  if (a->words != 1)
    return img_error(a, "Expecting one image file name");
  if (a->b)
    return img_error(a, "-b is not supported: an image is committed to its own backing file");
  struct block *b = img_open(a, a->word[0], a->f, BLOCK_WRITE);
  if (!b)
    return 1;
  int result = block_commit(b, !a->empty_stays, a->progress ? img_progress : NULL, &error);
  block_close(b);
  if (result)
    return img_error(a, "%s", error);
  if (a->progress)
    img_progress_end();
  if (!a->quiet)
    printf("Image committed.\n");
  return 0;
}

int img_resize(const struct img_args *a) {
  const char *error;
  uint64_t size, old;
  if (a->words != 2)
    return img_error(a, "Expecting image file name and size");
  const char *text = a->word[1];
  char sign = *text == '+' || *text == '-' ? *text++ : 0;
  if (!block_parse_size(text, &size))
    return img_error(a, "Invalid image size specified");
  struct block *b = img_open(a, a->word[0], a->f, BLOCK_WRITE);
  if (!b)
    return 1;
  old = block_size(b);
  int status = 0;
  if (sign == '-' ? size >= old : sign == '+' && size > INT64_MAX - old)
    status = img_error(a, "New image size must be positive");
  size = sign == '+' ? old + size : sign == '-' ? old - size : size;
  if (!status && !size)
    status = img_error(a, "New image size must be positive");
  if (!status && size < old && !a->shrink)
    status = img_error(a, "Use the --shrink option to perform a shrink operation.");
  if (!status && block_resize(b, size, &error))
    status = img_error(a, "%s", error);
  block_close(b);
  if (!status && !a->quiet)
    printf("Image resized.\n");
  return status;
}

/* What came from the old backing file and differs in the new one is taken into the image. */
static int keep_contents(const struct img_args *a, struct block *b, struct block *new, uint8_t *buf) {
  for (uint64_t at = 0, n; at < block_size(b); at += n) {
    int state = block_status(b, at, CHUNK, &n), result = 0;
    if (state == BLOCK_STATE_UNALLOCATED) {
      result = block_read(b, at, buf, n);
      if (!result && new)
        result = read_padded(new, at, buf + CHUNK, n);
      else
        memset(buf + CHUNK, 0, n);
      for (uint64_t i = 0, len; i < n && !result; i += len) {
        len = n - i < 65536 ? n - i : 65536;
        if (memcmp(buf + i, buf + CHUNK + i, len))
          result = block_write(b, at + i, buf + i, len);
      }
    }
    if (state < 0 || result)
      return img_error(a, "error at byte %" PRIu64 ": %s", at, strerror(state < 0 ? -state : -result));
    if (a->progress)
      img_progress(at + n, block_size(b));
  }
  return block_flush(b) ? img_error(a, "error while writing") : 0;
}

int img_rebase(const struct img_args *a) {
  const char *error;
  if (a->words != 1 || !a->b)
    return img_error(a, "Expecting one image file name and -b BACKING");
  const char *name = *a->b ? a->b : NULL;
  if (name && !a->F)
    return img_error(a, "backing format must be specified with -F");
  struct block *b = img_open(a, a->word[0], a->f, BLOCK_WRITE | (a->unsafe ? BLOCK_NO_BACKING : 0)),
               *new = NULL;
  int status = !b;
  if (b && !a->unsafe) {
    char *path = name ? beside(a->word[0], name) : NULL;
    uint8_t *buf = malloc(2 * CHUNK);
    new = path ? img_open(a, path, a->F, 0) : NULL;
    status = !buf || (name && !new) || keep_contents(a, b, new, buf);
    free(buf);
    free(path);
  }
  if (!status && block_change_backing(b, name, name ? a->F : NULL, &error))
    status = img_error(a, "%s", error);
  block_close(new);
  block_close(b);
  if (!status && a->progress)
    img_progress_end();
  return status;
}
