/* SPDX-License-Identifier: MIT */
/*
 * ATAPI CD-ROM drive, data path: the PACKET protocol of ATA/ATAPI-6 9.8, SFF-8020i, PIO and DMA, with
 * sense data, medium state, and the commands that read or move the medium (MMC-3). One data track of mode 1
 * sectors.
 *
 * Not modelled: audio, multisession, subchannel data, EDC and ECC bytes of raw sectors (zeros), writing.
 */
#include "devices/ide_int.h"

#include <string.h>

enum { SENSE_NOT_READY = 2, SENSE_MEDIUM = 3, SENSE_ILLEGAL = 5, SENSE_ATTENTION = 6 };
enum { ASC_RESET = 0x29, ASC_MEDIUM_CHANGED = 0x28 };

/* READ CD byte 9 */
enum { CD_SYNC = 0x80, CD_HEADERS = 0x60, CD_HEADER = 0x20, CD_USER = 0x10, CD_EDC = 0x08 };

void atapi_drive_reset(struct ide_drive *d) {
  d->locked = false;
  d->tray_open = false;
  d->sense_key = d->asc = d->ascq = 0;
  d->attention = ASC_RESET;
  d->event = EVENT_NONE;
}

uint32_t cd_sectors(const struct ide_drive *d) {
  uint64_t n = d->block ? (block_size(d->block) + CD_SECTOR - 1) / CD_SECTOR : 0;
  return n > 0x7fffffff ? 0x7fffffff : (uint32_t)n;
}

bool cd_ready(const struct ide_drive *d) { return d->block && !d->tray_open; }

/* Command complete: C/D and I/O set, an interrupt. */
static void complete(struct ide_channel *ch, uint8_t error) {
  struct ide_drive *d = ide_active(ch);
  d->tf.count = (uint8_t)((d->tf.count & ~7) | IR_CD | IR_IO);
  d->left = 0;
  ch->dma_waiting = false;
  d->status = (uint8_t)(ST_DRDY | ST_DSC | (error ? ST_ERR : 0));
  d->error = error;
  ide_irq(ch, true);
}

void atapi_good(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  if (d->packet[0] != 0x03)
    d->sense_key = d->asc = d->ascq = 0;
  complete(ch, 0);
}

void atapi_fail(struct ide_channel *ch, uint8_t key, uint8_t asc, uint8_t ascq) {
  struct ide_drive *d = ide_active(ch);
  d->sense_key = key;
  d->asc = asc;
  d->ascq = ascq;
  complete(ch, (uint8_t)(key << 4 | ERR_ABRT));
}

/* One sector as READ CD wants it: parts of sync, header, user data, EDC and ECC. */
static uint32_t sector_parts(uint8_t fields) {
  return (fields & CD_SYNC ? 12u : 0u) + (fields & CD_HEADER ? 4u : 0u) +
         (fields & CD_USER ? CD_SECTOR : 0u) + (fields & CD_EDC ? 288u : 0u);
}

static uint8_t bcd(uint32_t n) { return (uint8_t)(n / 10 << 4 | n % 10); }

static int read_sector(const struct ide_drive *d, uint64_t lba, uint8_t *to) {
  if (d->cd_fields & CD_SYNC) {
    memset(to, 0xff, 12);
    to[0] = to[11] = 0;
    to += 12;
  }
  if (d->cd_fields & CD_HEADER) {
    uint32_t frame = (uint32_t)lba + 150;
    to[0] = bcd(frame / 4500 % 100);
    to[1] = bcd(frame / 75 % 60);
    to[2] = bcd(frame % 75);
    to[3] = 1;
    to += 4;
  }
  if (d->cd_fields & CD_USER) {
    uint64_t size = block_size(d->block), offset = lba * CD_SECTOR;
    uint64_t n = offset >= size ? 0 : size - offset < CD_SECTOR ? size - offset : CD_SECTOR;
    memset(to + n, 0, CD_SECTOR - n);
    if (n && block_read(d->block, offset, to, n))
      return -EIO;
    to += CD_SECTOR;
  }
  if (d->cd_fields & CD_EDC)
    memset(to, 0, 288);
  return 0;
}

