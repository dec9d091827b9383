/* SPDX-License-Identifier: MIT */
/*
 * The PC board: i440FX host bridge, PIIX3 south bridge with the ISA chips behind it, PIIX4 power management.
 * The only place that knows addresses and IRQ numbers.
 *
 * Memory map: RAM to 640 KB; video memory at A0000h; C0000h-FFFFFh RAM or ROM as the PAM registers say; RAM
 * from 1 MB; I/O APIC, HPET and local APIC at FEC00000h, FED00000h, FEE00000h; the firmware below 4 GiB, its
 * last 128 KB also below 1 MB.
 */
#include "devices/pc.h"

#include <stdlib.h>
#include <string.h>

#include "core/segment.h"
#include "devices/apic.h"
#include "devices/debugcon.h"
#include "devices/display/cirrus.h"
#include "devices/display/vga.h"
#include "devices/dma8237.h"
#include "devices/fdc82077.h"
#include "devices/firmware.h"
#include "devices/fw_cfg.h"
#include "devices/hpet.h"
#include "devices/i440fx.h"
#include "devices/i8042.h"
#include "devices/ide.h"
#include "devices/ioapic.h"
#include "devices/parallel.h"
#include "devices/pcspk.h"
#include "devices/pic.h"
#include "devices/piix3.h"
#include "devices/piix4_pm.h"
#include "devices/pit.h"
#include "devices/ps2kbd.h"
#include "devices/ps2mouse.h"
#include "devices/rtc.h"
#include "devices/sysctl.h"
#include "devices/uart16550.h"

#define BIOS_MAX (16u << 20)
#define ISA_BIOS_MAX (128u << 10)
#define SUBSYSTEM 0x11001af4u /* by which SeaBIOS knows that fw_cfg is there */

#define IOAPIC_ADDR 0xfec00000u
#define HPET_ADDR 0xfed00000u
#define APIC_ADDR 0xfee00000u

#define SLOT(slot, function) ((slot) << 3 | (function))

/* --- wires -------------------------------------------------------------------------------------------- */

/* One ISA interrupt line; sources are ORed. It ends at the PIC and at the I/O APIC, IRQ 0 there at pin 2. */
static void set_isa_line(struct pc *pc, int n, enum pc_irq_source source, int level) {
  uint8_t bit = (uint8_t)(1u << source);
  if (n < 0 || n >= PC_ISA_IRQS)
    return;
  pc->isa_level[n] = level ? pc->isa_level[n] | bit : pc->isa_level[n] & (uint8_t)~bit;
  pic_set_irq(pc->pic, n, pc->isa_level[n] != 0);
  if (pc->ioapic)
    ioapic_set_irq(pc->ioapic, n == 0 ? 2 : n, pc->isa_level[n] != 0);
}

static void device_irq(void *opaque, int n, int level) { set_isa_line(opaque, n, PC_IRQ_DEVICE, level); }
static void pci_irq(void *opaque, int n, int level) { set_isa_line(opaque, n, PC_IRQ_PCI, level); }
static void sci_irq(void *opaque, int n, int level) { set_isa_line(opaque, n, PC_IRQ_SCI, level); }

static void set_any_line(struct pc *pc, int n, enum pc_irq_source source, int level) {
  if (n < PC_ISA_IRQS)
    set_isa_line(pc, n, source, level);
  else if (pc->ioapic)
    ioapic_set_irq(pc->ioapic, n, level);
}

static void hpet_irq(void *opaque, int n, int level) { set_any_line(opaque, n, PC_IRQ_HPET, level); }
void pc_test_irq(void *opaque, int n, int level) { set_any_line(opaque, n, PC_IRQ_TEST, level); }

/* Timer and clock chip pass through the HPET, which may take their lines over. */
static void legacy_timer_irq(void *opaque, int n, int level) {
  struct pc *pc = opaque;
  if (pc->hpet)
    hpet_legacy_in(pc->hpet, n, level);
  else
    set_isa_line(pc, n, PC_IRQ_DEVICE, level);
}

