/* SPDX-License-Identifier: MIT */
/* Makes VHDX images byte by byte, for tests: Dragoman itself makes none. [MS-VHDX] 2.2 to 2.6. */
#ifndef TESTS_IMG_VHDX_BUILD_H
#define TESTS_IMG_VHDX_BUILD_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "devices/block/vhdx.h"

#define VHDX_BUILD_MB (1u << 20)
#define VHDX_BUILD_LOG VHDX_BUILD_MB
#define VHDX_BUILD_TABLE (2 * VHDX_BUILD_MB)
#define VHDX_BUILD_METADATA (3 * VHDX_BUILD_MB)
#define VHDX_BUILD_DATA (4 * VHDX_BUILD_MB)
#define VHDX_BUILD_IDENTITY "11223344-5566-7788-99AA-BBCCDDEEFF00"

struct vhdx_recipe {
  uint64_t size;
  uint32_t block, sector;
  bool parent;
  const char *linkage; /* of the parent, "{...}" */
  uint32_t log_len;    /* 0: 1 MB */
};

static inline void vhdx_build_put(int fd, uint64_t at, const void *data, size_t len) {
  if (file_write(fd, at, data, len))
    abort();
}

static inline void vhdx_build_wide(uint8_t *to, const char *text) {
  for (; *text; to += 2, text++)
    to[0] = (uint8_t)*text, to[1] = 0;
}

static inline void vhdx_build_guid(uint8_t *to, const char *digits) { /* 2DC27766-F623-... */
  static const uint8_t order[16] = {3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15};
  for (unsigned i = 0; i < 16; i++) {
    char byte[3] = {0};
    digits += *digits == '-';
    memcpy(byte, digits, 2);
    to[order[i]] = (uint8_t)strtoul(byte, NULL, 16);
    digits += 2;
  }
}

static inline void vhdx_build_header(int fd, unsigned which, uint64_t sequence, uint32_t log_len, bool log) {
  uint8_t h[4096] = {0};
  memcpy(h, "head", 4);
  put_le64(h + 8, sequence);
  vhdx_build_guid(h + 32, VHDX_BUILD_IDENTITY);
  if (log)
    memset(h + 48, 0x11, 16);
  put_le16(h + 66, 1);
  put_le32(h + 68, log_len);
  put_le64(h + 72, VHDX_BUILD_LOG);
  put_le32(h + 4, vhdx_crc(0, h, sizeof h));
  vhdx_build_put(fd, 65536 * (which + 1), h, sizeof h);
}

static inline void vhdx_build_item(int fd, unsigned index, const char *id, uint32_t at, uint32_t len,
                                   uint32_t flags) {
  uint8_t e[32] = {0};
  vhdx_build_guid(e, id);
  put_le32(e + 16, at);
  put_le32(e + 20, len);
  put_le32(e + 24, flags);
  vhdx_build_put(fd, VHDX_BUILD_METADATA + 32 + 32 * index, e, sizeof e);
}

static inline void vhdx_build_locator(int fd, const char *linkage) {
  static const char *const keys[] = {"parent_linkage", "relative_path"};
  const char *values[] = {linkage, ".\\base"};
  uint8_t l[1024] = {0};
  uint32_t at = 100;
  vhdx_build_guid(l, "B04AEFB7-D19E-4A81-B789-25B8E9445913");
  put_le16(l + 18, 2);
  for (unsigned i = 0; i < 2; i++) {
    uint8_t *e = l + 20 + 12 * i;
    put_le32(e, at);
    put_le16(e + 8, (uint16_t)(2 * strlen(keys[i])));
    vhdx_build_wide(l + at, keys[i]);
    at += 2 * (uint32_t)strlen(keys[i]);
    put_le32(e + 4, at);
    put_le16(e + 10, (uint16_t)(2 * strlen(values[i])));
    vhdx_build_wide(l + at, values[i]);
    at += 2 * (uint32_t)strlen(values[i]);
  }
  vhdx_build_put(fd, VHDX_BUILD_METADATA + 65536 + 256, l, sizeof l);
  vhdx_build_item(fd, 3, "A8D35F2D-B30B-454D-ABF7-D3D84834AB0C", 65536 + 256, sizeof l, 4);
}

