/* SPDX-License-Identifier: MIT */
/* What the files of the RTL8139 share: rtl8139.c has the registers and rings of old, rtl8139_cp.c C+ mode. */
#ifndef DEVICES_NET_RTL8139_INT_H
#define DEVICES_NET_RTL8139_INT_H

#include "devices/net/eeprom93c46.h"
#include "devices/net/nic.h"

#define ISR_ROK 0x0001u
#define ISR_RER 0x0002u
#define ISR_TOK 0x0004u
#define ISR_TER 0x0008u
#define ISR_RXOVW 0x0010u /* C+: no receive descriptor */
#define ISR_LINK 0x0020u
#define ISR_SWINT 0x0100u
#define ISR_TIMEOUT 0x4000u
#define ISR_BITS 0xe1ffu

#define CR_BUFE 0x01u
#define CR_TE 0x04u
#define CR_RE 0x08u
#define CR_RST 0x10u

#define CPCR_TX 0x0001u
#define CPCR_RX 0x0002u
#define CPCR_RXVLAN 0x0040u

#define RX_BROADCAST 1 /* how a frame's address was accepted */
#define RX_PHYSICAL 2
#define RX_MULTICAST 3

struct rtl8139 {
  struct device dev;
  struct pci_func pci;
  struct net_cable *cable;
  struct eeprom93c46 eeprom;
  struct timer timer;    /* of TimerInt */
  struct timer tx_timer; /* C+: goes on with a long transmission */
  bool cplus;
  uint8_t idr[8], mar[8];
  uint32_t tsd[4], tsad[4]; /* C+: tsad holds TNPDS and THPDS */
  uint32_t rbstart, rcr, tcr, timer_int, missed;
  uint64_t dtccr, rdsar;
  uint16_t capr, cbr, imr, isr, mulint;
  uint16_t bmcr, anar, nwaytr, cscr;
  uint32_t phy[3]; /* PHY1_PARM, TW_PARM, PHY2_PARM */
  uint8_t cr, cr9346, config[6], msr, etthr;
  uint16_t cpcr, mitigate;
  uint8_t tx_current;
  uint16_t rx_index, tx_index[2]; /* C+: next descriptor; normal and high priority */
  int64_t timer_base;
  uint64_t tx_ok, rx_ok, rx_physical, rx_broadcast;
  uint32_t rx_multicast, rx_errors;
};

void rtl8139_update_irq(struct rtl8139 *s);
/* A whole frame leaves, or comes back in loopback. */
void rtl8139_emit(struct rtl8139 *s, uint8_t *frame, size_t len); /* room for NIC_MIN bytes */
void rtl8139_cp_transmit(struct rtl8139 *s, int high);
bool rtl8139_cp_ready(struct rtl8139 *s);
/* False: no descriptors. */
bool rtl8139_cp_receive(struct rtl8139 *s, const uint8_t *frame, size_t len, int how);
void rtl8139_cp_dump_counters(struct rtl8139 *s);

#endif
