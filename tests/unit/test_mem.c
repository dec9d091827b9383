/* SPDX-License-Identifier: MIT */
/* Guest-physical memory: mapping, MMIO splitting, DMA, dirty logging, code tracking across aliases. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "core/mem.h"

struct probe { /* an MMIO device that records its accesses */
  unsigned count;
  uint32_t offset[16];
  int size[16];
  uint64_t value[16];
};

static uint64_t probe_read(void *opaque, uint32_t offset, int size) {
  struct probe *p = opaque;
  p->offset[p->count % 16] = offset;
  p->size[p->count++ % 16] = size;
  return 0x1122334455667788ull >> (offset % 8 * 8);
}

static void probe_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  struct probe *p = opaque;
  p->offset[p->count % 16] = offset;
  p->size[p->count % 16] = size;
  p->value[p->count++ % 16] = value;
}

static const struct mmio_ops dword_ops = {.read = probe_read, .write = probe_write, .max_size = 0};
static const struct mmio_ops byte_ops = {.read = probe_read, .write = probe_write, .max_size = 1};
static const struct mmio_ops qword_ops = {.read = probe_read, .write = probe_write, .max_size = 8};

struct events {
  unsigned maps, protects, code_writes;
  uint32_t last_pa, last_code_pa;
  uint8_t *last_host;
};

static void on_map(void *opaque, uint32_t pa, uint64_t size) {
  struct events *e = opaque;
  (void)size;
  e->maps++;
  e->last_pa = pa;
}
static void on_protect(void *opaque, uint8_t *host) {
  struct events *e = opaque;
  e->protects++;
  e->last_host = host;
}
static void on_code(void *opaque, uint32_t pa, unsigned size) {
  struct events *e = opaque;
  (void)size;
  e->code_writes++;
  e->last_code_pa = pa;
}

static struct mem *m;
static struct events events;

static void setup(void) {
  m = mem_new();
  ck_assert_ptr_nonnull(m);
  memset(&events, 0, sizeof events);
  m->listener = &events;
  m->on_map_change = on_map;
  m->on_protect = on_protect;
  m->on_code_write = on_code;
}
static void teardown(void) { mem_free(m); }

START_TEST(nothing_reads_as_ones) {
  ck_assert_uint_eq(mem_read(m, 0x5000, 1), 0xff);
  ck_assert_uint_eq(mem_read(m, 0x5000, 4), 0xffffffff);
  ck_assert_uint_eq(mem_read(m, 0xfffffff8, 8), ~0ull);
  mem_write(m, 0x5000, 4, 0);
  ck_assert_uint_eq(mem_read(m, 0x5000, 2), 0xffff);
}
END_TEST

START_TEST(ram_rom_and_split) {
  struct mem_block *ram = mem_block_new(m, "ram", 0x4000), *rom = mem_block_new(m, "rom", 100);
  ck_assert_uint_eq(rom->size, 4096);
  ck_assert_uint_ne(ram->fd_offset, rom->fd_offset);
  mem_map_ram(m, 0x10000, 0x4000, ram, 0);
  mem_write(m, 0x10ffe, 2, 0xbeef);
  ck_assert_uint_eq(mem_read(m, 0x10fff, 1), 0xbe);
  ck_assert_uint_eq(ram->host[0xffe], 0xef);
  mem_map_rom(m, 0x11000, 0x1000, rom, 0);
  rom->host[4] = 0x5a;
  mem_write(m, 0x11004, 1, 0);
  ck_assert_uint_eq(mem_read(m, 0x11004, 1), 0x5a);
  /* Read ROM, write RAM; then the RAM behind it shows what was written. */
  mem_map_split(m, 0x11000, 0x1000, rom, 0, ram, 0x1000);
  mem_write(m, 0x11004, 1, 0x77);
  ck_assert_uint_eq(mem_read(m, 0x11004, 1), 0x5a);
  mem_map_ram(m, 0x11000, 0x1000, ram, 0x1000);
  ck_assert_uint_eq(mem_read(m, 0x11004, 1), 0x77);
  ck_assert_uint_eq(events.maps, 4);
  ck_assert_uint_eq(events.last_pa, 0x11000);
}
END_TEST

