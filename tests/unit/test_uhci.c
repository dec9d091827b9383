/* SPDX-License-Identifier: MIT */
/* UHCI: registers, ports, the schedule and its end conditions, interrupts; hostile schedules. */
#include "devices/usb/hid.h"
#include "devices/usb/hub.h"
#include "tests/unit/usb_rig.h"

static struct usb_rig u;
static struct usb_device *tablet;

/* A device whose endpoint 1 does what the test says. */
struct probe {
  struct usb_device usb;
  int answer; /* bytes, or USB_NAK ... */
  unsigned ins, outs;
};

static const uint8_t probe_device[18] = {18, 1, 0x10, 1, 0xff, 0, 0, 64, 1, 0, 1, 0, 0, 0, 0, 0, 0, 1};
static const uint8_t probe_config[32] = {9, 2, 32, 0, 1,    1, 0,  0xa0, 0, 9, 4, 0, 0, 2,  0xff, 0,
                                         0, 0, 7,  5, 0x81, 2, 64, 0,    0, 7, 5, 1, 2, 64, 0,    0};
static const char *const probe_strings[] = {NULL};

static int probe_in(struct usb_device *d, unsigned endpoint, uint8_t *buf) {
  struct probe *p = (struct probe *)d;
  (void)endpoint;
  p->ins++;
  for (int i = 0; i < p->answer; i++)
    buf[i] = (uint8_t)(p->ins + (unsigned)i);
  return p->answer;
}

static int probe_out(struct usb_device *d, unsigned endpoint, const uint8_t *data, unsigned length) {
  struct probe *p = (struct probe *)d;
  (void)endpoint, (void)data;
  p->outs++;
  return p->answer < 0 ? p->answer : (int)length;
}

static const struct usb_class probe_usb = {.device_descriptor = probe_device,
                                           .config_descriptor = probe_config,
                                           .strings = probe_strings,
                                           .packet0 = 64,
                                           .packet = 64,
                                           .in = probe_in,
                                           .out = probe_out};

static int probe_init(struct device *dev, const struct device_args *args) {
  (void)args;
  ((struct probe *)dev)->usb.usb = &probe_usb;
  return 0;
}
static void probe_reset(struct device *dev) { usb_device_reset((struct usb_device *)dev); }
static const struct field probe_fields[] = {FIELDS_END};
static const struct device_class probe_class = {.name = "probe",
                                                .size = sizeof(struct probe),
                                                .init = probe_init,
                                                .reset = probe_reset,
                                                .fields = probe_fields};

static struct probe *probe;

static void setup(void) {
  usb_rig_make(&u);
  probe = (struct probe *)usb_rig_add(&u, &u.ports[0], &probe_class, NULL);
  tablet = usb_rig_add(&u, &u.ports[1], &usb_tablet_class, NULL);
  usb_rig_start(&u);
  probe->usb.addr = 5;
  probe->usb.configuration = 1;
}

static void teardown(void) { usb_rig_free(&u); }

