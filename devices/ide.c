/* SPDX-License-Identifier: MIT */
/*
 * An ATA channel: command and control block registers, device selection, resets, PIO data blocks and
 * interrupts as in ATA/ATAPI-6 (T13 1410D), sections 7 and 9. Both drives see every register write; the
 * selected one answers reads.
 *
 * A missing drive reads as zeros. Not modelled: overlapped and queued commands, 8-bit transfers, PIO timing.
 */
#include "devices/ide_int.h"

#include <string.h>

#define LATENCY_NS 50000
#define SLOW_WRITE_NS 1000000

void ide_irq(struct ide_channel *ch, bool on) {
  bool line = on && !(ch->control & DC_NIEN);
  ch->interrupt = on;
  if (line)
    bmdma_interrupt(ch);
  irq_set(ch->irq, line);
}

static void schedule(struct ide_channel *ch, enum ide_step step, int64_t ns) {
  struct ide_drive *d = ide_active(ch);
  d->status = (uint8_t)((d->status & ~(ST_DRQ | ST_ERR | ST_DF)) | ST_BSY);
  ch->step = (uint8_t)step;
  timer_arm(&ch->timer, clock_now(ch->dev->clock) + ns);
}

void ide_schedule(struct ide_channel *ch, enum ide_step step) { schedule(ch, step, ch->latency); }
void ide_continue(struct ide_channel *ch, enum ide_step step) { schedule(ch, step, ch->latency / 4); }

void ide_finish(struct ide_channel *ch, uint8_t status, uint8_t error) {
  ch->final_status = (uint8_t)(ST_DRDY | ST_DSC | status | (error ? ST_ERR : 0));
  ch->final_error = error;
  ide_schedule(ch, STEP_COMPLETE);
}

void ide_abort(struct ide_channel *ch) { ide_finish(ch, 0, ERR_ABRT); }

void ide_data_block(struct ide_channel *ch, uint32_t len, enum ide_step drained, bool interrupt) {
  DGM_ASSERT(ch->pos + len <= IDE_BUFFER && len);
  ch->len = ch->pos + len;
  ch->drained = (uint8_t)drained;
  ide_active(ch)->status = ST_DRDY | ST_DSC | ST_DRQ;
  ide_active(ch)->error = 0;
  if (interrupt)
    ide_irq(ch, true);
}

void ide_reply(struct ide_channel *ch, uint32_t len) {
  ch->pos = 0;
  ch->fill = len;
  ide_schedule(ch, STEP_PRESENT);
}

/* The host has moved the last byte of a data block. */
static void block_drained(struct ide_channel *ch) {
  if (ch->drained == STEP_NONE) {
    ide_active(ch)->status = ST_DRDY | ST_DSC;
    return;
  }
  /* The setup program of Windows 2000 corrupts its disk if no PIO write ever takes a disk's time. */
  if (ch->drained == STEP_ATA_WRITE && ++ch->pio_writes % 16 == 0)
    schedule(ch, STEP_ATA_WRITE, SLOW_WRITE_NS);
  else
    ide_continue(ch, (enum ide_step)ch->drained);
}

void ide_signature(struct ide_drive *d) {
  d->tf.count = d->tf.low = 1;
  d->tf.mid = d->cdrom ? 0x14 : 0;
  d->tf.high = d->cdrom ? 0xeb : 0;
  memset(&d->hob, 0, sizeof d->hob);
  d->device &= DEV_DEV1;
}

static void drive_reset(struct ide_drive *d) {
  ide_signature(d);
  d->error = 1; /* diagnostics passed */
  d->status = d->cdrom ? 0 : ST_DRDY | ST_DSC;
  d->left = 0;
  d->standby = false;
}

static void stop(struct ide_channel *ch) {
  timer_cancel(&ch->timer);
  ch->step = ch->drained = STEP_NONE;
  ch->pos = ch->len = ch->fill = 0;
  ch->dma_waiting = false;
}

static void run_step(void *opaque) {
  struct ide_channel *ch = opaque;
  struct ide_drive *d = ide_active(ch);
  enum ide_step step = (enum ide_step)ch->step;
  ch->step = STEP_NONE;
  d->status &= (uint8_t)~ST_BSY;
  switch (step) {
  case STEP_NONE: break;
  case STEP_COMPLETE:
    d->status = ch->final_status;
    d->error = ch->final_error;
    ide_irq(ch, true);
    break;
  case STEP_PRESENT: ide_data_block(ch, ch->fill, STEP_NONE, true); break;
  case STEP_ATA_READ: ata_read_step(ch); break;
  case STEP_ATA_WRITE: ata_write_step(ch); break;
  case STEP_DMA:
    if (!bmdma_running(ch))
      bmdma_begin(ch); /* stopped meanwhile: wait */
    else if (d->cdrom)
      atapi_dma_step(ch);
    else
      ata_dma_step(ch);
    break;
  case STEP_PACKET: atapi_packet_step(ch); break;
  case STEP_PACKET_IN: atapi_in_step(ch); break;
  case STEP_PACKET_OUT: atapi_out_step(ch); break;
  case STEP_RESET:
    for (int i = 0; i < 2; i++)
      if (ch->drive[i].present && ch->drive[i].status & ST_BSY)
        drive_reset(&ch->drive[i]);
    drive_reset(d); /* its BSY was cleared above */
    break;
  }
}

