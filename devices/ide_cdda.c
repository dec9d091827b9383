/* SPDX-License-Identifier: MIT */
/*
 * Sound of compact discs in the ATAPI CD-ROM drive: PLAY AUDIO, PAUSE/RESUME, STOP PLAY, READ SUB-CHANNEL and
 * the audio control page (SFF-8020i 9.8, MMC-3 6 and C.3). What plays is a matter of virtual time only: the
 * position follows the clock, and the mixer asks for the samples of the time that has passed.
 *
 * Not modelled: SCAN, SOTC (play stops at the end of what was asked for), outputs 2 and 3, seek times.
 */
#include "devices/ide_int.h"

#include <string.h>

#define RATE 44100u
#define FRAME_SAMPLES (DISC_FRAME / 4)
#define LATE_MAX (RATE / 2) /* samples that are worth catching up */

enum { SENSE_MEDIUM = 3, SENSE_ILLEGAL = 5 };
enum { ASC_RANGE = 0x21, ASC_INVALID_FIELD = 0x24, ASC_SEQUENCE = 0x2c, ASC_WRONG_TRACK = 0x64 };

/* --- where it is -------------------------------------------------------------------------------------- */

/* Samples since `from`. */
static int64_t elapsed(const struct cd_player *p) {
  int64_t all = (int64_t)(p->to - p->from) * FRAME_SAMPLES;
  int64_t n = muldiv64(clock_now(p->clock) - p->since, RATE, NS_PER_SEC);
  return n < 0 ? 0 : n < all ? n : all;
}

uint32_t cdda_position(const struct ide_drive *d) {
  const struct cd_player *p = &d->player;
  return p->status == CD_PLAYING ? p->from + (uint32_t)(elapsed(p) / FRAME_SAMPLES) : p->from;
}

void cdda_stop(struct ide_drive *d, uint8_t status) {
  struct cd_player *p = &d->player;
  p->from = cdda_position(d);
  p->status = status;
  audio_voice_stop(p->voice);
}

/* The end of what was to be played is only noticed when somebody looks. */
static void look(struct ide_drive *d) {
  struct cd_player *p = &d->player;
  if (p->status == CD_PLAYING && cdda_position(d) >= p->to) {
    p->from = p->to;
    p->status = p->ended;
  }
}

const struct disc_track *cdda_place(const struct ide_drive *d, uint32_t lba, uint8_t *number, uint8_t *index,
                                    int32_t *relative) {
  const struct disc_track *t = disc_track_at(d->disc, lba);
  *number = t ? (uint8_t)(d->disc->first + (t - d->disc->track)) : 0xaa; /* lead-out */
  *index = !t || lba >= t->start;
  *relative = (int32_t)lba - (int32_t)(t ? t->start : d->disc->leadout);
  return t;
}

/* --- sound -------------------------------------------------------------------------------------------- */

static int16_t sample(const uint8_t *p) { return (int16_t)(p[0] | p[1] << 8); }

/* What an output carries of a pair of samples: bit 0 of `port` the left, bit 1 the right channel. */
static int16_t output(const struct cd_player *p, int n, const uint8_t *pair) {
  int32_t sum = (p->port[n] & 1 ? sample(pair) : 0) + (p->port[n] & 2 ? sample(pair + 2) : 0);
  sum = sum * p->volume[n] / 255;
  return (int16_t)(sum > INT16_MAX ? INT16_MAX : sum < INT16_MIN ? INT16_MIN : sum);
}

static void load_frame(struct ide_drive *d, uint32_t lba) {
  struct cd_player *p = &d->player;
  const struct disc_track *t = disc_track_at(d->disc, lba);
  if (p->loaded == lba)
    return;
  p->loaded = lba;
  if (!t || t->mode != DISC_AUDIO || block_read_frame(d->block, lba, p->frame))
    memset(p->frame, 0, sizeof p->frame);
}

