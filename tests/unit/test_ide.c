/* SPDX-License-Identifier: MIT */
/* ATA disks: IDENTIFY, PIO and DMA transfers, addresses, errors, resets, missing drives; the bus master
 * engine. */
#include <signal.h>
#include <sys/resource.h>

#include "tests/unit/ide_rig.h"

static uint16_t identify_word(const uint8_t *id, int word) {
  return (uint16_t)(id[2 * word] | id[2 * word + 1] << 8);
}

START_TEST(identify) {
  struct ide *c = ide_new(8192 * 512, BLOCK_WRITE, false);
  uint8_t id[512], sum = 0;
  ide_command(c, 0, 0xec);
  ide_wait_irq(c);
  ck_assert_uint_eq(inb(c->rig, 0x3f6), 0x58);
  ck_assert_int_eq(c->rig->level[14], 1); /* alternate status leaves the interrupt alone */
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x58);
  ck_assert_int_eq(c->rig->level[14], 0);
  ide_read_data(c, id, 512);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x50);
  ck_assert_uint_eq(identify_word(id, 0), 0x0040);
  ck_assert_uint_eq(identify_word(id, 1), 8);
  ck_assert_uint_eq(identify_word(id, 3), 16);
  ck_assert_uint_eq(identify_word(id, 6), 63);
  ck_assert_uint_eq(identify_word(id, 60) | (uint32_t)identify_word(id, 61) << 16, 8192);
  ck_assert_uint_eq(identify_word(id, 100), 8192);
  ck_assert_uint_eq(identify_word(id, 49) & 0x0300, 0x0300);
  ck_assert_uint_eq(identify_word(id, 83) & 0x0400, 0x0400);
  ck_assert_mem_eq(id + 54, "RDGAMONAH RADDSI K", 18); /* bytes swapped */
  for (int i = 0; i < 512; i++)
    sum = (uint8_t)(sum + id[i]);
  ck_assert_uint_eq(id[510], 0xa5);
  ck_assert_uint_eq(sum, 0);
  ide_free(c);
}
END_TEST

START_TEST(read_pio) {
  struct ide *c = ide_new(8192 * 512, 0, false);
  uint32_t data[3 * 128];
  ide_address(c, 0, 5, 3);
  ide_command(c, 0x40, 0x20);
  for (int n = 0; n < 3; n++) { /* an interrupt before each sector, none after the last */
    ck_assert_uint_eq(inb(c->rig, 0x3f6) & 0x80, 0x80);
    ide_wait_irq(c);
    ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x58);
    ide_read_data(c, data + 128 * n, 512);
  }
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x50);
  rig_run(c->rig, 1000000);
  ck_assert_int_eq(c->rig->edges[14], 3);
  for (uint32_t i = 0; i < 384; i++)
    ck_assert_uint_eq(data[i], 5 * 128 + i);
  /* CHS: cylinder 1, head 2, sector 3 */
  outb(c->rig, 0x1f2, 1);
  outb(c->rig, 0x1f3, 3);
  outb(c->rig, 0x1f4, 1);
  outb(c->rig, 0x1f5, 0);
  ide_command(c, 0xa2, 0x20);
  ide_wait_irq(c);
  ide_read_data(c, data, 512);
  ck_assert_uint_eq(data[0], ((1 * 16 + 2) * 63 + 2) * 128);
  /* The same under another translation: 4 heads, 32 sectors. */
  outb(c->rig, 0x1f2, 32);
  ide_command(c, 0x03, 0x91);
  ide_wait_irq(c);
  outb(c->rig, 0x1f2, 1);
  outb(c->rig, 0x1f3, 3);
  outb(c->rig, 0x1f4, 1);
  ide_command(c, 0xa2, 0x20);
  ide_wait_irq(c);
  ide_read_data(c, data, 512);
  ck_assert_uint_eq(data[0], ((1 * 4 + 2) * 32 + 2) * 128);
  ide_free(c);
}
END_TEST

