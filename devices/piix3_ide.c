/* SPDX-License-Identifier: MIT */
/*
 * Intel 82371SB (PIIX3) IDE function, 8086:7010 at 00:01.1 (datasheet 290550): two channels at the legacy
 * ports with ISA interrupts, the bus master registers at BAR 4, timing registers stored.
 *
 * Not modelled: timing, and turning the channels off with IDETIM bit 15 or the command register.
 */
#include "devices/ide_int.h"

#include <string.h>

struct piix3_ide {
  struct device dev;
  struct pci_func func;
  struct ide_channel channel[2];
};

/* Bus mastering may have been switched on while a drive waits. */
static void config_written(struct pci_func *f, uint32_t offset, int size) {
  struct piix3_ide *s = f->opaque;
  (void)size;
  if (offset <= 4)
    for (int i = 0; i < 2; i++)
      bmdma_kick(&s->channel[i]);
}

static int piix3_ide_init(struct device *dev, const struct device_args *args) {
  struct piix3_ide *s = DEVICE(struct piix3_ide, dev);
  const struct piix3_ide_config *config = args->config;
  pci_func_init(&s->func, "PIIX3 IDE", 0x8086, 0x7010, 0x010180, 0x00, 0);
  s->func.opaque = s;
  s->func.config_written = config_written;
  s->func.wmask[0x04] = 0x05; /* no memory space */
  s->func.wmask[0x05] = 0;
  s->func.wmask[0x0c] = 0;
  s->func.wmask[0x0d] = 0xf0;
  s->func.w1c[0x07] = 0x38;
  memset(s->func.wmask + 0x40, 0xff, 4); /* IDETIM */
  s->func.wmask[0x44] = 0xff;            /* SIDETIM */
  pci_func_set_bar(
      &s->func, 4,
      &(struct pci_bar){.kind = PCI_BAR_IO, .size = 16, .io_ops = &bmdma_ops, .opaque = s->channel});
  for (int i = 0; i < 2; i++) {
    int error = ide_channel_init(&s->channel[i], dev, &s->func, &dev->irq[i], &config->drive[2 * i], 2 * i,
                                 config->audio, config->latency_ns, args->port[2 * i], args->port[2 * i + 1]);
    if (error)
      return error;
  }
  return pci_register(config->bus, &s->func, 1 << 3 | 1);
}

static void piix3_ide_reset(struct device *dev) {
  struct piix3_ide *s = DEVICE(struct piix3_ide, dev);
  pci_func_reset(&s->func);
  memset(s->func.config + 0x40, 0, 5);
  s->func.config[0x06] = 0x80;
  s->func.config[0x07] = 0x02;
  for (int i = 0; i < 2; i++)
    ide_channel_reset(&s->channel[i]);
}

static void piix3_ide_destroy(struct device *dev) {
  struct piix3_ide *s = DEVICE(struct piix3_ide, dev);
  for (int i = 0; i < 2; i++)
    ide_channel_destroy(&s->channel[i]);
}

static struct ide_drive *drive_of(const struct device *dev, int n) {
  DGM_ASSERT(dev->cls == &piix3_ide_class);
  struct piix3_ide *s = (struct piix3_ide *)dev;
  return n >= 0 && n < 4 ? &s->channel[n / 2].drive[n % 2] : NULL;
}

int ide_change_media(struct device *dev, int n, struct block *block, bool force) {
  struct ide_drive *d = drive_of(dev, n);
  return d ? atapi_change_media(d, block, force) : -ENODEV;
}

bool ide_present(const struct device *dev, int n) {
  const struct ide_drive *d = drive_of(dev, n);
  return d && d->present;
}

bool ide_is_cdrom(const struct device *dev, int n) { return ide_present(dev, n) && drive_of(dev, n)->cdrom; }
bool ide_tray_locked(const struct device *dev, int n) {
  return ide_is_cdrom(dev, n) && drive_of(dev, n)->locked;
}
bool ide_tray_open(const struct device *dev, int n) {
  return ide_is_cdrom(dev, n) && drive_of(dev, n)->tray_open;
}

struct block *ide_media(const struct device *dev, int n) {
  return ide_present(dev, n) ? drive_of(dev, n)->block : NULL;
}

bool ide_geometry(const struct device *dev, int n, uint16_t *cylinders, uint8_t *heads, uint8_t *sectors) {
  if (!ide_present(dev, n) || ide_is_cdrom(dev, n))
    return false;
  const struct ide_drive *d = drive_of(dev, n);
  *cylinders = d->default_cylinders;
  *heads = d->default_heads;
  *sectors = d->default_spt;
  return true;
}

#define DRIVE_FIELD(kind, c, d, member) FIELD(kind, struct piix3_ide, channel[c].drive[d].member)
#define TASKFILE_FIELDS(c, d, tf)                                                                            \
  DRIVE_FIELD(U8, c, d, tf.feature), DRIVE_FIELD(U8, c, d, tf.count), DRIVE_FIELD(U8, c, d, tf.low),         \
      DRIVE_FIELD(U8, c, d, tf.mid), DRIVE_FIELD(U8, c, d, tf.high)
