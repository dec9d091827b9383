/* SPDX-License-Identifier: MIT */
/*
 * Firmware configuration device: numbered items, read byte by byte through a data port or by DMA, and a
 * directory of named files (QEMU's docs/specs/fw_cfg describes the interface).
 *
 * Not modelled: writable items; a DMA write is answered with an error.
 */
#include "devices/fw_cfg.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES_MAX 32
#define ITEMS_MAX (FW_CFG_FILE_FIRST + FILES_MAX)
#define NAME_MAX_LEN 56
#define PIECE 32768u /* of an item in a file, copied at once */
#define ID_TRADITIONAL 1u
#define ID_DMA 2u

#define DMA_ERROR 0x01u
#define DMA_READ 0x02u
#define DMA_SKIP 0x04u
#define DMA_SELECT 0x08u
#define DMA_WRITE 0x10u

struct item {
  uint8_t *data; /* NULL: none, or in a file */
  uint32_t len;
  int file; /* descriptor + 1; 0 = in memory */
  uint64_t file_offset;
};

struct file_entry { /* of the directory item; numbers are big-endian */
  uint32_t size;
  uint16_t select, reserved;
  char name[NAME_MAX_LEN];
};

struct fw_cfg {
  struct device dev;
  struct item item[2][ITEMS_MAX]; /* generic, and those with bit 15 of the number */
  unsigned files;
  uint16_t selector;
  uint32_t offset;
  uint64_t dma_address;
};

static struct item *item_of(struct fw_cfg *s, uint16_t key) {
  unsigned n = key & 0x3fff; /* bit 14 asks for writing, which is not offered */
  return n < ITEMS_MAX ? &s->item[key >> 15][n] : NULL;
}

int fw_cfg_add(struct device *dev, uint16_t key, const void *data, size_t len) {
  struct fw_cfg *s = DEVICE(struct fw_cfg, dev);
  struct item *item = item_of(s, key);
  DGM_ASSERT(item && len <= UINT32_MAX);
  if (item->data || item->file)
    return -EEXIST;
  item->data = malloc(len ? len : 1);
  if (!item->data)
    return -ENOMEM;
  if (len)
    memcpy(item->data, data, len);
  item->len = (uint32_t)len;
  return 0;
}

int fw_cfg_add_part(struct device *dev, uint16_t key, const char *path, uint64_t offset, size_t len) {
  struct fw_cfg *s = DEVICE(struct fw_cfg, dev);
  struct item *item = item_of(s, key);
  DGM_ASSERT(item && len <= UINT32_MAX);
  if (item->data || item->file)
    return -EEXIST;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return -errno;
  *item = (struct item){.len = (uint32_t)len, .file = fd + 1, .file_offset = offset};
  return 0;
}

int fw_cfg_add_u16(struct device *dev, uint16_t key, uint16_t value) {
  return fw_cfg_add(dev, key, &value, 2);
}
int fw_cfg_add_u32(struct device *dev, uint16_t key, uint32_t value) {
  return fw_cfg_add(dev, key, &value, 4);
}
int fw_cfg_add_u64(struct device *dev, uint16_t key, uint64_t value) {
  return fw_cfg_add(dev, key, &value, 8);
}

int fw_cfg_add_file(struct device *dev, const char *name, const void *data, size_t len) {
  struct fw_cfg *s = DEVICE(struct fw_cfg, dev);
  if (s->files == FILES_MAX)
    return -ENOSPC;
  DGM_ASSERT(strlen(name) < NAME_MAX_LEN);
  uint16_t key = (uint16_t)(FW_CFG_FILE_FIRST + s->files);
  int error = fw_cfg_add(dev, key, data, len);
  if (error)
    return error;
  /* The directory: a big-endian count, then the entries. */
  struct item *dir = &s->item[0][FW_CFG_FILE_DIR];
  struct file_entry entry = {.size = __builtin_bswap32((uint32_t)len), .select = __builtin_bswap16(key)};
  memcpy(entry.name, name, strlen(name));
  uint32_t count = __builtin_bswap32(++s->files);
  uint8_t *grown = realloc(dir->data, 4 + s->files * sizeof entry);
  if (!grown)
    return -ENOMEM;
  memcpy(grown, &count, 4);
  memcpy(grown + 4 + (s->files - 1) * sizeof entry, &entry, sizeof entry);
  dir->data = grown;
  dir->len = (uint32_t)(4 + s->files * sizeof entry);
  return 0;
}

/* How many bytes the selected item has from the current offset on; without an item none. */
static uint32_t available(const struct item *item, uint32_t offset) {
  return item && (item->data || item->file) && offset < item->len ? item->len - offset : 0;
}

/* Of a file that has become shorter, zeros are read. */
static const uint8_t *item_bytes(const struct item *item, uint32_t offset, uint8_t *buffer, uint32_t len) {
  if (item->data)
    return item->data + offset;
  ssize_t n = pread(item->file - 1, buffer, len, (off_t)(item->file_offset + offset));
  if (n < (ssize_t)len)
    memset(buffer + (n < 0 ? 0 : n), 0, len - (n < 0 ? 0 : (uint32_t)n));
  return buffer;
}

