/* SPDX-License-Identifier: MIT */
/* The monitor: expressions, dump formats, key names, and the answers of commands that need no board. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "core/mem.h"
#include "frontends/keyqueue.h"
#include "frontends/monitor.h"

Suite *suite_monitor(void);

static struct machine *machine;
static struct monitor_env env;

static struct {
  int key;
  bool down;
  int64_t at; /* ns of guest time */
} pressed[64];
static int pressed_count;
static bool keyboard_ready;

static void take_key(void *opaque, int key, bool down) {
  (void)opaque;
  ck_assert_int_lt(pressed_count, 64);
  pressed[pressed_count].key = key;
  pressed[pressed_count].down = down;
  pressed[pressed_count++].at = clock_now(machine->clock);
}

static bool key_ready(void *opaque) {
  (void)opaque;
  return keyboard_ready;
}

static void set_up(void) {
  struct machine_config config = {
      .ram_mb = 1,
      .cpu_model = cpu_model_find("max"),
      .engine = &engine_interp,
      .counted = true,
      .mhz = 100,
  };
  machine = machine_new(&config);
  ck_assert_ptr_nonnull(machine);
  mem_map_ram(machine->mem, 0, 1u << 20, machine->ram, 0);
  cpu_reset(machine->cpu[0]);
  machine->input.key = take_key;
  machine->input.key_ready = key_ready;
  pressed_count = 0;
  keyboard_ready = true;
  env = (struct monitor_env){.machine = machine, .keys = keyqueue_new(machine), .name = "test"};
}

static void tear_down(void) {
  monitor_unschedule(&env);
  keyqueue_free(env.keys);
  machine_free(machine);
}

/* What the command says. */
static const char *ask(const char *line) {
  static char answer[4096], copy[512];
  char *text = NULL;
  size_t size = 0;
  snprintf(copy, sizeof copy, "%s", line);
  FILE *out = open_memstream(&text, &size);
  monitor_execute(&env, copy, out);
  fclose(out);
  snprintf(answer, sizeof answer, "%s", text);
  free(text);
  return answer;
}

START_TEST(expressions) {
  machine->cpu[0]->gpr[EAX] = 0x1234;
  machine->cpu[0]->eip = 0x7c00;
  machine->cpu[0]->seg[CS].base = 0x10;
  ck_assert_str_eq(ask("print 1+2*3"), "0x7\n");
  ck_assert_str_eq(ask("p/d 10-4-3"), "3\n");
  ck_assert_str_eq(ask("p/d (10-4)*-3"), "-18\n");
  ck_assert_str_eq(ask("p/u 7/2"), "3\n");
  ck_assert_str_eq(ask("p/x ~0"), "0xffffffffffffffff\n");
  ck_assert_str_eq(ask("p/x 0xf0|0x0f&0x3"), "0x3\n"); /* & and | bind equally, from the left */
  ck_assert_str_eq(ask("p/o 8"), "010\n");
  ck_assert_str_eq(ask("p/c 'a'"), "'a'\n");
  ck_assert_str_eq(ask("p $eax + 1"), "0x1235\n");
  ck_assert_str_eq(ask("p $pc"), "0x7c10\n");
  ck_assert_ptr_nonnull(strstr(ask("p 1/0"), "division by zero\n"));
  ck_assert_ptr_nonnull(strstr(ask("p $nothing"), "unknown register\n"));
  ck_assert_ptr_nonnull(strstr(ask("p (1"), "')' expected\n"));
  ck_assert_ptr_nonnull(strstr(ask("p"), "unexpected end of expression\n"));
  ck_assert_ptr_nonnull(strstr(ask("p 1 2"), "extraneous characters"));
  ck_assert_ptr_nonnull(strstr(ask("p/s 1"), "invalid char in format: 's'\n"));
  char deep[400] = "p ";
  memset(deep + 2, '(', 300);
  ck_assert_ptr_nonnull(strstr(ask(deep), "too deep"));
}
END_TEST