START_TEST(identity) {
  setup();
  ck_assert_uint_eq(pci_config_read(u.bus, USB_DEVFN, 0, 4), 0x70208086);
  ck_assert_uint_eq(pci_config_read(u.bus, USB_DEVFN, 8, 4), 0x0c030001);
  ck_assert_uint_eq(pci_config_read(u.bus, USB_DEVFN, 0x3d, 1), 4);
  ck_assert_uint_eq(pci_config_read(u.bus, USB_DEVFN, 0x60, 1), 0x10);
  ck_assert_uint_eq(pci_config_read(u.bus, USB_DEVFN, 0xc0, 2), 0x2000);
  pci_config_write(u.bus, USB_DEVFN, 0x20, 4, 0xffffffff);
  ck_assert_uint_eq(pci_config_read(u.bus, USB_DEVFN, 0x20, 4), 0xffffffe1);
  pci_config_write(u.bus, USB_DEVFN, 0x20, 4, USB_IO);
  set(&u, 0, 0);
  ck_assert_uint_eq(reg(&u, 2), 0x20);
  set(&u, 6, 0xffff);
  ck_assert_uint_eq(reg(&u, 6), 0x7ff);
  out(u.r, USB_IO + 8, 4, 0x12345fff);
  ck_assert_uint_eq(in(u.r, USB_IO + 8, 4), 0x12345000);
  ck_assert_uint_eq(inb(u.r, USB_IO + 0xc), 0x40);
  outb(u.r, USB_IO + 0xc, 0xff);
  ck_assert_uint_eq(inb(u.r, USB_IO + 0xc), 0x7f);
  ck_assert_uint_eq(reg(&u, 0x14) & 0x80, 0); /* no third port */
  set(&u, 0, 2);
  ck_assert_uint_eq(reg(&u, 0), 0);
  ck_assert_uint_eq(reg(&u, 4), 0);
  ck_assert_uint_eq(inb(u.r, USB_IO + 0xc), 0x40);
  teardown();
}
END_TEST

START_TEST(root_ports) {
  setup();
  ck_assert_uint_eq(reg(&u, 0x10), 0x0095); /* connected, enabled, J; the change was cleared */
  usb_detach(&u.ports[0]);
  ck_assert_uint_eq(reg(&u, 0x10), 0x008a); /* both changes */
  set(&u, 0x10, 0x0002);
  ck_assert_uint_eq(reg(&u, 0x10), 0x0088);
  set(&u, 0x10, 0x000c);
  ck_assert_uint_eq(reg(&u, 0x10), 0x0080); /* nobody there to be enabled for */
  ck_assert_int_eq(usb_attach(&u.ports[0], &probe->usb), 0);
  ck_assert_uint_eq(reg(&u, 0x10), 0x0093);
  ck_assert_int_eq(usb_attach(&u.ports[0], &probe->usb), -EBUSY);
  probe->usb.addr = 9;
  set(&u, 0x10, 0x0204); /* reset: the device loses its address, the port cannot be enabled meanwhile */
  ck_assert_uint_eq(reg(&u, 0x10), 0x0283);
  ck_assert_uint_eq(probe->usb.addr, 0);
  set(&u, 0x10, 0x0004);
  ck_assert_uint_eq(reg(&u, 0x10), 0x0097);
  ck_assert_ptr_eq(usb_find(u.ports, 2, 0), &probe->usb);
  set(&u, 0x10, 0x1004); /* suspended: deaf */
  ck_assert_ptr_ne(usb_find(u.ports, 2, 0), &probe->usb);
  probe->usb.remote_wakeup = true;
  usb_notify(&probe->usb);
  ck_assert_uint_eq(reg(&u, 0x10) & 0x1040, 0x1040);
  ck_assert_uint_eq(reg(&u, 2) & 4, 4);
  ck_assert_int_eq(u.r->level[USB_LINE], 1);
  set(&u, 0x10, 0x0004);
  ck_assert_uint_eq(reg(&u, 0x10) & 0x1040, 0);
  ck_assert_ptr_eq(usb_find(u.ports, 2, 0), &probe->usb);
  teardown();
}
END_TEST

START_TEST(frame_counter) {
  setup();
  unsigned n = reg(&u, 6);
  frames(&u, 5);
  ck_assert_uint_eq(reg(&u, 6), n + 5);
  frames(&u, 2100); /* idle by now, and around */
  ck_assert_uint_eq(reg(&u, 6), (n + 2105) & 0x7ff);
  set(&u, 6, 7); /* only while halted */
  ck_assert_uint_eq(reg(&u, 6), (n + 2105) & 0x7ff);
  set(&u, 0, 0xc0);
  frames(&u, 9);
  ck_assert_uint_eq(reg(&u, 6), (n + 2105) & 0x7ff);
  ck_assert(clock_deadline(u.r->set.clock) == INT64_MAX); /* halted: no timer */
  ck_assert_uint_eq(reg(&u, 2), 0x20);
  teardown();
}
END_TEST

