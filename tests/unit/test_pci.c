/* SPDX-License-Identifier: MIT */
/* PCI configuration and BARs, the 440FX's PAM registers, PIIX3's interrupt steering and reset register. */
#include "devices/i440fx.h"
#include "devices/piix3.h"
#include "tests/unit/rig.h"

struct chipset {
  struct rig *rig;
  struct device *host, *isa;
  struct pci_bus *bus;
  struct mem_block *rom;
  int resets, inits;
  struct pci_func card, twin;
  uint32_t io_value, mmio_value;
};

static void reset_hook(void *opaque, bool hard) {
  struct chipset *c = opaque;
  if (hard)
    c->resets++;
  else
    c->inits++;
}

static struct chipset *chipset_new(void) {
  struct chipset *c = calloc(1, sizeof *c);
  c->rig = rig_new();
  c->rom = mem_block_new(c->rig->set.mem, "rom", 0x20000);
  memset(c->rom->host, 0xbb, 0x20000);
  c->host = device_new(&c->rig->set, &i440fx_class,
                       &(struct device_args){.id = "host",
                                             .config = &(struct i440fx_config){
                                                 .ram = c->rig->ram, .rom = c->rom, .rom_base = 0xe0000}});
  ck_assert_ptr_nonnull(c->host);
  c->bus = i440fx_bus(c->host);
  struct device_args args = {.id = "isa", .config = &(struct piix3_config){c->bus, reset_hook, c}};
  for (int i = 0; i < 16; i++)
    args.irq[i] = rig_line(c->rig, i);
  c->isa = device_new(&c->rig->set, &piix3_class, &args);
  ck_assert_ptr_nonnull(c->isa);
  device_reset_all(&c->rig->set);
  return c;
}

static void chipset_free(struct chipset *c) {
  rig_free(c->rig);
  free(c);
}

static void address(struct chipset *c, int devfn, uint32_t offset) {
  out(c->rig, 0xcf8, 4, 0x80000000u | (uint32_t)devfn << 8 | (offset & 0xfc));
}

static uint32_t config(struct chipset *c, int devfn, uint32_t offset, int size) {
  address(c, devfn, offset);
  return in(c->rig, (uint16_t)(0xcfc + (offset & 3)), size);
}

static void set_config(struct chipset *c, int devfn, uint32_t offset, int size, uint32_t value) {
  address(c, devfn, offset);
  out(c->rig, (uint16_t)(0xcfc + (offset & 3)), size, value);
}

static uint32_t card_in(void *opaque, uint32_t offset, int size) {
  (void)size;
  return ((struct chipset *)opaque)->io_value + offset;
}

static void card_out(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)offset, (void)size;
  ((struct chipset *)opaque)->io_value = value;
}

static uint64_t card_read(void *opaque, uint32_t offset, int size) {
  (void)size;
  return ((struct chipset *)opaque)->mmio_value + offset;
}

static void card_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  (void)offset, (void)size;
  ((struct chipset *)opaque)->mmio_value = (uint32_t)value;
}

static const struct io_ops card_io = {card_in, card_out, 4};
static const struct mmio_ops card_mmio = {.read = card_read, .write = card_write, .max_size = 4};

/* A network-card-like function: 32 I/O ports at BAR 0, 4 KB of MMIO at BAR 1, 64 KB of memory at BAR 2, a
 * ROM. */
static void add_card(struct chipset *c, struct pci_func *f, int devfn, const char *name) {
  struct mem_block *vram = mem_block_new(c->rig->set.mem, name, 0x10000);
  struct mem_block *rom = mem_block_new(c->rig->set.mem, "card rom", 0x10000);
  rom->host[0] = 0x55;
  pci_func_init(f, name, 0x1234, 0x5678, 0x020000, 3, 1);
  pci_func_set_bar(f, 0, &(struct pci_bar){.kind = PCI_BAR_IO, .size = 32, .io_ops = &card_io, .opaque = c});
  pci_func_set_bar(f, 1,
                   &(struct pci_bar){.kind = PCI_BAR_MEM, .size = 4096, .mmio_ops = &card_mmio, .opaque = c});
  pci_func_set_bar(f, 2, &(struct pci_bar){.kind = PCI_BAR_MEM_PREFETCH, .size = 0x10000, .block = vram});
  pci_func_set_bar(f, 6, &(struct pci_bar){.kind = PCI_BAR_MEM, .size = 0x10000, .block = rom});
  ck_assert_int_eq(pci_register(c->bus, f, devfn), 0);
}

