/* SPDX-License-Identifier: MIT */
/*
 * The whole board under a guest gone mad: random accesses to all ports, PCI configuration, device memory and
 * low RAM, between them time, input, interrupt acknowledges and resets. It must come through without a wild
 * access (run it under --enable-sanitize), without an assertion and in time.
 */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "core/machine.h"
#include "devices/board.h"
#include "devices/props.h"

#define OPS 300000

static uint64_t seed;

static uint64_t rnd(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

static size_t swallow(struct chardev *c, const uint8_t *buf, size_t len) {
  (void)c, (void)buf;
  return rnd() & 7 ? len : 0;
}

struct range {
  uint32_t base, size;
};

static const struct range ports[] = {
    {0x00, 0x100}, {0x170, 8},    {0x1f0, 8},   {0x1ce, 3},   {0x2f8, 8},   {0x376, 1},
    {0x378, 3},    {0x3b0, 0x30}, {0x3f0, 16},  {0x402, 1},   {0x4d0, 2},   {0x510, 12},
    {0xcf8, 8},    {0xafe0, 4},   {0xb000, 64}, {0xb100, 16}, {0xc000, 16}, {0, 0x10000},
};
static const struct range memory[] = {
    {0, 0x1000},           {0x90000, 0x70000},   {0xe0000, 0x20000},
    {0xfee00000, 0x400},   {0xfec00000, 0x50},   {0xfed00000, 0x200},
    {0xfd000000, 0x10000}, {0xfebf0000, 0x1000}, {0xfffc0000, 0x40000},
};

#define PICK(a) (&(a)[rnd() % (sizeof(a) / sizeof((a)[0]))])

static uint32_t any(const struct range *r) { return r->base + (uint32_t)(rnd() % r->size); }

static void access_port(struct machine *m) {
  uint16_t port = (uint16_t)any(PICK(ports));
  int size = 1 << rnd() % 3;
  if (rnd() & 1)
    io_read(m->io, port, size);
  else
    io_write(m->io, port, size, (uint32_t)rnd());
}

static void access_pci(struct machine *m) {
  static const uint8_t devfns[] = {0x00, 0x08, 0x09, 0x0b, 0x10, 0x10};
  io_write(m->io, 0xcf8, 4, 0x80000000u | (uint32_t)*PICK(devfns) << 8 | (uint32_t)(rnd() & 0xfc));
  if (rnd() & 1)
    io_read(m->io, 0xcfc, 4);
  else
    io_write(m->io, 0xcfc, 4, (uint32_t)(rnd() & (rnd() & 1 ? 0xffffffff : 0xfd00f007)));
}

static void access_memory(struct machine *m) {
  int size = 1 << rnd() % 4;
  uint32_t pa = any(PICK(memory)) & ~(uint32_t)(size - 1);
  if (rnd() & 1)
    mem_read(m->mem, pa, size);
  else
    mem_write(m->mem, pa, size, rnd());
}

static void pass_time(struct machine *m) {
  clock_warp(m->clock, clock_now(m->clock) + (int64_t)(rnd() % 2000000));
  clock_run_timers(m->clock);
}

static void host_input(struct machine *m) {
  if (rnd() & 1)
    m->input.key(m->input.key_opaque, (int)(rnd() & 0x1ff), rnd() & 1);
  else
    m->input.mouse(m->input.mouse_opaque, (int)(rnd() % 50), (int)(rnd() % 50), 0, (int)(rnd() & 7));
}

static void go_mad(struct machine *m) {
  for (int i = 0; i < OPS; i++) {
    switch (rnd() & 15) {
    case 0: pass_time(m); break;
    case 1: host_input(m); break;
    case 2: ck_assert_int_eq(m->cpu[0]->intr_ack(m->cpu[0]->intr_ack_opaque) & ~0xff, 0); break;
    case 3:
    case 4: access_pci(m); break;
    case 5:
    case 6:
    case 7:
    case 8: access_memory(m); break;
    default: access_port(m); break;
    }
    if (i % 50000 == 49999)
      device_reset_all(&m->devices);
  }
}

START_TEST(survives) {
  static uint8_t disk[1 << 20], floppy[1474560];
  struct machine_config config = {
      .ram_mb = 4, .cpu_model = cpu_model_find("max"), .engine = &engine_interp, .counted = true};
  struct chardev serial = {.write = swallow}, printer = {.write = swallow};
  struct board_config board = {
      .bios_dirs = {CONFIG_SEABIOS_DIR},
      .floppy = {block_open_memory("floppy", floppy, sizeof(floppy))},
      .floppy_present = {true},
      .ide = {block_open_memory("disk", disk, sizeof(disk))},
      .ide_is_cd = {false, false, true},
      .serial = {&serial},
      .parallel = &printer,
      .vga = _i & 1 ? BOARD_VGA_CIRRUS : BOARD_VGA_STD,
      .extra = {{.driver = "isa-debug-exit", .props = "iobase=0xf4,iosize=1"}},
      .extra_count = 1,
      .hpet = _i & 1,
      .rtc_base = 1000000000,
  };
  seed = 88172645463325252ull + (uint64_t)_i * 7919;
  if (!getenv("DRAGOMAN_TEST_VERBOSE")) /* claims that collide are reported */
    ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr));
  struct machine *m = machine_new(&config);
  ck_assert_ptr_nonnull(m);
  ck_assert_int_eq(board_init(m, &board), 0);
  go_mad(m);
  for (struct device *d = m->devices.first; d; d = d->next) {
    void *saved = malloc(state_size(d->cls->fields) + 1);
    state_save(saved, d, d->cls->fields);
    free(saved);
  }
  board_free(m);
  machine_free(m);
  block_close(board.floppy[0]);
  block_close(board.ide[0]);
}
END_TEST