START_TEST(idle_wakes_seldom) {
  setup();
  frames(&u, 100);
  int64_t now = clock_now(u.r->set.clock);
  ck_assert_int_ge(clock_deadline(u.r->set.clock) - now, 0);
  unsigned fires = 0;
  while (clock_now(u.r->set.clock) < now + 80 * (int64_t)FRAME) {
    u.r->ns = (uint64_t)clock_deadline(u.r->set.clock);
    clock_run_timers(u.r->set.clock);
    fires++;
  }
  ck_assert_uint_le(fires, 11); /* eight frames at a time */
  usb_notify(tablet);
  ck_assert_int_le(clock_deadline(u.r->set.clock) - clock_now(u.r->set.clock), FRAME);
  teardown();
}
END_TEST

START_TEST(in_completes) {
  setup();
  probe->answer = 64;
  td(&u, 0, END, ACTIVE | IOC | ERRORS(3), token(USB_IN, 5, 1, 0, 64), DATA);
  put(&u, QH + 4, td_at(0));
  frames(&u, 2);
  ck_assert_uint_eq(td_control(&u, 0), IOC | ERRORS(3) | 63);
  ck_assert_uint_eq(get(&u, QH + 4), END); /* the queue went on */
  ck_assert_uint_eq(get(&u, DATA), 0x04030201);
  ck_assert_uint_eq(reg(&u, 2), 1);
  ck_assert_int_eq(u.r->level[USB_LINE], 1);
  set(&u, 2, 1);
  ck_assert_int_eq(u.r->level[USB_LINE], 0);
  ck_assert_uint_eq(probe->ins, 1);
  /* Legacy support can cut the line off. */
  td(&u, 0, END, ACTIVE | IOC, token(USB_IN, 5, 1, 1, 64), DATA);
  put(&u, QH + 4, td_at(0));
  pci_config_write(u.bus, USB_DEVFN, 0xc0, 2, 0);
  frames(&u, 2);
  ck_assert_uint_eq(reg(&u, 2), 1);
  ck_assert_int_eq(u.r->level[USB_LINE], 0);
  ck_assert_uint_eq(pci_config_read(u.bus, USB_DEVFN, 0xc0, 2), 0x1000);
  pci_config_write(u.bus, USB_DEVFN, 0xc0, 2, 0x2000);
  ck_assert_int_eq(u.r->level[USB_LINE], 1);
  teardown();
}
END_TEST

START_TEST(nak_keeps_active) {
  setup();
  probe->answer = USB_NAK;
  td(&u, 0, END, ACTIVE | IOC | ERRORS(3), token(USB_IN, 5, 1, 0, 8), DATA);
  put(&u, QH + 4, td_at(0));
  frames(&u, 3);
  ck_assert_uint_eq(td_control(&u, 0), ACTIVE | IOC | ERRORS(3) | 1u << 19);
  ck_assert_uint_eq(get(&u, QH + 4), td_at(0));
  ck_assert_uint_ge(probe->ins, 2); /* once a frame */
  ck_assert_uint_le(probe->ins, 3);
  ck_assert_uint_eq(reg(&u, 2), 0);
  probe->answer = 8;
  frames(&u, 2);
  ck_assert_uint_eq(td_control(&u, 0), IOC | ERRORS(3) | 7); /* NAK is cleared */
  teardown();
}
END_TEST

