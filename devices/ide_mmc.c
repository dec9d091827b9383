/* SPDX-License-Identifier: MIT */
/*
 * ATAPI CD-ROM drive: the packet commands that describe drive and medium (INQUIRY, mode pages, TOC,
 * configuration, disc and track information, events), as in SFF-8020i and MMC-3. The medium is one finished
 * session; larger than a CD it is taken for a DVD-ROM.
 */
#include "devices/ide_int.h"

#include <string.h>

#define CD_MAX_SECTORS 450000u /* 100 minutes: anything larger is a DVD */
#define PROFILE_CD 0x0008
#define PROFILE_DVD 0x0010

enum { ILLEGAL_REQUEST = 5, INVALID_FIELD = 0x24 };

static void invalid_field(struct ide_channel *ch) { atapi_fail(ch, ILLEGAL_REQUEST, INVALID_FIELD, 0); }

static bool is_dvd(const struct ide_drive *d) { return cd_ready(d) && cd_sectors(d) > CD_MAX_SECTORS; }

static void inquiry(struct ide_channel *ch) {
  const uint8_t *p = ide_active(ch)->packet;
  uint8_t *out = ch->buffer;
  if (p[1] & 1 || p[2]) { /* no vital product data */
    invalid_field(ch);
    return;
  }
  memset(out, ' ', 36);
  memset(out, 0, 8);
  out[0] = 0x05; /* CD-ROM */
  out[1] = 0x80; /* removable */
  out[3] = 0x21; /* ATAPI, response format */
  out[4] = 31;
  memcpy(out + 8, "DRAGOMAN", 8);
  memcpy(out + 16, "CD-ROM", 6);
  memcpy(out + 32, "1.0", 3);
  atapi_send(ch, 36, be16(p + 3));
}

static void read_capacity(struct ide_channel *ch) {
  put32(ch->buffer, cd_sectors(ide_active(ch)) - 1);
  put32(ch->buffer + 4, CD_SECTOR);
  atapi_send(ch, 8, 8);
}

static uint8_t last_track(const struct disc *disc) { return (uint8_t)(disc->first + disc->tracks - 1); }

/* Format 0: all tracks from `first` on, and the lead-out. */
static uint32_t toc_tracks(const struct disc *disc, uint8_t *out, uint8_t first, bool as_msf) {
  uint32_t n = 4;
  out[2] = disc->first;
  out[3] = last_track(disc);
  for (unsigned i = 0; i < disc->tracks; i++) {
    uint8_t number = (uint8_t)(disc->first + i);
    if (number < first)
      continue;
    memcpy(out + n, (uint8_t[]){0, 0x10 | disc->track[i].control, number, 0}, 4);
    put_address(out + n + 4, disc->track[i].start, as_msf);
    n += 8;
  }
  memcpy(out + n, (uint8_t[]){0, 0x10 | disc->track[disc->tracks - 1].control, 0xaa, 0}, 4);
  put_address(out + n + 4, disc->leadout, as_msf);
  return n + 8;
}

static uint32_t full_entry(uint8_t *entry, uint8_t control, uint8_t point) {
  memset(entry, 0, 11);
  entry[0] = 1; /* session */
  entry[1] = 0x10 | control;
  entry[3] = point;
  return 11;
}

/* Format 2: the lead-in's Q subchannel: A0 first track, A1 last track, A2 lead-out, the tracks. */
static uint32_t toc_full(const struct disc *disc, uint8_t *out) {
  const struct disc_track *first = &disc->track[0], *last = &disc->track[disc->tracks - 1];
  bool xa = false;
  uint32_t n = 4;
  for (unsigned i = 0; i < disc->tracks; i++)
    xa |= disc->track[i].mode == DISC_MODE2;
  out[2] = out[3] = 1; /* first and last session */
  n += full_entry(out + n, first->control, 0xa0);
  out[n - 3] = disc->first;
  out[n - 2] = xa ? 0x20 : 0;
  n += full_entry(out + n, last->control, 0xa1);
  out[n - 3] = last_track(disc);
  n += full_entry(out + n, last->control, 0xa2);
  put_address(out + n - 4, disc->leadout, true);
  for (unsigned i = 0; i < disc->tracks; i++) {
    n += full_entry(out + n, disc->track[i].control, (uint8_t)(disc->first + i));
    put_address(out + n - 4, disc->track[i].start, true);
  }
  return n;
}

