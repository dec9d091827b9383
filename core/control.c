/* SPDX-License-Identifier: MIT */
/*
 * Control and debug registers, EFLAGS by privilege, I/O permission (SDM vol. 3, 2.5, 17.2; vol. 1, 18.5;
 * VME and PVI: vol. 3, 20.3 and 20.4).
 */
#include "core/desc.h"
#include "core/paging.h"
#include "core/segment.h"

#define DR6_BD 0x2000u
#define DR7_GD 0x2000u
#define CR0_KNOWN \
  (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG)

void control_set_cr0(struct cpu *cpu, uint32_t value) {
  uint32_t known = CR0_KNOWN;
  if (!cpu_has(cpu, FEAT_486))
    known = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_PG;
  value = (value & known) | CR0_ET;
  if ((value & (CR0_PG | CR0_PE)) == CR0_PG || (value & (CR0_NW | CR0_CD)) == CR0_NW)
    cpu_raise_error(cpu, EXC_GP, 0);
  uint32_t changed = cpu->cr0 ^ value;
  if (changed == 0)
    return;
  if (changed & (CR0_PG | CR0_CD | CR0_NW)) /* SDM vol. 3, 4.4.1 */
    paging_load_pdptes(cpu, value, cpu->cr3, cpu->cr4);
  cpu->cr0 = value;
  if (changed & (CR0_PG | CR0_WP | CR0_PE))
    tlb_flush(cpu, false);
  if (changed & CR0_PE)
    cpu->cpl = 0;
  cpu_update_mode(cpu);
}

void control_set_cr3(struct cpu *cpu, uint32_t value) {
  paging_load_pdptes(cpu, cpu->cr0, value, cpu->cr4);
  cpu->cr3 = value;
  tlb_flush(cpu, (cpu->cr4 & CR4_PGE) != 0);
}

void control_set_cr4(struct cpu *cpu, uint32_t value) {
  uint32_t known = CR4_MCE;
  known |= cpu_has(cpu, FEAT_VME) ? CR4_VME | CR4_PVI : 0;
  known |= cpu_has(cpu, FEAT_TSC) ? CR4_TSD : 0;
  known |= cpu_has(cpu, FEAT_DE) ? CR4_DE : 0;
  known |= cpu_has(cpu, FEAT_PSE) ? CR4_PSE : 0;
  known |= cpu_has(cpu, FEAT_PAE) ? CR4_PAE : 0;
  known |= cpu_has(cpu, FEAT_PGE) ? CR4_PGE : 0;
  known |= cpu_has(cpu, FEAT_P6) ? CR4_PCE : 0;
  known |= cpu_has(cpu, FEAT_FXSR) ? CR4_OSFXSR : 0;
  known |= cpu_has(cpu, FEAT_SSE) ? CR4_OSXMMEXCPT : 0;
  if (value & ~known)
    cpu_raise_error(cpu, EXC_GP, 0);
  uint32_t changed = cpu->cr4 ^ value;
  if (changed & (CR4_PAE | CR4_PSE | CR4_PGE))
    paging_load_pdptes(cpu, cpu->cr0, cpu->cr3, value);
  cpu->cr4 = value;
  if (changed & (CR4_PAE | CR4_PSE | CR4_PGE))
    tlb_flush(cpu, false);
  cpu_update_mode(cpu);
}

void control_set_a20(struct cpu *cpu, bool on) {
  if (cpu->a20 == on)
    return;
  cpu->a20 = on;
  tlb_flush(cpu, false);
}

/* --- debug registers --- */

/* DR4 and DR5 are names of DR6 and DR7 unless CR4.DE; any access faults while DR7.GD is set. */
static int check_dr(struct cpu *cpu, int n) {
  if (n == 4 || n == 5) {
    if (cpu->cr4 & CR4_DE)
      cpu_raise(cpu, EXC_UD);
    n += 2;
  }
  if (cpu->dr[7] & DR7_GD) {
    cpu->dr[6] |= DR6_BD;
    cpu_raise(cpu, EXC_DB);
  }
  return n;
}

uint32_t control_read_dr(struct cpu *cpu, int n) { return cpu->dr[check_dr(cpu, n)]; }

void control_update_debug(struct cpu *cpu) {
  uint8_t data = 0;
  for (int i = 0; i < 4; i++)
    if ((cpu->dr[7] >> (i * 2) & 3) && (cpu->dr[7] >> (16 + i * 4) & 3))
      data = 1;
  if (data || cpu->debug_data)
    tlb_flush(cpu, false); /* watched pages must leave the TLB, others may come back */
  cpu->debug_data = data;
  cpu_update_mode(cpu);
}