START_TEST(mechanism_one) {
  struct chipset *c = chipset_new();
  ck_assert_uint_eq(config(c, 0, 0, 4), 0x12378086);
  ck_assert_uint_eq(config(c, 0, 0, 2), 0x8086);
  ck_assert_uint_eq(config(c, 0, 2, 2), 0x1237);
  ck_assert_uint_eq(config(c, 0, 0x0b, 1), 0x06);
  ck_assert_uint_eq(config(c, 8, 0, 4), 0x70008086);
  ck_assert_uint_eq(config(c, 8, 0x0a, 2), 0x0601);
  ck_assert_uint_eq(config(c, 8, 0x0e, 1), 0x80);
  ck_assert_uint_eq(config(c, 0x18, 0, 4), 0xffffffff);
  out(c->rig, 0xcf8, 4, 0xffffffff);
  ck_assert_uint_eq(in(c->rig, 0xcf8, 4), 0x80fffffc);
  ck_assert_uint_eq(in(c->rig, 0xcfc, 4), 0xffffffff); /* bus 255 */
  out(c->rig, 0xcf8, 4, 0x00000000);
  ck_assert_uint_eq(in(c->rig, 0xcfc, 4), 0xffffffff); /* not enabled */
  out(c->rig, 0xcf8, 4, 0x80000000);
  outb(c->rig, 0xcf8, 0x55); /* bytes don't reach CONFIG_ADDRESS */
  ck_assert_uint_eq(in(c->rig, 0xcf8, 4), 0x80000000);
  set_config(c, 0, 0, 4, 0);
  ck_assert_uint_eq(config(c, 0, 0, 4), 0x12378086);
  chipset_free(c);
}
END_TEST

START_TEST(bar_sizes) {
  struct chipset *c = chipset_new();
  add_card(c, &c->card, 3 << 3, "card");
  for (uint32_t bar = 0x10; bar <= 0x30; bar += 4)
    set_config(c, 3 << 3, bar, 4, 0xffffffff);
  ck_assert_uint_eq(config(c, 3 << 3, 0x10, 4), 0xffffffe1);
  ck_assert_uint_eq(config(c, 3 << 3, 0x14, 4), 0xfffff000);
  ck_assert_uint_eq(config(c, 3 << 3, 0x18, 4), 0xffff0008);
  ck_assert_uint_eq(config(c, 3 << 3, 0x1c, 4), 0);
  ck_assert_uint_eq(config(c, 3 << 3, 0x30, 4), 0xffff0001);
  chipset_free(c);
}
END_TEST

START_TEST(bar_mapping) {
  struct chipset *c = chipset_new();
  struct mem *mem = c->rig->set.mem;
  add_card(c, &c->card, 3 << 3, "card");
  add_card(c, &c->twin, 4 << 3, "twin");
  c->io_value = 0x100, c->mmio_value = 0x200;
  set_config(c, 3 << 3, 0x10, 4, 0xc000);
  set_config(c, 3 << 3, 0x14, 4, 0xe0000000);
  set_config(c, 3 << 3, 0x18, 4, 0xe1000000);
  ck_assert_uint_eq(inb(c->rig, 0xc004), 0xff);
  set_config(c, 3 << 3, 4, 2, 3);
  ck_assert_uint_eq(in(c->rig, 0xc004, 4), 0x104);
  ck_assert_uint_eq(mem_read(mem, 0xe0000008, 4), 0x208);
  mem_write(mem, 0xe1000000, 4, 0x12345678);
  ck_assert_uint_eq(mem_read(mem, 0xe1000000, 4), 0x12345678);
  set_config(c, 3 << 3, 0x18, 4, 0xe2000000); /* moves with its contents */
  ck_assert_uint_eq(mem_read(mem, 0xe2000000, 4), 0x12345678);
  ck_assert_uint_eq(mem_read(mem, 0xe1000000, 4), 0xffffffff);
  set_config(c, 3 << 3, 0x30, 4, 0xe3000001);
  ck_assert_uint_eq(mem_read(mem, 0xe3000000, 1), 0x55);
  mem_write(mem, 0xe3000000, 1, 0);
  ck_assert_uint_eq(mem_read(mem, 0xe3000000, 1), 0x55);
  /* Another card on top: when it goes away the first one is back. */
  set_config(c, 4 << 3, 0x18, 4, 0xe2000000);
  set_config(c, 4 << 3, 0x10, 4, 0xc010);
  set_config(c, 4 << 3, 4, 2, 3);
  ck_assert_uint_eq(mem_read(mem, 0xe2000000, 4), 0);
  set_config(c, 4 << 3, 4, 2, 0);
  ck_assert_uint_eq(mem_read(mem, 0xe2000000, 4), 0x12345678);
  set_config(c, 3 << 3, 4, 2, 0);
  ck_assert_uint_eq(inb(c->rig, 0xc004), 0xff);
  ck_assert_uint_eq(mem_read(mem, 0xe2000000, 4), 0xffffffff);
  chipset_free(c);
}
END_TEST

