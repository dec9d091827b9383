/* SPDX-License-Identifier: MIT */
/*
 * Sparse extents of VMDK images: a directory of grain tables, whose entries tell in which sector of the file
 * a grain (64 kB as a rule) begins; a second directory with tables of its own repeats it. In stream-optimised
 * extents each grain is a zlib stream behind a marker, and a footer may bear the directory's place.
 *
 * A new grain goes to the end of the file: data, the redundant table, the table. So whatever moment it ends
 * at, an entry only points to what is there, and the redundant directory never knows less.
 */
#include "devices/block/vmdk.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MARKER                                                                                               \
  12u /* before a compressed grain: its sector in the disk (64 bits), the stream's length (32)               \
       */
#define MAX_DIRECTORY (64u << 20)

static int bad(const struct block *b, const struct vmdk_extent *e, const char **error, const char *what) {
  *error = block_message("VMDK image '%s': %s", e->path ? e->path : b->path, what);
  return -EINVAL;
}

/* --- opening ------------------------------------------------------------------------------------------ */

/* The header, or the footer in its place: marker, header, end-of-stream marker are the last three sectors. */
static int read_header(struct block *b, struct vmdk_extent *e, uint8_t *h, const char **error) {
  uint8_t end[3 * SECTOR];
  if (e->file_end < VMDK_HEADER || file_read(e->fd, 0, h, VMDK_HEADER) || le32_at(h) != VMDK_MAGIC)
    return bad(b, e, error, "it has no header of a sparse extent");
  if (le64_at(h + VMDK_DIRECTORY_AT) != VMDK_AT_END)
    return 0;
  if (e->file_end < 4 * SECTOR || file_read(e->fd, e->file_end - sizeof end, end, sizeof end) ||
      le32_at(end + 8) != 0 || le32_at(end + 12) != 3 || le32_at(end + SECTOR) != VMDK_MAGIC ||
      le32_at(end + 2 * SECTOR + 8) != 0 || le32_at(end + 2 * SECTOR + 12) != 0)
    return bad(b, e, error, "it has no footer: is it cut off?");
  memcpy(h, end + SECTOR, VMDK_HEADER);
  return le64_at(h + VMDK_DIRECTORY_AT) == VMDK_AT_END ? bad(b, e, error, "its footer is damaged") : 0;
}

static bool within(const struct vmdk_extent *e, uint64_t sector, uint64_t bytes) {
  return sector <= e->file_end / SECTOR && bytes <= e->file_end - sector * SECTOR;
}

static int parse(struct block *b, struct vmdk_extent *e, const char **error) {
  uint8_t h[VMDK_HEADER];
  int result = read_header(b, e, h, error);
  if (result)
    return result;
  uint64_t capacity = le64_at(h + VMDK_CAPACITY), grain = le64_at(h + VMDK_GRAIN);
  uint64_t directory = le64_at(h + VMDK_DIRECTORY_AT), redundant = le64_at(h + VMDK_REDUNDANT_AT);
  uint64_t overhead = le64_at(h + VMDK_OVERHEAD);
  e->version = le32_at(h + VMDK_VERSION);
  e->flags = le32_at(h + VMDK_FLAGS);
  e->entries = le32_at(h + VMDK_TABLE_ENTRIES);
  if (e->version < 1 || e->version > 3) {
    *error = block_message("VMDK image '%s': version %u of sparse extents; only 1 to 3 are supported",
                           e->path ? e->path : b->path, e->version);
    return -ENOTSUP;
  }
  if (e->flags & VMDK_HAS_NEWLINES && memcmp(h + VMDK_NEWLINES, "\n \r\n", 4))
    return bad(b, e, error, "the ends of lines in it were converted, as if it were text: transfer it anew");
  if (le16_at(h + VMDK_COMPRESSION) > 1 || (e->flags & VMDK_COMPRESSED && le16_at(h + VMDK_COMPRESSION) != 1))
    return bad(b, e, error, "an unknown kind of compression");
  if (!capacity || capacity > VMDK_MAX_SECTORS)
    return bad(b, e, error, "the disk's size is zero or more than 128 TB");
  if (!grain || grain > 32768 || (grain & (grain - 1)))
    return bad(b, e, error, "the size of its grains is no power of two up to 16 MB");
  if (!e->entries || e->entries > VMDK_MAX_TABLE)
    return bad(b, e, error, "its grain tables have no entries, or more than 512");
  uint64_t tables = (capacity + grain * e->entries - 1) / (grain * e->entries);
  if (tables > MAX_DIRECTORY / 4)
    return bad(b, e, error, "the disk is too large for its grains");
  if (!directory || !within(e, directory, 4 * tables))
    return bad(b, e, error, "the grain directory does not lie inside of the file");
  bool twice = e->flags & VMDK_HAS_REDUNDANT && redundant && redundant != VMDK_AT_END;
  if (twice && !within(e, redundant, 4 * tables))
    return bad(b, e, error, "the redundant grain directory does not lie inside of the file");
  e->size = capacity * SECTOR;
  e->grain = (uint32_t)(grain * SECTOR);
  e->tables = (uint32_t)tables;
  e->directory_at = directory * SECTOR;
  e->redundant_at = twice ? redundant * SECTOR : 0;
  e->overhead = overhead < e->file_end / SECTOR ? overhead * SECTOR : 0;
  e->descriptor_at = le64_at(h + VMDK_DESCRIPTOR_AT);
  e->descriptor_size = le64_at(h + VMDK_DESCRIPTOR_SIZE);
  if (!e->descriptor_at || !e->descriptor_size) {
    e->descriptor_at = e->descriptor_size = 0;
    return 0;
  }
  if (e->descriptor_size > VMDK_DESCRIPTOR_MAX / SECTOR ||
      !within(e, e->descriptor_at, e->descriptor_size * SECTOR))
    return bad(b, e, error, "the descriptor is too large or does not lie inside of the file");
  e->descriptor_at *= SECTOR;
  e->descriptor_size *= SECTOR;
  return 0;
}