/* The timer's last tick waits for the CPU, so that another would be lost in it. */
static bool irq0_waits(void *opaque) {
  struct pc *pc = opaque;
  int vector = pc->ioapic ? ioapic_vector(pc->ioapic, 2) : -1;
  return pic_irq0_waits(pc->pic) || (vector >= 0 && apic_waits(pc->apic, (uint8_t)vector));
}

static void intr_from_pic(void *opaque, int n, int level) {
  struct pc *pc = opaque;
  (void)n;
  if (pc->apic)
    apic_set_lint(pc->apic, 0, level);
  else
    cpu_set_intr(pc->machine->cpu[0], level);
}

enum { CPU_INTR, CPU_NMI, CPU_INIT };

static void cpu_pin(void *opaque, int n, int level) {
  struct pc *pc = opaque;
  struct cpu *cpu = pc->machine->cpu[0];
  if (n == CPU_INTR) {
    cpu_set_intr(cpu, level);
  } else if (n == CPU_NMI && level) {
    cpu_pulse_nmi(cpu);
  } else if (n == CPU_INIT && level) {
    __atomic_fetch_or(&cpu->pending, PEND_INIT, __ATOMIC_SEQ_CST);
    machine_kick(pc->machine);
  }
}

static void a20_line(void *opaque, int n, int level) {
  struct pc *pc = opaque;
  (void)n;
  control_set_a20(pc->machine->cpu[0], level);
  if (pc->i8042)
    i8042_set_a20(pc->i8042, level);
  if (pc->sysctl)
    sysctl_set_a20(pc->sysctl, level);
}

/* From the keyboard controller and port 92h, of the PC/AT's processor only; A20 passes, or it would not find
 * the BIOS. */
static void init_line(void *opaque, int n, int level) {
  (void)n;
  if (!level)
    return;
  a20_line(opaque, 0, 1);
  cpu_pin(opaque, CPU_INIT, 1);
}

static void reset_from_piix3(void *opaque, bool hard) {
  if (hard)
    machine_request_reset(((struct pc *)opaque)->machine);
  else
    init_line(opaque, 0, 1);
}

static void power_off(void *opaque) { machine_request_shutdown(((struct pc *)opaque)->machine, "power off"); }

void pc_debug_exit(void *opaque, int status) {
  machine_request_quit(((struct pc *)opaque)->machine, status);
}

/* The AT's coprocessor error logic: FERR# raises IRQ 13 until the handler writes port F0h. */
static void ferr(struct cpu *cpu, int level) {
  struct pc *pc = cpu->machine->board;
  if (level)
    set_isa_line(pc, 13, PC_IRQ_DEVICE, 1);
}

static void coprocessor_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct pc *pc = opaque;
  (void)offset, (void)size, (void)value;
  struct cpu *cpu = pc->machine->cpu[0];
  set_isa_line(pc, 13, PC_IRQ_DEVICE, 0);
  cpu->ignne = cpu->ferr; /* IGNNE# holds until the error is cleared */
}

static const struct io_ops coprocessor_ops = {NULL, coprocessor_write, 1};

/* Port 80h belongs to the DMA page registers; EDh is the other port that software delays with. */
static uint32_t delay_read(void *opaque, uint32_t offset, int size) {
  (void)opaque, (void)offset, (void)size;
  return 0xff;
}

static void delay_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  (void)opaque, (void)offset, (void)size, (void)value;
}

static const struct io_ops delay_ops = {delay_read, delay_write, 1};

static void apic_base_written(struct cpu *cpu, uint64_t value) {
  struct pc *pc = cpu->machine->board;
  if (pc->apic)
    apic_set_base(pc->apic, value);
}

/* --- construction ------------------------------------------------------------------------------------- */

