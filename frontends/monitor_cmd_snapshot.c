/* SPDX-License-Identifier: MIT */
/*
 * Monitor commands for snapshots, in QEMU's words. The name is that of a file; `info snapshots` lists those
 * that this session has saved or loaded, or the one that is named.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/snapshot.h"
#include "frontends/media.h"
#include "frontends/monitor.h"

static void remember(struct monitor_env *env, const char *path) {
  for (unsigned i = 0; i < env->snapshot_count; i++)
    if (!strcmp(env->snapshot[i], path))
      return;
  if (env->snapshot_count == MONITOR_SNAPSHOTS) { /* the oldest goes */
    free(env->snapshot[0]);
    memmove(env->snapshot, env->snapshot + 1, (MONITOR_SNAPSHOTS - 1) * sizeof env->snapshot[0]);
    env->snapshot_count--;
  }
  env->snapshot[env->snapshot_count] = strdup(path);
  env->snapshot_count += env->snapshot[env->snapshot_count] != NULL;
}

void monitor_forget_snapshots(struct monitor_env *env) {
  while (env->snapshot_count)
    free(env->snapshot[--env->snapshot_count]);
}

/* The only word of the line. */
static char *file_name(char **args, const char *command, FILE *out) {
  char *path = monitor_need(args, command, "filename", out);
  return path && monitor_end(args, command, out) ? path : NULL;
}

void cmd_savevm(struct monitor_env *env, char *args, FILE *out) {
  char error[1024], *path = file_name(&args, "savevm", out);
  if (!path)
    return;
  if (machine_save(env->machine, path, NULL, error, sizeof error) < 0)
    fprintf(out, "Error: %s\n", error);
  else
    remember(env, path);
}

static int other_medium(void *opaque, const char *drive, const char *path) {
  char error[1024];
  struct media *media = opaque;
  struct media_slot *slot = media_find(media, drive);
  return slot ? media_change(media, slot, path, NULL, false, true, error, sizeof error) : -ENODEV;
}

int monitor_loadvm(struct machine *m, struct media *media, const char *path, char *error, size_t size) {
  if (media)
    board_on_other_medium(m, other_medium, media);
  int result = machine_load(m, path, error, size);
  if (media)
    board_on_other_medium(m, NULL, NULL);
  return result;
}

void cmd_loadvm(struct monitor_env *env, char *args, FILE *out) {
  char error[1024], *path = file_name(&args, "loadvm", out);
  if (!path)
    return;
  if (monitor_loadvm(env->machine, env->media, path, error, sizeof error) < 0)
    fprintf(out, "Error: %s\n", error);
  else
    remember(env, path);
}

void cmd_delvm(struct monitor_env *env, char *args, FILE *out) {
  char error[1024], *path = file_name(&args, "delvm", out);
  struct snapshot_info info;
  (void)env;
  if (!path)
    return;
  if (snapshot_info(path, &info, error, sizeof error) < 0) { /* what is no snapshot stays */
    fprintf(out, "Error: %s\n", error);
    return;
  }
  if (unlink(path) < 0)
    fprintf(out, "Error: cannot delete '%s': %s\n", path, strerror(errno));
}

static void print_size(FILE *out, uint64_t bytes) {
  if (bytes < 10u << 20)
    fprintf(out, "%7llu KiB", (unsigned long long)bytes >> 10);
  else
    fprintf(out, "%7llu MiB", (unsigned long long)bytes >> 20);
}

static bool print_one(const char *path, unsigned number, FILE *out) {
  char error[1024], date[32] = "";
  struct snapshot_info info;
  struct stat st;
  struct tm tm;
  if (snapshot_info(path, &info, error, sizeof error) < 0 || stat(path, &st) < 0)
    return false;
  if (localtime_r(&st.st_mtim.tv_sec, &tm))
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S", &tm);
  long long ms = info.now / 1000000;
  if (number == 1)
    fprintf(out, "%-10s%-24s%11s %19s  %12s %14s\n", "ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT");
  fprintf(out, "%-10u%-24s", number, path);
  print_size(out, (uint64_t)st.st_size);
  fprintf(out, " %19s  %02lld:%02lld:%02lld.%03lld %14llu\n", date, ms / 3600000, ms / 60000 % 60,
          ms / 1000 % 60, ms % 1000, (unsigned long long)info.icount);
  return true;
}

void cmd_info_snapshots(struct monitor_env *env, char *args, FILE *out) {
  char *path = monitor_word(&args);
  unsigned shown = 0;
  if (!monitor_end(&args, "info snapshots", out))
    return;
  if (path)
    shown += print_one(path, 1, out);
  for (unsigned i = 0; !path && i < env->snapshot_count; i++)
    shown += print_one(env->snapshot[i], shown + 1, out);
  if (!shown)
    fprintf(out, "There is no snapshot available.\n");
}
