/* SPDX-License-Identifier: MIT */
/* Sound cards: where the chips of those on the ISA bus answer and which lines they can pull; PCI cards. */
#include "devices/pc.h"
#include "devices/props.h"
#include "devices/sound/ac97.h"
#include "devices/sound/es1370.h"
#include "devices/sound/mpu401.h"
#include "devices/sound/opl.h"
#include "devices/sound/sb16.h"

#define ADLIB_PORT 0x388
#define MPU_PORT 0x330
#define GAME_PORT 0x201

static bool one_of(const char *driver, const char *key, uint32_t value, const uint32_t *allowed,
                   size_t count) {
  for (size_t i = 0; i < count; i++)
    if (value == allowed[i])
      return true;
  error_report("-device %s: %s=%u is not a setting of the card", driver, key, value);
  return false;
}
#define ONE_OF(driver, key, value, ...)                                                                      \
  one_of(driver, key, value, (const uint32_t[]){__VA_ARGS__},                                                \
         sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* The FM chip; there is room for one in a machine. */
static struct device *add_opl(struct pc *pc, const char *driver, const char *id, bool opl3, uint16_t base) {
  if (device_find(&pc->machine->devices, id)) {
    error_report("-device %s: there is a sound card with an FM chip already", driver);
    errno = EBUSY;
    return NULL;
  }
  struct opl_config config = {opl3, pc->machine->audio};
  struct device_args args = {.id = id, .config = &config};
  args.port[0] = ADLIB_PORT;
  if (opl3) {
    args.port[1] = base;
    args.port[3] = (uint16_t)(base + 8);
  } else if (base != ADLIB_PORT) {
    args.port[0] = base;
  }
  return pc_add(pc, &opl_class, &args);
}

int pc_add_adlib(struct pc *pc, const struct board_extra *extra, const char *id) {
  uint32_t port = ADLIB_PORT, hz = 0;
  if (props_u32(extra->props, "adlib", "iobase", 0x100, 0x3f8, &port) ||
      props_u32(extra->props, "adlib", "freq", 4000, 200000, &hz)) /* for QEMU: the chip has its own rate */
    return -EINVAL;
  return add_opl(pc, "adlib", id, false, (uint16_t)port) ? 0 : -errno;
}

int pc_add_sb16(struct pc *pc, const struct board_extra *extra, const char *id) {
  const char *props = extra->props;
  uint32_t port = 0x220, irq = 5, dma8 = 1, dma16 = 5, version = 0x405;
  if (props_u32(props, "sb16", "iobase", 0, 0xffff, &port) || props_u32(props, "sb16", "irq", 0, 15, &irq) ||
      props_u32(props, "sb16", "dma", 0, 7, &dma8) || props_u32(props, "sb16", "hdma", 0, 7, &dma16) ||
      props_u32(props, "sb16", "version", 0x100, 0x4ff, &version))
    return -EINVAL;
  if (!ONE_OF("sb16", "iobase", port, 0x220, 0x240, 0x260, 0x280) ||
      !ONE_OF("sb16", "irq", irq, 2, 9, 5, 7, 10) || !ONE_OF("sb16", "dma", dma8, 0, 1, 3) ||
      !ONE_OF("sb16", "hdma", dma16, 0, 1, 3, 5, 6, 7))
    return -EINVAL;
  struct device *opl = add_opl(pc, "sb16", "opl3", true, (uint16_t)port);
  if (!opl)
    return -errno;
  struct sb16_config config = {
      .dma = pc->dma,
      .opl = opl,
      .audio = pc->machine->audio,
      .irq = irq == 9 ? 2 : (int)irq, /* the slot's line 2 is the AT's IRQ 9 */
      .dma8 = (int)dma8,
      .dma16 = dma16 > 4 ? (int)dma16 : -1,
      .version = (uint16_t)version,
  };
  struct device_args args = {.id = id, .port = {(uint16_t)port, GAME_PORT}, .config = &config};
  args.irq[0] = pc_isa_irq(pc, 9);
  args.irq[1] = pc_isa_irq(pc, 5);
  args.irq[2] = pc_isa_irq(pc, 7);
  args.irq[3] = pc_isa_irq(pc, 10);
  struct device *sb16 = pc_add(pc, &sb16_class, &args);
  if (!sb16)
    return -errno;
  struct device_args mpu = {.id = "mpu401", .port = {MPU_PORT}, .irq = {{sb16_mpu_irq, sb16, 0}}};
  return pc_add(pc, &mpu401_class, &mpu) ? 0 : -errno;
}

int pc_add_ac97(struct pc *pc, const struct board_extra *extra, const char *id) {
  struct ac97_config config = {pc->pci, pc_free_slot(pc), pc->machine->audio};
  (void)extra;
  if (config.devfn < 0)
    return config.devfn;
  return pc_add(pc, &ac97_class, &(struct device_args){.id = id, .config = &config}) ? 0 : -errno;
}

int pc_add_es1370(struct pc *pc, const struct board_extra *extra, const char *id) {
  struct es1370_config config = {pc->pci, pc_free_slot(pc), pc->machine->audio};
  (void)extra;
  if (config.devfn < 0)
    return config.devfn;
  return pc_add(pc, &es1370_class, &(struct device_args){.id = id, .config = &config}) ? 0 : -errno;
}
