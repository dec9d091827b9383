/* SPDX-License-Identifier: MIT */
/* A CL-GD5446 on a PCI bus without a CPU, reached as a guest reaches it, for test_cirrus*.c. */
#ifndef TESTS_UNIT_CIRRUS_RIG_H
#define TESTS_UNIT_CIRRUS_RIG_H

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "devices/display/cirrus_state.h"

#define VRAM_SIZE 0x400000u
#define LFB 0xe0000000u
#define BLT_APERTURE (LFB + 0x1000000u)
#define REGS 0xe4000000u
#define WINDOW 0xa0000u
#define MMIO_WINDOW 0xb8000u
#define DEVFN 0x10

static struct device_set set;
static struct pci_bus *bus;
static struct display *display;
static struct cirrus *cirrus;
static struct mem_block *canary[2]; /* one made before, one after the device's memory */
static uint32_t config_address;
static uint64_t now_10ns;

static uint64_t rig_clock(void *opaque) {
  (void)opaque;
  return now_10ns;
}

static void rig_setup(void) {
  now_10ns = 0;
  set = (struct device_set){
      .io = io_bus_new(), .mem = mem_new(), .clock = clock_new_counted(rig_clock, NULL, 100)};
  bus = pci_bus_new(set.io, set.mem, 0x80000000u, 0xfebfffffu, &config_address);
  canary[0] = mem_block_new(set.mem, "before", 0x10000);
  struct vga_config config = {.display = &display, .pci = bus};
  struct device *dev = device_new(&set, &cirrus_class, &(struct device_args){.id = "vga", .config = &config});
  ck_assert_ptr_nonnull(dev);
  canary[1] = mem_block_new(set.mem, "after", 0x10000);
  cirrus = DEVICE(struct cirrus, dev);
  pci_config_write(bus, DEVFN, 0x10, 4, LFB);
  pci_config_write(bus, DEVFN, 0x14, 4, REGS);
  pci_config_write(bus, DEVFN, 0x04, 2, 3);
  io_write(set.io, 0x3c2, 1, 0x67);
}

static void rig_teardown(void) {
  for (int i = 0; i < 2; i++) { /* (a passed assertion costs the test library a system call) */
    uint8_t written = 0;
    for (uint32_t k = 0; k < 0x10000; k++)
      written |= canary[i]->host[k];
    ck_assert_uint_eq(written, 0);
  }
  device_free_all(&set);
  pci_bus_free(bus);
  io_bus_free(set.io);
  mem_free(set.mem);
  clock_free(set.clock);
}

static inline void out(unsigned port, unsigned value) { io_write(set.io, (uint16_t)port, 1, value); }
static inline unsigned in(unsigned port) { return io_read(set.io, (uint16_t)port, 1); }
static inline void seq(unsigned index, unsigned value) { io_write(set.io, 0x3c4, 2, value << 8 | index); }
static inline void gc(unsigned index, unsigned value) { io_write(set.io, 0x3ce, 2, value << 8 | index); }
static inline void crtc(unsigned index, unsigned value) { io_write(set.io, 0x3d4, 2, value << 8 | index); }
static inline unsigned indexed(unsigned port, unsigned index) {
  out(port, index);
  return in(port + 1);
}
static inline uint8_t *vram(void) { return cirrus->vga.vram->host; }

static uint64_t random_state;
static inline uint32_t random_next(void) {
  random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(random_state >> 33);
}
static inline uint32_t random_below(uint32_t n) { return random_next() % n; }

#endif
