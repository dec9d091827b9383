/* SPDX-License-Identifier: MIT */
/*
 * AMD PCnet-PCI II, Am79C970A (1022:2000), by its datasheet (publication 19436): the PCI configuration space,
 * I/O resources in word and dword mode, the address PROM, control and status registers, bus configuration
 * registers. The buffer management unit is in pcnet_dma.c.
 *
 * Not modelled: the AUI's and the wire's errors, magic packets and sleep, the EEPROM's serial lines (BCR19
 * says that it was read), burst and latency settings (they are kept).
 */
#include "devices/net/pcnet_int.h"

#include <string.h>

#define CHIP_ID 0x02621003u

#define BCR_MC 2
#define BCR_LNKST 4
#define BCR_LED3 7
#define BCR_BSBC 18
#define BCR_EECAS 19
#define BCR_SWS 20

#define LED_OUT 0x8000u
#define LED_LNKST 0x0040u
#define DWIO 0x0080u

#define POLL_NS 1600000 /* CSR47 as reset leaves it: 65536 clocks at 33 MHz, rounded */

/* --- interrupts ------------------------------------------------------------------------------------------
 */

void pcnet_update_irq(struct pcnet *s) {
  uint16_t c0 = s->csr[0], c3 = s->csr[3], c4 = s->csr[4], c5 = s->csr[5];
  c0 &= (uint16_t) ~(C0_ERR | C0_INTR);
  if (c0 & (C0_BABL | C0_CERR | C0_MISS | C0_MERR))
    c0 |= C0_ERR;
  bool wanted = c0 & ~c3 & (C0_BABL | C0_MISS | C0_MERR | C0_RINT | C0_TINT | C0_IDON);
  /* An event of CSR4 has its mask one bit below, one of CSR5 its enable. */
  wanted |= c4 & ~(unsigned)(c4 << 1) & (C4_TXSTRT | C4_RCVCCO | C4_MFCO);
  wanted |= (c4 & C4_UINT) != 0;
  wanted |= c5 & (unsigned)(c5 << 1) & (C5_SINT | C5_SLPINT);
  if (wanted)
    c0 |= C0_INTR;
  s->csr[0] = c0;
  pci_set_intx(&s->pci, (c0 & C0_INTR) && (c0 & C0_IENA));
}

/* --- the cable --------------------------------------------------------------------------------------------
 */

static bool ready(void *opaque) {
  struct pcnet *s = opaque;
  bool on = (s->csr[0] & C0_RXON) && !(s->csr[5] & C5_SPND) && pci_bus_master(&s->pci);
  return !on || pcnet_receive_ready(s);
}

static void receive(void *opaque, const uint8_t *frame, size_t len) {
  struct pcnet *s = opaque;
  if ((s->csr[0] & C0_RXON) && !(s->csr[5] & C5_SPND) && !(s->csr[CSR_MODE] & MODE_LOOP))
    pcnet_receive(s, frame, len);
}

/* --- the chip's own polling of the transmit ring
 * ------------------------------------------------------------ */

static void arm_poll(struct pcnet *s) {
  if ((s->csr[0] & C0_TXON) && !(s->csr[4] & C4_DPOLL))
    timer_arm(&s->poll, clock_now(s->dev.clock) + POLL_NS);
  else
    timer_cancel(&s->poll);
}

static void poll_fired(void *opaque) {
  struct pcnet *s = opaque;
  pcnet_transmit(s);
  arm_poll(s);
}

/* --- starting and stopping
 * ---------------------------------------------------------------------------------- */

static void stop(struct pcnet *s) {
  s->csr[0] = C0_STOP;
  s->csr[4] &= (uint16_t)~0x02c2u; /* the events, but TXSTRT */
  s->csr[5] = 0;
  timer_cancel(&s->poll);
  pcnet_update_irq(s);
  if (s->cable)
    net_ready(s->cable, NET_CARD);
}

static void initialize(struct pcnet *s) {
  if (!pcnet_read_init_block(s)) {
    s->csr[0] |= C0_MERR;
    return;
  }
  s->csr[0] |= C0_IDON;
}

static void start(struct pcnet *s) {
  s->csr[0] &= (uint16_t)~C0_STOP;
  s->csr[0] |= C0_STRT;
  if (!(s->csr[CSR_MODE] & MODE_DTX))
    s->csr[0] |= C0_TXON;
  if (!(s->csr[CSR_MODE] & MODE_DRX))
    s->csr[0] |= C0_RXON;
  arm_poll(s);
}

