/* SPDX-License-Identifier: MIT */
/*
 * What is on a compact disc: its tracks, and its sectors ("frames") with all of their 2352 bytes. An image
 * opened with BLOCK_CD may be a cue sheet with its files, or one raw track; as a block it then is what a
 * CD-ROM drive reads, 2048 bytes a sector (tracks of sound cannot be read that way: -EIO). Any other image is
 * a disc with one track of mode 1.
 */
#ifndef DEVICES_BLOCK_DISC_H
#define DEVICES_BLOCK_DISC_H

#include "devices/block/block.h"

#define DISC_FRAME 2352u
#define DISC_DATA 2048u
#define DISC_TRACKS 99u
#define DISC_FRAMES_PER_SECOND 75u
#define DISC_LEAD 150u /* frames from 00:00:00 to LBA 0 */

enum disc_mode { DISC_AUDIO, DISC_MODE1, DISC_MODE2 };
/* Control bits of the Q subchannel. */
enum { DISC_PREEMPHASIS = 1, DISC_COPY = 2, DISC_IS_DATA = 4, DISC_FOUR_CHANNELS = 8 };

struct disc_track {
  uint8_t control, mode;
  uint32_t pregap, start,
      end;       /* LBA: index 0 (the start if there is none), index 1, the next track's pregap */
  char isrc[13]; /* empty: not known */
};

struct disc {
  uint8_t first, tracks; /* number of the first track, and how many there are: at least one */
  uint32_t leadout;      /* LBA */
  char catalog[14];      /* media catalogue number; empty: not known */
  struct disc_track track[DISC_TRACKS];
};

/* The tracks of a block that was opened as such; NULL: take disc_plain. */
const struct disc *block_disc(const struct block *b);
/* One track of mode 1 that holds so many bytes. */
void disc_plain(struct disc *disc, uint64_t bytes);
/* The track that a frame belongs to, its pregap included; NULL: none. */
const struct disc_track *disc_track_at(const struct disc *disc, uint32_t lba);
/* All of a frame; EDC and ECC are zeros where the image doesn't hold them. 0 or -errno. */
int block_read_frame(struct block *b, uint32_t lba, uint8_t frame[DISC_FRAME]);

#endif
