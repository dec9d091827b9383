/* SPDX-License-Identifier: MIT */
/*
 * VMDK, VMware's disk images: VMware, "Virtual Disk Format 5.0". One file with its descriptor in it
 * (monolithicSparse, streamOptimized), or a descriptor whose extents are other files (monolithicFlat,
 * twoGbMaxExtentSparse, twoGbMaxExtentFlat, vmfs). Parents are read through parentFileNameHint. Not
 * supported: the sparse extents of ESX (VMFSSPARSE, SESPARSE), devices as extents, encryption.
 *
 * The content identity (CID) changes with the first write, so that children know their parent is no longer
 * what it was. Stream-optimised images are only written while they are being made: a guest would make them
 * grow without end.
 */
#include "devices/block/vmdk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

static int bad(const struct block *b, const char **error, const char *what) {
  *error = block_message("VMDK image '%s': %s", b->path, what);
  return -EINVAL;
}

static int vmdk_probe(const struct block_probe *p) {
  if (p->head_len >= VMDK_HEADER && le32_at(p->head) == VMDK_MAGIC)
    return 100;
  return vmdk_is_descriptor((const char *)p->head, p->head_len) ? 100 : 0;
}

static void release(struct vmdk *v) {
  if (!v)
    return;
  for (unsigned i = 0; i < v->extents; i++) {
    struct vmdk_extent *e = &v->extent[i];
    vmdk_sparse_close(e);
    if (e->path && e->fd >= 0)
      close(e->fd);
    free(e->path);
  }
  free(v->extent);
  vmdk_free_descriptor(&v->d);
  free(v);
}

/* --- opening ------------------------------------------------------------------------------------------ */

static int read_descriptor(struct block *b, struct vmdk *v, uint64_t at, uint64_t len, const char **error) {
  char *text = malloc(len + 1);
  int result = text ? file_read(b->fd, at, text, len) : -ENOMEM;
  if (result)
    *error = block_message("cannot read the descriptor of VMDK image '%s': %s", b->path, strerror(-result));
  else
    result = vmdk_parse(&v->d, b->path, text, (uint32_t)len, !v->extents, error);
  v->descriptor_at = at;
  free(text);
  return result;
}

/* The file is a sparse extent and bears the descriptor. */
static int open_monolithic(struct block *b, struct vmdk *v, unsigned flags, const char **error) {
  struct vmdk_extent *e = calloc(1, sizeof *e);
  if (!e)
    return -ENOMEM;
  v->extent = e;
  v->extents = 1;
  e->kind = VMDK_SPARSE;
  e->fd = b->fd;
  e->file_end = b->file_size;
  int result = vmdk_sparse_open(b, e, flags, error);
  if (result)
    return result;
  b->size = e->size;
  v->d.parent_cid = VMDK_NO_PARENT;
  return e->descriptor_size ? read_descriptor(b, v, e->descriptor_at, e->descriptor_size, error) : 0;
}

static int open_extent(struct block *b, struct vmdk_extent *e, const struct vmdk_line *line, unsigned flags,
                       const char **error) {
  e->kind = line->kind;
  e->access = line->access;
  e->size = line->sectors * SECTOR;
  e->file_at = line->offset * SECTOR;
  if (e->kind == VMDK_ZERO || e->access == VMDK_NOACCESS)
    return 0;
  if (e->access != VMDK_RW)
    flags &= ~(unsigned)BLOCK_WRITE;
  e->path = block_path_beside(b->path, line->name);
  if (!e->path)
    return -ENOMEM;
  int result = file_open(e->path, flags & BLOCK_WRITE, &e->fd, &e->file_end, error);
  if (result) {
    *error = block_message("extent of VMDK image '%s': %s", b->path, *error);
    return result;
  }
  if (e->kind == VMDK_SPARSE) {
    uint64_t size = e->size;
    result = vmdk_sparse_open(b, e, flags, error);
    if (!result && e->size < size) {
      *error = block_message("VMDK image '%s': its extent '%s' holds less than it should", b->path, e->path);
      return -EINVAL;
    }
    e->size = size;
    return result;
  }
  if (e->file_at > e->file_end || e->size > e->file_end - e->file_at) {
    *error = block_message("VMDK image '%s': its extent '%s' is too short: is it cut off?", b->path, e->path);
    return -EINVAL;
  }
  return 0;
}