static void read_toc(struct ide_channel *ch) {
  const struct disc *disc = ide_active(ch)->disc;
  const uint8_t *p = ide_active(ch)->packet;
  uint8_t *out = ch->buffer;
  bool as_msf = p[1] & 2;
  uint8_t format = p[2] & 15 ? p[2] & 15 : p[9] >> 6; /* SFF-8020i had it in byte 9 */
  uint32_t n;
  switch (format) {
  case 0:
    if (p[6] > last_track(disc) && p[6] != 0xaa) {
      invalid_field(ch);
      return;
    }
    n = toc_tracks(disc, out, p[6], as_msf);
    break;
  case 1: /* sessions: the first track of the last one */
    memcpy(out + 2, (uint8_t[]){1, 1, 0, 0x10 | disc->track[0].control, disc->first, 0}, 6);
    put_address(out + 8, disc->track[0].start, as_msf);
    n = 12;
    break;
  case 2: n = toc_full(disc, out); break;
  default: invalid_field(ch); return; /* PMA, ATIP, CD-TEXT: not on a pressed disc */
  }
  put16(out, n - 2);
  atapi_send(ch, n, be16(p + 7));
}

/* SFF-8020i, table 64: 120 mm with data, with sound, with both; no disc; tray open. */
static uint8_t medium_type(const struct ide_drive *d) {
  bool data = false, sound = false;
  if (!cd_ready(d))
    return d->tray_open ? 0x71 : 0x70;
  for (unsigned i = 0; i < d->disc->tracks; i++)
    *(d->disc->track[i].mode == DISC_AUDIO ? &sound : &data) = true;
  return data && sound ? 0x03 : sound ? 0x02 : 0x01;
}