static struct irq line(struct pc *pc, void (*set)(void *, int, int), int n) {
  return (struct irq){set, pc, n};
}

struct device *pc_add(struct pc *pc, const struct device_class *cls, const struct device_args *args) {
  return device_new(&pc->machine->devices, cls, args);
}

struct irq pc_isa_irq(struct pc *pc, int n) { return line(pc, device_irq, n); }

static struct device *add(struct pc *pc, const struct device_class *cls, const struct device_args *args) {
  return pc_add(pc, cls, args);
}

static int load_bios(struct pc *pc) {
  char found[4096];
  const char *path = pc->config.bios_path;
  if (!path) {
    if (!firmware_find("bios-256k.bin", pc->config.bios_dirs, 4, found, sizeof found)) {
      error_report(
          "no firmware: bios-256k.bin is in none of the -L directories; install the package seabios");
      return -ENOENT;
    }
    path = found;
  }
  uint8_t *data;
  uint64_t len;
  int error = firmware_read(path, BIOS_MAX, &data, &len);
  if (error)
    return error;
  if (len % 65536) {
    error_report("%s is no firmware image: its size is not a multiple of 64 KB", path);
    free(data);
    return -EINVAL;
  }
  pc->bios = mem_block_new(pc->machine->mem, "bios", len);
  if (pc->bios)
    memcpy(pc->bios->host, data, len);
  free(data);
  return pc->bios ? 0 : -ENOMEM;
}

static int map_memory(struct pc *pc) {
  struct machine *m = pc->machine;
  uint64_t ram = m->ram->size;
  mem_map_ram(m->mem, 0, 0xa0000, m->ram, 0);
  if (ram > 0x100000)
    mem_map_ram(m->mem, 0x100000, ram - 0x100000, m->ram, 0x100000);
  mem_map_rom(m->mem, (uint32_t)(0x100000000ull - pc->bios->size), pc->bios->size, pc->bios, 0);
  return 0;
}

/* Host bridge, south bridge, power management: configuration space decides the order. */
static int add_chipset(struct pc *pc) {
  uint32_t isa = pc->bios->size < ISA_BIOS_MAX ? (uint32_t)pc->bios->size : ISA_BIOS_MAX;
  pc->i440fx = add(pc, &i440fx_class,
                   &(struct device_args){.id = "i440fx",
                                         .config = &(struct i440fx_config){.ram = pc->machine->ram,
                                                                           .rom = pc->bios,
                                                                           .rom_offset = pc->bios->size - isa,
                                                                           .rom_base = 0x100000 - isa}});
  if (!pc->i440fx)
    return -errno;
  pc->pci = i440fx_bus(pc->i440fx);
  struct device_args args = {.id = "piix3", .config = &(struct piix3_config){pc->pci, reset_from_piix3, pc}};
  for (int i = 0; i < PC_ISA_IRQS; i++)
    args.irq[i] = line(pc, pci_irq, i);
  pc->piix3 = add(pc, &piix3_class, &args);
  if (!pc->piix3)
    return -errno;
  if (pc->config.no_acpi)
    return 0;
  pc->pm = add(
      pc, &piix4_pm_class,
      &(struct device_args){.id = "pm",
                            .port = {0xb2, 0xafe0},
                            .irq = {line(pc, sci_irq, 9)},
                            .config = &(struct piix4_pm_config){
                                .bus = pc->pci, .devfn = SLOT(1, 3), .power_off = power_off, .opaque = pc}});
  return pc->pm ? 0 : -errno;
}

