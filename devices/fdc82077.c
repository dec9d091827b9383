/* SPDX-License-Identifier: MIT */
/*
 * Intel 82077AA floppy disk controller in PC/AT mode (datasheet 290166) with raw images of DOS formats:
 * 512-byte sectors, every ID field where it belongs, no deleted data marks.
 *
 * Not modelled: rotation and head load times (everything takes tens of microseconds), FIFO overruns, power
 * down, tape drives, double stepping, tracks formatted with anything but the image's geometry.
 */
#include "devices/fdc82077.h"

#include <string.h>

#include "devices/dma8237.h"

#define DRIVES 2
#define BYTES 512u /* per sector: N = 2 */

#define SEEK_NS 60000
#define SECTOR_NS 25000
#define RESULT_NS 15000

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
  struct medium medium[DRIVES];
  uint8_t kind[DRIVES];
  uint8_t track[DRIVES]; /* where the heads are */
  bool changed[DRIVES];  /* disk change line */
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

/* Put a medium in. A shorter image (a lone boot sector, say) counts as the beginning of a 1.44M or 2.88M
 * disk. */
static int insert(struct fdc82077 *s, int drive, struct block *block) {
  struct medium m = {.block = block};
  const struct fdc_format *format = NULL;
  if (block) {
    uint64_t bytes = block_size(block);
    format = fdc_find_format(bytes);
    if (!format && bytes < 2880 * 1024)
      format = fdc_find_format(bytes < 1440 * 1024 ? 1440 * 1024 : 2880 * 1024);
    if (!format)
      return -EINVAL;
    m.cylinders = format->cylinders;
    m.heads = format->heads;
    m.sectors = format->sectors;
  }
  s->medium[drive] = m;
  s->changed[drive] = true;
  if (!s->kind[drive] && format)
    s->kind[drive] = format->kind;
  return 0;
}

static struct fdc82077 *fdc_of(const struct device *dev) {
  DGM_ASSERT(dev->cls == &fdc82077_class);
  return (struct fdc82077 *)dev;
}

int fdc_drive_type(const struct device *dev, int drive) {
  struct fdc82077 *s = fdc_of(dev);
  return drive >= 0 && drive < DRIVES && s->config.present[drive] ? s->kind[drive] : FDC_DRIVE_NONE;
}

int fdc_change_media(struct device *dev, int drive, struct block *block) {
  struct fdc82077 *s = fdc_of(dev);
  if (drive < 0 || drive >= DRIVES || !s->config.present[drive])
    return -ENODEV;
  return insert(s, drive, block);
}

struct block *fdc_media(const struct device *dev, int drive) {
  return drive >= 0 && drive < DRIVES ? fdc_of(dev)->medium[drive].block : NULL;
}

static void update_irq(struct fdc82077 *s) {
  irq_set(&s->dev.irq[0], s->interrupt && (s->dor & DOR_DMAGATE));
}

static void interrupt(struct fdc82077 *s, bool on) {
  s->interrupt = on;
  update_irq(s);
}

static int drive_of(const struct fdc82077 *s) { return s->command[1] & 3; }
static bool drive_exists(const struct fdc82077 *s, int drive) {
  return drive < DRIVES && s->config.present[drive];
}
static bool dma_mode(const struct fdc82077 *s) { return !(s->hlt_nd & 1) && s->config.dma; }
static uint8_t opcode(const struct fdc82077 *s) { return s->command[0] & 0x1f; }
static bool is_scan(uint8_t op) { return op == SCAN_EQUAL || op == SCAN_LOW || op == SCAN_HIGH; }

static bool host_writes(uint8_t op) {
  return op == WRITE_DATA || op == WRITE_DELETED || op == FORMAT_TRACK || is_scan(op);
}

static void later(struct timer *t, int64_t ns) { timer_arm(t, clock_now(t->clock) + ns); }

static void request_dma(struct fdc82077 *s, int level) {
  if (s->config.dma)
    dma_request(s->config.dma, s->config.dma_channel, level && (s->dor & DOR_DMAGATE));
}

