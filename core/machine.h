/* SPDX-License-Identifier: MIT */
/*
 * The machine owns everything: CPU, memory, ports, clock, devices. One thread runs machine_run; front ends
 * meet it at the lock.
 *
 * The machine listens to changes of the memory map: it flushes the TLBs, and all translations if a page that holds any
 * is remapped. An engine that tracks code sets mem->on_code_write itself; `opaque` is the machine.
 *
 * machine_lock() from another thread asks the CPU loop to yield and waits (at most one slice, tens of
 * microseconds). Devices are only called with the lock held.
 */
#ifndef CORE_MACHINE_H
#define CORE_MACHINE_H

#include <stdatomic.h>
#include <pthread.h>

#include "core/audio.h"
#include "core/cpu.h"
#include "core/device.h"
#include "core/display.h"
#include "core/engine.h"
#include "core/input.h"

enum machine_state { MACHINE_PAUSED, MACHINE_RUNNING, MACHINE_SHUTDOWN, MACHINE_QUIT };

struct machine_config { /* what a front end decides; strings must outlive the machine */
  uint32_t ram_mb;
  const struct cpu_model *cpu_model;
  const struct engine *engine;
  const char *engine_options;
  bool counted; /* -icount */
  uint32_t mhz; /* counted: nominal instructions per microsecond, default 100 (10 ns each) */
  /*
   * A CPU of a stated speed (-cpu ...,mhz=): so many instructions per millisecond, 0 = as fast as it goes. Virtual
   * time is counted by instructions, so that a guest's calibration loops find the stated speed whatever the host's,
   * and the machine waits for the real time in between. tsc_mhz: what the time-stamp counter ticks at.
   */
  uint32_t pace_khz, tsc_mhz;
  bool sleep; /* counted: while the CPU halts, real time passes, too */
  bool no_reboot, no_shutdown;
  bool start_paused; /* -S */
};

struct snapshot_store;
struct replay;

struct machine {
  struct machine_config config;
  unsigned cpu_count;
  struct cpu *cpu[1];
  struct mem *mem;
  struct mem_block *ram;
  struct io_bus *io;
  struct clock *clock;
  struct audio *audio;
  struct device_set devices;
  struct state_part *parts;      /* core/snapshot.h: what others want saved */
  struct snapshot_store *stores;
  struct input_sink input;
  struct display *display; /* NULL until a display adapter sets it */
  /* The board's hooks. */
  void (*on_reset)(struct machine *m); /* after devices and CPU were reset: reload ROMs that RAM shadowed, -kernel */
  void (*on_powerdown)(struct machine *m); /* press the ACPI power button; NULL = none */
  void (*on_stuck)(struct machine *m);     /* the CPU halts with interrupts disabled; may come repeatedly */
  void *board;

  struct replay *replay; /* records what comes from outside, or plays it; NULL: neither (replay.h) */

  /* control, under the lock */
  bool in_guest;        /* the CPU or a timer runs: what they ask for is no input */
  bool settled;         /* the CPU has just arrived at its count, or halts: a run can be stopped here again */
  uint64_t slice_until; /* counted: when the next slice begins, whoever interrupts this one */
  uint32_t slice_seed;
  int64_t pace_base; /* host ns at virtual time 0 of a paced machine */
  bool pace_set;
  int64_t sleep_host, sleep_virtual; /* when a counted machine fell asleep, by both clocks; host 0: it has not */
  enum machine_state state;
  int exit_status; /* isa-debug-exit: (value << 1) | 1; else 0 */
  bool reset_wanted;
  char stop_reason[80];
  pthread_mutex_t lock;
  pthread_cond_t wake; /* CPU loop sleeps here when halted or paused */
  pthread_cond_t changed; /* state changed; front ends wait here */
  atomic_uint lock_waiters;
  pthread_t cpu_thread;
  bool cpu_asleep; /* the CPU loop waits on `wake` */
  int fork_pipe[2]; /* core/fork.c; 0, 0: none */
  uint32_t triple_cs, triple_eip; /* where the last triple fault was */
  struct { /* counters of the CPU loop */
    uint64_t slices, halts, resets, triple_faults;
  } stat;
};

struct machine *machine_new(const struct machine_config *config); /* NULL, errno; error logged */
void machine_free(struct machine *m);
/* The CPU loop; returns when state becomes SHUTDOWN (without no_shutdown) or QUIT. Takes the lock itself. */
void machine_run(struct machine *m);
/* The same up to an instruction count, for tests that compare machines on the way; may be called again. */
void machine_run_until(struct machine *m, uint64_t icount);
/* Up to a virtual time, for whoever runs the machine in his own thread and looks at it in between. False: it stopped
 * before, m->state and m->stop_reason say why. */
bool machine_run_to(struct machine *m, int64_t when);

void machine_lock(struct machine *m);
void machine_unlock(struct machine *m);
/* All of these: with the lock held. They take effect at the CPU loop's next boundary. */
void machine_pause(struct machine *m, const char *reason);
void machine_continue(struct machine *m);
void machine_request_reset(struct machine *m); /* also by devices: port 92h, 8042, CF9h, triple fault */
void machine_request_shutdown(struct machine *m, const char *reason); /* guest asked to power off */
void machine_request_quit(struct machine *m, int status);
/* For snapshots: all translations and what the engine has learnt go, whatever the memory holds now. 0 or -errno. */
int machine_restart_engine(struct machine *m);
/* Everything was replaced; or, not ok, it is in no state to go on: quit. */
void machine_loaded(struct machine *m, bool ok);
/* In a child process: the lock is new, and nobody waits. */
void machine_forked(struct machine *m);
void machine_kick(struct machine *m); /* wake the CPU loop: an interrupt or input arrived */

#endif