static int add_interrupts(struct pc *pc) {
  struct cpu *cpu = pc->machine->cpu[0];
  pc->pic = add(
      pc, &pic_class,
      &(struct device_args){.id = "pic", .port = {0x20, 0xa0, 0x4d0}, .irq = {line(pc, intr_from_pic, 0)}});
  if (!pc->pic)
    return -errno;
  cpu->intr_ack = pic_ack;
  cpu->intr_ack_opaque = pc->pic;
  cpu->on_ferr = ferr;
  if (!cpu_has(cpu, FEAT_APIC))
    return 0;
  pc->apic =
      add(pc, &apic_class,
          &(struct device_args){
              .id = "apic",
              .addr = {APIC_ADDR},
              .irq = {line(pc, cpu_pin, CPU_INTR), line(pc, cpu_pin, CPU_NMI), line(pc, cpu_pin, CPU_INIT)},
              .config = &(struct apic_config){.extint_ack = pic_ack, .extint_opaque = pc->pic}});
  if (!pc->apic)
    return -errno;
  cpu->intr_ack = apic_ack;
  cpu->intr_ack_opaque = pc->apic;
  cpu->on_apic_base = apic_base_written;
  pc->ioapic = add(pc, &ioapic_class,
                   &(struct device_args){.id = "ioapic",
                                         .addr = {IOAPIC_ADDR},
                                         .config = &(struct ioapic_config){apic_deliver, pc->apic}});
  if (!pc->ioapic)
    return -errno;
  apic_set_eoi_handler(pc->apic, ioapic_eoi, pc->ioapic);
  return 0;
}

/* A counted run repeats exactly only if it begins at the same time of day: 1 January 2000 unless told
 * otherwise. */
static int64_t time_base(const struct pc *pc) {
  return pc->config.rtc_base == -1 && pc->machine->config.counted ? 946684800 : pc->config.rtc_base;
}

static int add_timers(struct pc *pc) {
  if (pc->config.hpet) {
    struct device_args args = {.id = "hpet", .addr = {HPET_ADDR}};
    for (int i = 0; i < IOAPIC_PINS; i++)
      args.irq[i] = line(pc, hpet_irq, i);
    pc->hpet = add(pc, &hpet_class, &args);
    if (!pc->hpet)
      return -errno;
  }
  pc->pcspk = add(
      pc, &pcspk_class,
      &(struct device_args){.id = "pcspk", .config = &(struct pcspk_config){.audio = pc->machine->audio}});
  if (!pc->pcspk)
    return -errno;
  pc->pit = add(pc, &pit_class,
                &(struct device_args){.id = "pit",
                                      .port = {0x40},
                                      .irq = {line(pc, legacy_timer_irq, 0)},
                                      .config = &(struct pit_config){.tone = pcspk_tone,
                                                                     .tone_opaque = pc->pcspk,
                                                                     .out2_changes = pcspk_changes,
                                                                     .out2_opaque = pc->pcspk,
                                                                     .irq_waits = irq0_waits,
                                                                     .irq_waits_opaque = pc}});
  pc->rtc = add(pc, &rtc_class,
                &(struct device_args){.id = "rtc",
                                      .port = {0x70},
                                      .irq = {line(pc, legacy_timer_irq, 8)},
                                      .config = &(struct rtc_config){.base = time_base(pc),
                                                                     .localtime = pc->config.rtc_localtime,
                                                                     .clock_vm = pc->config.rtc_clock_vm}});
  if (!pc->pit || !pc->rtc)
    return -errno;
  pcspk_connect(pc->pcspk, pit_out2_at, pc->pit);
  pc->sysctl = add(pc, &sysctl_class,
                   &(struct device_args){.id = "sysctl",
                                         .port = {0x61, 0x92},
                                         .irq = {line(pc, a20_line, 0), line(pc, init_line, 0)},
                                         .config = &(struct sysctl_config){.set_gate2 = pit_set_gate2,
                                                                           .get_out2 = pit_get_out2,
                                                                           .pit = pc->pit,
                                                                           .speaker = pcspk_set,
                                                                           .speaker_opaque = pc->pcspk}});
  return pc->sysctl ? 0 : -errno;
}