/* The samples up to now, for the mixer. */
static bool pull(void *opaque) {
  struct ide_drive *d = opaque;
  struct cd_player *p = &d->player;
  struct audio_frame batch[FRAME_SAMPLES];
  if (p->status != CD_PLAYING || !cd_ready(d))
    return false;
  int64_t end = elapsed(p);
  if (end - p->done > LATE_MAX)
    p->done = end - LATE_MAX;
  while (p->done < end) {
    uint32_t skip = (uint32_t)(p->done % FRAME_SAMPLES), n = FRAME_SAMPLES - skip;
    if (n > end - p->done)
      n = (uint32_t)(end - p->done);
    load_frame(d, p->from + (uint32_t)(p->done / FRAME_SAMPLES));
    for (uint32_t i = 0; i < n; i++) {
      const uint8_t *pair = p->frame + (skip + i) * 4;
      batch[i] = (struct audio_frame){output(p, 0, pair), output(p, 1, pair)};
    }
    audio_voice_write(p->voice, batch, n);
    p->done += n;
  }
  look(d);
  return p->status == CD_PLAYING;
}

static void begin(struct ide_drive *d) {
  struct cd_player *p = &d->player;
  p->status = CD_PLAYING;
  p->since = clock_now(p->clock);
  p->done = 0;
  p->loaded = UINT32_MAX;
  audio_voice_wake(p->voice);
}

/* --- commands ----------------------------------------------------------------------------------------- */

/* Play [from, to); what lies behind a track of data isn't reached. */
static void play(struct ide_channel *ch, uint32_t from, uint32_t to) {
  struct ide_drive *d = ide_active(ch);
  struct cd_player *p = &d->player;
  if (from == to && from <= d->disc->leadout) { /* no error, and nothing happens */
    atapi_good(ch);
    return;
  }
  const struct disc_track *t = disc_track_at(d->disc, from);
  if (!t || to < from) {
    atapi_fail(ch, SENSE_ILLEGAL, t ? ASC_INVALID_FIELD : ASC_RANGE, 0);
    return;
  }
  if (t->mode != DISC_AUDIO) {
    atapi_fail(ch, SENSE_ILLEGAL, ASC_WRONG_TRACK, 0);
    return;
  }
  const struct disc_track *last = d->disc->track + d->disc->tracks - 1;
  while (t < last && t->end < to && t[1].mode == DISC_AUDIO)
    t++;
  cdda_stop(d, CD_NO_STATUS);
  p->from = from;
  p->ended = t->end >= to || t == last ? CD_COMPLETED : CD_FAILED;
  p->to = t->end < to ? t->end : to;
  begin(d);
  atapi_good(ch);
}

/* `where` FFFFFFFFh: from where it is. */
static void play_length(struct ide_channel *ch, uint32_t where, uint32_t length) {
  uint32_t from = where == UINT32_MAX ? cdda_position(ide_active(ch)) : where;
  play(ch, from, length > UINT32_MAX - from ? UINT32_MAX : from + length);
}

static void play_msf(struct ide_channel *ch, const uint8_t *p) {
  uint32_t here = cdda_position(ide_active(ch)) + DISC_LEAD;
  uint32_t from = be24(p + 3) == 0xffffff ? here : msf_frames(p + 3), to = msf_frames(p + 6);
  if (from < DISC_LEAD || to < from)
    atapi_fail(ch, SENSE_ILLEGAL, ASC_INVALID_FIELD, 0);
  else
    play(ch, from - DISC_LEAD, to - DISC_LEAD);
}

/* PLAY AUDIO TRACK INDEX: tracks p[4] to p[7], from index p[5] to the end of index p[8]. */
static void play_tracks(struct ide_channel *ch, const uint8_t *p) {
  const struct disc *disc = ide_active(ch)->disc;
  unsigned first = p[4], last = p[7], end = (unsigned)disc->first + disc->tracks - 1;
  if (first < disc->first || first > end || last < first) {
    atapi_fail(ch, SENSE_ILLEGAL, ASC_INVALID_FIELD, 0);
    return;
  }
  const struct disc_track *a = &disc->track[first - disc->first];
  const struct disc_track *b = &disc->track[(last < end ? last : end) - disc->first];
  play(ch, p[5] ? a->start : a->pregap, p[8] ? b->end : b->start);
}

