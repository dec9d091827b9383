/* SPDX-License-Identifier: MIT */
/* The floppy controller: commands and results, DMA and PIO transfers, multi-track, formats, media change. */
#include "devices/dma8237.h"
#include "devices/fdc82077.h"
#include "tests/unit/rig.h"

struct floppy {
  struct rig *rig;
  struct device *dma, *fdc;
  struct block *block;
  char path[32];
};

static struct floppy *floppy_new(uint64_t size, unsigned flags) {
  struct floppy *f = calloc(1, sizeof *f);
  f->rig = rig_new();
  if (size) {
    const char *error;
    rig_file(f->path, size);
    ck_assert_int_eq(block_open(&f->block, f->path, flags, &error), 0);
  }
  f->dma = device_new(&f->rig->set, &dma8237_class,
                      &(struct device_args){.id = "dma", .port = {0x00, 0xc0, 0x80}});
  f->fdc = device_new(&f->rig->set, &fdc82077_class,
                      &(struct device_args){.id = "fdc",
                                            .port = {0x3f0},
                                            .irq = {rig_line(f->rig, 6)},
                                            .config = &(struct fdc82077_config){.dma = f->dma,
                                                                                .dma_channel = 2,
                                                                                .present = {true, false},
                                                                                .block = {f->block, NULL}}});
  ck_assert_ptr_nonnull(f->fdc);
  device_reset_all(&f->rig->set);
  return f;
}

static void floppy_free(struct floppy *f) {
  rig_free(f->rig);
  block_close(f->block);
  if (f->path[0])
    unlink(f->path);
  free(f);
}

static void wait_irq(struct floppy *f) {
  for (int i = 0; i < 100 && !f->rig->level[6]; i++)
    rig_run(f->rig, 100000);
  ck_assert_int_eq(f->rig->level[6], 1);
}

static void command(struct floppy *f, const char *hex) {
  while (*hex) {
    ck_assert_uint_eq(inb(f->rig, 0x3f4) & 0xc0, 0x80);
    outb(f->rig, 0x3f5, (uint32_t)strtoul(hex, (char **)&hex, 16));
    while (*hex == ' ')
      hex++;
  }
}

static void expect(struct floppy *f, const char *hex) {
  while (*hex) {
    ck_assert_uint_eq(inb(f->rig, 0x3f4) & 0xd0, 0xd0);
    ck_assert_uint_eq(inb(f->rig, 0x3f5), strtoul(hex, (char **)&hex, 16));
    while (*hex == ' ')
      hex++;
  }
  ck_assert_uint_eq(inb(f->rig, 0x3f4) & 0xd0, 0x80);
}

/* Out of reset, interrupt acknowledged for four drives, 500 kbit/s, DMA mode. */
static void start(struct floppy *f, uint8_t rate) {
  outb(f->rig, 0x3f2, 0x08);
  outb(f->rig, 0x3f2, 0x1c);
  wait_irq(f);
  for (int drive = 0; drive < 4; drive++) {
    char st0[8];
    command(f, "08");
    snprintf(st0, sizeof st0, "%02x 00", 0xc0 + drive);
    expect(f, st0);
    ck_assert_int_eq(f->rig->level[6], 0);
  }
  outb(f->rig, 0x3f7, rate);
  command(f, "03 df 02");
}

/* Channel 2 to address 10000h; mode 46h = device to memory, 4Ah = memory to device. */
static void set_dma(struct floppy *f, uint8_t mode, uint32_t bytes) {
  outb(f->rig, 0x0a, 6);
  outb(f->rig, 0x0c, 0);
  outb(f->rig, 0x0b, mode);
  outb(f->rig, 0x04, 0);
  outb(f->rig, 0x04, 0);
  outb(f->rig, 0x81, 1);
  outb(f->rig, 0x05, (bytes - 1) & 0xff);
  outb(f->rig, 0x05, (bytes - 1) >> 8);
  outb(f->rig, 0x0a, 2);
}

