/* SPDX-License-Identifier: MIT */
/* What fdc82077.c (registers, phases, seeks) and fdc_exec.c (commands that move sectors) share. */
#ifndef DEVICES_FDC_INT_H
#define DEVICES_FDC_INT_H

#include "devices/dma8237.h"
#include "devices/fdc82077.h"

#define FDC_DRIVES 2
#define BYTES SECTOR /* per sector: N = 2 */

enum { DOR_NRESET = 0x04, DOR_DMAGATE = 0x08 };
enum { DSR_RESET = 0x80 };
enum { MSR_CB = 0x10, MSR_NDMA = 0x20, MSR_DIO = 0x40, MSR_RQM = 0x80 };
enum { ST0_SE = 0x20, ST0_EC = 0x10, ST0_ABNORMAL = 0x40, ST0_INVALID = 0x80, ST0_POLLING = 0xc0 };
enum { ST1_MA = 0x01, ST1_NW = 0x02, ST1_ND = 0x04, ST1_DE = 0x20, ST1_EN = 0x80 };
enum { ST2_SN = 0x04, ST2_SH = 0x08, ST2_WC = 0x10, ST2_DD = 0x20, ST2_CM = 0x40 };
enum { ST3_T0 = 0x10, ST3_WP = 0x40, ST3_ALWAYS = 0x28 };
enum { CONFIG_EIS = 0x40, CONFIG_EFIFO = 0x20, CONFIG_POLL = 0x10 };

enum command { /* low five bits of the first byte */
               READ_TRACK = 0x02,
               SPECIFY = 0x03,
               SENSE_DRIVE = 0x04,
               WRITE_DATA = 0x05,
               READ_DATA = 0x06,
               RECALIBRATE = 0x07,
               SENSE_INTERRUPT = 0x08,
               WRITE_DELETED = 0x09,
               READ_ID = 0x0a,
               READ_DELETED = 0x0c,
               FORMAT_TRACK = 0x0d,
               DUMPREG = 0x0e,
               SEEK = 0x0f,
               VERSION = 0x10,
               SCAN_EQUAL = 0x11,
               PERPENDICULAR = 0x12,
               CONFIGURE = 0x13,
               LOCK = 0x14,
               VERIFY = 0x16,
               SCAN_LOW = 0x19,
               SCAN_HIGH = 0x1d,
};

enum phase { IDLE, COMMAND, EXECUTE, TRANSFER, RESULT }; /* TRANSFER: the host moves bytes of a sector */

struct medium {
  struct block *block;
  uint8_t cylinders, heads, sectors;
};

struct fdc82077 {
  struct device dev;
  struct fdc82077_config config;
  struct medium medium[FDC_DRIVES];
  uint8_t kind[FDC_DRIVES];
  uint8_t track[FDC_DRIVES]; /* where the heads are */
  bool changed[FDC_DRIVES];  /* disk change line */
  uint8_t dor, tdr, rate;
  uint8_t phase;
  uint8_t command[9], command_count, command_length;
  uint8_t result[10], result_count, result_length;
  uint8_t srt_hut, hlt_nd, config_byte, pretrk, perpendicular, eot_byte;
  bool lock;
  uint8_t pcn[4];
  uint8_t seeking; /* drives on their way: one bit each */
  uint8_t sense;   /* drives with a status for SENSE INTERRUPT */
  uint8_t sense_st0[4];
  bool polling; /* the pending statuses come from reset */
  bool interrupt;
  /* The command in execution. */
  uint8_t c, h, r, eot, head, st2;
  uint16_t left; /* sectors to go: FORMAT TRACK, VERIFY with EC */
  bool tc;
  uint16_t pos, length; /* in buffer */
  uint8_t buffer[BYTES];
  struct timer execute, seek, reset;
};

static inline void fdc_update_irq(struct fdc82077 *s) {
  irq_set(&s->dev.irq[0], s->interrupt && (s->dor & DOR_DMAGATE));
}

static inline void fdc_interrupt(struct fdc82077 *s, bool on) {
  s->interrupt = on;
  fdc_update_irq(s);
}

static inline int fdc_drive_of(const struct fdc82077 *s) { return s->command[1] & 3; }
static inline bool fdc_drive_exists(const struct fdc82077 *s, int drive) {
  return drive < FDC_DRIVES && s->config.present[drive];
}
static inline bool fdc_dma_mode(const struct fdc82077 *s) { return !(s->hlt_nd & 1) && s->config.dma; }
static inline uint8_t fdc_opcode(const struct fdc82077 *s) { return s->command[0] & 0x1f; }
static inline bool fdc_is_scan(uint8_t op) { return op == SCAN_EQUAL || op == SCAN_LOW || op == SCAN_HIGH; }

static inline bool fdc_host_writes(uint8_t op) {
  return op == WRITE_DATA || op == WRITE_DELETED || op == FORMAT_TRACK || fdc_is_scan(op);
}

static inline void fdc_later(struct timer *t, int64_t ns) { timer_arm(t, clock_now(t->clock) + ns); }

static inline void fdc_request_dma(struct fdc82077 *s, int level) {
  if (s->config.dma)
    dma_request(s->config.dma, s->config.dma_channel, level && (s->dor & DOR_DMAGATE));
}

/* fdc82077.c: to the result phase with so many bytes of result[], or to rest. */
void fdc_to_result(struct fdc82077 *s, uint8_t length);
/* fdc82077.c: move the heads. */
void fdc_step_to(struct fdc82077 *s, int drive, uint8_t cylinder);

/* fdc_exec.c */
void fdc_start_execution(
    struct fdc82077 *s);        /* READ, WRITE, ... with nine command bytes, FORMAT TRACK, READ ID */
void fdc_execute(void *opaque); /* timer: a sector is under the head */
void fdc_run_dma(void *opaque, int channel); /* the DMA controller has time */
void fdc_sector_moved(
    struct fdc82077 *s); /* the host has moved all bytes of the sector, or terminal count came */

#endif