START_TEST(short_packet) {
  setup();
  probe->answer = 5;
  td(&u, 0, td_at(1) | DEPTH, ACTIVE | SPD, token(USB_IN, 5, 1, 0, 64), DATA);
  td(&u, 1, END, ACTIVE, token(USB_IN, 5, 1, 1, 64), DATA);
  put(&u, QH + 4, td_at(0));
  frames(&u, 3);
  ck_assert_uint_eq(td_control(&u, 0), SPD | 4);
  ck_assert_uint_eq(td_control(&u, 1), ACTIVE); /* the queue stands */
  ck_assert_uint_eq(get(&u, QH + 4), td_at(0));
  ck_assert_uint_eq(reg(&u, 2), 1);
  ck_assert_int_eq(u.r->level[USB_LINE], 1);
  set(&u, 4, 0x07); /* no interrupt for short packets */
  ck_assert_int_eq(u.r->level[USB_LINE], 0);
  set(&u, 2, 1);
  /* Without SPD it goes on. An IN of nothing tells 7FFh. */
  probe->answer = 0;
  td(&u, 0, td_at(1) | DEPTH, ACTIVE, token(USB_IN, 5, 1, 1, 64), DATA);
  td(&u, 1, END, ACTIVE, token(USB_IN, 5, 1, 0, 64), DATA);
  put(&u, QH + 4, td_at(0));
  frames(&u, 2);
  ck_assert_uint_eq(td_control(&u, 0), 0x7ff);
  ck_assert_uint_eq(td_control(&u, 1), 0x7ff);
  teardown();
}
END_TEST

START_TEST(stall_and_babble) {
  setup();
  probe->answer = USB_STALL;
  td(&u, 0, END, ACTIVE | ERRORS(3), token(USB_IN, 5, 1, 0, 64), DATA);
  put(&u, QH + 4, td_at(0));
  frames(&u, 2);
  ck_assert_uint_eq(td_control(&u, 0), ERRORS(3) | 1u << 22 | 0x7ff);
  ck_assert_uint_eq(get(&u, QH + 4), td_at(0)); /* halted */
  ck_assert_uint_eq(reg(&u, 2), 2);
  ck_assert_int_eq(u.r->level[USB_LINE], 1);
  set(&u, 2, 2);
  probe->usb.halt_in = 0;
  probe->answer = 64;
  put(&u, DATA + 4, 0x55555555);
  td(&u, 0, END, ACTIVE, token(USB_IN, 5, 1, 0, 4), DATA);
  frames(&u, 2);
  ck_assert_uint_eq(td_control(&u, 0), 1u << 22 | 1u << 20 | 0x7ff);
  ck_assert_uint_eq(get(&u, DATA + 4), 0x55555555);
  ck_assert_uint_eq(reg(&u, 2), 2);
  teardown();
}
END_TEST

START_TEST(nobody_answers) {
  setup();
  td(&u, 0, END, ACTIVE | ERRORS(3), token(USB_IN, 77, 1, 0, 8), DATA);
  put(&u, QH + 4, td_at(0));
  frames(&u, 1);
  ck_assert_uint_eq(td_control(&u, 0), ACTIVE | ERRORS(2) | 1u << 18 | 0x7ff);
  ck_assert_uint_eq(reg(&u, 2), 0);
  frames(&u, 2);
  ck_assert_uint_eq(td_control(&u, 0), 1u << 22 | 1u << 18 | 0x7ff);
  ck_assert_uint_eq(reg(&u, 2), 2);
  set(&u, 2, 2);
  /* Speed matters; a count of 0 is without end. */
  td(&u, 0, END, ACTIVE | LOW, token(USB_IN, 5, 1, 0, 8), DATA);
  frames(&u, 20);
  ck_assert_uint_eq(td_control(&u, 0), ACTIVE | LOW | 1u << 18 | 0x7ff);
  ck_assert_uint_eq(reg(&u, 2), 0);
  ck_assert_uint_eq(probe->ins, 0);
  /* Once, if isochronous. */
  td(&u, 0, END, ACTIVE | 1u << 25, token(USB_IN, 77, 1, 0, 8), DATA);
  frames(&u, 1);
  ck_assert_uint_eq(td_control(&u, 0) & ACTIVE, 0);
  teardown();
}
END_TEST

