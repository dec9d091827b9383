/* SPDX-License-Identifier: MIT */
/*
 * Commands of an ATA hard disk: ATA/ATAPI-6 (T13 1410D) general and PACKET-less feature sets with 48-bit
 * addresses, power management and SMART, and what older drivers expect from ATA-1 to ATA-3 (CHS translation,
 * SEEK, RECALIBRATE, retired opcode aliases).
 *
 * Not modelled: security, host protected area (but for READ NATIVE MAX), READ/WRITE LONG, tagged queueing,
 * advanced power and acoustic management, firmware download.
 */
#include "devices/ide_int.h"

#include <string.h>

enum { SMART_CYL_MID = 0x4f, SMART_CYL_HIGH = 0xc2 };

void ata_word(uint8_t *identify, unsigned word, uint16_t value) {
  identify[2 * word] = (uint8_t)value;
  identify[2 * word + 1] = (uint8_t)(value >> 8);
}

void ata_string(uint8_t *to, const char *text, unsigned len) {
  for (unsigned i = 0; i < len; i++) {
    to[i ^ 1] = *text ? (uint8_t)*text : ' ';
    if (*text)
      text++;
  }
}

void ata_drive_init(struct ide_drive *d) {
  DGM_ASSERT(d->block);
  d->sectors = block_size(d->block) / SECTOR;
  if (!d->default_heads || d->default_heads > 16)
    d->default_heads = 16;
  if (!d->default_spt)
    d->default_spt = 63;
  if (!d->default_cylinders) {
    uint64_t cylinders = d->sectors / ((uint64_t)d->default_heads * d->default_spt);
    d->default_cylinders = (uint16_t)(cylinders < 1 ? 1 : cylinders > 16383 ? 16383 : cylinders);
  }
}

void ata_drive_reset(struct ide_drive *d) {
  d->cylinders = d->default_cylinders;
  d->heads = d->default_heads;
  d->spt = d->default_spt;
  d->multiple = IDE_MULTIPLE_MAX;
  d->mwdma = 1 << 2;
  d->udma = 0;
  d->write_cache = d->look_ahead = d->smart = true;
  d->standby = false;
}

/* Where the task file points, in sectors; false: no such CHS address. */
static bool task_lba(const struct ide_drive *d, bool ext, uint64_t *lba) {
  const struct ide_taskfile *tf = &d->tf, *hob = &d->hob;
  uint32_t low = tf->low | (uint32_t)tf->mid << 8 | (uint32_t)tf->high << 16;
  if (ext) {
    *lba = low | (uint64_t)hob->low << 24 | (uint64_t)hob->mid << 32 | (uint64_t)hob->high << 40;
    return true;
  }
  if (d->device & DEV_LBA) {
    *lba = low | (uint32_t)(d->device & 15) << 24;
    return true;
  }
  uint32_t cylinder = low >> 8, head = d->device & 15, sector = tf->low;
  *lba = ((uint64_t)cylinder * d->heads + head) * d->spt + sector - 1;
  return sector >= 1 && sector <= d->spt && head < d->heads && cylinder < d->cylinders;
}

/* Show an address in the task file: of the last sector done, or of the one that failed. */
static void show_lba(struct ide_drive *d, uint64_t lba) {
  uint32_t low = (uint32_t)lba;
  if (!d->ext && !(d->device & DEV_LBA)) {
    uint32_t cylinder = low / ((uint32_t)d->heads * d->spt);
    uint32_t head = low / d->spt % d->heads;
    low = (low % d->spt + 1) | cylinder << 8 | head << 24;
  }
  d->tf.low = (uint8_t)low;
  d->tf.mid = (uint8_t)(low >> 8);
  d->tf.high = (uint8_t)(low >> 16);
  if (d->ext) {
    d->hob.low = (uint8_t)(lba >> 24);
    d->hob.mid = (uint8_t)(lba >> 32);
    d->hob.high = (uint8_t)(lba >> 40);
  } else {
    d->device = (uint8_t)((d->device & 0xf0) | (low >> 24 & 15));
  }
}

