/* SPDX-License-Identifier: MIT */
/* What one does with whole VMDK images: make, check and describe them. */
#include "devices/block/vmdk.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <unistd.h>

#define GRAIN_SECTORS 128u
#define DESCRIPTOR_SECTORS 20u
#define SPLIT_SECTORS 4192256ull /* 2047 MB: what VMware puts into one file of twoGbMaxExtent... */

/* --- create ------------------------------------------------------------------------------------------- */

struct recipe {
  const char *path;
  const struct block_create *c;
  char type[32], adapter[32], hardware[16], tools[16];
  bool flat, split, stream, zeroed;
  uint32_t parent_cid;
};

static int read_recipe(struct recipe *r, const char **error) {
  static const char *const types[] = {"monolithicSparse", "monolithicFlat", "streamOptimized",
                                      "twoGbMaxExtentSparse", "twoGbMaxExtentFlat"};
  static const char *const adapters[] = {"ide", "lsilogic", "buslogic", "legacyESX"};
  const char *options = r->c->options;
  char text[8] = "off";
  unsigned i = 0;
  snprintf(r->type, sizeof r->type, "monolithicSparse");
  snprintf(r->adapter, sizeof r->adapter, "ide");
  snprintf(r->tools, sizeof r->tools, "2147483647");
  block_option(options, "compat6", text, sizeof text);
  snprintf(r->hardware, sizeof r->hardware, "%s", strcmp(text, "on") ? "4" : "6");
  block_option(options, "subformat", r->type, sizeof r->type);
  block_option(options, "adapter_type", r->adapter, sizeof r->adapter);
  block_option(options, "hwversion", r->hardware, sizeof r->hardware);
  block_option(options, "toolsversion", r->tools, sizeof r->tools);
  r->zeroed = block_option(options, "zeroed_grain", text, sizeof text) && !strcmp(text, "on");
  while (i < 5 && strcmp(r->type, types[i]))
    i++;
  r->flat = i == 1 || i == 4;
  r->stream = i == 2;
  r->split = i >= 3;
  bool known = i < 5;
  for (i = 0; i < 4 && strcmp(r->adapter, adapters[i]);)
    i++;
  if (!known || i == 4) {
    *error =
        block_message("'%s': VMDK images know subformat=monolithicSparse, monolithicFlat, streamOptimized, "
                      "twoGbMaxExtentSparse or twoGbMaxExtentFlat, and adapter_type=ide, lsilogic, buslogic "
                      "or legacyESX",
                      r->path);
    return -EINVAL;
  }
  if (strspn(r->hardware, "0123456789") != strlen(r->hardware) ||
      strspn(r->tools, "0123456789") != strlen(r->tools)) {
    *error = block_message("'%s': hwversion= and toolsversion= want numbers", r->path);
    return -EINVAL;
  }
  if (r->flat && r->c->backing) {
    *error = block_message("'%s': a flat VMDK image cannot have a backing file", r->path);
    return -EINVAL;
  }
  return 0;
}

/* The CID of the parent that the image `path` calls `backing`. */
static int read_parent(const char *path, const char *backing, uint32_t *cid, const char **error) {
  struct block *parent;
  struct block_options o = {.format = "vmdk", .flags = BLOCK_NO_BACKING};
  *cid = VMDK_NO_PARENT;
  if (!backing)
    return 0;
  if (strlen(backing) > 1023 || strpbrk(backing, "\"\n")) {
    *error = block_message("'%s': the name of the backing file is too long or has quotes", path);
    return -EINVAL;
  }
  char *name = block_path_beside(path, backing);
  if (!name)
    return -ENOMEM;
  int result = block_open_with(&parent, name, &o, error);
  free(name);
  if (result)
    return result;
  *cid = ((const struct vmdk *)parent->state)->d.cid;
  block_close(parent);
  return 0;
}

/* A sparse extent with its directories and tables, all empty; room for a descriptor, if it is to be in here.
 */
