/* SPDX-License-Identifier: MIT */
/*
 * PCI bus 0 as the PCI 2.1 specification has it: configuration mechanism #1 (3.7.4.1), type 0 headers, base
 * address and expansion ROM registers (6.2.5), level-triggered INTx lines shared on four PIRQs.
 *
 * Not modelled: bridges and buses behind them, 64-bit BARs, special cycles, parity and system errors.
 */
#include "devices/pci.h"

#include <stdlib.h>
#include <string.h>

#define CONFIG_ENABLE 0x80000000u
#define CONFIG_ADDRESS_BITS 0x80fffffcu
#define BAR_ROM 6 /* index of the expansion ROM after the six BARs */

#define COMMAND 0x04
#define STATUS 0x06
#define HEADER_TYPE 0x0e
#define BAR0 0x10
#define ROM_BAR 0x30
#define INTERRUPT_LINE 0x3c
#define INTERRUPT_PIN 0x3d

#define COMMAND_IO 0x0001
#define COMMAND_MEM 0x0002
#define COMMAND_MASTER 0x0004
#define ROM_ENABLE 0x1u

struct pci_bus {
  struct io_bus *io;
  struct mem *mem;
  uint32_t mem_first, mem_last; /* window in which memory BARs are decoded */
  uint32_t *address;            /* CONFIG_ADDRESS, in the host bridge's state */
  const struct io_ops *cf9;
  void *cf9_opaque;
  struct irq pirq[4];
  int asserted[4]; /* functions that pull each PIRQ now */
  struct pci_func *func[256];
};

uint16_t pci_get16(const struct pci_func *f, unsigned offset) {
  DGM_ASSERT(offset <= 254);
  return (uint16_t)(f->config[offset] | f->config[offset + 1] << 8);
}

uint32_t pci_get32(const struct pci_func *f, unsigned offset) {
  DGM_ASSERT(offset <= 252);
  return pci_get16(f, offset) | (uint32_t)pci_get16(f, offset + 2) << 16;
}

static void put(uint8_t *bytes, unsigned offset, uint32_t value, int size) {
  DGM_ASSERT(offset + (unsigned)size <= 256);
  for (int i = 0; i < size; i++)
    bytes[offset + (unsigned)i] = (uint8_t)(value >> 8 * i);
}

void pci_set16(struct pci_func *f, unsigned offset, uint16_t value) { put(f->config, offset, value, 2); }
void pci_set32(struct pci_func *f, unsigned offset, uint32_t value) { put(f->config, offset, value, 4); }

bool pci_io_enabled(const struct pci_func *f) { return f->config[COMMAND] & COMMAND_IO; }
bool pci_mem_enabled(const struct pci_func *f) { return f->config[COMMAND] & COMMAND_MEM; }
bool pci_bus_master(const struct pci_func *f) { return f->config[COMMAND] & COMMAND_MASTER; }

void pci_func_init(struct pci_func *f, const char *name, uint16_t vendor, uint16_t device,
                   uint32_t class_code, uint8_t revision, uint8_t int_pin) {
  DGM_ASSERT(int_pin <= 4);
  memset(f, 0, sizeof *f);
  f->name = name;
  pci_set16(f, 0, vendor);
  pci_set16(f, 2, device);
  pci_set32(f, 8, class_code << 8 | revision);
  f->config[INTERRUPT_PIN] = int_pin;
  put(f->wmask, COMMAND, COMMAND_IO | COMMAND_MEM | COMMAND_MASTER | 0x0140,
      2);                /* and PERR#, SERR# enables */
  f->wmask[0x0c] = 0xff; /* cache line size */
  f->wmask[0x0d] = 0xff; /* latency timer */
  if (int_pin)
    f->wmask[INTERRUPT_LINE] = 0xff;
  f->w1c[STATUS + 1] = 0xf9; /* error bits */
}

