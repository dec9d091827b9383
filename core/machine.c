/* SPDX-License-Identifier: MIT */
/*
 * The machine and its CPU loop. The loop holds the machine lock while guest code and devices run, and lets it go
 * between slices when another thread asks, and while the guest has nothing to do. In counted mode each slice ends
 * exactly where the next timer is due, so that a run does not depend on the host's speed or on who takes the lock.
 */
#include "core/machine.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "core/monitor.h"
#include "core/paging.h"
#include "core/replay.h"
#include "core/segment.h"
#include "core/snapshot.h"

#define SLICE 100000u /* instructions: how long a lock waiter that comes late may have to wait */
#define SLICE_MIN 1000u
#define SLEEP_MAX_NS NS_PER_SEC
#define NAP_NS 10000000 /* the longest rest of a guest that could go on, but says that it only waits */
#define PACE_MAX_LAG NS_PER_SEC / 4 /* what a paced machine makes up for; beyond it loses time */
#define PACE_LEAST 128u             /* instructions: more than a block has */
#define PACE_SLICE_US 1000          /* a paced machine looks at the real time so often */
#define SPIN_NS 50000 /* what a sleep and a wake-up cost the host: shorter waits are not worth one */

static void set_pending(struct cpu *cpu, uint32_t bits) {
  __atomic_fetch_or(&cpu->pending, bits, __ATOMIC_SEQ_CST);
}

static void clear_pending(struct cpu *cpu, uint32_t bits) {
  __atomic_fetch_and(&cpu->pending, ~bits, __ATOMIC_SEQ_CST);
}

static void exit_slice(struct machine *m) {
  for (unsigned i = 0; i < m->cpu_count; i++)
    set_pending(m->cpu[i], PEND_EXIT);
}

static void kick_from_timer(void *opaque) { exit_slice(opaque); }

static uint64_t count_instructions(void *opaque) {
  struct machine *m = opaque;
  return m->cpu[0] ? cpu_icount(m->cpu[0]) : 0;
}

static void dump_state(void *opaque, FILE *out) { info_registers(opaque, out); }

/* --- memory listener ---------------------------------------------------------------------------------- */

static void map_change(void *opaque, uint32_t pa, uint64_t size) {
  struct machine *m = opaque;
  bool code = false;
  for (uint64_t off = 0; off < size && !code; off += MEM_PAGE)
    code = (m->mem->page[(pa + off) / MEM_PAGE].flags & PAGE_CODE) != 0;
  for (unsigned i = 0; i < m->cpu_count; i++) {
    if (code && m->config.engine->flush)
      m->config.engine->flush(m->cpu[i]);
    tlb_flush(m->cpu[i], false);
  }
}

static void protect(void *opaque, uint8_t *host_page) {
  struct machine *m = opaque;
  for (unsigned i = 0; i < m->cpu_count; i++) {
    if (host_page)
      tlb_protect_host_page(m->cpu[i], host_page);
    else
      tlb_flush(m->cpu[i], false);
  }
}

/*
 * In counted time nothing that the host does, such as drawing the screen, may make the TLB forget other pages:
 * whether a guest that clears accessed bits without INVLPG finds them set again depends on it.
 */
static void protect_range(void *opaque, uint8_t *host, uint64_t size) {
  struct machine *m = opaque;
  for (unsigned i = 0; i < m->cpu_count; i++) {
    if (m->config.counted)
      tlb_protect_host_range(m->cpu[i], host, size);
    else
      tlb_flush(m->cpu[i], false);
  }
}

/* --- making and freeing ------------------------------------------------------------------------------- */

static int init_sync(struct machine *m) {
  pthread_condattr_t attr;
  pthread_condattr_init(&attr);
  pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
  int error = pthread_mutex_init(&m->lock, NULL);
  if (!error)
    error = pthread_cond_init(&m->wake, &attr);
  if (!error)
    error = pthread_cond_init(&m->changed, &attr);
  pthread_condattr_destroy(&attr);
  return error;
}

