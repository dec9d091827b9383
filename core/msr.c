/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers (SDM vol. 4): what firmware and operating systems for these models use. MTRRs,
 * PAT, performance counters and MISC_ENABLE are storage without effect. Unknown ones raise #GP(0).
 */
#include "core/clock.h"
#include "core/cpu.h"
#include "core/machine.h"
#include "core/paging.h"
#include "core/segment.h"

enum {
  MSR_P5_MC_ADDR = 0x00, MSR_P5_MC_TYPE = 0x01, MSR_TSC = 0x10, MSR_PLATFORM_ID = 0x17, MSR_APIC_BASE = 0x1b,
  MSR_EBL_CR_POWERON = 0x2a, MSR_FEATURE_CONTROL = 0x3a, MSR_UCODE_WRITE = 0x79, MSR_UCODE_REV = 0x8b,
  MSR_PERFCTR0 = 0xc1, MSR_FSB_FREQ = 0xcd, MSR_MTRRCAP = 0xfe, MSR_BBL_CR_CTL3 = 0x11e, MSR_SYSENTER_CS = 0x174,
  MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_MCG_CAP = 0x179, MSR_MCG_STATUS, MSR_EVNTSEL0 = 0x186,
  MSR_PERF_STATUS = 0x198, MSR_PERF_CTL, MSR_CLOCK_MODULATION, MSR_THERM_INTERRUPT, MSR_THERM_STATUS,
  MSR_MISC_ENABLE = 0x1a0, MSR_DEBUGCTL = 0x1d9, MSR_LASTBRANCH_FROM = 0x1db, MSR_LASTINT_TO = 0x1de,
  MSR_MTRR_VAR0 = 0x200, MSR_MTRR_VAR_END = 0x210, MSR_MTRR_FIX64K = 0x250, MSR_MTRR_FIX16K = 0x258,
  MSR_MTRR_FIX4K = 0x268, MSR_PAT = 0x277, MSR_MTRR_DEF_TYPE = 0x2ff, MSR_MC0_CTL = 0x400,
  MSR_EFER = (int)0xc0000080u,
};

#define MTRRCAP 0x508u /* eight variable ranges, fixed ranges, write combining */
#define MC_BANKS 5u /* as on the P6; nothing is ever reported in them */
#define PHYS_36 0xfffffffffull

static _Noreturn void refuse(struct cpu *cpu, uint32_t index, bool write) {
  if (log_on(LOG_UNIMP))
    log_print(LOG_UNIMP, "%s of MSR %08x at %08x\n", write ? "write" : "read", index, cpu->eip);
  cpu_raise_error(cpu, EXC_GP, 0);
}

static uint64_t tsc_now(struct cpu *cpu) {
  const struct machine *m = cpu->machine;
  int64_t ns = clock_now(m->clock);
  if (m->config.pace_khz)
    return (uint64_t)muldiv64(ns, m->config.tsc_mhz, 1000);
  if (clock_is_counted(m->clock))
    return (uint64_t)muldiv64(ns, m->config.mhz ? m->config.mhz : 100, 1000);
  return (uint64_t)ns; /* 1 GHz */
}

uint64_t cpu_tsc(struct cpu *cpu) { return tsc_now(cpu) + cpu->tsc_offset; }

/* Storage of a fixed-range MTRR, NULL if index names none. */
static uint64_t *mtrr_fixed(struct cpu *cpu, uint32_t index) {
  if (index == MSR_MTRR_FIX64K)
    return &cpu->mtrr_fix[0];
  if (index >= MSR_MTRR_FIX16K && index <= MSR_MTRR_FIX16K + 1)
    return &cpu->mtrr_fix[1 + index - MSR_MTRR_FIX16K];
  if (index >= MSR_MTRR_FIX4K && index <= MSR_MTRR_FIX4K + 7)
    return &cpu->mtrr_fix[3 + index - MSR_MTRR_FIX4K];
  return NULL;
}

