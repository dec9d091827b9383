/* SPDX-License-Identifier: MIT */
/* Disk images: see media.h. Formats and locks are the block layer's. */
#include "frontends/media.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "core/machine.h"

#define TICK_MS 1000

/* Made by the build from roms/demo/; absent from builds without it. */
extern const unsigned char rom_demo[] __attribute__((weak));
extern const unsigned char rom_demo_end[] __attribute__((weak));

static int open_image(struct block **out, const char *path, const struct block_options *o, char *error,
                      size_t size) {
  const char *why = NULL;
  if (block_open_with(out, path, o, &why) == 0)
    return 0;
  snprintf(error, size, "%s", why ? why : "cannot open the image");
  return -1;
}

/* A disk whose file must not be written to has its write-protect tab set. */
static int open_floppy(struct block **out, const char *path, const struct block_options *o, char *error,
                       size_t size) {
  struct block_options how = *o;
  bool writes = (o->flags & BLOCK_WRITE) && !(o->flags & BLOCK_SNAPSHOT) && !o->overlay;
  if (writes && access(path, W_OK) < 0 && access(path, R_OK) == 0)
    how.flags = 0;
  return open_image(out, path, &how, error, size);
}

static int open_drive(struct media *media, int i, const struct drive_options *d, struct board_config *board,
                      char *error, size_t size) {
  struct media_slot *slot = &media->slot[i];
  bool floppy = i >= FLOPPY_DRIVE(0);
  bool cdrom = d->cdrom || (i == 2 && !d->by); /* an empty CD-ROM drive is part of the machine */
  if (!d->by && !cdrom && i != FLOPPY_DRIVE(0))
    return 0;
  slot->removable = floppy || cdrom;
  if (floppy)
    snprintf(slot->drive, sizeof slot->drive, "floppy%d", i - FLOPPY_DRIVE(0));
  else
    snprintf(slot->drive, sizeof slot->drive, "ide%d-%s%d", i / 2, cdrom ? "cd" : "hd", i % 2);
  struct block_options how = {.flags = cdrom ? BLOCK_CD : 0,
                              .format = d->format,
                              .overlay = d->overlay,
                              .snapshot = d->snapshot_name};
  if (!cdrom && !d->readonly)
    how.flags = BLOCK_WRITE | (media->snapshot || d->snapshot ? BLOCK_SNAPSHOT : 0);
  if (d->file && (floppy ? open_floppy : open_image)(&slot->block, d->file, &how, error, size) < 0)
    return -1;
  if (floppy) {
    board->floppy[i - FLOPPY_DRIVE(0)] = slot->block;
    board->floppy_present[i - FLOPPY_DRIVE(0)] = true;
  } else {
    board->ide[i] = slot->block;
    board->ide_is_cd[i] = cdrom;
    board->ide_serial[i] = d->serial;
  }
  return 0;
}

static int open_none(struct media *media, unsigned i, const struct drive_options *d, char *error,
                     size_t size) {
  struct block_options how = {.format = d->format, .overlay = d->overlay, .snapshot = d->snapshot_name};
  if (!d->readonly)
    how.flags = BLOCK_WRITE | (media->snapshot || d->snapshot ? BLOCK_SNAPSHOT : 0);
  media->none[i].id = d->id;
  return open_image(&media->none[i].block, d->file, &how, error, size);
}

struct block *media_none(const struct media *media, const char *id) {
  for (int i = 0; i < OPTIONS_NONE_DRIVES; i++)
    if (media->none[i].block && !strcmp(media->none[i].id, id))
      return media->none[i].block;
  return NULL;
}

/* Nothing to boot from was named: the built-in demo disk. */
static void use_demo(struct media *media, struct board_config *board) {
  struct media_slot *slot = &media->slot[0];
  slot->block =
      rom_demo ? block_open_memory("demo disk", rom_demo, (uint64_t)(rom_demo_end - rom_demo)) : NULL;
  media->notice = slot->block ? "no disk given: running the built-in demo disk"
                              : "no disk given, and this build has no demo disk";
  if (!slot->block)
    return;
  snprintf(slot->drive, sizeof slot->drive, "ide0-hd0");
  board->ide[0] = slot->block;
}

int media_open(struct media *media, const struct options *o, struct board_config *board, char *error,
               size_t size) {
  bool any = o->kernel || o->bios;
  media->snapshot = o->snapshot;
  for (int i = 0; i < OPTIONS_DRIVES; i++) {
    if (open_drive(media, i, &o->drive[i], board, error, size) < 0)
      return -1;
    any |= o->drive[i].by != NULL;
  }
  for (unsigned i = 0; i < o->none_count; i++) {
    if (open_none(media, i, &o->none[i], error, size) < 0)
      return -1;
    any = true;
  }
  if (!any)
    use_demo(media, board);
  return 0;
}