struct machine *machine_new(const struct machine_config *config) {
  struct machine *m = calloc(1, sizeof *m);
  if (!m) {
    error_report("out of memory");
    return NULL;
  }
  m->config = *config;
  if (m->config.mhz == 0)
    m->config.mhz = 100;
  m->state = config->start_paused ? MACHINE_PAUSED : MACHINE_RUNNING;
  errno = init_sync(m);
  if (errno)
    goto fail;
  m->io = io_bus_new();
  m->mem = mem_new();
  m->clock = config->counted || config->pace_khz ? clock_new_counted(count_instructions, m, m->config.mhz)
                                                 : clock_new_real();
  if (m->clock && config->pace_khz && !config->counted)
    clock_set_khz(m->clock, config->pace_khz);
  m->audio = m->clock ? audio_new(m->clock) : NULL;
  if (!m->io || !m->mem || !m->clock || !m->audio)
    goto fail;
  m->ram = mem_block_new(m->mem, "ram", (uint64_t)config->ram_mb << 20);
  if (!m->ram)
    goto fail;
  m->devices = (struct device_set){.io = m->io, .mem = m->mem, .clock = m->clock};
  m->cpu[0] = cpu_new(m, config->cpu_model);
  if (!m->cpu[0])
    goto fail;
  m->cpu_count = 1;
  m->mem->listener = m;
  m->mem->on_map_change = map_change;
  m->mem->on_protect = protect;
  m->mem->on_protect_range = protect_range;
  clock_pause(m->clock); /* power-on is when machine_run starts */
  clock_set_kick(m->clock, kick_from_timer, m);
  int error = config->engine->init ? config->engine->init(m->cpu[0], config->engine_options) : 0;
  if (error) { /* logged by the engine */
    m->config.engine = NULL;
    machine_free(m);
    errno = -error;
    return NULL;
  }
  log_set_dump(dump_state, m);
  return m;

fail:
  error_report("cannot make a machine with %u MB of memory: %s", config->ram_mb, strerror(errno));
  m->config.engine = NULL;
  machine_free(m);
  return NULL;
}

void machine_free(struct machine *m) {
  if (!m)
    return;
  machine_settle_forks(m);
  log_set_dump(NULL, NULL);
  device_free_all(&m->devices);
  if (m->mem) { /* no more announcements */
    m->mem->on_map_change = NULL;
    m->mem->on_protect = NULL;
    m->mem->on_protect_range = NULL;
    m->mem->on_code_write = NULL;
  }
  if (m->cpu[0]) {
    if (m->config.engine && m->config.engine->destroy)
      m->config.engine->destroy(m->cpu[0]);
    cpu_free(m->cpu[0]);
  }
  audio_free(m->audio);
  clock_free(m->clock);
  mem_free(m->mem);
  io_bus_free(m->io);
  pthread_cond_destroy(&m->changed);
  pthread_cond_destroy(&m->wake);
  pthread_mutex_destroy(&m->lock);
  free(m);
}

/* --- control, from any thread that holds the lock ----------------------------------------------------- */

static int64_t host_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

static int64_t next_deadline(const struct machine *m) {
  int64_t deadline = clock_deadline(m->clock), wanted = m->replay ? replay_deadline(m) : INT64_MAX;
  return wanted < deadline ? wanted : deadline;
}

/* The machine sleeps, or did (counted_sleep): virtual time comes up to the real one, but not beyond `most`. */
static void sleep_catch_up(struct machine *m, int64_t most) {
  int64_t now = m->sleep_virtual + (host_ns() - m->sleep_host);
  clock_warp(m->clock, now < most ? now : most);
}

void machine_lock(struct machine *m) {
  atomic_fetch_add(&m->lock_waiters, 1);
  exit_slice(m);
  pthread_mutex_lock(&m->lock);
  atomic_fetch_sub(&m->lock_waiters, 1);
  bool asleep = m->cpu_asleep && m->sleep_host && m->state == MACHINE_RUNNING && !m->reset_wanted;
  if (asleep && !cpu_event_deliverable(m->cpu[0])) /* no timer comes due by this */
    sleep_catch_up(m, next_deadline(m) - 1);
}

void machine_unlock(struct machine *m) {
  /* Whatever was done under the lock may have woken the guest. */
  bool wake = m->cpu_asleep;
  pthread_mutex_unlock(&m->lock);
  if (wake)
    pthread_cond_signal(&m->wake);
}

void machine_kick(struct machine *m) {
  exit_slice(m);
  if (m->cpu_asleep)
    pthread_cond_signal(&m->wake);
}

static void set_state(struct machine *m, enum machine_state state, const char *reason) {
  if (m->state == MACHINE_QUIT)
    return;
  m->state = state;
  snprintf(m->stop_reason, sizeof m->stop_reason, "%s", reason ? reason : "");
  pthread_cond_broadcast(&m->changed);
  machine_kick(m);
}

void machine_pause(struct machine *m, const char *reason) {
  if (m->state == MACHINE_RUNNING)
    set_state(m, MACHINE_PAUSED, reason);
}

void machine_continue(struct machine *m) {
  if (m->state == MACHINE_PAUSED)
    set_state(m, MACHINE_RUNNING, NULL);
}

