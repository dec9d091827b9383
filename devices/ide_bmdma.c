/* SPDX-License-Identifier: MIT */
/*
 * Bus master IDE engine (SFF-8038i rev 1.0; 82371SB 2.7): command, status and descriptor table registers, and
 * the walk along the physical region descriptors. The table may be anything: an entry moves 2 to 65536 bytes,
 * the walk stays within the 64 KB that the table lies in, and it only goes as far as the drive has bytes to
 * move.
 *
 * Not modelled: the direction bit (the drive's command decides), posting and bus timing.
 */
#include "devices/ide_int.h"

#include <string.h>

enum { BM_START = 0x01, BM_TO_MEMORY = 0x08 };
enum { BM_ACTIVE = 0x01, BM_ERROR = 0x02, BM_INTERRUPT = 0x04, BM_CAPABLE = 0x60 };

void bmdma_reset(struct ide_channel *ch) {
  ch->bm_command = ch->bm_status = 0;
  ch->bm_table = ch->prd_next = ch->prd_addr = ch->prd_left = 0;
  ch->prd_last = ch->dma_waiting = false;
}

bool bmdma_running(const struct ide_channel *ch) {
  return ch->bm_status & BM_ACTIVE && ch->bm_command & BM_START && pci_bus_master(ch->func);
}

void bmdma_begin(struct ide_channel *ch) {
  ide_active(ch)->status = ST_DRDY | ST_DSC | ST_DRQ;
  ch->dma_waiting = true;
  bmdma_kick(ch);
}

void bmdma_kick(struct ide_channel *ch) {
  if (!ch->dma_waiting || !bmdma_running(ch))
    return;
  ch->dma_waiting = false;
  ide_schedule(ch, STEP_DMA);
}

void bmdma_stall(struct ide_channel *ch) {
  ch->bm_status &= (uint8_t)~BM_ACTIVE;
  ide_active(ch)->status = ST_DRDY | ST_DSC | ST_DRQ;
  ch->dma_waiting = true;
}

static void next_descriptor(struct ide_channel *ch) {
  uint8_t prd[8];
  mem_dma_read(ch->dev->mem, ch->prd_next, prd, sizeof prd);
  ch->prd_next = (ch->prd_next & 0xffff0000u) | ((ch->prd_next + 8) & 0xffffu);
  ch->prd_addr = (uint32_t)(prd[0] | prd[1] << 8 | prd[2] << 16) | (uint32_t)prd[3] << 24;
  ch->prd_addr &= ~1u;
  ch->prd_left = (uint32_t)(prd[4] | prd[5] << 8) & 0xfffe;
  if (!ch->prd_left)
    ch->prd_left = 0x10000;
  ch->prd_last = prd[7] & 0x80;
}

uint32_t bmdma_move(struct ide_channel *ch, uint8_t *buf, uint32_t len, bool to_memory) {
  uint32_t moved = 0;
  while (moved < len) {
    if (!ch->prd_left) {
      if (ch->prd_last)
        break;
      next_descriptor(ch);
    }
    uint32_t n = len - moved < ch->prd_left ? len - moved : ch->prd_left;
    if (to_memory)
      mem_dma_write(ch->dev->mem, ch->prd_addr, buf + moved, n);
    else
      mem_dma_read(ch->dev->mem, ch->prd_addr, buf + moved, n);
    moved += n;
    ch->prd_addr += n;
    ch->prd_left -= n;
  }
  return moved;
}

/* ACTIVE stays set if the table describes more than the drive had. */
void bmdma_interrupt(struct ide_channel *ch) {
  ch->bm_status |= BM_INTERRUPT;
  if (ch->prd_last && !ch->prd_left)
    ch->bm_status &= (uint8_t)~BM_ACTIVE;
}

static void write_bm_command(struct ide_channel *ch, uint8_t value) {
  uint8_t old = ch->bm_command;
  ch->bm_command = value & (BM_START | BM_TO_MEMORY);
  if (value & BM_START && !(old & BM_START)) {
    ch->prd_next = ch->bm_table;
    ch->prd_left = 0;
    ch->prd_last = false;
    ch->bm_status |= BM_ACTIVE;
    bmdma_kick(ch);
  } else if (!(value & BM_START)) {
    ch->bm_status &= (uint8_t)~BM_ACTIVE;
  }
}

static uint8_t read_byte(const struct ide_channel *ch, uint32_t offset) {
  switch (offset) {
  case 0: return ch->bm_command;
  case 2: return ch->bm_status;
  case 4:
  case 5:
  case 6:
  case 7: return (uint8_t)(ch->bm_table >> 8 * (offset - 4));
  default: return 0;
  }
}

static void write_byte(struct ide_channel *ch, uint32_t offset, uint8_t value) {
  switch (offset) {
  case 0: write_bm_command(ch, value); break;
  case 2:
    ch->bm_status &= (uint8_t) ~(value & (BM_ERROR | BM_INTERRUPT));
    ch->bm_status = (uint8_t)((ch->bm_status & ~BM_CAPABLE) | (value & BM_CAPABLE));
    break;
  case 4:
  case 5:
  case 6:
  case 7:
    ch->bm_table &= ~(0xffu << 8 * (offset - 4));
    ch->bm_table |= (uint32_t)value << 8 * (offset - 4);
    ch->bm_table &= ~3u;
    break;
  default: break;
  }
}

/* Offsets 0-7 primary, 8-15 secondary channel. */
static uint32_t bm_read(void *opaque, uint32_t offset, int size) {
  struct ide_channel *channels = opaque;
  uint32_t value = 0;
  for (int i = 0; i < size; i++) {
    uint32_t at = (offset + (uint32_t)i) & 15;
    value |= (uint32_t)read_byte(&channels[at >> 3], at & 7) << 8 * i;
  }
  return value;
}

static void bm_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct ide_channel *channels = opaque;
  for (int i = 0; i < size; i++) {
    uint32_t at = (offset + (uint32_t)i) & 15;
    write_byte(&channels[at >> 3], at & 7, (uint8_t)(value >> 8 * i));
  }
}

const struct io_ops bmdma_ops = {bm_read, bm_write, 4};