/* Error in the middle of a transfer: the task file holds the first bad sector. */
static void transfer_failed(struct ide_channel *ch, uint8_t status, uint8_t error) {
  struct ide_drive *d = ide_active(ch);
  show_lba(d, d->lba);
  d->tf.count = (uint8_t)d->left;
  d->left = 0;
  ch->dma_waiting = false;
  ide_finish(ch, status, error);
}

/* Sectors at d->lba that exist, at most `want`. */
static uint32_t available(const struct ide_drive *d, uint32_t want) {
  uint64_t rest = d->lba < d->sectors ? d->sectors - d->lba : 0;
  return rest < want ? (uint32_t)rest : want;
}

static void moved(struct ide_drive *d, uint32_t n) {
  d->lba += n;
  d->left -= n;
  show_lba(d, d->lba - 1);
  d->tf.count = (uint8_t)d->left;
  if (d->ext)
    d->hob.count = (uint8_t)(d->left >> 8);
}

static uint32_t block_sectors(const struct ide_drive *d) {
  switch (d->command) {
  case 0xc4:
  case 0xc5:
  case 0x29:
  case 0x39:
  case 0xce: return d->multiple;
  default: return 1;
  }
}

void ata_read_step(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  uint32_t n = block_sectors(d);
  n = available(d, d->left < n ? d->left : n);
  if (!n) {
    transfer_failed(ch, 0, ERR_IDNF);
    return;
  }
  if (block_read(d->block, d->lba * SECTOR, ch->buffer, (uint64_t)n * SECTOR)) {
    transfer_failed(ch, 0, ERR_UNC);
    return;
  }
  moved(d, n);
  ch->pos = 0;
  ide_data_block(ch, n * SECTOR, d->left ? STEP_ATA_READ : STEP_NONE, true);
}

static bool write_sectors(struct ide_channel *ch, uint32_t n) {
  struct ide_drive *d = ide_active(ch);
  int error = block_write(d->block, d->lba * SECTOR, ch->buffer, (uint64_t)n * SECTOR);
  if (!error && !d->write_cache)
    error = block_flush(d->block);
  if (error)
    transfer_failed(ch, error == -EROFS ? 0 : ST_DF, error == -EROFS ? ERR_UNC | ERR_ABRT : ERR_ABRT);
  return !error;
}

/* Ask the host for the next block of sectors. */
static void request_block(struct ide_channel *ch, bool interrupt) {
  struct ide_drive *d = ide_active(ch);
  uint32_t n = block_sectors(d);
  n = available(d, d->left < n ? d->left : n);
  ch->pos = 0;
  if (n)
    ide_data_block(ch, n * SECTOR, STEP_ATA_WRITE, interrupt);
  else
    transfer_failed(ch, 0, ERR_IDNF);
}

void ata_write_step(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  if (d->command == 0xe8) { /* WRITE BUFFER */
    d->status = ST_DRDY | ST_DSC;
    ide_irq(ch, true);
    return;
  }
  uint32_t n = ch->len / SECTOR;
  if (!write_sectors(ch, n))
    return;
  moved(d, n);
  if (d->left) {
    request_block(ch, true);
    return;
  }
  d->status = ST_DRDY | ST_DSC;
  ide_irq(ch, true);
}

void ata_dma_step(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  uint32_t n = available(d, d->left < IDE_CHUNK / SECTOR ? d->left : IDE_CHUNK / SECTOR);
  if (!n) {
    transfer_failed(ch, 0, ERR_IDNF);
    return;
  }
  if (!d->to_disk && block_read(d->block, d->lba * SECTOR, ch->buffer, (uint64_t)n * SECTOR)) {
    transfer_failed(ch, 0, ERR_UNC);
    return;
  }
  uint32_t bytes = bmdma_move(ch, ch->buffer, n * SECTOR, !d->to_disk);
  if (d->to_disk && bytes >= SECTOR && !write_sectors(ch, bytes / SECTOR))
    return;
  if (bytes >= SECTOR)
    moved(d, bytes / SECTOR);
  if (bytes < n * SECTOR) {
    bmdma_stall(ch);
  } else if (d->left) {
    ide_continue(ch, STEP_DMA);
  } else {
    d->status = ST_DRDY | ST_DSC;
    ide_irq(ch, true);
  }
}