void machine_request_reset(struct machine *m) {
  if (!replay_request(m, REPLAY_RESET, 0))
    return;
  m->reset_wanted = true;
  machine_kick(m);
}

void machine_request_shutdown(struct machine *m, const char *reason) {
  if (m->state != MACHINE_SHUTDOWN)
    set_state(m, MACHINE_SHUTDOWN, reason);
}

void machine_request_quit(struct machine *m, int status) {
  if (m->state == MACHINE_QUIT || !replay_request(m, REPLAY_QUIT, status))
    return;
  m->exit_status = status;
  set_state(m, MACHINE_QUIT, "quit");
}

/* --- for snapshots ------------------------------------------------------------------------------------ */

int machine_restart_engine(struct machine *m) {
  const struct engine *engine = m->config.engine;
  for (unsigned i = 0; i < m->cpu_count; i++) {
    struct cpu *cpu = m->cpu[i];
    if (engine->destroy)
      engine->destroy(cpu);
    mem_forget_code(m->mem);
    m->mem->on_code_write = NULL;
    cpu_forget_code(cpu);
    int error = engine->init ? engine->init(cpu, m->config.engine_options) : 0;
    if (error)
      return error;
  }
  return 0;
}

void machine_loaded(struct machine *m, bool ok) {
  m->pace_set = false;
  if (m->sleep_host) { /* it sleeps in another time now */
    m->sleep_host = host_ns();
    m->sleep_virtual = clock_now(m->clock);
  }
  if (!ok)
    machine_request_quit(m, 1);
  else if (m->state == MACHINE_SHUTDOWN)
    set_state(m, MACHINE_PAUSED, "loaded");
  machine_kick(m);
}

void machine_forked(struct machine *m) {
  init_sync(m);
  atomic_store(&m->lock_waiters, 0);
  m->cpu_asleep = false;
  m->pace_set = false;
}

/* --- the CPU loop ------------------------------------------------------------------------------------- */

static void reset(struct machine *m) {
  m->reset_wanted = false;
  m->settled = true;
  m->stat.resets++;
  device_reset_all(&m->devices);
  for (unsigned i = 0; i < m->cpu_count; i++) {
    cpu_reset(m->cpu[i]);
    if (m->config.engine->flush)
      m->config.engine->flush(m->cpu[i]);
  }
  if (m->on_reset)
    m->on_reset(m);
}

/* In a recording whoever comes from outside waits until the machine is where a replay can stop. */
static bool may_serve(const struct machine *m) {
  return !m->replay || replay_is_playing(m->replay) || replay_at_rest(m);
}

/* Let other threads have the lock that they wait for. */
static void serve_waiters(struct machine *m) {
  if (atomic_load(&m->lock_waiters) == 0 || !may_serve(m))
    return;
  pthread_mutex_unlock(&m->lock);
  while (atomic_load(&m->lock_waiters))
    sched_yield();
  pthread_mutex_lock(&m->lock);
}

/* Give up the lock until somebody signals or ns nanoseconds have passed (negative: for ever). */
static void sleep_unlocked(struct machine *m, int64_t ns) {
  m->cpu_asleep = true;
  if (ns < 0) {
    pthread_cond_wait(&m->wake, &m->lock);
  } else {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t sum = until.tv_nsec + (ns < SLEEP_MAX_NS ? ns : SLEEP_MAX_NS);
    until.tv_sec += sum / NS_PER_SEC;
    until.tv_nsec = sum % NS_PER_SEC;
    pthread_cond_timedwait(&m->wake, &m->lock, &until);
  }
  m->cpu_asleep = false;
}

/* Wait so briefly that the lock can be kept: until the clock reaches `deadline`, or somebody wants something. */
static void spin(struct machine *m, int64_t deadline) {
  while (clock_now(m->clock) < deadline && !m->cpu[0]->pending && !atomic_load(&m->lock_waiters))
    __builtin_ia32_pause();
}

/* --- a CPU of a stated speed --- */

static bool paced(const struct machine *m) { return m->config.pace_khz && !m->config.counted; }

/* How far virtual time is ahead of real time, ns; negative: behind, by PACE_MAX_LAG at most. */
static int64_t pace_ahead(struct machine *m) {
  int64_t host = host_ns(), now = clock_now(m->clock);
  if (!m->pace_set || host - m->pace_base - now > PACE_MAX_LAG)
    m->pace_base = host - now;
  m->pace_set = true;
  return now - (host - m->pace_base);
}

