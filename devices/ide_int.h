/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the IDE model share: ide.c (registers, PIO, interrupts), ide_ata.c (disk commands),
 * ide_atapi.c and ide_mmc.c (packet commands), ide_bmdma.c (bus master engine), piix3_ide.c (PCI attachment).
 */
#ifndef DEVICES_IDE_INT_H
#define DEVICES_IDE_INT_H

#include "devices/block/disc.h"
#include "devices/ide.h"

#define IDE_CHUNK 65536u /* bytes a transfer step moves at most */
#define IDE_BUFFER (IDE_CHUNK + 4096u)
#define IDE_MULTIPLE_MAX 16
#define CD_SECTOR DISC_DATA

enum { ST_BSY = 0x80, ST_DRDY = 0x40, ST_DF = 0x20, ST_DSC = 0x10, ST_DRQ = 0x08, ST_ERR = 0x01 };
enum { ERR_UNC = 0x40, ERR_IDNF = 0x10, ERR_ABRT = 0x04 };
enum { DC_HOB = 0x80, DC_SRST = 0x04, DC_NIEN = 0x02 };
enum { DEV_LBA = 0x40, DEV_DEV1 = 0x10 };
enum { IR_CD = 1, IR_IO = 2 }; /* interrupt reason (sector count register) of packet commands */

/* The next step of a channel: done when the latency timer fires. */
enum ide_step {
  STEP_NONE,
  STEP_COMPLETE,   /* final_status, final_error and an interrupt */
  STEP_PRESENT,    /* the buffer is ready for the host to read */
  STEP_ATA_READ,   /* fetch the next block of sectors */
  STEP_ATA_WRITE,  /* the host filled the buffer: write it */
  STEP_DMA,        /* move a chunk through the bus master */
  STEP_PACKET,     /* execute the packet in the buffer */
  STEP_PACKET_IN,  /* present the next chunk of the reply */
  STEP_PACKET_OUT, /* the host filled the buffer with parameters */
  STEP_RESET,      /* SRST or DEVICE RESET is over */
};

struct ide_taskfile {
  uint8_t feature, count, low, mid, high; /* "count" and "low" are sector count and sector number */
};

/* Audio status as READ SUB-CHANNEL reports it. */
enum { CD_PLAYING = 0x11, CD_PAUSED = 0x12, CD_COMPLETED = 0x13, CD_FAILED = 0x14, CD_NO_STATUS = 0x15 };

struct cd_player {
  uint8_t status;
  uint8_t ended;                /* the status that reaching `to` leads to */
  uint32_t from, to;            /* LBA: from where it plays (is paused, was left), up to where */
  int64_t since;                /* ns: when it was at `from` */
  uint8_t port[4], volume[4];   /* mode page 0Eh: which channels an output carries, how loud */
  /* Rendering; not part of the guest's state. */
  struct clock *clock;
  struct audio *audio;
  struct audio_voice *voice;
  int64_t done;    /* samples since `since` */
  uint32_t loaded; /* LBA of `frame`, UINT32_MAX: none */
  uint8_t frame[DISC_FRAME];
};

struct ide_drive {
  bool present, cdrom;
  struct block *block;
  char serial[21], model[41];
  uint64_t sectors; /* capacity of a hard disk */
  uint16_t default_cylinders, cylinders;
  uint8_t default_heads, default_spt, heads, spt; /* default and current CHS translation */
  /* Registers. */
  struct ide_taskfile tf, hob;
  uint8_t device, status, error, command;
  /* Modes. */
  uint8_t multiple, mwdma, udma; /* mwdma, udma: bit of the selected mode, or 0 */
  bool write_cache, look_ahead, smart, standby;
  /* The transfer in progress. */
  uint64_t lba;
  uint32_t left; /* sectors */
  bool ext, dma, to_disk;
  /* ATAPI. */
  uint8_t packet[12];
  uint8_t sense_key, asc, ascq;
  uint8_t attention; /* pending unit attention: its ASC, 0 = none */
  uint8_t event;     /* pending media event */
  bool locked, tray_open;
  uint32_t byte_limit; /* of a PIO data block */
  uint16_t cd_size;    /* bytes a sector has for the host */
  uint8_t cd_fields;   /* READ CD: what of a sector is wanted */
  uint8_t cd_kind;     /* READ CD: the sector type that is wanted, as in the packet */
  uint8_t cd_sub;      /* READ CD: the subchannel that is wanted */
  const struct disc *disc; /* what is on the medium, if there is one */
  struct disc plain;       /* of an image without tracks */
  struct cd_player player;
};