/* Common start of everything with an address and a count. False: the command has been ended. */
static bool start_transfer(struct ide_channel *ch, bool ext) {
  struct ide_drive *d = ide_active(ch);
  d->ext = ext;
  d->standby = false;
  d->left = ext ? (uint32_t)d->tf.count | (uint32_t)d->hob.count << 8 : d->tf.count;
  if (!d->left)
    d->left = ext ? 65536 : 256;
  if (ext && !(d->device & DEV_LBA)) {
    ide_abort(ch);
    return false;
  }
  if (!task_lba(d, ext, &d->lba) || d->lba >= d->sectors) {
    d->left = 0;
    ide_finish(ch, 0, ERR_IDNF);
    return false;
  }
  return true;
}

static void start_read(struct ide_channel *ch, bool ext) {
  if (!block_sectors(ide_active(ch)))
    ide_abort(ch); /* READ MULTIPLE is disabled */
  else if (start_transfer(ch, ext))
    ide_schedule(ch, STEP_ATA_READ);
}

static void start_write(struct ide_channel *ch, bool ext) {
  struct ide_drive *d = ide_active(ch);
  if (!block_sectors(d) || !block_writable(d->block))
    ide_abort(ch);
  else if (start_transfer(ch, ext))
    request_block(ch, false); /* the first block is asked for without an interrupt */
}

static void start_dma(struct ide_channel *ch, bool ext, bool to_disk) {
  struct ide_drive *d = ide_active(ch);
  if (to_disk && !block_writable(d->block)) {
    ide_abort(ch);
  } else if (start_transfer(ch, ext)) {
    d->dma = true;
    d->to_disk = to_disk;
    bmdma_begin(ch);
  }
}

static void verify(struct ide_channel *ch, bool ext) {
  struct ide_drive *d = ide_active(ch);
  if (!start_transfer(ch, ext))
    return;
  uint32_t n = available(d, d->left);
  bool short_of = n < d->left;
  moved(d, n);
  if (short_of)
    transfer_failed(ch, 0, ERR_IDNF);
  else
    ide_finish(ch, 0, 0);
}

static void identify(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  uint8_t *id = ch->buffer;
  uint32_t current = (uint32_t)d->cylinders * d->heads * d->spt;
  uint32_t lba28 = d->sectors > 0x0fffffff ? 0x0fffffff : (uint32_t)d->sectors;
  memset(id, 0, SECTOR);
  ata_word(id, 0, 0x0040);
  ata_word(id, 1, d->default_cylinders);
  ata_word(id, 3, d->default_heads);
  ata_word(id, 4, (uint16_t)(SECTOR * d->default_spt));
  ata_word(id, 5, SECTOR);
  ata_word(id, 6, d->default_spt);
  ata_string(id + 20, d->serial, 20);
  ata_word(id, 20, 3); /* buffer with read look-ahead */
  ata_word(id, 21, 512);
  ata_word(id, 22, 4);
  ata_string(id + 46, "1.0", 8);
  ata_string(id + 54, d->model, 40);
  ata_word(id, 47, 0x8000 | IDE_MULTIPLE_MAX);
  ata_word(id, 48, 1);
  ata_word(id, 49, 0x0f00); /* IORDY, LBA, DMA */
  ata_word(id, 50, 0x4000);
  ata_word(id, 51, 0x0200);
  ata_word(id, 52, 0x0200);
  ata_word(id, 53, 0x0007);
  ata_word(id, 54, d->cylinders);
  ata_word(id, 55, d->heads);
  ata_word(id, 56, d->spt);
  ata_word(id, 57, (uint16_t)current);
  ata_word(id, 58, (uint16_t)(current >> 16));
  ata_word(id, 59, d->multiple ? 0x0100 | d->multiple : 0);
  ata_word(id, 60, (uint16_t)lba28);
  ata_word(id, 61, (uint16_t)(lba28 >> 16));
  ata_word(id, 63, (uint16_t)(0x07 | d->mwdma << 8));
  ata_word(id, 64, 0x0003); /* PIO 3 and 4 */
  for (unsigned word = 65; word <= 68; word++)
    ata_word(id, word, 120); /* ns a cycle */
  ata_word(id, 80, 0x007e);  /* ATA-1 to ATA-6 */
  uint16_t enabled = (uint16_t)(0x4008 | d->smart | d->write_cache << 5 | d->look_ahead << 6);
  ata_word(id, 82, 0x4069);
  ata_word(id, 83, 0x7400); /* FLUSH CACHE, FLUSH CACHE EXT, 48-bit addresses */
  ata_word(id, 84, 0x4000);
  ata_word(id, 85, enabled);
  ata_word(id, 86, 0x3400);
  ata_word(id, 87, 0x4000);
  ata_word(id, 88, (uint16_t)(0x3f | d->udma << 8));
  ata_word(id, 93, 0x6001);
  for (unsigned i = 0; i < 4; i++)
    ata_word(id, 100 + i, (uint16_t)(d->sectors >> 16 * i));
  id[510] = 0xa5;
  uint8_t sum = 0;
  for (unsigned i = 0; i < SECTOR - 1; i++)
    sum = (uint8_t)(sum + id[i]);
  id[511] = (uint8_t)-sum;
  ide_reply(ch, SECTOR);
}

