/* SPDX-License-Identifier: MIT */
/*
 * 82077AA: the commands that move sectors between disk and host, sector by sector: READ, WRITE, SCAN, VERIFY,
 * READ ID, FORMAT TRACK (datasheet 290166, sections 5.1 and 5.2).
 */
#include "devices/fdc_int.h"

#include <string.h>

#define SECTOR_NS 25000

/* End of a command with the standard seven result bytes and an interrupt. */
static void finish(struct fdc82077 *s, uint8_t st0, uint8_t st1, uint8_t st2) {
  fdc_request_dma(s, 0);
  s->result[0] = (uint8_t)(st0 | s->head << 2 | fdc_drive_of(s));
  s->result[1] = st1;
  s->result[2] = st2;
  s->result[3] = s->c;
  s->result[4] = s->h;
  s->result[5] = s->r;
  s->result[6] = 2;
  fdc_to_result(s, 7);
  fdc_interrupt(s, true);
}

/* Can the medium be read at the programmed data rate? */
static bool rate_fits(const struct fdc82077 *s, const struct medium *m) {
  if (m->sectors >= 30)
    return s->rate == 3; /* 1 Mbit/s */
  if (m->sectors >= 15)
    return s->rate == 0; /* 500 kbit/s */
  /* 250 kbit/s; a 1.2M drive turns faster and needs 300, which firmware also uses for 360K drives. */
  return s->rate == 2 || (s->rate == 1 && m->cylinders < 80);
}

/* Is there a formatted track under the selected head? */
static bool track_readable(const struct fdc82077 *s) {
  int drive = fdc_drive_of(s);
  if (!fdc_drive_exists(s, drive) || !s->medium[drive].block)
    return false;
  const struct medium *m = &s->medium[drive];
  return s->head < m->heads && s->track[drive] < m->cylinders && rate_fits(s, m);
}

static uint64_t sector_offset(const struct fdc82077 *s) {
  const struct medium *m = &s->medium[fdc_drive_of(s)];
  return (((uint64_t)s->track[fdc_drive_of(s)] * m->heads + s->head) * m->sectors + s->r - 1) * BYTES;
}

/* Look for the ID field C, H, R, N on the track; ends the command and returns false if it isn't there. */
static bool find_sector(struct fdc82077 *s, uint8_t n) {
  const struct medium *m = &s->medium[fdc_drive_of(s) & 1];
  if (!track_readable(s)) {
    finish(s, ST0_ABNORMAL, ST1_MA, 0);
  } else if (s->c != s->track[fdc_drive_of(s)]) {
    finish(s, ST0_ABNORMAL, ST1_ND, ST2_WC);
  } else if (s->h != s->head || n != 2 || s->r == 0 || s->r > m->sectors ||
             sector_offset(s) + BYTES > block_size(m->block)) {
    finish(s, ST0_ABNORMAL, ST1_ND, 0);
  } else {
    return true;
  }
  return false;
}

/* To the next sector by the rules of the result phase table; true if there is none on this cylinder. */
static bool advance(struct fdc82077 *s) {
  bool multi_track = s->command[0] & 0x80;
  if (s->r != s->eot) {
    s->r++;
    return false;
  }
  s->r = 1;
  if (multi_track) {
    s->h ^= 1;
    if (s->head == 0) {
      s->head = 1;
      return false;
    }
  }
  s->c++;
  return true;
}

static bool scan_matches(const struct fdc82077 *s, uint8_t *st2, const uint8_t *disk) {
  bool equal = true, low = true, high = true;
  for (unsigned i = 0; i < BYTES; i++) {
    if (s->buffer[i] == 0xff || disk[i] == 0xff || disk[i] == s->buffer[i])
      continue;
    equal = false;
    if (disk[i] < s->buffer[i])
      high = false;
    else
      low = false;
  }
  *st2 = equal ? ST2_SH : 0;
  return equal || (fdc_opcode(s) == SCAN_LOW && low) || (fdc_opcode(s) == SCAN_HIGH && high);
}

/* Act on a sector that the host has delivered. False: the command ended with an error or a scan hit. */
static bool commit_sector(struct fdc82077 *s) {
  struct block *block = s->medium[fdc_drive_of(s) & 1].block;
  if (!block) { /* ejected meanwhile */
    finish(s, ST0_ABNORMAL, ST1_MA, 0);
    return false;
  }
  if (fdc_is_scan(fdc_opcode(s))) {
    uint8_t disk[BYTES], st2;
    if (block_read(block, sector_offset(s), disk, BYTES)) {
      finish(s, ST0_ABNORMAL, ST1_DE, ST2_DD);
      return false;
    }
    if (!scan_matches(s, &st2, disk)) {
      s->st2 = ST2_SN;
      return true;
    }
    finish(s, 0, 0, st2);
    return false;
  }
  if (block_write(block, sector_offset(s), s->buffer, BYTES)) {
    finish(s, ST0_ABNORMAL, ST1_DE, ST2_DD);
    return false;
  }
  return true;
}

static void format_sector(struct fdc82077 *s) {
  const struct medium *m = &s->medium[fdc_drive_of(s) & 1];
  s->r = s->buffer[2];
  if (s->buffer[0] == s->track[fdc_drive_of(s)] && s->buffer[1] == s->head && s->buffer[3] == 2 &&
      s->r >= 1 && s->r <= m->sectors) {
    memset(s->buffer, s->command[5], BYTES);
    if (!commit_sector(s))
      return;
  }
  if (--s->left == 0 || s->tc) {
    s->c = s->track[fdc_drive_of(s)];
    s->h = s->head;
    finish(s, 0, 0, 0);
  } else {
    s->phase = EXECUTE;
    fdc_later(&s->execute, SECTOR_NS);
  }
}