static void pause_resume(struct ide_channel *ch, bool resume) {
  struct ide_drive *d = ide_active(ch);
  look(d);
  if (d->player.status != CD_PLAYING && d->player.status != CD_PAUSED) {
    atapi_fail(ch, SENSE_ILLEGAL, ASC_SEQUENCE, 0);
    return;
  }
  if (!resume && d->player.status == CD_PLAYING)
    cdda_stop(d, CD_PAUSED);
  else if (resume && d->player.status == CD_PAUSED)
    begin(d);
  atapi_good(ch);
}

/* Frames from index 1, without the two seconds that addresses have; it counts down to zero before a track. */
static void put_relative(uint8_t *p, int32_t frames, bool as_msf) {
  put32(p, (uint32_t)frames);
  if (as_msf) {
    uint32_t n = (uint32_t)(frames < 0 ? -frames : frames);
    p[0] = 0;
    p[1] = (uint8_t)(n / 4500);
    p[2] = (uint8_t)(n / 75 % 60);
    p[3] = (uint8_t)(n % 75);
  }
}

static void put_position(const struct ide_drive *d, uint8_t *out, bool as_msf) {
  uint32_t lba = cdda_position(d);
  int32_t relative;
  const struct disc_track *t = cdda_place(d, lba, &out[6], &out[7], &relative);
  out[5] = (uint8_t)(0x10 | (t ? t->control : 0));
  put_address(out + 8, lba, as_msf);
  put_relative(out + 12, relative, as_msf);
}

/* 3 = ISRC of track p[6], 2 = catalogue number: a flag that it is there, and its characters. */
static void put_code(const struct ide_drive *d, uint8_t *out, uint8_t format, uint8_t track) {
  const struct disc *disc = d->disc;
  const char *code = disc->catalog;
  if (format == 3) {
    unsigned n = (unsigned)track - disc->first;
    const struct disc_track *t = n < disc->tracks ? &disc->track[n] : NULL;
    out[5] = (uint8_t)(0x30 | (t ? t->control : 0));
    out[6] = track;
    code = t ? t->isrc : "";
  }
  out[8] = *code ? 0x80 : 0;
  memcpy(out + 9, code, strlen(code));
}

static void read_subchannel(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  const uint8_t *p = d->packet;
  uint8_t *out = ch->buffer;
  uint32_t n = 4;
  look(d);
  memset(out, 0, 24);
  if (p[2] & 0x40) {
    out[4] = p[3];
    switch (p[3]) {
    case 1:
      put_position(d, out, p[1] & 2);
      n = 16;
      break;
    case 2:
    case 3:
      put_code(d, out, p[3], p[6]);
      n = 24;
      break;
    default: atapi_fail(ch, SENSE_ILLEGAL, ASC_INVALID_FIELD, 0); return;
    }
    put16(out + 2, n - 4);
  }
  out[1] = d->player.status;
  if (d->player.status == CD_COMPLETED || d->player.status == CD_FAILED)
    d->player.status = CD_NO_STATUS; /* told once */
  atapi_send(ch, n, be16(p + 7));
}

bool cdda_command(struct ide_channel *ch) {
  struct ide_drive *d = ide_active(ch);
  const uint8_t *p = d->packet;
  switch (p[0]) {
  case 0x42: read_subchannel(ch); return true;
  case 0x45: play_length(ch, be32(p + 2), be16(p + 7)); return true;
  case 0x47: play_msf(ch, p); return true;
  case 0x48: play_tracks(ch, p); return true;
  case 0x4b: pause_resume(ch, p[8] & 1); return true;
  case 0x4e: /* STOP PLAY/SCAN */
    look(d);
    if (d->player.status == CD_PLAYING || d->player.status == CD_PAUSED)
      cdda_stop(d, CD_NO_STATUS);
    atapi_good(ch);
    return true;
  case 0xa5: play_length(ch, be32(p + 2), be32(p + 6)); return true;
  default: return false;
  }
}