static uint32_t ram_word(struct floppy *f, uint32_t pa) { return (uint32_t)mem_read(f->rig->set.mem, pa, 4); }

static uint32_t lba_word(uint32_t lba) { return lba * 128; } /* the first word of a sector of rig_file */

static void seek(struct floppy *f, uint8_t head_drive, uint8_t cylinder) {
  char text[16];
  snprintf(text, sizeof text, "0f %02x %02x", head_drive, cylinder);
  command(f, text);
  ck_assert_uint_eq(inb(f->rig, 0x3f4) & 1, 1);
  wait_irq(f);
  command(f, "08");
  snprintf(text, sizeof text, "%02x %02x", 0x20 | head_drive, cylinder);
  expect(f, text);
}

START_TEST(identity) {
  struct floppy *f = floppy_new(1474560, 0);
  start(f, 0);
  command(f, "10");
  expect(f, "90");
  command(f, "18"); /* PART ID came with the 82078 */
  expect(f, "80");
  command(f, "08"); /* nothing to sense */
  expect(f, "80");
  command(f, "94");
  expect(f, "10");
  command(f, "13 00 57 10");
  command(f, "0e");
  expect(f, "00 00 00 00 df 02 00 80 57 10");
  outb(f->rig, 0x3f4, 0x80); /* software reset: LOCK keeps the configuration, polling is off */
  rig_run(f->rig, 1000000);
  ck_assert_int_eq(f->rig->level[6], 0);
  command(f, "0e");
  expect(f, "00 00 00 00 df 02 00 80 57 10");
  command(f, "14");
  expect(f, "00");
  command(f, "04 00");
  expect(f, "78"); /* write-protected, track 0 */
  command(f, "04 01");
  expect(f, "29");
  ck_assert_int_eq(fdc_drive_type(f->fdc, 0), FDC_DRIVE_1440K);
  ck_assert_int_eq(fdc_drive_type(f->fdc, 1), FDC_DRIVE_NONE);
  floppy_free(f);
}
END_TEST

START_TEST(seeking) {
  struct floppy *f = floppy_new(1474560, 0);
  start(f, 0);
  ck_assert_uint_eq(inb(f->rig, 0x3f7) & 0x80, 0x80);
  seek(f, 0, 5);
  ck_assert_uint_eq(inb(f->rig, 0x3f7) & 0x80, 0); /* a step clears the change line */
  seek(f, 4, 79);
  command(f, "07 00");
  wait_irq(f);
  command(f, "08");
  expect(f, "20 00");
  command(f, "07 01"); /* there is no drive B: track 0 never comes */
  wait_irq(f);
  command(f, "08");
  expect(f, "71 00");
  command(f, "cf 00 07"); /* relative, inwards */
  wait_irq(f);
  command(f, "08");
  expect(f, "20 07");
  command(f, "8f 00 03");
  wait_irq(f);
  command(f, "08");
  expect(f, "20 04");
  floppy_free(f);
}
END_TEST

START_TEST(read_dma) {
  struct floppy *f = floppy_new(1474560, 0);
  start(f, 0);
  seek(f, 0, 2);
  set_dma(f, 0x46, 1024);
  command(f, "e6 00 02 00 05 02 12 1b ff");
  ck_assert_uint_eq(inb(f->rig, 0x3f4) & 0x90, 0x10);
  wait_irq(f);
  expect(f, "00 00 00 02 00 07 02");
  ck_assert_int_eq(f->rig->level[6], 0);
  ck_assert_uint_eq(ram_word(f, 0x10000), lba_word(2 * 36 + 4));
  ck_assert_uint_eq(ram_word(f, 0x10200), lba_word(2 * 36 + 5));
  ck_assert_uint_eq(ram_word(f, 0x10400), 0);
  /* Multi-track: from the last sector of head 0 over to head 1 and to the end of the cylinder. */
  set_dma(f, 0x46, 19 * 512);
  command(f, "e6 00 02 00 12 02 12 1b ff");
  wait_irq(f);
  expect(f, "04 00 00 03 00 01 02");
  ck_assert_uint_eq(ram_word(f, 0x10000), lba_word(2 * 36 + 17));
  ck_assert_uint_eq(ram_word(f, 0x10200), lba_word(2 * 36 + 18));
  ck_assert_uint_eq(ram_word(f, 0x10000 + 18 * 512), lba_word(2 * 36 + 35));
  /* Without multi-track: EOT before terminal count. */
  set_dma(f, 0x46, 4096);
  command(f, "46 00 02 00 12 02 12 1b ff");
  wait_irq(f);
  expect(f, "40 80 00 03 00 01 02");
  /* Part of a sector. */
  set_dma(f, 0x46, 100);
  command(f, "46 04 02 01 03 02 12 1b ff");
  wait_irq(f);
  expect(f, "04 00 00 02 01 04 02");
  floppy_free(f);
}
END_TEST