START_TEST(mmio_is_split_for_the_handler) {
  struct probe p = {0};
  ck_assert_int_eq(mem_map_mmio(m, 0x20000, 0x1000, &dword_ops, &p, "dword"), 0);
  ck_assert_uint_eq(mem_read(m, 0x20000, 8), 0x1122334455667788ull);
  ck_assert_uint_eq(p.count, 2);
  p.count = 0;
  mem_write(m, 0x20002, 4, 0xaabbccdd); /* misaligned: two words */
  ck_assert_uint_eq(p.count, 2);
  ck_assert_int_eq(p.size[0], 2);
  ck_assert_uint_eq(p.value[0], 0xccdd);
  ck_assert_uint_eq(p.offset[1], 4);
  ck_assert_uint_eq(p.value[1], 0xaabb);
  ck_assert_int_eq(mem_map_mmio(m, 0x20000, 0x1000, &byte_ops, &p, "byte"), 0);
  p.count = 0;
  ck_assert_uint_eq(mem_read(m, 0x20000, 4), 0x55667788);
  ck_assert_uint_eq(p.count, 4);
  ck_assert_int_eq(mem_map_mmio(m, 0x20000, 0x1000, &qword_ops, &p, "qword"), 0);
  p.count = 0;
  ck_assert_uint_eq(mem_read(m, 0x20008, 8), 0x1122334455667788ull);
  ck_assert_uint_eq(p.count, 1);
}
END_TEST

START_TEST(mmio_smaller_than_its_page) {
  struct probe p = {0};
  ck_assert_int_eq(mem_map_mmio(m, 0x30100, 0x10, &dword_ops, &p, "small"), 0);
  ck_assert_uint_eq(mem_read(m, 0x30000, 4), 0xffffffff);
  ck_assert_uint_eq(mem_read(m, 0x30110, 4), 0xffffffff);
  mem_write(m, 0x30110, 4, 0);
  ck_assert_uint_eq(p.count, 0);
  mem_read(m, 0x3010c, 4);
  ck_assert_uint_eq(p.offset[0], 0xc);
}
END_TEST

START_TEST(mmio_slots_are_reused) {
  struct probe p = {0};
  for (int i = 0; i < 100000; i++)
    ck_assert_int_eq(mem_map_mmio(m, 0x40000 + (uint32_t)(i % 8) * 0x1000, 0x1000, &dword_ops, &p, "again"), 0);
  ck_assert_uint_le(m->mmio_count, 16);
  mem_unmap(m, 0x40000, 0x8000);
  ck_assert_uint_eq(mem_read(m, 0x40000, 4), 0xffffffff);
  ck_assert_uint_eq(p.count, 0);
}
END_TEST

START_TEST(dma_crosses_pages_and_kinds) {
  struct mem_block *ram = mem_block_new(m, "ram", 0x2000);
  struct probe p = {0};
  mem_map_ram(m, 0x1000, 0x2000, ram, 0);
  ck_assert_int_eq(mem_map_mmio(m, 0x3000, 0x1000, &dword_ops, &p, "io"), 0);
  uint8_t buf[0x2008];
  for (size_t i = 0; i < sizeof buf; i++)
    buf[i] = (uint8_t)(i * 7);
  mem_dma_write(m, 0x1000, buf, sizeof buf);
  ck_assert_mem_eq(ram->host, buf, 0x2000);
  ck_assert_uint_eq(p.count, 2);
  uint8_t back[0x2000];
  mem_dma_read(m, 0x1000, back, sizeof back);
  ck_assert_mem_eq(back, buf, sizeof back);
  /* Above 4 GiB, and across its border. */
  mem_dma_write(m, 0xfffffffcull, buf, 64);
  memset(back, 0, 16);
  mem_dma_read(m, 0x100000000ull, back, 16);
  ck_assert_uint_eq(back[0], 0xff);
  ck_assert_uint_eq(back[15], 0xff);
}
END_TEST

