/* SPDX-License-Identifier: MIT */
/*
 * USB mass storage, bulk-only transport (USB Mass Storage Class, Bulk-Only Transport 1.0; its "thirteen
 * cases" are section 6.7) around a SCSI disk: command block wrapper, data, command status wrapper. One
 * logical unit.
 */
#include "devices/usb/storage.h"

#include <string.h>

#include "devices/usb/scsi.h"

#define PACKET 64
#define CBW_SIZE 31
#define CBW_SIGNATURE 0x43425355u
#define CSW_SIGNATURE 0x53425355u

#define BULK_IN 1
#define BULK_OUT 2

enum { STATUS_PASSED, STATUS_FAILED, STATUS_PHASE_ERROR };
/* BROKEN: after an invalid wrapper, until the host's reset recovery. */
enum { WAIT_COMMAND, DATA_IN, DATA_OUT, SEND_STATUS, BROKEN };

struct storage {
  struct usb_device usb;
  struct scsi_disk disk;
  uint8_t phase, status;
  uint32_t tag;
  uint32_t expected; /* bytes of the host's data phase still to come */
};

static const uint8_t device_descriptor[18] = {18,   1,    0x10, 0x01, 0, 0, 0, 64, 0xf4,
                                              0x46, 0x01, 0x00, 0x00, 0, 1, 2, 3,  1};
static const uint8_t config_descriptor[32] = {
    9,        2,      32,
    0,        1,      1,
    0,        0x80,   50, /* bus-powered, 100 mA */
    9,        4,      0,
    0,        2,      8,
    6,        0x50,   0, /* mass storage, SCSI, bulk-only */
    7,        5,      0x80 | BULK_IN,
    2,        PACKET, 0,
    0,        7,      5,
    BULK_OUT, 2,      PACKET,
    0,        0,
};
static const char *const strings[] = {"Dragoman", "Dragoman USB Disk", "1", NULL};