START_TEST(bar_never_covers_ram) {
  struct chipset *c = chipset_new();
  struct mem *mem = c->rig->set.mem;
  add_card(c, &c->card, 3 << 3, "card");
  mem_write(mem, 0x200000, 4, 0xcafe);
  set_config(c, 3 << 3, 4, 2, 3);
  static const uint32_t bad[] = {0x200000, 0x3ff000, 0xe0000, 0, 0xfec00000, 0xfffff000, 0xffff0000};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    set_config(c, 3 << 3, 0x14, 4, bad[i]);
    set_config(c, 3 << 3, 0x18, 4, bad[i]);
    ck_assert(!c->card.bar[1].mapped);
    ck_assert(!c->card.bar[2].mapped);
  }
  ck_assert_uint_eq(mem_read(mem, 0x200000, 4), 0xcafe);
  chipset_free(c);
}
END_TEST

START_TEST(functions_of_a_slot) {
  struct chipset *c = chipset_new();
  add_card(c, &c->card, 5 << 3 | 1, "second");
  ck_assert_uint_eq(config(c, 5 << 3, 0, 4), 0xffffffff);
  add_card(c, &c->twin, 5 << 3, "first");
  ck_assert_uint_eq(config(c, 5 << 3, 0x0e, 1), 0x80);
  ck_assert_uint_eq(config(c, 5 << 3 | 1, 0x0e, 1), 0);
  struct pci_func third;
  pci_func_init(&third, "third", 1, 2, 0, 0, 0);
  ck_assert_int_eq(pci_register(c->bus, &third, 5 << 3), -EBUSY);
  chipset_free(c);
}
END_TEST

START_TEST(pam) {
  struct chipset *c = chipset_new();
  struct mem *mem = c->rig->set.mem;
  memset(c->rig->ram->host + 0xc0000, 0xaa, 0x40000);
  ck_assert_uint_eq(mem_read(mem, 0xf0000, 1), 0xbb); /* ROM */
  ck_assert_uint_eq(mem_read(mem, 0xe0000, 1), 0xbb);
  ck_assert_uint_eq(mem_read(mem, 0xc8000, 1), 0xff); /* nobody */
  mem_write(mem, 0xf0000, 1, 1);
  ck_assert_uint_eq(mem_read(mem, 0xf0000, 1), 0xbb);
  set_config(c, 0, 0x59, 1, 0x20); /* write RAM, read ROM */
  mem_write(mem, 0xf0000, 1, 0x11);
  ck_assert_uint_eq(mem_read(mem, 0xf0000, 1), 0xbb);
  ck_assert_uint_eq(c->rig->ram->host[0xf0000], 0x11);
  set_config(c, 0, 0x59, 1, 0x10); /* read RAM, writes go nowhere */
  mem_write(mem, 0xf0000, 1, 0x22);
  ck_assert_uint_eq(mem_read(mem, 0xf0000, 1), 0x11);
  set_config(c, 0, 0x59, 1, 0x30);
  mem_write(mem, 0xfffff, 1, 0x33);
  ck_assert_uint_eq(mem_read(mem, 0xfffff, 1), 0x33);
  /* PAM5: high nibble DC000h, low nibble D8000h, eight registers in one dword write. */
  set_config(c, 0, 0x5c, 4, 0x00003003); /* 5C: D0000; 5D: DC000 */
  ck_assert_uint_eq(mem_read(mem, 0xd0000, 1), 0xaa);
  ck_assert_uint_eq(mem_read(mem, 0xd4000, 1), 0xff);
  ck_assert_uint_eq(mem_read(mem, 0xd8000, 1), 0xff);
  ck_assert_uint_eq(mem_read(mem, 0xdc000, 1), 0xaa);
  set_config(c, 0, 0x72, 1, 0x4a);
  ck_assert_uint_eq(config(c, 0, 0x72, 1), 0x4a);
  device_reset_all(&c->rig->set);
  ck_assert_uint_eq(mem_read(mem, 0xfffff, 1), 0xbb);
  ck_assert_uint_eq(mem_read(mem, 0xdc000, 1), 0xff);
  ck_assert_uint_eq(config(c, 0, 0x72, 1), 0x02);
  chipset_free(c);
}
END_TEST