START_TEST(read_errors) {
  struct floppy *f = floppy_new(737280, 0); /* 720K */
  start(f, 2);
  ck_assert_int_eq(fdc_drive_type(f->fdc, 0), FDC_DRIVE_720K);
  set_dma(f, 0x46, 512);
  command(f, "46 00 00 00 0a 02 12 1b ff"); /* sector 10 of 9 */
  wait_irq(f);
  expect(f, "40 04 00 00 00 0a 02");
  command(f, "46 00 01 00 01 02 09 1b ff"); /* cylinder 1 while the head is at 0 */
  wait_irq(f);
  expect(f, "40 04 10 01 00 01 02");
  outb(f->rig, 0x3f7, 0);
  command(f, "4a 00"); /* at 500 kbit/s a 720K disk has no ID fields */
  wait_irq(f);
  expect(f, "40 01 00 01 00 01 02");
  outb(f->rig, 0x3f7, 2);
  command(f, "4a 04");
  wait_irq(f);
  static const uint8_t first[] = {0x04, 0, 0, 0, 1};
  for (size_t i = 0; i < sizeof first; i++)
    ck_assert_uint_eq(inb(f->rig, 0x3f5), first[i]);
  ck_assert_uint_le(inb(f->rig, 0x3f5), 9); /* whichever sector passes by */
  expect(f, "02");
  floppy_free(f);
}
END_TEST

START_TEST(write_and_format) {
  struct floppy *f = floppy_new(1474560, BLOCK_WRITE);
  uint8_t sector[512];
  start(f, 0);
  for (uint32_t i = 0; i < 512; i++)
    mem_write(f->rig->set.mem, 0x10000 + i, 1, i ^ 0x5a);
  set_dma(f, 0x4a, 512);
  command(f, "45 00 00 00 02 02 12 1b ff");
  wait_irq(f);
  expect(f, "00 00 00 00 00 03 02");
  ck_assert_int_eq(block_read(f->block, 512, sector, 512), 0);
  ck_assert_uint_eq(sector[1], 0x5b);
  ck_assert_uint_eq(sector[511], 0xa5);
  /* 100 bytes: the rest of the sector becomes zero. */
  set_dma(f, 0x4a, 100);
  command(f, "45 00 00 00 02 02 12 1b ff");
  wait_irq(f);
  expect(f, "00 00 00 00 00 03 02");
  ck_assert_int_eq(block_read(f->block, 512, sector, 512), 0);
  ck_assert_uint_eq(sector[99], 99 ^ 0x5a);
  ck_assert_uint_eq(sector[100], 0);
  /* Format head 1 of cylinder 0. */
  for (uint32_t i = 0; i < 18; i++)
    mem_write(f->rig->set.mem, 0x10000 + 4 * i, 4, 0x02000100 | (i + 1) << 16);
  set_dma(f, 0x4a, 72);
  command(f, "4d 04 02 12 54 f6");
  wait_irq(f);
  static const uint8_t status[] = {0x04, 0, 0};
  for (size_t i = 0; i < sizeof status; i++)
    ck_assert_uint_eq(inb(f->rig, 0x3f5), status[i]);
  for (int i = 0; i < 4; i++)
    inb(f->rig, 0x3f5);
  for (uint64_t n = 18; n < 36; n++) {
    ck_assert_int_eq(block_read(f->block, n * 512, sector, 512), 0);
    ck_assert_uint_eq(sector[0], 0xf6);
    ck_assert_uint_eq(sector[511], 0xf6);
  }
  ck_assert_int_eq(block_read(f->block, 36 * 512, sector, 4), 0);
  ck_assert_uint_eq(sector[1], lba_word(36) >> 8);
  floppy_free(f);
  f = floppy_new(1474560, 0); /* write-protected */
  start(f, 0);
  set_dma(f, 0x4a, 512);
  command(f, "45 00 00 00 02 02 12 1b ff");
  wait_irq(f);
  expect(f, "40 02 00 00 00 02 02");
  floppy_free(f);
}
END_TEST