START_TEST(toggles) {
  setup();
  probe->answer = 8;
  td(&u, 0, END, ACTIVE, token(USB_IN, 5, 1, 1, 8), DATA); /* the device begins with DATA0 */
  put(&u, QH + 4, td_at(0));
  frames(&u, 1);
  ck_assert_uint_eq(td_control(&u, 0), ACTIVE); /* dropped as a repetition */
  frames(&u, 1);
  ck_assert_uint_eq(td_control(&u, 0), 7);
  ck_assert_uint_eq(probe->ins, 2);
  /* OUT with the wrong toggle: acknowledged, not delivered. */
  for (unsigned i = 0; i < 3; i++) {
    td(&u, 0, END, ACTIVE, token(USB_OUT, 5, 1, i > 0, 8), DATA);
    put(&u, QH + 4, td_at(0));
    frames(&u, 2);
    ck_assert_uint_eq(td_control(&u, 0), 7);
  }
  ck_assert_uint_eq(probe->outs, 2);
  teardown();
}
END_TEST

START_TEST(breadth_and_depth) {
  setup();
  probe->answer = 8;
  /* Two queues of three each: breadth first takes one of each in turn, one lap a frame as the list has an
   * end. */
  for (unsigned i = 0; i < 6; i++)
    td(&u, i, i % 3 == 2 ? END : td_at(i + 1), ACTIVE, token(USB_OUT, 5, 1, 0, 8), DATA);
  put(&u, QH, (QH + 16) | QUEUE);
  put(&u, QH + 4, td_at(0));
  put(&u, QH + 16, END);
  put(&u, QH + 20, td_at(3));
  frames(&u, 1);
  ck_assert_uint_eq(td_control(&u, 0), 7);
  ck_assert_uint_eq(td_control(&u, 1), ACTIVE);
  ck_assert_uint_eq(td_control(&u, 3), 7);
  ck_assert_uint_eq(td_control(&u, 4), ACTIVE);
  /* Depth first empties a queue at once. */
  put(&u, td_at(1), td_at(2) | DEPTH);
  frames(&u, 1);
  ck_assert_uint_eq(td_control(&u, 2), 7);
  ck_assert_uint_eq(td_control(&u, 5), ACTIVE);
  frames(&u, 1);
  ck_assert_uint_eq(td_control(&u, 5), 7);
  ck_assert_uint_eq(get(&u, QH + 20), END);
  /* A circle of queues (bandwidth reclamation) is walked while there is progress and time. */
  for (unsigned i = 0; i < 40; i++)
    td(&u, i, i == 39 ? END : td_at(i + 1), ACTIVE, token(USB_OUT, 5, 1, 0, 64), DATA);
  put(&u, QH + 16, QH | QUEUE);
  put(&u, QH + 20, td_at(0));
  frames(&u, 1);
  ck_assert_uint_eq(td_control(&u, 18), 63); /* 19 packets of 64 fit into a frame (5.8.4) */
  ck_assert_uint_eq(td_control(&u, 20), ACTIVE);
  frames(&u, 3);
  ck_assert_uint_eq(td_control(&u, 39), 63);
  teardown();
}
END_TEST

START_TEST(endless_lists_end) {
  setup();
  /* A descriptor that links to itself; queue heads in a circle; a depth-first circle of inactive ones. */
  td(&u, 0, td_at(0), ACTIVE, token(USB_IN, 5, 1, 0, 8), DATA);
  probe->answer = USB_NAK;
  for (unsigned i = 0; i < 1024; i++)
    put(&u, FRAME_LIST + 4 * i, td_at(0));
  frames(&u, 4);
  ck_assert_uint_gt(probe->ins, 4);
  ck_assert_uint_lt(probe->ins, 4 * 513);
  td(&u, 0, td_at(0) | DEPTH, 0, token(USB_IN, 5, 1, 0, 8), DATA);
  frames(&u, 4);
  put(&u, QH, QH | QUEUE);
  put(&u, QH + 4, QH | QUEUE);
  for (unsigned i = 0; i < 1024; i++)
    put(&u, FRAME_LIST + 4 * i, QH | QUEUE);
  frames(&u, 4);
  ck_assert_uint_eq(reg(&u, 2), 0);
  teardown();
}
END_TEST