/* Append a mode page; only the volume can be changed. */
static uint32_t mode_page(const struct ide_drive *d, uint8_t *out, uint8_t page, enum cdda_values which) {
  static const uint8_t recovery[] = {0x01, 0x06, 0x00, 0x05, 0, 0, 0, 0};
  static const uint8_t parameters[] = {0x0d, 0x06, 0, 0x0d, 0, 60, 0, 75};
  static const uint8_t power[] = {0x1a, 0x0a, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  static const uint8_t timeout[] = {0x1d, 0x0a, 0, 0, 0, 0, 0, 60, 0, 60, 0, 0};
  uint8_t capabilities[] = {0x2a, 0x12, 0x38, 0x00, 0x71, 0x63, 0x29, 0x03, 0x02, 0xc2,
                            0x01, 0x00, 0x02, 0x00, 0x02, 0xc2, 0,    0,    0,    0};
  capabilities[2] = 0x08 | 0x10;                      /* reads DVD-ROM */
  capabilities[6] = (uint8_t)(0x29 | d->locked << 1); /* tray, eject, lock */
  const uint8_t *from;
  uint32_t n;
  switch (page) {
  case 0x01: from = recovery, n = sizeof recovery; break;
  case 0x0d: from = parameters, n = sizeof parameters; break;
  case 0x0e: cdda_get_page(d, out, which); return CDDA_PAGE;
  case 0x1a: from = power, n = sizeof power; break;
  case 0x1d: from = timeout, n = sizeof timeout; break;
  case 0x2a: from = capabilities, n = sizeof capabilities; break;
  default: return 0;
  }
  memcpy(out, from, n);
  if (which == CDDA_CHANGEABLE)
    memset(out + 2, 0, n - 2);
  return n;
}

static void mode_sense(struct ide_channel *ch, bool ten) {
  static const uint8_t all[] = {0x01, 0x0d, 0x0e, 0x1a, 0x1d, 0x2a};
  const struct ide_drive *d = ide_active(ch);
  const uint8_t *p = d->packet;
  uint8_t *out = ch->buffer, control = p[2] >> 6, page = p[2] & 0x3f;
  uint32_t header = ten ? 8 : 4, n = header;
  if (control == 3) { /* saved values */
    atapi_fail(ch, ILLEGAL_REQUEST, 0x39, 0);
    return;
  }
  memset(out, 0, header);
  for (unsigned i = 0; i < sizeof all; i++)
    if (page == 0x3f || page == all[i])
      n += mode_page(d, out + n, all[i], (enum cdda_values)control);
  if (n == header) {
    invalid_field(ch);
    return;
  }
  if (ten) {
    put16(out, n - 2);
    out[2] = medium_type(d);
  } else {
    out[0] = (uint8_t)(n - 1);
    out[1] = medium_type(d);
  }
  atapi_send(ch, n, ten ? be16(p + 7) : p[4]);
}

/* Take the parameter list, by PIO; atapi_out_step reads it. */
static void mode_select(struct ide_channel *ch, bool ten) {
  struct ide_drive *d = ide_active(ch);
  uint32_t n = ten ? be16(d->packet + 7) : d->packet[4];
  if (!n || d->dma) {
    if (d->dma && n)
      invalid_field(ch);
    else
      atapi_good(ch);
    return;
  }
  if (n > d->byte_limit) {
    atapi_fail(ch, ILLEGAL_REQUEST, 0x1a, 0); /* parameter list length */
    return;
  }
  d->tf.count &= (uint8_t) ~(IR_CD | IR_IO);
  d->tf.mid = (uint8_t)n;
  d->tf.high = (uint8_t)(n >> 8);
  ch->pos = 0;
  ide_data_block(ch, n, STEP_PACKET_OUT, true);
}

static void mechanism_status(struct ide_channel *ch) {
  const struct ide_drive *d = ide_active(ch);
  memset(ch->buffer, 0, 8);
  ch->buffer[1] = d->tray_open ? 0x10 : 0;
  atapi_send(ch, 8, be16(d->packet + 8));
}

static uint32_t feature(uint8_t *out, uint16_t code, bool current, bool persistent, const uint8_t *data,
                        uint8_t len) {
  put16(out, code);
  out[2] = (uint8_t)(persistent << 1 | current);
  out[3] = len;
  if (len)
    memcpy(out + 4, data, len);
  return 4u + len;
}

static void get_configuration(struct ide_channel *ch) {
  const struct ide_drive *d = ide_active(ch);
  const uint8_t *p = d->packet;
  uint8_t *out = ch->buffer, request = p[1] & 3;
  uint32_t start = be16(p + 2), n = 8;
  bool dvd = is_dvd(d), cd = cd_ready(d) && !dvd;
  const uint8_t profiles[] = {0, PROFILE_DVD, dvd, 0, 0, PROFILE_CD, cd, 0};
  const struct {
    uint16_t code;
    bool current, persistent;
    uint8_t len, data[8];
  } features[] = {
      {0x0000, true, true, 8, {0}},                      /* profile list: data from above */
      {0x0001, true, true, 8, {0, 0, 0, 2, 0, 0, 0, 0}}, /* core: ATAPI */
      {0x0002, true, true, 4, {0}},                      /* morphing */
      {0x0003, true, true, 4, {0x29}},                   /* removable medium: tray, eject, lock */
      {0x0010, cd || dvd, false, 8, {0, 0, CD_SECTOR >> 8, 0, 0, 1, 0, 0}}, /* random readable */
      {0x001e, cd, false, 4, {0}},                                          /* CD read */
      {0x001f, dvd, false, 4, {0}},                                         /* DVD read */
      {0x0103, cd, false, 4, {0x03, 0, 1, 0}},                              /* audio: 256 levels */
      {0x0100, true, true, 0, {0}},                                         /* power management */
      {0x0105, true, true, 4, {0}},                                         /* timeout */
  };
  if (request == 3) {
    invalid_field(ch);
    return;
  }
  memset(out, 0, 8);
  put16(out + 6, dvd ? PROFILE_DVD : cd ? PROFILE_CD : 0);
  for (size_t i = 0; i < sizeof features / sizeof features[0]; i++) {
    uint16_t code = features[i].code;
    if (request == 2 ? code != start : code < start || (request == 1 && !features[i].current))
      continue;
    n += feature(out + n, code, features[i].current, features[i].persistent,
                 code ? features[i].data : profiles, features[i].len);
  }
  put32(out, n - 4);
  atapi_send(ch, n, be16(p + 7));
}

static void get_event_status(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  const uint8_t *p = d->packet;
  uint8_t *out = ch->buffer;
  if (!(p[1] & 1)) { /* asynchronous notification */
    invalid_field(ch);
    return;
  }
  memset(out, 0, 8);
  out[3] = 1 << 4; /* supported: media class */
  uint32_t n = 4;
  if (p[4] & 1 << 4) {
    out[2] = 4;
    out[4] = d->event;
    out[5] = (uint8_t)(d->tray_open | (d->block != NULL && !d->tray_open) << 1);
    d->event = EVENT_NONE;
    n = 8;
  } else {
    out[2] = 0x80; /* no event class that we know */
  }
  put16(out, n - 2);
  atapi_send(ch, n, be16(p + 7));
}

static void disc_information(struct ide_channel *ch) {
  const struct disc *disc = ide_active(ch)->disc;
  const uint8_t *p = ide_active(ch)->packet;
  uint8_t *out = ch->buffer;
  memset(out, 0, 34);
  put16(out, 32);
  out[2] = 0x0e; /* last session and disc complete */
  out[3] = out[5] = disc->first;
  out[4] = 1; /* session */
  out[6] = last_track(disc);
  out[7] = 0x20;             /* unrestricted use */
  memset(out + 16, 0xff, 8); /* no further lead-in or lead-out */
  atapi_send(ch, 34, be16(p + 7));
}

/* By the address of a frame, the track's number, or the session's. */
static const struct disc_track *information_about(const struct disc *disc, uint8_t kind, uint32_t what) {
  if (kind == 0)
    return disc_track_at(disc, what);
  if (kind == 2)
    return what == 1 ? &disc->track[0] : NULL;
  return what >= disc->first && what <= last_track(disc) ? &disc->track[what - disc->first] : NULL;
}

static void track_information(struct ide_channel *ch) {
  const struct disc *disc = ide_active(ch)->disc;
  const uint8_t *p = ide_active(ch)->packet;
  uint8_t *out = ch->buffer;
  const struct disc_track *t = information_about(disc, p[1] & 3, be32(p + 2));
  if (!t) {
    invalid_field(ch);
    return;
  }
  memset(out, 0, 36);
  put16(out, 34);
  out[2] = (uint8_t)(disc->first + (t - disc->track));
  out[3] = 1; /* session */
  out[5] = t->control;
  out[6] = t->mode == DISC_AUDIO ? 0x0f : t->mode;
  put32(out + 8, t->start);
  put32(out + 24, t->end - t->start);
  atapi_send(ch, 36, be16(p + 7));
}

static void read_header(struct ide_channel *ch) {
  const struct ide_drive *d = ide_active(ch);
  const uint8_t *p = d->packet;
  uint32_t lba = be32(p + 2);
  const struct disc_track *t = disc_track_at(d->disc, lba);
  if (!t || t->mode == DISC_AUDIO) {
    atapi_fail(ch, ILLEGAL_REQUEST, t ? 0x64 : 0x21, 0);
    return;
  }
  memset(ch->buffer, 0, 8);
  ch->buffer[0] = t->mode;
  put_address(ch->buffer + 4, lba, p[1] & 2);
  atapi_send(ch, 8, be16(p + 7));
}

static void dvd_structure(struct ide_channel *ch) {
  const struct ide_drive *d = ide_active(ch);
  const uint8_t *p = d->packet;
  uint8_t *out = ch->buffer;
  uint32_t n;
  if (!is_dvd(d)) {
    atapi_fail(ch, ILLEGAL_REQUEST, 0x30, 0x02); /* incompatible format */
    return;
  }
  memset(out, 0, CD_SECTOR + 4);
  switch (p[7]) {
  case 0: /* physical: DVD-ROM, 120 mm, one layer */
    out[4] = 0x01;
    out[5] = 0x0f;
    out[6] = 0x01;
    put32(out + 8, 0x30000);
    put32(out + 12, 0x30000 + cd_sectors(d) - 1);
    n = CD_SECTOR + 4;
    break;
  case 1: n = 8; break;             /* copyright: none */
  case 4: n = CD_SECTOR + 4; break; /* manufacturing: empty */
  default: invalid_field(ch); return;
  }
  put16(out, n - 2);
  atapi_send(ch, n, be16(p + 8));
}

bool mmc_command(struct ide_channel *ch) {
  switch (ide_active(ch)->packet[0]) {
  case 0x12: inquiry(ch); break;
  case 0x15: mode_select(ch, false); break;
  case 0x1a: mode_sense(ch, false); break;
  case 0x25: read_capacity(ch); break;
  case 0x43: read_toc(ch); break;
  case 0x44: read_header(ch); break;
  case 0x46: get_configuration(ch); break;
  case 0x4a: get_event_status(ch); break;
  case 0x51: disc_information(ch); break;
  case 0x52: track_information(ch); break;
  case 0x55: mode_select(ch, true); break;
  case 0x5a: mode_sense(ch, true); break;
  case 0xad: dvd_structure(ch); break;
  case 0xbd: mechanism_status(ch); break;
  default: return false;
  }
  return true;
}