/* The CPU has nothing to do until `deadline`: let real time pass, and virtual time with it. */
static void pace_idle(struct machine *m, int64_t deadline) {
  int64_t ahead = pace_ahead(m), left = deadline - clock_now(m->clock) + ahead;
  if (left > 0)
    sleep_unlocked(m, left);
  int64_t real = clock_now(m->clock) - pace_ahead(m); /* an event may have ended the sleep early */
  clock_warp(m->clock, real < deadline ? real : deadline);
}

/* After a slice. */
static void pace(struct machine *m) {
  int64_t ahead = pace_ahead(m);
  if (ahead > PACE_SLICE_US * 1000 && !(m->cpu[0]->pending & PEND_EXIT))
    sleep_unlocked(m, ahead);
}

/* Counted time that rests with the real one: as much virtual time passes as the host slept. */
static void counted_sleep(struct machine *m, int64_t deadline) {
  int64_t left = deadline - clock_now(m->clock);
  m->sleep_virtual = clock_now(m->clock);
  m->sleep_host = host_ns();
  sleep_unlocked(m, left < SLEEP_MAX_NS ? left : SLEEP_MAX_NS);
  /* Whatever woke the CPU came at the time that it found. */
  if (m->state == MACHINE_RUNNING && !m->reset_wanted && !cpu_event_deliverable(m->cpu[0]))
    sleep_catch_up(m, next_deadline(m));
  m->sleep_host = 0;
}

/* The CPU halts and nothing can wake it now: pass the time until the next timer. */
static void idle(struct machine *m) {
  m->stat.halts++;
  if (m->on_stuck && !(m->cpu[0]->eflags & FL_IF))
    m->on_stuck(m);
  int64_t deadline = next_deadline(m);
  if (paced(m)) {
    int64_t now = clock_now(m->clock);
    pace_idle(m, deadline - now < SLEEP_MAX_NS ? deadline : now + SLEEP_MAX_NS);
  } else if (m->config.counted && m->config.sleep && !(m->replay && replay_is_playing(m->replay))) {
    counted_sleep(m, deadline);
  } else if (deadline == INT64_MAX) {
    sleep_unlocked(m, -1);
  } else if (clock_is_counted(m->clock)) {
    clock_warp(m->clock, deadline);
  } else {
    int64_t left = deadline - clock_now(m->clock);
    if (left > SPIN_NS)
      sleep_unlocked(m, left);
    else if (left > 0)
      spin(m, deadline);
  }
}

/* The guest waits by asking again and again. */
static void nap(struct machine *m) {
  int64_t deadline = clock_deadline(m->clock), now = clock_now(m->clock);
  int64_t left = deadline - now < NAP_NS ? deadline - now : NAP_NS;
  if (left <= SPIN_NS || cpu_event_deliverable(m->cpu[0]))
    return;
  if (paced(m))
    pace_idle(m, now + left);
  else
    sleep_unlocked(m, left);
}

/* How many instructions until the loop wants to look at the timers again, or has done what it was asked for. */
static uint64_t slice_length(struct machine *m, uint64_t most) {
  /* Never the same length twice in a row: engines take the ends of slices as samples of what is hot, and a loop must
   * not always be found at the same place. */
  uint64_t now = cpu_icount(m->cpu[0]), slice;
  bool goes_on = m->config.counted && now < m->slice_until;
  if (!goes_on) {
    m->slice_seed = m->slice_seed * 1664525u + 1013904223u;
    m->slice_until = now + SLICE - (m->slice_seed >> 17); /* the top 15 bits */
  }
  m->cpu[0]->slice_continues = goes_on;
  slice = m->slice_until - now;
  if (m->replay && replay_limit(m) - now < slice)
    slice = replay_limit(m) - now;
  uint64_t longest = most < slice ? most : slice;
  if (paced(m) && longest > (uint64_t)m->config.pace_khz * PACE_SLICE_US / 1000 + SLICE_MIN)
    longest = (uint64_t)m->config.pace_khz * PACE_SLICE_US / 1000 + SLICE_MIN;
  int64_t deadline = clock_deadline(m->clock);
  if (deadline == INT64_MAX)
    return longest;
  if (clock_is_counted(m->clock)) {
    uint64_t insns = clock_insns_until(m->clock, deadline);
    if (paced(m) && insns > 0 && insns < PACE_LEAST) /* it need not be exact, and a block may be longer */
      insns = PACE_LEAST;
    return insns < longest ? insns : longest;
  }
  int64_t left = deadline - clock_now(m->clock); /* the real clock: about an instruction a nanosecond */
  return left < SLICE_MIN ? SLICE_MIN : (uint64_t)left > longest ? longest : (uint64_t)left;
}

