/* SPDX-License-Identifier: MIT */
/*
 * Images of compact discs: frames (sectors of ECMA-130) out of cue sheets' files, out of a raw track without
 * a cue sheet, and out of plain images of 2048-byte sectors.
 *
 * Not modelled: EDC and ECC of sectors that are stored without them (zeros), subchannels in images.
 */
#include "devices/block/disc_int.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHEET_MAX 262144 /* bytes of a cue sheet */
#define MODE1_DATA 16u   /* where user data begins in a frame */
#define MODE2_DATA 24u
#define MODE2_SUBHEADER 16u

static const uint8_t sync_bytes[12] = {0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0};

/* --- files -------------------------------------------------------------------------------------------- */

static uint32_t le32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Find format and samples of a RIFF WAVE file; false if it isn't what a CD holds. */
static bool wave_samples(struct disc_file *f) {
  uint8_t head[12], chunk[8], format[16];
  bool known = false;
  if (f->size < 12 || file_read(f->fd, 0, head, 12) || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4))
    return false;
  uint64_t at = 12;
  for (int n = 0; n < 64 && at + 8 <= f->size; n++) {
    if (file_read(f->fd, at, chunk, 8))
      return false;
    uint32_t len = le32(chunk + 4);
    at += 8;
    if (!memcmp(chunk, "fmt ", 4) && len >= 16 && at + 16 <= f->size) {
      if (file_read(f->fd, at, format, 16))
        return false;
      bool pcm = (format[0] == 1 && format[1] == 0) || (format[0] == 0xfe && format[1] == 0xff);
      known = pcm && format[2] == 2 && format[3] == 0 && le32(format + 4) == 44100 && format[14] == 16;
    } else if (!memcmp(chunk, "data", 4)) {
      f->begin = at;
      f->size = len < f->size - at ? len : f->size - at;
      return known;
    }
    at += (uint64_t)len + (len & 1);
  }
  return false;
}

int disc_add_file(struct disc_image *image, const char *path, bool wave, bool swapped, const char **error) {
  if (image->files == DISC_TRACKS) {
    *error = block_message("'%s': a disc has at most %u files", path, DISC_TRACKS);
    return -EINVAL;
  }
  struct disc_file *f = &image->file[image->files];
  *f = (struct disc_file){
      .fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), .wave = wave, .swapped = swapped};
  if (f->fd < 0) {
    int code = errno;
    *error = block_message("cannot open '%s' of the disc: %s", path, strerror(code));
    return -code;
  }
  image->files++; /* whoever frees the image closes it */
  struct stat st;
  struct flock all = {.l_type = F_RDLCK, .l_whence = SEEK_SET};
  if (fstat(f->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
    *error = block_message("'%s' of the disc is not a file", path);
    return -EINVAL;
  }
  if (fcntl(f->fd, F_OFD_SETLK, &all) < 0 && (errno == EAGAIN || errno == EACCES)) {
    *error = block_message("'%s' of the disc is in use by a program that writes to it", path);
    return -EBUSY;
  }
  f->size = (uint64_t)st.st_size;
  if (wave && !wave_samples(f)) {
    *error = block_message("'%s' is not a WAVE file of 44100 Hz, 16 bits, stereo", path);
    return -EINVAL;
  }
  return (int)image->files - 1;
}

static void image_free(struct disc_image *image) {
  for (unsigned i = 0; image && i < image->files; i++)
    close(image->file[i].fd);
  free(image);
}

/* --- frames ------------------------------------------------------------------------------------------- */

void disc_plain(struct disc *disc, uint64_t bytes) {
  uint64_t n = (bytes + DISC_DATA - 1) / DISC_DATA;
  memset(disc, 0, sizeof *disc);
  disc->first = disc->tracks = 1;
  disc->leadout = n > INT32_MAX ? INT32_MAX : (uint32_t)n;
  disc->track[0] = (struct disc_track){.control = DISC_IS_DATA, .mode = DISC_MODE1, .end = disc->leadout};
}

const struct disc *block_disc(const struct block *b) { return b && b->image ? &b->image->disc : NULL; }

const struct disc_track *disc_track_at(const struct disc *disc, uint32_t lba) {
  for (unsigned i = 0; i < disc->tracks; i++)
    if (lba >= disc->track[i].pregap && lba < disc->track[i].end)
      return &disc->track[i];
  return NULL;
}

static const struct disc_extent *extent_at(const struct disc_image *image, uint32_t lba) {
  for (unsigned i = 0; i < image->extents; i++)
    if (lba - image->extent[i].lba < image->extent[i].count)
      return &image->extent[i];
  return NULL;
}

/* Bytes of a file; zeros behind its end. */
static int read_file(const struct disc_file *f, uint64_t offset, uint8_t *to, uint64_t len) {
  uint64_t n = offset >= f->size ? 0 : f->size - offset < len ? f->size - offset : len;
  memset(to + n, 0, len - n);
  int result = n ? file_read(f->fd, f->begin + offset, to, n) : 0;
  return result == -ENODATA ? -EIO : result;
}

static uint8_t bcd(uint32_t n) { return (uint8_t)(n / 10 << 4 | n % 10); }

/* Sync and header. */
static void frame_head(uint8_t *frame, uint32_t lba, uint8_t mode) {
  uint32_t n = lba + DISC_LEAD;
  memcpy(frame, sync_bytes, sizeof sync_bytes);
  frame[12] = bcd(n / 4500 % 100);
  frame[13] = bcd(n / 75 % 60);
  frame[14] = bcd(n % 75);
  frame[15] = mode;
}