static int add_input(struct pc *pc) {
  struct device *kbd =
      add(pc, &ps2kbd_class,
          &(struct device_args){.id = "ps2kbd", .config = &(struct ps2kbd_config){&pc->machine->input}});
  struct device *mouse =
      add(pc, &ps2mouse_class,
          &(struct device_args){.id = "ps2mouse", .config = &(struct ps2mouse_config){&pc->machine->input}});
  if (!kbd || !mouse)
    return -errno;
  pc->ps2mouse = mouse;
  pc->i8042 = add(pc, &i8042_class,
                  &(struct device_args){.id = "i8042",
                                        .port = {0x60, 0x64},
                                        .irq = {line(pc, device_irq, 1), line(pc, device_irq, 12),
                                                line(pc, a20_line, 0), line(pc, init_line, 0)},
                                        .config = &(struct i8042_config){kbd, mouse}});
  return pc->i8042 ? 0 : -errno;
}

static int add_ports(struct pc *pc) {
  static const struct {
    const char *id;
    uint16_t port;
    int irq;
  } serial[BOARD_SERIALS] = {
      {"serial0", 0x3f8, 4}, {"serial1", 0x2f8, 3}, {"serial2", 0x3e8, 4}, {"serial3", 0x2e8, 3}};
  for (int i = 0; i < BOARD_SERIALS; i++) {
    if (i > 0 && !pc->config.serial[i])
      continue;
    if (!add(pc, &uart16550_class,
             &(struct device_args){.id = serial[i].id,
                                   .port = {serial[i].port},
                                   .irq = {line(pc, device_irq, serial[i].irq)},
                                   .config = &(struct uart_config){.chardev = pc->config.serial[i]}}))
      return -errno;
  }
  if (!add(pc, &parallel_class,
           &(struct device_args){.id = "parallel0",
                                 .port = {0x378},
                                 .irq = {line(pc, device_irq, 7)},
                                 .config = &(struct parallel_config){pc->config.parallel}}))
    return -errno;
  if (!add(pc, &debugcon_class,
           &(struct device_args){
               .id = "debugcon", .port = {0x402}, .config = &(struct debugcon_config){pc->config.debugcon}}))
    return -errno;
  int error = io_map(pc->machine->io, 0xf0, 2, &coprocessor_ops, pc, "coprocessor");
  return error ? error : io_map(pc->machine->io, 0xed, 1, &delay_ops, pc, "delay");
}

static int add_disks(struct pc *pc) {
  const struct board_config *c = &pc->config;
  pc->dma = add(pc, &dma8237_class, &(struct device_args){.id = "dma", .port = {0x00, 0xc0, 0x80}});
  if (!pc->dma)
    return -errno;
  struct fdc82077_config fdc = {.dma = pc->dma, .dma_channel = 2};
  for (int i = 0; i < 2; i++) {
    fdc.present[i] = c->floppy_present[i] || c->floppy[i];
    fdc.block[i] = c->floppy[i];
  }
  pc->fdc = add(
      pc, &fdc82077_class,
      &(struct device_args){.id = "fdc", .port = {0x3f0}, .irq = {line(pc, device_irq, 6)}, .config = &fdc});
  if (!pc->fdc)
    return -errno;
  struct piix3_ide_config ide = {
      .bus = pc->pci, .audio = pc->machine->audio, .latency_ns = c->ide_delay_us * 1000};
  for (int i = 0; i < 4; i++)
    ide.drive[i] = (struct ide_drive_config){.present = c->ide[i] || c->ide_is_cd[i],
                                             .cdrom = c->ide_is_cd[i],
                                             .block = c->ide[i],
                                             .serial = c->ide_serial[i]};
  pc->ide = add(pc, &piix3_ide_class,
                &(struct device_args){.id = "ide",
                                      .port = {0x1f0, 0x3f6, 0x170, 0x376},
                                      .irq = {line(pc, device_irq, 14), line(pc, device_irq, 15)},
                                      .config = &ide});
  return pc->ide ? 0 : -errno;
}