static int make_sparse(int fd, const struct recipe *r, uint64_t sectors, bool descriptor) {
  uint8_t h[VMDK_HEADER] = {0};
  uint64_t tables = (sectors + GRAIN_SECTORS * 512 - 1) / (GRAIN_SECTORS * 512);
  uint64_t directory = (4 * tables + SECTOR - 1) / SECTOR, per_table = 4;
  uint64_t redundant_at = 1 + DESCRIPTOR_SECTORS, at = redundant_at + directory + tables * per_table;
  uint64_t overhead = at + directory + tables * per_table;
  overhead = (overhead + GRAIN_SECTORS - 1) / GRAIN_SECTORS * GRAIN_SECTORS;
  if (overhead + sectors > UINT32_MAX)
    return -EFBIG;
  put_le32(h, VMDK_MAGIC);
  put_le32(h + VMDK_VERSION, r->stream ? 3 : r->zeroed ? 2 : 1);
  put_le32(h + VMDK_FLAGS, VMDK_HAS_NEWLINES | VMDK_HAS_REDUNDANT | (r->zeroed ? VMDK_HAS_ZEROED : 0) |
                               (r->stream ? VMDK_COMPRESSED | VMDK_MARKERS : 0));
  put_le64(h + VMDK_CAPACITY, sectors);
  put_le64(h + VMDK_GRAIN, GRAIN_SECTORS);
  put_le64(h + VMDK_DESCRIPTOR_AT, descriptor ? 1 : 0);
  put_le64(h + VMDK_DESCRIPTOR_SIZE, descriptor ? DESCRIPTOR_SECTORS : 0);
  put_le32(h + VMDK_TABLE_ENTRIES, 512);
  put_le64(h + VMDK_REDUNDANT_AT, redundant_at);
  put_le64(h + VMDK_DIRECTORY_AT, at);
  put_le64(h + VMDK_OVERHEAD, overhead);
  memcpy(h + VMDK_NEWLINES, "\n \r\n", 4);
  put_le16(h + VMDK_COMPRESSION, r->stream);
  uint8_t *entries = calloc(directory, SECTOR);
  if (!entries)
    return -ENOMEM;
  int result = ftruncate(fd, (off_t)(overhead * SECTOR)) < 0 ? -errno : 0;
  for (int copy = 0; copy < 2 && !result; copy++) {
    uint64_t where = copy ? at : redundant_at;
    for (uint64_t i = 0; i < tables; i++)
      put_le32(entries + 4 * i, (uint32_t)(where + directory + i * per_table));
    result = file_write(fd, where * SECTOR, entries, directory * SECTOR);
  }
  free(entries);
  return result ? result : file_write(fd, 0, h, sizeof h);
}

/* The file of an extent beside the descriptor: disk.vmdk has disk-flat.vmdk, disk-f001.vmdk or
 * disk-s001.vmdk. */
static char *extent_name(const struct recipe *r, unsigned index, bool whole) {
  const char *base = strrchr(r->path, '/') ? strrchr(r->path, '/') + 1 : r->path;
  if (whole)
    base = r->path;
  size_t len = strlen(base);
  char *name, *ending;
  if (len > 5 && !strcmp(base + len - 5, ".vmdk"))
    len -= 5;
  if (!r->split)
    ending = strdup("flat");
  else if (asprintf(&ending, "%c%03u", r->flat ? 'f' : 's', index + 1) < 0)
    ending = NULL;
  if (!ending || asprintf(&name, "%.*s-%s.vmdk", (int)len, base, ending) < 0)
    name = NULL;
  free(ending);
  return name;
}

static int make_extent(const struct recipe *r, unsigned index, uint64_t sectors, const char **error) {
  char *path = extent_name(r, index, true);
  if (!path)
    return -ENOMEM;
  uint64_t size;
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644), result;
  if (fd < 0) {
    result = -errno;
    *error = block_message("cannot make '%s': %s", path, strerror(-result));
    free(path);
    return result;
  }
  close(fd);
  result = file_open(path, true, &fd, &size, error); /* nobody else may be using it */
  if (!result) {
    result = ftruncate(fd, 0) < 0 ? -errno : 0;
    if (!result && r->flat)
      result = ftruncate(fd, (off_t)(sectors * SECTOR)) < 0 ? -errno : 0;
    else if (!result)
      result = make_sparse(fd, r, sectors, false);
    if (!result)
      result = file_flush(fd);
    close(fd);
    if (result)
      *error = block_message("cannot write '%s': %s", path, strerror(-result));
  }
  free(path);
  return result;
}