struct ide_channel {
  struct device *dev;
  struct pci_func *func;
  const struct irq *irq;
  uint32_t latency;
  struct ide_drive drive[2];
  uint8_t selected, active; /* drive numbers; active = the one that runs a command */
  uint8_t control;
  bool interrupt;  /* INTRQ before nIEN */
  uint8_t step;    /* enum ide_step, armed in timer */
  uint8_t drained; /* the step to take when the host has moved the whole data block */
  uint8_t final_status, final_error;
  uint8_t pio_writes; /* data blocks, for their timing */
  struct timer timer;
  uint32_t pos, len, fill; /* in buffer: next byte, end of the data block, end of the valid bytes */
  uint8_t buffer[IDE_BUFFER];
  /* Bus master. */
  uint8_t bm_command, bm_status;
  uint32_t bm_table; /* BMIDTP */
  uint32_t prd_next, prd_addr, prd_left;
  bool prd_last, dma_waiting; /* the drive wants DMA, the engine isn't started */
};

/* ide.c */
int ide_channel_init(struct ide_channel *ch, struct device *dev, struct pci_func *func, const struct irq *irq,
                     const struct ide_drive_config config[2], int first, struct audio *audio, uint32_t latency,
                     uint16_t command_port, uint16_t control_port);
void ide_channel_reset(struct ide_channel *ch); /* power-on */
void ide_channel_destroy(struct ide_channel *ch);
/*
 * Go on with `step` after the latency, BSY meanwhile. The only place where time passes between a command and
 * its answer: whoever makes image I/O asynchronous hooks in here.
 */
void ide_schedule(struct ide_channel *ch, enum ide_step step);
void ide_continue(struct ide_channel *ch,
                  enum ide_step step); /* the same in the middle of a command: sooner */
void ide_irq(struct ide_channel *ch, bool on);
/* End the command after the latency: status bits besides DRDY and DSC, error register, interrupt. */
void ide_finish(struct ide_channel *ch, uint8_t status, uint8_t error);
void ide_abort(struct ide_channel *ch);
/* Start a data block of `len` bytes from the start of the buffer (status DRQ). */
void ide_data_block(struct ide_channel *ch, uint32_t len, enum ide_step drained, bool interrupt);
/* A reply of `len` bytes that is in the buffer already: present it after the latency. */
void ide_reply(struct ide_channel *ch, uint32_t len);
void ide_signature(struct ide_drive *d);
static inline struct ide_drive *ide_active(struct ide_channel *ch) { return &ch->drive[ch->active]; }

/* ide_ata.c */
void ata_drive_init(struct ide_drive *d);
void ata_drive_reset(struct ide_drive *d);
void ata_command(struct ide_channel *ch, uint8_t command);
void ata_read_step(struct ide_channel *ch);
void ata_write_step(struct ide_channel *ch);
void ata_dma_step(struct ide_channel *ch);
bool ata_set_features(struct ide_drive *d); /* false: not supported. Shared with ATAPI */
/* IDENTIFY strings: padded with spaces, bytes swapped in each word. */
void ata_string(uint8_t *to, const char *text, unsigned len);
void ata_word(uint8_t *identify, unsigned word, uint16_t value);
bool ata_power_command(struct ide_channel *ch, uint8_t command); /* false: isn't one */

/* ide_atapi.c */
void atapi_drive_reset(struct ide_drive *d);
void atapi_command(struct ide_channel *ch, uint8_t command);
void atapi_packet_step(struct ide_channel *ch);
void atapi_in_step(struct ide_channel *ch);
void atapi_out_step(struct ide_channel *ch);
void atapi_dma_step(struct ide_channel *ch);
void atapi_fail(struct ide_channel *ch, uint8_t key, uint8_t asc, uint8_t ascq);
void atapi_good(struct ide_channel *ch);
/* Send the first min(len, allocation) bytes of the buffer. */
void atapi_send(struct ide_channel *ch, uint32_t len, uint32_t allocation);
int atapi_change_media(struct ide_drive *d, struct block *block, bool force); /* see ide_change_media */
void atapi_insert(struct ide_drive *d, struct block *block);
uint32_t cd_sectors(const struct ide_drive *d);
bool cd_ready(const struct ide_drive *d);
enum { EVENT_NONE, EVENT_EJECT_REQUEST, EVENT_NEW_MEDIA, EVENT_REMOVAL };

