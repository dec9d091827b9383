/* SPDX-License-Identifier: MIT */
/* Monitor commands for recordings and replays, with QEMU's names: info replay, replay_break, replay_seek. */
#include <string.h>

#include "core/replay.h"
#include "frontends/monitor.h"

void cmd_info_replay(struct monitor_env *env, char *args, FILE *out) {
  if (!monitor_end(&args, "info replay", out))
    return;
  if (env->machine->replay)
    replay_info(env->machine->replay, out);
  else
    fprintf(out, "Record/replay is not active\n");
}

/* The count that the command names. */
static bool take_count(struct monitor_env *env, char *args, const char *command, uint64_t *icount,
                       FILE *out) {
  int64_t number;
  char *word = monitor_need(&args, command, "icount", out);
  if (!word || !monitor_end(&args, command, out))
    return false;
  if (!monitor_number(word, &number) || number < 0) {
    fprintf(out, "%s: '%s' is not an instruction count\n", command, word);
    return false;
  }
  *icount = (uint64_t)number;
  if (!env->machine->replay || !replay_is_playing(env->machine->replay)) {
    fprintf(out, "Error: this is no replay (-icount rr=replay,rrfile=FILE)\n");
    return false;
  }
  return true;
}

void cmd_replay_break(struct monitor_env *env, char *args, FILE *out) {
  uint64_t icount;
  if (!take_count(env, args, "replay_break", &icount, out))
    return;
  if (icount < cpu_icount(env->machine->cpu[0]))
    fprintf(out, "Error: the replay has passed that count; it is at %llu\n",
            (unsigned long long)cpu_icount(env->machine->cpu[0]));
  else
    replay_set_break(env->machine->replay, icount);
}

void cmd_replay_delete_break(struct monitor_env *env, char *args, FILE *out) {
  if (!monitor_end(&args, "replay_delete_break", out))
    return;
  if (env->machine->replay)
    replay_set_break(env->machine->replay, UINT64_MAX);
}

void cmd_replay_seek(struct monitor_env *env, char *args, FILE *out) {
  uint64_t icount;
  char error[512];
  if (!take_count(env, args, "replay_seek", &icount, out))
    return;
  if (replay_go_back(env->machine->replay, icount, error, sizeof error) < 0) {
    fprintf(out, "Error: %s\n", error);
    return;
  }
  replay_set_break(env->machine->replay, icount);
  machine_continue(env->machine);
}