START_TEST(multiple) {
  struct ide *c = ide_new(8192 * 512, BLOCK_WRITE, false);
  uint32_t data[10 * 128];
  outb(c->rig, 0x1f2, 3);
  ide_command(c, 0, 0xc6);
  ide_expect_error(c, 0x04); /* not a power of two */
  outb(c->rig, 0x1f2, 8);
  ide_command(c, 0, 0xc6);
  ide_expect_done(c);
  ide_address(c, 0, 100, 10);
  ide_command(c, 0x40, 0xc4);
  ide_wait_irq(c);
  ide_read_data(c, data, 8 * 512);
  ide_wait_irq(c);
  ide_read_data(c, data + 8 * 128, 2 * 512);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x50);
  for (uint32_t i = 0; i < 1280; i++)
    ck_assert_uint_eq(data[i], 12800 + i);
  int edges = c->rig->edges[14];
  ide_address(c, 0, 200, 10);
  ide_command(c, 0x40, 0xc5);
  ck_assert_uint_eq(inb(c->rig, 0x3f6), 0x58); /* the first block without an interrupt */
  ide_write_data(c, data, 8 * 512);
  ide_wait_irq(c);
  ide_write_data(c, data + 8 * 128, 2 * 512);
  ide_expect_done(c);
  ck_assert_int_eq(c->rig->edges[14], edges + 2);
  uint32_t back[10 * 128];
  ck_assert_int_eq(block_read(c->block, 200 * 512, back, sizeof back), 0);
  ck_assert_mem_eq(back, data, sizeof data);
  ide_free(c);
}
END_TEST

START_TEST(lba48) {
  struct ide *c = ide_new(8192 * 512, BLOCK_WRITE, false);
  uint32_t data[128];
  ide_address(c, 0, 0, 0); /* the previous contents: bits 24-47 and the high count */
  ide_address(c, 0, 4097, 1);
  ide_command(c, 0x40, 0x24);
  ide_wait_irq(c);
  ide_read_data(c, data, 512);
  ck_assert_uint_eq(data[0], 4097 * 128);
  ide_address(c, 0, 1, 0); /* LBA 1 << 24 | ... : not there */
  ide_address(c, 0, 7, 1);
  ide_command(c, 0x40, 0x24);
  ide_expect_error(c, 0x10);
  ide_command(c, 0x40, 0x27); /* READ NATIVE MAX ADDRESS EXT */
  ide_expect_done(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f3), 8191 & 0xff);
  ck_assert_uint_eq(inb(c->rig, 0x1f4), 8191 >> 8);
  outb(c->rig, 0x3f6, 0x80); /* HOB */
  ck_assert_uint_eq(inb(c->rig, 0x1f3), 0);
  outb(c->rig, 0x3f6, 0);
  ide_address(c, 0, 0, 0);
  ide_address(c, 0, 8190, 2);
  ide_command(c, 0x40, 0x42); /* READ VERIFY SECTORS EXT */
  ide_expect_done(c);
  ide_free(c);
}
END_TEST

START_TEST(errors) {
  struct ide *c = ide_new(8192 * 512, 0, false);
  uint8_t data[512];
  ide_address(c, 0, 8192, 1);
  ide_command(c, 0x40, 0x20);
  ide_expect_error(c, 0x10);
  ide_address(c, 0, 8191, 2); /* the second one isn't there */
  ide_command(c, 0x40, 0x20);
  ide_wait_irq(c);
  ide_read_data(c, data, 512);
  ide_expect_error(c, 0x10);
  ck_assert_uint_eq(inb(c->rig, 0x1f3) | inb(c->rig, 0x1f4) << 8, 8192);
  outb(c->rig, 0x1f3, 0); /* CHS sector 0 */
  ide_command(c, 0, 0x20);
  ide_expect_error(c, 0x10);
  ide_address(c, 0, 0, 1);
  ide_command(c, 0x40, 0x30); /* write-protected image */
  ide_expect_error(c, 0x04);
  ide_command(c, 0x40, 0xf1);
  ide_expect_error(c, 0x04);
  ide_command(c, 0x40, 0x00); /* NOP always aborts */
  ide_expect_error(c, 0x04);
  ide_free(c);
}
END_TEST

/* The host's disk is full (here: files may not grow beyond a limit): the guest sees a device fault. */
START_TEST(full_disk) {
  signal(SIGXFSZ, SIG_IGN);
  struct ide *c = ide_new(8192 * 512, BLOCK_WRITE, false);
  struct rlimit limit = {512 * 1024, RLIM_INFINITY};
  uint8_t data[512] = {0};
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
  freopen("/dev/null", "w", stderr); /* the user is told once */
  ide_address(c, 0, 3000, 1);
  ide_command(c, 0x40, 0x30);
  ide_write_data(c, data, 512);
  ide_wait_irq(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x71);
  ck_assert_uint_eq(inb(c->rig, 0x1f1), 0x04);
  prd(c, 0, 0x20000, 0x200, true);
  ide_address(c, 0, 3000, 1);
  ide_command(c, 0x40, 0xca);
  bm_start(c, 1);
  ide_wait_irq(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x71);
  ide_address(c, 0, 3000, 1); /* reading goes on */
  ide_command(c, 0x40, 0x20);
  ide_wait_irq(c);
  ide_read_data(c, data, 512);
  ck_assert_uint_eq(data[1], 3000 * 128 >> 8 & 0xff);
  ide_free(c);
}
END_TEST

