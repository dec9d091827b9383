/* SPDX-License-Identifier: MIT */
/*
 * Function 3 of the PIIX4 (82371AB datasheet, sections 7.1 and 7.2): places the ACPI block at PMBASE and
 * the SMBus host controller at SMBBA, and the APM ports B2h and B3h.
 *
 * There is no system management mode: values of APMC that would ask its handler to switch ACPI on or off set
 * SCI_EN directly, and APMC_EN in DEVACTB reads as one, which tells firmware that a handler is there. The
 * SMBus has no slaves: every transaction ends with a device error.
 */
#include "devices/piix4_pm.h"

#include <string.h>

#include "devices/acpi_pm.h"

#define PMBASE 0x40
#define DEVACTB 0x58
#define PMREGMISC 0x80
#define SMBBA 0x90
#define SMBHSTCFG 0xd2

#define APMC_EN_BYTE 0x02 /* bit 25 of DEVACTB */

#define SMB_SIZE 16
#define SMB_STATUS 0
#define SMB_CONTROL 2
#define SMB_START 0x40
#define SMB_DEV_ERR 0x04
#define SMB_CLEARABLE 0x1e

struct piix4_pm {
  struct device dev;
  struct pci_func pci;
  struct acpi_pm pm;
  uint8_t apmc, apms;
  uint8_t acpi_enable, acpi_disable;
  uint8_t smb[SMB_SIZE];
  uint16_t pm_at, smb_at; /* ports mapped now, 0 = none */
};

static const struct io_ops pm_ops = {acpi_pm_read, acpi_pm_write, 4};
static const struct io_ops gpe_ops = {acpi_gpe_read, acpi_gpe_write, 4};

static uint32_t smb_read(void *opaque, uint32_t offset, int size) {
  struct piix4_pm *p = opaque;
  (void)size;
  return p->smb[offset % SMB_SIZE];
}

static void smb_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct piix4_pm *p = opaque;
  (void)size;
  if (offset == SMB_STATUS) {
    p->smb[SMB_STATUS] &= (uint8_t) ~(value & SMB_CLEARABLE);
    return;
  }
  p->smb[offset % SMB_SIZE] = (uint8_t)(offset == SMB_CONTROL ? value & ~SMB_START : value);
  if (offset == SMB_CONTROL && (value & SMB_START))
    p->smb[SMB_STATUS] |= SMB_DEV_ERR;
}

static const struct io_ops smb_ops = {smb_read, smb_write, 1};

static uint32_t apm_read(void *opaque, uint32_t offset, int size) {
  struct piix4_pm *p = opaque;
  (void)size;
  return offset ? p->apms : p->apmc;
}

static void apm_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct piix4_pm *p = opaque;
  (void)size;
  if (offset) {
    p->apms = (uint8_t)value;
    return;
  }
  p->apmc = (uint8_t)value;
  if (p->apmc == p->acpi_enable)
    acpi_pm_enable(&p->pm, true);
  else if (p->apmc == p->acpi_disable)
    acpi_pm_enable(&p->pm, false);
}

static const struct io_ops apm_ops = {apm_read, apm_write, 1};

/* Move an I/O block to `port` (0 = nowhere). A place that is taken leaves it unmapped. */
static void place(struct piix4_pm *p, uint16_t *at, uint16_t port, unsigned size, const struct io_ops *ops,
                  void *opaque, const char *name) {
  if (*at == port)
    return;
  if (*at)
    io_unmap(p->dev.io, *at, size);
  *at = 0;
  if (port && io_map(p->dev.io, port, size, ops, opaque, name) == 0)
    *at = port;
}

static void update_places(struct piix4_pm *p) {
  const struct pci_func *f = &p->pci;
  uint16_t pm = f->config[PMREGMISC] & 1 ? pci_get16(f, PMBASE) & 0xffc0 : 0;
  uint16_t smb = f->config[SMBHSTCFG] & 1 ? pci_get16(f, SMBBA) & 0xfff0 : 0;
  place(p, &p->pm_at, pm, ACPI_PM_SIZE, &pm_ops, &p->pm, "acpi-pm");
  place(p, &p->smb_at, smb, SMB_SIZE, &smb_ops, p, "smbus");
}

static void config_written(struct pci_func *f, uint32_t offset, int size) {
  (void)offset, (void)size;
  update_places(f->opaque);
}

static void pm_reset(struct device *dev) {
  struct piix4_pm *p = DEVICE(struct piix4_pm, dev);
  struct pci_func *f = &p->pci;
  pci_func_reset(f);
  memset(&f->config[0x40], 0, 0xc0);
  pci_set32(f, PMBASE, 1);
  f->config[DEVACTB + 3] = APMC_EN_BYTE;
  pci_set32(f, SMBBA, 1);
  update_places(p);
  p->apmc = p->apms = 0;
  memset(p->smb, 0, sizeof(p->smb));
  acpi_pm_reset(&p->pm);
}

void piix4_pm_power_button(struct device *dev) { acpi_pm_power_button(&DEVICE(struct piix4_pm, dev)->pm); }

static void pci_setup(struct piix4_pm *p) {
  struct pci_func *f = &p->pci;
  pci_func_init(f, "piix4-pm", 0x8086, 0x7113, 0x068000, 3, 1);
  pci_set16(f, 6, 0x0280); /* medium DEVSEL#, fast back-to-back */
  f->opaque = p;
  f->config_written = config_written;
  memset(&f->wmask[0x44], 0xff, 0x80 - 0x44); /* counters, general purpose and device activity registers */
  f->wmask[PMBASE] = 0xc0;
  f->wmask[PMBASE + 1] = 0xff;
  f->wmask[DEVACTB + 3] = (uint8_t)~APMC_EN_BYTE;
  f->wmask[PMREGMISC] = 1;
  f->wmask[SMBBA] = 0xf0;
  f->wmask[SMBBA + 1] = 0xff;
  memset(&f->wmask[SMBHSTCFG], 0xff, 4);
}

static int pm_init(struct device *dev, const struct device_args *args) {
  struct piix4_pm *p = DEVICE(struct piix4_pm, dev);
  const struct piix4_pm_config *config = args->config;
  DGM_ASSERT(config && config->bus);
  p->acpi_enable = config->acpi_enable ? config->acpi_enable : 0xf1;
  p->acpi_disable = config->acpi_disable ? config->acpi_disable : 0xf0;
  acpi_pm_init(&p->pm, dev->clock, &dev->irq[0], config->power_off, config->opaque);
  pci_setup(p);
  int err = pci_register(config->bus, &p->pci, config->devfn);
  if (!err)
    err = io_map(dev->io, args->port[0], 2, &apm_ops, p, "apm");
  if (!err && args->port[1])
    err = io_map(dev->io, args->port[1], 4, &gpe_ops, &p->pm, "acpi-gpe0");
  if (!err)
    pm_reset(dev);
  return err;
}

static const struct field pm_fields[] = {
    FIELD_BUFFER(struct piix4_pm, pci.config), ACPI_PM_FIELDS(struct piix4_pm, pm),
    FIELD(U8, struct piix4_pm, apmc),          FIELD(U8, struct piix4_pm, apms),
    FIELD_BUFFER(struct piix4_pm, smb),        FIELDS_END,
};

const struct device_class piix4_pm_class = {
    .name = "piix4-pm",
    .size = sizeof(struct piix4_pm),
    .init = pm_init,
    .reset = pm_reset,
    .fields = pm_fields,
};