START_TEST(programmed_io) {
  struct floppy *f = floppy_new(1474560, BLOCK_WRITE);
  start(f, 0);
  command(f, "03 df 03");
  command(f, "46 00 00 00 12 02 12 1b ff"); /* one sector, up to EOT */
  wait_irq(f);
  int edges = f->rig->edges[6];
  for (uint32_t i = 0; i < 512; i++) {
    ck_assert_uint_eq(inb(f->rig, 0x3f4) & 0xf0, 0xf0);
    ck_assert_uint_eq(inb(f->rig, 0x3f5), (lba_word(17) + i / 4) >> 8 * (i % 4) & 0xff);
  }
  ck_assert_int_eq(f->rig->edges[6], edges + 512); /* one a byte, the last one for the result */
  expect(f, "40 80 00 01 00 01 02");
  command(f, "45 00 00 00 12 02 12 1b ff");
  wait_irq(f);
  for (uint32_t i = 0; i < 512; i++) {
    ck_assert_uint_eq(inb(f->rig, 0x3f4) & 0xf0, 0xb0);
    outb(f->rig, 0x3f5, 0x77);
  }
  wait_irq(f);
  expect(f, "40 80 00 01 00 01 02");
  uint8_t byte;
  ck_assert_int_eq(block_read(f->block, 18 * 512 - 1, &byte, 1), 0);
  ck_assert_uint_eq(byte, 0x77);
  floppy_free(f);
}
END_TEST

START_TEST(verify_and_scan) {
  struct floppy *f = floppy_new(1474560, 0);
  start(f, 0);
  command(f, "56 80 00 00 01 02 12 1b 03"); /* EC: three sectors */
  wait_irq(f);
  expect(f, "00 00 00 00 00 04 02");
  set_dma(f, 0x46, 512);
  command(f, "46 00 00 00 03 02 12 1b ff");
  wait_irq(f);
  expect(f, "00 00 00 00 00 04 02");
  set_dma(f, 0x4a, 512); /* and compare the same with the disk */
  command(f, "51 00 00 00 03 02 12 1b 01");
  wait_irq(f);
  expect(f, "00 00 08 00 00 03 02");
  set_dma(f, 0x4a, 512);
  command(f, "51 00 00 00 04 02 04 1b 01");
  wait_irq(f);
  expect(f, "00 00 04 01 00 01 02");
  floppy_free(f);
}
END_TEST

