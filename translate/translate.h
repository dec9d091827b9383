/* SPDX-License-Identifier: MIT */
/* The translating engine, address strategy "tlb" (DESIGN: dynamic translator). */
#ifndef TRANSLATE_TRANSLATE_H
#define TRANSLATE_TRANSLATE_H

#include "core/engine.h"

extern const struct engine engine_tlb;

bool tlb_host_supported(void); /* the host's processor has what translated code uses (BMI2) */

#endif
