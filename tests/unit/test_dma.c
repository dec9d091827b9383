/* SPDX-License-Identifier: MIT */
/* 8237A pair: programming, both directions, word channels, wrap, decrement, autoinitialization, masks. */
#include "devices/dma8237.h"
#include "tests/unit/chip_rig.h"

static struct device *dma;
static unsigned runs;

static void count_run(void *opaque, int channel) {
  (void)opaque, (void)channel;
  runs++;
}

static struct rig *setup(void) {
  struct rig *r = rig_new();
  struct mem_block *ram = mem_block_new(r->set.mem, "ram", 1 << 20);
  mem_map_ram(r->set.mem, 0, 1 << 20, ram, 0);
  dma = rig_add(r, &dma8237_class, &(struct device_args){.id = "dma", .port = {0x00, 0xc0, 0x80}});
  dma_register(dma, 2, count_run, NULL);
  dma_register(dma, 5, count_run, NULL);
  runs = 0;
  return r;
}

static void program2(struct rig *r, uint8_t mode, uint32_t pa, uint16_t count) {
  rig_out(r, 0x0a, 0x06);
  rig_out(r, 0x0c, 0);
  rig_out(r, 0x04, (uint8_t)pa);
  rig_out(r, 0x04, (uint8_t)(pa >> 8));
  rig_out(r, 0x05, (uint8_t)count);
  rig_out(r, 0x05, (uint8_t)(count >> 8));
  rig_out(r, 0x81, (uint8_t)(pa >> 16));
  rig_out(r, 0x0b, mode);
  rig_out(r, 0x0a, 0x02);
}

START_TEST(both_directions) {
  struct rig *r = setup();
  bool tc;
  uint8_t buf[512];
  for (int i = 0; i < 512; i++)
    buf[i] = (uint8_t)(i * 7);
  program2(r, 0x46, 0x12340, 511);
  ck_assert_uint_eq(dma_write_memory(dma, 2, buf, 512, &tc), 0); /* no request yet */
  dma_request(dma, 2, 1);
  ck_assert_uint_eq(runs, 1);
  ck_assert_uint_eq(dma_write_memory(dma, 2, buf, 500, &tc), 500);
  ck_assert(!tc);
  ck_assert_uint_eq(dma_write_memory(dma, 2, buf + 500, 100, &tc), 12);
  ck_assert(tc);
  ck_assert(!dma_ready(dma, 2)); /* masked by the terminal count */
  ck_assert_uint_eq(rig_in(r, 0x08), 0x44);
  ck_assert_uint_eq(rig_in(r, 0x08), 0x40);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x12340 + 511, 1), (uint8_t)(511 * 7));
  program2(r, 0x4a, 0x12340, 511);
  ck_assert_uint_eq(runs, 2); /* unmasking runs it */
  uint8_t back[512];
  ck_assert_uint_eq(dma_read_memory(dma, 2, back, 512, &tc), 512);
  ck_assert(tc);
  ck_assert_int_eq(memcmp(buf, back, 512), 0);
  rig_free(r);
}
END_TEST

START_TEST(wrap_and_decrement) {
  struct rig *r = setup();
  bool tc;
  program2(r, 0x46, 0x1fffe, 3); /* stays within its 64 KB */
  dma_request(dma, 2, 1);
  ck_assert_uint_eq(dma_write_memory(dma, 2, "abcd", 4, &tc), 4);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x1fffe, 2), 'a' | 'b' << 8);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x10000, 2), 'c' | 'd' << 8);
  program2(r, 0x66, 0x20003, 3);
  ck_assert_uint_eq(dma_write_memory(dma, 2, "abcd", 4, &tc), 4);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x20000, 4), 'd' | 'c' << 8 | 'b' << 16 | 'a' << 24);
  program2(r, 0x42, 0x30000, 3); /* verify moves nothing */
  ck_assert_uint_eq(dma_write_memory(dma, 2, "abcd", 4, &tc), 4);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x30000, 4), 0);
  rig_free(r);
}
END_TEST