static unsigned bar_offset(int n) { return n == BAR_ROM ? ROM_BAR : BAR0 + 4u * (unsigned)n; }
static struct pci_bar *bar_of(struct pci_func *f, int n) { return n == BAR_ROM ? &f->rom : &f->bar[n]; }
static bool bar_is_io(const struct pci_bar *bar) { return bar->kind == PCI_BAR_IO; }

static uint32_t bar_type_bits(const struct pci_bar *bar) {
  return bar->kind == PCI_BAR_IO ? 1u : bar->kind == PCI_BAR_MEM_PREFETCH ? 8u : 0u;
}

void pci_func_set_bar(struct pci_func *f, int n, const struct pci_bar *bar) {
  DGM_ASSERT(n >= 0 && n <= BAR_ROM && bar->kind != PCI_BAR_NONE);
  DGM_ASSERT(bar->size && !(bar->size & (bar->size - 1)));
  /* Memory is mapped by pages: a chip with less rounds up (allowed by 6.2.5.1). */
  DGM_ASSERT(bar_is_io(bar) ? bar->size >= 4 && bar->size <= 256 && bar->io_ops : bar->size >= MEM_PAGE);
  DGM_ASSERT(bar_is_io(bar) || (bar->block ? bar->block->size >= bar->size : bar->mmio_ops != NULL));
  DGM_ASSERT(n != BAR_ROM || bar->block);
  *bar_of(f, n) = *bar;
  bar_of(f, n)->mapped = false;
  uint32_t mask = ~(bar->size - 1);
  pci_set32(f, bar_offset(n), n == BAR_ROM ? 0 : bar_type_bits(bar));
  put(f->wmask, bar_offset(n), n == BAR_ROM ? mask | ROM_ENABLE : mask, 4);
}

/* Does the function decode BAR n now, and where? */
static bool bar_wanted(const struct pci_bus *bus, struct pci_func *f, int n, uint32_t *addr) {
  const struct pci_bar *bar = bar_of(f, n);
  if (bar->kind == PCI_BAR_NONE)
    return false;
  uint32_t value = pci_get32(f, bar_offset(n));
  *addr = value & ~(bar->size - 1);
  if (bar_is_io(bar))
    return pci_io_enabled(f) && *addr && *addr <= 0x10000 - bar->size;
  if (!pci_mem_enabled(f) || (n == BAR_ROM && !(value & ROM_ENABLE)))
    return false;
  return *addr >= bus->mem_first && *addr + (uint64_t)bar->size - 1 <= bus->mem_last;
}

static bool overlaps(const struct pci_bar *a, const struct pci_bar *b) {
  return bar_is_io(a) == bar_is_io(b) && a->addr < (uint64_t)b->addr + b->size &&
         b->addr < (uint64_t)a->addr + a->size;
}

/* Take the BAR's range away. What other memory BARs had under it is gone too: they are marked to be mapped
 * anew. */
static void bar_unmap(struct pci_bus *bus, struct pci_bar *bar) {
  bar->mapped = false;
  if (bar_is_io(bar)) {
    io_unmap(bus->io, (uint16_t)bar->addr, bar->size);
    return;
  }
  mem_unmap(bus->mem, bar->addr, bar->size);
  if (bar->moved)
    bar->moved(bar->opaque);
  for (int devfn = 0; devfn < 256; devfn++)
    for (int n = 0; bus->func[devfn] && n <= BAR_ROM; n++) {
      struct pci_bar *other = bar_of(bus->func[devfn], n);
      if (other->mapped && overlaps(other, bar))
        other->mapped = false;
    }
}

static bool io_range_taken(struct pci_bus *bus, const struct pci_bar *bar) {
  for (int devfn = 0; devfn < 256; devfn++)
    for (int n = 0; bus->func[devfn] && n < BAR_ROM; n++) {
      const struct pci_bar *other = &bus->func[devfn]->bar[n];
      if (other->mapped && overlaps(other, bar))
        return true;
    }
  return false;
}

