/* SPDX-License-Identifier: MIT */
/*
 * Saving and loading a machine. Loading goes in two steps: first everything is looked at (checksums, names
 * and sizes of all fields, the devices' own checks) and undone if something is wrong; only then memory and
 * disks are replaced.
 *
 * The TLB is no part of a machine's state, but a guest that clears accessed bits without flushing can tell
 * whether there was one. So saving flushes it, and the machine that goes on and the one that is loaded are
 * alike.
 */
#include "core/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/audio.h"
#include "core/machine.h"
#include "core/paging.h"
#include "core/segment.h"
#include "core/snapfile.h"

#define ABOUT "machine"
#define CHUNK (1u << 20)  /* bytes of contents in a section */
#define EXTENTS_MAX 8192u /* pieces in a section */
#define EXTENT_BYTES 12u
#define ABOUT_MAX 16384u

struct part { /* one table of fields: the machine's own, a device's or an added one */
  char name[SNAPFILE_NAME + 1];
  void *object;
  const struct field *fields;
  struct device *dev;             /* NULL, or whose it is */
  const struct state_part *extra; /* NULL, or its hooks */
  struct state_buf before;        /* while loading: to undo it */
};

struct parts {
  struct part *part;
  size_t count, size;
  bool failed;
};

/* --- the machine's own -------------------------------------------------------------------------------- */

struct machine_part { /* what struct machine has, and what is saved otherwise than it is kept */
  uint64_t slices, halts, resets, slice_until;
  uint64_t tsc;
  int64_t now;
  uint32_t slice_seed, buttons, x, y, chosen;
  bool reset_wanted;
};

static const struct field machine_fields[] = {
    FIELD(U64, struct machine_part, slices),
    FIELD(U64, struct machine_part, halts),
    FIELD(U64, struct machine_part, resets),
    FIELD(U64, struct machine_part, slice_until),
    FIELD(U64, struct machine_part, tsc),
    FIELD(I64, struct machine_part, now),
    FIELD(U32, struct machine_part, slice_seed),
    FIELD(U32, struct machine_part, buttons),
    FIELD(U32, struct machine_part, x),
    FIELD(U32, struct machine_part, y),
    FIELD(U32, struct machine_part, chosen),
    FIELD(BOOL, struct machine_part, reset_wanted),
    FIELDS_END,
};

static struct machine_part machine_part(struct machine *m) {
  return (struct machine_part){
      .slices = m->stat.slices,
      .halts = m->stat.halts,
      .resets = m->stat.resets,
      .slice_until = m->slice_until,
      .tsc = cpu_tsc(m->cpu[0]),
      .now = clock_now(m->clock),
      .slice_seed = m->slice_seed,
      .buttons = (uint32_t)m->input.buttons,
      .x = (uint32_t)m->input.x,
      .y = (uint32_t)m->input.y,
      .chosen = m->input.chosen,
      .reset_wanted = m->reset_wanted,
  };
}

static void set_machine_part(struct machine *m, const struct machine_part *s) {
  m->stat.slices = s->slices;
  m->stat.halts = s->halts;
  m->stat.resets = s->resets;
  m->slice_seed = s->slice_seed;
  m->slice_until = s->slice_until - m->cpu[0]->icount < 1u << 20 ? s->slice_until : 0;
  m->settled = true;
  m->input.buttons = (int)s->buttons;
  m->input.x = (int)(s->x & INPUT_ABS_MAX);
  m->input.y = (int)(s->y & INPUT_ABS_MAX);
  m->input.chosen = s->chosen <= m->input.pointer_count ? s->chosen : 0;
  m->reset_wanted = s->reset_wanted;
  clock_set_now(m->clock, s->now);
  m->cpu[0]->tsc_offset += s->tsc - cpu_tsc(m->cpu[0]); /* zero, unless the counter has another rate here */
}

/* --- all tables --------------------------------------------------------------------------------------- */

static struct part *add_part(struct parts *all, const char *kind, const char *name, void *object,
                             const struct field *fields) {
  static struct part none;
  if (all->count == all->size) {
    size_t size = all->size ? all->size * 2 : 64;
    struct part *more = realloc(all->part, size * sizeof *more);
    if (!more) {
      all->failed = true;
      return &none;
    }
    all->part = more;
    all->size = size;
  }
  struct part *p = &all->part[all->count++];
  *p = (struct part){.object = object, .fields = fields};
  snprintf(p->name, sizeof p->name, "%s%s", kind, name);
  return p;
}