static inline void vhdx_build(int fd, const struct vhdx_recipe *r) {
  static uint8_t regions[65536];
  uint8_t head[32] = "metadata", numbers[24] = {0};
  vhdx_build_put(fd, 0, "vhdxfile", 8);
  vhdx_build_header(fd, 0, 5, r->log_len ? r->log_len : VHDX_BUILD_MB, false);
  vhdx_build_header(fd, 1, 6, r->log_len ? r->log_len : VHDX_BUILD_MB, false);
  memset(regions, 0, sizeof regions);
  memcpy(regions, "regi", 4);
  put_le32(regions + 8, 2);
  vhdx_build_guid(regions + 16, "2DC27766-F623-4200-9D64-115E9BFD4A08");
  put_le64(regions + 32, VHDX_BUILD_TABLE);
  put_le32(regions + 40, VHDX_BUILD_MB);
  put_le32(regions + 44, 1);
  vhdx_build_guid(regions + 48, "8B7CA206-4790-4B9A-B8FE-575F050F886E");
  put_le64(regions + 64, VHDX_BUILD_METADATA);
  put_le32(regions + 72, VHDX_BUILD_MB);
  put_le32(regions + 76, 1);
  put_le32(regions + 4, vhdx_crc(0, regions, sizeof regions));
  vhdx_build_put(fd, 3 * 65536, regions, sizeof regions);
  vhdx_build_put(fd, 4 * 65536, regions, sizeof regions);
  put_le16(head + 10, r->parent ? 4 : 3);
  vhdx_build_put(fd, VHDX_BUILD_METADATA, head, sizeof head);
  put_le32(numbers, r->block);
  numbers[4] = r->parent ? 2 : 0;
  put_le64(numbers + 8, r->size);
  put_le32(numbers + 16, r->sector);
  vhdx_build_put(fd, VHDX_BUILD_METADATA + 65536, numbers, sizeof numbers);
  vhdx_build_item(fd, 0, "CAA16737-FA36-4D43-B3B6-33F0AA44E76B", 65536, 8, 4);
  vhdx_build_item(fd, 1, "2FA54224-CD1B-4876-B211-5DBED83BF4B8", 65536 + 8, 8, 6);
  vhdx_build_item(fd, 2, "8141BF1D-A96F-4709-BA47-F233A8FAAB5F", 65536 + 16, 4, 6);
  if (r->parent)
    vhdx_build_locator(fd, r->linkage);
  if (ftruncate(fd, VHDX_BUILD_DATA) < 0)
    abort();
}

/* An entry of the log at `at` (may go round): one data sector for `target` filled with `with`, and zeros over
 * `zero_len` bytes at `zero_at`. */
static inline void vhdx_build_log(int fd, uint32_t log_len, uint32_t at, uint32_t tail, uint64_t sequence,
                                  uint64_t target, uint8_t with, uint64_t zero_at, uint64_t zero_len) {
  uint8_t e[8192] = {0};
  memcpy(e, "loge", 4);
  put_le32(e + 8, sizeof e);
  put_le32(e + 12, tail);
  put_le64(e + 16, sequence);
  put_le32(e + 24, 2);
  memset(e + 32, 0x11, 16);
  put_le64(e + 48, VHDX_BUILD_DATA);
  put_le64(e + 56, VHDX_BUILD_DATA);
  uint8_t *d = e + 64;
  memcpy(d, "desc", 4);
  memset(d + 4, with, 12);
  put_le64(d + 16, target);
  put_le64(d + 24, sequence);
  memcpy(d + 32, "zero", 4);
  put_le64(d + 32 + 8, zero_len);
  put_le64(d + 32 + 16, zero_at);
  put_le64(d + 32 + 24, sequence);
  memset(e + 4096, with, 4096);
  memcpy(e + 4096, "data", 4);
  put_le32(e + 4100, (uint32_t)(sequence >> 32));
  put_le32(e + 8188, (uint32_t)sequence);
  put_le32(e + 4, vhdx_crc(0, e, sizeof e));
  vhdx_build_put(fd, VHDX_BUILD_LOG + at, e, 4096);
  vhdx_build_put(fd, VHDX_BUILD_LOG + (at + 4096) % log_len, e + 4096, 4096);
}

#endif