static void to_result(struct fdc82077 *s, uint8_t length) {
  s->result_count = 0;
  s->result_length = length;
  s->phase = length ? RESULT : IDLE;
  s->command_count = 0;
}

/* End of a command with the standard seven result bytes and an interrupt. */
static void finish(struct fdc82077 *s, uint8_t st0, uint8_t st1, uint8_t st2) {
  request_dma(s, 0);
  s->result[0] = (uint8_t)(st0 | s->head << 2 | drive_of(s));
  s->result[1] = st1;
  s->result[2] = st2;
  s->result[3] = s->c;
  s->result[4] = s->h;
  s->result[5] = s->r;
  s->result[6] = 2;
  to_result(s, 7);
  interrupt(s, true);
}

/* Can the medium be read at the programmed data rate? */
static bool rate_fits(const struct fdc82077 *s, const struct medium *m) {
  if (m->sectors >= 30)
    return s->rate == 3; /* 1 Mbit/s */
  if (m->sectors >= 15)
    return s->rate == 0; /* 500 kbit/s */
  /* 250 kbit/s; a 1.2M drive turns faster and needs 300, which firmware also uses for 360K drives. */
  return s->rate == 2 || (s->rate == 1 && m->cylinders == 40);
}

/* Is there a formatted track under the selected head? */
static bool track_readable(const struct fdc82077 *s) {
  int drive = drive_of(s);
  if (!drive_exists(s, drive) || !s->medium[drive].block)
    return false;
  const struct medium *m = &s->medium[drive];
  return s->head < m->heads && s->track[drive] < m->cylinders && rate_fits(s, m);
}

static uint64_t sector_offset(const struct fdc82077 *s) {
  const struct medium *m = &s->medium[drive_of(s)];
  return (((uint64_t)s->track[drive_of(s)] * m->heads + s->head) * m->sectors + s->r - 1) * BYTES;
}

