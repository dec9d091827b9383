/* SPDX-License-Identifier: MIT */
/*
 * The command line: the option table, the walk over argv, and the help text. The options whose argument has a
 * structure are parsed in options_args.c, drives and channels in options_drive.c.
 */
#include "frontends/options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct kept_string {
  struct kept_string *next;
  char text[];
};

int option_error(struct option_parser *p, const char *format, ...) {
  va_list ap;
  va_start(ap, format);
  vsnprintf(p->error, p->error_size, format, ap);
  va_end(ap);
  return -1;
}

char *option_string(struct option_parser *p, const char *start, size_t length) {
  struct kept_string *s = malloc(sizeof *s + length + 1);
  if (!s)
    abort();
  memcpy(s->text, start, length);
  s->text[length] = '\0';
  s->next = p->o->strings;
  p->o->strings = s;
  return s->text;
}

void options_free(struct options *o) {
  struct kept_string *s = o->strings;
  while (s) {
    struct kept_string *next = s->next;
    free(s);
    s = next;
  }
  o->strings = NULL;
}

bool option_next(struct option_parser *p, const char **list, const char **key, const char **value) {
  const char *s = *list;
  if (!s || !*s)
    return false;
  char *text = option_string(p, s, strlen(s));
  char *out = text;
  while (*s && (*s != ',' || s[1] == ',')) {
    if (*s == ',')
      s++;
    *out++ = *s++;
  }
  *out = '\0';
  *list = *s == ',' ? s + 1 : s;
  char *equals = strchr(text, '=');
  *key = text;
  *value = NULL;
  if (equals) {
    *equals = '\0';
    *value = equals + 1;
  }
  return true;
}

int option_bool(struct option_parser *p, const char *option, const char *key, const char *value, bool *out) {
  if (!value || !strcmp(value, "on") || !strcmp(value, "yes")) {
    *out = true;
    return 0;
  }
  if (!strcmp(value, "off") || !strcmp(value, "no")) {
    *out = false;
    return 0;
  }
  return option_error(p, "-%s: %s is on or off, not '%s'", option, key, value);
}

/* --- handlers of options with plain arguments --- */

