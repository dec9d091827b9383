/* SPDX-License-Identifier: MIT */
/* The DP8390 network controller as the NE2000 uses it: registers, rings and 16 KB of memory on the card. */
#ifndef DEVICES_NET_DP8390_H
#define DEVICES_NET_DP8390_H

#include "devices/net/nic.h"

#define DP8390_RAM_START 0x4000u
#define DP8390_RAM_SIZE 0x4000u
#define DP8390_PROM_SIZE 32u
#define DP8390_PORTS 0x10u /* registers; the data port follows, and at 18h the reset port */
#define NE2000_PORTS 0x20u

struct dp8390 {
  struct net_cable *cable;
  void (*set_irq)(void *opaque, int level);
  void *opaque;
  bool rtl8029; /* answers in the places where the RTL8029 tells its name */
  uint8_t cr, isr, imr, dcr, tcr, rcr, tsr, rsr;
  uint8_t pstart, pstop, bnry, curr, tpsr, ncr;
  uint8_t par[6], mar[8];
  uint8_t counter[3]; /* frame alignment errors, CRC errors, missed packets */
  uint16_t tbcr, rsar, rbcr;
  uint16_t crda; /* current remote DMA address */
  uint16_t left; /* bytes of remote DMA still to come */
  uint16_t clda;
  uint8_t fifo[8], fifo_at;
  uint8_t prom[DP8390_PROM_SIZE];
  uint8_t ram[DP8390_RAM_SIZE];
};

void dp8390_init(struct dp8390 *d, const struct nic_config *config, bool rtl8029,
                 void (*set_irq)(void *opaque, int level), void *opaque);
void dp8390_reset(struct dp8390 *d); /* the reset pin */
/* The card's 32 ports: registers, data port, reset port. */
uint32_t ne2000_read(struct dp8390 *d, uint32_t offset, int size);
void ne2000_write(struct dp8390 *d, uint32_t offset, int size, uint32_t value);

#define DP8390_FIELDS(type, d)                                                                               \
  FIELD(U8, type, d.cr), FIELD(U8, type, d.isr), FIELD(U8, type, d.imr), FIELD(U8, type, d.dcr),             \
      FIELD(U8, type, d.tcr), FIELD(U8, type, d.rcr), FIELD(U8, type, d.tsr), FIELD(U8, type, d.rsr),        \
      FIELD(U8, type, d.pstart), FIELD(U8, type, d.pstop), FIELD(U8, type, d.bnry), FIELD(U8, type, d.curr), \
      FIELD(U8, type, d.tpsr), FIELD(U8, type, d.ncr), FIELD_ARRAY(U8, type, d.par),                         \
      FIELD_ARRAY(U8, type, d.mar), FIELD_ARRAY(U8, type, d.counter), FIELD(U16, type, d.tbcr),              \
      FIELD(U16, type, d.rsar), FIELD(U16, type, d.rbcr), FIELD(U16, type, d.crda),                          \
      FIELD(U16, type, d.left), FIELD(U16, type, d.clda), FIELD_ARRAY(U8, type, d.fifo),                     \
      FIELD(U8, type, d.fifo_at), FIELD_BUFFER(type, d.prom), FIELD_BUFFER(type, d.ram)

#endif