static int read_directory(const struct vmdk_extent *e, uint64_t at, uint32_t **out) {
  uint32_t *d = malloc(4ull * e->tables);
  *out = d;
  int result = d ? file_read(e->fd, at, d, 4ull * e->tables) : -ENOMEM;
  for (uint32_t i = 0; !result && i < e->tables; i++)
    d[i] = le32_at(&d[i]);
  return result;
}

bool vmdk_entry_plausible(const struct vmdk_extent *e, uint32_t entry) {
  uint64_t at = (uint64_t)entry * SECTOR;
  return vmdk_is_place(e, entry) && at >= e->overhead && at < e->file_end;
}

/* Each table in a place of its own? Bounds the work on all of them, too. */
bool vmdk_tables_fit(const struct vmdk_extent *e) {
  uint64_t there = 0;
  for (uint32_t t = 0; t < e->tables; t++)
    there += e->directory[t] != 0;
  return there * e->entries <= e->file_end / 4;
}

/* Before the first write: where the next grain goes, and whether it is safe to go there. *used: grains. */
static int survey(struct vmdk_extent *e, uint64_t *used, bool *damaged) {
  uint64_t end = e->file_end > e->overhead ? e->file_end : e->overhead;
  *used = 0;
  *damaged = !vmdk_tables_fit(e);
  for (uint32_t t = 0; t < e->tables && !*damaged; t++) {
    int result = 0;
    const uint32_t *table = vmdk_table(e, t, &result);
    if (result == -ENODATA) /* the table itself is not there */
      *damaged = true;
    else if (result)
      return result;
    if (e->redundant && e->directory[t] &&
        (!e->redundant[t] || !within(e, e->redundant[t], 4ull * e->entries)))
      *damaged = true;
    for (uint32_t i = 0; table && i < e->entries; i++) {
      if (!vmdk_is_place(e, table[i]))
        continue;
      ++*used;
      *damaged |= (uint64_t)table[i] * SECTOR < e->overhead;
      uint64_t grain_end = (uint64_t)table[i] * SECTOR + e->grain;
      if (!(e->flags & VMDK_COMPRESSED) && grain_end > end)
        end = grain_end;
    }
  }
  uint64_t align = e->flags & VMDK_COMPRESSED ? SECTOR : e->grain;
  e->next = (end + align - 1) / align * align;
  return 0;
}

static int prepare_to_write(struct block *b, struct vmdk_extent *e, bool any, const char **error) {
  uint64_t used;
  bool damaged;
  uint8_t h[VMDK_HEADER];
  int result = survey(e, &used, &damaged);
  if (result) {
    *error = block_message("cannot read the tables of '%s': %s", b->path, strerror(-result));
    return result;
  }
  if (any)
    return 0;
  if (e->flags & VMDK_COMPRESSED) {
    if (!file_read(e->fd, 0, h, sizeof h) && le64_at(h + VMDK_DIRECTORY_AT) != VMDK_AT_END && !used)
      return 0; /* it is being made */
    bad(b, e, error, "a stream-optimised image can't be written: use -snapshot or an overlay, or convert it");
    return -EROFS;
  }
  if (e->version > 2) {
    bad(b, e, error, "version 3 of sparse extents can be read, but not written");
    return -EROFS;
  }
  return damaged ? bad(b, e, error, "its grain tables are damaged: it can be read, but not written") : 0;
}