static void bar_map(struct pci_bus *bus, struct pci_func *f, int n, uint32_t addr) {
  struct pci_bar *bar = bar_of(f, n);
  bar->addr = addr;
  if (bar_is_io(bar)) {
    bar->mapped = !io_range_taken(bus, bar) &&
                  io_map(bus->io, (uint16_t)addr, bar->size, bar->io_ops, bar->opaque, f->name) == 0;
  } else if (n == BAR_ROM) {
    mem_map_rom(bus->mem, addr, bar->size, bar->block, 0);
    bar->mapped = true;
  } else if (bar->block) {
    mem_map_ram(bus->mem, addr, bar->size, bar->block, 0);
    bar->mapped = true;
  } else {
    bar->mapped = mem_map_mmio(bus->mem, addr, bar->size, bar->mmio_ops, bar->opaque, f->name) == 0;
    if (bar->moved)
      bar->moved(bar->opaque);
  }
  log_print(LOG_PCI, "pci: %s: BAR%d %s %#x\n", f->name, n, bar->mapped ? "mapped at" : "cannot be mapped at",
            addr);
}

/* The function's BARs or command register changed. */
static void update_maps(struct pci_bus *bus, struct pci_func *changed) {
  uint32_t addr;
  for (int n = 0; n <= BAR_ROM; n++) {
    struct pci_bar *bar = bar_of(changed, n);
    if (bar->mapped && (!bar_wanted(bus, changed, n, &addr) || addr != bar->addr))
      bar_unmap(bus, bar);
  }
  for (int devfn = 0; devfn < 256; devfn++)
    for (int n = 0; bus->func[devfn] && n <= BAR_ROM; n++) {
      struct pci_func *f = bus->func[devfn];
      if (!bar_of(f, n)->mapped && bar_wanted(bus, f, n, &addr))
        bar_map(bus, f, n, addr);
    }
}

int pci_register(struct pci_bus *bus, struct pci_func *f, int devfn) {
  DGM_ASSERT(devfn >= 0 && devfn < 256);
  if (bus->func[devfn]) {
    error_report("PCI %02x.%d: %s and %s in one place", devfn >> 3, devfn & 7, bus->func[devfn]->name,
                 f->name);
    return -EBUSY;
  }
  bus->func[devfn] = f;
  f->devfn = (uint8_t)devfn;
  f->bus = bus;
  /* Function 0 announces its companions, whoever came first. */
  struct pci_func *first = bus->func[devfn & 0xf8];
  for (int i = 1; first && i < 8; i++)
    if (bus->func[(devfn & 0xf8) + i])
      first->config[HEADER_TYPE] |= 0x80;
  return 0;
}

void pci_set_intx(struct pci_func *f, int level) {
  level = level != 0;
  int pin = f->config[INTERRUPT_PIN];
  if (level == f->intx_level)
    return;
  f->intx_level = level;
  if (!pin || !f->bus)
    return;
  int n = ((f->devfn >> 3) - 1 + pin - 1) & 3;
  f->bus->asserted[n] += level ? 1 : -1;
  DGM_ASSERT(f->bus->asserted[n] >= 0);
  irq_set(&f->bus->pirq[n], f->bus->asserted[n] > 0);
}

void pci_func_reset(struct pci_func *f) {
  pci_set_intx(f, 0);
  pci_set16(f, COMMAND,
            (uint16_t)(pci_get16(f, COMMAND) & ~(f->wmask[COMMAND] | f->wmask[COMMAND + 1] << 8)));
  for (unsigned i = STATUS; i < STATUS + 2; i++)
    f->config[i] &= (uint8_t)~f->w1c[i];
  for (int n = 0; n <= BAR_ROM; n++)
    if (bar_of(f, n)->kind != PCI_BAR_NONE)
      pci_set32(f, bar_offset(n), n == BAR_ROM ? 0 : bar_type_bits(bar_of(f, n)));
  f->config[0x0c] = f->config[0x0d] = f->config[INTERRUPT_LINE] = 0;
  if (f->bus)
    update_maps(f->bus, f);
}

