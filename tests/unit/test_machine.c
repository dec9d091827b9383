/* SPDX-License-Identifier: MIT */
/* The CPU loop with an engine that only counts: locking, pausing, halting, resets, counted time. */
#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/machine.h"
#include "core/segment.h"

static uint64_t halt_at; /* icount; 0 = never */
static bool crash;       /* triple fault at the next run */

static void fake_run(struct cpu *cpu) {
  if (crash) {
    crash = false;
    cpu->shutdown = 1;
    return;
  }
  cpu->halted = 0;
  while (cpu->icount < cpu->icount_limit && !(cpu->pending & PEND_EXIT)) {
    cpu->icount++;
    if (halt_at && cpu->icount >= halt_at) {
      cpu->halted = 1;
      return;
    }
  }
}

static const struct engine fake = {.name = "fake", .run = fake_run};
static struct machine *m;
static unsigned resets;

static void count_reset(struct machine *machine) {
  (void)machine;
  resets++;
}

static void make(struct machine_config config) {
  config.ram_mb = 1;
  config.cpu_model = cpu_model_find("pentium3");
  config.engine = &fake;
  m = machine_new(&config);
  ck_assert_ptr_nonnull(m);
  m->on_reset = count_reset;
  resets = 0;
  halt_at = 0;
  crash = false;
}

static pthread_t thread;
static void *run(void *opaque) {
  machine_run(opaque);
  return NULL;
}
static void start(void) { ck_assert_int_eq(pthread_create(&thread, NULL, run, m), 0); }
static void finish(void) {
  machine_lock(m);
  machine_request_quit(m, 7);
  machine_unlock(m);
  pthread_join(thread, NULL);
  ck_assert_int_eq(m->exit_status, 7);
  machine_free(m);
}

static int64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}
static void nap(int ms) { nanosleep(&(struct timespec){.tv_nsec = ms * 1000000l}, NULL); }