START_TEST(media) {
  struct floppy *f = floppy_new(0, 0);
  start(f, 0);
  ck_assert_int_eq(fdc_drive_type(f->fdc, 0), FDC_DRIVE_2880K); /* whatever may be put in */
  command(f, "4a 00");
  wait_irq(f);
  expect(f, "40 01 00 00 00 00 02");
  ck_assert_uint_eq(inb(f->rig, 0x3f7) & 0x80, 0x80);
  seek(f, 0, 1); /* nothing in the drive: the line stays */
  ck_assert_uint_eq(inb(f->rig, 0x3f7) & 0x80, 0x80);
  static const uint8_t lone[512]; /* a boot sector and nothing behind it */
  struct block *b = block_open_memory("disk", lone, sizeof lone);
  ck_assert_int_eq(fdc_change_media(f->fdc, 0, b), 0);
  ck_assert_int_eq(fdc_change_media(f->fdc, 1, b), -ENODEV);
  ck_assert_ptr_eq(fdc_media(f->fdc, 0), b);
  seek(f, 0, 0);
  ck_assert_uint_eq(inb(f->rig, 0x3f7) & 0x80, 0);
  ck_assert_int_eq(fdc_change_media(f->fdc, 0, NULL), 0);
  ck_assert_uint_eq(inb(f->rig, 0x3f7) & 0x80, 0x80);
  block_close(b);
  floppy_free(f);
}
END_TEST

START_TEST(geometries) {
  static const struct {
    uint32_t kilobytes;
    unsigned cylinders, heads, sectors;
  } table[] = {{160, 40, 1, 8},   {180, 40, 1, 9},   {320, 40, 2, 8},   {360, 40, 2, 9},   {720, 80, 2, 9},
               {1200, 80, 2, 15}, {1440, 80, 2, 18}, {1680, 80, 2, 21}, {2880, 80, 2, 36}, {820, 82, 2, 10},
               {800, 80, 2, 10},  {400, 40, 2, 10},  {1600, 80, 2, 20}, {1640, 82, 2, 20}, {1722, 82, 2, 21},
               {1743, 83, 2, 21}, {1760, 80, 2, 22}, {1920, 80, 2, 24}, {1476, 82, 2, 18}, {640, 80, 2, 8},
               {3120, 80, 2, 39}};
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    unsigned c, h, s;
    ck_assert(fdc_geometry(table[i].kilobytes * 1024, &c, &h, &s));
    ck_assert_uint_eq(c, table[i].cylinders);
    ck_assert_uint_eq(h, table[i].heads);
    ck_assert_uint_eq(s, table[i].sectors);
  }
  ck_assert(!fdc_geometry(1000, NULL, NULL, NULL));
}
END_TEST

/* Each format is read at its own data rate only, to the last sector. */
START_TEST(formats_read) {
  static const struct {
    uint32_t kilobytes;
    uint8_t rate, other, last, heads, sectors, kind;
  } table[] = {{160, 2, 0, 39, 1, 8, FDC_DRIVE_360K},    {360, 1, 0, 39, 2, 9, FDC_DRIVE_360K},
               {720, 2, 1, 79, 2, 9, FDC_DRIVE_720K},    {820, 2, 0, 81, 2, 10, FDC_DRIVE_720K},
               {1200, 0, 2, 79, 2, 15, FDC_DRIVE_1200K}, {1440, 0, 3, 79, 2, 18, FDC_DRIVE_1440K},
               {1680, 0, 2, 79, 2, 21, FDC_DRIVE_1440K}, {1722, 0, 1, 81, 2, 21, FDC_DRIVE_1440K},
               {2880, 3, 0, 79, 2, 36, FDC_DRIVE_2880K}};
  for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
    struct floppy *f = floppy_new(table[i].kilobytes * 1024, 0);
    char text[40];
    uint8_t head = table[i].heads - 1;
    ck_assert_int_eq(fdc_drive_type(f->fdc, 0), table[i].kind);
    start(f, table[i].rate);
    seek(f, (uint8_t)(head << 2), table[i].last);
    set_dma(f, 0x46, 512);
    snprintf(text, sizeof text, "46 %02x %02x %02x %02x 02 %02x 1b ff", head << 2, table[i].last, head,
             table[i].sectors, table[i].sectors);
    command(f, text);
    wait_irq(f);
    ck_assert_uint_eq(inb(f->rig, 0x3f5) & 0xc0, 0);
    for (int k = 0; k < 6; k++)
      inb(f->rig, 0x3f5);
    ck_assert_uint_eq(ram_word(f, 0x10000), lba_word(table[i].kilobytes * 2 - 1));
    outb(f->rig, 0x3f7, table[i].other);
    command(f, text);
    wait_irq(f);
    ck_assert_uint_eq(inb(f->rig, 0x3f5) & 0xc0, 0x40);
    ck_assert_uint_eq(inb(f->rig, 0x3f5), 1); /* no address mark */
    floppy_free(f);
  }
}
END_TEST

