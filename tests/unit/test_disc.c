/* SPDX-License-Identifier: MIT */
/*
 * Compact discs: cue sheets and their layout, what the drive tells of the tracks, reading data and sound,
 * playing sound; sheets from enemies.
 */
#include "core/audio.h"
#include "devices/block/disc.h"
#include "tests/unit/atapi_rig.h"

#include <sys/stat.h>

/* A directory with a cue sheet and its files. */
struct folder {
  char dir[32], cue[48], bin[48], wav[48];
};

static void write_file(const char *path, const void *data, size_t len) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  ck_assert_int_ge(fd, 0);
  ck_assert_int_eq(write(fd, data, len), (ssize_t)len);
  close(fd);
}

static void folder_make(struct folder *f) {
  snprintf(f->dir, sizeof f->dir, "/tmp/dragoman-disc-XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(f->dir));
  snprintf(f->cue, sizeof f->cue, "%s/disc.cue", f->dir);
  snprintf(f->bin, sizeof f->bin, "%s/Data.Bin", f->dir);
  snprintf(f->wav, sizeof f->wav, "%s/last.wav", f->dir);
}

static void folder_free(struct folder *f) {
  unlink(f->cue), unlink(f->bin), unlink(f->wav);
  ck_assert_int_eq(rmdir(f->dir), 0);
}

/* Raw sectors of data, then sound: frame n of the data begins with sync, header and n; its left channel
 * counts. */
static void make_bin(const struct folder *f, unsigned data, unsigned sound) {
  uint8_t *all = calloc(data + sound, DISC_FRAME);
  for (unsigned n = 0; n < data; n++) {
    uint8_t *at = all + (size_t)n * DISC_FRAME;
    memset(at + 1, 0xff, 10);
    at[15] = 1;
    memcpy(at + 16, &n, 4);
    at[2064] = 0xed; /* EDC */
  }
  for (unsigned n = 0; n < sound * DISC_FRAME / 4; n++) {
    int16_t pair[2] = {(int16_t)(n % 20000), -1000};
    memcpy(all + (size_t)data * DISC_FRAME + (size_t)n * 4, pair, 4);
  }
  write_file(f->bin, all, (size_t)(data + sound) * DISC_FRAME);
  free(all);
}

static void make_wav(const struct folder *f, unsigned frames) {
  uint32_t len = frames * DISC_FRAME;
  uint8_t *all = calloc(1, 54 + len);
  memcpy(all,
         "RIFF....WAVELIST\x02\0\0\0xxfmt \x10\0\0\0\x01\0\x02\0\x44\xac\0\0\x10\xb1\x02\0\x04\0\x10\0data",
         50);
  memcpy(all + 50, &len, 4);
  for (uint32_t i = 0; i < len; i += 2)
    all[54 + i] = 7;
  write_file(f->wav, all, 54 + len);
  free(all);
}

static struct block *open_sheet(const struct folder *f, const char *sheet) {
  struct block *b = NULL;
  const char *error = NULL;
  write_file(f->cue, sheet, strlen(sheet));
  ck_assert_msg(block_open(&b, f->cue, BLOCK_CD, &error) == 0, "%s", error);
  return b;
}

static void refuse(const struct folder *f, const char *sheet, const char *word) {
  struct block *b = NULL;
  const char *error = NULL;
  write_file(f->cue, sheet, strlen(sheet));
  ck_assert_int_lt(block_open(&b, f->cue, BLOCK_CD, &error), 0);
  ck_assert_ptr_null(b);
  ck_assert_ptr_nonnull(error);
  ck_assert_msg(strstr(error, word) != NULL, "'%s' not in: %s", word, error);
}

/* 100 frames of data, 2 s of silence, 300 frames of sound of which 10 are pregap, 75 from the WAVE file. */
static const char mixed[] = "\xef\xbb\xbf"
                            "REM made by hand\r\n"
                            "CATALOG 1234567890123\r\n"
                            "TITLE \"A \\ B\"\n"
                            "FILE \"C:\\GAMES\\data.bin\" BINARY\r\n"
                            "  TRACK 01 MODE1/2352\r\n"
                            "    INDEX 01 00:00:00\r\n"
                            "  TRACK 02 AUDIO\r\n"
                            "    FLAGS DCP PRE\r\n"
                            "    ISRC ABCDE1234567\r\n"
                            "    PREGAP 00:02:00\r\n"
                            "    INDEX 01 00:01:25\r\n"
                            "  TRACK 03 AUDIO\n"
                            "    INDEX 00 00:03:00\n"
                            "    INDEX 01 00:03:10\n"
                            "    INDEX 02 00:04:00\n"
                            "FILE last.wav WAVE\n"
                            "  TRACK 04 AUDIO\n"
                            "    INDEX 01 00:00:00\n"
                            "    POSTGAP 00:00:05";

START_TEST(layout) {
  struct folder f;
  uint8_t frame[DISC_FRAME], data[DISC_DATA];
  uint32_t n;
  folder_make(&f);
  make_bin(&f, 100, 300);
  make_wav(&f, 75);
  struct block *b = open_sheet(&f, mixed);
  const struct disc *disc = block_disc(b);
  ck_assert_ptr_nonnull(disc);
  ck_assert_uint_eq(disc->first, 1);
  ck_assert_uint_eq(disc->tracks, 4);
  ck_assert_uint_eq(disc->leadout, 100 + 150 + 300 + 75 + 5);
  ck_assert_uint_eq(block_size(b), disc->leadout * 2048ull);
  ck_assert_str_eq(disc->catalog, "1234567890123");
  ck_assert_str_eq(disc->track[1].isrc, "ABCDE1234567");
  const struct disc_track want[] = {{4, DISC_MODE1, 0, 0, 100, ""},
                                    {3, DISC_AUDIO, 100, 250, 375, ""},
                                    {0, DISC_AUDIO, 375, 385, 550, ""},
                                    {0, DISC_AUDIO, 550, 550, 630, ""}};
  for (int i = 0; i < 4; i++) {
    ck_assert_uint_eq(disc->track[i].control, want[i].control);
    ck_assert_uint_eq(disc->track[i].mode, want[i].mode);
    ck_assert_uint_eq(disc->track[i].pregap, want[i].pregap);
    ck_assert_uint_eq(disc->track[i].start, want[i].start);
    ck_assert_uint_eq(disc->track[i].end, want[i].end);
  }
  ck_assert_int_eq(block_read(b, 99 * 2048, data, 2048), 0);
  memcpy(&n, data, 4);
  ck_assert_uint_eq(n, 99);
  ck_assert_int_eq(block_read(b, 98 * 2048 + 2044, data, 8), 0); /* across a border */
  memcpy(&n, data + 4, 4);
  ck_assert_uint_eq(n, 99);
  ck_assert_int_eq(block_read(b, 250 * 2048, data, 512), -EIO);
  ck_assert_int_eq(block_write(b, 0, data, 512), -EROFS);
  ck_assert_int_eq(block_read_frame(b, 5, frame), 0);
  ck_assert_uint_eq(frame[2064], 0xed);
  ck_assert_int_eq(block_read_frame(b, 240, frame), 0); /* the pregap that is in no file */
  ck_assert_uint_eq(frame[0] | frame[2], 0);
  ck_assert_int_eq(block_read_frame(b, 251, frame), 0);
  ck_assert_uint_eq(frame[0] | frame[1] << 8, 588);
  ck_assert_int_eq(block_read_frame(b, 624, frame), 0);
  ck_assert_uint_eq(frame[2350], 7);
  ck_assert_int_eq(block_read_frame(b, 629, frame), 0);
  ck_assert_uint_eq(frame[0], 0);
  ck_assert_int_eq(block_read_frame(b, 630, frame), -EINVAL);
  block_close(b);
  folder_free(&f);
}
END_TEST

/* Other shapes of sectors; a raw track without a sheet; plain images stay what they are. */
START_TEST(sector_forms) {
  struct folder f;
  uint8_t frame[DISC_FRAME], data[DISC_DATA];
  const char *error;
  folder_make(&f);
  make_bin(&f, 4, 0);
  struct block *b = open_sheet(&f, "FILE Data.Bin\nTRACK 7 MODE2/2336\nINDEX 1 0:0:0\n");
  ck_assert_uint_eq(block_disc(b)->first, 7);
  ck_assert_uint_eq(block_disc(b)->leadout, 5); /* the last one is filled up */
  ck_assert_int_eq(block_read_frame(b, 4, frame), 0);
  ck_assert_mem_eq(frame + 12, "\x00\x02\x04\x02", 4);
  ck_assert_int_eq(block_read(b, 0, data, 2048), 0);
  ck_assert_uint_eq(data[7], 1); /* byte 15 of the file: subheader of 8 bytes */
  block_close(b);
  b = open_sheet(&f,
                 "FILE Data.Bin MOTOROLA\nTRACK 1 MODE1/2048\nINDEX 1 0:0:0\nTRACK 2 AUDIO\nINDEX 1 0:0:2\n");
  ck_assert_int_eq(block_read_frame(b, 0, frame), 0);
  ck_assert_uint_eq(frame[16 + 15], 1);
  ck_assert_int_eq(block_read_frame(b, 2, frame), 0); /* from byte 4096 on, in pairs the other way round */
  ck_assert_uint_eq(frame[2352 + 2064 - 4096 + 1], 0xed);
  block_close(b);
  ck_assert_int_eq(block_open(&b, f.bin, BLOCK_CD, &error), 0);
  ck_assert_uint_eq(block_size(b), 4 * 2048);
  ck_assert_int_eq(block_read(b, 3 * 2048, data, 2048), 0);
  ck_assert_uint_eq(data[0], 3);
  block_close(b);
  ck_assert_int_eq(block_open(&b, f.bin, 0, &error), 0); /* as a disk */
  ck_assert_ptr_null(block_disc(b));
  ck_assert_int_eq(block_read_frame(b, 1, frame), 0);
  ck_assert_mem_eq(frame + 12, "\x00\x02\x01\x01", 4);
  block_close(b);
  folder_free(&f);
}
END_TEST

START_TEST(refused) {
  struct folder f;
  folder_make(&f);
  make_bin(&f, 10, 0);
  make_wav(&f, 10);
#define START "FILE Data.Bin BINARY\nTRACK 1 MODE1/2352\n"
  refuse(&f, "", "no track");
  refuse(&f, "TRACK 1 AUDIO\n", "before FILE");
  refuse(&f, "INDEX 1 0:0:0\n", "before TRACK");
  refuse(&f, "FILE none.bin BINARY\n", "none.bin");
  refuse(&f, "FILE Data.Bin MP3\n", "file types");
  refuse(&f, "FILE Data.Bin WAVE\n", "WAVE file of 44100");
  refuse(&f, "FILE ../../../../../../etc/passwd BINARY\nTRACK 1 MODE1/2048\nINDEX 1 0:0:0\n", "passwd");
  refuse(&f, "FILE /etc/passwd BINARY\n", f.dir); /* looked for beside the sheet */
  refuse(&f, "FILE x/../../a BINARY\n", f.dir);
  refuse(&f, "FILE .. BINARY\n", "no file name");
  refuse(&f, "FILE last.wav WAVE\nTRACK 1 MODE1/2352\nINDEX 1 0:0:0\n", "cannot be in a WAVE");
  refuse(&f, START, "no INDEX 01");
  refuse(&f, START "INDEX 1 0:0:99\n", "line 3");
  refuse(&f, START "INDEX 1 0:0:60\n", "is empty");
  refuse(&f, START "INDEX 1 0:0:0\nINDEX 0 0:0:1\n", "not in order");
  refuse(&f, START "INDEX 1 0:0:5\nTRACK 2 AUDIO\nINDEX 1 0:0:4\n", "the one above");
  refuse(&f, START "INDEX 1 0:0:0\nTRACK 2 AUDIO\nINDEX 1 0:0:11\n", "behind the end");
  refuse(&f, START "INDEX 1 0:0:0\nTRACK 3 AUDIO\n", "next number");
  refuse(&f, START "INDEX 1 0:0:0\nPREGAP 0:0:1\n", "wrong place");
  refuse(&f, START "PREGAP 999:0:0\nINDEX 1 0:0:0\n", "100 minutes");
  refuse(&f, "FILE Data.Bin BINARY\nTRACK 1 MODE3/9\n", "modes are");
  refuse(&f, "FILE Data.Bin BINARY\nTRACK 100 AUDIO\n", "from 1 to 99");
#undef START
  folder_free(&f);
}
END_TEST

/* A good sheet with bytes changed: refused, or whatever it says can be read. */
START_TEST(hostile_sheets) {
  struct folder f;
  uint32_t seed = 12345;
  folder_make(&f);
  make_bin(&f, 100, 300);
  make_wav(&f, 75);
  for (int i = 0, n = rig_fuzz_ops() / 50, opened = 0; i < n; i++) {
    char sheet[sizeof mixed];
    size_t len = sizeof mixed - 1;
    struct block *b;
    const char *error;
    memcpy(sheet, mixed, sizeof mixed);
    for (uint32_t k = rig_random(&seed) % 4; k; k--) {
      uint32_t at = rig_random(&seed) % len, what = rig_random(&seed);
      if (what & 0x100) /* one of its own characters */
        sheet[at] = mixed[what % len];
      else if (what & 0x200)
        sheet[at] = (char)('0' + what % 10);
      else if (what & 0x400)
        len = at + 1;
      else
        sheet[at] = (char)what;
    }
    write_file(f.cue, sheet, len);
    if (block_open(&b, f.cue, BLOCK_CD, &error))
      continue;
    opened++;
    const struct disc *disc = block_disc(b);
    ck_assert_uint_ge(disc->tracks, 1);
    for (uint32_t k = 0; k < 20; k++) {
      uint8_t frame[DISC_FRAME];
      uint32_t lba = rig_random(&seed) % (disc->leadout + 10);
      ck_assert_int_eq(block_read_frame(b, lba, frame), lba < disc->leadout ? 0 : -EINVAL);
      ck_assert_int_eq(disc_track_at(disc, lba) != NULL, lba < disc->leadout);
    }
    block_close(b);
    ck_assert(i + 1 < n || opened > n / 10);
  }
  folder_free(&f);
}
END_TEST

/* --- the drive ---------------------------------------------------------------------------------------- */

#define HEARD_MAX (AUDIO_RATE * 10)

struct player {
  struct folder f;
  struct ide *c;
  struct audio_frame *heard;
  uint64_t count;
};

static void hear(void *opaque, const struct audio_frame *frames, uint64_t count) {
  struct player *p = opaque;
  ck_assert_uint_le(p->count + count, HEARD_MAX);
  for (uint64_t i = 0; i < count; i++)
    p->heard[p->count++] = frames ? frames[i] : (struct audio_frame){0, 0};
}

static struct player *player_new(unsigned data, unsigned sound, const char *sheet) {
  struct player *p = calloc(1, sizeof *p);
  folder_make(&p->f);
  make_bin(&p->f, data, sound);
  make_wav(&p->f, 75);
  p->heard = calloc(HEARD_MAX, sizeof *p->heard);
  p->c = calloc(1, sizeof *p->c);
  p->c->rig = rig_new();
  p->c->block = open_sheet(&p->f, sheet);
  p->c->audio = audio_new(p->c->rig->set.clock);
  ide_build(p->c, true);
  audio_set_sink(p->c->audio, &(struct audio_sink){.write = hear, .opaque = p});
  packet(p->c, 0, 0, "00");
  expect_key(p->c, 6); /* power on */
  return p;
}

static void player_free(struct player *p) {
  struct audio *audio = p->c->audio;
  device_free_all(&p->c->rig->set);
  audio_free(audio);
  ide_free(p->c);
  free(p->heard);
  folder_free(&p->f);
  free(p);
}

static void deaf(void *opaque, const struct audio_frame *frames, uint64_t count) {
  (void)opaque, (void)frames, (void)count;
}

static void good(struct player *p, const char *hex) {
  packet(p->c, 0, 0xfffe, hex);
  expect_key(p->c, 0);
}

static void fails(struct player *p, const char *hex, uint8_t asc) {
  packet(p->c, 0, 0xfffe, hex);
  expect_key(p->c, 5);
  expect_sense(p->c, 5, asc);
}

/* Audio status, and where it is. */
static uint8_t status(struct player *p, uint32_t *lba, uint32_t *relative, uint8_t *track) {
  uint8_t buf[16];
  ck_assert_uint_eq(reply(p->c, "42 00 40 01 00 00 00 00 10", buf), 16);
  ck_assert_uint_eq(buf[3], 12);
  *track = buf[6];
  *lba = be32(buf + 8);
  *relative = be32(buf + 12);
  return buf[1];
}

START_TEST(describe) {
  struct player *p = player_new(100, 300, mixed);
  uint8_t buf[512];
  ck_assert_uint_eq(reply(p->c, "43 00 00 00 00 00 00 02 00", buf), 4 + 5 * 8);
  ck_assert_mem_eq(buf, "\x00\x2a\x01\x04\x00\x14\x01\x00\x00\x00\x00\x00\x00\x13\x02\x00\x00\x00\x00\xfa",
                   20);
  ck_assert_mem_eq(buf + 36, "\x00\x10\xaa\x00\x00\x00\x02\x76", 8);
  ck_assert_uint_eq(reply(p->c, "43 02 00 00 00 00 03 02 00", buf), 4 + 3 * 8);
  ck_assert_mem_eq(buf + 4, "\x00\x10\x03\x00\x00\x00\x07\x0a", 8); /* 385 + 150 */
  ck_assert_uint_eq(reply(p->c, "43 00 02 00 00 00 00 02 00", buf), 4 + 7 * 11);
  ck_assert_mem_eq(buf + 4, "\x01\x14\x00\xa0\x00\x00\x00\x00\x01\x00\x00", 11);
  ck_assert_mem_eq(buf + 15, "\x01\x10\x00\xa1\x00\x00\x00\x00\x04\x00\x00", 11);
  ck_assert_mem_eq(buf + 26, "\x01\x10\x00\xa2\x00\x00\x00\x00\x00\x0a\x1e", 11);
  ck_assert_mem_eq(buf + 48, "\x01\x13\x00\x02\x00\x00\x00\x00\x00\x05\x19", 11);
  fails(p, "43 00 00 00 00 00 05 02 00", 0x24);
  fails(p, "43 00 05 00 00 00 00 02 00", 0x24); /* CD-TEXT */
  reply(p->c, "51 00 00 00 00 00 00 00 22", buf);
  ck_assert_mem_eq(buf + 2, "\x0e\x01\x01\x01\x04", 5);
  reply(p->c, "52 01 00 00 00 03 00 00 24", buf);
  ck_assert_uint_eq(buf[2], 3);
  ck_assert_uint_eq(be32(buf + 8), 385);
  ck_assert_uint_eq(be32(buf + 24), 165);
  reply(p->c, "52 00 00 00 00 63 00 00 24", buf); /* by address */
  ck_assert_uint_eq(buf[2], 1);
  reply(p->c, "5a 00 0e 00 00 00 00 00 80", buf);
  ck_assert_uint_eq(buf[2], 3); /* data and sound */
  ck_assert_uint_eq(reply(p->c, "42 00 40 02 00 00 00 00 18", buf), 24);
  ck_assert_mem_eq(buf + 8,
                   "\x80"
                   "1234567890123",
                   14);
  ck_assert_uint_eq(reply(p->c, "42 00 40 03 00 00 02 00 18", buf), 24);
  ck_assert_mem_eq(buf + 8,
                   "\x80"
                   "ABCDE1234567",
                   13);
  player_free(p);
}
END_TEST

START_TEST(read_tracks) {
  struct player *p = player_new(100, 300, mixed);
  static uint8_t buf[65536];
  packet(p->c, 0, 0xfffe, "28 00 00 00 00 62 00 00 02");
  ck_assert_uint_eq(data_block(p->c, buf), 4096);
  ck_assert_uint_eq(buf[0], 98);
  ck_assert_uint_eq(buf[2048], 99);
  expect_key(p->c, 0);
  fails(p, "28 00 00 00 00 63 00 00 02", 0x64); /* into the sound */
  fails(p, "28 00 00 00 01 00 00 00 01", 0x64);
  packet(p->c, 0, 0xfffe, "be 04 00 00 01 2c 00 00 02 10"); /* sound, at 300 */
  ck_assert_uint_eq(data_block(p->c, buf), 2 * 2352);
  ck_assert_uint_eq(buf[0] | buf[1] << 8, 50 * 588 % 20000);
  expect_key(p->c, 0);
  packet(p->c, 0, 0xfffe, "be 00 00 00 00 05 00 00 01 f8 02"); /* everything, and Q */
  ck_assert_uint_eq(data_block(p->c, buf), 2352 + 16);
  ck_assert_uint_eq(buf[2064], 0xed);
  ck_assert_mem_eq(buf + 2352, "\x41\x01\x01\x00\x00\x05\x00\x00\x02\x05", 10);
  expect_key(p->c, 0);
  packet(p->c, 0, 0xfffe, "be 00 00 00 00 05 00 00 01 08"); /* EDC and ECC */
  ck_assert_uint_eq(data_block(p->c, buf), 288);
  expect_key(p->c, 0);
  fails(p, "be 08 00 00 01 2c 00 00 01 10", 0x64); /* mode 1 */
  packet(p->c, 0, 0xfffe,
         "be 00 00 00 00 62 00 00 04 10"); /* data, then sound: ends where the kind changes */
  expect_key(p->c, 5);
  expect_sense(p->c, 5, 0x64);
  player_free(p);
}
END_TEST

START_TEST(play) {
  struct player *p = player_new(100, 300, mixed);
  uint32_t lba, relative;
  uint8_t track;
  ck_assert_uint_eq(status(p, &lba, &relative, &track), 0x15);
  ck_assert_uint_eq(lba, 0);
  fails(p, "45 00 00 00 00 0a 00 00 0a", 0x64); /* data */
  fails(p, "47 00 00 00 02 00 00 01 00", 0x24); /* ends before it begins */
  fails(p, "45 00 00 00 10 00 00 00 0a", 0x21);
  fails(p, "4b 00 00 00 00 00 00 00 00", 0x2c); /* nothing to pause */
  good(p, "45 00 00 00 01 2c 00 00 00");        /* no length: nothing happens */
  ck_assert_uint_eq(status(p, &lba, &relative, &track), 0x15);
  good(p, "47 00 00 00 06 00 00 07 00"); /* LBA 300 to 375 */
  rig_run(p->c->rig, 400000000);
  ck_assert_uint_eq(status(p, &lba, &relative, &track), 0x11);
  ck_assert_uint_eq(lba, 330);
  ck_assert_uint_eq(relative, 80);
  ck_assert_uint_eq(track, 2);
  good(p, "4b 00 00 00 00 00 00 00 00");
  rig_run(p->c->rig, 1000000000);
  ck_assert_uint_eq(status(p, &lba, &relative, &track), 0x12);
  ck_assert_uint_eq(lba, 330);
  good(p, "4b 00 00 00 00 00 00 00 01");
  rig_run(p->c->rig, 200000000);
  ck_assert_uint_eq(status(p, &lba, &relative, &track), 0x11);
  ck_assert_uint_eq(lba, 345);
  rig_run(p->c->rig, 500000000);
  ck_assert_uint_eq(status(p, &lba, &relative, &track), 0x13); /* told once */
  ck_assert_uint_eq(lba, 375);
  ck_assert_uint_eq(status(p, &lba, &relative, &track), 0x15);
  good(p, "48 00 00 00 03 01 00 03 01"); /* track 3 */
  ck_assert_uint_eq(status(p, &lba, &relative, &track), 0x11);
  ck_assert_uint_eq(lba, 385);
  good(p, "a5 00 00 00 01 00 00 00 00 50"); /* another place: the pregap counts down */
  rig_run(p->c->rig, 1000000000);
  ck_assert_uint_eq(status(p, &lba, &relative, &track), 0x11);
  ck_assert_uint_eq(track, 2);
  good(p, "4e");
  ck_assert_uint_eq(status(p, &lba, &relative, &track), 0x15);
  good(p, "45 00 00 00 01 70 00 00 ff"); /* plays on into the next track */
  packet(p->c, 0, 0xfffe, "28 00 00 00 00 00 00 00 01");
  uint8_t buf[2048];
  data_block(p->c, buf); /* reading ends it */
  expect_key(p->c, 0);
  ck_assert_uint_eq(status(p, &lba, &relative, &track), 0x15);
  ck_assert_uint_eq(lba, 0);
  good(p, "45 00 00 00 01 2c 00 00 10");
  ck_assert_int_eq(ide_change_media(p->c->dev, 0, NULL, true), 0);
  rig_run(p->c->rig, 1000000000);
  packet(p->c, 0, 0xfffe, "42 00 40 01 00 00 00 00 10");
  expect_key(p->c, 2); /* no disc */
  player_free(p);
}
END_TEST

/* What is heard is what is on the disc: a ramp of one channel. */
START_TEST(sound) {
  struct player *p = player_new(10, 150,
                                "FILE data.bin BINARY\nTRACK 1 MODE1/2352\nINDEX 1 0:0:0\n"
                                "TRACK 2 AUDIO\nINDEX 1 0:0:10\n");
  good(p, "45 00 00 00 00 0a 00 00 4b"); /* a second */
  rig_run(p->c->rig, 1500000000);
  /* 44100 samples of 0 to 19999 over and over became 48000. */
  uint64_t first = 0, last = 0, peaks = 0;
  for (uint64_t i = 1; i < p->count; i++) {
    if (p->heard[i].right < -900) {
      first = first ? first : i;
      last = i;
    }
    peaks += p->heard[i].left > 15000 && p->heard[i - 1].left <= 15000;
  }
  ck_assert_uint_ge(last - first, 47900);
  ck_assert_uint_le(last - first, 48050);
  ck_assert_uint_eq(peaks, 2); /* 0.34 s and 0.79 s */
  for (uint64_t i = first + 100; i < first + 5000; i++)
    ck_assert_int_le(abs((p->heard[i + 48].left - p->heard[i].left) * 10 - 441), 20);
  /* Left muted, the right channel on both outputs at half the volume: MODE SELECT. */
  uint8_t list[24] = {[8] = 0x0e, 0x0e, 4, [16] = 2, 128, 2, 128}, buf[64];
  packet(p->c, 0, 0xfffe, "55 10 00 00 00 00 00 00 18");
  ide_wait_irq(p->c);
  ide_write_data(p->c, list, sizeof list);
  expect_key(p->c, 0);
  ck_assert_uint_eq(reply(p->c, "5a 00 0e 00 00 00 00 00 80", buf), 24);
  ck_assert_mem_eq(buf + 16, "\x02\x80\x02\x80\x00\x00\x00\x00", 8);
  ck_assert_uint_eq(reply(p->c, "5a 00 8e 00 00 00 00 00 80", buf), 24); /* default values */
  ck_assert_mem_eq(buf + 16, "\x01\xff\x02\xff\x00\x00\x00\x00", 8);
  uint64_t before = p->count;
  good(p, "45 00 00 00 00 0a 00 00 4b");
  rig_run(p->c->rig, 800000000);
  uint64_t halves = 0;
  for (uint64_t i = before; i < p->count; i++)
    halves += p->heard[i].left == p->heard[i].right && abs(p->heard[i].left + 502) < 3;
  ck_assert_uint_ge(halves, 30000);
  player_free(p);
}
END_TEST

/* Random packets at a mixed disc that plays. */
START_TEST(noise) {
  struct player *p = player_new(100, 300, mixed);
  audio_set_sink(p->c->audio, &(struct audio_sink){.write = deaf});
  ide_noise(p->c, 4711);
  player_free(p);
}
END_TEST

Suite *suite_disc(void) {
  Suite *suite = suite_create("disc");
  TCase *tc = tcase_create("disc");
  tcase_set_timeout(tc, 120);
  tcase_add_test(tc, layout);
  tcase_add_test(tc, sector_forms);
  tcase_add_test(tc, refused);
  tcase_add_test(tc, hostile_sheets);
  tcase_add_test(tc, describe);
  tcase_add_test(tc, read_tracks);
  tcase_add_test(tc, play);
  tcase_add_test(tc, sound);
  tcase_add_test(tc, noise);
  suite_add_tcase(suite, tc);
  return suite;
}