static int opt_help(struct option_parser *p, const char *arg) {
  (void)arg;
  p->o->action = ACTION_HELP;
  return 0;
}
static int opt_version(struct option_parser *p, const char *arg) {
  (void)arg;
  p->o->action = ACTION_VERSION;
  return 0;
}
static int opt_smp(struct option_parser *p, const char *arg) {
  const char *n = !strncmp(arg, "cpus=", 5) ? arg + 5 : arg;
  return !strcmp(n, "1") ? 0 : option_error(p, "-smp %s: this machine has one CPU; use -smp 1", arg);
}
static int opt_hda(struct option_parser *p, const char *arg) { return option_drive_named(p, "hda", 0, arg); }
static int opt_hdb(struct option_parser *p, const char *arg) { return option_drive_named(p, "hdb", 1, arg); }
static int opt_hdc(struct option_parser *p, const char *arg) { return option_drive_named(p, "hdc", 2, arg); }
static int opt_hdd(struct option_parser *p, const char *arg) { return option_drive_named(p, "hdd", 3, arg); }
static int opt_fda(struct option_parser *p, const char *arg) {
  return option_drive_named(p, "fda", FLOPPY_DRIVE(0), arg);
}
static int opt_fdb(struct option_parser *p, const char *arg) {
  return option_drive_named(p, "fdb", FLOPPY_DRIVE(1), arg);
}
static int opt_cdrom(struct option_parser *p, const char *arg) {
  int r = option_drive_named(p, "cdrom", 2, arg);
  p->o->drive[2].cdrom = true;
  return r;
}
static int opt_snapshot(struct option_parser *p, const char *arg) {
  (void)arg;
  p->o->snapshot = true;
  return 0;
}
static int opt_usb(struct option_parser *p, const char *arg) {
  (void)arg;
  p->o->usb = true;
  return 0;
}
static int opt_kernel(struct option_parser *p, const char *arg) {
  p->o->kernel = arg;
  return 0;
}
static int opt_initrd(struct option_parser *p, const char *arg) {
  p->o->initrd = arg;
  return 0;
}
static int opt_append(struct option_parser *p, const char *arg) {
  p->o->append = arg;
  return 0;
}
static int opt_bios(struct option_parser *p, const char *arg) {
  p->o->bios = arg;
  return 0;
}
static int opt_bios_dir(struct option_parser *p, const char *arg) {
  p->o->bios_dir = arg;
  return 0;
}
static int opt_vga(struct option_parser *p, const char *arg) {
  static const char *const names[] = {
      [BOARD_VGA_NONE] = "none", [BOARD_VGA_STD] = "std", [BOARD_VGA_CIRRUS] = "cirrus"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (!strcmp(arg, names[i])) {
      p->o->vga = (enum board_vga)i;
      p->o->vga_given = true;
      return 0;
    }
  return option_error(p, "-vga %s: the choices are std, cirrus and none", arg);
}
static int opt_guest(struct option_parser *p, const char *arg) {
  if (!strcmp(arg, "help") || !strcmp(arg, "?"))
    p->o->action = ACTION_GUEST_HELP;
  p->o->guest = arg;
  return 0;
}
static int opt_serial(struct option_parser *p, const char *arg) {
  if (p->o->serial_count >= OPTIONS_SERIALS)
    return option_error(p, "-serial: the machine has %d serial ports; leave one out", OPTIONS_SERIALS);
  p->o->serial[p->o->serial_count++] = arg;
  return option_channel(p, "serial", arg);
}
static int opt_parallel(struct option_parser *p, const char *arg) {
  p->o->parallel = arg;
  return option_channel(p, "parallel", arg);
}
static int opt_debugcon(struct option_parser *p, const char *arg) {
  p->o->debugcon = arg;
  return option_channel(p, "debugcon", arg);
}
static int opt_monitor(struct option_parser *p, const char *arg) {
  if (p->o->monitor_count >= 2)
    return option_error(p, "-monitor: two monitors at most");
  p->o->monitor[p->o->monitor_count++] = arg;
  return option_channel(p, "monitor", arg);
}
static int opt_nographic(struct option_parser *p, const char *arg) {
  (void)arg;
  p->o->nographic = true;
  return 0;
}
static int opt_paused(struct option_parser *p, const char *arg) {
  (void)arg;
  p->o->start_paused = true;
  return 0;
}
static int opt_loadvm(struct option_parser *p, const char *arg) {
  p->o->loadvm = arg;
  return 0;
}
static int opt_no_reboot(struct option_parser *p, const char *arg) {
  (void)arg;
  p->o->no_reboot = true;
  return 0;
}
static int opt_no_shutdown(struct option_parser *p, const char *arg) {
  (void)arg;
  p->o->no_shutdown = true;
  return 0;
}
static int opt_name(struct option_parser *p, const char *arg) {
  const char *key, *value;
  if (option_next(p, &arg, &key, &value))
    p->o->name = value && !strcmp(key, "guest") ? value : key;
  return 0;
}
static int opt_pidfile(struct option_parser *p, const char *arg) {
  p->o->pidfile = arg;
  return 0;
}
static int opt_log(struct option_parser *p, const char *arg) {
  if (!strcmp(arg, "help") || !strcmp(arg, "?"))
    p->o->action = ACTION_LOG_HELP;
  p->o->log_items = arg;
  return 0;
}
static int opt_log_file(struct option_parser *p, const char *arg) {
  p->o->log_path = arg;
  return 0;
}
static int opt_nodefaults(struct option_parser *p, const char *arg) {
  (void)arg;
  p->o->nodefaults = true;
  return 0;
}

/* --- the table --- */

struct option_row {
  struct option_help help; /* .argument NULL: takes none */
  int (*parse)(struct option_parser *p, const char *arg);
  bool repeatable;
};

static const struct option_row rows[] = {
    {{"accel", "window|tlb|interp[,OPTIONS]", "how guest code runs: interpreter or translator ('help' lists)"},
     option_accel,
     false},
    {{"append", "TEXT", "command line for -kernel"}, opt_append, false},
    {{"audio", "none|sdl|wav[,model=CARD][,KEY=VALUE...]", NULL}, option_audio, true},
    {{"audiodev", "none|sdl|wav[,id=ID][,path=FILE]", "where sound goes ('help' lists); default: sdl with a window"},
     option_audiodev,
     true},
    {{"bios", "FILE", "use this firmware image instead of SeaBIOS"}, opt_bios, false},
    {{"boot", "[order=]LETTERS[,menu=on][,once=LETTERS]",
      "boot order: a floppy, c disk, d CD-ROM, n network"},
     option_boot,
     false},
    {{"cdrom", "FILE", "CD-ROM image or cue sheet (the second channel's master, as -hdc)"}, opt_cdrom, false},
    {{"cpu", "NAME[,mhz=N]", "CPU model ('help' lists), and the speed to hold"}, option_cpu, false},
    {{"D", "FILE", "write the log of -d to FILE instead of stderr"}, opt_log_file, false},
    {{"d", "ITEMS", "log these items ('help' lists)"}, opt_log, false},
    {{"debugcon", "CHANNEL", "connect the firmware's debug port (402h)"}, opt_debugcon, false},
    {{"device", "DRIVER[,KEY=VALUE...]", "add a device ('help' lists them)"},
     option_device,
     true},
    {{"display", "sdl|none", "a window, or none ('help' lists)"}, option_display, false},
    {{"drive", "file=F,format=F,overlay=F,if=ide|floppy|none,index=N,media=disk|cdrom,snapshot=on,readonly=on",
      "any drive, in full"},
     option_drive,
     true},
    {{"fda", "FILE", "image in floppy drive A"}, opt_fda, true},
    {{"fdb", "FILE", "image in floppy drive B"}, opt_fdb, true},
    {{"guest", "NAME|auto", "a machine that suits this system ('help' lists), or the one on the image"},
     opt_guest,
     false},
    {{"h", NULL, NULL}, opt_help, true},
    {{"hda", "FILE", "image of the first hard disk; a bare FILE means the same"}, opt_hda, true},
    {{"hdb", "FILE", "second hard disk"}, opt_hdb, true},
    {{"hdc", "FILE", "third hard disk"}, opt_hdc, true},
    {{"hdd", "FILE", "fourth hard disk"}, opt_hdd, true},
    {{"help", NULL, "this text"}, opt_help, true},
    {{"icount", "shift=N|auto|on[,sleep=on][,rr=record|replay,rrfile=FILE[,rrsnapshot=SECONDS]]",
      "counted time: each instruction lasts 2^N ns; runs can be repeated exactly, recorded and replayed"},
     option_icount,
     false},
    {{"initrd", "FILE", "initial RAM disk for -kernel"}, opt_initrd, false},
    {{"kernel", "FILE", "boot this Linux or Multiboot kernel directly"}, opt_kernel, false},
    {{"L", "DIR", "look for firmware here first"}, opt_bios_dir, false},
    {{"M", "pc", "the machine, same as -machine ('help' lists)"}, option_machine, true},
    {{"m", "[size=]N[M|G]", "memory, 1 MB to 3.5 GB (default 128M)"}, option_memory, false},
    {{"machine", "pc[,accel=NAME][,acpi=on|off][,ide-delay=US]", "the machine ('help' lists)"}, option_machine, true},
    {{"monitor", "CHANNEL", "control the machine by commands there ('help' lists them)"}, opt_monitor, true},
    {{"loadvm", "FILE", "begin with a snapshot (the monitor's 'savevm') of a machine with the same options"},
     opt_loadvm,
     false},
    {{"name", "NAME", "shown in the window's title"}, opt_name, false},
    {{"net", "nic|user|socket|tap|none[,KEY=VALUE...]", NULL}, option_net, true},
    {{"netdev", "user|socket|tap,id=ID[,KEY=VALUE...]", "a network for a card that is added by -device CARD,netdev=ID"},
     option_netdev,
     true},
    {{"nic", "user|socket|tap|none[,model=CARD][,mac=ADDRESS][,KEY=VALUE...]",
      "a network card and its network (hostfwd=tcp::2222-:22 reaches the guest, dump=FILE records); default: user"},
     option_nic,
     true},
    {{"no-reboot", NULL, "exit instead of rebooting"}, opt_no_reboot, true},
    {{"no-shutdown", NULL, "stay when the guest powers off"}, opt_no_shutdown, true},
    {{"nodefaults", NULL, "no network card unless one is asked for"}, opt_nodefaults, true},
    {{"nographic", NULL, "no window; serial port and monitor share the terminal (Ctrl-A h helps)"},
     opt_nographic,
     true},
    {{"object", "filter-dump,id=ID,netdev=ID,file=FILE", "record what passes a network"}, option_object, true},
    {{"parallel", "CHANNEL", "connect the parallel port"}, opt_parallel, false},
    {{"pidfile", "FILE", "write the process id there"}, opt_pidfile, false},
    {{"rtc", "base=utc|localtime|DATE[,clock=host|vm]", "the clock's starting time and what drives it"},
     option_rtc,
     false},
    {{"S", NULL, "start stopped; the monitor's 'cont' begins"}, opt_paused, true},
    {{"serial", "CHANNEL", "connect the next serial port (up to four times)"}, opt_serial, true},
    {{"smp", "1", "number of CPUs: one"}, opt_smp, true},
    {{"snapshot", NULL, "keep all changes to images in memory or a temporary file, and drop them at the end"},
     opt_snapshot,
     true},
    {{"soundhw", "CARD,...", NULL}, option_soundhw, true},
    {{"usb", NULL, "with a USB controller (UHCI); devices: -device usb-tablet and so on"}, opt_usb, true},
    {{"usbdevice", "tablet|mouse|keyboard", "a USB device, and the controller for it"}, option_usbdevice, true},
    {{"version", NULL, "print the version"}, opt_version, true},
    {{"vga", "std|cirrus|none", "display adapter"}, opt_vga, false},
};
#define ROWS (sizeof rows / sizeof rows[0])

const struct option_help *options_help(unsigned index) { return index < ROWS ? &rows[index].help : NULL; }

/* Options of QEMU that people will try: what to do instead. */
static const struct {
  const char *name, *advice;
} foreign[] = {
    {"blockdev", "use -drive"},
    {"chardev", "give the channel to -serial, -parallel or -monitor directly"},
    {"curses", "use -nographic, or the monitor's 'screentext'"},
    {"daemonize", "start it with '&' and use -pidfile and -monitor unix:PATH,server,nowait"},
    {"enable-kvm", "Dragoman does not use hardware virtualization; leave it out"},
    {"full-screen", "use the window's own key"},
    {"gdb", "there is no gdb stub yet; use the monitor"},
    {"global", "devices have no such properties; leave it out"},
    {"incoming", "migration is not supported"},
    {"mem-path", "leave it out; guest memory is anonymous"},
    {"qmp", "use the human monitor: -monitor unix:PATH,server,nowait"},
    {"s", "there is no gdb stub yet; use the monitor"},
    {"sdl", "use -display sdl"},
    {"spice", "use -display sdl or -display none"},
    {"vnc", "use -display sdl, or -display none with the monitor's 'screendump'"},
};

/* --- nearest name --- */

static unsigned min3(unsigned a, unsigned b, unsigned c) {
  unsigned m = a < b ? a : b;
  return m < c ? m : c;
}

/* Levenshtein distance; names longer than 31 characters count as far away. */
static unsigned distance(const char *a, const char *b) {
  size_t la = strlen(a), lb = strlen(b);
  unsigned row[32];
  if (la > 31 || lb > 31)
    return 99;
  for (size_t j = 0; j <= lb; j++)
    row[j] = (unsigned)j;
  for (size_t i = 1; i <= la; i++) {
    unsigned diagonal = row[0];
    row[0] = (unsigned)i;
    for (size_t j = 1; j <= lb; j++) {
      unsigned above = row[j];
      row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
      diagonal = above;
    }
  }
  return row[lb];
}

static int unknown_option(struct option_parser *p, const char *name) {
  for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++)
    if (!strcmp(foreign[i].name, name))
      return option_error(p, "-%s: not supported: %s", name, foreign[i].advice);
  const char *best = NULL;
  unsigned best_distance = strlen(name) <= 4 ? 2 : 4; /* nearer than this */
  for (size_t i = 0; i < ROWS; i++) {
    unsigned d = distance(name, rows[i].help.name);
    if (d < best_distance) {
      best_distance = d;
      best = rows[i].help.name;
    }
  }
  if (best)
    return option_error(p, "-%s: unknown option; did you mean -%s?", name, best);
  return option_error(p, "-%s: unknown option; 'dragoman -help' lists all", name);
}

