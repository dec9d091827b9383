/* SPDX-License-Identifier: MIT */
/* A SCSI direct-access device (SPC-2, SBC) over a block, as mass storage carries it: one command at a time.
 */
#ifndef DEVICES_USB_SCSI_H
#define DEVICES_USB_SCSI_H

#include "core/state.h"
#include "devices/block/block.h"

#define SCSI_BUFFER 4096

enum scsi_direction { SCSI_NONE, SCSI_FROM_DISK, SCSI_TO_DISK };

struct scsi_disk {
  struct block *block;
  bool removable, locked, stopped;
  uint8_t key, asc, ascq; /* sense of the last command */
  uint8_t direction;      /* of the command that runs */
  bool media;             /* its data is the medium's, from `sector` on */
  uint64_t sector;
  uint32_t left;      /* bytes that it still wants to move */
  uint32_t pos, fill; /* in buf */
  uint8_t buf[SCSI_BUFFER];
};

#define SCSI_FIELD(kind, type, m, member)                                                                    \
  { FIELD_##kind, #member, offsetof(type, m.member), 1 }
#define SCSI_FIELDS(type, m)                                                                                 \
  SCSI_FIELD(BOOL, type, m, locked), SCSI_FIELD(BOOL, type, m, stopped), SCSI_FIELD(U8, type, m, key),       \
      SCSI_FIELD(U8, type, m, asc), SCSI_FIELD(U8, type, m, ascq), SCSI_FIELD(U8, type, m, direction),       \
      SCSI_FIELD(BOOL, type, m, media), SCSI_FIELD(U64, type, m, sector), SCSI_FIELD(U32, type, m, left),    \
      SCSI_FIELD(U32, type, m, pos), SCSI_FIELD(U32, type, m, fill), {                                       \
    FIELD_BYTES, "buf", offsetof(type, m.buf), SCSI_BUFFER                                                   \
  }

void scsi_reset(struct scsi_disk *d);
/* Begin the command; afterwards direction and left say what it wants to move. False: check condition. */
bool scsi_command(struct scsi_disk *d, const uint8_t *cdb, unsigned length);
/* Move up to n bytes of its data; false: check condition, and the command has ended. */
bool scsi_take(struct scsi_disk *d, uint8_t *to, uint32_t n);
bool scsi_give(struct scsi_disk *d, const uint8_t *from, uint32_t n);

#endif
