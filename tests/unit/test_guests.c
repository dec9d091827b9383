/* SPDX-License-Identifier: MIT */
/* Which system is on an image, from file systems made here; and what --guest makes of a command line. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "frontends/guests.h"
#include "frontends/options.h"
#include "frontends/volume.h"

#define IMAGE (1440 * 1024)
#define ROOT_ENTRIES 64u

static uint8_t image[IMAGE];

static void put16(uint8_t *p, uint32_t v) {
  p[0] = (uint8_t)v;
  p[1] = (uint8_t)(v >> 8);
}
static void put32(uint8_t *p, uint32_t v) {
  put16(p, v);
  put16(p + 2, v >> 16);
}

/* --- FAT: sectors of 512 bytes, one a cluster, one FAT of 12 sectors (FAT32: 32), root directory in cluster
 * 2 or before it --- */

struct fat {
  uint32_t base, next; /* sector of the boot sector, next free cluster */
  bool fat32, fat16;
};

static uint32_t fat_sectors(const struct fat *f) { return f->fat32 ? 16 : 12; }
static uint32_t first_data(const struct fat *f) {
  return f->base + 1 + fat_sectors(f) + (f->fat32 ? 0 : ROOT_ENTRIES * 32 / 512);
}
static uint8_t *cluster(const struct fat *f, uint32_t n) { return image + (first_data(f) + n - 2) * 512; }

static void set_fat(const struct fat *f, uint32_t n, uint32_t value) {
  uint8_t *t = image + (f->base + 1) * 512;
  if (f->fat32) {
    put32(t + n * 4, value);
  } else if (f->fat16) {
    put16(t + n * 2, value);
  } else {
    uint32_t old = t[n * 3 / 2] | t[n * 3 / 2 + 1] << 8;
    put16(t + n * 3 / 2, n & 1 ? (old & 0xf) | value << 4 : (old & 0xf000) | (value & 0xfff));
  }
}

/* What the boot sector says decides which FAT it is: by the number of clusters, which may exceed the image's.
 */
static struct fat format(uint32_t base, uint32_t sectors, bool fat32) {
  struct fat f = {.base = base, .next = fat32 ? 3 : 2, .fat32 = fat32, .fat16 = !fat32 && sectors > 5000};
  uint8_t *b = image + base * 512;
  memcpy(b, "\xeb\x3c\x90TEST    ", 11);
  put16(b + 11, 512);
  b[13] = 1;
  put16(b + 14, 1);
  b[16] = 1;
  put16(b + 17, fat32 ? 0 : ROOT_ENTRIES);
  put32(b + 32, sectors);
  put16(b + 22, fat32 ? 0 : fat_sectors(&f));
  if (fat32) {
    put32(b + 36, fat_sectors(&f));
    put32(b + 44, 2);
    set_fat(&f, 2, 0x0fffffff);
  }
  memcpy(b + (fat32 ? 71 : 43), "MY DISK    ", 11);
  put16(b + 510, 0xaa55);
  return f;
}

/* Enter "NAME    EXT" into a directory (cluster 0: the root) with these contents; returns the first cluster.
 */
static uint32_t add(struct fat *f, uint32_t dir, const char *name, bool directory, const char *contents,
                    uint32_t size) {
  uint32_t first = f->next, count = directory ? 1 : (size + 511) / 512;
  uint8_t *e = dir        ? cluster(f, dir)
               : f->fat32 ? cluster(f, 2)
                          : image + (f->base + 1 + fat_sectors(f)) * 512;
  while (*e)
    e += 32;
  memcpy(e, name, 11);
  e[11] = directory ? 0x10 : 0x20;
  put16(e + 26, size || directory ? first : 0);
  put32(e + 28, directory ? 0 : size);
  for (uint32_t i = 0; i < count; i++) {
    set_fat(f, f->next, i + 1 < count ? f->next + 1 : 0x0fffffff);
    if (!directory)
      memcpy(cluster(f, f->next), contents + i * 512, size - i * 512 < 512 ? size - i * 512 : 512);
    f->next++;
  }
  return first;
}

static const char *recognised(struct guest_finding *f) {
  struct block *b = block_open_memory("test", image, sizeof image);
  guest_recognise(b, f);
  block_close(b);
  return f->profile ? f->profile->name : "nothing";
}

#define IS(name)                                                                                             \
  do {                                                                                                       \
    struct guest_finding f_;                                                                                 \
    const char *got_ = recognised(&f_);                                                                      \
    ck_assert_msg(!strcmp(got_, name), "%s, not %s (%s)", got_, name, f_.evidence);                          \
  } while (0)

static struct fat floppy(void) {
  memset(image, 0, sizeof image);
  return format(0, 2880, false);
}

START_TEST(dos_disks) {
  memset(image, 0, sizeof image);
  IS("nothing");
  struct fat f = floppy();
  IS("nothing");
  add(&f, 0, "KERNEL  SYS", false, "x", 1);
  IS("dos");
  f = floppy();
  add(&f, 0, "IO      SYS", false, "x", 1);
  IS("dos");
  add(&f, add(&f, 0, "WINDOWS    ", true, NULL, 0), "PROGMAN EXE", false, "x", 1);
  IS("win3");
  f = floppy();
  add(&f, 0, "KERNEL  MNT", false, "x", 1);
  IS("kolibri");
}
END_TEST