/* ide_mmc.c: replies that only describe drive and medium. False: not one of these commands. */
bool mmc_command(struct ide_channel *ch);

/* ide_cdda.c: sound of compact discs. */
void cdda_init(struct ide_drive *d, struct clock *clock, struct audio *audio);
void cdda_destroy(struct ide_drive *d);
void cdda_reset(struct ide_drive *d);
void cdda_stop(struct ide_drive *d, uint8_t status); /* where it is */
uint32_t cdda_position(const struct ide_drive *d);   /* LBA */
bool cdda_command(struct ide_channel *ch);           /* false: not one of these commands */
/* The 16 bytes of mode page 0Eh, and taking them from MODE SELECT. */
#define CDDA_PAGE 16u
enum cdda_values { CDDA_CURRENT, CDDA_CHANGEABLE, CDDA_DEFAULT };
void cdda_get_page(const struct ide_drive *d, uint8_t *page, enum cdda_values which);
void cdda_set_page(struct ide_drive *d, const uint8_t *page);
/* 16 bytes of the Q subchannel of a frame, as READ CD delivers them. */
#define CDDA_Q 16u
void cdda_q(const struct ide_drive *d, uint32_t lba, uint8_t *q);
/* Track and index of a frame, and its distance from index 1. */
const struct disc_track *cdda_place(const struct ide_drive *d, uint32_t lba, uint8_t *number, uint8_t *index,
                                    int32_t *relative);

/* Packets are big-endian. */
static inline uint32_t be16(const uint8_t *p) { return (uint32_t)(p[0] << 8 | p[1]); }
static inline uint32_t be24(const uint8_t *p) { return (uint32_t)p[0] << 16 | be16(p + 1); }
static inline uint32_t be32(const uint8_t *p) { return be16(p) << 16 | be16(p + 2); }
static inline void put16(uint8_t *p, uint32_t value) {
  p[0] = (uint8_t)(value >> 8);
  p[1] = (uint8_t)value;
}
static inline void put32(uint8_t *p, uint32_t value) {
  put16(p, value >> 16);
  put16(p + 2, value);
}
/* Minute, second, frame: frames, 150 before LBA 0. */
static inline uint32_t msf_frames(const uint8_t *p) { return (p[0] * 60u + p[1]) * 75u + p[2]; }
/* Four bytes: LBA, or 0, minute, second, frame. */
static inline void put_address(uint8_t *p, uint32_t lba, bool as_msf) {
  put32(p, lba);
  if (as_msf) {
    lba += DISC_LEAD;
    p[0] = 0;
    p[1] = (uint8_t)(lba / 4500);
    p[2] = (uint8_t)(lba / 75 % 60);
    p[3] = (uint8_t)(lba % 75);
  }
}

/* ide_bmdma.c */
extern const struct io_ops bmdma_ops; /* opaque: struct ide_channel[2] */
void bmdma_reset(struct ide_channel *ch);
/* Can the engine move bytes now? */
bool bmdma_running(const struct ide_channel *ch);
/* Move bytes between buf and guest memory along the PRD table; fewer than len: the table ended. */
uint32_t bmdma_move(struct ide_channel *ch, uint8_t *buf, uint32_t len, bool to_memory);
/* A DMA command begins: its steps start as soon as the engine runs. */
void bmdma_begin(struct ide_channel *ch);
/* The table ended too early: the engine stops, the drive goes on waiting. */
void bmdma_stall(struct ide_channel *ch);
/* Start what waits: after a start command or when bus mastering was enabled. */
void bmdma_kick(struct ide_channel *ch);
void bmdma_interrupt(struct ide_channel *ch); /* the drive raised its interrupt */

#endif