static int describe(const struct recipe *r, FILE *out, uint64_t sectors) {
  uint32_t cid;
  unsigned heads = strcmp(r->adapter, "ide") ? 255 : 16;
  uint64_t cylinders = sectors / (heads * 63), limit = heads == 16 ? 65535 : UINT32_MAX;
  do {
    if (getrandom(&cid, sizeof cid, 0) != sizeof cid)
      return -EIO;
  } while (cid >= 0xfffffffe);
  fprintf(out, "# Disk DescriptorFile\nversion=1\nCID=%08x\nparentCID=%08x\ncreateType=\"%s\"\n", cid,
          r->parent_cid, r->type);
  if (r->c->backing)
    fprintf(out, "parentFileNameHint=\"%s\"\n", r->c->backing);
  fprintf(out, "\n# Extent description\n");
  uint64_t part = r->split ? SPLIT_SECTORS : sectors, at = 0;
  for (unsigned i = 0; at < sectors; i++, at += part) {
    char *name = r->flat || r->split ? extent_name(r, i, false) : NULL;
    const char *base = strrchr(r->path, '/') ? strrchr(r->path, '/') + 1 : r->path;
    fprintf(out, "RW %llu %s \"%s\"%s\n", (unsigned long long)(sectors - at < part ? sectors - at : part),
            r->flat ? "FLAT" : "SPARSE", name ? name : base, r->flat ? " 0" : "");
    free(name);
  }
  fprintf(out,
          "\n# The Disk Data Base\n#DDB\n\nddb.virtualHWVersion = \"%s\"\nddb.geometry.cylinders = \"%llu\"\n"
          "ddb.geometry.heads = \"%u\"\nddb.geometry.sectors = \"63\"\nddb.adapterType = \"%s\"\n"
          "ddb.toolsVersion = \"%s\"\n",
          r->hardware, (unsigned long long)(cylinders < limit ? cylinders : limit), heads, r->adapter,
          r->tools);
  return ferror(out) ? -ENOMEM : 0;
}

int vmdk_create(int fd, const char *path, const struct block_create *c, const char **error) {
  struct recipe r = {.path = path, .c = c};
  uint64_t sectors = c->size / SECTOR, part;
  char *text = NULL;
  size_t len = 0;
  int result = read_recipe(&r, error);
  if (!result)
    result = read_parent(path, c->backing, &r.parent_cid, error);
  if (result)
    return result;
  part = r.split ? SPLIT_SECTORS : sectors;
  if (!sectors || sectors > VMDK_MAX_SECTORS || (r.split && sectors / part >= VMDK_EXTENTS)) {
    *error = block_message("'%s': a size of zero, or too large for VMDK", path);
    return -EFBIG;
  }
  FILE *out = open_memstream(&text, &len);
  if (!out)
    return -ENOMEM;
  result = describe(&r, out, sectors);
  if (fclose(out) && !result)
    result = -ENOMEM;
  bool embedded = !r.flat && !r.split;
  if (!result && embedded && len > DESCRIPTOR_SECTORS * SECTOR)
    result = -ENAMETOOLONG;
  if (!result && embedded)
    result = make_sparse(fd, &r, sectors, true);
  *error = NULL;
  uint64_t at = 0;
  for (unsigned i = 0; !embedded && !result && at < sectors; i++, at += part)
    result = make_extent(&r, i, sectors - at < part ? sectors - at : part, error);
  if (!result)
    result = file_write(fd, embedded ? SECTOR : 0, text, len);
  if (result && !*error)
    *error = result == -EFBIG
                 ? block_message("'%s': too large for one sparse file: use a twoGbMaxExtent subformat", path)
                 : block_message("cannot write '%s': %s", path, strerror(-result));
  free(text);
  return result;
}