/* The text that tells them apart lies behind the first cluster. */
START_TEST(windows_9x) {
  static const struct {
    const char *text, *name;
  } cases[] = {{"[Paths]\r\nWinDir=C:\\WINDOWS", "win95"},
               {"[Paths]\r\n[Options]\r\nWinVer=4.10.2222", "win98"},
               {"[paths]\r\n[options]\r\nwinver=4.90.3000", "winme"},
               {"binary", "dos"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    char text[1024] = {0};
    memset(text, ';', 700);
    memcpy(text + 700, cases[i].text, strlen(cases[i].text));
    struct fat f = floppy();
    add(&f, 0, "IO      SYS", false, "x", 1);
    add(&f, 0, "MSDOS   SYS", false, text, 1000);
    IS(cases[i].name);
  }
}
END_TEST

START_TEST(windows_nt) {
  static const struct {
    const char *ini, *name;
  } cases[] = {{"\"Windows NT Workstation Version 4.00\"", "nt4"},
               {"\"Windows NT Server Version 3.51\"", "nt3"},
               {"\"Microsoft Windows 2000 Professional\"", "win2000"},
               {"\"Microsoft Windows XP Professional\"", "winxp"},
               {"\"ReactOS\"", "reactos"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    for (int kind = 0; kind < 2; kind++) { /* FAT16 and FAT32 in the active partition */
      memset(image, 0, sizeof image);
      put16(image + 510, 0xaa55);
      uint8_t *p = image + 446 + 16; /* the second; before it one that is not active */
      p[-16 + 4] = 6;
      put32(p - 16 + 8, 1);
      p[0] = 0x80;
      p[4] = kind ? 0x0b : 6;
      put32(p + 8, 63);
      struct fat f = format(63, kind ? 70000 : 20000, kind);
      add(&f, 0, "NTLDR      ", false, "x", 1);
      add(&f, 0, "BOOT    INI", false, cases[i].ini, (uint32_t)strlen(cases[i].ini));
      IS(cases[i].name);
    }
  }
}
END_TEST

START_TEST(ntfs) {
  static const struct {
    uint8_t major, minor;
    const char *name;
  } cases[] = {{1, 2, "nt4"}, {3, 0, "win2000"}, {3, 1, "winxp"}, {0, 0, "nothing"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    memset(image, 0, sizeof image);
    memcpy(image + 3, "NTFS    ", 8);
    put16(image + 11, 512);
    image[13] = 8;
    put32(image + 48, 4); /* cluster of the MFT */
    image[64] = 0xf6;     /* records of 2^10 bytes */
    uint8_t *r = image + 4 * 4096 + 3 * 1024;
    memcpy(r, "FILE", 4);
    put16(r + 20, 0x38);
    uint8_t *a = r + 0x38;
    put32(a, 0x10);
    put32(a + 4, 0x60);
    a += 0x60;
    put32(a, 0x70);
    put32(a + 4, 0x28);
    put16(a + 20, 0x18);
    a[0x18 + 8] = cases[i].major;
    a[0x18 + 9] = cases[i].minor;
    put32(a + 0x28, 0xffffffff);
    IS(cases[i].name);
  }
}
END_TEST

/* One more record in the directory at extent 20. */
static uint8_t *iso_record(uint8_t *r, const char *name, uint8_t flags, uint32_t extent, uint32_t size) {
  uint8_t n = (uint8_t)strlen(name);
  r[0] = (uint8_t)((33 + n + 1) & ~1);
  put32(r + 2, extent);
  put32(r + 10, size);
  r[25] = flags;
  r[32] = n;
  memcpy(r + 33, name, n);
  return r + r[0];
}

static void iso(const char *name, uint8_t flags) {
  memset(image, 0, sizeof image);
  uint8_t *pvd = image + 16 * 2048;
  memcpy(pvd, "\1CD001", 6);
  memcpy(pvd + 40, "A_CD                            ", 32);
  put32(pvd + 156 + 2, 20);
  put32(pvd + 156 + 10, 2048);
  uint8_t *r = iso_record(image + 20 * 2048, "README.TXT;1", 0, 21, 5);
  iso_record(r, name, flags, 22, 2048);
}

START_TEST(cds) {
  static const struct {
    const char *entry;
    uint8_t flags;
    const char *name;
  } cases[] = {{"WIN51.;1", 0, "winxp"},        {"CDROM_NT.5;1", 0, "win2000"}, {"CDROM_W.40;1", 0, "nt4"},
               {"WIN98", 2, "win98"},           {"win95", 2, "win95"},          {"ISOLINUX", 2, "linux"},
               {"FREELDR.SYS;1", 0, "reactos"}, {"SOMETHING.;1", 0, "nothing"}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    iso(cases[i].entry, cases[i].flags);
    IS(cases[i].name);
  }
}
END_TEST

/* Damaged in every way: any answer will do. */
START_TEST(hostile) {
  uint64_t seed = 88172645463325252ull;
  for (int round = 0; round < 4000; round++) {
    if (round & 1) {
      iso("ISOLINUX", 2);
    } else {
      struct fat f = floppy();
      uint32_t dir = add(&f, 0, "WINDOWS    ", true, NULL, 0);
      add(&f, dir, "PROGMAN EXE", false, "x", 1);
      add(&f, 0, "MSDOS   SYS", false, "[Paths]", 7);
    }
    for (int i = 0; i < 24; i++) {
      seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
      uint32_t at = (uint32_t)(seed >> 20) % (i & 1 ? 64 : round & 1 ? 2048 * 2 : 512 * 24);
      image[at + (round & 1 ? (i & 1 ? 16 * 2048 + 150 : 19 * 2048) : 0)] = (uint8_t)(seed >> 8);
    }
    struct guest_finding f;
    recognised(&f);
  }
}
END_TEST

static struct options o;
static char error[256];

static int apply(const char *line) {
  static char buf[256];
  char *argv[32] = {"dragoman"};
  int argc = 1;
  snprintf(buf, sizeof buf, "%s", line);
  for (char *save, *word = strtok_r(buf, " ", &save); word; word = strtok_r(NULL, " ", &save))
    argv[argc++] = word;
  options_free(&o);
  ck_assert_msg(options_parse(&o, argc, argv, error, sizeof error) == 0, "%s", error);
  return guest_apply(&o, error, sizeof error);
}

START_TEST(profiles) {
  ck_assert_int_eq(apply("-hda x"), 0);
  ck_assert_ptr_null(o.profile);
  ck_assert(o.acpi);
  ck_assert_int_eq(apply("--guest win95 -hda x"), 0);
  ck_assert_str_eq(o.cpu, "pentium2");
  ck_assert_uint_eq(o.cpu_mhz, 300);
  ck_assert_uint_eq(o.ram_mb, 64);
  ck_assert_int_eq(o.vga, BOARD_VGA_CIRRUS);
  ck_assert(o.rtc_localtime && !o.acpi);
  ck_assert_uint_eq(o.device_count, CONFIG_SLIRP + 1u);
  ck_assert_str_eq(o.device[CONFIG_SLIRP].driver, "sb16");
  if (CONFIG_SLIRP) { /* the card that every machine has is one that the guest knows */
    ck_assert_str_eq(o.device[0].driver, "ne2k_pci");
    ck_assert_str_eq(o.netdev[0].card, "ne2k_pci.0");
  }
  /* What is said counts. */
  ck_assert_int_eq(apply("--guest win2000 -m 64 -cpu pentium -vga std -rtc base=utc -machine "
                         "acpi=off,ide-delay=5 -device ES1370 -nic none"),
                   0);
  ck_assert_str_eq(o.cpu, "pentium");
  ck_assert_uint_eq(o.cpu_mhz, 0);
  ck_assert_uint_eq(o.ram_mb, 64);
  ck_assert_int_eq(o.vga, BOARD_VGA_STD);
  ck_assert(!o.rtc_localtime && !o.acpi);
  ck_assert_uint_eq(o.ide_delay_us, 5);
  ck_assert_uint_eq(o.device_count, 1);
  ck_assert_int_eq(apply("--guest win2000"), 0);
  ck_assert_uint_eq(o.ide_delay_us, 1000);
  ck_assert(o.acpi);
  /* Counted runs keep their clock. */
  ck_assert_int_eq(apply("--guest win98 -icount on"), 0);
  ck_assert(!o.rtc_localtime && o.cpu_mhz == 0);
  ck_assert_int_eq(apply("--guest beos"), -1);
  ck_assert_ptr_nonnull(strstr(error, "beos"));
  ck_assert_int_eq(apply("--guest auto -hda /nonexistent"), 0);
  ck_assert_ptr_null(o.profile);
  options_free(&o);
}
END_TEST

/* Every profile's choices exist. */
START_TEST(choices) {
  for (size_t i = 0; guest_profile(i); i++) {
    const struct guest_profile *p = guest_profile(i);
    ck_assert_ptr_nonnull(cpu_model_find(p->cpu));
    ck_assert_ptr_nonnull(board_driver_find(p->sound));
    ck_assert(board_driver_find(p->nic) && board_driver_find(p->nic)->needs == DRIVER_NET);
    ck_assert(!strcmp(p->vga, "std") || !strcmp(p->vga, "cirrus"));
    ck_assert_ptr_eq(guest_find(p->name), p);
    ck_assert(!p->ram_max_mb || p->ram_mb <= p->ram_max_mb);
  }
}
END_TEST

Suite *suite_guests(void) {
  Suite *s = suite_create("guests");
  TCase *t = tcase_create("guests");
  tcase_set_timeout(t, 60);
  tcase_add_test(t, dos_disks);
  tcase_add_test(t, windows_9x);
  tcase_add_test(t, windows_nt);
  tcase_add_test(t, ntfs);
  tcase_add_test(t, cds);
  tcase_add_test(t, hostile);
  tcase_add_test(t, profiles);
  tcase_add_test(t, choices);
  suite_add_tcase(s, t);
  return s;
}
