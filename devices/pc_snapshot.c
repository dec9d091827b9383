/* SPDX-License-Identifier: MIT */
/*
 * What of the board goes into a snapshot besides its chips: the levels of the ISA lines, the cables of the
 * network cards, and for each drive what the guest has written to an overlay. An image that is written to
 * directly is not saved: it must be the same file, unchanged, when the snapshot is loaded.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/net.h"
#include "core/snapshot.h"
#include "devices/fdc82077.h"
#include "devices/ide.h"
#include "devices/pc.h"
#include "devices/usb/storage.h"

#define IDE_DRIVES 4
#define FLOPPIES 2
#define STORES (IDE_DRIVES + FLOPPIES + BOARD_EXTRAS)

struct drive_store {
  struct pc *pc;
  int number;               /* IDE drives, then floppies; else `usb` */
  const struct device *usb; /* or NULL */
  char name[64], drive[48];
  struct snapshot_store store;
};

struct pc_snapshot {
  struct state_part board;
  struct drive_store drive[STORES];
  unsigned drives;
  int (*change)(void *opaque, const char *drive, const char *path);
  void *opaque;
};

static const struct field board_fields[] = {
    FIELD_ARRAY(U8, struct pc, isa_level),
    FIELD(BOOL, struct pc, booted),
    FIELDS_END,
};

/* --- drives ------------------------------------------------------------------------------------------- */

static struct block *medium(const struct drive_store *d) {
  if (d->usb)
    return usb_storage_block(d->usb);
  return d->number < IDE_DRIVES ? ide_media(d->pc->ide, d->number)
                                : fdc_media(d->pc->fdc, d->number - IDE_DRIVES);
}

static bool removable(const struct drive_store *d) {
  return !d->usb && (d->number >= IDE_DRIVES || ide_is_cdrom(d->pc->ide, d->number));
}

/* What an image is known by, as text. */
struct identity {
  bool inserted, apart;
  uint64_t size;
  int64_t changed; /* ns since 1970; 0: not a file */
  char path[2048];
};

static void identify(const struct block *b, struct identity *id) {
  struct stat st;
  *id = (struct identity){.inserted = b != NULL};
  if (!b)
    return;
  id->apart = !block_writable(b) || block_is_apart(b);
  id->size = block_size(b);
  snprintf(id->path, sizeof id->path, "%s", block_path(b));
  if (strcmp(block_format_name(b), "memory") && stat(id->path, &st) == 0)
    id->changed = st.st_mtim.tv_sec * NS_PER_SEC + st.st_mtim.tv_nsec;
}

static void drive_about(void *opaque, char *text, size_t size) {
  struct identity id;
  struct block *b = medium(opaque);
  if (b)
    block_flush(b); /* so that the time of its last change stands */
  identify(b, &id);
  snprintf(text, size, "%s %s %" PRIu64 " %" PRId64 " %s", id.inserted ? "medium" : "empty",
           id.apart ? "apart" : "direct", id.size, id.changed, id.path);
}

static bool parse(const char *text, struct identity *id) {
  char inserted[8], apart[8];
  int n = 0;
  *id = (struct identity){0};
  if (sscanf(text, "%7s %7s %" SCNu64 " %" SCNd64 " %n", inserted, apart, &id->size, &id->changed, &n) != 4 ||
      !n)
    return false;
  id->inserted = !strcmp(inserted, "medium");
  id->apart = !strcmp(apart, "apart");
  snprintf(id->path, sizeof id->path, "%s", text + n);
  return true;
}

static bool same_medium(const struct identity *a, const struct identity *b) {
  if (a->inserted != b->inserted || a->size != b->size)
    return false;
  return !strcmp(a->path, b->path) || a->changed == b->changed;
}

static int drive_match(void *opaque, const char *text, char *error, size_t size) {
  struct drive_store *d = opaque;
  const struct pc_snapshot *s = d->pc->snapshot;
  struct identity then, now;
  if (!parse(text, &then)) {
    snprintf(error, size, "the snapshot is damaged: it does not say what was in %s", d->drive);
    return -EINVAL;
  }
  identify(medium(d), &now);
  if (!same_medium(&then, &now) && removable(d) && s->change &&
      s->change(s->opaque, d->drive, then.inserted ? then.path : NULL) == 0)
    identify(medium(d), &now);
  if (!same_medium(&then, &now)) {
    snprintf(error, size,
             "the snapshot has '%.300s' (%" PRIu64 " bytes) in %s, and here is '%.300s' (%" PRIu64 ")",
             then.inserted ? then.path : "nothing", then.size, d->drive, now.inserted ? now.path : "nothing",
             now.size);
    return -EINVAL;
  }
  if (then.apart != now.apart) {
    snprintf(error, size, "'%.300s' was %s when the snapshot was made: %s", now.path,
             then.apart ? "used with -snapshot or read-only" : "written to directly",
             then.apart ? "use -snapshot now, too" : "don't use -snapshot now");
    return -EINVAL;
  }
  if (then.changed == now.changed)
    return 0;
  if (!now.apart) {
    snprintf(error, size,
             "'%.300s' was changed after the snapshot was made, and the guest's disk would be damaged; "
             "with -snapshot, what the guest writes becomes part of the snapshot",
             now.path);
    return -EINVAL;
  }
  warn_report(
      "'%s' is not as old as when the snapshot was made: if it is not the same, the guest will be confused",
      now.path);
  return 0;
}

