/* SPDX-License-Identifier: MIT */
/*
 * ATAPI CD-ROM drive, data path: the PACKET protocol of ATA/ATAPI-6 9.8, SFF-8020i, PIO and DMA, with
 * sense data, medium state, and the commands that read or move the medium (MMC-3).
 *
 * Not modelled: multisession, subchannels R to W, C2 error flags, writing.
 */
#include "devices/ide_int.h"

#include <string.h>

enum { SENSE_NOT_READY = 2, SENSE_MEDIUM = 3, SENSE_ILLEGAL = 5, SENSE_ATTENTION = 6 };
enum { ASC_RESET = 0x29, ASC_MEDIUM_CHANGED = 0x28 };

/* READ CD byte 9 */
enum { CD_SYNC = 0x80, CD_SUBHEADER = 0x40, CD_HEADER = 0x20, CD_USER = 0x10, CD_EDC = 0x08 };
/* READ CD byte 1: sector type */
enum { KIND_ANY, KIND_AUDIO, KIND_MODE1, KIND_MODE2, KIND_FORM1, KIND_FORM2, KIND_PLAIN = 8 };

void atapi_drive_reset(struct ide_drive *d) {
  d->locked = false;
  d->tray_open = false;
  d->sense_key = d->asc = d->ascq = 0;
  d->attention = ASC_RESET;
  d->event = EVENT_NONE;
  cdda_reset(d);
}

void atapi_insert(struct ide_drive *d, struct block *block) {
  d->block = block;
  d->disc = block_disc(block);
  if (!d->disc) {
    disc_plain(&d->plain, block ? block_size(block) : 0);
    d->disc = &d->plain;
  }
}

uint32_t cd_sectors(const struct ide_drive *d) { return d->block ? d->disc->leadout : 0; }

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

/* The parts of a sector that READ CD can ask for: where they lie in a frame, and how long they are. */
struct sector_layout {
  uint8_t subheader;
  uint16_t user, edc;
};

/* How a sector is laid out that starts with these bytes. */
static struct sector_layout layout_of(uint8_t mode, const uint8_t *frame, uint8_t kind) {
  if (mode == DISC_MODE1)
    return (struct sector_layout){0, CD_SECTOR, 288};
  if (kind == KIND_MODE2)
    return (struct sector_layout){0, 2336, 0};
  return frame[18] & 0x20 ? (struct sector_layout){8, 2324, 4} : (struct sector_layout){8, CD_SECTOR, 280};
}

static bool kind_fits(uint8_t kind, uint8_t mode, const uint8_t *frame) {
  bool form2 = frame[18] & 0x20;
  switch (kind) {
  case KIND_ANY: return true;
  case KIND_AUDIO: return mode == DISC_AUDIO;
  case KIND_MODE1: return mode == DISC_MODE1;
  case KIND_MODE2: return mode == DISC_MODE2;
  case KIND_FORM1: return mode == DISC_MODE2 && !form2;
  case KIND_FORM2: return mode == DISC_MODE2 && form2;
  default: return false;
  }
}

/*
 * Put together what READ CD wants of a sector: parts of sync, header, subheader, user data, EDC and ECC, then
 * the subchannel. The number of bytes, 0 if the sector is of another kind, -EIO.
 */
static int read_sector(const struct ide_drive *d, uint32_t lba, uint8_t *to) {
  uint8_t frame[DISC_FRAME], *at = to;
  const struct disc_track *t = disc_track_at(d->disc, lba);
  if (!t || block_read_frame(d->block, lba, frame))
    return -EIO;
  if (!kind_fits(d->cd_kind, t->mode, frame))
    return 0;
  if (t->mode == DISC_AUDIO) { /* nothing but user data */
    if (d->cd_fields & CD_USER) {
      memcpy(at, frame, DISC_FRAME);
      at += DISC_FRAME;
    }
  } else {
    struct sector_layout l = layout_of(t->mode, frame, d->cd_kind);
    const struct {
      uint8_t field;
      unsigned len;
    } parts[] = {
        {CD_SYNC, 12}, {CD_HEADER, 4}, {CD_SUBHEADER, l.subheader}, {CD_USER, l.user}, {CD_EDC, l.edc}};
    const uint8_t *from = frame;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
      if (d->cd_fields & parts[i].field) {
        memcpy(at, from, parts[i].len);
        at += parts[i].len;
      }
      from += parts[i].len;
    }
  }
  if (d->cd_sub) {
    cdda_q(d, lba, at);
    at += CDDA_Q;
  }
  return (int)(at - to);
}