static bool read_p6(struct cpu *cpu, uint32_t index, uint64_t *value) {
  switch (index) {
  case MSR_PLATFORM_ID:
  case MSR_EBL_CR_POWERON:
  case MSR_BBL_CR_CTL3:
  case MSR_MCG_STATUS: *value = 0; return true;
  case MSR_MCG_CAP: *value = MC_BANKS; return true;
  case MSR_UCODE_REV: *value = cpu->ucode_rev; return true;
  case MSR_PERFCTR0:
  case MSR_PERFCTR0 + 1: *value = cpu->perf_ctr[index - MSR_PERFCTR0]; return true;
  case MSR_EVNTSEL0:
  case MSR_EVNTSEL0 + 1: *value = cpu->perf_evt[index - MSR_EVNTSEL0]; return true;
  case MSR_DEBUGCTL: *value = cpu->debugctl; return true;
  case MSR_PAT: *value = cpu->pat; return true;
  case MSR_MTRRCAP: *value = MTRRCAP; return true;
  case MSR_MTRR_DEF_TYPE: *value = cpu->mtrr_def_type; return true;
  }
  if (index >= MSR_LASTBRANCH_FROM && index <= MSR_LASTINT_TO) {
    *value = 0;
    return true;
  }
  if (index >= MSR_MC0_CTL && index < MSR_MC0_CTL + MC_BANKS * 4) { /* CTL, STATUS, ADDR, MISC of each bank */
    *value = (index & 3) == 0 ? cpu->mc_ctl[(index - MSR_MC0_CTL) / 4] : 0;
    return true;
  }
  if (index >= MSR_MTRR_VAR0 && index < MSR_MTRR_VAR_END) {
    *value = cpu->mtrr_var[index - MSR_MTRR_VAR0];
    return true;
  }
  const uint64_t *fixed = mtrr_fixed(cpu, index);
  if (fixed)
    *value = *fixed;
  return fixed != NULL;
}

static bool read_core2(const struct cpu *cpu, uint32_t index, uint64_t *value) {
  switch (index) {
  case MSR_FEATURE_CONTROL: *value = 1; return true; /* locked, no VMX */
  case MSR_FSB_FREQ: *value = 0; return true; /* 267 MHz */
  case MSR_PERF_STATUS:
  case MSR_PERF_CTL: *value = 0x0600; return true;
  case MSR_CLOCK_MODULATION:
  case MSR_THERM_INTERRUPT:
  case MSR_THERM_STATUS: *value = 0; return true;
  case MSR_MISC_ENABLE: *value = cpu->misc_enable; return true;
  }
  return false;
}

uint64_t msr_read(struct cpu *cpu, uint32_t index) {
  uint64_t value = 0;
  switch (index) {
  case MSR_P5_MC_ADDR:
  case MSR_P5_MC_TYPE: return 0;
  case MSR_TSC: return cpu_tsc(cpu);
  case MSR_APIC_BASE:
    if (cpu_has(cpu, FEAT_APIC))
      return cpu->apic_base;
    break;
  case MSR_SYSENTER_CS:
  case MSR_SYSENTER_ESP:
  case MSR_SYSENTER_EIP:
    if (cpu_has(cpu, FEAT_SEP))
      return index == MSR_SYSENTER_CS    ? cpu->sysenter_cs
             : index == MSR_SYSENTER_ESP ? cpu->sysenter_esp
                                         : cpu->sysenter_eip;
    break;
  case (uint32_t)MSR_EFER:
    if (cpu_has(cpu, FEAT_NX))
      return cpu->efer;
    break;
  }
  if (cpu_has(cpu, FEAT_P6) && read_p6(cpu, index, &value))
    return value;
  if (cpu_has(cpu, FEAT_SSE2) && read_core2(cpu, index, &value))
    return value;
  refuse(cpu, index, false);
}

static bool memory_type_valid(uint64_t type, bool pat) {
  return type == 0 || type == 1 || (type >= 4 && type <= 6) || (pat && type == 7);
}

static bool memory_types_valid(uint64_t value, bool pat) {
  for (int i = 0; i < 64; i += 8)
    if (!memory_type_valid(value >> i & 0xff, pat))
      return false;
  return true;
}

static bool write_mtrr(struct cpu *cpu, uint32_t index, uint64_t value) {
  uint64_t *fixed = mtrr_fixed(cpu, index);
  if (fixed) {
    if (!memory_types_valid(value, false))
      return false;
    *fixed = value;
    return true;
  }
  if (index == MSR_MTRR_DEF_TYPE) {
    if ((value & ~0xcffull) || !memory_type_valid(value & 0xff, false))
      return false;
    cpu->mtrr_def_type = value;
    return true;
  }
  if (index < MSR_MTRR_VAR0 || index >= MSR_MTRR_VAR_END || value >> 36)
    return false;
  if (index & 1 ? value & 0x7ff : (value & 0xf00) || !memory_type_valid(value & 0xff, false))
    return false;
  cpu->mtrr_var[index - MSR_MTRR_VAR0] = value;
  return true;
}