START_TEST(properties) {
  char text[8];
  uint32_t n = 7;
  bool on = false;
  const char *list = "a=1,b,c=x,,y,a=0x20,d=toolongtext";
  ck_assert(props_get(list, "c", text, sizeof text));
  ck_assert_str_eq(text, "x,y");
  ck_assert(!props_get(list, "e", text, sizeof text));
  ck_assert(!props_get(list, "d", text, sizeof text));
  ck_assert(!props_get(NULL, "a", text, sizeof text));
  ck_assert_int_eq(props_u32(list, "x", "a", 0, 0x20, &n), 0);
  ck_assert_uint_eq(n, 0x20);
  ck_assert_int_eq(props_u32(list, "x", "e", 0, 0x20, &n), 0);
  ck_assert_uint_eq(n, 0x20);
  ck_assert_int_eq(props_u32(list, "x", "a", 0, 0x1f, &n), -EINVAL);
  ck_assert_int_eq(props_u32("a=-1", "x", "a", 0, 0x1f, &n), -EINVAL);
  ck_assert_int_eq(props_u32("a", "x", "a", 0, 0x1f, &n), -EINVAL);
  ck_assert_int_eq(props_bool(list, "x", "b", &on), 0);
  ck_assert(on);
  ck_assert_int_eq(props_bool("b=off", "x", "b", &on), 0);
  ck_assert(!on);
  ck_assert_int_eq(props_bool("b=perhaps", "x", "b", &on), -EINVAL);
  ck_assert_int_eq(props_check(list, "x", "a b c d"), 0);
  ck_assert_int_eq(props_check(list, "x", "a b d"), -EINVAL);
  ck_assert_int_eq(props_check("aa=1", "x", "a b"), -EINVAL);
  ck_assert_int_eq(props_check(NULL, "x", ""), 0);
}
END_TEST

static int board_with(const char *driver, const char *props) {
  struct machine_config config = {
      .ram_mb = 4, .cpu_model = cpu_model_find("max"), .engine = &engine_interp, .counted = true};
  struct board_config board = {
      .bios_dirs = {CONFIG_SEABIOS_DIR}, .extra = {{.driver = driver, .props = props}}, .extra_count = 1};
  struct machine *m = machine_new(&config);
  ck_assert_ptr_nonnull(m);
  int error = board_init(m, &board);
  if (!error)
    board_free(m);
  machine_free(m);
  return error;
}

START_TEST(extra_devices) {
  ck_assert_int_eq(board_with("isa-debug-exit", NULL), 0);
  ck_assert_int_eq(board_with("isa-debug-exit", "iobase=0xf4,iosize=4"), 0);
  ck_assert_int_eq(board_with("isa-debug-exit", "iobase=65536"), -EINVAL);
  ck_assert_int_eq(board_with("isa-debug-exit", "iobase=0xffff,iosize=4"), -EINVAL);
  ck_assert_int_eq(board_with("isa-debug-exit", "iosize=0"), -EINVAL);
  ck_assert_int_eq(board_with("isa-debug-exit", "port=1"), -EINVAL);
  ck_assert_int_eq(board_with("isa-debug-exit", "iobase=0x20"), -EBUSY);
  ck_assert_int_eq(board_with("pc-testdev", NULL), 0);
  ck_assert_int_eq(board_with("pc-testdev", "iobase=1"), -EINVAL);
  ck_assert_int_eq(board_with("e1000", NULL), -EINVAL);
}
END_TEST

Suite *suite_board(void) {
  Suite *suite = suite_create("board");
  TCase *tc = tcase_create("board");
  tcase_set_timeout(tc, 120);
  tcase_add_loop_test(tc, survives, 0, 2);
  tcase_add_test(tc, properties);
  tcase_add_test(tc, extra_devices);
  suite_add_tcase(suite, tc);
  return suite;
}