/* To the slice's end, or until something wants the loop. */
static void run_engine(struct machine *m) {
  struct cpu *cpu = m->cpu[0];
  m->in_guest = true;
  m->config.engine->run(cpu);
  m->in_guest = false;
  m->settled = cpu->icount >= cpu->icount_limit || cpu->shutdown || (cpu->halted && !cpu_event_deliverable(cpu));
}

static void run_slice(struct machine *m, uint64_t until) {
  struct cpu *cpu = m->cpu[0];
  m->in_guest = true;
  clock_run_timers(m->clock);
  m->in_guest = false;
  clear_pending(cpu, PEND_EXIT);
  /* Whoever asked before that is seen now; whoever asks from here on sets PEND_EXIT again. */
  bool waiters = atomic_load(&m->lock_waiters);
  if ((waiters && may_serve(m)) || m->state != MACHINE_RUNNING || m->reset_wanted)
    return;
  if (cpu->halted && !cpu_event_deliverable(cpu)) {
    idle(m);
    return;
  }
  uint64_t length = slice_length(m, until - cpu_icount(cpu));
  if (length == 0) /* counted: a timer callback armed one that is due at once */
    return;
  m->stat.slices++;
  cpu->icount_limit = cpu_icount(cpu) + (waiters && m->replay ? 1 : length); /* to where they can be served */
  run_engine(m);
  if (cpu->idle_wanted) {
    cpu->idle_wanted = false;
    if (!m->config.counted)
      nap(m);
  }
  if (paced(m))
    pace(m);
  if (cpu->shutdown) {
    log_print(LOG_CPU_RESET, "triple fault\n");
    m->stat.triple_faults++;
    m->triple_cs = cpu->seg[CS].sel;
    m->triple_eip = cpu->eip;
    m->reset_wanted = true;
  }
}

/* Start, stop or reset as was asked for. False when the machine is done. */
static bool follow_requests(struct machine *m) {
  if (m->state == MACHINE_QUIT || (m->state == MACHINE_SHUTDOWN && !m->config.no_shutdown))
    return false;
  if (m->reset_wanted) {
    if (m->config.no_reboot && m->state == MACHINE_RUNNING) {
      bool triple = m->cpu[0]->shutdown;
      m->reset_wanted = false;
      set_state(m, MACHINE_SHUTDOWN, triple ? "triple fault" : "reset");
    } else {
      reset(m);
      if (m->state == MACHINE_SHUTDOWN)
        set_state(m, MACHINE_RUNNING, NULL);
    }
  }
  return true;
}

/* Up to an instruction count or a virtual time; with a time also until the machine pauses. */
static void run(struct machine *m, uint64_t until, int64_t when) {
  machine_settle_forks(m);
  machine_lock(m);
  m->cpu_thread = pthread_self();
  prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); /* the default, 50 us, is more than some guests' timers take */
  if (m->stat.resets == 0) {
    m->settled = true;
    if (m->replay)
      replay_poll(m);
    reset(m);
  }
  for (;;) {
    if (m->replay && replay_at_rest(m))
      replay_poll(m);
    serve_waiters(m);
    if (cpu_icount(m->cpu[0]) >= until || (when != INT64_MAX && clock_now(m->clock) >= when) ||
        !follow_requests(m))
      break;
    if (when != INT64_MAX && m->state != MACHINE_RUNNING)
      break;
    if (m->state == MACHINE_RUNNING) {
      clock_resume(m->clock);
      run_slice(m, until);
    } else if (m->state == MACHINE_PAUSED || m->config.no_shutdown) {
      clock_pause(m->clock);
      sleep_unlocked(m, -1);
      m->pace_set = false;
    }
  }
  clock_pause(m->clock);
  if (m->replay && m->state != MACHINE_RUNNING && m->state != MACHINE_PAUSED)
    replay_finish(m);
  machine_unlock(m);
}

void machine_run(struct machine *m) { run(m, UINT64_MAX, INT64_MAX); }

void machine_run_until(struct machine *m, uint64_t icount) { run(m, icount, INT64_MAX); }

static void time_has_come(void *opaque) { (void)opaque; }

bool machine_run_to(struct machine *m, int64_t when) {
  struct timer alarm; /* ends the slice, or the guest's rest, there */
  timer_init(&alarm, m->clock, "run to", time_has_come, NULL);
  timer_arm(&alarm, when);
  run(m, UINT64_MAX, when);
  timer_cancel(&alarm);
  return m->state == MACHINE_RUNNING;
}