/* --- another parent ----------------------------------------------------------------------------------- */

/* The descriptor with the lines of the parent replaced. Its length, 0: no memory. */
static size_t other_parent(const char *old, const char *name, uint32_t cid, char **text) {
  size_t len = 0;
  FILE *out = open_memstream(text, &len);
  if (!out)
    return 0;
  while (*old) {
    int n = (int)strcspn(old, "\n");
    if (!strncasecmp(old, "parentCID", 9)) {
      fprintf(out, "parentCID=%08x\n", cid);
      if (name)
        fprintf(out, "parentFileNameHint=\"%s\"\n", name);
    } else if (strncasecmp(old, "parentFileNameHint", 18)) {
      fprintf(out, "%.*s\n", n, old);
    }
    old += n + (old[n] == '\n');
  }
  return fclose(out) ? 0 : len;
}

int vmdk_change_backing(struct block *b, const char *name, const char *format, const char **error) {
  struct vmdk *v = b->state;
  const struct vmdk_extent *e = v->extent;
  bool embedded = e->kind == VMDK_SPARSE && !e->path;
  uint64_t room = embedded ? e->descriptor_size : b->file_size;
  uint32_t cid;
  if (format && strcmp(format, "vmdk")) {
    *error = block_message("'%s': the backing file of a VMDK image can only be another one", b->path);
    return -EINVAL;
  }
  if (e->kind != VMDK_SPARSE || !v->d.parent_digits) {
    *error = block_message("'%s': this kind of VMDK image cannot have a backing file", b->path);
    return -ENOTSUP;
  }
  int result = read_parent(b->path, name, &cid, error);
  if (result)
    return result;
  char *old = calloc(1, room + 1), *text = NULL;
  size_t len =
      old && !file_read(b->fd, v->descriptor_at, old, room) ? other_parent(old, name, cid, &text) : 0;
  result = !len ? -EIO : embedded && len > room ? -ENAMETOOLONG : 0;
  if (!result && embedded) { /* all of it at once: what is behind the new text is zeros */
    memset(old, 0, room);
    memcpy(old, text, len);
    result = file_write(b->fd, v->descriptor_at, old, room);
  } else if (!result) {
    result = file_write(b->fd, 0, text, len);
    if (!result && ftruncate(b->fd, (off_t)len) < 0)
      result = -errno;
  }
  if (result)
    *error = block_message("cannot write the descriptor of '%s': %s", b->path, strerror(-result));
  v->d.cid_digits = v->d.parent_digits = 0; /* they have moved */
  free(old);
  free(text);
  return result;
}

/* --- check and info ----------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

/* The sectors where grains begin. */
struct places {
  uint32_t *at;
  uint64_t n, max;
};

/* One entry; `other` is the redundant table's. A grain that only the latter knows was being added when its
 * writer came to an end: it counts as lost space, not as damage. */
static int check_entry(struct vmdk_extent *e, uint64_t grain, uint32_t entry, uint32_t other,
                       struct block_check *c, enum block_repair repair, struct places *p) {
  bool place = vmdk_is_place(e, entry), outside = place && !vmdk_entry_plausible(e, entry);
  bool unfinished = !place && other != entry, differs = place && other != entry;
  bool mend = unfinished ? repair != BLOCK_REPAIR_NONE : repair == BLOCK_REPAIR_ALL;
  if (outside || unfinished || differs) {
    int result = mend ? vmdk_set_entry(e, grain, outside ? VMDK_FREE : entry) : 0;
    if (result)
      return result;
    *(unfinished ? mend ? &c->leaks_fixed : &c->leaks : mend ? &c->corruptions_fixed : &c->corruptions) += 1;
  }
  if (unfinished && !mend && vmdk_entry_plausible(e, other))
    entry = other; /* counted above, not as a gap */
  else if (!place || outside)
    return 0;
  if (p->n < p->max)
    p->at[p->n++] = entry;
  else
    c->corruptions++; /* more than fit into the file */
  return 0;
}