void media_close(struct media *media) {
  for (int i = 0; i < OPTIONS_DRIVES; i++) {
    block_close(media->slot[i].block);
    media->slot[i].block = NULL;
  }
  for (int i = 0; i < OPTIONS_NONE_DRIVES; i++) {
    block_close(media->none[i].block);
    media->none[i].block = NULL;
  }
}

struct media_slot *media_find(struct media *media, const char *name) {
  if (!strcmp(name, "fda") || !strcmp(name, "fdb"))
    return media->slot[FLOPPY_DRIVE(name[2] - 'a')].drive[0] ? &media->slot[FLOPPY_DRIVE(name[2] - 'a')]
                                                             : NULL;
  for (int i = 0; i < OPTIONS_DRIVES; i++) {
    struct media_slot *slot = &media->slot[i];
    if (!strcmp(slot->drive, name) && *name)
      return slot;
    if (!strcmp(name, "cdrom") && !strncmp(slot->drive + 4, "-cd", 3))
      return slot;
  }
  return NULL;
}

int media_change(struct media *media, struct media_slot *slot, const char *path, const char *format,
                 bool readonly, bool force, char *error, size_t size) {
  struct block *block = NULL;
  bool cdrom = !strncmp(slot->drive + 4, "-cd", 3);
  int (*open)(struct block **, const char *, const struct block_options *, char *, size_t) =
      cdrom ? open_image : open_floppy;
  if (!slot->removable) {
    snprintf(error, size, "Device '%s' is not removable", slot->drive);
    return -1;
  }
  struct block_options how = {
      .flags = cdrom      ? BLOCK_CD
               : readonly ? 0
                          : BLOCK_WRITE | (media->snapshot ? BLOCK_SNAPSHOT : 0),
      .format = format,
  };
  /* The same image again: let go of the old lock first. */
  bool same = path && slot->block && !strcmp(block_path(slot->block), path);
  if (path && !same && open(&block, path, &how, error, size) < 0)
    return -1;
  int r = board_change_media(media->machine, slot->drive, block, force);
  if (r < 0) {
    block_close(block);
    if (r == -EBUSY)
      snprintf(error, size,
               "Device '%s' is locked and force was not specified, wait for tray to open and try again",
               slot->drive);
    else
      snprintf(error, size, "Device '%s': %s", slot->drive, strerror(-r));
    return -1;
  }
  if (slot->block)
    block_flush(slot->block);
  block_close(slot->block);
  slot->block = block;
  if (!same)
    return 0;
  if (open(&block, path, &how, error, size) < 0)
    return -1;
  slot->block = block;
  r = board_change_media(media->machine, slot->drive, block, true);
  if (r < 0)
    snprintf(error, size, "Device '%s': %s", slot->drive, strerror(-r));
  return r < 0 ? -1 : 0;
}

struct block *media_block(struct media *media, const char *name) {
  struct media_slot *slot = media_find(media, name);
  return slot ? slot->block : media_none(media, name);
}

static void tick_all(struct media *media, bool *any) {
  for (int i = 0; i < OPTIONS_DRIVES + OPTIONS_NONE_DRIVES; i++) {
    struct block *b = i < OPTIONS_DRIVES ? media->slot[i].block : media->none[i - OPTIONS_DRIVES].block;
    if (!b || !block_ticks(b))
      continue;
    if (any)
      *any = true;
    else
      block_tick(b);
  }
}

static unsigned prepare(void *opaque, struct pollfd *fds, unsigned max, int *timeout_ms) {
  bool any = false;
  (void)fds, (void)max;
  tick_all(opaque, &any);
  if (any && (*timeout_ms < 0 || *timeout_ms > TICK_MS))
    *timeout_ms = TICK_MS;
  return 0;
}

static void dispatch(void *opaque, struct pollfd *fds, unsigned count) {
  struct media *media = opaque;
  struct timespec now;
  bool any = false;
  (void)fds, (void)count;
  clock_gettime(CLOCK_MONOTONIC, &now);
  int64_t ms = now.tv_sec * 1000ll + now.tv_nsec / 1000000;
  tick_all(media, &any);
  if (!any || ms - media->ticked < TICK_MS)
    return;
  media->ticked = ms;
  machine_lock(media->machine);
  tick_all(media, NULL);
  machine_unlock(media->machine);
}

void media_watch(struct media *media, struct loop *loop) {
  media->source = (struct loop_source){.prepare = prepare, .dispatch = dispatch, .opaque = media};
  loop_add_source(loop, &media->source);
}