static void add_extra(void *opaque, const struct state_part *extra) {
  add_part(opaque, "", extra->name, extra->object, extra->fields)->extra = extra;
}

static void collect(struct parts *all, struct machine *m, struct machine_part *own) {
  *all = (struct parts){0};
  add_part(all, "", "state", own, machine_fields);
  add_part(all, "", "cpu", m->cpu[0], cpu_fields());
  add_part(all, "", "cpu more", m->cpu[0], cpu_more_fields());
  for (struct device *d = m->devices.first; d; d = d->next)
    add_part(all, "device:", d->id, d, d->cls->fields)->dev = d;
  audio_each_part(m->audio, add_extra, all);
  for (const struct state_part *p = m->parts; p; p = p->next)
    add_extra(all, p);
}

static void forget(struct parts *all) {
  for (size_t i = 0; i < all->count; i++)
    free(all->part[i].before.data);
  free(all->part);
}

/* --- which machine ------------------------------------------------------------------------------------ */

/* One line for each thing that must be the same where it is loaded. */
static void describe(struct machine *m, char *text, size_t size) {
  size_t n = (size_t)snprintf(text, size, "processor %s\nmemory %u MB\n", m->config.cpu_model->name,
                              m->config.ram_mb);
  for (const struct mem_block *b = m->mem->blocks; b && n < size; b = b->next)
    n += (size_t)snprintf(text + n, size - n, "block %s of %llu bytes\n", b->name,
                          (unsigned long long)b->size);
  for (const struct device *d = m->devices.first; d && n < size; d = d->next)
    n += (size_t)snprintf(text + n, size - n, "device %s (%s)\n", d->id, d->cls->name);
}

static size_t line_length(const char *p) { return strcspn(p, "\n"); }

/* The first line that differs. */
static int same_machine(struct machine *m, const char *theirs, char *error, size_t size) {
  char *ours = calloc(1, ABOUT_MAX);
  if (!ours) {
    snprintf(error, size, "out of memory");
    return -ENOMEM;
  }
  describe(m, ours, ABOUT_MAX);
  const char *a = theirs, *b = ours;
  while (*a && *b && line_length(a) == line_length(b) && !strncmp(a, b, line_length(a))) {
    a += line_length(a) + (a[line_length(a)] == '\n');
    b += line_length(b) + (b[line_length(b)] == '\n');
  }
  int result = 0;
  if (*a || *b) {
    int left = *a ? (int)line_length(a) : 7, right = *b ? (int)line_length(b) : 7;
    snprintf(error, size, "the snapshot is of another machine: it has '%.*s' where this one has '%.*s'",
             left < 200 ? left : 200, *a ? a : "nothing", right < 200 ? right : 200, *b ? b : "nothing");
    result = -EINVAL;
  }
  free(ours);
  return result;
}

/* --- contents by offset ------------------------------------------------------------------------------- */

struct snapshot_writer {
  struct snapfile_out *file;
  const char *name;
  uint32_t extents;
  uint64_t next; /* offset behind the last extent */
  uint8_t *list; /* extents: offset, length */
  uint8_t *data;
  size_t len;
  uint8_t *section;
  bool failed;
};

static void writer_flush(struct snapshot_writer *w) {
  if (!w->extents)
    return;
  size_t list = (size_t)w->extents * EXTENT_BYTES;
  memcpy(w->section, &w->extents, 4);
  memcpy(w->section + 4, w->list, list);
  memcpy(w->section + 4 + list, w->data, w->len);
  snapfile_put(w->file, w->name, w->section, 4 + list + w->len);
  w->extents = 0;
  w->len = 0;
}

static bool writer_init(struct snapshot_writer *w, struct snapfile_out *file) {
  *w = (struct snapshot_writer){.file = file};
  w->list = malloc((size_t)EXTENTS_MAX * EXTENT_BYTES);
  w->data = malloc(CHUNK);
  w->section = malloc(4 + (size_t)EXTENTS_MAX * EXTENT_BYTES + CHUNK);
  return w->list && w->data && w->section;
}