static bool set_transfer_mode(struct ide_drive *d) {
  uint8_t mode = d->tf.count & 7;
  switch (d->tf.count >> 3) {
  case 0: return mode <= 1; /* default PIO, with or without IORDY */
  case 1: return mode <= 4;
  case 2: return mode <= 2; /* single-word DMA: retired, harmless */
  case 4:
    if (mode > 2)
      return false;
    d->mwdma = (uint8_t)(1 << mode);
    d->udma = 0;
    return true;
  case 8:
    if (mode > 5)
      return false;
    d->udma = (uint8_t)(1 << mode);
    d->mwdma = 0;
    return true;
  default: return false;
  }
}

bool ata_set_features(struct ide_drive *d) {
  switch (d->tf.feature) {
  case 0x02: d->write_cache = true; return true;
  case 0x82: d->write_cache = false; return true;
  case 0xaa: d->look_ahead = true; return true;
  case 0x55: d->look_ahead = false; return true;
  case 0x03: return set_transfer_mode(d);
  case 0x66: /* keep settings over SRST, or not: they are kept */
  case 0xcc: return true;
  default: return false;
  }
}

static void smart(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  if (d->tf.mid != SMART_CYL_MID || d->tf.high != SMART_CYL_HIGH || (!d->smart && d->tf.feature != 0xd8)) {
    ide_abort(ch);
    return;
  }
  uint8_t sum = 0;
  switch (d->tf.feature) {
  case 0xd0: /* data: revision, no attributes, off-line collection never started */
  case 0xd1: /* thresholds */
    memset(ch->buffer, 0, SECTOR);
    ch->buffer[0] = 0x10;
    for (unsigned i = 0; i < SECTOR - 1; i++)
      sum = (uint8_t)(sum + ch->buffer[i]);
    ch->buffer[511] = (uint8_t)-sum;
    ide_reply(ch, SECTOR);
    return;
  case 0xd5: /* logs are empty */
    memset(ch->buffer, 0, SECTOR);
    ide_reply(ch, SECTOR);
    return;
  case 0xd8: d->smart = true; break;
  case 0xd9: d->smart = false; break;
  case 0xd2:        /* attribute autosave */
  case 0xd3:        /* save attributes */
  case 0xd4:        /* off-line tests pass at once */
  case 0xda: break; /* status: the signature unchanged means good health */
  default: ide_abort(ch); return;
  }
  ide_finish(ch, 0, 0);
}

static void initialize_parameters(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  if (!d->tf.count) {
    ide_abort(ch);
    return;
  }
  d->heads = (uint8_t)((d->device & 15) + 1);
  d->spt = d->tf.count;
  uint64_t cylinders = d->sectors / ((uint32_t)d->heads * d->spt);
  d->cylinders = (uint16_t)(cylinders < 1 ? 1 : cylinders > 65535 ? 65535 : cylinders);
  ide_finish(ch, 0, 0);
}