static int add_display(struct pc *pc) {
  static const struct {
    const struct device_class *cls;
    const char *firmware;
  } adapters[] = {[BOARD_VGA_STD] = {&vga_class, "vgabios-stdvga.bin"},
                  [BOARD_VGA_CIRRUS] = {&cirrus_class, "vgabios-cirrus.bin"}};
  char rom[4096];
  if (pc->config.vga == BOARD_VGA_NONE)
    return 0;
  const char *firmware = adapters[pc->config.vga].firmware;
  if (!firmware_find(firmware, pc->config.bios_dirs, 4, rom, sizeof rom)) {
    error_report("no video firmware: %s is in none of the -L directories; install the package seabios",
                 firmware);
    return -ENOENT;
  }
  pc->vga =
      add(pc, adapters[pc->config.vga].cls,
          &(struct device_args){
              .id = "vga",
              .config = &(struct vga_config){
                  .display = &pc->machine->display, .pci = pc->pci, .devfn = SLOT(2, 0), .rom_path = rom}});
  return pc->vga ? 0 : -errno;
}

static int add_fw_cfg(struct pc *pc) {
  pc->fw_cfg = add(pc, &fw_cfg_class, &(struct device_args){.id = "fw_cfg", .port = {0x510, 0x514}});
  return pc->fw_cfg ? 0 : -errno;
}

static int name_functions(struct pc *pc) {
  for (int devfn = 0; devfn < 256; devfn++) {
    struct pci_func *f = pci_find(pc->pci, devfn);
    if (f && pci_get32(f, 0x2c) == 0)
      pci_set32(f, 0x2c, SUBSYSTEM);
  }
  return 0;
}

static void on_reset(struct machine *m) {
  struct pc *pc = m->board;
  a20_line(pc, 0, 1);
  if (pc->config.boot_once)
    pc_set_boot_order(pc, pc->booted ? pc->config.boot_order : pc->config.boot_once);
  pc->booted = true;
}

static void on_powerdown(struct machine *m) {
  struct pc *pc = m->board;
  if (pc->pm)
    piix4_pm_power_button(pc->pm);
}

/*
 * APM's power off in firmware that found no power management hardware: it halts for good, in its own segment. Whoever
 * asked for it expects the machine to go off.
 */
static void on_stuck(struct machine *m) {
  struct pc *pc = m->board;
  if (!pc->pm && m->cpu[0]->seg[CS].base == 0xf0000)
    power_off(pc);
}

int board_init(struct machine *m, const struct board_config *config) {
  static int (*const steps[])(struct pc *) = {
      load_bios, map_memory,  add_interrupts, add_chipset,    add_timers, add_input,     add_ports,
      add_disks, add_display, pc_add_usb,     pc_add_extras,  add_fw_cfg, name_functions, pc_config_init,
      pc_load_kernel, pc_add_snapshot,
  };
  if (m->ram->size < 1u << 20 || m->ram->size > 3584ull << 20) {
    error_report("the PC takes from 1 MB to 3584 MB of memory, not %llu MB",
                 (unsigned long long)(m->ram->size >> 20));
    return -EINVAL;
  }
  struct pc *pc = calloc(1, sizeof *pc);
  if (!pc)
    return -ENOMEM;
  pc->machine = m;
  pc->config = *config;
  m->board = pc;
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    int error = steps[i](pc);
    if (error) {
      board_free(m);
      return error;
    }
  }
  m->on_reset = on_reset;
  m->on_powerdown = on_powerdown;
  m->on_stuck = on_stuck;
  return 0;
}

void board_free(struct machine *m) {
  struct pc *pc = m->board;
  m->on_reset = NULL;
  m->on_powerdown = NULL;
  m->on_stuck = NULL;
  pc_free_snapshot(pc);
  device_free_all(&m->devices); /* they call back into the board */
  m->board = NULL;
  free(pc);
}