int vmdk_sparse_open(struct block *b, struct vmdk_extent *e, unsigned flags, const char **error) {
  int result = parse(b, e, error);
  if (result)
    return result;
  for (unsigned i = 0; i < VMDK_CACHE; i++)
    e->cache[i].index = UINT32_MAX;
  result = read_directory(e, e->directory_at, &e->directory);
  if (!result && e->redundant_at)
    result = read_directory(e, e->redundant_at, &e->redundant);
  if (result) {
    *error = block_message("cannot read the grain directory of '%s': %s", e->path ? e->path : b->path,
                           strerror(-result));
    return result;
  }
  return flags & BLOCK_WRITE ? prepare_to_write(b, e, flags & BLOCK_CHECK, error) : 0;
}

void vmdk_sparse_close(struct vmdk_extent *e) {
  for (unsigned i = 0; i < VMDK_CACHE; i++)
    free(e->cache[i].entry);
  free(e->directory);
  free(e->redundant);
  free(e->plain);
  free(e->packed);
}

/* --- tables ------------------------------------------------------------------------------------------- */

uint32_t *vmdk_table(struct vmdk_extent *e, uint32_t index, int *result) {
  uint32_t sector = e->directory[index], slot = index % VMDK_CACHE;
  *result = 0;
  if (!sector)
    return NULL;
  uint32_t *table = e->cache[slot].entry;
  if (table && e->cache[slot].index == index)
    return table;
  if (!table)
    table = e->cache[slot].entry = malloc(4ull * e->entries);
  e->cache[slot].index = UINT32_MAX;
  *result = table ? file_read(e->fd, (uint64_t)sector * SECTOR, table, 4ull * e->entries) : -ENOMEM;
  if (*result)
    return NULL;
  for (uint32_t i = 0; i < e->entries; i++)
    table[i] = le32_at(&table[i]);
  e->cache[slot].index = index;
  return table;
}

static int entry_of(struct vmdk_extent *e, uint64_t grain, uint32_t *out) {
  int result;
  const uint32_t *table = vmdk_table(e, (uint32_t)(grain / e->entries), &result);
  *out = table ? table[grain % e->entries] : VMDK_FREE;
  return result == -ENODATA ? -EIO : result;
}

/* A table that was not there (VMware and QEMU make them all with the image), in both directories. */
static int add_table(struct vmdk_extent *e, uint32_t index) {
  uint64_t bytes = (4ull * e->entries + SECTOR - 1) / SECTOR * SECTOR;
  uint64_t copies = e->redundant ? 2 : 1, end = e->next + copies * bytes;
  uint8_t entry[4];
  if (end / SECTOR > UINT32_MAX)
    return -EFBIG;
  int result = file_zero(e->fd, e->next, copies * bytes);
  if (result)
    return result;
  uint32_t sector = (uint32_t)(e->next / SECTOR);
  e->next = (end + e->grain - 1) / e->grain * e->grain;
  e->file_end = end > e->file_end ? end : e->file_end;
  if (e->redundant) {
    put_le32(entry, sector + (uint32_t)(bytes / SECTOR));
    result = file_write(e->fd, e->redundant_at + 4ull * index, entry, 4);
    if (result)
      return result;
    e->redundant[index] = le32_at(entry);
  }
  put_le32(entry, sector);
  result = file_write(e->fd, e->directory_at + 4ull * index, entry, 4);
  if (!result)
    e->directory[index] = sector;
  return result;
}

int vmdk_set_entry(struct vmdk_extent *e, uint64_t grain, uint32_t value) {
  uint32_t index = (uint32_t)(grain / e->entries), in_table = (uint32_t)(grain % e->entries);
  uint8_t entry[4];
  int result = e->directory[index] ? 0 : add_table(e, index);
  if (result)
    return result;
  uint32_t *table = vmdk_table(e, index, &result);
  if (!table)
    return result;
  put_le32(entry, value);
  if (e->redundant && e->redundant[index])
    result = file_write(e->fd, (uint64_t)e->redundant[index] * SECTOR + 4ull * in_table, entry, 4);
  if (!result)
    result = file_write(e->fd, (uint64_t)e->directory[index] * SECTOR + 4ull * in_table, entry, 4);
  if (!result)
    table[in_table] = value;
  return result;
}

