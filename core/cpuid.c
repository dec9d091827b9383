/* SPDX-License-Identifier: MIT */
/*
 * CPUID (SDM vol. 2): features, caches, brand. Leaves beyond the model's highest answer as the highest one, as
 * Intel's processors do.
 */
#include <string.h>

#include "core/cpu.h"
#include "core/segment.h"

#define MISC_ENABLE_LIMIT_CPUID (1ull << 22) /* IA32_MISC_ENABLE: leaf 0 answers 3 at most */

struct feature_bit {
  uint64_t feature;
  uint8_t bit;
};

static const struct feature_bit leaf1_edx[] = {
  {FEAT_FPU, 0}, {FEAT_VME, 1}, {FEAT_DE, 2}, {FEAT_PSE, 3}, {FEAT_TSC, 4}, {FEAT_MSR, 5}, {FEAT_PAE, 6},
  {FEAT_PENTIUM, 7 /* MCE */}, {FEAT_CX8, 8}, {FEAT_APIC, 9}, {FEAT_SEP, 11}, {FEAT_MTRR, 12}, {FEAT_PGE, 13},
  {FEAT_P6, 14 /* MCA */}, {FEAT_CMOV, 15}, {FEAT_PAT, 16}, {FEAT_PSE36, 17}, {FEAT_CLFLUSH, 19}, {FEAT_MMX, 23},
  {FEAT_FXSR, 24}, {FEAT_SSE, 25}, {FEAT_SSE2, 26},
};

static const struct feature_bit leaf1_ecx[] = {
  {FEAT_SSE3, 0}, {FEAT_SSSE3, 9}, {FEAT_SSE41, 19}, {FEAT_SSE42, 20}, {FEAT_MOVBE, 22}, {FEAT_POPCNT, 23},
};

static uint32_t collect(const struct cpu *cpu, const struct feature_bit *bits, size_t count) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; i++)
    if (cpu_has(cpu, bits[i].feature))
      value |= 1u << bits[i].bit;
  return value;
}

static void answer(struct cpu *cpu, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx) {
  cpu->gpr[EAX] = eax;
  cpu->gpr[EBX] = ebx;
  cpu->gpr[ECX] = ecx;
  cpu->gpr[EDX] = edx;
}

static uint32_t word(const char *s) {
  uint32_t value;
  memcpy(&value, s, 4);
  return value;
}

static uint32_t signature(const struct cpu_model *m) {
  return (uint32_t)(m->model >> 4) << 16 | (uint32_t)m->family << 8 | (m->model & 15u) << 4 | m->stepping;
}

static void leaf_1(struct cpu *cpu) {
  uint32_t edx = collect(cpu, leaf1_edx, sizeof leaf1_edx / sizeof leaf1_edx[0]);
  if (!(cpu->apic_base & 0x800))
    edx &= ~(1u << 9);
  uint32_t ecx = collect(cpu, leaf1_ecx, sizeof leaf1_ecx / sizeof leaf1_ecx[0]);
  uint32_t ebx = cpu_has(cpu, FEAT_CLFLUSH) ? 8u << 8 : 0; /* line of 8 quadwords; APIC ID 0 */
  answer(cpu, signature(cpu->model), ebx, ecx, edx);
}

/* Cache descriptors: 32+32 KB L1 and 2 MB L2, or those of a Pentium II/III. */
static void leaf_2(struct cpu *cpu) {
  if (cpu_has(cpu, FEAT_SSE2))
    answer(cpu, 1, 0, 0, 0x002c307d);
  else
    answer(cpu, 0x03020101, 0, 0, 0x0c040843);
}

static void leaf_4(struct cpu *cpu) {
  switch (cpu->gpr[ECX]) {
  case 0: answer(cpu, 0x121, 7u << 22 | 63, 63, 1); break; /* L1 data: 8 ways, 64 bytes, 64 sets */
  case 1: answer(cpu, 0x122, 7u << 22 | 63, 63, 1); break;
  case 2: answer(cpu, 0x143, 7u << 22 | 63, 4095, 1); break;
  default: answer(cpu, 0, 0, 0, 0); break;
  }
}

static void leaf_brand(struct cpu *cpu, unsigned part) {
  char brand[48] = "";
  size_t length = strlen(cpu->model->brand);
  memcpy(brand, cpu->model->brand, length < sizeof brand ? length : sizeof brand);
  const char *s = brand + part * 16;
  answer(cpu, word(s), word(s + 4), word(s + 8), word(s + 12));
}

static void extended(struct cpu *cpu, uint32_t leaf) {
  switch (leaf) {
  case 0x80000000u: answer(cpu, 0x80000008u, 0, 0, 0); break;
  case 0x80000001u: answer(cpu, 0, 0, 0, cpu_has(cpu, FEAT_NX) ? 1u << 20 : 0); break;
  case 0x80000002u:
  case 0x80000003u:
  case 0x80000004u: leaf_brand(cpu, leaf - 0x80000002u); break;
  case 0x80000006u: answer(cpu, 0, 0, 2048u << 16 | 6u << 12 | 64, 0); break;
  case 0x80000008u: answer(cpu, 32u << 8 | 36, 0, 0, 0); break;
  default: answer(cpu, 0, 0, 0, 0); break;
  }
}

void cpuid_execute(struct cpu *cpu) {
  const struct cpu_model *m = cpu->model;
  uint32_t leaf = cpu->gpr[EAX], max_leaf = m->max_leaf;
  if ((cpu->misc_enable & MISC_ENABLE_LIMIT_CPUID) && max_leaf > 3)
    max_leaf = 3;
  if (leaf >= 0x80000000u && leaf <= 0x80000008u && m->brand) {
    extended(cpu, leaf);
    return;
  }
  if (leaf > max_leaf)
    leaf = max_leaf;
  switch (leaf) {
  case 0: answer(cpu, max_leaf, word(m->vendor), word(m->vendor + 8), word(m->vendor + 4)); break;
  case 1: leaf_1(cpu); break;
  case 2: leaf_2(cpu); break;
  case 4: leaf_4(cpu); break;
  default: answer(cpu, 0, 0, 0, 0); break;
  }
}