START_TEST(state_round_trip) {
  struct chipset *c = chipset_new();
  struct mem *mem = c->rig->set.mem;
  set_config(c, 0, 0x59, 1, 0x30);
  mem_write(mem, 0xf0000, 1, 0x77);
  uint8_t saved[512];
  ck_assert_uint_le(state_size(i440fx_class.fields), sizeof saved);
  state_save(saved, c->host, i440fx_class.fields);
  device_reset_all(&c->rig->set);
  ck_assert_uint_eq(mem_read(mem, 0xf0000, 1), 0xbb);
  ck_assert_int_eq(state_load(saved, sizeof saved, c->host, i440fx_class.fields), 0);
  pci_bus_restore(c->bus);
  ck_assert_uint_eq(mem_read(mem, 0xf0000, 1), 0x77);
  chipset_free(c);
}
END_TEST

START_TEST(interrupt_steering) {
  struct chipset *c = chipset_new();
  add_card(c, &c->card, 3 << 3, "card"); /* slot 3 INTA -> PIRQC */
  add_card(c, &c->twin, 7 << 3, "twin"); /* slot 7 INTA -> PIRQC too */
  pci_set_intx(&c->card, 1);
  ck_assert_int_eq(piix3_pirq_route(c->isa, 2), -1);
  set_config(c, 8, 0x60, 4, 0x800b0a0a);
  ck_assert_int_eq(piix3_pirq_route(c->isa, 2), 11);
  ck_assert_int_eq(c->rig->level[11], 1);
  pci_set_intx(&c->twin, 1);
  pci_set_intx(&c->card, 0);
  ck_assert_int_eq(c->rig->level[11], 1);
  set_config(c, 8, 0x62, 1, 0x0a); /* moved to another line while asserted */
  ck_assert_int_eq(c->rig->level[11], 0);
  ck_assert_int_eq(c->rig->level[10], 1);
  pci_set_intx(&c->twin, 0);
  ck_assert_int_eq(c->rig->level[10], 0);
  set_config(c, 8, 0x62, 1, 0x08); /* reserved */
  ck_assert_int_eq(piix3_pirq_route(c->isa, 2), -1);
  pci_set_intx(&c->twin, 1);
  pci_func_reset(&c->twin);
  set_config(c, 8, 0x62, 1, 0x05);
  ck_assert_int_eq(c->rig->level[5], 0);
  chipset_free(c);
}
END_TEST

START_TEST(reset_control) {
  struct chipset *c = chipset_new();
  outb(c->rig, 0xcf9, 0x02);
  ck_assert_int_eq(c->resets, 0);
  ck_assert_uint_eq(inb(c->rig, 0xcf9), 0x02);
  outb(c->rig, 0xcf9, 0x04);
  ck_assert_int_eq(c->resets, 0);
  ck_assert_int_eq(c->inits, 1);
  outb(c->rig, 0xcf9, 0x02);
  outb(c->rig, 0xcf9, 0x06);
  ck_assert_int_eq(c->resets, 1);
  outb(c->rig, 0xcf9, 0x06);
  ck_assert_int_eq(c->resets, 1);
  out(c->rig, 0xcf8, 4, 0x80000600); /* an address with those bits is none of its business */
  ck_assert_int_eq(c->resets, 1);
  chipset_free(c);
}
END_TEST

START_TEST(noise) {
  struct chipset *c = chipset_new();
  uint32_t seed = 1;
  add_card(c, &c->card, 3 << 3, "card");
  add_card(c, &c->twin, 4 << 3, "twin");
  for (int i = 0; i < 100000; i++) {
    static const uint8_t devfns[] = {0, 8, 3 << 3, 4 << 3, 5 << 3};
    uint32_t what = rig_random(&seed), value = rig_random(&seed);
    int size = 1 << what % 3;
    if (what & 0x100)
      set_config(c, devfns[(what >> 4) % 5], value >> 8 & 0xff & (uint32_t)-size, size, rig_random(&seed));
    else if (what & 0x200)
      out(c->rig, (uint16_t)(0xcf8 + (what >> 10) % 8), size, value);
    else
      in(c->rig, (uint16_t)(0xcf8 + (what >> 10) % 8), size);
    if (what % 16 == 0)
      pci_set_intx(&c->card, what >> 12 & 1);
    mem_write(c->rig->set.mem, value & ~7u, 4, what);
  }
  chipset_free(c);
}
END_TEST

Suite *suite_pci(void) {
  Suite *suite = suite_create("pci");
  TCase *tests = tcase_create("pci");
  tcase_set_timeout(tests, 60);
  tcase_add_test(tests, mechanism_one);
  tcase_add_test(tests, bar_sizes);
  tcase_add_test(tests, bar_mapping);
  tcase_add_test(tests, bar_never_covers_ram);
  tcase_add_test(tests, functions_of_a_slot);
  tcase_add_test(tests, pam);
  tcase_add_test(tests, state_round_trip);
  tcase_add_test(tests, interrupt_steering);
  tcase_add_test(tests, reset_control);
  tcase_add_test(tests, noise);
  suite_add_tcase(suite, tests);
  return suite;
}