START_TEST(words) {
  struct rig *r = setup();
  bool tc;
  rig_out(r, 0xd8, 0);
  rig_out(r, 0xc4, 0x00); /* word address 8000h: byte address 10000h within the page */
  rig_out(r, 0xc4, 0x80);
  rig_out(r, 0xc6, 0x01);
  rig_out(r, 0xc6, 0x00);
  rig_out(r, 0x8b, 0x02);
  rig_out(r, 0xd6, 0x55); /* autoinitialize, write, channel 5 */
  rig_out(r, 0xd4, 0x01);
  dma_request(dma, 5, 1);
  ck_assert_uint_eq(runs, 1);
  ck_assert_uint_eq(dma_write_memory(dma, 5, "abcdefgh", 8, &tc), 4);
  ck_assert(tc);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x30000, 4), 'a' | 'b' << 8 | 'c' << 16 | 'd' << 24);
  ck_assert(dma_ready(dma, 5)); /* reloaded */
  ck_assert_uint_eq(dma_write_memory(dma, 5, "wxyz", 4, &tc), 4);
  ck_assert_uint_eq(mem_read(r->set.mem, 0x30000, 1), 'w');
  rig_free(r);
}
END_TEST

START_TEST(registers) {
  struct rig *r = setup();
  program2(r, 0x46, 0x12345, 0x678);
  rig_out(r, 0x0c, 0);
  ck_assert_uint_eq(rig_in(r, 0x04), 0x45);
  ck_assert_uint_eq(rig_in(r, 0x04), 0x23);
  ck_assert_uint_eq(rig_in(r, 0x05), 0x78);
  ck_assert_uint_eq(rig_in(r, 0x05), 0x06);
  ck_assert_uint_eq(rig_in(r, 0x81), 0x01);
  rig_out(r, 0x80, 0x99);
  ck_assert_uint_eq(rig_in(r, 0x80), 0x99);
  dma_request(dma, 2, 1);
  runs = 0;
  rig_out(r, 0x08, 0x04); /* controller disabled */
  ck_assert(!dma_ready(dma, 2));
  rig_out(r, 0x08, 0x00);
  ck_assert_uint_eq(runs, 1);
  rig_out(r, 0x0f, 0x0f);
  ck_assert(!dma_ready(dma, 2));
  rig_out(r, 0x0e, 0);
  ck_assert(dma_ready(dma, 2));
  rig_out(r, 0x0d, 0); /* master clear masks all */
  ck_assert(!dma_ready(dma, 2));
  ck_assert_uint_eq(rig_in(r, 0x0f), 0xff);
  rig_free(r);
}
END_TEST

static void fuzz_transfer(struct rig *r, struct device *dev) {
  static const int channels[] = {0, 1, 2, 3, 5, 6, 7};
  static uint8_t buf[8192];
  uint64_t x = rig_random(r);
  int channel = channels[(x >> 8) % 7];
  size_t len = (x >> 16) % sizeof(buf);
  bool tc;
  dma_request(dev, channel, x & 1);
  size_t done =
      x & 2 ? dma_write_memory(dev, channel, buf, len, &tc) : dma_read_memory(dev, channel, buf, len, &tc);
  ck_assert_uint_le(done, len);
}

START_TEST(fuzz) {
  uint16_t ports[64];
  struct rig *r = setup();
  for (int i = 0; i < 16; i++) {
    ports[i] = (uint16_t)i;
    ports[16 + i] = (uint16_t)(0x80 + i);
    ports[32 + i] = (uint16_t)(0xc0 + i);
    ports[48 + i] = (uint16_t)(0xd0 + i);
  }
  rig_fuzz_ports(r, ports, 64, fuzz_transfer, dma);
  rig_check_fields(dma);
  rig_free(r);
}
END_TEST

RIG_SUITE(dma, both_directions, wrap_and_decrement, words, registers, fuzz)
