/* SPDX-License-Identifier: MIT */
/*
 * The command line, in QEMU's words. Parsing has no side effects: nothing is opened or printed, so that it
 * can be tested; what is wrong comes back as one line of text. Strings point into argv or are kept in the
 * structure until options_free.
 */
#ifndef FRONTENDS_OPTIONS_H
#define FRONTENDS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "devices/board.h"
#include "frontends/net.h"

#define OPTIONS_SERIALS 4
#define OPTIONS_DRIVES 6 /* four IDE, two floppy */
#define OPTIONS_NONE_DRIVES 8 /* if=none: for -device */
#define OPTIONS_AUDIODEVS 4
#define OPTIONS_DEVICES 32 /* as many as the board takes (BOARD_EXTRAS) */
#define RAM_MB_MIN 1u
#define RAM_MB_MAX 3584u

struct drive_options {
  const char *file; /* NULL: the drive exists and is empty */
  const char *by;   /* the option that defined it, for messages; NULL: not defined */
  const char *serial;
  const char *id;   /* if=none */
  const char *format, *overlay, *snapshot_name; /* see struct block_options; NULL: not given */
  bool cdrom, snapshot, readonly;
};

struct guest_profile;

struct device_option { /* -device DRIVER,PROPS */
  const char *driver, *props;
  int netdev; /* of a network card: index + 1 into options.netdev; 0: none */
  const char *drive; /* of a DRIVER_BLOCK: the id of its image; NULL: none */
};

struct audiodev_option {
  const char *driver; /* none, sdl, wav */
  const char *id;     /* or NULL */
  const char *path;   /* wav; or NULL */
  uint32_t buffer_us; /* sdl; 0: default */
};

enum display_kind { DISPLAY_DEFAULT, DISPLAY_SDL, DISPLAY_NONE };

/* What the caller should do after parsing: go on, or print something and exit 0. */
enum options_action {
  ACTION_RUN,
  ACTION_HELP,
  ACTION_VERSION,
  ACTION_CPU_HELP,
  ACTION_MACHINE_HELP,
  ACTION_ACCEL_HELP,
  ACTION_DISPLAY_HELP,
  ACTION_DEVICE_HELP,
  ACTION_LOG_HELP,
  ACTION_GUEST_HELP,
  ACTION_AUDIODEV_HELP,
};

struct options {
  enum options_action action;
  const char *guest; /* --guest; NULL: none */
  const struct guest_profile *profile; /* what became of it */
  uint32_t ram_mb;
  const char *cpu;           /* -cpu; NULL: default */
  uint32_t cpu_mhz;          /* -cpu NAME,mhz=N: hold this speed; 0: as fast as it goes */
  const char *accel;         /* engine name; NULL: default */
  const char *accel_options; /* what follows the first comma, or NULL */
  bool counted;
  uint32_t mhz;                               /* counted: instructions per microsecond */
  bool sleep, sleep_given;                    /* counted: real time passes while the CPU halts */
  enum { RR_NONE, RR_RECORD, RR_REPLAY } rr;
  const char *rr_file;
  uint32_t rr_snapshot; /* guest seconds between snapshots of the machine; 0: none */
  struct drive_options drive[OPTIONS_DRIVES]; /* 0-3: hda..hdd; 4, 5: floppies */
  struct drive_options none[OPTIONS_NONE_DRIVES];
  unsigned none_count;
  const char *boot_order, *boot_once;         /* letters of "acdn", or NULL */
  bool boot_menu;
  bool snapshot;
  bool acpi;
  bool usb, no_vmport;
  uint32_t ide_delay_us;
  bool ram_given, vga_given, acpi_given, ide_delay_given; /* said, not by default */
  const char *kernel, *initrd, *append;
  const char *bios, *bios_dir; /* -bios, -L */
  enum board_vga vga;
  const char *serial[OPTIONS_SERIALS]; /* channel specifications; NULL: none */
  unsigned serial_count;
  const char *parallel, *debugcon;
  const char *monitor[2];
  unsigned monitor_count;
  bool nographic;
  enum display_kind display;
  bool rtc_localtime, rtc_clock_vm, rtc_clock_host, rtc_base_given;
  time_t rtc_base; /* -1: the host's time of day; counted runs begin at a fixed date if not told otherwise */
  bool start_paused, no_reboot, no_shutdown;
  const char *name, *pidfile;
  const char *loadvm;
  const char *log_items, *log_path;
  struct device_option device[OPTIONS_DEVICES];
  unsigned device_count;
  struct audiodev_option audiodev[OPTIONS_AUDIODEVS];
  unsigned audiodev_count;
  const char *pcspk_audiodev; /* an id, or NULL */
  bool nodefaults;
  struct netdev_options netdev[NETDEVS];
  unsigned netdev_count;
  bool default_card;      /* device[0] is the one that nobody asked for */
  bool net_given;         /* -netdev, -nic or -net was */
  unsigned old_card;      /* -net nic: its index in device[] + 1 */
  const char *old_netdev; /* -net BACKEND: its id */
  struct {
    const char *netdev, *file;
  } filter[NETDEVS]; /* -object filter-dump */
  unsigned filter_count;
  int argc; /* as they came; the caller's */
  char **argv;
  /* parser's own */
  void *strings;               /* list of allocated strings */
  const char *seen_value[128]; /* by row of the table: the argument of an option that was given */
};