bool ata_power_command(struct ide_channel *ch, uint8_t command) {
  struct ide_drive *d = ide_active(ch);
  switch (command) {
  case 0x94: /* STANDBY IMMEDIATE */
  case 0xe0:
  case 0x96: /* STANDBY */
  case 0xe2:
  case 0x99: /* SLEEP */
  case 0xe6: d->standby = true; break;
  case 0x95: /* IDLE IMMEDIATE */
  case 0xe1:
  case 0x97: /* IDLE */
  case 0xe3: d->standby = false; break;
  case 0x98: /* CHECK POWER MODE */
  case 0xe5: d->tf.count = d->standby ? 0x00 : 0xff; break;
  default: return false;
  }
  ide_finish(ch, 0, 0);
  return true;
}

static void read_native_max(struct ide_channel *ch, bool ext) {
  struct ide_drive *d = ide_active(ch);
  if (!(d->device & DEV_LBA)) {
    ide_abort(ch);
    return;
  }
  d->ext = ext;
  uint64_t last = d->sectors - 1;
  show_lba(d, !ext && last > 0x0fffffff ? 0x0fffffff : last);
  ide_finish(ch, 0, 0);
}

static void seek(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  uint64_t lba;
  ide_finish(ch, 0, task_lba(d, false, &lba) && lba < d->sectors ? 0 : ERR_IDNF);
}

static void set_multiple(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  uint8_t n = d->tf.count;
  if (n > IDE_MULTIPLE_MAX || n & (n - 1)) {
    ide_abort(ch);
    return;
  }
  d->multiple = n;
  ide_finish(ch, 0, 0);
}

static void flush(struct ide_channel *ch) {
  if (block_flush(ide_active(ch)->block))
    ide_finish(ch, ST_DF, ERR_ABRT);
  else
    ide_finish(ch, 0, 0);
}

/* Commands that move no sectors. */
static void other_command(struct ide_channel *ch, uint8_t command) {
  struct ide_drive *d = ide_active(ch);
  if (ata_power_command(ch, command))
    return;
  switch (command) {
  case 0x27: read_native_max(ch, true); break;
  case 0x91: initialize_parameters(ch); break;
  case 0xb0: smart(ch); break;
  case 0xc6: set_multiple(ch); break;
  case 0xe4: ide_reply(ch, SECTOR); break;                             /* READ BUFFER */
  case 0xe8: ide_data_block(ch, SECTOR, STEP_ATA_WRITE, false); break; /* WRITE BUFFER */
  case 0xe7:
  case 0xea: flush(ch); break;
  case 0xec: identify(ch); break;
  case 0xef: ide_finish(ch, 0, ata_set_features(d) ? 0 : ERR_ABRT); break;
  case 0xf8: read_native_max(ch, false); break;
  default:
    if (command >> 4 == 1) { /* RECALIBRATE */
      ide_finish(ch, 0, 0);
    } else if (command >> 4 == 7) {
      seek(ch);
    } else {
      if (command)
        log_print(LOG_UNIMP, "ide: command %#x\n", command);
      ide_abort(ch); /* NOP does just this */
    }
  }
}

void ata_command(struct ide_channel *ch, uint8_t command) {
  switch (command) {
  case 0x20:
  case 0x21:
  case 0xc4: start_read(ch, false); break;
  case 0x24:
  case 0x29: start_read(ch, true); break;
  case 0x30:
  case 0x31:
  case 0x3c:
  case 0xc5: start_write(ch, false); break;
  case 0x34:
  case 0x39:
  case 0xce: start_write(ch, true); break;
  case 0xc8:
  case 0xc9: start_dma(ch, false, false); break;
  case 0x25: start_dma(ch, true, false); break;
  case 0xca:
  case 0xcb: start_dma(ch, false, true); break;
  case 0x35:
  case 0x3d: start_dma(ch, true, true); break;
  case 0x40:
  case 0x41: verify(ch, false); break;
  case 0x42: verify(ch, true); break;
  default: other_command(ch, command); break;
  }
}