static void writer_free(struct snapshot_writer *w) {
  free(w->list);
  free(w->data);
  free(w->section);
}

void snapshot_put(struct snapshot_writer *w, uint64_t offset, const void *data, size_t len) {
  for (const uint8_t *from = data; len;) {
    if (w->len == CHUNK || w->extents == EXTENTS_MAX)
      writer_flush(w);
    uint32_t n = (uint32_t)(len < CHUNK - w->len ? len : CHUNK - w->len);
    memcpy(w->data + w->len, from, n);
    uint8_t *last = w->list + ((size_t)w->extents - 1) * EXTENT_BYTES;
    if (w->extents && w->next == offset) {
      uint32_t longer;
      memcpy(&longer, last + 8, 4);
      longer += n;
      memcpy(last + 8, &longer, 4);
    } else {
      memcpy(last + EXTENT_BYTES, &offset, 8);
      memcpy(last + EXTENT_BYTES + 8, &n, 4);
      w->extents++;
    }
    w->len += n, from += n, len -= n, offset += n;
    w->next = offset;
  }
}

/* Hand each piece of the section to the store. */
static int take_section(const struct snapshot_store *store, const uint8_t *data, size_t len) {
  uint32_t extents;
  if (len < 4)
    return -EINVAL;
  memcpy(&extents, data, 4);
  if (extents > EXTENTS_MAX || len - 4 < (size_t)extents * EXTENT_BYTES)
    return -EINVAL;
  const uint8_t *from = data + 4 + (size_t)extents * EXTENT_BYTES;
  size_t left = len - 4 - (size_t)extents * EXTENT_BYTES;
  for (uint32_t i = 0; i < extents; i++) {
    uint64_t offset;
    uint32_t n;
    memcpy(&offset, data + 4 + (size_t)i * EXTENT_BYTES, 8);
    memcpy(&n, data + 4 + (size_t)i * EXTENT_BYTES + 8, 4);
    if (n > left)
      return -EINVAL;
    int result = store->put(store->opaque, offset, from, n);
    if (result)
      return result;
    from += n, left -= n;
  }
  return left ? -EINVAL : 0;
}

static int load_store(const struct snapfile_in *f, const struct snapshot_store *store, char *error,
                      size_t size) {
  int result = store->clear(store->opaque);
  for (size_t i = 0; !result && i < f->count; i++) {
    if (strcmp(f->section[i].name, store->name))
      continue;
    uint8_t *data = snapfile_read(f, &f->section[i], error, size);
    if (!data)
      return -EINVAL;
    result = take_section(store, data, f->section[i].raw);
    free(data);
  }
  if (result == -EINVAL)
    snprintf(error, size, "the snapshot '%s' is damaged: contents of %s that cannot be", f->path,
             store->name);
  else if (result)
    snprintf(error, size, "cannot load %s from the snapshot '%s': %s", store->name, f->path,
             strerror(-result));
  return result;
}

/* --- memory ------------------------------------------------------------------------------------------- */

struct memory_store {
  struct mem *mem;
  struct mem_block *block;
  char name[SNAPFILE_NAME + 1];
};

static bool is_zero(const uint8_t *page) {
  const uint64_t *p = (const uint64_t *)page;
  for (unsigned i = 0; i < MEM_PAGE / 8; i += 8)
    if (p[i] | p[i + 1] | p[i + 2] | p[i + 3] | p[i + 4] | p[i + 5] | p[i + 6] | p[i + 7])
      return false;
  return true;
}

/* Only what was ever touched is looked at: a look at a hole of the memory file would fill it. */
static int save_memory(void *opaque, struct snapshot_writer *w) {
  const struct memory_store *s = opaque;
  const struct mem_block *b = s->block;
  off_t end = (off_t)(b->fd_offset + b->size);
  for (off_t at = (off_t)b->fd_offset, hole; at < end; at = hole) {
    at = lseek(s->mem->fd, at, SEEK_DATA);
    if (at < 0 || at >= end)
      return at < 0 && errno != ENXIO ? -errno : 0;
    hole = lseek(s->mem->fd, at, SEEK_HOLE);
    if (hole < 0)
      return -errno;
    for (off_t page = at & ~(off_t)(MEM_PAGE - 1); page < hole && page < end; page += MEM_PAGE) {
      uint64_t offset = (uint64_t)page - b->fd_offset;
      if (!is_zero(b->host + offset))
        snapshot_put(w, offset, b->host + offset, MEM_PAGE);
    }
  }
  return 0;
}

