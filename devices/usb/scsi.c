/* SPDX-License-Identifier: MIT */
/*
 * SCSI direct-access device: the commands that hosts send to USB disks (SPC-2 and SBC; the UFI specification
 * for READ FORMAT CAPACITIES), with 512-byte blocks, over a disk image.
 *
 * Not modelled: MODE SELECT of anything, logical units other than 0, queueing, FORMAT UNIT.
 */
#include "devices/usb/scsi.h"

#include <string.h>

enum {
  TEST_UNIT_READY = 0x00,
  REQUEST_SENSE = 0x03,
  READ_6 = 0x08,
  WRITE_6 = 0x0a,
  INQUIRY = 0x12,
  MODE_SENSE_6 = 0x1a,
  START_STOP = 0x1b,
  PREVENT_ALLOW = 0x1e,
  READ_FORMAT_CAPACITIES = 0x23,
  READ_CAPACITY = 0x25,
  READ_10 = 0x28,
  WRITE_10 = 0x2a,
  SEEK_10 = 0x2b,
  VERIFY_10 = 0x2f,
  SYNCHRONIZE_CACHE = 0x35,
  MODE_SENSE_10 = 0x5a,
  READ_12 = 0xa8,
  WRITE_12 = 0xaa,
};

enum {
  NO_SENSE = 0,
  NOT_READY = 2,
  MEDIUM_ERROR = 3,
  ILLEGAL_REQUEST = 5,
  UNIT_ATTENTION = 6,
  DATA_PROTECT = 7
};

static uint32_t be16(const uint8_t *p) { return (uint32_t)p[0] << 8 | p[1]; }
static uint32_t be32(const uint8_t *p) { return be16(p) << 16 | be16(p + 2); }
static void put32(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)(v >> 24);
  p[1] = (uint8_t)(v >> 16);
  p[2] = (uint8_t)(v >> 8);
  p[3] = (uint8_t)v;
}

static void end(struct scsi_disk *d) {
  d->direction = SCSI_NONE;
  d->media = false;
  d->left = d->pos = d->fill = 0;
}

void scsi_reset(struct scsi_disk *d) {
  end(d);
  d->locked = d->stopped = false;
  d->key = d->asc = d->ascq = 0;
}

static bool fail(struct scsi_disk *d, uint8_t key, uint8_t asc, uint8_t ascq) {
  end(d);
  d->key = key;
  d->asc = asc;
  d->ascq = ascq;
  return false;
}
static bool bad_field(struct scsi_disk *d) { return fail(d, ILLEGAL_REQUEST, 0x24, 0); }

static uint64_t sectors(const struct scsi_disk *d) {
  uint64_t n = block_size(d->block) / SECTOR;
  return n > 0xffffffffu ? 0xffffffffu : n;
}

/* The answer is `n` bytes in buf, of which the host takes up to `wanted`. */
static bool answer(struct scsi_disk *d, uint32_t n, uint32_t wanted) {
  d->left = d->fill = n < wanted ? n : wanted;
  d->direction = d->left ? SCSI_FROM_DISK : SCSI_NONE;
  return true;
}

static bool inquiry(struct scsi_disk *d, const uint8_t *cdb) {
  uint8_t *b = d->buf;
  uint32_t wanted = be16(cdb + 3);
  memset(b, 0, 64);
  if (cdb[1] & 1) { /* vital product data */
    b[1] = cdb[2];
    if (cdb[2] == 0x00) {
      b[3] = 2;
      b[5] = 0x80;
    } else if (cdb[2] == 0x80) {
      b[3] = 4;
      memcpy(b + 4, "0001", 4);
    } else {
      return bad_field(d);
    }
    return answer(d, 4u + b[3], wanted);
  }
  if (cdb[2])
    return bad_field(d);
  b[1] = d->removable ? 0x80 : 0;
  b[2] = 4; /* SPC-2 */
  b[3] = 2;
  b[4] = 31;
  memcpy(b + 8, "DRAGOMANUSB DISK        1.0 ", 28);
  return answer(d, 36, wanted);
}

static bool request_sense(struct scsi_disk *d, const uint8_t *cdb) {
  memset(d->buf, 0, 18);
  d->buf[0] = 0x70;
  d->buf[2] = d->key;
  d->buf[7] = 10;
  d->buf[12] = d->asc;
  d->buf[13] = d->ascq;
  d->key = d->asc = d->ascq = 0;
  return answer(d, 18, cdb[4]);
}

/* Header and the caching page; no block descriptor. */
static bool mode_sense(struct scsi_disk *d, const uint8_t *cdb, bool ten) {
  uint8_t *b = d->buf, page = cdb[2] & 0x3f;
  uint32_t n = ten ? 8 : 4;
  memset(b, 0, 64);
  if (cdb[2] >> 6 == 3)
    return fail(d, ILLEGAL_REQUEST, 0x39, 0); /* nothing is saved */
  if (page == 0x08 || page == 0x3f) {
    b[n] = 0x08;
    b[n + 1] = 18;
    b[n + 2] = cdb[2] >> 6 == 1 ? 0 : 0x04; /* write cache on; not changeable */
    n += 20;
  } else if (page) {
    return bad_field(d);
  }
  uint8_t protect = block_writable(d->block) ? 0 : 0x80;
  if (ten) {
    b[1] = (uint8_t)(n - 2);
    b[3] = protect;
    return answer(d, n, be16(cdb + 7));
  }
  b[0] = (uint8_t)(n - 1);
  b[2] = protect;
  return answer(d, n, cdb[4]);
}

static bool in_range(struct scsi_disk *d, uint32_t lba, uint32_t count) {
  if ((uint64_t)lba + count <= sectors(d))
    return true;
  return fail(d, ILLEGAL_REQUEST, 0x21, 0);
}

