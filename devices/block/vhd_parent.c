/* SPDX-License-Identifier: MIT */
/*
 * The parent of a differencing VHD: up to eight "parent locators" say where it is, each in the words of
 * another system, and the header bears its name. What is beside the child is preferred; drives and volumes of
 * Windows mean nothing here, so of such paths only the last component is tried. The parent must be a VHD and
 * bear the identity that the child asks for, wherever it was found.
 */
#include "devices/block/vhd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NAME_BYTES VHD_NAME_BYTES

bool vhd_from_utf16(const uint8_t *in, uint32_t len, bool big, char *out, size_t size) {
  size_t n = 0;
  for (uint32_t i = 0; i + 1 < len; i += 2) {
    uint32_t ch = big ? be16_at(in + i) : le16_at(in + i);
    if (!ch)
      break;
    if (ch >= 0xd800 && ch < 0xdc00 && i + 3 < len) {
      uint32_t low = big ? be16_at(in + i + 2) : le16_at(in + i + 2);
      if (low < 0xdc00 || low > 0xdfff)
        return false;
      ch = 0x10000 + ((ch - 0xd800) << 10) + (low - 0xdc00);
      i += 2;
    } else if ((ch >= 0xd800 && ch < 0xe000) || ch < 0x20) {
      return false;
    }
    if (n + 5 > size)
      return false;
    if (ch < 0x80) {
      out[n++] = ch == '\\' ? '/' : (char)ch;
      continue;
    }
    if (ch < 0x800) {
      out[n++] = (char)(0xc0 | ch >> 6);
    } else {
      if (ch < 0x10000) {
        out[n++] = (char)(0xe0 | ch >> 12);
      } else {
        out[n++] = (char)(0xf0 | ch >> 18);
        out[n++] = (char)(0x80 | (ch >> 12 & 0x3f));
      }
      out[n++] = (char)(0x80 | (ch >> 6 & 0x3f));
    }
    out[n++] = (char)(0x80 | (ch & 0x3f));
  }
  out[n] = '\0';
  return n > 0;
}

static int hex(char c) {
  return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* file://host/path, with %xx: the path. "file://./x" is relative, as some write it. */
static bool from_url(const char *in, char *out, size_t size) {
  size_t n = 0;
  if (strncmp(in, "file://", 7))
    return false;
  in += 7;
  if (*in != '.' && *in != '/')
    in += strcspn(in, "/");
  for (; *in; in++) {
    int high = *in == '%' ? hex(in[1]) : -1, low = high >= 0 ? hex(in[2]) : -1;
    if (n + 2 > size || (low >= 0 && high * 16 + low < 0x20))
      return false;
    out[n++] = low >= 0 ? (char)(high * 16 + low) : *in;
    in += low >= 0 ? 2 : 0;
  }
  out[n] = '\0';
  return n > 0;
}

bool vhd_make_local(char *name) {
  bool drive = name[0] && name[1] == ':';
  if (drive || !strncmp(name, "//", 2)) {
    const char *last = strrchr(name, '/') ? strrchr(name, '/') + 1 : name + 2;
    memmove(name, last, strlen(last) + 1);
  }
  while (!strncmp(name, "./", 2))
    memmove(name, name + 2, strlen(name + 2) + 1);
  return *name != '\0';
}

static bool locator_name(struct block *b, const uint8_t *l, char *name) {
  uint8_t raw[NAME_BYTES + 1];
  char url[NAME_BYTES + 1];
  uint32_t code = be32_at(l), len = be32_at(l + 8);
  uint64_t at = be64_at(l + 16);
  if (!len || len > NAME_BYTES || at > b->file_size || len > b->file_size - at ||
      file_read(b->fd, at, raw, len))
    return false;
  raw[len] = '\0';
  switch (code) {
  case 0x57327275: /* W2ru, W2ku: UTF-16 */
  case 0x57326b75: return vhd_from_utf16(raw, len, false, name, NAME_BYTES) && vhd_make_local(name);
  case 0x57693272: /* Wi2r, Wi2k: no longer used */
  case 0x5769326b:
    snprintf(name, NAME_BYTES, "%.*s", (int)NAME_BYTES - 1, (const char *)raw);
    for (char *p = name; *p; p++)
      *p = *p == '\\' ? '/' : *p;
    return vhd_make_local(name);
  case 0x4d616358: /* MacX */
    memcpy(url, raw, len + 1);
    return from_url(url, name, NAME_BYTES) && vhd_make_local(name);
  default: return false;
  }
}

/* 1: this is the parent, and open; 0: there is none; or -errno. */
static int try(struct block *b, struct vhd *v, const char *name, const char **error) {
  char *path = block_path_beside(b->path, name);
  bool there = path && access(path, F_OK) == 0;
  free(path);
  if (!there)
    return 0;
  int result = block_open_backing(b, name, "vpc", error);
  if (result)
    return result;
  const struct vhd *parent = b->backing->state;
  if (memcmp(parent->footer + VHD_UUID, v->header + VHD_DYN_PARENT_UUID, 16)) {
    *error = block_message("VHD image '%s': '%s' is not its parent, or was made anew since: it bears another "
                           "identity",
                           b->path, b->backing->path);
    block_close(b->backing);
    b->backing = NULL;
    return -EINVAL;
  }
  free(b->backing_name);
  b->backing_name = strdup(name);
  b->backing_format = strdup("vpc");
  return b->backing_name && b->backing_format ? 1 : -ENOMEM;
}

int vhd_open_parent(struct block *b, struct vhd *v, const char **error) {
  static const uint32_t order[] = {0x57327275, 0x4d616358, 0x57693272, 0x57326b75, 0x5769326b};
  char name[NAME_BYTES + 1], wanted[NAME_BYTES + 1] = "";
  int result = 0;
  for (unsigned i = 0; i < sizeof order / sizeof order[0] && result <= 0; i++)
    for (int l = 0; l < VHD_LOCATORS && result <= 0; l++) {
      const uint8_t *locator = v->header + VHD_DYN_LOCATORS + 24 * l;
      if (be32_at(locator) != order[i] || !locator_name(b, locator, name))
        continue;
      memcpy(wanted, name, sizeof wanted);
      int now = try(b, v, name, error);
      result = now ? now : result;
    }
  if (result <= 0 && vhd_from_utf16(v->header + VHD_DYN_PARENT_NAME, 512, true, name, NAME_BYTES) &&
      vhd_make_local(name)) {
    int now = try(b, v, name, error);
    result = now ? now : result;
    memcpy(wanted, name, sizeof wanted);
  }
  if (result > 0)
    return 0;
  if (result < 0)
    return result;
  *error = wanted[0] ? block_message("VHD image '%s': its parent '%s' is not there", b->path, wanted)
                     : block_message("VHD image '%s': it does not say where its parent is", b->path);
  return -ENOENT;
}