static bool write_p6(struct cpu *cpu, uint32_t index, uint64_t value) {
  switch (index) {
  case MSR_PLATFORM_ID: return false;
  case MSR_UCODE_WRITE: /* an update is accepted and changes nothing */
  case MSR_EBL_CR_POWERON:
  case MSR_BBL_CR_CTL3:
  case MSR_MCG_STATUS: return true;
  case MSR_UCODE_REV: cpu->ucode_rev = value; return true;
  case MSR_PERFCTR0:
  case MSR_PERFCTR0 + 1: /* 40 bits, written by sign-extending 32 */
    cpu->perf_ctr[index - MSR_PERFCTR0] = (uint64_t)(int64_t)(int32_t)value & 0xffffffffffull;
    return true;
  case MSR_EVNTSEL0:
  case MSR_EVNTSEL0 + 1: cpu->perf_evt[index - MSR_EVNTSEL0] = value & 0xffffffffu; return true;
  case MSR_DEBUGCTL: cpu->debugctl = value & 0x7f; return true;
  case MSR_PAT:
    if (!memory_types_valid(value, true))
      return false;
    cpu->pat = value;
    return true;
  }
  if (index >= MSR_MC0_CTL && index < MSR_MC0_CTL + MC_BANKS * 4) {
    if ((index & 3) != 0) /* STATUS, ADDR, MISC: may only be cleared */
      return value == 0;
    if (value != 0 && value != ~0ull) /* the P6 takes no others (SDM vol. 3, 15.3.2.1) */
      return false;
    cpu->mc_ctl[(index - MSR_MC0_CTL) / 4] = value;
    return true;
  }
  return write_mtrr(cpu, index, value);
}

static bool write_core2(struct cpu *cpu, uint32_t index, uint64_t value) {
  switch (index) {
  case MSR_PERF_CTL:
  case MSR_CLOCK_MODULATION:
  case MSR_THERM_INTERRUPT:
  case MSR_THERM_STATUS: return true;
  case MSR_MISC_ENABLE: cpu->misc_enable = value; return true;
  }
  return false;
}

static void write_efer(struct cpu *cpu, uint64_t value) {
  if (value & ~(uint64_t)(EFER_NXE | EFER_SCE)) /* SCE has no effect outside 64-bit mode */
    refuse(cpu, (uint32_t)MSR_EFER, true);
  cpu->efer = value;
  tlb_flush(cpu, false);
}

void msr_write(struct cpu *cpu, uint32_t index, uint64_t value) {
  switch (index) {
  case MSR_P5_MC_ADDR:
  case MSR_P5_MC_TYPE: return;
  case MSR_TSC: cpu->tsc_offset = value - tsc_now(cpu); return;
  case MSR_APIC_BASE:
    if (!cpu_has(cpu, FEAT_APIC) || (value & ~(PHYS_36 & ~0x6ffull)))
      break;
    cpu->apic_base = value;
    if (cpu->on_apic_base)
      cpu->on_apic_base(cpu, value);
    return;
  case MSR_SYSENTER_CS:
  case MSR_SYSENTER_ESP:
  case MSR_SYSENTER_EIP:
    if (!cpu_has(cpu, FEAT_SEP))
      break;
    *(index == MSR_SYSENTER_CS    ? &cpu->sysenter_cs
      : index == MSR_SYSENTER_ESP ? &cpu->sysenter_esp
                                  : &cpu->sysenter_eip) = (uint32_t)value;
    return;
  case (uint32_t)MSR_EFER:
    if (!cpu_has(cpu, FEAT_NX))
      break;
    write_efer(cpu, value);
    return;
  }
  if (cpu_has(cpu, FEAT_P6) && write_p6(cpu, index, value))
    return;
  if (cpu_has(cpu, FEAT_SSE2) && write_core2(cpu, index, value))
    return;
  refuse(cpu, index, true);
}