START_TEST(process_error) {
  setup();
  td(&u, 0, END, ACTIVE, token(0x55, 5, 1, 0, 8), DATA);
  put(&u, QH + 4, td_at(0));
  set(&u, 4, 0);
  frames(&u, 2);
  ck_assert_uint_eq(reg(&u, 2), 0x30); /* halted */
  ck_assert_uint_eq(reg(&u, 0) & 1, 0);
  ck_assert_int_eq(u.r->level[USB_LINE], 1); /* cannot be masked */
  set(&u, 2, 0x10);
  ck_assert_int_eq(u.r->level[USB_LINE], 0);
  td(&u, 0, END, ACTIVE, token(USB_IN, 5, 1, 0, 0x501), DATA); /* longer than allowed */
  set(&u, 0, 1);
  frames(&u, 2);
  ck_assert_uint_eq(reg(&u, 2), 0x30);
  /* Without bus mastering, nothing is read. */
  set(&u, 2, 0x10);
  pci_config_write(u.bus, USB_DEVFN, 4, 2, 1);
  set(&u, 0, 1);
  frames(&u, 2);
  ck_assert_uint_eq(reg(&u, 2), 0);
  teardown();
}
END_TEST

START_TEST(suspend) {
  setup();
  probe->answer = 8;
  td(&u, 0, END, ACTIVE, token(USB_IN, 5, 1, 0, 8), DATA);
  put(&u, QH + 4, td_at(0));
  set(&u, 0, 0x08); /* enter global suspend */
  frames(&u, 20);
  ck_assert_uint_eq(probe->ins, 0);
  usb_detach(&u.ports[1]);
  ck_assert_uint_eq(reg(&u, 2), 0x24);
  ck_assert_uint_eq(reg(&u, 0), 0x18);
  ck_assert_int_eq(u.r->level[USB_LINE], 1);
  set(&u, 0, 0x01);
  frames(&u, 2);
  ck_assert_uint_eq(probe->ins, 1);
  ck_assert_uint_eq(reg(&u, 2), 0x04);
  teardown();
}
END_TEST

START_TEST(news_within_a_frame) {
  setup();
  usb_detach(&u.ports[0]);
  struct usb_device *hub = usb_rig_add(&u, &u.ports[0], &usb_hub_class, NULL);
  usb_rig_start(&u);
  hub->configuration = 1;
  ck_assert_int_eq(usb_attach(&usb_hub_ports(&hub->dev)[0], &probe->usb), 0);
  static const uint8_t requests[2][8] = {{0x23, 3, 8, 0, 1, 0, 0, 0}, {0x23, 3, 4, 0, 1, 0, 0, 0}};
  for (int i = 0; i < 2; i++) { /* power and reset of a port: changes that the hub is eager to tell */
    frames(&u, 100);            /* idle by now */
    mem_dma_write(u.r->set.mem, DATA, requests[i], 8);
    td(&u, 0, td_at(1) | DEPTH, ACTIVE, token(USB_SETUP, 0, 0, 0, 8), DATA);
    td(&u, 1, END, ACTIVE, token(USB_IN, 0, 0, 1, 0), DATA);
    put(&u, QH + 4, td_at(0));
    frames(&u, 20);
    ck_assert_uint_eq(td_control(&u, 0), 7);
    ck_assert_uint_eq(td_control(&u, 1), 0x7ff);
  }
  ck_assert_int_gt(usb_transact(hub, USB_IN, 1, false, (uint8_t[USB_PACKET]){0}, 2), 0);
  teardown();
}
END_TEST

/* One hostile driver: registers, time, descriptors of random and of half-plausible contents, devices that
 * answer. */
