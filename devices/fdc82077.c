/* SPDX-License-Identifier: MIT */
/*
 * Intel 82077AA floppy disk controller in PC/AT mode (datasheet 290166) with raw images of DOS formats:
 * 512-byte sectors, every ID field where it belongs, no deleted data marks.
 *
 * Not modelled: rotation and head load times (everything takes tens of microseconds), FIFO overruns, power
 * down, tape drives, double stepping, tracks formatted with anything but the image's geometry.
 */
#include "devices/fdc_int.h"

#include <string.h>

#define SEEK_NS 60000
#define RESULT_NS 15000

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
  return drive >= 0 && drive < FDC_DRIVES && s->config.present[drive] ? s->kind[drive] : FDC_DRIVE_NONE;
}

int fdc_change_media(struct device *dev, int drive, struct block *block) {
  struct fdc82077 *s = fdc_of(dev);
  if (drive < 0 || drive >= FDC_DRIVES || !s->config.present[drive])
    return -ENODEV;
  return insert(s, drive, block);
}

struct block *fdc_media(const struct device *dev, int drive) {
  return drive >= 0 && drive < FDC_DRIVES ? fdc_of(dev)->medium[drive].block : NULL;
}

void fdc_to_result(struct fdc82077 *s, uint8_t length) {
  s->result_count = 0;
  s->result_length = length;
  s->phase = length ? RESULT : IDLE;
  s->command_count = 0;
}

void fdc_step_to(struct fdc82077 *s, int drive, uint8_t cylinder) {
  s->pcn[drive] = cylinder;
  if (!fdc_drive_exists(s, drive))
    return;
  if (cylinder > 84)
    cylinder = 84; /* the stop */
  if (cylinder != s->track[drive] && s->medium[drive].block)
    s->changed[drive] = false;
  s->track[drive] = cylinder;
}

static void start_seek(struct fdc82077 *s) {
  int drive = fdc_drive_of(s);
  uint8_t st0 = (uint8_t)(ST0_SE | drive);
  if (fdc_opcode(s) == RECALIBRATE) {
    if (fdc_drive_exists(s, drive) && s->track[drive] <= 79)
      fdc_step_to(s, drive, 0);
    else if (fdc_drive_exists(s, drive)) /* 79 steps were not enough */
      s->track[drive] = (uint8_t)(s->track[drive] - 79);
    if (!fdc_drive_exists(s, drive) || s->track[drive])
      st0 |= ST0_ABNORMAL | ST0_EC; /* no track 0 signal */
    s->pcn[drive] = 0;
  } else if (s->command[0] & 0x80) { /* relative: towards the spindle if bit 6 */
    int target = s->pcn[drive] + (s->command[0] & 0x40 ? s->command[2] : -(int)s->command[2]);
    fdc_step_to(s, drive, (uint8_t)(target < 0 ? 0 : target > 255 ? 255 : target));
  } else {
    fdc_step_to(s, drive, s->command[2]);
  }
  if (fdc_opcode(s) != RECALIBRATE)
    st0 |= s->command[1] & 4;
  s->seeking |= (uint8_t)(1u << drive);
  s->sense_st0[drive] = st0;
  fdc_to_result(s, 0);
  fdc_later(&s->seek, SEEK_NS);
}

static void seek_done(void *opaque) {
  struct fdc82077 *s = opaque;
  s->sense |= s->seeking;
  s->seeking = 0;
  fdc_interrupt(s, true);
}

static void sense_interrupt(struct fdc82077 *s) {
  if (!s->sense) {
    s->result[0] = ST0_INVALID;
    fdc_to_result(s, 1);
    return;
  }
  int drive = __builtin_ctz(s->sense);
  s->sense &= (uint8_t)(s->sense - 1);
  s->result[0] = s->sense_st0[drive];
  s->result[1] = s->pcn[drive];
  fdc_to_result(s, 2);
  fdc_interrupt(s, false);
  if (s->sense && !s->polling)
    fdc_interrupt(s, true); /* another drive has arrived too */
  if (!s->sense)
    s->polling = false;
}