#define DRIVE_FIELDS(c, d)                                                                                   \
  DRIVE_FIELD(U16, c, d, cylinders), DRIVE_FIELD(U8, c, d, heads), DRIVE_FIELD(U8, c, d, spt),               \
      TASKFILE_FIELDS(c, d, tf), TASKFILE_FIELDS(c, d, hob), DRIVE_FIELD(U8, c, d, device),                  \
      DRIVE_FIELD(U8, c, d, status), DRIVE_FIELD(U8, c, d, error), DRIVE_FIELD(U8, c, d, command),           \
      DRIVE_FIELD(U8, c, d, multiple), DRIVE_FIELD(U8, c, d, mwdma), DRIVE_FIELD(U8, c, d, udma),            \
      DRIVE_FIELD(BOOL, c, d, write_cache), DRIVE_FIELD(BOOL, c, d, look_ahead),                             \
      DRIVE_FIELD(BOOL, c, d, smart), DRIVE_FIELD(BOOL, c, d, standby), DRIVE_FIELD(U64, c, d, lba),         \
      DRIVE_FIELD(U32, c, d, left), DRIVE_FIELD(BOOL, c, d, ext), DRIVE_FIELD(BOOL, c, d, dma),              \
      DRIVE_FIELD(BOOL, c, d, to_disk),                                                                      \
      {FIELD_BYTES, "packet", offsetof(struct piix3_ide, channel[c].drive[d].packet), 12},                   \
      DRIVE_FIELD(U8, c, d, sense_key), DRIVE_FIELD(U8, c, d, asc), DRIVE_FIELD(U8, c, d, ascq),             \
      DRIVE_FIELD(U8, c, d, attention), DRIVE_FIELD(U8, c, d, event), DRIVE_FIELD(BOOL, c, d, locked),       \
      DRIVE_FIELD(BOOL, c, d, tray_open), DRIVE_FIELD(U32, c, d, byte_limit),                                \
      DRIVE_FIELD(U16, c, d, cd_size), DRIVE_FIELD(U8, c, d, cd_fields), DRIVE_FIELD(U8, c, d, cd_kind),     \
      DRIVE_FIELD(U8, c, d, cd_sub), DRIVE_FIELD(U8, c, d, player.status),                                   \
      DRIVE_FIELD(U8, c, d, player.ended), DRIVE_FIELD(U32, c, d, player.from),                              \
      DRIVE_FIELD(U32, c, d, player.to), DRIVE_FIELD(I64, c, d, player.since),                               \
      {FIELD_BYTES, "player.port", offsetof(struct piix3_ide, channel[c].drive[d].player.port), 4},          \
      {FIELD_BYTES, "player.volume", offsetof(struct piix3_ide, channel[c].drive[d].player.volume), 4}
#define CHANNEL_FIELD(kind, c, member) FIELD(kind, struct piix3_ide, channel[c].member)
#define CHANNEL_FIELDS(c)                                                                                    \
  DRIVE_FIELDS(c, 0), DRIVE_FIELDS(c, 1), CHANNEL_FIELD(U8, c, selected), CHANNEL_FIELD(U8, c, active),      \
      CHANNEL_FIELD(U8, c, control), CHANNEL_FIELD(BOOL, c, interrupt), CHANNEL_FIELD(U8, c, step),          \
      CHANNEL_FIELD(U8, c, drained), CHANNEL_FIELD(U8, c, final_status), CHANNEL_FIELD(U8, c, final_error),  \
      CHANNEL_FIELD(U8, c, pio_writes), CHANNEL_FIELD(TIMER, c, timer), CHANNEL_FIELD(U32, c, pos),          \
      CHANNEL_FIELD(U32, c, len), CHANNEL_FIELD(U32, c, fill),                                               \
      {FIELD_BYTES, "buffer", offsetof(struct piix3_ide, channel[c].buffer), IDE_BUFFER},                    \
      CHANNEL_FIELD(U8, c, bm_command), CHANNEL_FIELD(U8, c, bm_status), CHANNEL_FIELD(U32, c, bm_table),    \
      CHANNEL_FIELD(U32, c, prd_next), CHANNEL_FIELD(U32, c, prd_addr), CHANNEL_FIELD(U32, c, prd_left),     \
      CHANNEL_FIELD(BOOL, c, prd_last), CHANNEL_FIELD(BOOL, c, dma_waiting)

static const struct field piix3_ide_fields[] = {
    {FIELD_BYTES, "config", offsetof(struct piix3_ide, func.config), 256},
    CHANNEL_FIELDS(0),
    CHANNEL_FIELDS(1),
    FIELDS_END,
};

/* A snapshot may say anything. */
static const char *ide_check(const struct device *dev) {
  const struct piix3_ide *s = DEVICE(const struct piix3_ide, dev);
  for (int c = 0; c < 2; c++) {
    const struct ide_channel *ch = &s->channel[c];
    if (ch->selected > 1 || ch->active > 1 || ch->step > STEP_RESET || ch->drained > STEP_RESET)
      return "a command that cannot be";
    if (ch->pos > ch->len || ch->len > IDE_BUFFER || ch->fill > IDE_BUFFER)
      return "a transfer beyond the buffer";
  }
  return NULL;
}

const struct device_class piix3_ide_class = {
    .name = "PIIX3 IDE",
    .size = sizeof(struct piix3_ide),
    .init = piix3_ide_init,
    .reset = piix3_ide_reset,
    .destroy = piix3_ide_destroy,
    .fields = piix3_ide_fields,
    .check = ide_check,
};