/* --- volume, subchannel Q ----------------------------------------------------------------------------- */

static const uint8_t default_port[4] = {1, 2, 0, 0}, default_volume[4] = {255, 255, 0, 0};

void cdda_get_page(const struct ide_drive *d, uint8_t *page, enum cdda_values which) {
  static const uint8_t fixed[CDDA_PAGE] = {0x0e, 0x0e, 0x04, 0, 0, 0, 0, 75}; /* IMMED */
  memcpy(page, fixed, CDDA_PAGE);
  if (which == CDDA_CHANGEABLE)
    memset(page + 2, 0, CDDA_PAGE - 2);
  for (unsigned i = 0; i < 4; i++) {
    bool real = i < 2;
    page[8 + 2 * i] = which == CDDA_CURRENT   ? d->player.port[i]
                      : which == CDDA_DEFAULT ? default_port[i]
                      : real                  ? 0x0f
                                              : 0;
    page[9 + 2 * i] = which == CDDA_CURRENT   ? d->player.volume[i]
                      : which == CDDA_DEFAULT ? default_volume[i]
                      : real                  ? 0xff
                                              : 0;
  }
}

void cdda_set_page(struct ide_drive *d, const uint8_t *page) {
  for (unsigned i = 0; i < 2; i++) {
    d->player.port[i] = page[8 + 2 * i] & 0x0f;
    d->player.volume[i] = page[9 + 2 * i];
  }
}

static uint8_t bcd(uint32_t n) { return (uint8_t)(n / 10 % 10 << 4 | n % 10); }

static void bcd_msf(uint8_t *p, uint32_t frames) {
  p[0] = bcd(frames / 4500);
  p[1] = bcd(frames / 75 % 60);
  p[2] = bcd(frames % 75);
}

/* The checksum of Q: x^16 + x^12 + x^5 + 1, inverted (ECMA-130, 22.3.6). */
static uint16_t q_checksum(const uint8_t *q) {
  uint16_t crc = 0;
  for (int i = 0; i < 10; i++) {
    crc ^= (uint16_t)(q[i] << 8);
    for (int bit = 0; bit < 8; bit++)
      crc = (uint16_t)(crc & 0x8000 ? crc << 1 ^ 0x1021 : crc << 1);
  }
  return (uint16_t)~crc;
}

void cdda_q(const struct ide_drive *d, uint32_t lba, uint8_t *q) {
  uint8_t number, index;
  int32_t relative;
  const struct disc_track *t = cdda_place(d, lba, &number, &index, &relative);
  memset(q, 0, CDDA_Q);
  q[0] = (uint8_t)((t ? t->control : 0) << 4 | 1);
  q[1] = t ? bcd(number) : 0xaa;
  q[2] = bcd(index);
  bcd_msf(q + 3, (uint32_t)(relative < 0 ? -relative : relative));
  bcd_msf(q + 7, lba + DISC_LEAD);
  put16(q + 10, q_checksum(q));
}

/* --- life --------------------------------------------------------------------------------------------- */

void cdda_reset(struct ide_drive *d) {
  cdda_stop(d, CD_NO_STATUS);
  d->player.from = d->player.to = 0;
  memcpy(d->player.port, default_port, 4);
  memcpy(d->player.volume, default_volume, 4);
}

void cdda_init(struct ide_drive *d, struct clock *clock, struct audio *audio) {
  struct cd_player *p = &d->player;
  p->clock = clock;
  p->audio = audio;
  p->status = CD_NO_STATUS;
  p->voice = audio_voice_new(audio, "cd");
  audio_voice_rate(p->voice, RATE);
  audio_voice_pull(p->voice, pull, d);
}

void cdda_destroy(struct ide_drive *d) {
  audio_voice_free(d->player.voice);
  d->player.voice = NULL;
}