static void sense_drive(struct fdc82077 *s) {
  int drive = fdc_drive_of(s);
  uint8_t st3 = (uint8_t)(ST3_ALWAYS | (s->command[1] & 7));
  if (fdc_drive_exists(s, drive)) {
    st3 |= s->track[drive] == 0 ? ST3_T0 : 0;
    st3 |= s->medium[drive].block && block_writable(s->medium[drive].block) ? 0 : ST3_WP;
  }
  s->result[0] = st3;
  fdc_to_result(s, 1);
}

static void dumpreg(struct fdc82077 *s) {
  memcpy(s->result, s->pcn, 4);
  s->result[4] = s->srt_hut;
  s->result[5] = s->hlt_nd;
  s->result[6] = s->eot_byte;
  s->result[7] = (uint8_t)(s->lock << 7 | (s->perpendicular & 0x3f));
  s->result[8] = s->config_byte;
  s->result[9] = s->pretrk;
  fdc_to_result(s, 10);
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
  switch (fdc_opcode(s)) {
  case SENSE_INTERRUPT: sense_interrupt(s); break;
  case SENSE_DRIVE: sense_drive(s); break;
  case DUMPREG: dumpreg(s); break;
  case VERSION:
    s->result[0] = 0x90;
    fdc_to_result(s, 1);
    break;
  case LOCK:
    s->lock = s->command[0] & 0x80;
    s->result[0] = (uint8_t)(s->lock << 4);
    fdc_to_result(s, 1);
    break;
  case SPECIFY:
    s->srt_hut = s->command[1];
    s->hlt_nd = s->command[2];
    fdc_to_result(s, 0);
    break;
  case CONFIGURE:
    s->config_byte = s->command[2] & 0x7f;
    s->pretrk = s->command[3];
    fdc_to_result(s, 0);
    break;
  case PERPENDICULAR:
    /* The drive bits change only with OW. */
    s->perpendicular = s->command[1] & 0x80 ? s->command[1] & 0x3f
                                            : (uint8_t)((s->perpendicular & 0x3c) | (s->command[1] & 3));
    fdc_to_result(s, 0);
    break;
  case SEEK:
  case RECALIBRATE: start_seek(s); break;
  default: fdc_start_execution(s); break;
  }
}

