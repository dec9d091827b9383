/* SPDX-License-Identifier: MIT */
/* The monitor's "info" subcommands. What they print is formatted where the state lives (core/info.c, the
 * board). */
#include <unistd.h>

#include "config.h"
#include "core/monitor.h"
#include "devices/board.h"
#include "frontends/monitor.h"

#define INFO(name, call)                                                                                     \
  static void name(struct monitor_env *env, char *args, FILE *out) {                                         \
    (void)env;                                                                                               \
    (void)args;                                                                                              \
    call;                                                                                                    \
  }

INFO(show_audio, audio_info(env->machine->audio, out))
INFO(show_block, board_info_block(env->machine, out))
INFO(show_jit, info_jit(env->machine, out))
INFO(show_mem, info_mem(env->machine, out))
INFO(show_mtree, info_mtree(env->machine, out))
INFO(show_name, fprintf(out, "%s\n", env->name ? env->name : ""))
INFO(show_pci, board_info_pci(env->machine, out))
INFO(show_pic, board_info_pic(env->machine, out))
INFO(show_qtree, board_info_qtree(env->machine, out))
INFO(show_registers, info_registers(env->machine, out))
INFO(show_tlb, info_tlb(env->machine, out))
INFO(show_usb, board_info_usb(env->machine, out))
INFO(show_version, fprintf(out, "%s\n", DRAGOMAN_VERSION))

static void show_chardev(struct monitor_env *env, char *args, FILE *out) {
  (void)args;
  if (env->channels)
    channel_info(env->channels, out);
}

static void show_cpus(struct monitor_env *env, char *args, FILE *out) {
  (void)args;
  const struct cpu *cpu = env->machine->cpu[0];
  fprintf(out, "* CPU #0: model=%s%s instructions=%llu\n", cpu->model->name, cpu->halted ? " (halted)" : "",
          (unsigned long long)cpu_icount(cpu));
}

static void show_status(struct monitor_env *env, char *args, FILE *out) {
  (void)args;
  const struct machine *m = env->machine;
  switch (m->state) {
  case MACHINE_RUNNING: fprintf(out, "VM status: running\n"); break;
  case MACHINE_SHUTDOWN: fprintf(out, "VM status: paused (shutdown)\n"); break;
  default: fprintf(out, "VM status: paused\n");
  }
}

const struct monitor_command monitor_info_commands[] = {
    {"audio", NULL, "", "show the sound cards' voices and where sound goes", show_audio},
    {"block", NULL, "", "show the drives and their images", show_block},
    {"chardev", NULL, "", "show the character devices", show_chardev},
    {"cpus", NULL, "", "show infos for each CPU", show_cpus},
    {"jit", NULL, "", "show dynamic compiler info", show_jit},
    {"mem", NULL, "", "show the active virtual memory mappings", show_mem},
    {"mtree", NULL, "", "show memory tree", show_mtree},
    {"mice", NULL, "", "show which guest mouse is receiving events", cmd_info_mice},
    {"name", NULL, "", "show the current VM name", show_name},
    {"network", NULL, "", "show the network state", cmd_info_network},
    {"pci", NULL, "", "show PCI info", show_pci},
    {"pic", NULL, "", "show PIC state", show_pic},
    {"qtree", NULL, "", "show device tree", show_qtree},
    {"registers", NULL, "", "show the cpu registers", show_registers},
    {"replay", NULL, "", "show how far a recording or its replay has come", cmd_info_replay},
    {"snapshots", NULL, "[filename]", "show the snapshots saved or loaded so far, or one", cmd_info_snapshots},
    {"status", NULL, "", "show the current VM status (running|paused)", show_status},
    {"tlb", NULL, "", "show virtual to physical memory mappings", show_tlb},
    {"usb", NULL, "", "show guest USB devices", show_usb},
    {"usernet", NULL, "", "show user network stack connection states", cmd_info_usernet},
    {"version", NULL, "", "show the version of Dragoman", show_version},
    {NULL, NULL, NULL, NULL, NULL},
};