START_TEST(dumps) {
  for (uint32_t i = 0; i < 32; i++)
    mem_write(machine->mem, 0x500 + i, 1, i == 0 ? 'A' : 0x80 + i);
  ck_assert_str_eq(ask("xp/2xw 0x500"), "0000000000000500: 0x83828141 0x87868584\n");
  ck_assert_str_eq(ask("x/2xw 0x500"), "00000500: 0x83828141 0x87868584\n");
  ck_assert_str_eq(ask("x/3xb 0x500"), "00000500: 0x41 0x81 0x82\n");
  ck_assert_str_eq(ask("x/2 0x501"), "00000501: 0x81 0x82\n"); /* the format stays */
  ck_assert_str_eq(ask("x/1xg 0x500"), "00000500: 0x8786858483828141\n");
  ck_assert_str_eq(ask("x/1dh 0x502"), "00000502: 33666\n");
  ck_assert_str_eq(ask("x/2c 0x500"), "00000500: 'A' '\\x81'\n");
  ck_assert_str_eq(ask("x/5xw 0x500 + 4 - 4"),
                   "00000500: 0x83828141 0x87868584 0x8b8a8988 0x8f8e8d8c\n00000510: 0x93929190\n");
}
END_TEST

START_TEST(disassembly) {
  static const uint8_t code[] = {0xb8, 0x34, 0x12, 0xf4};
  for (uint32_t i = 0; i < sizeof code; i++)
    mem_write(machine->mem, 0x600 + i, 1, code[i]);
  ck_assert_str_eq(ask("x/2i 0x600"), "0x00000600:  b8 34 12                 movw     $0x1234, %ax\n"
                                      "0x00000603:  f4                       hlt      \n");
}
END_TEST

START_TEST(key_names) {
  int keys[SENDKEY_MAX];
  char wrong[32];
  ck_assert_int_eq(monitor_parse_keys("ctrl-alt-delete", keys, wrong), 3);
  ck_assert_int_eq(keys[0], 0x1d);
  ck_assert_int_eq(keys[1], 0x38);
  ck_assert_int_eq(keys[2], 0x153);
  ck_assert_int_eq(monitor_parse_keys("a", keys, wrong), 1);
  ck_assert_int_eq(keys[0], 0x1e);
  ck_assert_int_eq(monitor_parse_keys("0x1c", keys, wrong), 1);
  ck_assert_int_eq(keys[0], 0x1c);
  ck_assert_int_eq(monitor_parse_keys("ctrl-frob", keys, wrong), -1);
  ck_assert_str_eq(wrong, "frob");
  ck_assert_int_eq(monitor_parse_keys("a--b", keys, wrong), -1);
  ck_assert_int_eq(monitor_parse_keys("a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a", keys, wrong), -1);
  ck_assert_str_eq(ask("sendkey frob"), "invalid parameter: frob\n");
  ck_assert_ptr_nonnull(strstr(ask("sendkey"), "sendkey: string expected\n"));
  ck_assert_ptr_nonnull(strstr(ask("sendkey a 10 x"), "extraneous"));
}
END_TEST

/* Let guest time pass, a millisecond at a time. */
static void pass(int ms) {
  for (int i = 0; i < ms; i++) {
    clock_warp(machine->clock, clock_now(machine->clock) + 1000000);
    clock_run_timers(machine->clock);
  }
}

START_TEST(sendkey_holds) {
  clock_resume(machine->clock);
  ck_assert_str_eq(ask("sendkey shift-a 50"), "");
  ck_assert_str_eq(ask("sendkey b"), "");
  pass(400);
  ck_assert_int_eq(pressed_count, 6);
  ck_assert(pressed[0].key == 0x2a && pressed[0].down);
  ck_assert(pressed[1].key == 0x1e && pressed[1].down);
  ck_assert(pressed[2].key == 0x1e && !pressed[2].down);
  ck_assert(pressed[3].key == 0x2a && !pressed[3].down);
  ck_assert(pressed[4].key == 0x30 && pressed[4].down);
  ck_assert(pressed[5].key == 0x30 && !pressed[5].down);
  ck_assert_int_ge(pressed[2].at - pressed[1].at, 50 * 1000000ll);
  ck_assert_int_gt(pressed[4].at, pressed[3].at);
}
END_TEST