static int clear_memory(void *opaque) {
  mem_block_clear(((struct memory_store *)opaque)->block);
  return 0;
}

static int put_memory(void *opaque, uint64_t offset, const void *data, size_t len) {
  struct mem_block *b = ((struct memory_store *)opaque)->block;
  if (offset > b->size || len > b->size - offset)
    return -EINVAL;
  memcpy(b->host + offset, data, len);
  return 0;
}

static struct snapshot_store memory_store(struct memory_store *s, struct machine *m, struct mem_block *b,
                                          unsigned n) {
  *s = (struct memory_store){.mem = m->mem, .block = b};
  snprintf(s->name, sizeof s->name, "memory:%u:%s", n, b->name);
  return (struct snapshot_store){
      .name = s->name, .opaque = s, .save = save_memory, .clear = clear_memory, .put = put_memory};
}

/* --- saving ------------------------------------------------------------------------------------------- */

static void save_tables(struct snapfile_out *f, struct parts *all) {
  for (size_t i = 0; i < all->count; i++) {
    struct state_buf b = {0};
    state_pack(&b, all->part[i].object, all->part[i].fields);
    all->failed |= b.failed;
    if (!b.failed)
      snapfile_put(f, all->part[i].name, b.data, b.len);
    free(b.data);
  }
}

static int save_store(struct snapshot_writer *w, const struct snapshot_store *store) {
  char name[SNAPFILE_NAME + 8], text[4096] = "";
  if (store->about) {
    snprintf(name, sizeof name, "about %s", store->name);
    store->about(store->opaque, text, sizeof text);
    snapfile_put(w->file, name, text, strlen(text));
  }
  w->name = store->name;
  int result = store->save(store->opaque, w);
  writer_flush(w);
  return result;
}

static void tell(const struct snapshot_progress *p, uint64_t done, uint64_t total) {
  if (p && p->tell)
    p->tell(p->opaque, (unsigned)(total ? done * 100 / total : 100));
}

static int save_contents(struct machine *m, struct snapfile_out *f,
                         const struct snapshot_progress *progress) {
  struct snapshot_writer w;
  struct memory_store s;
  unsigned n = 0;
  uint64_t done = 0, total = m->mem->fd_size;
  int result = writer_init(&w, f) ? 0 : -ENOMEM;
  for (struct mem_block *b = m->mem->blocks; b && !result; b = b->next) {
    struct snapshot_store store = memory_store(&s, m, b, n++);
    tell(progress, done, total);
    result = save_store(&w, &store);
    done += b->size;
  }
  for (const struct snapshot_store *store = m->stores; store && !result; store = store->next)
    result = save_store(&w, store);
  writer_free(&w);
  tell(progress, total, total);
  return result;
}

int machine_save(struct machine *m, const char *path, const struct snapshot_progress *progress, char *error,
                 size_t size) {
  struct snapfile_out *f = snapfile_create(path, error, size);
  if (!f)
    return -EIO;
  for (unsigned i = 0; i < m->cpu_count && !m->replay; i++) /* nobody knows of it in a replay */
    tlb_flush(m->cpu[i], false);
  char *about = calloc(1, ABOUT_MAX);
  struct parts all;
  struct machine_part own = machine_part(m);
  collect(&all, m, &own);
  if (about) {
    describe(m, about, ABOUT_MAX);
    snapfile_put(f, ABOUT, about, strlen(about));
    save_tables(f, &all);
  }
  int result = !about || all.failed ? -ENOMEM : save_contents(m, f, progress);
  forget(&all);
  free(about);
  if (!result)
    return snapfile_finish(f, error, size);
  snprintf(error, size, "cannot write the snapshot '%s': %s", path, strerror(-result));
  snapfile_abandon(f);
  return result;
}

/* --- loading ------------------------------------------------------------------------------------------ */

static int bad_part(const struct snapfile_in *f, const struct part *p, const char *what, char *error,
                    size_t size) {
  snprintf(error, size, "the snapshot '%s' does not fit: %s: %s", f->path, p->dev ? p->dev->id : p->name,
           what);
  return -EINVAL;
}

