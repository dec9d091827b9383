/* SPDX-License-Identifier: MIT */
/* The translating engine, address strategy "tlb" (DESIGN: dynamic translator). */
#ifndef TRANSLATE_TRANSLATE_H
#define TRANSLATE_TRANSLATE_H

#include "core/engine.h"

extern const struct engine engine_tlb;
extern const struct engine engine_window; /* becomes "tlb", with one line, where the host has no windows */

/* By name, among all engines; *options (for machine_config) is what follows a comma, or NULL. NULL: no such name. */
const struct engine *engine_find(const char *name, const char **options);

bool tlb_host_supported(void); /* the host's processor has what translated code uses (BMI2) */

#endif
