/* SPDX-License-Identifier: MIT */
/*
 * Guest systems and the machine that each feels at home in: what it has drivers for in the box, and what it
 * cannot bear.
 * --guest NAME takes a profile's choices wherever the command line says nothing else; --guest auto looks into
 * the images.
 */
#ifndef FRONTENDS_GUESTS_H
#define FRONTENDS_GUESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct block;
struct options;

struct guest_profile {
  const char *name, *title;
  const char *cpu;  /* -cpu */
  uint32_t cpu_mhz; /* mhz=; 0: as fast as it goes */
  uint32_t ram_mb,
      ram_max_mb;  /* -m if nothing is said; above the second it is known to fail, 0 = no such limit */
  const char *vga; /* -vga */
  const char *sound, *nic; /* -device; NULL: none */
  bool localtime;          /* -rtc base=localtime */
  bool acpi;               /* -machine acpi=; without it APM and the PnP BIOS remain */
  uint32_t ide_delay_us;   /* -machine ide-delay=: its driver cannot bear an interrupt that comes too soon */
  const char *why;         /* the reasons, as sentences */
};

const struct guest_profile *guest_profile(size_t index);  /* NULL past the end */
const struct guest_profile *guest_find(const char *name); /* NULL: unknown */

struct guest_finding {
  const struct guest_profile *profile; /* NULL: not recognised */
  char evidence[160];                  /* what was seen */
};

/* Which system is on the image? The block stays the caller's. */
void guest_recognise(struct block *block, struct guest_finding *f);

/* --guest: fill in what the command line left open. 0; -1 with one line in `error`. */
int guest_apply(struct options *o, char *error, size_t size);

/* dragoman doctor IMAGE...: what is recognised in each, what would be chosen and why. The exit status. */
int guest_doctor(int count, char **images, FILE *out);

#endif