/* --- reading ------------------------------------------------------------------------------------------ */

static int buffers(struct vmdk_extent *e) {
  if (!e->plain)
    e->plain = malloc(e->grain);
  if (!e->packed && e->flags & VMDK_COMPRESSED)
    e->packed = malloc(2ull * e->grain + SECTOR);
  return e->plain && (e->packed || !(e->flags & VMDK_COMPRESSED)) ? 0 : -ENOMEM;
}

/* The compressed grain at a sector of the file comes to `plain`. */
static int unpack(struct vmdk_extent *e, uint32_t sector, uint64_t grain) {
  uint64_t at = (uint64_t)sector * SECTOR, left = e->size - grain * e->grain;
  uint64_t len = 2ull * e->grain, header = e->flags & VMDK_MARKERS ? MARKER : 0;
  uint8_t marker[MARKER];
  if (e->plain_at == at)
    return 0;
  if (at + MARKER > e->file_end)
    return -EIO;
  int result = buffers(e);
  e->plain_at = 0;
  if (!result && header && !(result = file_read(e->fd, at, marker, MARKER)) && le32_at(marker + 8) < len)
    len = le32_at(marker + 8);
  if (!result && len > e->file_end - at - header)
    len = e->file_end - at - header;
  if (!result)
    result = len ? file_read(e->fd, at + header, e->packed, len) : -EIO;
  if (result)
    return result == -ENODATA ? -EIO : result;
  /* The last grain may be cut off where the disk ends. */
  if (block_inflate(e->packed, len, e->plain, e->grain, 15)) {
    if (left >= e->grain || block_inflate(e->packed, len, e->plain, left, 15))
      return -EIO;
    memset(e->plain + left, 0, e->grain - left);
  }
  e->plain_at = at;
  return 0;
}

int vmdk_sparse_read(struct block *b, struct vmdk_extent *e, uint64_t offset, void *buf, uint64_t len) {
  uint32_t entry, in_grain = (uint32_t)(offset % e->grain);
  int result = entry_of(e, offset / e->grain, &entry);
  if (result)
    return result;
  if (entry == VMDK_FREE)
    return block_read_backing(b, e->start + offset, buf, len);
  if (!vmdk_is_place(e, entry)) {
    memset(buf, 0, len);
    return 0;
  }
  if (!(e->flags & VMDK_COMPRESSED))
    return file_read_padded(e->fd, (uint64_t)entry * SECTOR + in_grain, buf, len);
  result = unpack(e, entry, offset / e->grain);
  if (!result)
    memcpy(buf, e->plain + in_grain, len);
  return result;
}

int vmdk_sparse_status(struct vmdk_extent *e, uint64_t offset, uint64_t len, uint64_t *run) {
  uint32_t entry, other;
  int result = entry_of(e, offset / e->grain, &entry);
  uint64_t n = e->grain - offset % e->grain;
  if (result)
    return result;
  if (vmdk_is_place(e, entry)) {
    n = n < len ? n : len;
    *run = n;
    if (e->flags & VMDK_COMPRESSED)
      return BLOCK_STATE_DATA;
    return (int)file_state(e->fd, (uint64_t)entry * SECTOR + offset % e->grain, n, run);
  }
  while (n < len && entry_of(e, (offset + n) / e->grain, &other) == 0 && other == entry)
    n += e->grain;
  *run = n < len ? n : len;
  return entry == VMDK_ZEROED ? BLOCK_STATE_ZERO : BLOCK_STATE_UNALLOCATED;
}

/* --- writing ------------------------------------------------------------------------------------------ */