/* Look for the ID field C, H, R, N on the track; ends the command and returns false if it isn't there. */
static bool find_sector(struct fdc82077 *s, uint8_t n) {
  const struct medium *m = &s->medium[drive_of(s) & 1];
  if (!track_readable(s)) {
    finish(s, ST0_ABNORMAL, ST1_MA, 0);
  } else if (s->c != s->track[drive_of(s)]) {
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
  return equal || (opcode(s) == SCAN_LOW && low) || (opcode(s) == SCAN_HIGH && high);
}

/* Act on a sector that the host has delivered. False: the command ended with an error or a scan hit. */
static bool commit_sector(struct fdc82077 *s) {
  struct block *block = s->medium[drive_of(s) & 1].block;
  if (!block) { /* ejected meanwhile */
    finish(s, ST0_ABNORMAL, ST1_MA, 0);
    return false;
  }
  if (is_scan(opcode(s))) {
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
  const struct medium *m = &s->medium[drive_of(s) & 1];
  s->r = s->buffer[2];
  if (s->buffer[0] == s->track[drive_of(s)] && s->buffer[1] == s->head && s->buffer[3] == 2 && s->r >= 1 &&
      s->r <= m->sectors) {
    memset(s->buffer, s->command[5], BYTES);
    if (!commit_sector(s))
      return;
  }
  if (--s->left == 0 || s->tc) {
    s->c = s->track[drive_of(s)];
    s->h = s->head;
    finish(s, 0, 0, 0);
  } else {
    s->phase = EXECUTE;
    later(&s->execute, SECTOR_NS);
  }
}

/* The host has moved all bytes of the sector, or terminal count came. */
static void sector_moved(struct fdc82077 *s) {
  request_dma(s, 0);
  if (s->pos < s->length && host_writes(opcode(s)))
    memset(s->buffer + s->pos, 0, (size_t)(s->length - s->pos));
  if (opcode(s) == FORMAT_TRACK) {
    format_sector(s);
    return;
  }
  if (host_writes(opcode(s)) && !commit_sector(s))
    return;
  uint8_t deleted = opcode(s) == READ_DELETED ? ST2_CM : 0;
  bool end = advance(s);
  if (s->tc || deleted) {
    finish(s, 0, 0, s->st2 | deleted);
  } else if (end) {
    finish(s, ST0_ABNORMAL, ST1_EN, s->st2);
  } else {
    s->phase = EXECUTE;
    later(&s->execute, SECTOR_NS);
  }
}

static void run_dma(void *opaque, int channel) {
  struct fdc82077 *s = opaque;
  if (s->phase != TRANSFER || !dma_mode(s) || s->pos >= s->length)
    return;
  size_t left = (size_t)(s->length - s->pos);
  size_t moved = host_writes(opcode(s))
                     ? dma_read_memory(s->config.dma, channel, s->buffer + s->pos, left, &s->tc)
                     : dma_write_memory(s->config.dma, channel, s->buffer + s->pos, left, &s->tc);
  s->pos = (uint16_t)(s->pos + moved);
  if (s->pos >= s->length || s->tc)
    sector_moved(s);
}

static void start_transfer(struct fdc82077 *s, uint16_t length) {
  s->pos = 0;
  s->length = length;
  s->tc = false;
  s->phase = TRANSFER;
  if (dma_mode(s))
    request_dma(s, 1); /* runs run_dma, now or when the channel is set up */
  else
    interrupt(s, true);
}

static void read_id(struct fdc82077 *s) {
  if (!track_readable(s)) {
    finish(s, ST0_ABNORMAL, ST1_MA, 0);
    return;
  }
  const struct medium *m = &s->medium[drive_of(s)];
  /* The disk turns: what passes by depends on the time. */
  s->c = s->track[drive_of(s)];
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
    later(&s->execute, SECTOR_NS);
}

/* One sector of the command in execution is under the head. */
static void execute(void *opaque) {
  struct fdc82077 *s = opaque;
  uint8_t op = opcode(s);
  if (s->phase != EXECUTE)
    return;
  if (op == READ_ID) {
    read_id(s);
    return;
  }
  if (op == FORMAT_TRACK) {
    if (!track_readable(s))
      finish(s, ST0_ABNORMAL, ST1_MA, 0);
    else if (!block_writable(s->medium[drive_of(s)].block))
      finish(s, ST0_ABNORMAL, ST1_NW, 0);
    else
      start_transfer(s, 4);
    return;
  }
  if (!find_sector(s, s->command[5]))
    return;
  struct block *block = s->medium[drive_of(s)].block;
  if ((op == WRITE_DATA || op == WRITE_DELETED) && !block_writable(block)) {
    finish(s, ST0_ABNORMAL, ST1_NW, 0);
  } else if (host_writes(op)) {
    start_transfer(s, BYTES);
  } else if (block_read(block, sector_offset(s), s->buffer, BYTES)) {
    finish(s, ST0_ABNORMAL, ST1_DE, ST2_DD);
  } else if (op == VERIFY) {
    verify_sector(s);
  } else {
    start_transfer(s, BYTES);
  }
}

static void step_to(struct fdc82077 *s, int drive, uint8_t cylinder) {
  s->pcn[drive] = cylinder;
  if (!drive_exists(s, drive))
    return;
  if (cylinder > 84)
    cylinder = 84; /* the stop */
  if (cylinder != s->track[drive] && s->medium[drive].block)
    s->changed[drive] = false;
  s->track[drive] = cylinder;
}

/* READ, WRITE, ... with nine command bytes, and FORMAT TRACK and READ ID. */
static void start_execution(struct fdc82077 *s) {
  int drive = drive_of(s);
  s->head = s->command[1] >> 2 & 1;
  s->st2 = 0;
  s->tc = false;
  s->left = 0;
  if (s->command_length == 9) {
    s->c = s->command[2];
    s->h = s->command[3];
    s->r = opcode(s) == READ_TRACK ? 1 : s->command[4];
    s->eot = s->eot_byte = s->command[6];
    s->left = s->command[8] ? s->command[8] : 256; /* VERIFY: SC */
    if (s->config_byte & CONFIG_EIS)
      step_to(s, drive, s->c);
  } else if (opcode(s) == FORMAT_TRACK) {
    s->c = drive < DRIVES ? s->track[drive] : 0;
    s->h = s->head;
    s->r = 1;
    s->left = s->command[3] ? s->command[3] : 256;
    s->eot_byte = s->command[3];
  }
  s->phase = EXECUTE;
  later(&s->execute, SECTOR_NS);
}

static void start_seek(struct fdc82077 *s) {
  int drive = drive_of(s);
  uint8_t st0 = (uint8_t)(ST0_SE | drive);
  if (opcode(s) == RECALIBRATE) {
    if (drive_exists(s, drive) && s->track[drive] <= 79)
      step_to(s, drive, 0);
    else if (drive_exists(s, drive)) /* 79 steps were not enough */
      s->track[drive] = (uint8_t)(s->track[drive] - 79);
    if (!drive_exists(s, drive) || s->track[drive])
      st0 |= ST0_ABNORMAL | ST0_EC; /* no track 0 signal */
    s->pcn[drive] = 0;
  } else if (s->command[0] & 0x80) { /* relative: towards the spindle if bit 6 */
    int target = s->pcn[drive] + (s->command[0] & 0x40 ? s->command[2] : -(int)s->command[2]);
    step_to(s, drive, (uint8_t)(target < 0 ? 0 : target > 255 ? 255 : target));
  } else {
    step_to(s, drive, s->command[2]);
  }
  if (opcode(s) != RECALIBRATE)
    st0 |= s->command[1] & 4;
  s->seeking |= (uint8_t)(1u << drive);
  s->sense_st0[drive] = st0;
  to_result(s, 0);
  later(&s->seek, SEEK_NS);
}

static void seek_done(void *opaque) {
  struct fdc82077 *s = opaque;
  s->sense |= s->seeking;
  s->seeking = 0;
  interrupt(s, true);
}

static void sense_interrupt(struct fdc82077 *s) {
  if (!s->sense) {
    s->result[0] = ST0_INVALID;
    to_result(s, 1);
    return;
  }
  int drive = __builtin_ctz(s->sense);
  s->sense &= (uint8_t)(s->sense - 1);
  s->result[0] = s->sense_st0[drive];
  s->result[1] = s->pcn[drive];
  to_result(s, 2);
  interrupt(s, false);
  if (s->sense && !s->polling)
    interrupt(s, true); /* another drive has arrived too */
  if (!s->sense)
    s->polling = false;
}

static void sense_drive(struct fdc82077 *s) {
  int drive = drive_of(s);
  uint8_t st3 = (uint8_t)(ST3_ALWAYS | (s->command[1] & 7));
  if (drive_exists(s, drive)) {
    st3 |= s->track[drive] == 0 ? ST3_T0 : 0;
    st3 |= s->medium[drive].block && block_writable(s->medium[drive].block) ? 0 : ST3_WP;
  }
  s->result[0] = st3;
  to_result(s, 1);
}

static void dumpreg(struct fdc82077 *s) {
  memcpy(s->result, s->pcn, 4);
  s->result[4] = s->srt_hut;
  s->result[5] = s->hlt_nd;
  s->result[6] = s->eot_byte;
  s->result[7] = (uint8_t)(s->lock << 7 | (s->perpendicular & 0x3f));
  s->result[8] = s->config_byte;
  s->result[9] = s->pretrk;
  to_result(s, 10);
}

/* How many bytes a command has, itself included; 0 = invalid. Bits that the command doesn't have must be 0.
 */
static uint8_t command_length(uint8_t byte) {
  switch (byte & 0x1f) {
  case READ_DATA:
  case READ_DELETED:
  case SCAN_EQUAL:
  case SCAN_LOW:
  case SCAN_HIGH:
  case VERIFY: return 9;
  case WRITE_DATA:
  case WRITE_DELETED: return byte & 0x20 ? 0 : 9;
  case READ_TRACK: return byte & 0x80 ? 0 : 9;
  case FORMAT_TRACK: return byte & 0xa0 ? 0 : 6;
  case READ_ID: return byte & 0xa0 ? 0 : 2;
  case SEEK: return byte == SEEK || (byte & 0xbf) == 0x8f ? 3 : 0;
  case LOCK: return (byte & 0x7f) == LOCK ? 1 : 0;
  case SPECIFY: return byte == SPECIFY ? 3 : 0;
  case CONFIGURE: return byte == CONFIGURE ? 4 : 0;
  case RECALIBRATE:
  case SENSE_DRIVE:
  case PERPENDICULAR: return byte & 0xe0 ? 0 : 2;
  case SENSE_INTERRUPT:
  case DUMPREG:
  case VERSION: return byte & 0xe0 ? 0 : 1;
  default: return 0;
  }
}

static void run_command(struct fdc82077 *s) {
  switch (opcode(s)) {
  case SENSE_INTERRUPT: sense_interrupt(s); break;
  case SENSE_DRIVE: sense_drive(s); break;
  case DUMPREG: dumpreg(s); break;
  case VERSION:
    s->result[0] = 0x90;
    to_result(s, 1);
    break;
  case LOCK:
    s->lock = s->command[0] & 0x80;
    s->result[0] = (uint8_t)(s->lock << 4);
    to_result(s, 1);
    break;
  case SPECIFY:
    s->srt_hut = s->command[1];
    s->hlt_nd = s->command[2];
    to_result(s, 0);
    break;
  case CONFIGURE:
    s->config_byte = s->command[2] & 0x7f;
    s->pretrk = s->command[3];
    to_result(s, 0);
    break;
  case PERPENDICULAR:
    /* The drive bits change only with OW. */
    s->perpendicular = s->command[1] & 0x80 ? s->command[1] & 0x3f
                                            : (uint8_t)((s->perpendicular & 0x3c) | (s->command[1] & 3));
    to_result(s, 0);
    break;
  case SEEK:
  case RECALIBRATE: start_seek(s); break;
  default: start_execution(s); break;
  }
}

static void write_command(struct fdc82077 *s, uint8_t byte) {
  if (s->command_count == 0) {
    s->command_length = command_length(byte);
    if (!s->command_length) {
      log_print(LOG_GUEST_ERRORS, "fdc: invalid command %#x\n", byte);
      s->result[0] = ST0_INVALID;
      to_result(s, 1);
      return;
    }
    if ((byte & 0x1f) != SENSE_INTERRUPT && s->interrupt && s->polling) {
      /* The guest doesn't ask for the statuses that reset left. */
      s->sense = 0;
      s->polling = false;
      interrupt(s, false);
    }
    memset(s->command, 0, sizeof s->command);
    s->phase = COMMAND;
  }
  s->command[s->command_count++] = byte;
  if (s->command_count == s->command_length)
    run_command(s);
}

/* A byte of a sector through the FIFO: non-DMA mode. */
static void pio_moved(struct fdc82077 *s) {
  interrupt(s, false);
  s->pos++;
  if (s->pos >= s->length)
    sector_moved(s);
  else
    interrupt(s, true);
}

static uint8_t read_fifo(struct fdc82077 *s) {
  if (s->phase == TRANSFER && !dma_mode(s) && !host_writes(opcode(s))) {
    uint8_t byte = s->buffer[s->pos];
    pio_moved(s);
    return byte;
  }
  if (s->phase != RESULT)
    return 0;
  uint8_t byte = s->result[s->result_count++];
  if (s->result_count == 1 && s->result_length == 7)
    interrupt(s, false);
  if (s->result_count >= s->result_length)
    to_result(s, 0);
  return byte;
}

static void write_fifo(struct fdc82077 *s, uint8_t byte) {
  if (!(s->dor & DOR_NRESET))
    return;
  if (s->phase == IDLE || s->phase == COMMAND) {
    write_command(s, byte);
  } else if (s->phase == TRANSFER && !dma_mode(s) && host_writes(opcode(s))) {
    s->buffer[s->pos] = byte;
    pio_moved(s);
  }
}

static uint8_t msr(const struct fdc82077 *s) {
  if (!(s->dor & DOR_NRESET))
    return 0;
  switch (s->phase) {
  case IDLE: return (uint8_t)(MSR_RQM | s->seeking);
  case COMMAND: return (uint8_t)(MSR_RQM | MSR_CB | s->seeking);
  case RESULT: return (uint8_t)(MSR_RQM | MSR_DIO | MSR_CB | s->seeking);
  default: break;
  }
  uint8_t value = (uint8_t)(MSR_CB | s->seeking);
  if (!dma_mode(s) && opcode(s) != READ_ID && opcode(s) != VERIFY) {
    value |= MSR_NDMA;
    if (s->phase == TRANSFER)
      value |= host_writes(opcode(s)) ? MSR_RQM : MSR_RQM | MSR_DIO;
  }
  return value;
}

/* Reset by DOR or DSR: the data path stops, the drives keep their places. */
static void soft_reset(struct fdc82077 *s) {
  timer_cancel(&s->execute);
  timer_cancel(&s->seek);
  timer_cancel(&s->reset);
  request_dma(s, 0);
  interrupt(s, false);
  to_result(s, 0);
  s->seeking = s->sense = 0;
  s->polling = false;
  memset(s->pcn, 0, sizeof s->pcn);
  if (!s->lock) {
    s->config_byte = CONFIG_EFIFO;
    s->pretrk = 0;
  }
  s->perpendicular &= 0x3c;
}

static void reset_done(void *opaque) {
  struct fdc82077 *s = opaque;
  if (s->config_byte & CONFIG_POLL)
    return;
  for (int drive = 0; drive < 4; drive++)
    s->sense_st0[drive] = (uint8_t)(ST0_POLLING | drive);
  s->sense = 0x0f;
  s->polling = true;
  interrupt(s, true);
}

static void write_dor(struct fdc82077 *s, uint8_t value) {
  uint8_t old = s->dor;
  s->dor = value;
  if ((old & DOR_NRESET) && !(value & DOR_NRESET))
    soft_reset(s);
  else if (!(old & DOR_NRESET) && (value & DOR_NRESET))
    later(&s->reset, RESULT_NS);
  update_irq(s);
  if (s->phase == TRANSFER && dma_mode(s))
    request_dma(s, 1);
}

static uint8_t dir(const struct fdc82077 *s) {
  int drive = s->dor & 3;
  return drive_exists(s, drive) && s->changed[drive] ? 0x80 : 0;
}

static uint32_t fdc_read(void *opaque, uint32_t offset, int size) {
  struct fdc82077 *s = opaque;
  (void)size;
  switch (offset) {
  case 2: return s->dor;
  case 3: return s->tdr;
  case 4: return msr(s);
  case 5: return read_fifo(s);
  case 7: return dir(s);
  default: return 0xff; /* SRA and SRB exist in PS/2 mode only */
  }
}

static void fdc_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct fdc82077 *s = opaque;
  (void)size;
  switch (offset) {
  case 2: write_dor(s, (uint8_t)value); break;
  case 3: s->tdr = value & 3; break;
  case 4:
    s->rate = value & 3;
    if (value & DSR_RESET && s->dor & DOR_NRESET) {
      soft_reset(s);
      later(&s->reset, RESULT_NS);
    }
    break;
  case 5: write_fifo(s, (uint8_t)value); break;
  case 7: s->rate = value & 3; break;
  default: break;
  }
}

static uint32_t fdc_read7(void *opaque, uint32_t offset, int size) {
  return fdc_read(opaque, offset + 7, size);
}

static void fdc_write7(void *opaque, uint32_t offset, int size, uint32_t value) {
  fdc_write(opaque, offset + 7, size, value);
}

static const struct io_ops fdc_ops = {fdc_read, fdc_write, 1};
static const struct io_ops fdc_ops7 = {fdc_read7, fdc_write7, 1};

static void fdc_reset(struct device *dev) {
  struct fdc82077 *s = DEVICE(struct fdc82077, dev);
  s->lock = false;
  soft_reset(s);
  s->dor = 0;
  s->tdr = 0;
  s->rate = 2;
  s->srt_hut = s->hlt_nd = s->perpendicular = s->eot_byte = 0;
  for (int drive = 0; drive < DRIVES; drive++)
    s->changed[drive] = true;
  update_irq(s);
}

static int fdc_init(struct device *dev, const struct device_args *args) {
  struct fdc82077 *s = DEVICE(struct fdc82077, dev);
  s->config = *(const struct fdc82077_config *)args->config;
  for (int drive = 0; drive < DRIVES; drive++) {
    if (!s->config.present[drive])
      continue;
    s->kind[drive] = s->config.kind[drive];
    if (insert(s, drive, s->config.block[drive])) {
      error_report("'%s' has not the size of a floppy disk: %llu bytes", block_path(s->config.block[drive]),
                   (unsigned long long)block_size(s->config.block[drive]));
      return -EINVAL;
    }
    if (!s->kind[drive])
      s->kind[drive] = FDC_DRIVE_1440K;
  }
  timer_init(&s->execute, dev->clock, "fdc execute", execute, s);
  timer_init(&s->seek, dev->clock, "fdc seek", seek_done, s);
  timer_init(&s->reset, dev->clock, "fdc reset", reset_done, s);
  if (s->config.dma)
    dma_register(s->config.dma, s->config.dma_channel, run_dma, s);
  int error = io_map(dev->io, args->port[0], 6, &fdc_ops, s, "fdc");
  return error ? error : io_map(dev->io, (uint16_t)(args->port[0] + 7), 1, &fdc_ops7, s, "fdc");
}

static void fdc_destroy(struct device *dev) {
  struct fdc82077 *s = DEVICE(struct fdc82077, dev);
  timer_cancel(&s->execute);
  timer_cancel(&s->seek);
  timer_cancel(&s->reset);
}

static const struct field fdc_fields[] = {
    FIELD_ARRAY(U8, struct fdc82077, track),
    FIELD_ARRAY(BOOL, struct fdc82077, changed),
    FIELD(U8, struct fdc82077, dor),
    FIELD(U8, struct fdc82077, tdr),
    FIELD(U8, struct fdc82077, rate),
    FIELD(U8, struct fdc82077, phase),
    FIELD_ARRAY(U8, struct fdc82077, command),
    FIELD(U8, struct fdc82077, command_count),
    FIELD(U8, struct fdc82077, command_length),
    FIELD_ARRAY(U8, struct fdc82077, result),
    FIELD(U8, struct fdc82077, result_count),
    FIELD(U8, struct fdc82077, result_length),
    FIELD(U8, struct fdc82077, srt_hut),
    FIELD(U8, struct fdc82077, hlt_nd),
    FIELD(U8, struct fdc82077, config_byte),
    FIELD(U8, struct fdc82077, pretrk),
    FIELD(U8, struct fdc82077, perpendicular),
    FIELD(U8, struct fdc82077, eot_byte),
    FIELD(BOOL, struct fdc82077, lock),
    FIELD_ARRAY(U8, struct fdc82077, pcn),
    FIELD(U8, struct fdc82077, seeking),
    FIELD(U8, struct fdc82077, sense),
    FIELD_ARRAY(U8, struct fdc82077, sense_st0),
    FIELD(BOOL, struct fdc82077, polling),
    FIELD(BOOL, struct fdc82077, interrupt),
    FIELD(U8, struct fdc82077, c),
    FIELD(U8, struct fdc82077, h),
    FIELD(U8, struct fdc82077, r),
    FIELD(U8, struct fdc82077, eot),
    FIELD(U8, struct fdc82077, head),
    FIELD(U8, struct fdc82077, st2),
    FIELD(U16, struct fdc82077, left),
    FIELD(BOOL, struct fdc82077, tc),
    FIELD(U16, struct fdc82077, pos),
    FIELD(U16, struct fdc82077, length),
    FIELD_BUFFER(struct fdc82077, buffer),
    FIELD(TIMER, struct fdc82077, execute),
    FIELD(TIMER, struct fdc82077, seek),
    FIELD(TIMER, struct fdc82077, reset),
    FIELDS_END,
};

const struct device_class fdc82077_class = {
    .name = "82077AA",
    .size = sizeof(struct fdc82077),
    .init = fdc_init,
    .reset = fdc_reset,
    .destroy = fdc_destroy,
    .fields = fdc_fields,
};