/* Append the sector to the buffer; false: the command failed. */
static bool append_sector(struct ide_channel *ch, uint32_t lba) {
  struct ide_drive *d = ide_active(ch);
  uint8_t sector[DISC_FRAME + CDDA_Q]; /* a sector of another kind may be longer than what was asked for */
  int n = read_sector(d, lba, sector);
  if (n == d->cd_size) {
    memcpy(ch->buffer + ch->fill, sector, (size_t)n);
    ch->fill += (uint32_t)n;
    return true;
  }
  if (n < 0)
    atapi_fail(ch, SENSE_MEDIUM, 0x11, 0);
  else /* the track's kind changed */
    atapi_fail(ch, SENSE_ILLEGAL, 0x64, 0);
  return false;
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
  uint64_t at = d->lba * CD_SECTOR, len = (uint64_t)n * CD_SECTOR, size = block_size(d->block);
  if (d->cd_kind == KIND_PLAIN) {
    uint64_t there = at >= size ? 0 : size - at < len ? size - at : len;
    memset(ch->buffer + ch->fill + there, 0, len - there);
    if (there && block_read(d->block, at, ch->buffer + ch->fill, there)) {
      atapi_fail(ch, SENSE_MEDIUM, 0x11, 0);
      return false;
    }
    ch->fill += (uint32_t)len;
  } else {
    for (uint32_t i = 0; i < n; i++)
      if (!append_sector(ch, (uint32_t)d->lba + i))
        return false;
  }
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

/* Begin to read; the music stops. */
static void read_medium(struct ide_channel *ch, uint32_t lba, uint32_t count, uint32_t size, uint8_t kind) {
  struct ide_drive *d = ide_active(ch);
  cdda_stop(d, CD_NO_STATUS);
  if (count)
    d->player.from = lba + count - 1;
  ch->fill = 0;
  d->lba = lba;
  d->left = size ? count : 0;
  d->cd_size = (uint16_t)size;
  d->cd_kind = kind;
  send(ch);
}

static bool in_range(struct ide_channel *ch, uint32_t lba, uint32_t count) {
  if ((uint64_t)lba + count <= cd_sectors(ide_active(ch)))
    return true;
  atapi_fail(ch, SENSE_ILLEGAL, 0x21, 0);
  return false;
}

static void read_blocks(struct ide_channel *ch, uint32_t lba, uint32_t count) {
  struct ide_drive *d = ide_active(ch);
  if (!in_range(ch, lba, count))
    return;
  for (unsigned i = 0; i < d->disc->tracks; i++) {
    const struct disc_track *t = &d->disc->track[i];
    if (t->mode == DISC_AUDIO && count && t->pregap < lba + count && t->end > lba) {
      atapi_fail(ch, SENSE_ILLEGAL, 0x64, 0); /* illegal mode for this track */
      return;
    }
  }
  read_medium(ch, lba, count, CD_SECTOR, KIND_PLAIN);
}

static void read_cd(struct ide_channel *ch, uint32_t lba, uint32_t count) {
  struct ide_drive *d = ide_active(ch);
  uint8_t sub = d->packet[10] & 7;
  d->cd_kind = d->packet[1] >> 2 & 7;
  d->cd_fields = d->packet[9] & 0xf8;
  d->cd_sub = sub == 2;
  if (d->packet[9] & 6 || (sub && sub != 2)) { /* error flags, subchannels R to W */
    atapi_fail(ch, SENSE_ILLEGAL, 0x24, 0);
    return;
  }
  if (!in_range(ch, lba, count))
    return;
  uint8_t first[DISC_FRAME + CDDA_Q];
  int size = count ? read_sector(d, lba, first) : (int)CD_SECTOR;
  bool empty = !(d->cd_fields || d->cd_sub); /* nothing is asked for */
  if (size < 0)
    atapi_fail(ch, SENSE_MEDIUM, 0x11, 0);
  else if (size == 0 && !empty)
    atapi_fail(ch, SENSE_ILLEGAL, 0x64, 0);
  else
    read_medium(ch, lba, count, (uint32_t)size, d->cd_kind);
}

static void start_stop(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  bool start = d->packet[4] & 1, eject = d->packet[4] & 2;
  if (eject && !start && d->locked) {
    atapi_fail(ch, SENSE_ILLEGAL, 0x53, 0x02);
    return;
  }
  if (!start && !(d->packet[4] >> 4)) /* no power condition: the disc stops */
    cdda_stop(d, CD_NO_STATUS);
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
  case 0xbb: /* SET CD SPEED */ atapi_good(ch); return true;
  case 0x08: read_blocks(ch, be24(p + 1) & 0x1fffff, p[4] ? p[4] : 256); return true;
  case 0x28: read_blocks(ch, be32(p + 2), be16(p + 7)); return true;
  case 0xa8: read_blocks(ch, be32(p + 2), be32(p + 6)); return true;
  case 0xbe: read_cd(ch, be32(p + 2), be24(p + 6)); return true;
  case 0xb9:
    if (msf_frames(p + 3) < DISC_LEAD || msf_frames(p + 6) < msf_frames(p + 3))
      atapi_fail(ch, SENSE_ILLEGAL, 0x24, 0);
    else
      read_cd(ch, msf_frames(p + 3) - DISC_LEAD, msf_frames(p + 6) - msf_frames(p + 3));
    return true;
  case 0x2b: /* SEEK */
    if (be32(p + 2) >= cd_sectors(d)) {
      atapi_fail(ch, SENSE_ILLEGAL, 0x21, 0);
    } else {
      cdda_stop(d, CD_NO_STATUS);
      d->player.from = be32(p + 2);
      atapi_good(ch);
    }
    return true;
  case 0x03: request_sense(ch); return true;
  case 0x1b: start_stop(ch); return true;
  case 0x1e: /* PREVENT/ALLOW MEDIUM REMOVAL */
    d->locked = p[4] & 1;
    atapi_good(ch);
    return true;
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
  } else if (!medium_command(ch) && !cdda_command(ch) && !mmc_command(ch)) {
    log_print(LOG_UNIMP, "atapi: command %#x\n", opcode);
    atapi_fail(ch, SENSE_ILLEGAL, 0x20, 0);
  }
}

/* Parameters of MODE SELECT have arrived: header, block descriptors, pages. Only the volume can be changed.
 */
void atapi_out_step(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  bool ten = d->packet[0] == 0x55;
  const uint8_t *list = ch->buffer;
  uint32_t len = ch->len, at = ten ? 8 : 4;
  if (len >= at)
    at += ten ? be16(list + 6) : list[3];
  while (at + 2 <= len && at + 2u + list[at + 1] <= len) {
    if ((list[at] & 0x3f) == 0x0e && list[at + 1] == CDDA_PAGE - 2)
      cdda_set_page(d, list + at);
    at += 2u + list[at + 1];
  }
  atapi_good(ch);
}

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
  cdda_stop(d, CD_NO_STATUS);
  d->player.from = 0;
  atapi_insert(d, block);
  d->tray_open = !block;
  if (!block)
    d->locked = false;
  return 0;
}