static void write_command(struct fdc82077 *s, uint8_t byte) {
  if (s->command_count == 0) {
    s->command_length = command_length(byte);
    if (!s->command_length) {
      log_print(LOG_GUEST_ERRORS, "fdc: invalid command %#x\n", byte);
      s->result[0] = ST0_INVALID;
      fdc_to_result(s, 1);
      return;
    }
    if ((byte & 0x1f) != SENSE_INTERRUPT && s->interrupt && s->polling) {
      /* The guest doesn't ask for the statuses that reset left. */
      s->sense = 0;
      s->polling = false;
      fdc_interrupt(s, false);
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
  fdc_interrupt(s, false);
  s->pos++;
  if (s->pos >= s->length)
    fdc_sector_moved(s);
  else
    fdc_interrupt(s, true);
}

static uint8_t read_fifo(struct fdc82077 *s) {
  if (s->phase == TRANSFER && !fdc_dma_mode(s) && !fdc_host_writes(fdc_opcode(s))) {
    uint8_t byte = s->buffer[s->pos];
    pio_moved(s);
    return byte;
  }
  if (s->phase != RESULT)
    return 0;
  uint8_t byte = s->result[s->result_count++];
  if (s->result_count == 1 && s->result_length == 7)
    fdc_interrupt(s, false);
  if (s->result_count >= s->result_length)
    fdc_to_result(s, 0);
  return byte;
}

static void write_fifo(struct fdc82077 *s, uint8_t byte) {
  if (!(s->dor & DOR_NRESET))
    return;
  if (s->phase == IDLE || s->phase == COMMAND) {
    write_command(s, byte);
  } else if (s->phase == TRANSFER && !fdc_dma_mode(s) && fdc_host_writes(fdc_opcode(s))) {
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
  if (!fdc_dma_mode(s) && fdc_opcode(s) != READ_ID && fdc_opcode(s) != VERIFY) {
    value |= MSR_NDMA;
    if (s->phase == TRANSFER)
      value |= fdc_host_writes(fdc_opcode(s)) ? MSR_RQM : MSR_RQM | MSR_DIO;
  }
  return value;
}

/* Reset by DOR or DSR: the data path stops, the drives keep their places. */
static void soft_reset(struct fdc82077 *s) {
  timer_cancel(&s->execute);
  timer_cancel(&s->seek);
  timer_cancel(&s->reset);
  fdc_request_dma(s, 0);
  fdc_interrupt(s, false);
  fdc_to_result(s, 0);
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
  fdc_interrupt(s, true);
}

static void write_dor(struct fdc82077 *s, uint8_t value) {
  uint8_t old = s->dor;
  s->dor = value;
  if ((old & DOR_NRESET) && !(value & DOR_NRESET))
    soft_reset(s);
  else if (!(old & DOR_NRESET) && (value & DOR_NRESET))
    fdc_later(&s->reset, RESULT_NS);
  fdc_update_irq(s);
  if (s->phase == TRANSFER && fdc_dma_mode(s))
    fdc_request_dma(s, 1);
}

static uint8_t dir(const struct fdc82077 *s) {
  int drive = s->dor & 3;
  return fdc_drive_exists(s, drive) && s->changed[drive] ? 0x80 : 0;
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
      fdc_later(&s->reset, RESULT_NS);
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
  for (int drive = 0; drive < FDC_DRIVES; drive++)
    s->changed[drive] = true;
  fdc_update_irq(s);
}

static int fdc_init(struct device *dev, const struct device_args *args) {
  struct fdc82077 *s = DEVICE(struct fdc82077, dev);
  s->config = *(const struct fdc82077_config *)args->config;
  for (int drive = 0; drive < FDC_DRIVES; drive++) {
    if (!s->config.present[drive])
      continue;
    s->kind[drive] = s->config.kind[drive];
    if (insert(s, drive, s->config.block[drive])) {
      error_report("'%s' has not the size of a floppy disk: %llu bytes", block_path(s->config.block[drive]),
                   (unsigned long long)block_size(s->config.block[drive]));
      return -EINVAL;
    }
    if (!s->kind[drive])
      s->kind[drive] = FDC_DRIVE_2880K; /* takes any disk of 3.5 inches */
  }
  timer_init(&s->execute, dev->clock, "fdc execute", fdc_execute, s);
  timer_init(&s->seek, dev->clock, "fdc seek", seek_done, s);
  timer_init(&s->reset, dev->clock, "fdc reset", reset_done, s);
  if (s->config.dma)
    dma_register(s->config.dma, s->config.dma_channel, fdc_run_dma, s);
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

/* A snapshot may say anything. */
static const char *fdc_check(const struct device *dev) {
  const struct fdc82077 *s = DEVICE(const struct fdc82077, dev);
  bool good = s->phase <= RESULT && s->command_count <= sizeof s->command &&
              s->command_length <= sizeof s->command && s->result_count <= s->result_length &&
              s->result_length <= sizeof s->result && s->pos <= s->length && s->length <= BYTES &&
              s->head <= 1 && s->rate <= 3;
  return good ? NULL : "a command that cannot be";
}

const struct device_class fdc82077_class = {
    .name = "82077AA",
    .size = sizeof(struct fdc82077),
    .init = fdc_init,
    .reset = fdc_reset,
    .destroy = fdc_destroy,
    .fields = fdc_fields,
    .check = fdc_check,
};
