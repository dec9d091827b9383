/* SPDX-License-Identifier: MIT */
/* What the files of the PCnet-PCI II share: pcnet.c has the registers, pcnet_dma.c the rings in memory. */
#ifndef DEVICES_NET_PCNET_INT_H
#define DEVICES_NET_PCNET_INT_H

#include "devices/net/nic.h"

/* CSR0 */
#define C0_INIT 0x0001u
#define C0_STRT 0x0002u
#define C0_STOP 0x0004u
#define C0_TDMD 0x0008u
#define C0_TXON 0x0010u
#define C0_RXON 0x0020u
#define C0_IENA 0x0040u
#define C0_INTR 0x0080u
#define C0_IDON 0x0100u
#define C0_TINT 0x0200u
#define C0_RINT 0x0400u
#define C0_MERR 0x0800u
#define C0_MISS 0x1000u
#define C0_CERR 0x2000u
#define C0_BABL 0x4000u
#define C0_ERR 0x8000u

#define C3_BSWP 0x0004u
#define C3_DXSUFLO 0x0040u

#define C4_TXSTRT 0x0008u
#define C4_RCVCCO 0x0020u
#define C4_UINT 0x0040u
#define C4_MFCO 0x0200u
#define C4_ASTRP_RCV 0x0400u
#define C4_APAD_XMT 0x0800u
#define C4_DPOLL 0x1000u

#define C5_SPND 0x0001u
#define C5_SLPINT 0x0100u
#define C5_SINT 0x0800u
#define C5_LTINTEN 0x4000u

#define MODE_DRX 0x0001u
#define MODE_DTX 0x0002u
#define MODE_LOOP 0x0004u
#define MODE_DXMTFCS 0x0008u
#define MODE_DRCVPA 0x2000u
#define MODE_DRCVBC 0x4000u
#define MODE_PROM 0x8000u

#define CSR_MODE 15
#define CSR_RCVRC 72
#define CSR_XMTRC 74
#define CSR_RCVRL 76
#define CSR_XMTRL 78
#define CSR_MFC 112

#define PCNET_CSRS 128
#define PCNET_BCRS 32

struct pcnet {
  struct device dev;
  struct pci_func pci;
  struct net_cable *cable;
  uint8_t aprom[16];
  uint16_t csr[PCNET_CSRS];
  uint16_t bcr[PCNET_BCRS];
  uint8_t rap;
  bool dwio;
  struct timer poll; /* the chip looks at its transmit ring now and then */
};

void pcnet_update_irq(struct pcnet *s);
unsigned pcnet_style(const struct pcnet *s); /* SWSTYLE */
bool pcnet_wide(const struct pcnet *s);      /* SSIZE32: 32-bit structures */
/* Read the initialization block. False: bus mastering is off. */
bool pcnet_read_init_block(struct pcnet *s);
void pcnet_transmit(struct pcnet *s);
/* The receive descriptor that is next is the chip's. */
bool pcnet_receive_ready(struct pcnet *s);
void pcnet_receive(struct pcnet *s, const uint8_t *frame, size_t len);

static inline uint32_t pcnet_pair(const struct pcnet *s, unsigned csr) {
  return s->csr[csr] | (uint32_t)s->csr[csr + 1] << 16;
}
static inline void pcnet_set_pair(struct pcnet *s, unsigned csr, uint32_t value) {
  s->csr[csr] = (uint16_t)value;
  s->csr[csr + 1] = (uint16_t)(value >> 16);
}

#endif
