/* SPDX-License-Identifier: MIT */
/* The profiles, and how one is laid under a command line; see guests.h. */
#include "frontends/guests.h"

#include <string.h>

#include "devices/block/block.h"
#include "devices/board.h"
#include "frontends/options.h"
#include "frontends/volume.h"

/* The slowest that finds 33 to 100 MHz strange is not known; the fastest that Windows 95's delay loops bear
 * is. */
static const struct guest_profile profiles[] = {
    {.name = "dos",
     .title = "DOS (FreeDOS, MS-DOS, PC DOS, DR-DOS)",
     .cpu = "pentium",
     .cpu_mhz = 200,
     .ram_mb = 32,
     .vga = "cirrus",
     .sound = "sb16",
     .nic = "ne2k_isa",
     .localtime = true,
     .why = "DOS keeps local time. Its programs know a Sound Blaster at 220h, IRQ 5, DMA 1 and an NE2000 at "
            "300h; run-time "
            "libraries of the time divide by zero on processors of a gigahertz (-cpu pentium,mhz=33 for "
            "older games)."},
    {.name = "win3",
     .title = "Windows 3.x",
     .cpu = "pentium",
     .cpu_mhz = 100,
     .ram_mb = 32,
     .ram_max_mb = 256,
     .vga = "cirrus",
     .sound = "sb16",
     .nic = "ne2k_isa",
     .localtime = true,
     .why = "It has drivers for Cirrus Logic, Sound Blaster and NE2000; 386 enhanced mode's memory tables "
            "end at 256 MB."},
    {.name = "win95",
     .title = "Windows 95",
     .cpu = "pentium2",
     .cpu_mhz = 300,
     .ram_mb = 64,
     .ram_max_mb = 480,
     .vga = "cirrus",
     .sound = "sb16",
     .nic = "ne2k_pci",
     .localtime = true,
     .why = "Its delay loops divide by zero at about 2 GHz, its cache runs out of addresses above 480 MB; "
            "Cirrus 5446, Sound "
            "Blaster 16 and NE2000 drivers are in the box, power goes by APM."},
    {.name = "win98",
     .title = "Windows 98",
     .cpu = "pentium2",
     .cpu_mhz = 450,
     .ram_mb = 128,
     .ram_max_mb = 512,
     .vga = "cirrus",
     .sound = "sb16",
     .nic = "pcnet",
     .localtime = true,
     .why = "As Windows 95, with a PCnet driver in the box. Without ACPI it takes the APM and PnP BIOS, "
            "which its setup prefers "
            "on machines of its time."},
    {.name = "winme",
     .title = "Windows ME",
     .cpu = "pentium3",
     .cpu_mhz = 700,
     .ram_mb = 128,
     .ram_max_mb = 512,
     .vga = "cirrus",
     .sound = "ES1370",
     .nic = "pcnet",
     .localtime = true,
     .acpi = true,
     .why = "It leans on ACPI; ES1370 and PCnet drivers are in the box."},
    {.name = "nt3",
     .title = "Windows NT 3.x",
     .cpu = "pentium",
     .ram_mb = 64,
     .vga = "cirrus",
     .sound = "sb16",
     .nic = "ne2k_isa",
     .localtime = true,
     .why = "It refuses processor families that it does not know; it looks for an NE2000 at 300h, IRQ 10."},
    {.name = "nt4",
     .title = "Windows NT 4.0",
     .cpu = "pentium2",
     .ram_mb = 64,
     .vga = "cirrus",
     .sound = "sb16",
     .nic = "pcnet",
     .localtime = true,
     .why = "Before SP6 it stops at CPUID leaves above 3. Standard PC HAL without ACPI; Cirrus 5446, Sound "
            "Blaster 16 and PCnet "
            "are in the box."},
    {.name = "win2000",
     .title = "Windows 2000",
     .cpu = "pentium3",
     .ram_mb = 256,
     .vga = "cirrus",
     .sound = "ES1370",
     .nic = "pcnet",
     .localtime = true,
     .acpi = true,
     .ide_delay_us = 1000,
     .why =
         "Its setup writes garbage if a disk's interrupt comes too soon: completion takes a millisecond. "
         "Cirrus, ES1370 and "
         "PCnet are in the box; the HAL is chosen at setup by ACPI, so keep -machine acpi= as it was then."},
    {.name = "winxp",
     .title = "Windows XP",
     .cpu = "pentium3",
     .ram_mb = 512,
     .vga = "cirrus",
     .sound = "ES1370",
     .nic = "rtl8139",
     .localtime = true,
     .acpi = true,
     .why = "It wants CMPXCHG8B and uses SSE if it is there; Cirrus, ES1370 and RTL8139 are in the box; the "
            "HAL is chosen at "
            "setup by ACPI, so keep -machine acpi= as it was then."},
    {.name = "reactos",
     .title = "ReactOS",
     .cpu = "pentium3",
     .ram_mb = 256,
     .vga = "std",
     .sound = "AC97",
     .nic = "rtl8139",
     .localtime = true,
     .acpi = true,
     .why = "Its VBE display driver goes up to any mode of -vga std; builds by today's compilers need CMOV."},
    {.name = "os2",
     .title = "OS/2",
     .cpu = "pentium",
     .cpu_mhz = 200,
     .ram_mb = 64,
     .ram_max_mb = 512,
     .vga = "cirrus",
     .sound = "sb16",
     .nic = "ne2k_isa",
     .localtime = true,
     .why = "It keeps local time and knows Sound Blaster and NE2000."},
    {.name = "kolibri",
     .title = "KolibriOS or MenuetOS",
     .cpu = "pentium3",
     .ram_mb = 128,
     .vga = "std",
     .sound = "AC97",
     .nic = "rtl8139",
     .localtime = true,
     .acpi = true,
     .why = "It sets its screen by VBE, and has AC97 and RTL8139 drivers."},
    {.name = "linux",
     .title = "Linux",
     .cpu = "max",
     .ram_mb = 512,
     .vga = "std",
     .sound = "AC97",
     .nic = "rtl8139",
     .acpi = true,
     .why = "It keeps UTC and finds everything by PCI."},
};
#define PROFILES (sizeof profiles / sizeof profiles[0])