void control_write_dr(struct cpu *cpu, int n, uint32_t value) {
  n = check_dr(cpu, n);
  if (n == 6)
    value = (value & 0x0000e00fu) | 0xffff0ff0u;
  if (n == 7)
    value = (value & 0xffff23ffu) | 0x400;
  cpu->dr[n] = value;
  if (n != 6)
    control_update_debug(cpu);
}

/* --- EFLAGS --- */

uint32_t control_flags_mask(const struct cpu *cpu, int opsize) {
  uint32_t mask = FL_ARITH | FL_TF | FL_DF | FL_NT;
  if (opsize == 4)
    mask |= FL_AC | FL_ID;
  if (cpu->cpl <= cpu_iopl(cpu))
    mask |= FL_IF;
  if (cpu->cpl == 0)
    mask |= FL_IOPL;
  return mask;
}

void control_set_flags(struct cpu *cpu, uint32_t value, uint32_t mask) {
  uint32_t old = cpu->eflags;
  if (!cpu_has(cpu, FEAT_486))
    mask &= ~FL_AC;
  if (!cpu_has(cpu, FEAT_CPUID))
    mask &= ~FL_ID;
  if (!cpu_has(cpu, FEAT_VME))
    mask &= ~(FL_VIF | FL_VIP);
  cpu->eflags = (old & ~mask) | (value & mask) | FL_1;
  if ((cpu->eflags ^ old) & (FL_TF | FL_VM | FL_AC))
    cpu_update_mode(cpu);
}

void control_popf(struct cpu *cpu, uint32_t value, int opsize) {
  uint32_t mask = control_flags_mask(cpu, opsize);
  if (cpu_v86(cpu) && cpu_iopl(cpu) < 3) {
    if (!(cpu->cr4 & CR4_VME) || opsize != 2)
      cpu_raise_error(cpu, EXC_GP, 0);
    if ((value & FL_TF) || ((value & FL_IF) && (cpu->eflags & FL_VIP)))
      cpu_raise_error(cpu, EXC_GP, 0);
    value = (value & ~FL_VIF) | (value & FL_IF ? FL_VIF : 0);
    mask |= FL_VIF;
  }
  control_set_flags(cpu, value & ~FL_RF, mask | FL_RF);
}

uint32_t control_pushf(struct cpu *cpu) {
  uint32_t image = cpu->eflags & ~(FL_VM | FL_RF);
  if (cpu_v86(cpu) && cpu_iopl(cpu) < 3) {
    if (!(cpu->cr4 & CR4_VME))
      cpu_raise_error(cpu, EXC_GP, 0);
    image = (image & ~FL_IF) | FL_IOPL | (cpu->eflags & FL_VIF ? FL_IF : 0);
  }
  return image;
}

/* Whose interrupt flag do CLI and STI mean? FL_IF, or FL_VIF under VME and PVI; #GP(0) if neither. */
static uint32_t interrupt_flag(struct cpu *cpu) {
  if (!(cpu->cr0 & CR0_PE) || cpu->cpl <= cpu_iopl(cpu))
    return FL_IF;
  if (cpu->cr4 & (cpu_v86(cpu) ? CR4_VME : CR4_PVI) && cpu->cpl == 3)
    return FL_VIF;
  cpu_raise_error(cpu, EXC_GP, 0);
}

void control_cli(struct cpu *cpu) { cpu->eflags &= ~interrupt_flag(cpu); }

void control_sti(struct cpu *cpu) {
  uint32_t flag = interrupt_flag(cpu);
  if (flag == FL_VIF) {
    if (cpu->eflags & FL_VIP)
      cpu_raise_error(cpu, EXC_GP, 0);
  } else if (!(cpu->eflags & FL_IF)) {
    cpu->shadow = SHADOW_STI;
  }
  cpu->eflags |= flag;
}

void control_hlt(struct cpu *cpu) { cpu->halted = 1; }

/* --- ports --- */

void control_check_io(struct cpu *cpu, uint16_t port, int size) {
  if (!(cpu->cr0 & CR0_PE) || (!cpu_v86(cpu) && cpu->cpl <= cpu_iopl(cpu)))
    return;
  const struct seg *tr = &cpu->seg[TR];
  if ((tr->attr & SEG_P) && (tr->attr & 0xd) == 9 && tr->limit >= 0x67) {
    uint32_t off = (uint32_t)linear_read(cpu, tr->base + 0x66, 2, false) + port / 8u;
    if (off + 1 <= tr->limit) {
      uint32_t bits = (uint32_t)linear_read(cpu, tr->base + off, 2, false) >> (port & 7);
      if (!(bits & ((1u << size) - 1)))
        return;
    }
  }
  cpu_raise_error(cpu, EXC_GP, 0);
}