START_TEST(other_commands) {
  struct ide *c = ide_new(8192 * 512, BLOCK_WRITE, false);
  static const uint8_t good[] = {0x10, 0x1f, 0x70, 0xe7, 0xea, 0xe1, 0xe3};
  uint8_t id[512];
  for (size_t i = 0; i < sizeof good; i++) {
    ide_address(c, 0, 1, 1);
    ide_command(c, 0x40, good[i]);
    ide_expect_done(c);
  }
  ide_command(c, 0, 0xe5);
  ide_expect_done(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f2), 0xff);
  ide_command(c, 0, 0xe0);
  ide_expect_done(c);
  ide_command(c, 0, 0xe5);
  ide_expect_done(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f2), 0x00);
  outb(c->rig, 0x1f1, 0x03); /* SET FEATURES: UDMA 2 */
  outb(c->rig, 0x1f2, 0x42);
  ide_command(c, 0, 0xef);
  ide_expect_done(c);
  outb(c->rig, 0x1f1, 0x82);
  ide_command(c, 0, 0xef);
  ide_expect_done(c);
  ide_command(c, 0, 0xec);
  ide_wait_irq(c);
  ide_read_data(c, id, 512);
  ck_assert_uint_eq(identify_word(id, 88) >> 8, 4);
  ck_assert_uint_eq(identify_word(id, 63) >> 8, 0);
  ck_assert_uint_eq(identify_word(id, 85) & 0x20, 0);
  outb(c->rig, 0x1f1, 0xda); /* SMART RETURN STATUS */
  outb(c->rig, 0x1f4, 0x4f);
  outb(c->rig, 0x1f5, 0xc2);
  ide_command(c, 0, 0xb0);
  ide_expect_done(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f4), 0x4f);
  outb(c->rig, 0x1f5, 0);
  ide_command(c, 0, 0xb0);
  ide_expect_error(c, 0x04);
  for (int i = 0; i < 512; i++)
    id[i] = (uint8_t)i;
  ide_command(c, 0, 0xe8);
  ide_write_data(c, id, 512);
  ide_expect_done(c);
  memset(id, 0, sizeof id);
  ide_command(c, 0, 0xe4);
  ide_wait_irq(c);
  ide_read_data(c, id, 512);
  ck_assert_uint_eq(id[511], 0xff);
  ide_free(c);
}
END_TEST

START_TEST(resets) {
  struct ide *c = ide_new(8192 * 512, 0, false);
  outb(c->rig, 0x3f6, 0x04);
  ck_assert_uint_eq(inb(c->rig, 0x1f7) & 0x80, 0x80);
  outb(c->rig, 0x3f6, 0x00);
  ck_assert_uint_eq(inb(c->rig, 0x1f7) & 0x80, 0x80);
  rig_run(c->rig, 1000000);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x50);
  ck_assert_uint_eq(inb(c->rig, 0x1f1), 1);
  ck_assert_uint_eq(inb(c->rig, 0x1f2), 1);
  ck_assert_uint_eq(inb(c->rig, 0x1f3), 1);
  ck_assert_uint_eq(inb(c->rig, 0x1f4), 0);
  ck_assert_uint_eq(inb(c->rig, 0x1f5), 0);
  ck_assert_int_eq(c->rig->edges[14], 0);
  ide_command(c, 0, 0x90);
  ide_wait_irq(c);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x50);
  ck_assert_uint_eq(inb(c->rig, 0x1f1), 1);
  /* SRST in the middle of a transfer */
  ide_address(c, 0, 0, 5);
  ide_command(c, 0x40, 0x20);
  ide_wait_irq(c);
  outb(c->rig, 0x3f6, 0x06);
  outb(c->rig, 0x3f6, 0x02);
  rig_run(c->rig, 1000000);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x50);
  int edges = c->rig->edges[14];
  ide_address(c, 0, 0, 1); /* nIEN: no interrupt ... */
  ide_command(c, 0x40, 0x20);
  rig_run(c->rig, 1000000);
  ck_assert_int_eq(c->rig->edges[14], edges);
  outb(c->rig, 0x3f6, 0x00); /* ... until it is allowed, for it is still pending */
  ck_assert_int_eq(c->rig->edges[14], edges + 1);
  ide_free(c);
}
END_TEST