START_TEST(reset_stops) {
  struct floppy *f = floppy_new(1474560, 0);
  start(f, 0);
  outb(f->rig, 0x0a, 6); /* DMA masked: the transfer waits */
  command(f, "46 00 00 00 01 02 12 1b ff");
  rig_run(f->rig, 1000000);
  ck_assert_int_eq(f->rig->level[6], 0);
  ck_assert_uint_eq(inb(f->rig, 0x3f4) & 0x90, 0x10);
  outb(f->rig, 0x3f2, 0x18);
  ck_assert_uint_eq(inb(f->rig, 0x3f4), 0);
  outb(f->rig, 0x3f2, 0x1c);
  wait_irq(f);
  /* A guest that doesn't sense the four drives gets its next interrupt all the same. */
  int edges = f->rig->edges[6];
  seek(f, 0, 3);
  ck_assert_int_eq(f->rig->edges[6], edges + 1);
  floppy_free(f);
}
END_TEST

START_TEST(noise) {
  struct floppy *f = floppy_new(368640, BLOCK_WRITE);
  uint32_t seed = 3;
  start(f, 2);
  for (int i = 0, n = rig_fuzz_ops(); i < n; i++) {
    static const uint8_t ops[] = {0xe6, 0x46, 0xc5, 0x4d, 0x0a, 0x0f, 0x07,
                                  0x08, 0x56, 0x51, 0x5d, 0x42, 0x13, 0x4c};
    uint32_t r = rig_random(&seed), value = rig_random(&seed);
    switch (r % 16) {
    case 0:
      if (value % 64 == 0)
        outb(f->rig, 0x3f2, value >> 8);
      outb(f->rig, 0x3f2, 0x1c | (value >> 16 & 3));
      break;
    case 1: set_dma(f, value & 1 ? 0x46 : 0x4a, value >> 16 | 1); break;
    case 2: outb(f->rig, (uint16_t)(value & 0x0f), value >> 8); break;
    case 3: rig_run(f->rig, value % 100000); break;
    case 4: outb(f->rig, 0x3f5, ops[value % sizeof ops]); break;
    case 5: outb(f->rig, (uint16_t)(0x3f0 + value % 8), value >> 8); break;
    case 6: inb(f->rig, (uint16_t)(0x3f0 + value % 8)); break;
    case 7:
      if (value % 200 == 0)
        fdc_change_media(f->fdc, 0, value & 0x10000 ? f->block : NULL);
      outb(f->rig, 0x3f7, value >> 8);
      break;
    case 8:
    case 9: outb(f->rig, 0x3f5, value % 3 ? value >> 8 & 3 : value >> 8); break;
    default:
      if (inb(f->rig, 0x3f4) & 0x40)
        inb(f->rig, 0x3f5);
      else
        outb(f->rig, 0x3f5, value & 0x0f);
    }
  }
  floppy_free(f);
}
END_TEST

Suite *suite_fdc(void) {
  Suite *suite = suite_create("fdc");
  TCase *tests = tcase_create("fdc");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, identity);
  tcase_add_test(tests, seeking);
  tcase_add_test(tests, read_dma);
  tcase_add_test(tests, read_errors);
  tcase_add_test(tests, write_and_format);
  tcase_add_test(tests, programmed_io);
  tcase_add_test(tests, verify_and_scan);
  tcase_add_test(tests, media);
  tcase_add_test(tests, geometries);
  tcase_add_test(tests, formats_read);
  tcase_add_test(tests, reset_stops);
  tcase_add_test(tests, noise);
  suite_add_tcase(suite, tests);
  return suite;
}