struct pci_func *pci_find(const struct pci_bus *bus, int devfn) {
  return devfn >= 0 && devfn < 256 ? bus->func[devfn] : NULL;
}

uint32_t pci_config_read(struct pci_bus *bus, int devfn, uint32_t offset, int size) {
  DGM_ASSERT((size == 1 || size == 2 || size == 4) && (offset & 3) + (unsigned)size <= 4 && offset < 256);
  const struct pci_func *f = pci_find(bus, devfn);
  uint32_t value = 0;
  for (int i = 0; i < size; i++)
    value |= (uint32_t)(f ? f->config[offset + (unsigned)i] : 0xff) << 8 * i;
  return value;
}

void pci_config_write(struct pci_bus *bus, int devfn, uint32_t offset, int size, uint32_t value) {
  DGM_ASSERT((size == 1 || size == 2 || size == 4) && (offset & 3) + (unsigned)size <= 4 && offset < 256);
  struct pci_func *f = pci_find(bus, devfn);
  if (!f)
    return;
  for (int i = 0; i < size; i++) {
    unsigned at = offset + (unsigned)i;
    uint8_t byte = (uint8_t)(value >> 8 * i);
    f->config[at] = (uint8_t)((f->config[at] & ~f->wmask[at]) | (byte & f->wmask[at]));
    f->config[at] &= (uint8_t) ~(byte & f->w1c[at]);
  }
  bool decoding =
      (offset & ~3u) == COMMAND || (offset >= BAR0 && offset < BAR0 + 24) || (offset & ~3u) == ROM_BAR;
  if (decoding)
    update_maps(bus, f);
  if (f->config_written)
    f->config_written(f, offset, size);
}

/* Ports CF8h-CFFh: offset 0 is CONFIG_ADDRESS (whole dwords only), 4 CONFIG_DATA. */
static uint32_t host_read(void *opaque, uint32_t offset, int size) {
  struct pci_bus *bus = opaque;
  if (size == 3 || (offset & 3) + (unsigned)size > 4) {
    uint32_t value = 0;
    for (int i = 0; i < size; i++)
      value |= (host_read(bus, offset + (unsigned)i, 1) & 0xff) << 8 * i;
    return value;
  }
  if (offset == 0 && size == 4)
    return *bus->address;
  if (offset == 1 && size == 1 && bus->cf9)
    return bus->cf9->read(bus->cf9_opaque, 0, 1);
  if (offset < 4 || offset > 7 || !(*bus->address & CONFIG_ENABLE) || (*bus->address & 0xff0000))
    return 0xffffffffu >> (32 - 8 * size);
  return pci_config_read(bus, *bus->address >> 8 & 0xff, (*bus->address & 0xfc) + (offset & 3), size);
}

static void host_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct pci_bus *bus = opaque;
  if (size == 3 || (offset & 3) + (unsigned)size > 4) {
    for (int i = 0; i < size; i++)
      host_write(bus, offset + (unsigned)i, 1, value >> 8 * i & 0xff);
    return;
  }
  if (offset == 0 && size == 4)
    *bus->address = value & CONFIG_ADDRESS_BITS;
  else if (offset == 1 && size == 1 && bus->cf9)
    bus->cf9->write(bus->cf9_opaque, 0, 1, value);
  else if (offset >= 4 && offset < 8 && (*bus->address & CONFIG_ENABLE) && !(*bus->address & 0xff0000))
    pci_config_write(bus, *bus->address >> 8 & 0xff, (*bus->address & 0xfc) + (offset & 3), size, value);
}

static const struct io_ops host_ops = {host_read, host_write, 4};

struct pci_bus *pci_bus_new(struct io_bus *io, struct mem *mem, uint32_t mem_first, uint32_t mem_last,
                            uint32_t *config_address) {
  struct pci_bus *bus = calloc(1, sizeof *bus);
  if (!bus)
    return NULL;
  bus->io = io;
  bus->mem = mem;
  bus->mem_first = mem_first;
  bus->mem_last = mem_last;
  bus->address = config_address;
  int error = io_map(io, 0xcf8, 8, &host_ops, bus, "pci");
  if (error) {
    free(bus);
    errno = -error;
    return NULL;
  }
  return bus;
}