/* --- the walk --- */

static void set_defaults(struct options *o) {
  *o = (struct options){
      .ram_mb = 128,
      .mhz = 100,
      .vga = BOARD_VGA_STD,
      .acpi = true,
      .rtc_base = (time_t)-1,
  };
}

/* One option: returns how many further arguments it used, or -1. */
static int parse_option(struct option_parser *p, const char *name, const char *arg) {
  size_t i = 0;
  while (i < ROWS && strcmp(rows[i].help.name, name))
    i++;
  if (i == ROWS)
    return unknown_option(p, name);
  const struct option_row *row = &rows[i];
  if (!row->help.argument)
    return row->parse(p, NULL) < 0 ? -1 : 0;
  if (!arg)
    return option_error(p, "-%s: needs an argument: -%s %s", name, name, row->help.argument);
  if (!row->repeatable) {
    const char **seen = &p->o->seen_value[i];
    if (*seen && strcmp(*seen, arg))
      return option_error(p, "-%s: given twice, as '%s' and as '%s'; keep one", name, *seen, arg);
    if (*seen)
      return 1;
    *seen = arg;
  }
  return row->parse(p, arg) < 0 ? -1 : 1;
}

int options_parse(struct options *o, int argc, char **argv, char *error, size_t error_size) {
  struct option_parser p = {o, error, error_size};
  _Static_assert(ROWS <= 128, "struct options.seen_value is indexed by row");
  set_defaults(o);
  o->argc = argc;
  o->argv = argv;
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    if (word[0] != '-' || !word[1]) {
      if (!*word)
        return option_error(&p, "an empty argument was given; check the quoting");
      if (option_drive_named(&p, word, 0, word) < 0)
        return -1;
      continue;
    }
    word += word[1] == '-' ? 2 : 1;
    if (!*word)
      return option_error(&p, "--: unknown option; name the image plainly, or with -hda");
    int used = parse_option(&p, word, i + 1 < argc ? argv[i + 1] : NULL);
    if (used < 0)
      return -1;
    if (o->action != ACTION_RUN)
      return 0;
    i += used;
  }
  return option_check(&p);
}
