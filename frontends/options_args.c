/* SPDX-License-Identifier: MIT */
/*
 * Options whose argument has a structure of its own: -m, -boot, -rtc, -icount, -device, -machine, -accel,
 * -display; and the contradictions between options that only show at the end.
 */
#include "frontends/options.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices/board.h"

#define COUNTED_BASE 946684800 /* 2000-01-01: a run that can be repeated must not know today's date */

/* -m [size=]N[K|M|G]; a plain number is megabytes. Fractions are allowed with a suffix (1.5G). */
int option_memory(struct option_parser *p, const char *arg) {
  const char *key, *value, *list = arg, *size = NULL;
  while (option_next(p, &list, &key, &value)) {
    if (value && !strcmp(key, "size"))
      size = value;
    else if (!value && !size)
      size = key;
    else
      return option_error(p, "-m %s: only a size is understood, for example -m 256M", arg);
  }
  char *end = NULL;
  double n = size && isdigit((unsigned char)*size) ? strtod(size, &end) : -1;
  if (n < 0 || !end || size[strspn(size, "0123456789.")] != *end)
    return option_error(p, "-m %s: not a size; write for example -m 256M or -m 1G", arg);
  double scale = 1;
  switch (toupper((unsigned char)*end)) {
  case 'K':
    scale = 1.0 / 1024;
    end++;
    break;
  case 'M': end++; break;
  case 'G':
    scale = 1024;
    end++;
    break;
  case 'T':
    scale = 1024 * 1024;
    end++;
    break;
  }
  if (toupper((unsigned char)*end) == 'B')
    end++;
  if (*end)
    return option_error(p, "-m %s: not a size; write for example -m 256M or -m 1G", arg);
  n *= scale;
  if (n < RAM_MB_MIN || n > RAM_MB_MAX)
    return option_error(p, "-m %s: the machine takes 1M to %uM of memory", arg, RAM_MB_MAX);
  p->o->ram_mb = (uint32_t)n;
  p->o->ram_given = true;
  return 0;
}

/* -cpu NAME[,mhz=N] */
int option_cpu(struct option_parser *p, const char *arg) {
  const char *key, *value, *list = arg;
  for (bool first = true; option_next(p, &list, &key, &value); first = false) {
    char *end = NULL;
    unsigned long n = value ? strtoul(value, &end, 10) : 0;
    if (first && !value) {
      p->o->cpu = key;
    } else if (first || strcmp(key, "mhz")) {
      return option_error(p, "-cpu %s: write NAME or NAME,mhz=N; 'dragoman -cpu help' lists the names", arg);
    } else if (!value || !isdigit((unsigned char)*value) || *end || n < 1 || n > 10000) {
      return option_error(p, "-cpu mhz=%s: 1 to 10000, for example -cpu 486,mhz=66", value ? value : "");
    } else {
      p->o->cpu_mhz = (uint32_t)n;
    }
  }
  if (p->o->cpu && (!strcmp(p->o->cpu, "help") || !strcmp(p->o->cpu, "?")))
    p->o->action = ACTION_CPU_HELP;
  return 0;
}

static int boot_letters(struct option_parser *p, const char *letters, const char **out) {
  unsigned seen = 0;
  for (const char *c = letters; *c; c++) {
    if (!strchr("acdn", *c))
      return option_error(p, "-boot: '%c' in '%s' is no boot device: a floppy, c disk, d CD-ROM, n network",
                          *c, letters);
    unsigned bit = 1u << (*c - 'a');
    if (seen & bit)
      return option_error(p, "-boot: '%c' appears twice in '%s'", *c, letters);
    seen |= bit;
  }
  if (!*letters)
    return option_error(p, "-boot: no device letter given: a floppy, c disk, d CD-ROM, n network");
  *out = letters;
  return 0;
}

int option_boot(struct option_parser *p, const char *arg) {
  const char *key, *value, *list = arg;
  bool strict;
  for (bool first = true; option_next(p, &list, &key, &value); first = false) {
    int r;
    if (!value && first)
      r = boot_letters(p, key, &p->o->boot_order);
    else if (!strcmp(key, "order") && value)
      r = boot_letters(p, value, &p->o->boot_order);
    else if (!strcmp(key, "once") && value)
      r = boot_letters(p, value, &p->o->boot_once);
    else if (!strcmp(key, "menu"))
      r = option_bool(p, "boot", key, value, &p->o->boot_menu);
    else if (!strcmp(key, "strict"))
      r = option_bool(p, "boot", key, value, &strict);
    else
      r = option_error(p, "-boot: '%s' is not understood; use order=, once= and menu=on", key);
    if (r < 0)
      return r;
  }
  return 0;
}

