/* SPDX-License-Identifier: MIT */
/*
 * The log of a VHDX ([MS-VHDX] 2.3): a ring of entries, each a list of 4 kB sectors to be put somewhere in
 * the file, or of ranges to be zeros. A file that was not closed properly is only right with the last
 * complete sequence of entries laid over it, which is done in memory: the file is never written.
 */
#include "devices/block/vhdx.h"

#include <stdlib.h>
#include <string.h>

#define UNIT 4096u
#define MAX_LOG (64u << 20)
#define MAX_PATCHES 65536u
#define ENTRY_HEADER 64u
#define DESCRIPTOR 32u

uint32_t vhdx_crc(uint32_t crc, const void *data, uint64_t len) {
  static uint32_t table[256];
  if (!table[1])
    for (uint32_t i = 256; i-- > 1;) {
      uint32_t c = i;
      for (int bit = 0; bit < 8; bit++)
        c = c >> 1 ^ (c & 1 ? 0x82f63b78u : 0);
      table[i] = c;
    }
  crc = ~crc;
  for (const uint8_t *p = data; len--; p++)
    crc = crc >> 8 ^ table[(crc ^ *p) & 255];
  return ~crc;
}

int vhdx_fetch(struct block *b, const struct vhdx *v, uint64_t at, void *buf, uint64_t len) {
  int result = file_read_padded(b->fd, at, buf, len);
  if (result || at >= v->patched_to || at + len <= v->patched_from)
    return result;
  for (uint32_t i = 0; i < v->patches; i++) { /* in the log's order: the last one counts */
    const struct vhdx_patch *p = &v->patch[i];
    uint64_t from = p->at > at ? p->at : at, to = p->at + p->len < at + len ? p->at + p->len : at + len;
    if (from >= to)
      continue;
    if (p->data)
      memcpy((uint8_t *)buf + (from - at), p->data + (from - p->at), to - from);
    else
      memset((uint8_t *)buf + (from - at), 0, to - from);
  }
  return 0;
}

struct log {
  const struct vhdx *v;
  const uint8_t *data; /* twice, one behind the other, so that no entry is cut by the ring's end */
  uint32_t len;
  uint64_t budget; /* bytes that may be summed up: entries of a hostile log can overlap without end */
};

static uint32_t descriptor_bytes(uint32_t n) {
  return (ENTRY_HEADER + n * DESCRIPTOR + UNIT - 1) / UNIT * UNIT;
}

/* An entry that is whole? */
static bool entry_valid(struct log *l, uint32_t at) {
  static const uint8_t zero[4];
  const uint8_t *e = l->data + at;
  uint32_t len = le32_at(e + 8), n = le32_at(e + 24), sectors = 0;
  uint64_t sequence = le64_at(e + 16);
  if (memcmp(e, "loge", 4) || !len || len % UNIT || len > l->len || !sequence || n > len / DESCRIPTOR ||
      memcmp(e + 32, l->v->header + VHDX_LOG_GUID, VHDX_GUID) || descriptor_bytes(n) > len ||
      le32_at(e + 12) % UNIT || le32_at(e + 12) >= l->len || len > l->budget)
    return false;
  l->budget -= len;
  uint32_t crc = vhdx_crc(0, e, 4);
  crc = vhdx_crc(crc, zero, 4);
  if (vhdx_crc(crc, e + 8, len - 8) != le32_at(e + 4))
    return false;
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *d = e + ENTRY_HEADER + (uint64_t)i * DESCRIPTOR;
    bool zeros = !memcmp(d, "zero", 4);
    if ((!zeros && memcmp(d, "desc", 4)) || le64_at(d + 24) != sequence || le64_at(d + 16) % UNIT ||
        le64_at(d + 16) >> 62 || (zeros && (le64_at(d + 8) % UNIT || le64_at(d + 8) >> 62)))
      return false;
    if (zeros)
      continue;
    uint64_t sector = descriptor_bytes(n) + (uint64_t)sectors++ * UNIT;
    if (sector + UNIT > len)
      return false;
    const uint8_t *s = e + sector;
    if (memcmp(s, "data", 4) || ((uint64_t)le32_at(s + 4) << 32 | le32_at(s + UNIT - 4)) != sequence)
      return false;
  }
  return true;
}

/* The sequence that begins at `tail`: how many entries, and the number of the last. 0: none. */
static uint32_t sequence_at(const struct log *l, const uint8_t *valid, uint32_t tail, uint64_t *last) {
  uint32_t at = tail, count = 0, used = 0, whole = 0;
  uint64_t expected = 0;
  while (valid[at / UNIT]) {
    const uint8_t *e = l->data + at;
    uint32_t len = le32_at(e + 8);
    if ((count && le64_at(e + 16) != expected) || used + len > l->len)
      break;
    used += len;
    count++;
    expected = le64_at(e + 16) + 1;
    if (le32_at(e + 12) == tail) { /* an entry may be the last one if it knows where the first is */
      whole = count;
      *last = expected - 1;
    }
    at = (at + len) % l->len;
  }
  return whole;
}