static int open_described(struct block *b, struct vmdk *v, unsigned flags, const char **error) {
  if (b->file_size > VMDK_DESCRIPTOR_MAX)
    return bad(b, error, "neither a sparse extent nor a descriptor of up to 1 MB");
  int result = read_descriptor(b, v, 0, b->file_size, error);
  if (result)
    return result;
  if (!v->d.extents)
    return bad(b, error, "the descriptor names no extent");
  v->extent = calloc(v->d.extents, sizeof *v->extent);
  if (!v->extent)
    return -ENOMEM;
  for (unsigned i = 0; i < v->d.extents && !result; i++) {
    struct vmdk_extent *e = &v->extent[v->extents++];
    e->fd = -1;
    e->start = b->size;
    b->size += v->d.extent[i].sectors * SECTOR;
    if (b->size / SECTOR > VMDK_MAX_SECTORS)
      return bad(b, error, "a disk of more than 128 TB");
    result = open_extent(b, e, &v->d.extent[i], flags, error);
  }
  return result;
}

static int open_parent(struct block *b, const struct vmdk *v, unsigned flags, const char **error) {
  if (v->d.parent_cid == VMDK_NO_PARENT)
    return 0;
  if (!v->d.hint[0])
    return flags & BLOCK_NO_BACKING ? 0 : bad(b, error, "it does not say where its parent is");
  b->backing_name = strdup(v->d.hint);
  b->backing_format = strdup("vmdk");
  if (!b->backing_name || !b->backing_format)
    return -ENOMEM;
  if (flags & BLOCK_NO_BACKING)
    return 0;
  int result = block_open_backing(b, v->d.hint, "vmdk", error);
  if (result)
    return result;
  const struct vmdk *parent = b->backing->state;
  if (parent->d.cid == v->d.parent_cid || flags & BLOCK_CHECK)
    return 0;
  *error = block_message(
      "VMDK image '%s': its parent '%s' was written to since: its CID is %08x, not %08x (rebase -u takes "
      "it as it is)",
      b->path, b->backing->path, parent->d.cid, v->d.parent_cid);
  return -EINVAL;
}

/* --- reading and writing ------------------------------------------------------------------------------ */

/* The extent of an offset: they lie one behind the other. */
static struct vmdk_extent *extent_at(const struct vmdk *v, uint64_t offset) {
  unsigned low = 0, high = v->extents;
  while (high - low > 1) {
    unsigned middle = (low + high) / 2;
    *(v->extent[middle].start <= offset ? &low : &high) = middle;
  }
  return &v->extent[low];
}

/* How much of a request can be done at once: up to the end of the extent, or of the grain. */
static uint64_t piece(const struct vmdk_extent *e, uint64_t in_extent, uint64_t len) {
  uint64_t left = e->size - in_extent;
  if (e->kind == VMDK_SPARSE && e->grain - in_extent % e->grain < left)
    left = e->grain - in_extent % e->grain;
  return left < len ? left : len;
}

static int vmdk_read(struct block *b, uint64_t offset, void *buf, uint64_t len) {
  for (uint8_t *to = buf; len;) {
    struct vmdk_extent *e = extent_at(b->state, offset);
    uint64_t at = offset - e->start, n = piece(e, at, len);
    int result = 0;
    if (e->access == VMDK_NOACCESS)
      return -EIO;
    if (e->kind == VMDK_ZERO)
      memset(to, 0, n);
    else if (e->kind == VMDK_FLAT)
      result = file_read_padded(e->fd, e->file_at + at, to, n);
    else
      result = vmdk_sparse_read(b, e, at, to, n);
    if (result)
      return result;
    to += n, offset += n, len -= n;
  }
  return 0;
}

static int vmdk_status(struct block *b, uint64_t offset, uint64_t len, uint64_t *run) {
  struct vmdk_extent *e = extent_at(b->state, offset);
  uint64_t at = offset - e->start, left = e->size - at < len ? e->size - at : len;
  *run = left;
  if (e->access == VMDK_NOACCESS)
    return -EIO;
  if (e->kind == VMDK_ZERO)
    return BLOCK_STATE_ZERO;
  if (e->kind == VMDK_FLAT)
    return (int)file_state(e->fd, e->file_at + at, left, run);
  return vmdk_sparse_status(e, at, left, run);
}

static int write_number(struct block *b, uint32_t at, uint32_t digits, uint32_t value) {
  char text[9];
  snprintf(text, sizeof text, "%08x", value);
  return file_write(b->fd, ((const struct vmdk *)b->state)->descriptor_at + at, text + 8 - digits, digits);
}

