/* SPDX-License-Identifier: MIT */
/* The board as the monitor sees it: media changes, and what info block, pci, pic and qtree print. */
#include <string.h>

#include "core/state.h"
#include "devices/apic.h"
#include "devices/fdc82077.h"
#include "devices/ide.h"
#include "devices/ioapic.h"
#include "devices/pc.h"
#include "devices/pic.h"
#include "devices/usb/storage.h"

/* QEMU's names of IDE drives: channel, then hd or cd, then the unit on the channel. */
static void ide_name(const struct pc *pc, int drive, char *name, size_t size) {
  snprintf(name, size, "ide%d-%s%d", drive / 2, ide_is_cdrom(pc->ide, drive) ? "cd" : "hd", drive % 2);
}

static int ide_find(const struct pc *pc, const char *drive) {
  for (int i = 0; i < 4; i++) {
    char name[16];
    ide_name(pc, i, name, sizeof name);
    if (ide_present(pc->ide, i) && strcmp(name, drive) == 0)
      return i;
  }
  return -1;
}

static int floppy_find(const struct pc *pc, const char *drive) {
  for (int i = 0; i < 2; i++) {
    const char name[] = {'f', 'l', 'o', 'p', 'p', 'y', (char)('0' + i), '\0'};
    if (fdc_drive_type(pc->fdc, i) != FDC_DRIVE_NONE && strcmp(name, drive) == 0)
      return i;
  }
  return -1;
}

int board_change_media(struct machine *m, const char *drive, struct block *block, bool force) {
  struct pc *pc = m->board;
  int n = floppy_find(pc, drive);
  if (n >= 0)
    return fdc_change_media(pc->fdc, n, block);
  n = ide_find(pc, drive);
  return n >= 0 ? ide_change_media(pc->ide, n, block, force) : -ENODEV;
}

static void info_medium(FILE *out, const char *name, const struct block *b, bool removable, bool locked,
                        bool open) {
  if (!b) {
    fprintf(out, "%s: [not inserted]\n", name);
  } else {
    fprintf(out, "%s: %s (%s%s)\n", name, block_path(b), block_format_name(b),
            block_writable(b) ? "" : ", read-only");
  }
  if (removable)
    fprintf(out, "    Removable device: %slocked, tray %s\n", locked ? "" : "not ", open ? "open" : "closed");
  const struct block *backing = b ? block_backing(b) : NULL;
  unsigned depth = 0;
  for (const struct block *at = backing; at; at = block_backing(at))
    depth++;
  if (backing)
    fprintf(out, "    Backing file:     %s (%s, chain depth: %u)\n", block_path(backing),
            block_format_name(backing), depth);
  if (b)
    fprintf(out, "    Cache mode:       writeback\n");
}

void board_info_block(struct machine *m, FILE *out) {
  struct pc *pc = m->board;
  const char *between = "";
  for (int i = 0; i < 4; i++) {
    if (!ide_present(pc->ide, i))
      continue;
    char name[16];
    ide_name(pc, i, name, sizeof name);
    fputs(between, out);
    between = "\n";
    info_medium(out, name, ide_media(pc->ide, i), ide_is_cdrom(pc->ide, i), ide_tray_locked(pc->ide, i),
                ide_tray_open(pc->ide, i));
  }
  for (int i = 0; i < 2; i++) {
    if (fdc_drive_type(pc->fdc, i) == FDC_DRIVE_NONE)
      continue;
    char name[16];
    snprintf(name, sizeof name, "floppy%d", i);
    fputs(between, out);
    between = "\n";
    info_medium(out, name, fdc_media(pc->fdc, i), true, false, false);
  }
  for (const struct device *dev = m->devices.first; dev; dev = dev->next)
    if (dev->cls == &usb_storage_class) {
      fputs(between, out);
      between = "\n";
      info_medium(out, dev->id, usb_storage_block(dev), false, false, false);
    }
}

void board_info_pci(struct machine *m, FILE *out) { pci_bus_info(((struct pc *)m->board)->pci, out); }

void board_info_pic(struct machine *m, FILE *out) {
  struct pc *pc = m->board;
  pic_info(pc->pic, out);
  if (pc->ioapic)
    ioapic_info(pc->ioapic, out);
  if (pc->apic)
    apic_info(pc->apic, out);
}

void board_info_qtree(struct machine *m, FILE *out) {
  for (const struct device *dev = m->devices.first; dev; dev = dev->next) {
    fprintf(out, "%s (%s)\n", dev->id, dev->cls->name);
    state_print(out, dev, dev->cls->fields);
  }
}

int board_flush(struct machine *m) {
  struct pc *pc = m->board;
  int first = 0;
  for (int i = 0; i < 6; i++) {
    struct block *b = i < 4 ? ide_media(pc->ide, i) : fdc_media(pc->fdc, i - 4);
    int error = b ? block_flush(b) : 0;
    if (error && !first)
      first = error;
  }
  for (const struct device *dev = m->devices.first; dev; dev = dev->next) {
    int error = dev->cls == &usb_storage_class ? block_flush(usb_storage_block(dev)) : 0;
    if (error && !first)
      first = error;
  }
  return first;
}