/* Fill the buffer with what is left to read, behind what is still in it. False: the command failed. */
static bool refill(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  memmove(ch->buffer, ch->buffer + ch->pos, ch->fill - ch->pos);
  ch->fill -= ch->pos;
  ch->pos = 0;
  if (!d->left)
    return true;
  if (!cd_ready(d)) { /* ejected meanwhile */
    atapi_fail(ch, SENSE_NOT_READY, 0x3a, 0);
    return false;
  }
  uint32_t room = (IDE_BUFFER - ch->fill) / d->cd_size;
  uint32_t n = d->left < room ? d->left : room;
  if (d->cd_fields == CD_USER && (d->lba + n) * CD_SECTOR <= block_size(d->block)) {
    if (block_read(d->block, d->lba * CD_SECTOR, ch->buffer + ch->fill, (uint64_t)n * CD_SECTOR)) {
      atapi_fail(ch, SENSE_MEDIUM, 0x11, 0);
      return false;
    }
  } else {
    for (uint32_t i = 0; i < n; i++)
      if (read_sector(d, d->lba + i, ch->buffer + ch->fill + i * d->cd_size)) {
        atapi_fail(ch, SENSE_MEDIUM, 0x11, 0);
        return false;
      }
  }
  ch->fill += n * d->cd_size;
  d->lba += n;
  d->left -= n;
  return true;
}

/* Offer the next PIO block: at most the byte limit, whole sectors if they fit. */
void atapi_in_step(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  if (ch->fill - ch->pos < d->byte_limit && d->left && !refill(ch))
    return;
  uint32_t rest = ch->fill - ch->pos, n = rest;
  if (!rest) {
    atapi_good(ch);
    return;
  }
  if (n > d->byte_limit)
    n = d->byte_limit;
  if (d->cd_size && n > d->cd_size && n < rest)
    n -= n % d->cd_size;
  d->tf.count = (uint8_t)((d->tf.count & ~7) | IR_IO);
  d->tf.mid = (uint8_t)n;
  d->tf.high = (uint8_t)(n >> 8);
  ide_data_block(ch, n, STEP_PACKET_IN, true);
}

void atapi_dma_step(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  if (ch->pos == ch->fill && d->left && !refill(ch))
    return;
  uint32_t n = ch->fill - ch->pos < IDE_CHUNK ? ch->fill - ch->pos : IDE_CHUNK;
  uint32_t moved = bmdma_move(ch, ch->buffer + ch->pos, n, true);
  ch->pos += moved;
  if (moved < n)
    bmdma_stall(ch);
  else if (d->left || ch->pos < ch->fill)
    ide_continue(ch, STEP_DMA);
  else
    atapi_good(ch);
}

/* The reply is in buffer[0 .. fill) and, for reads, on the medium. */
static void send(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  ch->pos = 0;
  if (!ch->fill && !d->left)
    atapi_good(ch);
  else if (d->dma)
    bmdma_begin(ch);
  else
    atapi_in_step(ch);
}

void atapi_send(struct ide_channel *ch, uint32_t len, uint32_t allocation) {
  struct ide_drive *d = ide_active(ch);
  ch->fill = len < allocation ? len : allocation;
  d->left = 0;
  d->cd_size = 0;
  send(ch);
}

static void read_medium(struct ide_channel *ch, uint32_t lba, uint32_t count, uint8_t fields) {
  struct ide_drive *d = ide_active(ch);
  uint32_t size = sector_parts(fields);
  if ((uint64_t)lba + count > cd_sectors(d)) {
    atapi_fail(ch, SENSE_ILLEGAL, 0x21, 0);
    return;
  }
  ch->fill = 0;
  d->lba = lba;
  d->left = size ? count : 0;
  d->cd_size = (uint16_t)size;
  d->cd_fields = fields;
  send(ch);
}

static uint32_t be16(const uint8_t *p) { return (uint32_t)(p[0] << 8 | p[1]); }
static uint32_t be24(const uint8_t *p) { return (uint32_t)p[0] << 16 | be16(p + 1); }
static uint32_t be32(const uint8_t *p) { return be16(p) << 16 | be16(p + 2); }
static uint32_t msf(const uint8_t *p) {
  return (p[0] * 60u + p[1]) * 75u + p[2];
} /* frames, 150 before LBA 0 */