START_TEST(missing_drives) {
  struct ide *c = ide_new(8192 * 512, 0, false);
  outb(c->rig, 0x1f6, 0xb0); /* no slave */
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0);
  outb(c->rig, 0x1f2, 0x55);
  ck_assert_uint_ne(inb(c->rig, 0x1f2), 0x55);
  outb(c->rig, 0x1f7, 0xec);
  rig_run(c->rig, 1000000);
  ck_assert_int_eq(c->rig->edges[14], 0);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0);
  outb(c->rig, 0x1f6, 0xa0);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x50);
  outb(c->rig, 0x177, 0xec); /* and nobody on the second channel's slave position */
  ck_assert(!ide_present(c->dev, 1));
  uint16_t cylinders;
  uint8_t heads, sectors;
  ck_assert(ide_geometry(c->dev, 0, &cylinders, &heads, &sectors));
  ck_assert_uint_eq(cylinders, 8);
  ck_assert(!ide_geometry(c->dev, 1, &cylinders, &heads, &sectors));
  ck_assert(!ide_geometry(c->dev, 2, &cylinders, &heads, &sectors));
  ck_assert_int_eq(ide_change_media(c->dev, 0, NULL, false), -ENOTSUP);
  ck_assert_int_eq(ide_change_media(c->dev, 1, NULL, false), -ENODEV);
  ide_free(c);
}
END_TEST

START_TEST(dma_read_write) {
  struct ide *c = ide_new(8192 * 512, BLOCK_WRITE, false);
  struct mem *mem = c->rig->set.mem;
  prd(c, 0, 0x20000, 0x200, false); /* scattered */
  prd(c, 1, 0x30002, 0x600, true);
  ide_address(c, 0, 10, 4);
  ide_command(c, 0x40, 0xc8);
  rig_run(c->rig, 1000000);
  ck_assert_int_eq(c->rig->edges[14], 0); /* waits for the engine */
  bm_start(c, 0x09);
  ck_assert_uint_eq(inb(c->rig, BM + 2) & 1, 1);
  ide_wait_irq(c);
  ck_assert_uint_eq(inb(c->rig, BM + 2) & 7, 4);
  ide_expect_done(c);
  outb(c->rig, BM, 0);
  outb(c->rig, BM + 2, 4);
  ck_assert_uint_eq(inb(c->rig, BM + 2) & 7, 0);
  ck_assert_uint_eq(mem_read(mem, 0x201fc, 4), 10 * 128 + 127);
  ck_assert_uint_eq(mem_read(mem, 0x30002 & ~3u, 4) >> 16, (11 * 128) & 0xffff);
  uint8_t back[512];
  mem_dma_read(mem, 0x30002 + 0x400, back, 512);
  ck_assert_uint_eq(back[0] | back[1] << 8, 13 * 128);
  ck_assert_uint_eq(mem_read(mem, 0x30602, 2), 0);
  /* Write back elsewhere, engine started before the command; a count of zero is 64 KB. */
  prd(c, 0, 0x20000, 0, true);
  bm_start(c, 0x01);
  ide_address(c, 0, 3000, 1);
  ide_command(c, 0x40, 0xca);
  ide_wait_irq(c);
  ck_assert_uint_eq(inb(c->rig, BM + 2) & 7, 5); /* the table describes more than was moved */
  ide_expect_done(c);
  uint32_t word;
  ck_assert_int_eq(block_read(c->block, 3000 * 512, &word, 4), 0);
  ck_assert_uint_eq(word, 1280);
  ide_free(c);
}
END_TEST

START_TEST(dma_large) {
  struct ide *c = ide_new(8192 * 512, 0, false);
  for (uint32_t i = 0; i < 32; i++) /* 2 MB by LBA48 in 64 KB pieces */
    prd(c, i, 0x100000 + i * 0x10000, 0, i == 31);
  ide_address(c, 0, 0, 16); /* count 4096 = 1000h, high byte first */
  ide_address(c, 0, 100, 0);
  ide_command(c, 0x40, 0x25);
  bm_start(c, 0x09);
  for (int i = 0; i < 100; i++)
    rig_run(c->rig, 20000);
  ck_assert_int_eq(c->rig->edges[14], 1);
  ck_assert_uint_eq(inb(c->rig, BM + 2) & 7, 4);
  for (uint32_t i = 0; i < 0x200000; i += 4)
    ck_assert_uint_eq(*(uint32_t *)(c->rig->ram->host + 0x100000 + i), 12800 + i / 4);
  ide_free(c);
}
END_TEST