static void write_csr0(struct pcnet *s, uint16_t value) {
  static const uint16_t cleared_by_one = C0_BABL | C0_CERR | C0_MISS | C0_MERR | C0_RINT | C0_TINT | C0_IDON;
  s->csr[0] &= (uint16_t) ~(value & cleared_by_one);
  if (value & C0_STOP) {
    stop(s);
    return;
  }
  s->csr[0] = (s->csr[0] & (uint16_t)~C0_IENA) | (value & C0_IENA);
  if ((value & C0_INIT) && !(s->csr[0] & C0_INIT)) {
    s->csr[0] = (uint16_t)((s->csr[0] & ~C0_STOP) | C0_INIT);
    initialize(s);
  }
  if ((value & C0_STRT) && !(s->csr[0] & C0_STRT))
    start(s);
  if (value & C0_TDMD)
    pcnet_transmit(s);
  pcnet_update_irq(s);
  if (s->cable)
    net_ready(s->cable, NET_CARD);
}

/* H_RESET and S_RESET differ in what they leave alone: the bus configuration, and IADR, ring and address
 * registers that only H_RESET's undefined values would change. */
static void soft_reset(struct pcnet *s) {
  s->rap = 0;
  s->csr[0] = C0_STOP;
  s->csr[3] = 0;
  s->csr[4] = 0x0115;
  s->csr[5] = 0;
  s->csr[CSR_MODE] = 0;
  s->csr[CSR_MFC] = s->csr[114] = 0;
  s->csr[58] = s->bcr[BCR_SWS];
  s->csr[80] = 0x1410;
  s->csr[100] = 0x0200;
  s->csr[122] = s->csr[124] = 0;
  s->csr[CSR_RCVRL] = s->csr[CSR_XMTRL] = s->csr[CSR_RCVRC] = s->csr[CSR_XMTRC] = 0;
  pcnet_set_pair(s, 88, CHIP_ID);
  timer_cancel(&s->poll);
  pcnet_update_irq(s);
}

static void hard_reset(struct pcnet *s) {
  static const uint16_t bcr[PCNET_BCRS] = {
      [0] = 5,      5, 2, 0, 0x00c0, 0x0084, 0x0088, 0x0090, [18] = 0x2101, [19] = 0xc002, [20] = 0x0200,
      [22] = 0xff06};
  memcpy(s->bcr, bcr, sizeof s->bcr);
  memset(s->csr, 0, sizeof s->csr);
  for (unsigned i = 0; i < 3; i++)
    s->csr[12 + i] = (uint16_t)(s->aprom[2 * i] | s->aprom[2 * i + 1] << 8);
  s->dwio = false;
  soft_reset(s);
}

/* --- control and status registers
 * ---------------------------------------------------------------------------- */

unsigned pcnet_style(const struct pcnet *s) { return s->bcr[BCR_SWS] & 0xff; }
bool pcnet_wide(const struct pcnet *s) { return pcnet_style(s) >= 1; }

static void write_sws(struct pcnet *s, uint16_t value) {
  unsigned style = value & 0xff;
  if (style > 3)
    style = 0; /* reserved */
  /* SSIZE32 and CSRPCNET follow from the style. */
  s->bcr[BCR_SWS] =
      (uint16_t)((value & 0x0400) | style | (style >= 1 ? 0x0100u : 0) | (style != 1 ? 0x0200u : 0));
  s->csr[58] = s->bcr[BCR_SWS];
}

static uint16_t read_csr(struct pcnet *s, unsigned n) {
  if (n >= PCNET_CSRS)
    return 0;
  switch (n) {
  case 16: return s->csr[1]; /* aliases */
  case 17: return s->csr[2];
  default: return s->csr[n];
  }
}

static void write_csr4(struct pcnet *s, uint16_t value) {
  s->csr[4] &= (uint16_t) ~(value & 0x026a); /* events: MFCO, UINT, RCVCCO, TXSTRT, JAB */
  s->csr[4] = (uint16_t)((s->csr[4] & 0x026a) | (value & ~0x026au & ~0x0080u));
  if (value & 0x0080) /* UINTCMD asks for UINT */
    s->csr[4] |= C4_UINT;
  arm_poll(s);
}