START_TEST(typing_waits_for_the_guest) {
  clock_resume(machine->clock);
  keyboard_ready = false;
  ck_assert_str_eq(ask("type Hi\\n"), "");
  pass(100);
  ck_assert_int_eq(pressed_count, 0);
  keyboard_ready = true;
  pass(500);
  static const int expected[] = {0x2a, 0x23, 0x23, 0x2a, 0x17, 0x17, 0x1c, 0x1c};
  ck_assert_int_eq(pressed_count, 8);
  for (int i = 0; i < 8; i++)
    ck_assert_int_eq(pressed[i].key, expected[i]);
  ck_assert_ptr_nonnull(strstr(ask("type"), "text expected"));
  ck_assert_ptr_nonnull(strstr(ask("type \x80"), "no key for the character 0x80"));
}
END_TEST

START_TEST(commands_at_a_time) {
  clock_resume(machine->clock);
  ck_assert_str_eq(ask("at 0.010 sendkey a 5"), "");
  ck_assert_str_eq(ask("at 0.050 stop"), "");
  pass(9);
  ck_assert_int_eq(pressed_count, 0);
  pass(30);
  ck_assert_int_eq(pressed_count, 2);
  ck_assert_int_eq(machine->state, MACHINE_RUNNING);
  pass(20);
  ck_assert_int_eq(machine->state, MACHINE_PAUSED);
  ck_assert_ptr_nonnull(strstr(ask("at"), "time expected"));
  ck_assert_ptr_nonnull(strstr(ask("at never stop"), "not a guest time"));
  ck_assert_ptr_nonnull(strstr(ask("at 5"), "command expected"));
  ck_assert_str_eq(ask("at 1000 quit"), ""); /* never comes; tear_down frees it */
}
END_TEST

START_TEST(small_answers) {
  ck_assert_str_eq(ask("frobnicate"), "unknown command: 'frobnicate'\n");
  ck_assert_str_eq(ask("info frob"), "unknown command: 'info frob'\n");
  ck_assert_str_eq(ask("info status"), "VM status: running\n");
  ck_assert_str_eq(ask("info name"), "test\n");
  ck_assert_str_eq(ask("stop"), "");
  ck_assert_str_eq(ask("info status"), "VM status: paused\n");
  ck_assert_str_eq(ask("c"), "");
  ck_assert_int_eq(machine->state, MACHINE_RUNNING);
  ck_assert_str_eq(ask(""), "");
  ck_assert_str_eq(ask("help stop"), "stop|s  -- stop emulation\n");
  ck_assert_ptr_nonnull(strstr(ask("cont 1"), "extraneous characters"));
  ck_assert_str_eq(ask("eject nothing"), "Error: Device 'nothing' not found\n");
  ck_assert_ptr_nonnull(strstr(ask("screendump"), "filename expected"));
  ck_assert_ptr_nonnull(strstr(ask("screendump x.ppm"), "no display"));
  ck_assert_str_eq(ask("quit"), "");
  ck_assert_int_eq(machine->state, MACHINE_QUIT);
}
END_TEST

Suite *suite_monitor(void) {
  Suite *s = suite_create("monitor");
  TCase *t = tcase_create("monitor");
  tcase_add_checked_fixture(t, set_up, tear_down);
  tcase_add_test(t, expressions);
  tcase_add_test(t, dumps);
  tcase_add_test(t, disassembly);
  tcase_add_test(t, key_names);
  tcase_add_test(t, sendkey_holds);
  tcase_add_test(t, typing_waits_for_the_guest);
  tcase_add_test(t, commands_at_a_time);
  tcase_add_test(t, small_answers);
  suite_add_tcase(s, t);
  return s;
}
