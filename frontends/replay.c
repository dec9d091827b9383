/* SPDX-License-Identifier: MIT */
/*
 * A session that is recorded or replayed. What the machine is made of stands in the file, one line each, and
 * must be the same in a replay: but for the engine, which may be another, and for where images lie. The time
 * of day at power-on is taken from the file.
 */
#include "frontends/replay.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "devices/block/block.h"

#define PARALLEL_STREAM OPTIONS_SERIALS

static void about_drives(const struct session *s, FILE *out) {
  for (int i = 0; i < OPTIONS_DRIVES; i++)
    if (s->media.slot[i].drive[0])
      fprintf(out, "%s=%llu bytes\n", s->media.slot[i].drive,
              s->media.slot[i].block ? (unsigned long long)block_size(s->media.slot[i].block) : 0ull);
  for (int i = 0; i < OPTIONS_NONE_DRIVES; i++)
    if (s->media.none[i].block)
      fprintf(out, "drive %s=%llu bytes\n", s->media.none[i].id,
              (unsigned long long)block_size(s->media.none[i].block));
}

/* What makes a difference to the guest. The caller frees it; NULL when out of memory. */
static char *about(const struct session *s) {
  const struct options *o = &s->options;
  char *text = NULL;
  size_t size = 0;
  FILE *out = open_memstream(&text, &size);
  if (!out)
    return NULL;
  fprintf(out, "cpu=%s\nm=%u\nmhz=%u\nvga=%d\nacpi=%d\nusb=%d\nvmport=%d\nide-delay=%u\n",
          s->config.cpu_model->name, o->ram_mb, o->mhz, (int)o->vga, o->acpi, o->usb, !o->no_vmport,
          (unsigned)o->ide_delay_us);
  fprintf(out, "boot=%s,once=%s,menu=%d\n", o->boot_order ? o->boot_order : "",
          o->boot_once ? o->boot_once : "", o->boot_menu);
  fprintf(out, "kernel=%d\nappend=%s\nno-reboot=%d\n", o->kernel != NULL, o->append ? o->append : "",
          o->no_reboot);
  for (unsigned i = 0; i < o->device_count; i++)
    fprintf(out, "device=%s,%s\n", o->device[i].driver, o->device[i].props ? o->device[i].props : "");
  for (unsigned i = 0; i < OPTIONS_SERIALS; i++)
    fprintf(out, "serial%u=%s\n", i,
            s->board.serial[i] || (i < o->serial_count && o->serial[i]) ? "yes" : "no");
  about_drives(s, out);
  fclose(out);
  return text;
}

/* The time of day at power-on, as a number. */
static int64_t time_of_day(const struct session *s) {
  if (s->board.rtc_base != -1)
    return s->board.rtc_base;
  time_t now = time(NULL);
  struct tm tm;
  return now + (s->board.rtc_localtime && localtime_r(&now, &tm) ? tm.tm_gmtoff : 0);
}

int session_replay_begin(struct session *s) {
  const struct options *o = &s->options;
  if (o->rr == RR_NONE)
    return 0;
  char *text = about(s);
  if (!text) {
    snprintf(s->error, sizeof s->error, "out of memory");
    return -1;
  }
  if (o->rr == RR_RECORD) {
    struct replay_header h = {time_of_day(s), text,
                              (const char *const *)(o->argv ? o->argv : (char *[]){NULL})};
    s->replay = replay_record(o->rr_file, &h, s->error, sizeof s->error);
  } else {
    s->replay = replay_play(o->rr_file, s->error, sizeof s->error);
    if (s->replay && !replay_fits(s->replay, text, s->error, sizeof s->error)) {
      replay_free(s->replay);
      s->replay = NULL;
    }
  }
  free(text);
  if (!s->replay)
    return -1;
  if (o->rr == RR_REPLAY)
    s->board.rtc_base = replay_header(s->replay)->rtc_base;
  else
    s->board.rtc_base = time_of_day(s);
  s->board.rtc_localtime = false;
  if (o->rr == RR_RECORD)
    replay_set_snapshots(s->replay, o->rr_snapshot);
  return 0;
}

void session_replay_connect(struct session *s) {
  if (!s->replay)
    return;
  replay_add_input(s->replay);
  for (unsigned i = 0; i < OPTIONS_SERIALS; i++)
    replay_add_stream(s->replay, i, s->board.serial[i]);
  replay_add_stream(s->replay, PARALLEL_STREAM, s->board.parallel);
  for (unsigned i = 0; i < NETDEVS; i++)
    replay_add_cable(s->replay, i, net_cable_of(&s->nets, i));
}