static void read_cd(struct ide_channel *ch, uint32_t lba, uint32_t count) {
  struct ide_drive *d = ide_active(ch);
  uint8_t type = d->packet[1] >> 2 & 7, fields = d->packet[9] & 0xf8;
  bool subheader = (fields & CD_HEADERS) == 0x40; /* mode 1 has none: nothing is sent */
  if (type != 0 && type != 2) {                   /* any type, or mode 1 */
    atapi_fail(ch, SENSE_ILLEGAL, 0x64, 0);
    return;
  }
  if (d->packet[9] & 6 || d->packet[10] & 7) { /* error flags and subchannels */
    atapi_fail(ch, SENSE_ILLEGAL, 0x24, 0);
    return;
  }
  read_medium(ch, lba, count, subheader ? fields & (uint8_t)~CD_HEADERS : fields & (uint8_t)~0x40);
}

static void start_stop(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  bool start = d->packet[4] & 1, eject = d->packet[4] & 2;
  if (eject && !start && d->locked) {
    atapi_fail(ch, SENSE_ILLEGAL, 0x53, 0x02);
    return;
  }
  if (eject && start && d->tray_open) {
    d->tray_open = false;
    if (d->block) {
      d->event = EVENT_NEW_MEDIA;
      d->attention = ASC_MEDIUM_CHANGED;
    }
  } else if (eject && !start && !d->tray_open) {
    d->tray_open = true;
    d->event = d->block ? EVENT_REMOVAL : EVENT_NONE;
  }
  atapi_good(ch);
}

static void request_sense(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  uint8_t *out = ch->buffer;
  if (d->attention) {
    d->sense_key = SENSE_ATTENTION;
    d->asc = d->attention;
    d->ascq = 0;
    d->attention = 0;
  }
  memset(out, 0, 18);
  out[0] = 0x70;
  out[2] = d->sense_key;
  out[7] = 10;
  out[12] = d->asc;
  out[13] = d->ascq;
  d->sense_key = d->asc = d->ascq = 0;
  atapi_send(ch, 18, d->packet[4]);
}

/* Does the command need a medium in the drive? */
static bool needs_medium(uint8_t opcode) {
  static const uint8_t list[] = {0x00, 0x08, 0x25, 0x28, 0x2b, 0x42, 0x43, 0x44, 0x45, 0x47,
                                 0x48, 0x4b, 0x51, 0x52, 0xa5, 0xa8, 0xad, 0xb9, 0xba, 0xbe};
  return memchr(list, opcode, sizeof list) != NULL;
}

/* INQUIRY, REQUEST SENSE, GET CONFIGURATION and GET EVENT STATUS NOTIFICATION report no unit attention. */
static bool ignores_attention(uint8_t opcode) {
  return opcode == 0x12 || opcode == 0x03 || opcode == 0x46 || opcode == 0x4a;
}

static bool medium_command(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  const uint8_t *p = d->packet;
  switch (p[0]) {
  case 0x00: /* TEST UNIT READY */
  case 0xbb: /* SET CD SPEED */
  case 0x4e: /* STOP PLAY/SCAN */ atapi_good(ch); return true;
  case 0x08: read_medium(ch, be24(p + 1) & 0x1fffff, p[4] ? p[4] : 256, CD_USER); return true;
  case 0x28: read_medium(ch, be32(p + 2), be16(p + 7), CD_USER); return true;
  case 0xa8: read_medium(ch, be32(p + 2), be32(p + 6), CD_USER); return true;
  case 0xbe: read_cd(ch, be32(p + 2), be24(p + 6)); return true;
  case 0xb9:
    if (msf(p + 3) < 150 || msf(p + 6) < msf(p + 3))
      atapi_fail(ch, SENSE_ILLEGAL, 0x24, 0);
    else
      read_cd(ch, msf(p + 3) - 150, msf(p + 6) - msf(p + 3));
    return true;
  case 0x2b: /* SEEK */
    if (be32(p + 2) >= cd_sectors(d))
      atapi_fail(ch, SENSE_ILLEGAL, 0x21, 0);
    else
      atapi_good(ch);
    return true;
  case 0x03: request_sense(ch); return true;
  case 0x1b: start_stop(ch); return true;
  case 0x1e: /* PREVENT/ALLOW MEDIUM REMOVAL */
    d->locked = p[4] & 1;
    atapi_good(ch);
    return true;
  case 0x45: /* PLAY AUDIO, ... MSF, ... TRACK INDEX, (12), SCAN: there is no audio track */
  case 0x47:
  case 0x48:
  case 0xa5:
  case 0xba: atapi_fail(ch, SENSE_ILLEGAL, 0x64, 0); return true;
  case 0x4b: /* PAUSE/RESUME: nothing is playing */ atapi_fail(ch, SENSE_ILLEGAL, 0x2c, 0); return true;
  default: return false;
  }
}