static uint32_t le32(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static void put_le32(uint8_t *p, uint32_t v) {
  for (int i = 0; i < 4; i++)
    p[i] = (uint8_t)(v >> 8 * i);
}

static void halt_in(struct storage *s) { s->usb.halt_in |= 1u << BULK_IN; }
static void halt_out(struct storage *s) { s->usb.halt_out |= 1u << BULK_OUT; }

static int broken(struct storage *s) {
  s->phase = BROKEN;
  halt_in(s);
  halt_out(s);
  return USB_STALL;
}

/* What the host expects against what the command does (6.7). */
static void choose_phase(struct storage *s, bool host_in, bool good) {
  struct scsi_disk *d = &s->disk;
  s->status = good ? STATUS_PASSED : STATUS_FAILED;
  s->phase = SEND_STATUS;
  if (!s->expected) {
    if (d->direction != SCSI_NONE) /* cases 2 and 3 */
      s->status = STATUS_PHASE_ERROR;
    d->direction = SCSI_NONE;
  } else if (host_in) {
    if (d->direction == SCSI_TO_DISK || d->left > s->expected) /* 8 and 7 */
      s->status = STATUS_PHASE_ERROR;
    if (d->direction == SCSI_FROM_DISK && s->status == STATUS_PASSED) /* 5 and 6 */
      s->phase = DATA_IN;
    else
      halt_in(s); /* 4 */
  } else {
    if (d->direction == SCSI_FROM_DISK || d->left > s->expected) /* 10 and 13 */
      s->status = STATUS_PHASE_ERROR;
    if (d->direction == SCSI_TO_DISK && s->status == STATUS_PASSED) /* 11 and 12 */
      s->phase = DATA_OUT;
    else
      halt_out(s); /* 9 */
  }
}

static int take_command(struct storage *s, const uint8_t *cbw, unsigned length) {
  if (length != CBW_SIZE || le32(cbw) != CBW_SIGNATURE || cbw[13] & 0x0f || cbw[14] < 1 || cbw[14] > 16)
    return broken(s);
  uint8_t cdb[16] = {0};
  memcpy(cdb, cbw + 15, cbw[14]);
  s->tag = le32(cbw + 4);
  s->expected = le32(cbw + 8);
  choose_phase(s, cbw[12] & 0x80, scsi_command(&s->disk, cdb, cbw[14]));
  return CBW_SIZE;
}

static int storage_out(struct usb_device *usb, unsigned endpoint, const uint8_t *data, unsigned length) {
  struct storage *s = (struct storage *)usb;
  (void)endpoint;
  if (s->phase == WAIT_COMMAND)
    return take_command(s, data, length);
  if (s->phase != DATA_OUT)
    return USB_NAK;
  uint32_t n = length < s->expected ? length : s->expected;
  s->expected -= n;
  if (n > s->disk.left)
    n = s->disk.left; /* case 11: more than the command wants is dropped */
  if (!scsi_give(&s->disk, data, n)) {
    s->status = STATUS_FAILED;
    s->phase = SEND_STATUS;
    s->expected += length - n;
    if (s->expected)
      halt_out(s);
    return (int)length;
  }
  if (!s->disk.left) {
    s->phase = SEND_STATUS;
    if (s->expected)
      halt_out(s);
  }
  return (int)length;
}

static int send_status(struct storage *s, uint8_t *buf) {
  put_le32(buf, CSW_SIGNATURE);
  put_le32(buf + 4, s->tag);
  put_le32(buf + 8, s->expected); /* the residue */
  buf[12] = s->status;
  s->phase = WAIT_COMMAND;
  return 13;
}

static int storage_in(struct usb_device *usb, unsigned endpoint, uint8_t *buf) {
  struct storage *s = (struct storage *)usb;
  (void)endpoint;
  if (s->phase == SEND_STATUS)
    return send_status(s, buf);
  if (s->phase != DATA_IN)
    return USB_NAK;
  uint32_t n = s->disk.left < PACKET ? s->disk.left : PACKET;
  if (!scsi_take(&s->disk, buf, n)) {
    s->status = STATUS_FAILED;
    s->phase = SEND_STATUS;
    return USB_STALL;
  }
  s->expected -= n;
  /* Fewer bytes than the host expects end with a short packet, of no bytes if need be (case 5). */
  if (!s->disk.left && (!s->expected || n < PACKET))
    s->phase = SEND_STATUS;
  return (int)n;
}

static void forget_command(struct storage *s) {
  s->phase = WAIT_COMMAND;
  s->expected = 0;
  s->disk.direction = SCSI_NONE;
  s->disk.left = s->disk.pos = s->disk.fill = 0;
}

static int storage_control(struct usb_device *usb, const struct usb_setup *s, uint8_t *buf) {
  if (s->type == 0x21 && s->request == 0xff && s->length == 0) { /* Bulk-Only Mass Storage Reset */
    forget_command((struct storage *)usb);
    return 0;
  }
  if (s->type == 0xa1 && s->request == 0xfe) { /* Get Max LUN */
    buf[0] = 0;
    return 1;
  }
  return USB_STALL;
}

static bool may_clear_halt(struct usb_device *usb) { return ((struct storage *)usb)->phase != BROKEN; }

static void storage_bus_reset(struct usb_device *usb) {
  struct storage *s = (struct storage *)usb;
  forget_command(s);
  scsi_reset(&s->disk);
}

static const struct usb_class storage_usb = {
    .device_descriptor = device_descriptor,
    .config_descriptor = config_descriptor,
    .strings = strings,
    .packet0 = 64,
    .packet = PACKET,
    .control = storage_control,
    .in = storage_in,
    .out = storage_out,
    .bus_reset = storage_bus_reset,
    .may_clear_halt = may_clear_halt,
};

static int storage_init(struct device *dev, const struct device_args *args) {
  struct storage *s = DEVICE(struct storage, dev);
  const struct usb_storage_config *config = args->config;
  if (block_size(config->block) < SECTOR) {
    error_report("usb-storage: %s is smaller than a sector", block_path(config->block));
    return -EINVAL;
  }
  s->usb.usb = &storage_usb;
  s->disk.block = config->block;
  s->disk.removable = config->removable;
  /* Twelve characters from 0-9 and A-F are what the specification wants (4.1.1). */
  snprintf(s->usb.serial, sizeof s->usb.serial, "%s", config->serial ? config->serial : "00000000000000D1");
  return 0;
}

static void storage_reset(struct device *dev) { usb_device_reset((struct usb_device *)dev); }

struct block *usb_storage_block(const struct device *dev) {
  DGM_ASSERT(dev->cls == &usb_storage_class);
  return ((const struct storage *)dev)->disk.block;
}

static const struct field storage_fields[] = {
    USB_FIELDS(struct storage),
    SCSI_FIELDS(struct storage, disk),
    FIELD(U8, struct storage, phase),
    FIELD(U8, struct storage, status),
    FIELD(U32, struct storage, tag),
    FIELD(U32, struct storage, expected),
    FIELDS_END,
};

/* A snapshot may say anything. */
static const char *storage_check(const struct device *dev) {
  const struct storage *s = DEVICE(const struct storage, dev);
  const struct scsi_disk *d = &s->disk;
  if (!usb_valid(&s->usb) || s->phase > BROKEN || d->direction > SCSI_TO_DISK)
    return "a transfer that cannot be";
  return d->pos <= d->fill && d->fill <= SCSI_BUFFER ? NULL : "a transfer beyond the buffer";
}

const struct device_class usb_storage_class = {
    .name = "usb-storage",
    .size = sizeof(struct storage),
    .init = storage_init,
    .reset = storage_reset,
    .fields = storage_fields,
    .check = storage_check,
};