START_TEST(dma_short_table) {
  struct ide *c = ide_new(8192 * 512, 0, false);
  prd(c, 0, 0x20000, 0x300, true);
  ide_address(c, 0, 10, 4);
  ide_command(c, 0x40, 0xc8);
  bm_start(c, 0x09);
  rig_run(c->rig, 1000000);
  ck_assert_int_eq(c->rig->edges[14], 0); /* the drive waits for ever */
  ck_assert_uint_eq(inb(c->rig, BM + 2) & 7, 0);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x58);
  outb(c->rig, BM, 0);
  outb(c->rig, 0x3f6, 4);
  outb(c->rig, 0x3f6, 0);
  rig_run(c->rig, 1000000);
  ck_assert_uint_eq(inb(c->rig, 0x1f7), 0x50);
  ide_free(c);
}
END_TEST

START_TEST(dma_hostile_tables) {
  struct ide *c = ide_new(8192 * 512, BLOCK_WRITE, false);
  /* A table of two-byte pieces without an end, wrapping within its 64 KB, over itself. */
  for (uint32_t i = 0; i < 0x2000; i++)
    prd(c, i, PRD_TABLE + i * 8, 2, false);
  ide_address(c, 0, 0, 0);
  ide_command(c, 0x40, 0xca);
  bm_start(c, 0x01);
  rig_run(c->rig, 10000000);
  ck_assert_int_eq(c->rig->edges[14], 1);
  /* Addresses in nowhere and a table in nowhere (all ones: 65534 bytes at FFFFFFFEh, the end). */
  prd(c, 0, 0xf0000000, 0, false);
  prd(c, 1, 0xfffffffe, 0xfffe, true);
  ide_address(c, 0, 0, 255);
  ide_command(c, 0x40, 0xc8);
  bm_start(c, 0x09);
  rig_run(c->rig, 10000000);
  outb(c->rig, BM, 0);
  out(c->rig, BM + 4, 4, 0xfffffff0);
  outb(c->rig, BM, 9);
  ide_address(c, 0, 0, 1);
  ide_command(c, 0x40, 0xc8);
  rig_run(c->rig, 10000000);
  ck_assert_uint_eq(inb(c->rig, 0x1f7) & 0x80, 0);
  ide_free(c);
}
END_TEST

START_TEST(dma_needs_bus_master) {
  struct ide *c = ide_new(8192 * 512, 0, false);
  pci_config_write(c->bus, 9, 4, 2, 1);
  prd(c, 0, 0x20000, 0x200, true);
  ide_address(c, 0, 10, 1);
  ide_command(c, 0x40, 0xc8);
  bm_start(c, 0x09);
  rig_run(c->rig, 1000000);
  ck_assert_int_eq(c->rig->edges[14], 0);
  pci_config_write(c->bus, 9, 4, 2, 5);
  ide_wait_irq(c);
  ck_assert_uint_eq(mem_read(c->rig->set.mem, 0x20000, 4), 1280);
  ide_free(c);
}
END_TEST

START_TEST(state_round_trip) {
  struct ide *c = ide_new(8192 * 512, 0, false);
  uint8_t data[512];
  ide_address(c, 0, 5, 2);
  ide_command(c, 0x40, 0x20);
  ide_wait_irq(c);
  ide_read_data(c, data, 256);
  size_t size = state_size(piix3_ide_class.fields);
  uint8_t *saved = malloc(size);
  state_save(saved, c->dev, piix3_ide_class.fields);
  ide_read_data(c, data, 256);
  outb(c->rig, 0x3f6, 4);
  ck_assert_int_eq(state_load(saved, size, c->dev, piix3_ide_class.fields), 0);
  uint32_t word;
  ide_read_data(c, &word, 4);
  ck_assert_uint_eq(word, 5 * 128 + 64);
  free(saved);
  ide_free(c);
}
END_TEST

START_TEST(noise) {
  struct ide *c = ide_new(8192 * 512, BLOCK_WRITE, true);
  ide_noise(c, 11);
  ide_free(c);
}
END_TEST

Suite *suite_ide(void) {
  Suite *suite = suite_create("ide");
  TCase *tests = tcase_create("ide");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, identify);
  tcase_add_test(tests, read_pio);
  tcase_add_test(tests, multiple);
  tcase_add_test(tests, lba48);
  tcase_add_test(tests, errors);
  tcase_add_test(tests, full_disk);
  tcase_add_test(tests, other_commands);
  tcase_add_test(tests, resets);
  tcase_add_test(tests, missing_drives);
  tcase_add_test(tests, dma_read_write);
  tcase_add_test(tests, dma_large);
  tcase_add_test(tests, dma_short_table);
  tcase_add_test(tests, dma_hostile_tables);
  tcase_add_test(tests, dma_needs_bus_master);
  tcase_add_test(tests, state_round_trip);
  tcase_add_test(tests, noise);
  suite_add_tcase(suite, tests);
  return suite;
}