static void hostile_step(struct rig *r, uint32_t *seed) {
  uint32_t x = rig_random(seed), v = rig_random(seed), pa = rig_random(seed) % (RIG_RAM - 64);
  switch (x & 15) {
  case 0:
  case 1: in(r, (uint16_t)(USB_IO + (x >> 8) % 32), 1 << (x >> 16) % 3); break;
  case 2:
  case 3:
  case 4: out(r, (uint16_t)(USB_IO + (x >> 8) % 32), 1 << (x >> 16) % 3, v); break;
  case 5: out(r, USB_IO, 2, 0xc1 | (v & 0x18 & (v >> 8))); break;
  case 6: rig_run(r, v % (x & 0x100 ? 40000000 : 1500000)); break;
  case 7: put(&u, FRAME_LIST + (v & 0xffc), (x & 0x10 ? rig_random(seed) % 0x40000 : QH | QUEUE)); break;
  case 8: put(&u, QH + (x >> 8 & 0x1f) * 16 + (x & 0x10 ? 4 : 0), (x & 0x20 ? TD : QH) + (v & 0xff7)); break;
  case 9:
  case 10:
  case 11: {
    static const uint8_t pids[4] = {USB_IN, USB_OUT, USB_SETUP, USB_IN};
    uint32_t n = x >> 8 & 0x7f, length = v >> 21 & (x & 0x20 ? 0x3f : 0x7ff);
    td(&u, n, td_at(v & 0x7f) | (x >> 4 & 5), ACTIVE | (v & 0x3f000000),
       token(pids[v >> 8 & 3], x >> 16 & 3 ? v >> 12 & 7 : v & 0x7f, v >> 16 & 3, v >> 18 & 1, length + 1),
       pa);
    break;
  }
  case 12: put(&u, pa & ~3u, v); break;
  case 13: probe->answer = (int)(v % 70) - 5; break;
  case 14:
    if (v % 64 == 0)
      device_reset_all(&r->set);
    if (v % 64 == 1 && u.ports[0].dev)
      usb_detach(&u.ports[0]);
    else if (v % 64 == 2 && !u.ports[0].dev)
      usb_attach(&u.ports[0], &probe->usb);
    if (v % 64 < 3)
      usb_rig_map(&u);
    break;
  default:
    usb_hid_pointer(tablet, (int)(v & 0xffff), (int)(v >> 16), (int)(x >> 8 & 3) - 1, (int)(x >> 16 & 7));
    pci_config_write(u.bus, USB_DEVFN, x & 0x1000 ? 0xc0 : 0x3c, 2, v);
    out(r, USB_IO + 0x10 + (x >> 8 & 2), 2, 4);
    out(r, USB_IO + 8, 4, FRAME_LIST);
  }
}

START_TEST(hostile) {
  const char *wish = getenv("FUZZ_OPS");
  uint32_t seed = 2463534242u;
  setup();
  usb_detach(&u.ports[1]);
  struct usb_device *hub = usb_rig_add(&u, &u.ports[1], &usb_hub_class, NULL);
  struct usb_port *below = usb_hub_ports(&hub->dev);
  usb_rig_add(&u, &below[3], &usb_keyboard_class, NULL);
  ck_assert_int_eq(usb_attach(&below[0], tablet), 0);
  usb_rig_start(&u);
  for (int i = 0, n = wish ? atoi(wish) : 100000; i < n; i++)
    hostile_step(u.r, &seed);
  teardown();
}
END_TEST

Suite *suite_uhci(void) {
  const TTest *const tests[] = {identity,       root_ports,       frame_counter,       idle_wakes_seldom,
                                in_completes,   nak_keeps_active, short_packet,        stall_and_babble,
                                nobody_answers, toggles,          breadth_and_depth,   endless_lists_end,
                                process_error,  suspend,          news_within_a_frame, hostile};
  Suite *suite = suite_create("uhci");
  TCase *tc = tcase_create("uhci");
  tcase_set_timeout(tc, 60);
  for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++)
    tcase_add_test(tc, tests[i]);
  suite_add_tcase(suite, tc);
  return suite;
}
