/* SPDX-License-Identifier: MIT */
/* dragoman doctor IMAGE...: what is on an image, and which machine would suit it; see guests.h. */
#include <string.h>

#include "devices/block/block.h"
#include "frontends/guests.h"
#include "frontends/volume.h"

static void print_size(FILE *out, uint64_t bytes) {
  if (bytes < 10u << 20)
    fprintf(out, "%llu KB", (unsigned long long)(bytes >> 10));
  else
    fprintf(out, "%llu MB", (unsigned long long)(bytes >> 20));
}

static void print_choice(const struct guest_profile *p, FILE *out) {
  fprintf(out, "  --guest %s chooses: -cpu %s", p->name, p->cpu);
  if (p->cpu_mhz)
    fprintf(out, ",mhz=%u", p->cpu_mhz);
  fprintf(out, " -m %uM -vga %s", p->ram_mb, p->vga);
  if (p->sound)
    fprintf(out, " -device %s", p->sound);
  if (p->nic)
    fprintf(out, " -nic user,model=%s", p->nic);
  fprintf(out, " -rtc base=%s -machine acpi=%s", p->localtime ? "localtime" : "utc", p->acpi ? "on" : "off");
  if (p->ide_delay_us)
    fprintf(out, ",ide-delay=%u", p->ide_delay_us);
  fprintf(out, "\n  Why: %s\n", p->why);
  if (p->ram_max_mb)
    fprintf(out, "  It is known to fail with more than %u MB of memory.\n", p->ram_max_mb);
}

/* What will hinder it whatever the machine. */
static void print_trouble(const struct volume *v, uint64_t size, FILE *out) {
  if (size % SECTOR)
    fprintf(out, "  Trouble: the size is not a multiple of 512 bytes; perhaps the image was cut short.\n");
  if (v->kind >= VOLUME_FAT12 && v->kind <= VOLUME_FAT32 &&
      v->data + (uint64_t)v->clusters * v->cluster_size > size)
    fprintf(out, "  Trouble: the file system is larger than the image; it was cut short.\n");
}

static int examine(const char *path, FILE *out) {
  struct block *b;
  struct volume v;
  struct guest_finding f;
  const char *why = "";
  if (block_open(&b, path, 0, &why)) {
    fprintf(out, "%s\n", why);
    return 1;
  }
  volume_open(&v, b);
  guest_recognise(b, &f);
  fprintf(out, "%s: ", path);
  print_size(out, block_size(b));
  fprintf(out, ", %s%s", volume_kind_name(v.kind), v.partitioned ? " in a partition" : "");
  if (v.label[0])
    fprintf(out, ", label \"%s\"", v.label);
  fprintf(out, "\n  Recognised: %s (%s)\n", f.profile ? f.profile->title : "no system", f.evidence);
  print_trouble(&v, block_size(b), out);
  if (f.profile)
    print_choice(f.profile, out);
  else
    fprintf(out,
            "  Name it yourself, if you know it: --guest NAME ('dragoman --guest help' lists the names).\n");
  block_close(b);
  return 0;
}

int guest_doctor(int count, char **images, FILE *out) {
  int status = 0;
  if (!count) {
    fprintf(out, "Usage: dragoman doctor IMAGE...\nSays which system is on a disk image, and which machine "
                 "would suit it.\n");
    return 1;
  }
  for (int i = 0; i < count; i++)
    status |= examine(images[i], out);
  return status;
}