/* Compress a whole grain: over the last one if that was it, else behind it. */
static int write_packed(struct vmdk_extent *e, uint64_t offset, const uint8_t *buf, uint64_t len) {
  uint64_t grain = offset / e->grain, in_grain = offset % e->grain, left = e->size - grain * e->grain;
  uint32_t entry;
  int result = entry_of(e, grain, &entry);
  if (!result)
    result = buffers(e);
  if (!result && vmdk_is_place(e, entry))
    result = unpack(e, entry, grain);
  else if (!result)
    memset(e->plain, 0, e->grain);
  if (result)
    return result;
  memcpy(e->plain + in_grain, buf, len);
  e->plain_at = 0;
  if (left > e->grain)
    left = e->grain;
  bool again = vmdk_is_place(e, entry) && (uint64_t)entry * SECTOR == e->last_at;
  uint64_t at = again ? e->last_at : e->next;
  size_t packed = block_deflate(e->plain, e->grain, e->packed + MARKER, 2 * e->grain - MARKER, 15);
  if (!packed)
    return -EIO;
  put_le64(e->packed, (e->start + grain * e->grain) / SECTOR);
  put_le32(e->packed + 8, (uint32_t)packed);
  uint64_t bytes = (MARKER + packed + SECTOR - 1) / SECTOR * SECTOR;
  memset(e->packed + MARKER + packed, 0, bytes - MARKER - packed);
  if ((at + bytes) / SECTOR > UINT32_MAX)
    return -EFBIG;
  result = file_write(e->fd, at, e->packed, bytes);
  if (!result && !again)
    result = vmdk_set_entry(e, grain, (uint32_t)(at / SECTOR));
  if (result)
    return result;
  e->last_at = at;
  e->next = at + bytes;
  e->file_end = e->next > e->file_end ? e->next : e->file_end;
  return 0;
}

/* The first write to a grain. */
static int write_new(struct block *b, struct vmdk_extent *e, uint64_t offset, const void *buf, uint64_t len,
                     bool zeroed) {
  uint64_t at = e->next, end = at + e->grain, in_grain = offset % e->grain, grain = offset / e->grain;
  int result;
  if (end / SECTOR > UINT32_MAX)
    return -EFBIG;
  if (!zeroed && b->backing && len < e->grain) {
    result = buffers(e);
    if (!result)
      result = block_read_backing(b, e->start + grain * e->grain, e->plain, e->grain);
    if (result)
      return result;
    memcpy(e->plain + in_grain, buf, len);
    result = file_write(e->fd, at, e->plain, e->grain);
  } else {
    result = file_write(e->fd, at + in_grain, buf, len);
    if (!result && in_grain + len < e->grain && ftruncate(e->fd, (off_t)end) < 0)
      result = -errno;
  }
  if (result) { /* what is there of it must not be taken for zeros */
    if (ftruncate(e->fd, (off_t)e->file_end) < 0)
      e->next = end;
    return result;
  }
  e->file_end = end;
  e->next = end;
  return vmdk_set_entry(e, grain, (uint32_t)(at / SECTOR));
}

int vmdk_sparse_write(struct block *b, struct vmdk_extent *e, uint64_t offset, const void *buf,
                      uint64_t len) {
  uint32_t entry;
  if (e->flags & VMDK_COMPRESSED)
    return write_packed(e, offset, buf, len);
  /* A table first: it takes the end of the file, too. */
  uint32_t table = (uint32_t)(offset / e->grain / e->entries);
  int result = e->directory[table] ? 0 : add_table(e, table);
  if (!result)
    result = entry_of(e, offset / e->grain, &entry);
  if (result)
    return result;
  if (!vmdk_is_place(e, entry))
    return write_new(b, e, offset, buf, len, entry == VMDK_ZEROED);
  result = file_write(e->fd, (uint64_t)entry * SECTOR + offset % e->grain, buf, len);
  uint64_t end = (uint64_t)entry * SECTOR + offset % e->grain + len;
  if (!result && end > e->file_end)
    e->file_end = end;
  return result;
}

int vmdk_sparse_zero(struct block *b, struct vmdk_extent *e, uint64_t offset, uint64_t len) {
  static const uint8_t zeros[65536];
  uint32_t entry;
  int result = entry_of(e, offset / e->grain, &entry);
  if (result || (!vmdk_is_place(e, entry) && (entry == VMDK_ZEROED || !b->backing)))
    return result;
  if (entry == VMDK_FREE && len == e->grain && e->flags & VMDK_HAS_ZEROED)
    return vmdk_set_entry(e, offset / e->grain, VMDK_ZEROED);
  if (vmdk_is_place(e, entry) && !(e->flags & VMDK_COMPRESSED))
    return file_zero(e->fd, (uint64_t)entry * SECTOR + offset % e->grain, len);
  while (len && !result) {
    uint64_t n = len < sizeof zeros ? len : sizeof zeros;
    result = vmdk_sparse_write(b, e, offset, zeros, n);
    offset += n, len -= n;
  }
  return result;
}