START_TEST(log_notices_first_write) {
  struct mem_block *vram = mem_block_new(m, "vram", 0x8000);
  mem_map_ram(m, 0x100000, 0x8000, vram, 0);
  mem_map_ram(m, 0xa0000, 0x1000, vram, 0x2000);
  ck_assert_int_eq(mem_log_enable(vram), 0);
  ck_assert(mem_log_dirty(vram, 0x2000));
  mem_log_clear(m, vram, 0, 0x8000);
  ck_assert_uint_eq(events.protects, 8);
  ck_assert(!mem_log_dirty(vram, 0x2000));
  ck_assert(m->page[0xa0].flags & PAGE_LOG);
  mem_write(m, 0xa0010, 1, 1);
  ck_assert(mem_log_dirty(vram, 0x2000));
  ck_assert(!mem_log_dirty(vram, 0x3000));
  ck_assert(!(m->page[0x102].flags & PAGE_LOG));
  mem_log_clear(m, vram, 0x2000, 1);
  ck_assert(m->page[0x102].flags & PAGE_LOG);
  uint8_t byte = 9;
  mem_dma_write(m, 0x102fff, &byte, 1);
  ck_assert(mem_log_dirty(vram, 0x2000));
  /* A page mapped while clean is noticed too. */
  mem_log_clear(m, vram, 0, 0x8000);
  mem_map_ram(m, 0xb0000, 0x1000, vram, 0x4000);
  mem_write(m, 0xb0000, 4, 5);
  ck_assert(mem_log_dirty(vram, 0x4000));
}
END_TEST

START_TEST(code_is_tracked_through_aliases) {
  struct mem_block *ram = mem_block_new(m, "ram", 0x4000);
  mem_map_ram(m, 0x0, 0x4000, ram, 0);
  mem_map_ram(m, 0x100000, 0x4000, ram, 0);
  mem_set_code(m, 0x1234, true);
  ck_assert_uint_eq(events.protects, 1);
  ck_assert_ptr_eq(events.last_host, ram->host + 0x1000);
  ck_assert(m->page[0x101].flags & PAGE_CODE);
  mem_write(m, 0x101010, 4, 0);
  ck_assert_uint_eq(events.code_writes, 1);
  ck_assert_uint_eq(events.last_code_pa, 0x1010); /* where the code was translated from */
  /* Code from both: dropping one keeps the other. */
  mem_set_code(m, 0x101000, true);
  mem_write(m, 0x1020, 1, 0);
  ck_assert_uint_eq(events.code_writes, 3);
  mem_set_code(m, 0x1000, false);
  ck_assert(m->page[1].flags & PAGE_CODE);
  mem_set_code(m, 0x101000, false);
  ck_assert(!(m->page[1].flags & PAGE_CODE));
  mem_write(m, 0x1020, 1, 0);
  ck_assert_uint_eq(events.code_writes, 3);
  /* A mapping that comes later inherits the mark, and one that goes takes its own away. */
  mem_set_code(m, 0x2000, true);
  mem_map_ram(m, 0x200000, 0x1000, ram, 0x2000);
  ck_assert(m->page[0x200].flags & PAGE_CODE);
  mem_unmap(m, 0x2000, 0x1000);
  ck_assert(!(m->page[0x200].flags & PAGE_CODE));
}
END_TEST

START_TEST(block_of_no_size_fails) {
  ck_assert_ptr_null(mem_block_new(m, "none", 0));
}
END_TEST

Suite *suite_mem(void) {
  Suite *s = suite_create("mem");
  TCase *t = tcase_create("mem");
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_test(t, nothing_reads_as_ones);
  tcase_add_test(t, ram_rom_and_split);
  tcase_add_test(t, mmio_is_split_for_the_handler);
  tcase_add_test(t, mmio_smaller_than_its_page);
  tcase_add_test(t, mmio_slots_are_reused);
  tcase_add_test(t, dma_crosses_pages_and_kinds);
  tcase_add_test(t, log_notices_first_write);
  tcase_add_test(t, code_is_tracked_through_aliases);
  tcase_add_test(t, block_of_no_size_fails);
  suite_add_tcase(s, t);
  return s;
}