/* Date as 2001-02-03 or 2001-02-03T04:05:06, taken as UTC. */
static bool parse_date(const char *text, time_t *out) {
  struct tm tm = {0};
  int n = 0;
  if (sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
             &tm.tm_sec, &n) != 6 ||
      text[n]) {
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    n = 0;
    if (sscanf(text, "%4d-%2d-%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &n) != 3 || text[n])
      return false;
  }
  if (tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
      tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 59)
    return false;
  tm.tm_year -= 1900;
  tm.tm_mon--;
  *out = timegm(&tm);
  return true;
}

int option_rtc(struct option_parser *p, const char *arg) {
  const char *key, *value, *list = arg;
  while (option_next(p, &list, &key, &value)) {
    if (!value)
      return option_error(p, "-rtc %s: write base=utc|localtime|DATE and clock=host|vm", arg);
    if (!strcmp(key, "base")) {
      p->o->rtc_localtime = !strcmp(value, "localtime");
      p->o->rtc_base_given = true;
      p->o->rtc_base = (time_t)-1;
      if (!p->o->rtc_localtime && strcmp(value, "utc") && !parse_date(value, &p->o->rtc_base))
        return option_error(p, "-rtc base=%s: not utc, localtime or a date like 1998-06-25T10:30:00", value);
    } else if (!strcmp(key, "clock")) {
      p->o->rtc_clock_vm = !strcmp(value, "vm");
      p->o->rtc_clock_host = !strcmp(value, "host");
      if (!p->o->rtc_clock_vm && !p->o->rtc_clock_host)
        return option_error(p, "-rtc clock=%s: the choices are host and vm", value);
    } else {
      return option_error(p, "-rtc: '%s' is not understood; use base= and clock=", key);
    }
  }
  return 0;
}

/*
 * -icount shift=N: an instruction lasts 2^N ns, that is 1000 / 2^N instructions a microsecond (rounded down);
 * N is 0 to 9. "auto" and "on" take the default of 100 a microsecond. mhz=M states the rate itself. sleep=on: real
 * time passes while the CPU halts. rr=record and rr=replay: with the file of rrfile=. icount_replay takes these: 1,
 * 0 if it is none of them, -1.
 */
static int icount_replay(struct option_parser *p, const char *key, const char *value) {
  struct options *o = p->o;
  if (!strcmp(key, "sleep")) {
    o->sleep = !strcmp(value, "on");
    o->sleep_given = true;
    if (!o->sleep && strcmp(value, "off"))
      return option_error(p, "-icount sleep=%s: on or off", value);
  } else if (!strcmp(key, "rr")) {
    o->rr = !strcmp(value, "record") ? RR_RECORD : RR_REPLAY;
    if (o->rr == RR_REPLAY && strcmp(value, "replay"))
      return option_error(p, "-icount rr=%s: record or replay", value);
  } else if (!strcmp(key, "rrfile")) {
    o->rr_file = value;
  } else if (!strcmp(key, "rrsnapshot")) {
    char *end;
    unsigned long n = strtoul(value, &end, 10);
    if (*end || end == value || n > 1000000)
      return option_error(p, "-icount rrsnapshot=%s: guest seconds between snapshots", value);
    o->rr_snapshot = (uint32_t)n;
  } else {
    return 0;
  }
  return 1;
}

int option_icount(struct option_parser *p, const char *arg) {
  const char *key, *value, *list = arg;
  p->o->counted = true;
  for (bool first = true; option_next(p, &list, &key, &value); first = false) {
    const char *number = value;
    int rr = value ? icount_replay(p, key, value) : 0;
    if (rr)
      first = false;
    if (rr < 0)
      return -1;
    if (rr > 0)
      continue;
    if (!value && first) {
      number = key;
      key = "shift";
    }
    if (!number)
      return option_error(p, "-icount: '%s' is not understood; use shift=N, shift=auto or on", key);
    if (!strcmp(key, "shift") && (!strcmp(number, "auto") || !strcmp(number, "on")))
      continue;
    if (!strcmp(key, "shift") && !strcmp(number, "off")) {
      p->o->counted = false;
      continue;
    }
    char *end;
    long n = strtol(number, &end, 10);
    if (!strcmp(key, "shift")) {
      if (*end || end == number || n < 0 || n > 9)
        return option_error(p, "-icount shift=%s: N is 0 to 9 (2^N ns for each instruction), or auto",
                            number);
      p->o->mhz = 1000u >> n;
    } else if (!strcmp(key, "mhz")) {
      if (*end || end == number || n < 1 || n > 1000)
        return option_error(p, "-icount mhz=%s: 1 to 1000 instructions a microsecond", number);
      p->o->mhz = (uint32_t)n;
    } else {
      return option_error(p, "-icount: '%s' is not supported; use shift=N, shift=auto or on", key);
    }
  }
  return 0;
}

int option_add_device(struct option_parser *p, const char *driver, const char *props) {
  if (p->o->device_count >= OPTIONS_DEVICES)
    return option_error(p, "-device %s: %u devices at most", driver, OPTIONS_DEVICES);
  const struct board_driver *d = board_driver_find(driver);
  struct device_option *device = &p->o->device[p->o->device_count++];
  const char *key, *value, *list = props;
  *device = (struct device_option){.driver = driver, .props = props};
  while (d && d->needs & DRIVER_BLOCK && option_next(p, &list, &key, &value))
    if (!strcmp(key, "drive"))
      device->drive = value;
  return 0;
}

/* -device DRIVER[,KEY=VALUE...]; what the keys mean is the driver's affair. */
int option_device(struct option_parser *p, const char *arg) {
  size_t length = strcspn(arg, ",=");
  if (!length || arg[length] == '=')
    return option_error(p, "-device %s: begin with the device's name; '-device help' lists them", arg);
  const char *driver = option_string(p, arg, length);
  if (!strcmp(driver, "help") || !strcmp(driver, "?")) {
    p->o->action = ACTION_DEVICE_HELP;
    return 0;
  }
  if (!board_driver_find(driver))
    return option_error(p, "-device %s: this machine has no such device to add; '-device help' lists them",
                        driver);
  return option_add_device(p, driver, arg[length] ? arg + length + 1 : NULL);
}

int option_usbdevice(struct option_parser *p, const char *arg) {
  static const struct {
    const char *name, *driver;
  } devices[] = {{"tablet", "usb-tablet"}, {"mouse", "usb-mouse"}, {"keyboard", "usb-kbd"}};
  p->o->usb = true;
  for (size_t i = 0; i < sizeof devices / sizeof devices[0]; i++)
    if (!strcmp(arg, devices[i].name))
      return option_add_device(p, devices[i].driver, NULL);
  return option_error(p, "-usbdevice %s: the choices are tablet, mouse and keyboard; for others: -usb -device", arg);
}

static int set_accel(struct option_parser *p, const char *name, const char *options) {
  static const char *const foreign[] = {"kvm", "xen", "hvf", "whpx", "nvmm", "hax"};
  if (!strcmp(name, "help") || !strcmp(name, "?")) {
    p->o->action = ACTION_ACCEL_HELP;
    return 0;
  }
  for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
    if (!strcmp(name, foreign[i]))
      return option_error(p, "-accel %s: Dragoman does not use hardware virtualization; use window", name);
  if (!strcmp(name, "tcg"))
    return option_error(p, "-accel tcg: that is QEMU's translator; Dragoman's is called window");
  if (p->o->accel && strcmp(p->o->accel, name))
    return option_error(p, "both -accel %s and %s were asked for; keep one", p->o->accel, name);
  p->o->accel = name;
  p->o->accel_options = options && *options ? options : NULL;
  return 0;
}

int option_accel(struct option_parser *p, const char *arg) {
  const char *comma = strchr(arg, ',');
  size_t length = comma ? (size_t)(comma - arg) : strlen(arg);
  return set_accel(p, option_string(p, arg, length), comma ? comma + 1 : NULL);
}

int option_machine(struct option_parser *p, const char *arg) {
  const char *key, *value, *list = arg;
  for (bool first = true; option_next(p, &list, &key, &value); first = false) {
    if (!value || !strcmp(key, "type")) {
      const char *name = value ? value : key;
      if (!first)
        return option_error(p, "-machine %s: '%s' is not understood", arg, name);
      if (!strcmp(name, "help") || !strcmp(name, "?"))
        p->o->action = ACTION_MACHINE_HELP;
      else if (strcmp(name, "pc") && strncmp(name, "pc-i440fx", 9))
        return option_error(p, "-machine %s: there is one machine, pc (i440FX and PIIX)", name);
    } else if (!strcmp(key, "accel")) {
      if (set_accel(p, value, NULL) < 0)
        return -1;
    } else if (!strcmp(key, "acpi")) {
      if (option_bool(p, "machine", key, value, &p->o->acpi) < 0)
        return -1;
      p->o->acpi_given = true;
    } else if (!strcmp(key, "ide-delay")) {
      char *end;
      unsigned long us = strtoul(value, &end, 10);
      if (!isdigit((unsigned char)*value) || *end || us > 100000)
        return option_error(p, "-machine ide-delay=%s: microseconds, 0 to 100000", value);
      p->o->ide_delay_us = (uint32_t)us;
      p->o->ide_delay_given = true;
    } else if (!strcmp(key, "usb")) {
      if (option_bool(p, "machine", key, value, &p->o->usb) < 0)
        return -1;
    } else if (!strcmp(key, "vmport")) {
      bool on = true;
      if (strcmp(value, "auto") && option_bool(p, "machine", key, value, &on) < 0)
        return -1;
      p->o->no_vmport = !on;
    } else if (!strcmp(key, "pcspk-audiodev")) {
      p->o->pcspk_audiodev = value;
    } else {
      return option_error(p, "-machine: '%s' is not supported; leave it out", key);
    }
  }
  return 0;
}

int option_display(struct option_parser *p, const char *arg) {
  if (!strcmp(arg, "help") || !strcmp(arg, "?"))
    p->o->action = ACTION_DISPLAY_HELP;
  else if (!strcmp(arg, "sdl"))
    p->o->display = DISPLAY_SDL;
  else if (!strcmp(arg, "none"))
    p->o->display = DISPLAY_NONE;
  else
    return option_error(p, "-display %s: the choices are sdl and none", arg);
  return 0;
}

/* --- the end: defaults that depend on others, and contradictions --- */

static bool uses_stdio(const char *spec) {
  return spec && (!strcmp(spec, "stdio") || !strcmp(spec, "mon:stdio"));
}

static void nographic_defaults(struct options *o) {
  bool taken = uses_stdio(o->parallel) || uses_stdio(o->debugcon);
  for (unsigned i = 0; i < o->serial_count; i++)
    taken |= uses_stdio(o->serial[i]);
  for (unsigned i = 0; i < o->monitor_count; i++)
    taken |= uses_stdio(o->monitor[i]);
  if (taken)
    return;
  if (!o->serial_count)
    o->serial[o->serial_count++] = o->monitor_count ? "stdio" : "mon:stdio";
  else if (!o->monitor_count)
    o->monitor[o->monitor_count++] = "stdio";
}

static int check_stdio(struct option_parser *p) {
  const struct options *o = p->o;
  unsigned users = uses_stdio(o->parallel) + uses_stdio(o->debugcon);
  for (unsigned i = 0; i < o->serial_count; i++)
    users += uses_stdio(o->serial[i]);
  for (unsigned i = 0; i < o->monitor_count; i++)
    users += uses_stdio(o->monitor[i]);
  if (users > 1)
    return option_error(
        p,
        "stdio was asked for by %u channels; use -serial mon:stdio to share it with the monitor, "
        "or a file, a socket or a pty",
        users);
  return 0;
}

/* Writable images must not be used twice; the lock would refuse, but only with a guess at the reason. */
static int check_same_image(struct option_parser *p) {
  const struct drive_options *d = p->o->drive;
  bool reads[OPTIONS_DRIVES];
  for (int i = 0; i < OPTIONS_DRIVES; i++)
    reads[i] = d[i].readonly || d[i].cdrom || d[i].snapshot || d[i].overlay;
  for (int i = 0; i < OPTIONS_DRIVES; i++)
    for (int j = i + 1; j < OPTIONS_DRIVES; j++)
      if (d[i].file && d[j].file && !strcmp(d[i].file, d[j].file) && !p->o->snapshot &&
          !(reads[i] && reads[j]))
        return option_error(p, "%s is given to two drives (%s, %s); use copies, or -snapshot", d[i].file,
                            d[i].by, d[j].by);
  return 0;
}

int option_check(struct option_parser *p) {
  struct options *o = p->o;
  if (o->nographic) {
    if (o->display == DISPLAY_SDL)
      return option_error(p, "-nographic and -display sdl contradict each other; leave one out");
    o->display = DISPLAY_NONE;
    nographic_defaults(o);
  }
  if (o->initrd && !o->kernel)
    return option_error(p, "-initrd needs -kernel");
  if (o->append && !o->kernel)
    return option_error(p, "-append needs -kernel");
  if (o->log_path && !o->log_items && !o->monitor_count)
    return option_error(p, "-D without -d would log nothing; say what with -d, for example -d int");
  if (o->counted && o->cpu_mhz)
    return option_error(
        p, "-icount and -cpu mhz= contradict each other; leave one out (-icount mhz=N sets its speed)");
  if (o->counted && o->rtc_clock_host)
    return option_error(p, "-icount and -rtc clock=host contradict each other; leave one out");
  if (o->counted && !o->rtc_base_given)
    o->rtc_base = COUNTED_BASE;
  if ((o->rr != RR_NONE) != (o->rr_file != NULL))
    return option_error(p, "-icount rr=record or rr=replay and rrfile=FILE go together");
  if (o->rr != RR_NONE && !o->counted)
    return option_error(p, "-icount rr= needs counted time: leave out shift=off");
  if (o->rr != RR_NONE)
    o->snapshot = true; /* a replay begins with the images as the recording found them */
  if (o->rr == RR_RECORD && !o->sleep_given)
    o->sleep = true;
  if (option_check_audio(p) < 0 || check_stdio(p) < 0 || check_same_image(p) < 0)
    return -1;
  return option_check_net(p);
}