/* Returns with the lock held once the condition holds; a loaded host may take its time. */
#define WAIT_FOR(condition)                                                                                  \
  do {                                                                                                       \
    int64_t deadline_ = now_ns() + 10 * NS_PER_SEC;                                                          \
    machine_lock(m);                                                                                         \
    while (!(condition)) {                                                                                   \
      machine_unlock(m);                                                                                     \
      ck_assert_msg(now_ns() < deadline_, "never: %s", #condition);                                          \
      nap(1);                                                                                                \
      machine_lock(m);                                                                                       \
    }                                                                                                        \
  } while (0)

START_TEST(others_get_the_lock) {
  make((struct machine_config){0});
  start();
  for (int i = 0; i < 200; i++) {
    int64_t before = now_ns();
    machine_lock(m);
    ck_assert_int_lt(now_ns() - before, NS_PER_SEC); /* the loop itself never pauses */
    machine_unlock(m);
  }
  finish();
}
END_TEST

START_TEST(pausing) {
  make((struct machine_config){.start_paused = true});
  start();
  nap(5);
  machine_lock(m);
  ck_assert_uint_eq(m->cpu[0]->icount, 0);
  int64_t t = clock_now(m->clock);
  machine_continue(m);
  machine_unlock(m);
  WAIT_FOR(m->cpu[0]->icount > 0);
  ck_assert_int_gt(clock_now(m->clock), t);
  machine_pause(m, "by the user");
  machine_unlock(m);
  WAIT_FOR(m->cpu_asleep);
  ck_assert_int_eq(m->state, MACHINE_PAUSED);
  ck_assert_str_eq(m->stop_reason, "by the user");
  uint64_t count = m->cpu[0]->icount;
  t = clock_now(m->clock);
  machine_unlock(m);
  nap(5);
  machine_lock(m);
  ck_assert_uint_eq(m->cpu[0]->icount, count);
  ck_assert_int_eq(clock_now(m->clock), t);
  machine_unlock(m);
  finish();
}
END_TEST

START_TEST(guest_resets) {
  make((struct machine_config){0});
  start();
  WAIT_FOR(resets == 1);
  machine_request_reset(m);
  machine_unlock(m);
  WAIT_FOR(resets == 2); /* power-on and ours */
  crash = true;
  machine_unlock(m);
  WAIT_FOR(resets == 3);
  ck_assert_uint_eq(m->cpu[0]->shutdown, 0);
  machine_unlock(m);
  finish();
}
END_TEST

START_TEST(no_reboot) {
  make((struct machine_config){.no_reboot = true});
  crash = true;
  machine_run(m);
  ck_assert_int_eq(m->state, MACHINE_SHUTDOWN);
  ck_assert_str_eq(m->stop_reason, "triple fault");
  machine_free(m);
  make((struct machine_config){.no_reboot = true});
  machine_request_reset(m); /* before power-on: part of it */
  start();
  WAIT_FOR(m->cpu[0]->icount > 0);
  ck_assert_int_eq(m->state, MACHINE_RUNNING);
  machine_request_reset(m);
  machine_unlock(m);
  pthread_join(thread, NULL);
  ck_assert_str_eq(m->stop_reason, "reset");
  ck_assert_uint_eq(resets, 1);
  machine_free(m);
}
END_TEST

START_TEST(no_shutdown_waits_for_a_reset) {
  make((struct machine_config){.no_shutdown = true});
  start();
  WAIT_FOR(resets == 1);
  machine_request_shutdown(m, "power off");
  machine_unlock(m);
  nap(3);
  machine_lock(m);
  ck_assert_int_eq(m->state, MACHINE_SHUTDOWN);
  machine_request_reset(m);
  machine_unlock(m);
  WAIT_FOR(m->state == MACHINE_RUNNING);
  machine_unlock(m);
  finish();
}
END_TEST

static struct timer timer;
static uint64_t fired_at[8];
static unsigned fired;

static void tick(void *opaque) {
  (void)opaque;
  fired_at[fired++] = m->cpu[0]->icount;
  if (fired == 8)
    machine_request_quit(m, 0);
  else
    timer_arm(&timer, clock_now(m->clock) + 123450); /* 12345 instructions at 100 MHz */
}

START_TEST(counted_slices_end_at_timers) {
  make((struct machine_config){.counted = true});
  fired = 0;
  timer_init(&timer, m->clock, "tick", tick, NULL);
  timer_arm(&timer, 1000001); /* not a whole instruction: rounded up */
  machine_run(m);
  ck_assert_uint_eq(fired, 8);
  for (unsigned i = 0; i < 8; i++)
    ck_assert_uint_eq(fired_at[i], 100001 + 12345 * i);
  machine_free(m);
}
END_TEST

START_TEST(counted_time_is_warped_in_hlt) {
  make((struct machine_config){.counted = true});
  fired = 0;
  halt_at = 500;
  timer_init(&timer, m->clock, "tick", tick, NULL);
  timer_arm(&timer, 10 * NS_PER_SEC);
  int64_t before = now_ns();
  machine_run(m);
  ck_assert_int_lt(now_ns() - before, 5 * NS_PER_SEC);
  ck_assert_uint_eq(fired, 8);
  ck_assert_uint_eq(fired_at[0], 500);
  ck_assert_int_eq(clock_now(m->clock), 10 * NS_PER_SEC + 7 * 123450);
  machine_free(m);
}
END_TEST

/* Real-mode code at 0800h under the interpreter, INT 16h and 28h lead to an IRET. */
static uint8_t program[16];
static void load_program(struct machine *machine) {
  struct cpu *cpu = machine->cpu[0];
  uint8_t *ram = machine->ram->host;
  mem_map_ram(machine->mem, 0, machine->ram->size, machine->ram, 0);
  memcpy(ram + 0x28 * 4, &(uint32_t){0x700}, 4);
  memcpy(ram + 0x16 * 4, &(uint32_t){0x700}, 4);
  ram[0x700] = 0xcf;
  memcpy(ram + 0x800, program, sizeof program);
  seg_load_real(cpu, CS, 0);
  cpu->eip = 0x800;
  cpu->gpr[ESP] = 0x600;
}

static void make_program(const uint8_t *code, size_t size) {
  make((struct machine_config){0});
  m->config.engine = &engine_interp;
  memcpy(program, code, size);
  m->on_reset = load_program;
}

START_TEST(a_guest_that_only_waits_rests) {
  static const uint8_t waits[2][7] = {{0xcd, 0x28, 0xeb, 0xfc},                    /* int 28h; jmp */
                                      {0xb4, 0x01, 0xcd, 0x16, 0xeb, 0xfa, 0x90}}; /* mov ah, 1; int 16h; jmp */
  make_program(waits[_i], sizeof waits[_i]);
  start();
  WAIT_FOR(m->cpu_asleep);
  uint64_t before = m->cpu[0]->icount;
  machine_unlock(m);
  nap(200);
  machine_lock(m);
  ck_assert_uint_lt(m->cpu[0]->icount - before, 20000); /* the interpreter makes millions */
  machine_unlock(m);
  finish();
}
END_TEST

START_TEST(a_guest_that_works_between_calls_does_not) {
  static const uint8_t works[] = {0xb9, 0x00, 0x20, 0xe2, 0xfe,
                                  0xcd, 0x28, 0xeb, 0xf7}; /* mov cx; loop; int 28h; jmp */
  make_program(works, sizeof works);
  start();
  WAIT_FOR(m->cpu[0]->icount > 500000);
  ck_assert_uint_eq(m->cpu[0]->idle_calls.count, 0);
  machine_unlock(m);
  finish();
}
END_TEST

/* Between two looks for a key it reads a port. */
START_TEST(a_guest_that_reads_ports_does_not) {
  static const uint8_t reads[] = {0xb4, 0x01, 0xcd, 0x16, 0xe4, 0x61, 0xeb, 0xf8};
  make_program(reads, sizeof reads);
  start();
  WAIT_FOR(m->cpu[0]->icount > 500000);
  ck_assert_uint_le(m->cpu[0]->key_calls.count, 1);
  machine_unlock(m);
  finish();
}
END_TEST

START_TEST(a_halted_cpu_sleeps_until_woken) {
  make((struct machine_config){0});
  halt_at = 1;
  start();
  WAIT_FOR(m->stat.halts > 0);
  uint64_t halts = m->stat.halts;
  machine_unlock(m);
  nap(20);
  machine_lock(m);
  ck_assert_uint_le(m->stat.halts, halts + 3); /* no spinning */
  uint64_t count = m->cpu[0]->icount;
  halt_at = 0;
  m->cpu[0]->eflags |= FL_IF;
  cpu_set_intr(m->cpu[0], true);
  machine_unlock(m);
  WAIT_FOR(m->cpu[0]->icount > count);
  machine_unlock(m);
  finish();
}
END_TEST

/* A stated speed: virtual time is counted, real time is waited for. */
START_TEST(stated_speed) {
  make((struct machine_config){.pace_khz = 1000, .tsc_mhz = 33});
  int64_t begin = now_ns();
  machine_run_until(m, 60000);
  int64_t spent = now_ns() - begin;
  int64_t virtual = clock_now(m->clock);
  ck_assert_int_ge(virtual, 60000000); /* what 60,000 instructions last */
  ck_assert_int_lt(virtual, 70000000);
  ck_assert_int_ge(spent, 55000000); /* at the end it may be a little ahead */
  ck_assert_uint_eq(cpu_tsc(m->cpu[0]), (uint64_t)clock_now(m->clock) * 33 / 1000);
  machine_free(m);
}
END_TEST

static void note_time(void *opaque) { *(int64_t *)opaque = now_ns(); }

/* The same while the CPU halts. */
START_TEST(stated_speed_idle) {
  int64_t fired = 0;
  struct timer t;
  make((struct machine_config){.pace_khz = 1000, .tsc_mhz = 33});
  timer_init(&t, m->clock, "test", note_time, &fired);
  timer_arm(&t, 40000000);
  halt_at = 1;
  int64_t begin = now_ns();
  start();
  WAIT_FOR(fired != 0);
  machine_unlock(m);
  ck_assert_int_ge(fired - begin, 39000000);
  finish();
}
END_TEST

Suite *suite_machine(void) {
  Suite *s = suite_create("machine");
  TCase *t = tcase_create("machine");
  tcase_set_timeout(t, 20);
  tcase_add_test(t, others_get_the_lock);
  tcase_add_test(t, pausing);
  tcase_add_test(t, guest_resets);
  tcase_add_test(t, no_reboot);
  tcase_add_test(t, no_shutdown_waits_for_a_reset);
  tcase_add_test(t, counted_slices_end_at_timers);
  tcase_add_test(t, counted_time_is_warped_in_hlt);
  tcase_add_test(t, a_halted_cpu_sleeps_until_woken);
  tcase_add_loop_test(t, a_guest_that_only_waits_rests, 0, 2);
  tcase_add_test(t, stated_speed);
  tcase_add_test(t, stated_speed_idle);
  tcase_add_test(t, a_guest_that_reads_ports_does_not);
  tcase_add_test(t, a_guest_that_works_between_calls_does_not);
  suite_add_tcase(s, t);
  return s;
}