void fdc_sector_moved(struct fdc82077 *s) {
  fdc_request_dma(s, 0);
  if (s->pos < s->length && fdc_host_writes(fdc_opcode(s)))
    memset(s->buffer + s->pos, 0, (size_t)(s->length - s->pos));
  if (fdc_opcode(s) == FORMAT_TRACK) {
    format_sector(s);
    return;
  }
  if (fdc_host_writes(fdc_opcode(s)) && !commit_sector(s))
    return;
  uint8_t deleted = fdc_opcode(s) == READ_DELETED ? ST2_CM : 0;
  bool end = advance(s);
  if (s->tc || deleted) {
    finish(s, 0, 0, s->st2 | deleted);
  } else if (end) {
    finish(s, ST0_ABNORMAL, ST1_EN, s->st2);
  } else {
    s->phase = EXECUTE;
    fdc_later(&s->execute, SECTOR_NS);
  }
}

void fdc_run_dma(void *opaque, int channel) {
  struct fdc82077 *s = opaque;
  if (s->phase != TRANSFER || !fdc_dma_mode(s) || s->pos >= s->length)
    return;
  size_t left = (size_t)(s->length - s->pos);
  size_t moved = fdc_host_writes(fdc_opcode(s))
                     ? dma_read_memory(s->config.dma, channel, s->buffer + s->pos, left, &s->tc)
                     : dma_write_memory(s->config.dma, channel, s->buffer + s->pos, left, &s->tc);
  s->pos = (uint16_t)(s->pos + moved);
  if (s->pos >= s->length || s->tc)
    fdc_sector_moved(s);
}

static void start_transfer(struct fdc82077 *s, uint16_t length) {
  s->pos = 0;
  s->length = length;
  s->tc = false;
  s->phase = TRANSFER;
  if (fdc_dma_mode(s))
    fdc_request_dma(s, 1); /* runs run_dma, now or when the channel is set up */
  else
    fdc_interrupt(s, true);
}

static void read_id(struct fdc82077 *s) {
  if (!track_readable(s)) {
    finish(s, ST0_ABNORMAL, ST1_MA, 0);
    return;
  }
  const struct medium *m = &s->medium[fdc_drive_of(s)];
  /* The disk turns: what passes by depends on the time. */
  s->c = s->track[fdc_drive_of(s)];
  s->h = s->head;
  s->r = (uint8_t)(clock_now(s->dev.clock) / 10000000 % m->sectors + 1);
  finish(s, 0, 0, 0);
}

static void verify_sector(struct fdc82077 *s) {
  bool counted = s->command[1] & 0x80;
  bool end = advance(s);
  if (counted && --s->left == 0)
    finish(s, 0, 0, 0);
  else if (end)
    finish(s, ST0_ABNORMAL, ST1_EN, 0);
  else
    fdc_later(&s->execute, SECTOR_NS);
}

void fdc_execute(void *opaque) {
  struct fdc82077 *s = opaque;
  uint8_t op = fdc_opcode(s);
  if (s->phase != EXECUTE)
    return;
  if (op == READ_ID) {
    read_id(s);
    return;
  }
  if (op == FORMAT_TRACK) {
    if (!track_readable(s))
      finish(s, ST0_ABNORMAL, ST1_MA, 0);
    else if (!block_writable(s->medium[fdc_drive_of(s)].block))
      finish(s, ST0_ABNORMAL, ST1_NW, 0);
    else
      start_transfer(s, 4);
    return;
  }
  if (!find_sector(s, s->command[5]))
    return;
  struct block *block = s->medium[fdc_drive_of(s)].block;
  if ((op == WRITE_DATA || op == WRITE_DELETED) && !block_writable(block)) {
    finish(s, ST0_ABNORMAL, ST1_NW, 0);
  } else if (fdc_host_writes(op)) {
    start_transfer(s, BYTES);
  } else if (block_read(block, sector_offset(s), s->buffer, BYTES)) {
    finish(s, ST0_ABNORMAL, ST1_DE, ST2_DD);
  } else if (op == VERIFY) {
    verify_sector(s);
  } else {
    start_transfer(s, BYTES);
  }
}

void fdc_start_execution(struct fdc82077 *s) {
  int drive = fdc_drive_of(s);
  s->head = s->command[1] >> 2 & 1;
  s->st2 = 0;
  s->tc = false;
  s->left = 0;
  if (s->command_length == 9) {
    s->c = s->command[2];
    s->h = s->command[3];
    s->r = fdc_opcode(s) == READ_TRACK ? 1 : s->command[4];
    s->eot = s->eot_byte = s->command[6];
    s->left = s->command[8] ? s->command[8] : 256; /* VERIFY: SC */
    if (s->config_byte & CONFIG_EIS)
      fdc_step_to(s, drive, s->c);
  } else if (fdc_opcode(s) == FORMAT_TRACK) {
    s->c = drive < FDC_DRIVES ? s->track[drive] : 0;
    s->h = s->head;
    s->r = 1;
    s->left = s->command[3] ? s->command[3] : 256;
    s->eot_byte = s->command[3];
  }
  s->phase = EXECUTE;
  fdc_later(&s->execute, SECTOR_NS);
}