static int add_patch(struct vhdx *v, uint64_t at, uint64_t len, const uint8_t *descriptor,
                     const uint8_t *sector) {
  if (!len)
    return 0;
  if (v->patches == MAX_PATCHES)
    return -EFBIG;
  if (v->patches % 256 == 0) {
    struct vhdx_patch *more = realloc(v->patch, (v->patches + 256) * sizeof *more);
    if (!more)
      return -ENOMEM;
    v->patch = more;
  }
  struct vhdx_patch p = {.at = at, .len = len};
  if (sector) { /* what marks the sector in the log stands in for twelve bytes of its own */
    p.data = malloc(UNIT);
    if (!p.data)
      return -ENOMEM;
    memcpy(p.data, sector, UNIT);
    memcpy(p.data, descriptor + 8, 8);
    memcpy(p.data + UNIT - 4, descriptor + 4, 4);
  }
  v->patch[v->patches++] = p;
  v->patched_from = at < v->patched_from ? at : v->patched_from;
  v->patched_to = at + len > v->patched_to ? at + len : v->patched_to;
  return 0;
}

static int apply(struct vhdx *v, const uint8_t *e) {
  uint32_t n = le32_at(e + 24);
  const uint8_t *sector = e + descriptor_bytes(n);
  for (uint32_t i = 0; i < n; i++) {
    const uint8_t *d = e + ENTRY_HEADER + (uint64_t)i * DESCRIPTOR;
    bool zeros = !memcmp(d, "zero", 4);
    int result = add_patch(v, le64_at(d + 16), zeros ? le64_at(d + 8) : UNIT, d, zeros ? NULL : sector);
    if (result)
      return result;
    sector += zeros ? 0 : UNIT;
  }
  return 0;
}

static int replay(struct block *b, struct vhdx *v, struct log *l, uint8_t *valid, const char **error) {
  uint64_t best_last = 0, last = 0;
  uint32_t best = 0, best_at = 0;
  for (uint32_t at = 0; at < l->len; at += UNIT)
    valid[at / UNIT] = entry_valid(l, at);
  for (uint32_t at = 0; at < l->len; at += UNIT) {
    uint32_t count = sequence_at(l, valid, at, &last);
    if (count && last > best_last)
      best = count, best_at = at, best_last = last;
  }
  if (!best) {
    *error = block_message("VHDX image '%s': it was not closed properly and its log is damaged", b->path);
    return -EINVAL;
  }
  int result = 0;
  for (uint32_t i = 0, at = best_at; i < best && !result; i++) {
    const uint8_t *e = l->data + at;
    if (le64_at(e + 48) > b->file_size) {
      *error = block_message("VHDX image '%s': the file was longer when its log was written: is it cut off?",
                             b->path);
      return -EINVAL;
    }
    result = apply(v, e);
    at = (at + le32_at(e + 8)) % l->len;
  }
  if (result)
    *error = block_message("VHDX image '%s': cannot take its log over: %s", b->path, strerror(-result));
  return result;
}

int vhdx_replay(struct block *b, struct vhdx *v, const char **error) {
  static const uint8_t none[VHDX_GUID];
  const uint8_t *h = v->header;
  uint64_t at = le64_at(h + VHDX_LOG_AT);
  uint32_t len = le32_at(h + VHDX_LOG_LENGTH);
  v->patched_from = UINT64_MAX;
  if (!memcmp(h + VHDX_LOG_GUID, none, VHDX_GUID))
    return 0;
  v->dirty = true;
  if (le16_at(h + VHDX_LOG_VERSION) != 0 || !len || len % UNIT || len > MAX_LOG || at > b->file_size ||
      len > b->file_size - at) {
    *error =
        block_message("VHDX image '%s': its log is of an unknown version, larger than 64 MB or does not lie "
                      "inside of the file",
                      b->path);
    return -EINVAL;
  }
  uint8_t *data = malloc(2ull * len), *valid = malloc(len / UNIT);
  int result = data && valid ? file_read(b->fd, at, data, len) : -ENOMEM;
  if (result) {
    *error = block_message("cannot read the log of VHDX image '%s': %s", b->path, strerror(-result));
  } else {
    memcpy(data + len, data, len);
    struct log l = {.v = v, .data = data, .len = len, .budget = 16ull * len};
    result = replay(b, v, &l, valid, error);
  }
  free(data);
  free(valid);
  return result;
}