#define FLOPPY_DRIVE(n) (4 + (n))

/* 0, or -1 with one line in `error` (without "dragoman: "). options_free is due in both cases. */
/* The card that the machine has because nothing was said about the network becomes `model`. */
void options_default_card(struct options *o, const char *model);
int options_parse(struct options *o, int argc, char **argv, char *error, size_t error_size);
void options_free(struct options *o);

/* The option table as text for -help, one line per option. */
struct option_help {
  const char *name, *argument, *text;
};
const struct option_help *options_help(unsigned index); /* NULL past the end */

/* Internal to options*.c. */

/* Fail: format a line into the parser's error buffer; returns -1. */
struct option_parser {
  struct options *o;
  char *error;
  size_t error_size;
};
int option_error(struct option_parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *option_string(struct option_parser *p, const char *start, size_t length); /* kept until options_free */
/*
 * Take the next key[=value] from a comma list (",," is a comma in a value). False at the end. A bare word
 * gives *value = NULL.
 */
bool option_next(struct option_parser *p, const char **list, const char **key, const char **value);
int option_bool(struct option_parser *p, const char *option, const char *key, const char *value, bool *out);
int option_drive(struct option_parser *p, const char *arg);
int option_drive_named(struct option_parser *p, const char *option, unsigned slot, const char *file);
int option_rtc(struct option_parser *p, const char *arg);
int option_icount(struct option_parser *p, const char *arg);
int option_boot(struct option_parser *p, const char *arg);
int option_cpu(struct option_parser *p, const char *arg);
int option_memory(struct option_parser *p, const char *arg);
int option_device(struct option_parser *p, const char *arg);
/* Another device for the board, as if by -device; strings are kept. */
int option_add_device(struct option_parser *p, const char *driver, const char *props);
int option_audiodev(struct option_parser *p, const char *arg);
int option_audio(struct option_parser *p, const char *arg);
int option_soundhw(struct option_parser *p, const char *arg);
int option_check_audio(struct option_parser *p); /* do the ids exist that are referred to? */
int option_netdev(struct option_parser *p, const char *arg);
int option_nic(struct option_parser *p, const char *arg);
int option_net(struct option_parser *p, const char *arg);
int option_object(struct option_parser *p, const char *arg);
int option_check_net(struct option_parser *p); /* which card goes where, and the default card */
int option_usbdevice(struct option_parser *p, const char *arg);
int option_machine(struct option_parser *p, const char *arg);
int option_accel(struct option_parser *p, const char *arg);
int option_display(struct option_parser *p, const char *arg);
int option_check(struct option_parser *p); /* contradictions between options */
/* A channel specification (-serial and friends) that chardev_open will understand? */
int option_channel(struct option_parser *p, const char *option, const char *spec);

#endif