/* SRST: both drives are busy until the bit is cleared and some time has passed. */
static void write_control(struct ide_channel *ch, uint8_t value) {
  uint8_t old = ch->control;
  ch->control = value;
  if (value & DC_SRST && !(old & DC_SRST)) {
    stop(ch);
    ide_irq(ch, false);
    ch->selected = ch->active = 0;
    for (int i = 0; i < 2; i++)
      ch->drive[i].status = ch->drive[i].present ? ST_BSY : 0;
  } else if (!(value & DC_SRST) && old & DC_SRST) {
    ch->active = ch->drive[0].present ? 0 : 1;
    ide_schedule(ch, STEP_RESET);
  } else {
    ide_irq(ch, ch->interrupt);
  }
}

static bool answers(const struct ide_channel *ch) { return ch->drive[ch->selected].present; }

static uint8_t read_status(const struct ide_channel *ch) {
  const struct ide_drive *d = &ch->drive[ch->selected];
  return answers(ch) ? d->status : 0;
}

static void execute_diagnostic(struct ide_channel *ch) {
  for (int i = 0; i < 2; i++)
    if (ch->drive[i].present)
      drive_reset(&ch->drive[i]);
  ch->selected = ch->active = ch->drive[0].present ? 0 : 1;
  ch->final_status = ide_active(ch)->status;
  ch->final_error = 1;
  ide_schedule(ch, STEP_COMPLETE);
}

static void device_reset(struct ide_channel *ch) {
  stop(ch);
  ide_irq(ch, false);
  ide_active(ch)->status &= ST_DRDY | ST_DSC; /* whatever the other drive was doing is over */
  ch->active = ch->selected;
  ide_schedule(ch, STEP_RESET);
}

static void write_command(struct ide_channel *ch, uint8_t command) {
  struct ide_drive *d = &ch->drive[ch->selected];
  if (command == 0x90) { /* EXECUTE DEVICE DIAGNOSTIC is for both */
    if (!(d->status & ST_BSY) && (ch->drive[0].present || ch->drive[1].present)) {
      stop(ch);
      ide_irq(ch, false);
      execute_diagnostic(ch);
    }
    return;
  }
  if (!d->present)
    return;
  if (command == 0x08 && d->cdrom) {
    device_reset(ch);
    return;
  }
  if (ide_active(ch)->status & (ST_BSY | ST_DRQ) || ch->step != STEP_NONE || ch->dma_waiting) {
    log_print(LOG_GUEST_ERRORS, "ide: command %#x while busy\n", command);
    return;
  }
  ide_irq(ch, false);
  ch->active = ch->selected;
  ch->pos = ch->len = ch->fill = 0;
  d->command = command;
  d->error = 0;
  d->dma = false;
  if (d->cdrom)
    atapi_command(ch, command);
  else
    ata_command(ch, command);
}

static void push(uint8_t *reg, uint8_t *hob, uint8_t value) {
  *hob = *reg;
  *reg = value;
}

static void write_register(struct ide_channel *ch, uint32_t offset, uint8_t value) {
  if (offset == 7) {
    ch->control &= (uint8_t)~DC_HOB;
    write_command(ch, value);
    return;
  }
  if (read_status(ch) & ST_BSY)
    return;
  ch->control &= (uint8_t)~DC_HOB;
  for (int i = 0; i < 2; i++) {
    struct ide_drive *d = &ch->drive[i];
    switch (offset) {
    case 1: push(&d->tf.feature, &d->hob.feature, value); break;
    case 2: push(&d->tf.count, &d->hob.count, value); break;
    case 3: push(&d->tf.low, &d->hob.low, value); break;
    case 4: push(&d->tf.mid, &d->hob.mid, value); break;
    case 5: push(&d->tf.high, &d->hob.high, value); break;
    case 6: d->device = value; break;
    }
  }
  if (offset == 6)
    ch->selected = value & DEV_DEV1 ? 1 : 0;
}

static uint8_t read_register(struct ide_channel *ch, uint32_t offset) {
  const struct ide_drive *d = &ch->drive[ch->selected];
  if (!answers(ch))
    return 0;
  const struct ide_taskfile *tf = ch->control & DC_HOB ? &d->hob : &d->tf;
  switch (offset) {
  case 1: return d->error;
  case 2: return tf->count;
  case 3: return tf->low;
  case 4: return tf->mid;
  case 5: return tf->high;
  case 6: return d->device | 0xa0;
  default: break;
  }
  uint8_t status = d->status;
  ide_irq(ch, false);
  return status;
}

