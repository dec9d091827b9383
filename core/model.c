/* SPDX-License-Identifier: MIT */
/*
 * The CPU models of -cpu. Identities follow real parts (80386DX, 486DX2 with CPUID, Pentium MMX,
 * Pentium II "Deschutes", Pentium III "Katmai", Core 2 Duo "Merom"); `max` has all that is implemented.
 * None reports long mode. The clocks for ten instructions are what such parts took in mixed integer code of
 * their time (386DX-33: 7 MIPS, 486DX2-66: 33, Pentium-100: 83), not a model of a pipeline.
 */
#include <string.h>

#include "core/cpu.h"

#define FEATS_386 (FEAT_FPU | FEAT_FIRMWARE)
#define FEATS_486 (FEATS_386 | FEAT_486 | FEAT_CPUID)
#define FEATS_PENTIUM \
  (FEATS_486 | FEAT_PENTIUM | FEAT_VME | FEAT_DE | FEAT_PSE | FEAT_TSC | FEAT_MSR | FEAT_CX8 | FEAT_APIC | FEAT_MMX)
#define FEATS_P2 \
  (FEATS_PENTIUM | FEAT_P6 | FEAT_PAE | FEAT_SEP | FEAT_MTRR | FEAT_PGE | FEAT_CMOV | FEAT_PAT | FEAT_PSE36 | FEAT_FXSR)
#define FEATS_P3 (FEATS_P2 | FEAT_SSE)
#define FEATS_CORE2 (FEATS_P3 | FEAT_SSE2 | FEAT_SSE3 | FEAT_SSSE3 | FEAT_CLFLUSH | FEAT_NX)
#define FEATS_MAX (FEATS_CORE2 | FEAT_SSE41 | FEAT_SSE42 | FEAT_POPCNT | FEAT_MOVBE)

static const struct cpu_model models[] = {
  {"386", FEATS_386, 3, 0, 8, NULL, NULL, 0, 45},
  {"486", FEATS_486, 4, 8, 0, "GenuineIntel", NULL, 1, 20},
  {"pentium", FEATS_PENTIUM, 5, 4, 3, "GenuineIntel", NULL, 1, 12},
  {"pentium2", FEATS_P2, 6, 5, 2, "GenuineIntel", NULL, 2, 9},
  {"pentium3", FEATS_P3, 6, 7, 3, "GenuineIntel", NULL, 2, 9},
  {"core2duo", FEATS_CORE2, 6, 15, 11, "GenuineIntel", "Intel(R) Core(TM)2 Duo CPU     T7700  @ 2.40GHz", 10, 6},
  /* Three leaves are enough, and Windows NT 4 stops at more. */
  {"max", FEATS_MAX, 6, 15, 11, "GenuineIntel", "Dragoman Virtual CPU", 3, 10},
};

const struct cpu_model *cpu_model_list(size_t *count) {
  *count = sizeof models / sizeof models[0];
  return models;
}

const struct cpu_model *cpu_model_find(const char *name) {
  for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
    if (strcmp(models[i].name, name) == 0)
      return &models[i];
  return NULL;
}