const struct guest_profile *guest_profile(size_t index) { return index < PROFILES ? &profiles[index] : NULL; }

const struct guest_profile *guest_find(const char *name) {
  for (size_t i = 0; i < PROFILES; i++)
    if (!strcmp(profiles[i].name, name))
      return &profiles[i];
  return NULL;
}

/* --- recognising --- */

static bool there(struct volume *v, const char *path) {
  struct volume_file file;
  return volume_find(v, path, &file);
}

/* Does the beginning of the file hold the text, letters of either size? */
static bool says(struct volume *v, const char *path, const char *text) {
  struct volume_file file;
  char buf[8193];
  return volume_find(v, path, &file) && !file.directory && volume_read(v, &file, buf, sizeof buf - 1) &&
         strcasestr(buf, text);
}

static bool found(struct guest_finding *f, const char *name, const char *evidence) {
  f->profile = guest_find(name);
  snprintf(f->evidence, sizeof f->evidence, "%s", evidence);
  return true;
}

/* A file that only one system's disk has; the first in the list that is there counts. */
struct mark {
  const char *path, *text; /* text NULL: the file's being there is enough */
  const char *profile;
};

static bool find_mark(struct volume *v, const struct mark *marks, struct guest_finding *f) {
  for (const struct mark *m = marks; m->path; m++) {
    if (!(m->text ? says(v, m->path, m->text) : there(v, m->path)))
      continue;
    f->profile = guest_find(m->profile);
    snprintf(f->evidence, sizeof f->evidence, m->text ? "%s says \"%s\"" : "%s is there", m->path, m->text);
    return true;
  }
  return false;
}

static const struct mark disk_marks[] = {
    {"FREELDR.SYS", NULL, "reactos"},
    {"FREELDR.INI", NULL, "reactos"},
    {"REACTOS/SYSTEM32", NULL, "reactos"},
    {"BOOT.INI", "ReactOS", "reactos"},
    {"BOOT.INI", "Windows XP", "winxp"},
    {"BOOT.INI", "Windows 2000", "win2000"},
    {"BOOT.INI", "Version 4.0", "nt4"},
    {"BOOT.INI", "Version 3.", "nt3"},
    {"WINNT/SYSTEM32/DRIVERS/ACPI.SYS", NULL, "win2000"},
    {"WINDOWS/SYSTEM32/DRIVERS/ACPI.SYS", NULL, "winxp"},
    {"NTLDR", NULL, "nt4"},
    {"MSDOS.SYS", "WinVer=4.9", "winme"},
    {"MSDOS.SYS", "WinVer=4.1", "win98"},
    {"MSDOS.SYS", "[Paths]", "win95"},
    {"WINDOWS/PROGMAN.EXE", NULL, "win3"},
    {"WIN/PROGMAN.EXE", NULL, "win3"},
    {"OS2LDR", NULL, "os2"},
    {"OS2BOOT", NULL, "os2"},
    {"KERNEL.MNT", NULL, "kolibri"},
    {"KERNEL.SYS", NULL, "dos"},
    {"IBMBIO.COM", NULL, "dos"},
    {"DRBIOS.SYS", NULL, "dos"},
    {"IO.SYS", NULL, "dos"},
    {"LDLINUX.SYS", NULL, "linux"},
    {"VMLINUZ", NULL, "linux"},
    {"BOOT/GRUB", NULL, "linux"},
    {NULL, NULL, NULL},
};