/* In as many digits as there are: the text keeps its length. */
static int renew_cid(struct block *b, struct vmdk *v) {
  uint32_t cid, mask = UINT32_MAX >> (32 - 4 * v->d.cid_digits) % 32;
  if (v->cid_renewed || !v->d.cid_digits)
    return 0;
  do {
    if (getrandom(&cid, sizeof cid, 0) != sizeof cid)
      return -EIO;
    cid &= mask;
  } while (cid == v->d.cid || cid >= 0xfffffffe);
  int result = write_number(b, v->d.cid_at, v->d.cid_digits, cid);
  if (result)
    return result;
  v->d.cid = cid;
  v->cid_renewed = true;
  return 0;
}

/* A commit has written to the parent, which is locked against all others: this image stays its child. */
static int follow_parent(struct block *b, struct vmdk *v) {
  if (!b->backing || !v->writing || !v->d.parent_digits)
    return 0;
  uint32_t cid = ((const struct vmdk *)b->backing->state)->d.cid;
  if (cid == v->d.parent_cid || (v->d.parent_digits < 8 && cid >> 4 * v->d.parent_digits))
    return 0;
  int result = write_number(b, v->d.parent_at, v->d.parent_digits, cid);
  if (!result)
    v->d.parent_cid = cid;
  return result;
}

/* With `buf`, or zeros without. */
static int change(struct block *b, uint64_t offset, const uint8_t *from, uint64_t len) {
  int result = renew_cid(b, b->state);
  while (len && !result) {
    struct vmdk_extent *e = extent_at(b->state, offset);
    uint64_t at = offset - e->start, n = piece(e, at, len);
    if (e->access != VMDK_RW || e->kind == VMDK_ZERO)
      return -EROFS;
    if (e->kind == VMDK_FLAT)
      result = from ? file_write(e->fd, e->file_at + at, from, n) : file_zero(e->fd, e->file_at + at, n);
    else
      result = from ? vmdk_sparse_write(b, e, at, from, n) : vmdk_sparse_zero(b, e, at, n);
    from = from ? from + n : NULL;
    offset += n, len -= n;
  }
  return result;
}

static int vmdk_write(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  return change(b, offset, buf, len);
}

static int vmdk_write_zeroes(struct block *b, uint64_t offset, uint64_t len) {
  return change(b, offset, NULL, len);
}

static int vmdk_write_compressed(struct block *b, uint64_t offset, const void *buf, uint64_t len) {
  const struct vmdk_extent *e = extent_at(b->state, offset);
  return e->kind == VMDK_SPARSE && e->flags & VMDK_COMPRESSED ? change(b, offset, buf, len) : -ENOTSUP;
}

static int vmdk_flush(struct block *b) {
  struct vmdk *v = b->state;
  int result = follow_parent(b, v);
  for (unsigned i = 0; i < v->extents && !result; i++)
    if (v->extent[i].path && v->extent[i].fd >= 0 && v->extent[i].access == VMDK_RW)
      result = file_flush(v->extent[i].fd);
  return result ? result : file_flush(b->fd);
}

static void vmdk_close(struct block *b) {
  (void)follow_parent(b, b->state);
  release(b->state);
}

static const struct block_driver vmdk_driver = {
    .read = vmdk_read,
    .write = vmdk_write,
    .flush = vmdk_flush,
    .close = vmdk_close,
    .status = vmdk_status,
    .write_zeroes = vmdk_write_zeroes,
    .write_compressed = vmdk_write_compressed,
};

static int vmdk_open(struct block *b, const struct block_options *o, const char **error) {
  struct vmdk *v = calloc(1, sizeof *v);
  uint8_t magic[4] = {0};
  int result = v ? file_read_padded(b->fd, 0, magic, 4) : -ENOMEM;
  b->size = 0;
  if (!result && le32_at(magic) == 0x44574f43) { /* COWD */
    bad(b, error, "a sparse extent of ESX, which is not supported: convert the disk with VMware's tools");
    result = -ENOTSUP;
  } else if (!result) {
    result = le32_at(magic) == VMDK_MAGIC ? open_monolithic(b, v, o->flags, error)
                                          : open_described(b, v, o->flags, error);
  }
  if (!result)
    result = open_parent(b, v, o->flags, error);
  if (result) {
    release(v);
    return result;
  }
  v->writing = o->flags & BLOCK_WRITE && !(o->flags & BLOCK_CHECK);
  b->state = v;
  b->driver = &vmdk_driver;
  return 0;
}

static const char *const vmdk_options[] = {"subformat", "adapter_type", "hwversion", "toolsversion",
                                           "compat6",   "zeroed_grain", NULL};

const struct block_format vmdk_format = {
    .name = "vmdk",
    .create_options = vmdk_options,
    .backing = true,
    .probe = vmdk_probe,
    .open = vmdk_open,
    .create = vmdk_create,
    .check = vmdk_check,
    .info = vmdk_info,
    .change_backing = vmdk_change_backing,
};