static void write_csr5(struct pcnet *s, uint16_t value) {
  s->csr[5] &= (uint16_t) ~(value & 0x0b90); /* events: SINT, SLPINT, EXDINT, MPINT */
  s->csr[5] = (uint16_t)((s->csr[5] & 0x0b90) | (value & ~0x0b90u));
  if (s->cable)
    net_ready(s->cable, NET_CARD);
}

/* Some registers may be written only while the chip is stopped or suspended. */
static bool writable_now(const struct pcnet *s, unsigned n) {
  static const uint8_t always[] = {0, 3, 4, 5, 7, 58, CSR_MFC, 114, 124};
  for (size_t i = 0; i < sizeof always; i++)
    if (n == always[i])
      return true;
  return (s->csr[0] & C0_STOP) || (s->csr[5] & C5_SPND);
}

static void write_csr(struct pcnet *s, unsigned n, uint16_t value) {
  if (n >= PCNET_CSRS || !writable_now(s, n))
    return;
  switch (n) {
  case 0: write_csr0(s, value); return;
  case 3: s->csr[3] = value & 0x5f7c; break;
  case 4: write_csr4(s, value); break;
  case 5: write_csr5(s, value); break;
  case 6:
  case 88:
  case 89: return; /* read-only */
  case 16: s->csr[1] = value; break;
  case 17: s->csr[2] = value; break;
  case 58: write_sws(s, value); break;
  case CSR_RCVRL:
  case CSR_RCVRC:
  case CSR_XMTRL:
  case CSR_XMTRC:
  default: s->csr[n] = value;
  }
  pcnet_update_irq(s);
}

static uint16_t read_bcr(struct pcnet *s, unsigned n) {
  if (n >= PCNET_BCRS)
    return 0;
  uint16_t value = s->bcr[n];
  if (n >= BCR_LNKST && n <= BCR_LED3) {
    bool lit = nic_link(s->cable) && (value & LED_LNKST);
    value = (uint16_t)((value & ~LED_OUT) | (lit ? LED_OUT : 0));
  } else if (n == BCR_BSBC) {
    value = (uint16_t)((value & ~DWIO) | (s->dwio ? DWIO : 0));
  }
  return value;
}

static void write_bcr(struct pcnet *s, unsigned n, uint16_t value) {
  switch (n) {
  case BCR_SWS:
    if ((s->csr[0] & C0_STOP) || (s->csr[5] & C5_SPND))
      write_sws(s, value);
    break;
  case BCR_LNKST:
  case BCR_LNKST + 1:
  case BCR_LNKST + 2:
  case BCR_LED3: s->bcr[n] = value & 0x7fff; break;
  case BCR_MC:
  case 9:
  case 16:
  case 17:
  case 18:
  case 21:
  case 22: s->bcr[n] = value; break;
  case BCR_EECAS: s->bcr[n] = (uint16_t)(0xc002 | (value & 0x0014)); break;
  }
}

/* --- I/O resources
 * ------------------------------------------------------------------------------------------- */

enum { RDP, RAP, RESET, BDP };

static uint16_t port_read(struct pcnet *s, unsigned which) {
  switch (which) {
  case RDP: return read_csr(s, s->rap);
  case RAP: return s->rap;
  case BDP: return read_bcr(s, s->rap);
  default: /* reading Reset resets (S_RESET), and stops */
    stop(s);
    soft_reset(s);
    return 0;
  }
}

static void port_write(struct pcnet *s, unsigned which, uint16_t value) {
  if (which == RDP)
    write_csr(s, s->rap, value);
  else if (which == RAP)
    s->rap = value & 0x7f;
  else if (which == BDP)
    write_bcr(s, s->rap, value);
}

static uint32_t ones(int size) { return 0xffffffffu >> (32 - 8 * size); }

static uint32_t reg_read(void *opaque, uint32_t offset, int size) {
  struct pcnet *s = opaque;
  uint32_t value = 0;
  if (offset >= 32)
    return ones(size);
  if (offset < 16) { /* any width */
    for (int i = 0; i < size && offset + (unsigned)i < 16; i++)
      value |= (uint32_t)s->aprom[offset + (unsigned)i] << 8 * i;
    return value;
  }
  offset -= 16;
  if (s->dwio)
    return size == 4 ? port_read(s, offset / 4) : ones(size);
  if (size == 4) /* two words */
    return reg_read(s, 16 + offset, 2) | reg_read(s, 18 + offset, 2) << 16;
  if (size == 1) /* not a cycle of this mode; a byte of RAP and BDP harms nobody */
    return offset < 8 && offset / 2 != RESET ? port_read(s, offset / 2) >> 8 * (offset & 1) & 0xff : 0xff;
  return offset < 8 ? port_read(s, offset / 2) : 0xffff;
}