static const struct mark cd_marks[] = {
    {"FREELDR.SYS", NULL, "reactos"},
    {"LOADER/SETUPLDR.SYS", NULL, "reactos"},
    {"REACTOS", NULL, "reactos"},
    {"WIN51", NULL, "winxp"},
    {"CDROM_NT.5", NULL, "win2000"},
    {"CDROM_IP.5", NULL, "win2000"},
    {"CDROM_IS.5", NULL, "win2000"},
    {"CDROM_W.40", NULL, "nt4"},
    {"CDROM_S.40", NULL, "nt4"},
    {"CDROM.40", NULL, "nt4"},
    {"WIN9X", NULL, "winme"},
    {"WIN98", NULL, "win98"},
    {"WIN95", NULL, "win95"},
    {"OS2IMAGE", NULL, "os2"},
    {"KERNEL.MNT", NULL, "kolibri"},
    {"FREEDOS", NULL, "dos"},
    {"KERNEL.SYS", NULL, "dos"},
    {"ISOLINUX", NULL, "linux"},
    {"CASPER", NULL, "linux"},
    {"LIVE", NULL, "linux"},
    {"BOOT/GRUB", NULL, "linux"},
    {"INSTALL.386", NULL, "linux"},
    {NULL, NULL, NULL},
};

/* NTFS says by its version who made it: 1.x NT up to 4.0, 3.0 Windows 2000, 3.1 XP and later. */
static bool recognise_ntfs(const struct volume *v, struct guest_finding *f) {
  const char *name = v->ntfs_major == 3 && v->ntfs_minor >= 1 ? "winxp"
                     : v->ntfs_major == 3                     ? "win2000"
                     : v->ntfs_major                          ? "nt4"
                                                              : NULL;
  if (!name)
    return false;
  char evidence[64];
  snprintf(evidence, sizeof evidence, "NTFS version %u.%u", v->ntfs_major, v->ntfs_minor);
  return found(f, name, evidence);
}

void guest_recognise(struct block *block, struct guest_finding *f) {
  struct volume v;
  *f = (struct guest_finding){0};
  volume_open(&v, block);
  switch (v.kind) {
  case VOLUME_NONE: snprintf(f->evidence, sizeof f->evidence, "no file system that is known here"); return;
  case VOLUME_LINUX: found(f, "linux", "a Linux partition"); return;
  case VOLUME_HPFS: found(f, "os2", "an HPFS partition"); return;
  case VOLUME_NTFS:
    if (!recognise_ntfs(&v, f))
      snprintf(f->evidence, sizeof f->evidence, "NTFS without a version");
    return;
  case VOLUME_ISO:
    if (find_mark(&v, cd_marks, f))
      return;
    break;
  default:
    if (find_mark(&v, disk_marks, f))
      return;
  }
  snprintf(f->evidence, sizeof f->evidence, "%s without the files of a system that is known here",
           volume_kind_name(v.kind));
}

static bool recognise_image(const char *path, struct guest_finding *f, char *error, size_t size) {
  struct block *b;
  const char *why = "";
  if (block_open(&b, path, 0, &why)) {
    snprintf(error, size, "%s", why);
    return false;
  }
  guest_recognise(b, f);
  block_close(b);
  return true;
}

/* --- applying --- */

/* Hard disks count before CDs, and these before floppies: a system that is installed is what will run. */
static const struct guest_profile *look_at_images(const struct options *o) {
  static const int order[] = {0, 1, 3, 2, FLOPPY_DRIVE(0), FLOPPY_DRIVE(1)};
  for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
    struct guest_finding f;
    char error[256];
    const char *file = o->drive[order[i]].file;
    if (file && recognise_image(file, &f, error, sizeof error) &&
        f.profile) /* what can't be opened is told later */
      return f.profile;
  }
  return o->kernel ? guest_find("linux") : NULL;
}

/* Is a device of this list on the command line already? */
static bool has_device(const struct options *o, const char *const *list) {
  for (unsigned i = 0; i < o->device_count; i++)
    for (const char *const *name = list; *name; name++)
      if (!strcasecmp(o->device[i].driver, *name))
        return true;
  return false;
}

static void add_device(struct options *o, const char *driver) {
  if (driver && board_driver_find(driver) && o->device_count < OPTIONS_DEVICES)
    o->device[o->device_count++] = (struct device_option){.driver = driver};
}

int guest_apply(struct options *o, char *error, size_t size) {
  static const char *const sound_cards[] = {"sb16", "adlib", "ES1370", "AC97", NULL};
  if (!o->guest || !strcmp(o->guest, "none"))
    return 0;
  bool look = !strcmp(o->guest, "auto");
  const struct guest_profile *p = look ? look_at_images(o) : guest_find(o->guest);
  if (!p && look)
    return 0;
  if (!p) {
    snprintf(error, size, "--guest %s: not known; 'dragoman --guest help' lists the names", o->guest);
    return -1;
  }
  o->profile = p;
  if (!o->cpu && !o->counted) {
    o->cpu = p->cpu;
    o->cpu_mhz = p->cpu_mhz;
  }
  if (!o->ram_given)
    o->ram_mb = p->ram_mb;
  if (!o->vga_given)
    o->vga = !strcmp(p->vga, "cirrus") ? BOARD_VGA_CIRRUS : BOARD_VGA_STD;
  if (!o->rtc_base_given && !o->counted)
    o->rtc_localtime = p->localtime;
  if (!o->acpi_given)
    o->acpi = p->acpi;
  if (!o->ide_delay_given)
    o->ide_delay_us = p->ide_delay_us;
  if (!has_device(o, sound_cards))
    add_device(o, p->sound);
  options_default_card(o, p->nic);
  return 0;
}
