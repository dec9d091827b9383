/* SPDX-License-Identifier: MIT */
/* Field tables: save, load, compare, print; and device creation. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/clock.h"
#include "core/device.h"
#include "core/state.h"

struct thing {
  struct device dev;
  uint8_t a;
  uint16_t words[3];
  int64_t when;
  bool flag;
  uint8_t buffer[5];
  struct timer timer;
};

static const struct field fields[] = {
    FIELD(U8, struct thing, a),           FIELD_ARRAY(U16, struct thing, words), FIELD(I64, struct thing, when),
    FIELD(BOOL, struct thing, flag),      FIELD_BUFFER(struct thing, buffer),    FIELD(TIMER, struct thing, timer),
    FIELDS_END,
};

static void nothing(void *opaque) { (void)opaque; }

START_TEST(save_and_load) {
  struct clock *c = clock_new_real();
  struct thing x = {.a = 7, .words = {1, 0xffff, 3}, .when = -5, .flag = true, .buffer = "abcd"}, y = {0};
  timer_init(&x.timer, c, "x", nothing, NULL);
  timer_init(&y.timer, c, "y", nothing, NULL);
  timer_arm(&x.timer, 12345678901);
  size_t size = state_size(fields);
  ck_assert_uint_eq(size, 1 + 6 + 8 + 1 + 5 + 9);
  uint8_t *buf = malloc(size);
  state_save(buf, &x, fields);
  ck_assert_str_eq(state_diff(&x, &y, fields)->name, "a");
  ck_assert_int_eq(state_load(buf, size - 1, &y, fields), -EINVAL);
  ck_assert_int_eq(state_load(buf, size, &y, fields), 0);
  ck_assert_ptr_null(state_diff(&x, &y, fields));
  ck_assert(y.timer.armed && y.timer.deadline == 12345678901 && y.flag && y.when == -5);
  timer_cancel(&y.timer);
  ck_assert_str_eq(state_diff(&x, &y, fields)->name, "timer");
  state_save(buf, &y, fields);
  state_load(buf, size, &x, fields);
  ck_assert(!x.timer.armed);
  free(buf);
  clock_free(c);
}
END_TEST

START_TEST(print) {
  struct clock *c = clock_new_real();
  struct thing x = {.a = 0x1f, .words = {1, 2, 0xabc}, .buffer = {1, 2, 3, 4, 5}};
  timer_init(&x.timer, c, "x", nothing, NULL);
  char *text;
  size_t len;
  FILE *out = open_memstream(&text, &len);
  state_print(out, &x, fields);
  fclose(out);
  ck_assert_str_eq(text, "a=1f\nwords=1,2,abc\nwhen=0\nflag=0\nbuffer=0102030405\ntimer=off\n");
  free(text);
  clock_free(c);
}
END_TEST

static int resets, destroyed;
static int thing_init(struct device *dev, const struct device_args *args) {
  DEVICE(struct thing, dev)->a = *(const uint8_t *)args->config;
  return DEVICE(struct thing, dev)->a == 99 ? -ENODEV : 0;
}
static void thing_reset(struct device *dev) {
  (void)dev;
  resets++;
}
static void thing_destroy(struct device *dev) {
  (void)dev;
  destroyed++;
}
static const struct device_class thing_class = {
    .name = "thing",
    .size = sizeof(struct thing),
    .init = thing_init,
    .reset = thing_reset,
    .destroy = thing_destroy,
    .fields = fields,
};

START_TEST(devices) {
  struct device_set set = {0};
  const uint8_t one = 1, bad = 99;
  struct device *first = device_new(&set, &thing_class, &(struct device_args){.id = "first", .config = &one});
  struct device *second = device_new(&set, &thing_class, &(struct device_args){.id = "second", .config = &one});
  ck_assert_ptr_null(device_new(&set, &thing_class, &(struct device_args){.id = "third", .config = &bad}));
  ck_assert_int_eq(errno, ENODEV);
  ck_assert_ptr_eq(device_find(&set, "second"), second);
  ck_assert_ptr_eq(device_find(&set, "first"), first);
  ck_assert_ptr_null(device_find(&set, "third"));
  device_reset_all(&set);
  ck_assert_int_eq(resets, 2);
  device_free_all(&set);
  ck_assert_int_eq(destroyed, 2);
  ck_assert_ptr_null(device_find(&set, "first"));
}
END_TEST

Suite *suite_state(void) {
  Suite *s = suite_create("state");
  TCase *t = tcase_create("state");
  tcase_add_test(t, save_and_load);
  tcase_add_test(t, print);
  tcase_add_test(t, devices);
  suite_add_tcase(s, t);
  return s;
}