/* The contents of a part's section. */
static uint8_t *read_part(const struct snapfile_in *f, const struct part *p, size_t *len, char *error,
                          size_t size) {
  const struct snapfile_section *s = snapfile_find(f, p->name);
  if (!s) {
    bad_part(f, p, "it is not in there", error, size);
    return NULL;
  }
  *len = s->raw;
  return snapfile_read(f, s, error, size);
}

/* Look at (look) or load all tables. */
static int load_tables(const struct snapfile_in *f, struct parts *all, bool look, struct state_timers *timers,
                       char *error, size_t size) {
  for (size_t i = 0; i < all->count; i++) {
    struct part *p = &all->part[i];
    char what[128] = "", text[160];
    size_t len;
    if (p->extra && p->extra->optional && !snapfile_find(f, p->name))
      continue;
    uint8_t *data = read_part(f, p, &len, error, size);
    if (!data)
      return -EINVAL;
    int result = state_unpack(data, len, look ? NULL : p->object, p->fields, timers, what, sizeof what);
    free(data);
    snprintf(text, sizeof text, "its state has another form here (%s)", what);
    if (result == -EINVAL)
      return bad_part(f, p, text, error, size);
    if (result)
      return bad_part(f, p, "out of memory", error, size);
  }
  return 0;
}

static int check_parts(const struct snapfile_in *f, const struct parts *all, char *error, size_t size) {
  for (size_t i = 0; i < all->count; i++) {
    const struct part *p = &all->part[i];
    const char *what = p->dev && p->dev->cls->check  ? p->dev->cls->check(p->dev)
                       : p->extra && p->extra->check ? p->extra->check(p->object)
                                                     : NULL;
    if (what)
      return bad_part(f, p, what, error, size);
  }
  return 0;
}

static int check_stores(struct machine *m, const struct snapfile_in *f, char *error, size_t size) {
  for (const struct snapshot_store *store = m->stores; store; store = store->next) {
    char name[SNAPFILE_NAME + 8];
    snprintf(name, sizeof name, "about %s", store->name);
    const struct snapfile_section *s = snapfile_find(f, name);
    if (!s || s->raw >= ABOUT_MAX) {
      snprintf(error, size, "the snapshot '%s' has nothing of %s", f->path, store->name);
      return -EINVAL;
    }
    char *text = (char *)snapfile_read(f, s, error, size), *line = text ? strndup(text, s->raw) : NULL;
    int result = !text ? -EINVAL : !line ? -ENOMEM : store->match(store->opaque, line, error, size);
    free(text);
    free(line);
    if (result)
      return result;
  }
  return 0;
}

/* All that can be told without changing anything. */
static int look(struct machine *m, const struct snapfile_in *f, struct parts *all, char *error, size_t size) {
  const struct snapfile_section *s = snapfile_find(f, ABOUT);
  if (!s || s->raw >= ABOUT_MAX) {
    snprintf(error, size, "the snapshot '%s' is damaged: it does not say which machine it is of", f->path);
    return -EINVAL;
  }
  char *text = (char *)snapfile_read(f, s, error, size), *about = text ? strndup(text, s->raw) : NULL;
  int result = about ? same_machine(m, about, error, size) : -EINVAL;
  free(text);
  free(about);
  if (!result)
    result = load_tables(f, all, true, NULL, error, size);
  return result ? result : check_stores(m, f, error, size);
}

static bool remember(struct parts *all) {
  for (size_t i = 0; i < all->count; i++) {
    state_pack(&all->part[i].before, all->part[i].object, all->part[i].fields);
    if (all->part[i].before.failed)
      return false;
  }
  return true;
}

static void undo(struct parts *all) {
  char what[8];
  for (size_t i = 0; i < all->count; i++) {
    const struct part *p = &all->part[i];
    state_unpack(p->before.data, p->before.len, p->object, p->fields, NULL, what, sizeof what);
  }
}

static int load_contents(struct machine *m, const struct snapfile_in *f, char *error, size_t size) {
  struct memory_store s;
  unsigned n = 0;
  for (struct mem_block *b = m->mem->blocks; b; b = b->next) {
    struct snapshot_store store = memory_store(&s, m, b, n++);
    int result = load_store(f, &store, error, size);
    if (result)
      return result;
    mem_log_mark(b, 0, b->size);
  }
  for (const struct snapshot_store *store = m->stores; store; store = store->next) {
    int result = load_store(f, store, error, size);
    if (result)
      return result;
  }
  return 0;
}