static int check_table(struct vmdk_extent *e, uint32_t t, struct block_check *c, enum block_repair repair,
                       struct places *p) {
  int result;
  uint32_t *table = vmdk_table(e, t, &result);
  uint8_t copy[4 * VMDK_MAX_TABLE];
  if (!table) {
    c->corruptions += result == -ENODATA;
    return result == -ENODATA ? 0 : result;
  }
  bool twice = e->redundant && e->redundant[t] &&
               !file_read(e->fd, (uint64_t)e->redundant[t] * SECTOR, copy, 4ull * e->entries);
  if (e->redundant && !twice) {
    c->corruptions++;
    e->redundant[t] = 0; /* don't write where it should be */
  }
  for (uint32_t i = 0; i < e->entries && !result; i++) {
    uint32_t other = twice ? le32_at(copy + 4 * i) : table[i];
    result = check_entry(e, (uint64_t)t * e->entries + i, table[i], other, c, repair, p);
  }
  return result;
}

static uint64_t compressed_end(const struct vmdk_extent *e, uint32_t sector) {
  uint8_t marker[12];
  uint64_t at = (uint64_t)sector * SECTOR;
  if (!(e->flags & VMDK_MARKERS) || file_read(e->fd, at, marker, sizeof marker))
    return at + SECTOR;
  return (at + sizeof marker + le32_at(marker + 8) + SECTOR - 1) / SECTOR * SECTOR;
}

static int check_sparse(struct vmdk_extent *e, struct block_check *c, enum block_repair repair) {
  struct places p = {.max = e->file_end / SECTOR + 1};
  uint64_t end = e->overhead;
  bool packed = e->flags & VMDK_COMPRESSED;
  if (!vmdk_tables_fit(e)) { /* two of them are one */
    c->corruptions++;
    return 0;
  }
  p.at = malloc(4 * p.max);
  int result = p.at ? 0 : -ENOMEM;
  for (uint32_t t = 0; t < e->tables && !result; t++)
    result = check_table(e, t, c, repair, &p);
  if (!result)
    qsort(p.at, p.n, 4, by_place);
  for (uint64_t i = 0; i < p.n && !result; i++) {
    uint64_t at = (uint64_t)p.at[i] * SECTOR, to = packed ? compressed_end(e, p.at[i]) : at + e->grain;
    c->corruptions += i && at < end; /* two grains in one place */
    c->leaks += i && !packed && at > end ? (at - end) / e->grain : 0;
    end = to > end ? to : end;
  }
  if (!result && !packed && p.n && e->file_end >= end + e->grain) {
    uint64_t behind = (e->file_end - end) / e->grain;
    if (repair != BLOCK_REPAIR_NONE && !c->corruptions && ftruncate(e->fd, (off_t)end) == 0) {
      e->file_end = e->next = end;
      c->leaks_fixed += behind;
    } else {
      c->leaks += behind;
    }
  }
  c->allocated += p.n;
  c->compressed += packed ? p.n : 0;
  c->clusters += (e->size + e->grain - 1) / e->grain;
  if (end > c->image_end)
    c->image_end = end;
  free(p.at);
  return result;
}

int vmdk_check(struct block *b, struct block_check *c, enum block_repair repair) {
  const struct vmdk *v = b->state;
  int result = 0;
  for (unsigned i = 0; i < v->extents && !result; i++)
    if (v->extent[i].kind == VMDK_SPARSE)
      result = check_sparse(&v->extent[i], c, repair);
  return result;
}

int vmdk_info(struct block *b, struct block_info *info) {
  const struct vmdk *v = b->state;
  for (unsigned i = 0; i < v->extents; i++)
    if (v->extent[i].kind == VMDK_SPARSE) {
      info->cluster_size = v->extent[i].grain;
      info->compressed |= v->extent[i].flags & VMDK_COMPRESSED;
    }
  block_info_add(info, "create type", true, "%s", v->d.type[0] ? v->d.type : "unknown");
  block_info_add(info, "cid", false, "%u", v->d.cid);
  block_info_add(info, "parent cid", false, "%u", v->d.parent_cid);
  block_info_add(info, "extents", false, "%u", v->extents);
  return 0;
}