static bool transfer(struct scsi_disk *d, uint32_t lba, uint32_t count, bool write) {
  if (write && !block_writable(d->block))
    return fail(d, DATA_PROTECT, 0x27, 0);
  if (count > 0xffffffffu / SECTOR)
    return bad_field(d);
  if (!in_range(d, lba, count))
    return false;
  if (!count)
    return true;
  d->direction = write ? SCSI_TO_DISK : SCSI_FROM_DISK;
  d->media = true;
  d->sector = lba;
  d->left = count * SECTOR;
  return true;
}

static bool capacities(struct scsi_disk *d, const uint8_t *cdb) {
  memset(d->buf, 0, 12);
  d->buf[3] = 8;
  put32(d->buf + 4, (uint32_t)sectors(d));
  put32(d->buf + 8, 0x02000000 | SECTOR); /* formatted */
  return answer(d, 12, be16(cdb + 7));
}

static bool capacity(struct scsi_disk *d) {
  put32(d->buf, (uint32_t)(sectors(d) - 1));
  put32(d->buf + 4, SECTOR);
  return answer(d, 8, 8);
}

static bool flush(struct scsi_disk *d) {
  return block_flush(d->block) == 0 || fail(d, MEDIUM_ERROR, 0x0c, 0);
}

static bool start_stop(struct scsi_disk *d, const uint8_t *cdb) {
  if (cdb[4] & 2) /* load or eject: there is nothing that could come out */
    return d->removable && !(cdb[4] & 1) && d->locked ? fail(d, ILLEGAL_REQUEST, 0x53, 2) : true;
  d->stopped = !(cdb[4] & 1);
  return d->stopped ? flush(d) : true;
}

/* Commands to the medium, which must turn. */
static bool media_command(struct scsi_disk *d, const uint8_t *cdb) {
  if (d->stopped)
    return fail(d, NOT_READY, 0x04, 2);
  switch (cdb[0]) {
  case TEST_UNIT_READY: return true;
  case READ_6:
  case WRITE_6:
    return transfer(d, (cdb[1] & 0x1fu) << 16 | be16(cdb + 2), cdb[4] ? cdb[4] : 256, cdb[0] == WRITE_6);
  case READ_10:
  case WRITE_10: return transfer(d, be32(cdb + 2), be16(cdb + 7), cdb[0] == WRITE_10);
  case READ_12:
  case WRITE_12: return transfer(d, be32(cdb + 2), be32(cdb + 6), cdb[0] == WRITE_12);
  case SEEK_10: return in_range(d, be32(cdb + 2), 1);
  case VERIFY_10: return cdb[1] & 2 ? bad_field(d) : in_range(d, be32(cdb + 2), be16(cdb + 7));
  case READ_FORMAT_CAPACITIES: return capacities(d, cdb);
  case READ_CAPACITY: return capacity(d);
  case SYNCHRONIZE_CACHE: return in_range(d, be32(cdb + 2), be16(cdb + 7)) && flush(d);
  default: return fail(d, ILLEGAL_REQUEST, 0x20, 0);
  }
}

bool scsi_command(struct scsi_disk *d, const uint8_t *cdb, unsigned length) {
  static const uint8_t lengths[8] = {6, 10, 10, 0, 0, 12, 0, 0};
  end(d);
  if (cdb[0] != REQUEST_SENSE)
    d->key = d->asc = d->ascq = 0;
  if (!lengths[cdb[0] >> 5] || length < lengths[cdb[0] >> 5])
    return fail(d, ILLEGAL_REQUEST, 0x20, 0);
  switch (cdb[0]) {
  case REQUEST_SENSE: return request_sense(d, cdb);
  case INQUIRY: return inquiry(d, cdb);
  case MODE_SENSE_6: return mode_sense(d, cdb, false);
  case MODE_SENSE_10: return mode_sense(d, cdb, true);
  case START_STOP: return start_stop(d, cdb);
  case PREVENT_ALLOW:
    if (d->removable)
      d->locked = cdb[4] & 1;
    return true;
  default: return media_command(d, cdb);
  }
}

/* The next piece of the medium into the buffer. */
static bool load(struct scsi_disk *d) {
  uint32_t n = d->left < SCSI_BUFFER ? d->left : SCSI_BUFFER;
  if (block_read(d->block, d->sector * SECTOR, d->buf, n))
    return fail(d, MEDIUM_ERROR, 0x11, 0);
  d->sector += n / SECTOR;
  d->fill = n;
  d->pos = 0;
  return true;
}

bool scsi_take(struct scsi_disk *d, uint8_t *to, uint32_t n) {
  while (n) {
    if (d->pos == d->fill && !load(d))
      return false;
    uint32_t part = d->fill - d->pos < n ? d->fill - d->pos : n;
    memcpy(to, d->buf + d->pos, part);
    d->pos += part;
    d->left -= part;
    to += part;
    n -= part;
  }
  return true;
}

static bool store(struct scsi_disk *d) {
  uint32_t n = d->pos;
  d->pos = 0;
  if (block_write(d->block, d->sector * SECTOR, d->buf, n))
    return fail(d, MEDIUM_ERROR, 0x0c, 0);
  d->sector += n / SECTOR;
  return true;
}

bool scsi_give(struct scsi_disk *d, const uint8_t *from, uint32_t n) {
  while (n) {
    uint32_t part = SCSI_BUFFER - d->pos < n ? SCSI_BUFFER - d->pos : n;
    memcpy(d->buf + d->pos, from, part);
    d->pos += part;
    d->left -= part;
    from += part;
    n -= part;
    if ((d->pos == SCSI_BUFFER || !d->left) && !store(d))
      return false;
  }
  return true;
}