static bool data_in_progress(const struct ide_channel *ch) {
  return ch->pos < ch->len && ch->selected == ch->active && ch->drive[ch->active].status & ST_DRQ;
}

static bool host_sends(const struct ide_channel *ch) {
  return ch->drained == STEP_ATA_WRITE || ch->drained == STEP_PACKET || ch->drained == STEP_PACKET_OUT;
}

static uint32_t read_data(struct ide_channel *ch, int size) {
  uint32_t value = 0;
  if (!data_in_progress(ch) || host_sends(ch))
    return 0;
  uint32_t n = ch->len - ch->pos < (uint32_t)size ? ch->len - ch->pos : (uint32_t)size;
  memcpy(&value, ch->buffer + ch->pos, n);
  ch->pos += n;
  if (ch->pos == ch->len)
    block_drained(ch);
  return value;
}

static void write_data(struct ide_channel *ch, int size, uint32_t value) {
  if (!data_in_progress(ch) || !host_sends(ch))
    return;
  uint32_t n = ch->len - ch->pos < (uint32_t)size ? ch->len - ch->pos : (uint32_t)size;
  memcpy(ch->buffer + ch->pos, &value, n);
  ch->pos += n;
  if (ch->pos == ch->len)
    block_drained(ch);
}

static uint32_t command_read(void *opaque, uint32_t offset, int size) {
  if (offset == 0)
    return read_data(opaque, size);
  uint32_t value = 0;
  for (int i = 0; i < size; i++)
    value |= (uint32_t)(offset + (uint32_t)i < 8 ? read_register(opaque, offset + (uint32_t)i) : 0xff)
             << 8 * i;
  return value;
}

static void command_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  if (offset == 0) {
    write_data(opaque, size, value);
    return;
  }
  for (int i = 0; i < size && offset + (uint32_t)i < 8; i++)
    write_register(opaque, offset + (uint32_t)i, (uint8_t)(value >> 8 * i));
}

static uint32_t control_read(void *opaque, uint32_t offset, int size) {
  (void)offset, (void)size;
  return read_status(opaque); /* alternate status: leaves the interrupt alone */
}

static void control_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)offset, (void)size;
  write_control(opaque, (uint8_t)value);
}

static const struct io_ops command_ops = {command_read, command_write, 4};
static const struct io_ops control_ops = {control_read, control_write, 1};

static void drive_setup(struct ide_drive *d, const struct ide_drive_config *config, int number) {
  d->present = config->present;
  if (!d->present)
    return;
  d->cdrom = config->cdrom;
  if (d->cdrom)
    atapi_insert(d, config->block);
  else
    d->block = config->block;
  if (config->serial)
    snprintf(d->serial, sizeof d->serial, "%s", config->serial);
  else
    snprintf(d->serial, sizeof d->serial, "DGM%05d", number + 1);
  snprintf(d->model, sizeof d->model, "%s",
           config->model ? config->model
           : d->cdrom    ? "DRAGOMAN CD-ROM"
                         : "DRAGOMAN HARDDISK");
  d->default_cylinders = config->cylinders;
  d->default_heads = config->heads;
  d->default_spt = config->sectors;
  if (!d->cdrom)
    ata_drive_init(d);
}

int ide_channel_init(struct ide_channel *ch, struct device *dev, struct pci_func *func, const struct irq *irq,
                     const struct ide_drive_config config[2], int first, struct audio *audio, uint32_t latency,
                     uint16_t command_port, uint16_t control_port) {
  ch->dev = dev;
  ch->func = func;
  ch->irq = irq;
  ch->latency = latency ? latency : LATENCY_NS;
  timer_init(&ch->timer, dev->clock, "ide", run_step, ch);
  for (int i = 0; i < 2; i++) {
    drive_setup(&ch->drive[i], &config[i], first + i);
    if (ch->drive[i].cdrom)
      cdda_init(&ch->drive[i], dev->clock, audio);
  }
  int error = io_map(dev->io, command_port, 8, &command_ops, ch, "ide");
  return error ? error : io_map(dev->io, control_port, 1, &control_ops, ch, "ide");
}

void ide_channel_reset(struct ide_channel *ch) {
  stop(ch);
  ch->control = 0;
  ch->selected = ch->active = 0;
  bmdma_reset(ch);
  for (int i = 0; i < 2; i++) {
    struct ide_drive *d = &ch->drive[i];
    memset(&d->tf, 0, sizeof d->tf);
    d->device = 0;
    ata_drive_reset(d);
    if (d->cdrom)
      atapi_drive_reset(d);
    drive_reset(d);
  }
  ide_irq(ch, false);
}

void ide_channel_destroy(struct ide_channel *ch) {
  timer_cancel(&ch->timer);
  for (int i = 0; i < 2; i++)
    cdda_destroy(&ch->drive[i]);
}