/* What follows from the tables. */
static void rebuild(struct machine *m, const struct parts *all) {
  cpu_loaded(m->cpu[0]);
  for (size_t i = 0; i < all->count; i++) {
    const struct part *p = &all->part[i];
    if (p->dev && p->dev->cls->loaded)
      p->dev->cls->loaded(p->dev);
    else if (p->extra && p->extra->loaded)
      p->extra->loaded(p->object);
  }
  if (m->display && m->display->invalidate)
    m->display->invalidate(m->display);
}

static int load(struct machine *m, const struct snapfile_in *f, char *error, size_t size) {
  struct parts all;
  struct machine_part own;
  struct state_timers timers = {0};
  collect(&all, m, &own);
  int result = all.failed || !remember(&all) ? -ENOMEM : 0;
  if (result)
    snprintf(error, size, "out of memory");
  else
    result = look(m, f, &all, error, size);
  if (!result) {
    result = load_tables(f, &all, false, &timers, error, size);
    if (!result)
      result = check_parts(f, &all, error, size);
    if (result)
      undo(&all);
  }
  if (!result) { /* no way back from here */
    result = load_contents(m, f, error, size);
    if (!result) {
      set_machine_part(m, &own);
      state_apply_timers(&timers);
      rebuild(m, &all);
      result = machine_restart_engine(m);
      if (result)
        snprintf(error, size, "cannot start the engine anew: %s", strerror(-result));
    }
    machine_loaded(m, result == 0);
  }
  free(timers.timer);
  forget(&all);
  return result;
}

int machine_load(struct machine *m, const char *path, char *error, size_t size) {
  struct snapfile_in f;
  if (m->replay) {
    snprintf(error, size, "no snapshot can be loaded while a run is recorded or replayed");
    return -EBUSY;
  }
  int result = snapfile_open(&f, path, error, size);
  if (result)
    return result;
  machine_settle_forks(m);
  result = load(m, &f, error, size);
  snapfile_close(&f);
  return result;
}

static const struct field count_field[] = {{FIELD_U64, "icount", 0, 1}, FIELDS_END};

int snapshot_info(const char *path, struct snapshot_info *info, char *error, size_t size) {
  struct snapfile_in f;
  struct machine_part own = {0};
  char what[128];
  int result = snapfile_open(&f, path, error, size);
  if (result)
    return result;
  *info = (struct snapshot_info){0};
  for (int i = 0; i < 2 && !result; i++) {
    const struct snapfile_section *s = snapfile_find(&f, i ? "cpu more" : "state");
    uint8_t *data = s ? snapfile_read(&f, s, error, size) : NULL;
    result = data ? 0 : -EINVAL;
    if (!s)
      snprintf(error, size, "the snapshot '%s' is damaged: it holds no machine", path);
    else if (data && i && !state_unpack_one(data, s->raw, &info->icount, count_field))
      result = -EINVAL;
    else if (data && !i)
      result = state_unpack(data, s->raw, &own, machine_fields, NULL, what, sizeof what);
    if (data && result)
      snprintf(error, size, "the snapshot '%s' was made by another version of this program", path);
    free(data);
  }
  info->now = own.now;
  snapfile_close(&f);
  return result;
}

/* --- what others add ---------------------------------------------------------------------------------- */

void machine_add_part(struct machine *m, struct state_part *part) {
  struct state_part **at = &m->parts;
  while (*at)
    at = &(*at)->next;
  part->next = NULL;
  *at = part;
}

void machine_remove_part(struct machine *m, struct state_part *part) {
  struct state_part **at = &m->parts;
  while (*at && *at != part)
    at = &(*at)->next;
  if (*at)
    *at = part->next;
}

void machine_add_store(struct machine *m, struct snapshot_store *store) {
  struct snapshot_store **at = &m->stores;
  while (*at)
    at = &(*at)->next;
  store->next = NULL;
  *at = store;
}

void machine_remove_store(struct machine *m, struct snapshot_store *store) {
  struct snapshot_store **at = &m->stores;
  while (*at && *at != store)
    at = &(*at)->next;
  if (*at)
    *at = store->next;
}
