/* SPDX-License-Identifier: MIT */
/* The port space: claims, conflicts, splitting of wide accesses, remapping from a handler. */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "core/io.h"

static struct {
  unsigned count;
  uint32_t offset[8], value[8];
  int size[8];
} seen;
static struct io_bus *bus;

static uint32_t echo_read(void *opaque, uint32_t offset, int size) {
  (void)opaque;
  seen.offset[seen.count % 8] = offset;
  seen.size[seen.count++ % 8] = size;
  return 0x40302010 + offset * 0x01010101; /* more bits than asked for: the bus masks */
}

static void echo_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)opaque;
  seen.offset[seen.count % 8] = offset;
  seen.size[seen.count % 8] = size;
  seen.value[seen.count++ % 8] = value;
}

static const struct io_ops bytes = {echo_read, echo_write, 0}, words = {echo_read, echo_write, 2};
static const struct io_ops dwords = {echo_read, echo_write, 4}, write_only = {NULL, echo_write, 1};

static void unmapping_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)opaque;
  echo_write(NULL, offset, size, value);
  io_unmap(bus, 0x500, 4);
}
static const struct io_ops unmapping = {NULL, unmapping_write, 1};

static void setup(void) {
  bus = io_bus_new();
  seen.count = 0;
}
static void teardown(void) { io_bus_free(bus); }

START_TEST(nobody_reads_as_ones) {
  ck_assert_uint_eq(io_read(bus, 0x1234, 1), 0xff);
  ck_assert_uint_eq(io_read(bus, 0xffff, 4), 0xffffffff); /* wraps */
  io_write(bus, 0x1234, 4, 0);
  ck_assert_int_eq(io_map(bus, 0x300, 1, &write_only, NULL, "wo"), 0);
  ck_assert_uint_eq(io_read(bus, 0x300, 1), 0xff);
}
END_TEST

START_TEST(wide_accesses_are_split) {
  ck_assert_int_eq(io_map(bus, 0x100, 4, &bytes, NULL, "bytes"), 0);
  ck_assert_uint_eq(io_read(bus, 0x100, 4), 0x13121110);
  ck_assert_uint_eq(seen.count, 4);
  ck_assert_int_eq(io_map(bus, 0x200, 8, &words, NULL, "words"), 0);
  seen.count = 0;
  io_write(bus, 0x202, 4, 0xaabbccdd);
  ck_assert_uint_eq(seen.count, 2);
  ck_assert_uint_eq(seen.offset[1], 4);
  ck_assert_uint_eq(seen.value[1], 0xaabb);
  ck_assert_int_eq(io_map(bus, 0x400, 4, &dwords, NULL, "dwords"), 0);
  seen.count = 0;
  io_write(bus, 0x400, 4, 0xdeadbeef);
  ck_assert_uint_eq(seen.count, 1);
  ck_assert_uint_eq(seen.value[0], 0xdeadbeef);
  ck_assert_uint_eq(io_read(bus, 0x400, 2), 0x2010);
}
END_TEST

START_TEST(an_access_past_the_end_is_split) {
  ck_assert_int_eq(io_map(bus, 0x600, 2, &dwords, NULL, "two"), 0);
  uint32_t value = io_read(bus, 0x600, 4);
  ck_assert_uint_eq(value >> 16, 0xffff);
  ck_assert_uint_eq(value & 0xffff, 0x2010);
}
END_TEST

START_TEST(no_piece_is_three_bytes) {
  ck_assert_int_eq(io_map(bus, 0x400, 4, &dwords, NULL, "dwords"), 0);
  seen.count = 0;
  io_write(bus, 0x3ff, 4, 0xdeadbeef);
  ck_assert_uint_eq(seen.count, 2);
  ck_assert_uint_eq(seen.value[0], 0xadbe);
  ck_assert_uint_eq(seen.offset[1], 2);
  ck_assert_uint_eq(seen.value[1], 0xde);
}
END_TEST
START_TEST(a_second_claim_is_refused) {
  ck_assert_int_eq(io_map(bus, 0x100, 8, &bytes, NULL, "first"), 0);
  FILE *err = stderr;
  stderr = fopen("/dev/null", "w"); /* the refusal is also said */
  ck_assert_int_eq(io_map(bus, 0x107, 2, &bytes, NULL, "second"), -EBUSY);
  fclose(stderr);
  stderr = err;
  ck_assert_uint_eq(io_read(bus, 0x108, 1), 0xff); /* nothing of it was mapped */
  io_unmap(bus, 0x100, 8);
  ck_assert_int_eq(io_map(bus, 0x107, 2, &bytes, NULL, "second"), 0);
}
END_TEST

START_TEST(a_handler_may_unmap_itself) {
  ck_assert_int_eq(io_map(bus, 0x500, 4, &unmapping, NULL, "gone"), 0);
  io_write(bus, 0x500, 4, 0x11223344);
  ck_assert_uint_eq(seen.count, 1);
  ck_assert_uint_eq(io_read(bus, 0x500, 1), 0xff);
  for (int i = 0; i < 5000; i++) { /* slots of ranges come back */
    ck_assert_int_eq(io_map(bus, 0x700, 4, &bytes, NULL, "cycle"), 0);
    io_unmap(bus, 0x700, 4);
  }
}
END_TEST

Suite *suite_io(void) {
  Suite *s = suite_create("io");
  TCase *t = tcase_create("io");
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_test(t, nobody_reads_as_ones);
  tcase_add_test(t, wide_accesses_are_split);
  tcase_add_test(t, an_access_past_the_end_is_split);
  tcase_add_test(t, no_piece_is_three_bytes);
  tcase_add_test(t, a_second_claim_is_refused);
  tcase_add_test(t, a_handler_may_unmap_itself);
  suite_add_tcase(s, t);
  return s;
}