static int plain_frame(struct block *b, uint32_t lba, uint8_t *frame) {
  uint64_t size = block_size(b), offset = (uint64_t)lba * DISC_DATA;
  if (offset >= size)
    return -EINVAL;
  uint64_t n = size - offset < DISC_DATA ? size - offset : DISC_DATA;
  memset(frame, 0, DISC_FRAME);
  frame_head(frame, lba, DISC_MODE1);
  return block_read(b, offset, frame + MODE1_DATA, n);
}

int block_read_frame(struct block *b, uint32_t lba, uint8_t frame[DISC_FRAME]) {
  if (!b->image)
    return plain_frame(b, lba, frame);
  const struct disc_extent *e = extent_at(b->image, lba);
  if (!e)
    return -EINVAL;
  const struct disc_file *f = e->file < 0 ? NULL : &b->image->file[e->file];
  uint64_t offset = e->offset + (uint64_t)(lba - e->lba) * e->stride;
  if (f && e->stride == DISC_FRAME) {
    int result = read_file(f, offset, frame, DISC_FRAME);
    for (unsigned i = 0; f->swapped && e->mode == DISC_AUDIO && i < DISC_FRAME; i += 2) {
      uint8_t low = frame[i];
      frame[i] = frame[i + 1];
      frame[i + 1] = low;
    }
    return result;
  }
  memset(frame, 0, DISC_FRAME);
  if (e->mode != DISC_AUDIO)
    frame_head(frame, lba, e->mode);
  if (!f)
    return 0;
  unsigned at = e->stride == 2336 ? MODE2_SUBHEADER : e->mode == DISC_MODE1 ? MODE1_DATA : MODE2_DATA;
  return read_file(f, offset, frame + at, e->stride);
}

/* --- the block: 2048 bytes a sector ------------------------------------------------------------------- */

static int disc_read(struct block *b, uint64_t offset, void *buf, uint64_t len) {
  for (uint8_t *to = buf; len;) {
    uint32_t lba = (uint32_t)(offset / DISC_DATA), in = (uint32_t)(offset % DISC_DATA);
    uint64_t n = DISC_DATA - in < len ? DISC_DATA - in : len;
    const struct disc_extent *e = extent_at(b->image, lba);
    if (!e || e->mode == DISC_AUDIO)
      return -EIO;
    unsigned skip = e->stride == 2048       ? 0
                    : e->stride == 2336     ? 8
                    : e->mode == DISC_MODE1 ? MODE1_DATA
                                            : MODE2_DATA;
    uint64_t at = e->offset + (uint64_t)(lba - e->lba) * e->stride + skip + in;
    int result = 0;
    if (e->file < 0)
      memset(to, 0, n);
    else
      result = read_file(&b->image->file[e->file], at, to, n);
    if (result)
      return result;
    to += n, offset += n, len -= n;
  }
  return 0;
}

static int disc_write(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  (void)b, (void)offset, (void)buf, (void)len;
  return -EROFS;
}

static int disc_flush(struct block *b) {
  (void)b;
  return 0;
}

static void disc_close(struct block *b) { image_free(b->image); }

static const struct block_driver disc_driver = {
    .read = disc_read, .write = disc_write, .flush = disc_flush, .close = disc_close};

/* --- opening ------------------------------------------------------------------------------------------ */

static bool named_cue(const char *path) {
  size_t n = strlen(path);
  return n > 4 && !strcasecmp(path + n - 4, ".cue");
}

static int read_sheet(struct disc_image *image, const char *path, const char **error) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), code = errno;
  if (fd < 0) {
    *error = block_message("cannot open cue sheet '%s': %s", path, strerror(code));
    return -code;
  }
  int result = -EINVAL;
  char *text = NULL;
  if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > SHEET_MAX)
    *error = block_message("'%s' is not a cue sheet", path);
  else if (!(text = malloc((size_t)st.st_size + 1)))
    result = -ENOMEM;
  else if ((result = file_read(fd, 0, text, (uint64_t)st.st_size)))
    *error = block_message("cannot read cue sheet '%s': %s", path, strerror(-result));
  else
    result = cue_parse(image, path, text, (size_t)st.st_size, error);
  free(text);
  close(fd);
  return result;
}

/* A track as it was read off the disc, without a cue sheet? */
static bool raw_track(struct disc_image *image, const char *path) {
  uint8_t head[16];
  const char *ignored;
  if (disc_add_file(image, path, false, false, &ignored) < 0)
    return false;
  const struct disc_file *f = &image->file[0];
  uint64_t frames = f->size / DISC_FRAME;
  if (!frames || f->size % DISC_FRAME || frames > DISC_MAX_FRAMES || file_read(f->fd, 0, head, 16) ||
      memcmp(head, sync_bytes, 12) || (head[15] != DISC_MODE1 && head[15] != DISC_MODE2))
    return false;
  disc_plain(&image->disc, frames * DISC_DATA);
  image->disc.track[0].mode = head[15];
  image->extent[0] = (struct disc_extent){.count = (uint32_t)frames, .stride = DISC_FRAME, .mode = head[15]};
  image->extents = 1;
  return true;
}

int disc_open(struct block *b, const char **error) {
  struct disc_image *image = calloc(1, sizeof *image);
  if (!image)
    return -ENOMEM;
  int result = 1;
  if (named_cue(b->path))
    result = read_sheet(image, b->path, error);
  else if (raw_track(image, b->path))
    result = 0;
  if (result) {
    image_free(image);
    return result;
  }
  b->image = image;
  b->driver = &disc_driver;
  b->size = b->file_size = (uint64_t)image->disc.leadout * DISC_DATA;
  return 0;
}