void atapi_packet_step(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  memcpy(d->packet, ch->buffer, sizeof d->packet);
  ch->pos = ch->len = ch->fill = 0;
  uint8_t opcode = d->packet[0];
  if (d->attention && !ignores_attention(opcode)) {
    uint8_t asc = d->attention;
    d->attention = 0;
    atapi_fail(ch, SENSE_ATTENTION, asc, 0);
  } else if (needs_medium(opcode) && !cd_ready(d)) {
    atapi_fail(ch, SENSE_NOT_READY, 0x3a, d->tray_open ? 2 : 1);
  } else if (!medium_command(ch) && !mmc_command(ch)) {
    log_print(LOG_UNIMP, "atapi: command %#x\n", opcode);
    atapi_fail(ch, SENSE_ILLEGAL, 0x20, 0);
  }
}

/* Parameters of MODE SELECT have arrived: taken note of and forgotten. */
void atapi_out_step(struct ide_channel *ch) { atapi_good(ch); }

static void packet(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  if (d->tf.feature & 2) { /* overlapped */
    ide_abort(ch);
    return;
  }
  d->dma = d->tf.feature & 1;
  d->byte_limit = (uint32_t)(d->tf.mid | d->tf.high << 8) & 0xfffe;
  if (!d->byte_limit)
    d->byte_limit = 0xfffe;
  d->left = 0;
  d->tf.count = (uint8_t)((d->tf.count & ~7) | IR_CD);
  ide_data_block(ch, sizeof d->packet, STEP_PACKET, false);
}

static void identify_packet(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  uint8_t *id = ch->buffer;
  memset(id, 0, SECTOR);
  ata_word(id, 0, 0x85c0); /* ATAPI, CD-ROM, removable, DRQ within 50 us, 12-byte packets */
  ata_string(id + 20, d->serial, 20);
  ata_word(id, 20, 3);
  ata_word(id, 21, 512);
  ata_word(id, 22, 4);
  ata_string(id + 46, "1.0", 8);
  ata_string(id + 54, d->model, 40);
  ata_word(id, 48, 1);
  ata_word(id, 49, 0x0f00);
  ata_word(id, 51, 0x0200);
  ata_word(id, 52, 0x0200);
  ata_word(id, 53, 0x0006);
  ata_word(id, 63, (uint16_t)(0x07 | d->mwdma << 8));
  ata_word(id, 64, 0x0003);
  for (unsigned word = 65; word <= 68; word++)
    ata_word(id, word, 120);
  ata_word(id, 71, 30);
  ata_word(id, 72, 30);
  ata_word(id, 80, 0x007e);
  ata_word(id, 82, 0x4210); /* NOP, DEVICE RESET, PACKET */
  ata_word(id, 83, 0x4000);
  ata_word(id, 84, 0x4000);
  ata_word(id, 85, 0x4210);
  ata_word(id, 87, 0x4000);
  ata_word(id, 88, (uint16_t)(0x3f | d->udma << 8));
  ata_word(id, 93, 0x6001);
  ide_reply(ch, SECTOR);
}

void atapi_command(struct ide_channel *ch, uint8_t command) {
  struct ide_drive *d = ide_active(ch);
  switch (command) {
  case 0xa0: packet(ch); return;
  case 0xa1: identify_packet(ch); return;
  case 0xef: ide_finish(ch, 0, ata_set_features(d) ? 0 : ERR_ABRT); return;
  case 0x20: /* READ SECTORS, IDENTIFY DEVICE: aborted with the signature, so that drivers see what we are */
  case 0xec:
    ide_signature(d);
    ide_abort(ch);
    return;
  default:
    if (!ata_power_command(ch, command))
      ide_abort(ch);
  }
}

int atapi_change_media(struct ide_drive *d, struct block *block, bool force) {
  if (!d->present)
    return -ENODEV;
  if (!d->cdrom)
    return -ENOTSUP;
  if (d->locked && d->block && !force) {
    d->event = EVENT_EJECT_REQUEST; /* as if somebody pressed the button: the guest may unlock and eject */
    return -EBUSY;
  }
  d->event = block ? EVENT_NEW_MEDIA : d->block ? EVENT_REMOVAL : EVENT_NONE;
  d->attention = block ? ASC_MEDIUM_CHANGED : 0;
  d->block = block;
  d->tray_open = !block;
  if (!block)
    d->locked = false;
  return 0;
}