static void reg_write(void *opaque, uint32_t offset, int size, uint32_t value) {
  struct pcnet *s = opaque;
  if (offset < 16 || offset >= 32)
    return; /* writes to the address PROM need BCR2's APROMWE, which no driver sets */
  offset -= 16;
  if (!s->dwio && size == 4 && offset == 0) /* enters dword mode, for good */
    s->dwio = true;
  if (s->dwio ? size == 4 : size == 2 && offset < 8)
    port_write(s, s->dwio ? offset / 4 : offset / 2, (uint16_t)value);
}

static uint64_t mmio_read(void *opaque, uint32_t offset, int size) { return reg_read(opaque, offset, size); }
static void mmio_write(void *opaque, uint32_t offset, int size, uint64_t value) {
  reg_write(opaque, offset, size, (uint32_t)value);
}

static const struct io_ops io_ops = {reg_read, reg_write, 4};
static const struct mmio_ops mmio_ops = {.read = mmio_read, .write = mmio_write, .max_size = 4};

/* --- making
 * ---------------------------------------------------------------------------------------------------- */

static void pcnet_reset(struct device *dev) {
  struct pcnet *s = DEVICE(struct pcnet, dev);
  pci_func_reset(&s->pci);
  hard_reset(s);
}

/* The PROM: address, zeros, the sum of bytes 0-11, 14 and 15, and "WW" (4.2). */
static void fill_aprom(struct pcnet *s, const uint8_t *mac) {
  memcpy(s->aprom, mac, 6);
  s->aprom[9] = 0x11; /* PCnet-PCI */
  s->aprom[14] = s->aprom[15] = 'W';
  unsigned sum = 0;
  for (int i = 0; i < 16; i++)
    sum += i == 12 || i == 13 ? 0 : s->aprom[i];
  s->aprom[12] = (uint8_t)sum;
  s->aprom[13] = (uint8_t)(sum >> 8);
}

static int pcnet_init(struct device *dev, const struct device_args *args) {
  struct pcnet *s = DEVICE(struct pcnet, dev);
  const struct nic_config *config = args->config;
  s->cable = config->cable;
  fill_aprom(s, config->mac);
  timer_init(&s->poll, dev->clock, "pcnet", poll_fired, s);
  pci_func_init(&s->pci, "pcnet", 0x1022, 0x2000, 0x020000, 0x10, 1);
  pci_set16(&s->pci, 6, 0x0280); /* medium DEVSEL#, fast back-to-back */
  s->pci.config[0x3e] = 0x06;    /* MIN_GNT, MAX_LAT */
  s->pci.config[0x3f] = 0xff;
  pci_func_set_bar(&s->pci, 0,
                   &(struct pci_bar){.kind = PCI_BAR_IO, .size = 32, .io_ops = &io_ops, .opaque = s});
  pci_func_set_bar(
      &s->pci, 1,
      &(struct pci_bar){.kind = PCI_BAR_MEM, .size = MEM_PAGE, .mmio_ops = &mmio_ops, .opaque = s});
  int error = nic_load_rom(dev, &s->pci, config->rom_path);
  if (!error)
    error = pci_register(config->bus, &s->pci, config->devfn);
  if (!error && s->cable)
    net_attach(s->cable, NET_CARD, &(struct net_end){.receive = receive, .ready = ready, .opaque = s});
  return error;
}

static void pcnet_destroy(struct device *dev) {
  struct pcnet *s = DEVICE(struct pcnet, dev);
  timer_cancel(&s->poll);
  if (s->cable)
    net_attach(s->cable, NET_CARD, NULL);
}

static const struct field pcnet_fields[] = {
    FIELD_BUFFER(struct pcnet, pci.config),
    FIELD_ARRAY(U16, struct pcnet, csr),
    FIELD_ARRAY(U16, struct pcnet, bcr),
    FIELD(U8, struct pcnet, rap),
    FIELD(BOOL, struct pcnet, dwio),
    FIELD(TIMER, struct pcnet, poll),
    FIELDS_END,
};

const struct device_class pcnet_class = {
    .name = "PCnet-PCI II",
    .size = sizeof(struct pcnet),
    .init = pcnet_init,
    .reset = pcnet_reset,
    .destroy = pcnet_destroy,
    .fields = pcnet_fields,
};