void pci_bus_free(struct pci_bus *bus) { free(bus); }

void pci_bus_connect(struct pci_bus *bus, const struct irq pirq[4]) {
  memcpy(bus->pirq, pirq, sizeof bus->pirq);
  for (int n = 0; n < 4; n++)
    irq_set(&bus->pirq[n], bus->asserted[n] > 0);
}

void pci_bus_claim_cf9(struct pci_bus *bus, const struct io_ops *ops, void *opaque) {
  bus->cf9 = ops;
  bus->cf9_opaque = opaque;
}

void pci_bus_restore(struct pci_bus *bus) {
  memset(bus->asserted, 0, sizeof bus->asserted);
  for (int devfn = 0; devfn < 256; devfn++) {
    struct pci_func *f = bus->func[devfn];
    if (!f)
      continue;
    update_maps(bus, f);
    int pin = f->config[INTERRUPT_PIN];
    if (f->intx_level && pin)
      bus->asserted[((devfn >> 3) - 1 + pin - 1) & 3]++;
    if (f->config_written)
      f->config_written(f, 0, 256);
  }
  for (int n = 0; n < 4; n++)
    irq_set(&bus->pirq[n], bus->asserted[n] > 0);
}

static const char *class_name(unsigned code) {
  static const struct {
    uint16_t code;
    const char *name;
  } names[] = {
      {0x0100, "SCSI controller"}, {0x0101, "IDE controller"},   {0x0200, "Ethernet controller"},
      {0x0300, "VGA controller"},  {0x0401, "Audio controller"}, {0x0600, "Host bridge"},
      {0x0601, "ISA bridge"},      {0x0680, "Bridge"},           {0x0c03, "USB controller"},
  };
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (names[i].code == code)
      return names[i].name;
  return NULL;
}

void pci_bus_info(const struct pci_bus *bus, FILE *out) {
  for (int devfn = 0; devfn < 256; devfn++) {
    struct pci_func *f = bus->func[devfn];
    if (!f)
      continue;
    unsigned code = pci_get16(f, 0x0a);
    fprintf(out, "  Bus %2d, device %3d, function %d:\n    ", 0, devfn >> 3, devfn & 7);
    if (class_name(code))
      fprintf(out, "%s", class_name(code));
    else
      fprintf(out, "Class %04u", code);
    fprintf(out, ": PCI device %04x:%04x\n", pci_get16(f, 0), pci_get16(f, 2));
    if (pci_get16(f, 0x2c))
      fprintf(out, "      PCI subsystem %04x:%04x\n", pci_get16(f, 0x2c), pci_get16(f, 0x2e));
    if (f->config[INTERRUPT_PIN])
      fprintf(out, "      IRQ %d, pin %c\n", f->config[INTERRUPT_LINE], 'A' + f->config[INTERRUPT_PIN] - 1);
    for (int n = 0; n <= BAR_ROM; n++) {
      const struct pci_bar *bar = bar_of(f, n);
      if (bar->kind == PCI_BAR_NONE)
        continue;
      uint64_t addr = bar->mapped ? bar->addr : UINT64_MAX;
      if (bar_is_io(bar))
        fprintf(out, "      BAR%d: I/O at 0x%04llx [0x%04llx].\n", n, (unsigned long long)(addr & 0xffff),
                (unsigned long long)((addr + bar->size - 1) & 0xffff));
      else
        fprintf(out, "      BAR%d: 32 bit %smemory at 0x%08llx [0x%08llx].\n", n,
                bar->kind == PCI_BAR_MEM_PREFETCH ? "prefetchable " : "", (unsigned long long)addr,
                (unsigned long long)(addr + bar->size - 1));
    }
    fprintf(out, "      id \"\"\n");
  }
}