struct save_to {
  struct snapshot_writer *w;
};

static int save_piece(void *opaque, uint64_t offset, const void *data, size_t len) {
  snapshot_put(((struct save_to *)opaque)->w, offset, data, len);
  return 0;
}

static int drive_save(void *opaque, struct snapshot_writer *w) {
  struct block *b = medium(opaque);
  struct save_to to = {w};
  return b ? block_each_written(b, save_piece, &to) : 0;
}

static int drive_clear(void *opaque) {
  struct block *b = medium(opaque);
  return b ? block_forget_written(b) : 0;
}

static int drive_put(void *opaque, uint64_t offset, const void *data, size_t len) {
  struct block *b = medium(opaque);
  return b && block_is_apart(b) ? block_write(b, offset, data, len) : -EINVAL;
}

static int drive_freeze(void *opaque, char *error, size_t size) {
  const char *why = "out of memory";
  struct block *b = medium(opaque);
  int result = b ? block_freeze(b, &why) : 0;
  if (result)
    snprintf(error, size, "%s", why);
  return result;
}

static int drive_forked(void *opaque, char *error, size_t size) {
  const char *why = "out of memory";
  struct block *b = medium(opaque);
  int result = b ? block_forked(b, &why) : 0;
  if (result)
    snprintf(error, size, "%s", why);
  return result;
}

static void add_drive(struct pc *pc, int number, const struct device *usb, const char *drive) {
  struct pc_snapshot *s = pc->snapshot;
  struct drive_store *d = &s->drive[s->drives++];
  d->pc = pc;
  d->number = number;
  d->usb = usb;
  snprintf(d->drive, sizeof d->drive, "%s", drive);
  snprintf(d->name, sizeof d->name, "disk:%s", drive);
  d->store = (struct snapshot_store){.name = d->name,
                                     .opaque = d,
                                     .about = drive_about,
                                     .match = drive_match,
                                     .save = drive_save,
                                     .clear = drive_clear,
                                     .put = drive_put,
                                     .freeze = drive_freeze,
                                     .forked = drive_forked};
  machine_add_store(pc->machine, &d->store);
}

/* --- the whole ---------------------------------------------------------------------------------------- */

int pc_add_snapshot(struct pc *pc) {
  char name[32];
  struct machine *m = pc->machine;
  pc->snapshot = calloc(1, sizeof *pc->snapshot);
  if (!pc->snapshot)
    return -ENOMEM;
  pc->snapshot->board = (struct state_part){.name = "board", .object = pc, .fields = board_fields};
  machine_add_part(m, &pc->snapshot->board);
  for (unsigned i = 0; i < pc->config.extra_count; i++)
    if (pc->config.extra[i].net)
      machine_add_part(m, net_part(pc->config.extra[i].net));
  for (int i = 0; i < IDE_DRIVES; i++)
    if (ide_present(pc->ide, i)) {
      snprintf(name, sizeof name, "ide%d-%s%d", i / 2, ide_is_cdrom(pc->ide, i) ? "cd" : "hd", i % 2);
      add_drive(pc, i, NULL, name);
    }
  for (int i = 0; i < FLOPPIES; i++)
    if (fdc_drive_type(pc->fdc, i) != FDC_DRIVE_NONE) {
      snprintf(name, sizeof name, "floppy%d", i);
      add_drive(pc, IDE_DRIVES + i, NULL, name);
    }
  for (const struct device *dev = m->devices.first; dev; dev = dev->next)
    if (dev->cls == &usb_storage_class)
      add_drive(pc, -1, dev, dev->id);
  return 0;
}

void pc_free_snapshot(struct pc *pc) {
  struct pc_snapshot *s = pc->snapshot;
  if (!s)
    return;
  machine_remove_part(pc->machine, &s->board);
  for (unsigned i = 0; i < pc->config.extra_count; i++)
    if (pc->config.extra[i].net)
      machine_remove_part(pc->machine, net_part(pc->config.extra[i].net));
  for (unsigned i = 0; i < s->drives; i++)
    machine_remove_store(pc->machine, &s->drive[i].store);
  free(s);
  pc->snapshot = NULL;
}

void board_on_other_medium(struct machine *m,
                           int (*change)(void *opaque, const char *drive, const char *path), void *opaque) {
  struct pc *pc = m->board;
  pc->snapshot->change = change;
  pc->snapshot->opaque = opaque;
}
