/* SPDX-License-Identifier: MIT */
/*
 * Intel 82441FX PCI and memory controller, datasheet 290549: configuration registers of function 00:00.0 and
 * the programmable attribute map (PAM, 3.2.13), which steers C0000h-FFFFFh between DRAM and PCI for reads and
 * writes separately.
 *
 * Not modelled: DRAM timing and row boundaries (stored only), the SMM space behind SMRAM (stored only), AGP,
 * errors.
 */
#include "devices/i440fx.h"

#include <string.h>

#define PAM0 0x59
#define SMRAM 0x72
#define SEGMENTS 13 /* C0000h ... EC000h in 16 KB steps, then F0000h-FFFFFh */
#define PAM_RE 1
#define PAM_WE 2
#define PCI_HOLE_LAST 0xfebfffffu /* below the I/O APIC, the local APIC and the firmware */

struct i440fx {
  struct device dev;
  struct pci_func func;
  struct pci_bus *bus;
  uint32_t config_address;
  struct i440fx_config config;
  uint8_t mapped[SEGMENTS]; /* attributes that the memory map shows now; FFh = none yet */
};

static uint8_t pam_attributes(const struct i440fx *s, int segment) {
  /* PAM0 high nibble is the F segment; PAM1-PAM6 hold two 16 KB segments each, low nibble first. */
  uint8_t pam = segment == SEGMENTS - 1
                    ? s->func.config[PAM0] >> 4
                    : (uint8_t)(s->func.config[PAM0 + 1 + segment / 2] >> 4 * (segment & 1));
  return pam & (PAM_RE | PAM_WE);
}

/* Map first .. last - 1, all of which are either backed by ROM or not. */
static void map_range(struct i440fx *s, uint32_t first, uint32_t last, uint8_t attributes, bool rom) {
  struct mem_block *pci = rom ? s->config.rom : NULL;
  uint64_t rom_offset = rom ? s->config.rom_offset + (first - s->config.rom_base) : 0;
  if (first >= last)
    return;
  if (attributes == (PAM_RE | PAM_WE))
    mem_map_ram(s->dev.mem, first, last - first, s->config.ram, first);
  else if (attributes == 0 && pci)
    mem_map_rom(s->dev.mem, first, last - first, pci, rom_offset);
  else
    mem_map_split(s->dev.mem, first, last - first, attributes & PAM_RE ? s->config.ram : pci,
                  attributes & PAM_RE ? first : rom_offset, attributes & PAM_WE ? s->config.ram : NULL,
                  attributes & PAM_WE ? first : 0);
}

static void update_pam(struct i440fx *s) {
  for (int i = 0; i < SEGMENTS; i++) {
    uint8_t attributes = pam_attributes(s, i);
    if (attributes == s->mapped[i])
      continue;
    s->mapped[i] = attributes;
    uint32_t first = 0xc0000u + 0x4000u * (uint32_t)i;
    uint32_t last = i == SEGMENTS - 1 ? 0x100000 : first + 0x4000;
    uint32_t split = s->config.rom ? s->config.rom_base : 0x100000;
    if (split < first)
      split = first;
    if (split > last)
      split = last;
    map_range(s, first, split, attributes, false);
    map_range(s, split, last, attributes, true);
  }
}

static void i440fx_config_written(struct pci_func *f, uint32_t offset, int size) {
  if (offset < PAM0 + 7 && offset + (uint32_t)size > PAM0)
    update_pam(f->opaque);
}

static int i440fx_init(struct device *dev, const struct device_args *args) {
  struct i440fx *s = DEVICE(struct i440fx, dev);
  s->config = *(const struct i440fx_config *)args->config;
  DGM_ASSERT(s->config.ram && s->config.ram->size >= 0x100000);
  DGM_ASSERT(!s->config.rom || (s->config.rom_base >= 0xc0000 && s->config.rom_base < 0x100000 &&
                                s->config.rom_base % MEM_PAGE == 0 &&
                                s->config.rom_offset + 0x100000 - s->config.rom_base <= s->config.rom->size));
  uint64_t ram = s->config.ram_size ? s->config.ram_size : s->config.ram->size;
  DGM_ASSERT(ram <= PCI_HOLE_LAST);
  s->bus = pci_bus_new(dev->io, dev->mem, (uint32_t)ram, PCI_HOLE_LAST, &s->config_address);
  if (!s->bus)
    return -errno;
  pci_func_init(&s->func, "i440FX", 0x8086, 0x1237, 0x060000, 0x02, 0);
  s->func.opaque = s;
  s->func.config_written = i440fx_config_written;
  s->func.wmask[0x04] = 0x40; /* PCICMD: memory and bus master enables are hard-wired */
  s->func.wmask[0x05] = 0x01;
  s->func.wmask[0x0c] = 0; /* no cache line size */
  s->func.wmask[0x0d] = 0xf8;
  memset(s->func.wmask + 0x50, 0xff, 0x72 - 0x50 + 1);
  s->func.wmask[0x72] = 0x7f;
  s->func.wmask[0x90] = 0xff; /* ERRCMD */
  s->func.w1c[0x91] = 0x11;   /* ERRSTS */
  s->func.wmask[0x93] = 0x0f; /* TRC */
  memset(s->mapped, 0xff, sizeof s->mapped);
  return pci_register(s->bus, &s->func, 0);
}

static void i440fx_reset(struct device *dev) {
  struct i440fx *s = DEVICE(struct i440fx, dev);
  static const struct {
    uint8_t offset, value;
  } defaults[] = {
      {0x04, 0x06}, {0x05, 0x00}, {0x06, 0x80}, {0x07, 0x02}, {0x53, 0x80}, {0x57, 0x01},
      {0x58, 0x10}, {0x60, 0x01}, {0x61, 0x01}, {0x62, 0x01}, {0x63, 0x01}, {0x64, 0x01},
      {0x65, 0x01}, {0x66, 0x01}, {0x67, 0x01}, {0x71, 0x10}, {0x72, 0x02},
  };
  s->config_address = 0;
  pci_func_reset(&s->func);
  memset(s->func.config + 0x50, 0, 0xb0);
  for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++)
    s->func.config[defaults[i].offset] = defaults[i].value;
  update_pam(s);
}

static void i440fx_destroy(struct device *dev) { pci_bus_free(DEVICE(struct i440fx, dev)->bus); }

static const struct field i440fx_fields[] = {
    {FIELD_BYTES, "config", offsetof(struct i440fx, func.config), 256},
    FIELD(U32, struct i440fx, config_address),
    FIELDS_END,
};

/* All functions of the bus have their registers: the BARs and the PAM registers act. */
static void i440fx_loaded(struct device *dev) { pci_bus_restore(DEVICE(struct i440fx, dev)->bus); }

const struct device_class i440fx_class = {
    .name = "i440FX",
    .size = sizeof(struct i440fx),
    .init = i440fx_init,
    .reset = i440fx_reset,
    .destroy = i440fx_destroy,
    .fields = i440fx_fields,
    .loaded = i440fx_loaded,
};

struct pci_bus *i440fx_bus(struct device *dev) {
  DGM_ASSERT(dev->cls == &i440fx_class);
  return DEVICE(struct i440fx, dev)->bus;
}
