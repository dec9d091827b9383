/* SPDX-License-Identifier: MIT */
/*
 * Disk reads: the pattern at a known place of this disk, once through the BIOS (INT 13h, with the extensions
 * or by cylinder, head and sector) and once from an ATA disk by programmed I/O (ATA-4, READ SECTORS and
 * IDENTIFY DEVICE). A machine whose disk is something else than ATA skips the second.
 */
#include "demo.h"

#define PATTERN_SIZE (PATTERN_SECTORS * 512)

static u32 pattern_crc(void) {
  u32 state = 1996;
  for (unsigned i = 0; i < PATTERN_SIZE; i++)
    BUFFER_B[i] = pattern_byte(&state);
  return crc32(BUFFER_B, PATTERN_SIZE);
}

/* --- BIOS --- */

static bool extensions(void) {
  struct bios_regs r = {.eax = 0x4100, .ebx = 0x55aa, .edx = boot_drive};
  bios_call(0x13, &r);
  return !(r.flags & 1) && (r.ebx & 0xffff) == 0xaa55 && (r.ecx & 1);
}

static bool read_lba(u32 lba, unsigned count) {
  struct {
    u8 size, zero;
    u16 count, offset, segment;
    u32 lba, lba_high;
  } *packet = (void *)(LOW_BUFFER + PATTERN_SIZE);
  *packet = (typeof(*packet)){.size = 16, .count = (u16)count, .segment = LOW_SEGMENT, .lba = lba};
  struct bios_regs r = {.eax = 0x4200, .edx = boot_drive, .esi = PATTERN_SIZE, .ds = LOW_SEGMENT};
  bios_call(0x13, &r);
  return !(r.flags & 1);
}

static bool read_chs(u32 lba, unsigned count) {
  struct bios_regs g = {.eax = 0x800, .edx = boot_drive};
  bios_call(0x13, &g);
  u32 track = g.ecx & 0x3f, heads = (g.edx >> 8 & 0xff) + 1;
  if ((g.flags & 1) || !track) {
    track = 18;
    heads = 2;
  }
  for (unsigned i = 0; i < count; i++, lba++) {
    u32 cylinder = lba / track / heads, head = lba / track % heads, sector = lba % track + 1;
    struct bios_regs r = {
        .eax = 0x201,
        .ebx = i * 512,
        .ecx = (cylinder & 0xff) << 8 | (cylinder >> 2 & 0xc0) | sector,
        .edx = head << 8 | boot_drive,
        .es = LOW_SEGMENT,
    };
    bios_call(0x13, &r);
    if (r.flags & 1)
      return false;
  }
  return true;
}

void disk_bios_test(void) {
  u32 wanted = pattern_crc();
  bool lba = extensions();
  memset(LOW_BUFFER, 0, PATTERN_SIZE);
  bool read = lba ? read_lba(PATTERN_LBA, PATTERN_SECTORS) : read_chs(PATTERN_LBA, PATTERN_SECTORS);
  u32 crc = crc32(LOW_BUFFER, PATTERN_SIZE);
  check("disk by the BIOS", read && crc == wanted, "drive %02x, %s, CRC %08x", (u32)boot_drive,
        lba ? "LBA" : "CHS", crc);
}

/* --- ATA --- */

static bool ata_wait(u16 base, u8 wanted) {
  for (u32 i = 0; i < 2000000; i++) {
    u8 status = inb(base + 7);
    if (status == 0xff || (!(status & 0x80) && (status & 0x21)))
      return false;
    if (!(status & 0x80) && (status & wanted) == wanted)
      return true;
  }
  return false;
}

static bool ata_command(u16 base, unsigned unit, u8 command, u32 lba, unsigned count, u16 *to) {
  outb(base + 6, (u8)(0xe0 | unit << 4 | (lba >> 24 & 15)));
  for (int i = 0; i < 15; i++)
    inb(base + 0x206); /* 400 ns */
  if (!ata_wait(base, 0x40))
    return false;
  outb(base + 2, (u8)count);
  outb(base + 3, (u8)lba);
  outb(base + 4, (u8)(lba >> 8));
  outb(base + 5, (u8)(lba >> 16));
  outb(base + 7, command);
  for (unsigned i = 0; i < count; i++) {
    if (!ata_wait(base, 0x48))
      return false;
    for (unsigned j = 0; j < 256; j++)
      *to++ = inw(base);
  }
  return true;
}

static void model_name(const u16 *identity, char *name) {
  unsigned length = 0;
  for (unsigned i = 0; i < 40; i++) {
    name[i] = (char)(identity[27 + i / 2] >> (i & 1 ? 0 : 8));
    if (name[i] != ' ')
      length = i + 1;
  }
  name[length < 24 ? length : 24] = 0;
}

void disk_ata_test(void) {
  static const u16 bases[] = {0x1f0, 0x170};
  u16 *buffer = (u16 *)BUFFER_A;
  for (unsigned i = 0; i < 4; i++) {
    u16 base = bases[i / 2];
    unsigned irq = 14 + i / 2;
    char name[41];
    if (inb(base + 7) == 0xff || !ata_command(base, i & 1, 0xec, 0, 1, buffer))
      continue;
    model_name(buffer, name);
    u32 sectors = buffer[60] | (u32)buffer[61] << 16;
    if (!ata_command(base, i & 1, 0x20, 0, 1, buffer) || memcmp((u8 *)buffer + 3, "DRAGOMAN", 8))
      continue;
    irq_enable(irq, true);
    u32 before = irq_count[irq];
    bool read = ata_command(base, i & 1, 0x20, PATTERN_LBA, PATTERN_SECTORS, buffer);
    wait_ticks(2);
    u32 interrupts = irq_count[irq] - before;
    irq_enable(irq, false);
    u32 crc = crc32((u8 *)buffer, PATTERN_SIZE);
    check("disk by ATA PIO", read && crc == pattern_crc(), "%s, %u sectors, CRC %08x", name, sectors, crc);
    check("disk interrupt", interrupts > 0 && interrupts <= PATTERN_SECTORS + 1, "IRQ%u, %u times", irq,
          interrupts);
    return;
  }
  report("disk by ATA PIO", SKIPPED, "this disk is on no ATA channel");
}