static uint32_t data_read(void *opaque, uint32_t offset, int size) {
  struct fw_cfg *s = opaque;
  if (offset != 1)
    return size == 1 ? 0xff : 0xffff; /* the selector cannot be read */
  const struct item *item = item_of(s, s->selector);
  if (!available(item, s->offset))
    return 0;
  uint8_t buffer;
  return *item_bytes(item, s->offset++, &buffer, 1);
}

static void select_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct fw_cfg *s = opaque;
  if (offset != 0 || size != 2)
    return;
  s->selector = (uint16_t)value;
  s->offset = 0;
}

static const struct io_ops port_ops = {data_read, select_write, 2};

/* Past the end of an item come zeros. A hostile length must not keep us busy with holes: only memory is
 * filled. */
static void zero_fill(struct mem *m, uint64_t pa, uint64_t left) {
  static const uint8_t zeros[MEM_PAGE];
  while (left && pa < (uint64_t)MEM_PAGES * MEM_PAGE) {
    uint64_t n = MEM_PAGE - pa % MEM_PAGE;
    n = n < left ? n : left;
    if (m->page[pa / MEM_PAGE].write)
      mem_dma_write(m, pa, zeros, n);
    pa += n;
    left -= n;
  }
}

static void copy_item(struct fw_cfg *s, const struct item *item, uint64_t to, uint32_t len) {
  uint8_t buffer[PIECE];
  for (uint32_t done = 0; done < len;) {
    uint32_t n = len - done < PIECE ? len - done : PIECE;
    mem_dma_write(s->dev.mem, to + done, item_bytes(item, s->offset + done, buffer, n), n);
    done += n;
  }
}

/* Execute the command at the guest address given. */
static void dma_run(struct fw_cfg *s) {
  struct {
    uint32_t control, length;
    uint64_t address;
  } command;
  uint64_t at = s->dma_address;
  s->dma_address = 0;
  mem_dma_read(s->dev.mem, at, &command, sizeof command);
  uint32_t control = __builtin_bswap32(command.control), left = __builtin_bswap32(command.length);
  uint64_t to = __builtin_bswap64(command.address);
  uint32_t result = 0;
  if (control & DMA_SELECT) {
    s->selector = (uint16_t)(control >> 16);
    s->offset = 0;
  }
  if (control & (DMA_READ | DMA_SKIP)) {
    const struct item *item = item_of(s, s->selector);
    uint32_t len = available(item, s->offset);
    len = len < left ? len : left;
    if (control & DMA_READ) {
      copy_item(s, item, to, len);
      if (to < 1ull << 32)
        zero_fill(s->dev.mem, to + len, left - len);
    }
    s->offset += len;
  } else if (control & DMA_WRITE) {
    result = DMA_ERROR;
  }
  result = __builtin_bswap32(result);
  mem_dma_write(s->dev.mem, at, &result, sizeof result);
}

/* A big-endian register of 64 bits: high half at offset 0; writing the low half starts the transfer. */
static uint32_t dma_read(void *opaque, uint32_t offset, int size) {
  (void)opaque;
  static const char signature[] = "QEMU CFG";
  uint32_t value = 0;
  for (int i = 0; i < size; i++)
    value |= (uint32_t)(uint8_t)signature[(offset + (uint32_t)i) & 7] << (8 * i);
  return value;
}

static void dma_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct fw_cfg *s = opaque;
  if (size != 4)
    return;
  value = __builtin_bswap32(value);
  if (offset == 0) {
    s->dma_address = (uint64_t)value << 32;
  } else {
    s->dma_address |= value;
    dma_run(s);
  }
}

static const struct io_ops dma_ops = {dma_read, dma_write, 4};

static int fw_cfg_init(struct device *dev, const struct device_args *args) {
  struct fw_cfg *s = DEVICE(struct fw_cfg, dev);
  int error = io_map(dev->io, args->port[0], 2, &port_ops, s, dev->id);
  if (!error)
    error = io_map(dev->io, args->port[1], 8, &dma_ops, s, dev->id);
  if (!error)
    error = fw_cfg_add(dev, FW_CFG_SIGNATURE, "QEMU", 4);
  if (!error)
    error = fw_cfg_add_u32(dev, FW_CFG_ID, ID_TRADITIONAL | ID_DMA);
  return error;
}

static void fw_cfg_reset(struct device *dev) {
  struct fw_cfg *s = DEVICE(struct fw_cfg, dev);
  s->selector = 0;
  s->offset = 0;
  s->dma_address = 0;
}

static void fw_cfg_destroy(struct device *dev) {
  struct fw_cfg *s = DEVICE(struct fw_cfg, dev);
  for (unsigned i = 0; i < 2 * ITEMS_MAX; i++) {
    struct item *item = &s->item[i / ITEMS_MAX][i % ITEMS_MAX];
    free(item->data);
    if (item->file)
      close(item->file - 1);
  }
}

static const struct field fw_cfg_fields[] = {
    FIELD(U16, struct fw_cfg, selector),
    FIELD(U32, struct fw_cfg, offset),
    FIELD(U64, struct fw_cfg, dma_address),
    FIELDS_END,
};

const struct device_class fw_cfg_class = {
    .name = "fw_cfg",
    .size = sizeof(struct fw_cfg),
    .init = fw_cfg_init,
    .reset = fw_cfg_reset,
    .destroy = fw_cfg_destroy,
    .fields = fw_cfg_fields,
};
